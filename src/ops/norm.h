/* Normalization of rows, for the operators that hold it. */
#ifndef GI_OPS_NORM_H
#define GI_OPS_NORM_H

#include "ops/real.h"

typedef struct gi_row_norm {
    int64_t rows, n;            /* rows of n elements */
    int64_t scale_step, b_step; /* from row to row: 0 where all rows share one of them */
    bool centred;               /* about the mean; else about 0 */
    double epsilon;
    double *means, *inverses; /* receive a number a row; may be NULL */
} gi_row_norm;

/* y = (x − mean) / √(variance + ε) · scale + b, elements of `real`; b may be NULL, y may be x. */
void gi_norm_rows(gopt_dtype real, const gi_row_norm *r, const void *x, const void *scale, const void *b, void *y);

#endif
