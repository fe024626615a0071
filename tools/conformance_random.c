/* Outputs that are drawn: another generator gives other numbers, so they are held against what the model says of them.
 *
 *   Bernoulli, also written out as RandomUniformLike, a comparison and Cast: zeros and ones; never one where the
 *     probability is 0, nor zero where it is 1; as many ones as the probabilities add up to
 *   Dropout in training: x / (1 - ratio) or zero; the mask says which; as many as the ratio leaves
 *   anything else: the two-sample Kolmogorov-Smirnov distance to the answer that came with the test, which is a draw too
 *
 * Counts may be 5 standard deviations off, the distance what one pair of samples in 100,000 exceeds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"

/* ---- which outputs ---- */

enum { MOST_TAINTED = 1 << 12 };

static bool is_in(gopt_value *const *list, size_t n, const gopt_value *v)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == v)
            return true;
    return false;
}

bool output_is_random(const gopt_graph *g, size_t i)
{
    gopt_value *tainted[MOST_TAINTED];
    size_t n = 0;
    for (gopt_node *at = gopt_graph_first_node(g); at; at = gopt_node_next(at)) {
        bool is = gopt_node_is_random(at);
        if (is && gopt_node_depth(at))
            return true; /* inside a block, whose results may go anywhere */
        for (size_t k = 0; n && k < gopt_node_input_count(at) && !is; k++)
            is = is_in(tainted, n, gopt_node_input(at, k));
        for (size_t k = 0; is && gopt_node_output(at, k); k++) {
            if (n == MOST_TAINTED)
                return true;
            tainted[n++] = gopt_node_output(at, k);
        }
    }
    return is_in(tainted, n, gopt_graph_get_output(g, i));
}

/* ---- what is drawn ---- */

static bool is_op(const gopt_node *n, const char *op)
{
    return n && !strcmp(gopt_node_op(n), op) && !*gopt_node_domain(n);
}

/* The tensor that was given for a value; NULL where it is no input of the graph. */
static const gopt_tensor *given(const gopt_graph *g, gopt_tensor *const *in, const gopt_value *v)
{
    for (size_t i = 0; v && i < gopt_graph_input_count(g); i++)
        if (gopt_graph_get_input(g, i) == v)
            return in[i];
    return NULL;
}

/* The probabilities of ones, where output i is such a draw. */
static const gopt_tensor *probabilities(const gopt_graph *g, size_t i, gopt_tensor *const *in)
{
    const gopt_node *n = gopt_value_producer(gopt_graph_get_output(g, i));
    for (int k = 0; k < 8 && (is_op(n, "Cast") || is_op(n, "CastLike") || is_op(n, "Identity")); k++)
        n = gopt_value_producer(gopt_node_input(n, 0));
    if (is_op(n, "Bernoulli"))
        return given(g, in, gopt_node_input(n, 0));
    const bool greater = is_op(n, "Greater") || is_op(n, "GreaterOrEqual");
    if (!greater && !is_op(n, "Less") && !is_op(n, "LessOrEqual"))
        return NULL;
    const gopt_node *drawn = gopt_value_producer(gopt_node_input(n, greater ? 1 : 0));
    return is_op(drawn, "RandomUniformLike") ? given(g, in, gopt_node_input(n, greater ? 0 : 1)) : NULL;
}

static bool refuse(char *why, size_t size, const char *what, long long at, double found)
{
    snprintf(why, size, "at element %lld: %.7g, %s", at, found, what);
    return false;
}

/* Is the number of hits near what it is on average? */
static bool count_fits(double hits, double mean, double variance, char *why, size_t size)
{
    if (fabs(hits - mean) <= 5 * sqrt(variance) + 0.5)
        return true;
    snprintf(why, size, "holds %.0f that are not zero, expected about %.1f (standard deviation %.1f)", hits, mean,
             sqrt(variance));
    return false;
}

static bool bernoulli_fits(const gopt_tensor *y, const gopt_tensor *p, char *why, size_t size)
{
    double ones = 0, mean = 0, variance = 0;
    const int64_t n = gopt_tensor_elements(y);
    if (gopt_tensor_elements(p) != n) {
        snprintf(why, size, "has %lld elements for %lld probabilities", (long long)n,
                 (long long)gopt_tensor_elements(p));
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        const double v = gopt_tensor_get_f64(y, i), q = gopt_tensor_get_f64(p, i);
        if ((v != 0 && v != 1) || (q <= 0 && v != 0) || (q >= 1 && v != 1))
            return refuse(why, size,
                          q <= 0   ? "expected 0"
                          : q >= 1 ? "expected 1"
                                   : "expected 0 or 1",
                          (long long)i, v);
        ones += v;
        mean += q;
        variance += q * (1 - q);
    }
    return count_fits(ones, mean, variance, why, size);
}

/* ---- Dropout ---- */

typedef struct dropout {
    const gopt_tensor *x, *y, *mask; /* y or mask may be NULL */
    double ratio;
} dropout;

/* What a run gave for a value; NULL where that is no output of the graph. */
static const gopt_tensor *answer(const gopt_graph *g, const answers *out, const gopt_value *v)
{
    for (size_t i = 0; v && i < out->n; i++)
        if (gopt_graph_get_output(g, i) == v)
            return out->p[i];
    return NULL;
}

static bool is_dropout(const gopt_graph *g, size_t i, gopt_tensor *const *in, const answers *out, dropout *d)
{
    const gopt_node *n = gopt_value_producer(gopt_graph_get_output(g, i));
    if (!is_op(n, "Dropout"))
        return false;
    const gopt_tensor *ratio = given(g, in, gopt_node_input(n, 1));
    *d = (dropout){ .x = given(g, in, gopt_node_input(n, 0)),
                    .y = answer(g, out, gopt_node_output(n, 0)),
                    .mask = answer(g, out, gopt_node_output(n, 1)),
                    .ratio = ratio && gopt_tensor_elements(ratio) == 1 ? gopt_tensor_get_f64(ratio, 0) : 0.5 };
    return d->x && (ratio || !gopt_node_input(n, 1));
}

static bool dropout_fits(const dropout *d, char *why, size_t size)
{
    const int64_t n = gopt_tensor_elements(d->x);
    double kept = 0;
    for (int64_t i = 0; i < n; i++) {
        const double x = gopt_tensor_get_f64(d->x, i), scaled = x / (1 - d->ratio);
        const double y = d->y ? gopt_tensor_get_f64(d->y, i) : 0;
        const bool there = d->mask ? gopt_tensor_get_i64(d->mask, i) != 0 : y != 0;
        const double want = there ? scaled : 0;
        if (d->y && !(fabs(y - want) <= 1e-7 + 1e-3 * fabs(want))) {
            snprintf(why, size, "at element %lld: %.7g, expected %.7g%s or 0 (of %.7g, ratio %g)", (long long)i, y,
                     want, d->mask ? ", as the mask says," : "", x, d->ratio);
            return false;
        }
        kept += there;
    }
    return count_fits(kept, (double)n * (1 - d->ratio), (double)n * d->ratio * (1 - d->ratio), why, size);
}

/* ---- anything else ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double *sorted(const gopt_tensor *x, int64_t n)
{
    double *v = malloc(((size_t)n + 1) * sizeof *v);
    for (int64_t i = 0; v && i < n; i++)
        v[i] = gopt_tensor_get_f64(x, i);
    if (v)
        qsort(v, (size_t)n, sizeof *v, by_value);
    return v;
}

/* The largest distance between the two samples' shares of numbers up to a value. */
static double distance(const double *a, const double *b, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0, k = 0; i < n && k < n;) {
        const double at = fmin(a[i], b[k]);
        while (i < n && a[i] <= at)
            i++;
        while (k < n && b[k] <= at)
            k++;
        worst = fmax(worst, fabs((double)i - (double)k) / (double)n);
    }
    return worst;
}

static bool samples_fit(const gopt_tensor *y, const gopt_tensor *want, char *why, size_t size)
{
    const int64_t n = gopt_tensor_elements(y);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(gopt_tensor_get_f64(y, i)))
            return refuse(why, size, "expected a number", (long long)i, gopt_tensor_get_f64(y, i));
    double *a = sorted(y, n), *b = sorted(want, n);
    const double d = a && b ? distance(a, b, n) : 1, most = sqrt(-log(1e-5 / 2) / (double)(n > 0 ? n : 1));
    free(a);
    free(b);
    if (d <= most)
        return true;
    snprintf(why, size,
             "is distributed otherwise: Kolmogorov-Smirnov distance %.3g of %lld elements, expected up to %.3g", d,
             (long long)n, most);
    return false;
}

bool random_fits(const gopt_graph *g, size_t i, gopt_tensor *const *in, const answers *out, const gopt_tensor *want,
                 char *why, size_t size)
{
    const gopt_tensor *y = out->p[i];
    char a[128] = "nothing", b[128];
    const bool tensors = y && y->kind == GOPT_TENSOR && want->kind == GOPT_TENSOR;
    if (!tensors || y->dtype != want->dtype || y->rank != want->rank ||
        (y->rank && memcmp(y->dims, want->dims, (size_t)y->rank * sizeof y->dims[0]) != 0)) {
        if (y)
            type_text(y, a, sizeof a);
        type_text(want, b, sizeof b);
        snprintf(why, size, "is %s, expected %s", a, b);
        return false;
    }
    dropout d;
    if (is_dropout(g, i, in, out, &d))
        return dropout_fits(&d, why, size);
    const gopt_tensor *p = probabilities(g, i, in);
    return p ? bernoulli_fits(y, p, why, size) : samples_fit(y, want, why, size);
}
