/* The windows of convolutions and pooling: kernel, strides, dilations and pads, with the attributes' defaults
 * and auto_pad resolved. Type rules, evaluators and backends all read them here. */
#ifndef GI_OPS_WINDOW_H
#define GI_OPS_WINDOW_H

#include "ops/infer.h"

enum { GI_WINDOW_MAX = GOPT_MAX_RANK - 2 };

typedef enum gi_auto_pad { GI_PAD_EXPLICIT, GI_PAD_SAME_UPPER, GI_PAD_SAME_LOWER, GI_PAD_VALID } gi_auto_pad;

typedef struct gi_window {
    int n; /* spatial dimensions */
    gi_auto_pad auto_pad;
    bool ceil_mode;
    int64_t in[GI_WINDOW_MAX], out[GI_WINDOW_MAX];
    int64_t kernel[GI_WINDOW_MAX]; /* -1 where unknown yet */
    int64_t stride[GI_WINDOW_MAX], dilation[GI_WINDOW_MAX];
    int64_t begin[GI_WINDOW_MAX], end[GI_WINDOW_MAX]; /* pads */
    char why[200];                                    /* what is wrong, after a false */
} gi_window;

/* Reads the attributes of a node of any operator that has some of kernel_shape, strides, pads, dilations,
 * auto_pad and ceil_mode, by their names. `kernel` is used where kernel_shape is absent, and must agree with
 * it where both are known; it may be NULL, its entries -1. */
bool gi_window_read(const gi_node *n, int spatial, const int64_t *kernel, gi_window *w);

/* Fills in, out and the pads of auto_pad for an input of this size. Kernels must be known. */
bool gi_window_place(gi_window *w, const int64_t *in);

/* Both: of a Conv-like node with these input and weight dims (of equal rank), for backends and evaluators. */
bool gi_window_of_conv(const gi_node *n, int rank, const int64_t *x, const int64_t *weights, gi_window *w);

/* Output dimension i for an input dimension that may be an expression. NULL where there is no memory or a
 * constant is too small (then w->why says so). */
const gi_dim *gi_window_dim(gi_dims *t, gi_window *w, int i, const gi_dim *in);

/* The output positions [*from, *to) whose tap k of dimension i lies inside the input. */
static inline void gi_window_range(const gi_window *w, int i, int64_t tap, int64_t *from, int64_t *to)
{
    const int64_t offset = tap * w->dilation[i] - w->begin[i], s = w->stride[i];
    const int64_t lo = offset >= 0 ? 0 : (-offset + s - 1) / s;
    const int64_t last = w->in[i] - 1 - offset;
    const int64_t hi = last < 0 ? 0 : last / s + 1;
    *to = hi < w->out[i] ? hi : w->out[i];
    *from = lo < *to ? lo : *to;
}

/* The input line (index over all dimensions but the last) that a tap reads for an output row, both given by their
 * places in those dimensions; false where it lies in the padding. */
static inline bool gi_window_line(const gi_window *w, const int64_t *row, const int64_t *tap, int64_t *line)
{
    bool inside = true;
    *line = 0;
    for (int d = 0; d < w->n - 1; d++) {
        const int64_t at = row[d] * w->stride[d] + tap[d] * w->dilation[d] - w->begin[d];
        inside = inside && at >= 0 && at < w->in[d];
        *line = *line * w->in[d] + at;
    }
    return inside;
}

#endif
