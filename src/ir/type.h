/* Types of values: a tensor of a dtype and shape, a sequence or an optional of a type, a map from keys to a type.
 *
 * Types are immutable and hash-consed in the graph, so equal types are the same pointer. NULL is
 * "nothing known". */
#ifndef GI_TYPE_H
#define GI_TYPE_H

#include "ir/dim.h"
#include "ir/dtype.h"

typedef struct gi_type {
    gopt_kind kind;
    gopt_dtype dtype;           /* of a tensor; GOPT_UNDEFINED where unknown */
    int rank;                   /* of a tensor; -1 where unknown */
    const gi_dim *const *dims;  /* rank entries, never NULL */
    const struct gi_type *elem; /* of a sequence or optional; of a map, what one key stands for */
    gopt_dtype key;             /* of a map */
} gi_type;

typedef struct gi_types gi_types;

gi_types *gi_types_create(gi_arena *a);
const gi_type *gi_type_tensor(gi_types *t, gopt_dtype dtype, int rank, const gi_dim *const *dims);
const gi_type *gi_type_of(gi_types *t, gopt_kind kind, const gi_type *elem); /* sequence, optional */
const gi_type *gi_type_map(gi_types *t, gopt_dtype key, const gi_type *elem);
/* The kind of `like`, no tensor, with its key, around another type. */
const gi_type *gi_type_around(gi_types *t, const gi_type *like, const gi_type *elem);

bool gi_type_is_static(const gi_type *t);                    /* a tensor with constant dims */
bool gi_type_elements(const gi_type *t, int64_t *n);         /* false unless static and no overflow */
bool gi_type_bytes(const gi_type *t, size_t *bytes);         /* likewise */
bool gi_type_dim_const(const gi_type *t, int i, int64_t *v); /* false where unknown; i < 0 from the end */
bool gi_type_static_dims(const gi_type *t, int64_t *dims);   /* all of them; false unless static */
void gi_type_print(gi_str *s, const gi_type *t);             /* f32[n,3,8,8], f32[*], seq(f32[2]), map(i64,f32[]), ? */

#endif
