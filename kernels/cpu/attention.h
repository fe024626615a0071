/* gk_f32_attention: a tile of rows of attention (see gk_attention).
 *
 * Products as in conv_tile.h: AVX-512 14 rows by 32 keys or values, 28 accumulators; AVX2 6 by 16. Between them a row of
 * scores is read twice: scaled, masked and its maximum found, then made powers of two and summed. Division by the sum
 * waits for the end. Scores of a block take 15 KiB, so they stay in the first-level cache. */
#ifndef GK_ATTENTION_H
#define GK_ATTENTION_H

#include "attention_rows.h"

enum { ATT_LINE = GK_ATTENTION_KEYS + 2 * L }; /* from a row of scores to the next */

/* s[p][j] = q[p] · k[j] for n rows and the keys of a block, whole vectors. */
GK_INLINE void att_scores(const gk_attention *t, const int n, size_t key, size_t count, float *s)
{
    const float *w = t->k + key * t->d;
    const ptrdiff_t row = (ptrdiff_t)t->d;
    for (size_t j = 0; j < count; j += 2 * L) {
        const float *q = t->q;
        gv a0[GK_TILE], a1[GK_TILE];
#pragma GCC unroll 16
        for (int p = 0; p < n; p++)
            a0[p] = a1[p] = V(0.0f);
        for (size_t c = t->d; c; c--, q++, w += 2 * L) {
            const gv w0 = v_load(w), w1 = v_load(w + L);
            __builtin_prefetch(w + 64 * L);
            __builtin_prefetch(w + 65 * L);
#pragma GCC unroll 16
            for (int p = 0; p < n; p++) {
                const gv x = V(q[p * row]);
                a0[p] += x * w0;
                a1[p] += x * w1;
            }
        }
#pragma GCC unroll 16
        for (int p = 0; p < n; p++) {
            v_store(s + p * ATT_LINE + j, a0[p]);
            v_store(s + p * ATT_LINE + j + L, a1[p]);
        }
    }
}

/* o[p][j] = s[p] · v[j] (+ keep[p] * o[p][j]) for n rows and the columns of a panel; the last block of keys divides by
 * the sum and writes the result. */
GK_INLINE void att_values(const gk_attention *t, const int n, size_t panel, size_t key, size_t count, const float *s,
                          float *sums, const att_rows *r)
{
    const size_t first = panel * 2 * L, columns = t->dv - first;
    const ptrdiff_t line = (ptrdiff_t)((t->dv + 2 * L - 1) / (2 * L) * (2 * L));
    const float *w = t->v + (panel * t->keys + key) * 2 * L;
    gv a0[GK_TILE], a1[GK_TILE];
#pragma GCC unroll 16
    for (int p = 0; p < n; p++)
        a0[p] = a1[p] = V(0.0f);
    for (size_t c = count; c; c--, s++, w += 2 * L) {
        const gv w0 = v_load(w), w1 = v_load(w + L);
        __builtin_prefetch(w + 64 * L);
        __builtin_prefetch(w + 65 * L);
#pragma GCC unroll 16
        for (int p = 0; p < n; p++) {
            const gv x = V(s[p * ATT_LINE]);
            a0[p] += x * w0;
            a1[p] += x * w1;
        }
    }
    const bool last = key + count == t->keys;
#pragma GCC unroll 16
    for (int p = 0; p < n; p++) {
        float *o = sums + p * line + first, *y = t->y + p * t->y_row + first;
        if (key) {
            a0[p] += V(r->keep[p]) * v_load(o);
            a1[p] += V(r->keep[p]) * v_load(o + L);
        }
        if (!last) {
            v_store(o, a0[p]);
            v_store(o + L, a1[p]);
            continue;
        }
        const gv by = V(1.0f / r->sum[p]);
        if (columns >= 2 * L) {
            v_store(y, a0[p] * by);
            v_store(y + L, a1[p] * by);
        } else if (columns >= L) {
            v_store(y, a0[p] * by);
            v_store_part(y + L, columns - L, a1[p] * by);
        } else {
            v_store_part(y, columns, a0[p] * by);
        }
    }
}

/* The scores become powers of two; the rows' sums and greatest scores so far go along. */
static void att_softmax(const gk_attention *t, int rows, size_t key, size_t count, float *s, att_rows *r)
{
    const bool plain = !t->n_masks && t->scale > 0.0f; /* the scale can wait */
    const float factor = 1.44269504089f * (plain ? t->scale : 1.0f);
    const gv lanes = att_lane(), by = V(factor);
    for (int p = 0; p < rows; p++, s += ATT_LINE) {
        if (!plain)
            att_mask(t, p, key, count, s);
        att_end(count, lanes, s);
        const float before = key ? r->best[p] : -INFINITY, now = v_greatest(att_best(count, s));
        const float best = now < before ? before : now;
        const gv m = V(best == -INFINITY ? 0.0f : best); /* nothing but masked keys: a sum of zero */
        gv s0 = V(0.0f), s1 = V(0.0f);
        size_t j = 0;
        for (; j + L < count; j += 2 * L) {
            const gv e0 = v_exp2_falling((v_load(s + j) - m) * by);
            const gv e1 = v_exp2_falling((v_load(s + j + L) - m) * by);
            v_store(s + j, e0);
            v_store(s + j + L, e1);
            s0 += e0;
            s1 += e1;
        }
        if (j < count) {
            const gv e = v_exp2_falling((v_load(s + j) - m) * by);
            v_store(s + j, e);
            s0 += e;
        }
        att_advance(r, p, key == 0, best, v_total(s0 + s1), factor);
    }
}

GK_INLINE void att_run(const gk_attention *t, const int n)
{
    const size_t blocks = (t->keys + GK_ATTENTION_KEYS - 1) / GK_ATTENTION_KEYS;
    const size_t each = ((t->keys + blocks - 1) / blocks + 2 * L - 1) / (2 * L) * (2 * L);
    float *sums = t->work + GK_TILE * ATT_LINE;
    att_rows r;
    for (size_t key = 0; key < t->keys; key += each) {
        const size_t count = t->keys - key < each ? t->keys - key : each;
        att_scores(t, n, key, count, t->work);
        att_softmax(t, n, key, count, t->work, &r);
        for (size_t panel = 0; panel * 2 * L < t->dv; panel++)
            att_values(t, n, panel, key, count, t->work, sums, &r);
    }
}

#define ATT_TILE(N)                                 \
    static void att_tile_##N(const gk_attention *t) \
    {                                               \
        att_run(t, N);                              \
    }
#define ATT_NAME(N) att_tile_##N,
#define ATT_EACH_6(X) X(1) X(2) X(3) X(4) X(5) X(6)
#if GK_TILE == 14
#define ATT_EACH(X) ATT_EACH_6(X) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define ATT_EACH(X) ATT_EACH_6(X)
#endif
ATT_EACH(ATT_TILE)

static void GK_NAME(attention)(const gk_attention *t)
{
    static void (*const by_rows[GK_TILE + 1])(const gk_attention *) = { NULL, ATT_EACH(ATT_NAME) };
    by_rows[t->rows](t);
}

#endif
