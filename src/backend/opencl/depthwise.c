/* Convolutions of one filter a channel, and what is fused behind them, as one kernel (depthwise.cl).
 *
 * What they cost is reading x and writing y once, if each element that is read serves all of the window's places that it
 * stands in: so an item makes a tile of pixels. How large a tile is best depends on how many there are. */
#include "backend/opencl/cl.h"
#include "ops/eval.h"

enum { CHUNK = GI_CL_CHANNELS, ITEMS = 256 };

typedef struct depthwise {
    const gi_value *x, *w, *bias;
    gi_cl_view in;
    gi_cl_window win;
    int64_t images, channels, chunks;
} depthwise;

/* Pixels that an item makes, down and across. */
typedef struct tile {
    int h, w;
} tile;

static const tile tiles[] = { { 1, 1 }, { 1, 2 }, { 1, 4 }, { 1, 7 }, { 2, 2 }, { 2, 4 }, { 4, 2 } };

static bool read_conv(gi_cl_build *b, const gi_node *n, depthwise *p)
{
    gi_cl_conv c;
    if (!gi_cl_read_conv(b, n, &c) || c.group <= 1 || c.group != c.dims[1] || c.weights->dims[0] != c.dims[1] ||
        c.weights->dims[1] != 1)
        return false;
    p->x = c.x;
    p->w = c.w;
    p->bias = c.bias;
    p->win = c.win;
    p->in = gi_cl_view_last(c.rank, c.dims, CHUNK, b->d->half);
    p->images = c.dims[0];
    p->channels = c.dims[1];
    p->chunks = p->in.channels / CHUNK;
    return true;
}

/* Weights as floats, [tap][channel], and behind them the bias, both with room for whole chunks. */
static void fill(const void *user, const float *w, const float *bias, gi_halving *halving, void *to, float *bias_to)
{
    const depthwise *p = user;
    const int64_t taps = p->win.kh * p->win.kw, row = p->chunks * CHUNK;
    float *y = to;
    (void)halving;
    (void)bias_to;
    for (int64_t c = 0; c < p->channels; c++)
        for (int64_t t = 0; t < taps; t++)
            y[t * row + c] = w[c * taps + t];
    if (bias)
        memcpy(y + taps * row, bias, (size_t)p->channels * sizeof(float));
}

static gopt_status pack(gi_cl_build *b, const depthwise *p, gi_cl_ref *w, gi_cl_ref *bias)
{
    const int64_t taps = p->win.kh * p->win.kw, row = p->chunks * CHUNK;
    const int64_t order[] = { p->channels, taps, row };
    gi_cl_packing k = { .w = p->w,
                        .bias = p->bias,
                        .item = sizeof(float),
                        .how = gi_hash(order, sizeof order, 2),
                        .fill = fill,
                        .user = p };
    bool fits;
    if (!gi_mul_size((size_t)(taps + 1), (size_t)row * sizeof(float), &k.bytes))
        return GOPT_NO_MEMORY;
    GI_TRY(gi_cl_pack_weights(b, &k, w, NULL, &fits));
    *bias = *w;
    bias->offset += (uint64_t)(taps * row) * sizeof(float);
    return GOPT_OK;
}

static int64_t items_of(const depthwise *p, tile t, int64_t *across, int64_t *down)
{
    *across = (p->win.ow + t.w - 1) / t.w;
    *down = (p->win.oh + t.h - 1) / t.h;
    return p->images * p->chunks * *across * *down;
}

static bool takes_tile(const gi_cl_window *w, tile t)
{
    return (t.h == 1 || (w->dh == 1 && w->kh * w->kw <= 9)) && (t.w == 1 || w->dw == 1) && w->kw <= 11 &&
           t.h <= w->oh && t.w <= w->ow;
}

static const char *write_source(gi_cl_build *b, const depthwise *p, const char *before, tile t)
{
    const gi_cl_window *w = &p->win;
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_str_addf(&s,
                "#define KH %lld\n#define KW %lld\n#define SH %lld\n#define SW %lld\n#define DH %lld\n#define DW %lld\n"
                "#define TH %d\n#define TW %d\n",
                (long long)w->kh, (long long)w->kw, (long long)w->sh, (long long)w->sw, (long long)w->dh,
                (long long)w->dw, t.h, t.w);
    gi_str_add(&s, before);
    gi_str_add(&s, gk_opencl_depthwise);
    return s.failed ? NULL : s.p;
}

enum { N_INTS = 15 };

static size_t set_ints(const depthwise *p, tile t, int64_t room, const int64_t *strides, int64_t *ints)
{
    const gi_cl_window *w = &p->win;
    int64_t across, down;
    const int64_t total = items_of(p, t, &across, &down);
    const int64_t all[N_INTS] = { total, p->channels, room,  p->chunks, across,     down,       w->h,      w->w,
                                  w->oh, w->ow,       w->ph, w->pw,     strides[0], strides[1], strides[2] };
    memcpy(ints, all, sizeof all);
    return (size_t)(total + ITEMS - 1) / ITEMS * ITEMS;
}

/* By the clock where that is allowed, once for each problem; else the largest tile that still fills the device. */
static gopt_status choose(gi_cl_build *b, const depthwise *p, const char *before, int64_t room, const int64_t *strides,
                          uint32_t n_refs, const uint64_t *bytes, tile *chosen)
{
    char key[96];
    int best = 0;
    double least = -1;
    int64_t ints[N_INTS];
    const gi_cl_window *w = &p->win;
    for (size_t i = 0; i < GI_COUNT(tiles); i++) {
        int64_t across, down;
        if (takes_tile(w, tiles[i]) && items_of(p, tiles[i], &across, &down) >= (int64_t)b->d->units * 1024 &&
            tiles[i].h * tiles[i].w > tiles[best].h * tiles[best].w)
            best = (int)i;
    }
    *chosen = tiles[best];
    if (!b->d->timed || !b->d->mma)
        return GOPT_OK;
    const int64_t shape[] = {
        p->images, p->channels, w->h, w->w, w->kh, w->kw, w->sh, w->sw, w->dh, w->dw, w->oh, w->ow
    };
    (void)snprintf(key, sizeof key, "depthwise,%016llx,%016llx", (unsigned long long)gi_hash(before, strlen(before), 3),
                   (unsigned long long)gi_hash(shape, sizeof shape, 3));
    const int known = gi_cl_tuned(b->d, key);
    if (known >= 0 && (size_t)known < GI_COUNT(tiles) && takes_tile(w, tiles[known])) {
        *chosen = tiles[known];
        return GOPT_OK;
    }
    const char *sources[GI_COUNT(tiles)] = { NULL };
    for (size_t i = 0; i < GI_COUNT(tiles); i++)
        if (takes_tile(w, tiles[i]))
            GI_NEED(sources[i] = write_source(b, p, before, tiles[i]));
    GI_TRY(gi_cl_build_all(b->d, b->arena, sources, GI_COUNT(sources)));
    for (size_t i = 0; i < GI_COUNT(tiles); i++) {
        if (!sources[i])
            continue;
        const size_t global = set_ints(p, tiles[i], room, strides, ints);
        const double us = gi_cl_time_source(b->d, sources[i], "depthwise", n_refs, bytes, N_INTS, ints,
                                            (size_t[]){ global, 1, 1 }, (size_t[]){ ITEMS, 1, 1 });
        if (us >= 0 && (least < 0 || us < least)) {
            least = us;
            best = (int)i;
        }
    }
    *chosen = tiles[best];
    return gi_cl_tuned_put(b->d, key, best);
}

/* Strides of images, pixels and channels; false where pixels have no one stride. */
static bool result_strides(const gi_cl_view *y, int64_t strides[3])
{
    strides[0] = y->stride[0];
    strides[1] = y->stride[y->rank - 1];
    strides[2] = y->stride[1];
    return y->rank == 3 || y->dims[2] == 1 || y->stride[2] == y->stride[3] * y->dims[3] || y->dims[3] == 1;
}

gopt_status gi_cl_depthwise(gi_cl_build *b, const gi_node *main, const gi_node *const *rest, size_t n_rest,
                            const gi_value *result, const gi_value *stored, bool *took)
{
    depthwise p = { 0 };
    gi_cl_epilogue e;
    gi_cl_view y;
    int64_t strides[3], dims[GOPT_MAX_RANK];
    bool ok, in_floats;
    *took = false;
    if (main->op != OP_Conv || !read_conv(b, main, &p) || !gi_cl_view_of(b, stored, &y) ||
        !gi_type_static_dims(main->out[0]->type, dims) || y.rank != main->out[0]->type->rank ||
        memcmp(dims, y.dims, (size_t)y.rank * sizeof *dims) != 0 || !result_strides(&y, strides) ||
        p.in.room > INT32_MAX || y.room > INT32_MAX)
        return GOPT_OK;
    GI_TRY(gi_cl_reads_fp32(b, p.x, &in_floats));
    if (in_floats)
        return GOPT_OK;
    GI_TRY(gi_cl_epilogue_of(b, main->out[0], rest, n_rest, result, &y, 1, &e, &ok));
    if (!ok || (e.residual && strides[2] != 1))
        return GOPT_OK;
    const int64_t room = y.channels_last ? y.channels : p.channels;
    gi_cl_ref refs[4 + GI_COUNT(e.refs)];
    uint64_t bytes[4 + GI_COUNT(e.refs)] = { gi_cl_view_bytes(&p.in),
                                             (uint64_t)(p.win.kh * p.win.kw * p.chunks * CHUNK) * 4,
                                             (uint64_t)(p.chunks * CHUNK) * 4, (uint64_t)y.room * 4 };
    gi_str s;
    tile t;
    int64_t ints[N_INTS];
    gi_str_init(&s, b->arena);
    gi_cl_write_access(&s, &p.in, &y);
    gi_cl_write_chunks(&s, p.in.half, y.half);
    if (strides[2] == 1 && room % CHUNK == 0)
        gi_str_add(&s, "#define Y_VECTOR 1\n");
    gi_str_add(&s, e.source);
    GI_NEED(!s.failed);
    GI_TRY(pack(b, &p, &refs[1], &refs[2]));
    GI_TRY(gi_cl_convert(b, p.x, &p.in, &refs[0]));
    GI_TRY(gi_cl_find(b, stored, &refs[3]));
    for (uint32_t i = 0; i < e.n_refs; i++) {
        refs[4 + i] = e.refs[i];
        bytes[4 + i] = (uint64_t)gi_max_i64(y.room, p.channels) * 4;
    }
    GI_TRY(choose(b, &p, s.p, room, strides, 4 + e.n_refs, bytes, &t));
    const size_t global = set_ints(&p, t, room, strides, ints);
    const char *source = write_source(b, &p, s.p, t);
    *took = true;
    b->s->gflop = 2e-9 * (double)(p.images * p.channels * p.win.oh * p.win.ow) * (double)(p.win.kh * p.win.kw);
    b->s->tactic = gi_arena_printf(b->c->arena, "depthwise_%dx%d", t.h, t.w);
    GI_NEED(source && b->s->tactic);
    b->weights = bytes[1] + bytes[2];
    return gi_cl_launch_kernel(b, source, "depthwise", 4 + e.n_refs, refs, N_INTS, ints, (size_t[]){ global, 1, 1 },
                               (size_t[]){ ITEMS, 1, 1 });
}
