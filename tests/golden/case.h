/* A golden case as a file holds it: how to run it, the graph, what is expected. */
#ifndef GOPT_GOLDEN_CASE_H
#define GOPT_GOLDEN_CASE_H

#include "gopt/pass.h"
#include "ir/graph.h"

typedef struct golden_run {
    gopt_optimize_options o;
    bool optimize, infer, error, remarks, types, no_eval, again_changes;
} golden_run;

typedef struct golden_case {
    char *text;       /* the whole file */
    size_t head;      /* so much of it stands before the mark */
    const char *want; /* from the mark on; "" where there is none */
    golden_run run;
} golden_case;

extern const char GOLDEN_MARK[]; /* opens what is expected */

/* Reads a case into the arena, which the options' strings lie in too. NULL, or what is wrong. */
const char *golden_read(gopt_ctx *cx, gi_arena *a, const char *path, golden_case *out);
/* Its graph, verified, with types inferred. */
gopt_status golden_graph(gopt_ctx *cx, const char *path, const golden_case *c, gopt_graph **out);

/* Calls f for every .gir file in a folder, in the order of names, and in the folders inside it; or for that file. False where
 * something cannot be read. */
bool golden_each(const char *path, void (*f)(void *arg, const char *path), void *arg);

#endif
