/* Compares two results within what a rewrite promises. */
#include <math.h>

#include "proof/proof.h"

/* Errors of the graph after, in the errors that were measured of the graph before. */
static const double MARGIN = 16;

typedef struct comparison {
    const gopt_tensor *before, *after;
    const proof_moved *was, *is;
    const proof_terms *terms;
} comparison;

static bool same_shape(const gopt_tensor *a, const gopt_tensor *b)
{
    return a->kind == b->kind && a->dtype == b->dtype && a->rank == b->rank &&
           (!a->rank || !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]));
}

static void add_type(gi_str *s, const gopt_tensor *t)
{
    if (t->kind != GOPT_TENSOR) {
        gi_str_addf(s, "%s of %zu", t->kind == GOPT_SEQUENCE ? "a sequence" : "an optional", t->n_items);
        return;
    }
    gi_str_addf(s, "%s[", gopt_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        gi_str_addf(s, "%s%lld", i ? "," : "", (long long)t->dims[i]);
    gi_str_add(s, "]");
}

/* How far element i moves; NaN where it is not the same kind of number in all runs. */
static double spread(const proof_moved *m, int64_t i)
{
    const double x = gi_tensor_f64(m->base, i);
    double most = 0;
    for (int k = 0; k < m->n; k++) {
        if (!same_shape(m->base, m->run[k]))
            continue;
        const double y = gi_tensor_f64(m->run[k], i);
        if (isnan(x) != isnan(y) || isinf(x) != isinf(y))
            return NAN;
        if (isfinite(x))
            most = fmax(most, fabs(x - y));
        else if (isinf(x) && x != y)
            return NAN;
    }
    return most;
}

static bool same_float(const comparison *c, int64_t i, double *allowed)
{
    const double x = gi_tensor_f64(c->before, i), y = gi_tensor_f64(c->after, i);
    *allowed = 0;
    if (isnan(x) && isnan(y))
        return true;
    if (c->terms->exact == BITWISE || proof_epsilon(c->before->dtype) == 0)
        return x == y && (signbit(x) == signbit(y) || c->terms->picks);
    if (isnan(x) && c->terms->floats == FLOATS_INFINITE)
        return true;
    if (isnan(y) && c->terms->leaves_out && (c->terms->floats == FLOATS_INFINITE || c->terms->floats == FLOATS_NAN))
        return true;
    if (c->terms->exact == FINITE && !isfinite(x))
        return true;
    const double moves = spread(c->was, i) + spread(c->is, i);
    if (isnan(moves))
        return true;
    if (isinf(x) && isinf(y))
        return x == y || c->terms->floats == FLOATS_INFINITE; /* of zeros of other signs come infinities of others */
    if (isfinite(x) && isinf(y))
        return fabs(x) > proof_largest(c->before->dtype) / 16; /* rounding may do that */
    if (!isfinite(x) || !isfinite(y))
        return false;
    *allowed = MARGIN * moves + 4 * proof_epsilon(c->before->dtype) * fabs(x) + proof_negligible(c->before->dtype);
    return fabs(x - y) <= *allowed;
}

/* Of whole numbers, truth values, texts: the same, unless rounding alone changes them. */
static bool same_other(const comparison *c, int64_t i)
{
    const gopt_dtype t = c->before->dtype;
    if (t == GOPT_STRING) {
        const gopt_string *a = (const gopt_string *)c->before->data + i, *b = (const gopt_string *)c->after->data + i;
        return a->n == b->n && (!a->n || !memcmp(a->p, b->p, a->n));
    }
    if (gi_dtype_class(t) == GI_COMPLEX) {
        const size_t size = t == GOPT_C64 ? 8 : 16;
        return !memcmp((const char *)c->before->data + (size_t)i * size,
                       (const char *)c->after->data + (size_t)i * size, size);
    }
    const int64_t x = gi_tensor_i64(c->before, i);
    if (x == gi_tensor_i64(c->after, i))
        return true;
    for (int k = 0; k < c->was->n; k++)
        if (same_shape(c->before, c->was->run[k]) && gi_tensor_i64(c->was->run[k], i) != x)
            return true;
    return false;
}

static bool shape_moves(const comparison *c)
{
    for (int k = 0; k < c->was->n; k++)
        if (!same_shape(c->before, c->was->run[k]))
            return true;
    return false;
}

/* Item i of all runs that have it. */
static proof_moved item(const proof_moved *m, size_t i)
{
    proof_moved r = { .base = m->base->items[i] };
    for (int k = 0; k < m->n; k++)
        if (m->run[k]->n_items == m->base->n_items)
            r.run[r.n++] = m->run[k]->items[i];
    return r;
}

static bool compare_items(const comparison *c, gi_str *why)
{
    if (c->before->n_items != c->after->n_items) {
        add_type(why, c->before);
        gi_str_add(why, " became ");
        add_type(why, c->after);
        return false;
    }
    for (size_t i = 0; i < c->before->n_items; i++) {
        const proof_moved was = item(c->was, i), is = item(c->is, i);
        if (!proof_compare(&was, &is, c->terms, why))
            return false;
    }
    return true;
}

bool proof_compare(const proof_moved *was, const proof_moved *is, const proof_terms *terms, gi_str *why)
{
    const gopt_tensor *before = was->base, *after = is->base;
    const comparison c = { before, after, was, is, terms };
    if (before->kind == after->kind && before->kind != GOPT_TENSOR)
        return compare_items(&c, why);
    if (!same_shape(before, after)) {
        if (shape_moves(&c))
            return true;
        add_type(why, before);
        gi_str_add(why, " became ");
        add_type(why, after);
        return false;
    }
    if (terms->exact != BITWISE && terms->overflows)
        return true;
    for (int64_t i = 0, n = gopt_tensor_elements(before); i < n; i++) {
        double allowed = 0;
        const bool real = gi_dtype_is_float(before->dtype);
        if (real ? same_float(&c, i, &allowed) : same_other(&c, i))
            continue;
        if (real)
            gi_str_addf(why, "element %lld: %.9g became %.9g, where %.3g is allowed", (long long)i,
                        gi_tensor_f64(before, i), gi_tensor_f64(after, i), allowed);
        else if (before->dtype == GOPT_STRING || gi_dtype_class(before->dtype) == GI_COMPLEX)
            gi_str_addf(why, "element %lld differs", (long long)i);
        else
            gi_str_addf(why, "element %lld: %lld became %lld", (long long)i, (long long)gi_tensor_i64(before, i),
                        (long long)gi_tensor_i64(after, i));
        return false;
    }
    return true;
}
