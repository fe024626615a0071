/* The first convolution of a network of images, from as few as 4 channels, as one kernel on tensor cores (stem.cl): the
 * conversion of what the host gives, the convolution, what is fused behind it, and a MaxPool that alone reads that.
 *
 * A MaxPool joins its region when the plan is made (plan_regions.c asks `grows`), where all that decides is known: so no
 * step is compiled later that this kernel would have to give back. Without a pool it is one way more to compute a
 * convolution, and leaves to others what it does not take. */
#include <inttypes.h>
#include <math.h>

#include "backend/opencl/mma.h"
#include "backend/opencl/stem.h"
#include "ops/eval.h"

enum {
    MOST_CHANNELS = 4,
    MOST_WINDOW = 16,
    MOST_STRIDE = 4,
    LOCAL = 48 * 1024,
    WARPS = 8,
    ROWS_PAD = 64,
    LEAST_BLOCK = 16
};

typedef struct stem {
    gi_cl_conv conv;
    bool pools;
    gi_cl_window pool;    /* of one pixel where there is none */
    int64_t cout, across; /* channels of the result; chunks of a row of the window */
    int64_t row;          /* halves of a channel's weights */
} stem;

/* A variant of stem.cl: pixels of the convolution and channels that a group makes at most, and how its warps share them. */
typedef struct variant {
    int rows, bn, warps_m;
} variant;

static const variant variants[] = { { 256, 64, 8 }, { 256, 64, 4 }, { 256, 32, 8 }, { 512, 32, 8 }, { 128, 64, 4 },
                                    { 128, 32, 4 }, { 256, 16, 8 }, { 128, 16, 8 }, { 512, 16, 8 } };

/* Results of a group, down and across, and what that comes to. */
typedef struct tile {
    int64_t h, w, groups, local;
} tile;

static const char prefix[] = "stem_";

/* ---- what it takes ---- */

static bool read_pool(const gi_node *n, const stem *s, gi_cl_window *out)
{
    gi_window w;
    const gi_cl_window *c = &s->conv.win;
    const int64_t dims[] = { s->conv.dims[0], s->cout, c->oh, c->ow };
    if (n->op != OP_MaxPool || (n->n_out > 1 && n->out[MaxPool_out_Indices]->n_uses) ||
        !gi_window_read(n, 2, NULL, &w) || !gi_window_place(&w, dims + 2))
        return false;
    *out = gi_cl_window_of(&w, 4, dims);
    /* each window holds a pixel */
    return out->dh == 1 && out->dw == 1 && out->kh <= MOST_WINDOW && out->kw <= MOST_WINDOW && out->ph < out->kh &&
           out->pw < out->kw && (out->oh - 1) * out->sh - out->ph < c->oh && (out->ow - 1) * out->sw - out->pw < c->ow;
}

/* Does a GOPT_OPENCL_TENSOR of another kind of kernel leave convolutions to that? */
static bool is_asked(const gi_cl *d)
{
    return !d->way || !strncmp(d->way, prefix, sizeof prefix - 1);
}

static int64_t bytes_of(const stem *s, const variant *v, int64_t h, int64_t w)
{
    const gi_cl_window *c = &s->conv.win;
    const int64_t ph = (h - 1) * c->sh + c->kh, pw = ((w - 1) * c->sw + s->across * 2 + 1) / 2 * 2;
    const int64_t patch = c->sw % 2 ? (ph * pw * 8 + 127) / 128 * 128 + 64 + ph * pw * 8 : ph * pw * 8;
    const int64_t in = v->bn * s->row * 2 + v->bn * 4 + patch, out = h * w * (v->bn * 2 + 16);
    return ((in > out ? in : out) + 15) / 16 * 16;
}

/* The rectangle of results of which the fewest make the whole; false where none has room. */
static bool find_tile(const stem *s, const variant *v, tile *best)
{
    const gi_cl_window *p = &s->pool;
    const int64_t blocks = (s->cout + v->bn - 1) / v->bn;
    int64_t best_pixels = 0;
    *best = (tile){ 0 };
    for (int64_t h = 1; h <= p->oh; h++) {
        const int64_t ch = (h - 1) * p->sh + p->kh;
        if (ch > v->rows)
            break;
        for (int64_t w = 1; w <= p->ow; w++) {
            const int64_t cw = (w - 1) * p->sw + p->kw, local = bytes_of(s, v, ch, cw);
            if (ch * cw > v->rows || local > LOCAL)
                break;
            const int64_t groups = s->conv.dims[0] * blocks * ((p->oh + h - 1) / h) * ((p->ow + w - 1) / w);
            if (best->groups && (groups > best->groups || (groups == best->groups && ch * cw >= best_pixels)))
                continue;
            *best = (tile){ h, w, groups, local };
            best_pixels = ch * cw;
        }
    }
    return best->groups > 0;
}

static bool takes_variant(const stem *s, const variant *v, tile *t)
{
    return (v->bn == LEAST_BLOCK || v->bn < s->cout * 2) && find_tile(s, v, t); /* one half as wide would not do */
}

/* The convolution and, where not NULL, the pool behind it. */
static bool read_stem(gi_cl_build *b, const gi_node *conv, const gi_node *pool, stem *s)
{
    *s = (stem){ 0 };
    if (!b->d->half || !b->d->mma || !is_asked(b->d) || conv->op != OP_Conv || !gi_cl_read_conv(b, conv, &s->conv))
        return false;
    const gi_cl_window *c = &s->conv.win;
    const int64_t *dims = s->conv.dims;
    s->cout = s->conv.weights->dims[0];
    s->across = (c->kw + 1) / 2;
    s->row = ((c->kh * s->across + 1) / 2 * 2 + 1) * 8;
    if (s->conv.rank != 4 || s->conv.group != 1 || dims[1] < 1 || dims[1] > MOST_CHANNELS || c->dh != 1 || c->dw != 1 ||
        c->kh * c->kw < 2 || c->kh > MOST_WINDOW || c->kw > MOST_WINDOW || c->sh > MOST_STRIDE || c->sw > MOST_STRIDE)
        return false;
    s->pool = (gi_cl_window){ .h = c->oh, .w = c->ow, .kh = 1, .kw = 1, .oh = c->oh, .ow = c->ow, .sh = 1, .sw = 1 };
    s->pools = pool != NULL;
    if (pool && !read_pool(pool, s, &s->pool))
        return false;
    const int64_t sizes[] = { dims[0], c->h, c->w, c->oh, c->ow, s->pool.oh, s->pool.ow, s->cout };
    for (size_t i = 0; i < GI_COUNT(sizes); i++)
        if (sizes[i] < 1 || sizes[i] > INT32_MAX / 64)
            return false;
    if (c->h * c->w > INT32_MAX / GI_CL_CHANNELS) /* offsets within an image have 32 bits */
        return false;
    for (size_t i = 0; i < GI_COUNT(variants); i++) {
        tile t;
        if (takes_variant(s, &variants[i], &t))
            return t.groups <= INT32_MAX / (WARPS * 32) / 64; /* others make more of them */
    }
    return false;
}

/* What stands behind the convolution, up to `result`, as a function of a sum and a channel. */
static gopt_status read_rest(gi_cl_build *b, const stem *s, const gi_node *conv, const gi_node *const *rest,
                             size_t n_rest, const gi_value *result, gi_cl_epilogue *e, bool *ok)
{
    const int64_t dims[] = { s->conv.dims[0], s->cout, s->conv.win.oh, s->conv.win.ow };
    const gi_cl_view y = gi_cl_view_last(4, dims, GI_CL_CHANNELS, true);
    int64_t given[GOPT_MAX_RANK];
    *ok = result->type && result->type->rank == 4 && gi_type_static_dims(result->type, given) &&
          !memcmp(given, dims, sizeof dims);
    if (!*ok)
        return GOPT_OK;
    GI_TRY(gi_cl_epilogue_of(b, conv->out[0], rest, n_rest, result, &y, 1, e, ok));
    *ok = *ok && !e->residual;
    return GOPT_OK;
}

/* A region of a convolution and pointwise nodes, and perhaps a MaxPool that reads what they give. */
typedef struct region {
    const gi_node *conv, *pool, **rest;
    size_t n_rest;
} region;

static gopt_status read_region(gi_arena *a, const gi_node *n, region *r, bool *is)
{
    const gi_block *body = gi_fusion_block(n);
    *is = false;
    *r = (region){ .conv = body->first };
    if (n->n_out != 1 || body->n_results != 1 || !r->conv || r->conv->op != OP_Conv)
        return GOPT_OK;
    GI_NEED(r->rest = GI_NEW_ARRAY(a, const gi_node *, body->n_nodes));
    for (const gi_node *k = r->conv->next; k; k = k->next)
        if (k->op == OP_MaxPool && !k->next)
            r->pool = k;
        else if (gi_cl_is_pointwise(k))
            r->rest[r->n_rest++] = k;
        else
            return GOPT_OK;
    const gi_value *last = body->last->out[0];
    const gi_value *before = r->pool ? gi_node_in(r->pool, 0) : last;
    /* what the pool reads is the last of the others, and no one else reads it */
    *is = body->results[0].value == last &&
          (!r->pool || (before && before->n_uses == 1 && gi_value_node(before) == r->pool->prev));
    return GOPT_OK;
}

/* Is any of it marked as staying in floats? */
static bool is_marked(const gi_node *n, const region *r, const gi_node *pool)
{
    bool marked = gi_fp32_node(n) || gi_fp32_node(pool) || gi_fp32_value(gi_node_in(r->conv, Conv_in_X)) ||
                  gi_fp32_value(n->out[0]) || gi_fp32_value(pool->out[0]) || gi_fp32_value(r->conv->out[0]);
    for (size_t i = 0; i < r->n_rest && !marked; i++)
        marked = gi_fp32_value(r->rest[i]->out[0]) != NULL;
    return marked;
}

static gopt_status halves_hold(gi_cl_build *b, const stem *s, bool *hold)
{
    gi_halving halving = { 0 };
    const char *why;
    const int64_t n = gi_blob_elements(s->conv.weights);
    float *w = gi_cl_floats_copy(b->d, s->conv.weights);
    GI_NEED(w);
    for (int64_t i = 0; i < n; i++)
        (void)gi_halve(&halving, w[i]);
    gi_free(b->d->cx, w);
    GI_TRY(gi_halving_misfit(&halving, s->conv.w, b->arena, &why));
    *hold = !why;
    return GOPT_OK;
}

bool gi_cl_grows(gi_device *dev, const gi_node *n, const gi_node *next, gi_arena *a)
{
    gi_cl_build b = { .d = (gi_cl *)dev, .arena = a, .dry = true };
    region r;
    stem s;
    gi_cl_epilogue e;
    bool ok;
    if (next->op != OP_MaxPool || read_region(a, n, &r, &ok) != GOPT_OK || !ok || r.pool ||
        !read_stem(&b, r.conv, next, &s) || is_marked(n, &r, next))
        return false;
    const gi_value *result = gi_fusion_block(n)->results[0].value;
    return read_rest(&b, &s, r.conv, r.rest, r.n_rest, result, &e, &ok) == GOPT_OK && ok &&
           halves_hold(&b, &s, &ok) == GOPT_OK && ok;
}

/* ---- weights ---- */

static int64_t rows_of(const stem *s)
{
    return (s->cout + ROWS_PAD - 1) / ROWS_PAD * ROWS_PAD;
}

/* Weights as halves, [channel][chunk of two taps][tap, 4 channels of x], and the bias as floats. */
static void fill(const void *user, const float *w, const float *bias, gi_halving *halving, void *to, float *bias_to)
{
    const stem *s = user;
    const gi_cl_window *c = &s->conv.win;
    const int64_t cin = s->conv.dims[1], taps = c->kh * c->kw;
    for (int64_t o = 0; o < s->cout; o++)
        for (int64_t i = 0; i < cin; i++)
            for (int64_t t = 0; t < taps; t++) {
                const int64_t ky = t / c->kw, kx = t % c->kw;
                ((uint16_t *)to)[o * s->row + (ky * s->across + kx / 2) * 8 + kx % 2 * 4 + i] =
                    gi_halve(halving, w[(o * cin + i) * taps + t]);
            }
    if (bias)
        memcpy(bias_to, bias, (size_t)s->cout * sizeof(float));
}

static gopt_status pack(gi_cl_build *b, const stem *s, gi_cl_ref *w, gi_cl_ref *bias, bool *fits)
{
    const int64_t order[] = { s->cout, s->conv.dims[1], s->conv.win.kh, s->conv.win.kw, s->row };
    const size_t rows = (size_t)rows_of(s);
    gi_cl_packing k = { .w = s->conv.w,
                        .bias = s->conv.bias,
                        .item = sizeof(uint16_t),
                        .bias_bytes = rows * sizeof(float),
                        .how = gi_hash(order, sizeof order, 4),
                        .fill = fill,
                        .user = s };
    if (!gi_mul_size(rows, (size_t)s->row * sizeof(uint16_t), &k.bytes))
        return GOPT_NO_MEMORY;
    return gi_cl_pack_weights(b, &k, w, bias, fits);
}

/* ---- launching ---- */

/* The kernel but for its variant. */
static const char *write_problem(gi_cl_build *b, const stem *s, const gi_cl_view *x, const gi_cl_view *y,
                                 const gi_cl_epilogue *e)
{
    const gi_cl_window *c = &s->conv.win, *p = &s->pool;
    const int64_t room = y->channels_last ? y->channels : s->cout;
    const struct {
        const char *name;
        int64_t value;
    } all[] = { { "CIN", s->conv.dims[1] },
                { "COUT", s->cout },
                { "ROOM", room },
                { "KH", c->kh },
                { "KW", c->kw },
                { "SH", c->sh },
                { "SW", c->sw },
                { "PAD_Y", c->ph },
                { "PAD_X", c->pw },
                { "IN_H", c->h },
                { "IN_W", c->w },
                { "OUT_H", c->oh },
                { "OUT_W", c->ow },
                { "POOL", s->pools },
                { "POOL_KH", p->kh },
                { "POOL_KW", p->kw },
                { "POOL_SH", p->sh },
                { "POOL_SW", p->sw },
                { "POOL_Y", p->ph },
                { "POOL_X", p->pw },
                { "Y_H", p->oh },
                { "Y_W", p->ow },
                { "X_N", x->stride[0] },
                { "X_C", x->stride[1] },
                { "X_Y", x->stride[2] },
                { "X_X", x->stride[3] },
                { "Y_N", y->stride[0] },
                { "Y_C", y->stride[1] },
                { "Y_Y", y->stride[2] },
                { "Y_X", y->stride[3] } };
    gi_str t;
    gi_str_init(&t, b->arena);
    gi_cl_write_access(&t, x, y);
    for (size_t i = 0; i < GI_COUNT(all); i++)
        gi_str_addf(&t, "#define %s %" PRId64 "\n", all[i].name, all[i].value);
    if (y->half && y->stride[1] == 1 && room % GI_CL_CHANNELS == 0)
        gi_str_add(&t, "#define Y_VECTOR 1\n");
    gi_str_add(&t, e->source);
    return t.failed ? NULL : t.p;
}

static const char *write_source(gi_cl_build *b, const char *before, const variant *v, const tile *t)
{
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_str_add(&s, before);
    gi_str_addf(&s,
                "#define ROWS %d\n#define BN %d\n#define WARPS_M %d\n#define WARPS_N %d\n#define TH %" PRId64
                "\n#define TW %" PRId64 "\n#define LOCAL_BYTES %" PRId64 "\n",
                v->rows, v->bn, v->warps_m, WARPS / v->warps_m, t->h, t->w, t->local);
    gi_str_add(&s, gi_cl_ptx(b->d));
    gi_str_add(&s, gk_opencl_stem);
    return s.failed ? NULL : s.p;
}

size_t gi_cl_stem_variants(void)
{
    return GI_COUNT(variants);
}

void gi_cl_stem_name(size_t i, char *name, size_t size)
{
    (void)snprintf(name, size, "%s%dx%dx%d", prefix, variants[i].rows, variants[i].bn, variants[i].warps_m);
}

/* µs that a variant is expected to take: as in mma.c, 3 TFLOP/s a multiprocessor, and 2 to begin and end a group, which
 * those beside it use. */
static double expected(const gi_cl *d, const stem *s, const variant *v, const tile *t)
{
    const double at_once = v->rows * v->bn >= 64 * WARPS * 32 ? 2 : 3; /* that a multiprocessor has, by their sums */
    const double rounds = ceil((double)t->groups / (d->units * at_once));
    const double shared = fmax(1, (double)t->groups / d->units / rounds);
    const double work = 2.0 * v->rows * v->bn * (double)s->row * 1e-6 / 3.0;
    return rounds * (2.0 + work * shared);
}

/* By the clock where that is allowed, once for each problem; the one that is asked for by name before all. */
static gopt_status choose(gi_cl_build *b, const stem *s, const char *before, uint32_t n_refs, const uint64_t *bytes,
                          size_t *chosen, tile *t)
{
    char key[96], name[32];
    double least = -1;
    const int64_t images = s->conv.dims[0];
    const bool timed = b->d->timed;
    (void)snprintf(key, sizeof key, "stem,%016llx,%" PRId64, (unsigned long long)gi_hash(before, strlen(before), 1),
                   images);
    const int known = timed ? gi_cl_tuned(b->d, key) : -1;
    if (known >= 0 && (size_t)known < GI_COUNT(variants) && takes_variant(s, &variants[known], t)) {
        *chosen = (size_t)known;
        return GOPT_OK;
    }
    const char *sources[GI_COUNT(variants)] = { NULL };
    for (size_t i = 0; timed && i < GI_COUNT(variants); i++) {
        tile own;
        if (takes_variant(s, &variants[i], &own))
            GI_NEED(sources[i] = write_source(b, before, &variants[i], &own));
    }
    GI_TRY(gi_cl_build_all(b->d, b->arena, sources, GI_COUNT(sources)));
    for (size_t i = 0; i < GI_COUNT(variants); i++) {
        tile own;
        if (!takes_variant(s, &variants[i], &own))
            continue;
        double us = expected(b->d, s, &variants[i], &own);
        gi_cl_stem_name(i, name, sizeof name);
        if (b->d->way && !strcmp(name, b->d->way))
            us = 0;
        if (timed)
            us = gi_cl_time_source(b->d, sources[i], "stem", n_refs, bytes, 0, NULL,
                                   (size_t[]){ (size_t)own.groups * WARPS * 32, 1, 1 }, (size_t[]){ WARPS * 32, 1, 1 });
        if (us >= 0 && (least < 0 || us < least)) {
            least = us;
            *chosen = i;
            *t = own;
        }
    }
    if (least < 0)
        return GOPT_INTERNAL; /* read_stem has seen one */
    return timed ? gi_cl_tuned_put(b->d, key, (int)*chosen) : GOPT_OK;
}

static gopt_status take(gi_cl_build *b, const stem *s, const gi_node *conv, const gi_node *const *rest, size_t n_rest,
                        const gi_value *result, const gi_value *stored, bool *took)
{
    gi_cl_epilogue e;
    gi_cl_view x, y;
    bool ok;
    size_t chosen = 0;
    tile t = { 0 };
    char name[32];
    GI_TRY(read_rest(b, s, conv, rest, n_rest, result, &e, &ok));
    if (!ok || !gi_cl_view_of(b, s->conv.x, &x) || !gi_cl_view_of(b, stored, &y) || y.rank != 4 ||
        (!s->pools && !y.half)) /* sums that are stored as floats are not rounded to halves */
        return GOPT_OK;
    *took = b->dry;
    if (b->dry)
        return GOPT_OK;
    gi_cl_ref refs[4 + GI_COUNT(e.refs)];
    uint64_t bytes[4 + GI_COUNT(e.refs)] = { gi_cl_view_bytes(&x), (uint64_t)(rows_of(s) * s->row) * 2,
                                             (uint64_t)rows_of(s) * 4, gi_cl_view_bytes(&y) };
    GI_TRY(pack(b, s, &refs[1], &refs[2], &ok));
    if (!ok)
        return GOPT_OK;
    GI_TRY(gi_cl_find(b, s->conv.x, &refs[0]));
    GI_TRY(gi_cl_find(b, stored, &refs[3]));
    for (uint32_t i = 0; i < e.n_refs; i++) {
        refs[4 + i] = e.refs[i];
        bytes[4 + i] = (uint64_t)s->cout * 4;
    }
    const char *before = write_problem(b, s, &x, &y, &e), *source;
    GI_NEED(before);
    GI_TRY(choose(b, s, before, 4 + e.n_refs, bytes, &chosen, &t));
    GI_NEED(source = write_source(b, before, &variants[chosen], &t));
    gi_cl_stem_name(chosen, name, sizeof name);
    GI_NEED(b->s->tactic = gi_arena_str(b->c->arena, name));
    const gi_cl_window *c = &s->conv.win;
    b->s->gflop = 2e-9 * (double)(s->conv.dims[0] * s->cout) * (double)(c->oh * c->ow) *
                  (double)(c->kh * c->kw * s->conv.dims[1]);
    *took = true;
    return gi_cl_launch_kernel(b, source, "stem", 4 + e.n_refs, refs, 0, NULL,
                               (size_t[]){ (size_t)t.groups * WARPS * 32, 1, 1 }, (size_t[]){ WARPS * 32, 1, 1 });
}

gopt_status gi_cl_stem(gi_cl_build *b, const gi_node *main, const gi_node *const *rest, size_t n_rest,
                       const gi_value *result, const gi_value *stored, bool *took)
{
    stem s;
    bool in_floats;
    *took = false;
    if (!read_stem(b, main, NULL, &s))
        return GOPT_OK;
    GI_TRY(gi_cl_reads_fp32(b, s.conv.x, &in_floats));
    return in_floats ? GOPT_OK : take(b, &s, main, rest, n_rest, result, stored, took);
}

gopt_status gi_cl_take_stem(gi_cl_build *b, const gi_node *n, bool *took)
{
    region r;
    stem s;
    bool is;
    *took = false;
    GI_TRY(read_region(b->arena, n, &r, &is));
    if (!is || !r.pool || !read_stem(b, r.conv, r.pool, &s))
        return GOPT_OK;
    return take(b, &s, r.conv, r.rest, r.n_rest, gi_node_in(r.pool, 0), n->out[0], took);
}
