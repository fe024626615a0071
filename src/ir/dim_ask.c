/* What is known of a dimension: bounds, equality, its value, its symbols. */
#include "ir/dim_form.h"

/* ---- bounds ---- */

static bool term_bounds(const term *x, int64_t *lo, int64_t *hi, bool *has_hi)
{
    int64_t l = 1, h = 1;
    *has_hi = true;
    for (uint32_t i = 0; i < x->n; i++) {
        int64_t fl, fh;
        if (!gi_dim_lower(x->f[i], &fl) || fl < 0 || !gi_mul_i64(l, fl, &l))
            return false;
        if (*has_hi && (!gi_dim_upper(x->f[i], &fh) || !gi_mul_i64(h, fh, &h)))
            *has_hi = false;
    }
    *lo = l;
    *hi = h;
    return true;
}

/* The lower bound of d (sign 1), or of -d (sign -1). */
static bool sum_lower(const gi_dim *d, int sign, int64_t *bound)
{
    int64_t total;
    if (!gi_mul_i64(d->c, sign, &total))
        return false;
    for (uint32_t i = 0; i < d->n; i++) {
        int64_t lo, hi, part, coef;
        bool has_hi;
        if (!term_bounds(&d->t[i], &lo, &hi, &has_hi) || !gi_mul_i64(d->t[i].coef, sign, &coef))
            return false;
        if (coef < 0 && !has_hi)
            return false;
        if (!gi_mul_i64(coef, coef > 0 ? lo : hi, &part) || !gi_add_i64(total, part, &total))
            return false;
    }
    *bound = total;
    return true;
}

bool gi_dim_lower(const gi_dim *d, int64_t *bound)
{
    int64_t x, y;
    switch (d->kind) {
    case SUM:
        return sum_lower(d, 1, bound);
    case SYMBOL:
        *bound = 0;
        return d->nonnegative;
    case FLOORDIV:
        if (!gi_dim_lower(d->a, &x))
            return false;
        if (gi_dim_is_const(d->b, &y) && y > 0) {
            *bound = gi_floordiv(x, y);
            return true;
        }
        *bound = 0;
        return x >= 0 && gi_dim_lower(d->b, &y) && y >= 0;
    case MIN:
        if (!gi_dim_lower(d->a, &x) || !gi_dim_lower(d->b, &y))
            return false;
        *bound = gi_min_i64(x, y);
        return true;
    case MAX: {
        const bool has_x = gi_dim_lower(d->a, &x), has_y = gi_dim_lower(d->b, &y);
        *bound = has_x && has_y ? gi_max_i64(x, y) : has_x ? x : has_y ? y : 0;
        return has_x || has_y;
    }
    }
    return false;
}

bool gi_dim_upper(const gi_dim *d, int64_t *bound)
{
    int64_t x, y;
    switch (d->kind) {
    case SUM:
        return sum_lower(d, -1, &x) && gi_mul_i64(x, -1, bound);
    case SYMBOL:
        return false;
    case FLOORDIV:
        if (!gi_dim_upper(d->a, &x) || !gi_dim_is_const(d->b, &y) || y <= 0)
            return false;
        *bound = gi_floordiv(x, y);
        return true;
    case MIN: {
        const bool has_x = gi_dim_upper(d->a, &x), has_y = gi_dim_upper(d->b, &y);
        *bound = has_x && has_y ? gi_min_i64(x, y) : has_x ? x : has_y ? y : 0;
        return has_x || has_y;
    }
    case MAX:
        if (!gi_dim_upper(d->a, &x) || !gi_dim_upper(d->b, &y))
            return false;
        *bound = gi_max_i64(x, y);
        return true;
    }
    return false;
}

/* ---- asking ---- */

bool gi_dim_is_const(const gi_dim *d, int64_t *v)
{
    if (!d || d->kind != SUM || d->n)
        return false;
    if (v)
        *v = d->c;
    return true;
}

bool gi_dim_is(const gi_dim *d, int64_t v)
{
    int64_t c;
    return gi_dim_is_const(d, &c) && c == v;
}

const char *gi_dim_symbol(const gi_dim *d)
{
    return d->kind == SYMBOL ? d->name : NULL;
}

bool gi_dim_is_unknown(const gi_dim *d)
{
    return d->unknown;
}

int gi_dim_equal(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    if (a == b)
        return 1;
    const gi_dim *d = gi_dim_sub(t, a, b);
    int64_t v;
    if (!d)
        return -1;
    if (gi_dim_is_const(d, &v))
        return v == 0;
    if ((gi_dim_lower(d, &v) && v > 0) || (gi_dim_upper(d, &v) && v < 0))
        return 0;
    return -1;
}

/* `each`: the value of symbols that are not bound; NULL: they have none. */
static bool eval(const gi_dim *d, const gi_binding *b, size_t n, const int64_t *each, int64_t *out)
{
    int64_t x, y;
    if (d->kind == SYMBOL) {
        for (size_t i = 0; i < n; i++)
            if (b[i].symbol == d) {
                *out = b[i].value;
                return true;
            }
        if (each)
            *out = *each;
        return each != NULL;
    }
    if (d->kind != SUM) {
        if (!eval(d->a, b, n, each, &x) || !eval(d->b, b, n, each, &y))
            return false;
        if (d->kind == FLOORDIV) {
            if (y == 0 || (x == INT64_MIN && y == -1))
                return false;
            *out = gi_floordiv(x, y);
        } else {
            *out = d->kind == MIN ? gi_min_i64(x, y) : gi_max_i64(x, y);
        }
        return true;
    }
    int64_t total = d->c;
    for (uint32_t i = 0; i < d->n; i++) {
        int64_t p = d->t[i].coef;
        for (uint32_t k = 0; k < d->t[i].n; k++)
            if (!eval(d->t[i].f[k], b, n, each, &x) || !gi_mul_i64(p, x, &p))
                return false;
        if (!gi_add_i64(total, p, &total))
            return false;
    }
    *out = total;
    return true;
}

bool gi_dim_eval(const gi_dim *d, const gi_binding *b, size_t n, int64_t *out)
{
    return eval(d, b, n, NULL, out);
}

bool gi_dim_eval_each(const gi_dim *d, int64_t value, int64_t *out)
{
    return eval(d, NULL, 0, &value, out);
}

void gi_dim_each_symbol(const gi_dim *d, void (*f)(void *arg, const gi_dim *symbol), void *arg)
{
    if (d->kind == SYMBOL) {
        f(arg, d);
    } else if (d->kind != SUM) {
        gi_dim_each_symbol(d->a, f, arg);
        gi_dim_each_symbol(d->b, f, arg);
    } else {
        for (uint32_t i = 0; i < d->n; i++)
            for (uint32_t k = 0; k < d->t[i].n; k++)
                gi_dim_each_symbol(d->t[i].f[k], f, arg);
    }
}
