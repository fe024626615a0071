/* Between floats and bfloat16, as values lie in memory. */
#ifndef GK_NARROW_H
#define GK_NARROW_H

#include "vec.h"

typedef uint32_t gu __attribute__((vector_size(GK_LANES * 4), may_alias));
typedef uint16_t gh __attribute__((vector_size(GK_LANES * 2), aligned(2), may_alias));

/* The bits of the nearest bfloat16 in the upper half, ties to even; NaN stays NaN. The lower half is anything. */
GK_INLINE gu v_rounded(gv x)
{
    const gu u = (gu)x, r = u + 0x7fff + (u >> 16 & 1);
    return (gu)SEL(EQ(x, x), (gv)r, (gv)(u | 0x400000));
}
GK_INLINE void v_store_bf16(uint16_t *p, gv x)
{
    *(gh *)p = __builtin_convertvector(v_rounded(x) >> 16, gh);
}
GK_INLINE gv v_load_bf16(const uint16_t *p)
{
    return (gv)(__builtin_convertvector(*(const gh *)p, gu) << 16);
}

static void GK_NAME(narrow)(size_t n, const float *src, uint16_t *dst)
{
    size_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
        v_store_bf16(dst + i, v_load(src + i));
        v_store_bf16(dst + i + L, v_load(src + i + L));
    }
    if (i + L <= n) {
        v_store_bf16(dst + i, v_load(src + i));
        i += L;
    }
    if (i < n) {
        float x[L] = { 0 };
        uint16_t h[L];
        memcpy(x, src + i, (n - i) * sizeof(*x));
        v_store_bf16(h, v_load(x));
        memcpy(dst + i, h, (n - i) * sizeof(*h));
    }
}

static void GK_NAME(widen)(size_t n, const uint16_t *src, float *dst)
{
    size_t i = 0;
    for (; i + 2 * L <= n; i += 2 * L) {
        v_store(dst + i, v_load_bf16(src + i));
        v_store(dst + i + L, v_load_bf16(src + i + L));
    }
    for (; i < n; i++) {
        const uint32_t u = (uint32_t)src[i] << 16;
        memcpy(dst + i, &u, sizeof(u));
    }
}

/* Pixel i's channels at dst + 4 * i, those that are not there zero: how a picture's rows lie for products. */
static void GK_NAME(narrow_4)(size_t n, size_t channels, const float *const *src, uint16_t *dst)
{
    gu low, high;
    for (int i = 0; i < L; i++) {
        low[i] = (uint32_t)(i % 2 ? L : 0) + (uint32_t)i / 2;
        high[i] = low[i] + L / 2;
    }
    for (size_t i = 0; i < n; i += L) {
        float tail[4][L] = { { 0 } };
        gu h[4];
        const size_t count = n - i < L ? n - i : L;
        for (size_t c = 0; c < 4; c++) {
            if (c < channels && count < L)
                memcpy(tail[c], src[c] + i, count * sizeof(float));
            h[c] = c < channels ? v_rounded(v_load(count < L ? tail[c] : src[c] + i)) : (gu){ 0 };
        }
        const gu first = h[0] >> 16 | (h[1] & 0xffff0000), second = h[2] >> 16 | (h[3] & 0xffff0000);
        const gu two[2] = { __builtin_shuffle(first, second, low), __builtin_shuffle(first, second, high) };
        memcpy(dst + 4 * i, two, count * 4 * sizeof(*dst));
    }
}

#endif
