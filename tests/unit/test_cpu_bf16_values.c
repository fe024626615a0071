/* Values that lie in bfloat16 between steps: the conversions, and networks of several steps whose images lie so. Each
 * number that is stored is off by 2^-9 of itself at most, and so is each that is multiplied. */
#include "unit/net.h"

#include "backend/cpu/cpu.h"
#include "gk_bf16.h"

/* ---- conversions ---- */

static void narrows(void **state)
{
    (void)state;
    enum { N = 77 };
    float x[N], back[N];
    uint16_t h[N + 1], again[N];
    for (int i = 0; i < N; i++)
        x[i] = number() * ldexpf(1.0f, i * 3 - 110);
    x[3] = INFINITY;
    x[4] = -INFINITY;
    x[5] = NAN;
    x[6] = 3.4e38f;
    x[7] = 1.00390625f;
    x[8] = 1.01171875f;
    x[9] = -0.0f;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = gk_get((gk_isa)isa);
        for (size_t n = 0; k && n <= N; n++) {
            h[n] = 0x1234;
            k->narrow(n, x, h);
            assert_int_equal(h[n], 0x1234);
            k->widen(n, h, back);
            for (size_t i = 0; i < n; i++) {
                assert_int_equal(h[i], gk_bf16_of(x[i]));
                assert_true(back[i] == gk_bf16_value(h[i]) || (i == 5 && isnan(back[i])));
            }
            k->narrow(n, back, again);
            assert_memory_equal(again, h, n * sizeof(*h));
        }
    }
}

/* From every layout to every other and back: what bfloat16 holds exactly is the same. */
static void converts(void **state)
{
    (void)state;
    static const int64_t shapes[][4] = { { 2, 70, 5, 15 }, { 1, 32, 9, 8 }, { 3, 16, 1, 1 }, { 1, 1, 67, 3 } };
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_pool *pool = gi_pool_create(cx, 2);
    assert_non_null(pool);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
        for (int isa = 0; isa < GK_ISA_COUNT; isa++)
            for (gi_layout a = GI_PLAIN; gk_get((gk_isa)isa) && a <= GI_BLOCKED_BF16; a++)
                for (gi_layout b = GI_PLAIN; b <= GI_BLOCKED_BF16; b++) {
                    if (a == b)
                        continue;
                    const gk_table *k = gk_get((gk_isa)isa);
                    const gi_cpu d = { .cx = cx, .threads = 2, .isa = (gk_isa)isa, .k = k, .block = k->lanes };
                    gopt_graph *g = NULL;
                    assert_int_equal(gopt_graph_create(cx, "c", 21, &g), GOPT_OK);
                    gopt_value *v = input(&(net){ .g = g }, shapes[i], 4);
                    const size_t n = (size_t)(shapes[i][0] * shapes[i][1] * shapes[i][2] * shapes[i][3]);
                    const gi_type *t = ((gi_value *)v)->type;
                    float *x = malloc(n * sizeof(*x)), *y = malloc(n * sizeof(*y));
                    void *in = malloc(gi_cpu_layout_bytes(&d, a, t)), *out = malloc(gi_cpu_layout_bytes(&d, b, t));
                    assert_true(x && y && in && out);
                    for (size_t e = 0; e < n; e++)
                        x[e] = gk_bf16_value(gk_bf16_of(number()));
                    memset(y, 0, n * sizeof(*y));
                    if (a == GI_PLAIN)
                        memcpy(in, x, n * sizeof(*x));
                    else
                        gi_cpu_convert(&d, pool, t, GI_PLAIN, a, x, in);
                    gi_cpu_convert(&d, pool, t, a, b, in, out);
                    if (b == GI_PLAIN)
                        memcpy(y, out, n * sizeof(*y));
                    else
                        gi_cpu_convert(&d, pool, t, b, GI_PLAIN, out, y);
                    assert_memory_equal(x, y, n * sizeof(*x));
                    free(x);
                    free(y);
                    free(in);
                    free(out);
                    gopt_graph_destroy(g);
                }
    gi_pool_destroy(pool);
    gopt_ctx_destroy(cx);
}

/* ---- kernels over rows ---- */

enum { ROWS = 5, WIDE = 41, BLOCK = 32 };

typedef struct image {
    uint16_t x[ROWS * WIDE * BLOCK], add[WIDE * BLOCK], y[WIDE * BLOCK + 1];
    float w[ROWS * ROWS * BLOCK], bias[BLOCK]; /* in order of the channels */
} image;

static void fill(image *m)
{
    for (size_t i = 0; i < sizeof(m->x) / sizeof(*m->x); i++)
        m->x[i] = gk_bf16_of(number());
    for (size_t i = 0; i < sizeof(m->add) / sizeof(*m->add); i++)
        m->add[i] = gk_bf16_of(number());
    for (size_t i = 0; i < sizeof(m->w) / sizeof(*m->w); i++)
        m->w[i] = number();
    for (size_t i = 0; i < BLOCK; i++)
        m->bias[i] = number();
}

/* For each 2 * lanes channels those of even number before those of odd number. */
static void in_pairs(int lanes, const float *from, float *to)
{
    for (int c = 0; c < BLOCK; c++)
        to[c / (2 * lanes) * 2 * lanes + c % 2 * lanes + c % (2 * lanes) / 2] = from[c];
}

/* What is stored is off by half a unit of 8 bits at most, and by the rounding of sums. */
static void rounded(const char *what, int at, uint16_t got, double want, double sum)
{
    const double x = (double)gk_bf16_value(got);
    if (fabs(x - want) <= 0x1p-8 * fabs(want) + 1e-6 * sum)
        return;
    print_error("%s: number %d is %g, expected %g\n", what, at, x, want);
    fail();
}

typedef struct window_case {
    int kh0, kh1, kw, stride, dilation, pad, in_w, out_w;
} window_case;

static const window_case windows[] = { { 0, 3, 3, 1, 1, 1, 41, 41 }, { 1, 3, 3, 2, 1, 1, 41, 21 },
                                       { 0, 5, 5, 1, 1, 2, 20, 20 }, { 0, 2, 5, 2, 1, 2, 23, 12 },
                                       { 0, 3, 3, 1, 2, 2, 17, 17 }, { 0, 1, 1, 1, 1, 0, 9, 9 },
                                       { 2, 2, 3, 1, 1, 1, 7, 7 },   { 0, 3, 3, 2, 1, 0, 13, 6 } };

static void row_dw(const gk_table *k, image *m, const window_case *v, bool add)
{
    float w[ROWS * ROWS * BLOCK], bias[BLOCK];
    for (int i = 0; i < ROWS * ROWS; i++)
        in_pairs(k->lanes, m->w + i * BLOCK, w + i * BLOCK);
    in_pairs(k->lanes, m->bias, bias);
    const gk_dwconv_row t = { .row = m->x,
                              .row_stride = WIDE * BLOCK,
                              .w = w,
                              .bias = bias,
                              .add = add ? m->add : NULL,
                              .dst = m->y,
                              .kh0 = v->kh0,
                              .kh1 = v->kh1,
                              .kw = v->kw,
                              .stride = v->stride,
                              .dilation = v->dilation,
                              .pad = v->pad,
                              .in_w = v->in_w,
                              .out_w = v->out_w,
                              .lo = add ? -INFINITY : -0.5f,
                              .hi = add ? INFINITY : 1.0f };
    m->y[v->out_w * BLOCK] = 0x1234;
    k->dwconv_row_bf16(&t);
    assert_int_equal(m->y[v->out_w * BLOCK], 0x1234);
    for (int i = 0; i < v->out_w * BLOCK; i++) {
        double want = (double)m->bias[i % BLOCK], sum = fabs(want);
        for (int h = v->kh0; h < v->kh1; h++)
            for (int x = 0; x < v->kw; x++) {
                const int col = i / BLOCK * v->stride - v->pad + x * v->dilation;
                if (col < 0 || col >= v->in_w)
                    continue;
                const double p = (double)gk_bf16_value(m->x[(h * WIDE + col) * BLOCK + i % BLOCK]) *
                                 (double)m->w[(h * v->kw + x) * BLOCK + i % BLOCK];
                want += p;
                sum += fabs(p);
            }
        want += add ? (double)gk_bf16_value(m->add[i]) : 0;
        want = fmin(fmax(want, (double)t.lo), (double)t.hi);
        rounded("depthwise", i, m->y[i], want, sum);
    }
}

static void row_pool(const gk_table *k, image *m, const window_case *v, bool max, int count)
{
    const gk_pool_row t = { .row = m->x,
                            .row_stride = WIDE * BLOCK,
                            .dst = m->y,
                            .kh0 = v->kh0,
                            .kh1 = v->kh1,
                            .kw = v->kw,
                            .stride = v->stride,
                            .dilation = v->dilation,
                            .pad = v->pad,
                            .in_w = v->in_w,
                            .out_w = v->out_w,
                            .max = max,
                            .count = count };
    m->y[v->out_w * BLOCK] = 0x1234;
    k->pool_row_bf16(&t);
    assert_int_equal(m->y[v->out_w * BLOCK], 0x1234);
    for (int i = 0; i < v->out_w * BLOCK; i++) {
        double want = max ? -INFINITY : 0, sum = 0;
        int under = 0;
        for (int h = v->kh0; h < v->kh1; h++)
            for (int x = 0; x < v->kw; x++) {
                const int col = i / BLOCK * v->stride - v->pad + x * v->dilation;
                if (col < 0 || col >= v->in_w)
                    continue;
                const double p = (double)gk_bf16_value(m->x[(h * WIDE + col) * BLOCK + i % BLOCK]);
                want = max ? fmax(want, p) : want + p;
                sum += fabs(p);
                under++;
            }
        rounded("pool", i, m->y[i], max ? want : want / (count ? count : under ? under : 1), sum);
    }
}

static void rows(void **state)
{
    (void)state;
    image *m = malloc(sizeof(*m));
    assert_non_null(m);
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = gk_get((gk_isa)isa);
        for (size_t i = 0; k && i < sizeof(windows) / sizeof(*windows); i++) {
            fill(m);
            row_dw(k, m, &windows[i], false);
            row_dw(k, m, &windows[i], true);
            if (windows[i].kh0 < windows[i].kh1)
                row_pool(k, m, &windows[i], true, 0);
            row_pool(k, m, &windows[i], false, 0);
            row_pool(k, m, &windows[i], false, 9);
        }
        for (size_t n = 1; k && n < 20; n++) {
            float sums[BLOCK];
            k->sum_pixels_bf16(n, m->x, sums);
            for (int c = 0; c < BLOCK; c++) {
                double want = 0;
                for (size_t p = 0; p < n; p++)
                    want += (double)gk_bf16_value(m->x[p * BLOCK + (size_t)c]);
                assert_true(fabs((double)sums[c] - want) <= 1e-6 * (double)n);
            }
        }
    }
    free(m);
}

/* Pictures, whose channels past the last one are zeros. */
static void pictures(void **state)
{
    (void)state;
    enum { N = 37 };
    float x[4][N];
    uint16_t y[4 * N + 1];
    for (int i = 0; i < 4 * N; i++)
        x[i / N][i % N] = number();
    const float *const src[] = { x[0], x[1], x[2], x[3] };
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = gk_get((gk_isa)isa);
        for (size_t channels = 1; k && channels <= 4; channels++)
            for (size_t n = 0; n <= N; n++) {
                y[4 * n] = 0x1234;
                k->narrow_4(n, channels, src, y);
                assert_int_equal(y[4 * n], 0x1234);
                for (size_t i = 0; i < 4 * n; i++)
                    assert_int_equal(y[i], i % 4 < channels ? gk_bf16_of(x[i % 4][i / 4]) : 0);
            }
    }
}

/* ---- networks ---- */

static gopt_value *relu(net *t, gopt_value *x)
{
    return add(t, "Relu", NULL, 1, x, NULL, NULL);
}

static gopt_value *silu(net *t, gopt_value *x)
{
    return add(t, "Mul", NULL, 2, x, add(t, "Sigmoid", NULL, 1, x, NULL, NULL), NULL);
}

static gopt_value *residual(net *t)
{
    gopt_value *x = relu(t, conv(t, input(t, DIMS(1, 24, 26, 27)), 70, 24, 3, 3, "pads = [1,1,1,1]"));
    gopt_value *y = relu(t, conv(t, x, 33, 70, 1, 1, NULL));
    y = conv(t, y, 70, 33, 3, 3, "pads = [1,1,1,1]");
    y = relu(t, add(t, "Add", NULL, 2, y, x, NULL));
    return conv(t, y, 20, 70, 1, 1, NULL);
}

static gopt_value *strides(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 16, 17, 13)), 48, 16, 3, 3, "pads = [1,1,1,1]");
    gopt_value *y = conv(t, x, 64, 48, 3, 3, "pads = [1,1,1,1], strides = [2,2]");
    gopt_value *z = conv(t, x, 64, 48, 1, 1, "strides = [2,2]");
    return conv(t, relu(t, add(t, "Add", NULL, 2, y, z, NULL)), 32, 64, 1, 1, NULL);
}

static gopt_value *activations(net *t)
{
    gopt_value *x = silu(t, conv(t, input(t, DIMS(1, 32, 8, 7)), 40, 32, 1, 1, NULL));
    x = silu(t, conv(t, x, 56, 40, 3, 3, "pads = [1,1,1,1]"));
    return conv(t, x, 20, 56, 1, 1, NULL);
}

static gopt_value *concat(net *t)
{
    gopt_value *x = relu(t, conv(t, input(t, DIMS(2, 32, 10, 10)), 32, 32, 1, 1, NULL));
    gopt_value *y = relu(t, conv(t, x, 64, 32, 3, 3, "pads = [1,1,1,1]"));
    x = add(t, "Concat", "axis = 1", 2, x, y, NULL);
    return conv(t, x, 20, 96, 1, 1, NULL);
}

/* A gate along the channels, constants along them, and BatchNormalization before a product. */
static gopt_value *pointwise(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 32, 12, 12)), 48, 32, 1, 1, NULL);
    x = add(t, "Mul", NULL, 2, x, input(t, DIMS(1, 48, 1, 1)), NULL);
    x = relu(t, add(t, "Add", NULL, 2, x, weights(t, DIMS(48, 1, 1)), NULL));
    return conv(t, x, 20, 48, 1, 1, NULL);
}

/* Numbers past the last channel of a block that would not be finite: divided by zero. */
static gopt_value *quotient(net *t)
{
    gopt_value *x = add(t, "Sigmoid", NULL, 1, conv(t, input(t, DIMS(1, 32, 6, 6)), 40, 32, 1, 1, NULL), NULL, NULL);
    x = add(t, "Div", NULL, 2, x, add(t, "Exp", NULL, 1, weights(t, DIMS(40, 1, 1)), NULL, NULL), NULL);
    return conv(t, x, 20, 40, 1, 1, NULL);
}

/* A reader that knows nothing of blocks. */
static gopt_value *foreign(net *t)
{
    gopt_value *x = relu(t, conv(t, input(t, DIMS(1, 32, 6, 6)), 64, 32, 1, 1, NULL));
    x = conv(t, x, 48, 64, 1, 1, NULL);
    x = add(t, "Softmax", "axis = 3", 1, x, NULL, NULL);
    return conv(t, x, 20, 48, 1, 1, NULL);
}

/* Pictures of one and three channels; windows that reach over all sides, wide and dilated. */
static gopt_value *stem(net *t)
{
    gopt_value *x = relu(t, conv(t, input(t, DIMS(2, 3, 37, 41)), 40, 3, 7, 7, "pads = [3,3,3,3], strides = [2,2]"));
    x = add(t, "MaxPool", "kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]", 1, x, NULL, NULL);
    return conv(t, x, 24, 40, 1, 1, NULL);
}

static gopt_value *wide_stem(net *t)
{
    gopt_value *x = relu(t, conv(t, input(t, DIMS(1, 1, 9, 45)), 33, 1, 3, 11, "pads = [2,6,1,3], strides = [1,3]"));
    return conv(t, x, 24, 33, 1, 1, NULL);
}

static gopt_value *depthwise(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(2, 16, 23, 21)), 50, 16, 1, 1, NULL);
    x = conv(t, x, 50, 1, 3, 3, "pads = [1,1,1,1], group = 50");
    x = relu(t, x);
    x = conv(t, x, 50, 1, 3, 3, "pads = [1,1,1,1], strides = [2,2], group = 50");
    gopt_value *y = conv(t, x, 50, 1, 5, 5, "pads = [2,2,2,2], group = 50");
    y = conv(t, relu(t, add(t, "Add", NULL, 2, y, x, NULL)), 50, 1, 2, 3, "dilations = [2,1], group = 50");
    return conv(t, y, 24, 50, 1, 1, NULL);
}

static gopt_value *pools(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 16, 19, 22)), 48, 16, 1, 1, NULL);
    gopt_value *y = add(t, "AveragePool", "kernel_shape = [3,3], pads = [1,1,1,1]", 1, x, NULL, NULL);
    gopt_value *z = add(t, "MaxPool", "kernel_shape = [5,5], pads = [2,2,2,2]", 1, x, NULL, NULL);
    return conv(t, add(t, "Add", NULL, 2, y, z, NULL), 24, 48, 1, 1, NULL);
}

static gopt_value *resize(net *t)
{
    const int64_t four = 4;
    gopt_value *x = relu(t, conv(t, input(t, DIMS(2, 16, 7, 6)), 40, 16, 1, 1, NULL)), *in[4] = { x };
    in[2] = gopt_graph_constant(t->g, NULL, GOPT_F32, 1, &four, (const float[]){ 1, 1, 2, 2 });
    x = gopt_graph_add(t->g, "Resize", NULL, 3, in,
                       "mode = \"nearest\", nearest_mode = \"floor\", coordinate_transformation_mode = \"asymmetric\"");
    assert_non_null(x);
    return conv(t, x, 24, 40, 3, 3, "pads = [1,1,1,1]");
}

static gopt_value *mean(net *t)
{
    gopt_value *x = relu(t, conv(t, input(t, DIMS(2, 32, 7, 7)), 40, 32, 1, 1, NULL));
    gopt_value *y = add(t, "GlobalAveragePool", NULL, 1, x, NULL, NULL);
    y = add(t, "Sigmoid", NULL, 1, conv(t, y, 40, 40, 1, 1, NULL), NULL, NULL);
    x = conv(t, add(t, "Mul", NULL, 2, x, y, NULL), 40, 40, 1, 1, NULL);
    return add(t, "Flatten", NULL, 1, add(t, "GlobalAveragePool", NULL, 1, x, NULL, NULL), NULL, NULL);
}

/* Rows: what a product writes and products alone read. */
static gopt_value *perceptron(net *t)
{
    gopt_value *x = add(t, "MatMul", NULL, 2, input(t, DIMS(2, 500, 48)), weights(t, DIMS(48, 96)), NULL);
    x = add(t, "Gelu", NULL, 1, add(t, "Add", NULL, 2, x, weights(t, DIMS(96)), NULL), NULL, NULL);
    x = relu(t, add(t, "MatMul", NULL, 2, x, weights(t, DIMS(96, 129)), NULL));
    return add(t, "MatMul", NULL, 2, x, weights(t, DIMS(129, 24)), NULL);
}

/* Rows that a residual reads too stay floats. */
static gopt_value *row_residual(net *t)
{
    gopt_value *x = add(t, "MatMul", NULL, 2, input(t, DIMS(1, 21, 48)), weights(t, DIMS(48, 72)), NULL);
    gopt_value *y = add(t, "MatMul", NULL, 2, x, weights(t, DIMS(72, 72)), NULL);
    return add(t, "Add", NULL, 2, y, x, NULL);
}

typedef struct layers {
    const char *name;
    gopt_value *(*make)(net *t);
    double tolerance; /* of the largest answer */
    bool smaller;     /* values take less memory than in fp32 */
} layers;

static const layers cases[] = {
    { "residual", residual, 0.02, true },
    { "strides", strides, 0.02, false },
    { "activations", activations, 0.02, false },
    { "concat", concat, 0.02, false },
    { "pointwise", pointwise, 0.02, false },
    { "quotient", quotient, 0.02, false },
    { "foreign", foreign, 0.02, false },
    { "stem", stem, 0.02, false },
    { "wide_stem", wide_stem, 0.02, false },
    { "depthwise", depthwise, 0.02, false },
    { "pools", pools, 0.02, false },
    { "mean", mean, 0.02, false },
    { "perceptron", perceptron, 0.02, true },
    { "row_residual", row_residual, 0.02, false },
    { "resize", resize, 0.02, false },
};

static void within(const char *name, const char *how, const gopt_tensor *a, const gopt_tensor *b, double tolerance)
{
    double scale = 0;
    const int64_t n = gopt_tensor_elements(b);
    assert_int_equal(gopt_tensor_elements(a), n);
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)((const float *)b->data)[i]));
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)((const float *)a->data)[i], y = (double)((const float *)b->data)[i];
        if (!(fabs(x - y) <= tolerance * scale)) {
            print_error("%s, %s: element %lld is %g, expected %g\n", name, how, (long long)i, x, y);
            fail();
        }
    }
}

static void network(const layers *k)
{
    static const char *const precisions[] = { "bf16:emulated", "bf16:emulated_amx", "bf16:avx512_bf16", "bf16:amx" };
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    gopt_tensor *in[2] = { NULL };
    gopt_engine *e = NULL, *fp32 = NULL;
    assert_int_equal(gopt_graph_create(cx, k->name, 21, &t.g), GOPT_OK);
    assert_int_equal(gopt_graph_output(t.g, k->make(&t), "y"), GOPT_OK);
    for (size_t i = 0; i < gopt_graph_input_count(t.g); i++)
        in[i] = make_input(cx, gopt_graph_get_input(t.g, i));
    gopt_run_context *want = start(t.g, &(gopt_engine_options){ .reference = true }, in, &e);
    assert_int_equal(gopt_run(want), GOPT_OK);
    gopt_graph *fused = NULL;
    assert_int_equal(gopt_graph_clone(t.g, &fused), GOPT_OK);
    assert_int_equal(gopt_optimize(fused, &(gopt_optimize_options){ .level = 2, .fuse = true }, NULL), GOPT_OK);
    static const char *const isas[] = { NULL, "avx2", "sse2" };
    for (size_t p = 0; p < sizeof(precisions) / sizeof(*precisions); p++)
        for (size_t i = 0; i < sizeof(isas) / sizeof(*isas); i++) {
            const int threads = 1 + 2 * (int)((p + i) % 2);
            const gopt_engine_options o = { .precision = precisions[p], .isa = isas[i], .threads = threads };
            gopt_engine *b = NULL;
            if (p >= 2 && (isas[i] || !gk_bf16_get(strchr(precisions[p], ':') + 1)))
                continue;
            gopt_run_context *rc = start(fused, &o, in, &b);
            for (int again = 0; again < 2; again++) {
                assert_int_equal(gopt_run(rc), GOPT_OK);
                within(k->name, precisions[p], gopt_run_context_output(rc, 0), gopt_run_context_output(want, 0),
                       k->tolerance);
            }
            gopt_run_context *plain =
                start(fused, &(gopt_engine_options){ .isa = isas[i], .threads = threads }, in, &fp32);
            const uint64_t less = gopt_engine_get_info(b)->activation_bytes;
            const uint64_t more = gopt_engine_get_info(fp32)->activation_bytes;
            if (k->smaller && threads == 1 && less >= more) { /* each thread packs into room of its own */
                print_error("%s, %s: %llu bytes, in fp32 %llu\n", k->name, precisions[p], (unsigned long long)less,
                            (unsigned long long)more);
                fail();
            }
            gopt_run_context_destroy(plain);
            gopt_engine_destroy(fp32);
            gopt_run_context_destroy(rc);
            gopt_engine_destroy(b);
        }
    gopt_run_context_destroy(want);
    gopt_engine_destroy(e);
    for (int i = 0; i < 2; i++)
        gopt_tensor_unref(in[i]);
    gopt_graph_destroy(fused);
    gopt_graph_destroy(t.g);
    gopt_ctx_destroy(cx);
}

static void networks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        network(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(narrows), cmocka_unit_test(converts), cmocka_unit_test(rows),
                                        cmocka_unit_test(pictures), cmocka_unit_test(networks) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
