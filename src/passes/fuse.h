/* What the parts of vertical fusion share: growing a set of nodes, and the groups that become regions.
 *
 * Every group keeps to one law: whoever reads one of its values from outside stands after its last node. So the
 * region can stand where its last node stood, no path leaves it and comes back, and no two regions wait for one
 * another; which group is drawn first does not matter. A set of which only the last node's result is read outside
 * keeps the law by itself, since an order is always a valid schedule. */
#ifndef GI_FUSE_H
#define GI_FUSE_H

#include "passes/cost.h"

enum {
    GI_FUSE_MAX_EPILOGUE = 16,
    GI_FUSE_MAX_NODES = 48,
    GI_FUSE_MAX_RESULTS = 8,
    GI_FUSE_MAX_USERS = 64, /* of a value, and operands of a node, that are looked at: keeps the pass linear */
};

/* Nodes that become one region. */
typedef struct gi_group {
    gi_fusion_kind kind;
    gi_node *main;   /* the product, pool, … that it grew around; NULL of a pointwise cluster */
    gi_node **nodes; /* in the block's order */
    size_t n;
    bool gone; /* became a part of another */
} gi_group;

typedef gi_vec(gi_node *) gi_nodes;

typedef struct gi_fuser {
    gopt_graph *g;
    gi_pass_ctx *cx;
    gi_block *block;
    gi_nodes all;    /* of the block, in order */
    uint32_t *at;    /* by node id: position in its block, from 1 */
    uint32_t *stamp; /* by node id: the set that it was last put in */
    uint32_t *group; /* by node id: its group + 1; 0 while it is free */
    uint32_t n_nodes;
    gi_vec(gi_group) groups; /* of the block */
    /* the growing set */
    uint32_t set, last; /* its number; the position of its last node */
    gi_nodes nodes, waiting;
    const char *why; /* what stopped it */
} gi_fuser;

/* ---- what a node is ---- */

/* Computes each element of its one result from the elements in that place: also a BatchNormalization of constant
 * statistics. */
bool gi_fuse_is_pointwise(const gi_node *n);
bool gi_fuse_is_product(const gi_node *n); /* Conv, ConvTranspose, MatMul, Gemm */
/* The same shape for all values of the symbols; element types may differ. */
bool gi_fuse_same_dims(gopt_graph *g, const gi_type *a, const gi_type *b);
/* Is `from` broadcast to `to` whatever the symbols are? Also where the shapes are the same. */
bool gi_fuse_broadcasts(gopt_graph *g, const gi_type *from, const gi_type *to);

/* ---- the growing set ---- */

static inline bool gi_fuse_in_set(const gi_fuser *f, const gi_node *n)
{
    return n && n->id < f->n_nodes && f->stamp[n->id] == f->set;
}
/* In this block and in no group? */
static inline bool gi_fuse_is_free(const gi_fuser *f, const gi_node *n)
{
    return n && n->block == f->block && n->id < f->n_nodes && !f->group[n->id];
}
static inline gi_group *gi_fuse_group_of(const gi_fuser *f, const gi_node *n)
{
    return n && n->block == f->block && n->id < f->n_nodes && f->group[n->id] ? &f->groups.p[f->group[n->id] - 1]
                                                                              : NULL;
}

bool gi_fuse_begin(gi_fuser *f, gi_node *n); /* a set of n alone */
bool gi_fuse_begin_group(gi_fuser *f, gi_group *g);
bool gi_fuse_add(gi_fuser *f, gi_node *n);
bool gi_fuse_push_users(gi_fuser *f, const gi_value *v);
bool gi_fuse_push_producers(gi_fuser *f, const gi_node *n); /* the free ones */
gi_node *gi_fuse_take_first(gi_fuser *f);                   /* of those waiting, in the block's order; NULL: none */
gi_node *gi_fuse_take_last(gi_fuser *f);
/* Do all readers of v lie in the set? */
bool gi_fuse_only_inside(const gi_fuser *f, const gi_value *v);
/* Do those that do not stand after the set's last node? */
bool gi_fuse_read_later(const gi_fuser *f, const gi_value *v);
/* Is only the result of the node that was added last read from outside? */
bool gi_fuse_is_closed(const gi_fuser *f);
/* May the free pointwise node n join, as what makes something of shape `like`? If only the set reads it, and it has that
 * shape or is broadcast to it; or as one more result, where `results` counts them: of that shape, and read later. */
bool gi_fuse_may_join(gi_fuser *f, const gi_node *n, const gi_type *like, size_t *results);
/* Backwards from what waits: adds whatever may join. */
gopt_status gi_fuse_grow_back(gi_fuser *f, const gi_type *like, size_t *results);
/* Drops all but the first n nodes. */
void gi_fuse_keep(gi_fuser *f, size_t n);

/* "Conv + Add + Relu" of the set. */
const char *gi_fuse_text(gi_fuser *f);
/* Why the growing stopped, "%n lies in another block"; always false. */
bool gi_fuse_stop(gi_fuser *f, const gi_node *n, const char *text);
/* The set becomes a group; `old` is the one that it grew from, or NULL. */
gopt_status gi_fuse_make(gi_fuser *f, gi_fusion_kind kind, gi_node *main, gi_group *old);

/* ---- the kinds, in the order in which they choose; each walks f->all ---- */

gopt_status gi_fuse_attention(gi_fuser *f);
gopt_status gi_fuse_products(gi_fuser *f);  /* with what is behind them */
gopt_status gi_fuse_depthwise(gi_fuser *f); /* with the 1x1 convolutions beside it */
gopt_status gi_fuse_rows(gi_fuser *f);      /* normalizations, softmax, reductions, pools */
gopt_status gi_fuse_prologues(gi_fuser *f); /* what is before products */
gopt_status gi_fuse_clusters(gi_fuser *f);  /* pointwise nodes that are left */

#endif
