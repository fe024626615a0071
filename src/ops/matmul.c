/* Matrix products: MatMul, Gemm, MatMulInteger, Det; Einsum has a file of its own. */
#include "ops/matmul.h"

#include <math.h>

/* ---- the product of two shapes ---- */

gopt_status gi_infer_matmul_dims(gi_infer *c, uint32_t in_b, int ra, const gi_dim *const *a, int rb,
                                 const gi_dim *const *b, gopt_dtype dtype)
{
    if (ra == 0 || rb == 0)
        return gi_infer_fail(c, ra == 0 ? 0 : in_b, "expected rank 1 or more");
    const gi_dim *out[GOPT_MAX_RANK + 2];
    const int batch_a = ra > 2 ? ra - 2 : 0, batch_b = rb > 2 ? rb - 2 : 0;
    int rank = 0;
    if (!gi_infer_broadcast(c, batch_a, a, batch_b, b, &rank, out))
        return gi_infer_fail(c, in_b, "expected batch dimensions that broadcast with those of the first matrix");
    if (ra > 1)
        out[rank++] = a[ra - 2];
    if (rb > 1)
        out[rank++] = b[rb - 1];
    gi_infer_set(c, 0, dtype, rank, out);
    return GOPT_OK;
}

gopt_status gi_infer_matmul_shape(gi_infer *c, uint32_t in_a, uint32_t in_b, gopt_dtype dtype)
{
    const int ra = gi_infer_rank(c, in_a), rb = gi_infer_rank(c, in_b);
    const gi_dim *a[GOPT_MAX_RANK], *b[GOPT_MAX_RANK];
    if (ra == 0 || rb == 0)
        return gi_infer_fail(c, ra == 0 ? in_a : in_b, "expected rank 1 or more");
    if (ra < 0 || rb < 0) {
        gi_infer_set(c, 0, dtype, -1, NULL);
        return GOPT_OK;
    }
    GI_TRY(
        gi_infer_want_dim(c, in_b, rb == 1 ? 0 : rb - 2, gi_infer_dim(c, in_a, -1), "the columns of the first matrix"));
    for (int i = 0; i < ra; i++)
        a[i] = gi_infer_dim(c, in_a, i);
    for (int i = 0; i < rb; i++)
        b[i] = gi_infer_dim(c, in_b, i);
    return gi_infer_matmul_dims(c, in_b, ra, a, rb, b, dtype);
}

bool gi_matmul_plan_dims(int ra, const int64_t *a, int rb, const int64_t *b, gi_matmul_plan *p)
{
    const int batch_a = ra > 2 ? ra - 2 : 0, batch_b = rb > 2 ? rb - 2 : 0;
    *p = (gi_matmul_plan){ .m = ra > 1 ? a[ra - 2] : 1, .n = rb > 1 ? b[rb - 1] : 1, .k = a[ra - 1] };
    if (!gi_broadcast_dims(batch_a, a, batch_b, b, &p->batch_rank, p->batch))
        return false;
    gi_broadcast_strides(batch_a, a, p->batch_rank, p->batch, p->stride_a);
    gi_broadcast_strides(batch_b, b, p->batch_rank, p->batch, p->stride_b);
    p->rank = p->batch_rank;
    memcpy(p->dims, p->batch, (size_t)p->batch_rank * sizeof *p->dims);
    if (ra > 1)
        p->dims[p->rank++] = p->m;
    if (rb > 1)
        p->dims[p->rank++] = p->n;
    return true;
}

gopt_status gi_matmul_plan_of(const gi_eval *a, uint32_t in_a, uint32_t in_b, gi_matmul_plan *p)
{
    GI_TRY(gi_eval_rank_at_least(a, in_a, 1));
    GI_TRY(gi_eval_rank_at_least(a, in_b, 1));
    const gopt_tensor *x = a->in[in_a], *y = a->in[in_b];
    GI_TRY(gi_eval_dim(a, in_b, y->rank > 1 ? y->rank - 2 : 0, x->dims[x->rank - 1]));
    if (!gi_matmul_plan_dims(x->rank, x->dims, y->rank, y->dims, p))
        return gi_eval_fail(a, (int)in_b, "batch dimensions do not broadcast with those of the first matrix");
    return GOPT_OK;
}

void gi_matmul_run(const gi_matmul_plan *p, gi_word w, const void *a, const void *b, void *y)
{
    const size_t item = gi_word_size(w);
    const int64_t batches = gi_product(0, p->batch_rank, p->batch);
    int64_t at[GOPT_MAX_RANK] = { 0 }, m = p->m;
    int64_t ia = 0, ib = 0;
    if (batches * p->m * p->n == 0)
        return;
    memset(y, 0, (size_t)(batches * p->m * p->n) * item);
    for (int64_t i = 0; i < batches; i++) {
        gi_gemm(w, m, p->n, p->k, (const char *)a + (size_t)(ia * p->m * p->k) * item,
                (const char *)b + (size_t)(ib * p->k * p->n) * item, (char *)y + (size_t)(i * p->m * p->n) * item);
        for (int d = p->batch_rank - 1; d >= 0; d--) {
            ia += p->stride_a[d];
            ib += p->stride_b[d];
            if (++at[d] < p->batch[d])
                break;
            ia -= p->stride_a[d] * p->batch[d];
            ib -= p->stride_b[d] * p->batch[d];
            at[d] = 0;
        }
    }
}

/* ---- MatMul ---- */

static gopt_status infer_matmul(gi_infer *c)
{
    GI_TRY(gi_infer_want_dtype(c, MatMul_in_B, MatMul_in_A));
    return gi_infer_matmul_shape(c, MatMul_in_A, MatMul_in_B, gi_infer_dtype(c, MatMul_in_A));
}

static gopt_status same_dtype(const gi_eval *a, uint32_t i)
{
    if (i < a->n_in && a->in[i] && a->in[i]->dtype != a->in[0]->dtype)
        return gi_eval_fail(a, (int)i, "is %s, expected %s as the first input has", gopt_dtype_name(a->in[i]->dtype),
                            gopt_dtype_name(a->in[0]->dtype));
    return GOPT_OK;
}

/* Integers wrap, so the unsigned loops serve; those narrower than 32 bits pass through 64. */
static gopt_status matmul_ints(gi_eval *a, const gi_matmul_plan *p, gopt_dtype dtype)
{
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, dtype, p->rank, p->dims, &y));
    if (!y)
        return GOPT_OK;
    if (gi_item_size(dtype) == 4 || gi_item_size(dtype) == 8) {
        gi_matmul_run(p, gi_item_size(dtype) == 4 ? GI_WORD_U32 : GI_WORD_U64, a->in[0]->data, a->in[1]->data, y->data);
        return GOPT_OK;
    }
    const size_t count = (size_t)gopt_tensor_elements(y);
    int64_t *wide[2], *out = gi_eval_scratch(a, count + 1, sizeof *out);
    for (int i = 0; i < 2; i++) {
        const size_t n = (size_t)gopt_tensor_elements(a->in[i]);
        wide[i] = gi_eval_scratch(a, n + 1, sizeof *wide[i]);
        GI_NEED(wide[i] && out);
        for (size_t j = 0; j < n; j++)
            wide[i][j] = gi_load_i64(dtype, a->in[i]->data, j);
    }
    gi_matmul_run(p, GI_WORD_U64, wide[0], wide[1], out);
    for (size_t j = 0; j < count; j++)
        gi_store_i64(dtype, y->data, j, out[j]);
    return GOPT_OK;
}

static gopt_status eval_matmul(gi_eval *a)
{
    gi_matmul_plan p;
    GI_TRY(gi_matmul_plan_of(a, MatMul_in_A, MatMul_in_B, &p));
    GI_TRY(same_dtype(a, MatMul_in_B));
    const gopt_dtype dtype = a->in[MatMul_in_A]->dtype, real = gi_real_of(dtype);
    if (gi_dtype_is_int(dtype))
        return matmul_ints(a, &p, dtype);
    const void *x, *w;
    gi_real y;
    GI_TRY(gi_real_in(a, MatMul_in_A, real, &x));
    GI_TRY(gi_real_in(a, MatMul_in_B, real, &w));
    GI_TRY(gi_real_out(a, 0, dtype, p.rank, p.dims, &y));
    if (!y.p)
        return GOPT_OK;
    gi_matmul_run(&p, real == GOPT_F64 ? GI_WORD_F64 : GI_WORD_F32, x, w, y.p);
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- Gemm ---- */

gopt_status gi_infer_gemm(gi_infer *c)
{
    GI_TRY(gi_infer_want_dtype(c, Gemm_in_B, Gemm_in_A));
    GI_TRY(gi_infer_want_rank(c, Gemm_in_A, 2));
    GI_TRY(gi_infer_want_rank(c, Gemm_in_B, 2));
    const int ta = gi_attr_int(c->n, Gemm_at_transA) != 0, tb = gi_attr_int(c->n, Gemm_at_transB) != 0;
    const gi_dim *k = gi_infer_dim(c, Gemm_in_A, 1 - ta);
    if (gi_infer_rank(c, Gemm_in_A) == 2)
        GI_TRY(gi_infer_want_dim(c, Gemm_in_B, tb, k, "the columns of the first matrix"));
    const gi_dim *dims[2] = { gi_infer_dim(c, Gemm_in_A, ta), gi_infer_dim(c, Gemm_in_B, 1 - tb) };
    if (gi_infer_has(c, Gemm_in_C) && gi_infer_rank(c, Gemm_in_C) >= 0) {
        const int rank = gi_infer_rank(c, Gemm_in_C);
        if (rank > 2)
            return gi_infer_fail(c, Gemm_in_C, "expected rank 2 or less");
        for (int i = 0; i < rank; i++) {
            const gi_dim *d = gi_infer_dim(c, Gemm_in_C, i);
            if (!gi_dim_is(d, 1))
                GI_TRY(gi_infer_want_dim(c, Gemm_in_C, i, dims[2 - rank + i], "the product's, or 1"));
        }
    }
    gi_infer_set_like(c, 0, Gemm_in_A, 2, dims);
    return GOPT_OK;
}

/* An operand of the product, transposed in scratch where asked. */
static gopt_status gemm_operand(gi_eval *a, uint32_t in, gopt_dtype real, bool transposed, const void **p)
{
    GI_TRY(gi_real_in(a, in, real, p));
    if (!transposed)
        return GOPT_OK;
    const gopt_tensor *t = a->in[in];
    const size_t item = gi_item_size(real);
    void *copy = gi_eval_scratch(a, (size_t)gopt_tensor_elements(t) + 1, item);
    GI_NEED(copy);
    gi_transpose_words(item, t->dims[0], t->dims[1], *p, copy);
    *p = copy;
    return GOPT_OK;
}

/* The elements of an operand in 64 bits, transposed where asked. */
static uint64_t *gemm_words(gi_eval *a, const gopt_tensor *t, bool transposed)
{
    const int64_t count = gopt_tensor_elements(t);
    uint64_t *w = gi_eval_scratch(a, (size_t)count + 1, sizeof *w), *turned = w;
    if (transposed)
        turned = gi_eval_scratch(a, (size_t)count + 1, sizeof *turned);
    if (!w || !turned)
        return NULL;
    for (int64_t i = 0; i < count; i++)
        w[i] = (uint64_t)gi_tensor_i64(t, i);
    if (transposed)
        gi_transpose_words(sizeof *w, t->dims[0], t->dims[1], w, turned);
    return turned;
}

static bool is_whole(float x)
{
    return x == floorf(x) && fabsf(x) < 0x1p31f;
}

/* beta · c in 64 bits: wraps where beta is whole, else it is rounded to the nearest even number and saturates. */
static uint64_t scaled_bias(float beta, int64_t c)
{
    if (is_whole(beta))
        return (uint64_t)(int64_t)beta * (uint64_t)c;
    const double x = (double)beta * (double)c;
    return (uint64_t)(x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : (int64_t)nearbyint(x));
}

/* Integers wrap, as those of a MatMul and an Add do, where alpha is whole. */
static gopt_status gemm_ints(gi_eval *a, const gopt_tensor *c, const int64_t *dims, int64_t k)
{
    const bool flip_a = gi_attr_int(a->n, Gemm_at_transA) != 0, flip_b = gi_attr_int(a->n, Gemm_at_transB) != 0;
    const uint64_t alpha = (uint64_t)(int64_t)gi_attr_float(a->n, Gemm_at_alpha);
    const float beta = gi_attr_float(a->n, Gemm_at_beta);
    const int64_t m = dims[0], n = dims[1];
    int64_t step[2] = { 0, 0 };
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, a->in[Gemm_in_A]->dtype, 2, dims, &y));
    if (!y || m * n == 0)
        return GOPT_OK;
    const uint64_t *x = gemm_words(a, a->in[Gemm_in_A], flip_a), *w = gemm_words(a, a->in[Gemm_in_B], flip_b);
    uint64_t *sum = gi_eval_scratch(a, (size_t)(m * n) + 1, sizeof *sum);
    GI_NEED(x && w && sum);
    for (int i = 0; c && i < c->rank; i++) {
        if (c->rank > 2 || (c->dims[i] != 1 && c->dims[i] != dims[2 - c->rank + i]))
            return gi_eval_fail(a, Gemm_in_C, "does not broadcast to the product's shape [%lld,%lld]", (long long)m,
                                (long long)n);
        step[2 - c->rank + i] = c->dims[i] == 1 ? 0 : i + 1 == c->rank ? 1 : c->dims[1];
    }
    gi_gemm(GI_WORD_U64, m, n, k, x, w, sum);
    for (int64_t i = 0; i < m * n; i++) {
        uint64_t r = alpha * sum[i];
        if (c)
            r += scaled_bias(beta, gi_tensor_i64(c, i / n * step[0] + i % n * step[1]));
        gi_store_i64(y->dtype, y->data, (size_t)i, (int64_t)r);
    }
    return GOPT_OK;
}

/* Integers through f64: alpha and beta are floats, whatever the elements. */
static gopt_dtype gemm_real(gopt_dtype t)
{
    return gi_dtype_is_int(t) ? GOPT_F64 : gi_real_of(t);
}

static void gemm_finish_f32(float *y, int64_t n, float alpha, float beta, const float *bias)
{
    if (alpha != 1.0f)
        for (int64_t i = 0; i < n; i++)
            y[i] *= alpha;
    if (bias)
        for (int64_t i = 0; i < n; i++)
            y[i] += beta * bias[i];
}

static void gemm_finish_f64(double *y, int64_t n, double alpha, double beta, const double *bias)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = alpha * y[i] + (bias ? beta * bias[i] : 0);
}

gopt_status gi_eval_gemm(gi_eval *a)
{
    GI_TRY(gi_eval_rank(a, Gemm_in_A, 2));
    GI_TRY(gi_eval_rank(a, Gemm_in_B, 2));
    GI_TRY(same_dtype(a, Gemm_in_B));
    const gopt_tensor *ta = a->in[Gemm_in_A], *tb = a->in[Gemm_in_B],
                      *tc = a->n_in > Gemm_in_C ? a->in[Gemm_in_C] : NULL;
    const bool flip_a = gi_attr_int(a->n, Gemm_at_transA) != 0, flip_b = gi_attr_int(a->n, Gemm_at_transB) != 0;
    const int64_t m = ta->dims[flip_a], k = ta->dims[!flip_a], n = tb->dims[!flip_b], dims[2] = { m, n };
    GI_TRY(gi_eval_dim(a, Gemm_in_B, flip_b, k));
    const gopt_dtype real = gemm_real(ta->dtype);
    const float alpha = gi_attr_float(a->n, Gemm_at_alpha), beta = gi_attr_float(a->n, Gemm_at_beta);
    const void *x, *w, *bias = NULL;
    gi_real y;
    if (gi_dtype_is_int(ta->dtype) && is_whole(alpha) && isfinite(beta))
        return gemm_ints(a, beta != 0 ? tc : NULL, dims, k);
    GI_TRY(gemm_operand(a, Gemm_in_A, real, flip_a, &x));
    GI_TRY(gemm_operand(a, Gemm_in_B, real, flip_b, &w));
    if (tc && beta != 0) {
        const void *c;
        GI_TRY(gi_real_in(a, Gemm_in_C, real, &c));
        GI_TRY(gi_real_expand(a, real, c, tc->rank, tc->dims, 2, dims, &bias));
        if (!bias)
            return gi_eval_fail(a, Gemm_in_C, "does not broadcast to the product's shape [%lld,%lld]", (long long)m,
                                (long long)n);
    }
    GI_TRY(gi_real_out_as(a, 0, ta->dtype, real, 2, dims, &y));
    if (!y.p || m * n == 0)
        return GOPT_OK;
    memset(y.p, 0, (size_t)(m * n) * gi_item_size(real));
    gi_gemm(real == GOPT_F64 ? GI_WORD_F64 : GI_WORD_F32, m, n, k, x, w, y.p);
    if (real == GOPT_F64)
        gemm_finish_f64(y.p, m * n, (double)alpha, (double)beta, bias);
    else
        gemm_finish_f32(y.p, m * n, alpha, beta, bias);
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- MatMulInteger ---- */

static gopt_status infer_matmul_integer(gi_infer *c)
{
    return gi_infer_matmul_shape(c, MatMulInteger_in_A, MatMulInteger_in_B, GOPT_I32);
}

gopt_status gi_less_zero_point(gi_eval *a, uint32_t in, uint32_t zero_point, bool rows, const uint32_t **out)
{
    const gopt_tensor *t = a->in[in], *z = zero_point < a->n_in ? a->in[zero_point] : NULL;
    if (!t || !gi_dtype_is_int(t->dtype) || gopt_dtype_bits(t->dtype) != 8)
        return gi_eval_fail(a, (int)in, "expected i8 or u8");
    const int64_t n = gopt_tensor_elements(t), nz = z ? gopt_tensor_elements(z) : 1;
    const int64_t cols = t->rank > 0 ? t->dims[t->rank - 1] : 1, height = t->rank > 1 ? t->dims[t->rank - 2] : 1;
    /* Zero points of rank above 1 come one a matrix too; then they hold one a row or column of each. */
    const int64_t matrices = cols * height > 0 ? n / (cols * height) : 0;
    const int64_t per = rows ? height : cols;
    if (nz != 1 && nz != per && nz != per * matrices)
        return gi_eval_fail(a, (int)zero_point, "has %lld elements, expected 1 or %lld", (long long)nz, (long long)per);
    uint32_t *p = gi_eval_scratch(a, (size_t)n + 1, sizeof *p);
    GI_NEED(p);
    for (int64_t i = 0; i < n; i++) {
        const int64_t matrix = i / (cols * height), line = rows ? i / cols % height : i % cols;
        const int64_t iz = nz == 1 ? 0 : nz == per ? line : matrix * per + line;
        p[i] = (uint32_t)(gi_load_i64(t->dtype, t->data, (size_t)i) - (z ? gi_tensor_i64(z, iz) : 0));
    }
    *out = p;
    return GOPT_OK;
}

static gopt_status eval_matmul_integer(gi_eval *a)
{
    gi_matmul_plan p;
    const uint32_t *x, *w;
    gopt_tensor *y;
    GI_TRY(gi_matmul_plan_of(a, MatMulInteger_in_A, MatMulInteger_in_B, &p));
    GI_TRY(gi_less_zero_point(a, MatMulInteger_in_A, MatMulInteger_in_a_zero_point, true, &x));
    GI_TRY(gi_less_zero_point(a, MatMulInteger_in_B, MatMulInteger_in_b_zero_point, false, &w));
    GI_TRY(gi_eval_out(a, 0, GOPT_I32, p.rank, p.dims, &y));
    if (y)
        gi_matmul_run(&p, GI_WORD_U32, x, w, y->data);
    return GOPT_OK;
}

/* ---- Det ---- */

static gopt_status infer_det(gi_infer *c)
{
    GI_TRY(gi_infer_want_rank_at_least(c, Det_in_X, 2));
    const int rank = gi_infer_rank(c, Det_in_X);
    if (rank < 2) { /* unknown */
        gi_infer_set_like(c, 0, Det_in_X, -1, NULL);
        return GOPT_OK;
    }
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++)
        dims[i] = gi_infer_dim(c, Det_in_X, i);
    GI_TRY(gi_infer_want_dim(c, Det_in_X, rank - 1, dims[rank - 2], "matrices must be square"));
    gi_infer_set_like(c, 0, Det_in_X, rank - 2, dims);
    return GOPT_OK;
}

/* Elimination with partial pivoting; destroys x. */
static double determinant(double *x, int64_t n)
{
    double det = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(x[i * n + k]) > fabs(x[pivot * n + k]))
                pivot = i;
        if (x[pivot * n + k] == 0)
            return 0;
        if (pivot != k) {
            det = -det;
            for (int64_t j = k; j < n; j++) {
                const double t = x[k * n + j];
                x[k * n + j] = x[pivot * n + j];
                x[pivot * n + j] = t;
            }
        }
        det *= x[k * n + k];
        for (int64_t i = k + 1; i < n; i++) {
            const double f = x[i * n + k] / x[k * n + k];
            for (int64_t j = k; j < n; j++)
                x[i * n + j] -= f * x[k * n + j];
        }
    }
    return det;
}

static gopt_status eval_det(gi_eval *a)
{
    GI_TRY(gi_eval_rank_at_least(a, Det_in_X, 2));
    const gopt_tensor *x = a->in[Det_in_X];
    const int64_t n = x->dims[x->rank - 1];
    GI_TRY(gi_eval_dim(a, Det_in_X, x->rank - 2, n));
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank - 2, x->dims, &y));
    if (!y)
        return GOPT_OK;
    double *m = gi_eval_scratch(a, (size_t)(n * n) + 1, sizeof *m);
    GI_NEED(m);
    for (int64_t b = 0; b < gopt_tensor_elements(y); b++) {
        for (int64_t i = 0; i < n * n; i++)
            m[i] = gi_tensor_f64(x, b * n * n + i);
        gi_store_f64(x->dtype, y->data, (size_t)b, determinant(m, n));
    }
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/matmul.def"
