/* What a node costs: floating-point operations as an expression in the model's symbols. */
#ifndef GI_COST_H
#define GI_COST_H

#include "ir/graph.h"

/* Two for each multiply-add of convolutions, matrix products, recurrences and attention; one an element for
 * what computes elements; the inputs' elements for reductions; none for what only moves or names them. Blocks
 * count: a Fusion's and a Loop's or Scan's once a trip where the trips are known, the dearer branch of an If.
 * Nothing is counted for a shape that is not known. NULL where there is no memory. */
const gi_dim *gi_node_flops(const gi_node *n);
const gi_dim *gi_block_flops(const gi_block *b);

/* Elements of a tensor's type; NULL where its rank is not known or there is no memory. */
const gi_dim *gi_type_count(gopt_graph *g, const gi_type *t);

#endif
