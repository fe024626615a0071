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
    gi_arena *scratch; /* reset after the pass */
    const gopt_optimize_options *options;
    const char *pass;      /* the running pass's name */
    int opset;             /* of ai.onnx, that the output may use */
    int64_t rewrites_left; /* INT64_MAX where there is no limit */
    struct gopt_report *report;
    const gi_smap *skip;  /* names of rules not to be applied, written with '_' */
    uint32_t first_value; /* ids from here on were given in this run: what nobody uses any more of these may go */
    bool folds_limited;   /* gi_pass_set_growth: are the next three set? */
    int64_t largest_fold; /* constant-fold: bytes that one value may have */
    int64_t growth_left;  /* constant-fold: bytes that the model may still grow by */
    int64_t work_left;    /* constant-fold, unrolling: what they may still cost, in bytes made */
    bool (*only)(struct gopt_pass_ctx *cx, const gi_node *root); /* rules apply to these roots alone; NULL: to all */
    bool stop;                                                   /* the limit of rewrites is reached */
    void *user;                                                  /* of the pass or runner, for callbacks */
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
/* Has this rule declined at the node, in this run? */
bool gi_has_declined(const gi_pass_ctx *cx, const char *rule, const gi_node *at);
/* Counts n removals that are not worth a line each, and which no limit holds back. */
void gi_counted(gi_pass_ctx *cx, const char *rule, int64_t n);
/* Sets what folding, and what leads to it, may cost the whole model: once, when a pass first asks. */
void gi_pass_set_growth(gi_pass_ctx *cx);

/* A finding that changes nothing. */
void gi_remarked(gi_pass_ctx *cx, const char *rule, const gi_node *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- the report (report.c) ---- */

struct gopt_report *gi_report_create(gopt_graph *g);
bool gi_report_begin_pass(struct gopt_report *r, const char *name);
bool gi_report_end_pass(struct gopt_report *r, double ms, bool changed, int64_t nodes_before, int64_t nodes_after);
bool gi_report_finish(struct gopt_report *r, gopt_graph *g, double ms, bool limit_hit);

/* ---- the table and the order ---- */

typedef struct gi_pass {
    gopt_pass_info info;
    gi_pass_fn run;
} gi_pass;

/* The row at i; NULL past the last. */
const gi_pass *gi_pass_row(size_t i);
/* By name, '-' and '_' being the same; NULL where there is none. */
const gi_pass *gi_pass_find(const char *name);

/* Does the list "A,B" hold the name? '-' and '_' are the same; the list may be NULL. */
bool gi_name_listed(const char *list, const char *name);

/* Runs the pipeline of the options' level through `step` (pipeline.c). Not *settled: a loop was stopped by its cap. */
typedef gopt_status (*gi_pass_step)(void *runner, const gi_pass *pass, bool *changed);
gopt_status gi_pipeline_run(const gopt_optimize_options *o, gi_pass_step step, void *runner, bool *settled);

#define PASS(NAME, FUNCTION, LEVEL, MEANS) gopt_status FUNCTION(gopt_graph *g, gi_pass_ctx *cx);
#include "passes/passes.def"
#undef PASS

#endif
