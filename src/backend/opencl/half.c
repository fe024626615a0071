/* Convolutions and products with constant weights in halves, sums in floats, and what is fused behind them.
 *
 * One description serves all: pixels by channels over the taps of a window (tile.cl). On NVIDIA's tensor cores mma.cl
 * computes it, elsewhere tile.cl; a filter a channel goes to "depthwise". Weights are packed when the step is compiled;
 * one that is too large for a half keeps the node in floats. */
#include <math.h>

#include "backend/opencl/cl.h"
#include "ops/eval.h"

enum { CHUNK = 8, ROW_PAD = 64, CHANNEL_PAD = 128, LOCAL = 48 * 1024 };

typedef struct half_product {
    const gi_value *x, *w, *bias; /* bias: NULL or of one element a channel */
    gi_cl_view in;                /* as the kernel wants x */
    int64_t m, n, k;              /* pixels, channels of the result, channels of x */
    int64_t taps, h, wd, pixels, ow, kw, sh, sw, ph, pw, dh, dw;
    bool depthwise;
    float alpha, beta;
    int axis;            /* of the result's channels */
    bool pairs;          /* two neighbouring pixels of 4 channels are one of 8 */
    int64_t shift, cols; /* of pairs: zero taps before a row of the window, and its own taps */
    bool w_rows;         /* weights lie as [n][…]; else as [k][n] */
} half_product;

/* A variant of mma.cl: its tile, stages and warps. */
typedef struct variant {
    int bm, bn, bk, stages, warps_m, warps_n, passes;
    int groups; /* that a multiprocessor holds at once */
} variant;

static const variant variants[] = {
    { 32, 64, 64, 4, 2, 4, 1, 4 },  { 64, 64, 64, 3, 2, 4, 1, 4 },   { 64, 64, 64, 3, 2, 2, 1, 4 },
    { 64, 128, 64, 2, 2, 2, 1, 3 }, { 128, 64, 32, 4, 2, 2, 1, 3 },  { 128, 64, 32, 4, 4, 2, 1, 2 },
    { 64, 128, 32, 4, 2, 2, 1, 3 }, { 128, 128, 32, 3, 2, 2, 2, 2 },
};

/* ---- what the node is ---- */

static bool float_blob(const gi_value *v, const gi_blob **b)
{
    *b = gi_value_blob(v);
    return *b && (*b)->dtype == GOPT_F32;
}

static bool read_conv(gi_cl_build *b, const gi_node *n, half_product *p)
{
    const gi_blob *wb, *bb;
    gi_window win;
    int rx;
    int64_t x[GOPT_MAX_RANK];
    p->x = gi_node_in(n, Conv_in_X);
    p->w = gi_node_in(n, Conv_in_W);
    p->bias = gi_node_in(n, Conv_in_B);
    if (!float_blob(p->w, &wb) || (p->bias && !float_blob(p->bias, &bb)) || !gi_cl_tensor(b, p->x, "X", &rx, x) ||
        (rx != 3 && rx != 4) || wb->rank != rx || !gi_window_of_conv(n, rx, x, wb->dims, &win))
        return false;
    const int64_t group = gi_attr_int(n, Conv_at_group);
    p->depthwise = group > 1 && group == x[1] && wb->dims[0] == x[1] && wb->dims[1] == 1;
    if (group != 1 && !p->depthwise)
        return false;
    const gi_cl_window v = gi_cl_window_of(&win, rx, x);
    p->in = gi_cl_view_last(rx, x, CHUNK);
    p->n = wb->dims[0];
    p->k = x[1];
    p->h = v.h;
    p->wd = v.w;
    p->ow = v.ow;
    p->pixels = v.oh * v.ow;
    p->m = x[0] * p->pixels;
    p->kw = v.kw;
    p->taps = v.kh * v.kw;
    p->sh = v.sh;
    p->sw = v.sw;
    p->ph = v.ph;
    p->pw = v.pw;
    p->dh = v.dh;
    p->dw = v.dw;
    p->alpha = p->beta = 1;
    p->axis = 1;
    p->w_rows = true;
    return true;
}

static bool read_product(gi_cl_build *b, const gi_node *n, half_product *p)
{
    const bool gemm = n->op == OP_Gemm;
    const gi_blob *wb, *bb;
    int ra;
    int64_t a[GOPT_MAX_RANK];
    p->x = gi_node_in(n, 0);
    p->w = gi_node_in(n, 1);
    p->bias = gemm ? gi_node_in(n, Gemm_in_C) : NULL;
    if (!float_blob(p->w, &wb) || wb->rank != 2 || !gi_cl_tensor(b, p->x, "A", &ra, a) || ra < 2 ||
        (gemm && (gi_attr_int(n, Gemm_at_transA) || ra != 2)))
        return false;
    p->w_rows = gemm && gi_attr_int(n, Gemm_at_transB);
    p->n = wb->dims[p->w_rows ? 0 : 1];
    p->k = a[ra - 1];
    p->alpha = gemm ? gi_attr_float(n, Gemm_at_alpha) : 1;
    p->beta = gemm ? gi_attr_float(n, Gemm_at_beta) : 1;
    if (wb->dims[p->w_rows ? 1 : 0] != p->k || p->k % CHUNK || !gi_product(0, ra, a))
        return false;
    if (p->bias && (!float_blob(p->bias, &bb) || gi_blob_elements(bb) != p->n || bb->dims[bb->rank - 1] != p->n))
        return false;
    p->in = gi_cl_view_dense(ra, a, true);
    p->m = gi_product(0, ra - 1, a);
    p->taps = p->h = p->wd = p->pixels = p->ow = p->kw = p->sh = p->sw = p->dh = p->dw = 1;
    p->axis = n->out[0]->type->rank - 1;
    return true;
}

/* An image of at most 4 channels that is converted anyway: as pairs of pixels of 4 channels each, a chunk a pair, where
 * strides keep the pairs together. Half the arithmetic of 8 channels a pixel, most of them zero. */
static void as_pairs(const gi_cl_build *b, half_product *p)
{
    gi_cl_view x;
    if (!gi_cl_view_of(b, p->x, &x) || x.half || p->depthwise || p->k > CHUNK / 2 || p->wd % 2 || p->sw % 2 ||
        p->dw != 1 || p->kw < 2)
        return;
    const int64_t rows = p->taps / p->kw;
    p->pairs = true;
    p->cols = p->kw;
    p->shift = p->pw % 2;
    p->in = gi_cl_view_last(x.rank, x.dims, CHUNK / 2);
    p->kw = (p->kw + p->shift + 1) / 2;
    p->taps = rows * p->kw;
    p->pw = (p->pw + p->shift) / 2;
    p->sw /= 2;
    p->wd /= 2;
}

/* ---- weights ---- */

static int64_t chunks_of(const half_product *p)
{
    return (p->k + CHUNK - 1) / CHUNK;
}

/* Halves of one row of the packed weights. */
static int64_t row_of(const half_product *p)
{
    const int64_t all = p->taps * chunks_of(p) * CHUNK;
    return p->depthwise ? chunks_of(p) * CHUNK : (all + ROW_PAD - 1) / ROW_PAD * ROW_PAD;
}

static gopt_status pack(gi_cl_build *b, const half_product *p, gi_cl_ref *w, gi_cl_ref *bias, bool *fits)
{
    const gi_blob *wb = gi_value_blob(p->w), *bb = p->bias ? gi_value_blob(p->bias) : NULL;
    const int64_t row = row_of(p), channels = chunks_of(p) * CHUNK;
    const int64_t rows = p->depthwise ? p->taps : (p->n + CHANNEL_PAD - 1) / CHANNEL_PAD * CHANNEL_PAD;
    const int64_t biases = (p->n + CHANNEL_PAD - 1) / CHANNEL_PAD * CHANNEL_PAD;
    size_t bytes;
    if (!gi_mul_size((size_t)rows, (size_t)row * sizeof(uint16_t), &bytes))
        return GOPT_NO_MEMORY;
    uint16_t *to = gi_alloc(b->d->cx, bytes);
    float *bs = gi_alloc(b->d->cx, (size_t)biases * sizeof(float)), *from = gi_alloc(b->d->cx, wb->bytes + 1);
    gopt_status st = to && bs && from ? GOPT_OK : GOPT_NO_MEMORY;
    float most = 0;
    if (st == GOPT_OK) {
        memset(to, 0, bytes);
        memset(bs, 0, (size_t)biases * sizeof(float));
        memcpy(from, wb->data, wb->bytes);
        const int64_t own = p->depthwise ? 1 : p->k, cols = p->pairs ? p->cols : p->kw;
        const int64_t taps = p->taps / p->kw * cols;
        for (int64_t o = 0; o < p->n; o++)
            for (int64_t c = 0; c < own; c++)
                for (int64_t t = 0; t < taps; t++) {
                    const float v = p->alpha * from[p->w_rows ? (o * own + c) * taps + t : c * p->n + o];
                    const int64_t at = t % cols + p->shift;
                    most = fabsf(v) > most || v != v ? fabsf(v) : most;
                    if (p->depthwise)
                        to[t * row + o] = gi_f32_to_f16(v);
                    else if (p->pairs)
                        to[o * row + (t / cols * p->kw + at / 2) * CHUNK + at % 2 * (CHUNK / 2) + c] = gi_f32_to_f16(v);
                    else
                        to[o * row + t * channels + c] = gi_f32_to_f16(v);
                }
        for (int64_t o = 0; bb && o < p->n; o++) {
            float v;
            memcpy(&v, (const char *)bb->data + (size_t)o * sizeof v, sizeof v);
            bs[o] = p->beta * v;
        }
        *fits = most <= 65504.0f;
        if (*fits)
            st = gi_cl_own(b, to, bytes, 2, w);
        if (*fits && st == GOPT_OK)
            st = gi_cl_own(b, bs, (size_t)biases * sizeof(float), 4, bias);
    }
    gi_free(b->d->cx, to);
    gi_free(b->d->cx, bs);
    gi_free(b->d->cx, from);
    return st;
}

/* ---- choosing ---- */

static int64_t tiles_of(const variant *v, const half_product *p, int64_t room)
{
    return (p->m + v->bm - 1) / v->bm * ((room + v->bn - 1) / v->bn);
}

/* µs that a variant is expected to take: rounds of groups over the multiprocessors, each step of the sum bound by
 * latency or by what groups that share a multiprocessor leave of it. Constants from an H100: 0.28 µs for 64 elements
 * of the sum, 3 TFLOP/s a multiprocessor, 2.5 µs to begin and end. */
static double expected(const gi_cl *d, const variant *v, const half_product *p, int64_t room, int splits)
{
    const double units = (double)tiles_of(v, p, room) * splits, slots = (double)d->units * v->groups;
    const double rounds = ceil(units / slots), steps = ceil((double)(row_of(p) / v->bk) / splits);
    const double shared = fmin(ceil(units / d->units / rounds), v->groups);
    const double work = 2.0 * v->bm * v->bn * v->bk * 1e-6 / 3.0;
    const double sum = splits > 1 ? 1.5 + splits * v->bm * v->bn * 4e-5 * 0.5 : 0;
    return 2.5 + rounds * steps * fmax(0.28 * v->bk / 64, work * shared) + rounds * 1.0 + sum;
}

/* ---- launching ---- */

/* Where element (pixel, channel) of the result lies: strides of images, pixels and channels. */
static bool result_strides(const half_product *p, const gi_cl_view *y, int64_t strides[3])
{
    if (p->axis == 1 && y->rank > 2) {
        strides[0] = y->stride[0];
        strides[1] = y->stride[y->rank - 1];
        strides[2] = y->stride[1];
        return y->rank == 3 || y->dims[2] == 1 || y->stride[2] == y->stride[3] * y->dims[3] || y->dims[3] == 1;
    }
    /* rows of a matrix: each an image of one pixel */
    strides[0] = p->n;
    strides[1] = 0;
    strides[2] = 1;
    return !y->channels_last;
}

/* A way to run it: a variant and how often the sum is split. */
typedef struct way {
    const variant *v;
    int splits;
} way;

enum { MOST_WAYS = 64, KEPT_WAYS = 20 };

typedef struct mma_launch {
    const char *source;
    size_t threads, groups;
    int64_t tiles;
    uint64_t parts; /* bytes of the sums of parts; 0: not split */
    int64_t ints[24];
    uint32_t n_ints;
} mma_launch;

static gopt_status launch_of(gi_cl_build *b, const half_product *p, const char *before, way w, int64_t room,
                             uint32_t n_ints, const int64_t *ints, mma_launch *l)
{
    const variant *v = w.v;
    const int stage = (v->bm + v->bn) * v->bk * 2, out = v->bm / v->passes * (v->bn + 4) * 4;
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_str_add(&s, before);
    gi_str_addf(&s,
                "#define BM %d\n#define BN %d\n#define BK %d\n#define ST %d\n#define WAIT %d\n#define WARPS_M %d\n"
                "#define WARPS_N %d\n#define PASSES %d\n#define LOCAL_BYTES %d\n",
                v->bm, v->bn, v->bk, v->stages, v->stages - 2, v->warps_m, v->warps_n, v->passes,
                v->stages * stage > out ? v->stages * stage : out);
    gi_str_add(&s, gk_opencl_mma);
    GI_NEED(!s.failed);
    *l = (mma_launch){ .source = s.p, .tiles = tiles_of(v, p, room), .n_ints = n_ints + 2 };
    l->threads = (size_t)(32 * v->warps_m * v->warps_n);
    l->groups = (size_t)(l->tiles * w.splits);
    l->parts = w.splits > 1 ? (uint64_t)l->groups * (uint64_t)(v->bm * v->bn) * 4 : 0;
    memcpy(l->ints, ints, n_ints * sizeof *ints);
    l->ints[n_ints] = w.splits;
    l->ints[n_ints + 1] = (room + v->bn - 1) / v->bn;
    return GOPT_OK;
}

/* µs of one way on buffers that hold zeros; -1 where it does not run. */
static double time_way(gi_cl_build *b, const mma_launch *l, uint32_t n_refs, const uint64_t *bytes)
{
    cl_kernel k = NULL;
    cl_mem mem[6 + 8] = { NULL };
    cl_int err = CL_SUCCESS;
    double t = -1;
    if (gi_cl_kernel(b->d, l->source, "product_mma", &k) != GOPT_OK)
        return -1;
    for (uint32_t i = 0; i < n_refs && err == CL_SUCCESS; i++) {
        const uint64_t size = i == 4 ? l->parts : i == 5 ? (uint64_t)l->tiles * 4 : bytes[i];
        const cl_ulong at = 0;
        const cl_uint zero = 0;
        mem[i] = clCreateBuffer(b->d->context, CL_MEM_READ_WRITE, (size_t)(size / 64 + 1) * 64, NULL, &err);
        if (mem[i])
            err = clEnqueueFillBuffer(b->d->queue, mem[i], &zero, 4, 0, (size_t)(size / 64 + 1) * 64, 0, NULL, NULL);
        if (err == CL_SUCCESS)
            err = clSetKernelArg(k, 2 * i, sizeof mem[i], &mem[i]);
        if (err == CL_SUCCESS)
            err = clSetKernelArg(k, 2 * i + 1, sizeof at, &at);
    }
    for (uint32_t i = 0; i < l->n_ints && err == CL_SUCCESS; i++) {
        const cl_long v = l->ints[i];
        err = clSetKernelArg(k, 2 * n_refs + i, sizeof v, &v);
    }
    if (err == CL_SUCCESS && clFinish(b->d->queue) == CL_SUCCESS)
        t = gi_cl_time(b->d, k, (size_t[]){ l->groups * l->threads, 1, 1 }, (size_t[]){ l->threads, 1, 1 });
    for (uint32_t i = 0; i < n_refs; i++)
        if (mem[i])
            (void)clReleaseMemObject(mem[i]);
    (void)clReleaseKernel(k);
    return t;
}

/* The ways, those that are expected to be fastest first. */
static int list_ways(const gi_cl *d, const half_product *p, int64_t room, way *ways)
{
    static const int counts[] = { 1, 2, 3, 4, 6, 8 };
    double times[MOST_WAYS];
    int n = 0;
    for (size_t i = 0; i < GI_COUNT(variants); i++)
        for (size_t k = 0; k < GI_COUNT(counts) && n < MOST_WAYS; k++) {
            const variant *v = &variants[i];
            if (k && (row_of(p) / v->bk < 2 * counts[k] || tiles_of(v, p, room) >= 2 * d->units))
                continue;
            const double t = expected(d, v, p, room, counts[k]);
            int at = n++;
            for (; at && times[at - 1] > t; at--) {
                times[at] = times[at - 1];
                ways[at] = ways[at - 1];
            }
            times[at] = t;
            ways[at] = (way){ v, counts[k] };
        }
    return n;
}

/* By the clock where that is allowed, once for each problem; else by what is expected. */
static gopt_status choose(gi_cl_build *b, const half_product *p, const char *before, int64_t room, uint32_t n_refs,
                          const uint64_t *bytes, uint32_t n_ints, const int64_t *ints, way *chosen)
{
    way ways[MOST_WAYS];
    char key[200];
    const int n = list_ways(b->d, p, room, ways);
    *chosen = ways[0];
    if (!b->d->timed)
        return GOPT_OK;
    int at = snprintf(key, sizeof key, "%016llx", (unsigned long long)gi_hash(before, strlen(before), 3));
    for (uint32_t i = 0; i < 17 && at > 0 && (size_t)at < sizeof key; i++) /* all but the strides of the result */
        at += snprintf(key + at, sizeof key - (size_t)at, ",%lld", (long long)ints[i]);
    const int known = gi_cl_tuned(b->d, key);
    if (known >= 0 && (size_t)known / 16 < GI_COUNT(variants) && known % 16 > 0) {
        *chosen = (way){ &variants[known / 16], known % 16 };
        return GOPT_OK;
    }
    double least = -1;
    for (int i = 0; i < n && i < KEPT_WAYS; i++) {
        mma_launch l;
        GI_TRY(launch_of(b, p, before, ways[i], room, n_ints, ints, &l));
        const double t = time_way(b, &l, n_refs, bytes);
        if (t >= 0 && (least < 0 || t < least)) {
            least = t;
            *chosen = ways[i];
        }
    }
    return gi_cl_tuned_put(b->d, key, (int)(chosen->v - variants) * 16 + chosen->splits);
}

static gopt_status launch_mma(gi_cl_build *b, const half_product *p, const gi_cl_epilogue *e, const char *before,
                              const gi_cl_view *y, int64_t room, uint32_t n_refs, gi_cl_ref *refs, uint32_t n_ints,
                              const int64_t *ints)
{
    /* the parts' sums and their counters stand before the epilogue's operands */
    uint64_t bytes[6 + GI_COUNT(e->refs)] = { (uint64_t)p->in.room * 2,
                                              (uint64_t)row_of(p) * 2 *
                                                  (uint64_t)((p->n + CHANNEL_PAD - 1) / CHANNEL_PAD * CHANNEL_PAD),
                                              (uint64_t)(p->n + CHANNEL_PAD) * 4,
                                              (uint64_t)y->room * (y->half ? 2 : 4) };
    for (uint32_t i = 0; i < e->n_refs; i++)
        bytes[6 + i] = gi_max_i64(y->room * 2, p->n * 4) > 0 ? (uint64_t)gi_max_i64(y->room * 2, p->n * 4) : 4;
    memmove(&refs[6], &refs[4], e->n_refs * sizeof *refs);
    refs[4] = refs[5] = refs[1];
    refs[4].item = 16;
    refs[5].item = 4;
    n_refs += 2;
    way w;
    mma_launch l;
    GI_TRY(choose(b, p, before, room, n_refs, bytes, n_ints, ints, &w));
    GI_TRY(launch_of(b, p, before, w, room, n_ints, ints, &l));
    if (l.parts) {
        GI_TRY(gi_cl_scratch(b, l.parts, 16, &refs[4]));
        GI_TRY(gi_cl_own(b, NULL, (size_t)l.tiles * 4, 4, &refs[5]));
    }
    b->s->tactic =
        gi_arena_printf(b->c->arena, "mma_%dx%dx%dx%d%s%.0d", w.v->bm, w.v->bn, w.v->bk, w.v->warps_m * w.v->warps_n,
                        w.splits > 1 ? "_split" : "", w.splits > 1 ? w.splits : 0);
    GI_NEED(b->s->tactic);
    return gi_cl_launch_kernel(b, l.source, "product_mma", n_refs, refs, l.n_ints, l.ints,
                               (size_t[]){ l.groups * l.threads, 1, 1 }, (size_t[]){ l.threads, 1, 1 });
}

static gopt_status launch(gi_cl_build *b, const half_product *p, const gi_cl_epilogue *e, const gi_cl_view *y,
                          const int64_t *strides, gi_cl_ref x, gi_cl_ref w, gi_cl_ref bias, gi_cl_ref out)
{
    const int64_t room = y->channels_last ? y->channels : p->n;
    gi_cl_ref refs[6 + GI_COUNT(e->refs)] = { x, w, bias, out };
    gi_str s;
    for (uint32_t i = 0; i < e->n_refs; i++)
        refs[4 + i] = e->refs[i];
    int64_t ints[24] = { p->m,  p->n,      room,  chunks_of(p), p->taps,    row_of(p), p->h,
                         p->wd, p->pixels, p->ow, p->kw,        p->sh,      p->sw,     p->ph,
                         p->pw, p->dh,     p->dw, strides[0],   strides[1], strides[2] };
    const uint32_t n_ints = 20, n_refs = 4 + e->n_refs;
    gi_str_init(&s, b->arena);
    gi_cl_write_result(&s, y);
    if (y->half && strides[2] == 1 && room % CHUNK == 0)
        gi_str_add(&s, "#define Y_VECTOR 1\n");
    gi_str_add(&s, e->source);
    b->s->gflop = 2e-9 * (double)(p->m * p->n) * (double)(p->taps * (p->depthwise ? 1 : p->k));
    GI_NEED(!s.failed);
    if (!p->depthwise && b->d->mma)
        return launch_mma(b, p, e, s.p, y, room, n_refs, refs, n_ints, ints);
    gi_str_add(&s, gk_opencl_tile);
    GI_NEED(!s.failed);
    if (p->depthwise) {
        b->s->tactic = "depthwise";
        return gi_cl_launch_kernel(b, s.p, "depthwise", n_refs, refs, n_ints, ints,
                                   (size_t[]){ (size_t)(p->m * chunks_of(p)), 1, 1 }, NULL);
    }
    const size_t global[] = { ((size_t)room + 63) / 64 * 16, ((size_t)p->m + 63) / 64 * 16, 1 };
    b->s->tactic = "tile";
    return gi_cl_launch_kernel(b, s.p, "product_tile", n_refs, refs, n_ints, ints, global, (size_t[]){ 16, 16, 1 });
}

gopt_status gi_cl_half(gi_cl_build *b, const gi_node *main, const gi_node *const *rest, size_t n_rest,
                       const gi_value *result, const gi_value *stored, bool *took)
{
    half_product p = { 0 };
    gi_cl_epilogue e;
    gi_cl_view y;
    int64_t strides[3], dims[GOPT_MAX_RANK];
    bool ok = true;
    *took = false;
    if (!(main->op == OP_Conv ? read_conv(b, main, &p) : read_product(b, main, &p)) || !gi_cl_view_of(b, stored, &y) ||
        !gi_type_static_dims(main->out[0]->type, dims) || y.rank != main->out[0]->type->rank ||
        memcmp(dims, y.dims, (size_t)y.rank * sizeof *dims) != 0 || !result_strides(&p, &y, strides) ||
        p.m > INT32_MAX / 2 || p.in.room > INT32_MAX || y.room > INT32_MAX || (p.depthwise && !y.channels_last))
        return GOPT_OK;
    GI_TRY(gi_cl_epilogue_of(b, main->out[0], rest, n_rest, result, &y, p.axis, &e, &ok));
    if (!ok || (e.residual && (strides[2] != 1 || (!y.channels_last && p.n % CHUNK))))
        return GOPT_OK;
    if (main->op == OP_Conv)
        as_pairs(b, &p);
    gi_cl_ref x, w, bias, out;
    GI_TRY(pack(b, &p, &w, &bias, &ok));
    if (!ok) {
        (void)gi_cl_decline(b, "a weight of %s is too large for fp16", main->op_name);
        return GOPT_OK;
    }
    GI_TRY(gi_cl_convert(b, p.x, &p.in, &x));
    GI_TRY(gi_cl_find(b, stored, &out));
    *took = true;
    GI_TRY(launch(b, &p, &e, &y, strides, x, w, bias, out));
    return GOPT_OK;
}
