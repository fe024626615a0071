/* Dimension expressions: canonical form, arithmetic, bounds, text. */
#include "ir/dim_number.h"
#include "unit/unit.h"

static gopt_ctx *cx;
static gi_arena *arena;
static gi_dims *t;

static int setup(void **state)
{
    (void)state;
    cx = gopt_ctx_create(NULL);
    arena = gi_arena_create(cx);
    t = gi_dims_create(arena);
    return t ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    gi_arena_destroy(arena);
    gopt_ctx_destroy(cx);
    return 0;
}

static const gi_dim *D(const char *text)
{
    const char *end = "";
    const gi_dim *d = gi_dim_parse(t, text, &end);
    assert_non_null(d);
    assert_string_equal(end, "");
    return d;
}

static void expect_text(const gi_dim *d, const char *text)
{
    gi_str s;
    gi_str_init(&s, arena);
    gi_dim_print(&s, d);
    assert_string_equal(s.p, text);
    assert_ptr_equal(D(text), d);
}

static void equal_expressions_are_one_pointer(void **state)
{
    (void)state;
    assert_ptr_equal(D("a+b"), D("b+a"));
    assert_ptr_equal(D("2*(a+b)-a"), D("a+2*b"));
    assert_ptr_equal(D("(a+1)*(b-1)"), D("a*b-a+b-1"));
    assert_ptr_equal(D("a-a"), D("0"));
    assert_ptr_equal(D("(4*h+8)/4"), D("h+2"));
    assert_ptr_equal(D("(6*h)/4"), D("(3*h)/2"));
    assert_ptr_equal(D("((h-1)/2+1-1)/2"), D("(h-1)/4"));
    assert_ptr_equal(D("(2*h+1)/2"), D("h"));
}

static void division_is_exact_where_it_can_be_seen(void **state)
{
    (void)state;
    assert_ptr_equal(gi_dim_div_exact(t, D("196*768*batch"), D("768*batch")), D("196"));
    assert_ptr_equal(gi_dim_div_exact(t, D("batch*seq*12"), D("batch*12")), D("seq"));
    assert_ptr_equal(gi_dim_div_exact(t, D("(2*s+1)*(3*b)"), D("2*s+1")), D("3*b"));
    assert_ptr_equal(gi_dim_div_exact(t, D("6*a+4"), D("2")), D("3*a+2"));
    assert_null(gi_dim_div_exact(t, D("6*a+3"), D("2")));
    assert_null(gi_dim_div_exact(t, D("a+1"), D("a")));
    assert_null(gi_dim_div_exact(t, D("a"), D("0")));
}

static void bounds_decide_minimum_and_equality(void **state)
{
    (void)state;
    assert_ptr_equal(gi_dim_min(t, D("a+3"), D("a")), D("a"));
    assert_ptr_equal(gi_dim_max(t, D("a"), D("0")), D("a"));
    assert_ptr_equal(gi_dim_min(t, D("min(a,b)"), D("a+b")), gi_dim_min(t, D("a+b"), D("min(a,b)")));
    assert_int_equal(gi_dim_equal(t, D("a"), gi_dim_const(t, -1)), 0);
    assert_int_equal(gi_dim_equal(t, D("a+1"), D("a")), 0);
    assert_int_equal(gi_dim_equal(t, D("a"), D("b")), -1);
    int64_t v;
    assert_true(gi_dim_upper(D("min(a,7)"), &v));
    assert_int_equal(v, 7);
    assert_false(gi_dim_upper(D("a"), &v));
}

static void text_comes_back_the_same(void **state)
{
    (void)state;
    expect_text(D("3*(h/2)+1"), "3*(h/2)+1");
    expect_text(D("-h+w*2"), "-h+2*w");
    expect_text(D("(h+1)/2*w"), "w*((h+1)/2)");
    expect_text(D("min(a,b+1)"), "min(a,b+1)");
    expect_text(D("max(a,-9223372036854775808)"), "max(a,-9223372036854775808)");
    assert_true(gi_dim_is_unknown(gi_dim_add(t, D("a"), gi_dim_const(t, INT64_MIN)))); /* no text could say it */
    expect_text(gi_dim_sym(t, "odd name`", true), "`odd name\\x60`");
    assert_null(gi_dim_parse(t, "a+", NULL));
    assert_null(gi_dim_parse(t, "--------a", NULL));
    assert_null(gi_dim_parse(t, "99999999999999999999", NULL));
}

static void evaluates_and_substitutes(void **state)
{
    (void)state;
    const gi_binding b[] = { { D("h"), 15 }, { D("w"), 4 } };
    int64_t v;
    assert_true(gi_dim_eval(D("(h-1)/2*w+1"), b, 2, &v));
    assert_int_equal(v, 29);
    assert_false(gi_dim_eval(D("h+x"), b, 2, &v));
    assert_ptr_equal(gi_dim_subst(t, D("(h-1)/2*x"), b, 2), D("7*x"));
    assert_ptr_equal(gi_dim_mod(t, gi_dim_const(t, -7), gi_dim_const(t, 3)), D("2"));
    assert_ptr_equal(gi_dim_ceildiv(t, gi_dim_const(t, 7), gi_dim_const(t, 2)), D("4"));
}

static void overflow_is_unknown_not_undefined(void **state)
{
    (void)state;
    const gi_dim *big = gi_dim_const(t, INT64_MAX);
    assert_true(gi_dim_is_unknown(gi_dim_add(t, big, gi_dim_const(t, 1))));
    assert_true(gi_dim_is_unknown(gi_dim_mul(t, gi_dim_mul(t, D("a"), big), big)));
    const gi_dim *d = D("a");
    for (int i = 0; i < 500; i++) /* a hostile chain of divisions and products stays small */
        d = gi_dim_floordiv(t, gi_dim_add(t, gi_dim_mul(t, d, D("b")), gi_dim_const(t, i)), D("c"));
    assert_non_null(d);
}

static void expect_numbered(gi_dim_numbers *n, const char *d, const char *text)
{
    const gi_dim *is = gi_dim_numbered(n, D(d));
    assert_non_null(is);
    gi_str s;
    gi_str_init(&s, arena);
    gi_dim_print(&s, is);
    assert_string_equal(s.p, text);
}

/* What is numbered once comes out of it again as it is, whatever its unknowns were called. */
static void unknowns_are_numbered_as_they_come_up(void **state)
{
    (void)state;
    gi_dim_numbers n;
    assert_true(gi_dim_numbers_init(&n, arena));
    expect_numbered(&n, "2*h+1", "2*h+1");
    expect_numbered(&n, "?70", "?1");
    expect_numbered(&n, "?9+2*?80", "?2+2*?3");
    expect_numbered(&n, "?9+2*?70", "2*?1+?2");       /* turned around */
    expect_numbered(&n, "min(?9,?70)", "min(?1,?2)"); /* likewise */
    expect_numbered(&n, "?70", "?1");
    expect_numbered(&n, "?x+?1", "?4+?x"); /* no number: it stays, and ?1 is not the ?1 above */
    expect_numbered(&n, "?01", "?01");
    expect_numbered(&n, "?20*?21+?22*?70", "?1*?5+?6*?7"); /* not ?5*?6+?1*?7: the text's order is another */
    for (int k = 10; k < 16; k++) {
        char from[8], to[8];
        snprintf(from, sizeof from, "?1%d", k);
        snprintf(to, sizeof to, "?%d", k - 2);
        expect_numbered(&n, from, to);
    }
    expect_numbered(&n, "?113-?110", "-?8+?11"); /* by number, not by letters */
    gi_dim_numbers again;
    assert_true(gi_dim_numbers_init(&again, arena));
    static const char *const stable[] = {
        "?1", "?2+2*?3", "2*?1+?2", "?1*?4+?5*?6", "?7+?8+?9+?10+?11", "?11/(?10+1)"
    };
    for (size_t i = 0; i < sizeof stable / sizeof *stable; i++)
        expect_numbered(&again, stable[i], stable[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_expressions_are_one_pointer),
        cmocka_unit_test(division_is_exact_where_it_can_be_seen),
        cmocka_unit_test(bounds_decide_minimum_and_equality),
        cmocka_unit_test(text_comes_back_the_same),
        cmocka_unit_test(evaluates_and_substitutes),
        cmocka_unit_test(overflow_is_unknown_not_undefined),
        cmocka_unit_test(unknowns_are_numbered_as_they_come_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
