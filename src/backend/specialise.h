/* A graph for one set of input shapes. */
#ifndef GI_SPECIALISE_H
#define GI_SPECIALISE_H

#include "ir/graph.h"

/* A copy of `g` with its inputs' shapes fixed to those of `inputs` (NULL: as they are), types inferred, and
 * nodes whose results are thereby known (arithmetic on shapes) turned into constants. */
/* The same for a static graph, in it. */
gopt_status gi_specialise_in_place(gopt_graph *g);
gopt_status gi_specialise(const gopt_graph *g, const gopt_tensor *const *inputs, gopt_graph **out);

#endif
