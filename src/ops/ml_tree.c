/* ai.onnx.ml: ensembles of decision trees, of both descriptions that ONNX has.
 *
 * Both are read into one form: an array of inner nodes whose branches are positions, of a node or, complemented, of a
 * leaf; and the leaves' votes, one leaf's after the other's. A row walks from each root down. A branch that leads back
 * up (models are hostile) is found by counting: no walk is longer than there are nodes. */
#include <math.h>
#include <stdlib.h>

#include "ops/ml.h"

/* In TreeEnsemble's order. */
typedef enum mode { LEQ, LT, GTE, GT, EQ, NEQ, MEMBER, MODE_COUNT, LEAF } mode;
typedef enum aggregate { AVERAGE, SUM, MIN, MAX, AGGREGATE_COUNT } aggregate;

typedef struct tree_node {
    mode mode;
    bool missing_true; /* NaN goes the true way */
    int64_t feature;
    double value;    /* of the comparison; of MEMBER how many members there are */
    int64_t members; /* where they begin */
    int64_t yes, no; /* a node, or ~leaf */
} tree_node;

typedef struct vote {
    int64_t target;
    double weight;
} vote;

typedef struct forest {
    gi_eval *a;
    tree_node *nodes;
    int64_t n_nodes;
    const double *members;
    int64_t *roots;
    int64_t n_roots;
    vote *votes;
    int64_t *first; /* of each leaf, and one more */
    int64_t n_leaves, n_votes;
    int64_t n_targets, width;
    double *base; /* of each target; n_base may be 0 */
    int64_t n_base;
    aggregate how;
    gi_ml_post post;
    bool wide; /* sums are of doubles; else each is rounded to a float */
    double *row, *sums;
    bool *has; /* did a leaf vote for the target? */
} forest;

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

static gopt_status start(gi_eval *a, int64_t n_nodes, int64_t n_targets, forest *f)
{
    f->a = a;
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

static gopt_status check_feature(const forest *f, int64_t i)
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

static bool mode_of(const char *s, mode *m)
{
    static const char *const names[] = {
        "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"
    };
    for (size_t i = 0; i < GI_COUNT(names); i++)
        if (!strcmp(s, names[i])) {
            *m = (mode)i;
            return true;
        }
    *m = LEAF;
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
static gopt_status branch(const forest *f, const named *names, int64_t tree, int64_t node, int64_t *to)
{
    const named *found = find_node(names, f->n_nodes, tree, node);
    if (!found)
        return gi_eval_fail(f->a, -1, "a branch of tree %lld leads to node %lld, which it lacks", (long long)tree,
                            (long long)node);
    *to = f->nodes[found->at].mode == LEAF ? ~found->at : found->at;
    return GOPT_OK;
}

static gopt_status read_named_nodes(forest *f, const named_at *at, named **names)
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
        tree_node *t = &f->nodes[i];
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
        tree_node *t = &f->nodes[i];
        if (i == 0 || (trees[i] != trees[i - 1] && !gi_map_get(&seen, (uint64_t)trees[i]))) {
            f->roots[f->n_roots++] = t->mode == LEAF ? ~i : i; /* the first node of a tree is its root */
            GI_NEED(gi_map_put(&seen, (uint64_t)trees[i], t));
        }
        if (t->mode == LEAF)
            continue;
        GI_TRY(check_feature(f, i));
        GI_TRY(branch(f, *names, trees[i], yes[i], &t->yes));
        GI_TRY(branch(f, *names, trees[i], no[i], &t->no));
    }
    return GOPT_OK;
}

static gopt_status read_named_votes(forest *f, const named_at *at, const named *names)
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
        f->votes[f->first[leaf[i] + 1]++] = (vote){ targets[i], weights[i] };
    return GOPT_OK;
}

static gopt_status read_named(gi_eval *a, const named_at *at, int64_t n_targets, forest *f)
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

static gopt_status position(const forest *f, int64_t i, int64_t to, bool leaf, int64_t *out)
{
    const int64_t n = leaf ? f->n_leaves : f->n_nodes;
    if (to < 0 || to >= n)
        return gi_eval_fail(f->a, -1, "a branch of node %lld leads to %s %lld of %lld", (long long)i,
                            leaf ? "leaf" : "node", (long long)to, (long long)n);
    *out = leaf ? ~to : to;
    return GOPT_OK;
}

static gopt_status read_nodes(forest *f)
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
        tree_node *t = &f->nodes[i];
        if (!(modes[i] >= 0 && modes[i] < MODE_COUNT))
            return gi_eval_fail(a, -1, "attribute nodes_modes holds %g", modes[i]);
        *t = (tree_node){
            .mode = (mode)modes[i], .feature = features[i], .value = splits[i], .missing_true = missing && missing[i]
        };
        GI_TRY(check_feature(f, i));
        GI_TRY(position(f, i, yes[i], yes_leaf[i] != 0, &t->yes));
        GI_TRY(position(f, i, no[i], no_leaf[i] != 0, &t->no));
        if (t->mode != MEMBER)
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

static gopt_status read_forest(gi_eval *a, forest *f)
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
        f->votes[i] = (vote){ targets[i], weights[i] };
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
    if (how < 0 || how >= AGGREGATE_COUNT || post < 0 || post > GI_ML_PROBIT)
        return gi_eval_fail(a, -1, "attributes aggregate_function and post_transform are %lld and %lld", (long long)how,
                            (long long)post);
    f->how = (aggregate)how;
    f->post = (gi_ml_post)post;
    return GOPT_OK;
}

/* ---- walking ---- */

static bool is_member(const forest *f, const tree_node *t, double x)
{
    for (int64_t i = 0; i < (int64_t)t->value; i++)
        if (f->members[t->members + i] == x)
            return true;
    return false;
}

static bool holds(const forest *f, const tree_node *t, double x)
{
    switch (t->mode) {
    case LEQ:
        return x <= t->value;
    case LT:
        return x < t->value;
    case GTE:
        return x >= t->value;
    case GT:
        return x > t->value;
    case EQ:
        return x == t->value;
    case NEQ:
        return x != t->value;
    case MEMBER:
        return is_member(f, t, x);
    case MODE_COUNT:
    case LEAF:
        break;
    }
    return false;
}

/* The leaf that the row comes to; -1 where the walk does not end. */
static int64_t walk(const forest *f, int64_t at)
{
    for (int64_t steps = 0; at >= 0; steps++) {
        const tree_node *t = &f->nodes[at];
        const double x = f->row[t->feature];
        if (steps > f->n_nodes)
            return -1;
        at = holds(f, t, x) || (t->missing_true && isnan(x)) ? t->yes : t->no;
    }
    return ~at;
}

static double rounded(const forest *f, double x)
{
    return f->wide ? x : (double)(float)x;
}

static void add_vote(const forest *f, const vote *v)
{
    double *s = &f->sums[v->target];
    const double w = rounded(f, v->weight);
    if (!f->has[v->target])
        *s = w;
    else if (f->how == MIN || f->how == MAX)
        *s = (f->how == MIN ? w < *s : w > *s) ? w : *s;
    else
        *s = rounded(f, *s + w);
    f->has[v->target] = true;
}

/* What all trees say of one row, without base values. */
static gopt_status ask(const forest *f, int64_t r)
{
    gi_ml_row(f->a->in[0], r, f->width, f->row);
    memset(f->sums, 0, (size_t)f->n_targets * sizeof *f->sums);
    memset(f->has, 0, (size_t)f->n_targets * sizeof *f->has);
    for (int64_t k = 0; k < f->n_roots; k++) {
        const int64_t leaf = walk(f, f->roots[k]);
        if (leaf < 0)
            return gi_eval_fail(f->a, -1, "its tree #%lld runs in a circle", (long long)k);
        for (int64_t i = f->first[leaf]; i < f->first[leaf + 1]; i++)
            add_vote(f, &f->votes[i]);
    }
    for (int64_t i = 0; i < f->n_targets && f->how == AVERAGE && f->n_roots; i++)
        f->sums[i] = rounded(f, f->sums[i] / (double)f->n_roots);
    return GOPT_OK;
}

/* ---- TreeEnsemble and TreeEnsembleRegressor ---- */

static gopt_status regress(gi_eval *a, forest *f, int64_t rows, gopt_dtype type)
{
    gopt_tensor *y;
    if (f->n_base && f->n_base != f->n_targets)
        return gi_eval_fail(a, -1, "it has %lld base values for %lld targets", (long long)f->n_base,
                            (long long)f->n_targets);
    GI_TRY(gi_eval_out(a, 0, type, 2, (const int64_t[]){ rows, f->n_targets }, &y));
    for (int64_t r = 0; y && r < rows; r++) {
        GI_TRY(ask(f, r));
        for (int64_t i = 0; i < f->n_base; i++)
            f->sums[i] = rounded(f, f->sums[i] + f->base[i]);
        gi_ml_finish(f->post, GI_ML_LONE, f->sums, f->n_targets);
        for (int64_t i = 0; i < f->n_targets; i++)
            gi_store_f64(type, y->data, (size_t)(r * f->n_targets + i), f->sums[i]);
    }
    return GOPT_OK;
}

static gopt_status eval_ensemble(gi_eval *a)
{
    forest f = { .wide = a->in[0]->dtype == GOPT_F64 };
    int64_t rows;
    GI_TRY(gi_ml_rows(a, a->in[0], &rows, &f.width));
    GI_TRY(read_forest(a, &f));
    return regress(a, &f, rows, a->in[0]->dtype);
}

static gopt_status infer_ensemble(gi_infer *c)
{
    const int64_t n = gi_attr_int(c->n, TreeEnsemble_at_n_targets);
    if (n < 1)
        return gi_infer_fail_node(c, "attribute n_targets is %lld", (long long)n);
    return gi_ml_infer_rows(c, 0, gi_infer_dtype(c, 0), n);
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

static bool aggregate_of(const gi_node *n, aggregate *out)
{
    static const char *const names[AGGREGATE_COUNT] = { "AVERAGE", "SUM", "MIN", "MAX" };
    for (int i = 0; i < AGGREGATE_COUNT; i++)
        if (gi_attr_is(n, TreeEnsembleRegressor_at_aggregate_function, names[i])) {
            *out = (aggregate)i;
            return true;
        }
    return false;
}

static gopt_status eval_regressor(gi_eval *a)
{
    forest f = { .wide = a->in[0]->dtype == GOPT_F64 };
    int64_t rows;
    GI_TRY(gi_ml_rows(a, a->in[0], &rows, &f.width));
    if (!aggregate_of(a->n, &f.how))
        return gi_eval_fail(a, -1, "attribute aggregate_function is of no value that the operator knows");
    GI_TRY(read_named(a, &regressor_at, gi_attr_int(a->n, TreeEnsembleRegressor_at_n_targets), &f));
    return regress(a, &f, rows, GOPT_F32);
}

static gopt_status infer_regressor(gi_infer *c)
{
    const int64_t n = gi_attr_int(c->n, TreeEnsembleRegressor_at_n_targets);
    aggregate how;
    if (n < 1)
        return gi_infer_fail_node(c, "attribute n_targets is %lld", (long long)n);
    if (!aggregate_of(c->n, &how))
        return gi_infer_fail_node(c, "attribute aggregate_function is '%.40s', expected SUM, AVERAGE, MIN or MAX",
                                  gi_attr_str(c->n, TreeEnsembleRegressor_at_aggregate_function));
    GI_TRY(gi_ml_infer_post(c, TreeEnsembleRegressor_at_post_transform));
    return gi_ml_infer_rows(c, 0, GOPT_F32, n);
}

/* ---- TreeEnsembleClassifier ---- */

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

/* The specification leaves two classes open; this is what ONNX Runtime makes of them, and what exporters write for
 * it. Where all votes are for one class, they are the second one's score: a probability where no weight is negative
 * (then the first has the complement, and 0.5 decides), else a margin (then it has the opposite, and 0 decides). */
typedef struct two_classes {
    bool lone, positive;
} two_classes;

static int64_t decide_two(const forest *f, const two_classes *how, int64_t *scores)
{
    double *s = f->sums;
    if (f->n_base == 2 && f->has[1]) {
        s[1] = rounded(f, s[1] + f->base[1]);
        s[0] = rounded(f, s[0] + f->base[0]);
    } else if (f->n_base == 2) {
        s[1] = rounded(f, s[0] + f->base[1]);
        s[0] = -s[1];
    } else if (f->n_base == 1) {
        double *lone = &s[f->has[1] ? 1 : 0];
        *lone = rounded(f, *lone + f->base[0]);
    }
    const bool both = f->has[1] || f->n_base == 2;
    *scores = 2;
    if (!how->lone)
        return s[1] > s[0];
    const double weight = both ? s[1] : s[0];
    const bool second = weight > (how->positive ? 0.5 : 0);
    if (!both)
        *scores = 1;
    return second;
}

/* The first of the largest among classes that have a score. */
static int64_t decide_many(const forest *f)
{
    int64_t best = -1;
    for (int64_t i = 0; i < f->n_targets; i++) {
        if (f->n_base)
            f->sums[i] = rounded(f, f->sums[i] + f->base[i]);
        if ((f->n_base || f->has[i]) && (best < 0 || f->sums[i] > f->sums[best]))
            best = i;
    }
    return best < 0 ? 0 : best;
}

static two_classes read_two(const forest *f)
{
    two_classes how = { .lone = f->n_targets == 2, .positive = true };
    for (int64_t i = 0; i < f->n_votes; i++) {
        how.lone &= f->votes[i].target == f->votes[0].target;
        how.positive &= !(f->votes[i].weight < 0);
    }
    return how;
}

static gopt_status eval_classifier(gi_eval *a)
{
    const gi_ml_labels l = gi_ml_labels_of(a->n, TreeEnsembleClassifier_at_classlabels_int64s,
                                           TreeEnsembleClassifier_at_classlabels_strings);
    forest f = { .wide = a->in[0]->dtype == GOPT_F64, .how = SUM };
    int64_t rows;
    gopt_tensor *y, *z;
    GI_TRY(gi_ml_rows(a, a->in[0], &rows, &f.width));
    GI_TRY(read_named(a, &classifier_at, l.n, &f));
    if (f.n_base && f.n_base != l.n && !(f.n_base == 1 && l.n == 2))
        return gi_eval_fail(a, -1, "it has %lld base values for %lld classes", (long long)f.n_base, (long long)l.n);
    const two_classes how = read_two(&f);
    GI_TRY(gi_eval_out(a, TreeEnsembleClassifier_out_Y, gi_ml_labels_type(&l), 1, &rows, &y));
    GI_TRY(gi_eval_out(a, TreeEnsembleClassifier_out_Z, GOPT_F32, 2, (const int64_t[]){ rows, l.n }, &z));
    for (int64_t r = 0; r < rows; r++) {
        int64_t scores = l.n;
        GI_TRY(ask(&f, r));
        const int64_t best = l.n == 2 ? decide_two(&f, &how, &scores) : decide_many(&f);
        if (y)
            gi_ml_put_label(y, r, &l, best);
        gi_ml_finish(f.post, l.n == 1 ? GI_ML_LONE : how.positive ? GI_ML_COMPLEMENT : GI_ML_OPPOSITE, f.sums, scores);
        for (int64_t k = 0; z && k < l.n; k++)
            ((float *)z->data)[r * l.n + k] = (float)f.sums[k];
    }
    return GOPT_OK;
}

static gopt_status infer_classifier(gi_infer *c)
{
    const gi_ml_labels l = gi_ml_labels_of(c->n, TreeEnsembleClassifier_at_classlabels_int64s,
                                           TreeEnsembleClassifier_at_classlabels_strings);
    GI_TRY(gi_ml_infer_post(c, TreeEnsembleClassifier_at_post_transform));
    return gi_ml_infer_classes(c, &l, l.n);
}

#include "ops/rows.h"

#include "ir/ops/ml_tree.def"
