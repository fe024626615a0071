/* Binding free dimensions: shapes and symbols are put in everywhere, contradictions are named. */
#include "unit/unit.h"

#include "gopt/gopt.h"
#include "ir/graph.h"
#include "ops/infer.h"

static const char model[] = "graph (%x: f32[batch,2*seq+1,8], %mask: i64[batch,seq], %free: f32[m]) {\n"
                            "  %s = Shape %x\n"
                            "  %a = LeakyRelu %x\n"
                            "  %b = Reshape %a, dense<i64[3], [0,-1,4]>\n"
                            "  return %b as \"out\", %mask as \"mask_out\", %free as \"free_out\"\n"
                            "}\n";

typedef struct fixture {
    gopt_ctx *cx;
    gopt_graph *g;
    char text[1024];
} fixture;

static fixture start(const char *text)
{
    fixture f = { .cx = gopt_ctx_create(NULL) };
    assert_int_equal(gi_parse(f.cx, "test", text, strlen(text), &f.g), GOPT_OK);
    assert_int_equal(gi_infer_graph(f.g), GOPT_OK);
    return f;
}

static void stop(fixture *f)
{
    gopt_graph_destroy(f->g);
    gopt_ctx_destroy(f->cx);
}

static const char *type_of(fixture *f, const char *name)
{
    gopt_value_type_text(gopt_graph_find_value(f->g, name), f->text, sizeof f->text);
    return f->text;
}

static const char *said(fixture *f)
{
    assert_true(gopt_diag_count(f->cx) > 0);
    gopt_diag_format(gopt_diag_get(f->cx, 0), f->text, sizeof f->text);
    return f->text;
}

static void a_shape_binds_what_follows_from_it(void **state)
{
    (void)state;
    fixture f = start(model);
    assert_int_equal(gopt_graph_fix_shape(f.g, "x", 3, (int64_t[]){ 2, 7, 8 }), GOPT_OK);
    assert_string_equal(type_of(&f, "x"), "f32[2,7,8]");
    assert_string_equal(type_of(&f, "mask"), "i64[2,3]");
    assert_string_equal(type_of(&f, "out"), "f32[2,14,4]");
    assert_string_equal(type_of(&f, "free"), "f32[m]");
    assert_int_equal(gopt_graph_fix_rest(f.g), GOPT_OK);
    assert_string_equal(type_of(&f, "free"), "f32[1]");
    assert_non_null(strstr(said(&f), "m = 1"));
    assert_int_equal(gi_verify(f.g), GOPT_OK);
    stop(&f);
}

static void a_symbol_binds_everywhere(void **state)
{
    (void)state;
    fixture f = start(model);
    assert_int_equal(gopt_graph_fix_dim(f.g, "seq", 4), GOPT_OK);
    assert_string_equal(type_of(&f, "x"), "f32[batch,9,8]");
    assert_string_equal(type_of(&f, "out"), "f32[batch,18,4]");
    assert_int_equal(gopt_graph_fix_dim(f.g, "batch", 3), GOPT_OK);
    assert_string_equal(type_of(&f, "out"), "f32[3,18,4]");
    stop(&f);
}

static void contradictions_are_named(void **state)
{
    (void)state;
    fixture f = start(model);
    assert_int_equal(gopt_graph_fix_shape(f.g, "x", 3, (int64_t[]){ 2, 6, 8 }), GOPT_USAGE);
    assert_non_null(strstr(said(&f), "2*seq+1, which is never 6"));
    gopt_diag_clear(f.cx);
    assert_int_equal(gopt_graph_fix_shape(f.g, "x", 3, (int64_t[]){ 2, 7, 9 }), GOPT_USAGE);
    assert_non_null(strstr(said(&f), "dimension 2 is 8 in the model, found 9"));
    gopt_diag_clear(f.cx);
    assert_int_equal(gopt_graph_fix_shape(f.g, "x", 2, (int64_t[]){ 2, 7 }), GOPT_USAGE);
    assert_non_null(strstr(said(&f), "found 2 dimensions"));
    gopt_diag_clear(f.cx);
    assert_int_equal(gopt_graph_fix_shape(f.g, "y", 1, (int64_t[]){ 2 }), GOPT_USAGE);
    assert_non_null(strstr(said(&f), "x, mask, free"));
    gopt_diag_clear(f.cx);
    assert_int_equal(gopt_graph_fix_dim(f.g, "height", 2), GOPT_USAGE);
    assert_non_null(strstr(said(&f), "batch, seq, m"));
    gopt_diag_clear(f.cx);
    assert_int_equal(gopt_graph_fix_dim(f.g, "m", -2), GOPT_USAGE);
    stop(&f);
}

static void nodes_that_cannot_have_the_shape_are_named(void **state)
{
    (void)state;
    fixture f = start("graph (%x: f32[n,4]) {\n"
                      "  %a = Add %x, dense<f32[3,4], #a>\n"
                      "  return %a as \"a\"\n"
                      "}\n");
    assert_int_equal(gopt_graph_fix_dim(f.g, "n", 5), GOPT_BAD_INPUT);
    assert_non_null(strstr(said(&f), "Add"));
    bool told = false;
    for (size_t i = 0; i < gopt_diag_count(f.cx); i++)
        told = told || strstr(gopt_diag_get(f.cx, i)->message, "n = 5");
    assert_true(told);
    stop(&f);
}

static void types_inside_blocks_are_bound(void **state)
{
    (void)state;
    fixture f = start("graph (%x: f32[n,4], %k: bool[]) {\n"
                      "  %a = If %k { then_branch = block () { %t = LeakyRelu %x\n return %t },\n"
                      "               else_branch = block () { %e = Neg %x\n return %e } }\n"
                      "  return %a as \"a\"\n"
                      "}\n");
    assert_int_equal(gopt_graph_fix_dim(f.g, "n", 5), GOPT_OK);
    assert_string_equal(type_of(&f, "a"), "f32[5,4]");
    const gi_node *branch = gi_value_node(gopt_graph_find_value(f.g, "a"));
    const gi_block *b = gi_attr_graph(branch, If_at_then_branch);
    gopt_value_type_text(b->first->out[0], f.text, sizeof f.text);
    assert_string_equal(f.text, "f32[5,4]");
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shape_binds_what_follows_from_it),
        cmocka_unit_test(a_symbol_binds_everywhere),
        cmocka_unit_test(contradictions_are_named),
        cmocka_unit_test(nodes_that_cannot_have_the_shape_are_named),
        cmocka_unit_test(types_inside_blocks_are_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
