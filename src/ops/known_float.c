/* What is known of integers that were computed in floats.
 *
 *     %h = Cast(Shape(x)[2]) to float          h
 *     %m = Mul %h, 0.5                         h/2, exactly
 *     %f = Floor %m                            floor(h/2)
 *     %i = Cast %f to i64                      floor(h/2): known contents again
 *
 * Exporters compute sizes so: scale factors are floats. No float tensor carries contents; where a Cast to integers
 * ends such a chain, its way is traced back, and every element is a fraction of a dim expression by a constant. A
 * float is not a fraction: what rounds would be another number, so only what is exact in the float's type is
 * followed, for sizes below a million in f32 and far beyond in f64 (a dim that is larger has no float scale factors).
 * A quotient that is rounded (h/3) may still be rounded down, up or toward zero: the nearest float to num/den lies on
 * the same side of every integer as num/den itself, as long as num is exact. */
#include <math.h>

#include "ops/known.h"
#include "ops/move.h"

enum { MOST_STEPS = 256, MOST_DEPTH = 24, MOST_FACTOR = 16, MOST_SHIFT = 16 };

typedef struct fraction {
    const gi_dim *num;
    int64_t den;  /* positive */
    bool rounded; /* the float is the nearest one to num/den: nothing but rounding to integers may follow */
} fraction;

typedef struct tracer {
    gi_infer *c;
    int steps; /* left: a chain may fork at every operator */
} tracer;

static const fraction *trace(tracer *t, const gi_value *v, int depth, uint32_t *n);

static bool is_wide_float(gopt_dtype t)
{
    return t == GOPT_F32 || t == GOPT_F64;
}

static bool is_known_int(gopt_dtype t)
{
    return t == GOPT_I32 || t == GOPT_I64;
}

/* A float constant as num / 2^k with a small odd part: its product with a size is exact. */
static bool fraction_of(gi_dims *dims, double x, fraction *f)
{
    int64_t den = 1;
    if (!(fabs(x) < 1 << 20))
        return false;
    for (int k = 0; k < MOST_SHIFT && x != floor(x); k++) {
        x *= 2;
        den *= 2;
    }
    if (x != floor(x) || (den > 1 && fabs(x) > 1 << 20))
        return false;
    *f = (fraction){ gi_dim_const(dims, (int64_t)x), den, false };
    return true;
}

static bool is_power_of_two(int64_t v)
{
    return v > 0 && (v & (v - 1)) == 0;
}

/* Is a product with this constant exact in f32 for sizes below a million? Its odd part says. */
static bool is_small_factor(const fraction *f)
{
    int64_t v;
    if (!gi_dim_is_const(f->num, &v))
        return false;
    while (v && v % 2 == 0)
        v /= 2;
    return v >= -MOST_FACTOR && v <= MOST_FACTOR;
}

/* Divides both by a common power of two where the numerator has it, as canonical dims show it. */
static fraction reduced(gi_dims *dims, fraction f)
{
    while (f.den > 1) {
        const int64_t by = f.den % 2 == 0 ? 2 : f.den;
        const gi_dim *num = gi_dim_div_exact(dims, f.num, gi_dim_const(dims, by));
        if (!num)
            break;
        f.num = num;
        f.den /= by;
    }
    return f;
}

static bool multiply(tracer *t, const fraction *a, const fraction *b, bool wide, fraction *r)
{
    gi_dims *dims = t->c->g->dims;
    if (a->rounded || b->rounded || (!wide && !is_small_factor(a) && !is_small_factor(b)) ||
        !gi_mul_i64(a->den, b->den, &r->den))
        return false;
    r->num = gi_dim_mul(dims, a->num, b->num);
    r->rounded = false;
    return r->num != NULL;
}

static bool divide(tracer *t, const fraction *a, const fraction *b, fraction *r)
{
    gi_dims *dims = t->c->g->dims;
    int64_t by;
    if (a->rounded || b->rounded)
        return false;
    const gi_dim *num = gi_dim_mul(dims, a->num, gi_dim_const(dims, b->den));
    const gi_dim *den = gi_dim_mul(dims, b->num, gi_dim_const(dims, a->den));
    if (!num || !den || gi_dim_is(den, 0))
        return false;
    const gi_dim *whole = gi_dim_div_exact(dims, num, den);
    if (whole) {
        *r = (fraction){ whole, 1, false };
        return true;
    }
    if (!gi_dim_is_const(den, &by) || by <= 0 || by > 1 << 20)
        return false;
    *r = (fraction){ num, by, false };
    *r = reduced(dims, *r);
    r->rounded = !is_power_of_two(r->den);
    return !r->rounded || (a->den == 1 && b->den == 1);
}

static bool add(tracer *t, const fraction *a, const fraction *b, bool minus, fraction *r)
{
    gi_dims *dims = t->c->g->dims;
    if (a->rounded || b->rounded || !gi_mul_i64(a->den, b->den, &r->den))
        return false;
    const gi_dim *x = gi_dim_mul(dims, a->num, gi_dim_const(dims, b->den));
    const gi_dim *y = gi_dim_mul(dims, b->num, gi_dim_const(dims, a->den));
    *r = (fraction){ x && y ? (minus ? gi_dim_sub(dims, x, y) : gi_dim_add(dims, x, y)) : NULL, r->den, false };
    if (r->num)
        *r = reduced(dims, *r);
    return r->num && r->den <= 1 << 20;
}

static bool to_integer(tracer *t, const fraction *a, bool up, fraction *r)
{
    gi_dims *dims = t->c->g->dims;
    const gi_dim *den = gi_dim_const(dims, a->den);
    *r = (fraction){ a->den == 1 ? a->num
                     : up        ? gi_dim_ceildiv(dims, a->num, den)
                                 : gi_dim_floordiv(dims, a->num, den),
                     1, false };
    return r->num != NULL;
}

static bool binary(tracer *t, const gi_node *n, const fraction *a, const fraction *b, fraction *r)
{
    gi_dims *dims = t->c->g->dims;
    switch ((int)n->op) {
    case OP_Mul:
        return multiply(t, a, b, n->out[0]->type && n->out[0]->type->dtype == GOPT_F64, r);
    case OP_Div:
        return divide(t, a, b, r);
    case OP_Add:
    case OP_Sub:
        return add(t, a, b, n->op == OP_Sub, r);
    case OP_Min:
    case OP_Max:
        if (a->rounded || b->rounded || a->den != b->den)
            return false;
        *r = (fraction){ n->op == OP_Min ? gi_dim_min(dims, a->num, b->num) : gi_dim_max(dims, a->num, b->num), a->den,
                         false };
        return r->num != NULL;
    default:
        return false;
    }
}

static const fraction *trace_binary(tracer *t, const gi_node *n, int depth, uint32_t *count)
{
    uint32_t na, nb;
    const fraction *a = trace(t, gi_node_in(n, 0), depth, &na), *b = a ? trace(t, gi_node_in(n, 1), depth, &nb) : NULL;
    if (!b || (na != 1 && nb != 1 && na != nb))
        return NULL;
    *count = na == 1 ? nb : na;
    fraction *r = GI_NEW_ARRAY(t->c->scratch, fraction, *count + 1);
    for (uint32_t i = 0; r && i < *count; i++)
        if (!binary(t, n, &a[na == 1 ? 0 : i], &b[nb == 1 ? 0 : i], &r[i]))
            return NULL;
    return r;
}

static const fraction *trace_rounding(tracer *t, const gi_node *n, int depth, uint32_t *count)
{
    const fraction *a = trace(t, gi_node_in(n, 0), depth, count);
    fraction *r = a ? GI_NEW_ARRAY(t->c->scratch, fraction, *count + 1) : NULL;
    for (uint32_t i = 0; r && i < *count; i++)
        if (!to_integer(t, &a[i], n->op == OP_Ceil, &r[i]))
            return NULL;
    return r;
}

static const fraction *trace_concat(tracer *t, const gi_node *n, int depth, uint32_t *count)
{
    fraction *r = GI_NEW_ARRAY(t->c->scratch, fraction, GI_KNOWN_MAX);
    *count = 0;
    if (!r || !n->out[0]->type || n->out[0]->type->rank != 1)
        return NULL;
    for (uint32_t i = 0; i < n->n_in; i++) {
        uint32_t m;
        const fraction *a = trace(t, gi_node_in(n, i), depth, &m);
        if (!a || *count + m > GI_KNOWN_MAX)
            return NULL;
        memcpy(r + *count, a, m * sizeof *a);
        *count += m;
    }
    return r;
}

/* Entries of a vector that a constant names. */
static const fraction *trace_gather(tracer *t, const gi_node *n, int depth, uint32_t *count)
{
    uint32_t m, n_at;
    int64_t *at;
    gi_infer of = { .g = t->c->g, .n = (gi_node *)(uintptr_t)n, .scratch = t->c->scratch };
    const fraction *a = trace(t, gi_node_in(n, 0), depth, &m);
    if (!a || gi_infer_rank(&of, 0) != 1 || !gi_infer_ints(&of, 1, t->c->scratch, &n_at, &at) || n_at > GI_KNOWN_MAX)
        return NULL;
    fraction *r = GI_NEW_ARRAY(t->c->scratch, fraction, n_at + 1);
    for (uint32_t i = 0; r && i < n_at; i++) {
        int k;
        if (!gi_axis(at[i], (int)m, &k))
            return NULL;
        r[i] = a[k];
    }
    *count = n_at;
    return r;
}

static const fraction *trace_constant(tracer *t, const gi_blob *b, uint32_t *count)
{
    const int64_t n = gi_blob_elements(b);
    if (n > GI_KNOWN_MAX || b->rank > 1 || !is_wide_float(b->dtype))
        return NULL;
    fraction *r = GI_NEW_ARRAY(t->c->scratch, fraction, n + 1);
    for (int64_t i = 0; r && i < n; i++)
        if (!fraction_of(t->c->g->dims, gi_load_f64(b->dtype, b->data, (size_t)i), &r[i]) || !r[i].num)
            return NULL;
    *count = (uint32_t)n;
    return r;
}

static const fraction *trace_integers(tracer *t, gi_value *v, uint32_t *count)
{
    const gi_dim *const *known = is_known_int(v->type->dtype) ? gi_value_known(v, count) : NULL;
    fraction *r = known ? GI_NEW_ARRAY(t->c->scratch, fraction, *count + 1) : NULL;
    for (uint32_t i = 0; r && i < *count; i++) {
        int64_t x;
        if (gi_dim_is_const(known[i], &x) && (x > 1 << 20 || x < -(1 << 20)))
            return NULL;
        r[i] = (fraction){ known[i], 1, false };
    }
    return r;
}

static const fraction *trace_node(tracer *t, const gi_node *n, int depth, uint32_t *count)
{
    gi_value *in = gi_node_in(n, 0);
    if (!in || !in->type || in->type->kind != GOPT_TENSOR)
        return NULL;
    switch ((int)n->op) {
    case OP_Cast:
        return is_wide_float(in->type->dtype) ? trace(t, in, depth, count) : trace_integers(t, in, count);
    case OP_Mul:
    case OP_Div:
    case OP_Add:
    case OP_Sub:
        return trace_binary(t, n, depth, count);
    case OP_Min:
    case OP_Max:
        return n->n_in == 2 ? trace_binary(t, n, depth, count) : NULL;
    case OP_Floor:
    case OP_Ceil:
        return trace_rounding(t, n, depth, count);
    case OP_Concat:
        return trace_concat(t, n, depth, count);
    case OP_Gather:
        return trace_gather(t, n, depth, count);
    case OP_Identity:
    case OP_Reshape:
    case OP_Squeeze:
    case OP_Unsqueeze:
    case OP_Flatten:
        return trace(t, in, depth, count);
    default:
        return NULL;
    }
}

static const fraction *trace(tracer *t, const gi_value *v, int depth, uint32_t *n)
{
    *n = 0;
    if (!v || depth > MOST_DEPTH || t->steps-- <= 0 || !v->type || v->type->kind != GOPT_TENSOR ||
        !is_wide_float(v->type->dtype) || v->type->rank < 0)
        return NULL;
    const gi_blob *b = gi_value_blob(v);
    const gi_node *node = gi_value_node(v);
    return b ? trace_constant(t, b, n) : node ? trace_node(t, node, depth + 1, n) : NULL;
}

const gi_dim *const *gi_known_truncated(gi_infer *c, uint32_t in, uint32_t *n)
{
    tracer t = { .c = c, .steps = MOST_STEPS };
    const fraction *f = trace(&t, gi_node_in(c->n, in), 0, n);
    const gi_dim **r = f && *n ? GI_NEW_ARRAY(c->scratch, const gi_dim *, *n) : NULL;
    for (uint32_t i = 0; r && i < *n; i++) {
        fraction whole;
        int64_t least;
        const bool positive = gi_dim_lower(f[i].num, &least) && least >= 0;
        r[i] = f[i].den == 1 ? f[i].num : positive && to_integer(&t, &f[i], false, &whole) ? whole.num : NULL;
    }
    return r;
}
