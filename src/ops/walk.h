/* Walking broadcast operands row by row: what pointwise evaluators share.
 *
 * A walk collapses dims that lie together in every operand, so that equal shapes are one row, a scalar operand is
 * one row with step 0, and [n,c,h,w] with [c,1,1] is n·c rows of h·w. In a row an operand steps by 1 or by 0. */
#ifndef GI_WALK_H
#define GI_WALK_H

#include "ops/eval.h"

enum { GI_WALK_MAX = 3 };

/* out[i] = f(in[0][i * step[0]], …) for i in 0 … n-1. `out` may be one of the inputs. */
typedef void (*gi_row_fn)(const void *const *in, const int *step, void *out, int64_t n, const void *arg);

/* Rows by dtype; NULL where an operator does not take it. float16 and bfloat16 go through the f32 row. */
typedef gi_row_fn gi_row_table[GOPT_DTYPE_COUNT];

typedef struct gi_walk {
    int rank; /* of what lies outside the rows */
    int n_in;
    int64_t dims[GOPT_MAX_RANK];
    int64_t strides[GI_WALK_MAX][GOPT_MAX_RANK];
    int64_t row; /* elements of a row */
    int step[GI_WALK_MAX];
} gi_walk;

void gi_walk_init(gi_walk *w, int rank, const int64_t *dims, int n_in, const gopt_tensor *const *in);

/* Calls f for every row. in_item, out_item: bytes of an element. */
void gi_walk_run(const gi_walk *w, const void *const *in, const size_t *in_item, void *out, size_t out_item,
                 gi_row_fn f, const void *arg);

/* Runs the row of the first input's dtype over operands of that one dtype; GOPT_BAD_INPUT where there is none or
 * dtypes differ. The output must have the broadcast shape. */
gopt_status gi_walk_table(const gi_eval *a, const gi_row_table rows, int n_in, const gopt_tensor *const *in,
                          gopt_tensor *out, const void *arg);

/* Broadcast shape of inputs 0 … n-1, absent ones aside. */
gopt_status gi_eval_broadcast(const gi_eval *a, uint32_t n, int *rank, int64_t *dims);

/* n elements from element `at` of a float16, bfloat16 or float array as floats, and back. */
void gi_floats_load(gopt_dtype t, const void *data, int64_t at, int64_t n, float *to);
void gi_floats_store(gopt_dtype t, void *data, int64_t at, int64_t n, const float *from);

/* All elements of a tensor as floats or doubles, in scratch; the tensor's own where it has them so. NULL where there
 * is no memory. Not for strings and complex. */
const float *gi_as_f32(gi_eval *a, const gopt_tensor *t);
const double *gi_as_f64(gi_eval *a, const gopt_tensor *t);

#endif
