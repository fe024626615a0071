/* bfloat16 in plain C: numbers, packing, and the end of a tile. What the units share, or fall back on. */
#ifndef GK_BF16_PLAIN_H
#define GK_BF16_PLAIN_H

#include <math.h>
#include <string.h>

#include "gk_bf16.h"

#define GK_BF16_INLINE static inline __attribute__((always_inline, unused))

GK_BF16_INLINE uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof(u));
    return u;
}

GK_BF16_INLINE float float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof(x));
    return x;
}

/* What the tile does with a sum at last. */
GK_BF16_INLINE float bf16_end(const gk_bf16_tile *t, float x)
{
    if (t->gelu)
        return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    const float y = x < t->lo ? t->lo : x; /* NaN stays */
    return y > t->hi ? t->hi : y;
}

/* Number i of what is bfloat16 or floats. */
GK_BF16_INLINE float bf16_get(const void *p, ptrdiff_t i, bool bf16)
{
    return bf16 ? gk_bf16_value(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

/* Sixteen columns that lie together. */
GK_BF16_INLINE void bf16_store_16(const gk_bf16_tile *t, float *dst, const float *add, const float *bias,
                                  const float *sums)
{
    if (add)
        for (int j = 0; j < 16; j++)
            dst[j] = bf16_end(t, sums[j] + bias[j] + add[j]);
    else
        for (int j = 0; j < 16; j++)
            dst[j] = bf16_end(t, sums[j] + bias[j]);
}

/* The sums of a pixel are there: bias, residual and clamp, and out to where the pixel lies. */
GK_BF16_INLINE void bf16_store(const gk_bf16_tile *t, int pixel, const float *sums)
{
    if (t->line) {
        memcpy((float *)t->dst + pixel * t->line, sums, GK_BF16_COLUMNS * sizeof(*sums));
        return;
    }
    int j = 0;
    if (t->add_bf16 || t->dst_bf16) {
        for (; j < t->columns; j++) {
            const ptrdiff_t to = t->at[pixel] + j / t->block * t->dst_block + j % t->block;
            const float x = sums[j] + t->bias[j] + (t->add ? bf16_get(t->add, to, t->add_bf16) : 0.0f);
            if (t->dst_bf16)
                ((uint16_t *)t->dst)[to] = gk_bf16_of(bf16_end(t, x));
            else
                ((float *)t->dst)[to] = bf16_end(t, x);
        }
        return;
    }
    float *dst = (float *)t->dst + t->at[pixel];
    const float *add = t->add ? (const float *)t->add + t->at[pixel] : NULL;
    if (t->block == 16)
        for (; j + 16 <= t->columns; j += 16) {
            const ptrdiff_t to = j / 16 * t->dst_block;
            bf16_store_16(t, dst + to, add ? add + to : NULL, t->bias + j, sums + j);
        }
    for (; j < t->columns; j++) {
        const ptrdiff_t to = j / t->block * t->dst_block + j % t->block;
        dst[to] = bf16_end(t, sums[j] + t->bias[j] + (add ? add[to] : 0.0f));
    }
}

/* One number in its parts. Where rounding would make a finite number infinite it is cut off instead. */
GK_BF16_INLINE bool bf16_split(float x, int parts, uint16_t *to, ptrdiff_t part)
{
    const bool finite = (bits_of(x) & 0x7f800000) != 0x7f800000;
    for (int i = 0; i < parts; i++, to += part) {
        uint16_t h = i && !finite ? 0 : gk_bf16_of(x);
        if (finite && (h & 0x7f80) == 0x7f80)
            h--;
        *to = h;
        x -= gk_bf16_value(h);
    }
    return finite;
}

GK_BF16_INLINE void bf16_copy_plain(size_t n, const uint16_t *src, ptrdiff_t pixel, int channels, uint16_t *dst)
{
    for (size_t i = 0; i < n; i++, src += pixel, dst += GK_BF16_K) {
        memcpy(dst, src, (size_t)channels * sizeof(*dst));
        memset(dst + channels, 0, (size_t)(GK_BF16_K - channels) * sizeof(*dst));
    }
}

GK_BF16_INLINE bool bf16_pack_plain(const gk_bf16_pack *p)
{
    bool finite = true;
    for (size_t i = 0; i < p->n; i++)
        for (int c = 0; c < GK_BF16_K; c++) {
            uint16_t *to = p->dst + i * GK_BF16_K + c;
            const float *from = p->src + (ptrdiff_t)i * p->pixel + c / p->block * p->src_block + c % p->block;
            if (!bf16_split(c < p->channels ? *from : 0.0f, p->parts, to, p->part))
                finite = false;
        }
    return finite;
}

GK_BF16_INLINE void bf16_pack_pairs_plain(const gk_bf16_pack *p)
{
    for (size_t i = 0; i < (p->n + 1) / 2 * 2; i++)
        for (int c = 0; c < GK_BF16_K; c++) {
            const float *from = p->src + (ptrdiff_t)i * p->pixel + c / p->block * p->src_block + c % p->block;
            p->dst[((ptrdiff_t)(i / 2) * GK_BF16_K + c) * 2 + (ptrdiff_t)(i % 2)] =
                gk_bf16_of(i < p->n && c < p->channels ? *from : 0.0f);
        }
}

#endif
