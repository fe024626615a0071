/* Kernels over one row of an image in blocks of 32 channels of bfloat16: depthwise convolution, pools, sums of pixels.
 *
 * A vector of 32-bit words holds twice as many channels: those of even number in its lower halves, the others in the
 * upper ones. Each half is a float after a shift, or a mask, so that one load and two operations give two vectors;
 * weights lie in the same order. */
#ifndef GK_ROWS_BF16_H
#define GK_ROWS_BF16_H

#include "narrow.h"
#include "rows.h"

enum { B32 = 32, PAIR = 2 * GK_LANES, PAIRS = B32 / PAIR };

typedef struct gv2 {
    gv even, odd;
} gv2;
typedef uint32_t guu __attribute__((vector_size(GK_LANES * 4), aligned(2), may_alias));

GK_INLINE gv2 v2_load(const uint16_t *p)
{
    const gu u = *(const guu *)p;
    return (gv2){ (gv)(u << 16), (gv)(u & 0xffff0000) };
}
GK_INLINE void v2_store(uint16_t *p, gv2 x)
{
    *(guu *)p = v_rounded(x.even) >> 16 | (v_rounded(x.odd) & 0xffff0000);
}
GK_INLINE gv2 v2_floats(const float *p)
{
    return (gv2){ v_load(p), v_load(p + L) };
}
GK_INLINE gv2 v2_add(gv2 a, gv2 b)
{
    return (gv2){ a.even + b.even, a.odd + b.odd };
}
GK_INLINE gv2 v2_fma(gv2 a, gv2 b, gv2 c)
{
    return (gv2){ c.even + a.even * b.even, c.odd + a.odd * b.odd };
}
GK_INLINE gv2 v2_max(gv2 a, gv2 b)
{
    return (gv2){ SEL(LT(b.even, a.even), a.even, b.even), SEL(LT(b.odd, a.odd), a.odd, b.odd) }; /* NaN stays */
}

/* ---- depthwise convolution; `part`: which channels of the block ---- */

GK_INLINE void dw2_store(const gk_dwconv_row *t, int part, int x, gv2 v)
{
    const ptrdiff_t at = (ptrdiff_t)x * B32 + part * PAIR;
    if (t->bias)
        v = v2_add(v, v2_floats(t->bias + part * PAIR));
    if (t->add)
        v = v2_add(v, v2_load((const uint16_t *)t->add + at));
    v.even = v_atmost(V(t->hi), v_atleast(V(t->lo), v.even));
    v.odd = v_atmost(V(t->hi), v_atleast(V(t->lo), v.odd));
    v2_store((uint16_t *)t->dst + at, v);
}

GK_INLINE void dw2_run(const gk_dwconv_row *t, int part, int x0, const int n, const int kw, const int stride)
{
    enum { N = 8 };
    gv2 acc[N];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        acc[i] = (gv2){ V(0.0f), V(0.0f) };
    for (int h = t->kh0; h < t->kh1; h++) {
        const uint16_t *s = (const uint16_t *)t->row + h * t->row_stride + (ptrdiff_t)(x0 * stride - t->pad) * B32;
        const float *w = t->w + (ptrdiff_t)h * kw * B32 + part * PAIR;
        s += part * PAIR;
        for (int k = 0; k < kw; k++, s += (ptrdiff_t)t->dilation * B32) {
            const gv2 wk = v2_floats(w + (ptrdiff_t)k * B32);
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                acc[i] = v2_fma(wk, v2_load(s + (ptrdiff_t)i * stride * B32), acc[i]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        dw2_store(t, part, x0 + i, acc[i]);
}

/* The same where windows are dense and of known width: each pixel becomes floats once for all that see it. */
GK_INLINE void dw2_slide(const gk_dwconv_row *t, int part, int x0, const int n, const int kw, const int stride)
{
    enum { N = 8, K = 5 };
    gv2 acc[N], w[K];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        acc[i] = (gv2){ V(0.0f), V(0.0f) };
    for (int h = t->kh0; h < t->kh1; h++) {
        const uint16_t *s = (const uint16_t *)t->row + h * t->row_stride + (ptrdiff_t)(x0 * stride - t->pad) * B32;
        s += part * PAIR;
#pragma GCC unroll 5
        for (int k = 0; k < kw; k++)
            w[k] = v2_floats(t->w + ((ptrdiff_t)h * kw + k) * B32 + part * PAIR);
#pragma GCC unroll 20
        for (int x = 0; x < (n - 1) * stride + kw; x++) {
            const gv2 v = v2_load(s + (ptrdiff_t)x * B32);
#pragma GCC unroll 5
            for (int k = 0; k < kw; k++)
                if (x >= k && (x - k) % stride == 0 && (x - k) / stride < n)
                    acc[(x - k) / stride] = v2_fma(w[k], v, acc[(x - k) / stride]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        dw2_store(t, part, x0 + i, acc[i]);
}

GK_INLINE void dw2_border(const gk_dwconv_row *t, int part, int x)
{
    gv2 acc = { V(0.0f), V(0.0f) };
    for (int h = t->kh0; h < t->kh1; h++)
        for (int k = 0; k < t->kw; k++) {
            const int col = x * t->stride - t->pad + k * t->dilation;
            if (col < 0 || col >= t->in_w)
                continue;
            const uint16_t *s = (const uint16_t *)t->row + h * t->row_stride + (ptrdiff_t)col * B32 + part * PAIR;
            acc = v2_fma(v2_floats(t->w + ((ptrdiff_t)h * t->kw + k) * B32 + part * PAIR), v2_load(s), acc);
        }
    dw2_store(t, part, x, acc);
}

GK_INLINE void dw2_all(const gk_dwconv_row *t, const int kw, const int stride, const bool slide)
{
    int lo, hi;
    row_interior(t->in_w, t->out_w, kw, stride, t->dilation, t->pad, &lo, &hi);
    for (int part = 0; part < PAIRS; part++) {
        int x = 0;
        for (; x < lo; x++)
            dw2_border(t, part, x);
        for (; x + 8 <= hi && slide; x += 8)
            dw2_slide(t, part, x, 8, kw, stride);
        for (; x + 8 <= hi; x += 8)
            dw2_run(t, part, x, 8, kw, stride);
        for (; x + 4 <= hi; x += 4)
            dw2_run(t, part, x, 4, kw, stride);
        for (; x < hi; x++)
            dw2_run(t, part, x, 1, kw, stride);
        for (; x < t->out_w; x++)
            dw2_border(t, part, x);
    }
}

static void GK_NAME(dwconv_row_bf16)(const gk_dwconv_row *t)
{
    if (t->kw == 3 && t->stride == 1 && t->dilation == 1)
        dw2_all(t, 3, 1, true);
    else if (t->kw == 3 && t->stride == 2 && t->dilation == 1)
        dw2_all(t, 3, 2, true);
    else if (t->kw == 5 && t->stride == 1 && t->dilation == 1)
        dw2_all(t, 5, 1, true);
    else
        dw2_all(t, t->kw, t->stride, false);
}

/* ---- pools ---- */

GK_INLINE void pool2_store(const gk_pool_row *t, int part, int x, gv2 v, const int under, const bool max)
{
    const gv count = V((float)(t->count ? t->count : under ? under : 1));
    if (!max)
        v = (gv2){ v.even / count, v.odd / count };
    v2_store((uint16_t *)t->dst + (ptrdiff_t)x * B32 + part * PAIR, v);
}

GK_INLINE gv2 pool2_step(gv2 acc, gv2 v, const bool max)
{
    return max ? v2_max(acc, v) : v2_add(acc, v);
}

GK_INLINE void pool2_pixel(const gk_pool_row *t, int part, int x, const bool max)
{
    int k0 = 0, k1 = t->kw;
    const int first = x * t->stride - t->pad;
    while (k0 < k1 && first + k0 * t->dilation < 0)
        k0++;
    while (k1 > k0 && first + (k1 - 1) * t->dilation >= t->in_w)
        k1--;
    gv2 acc = { V(max ? -INFINITY : 0.0f), V(max ? -INFINITY : 0.0f) };
    for (int h = t->kh0; h < t->kh1; h++) {
        const uint16_t *s = (const uint16_t *)t->row + h * t->row_stride + (ptrdiff_t)first * B32 + part * PAIR;
        for (int k = k0; k < k1; k++)
            acc = pool2_step(acc, v2_load(s + (ptrdiff_t)k * t->dilation * B32), max);
    }
    pool2_store(t, part, x, acc, (t->kh1 - t->kh0) * (k1 - k0), max);
}

GK_INLINE void pool2_run(const gk_pool_row *t, int part, int x0, const int n, const bool max)
{
    enum { N = 6 };
    gv2 acc[N];
#pragma GCC unroll 6
    for (int i = 0; i < n; i++)
        acc[i] = (gv2){ V(max ? -INFINITY : 0.0f), V(max ? -INFINITY : 0.0f) };
    const ptrdiff_t step = (ptrdiff_t)t->stride * B32;
    for (int h = t->kh0; h < t->kh1; h++) {
        const uint16_t *s = (const uint16_t *)t->row + h * t->row_stride + (ptrdiff_t)(x0 * t->stride - t->pad) * B32;
        s += part * PAIR;
        for (int k = 0; k < t->kw; k++, s += (ptrdiff_t)t->dilation * B32)
#pragma GCC unroll 6
            for (int i = 0; i < n; i++)
                acc[i] = pool2_step(acc[i], v2_load(s + i * step), max);
    }
#pragma GCC unroll 6
    for (int i = 0; i < n; i++)
        pool2_store(t, part, x0 + i, acc[i], (t->kh1 - t->kh0) * t->kw, max);
}

GK_INLINE void pool2_all(const gk_pool_row *t, const bool max)
{
    int lo, hi;
    row_interior(t->in_w, t->out_w, t->kw, t->stride, t->dilation, t->pad, &lo, &hi);
    for (int part = 0; part < PAIRS; part++) {
        int x = 0;
        for (; x < lo; x++)
            pool2_pixel(t, part, x, max);
        for (; x + 6 <= hi; x += 6)
            pool2_run(t, part, x, 6, max);
        for (; x < t->out_w; x++)
            pool2_pixel(t, part, x, max);
    }
}

static void GK_NAME(pool_row_bf16)(const gk_pool_row *t)
{
    if (t->max)
        pool2_all(t, true);
    else
        pool2_all(t, false);
}

static void GK_NAME(sum_pixels_bf16)(size_t n, const uint16_t *src, float *dst)
{
    for (int part = 0; part < PAIRS; part++) {
        gv2 a = { V(0.0f), V(0.0f) }, b = a;
        const uint16_t *s = src + part * PAIR;
        size_t i = 0;
        for (; i + 2 <= n; i += 2, s += 2 * B32) {
            a = v2_add(a, v2_load(s));
            b = v2_add(b, v2_load(s + B32));
        }
        if (i < n)
            a = v2_add(a, v2_load(s));
        a = v2_add(a, b);
        for (int l = 0; l < L; l++) {
            dst[part * PAIR + 2 * l] = a.even[l];
            dst[part * PAIR + 2 * l + 1] = a.odd[l];
        }
    }
}

#endif
