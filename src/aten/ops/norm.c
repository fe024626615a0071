/* Normalization, dropout and attention. */
#include <float.h>

#include "aten/ops/pointwise.h"

/* Nothing outside of training. */
bool gi_aten_dropout(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input");
    bool train;
    gopt_dtype t;
    if (!gi_aten_bool(a, "train", &train) || !gi_aten_dtype_of(a, x, &t))
        return false;
    if (train)
        return gi_aten_decline(a, "it is of training: call model.eval() before exporting");
    return gi_aten_return(a, 0, x) && (a->n->n_out < 2 || gi_aten_return(a, 1, gi_aten_full_like(a, x, GOPT_BOOL, 1)));
}

/* A row for dim 1 of x. */
static gi_value *for_channels(gi_aten *a, gi_value *v, int rank)
{
    int64_t to[GOPT_MAX_RANK];
    for (int i = 1; i < rank; i++)
        to[i - 1] = i == 1 ? -1 : 1;
    return rank > 2 ? gi_aten_reshape(a, v, (uint32_t)rank - 1, to) : v;
}

/* By the moments of the batch itself: of all dims but channels. */
static gi_value *by_own_moments(gi_aten *a, gi_value *x, int rank, gi_value *w, gi_value *b, double eps)
{
    int64_t axes[GOPT_MAX_RANK];
    uint32_t n = 0;
    for (int i = 0; i < rank; i++)
        if (i != 1)
            axes[n++] = i;
    gi_value *c = gi_aten_2(a, OP_Sub, x, gi_aten_reduce(a, OP_ReduceMean, x, n, axes, true));
    gi_value *v = gi_aten_reduce(a, OP_ReduceMean, gi_aten_2(a, OP_Mul, c, c), n, axes, true);
    gi_value *y = gi_aten_2(a, OP_Div, c, gi_aten_1(a, OP_Sqrt, gi_aten_with(a, OP_Add, v, eps)));
    y = w ? gi_aten_2(a, OP_Mul, y, for_channels(a, w, rank)) : y;
    return b ? gi_aten_2(a, OP_Add, y, for_channels(a, b, rank)) : y;
}

bool gi_aten_batch_norm(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *w = gi_aten_tensor(a, "weight"), *b = gi_aten_tensor(a, "bias");
    gi_value *mean = gi_aten_tensor(a, "running_mean"), *var = gi_aten_tensor(a, "running_var");
    bool training;
    double eps;
    int rank;
    gopt_dtype t;
    if (!gi_aten_bool(a, "training", &training) || !gi_aten_float(a, gi_aten_has(a, "eps") ? "eps" : "epsilon", &eps) ||
        !gi_aten_rank(a, x, &rank))
        return false;
    if (training || !mean || !var)
        return gi_aten_return(a, 0, by_own_moments(a, x, rank, w, b, eps));
    if (!gi_aten_dtype_of(a, mean, &t))
        return false;
    w = w ? w : gi_aten_full_like(a, mean, t, 1);
    b = b ? b : gi_aten_full_like(a, mean, t, 0);
    for (uint32_t i = 1; i < a->n->n_out; i++) /* the moments that native_batch_norm gives beside are none then */
        if (!gi_aten_return(a, i, gi_aten_expand(a, gi_aten_number(a, t, 0), gi_aten_list(a, 1, (int64_t[]){ 0 }))))
            return false;
    return gi_aten_return(
        a, 0, gi_aten_make(a, OP_BatchNormalization, 5, (gi_value *[]){ x, w, b, mean, var }, "epsilon = %.9g", eps));
}

/* Of each picture and channel for itself; with the running moments where use_input_stats is false. */
bool gi_aten_instance_norm(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *w = gi_aten_tensor(a, "weight"), *b = gi_aten_tensor(a, "bias");
    bool own;
    double eps;
    int64_t c;
    gopt_dtype t;
    if (!gi_aten_bool(a, "use_input_stats", &own) || !gi_aten_float(a, "eps", &eps))
        return false;
    if (!own)
        return gi_aten_batch_norm(a);
    if (!gi_aten_dtype_of(a, x, &t) || ((!w || !b) && !gi_aten_dim_const(a, x, 1, &c)))
        return false;
    w = w ? w : gi_aten_expand(a, gi_aten_number(a, t, 1), gi_aten_list(a, 1, &c));
    b = b ? b : gi_aten_expand(a, gi_aten_number(a, t, 0), gi_aten_list(a, 1, &c));
    return gi_aten_return(
        a, 0, gi_aten_make(a, OP_InstanceNormalization, 3, (gi_value *[]){ x, w, b }, "epsilon = %.9g", eps));
}

/* layer_norm, native_layer_norm: over the last dims, as many as normalized_shape has. */
bool gi_aten_layer_norm(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *w = gi_aten_tensor(a, "weight"), *b = gi_aten_tensor(a, "bias");
    uint32_t n;
    const int64_t *shape;
    double eps;
    gopt_dtype t;
    if (!gi_aten_ints(a, "normalized_shape", &n, &shape) || !gi_aten_float(a, "eps", &eps) ||
        !gi_aten_dtype_of(a, x, &t))
        return false;
    w = w ? w : gi_aten_expand(a, gi_aten_number(a, t, 1), gi_aten_list(a, n, shape));
    if (!w)
        return false;
    gi_node *y = gi_aten_node(a, OP_LayerNormalization, b ? 3 : 2, (gi_value *[]){ x, w, b }, a->n->n_out > 1 ? 3 : 1,
                              "axis = -%u, epsilon = %.9g", n, eps);
    for (uint32_t i = 0; y && i < a->n->n_out; i++)
        if (!gi_aten_return(a, i, y->out[i]))
            return false;
    return y != NULL;
}

bool gi_aten_rms_norm(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *w = gi_aten_tensor(a, "weight");
    uint32_t n;
    const int64_t *shape;
    double eps = 0;
    gopt_dtype t;
    if (!gi_aten_ints(a, "normalized_shape", &n, &shape) || !gi_aten_dtype_of(a, x, &t) ||
        (gi_aten_has(a, "eps") && !gi_aten_float(a, "eps", &eps)))
        return false;
    if (!gi_aten_has(a, "eps"))
        eps = t == GOPT_F64 ? DBL_EPSILON : FLT_EPSILON; /* of the type that it is computed in */
    w = w ? w : gi_aten_expand(a, gi_aten_number(a, t, 1), gi_aten_list(a, n, shape));
    return gi_aten_return(
        a, 0, gi_aten_make(a, OP_RMSNormalization, 2, (gi_value *[]){ x, w }, "axis = -%u, epsilon = %.9g", n, eps));
}

/* group_norm, native_group_norm. */
bool gi_aten_group_norm(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *w = gi_aten_tensor(a, "weight"), *b = gi_aten_tensor(a, "bias");
    int64_t groups, c;
    int rank;
    double eps;
    gopt_dtype t;
    if (!gi_aten_int(a, gi_aten_has(a, "num_groups") ? "num_groups" : "group", &groups) ||
        !gi_aten_float(a, "eps", &eps) || !gi_aten_rank(a, x, &rank) || !gi_aten_dtype_of(a, x, &t) ||
        !gi_aten_dim_const(a, x, 1, &c))
        return false;
    if (groups < 1 || c % groups)
        return gi_aten_decline(a, "%lld channels have no %lld groups", (long long)c, (long long)groups);
    w = w ? w : gi_aten_expand(a, gi_aten_number(a, t, 1), gi_aten_list(a, 1, &c));
    b = b ? b : gi_aten_expand(a, gi_aten_number(a, t, 0), gi_aten_list(a, 1, &c));
    static const int64_t behind[] = { 2 };
    gi_value *in = rank == 2 ? gi_aten_unsqueeze(a, x, 1, behind) : x;
    gi_value *y = gi_aten_make(a, OP_GroupNormalization, 3, (gi_value *[]){ in, w, b },
                               "num_groups = %lld, epsilon = %.9g", (long long)groups, eps);
    if (a->n->n_out > 1) { /* native_group_norm: the moments of each group, [batch, groups] */
        static const int64_t last[] = { 2 };
        gi_value *g = gi_aten_reshape(a, x, 3, (int64_t[]){ 0, groups, -1 });
        gi_value *mean = gi_aten_reduce(a, OP_ReduceMean, g, 1, last, true), *c0 = gi_aten_2(a, OP_Sub, g, mean);
        gi_value *var = gi_aten_reduce(a, OP_ReduceMean, gi_aten_2(a, OP_Mul, c0, c0), 1, last, false);
        gi_value *inverse = gi_aten_1(a, OP_Reciprocal, gi_aten_1(a, OP_Sqrt, gi_aten_with(a, OP_Add, var, eps)));
        if (!gi_aten_return(a, 1, gi_aten_squeeze(a, mean, 1, last)) || !gi_aten_return(a, 2, inverse))
            return false;
    }
    return gi_aten_return(a, 0, rank == 2 ? gi_aten_squeeze(a, y, 1, behind) : y);
}

/* v · g / ‖v‖, the norm over all dims but one. */
bool gi_aten_weight_norm(gi_aten *a)
{
    gi_value *v = gi_aten_tensor(a, "v"), *g = gi_aten_tensor(a, "g");
    int rank;
    int64_t axis, axes[GOPT_MAX_RANK];
    uint32_t n = 0;
    if (!gi_aten_rank(a, v, &rank) || !gi_aten_axis(a, "dim", rank, &axis))
        return false;
    for (int i = 0; i < rank; i++)
        if (i != axis)
            axes[n++] = i;
    gi_value *norm = n ? gi_aten_reduce(a, OP_ReduceL2, v, n, axes, true) : gi_aten_1(a, OP_Abs, v);
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Mul, v, gi_aten_2(a, OP_Div, g, norm)));
}

/* Attention wants a batch and heads; a scale that is none of 1/√d is told. */
bool gi_aten_attention(gi_aten *a)
{
    gi_value *q = gi_aten_tensor(a, "query"), *k = gi_aten_tensor(a, "key"), *v = gi_aten_tensor(a, "value"),
             *mask = gi_aten_tensor(a, "attn_mask");
    int rank, mask_rank = 0;
    double dropout, scale = 0;
    bool causal;
    static const int64_t first[] = { 0 };
    if (!gi_aten_rank(a, q, &rank) || !gi_aten_float(a, "dropout_p", &dropout) ||
        !gi_aten_bool(a, "is_causal", &causal) || (gi_aten_has(a, "scale") && !gi_aten_float(a, "scale", &scale)) ||
        (mask && !gi_aten_rank(a, mask, &mask_rank)))
        return false;
    if (dropout > 0)
        return gi_aten_decline(a, "it drops out: call model.eval() before exporting");
    if (rank < 2 || rank > 4)
        return gi_aten_decline(a, "its query has rank %d, expected 2 to 4", rank);
    gi_value **all[3] = { &q, &k, &v };
    for (int r = rank; r < 4; r++)
        for (int i = 0; i < 3; i++)
            *all[i] = gi_aten_unsqueeze(a, *all[i], 1, first);
    for (int r = mask_rank; mask && r > 2 && r < 4; r++) /* it broadcasts from the end */
        mask = gi_aten_unsqueeze(a, mask, 1, first);
    if (!q || !k || !v)
        return false;
    gi_value *in[4] = { q, k, v, mask };
    gi_node *y = scale != 0
                     ? gi_aten_node(a, OP_Attention, mask ? 4 : 3, in, 1, "is_causal = %d, scale = %.9g", causal, scale)
                     : gi_aten_node(a, OP_Attention, mask ? 4 : 3, in, 1, "is_causal = %d", causal);
    gi_value *out = gi_node_out(y, 0);
    for (int r = rank; r < 4; r++)
        out = gi_aten_squeeze(a, out, 1, first);
    return gi_aten_return(a, 0, out);
}
