/* The cost model: whether a merge or a fusion pays, in bytes moved, kernels started and floating-point operations.
 *
 * Figures are expressions over the model's symbols. To weigh them against each other they become microseconds on a
 * machine of middling speed, each free symbol counting as GI_COST_SYMBOL: decisions rest on ratios, so how fast the
 * machine really is matters little, and a decision is the same on every machine. */
#ifndef GI_PASSES_COST_H
#define GI_PASSES_COST_H

#include "ops/cost.h"
#include "passes/util.h"

enum { GI_COST_SYMBOL = 64 };

/* What something takes, or spares. Dims are NULL where a shape is not known, and stay so when added to. */
typedef struct gi_cost {
    const gi_dim *bytes; /* read and written */
    const gi_dim *flops;
    int64_t kernels; /* started */
} gi_cost;

gi_cost gi_cost_none(gopt_graph *g);
/* Adds `times` reads or writes of a tensor of that type. */
void gi_cost_add_moves(gopt_graph *g, gi_cost *c, const gi_type *t, int64_t times);
void gi_cost_add_flops(gopt_graph *g, gi_cost *c, const gi_dim *flops, int64_t times);
/* Microseconds; a figure that is not known counts nothing. */
double gi_cost_time(const gi_cost *c);

/* "1.5 MiB", "96*n bytes", "an unknown number of bytes". In the arena; never NULL. */
const char *gi_cost_bytes_text(gi_arena *a, const gi_dim *bytes);

/* Writing a value and reading it once. */
gi_cost gi_cost_of_value(gopt_graph *g, const gi_value *v);
/* What running these nodes, which lie in one block, as one kernel spares: a kernel for each node but the first,
 * the writing and reading of what only they read, and reading anew what several of them read. At most 48 or so nodes:
 * quadratic in them. */
gi_cost gi_cost_of_fusion(gopt_graph *g, gi_node *const *nodes, size_t n, bool (*inside)(void *arg, const gi_use *u),
                          void *arg);

#endif
