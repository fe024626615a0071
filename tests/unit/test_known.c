/* What inference knows of the contents of small integer tensors: seen at the dims of a Reshape to them. */
#include "unit/gir.h"

#include <stdio.h>

/* %t, an i64[1] made of %x: f32[b,s,6] by the lines, is this size. */
static void is(const char *lines, const char *size)
{
    char body[2048], type[128];
    snprintf(body, sizeof body,
             "%%sh = Shape %%x\n%%b = Gather %%sh, dense<i64[1], [0]>\n%%s = Gather %%sh, dense<i64[1], [1]>\n"
             "%%d = Gather %%sh, dense<i64[1], [2]>\n%s\n%%y = ConstantOfShape %%t",
             lines);
    snprintf(type, sizeof type, "f32[%s]", size);
    infers("%x: f32[b,s,6]", body, type);
}

/* The same in floats, between a Cast of %s to them and one back. */
static void is_in_floats(const char *dtype, const char *lines, const char *size)
{
    char text[1024];
    snprintf(text, sizeof text, "%%f = Cast %%s { to = %s }\n%s\n%%t = Cast %%r { to = 7 }", dtype, lines);
    is(text, size);
}

static void integers_are_followed(void **state)
{
    (void)state;
    is("%t = Add %s, %b", "b+s");
    is("%t = Mul %s, %d", "6*s");
    is("%t = Div %s, dense<i64[1], [2]>", "s/2");
    is("%e = Mul %s, dense<i64[1], [4]>\n%t = Div %e, dense<i64[1], [2]>", "2*s");
    is("%t = Max %s, dense<i64[1], [0]>", "s");
    is("%t = Clip %s, dense<i64[], 0>", "s");
    is("%t = Clip %d, dense<i64[], 0>, dense<i64[], 4>", "4");
    is("%t = Clip %s, dense<i64[], 0>, dense<i64[], 100>", "min(s,100)");
    is("%n = Neg %s\n%t = Abs %n", "s");
    is("%c = Cast %s { to = 6 }\n%e = Add %c, dense<i32[1], [1]>\n%t = Cast %e { to = 7 }", "s+1");
}

static void entries_are_put_and_picked(void **state)
{
    (void)state;
    is("%a = ScatterND %sh, dense<i64[1,1], [1]>, dense<i64[1], [4]>\n%t = Gather %a, dense<i64[1], [1]>", "4");
    is("%a = ScatterElements %sh, dense<i64[1], [-1]>, %s\n%t = Gather %a, dense<i64[1], [2]>", "s");
    is("%u = Unsqueeze %sh, dense<i64[1], [0]>\n%c = Concat %u, %u { axis = 0 }\n"
       "%r = Reshape %c, dense<i64[1], [-1]>\n%t = Gather %r, dense<i64[1], [4]>",
       "s");
    is("%u = Unsqueeze %sh, dense<i64[1], [1]>\n%c = Concat %u, %u { axis = 1 }\n"
       "%r = Reshape %c, dense<i64[1], [-1]>\n%t = Gather %r, dense<i64[1], [2]>",
       "s");
}

static void sizes_are_followed_through_floats(void **state)
{
    (void)state;
    is_in_floats("1", "%r = Mul %f, dense<f32[], 2>", "2*s");
    is_in_floats("1", "%m = Mul %f, dense<f32[], 0.5>\n%r = Floor %m", "s/2");
    is_in_floats("1", "%m = Mul %f, dense<f32[], 1.5>\n%r = Floor %m", "(3*s)/2");
    is_in_floats("1", "%r = Mul %f, dense<f32[], 0.5>", "s/2"); /* the Cast rounds down what is not negative */
    is_in_floats("1", "%m = Div %f, dense<f32[], 2>\n%r = Ceil %m", "(s+1)/2");
    is_in_floats("1", "%m = Div %f, dense<f32[], 3>\n%r = Floor %m", "s/3");
    is_in_floats("1", "%m = Add %f, dense<f32[], 1>\n%k = Mul %m, dense<f32[], 4>\n%r = Div %k, dense<f32[], 2>",
                 "2*s+2");
    is_in_floats("11", "%r = Mul %f, dense<f64[], 2>", "2*s");
    is_in_floats("1",
                 "%g = Cast %b { to = 1 }\n%c = Concat %f, %g { axis = 0 }\n%m = Mul %c, dense<f32[2], [2,3]>\n"
                 "%q = Gather %m, dense<i64[1], [1]>\n%r = Floor %q",
                 "3*b");
    is_in_floats("1", "%m = Mul %f, dense<f32[], 2>\n%k = Div %m, %f\n%r = Floor %k", "2");
}

/* The length is told by a fresh unknown, "?N": the number does not matter. */
static void is_not_known(const char *dtype, const char *lines)
{
    char body[2048], found[128];
    snprintf(body, sizeof body,
             "%%sh = Shape %%x\n%%s = Gather %%sh, dense<i64[1], [1]>\n%%f = Cast %%s { to = %s }\n%s\n"
             "%%t = Cast %%r { to = 7 }\n%%y = ConstantOfShape %%t",
             dtype, lines);
    gopt_graph *g = parse("%x: f32[b,s,6], %q: f32[1]", body);
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    gopt_value_type_text(gopt_graph_get_output(g, 0), found, sizeof found);
    assert_memory_equal(found, "f32[?", 5);
    gopt_graph_destroy(g);
}

static void what_rounds_is_not_followed(void **state)
{
    (void)state;
    is_not_known("1", "%m = Mul %f, dense<f32[], 0.3>\n%r = Floor %m");
    is_not_known("1", "%m = Mul %f, dense<f32[], 65535>\n%r = Floor %m"); /* its odd part fills the float */
    is_not_known("1", "%r = Mul %f, %f");                                 /* 5000 × 5000 is no float any more */
    is_not_known("1", "%m = Div %f, dense<f32[], 3>\n%k = Mul %m, dense<f32[], 3>\n%r = Floor %k");
    is_not_known("1", "%m = Div %f, dense<f32[], 3>\n%k = Div %m, dense<f32[], 3>\n%r = Floor %k");
    is_not_known("10", "%h = Cast %f { to = 1 }\n%r = Floor %h");                      /* through float16 */
    is_not_known("1", "%m = Sub %f, dense<f32[], 4.5>\n%r = Mul %m, dense<f32[], 1>"); /* may be negative: toward 0 */
    is_not_known("1", "%m = Mul %f, %q\n%r = Floor %m");
    is_not_known("1", "%m = Sqrt %f\n%r = Floor %m");
    is_not_known("1", "%m = Div %f, dense<f32[], 0>\n%r = Floor %m");
}

/* Another reduction than none. */
static void what_is_added_is_not_followed(void **state)
{
    (void)state;
    is_not_known("7", "%a = ScatterElements %sh, dense<i64[1], [0]>, %s { reduction = \"add\" }\n"
                      "%r = Gather %a, dense<i64[1], [0]>");
}

static void forks_do_not_explode(void **state)
{
    (void)state;
    char text[2048] = "%a0 = Cast %s { to = 1 }\n";
    for (int i = 0; i < 30; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%%a%d = Add %%a%d, %%a%d\n", i + 1, i, i);
    is_not_known("1", strcat(text, "%r = Floor %a30"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(integers_are_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(entries_are_put_and_picked, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes_are_followed_through_floats, setup, teardown),
        cmocka_unit_test_setup_teardown(what_rounds_is_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_added_is_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(forks_do_not_explode, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
