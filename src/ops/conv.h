/* What convolutions share with the quantized ones and with backends. */
#ifndef GI_OPS_CONV_H
#define GI_OPS_CONV_H

#include "ops/real.h"
#include "ops/window.h"

typedef struct conv_shape {
    int64_t batch, channels, filters, groups; /* channels of x, filters: channels of y */
    gi_window window;
    bool pointwise; /* kernel 1, strides 1, no pads: a matrix product */
} conv_shape;

/* Output type of a convolution of inputs x and w; b: the bias's input, or -1. */
gopt_status gi_infer_conv_shape(gi_infer *c, uint32_t x, uint32_t w, int b, gopt_dtype dtype);

/* The window of the convolution that a ConvTranspose of these dims transposes: its `in` is our result, its `out` our X.
 * False with w->why where there is none. */
bool gi_window_of_transposed(const gi_node *n, int rank, const int64_t *x, const int64_t *weights, gi_window *w);

/* Checks the inputs of an evaluation. */
gopt_status gi_conv_shape_of(const gi_eval *a, uint32_t x, uint32_t w, int b, conv_shape *s);
void gi_conv_dims(const conv_shape *s, int64_t *dims); /* of y: n + 2 entries */

/* Conv, and of an operator whose inputs begin as Conv's do and that has its attributes. */
gopt_status gi_eval_conv(gi_eval *a);

/* y = x * w for 32-bit words that wrap. */
void gi_conv_u32(const conv_shape *s, const uint32_t *x, const uint32_t *w, uint32_t *y);

/* Weights less their zero point (one, or one a filter) as i32 words in scratch. */
gopt_status gi_filters_less_zero_point(gi_eval *a, uint32_t in, uint32_t zero_point, const uint32_t **out);

#endif
