/* gk_f32_conv_tile: GK_TILE pixels by two vectors of output channels, of any product (see gk_conv_tile).
 *
 * AVX-512: 14 by 32, 28 accumulators, 2 weights, 1 broadcast of 32 registers; per channel 28 FMA and 16 loads, so
 * bound by FMA. AVX2: 6 by 16, 12 accumulators. Fewer pixels than a tile are instances of their own; with one or
 * two, channels are unrolled into more accumulators, since such products wait for memory and latency. */
#ifndef GK_CONV_TILE_H
#define GK_CONV_TILE_H

#include "vec.h"

/* The bias comes last: sums that start from it round at its magnitude at every step. */
GK_INLINE void conv_store(const gk_conv_tile *t, float *dst, const float *add, gv v0, gv v1)
{
    if (t->bias) {
        v0 += v_load(t->bias);
        v1 += v_load(t->bias + L);
    }
    const gv lo = V(t->lo), hi = V(t->hi);
    if (t->columns == 2 * L) {
        if (add) {
            v0 += v_load(add);
            v1 += v_load(add + t->dst_col);
        }
        v_store(dst, v_atmost(hi, v_atleast(lo, v0)));
        v_store(dst + t->dst_col, v_atmost(hi, v_atleast(lo, v1)));
        return;
    }
    const size_t n0 = t->columns < L ? (size_t)t->columns : L, n1 = (size_t)t->columns - n0;
    if (add) {
        v0 += v_load_part(add, n0, 0.0f);
        if (n1)
            v1 += v_load_part(add + t->dst_col, n1, 0.0f);
    }
    v_store_part(dst, n0, v_atmost(hi, v_atleast(lo, v0)));
    if (n1)
        v_store_part(dst + t->dst_col, n1, v_atmost(hi, v_atleast(lo, v1)));
}

GK_INLINE void conv_pixels(const gk_conv_tile *t, const int n)
{
    const int h = (n + 1) / 2;
    const ptrdiff_t pixel = t->pixel, half = t->half;
    gv a0[GK_TILE], a1[GK_TILE];
#pragma GCC unroll 16
    for (int p = 0; p < n; p++) {
        a0[p] = V(0.0f);
        a1[p] = V(0.0f);
    }
    const float *w = t->w;
    for (size_t k = 0; k < t->n_taps; k++) {
        const float *s = t->src + t->taps[k].offset, *s2 = s + half;
        for (ptrdiff_t c = t->taps[k].channels; c; c--, s++, s2++, w += 2 * L) {
            const gv w0 = v_load(w), w1 = v_load(w + L);
            __builtin_prefetch(w + 64 * L);
            __builtin_prefetch(w + 65 * L);
#pragma GCC unroll 16
            for (int p = 0; p < n; p++) {
                const gv x = V(p < h ? s[p * pixel] : s2[(p - h) * pixel]);
                a0[p] += x * w0;
                a1[p] += x * w1;
            }
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < n; p++) {
        const ptrdiff_t at = p < h ? p * t->dst_pixel : t->dst_half + (p - h) * t->dst_pixel;
        conv_store(t, t->dst + at, t->add ? t->add + at : NULL, a0[p], a1[p]);
    }
}

/* One or two pixels: four channels at a time into accumulators of their own. */
GK_INLINE void conv_few(const gk_conv_tile *t, const int n)
{
    enum { U = 4 };
    gv a0[2][U], a1[2][U];
    for (int p = 0; p < n; p++)
#pragma GCC unroll 4
        for (int u = 0; u < U; u++) {
            a0[p][u] = V(0.0f);
            a1[p][u] = V(0.0f);
        }
    const float *w = t->w;
    for (size_t k = 0; k < t->n_taps; k++) {
        const float *s = t->src + t->taps[k].offset;
        const ptrdiff_t channels = t->taps[k].channels;
        ptrdiff_t c = 0;
        for (; c + U <= channels; c += U, w += 2 * L * U)
#pragma GCC unroll 4
            for (int u = 0; u < U; u++) {
                const gv w0 = v_load(w + 2 * L * u), w1 = v_load(w + 2 * L * u + L);
                __builtin_prefetch(w + 2 * L * u + 64 * L);
                __builtin_prefetch(w + 2 * L * u + 65 * L);
#pragma GCC unroll 2
                for (int p = 0; p < n; p++) {
                    const gv x = V(s[c + u + p * t->half]);
                    a0[p][u] += x * w0;
                    a1[p][u] += x * w1;
                }
            }
        for (; c < channels; c++, w += 2 * L)
#pragma GCC unroll 2
            for (int p = 0; p < n; p++) {
                const gv x = V(s[c + p * t->half]);
                a0[p][0] += x * v_load(w);
                a1[p][0] += x * v_load(w + L);
            }
    }
#pragma GCC unroll 2
    for (int p = 0; p < n; p++)
        conv_store(t, t->dst + p * t->dst_half, t->add ? t->add + p * t->dst_half : NULL,
                   (a0[p][0] + a0[p][1]) + (a0[p][2] + a0[p][3]), (a1[p][0] + a1[p][1]) + (a1[p][2] + a1[p][3]));
}

#define CONV_TILE(N)                                 \
    static void conv_tile_##N(const gk_conv_tile *t) \
    {                                                \
        conv_pixels(t, N);                           \
    }
static void conv_tile_1(const gk_conv_tile *t)
{
    conv_few(t, 1);
}
static void conv_tile_2(const gk_conv_tile *t)
{
    conv_few(t, 2);
}
CONV_TILE(3)
CONV_TILE(4)
CONV_TILE(5)
CONV_TILE(6)
#if GK_TILE == 14
CONV_TILE(7)
CONV_TILE(8)
CONV_TILE(9)
CONV_TILE(10)
CONV_TILE(11)
CONV_TILE(12)
CONV_TILE(13)
CONV_TILE(14)
#endif

static void GK_NAME(conv_tile)(const gk_conv_tile *t)
{
    static void (*const by_pixels[GK_TILE + 1])(const gk_conv_tile *) = {
        NULL,
        conv_tile_1,
        conv_tile_2,
        conv_tile_3,
        conv_tile_4,
        conv_tile_5,
        conv_tile_6,
#if GK_TILE == 14
        conv_tile_7,
        conv_tile_8,
        conv_tile_9,
        conv_tile_10,
        conv_tile_11,
        conv_tile_12,
        conv_tile_13,
        conv_tile_14
#endif
    };
    by_pixels[t->pixels](t);
}

#endif
