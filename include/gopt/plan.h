/* Plan files: what an engine was built of, to be run later without building.
 *
 *   gopt_engine_options o = { .backend = "cpu", .for_plan = true };
 *   GOPT_TRY(gopt_engine_create(g, &o, &e));
 *   GOPT_TRY(gopt_plan_save(e, "model.gplan", NULL));
 *   …
 *   GOPT_TRY(gopt_plan_open(cx, "model.gplan", &plan));
 *   GOPT_TRY(gopt_plan_engine(plan, NULL, &e));           // packed weights are mapped, nothing is chosen or packed
 *   gopt_plan_close(plan);                                // the engine keeps what it needs
 *
 * A plan belongs to the gopt that wrote it and to a machine like the one that it was built on: another one refuses it,
 * and names what differs. docs/plans.md says what a file holds. */
#ifndef GOPT_PLAN_H
#define GOPT_PLAN_H

#include "gopt/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gopt_plan gopt_plan;

/* Does the file begin as a plan does? False also where it cannot be read. */
GOPT_API bool gopt_is_plan(const char *path);

/* Writes the engine's plans, whole or not at all. The engine must have been made with for_plan. `inputs`, one an input
 * of the graph, or NULL: what the answer fingerprint is made of; the engine is run on them, and they are stored with
 * the answers. None is made where the network draws random numbers, and of other values than tensors of numbers. */
GOPT_API gopt_status gopt_plan_save(gopt_engine *e, const char *path, const gopt_tensor *const *inputs);

/* Maps the file and checks it. GOPT_BAD_INPUT with a diagnostic where it is cut off, damaged (the place is told) or no
 * plan; GOPT_UNSUPPORTED where it is of another format. What another build of gopt wrote can be looked at, not run. */
GOPT_API gopt_status gopt_plan_open(gopt_ctx *cx, const char *path, gopt_plan **out);
GOPT_API void gopt_plan_close(gopt_plan *p); /* p may be NULL */

/* A fact of the plan: "backend", "device", "precision", …; NULL past the last. Borrowed. */
typedef struct gopt_plan_fact {
    const char *name, *value;
} gopt_plan_fact;
GOPT_API const gopt_plan_fact *gopt_plan_get_fact(const gopt_plan *p, size_t i);
GOPT_API const char *gopt_plan_find_fact(const gopt_plan *p, const char *name); /* NULL where there is none */

/* A step, in the order of compiling. `packed_bytes` of it are in the file. False past the last. */
typedef struct gopt_plan_step {
    const char *name, *op, *tactic, *backend;
    int variant;
    uint64_t packed_bytes;
} gopt_plan_step;
GOPT_API bool gopt_plan_get_step(const gopt_plan *p, size_t i, gopt_plan_step *out);

/* Bytes of the file: all, packed weights, weights as they are, what the device brings (compiled programs). */
typedef struct gopt_plan_sizes {
    uint64_t file, packed, weights, programs, graph;
    size_t steps, n_packs, n_weights, shapes; /* shapes: sets of input shapes that it holds plans for */
} gopt_plan_sizes;
GOPT_API gopt_plan_sizes gopt_plan_get_sizes(const gopt_plan *p);

/* The graph that was compiled, its weights mapped. The caller's. */
GOPT_API gopt_status gopt_plan_graph(gopt_plan *p, gopt_graph **out);

/* An engine of it. Of the options backend, isa, precision and threads may be set, where they are not the plan's own the
 * plan is refused; NULL: as the plan says. GOPT_UNSUPPORTED where the plan does not fit this build or machine. */
GOPT_API gopt_status gopt_plan_engine(gopt_plan *p, const gopt_engine_options *o, gopt_engine **out);

/* Input i of the fingerprint. NULL where there is none. Borrowed. */
GOPT_API const gopt_tensor *gopt_plan_input(const gopt_plan *p, size_t i);

/* Runs the fingerprint's inputs and compares the answers with those that the building machine gave. GOPT_DIFFERENT with
 * a diagnostic where they are further apart than `rtol` of the output's spread (0: 1e-3, fp16 and bf16 1e-2), and
 * GOPT_USAGE where the plan has no fingerprint. */
typedef struct gopt_plan_verdict {
    bool same_bits;
    double worst; /* distance of the worst element, as a part of its output's spread */
} gopt_plan_verdict;
GOPT_API gopt_status gopt_plan_verify(gopt_plan *p, gopt_engine *e, double rtol, gopt_plan_verdict *out);

#ifdef __cplusplus
}
#endif
#endif
