/* Tuning in place: which of the ways to run each step is the fastest inside of the whole plan (tune.c). */
#ifndef GI_TUNE_H
#define GI_TUNE_H

#include "backend/plan.h"
#include "backend/timing_cache.h"

/* The line that a machine's entries in the timing cache bear. */
const char *gi_tune_machine(const struct gopt_engine *e, gi_arena *a);

/* What the cache knows of this step, in `a`; *want is NULL where it knows nothing. */
gopt_status gi_tune_look_up(const gi_plan *p, const gi_step *s, gi_arena *a, const gopt_tactic_info **want);

/* By what the step, as `compile` is given it, is known in the cache. */
gopt_status gi_tune_key(const gi_plan *p, const gi_step *s, gi_arena *a, char key[33]);

/* What tuning found, of the arena that it was given. */
typedef struct gi_tuned {
    gi_map wants; /* node id + 1 → const gopt_tactic_info *: what shall run it */
    gi_map timed; /* node id + 1 → what was timed */
    gi_map fell;  /* node id + 1 → what its region was, and why that fell apart */
} gi_tuned;

/* Times all steps of the block that the cache does not know, on these inputs (NULL: made ones, for a static block),
 * and notes what it found in the cache. Under the engine's lock. */
gopt_status gi_tune(struct gopt_engine *e, gi_block *b, const gopt_tensor *const *inputs, gi_arena *a, gi_tuned *out);
/* What was timed for a node. */
size_t gi_tuned_list(const gi_tuned *t, const gi_node *n, gopt_tactic_info **list);

#endif
