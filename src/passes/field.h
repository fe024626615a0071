/* Constants as numbers that broadcast: arithmetic on weights, in f64, rounded once at the end. */
#ifndef GI_FIELD_H
#define GI_FIELD_H

#include "passes/util.h"

typedef struct gi_field {
    int rank;
    int64_t dims[GOPT_MAX_RANK], n;
    double *v;
} gi_field;

/* One number for all. False without memory. */
bool gi_field_one(gi_arena *a, double x, gi_field *f);
/* A constant of floats; false for other types, and without memory. */
bool gi_field_of(gi_arena *a, const gi_value *k, gi_field *f);
/* *to = a + b, a - b, a * b or a / b by `op` ('+', '-', '*', '/'), broadcast; it may be one of them. False where the
 * shapes do not fit, and without memory. */
bool gi_field_combine(gi_arena *arena, const gi_field *a, char op, const gi_field *b, gi_field *to);
bool gi_field_is(const gi_field *f, double x); /* all of them */
bool gi_field_is_finite(const gi_field *f);
/* The constant of that type; NULL without memory, and where an element that is finite would not be so in it, or would
 * be one of f16's subnormal numbers, which have few digits. */
gi_value *gi_field_const(gopt_graph *g, const gi_field *f, gopt_dtype t);

#endif
