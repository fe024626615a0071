/* How far the kernels' functions are off, in units in the last place, over the floats there are: a stride over all bit
 * patterns, and with GOPT_TEST_FULL every one of them. At every instruction set that the machine has. */
#include "unit/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gk.h"

typedef struct function {
    const char *name;
    gk_vop op;
    double (*exact)(double);
    double ulps;     /* at most so many, of the exact answer's binade */
    double absolute; /* or so far: where the function is a difference of larger numbers, and below normal floats */
} function;

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}

static double softplus(double x)
{
    return x > 40.0 ? x : log1p(exp(x));
}

static const function functions[] = {
    { "exp", GK_V_exp, exp, 4.0, 2e-38 },
    { "log", GK_V_log, log, 4.0, 0.0 },
    { "tanh", GK_V_tanh, tanh, 4.0, 2e-38 },
    { "sigmoid", GK_V_sigmoid, sigmoid, 6.0, 6e-38 },
    { "erf", GK_V_erf, erf, 7.0, 2e-38 },
    { "gelu", GK_V_gelu, gelu, 8.0, 1e-6 },
    { "softplus", GK_V_softplus, softplus, 6.0, 1e-7 },
};

/* The distance from x to the next float of its binade. */
static double ulp(double x)
{
    int e;
    (void)frexp(x, &e);
    return ldexp(1.0, e < -125 ? -149 : e - 24);
}

static void judge(const function *f, gk_isa isa, const float *x, const float *y, size_t n, double *worst)
{
    for (size_t i = 0; i < n; i++) {
        const double exact = f->exact((double)x[i]), got = (double)y[i];
        if (isnan(exact) || isinf(exact) || fabs(exact) > 3.4028234e38) {
            if (!(isnan(exact) ? isnan(got) : got * (exact > 0 ? 1.0 : -1.0) > 3.4e38)) {
                print_error("%s of %a with %s is %g\n", f->name, (double)x[i], gk_isa_name(isa), got);
                fail();
            }
            continue;
        }
        const double off = fabs(got - exact), units = off / ulp(exact);
        if (off > f->absolute && units > *worst)
            *worst = units;
        if (!(units <= f->ulps || off <= f->absolute)) {
            print_error("%s of %a with %s is %a, exactly %a: %g units off\n", f->name, (double)x[i], gk_isa_name(isa),
                        got, exact, units);
            fail();
        }
    }
}

static bool denormal(float x)
{
    return x != 0.0f && fabsf(x) < 1.17549435e-38f;
}

static void within_their_bounds(void **state)
{
    (void)state;
    enum { N = 4096 };
    static float x[N], y[N];
    const uint64_t stride = getenv("GOPT_TEST_FULL") ? 1 : 4999; /* a prime */
    for (size_t k = 0; k < sizeof(functions) / sizeof(*functions); k++)
        for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
            const gk_table *t = gk_get((gk_isa)isa);
            double worst = 0.0;
            size_t n = 0;
            for (uint64_t bits = 0; t && bits < UINT64_C(1) << 32; bits += stride) {
                const uint32_t pattern = (uint32_t)bits;
                memcpy(&x[n], &pattern, sizeof(float));
                n += !denormal(x[n]); /* those count as zero */
                if (n < N && bits + stride < UINT64_C(1) << 32)
                    continue;
                t->vops[functions[k].op](n, x, NULL, NULL, 0.0f, 0.0f, y);
                judge(&functions[k], (gk_isa)isa, x, y, n, &worst);
                n = 0;
            }
            if (t && getenv("GOPT_TEST_FULL"))
                printf("%-9s %-7s %.2f units at most\n", functions[k].name, gk_isa_name((gk_isa)isa), worst);
        }
}

/* x / (1 + e^(-p x)) takes a parameter, and is no better than what its exponential loses far below zero, where it is
 * next to nothing. */
static void swish(void **state)
{
    static const float ps[] = { 1.0f, 1.702f, -0.5f };
    enum { N = 200 };
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *t = gk_get((gk_isa)isa);
        for (size_t k = 0; t && k < sizeof(ps) / sizeof(*ps); k++)
            for (float from = -100.0f; from < 100.0f; from += 1.0f) {
                float x[N], y[N];
                for (int i = 0; i < N; i++)
                    x[i] = from + (float)i / N;
                t->vops[GK_V_swish](N, x, NULL, NULL, ps[k], 0.0f, y);
                for (int i = 0; i < N; i++) {
                    const double exact = (double)x[i] / (1.0 + exp(-(double)ps[k] * (double)x[i]));
                    const double off = fabs((double)y[i] - exact), far = fabs((double)ps[k] * (double)x[i]);
                    assert_true(off <= (4.0 + far) * ulp(exact) || off <= 1e-35);
                }
            }
        if (!t)
            continue;
        float x[] = { INFINITY, 1e30f, -1e30f, NAN, 0.0f, -0.0f }, y[6];
        t->vops[GK_V_swish](6, x, NULL, NULL, 1.0f, 0.0f, y);
        assert_true(y[0] == INFINITY && y[1] == 1e30f && fabsf(y[2]) < 1e-6f && isnan(y[3]) && y[4] == 0.0f &&
                    y[5] == 0.0f);
        t->vops[GK_V_swish](6, x, NULL, NULL, 0.0f, 0.0f, y);
        assert_true(y[1] == 0.5e30f && isnan(y[3]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(within_their_bounds), cmocka_unit_test(swish) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
