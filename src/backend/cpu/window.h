/* The geometry of a sliding window over an image of one or two dims: what convolutions and pools share. */
#ifndef GI_WINDOW_H
#define GI_WINDOW_H

#include "backend/cpu/cpu.h"

typedef struct gi_window {
    int64_t n, c, ih, iw, oc, oh, ow; /* one spatial dim is a width; its height is 1 */
    int64_t kh, kw, sh, sw, dh, dw;
    int64_t pt, pl; /* padding before; what lies behind follows from the output's size */
} gi_window;

/* Attribute positions of the operator; kernel gives the spatial sizes. False where shapes are not static f32 of one
 * or two spatial dims, empty, or too large for 32-bit positions. */
bool gi_window_of(const gi_node *n, const gi_value *x, const gi_value *y, int at_auto_pad, int at_pads, int at_strides,
                  int at_dilations, uint32_t n_kernel, const int64_t *kernel, gi_window *w);

/* Kernel rows *h0 … *h1-1 of output row `row` lie inside the image. */
static inline void gi_window_rows(const gi_window *w, int64_t row, int64_t *h0, int64_t *h1)
{
    const int64_t first = row * w->sh - w->pt;
    *h0 = first < 0 ? (-first + w->dh - 1) / w->dh : 0;
    *h1 = gi_min_i64(w->kh, first >= w->ih ? 0 : (w->ih - 1 - first) / w->dh + 1);
    if (*h1 < *h0)
        *h1 = *h0;
    if (*h0 > w->kh)
        *h0 = *h1 = w->kh;
}

#endif
