/* Ensembles of decision trees as both descriptions of ai.onnx.ml are read: TreeEnsemble's by position, the older
 * operators' by tree and node. One reader serves the reference evaluation and backends that prepare a forest once.
 *
 * A forest is an array of inner nodes whose branches are positions, of a node or, complemented, of a leaf; and the
 * leaves' votes, one leaf's after the other's. A branch may lead back up (models are hostile): who walks has to count
 * or to look beforehand. */
#ifndef GI_FOREST_H
#define GI_FOREST_H

#include "ops/ml.h"

/* In TreeEnsemble's order. */
typedef enum gi_tree_mode {
    GI_TREE_LEQ,
    GI_TREE_LT,
    GI_TREE_GTE,
    GI_TREE_GT,
    GI_TREE_EQ,
    GI_TREE_NEQ,
    GI_TREE_MEMBER,
    GI_TREE_MODES,
    GI_TREE_LEAF
} gi_tree_mode;

typedef enum gi_trees_aggregate {
    GI_TREES_AVERAGE,
    GI_TREES_SUM,
    GI_TREES_MIN,
    GI_TREES_MAX,
    GI_TREES_AGGREGATES
} gi_trees_aggregate;

typedef struct gi_tree_node {
    gi_tree_mode mode; /* LEAF in the older description: no branch leads to it, but to its complement */
    bool missing_true; /* NaN goes the true way */
    int64_t feature;
    double value;    /* of the comparison; of MEMBER how many members there are */
    int64_t members; /* where they begin */
    int64_t yes, no; /* a node, or ~leaf */
} gi_tree_node;

typedef struct gi_tree_vote {
    int64_t target;
    double weight;
} gi_tree_vote;

typedef struct gi_forest {
    gi_eval *a;
    gi_tree_node *nodes;
    int64_t n_nodes;
    const double *members;
    int64_t *roots; /* a node, or ~leaf */
    int64_t n_roots;
    gi_tree_vote *votes;
    int64_t *first; /* of each leaf, and one more */
    int64_t n_leaves, n_votes;
    int64_t n_targets, width;
    double *base; /* of each target; n_base may be 0 */
    int64_t n_base;
    gi_trees_aggregate how;
    gi_ml_post post;
    bool wide;           /* sums are of doubles; else each is rounded to a float */
    gi_ml_labels labels; /* a classifier's; n is 0 for others */
    bool lone, positive; /* a classifier's, see decide_two in ml_tree.c */
    /* One row's: features, what was voted, and for which targets a leaf voted at all. Room for width, and twice for
     * n_targets + 2. Threads that share a forest each have a copy of this structure with arrays of their own. */
    double *row, *sums;
    bool *has;
} gi_forest;

/* Reads the node a->n, whose input is of that type and width; all memory is of a->scratch. Fails, naming what it
 * found, where attributes contradict each other or features and targets are out of range. */
gopt_status gi_forest_read(gi_eval *a, gopt_dtype type, int64_t width, gi_forest *f);

/* TreeEnsembleRegressor's attribute aggregate_function; false for a name that is none. */
bool gi_forest_aggregate_of(const gi_node *n, gi_trees_aggregate *out);

/* Row r's results by its votes, to y and a classifier's z; each may be NULL. */
void gi_forest_finish(const gi_forest *f, int64_t r, gopt_tensor *y, gopt_tensor *z);

static inline double gi_forest_round(const gi_forest *f, double x)
{
    return f->wide ? x : (double)(float)x;
}

static inline void gi_forest_add(const gi_forest *f, int64_t target, double weight)
{
    double *s = &f->sums[target];
    const double w = gi_forest_round(f, weight);
    if (!f->has[target])
        *s = w;
    else if (f->how == GI_TREES_MIN || f->how == GI_TREES_MAX)
        *s = (f->how == GI_TREES_MIN ? w < *s : w > *s) ? w : *s;
    else
        *s = gi_forest_round(f, *s + w);
    f->has[target] = true;
}

#endif
