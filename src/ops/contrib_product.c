/* ONNX Runtime's own operators: products of floats with quantized weights. */
#include "ops/matmul.h"
#include "ops/move.h"

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

/* ---- MatMulNBits ---- */

/* The weights' shape: n rows of k numbers, in blocks. */
typedef struct packed {
    int64_t k, n, block, blocks;
    gopt_dtype type; /* of the packed numbers */
} packed;

static const char *read_packed(const gi_node *n, packed *p)
{
    const int64_t bits = gi_attr_int(n, MatMulNBits_at_bits);
    *p = (packed){ .k = gi_attr_int(n, MatMulNBits_at_K),
                   .n = gi_attr_int(n, MatMulNBits_at_N),
                   .block = gi_attr_int(n, MatMulNBits_at_block_size),
                   .type = bits == 2   ? GOPT_U2
                           : bits == 4 ? GOPT_U4
                                       : GOPT_U8 };
    if (bits != 2 && bits != 4 && bits != 8)
        return "attribute bits must be 2, 4 or 8";
    if (p->k < 1 || p->n < 1 || p->k > INT32_MAX || p->n > INT32_MAX)
        return "attributes K and N must be 1 or more";
    if (p->block < 16 || p->block > INT32_MAX || (p->block & (p->block - 1)))
        return "attribute block_size must be a power of two, 16 or more";
    if (gi_attr_int(n, MatMulNBits_at_weight_prepacked))
        return "weights packed for one device are not known here";
    p->blocks = (p->k + p->block - 1) / p->block;
    return NULL;
}

static gopt_status infer_nbits(gi_infer *c)
{
    packed p;
    const gi_dim *dims[GOPT_MAX_RANK];
    const char *why = read_packed(c->n, &p);
    if (why)
        return gi_infer_fail_node(c, "%s", why);
    if (gi_infer_dtype(c, MatMulNBits_in_B) != GOPT_UNDEFINED && gi_infer_dtype(c, MatMulNBits_in_B) != GOPT_U8)
        return gi_infer_fail(c, MatMulNBits_in_B, "expected u8");
    GI_TRY(gi_infer_want_dtype(c, MatMulNBits_in_scales, MatMulNBits_in_A));
    if (gi_infer_dtype(c, MatMulNBits_in_A) == GOPT_F64)
        return gi_infer_fail(c, MatMulNBits_in_A, "expected f32, f16 or bf16");
    if (gi_infer_has(c, MatMulNBits_in_bias)) {
        GI_TRY(gi_infer_want_dtype(c, MatMulNBits_in_bias, MatMulNBits_in_A));
        GI_TRY(gi_infer_want_rank(c, MatMulNBits_in_bias, 1));
    }
    GI_TRY(gi_infer_want_rank_at_least(c, MatMulNBits_in_A, 1));
    const int rank = gi_dims_of(c, MatMulNBits_in_A, dims);
    if (rank > 0) {
        const gi_dim *k = gi_dim_const(c->g->dims, p.k);
        GI_NEED(k);
        GI_TRY(gi_infer_want_dim(c, MatMulNBits_in_A, rank - 1, k, "attribute K"));
        dims[rank - 1] = gi_dim_const(c->g->dims, p.n);
        GI_NEED(dims[rank - 1]);
    }
    gi_infer_set_like(c, 0, MatMulNBits_in_A, rank, rank < 0 ? NULL : dims);
    return GOPT_OK;
}

static gopt_status want_elements(const gi_eval *a, uint32_t in, int64_t n)
{
    const gopt_tensor *t = input(a, in);
    return t && gopt_tensor_elements(t) == n ? GOPT_OK
                                             : gi_eval_fail(a, (int)in, "has %lld elements, expected %lld",
                                                            t ? (long long)gopt_tensor_elements(t) : 0LL, (long long)n);
}

/* Zero points come packed as the weights do, each row in bytes of its own, or one a block of A's type; else they are half
 * of the range. */
static double zero_point(const gi_eval *a, const packed *p, int64_t row, int64_t block)
{
    const gopt_tensor *z = input(a, MatMulNBits_in_zero_points);
    const int bits = gopt_dtype_bits(p->type);
    if (!z)
        return (double)(1 << (bits - 1));
    if (z->dtype != GOPT_U8)
        return gi_tensor_f64(z, row * p->blocks + block);
    const int64_t bytes = (p->blocks * bits + 7) / 8;
    return (double)gi_load_i64(p->type, (const uint8_t *)z->data + row * bytes, (size_t)block);
}

static gopt_status check_nbits(const gi_eval *a, const packed *p)
{
    const int bits = gopt_dtype_bits(p->type);
    const gopt_tensor *z = input(a, MatMulNBits_in_zero_points), *b = input(a, MatMulNBits_in_B);
    GI_TRY(gi_eval_rank_at_least(a, MatMulNBits_in_A, 1));
    GI_TRY(gi_eval_dim(a, MatMulNBits_in_A, a->in[MatMulNBits_in_A]->rank - 1, p->k));
    if (!b || b->dtype != GOPT_U8)
        return gi_eval_fail(a, MatMulNBits_in_B, "expected u8");
    GI_TRY(want_elements(a, MatMulNBits_in_B, p->n * p->blocks * (p->block * bits / 8)));
    GI_TRY(want_elements(a, MatMulNBits_in_scales, p->n * p->blocks));
    if (z)
        GI_TRY(want_elements(a, MatMulNBits_in_zero_points,
                             p->n * (z->dtype == GOPT_U8 ? (p->blocks * bits + 7) / 8 : p->blocks)));
    if (input(a, MatMulNBits_in_bias)) {
        GI_TRY(gi_eval_rank(a, MatMulNBits_in_bias, 1));
        GI_TRY(want_elements(a, MatMulNBits_in_bias, p->n));
    }
    return GOPT_OK;
}

/* The block whose scale each of the k numbers of a row has: its own, or what g_idx says, which may go on to the end of
 * the last block. */
static gopt_status read_groups(gi_eval *a, const packed *p, int64_t **out)
{
    const gopt_tensor *g = input(a, MatMulNBits_in_g_idx);
    int64_t *group = gi_eval_scratch(a, (size_t)p->k, sizeof *group);
    GI_NEED(group);
    if (g &&
        (g->dtype != GOPT_I32 || (gopt_tensor_elements(g) != p->k && gopt_tensor_elements(g) != p->blocks * p->block)))
        return gi_eval_fail(a, MatMulNBits_in_g_idx, "expected %lld numbers of i32", (long long)p->k);
    for (int64_t i = 0; i < p->k; i++) {
        group[i] = g ? gi_tensor_i64(g, i) : i / p->block;
        if (group[i] < 0 || group[i] >= p->blocks)
            return gi_eval_fail(a, MatMulNBits_in_g_idx, "holds %lld, expected 0 to %lld", (long long)group[i],
                                (long long)p->blocks - 1);
    }
    *out = group;
    return GOPT_OK;
}

static gopt_status eval_nbits(gi_eval *a)
{
    packed p;
    int64_t dims[GOPT_MAX_RANK], *group = NULL;
    const void *x, *bias;
    gi_real y;
    const char *why = read_packed(a->n, &p);
    if (why)
        return gi_eval_fail(a, -1, "%s", why);
    GI_TRY(check_nbits(a, &p));
    const gopt_tensor *t = a->in[MatMulNBits_in_A], *scales = a->in[MatMulNBits_in_scales];
    float *w = gi_eval_scratch(a, (size_t)(p.k * p.n) + 1, sizeof *w); /* [K, N] */
    GI_NEED(w);
    GI_TRY(read_groups(a, &p, &group));
    for (int64_t j = 0; j < p.n; j++)
        for (int64_t i = 0; i < p.k; i++) {
            const float scale = (float)gi_tensor_f64(scales, j * p.blocks + group[i]);
            const float q =
                (float)gi_load_i64(p.type, a->in[MatMulNBits_in_B]->data, (size_t)(j * p.blocks * p.block + i));
            w[i * p.n + j] = (q - (float)zero_point(a, &p, j, group[i])) * scale;
        }
    GI_TRY(gi_real_in(a, MatMulNBits_in_A, GOPT_F32, &x));
    GI_TRY(gi_real_in(a, MatMulNBits_in_bias, GOPT_F32, &bias));
    memcpy(dims, t->dims, sizeof dims);
    dims[t->rank - 1] = p.n;
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F32, t->rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    const int64_t rows = gi_product(0, t->rank - 1, dims);
    for (int64_t i = 0; i < rows * p.n; i++)
        ((float *)y.p)[i] = bias ? ((const float *)bias)[i % p.n] : 0;
    gi_gemm_f32(rows, p.n, p.k, x, p.k, w, p.n, y.p, p.n);
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- MatMulBnb4 ---- */

/* QLoRA's types of 4 bits (Dettmers et al., 2023): floats with a sign, and quantiles of the normal distribution. */
static const float four_bits[2][16] = {
    { 0, 0.005208333333f, 0.666666667f, 1, 0.333333333f, 0.5f, 0.166666667f, 0.25f, -0.0f, -0.005208333333f,
      -0.666666667f, -1, -0.333333333f, -0.5f, -0.166666667f, -0.25f },
    { -1, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
      -0.18477343022823334f, -0.09105003625154495f, 0, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f,
      0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1 }
};

/* The weights are [N, K]; the product is with their transpose unless transB is 0. */
typedef struct bnb4 {
    int64_t k, n, block;
    bool turned;
    const float *values;
} bnb4;

static const char *read_bnb4(const gi_node *n, bnb4 *p)
{
    const int64_t kind = gi_attr_int(n, MatMulBnb4_at_quant_type);
    *p = (bnb4){ .k = gi_attr_int(n, MatMulBnb4_at_K),
                 .n = gi_attr_int(n, MatMulBnb4_at_N),
                 .block = gi_attr_int(n, MatMulBnb4_at_block_size),
                 .turned = gi_attr_int(n, MatMulBnb4_at_transB) != 0 };
    if (kind != 0 && kind != 1)
        return "attribute quant_type must be 0 (FP4) or 1 (NF4)";
    if (p->k < 1 || p->n < 1 || p->k > INT32_MAX || p->n > INT32_MAX)
        return "attributes K and N must be 1 or more";
    if (p->block < 16 || p->block > INT32_MAX || (p->block & (p->block - 1)))
        return "attribute block_size must be a power of two, 16 or more";
    p->values = four_bits[kind];
    return NULL;
}

static gopt_status infer_bnb4(gi_infer *c)
{
    bnb4 p;
    const gi_dim *dims[GOPT_MAX_RANK];
    const char *why = read_bnb4(c->n, &p);
    if (why)
        return gi_infer_fail_node(c, "%s", why);
    GI_TRY(gi_infer_want_rank_at_least(c, MatMulBnb4_in_A, 1));
    GI_TRY(gi_infer_want_dtype(c, MatMulBnb4_in_absmax, MatMulBnb4_in_A));
    const int rank = gi_dims_of(c, MatMulBnb4_in_A, dims);
    if (rank > 0) {
        const gi_dim *k = gi_dim_const(c->g->dims, p.turned ? p.k : p.n);
        GI_NEED(k);
        GI_TRY(gi_infer_want_dim(c, MatMulBnb4_in_A, rank - 1, k, "the size that its attributes say"));
        dims[rank - 1] = gi_dim_const(c->g->dims, p.turned ? p.n : p.k);
        GI_NEED(dims[rank - 1]);
    }
    gi_infer_set_like(c, 0, MatMulBnb4_in_A, rank, rank < 0 ? NULL : dims);
    return GOPT_OK;
}

static gopt_status eval_bnb4(gi_eval *a)
{
    bnb4 p;
    int64_t dims[GOPT_MAX_RANK];
    const float *x, *most;
    gi_real y;
    const char *why = read_bnb4(a->n, &p);
    if (why)
        return gi_eval_fail(a, -1, "%s", why);
    const int64_t size = p.k * p.n, from = p.turned ? p.k : p.n, to = p.turned ? p.n : p.k;
    GI_TRY(gi_eval_rank_at_least(a, MatMulBnb4_in_A, 1));
    const gopt_tensor *t = a->in[MatMulBnb4_in_A], *b = a->in[MatMulBnb4_in_B];
    GI_TRY(gi_eval_dim(a, MatMulBnb4_in_A, t->rank - 1, from));
    if (b->dtype != GOPT_U8)
        return gi_eval_fail(a, MatMulBnb4_in_B, "expected u8");
    GI_TRY(want_elements(a, MatMulBnb4_in_B, (size + 1) / 2));
    GI_TRY(want_elements(a, MatMulBnb4_in_absmax, (size + p.block - 1) / p.block));
    GI_TRY(gi_real_in(a, MatMulBnb4_in_A, GOPT_F32, (const void **)&x));
    GI_TRY(gi_real_in(a, MatMulBnb4_in_absmax, GOPT_F32, (const void **)&most));
    memcpy(dims, t->dims, sizeof dims);
    dims[t->rank - 1] = to;
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F32, t->rank, dims, &y));
    float *w = gi_eval_scratch(a, (size_t)size, sizeof *w); /* as it is multiplied: [from, to] */
    GI_NEED(w);
    for (int64_t i = 0; i < size; i++) {
        const uint8_t two = ((const uint8_t *)b->data)[i / 2]; /* the upper half is the first */
        w[p.turned ? i % p.k * p.n + i / p.k : i] = p.values[i % 2 ? two & 15 : two >> 4] * most[i / p.block];
    }
    if (!y.p || gopt_tensor_elements(y.t) == 0)
        return GOPT_OK;
    const int64_t rows = gi_product(0, t->rank - 1, dims);
    memset(y.p, 0, (size_t)(rows * to) * sizeof(float));
    gi_gemm_f32(rows, to, from, x, from, w, to, y.p, to);
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- MatMulIntegerToFloat, DynamicQuantizeMatMul ---- */

/* A bias is a vector of columns; scale and zero point of b are one number, or such a vector. */
static gopt_status infer_columns(gi_infer *c, uint32_t b, uint32_t scale, uint32_t zero, uint32_t bias)
{
    const gi_dim *columns = gi_infer_dim(c, b, -1);
    const uint32_t vectors[] = { scale, zero, bias };
    for (int i = 0; i < 3; i++)
        if (gi_infer_has(c, vectors[i]) && gi_infer_rank(c, vectors[i]) > 0 && gi_infer_rank(c, b) > 1) {
            GI_TRY(gi_infer_want_rank(c, vectors[i], 1));
            if (vectors[i] == bias || !gi_dim_is(gi_infer_dim(c, vectors[i], 0), 1))
                GI_TRY(gi_infer_want_dim(c, vectors[i], 0, columns, "the columns of B"));
        }
    if (gi_infer_has(c, zero))
        GI_TRY(gi_infer_want_dtype(c, zero, b));
    if (gi_infer_has(c, bias))
        GI_TRY(gi_infer_want_dtype(c, bias, scale));
    return GOPT_OK;
}

static gopt_status infer_to_float(gi_infer *c)
{
    enum { A = MatMulIntegerToFloat_in_A, A_ZERO = MatMulIntegerToFloat_in_a_zero_point };
    GI_TRY(infer_columns(c, MatMulIntegerToFloat_in_B, MatMulIntegerToFloat_in_b_scale,
                         MatMulIntegerToFloat_in_b_zero_point, MatMulIntegerToFloat_in_bias));
    if (gi_infer_has(c, A_ZERO))
        GI_TRY(gi_infer_want_dtype(c, A_ZERO, A));
    return gi_infer_matmul_shape(c, A, MatMulIntegerToFloat_in_B, GOPT_F32);
}

static gopt_status infer_dynamic(gi_infer *c)
{
    GI_TRY(infer_columns(c, DynamicQuantizeMatMul_in_B, DynamicQuantizeMatMul_in_b_scale,
                         DynamicQuantizeMatMul_in_b_zero_point, DynamicQuantizeMatMul_in_bias));
    return gi_infer_matmul_shape(c, DynamicQuantizeMatMul_in_A, DynamicQuantizeMatMul_in_B, GOPT_F32);
}

/* Evaluates an operator without attributes on these tensors. Its results are the caller's. */
static gopt_status evaluate(gi_eval *a, gi_opcode op, uint32_t n_in, const gopt_tensor *const *in, uint32_t n_out,
                            gopt_tensor **out)
{
    gi_eval b = *a;
    b.in = in;
    b.n_in = n_in;
    b.out = out;
    b.n_out = n_out;
    b.planned = false;
    return gi_op_get(op)->eval(&b);
}

/* Input `in` as f32: one number, or n of them. */
static gopt_status read_floats(gi_eval *a, uint32_t in, int64_t n, const float **p, int64_t *step)
{
    const gopt_tensor *t = input(a, in);
    if (!t || (gopt_tensor_elements(t) != 1 && gopt_tensor_elements(t) != n))
        return gi_eval_fail(a, (int)in, "expected one number, or one a column");
    *step = gopt_tensor_elements(t) != 1;
    return gi_real_in(a, in, GOPT_F32, (const void **)p);
}

/* Output 0: the integers times scale_a and the scale at `scale`, plus the bias. */
static gopt_status scale_up(gi_eval *a, const gopt_tensor *sums, float scale_a, uint32_t scale, uint32_t bias)
{
    const int64_t n = sums->rank > 0 ? sums->dims[sums->rank - 1] : 1;
    const float *scale_b, *shift = NULL;
    int64_t step, shift_step = 0;
    gi_real y;
    GI_TRY(read_floats(a, scale, n, &scale_b, &step));
    if (input(a, bias))
        GI_TRY(read_floats(a, bias, n, &shift, &shift_step));
    GI_TRY(gi_real_out(a, 0, GOPT_F32, sums->rank, sums->dims, &y));
    const int64_t all = y.p ? gopt_tensor_elements(sums) : 0;
    for (int64_t i = 0; i < all; i++)
        ((float *)y.p)[i] = (float)((const int32_t *)sums->data)[i] * (scale_a * scale_b[i % n * step]) +
                            (shift ? shift[i % n * shift_step] : 0);
    gi_real_store(&y);
    return GOPT_OK;
}

static gopt_status eval_to_float(gi_eval *a)
{
    const gopt_tensor *in[] = { a->in[MatMulIntegerToFloat_in_A], a->in[MatMulIntegerToFloat_in_B],
                                input(a, MatMulIntegerToFloat_in_a_zero_point),
                                input(a, MatMulIntegerToFloat_in_b_zero_point) };
    gopt_tensor *sums = NULL;
    const float *scale;
    int64_t step;
    GI_TRY(read_floats(a, MatMulIntegerToFloat_in_a_scale, 1, &scale, &step));
    gopt_status st = evaluate(a, OP_MatMulInteger, 4, in, 1, &sums);
    if (st == GOPT_OK)
        st = scale_up(a, sums, scale[0], MatMulIntegerToFloat_in_b_scale, MatMulIntegerToFloat_in_bias);
    gopt_tensor_unref(sums);
    return st;
}

static gopt_status eval_dynamic(gi_eval *a)
{
    gopt_tensor *q[3] = { NULL }, *sums = NULL; /* a quantized, its scale, its zero point */
    gopt_status st = evaluate(a, OP_DynamicQuantizeLinear, 1, a->in, 3, q);
    if (st == GOPT_OK)
        st = evaluate(a, OP_MatMulInteger, 4,
                      (const gopt_tensor *[]){ q[0], a->in[DynamicQuantizeMatMul_in_B], q[2],
                                               input(a, DynamicQuantizeMatMul_in_b_zero_point) },
                      1, &sums);
    if (st == GOPT_OK)
        st = scale_up(a, sums, ((const float *)q[1]->data)[0], DynamicQuantizeMatMul_in_b_scale,
                      DynamicQuantizeMatMul_in_bias);
    for (int i = 0; i < 3; i++)
        gopt_tensor_unref(q[i]);
    gopt_tensor_unref(sums);
    return st;
}

#include "ops/rows.h"

#include "ir/ops/contrib_product.def"
