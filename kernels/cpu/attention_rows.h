/* What attention does to rows of scores, whatever its products are made of: masks, the greatest score, and what the
 * blocks of keys before are worth now. */
#ifndef GK_ATTENTION_ROWS_H
#define GK_ATTENTION_ROWS_H

#include "vec.h"

/* What a row's blocks have given so far, and what the next one does to it. */
typedef struct att_rows {
    float best[16], sum[16]; /* greatest score; sum of 2^(score - best) */
    float keep[16];          /* what the values summed before are worth now */
} att_rows;

GK_INLINE gv att_lane(void)
{
    float s[L];
    for (int i = 0; i < L; i++)
        s[i] = (float)i;
    return v_load(s);
}

/* A block's greatest score so far and its sum join what the row's blocks before have given. */
GK_INLINE void att_advance(att_rows *r, int row, bool first, float best, float sum, float factor)
{
    if (first) {
        r->sum[row] = sum;
    } else {
        const float before = r->best[row];
        const gv keep = before == best ? V(1.0f) : v_exp2_falling(V((before - best) * factor));
        r->keep[row] = keep[0];
        r->sum[row] = sum + keep[0] * r->sum[row];
    }
    r->best[row] = best;
}

/* Fills a row's last vector of scores up, so that what lies beyond the keys weighs nothing. */
GK_INLINE void att_end(size_t count, gv lanes, float *s)
{
    float *end = s + count / L * L;
    if (count % L)
        v_store(end, SEL(LT(lanes, V((float)(count % L))), v_load(end), V(-INFINITY)));
}

GK_INLINE gv att_best(size_t count, const float *s)
{
    gv a = V(-INFINITY), b = a;
    size_t j = 0;
    for (; j + L < count; j += 2 * L) {
        a = v_atleast(a, v_load(s + j));
        b = v_atleast(b, v_load(s + j + L));
    }
    return v_atleast(b, j < count ? v_atleast(a, v_load(s + j)) : a);
}

/* Scales and masks a row's scores from `key` on. */
GK_INLINE void att_mask(const gk_attention *t, int row, size_t key, size_t count, float *s)
{
    for (size_t j = 0; j < count; j += L)
        v_store(s + j, v_load(s + j) * V(t->scale));
    for (int i = 0; i < t->n_masks; i++) {
        const float *m = t->masks[i].at + row * t->masks[i].row;
        if (t->masks[i].one) {
            for (size_t j = 0; j < count; j += L)
                v_store(s + j, v_load(s + j) + V(*m));
            continue;
        }
        size_t j = 0;
        for (m += key; j + L <= count; j += L)
            v_store(s + j, v_load(s + j) + v_load(m + j));
        if (j < count)
            v_store(s + j, v_load(s + j) + v_load_part(m + j, count - j, 0.0f));
    }
}

#endif
