/* Special functions, in double, each to about its precision: operators of gopt's own.
 *
 * Formulas are those of the NIST Digital Library of Mathematical Functions, by section. */
#include "ops/eval.h"
#include "ops/infer.h"

#include <math.h>

static gopt_status infer_special(gi_infer *c)
{
    return gi_infer_same_type(c);
}

/* ---- gamma and its kin ---- */

/* Is x a pole: zero or a negative whole number? */
static bool at_pole(double x)
{
    return x <= 0 && x == floor(x);
}

static double log_gamma(double x)
{
    return at_pole(x) ? INFINITY : isinf(x) ? INFINITY : lgamma_r(x, &(int){ 0 });
}

/* Recurrence upwards to x ≥ 10 (DLMF 5.5.2), the asymptotic series there (5.11.2); reflection below zero (5.5.4). */
static double digamma(double x)
{
    static const double b[] = { 1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132, -691.0 / 32760, 1.0 / 12 };
    if (x == 0)
        return copysign(INFINITY, -x);
    if (isnan(x) || isinf(x))
        return x < 0 ? NAN : x;
    if (x < 0) {
        if (at_pole(x))
            return NAN;
        const double fraction = x - floor(x);
        return digamma(1 - x) - M_PI / tan(M_PI * fraction);
    }
    double sum = 0;
    for (; x < 10; x++)
        sum -= 1 / x;
    const double z = 1 / (x * x);
    double series = 0;
    for (size_t i = GI_COUNT(b); i-- > 0;)
        series = (series + b[i]) * z;
    return sum + log(x) - 0.5 / x - series;
}

/* Hurwitz zeta(s, q), s > 1, by Euler and Maclaurin's formula (DLMF 25.11.5): ten terms, then the integral and its
 * corrections by Bernoulli numbers. */
static double hurwitz(double s, double q)
{
    static const double b2[] = { 1.0 / 6,  -1.0 / 30,     1.0 / 42, -1.0 / 30,
                                 5.0 / 66, -691.0 / 2730, 7.0 / 6,  -3617.0 / 510 };
    if (at_pole(q))
        return INFINITY;
    if (q < 0 && s != floor(s))
        return NAN;
    double sum = 0;
    int steps = 0;
    for (; steps < 10 || (q < 1 && steps < 1 << 20); q++, steps++)
        sum += pow(q, -s);
    sum += pow(q, 1 - s) / (s - 1) + 0.5 * pow(q, -s);
    double rising = s, power = pow(q, -s - 1), factorial = 2;
    for (size_t i = 0; i < GI_COUNT(b2); i++) {
        const double k = 2 * (double)(i + 1);
        sum += b2[i] / factorial * rising * power;
        rising *= (s + k - 1) * (s + k);
        power /= q * q;
        factorial *= (k + 1) * (k + 2);
    }
    return sum;
}

/* (−1)ⁿ⁺¹ n! ζ(n + 1, x), DLMF 5.15.1. */
static double polygamma(double x, int64_t n)
{
    if (n == 0)
        return digamma(x);
    if (n == 1 && x < 0 && !at_pole(x)) { /* reflection, DLMF 5.15.6 */
        const double s = sin(M_PI * (x - floor(x)));
        return M_PI * M_PI / (s * s) - polygamma(1 - x, 1);
    }
    const double sign = n % 2 ? 1 : -1;
    return sign * tgamma((double)n + 1) * hurwitz((double)n + 1, x);
}

/* ---- Bessel functions ---- */

/* exp(−x) Iₙ(x) for x ≥ 0: the power series (DLMF 10.25.2) while its terms, all positive, fit a double; beyond 30 the
 * asymptotic series (10.40.1), cut off at its least term. */
static double bessel_scaled(int order, double x)
{
    if (isnan(x))
        return x;
    if (isinf(x))
        return 0;
    if (x <= 30) {
        const double q = x * x / 4;
        double term = order ? x / 2 : 1, sum = term;
        for (int k = 1; k < 200 && term > sum * 1e-17; k++) {
            term *= q / ((double)k * (k + order));
            sum += term;
        }
        return sum * exp(-x);
    }
    const double mu = 4.0 * order * order;
    double term = 1, sum = 1;
    for (int k = 1; k < 60; k++) {
        const double odd = 2.0 * k - 1, next = -term * (mu - odd * odd) / (8.0 * k * x);
        if (fabs(next) >= fabs(term))
            break;
        sum += next;
        term = next;
    }
    return sum / sqrt(2 * M_PI * x);
}

static double i0e(double x)
{
    return bessel_scaled(0, fabs(x));
}

static double i0(double x)
{
    return isinf(x) ? INFINITY : i0e(x) * exp(fabs(x));
}

static double i1e(double x)
{
    return copysign(bessel_scaled(1, fabs(x)), x);
}

static double i1(double x)
{
    return isinf(x) ? x : i1e(x) * exp(fabs(x));
}

/* ---- error functions and the normal distribution ---- */

/* exp(x²)·erfc(x): the product while erfc is no denormal, its continued fraction (DLMF 7.9.2) beyond. */
static double erfcx(double x)
{
    if (x < 20)
        return exp(x * x) * erfc(x);
    double f = 0;
    for (int k = 30; k >= 1; k--)
        f = (double)k / 2 / (x + f);
    return 1 / sqrt(M_PI) / (x + f);
}

/* x with erfc(x) = p, 0 < p < 2: a start from the tail's form, then Halley's steps, which triple the digits. */
static double erfc_inverse(double p)
{
    if (!(p > 0 && p < 2))
        return p == 0 ? INFINITY : p == 2 ? -INFINITY : NAN;
    const double tail = p < 1 ? p : 2 - p;
    const double t = sqrt(-2 * log(tail / 2));
    double x = tail > 0.5 ? (1 - tail) * 0.886 : t / M_SQRT2 - log(t * 2.5) / (t * M_SQRT2);
    x = x < 0 ? 0 : x;
    for (int i = 0; i < 6; i++) {
        const double error = (erfc(x) - tail) / (2 / sqrt(M_PI) * exp(-x * x));
        x += error / (1 - x * error);
    }
    return p < 1 ? x : -x;
}

/* Near zero erf is solved for itself, since 1 − x would lose x's digits. */
static double erf_inverse(double y)
{
    if (!(fabs(y) < 1))
        return fabs(y) == 1 ? copysign(INFINITY, y) : NAN;
    if (fabs(y) > 0.5)
        return copysign(erfc_inverse(1 - fabs(y)), y);
    double x = y * sqrt(M_PI) / 2;
    for (int i = 0; i < 6; i++) {
        const double error = (erf(x) - y) / (2 / sqrt(M_PI) * exp(-x * x));
        x -= error / (1 + x * error);
    }
    return x;
}

static double log_ndtr(double x)
{
    const double t = -x / M_SQRT2;
    return x < -1 ? log(erfcx(t) / 2) - t * t : log1p(-erfc(-t) / 2);
}

static double ndtri(double p)
{
    return -M_SQRT2 * erfc_inverse(2 * p);
}

/* ---- evaluation ---- */

static gopt_status each(gi_eval *a, double (*f)(double))
{
    const gopt_tensor *x = a->in[0];
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    for (int64_t i = 0, n = gi_product(0, x->rank, x->dims); y && i < n; i++)
        gi_store_f64(y->dtype, y->data, (size_t)i, f(gi_tensor_f64(x, i)));
    return GOPT_OK;
}

#define EVAL(NAME, FUNCTION)                   \
    static gopt_status eval_##NAME(gi_eval *a) \
    {                                          \
        return each(a, FUNCTION);              \
    }
EVAL(lgamma, log_gamma)
EVAL(digamma, digamma)
EVAL(i0, i0)
EVAL(i0e, i0e)
EVAL(i1, i1)
EVAL(i1e, i1e)
EVAL(erfinv, erf_inverse)
EVAL(erfcx, erfcx)
EVAL(log_ndtr, log_ndtr)
EVAL(ndtri, ndtri)

static gopt_status eval_polygamma(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const int64_t order = gi_attr_int(a->n, Polygamma_at_n);
    gopt_tensor *y;
    if (order < 0 || order > 170)
        return gi_eval_fail(a, -1, "n is %lld, expected 0 to 170", (long long)order);
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    for (int64_t i = 0, n = gi_product(0, x->rank, x->dims); y && i < n; i++)
        gi_store_f64(y->dtype, y->data, (size_t)i, polygamma(gi_tensor_f64(x, i), order));
    return GOPT_OK;
}

#include "ops/rows.h"
#include "ir/ops/own.def"
