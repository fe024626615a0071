/* Ensembles of decision trees: reading both descriptions that ONNX has into one form. */
#include <math.h>
#include <stdlib.h>

#include "ops/forest.h"

/* ---- reading what both descriptions share ---- */

/* Numbers from a list of floats or, where that is absent, a tensor. */
static gopt_status numbers(gi_eval *a, int at_list, int at_tensor, double **out, int64_t *n)
{
    const float *f = NULL;
    gopt_tensor t = { 0 };
    *n = at_list < 0 ? 0 : gi_attr_floats(a->n, at_list, &f);
    if (!*n && at_tensor >= 0 && gi_attr_tensor(a->n, at_tensor)) {
        gi_tensor_of_blob(gi_attr_tensor(a->n, at_tensor), &t);
        if (t.dtype == GOPT_STRING || !gi_item_size(t.dtype))
            return gi_eval_fail(a, -1, "attribute %s is no tensor of numbers", a->n->attrs[at_tensor].name);
        *n = gopt_tensor_elements(&t);
    }
    *out = gi_eval_scratch(a, (size_t)*n + 1, sizeof **out);
    GI_NEED(*out);
    for (int64_t i = 0; i < *n; i++)
        (*out)[i] = f ? (double)f[i] : gi_tensor_f64(&t, i);
    return GOPT_OK;
}

/* A list of exactly n integers. */
static gopt_status integers(gi_eval *a, int at, int64_t n, const int64_t **v)
{
    const int64_t have = gi_attr_ints(a->n, at, v);
    return have == n ? GOPT_OK
                     : gi_eval_fail(a, -1, "attribute %s has %lld entries, expected %lld", a->n->attrs[at].name,
                                    (long long)have, (long long)n);
}

static gopt_status start(gi_eval *a, int64_t n_nodes, int64_t n_targets, gi_forest *f)
{
    f->n_nodes = n_nodes;
    f->n_targets = n_targets;
    if (n_targets < 1 || n_targets > 1 << 24)
        return gi_eval_fail(a, -1, "it has %lld targets", (long long)n_targets);
    f->nodes = gi_eval_scratch(a, (size_t)n_nodes + 1, sizeof *f->nodes);
    f->sums = gi_eval_scratch(a, (size_t)n_targets + 2, sizeof *f->sums);
    f->has = gi_eval_scratch(a, (size_t)n_targets + 2, sizeof *f->has);
    f->row = gi_eval_scratch(a, (size_t)f->width + 1, sizeof *f->row);
    return f->nodes && f->sums && f->has && f->row ? GOPT_OK : GOPT_NO_MEMORY;
}

static gopt_status check_feature(const gi_forest *f, int64_t i)
{
    const int64_t k = f->nodes[i].feature;
    return k >= 0 && k < f->width ? GOPT_OK
                                  : gi_eval_fail(f->a, 0, "node %lld of its trees asks for feature %lld of %lld",
                                                 (long long)i, (long long)k, (long long)f->width);
}

/* ---- nodes and votes named by tree and node: TreeEnsembleClassifier, TreeEnsembleRegressor ---- */

typedef struct named {
    int64_t tree, node, at;
} named;

static int by_name(const void *a, const void *b)
{
    const named *x = a, *y = b;
    if (x->tree != y->tree)
        return x->tree < y->tree ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static const named *find_node(const named *names, int64_t n, int64_t tree, int64_t node)
{
    const named want = { tree, node, 0 };
    return bsearch(&want, names, (size_t)n, sizeof want, by_name);
}

typedef struct named_at {
    int falsenodeids, featureids, missing, modes, nodeids, treeids, truenodeids, values, values_tensor, base,
        base_tensor, ids, vote_nodeids, vote_treeids, weights, weights_tensor, post;
} named_at;

static bool mode_of(const char *s, gi_tree_mode *m)
{
    static const char *const names[] = {
        "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"
    };
    for (size_t i = 0; i < GI_COUNT(names); i++)
        if (!strcmp(s, names[i])) {
            *m = (gi_tree_mode)i;
            return true;
        }
    *m = GI_TREE_LEAF;
    return !strcmp(s, "LEAF");
}

/* Nodes in the order of their names. They mostly come so. */
static gopt_status sort_names(gi_eval *a, const int64_t *trees, const int64_t *ids, int64_t n, named **out)
{
    named *names = gi_eval_scratch(a, (size_t)n + 1, sizeof *names);
    GI_NEED(names);
    bool sorted = true;
    for (int64_t i = 0; i < n; i++) {
        names[i] = (named){ trees[i], ids[i], i };
        sorted = sorted && (!i || by_name(&names[i - 1], &names[i]) < 0);
    }
    if (!sorted)
        qsort(names, (size_t)n, sizeof *names, by_name);
    for (int64_t i = 1; i < n; i++)
        if (!by_name(&names[i - 1], &names[i]))
            return gi_eval_fail(a, -1, "two nodes of tree %lld have the id %lld", (long long)names[i].tree,
                                (long long)names[i].node);
    *out = names;
    return GOPT_OK;
}

/* The position that a branch leads to: complemented where that is a leaf. */
static gopt_status branch(const gi_forest *f, const named *names, int64_t tree, int64_t node, int64_t *to)
{
    const named *found = find_node(names, f->n_nodes, tree, node);
    if (!found)
        return gi_eval_fail(f->a, -1, "a branch of tree %lld leads to node %lld, which it lacks", (long long)tree,
                            (long long)node);
    *to = f->nodes[found->at].mode == GI_TREE_LEAF ? ~found->at : found->at;
    return GOPT_OK;
}

static gopt_status read_named_nodes(gi_forest *f, const named_at *at, named **names)
{
    gi_eval *a = f->a;
    const int64_t n = f->n_nodes, *trees, *ids, *features, *yes, *no, *missing = NULL;
    const char *const *modes = NULL;
    double *values;
    int64_t n_values;
    GI_TRY(integers(a, at->treeids, n, &trees));
    GI_TRY(integers(a, at->featureids, n, &features));
    GI_TRY(integers(a, at->truenodeids, n, &yes));
    GI_TRY(integers(a, at->falsenodeids, n, &no));
    GI_TRY(integers(a, at->nodeids, n, &ids));
    if (gi_attr_ints(a->n, at->missing, &missing))
        GI_TRY(integers(a, at->missing, n, &missing));
    GI_TRY(numbers(a, at->values, at->values_tensor, &values, &n_values));
    if (gi_attr_strings(a->n, at->modes, &modes) != n || n_values != n)
        return gi_eval_fail(a, -1, "attributes nodes_modes and nodes_values do not have %lld entries", (long long)n);
    GI_TRY(sort_names(a, trees, ids, n, names));
    for (int64_t i = 0; i < n; i++) {
        gi_tree_node *t = &f->nodes[i];
        if (!mode_of(modes[i], &t->mode))
            return gi_eval_fail(a, -1, "attribute nodes_modes holds '%.40s'", modes[i]);
        t->feature = features[i];
        t->value = values[i];
        t->missing_true = missing && missing[i];
    }
    f->roots = gi_eval_scratch(a, (size_t)n + 1, sizeof *f->roots);
    GI_NEED(f->roots);
    gi_map seen;
    gi_map_init(&seen, a->scratch);
    for (int64_t i = 0; i < n; i++) {
        gi_tree_node *t = &f->nodes[i];
        if (i == 0 || (trees[i] != trees[i - 1] && !gi_map_get(&seen, (uint64_t)trees[i]))) {
            f->roots[f->n_roots++] = t->mode == GI_TREE_LEAF ? ~i : i; /* the first node of a tree is its root */
            GI_NEED(gi_map_put(&seen, (uint64_t)trees[i], t));
        }
        if (t->mode == GI_TREE_LEAF)
            continue;
        GI_TRY(check_feature(f, i));
        GI_TRY(branch(f, *names, trees[i], yes[i], &t->yes));
        GI_TRY(branch(f, *names, trees[i], no[i], &t->no));
    }
    return GOPT_OK;
}

static gopt_status read_named_votes(gi_forest *f, const named_at *at, const named *names)
{
    gi_eval *a = f->a;
    const int64_t *targets, *ids, *trees;
    double *weights;
    GI_TRY(numbers(a, at->weights, at->weights_tensor, &weights, &f->n_votes));
    const int64_t n = f->n_votes;
    GI_TRY(integers(a, at->ids, n, &targets));
    GI_TRY(integers(a, at->vote_nodeids, n, &ids));
    GI_TRY(integers(a, at->vote_treeids, n, &trees));
    f->n_leaves = f->n_nodes; /* a leaf is a node here */
    int64_t *leaf = gi_eval_scratch(a, (size_t)n + 1, sizeof *leaf);
    f->first = gi_eval_scratch(a, (size_t)f->n_leaves + 2, sizeof *f->first);
    f->votes = gi_eval_scratch(a, (size_t)n + 1, sizeof *f->votes);
    GI_NEED(leaf && f->first && f->votes);
    for (int64_t i = 0; i < n; i++) {
        const named *found = find_node(names, f->n_nodes, trees[i], ids[i]);
        if (!found)
            return gi_eval_fail(a, -1, "a leaf's weight names node %lld of tree %lld, which there is not",
                                (long long)ids[i], (long long)trees[i]);
        if (targets[i] < 0 || targets[i] >= f->n_targets)
            return gi_eval_fail(a, -1, "a leaf's weight is for target %lld of %lld", (long long)targets[i],
                                (long long)f->n_targets);
        leaf[i] = found->at;
        f->first[leaf[i] + 2]++;
    }
    for (int64_t i = 2; i <= f->n_leaves; i++)
        f->first[i] += f->first[i - 1];
    for (int64_t i = 0; i < n; i++) /* first[k + 1] moves from where leaf k begins to where it ends */
        f->votes[f->first[leaf[i] + 1]++] = (gi_tree_vote){ targets[i], weights[i] };
    return GOPT_OK;
}

static gopt_status read_named(gi_eval *a, const named_at *at, int64_t n_targets, gi_forest *f)
{
    const int64_t *ids;
    named *names = NULL;
    GI_TRY(start(a, gi_attr_ints(a->n, at->nodeids, &ids), n_targets, f));
    GI_TRY(read_named_nodes(f, at, &names));
    GI_TRY(read_named_votes(f, at, names));
    GI_TRY(numbers(a, at->base, at->base_tensor, &f->base, &f->n_base));
    if (!gi_ml_post_of(a->n, at->post, &f->post))
        return gi_eval_fail(a, -1, "attribute post_transform is of no value that the operator knows");
    return GOPT_OK;
}

/* ---- nodes and leaves by position: TreeEnsemble ---- */

static gopt_status position(const gi_forest *f, int64_t i, int64_t to, bool leaf, int64_t *out)
{
    const int64_t n = leaf ? f->n_leaves : f->n_nodes;
    if (to < 0 || to >= n)
        return gi_eval_fail(f->a, -1, "a branch of node %lld leads to %s %lld of %lld", (long long)i,
                            leaf ? "leaf" : "node", (long long)to, (long long)n);
    *out = leaf ? ~to : to;
    return GOPT_OK;
}

static gopt_status read_nodes(gi_forest *f)
{
    gi_eval *a = f->a;
    const int64_t n = f->n_nodes, *features, *yes, *no, *yes_leaf, *no_leaf, *missing = NULL;
    double *splits, *modes, *members;
    int64_t n_splits, n_modes, n_members, member = 0;
    GI_TRY(integers(a, TreeEnsemble_at_nodes_featureids, n, &features));
    GI_TRY(integers(a, TreeEnsemble_at_nodes_truenodeids, n, &yes));
    GI_TRY(integers(a, TreeEnsemble_at_nodes_falsenodeids, n, &no));
    GI_TRY(integers(a, TreeEnsemble_at_nodes_trueleafs, n, &yes_leaf));
    GI_TRY(integers(a, TreeEnsemble_at_nodes_falseleafs, n, &no_leaf));
    if (gi_attr_ints(a->n, TreeEnsemble_at_nodes_missing_value_tracks_true, &missing))
        GI_TRY(integers(a, TreeEnsemble_at_nodes_missing_value_tracks_true, n, &missing));
    GI_TRY(numbers(a, -1, TreeEnsemble_at_nodes_splits, &splits, &n_splits));
    GI_TRY(numbers(a, -1, TreeEnsemble_at_nodes_modes, &modes, &n_modes));
    GI_TRY(numbers(a, -1, TreeEnsemble_at_membership_values, &members, &n_members));
    if (n_splits != n || n_modes != n)
        return gi_eval_fail(a, -1, "attributes nodes_splits and nodes_modes do not have %lld entries", (long long)n);
    f->members = members;
    for (int64_t i = 0; i < n; i++) {
        gi_tree_node *t = &f->nodes[i];
        if (!(modes[i] >= 0 && modes[i] < GI_TREE_MODES))
            return gi_eval_fail(a, -1, "attribute nodes_modes holds %g", modes[i]);
        *t = (gi_tree_node){ .mode = (gi_tree_mode)modes[i],
                             .feature = features[i],
                             .value = splits[i],
                             .missing_true = missing && missing[i] };
        GI_TRY(check_feature(f, i));
        GI_TRY(position(f, i, yes[i], yes_leaf[i] != 0, &t->yes));
        GI_TRY(position(f, i, no[i], no_leaf[i] != 0, &t->no));
        if (t->mode != GI_TREE_MEMBER)
            continue;
        t->members = member;
        while (member < n_members && !isnan(members[member]))
            member++;
        if (member >= n_members)
            return gi_eval_fail(a, -1, "attribute membership_values holds no set for node %lld, ended by NaN",
                                (long long)i);
        t->value = (double)(member++ - t->members);
    }
    return GOPT_OK;
}

static gopt_status read_forest(gi_eval *a, gi_forest *f)
{
    const int64_t *features, *targets, *roots;
    double *weights;
    int64_t n_weights;
    GI_TRY(start(a, gi_attr_ints(a->n, TreeEnsemble_at_nodes_featureids, &features),
                 gi_attr_int(a->n, TreeEnsemble_at_n_targets), f));
    GI_TRY(numbers(a, -1, TreeEnsemble_at_leaf_weights, &weights, &n_weights));
    GI_TRY(integers(a, TreeEnsemble_at_leaf_targetids, n_weights, &targets));
    f->n_leaves = f->n_votes = n_weights;
    f->first = gi_eval_scratch(a, (size_t)n_weights + 2, sizeof *f->first);
    f->votes = gi_eval_scratch(a, (size_t)n_weights + 1, sizeof *f->votes);
    GI_NEED(f->first && f->votes);
    for (int64_t i = 0; i < n_weights; i++) {
        if (targets[i] < 0 || targets[i] >= f->n_targets)
            return gi_eval_fail(a, -1, "leaf %lld is for target %lld of %lld", (long long)i, (long long)targets[i],
                                (long long)f->n_targets);
        f->votes[i] = (gi_tree_vote){ targets[i], weights[i] };
        f->first[i + 1] = i + 1;
    }
    GI_TRY(read_nodes(f));
    f->n_roots = gi_attr_ints(a->n, TreeEnsemble_at_tree_roots, &roots);
    f->roots = gi_eval_scratch(a, (size_t)f->n_roots + 1, sizeof *f->roots);
    GI_NEED(f->roots);
    for (int64_t i = 0; i < f->n_roots; i++) {
        if (roots[i] < 0 || roots[i] >= f->n_nodes)
            return gi_eval_fail(a, -1, "attribute tree_roots holds %lld, there are %lld nodes", (long long)roots[i],
                                (long long)f->n_nodes);
        f->roots[i] = roots[i];
    }
    const int64_t how = gi_attr_int(a->n, TreeEnsemble_at_aggregate_function);
    const int64_t post = gi_attr_int(a->n, TreeEnsemble_at_post_transform);
    if (how < 0 || how >= GI_TREES_AGGREGATES || post < 0 || post > GI_ML_PROBIT)
        return gi_eval_fail(a, -1, "attributes aggregate_function and post_transform are %lld and %lld", (long long)how,
                            (long long)post);
    f->how = (gi_trees_aggregate)how;
    f->post = (gi_ml_post)post;
    return GOPT_OK;
}

static const named_at regressor_at = { .falsenodeids = TreeEnsembleRegressor_at_nodes_falsenodeids,
                                       .featureids = TreeEnsembleRegressor_at_nodes_featureids,
                                       .missing = TreeEnsembleRegressor_at_nodes_missing_value_tracks_true,
                                       .modes = TreeEnsembleRegressor_at_nodes_modes,
                                       .nodeids = TreeEnsembleRegressor_at_nodes_nodeids,
                                       .treeids = TreeEnsembleRegressor_at_nodes_treeids,
                                       .truenodeids = TreeEnsembleRegressor_at_nodes_truenodeids,
                                       .values = TreeEnsembleRegressor_at_nodes_values,
                                       .values_tensor = TreeEnsembleRegressor_at_nodes_values_as_tensor,
                                       .base = TreeEnsembleRegressor_at_base_values,
                                       .base_tensor = TreeEnsembleRegressor_at_base_values_as_tensor,
                                       .ids = TreeEnsembleRegressor_at_target_ids,
                                       .vote_nodeids = TreeEnsembleRegressor_at_target_nodeids,
                                       .vote_treeids = TreeEnsembleRegressor_at_target_treeids,
                                       .weights = TreeEnsembleRegressor_at_target_weights,
                                       .weights_tensor = TreeEnsembleRegressor_at_target_weights_as_tensor,
                                       .post = TreeEnsembleRegressor_at_post_transform };

static const named_at classifier_at = { .falsenodeids = TreeEnsembleClassifier_at_nodes_falsenodeids,
                                        .featureids = TreeEnsembleClassifier_at_nodes_featureids,
                                        .missing = TreeEnsembleClassifier_at_nodes_missing_value_tracks_true,
                                        .modes = TreeEnsembleClassifier_at_nodes_modes,
                                        .nodeids = TreeEnsembleClassifier_at_nodes_nodeids,
                                        .treeids = TreeEnsembleClassifier_at_nodes_treeids,
                                        .truenodeids = TreeEnsembleClassifier_at_nodes_truenodeids,
                                        .values = TreeEnsembleClassifier_at_nodes_values,
                                        .values_tensor = TreeEnsembleClassifier_at_nodes_values_as_tensor,
                                        .base = TreeEnsembleClassifier_at_base_values,
                                        .base_tensor = TreeEnsembleClassifier_at_base_values_as_tensor,
                                        .ids = TreeEnsembleClassifier_at_class_ids,
                                        .vote_nodeids = TreeEnsembleClassifier_at_class_nodeids,
                                        .vote_treeids = TreeEnsembleClassifier_at_class_treeids,
                                        .weights = TreeEnsembleClassifier_at_class_weights,
                                        .weights_tensor = TreeEnsembleClassifier_at_class_weights_as_tensor,
                                        .post = TreeEnsembleClassifier_at_post_transform };

bool gi_forest_aggregate_of(const gi_node *n, gi_trees_aggregate *out)
{
    static const char *const names[GI_TREES_AGGREGATES] = { "AVERAGE", "SUM", "MIN", "MAX" };
    for (int i = 0; i < GI_TREES_AGGREGATES; i++)
        if (gi_attr_is(n, TreeEnsembleRegressor_at_aggregate_function, names[i])) {
            *out = (gi_trees_aggregate)i;
            return true;
        }
    return false;
}

/* ---- one node ---- */

static gopt_status check_base(const gi_forest *f)
{
    const bool few = f->labels.n == 2 && f->n_base == 1;
    if (!f->n_base || f->n_base == f->n_targets || few)
        return GOPT_OK;
    return gi_eval_fail(f->a, -1, "it has %lld base values for %lld %s", (long long)f->n_base, (long long)f->n_targets,
                        f->labels.n ? "classes" : "targets");
}

static gopt_status read_classifier(gi_eval *a, gi_forest *f)
{
    f->labels = gi_ml_labels_of(a->n, TreeEnsembleClassifier_at_classlabels_int64s,
                                TreeEnsembleClassifier_at_classlabels_strings);
    f->how = GI_TREES_SUM;
    GI_TRY(read_named(a, &classifier_at, f->labels.n, f));
    f->lone = f->n_targets == 2;
    f->positive = true;
    for (int64_t i = 0; i < f->n_votes; i++) {
        f->lone &= f->votes[i].target == f->votes[0].target;
        f->positive &= !(f->votes[i].weight < 0);
    }
    return GOPT_OK;
}

gopt_status gi_forest_read(gi_eval *a, gopt_dtype type, int64_t width, gi_forest *f)
{
    *f = (gi_forest){ .a = a, .width = width, .wide = type == GOPT_F64 };
    if (a->n->op == OP_TreeEnsemble)
        return read_forest(a, f);
    if (a->n->op == OP_TreeEnsembleClassifier) {
        GI_TRY(read_classifier(a, f));
        return check_base(f);
    }
    if (!gi_forest_aggregate_of(a->n, &f->how))
        return gi_eval_fail(a, -1, "attribute aggregate_function is of no value that the operator knows");
    GI_TRY(read_named(a, &regressor_at, gi_attr_int(a->n, TreeEnsembleRegressor_at_n_targets), f));
    return check_base(f);
}
