/* Putting elements by index, and the walks that gathers and scatters share. */
#ifndef GI_SCATTER_H
#define GI_SCATTER_H

#include "ops/eval.h"
#include "ops/infer.h"

gopt_status gi_infer_scatter_elements(gi_infer *c);
gopt_status gi_infer_scatter_nd(gi_infer *c);
gopt_status gi_infer_tensor_scatter(gi_infer *c);
gopt_status gi_eval_scatter(gi_eval *a);
gopt_status gi_eval_scatter_elements(gi_eval *a);
gopt_status gi_eval_scatter_nd(gi_eval *a);
gopt_status gi_eval_tensor_scatter(gi_eval *a);

/* Walks an index tensor row by row beside the data that it indexes along one axis. Entry j of the row stands
 * for the data element at base + j·step + index·stride. */
typedef struct gi_element_walk {
    int axis, rank;
    bool empty;
    int64_t row, base, step, stride;
    int64_t index[GOPT_MAX_RANK], dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
} gi_element_walk;

/* Checks axis, ranks and dims: input 0 is the data, input 1 the indices. */
gopt_status gi_element_walk_init(gi_eval *a, int64_t axis, const gopt_tensor *data, const gopt_tensor *indices,
                                 gi_element_walk *w);
bool gi_element_walk_next(gi_element_walk *w); /* false after the last row */

/* The place, counted in slices, that `depth` indices from element `from` of input `in` name within dims. */
gopt_status gi_index_row(gi_eval *a, uint32_t in, int64_t from, int depth, const int64_t *dims, int64_t *at);

#endif
