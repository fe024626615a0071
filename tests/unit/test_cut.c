/* Parts of graphs: gopt_graph_extract, gopt_graph_split and gopt_cut_unsupported. */
#include "unit/gir.h"

#include "gopt/pass.h"

static gopt_graph *graph(const char *params, const char *body, const char *results)
{
    char text[8192];
    gopt_graph *g = NULL;
    snprintf(text, sizeof text, "opset 21\ngraph \"t\" (%s) {\n%s\n  return %s\n}\n", params, body, results);
    if (gi_parse(cx, "test", text, strlen(text), &g) != GOPT_OK || gi_infer_graph(g) != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_non_null(g);
    return g;
}

/* "x:f32[2] > Relu Neg > y:f32[2]": inputs, operators of the main graph, outputs. */
static void is(const gopt_graph *g, const char *want)
{
    char found[2048], type[128];
    size_t n = 0;
    assert_non_null(g);
    assert_int_equal(gi_verify(g), GOPT_OK);
    for (size_t i = 0; i < gopt_graph_input_count(g); i++) {
        gopt_value_type_text(gopt_graph_get_input(g, i), type, sizeof type);
        n += (size_t)snprintf(found + n, sizeof found - n, "%s:%s ", gopt_graph_input_name(g, i), type);
    }
    n += (size_t)snprintf(found + n, sizeof found - n, ">");
    for (const gi_node *k = g->main->first; k; k = k->next)
        n += (size_t)snprintf(found + n, sizeof found - n, " %s", k->op_name);
    n += (size_t)snprintf(found + n, sizeof found - n, " >");
    for (size_t i = 0; i < gopt_graph_output_count(g); i++) {
        gopt_value_type_text(gopt_graph_get_output(g, i), type, sizeof type);
        n += (size_t)snprintf(found + n, sizeof found - n, " %s:%s", gopt_graph_output_name(g, i), type);
    }
    assert_string_equal(found, want);
}

/* ---- extracting ---- */

typedef const char *const names[4];

static size_t count(names p)
{
    size_t n = 0;
    while (n < 4 && p[n])
        n++;
    return n;
}

static void extracts(const gopt_graph *g, names in, names out, const char *want)
{
    gopt_graph *part;
    const gopt_status s = gopt_graph_extract(g, in, count(in), out, count(out), &part);
    if (s != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(s, GOPT_OK);
    is(part, want);
    gopt_graph_destroy(part);
}

static void refuses(const gopt_graph *g, names in, names out, const char *message, const char *hint)
{
    gopt_graph *part;
    assert_int_equal(gopt_graph_extract(g, in, count(in), out, count(out), &part), GOPT_USAGE);
    assert_null(part);
    assert_int_equal(gopt_diag_count(cx), 1);
    const gopt_diag *d = gopt_diag_get(cx, 0);
    if (!strstr(d->message, message) || !strstr(d->hint ? d->hint : "", hint))
        fail_msg("found: %s\nhint: %s\nexpected: %s\nhint: %s", d->message, d->hint, message, hint);
    gopt_diag_clear(cx);
}

static gopt_graph *forked(void)
{
    return graph("%x: f32[n,3], %z: f32[n,3]",
                 "%a = Relu %x @\"first\"\n%b = Neg %a\n%c = Exp %a\n%d = Add %b, %z @\"sum\"\n%w = Mul %c, "
                 "dense<f32[3], [1,2,3]>",
                 "%d as \"d\", %w as \"w\"");
}

static void a_part_has_what_its_outputs_need(void **state)
{
    (void)state;
    gopt_graph *g = forked();
    extracts(g, (names){ "a" }, (names){ "b" }, "a:f32[n,3] > Neg > b:f32[n,3]");
    extracts(g, (names){ "a" }, (names){ "c", "b" }, "a:f32[n,3] > Neg Exp > c:f32[n,3] b:f32[n,3]");
    extracts(g, (names){ 0 }, (names){ "w" }, "x:f32[n,3] > Relu Exp Mul > w:f32[n,3]");
    extracts(g, (names){ "z", "b", "c" }, (names){ 0 },
             "z:f32[n,3] b:f32[n,3] c:f32[n,3] > Add Mul > d:f32[n,3] w:f32[n,3]");
    extracts(g, (names){ 0 }, (names){ 0 }, "x:f32[n,3] z:f32[n,3] > Relu Neg Exp Add Mul > d:f32[n,3] w:f32[n,3]");
    gopt_graph_destroy(g);
}

/* A graph's own input, one tensor as both, one that is named twice. */
static void ends_may_coincide(void **state)
{
    (void)state;
    gopt_graph *g = forked();
    extracts(g, (names){ "x" }, (names){ "a" }, "x:f32[n,3] > Relu > a:f32[n,3]");
    extracts(g, (names){ "a" }, (names){ "a", "c" }, "a:f32[n,3] > Exp > a:f32[n,3] c:f32[n,3]");
    extracts(g, (names){ 0 }, (names){ "x" }, "x:f32[n,3] > > x:f32[n,3]");
    extracts(g, (names){ "a", "a" }, (names){ "b", "b" }, "a:f32[n,3] > Neg > b:f32[n,3]");
    assert_int_equal(gopt_diag_count(cx), 0);
    extracts(g, (names){ "a", "z" }, (names){ "c" }, "a:f32[n,3] z:f32[n,3] > Exp > c:f32[n,3]");
    assert_int_equal(gopt_diag_count(cx), 1);
    assert_non_null(strstr(gopt_diag_get(cx, 0)->message, "depends on the input 'z'"));
    gopt_diag_clear(cx);
    gopt_graph_destroy(g);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    gopt_graph *g = forked();
    refuses(g, (names){ "b" }, (names){ "d" }, "the network's input 'z' (read by Add node 'sum')", "as well");
    refuses(g, (names){ "b" }, (names){ 0 }, "inputs 'x' (read by Relu node 'first'), 'z'", "x, z");
    gopt_graph_destroy(g);
}

static void unknown_names_get_the_nearest(void **state)
{
    (void)state;
    gopt_graph *g = graph("%x: f32[2]", "%long_name_1 = Relu %x\n%long_name_2 = Neg %long_name_1\n%other = Exp %x",
                          "%long_name_2 as \"/head/Concat_output_0\", %other as \"it's \\\"y\\\"\"");
    refuses(g, (names){ "lang_name_1" }, (names){ 0 }, "there is no tensor 'lang_name_1'",
            "did you mean 'long_name_1' or 'long_name_2'?");
    refuses(g, (names){ 0 }, (names){ "Concat" }, "there is no tensor 'Concat'",
            "did you mean '/head/Concat_output_0'?");
    refuses(g, (names){ "" }, (names){ 0 }, "there is no tensor ''", "inspect --nodes");
    refuses(g, (names){ "long_name_2", "/head/Concat_output_0" }, (names){ 0 }, "a second name of a tensor", "");
    extracts(g, (names){ 0 }, (names){ "it's \"y\"" }, "x:f32[2] > Exp > it's \"y\":f32[2]");
    gopt_graph_destroy(g);
}

static gopt_graph *choice(void)
{
    return graph("%x: f32[2], %k: bool[]",
                 "%a = Neg %x\n%b = Exp %a\n"
                 "%w = If %k {\n then_branch = block () {\n %e = Abs %a\n return %e\n },\n"
                 " else_branch = block () {\n %f = Sqrt %b\n return %f\n } } @\"choice\"\n%y = Relu %w",
                 "%y as \"y\"");
}

/* What a subgraph reads from outside is needed as much as what its node reads. */
static void captures_count(void **state)
{
    (void)state;
    gopt_graph *g = choice();
    extracts(g, (names){ "a", "b", "k" }, (names){ "w" }, "a:f32[2] b:f32[2] k:bool[] > If > w:f32[2]");
    extracts(g, (names){ "a", "k" }, (names){ "w" }, "a:f32[2] k:bool[] > Exp If > w:f32[2]");
    refuses(g, (names){ "b", "k" }, (names){ "w" }, "input 'x'", "x");
    refuses(g, (names){ "e" }, (names){ 0 }, "'e' lies in a subgraph of node 'choice' (If)", "node 'choice': w");
    gopt_graph_destroy(g);
}

static void a_weight_may_be_an_end(void **state)
{
    (void)state;
    gopt_graph *g = forked();
    gopt_value *w = gopt_graph_constant(g, "scale", GOPT_F32, 1, (int64_t[]){ 3 }, (float[]){ 1, 2, 3 });
    gi_node_set_in(gi_value_node(gopt_graph_find_value(g, "w")), 1, w);
    extracts(g, (names){ "c", "scale" }, (names){ "w" }, "c:f32[n,3] scale:f32[3] > Mul > w:f32[n,3]");
    extracts(g, (names){ 0 }, (names){ "scale" }, "> > scale:f32[3]");
    gopt_graph_destroy(g);
}

/* Dims that nothing is known of get names that the model does not have. */
static void unknown_sizes_get_names(void **state)
{
    (void)state;
    gopt_graph *g = graph("%x: f32[u1,u3]", "%i = NonZero %x\n%j = NonZero %x\n%y = Add %i, %j", "%y as \"y\"");
    extracts(g, (names){ "i", "j", "x" }, (names){ "y" },
             "i:i64[2,u2] j:i64[2,u4] x:f32[u1,u3] > Add > y:i64[2,max(u2,u4)]");
    gopt_diag_clear(cx);
    gopt_graph_destroy(g);
}

static void inputs_need_a_type(void **state)
{
    (void)state;
    gopt_graph *g = graph("%x: f32[2]", "%a = com.acme::Frob %x @\"frob\"\n%y = Relu %a", "%y as \"y\"");
    refuses(g, (names){ "a" }, (names){ 0 },
            "'a' cannot become an input: its type is not known, it comes from node 'frob'", "value_info");
    gopt_graph_destroy(g);
}

/* ---- splitting ---- */

static bool is_op(void *user, const gopt_node *n)
{
    return !strcmp(gopt_node_op(n), user);
}

static void splits(gopt_graph *g, const char *op, const char *want_head, const char *want_tail)
{
    gopt_graph *head, *tail;
    char name[32];
    snprintf(name, sizeof name, "%s", op);
    assert_int_equal(gopt_graph_split(g, is_op, name, &head, &tail), GOPT_OK);
    is(head, want_head);
    if (want_tail)
        is(tail, want_tail);
    else
        assert_null(tail);
    gopt_graph_destroy(head);
    gopt_graph_destroy(tail);
}

static void the_tail_is_what_depends_on_the_cut(void **state)
{
    (void)state;
    gopt_graph *g = graph("%x: f32[n,4], %z: f32[4]",
                          "%a = Relu %x\n%b = Exp %a\n%c = Abs %a\n%d = Add %b, %z\n%e = Mul %d, %c\n%s = Neg %a",
                          "%e as \"e\", %c as \"c\", %s as \"s\"");
    splits(g, "Exp", "x:f32[n,4] > Relu Abs Neg > c:f32[n,4] s:f32[n,4] a:f32[n,4]",
           "z:f32[4] a:f32[n,4] c:f32[n,4] > Exp Add Mul > e:f32[n,4]");
    splits(g, "Add", "x:f32[n,4] > Relu Exp Abs Neg > c:f32[n,4] s:f32[n,4] b:f32[n,4]",
           "z:f32[4] b:f32[n,4] c:f32[n,4] > Add Mul > e:f32[n,4]");
    splits(g, "Relu", "> >", "x:f32[n,4] z:f32[4] > Relu Exp Abs Add Mul Neg > e:f32[n,4] c:f32[n,4] s:f32[n,4]");
    splits(g, "Gemm", "x:f32[n,4] z:f32[4] > Relu Exp Abs Add Mul Neg > e:f32[n,4] c:f32[n,4] s:f32[n,4]", NULL);
    gopt_graph_destroy(g);
}

/* What weights alone give would be an output that is a weight: both parts compute it. */
static void weights_go_where_they_are_read(void **state)
{
    (void)state;
    gopt_graph *g = graph("%x: f32[2]",
                          "%p = Neg dense<f32[2], [1,2]>\n%q = Exp %p\n%a = Add %x, %p\n%b = Sqrt %a\n%y = Mul %b, %q",
                          "%y as \"y\"");
    splits(g, "Sqrt", "x:f32[2] > Neg Add > a:f32[2]", "a:f32[2] > Neg Exp Sqrt Mul > y:f32[2]");
    gopt_graph_destroy(g);
}

/* Inputs and outputs that are one tensor, inputs that nothing reads, nodes that no output needs. */
static void ends_stay_where_they_are(void **state)
{
    (void)state;
    gopt_graph *g = graph("%x: f32[2], %idle: f32[1]", "%a = Relu %x\n%b = Sqrt %a\n%dead = Exp %b",
                          "%x as \"x\", %a as \"a\", %a as \"again\"");
    splits(g, "Sqrt", "x:f32[2] idle:f32[1] > Relu > x:f32[2] a:f32[2] again:f32[2]", NULL);
    gopt_graph_destroy(g);
    g = graph("%x: f32[2]", "%a = Relu %x\n%b = Sqrt %a", "%a as \"a\", %a as \"again\", %b as \"b\", %x as \"x\"");
    splits(g, "Sqrt", "x:f32[2] > Relu > a:f32[2] again:f32[2] x:f32[2]", "a:f32[2] > Sqrt > b:f32[2]");
    gopt_graph_destroy(g);
}

/* A node in a subgraph means the one around it, and what the subgraph reads goes to the tail. */
static void subgraphs_go_whole(void **state)
{
    (void)state;
    gopt_graph *g = choice();
    splits(g, "Sqrt", "x:f32[2] > Neg Exp > a:f32[2] b:f32[2]", "k:bool[] a:f32[2] b:f32[2] > If Relu > y:f32[2]");
    gopt_graph_destroy(g);
}

static void tensors_without_names_get_some(void **state)
{
    (void)state;
    gopt_graph *g =
        graph("%x: f32[2]", "%0 = Relu %x @\"r\"\n%r_output_0 = Neg %x\n%1 = Abs %x\n%b = Sum %0, %r_output_0, %1",
              "%b as \"b\"");
    gopt_graph *head, *tail;
    assert_int_equal(gopt_graph_split(g, is_op, (char[]){ "Sum" }, &head, &tail), GOPT_OK);
    assert_string_equal(gopt_graph_output_name(head, 0), "r_output_0_2");
    assert_string_equal(gopt_graph_output_name(head, 1), "r_output_0");
    assert_int_equal(gopt_graph_output_count(head), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(gopt_graph_output_name(head, i), gopt_graph_input_name(tail, i));
    assert_int_equal(gi_verify(head) | gi_verify(tail), GOPT_OK);
    gopt_graph_destroy(head);
    gopt_graph_destroy(tail);
    gopt_graph_destroy(g);
}

static gopt_tensor *ramp(int64_t n, float from)
{
    gopt_tensor *x;
    assert_int_equal(gopt_tensor_create(cx, GOPT_F32, 1, &n, &x), GOPT_OK);
    for (int64_t i = 0; i < n; i++)
        gopt_tensor_set_f64(x, i, from + (float)i);
    return x;
}

/* Cut before any one operator, head and tail after another answer as the whole does, to the bit. */
static void head_and_tail_are_the_whole(void **state)
{
    (void)state;
    const char *const ops[] = { "Relu", "Exp", "Concat", "Softmax", "Mul", "Neg" };
    gopt_graph *g = graph("%x: f32[4], %z: f32[4]",
                          "%a = Relu %x\n%b = Exp %z\n%c = Concat %a, %b { axis = 0 }\n%d = Softmax %c\n"
                          "%e = Mul %d, %c\n%f = Neg %a",
                          "%e as \"e\", %f as \"f\", %d as \"d\"");
    gopt_tensor *in[] = { ramp(4, -1), ramp(4, 0) }, *whole[3];
    assert_int_equal(gi_eval_graph(g, (const gopt_tensor *const *)in, whole), GOPT_OK);
    for (size_t k = 0; k < GI_COUNT(ops); k++) {
        gopt_graph *head, *tail;
        char op[16];
        gopt_tensor *of_head[6] = { 0 }, *of_tail[6] = { 0 };
        const gopt_tensor *to_head[4], *to_tail[8];
        snprintf(op, sizeof op, "%s", ops[k]);
        assert_int_equal(gopt_graph_split(g, is_op, op, &head, &tail), GOPT_OK);
        for (size_t i = 0; i < gopt_graph_input_count(head); i++)
            to_head[i] = in[!strcmp(gopt_graph_input_name(head, i), "z")];
        assert_int_equal(gi_eval_graph(head, to_head, of_head), GOPT_OK);
        for (size_t i = 0; i < gopt_graph_input_count(tail); i++) {
            const char *name = gopt_graph_input_name(tail, i);
            to_tail[i] = !strcmp(name, "x") ? in[0] : !strcmp(name, "z") ? in[1] : NULL;
            for (size_t j = 0; !to_tail[i] && j < gopt_graph_output_count(head); j++)
                to_tail[i] = strcmp(name, gopt_graph_output_name(head, j)) ? NULL : of_head[j];
            assert_non_null(to_tail[i]);
        }
        assert_int_equal(gi_eval_graph(tail, to_tail, of_tail), GOPT_OK);
        for (size_t i = 0; i < 3; i++) {
            const gopt_tensor *got = NULL;
            for (size_t j = 0; j < gopt_graph_output_count(head); j++)
                if (!strcmp(gopt_graph_output_name(head, j), gopt_graph_output_name(g, i)))
                    got = of_head[j];
            for (size_t j = 0; j < gopt_graph_output_count(tail); j++)
                if (!strcmp(gopt_graph_output_name(tail, j), gopt_graph_output_name(g, i)))
                    got = of_tail[j];
            assert_non_null(got);
            assert_int_equal(got->bytes, whole[i]->bytes);
            assert_memory_equal(got->data, whole[i]->data, whole[i]->bytes);
        }
        for (size_t i = 0; i < GI_COUNT(of_head); i++) {
            gopt_tensor_unref(of_head[i]);
            gopt_tensor_unref(of_tail[i]);
        }
        gopt_graph_destroy(head);
        gopt_graph_destroy(tail);
    }
    for (size_t i = 0; i < 3; i++)
        gopt_tensor_unref(whole[i]);
    gopt_tensor_unref(in[0]);
    gopt_tensor_unref(in[1]);
    gopt_graph_destroy(g);
}

/* ---- before what cannot run ---- */

static void cuts(const char *body, bool standard, size_t n, const char *want_head, const char *want_tail)
{
    gopt_cut c;
    gopt_graph *g = graph("%x: f32[2], %z: f32[2]", body, "%y as \"y\"");
    assert_int_equal(gopt_cut_unsupported(g, standard, &c), GOPT_OK);
    assert_int_equal(c.n, n);
    is(c.head, want_head);
    if (want_tail)
        is(c.tail, want_tail);
    else
        assert_null(c.tail);
    gopt_graph_destroy(c.head);
    gopt_graph_destroy(c.tail);
    gopt_graph_destroy(g);
}

static void networks_end_before_what_cannot_run(void **state)
{
    (void)state;
    const char *frob = "%a = Relu %x\n%b = com.acme::Frob %a, %z\n%y = Neg %b";
    cuts(frob, false, 1, "x:f32[2] > Relu > a:f32[2]", "z:f32[2] a:f32[2] > Frob Neg > y:?");
    cuts("%a = Relu %x\n%y = Add %a, %z", false, 0, "x:f32[2] z:f32[2] > Relu Add > y:f32[2]", NULL);
    cuts("%y = Relu %x\n%b = com.acme::Frob %y", false, 1, "x:f32[2] z:f32[2] > Relu > y:f32[2]", NULL);
    const char *own = "%a = Relu %x\n%b = gopt::Lgamma %a\n%y = Add %b, %z";
    cuts(own, true, 1, "x:f32[2] > Relu > a:f32[2]", "z:f32[2] a:f32[2] > Lgamma Add > y:f32[2]");
    cuts(own, false, 0, "x:f32[2] z:f32[2] > Relu Lgamma Add > y:f32[2]", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_part_has_what_its_outputs_need, setup, teardown),
        cmocka_unit_test_setup_teardown(ends_may_coincide, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_missing_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_names_get_the_nearest, setup, teardown),
        cmocka_unit_test_setup_teardown(captures_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_weight_may_be_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_sizes_get_names, setup, teardown),
        cmocka_unit_test_setup_teardown(inputs_need_a_type, setup, teardown),
        cmocka_unit_test_setup_teardown(the_tail_is_what_depends_on_the_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(weights_go_where_they_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(ends_stay_where_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(subgraphs_go_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(tensors_without_names_get_some, setup, teardown),
        cmocka_unit_test_setup_teardown(head_and_tail_are_the_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(networks_end_before_what_cannot_run, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
