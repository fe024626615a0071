/* Pictures: the limits of the process that draws, what is drawn where it fails, and text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/gir.h"

#include "gopt/report.h"
#include "viz/layout.h"

static char folder[] = "/tmp/gopt-test-viz-XXXXXX";
static char script[64], picture[64];

static int enter(void **state)
{
    assert_non_null(mkdtemp(folder));
    snprintf(script, sizeof script, "%s/helper", folder);
    snprintf(picture, sizeof picture, "%s/o.svg", folder);
    return setup(state);
}

static int leave(void **state)
{
    unlink(script);
    unlink(picture);
    rmdir(folder);
    return teardown(state);
}

/* A program that stands in for gopt as the one that draws. */
static void helper_is(const char *body)
{
    FILE *f = fopen(script, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", body);
    fclose(f);
    assert_int_equal(chmod(script, 0700), 0);
}

static char *contents(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    char *s = calloc(1, 1 << 20);
    assert_non_null(s);
    s[fread(s, 1, (1 << 20) - 1, f)] = 0;
    fclose(f);
    return s;
}

static gopt_graph *small(void)
{
    return parse("%x: f32[2,3]", "%a = Relu %x\n %b = Sigmoid %x\n %y = Add %a, %b");
}

/* The last diagnostic says so. */
static void said(gopt_severity severity, const char *words)
{
    const gopt_diag *d = gopt_diag_get(cx, gopt_diag_count(cx) - 1);
    assert_int_equal(d->severity, severity);
    if (!strstr(d->message, words))
        fail_msg("\"%s\" does not say \"%s\"", d->message, words);
}

/* As SVG the picture is made all the same; DOT text alone, or another format, is refused with the reason. */
static void falls_back(const gopt_svg_options *o, const char *reason)
{
    gopt_graph *g = small();
    unlink(picture);
    assert_int_equal(gopt_picture_save(g, NULL, NULL, picture, GOPT_SVG, o), GOPT_OK);
    said(GOPT_NOTE, reason);
    char *svg = contents(picture);
    assert_non_null(svg);
    assert_non_null(strstr(svg, "</svg>"));
    assert_non_null(strstr(svg, ">Sigmoid</text>"));
    free(svg);
    unlink(picture);
    assert_int_equal(gopt_picture_save(g, NULL, NULL, picture, GOPT_PNG, o), GOPT_UNSUPPORTED);
    said(GOPT_ERROR, reason);
    assert_int_equal(gopt_svg_save(cx, "digraph { a -> b }", picture, o), GOPT_UNSUPPORTED);
    said(GOPT_ERROR, reason);
    assert_int_not_equal(access(picture, F_OK), 0);
    gopt_graph_destroy(g);
}

static void test_time_runs_out(void **state)
{
    (void)state;
    helper_is("exec sleep 60");
    falls_back(&(gopt_svg_options){ .helper = script, .seconds = 1 }, "took over 1 s");
}

static void test_crash(void **state)
{
    (void)state;
    helper_is("kill -SEGV $$");
    falls_back(&(gopt_svg_options){ .helper = script }, "ended by signal 11");
}

static void test_it_says_why(void **state)
{
    (void)state;
    helper_is("echo 'no such font' >&2; exit 3");
    falls_back(&(gopt_svg_options){ .helper = script }, "could not draw the graph: no such font");
}

static void test_no_helper(void **state)
{
    (void)state;
    falls_back(&(gopt_svg_options){ .helper = "/nowhere/gopt" }, "cannot be started");
}

static void test_no_graphviz(void **state)
{
    (void)state;
    helper_is("exit 4");
    falls_back(&(gopt_svg_options){ .helper = script }, "has no graphviz");
}

/* The helper gets its limits, and no others that stand in the environment. */
static void test_limits_are_handed_on(void **state)
{
    (void)state;
    setenv("GOPT_SVG_MEMORY", "1", 1);
    helper_is("echo \"$GOPT_SVG_SECONDS s, $GOPT_SVG_MEMORY bytes\" >&2; exit 3");
    falls_back(&(gopt_svg_options){ .helper = script, .seconds = 7, .memory = 12345678 }, "7 s, 12345678 bytes");
    unsetenv("GOPT_SVG_MEMORY");
}

/* The program itself, in less memory than graphviz' libraries need for a large graph. */
static void test_memory_runs_out(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* the sanitizer reserves terabytes, so there is no limit */
#endif
    const char *program = getenv("GOPT_PROGRAM");
    if (!program)
        skip();
    gi_str dot;
    gi_arena *a = gi_arena_create(cx);
    gi_str_init(&dot, a);
    gi_str_add(&dot, "digraph {\n");
    for (int i = 0; i < 200000; i++)
        gi_str_addf(&dot, "n%d -> n%d\n", i, i + 1);
    gi_str_add(&dot, "}\n");
    const gopt_svg_options o = { .helper = program, .seconds = 60, .memory = (uint64_t)80 << 20 };
    assert_int_equal(gopt_svg_save(cx, dot.p, picture, &o), GOPT_UNSUPPORTED);
    gi_arena_destroy(a);
    falls_back(&(gopt_svg_options){ .helper = program, .memory = 1 << 20 }, "");
}

/* ---- text ---- */

static void clips(const char *text, size_t most, const char *expected)
{
    gi_arena *a = gi_arena_create(cx);
    gi_str s;
    gi_str_init(&s, a);
    gi_text_clip(&s, text, most);
    assert_string_equal(s.p ? s.p : "", expected);
    gi_arena_destroy(a);
}

static void test_text_is_clean(void **state)
{
    (void)state;
    clips("plain", 10, "plain");
    clips("é日本𝄞", 10, "é日本𝄞");
    clips("a\nb\tc\x1b[0m\x7f", 20, "a?b?c?[0m?");
    clips("\xff\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80", 20, "??????????");
    clips("\xc2\x85\xef\xbf\xbe", 20, "?????"); /* a control of C1; no character */
    clips("a\xe2\x80\xae"
          "b\xe2\x81\xa6"
          "c\xef\xbb\xbf",
          20, "a???b???c???"); /* directions, byte order */
    clips("0123456789", 7, "01…6789");
    clips("ééééééééé", 4, "é…éé");
    clips("\xe2\x80", 10, "??"); /* cut off in the middle */
}

static void test_text_is_escaped(void **state)
{
    (void)state;
    gi_arena *a = gi_arena_create(cx);
    gi_str s;
    gi_str_init(&s, a);
    gi_text_escape(&s, "<a b=\"c\">&[d]</a>");
    assert_string_equal(s.p, "&lt;a b=&quot;c&quot;&gt;&amp;&#91;d&#93;&lt;/a&gt;");
    gi_arena_destroy(a);
}

static void test_wider_text_is_wider(void **state)
{
    (void)state;
    assert_true(gi_text_width("iiii", 10, false) < gi_text_width("mmmm", 10, false));
    assert_true(gi_text_width("mmmm", 10, false) < gi_text_width("mmmm", 10, true));
    assert_true(gi_text_width("aaaa", 10, false) < gi_text_width("日本語字", 10, false));
    assert_float_equal(gi_text_width("0", 10, false), 5.56, 1e-9);
}

/* ---- layers ---- */

/* A chain beside a long link; ranks rise along every link, and what stands in one layer does not overlap. */
static void test_layers(void **state)
{
    (void)state;
    gi_arena *a = gi_arena_create(cx);
    gi_layers l;
    gi_layers_init(&l, a);
    for (int i = 0; i < 6; i++)
        assert_true(gi_layers_add(&l, 50, 20));
    static const uint32_t links[][2] = { { 0, 1 }, { 1, 2 }, { 2, 3 }, { 0, 3 }, { 0, 4 }, { 5, 3 } };
    for (size_t i = 0; i < GI_COUNT(links); i++)
        assert_true(gi_push(a, &l.links, (gi_link){ .from = links[i][0], .to = links[i][1] }));
    assert_int_equal(gi_layers_rank(&l, NULL, NULL), GOPT_OK);
    assert_int_equal(gi_layers_place(&l), GOPT_OK);
    gi_layers_rows(&l, NULL);
    assert_int_equal(l.ranks, 4);
    static const uint32_t ranks[] = { 0, 1, 2, 3, 1, 0 };
    for (uint32_t v = 0; v < 5; v++)
        assert_int_equal(l.rank.p[v], ranks[v]);
    assert_true(l.links.p[5].back);      /* against the order of the schedule */
    assert_int_equal(l.links.p[3].n, 2); /* past two layers */
    for (uint32_t v = 0; v < l.w.n; v++)
        for (uint32_t u = 0; u < v; u++)
            if (l.rank.p[u] == l.rank.p[v])
                assert_true(fabs(l.x[u] - l.x[v]) >= (l.w.p[u] + l.w.p[v]) / 2);
    gi_arena_destroy(a);
}

/* An anchor holds both at the height of the lower one, and what is behind it as well. */
static void test_layers_of_two(void **state)
{
    (void)state;
    gi_arena *a = gi_arena_create(cx);
    gi_layers l, m;
    gi_layers_init(&l, a);
    gi_layers_init(&m, a);
    for (int i = 0; i < 4; i++)
        assert_true(gi_layers_add(&l, 50, 20));
    for (int i = 0; i < 3; i++)
        assert_true(gi_layers_add(&m, 50, 40));
    for (uint32_t i = 0; i < 3; i++)
        assert_true(gi_push(a, &l.links, (gi_link){ .from = i, .to = i + 1 }));
    for (uint32_t i = 0; i < 2; i++)
        assert_true(gi_push(a, &m.links, (gi_link){ .from = i, .to = i + 1 }));
    gi_anchors anchors = { 0 };
    assert_true(gi_push(a, &anchors, (gi_anchor){ 0, 0 }));
    assert_true(gi_push(a, &anchors, (gi_anchor){ 2, 1 }));
    assert_int_equal(gi_layers_rank(&l, &m, &anchors), GOPT_OK);
    assert_int_equal(m.rank.p[1], 2);
    assert_int_equal(m.rank.p[2], 3);
    assert_int_equal(gi_layers_place(&l), GOPT_OK);
    assert_int_equal(gi_layers_place(&m), GOPT_OK);
    gi_layers_rows(&l, &m);
    for (uint32_t r = 0; r < l.ranks; r++)
        assert_float_equal(l.row_y[r], m.row_y[r], 0);
    assert_float_equal(l.row_h[0], 40, 0);
    gi_arena_destroy(a);
}

/* A layer too wide for a picture is laid in several; what reads from it stands below them all. */
static void test_wide_layers(void **state)
{
    (void)state;
    enum { WIDE = 1000 };
    gi_arena *a = gi_arena_create(cx);
    gi_layers l;
    gi_layers_init(&l, a);
    for (uint32_t i = 0; i <= WIDE; i++)
        assert_true(gi_layers_add(&l, 100, 20));
    for (uint32_t i = 0; i < WIDE; i++)
        assert_true(gi_push(a, &l.links, (gi_link){ .from = i, .to = WIDE }));
    assert_int_equal(gi_layers_rank(&l, NULL, NULL), GOPT_OK);
    for (uint32_t i = 0; i < WIDE; i++)
        assert_true(l.rank.p[i] < l.rank.p[WIDE]);
    assert_int_equal(gi_layers_place(&l), GOPT_OK);
    gi_layers_rows(&l, NULL);
    assert_true(l.ranks > 10);
    assert_true(l.width < 10000 && l.width > 4000);
    gi_arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_runs_out),   cmocka_unit_test(test_crash),
        cmocka_unit_test(test_it_says_why),     cmocka_unit_test(test_no_helper),
        cmocka_unit_test(test_no_graphviz),     cmocka_unit_test(test_limits_are_handed_on),
        cmocka_unit_test(test_memory_runs_out), cmocka_unit_test(test_text_is_clean),
        cmocka_unit_test(test_text_is_escaped), cmocka_unit_test(test_wider_text_is_wider),
        cmocka_unit_test(test_layers),          cmocka_unit_test(test_layers_of_two),
        cmocka_unit_test(test_wide_layers),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
