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

#endif
