/* Passes: what one gets, how it reports, and the runner behind gopt_optimize. */
#ifndef GI_PASS_H
#define GI_PASS_H

#include "gopt/pass.h"
#include "ir/graph.h"
#include "ops/eval.h"
#include "ops/infer.h"

typedef struct gopt_pass_ctx gi_pass_ctx;

struct gopt_pass_ctx {
    gopt_ctx *cx;
    gi_arena *scratch;  /* reset after the pass */
    const gopt_optimize_options *options;
    const char *pass;   /* the running pass's name */
    int64_t rewrites_left; /* INT64_MAX where there is no limit */
    struct gopt_report *report;
};

typedef gopt_status (*gi_pass_fn)(gopt_graph *g, gi_pass_ctx *cx);

/* A rewrite is about to be made: false where the limit is reached (then do nothing) or the rule is skipped. */
bool gi_pass_may(gi_pass_ctx *cx, const char *rule);

/* Remarks. `at` names the node; call gi_applied after the rewrite with the node that now stands there, so
 * that its origins are named. */
void gi_applied(gi_pass_ctx *cx, const char *rule, const gi_node *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void gi_declined(gi_pass_ctx *cx, const char *rule, const gi_node *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
