/* Horizontal merging: a group of parallel products, and the one that takes their place.
 *
 * A member is a product with what follows it in all members alike: `step`s are pointwise nodes whose operands are results
 * of the member itself, numbers that all members share, or constants with one element a channel. */
#ifndef GI_MERGE_H
#define GI_MERGE_H

#include "passes/cost.h"

enum { GI_MERGE_MEMBERS = 32, GI_MERGE_STEPS = 8, GI_MERGE_SPATIAL = 3 };

typedef struct gi_member {
    gi_node *product;
    gi_node *bias;                                             /* the Add of a constant behind a MatMul; NULL: none */
    gi_node *step[GI_MERGE_STEPS];                             /* of the group's n_steps */
    gi_value *last;                                            /* what the member results in */
    int64_t width;                                             /* columns, or channels, of its result */
    int64_t before[GI_MERGE_SPATIAL], after[GI_MERGE_SPATIAL]; /* zeros that its kernel is padded with */
} gi_member;

typedef struct gi_merge {
    gopt_graph *g;
    gi_pass_ctx *cx;
    gi_member m[GI_MERGE_MEMBERS];
    size_t n, n_steps;
    int axis;    /* along which the results lie side by side */
    bool biased; /* a member has a bias Add */
    bool padded; /* kernels differ in size: the smaller ones get zeros; m[wide] has the largest */
    size_t wide;
    gi_node *before; /* the first product in the block's order: where the new nodes go */
    gi_node *concat; /* takes the results one after another, from input `from` on; NULL: they are split */
    uint32_t from;
    gi_node *
        split; /* the members read its results in turn, and become one grouped convolution; NULL: they read one value */
} gi_merge;

/* Result j of a member: 0 the product with its bias, k the k-th step. */
static inline gi_value *gi_member_value(const gi_member *m, size_t j)
{
    return j ? m->step[j - 1]->out[0] : m->bias ? m->bias->out[0] : m->product->out[0];
}

/* A constant with one element for each of the product's channels, and nothing else. */
bool gi_merge_is_per_channel(const gi_merge *mg, const gi_member *m, const gi_value *v);
/* The axis of the weights along which the members lie side by side. */
int gi_merge_weight_axis(const gi_node *product);
/* Builds the one product with its steps, and a Split where no Concat takes the results; the members go. *at receives the
 * node that a remark is about. */
gopt_status gi_merge_build(gi_merge *mg, gi_node **at);

#endif
