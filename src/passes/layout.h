/* Where the elements go: chains of Transpose, Reshape, Squeeze, Unsqueeze and Flatten as one permutation.
 *
 *   [b,s,768] ─ Reshape ─ [b,s,12,64] ─ Transpose ─ [b,12,s,64] ─ Reshape ─ [12*b,s,64]
 *
 * is the source's dims cut into atoms, b s 12 64, put in another order, b 12 s 64, and bound together again,
 * (b 12) s 64. Two chains that do the same have the same atoms in the same order, however they were written, and
 * the fewest nodes that do it can be read off: at most Reshape, Transpose, Reshape.
 *
 * Dims are expressions, so that this holds for every value of the symbols. Where a Reshape cuts a dim at no factor
 * of it ([4,3] to [6,2] behind a Transpose) there are no such atoms, and the functions say false. */
#ifndef GI_LAYOUT_H
#define GI_LAYOUT_H

#include "passes/rule.h"

enum { GI_LAYOUT_ATOMS = 24 };

typedef struct gi_layout {
    gopt_graph *g;
    const gi_type *source;
    uint32_t n;                          /* atoms; none has size 1 */
    const gi_dim *size[GI_LAYOUT_ATOMS]; /* by atom */
    uint8_t from[GI_LAYOUT_ATOMS];       /* atoms in the source's order */
    uint8_t to[GI_LAYOUT_ATOMS];         /* and in the result's */
    int rank;                            /* of the result */
    const gi_dim *dims[GOPT_MAX_RANK];
    uint32_t from_end[GOPT_MAX_RANK]; /* per dim of the source, one past its last atom in `from` */
    uint32_t to_end[GOPT_MAX_RANK];   /* per dim of the result, in `to` */
} gi_layout;

/* The source as it is. False where its shape is unknown, or a dim is 0. */
bool gi_layout_begin(gi_layout *l, gopt_graph *g, const gi_type *source);
/* Then permuted: dim i of the result is dim perm[i] of what there was. */
bool gi_layout_permute(gi_layout *l, const int64_t *perm, int rank);
/* Then seen in another shape. */
bool gi_layout_view(gi_layout *l, const gi_type *t);

/* Then what a Transpose or a view does. */
bool gi_layout_apply(gi_layout *l, const gi_node *n);

/* Nodes that it takes at least: 0 (the source itself) to 3. -1 where a shape on the way cannot be written, since
 * two of its dims are known only at run time. */
int gi_layout_cost(const gi_layout *l);
/* Builds them behind x, which is of the source's type; x itself where none is needed. */
gi_value *gi_layout_build(gi_rewrite *r, const gi_layout *l, gi_value *x);

/* Where the elements of a value come from: a source through a chain of moves that nothing else reads. Where the
 * chain begins with one entry of a value that was itself moved (a Gather of a constant), and all that read that value
 * take such entries of one dim, which leads a dim of the value's own source, then from a stretch of that: one of
 * `count` equal parts of dim `axis` of x.
 *
 *   [b,s,3*e] ─ Reshape ─ [b,s,3,h,d] ─ Transpose ─ [3,b,h,s,d] ─ Gather 1 ─ [b,h,s,d]:   part 1 of 3 of x's last dim */
typedef struct gi_origin {
    gi_value *x;
    gi_layout l;    /* from x, or from the part, to the value */
    uint32_t moves; /* nodes on the way, the Gather not counted */
    const gi_node *gather;
    uint32_t moves_before; /* before the Gather */
    int axis;
    int64_t index, count, size; /* count 0: the whole of x */
} gi_origin;

/* False where v's shape is unknown, or the moves have no common atoms: then not even the last one counts. */
bool gi_origin_find(gi_origin *o, gopt_graph *g, gi_value *v);
/* What o->l starts from: x, or an output of a new Split. */
gi_value *gi_origin_source(gi_rewrite *r, const gi_origin *o);

bool gi_is_move(const gi_node *n); /* Transpose or a view */
/* Is n Reshape, Squeeze, Unsqueeze or Flatten? */
bool gi_is_view(const gi_node *n);
/* The permutation of a Transpose; false where neither the attribute nor the rank gives it, or it is none. */
bool gi_transpose_perm(const gi_node *n, int64_t *perm, int *rank);
/* Is n a Transpose that swaps the last two dims and leaves the others where they are? n may be NULL. */
bool gi_swaps_last_two(const gi_node *n);
/* The target of a Reshape from dims to dims: 0 where a dim stays in its place, -1 for one that is known only at run
 * time. Returns how many those are: more than one cannot be written. -1 where a dim of 0 cannot be said. */
int gi_reshape_target(gopt_graph *g, int rank, const gi_dim *const *from, int rank_to, const gi_dim *const *to,
                      int64_t *target);

#endif
