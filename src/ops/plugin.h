/* Operators that plugins give (gopt/plugin.h): who has them, and how inference and evaluation call them.
 *
 * They stay OP_Unknown in the graph. What asks the operator table about a node that may be one asks here instead:
 * gi_node_evaluates and gi_node_traits know both. They belong to the context of the node's graph, and are found by name:
 * a graph that was read before they were added sees them too, but has no types from them. */
#ifndef GI_PLUGIN_H
#define GI_PLUGIN_H

#include "gopt/plugin.h"
#include "ops/eval.h"
#include "ops/infer.h"

typedef struct gi_plugin_op {
    gopt_plugin_op op; /* strings copied */
    const char *file;  /* NULL: the program's own */
} gi_plugin_op;

/* The plugin operator that a node is, NULL where it is none. A walk over what was added: there are few. */
const gi_plugin_op *gi_plugin_of(const gi_node *n);

bool gi_node_evaluates(const gi_node *n);  /* by its row or a plugin; a Fusion does not */
unsigned gi_node_traits(const gi_node *n); /* of its row, or what a plugin says */

/* Called by the drivers, gi_infer_node and gi_eval_node. */
gopt_status gi_plugin_infer(gi_infer *c, const gi_plugin_op *p);
gopt_status gi_plugin_eval(gi_eval *a, const gi_plugin_op *p);

#endif
