/* Rules that expand operators: pointwise ones, products, normalizations. */
#include <math.h>

#include "ops/activate.h"
#include "passes/build.h"

/* ---- the element type to compute in ---- */

static bool x_is_float(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_dtype_is_float(gi_value_dtype(m->x));
}

static gopt_dtype real_of(const gi_value *x)
{
    return gi_value_dtype(x) == GOPT_F64 ? GOPT_F64 : GOPT_F32;
}

/* x as f32 or f64, and what is computed from it back in x's type. */
static gi_value *widen(gi_rewrite *r, gi_value *x)
{
    return gi_rw_cast(r, x, real_of(x));
}

static gi_value *narrow(gi_rewrite *r, gi_value *y, const gi_value *x)
{
    return y ? gi_rw_cast(r, y, gi_value_dtype(x)) : NULL;
}

static gi_value *times(gi_rewrite *r, gi_value *x, double k)
{
    return x && k != 1 ? gi_rw_binary(r, OP_Mul, x, gi_rw_scalar(r, gi_value_dtype(x), k)) : x;
}

static gi_value *plus(gi_rewrite *r, gi_value *x, double k)
{
    if (k == 0)
        return x;
    return x ? gi_rw_binary(r, OP_Add, x, gi_rw_scalar(r, gi_value_dtype(x), k)) : NULL;
}

/* ---- pointwise ---- */

static gi_value *plus_bias(gi_rewrite *r, const gi_match *m)
{
    return m->b ? gi_rw_binary(r, OP_Add, m->x, m->b) : m->x;
}

static gi_value *gelu_of(gi_rewrite *r, const gi_match *m)
{
    return gi_rw_unary(r, OP_Gelu, plus_bias(r, m));
}

static gi_value *tanh_gelu_of(gi_rewrite *r, const gi_match *m)
{
    gi_value *x = plus_bias(r, m);
    gi_node *n = x ? gi_rw_node(r, OP_Gelu, 1, &x, 1) : NULL;
    return n && gi_attr_set_str(n, Gelu_at_approximate, "tanh") ? gi_rw_done(r, n) : NULL;
}

static gi_value *gated(gi_rewrite *r, gi_value *given, double alpha)
{
    gi_value *x = widen(r, given);
    return narrow(r, gi_rw_binary(r, OP_Mul, x, gi_rw_unary(r, OP_Sigmoid, times(r, x, alpha))), given);
}

static gi_value *expand_quick_gelu(gi_rewrite *r, const gi_match *m)
{
    return gated(r, m->x, (double)gi_attr_float(m->root, QuickGelu_at_alpha));
}

static gi_value *expand_swish(gi_rewrite *r, const gi_match *m)
{
    return gated(r, m->x, (double)gi_attr_float(m->root, Swish_at_alpha));
}

static gi_value *expand_gelu(gi_rewrite *r, const gi_match *m)
{
    gi_value *x = widen(r, m->x), *inner;
    if (gi_attr_is(m->root, Gelu_at_approximate, "tanh")) {
        gi_value *cube = gi_rw_binary(r, OP_Mul, gi_rw_binary(r, OP_Mul, x, x), x);
        inner = gi_rw_unary(r, OP_Tanh,
                            times(r, gi_rw_binary(r, OP_Add, x, times(r, cube, 0.044715)), M_2_SQRTPI * M_SQRT1_2));
    } else {
        inner = gi_rw_unary(r, OP_Erf, times(r, x, M_SQRT1_2));
    }
    inner = plus(r, inner, 1);
    return narrow(r, gi_rw_binary(r, OP_Mul, times(r, x, 0.5), inner), m->x);
}

static gi_value *expand_hard_swish(gi_rewrite *r, const gi_match *m)
{
    gi_value *x = widen(r, m->x);
    if (x && gi_value_dtype(x) == GOPT_F64) { /* an attribute holds a sixth only as f32 */
        gi_value *gate = plus(r, gi_rw_binary(r, OP_Div, x, gi_rw_scalar(r, GOPT_F64, 6)), 0.5), *const in[] = {
            gate, gi_rw_scalar(r, GOPT_F64, 0), gi_rw_scalar(r, GOPT_F64, 1)
        };
        return gi_rw_binary(r, OP_Mul, x, gate ? gi_rw_build(r, OP_Clip, 3, in) : NULL);
    }
    gi_node *n = x ? gi_rw_node(r, OP_HardSigmoid, 1, &x, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_float(n, HardSigmoid_at_alpha, 1.0f / 6);
    gi_attr_set_float(n, HardSigmoid_at_beta, 0.5f);
    return narrow(r, gi_rw_binary(r, OP_Mul, x, gi_rw_done(r, n)), m->x);
}

static gi_value *expand_mish(gi_rewrite *r, const gi_match *m)
{
    gi_value *x = widen(r, m->x);
    return narrow(r, gi_rw_binary(r, OP_Mul, x, gi_rw_unary(r, OP_Tanh, gi_rw_unary(r, OP_Softplus, x))), m->x);
}

static gi_value *elu(gi_rewrite *r, gi_value *x, float alpha)
{
    gi_node *n = x ? gi_rw_node(r, OP_Elu, 1, &x, 1) : NULL;
    if (n)
        gi_attr_set_float(n, Elu_at_alpha, alpha);
    return gi_rw_done(r, n);
}

static gi_value *expand_selu(gi_rewrite *r, const gi_match *m)
{
    gi_value *y = elu(r, widen(r, m->x), gi_attr_float(m->root, Selu_at_alpha));
    return narrow(r, times(r, y, (double)gi_attr_float(m->root, Selu_at_gamma)), m->x);
}

static bool alpha_is_positive(const gi_match *m, gi_reason *why)
{
    const float alpha = gi_attr_float(m->root, Celu_at_alpha);
    return x_is_float(m, why) && (alpha > 0 || gi_decline(why, "its attribute alpha is %g", (double)alpha));
}

static gi_value *expand_celu(gi_rewrite *r, const gi_match *m)
{
    const double alpha = (double)gi_attr_float(m->root, Celu_at_alpha);
    return narrow(r, times(r, elu(r, times(r, widen(r, m->x), 1 / alpha), 1), alpha), m->x);
}

static gi_value *expand_thresholded_relu(gi_rewrite *r, const gi_match *m)
{
    const gopt_dtype t = gi_value_dtype(m->x);
    gi_value *least = gi_rw_scalar(r, t, (double)gi_attr_float(m->root, ThresholdedRelu_at_alpha));
    return gi_rw_where(r, gi_rw_binary(r, OP_Greater, m->x, least), m->x, gi_rw_scalar(r, t, 0));
}

/* ---- products with an activation ---- */

/* An activation by its operator's name, "" for none, with its parameters in the operator's order. */
static bool is_operator(const char *name, gi_reason *why)
{
    static const char *const known[] = { "Relu", "Tanh",        "Sigmoid",         "LeakyRelu",
                                         "Clip", "HardSigmoid", "HardSwish",       "Elu",
                                         "Selu", "Softplus",    "ThresholdedRelu", "Softsign" };
    for (size_t i = 0; i < GI_COUNT(known); i++)
        if (!strcmp(name, known[i]))
            return true;
    return !*name || gi_decline(why, "its activation is '%s'", name);
}

static gi_value *activate(gi_rewrite *r, gi_value *x, const char *name, const double *p)
{
    if (!x || !*name)
        return x;
    if (!strcmp(name, "Clip"))
        return gi_rw_build(
            r, OP_Clip, 3,
            (gi_value *[]){ x, gi_rw_scalar(r, gi_value_dtype(x), p[0]), gi_rw_scalar(r, gi_value_dtype(x), p[1]) });
    gi_node *n = gi_rw_node(r, gi_op_find("", name), 1, &x, 1);
    for (uint32_t i = 0; n && i < n->n_attrs && i < GI_ACTIVATION_MAX; i++)
        gi_attr_set_float(n, (int)i, (float)p[i]);
    return gi_rw_done(r, n);
}

static const char *conv_activation(const gi_node *n)
{
    return gi_attr_has(n, FusedConv_at_activation) ? gi_attr_str(n, FusedConv_at_activation) : "";
}

static bool conv_activation_is_known(const gi_match *m, gi_reason *why)
{
    return x_is_float(m, why) && is_operator(conv_activation(m->root), why);
}

static gi_value *expand_fused_conv(gi_rewrite *r, const gi_match *m)
{
    const float *given;
    const uint32_t n_given = gi_attr_floats(m->root, FusedConv_at_activation_params, &given);
    const char *name = conv_activation(m->root);
    double p[GI_ACTIVATION_MAX] = { 0 };
    gi_activation_parameters(name, p);
    for (uint32_t i = 0; i < n_given && i < GI_ACTIVATION_MAX; i++)
        p[i] = (double)given[i];
    gi_node *n = gi_rw_node(r, OP_Conv, m->b ? 3 : 2, (gi_value *[]){ m->x, m->w, m->b }, 1);
    gi_value *y = n && gi_rw_attrs_of(n, m->root) ? gi_rw_done(r, n) : NULL;
    if (m->z)
        y = gi_rw_binary(r, OP_Add, y, m->z);
    return activate(r, y, name, p);
}

static bool image_rank_is_known(const gi_match *m, gi_reason *why)
{
    return x_is_float(m, why) && gi_value_rank(m->x) > 2;
}

static gi_value *expand_nhwc_conv(gi_rewrite *r, const gi_match *m)
{
    const int rank = gi_value_rank(m->x);
    int64_t front[GOPT_MAX_RANK] = { 0 }, back[GOPT_MAX_RANK] = { 0 };
    for (int i = 1; i < rank; i++) {
        front[i] = i == 1 ? rank - 1 : i - 1;
        back[i] = i == rank - 1 ? 1 : i + 1;
    }
    gi_value *x = gi_rw_transpose(r, m->x, rank, front);
    gi_node *n = x ? gi_rw_node(r, OP_Conv, m->b ? 3 : 2, (gi_value *[]){ x, m->w, m->b }, 1) : NULL;
    gi_value *y = n && gi_rw_attrs_of(n, m->root) ? gi_rw_done(r, n) : NULL;
    return y ? gi_rw_transpose(r, y, rank, back) : NULL;
}

static const char *gemm_activation(const gi_node *n)
{
    return gi_attr_has(n, FusedGemm_at_activation) ? gi_attr_str(n, FusedGemm_at_activation) : "";
}

static bool gemm_activation_is_known(const gi_match *m, gi_reason *why)
{
    return is_operator(gemm_activation(m->root), why);
}

static gi_value *expand_fused_gemm(gi_rewrite *r, const gi_match *m)
{
    const char *name = gemm_activation(m->root);
    double p[GI_ACTIVATION_MAX] = { 0 };
    const int at[] = { FusedGemm_at_activation_alpha,
                       strcmp(name, "Selu") ? FusedGemm_at_activation_beta : FusedGemm_at_activation_gamma };
    gi_activation_parameters(name, p);
    for (int i = 0; i < GI_ACTIVATION_MAX; i++)
        if (gi_attr_has(m->root, at[i]))
            p[i] = (double)gi_attr_float(m->root, at[i]);
    gi_node *n = gi_rw_node(r, OP_Gemm, m->c ? 3 : 2, (gi_value *[]){ m->a, m->b, m->c }, 1);
    return activate(r, n && gi_rw_attrs_of(n, m->root) ? gi_rw_done(r, n) : NULL, name, p);
}

static bool ranks_are_known(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_value_rank(m->a) > 0 && gi_value_rank(m->b) > 0 && gi_dtype_is_float(gi_value_dtype(m->a));
}

/* An operand as MatMul wants it: transBatch has the matrices' rows in front of the batches, trans turns them. */
static gi_value *operand(gi_rewrite *r, gi_value *x, bool batch, bool turned)
{
    const int rank = gi_value_rank(x);
    int64_t perm[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++)
        perm[i] = i;
    for (int i = 0; batch && i + 2 < rank; i++) {
        perm[i] = i + 1;
        perm[i + 1] = 0;
    }
    if (turned && rank > 1) {
        const int64_t last = perm[rank - 1];
        perm[rank - 1] = perm[rank - 2];
        perm[rank - 2] = last;
    }
    return gi_rw_transpose(r, x, rank, perm);
}

static gi_value *expand_fused_matmul(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    gi_value *a = operand(r, m->a, gi_attr_int(n, FusedMatMul_at_transBatchA) != 0,
                          gi_attr_int(n, FusedMatMul_at_transA) != 0),
             *b = operand(r, m->b, gi_attr_int(n, FusedMatMul_at_transBatchB) != 0,
                          gi_attr_int(n, FusedMatMul_at_transB) != 0);
    return times(r, gi_rw_binary(r, OP_MatMul, a, b), (double)gi_attr_float(n, FusedMatMul_at_alpha));
}

/* ---- normalizations that hold others ---- */

static gi_value *layer_norm(gi_rewrite *r, gi_value *x, gi_value *scale, gi_value *shift, float epsilon)
{
    gi_node *n = x ? gi_rw_node(r, OP_LayerNormalization, shift ? 3 : 2, (gi_value *[]){ x, scale, shift }, 1) : NULL;
    if (n)
        gi_attr_set_float(n, LayerNormalization_at_epsilon, epsilon);
    return gi_rw_done(r, n);
}

static gi_value *rms_norm(gi_rewrite *r, gi_value *x, gi_value *scale, float epsilon, int64_t axis)
{
    gi_node *n = x ? gi_rw_node(r, OP_RMSNormalization, 2, (gi_value *[]){ x, scale }, 1) : NULL;
    if (n) {
        gi_attr_set_float(n, RMSNormalization_at_epsilon, epsilon);
        gi_attr_set_int(n, RMSNormalization_at_axis, axis);
    }
    return gi_rw_done(r, n);
}

static bool is_used(const gi_node *n, uint32_t out)
{
    return out < n->n_out && n->out[out]->n_uses > 0;
}

static bool statistics_are_unused(const gi_match *m, gi_reason *why)
{
    return (!is_used(m->root, SkipLayerNormalization_out_mean) &&
            !is_used(m->root, SkipLayerNormalization_out_inv_std_var)) ||
           gi_decline(why, "its mean or inverse deviation is read");
}

/* `to` takes the place of a further output, where anybody reads it. */
static bool replace_out(gi_rewrite *r, uint32_t out, gi_value *to)
{
    return !is_used(r->root, out) || (to && gi_rw_also(r, r->root->out[out], to));
}

static gi_value *expand_skip_norm(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    const bool centred = n->op == OP_SkipLayerNormalization;
    const float epsilon = gi_attr_float(n, SkipLayerNormalization_at_epsilon);
    gi_value *bias = gi_node_in(n, centred ? SkipLayerNormalization_in_bias : SkipSimplifiedLayerNormalization_in_bias),
             *scale = gi_node_in(n, SkipLayerNormalization_in_gamma),
             *sum = gi_rw_binary(r, OP_Add, gi_node_in(n, SkipLayerNormalization_in_input),
                                 gi_node_in(n, SkipLayerNormalization_in_skip));
    if (bias)
        sum = gi_rw_binary(r, OP_Add, sum, bias);
    if (!replace_out(r, SkipLayerNormalization_out_input_skip_bias_sum, sum))
        return NULL;
    return centred ? layer_norm(r, sum, scale, gi_node_in(n, SkipLayerNormalization_in_beta), epsilon)
                   : rms_norm(r, sum, scale, epsilon, -1);
}

/* How many tokens each sample's mask keeps; 0 without a mask. */
static gi_value *mask_index(gi_rewrite *r, const gi_node *n)
{
    gi_value *ids = gi_node_in(n, EmbedLayerNormalization_in_input_ids),
             *mask = gi_node_in(n, EmbedLayerNormalization_in_mask);
    const gopt_dtype t = gi_value_dtype(ids);
    const int64_t axis = 1;
    gi_value *kept = mask ? gi_rw_binary(r, OP_Equal, mask, gi_rw_scalar(r, gi_value_dtype(mask), 1))
                          : gi_rw_binary(r, OP_Less, ids, ids);
    kept = kept ? gi_rw_cast(r, kept, t) : NULL;
    gi_node *sum = kept ? gi_rw_node(r, OP_ReduceSum, 2, (gi_value *[]){ kept, gi_rw_ints(r, 1, &axis) }, 1) : NULL;
    if (sum)
        gi_attr_set_int(sum, ReduceSum_at_keepdims, 0);
    return gi_rw_done(r, sum);
}

static gi_value *expand_embed_norm(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    gi_value *ids = gi_node_in(n, EmbedLayerNormalization_in_input_ids),
             *segments = gi_node_in(n, EmbedLayerNormalization_in_segment_ids),
             *kinds = gi_node_in(n, EmbedLayerNormalization_in_segment_embedding),
             *places = gi_node_in(n, EmbedLayerNormalization_in_position_embedding),
             *positions = gi_node_in(n, EmbedLayerNormalization_in_position_ids);
    gi_value *sum = gi_rw_binary(r, OP_Gather, gi_node_in(n, EmbedLayerNormalization_in_word_embedding), ids), *place;
    if (positions) {
        place = gi_rw_binary(r, OP_Gather, places, positions);
    } else { /* the first rows, one a token */
        const int64_t zero = 0;
        gi_value *tokens = gi_rw_dim(r, ids, 1, GOPT_I64),
                 *end = tokens ? gi_rw_unsqueeze(r, tokens, 1, (int64_t[]){ 0 }) : NULL;
        place = end ? gi_rw_build(r, OP_Slice, 4,
                                  (gi_value *[]){ places, gi_rw_ints(r, 1, &zero), end, gi_rw_ints(r, 1, &zero) })
                    : NULL;
    }
    sum = gi_rw_binary(r, OP_Add, sum, place);
    if (segments && kinds)
        sum = gi_rw_binary(r, OP_Add, sum, gi_rw_binary(r, OP_Gather, kinds, segments));
    const uint32_t index = EmbedLayerNormalization_out_mask_index;
    if ((is_used(n, index) && !replace_out(r, index, mask_index(r, n))) ||
        !replace_out(r, EmbedLayerNormalization_out_embedding_sum, sum))
        return NULL;
    return layer_norm(r, sum, gi_node_in(n, EmbedLayerNormalization_in_gamma),
                      gi_node_in(n, EmbedLayerNormalization_in_beta),
                      gi_attr_float(n, EmbedLayerNormalization_at_epsilon));
}

/* ---- normalizations themselves ---- */

/* x less its mean over the axes, and 1 / √(its square's mean + ε) of that. */
static gi_value *centre(gi_rewrite *r, gi_value *x, uint32_t n, const int64_t *axes)
{
    return gi_rw_binary(r, OP_Sub, x, gi_rw_reduce(r, OP_ReduceMean, x, n, axes));
}

static gi_value *deviation(gi_rewrite *r, gi_value *x, uint32_t n, const int64_t *axes, double epsilon)
{
    return gi_rw_unary(r, OP_Sqrt,
                       plus(r, gi_rw_reduce(r, OP_ReduceMean, gi_rw_binary(r, OP_Mul, x, x), n, axes), epsilon));
}

static gi_value *normalize(gi_rewrite *r, gi_value *x, uint32_t n, const int64_t *axes, double epsilon)
{
    return gi_rw_binary(r, OP_Div, x, deviation(r, x, n, axes, epsilon));
}

static bool rank_is_known(const gi_match *m, gi_reason *why)
{
    return x_is_float(m, why) && gi_value_rank(m->x) >= 2;
}

static bool axis_is_known(const gi_match *m, gi_reason *why)
{
    return x_is_float(m, why) && gi_dtype_is_float(gi_value_dtype(m->s)) && real_of(m->s) == real_of(m->x) &&
           gi_value_rank(m->x) >= 1;
}

/* And the result, of the scale's type, is no more precise than what is computed. */
static bool scale_is_alike(const gi_match *m, gi_reason *why)
{
    return axis_is_known(m, why) && gi_dtype_is_float(gi_value_dtype(m->s)) && real_of(m->s) == real_of(m->x);
}

/* The axes from attribute `at` on. */
static uint32_t trailing_axes(const gi_match *m, int at, int64_t *axes)
{
    const int rank = gi_value_rank(m->x);
    int first;
    uint32_t n = 0;
    if (!gi_axis(gi_attr_int(m->root, at), rank, &first))
        return 0;
    for (int i = first; i < rank; i++)
        axes[n++] = i;
    return n;
}

static gi_value *scaled(gi_rewrite *r, gi_value *y, gi_value *scale, gi_value *shift)
{
    y = y ? gi_rw_binary(r, OP_Mul, y, gi_rw_cast(r, scale, gi_value_dtype(y))) : NULL;
    return y && shift ? gi_rw_binary(r, OP_Add, y, gi_rw_cast(r, shift, gi_value_dtype(y))) : y;
}

static gi_value *expand_layer_norm(gi_rewrite *r, const gi_match *m)
{
    int64_t axes[GOPT_MAX_RANK];
    const uint32_t n = trailing_axes(m, LayerNormalization_at_axis, axes);
    const double epsilon = (double)gi_attr_float(m->root, LayerNormalization_at_epsilon);
    gi_value *x = n ? centre(r, widen(r, m->x), n, axes) : NULL;
    return narrow(r, scaled(r, normalize(r, x, n, axes, epsilon), m->s, m->b), m->x);
}

static gi_value *expand_rms_norm(gi_rewrite *r, const gi_match *m)
{
    int64_t axes[GOPT_MAX_RANK];
    const uint32_t n = trailing_axes(m, RMSNormalization_at_axis, axes);
    const double epsilon = (double)gi_attr_float(m->root, RMSNormalization_at_epsilon);
    gi_value *x = n ? widen(r, m->x) : NULL;
    return narrow(r, scaled(r, normalize(r, x, n, axes, epsilon), m->s, NULL), m->s);
}

/* As RMSNormalization, but where the inverse deviation is read: then in pieces. */
static gi_value *expand_simplified_norm(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    const float epsilon = gi_attr_float(n, SimplifiedLayerNormalization_at_epsilon);
    int64_t axes[GOPT_MAX_RANK];
    const uint32_t n_axes = trailing_axes(m, SimplifiedLayerNormalization_at_axis, axes);
    if (!is_used(n, SimplifiedLayerNormalization_out_inv_std_var))
        return rms_norm(r, m->x, m->s, epsilon, gi_attr_int(n, SimplifiedLayerNormalization_at_axis));
    gi_value *x = n_axes ? widen(r, m->x) : NULL, *d = x ? deviation(r, x, n_axes, axes, (double)epsilon) : NULL,
             *inverse = gi_rw_unary(r, OP_Reciprocal, d);
    const gopt_dtype stash = gi_value_dtype(n->out[SimplifiedLayerNormalization_out_inv_std_var]);
    inverse = inverse ? gi_rw_cast(r, inverse, stash == GOPT_UNDEFINED ? GOPT_F32 : stash) : NULL;
    return replace_out(r, SimplifiedLayerNormalization_out_inv_std_var, inverse)
               ? narrow(r, scaled(r, gi_rw_binary(r, OP_Div, x, d), m->s, NULL), m->s)
               : NULL;
}

/* A number a channel, [c], to stand beside [batch, c, …] of that rank. */
static gi_value *per_channel(gi_rewrite *r, gi_value *k, int rank, gopt_dtype t)
{
    int64_t axes[GOPT_MAX_RANK];
    for (int i = 0; i + 2 < rank; i++)
        axes[i] = i + 1;
    k = gi_rw_cast(r, k, t);
    return rank > 2 ? gi_rw_unsqueeze(r, k, (uint32_t)rank - 2, axes) : k;
}

static gi_value *expand_instance_norm(gi_rewrite *r, const gi_match *m)
{
    const int rank = gi_value_rank(m->x);
    const gopt_dtype t = real_of(m->x);
    const double epsilon = (double)gi_attr_float(m->root, InstanceNormalization_at_epsilon);
    int64_t axes[GOPT_MAX_RANK];
    for (int i = 2; i < rank; i++)
        axes[i - 2] = i;
    const uint32_t n = (uint32_t)rank - 2;
    if (!n)
        return NULL;
    gi_value *y = normalize(r, centre(r, widen(r, m->x), n, axes), n, axes, epsilon),
             *scale = per_channel(r, m->s, rank, t), *shift = per_channel(r, m->b, rank, t);
    return narrow(r, scaled(r, y, scale, shift), m->x);
}

static bool channels_are_known(const gi_match *m, gi_reason *why)
{
    const int64_t groups = gi_attr_int(m->root, GroupNormalization_at_num_groups);
    return rank_is_known(m, why) && groups > 0 && gi_value_dim(m->x, 1) > 0 && gi_value_dim(m->x, 1) % groups == 0;
}

static gi_value *expand_group_norm(gi_rewrite *r, const gi_match *m)
{
    const int rank = gi_value_rank(m->x);
    const gopt_dtype t = real_of(m->x);
    const int64_t groups = gi_attr_int(m->root, GroupNormalization_at_num_groups), axis = 2;
    const double epsilon = (double)gi_attr_float(m->root, GroupNormalization_at_epsilon);
    gi_value *x = widen(r, m->x), *y = gi_rw_reshape(r, x, 3, (int64_t[]){ 0, groups, -1 });
    y = normalize(r, centre(r, y, 1, &axis), 1, &axis, epsilon);
    /* Back in x's shape: written down where it is known, asked of x where it is not. */
    int64_t target[GOPT_MAX_RANK];
    int unknown = 0;
    for (int i = 0; i < rank; i++) {
        target[i] = i == 0 ? 0 : gi_value_dim(m->x, i);
        unknown += target[i] < 0;
    }
    y = unknown > 1 ? gi_rw_binary(r, OP_Reshape, y, gi_rw_unary(r, OP_Shape, x)) : gi_rw_reshape(r, y, rank, target);
    gi_value *scale = per_channel(r, m->s, rank, t), *shift = per_channel(r, m->b, rank, t);
    return narrow(r, scaled(r, y, scale, shift), m->x);
}

static gi_value *expand_lp_norm(gi_rewrite *r, const gi_match *m)
{
    const int64_t axis = gi_attr_int(m->root, LpNormalization_at_axis);
    const bool one = gi_attr_int(m->root, LpNormalization_at_p) == 1;
    const gopt_dtype t = real_of(m->x);
    gi_value *x = widen(r, m->x), *terms = one ? gi_rw_unary(r, OP_Abs, x) : gi_rw_binary(r, OP_Mul, x, x),
             *norm = gi_rw_reduce(r, OP_ReduceSum, terms, 1, &axis);
    if (!one)
        norm = gi_rw_unary(r, OP_Sqrt, norm);
    gi_value *zero = norm ? gi_rw_binary(r, OP_Equal, norm, gi_rw_scalar(r, t, 0)) : NULL;
    return narrow(r, gi_rw_binary(r, OP_Div, x, gi_rw_where(r, zero, gi_rw_scalar(r, t, 1), norm)), m->x);
}

static gi_value *expand_mvn(gi_rewrite *r, const gi_match *m)
{
    static const int64_t usual[] = { 0, 2, 3 };
    const int64_t *axes = usual;
    uint32_t n = GI_COUNT(usual);
    if (gi_attr_has(m->root, MeanVarianceNormalization_at_axes))
        n = gi_attr_ints(m->root, MeanVarianceNormalization_at_axes, &axes);
    if (!n)
        return NULL;
    /* Centred twice: what rounding left of the mean would count where the deviation is small, and no ε hides it. */
    gi_value *x = centre(r, centre(r, widen(r, m->x), n, axes), n, axes);
    return narrow(r, gi_rw_binary(r, OP_Div, x, plus(r, deviation(r, x, n, axes, 0), 1e-9)), m->x);
}

#include "passes/rows.h"
#include "passes/rules/lower.def"
