/* gk_bf16_tile for AMX: 32 pixels by 32 columns in four tiles of sums, two tiles of pixels, two of weights.
 *
 * The including file says what T_ZERO(d), T_LOAD(d, pointer, bytes), T_STORE(d, pointer, bytes) and T_DP(d, a, b) are:
 * the instructions, or their emulation. A step of 32 channels loads 4 KiB for four products, so it is the loads that
 * bound it: with parts a tile stays for the next product where it can, in the order
 *
 *     a1·b0  a0·b0  a0·b1                                        two parts
 *     a2·b0  a1·b0  a1·b1  a0·b1  a0·b0  a0·b2                   three
 *
 * which changes one operand at a time and begins, but for the last three, with the smallest. */
#ifndef GK_BF16_AMX_TILE_H
#define GK_BF16_AMX_TILE_H

#include "bf16_plain.h"

enum { TILE_BYTES = 64, WEIGHT_BYTES = 128, SUM_BYTES = 128, TILE_ROWS = 16, TAP = GK_BF16_K * GK_BF16_COLUMNS };

/* Pixels 0 … 15 are tile 4, the others 5; columns 0 … 15 tile 6, the others 7. */
#define LOAD_PIXELS(PART)                                                      \
    do {                                                                       \
        T_LOAD(4, s + (PART)*t->part, TILE_BYTES);                             \
        if (two_rows)                                                          \
            T_LOAD(5, s + (PART)*t->part + TILE_ROWS * GK_BF16_K, TILE_BYTES); \
    } while (0)
#define LOAD_WEIGHTS(PART)                                           \
    do {                                                             \
        T_LOAD(6, w + (PART)*TAP, WEIGHT_BYTES);                     \
        if (two_columns)                                             \
            T_LOAD(7, w + (PART)*TAP + TILE_ROWS * 2, WEIGHT_BYTES); \
    } while (0)
#define PRODUCTS                     \
    do {                             \
        T_DP(0, 4, 6);               \
        if (two_columns)             \
            T_DP(1, 4, 7);           \
        if (two_rows)                \
            T_DP(2, 5, 6);           \
        if (two_rows && two_columns) \
            T_DP(3, 5, 7);           \
    } while (0)

GK_BF16_INLINE void amx_taps(const gk_bf16_tile *t, const int parts, const bool two_rows, const bool two_columns)
{
    const uint16_t *w = t->w;
    const char *prefetch = t->prefetch;
    for (size_t i = 0; i < t->n_taps; i++, w += parts * TAP) {
        const uint16_t *s = t->src + t->taps[i];
        if (parts == 3) {
            LOAD_PIXELS(2);
            LOAD_WEIGHTS(0);
            PRODUCTS;
            LOAD_PIXELS(1);
            PRODUCTS;
            LOAD_WEIGHTS(1);
            PRODUCTS;
            LOAD_PIXELS(0);
            PRODUCTS;
            LOAD_WEIGHTS(0);
            PRODUCTS;
            LOAD_WEIGHTS(2);
            PRODUCTS;
        } else if (parts == 2) {
            LOAD_PIXELS(1);
            LOAD_WEIGHTS(0);
            PRODUCTS;
            LOAD_PIXELS(0);
            PRODUCTS;
            LOAD_WEIGHTS(1);
            PRODUCTS;
        } else {
            LOAD_PIXELS(0);
            LOAD_WEIGHTS(0);
            PRODUCTS;
        }
        for (int k = 0; k < t->prefetch_lines; k++)
            __builtin_prefetch(prefetch + (ptrdiff_t)k * 64);
        prefetch += (ptrdiff_t)t->prefetch_lines * 64;
    }
}

GK_BF16_INLINE void amx_run(const gk_bf16_tile *t, const bool two_rows, const bool two_columns)
{
    _Alignas(64) float own[GK_BF16_PIXELS * GK_BF16_COLUMNS];
    float *sums = t->sums ? t->sums : own;
    __asm__ volatile("" : : : "memory"); /* what was written is there to be loaded */
    float *const at[4] = { sums, sums + 16, sums + 16 * GK_BF16_COLUMNS, sums + 16 * GK_BF16_COLUMNS + 16 };
    if (t->begins) {
        T_ZERO(0);
        T_ZERO(1);
        T_ZERO(2);
        T_ZERO(3);
    } else {
        T_LOAD(0, at[0], SUM_BYTES);
        T_LOAD(1, at[1], SUM_BYTES);
        T_LOAD(2, at[2], SUM_BYTES);
        T_LOAD(3, at[3], SUM_BYTES);
    }
    if (t->parts == 1)
        amx_taps(t, 1, two_rows, two_columns);
    else if (t->parts == 2)
        amx_taps(t, 2, two_rows, two_columns);
    else
        amx_taps(t, 3, two_rows, two_columns);
    T_STORE(0, at[0], SUM_BYTES);
    T_STORE(1, at[1], SUM_BYTES);
    if (two_rows) {
        T_STORE(2, at[2], SUM_BYTES);
        T_STORE(3, at[3], SUM_BYTES);
    }
    for (int p = 0; t->ends && p < t->pixels; p++)
        bf16_store(t, p, sums + p * GK_BF16_COLUMNS);
}

static void amx_tile(const gk_bf16_tile *t)
{
    if (t->pixels > TILE_ROWS && t->columns > 16)
        amx_run(t, true, true);
    else if (t->pixels > TILE_ROWS)
        amx_run(t, true, false);
    else if (t->columns > 16)
        amx_run(t, false, true);
    else
        amx_run(t, false, false);
}

#endif
