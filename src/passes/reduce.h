/* Making a graph that shows a fault smaller: what reduce.c and reduce_sizes.c share. */
#ifndef GI_REDUCE_H
#define GI_REDUCE_H

#include "passes/util.h"

typedef struct gi_reducer {
    gopt_ctx *cx;
    gi_arena *arena;
    gopt_shows_fn shows;
    void *user;
    gopt_graph *best; /* the smallest so far that shows it; NULL before there is one */
    int tries;        /* left */
    double until;     /* gi_now() at which to stop */
    gopt_status status;
} gi_reducer;

/* Takes a candidate over: infers and checks it, and asks. Where it shows the fault it becomes the best one. Faults of
 * the candidate itself are not told: it is only not used. */
bool gi_reduce_try(gi_reducer *r, gopt_graph *candidate);
/* May more be tried? */
bool gi_reduce_more(const gi_reducer *r);

/* Fewer results; smaller dims, of weights too (reduce_sizes.c). */
void gi_reduce_results(gi_reducer *r);
void gi_reduce_sizes(gi_reducer *r);

#endif
