/* Probes: a cone and what shall replace it, evaluated on the numbers where they might part.
 *
 * Forms are equal in real numbers. Whether an overflow, an infinity or NaN on the way shows in the result depends on
 * how the expression is written: log(1 + exp(x)) is infinite at 100, Softplus is not. That is seen in the element type.
 *
 * And forms take constants that are close for the same: max(x, −2.9999) is max(x, −3) where three digits count, but
 * max(x, −2.9999) − max(x, −3) is not 0. That is seen in f64, where nothing else parts them: the cone is evaluated
 * again and again with all that it reads and computes moved by as much as constants may be apart, which must explain
 * how far its replacement is off. */
#include <float.h>
#include <math.h>

#include "passes/cone.h"

enum { MAX_VALUES = 96, FEW = 8, MOVED = 8, MARGIN = 4 };

typedef struct probe {
    gi_rewrite *r;
    gi_arena *arena;
    int64_t columns; /* of the constant tensor that takes part; 0 where there is none */
    bool wide;       /* in f64 */
    double by;       /* how far numbers are moved, relative to them */
    uint64_t state;
    uint32_t n;
    const gi_value *v[MAX_VALUES];
    gopt_tensor *t[MAX_VALUES];
} probe;

static const double numbers[] = { 0,   1e-40, 1e-20, 1e-8,  1e-4, 0.01,  0.1, 0.25, 0.5,  0.75,    1,
                                  1.5, 2,     2.5,   2.999, 3,    3.001, 3.5, 4,    5,    6,       6.01,
                                  7,   8,     10,    12,    15,   20,    30,  45,   60,   87,      89,
                                  100, 120,   300,   1000,  1e4,  1e6,   1e9, 1e12, 1e15, INFINITY };

/* What the type holds, with room for products of some constants. */
static double greatest(gopt_dtype t)
{
    return t == GOPT_F16 ? 1000 : 1e15;
}

/* A number from the half of the distance on, up or down. Constants that are whole were not rounded. */
static double moved(probe *p, double x, bool constant)
{
    if (constant && x == floor(x))
        return x;
    p->state = p->state * 6364136223846793005u + 1442695040888963407u;
    const double by = p->by * (0.5 + (double)(p->state >> 33) * 0x1p-32);
    return p->state >> 32 & 1 ? x + x * by : x - x * by;
}

/* In f64, and moved, where that is asked for. Takes the reference over. */
static gopt_tensor *widened(probe *p, gopt_tensor *t, bool constant)
{
    gopt_tensor *w = NULL;
    if (!t || !p->wide || !gi_dtype_is_float(t->dtype))
        return t;
    if (gopt_tensor_create(p->r->g->cx, GOPT_F64, t->rank, t->dims, &w) == GOPT_OK)
        for (int64_t i = 0; i < gopt_tensor_elements(w); i++)
            gi_store_f64(GOPT_F64, w->data, (size_t)i, moved(p, gi_tensor_f64(t, i), constant));
    gopt_tensor_unref(t);
    return w;
}

/* Takes the reference over. */
static bool keep(probe *p, const gi_value *v, gopt_tensor *t)
{
    t = widened(p, t, gi_value_blob(v) != NULL);
    if (!t || p->n == MAX_VALUES) {
        gopt_tensor_unref(t);
        return false;
    }
    p->v[p->n] = v;
    p->t[p->n++] = t;
    return true;
}

static gopt_tensor *find(const probe *p, const gi_value *v)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->v[i] == v)
            return p->t[i];
    return NULL;
}

/* x: each number and its opposite, and those beside the places where the form turns; a row each. */
static bool make_x(probe *p, const gi_cut *c)
{
    double x[2 * GI_COUNT(numbers) + 3 * GI_FORM_ATOMS + 1];
    const gopt_dtype type = gi_value_dtype(c->x);
    int64_t n = 0;
    for (size_t i = 0; i < GI_COUNT(numbers); i++)
        if (numbers[i] <= greatest(type) || isinf(numbers[i])) {
            x[n++] = numbers[i];
            x[n++] = -numbers[i];
        }
    for (int i = 0; i < c->forms->n; i++)
        if (c->forms->atoms[i].at != 0)
            for (int k = -1; k <= 1; k++)
                x[n++] = c->forms->atoms[i].at * (1 + k * 1e-3);
    x[n++] = NAN;
    const int64_t columns = p->columns ? p->columns : 1, dims[] = { n, columns };
    gopt_tensor *t;
    if (gopt_tensor_create(p->r->g->cx, type, 2, dims, &t) != GOPT_OK)
        return false;
    for (int64_t i = 0; i < n * columns; i++)
        gi_store_f64(type, t->data, (size_t)i, x[i / columns]);
    return keep(p, c->x, t);
}

/* A constant as a number, or its first few as a row. */
static bool make_constant(probe *p, const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    const int64_t n = gi_blob_elements(b);
    const bool one = n == 1 || gi_blob_all(b, gi_load_f64(b->dtype, b->data, 0));
    if (n < 1 || gi_item_size(b->dtype) == 0 || (!one && gi_min_i64(n, FEW) != p->columns))
        return false;
    gopt_tensor *t;
    const int64_t few = one ? 1 : p->columns;
    if (gopt_tensor_create(p->r->g->cx, b->dtype, one ? 0 : 1, &few, &t) != GOPT_OK)
        return false;
    memcpy(t->data, b->data, gi_item_size(b->dtype) * (size_t)few);
    return keep(p, v, t);
}

static bool run_node(probe *p, const gi_node *n)
{
    const gopt_tensor *in[GI_CONE_NODES];
    gopt_tensor *out[1] = { NULL };
    if (n->n_in > GI_CONE_NODES || n->n_out != 1)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (gi_value_blob(v) && !find(p, v) && !make_constant(p, v))
            return false;
        in[i] = v ? find(p, v) : NULL;
        if (v && !in[i])
            return false;
    }
    if (p->wide && n->op == OP_Cast && in[0] && gi_dtype_is_float(in[0]->dtype))
        return gi_tensor_copy(p->r->g->cx, in[0], &out[0]) == GOPT_OK && keep(p, n->out[0], out[0]);
    gi_eval e = { .n = n, .cx = p->r->g->cx, .n_in = n->n_in, .n_out = 1, .in = in, .out = out, .scratch = p->arena };
    return gi_eval_node(&e) == GOPT_OK && keep(p, n->out[0], out[0]);
}

/* How far apart two results may be that were rounded here and there: in units of the greater of x, 1 and the result. */
static double tolerance(gopt_dtype t)
{
    return t == GOPT_F64 ? 1e-13 : t == GOPT_F16 ? 1e-2 : t == GOPT_BF16 ? 5e-2 : 5e-5;
}

static gi_probe_result compare(probe *p, const gopt_tensor *x, const gopt_tensor *a, const gopt_tensor *b)
{
    gi_probe_result result = GI_PROBE_SAME;
    const int64_t n = gopt_tensor_elements(x);
    if (a->dtype != b->dtype || gopt_tensor_elements(a) != n || gopt_tensor_elements(b) != n)
        return GI_PROBE_OTHER;
    for (int64_t i = 0; i < n; i++) {
        const double at = gi_tensor_f64(x, i), was = gi_tensor_f64(a, i), is = gi_tensor_f64(b, i);
        if (was == is || (isnan(was) && isnan(is)))
            continue;
        const bool special = !isfinite(at) || !isfinite(was) || !isfinite(is);
        if (!special && fabs(was - is) <= tolerance(x->dtype) * fmax(fmax(fabs(at), 1), fabs(was)))
            continue;
        if (!special || result == GI_PROBE_SAME)
            p->r->why =
                gi_arena_printf(p->r->scratch, "at %g it gives %g, %s would give %g%s", at,
                                isnan(was) ? fabs(was) : was, gi_op_get(p->r->made.p[p->r->made.n - 1]->op)->name,
                                isnan(is) ? fabs(is) : is, special ? "; --fp fast allows that" : "");
        result = GI_PROBE_SPECIAL;
        if (!special)
            return GI_PROBE_OTHER;
    }
    return result;
}

/* A run of the cone and of what was made, from x on; what is kept is to be released in any case. */
static bool run(probe *p, const gi_cut *c)
{
    bool ok = make_x(p, c);
    for (uint32_t i = c->n; i-- > 0 && ok;)
        ok = run_node(p, c->nodes[i]);
    for (size_t i = 0; i < p->r->made.n && ok; i++)
        ok = run_node(p, p->r->made.p[i]);
    return ok;
}

static void release(probe *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        gopt_tensor_unref(p->t[i]);
    p->n = 0;
}

static const gopt_tensor *cone_result(const probe *p, const gi_cut *c)
{
    return find(p, c->nodes[0]->out[0]);
}

/* Where `is` is further from `was` than closeness explains: the first such element; -1 where there is none. */
static int64_t first_off(const gopt_tensor *was, const gopt_tensor *is, const double *spread)
{
    for (int64_t i = 0; i < gopt_tensor_elements(was); i++) {
        const double a = gi_tensor_f64(was, i), b = gi_tensor_f64(is, i);
        if (isfinite(a) && isfinite(b) && fabs(a - b) > MARGIN * spread[i] + 0x1p-1000)
            return i;
    }
    return -1;
}

/* The same in f64. Numbers that are infinite there, or NaN, say nothing. */
static gi_probe_result compare_wide(probe *p, const gi_cut *c, const gi_value *y)
{
    gopt_tensor *kept[3] = { NULL };
    gi_probe_result result = GI_PROBE_OTHER;
    double *spread = NULL;
    p->wide = true;
    for (int k = 0; k <= MOVED; k++) {
        p->by = k ? c->forms->close : 0;
        bool ok = run(p, c);
        const gopt_tensor *now = ok ? cone_result(p, c) : NULL;
        if (ok && k == 0) {
            const gopt_tensor *first[3] = { now, find(p, y), find(p, c->x) };
            for (int i = 0; i < 3; i++)
                ok = ok && first[i] && gi_tensor_copy(p->r->g->cx, first[i], &kept[i]) == GOPT_OK;
            ok = ok && gopt_tensor_elements(kept[0]) == gopt_tensor_elements(kept[1]) &&
                 gopt_tensor_elements(kept[0]) == gopt_tensor_elements(kept[2]);
            spread = ok ? GI_NEW_ARRAY(p->arena, double, gopt_tensor_elements(kept[0]) + 1) : NULL;
        } else if (ok) {
            for (int64_t i = 0; i < gopt_tensor_elements(now); i++)
                spread[i] = fmax(spread[i], fabs(gi_tensor_f64(now, i) - gi_tensor_f64(kept[0], i)));
        }
        release(p);
        if (!ok || !spread)
            goto end;
    }
    const int64_t off = first_off(kept[0], kept[1], spread);
    result = off < 0 ? GI_PROBE_SAME : GI_PROBE_OTHER;
    if (off >= 0)
        p->r->why = gi_arena_printf(p->r->scratch, "at %g it gives %g, %s would give %g", gi_tensor_f64(kept[2], off),
                                    gi_tensor_f64(kept[0], off), gi_op_get(p->r->made.p[p->r->made.n - 1]->op)->name,
                                    gi_tensor_f64(kept[1], off));
end:
    for (int i = 0; i < 3; i++)
        gopt_tensor_unref(kept[i]);
    return result;
}

gi_probe_result gi_probe(gi_rewrite *r, const gi_cut *c, gi_value *y)
{
    probe *p = GI_NEW(r->scratch, probe);
    gi_probe_result result = GI_PROBE_OTHER;
    if (!p || !r->made.n)
        return result;
    p->r = r;
    p->arena = r->scratch;
    p->columns = c->tensor ? gi_min_i64(gi_blob_elements(gi_value_blob(c->tensor)), FEW) : 0;
    if (run(p, c) && find(p, y))
        result = compare(p, find(p, c->x), cone_result(p, c), find(p, y));
    release(p);
    return result == GI_PROBE_OTHER || compare_wide(p, c, y) == GI_PROBE_SAME ? result : GI_PROBE_OTHER;
}
