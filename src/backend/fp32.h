/* What stays in fp32 in a plan of less precision: marks in the graph (gopt/ranges.h), and what halves cannot hold. */
#ifndef GI_FP32_H
#define GI_FP32_H

#include "gopt/ranges.h"
#include "ir/graph.h"

/* Marks a value: what it does that halves cannot hold, "reaches 91234, beyond what fp16 holds (65504)". A mark on an
 * input of the graph is the graph's. Copied; false where there is no memory. */
bool gi_fp32_mark(gi_value *v, const char *does);

/* What value v does that keeps it in floats, or "stays in fp32" of a result of a marked node; NULL: nothing. For values of
 * plans: v is none inside of a fusion. */
const char *gi_fp32_value(const gi_value *v);
/* Why a node, or one that a Fusion holds, was marked; NULL: it was not. */
const char *gi_fp32_node(const gi_node *n);

/* Weights on their way to halves. */
typedef struct gi_halving {
    float most; /* the largest finite magnitude */
    bool infinite, nan;
    uint64_t n, small; /* other than zero, and of these below the least normal half */
    double norm, lost; /* sums of squares: of all, and of what halves lose of the small ones */
} gi_halving;
/* v as a half. What that loses is counted, but for the rounding that all normal halves have. */
uint16_t gi_halve(gi_halving *h, float v);
/* A sentence where halves do not hold these weights, "its weight %name …", of arena a; *why is NULL where they do. */
gopt_status gi_halving_misfit(const gi_halving *h, const gi_value *weight, gi_arena *a, const char **why);

#endif
