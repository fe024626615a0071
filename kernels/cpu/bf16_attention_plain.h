/* gk_bf16_attention in vectors that every processor has. */
#ifndef GK_BF16_ATTENTION_PLAIN_H
#define GK_BF16_ATTENTION_PLAIN_H

#include "bf16_plain.h"
#include "vec.h"

GK_BF16_INLINE void att_put(uint16_t *to, gv a, gv b)
{
    for (int i = 0; i < L; i++) {
        to[i] = gk_bf16_of(a[i]);
        to[L + i] = gk_bf16_of(b[i]);
    }
}

#include "bf16_attention.h"

#endif
