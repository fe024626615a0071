/* Binding the free symbols of a graph's inputs to numbers. */
#ifndef GI_BIND_H
#define GI_BIND_H

#include "ir/graph.h"

/* What is known of one input: nothing where rank < 0; entries below 0 are not known. */
typedef struct gi_shape {
    gopt_dtype dtype; /* for an input whose type the model does not say; GOPT_UNDEFINED: not known */
    int rank;
    int64_t dims[GOPT_MAX_RANK];
} gi_shape;

/* Gives inputs these shapes (one an input), binds every symbol that follows from them, and infers all types
 * anew. `status` is that of a diagnostic about a shape that cannot be: it names the input, its dimension as the
 * model has it, and where a symbol got another value. */
gopt_status gi_bind_shapes(gopt_graph *g, const gi_shape *shapes, gopt_status status);

/* Replaces symbols in every type and every known content of the graph, and infers all types anew. */
gopt_status gi_bind_symbols(gopt_graph *g, const gi_binding *b, size_t n);

#endif
