/* What a backend is. Everything else (placement, schedule, memory plan, contexts, timing) is common.
 *
 * Life of a plan, for one set of static shapes: placement asks every node's backend `supports`; `compile`
 * turns a placed node (a Fusion whole) into a step, packing weights; the memory plan gives every value that
 * crosses steps a place in the arena of its backend; `run` executes one step. Values that cross from one
 * backend to another get copy steps between. */
#ifndef GI_BACKEND_H
#define GI_BACKEND_H

#include "backend/archive.h"
#include "base/pool.h"
#include "gopt/engine.h"
#include "ir/graph.h"
#include "ops/eval.h"
#include "ops/infer.h"

typedef struct gi_device gi_device; /* an opened backend; each defines its own, starting with gi_device_base */
typedef struct gi_step gi_step;

/* A value's place in a run: host memory for the cpu, a device buffer and offset otherwise. */
typedef struct gi_buffer {
    void *host;      /* cpu; NULL elsewhere */
    void *mem;       /* a cl_mem for opencl */
    uint64_t offset; /* within mem */
    uint64_t bytes;
    const gi_type *type; /* static */
} gi_buffer;

#define GI_NOT_WITHIN UINT64_MAX

/* What `compile` is given and fills. The engine gives `node`, `plan`, `in` (every distinct value that the node
 * reads, inputs then captures; constants among the inputs too, but not those that blocks inside it read) and `out` (node->out), arrays of the plan's arena, the rest
 * zero but in_place, -1. `compile` may shorten or reorder `in` (packed constants need no buffer). A constant that
 * stays in `in` gets a buffer over its blob. Buffers are 64-byte aligned, but for the caller's own input tensors
 * (16 bytes at least) and constants (their element's size at least: they may lie in the mapped file). `out` ends
 * with the last output that is used or has a static type; all of them have static types. */
struct gi_step {
    gi_node *node;
    void *plan;         /* what plan_open gave; NULL where the backend has none */
    const char *tactic; /* static string, or of the plan's arena */
    void *state;        /* the backend's, freed by its release() */
    gi_value **in;      /* values read: node inputs and captures, constants excluded where packed */
    uint32_t n_in;
    gi_value **out;
    uint32_t n_out;
    int in_place; /* index into `in` whose buffer out[0] may take over if it dies here; -1 none */
    bool alias;   /* each out is a view of in[0]: same bytes, nothing to run */
    /* Optional (NULL). Of an alias, one an out: where in in[0] it begins; NULL: at the start. */
    const uint64_t *out_at;
    /* Optional (NULL), one an in: out[0] holds in[i]'s bytes from there on, as they are; GI_NOT_WITHIN: not so. The
     * memory plan may place in[i] there, and then the step finds it in place. On a device such parts may lie like combs
     * in each other, and begin at any multiple of 16 bytes; in host memory at those of 64. in_once: once all of them are
     * there, out[0] is made. */
    const uint64_t *in_at;
    bool in_once;
    uint64_t scratch;  /* bytes of workspace that run wants, of the arena */
    bool skips_unread; /* an out that no step reads may be without memory: its buffer has no host */
    double gflop;
    const char *fp32; /* why it is computed in floats, where the plan is of halves; NULL: it is not, or need not be */
    uint64_t weight_bytes; /* packed weights that the step holds */
    bool packs;            /* it keeps no pointer to constants that it does not leave in `in`: their bytes may go */
    bool again; /* of the caller: other plans will be made of the same constants: packed ones can be shared */
    /* Choosing. `want`, of the caller: run it by this tactic and variant, where that takes it; NULL: as the backend
     * thinks. `ask_all`, of the caller: consider every tactic, not only until the choice is clear. */
    const gopt_tactic_info *want;
    bool ask_all;
    gopt_tactic_info *tactics; /* what `compile` considered, of the plan's arena; NULL: nothing but what was taken */
    size_t n_tactics;
    const gi_kept_step *kept; /* of the caller: what a plan file holds of it; NULL: nothing */
    uint32_t kept_at;         /* packs of it that were asked for */
    bool kept_missed;         /* one was not there */
};

typedef struct gi_run_args {
    const gi_buffer *in;  /* one a step->in */
    const gi_buffer *out; /* one a step->out */
    void *scratch;        /* 64-byte aligned; of a backend with memory of its own, a gi_buffer * */
    gi_pool *pool;
    void *context; /* the backend's per-context state, of context_open */
    uint64_t seed; /* of random operators */
    gopt_ctx *cx;  /* the run's own, for diagnostics and tensors: contexts may run in different threads */
} gi_run_args;

typedef struct gi_backend {
    const char *name;
    /* Opens a device. `spec` is what follows "NAME:", or NULL. GOPT_UNSUPPORTED with what to install. */
    gopt_status (*open)(gopt_ctx *cx, const char *spec, const gopt_engine_options *o, gi_device **out);
    /* Optional (NULL): a device that is not there, where none is: it can be asked `supports` and closed. *out is NULL
     * where there is one. */
    gopt_status (*open_absent)(gopt_ctx *cx, gi_device **out);
    void (*close)(gi_device *d);
    const char *(*device_name)(const gi_device *d);
    /* Does it take this node with these (static) types? If not, *why is a sentence (arena or static). */
    bool (*supports)(gi_device *d, const gi_node *n, gi_arena *a, const char **why);
    /* Optional (NULL: what `supports` says): would a kernel run this step as one, and not the evaluation of one node
     * after another? `s` is what `compile` would be given, without a plan. If not, *why is a sentence, and a region
     * falls apart (plan_regions.c). */
    bool (*has_kernel)(gi_device *d, const gi_step *s, gi_arena *a, const char **why);
    /* Optional (NULL: no): would the kernel of this region compute `next` as well, which alone reads its one result and
     * stands behind it in the same block? Then they become one region, which `supports` takes (plan_regions.c). */
    bool (*grows)(gi_device *d, const gi_node *region, const gi_node *next, gi_arena *a);
    gopt_status (*compile)(gi_device *d, gi_step *s, gi_arena *a);
    gopt_status (*run)(gi_device *d, gi_step *s, const gi_run_args *args);
    /* Optional (NULL): the same for a run that is profiled. Waits for the step; *ms is what it took by the device's own
     * clock, from the start of its first command to the end of its last one, negative where the device does not say. */
    gopt_status (*run_timed)(gi_device *d, gi_step *s, const gi_run_args *args, double *ms);
    /* Optional (NULL): what the device can do at best, but for out->backend. Under the engine's lock. */
    gopt_status (*ceilings)(gi_device *d, bool again, gopt_ceilings *out);
    void (*release)(gi_device *d, gi_step *s);
    /* Memory of its own, NULL for a backend that works in host memory. Copies are done when they return, after all
     * that `context` (of context_open; NULL: the making of plans) has started before. */
    gopt_status (*mem_alloc)(gi_device *d, uint64_t bytes, void **mem);
    void (*mem_free)(gi_device *d, void *mem);
    gopt_status (*upload)(gi_device *d, void *context, const gi_buffer *to, const void *from);
    gopt_status (*download)(gi_device *d, void *context, const gi_buffer *from, void *to);
    gopt_status (*finish)(gi_device *d, void *context); /* waits for all that it has started */
    /* Optional (NULL): host memory that copies go to and come from at full speed (page-locked), 64-byte aligned and not
     * zeroed; NULL where the driver has none to give: other memory does as well, slower. Under the engine's lock. It may
     * outlive the device, and go in whatever thread. */
    void *(*host_alloc)(gi_device *d, uint64_t bytes, void **handle);
    void (*host_free)(void *handle);
    /* Optional (NULL): values of a layout of the backend's own. plan_open is called once a plan, before the first
     * compile, with all nodes placed on this backend, in schedule order; it decides the layout of every value that
     * stays within them (what the graph yields, and what nodes of another backend or the engine itself read or
     * write, stays dense row-major). value_bytes says what a value's buffer takes, where that is not its type's
     * size. plan_close after the last step's release. */
    gopt_status (*plan_open)(gi_device *d, gi_node *const *nodes, size_t n, void **plan);
    void (*plan_close)(gi_device *d, void *plan);
    uint64_t (*value_bytes)(gi_device *d, void *plan, const gi_value *v);
    int (*layout)(gi_device *d, void *plan, const gi_value *v); /* a number for how the value lies; with plan_open */
    /* Optional (NULL): compiled steps that follow each other, as one. span_open is called when a frame is made, with
     * the places of all that they read and write, which stay; *span is NULL where steps shall run one by one. Steps
     * that are aliases are not among them. Not used while a run is profiled. Opened under the engine's lock; run and
     * closed by the context that args name. */
    gopt_status (*span_open)(gi_device *d, gi_step *const *steps, const gi_run_args *const *args, size_t n,
                             void **span);
    gopt_status (*span_run)(gi_device *d, void *span, const gi_run_args *args);
    void (*span_close)(gi_device *d, void *span);
    /* Optional (NULL): state that one run context has of the backend (scratch arenas, command queues). What fails in
     * it is told to `cx`, the run's own: contexts may run in different threads. */
    gopt_status (*context_open)(gi_device *d, gopt_ctx *cx, void **context);
    void (*context_close)(gi_device *d, void *context);
    /* Optional (NULL), for plan files: gives what of the step's packed weights may lie in one, in the order in which
     * compile asked gi_kept_next for them. */
    gopt_status (*packs)(gi_device *d, const gi_step *s, gi_pack_visit visit, void *user);
    /* What a machine must have in common with this one so that packed weights fit: "isa=avx512; bf16=none". */
    const char *(*machine)(const gi_device *d, gi_arena *a);
    /* State of the device that spares building: compiled programs, choices. Restoring takes what fits and is no error
     * where nothing does; `trusted`: code that would run on this computer's own processor may be taken. */
    gopt_status (*state)(gi_device *d, gi_str *out);
    gopt_status (*restore)(gi_device *d, const uint8_t *p, size_t n, bool trusted);
} gi_backend;

extern const gi_backend gi_backend_cpu;
extern const gi_backend gi_backend_opencl; /* only where built with OpenCL: GI_HAVE_OPENCL */
/* OpenCL's device i, or one entry with what is missing where there is none; NULL past the last. */
const gopt_device_info *gi_opencl_device(gopt_ctx *cx, size_t i);

#endif
