/* Numbers in order, as unsigned keys: less is earlier. What TopK and NonMaxSuppression choose by. */
#ifndef GI_KEYED_H
#define GI_KEYED_H

#include <math.h>

#include "ops/eval.h"

typedef struct gi_keyed {
    uint64_t key;
    int64_t at;
} gi_keyed;

/* Both zeros have one key, each NaN the greatest. */
static inline uint64_t gi_key_f32(float x)
{
    uint32_t u;
    const float v = x + 0.0F;
    memcpy(&u, &v, sizeof u);
    return isnan(x) ? UINT32_MAX : u >> 31 ? ~u : u | UINT32_C(1) << 31;
}

static inline uint64_t gi_key_f64(double x)
{
    uint64_t u;
    const double v = x + 0.0;
    memcpy(&u, &v, sizeof u);
    return isnan(x) ? UINT64_MAX : u >> 63 ? ~u : u | UINT64_C(1) << 63;
}

static inline uint64_t gi_key_i64(int64_t x)
{
    return (uint64_t)x ^ UINT64_C(1) << 63;
}

/* Sorts n of them, keeping the order of equals. `other` has room for n too; gives the one of both that holds the
 * result. */
gi_keyed *gi_sort_keyed(gi_keyed *from, gi_keyed *other, int64_t n);

#endif
