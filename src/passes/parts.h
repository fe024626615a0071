/* Parts of a value along one axis, whichever operator takes them.
 *
 *   Slice %x, [3], [MAX], axis 1         elements 3 … 55 of axis 1
 *   Gather %x, [4,5,6] { axis = 1 }      elements 4 … 6
 *   Gather %x, 4 { axis = 1 }            element 4, and the axis goes
 *   Split %x, [3,53] { axis = 1 }        elements 0 … 2, elements 3 … 55 */
#ifndef GI_PARTS_H
#define GI_PARTS_H

#include "passes/rule.h"

/* What a Slice with constant bounds takes, axis by axis, as it says it. */
typedef struct gi_span {
    uint32_t n;
    int axis[GOPT_MAX_RANK];
    int64_t start[GOPT_MAX_RANK], end[GOPT_MAX_RANK], step[GOPT_MAX_RANK];
} gi_span;

/* False where its bounds are not constants, the rank is unknown, or an axis is named twice. */
bool gi_span_read(const gi_node *slice, gi_span *s);
/* The entry of that axis; -1 where there is none. */
int gi_span_find(const gi_span *s, int axis);
/* Does entry i take all of x's axis, forwards? */
bool gi_span_is_full(const gi_value *x, const gi_span *s, uint32_t i);
void gi_span_remove(gi_span *s, uint32_t i);
/* A Slice of x by it; x itself where it takes everything. */
gi_value *gi_span_build(gi_rewrite *r, gi_value *x, const gi_span *s);

/* Elements first, first + step, … of an axis. */
typedef struct gi_part {
    gi_value *x;
    int axis;
    int64_t dim; /* of x's axis */
    int64_t first, count, step;
    bool drops; /* the axis is gone: a Gather by one number */
} gi_part;

/* Is v such a part of another value, whose axis has a constant length? */
bool gi_part_of(const gi_value *v, gi_part *p);
/* What v has along the axis from last to first, all of it; NULL where it is no such thing. */
gi_value *gi_flipped(const gi_value *v, int axis);
/* The lengths that a Split gives its outputs; false where one is not constant. `length` has room for them. */
bool gi_split_lengths(const gi_node *split, int *axis, int64_t *length);
/* A Split of x right behind it; NULL without memory. */
gi_node *gi_split_build(gi_rewrite *r, gi_value *x, int axis, uint32_t n, const int64_t *lengths);

#endif
