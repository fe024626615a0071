/* The attention kernel by itself, at every instruction set that this machine has, against plain loops in double
 * precision: every number of rows, keys that end anywhere in a block and beyond several, masks of all forms, and scores
 * that are infinite or NaN. */
#include "unit/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gk.h"

enum { KEYS = 600, D = 40, ROWS = 14 };

static uint32_t seed = 1;

static float number(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

typedef struct sizes {
    int rows;
    size_t keys, d, dv;
} sizes;

static float q[ROWS][D], k[KEYS][D], v[KEYS][D], masks[3][ROWS][KEYS];

/* [rows of panels][columns]: what the kernel reads, of x[outer][inner] or transposed. */
static void pack(const float (*x)[D], size_t rows, size_t columns, bool keys_across, size_t lanes2, float *to)
{
    for (size_t first = 0; first < columns; first += lanes2)
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < lanes2; i++, to++)
                *to = first + i >= columns ? 0.0f : keys_across ? x[first + i][r] : x[r][first + i];
}

static double mask_of(const gk_attention *t, int row, size_t key)
{
    double sum = 0.0;
    for (int i = 0; i < t->n_masks; i++)
        sum += (double)t->masks[i].at[row * t->masks[i].row + (t->masks[i].one ? 0 : (ptrdiff_t)key)];
    return sum;
}

static void judge(const gk_attention *t, int row, const float *y)
{
    static double p[KEYS];
    double best = -INFINITY, sum = 0.0;
    for (size_t j = 0; j < t->keys; j++) {
        p[j] = 0.0;
        for (size_t c = 0; c < t->d; c++)
            p[j] += (double)q[row][c] * (double)k[j][c];
        p[j] = p[j] * (double)t->scale + mask_of(t, row, j);
        best = p[j] > best || p[j] != p[j] ? p[j] : best;
    }
    for (size_t j = 0; j < t->keys; j++)
        sum += p[j] = exp(p[j] - best);
    for (size_t c = 0; c < t->dv; c++) {
        double exact = 0.0;
        for (size_t j = 0; j < t->keys; j++)
            exact += p[j] / sum * (double)v[j][c];
        if (isnan(exact) ? !isnan(y[c]) : !(fabs((double)y[c] - exact) <= 2e-6)) {
            print_error("row %d, column %zu of %d by %zu, %zu keys of %zu: %g, expected %g\n", row, c, t->rows, t->dv,
                        t->keys, t->d, (double)y[c], exact);
            fail();
        }
    }
}

static void run(const gk_table *g, sizes s, gk_attention *t)
{
    static float kp[KEYS * (D + 32)], vp[KEYS * 64 + 64 * 64], y[ROWS * (D + 3)], rows[ROWS * D];
    static float work[ROWS * (GK_ATTENTION_KEYS + 32) + ROWS * 64];
    const size_t lanes2 = 2 * (size_t)g->lanes;
    assert_true(gk_attention_work(g, s.dv) <= sizeof(work) / sizeof(*work));
    pack(k, s.d, s.keys, true, lanes2, kp);
    pack(v, s.keys, s.dv, false, lanes2, vp);
    for (int r = 0; r < s.rows; r++)
        memcpy(rows + (size_t)r * s.d, q[r], s.d * sizeof(float));
    for (size_t i = 0; i < sizeof(y) / sizeof(*y); i++)
        y[i] = 7.0f;
    t->rows = s.rows;
    t->keys = s.keys;
    t->d = s.d;
    t->dv = s.dv;
    t->q = rows;
    t->k = kp;
    t->v = vp;
    t->y = y;
    t->y_row = (ptrdiff_t)s.dv + 3;
    t->work = work;
    g->attention(t);
    for (int r = 0; r < s.rows; r++) {
        judge(t, r, y + (size_t)r * (s.dv + 3));
        for (size_t i = s.dv; i < s.dv + 3; i++) /* nothing beside the result is written */
            assert_true(y[(size_t)r * (s.dv + 3) + i] == 7.0f);
    }
}

static void fill(void)
{
    for (size_t i = 0; i < sizeof(q) / sizeof(float); i++)
        (&q[0][0])[i] = 2.0f * number();
    for (size_t i = 0; i < sizeof(k) / sizeof(float); i++) {
        (&k[0][0])[i] = number();
        (&v[0][0])[i] = number();
    }
    for (size_t i = 0; i < sizeof(masks) / sizeof(float); i++)
        (&masks[0][0][0])[i] = 3.0f * number();
}

static const sizes all[] = { { 0, 1, 1, 1 },    { 0, 7, 5, 3 },    { 0, 32, 16, 16 }, { 0, 49, 32, 32 },
                             { 0, 61, 8, 40 },  { 0, 255, 4, 33 }, { 0, 256, 3, 17 }, { 0, 257, 8, 8 },
                             { 0, 300, 40, 9 }, { 0, 513, 2, 40 }, { 0, 600, 16, 31 } };

static void sums(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *g = gk_get((gk_isa)isa);
        for (size_t i = 0; g && i < sizeof(all) / sizeof(*all); i++)
            for (int rows = 1; rows <= g->tile; rows++) {
                sizes s = all[i];
                s.rows = rows;
                fill();
                gk_attention t = { .scale = i % 3 ? 0.3f : 1.0f };
                run(g, s, &t);
                t.n_masks = 1; /* of each pair */
                t.masks[0].at = &masks[0][0][0];
                t.masks[0].row = KEYS;
                run(g, s, &t);
                t.scale = -0.7f;
                t.n_masks = 3; /* of each pair, each key, each row */
                t.masks[1].at = &masks[1][0][0];
                t.masks[2].at = &masks[2][0][0];
                t.masks[2].row = 1;
                t.masks[2].one = true;
                run(g, s, &t);
                t.n_masks = 0;
                run(g, s, &t);
            }
    }
}

/* Masked keys, whole blocks and rows of them, the least float, infinity and NaN. */
static void special(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *g = gk_get((gk_isa)isa);
        if (!g)
            continue;
        const size_t keys[] = { 49, 600 };
        for (size_t i = 0; i < 2; i++) {
            const sizes s = { g->tile, keys[i], 16, 16 };
            gk_attention t = { .scale = 0.5f, .n_masks = 1 };
            t.masks[0].at = &masks[0][0][0];
            t.masks[0].row = KEYS;
            fill();
            for (size_t j = 0; j < s.keys; j++) {
                masks[0][0][j] = j < s.keys - 2 ? -INFINITY : 0.0f; /* all but the last */
                masks[0][1][j] = j ? -INFINITY : 0.0f;              /* all but the first */
                masks[0][2][j] = -INFINITY;                         /* all: NaN */
                masks[0][3][j] = -3.4028235e38f;                    /* all alike */
                masks[0][4][j] = j % 3 ? -3.4028235e38f : 0.0f;
            }
            masks[0][5][s.keys / 2] = NAN;
            run(g, s, &t);
            t.n_masks = 0;
            q[0][0] = INFINITY;
            q[1][3] = NAN;
            run(g, s, &t);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sums), cmocka_unit_test(special) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
