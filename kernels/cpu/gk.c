/* Which tables of kernels this processor can run. */
#include "gk.h"

#include <string.h>

extern const gk_table gk_table_base;
#if defined(__x86_64__)
extern const gk_table gk_table_avx2, gk_table_avx512;
#endif

static bool has(gk_isa isa)
{
#if defined(__x86_64__)
    if (isa == GK_AVX2)
#if defined(__clang__) /* older ones have no name for f16c; what has AVX2 has it */
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#endif
    if (isa == GK_AVX512)
        return has(GK_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return isa == GK_BASE;
}

const gk_table *gk_get(gk_isa isa)
{
    if (!has(isa))
        return NULL;
#if defined(__x86_64__)
    if (isa == GK_AVX512)
        return &gk_table_avx512;
    if (isa == GK_AVX2)
        return &gk_table_avx2;
#endif
    return &gk_table_base;
}

gk_isa gk_best(void)
{
    return has(GK_AVX512) ? GK_AVX512 : has(GK_AVX2) ? GK_AVX2 : GK_BASE;
}

static const char *const names[GK_ISA_COUNT] = { "sse2", "avx2", "avx512" };

const char *gk_isa_name(gk_isa isa)
{
    return names[isa];
}

bool gk_isa_parse(const char *s, gk_isa *isa)
{
    for (int i = 0; i < GK_ISA_COUNT; i++)
        if (!strcmp(s, names[i])) {
            *isa = (gk_isa)i;
            return true;
        }
    return false;
}

int gk_vop_arity(gk_vop op)
{
    static const int arity[] = {
#define VOP(NAME, ARITY, ...) ARITY,
#include "vops.def"
#undef VOP
    };
    return arity[op];
}

/* Scores and sums of a tile's rows, and what is known of each; see attention.h. */
size_t gk_attention_work(const gk_table *k, size_t dv)
{
    const size_t lanes2 = 2 * (size_t)k->lanes, tile = (size_t)k->tile;
    return tile * (GK_ATTENTION_KEYS + lanes2) + tile * ((dv + lanes2 - 1) / lanes2 * lanes2);
}
