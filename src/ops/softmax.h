/* The softmax of one line, for operators that hold one. */
#ifndef GI_OPS_SOFTMAX_H
#define GI_OPS_SOFTMAX_H

#include "base/base.h"

/* y = softmax of x, n elements, at least one; y may be x. */
void gi_softmax_line_f32(const float *x, float *y, int64_t n);
void gi_softmax_line_f64(const double *x, double *y, int64_t n);

#endif
