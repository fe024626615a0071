/* What a graph holds: how often each operator stands in it, and which constants. */
#ifndef GI_COUNT_OPS_H
#define GI_COUNT_OPS_H

#include "gopt/pass.h"
#include "ir/graph.h"

typedef struct gi_counts {
    gopt_op_count *ops; /* by name; of all blocks; a Fusion counts as what it holds */
    size_t n_ops;
    int64_t fusions;
    const gi_value **constants; /* one for each blob, in order of first use */
    size_t n_constants;
    uint64_t bytes; /* of those blobs */
} gi_counts;

/* All that it gives lives in the arena, but for the constants, which are the graph's. */
bool gi_count_graph(gopt_graph *g, gi_arena *a, gi_counts *c);

#endif
