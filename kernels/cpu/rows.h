/* Kernels over one row of a blocked image: depthwise convolution and pools; a vector is the channels of one pixel.
 *
 * The interior of a row goes eight output pixels at a time, the borders pixel by pixel. */
#ifndef GK_ROWS_H
#define GK_ROWS_H

#include "vec.h"

/* Output pixels from *lo to *hi - 1 see no border. */
GK_INLINE void row_interior(int in_w, int out_w, int kw, int stride, int dilation, int pad, int *lo, int *hi)
{
    const int reach = (kw - 1) * dilation - pad; /* the last column under output x is x * stride + reach */
    int a = (pad + stride - 1) / stride, b = in_w - 1 - reach < 0 ? 0 : (in_w - 1 - reach) / stride + 1;
    a = a < out_w ? a : out_w;
    b = b < out_w ? b : out_w;
    *lo = a;
    *hi = b > a ? b : a;
}

/* The bias comes last: sums that start from it round at its magnitude at every step. */
GK_INLINE void dwconv_store(const gk_dwconv_row *t, int x, gv v)
{
    if (t->bias)
        v += v_load(t->bias);
    if (t->add)
        v += v_load((const float *)t->add + (ptrdiff_t)x * L);
    v_store((float *)t->dst + (ptrdiff_t)x * L, v_atmost(V(t->hi), v_atleast(V(t->lo), v)));
}

GK_INLINE void dwconv_run(const gk_dwconv_row *t, int x0, const int n, const int kw, const int stride)
{
    enum { N = 8 };
    gv acc[N];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        acc[i] = V(0.0f);
    for (int h = t->kh0; h < t->kh1; h++) {
        const float *s = (const float *)t->row + h * t->row_stride + (ptrdiff_t)(x0 * stride - t->pad) * L;
        const float *w = t->w + (ptrdiff_t)h * kw * L;
        for (int k = 0; k < kw; k++, s += (ptrdiff_t)t->dilation * L) {
            const gv wk = v_load(w + (ptrdiff_t)k * L);
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                acc[i] += wk * v_load(s + (ptrdiff_t)i * stride * L);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        dwconv_store(t, x0 + i, acc[i]);
}

GK_INLINE void dwconv_border(const gk_dwconv_row *t, int x)
{
    gv acc = V(0.0f);
    for (int h = t->kh0; h < t->kh1; h++)
        for (int k = 0; k < t->kw; k++) {
            const int col = x * t->stride - t->pad + k * t->dilation;
            if (col >= 0 && col < t->in_w)
                acc += v_load(t->w + ((ptrdiff_t)h * t->kw + k) * L) *
                       v_load((const float *)t->row + h * t->row_stride + (ptrdiff_t)col * L);
        }
    dwconv_store(t, x, acc);
}

GK_INLINE void dwconv_all(const gk_dwconv_row *t, const int kw, const int stride)
{
    int lo, hi, x = 0;
    row_interior(t->in_w, t->out_w, kw, stride, t->dilation, t->pad, &lo, &hi);
    for (; x < lo; x++)
        dwconv_border(t, x);
    for (; x + 8 <= hi; x += 8)
        dwconv_run(t, x, 8, kw, stride);
    for (; x + 4 <= hi; x += 4)
        dwconv_run(t, x, 4, kw, stride);
    for (; x < hi; x++)
        dwconv_run(t, x, 1, kw, stride);
    for (; x < t->out_w; x++)
        dwconv_border(t, x);
}

static void GK_NAME(dwconv_row)(const gk_dwconv_row *t)
{
    if (t->kw == 3 && t->stride == 1)
        dwconv_all(t, 3, 1);
    else if (t->kw == 3 && t->stride == 2)
        dwconv_all(t, 3, 2);
    else if (t->kw == 5 && t->stride == 1)
        dwconv_all(t, 5, 1);
    else
        dwconv_all(t, t->kw, t->stride);
}

GK_INLINE void pool_pixel(const gk_pool_row *t, int x, const bool max)
{
    int k0 = 0, k1 = t->kw;
    const int first = x * t->stride - t->pad;
    while (k0 < k1 && first + k0 * t->dilation < 0)
        k0++;
    while (k1 > k0 && first + (k1 - 1) * t->dilation >= t->in_w)
        k1--;
    gv acc = V(max ? -INFINITY : 0.0f);
    for (int h = t->kh0; h < t->kh1; h++) {
        const float *s = (const float *)t->row + h * t->row_stride + (ptrdiff_t)first * L;
        for (int k = k0; k < k1; k++) {
            const gv v = v_load(s + (ptrdiff_t)k * t->dilation * L);
            if (max)
                acc = SEL(LT(v, acc), acc, v); /* NaN stays */
            else
                acc += v;
        }
    }
    if (!max) {
        const int under = (t->kh1 - t->kh0) * (k1 - k0);
        acc = acc / V((float)(t->count ? t->count : under ? under : 1));
    }
    v_store((float *)t->dst + (ptrdiff_t)x * L, acc);
}

/* Pixels that see no border, n at a time: each waits for its own last step, not for the others'. */
GK_INLINE void pool_run(const gk_pool_row *t, int x0, const int n, const bool max)
{
    enum { N = 8 };
    gv acc[N];
#pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        acc[i] = V(max ? -INFINITY : 0.0f);
    const ptrdiff_t step = (ptrdiff_t)t->stride * L;
    for (int h = t->kh0; h < t->kh1; h++) {
        const float *s = (const float *)t->row + h * t->row_stride + (ptrdiff_t)(x0 * t->stride - t->pad) * L;
        for (int k = 0; k < t->kw; k++, s += (ptrdiff_t)t->dilation * L)
#pragma GCC unroll 8
            for (int i = 0; i < n; i++) {
                const gv v = v_load(s + i * step);
                if (max)
                    acc[i] = SEL(LT(v, acc[i]), acc[i], v); /* NaN stays */
                else
                    acc[i] += v;
            }
    }
    const int under = (t->kh1 - t->kh0) * t->kw;
    const gv count = V((float)(t->count ? t->count : under ? under : 1));
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) {
        if (!max)
            acc[i] = acc[i] / count;
        v_store((float *)t->dst + (ptrdiff_t)(x0 + i) * L, acc[i]);
    }
}

GK_INLINE void pool_all(const gk_pool_row *t, const bool max)
{
    int lo, hi, x = 0;
    row_interior(t->in_w, t->out_w, t->kw, t->stride, t->dilation, t->pad, &lo, &hi);
    for (; x < lo; x++)
        pool_pixel(t, x, max);
    for (; x + 8 <= hi; x += 8)
        pool_run(t, x, 8, max);
    for (; x + 3 <= hi; x += 3)
        pool_run(t, x, 3, max);
    for (; x < t->out_w; x++)
        pool_pixel(t, x, max);
}

/* The greatest of each column first, and then of neighbours, where that is fewer steps: large windows that overlap. */
static __attribute__((noinline)) bool pool_columns(const gk_pool_row *t)
{
    enum { MOST = 128 };
    const int rows = t->kh1 - t->kh0;
    float greatest[MOST * L];
    if (t->in_w > MOST || rows < 2 || t->in_w * (rows + 1) + t->out_w * t->kw >= t->out_w * t->kw * rows)
        return false;
    const gk_pool_row column = { .row = t->row,
                                 .row_stride = t->row_stride,
                                 .dst = greatest,
                                 .kh0 = t->kh0,
                                 .kh1 = t->kh1,
                                 .kw = 1,
                                 .stride = 1,
                                 .dilation = 1,
                                 .in_w = t->in_w,
                                 .out_w = t->in_w };
    pool_all(&column, true);
    gk_pool_row row = *t;
    row.row = greatest;
    row.kh0 = 0;
    row.kh1 = 1;
    pool_all(&row, true);
    return true;
}

static void GK_NAME(pool_row)(const gk_pool_row *t)
{
    if (t->max && pool_columns(t))
        return;
    if (t->max)
        pool_all(t, true);
    else
        pool_all(t, false);
}

static void GK_NAME(sum_pixels)(size_t n, const float *src, float *dst)
{
    gv a = V(0.0f), b = V(0.0f), c = V(0.0f), d = V(0.0f);
    size_t i = 0;
    for (; i + 4 <= n; i += 4, src += 4 * L) {
        a += v_load(src);
        b += v_load(src + L);
        c += v_load(src + 2 * L);
        d += v_load(src + 3 * L);
    }
    for (; i < n; i++, src += L)
        a += v_load(src);
    v_store(dst, (a + b) + (c + d));
}

#endif
