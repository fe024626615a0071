/* A frame: the memory and the present values of one plan in one run context. */
#ifndef GI_FRAME_H
#define GI_FRAME_H

#include "backend/plan.h"

typedef struct gi_slot_state {
    gi_buffer b;          /* where the bytes are; of a root that is known in a run alone, set by then */
    gopt_tensor view;     /* host slots of a static type */
    const gopt_tensor *t; /* the value; NULL while a dynamic one has none */
    gopt_tensor *owned;   /* of a DYNAMIC slot: released after its last use */
} gi_slot_state;

typedef struct gi_step_state {
    gi_run_args args;
    gi_buffer *in, *out;
    gi_buffer scratch;           /* on the device */
    const gopt_tensor **eval_in; /* DYNAMIC: of the node's inputs */
    gopt_tensor **eval_out;
    int64_t *eval_slot;         /* slot of each node input, -1 where absent */
    struct gi_frame *branch[2]; /* of IF */
    gopt_step_info *info;       /* in the context's list */
    void *span;                 /* of this step and the next ones, up to span_end; NULL: none begins here */
    size_t span_end;
} gi_step_state;

/* What the frames of one run context share. */
typedef struct gi_run_state {
    gopt_ctx *cx; /* the run's own: its diagnostics, and tensors made in a run */
    gi_pool *pool;
    void *backend_context[2];
    gi_arena *scratch; /* of reference evaluation; reset after each node */
    bool profile;
    double began;         /* when the run began, by gi_now's clock */
    double profiled_ms;   /* of all steps of this run that ended */
    gopt_run_times times; /* h2d and d2h of the run so far */
    /* Optional (NULL): called with each result of a step that lies in host memory, when the step has run. */
    void (*seen)(void *user, const gi_value *v, const gopt_tensor *t);
    void *seen_user;
} gi_run_state;

typedef struct gi_frame {
    gi_plan *p;
    gi_run_state *run;
    gi_arena *arena;
    void *memory;     /* as allocated; the arena of host memory is aligned within */
    void *pinned;     /* the handle of `memory`, where it is the backend's; NULL: it is the heap's */
    uint64_t charged; /* bytes counted against the context's limit */
    void *device_memory;
    gi_slot_state *slots;
    gi_step_state *steps;
} gi_frame;

/* Allocates all that a run of a static plan will need. */
gopt_status gi_frame_create(gi_plan *p, gi_run_state *run, gi_arena *arena, gi_frame **out);
void gi_frame_destroy(gi_frame *f); /* f may be NULL */

/* Sets an OUTER slot; borrowed until the run's end. */
void gi_frame_set(gi_frame *f, uint32_t slot, const gopt_tensor *t);
gopt_status gi_frame_run(gi_frame *f);
/* The value of a host slot. Borrowed until the next run. */
const gopt_tensor *gi_frame_get(gi_frame *f, uint32_t slot);

/* Steps of the frame and of the branches within it, in order; `infos` may be NULL to count alone. */
size_t gi_frame_list(gi_frame *f, gopt_step_info *infos, size_t at);
uint64_t gi_frame_bytes(const gi_frame *f);

#endif
