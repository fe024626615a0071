/* Inside of an engine and its run contexts. */
#ifndef GI_ENGINE_H
#define GI_ENGINE_H

#include <pthread.h>

#include "backend/backend.h"
#include "backend/timing_cache.h"

enum { GI_MAX_PLANS = 8, GI_MAX_PLAN_DEPTH = 100 };

/* A plan for one set of input shapes, with the graph that it was made from. */
typedef struct gi_special {
    int refs; /* the engine's and each context's; changed under the engine's lock */
    gopt_graph *graph;
    gi_arena *arena;
    struct gi_plan *plan;
    int64_t *key;
    size_t n_key;
    uint64_t used; /* when last asked for */
    uint64_t activation_bytes, weight_bytes;
    size_t n_steps;
} gi_special;

typedef struct gi_device_copy {
    void *mem;
    gi_blob *blob;
} gi_device_copy;

/* The cpu, and the backend asked for, NULL where that is the cpu. */
typedef struct gi_devices {
    const gi_backend *backend[2];
    gi_device *device[2];
} gi_devices;
gopt_status gi_devices_open(gopt_ctx *cx, const gopt_engine_options *o,
                            gi_devices *d); /* close it also where it fails */
/* The same for asking what they support: where no device of the backend is there, one that is not (*absent). */
gopt_status gi_devices_open_to_ask(gopt_ctx *cx, const gopt_engine_options *o, gi_devices *d, bool *absent);
void gi_devices_close(gi_devices *d);
bool gi_kernels_give(gopt_kernels *k, gi_devices *d); /* hands them over; false where they are given, or not there */

struct gopt_kernels {
    gopt_ctx *cx;
    gi_devices devices;
    bool absent; /* the device is none: it only answers */
    gi_arena *scratch;
};

struct gopt_engine {
    gopt_ctx *cx;
    gi_arena *arena;
    gopt_graph *graph;            /* ours; its inputs may hold free symbols */
    gopt_engine_options options;  /* with strings of ours and the threads resolved */
    const gi_backend *backend[2]; /* the cpu; the one asked for, NULL where that is the cpu */
    gi_device *device[2];
    bool is_static; /* all inputs */
    gopt_engine_info info;
    bool told;            /* where steps were placed has been told */
    pthread_mutex_t lock; /* of what follows, of graphs and of `cx` while several contexts run */
    gi_special *plans[GI_MAX_PLANS];
    uint64_t clock;
    gi_timings *timings;          /* NULL: nothing is tuned, and no cache was named */
    bool tuning;                  /* plans are made to be timed: they share weights, and let go of none */
    gi_map *wants;                /* node id + 1 → the tactic that the plan being made shall use; NULL: none */
    const struct gi_tuned *tuned; /* what tuning found for it; NULL: it was not tuned */
    gopt_plan *file;              /* that it was loaded from; NULL: it was built */
    const gi_kept_plan *kept;     /* what the file holds of the plan being made; NULL: nothing */
    size_t kept_at;               /* steps of it that were compiled */
    bool reads_cold;              /* something was packed that the file does not hold packed */
    gi_map device_consts;         /* blob → its copy on the device */
    gi_vec(gi_device_copy) device_copies;
};

static inline bool gi_engine_on_device(const struct gopt_engine *e, int device)
{
    return e->backend[device]->mem_alloc != NULL;
}

/* The plan for these inputs, made where there is none. The caller gives it back. Takes the lock. */
gopt_status gi_engine_acquire(struct gopt_engine *e, const gopt_tensor *const *inputs, gi_special **out);
void gi_engine_give_back(struct gopt_engine *e, gi_special *s); /* s may be NULL */
/* Whether the plan was made for inputs of these shapes. Without lock or allocation. */
bool gi_special_fits(const gi_special *s, const gopt_tensor *const *inputs, size_t n);

/* The engine's copy of a weight on its device, uploaded when first asked for. Under the lock. */
gopt_status gi_engine_device_const(struct gopt_engine *e, gi_blob *b, void **mem);

/* Has `seen` called with the results of each step of a run, in host memory (frame.h); NULL: no more. */
void gi_run_context_watch(gopt_run_context *rc, void (*seen)(void *user, const gi_value *v, const gopt_tensor *t),
                          void *user);

/* Checks dtype, rank and fixed dims of input i (check.c). */
gopt_status gi_check_input(gopt_ctx *cx, const gopt_graph *g, size_t i, const gopt_tensor *t);

#endif
