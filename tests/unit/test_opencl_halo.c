/* Convolutions whose pixels come into local memory once (halo.cl), in every variant, against reference evaluation: on
 * NVIDIA's GPUs as they are, elsewhere emulated by ptx_emulated.cl. */
#include "unit/opencl_ways.h"

/* A convolution of stride 1 by halo.cl, one program a variant: pads that differ, a residual; 72 channels, so several
 * blocks and an end within the last; several tiles over the ends of rows and images. */
static const char halo[] = "graph (%x: f32[3,72,12,11], %q: f32[3,40,12,11]) {\n"
                           "  %b = Fusion<conv> { body = block () {\n"
                           "    %p = Conv %x, dense<f32[40,72,3,3], #a>, dense<f32[40], #b> { pads = [2,0,0,2] }\n"
                           "    %pa = Add %p, %q\n    %pr = Relu %pa\n    return %pr } }\n"
                           "  return %b as \"b\"\n}\n";

/* Windows of 5 by 5 and 2 by 3; no pads; results of 130 channels, and of 8; tiles of several images. */
static const char windows[] = "graph (%x: f32[2,24,9,12], %s: f32[6,40,4,3]) {\n"
                              "  %c = Conv %x, dense<f32[130,24,3,3], #d>, dense<f32[130], #e>\n"
                              "  %f = Conv %x, dense<f32[8,24,5,5], #f> { pads = [2,2,2,2] }\n"
                              "  %g = Conv %f, dense<f32[40,8,2,3], #a1> { pads = [0,1,0,0] }\n"
                              "  %t = Fusion<conv> { body = block () {\n"
                              "    %h = Conv %s, dense<f32[40,40,3,3], #b1> { pads = [1,1,1,1] }\n"
                              "    %hs = Add %h, %s\n    return %hs } }\n"
                              "  return %c as \"c\", %g as \"g\", %t as \"t\"\n}\n";

/* A long sum of one tile, in parts: of blocks of channels. */
static const char sums[] = "graph (%x: f32[1,136,5,6]) {\n"
                           "  %y = Conv %x, dense<f32[40,136,3,3], #a>, dense<f32[40], #b> { pads = [1,1,1,1] }\n"
                           "  return %y as \"y\"\n}\n";

/* Ways of halo.cl to compute a small convolution; without splits, since no sum is long. */
static int halo_ways(gi_cl_way *ways)
{
    const gi_cl d = { .units = 12 };
    gi_cl_mma p = { .ints = { [GI_CL_MMA_M] = 64, [GI_CL_MMA_ROOM] = 64, [GI_CL_MMA_CHUNKS] = 1 } };
    static const struct {
        int of;
        int64_t n;
    } sizes[] = { { GI_CL_MMA_TAPS, 9 },    { GI_CL_MMA_ROW, 128 }, { GI_CL_MMA_X_H, 8 }, { GI_CL_MMA_X_W, 8 },
                  { GI_CL_MMA_PIXELS, 64 }, { GI_CL_MMA_WIDTH, 8 }, { GI_CL_MMA_KW, 3 },  { GI_CL_MMA_SH, 1 },
                  { GI_CL_MMA_SW, 1 },      { GI_CL_MMA_DH, 1 },    { GI_CL_MMA_DW, 1 } };
    for (size_t i = 0; i < GI_COUNT(sizes); i++)
        p.ints[sizes[i].of] = sizes[i].n;
    const int found = gi_cl_mma_ways(&d, &p, false, ways);
    int n = 0;
    for (int i = 0; i < found; i++) {
        char name[GI_CL_MMA_NAME];
        gi_cl_mma_name(&p, ways[i], name, sizeof name);
        if (!strncmp(name, "halo_", 5))
            ways[n++] = ways[i];
    }
    return n;
}

static void every_halo(void **state)
{
    gi_cl_way ways[MOST_WAYS];
    (void)state;
    const int n = halo_ways(ways), full = getenv("GOPT_TEST_FULL") != NULL;
    assert_in_range(n, 4, MOST_WAYS);
    for (int i = 0; i < n; i++) {
        run_as(ways[i], halo, 1);
        if (full || i == 0)              /* emulated kernels take long to compile */
            run_as(ways[i], windows, 3); /* five rows of a window of 5 by 5 do not always find room */
    }
    run_in(GI_CL_TF32, ways[0], halo, 1);
    run_in(GI_CL_TF32, ways[1], halo, 1);
    ways[0].splits = 2;
    run_as(ways[0], sums, 1);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_halo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
