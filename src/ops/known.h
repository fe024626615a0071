/* Arithmetic on what is known of the contents of small integer tensors, for type rules. */
#ifndef GI_KNOWN_H
#define GI_KNOWN_H

#include "ops/infer.h"

/* NULL where the result cannot be told: it becomes a fresh unknown. */
typedef const gi_dim *(*gi_known_fn)(gi_dims *t, const gi_dim *a, const gi_dim *b);

const gi_dim *gi_known_div(gi_dims *t, const gi_dim *a, const gi_dim *b); /* truncating, as Div */
const gi_dim *gi_known_mod(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_known_equal(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_known_greater(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_known_greater_equal(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_known_less(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_known_less_equal(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_known_and(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_known_or(gi_dims *t, const gi_dim *a, const gi_dim *b);
const gi_dim *gi_known_xor(gi_dims *t, const gi_dim *a, const gi_dim *b);

/* A float input cast to integers, where its elements are computed from sizes in a way that rounds nothing
 * (known_float.c). In scratch; an entry is NULL where it cannot be told, all is where nothing can. */
const gi_dim *const *gi_known_truncated(gi_infer *c, uint32_t in, uint32_t *n);

/* Contents of output 0 from those of all inputs, left to right, broadcast. Nothing where an input's contents are
 * not known, or its dtype may wrap (all but i32, i64 and bool). */
void gi_known_apply(gi_infer *c, gi_known_fn f);

/* Sets contents of an i32, i64 or bool output; drops them where none is told or a constant does not fit. */
void gi_known_set(gi_infer *c, uint32_t out, gopt_dtype t, uint32_t n, const gi_dim **known);

#endif
