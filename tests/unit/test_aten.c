/* The table of PyTorch's operators: every schema reads, the spellings are recognized, and what does not fit is a
 * finding, never a crash. What lowerings compute is held against PyTorch's answers by tests/aten. */
#include "unit/unit.h"

#include <stdlib.h>

#include "aten/aten.h"
#include "ir/text.h"
#include "ops/infer.h"

typedef struct fixture {
    gopt_ctx *cx;
    gi_arena *arena;
    gopt_graph *g;
    const gopt_aten_finding *found;
    size_t n;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->cx = gopt_ctx_create(NULL);
    f->arena = gi_arena_create(f->cx);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    gopt_graph_destroy(f->g);
    gi_arena_destroy(f->arena);
    gopt_ctx_destroy(f->cx);
    free(f);
    return 0;
}

/* Reads a graph and lowers what it can. */
static void lower(fixture *f, const char *text)
{
    assert_int_equal(gi_parse(f->cx, "test.gir", text, strlen(text), &f->g), GOPT_OK);
    assert_int_equal(gi_infer_graph(f->g), GOPT_OK);
    assert_int_equal(gopt_lower_aten(f->g, &f->found, &f->n), GOPT_OK);
    assert_int_equal(gi_verify(f->g), GOPT_OK);
}

static void every_schema_reads(void **state)
{
    fixture *f = *state;
    static gi_aten_schema s[GI_ATEN_MAX_OVERLOADS];
    size_t rows = 0;
    for (const gi_aten_op *row; (row = gi_aten_row(rows)); rows++) {
        uint32_t n;
        if (strstr(row->schema, "…")) /* told in part alone: nothing is lowered by it */
            assert_null(row->lower);
        else if (!gi_aten_read_schemas(f->arena, row->schema, GI_ATEN_MAX_OVERLOADS, s, &n))
            fail_msg("%s: %s", row->name, row->schema);
        for (size_t k = 0; k < rows; k++)
            if (!strcmp(gi_aten_row(k)->name, row->name))
                fail_msg("%s stands twice", row->name);
    }
    assert_true(rows > 400);
}

static void parameters_are_read(void **state)
{
    fixture *f = *state;
    gi_aten_schema s[2];
    uint32_t n;
    assert_true(gi_aten_read_schemas(f->arena,
                                     "(Tensor self, int[2] kernel_size, int[2] stride=[], *, str mode='a, b', "
                                     "ScalarType? dtype=None) -> (Tensor, Tensor); dim: (Tensor[] list) -> Tensor[]",
                                     2, s, &n));
    assert_int_equal(n, 2);
    assert_int_equal(s[0].n_params, 5);
    assert_int_equal(s[0].n_results, 2);
    assert_int_equal(s[0].params[1].kind, GI_ATEN_INTS);
    assert_int_equal(s[0].params[1].length, 2);
    assert_string_equal(s[0].params[2].given, "[]");
    assert_string_equal(s[0].params[3].given, "'a, b'");
    assert_true(s[0].params[4].optional);
    assert_string_equal(s[1].overload, "dim");
    assert_int_equal(s[1].params[0].kind, GI_ATEN_TENSORS);
    assert_int_equal(s[1].n_results, 0);
    assert_false(gi_aten_read_schemas(f->arena, "(Tensor self", 2, s, &n));
    assert_false(gi_aten_read_schemas(f->arena, "(Tensor) -> Tensor", 2, s, &n));
}

static void all_spellings_are_lowered(void **state)
{
    fixture *f = *state;
    lower(f, "graph (%x: f32[3]) {\n"
             "  %a = org.pytorch.aten::ATen %x, %x { operator = \"add\", overload_name = \"Tensor\" }\n"
             "  %b = org.pytorch.aten::mul %a, dense<i64[], 2>\n"
             "  %c = aten::relu_ %b\n"
             "  %d = com.microsoft::ATen %c { operator = \"aten::sigmoid\" }\n"
             "  return %d\n"
             "}\n");
    assert_int_equal(f->n, 4);
    for (size_t i = 0; i < f->n; i++)
        assert_int_equal(f->found[i].outcome, GOPT_ATEN_LOWERED);
    assert_string_equal(f->found[0].what, "Add");
    assert_string_equal(f->found[1].inputs, "f32[3], i64[]");
    assert_string_equal(f->found[2].op, "relu");
}

static void an_overload_is_found_by_its_arguments(void **state)
{
    fixture *f = *state;
    /* max=2 is recorded as the overload with tensors; a lost string is the default */
    lower(f,
          "graph (%x: f32[3]) {\n"
          "  %a = org.pytorch.aten::ATen %x, _, dense<i64[], 2> { operator = \"clamp\", overload_name = \"Tensor\" }\n"
          "  return %a\n"
          "}\n");
    assert_int_equal(f->found[0].outcome, GOPT_ATEN_LOWERED);
    assert_string_equal(f->found[0].what, "Min");
}

static void what_does_not_fit_stays_with_a_reason(void **state)
{
    fixture *f = *state;
    lower(f, "graph (%x: f32[3], %l: seq(f32[2])) {\n"
             "  %a = aten::frobnicate %x\n"
             "  %b = aten::relu %x, %x, %x\n"
             "  %c = aten::add %x, %l\n"
             "  %d = aten::contiguous %a\n"
             "  %e = aten::add _, %x\n"
             "  return %a, %b, %c, %d, %e\n"
             "}\n");
    assert_int_equal(f->n, 5);
    assert_int_equal(f->found[0].outcome, GOPT_ATEN_LEFT);
    assert_non_null(strstr(f->found[0].what, "no way yet"));
    assert_non_null(strstr(f->found[1].what, "fit no overload"));
    assert_non_null(strstr(f->found[2].what, "fit no overload"));
    assert_int_equal(f->found[3].outcome, GOPT_ATEN_LOWERED);
    assert_non_null(strstr(f->found[4].what, "fit no overload"));
    const gopt_unsupported *u;
    size_t n;
    assert_int_equal(gopt_find_unsupported(f->g, &u, &n), GOPT_OK);
    assert_int_equal(n, 4);
    assert_non_null(strstr(u[1].reason, "fit no overload"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_schema_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(all_spellings_are_lowered, setup, teardown),
        cmocka_unit_test_setup_teardown(an_overload_is_found_by_its_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_stays_with_a_reason, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
