/* The opencl backend's walks: a plan as one kernel whose groups stay on the device (src/backend/opencl/walk.c). */
#include "unit/opencl.h"
#include "unit/opencl_dump.h"

/* Products, pools, moves, sums, and a branch beside another one. */
static const char network[] = "graph (%x: f32[2,3,13,12]) {\n"
                              "  %a = Conv %x, dense<f32[16,3,3,3], #a>, dense<f32[16], #b> { pads = [1,1,1,1] }\n"
                              "  %r = Relu %a\n"
                              "  %p = MaxPool %r { kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1] }\n"
                              "  %c = Conv %p, dense<f32[16,16,1,1], #c>\n"
                              "  %d = Conv %p, dense<f32[24,16,3,3], #d>, dense<f32[24], #e> { pads = [1,1,1,1] }\n"
                              "  %k = Concat %c, %d { axis = 1 }\n"
                              "  %g = GlobalAveragePool %k\n"
                              "  %f = Flatten %g\n"
                              "  %y = Gemm %f, dense<f32[10,40], #f1>, dense<f32[10], #f2> { transB = 1 }\n"
                              "  return %y as \"y\"\n}\n";

/* Runs the network; how many walks were there? They call each of the kernels of these names, NULL behind the last one.
 * Nothing is timed, so that no walk is one of a variant alone. */
static int walks(const char *how, check_options o, const char *text, size_t steps, const char *const *kernels)
{
    dump_folder d;
    open_dump(&d);
    o.dump = d.path;
    o.deterministic = true;
    assert_int_equal(setenv("GOPT_OPENCL_WALK", how, 1), 0);
    assert_int_equal(check_with(&o, text).steps, steps);
    assert_int_equal(unsetenv("GOPT_OPENCL_WALK"), 0);
    const int n = dumped(&d, "walk", "");
    for (; *kernels; kernels++) {
        char call[40];
        (void)snprintf(call, sizeof call, " %s_[0-9]*(", *kernels);
        if (!dumped(&d, "walk", call))
            fail_msg("no %s in a walk", *kernels);
    }
    close_dump(&d);
    return n;
}

static void a_plan_is_walked(void **state)
{
    static const char *const none[] = { NULL };
    const check_options fp32 = { .precision = "fp32" }, fp16 = { .precision = "fp16" };
    const check_options apart = { .precision = "fp16", .apart = true };
    (void)state;
    assert_int_equal(walks("1", fp16, network, 9, none), 1);
    assert_int_equal(walks("1", fp32, network, 9, none), 1);
    assert_int_equal(walks("0", fp16, network, 9, none), 0);
    assert_int_equal(walks("1", apart, network, 9, none), 0);
}

/* A layer of a transformer: products, attention of heads with a mask, residuals, normalizations, and a short Softmax. */
typedef struct layer {
    const char *tensor, *precision; /* GOPT_OPENCL_TENSOR */
    int batch, tokens, heads, d;
    const char *kernels[7];
} layer;

static const layer layers[] = {
    { "none", "fp16", 2, 7, 3, 8, { "element", "product_tile", "attention", "layer_norm8", "softmax", "reduce" } },
    { "emulated,attention_mma_16x8x16", "fp16", 2, 9, 3, 8, { "product_mma", "attention_mma", "layer_norm8" } },
};

static void a_transformer_is_walked(void **state)
{
    (void)state;
    for (size_t i = 0; i < GI_COUNT(layers); i++) {
        char text[4000];
        const layer *l = &layers[i];
        const int b = l->batch, t = l->tokens, h = l->heads, d = l->d, w = h * d;
        (void)snprintf(
            text, sizeof text,
            "graph (%%i: i64[%d,%d], %%mask: f32[%d,1,1,%d]) {\n"
            "  %%x = Gather dense<f32[20,%d], #e>, %%i\n"
            "  %%q = MatMul %%x, dense<f32[%d,%d], #a>\n  %%k = MatMul %%x, dense<f32[%d,%d], #b>\n"
            "  %%v = MatMul %%x, dense<f32[%d,%d], #c>\n"
            "  %%q4 = Reshape %%q, dense<i64[4], [%d,%d,%d,%d]>\n  %%k4 = Reshape %%k, dense<i64[4], [%d,%d,%d,%d]>\n"
            "  %%v4 = Reshape %%v, dense<i64[4], [%d,%d,%d,%d]>\n"
            "  %%y4 = Fusion<attention> { body = block () {\n"
            "    %%qt = Transpose %%q4 { perm = [0,2,1,3] }\n    %%kt = Transpose %%k4 { perm = [0,2,3,1] }\n"
            "    %%vt = Transpose %%v4 { perm = [0,2,1,3] }\n    %%s = MatMul %%qt, %%kt\n"
            "    %%t = Mul %%s, dense<f32[], 0.125>\n    %%u = Add %%t, %%mask\n"
            "    %%p = Softmax %%u { axis = -1 }\n    %%o = MatMul %%p, %%vt\n"
            "    %%ot = Transpose %%o { perm = [0,2,1,3] }\n    return %%ot } }\n"
            "  %%y = Reshape %%y4, dense<i64[3], [%d,%d,%d]>\n"
            "  %%m = MatMul %%y, dense<f32[%d,%d], #d>\n  %%r = Add %%m, %%x\n"
            "  %%n = LayerNormalization %%r, dense<f32[%d], #f>, dense<f32[%d], #1>\n"
            "  %%up = MatMul %%n, dense<f32[%d,%d], #2>\n  %%g = Gelu %%up\n"
            "  %%down = MatMul %%g, dense<f32[%d,%d], #3>\n  %%z = Add %%down, %%n\n"
            "  %%l = LayerNormalization %%z, dense<f32[%d], #4>\n"
            "  %%f = Softmax %%l { axis = -1 }\n"
            "  %%mean = ReduceMean %%f, dense<i64[1], [1]> { keepdims = 0 }\n"
            "  return %%mean as \"y\", %%l as \"l\"\n}\n",
            b, t, b, t, w, w, w, w, w, w, w, b, t, h, d, b, t, h, d, b, t, h, d, b, t, w, w, w, w, w, w, 2 * w, 2 * w,
            w, w);
        assert_int_equal(setenv("GOPT_OPENCL_TENSOR", l->tensor, 1), 0);
        assert_int_equal(walks("1", (check_options){ .precision = l->precision }, text, 19, l->kernels), 1);
    }
}

/* More buffers than a walk is given: two walks. Small constants share buffers: one. */
static void many_constants(void **state)
{
    enum { NODES = 60, SMALL = 30, LARGE = 4200 };
    static const char *const pointwise[] = { "pointwise", NULL };
    (void)state;
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", "", 1), 0);
    for (int large = 0; large < 2; large++) {
        const int n = large ? LARGE : SMALL;
        char text[NODES * 50 + 100];
        int at = snprintf(text, sizeof text, "graph (%%x: f32[%d]) {\n  %%x0 = Tanh %%x\n", n);
        for (int i = 0; i < NODES; i++)
            at += snprintf(text + at, sizeof text - (size_t)at, "  %%x%d = Add %%x%d, dense<f32[%d], #%x>\n", i + 1, i,
                           n, i + 1);
        (void)snprintf(text + at, sizeof text - (size_t)at, "  return %%x%d as \"y\"\n}\n", NODES);
        assert_int_equal(walks("1", (check_options){ 0 }, text, NODES + 1, pointwise), large ? 2 : 1);
    }
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_plan_is_walked), cmocka_unit_test(a_transformer_is_walked),
                                        cmocka_unit_test(many_constants) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
