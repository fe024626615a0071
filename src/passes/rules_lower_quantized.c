/* Rules that expand operators on 8-bit tensors. */
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

#include "passes/rows.h"
#include "passes/rules/lower_quantized.def"
