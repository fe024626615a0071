/* Moving floats as they are: every second one, pixels by number, channels of pixels by number. */
#ifndef GK_PICK_H
#define GK_PICK_H

#include "vec.h"

/* The lanes of x in the order that `at` gives, each in 0 … L-1. */
GK_INLINE gv v_pick(gv x, gi at)
{
#if GK_LANES == 16
    return (gv)_mm512_permutexvar_ps((__m512i)at, (__m512)x);
#elif GK_LANES == 8 && defined(__AVX2__)
    return (gv)_mm256_permutevar8x32_ps((__m256)x, (__m256i)at);
#else
    gv r;
    for (int i = 0; i < L; i++)
        r[i] = x[at[i] & (L - 1)];
    return r;
#endif
}

void GK_NAME(every_second)(size_t n, const float *src, float *dst);
void GK_NAME(every_second)(size_t n, const float *src, float *dst)
{
    size_t i = 0;
#if GK_LANES == 16
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    for (; i + L < n; i += L) /* not at the very end: the last vector reads one float more than it takes */
        v_store(dst + i,
                (gv)_mm512_permutex2var_ps((__m512)v_load(src + 2 * i), even, (__m512)v_load(src + 2 * i + L)));
#elif defined(__SSE2__)
    for (; i + 4 < n; i += 4)
        _mm_storeu_ps(dst + i, _mm_shuffle_ps(_mm_loadu_ps(src + 2 * i), _mm_loadu_ps(src + 2 * i + 4), 0x88));
#endif
    for (; i < n; i++)
        dst[i] = src[2 * i];
}

void GK_NAME(pick_pixels)(size_t n, const int32_t *at, const float *src, float *dst);
void GK_NAME(pick_pixels)(size_t n, const int32_t *at, const float *src, float *dst)
{
    for (size_t p = 0; p < n; p++)
        v_store(dst + p * L, v_load(src + (ptrdiff_t)at[p] * L));
}

GK_INLINE void pick_channels_run(size_t n, const size_t sources, const float *const *src, const int32_t *at, float *dst)
{
    for (size_t p = 0; p < n; p++) {
        gv v = V(0.0f);
        for (size_t t = 0; t < sources; t++) {
            gi lane;
            memcpy(&lane, at + t * L, sizeof lane);
            const gm none = LT(__builtin_convertvector(lane, gv), V(0.0f));
            v = SEL(none, v, v_pick(v_load(src[t] + p * L), lane & (L - 1)));
        }
        v_store(dst + p * L, v);
    }
}

void GK_NAME(pick_channels)(size_t n, size_t sources, const float *const *src, const int32_t *at, float *dst);
void GK_NAME(pick_channels)(size_t n, size_t sources, const float *const *src, const int32_t *at, float *dst)
{
    if (sources == 1)
        pick_channels_run(n, 1, src, at, dst);
    else if (sources == 2)
        pick_channels_run(n, 2, src, at, dst);
    else
        pick_channels_run(n, sources, src, at, dst);
}

#endif
