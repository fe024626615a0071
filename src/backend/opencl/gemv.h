/* Products of few rows by constant weights (kernels/opencl/gemv.cl). */
#ifndef GI_CL_GEMV_H
#define GI_CL_GEMV_H

#include "backend/opencl/cl.h"

enum { GI_CL_GEMV_ROWS = 4 /* at most: beyond, tiles use what they have loaded more often */ };

/* Rows of x of `length` elements, one behind the other, by n columns of weights, each of a row of `row` elements. */
typedef struct gi_cl_gemv {
    const char *before; /* of the source: types and epilogue */
    int64_t rows, n, length, row;
    int64_t room;               /* columns of the result that there is room for, zeros behind n */
    int64_t pixels, strides[3]; /* as in tiled.c: of an image of the result; strides of images, pixels, columns */
} gi_cl_gemv;

/* refs: x, weights, bias, y, and what the epilogue reads. */
gopt_status gi_cl_gemv_launch(gi_cl_build *b, const gi_cl_gemv *p, uint32_t n_refs, const gi_cl_ref *refs);

#endif
