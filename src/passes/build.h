/* Building chains of nodes in a rule's .make: each function gives the new node's first output, NULL where there is no
 * memory, or where an input of its own is NULL. So a chain is written without a check between.
 *
 *   gi_value *s = gi_rw_unary(r, OP_Sigmoid, gi_rw_binary(r, OP_Mul, x, gi_rw_scalar(r, GOPT_F32, 1.702)));
 */
#ifndef GI_PASSES_BUILD_H
#define GI_PASSES_BUILD_H

#include "passes/rule.h"

/* ---- constants ---- */

gi_value *gi_rw_scalar(gi_rewrite *r, gopt_dtype t, double x);            /* of rank 0 */
gi_value *gi_rw_filled(gi_rewrite *r, gopt_dtype t, int64_t n, double x); /* n of them, rank 1 */
gi_value *gi_rw_ints(gi_rewrite *r, uint32_t n, const int64_t *v);        /* rank 1 */

/* ---- nodes ---- */

gi_value *gi_rw_unary(gi_rewrite *r, gi_opcode op, gi_value *x);
gi_value *gi_rw_binary(gi_rewrite *r, gi_opcode op, gi_value *a, gi_value *b);
gi_value *gi_rw_where(gi_rewrite *r, gi_value *condition, gi_value *a, gi_value *b);
gi_value *gi_rw_cast(gi_rewrite *r, gi_value *x, gopt_dtype t); /* x itself where it is of that type */
gi_value *gi_rw_transpose(gi_rewrite *r, gi_value *x, int rank, const int64_t *perm); /* x itself where in order */
gi_value *gi_rw_reshape(gi_rewrite *r, gi_value *x, int rank, const int64_t *target); /* as Reshape reads it */
gi_value *gi_rw_unsqueeze(gi_rewrite *r, gi_value *x, uint32_t n, const int64_t *axes);
gi_value *gi_rw_squeeze(gi_rewrite *r, gi_value *x, uint32_t n, const int64_t *axes);
gi_value *gi_rw_concat(gi_rewrite *r, uint32_t n, gi_value *const *parts, int64_t axis);
gi_value *gi_rw_softmax(gi_rewrite *r, gi_value *x, int64_t axis);
/* A mean or sum over one axis, which is kept as 1. */
gi_value *gi_rw_reduce(gi_rewrite *r, gi_opcode op, gi_value *x, uint32_t n, const int64_t *axes);
/* n parts along the axis, of these lengths; their values into `parts`. False where there is no memory. */
bool gi_rw_split(gi_rewrite *r, gi_value *x, int64_t axis, uint32_t n, const int64_t *lengths, gi_value **parts);
/* Dim i of x as one number of rank 0: a constant where it is known. */
gi_value *gi_rw_dim(gi_rewrite *r, gi_value *x, int i, gopt_dtype t);
/* x, whose last dim but one is 1 or missing, with that dim as long as dim i of `like`. */
gi_value *gi_rw_widen(gi_rewrite *r, gi_value *x, gi_value *like, int i);

/* Sets the attributes of n that `from`, another operator, has under the same names. */
bool gi_rw_attrs_of(gi_node *n, const gi_node *from);

#endif
