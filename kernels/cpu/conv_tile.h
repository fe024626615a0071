/* gk_f32_conv_tile: GK_TILE pixels by two vectors of output channels, of any product (see gk_conv_tile);
 * gk_f32_conv_tile_one: GK_TILE_ONE pixels by one vector, for what would leave half of a tile empty.
 *
 * AVX-512: 14 by 32, 28 accumulators, 2 weights, 1 broadcast of 32 registers; per channel 28 FMA and 16 loads, so
 * bound by FMA; or 28 by 16, whose 28 broadcasts are operands of the FMA. AVX2: 6 by 16 or 12 by 8, 12 accumulators.
 * Fewer pixels than a tile are instances of their own; with one or two, channels are unrolled into more
 * accumulators, since such products wait for memory and latency. */
#ifndef GK_CONV_TILE_H
#define GK_CONV_TILE_H

#include "vec.h"

enum { GK_TILE_ONE = 2 * GK_TILE };

/* The last columns of a matrix: fewer than two vectors. */
static __attribute__((noinline)) void conv_store_part(const gk_conv_tile *t, ptrdiff_t at, const float *sum)
{
    for (int j = 0; j < t->columns; j++) {
        const ptrdiff_t to = at + (j < L ? j : t->dst_col + j - L);
        float x = sum[j] + (t->bias ? t->bias[j] : 0.0f) + (t->add ? t->add[to] : 0.0f);
        x = x < t->lo ? t->lo : x;
        t->dst[to] = t->hi < x ? t->hi : x;
    }
}

/* What is the same for every pixel of a tile, in registers of its own. */
typedef struct conv_end {
    gv bias[2], lo, hi;
} conv_end;

GK_INLINE conv_end conv_end_of(const gk_conv_tile *t, const int nv)
{
    conv_end e = { { V(0.0f), V(0.0f) }, V(t->lo), V(t->hi) };
    if (t->bias) {
        e.bias[0] = v_load(t->bias);
        if (nv == 2)
            e.bias[1] = v_load(t->bias + L);
    }
    return e;
}

/* Vector v's sum of a pixel. The bias comes last: sums that start from it round at its magnitude at every step. */
GK_INLINE void conv_store(const conv_end *e, const gk_conv_tile *t, ptrdiff_t at, const bool add, const int v, gv sum)
{
    at += v * t->dst_col;
    gv x = sum + e->bias[v];
    if (add)
        x += v_load(t->add + at);
    v_store(t->dst + at, v_atmost(e->hi, v_atleast(e->lo, x)));
}

/* Pixel p's place of n. */
GK_INLINE ptrdiff_t conv_place(const gk_conv_tile *t, const int p, const int n)
{
    const int h = (n + 1) / 2;
    return p < h ? p * t->dst_pixel : t->dst_half + (p - h) * t->dst_pixel;
}

/* n pixels' sums of nv vectors. */
GK_INLINE void conv_finish(const gk_conv_tile *t, const int n, const int nv, gv (*sum)[2])
{
    if (nv == 2 && t->columns != 2 * L) {
#pragma GCC unroll 28
        for (int p = 0; p < n; p++) {
            float s[2 * L];
            v_store(s, sum[p][0]);
            v_store(s + L, sum[p][1]);
            conv_store_part(t, conv_place(t, p, n), s);
        }
        return;
    }
    const conv_end e = conv_end_of(t, nv);
#pragma GCC unroll 2
    for (int v = 0; v < nv; v++)
        if (t->add)
#pragma GCC unroll 28
            for (int p = 0; p < n; p++)
                conv_store(&e, t, conv_place(t, p, n), true, v, sum[p][v]);
        else
#pragma GCC unroll 28
            for (int p = 0; p < n; p++)
                conv_store(&e, t, conv_place(t, p, n), false, v, sum[p][v]);
}

/* n pixels by nv vectors. The multiples of `pixel` that addresses are made of are kept to six by pointers to every
 * seventh pixel. */
GK_INLINE void conv_pixels(const gk_conv_tile *t, const int n, const int nv)
{
    enum { Q = 7 };
    const int h = (n + 1) / 2;
    const ptrdiff_t pixel = t->pixel;
    gv a[GK_TILE_ONE][2];
#pragma GCC unroll 28
    for (int p = 0; p < n; p++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++)
            a[p][v] = V(0.0f);
    const float *w = t->w;
    for (size_t k = 0; k < t->n_taps; k++) {
        const float *s0 = t->src + t->taps[k].offset, *s1 = s0 + Q * pixel, *s2 = s0 + t->half, *s3 = s2 + Q * pixel;
        for (ptrdiff_t c = t->taps[k].channels; c; c--, s0++, s1++, s2++, s3++, w += nv * L) {
            gv wv[2];
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) {
                wv[v] = v_load(w + v * L);
                __builtin_prefetch(w + (64 + v) * L);
            }
#pragma GCC unroll 28
            for (int p = 0; p < n; p++) {
                const int q = p < h ? p : p - h;
                const float *from = p < h ? (q < Q ? s0 : s1) : q < Q ? s2 : s3;
                const gv x = V(from[(q < Q ? q : q - Q) * pixel]);
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++)
                    a[p][v] += x * wv[v];
            }
        }
    }
    conv_finish(t, n, nv, a);
}

/* One or two pixels: four channels at a time into accumulators of their own. */
GK_INLINE void conv_few(const gk_conv_tile *t, const int n, const int nv)
{
    enum { U = 4 };
    gv a[2][2][U];
    for (int p = 0; p < n; p++)
        for (int v = 0; v < nv; v++)
#pragma GCC unroll 4
            for (int u = 0; u < U; u++)
                a[p][v][u] = V(0.0f);
    const float *w = t->w;
    for (size_t k = 0; k < t->n_taps; k++) {
        const float *s = t->src + t->taps[k].offset;
        const ptrdiff_t channels = t->taps[k].channels;
        ptrdiff_t c = 0;
        for (; c + U <= channels; c += U, w += nv * L * U)
#pragma GCC unroll 4
            for (int u = 0; u < U; u++)
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++) {
                    const gv wv = v_load(w + (nv * u + v) * L);
                    __builtin_prefetch(w + (nv * u + v + 64) * L);
#pragma GCC unroll 2
                    for (int p = 0; p < n; p++)
                        a[p][v][u] += V(s[c + u + p * t->half]) * wv;
                }
        for (; c < channels; c++, w += nv * L)
#pragma GCC unroll 2
            for (int p = 0; p < n; p++)
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++)
                    a[p][v][0] += V(s[c + p * t->half]) * v_load(w + v * L);
    }
    gv sum[2][2];
#pragma GCC unroll 2
    for (int p = 0; p < n; p++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++)
            sum[p][v] = (a[p][v][0] + a[p][v][1]) + (a[p][v][2] + a[p][v][3]);
    conv_finish(t, n, nv, sum);
}

#define CONV_TILE(N)                                 \
    static void conv_tile_##N(const gk_conv_tile *t) \
    {                                                \
        conv_pixels(t, N, 2);                        \
    }
#define CONV_TILE_ONE(N)                                 \
    static void conv_tile_one_##N(const gk_conv_tile *t) \
    {                                                    \
        conv_pixels(t, N, 1);                            \
    }
static void conv_tile_1(const gk_conv_tile *t)
{
    conv_few(t, 1, 2);
}
static void conv_tile_2(const gk_conv_tile *t)
{
    conv_few(t, 2, 2);
}
static void conv_tile_one_1(const gk_conv_tile *t)
{
    conv_few(t, 1, 1);
}
static void conv_tile_one_2(const gk_conv_tile *t)
{
    conv_few(t, 2, 1);
}
#define EACH_3_TO_6(X) X(3) X(4) X(5) X(6)
#define EACH_7_TO_12(X) X(7) X(8) X(9) X(10) X(11) X(12)
#define EACH_13_TO_14(X) X(13) X(14)
#define EACH_15_TO_28(X) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28)
#if GK_TILE == 14
#define EACH_TILE(X) EACH_3_TO_6(X) EACH_7_TO_12(X) EACH_13_TO_14(X)
#define EACH_TILE_ONE(X) EACH_TILE(X) EACH_15_TO_28(X)
#else
#define EACH_TILE(X) EACH_3_TO_6(X)
#define EACH_TILE_ONE(X) EACH_3_TO_6(X) EACH_7_TO_12(X)
#endif
EACH_TILE(CONV_TILE)
EACH_TILE_ONE(CONV_TILE_ONE)

static void GK_NAME(conv_tile)(const gk_conv_tile *t)
{
#define ENTRY(N) conv_tile_##N,
    static void (*const by_pixels[])(const gk_conv_tile *) = { NULL, conv_tile_1, conv_tile_2, EACH_TILE(ENTRY) };
#undef ENTRY
    by_pixels[t->pixels](t);
}

static void GK_NAME(conv_tile_one)(const gk_conv_tile *t)
{
#define ENTRY(N) conv_tile_one_##N,
    static void (*const by_pixels[])(const gk_conv_tile *) = { NULL, conv_tile_one_1, conv_tile_one_2,
                                                               EACH_TILE_ONE(ENTRY) };
#undef ENTRY
    by_pixels[t->pixels](t);
}

#endif
