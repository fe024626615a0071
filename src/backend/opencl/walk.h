/* Walks: several launches as one kernel that stays resident on the device (kernels/opencl/walk.cl). */
#ifndef GI_CL_WALK_H
#define GI_CL_WALK_H

#include "backend/opencl/mma.h"

enum { GI_CL_WALK_ITEMS = 256, GI_CL_WALK_REFS = 14, GI_CL_WALK_INTS = 28, GI_CL_WALK_MEMS = 48, GI_CL_WALK_LINE = 8 };

/* As walk.cl has it. An address is the number of a buffer in the highest byte and an offset until "resolve" has run. */
typedef struct gi_cl_walk_step {
    cl_ulong p[GI_CL_WALK_REFS];
    cl_long ints[GI_CL_WALK_INTS];
    cl_ulong items;
    cl_uint body, units, first, columns;
    cl_uint wait, wait_for, arrive, weights;
} gi_cl_walk_step;

/* A kernel that is part of a walk. */
typedef struct gi_cl_body {
    const char *source, *name; /* as launched by itself */
    uint32_t n_refs, n_ints;
    size_t units;  /* groups of 256 items */
    bool by_items; /* it may run for any number of items: no barriers */
    bool square;   /* groups of 16 by 16 */
} gi_cl_body;

/* Can a launch of this size be part of one? */
bool gi_cl_body_of(const gi_cl_launch *l, gi_cl_body *out);

/* The source of kernels "walk" and "resolve" for these bodies over n_mems buffers; NULL without memory. */
const char *gi_cl_walk_source(const gi_cl *d, gi_arena *a, const gi_cl_body *bodies, size_t n, uint32_t n_mems);

/* Asks every walk of the context whether it came to its end, without waiting; with what was read, whether one did not.
 * A walk that did not runs launch by launch from then on. */
cl_int gi_cl_walk_ask(gi_cl_context *x);
bool gi_cl_walk_fault(gi_cl_context *x);
/* A queue goes: no walk waits for one in it. Under the device's lock. */
void gi_cl_walk_forget(gi_cl *d, cl_command_queue q);

/* ---- backend.h: spans ---- */
gopt_status gi_cl_span_open(gi_device *d, gi_step *const *steps, const gi_run_args *const *args, size_t n, void **span);
gopt_status gi_cl_span_run(gi_device *d, void *span, const gi_run_args *args);
void gi_cl_span_close(gi_device *d, void *span);

#endif
