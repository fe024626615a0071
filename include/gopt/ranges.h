/* What values reach, and which layers stay in fp32 for it where a plan is of halves (precision "fp16").
 *
 *   gopt_ranges *r;
 *   size_t kept;
 *   GOPT_TRY(gopt_ranges_create(g, NULL, &r));      // g: optimized, of fixed shapes
 *   while (next_sample(inputs))
 *       GOPT_TRY(gopt_ranges_add(r, inputs));       // runs g in fp32 on the cpu; a maximum a value is all that stays
 *   GOPT_TRY(gopt_ranges_keep(r, &kept));           // marks, in g, what halves cannot hold
 *   gopt_ranges_destroy(r);
 *   GOPT_TRY(gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl", .precision = "fp16" }, &e));
 *
 * Marks are metadata of nodes: clones, plan files and the text form keep them. gopt_step_info.fp32 says which steps
 * stayed in fp32 and why, those too that a weight keeps there, for which nothing needs to be marked.
 *
 * A marked value is stored in floats, the step that makes it computes in floats, and what multiplies it does so too,
 * instead of converting it. Backends that have no halves do not look at marks. */
#ifndef GOPT_RANGES_H
#define GOPT_RANGES_H

#include "gopt/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The largest finite half, and its least that has all its digits. */
#define GOPT_FP16_MOST 65504.0
#define GOPT_FP16_LEAST 0x1p-14
/* Samples are not all inputs: what reaches half of the limit may pass it on others, and stays in floats. */
#define GOPT_FP16_MARGIN 2.0

typedef struct gopt_ranges gopt_ranges;

/* To look at the f32 values of g, which the caller keeps until the ranges are destroyed. Of `o`, which may be NULL, isa
 * and threads are used. GOPT_USAGE with a diagnostic where a dim of an input is open. */
GOPT_API gopt_status gopt_ranges_create(gopt_graph *g, const gopt_engine_options *o, gopt_ranges **out);
GOPT_API void gopt_ranges_destroy(gopt_ranges *r); /* r may be NULL */
/* One sample, a tensor for each input. Memory does not grow with the number of samples. GOPT_BAD_INPUT with a diagnostic
 * where one does not fit. */
GOPT_API gopt_status gopt_ranges_add(gopt_ranges *r, const gopt_tensor *const *inputs);

typedef struct gopt_range {
    const gopt_value *value; /* of g */
    double most;             /* the largest finite magnitude; 0 where none was seen */
    bool finite;             /* no infinity and no NaN was seen */
    size_t sample;           /* that reached `most`, from 0 on */
} gopt_range;
/* Range i, in no particular order; false past the last. */
GOPT_API bool gopt_ranges_get(const gopt_ranges *r, size_t i, gopt_range *out);

/* Marks the values of g that halves cannot hold: GOPT_FP16_MARGIN times what they reach is beyond GOPT_FP16_MOST, or they
 * stay below GOPT_FP16_LEAST. Infinities are none: halves have them too. *n, which may be NULL: how many. */
GOPT_API gopt_status gopt_ranges_keep(gopt_ranges *r, size_t *n);

/* Is it the node, in a fusion or not, of that name in the model, or one that the named was made into, or does it give the
 * tensor of that name? '*' stands for any characters, '?' for one. Fusions have no name. */
GOPT_API bool gopt_node_is_called(const gopt_node *n, const char *pattern);
/* Marks a node, which may lie in a fusion: the step that holds it stays in fp32, with its results. `why` is a sentence
 * for gopt_step_info.fp32, "it is a regression head". */
GOPT_API gopt_status gopt_node_keep_fp32(gopt_node *n, const char *why);

#ifdef __cplusplus
}
#endif
#endif
