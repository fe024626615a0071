/* The opencl backend's walks: a plan as one kernel whose groups stay on the device (src/backend/opencl/walk.c). */
#include "unit/opencl.h"

#include <unistd.h>

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

/* Runs the network; was there a walk? */
static bool walks(const char *how, const char *precision)
{
    char folder[] = "/tmp/gopt-walk-XXXXXX", command[100];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("GOPT_OPENCL_WALK", how, 1), 0);
    dump = folder;
    assert_int_equal(check_in(precision, network, false), 9);
    dump = NULL;
    assert_int_equal(unsetenv("GOPT_OPENCL_WALK"), 0);
    (void)snprintf(command, sizeof command, "ls %s/*_walk.cl > /dev/null 2>&1", folder);
    const bool there = system(command) == 0;
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    return there;
}

static void a_plan_is_walked(void **state)
{
    (void)state;
    if (!there_is_a_device())
        skip();
    assert_true(walks("1", "fp16"));
    assert_true(walks("1", "fp32"));
    assert_false(walks("0", "fp16"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_plan_is_walked) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
