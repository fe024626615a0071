/* Convolutions and products with constant weights, and what is fused behind them, as one kernel.
 *
 * One description serves all, in halves and in floats: pixels by channels over the taps of a window (tile.cl), operands in
 * chunks of 16 bytes, sums in floats. On NVIDIA's tensor cores mma.cl computes it, elsewhere tile.cl, and what has few rows
 * gemv.cl; one filter a channel is depthwise.c's. Weights are packed when the step is compiled; where halves do not hold
 * them, the node stays in floats. */
#include <math.h>

#include "backend/opencl/gemv.h"
#include "backend/opencl/mma.h"
#include "ops/eval.h"

enum { ROW_PAD = 8, CHANNEL_PAD = 128 }; /* chunks, rows */

typedef struct tiled {
    const gi_value *x, *w, *bias; /* bias: NULL or of one element a channel */
    gi_cl_view in;                /* as the kernel wants x */
    int64_t m, n, k;              /* pixels, channels of the result, channels of x */
    int64_t chunk, chunks;        /* elements of a chunk; chunks of a pixel of x */
    int64_t taps, h, wd, pixels, ow, kw, sh, sw, ph, pw, dh, dw;
    float alpha, beta;
    int axis;            /* of the result's channels */
    bool pairs;          /* two neighbouring pixels are one of twice the channels */
    int64_t shift, cols; /* of pairs: zero taps before a row of the window, and its own taps */
    bool w_rows;         /* weights lie as [n][…]; else as [k][n] */
    bool few;            /* gemv.cl takes it: few rows of x, each one piece, whole chunks or not */
    int64_t length;      /* elements of such a row */
} tiled;

/* ---- what the node is ---- */

/* Is it few rows of x that lie one behind the other? A convolution's are pixels, or images that its window covers. */
static bool has_few_rows(const tiled *p)
{
    const bool pixels = p->taps == 1 && p->sh == 1 && p->sw == 1 && p->ow == p->wd && p->pixels == p->h * p->wd;
    const bool images = p->pixels == 1 && p->taps == p->h * p->wd && p->kw == p->wd && p->dh == 1 && p->dw == 1;
    return p->k > 0 && p->m > 0 && p->m <= GI_CL_GEMV_ROWS && !p->ph && !p->pw && (pixels || images);
}

static bool read_conv(gi_cl_build *b, const gi_node *n, tiled *p)
{
    gi_cl_conv c;
    if (!gi_cl_read_conv(b, n, &c) || c.group != 1)
        return false;
    const gi_cl_window v = c.win;
    p->x = c.x;
    p->w = c.w;
    p->bias = c.bias;
    gi_cl_view x;
    if (!gi_cl_view_of(b, c.x, &x))
        return false;
    p->in = x.channels_last ? x : gi_cl_view_last(c.rank, c.dims, p->chunk, b->d->half); /* brought there anyway */
    p->chunks = p->in.channels / p->chunk;
    p->n = c.weights->dims[0];
    p->k = c.dims[1];
    p->h = v.h;
    p->wd = v.w;
    p->ow = v.ow;
    p->pixels = v.oh * v.ow;
    p->m = c.dims[0] * p->pixels;
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
    p->few = has_few_rows(p);
    p->length = p->taps * p->in.channels;
    return true;
}

static bool read_product(gi_cl_build *b, const gi_node *n, tiled *p)
{
    const bool gemm = n->op == OP_Gemm;
    const gi_blob *wb, *bb;
    int ra;
    int64_t a[GOPT_MAX_RANK];
    p->x = gi_node_in(n, 0);
    p->w = gi_node_in(n, 1);
    p->bias = gemm ? gi_node_in(n, Gemm_in_C) : NULL;
    wb = gi_cl_floats(p->w);
    if (!wb || wb->rank != 2 || !gi_cl_tensor(b, p->x, "A", &ra, a) || ra < 2 ||
        (gemm && (gi_attr_int(n, Gemm_at_transA) || ra != 2)))
        return false;
    p->w_rows = gemm && gi_attr_int(n, Gemm_at_transB);
    p->n = wb->dims[p->w_rows ? 0 : 1];
    p->k = a[ra - 1];
    p->alpha = gemm ? gi_attr_float(n, Gemm_at_alpha) : 1;
    p->beta = gemm ? gi_attr_float(n, Gemm_at_beta) : 1;
    if (wb->dims[p->w_rows ? 1 : 0] != p->k || !gi_product(0, ra, a))
        return false;
    bb = p->bias ? gi_cl_floats(p->bias) : NULL;
    if (p->bias && (!bb || gi_blob_elements(bb) != p->n || bb->dims[bb->rank - 1] != p->n))
        return false;
    p->in = gi_cl_view_dense(ra, a, b->d->half);
    p->chunks = (p->k + p->chunk - 1) / p->chunk;
    p->m = gi_product(0, ra - 1, a);
    p->taps = p->h = p->wd = p->pixels = p->ow = p->kw = p->sh = p->sw = p->dh = p->dw = 1;
    p->axis = n->out[0]->type->rank - 1;
    p->few = has_few_rows(p);
    p->length = p->k;
    return p->few || p->k % p->chunk == 0;
}

/* An image that is converted anyway, of no more channels than half a chunk: as pairs of pixels, a chunk a pair, where
 * strides keep the pairs together. Half the arithmetic of a chunk a pixel, most of it zero. */
static void as_pairs(const gi_cl_build *b, tiled *p)
{
    gi_cl_view x;
    if (!gi_cl_view_of(b, p->x, &x) || x.half || x.channels_last || p->k > p->chunk / 2 || p->wd % 2 || p->sw % 2 ||
        p->dw != 1 || p->kw < 2)
        return;
    const int64_t rows = p->taps / p->kw;
    p->pairs = true;
    p->cols = p->kw;
    p->shift = p->pw % 2;
    p->in = gi_cl_view_last(x.rank, x.dims, p->chunk / 2, b->d->half);
    p->chunks = 1;
    p->kw = (p->kw + p->shift + 1) / 2;
    p->taps = rows * p->kw;
    p->pw = (p->pw + p->shift) / 2;
    p->sw /= 2;
    p->wd /= 2;
}

/* ---- weights ---- */

/* Elements of one row of the packed weights. */
static int64_t row_of(const tiled *p)
{
    return (p->taps * p->chunks + ROW_PAD - 1) / ROW_PAD * ROW_PAD * p->chunk;
}

static int64_t rows_of(const tiled *p)
{
    return (p->n + CHANNEL_PAD - 1) / CHANNEL_PAD * CHANNEL_PAD;
}

/* Tensor cores round weights, where anything does. */
static bool rounds(const gi_cl *d, const tiled *p)
{
    return d->tf32 && !p->few;
}

/* A hash of all that decides how weights lie once they are packed, for plan files. */
static uint64_t order_of(const gi_cl *d, const tiled *p)
{
    const int64_t order[] = { p->n,    p->k,      p->taps,  p->kw,    row_of(p), p->pairs,
                              p->cols, p->w_rows, p->shift, p->chunk, p->chunks, rounds(d, p) };
    const float factors[] = { p->alpha, p->beta };
    return gi_hash(order, sizeof order, gi_hash(factors, sizeof factors, 1));
}

/* To 10 bits behind the point, of halfway ones the larger, as to_tf32 of ptx.cl. */
static float rounded_to_tf32(float v)
{
    uint32_t bits;
    if (v != v)
        return v;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits + 0x1000) & ~UINT32_C(0x1fff);
    memcpy(&v, &bits, sizeof v);
    return v;
}

typedef struct packing {
    const gi_cl *d;
    const tiled *p;
} packing;

static void put(const packing *k, gi_halving *halving, void *to, int64_t i, float v)
{
    if (k->d->half)
        ((uint16_t *)to)[i] = gi_halve(halving, v);
    else
        ((float *)to)[i] = rounds(k->d, k->p) ? rounded_to_tf32(v) : v;
}

static void fill(const void *user, const float *w, const float *bias, gi_halving *halving, void *to, float *bias_to)
{
    const packing *k = user;
    const tiled *p = k->p;
    const int64_t row = row_of(p), channels = p->chunks * p->chunk, own = p->k;
    const int64_t cols = p->pairs ? p->cols : p->kw, taps = p->taps / p->kw * cols;
    for (int64_t o = 0; o < p->n; o++)
        for (int64_t c = 0; c < own; c++)
            for (int64_t t = 0; t < taps; t++) {
                const int64_t at = t % cols + p->shift;
                const int64_t tap =
                    p->pairs ? (t / cols * p->kw + at / 2) * p->chunk + at % 2 * (p->chunk / 2) : t * channels;
                put(k, halving, to, o * row + c + tap,
                    p->alpha * w[p->w_rows ? (o * own + c) * taps + t : c * p->n + o]);
            }
    for (int64_t o = 0; bias && o < p->n; o++)
        bias_to[o] = p->beta * bias[o];
}

static gopt_status pack(gi_cl_build *b, const tiled *p, gi_cl_ref *w, gi_cl_ref *bias, bool *fits)
{
    const packing user = { b->d, p };
    const size_t rows = (size_t)rows_of(p);
    gi_cl_packing k = { .w = p->w,
                        .bias = p->bias,
                        .item = b->d->half ? sizeof(uint16_t) : sizeof(float),
                        .bias_bytes = rows * sizeof(float),
                        .how = order_of(b->d, p),
                        .fill = fill,
                        .user = &user };
    if (!gi_mul_size(rows, (size_t)row_of(p) * k.item, &k.bytes))
        return GOPT_NO_MEMORY;
    return gi_cl_pack_weights(b, &k, w, bias, fits);
}

/* ---- launching ---- */

/* Where element (pixel, channel) of the result lies: strides of images, pixels and channels. */
static bool result_strides(const tiled *p, const gi_cl_view *y, int64_t strides[3])
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

/* On tensor cores: the parts' sums and their counters stand before the epilogue's operands. */
static gopt_status launch_mma(gi_cl_build *b, const tiled *p, const gi_cl_epilogue *e, const char *before,
                              const gi_cl_view *y, const gi_cl_ref *refs, const int64_t *ints)
{
    const int64_t residual = gi_max_i64(y->room, p->n) * 4;
    gi_cl_mma m = { .before = before,
                    .element = b->d->half   ? GI_CL_HALVES
                               : b->d->tf32 ? GI_CL_TF32
                                            : GI_CL_FLOATS,
                    .streams = b->d->half && strstr(before, "#define Y_VECTOR"),
                    .n_refs = GI_CL_MMA_PARTS + 2 + e->n_refs,
                    .bytes = { gi_cl_view_bytes(&p->in), (uint64_t)(row_of(p) * rows_of(p)) * (b->d->half ? 2 : 4),
                               (uint64_t)rows_of(p) * 4, gi_cl_view_bytes(y) } };
    memcpy(m.refs, refs, GI_CL_MMA_PARTS * sizeof *refs);
    memcpy(m.ints, ints, sizeof m.ints);
    for (uint32_t i = 0; i < e->n_refs; i++) {
        m.refs[GI_CL_MMA_PARTS + 2 + i] = e->refs[i];
        m.bytes[GI_CL_MMA_PARTS + 2 + i] = (uint64_t)residual;
    }
    return gi_cl_mma_launch(b, &m);
}

static gopt_status launch(gi_cl_build *b, const tiled *p, const gi_cl_epilogue *e, const gi_cl_view *y,
                          const int64_t *strides, gi_cl_ref x, gi_cl_ref w, gi_cl_ref bias, gi_cl_ref out)
{
    const int64_t room = y->channels_last ? y->channels : p->n;
    gi_cl_ref refs[4 + GI_COUNT(e->refs)] = { x, w, bias, out };
    gi_str s;
    for (uint32_t i = 0; i < e->n_refs; i++)
        refs[4 + i] = e->refs[i];
    const int64_t ints[GI_CL_MMA_INTS] = { p->m,  p->n,      room,  p->chunks,  p->taps,    row_of(p), p->h,
                                           p->wd, p->pixels, p->ow, p->kw,      p->sh,      p->sw,     p->ph,
                                           p->pw, p->dh,     p->dw, strides[0], strides[1], strides[2] };
    const uint32_t n_refs = 4 + e->n_refs;
    gi_str_init(&s, b->arena);
    gi_cl_write_access(&s, &p->in, y);
    gi_cl_write_chunks(&s, p->in.half, y->half);
    gi_str_addf(&s,
                "#define CHUNK %d\n#define CHUNK_TYPE float%d\n#define load_chunk load_%s%d\n"
                "#define store_chunk(v, p) vstore%d(v, 0, p)\n",
                (int)p->chunk, (int)p->chunk, p->in.half ? "half" : "float", (int)p->chunk, (int)p->chunk);
    if (strides[2] == 1 && room % GI_CL_CHANNELS == 0)
        gi_str_add(&s, "#define Y_VECTOR 1\n");
    gi_str_add(&s, e->source);
    b->s->gflop = 2e-9 * (double)(p->m * p->n) * (double)(p->taps * p->k);
    GI_NEED(!s.failed);
    if (p->few) {
        const gi_cl_gemv g = { .before = s.p,
                               .rows = p->m,
                               .n = p->n,
                               .length = p->length,
                               .row = row_of(p),
                               .room = room,
                               .pixels = p->pixels,
                               .strides = { strides[0], strides[1], strides[2] } };
        return gi_cl_gemv_launch(b, &g, n_refs, refs);
    }
    if (b->d->mma)
        return launch_mma(b, p, e, s.p, y, refs, ints);
    gi_str_add(&s, gk_opencl_tile);
    GI_NEED(!s.failed);
    const size_t global[] = { ((size_t)room + 63) / 64 * 16, ((size_t)p->m + 63) / 64 * 16, 1 };
    b->s->tactic = "tile";
    return gi_cl_launch_kernel(b, s.p, "product_tile", n_refs, refs, GI_CL_MMA_INTS, ints, global,
                               (size_t[]){ 16, 16, 1 });
}

/* Large products of matrices in floats: CLBlast has kernels tuned for many devices, tile.cl is made for small ones. */
static bool leave_to_clblast(const gi_cl *d, const gi_node *main, const tiled *p)
{
    return main->op != OP_Conv && !d->half && !d->mma && !p->few &&
           gi_cl_uses_clblast(&(gi_cl_product){ .m = p->m, .n = p->n, .k = p->k });
}

/* What is behind the product, and where the result goes: `y`, or floats with channels last that are brought there, where
 * it is an image that lies densely and reads others. */
static gopt_status read_rest(gi_cl_build *b, const tiled *p, const gi_node *main, const gi_node *const *rest,
                             size_t n_rest, const gi_value *result, gi_cl_view *y, int64_t strides[3],
                             gi_cl_epilogue *e, bool *ok)
{
    GI_TRY(gi_cl_epilogue_of(b, main->out[0], rest, n_rest, result, y, p->axis, e, ok));
    if (*ok && (!e->residual || p->few || (strides[2] == 1 && (y->channels_last || p->n % GI_CL_CHANNELS == 0))))
        return GOPT_OK;
    const bool dense = main->op == OP_Conv && !y->channels_last;
    *ok = false;
    if (!dense)
        return GOPT_OK;
    *y = gi_cl_view_last(y->rank, y->dims, GI_CL_CHANNELS, false);
    if (y->room > INT32_MAX || !result_strides(p, y, strides))
        return GOPT_OK;
    return gi_cl_epilogue_of(b, main->out[0], rest, n_rest, result, y, p->axis, e, ok);
}

gopt_status gi_cl_tiled(gi_cl_build *b, const gi_node *main, const gi_node *const *rest, size_t n_rest,
                        const gi_value *result, const gi_value *stored, bool *took)
{
    tiled p = { .chunk = gi_cl_chunk(b->d) };
    gi_cl_epilogue e;
    gi_cl_view y;
    int64_t strides[3], dims[GOPT_MAX_RANK];
    bool ok = true, in_floats;
    *took = false;
    if (!(main->op == OP_Conv ? read_conv(b, main, &p) : read_product(b, main, &p)) || !gi_cl_view_of(b, stored, &y) ||
        !gi_type_static_dims(main->out[0]->type, dims) || y.rank != main->out[0]->type->rank ||
        memcmp(dims, y.dims, (size_t)y.rank * sizeof *dims) != 0 || !result_strides(&p, &y, strides) ||
        leave_to_clblast(b->d, main, &p) || p.m > INT32_MAX / 2 || p.in.room > INT32_MAX || y.room > INT32_MAX)
        return GOPT_OK;
    GI_TRY(gi_cl_reads_fp32(b, p.x, &in_floats));
    if (in_floats)
        return GOPT_OK;
    const gi_cl_view given = y;
    GI_TRY(read_rest(b, &p, main, rest, n_rest, result, &y, strides, &e, &ok));
    if (!ok)
        return GOPT_OK;
    if (main->op == OP_Conv && !p.few)
        as_pairs(b, &p);
    gi_cl_ref x, w, bias, out, there;
    GI_TRY(pack(b, &p, &w, &bias, &ok));
    if (!ok)
        return GOPT_OK;
    GI_TRY(gi_cl_convert(b, p.x, &p.in, &x));
    GI_TRY(gi_cl_find(b, stored, &out));
    *took = true;
    if (given.channels_last == y.channels_last)
        return launch(b, &p, &e, &y, strides, x, w, bias, out);
    GI_TRY(gi_cl_scratch(b, gi_cl_view_bytes(&y), 4, &there));
    GI_TRY(launch(b, &p, &e, &y, strides, x, w, bias, there));
    return gi_cl_launch_convert(b, &y, there, &given, out);
}
