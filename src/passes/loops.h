/* What loops.c and loops_unroll.c share: a Loop or Scan, and how often it runs. */
#ifndef GI_LOOPS_H
#define GI_LOOPS_H

#include "passes/control_flow.h"

/* Value k that is carried along is input in0 + k, parameter param0 + k, result res0 + k and output k; behind these are
 * a Scan's slices, and what is stacked. */
typedef struct gi_loop {
    gi_pass_ctx *cx;
    gopt_graph *g;
    gi_node *n;
    gi_block *body;
    uint32_t n_state, n_scanned, in0, param0, res0;
    int64_t trips;   /* -1: not known */
    bool runs;       /* once at least */
    const char *why; /* they are not known */
} gi_loop;

static inline gi_value *gi_loop_param(const gi_loop *l, uint32_t k)
{
    return l->body->params[l->param0 + k];
}

static inline gi_value *gi_loop_result(const gi_loop *l, uint32_t k)
{
    return l->body->results[l->res0 + k].value;
}

/* Says so once: the pass runs in rounds. */
void gi_loop_decline(const gi_loop *l, const char *rule, const gi_node *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Entry i of a list of axes or directions; 0 where it is left out. */
int64_t gi_loop_entry(const gi_node *n, int at, uint32_t i);
int64_t gi_loop_stack_axis(const gi_loop *l, uint32_t out); /* which may be negative */
int64_t gi_loop_bytes(const gi_type *t);                    /* of a type; -1 where it does not say them */
gi_value *gi_loop_bool(gopt_graph *g, bool v);              /* a constant; NULL where there is no memory */

/* Puts the body in the place of a Loop that runs once. */
gopt_status gi_loop_run_once(gi_loop *l);
/* Puts as many bodies there as it has runs, where that is no more than there was; else says why not. */
gopt_status gi_loop_unroll(gi_loop *l);

#endif
