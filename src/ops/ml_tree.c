/* ai.onnx.ml: ensembles of decision trees, as forest.c reads them. A row walks from each root down; a branch that
 * leads back up is found by counting: no walk is longer than there are nodes. */
#include <math.h>

#include "ops/forest.h"

/* ---- walking ---- */

static bool is_member(const gi_forest *f, const gi_tree_node *t, double x)
{
    for (int64_t i = 0; i < (int64_t)t->value; i++)
        if (f->members[t->members + i] == x)
            return true;
    return false;
}

static bool holds(const gi_forest *f, const gi_tree_node *t, double x)
{
    switch (t->mode) {
    case GI_TREE_LEQ:
        return x <= t->value;
    case GI_TREE_LT:
        return x < t->value;
    case GI_TREE_GTE:
        return x >= t->value;
    case GI_TREE_GT:
        return x > t->value;
    case GI_TREE_EQ:
        return x == t->value;
    case GI_TREE_NEQ:
        return x != t->value;
    case GI_TREE_MEMBER:
        return is_member(f, t, x);
    case GI_TREE_MODES:
    case GI_TREE_LEAF:
        break;
    }
    return false;
}

/* The leaf that the row comes to; -1 where the walk does not end. */
static int64_t walk(const gi_forest *f, int64_t at)
{
    for (int64_t steps = 0; at >= 0; steps++) {
        const gi_tree_node *t = &f->nodes[at];
        const double x = f->row[t->feature];
        if (steps > f->n_nodes)
            return -1;
        at = holds(f, t, x) || (t->missing_true && isnan(x)) ? t->yes : t->no;
    }
    return ~at;
}

/* What all trees say of one row, added up. */
static gopt_status ask(const gi_forest *f, int64_t r)
{
    gi_ml_row(f->a->in[0], r, f->width, f->row);
    memset(f->sums, 0, (size_t)f->n_targets * sizeof *f->sums);
    memset(f->has, 0, (size_t)f->n_targets * sizeof *f->has);
    for (int64_t k = 0; k < f->n_roots; k++) {
        const int64_t leaf = walk(f, f->roots[k]);
        if (leaf < 0)
            return gi_eval_fail(f->a, -1, "its tree #%lld runs in a circle", (long long)k);
        for (int64_t i = f->first[leaf]; i < f->first[leaf + 1]; i++)
            gi_forest_add(f, f->votes[i].target, f->votes[i].weight);
    }
    return GOPT_OK;
}

/* ---- results ---- */

/* The specification leaves two classes open; this is what ONNX Runtime makes of them, and what exporters write for
 * it. Where all votes are for one class, they are the second one's score: a probability where no weight is negative
 * (then the first has the complement, and 0.5 decides), else a margin (then it has the opposite, and 0 decides). */
static int64_t decide_two(const gi_forest *f, int64_t *scores)
{
    double *s = f->sums;
    if (f->n_base == 2 && f->has[1]) {
        s[1] = gi_forest_round(f, s[1] + f->base[1]);
        s[0] = gi_forest_round(f, s[0] + f->base[0]);
    } else if (f->n_base == 2) {
        s[1] = gi_forest_round(f, s[0] + f->base[1]);
        s[0] = -s[1];
    } else if (f->n_base == 1) {
        double *lone = &s[f->has[1] ? 1 : 0];
        *lone = gi_forest_round(f, *lone + f->base[0]);
    }
    const bool both = f->has[1] || f->n_base == 2;
    *scores = 2;
    if (!f->lone)
        return s[1] > s[0];
    const double weight = both ? s[1] : s[0];
    const bool second = weight > (f->positive ? 0.5 : 0);
    if (!both)
        *scores = 1;
    return second;
}

/* The first of the largest among classes that have a score. */
static int64_t decide_many(const gi_forest *f)
{
    int64_t best = -1;
    for (int64_t i = 0; i < f->n_targets; i++) {
        if (f->n_base)
            f->sums[i] = gi_forest_round(f, f->sums[i] + f->base[i]);
        if ((f->n_base || f->has[i]) && (best < 0 || f->sums[i] > f->sums[best]))
            best = i;
    }
    return best < 0 ? 0 : best;
}

static void finish_values(const gi_forest *f, int64_t r, gopt_tensor *y)
{
    for (int64_t i = 0; i < f->n_base; i++)
        f->sums[i] = gi_forest_round(f, f->sums[i] + f->base[i]);
    gi_ml_finish(f->post, GI_ML_LONE, f->sums, f->n_targets);
    for (int64_t i = 0; y && i < f->n_targets; i++)
        gi_store_f64(y->dtype, y->data, (size_t)(r * f->n_targets + i), f->sums[i]);
}

static void finish_class(const gi_forest *f, int64_t r, gopt_tensor *y, gopt_tensor *z)
{
    const gi_ml_labels *l = &f->labels;
    int64_t scores = l->n;
    const int64_t best = l->n == 2 ? decide_two(f, &scores) : decide_many(f);
    if (y)
        gi_ml_put_label(y, r, l, best);
    gi_ml_finish(f->post, l->n == 1 ? GI_ML_LONE : f->positive ? GI_ML_COMPLEMENT : GI_ML_OPPOSITE, f->sums, scores);
    for (int64_t k = 0; z && k < l->n; k++)
        ((float *)z->data)[r * l->n + k] = (float)f->sums[k];
}

void gi_forest_finish(const gi_forest *f, int64_t r, gopt_tensor *y, gopt_tensor *z)
{
    for (int64_t i = 0; i < f->n_targets && f->how == GI_TREES_AVERAGE && f->n_roots; i++)
        f->sums[i] = gi_forest_round(f, f->sums[i] / (double)f->n_roots);
    if (f->labels.n)
        finish_class(f, r, y, z);
    else
        finish_values(f, r, y);
}

/* ---- operators ---- */

static gopt_status eval_trees(gi_eval *a)
{
    gi_forest f;
    int64_t rows, width;
    gopt_tensor *y, *z = NULL;
    GI_TRY(gi_ml_rows(a, a->in[0], &rows, &width));
    GI_TRY(gi_forest_read(a, a->in[0]->dtype, width, &f));
    if (f.labels.n) {
        GI_TRY(gi_eval_out(a, TreeEnsembleClassifier_out_Y, gi_ml_labels_type(&f.labels), 1, &rows, &y));
        GI_TRY(gi_eval_out(a, TreeEnsembleClassifier_out_Z, GOPT_F32, 2, (const int64_t[]){ rows, f.n_targets }, &z));
    } else {
        const gopt_dtype type = a->n->op == OP_TreeEnsemble ? a->in[0]->dtype : GOPT_F32;
        GI_TRY(gi_eval_out(a, 0, type, 2, (const int64_t[]){ rows, f.n_targets }, &y));
    }
    for (int64_t r = 0; (y || z) && r < rows; r++) {
        GI_TRY(ask(&f, r));
        gi_forest_finish(&f, r, y, z);
    }
    return GOPT_OK;
}

static gopt_status infer_ensemble(gi_infer *c)
{
    const int64_t n = gi_attr_int(c->n, TreeEnsemble_at_n_targets);
    if (n < 1)
        return gi_infer_fail_node(c, "attribute n_targets is %lld", (long long)n);
    return gi_ml_infer_rows(c, 0, gi_infer_dtype(c, 0), n);
}

static gopt_status infer_regressor(gi_infer *c)
{
    const int64_t n = gi_attr_int(c->n, TreeEnsembleRegressor_at_n_targets);
    gi_trees_aggregate how;
    if (n < 1)
        return gi_infer_fail_node(c, "attribute n_targets is %lld", (long long)n);
    if (!gi_forest_aggregate_of(c->n, &how))
        return gi_infer_fail_node(c, "attribute aggregate_function is '%.40s', expected SUM, AVERAGE, MIN or MAX",
                                  gi_attr_str(c->n, TreeEnsembleRegressor_at_aggregate_function));
    GI_TRY(gi_ml_infer_post(c, TreeEnsembleRegressor_at_post_transform));
    return gi_ml_infer_rows(c, 0, GOPT_F32, n);
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
