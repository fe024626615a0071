/* Kernels along one contiguous row: sums, softmax, layer normalization; and a matrix transposed in tiles.
 *
 * Sums go through four vectors, so their order is the same for one vector width. */
#ifndef GK_REDUCE_H
#define GK_REDUCE_H

#include "vec.h"

static float GK_NAME(sum)(size_t n, const float *x)
{
    gv a = V(0.0f), b = V(0.0f), c = V(0.0f), d = V(0.0f);
    size_t i = 0;
    for (; i + 4 * L <= n; i += 4 * L) {
        a += v_load(x + i);
        b += v_load(x + i + L);
        c += v_load(x + i + 2 * L);
        d += v_load(x + i + 3 * L);
    }
    for (; i + L <= n; i += L)
        a += v_load(x + i);
    if (i < n)
        b += v_load_part(x + i, n - i, 0.0f);
    return v_total((a + b) + (c + d));
}

static float GK_NAME(dot)(size_t n, const float *x, const float *y)
{
    gv a = V(0.0f), b = V(0.0f), c = V(0.0f), d = V(0.0f);
    size_t i = 0;
    for (; i + 4 * L <= n; i += 4 * L) {
        a += v_load(x + i) * v_load(y + i);
        b += v_load(x + i + L) * v_load(y + i + L);
        c += v_load(x + i + 2 * L) * v_load(y + i + 2 * L);
        d += v_load(x + i + 3 * L) * v_load(y + i + 3 * L);
    }
    for (; i + L <= n; i += L)
        a += v_load(x + i) * v_load(y + i);
    if (i < n)
        b += v_load_part(x + i, n - i, 0.0f) * v_load_part(y + i, n - i, 0.0f);
    return v_total((a + b) + (c + d));
}

/* NaN if there is one. */
static float GK_NAME(maximum)(size_t n, const float *x)
{
    gv m = V(-INFINITY);
    size_t i = 0;
    for (; i + L <= n; i += L) {
        const gv v = v_load(x + i);
        m = SEL(LT(v, m), m, SEL(EQ(m, m), v, m));
    }
    if (i < n) {
        const gv v = v_load_part(x + i, n - i, -INFINITY);
        m = SEL(LT(v, m), m, SEL(EQ(m, m), v, m));
    }
    return v_greatest(m);
}

static void GK_NAME(softmax_row)(size_t n, const float *x, float *y)
{
    const gv m = V(GK_NAME(maximum)(n, x));
    gv s = V(0.0f);
    size_t i = 0;
    for (; i + L <= n; i += L) {
        const gv e = v_exp(v_load(x + i) - m);
        v_store(y + i, e);
        s += e;
    }
    if (i < n) {
        const gv e = v_exp(v_load_part(x + i, n - i, -INFINITY) - m);
        v_store_part(y + i, n - i, e);
        s += e; /* what is beyond the row adds nothing */
    }
    const float r = 1.0f / v_total(s);
    for (i = 0; i + L <= n; i += L)
        v_store(y + i, v_load(y + i) * V(r));
    for (; i < n; i++)
        y[i] *= r;
}

/* Rows shorter than a vector: L of them side by side, column by column. */
static void GK_NAME(softmax_rows)(size_t rows, size_t n, const float *x, float *y)
{
    if (n >= L) {
        for (size_t r = 0; r < rows; r++)
            GK_NAME(softmax_row)(n, x + r * n, y + r * n);
        return;
    }
    for (size_t r = 0; r < rows; r += L, x += L * n, y += L * n) {
        const size_t count = rows - r < L ? rows - r : L;
        float t[L * L];
        for (size_t c = 0; c < n; c++)
            for (size_t i = 0; i < L; i++)
                t[c * L + i] = i < count ? x[i * n + c] : 0.0f;
        gv m = v_load(t), s = V(0.0f);
        for (size_t c = 1; c < n; c++)
            m = v_atleast(m, v_load(t + c * L));
        for (size_t c = 0; c < n; c++) {
            const gv e = v_exp(v_load(t + c * L) - m);
            v_store(t + c * L, e);
            s += e;
        }
        s = V(1.0f) / s;
        for (size_t c = 0; c < n; c++)
            v_store(t + c * L, v_load(t + c * L) * s);
        for (size_t i = 0; i < count; i++)
            for (size_t c = 0; c < n; c++)
                y[i * n + c] = t[c * L + i];
    }
}

static void GK_NAME(layernorm_row)(size_t n, const float *x, const float *scale, const float *bias, float eps, float *y)
{
    const float mean = GK_NAME(sum)(n, x) / (float)n;
    gv q = V(0.0f), q2 = V(0.0f);
    size_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
        const gv d = v_load(x + i) - V(mean), d2 = v_load(x + i + L) - V(mean);
        q += d * d;
        q2 += d2 * d2;
    }
    for (; i < n; i += L) {
        const gv d = v_load_part(x + i, n - i, mean) - V(mean);
        q += d * d;
    }
    const gv r = V(1.0f / sqrtf(v_total(q + q2) / (float)n + eps)), m = V(mean);
    for (i = 0; i + L <= n; i += L) {
        gv v = (v_load(x + i) - m) * r;
        if (scale)
            v = v * v_load(scale + i);
        if (bias)
            v = v + v_load(bias + i);
        v_store(y + i, v);
    }
    if (i < n) {
        gv v = (v_load_part(x + i, n - i, 0.0f) - m) * r;
        if (scale)
            v = v * v_load_part(scale + i, n - i, 0.0f);
        if (bias)
            v = v + v_load_part(bias + i, n - i, 0.0f);
        v_store_part(y + i, n - i, v);
    }
}

/* A tile of up to L rows and columns. */
GK_INLINE void transpose_tile(size_t rows, size_t columns, const float *src, ptrdiff_t src_stride, float *dst,
                              ptrdiff_t dst_stride)
{
    gv r[L];
    for (size_t i = 0; i < L; i++)
        r[i] = i >= rows     ? V(0.0f)
               : columns < L ? v_load_part(src + (ptrdiff_t)i * src_stride, columns, 0.0f)
                             : v_load(src + (ptrdiff_t)i * src_stride);
    v_transpose(r);
    for (size_t i = 0; i < L && i < columns; i++)
        if (rows < L)
            v_store_part(dst + (ptrdiff_t)i * dst_stride, rows, r[i]);
        else
            v_store(dst + (ptrdiff_t)i * dst_stride, r[i]);
}

static void GK_NAME(transpose)(size_t rows, size_t columns, const float *src, ptrdiff_t src_stride, float *dst,
                               ptrdiff_t dst_stride)
{
    for (size_t i = 0; i < rows; i += L)
        for (size_t j = 0; j < columns; j += L) {
            const float *s = src + (ptrdiff_t)i * src_stride + (ptrdiff_t)j;
            float *d = dst + (ptrdiff_t)j * dst_stride + (ptrdiff_t)i;
            if (rows - i >= L && columns - j >= L)
                transpose_tile(L, L, s, src_stride, d, dst_stride);
            else
                transpose_tile(rows - i < L ? rows - i : L, columns - j < L ? columns - j : L, s, src_stride, d,
                               dst_stride);
        }
}

#endif
