/* Profiles of the opencl backend: what steps take by the device's clock, what is said where a driver has none, and what the
 * device can do at best. */
#include "unit/opencl.h"

#include <math.h>

#include "unit/faulty_cl.h"

/* ---- times that a driver gives ---- */

static enum { TIMES, NO_TIMES, TIMES_OF_ZERO } driver;

cl_int clGetEventProfilingInfo(cl_event e, cl_profiling_info what, size_t size, void *v, size_t *used)
{
    if (fails("clGetEventProfilingInfo") || driver == NO_TIMES)
        return CL_PROFILING_INFO_NOT_AVAILABLE;
    if (driver == TIMES_OF_ZERO) {
        memset(v, 0, size);
        return CL_SUCCESS;
    }
    return ((cl_int(*)(cl_event, cl_profiling_info, size_t, void *, size_t *))real("clGetEventProfilingInfo"))(
        e, what, size, v, used);
}

cl_int clEnqueueMarkerWithWaitList(cl_command_queue q, cl_uint n, const cl_event *wait, cl_event *e)
{
    if (fails("clEnqueueMarkerWithWaitList"))
        return CL_OUT_OF_RESOURCES;
    cl.alive++;
    return ((cl_int(*)(cl_command_queue, cl_uint, const cl_event *, cl_event *))real("clEnqueueMarkerWithWaitList"))(
        q, n, wait, e);
}

/* ---- a network ---- */

/* Kernels, a view, several launches in a step, and a node of the cpu. */
static const char small[] = "graph (%x: f32[2,4,16,16]) {\n"
                            "  %c = Conv %x, dense<f32[16,4,3,3], #a>, dense<f32[16], #b> { pads = [1,1,1,1] }\n"
                            "  %r = Relu %c\n"
                            "  %k = Conv %r, dense<f32[64,16,3,3], #d> { pads = [1,1,1,1] }\n"
                            "  %f = Reshape %k, dense<i64[2], [512,64]>\n"
                            "  %m = MatMul %f, dense<f32[64,64], #c>\n"
                            "  %q = Slice %m, dense<i64[2], [0,0]>, dense<i64[2], [3,3]>, dense<i64[2], [0,1]>\n"
                            "  %d = Det %q\n"
                            "  %s = Softmax %m\n"
                            "  %a = Add %s, %d\n"
                            "  return %a as \"a\"\n}\n";

/* CLBlast's, alone, and behind another launch: what it creates is not counted. */
static const char large[] = "graph (%x: f32[2,4,64,64]) {\n"
                            "  %k = Conv %x, dense<f32[128,4,3,3], #d> { pads = [1,1,1,1] }\n"
                            "  %f = Reshape %k, dense<i64[2], [1024,1024]>\n"
                            "  %m = MatMul %f, dense<f32[1024,64], #c>\n"
                            "  return %m as \"a\"\n}\n";

/* Where steps were placed is told too. */
static size_t errors(const net *n)
{
    size_t found = 0;
    for (size_t i = 0; i < gopt_diag_count(n->cx); i++)
        found += gopt_diag_get(n->cx, i)->severity == GOPT_ERROR;
    return found;
}

static net ready(const char *backend, const char *text)
{
    net n = open_net(backend, NULL, text);
    set_input(&n, 0, draw(n.cx, n.g->main->params[0]->type, 1));
    return n;
}

static void close_whole(net *n)
{
    close_net(n);
    assert_int_equal(cl.alive, 0);
}

static int well(void **state)
{
    driver = TIMES;
    return cl_begin(state);
}

/* ---- the clock ---- */

/* Does the device run it by commands of its own? */
static bool is_launched(const gopt_step_info *s)
{
    return s->node && !strcmp(s->backend, "opencl") && s->bytes > 0; /* views of the same bytes move none */
}

/* Steps follow each other, and what they took is within what the host waited; returns how many the device timed. */
static size_t check_steps(gopt_run_context *rc)
{
    const gopt_step_info *s;
    size_t timed = 0;
    double end = 0;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++) {
        assert_true(s->start_ms >= end - 1e-6);
        end = s->start_ms + s->whole_ms;
        assert_true(s->ms >= 0 && s->ms <= s->whole_ms + 1e-6);
        if (s->device_clock)
            assert_true(is_launched(s) && s->ms > 0);
        else
            assert_true(fabs(s->ms - s->whole_ms) < 1e-6);
        timed += s->device_clock;
    }
    return timed;
}

static size_t launched_steps(gopt_run_context *rc)
{
    const gopt_step_info *s;
    size_t n = 0;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++)
        n += is_launched(s);
    return n;
}

/* Runs it plainly and profiled, with the same answers: within rounding, since a plain run may be a walk, which sums in
 * another order. */
static void profile_runs(const net *n, const char *text)
{
    gopt_tensor *plain;
    assert_int_equal(gopt_run(n->rc), GOPT_OK);
    const gopt_tensor *y = gopt_run_context_output(n->rc, 0);
    assert_int_equal(gopt_tensor_create(n->cx, y->dtype, y->rank, y->dims, &plain), GOPT_OK);
    memcpy(plain->data, y->data, y->bytes);
    gopt_run_context_profile(n->rc, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(gopt_run(n->rc), GOPT_OK);
        close_enough(gopt_run_context_output(n->rc, 0), plain, false, text);
        assert_int_equal(check_steps(n->rc), launched_steps(n->rc));
    }
    gopt_run_context_profile(n->rc, false);
    assert_int_equal(gopt_run(n->rc), GOPT_OK);
    y = gopt_run_context_output(n->rc, 0);
    assert_memory_equal(plain->data, y->data, y->bytes);
    gopt_tensor_unref(plain);
}

static void steps_are_timed_by_the_device(void **state)
{
    (void)state;
    net n = ready("opencl", small);
    profile_runs(&n, small);
    assert_true(launched_steps(n.rc) > 4);
    close_whole(&n);
}

static void products_of_a_library_are_timed(void **state)
{
    (void)state;
    net n = ready("opencl", large);
    profile_runs(&n, large);
    assert_true(launched_steps(n.rc) >= 2);
    close_net(&n);
}

/* Then the host's clock counts, and nobody is told of an error. */
static void a_driver_gives_no_times(void **state)
{
    (void)state;
    net n = ready("opencl", small);
    gopt_run_context_profile(n.rc, true);
    for (int d = NO_TIMES; d <= TIMES_OF_ZERO; d++) {
        driver = d == NO_TIMES ? NO_TIMES : TIMES_OF_ZERO;
        assert_int_equal(gopt_run(n.rc), GOPT_OK);
        assert_int_equal(check_steps(n.rc), 0);
    }
    assert_int_equal(errors(&n), 0);
    driver = TIMES;
    assert_int_equal(gopt_run(n.rc), GOPT_OK);
    assert_int_equal(check_steps(n.rc), launched_steps(n.rc));
    close_whole(&n);
}

/* A profiled run in which a call fails ends in a diagnostic, or goes on by the host's clock; the next one is well. */
static void every_call_fails_once(void **state)
{
    (void)state;
    net n = ready("opencl", small);
    assert_int_equal(gopt_run(n.rc), GOPT_OK);
    const size_t launched = launched_steps(n.rc);
    gopt_run_context_profile(n.rc, true);
    size_t told = 0;
    bool queue = false, times = false, done = false;
    for (long i = 0; !done; i++) {
        cl.failed = NULL;
        cl.fail_at = cl.calls + i;
        const gopt_status st = gopt_run(n.rc);
        done = !cl.failed;
        cl.fail_at = -1;
        told += st != GOPT_OK;
        assert_int_equal(errors(&n), told);
        if (st == GOPT_OK) {
            const size_t timed = check_steps(n.rc);
            queue |= cl.failed && !strcmp(cl.failed, "clCreateCommandQueue") && timed + 1 == launched;
            times |= cl.failed && !strcmp(cl.failed, "clGetEventProfilingInfo") && timed + 1 == launched;
            assert_true(timed == launched || (cl.failed && timed + 1 == launched));
        } else {
            assert_non_null(cl.failed);
            assert_non_null(gopt_diag_get(n.cx, gopt_diag_count(n.cx) - 1)->hint);
        }
        if (i > 1) { /* until then nothing was started, and the queue that keeps times is not there */
            assert_int_equal(gopt_run(n.rc), GOPT_OK);
            assert_int_equal(check_steps(n.rc), launched);
        }
    }
    assert_true(queue && times && told > 10);
    close_whole(&n);
}

/* ---- ceilings ---- */

static void floors_are_the_longer_of_both(void **state)
{
    (void)state;
    const gopt_ceilings c = { .backend = "opencl",
                              .gflops = 1000,
                              .memory_gbytes = 100,
                              .cache_gbytes = 400,
                              .cache_bytes = 1e6,
                              .launch_ms = 1e-3 };
    const gopt_ceilings unknown = { .backend = "opencl" };
    const gopt_node *some = (const gopt_node *)(const void *)&c;
    gopt_step_info s = { .backend = "opencl", .node = some, .gflop = 1, .bytes = 1000000 };
    const struct {
        double gflop, bytes, ms;
    } cases[] = { { 1, 1e6, 1 },    { 0.001, 1e6, 2.5e-3 }, { 0.001, 2e6, 2e-2 }, { 1, 0, 1 },
                  { 0, 2e6, 2e-2 }, { 1e-9, 8, 1e-3 },      { 0, 0, 0 } };
    for (size_t i = 0; i < GI_COUNT(cases); i++) {
        assert_true(fabs(gopt_floor_ms(&c, cases[i].gflop, cases[i].bytes) - cases[i].ms) < 1e-12);
        assert_true(gopt_floor_ms(&unknown, cases[i].gflop, cases[i].bytes) == 0);
    }
    assert_true(fabs(gopt_step_floor_ms(&c, &s) - 1) < 1e-12);
    s.backend = "cpu";
    assert_true(gopt_step_floor_ms(&c, &s) == 0);
    s = (gopt_step_info){ .backend = "opencl", .bytes = 1000 }; /* a copy */
    assert_true(gopt_step_floor_ms(&c, &s) == 0);
}

static bool same(const gopt_ceilings *a, const gopt_ceilings *b)
{
    return fabs(a->gflops - b->gflops) + fabs(a->memory_gbytes - b->memory_gbytes) +
               fabs(a->cache_gbytes - b->cache_gbytes) + fabs(a->launch_ms - b->launch_ms) <
           1e-9;
}

static void ceilings_are_measured_once(void **state)
{
    (void)state;
    net n;
    gopt_ceilings c, again;
    if (getenv("GOPT_OPENCL_TENSOR")) /* emulated, it has none */
        skip();
    n = ready("cpu", small);
    assert_int_equal(gopt_engine_ceilings(n.e, false, &c), GOPT_UNSUPPORTED);
    assert_int_equal(errors(&n), 0);
    close_whole(&n);
    n = ready("opencl", small);
    assert_int_equal(gopt_engine_ceilings(n.e, false, &c), GOPT_OK);
    assert_string_equal(c.backend, "opencl");
    assert_true(c.gflops > 0.1 && c.memory_gbytes > 0.1 && c.launch_ms > 0 && c.launch_ms < 100);
    assert_true(c.cache_bytes > 0 ? c.cache_gbytes > c.memory_gbytes : c.cache_gbytes == 0);
    const long calls = cl.calls;
    assert_int_equal(gopt_engine_ceilings(n.e, false, &again), GOPT_OK);
    assert_true(same(&c, &again));
    assert_int_equal(cl.calls, calls);
    close_whole(&n);
    n = ready("opencl", small); /* what the first one left in the folder */
    const long since = cl.calls;
    assert_int_equal(gopt_engine_ceilings(n.e, false, &again), GOPT_OK);
    assert_true(same(&c, &again));
    assert_int_equal(cl.calls, since);
    close_whole(&n);
}

/* What cannot be measured is not known; it is no error, and what was known stays. */
static void ceilings_while_calls_fail(void **state)
{
    (void)state;
    net n;
    gopt_ceilings known, c;
    if (getenv("GOPT_OPENCL_TENSOR")) /* emulated, it has none */
        skip();
    n = ready("opencl", small);
    assert_int_equal(gopt_engine_ceilings(n.e, false, &known), GOPT_OK);
    bool done = false;
    for (long i = 0; !done; i += 3 + i % 7) {
        cl.failed = NULL;
        cl.fail_at = cl.calls + i;
        assert_int_equal(gopt_engine_ceilings(n.e, true, &c), GOPT_OK);
        done = !cl.failed;
        assert_true(c.gflops >= known.gflops && c.memory_gbytes >= known.memory_gbytes &&
                    c.launch_ms <= known.launch_ms);
        assert_int_equal(errors(&n), 0);
    }
    cl.fail_at = -1;
    close_whole(&n);
    assert_int_equal(setenv("XDG_CACHE_HOME", "", 1), 0); /* nothing is known */
    assert_int_equal(setenv("HOME", "", 1), 0);
    n = ready("opencl", small);
    cl.fail_at = cl.calls;
    cl.lost = true;
    assert_int_equal(gopt_engine_ceilings(n.e, false, &c), GOPT_OK);
    cl.lost = false;
    cl.fail_at = -1;
    assert_true(c.gflops == 0 && c.memory_gbytes == 0 && c.cache_gbytes == 0 && c.launch_ms == 0);
    assert_int_equal(errors(&n), 0);
    close_whole(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(steps_are_timed_by_the_device, well),
        cmocka_unit_test_setup(products_of_a_library_are_timed, well),
        cmocka_unit_test_setup(a_driver_gives_no_times, well),
        cmocka_unit_test_setup(every_call_fails_once, well),
        cmocka_unit_test(floors_are_the_longer_of_both),
        cmocka_unit_test_setup(ceilings_are_measured_once, well),
        cmocka_unit_test_setup(ceilings_while_calls_fail, well),
    };
    return cmocka_run_group_tests(tests, open_cache, close_cache);
}
