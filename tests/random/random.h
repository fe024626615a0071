/* Graphs there and back, and failures made small. */
#ifndef GOPT_RANDOM_H
#define GOPT_RANDOM_H

#include "gopt/gopt.h"
#include "rules/mutate.h"

/* Writes the graph as ONNX and as text and reads it again (back.c). NULL where it answers the same then, to the bit,
 * and is the same graph; else what is wrong, in the arena. `folder` holds a file meanwhile. */
const char *random_back(gopt_graph *g, const char *folder, gi_arena *a);

/* One trial: the graph, what it is optimized with, and where files may lie. */
typedef struct random_trial {
    gopt_graph *g;
    gopt_optimize_options o;
    const char *folder;
    uint64_t seed;
} random_trial;

/* Optimizes a copy, compares it, sends it there and back. NULL where all is well; else what is wrong. `rewrites` and
 * `last`, the last one and its place, may be NULL. */
const char *random_try(const random_trial *t, gi_arena *a, int64_t *rewrites, const char **last);

/* Prints the rewrite that it takes to fail and the smallest graph that does (shrink.c); it goes into the folder
 * GOPT_RANDOM_KEEP too, as a golden case without what it should give. */
void random_show(const random_trial *t, const char *fault, int64_t rewrites, gi_arena *a);

#endif
