/* Asking a backend for its kernels before there is an engine, and what is expanded by the answer. */
#include <math.h>

#include "gopt/engine.h"
#include "gopt/pass.h"
#include "unit/gir.h"

static gopt_graph *given(const char *params, const char *body)
{
    gopt_graph *g = parse(params, body);
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    return g;
}

/* Does the cpu run the graph's first node? */
static bool runs(const char *params, const char *body)
{
    gopt_kernels *k;
    gopt_graph *g = given(params, body);
    assert_int_equal(gopt_kernels_open(cx, NULL, &k), GOPT_OK);
    const bool answer = gopt_kernels_run(k, gopt_graph_first_node(g));
    gopt_kernels_close(k);
    gopt_graph_destroy(g);
    assert_int_equal(gopt_diag_count(cx), 0);
    return answer;
}

static void asks_about_nodes(void **state)
{
    (void)state;
    assert_true(runs("%x: f32[2,3]", "%y = Relu %x"));
    assert_false(runs("%x: f32[2,3]", "%y = Mish %x"));
    assert_false(runs("%q: f32[1,2,3,4], %k: f32[1,2,3,4], %v: f32[1,2,3,4]", "%y = Attention %q, %k, %v"));
    assert_false(runs("%x: f64[2,3]", "%y = LayerNormalization %x, dense<f64[3], [1,1,1]>"));
    assert_true(runs("%x: f32[2,3]", "%y = LayerNormalization %x, dense<f32[3], [1,1,1]>"));
}

static void asks_with_numbers_for_symbols(void **state)
{
    (void)state;
    assert_true(runs("%x: f32[n,3,h,w]", "%y = Conv %x, dense<f32[4,3,3,3], #a1>"));
    assert_true(runs("%x: f32[n,2*s+1], %z: f32[n,2*s+1]", "%y = Add %x, %z"));
    assert_false(runs("%x: f32[n,s]", "%y = Mish %x"));
    assert_false(runs("%x: f32[*]", "%y = Mish %x")); /* of an unknown rank nothing has a kernel */
    /* What has a body is not expanded, so it is not asked about. */
    assert_true(runs("%c: bool[], %x: f32[n]", "%y = If %c { then_branch = block () {\n%a = Neg %x\nreturn %a\n}, "
                                               "else_branch = block () {\n%b = Abs %x\nreturn %b\n} }"));
}

/* The engine runs on the devices that were asked, and they are closed once. */
static void engine_takes_the_devices_over(void **state)
{
    (void)state;
    gopt_engine_options o = { .threads = 1 };
    gopt_engine *e;
    gopt_run_context *rc;
    gopt_tensor *x;
    gopt_graph *g = given("%x: f32[2]", "%y = Mish %x");
    assert_int_equal(gopt_kernels_open(cx, &o, &o.kernels), GOPT_OK);
    assert_int_equal(
        gopt_optimize(
            g, &(gopt_optimize_options){ .level = 2, .fuse = true, .runs = gopt_kernels_run, .runs_user = o.kernels },
            NULL),
        GOPT_OK);
    assert_int_equal(gopt_engine_create(g, &o, &e), GOPT_OK);
    assert_true(gopt_kernels_run(o.kernels, gopt_graph_first_node(g))); /* given away: nothing is said against it */
    gopt_kernels_close(o.kernels);
    assert_int_equal(gopt_run_context_create(e, &rc), GOPT_OK);
    assert_int_equal(gopt_tensor_create(cx, GOPT_F32, 1, (int64_t[]){ 2 }, &x), GOPT_OK);
    ((float *)x->data)[0] = 0;
    ((float *)x->data)[1] = 1;
    assert_int_equal(gopt_run_context_set_input(rc, 0, x), GOPT_OK);
    assert_int_equal(gopt_run(rc), GOPT_OK);
    const float *y = gopt_run_context_output(rc, 0)->data;
    assert_true(fabsf(y[0]) < 1e-6f && fabsf(y[1] - 0.8650984f) < 1e-5f);
    for (size_t i = 0; gopt_run_context_step(rc, i); i++)
        assert_string_not_equal(gopt_run_context_step(rc, i)->tactic, "reference");
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    gopt_tensor_unref(x);
    gopt_graph_destroy(g);
}

static void unknown_backend_is_refused(void **state)
{
    (void)state;
    gopt_kernels *k;
    assert_int_equal(gopt_kernels_open(cx, &(gopt_engine_options){ .backend = "tpu" }, &k), GOPT_USAGE);
    assert_null(k);
    gopt_kernels_close(k);
    gopt_diag_clear(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(asks_about_nodes, setup, teardown),
        cmocka_unit_test_setup_teardown(asks_with_numbers_for_symbols, setup, teardown),
        cmocka_unit_test_setup_teardown(engine_takes_the_devices_over, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_backend_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
