/* How a dimension looks inside: for dim.c, which makes them, dim_ask.c, which answers what is asked of them, and
 * dim_text.c, which prints and parses them. */
#ifndef GI_DIM_FORM_H
#define GI_DIM_FORM_H

#include "ir/dim.h"

enum { GI_DIM_MAX_DEPTH = 40 }; /* of divisions, minima and maxima inside one another */

typedef enum dim_kind { SUM, SYMBOL, FLOORDIV, MIN, MAX } dim_kind;

/* coef * f[0] * f[1] * …; factors are atoms in order, repeated for powers */
typedef struct term {
    int64_t coef;
    uint32_t n;
    const gi_dim **f;
} term;

struct gi_dim {
    dim_kind kind;
    bool nonnegative, unknown; /* unknown: holds a fresh unknown anywhere */
    uint16_t depth;
    uint64_t hash;
    const char *name;    /* SYMBOL */
    const gi_dim *a, *b; /* FLOORDIV, MIN, MAX */
    int64_t c;           /* SUM: the constant */
    uint32_t n;          /* SUM: terms */
    const term *t;
    struct gi_dim *next; /* of the same hash */
};

/* a / b, rounded down; b is not 0. */
static inline int64_t gi_floordiv(int64_t a, int64_t b)
{
    const int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

#endif
