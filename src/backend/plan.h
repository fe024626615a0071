/* A plan: one block of a specialised graph, turned into steps over slots.
 *
 * A slot is a value at a place: in host memory or in the device's. Where its bytes come from:
 *
 *   PLANNED  the context's arena of that place, at an offset that the memory plan gave
 *   CONST    a weight's own bytes, or the engine's copy of them on the device
 *   OUTER    set when a run begins: the caller's inputs; in a branch, what it captures
 *   DYNAMIC  a tensor that a step makes in each run, since its shape depends on data
 *
 * Views and results written in place share the bytes of their `root`; a part of a Concat lies within its result. A plan is never changed once made, and
 * is shared by all contexts; what differs between runs is a frame (frame.h). */
#ifndef GI_PLAN_H
#define GI_PLAN_H

#include "backend/engine.h"

typedef enum gi_slot_kind { GI_SLOT_PLANNED, GI_SLOT_CONST, GI_SLOT_OUTER, GI_SLOT_DYNAMIC } gi_slot_kind;

typedef struct gi_slot {
    gi_value *value;
    gi_slot_kind kind; /* of a root; others follow theirs */
    bool on_device;
    uint32_t root;        /* itself, unless it lies within another's bytes */
    uint64_t at;          /* where in the root's */
    const gi_type *type;  /* static; NULL where known in a run alone */
    uint64_t bytes;       /* of a static type, in the layout of the backend that writes it */
    uint64_t offset;      /* PLANNED */
    gi_blob *blob;        /* CONST */
    void *mem;            /* CONST on the device */
    bool unread;          /* no step reads it: it has no bytes at all */
    uint32_t first, last; /* steps between which a root lives */
} gi_slot;

typedef enum gi_step_kind {
    GI_STEP_COMPILED, /* by a backend */
    GI_STEP_DYNAMIC,  /* by reference evaluation into tensors made in the run */
    GI_STEP_IF,       /* runs one of two plans */
    GI_STEP_COPY,     /* host to host */
    GI_STEP_UPLOAD,
    GI_STEP_DOWNLOAD
} gi_step_kind;

typedef struct gi_plan_step {
    gi_step_kind kind;
    int device;         /* which of the engine's, COMPILED */
    gi_node *node;      /* NULL of copies */
    gi_step s;          /* COMPILED */
    uint32_t *in, *out; /* slots; in: those of s.in, or the node's inputs and captures */
    uint32_t n_in, n_out;
    uint64_t scratch_offset;
    uint32_t *patch; /* entries of `in` whose place is known in a run alone */
    uint32_t n_patch;
    uint32_t *release; /* DYNAMIC slots that die here */
    uint32_t n_release;
    struct gi_plan *branch[2]; /* of IF: else, then */
    gopt_step_info info;
} gi_plan_step;

typedef struct gi_capture {
    uint32_t slot, outer; /* in this plan, in the plan around it */
} gi_capture;

typedef struct gi_plan {
    struct gopt_engine *e;
    gi_arena *arena;
    struct gi_plan *outer;
    gi_block *block;
    gi_map slot_of; /* (value id * 2 + on_device) + 1 → slot + 1 */
    gi_vec(gi_slot) slots;
    gi_vec(gi_plan_step) steps;
    uint32_t *params, *results;
    gi_vec(gi_capture) captures;
    gi_map fell;             /* node id + 1 → what its region was, and why that fell apart */
    uint64_t arena_bytes[2]; /* host, device */
    void *backend_plan[2];   /* per engine device */
    int depth;
    bool known; /* made to be tuned, and the cache knows all of its steps: nothing was compiled */
} gi_plan;

/* The plan of a block whose types are specialised, inside the plan `outer` (NULL: of the main block). Takes its
 * memory from `arena`; on an error everything that backends hold is released. Under the engine's lock. */
gopt_status gi_plan_build(struct gopt_engine *e, gi_block *b, gi_arena *arena, gi_plan *outer, gi_plan **out);
void gi_plan_release(gi_plan *p); /* what the backends hold; p may be NULL */

/* The slot of a value, -1 where it has none there. */
int64_t gi_plan_find(const gi_plan *p, const gi_value *v, bool on_device);

static inline uint32_t gi_slot_root(const gi_plan *p, uint32_t i)
{
    while (p->slots.p[i].root != i)
        i = p->slots.p[i].root;
    return i;
}

/* Where in that root a slot begins. */
static inline uint64_t gi_slot_at(const gi_plan *p, uint32_t i)
{
    uint64_t at = 0;
    for (; p->slots.p[i].root != i; i = p->slots.p[i].root)
        at += p->slots.p[i].at;
    return at;
}

/* ---- parts of building (plan_*.c) ---- */

/* Decides where each live node of the block runs, in order. */
typedef struct gi_placed {
    gi_node *node;
    gi_step_kind kind;       /* COMPILED, DYNAMIC or IF */
    int device;              /* of COMPILED */
    uint32_t n_out;          /* outputs up to the last one that is used or has a static type */
    const char *reason;      /* why not on the backend asked for; NULL where it is */
    const char *reason_kind; /* a reason that names a tensor, without it; NULL: the reason names none */
} gi_placed;
gopt_status gi_plan_place(gi_plan *p, gi_arena *scratch, gi_placed **placed, size_t *n);
/* What `compile` is given for a node of which the first n_out outputs matter; its arrays are of `a`. */
gopt_status gi_plan_step_of(gi_node *n, uint32_t n_out, gi_arena *a, gi_arena *scratch, gi_step *s);
/* Takes regions apart that no kernel runs whole (plan_regions.c). */
gopt_status gi_plan_regions(gi_plan *p, gi_arena *scratch);
/* Weights that optimization made, to let go of once they are packed (plan_weights.c). *out is NULL where they must
 * stay. gi_weights_passed: step `at` of the placed ones is compiled; it packs what it does not leave in its `in`. */
typedef struct gi_weights gi_weights;
gopt_status gi_weights_open(gi_plan *p, const gi_placed *placed, size_t n, gi_arena *a, gi_weights **out);
void gi_weights_passed(gi_weights *w, size_t at, bool packs); /* w may be NULL */
/* Lifetimes, results in place, offsets, what to release and to patch. */
gopt_status gi_plan_memory(gi_plan *p, gi_arena *scratch);
/* "Conv+Add+Relu" of a fusion, the operator's name of any other node. */
const char *gi_plan_name_ops(gi_arena *a, const gi_node *n);
/* The names of the original nodes of n; its own where it has none. */
gopt_status gi_plan_origins(gi_arena *a, const gi_node *n, const char *const **names, size_t *count);
/* What a node is called: its name, or its first result's. */
const char *gi_plan_name(gi_arena *a, const gi_node *n);
/* Fills a step's info. */
gopt_status gi_plan_describe(const gi_plan *p, gi_plan_step *s, const char *reason);

#endif
