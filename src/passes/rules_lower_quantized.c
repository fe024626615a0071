/* Rules that expand operators on 8-bit tensors, and products with quantized weights. */
#include "passes/build.h"

static bool is_eight_bits(const gi_value *v)
{
    return gi_value_dtype(v) == GOPT_I8 || gi_value_dtype(v) == GOPT_U8;
}

static bool types_are_known(const gi_match *m, gi_reason *why)
{
    (void)why;
    return is_eight_bits(gi_node_in(m->root, 0)) && is_eight_bits(m->root->out[0]) &&
           (m->root->op != OP_QLinearAveragePool || gi_value_rank(gi_node_in(m->root, 0)) > 2) &&
           (m->root->op != OP_QLinearGlobalAveragePool || gi_value_rank(gi_node_in(m->root, 0)) > 2);
}

/* A zero point, which is 0 where it is absent, of the tensor's type. */
static gi_value *zero_of(gi_rewrite *r, gi_value *zero, const gi_value *of)
{
    return zero ? zero : gi_rw_scalar(r, gi_value_dtype(of), 0);
}

/* One scale and zero point, which may come as a vector of one. */
static gi_value *scalar(gi_rewrite *r, gi_value *v)
{
    return v && gi_value_rank(v) == 0 ? v : gi_rw_reshape(r, v, 0, NULL);
}

/* What the tensor at `in` stands for; scale and zero point lie behind it. */
static gi_value *dequantized(gi_rewrite *r, uint32_t in)
{
    gi_value *x = gi_node_in(r->root, in), *scale = scalar(r, gi_node_in(r->root, in + 1)),
             *zero = scalar(r, zero_of(r, gi_node_in(r->root, in + 2), x));
    return x && scale && zero ? gi_rw_build(r, OP_DequantizeLinear, 3, (gi_value *[]){ x, scale, zero }) : NULL;
}

/* y over the scale at `in`. */
static gi_value *quantized(gi_rewrite *r, gi_value *y, uint32_t in)
{
    gi_value *scale = scalar(r, gi_node_in(r->root, in)),
             *zero = scalar(r, zero_of(r, gi_node_in(r->root, in + 1), r->root->out[0]));
    return y && scale && zero ? gi_rw_build(r, OP_QuantizeLinear, 3, (gi_value *[]){ y, scale, zero }) : NULL;
}

static gi_value *expand_pair(gi_rewrite *r, const gi_match *m)
{
    gi_value *a = dequantized(r, QLinearAdd_in_A), *b = dequantized(r, QLinearAdd_in_B);
    return quantized(r, gi_rw_binary(r, m->root->op == OP_QLinearMul ? OP_Mul : OP_Add, a, b), QLinearAdd_in_C_scale);
}

static gi_value *expand_sigmoid(gi_rewrite *r, const gi_match *m)
{
    (void)m;
    return quantized(r, gi_rw_unary(r, OP_Sigmoid, dequantized(r, QLinearSigmoid_in_X)), QLinearSigmoid_in_Y_scale);
}

static gi_value *expand_leaky_relu(gi_rewrite *r, const gi_match *m)
{
    gi_value *x = dequantized(r, QLinearLeakyRelu_in_X);
    gi_node *n = x ? gi_rw_node(r, OP_LeakyRelu, 1, &x, 1) : NULL;
    if (n)
        gi_attr_set_float(n, LeakyRelu_at_alpha, gi_attr_float(m->root, QLinearLeakyRelu_at_alpha));
    return quantized(r, gi_rw_done(r, n), QLinearLeakyRelu_in_Y_scale);
}

/* Channels from behind the planes to before them, or back. */
static gi_value *move_channels(gi_rewrite *r, gi_value *x, int rank, bool to_front)
{
    int64_t perm[GOPT_MAX_RANK] = { 0 };
    for (int i = 1; i < rank; i++)
        perm[i] = to_front ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1);
    return x ? gi_rw_transpose(r, x, rank, perm) : NULL;
}

static gi_value *expand_average_pool(gi_rewrite *r, const gi_match *m)
{
    const bool last = gi_attr_int(m->root, QLinearAveragePool_at_channels_last) != 0;
    const int rank = gi_value_rank(gi_node_in(m->root, 0));
    gi_value *x = dequantized(r, QLinearAveragePool_in_X);
    if (last)
        x = move_channels(r, x, rank, true);
    gi_node *n = x ? gi_rw_node(r, OP_AveragePool, 1, &x, 1) : NULL;
    gi_value *y = n && gi_rw_attrs_of(n, m->root) ? gi_rw_done(r, n) : NULL;
    return quantized(r, last ? move_channels(r, y, rank, false) : y, QLinearAveragePool_in_y_scale);
}

static gi_value *expand_global_pool(gi_rewrite *r, const gi_match *m)
{
    const int rank = gi_value_rank(gi_node_in(m->root, 0)),
              first = gi_attr_int(m->root, QLinearGlobalAveragePool_at_channels_last) ? 1 : 2;
    int64_t axes[GOPT_MAX_RANK];
    for (int i = 0; i + 2 < rank; i++)
        axes[i] = first + i;
    gi_value *x = dequantized(r, QLinearGlobalAveragePool_in_X);
    return quantized(r, gi_rw_reduce(r, OP_ReduceMean, x, (uint32_t)rank - 2, axes),
                     QLinearGlobalAveragePool_in_y_scale);
}

enum { PARTS = QLinearConcat_in_inputs, MOST_PARTS = 256 };

static bool parts_are_known(const gi_match *m, gi_reason *why)
{
    const gi_node *n = m->root;
    for (uint32_t i = PARTS; i < n->n_in; i += 3)
        if (!is_eight_bits(gi_node_in(n, i)))
            return false;
    return is_eight_bits(n->out[0]) &&
           (n->n_in <= PARTS + 3 * MOST_PARTS || gi_decline(why, "it has %u parts", (n->n_in - PARTS) / 3));
}

static gi_value *expand_concat(gi_rewrite *r, const gi_match *m)
{
    gi_value *parts[MOST_PARTS];
    uint32_t n = 0;
    for (uint32_t i = PARTS; i + 2 < m->root->n_in; i += 3)
        parts[n++] = dequantized(r, i);
    return quantized(r, gi_rw_concat(r, n, parts, gi_attr_int(m->root, QLinearConcat_at_axis)),
                     QLinearConcat_in_Y_scale);
}

/* ---- MatMulNBits ---- */

typedef struct packed {
    int64_t k, n, block, blocks;
    gopt_dtype type;
} packed;

static packed read_packed(const gi_node *n)
{
    packed p = { .k = gi_attr_int(n, MatMulNBits_at_K),
                 .n = gi_attr_int(n, MatMulNBits_at_N),
                 .block = gi_attr_int(n, MatMulNBits_at_block_size),
                 .type = gi_attr_int(n, MatMulNBits_at_bits) == 4 ? GOPT_U4 : GOPT_U8 };
    p.blocks = p.block > 0 ? (p.k + p.block - 1) / p.block : 0;
    return p;
}

static bool holds(const gi_value *v, gopt_dtype t, int64_t n)
{
    const gi_blob *b = gi_value_blob(v);
    return b && b->dtype == t && gi_blob_elements(b) == n;
}

static bool weights_are_constant(const gi_match *m, gi_reason *why)
{
    const gi_node *n = m->root;
    const packed p = read_packed(n);
    const int bits = gopt_dtype_bits(p.type);
    const gi_value *zero = gi_node_in(n, MatMulNBits_in_zero_points);
    if (gi_attr_int(n, MatMulNBits_at_bits) != bits)
        return gi_decline(why, "its weights have %d bits", (int)gi_attr_int(n, MatMulNBits_at_bits));
    if (gi_node_in(n, MatMulNBits_in_g_idx) || gi_attr_int(n, MatMulNBits_at_weight_prepacked))
        return gi_decline(why, "its weights are in an order of their own");
    if (!holds(gi_node_in(n, MatMulNBits_in_B), GOPT_U8, p.n * p.blocks * (p.block * bits / 8)) ||
        !holds(gi_node_in(n, MatMulNBits_in_scales), gi_value_dtype(gi_node_in(n, MatMulNBits_in_A)), p.n * p.blocks) ||
        (zero && !gi_value_blob(zero)))
        return gi_decline(why, "its weights, scales or zero points are not constant, or not of their size");
    return !zero || holds(zero, GOPT_U8, p.n * ((p.blocks * bits + 7) / 8)) ||
           gi_decline(why, "its zero points are no packed integers");
}

/* Rows of `n` packed numbers, each row of `b` beginning `step` numbers behind the one before: the bytes themselves where
 * nothing lies between. */
static gi_value *rows_of(gi_rewrite *r, gi_blob *b, gopt_dtype t, int64_t rows, int64_t n, int64_t step)
{
    const int64_t dims[] = { rows, n };
    gi_blob *to;
    if (n == step)
        return gi_blob_seen_as(b, t, 2, dims, &to) == GOPT_OK ? gi_const(r->g, to, NULL) : NULL;
    if (gi_blob_create(r->g->cx, t, 2, dims, &to) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            gi_store_i64(t, to->owned, (size_t)(i * n + j), gi_load_i64(t, b->data, (size_t)(i * step + j)));
    return gi_const(r->g, to, NULL);
}

static gi_value *zero_points(gi_rewrite *r, const packed *p)
{
    const gi_value *given = gi_node_in(r->root, MatMulNBits_in_zero_points);
    const int64_t bits = gopt_dtype_bits(p->type), dims[] = { p->n, p->blocks };
    gi_blob *b;
    if (given)
        return rows_of(r, gi_value_blob(given), p->type, p->n, p->blocks, (p->blocks * bits + 7) / 8 * (8 / bits));
    if (gi_blob_create(r->g->cx, p->type, 2, dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < p->n * p->blocks; i++)
        gi_store_i64(p->type, b->owned, (size_t)i, INT64_C(1) << (bits - 1));
    return gi_const(r->g, b, NULL);
}

static gi_value *expand_nbits(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    const packed p = read_packed(n);
    const int64_t dims[] = { p.n, p.blocks };
    gi_value *bias = gi_node_in(n, MatMulNBits_in_bias),
             *w = rows_of(r, gi_value_blob(gi_node_in(n, MatMulNBits_in_B)), p.type, p.n, p.k, p.blocks * p.block);
    gi_blob *s;
    if (gi_blob_reshaped(gi_value_blob(gi_node_in(n, MatMulNBits_in_scales)), 2, dims, &s) != GOPT_OK)
        return NULL;
    gi_value *x = gi_node_in(n, MatMulNBits_in_A), *scale = gi_const(r->g, s, NULL), *zero = zero_points(r, &p);
    scale = gi_rw_cast(r, scale, GOPT_F32);
    gi_node *d = w && scale && zero ? gi_rw_node(r, OP_DequantizeLinear, 3, (gi_value *[]){ w, scale, zero }, 1) : NULL;
    if (!d)
        return NULL;
    gi_attr_set_int(d, DequantizeLinear_at_axis, 1);
    gi_attr_set_int(d, DequantizeLinear_at_block_size, p.block);
    gi_value *y = gi_rw_done(r, d);
    y = y ? gi_rw_transpose(r, y, 2, (int64_t[]){ 1, 0 }) : NULL;
    y = gi_rw_binary(r, OP_MatMul, gi_rw_cast(r, x, GOPT_F32), y);
    if (bias)
        y = gi_rw_binary(r, OP_Add, y, gi_rw_cast(r, bias, GOPT_F32));
    return gi_rw_cast(r, y, gi_value_dtype(x));
}

/* ---- integer products ---- */

static bool factors_are_floats(const gi_match *m, gi_reason *why)
{
    (void)why;
    const bool dynamic = m->root->op == OP_DynamicQuantizeMatMul;
    return gi_value_dtype(gi_node_in(m->root, dynamic ? DynamicQuantizeMatMul_in_A
                                                      : MatMulIntegerToFloat_in_a_scale)) == GOPT_F32 &&
           gi_value_dtype(gi_node_in(m->root, dynamic ? DynamicQuantizeMatMul_in_b_scale
                                                      : MatMulIntegerToFloat_in_b_scale)) == GOPT_F32;
}

/* (a − zero_a) (b − zero_b) · (scale_a · scale_b) + bias */
static gi_value *scaled_product(gi_rewrite *r, gi_value *const in[4], gi_value *scale_a, gi_value *scale_b,
                                gi_value *bias)
{
    const uint32_t n = in[3] ? 4 : in[2] ? 3 : 2;
    gi_value *scale = gi_rw_binary(r, OP_Mul, scale_a, scale_b),
             *y = in[0] && in[1] ? gi_rw_build(r, OP_MatMulInteger, n, in) : NULL;
    y = gi_rw_binary(r, OP_Mul, gi_rw_cast(r, y, GOPT_F32), scale);
    return bias ? gi_rw_binary(r, OP_Add, y, bias) : y;
}

static gi_value *expand_to_float(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    gi_value *const in[] = { gi_node_in(n, MatMulIntegerToFloat_in_A), gi_node_in(n, MatMulIntegerToFloat_in_B),
                             gi_node_in(n, MatMulIntegerToFloat_in_a_zero_point),
                             gi_node_in(n, MatMulIntegerToFloat_in_b_zero_point) };
    return scaled_product(r, in, gi_node_in(n, MatMulIntegerToFloat_in_a_scale),
                          gi_node_in(n, MatMulIntegerToFloat_in_b_scale), gi_node_in(n, MatMulIntegerToFloat_in_bias));
}

static gi_value *expand_dynamic(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    gi_value *a = gi_node_in(n, DynamicQuantizeMatMul_in_A);
    gi_node *q = gi_rw_node(r, OP_DynamicQuantizeLinear, 1, &a, 3);
    if (!gi_rw_done(r, q))
        return NULL;
    gi_value *const in[] = { q->out[0], gi_node_in(n, DynamicQuantizeMatMul_in_B), q->out[2],
                             gi_node_in(n, DynamicQuantizeMatMul_in_b_zero_point) };
    return scaled_product(r, in, q->out[1], gi_node_in(n, DynamicQuantizeMatMul_in_b_scale),
                          gi_node_in(n, DynamicQuantizeMatMul_in_bias));
}

#include "passes/rows.h"
#include "passes/rules/lower_quantized.def"
