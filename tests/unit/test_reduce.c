/* gopt_reduce: the part that a rewrite touched is cut out, widened until it shows what is asked, and made smaller. */
#include "unit/gir.h"

#include "gopt/pass.h"
#include "gopt/report.h"

typedef struct asked {
    const char *passes, *rule; /* shows where the pass applies the rule to the graph alone */
    int questions;
} asked;

static gopt_status applies(void *user, const gopt_graph *g, bool *shows)
{
    asked *a = user;
    gopt_graph *copy;
    gopt_report *report = NULL;
    a->questions++;
    assert_int_equal(gi_verify(g), GOPT_OK);
    assert_int_equal(gopt_graph_clone(g, &copy), GOPT_OK);
    assert_int_equal(
        gopt_optimize(copy, &(gopt_optimize_options){ .level = 2, .passes = a->passes, .fuse = true }, &report),
        GOPT_OK);
    const gopt_report_summary *m = gopt_report_get(report);
    *shows = false;
    for (size_t i = 0; i < m->n_remarks; i++)
        *shows |= m->remarks[i].kind == GOPT_APPLIED && !strcmp(m->remarks[i].rule, a->rule);
    gopt_report_destroy(report);
    gopt_graph_destroy(copy);
    return GOPT_OK;
}

static gopt_graph *optimized(const gopt_graph *g, const char *passes, int64_t limit)
{
    gopt_graph *copy;
    assert_int_equal(gopt_graph_clone(g, &copy), GOPT_OK);
    assert_int_equal(
        gopt_optimize(
            copy,
            &(gopt_optimize_options){ .level = 2, .passes = passes, .rewrite_limit = limit ? limit : -1, .fuse = true },
            NULL),
        GOPT_OK);
    return copy;
}

/* The graph of rewrite `number` reduces to this text. */
static void reduces(const char *params, const char *body, const char *passes, const char *rule, int64_t number,
                    const char *want)
{
    gopt_graph *g = parse(params, body);
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    gopt_graph *before = optimized(g, passes, number - 1), *after = optimized(g, passes, number);
    asked a = { .passes = passes, .rule = rule };
    char *text = NULL;
    assert_int_equal(gopt_reduce(before, after, applies, &a, &text), GOPT_OK);
    assert_non_null(text);
    assert_string_equal(text, want);
    assert_true(a.questions < 100);
    gopt_text_free(cx, text);
    gopt_graph_destroy(before);
    gopt_graph_destroy(after);
    gopt_graph_destroy(g);
}

static void rules_are_cut_out_with_what_they_match(void **state)
{
    (void)state;
    reduces("%x: f32[n,64]",
            "%a = MatMul %x, dense<f32[64,64], #a>\n%b = Neg %a\n%c = Neg %b\n%d = Relu %c\n%y = Softmax %d",
            "identities", "neg_neg", 1,
            "opset 24\n"
            "graph \"t\" (%a: f32[n,2]) {\n"
            "  %b: f32[n,2] = Neg %a\n"
            "  %c: f32[n,2] = Neg %b\n"
            "  %d: f32[n,2] = Relu %c\n" /* without it the result would become an input, which no rule does */
            "  return %d\n"
            "}\n");
}

static void the_fault_of_one_twin_needs_the_other(void **state)
{
    (void)state;
    reduces("%x: f32[n,4]", "%a = Relu %x\n%b = Exp %a\n%c = Exp %a\n%d = Neg %b\n%y = Add %d, %c", "cse", "cse", 1,
            "opset 24\n"
            "graph \"t\" (%a: f32[n,2], %d: f32[n,2]) {\n"
            "  %b: f32[n,2] = Exp %a\n"
            "  %c: f32[n,2] = Exp %a\n"
            "  %y: f32[n,2] = Add %d, %c\n" /* without it both were results, which do not become one */
            "  return %b, %y\n"
            "}\n");
}

static void regions_are_cut_out_with_what_they_hold(void **state)
{
    (void)state;
    reduces("%x: f32[n,4]", "%a = Softmax %x\n%b = Exp %a\n%c = Neg %b\n%y = Softmax %c", "fuse-vertical",
            "fuse_vertical", 1,
            "opset 24\n"
            "graph \"t\" (%a: f32[n,2]) {\n"
            "  %b: f32[n,2] = Exp %a\n"
            "  %c: f32[n,2] = Neg %b\n"
            "  return %c\n"
            "}\n");
}

static void folding_is_cut_out(void **state)
{
    (void)state;
    reduces("%x: f32[n,4]", "%a = Neg dense<f32[4], [1,2,3,4]>\n%b = Relu %x\n%y = Add %a, %b", "constant-fold",
            "constant_fold", 1,
            "opset 24\n"
            "graph \"t\" () {\n"
            "  %a: f32[2] = Neg dense<f32[2], [1.0,2.0]>\n"
            "  return %a\n"
            "}\n");
}

static void parallel_products_stay_together(void **state)
{
    (void)state;
    gopt_graph *g =
        parse("%x: f32[n,16]", "%r = Relu %x\n%a = MatMul %r, dense<f32[16,8], #a>\n"
                               "%b = MatMul %r, dense<f32[16,8], #b>\n%c = MatMul %r, dense<f32[16,8], #c>\n"
                               "%d = Neg %a\n%e = Add %d, %b\n%y = Add %e, %c");
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    gopt_graph *before = optimized(g, "fuse-horizontal", 0), *after = optimized(g, "fuse-horizontal", 1);
    asked a = { .passes = "fuse-horizontal", .rule = "fuse_horizontal" };
    char *text = NULL;
    assert_int_equal(gopt_reduce(before, after, applies, &a, &text), GOPT_OK);
    assert_non_null(text);
    const char *first = strstr(text, "MatMul");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "MatMul"));
    assert_null(strstr(text, "Neg"));
    assert_null(strstr(text, "Relu"));
    gopt_text_free(cx, text);
    gopt_graph_destroy(before);
    gopt_graph_destroy(after);
    gopt_graph_destroy(g);
}

static gopt_status never(void *user, const gopt_graph *g, bool *shows)
{
    (void)user;
    (void)g;
    *shows = false;
    return GOPT_OK;
}

static gopt_status breaks(void *user, const gopt_graph *g, bool *shows)
{
    (void)user;
    (void)g;
    (void)shows;
    return GOPT_NO_MEMORY;
}

static void what_no_part_shows_gives_no_text(void **state)
{
    (void)state;
    char *text = NULL;
    gopt_graph *g = parse("%x: f32[n,4]", "%a = Neg %x\n%y = Neg %a");
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    gopt_graph *after = optimized(g, "identities", 1);
    assert_int_equal(gopt_reduce(g, after, never, NULL, &text), GOPT_OK);
    assert_null(text);
    assert_int_equal(gopt_reduce(g, after, breaks, NULL, &text), GOPT_NO_MEMORY);
    assert_null(text);
    gopt_graph_destroy(after);
    gopt_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rules_are_cut_out_with_what_they_match, setup, teardown),
        cmocka_unit_test_setup_teardown(the_fault_of_one_twin_needs_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(regions_are_cut_out_with_what_they_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(folding_is_cut_out, setup, teardown),
        cmocka_unit_test_setup_teardown(parallel_products_stay_together, setup, teardown),
        cmocka_unit_test_setup_teardown(what_no_part_shows_gives_no_text, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
