/* The kernels for tensor cores (mma.cl) in every variant against reference evaluation: on NVIDIA's GPUs as they are,
 * elsewhere emulated by ptx_emulated.cl. Each kind of use once a variant, sizes that fill no tile. */
#include "unit/opencl_ways.h"

/* Compute units that PoCL is to have: parts of a sum in a walk wait for each other. */
#define UNITS 12
#define UNITS_TEXT "12"

/* Every way that there is to compute m pixels of n channels over so long a sum. */
static int all_ways(int m, int n, int row, bool walk, gi_cl_way *ways)
{
    const gi_cl d = { .units = UNITS };
    const gi_cl_mma p = { .ints = { [GI_CL_MMA_M] = m, [GI_CL_MMA_ROOM] = n, [GI_CL_MMA_ROW] = row } };
    const int found = gi_cl_mma_ways(&d, &p, walk, ways);
    assert_in_range(found, 1, MOST_WAYS);
    return found;
}

/* A window over pairs of pixels, 20 channels where there is room for 24; a dilated one, in several tiles both ways; one of
 * a single tap; each with a residual that is added. A dense result of 13 channels by unequal strides and pads; a product
 * with bias and factors. Two programs a variant. */
static const char network[] = "graph (%x: f32[2,3,16,18], %q: f32[2,20,8,9], %r: f32[2,136,8,9]) {\n"
                              "  %a = Fusion<conv> { body = block () {\n"
                              "    %p = Conv %x, dense<f32[20,3,3,3], #a>, dense<f32[20], #b> "
                              "{ pads = [1,1,1,1], strides = [2,2] }\n    %pa = Add %p, %q\n    %pr = Relu %pa\n"
                              "    return %pr } }\n"
                              "  %b = Fusion<conv> { body = block () {\n"
                              "    %d = Conv %a, dense<f32[136,20,3,3], #c> { pads = [2,2,2,2], dilations = [2,2] }\n"
                              "    %da = Add %d, %r\n    %dr = Relu %da\n    return %dr } }\n"
                              "  %c = Fusion<conv> { body = block () {\n"
                              "    %e = Conv %b, dense<f32[20,136,1,1], #d>, dense<f32[20], #e>\n"
                              "    %ea = Add %e, %a\n    %er = Relu %ea\n    return %er } }\n"
                              "  %o = Conv %c, dense<f32[13,20,2,3], #f> { strides = [1,2], pads = [1,0,0,1] }\n"
                              "  %f = Reshape %c, dense<i64[2], [12,240]>\n"
                              "  %g = Gemm %f, dense<f32[10,240], #a1>, dense<f32[10], #b1> "
                              "{ transB = 1, alpha = 0.5, beta = 2.0 }\n"
                              "  return %o as \"o\", %g as \"g\"\n}\n";

static void every_variant(void **state)
{
    gi_cl_way ways[MOST_WAYS];
    (void)state;
    /* every other one but with GOPT_TEST_FULL: emulated kernels take long to compile */
    for (int i = 0, n = all_ways(64, 64, 64, false, ways), step = getenv("GOPT_TEST_FULL") ? 1 : 2; i < n; i += step)
        run_as(ways[i], network, 5);
}

/* Many tiles, more than there are groups: a window and a single tap with residuals, sums of one step and of some, rows and
 * channels past the last. */
static const char many[] = "graph (%x: f32[2,24,40,41], %r: f32[2,20,40,41]) {\n"
                           "  %a = Fusion<conv> { body = block () {\n"
                           "    %p = Conv %x, dense<f32[20,24,3,3], #a>, dense<f32[20], #b> { pads = [1,1,1,1] }\n"
                           "    %pa = Add %p, %r\n    %pr = Relu %pa\n    return %pr } }\n"
                           "  %b = Fusion<conv> { body = block () {\n"
                           "    %d = Conv %a, dense<f32[20,20,1,1], #c>, dense<f32[20], #d>\n"
                           "    %da = Add %d, %a\n    return %da } }\n"
                           "  %c = Conv %b, dense<f32[24,20,1,1], #e>\n  %z = Relu %c\n"
                           "  %m = MaxPool %z { kernel_shape = [2,2], strides = [2,2] }\n"
                           "  return %m as \"m\"\n}\n";

static void streams(void **state)
{
    gi_cl_way ways[MOST_WAYS];
    (void)state;
    const gi_cl d = { .units = UNITS, .way = "stream" }; /* of any number of tiles */
    const gi_cl_mma p = { .streams = true,
                          .ints = { [GI_CL_MMA_M] = 3280, [GI_CL_MMA_ROOM] = 24, [GI_CL_MMA_ROW] = 64 } };
    char name[GI_CL_MMA_NAME];
    int found = 0;
    for (int i = 0, n = gi_cl_mma_ways(&d, &p, false, ways); i < n; i++) {
        gi_cl_mma_name(&(gi_cl_mma){ .element = GI_CL_HALVES }, ways[i], name, sizeof name);
        if (strncmp(name, "stream_", 7) == 0 && ways[i].splits == 2 && (found++ % 3 == 0 || getenv("GOPT_TEST_FULL")))
            run_as(ways[i], many, 3);
    }
    assert_true(found > 0);
}

/* Long sums of one tile: in parts, of halves behind which a residual is added. */
static const char sums[] = "graph (%x: f32[5,768]) {\n  %h = Mul %x, dense<f32[], 0.5>\n"
                           "  %a = MatMul %h, dense<f32[768,40], #a>\n"
                           "  %y = Fusion<matmul> { body = block () {\n"
                           "    %m = MatMul %h, dense<f32[768,40], #b>\n    %s = Add %m, %a\n    %r = Relu %s\n"
                           "    return %r } }\n"
                           "  return %y as \"y\"\n}\n";

/* Most variants, in one number of parts each; returns the most parts. */
static int run_in_parts(bool walk)
{
    static const int parts[] = { 2, 6, 4, 3, 12 };
    gi_cl_way ways[MOST_WAYS];
    int most = 1;
    for (int i = 0, n = all_ways(5, 40, 768, walk, ways); i < n; i++)
        if (ways[i].splits == parts[ways[i].variant % (int)GI_COUNT(parts)]) {
            run_as(ways[i], sums, 2);
            most = ways[i].splits > most ? ways[i].splits : most;
        }
    return most;
}

static void sums_in_parts(void **state)
{
    (void)state;
    assert_true(run_in_parts(false) == 12);
}

/* The same as a walk, where the parts of a sum finish it together. */
static void sums_in_parts_of_a_walk(void **state)
{
    (void)state;
    assert_int_equal(setenv("GOPT_OPENCL_WALK", "1", 1), 0);
    assert_true(run_in_parts(true) == 12);
    assert_int_equal(unsetenv("GOPT_OPENCL_WALK"), 0);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    (void)setenv("POCL_MAX_PTHREAD_COUNT", UNITS_TEXT, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant),
        cmocka_unit_test(streams),
        cmocka_unit_test(sums_in_parts),
        cmocka_unit_test(sums_in_parts_of_a_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
