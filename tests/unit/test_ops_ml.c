/* Operators of ai.onnx.ml: maps in text, and what models may not say. Their answers are held against ONNX Runtime by
 * tests/ml. */
#include "unit/gir.h"

static void types(void **state)
{
    (void)state;
    infers("%x: f32[n,3]", "%y = ai.onnx.ml::ZipMap %x { classlabels_int64s = [1,2,3] }", "seq(map(i64,f32[]))");
    infers("%x: f32[n,2]", "%y = ai.onnx.ml::ZipMap %x { classlabels_strings = [\"a\",\"b\"] }",
           "seq(map(string,f32[]))");
    infers("%x: map(string,f32[])", "%y = ai.onnx.ml::DictVectorizer %x { string_vocabulary = [\"a\",\"b\"] }",
           "f32[1,2]");
    infers("%x: map(i64,string[])",
           "%y = ai.onnx.ml::CastMap %x { cast_to = \"TO_INT64\", map_form = \"SPARSE\", max_map = 7 }", "i64[1,7]");
    infers("%x: f32[n,4]", "%y = ai.onnx.ml::LinearRegressor %x { coefficients = [1,2,3,4,5,6,7,8], targets = 2 }",
           "f32[n,2]");
    infers("%x: f32[n,4]",
           "%z, %y = ai.onnx.ml::LinearClassifier %x { coefficients = [1,2,3,4], classlabels_ints = [0,1] }",
           "f32[n,2]");
    infers("%x: string[n,2]", "%y = ai.onnx.ml::OneHotEncoder %x { cats_strings = [\"a\",\"b\",\"c\"] }", "f32[n,2,3]");
    infers("%x: string[n]", "%y = ai.onnx.ml::LabelEncoder %x { keys_strings = [\"a\"], values_int64s = [7] }",
           "i64[n]");
    infers("%x: f32[n,4], %i: i64[k]", "%y = ai.onnx.ml::ArrayFeatureExtractor %x, %i", "f32[n,k]");
    infers("%x: f32[n,4], %w: f32[n,2]", "%y = ai.onnx.ml::FeatureVectorizer %x, %w { inputdimensions = [4,2] }",
           "f32[n,6]");
    infer_refuses("%x: f32[n,4]", "%y = ai.onnx.ml::DictVectorizer %x { string_vocabulary = [\"a\"] }", "expected");
    infer_refuses("%x: map(i64,f32[])", "%y = ai.onnx.ml::DictVectorizer %x { string_vocabulary = [\"a\"] }",
                  "expected keys of");
    infer_refuses("%x: map(i64,f32[])", "%y = Neg %x", "expected a tensor");
    infer_refuses("%x: f32[n,2,2]", "%y = ai.onnx.ml::ZipMap %x { classlabels_int64s = [1,2] }", "expected rank 2");
}

/* Types of maps survive printing and parsing; a key that is none is refused. */
static void text(void **state)
{
    (void)state;
    gopt_graph *g = parse("%x: seq(map(string,f32[]))", "%y = SequenceLength %x");
    gi_str s;
    gi_arena *a = gi_arena_create(cx);
    gi_str_init(&s, a);
    const gi_print_options o = { .types = true };
    assert_int_equal(gi_print(g, &o, &s), GOPT_OK);
    assert_non_null(strstr(s.p, "seq(map(string,f32[]))"));
    gi_arena_destroy(a);
    gopt_graph_destroy(g);
    const char *const bad = "opset 24\ngraph \"t\" (%x: map(f32,f32[])) {\n  return %x as \"y\"\n}\n";
    says(gi_parse(cx, "test", bad, strlen(bad), &g), "a map's keys");
}

static void features(void **state)
{
    (void)state;
    evaluates("%y = ai.onnx.ml::Imputer dense<f64[1,3], [1,nan,2]> { imputed_value_floats = [5,6,7], "
              "replaced_value_float = nan }",
              "1x3: 1 6 2");
    eval_refuses("%y = ai.onnx.ml::Imputer dense<f32[1,3], [1,2,3]> { imputed_value_floats = [5,6] }", "has 2 entries");
    eval_refuses("%y = ai.onnx.ml::Scaler dense<f32[1,3], [1,2,3]> { offset = [5,6] }",
                 "attribute offset has 2 entries");
    eval_refuses("%y = ai.onnx.ml::Normalizer dense<f32[1,3], [1,2,3]> { norm = \"L3\" }", "none of MAX");
    eval_refuses("%y = ai.onnx.ml::ArrayFeatureExtractor dense<f32[1,3], [1,2,3]>, dense<i64[1], [3]>",
                 "column 3 of 3");
    eval_refuses("%y = ai.onnx.ml::ArrayFeatureExtractor dense<f32[1,3], [1,2,3]>, dense<i64[1], [-1]>",
                 "column -1 of 3");
    eval_refuses("%y = ai.onnx.ml::FeatureVectorizer dense<f32[1,3], [1,2,3]>, dense<f32[2,1], [1,2]>", "has 2 rows");
    eval_refuses("%y = ai.onnx.ml::FeatureVectorizer dense<f32[1,3], [1,2,3]> { inputdimensions = [-4] }", "no width");
    evaluates("%y = ai.onnx.ml::OneHotEncoder dense<i32[2], [7,9]> { cats_int64s = [9,7] }", "2x2: 0 1 1 0");
    evaluates("%y = ai.onnx.ml::OneHotEncoder dense<f32[2], [7.9,nan]> { cats_int64s = [9,7] }", "2x2: 0 1 0 0");
    eval_refuses("%y = ai.onnx.ml::OneHotEncoder dense<i64[2], [7,8]> { cats_int64s = [9,7], zeros = 0 }",
                 "element 1 is none");
    eval_refuses("%y = ai.onnx.ml::OneHotEncoder dense<i64[2], [7,8]> { cats_strings = [\"a\"] }",
                 "cats_int64s is missing");
}

static void labels(void **state)
{
    (void)state;
    evaluates(
        "%y = ai.onnx.ml::LabelEncoder dense<f32[3], [nan,2,-0.0]> { keys_floats = [0,nan], values_int64s = [5,6] }",
        "3: 6 -1 5");
    eval_refuses("%y = ai.onnx.ml::LabelEncoder dense<i64[1], [1]> { keys_int64s = [1,2], values_int64s = [5] }",
                 "2 keys and 1 values");
    eval_refuses("%y = ai.onnx.ml::LabelEncoder dense<i64[1], [1]> { keys_int64s = [1] }", "it has no values");
    eval_refuses("%y = ai.onnx.ml::LabelEncoder dense<f32[1], [1]> { keys_int64s = [1], values_int64s = [5] }",
                 "the keys i64");
    eval_refuses("%y = ai.onnx.ml::CategoryMapper dense<i64[1], [1]> { cats_int64s = [1] }", "cats_strings");
}

static void zips(void **state)
{
    (void)state;
    evaluates("%s = ai.onnx.ml::ZipMap dense<f32[2,2], [1,2,3,4]> { classlabels_int64s = [9,-3] }\n"
              "%i = Identity dense<i64[], [1]>\n%m = SequenceAt %s, %i\n"
              "%y = ai.onnx.ml::DictVectorizer %m { int64_vocabulary = [-3,0,9] }",
              "1x3: 4 0 3");
    evaluates(
        "%s = ai.onnx.ml::ZipMap dense<f32[2], [1.5,2]> { classlabels_int64s = [3,1] }\n"
        "%m = SequenceAt %s, dense<i64[], [0]>\n%y = ai.onnx.ml::CastMap %m { map_form = \"SPARSE\", max_map = 4 }",
        "1x4: 0 2 0 1.5");
    eval_refuses(
        "%s = ai.onnx.ml::ZipMap dense<f32[2], [1.5,2]> { classlabels_int64s = [3,-1] }\n"
        "%m = SequenceAt %s, dense<i64[], [0]>\n%y = ai.onnx.ml::CastMap %m { map_form = \"SPARSE\", max_map = 4 }",
        "a key is -1");
    eval_refuses("%y = ai.onnx.ml::ZipMap dense<f32[2], [1.5,2]> { classlabels_int64s = [3] }", "2 columns");
}

static const char *svm(const char *attrs)
{
    static char body[1024];
    snprintf(body, sizeof body, "%%l, %%y = ai.onnx.ml::SVMClassifier dense<f32[1,2], [1,2]> { %s }", attrs);
    return body;
}

static void machines(void **state)
{
    (void)state;
    eval_refuses(svm("classlabels_ints = [0,1], vectors_per_class = [1,1], support_vectors = [1,2,3], "
                     "coefficients = [1,2], rho = [1]"),
                 "no 2 support vectors");
    eval_refuses(svm("classlabels_ints = [0,1], vectors_per_class = [1,-1], support_vectors = [1,2,3,4], "
                     "coefficients = [1,2], rho = [1]"),
                 "holds -1");
    eval_refuses(svm("classlabels_ints = [0,1,2], vectors_per_class = [1,1], support_vectors = [1,2,3,4], "
                     "coefficients = [1,2], rho = [1]"),
                 "2 entries for 3 classes");
    eval_refuses(svm("classlabels_ints = [0,1,2], vectors_per_class = [1,1,0], support_vectors = [1,2,3,4], "
                     "coefficients = [1,2,3,4], rho = [1]"),
                 "for 3 pairs");
    eval_refuses(svm("classlabels_ints = [0,1], coefficients = [1,2,3,4], rho = [1], kernel_type = \"COSINE\""),
                 "COSINE");
    eval_refuses(svm("classlabels_ints = [0,1], coefficients = [1,2,3], rho = [1]"), "has 3 entries");
    eval_refuses(svm("coefficients = [1,2,3], rho = [1]"), "0 class labels");
    eval_refuses(
        "%y = ai.onnx.ml::SVMRegressor dense<f32[1,2], [1,2]> { coefficients = [1,2], n_supports = -5, rho = [0] }",
        "no -5 support vectors");
    eval_refuses("%y = ai.onnx.ml::LinearRegressor dense<f32[1,2], [1,2]> { coefficients = [1,2,3] }", "do not fit");
    eval_refuses("%l, %y = ai.onnx.ml::LinearClassifier dense<f32[1,2], [1,2]> { coefficients = [1,2,3,4], "
                 "classlabels_ints = [1] }",
                 "1 class labels for 2 scores");
}

/* A tree of one question and two leaves, of which one thing is changed. */
static const char *tree(const char *yes, const char *more)
{
    static char body[1024];
    snprintf(
        body, sizeof body,
        "%%y = ai.onnx.ml::TreeEnsembleRegressor dense<f32[2,1], [1,3]> { nodes_treeids = [0,0,0], nodes_nodeids = "
        "[0,1,2], "
        "nodes_featureids = [0,0,0], nodes_modes = [\"BRANCH_LEQ\",\"LEAF\",\"LEAF\"], nodes_values = [2,0,0], "
        "nodes_truenodeids = [%s,0,0], nodes_falsenodeids = [2,0,0], target_weights = [5,7], target_nodeids = [1,2], "
        "target_treeids = [0,0]%s }",
        yes, more);
    return body;
}

static void trees(void **state)
{
    (void)state;
    evaluates(tree("1", ", target_ids = [0,0]"), "2x1: 5 7");
    evaluates(tree("1", ", target_ids = [0,0], base_values = [0.5]"), "2x1: 5.5 7.5");
    evaluates(tree("1", ", target_ids = [0,2], n_targets = 3"), "2x3: 5 0 0 0 0 7");
    eval_refuses(tree("0", ", target_ids = [0,0]"), "runs in a circle");
    eval_refuses(tree("9", ", target_ids = [0,0]"), "leads to node 9");
    eval_refuses(tree("-1", ", target_ids = [0,0]"), "leads to node -1");
    eval_refuses(tree("1", ", target_ids = [0,1]"), "for target 1 of 1");
    eval_refuses(tree("1", ", target_ids = [0]"), "has 1 entries, expected 2");
    eval_refuses(tree("1", ", target_ids = [0,0], base_values = [1,2]"), "2 base values");
    eval_refuses(tree("1", ", target_ids = [0,0], n_targets = 99999999999"), "99999999999 targets");
    eval_refuses(tree("1", ", target_ids = [0,0], aggregate_function = \"MEDIAN\""), "aggregate_function");
    eval_refuses(
        "%y = ai.onnx.ml::TreeEnsembleRegressor dense<f32[1,1], [1]> { nodes_treeids = [0,0], nodes_nodeids = [0,0], "
        "nodes_featureids = [0,0], nodes_modes = [\"LEAF\",\"LEAF\"], nodes_values = [2,0], "
        "nodes_truenodeids = [0,0], nodes_falsenodeids = [0,0] }",
        "two nodes of tree 0");
    eval_refuses(
        "%y = ai.onnx.ml::TreeEnsembleRegressor dense<f32[1,1], [1]> { nodes_treeids = [0], nodes_nodeids = [0], "
        "nodes_featureids = [1], nodes_modes = [\"BRANCH_GT\"], nodes_values = [2], "
        "nodes_truenodeids = [0], nodes_falsenodeids = [0] }",
        "feature 1 of 1");
}

/* The same by positions: node 0 asks, leaves 0 and 1 answer. */
static const char *ensemble(const char *yes, const char *leafs, const char *roots, const char *more)
{
    static char body[1024];
    snprintf(body, sizeof body,
             "%%y = ai.onnx.ml::TreeEnsemble dense<f32[2,1], [1,3]> { nodes_featureids = [0], nodes_modes = "
             "dense<u8[1], [6]>, "
             "nodes_splits = dense<f32[1], [2]>, nodes_truenodeids = [%s], nodes_trueleafs = [%s], "
             "nodes_falsenodeids = [1], nodes_falseleafs = [1], leaf_weights = dense<f32[2], [5,7]>, "
             "tree_roots = [%s]%s }",
             yes, leafs, roots, more);
    return body;
}

static void ensembles(void **state)
{
    (void)state;
    const char *const sets = ", leaf_targetids = [0,1], n_targets = 2, membership_values = dense<f32[3], [0,1,nan]>";
    char more[256];
    evaluates(ensemble("0", "1", "0", sets), "2x2: 5 0 0 7");
    snprintf(more, sizeof more, "%s, post_transform = 1", sets); /* SOFTMAX */
    evaluates(ensemble("0", "1", "0", more), "2x2: 0.993307 0.00669285 0.000911051 0.999089");
    snprintf(more, sizeof more, "%s, post_transform = 2", sets); /* LOGISTIC */
    evaluates(ensemble("0", "1", "0", more), "2x2: 0.993307 0.5 0.5 0.999089");
    snprintf(more, sizeof more, "%s, post_transform = 5", sets);
    eval_refuses(ensemble("0", "1", "0", more), "post_transform are 1 and 5");
    eval_refuses(ensemble("0", "0", "0", sets), "runs in a circle");
    eval_refuses(ensemble("2", "1", "0", sets), "leads to leaf 2 of 2");
    eval_refuses(ensemble("-1", "0", "0", sets), "leads to node -1 of 1");
    eval_refuses(ensemble("0", "1", "1", sets), "tree_roots holds 1");
    eval_refuses(ensemble("0", "1", "0", ", leaf_targetids = [0,2], n_targets = 2"), "for target 2 of 2");
    eval_refuses(ensemble("0", "1", "0", ", leaf_targetids = [0,1], n_targets = 2"), "no set for node 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types), cmocka_unit_test(text),     cmocka_unit_test(features), cmocka_unit_test(labels),
        cmocka_unit_test(zips),  cmocka_unit_test(machines), cmocka_unit_test(trees),    cmocka_unit_test(ensembles),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
