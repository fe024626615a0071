/* gk_f32_winograd_in and _out: a row of tiles into, and out of, the domain where convolving is multiplying.
 *
 * Winograd's algorithm F(m x m, 3 x 3) after Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
 * (2016): (m + 2)^2 products an m x m tile of outputs instead of 9 m^2. Each transform is one of a line, made along
 * the columns and then along the rows; a vector is the channels of one pixel. m = 2 is made from the points 0, ±1, ∞.
 * m = 4 from 0, ±3/4, ±3/2, ∞: the usual 0, ±1, ±2, ∞ round about three times as much, and pairs of opposite points
 * share their sums as those do. A line of 6 takes 12 FMA in and 12 out, and two tiles side by side share the columns
 * that both read. */
#ifndef GK_WINOGRAD_H
#define GK_WINOGRAD_H

#include "vec.h"

enum { WINO_RUN = 7 };                  /* tiles that one pass along the columns prepares, in the first-level cache */
#define WINO_P2 (GK_WINO_P * GK_WINO_P) /* points ±P and ±Q */
#define WINO_Q2 (GK_WINO_Q * GK_WINO_Q)

/* B^T d of a line of m + 2 inputs. */
GK_INLINE void wino_line_in(const int m, const gv *d, gv *o)
{
    if (m == 2) {
        o[0] = d[2] - d[0];
        o[1] = d[2] + d[1];
        o[2] = d[2] - d[1];
        o[3] = d[3] - d[1];
        return;
    }
    const gv p2 = V(WINO_P2), q2 = V(WINO_Q2), both = V(WINO_P2 * WINO_Q2), sum = V(WINO_P2 + WINO_Q2);
    const gv p = V(GK_WINO_P), q = V(GK_WINO_Q);
    const gv e1 = d[4] - q2 * d[2], u1 = d[3] - q2 * d[1];
    const gv e2 = d[4] - p2 * d[2], u2 = d[3] - p2 * d[1];
    o[0] = both * d[0] + (d[4] - sum * d[2]);
    o[1] = e1 + p * u1;
    o[2] = e1 - p * u1;
    o[3] = e2 + q * u2;
    o[4] = e2 - q * u2;
    o[5] = both * d[1] + (d[5] - sum * d[3]);
}

/* A^T x of a line of m + 2 products. */
GK_INLINE void wino_line_out(const int m, const gv *x, gv *y)
{
    const gv s1 = x[1] + x[2], d1 = x[1] - x[2];
    if (m == 2) {
        y[0] = x[0] + s1;
        y[1] = d1 + x[3];
        return;
    }
    const gv s2 = x[3] + x[4], d2 = x[3] - x[4];
    y[0] = (x[0] + s1) + s2;
    y[1] = V(GK_WINO_P) * d1 + V(GK_WINO_Q) * d2;
    y[2] = V(WINO_P2) * s1 + V(WINO_Q2) * s2;
    y[3] = V(WINO_P2 * GK_WINO_P) * d1 + (V(WINO_Q2 * GK_WINO_Q) * d2 + x[5]);
}

/* Columns x … x+n-1 of the rows under the tiles, each transformed: to[i][k]. */
GK_INLINE void wino_columns(const gk_winograd_in *t, const int m, int x, int n, gv (*to)[4 * WINO_RUN + 2])
{
    static const float zeros[L];
    const float *row[6];
    ptrdiff_t step[6];
    for (int i = 0; i < m + 2; i++) {
        const bool inside = t->y + i >= 0 && t->y + i < t->height;
        row[i] = inside ? t->src + (ptrdiff_t)(t->y + i) * t->width * L : zeros;
        step[i] = inside ? L : 0;
    }
    const int width = t->width;
    for (int k = 0; k < n; k++) {
        gv d[6], o[6];
        if (x + k < 0 || x + k >= width) {
            for (int i = 0; i < m + 2; i++)
                to[i][k] = V(0.0f);
            continue;
        }
#pragma GCC unroll 6
        for (int i = 0; i < m + 2; i++)
            d[i] = v_load(row[i] + (x + k) * step[i]);
        wino_line_in(m, d, o);
#pragma GCC unroll 6
        for (int i = 0; i < m + 2; i++)
            to[i][k] = o[i];
    }
}

GK_INLINE void wino_in(const gk_winograd_in *t, const int m)
{
    gv lines[6][4 * WINO_RUN + 2], o[6];
    const int tiles = t->tiles; /* stores may reach *t, for all that the compiler knows */
    const ptrdiff_t position = t->position;
    for (int first = 0, n; first < tiles; first += n) {
        n = tiles - first < WINO_RUN ? tiles - first : WINO_RUN;
        wino_columns(t, m, t->x + first * m, n * m + 2, lines);
        for (int k = 0; k < n; k++) {
            float *dst = t->dst + (ptrdiff_t)(first + k) * L;
#pragma GCC unroll 6
            for (int i = 0; i < m + 2; i++) {
                wino_line_in(m, &lines[i][k * m], o);
#pragma GCC unroll 6
                for (int c = 0; c < m + 2; c++)
                    v_store(dst + (i * (m + 2) + c) * position, o[c]);
            }
        }
    }
}

/* One tile of products to m x m outputs, of which rows by columns are stored. */
GK_INLINE void wino_tile_out(const gk_winograd_out *t, const int m, const float *src, float *dst, const float *add,
                             const int rows, const int columns)
{
    gv half[4][6];
    const ptrdiff_t position = t->position, row = t->row;
#pragma GCC unroll 6
    for (int c = 0; c < m + 2; c++) {
        gv x[6], y[4];
#pragma GCC unroll 6
        for (int i = 0; i < m + 2; i++)
            x[i] = v_load(src + (i * (m + 2) + c) * position);
        wino_line_out(m, x, y);
#pragma GCC unroll 4
        for (int i = 0; i < m; i++)
            half[i][c] = y[i];
    }
    const gv bias = v_load(t->bias), lo = V(t->lo), hi = V(t->hi);
#pragma GCC unroll 4
    for (int i = 0; i < m; i++) {
        gv y[4];
        if (i >= rows)
            break;
        wino_line_out(m, half[i], y);
#pragma GCC unroll 4
        for (int c = 0; c < m; c++) {
            const ptrdiff_t at = i * row + c * L;
            if (c >= columns)
                break;
            y[c] += bias;
            if (add)
                y[c] += v_load(add + at);
            v_store(dst + at, v_atmost(hi, v_atleast(lo, y[c])));
        }
    }
}

GK_INLINE void wino_out(const gk_winograd_out *t, const int m)
{
    for (int k = 0; k < t->tiles; k++) {
        const ptrdiff_t at = (ptrdiff_t)k * m * L;
        const float *src = t->src + (ptrdiff_t)k * L, *add = t->add ? t->add + at : NULL;
        const int left = t->columns - k * m, columns = left < m ? left : m;
        if (columns == m && t->rows == m && add)
            wino_tile_out(t, m, src, t->dst + at, add, m, m);
        else if (columns == m && t->rows == m)
            wino_tile_out(t, m, src, t->dst + at, NULL, m, m);
        else
            wino_tile_out(t, m, src, t->dst + at, add, t->rows, columns);
    }
}

static void GK_NAME(winograd_in)(const gk_winograd_in *t)
{
    if (t->m == 2)
        wino_in(t, 2);
    else
        wino_in(t, 4);
}

static void GK_NAME(winograd_out)(const gk_winograd_out *t)
{
    if (t->m == 2)
        wino_out(t, 2);
    else
        wino_out(t, 4);
}

#endif
