/* How a node does its work on operands whose dims stand in another order.
 *
 *     %m = ReduceMean %x, axes [1,2]         with %x' = Transpose %x { perm = [0,3,1,2] }
 *                                            is ReduceMean %x', axes [2,3], and its result is as it was
 *
 * v flipped by p is Transpose(v, p): dim i of it is dim p.at[i] of v. Where the flip of one operand is given, those of
 * all others, and of the results, follow; some operands stay as they are (an index, a matrix, one number). */
#ifndef GI_FLIP_H
#define GI_FLIP_H

#include "passes/util.h"

typedef struct gi_perm {
    int rank; /* -1: the value stays as it is */
    int8_t at[GOPT_MAX_RANK];
} gi_perm;

static inline bool gi_perm_is_identity(const gi_perm *p)
{
    for (int i = 0; i < p->rank; i++)
        if (p->at[i] != i)
            return false;
    return true;
}
static inline bool gi_perm_equal(const gi_perm *a, const gi_perm *b)
{
    return a->rank == b->rank && (a->rank <= 0 || !memcmp(a->at, b->at, (size_t)a->rank));
}
gi_perm gi_perm_inverse(const gi_perm *p);
gi_perm gi_perm_then(const gi_perm *p, const gi_perm *q); /* first by p, then by q */

typedef struct gi_flip {
    gi_node *n;
    gi_perm *in, *out; /* by input and output; a constant that is flipped on the way stays here */
    gi_perm whole;     /* of the dims that the operator's axes count */
    bool sums;         /* it adds up in another order: rounding may differ */
} gi_flip;

/* What follows for n from the flip of input `slot`, or of output `slot`. False where n cannot do its work so. */
bool gi_flip_from_in(gi_arena *a, gi_node *n, uint32_t slot, const gi_perm *p, gi_flip *f);
bool gi_flip_from_out(gi_arena *a, gi_node *n, uint32_t slot, const gi_perm *p, gi_flip *f);
/* The flipped node, put before n: in[i] takes the place of input i where that is flipped. NULL without memory, and
 * where inference refuses. */
gi_node *gi_flip_build(const gi_flip *f, gi_value *const *in, gi_arena *scratch);

#endif
