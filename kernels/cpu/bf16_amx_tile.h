/* gk_bf16_tile for AMX: 32 pixels by 32 columns in four tiles of sums, two tiles of pixels, two of weights.
 *
 * The including file says what T_ZERO(d), T_LOAD(d, pointer, bytes), T_STORE(d, pointer, bytes) and T_DP(d, a, b) are,
 * the instructions or their emulation, and T_PIXELS(tile, sums), which stores the pixels of the result. A step of 32
 * channels loads 4 KiB for four products, so it is the loads that bound it: with parts a tile stays for the next product
 * where it can, in the order
 *
 *     a1·b0  a0·b0  a0·b1                                        two parts
 *     a2·b0  a1·b0  a1·b1  a0·b1  a0·b0  a0·b2                   three
 *
 * which changes one operand at a time. */
#ifndef GK_BF16_AMX_TILE_H
#define GK_BF16_AMX_TILE_H

#include "bf16_plain.h"

enum { WEIGHT_BYTES = 128, SUM_BYTES = 128, TILE_ROWS = 16, TAP = GK_BF16_K * GK_BF16_COLUMNS };

/* Pixels 0 … 15 are tile 4, the others 5; columns 0 … 15 tile 6, the others 7. S and W are those of a tap. */
#define LOAD_4(S, PART) T_LOAD(4, (S) + (PART)*t->part, t->pixel * 2)
#define LOAD_5(S, PART) T_LOAD(5, (S) + (PART)*t->part + TILE_ROWS * t->pixel, t->pixel * 2)
#define LOAD_6(W, PART) T_LOAD(6, (W) + (PART)*TAP, WEIGHT_BYTES)
#define LOAD_7(W, PART) T_LOAD(7, (W) + (PART)*TAP + TILE_ROWS * 2, WEIGHT_BYTES)

/* Four products of what is loaded. Each operand that the next ones do not need is replaced right behind its last use:
 * by other parts of the pixels, by other parts of the weights, by both of the next tap. */
#define THEN_PIXELS(PART)    \
    do {                     \
        T_DP(0, 4, 6);       \
        if (columns)         \
            T_DP(1, 4, 7);   \
        LOAD_4(s, PART);     \
        if (rows)            \
            T_DP(2, 5, 6);   \
        if (rows && columns) \
            T_DP(3, 5, 7);   \
        if (rows)            \
            LOAD_5(s, PART); \
    } while (0)
#define THEN_WEIGHTS(PART)   \
    do {                     \
        T_DP(0, 4, 6);       \
        if (rows)            \
            T_DP(2, 5, 6);   \
        LOAD_6(w, PART);     \
        if (columns)         \
            T_DP(1, 4, 7);   \
        if (rows && columns) \
            T_DP(3, 5, 7);   \
        if (columns)         \
            LOAD_7(w, PART); \
    } while (0)
#define THEN_NEXT(S, W, PART) \
    do {                      \
        T_DP(0, 4, 6);        \
        if (rows)             \
            T_DP(2, 5, 6);    \
        LOAD_6(W, 0);         \
        if (columns)          \
            T_DP(1, 4, 7);    \
        LOAD_4(S, PART);      \
        if (rows && columns)  \
            T_DP(3, 5, 7);    \
        if (columns)          \
            LOAD_7(W, 0);     \
        if (rows)             \
            LOAD_5(S, PART);  \
    } while (0)

/* `rows`, `columns`: more than 16 of them. */
GK_BF16_INLINE void amx_taps(const gk_bf16_tile *t, const int parts, const bool rows, const bool columns)
{
    if (!t->n_taps) {
        if (t->before)
            T_PIXELS(t->before, t->sums);
        return;
    }
    const uint16_t *w = t->w, *s = t->src + t->taps[0];
    const char *prefetch = t->prefetch;
    const size_t meanwhile = !t->before ? 0 : t->n_taps < 2 ? 1 : 2; /* products enough to go on behind */
    LOAD_4(s, parts - 1);
    LOAD_6(w, 0);
    if (columns)
        LOAD_7(w, 0);
    if (rows)
        LOAD_5(s, parts - 1);
    for (size_t i = 1; i <= t->n_taps; i++) {
        /* behind the last, what is loaded once more is not used */
        const uint16_t *next_s = i < t->n_taps ? t->src + t->taps[i] : s, *next_w = i < t->n_taps ? w + parts * TAP : w;
        if (parts == 3) {
            THEN_PIXELS(1);
            THEN_WEIGHTS(1);
            THEN_PIXELS(0);
            THEN_WEIGHTS(0);
            THEN_WEIGHTS(2);
        } else if (parts == 2) {
            THEN_PIXELS(0);
            THEN_WEIGHTS(1);
        }
        THEN_NEXT(next_s, next_w, parts - 1);
        if (i == meanwhile)
            T_PIXELS(t->before, t->sums);
        for (int k = 0; k < t->prefetch_lines; k++)
            __builtin_prefetch(prefetch + (ptrdiff_t)k * 64, 0, 2); /* the first-level cache holds what is read now */
        prefetch += (ptrdiff_t)t->prefetch_lines * 64;
        s = next_s;
        w = next_w;
    }
}

GK_BF16_INLINE void amx_run(const gk_bf16_tile *t, const bool rows, const bool columns)
{
    _Alignas(64) float own[GK_BF16_PIXELS * GK_BF16_COLUMNS];
    __asm__ volatile("" : : : "memory"); /* what was written is there to be loaded */
    T_ZERO(0);
    T_ZERO(1);
    T_ZERO(2);
    T_ZERO(3);
    if (t->parts == 1)
        amx_taps(t, 1, rows, columns);
    else if (t->parts == 2)
        amx_taps(t, 2, rows, columns);
    else
        amx_taps(t, 3, rows, columns);
    if (t->line) {
        const ptrdiff_t bytes = t->line * (ptrdiff_t)sizeof(float);
        float *dst = t->dst;
        T_STORE(0, dst, bytes);
        T_STORE(1, dst + 16, bytes);
        if (rows) {
            T_STORE(2, dst + TILE_ROWS * t->line, bytes);
            T_STORE(3, dst + TILE_ROWS * t->line + 16, bytes);
        }
        __asm__ volatile("" : : : "memory"); /* and is there to be read */
        return;
    }
    float *const sums = t->sums ? t->sums : own;
    T_STORE(0, sums, SUM_BYTES);
    T_STORE(1, sums + 16, SUM_BYTES);
    if (rows) {
        float *const low = sums + TILE_ROWS * GK_BF16_COLUMNS;
        T_STORE(2, low, SUM_BYTES);
        T_STORE(3, low + 16, SUM_BYTES);
    }
    if (!t->sums)
        T_PIXELS(t, sums);
}

static void amx_store(const gk_bf16_tile *t)
{
    T_PIXELS(t, t->sums);
}

static void amx_tile(const gk_bf16_tile *t)
{
    if (t->line && t->pixels > TILE_ROWS)
        amx_run(t, true, true);
    else if (t->line)
        amx_run(t, false, true);
    else if (t->pixels > TILE_ROWS && t->columns > 16)
        amx_run(t, true, true);
    else if (t->pixels > TILE_ROWS)
        amx_run(t, true, false);
    else if (t->columns > 16)
        amx_run(t, false, true);
    else
        amx_run(t, false, false);
}

#endif
