/* The end of image networks on the opencl backend: sums over all pixels (reduce_image.cl), in sizes that fill no chunk and
 * no group. */
#include "unit/opencl.h"

static const char *const precisions[] = { "fp32", "fp16" };

/* One item a chunk of channels and many, one pixel an item and many, groups that the last channels do not fill. */
static void sums_over_pixels(void **state)
{
    (void)state;
    if (!there_is_a_device())
        skip();
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
            assert_int_equal(check_in(precisions[k], text, false), 2);
        }
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    (void)setenv("POCL_MAX_PTHREAD_COUNT", "12", 0); /* compute units, by which groups are made */
    const struct CMUnitTest tests[] = { cmocka_unit_test(sums_over_pixels) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
