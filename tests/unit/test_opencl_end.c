/* The end of image networks on the opencl backend: products of few rows (gemv.cl), and sums over all pixels
 * (reduce_image.cl), in sizes that fill no chunk, no warp and no group. */
#include "unit/opencl.h"
#include "unit/opencl_dump.h"

static const char *const precisions[] = { "fp32", "fp16" };

/* A product whose operands and result are the host's; any of tiled.c's kernels will do where it is not gemv.cl's. */
static void must_run(const char *inputs, const char *node, const char *precision, const char *tactic)
{
    const checked r = one_node_in(precision, inputs, node);
    if (strcmp(r.last, tactic) != 0 && (!strcmp(tactic, "gemv") || !ran_as_product(r.last)))
        fail_msg("%s ran in %s\n%s", r.last, precision, node);
}

/* Whole chunks or not, one item a chunk or many, columns of one warp and of several. */
static void few_rows(void **state)
{
    (void)state;
    static const struct {
        const char *inputs, *node, *tactic;
    } cases[] = {
        { "%x: f32[1,16]", "MatMul %x, dense<f32[16,19], #a>", "gemv" },
        { "%x: f32[3,1,37]", "MatMul %x, dense<f32[37,70], #a>", "gemv" },
        { "%x: f32[1,509]", "Gemm %x, dense<f32[3,509], #a>, dense<f32[3], #b> { transB = 1 }", "gemv" },
        { "%x: f32[2,520]", "Gemm %x, dense<f32[520,9], #a>, dense<f32[1,9], #b> { alpha = 0.5, beta = 2.0 }", "gemv" },
        { "%x: f32[4,2064]", "Gemm %x, dense<f32[2,2064], #a> { transB = 1, alpha = 0.5 }", "gemv" },
        { "%x: f32[1,4100]", "MatMul %x, dense<f32[4100,1], #a>", "gemv" },
        { "%x: f32[5,16]", "MatMul %x, dense<f32[16,19], #a>", "tile" },
        /* images of one pixel, with room for 8 channels; windows as large as the image; pixels of one image */
        { "%x: f32[3,20,1,1]", "Conv %x, dense<f32[12,20,1,1], #a>, dense<f32[12], #b>", "gemv" },
        { "%x: f32[2,10,3,2]", "Conv %x, dense<f32[13,10,3,2], #a>, dense<f32[13], #b>", "gemv" },
        { "%x: f32[1,12,2,2]", "Conv %x, dense<f32[9,12,1,1], #a>", "gemv" },
        { "%x: f32[1,6,4]", "Conv %x, dense<f32[9,6,1], #a>, dense<f32[9], #b>", "gemv" },
        { "%x: f32[1,8,2,2]", "Conv %x, dense<f32[9,8,1,1], #a> { strides = [2,2], pads = [0,0,1,1] }", "tile" },
        { "%x: f32[1,8,2,2]", "Conv %x, dense<f32[9,8,2,2], #a> { pads = [1,0,0,0] }", "tile" },
    };
    for (size_t k = 0; k < GI_COUNT(precisions); k++)
        for (size_t i = 0; i < GI_COUNT(cases); i++)
            must_run(cases[i].inputs, cases[i].node, precisions[k], cases[i].tactic);
}

/* What follows them: activations, what is added from the device and from the host, factors a channel. A block that
 * squeezes and excites: images of one pixel, 20 channels where there is room for 24. */
static const char network[] = "graph (%x: f32[2,12,5,3], %q: f32[2,20]) {\n"
                              "  %c = Conv %x, dense<f32[20,12,1,1], #a>\n"
                              "  %g = GlobalAveragePool %c\n"
                              "  %s = Fusion<conv> { body = block () {\n"
                              "    %s0 = Conv %g, dense<f32[6,20,1,1], #b>, dense<f32[6], #c>\n    %s1 = Relu %s0\n"
                              "    return %s1 } }\n"
                              "  %e = Fusion<conv> { body = block () {\n"
                              "    %e0 = Conv %s, dense<f32[20,6,1,1], #d>\n    %e1 = Add %e0, %g\n"
                              "    %e2 = Sigmoid %e1\n    return %e2 } }\n"
                              "  %m = Mul %c, %e\n"
                              "  %p = GlobalMaxPool %m\n"
                              "  %f = Flatten %p\n"
                              "  %t = Fusion<matmul> { body = block () {\n"
                              "    %t0 = Gemm %f, dense<f32[20,20], #e>, dense<f32[20], #f>\n    %t1 = Add %q, %t0\n"
                              "    %t2 = Add %t1, %f\n    %t3 = Mul %t2, dense<f32[20], #a1>\n    return %t3 } }\n"
                              "  %z = Gemm %t, dense<f32[10,20], #a2>, dense<f32[10], #a3> { transB = 1 }\n"
                              "  return %z as \"z\", %e as \"e\"\n}\n";

static void all_are_few_rows(const char *precision, const char *dump)
{
    const check_options o = { .precision = precision, .tactic = "gemv", .dump = dump };
    assert_int_equal(check_with(&o, network).by_tactic, 4);
}

static void what_follows(void **state)
{
    (void)state;
    for (size_t k = 0; k < GI_COUNT(precisions); k++)
        all_are_few_rows(precisions[k], NULL);
}

static void in_a_walk(void **state)
{
    dump_folder d;
    (void)state;
    open_dump(&d);
    assert_int_equal(setenv("GOPT_OPENCL_WALK", "1", 1), 0);
    for (size_t k = 0; k < GI_COUNT(precisions); k++)
        all_are_few_rows(precisions[k], d.path);
    assert_int_equal(unsetenv("GOPT_OPENCL_WALK"), 0);
    assert_true(dumped(&d, "walk", " gemv_[0-9]*(") && dumped(&d, "walk", " reduce_image_[0-9]*("));
    close_dump(&d);
}

/* Items of a column meet by shuffles first, in a warp or a part of it, and warps in local memory. */
static void by_warps(void **state)
{
    (void)state;
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", "emulated", 1), 0);
    must_run("%x: f32[3,15]", "MatMul %x, dense<f32[15,8], #a>", "fp16", "gemv");
    must_run("%x: f32[1,700]", "MatMul %x, dense<f32[700,3], #a>", "fp16", "gemv");
    must_run("%x: f32[4,2064]", "MatMul %x, dense<f32[2064,2], #a>", "fp16", "gemv");
    must_run("%x: f32[2,2064]", "MatMul %x, dense<f32[2064,2], #a>", "fp32", "gemv");
    must_run("%x: f32[2,64]", "MatMul %x, dense<f32[64,5], #a>", "tf32", "gemv");
    assert_int_equal(unsetenv("GOPT_OPENCL_TENSOR"), 0);
}

/* One item a chunk of channels and many, one pixel an item and many, groups that the last channels do not fill. */
static void sums_over_pixels(void **state)
{
    (void)state;
    static const struct {
        int images, channels, height, width;
        const char *node;
    } cases[] = {
        { 1, 5, 7, 7, "GlobalAveragePool %c" },
        { 3, 20, 1, 1, "GlobalMaxPool %c" },
        { 1, 264, 5, 3, "GlobalAveragePool %c" },
        { 5, 200, 7, 5, "ReduceMean %c, dense<i64[2], [2,3]> { keepdims = 0 }" },
        { 1, 24, 67, 33, "GlobalMaxPool %c" },
        { 2, 12, 19, 31, "ReduceSum %c, dense<i64[2], [3,2]>" },
    };
    for (size_t i = 0; i < GI_COUNT(cases); i++)
        for (size_t k = 0; k < GI_COUNT(precisions); k++) {
            char text[600];
            (void)snprintf(text, sizeof text,
                           "graph (%%x: f32[%d,4,%d,%d]) {\n  %%c = Conv %%x, dense<f32[%d,4,1,1], #a>\n"
                           "  %%m = %s\n  return %%m as \"m\"\n}\n",
                           cases[i].images, cases[i].height, cases[i].width, cases[i].channels, cases[i].node);
            assert_int_equal(check_in(precisions[k], text), 2);
        }
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    (void)setenv("POCL_MAX_PTHREAD_COUNT", "12", 0); /* compute units, by which groups are made */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_rows), cmocka_unit_test(what_follows),     cmocka_unit_test(in_a_walk),
        cmocka_unit_test(by_warps), cmocka_unit_test(sums_over_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
