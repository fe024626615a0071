/* Numbers for unknown dims, in the order they come up.
 *
 * Inference makes unknowns afresh each time it runs, ?22 where there was ?20. A text that is to be the same whenever the
 * graph is has numbers of its own:
 *
 *   gi_dim_numbers n;
 *   if (gi_dim_numbers_init(&n, arena))
 *       gi_type_print_numbered(s, type, &n);      // f32[?1,2*?2], then f32[?2,?3], …
 *
 * Two unknowns never get one number; names that are no numbers, ?x, stay. */
#ifndef GI_DIM_NUMBER_H
#define GI_DIM_NUMBER_H

#include "ir/type.h"

typedef struct gi_dim_numbers {
    gi_arena *arena;
    gi_dims *dims;              /* the numbered ones */
    gi_map number;              /* unknown -> its entry of `numbers` */
    gi_map done;                /* dim -> as numbered */
    gi_vec(uint64_t *) numbers; /* in the order met */
    char name[32];              /* of one, while it is made */
} gi_dim_numbers;

/* False where there is no memory. It lives as long as the arena. */
bool gi_dim_numbers_init(gi_dim_numbers *n, gi_arena *a);

/* d with its unknowns numbered; d itself where it holds none. NULL where there is no memory. */
const gi_dim *gi_dim_numbered(gi_dim_numbers *n, const gi_dim *d);

/* gi_type_print, with its unknowns numbered; as they are where n is NULL. */
void gi_type_print_numbered(gi_str *s, const gi_type *t, gi_dim_numbers *n);

#endif
