/* The pointwise vector machine's operations: one loop a row of vops.def. */
#ifndef GK_POINTWISE_H
#define GK_POINTWISE_H

#include "vec.h"

#define VOP(NAME, ARITY, ...)                                                                                          \
    GK_INLINE gv vop_##NAME(gv a, gv b, gv c, float p, float q)                                                        \
    {                                                                                                                  \
        (void)b, (void)c, (void)p, (void)q;                                                                            \
        return __VA_ARGS__;                                                                                            \
    }                                                                                                                  \
    static void vop_run_##NAME(size_t n, const float *a, const float *b, const float *c, float p, float q, float *dst) \
    {                                                                                                                  \
        size_t i = 0;                                                                                                  \
        for (; i + L <= n; i += L)                                                                                     \
            v_store(dst + i, vop_##NAME(v_load(a + i), (ARITY) > 1 ? v_load(b + i) : V(0.0f),                          \
                                        (ARITY) > 2 ? v_load(c + i) : V(0.0f), p, q));                                 \
        if (i < n)                                                                                                     \
            v_store_part(dst + i, n - i,                                                                               \
                         vop_##NAME(v_load_part(a + i, n - i, 1.0f),                                                   \
                                    (ARITY) > 1 ? v_load_part(b + i, n - i, 1.0f) : V(0.0f),                           \
                                    (ARITY) > 2 ? v_load_part(c + i, n - i, 1.0f) : V(0.0f), p, q));                   \
    }
#include "vops.def"
#undef VOP

static const gk_vop_fn vop_table[GK_VOP_COUNT] = {
#define VOP(NAME, ...) vop_run_##NAME,
#include "vops.def"
#undef VOP
};

#endif
