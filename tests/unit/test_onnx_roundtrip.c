/* What is read is written back: order, names, opsets, outputs of every kind. */
#include "gopt/gopt.h"
#include "unit/onnx_bytes.h"
#include "unit/unit.h"

#include <unistd.h>

static char folder[64] = "/tmp/gopt-test-XXXXXX";
static char path[96], copy[96];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/m.onnx", folder);
    snprintf(copy, sizeof copy, "%s/copy.onnx", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    unlink(copy);
    return rmdir(folder);
}

static const int64_t dims[2] = { 2, 3 };

static gopt_graph *load(gopt_ctx *cx, const char *from)
{
    gopt_graph *g = NULL;
    const gopt_status st = gopt_onnx_load(cx, from, &g);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
    return g;
}

/* Loads it, saves it, loads that. */
static gopt_graph *again(gopt_ctx *cx, bytes m, int opset)
{
    write_file(path, m.p, m.n);
    free(m.p);
    gopt_graph *g = load(cx, path);
    assert_int_equal(gopt_onnx_save(g, copy, &(gopt_save_options){ .opset = opset }), GOPT_OK);
    gopt_graph_destroy(g);
    return load(cx, copy);
}

/* Outputs: an input, a constant, one value under two names. */
static void test_outputs(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    const float w[6] = { 0 };
    bytes g = { 0 };
    sub(&g, 1, node("Relu", "x", "y", "r"));
    sub(&g, 1, node("Identity", "y", "z", "i"));
    sub(&g, 5, f32_initializer("w", 2, dims, 6, w));
    sub(&g, 11, value("x", 2, dims, "width"));
    static const char *const names[] = { "x", "w", "y", "z" };
    for (size_t i = 0; i < 4; i++)
        sub(&g, 12, value(names[i], 2, dims, i == 1 ? NULL : "width"));
    gopt_graph *b = again(cx, model(g, 8, 17), 0);
    assert_int_equal(gopt_graph_output_count(b), 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(gopt_graph_output_name(b, i), names[i]);
    assert_ptr_equal(gopt_graph_get_output(b, 0), gopt_graph_get_input(b, 0));
    char text[32];
    gopt_value_type_text(gopt_graph_get_output(b, 2), text, sizeof text);
    assert_string_equal(text, "f32[2,width]");
    gopt_graph_destroy(b);
    gopt_ctx_destroy(cx);
}

static void test_order(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    bytes g = { 0 };
    sub(&g, 1, node("Relu", "b", "y", "third"));
    sub(&g, 1, node("Relu", "a", "b", "second"));
    sub(&g, 1, node("Relu", "x", "a", "first"));
    sub(&g, 11, value("x", 2, dims, NULL));
    sub(&g, 12, value("y", 2, dims, NULL));
    gopt_graph *b = again(cx, model(g, 8, 17), 0);
    assert_int_equal(gopt_graph_node_count(b), 3);
    assert_string_equal(gopt_node_name(gopt_value_producer(gopt_graph_get_output(b, 0))), "third");
    bool noted = false;
    for (size_t i = 0; i < gopt_diag_count(cx); i++)
        noted |= strstr(gopt_diag_get(cx, i)->message, "sorted") != NULL;
    assert_true(noted);
    gopt_graph_destroy(b);
    gopt_ctx_destroy(cx);
}

/* Axes are an attribute at opset 12, an input at 18; the graph is the same from both. */
static void test_opsets(void **state)
{
    (void)state;
    for (int opset = 12; opset <= 18; opset += 6) {
        gopt_ctx *cx = gopt_ctx_create(NULL);
        bytes n = node("ReduceMean", "x", "y", "mean"), g = { 0 };
        sub(&n, 5, attr_ints("axes", 1, &(const int64_t){ 1 }));
        sub(&g, 1, n);
        sub(&g, 11, value("x", 2, dims, NULL));
        sub(&g, 12, value("y", 2, (const int64_t[]){ 2, 1 }, NULL));
        gopt_graph *b = again(cx, model(g, 7, 12), opset);
        assert_int_equal(gopt_graph_node_count(b), 1);
        assert_int_equal(gopt_value_dim(gopt_graph_get_output(b, 0), 1), 1);
        gopt_graph_destroy(b);
        gopt_ctx_destroy(cx);
    }
}

/* An operator that nobody knows comes and goes as it is. */
static void test_unknown(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    bytes n = node("Frobnicate", "x - x", "y", "f"), g = { 0 };
    str(&n, 7, "com.example");
    sub(&n, 5, attr_int("level", 3));
    sub(&g, 1, n);
    sub(&g, 11, value("x", 2, dims, NULL));
    sub(&g, 12, value("y", 2, dims, NULL));
    gopt_graph *b = again(cx, model(g, 8, 17), 0);
    const gopt_node *p = gopt_value_producer(gopt_graph_get_output(b, 0));
    assert_string_equal(gopt_node_op(p), "Frobnicate");
    gopt_graph_destroy(b);
    gopt_ctx_destroy(cx);
}

/* A branch that gives x through an operator of two inputs, x and other. */
static bytes branch(const char *name, const char *op, const char *inputs, const char *result)
{
    bytes g = { 0 }, a = { 0 };
    sub(&g, 1, node(op, inputs, result, result));
    sub(&g, 12, value(result, 2, dims, NULL));
    str(&a, 1, name);
    sub(&a, 6, g);
    num(&a, 20, 5);
    return a;
}

/* An If of c whose branches give the operator's result, or the other's. */
static gopt_status load_if(gopt_ctx *cx, const char *then_op, const char *else_op, gopt_graph **out)
{
    bytes g = { 0 }, cast = node("Cast", "c", "b", "b"), n = node("If", "b", "y", "y");
    sub(&cast, 5, attr_int("to", 9));
    sub(&n, 5, branch("then_branch", then_op, "x x", "t"));
    sub(&n, 5, branch("else_branch", else_op, "x x", "e"));
    sub(&g, 1, cast);
    sub(&g, 1, n);
    sub(&g, 11, value("c", 0, dims, NULL));
    sub(&g, 11, value("x", 2, dims, NULL));
    sub(&g, 12, value("y", 2, dims, NULL));
    bytes m = model(g, 8, 17);
    write_file(path, m.p, m.n);
    free(m.p);
    return gopt_onnx_load(cx, path, out);
}

/* A branch that no input can go through is never taken, and no reason to refuse the model; two are. */
static void test_dead_branch(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = NULL;
    assert_int_equal(load_if(cx, "MatMul", "Add", &g), GOPT_OK);
    char text[32];
    gopt_value_type_text(gopt_graph_get_output(g, 0), text, sizeof text);
    assert_string_equal(text, "f32[2,3]");
    gopt_graph_destroy(g);
    g = NULL;
    assert_int_equal(load_if(cx, "MatMul", "MatMul", &g), GOPT_BAD_INPUT);
    assert_null(g);
    gopt_ctx_destroy(cx);
}

/* Loads a model of that graph, whose first output has that type. */
static gopt_graph *load_typed(gopt_ctx *cx, bytes g, const char *expected)
{
    char text[32];
    bytes m = model(g, 8, 17);
    write_file(path, m.p, m.n);
    free(m.p);
    gopt_graph *b = load(cx, path);
    gopt_value_type_text(gopt_graph_get_output(b, 0), text, sizeof text);
    assert_string_equal(text, expected);
    return b;
}

/* Relu → y, of an input f32[of]; -1 is a dim that the file leaves out, as exporters write an open batch. */
static void declared_as(int64_t of, const char *symbol, int64_t said, const char *said_symbol, const char *expected,
                        const char *warning)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    bytes g = { 0 };
    sub(&g, 1, node("Relu", "x", "y", "r"));
    sub(&g, 11, value("x", 1, &of, symbol));
    sub(&g, 11, value("other", 1, &of, "other"));
    sub(&g, 12, value("y", 1, &said, said_symbol));
    gopt_graph *b = load_typed(cx, g, expected);
    bool warned = false;
    for (size_t i = 0; i < gopt_diag_count(cx); i++) {
        const char *said_of = gopt_diag_get(cx, i)->message;
        warned |= strstr(said_of, "is declared") != NULL;
        if (strstr(said_of, "is declared"))
            assert_string_equal(said_of, warning ? warning : "no warning");
    }
    assert_int_equal(warned, warning != NULL);
    gopt_graph_destroy(b);
    gopt_ctx_destroy(cx);
}

/* What an output is declared as holds where nothing is known, and never against what follows from the inputs. */
static void test_declared_outputs(void **state)
{
    (void)state;
    declared_as(-1, NULL, 1, NULL, "f32[?1]",
                "output 'y' is declared f32[1], but the operators yield f32[?1]: the declaration is ignored");
    declared_as(1, "batch", 1, NULL, "f32[batch]",
                "output 'y' is declared f32[1], but the operators yield f32[batch]: the declaration is ignored");
    declared_as(3, NULL, 1, NULL, "f32[3]",
                "output 'y' is declared f32[1], but the operators yield f32[3]: the declaration is ignored");
    declared_as(-1, NULL, 1, "other", "f32[?1]", NULL); /* another input's: not for every x */
    declared_as(-1, NULL, 1, "n", "f32[n]", NULL);      /* a name, which says nothing of the size */
    declared_as(3, NULL, 3, NULL, "f32[3]", NULL);
}

/* How many elements are not zero nobody knows before: there the declaration helps. */
static void test_declared_of_unknown(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    bytes g = { 0 };
    const int64_t open = -1, two = 2;
    sub(&g, 1, node("Compress", "x c", "y", "choose"));
    bytes c = node("Cast", "k", "c", "cast");
    sub(&c, 5, attr_int("to", 9));
    sub(&g, 1, c);
    sub(&g, 11, value("x", 1, &open, NULL));
    sub(&g, 11, value("k", 1, &open, NULL));
    sub(&g, 12, value("y", 1, &two, NULL));
    gopt_graph *b = load_typed(cx, g, "f32[2]");
    gopt_graph_destroy(b);
    gopt_ctx_destroy(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_outputs),
                                        cmocka_unit_test(test_order),
                                        cmocka_unit_test(test_opsets),
                                        cmocka_unit_test(test_unknown),
                                        cmocka_unit_test(test_dead_branch),
                                        cmocka_unit_test(test_declared_outputs),
                                        cmocka_unit_test(test_declared_of_unknown) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
