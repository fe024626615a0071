/* Rules into operators that ONNX Runtime brings with it (domain com.microsoft).
 *
 * Its own optimizer makes most of them too, where it finds its patterns. Written into the file they are there from the
 * start, found by better means, and a session opens without looking for them. Each rule keeps to what its kernels for
 * the CPU take: float32 for convolutions and products. Not SkipLayerNormalization: its kernel takes five times as long
 * as Add and LayerNormalization (docs/performance.md). */
#include <math.h>

#include "passes/build.h"
#include "passes/layout.h"

static bool is_f32(const gi_value *v)
{
    return gi_value_dtype(v) == GOPT_F32;
}

/* ---- activations of convolutions and products ---- */

typedef struct activation {
    const char *name;
    uint32_t n;
    float params[2];
} activation;

/* What ONNX Runtime can do to a result before it is stored. */
static bool read_activation(const gi_node *n, activation *a)
{
    double low = -HUGE_VAL, high = HUGE_VAL;
    *a = (activation){ .name = gi_op_get(n->op)->name };
    switch (n->op) {
    case OP_Relu:
    case OP_Tanh:
    case OP_Sigmoid:
        return true;
    case OP_LeakyRelu:
        a->n = 1;
        a->params[0] = gi_attr_float(n, LeakyRelu_at_alpha);
        return true;
    case OP_HardSigmoid:
        a->n = 2;
        a->params[0] = gi_attr_float(n, HardSigmoid_at_alpha);
        a->params[1] = gi_attr_float(n, HardSigmoid_at_beta);
        return true;
    case OP_Clip:
        if ((gi_node_in(n, Clip_in_min) && !gi_value_scalar(gi_node_in(n, Clip_in_min), &low)) ||
            (gi_node_in(n, Clip_in_max) && !gi_value_scalar(gi_node_in(n, Clip_in_max), &high)))
            return false;
        a->n = 2;
        a->params[0] = (float)low;
        a->params[1] = (float)high;
        return low <= high;
    default:
        return false;
    }
}

static bool takes_activation(const gi_match *m, gi_reason *why)
{
    activation a;
    const gi_node *conv = gi_value_node(m->c);
    (void)why;
    return is_f32(m->c) && read_activation(m->root, &a) &&
           (conv->op == OP_Conv || !gi_attr_has(conv, FusedConv_at_activation));
}

static gi_value *activate_conv(gi_rewrite *r, const gi_match *m)
{
    activation a;
    const gi_node *conv = gi_value_node(m->c);
    gi_value *in[4] = { NULL };
    uint32_t n_in = 0;
    for (uint32_t i = 0; i < 4; i++) {
        in[i] = gi_node_in(conv, i);
        n_in = in[i] ? i + 1 : n_in;
    }
    gi_node *n = read_activation(m->root, &a) ? gi_rw_node(r, OP_FusedConv, n_in, in, 1) : NULL;
    if (!n || !gi_rw_attrs_of(n, conv) || !gi_attr_set_str(n, FusedConv_at_activation, a.name) ||
        (a.n && !gi_attr_set_floats(n, FusedConv_at_activation_params, a.n, a.params)))
        return NULL;
    n->name = conv->name;
    return gi_rw_done(r, n);
}

/* A normalization is a convolution of one element for each channel. ONNX Runtime keeps images in blocks of 16 channels
 * where convolutions stand, and computes this one there. */
static bool is_blocked_batchnorm(const gi_match *m, gi_reason *why)
{
    enum { BLOCK = 16 };
    activation a;
    const gi_value *const parts[] = { m->s, m->o, m->m, m->v };
    const int64_t n = gi_value_dim(m->x, 1);
    (void)why;
    if (gi_attr_int(gi_value_node(m->c), BatchNormalization_at_training_mode) || !is_f32(m->x) ||
        gi_value_rank(m->x) != 4 || n <= 0 || n % BLOCK || !read_activation(m->root, &a))
        return false;
    for (size_t i = 0; i < GI_COUNT(parts); i++)
        if (!is_f32(parts[i]) || gi_value_rank(parts[i]) != 1 || gi_value_dim(parts[i], 0) != n)
            return false;
    return true;
}

static gi_value *batchnorm_as_conv(gi_rewrite *r, const gi_match *m)
{
    static const int64_t ones[2] = { 1, 1 };
    activation a;
    const float *s = gi_value_blob(m->s)->data, *o = gi_value_blob(m->o)->data, *mean = gi_value_blob(m->m)->data,
                *v = gi_value_blob(m->v)->data;
    const double epsilon = (double)gi_attr_float(gi_value_node(m->c), BatchNormalization_at_epsilon);
    const int64_t n = gi_value_dim(m->x, 1), dims[4] = { n, 1, 1, 1 };
    gi_blob *w, *b;
    if (!read_activation(m->root, &a) || gi_blob_create(r->g->cx, GOPT_F32, 4, dims, &w) != GOPT_OK)
        return NULL;
    if (gi_blob_create(r->g->cx, GOPT_F32, 1, &n, &b) != GOPT_OK) {
        gi_blob_unref(w);
        return NULL;
    }
    bool finite = true;
    for (int64_t i = 0; i < n; i++) {
        const double scale = (double)s[i] / sqrt((double)v[i] + epsilon);
        ((float *)w->owned)[i] = (float)scale;
        ((float *)b->owned)[i] = (float)((double)o[i] - (double)mean[i] * scale);
        finite = finite && isfinite(scale) && isfinite(((float *)b->owned)[i]);
    }
    gi_value *weights = gi_const(r->g, w, NULL), *bias = gi_const(r->g, b, NULL);
    if (!finite) {
        r->why = "the normalization of a channel is not finite";
        return NULL;
    }
    gi_node *y = weights && bias ? gi_rw_node(r, OP_FusedConv, 3, (gi_value *[]){ m->x, weights, bias }, 1) : NULL;
    if (!y || !gi_attr_set_ints(y, FusedConv_at_kernel_shape, 2, ones) ||
        !gi_attr_set_str(y, FusedConv_at_activation, a.name) ||
        (a.n && !gi_attr_set_floats(y, FusedConv_at_activation_params, a.n, a.params)))
        return NULL;
    gi_attr_set_int(y, FusedConv_at_group, n);
    y->name = gi_value_node(m->c)->name;
    return gi_rw_done(r, y);
}

/* The sum has the convolution's own shape, and so has what is added. */
static bool adds_residual(const gi_match *m, gi_reason *why)
{
    (void)why;
    return is_f32(m->c) && !gi_value_blob(m->z) && gi_type_same(m->g, m->c->type, m->z->type) &&
           gi_type_same(m->g, m->c->type, m->root->out[0]->type);
}

static gi_value *add_to_conv(gi_rewrite *r, const gi_match *m)
{
    const gi_node *conv = gi_value_node(m->c);
    gi_node *n = gi_rw_node(r, OP_FusedConv, 4, (gi_value *[]){ m->x, m->w, m->b, m->z }, 1);
    if (!n || !gi_rw_attrs_of(n, conv))
        return NULL;
    n->name = conv->name;
    return gi_rw_done(r, n);
}

static bool gemm_takes_activation(const gi_match *m, gi_reason *why)
{
    activation a;
    (void)why;
    return is_f32(m->c) && m->root->op != OP_Clip && m->root->op != OP_HardSigmoid && read_activation(m->root, &a);
}

static gi_value *activate_gemm(gi_rewrite *r, const gi_match *m)
{
    activation a;
    const gi_node *gemm = gi_value_node(m->c);
    if (!read_activation(m->root, &a))
        return NULL;
    gi_node *n = gi_rw_node(r, OP_FusedGemm, m->b ? 3 : 2, (gi_value *[]){ m->x, m->w, m->b }, 1);
    if (!n || !gi_rw_attrs_of(n, gemm) || !gi_attr_set_str(n, FusedGemm_at_activation, a.name))
        return NULL;
    if (a.n)
        gi_attr_set_float(n, FusedGemm_at_activation_alpha, a.params[0]);
    n->name = gemm->name;
    return gi_rw_done(r, n);
}

/* ---- products with their scales and Transposes ---- */

static bool swaps_last(const gi_value *v)
{
    return v->n_uses == 1 && gi_swaps_last_two(gi_value_node(v));
}

/* Products of computed matrices: those with weights are better left to what packs them. */
static bool is_free_product(const gi_node *n)
{
    return n && n->op == OP_MatMul && !gi_value_blob(gi_node_in(n, 1)) && !gi_value_blob(gi_node_in(n, 0)) &&
           is_f32(n->out[0]) && gi_value_rank(gi_node_in(n, 0)) >= 2 && gi_value_rank(gi_node_in(n, 1)) >= 2;
}

static bool has_transposed_operand(const gi_match *m, gi_reason *why)
{
    (void)why;
    return is_free_product(m->root) && (swaps_last(m->x) || swaps_last(m->y));
}

static gi_value *product(gi_rewrite *r, const gi_node *matmul, double alpha)
{
    gi_value *x = gi_node_in(matmul, 0), *y = gi_node_in(matmul, 1);
    const bool a = swaps_last(x), b = swaps_last(y);
    gi_node *n = gi_rw_node(
        r, OP_FusedMatMul, 2,
        (gi_value *[]){ a ? gi_node_in(gi_value_node(x), 0) : x, b ? gi_node_in(gi_value_node(y), 0) : y }, 1);
    if (!n || (a && !gi_node_merge_origins(n, gi_value_node(x))) || (b && !gi_node_merge_origins(n, gi_value_node(y))))
        return NULL;
    gi_attr_set_int(n, FusedMatMul_at_transA, a);
    gi_attr_set_int(n, FusedMatMul_at_transB, b);
    gi_attr_set_float(n, FusedMatMul_at_alpha, (float)alpha);
    n->name = matmul->name;
    return gi_rw_done(r, n);
}

static gi_value *transpose_inside(gi_rewrite *r, const gi_match *m)
{
    return product(r, m->root, 1);
}

static bool scales_product(const gi_match *m, gi_reason *why)
{
    double k;
    (void)why;
    return is_free_product(gi_value_node(m->c)) && gi_value_scalar(m->k, &k) && isfinite(k) && k != 0 &&
           gi_value_rank(m->k) <= gi_value_rank(m->c) && (m->root->op == OP_Mul || gi_node_in(m->root, 0) == m->c);
}

static gi_value *scale_inside(gi_rewrite *r, const gi_match *m)
{
    double k = 1;
    (void)gi_value_scalar(m->k, &k);
    return product(r, gi_value_node(m->c), m->root->op == OP_Mul ? k : 1 / k);
}

/* ---- activations ---- */

static bool is_swish(const gi_match *m, gi_reason *why)
{
    double k;
    (void)why;
    return is_f32(m->x) &&
           (!m->k || (gi_value_scalar(m->k, &k) && isfinite(k) && gi_value_rank(m->k) <= gi_value_rank(m->x)));
}

static gi_value *make_quick_gelu(gi_rewrite *r, const gi_match *m)
{
    double alpha = m->root->op == OP_Swish ? (double)gi_attr_float(m->root, Swish_at_alpha) : 1;
    if (m->k)
        (void)gi_value_scalar(m->k, &alpha);
    gi_node *n = gi_rw_node(r, OP_QuickGelu, 1, (gi_value *[]){ m->x }, 1);
    if (!n)
        return NULL;
    gi_attr_set_float(n, QuickGelu_at_alpha, (float)alpha);
    return gi_rw_done(r, n);
}

/* One number for each of the last dim. */
static bool is_vector_for(const gi_value *b, const gi_value *x)
{
    return gi_value_rank(b) == 1 && gi_value_rank(x) >= 1 && gi_value_dim(b, 0) > 0 &&
           gi_value_dim(b, 0) == gi_value_dim(x, -1) && gi_value_dtype(b) == gi_value_dtype(x);
}

static bool biases_gelu(const gi_match *m, gi_reason *why)
{
    (void)why;
    return is_f32(m->x) && is_vector_for(m->b, m->x) &&
           (m->root->op == OP_MsGelu || gi_attr_is(m->root, Gelu_at_approximate, "none"));
}

static gi_value *make_bias_gelu(gi_rewrite *r, const gi_match *m)
{
    return gi_rw_build(r, OP_BiasGelu, 2, (gi_value *[]){ m->x, m->b });
}

#include "passes/rows.h"
#include "passes/rules/emit_ort.def"
