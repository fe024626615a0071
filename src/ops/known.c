/* Arithmetic on what is known of the contents of small integer tensors. */
#include "ops/known.h"

enum { CONTENTS_MAX = 64 };

static bool at_least(const gi_dim *d, int64_t least)
{
    int64_t bound;
    return gi_dim_lower(d, &bound) && bound >= least;
}

const gi_dim *gi_known_div(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    int64_t x, y;
    const bool cb = gi_dim_is_const(b, &y);
    if (cb && y == 0)
        return NULL;
    if (cb && gi_dim_is_const(a, &x))
        return x == INT64_MIN && y == -1 ? NULL : gi_dim_const(t, x / y);
    if (at_least(a, 0) && at_least(b, 1))
        return gi_dim_floordiv(t, a, b); /* floor and truncation are one here */
    return cb ? gi_dim_div_exact(t, a, b) : NULL;
}

const gi_dim *gi_known_mod(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return at_least(b, 1) ? gi_dim_mod(t, a, b) : NULL;
}

const gi_dim *gi_known_equal(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    const int e = gi_dim_equal(t, a, b);
    return e < 0 ? NULL : gi_dim_const(t, e);
}

/* a - b >= least: 1 always, 0 never, NULL depends. */
static const gi_dim *difference_at_least(gi_dims *t, const gi_dim *a, const gi_dim *b, int64_t least)
{
    const gi_dim *d = gi_dim_sub(t, a, b);
    int64_t bound;
    if (d && gi_dim_lower(d, &bound) && bound >= least)
        return gi_dim_const(t, 1);
    if (d && gi_dim_upper(d, &bound) && bound < least)
        return gi_dim_const(t, 0);
    return NULL;
}

const gi_dim *gi_known_greater(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return difference_at_least(t, a, b, 1);
}

const gi_dim *gi_known_greater_equal(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return difference_at_least(t, a, b, 0);
}

const gi_dim *gi_known_less(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return difference_at_least(t, b, a, 1);
}

const gi_dim *gi_known_less_equal(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return difference_at_least(t, b, a, 0);
}

const gi_dim *gi_known_and(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    if (gi_dim_is(a, 0) || gi_dim_is(b, 0))
        return gi_dim_const(t, 0);
    return gi_dim_is(a, 1) ? b : gi_dim_is(b, 1) || a == b ? a : NULL;
}

const gi_dim *gi_known_or(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    if (gi_dim_is(a, 1) || gi_dim_is(b, 1))
        return gi_dim_const(t, 1);
    return gi_dim_is(a, 0) ? b : gi_dim_is(b, 0) || a == b ? a : NULL;
}

const gi_dim *gi_known_xor(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    const int e = gi_dim_equal(t, a, b);
    return e < 0 ? NULL : gi_dim_const(t, !e);
}

void gi_known_set(gi_infer *c, uint32_t out, gopt_dtype t, uint32_t n, const gi_dim **known)
{
    bool told = n == 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t v;
        if (!known[i])
            known[i] = gi_dim_unknown(c->g->dims, t == GOPT_BOOL);
        else
            told = true;
        if (!known[i])
            c->no_memory = true;
        else if (t == GOPT_I32 && gi_dim_is_const(known[i], &v) && (v < INT32_MIN || v > INT32_MAX))
            return;
    }
    if (told && !c->no_memory)
        gi_infer_set_known(c, out, n, known);
}

/* Dims never overflow, int64 does: what a huge number is added to stays unknown, unless all of it is a number. */
static const gi_dim *apply(gi_dims *t, gi_known_fn f, const gi_dim *a, const gi_dim *b)
{
    const int64_t huge = INT64_C(1) << 62;
    int64_t x;
    const gi_dim *d = f(t, a, b);
    const bool risky =
        (gi_dim_is_const(a, &x) && (x > huge || x < -huge)) || (gi_dim_is_const(b, &x) && (x > huge || x < -huge));
    return risky && d && !gi_dim_is_const(d, NULL) ? NULL : d;
}

void gi_known_apply(gi_infer *c, gi_known_fn f)
{
    const gopt_dtype t = gi_infer_dtype(c, 0);
    uint32_t n = 1;
    if (c->n->n_in == 0 || (t != GOPT_I32 && t != GOPT_I64 && t != GOPT_BOOL))
        return;
    for (uint32_t i = 0; i < c->n->n_in; i++) {
        uint32_t m;
        if (!gi_infer_known(c, i, &m) || m > CONTENTS_MAX || (m != 1 && n != 1 && m != n))
            return;
        n = m == 1 ? n : m;
    }
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1);
    if (!r) {
        c->no_memory = true;
        return;
    }
    for (uint32_t k = 0; k < c->n->n_in; k++) {
        uint32_t m;
        const gi_dim *const *known = gi_infer_known(c, k, &m);
        for (uint32_t i = 0; i < n; i++) {
            const gi_dim *x = known[m == 1 ? 0 : i];
            r[i] = k == 0 ? x : r[i] ? apply(c->g->dims, f, r[i], x) : NULL;
        }
    }
    gi_known_set(c, 0, c->out[0] && c->out[0]->kind == GOPT_TENSOR ? c->out[0]->dtype : t, n, r);
}
