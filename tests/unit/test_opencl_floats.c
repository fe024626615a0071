/* mma.cl in floats and in tf32, emulated where there is no NVIDIA GPU: the same problems by several variants, split sums,
 * residuals, and what tf32 may be off. */
#include "unit/opencl.h"

/* Variants by name: the expected one, other tiles and stages, parts of a sum, 8 by 8 elements an item. */
static const char *const floats_by[] = { "", ",fma_64x64x32x3x8_split2", ",fma_128x128x16x3x8", ",fma_64x128x16x2x4" };
static const char *const tf32_by[] = { "", ",tf32_64x64x32x3x8_split2", ",tf32_128x64x16x4x8" };

static void set_tensor(const char *variant)
{
    char how[80];
    (void)snprintf(how, sizeof how, "emulated%s", variant);
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", how, 1), 0);
}

static void problems(const char *precision, const char *variant, const char *prefix)
{
    static const char *const mains[] = {
        /* 18 taps of 5 chunks: no whole stages; 12 channels have the room of 16 */
        "graph (%x: f32[2,20,7,5]) {\n  %h = Mul %x, dense<f32[], 0.5>\n"
        "  %c = Conv %h, dense<f32[12,20,3,2], #a>, dense<f32[12], #b> { pads = [1,1,0,1], strides = [2,1] }\n"
        "  %y = Neg %c\n  return %y as \"y\"\n}\n",
        /* residual and activation, with channels last */
        "graph (%x: f32[1,16,9,9]) {\n  %h = Conv %x, dense<f32[24,16,1,1], #a>\n"
        "  %z = Fusion<conv> { body = block () {\n"
        "    %c = Conv %h, dense<f32[24,24,3,3], #b>, dense<f32[24], #c> { pads = [2,2,2,2], dilations = [2,2] }\n"
        "    %s = Add %c, %h\n    %r = Relu %s\n    return %r } }\n"
        "  %y = GlobalAveragePool %z\n  return %y as \"y\"\n}\n",
        /* an image of the host whose pixels are pairs, and a result that it reads */
        "graph (%x: f32[2,2,8,12]) {\n"
        "  %y = Conv %x, dense<f32[70,2,3,5], #a> { pads = [1,2,1,2], strides = [2,2] }\n  return %y as \"y\"\n}\n",
        /* rows of a product, its own residual and a dense result */
        "graph (%x: f32[5,28], %r: f32[5,72]) {\n  %y = Fusion<matmul> { body = block () {\n"
        "    %c = MatMul %x, dense<f32[28,72], #a>\n    %d = Add %r, %c\n    return %d } }\n  return %y as \"y\"\n}\n",
        /* a line, a sum that is long enough for two parts */
        "graph (%x: f32[1,32,21]) {\n  %c = Conv %x, dense<f32[19,32,5], #a> { pads = [2,2] }\n"
        "  %y = Exp %c\n  return %c as \"c\"\n}\n",
    };
    set_tensor(variant);
    for (size_t i = 0; i < GI_COUNT(mains); i++) {
        const checked r = check_with(&(check_options){ .precision = precision }, mains[i]);
        const char *by = strncmp(r.first, "generated", 9) != 0 ? r.first : r.last;
        if (i > 0 && strncmp(by, prefix, strlen(prefix)) != 0)
            fail_msg("%s ran\n%s", by, mains[i]);
    }
    assert_int_equal(unsetenv("GOPT_OPENCL_TENSOR"), 0);
}

static void in_floats(void **state)
{
    (void)state;
    for (size_t i = 0; i < GI_COUNT(floats_by); i++)
        problems("fp32", floats_by[i], "fma_");
}

static void in_tf32(void **state)
{
    (void)state;
    for (size_t i = 0; i < GI_COUNT(tf32_by); i++)
        problems("tf32", tf32_by[i], "tf32_");
}

/* Both factors lose at most 2^-11 of themselves: sums of products that are all positive lose little more than twice that,
 * and what fits 10 bits loses nothing. */
static void tf32_is_as_exact_as_it_may_be(void **state)
{
    (void)state;
    static const struct {
        const char *w;
        double x, want, off;
    } cases[] = {
        { "0.5", 1.25, 5, 0 },
        { "0.3", 1.1, 2.64, 0x1p-10 + 1e-6 },
        /* 1 + 2^-11 lies halfway: the larger one is taken */
        { "1.00048828125", 1, 8.0078125, 0 },
        { "1.0", 1.00048828125, 8.0078125, 0 },
        { "1.0", -1.00048828125, -8.0078125, 0 },
    };
    enum { K = 8, N = 8, M = 5 }; /* fewer rows are products of floats */
    set_tensor("");
    for (size_t i = 0; i < GI_COUNT(cases); i++) {
        gopt_tensor *x;
        char text[2000], weights[1600] = "";
        for (int k = 0; k < K * N; k++)
            (void)snprintf(weights + strlen(weights), sizeof weights - strlen(weights), "%s%s", k ? "," : "",
                           cases[i].w);
        (void)snprintf(
            text, sizeof text,
            "graph (%%x: f32[%d,%d]) {\n  %%y = MatMul %%x, dense<f32[%d,%d], [%s]>\n  return %%y as \"y\"\n}\n", M, K,
            K, N, weights);
        net n = open_net("opencl", "tf32", text);
        assert_int_equal(gopt_tensor_create(n.cx, GOPT_F32, 2, (const int64_t[]){ M, K }, &x), GOPT_OK);
        for (int k = 0; k < M * K; k++)
            ((float *)x->data)[k] = (float)cases[i].x;
        set_input(&n, 0, x);
        assert_int_equal(gopt_run(n.rc), GOPT_OK);
        const gopt_tensor *y = gopt_run_context_output(n.rc, 0);
        for (int k = 0; k < M * N; k++) {
            const double got = ((const float *)y->data)[k], diff = got / cases[i].want - 1;
            if (!((diff < 0 ? -diff : diff) <= cases[i].off))
                fail_msg("case %zu: %.9g, expected %.9g within %g of it", i, got, cases[i].want, cases[i].off);
        }
        close_net(&n);
    }
    assert_int_equal(unsetenv("GOPT_OPENCL_TENSOR"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_floats),
        cmocka_unit_test(in_tf32),
        cmocka_unit_test(tf32_is_as_exact_as_it_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
