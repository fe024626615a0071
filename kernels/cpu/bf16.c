/* Which units for bfloat16 this processor has, and which of them pay. */
#include "bf16_plain.h"

#if defined(GK_HAVE_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

uint16_t gk_bf16_of(float x)
{
    uint32_t u = bits_of(x);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    if (!(u & 0x7f800000))
        u &= 0x80000000;
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float gk_bf16_value(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

extern const gk_bf16_unit gk_bf16_emulated, gk_bf16_emulated_amx;
#if defined(GK_HAVE_AVX512BF16)
extern const gk_bf16_unit gk_bf16_dot;
bool gk_bf16_dot_pays(void);
#endif
#if defined(GK_HAVE_AMX)
extern const gk_bf16_unit gk_bf16_amx;
#endif

static bool has_dot(void)
{
#if defined(GK_HAVE_AVX512BF16)
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

/* The processor has it, and the system lets this process use it: 8 KiB of state a thread have to be asked for. */
static bool has_amx(void)
{
#if defined(GK_HAVE_AMX)
    enum { TILE_DATA = 18, REQUEST = 0x1023, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, OSXSAVE = 1 << 27 };
    unsigned a, b, c, d, low, high;
    if (!has_dot() || !__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
        (d & (AMX_BF16 | AMX_TILE)) != (AMX_BF16 | AMX_TILE))
        return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 0x60000) == 0x60000 && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return false;
#endif
}

const gk_bf16_unit *gk_bf16_best(const char **why)
{
#if defined(GK_HAVE_AMX)
    if (has_amx())
        return &gk_bf16_amx;
#endif
#if defined(GK_HAVE_AVX512BF16)
    if (has_dot() && gk_bf16_dot_pays())
        return &gk_bf16_dot;
#endif
    *why = has_dot() ? "its AVX512_BF16 is slower than fp32, and it has no AMX"
                     : "it has neither AVX512_BF16 nor AMX, or gopt was built by a compiler that lacks them";
    return NULL;
}

const gk_bf16_unit *gk_bf16_get(const char *name)
{
    const gk_bf16_unit *const there[] = {
        &gk_bf16_emulated,
        &gk_bf16_emulated_amx,
#if defined(GK_HAVE_AVX512BF16)
        has_dot() ? &gk_bf16_dot : NULL,
#endif
#if defined(GK_HAVE_AMX)
        has_amx() ? &gk_bf16_amx : NULL,
#endif
    };
    for (size_t i = 0; i < sizeof(there) / sizeof(*there); i++)
        if (there[i] && !strcmp(there[i]->name, name))
            return there[i];
    return NULL;
}
