/* Forests that the cpu backend prepares once answer, to the bit, as their reference evaluation does: all three
 * operators, every comparison, features that are missing, aggregates and transforms, for odd numbers of rows and
 * threads. */
#include "unit/gir.h"

#include <math.h>

#include "gopt/engine.h"

static uint32_t seed = 3;

static int any(int n)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)n);
}

enum { FEATURES = 5, DEPTH = 4, INNER = (1 << DEPTH) - 1, ALL = (2 << DEPTH) - 1 };

typedef struct text {
    char p[65536];
    size_t n;
} text;

__attribute__((format(printf, 2, 3))) static void say(text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(t->p + t->n, sizeof t->p - t->n, fmt, args);
    va_end(args);
    assert_in_range(n, 0, sizeof t->p - t->n - 1);
    t->n += (size_t)n;
}

/* One list of an attribute: each(i) of n, between brackets. */
static void list(text *t, const char *name, int n, void (*each)(text *t, int i))
{
    say(t, "%s = [", name);
    for (int i = 0; i < n; i++) {
        say(t, "%s", i ? "," : "");
        each(t, i);
    }
    say(t, "], ");
}

/* What a forest is of. Trees are complete; node i of a tree leads to 2i+1 and 2i+2, those past INNER are leaves. */
static struct {
    int trees, targets, mode; /* mode < 0: any */
    bool negative, missing;
} of;

static const char *const modes[] = { "LEQ", "LT", "GTE", "GT", "EQ", "NEQ" };

static int a_mode(int n)
{
    return of.mode < 0 ? any(n) : of.mode;
}
static void tree(text *t, int i)
{
    say(t, "%d", i / ALL);
}
static void id(text *t, int i)
{
    say(t, "%d", i % ALL);
}
static void feature(text *t, int i)
{
    say(t, "%d", i % ALL < INNER ? any(FEATURES) : 0);
}
static void named_mode(text *t, int i)
{
    if (i % ALL < INNER)
        say(t, "\"BRANCH_%s\"", modes[a_mode(6)]);
    else
        say(t, "\"LEAF\"");
}
static void split(text *t, int i)
{
    (void)i;
    say(t, "%d.5", any(4)); /* halves, as features are: equal ones meet */
}
static void missing(text *t, int i)
{
    (void)i;
    say(t, "%d", of.missing && any(2));
}
static void yes(text *t, int i)
{
    say(t, "%d", i % ALL < INNER ? 2 * (i % ALL) + 1 : 0);
}
static void no(text *t, int i)
{
    say(t, "%d", i % ALL < INNER ? 2 * (i % ALL) + 2 : 0);
}
/* Every leaf has two votes. */
static void vote_tree(text *t, int i)
{
    say(t, "%d", i / (2 * (ALL - INNER)));
}
static void vote_id(text *t, int i)
{
    say(t, "%d", INNER + i / 2 % (ALL - INNER));
}
static void vote_for(text *t, int i)
{
    (void)i;
    say(t, "%d", any(of.targets));
}
static void weight(text *t, int i)
{
    (void)i;
    say(t, "%s0.%03d", of.negative && any(2) ? "-" : "", any(1000));
}
static void label(text *t, int i)
{
    say(t, "%d", 10 - i);
}
static void name(text *t, int i)
{
    say(t, "\"class%d\"", i);
}

static void named(text *t, const char *votes)
{
    const int n = of.trees * ALL, n_votes = of.trees * 2 * (ALL - INNER);
    char s[64];
    list(t, "nodes_treeids", n, tree);
    list(t, "nodes_nodeids", n, id);
    list(t, "nodes_featureids", n, feature);
    list(t, "nodes_modes", n, named_mode);
    list(t, "nodes_values", n, split);
    list(t, "nodes_missing_value_tracks_true", n, missing);
    list(t, "nodes_truenodeids", n, yes);
    list(t, "nodes_falsenodeids", n, no);
    snprintf(s, sizeof s, "%s_treeids", votes);
    list(t, s, n_votes, vote_tree);
    snprintf(s, sizeof s, "%s_nodeids", votes);
    list(t, s, n_votes, vote_id);
    snprintf(s, sizeof s, "%s_ids", votes);
    list(t, s, n_votes, vote_for);
    snprintf(s, sizeof s, "%s_weights", votes);
    list(t, s, n_votes, weight);
}

/* ---- comparing ---- */

static gopt_run_context *start(gopt_graph *g, const gopt_engine_options *o, gopt_tensor *x, gopt_engine **e)
{
    gopt_run_context *rc = NULL;
    assert_int_equal(gopt_engine_create(g, o, e), GOPT_OK);
    assert_int_equal(gopt_run_context_create(*e, &rc), GOPT_OK);
    assert_int_equal(gopt_run_context_set_input(rc, 0, x), GOPT_OK);
    return rc;
}

static void same(const gopt_tensor *a, const gopt_tensor *b)
{
    assert_int_equal(a->dtype, b->dtype);
    const int64_t n = gopt_tensor_elements(b);
    if (a->dtype != GOPT_STRING) {
        assert_memory_equal(a->data, b->data, b->bytes);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const gopt_string *x = (const gopt_string *)a->data + i, *y = (const gopt_string *)b->data + i;
        assert_int_equal(x->n, y->n);
        assert_memory_equal(x->p, y->p, y->n);
    }
}

/* Halves, and of floats a third is missing. */
static gopt_tensor *features(gopt_dtype type, int64_t rows)
{
    gopt_tensor *x;
    assert_int_equal(gopt_tensor_create(cx, type, 2, (const int64_t[]){ rows, FEATURES }, &x), GOPT_OK);
    for (int64_t i = 0; i < rows * FEATURES; i++)
        gi_store_f64(type, x->data, (size_t)i, type == GOPT_I64 || any(3) ? any(10) / 2.0 : (double)NAN);
    return x;
}

/* body: the node; its result %y is what counts. */
static void answers(const char *body, const char *dtype, gopt_dtype type)
{
    static const int64_t rows[] = { 1, 7, 301 };
    for (size_t i = 0; i < GI_COUNT(rows); i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            char params[64];
            snprintf(params, sizeof params, "%%x: %s[%lld,%d]", dtype, (long long)rows[i], FEATURES);
            gopt_graph *g = parse(params, body);
            assert_int_equal(gi_infer_graph(g), GOPT_OK);
            const bool strings = strstr(body, "classlabels_strings") != NULL; /* they have no place in a plan */
            gopt_tensor *x = features(type, rows[i]);
            gopt_engine *e, *r;
            gopt_run_context *rc = start(g, &(gopt_engine_options){ .threads = threads }, x, &e);
            gopt_run_context *rr = start(g, &(gopt_engine_options){ .reference = true }, x, &r);
            const gopt_step_info *step = gopt_run_context_step(rc, 0);
            assert_string_equal(step->tactic, strings ? "reference" : "trees");
            assert_int_equal(gopt_run(rr), GOPT_OK);
            for (int k = 0; k < 2; k++) {
                assert_int_equal(gopt_run(rc), GOPT_OK);
                same(gopt_run_context_output(rc, 0), gopt_run_context_output(rr, 0));
            }
            gopt_run_context_destroy(rc);
            gopt_run_context_destroy(rr);
            gopt_engine_destroy(e);
            gopt_engine_destroy(r);
            gopt_tensor_unref(x);
            gopt_graph_destroy(g);
        }
}

static const struct {
    const char *name;
    gopt_dtype type;
} types[] = { { "f32", GOPT_F32 }, { "f64", GOPT_F64 }, { "i64", GOPT_I64 } };

static const char *const posts[] = { "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT" };

static text body;

static void begin(const char *results, const char *op, int trees, int targets, int mode)
{
    of.trees = trees;
    of.targets = targets;
    of.mode = mode;
    of.missing = any(2);
    of.negative = any(2);
    body.n = 0;
    say(&body, "%s = ai.onnx.ml::%s %%x { ", results, op);
}

static void regressors(void **state)
{
    (void)state;
    static const char *const how[] = { "SUM", "AVERAGE", "MIN", "MAX" };
    for (int i = 0; i < 20; i++) {
        begin("%y", "TreeEnsembleRegressor", 1 + i % 7, 1 + i % 3, i < 12 ? i % 6 : -1);
        of.missing = i >= 6;
        named(&body, "target");
        if (i % 2)
            list(&body, "base_values", of.targets, weight);
        say(&body, "n_targets = %d, aggregate_function = \"%s\", post_transform = \"%s\" }", of.targets, how[i % 4],
            posts[i % 5]);
        answers(body.p, types[i % 3].name, types[i % 3].type);
    }
}

static void classifiers(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        begin(i % 2 ? "%y, %z" : "%z, %y", "TreeEnsembleClassifier", 1 + i % 6, 1 + i % 4, i % 3 ? -1 : i / 3 % 6);
        named(&body, "class");
        if (i % 3 == 1)
            list(&body, "base_values", of.targets, weight);
        if (i % 8 < 4)
            list(&body, "classlabels_int64s", of.targets, label);
        else
            list(&body, "classlabels_strings", of.targets, name);
        say(&body, "post_transform = \"%s\" }", posts[i % 5]);
        answers(body.p, types[i % 3].name, types[i % 3].type);
    }
}

/* By positions: inner nodes of all trees one after the other, leaves likewise. */
static void inner_feature(text *t, int i)
{
    (void)i;
    say(t, "%d", any(FEATURES));
}
static void inner_mode(text *t, int i)
{
    say(t, "%d", i % INNER % 2 ? 6 : a_mode(6));
}
static void inner_to(text *t, int i, int side)
{
    const int at = 2 * (i % INNER) + side;
    say(t, "%d", at < INNER ? i / INNER * INNER + at : i / INNER * (ALL - INNER) + at - INNER);
}
static void inner_yes(text *t, int i)
{
    inner_to(t, i, 1);
}
static void inner_no(text *t, int i)
{
    inner_to(t, i, 2);
}
static void to_leaf(text *t, int i)
{
    say(t, "%d", 2 * (i % INNER) + 1 >= INNER);
}
static void root(text *t, int i)
{
    say(t, "%d", i * INNER);
}
static void set(text *t, int i)
{
    say(t, i % 3 == 2 ? "nan" : "%d.5", any(4));
}

static void dense(text *t, const char *name, const char *type, int n, void (*each)(text *t, int i))
{
    say(t, "%s = dense<%s[%d], [", name, type, n);
    for (int i = 0; i < n; i++) {
        say(t, "%s", i ? "," : "");
        each(t, i);
    }
    say(t, "]>, ");
}

static void ensembles(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        begin("%y", "TreeEnsemble", 1 + i % 7, 1 + i % 3, i % 7 == 6 ? -1 : i % 7);
        const char *type = types[i % 2].name;
        const int n = of.trees * INNER, leaves = of.trees * (ALL - INNER);
        list(&body, "nodes_featureids", n, inner_feature);
        dense(&body, "nodes_modes", "u8", n, inner_mode);
        dense(&body, "nodes_splits", type, n, split);
        list(&body, "nodes_missing_value_tracks_true", n, missing);
        list(&body, "nodes_truenodeids", n, inner_yes);
        list(&body, "nodes_falsenodeids", n, inner_no);
        list(&body, "nodes_trueleafs", n, to_leaf);
        list(&body, "nodes_falseleafs", n, to_leaf);
        dense(&body, "leaf_weights", type, leaves, weight);
        list(&body, "leaf_targetids", leaves, vote_for);
        dense(&body, "membership_values", type, 3 * n, set);
        list(&body, "tree_roots", of.trees, root);
        say(&body, "n_targets = %d, aggregate_function = %d, post_transform = %d }", of.targets, i % 4, i % 5);
        answers(body.p, type, types[i % 2].type);
    }
}

/* A branch that leads back up is an error of the rows that come to it, and no endless walk. */
static void circle(void **state)
{
    (void)state;
    gopt_graph *g = parse("%x: f32[1,1]",
                          "%y = ai.onnx.ml::TreeEnsembleRegressor %x { nodes_treeids = [0,0], nodes_nodeids = [0,1], "
                          "nodes_featureids = [0,0], nodes_modes = [\"BRANCH_LEQ\",\"LEAF\"], nodes_values = [2,0], "
                          "nodes_truenodeids = [0,0], nodes_falsenodeids = [1,0], target_weights = [5], "
                          "target_nodeids = [1], target_treeids = [0], target_ids = [0] }");
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    gopt_tensor *x;
    assert_int_equal(gopt_tensor_create(cx, GOPT_F32, 2, (const int64_t[]){ 1, 1 }, &x), GOPT_OK);
    gopt_engine *e;
    gopt_run_context *rc = start(g, &(gopt_engine_options){ 0 }, x, &e);
    ((float *)x->data)[0] = 3;
    assert_int_equal(gopt_run(rc), GOPT_OK);
    assert_true(((const float *)gopt_run_context_output(rc, 0)->data)[0] == 5);
    ((float *)x->data)[0] = 1;
    says(gopt_run(rc), "runs in a circle");
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    gopt_tensor_unref(x);
    gopt_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(regressors), cmocka_unit_test(classifiers),
                                        cmocka_unit_test(ensembles), cmocka_unit_test(circle) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
