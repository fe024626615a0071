/* The order of the passes, top to bottom.
 *
 *     level 1                                    level 2
 *     ───────                                    ───────
 *     dce            drop what nobody reads
 *     lower-runtime  ONNX Runtime's own operators become ONNX's (--emit onnx, or a backend that lacks them)
 *     dedup-weights  equal constants, one
 *       │
 *       ▼
 *   ┌ infer-shapes   what is known ┐
 *   │ constant-fold  evaluate it   │ until
 *   │ shape-arithmetic  sizes      │
 *   │ cse            same is one   │ nothing ◀── rewrites          fold into weights, recover operators
 *   │ identities     no-ops go     │ changes     fuse-horizontal   parallel products become one
 *   │ control-flow   known ways    │
 *   └ dce            sweep         ┘                 ▲ as long as they change something
 *       │
 *     transposes     to where they cancel, once all else has settled
 *     dedup-weights  what folding made twice
 *       │
 *       ▼
 *     detect-unsupported                         lower             what the opset or backend asked for lacks
 *     explain        what stays, and why         emit              operators of the runtime asked for (--emit ort)
 *                                                fuse-vertical     regions, last: they change no arithmetic
 *
 * The loops are capped: a model on which they have not settled by then is left as it is, with a note. Each pass
 * is linear or near it, so the caps bound the time. */
#include "passes/pass.h"

enum { SIMPLIFY_ROUNDS = 8, REWRITE_ROUNDS = 8 };

typedef struct runner {
    gi_pass_step step;
    void *user;
    bool settled; /* no loop was stopped while it still changed something */
} runner;

static gopt_status run(runner *r, const char *name, bool *changed)
{
    bool own = false;
    const gi_pass *p = gi_pass_find(name);
    GI_TRY(r->step(r->user, p, &own));
    *changed |= own;
    return GOPT_OK;
}

/* Shapes are inferred in each round, but their being told anew is no change that asks for another. */
static gopt_status simplify(runner *r, bool *changed)
{
    bool ignored = false, again = true;
    for (int round = 0; again && round < SIMPLIFY_ROUNDS; round++) {
        again = false;
        GI_TRY(run(r, "infer-shapes", &ignored));
        GI_TRY(run(r, "constant-fold", &again));
        GI_TRY(run(r, "shape-arithmetic", &again));
        GI_TRY(run(r, "cse", &again));
        GI_TRY(run(r, "identities", &again));
        GI_TRY(run(r, "control-flow", &again));
        GI_TRY(run(r, "dce", &again));
        *changed |= again;
    }
    r->settled = r->settled && !again;
    return GOPT_OK;
}

/* Does anyone ask for operators to be expanded? For a backend's sake it is done where answers may differ by rounding. */
static bool lowers(const gopt_optimize_options *o)
{
    return o->emit == GOPT_EMIT_ONNX || o->opset > 0 || (o->runs && o->level >= 2);
}

gopt_status gi_pipeline_run(const gopt_optimize_options *o, gi_pass_step step, void *user, bool *settled)
{
    const int level = o->level;
    runner r = { .step = step, .user = user, .settled = true };
    bool changed = false, again = level >= 2;
    *settled = true;
    if (level < 1)
        return GOPT_OK;
    GI_TRY(run(&r, "dce", &changed));
    if (lowers(o))
        GI_TRY(run(&r, "lower-runtime", &changed));
    GI_TRY(run(&r, "dedup-weights", &changed));
    GI_TRY(simplify(&r, &changed));
    if (level < 2) {
        GI_TRY(run(&r, "transposes", &again));
        if (again)
            GI_TRY(simplify(&r, &changed));
        again = false;
    }
    for (int round = 0; again && round < REWRITE_ROUNDS; round++) {
        again = false;
        GI_TRY(run(&r, "rewrites", &again));
        GI_TRY(run(&r, "fuse-horizontal", &again));
        if (!again)
            GI_TRY(run(&r, "transposes", &again));
        if (again)
            GI_TRY(simplify(&r, &changed));
    }
    *settled = r.settled && !again;
    bool merged = false; /* folding made constants that the first look could not see */
    GI_TRY(run(&r, "dedup-weights", &merged));
    if (merged)
        GI_TRY(simplify(&r, &changed));
    GI_TRY(run(&r, "detect-unsupported", &changed));
    if (lowers(o)) {
        bool lowered = false;
        GI_TRY(run(&r, "lower", &lowered));
        if (lowered)
            GI_TRY(simplify(&r, &changed));
    }
    if (level >= 2 && o->emit == GOPT_EMIT_ORT)
        GI_TRY(run(&r, "emit", &changed));
    GI_TRY(run(&r, "explain", &changed));
    if (level >= 2)
        GI_TRY(run(&r, "fuse-vertical", &changed));
    return GOPT_OK;
}
