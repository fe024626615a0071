/* Matrix products and convolutions. A convolution is im2col and a product, but for groups: those are computed
 * directly, an item a result. */
#include "backend/opencl/cl.h"

static bool is_f32(gi_cl_build *b, const gi_value *v)
{
    if (v->type && gi_cl_is_float(v->type->dtype))
        return true;
    return gi_cl_decline(b, "products are computed in f32 alone, not in %s",
                         v->type ? gopt_dtype_name(v->type->dtype) : "an unknown type");
}

/* Fills c with a bias of one value a channel. */
static gopt_status start_from(gi_cl_build *b, const gi_value *bias, gi_cl_ref c, int64_t total, int64_t channels,
                              int64_t inner)
{
    gi_cl_ref refs[2] = { { 0 }, c };
    GI_TRY(gi_cl_dense_operand(b, bias, &refs[0]));
    const int64_t ints[] = { total, channels, inner };
    const size_t global[] = { (size_t)total, 1, 1 };
    return gi_cl_launch_kernel(b, gk_opencl_gemm, "fill_channels", 2, refs, 3, ints, global, NULL);
}

static gopt_status take_gemm(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *va = gi_node_in(n, Gemm_in_A), *vb = gi_node_in(n, Gemm_in_B), *vc = gi_node_in(n, Gemm_in_C);
    int ra, rb, rc = 0;
    int64_t a[GOPT_MAX_RANK], bd[GOPT_MAX_RANK], cd[GOPT_MAX_RANK];
    if (!is_f32(b, va) || !is_f32(b, vb) || !gi_cl_tensor(b, va, "A", &ra, a) || !gi_cl_tensor(b, vb, "B", &rb, bd) ||
        (vc && (!is_f32(b, vc) || !gi_cl_tensor(b, vc, "C", &rc, cd))) || ra != 2 || rb != 2)
        return GOPT_OK;
    const bool ta = gi_attr_int(n, Gemm_at_transA) != 0, tb = gi_attr_int(n, Gemm_at_transB) != 0;
    gi_cl_product p = { .trans_a = ta,
                        .trans_b = tb,
                        .m = a[ta],
                        .k = a[!ta],
                        .n = bd[!tb],
                        .batch = 1,
                        .lda = a[1],
                        .ldb = bd[1],
                        .alpha = gi_attr_float(n, Gemm_at_alpha) };
    p.ldc = p.n;
    gi_cl_ref refs[3];
    GI_TRY(gi_cl_dense_operand(b, va, &refs[0]));
    GI_TRY(gi_cl_dense_operand(b, vb, &refs[1]));
    GI_TRY(gi_cl_dense_result(b, n->out[0], &refs[2]));
    if (vc) {
        int64_t elements = 1;
        for (int i = 0; i < rc; i++)
            elements *= cd[i];
        /* one value, one a column, one a row, or all of them */
        const bool rows = rc == 2 && cd[0] == p.m && cd[1] == 1;
        const int64_t inner = rows ? p.n : 1;
        if (elements != 1 && !rows && elements != p.n && elements != p.m * p.n) {
            (void)gi_cl_decline(b, "its C has a shape that is not taken");
            return GOPT_OK;
        }
        p.beta = gi_attr_float(n, Gemm_at_beta);
        GI_TRY(start_from(b, vc, refs[2], p.m * p.n, elements, inner));
    }
    *took = true;
    GI_TRY(gi_cl_launch_product(b, &p, refs[0], refs[1], refs[2]));
    return gi_cl_store_result(b, n->out[0], &refs[2]);
}

/* One product for each place in the batch, where batches broadcast irregularly. */
static gopt_status each_product(gi_cl_build *b, gi_cl_product *p, gi_cl_ref *refs, int rank, const int64_t *out, int ra,
                                const int64_t *a, int rb, const int64_t *bd)
{
    const int64_t batch = p->batch;
    p->batch = 1;
    for (int64_t z = 0; z < batch; z++) {
        int64_t rest = z, at_a = 0, at_b = 0, size_a = p->m * p->k, size_b = p->k * p->n;
        for (int i = rank - 3; i >= 0; i--) {
            const int64_t c = rest % out[i];
            const int ka = i - (rank - ra), kb = i - (rank - rb);
            rest /= out[i];
            if (ka >= 0) {
                at_a += a[ka] == 1 ? 0 : c * size_a;
                size_a *= a[ka];
            }
            if (kb >= 0) {
                at_b += bd[kb] == 1 ? 0 : c * size_b;
                size_b *= bd[kb];
            }
        }
        gi_cl_ref x = refs[0], y = refs[1], o = refs[2];
        x.offset += (uint64_t)at_a * 4;
        y.offset += (uint64_t)at_b * 4;
        o.offset += (uint64_t)(z * p->m * p->n) * 4;
        GI_TRY(gi_cl_launch_product(b, p, x, y, o));
    }
    return GOPT_OK;
}

static gopt_status take_matmul(gi_cl_build *b, const gi_node *n, bool *took)
{
    enum { MOST_PRODUCTS = 512 };
    const gi_value *va = gi_node_in(n, MatMul_in_A), *vb = gi_node_in(n, MatMul_in_B);
    int ra, rb, rank;
    int64_t a[GOPT_MAX_RANK], bd[GOPT_MAX_RANK], out[GOPT_MAX_RANK];
    if (!is_f32(b, va) || !is_f32(b, vb) || !gi_cl_tensor(b, va, "A", &ra, a) || !gi_cl_tensor(b, vb, "B", &rb, bd) ||
        !gi_cl_tensor(b, n->out[0], "its result", &rank, out))
        return GOPT_OK;
    if (ra < 2 || rb < 2) {
        (void)gi_cl_decline(b, "products with a vector are not taken");
        return GOPT_OK;
    }
    gi_cl_product p = { .m = a[ra - 2], .k = a[ra - 1], .n = bd[rb - 1], .batch = 1, .alpha = 1 };
    const int64_t batch_a = gi_product(0, ra - 2, a), batch_b = gi_product(0, rb - 2, bd);
    const int64_t batch = gi_product(0, rank - 2, out);
    p.lda = p.k;
    p.ldb = p.ldc = p.n;
    gi_cl_ref refs[3];
    GI_TRY(gi_cl_dense_operand(b, va, &refs[0]));
    GI_TRY(gi_cl_dense_operand(b, vb, &refs[1]));
    GI_TRY(gi_cl_dense_result(b, n->out[0], &refs[2]));
    if (batch_b == 1 && batch_a == batch) { /* one matrix B: the batch is more rows */
        p.m *= batch;
        *took = true;
        GI_TRY(gi_cl_launch_product(b, &p, refs[0], refs[1], refs[2]));
        return gi_cl_store_result(b, n->out[0], &refs[2]);
    }
    p.batch = batch;
    p.stride_a = batch_a == 1 ? 0 : p.m * p.k;
    p.stride_b = batch_b == 1 ? 0 : p.k * p.n;
    p.stride_c = p.m * p.n;
    const bool regular = (batch_a == 1 || batch_a == batch) && (batch_b == 1 || batch_b == batch);
    if (!regular && batch > MOST_PRODUCTS) {
        (void)gi_cl_decline(b, "its batches broadcast into %lld products", (long long)batch);
        return GOPT_OK;
    }
    *took = true;
    GI_TRY(regular ? gi_cl_launch_product(b, &p, refs[0], refs[1], refs[2])
                   : each_product(b, &p, refs, rank, out, ra, a, rb, bd));
    return gi_cl_store_result(b, n->out[0], &refs[2]);
}

gopt_status gi_cl_take_product(gi_cl_build *b, const gi_node *n, bool *took)
{
    return n->op == OP_Gemm ? take_gemm(b, n, took) : n->op == OP_MatMul ? take_matmul(b, n, took) : GOPT_OK;
}

/* ---- convolution ---- */

typedef struct conv {
    int64_t n, c, m, groups;
    gi_cl_window w;
} conv;

static gopt_status direct(gi_cl_build *b, const gi_node *n, const conv *c, gi_cl_ref x, gi_cl_ref weights, gi_cl_ref y)
{
    const gi_value *bias = gi_node_in(n, Conv_in_B);
    gi_cl_ref refs[4] = { x, weights, weights, y };
    if (bias)
        GI_TRY(gi_cl_find(b, bias, &refs[2]));
    const int64_t total = c->n * c->m * c->w.oh * c->w.ow;
    if (!b->dry)
        b->s->gflop = 2e-9 * (double)total * (double)(c->c / c->groups) * (double)(c->w.kh * c->w.kw);
    const int64_t ints[] = { total,   c->c,    c->w.h,  c->w.w,  c->m,    c->w.kh, c->w.kw,   c->w.oh,     c->w.ow,
                             c->w.sh, c->w.sw, c->w.ph, c->w.pw, c->w.dh, c->w.dw, c->groups, bias != NULL };
    const size_t global[] = { (size_t)total, 1, 1 };
    return gi_cl_launch_kernel(b, gk_opencl_conv, "conv_direct", 4, refs, GI_COUNT(ints), ints, global, NULL);
}

static gopt_status by_product(gi_cl_build *b, const gi_node *n, const conv *c, gi_cl_ref x, gi_cl_ref weights,
                              gi_cl_ref y)
{
    const int64_t pixels = c->w.oh * c->w.ow, taps = c->c * c->w.kh * c->w.kw;
    const gi_value *bias = gi_node_in(n, Conv_in_B);
    const bool as_it_lies = c->w.kh == 1 && c->w.kw == 1 && c->w.sh == 1 && c->w.sw == 1 && c->w.oh == c->w.h &&
                            c->w.ow == c->w.w && c->w.ph == 0 && c->w.pw == 0;
    gi_cl_ref col = x;
    if (!as_it_lies)
        GI_TRY(gi_cl_scratch(b, (uint64_t)taps * (uint64_t)pixels * 4, 4, &col));
    if (bias)
        GI_TRY(start_from(b, bias, y, c->n * c->m * pixels, c->m, pixels));
    const gi_cl_product p = { .m = c->m,
                              .k = taps,
                              .n = pixels,
                              .batch = 1,
                              .lda = taps,
                              .ldb = pixels,
                              .ldc = pixels,
                              .alpha = 1,
                              .beta = bias ? 1.0f : 0.0f };
    for (int64_t i = 0; i < c->n; i++) {
        gi_cl_ref im = x, out = y;
        im.offset += (uint64_t)(i * c->c * c->w.h * c->w.w) * 4;
        out.offset += (uint64_t)(i * c->m * pixels) * 4;
        if (as_it_lies) {
            col = im;
        } else {
            const gi_cl_ref refs[] = { im, col };
            const int64_t ints[] = { c->c,    c->w.h,  c->w.w,  c->w.kh, c->w.kw, c->w.oh, c->w.ow,
                                     c->w.sh, c->w.sw, c->w.ph, c->w.pw, c->w.dh, c->w.dw };
            const size_t global[] = { (size_t)(taps * pixels), 1, 1 };
            GI_TRY(gi_cl_launch_kernel(b, gk_opencl_conv, "im2col", 2, refs, GI_COUNT(ints), ints, global, NULL));
        }
        GI_TRY(gi_cl_launch_product(b, &p, weights, col, out));
    }
    return GOPT_OK;
}

gopt_status gi_cl_take_conv(gi_cl_build *b, const gi_node *n, bool *took)
{
    enum { MOST_IMAGES = 256 };
    if (n->op != OP_Conv)
        return GOPT_OK;
    const gi_value *vx = gi_node_in(n, Conv_in_X), *vw = gi_node_in(n, Conv_in_W);
    int rx, rw;
    int64_t x[GOPT_MAX_RANK], w[GOPT_MAX_RANK];
    if (!is_f32(b, vx) || !gi_cl_tensor(b, vx, "X", &rx, x) || !gi_cl_tensor(b, vw, "W", &rw, w))
        return GOPT_OK;
    if ((rx != 3 && rx != 4) || rw != rx) {
        (void)gi_cl_decline(b, "convolutions of %d spatial dimensions are not taken", rx - 2);
        return GOPT_OK;
    }
    conv c = { .n = x[0], .c = x[1], .m = w[0], .groups = gi_attr_int(n, Conv_at_group) };
    gi_window win;
    if (!gi_window_of_conv(n, rx, x, w, &win)) {
        (void)gi_cl_decline(b, "%s", win.why);
        return GOPT_OK;
    }
    c.w = gi_cl_window_of(&win, rx, x);
    if (c.groups < 1 || c.c % c.groups || c.m % c.groups || w[1] != c.c / c.groups) {
        (void)gi_cl_decline(b, "its groups do not divide its channels");
        return GOPT_OK;
    }
    int64_t matrix;
    if (!gi_mul_i64(c.c * c.w.kh * c.w.kw, c.w.oh * c.w.ow, &matrix) || matrix > INT64_MAX / 8 || c.n > MOST_IMAGES) {
        (void)gi_cl_decline(b, "it is too large for im2col");
        return GOPT_OK;
    }
    gi_cl_ref refs[3];
    GI_TRY(gi_cl_dense_operand(b, vx, &refs[0]));
    GI_TRY(gi_cl_dense_operand(b, vw, &refs[1]));
    GI_TRY(gi_cl_dense_result(b, n->out[0], &refs[2]));
    *took = true;
    if (!b->dry)
        b->s->tactic = c.groups > 1 ? "conv_direct" : "im2col";
    GI_TRY(c.groups > 1 ? direct(b, n, &c, refs[0], refs[1], refs[2])
                        : by_product(b, n, &c, refs[0], refs[1], refs[2]));
    return gi_cl_store_result(b, n->out[0], &refs[2]);
}
