/* gk_bf16_attention over the products of a unit.
 *
 * The including file defines ATT_TILE(t), which takes a gk_bf16_tile, ATT_PIXELS, the rows of a full one,
 * att_put(to, a, b), which rounds two vectors of floats into 2 L numbers, and GK_LANES.
 *
 * The keys go by in blocks of ATT_KEYS. Scores are a product of queries by a panel of 32 keys after the other; a row of
 * them is read twice, and becomes probabilities in groups of 32 keys, which lie as the unit takes pixels:
 *
 *     [keys / 32][ATT_PIXELS][32]
 *
 * Scores, probabilities and the keys of a block stay in the first-level cache. */
#ifndef GK_BF16_ATTENTION_H
#define GK_BF16_ATTENTION_H

#include "attention_rows.h"
#include "gk_bf16.h"

enum {
    ATT_GROUP = GK_BF16_K,
    ATT_KEYS = ATT_PIXELS > 16 ? 128 : 256, /* of a block */
    ATT_ROW = ATT_KEYS + 16,                /* from a row of scores to the next */
    ATT_PLANE = ATT_PIXELS * ATT_GROUP,     /* from a group of a row to the next */
    ATT_PANEL = ATT_GROUP * GK_BF16_COLUMNS,
    ATT_TAPS = GK_BF16_ATTENTION_D / ATT_GROUP
};

typedef struct att_space {
    float scores[ATT_PIXELS * ATT_ROW];
    float product[ATT_PIXELS * GK_BF16_COLUMNS];
    uint16_t p[(ATT_KEYS / ATT_GROUP) * ATT_PLANE];
    ptrdiff_t taps[ATT_TAPS];
    /* of each row: the block's greatest score and its sum of powers; the greatest so far, what is taken off before the
     * power, what the values summed before are worth now, and the sum so far */
    float now[32], total[32], best[32], off[32], keep[32], sum[32];
    float sums[]; /* [rows][dv, whole panels] */
} att_space;

static size_t bf16_attention_line(size_t dv)
{
    return (dv + GK_BF16_COLUMNS - 1) / GK_BF16_COLUMNS * GK_BF16_COLUMNS;
}

static size_t bf16_attention_work(size_t dv)
{
    return sizeof(att_space) + ATT_PIXELS * bf16_attention_line(dv) * sizeof(float);
}

/* 2^x for x <= 0, below 8e-5 off, relatively: a twentieth of what rounding to bfloat16 may be. */
GK_INLINE gv att_exp2(gv x)
{
#if GK_LANES == 16
    const gv f = (gv)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    gv y = V(0.0780245438f);
    y = y * f + V(0.2260671854f);
    y = y * f + V(0.6958335042f);
    y = y * f + V(0.9999251962f);
    return (gv)_mm512_scalef_ps((__m512)y, (__m512)x);
#else
    return v_exp2_falling(x);
#endif
}

/* What the exponents are multiplied by: the scale too, where it can wait. */
GK_INLINE float att_factor(const gk_attention *t)
{
    return 1.44269504089f * (!t->n_masks && t->scale > 0.0f ? t->scale : 1.0f);
}

/* Scales and masks a row of `count` scores, whole groups, and finds its greatest; keys past `there` weigh nothing. */
GK_INLINE void att_look(const gk_attention *t, att_space *w, int row, size_t key, size_t there, size_t count)
{
    float *s = w->scores + (ptrdiff_t)row * ATT_ROW;
    if (t->n_masks || !(t->scale > 0.0f))
        att_mask(t, row, key, there, s);
    for (size_t j = there; j < count; j++)
        s[j] = -INFINITY;
    w->now[row] = v_greatest(att_best(count, s));
}

/* The block's greatest scores join those of the blocks before, all rows at once. */
GK_INLINE void att_join(att_space *w, bool first, float factor)
{
    const gv none = V(-INFINITY);
    for (int r = 0; r < ATT_PIXELS; r += L) {
        const gv before = first ? none : v_load(w->best + r), now = v_load(w->now + r);
        const gv best = SEL(LT(now, before), before, now);
        v_store(w->keep + r, SEL(EQ(before, best), V(1.0f), v_exp2_falling((before - best) * V(factor))));
        v_store(w->off + r, SEL(EQ(best, none), V(0.0f), best)); /* nothing but masked keys: a sum of zero */
        v_store(w->best + r, best);
    }
}

/* A row of scores becomes probabilities. */
GK_INLINE void att_powers(att_space *w, int row, size_t count, float factor)
{
    const float *s = w->scores + (ptrdiff_t)row * ATT_ROW;
    uint16_t *to = w->p + row * ATT_GROUP;
    const gv m = V(w->off[row]), by = V(factor);
    gv s0 = V(0.0f), s1 = V(0.0f);
    for (size_t j = 0; j < count; j += 2 * L) {
        const gv e0 = att_exp2((v_load(s + j) - m) * by), e1 = att_exp2((v_load(s + j + L) - m) * by);
        att_put(to + j / ATT_GROUP * ATT_PLANE + j % ATT_GROUP, e0, e1);
        s0 += e0;
        s1 += e1;
    }
    w->total[row] = v_total(s0 + s1);
}

GK_INLINE void att_add_up(att_space *w, bool first)
{
    for (int r = 0; r < ATT_PIXELS; r += L) {
        gv sum = v_load(w->total + r);
        if (!first)
            sum += v_load(w->keep + r) * v_load(w->sum + r);
        v_store(w->sum + r, sum);
    }
}

/* The product of a panel of values joins what the blocks before gave; the last block's is divided by the sum. */
GK_INLINE void att_gather(const gk_attention *t, att_space *w, size_t first, size_t line, bool begin, bool last)
{
    const size_t columns = t->dv - first < GK_BF16_COLUMNS ? t->dv - first : GK_BF16_COLUMNS;
    for (int r = 0; r < t->rows; r++) {
        const float *x = w->product + r * GK_BF16_COLUMNS;
        float *sums = w->sums + (size_t)r * line + first, *y = t->y + r * t->y_row + first;
        const gv keep = V(w->keep[r]), by = V(1.0f / w->sum[r]);
        for (size_t j = 0; j < columns; j += L) {
            gv a = v_load(x + j);
            if (!begin)
                a += keep * v_load(sums + j);
            if (!last)
                v_store(sums + j, a);
            else if (columns - j >= L)
                v_store(y + j, a * by);
            else
                v_store_part(y + j, columns - j, a * by);
        }
    }
}

static void bf16_attention(const gk_bf16_attention *a)
{
    const gk_attention *t = a->of;
    att_space *w = a->work;
    const size_t blocks = (t->keys + ATT_KEYS - 1) / ATT_KEYS, line = bf16_attention_line(t->dv);
    const size_t each = ((t->keys + blocks - 1) / blocks + ATT_GROUP - 1) / ATT_GROUP * ATT_GROUP;
    const size_t depth = (t->d + ATT_GROUP - 1) / ATT_GROUP, groups = (t->keys + ATT_GROUP - 1) / ATT_GROUP;
    const float factor = att_factor(t);
    for (size_t i = 0; i < ATT_TAPS; i++)
        w->taps[i] = (ptrdiff_t)i * ATT_PLANE;
    gk_bf16_tile tile = { .pixel = ATT_GROUP,
                          .depth = GK_BF16_K,
                          .half = (t->rows + 1) / 2 * ATT_GROUP,
                          .taps = w->taps,
                          .parts = 1,
                          .pixels = t->rows,
                          .columns = GK_BF16_COLUMNS };
    for (size_t key = 0; key < t->keys; key += each) {
        const size_t there = t->keys - key < each ? t->keys - key : each;
        const size_t count = (there + ATT_GROUP - 1) / ATT_GROUP * ATT_GROUP;
        tile.src = a->q;
        tile.n_taps = depth;
        tile.line = ATT_ROW;
        for (size_t j = 0; j < count; j += GK_BF16_COLUMNS) {
            tile.w = a->k + (key + j) / GK_BF16_COLUMNS * depth * ATT_PANEL;
            tile.dst = w->scores + j;
            ATT_TILE(&tile);
        }
        for (int r = 0; r < t->rows; r++)
            att_look(t, w, r, key, there, count);
        att_join(w, key == 0, factor);
        for (int r = 0; r < t->rows; r++)
            att_powers(w, r, count, factor);
        att_add_up(w, key == 0);
        tile.src = w->p;
        tile.n_taps = count / ATT_GROUP;
        tile.line = GK_BF16_COLUMNS;
        tile.dst = w->product;
        for (size_t first = 0; first < t->dv; first += GK_BF16_COLUMNS) {
            tile.w = a->v + (first / GK_BF16_COLUMNS * groups + key / ATT_GROUP) * ATT_PANEL;
            ATT_TILE(&tile);
            att_gather(t, w, first, line, key == 0, key + each >= t->keys);
        }
    }
}

#endif
