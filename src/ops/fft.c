/* Fourier transforms: a length's factors one after another, or a chirp where a factor is large. */
#include "ops/fft.h"

#include <math.h>

/* A factor costs its square for each of the other factors' elements: beyond this a chirp is cheaper. */
enum { FACTOR_MAX = 31, FACTORS = 64 };

#define TWO_PI 6.283185307179586476925286766559L

typedef struct pair {
    double re, im;
} pair;

struct gi_fft {
    int64_t n;
    int n_factors; /* 0: the chirp */
    int factors[FACTORS];
    pair *turns; /* n: e^(∓2πi k/n) */
    pair *room;  /* n */
    /* the chirp: y[k] = c[k] · Σ (x[j] c[j]) c̄[k−j], c[k] = e^(∓πi k²/n), a product of transforms of m ≥ 2n − 1 */
    int64_t m;
    pair *chirp;   /* n */
    pair *answer;  /* m: the transform of c̄ */
    gi_fft *there; /* of m, a power of two; its inverse is the same of conjugates */
    pair *wide;    /* m */
};

static pair times(pair a, pair b)
{
    return (pair){ a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re };
}

/* e^(2πi k/n), 0 ≤ k < n: by the eighth of the circle in which it lies, so that halves and quarters are exact. */
static pair unit(int64_t k, int64_t n)
{
    const long double part = 8.0L * (long double)k / (long double)n;
    const int eighth = (int)part;
    const int64_t quarter = (eighth + 1) / 2; /* turns of a quarter nearest to it */
    const double angle = (double)(((long double)k / (long double)n - (long double)quarter / 4) * TWO_PI);
    const double c = cos(angle), s = sin(angle);
    switch (quarter % 4) {
    case 0:
        return (pair){ c, s };
    case 1:
        return (pair){ -s, c };
    case 2:
        return (pair){ -c, -s };
    default:
        return (pair){ s, -c };
    }
}

/* Factors of n, the fours first; 0 where one is too large. */
static int factorize(int64_t n, int *factors)
{
    int count = 0;
    for (; n % 4 == 0; n /= 4)
        factors[count++] = 4;
    for (int p = 2; p <= FACTOR_MAX && n > 1; p++)
        for (; n % p == 0; n /= p)
            factors[count++] = p;
    return n == 1 ? count : 0;
}

static bool init_chirp(gi_fft *f, gi_arena *a, bool inverse)
{
    f->m = 1;
    while (f->m < 2 * f->n - 1)
        f->m *= 2;
    f->chirp = GI_NEW_ARRAY(a, pair, f->n);
    f->answer = GI_NEW_ARRAY(a, pair, f->m);
    f->wide = GI_NEW_ARRAY(a, pair, f->m);
    if (!f->chirp || !f->answer || !f->wide)
        return false;
    f->there = gi_fft_create(a, f->m, false);
    if (!f->there)
        return false;
    int64_t square = 0; /* k² mod 2n */
    for (int64_t k = 0; k < f->n; k++) {
        const pair u = unit(square, 2 * f->n);
        f->chirp[k] = (pair){ u.re, inverse ? u.im : -u.im };
        square = (square + 2 * k + 1) % (2 * f->n);
    }
    for (int64_t k = 0; k < f->n; k++) {
        const pair c = { f->chirp[k].re, -f->chirp[k].im };
        f->answer[k] = c;
        if (k)
            f->answer[f->m - k] = c;
    }
    gi_fft_run(f->there, &f->answer->re);
    return true;
}

gi_fft *gi_fft_create(gi_arena *a, int64_t n, bool inverse)
{
    gi_fft *f = n <= INT64_MAX / 64 ? GI_NEW(a, gi_fft) : NULL;
    if (!f)
        return NULL;
    f->n = n;
    f->n_factors = factorize(n, f->factors);
    if (n > 1 && !f->n_factors)
        return init_chirp(f, a, inverse) ? f : NULL;
    f->turns = GI_NEW_ARRAY(a, pair, n);
    f->room = GI_NEW_ARRAY(a, pair, n);
    if (!f->turns || !f->room)
        return NULL;
    for (int64_t k = 0; k < n; k++) {
        const pair u = unit(k, n);
        f->turns[k] = (pair){ u.re, inverse ? u.im : -u.im };
    }
    return f;
}

/* One factor p: y[k + s(pq + r)] = w^(qrs) Σ_j x[k + s(q + mj)] u^(jr), with n = s p m, w = turns[1] and u = w^(n/p). */
static void step_any(const gi_fft *f, int p, int64_t s, int64_t m, const pair *x, pair *y)
{
    const int64_t root = f->n / p;
    for (int64_t q = 0; q < m; q++)
        for (int r = 0; r < p; r++) {
            const pair w = f->turns[q * r * s];
            for (int64_t k = 0; k < s; k++) {
                pair sum = x[k + s * q];
                for (int j = 1; j < p; j++) {
                    const pair t = times(x[k + s * (q + m * j)], f->turns[j * r % p * root]);
                    sum.re += t.re;
                    sum.im += t.im;
                }
                y[k + s * (p * q + r)] = times(sum, w);
            }
        }
}

static void step_2(const gi_fft *f, int64_t s, int64_t m, const pair *x, pair *y)
{
    for (int64_t q = 0; q < m; q++) {
        const pair w = f->turns[q * s];
        for (int64_t k = 0; k < s; k++) {
            const pair a = x[k + s * q], b = x[k + s * (q + m)];
            y[k + s * 2 * q] = (pair){ a.re + b.re, a.im + b.im };
            y[k + s * (2 * q + 1)] = times((pair){ a.re - b.re, a.im - b.im }, w);
        }
    }
}

static void step_4(const gi_fft *f, int64_t s, int64_t m, const pair *x, pair *y)
{
    const double i = f->turns[f->n / 4].im; /* a quarter turn is (0, i), i = ±1 */
    for (int64_t q = 0; q < m; q++) {
        const pair w1 = f->turns[q * s], w2 = f->turns[2 * q * s], w3 = f->turns[3 * q * s];
        for (int64_t k = 0; k < s; k++) {
            const pair a = x[k + s * q], b = x[k + s * (q + m)], c = x[k + s * (q + 2 * m)], d = x[k + s * (q + 3 * m)];
            const pair ac = { a.re + c.re, a.im + c.im }, bd = { b.re + d.re, b.im + d.im };
            const pair less = { a.re - c.re, a.im - c.im }, turned = { -i * (b.im - d.im), i * (b.re - d.re) };
            pair *to = y + k + s * 4 * q;
            to[0] = (pair){ ac.re + bd.re, ac.im + bd.im };
            to[s] = times((pair){ less.re + turned.re, less.im + turned.im }, w1);
            to[2 * s] = times((pair){ ac.re - bd.re, ac.im - bd.im }, w2);
            to[3 * s] = times((pair){ less.re - turned.re, less.im - turned.im }, w3);
        }
    }
}

static void run_factors(const gi_fft *f, pair *x)
{
    pair *from = x, *to = f->room;
    int64_t s = 1, left = f->n;
    for (int i = 0; i < f->n_factors; i++) {
        const int p = f->factors[i];
        left /= p;
        if (p == 4)
            step_4(f, s, left, from, to);
        else if (p == 2)
            step_2(f, s, left, from, to);
        else
            step_any(f, p, s, left, from, to);
        s *= p;
        pair *was = from;
        from = to;
        to = was;
    }
    if (from != x)
        memcpy(x, from, (size_t)f->n * sizeof *x);
}

static void run_chirp(const gi_fft *f, pair *x)
{
    const double scale = 1 / (double)f->m;
    memset(f->wide, 0, (size_t)f->m * sizeof *f->wide);
    for (int64_t k = 0; k < f->n; k++)
        f->wide[k] = times(x[k], f->chirp[k]);
    run_factors(f->there, f->wide);
    for (int64_t k = 0; k < f->m; k++) {
        const pair y = times(f->wide[k], f->answer[k]);
        f->wide[k] = (pair){ y.re, -y.im };
    }
    run_factors(f->there, f->wide);
    for (int64_t k = 0; k < f->n; k++)
        x[k] = times((pair){ f->wide[k].re * scale, -f->wide[k].im * scale }, f->chirp[k]);
}

void gi_fft_run(const gi_fft *f, double *x)
{
    pair *pairs = (pair *)(void *)x;
    if (f->n_factors)
        run_factors(f, pairs);
    else if (f->n > 1)
        run_chirp(f, pairs);
}
