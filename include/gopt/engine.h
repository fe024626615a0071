/* Running: an engine is a graph compiled for a backend; a context of it holds one run's buffers.
 *
 *   gopt_engine *e;
 *   gopt_run_context *rc;
 *   GOPT_TRY(gopt_engine_create(g, &(gopt_engine_options){ .backend = "cpu" }, &e));
 *   GOPT_TRY(gopt_run_context_create(e, &rc));
 *   GOPT_TRY(gopt_run_context_set_input(rc, 0, tensor));
 *   GOPT_TRY(gopt_run(rc));
 *   const gopt_tensor *y = gopt_run_context_output(rc, 0);    // borrowed, until the next run
 *
 * Contexts of one engine share its weights and may run in different threads, one run at a time each. */
#ifndef GOPT_ENGINE_H
#define GOPT_ENGINE_H

#include "gopt/pass.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gopt_engine gopt_engine;
typedef struct gopt_run_context gopt_run_context;

/* The kernels of a backend, opened before there is an engine. */
typedef struct gopt_kernels gopt_kernels;

/* fp: GOPT_FP_STRICT keeps to direct sums, in whatever order. GOPT_FP_REASSOC, the default, also takes algorithms that
 * trade products for sums (Winograd's convolutions), where their error, measured on the layer's own weights, stays
 * within 1e-5 of its largest result; GOPT_FP_FAST allows ten times that. */
typedef struct gopt_engine_options {
    const char *backend;      /* "cpu" (default), "opencl", "opencl:NAME-OR-TYPE" */
    const char *precision;    /* "fp32" (default), "fp16", "tf32" (opencl), "bf16", "best" (cpu) */
    const char *isa;          /* caps the instruction set: "sse2", "avx2", "avx512"; NULL: what the machine has */
    int threads;              /* 0: the context's */
    gopt_fp fp;               /* how far a kernel's sums may be from those of a direct one; see below */
    bool reference;           /* every node by its reference evaluation, in the graph's order: level 0 */
    uint64_t workspace;       /* bytes that a tactic may take; 0: no limit */
    const char *tactics;      /* taken wherever they take a step, "NAME:VARIANT,NAME"; NULL: by their estimates */
    const char *dump_kernels; /* folder for generated sources; NULL: none */
    gopt_kernels *kernels; /* opened with the same options: the engine takes their device over; NULL: opens its own */
    bool to_ask; /* of gopt_kernels_open: where there is no OpenCL device at all, kernels open that only answer */
    /* The engine takes the graph over, also where it fails: gopt_engine_graph gives it back to look at. Where all
     * shapes are fixed, weights that optimization made go as soon as they are packed: half the memory, and such a
     * graph can be drawn and asked for names and types, but not saved or run elsewhere. */
    bool take_graph;
    /* Times the ways to run each step inside of the whole network, and takes the fastest (cpu backend): some seconds,
     * the first time. Answers stay within what `fp` allows. timing_cache: a file (JSON) that what was found is read from
     * and written to, shared by any number of programs; read without `tune` too. Entries of other machines, versions and
     * shapes do no harm; a damaged file is set aside with a warning. */
    bool tune;
    const char *timing_cache;
    bool for_plan;          /* gopt_plan_save will be asked (gopt/plan.h): no weights are let go of */
    struct gopt_plan *plan; /* of gopt_plan_engine, which sets it */
    bool trust_plan;    /* compiled programs of a plan are taken also for a device that is this computer's processor */
    bool deterministic; /* nothing is decided by the clock: the opencl backend takes what it expects to be fastest */
    /* Fused regions of these operators, "Conv+Add+Relu" as gopt_step_info.op says, are taken apart; "*": all. To see
     * what they are worth. */
    const char *unfuse;
    bool apart; /* steps do not become one kernel either, where they could (walks, docs/opencl.md): a launch each */
    bool plain; /* every value lies densely in row-major order, in no layout of a backend's own: to look at */
} gopt_engine_options;

/* What a backend would run by a kernel of its own: for gopt_optimize, which expands what it lacks.
 *
 *   gopt_engine_options eo = { .backend = "cpu" };
 *   GOPT_TRY(gopt_kernels_open(cx, &eo, &eo.kernels));
 *   GOPT_TRY(gopt_optimize(g, &(gopt_optimize_options){ .level = 2, .fuse = true, .runs = gopt_kernels_run,
 *                                                       .runs_user = eo.kernels }, NULL));
 *   GOPT_TRY(gopt_engine_create(g, &eo, &e));
 *   gopt_kernels_close(eo.kernels);
 */
GOPT_API gopt_status gopt_kernels_open(gopt_ctx *cx, const gopt_engine_options *o, gopt_kernels **out);
GOPT_API void gopt_kernels_close(gopt_kernels *k); /* k may be NULL; what an engine took over stays */
/* Does a kernel run this node as it stands? Where its shapes hold free symbols, it is asked with numbers in their
 * places. `kernels` is the gopt_kernels. */
GOPT_API bool gopt_kernels_run(void *kernels, const gopt_node *n);

/* Where a node would run. */
typedef struct gopt_placement {
    const gopt_node *node;   /* or Fusion */
    const char *name, *op;   /* as in gopt_step_info, below */
    const char *backend;     /* which one runs it; NULL: nothing here does */
    bool asked;              /* it is the one asked for */
    bool kernel;             /* by a kernel or as a view; else by its reference evaluation, or not at all */
    const char *reason;      /* why not by a kernel of the backend asked for; NULL where it is */
    const char *reason_kind; /* the reason without the tensor that it names: alike of many nodes */
    const char *region;      /* as in gopt_step_info */
    const char *const *origins;
    size_t n_origins;
    int depth; /* branches around it */
} gopt_placement;

/* Places the nodes as gopt_engine_create does, and compiles nothing. `g` is changed as an engine that takes it over would
 * change it (arithmetic on shapes folded, regions taken apart); a node whose shapes hold free symbols is placed as one
 * whose shapes are known only in a run, so fix them first. *device: the device's name; NULL where it is not there. Arrays
 * and texts belong to the graph. */
GOPT_API gopt_status gopt_find_placement(gopt_graph *g, gopt_kernels *kernels, const char **device,
                                         const gopt_placement **list, size_t *n);

/* Compiles. The graph is cloned, unless take_graph says otherwise: the caller keeps his. Symbols of the inputs may still be free: then plans
 * are made when a run's shapes are first seen, and kept. */
GOPT_API gopt_status gopt_engine_create(gopt_graph *g, const gopt_engine_options *o, gopt_engine **out);
GOPT_API void gopt_engine_destroy(gopt_engine *e); /* e may be NULL; after its run contexts */

GOPT_API gopt_status gopt_run_context_create(gopt_engine *e, gopt_run_context **out);
GOPT_API void gopt_run_context_destroy(gopt_run_context *rc);

/* A tensor for inputs of this engine, zeroed: where the engine runs on a device, its data lie in memory that the device
 * copies from at full speed (page-locked, as far as the driver gives such; else in ordinary memory, as on the cpu). It is
 * used and let go of like every tensor, and counts as much against the memory limit. It belongs to the gopt_ctx of the
 * engine's graph, not to the engine: it may outlive the engine, and serve others; it must go before that gopt_ctx. Fails
 * as gopt_tensor_create does. May be called while contexts of the engine run. */
GOPT_API gopt_status gopt_engine_tensor_create(gopt_engine *e, gopt_dtype dtype, int rank, const int64_t *dims,
                                               gopt_tensor **out);

/* Copies nothing: the tensor must live until the run ends. GOPT_BAD_INPUT with a diagnostic that names the
 * input, what was found and expected, where dtype, rank or a fixed dim differ. */
GOPT_API gopt_status gopt_run_context_set_input(gopt_run_context *rc, size_t i, const gopt_tensor *t);
GOPT_API gopt_status gopt_run(gopt_run_context *rc);
GOPT_API const gopt_tensor *gopt_run_context_output(gopt_run_context *rc, size_t i);

/* One way to run a step that was considered. */
typedef struct gopt_tactic_info {
    const char *name;   /* "conv_direct" */
    int variant;        /* which of its ways, from 0 on */
    const char *label;  /* what that variant is; NULL: nothing to tell */
    bool takes, chosen; /* it could run the step; it does */
    double estimate_ms; /* what it was thought to take; 0: not said */
    double ms;          /* what it took when tuning; 0: not timed */
    uint64_t workspace_bytes, weight_bytes;
    const char *why; /* why it does not take the step, or was not chosen; NULL: not said */
} gopt_tactic_info;

/* What was built, and what the last run took. */
typedef struct gopt_step_info {
    const char *name;           /* of the fusion or node */
    const char *op;             /* "Conv+Add+Relu" */
    const char *backend;        /* which one runs it */
    const char *tactic;         /* "onednn_conv", "reference" */
    const char *reason;         /* why it was not placed on the backend asked for; NULL where it was */
    const char *const *origins; /* original nodes */
    size_t n_origins;
    double ms;          /* of the last profiled run; 0 where not profiled */
    double gflop;       /* 0 where unknown */
    uint64_t bytes;     /* read and written at least */
    const char *region; /* the fused region that it is a part of, and why that fell apart; NULL where it did not */
    const gopt_tactic_info *tactics; /* what was considered, in the order asked */
    size_t n_tactics;
    /* What runs: a node or a Fusion of the graph as it was compiled for these shapes; NULL of copies. Borrowed, until
     * the context's next run. */
    const gopt_node *node;
    /* Why it is computed in floats, its results too, where the plan is of halves; NULL where nothing keeps it there. */
    const char *fp32;
    /* Of the last profiled run, by the host's clock: since the run began, and with the steps that it holds. */
    double start_ms, whole_ms;
    bool device_clock; /* ms is by the device's clock: launching the step and waiting for it are in whole_ms alone */
} gopt_step_info;

/* What a machine can do at best, measured; 0: not known. */
typedef struct gopt_ceilings {
    const char *backend; /* whose steps these are for */
    double gflops; /* multiplications and additions, in 10^9 a second, as products in the engine's precision do them */
    double memory_gbytes; /* read and written, in 10^9 bytes a second */
    double cache_gbytes;  /* the same of no more than cache_bytes */
    double cache_bytes;
    double launch_ms; /* of a kernel that does nothing */
} gopt_ceilings;

/* Of the engine's device, by some small kernels, the first time; then they are remembered in the cache folder. `again`:
 * measures once more and takes what is better (the machine may have been busy). GOPT_UNSUPPORTED, and no diagnostic, where
 * the backend measures none: that of the cpu, and emulated tensor cores. */
GOPT_API gopt_status gopt_engine_ceilings(gopt_engine *e, bool again, gopt_ceilings *out);
/* Milliseconds that so much arithmetic over so many bytes takes at least: the longer of the two. 0 for none of both. */
GOPT_API double gopt_floor_ms(const gopt_ceilings *c, double gflop, double bytes);
/* The same of a step; 0 of copies and of another backend's steps. */
GOPT_API double gopt_step_floor_ms(const gopt_ceilings *c, const gopt_step_info *s);

typedef struct gopt_engine_info {
    const char *backend, *device, *precision;
    int threads;
    double build_ms;
    size_t steps;
    uint64_t activation_bytes, weight_bytes;
} gopt_engine_info;

GOPT_API const gopt_engine_info *gopt_engine_get_info(const gopt_engine *e);
/* Steps of the plan that the context ran last (of the static plan before the first run); NULL past the last. */
GOPT_API const gopt_step_info *gopt_run_context_step(gopt_run_context *rc, size_t i);
/* Time every step from now on, and what each thread does of it. */
GOPT_API void gopt_run_context_profile(gopt_run_context *rc, bool on);

/* What a thread did of a step without a pause: its own share of the work, or one that it took over. */
typedef struct gopt_share_info {
    int thread; /* 0: the one that called gopt_run */
    double start_ms, ms;
} gopt_share_info;
/* Share i of the last profiled run on the cpu, in no particular order; false past the last. */
GOPT_API bool gopt_run_context_share(const gopt_run_context *rc, size_t i, gopt_share_info *out);

/* A part of the memory that intermediate tensors share. */
typedef struct gopt_buffer_info {
    const char *name; /* of the tensor; of the step, where it is room that the step needs to work in */
    bool workspace, on_device;
    uint64_t offset, bytes;
    size_t first, last; /* steps between which it holds something; last may be one past the last step: an output */
} gopt_buffer_info;
/* Buffer i of that plan's memory; false past the last. */
GOPT_API bool gopt_run_context_buffer(gopt_run_context *rc, size_t i, gopt_buffer_info *out);

typedef struct gopt_run_times {
    double h2d_ms, compute_ms, d2h_ms; /* of the last run */
} gopt_run_times;
GOPT_API gopt_run_times gopt_run_context_times(const gopt_run_context *rc);

/* The optimized graph as compiled; borrowed. */
GOPT_API gopt_graph *gopt_engine_graph(gopt_engine *e);

/* Devices that could run something; NULL past the last. The list belongs to the context. */
typedef struct gopt_device_info {
    const char *backend, *name, *details;
    const char *missing; /* why it cannot be used, and what to install; NULL where it can */
} gopt_device_info;
GOPT_API const gopt_device_info *gopt_device_get(gopt_ctx *cx, size_t i);

#ifdef __cplusplus
}
#endif
#endif
