/* The softmax of one line or tensor, for operators that hold one. */
#ifndef GI_OPS_SOFTMAX_H
#define GI_OPS_SOFTMAX_H

#include "ops/eval.h"

/* y = softmax of x, n elements, at least one; y may be x. */
void gi_softmax_line_f32(const float *x, float *y, int64_t n);
void gi_softmax_line_f64(const double *x, double *y, int64_t n);

/* y = logarithm of the softmax of x along the middle of [outer, n, inner]; y may be x. */
gopt_status gi_log_softmax_f32(gi_eval *a, int64_t outer, int64_t n, int64_t inner, const float *x, float *y);
gopt_status gi_log_softmax_f64(gi_eval *a, int64_t outer, int64_t n, int64_t inner, const double *x, double *y);

#endif
