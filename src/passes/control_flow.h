/* What the files of the pass control-flow share. */
#ifndef GI_CONTROL_FLOW_H
#define GI_CONTROL_FLOW_H

#include "passes/util.h"

/* Is the condition a constant, or known to be one? *way is which. */
bool gi_control_known(gi_value *v, bool *way);
/* Moves all nodes of a block before `before`, with the origins of the block's node. False without memory. */
bool gi_control_move(gi_block *from, gi_node *before, const gi_node *owner);
/* Names inside a block are its own: two blocks may use the same ones. */
void gi_control_forget_names(gi_node *n);

/* Undoes a Loop or Scan that runs a known number of times, or takes out of it what does not change from run to run
 * (loops.c). n->block is NULL afterwards where it is gone. */
gopt_status gi_control_loop(gi_pass_ctx *cx, gi_node *n);
/* Stacks what a Loop appends to a list, where that is all that is done with it (loop_lists.c). */
gopt_status gi_control_lists(gi_pass_ctx *cx, gi_node *n);
/* Why it is not known how often it runs, as a sentence; NULL where it is. */
const char *gi_control_uncounted(gi_pass_ctx *cx, gi_node *n);

#endif
