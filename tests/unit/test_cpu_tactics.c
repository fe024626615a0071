/* The cpu backend's tactics: small networks, each compiled for every instruction set that this machine has and for one
 * and three threads, answer as the reference evaluation does; and the tactic meant runs them. */
#include "unit/net.h"

#include "backend/cpu/onednn.h"

/* ---- the networks ---- */

static gopt_value *conv3x3_relu(net *t)
{
    return add(t, "Relu", NULL, 1, conv(t, input(t, DIMS(2, 33, 13, 17)), 40, 33, 3, 3, "pads = [1,1,1,1]"), NULL,
               NULL);
}

static gopt_value *stem(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 3, 31, 29)), 24, 3, 7, 7, "pads = [3,3,3,3], strides = [2,2]");
    return add(t, "MaxPool", "kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]", 1,
               add(t, "Relu", NULL, 1, x, NULL, NULL), NULL, NULL);
}

/* conv, conv + residual + clip, then a reader of the dense layout */
static gopt_value *residual(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 16, 9, 10)), 48, 16, 1, 1, NULL);
    gopt_value *y = conv(t, x, 48, 48, 3, 3, "pads = [1,1,1,1]");
    const float six = 6.0f, zero = 0.0f;
    gopt_value *lo = gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &zero);
    gopt_value *hi = gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &six);
    gopt_value *z = add(t, "Clip", NULL, 3, add(t, "Add", NULL, 2, y, x, NULL), lo, hi);
    return add(t, "Transpose", "perm = [0,2,3,1]", 1, z, NULL, NULL);
}

static gopt_value *dilated(net *t)
{
    gopt_value *x = input(t, DIMS(1, 20, 15, 14));
    gopt_value *y = conv(t, x, 36, 20, 3, 2, "dilations = [2,3], pads = [1,0,2,3], strides = [1,2]");
    return add(t, "LeakyRelu", "alpha = 0.2", 1, conv(t, y, 17, 36, 3, 3, "auto_pad = \"SAME_UPPER\", strides = [2,2]"),
               NULL, NULL);
}

static gopt_value *pads_alone(net *t) /* rows and columns of output that see nothing but padding */
{
    return conv(t, input(t, DIMS(1, 16, 3, 3)), 16, 16, 2, 2, "pads = [4,4,4,4]");
}

static gopt_value *swish_gate(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 24, 12, 11)), 56, 24, 1, 1, NULL);
    x = add(t, "Mul", NULL, 2, x, add(t, "Sigmoid", NULL, 1, x, NULL, NULL), NULL);
    gopt_value *g = add(t, "GlobalAveragePool", NULL, 1, x, NULL, NULL);
    g = add(t, "Sigmoid", NULL, 1, conv(t, g, 56, 56, 1, 1, NULL), NULL, NULL);
    x = add(t, "Mul", NULL, 2, x, g, NULL);
    return conv(t, x, 20, 56, 1, 1, NULL);
}

static gopt_value *depthwise(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(2, 8, 14, 19)), 37, 8, 1, 1, NULL);
    x = add(t, "Relu", NULL, 1, conv(t, x, 37, 1, 3, 3, "group = 37, pads = [1,1,1,1]"), NULL, NULL);
    x = add(t, "HardSwish", NULL, 1, conv(t, x, 37, 1, 5, 5, "group = 37, pads = [2,2,2,2], strides = [2,2]"), NULL,
            NULL);
    x = conv(t, x, 37, 1, 3, 3, "group = 37, pads = [0,1,1,0], strides = [2,1]");
    return conv(t, x, 12, 37, 1, 1, NULL);
}

static gopt_value *groups(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 16, 10, 9)), 64, 16, 1, 1, NULL);
    return conv(t, x, 96, 32, 3, 3, "group = 2, pads = [1,1,1,1]");
}

static gopt_value *small_groups(net *t)
{
    return add(t, "Tanh", NULL, 1, conv(t, input(t, DIMS(2, 12, 10, 9)), 18, 4, 3, 3, "group = 3, pads = [1,1,1,1]"),
               NULL, NULL);
}

static gopt_value *one_dim(net *t)
{
    gopt_value *x = input(t, DIMS(1, 20, 50));
    x = add(t, "Conv", "pads = [1,1]", 3, x, weights(t, DIMS(40, 20, 3)), weights(t, DIMS(40)));
    return add(t, "Conv", "pads = [2,1], strides = [2]", 2, add(t, "Gelu", NULL, 1, x, NULL, NULL),
               weights(t, DIMS(33, 40, 4)), NULL);
}

static gopt_value *volume(net *t)
{
    gopt_value *x =
        add(t, "Conv", "pads = [1,1,1,1,1,1]", 2, input(t, DIMS(1, 5, 6, 7, 8)), weights(t, DIMS(9, 5, 3, 3, 3)), NULL);
    return add(t, "MaxPool", "kernel_shape = [2,2,2], strides = [2,2,2]", 1, add(t, "Relu", NULL, 1, x, NULL, NULL),
               NULL, NULL);
}

static gopt_value *transposed(net *t)
{
    return add(t, "ConvTranspose", "strides = [2,2], pads = [1,1,1,1], output_padding = [1,1]", 3,
               input(t, DIMS(2, 6, 5, 7)), weights(t, DIMS(6, 10, 3, 3)), weights(t, DIMS(10)));
}

static gopt_value *concat_chain(net *t)
{
    gopt_value *x = input(t, DIMS(1, 16, 8, 8));
    gopt_value *a = conv(t, x, 32, 16, 1, 1, NULL), *b = conv(t, x, 16, 16, 3, 3, "pads = [1,1,1,1]");
    gopt_value *y = add(t, "Concat", "axis = 1", 2, a, b, NULL);
    return conv(t, add(t, "AveragePool", "kernel_shape = [2,2], strides = [2,2]", 1, y, NULL, NULL), 10, 48, 1, 1,
                NULL);
}

static gopt_value *averages(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 16, 11, 9)), 19, 16, 1, 1, NULL);
    x = add(t, "AveragePool", "kernel_shape = [3,3], pads = [1,1,1,1]", 1, x, NULL, NULL);
    return add(t, "AveragePool", "kernel_shape = [3,2], pads = [1,1,1,0], strides = [2,1], count_include_pad = 1", 1, x,
               NULL, NULL);
}

static gopt_value *dense_layers(net *t)
{
    gopt_value *x = add(t, "MatMul", NULL, 2, input(t, DIMS(2, 19, 45)), weights(t, DIMS(45, 71)), NULL);
    x = add(t, "Gelu", NULL, 1, add(t, "Add", NULL, 2, x, weights(t, DIMS(71)), NULL), NULL, NULL);
    gopt_value *y = add(t, "MatMul", NULL, 2, x, weights(t, DIMS(71, 71)), NULL);
    return add(t, "Add", NULL, 2, y, x, NULL);
}

static gopt_value *wide_rows(net *t)
{
    return add(t, "MatMul", NULL, 2, input(t, DIMS(37, 1024)), weights(t, DIMS(1024, 40)), NULL);
}

static gopt_value *gemv(net *t)
{
    gopt_value *x = add(t, "Gemm", "transB = 1, alpha = 0.5, beta = 2", 3, input(t, DIMS(1, 77)),
                        weights(t, DIMS(101, 77)), weights(t, DIMS(101)));
    return add(t, "Relu", NULL, 1, x, NULL, NULL);
}

static gopt_value *attention(net *t)
{
    gopt_value *q = input(t, DIMS(2, 3, 21, 16)), *k = input(t, DIMS(2, 3, 16, 23)), *v = input(t, DIMS(2, 3, 23, 18));
    gopt_value *s = add(t, "Softmax", "axis = -1", 1, add(t, "MatMul", NULL, 2, q, k, NULL), NULL, NULL);
    return add(t, "Transpose", "perm = [0,2,1,3]", 1, add(t, "MatMul", NULL, 2, s, v, NULL), NULL, NULL);
}

/* Transposes, scales and a mask around it, and what guards rows that are masked whole. */
static gopt_value *attention_borders(net *t)
{
    const float number = 0.6f, zero = 0.0f;
    gopt_value *half = gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &number);
    gopt_value *none = gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &zero);
    gopt_value *q = add(t, "Transpose", "perm = [0,2,1,3]", 1, input(t, DIMS(2, 37, 3, 19)), NULL, NULL);
    gopt_value *k = add(t, "Transpose", "perm = [0,2,3,1]", 1, input(t, DIMS(2, 41, 3, 19)), NULL, NULL);
    gopt_value *v = add(t, "Transpose", "perm = [0,2,1,3]", 1, input(t, DIMS(2, 41, 3, 35)), NULL, NULL);
    q = add(t, "Mul", NULL, 2, half, q, NULL);
    k = add(t, "Div", NULL, 2, k, half, NULL);
    gopt_value *s = add(t, "Add", NULL, 2, add(t, "MatMul", NULL, 2, q, k, NULL), input(t, DIMS(2, 1, 1, 41)), NULL);
    s = add(t, "Softmax", "axis = -1", 1, s, NULL, NULL);
    s = add(t, "Where", NULL, 3, add(t, "IsNaN", NULL, 1, s, NULL, NULL), none, s);
    return add(t, "Transpose", "perm = [0,2,1,3]", 1, add(t, "MatMul", NULL, 2, s, v, NULL), NULL, NULL);
}

/* Rows of scores a multiple of 4 KiB apart, keys shared by the heads, a mask for each pair. */
static gopt_value *attention_long(net *t)
{
    gopt_value *q = input(t, DIMS(2, 50, 8)), *k = input(t, DIMS(8, 1024)), *v = input(t, DIMS(1, 1024, 5));
    gopt_value *s = add(t, "Add", NULL, 2, add(t, "MatMul", NULL, 2, q, k, NULL), weights(t, DIMS(50, 1024)), NULL);
    return add(t, "MatMul", NULL, 2, add(t, "Softmax", "axis = 2", 1, s, NULL, NULL), v, NULL);
}

/* What stays before a convolution of one pixel, twice: once with pixels to spare, once with few. */
static gopt_value *before_conv(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(2, 8, 21, 23)), 40, 8, 3, 3, NULL);
    gopt_value *y = add(t, "MaxPool", "kernel_shape = [2,2]", 1, x, NULL, NULL);
    gopt_value *in[5] = { y, weights(t, DIMS(40)), weights(t, DIMS(40)), weights(t, DIMS(40)), NULL };
    in[4] = add(t, "Abs", NULL, 1, weights(t, DIMS(40)), NULL, NULL);
    y = gopt_graph_add(t->g, "BatchNormalization", NULL, 5, in, NULL);
    y = conv(t, add(t, "Relu", NULL, 1, y, NULL, NULL), 24, 40, 1, 1, NULL);
    gopt_value *g = add(t, "Sigmoid", NULL, 1, input(t, DIMS(2, 40, 1, 1)), NULL, NULL);
    g = conv(t, add(t, "Mul", NULL, 2, x, g, NULL), 40, 40, 1, 1, NULL);
    gopt_value *z = conv(t, add(t, "Add", NULL, 2, g, x, NULL), 24, 40, 2, 2, NULL);
    return add(t, "Add", NULL, 2, y, z, NULL);
}

/* Gates and a mask are computed inside, beside results that are read again. */
static gopt_value *gates_inside(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(2, 8, 9, 11)), 32, 8, 3, 3, NULL);
    x = add(t, "MaxPool", "kernel_shape = [2,2]", 1, x, NULL, NULL);
    gopt_value *g = add(t, "Sigmoid", NULL, 1, input(t, DIMS(2, 32, 1, 1)), NULL, NULL);
    gopt_value *m = add(t, "Abs", NULL, 1, add(t, "Neg", NULL, 1, input(t, DIMS(8)), NULL, NULL), NULL, NULL);
    gopt_value *a = add(t, "Mul", NULL, 2, x, g, NULL);
    gopt_value *y = add(t, "Add", NULL, 2, a, m, NULL);
    return add(t, "Add", NULL, 2, conv(t, y, 32, 32, 1, 1, NULL), conv(t, a, 32, 32, 1, 1, NULL), NULL);
}

static gopt_value *odd_gate(net *t) /* its channels fill no whole block: it stays outside where images lie blocked */
{
    gopt_value *x = conv(t, input(t, DIMS(2, 8, 9, 11)), 21, 8, 3, 3, NULL);
    x = add(t, "MaxPool", "kernel_shape = [2,2]", 1, x, NULL, NULL);
    gopt_value *g = add(t, "Sigmoid", NULL, 1, input(t, DIMS(2, 21, 1, 1)), NULL, NULL);
    x = add(t, "Tanh", NULL, 1, add(t, "Mul", NULL, 2, x, g, NULL), NULL, NULL);
    return conv(t, x, 8, 21, 3, 3, NULL);
}

static gopt_value *pool_behind(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(2, 8, 21, 23)), 40, 8, 3, 3, NULL);
    gopt_value *y = add(t, "MaxPool", "kernel_shape = [3,2], strides = [2,2]", 1, x, NULL, NULL);
    y = add(t, "LeakyRelu", "alpha = 0.1", 1, add(t, "Mul", NULL, 2, y, input(t, DIMS(2, 40, 1, 1)), NULL), NULL, NULL);
    gopt_value *g = add(t, "GlobalAveragePool", NULL, 1, x, NULL, NULL);
    g = add(t, "Sigmoid", NULL, 1, add(t, "Add", NULL, 2, g, weights(t, DIMS(40, 1, 1)), NULL), NULL, NULL);
    return conv(t, add(t, "Mul", NULL, 2, y, g, NULL), 8, 40, 2, 2, NULL);
}

static gopt_value *before_matmul(net *t)
{
    gopt_value *x = input(t, DIMS(3, 11, 1024)), *y = input(t, DIMS(5, 37));
    gopt_value *g = add(t, "Mul", NULL, 2, x, add(t, "Sigmoid", NULL, 1, x, NULL, NULL), NULL);
    g = add(t, "MatMul", NULL, 2, add(t, "Mul", NULL, 2, g, weights(t, DIMS(1024)), NULL), weights(t, DIMS(1024, 37)),
            NULL);
    gopt_value *z = add(t, "MatMul", NULL, 2, add(t, "Tanh", NULL, 1, y, NULL, NULL), weights(t, DIMS(37, 37)), NULL);
    z = add(t, "ReduceSum", "keepdims = 0", 1, add(t, "Add", NULL, 2, z, y, NULL), NULL, NULL);
    return add(t, "Add", NULL, 2, g, z, NULL);
}

/* Windows of two pictures: a bias for each head, and in another view a mask for each window. */
static gopt_value *attention_windows(net *t)
{
    const int64_t apart_dims[] = { 2, 4, 3, 9, 9 }, one_dims[] = { 8, 3, 9, 9 };
    gopt_value *s = add(t, "MatMul", NULL, 2, input(t, DIMS(8, 3, 9, 16)), input(t, DIMS(8, 3, 16, 9)), NULL);
    s = add(t, "Add", NULL, 2, s, weights(t, DIMS(1, 3, 9, 9)), NULL);
    s = add(t, "Reshape", NULL, 2, s, integers(t, apart_dims, 5), NULL);
    s = add(t, "Add", NULL, 2, s, weights(t, DIMS(1, 4, 1, 9, 9)), NULL);
    s = add(t, "Reshape", NULL, 2, s, integers(t, one_dims, 4), NULL);
    return add(t, "MatMul", NULL, 2, add(t, "Softmax", "axis = -1", 1, s, NULL, NULL), input(t, DIMS(8, 3, 9, 16)),
               NULL);
}

/* A bias for each window and head in another view, which both masks' strides reach. */
static gopt_value *attention_window_bias(net *t)
{
    const int64_t apart_dims[] = { 2, 4, 3, 9, 9 }, one_dims[] = { 8, 3, 9, 9 };
    gopt_value *s = add(t, "MatMul", NULL, 2, input(t, DIMS(8, 3, 9, 16)), input(t, DIMS(8, 3, 16, 9)), NULL);
    s = add(t, "Add", NULL, 2, s, weights(t, DIMS(8, 1, 9, 9)), NULL);
    s = add(t, "Reshape", NULL, 2, s, integers(t, apart_dims, 5), NULL);
    s = add(t, "Add", NULL, 2, s, weights(t, DIMS(2, 1, 3, 1, 9)), NULL);
    s = add(t, "Reshape", NULL, 2, s, integers(t, one_dims, 4), NULL);
    return add(t, "MatMul", NULL, 2, add(t, "Softmax", "axis = -1", 1, s, NULL, NULL), input(t, DIMS(8, 3, 9, 16)),
               NULL);
}

/* A scale, a mask for each key and one for each pair before a softmax, a factor behind it. */
static gopt_value *masked_softmax(net *t)
{
    gopt_value *x = add(t, "Mul", NULL, 2, input(t, DIMS(3, 5, 7, 29)), weights(t, DIMS(1)), NULL);
    x = add(t, "Add", NULL, 2, x, input(t, DIMS(3, 1, 1, 29)), NULL);
    x = add(t, "Add", NULL, 2, x, weights(t, DIMS(7, 29)), NULL);
    x = add(t, "Softmax", "axis = -1", 1, x, NULL, NULL);
    return add(t, "Mul", NULL, 2, x, input(t, DIMS(5, 7, 1)), NULL);
}

/* The residual's sum is normalized, and read again behind. */
static gopt_value *residual_norm(net *t)
{
    gopt_value *x = add(t, "Add", NULL, 2, input(t, DIMS(4, 9, 600)), input(t, DIMS(4, 9, 600)), NULL);
    gopt_value *in[3] = { x, weights(t, DIMS(600)), weights(t, DIMS(600)) };
    gopt_value *y = gopt_graph_add(t->g, "LayerNormalization", NULL, 3, in, "epsilon = 1e-5");
    y = add(t, "Tanh", NULL, 1, y, NULL, NULL);
    y = add(t, "MatMul", NULL, 2, y, weights(t, DIMS(600, 600)), NULL);
    return add(t, "Add", NULL, 2, y, x, NULL);
}

/* Root mean square and a deviation in their parts: numbers of rows come back to whole rows. */
static gopt_value *norm_in_parts(net *t)
{
    const int64_t last = -1;
    const float small = 1e-3f;
    gopt_value *eps = gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &small);
    gopt_value *x = input(t, DIMS(4, 4, 33)), *axes = integers(t, &last, 1);
    gopt_value *r = add(t, "ReduceMean", NULL, 2, add(t, "Mul", NULL, 2, x, x, NULL), axes, NULL);
    r = add(t, "Sqrt", NULL, 1, add(t, "Add", NULL, 2, r, eps, NULL), NULL, NULL);
    x = add(t, "Mul", NULL, 2, add(t, "Div", NULL, 2, x, r, NULL), weights(t, DIMS(33)), NULL);
    gopt_value *m = add(t, "ReduceMax", NULL, 2, x, axes, NULL);
    gopt_value *e = add(t, "Exp", NULL, 1, add(t, "Sub", NULL, 2, x, m, NULL), NULL, NULL);
    return add(t, "Div", NULL, 2, e, add(t, "ReduceSum", NULL, 2, e, axes, NULL), NULL);
}

static gopt_value *sums_both_ways(net *t) /* one sum keeps its axis and one does not: [5,5] of [5] less [5,1] */
{
    const int64_t last = 1;
    gopt_value *x = input(t, DIMS(5, 5)), *axes = integers(t, &last, 1);
    gopt_value *a = add(t, "ReduceSum", "keepdims = 0", 2, x, axes, NULL);
    gopt_value *b = add(t, "ReduceSum", "keepdims = 1", 2, x, axes, NULL);
    return add(t, "Tanh", NULL, 1, add(t, "Sub", NULL, 2, a, b, NULL), NULL, NULL);
}

static gopt_value *sum_of_squares(net *t) /* the row's axis is gone behind the sum */
{
    const int64_t last = 2;
    gopt_value *x = input(t, DIMS(4, 4, 33));
    x = add(t, "ReduceSum", "keepdims = 0", 2, add(t, "Mul", NULL, 2, x, x, NULL), integers(t, &last, 1), NULL);
    return add(t, "Mul", NULL, 2, add(t, "Sqrt", NULL, 1, x, NULL, NULL), input(t, DIMS(4, 1)), NULL);
}

static gopt_value *broadcast_product(net *t)
{
    return add(t, "MatMul", NULL, 2, input(t, DIMS(2, 1, 5, 7)), input(t, DIMS(3, 7, 9)), NULL);
}

static gopt_value *gemm_transposed(net *t)
{
    return add(t, "Gemm", "transA = 1, transB = 1", 2, input(t, DIMS(13, 17)), input(t, DIMS(11, 13)), NULL);
}

static gopt_value *norm(net *t)
{
    gopt_value *in[3] = { input(t, DIMS(3, 7, 50)), weights(t, DIMS(50)), weights(t, DIMS(50)) };
    return gopt_graph_add(t->g, "LayerNormalization", NULL, 3, in, "epsilon = 1e-5");
}

static gopt_value *chain(net *t)
{
    gopt_value *x = input(t, DIMS(3, 1, 70, 5)), *y = input(t, DIMS(4, 1, 5)), *z = input(t, DIMS(70, 1));
    gopt_value *a = add(t, "Mul", NULL, 2, add(t, "Exp", NULL, 1, x, NULL, NULL), y, NULL);
    gopt_value *b = add(t, "Where", NULL, 3, add(t, "Less", NULL, 2, x, z, NULL), a, z);
    return add(t, "Div", NULL, 2, add(t, "Sub", NULL, 2, b, y, NULL), add(t, "Softplus", NULL, 1, x, NULL, NULL), NULL);
}

static gopt_value *reductions(net *t)
{
    gopt_value *x = input(t, DIMS(3, 5, 40, 33));
    gopt_value *a = add(t, "ReduceMean", NULL, 2, x, integers(t, (const int64_t[]){ 2, 3 }, 2), NULL);
    gopt_value *b = add(t, "ReduceMax", NULL, 2, x, integers(t, (const int64_t[]){ 1 }, 1), NULL);
    gopt_value *c = add(t, "ReduceSum", NULL, 2, x, integers(t, (const int64_t[]){ -1 }, 1), NULL);
    return add(t, "Add", NULL, 2, add(t, "Mul", NULL, 2, a, b, NULL), c, NULL);
}

/* Blocked images, of which the means are written plain: the last block of channels is not full. */
static gopt_value *means_of_images(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(3, 16, 7, 6)), 21, 16, 3, 3, NULL);
    return add(t, "ReduceMean", "keepdims = 0", 2, x, integers(t, (const int64_t[]){ -1, 2 }, 2), NULL);
}

static gopt_value *moves(net *t)
{
    gopt_value *x = input(t, DIMS(2, 12, 6, 10));
    gopt_value *a = add(t, "DepthToSpace", "blocksize = 2", 1, x, NULL, NULL);
    gopt_value *b = add(t, "SpaceToDepth", "blocksize = 2", 1, a, NULL, NULL);
    gopt_value *in[5] = { b, integers(t, (const int64_t[]){ 1, -2 }, 2), integers(t, (const int64_t[]){ 100, -100 }, 2),
                          integers(t, (const int64_t[]){ 1, 3 }, 2), integers(t, (const int64_t[]){ 3, -2 }, 2) };
    gopt_value *c = gopt_graph_add(t->g, "Slice", NULL, 5, in, NULL);
    return add(t, "Transpose", "perm = [3,0,2,1]", 1, c, NULL, NULL);
}

static gopt_value *upsample(net *t)
{
    const float scales[4] = { 1.0f, 1.0f, 2.0f, 1.5f };
    const int64_t four = 4;
    gopt_value *x = conv(t, input(t, DIMS(1, 16, 7, 6)), 21, 16, 1, 1, NULL);
    gopt_value *in[3] = { x, NULL, gopt_graph_constant(t->g, NULL, GOPT_F32, 1, &four, scales) };
    x = gopt_graph_add(t->g, "Resize", NULL, 3, in,
                       "mode = \"nearest\", coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"");
    assert_non_null(x);
    return conv(t, x, 9, 21, 3, 3, "pads = [1,1,1,1]");
}

static gopt_value *batch_norm(net *t)
{
    gopt_value *x = add(t, "Relu", NULL, 1, conv(t, input(t, DIMS(2, 16, 5, 7)), 21, 16, 1, 1, NULL), NULL, NULL);
    gopt_value *in[5] = { x, weights(t, DIMS(21)), weights(t, DIMS(21)), weights(t, DIMS(21)), NULL };
    float ones[21];
    const int64_t n = 21;
    for (int i = 0; i < 21; i++)
        ones[i] = 0.5f + (float)i * 0.1f;
    in[4] = gopt_graph_constant(t->g, NULL, GOPT_F32, 1, &n, ones);
    x = gopt_graph_add(t->g, "BatchNormalization", NULL, 5, in, NULL);
    assert_non_null(x);
    return add(t, "MaxPool", "kernel_shape = [2,2]", 1, x, NULL, NULL);
}

static gopt_value *recurrent(net *t, const char *op, int64_t gates, int64_t directions, const char *attributes)
{
    gopt_value *in[7] = { input(t, DIMS(9, 3, 13)),
                          weights(t, DIMS(directions, gates * 21, 13)),
                          weights(t, DIMS(directions, gates * 21, 21)),
                          weights(t, DIMS(directions, 2 * gates * 21)),
                          NULL,
                          input(t, DIMS(directions, 3, 21)),
                          NULL };
    gopt_value *y = gopt_graph_add(t->g, op, NULL, 6, in, attributes);
    assert_non_null(y);
    return y;
}

static gopt_value *lstm(net *t)
{
    return recurrent(t, "LSTM", 4, 2, "hidden_size = 21, direction = \"bidirectional\"");
}

static gopt_value *lstm_backwards(net *t)
{
    return recurrent(t, "LSTM", 4, 1, "hidden_size = 21, direction = \"reverse\"");
}

static gopt_value *gru(net *t)
{
    return recurrent(t, "GRU", 3, 1, "hidden_size = 21");
}

static gopt_value *gru_linear(net *t)
{
    return recurrent(t, "GRU", 3, 2, "hidden_size = 21, linear_before_reset = 1, direction = \"bidirectional\"");
}

static gopt_value *rnn(net *t)
{
    return recurrent(t, "RNN", 1, 1, "hidden_size = 21");
}

static gopt_value *rnn_relu(net *t)
{
    return recurrent(t, "RNN", 1, 2,
                     "hidden_size = 21, activations = [\"Relu\", \"Tanh\"], direction = \"bidirectional\"");
}

static gopt_value *rnn_other(net *t)
{
    return recurrent(t, "RNN", 1, 1, "hidden_size = 21, activations = [\"Sigmoid\"]");
}

static gopt_value *short_rows(net *t) /* two rows of output in one tile, strided too */
{
    gopt_value *x = conv(t, input(t, DIMS(1, 32, 14, 14)), 48, 32, 3, 3, "pads = [1,1,1,1], strides = [2,2]");
    return conv(t, x, 40, 48, 3, 3, "pads = [1,1,1,1]");
}

/* Run by one tactic where regions are drawn, and by others where not. */
static const net_case apart[] = {
    { "attention", attention, "matmul_batched" },
    { "attention_borders", attention_borders, "matmul_batched" },
    { "attention_long", attention_long, "matmul_batched" },
};
static const net_case as_one[] = {
    { "attention", attention, "attention" },
    { "attention_borders", attention_borders, "attention" },
    { "attention_long", attention_long, "attention" },
    { "attention_windows", attention_windows, "attention" },
    { "attention_window_bias", attention_window_bias, "attention" },
    { "masked_softmax", masked_softmax, "row_chain" },
    { "residual_norm", residual_norm, "row_chain" },
    { "norm_in_parts", norm_in_parts, "row_chain" },
    { "sum_of_squares", sum_of_squares, "row_chain" },
    { "sums_both_ways", sums_both_ways, "rows" },
    { "gates_inside", gates_inside, "pointwise" },
    { "odd_gate", odd_gate, "pointwise" },
    { "pool_behind", pool_behind, "pool" },
    { "before_conv", before_conv, "conv_direct" },
    { "before_matmul", before_matmul, "matmul_packed" },
};

static const net_case cases[] = {
    { "conv3x3_relu", conv3x3_relu, NULL },
    { "stem", stem, "conv_direct" },
    { "residual", residual, "conv_direct" },
    { "dilated", dilated, "conv_direct" },
    { "pads_alone", pads_alone, "conv_direct" },
    { "swish_gate", swish_gate, "conv_direct" },
    { "depthwise", depthwise, "conv_depthwise" },
    { "groups", groups, "conv_direct" },
    { "one_dim", one_dim, "conv_direct" },
    { "concat_chain", concat_chain, "move" },
    { "averages", averages, "pool" },
    { "dense_layers", dense_layers, "matmul_packed" },
    { "wide_rows", wide_rows, "matmul_packed" },
    { "gemv", gemv, "matmul_packed" },
    { "broadcast_product", broadcast_product, "matmul_batched" },
    { "norm", norm, "rows" },
    { "chain", chain, "pointwise" },
    { "reductions", reductions, "rows" },
    { "means of images", means_of_images, "rows" },
    { "moves", moves, "move" },
    { "upsample", upsample, "resize_nearest" },
    { "batch_norm", batch_norm, "pool" },
    { "lstm", lstm, "recurrent" },
    { "lstm_backwards", lstm_backwards, "recurrent" },
    { "gru", gru, "recurrent" },
    { "gru_linear", gru_linear, "recurrent" },
    { "rnn", rnn, "recurrent" },
    { "rnn_relu", rnn_relu, "recurrent" },
    { "rnn_other", rnn_other, "reference" },
    { "short_rows", short_rows, "conv_direct" },
#if defined(GI_HAVE_ONEDNN)
    { "small_groups", small_groups, "onednn_conv" },
    { "volume", volume, "onednn_conv" },
    { "transposed", transposed, "onednn_conv" },
    { "gemm_transposed", gemm_transposed, "onednn_matmul" },
#else
    { "small_groups", small_groups, NULL },
    { "volume", volume, NULL },
    { "transposed", transposed, NULL },
    { "gemm_transposed", gemm_transposed, NULL },
#endif
};

/* ---- tests ---- */

/* What is asked for by name runs the step, within the limit of workspace alone; what was considered can be read. */
static void chosen(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    assert_int_equal(gopt_graph_create(cx, "chosen", 21, &t.g), GOPT_OK);
    gopt_value *y = conv(&t, input(&t, DIMS(1, 32, 28, 28)), 32, 32, 3, 3, "pads = [1,1,1,1]");
    assert_int_equal(gopt_graph_output(t.g, y, "y"), GOPT_OK);
    gopt_tensor *in[1] = { make_input(cx, gopt_graph_get_input(t.g, 0)) };
    static const struct {
        gopt_engine_options o;
        const char *tactic;
    } ways[] = {
        { { .threads = 2 }, "conv_winograd" },
        { { .threads = 2, .fp = GOPT_FP_STRICT }, "conv_direct" },
        { { .threads = 2, .tactics = "conv_winograd:1" }, "conv_winograd" },
#if defined(GI_HAVE_ONEDNN)
        { { .threads = 2, .tactics = "none,onednn_conv:0" }, "onednn_conv" },
#endif
        { { .threads = 2, .tactics = "attention" }, "conv_winograd" },
        { { .threads = 2, .tactics = "reference" }, "reference" },
        { { .threads = 2, .workspace = 1, .isa = "sse2" }, "reference" },
    };
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        gopt_engine *e;
        gopt_run_context *rc = start(t.g, &ways[i].o, in, &e);
        const gopt_step_info *s = gopt_run_context_step(rc, 0);
        assert_non_null(s);
        assert_string_equal(s->tactic, ways[i].tactic);
        size_t found = 0;
        for (size_t k = 0; k < s->n_tactics; k++)
            if (s->tactics[k].chosen) {
                assert_string_equal(s->tactics[k].name, ways[i].tactic);
                assert_true(s->tactics[k].takes);
                found++;
            }
        assert_int_equal(found, 1);
        gopt_run_context_destroy(rc);
        gopt_engine_destroy(e);
    }
    gopt_tensor_unref(in[0]);
    gopt_graph_destroy(t.g);
    gopt_ctx_destroy(cx);
}

/* A tactic of the dense layout between blocked ones, 12 channels wide: it sees the dense sizes, not those with the
 * blocks' padding, also in what it runs behind the convolution. */
static gopt_value *odd_channels(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 16, 9, 7)), 32, 16, 1, 1, NULL);
    x = conv(t, x, 12, 32, 3, 3, "pads = [1,1,1,1]");
    x = add(t, "Sigmoid", NULL, 1, x, NULL, NULL);
    return conv(t, x, 32, 12, 1, 1, NULL);
}

static void other_tactics(void **state)
{
    (void)state;
    static const char *const names[] = { "conv_direct", "onednn_conv", "reference" };
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    gopt_graph *fused;
    gopt_engine *e, *r;
    assert_int_equal(gopt_graph_create(cx, "odd", 21, &t.g), GOPT_OK);
    assert_int_equal(gopt_graph_output(t.g, odd_channels(&t), "y"), GOPT_OK);
    assert_int_equal(gopt_graph_clone(t.g, &fused), GOPT_OK);
    const gopt_optimize_options all = { .level = 2, .fuse = true };
    assert_int_equal(gopt_optimize(fused, &all, NULL), GOPT_OK);
    gopt_tensor *in[1] = { make_input(cx, gopt_graph_get_input(t.g, 0)) };
    gopt_run_context *rr = start(t.g, &(gopt_engine_options){ .reference = true }, in, &r);
    assert_int_equal(gopt_run(rr), GOPT_OK);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        gopt_run_context *rc = start(fused, &(gopt_engine_options){ .threads = 2, .tactics = names[i] }, in, &e);
        assert_int_equal(gopt_run(rc), GOPT_OK);
        same(names[i], gopt_run_context_output(rc, 0), gopt_run_context_output(rr, 0));
        gopt_run_context_destroy(rc);
        gopt_engine_destroy(e);
    }
    gopt_run_context_destroy(rr);
    gopt_engine_destroy(r);
    gopt_tensor_unref(in[0]);
    gopt_graph_destroy(fused);
    gopt_graph_destroy(t.g);
    gopt_ctx_destroy(cx);
}

static void unfused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        one_case(&cases[i], NULL);
    for (size_t i = 0; i < sizeof(apart) / sizeof(*apart); i++)
        one_case(&apart[i], NULL);
}

static void fused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        one_case(&cases[i], "");
    for (size_t i = 0; i < sizeof(as_one) / sizeof(*as_one); i++)
        one_case(&as_one[i], "fuse-vertical");
}

/* A primitive of oneDNN runs on the worker that calls it: no thread appears beyond the pool's. */
static void onednn_stays_on_its_thread(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    assert_int_equal(gopt_graph_create(cx, "groups", 21, &t.g), GOPT_OK);
    assert_int_equal(gopt_graph_output(t.g, small_groups(&t), "y"), GOPT_OK);
    gopt_tensor *in[1] = { make_input(cx, gopt_graph_get_input(t.g, 0)) };
    gopt_engine *e;
    gopt_run_context *rc = start(t.g, &(gopt_engine_options){ .threads = 2 }, in, &e);
    const int before = gi_onednn_process_threads();
    for (int i = 0; i < 3; i++)
        assert_int_equal(gopt_run(rc), GOPT_OK);
    assert_int_equal(gi_onednn_process_threads(), before);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    gopt_tensor_unref(in[0]);
    gopt_graph_destroy(t.g);
    gopt_ctx_destroy(cx);
}

static void asks_for_what_is_missing(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    gopt_engine *e = NULL;
    assert_int_equal(gopt_graph_create(cx, "x", 21, &t.g), GOPT_OK);
    assert_int_equal(gopt_graph_output(t.g, add(&t, "Relu", NULL, 1, input(&t, DIMS(3)), NULL, NULL), "y"), GOPT_OK);
    assert_int_equal(gopt_engine_create(t.g, &(gopt_engine_options){ .isa = "mmx" }, &e), GOPT_USAGE);
    assert_null(e);
    gopt_graph_destroy(t.g);
    gopt_ctx_destroy(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(chosen),
                                        cmocka_unit_test(other_tactics),
                                        cmocka_unit_test(unfused),
                                        cmocka_unit_test(fused),
                                        cmocka_unit_test(onednn_stays_on_its_thread),
                                        cmocka_unit_test(asks_for_what_is_missing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
