/* Sums of a few rows or pixels by weights: what a linear or cubic Resize is made of. */
#ifndef GK_BLEND_H
#define GK_BLEND_H

#include "vec.h"

GK_INLINE gv blend_at(const float *const *rows, const float *w, size_t i, const size_t taps)
{
    gv v = v_load(rows[0] + i) * V(w[0]);
    for (size_t t = 1; t < taps; t++)
        v += v_load(rows[t] + i) * V(w[t]);
    return v;
}

GK_INLINE void blend_run(size_t n, const size_t taps, const float *const *rows, const float *w, float *dst)
{
    size_t i = 0;
    for (; i + L <= n; i += L)
        v_store(dst + i, blend_at(rows, w, i, taps));
    for (; i < n; i++) {
        float v = 0;
        for (size_t t = 0; t < taps; t++)
            v += rows[t][i] * w[t];
        dst[i] = v;
    }
}

void GK_NAME(blend_rows)(size_t n, size_t taps, const float *const *rows, const float *w, float *dst);
void GK_NAME(blend_rows)(size_t n, size_t taps, const float *const *rows, const float *w, float *dst)
{
    if (taps == 2)
        blend_run(n, 2, rows, w, dst);
    else
        blend_run(n, taps, rows, w, dst);
}

GK_INLINE void blend_pixels_run(size_t n, const size_t taps, const int32_t *at, const float *w, const float *src,
                                float *dst)
{
    for (size_t p = 0; p < n; p++, at += taps, w += taps) {
        gv v = v_load(src + (ptrdiff_t)at[0] * L) * V(w[0]);
        for (size_t t = 1; t < taps; t++)
            v += v_load(src + (ptrdiff_t)at[t] * L) * V(w[t]);
        v_store(dst + p * L, v);
    }
}

void GK_NAME(blend_pixels)(size_t n, size_t taps, const int32_t *at, const float *w, const float *src, float *dst);
void GK_NAME(blend_pixels)(size_t n, size_t taps, const int32_t *at, const float *w, const float *src, float *dst)
{
    if (taps == 2)
        blend_pixels_run(n, 2, at, w, src, dst);
    else
        blend_pixels_run(n, taps, at, w, src, dst);
}

#endif
