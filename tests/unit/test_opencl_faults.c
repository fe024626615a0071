/* The opencl backend where OpenCL fails: every call in turn, a device that is gone from some call on, programs that are not
 * built, memory that is used up, no driver at all. Whatever happens, a life of an engine ends in right answers or in a
 * diagnostic that says what to do, and nothing stays alive. */
#include "unit/opencl.h"

#include <unistd.h>

#include "unit/faulty_cl.h"

/* Kernels of all sorts, packed weights, and a node in the middle that the cpu runs: Det has no kernel. */
static const char network[] = "graph (%x: f32[1,4,6,6], %i: i64[3]) {\n"
                              "  %c = Conv %x, dense<f32[8,4,3,3], #a>, dense<f32[8], #b> { pads = [1,1,1,1] }\n"
                              "  %r = Relu %c\n"
                              "  %p = MaxPool %r { kernel_shape = [2,2], strides = [2,2] }\n"
                              "  %f = Reshape %p, dense<i64[2], [3,24]>\n"
                              "  %q = Slice %f, dense<i64[1], [0]>, dense<i64[1], [3]>, dense<i64[1], [1]>\n"
                              "  %d = Det %q\n"
                              "  %g = Gather %f, %i\n"
                              "  %m = MatMul %g, dense<f32[24,10], #c>\n"
                              "  %s = Softmax %m\n"
                              "  %a = Add %s, %d\n"
                              "  return %a as \"a\"\n}\n";

static const char *precision = "fp32";

typedef struct life {
    gopt_status status;
    char message[1000], hint[1000];
    long calls; /* before anything was closed */
} life;

static void run_in(gopt_ctx *cx, gopt_graph *g, gopt_run_context *rc, life *l)
{
    gopt_tensor *in[2] = { draw(cx, g->main->params[0]->type, 1), draw(cx, g->main->params[1]->type, 2) };
    for (int i = 0; i < 3; i++)
        ((int64_t *)in[1]->data)[i] = 2 - i;
    for (size_t i = 0; i < 2 && l->status == GOPT_OK; i++)
        l->status = gopt_run_context_set_input(rc, i, in[i]);
    for (int i = 0; i < 2 && l->status == GOPT_OK; i++)
        l->status = gopt_run(rc);
    if (l->status == GOPT_OK) {
        gopt_engine *e;
        gopt_run_context *reference;
        assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .reference = true }, &e), GOPT_OK);
        assert_int_equal(gopt_run_context_create(e, &reference), GOPT_OK);
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(gopt_run_context_set_input(reference, i, in[i]), GOPT_OK);
        assert_int_equal(gopt_run(reference), GOPT_OK);
        close_enough(gopt_run_context_output(rc, 0), gopt_run_context_output(reference, 0), !strcmp(precision, "fp16"),
                     network);
        gopt_run_context_destroy(reference);
        gopt_engine_destroy(e);
    }
    gopt_tensor_unref(in[0]);
    gopt_tensor_unref(in[1]);
}

/* An engine is made, runs twice and goes. Answers are right where it ends well. */
static life live(void)
{
    life l = { 0 };
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g;
    gopt_engine *e = NULL;
    gopt_run_context *rc = NULL;
    cl.calls = 0;
    cl.failed = NULL;
    assert_int_equal(gi_parse(cx, "test", network, strlen(network), &g), GOPT_OK);
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    l.status = gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl", .precision = precision }, &e);
    if (l.status == GOPT_OK)
        l.status = gopt_run_context_create(e, &rc);
    if (l.status == GOPT_OK)
        run_in(cx, g, rc, &l);
    l.calls = cl.calls;
    gopt_run_context_destroy(rc);
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
    precision = *state;
    if (!there_is_a_device())
        skip();
    life l = live(); /* builds the programs */
    assert_int_equal(l.status, GOPT_OK);
    check_life(&l, "no fault");
    l = live();
    const long calls = cl.calls;
    long errors = 0;
    assert_true(calls > 50);
    for (long i = 0; i < calls; i++) {
        char what[80];
        cl.fail_at = i;
        l = live();
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
    precision = "fp32";
    if (!there_is_a_device())
        skip();
    life l = live();
    const long calls = l.calls;
    long lost = 0;
    cl.lost = true;
    for (long i = 0; i < calls; i += 1 + i % 3) {
        char what[80];
        cl.fail_at = i;
        l = live();
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
    if (!there_is_a_device())
        skip();
    cl.no_build = true;
    life l = live();
    check_life(&l, "no program is built");
    assert_int_equal(l.status, GOPT_INTERNAL);
    assert_non_null(strstr(l.message, "does not build a kernel"));
    assert_non_null(strstr(l.hint, "--dump-kernels"));
    assert_non_null(strstr(l.hint, "--backend cpu"));
}

static void memory_is_used_up(void **state)
{
    (void)state;
    if (!there_is_a_device())
        skip();
    cl.room = 900; /* not even the largest weight */
    life l = live();
    check_life(&l, "no memory");
    assert_int_equal(l.status, GOPT_NO_MEMORY);
    assert_non_null(strstr(l.hint, "smaller batch"));
}

static void there_is_no_driver(void **state)
{
    (void)state;
    cl.no_platform = true;
    life l = live();
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
