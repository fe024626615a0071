/* Programs of the opencl backend that are built side by side: each is there afterwards, and on disk; one that the driver
 * does not build takes nothing from the others. */
#include <dirent.h>

#include "backend/opencl/device.h"

#include "unit/faulty_cl.h"
#include "unit/opencl.h"

#define KERNEL(number) "__kernel void k(__global int *y WALK_ARGS)\n{\n    y[0] = " number ";\n}\n"

static const char *const sources[] = { KERNEL("1"), KERNEL("2"), KERNEL("nothing"), KERNEL("1"), KERNEL("3") };

static size_t files_of(const char *folder)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    for (const struct dirent *e; d && (e = readdir(d));)
        n += strstr(e->d_name, ".bin") != NULL;
    if (d)
        (void)closedir(d);
    return n;
}

static void built_side_by_side(void **state)
{
    (void)state;
    need_a_device();
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_arena *a = gi_arena_create(cx);
    gi_device *dev = NULL;
    assert_int_equal(gi_cl_open(cx, "", &(gopt_engine_options){ .backend = "opencl" }, &dev), GOPT_OK);
    gi_cl *d = (gi_cl *)dev;
    const size_t before = files_of(d->cache);
    assert_int_equal(gi_cl_build_all(d, a, sources, GI_COUNT(sources)), GOPT_OK);
    assert_int_equal(files_of(d->cache), before + 3);
    cl.no_build = true; /* they are there, and are not built again */
    for (size_t i = 0; i < GI_COUNT(sources); i++) {
        cl_kernel k = NULL;
        assert_int_equal(gi_cl_kernel(d, sources[i], "k", &k), i == 2 ? GOPT_INTERNAL : GOPT_OK);
        if (k)
            clReleaseKernel(k);
    }
    assert_int_equal(gi_cl_build_all(d, a, sources, GI_COUNT(sources)), GOPT_OK);
    cl.no_build = false;
    gi_str state_of_plan; /* what was only timed is in no plan file */
    gi_str_init(&state_of_plan, a);
    assert_int_equal(gi_cl_state(dev, &state_of_plan), GOPT_OK);
    const size_t none = state_of_plan.n;
    assert_non_null(gi_cl_source_in_use(d, sources[0]));
    gi_str_init(&state_of_plan, a);
    assert_int_equal(gi_cl_state(dev, &state_of_plan), GOPT_OK);
    assert_true(none == 16 && state_of_plan.n > none); /* two counts */
    gi_cl_close(dev);
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
    assert_int_equal(cl.alive, 0);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    cl.fail_at = -1;
    (void)setenv("GOPT_OPENCL_KEEP", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_side_by_side),
    };
    return cmocka_run_group_tests(tests, open_cache, close_cache);
}
