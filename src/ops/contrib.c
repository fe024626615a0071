/* ONNX Runtime's own operators: pointwise ones and products with what comes behind them. */
#include "ops/activate.h"
#include "ops/conv.h"
#include "ops/matmul.h"
#include "ops/move.h"
#include "ops/walk.h"

/* ---- sums ---- */

#define ADD_ROW(NAME, T)                                                                            \
    static void NAME(const void *const *in, const int *step, void *out, int64_t n, const void *arg) \
    {                                                                                               \
        const T *a = in[0], *b = in[1];                                                             \
        T *y = out;                                                                                 \
        (void)arg;                                                                                  \
        for (int64_t i = 0; i < n; i++)                                                             \
            y[i] = a[step[0] ? i : 0] + b[step[1] ? i : 0];                                         \
    }
ADD_ROW(add_f32, float)
ADD_ROW(add_f64, double)

/* y = x + b, which broadcasts to x; y may be x. */
static gopt_status add(gi_eval *a, const gopt_tensor *x, uint32_t b, gopt_tensor *y)
{
    static const gi_row_table rows = { [GOPT_F32] = add_f32, [GOPT_F64] = add_f64 };
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    const gopt_tensor *t = a->in[b];
    if (t->dtype != x->dtype)
        return gi_eval_fail(a, (int)b, "is %s, the first input %s", gopt_dtype_name(t->dtype),
                            gopt_dtype_name(x->dtype));
    if (!gi_broadcast_dims(x->rank, x->dims, t->rank, t->dims, &rank, dims) || rank != x->rank ||
        memcmp(dims, x->dims, (size_t)rank * sizeof *dims) != 0)
        return gi_eval_fail(a, (int)b, "does not broadcast to the shape of what it is added to");
    return gi_walk_table(a, rows, 2, (const gopt_tensor *[]){ x, t }, y, NULL);
}

/* ---- Gelu and its kin ---- */

/* The second input is a vector as long as the last dimension of the first. */
static gopt_status infer_biased(gi_infer *c)
{
    if (gi_infer_has(c, 1)) {
        GI_TRY(gi_infer_want_dtype(c, 1, 0));
        GI_TRY(gi_infer_want_rank(c, 1, 1));
        if (gi_infer_rank(c, 0) > 0)
            GI_TRY(gi_infer_want_dim(c, 1, 0, gi_infer_dim(c, 0, -1), "the last dimension of the first input"));
    }
    return gi_infer_same_type(c);
}

/* Output 0: the activation of input 0, plus input 1 where there is one. */
static gopt_status activate(gi_eval *a, const char *name, const double *parameters)
{
    const gopt_tensor *x = a->in[0];
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    if (!y)
        return GOPT_OK;
    if (a->n_in > 1 && a->in[1])
        GI_TRY(add(a, x, 1, y));
    else if (y->data != x->data && x->bytes)
        memcpy(y->data, x->data, x->bytes);
    return gi_activate(a, name, parameters, y);
}

static gopt_status eval_gelu(gi_eval *a)
{
    return activate(a, "Gelu", NULL);
}

static gopt_status eval_bias_gelu(gi_eval *a)
{
    return activate(a, "Gelu", NULL);
}

static gopt_status eval_fast_gelu(gi_eval *a)
{
    return activate(a, "FastGelu", NULL);
}

static gopt_status eval_quick_gelu(gi_eval *a)
{
    return activate(a, "Swish", (double[GI_ACTIVATION_MAX]){ (double)gi_attr_float(a->n, QuickGelu_at_alpha) });
}

/* ---- FusedConv ---- */

static gopt_status infer_fused_conv(gi_infer *c)
{
    double usual[GI_ACTIVATION_MAX];
    if (gi_attr_has(c->n, FusedConv_at_activation) &&
        gi_activation_parameters(gi_attr_str(c->n, FusedConv_at_activation), usual) < 0)
        return gi_infer_fail_node(c, "activation '%s' is not known", gi_attr_str(c->n, FusedConv_at_activation));
    GI_TRY(gi_infer_want_dtype(c, FusedConv_in_W, FusedConv_in_X));
    return gi_infer_conv_shape(c, FusedConv_in_X, FusedConv_in_W, FusedConv_in_B, gi_infer_dtype(c, FusedConv_in_X));
}

static gopt_status eval_fused_conv(gi_eval *a)
{
    const float *given;
    const uint32_t n_given = gi_attr_floats(a->n, FusedConv_at_activation_params, &given);
    double p[GI_ACTIVATION_MAX] = { 0 };
    GI_TRY(gi_eval_conv(a));
    gopt_tensor *y = a->out[0];
    if (y && a->n_in > FusedConv_in_Z && a->in[FusedConv_in_Z])
        GI_TRY(add(a, y, FusedConv_in_Z, y));
    if (!y || !gi_attr_has(a->n, FusedConv_at_activation))
        return GOPT_OK;
    const char *name = gi_attr_str(a->n, FusedConv_at_activation);
    const int n = gi_activation_parameters(name, p);
    for (int i = 0; i < n && (uint32_t)i < n_given; i++)
        p[i] = (double)given[i];
    return gi_activate(a, name, p, y);
}

/* ---- NhwcConv ---- */

static gopt_status infer_nhwc_conv(gi_infer *c)
{
    enum { X = NhwcConv_in_X, W = NhwcConv_in_W };
    const int rank = gi_infer_rank(c, X);
    const gi_dim *dims[GOPT_MAX_RANK];
    int64_t kernel[GI_WINDOW_MAX];
    gi_window w;
    GI_TRY(gi_infer_want_dtype(c, W, X));
    GI_TRY(gi_infer_want_rank_at_least(c, X, 3));
    if (rank < 3) {
        gi_infer_set_like(c, 0, X, -1, NULL);
        return GOPT_OK;
    }
    GI_TRY(gi_infer_want_rank(c, W, rank));
    for (int i = 0; i < rank - 2; i++)
        if (gi_infer_rank(c, W) < 0 || !gi_dim_is_const(gi_infer_dim(c, W, 2 + i), &kernel[i]))
            kernel[i] = -1;
    if (!gi_window_read(c->n, rank - 2, kernel, &w))
        return gi_infer_fail_node(c, "%s", w.why);
    dims[0] = gi_infer_dim(c, X, 0);
    dims[rank - 1] = gi_infer_dim(c, W, 0);
    for (int i = 0; i < rank - 2; i++) {
        dims[1 + i] = gi_window_dim(c->g->dims, &w, i, gi_infer_dim(c, X, 1 + i));
        if (!dims[1 + i] && w.why[0])
            return gi_infer_fail(c, X, "%s", w.why);
        GI_NEED(dims[1 + i]);
    }
    gi_infer_set_like(c, 0, X, rank, dims);
    return GOPT_OK;
}

/* x with its channels brought before or behind its planes, into `to` of other dims. */
static void move_channels(bool to_front, const gopt_tensor *x, const gopt_tensor *to)
{
    const int rank = x->rank;
    int64_t from[GOPT_MAX_RANK], steps[GOPT_MAX_RANK], own[GOPT_MAX_RANK];
    gi_strides(rank, x->dims, from);
    gi_strides(rank, to->dims, own);
    for (int i = 0; i < rank; i++)
        steps[i] = from[i == 0 ? 0 : to_front ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1)];
    gi_move_nd(rank, to->dims, to->data, own, x->data, steps, gi_item_size(x->dtype));
}

static gopt_status eval_nhwc_conv(gi_eval *a)
{
    int64_t dims[GOPT_MAX_RANK];
    GI_TRY(gi_eval_rank_at_least(a, NhwcConv_in_X, 3));
    const gopt_tensor *x = a->in[NhwcConv_in_X];
    gopt_tensor turned = *x, *out[] = { NULL }, *y;
    turned.cx = NULL;
    turned.dims[1] = x->dims[x->rank - 1];
    memcpy(turned.dims + 2, x->dims + 1, (size_t)(x->rank - 2) * sizeof *dims);
    turned.data = gi_eval_scratch(a, (size_t)gopt_tensor_elements(x) + 1, gi_item_size(x->dtype));
    GI_NEED(turned.data);
    move_channels(true, x, &turned);
    const gopt_tensor *in[] = { &turned, a->in[NhwcConv_in_W], a->n_in > NhwcConv_in_B ? a->in[NhwcConv_in_B] : NULL };
    gi_eval conv = *a;
    conv.in = in;
    conv.n_in = 3;
    conv.out = out;
    conv.n_out = 1;
    conv.planned = false;
    gopt_status st = gi_eval_conv(&conv);
    if (st == GOPT_OK) {
        const gopt_tensor *r = out[0];
        dims[0] = r->dims[0];
        dims[r->rank - 1] = r->dims[1];
        memcpy(dims + 1, r->dims + 2, (size_t)(r->rank - 2) * sizeof *dims);
        st = gi_eval_out(a, 0, r->dtype, r->rank, dims, &y);
        if (st == GOPT_OK && y)
            move_channels(false, r, y);
    }
    gopt_tensor_unref(out[0]);
    return st;
}

/* ---- FusedGemm ---- */

/* Its inputs and first attributes are Gemm's. */
_Static_assert((int)FusedGemm_at_alpha == (int)Gemm_at_alpha && (int)FusedGemm_at_beta == (int)Gemm_at_beta &&
                   (int)FusedGemm_at_transA == (int)Gemm_at_transA && (int)FusedGemm_at_transB == (int)Gemm_at_transB,
               "FusedGemm begins as Gemm does");

/* The attributes are named alpha, beta and gamma as the operators' own are: Selu's are the first and the last. */
static gopt_status eval_fused_gemm(gi_eval *a)
{
    GI_TRY(gi_eval_gemm(a));
    if (!a->out[0] || !gi_attr_has(a->n, FusedGemm_at_activation))
        return GOPT_OK;
    const char *name = gi_attr_str(a->n, FusedGemm_at_activation);
    const int second = strcmp(name, "Selu") ? FusedGemm_at_activation_beta : FusedGemm_at_activation_gamma;
    double p[GI_ACTIVATION_MAX] = { 0 };
    gi_activation_parameters(name, p);
    if (gi_attr_has(a->n, FusedGemm_at_activation_alpha))
        p[0] = (double)gi_attr_float(a->n, FusedGemm_at_activation_alpha);
    if (gi_attr_has(a->n, second))
        p[1] = (double)gi_attr_float(a->n, second);
    return gi_activate(a, name, p, a->out[0]);
}

/* ---- FusedMatMul ---- */

/* Where each dimension of the operand comes from, after its first is put behind the batches (transBatch) and its
 * matrices are turned (trans). A vector stays what it is. */
static void operand_order(const gi_node *n, bool second, int rank, int *from)
{
    const bool batch = gi_attr_int(n, second ? FusedMatMul_at_transBatchB : FusedMatMul_at_transBatchA) != 0;
    const bool turned = gi_attr_int(n, second ? FusedMatMul_at_transB : FusedMatMul_at_transA) != 0;
    for (int i = 0; i < rank; i++)
        from[i] = i;
    if (batch && rank > 2) {
        for (int i = 0; i + 2 < rank; i++)
            from[i] = i + 1;
        from[rank - 2] = 0;
    }
    if (turned && rank > 1) {
        const int last = from[rank - 1];
        from[rank - 1] = from[rank - 2];
        from[rank - 2] = last;
    }
}

static gopt_status infer_fused_matmul(gi_infer *c)
{
    const gi_dim *dims[2][GOPT_MAX_RANK];
    int rank[2], from[2][GOPT_MAX_RANK];
    GI_TRY(gi_infer_want_dtype(c, FusedMatMul_in_B, FusedMatMul_in_A));
    for (uint32_t i = 0; i < 2; i++) {
        rank[i] = gi_infer_rank(c, i);
        if (rank[i] == 0)
            return gi_infer_fail(c, i, "expected rank 1 or more");
        if (rank[i] > 0)
            operand_order(c->n, i == 1, rank[i], from[i]);
        for (int k = 0; k < rank[i]; k++)
            dims[i][k] = gi_infer_dim(c, i, from[i][k]);
    }
    if (rank[0] < 0 || rank[1] < 0) {
        gi_infer_set_like(c, 0, FusedMatMul_in_A, -1, NULL);
        return GOPT_OK;
    }
    GI_TRY(gi_infer_want_dim(c, FusedMatMul_in_B, from[1][rank[1] == 1 ? 0 : rank[1] - 2], dims[0][rank[0] - 1],
                             "the columns of the first matrix"));
    return gi_infer_matmul_dims(c, FusedMatMul_in_B, rank[0], dims[0], rank[1], dims[1],
                                gi_infer_dtype(c, FusedMatMul_in_A));
}

/* An operand in the order in which it is multiplied, with its dims. */
static gopt_status read_operand(gi_eval *a, uint32_t in, gopt_dtype real, int64_t *dims, const void **p)
{
    const gopt_tensor *t = a->in[in];
    int from[GOPT_MAX_RANK];
    int64_t source[GOPT_MAX_RANK], to[GOPT_MAX_RANK], steps[GOPT_MAX_RANK];
    bool moved = false;
    operand_order(a->n, in == FusedMatMul_in_B, t->rank, from);
    gi_strides(t->rank, t->dims, source);
    for (int i = 0; i < t->rank; i++) {
        dims[i] = t->dims[from[i]];
        steps[i] = source[from[i]];
        moved |= from[i] != i;
    }
    GI_TRY(gi_real_in(a, in, real, p));
    if (!moved)
        return GOPT_OK;
    const size_t item = gi_item_size(real);
    uint8_t *copy = gi_eval_scratch(a, (size_t)gopt_tensor_elements(t) + 1, item);
    GI_NEED(copy);
    gi_strides(t->rank, dims, to);
    gi_move_nd(t->rank, dims, copy, to, *p, steps, item);
    *p = copy;
    return GOPT_OK;
}

static gopt_status eval_fused_matmul(gi_eval *a)
{
    const uint32_t B = FusedMatMul_in_B;
    gi_matmul_plan plan;
    int64_t da[GOPT_MAX_RANK], db[GOPT_MAX_RANK];
    const void *x, *w;
    gi_real y;
    GI_TRY(gi_eval_rank_at_least(a, FusedMatMul_in_A, 1));
    GI_TRY(gi_eval_rank_at_least(a, B, 1));
    const gopt_tensor *ta = a->in[FusedMatMul_in_A], *tb = a->in[B];
    const gopt_dtype real = gi_real_of(ta->dtype);
    if (tb->dtype != ta->dtype)
        return gi_eval_fail(a, (int)B, "is %s, the first matrix %s", gopt_dtype_name(tb->dtype),
                            gopt_dtype_name(ta->dtype));
    GI_TRY(read_operand(a, FusedMatMul_in_A, real, da, &x));
    GI_TRY(read_operand(a, B, real, db, &w));
    if (db[tb->rank == 1 ? 0 : tb->rank - 2] != da[ta->rank - 1])
        return gi_eval_fail(a, (int)B, "has matrices of %lld rows, the first input of %lld columns",
                            (long long)db[tb->rank == 1 ? 0 : tb->rank - 2], (long long)da[ta->rank - 1]);
    if (!gi_matmul_plan_dims(ta->rank, da, tb->rank, db, &plan))
        return gi_eval_fail(a, (int)B, "batch dimensions do not broadcast with those of the first matrix");
    GI_TRY(gi_real_out(a, 0, ta->dtype, plan.rank, plan.dims, &y));
    if (!y.p)
        return GOPT_OK;
    gi_matmul_run(&plan, real == GOPT_F64 ? GI_WORD_F64 : GI_WORD_F32, x, w, y.p);
    const float alpha = gi_attr_float(a->n, FusedMatMul_at_alpha);
    const int64_t n = gi_product(0, plan.rank, plan.dims);
    for (int64_t i = 0; i < n && alpha != 1; i++)
        if (real == GOPT_F64)
            ((double *)y.p)[i] *= (double)alpha;
        else
            ((float *)y.p)[i] *= alpha;
    gi_real_store(&y);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/contrib.def"
