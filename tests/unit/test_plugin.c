/* Operators that a program adds by itself (gopt_ctx_add_operator): what they see of a node, what they may hand back. How
 * shared objects are loaded and refused is in tests/plugin. */
#include "unit/gir.h"

#include <stdlib.h>

#include "gopt/gopt.h"

/* ---- an operator that shows what it sees ---- */

static gopt_status no_types(const gopt_plugin_call *c)
{
    (void)c;
    return GOPT_OK;
}

/* y: f32 of the attributes' sum, checked on the way. */
static gopt_status sum_attributes(const gopt_plugin_call *c)
{
    size_t n_ints, n_floats, n_words, n_none;
    gopt_plugin_tensor t;
    const int64_t *ints = gopt_plugin_ints(c, "ints", &n_ints);
    const float *floats = gopt_plugin_floats(c, "floats", &n_floats);
    const char *const *words = gopt_plugin_strings(c, "words", &n_words);
    float sum = (float)gopt_plugin_int(c, "i", 0) + gopt_plugin_float(c, "f", 0);
    for (size_t i = 0; i < n_ints; i++)
        sum += (float)ints[i];
    for (size_t i = 0; i < n_floats; i++)
        sum += floats[i];
    if (n_words != 2 || strcmp(words[1], "b") != 0 || strcmp(gopt_plugin_string(c, "s", "?"), "text") != 0)
        return gopt_plugin_fail(c, "the texts are other ones");
    if (gopt_plugin_int(c, "f", -1) != -1 || gopt_plugin_ints(c, "nowhere", &n_none) || n_none)
        return gopt_plugin_fail(c, "an attribute of another kind was given");
    if (gopt_plugin_tensor_attribute(c, "i", &t) || gopt_plugin_int(c, "absent", 7) != 7)
        return gopt_plugin_fail(c, "an absent attribute was given");
    float *y = gopt_plugin_output(c, 0, GOPT_F32, 0, NULL);
    if (!y || y != gopt_plugin_output(c, 0, GOPT_F32, 0, NULL)) /* asked twice: the same memory */
        return GOPT_NO_MEMORY;
    *y = sum + *(const float *)c->user;
    return GOPT_OK;
}

static void attributes_are_read(void **state)
{
    static float more = 0.5F;
    (void)state;
    const gopt_plugin_op op = {
        .abi = GOPT_PLUGIN_ABI, .domain = "test", .name = "Sum", .types = no_types, .run = sum_attributes, .user = &more
    };
    assert_int_equal(gopt_ctx_add_operator(cx, &op), GOPT_OK);
    evaluates("%y : f32[] = test::Sum { i = 3, f = 0.25, s = \"text\", ints = [10, 20], floats = [0.5, 1.0], words = "
              "[\"a\", \"b\"] }",
              ": 35.25");
}

/* ---- types ---- */

/* [n,m] → [m,n], and behind it contents of the second input where they are known. */
static gopt_status turned(const gopt_plugin_call *c)
{
    const gopt_plugin_tensor *x = c->in;
    if (c->n_in < 1 || !x->given || x->rank != 2)
        return gopt_plugin_fail(c, "expected a matrix");
    int64_t dims[3] = { x->dims[1], x->dims[0], -1 };
    const bool more = c->n_in > 1 && c->in[1].given;
    if (more && c->in[1].data && c->in[1].dtype == GOPT_I64 && c->in[1].bytes == sizeof *dims)
        dims[2] = *(const int64_t *)c->in[1].data;
    return gopt_plugin_set_type(c, 0, x->dtype, more ? 3 : 2, dims);
}

static gopt_status never(const gopt_plugin_call *c)
{
    return gopt_plugin_fail(c, "it must not run");
}

static const gopt_plugin_op turn = {
    .abi = GOPT_PLUGIN_ABI, .domain = "test", .name = "Turn", .types = turned, .run = never
};

static void symbols_go_through(void **state)
{
    (void)state;
    assert_int_equal(gopt_ctx_add_operator(cx, &turn), GOPT_OK);
    infers("%x: f32[n,2*m+1]", "%y = test::Turn %x", "f32[2*m+1,n]");
    infers("%x: f32[n,n]", "%y = test::Turn %x", "f32[n,n]");
    infers("%x: f16[3,m]", "%y = test::Turn %x, dense<i64[1], [5]>", "f16[m,3,5]");
    infers("%x: f32[3,m], %z: f32[7]", "%s = Shape %z\n%y = test::Turn %x, %s", "f32[m,3,7]");
    infer_refuses("%x: f32[3]", "%y = test::Turn %x", "its plugin, the program, says: expected a matrix");
    infer_refuses("%x: f32[3]", "%y = test::Turn", "expected a matrix");
}

static void what_comes_behind_is_typed(void **state)
{
    (void)state;
    assert_int_equal(gopt_ctx_add_operator(cx, &turn), GOPT_OK);
    infers("%x: f32[n,3]", "%t = test::Turn %x\n%s = Shape %t\n%y = Concat %s, %s { axis = 0 }", "i64[4]");
}

/* ---- running ---- */

/* All but the first output is optional; inputs may be absent. */
static gopt_status count_inputs(const gopt_plugin_call *c)
{
    float *y = gopt_plugin_output(c, 0, GOPT_F32, 1, (const int64_t[]){ 2 });
    if (!y)
        return GOPT_NO_MEMORY;
    y[0] = (float)c->n_in;
    y[1] = 0;
    for (uint32_t i = 0; i < c->n_in; i++)
        y[1] += c->in[i].given ? 1.0F : 0.0F;
    return gopt_plugin_output(c, 1, GOPT_F32, 0, NULL) ? gopt_plugin_fail(c, "an output too many") : GOPT_OK;
}

static void absent_inputs_are_told(void **state)
{
    (void)state;
    const gopt_plugin_op op = {
        .abi = GOPT_PLUGIN_ABI, .domain = "test", .name = "Count", .types = no_types, .run = count_inputs
    };
    assert_int_equal(gopt_ctx_add_operator(cx, &op), GOPT_OK);
    evaluates("%y = test::Count dense<f32[1], [5.0]>, _, dense<f32[1], [6.0]>", "2: 3 2");
    evaluates("%y = test::Count", "2: 0 0");
}

static void kinds_that_plugins_do_not_see_are_refused(void **state)
{
    gopt_graph *g;
    gopt_tensor *y = NULL;
    (void)state;
    assert_int_equal(gopt_ctx_add_operator(cx, &turn), GOPT_OK);
    g = parse("", "%l = SequenceConstruct dense<f32[1], [5.0]>\n%y = test::Turn %l");
    assert_int_equal(gi_infer_graph(g), GOPT_UNSUPPORTED);
    assert_int_equal(gi_eval_graph(g, NULL, &y), GOPT_UNSUPPORTED);
    assert_non_null(strstr(gopt_diag_get(cx, gopt_diag_count(cx) - 1)->message, "a sequence, optional or map"));
    gopt_graph_destroy(g);
}

static gopt_status wrong_in_types(const gopt_plugin_call *c)
{
    return gopt_plugin_output(c, 0, GOPT_F32, 0, NULL) ? GOPT_OK : GOPT_INTERNAL;
}

static gopt_status wrong_in_run(const gopt_plugin_call *c)
{
    return gopt_plugin_set_type(c, 0, GOPT_F32, 0, NULL);
}

static void functions_of_the_other_half_are_refused(void **state)
{
    (void)state;
    const gopt_plugin_op a = {
        .abi = GOPT_PLUGIN_ABI, .domain = "test", .name = "A", .types = wrong_in_types, .run = never
    };
    const gopt_plugin_op b = {
        .abi = GOPT_PLUGIN_ABI, .domain = "test", .name = "B", .types = no_types, .run = wrong_in_run
    };
    assert_int_equal(gopt_ctx_add_operator(cx, &a), GOPT_OK);
    assert_int_equal(gopt_ctx_add_operator(cx, &b), GOPT_OK);
    infer_refuses("", "%y = test::A", "asks for an output's memory while it says types");
    eval_refuses("%y = test::B", "sets a type while it runs");
}

/* ---- adding ---- */

static void claims_are_refused(void **state)
{
    (void)state;
    gopt_plugin_op op = turn;
    op.abi = GOPT_PLUGIN_ABI + 1;
    says(gopt_ctx_add_operator(cx, &op), "ABI 2, expected 1");
    op = turn;
    op.name = NULL;
    says(gopt_ctx_add_operator(cx, &op), "no name");
    op = turn;
    op.types = NULL;
    says(gopt_ctx_add_operator(cx, &op), "no function `types`");
    op = turn;
    op.domain = "ai.onnx";
    op.name = "Conv";
    says(gopt_ctx_add_operator(cx, &op), "ai.onnx::Conv, an operator that gopt has");
    op.domain = "com.microsoft";
    op.name = "BiasGelu";
    says(gopt_ctx_add_operator(cx, &op), "com.microsoft::BiasGelu, an operator that gopt has");
    says(gopt_ctx_add_operator(cx, NULL), "NULL");
    assert_int_equal(gopt_ctx_add_operator(cx, &turn), GOPT_OK);
    says(gopt_ctx_add_operator(cx, &turn), "which the program gives already");
}

static void names_are_copied(void **state)
{
    char name[] = "Turn", domain[] = "test";
    gopt_plugin_use use;
    (void)state;
    gopt_plugin_op op = turn;
    op.name = name;
    op.domain = domain;
    assert_int_equal(gopt_ctx_add_operator(cx, &op), GOPT_OK);
    name[0] = domain[0] = 'X';
    gopt_graph *g = parse("%x: f32[n,3]", "%t = test::Turn %x\n%y = Relu %t");
    assert_true(gopt_node_plugin(gopt_graph_first_node(g), &use));
    assert_string_equal(use.name, "Turn");
    assert_null(use.file);
    assert_false(gopt_node_plugin(gopt_node_next(gopt_graph_first_node(g)), &use));
    gopt_graph_destroy(g);
}

static void contexts_know_nothing_of_each_other(void **state)
{
    const gopt_unsupported *list;
    size_t n;
    (void)state;
    gopt_ctx *other = gopt_ctx_create(NULL);
    assert_int_equal(gopt_ctx_add_operator(other, &turn), GOPT_OK);
    gopt_graph *g = parse("%x: f32[n,3]", "%y = test::Turn %x");
    assert_int_equal(gopt_find_unsupported(g, &list, &n), GOPT_OK);
    assert_int_equal(n, 1);
    assert_int_equal(gopt_ctx_add_operator(cx, &turn), GOPT_OK);
    assert_int_equal(gopt_find_unsupported(g, &list, &n), GOPT_OK);
    assert_int_equal(n, 0);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attributes_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(symbols_go_through, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_behind_is_typed, setup, teardown),
        cmocka_unit_test_setup_teardown(absent_inputs_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(kinds_that_plugins_do_not_see_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_of_the_other_half_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(claims_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(contexts_know_nothing_of_each_other, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
