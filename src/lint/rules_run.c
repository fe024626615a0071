/* Rules of how a model will run: training mode, quantization, and what other runtimes take. */
#include "lint/lint.h"

#include <stdio.h>

static const char *name_of(gi_lint *l, const gi_node *n)
{
    return n->name && *n->name ? n->name : n->n_out ? gi_lint_name(l, n->out[0]) : "?";
}

/* ---- training ---- */

void gi_lint_training_mode(gi_lint *l)
{
    const gi_node *n = l->node;
    if (n->op == OP_BatchNormalization && gi_attr_int(n, BatchNormalization_at_training_mode))
        gi_lint_find(l, n, NULL, 0, "it normalizes by the batch it is given");
    else if (n->op == OP_Dropout && gopt_node_is_random(n))
        gi_lint_find(l, n, NULL, 0, "it drops elements by chance");
}

void gi_lint_batchnorm(gi_lint *l)
{
    const gi_node *n = l->node;
    if (n->op != OP_BatchNormalization || gi_attr_int(n, BatchNormalization_at_training_mode))
        return;
    const gi_value *x = gi_node_in(n, BatchNormalization_in_X);
    const gi_node *up = gi_value_node(x);
    if (!up || x->n_uses != 1 || (up->op != OP_Conv && up->op != OP_ConvTranspose && up->op != OP_Gemm) ||
        !gi_value_blob(gi_node_in(up, 1)))
        return;
    for (uint32_t i = 1; i < n->n_in; i++)
        if (!gi_value_blob(gi_node_in(n, i)))
            return;
    gi_lint_find(l, n, NULL, gi_lint_flops(l, n), "it follows %.160s", name_of(l, up));
}

void gi_lint_random(gi_lint *l)
{
    const gi_node *n = l->node;
    if (n->op != OP_Dropout && (gi_op_get(n->op)->traits & GI_RANDOM) && !gi_attr_find(n, "seed"))
        gi_lint_find(l, n, NULL, 0, "it has no seed");
}

/* ---- quantization ---- */

void gi_lint_quantized_late(gi_lint *l)
{
    const gi_node *n = l->node;
    const gi_blob *b = n->op == OP_QuantizeLinear ? gi_value_blob(gi_node_in(n, QuantizeLinear_in_x)) : NULL;
    const int bits = b && n->n_out ? gopt_dtype_bits(gi_lint_dtype(n->out[0])) : 0;
    if (b && bits > 0 && gi_blob_elements(b) > 1 && gi_node_in(n, QuantizeLinear_in_y_scale)->kind == GI_DEF_CONST)
        gi_lint_find(l, n, gi_node_in(n, QuantizeLinear_in_x), (int64_t)b->bytes - gi_blob_elements(b) * bits / 8,
                     "its weight is stored as %lld floats", (long long)gi_blob_elements(b));
}

void gi_lint_half_quantized(gi_lint *l)
{
    const gi_node *n = l->node;
    if (n->op != OP_Conv && n->op != OP_MatMul && n->op != OP_Gemm && n->op != OP_ConvTranspose)
        return;
    const gi_node *up = gi_value_node(gi_node_in(n, 0));
    if (up && up->op == OP_DequantizeLinear && gi_value_node(gi_node_in(up, 0)) &&
        gi_value_node(gi_node_in(up, 0))->op == OP_QuantizeLinear && gi_value_blob(gi_node_in(n, 1)))
        gi_lint_find(l, n, NULL, gi_lint_flops(l, n), "%.160s quantizes its input, its weights are floats",
                     name_of(l, gi_value_node(gi_node_in(up, 0))));
}

static bool same_constant(const gi_value *a, const gi_value *b)
{
    gi_blob *x = gi_value_blob(a), *y = gi_value_blob(b);
    return a == b || !x || !y || gi_blob_equal(x, y); /* what is not known is not judged */
}

void gi_lint_requantized(gi_lint *l)
{
    const gi_node *n = l->node;
    const gi_node *up = n->op == OP_DequantizeLinear ? gi_value_node(gi_node_in(n, DequantizeLinear_in_x)) : NULL;
    if (up && up->op == OP_QuantizeLinear &&
        (!same_constant(gi_node_in(n, DequantizeLinear_in_x_scale), gi_node_in(up, QuantizeLinear_in_y_scale)) ||
         !same_constant(gi_node_in(n, DequantizeLinear_in_x_zero_point),
                        gi_node_in(up, QuantizeLinear_in_y_zero_point))))
        gi_lint_find(l, n, NULL, gi_lint_bytes(l, n->out[0]) / 4, "its scale or zero point is not that of %.160s",
                     name_of(l, up));
}

void gi_lint_zero_point(gi_lint *l)
{
    const gi_node *n = l->node;
    const bool quantizes = n->op == OP_QuantizeLinear || n->op == OP_DequantizeLinear;
    const gi_blob *b = quantizes ? gi_value_blob(gi_node_in(n, 2)) : NULL;
    const int64_t count = b ? gi_blob_elements(b) : 0;
    if (!b || !gi_dtype_is_int(b->dtype) || gopt_dtype_bits(b->dtype) > 16)
        return;
    for (int64_t i = 0; i < count; i++) {
        const int64_t zero = gi_load_i64(b->dtype, b->data, (size_t)i);
        if (zero) {
            gi_lint_find(l, n, NULL, 0, "its zero point is %lld", (long long)zero);
            return;
        }
    }
}

/* ---- portability ---- */

static const char *domain_of(const gi_node *n)
{
    const char *d = n->op == OP_Unknown ? n->domain : gi_op_get(n->op)->domain;
    return d ? d : "";
}

static bool is_aten(const char *domain)
{
    return !strcmp(domain, "aten") || !strcmp(domain, "org.pytorch.aten");
}

void gi_lint_aten(gi_lint *l)
{
    if (is_aten(domain_of(l->node)))
        gi_lint_find(l, l->node, NULL, 0, "%s::%.100s", domain_of(l->node), l->node->op_name);
}

void gi_lint_foreign_domain(gi_lint *l)
{
    const char *d = domain_of(l->node);
    if (!*d || !strcmp(d, "ai.onnx") || !strncmp(d, "ai.onnx.", 8) || is_aten(d))
        return;
    gi_lint_find(l, l->node, NULL, 0, "%.100s::%.100s", d, l->node->op_name);
    if (strcmp(d, GI_DOMAIN_MS) != 0)
        gi_lint_fix(l, "load what brings it with --plugin, or write the layer with ONNX's operators");
}

/* Does it certainly change the batch or the channels? */
static bool resizes_channels(const gi_node *n)
{
    const gi_value *x = gi_node_in(n, Resize_in_X), *y = n->out[0];
    int64_t a, b;
    for (int i = 0; i < 2 && gi_lint_rank(x) >= 3; i++)
        if (gi_type_dim_const(x->type, i, &a) && gi_lint_rank(y) == gi_lint_rank(x) &&
            gi_type_dim_const(y->type, i, &b) && a != b)
            return true;
    return false;
}

void gi_lint_resize_mode(gi_lint *l)
{
    const gi_node *n = l->node;
    if (n->op != OP_Resize)
        return;
    const char *how = gi_attr_str(n, Resize_at_coordinate_transformation_mode);
    const char *policy = gi_attr_str(n, Resize_at_keep_aspect_ratio_policy);
    const bool nearest = gi_attr_is(n, Resize_at_mode, "nearest");
    char why[160] = "";
    if (how && (!strcmp(how, "tf_crop_and_resize") || !strcmp(how, "tf_half_pixel_for_nn") ||
                !strcmp(how, "half_pixel_symmetric")))
        snprintf(why, sizeof why, "coordinate_transformation_mode %.60s", how);
    else if (gi_attr_int(n, Resize_at_antialias))
        snprintf(why, sizeof why, "antialias");
    else if (gi_attr_is(n, Resize_at_mode, "cubic"))
        snprintf(why, sizeof why, "mode cubic");
    else if (policy && strcmp(policy, "stretch") != 0)
        snprintf(why, sizeof why, "keep_aspect_ratio_policy %.60s", policy);
    else if (nearest && (gi_attr_is(n, Resize_at_nearest_mode, "ceil") ||
                         gi_attr_is(n, Resize_at_nearest_mode, "round_prefer_ceil")))
        snprintf(why, sizeof why, "nearest_mode %.60s", gi_attr_str(n, Resize_at_nearest_mode));
    else if (resizes_channels(n))
        snprintf(why, sizeof why, "it resizes the batch or the channels");
    if (*why)
        gi_lint_find(l, n, NULL, 0, "%s", why);
}

void gi_lint_rare_operator(gi_lint *l)
{
    static const gi_opcode rare[] = { OP_Unique,
                                      OP_TfIdfVectorizer,
                                      OP_StringNormalizer,
                                      OP_Det,
                                      OP_STFT,
                                      OP_DFT,
                                      OP_MelWeightMatrix,
                                      OP_Compress,
                                      OP_RegexFullMatch,
                                      OP_StringSplit,
                                      OP_StringConcat,
                                      OP_ImageDecoder,
                                      OP_Bernoulli,
                                      OP_Multinomial,
                                      OP_MaxUnpool,
                                      OP_ReverseSequence,
                                      OP_SequenceMap,
                                      OP_Scan };
    const gi_node *n = l->node;
    const char *d = domain_of(n);
    bool found = gi_op_get(n->op)->traits & GI_ANY_KIND && n->op != OP_Identity && n->op != OP_If && n->op != OP_Loop;
    for (size_t i = 0; i < GI_COUNT(rare) && !found; i++)
        found = n->op == rare[i];
    if (found && (!*d || !strcmp(d, "ai.onnx")))
        gi_lint_find(l, n, NULL, 0, "most accelerators lack %s", n->op_name);
}

void gi_lint_uint8_input(gi_lint *l)
{
    for (uint32_t i = 0; i < l->g->main->n_params; i++) {
        const gi_value *v = l->g->main->params[i];
        uint32_t at;
        const gi_node *n = gi_lint_dtype(v) == GOPT_U8 ? gi_lint_reader(v, &at) : NULL;
        if (n)
            gi_lint_find(l, NULL, v, gi_lint_bytes(l, v), "%s%.160s reads it%s", n->op == OP_Cast ? "the Cast " : "",
                         name_of(l, n), n->op == OP_Cast ? " and makes floats of it" : "");
    }
}
