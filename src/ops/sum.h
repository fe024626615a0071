/* Sums that stay exact enough for any length and that a compiler can vectorize: eight running sums in f64. */
#ifndef GI_OPS_SUM_H
#define GI_OPS_SUM_H

#include <math.h>

#include "base/base.h"

enum { GI_SUM_LANES = 8 };

/* Defines NAME(const WORD *x, int64_t n, double m): the sum of TERM, an expression of `v` (the element as f64)
 * and `m`. */
#define GI_DEFINE_SUM(NAME, WORD, TERM)                           \
    static inline double NAME(const WORD *x, int64_t n, double m) \
    {                                                             \
        double lane[GI_SUM_LANES] = { 0 }, sum = 0;               \
        int64_t i = 0;                                            \
        (void)m;                                                  \
        for (; i + GI_SUM_LANES <= n; i += GI_SUM_LANES)          \
            for (int j = 0; j < GI_SUM_LANES; j++) {              \
                const double v = (double)x[i + j];                \
                lane[j] += (TERM);                                \
            }                                                     \
        for (; i < n; i++) {                                      \
            const double v = (double)x[i];                        \
            sum += (TERM);                                        \
        }                                                         \
        for (int j = 0; j < GI_SUM_LANES; j++)                    \
            sum += lane[j];                                       \
        return sum;                                               \
    }

#endif
