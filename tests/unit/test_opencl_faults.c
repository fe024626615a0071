/* The opencl backend where OpenCL fails: every call in turn, a device that is gone from some call on, programs that are not
 * built, memory that is used up, no driver at all. Whatever happens, a life of an engine ends in right answers or in a
 * diagnostic that says what to do, and nothing stays alive. */
#include "unit/opencl_side.h"

#include <unistd.h>

#include "unit/faulty_cl.h"

typedef struct life {
    gopt_status status;
    char message[1000], hint[1000];
    long calls; /* before anything was closed */
} life;

/* An engine is made, runs twice and goes. Answers are right where it ends well. */
static life live(const char *precision)
{
    life l = { 0 };
    side s;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = parse(cx, with_det);
    gopt_engine *e = NULL;
    side_open(&s, with_det, 0);
    s.half = !strcmp(precision, "fp16");
    s.runs = 2;
    cl.calls = 0;
    cl.failed = NULL;
    l.status = gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl", .precision = precision }, &e);
    if (l.status == GOPT_OK) {
        s.e = e;
        (void)side_run(&s);
        l.status = s.status;
        assert_true(s.right);
    }
    l.calls = cl.calls;
    side_close(&s);
    gopt_engine_destroy(e);
    for (size_t i = 0; i < gopt_diag_count(cx); i++) {
        const gopt_diag *d = gopt_diag_get(cx, i);
        if (d->severity != GOPT_ERROR)
            continue;
        (void)snprintf(l.message, sizeof l.message, "%s", d->message);
        (void)snprintf(l.hint, sizeof l.hint, "%s", d->hint ? d->hint : "");
    }
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
    return l;
}

/* What there must be after a life, whatever failed. */
static void check_life(const life *l, const char *what)
{
    if (l->status != GOPT_OK && (!*l->message || !*l->hint)) {
        print_error("%s: status %d without message and hint: '%s' '%s'\n", what, (int)l->status, l->message, l->hint);
        fail();
    }
    if (cl.alive) {
        print_error("%s: %ld objects of OpenCL are left (status %d: %s)\n", what, cl.alive, (int)l->status, l->message);
        fail();
    }
}

static void every_call_fails_once(void **state)
{
    const char *precision = *state;
    need_a_device();
    life l = live(precision); /* builds the programs */
    assert_int_equal(l.status, GOPT_OK);
    check_life(&l, "no fault");
    l = live(precision);
    const long calls = cl.calls;
    long errors = 0;
    assert_true(calls > 50);
    for (long i = 0; i < calls; i++) {
        char what[80];
        cl.fail_at = i;
        l = live(precision);
        (void)snprintf(what, sizeof what, "call %ld of %ld (%s) failed", i, calls, cl.failed ? cl.failed : "none");
        check_life(&l, what);
        errors += l.status != GOPT_OK;
    }
    /* what a query or a program on disk answers is not needed; all else is */
    assert_true(errors > calls / 2);
}

static void a_device_disappears(void **state)
{
    (void)state;
    need_a_device();
    life l = live("fp32");
    const long calls = l.calls;
    long lost = 0;
    cl.lost = true;
    for (long i = 0; i < calls; i += 1 + i % 3) {
        char what[80];
        cl.fail_at = i;
        l = live("fp32");
        (void)snprintf(what, sizeof what, "gone from call %ld of %ld on (%s)", i, calls, cl.failed);
        check_life(&l, what);
        assert_int_not_equal(l.status, GOPT_OK);
        lost += strstr(l.hint, "the device was lost") != NULL;
    }
    assert_true(lost > calls / 6);
}

static void programs_are_not_built(void **state)
{
    (void)state;
    need_a_device();
    cl.no_build = true;
    life l = live("fp32");
    check_life(&l, "no program is built");
    assert_int_equal(l.status, GOPT_INTERNAL);
    assert_non_null(strstr(l.message, "does not build a kernel"));
    assert_non_null(strstr(l.hint, "--dump-kernels"));
    assert_non_null(strstr(l.hint, "--backend cpu"));
}

static void memory_is_used_up(void **state)
{
    (void)state;
    need_a_device();
    cl.room = 900; /* not even the largest weight */
    life l = live("fp32");
    check_life(&l, "no memory");
    assert_int_equal(l.status, GOPT_NO_MEMORY);
    assert_non_null(strstr(l.hint, "smaller batch"));
}

static void there_is_no_driver(void **state)
{
    (void)state;
    cl.no_platform = true;
    life l = live("fp32");
    check_life(&l, "no platform");
    assert_int_equal(l.status, GOPT_UNSUPPORTED);
    assert_non_null(strstr(l.message, "no OpenCL device"));
    assert_non_null(strstr(l.message, "install"));
}

int main(void)
{
    static char whole[] = "fp32", halves[] = "fp16";
    const struct CMUnitTest tests[] = {
        { "every_call_fails_once", every_call_fails_once, cl_begin, NULL, whole },
        { "every_call_fails_once_in_halves", every_call_fails_once, cl_begin, NULL, halves },
        cmocka_unit_test_setup(a_device_disappears, cl_begin),
        cmocka_unit_test_setup(programs_are_not_built, cl_begin),
        cmocka_unit_test_setup(memory_is_used_up, cl_begin),
        cmocka_unit_test_setup(there_is_no_driver, cl_begin),
    };
    (void)setenv("GOPT_OPENCL_KEEP", "1", 1);
    return cmocka_run_group_tests(tests, open_cache, close_cache);
}
