/* The rules of gradient.def: dy is the gradient with respect to the node's output, each gives that with respect to
 * its inputs. Letters are those of ONNX's documentation. */
#include "onnx/gradient.h"

#include <math.h>

#define NODE(op, ...) gi_grad_node(d, OP_##op, __VA_ARGS__)
#define SCALAR(v) gi_grad_scalar(d, d->dy, (v))

static gi_value *in(const gi_gradient *d, uint32_t i)
{
    return gi_grad_in(d, i);
}

static gi_value *out(const gi_gradient *d)
{
    return gi_grad_out(d);
}

static bool wants(const gi_gradient *d, uint32_t i)
{
    return gi_grad_wants(d, i);
}

/* ---- pointwise ---- */

static void of_identity(gi_gradient *d)
{
    gi_grad_give(d, 0, d->dy);
}

/* Outside of training it does nothing. */
static void of_dropout(gi_gradient *d)
{
    const gi_blob *b = gi_value_blob(in(d, Dropout_in_training_mode));
    if (in(d, Dropout_in_training_mode) && (!b || gi_load_i64(b->dtype, b->data, 0) != 0))
        gi_grad_refuse(d, "it may drop elements at random");
    else
        gi_grad_give(d, 0, d->dy);
}

static void of_cast(gi_gradient *d)
{
    gi_node *c = gi_grad_begin(d, OP_Cast, 1, &d->dy, 1);
    if (c)
        gi_attr_set_int(c, Cast_at_to, gi_grad_dtype(in(d, 0)));
    gi_grad_give(d, 0, gi_grad_done(d, c));
}

static void of_add(gi_gradient *d)
{
    gi_grad_give(d, 0, d->dy);
    gi_grad_give(d, 1, d->dy);
}

static void of_sum(gi_gradient *d)
{
    for (uint32_t i = 0; i < d->n->n_in && d->st == GOPT_OK; i++)
        gi_grad_give(d, i, d->dy);
}

static void of_sub(gi_gradient *d)
{
    gi_grad_give(d, 0, d->dy);
    if (wants(d, 1))
        gi_grad_give(d, 1, NODE(Neg, d->dy));
}

static void of_mul(gi_gradient *d)
{
    if (wants(d, 0))
        gi_grad_give(d, 0, NODE(Mul, d->dy, in(d, 1)));
    if (wants(d, 1))
        gi_grad_give(d, 1, NODE(Mul, d->dy, in(d, 0)));
}

/* c = a / b: 1 / b, and -c / b. */
static void of_div(gi_gradient *d)
{
    gi_value *q = NODE(Div, d->dy, in(d, 1));
    gi_grad_give(d, 0, q);
    if (wants(d, 1))
        gi_grad_give(d, 1, NODE(Neg, NODE(Mul, q, out(d))));
}

/* z = x^y: y · x^(y-1), and z · log x; for x of 0 and below, where z has no slope along y, 0. */
static void of_pow(gi_gradient *d)
{
    gi_value *x = in(d, 0), *y = in(d, 1);
    if (gi_grad_dtype(x) != gi_grad_dtype(y)) {
        gi_node *c = gi_grad_begin(d, OP_Cast, 1, &y, 1);
        if (c)
            gi_attr_set_int(c, Cast_at_to, gi_grad_dtype(x));
        y = gi_grad_done(d, c);
    }
    if (wants(d, 0))
        gi_grad_give(d, 0, NODE(Mul, d->dy, NODE(Mul, y, NODE(Pow, x, NODE(Sub, y, SCALAR(1))))));
    if (!wants(d, 1))
        return;
    if (gi_grad_dtype(x) != gi_grad_dtype(in(d, 1))) {
        gi_grad_refuse(d, "its exponent has another element type than its base");
        return;
    }
    gi_value *positive = NODE(Greater, x, SCALAR(0));
    gi_value *slope = NODE(Mul, out(d), NODE(Log, NODE(Where, positive, x, SCALAR(1))));
    gi_grad_give(d, 1, NODE(Mul, d->dy, slope));
}

static void of_where(gi_gradient *d)
{
    if (wants(d, Where_in_X))
        gi_grad_give(d, Where_in_X, NODE(Where, in(d, 0), d->dy, SCALAR(0)));
    if (wants(d, Where_in_Y))
        gi_grad_give(d, Where_in_Y, NODE(Where, in(d, 0), SCALAR(0), d->dy));
}

static void of_neg(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Neg, d->dy));
}

static void of_abs(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Mul, d->dy, NODE(Sign, in(d, 0))));
}

static void of_exp(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Mul, d->dy, out(d)));
}

static void of_log(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Div, d->dy, in(d, 0)));
}

static void of_sqrt(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Div, NODE(Mul, d->dy, SCALAR(0.5)), out(d)));
}

static void of_reciprocal(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Neg, NODE(Mul, d->dy, NODE(Mul, out(d), out(d)))));
}

static void of_sin(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Mul, d->dy, NODE(Cos, in(d, 0))));
}

static void of_cos(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Neg, NODE(Mul, d->dy, NODE(Sin, in(d, 0)))));
}

/* 2 / √π · exp(-x²) */
static void of_erf(gi_gradient *d)
{
    gi_value *bell = NODE(Exp, NODE(Neg, NODE(Mul, in(d, 0), in(d, 0))));
    gi_grad_give(d, 0, NODE(Mul, d->dy, NODE(Mul, bell, SCALAR(M_2_SQRTPI))));
}

static void of_tanh(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Mul, d->dy, NODE(Sub, SCALAR(1), NODE(Mul, out(d), out(d)))));
}

static void of_sigmoid(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Mul, d->dy, NODE(Mul, out(d), NODE(Sub, SCALAR(1), out(d)))));
}

static void of_softplus(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Mul, d->dy, NODE(Sigmoid, in(d, 0))));
}

static void of_relu(gi_gradient *d)
{
    gi_grad_give(d, 0, NODE(Where, NODE(Greater, in(d, 0), SCALAR(0)), d->dy, SCALAR(0)));
}

static void of_leaky_relu(gi_gradient *d)
{
    gi_value *slow = NODE(Mul, d->dy, SCALAR((double)gi_attr_float(d->n, LeakyRelu_at_alpha)));
    gi_grad_give(d, 0, NODE(Where, NODE(Less, in(d, 0), SCALAR(0)), slow, d->dy));
}

/* x · Φ(x): Φ(x) + x · φ(x); by Tanh: of h = tanh(u), u = √(2/π) · (x + 0.044715 · x³), half of
 * 1 + h + x · (1 - h²) · du. */
static void of_gelu(gi_gradient *d)
{
    gi_value *x = in(d, 0), *square = NODE(Mul, x, x), *slope;
    if (gi_attr_is(d->n, Gelu_at_approximate, "tanh")) {
        const double k = M_2_SQRTPI * M_SQRT1_2, c = 0.044715;
        gi_value *u = NODE(Mul, NODE(Mul, x, SCALAR(k)), NODE(Add, SCALAR(1), NODE(Mul, square, SCALAR(c))));
        gi_value *h = NODE(Tanh, u), *du = NODE(Add, SCALAR(k), NODE(Mul, square, SCALAR(3 * k * c)));
        slope = NODE(Mul, NODE(Mul, x, NODE(Sub, SCALAR(1), NODE(Mul, h, h))), du);
        slope = NODE(Mul, SCALAR(0.5), NODE(Add, NODE(Add, SCALAR(1), h), slope));
    } else {
        gi_value *below = NODE(Add, SCALAR(0.5), NODE(Mul, SCALAR(0.5), NODE(Erf, NODE(Mul, x, SCALAR(M_SQRT1_2)))));
        gi_value *bell = NODE(Mul, NODE(Exp, NODE(Mul, square, SCALAR(-0.5))), SCALAR(M_2_SQRTPI * M_SQRT1_2 / 2));
        slope = NODE(Add, below, NODE(Mul, x, bell));
    }
    gi_grad_give(d, 0, NODE(Mul, d->dy, slope));
}

/* Where the input lies between the bounds, or on one. */
static void of_clip(gi_gradient *d)
{
    gi_value *dy = d->dy, *least = in(d, Clip_in_min), *most = in(d, Clip_in_max);
    if (wants(d, Clip_in_min) || wants(d, Clip_in_max)) {
        gi_grad_refuse(d, "a bound depends on xs");
        return;
    }
    if (least)
        dy = NODE(Where, NODE(Less, in(d, 0), least), SCALAR(0), dy);
    if (most)
        dy = NODE(Where, NODE(Greater, in(d, 0), most), SCALAR(0), dy);
    gi_grad_give(d, 0, dy);
}

/* To the input that is the answer; of two that are, to the first. */
static void of_extreme(gi_gradient *d)
{
    if (d->n->n_in > 2) {
        gi_grad_refuse(d, "it has %u inputs, expected at most 2", d->n->n_in);
        return;
    }
    if (d->n->n_in == 1) {
        gi_grad_give(d, 0, d->dy);
        return;
    }
    gi_value *second = d->n->op == OP_Max ? NODE(Less, in(d, 0), in(d, 1)) : NODE(Greater, in(d, 0), in(d, 1));
    if (wants(d, 0))
        gi_grad_give(d, 0, NODE(Where, second, SCALAR(0), d->dy));
    if (wants(d, 1))
        gi_grad_give(d, 1, NODE(Where, second, d->dy, SCALAR(0)));
}

/* ---- softmax and losses ---- */

/* y · (dy - sum of dy · y) */
static void of_softmax(gi_gradient *d)
{
    const int64_t axis = gi_attr_int(d->n, Softmax_at_axis);
    gi_value *mean = gi_grad_sum(d, NODE(Mul, d->dy, out(d)), 1, &axis, true);
    gi_grad_give(d, 0, NODE(Mul, out(d), NODE(Sub, d->dy, mean)));
}

/* dy - exp(y) · sum of dy */
static void of_log_softmax(gi_gradient *d)
{
    const int64_t axis = gi_attr_int(d->n, LogSoftmax_at_axis);
    gi_value *sum = gi_grad_sum(d, d->dy, 1, &axis, true);
    gi_grad_give(d, 0, NODE(Sub, d->dy, NODE(Mul, NODE(Exp, out(d)), sum)));
}

/* Ones at the classes, in the shape and type of the scores. */
static gi_value *one_hot(gi_gradient *d)
{
    gi_value *x = in(d, 0), *length;
    const int64_t one = 1, two = 2, shape = 2;
    int64_t classes;
    gi_blob *b;
    if (gi_type_dim_const(x->type, 1, &classes))
        length = gi_grad_ints(d, 1, &classes);
    else
        length = NODE(Slice, gi_grad_shape(d, x), gi_grad_ints(d, 1, &one), gi_grad_ints(d, 1, &two));
    if (gi_blob_create(d->im->cx, gi_grad_dtype(x), 1, &shape, &b) != GOPT_OK)
        return NULL;
    gi_store_f64(b->dtype, b->owned, 0, 0);
    gi_store_f64(b->dtype, b->owned, 1, 1);
    gi_value *ends = gi_const(d->im->g, b, NULL);
    gi_node *n = gi_grad_begin(d, OP_OneHot, 3, (gi_value *[]){ in(d, 1), length, ends }, 1);
    if (n)
        gi_attr_set_int(n, OneHot_at_axis, 1);
    return gi_grad_done(d, n);
}

/* Without weights each sample counts 1, or 1/samples: -one_hot of the logarithms, so softmax - one_hot of scores. */
static void of_loss(gi_gradient *d)
{
    const int64_t axis = 1;
    const bool logs = d->n->op == OP_NegativeLogLikelihoodLoss;
    const bool none = gi_attr_is(d->n, NegativeLogLikelihoodLoss_at_reduction, "none");
    if (in(d, 2) || gi_attr_has(d->n, NegativeLogLikelihoodLoss_at_ignore_index)) {
        gi_grad_refuse(d, "it has weights or an ignored class");
        return;
    }
    gi_value *dy = d->dy, *g = one_hot(d);
    if (logs) {
        g = NODE(Neg, g);
    } else {
        gi_node *p = gi_grad_begin(d, OP_Softmax, 1, (gi_value *[]){ in(d, 0) }, 1);
        if (p)
            gi_attr_set_int(p, Softmax_at_axis, 1);
        g = NODE(Sub, gi_grad_done(d, p), g);
    }
    if (none) {
        dy = NODE(Unsqueeze, dy, gi_grad_ints(d, 1, &axis));
    } else if (gi_attr_is(d->n, NegativeLogLikelihoodLoss_at_reduction, "mean")) {
        gi_node *c = gi_grad_begin(d, OP_Cast, 1, (gi_value *[]){ NODE(Size, in(d, 1)) }, 1);
        if (c)
            gi_attr_set_int(c, Cast_at_to, gi_grad_dtype(dy));
        dy = NODE(Div, dy, gi_grad_done(d, c));
    }
    gi_grad_give(d, 0, NODE(Mul, g, dy));
}

/* ---- products ---- */

static gi_value *last_two_swapped(gi_gradient *d, gi_value *x)
{
    const int rank = gi_grad_rank(x);
    int64_t perm[GOPT_MAX_RANK];
    for (int i = 0; i < rank && i < GOPT_MAX_RANK; i++)
        perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    return rank < 2 ? NULL : gi_grad_transpose(d, x, rank, perm);
}

static gi_value *unsqueezed(gi_gradient *d, gi_value *x, bool yes, int64_t axis)
{
    return yes ? NODE(Unsqueeze, x, gi_grad_ints(d, 1, &axis)) : x;
}

/* dA = dY · Bᵀ and dB = Aᵀ · dY; a vector is a row or a column. */
static void of_matmul(gi_gradient *d)
{
    const int64_t first = 0, last = -1;
    gi_value *a = in(d, 0), *b = in(d, 1), *dy = d->dy;
    const bool row = gi_grad_rank(a) == 1, column = gi_grad_rank(b) == 1;
    if (gi_grad_rank(a) < 1 || gi_grad_rank(b) < 1) {
        gi_grad_refuse(d, "the ranks of its inputs are not known");
        return;
    }
    a = unsqueezed(d, a, row, 0);
    b = unsqueezed(d, b, column, -1);
    dy = unsqueezed(d, dy, column, -1);
    dy = unsqueezed(d, dy, row, -2);
    if (wants(d, 0)) {
        gi_value *g = gi_grad_sum_to(d, NODE(MatMul, dy, last_two_swapped(d, b)), a);
        gi_grad_give(d, 0, row ? NODE(Squeeze, g, gi_grad_ints(d, 1, &first)) : g);
    }
    if (wants(d, 1)) {
        gi_value *g = gi_grad_sum_to(d, NODE(MatMul, last_two_swapped(d, a), dy), b);
        gi_grad_give(d, 1, column ? NODE(Squeeze, g, gi_grad_ints(d, 1, &last)) : g);
    }
}

static gi_value *gemm(gi_gradient *d, gi_value *a, bool trans_a, gi_value *b, bool trans_b)
{
    gi_node *n = gi_grad_begin(d, OP_Gemm, 2, (gi_value *[]){ a, b }, 1);
    if (n) {
        gi_attr_set_float(n, Gemm_at_alpha, gi_attr_float(d->n, Gemm_at_alpha));
        gi_attr_set_int(n, Gemm_at_transA, trans_a);
        gi_attr_set_int(n, Gemm_at_transB, trans_b);
    }
    return gi_grad_done(d, n);
}

static void of_gemm(gi_gradient *d)
{
    const bool ta = gi_attr_int(d->n, Gemm_at_transA) != 0, tb = gi_attr_int(d->n, Gemm_at_transB) != 0;
    gi_value *a = in(d, Gemm_in_A), *b = in(d, Gemm_in_B);
    if (wants(d, Gemm_in_A))
        gi_grad_give(d, Gemm_in_A, ta ? gemm(d, b, tb, d->dy, true) : gemm(d, d->dy, false, b, !tb));
    if (wants(d, Gemm_in_B))
        gi_grad_give(d, Gemm_in_B, tb ? gemm(d, d->dy, true, a, ta) : gemm(d, a, !ta, d->dy, false));
    if (wants(d, Gemm_in_C)) {
        const float beta = gi_attr_float(d->n, Gemm_at_beta);
        gi_grad_give(d, Gemm_in_C, beta == 1 ? d->dy : NODE(Mul, d->dy, SCALAR((double)beta)));
    }
}

/* ---- convolution ---- */

/* A convolution whose windows are known: of one group, without auto_pad. */
typedef struct window {
    int rank; /* spatial dims */
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK], k[GOPT_MAX_RANK];
    int64_t strides[GOPT_MAX_RANK], dilations[GOPT_MAX_RANK], pads[2 * GOPT_MAX_RANK];
} window;

static bool read_list(const gi_node *n, int at, uint32_t count, int64_t otherwise, int64_t *v)
{
    const int64_t *given;
    const uint32_t found = gi_attr_ints(n, at, &given);
    for (uint32_t i = 0; i < count; i++)
        v[i] = found ? given[i < found ? i : 0] : otherwise;
    return found == 0 || found == count;
}

static bool read_window(gi_gradient *d, window *w)
{
    const gi_node *n = d->n;
    gi_value *x = in(d, Conv_in_X), *k = in(d, Conv_in_W);
    int64_t dims[3][GOPT_MAX_RANK];
    w->rank = gi_grad_rank(x) - 2;
    bool fixed = w->rank > 0 && gi_grad_rank(k) == w->rank + 2 && gi_grad_rank(out(d)) == w->rank + 2;
    for (int i = 0; fixed && i < w->rank; i++) {
        fixed = gi_type_dim_const(x->type, 2 + i, &dims[0][i]) && gi_type_dim_const(out(d)->type, 2 + i, &dims[1][i]) &&
                gi_type_dim_const(k->type, 2 + i, &dims[2][i]);
        w->x[i] = dims[0][i];
        w->y[i] = dims[1][i];
        w->k[i] = dims[2][i];
    }
    const uint32_t r = fixed ? (uint32_t)w->rank : 0;
    if (!fixed)
        gi_grad_refuse(d, "its spatial dimensions are not known");
    else if (gi_attr_int(n, Conv_at_group) != 1)
        gi_grad_refuse(d, "it has %lld groups", (long long)gi_attr_int(n, Conv_at_group));
    else if (!gi_attr_is(n, Conv_at_auto_pad, "NOTSET"))
        gi_grad_refuse(d, "its auto_pad is %s", gi_attr_str(n, Conv_at_auto_pad));
    else if (!read_list(n, Conv_at_strides, r, 1, w->strides) || !read_list(n, Conv_at_dilations, r, 1, w->dilations) ||
             !read_list(n, Conv_at_pads, 2 * r, 0, w->pads))
        gi_grad_refuse(d, "its strides, dilations or pads are of another rank");
    return d->st == GOPT_OK;
}

static bool set_lists(gi_node *n, int strides, int dilations, int pads, const window *w, bool swap)
{
    const uint32_t r = (uint32_t)w->rank;
    return gi_attr_set_ints(n, strides, r, swap ? w->dilations : w->strides) &&
           gi_attr_set_ints(n, dilations, r, swap ? w->strides : w->dilations) &&
           gi_attr_set_ints(n, pads, 2 * r, w->pads);
}

/* dX: each dy spreads over its window; what no window reached, at the end, is padding of the output. */
static void conv_of_x(gi_gradient *d, const window *w)
{
    int64_t rest[GOPT_MAX_RANK];
    gi_node *n = gi_grad_begin(d, OP_ConvTranspose, 2, (gi_value *[]){ d->dy, in(d, Conv_in_W) }, 1);
    for (int i = 0; i < w->rank; i++)
        rest[i] = w->x[i] + w->pads[i] + w->pads[w->rank + i] - (w->y[i] - 1) * w->strides[i] -
                  ((w->k[i] - 1) * w->dilations[i] + 1);
    if (n && (!set_lists(n, ConvTranspose_at_strides, ConvTranspose_at_dilations, ConvTranspose_at_pads, w, false) ||
              !gi_attr_set_ints(n, ConvTranspose_at_output_padding, (uint32_t)w->rank, rest)))
        n = NULL;
    gi_grad_give(d, Conv_in_X, gi_grad_done(d, n));
}

static gi_value *first_two_swapped(gi_gradient *d, gi_value *x)
{
    int64_t perm[GOPT_MAX_RANK];
    const int rank = gi_grad_rank(x);
    for (int i = 0; i < rank; i++)
        perm[i] = i < 2 ? 1 - i : i;
    return gi_grad_transpose(d, x, rank, perm);
}

/* dW: x convolved by dy, batch and channels in each other's place, strides and dilations too; of what that gives,
 * the kernel's size. */
static void conv_of_w(gi_gradient *d, const window *w)
{
    int64_t zeros[GOPT_MAX_RANK] = { 0 }, axes[GOPT_MAX_RANK];
    for (int i = 0; i < w->rank; i++)
        axes[i] = 2 + i;
    gi_value *x = first_two_swapped(d, in(d, Conv_in_X)), *dy = first_two_swapped(d, d->dy);
    gi_node *n = gi_grad_begin(d, OP_Conv, 2, (gi_value *[]){ x, dy }, 1);
    if (n && !set_lists(n, Conv_at_strides, Conv_at_dilations, Conv_at_pads, w, true))
        n = NULL;
    const uint32_t r = (uint32_t)w->rank;
    gi_value *whole = first_two_swapped(d, gi_grad_done(d, n));
    gi_grad_give(d, Conv_in_W,
                 NODE(Slice, whole, gi_grad_ints(d, r, zeros), gi_grad_ints(d, r, w->k), gi_grad_ints(d, r, axes)));
}

static void of_conv(gi_gradient *d)
{
    window w;
    if (!read_window(d, &w))
        return;
    if (wants(d, Conv_in_X))
        conv_of_x(d, &w);
    if (wants(d, Conv_in_W))
        conv_of_w(d, &w);
    if (wants(d, Conv_in_B)) {
        int64_t axes[GOPT_MAX_RANK] = { 0 };
        for (int i = 0; i < w.rank; i++)
            axes[1 + i] = 2 + i;
        gi_grad_give(d, Conv_in_B, gi_grad_sum(d, d->dy, (uint32_t)w.rank + 1, axes, false));
    }
}

/* ---- pooling ---- */

static gi_value *flat(gi_gradient *d, gi_value *x)
{
    const int64_t all = -1;
    return NODE(Reshape, x, gi_grad_ints(d, 1, &all));
}

/* Each dy is added where the greatest of its window lies, which MaxPool's other output counts over the whole input. */
static void of_max_pool(gi_gradient *d)
{
    gi_value *x = in(d, 0);
    if (gi_attr_int(d->n, MaxPool_at_storage_order) != 0) {
        gi_grad_refuse(d, "its storage_order is 1");
        return;
    }
    gi_node *pool = gi_grad_begin(d, OP_MaxPool, 1, &x, 2);
    if (pool && !gi_attrs_copy(pool, d->n))
        pool = NULL;
    if (!gi_grad_done(d, pool))
        return;
    gi_value *const parts[] = { flat(d, gi_grad_filled(d, x, 0)), flat(d, pool->out[1]), flat(d, d->dy) };
    gi_node *n = gi_grad_begin(d, OP_ScatterElements, 3, parts, 1);
    if (n && !gi_attr_set_str(n, ScatterElements_at_reduction, "add"))
        n = NULL;
    gi_grad_give(d, 0, NODE(Reshape, gi_grad_done(d, n), gi_grad_shape(d, x)));
}

static gi_value *count_ratio(gi_gradient *d, gi_value *many, gi_value *few)
{
    gi_value *n = NODE(Div, NODE(Size, many), NODE(Size, few));
    gi_node *c = gi_grad_begin(d, OP_Cast, 1, &n, 1);
    if (c)
        gi_attr_set_int(c, Cast_at_to, gi_grad_dtype(d->dy));
    return gi_grad_done(d, c);
}

static void of_global_average_pool(gi_gradient *d)
{
    gi_value *share = NODE(Div, d->dy, count_ratio(d, in(d, 0), out(d)));
    gi_grad_give(d, 0, NODE(Expand, share, gi_grad_shape(d, in(d, 0))));
}

/* ---- reductions and movement ---- */

/* Sums and means: dy for every element, of a mean over how many there are. */
static void of_reduce(gi_gradient *d)
{
    gi_value *dy = d->dy, *x = in(d, 0), *axes = in(d, 1);
    const bool keep = gi_attr_int(d->n, ReduceSum_at_keepdims) != 0;
    const gi_blob *b = gi_value_blob(axes);
    const bool empty = !axes || (b && gi_blob_elements(b) == 0);
    if (empty && gi_attr_int(d->n, ReduceSum_at_noop_with_empty_axes)) {
        gi_grad_give(d, 0, dy);
        return;
    }
    if (!keep && !empty)
        dy = NODE(Unsqueeze, dy, axes);
    dy = NODE(Expand, dy, gi_grad_shape(d, x));
    gi_grad_give(d, 0, d->n->op == OP_ReduceMean ? NODE(Div, dy, count_ratio(d, x, out(d))) : dy);
}

static void of_expand(gi_gradient *d)
{
    gi_grad_give(d, 0, d->dy);
}

static void of_view(gi_gradient *d)
{
    gi_value *shape = gi_grad_shape(d, in(d, 0));
    gi_node *n = gi_grad_begin(d, OP_Reshape, 2, (gi_value *[]){ d->dy, shape }, 1);
    const gi_blob *b = gi_value_blob(shape);
    bool zero = !b;
    for (int64_t i = 0; b && i < gi_blob_elements(b); i++)
        zero |= gi_load_i64(b->dtype, b->data, (size_t)i) == 0;
    if (n && zero)
        gi_attr_set_int(n, Reshape_at_allowzero, 1);
    gi_grad_give(d, 0, gi_grad_done(d, n));
}

static void of_transpose(gi_gradient *d)
{
    const int64_t *perm;
    int64_t back[GOPT_MAX_RANK];
    const uint32_t n = gi_attr_ints(d->n, Transpose_at_perm, &perm);
    for (uint32_t i = 0; i < n; i++)
        back[perm[i]] = i;
    if (n)
        gi_grad_give(d, 0, gi_grad_transpose(d, d->dy, (int)n, back));
    else
        gi_grad_give(d, 0, NODE(Transpose, d->dy));
}

/* The length of x along an axis, [1]. */
static gi_value *length(gi_gradient *d, gi_value *x, int64_t axis)
{
    const int64_t at = axis < 0 ? axis + gi_grad_rank(x) : axis, end = at + 1;
    int64_t n;
    if (gi_grad_rank(x) < 0 && axis < 0) {
        gi_grad_refuse(d, "the rank of its inputs is not known");
        return NULL;
    }
    if (gi_grad_rank(x) >= 0 && gi_type_dim_const(x->type, (int)at, &n))
        return gi_grad_ints(d, 1, &n);
    return NODE(Slice, gi_grad_shape(d, x), gi_grad_ints(d, 1, &at), gi_grad_ints(d, 1, &end));
}

static gi_value *joined(gi_gradient *d, uint32_t n, gi_value *const *parts, int64_t axis)
{
    gi_node *c = gi_grad_begin(d, OP_Concat, n, parts, 1);
    if (c)
        gi_attr_set_int(c, Concat_at_axis, axis);
    return gi_grad_done(d, c);
}

static void of_concat(gi_gradient *d)
{
    const int64_t axis = gi_attr_int(d->n, Concat_at_axis);
    const uint32_t n = d->n->n_in;
    gi_value **lengths = GI_NEW_ARRAY(d->im->a, gi_value *, n + 1);
    if (!lengths)
        d->st = GOPT_NO_MEMORY;
    for (uint32_t i = 0; i < n && d->st == GOPT_OK; i++)
        lengths[i] = length(d, in(d, i), axis);
    if (d->st != GOPT_OK)
        return;
    gi_node *s = gi_grad_begin(d, OP_Split, 2, (gi_value *[]){ d->dy, joined(d, n, lengths, 0) }, n);
    if (s)
        gi_attr_set_int(s, Split_at_axis, axis);
    if (!gi_grad_done(d, s))
        return;
    for (uint32_t i = 0; i < n && d->st == GOPT_OK; i++)
        gi_grad_give(d, i, s->out[i]);
}

static void of_split(gi_gradient *d)
{
    const uint32_t n = d->n->n_out;
    gi_value **parts = GI_NEW_ARRAY(d->im->a, gi_value *, n + 1);
    if (!parts)
        d->st = GOPT_NO_MEMORY;
    for (uint32_t i = 0; i < n && d->st == GOPT_OK; i++)
        parts[i] = gi_grad_of(d, i);
    if (d->st == GOPT_OK)
        gi_grad_give(d, 0, joined(d, n, parts, gi_attr_int(d->n, Split_at_axis)));
}

/* Each row of dy is added to the row of zeros that it was taken from. */
static void of_gather(gi_gradient *d)
{
    const int64_t last = -1;
    if (gi_attr_int(d->n, Gather_at_axis) != 0) {
        gi_grad_refuse(d, "it gathers along axis %lld, not 0", (long long)gi_attr_int(d->n, Gather_at_axis));
        return;
    }
    gi_value *zeros = gi_grad_filled(d, in(d, Gather_in_data), 0);
    gi_value *rows = NODE(Unsqueeze, in(d, Gather_in_indices), gi_grad_ints(d, 1, &last));
    gi_node *n = gi_grad_begin(d, OP_ScatterND, 3, (gi_value *[]){ zeros, rows, d->dy }, 1);
    if (n && !gi_attr_set_str(n, ScatterND_at_reduction, "add"))
        n = NULL;
    gi_grad_give(d, Gather_in_data, gi_grad_done(d, n));
}

/* Constant integers of input i; false where they are not known, `otherwise` where it is absent. */
static bool constants(const gi_gradient *d, uint32_t i, uint32_t n, int64_t otherwise, int64_t *v)
{
    uint32_t found;
    gi_value *x = in(d, i);
    const gi_dim *const *known = x ? gi_value_known(x, &found) : NULL;
    for (uint32_t k = 0; k < n; k++)
        v[k] = otherwise;
    if (!x)
        return true;
    bool ok = known && found == n;
    for (uint32_t k = 0; ok && k < n; k++)
        ok = gi_dim_is_const(known[k], &v[k]);
    return ok;
}

static gi_value *padded(gi_gradient *d, gi_value *x, int rank, const int64_t *pads)
{
    return NODE(Pad, x, gi_grad_ints(d, 2 * (uint32_t)rank, pads));
}

/* dy between zeros; of sizes and bounds that are known, in steps of 1. */
static void of_slice(gi_gradient *d)
{
    const int rank = gi_grad_rank(in(d, 0));
    uint32_t n = 0;
    int64_t starts[GOPT_MAX_RANK], axes[GOPT_MAX_RANK], steps[GOPT_MAX_RANK], pads[2 * GOPT_MAX_RANK] = { 0 };
    bool known = rank >= 0 && gi_value_known(in(d, Slice_in_starts), &n) && n <= (uint32_t)rank &&
                 constants(d, Slice_in_starts, n, 0, starts) && constants(d, Slice_in_axes, n, 0, axes) &&
                 constants(d, Slice_in_steps, n, 1, steps);
    for (uint32_t i = 0; known && i < n; i++) {
        int axis;
        int64_t from, to;
        known = steps[i] == 1 && gi_axis(in(d, Slice_in_axes) ? axes[i] : i, rank, &axis) &&
                gi_type_dim_const(in(d, 0)->type, axis, &from) && gi_type_dim_const(out(d)->type, axis, &to);
        if (!known)
            break;
        const int64_t start = starts[i] < 0 ? starts[i] + from : starts[i];
        pads[axis] = start < 0 ? 0 : start > from ? from : start;
        pads[rank + axis] = from - to - pads[axis];
    }
    if (known)
        gi_grad_give(d, 0, padded(d, d->dy, rank, pads));
    else
        gi_grad_refuse(d, "its bounds and sizes are not known, or its steps are not 1");
}

/* What is not padding of dy; what is read twice is refused. */
static void of_pad(gi_gradient *d)
{
    const int rank = gi_grad_rank(in(d, 0));
    int64_t pads[2 * GOPT_MAX_RANK];
    if (!gi_attr_is(d->n, Pad_at_mode, "constant") || wants(d, Pad_in_constant_value)) {
        gi_grad_refuse(d, "it pads with what depends on xs");
        return;
    }
    if (rank < 0 || in(d, Pad_in_axes) || !constants(d, Pad_in_pads, 2 * (uint32_t)rank, 0, pads)) {
        gi_grad_refuse(d, "its pads are not known");
        return;
    }
    for (int i = 0; i < 2 * rank; i++)
        pads[i] = -pads[i];
    gi_grad_give(d, 0, padded(d, d->dy, rank, pads));
}

/* ---- the table ---- */

gi_gradient_fn gi_gradient_rule(gi_opcode op)
{
    static const struct {
        gi_opcode op;
        gi_gradient_fn fn;
    } rows[] = {
#define GRADIENT(OP, FN) { OP_##OP, FN },
#include "onnx/gradient.def"
#undef GRADIENT
    };
    for (size_t i = 0; i < GI_COUNT(rows); i++)
        if (rows[i].op == op)
            return rows[i].fn;
    return NULL;
}
