/* What the matmul family shares with its neighbours. */
#ifndef GI_OPS_MATMUL_H
#define GI_OPS_MATMUL_H

#include "ops/gemm.h"
#include "ops/real.h"

gopt_status gi_infer_einsum(gi_infer *c);
gopt_status gi_eval_einsum(gi_eval *a);

/* The batched product that numpy.matmul makes of two shapes. */
typedef struct gi_matmul_plan {
    int64_t m, n, k;
    int batch_rank;
    int64_t batch[GOPT_MAX_RANK], stride_a[GOPT_MAX_RANK], stride_b[GOPT_MAX_RANK]; /* strides in matrices */
    int rank;                                                                       /* of the result */
    int64_t dims[GOPT_MAX_RANK];
} gi_matmul_plan;

/* Of shapes of rank 1 and more whose inner dimensions agree; false where their batches do not broadcast. */
bool gi_matmul_plan_dims(int ra, const int64_t *a, int rb, const int64_t *b, gi_matmul_plan *p);
gopt_status gi_matmul_plan_of(const gi_eval *a, uint32_t in_a, uint32_t in_b, gi_matmul_plan *p);
/* y = a·b for words of that kind; y is cleared first. */
void gi_matmul_run(const gi_matmul_plan *p, gi_word w, const void *a, const void *b, void *y);

/* Shape of the product of inputs in_a and in_b, set with that dtype as output 0. */
gopt_status gi_infer_matmul_shape(gi_infer *c, uint32_t in_a, uint32_t in_b, gopt_dtype dtype);

/* The same for shapes of rank 1 and more whose inner dimensions were checked; in_b is named where they clash. */
gopt_status gi_infer_matmul_dims(gi_infer *c, uint32_t in_b, int ra, const gi_dim *const *a, int rb,
                                 const gi_dim *const *b, gopt_dtype dtype);

/* Gemm, and an operator whose inputs and first attributes are Gemm's. */
gopt_status gi_infer_gemm(gi_infer *c);
gopt_status gi_eval_gemm(gi_eval *a);

/* An 8-bit integer input less its zero point, as i32 words in scratch. A zero point is one number, or one a
 * row (rows: of the second-last dimension) or a column. Absent ones are 0. */
gopt_status gi_less_zero_point(gi_eval *a, uint32_t in, uint32_t zero_point, bool rows, const uint32_t **out);

#endif
