/* The runner: lists of names, limits, reports, callbacks; and what cannot be run here. */
#include "unit/unit.h"

#include "gopt/pass.h"
#include "ir/graph.h"
#include "ops/infer.h"

typedef struct fixture {
    gopt_ctx *cx;
    gopt_graph *g;
} fixture;

static const char TEXT[] = "opset 17\n"
                           "graph (%x: f32[n]) {\n"
                           "  %a = Relu %x @\"/one\"\n"
                           "  %b = Relu %a @\"/two\"\n"
                           "  %c = Identity %b @\"/three\"\n"
                           "  %d = Abs %x @\"/dead\"\n"
                           "  %y = Neg %c @\"/four\"\n"
                           "  return %y as \"out\"\n"
                           "}\n";

static void read_graph(fixture *f, const char *text)
{
    f->cx = gopt_ctx_create(NULL);
    assert_non_null(f->cx);
    assert_int_equal(gi_parse(f->cx, "test.gir", text, strlen(text), &f->g), GOPT_OK);
    assert_int_equal(gi_infer_graph(f->g), GOPT_OK);
}

static void drop_graph(fixture *f)
{
    gopt_graph_destroy(f->g);
    gopt_ctx_destroy(f->cx);
}

static void level_0_changes_nothing(void **state)
{
    (void)state;
    fixture f;
    read_graph(&f, TEXT);
    assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 0 }, NULL), GOPT_OK);
    assert_int_equal(gopt_graph_node_count(f.g), 5);
    drop_graph(&f);
}

static void the_report_tells_what_was_done(void **state)
{
    (void)state;
    fixture f;
    gopt_report *r;
    read_graph(&f, TEXT);
    assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 1, .verify_each = true }, &r), GOPT_OK);
    const gopt_report_summary *s = gopt_report_get(r);
    assert_int_equal(s->nodes_before, 5);
    assert_int_equal(s->nodes_after, 2);
    assert_int_equal(s->n_ops_before, 4);
    assert_string_equal(s->ops_before[0].op, "Abs");
    assert_string_equal(s->ops_before[3].op, "Relu");
    assert_int_equal(s->ops_before[3].count, 2);
    assert_int_equal(s->n_ops_after, 2);
    assert_string_equal(gopt_graph_output_name(f.g, 0), "out");
    bool found = false;
    for (size_t i = 0; i < s->n_remarks; i++)
        found = found || (s->remarks[i].kind == GOPT_APPLIED && !strcmp(s->remarks[i].rule, "relu_relu"));
    assert_true(found);
    gopt_report_destroy(r);
    drop_graph(&f);
}

static void unknown_names_are_usage_errors(void **state)
{
    (void)state;
    fixture f;
    read_graph(&f, TEXT);
    assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 2, .passes = "dce,nonsense" }, NULL),
                     GOPT_USAGE);
    const gopt_diag *d = gopt_diag_get(f.cx, 0);
    assert_non_null(strstr(d->message, "nonsense"));
    assert_non_null(strstr(d->hint, "constant-fold"));
    assert_int_equal(gopt_graph_node_count(f.g), 5);
    gopt_diag_clear(f.cx);
    assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 2, .skip = "nonsense" }, NULL), GOPT_USAGE);
    assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 9 }, NULL), GOPT_USAGE);
    drop_graph(&f);
}

static void passes_and_rules_can_be_skipped(void **state)
{
    (void)state;
    fixture f;
    read_graph(&f, TEXT);
    assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 1, .skip = "relu-relu, dce" }, NULL),
                     GOPT_OK);
    assert_int_equal(gopt_graph_node_count(f.g), 4);
    drop_graph(&f);
}

static void the_limit_stops_rewrites(void **state)
{
    (void)state;
    fixture f;
    gopt_report *r;
    read_graph(&f, TEXT);
    assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 2, .rewrite_limit = 1 }, &r), GOPT_OK);
    assert_true(gopt_report_get(r)->rewrite_limit_hit);
    assert_int_equal(gopt_report_get(r)->nodes_after, 3);
    gopt_report_destroy(r);
    assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 2, .rewrite_limit = -1 }, &r), GOPT_OK);
    assert_int_equal(gopt_report_get(r)->nodes_after, 3);
    gopt_report_destroy(r);
    drop_graph(&f);
}

static void count_call(void *user, gopt_graph *g, const char *pass, int index)
{
    int *calls = user;
    assert_non_null(g);
    assert_non_null(pass);
    assert_int_equal(index, ++*calls);
}

static void every_pass_is_told(void **state)
{
    (void)state;
    fixture f;
    int calls = 0;
    gopt_report *r;
    read_graph(&f, TEXT);
    const gopt_optimize_options o = { .level = 2, .after_pass = count_call, .after_pass_user = &calls };
    assert_int_equal(gopt_optimize(f.g, &o, &r), GOPT_OK);
    assert_int_equal(gopt_report_get(r)->n_passes, calls);
    gopt_report_destroy(r);
    drop_graph(&f);
}

static void regions_stay_only_where_asked(void **state)
{
    (void)state;
    static const char text[] = "graph (%x: f32[n]) {\n  %a = Exp %x\n  %y = Neg %a\n  return %y\n}\n";
    for (int fuse = 0; fuse < 2; fuse++) {
        fixture f;
        gopt_report *r;
        read_graph(&f, text);
        assert_int_equal(gopt_optimize(f.g, &(gopt_optimize_options){ .level = 2, .fuse = fuse != 0 }, &r), GOPT_OK);
        assert_int_equal(gopt_report_get(r)->fusions, 1);
        assert_int_equal(f.g->main->n_nodes, fuse ? 1 : 2);
        assert_int_equal(gopt_graph_node_count(f.g), 2);
        assert_int_equal(gi_verify(f.g), GOPT_OK);
        gopt_report_destroy(r);
        drop_graph(&f);
    }
}

static void aten_is_decoded(void **state)
{
    (void)state;
    static const char text[] =
        "opset 16\nopset \"org.pytorch.aten\" 1\nopset \"aten\" 1\nopset \"prim\" 1\n"
        "graph (%x: f32[n]) {\n"
        "  %a: f32[n] = org.pytorch.aten::ATen %x { operator = \"clamp\", overload_name = \"Tensor\" } @\"/a\"\n"
        "  %b: f32[n] = org.pytorch.aten::logcumsumexp %a @\"/b\"\n"
        "  %c: f32[n] = aten::diff %b @\"/c\"\n"
        "  %d: f32[n] = prim::PythonOp %c @\"/d\"\n"
        "  %e: f32[n] = com.acme::Thing %d @\"/e\"\n"
        "  return %e\n}\n";
    fixture f;
    const gopt_unsupported *u;
    size_t n;
    read_graph(&f, text);
    assert_int_equal(gopt_find_unsupported(f.g, &u, &n), GOPT_OK);
    assert_int_equal(n, 5);
    assert_string_equal(u[0].aten_operator, "clamp");
    assert_string_equal(u[0].overload, "Tensor");
    assert_string_equal(u[1].aten_operator, "logcumsumexp");
    assert_non_null(strstr(u[1].fix, "cumsum"));
    assert_string_equal(u[2].aten_operator, "diff");
    assert_null(u[3].aten_operator);
    assert_non_null(strstr(u[3].reason, "TorchScript"));
    assert_non_null(strstr(u[4].reason, "com.acme"));
    drop_graph(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(level_0_changes_nothing),        cmocka_unit_test(the_report_tells_what_was_done),
        cmocka_unit_test(unknown_names_are_usage_errors), cmocka_unit_test(passes_and_rules_can_be_skipped),
        cmocka_unit_test(the_limit_stops_rewrites),       cmocka_unit_test(every_pass_is_told),
        cmocka_unit_test(regions_stay_only_where_asked),  cmocka_unit_test(aten_is_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
