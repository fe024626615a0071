/* Inputs for a graph: sizes for its symbols, and random and special values. */
#include <float.h>
#include <math.h>

#include "proof/proof.h"

uint64_t proof_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double proof_unit(uint64_t *state)
{
    return (double)(proof_random(state) >> 11) * 0x1p-53;
}

double proof_epsilon(gopt_dtype t)
{
    return t == GOPT_F64 ? 0x1p-52 : t == GOPT_F32 ? 0x1p-23 : t == GOPT_F16 ? 0x1p-10 : t == GOPT_BF16 ? 0x1p-7 : 0;
}

double proof_smallest(gopt_dtype t)
{
    return t == GOPT_F64    ? 0x1p-1074
           : t == GOPT_F32  ? 0x1p-149
           : t == GOPT_F16  ? 0x1p-24
           : t == GOPT_BF16 ? 0x1p-133
                            : 0;
}

double proof_negligible(gopt_dtype t)
{
    return t == GOPT_F16 ? 16 * proof_smallest(t) : 2 * proof_smallest(t) / proof_epsilon(t);
}

double proof_largest(gopt_dtype t)
{
    return t == GOPT_F64 ? DBL_MAX : t == GOPT_F32 ? (double)FLT_MAX : t == GOPT_F16 ? 65504 : 0x1.fep127;
}

/* ---- what the graph is about ---- */

static void add_symbol(void *arg, const gi_dim *symbol)
{
    proof_inputs *s = arg;
    for (size_t i = 0; i < s->n_symbols; i++)
        if (s->symbols[i].symbol == symbol)
            return;
    if (s->n_symbols < GI_COUNT(s->symbols))
        s->symbols[s->n_symbols++] = (gi_binding){ symbol, 1 };
}

static void add_constant(proof_inputs *s, double x)
{
    for (size_t i = 0; i < s->n_constants; i++)
        if (s->constants[i] == x)
            return;
    if (s->n_constants < GI_COUNT(s->constants) && isfinite(x))
        s->constants[s->n_constants++] = x;
}

/* Small constants are thresholds and the like; big ones are weights, and say nothing. */
static bool add_constants(void *arg, gi_node *n)
{
    proof_inputs *s = arg;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_blob *b = gi_value_blob(gi_node_in(n, i));
        if (!b || gi_blob_elements(b) > 4 || !gi_dtype_is_float(b->dtype))
            continue;
        for (int64_t e = 0; e < gi_blob_elements(b); e++)
            add_constant(s, gi_load_f64(b->dtype, b->data, (size_t)e));
    }
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].kind == GI_ATTR_FLOAT)
            add_constant(s, (double)n->attrs[i].u.f);
    return true;
}

bool proof_inputs_init(proof_inputs *s, gopt_graph *g, gi_arena *a)
{
    *s = (proof_inputs){ .arena = a, .n = g->main->n_params };
    s->in = GI_NEW_ARRAY(a, gopt_tensor *, s->n + 1);
    for (uint32_t i = 0; i < s->n; i++) {
        const gi_type *t = g->main->params[i]->type;
        for (int k = 0; t && t->kind == GOPT_TENSOR && k < t->rank; k++)
            gi_dim_each_symbol(t->dims[k], add_symbol, s);
    }
    (void)gi_each_node(g->main, add_constants, s);
    return s->in != NULL;
}

/* ---- sizes ---- */

static int64_t size_of(int sizes, size_t symbol)
{
    static const int64_t mixed[] = { 2, 3, 4, 6 }, other[] = { 5, 2, 7, 3, 4 };
    switch (sizes) {
    case 0:
        return mixed[symbol % GI_COUNT(mixed)];
    case 1:
        return 1;
    case 2:
        return 3;
    case 3:
        return other[symbol % GI_COUNT(other)];
    case 4:
        return symbol % 2 ? 3 : 1;
    case 5:
        return symbol % 2 ? 1 : 8;
    default:
        return 0;
    }
}

/* ---- values ---- */

/* One of the finite special values. Moderate ones neither overflow nor underflow in a few products. */
static double special(const proof_inputs *s, gopt_dtype t, bool extreme, uint64_t *state)
{
    static const double plain[] = { 0,   -0.0, 1,   -1,   2,   -2,   3,    -3,  0.5,  -0.5, 1.5,   -1.5,
                                    2.5, -2.5, 3.5, -3.5, 6,   -6,   0.25, 7,   10,   -10,  0.125, 0.75,
                                    20,  -20,  0.1, -0.1, 100, -100, 0.01, 5.5, -5.5, 8,    -0.01, 1e-3 };
    const double tiny = proof_smallest(t), most = proof_largest(t);
    const double far[] = { tiny,     -tiny,       3 * tiny, -5 * tiny, most,       -most,
                           most / 2, -most * 0.9, 1e4,      -6e4,      sqrt(most), -sqrt(most) };
    const uint64_t pick = proof_random(state);
    if (extreme && pick % 3 == 0)
        return far[pick / 3 % GI_COUNT(far)];
    double x = plain[pick / 64 % GI_COUNT(plain)];
    if (s->n_constants && pick % 2) {
        const double k = s->constants[pick / 64 % s->n_constants];
        if (extreme || k == 0 || (fabs(k) < 1e4 && fabs(k) > 1e-4))
            x = k;
    }
    switch (pick / 4 % 8) {
    case 0:
        return x * (1 + 2 * proof_epsilon(t));
    case 1:
        return x * (1 - 2 * proof_epsilon(t));
    case 2:
        return -x;
    default:
        return x;
    }
}

static double float_value(const proof_inputs *s, gopt_dtype t, const proof_case *c, uint64_t *state)
{
    const uint64_t pick = proof_random(state) % 100;
    if (c->floats == FLOATS_NAN && pick < 12)
        return NAN;
    if (c->floats == FLOATS_INFINITE && pick < 20)
        return pick % 2 ? INFINITY : -INFINITY;
    if (c->floats == FLOATS_EXTREME || c->floats == FLOATS_MODERATE ? pick < 75
                                                                    : c->floats != FLOATS_RANDOM && pick < 40)
        return special(s, t, c->floats == FLOATS_EXTREME, state);
    return 2 * proof_unit(state) - 1;
}

static int64_t int_value(gopt_dtype t, proof_ints ints, uint64_t *state)
{
    const uint64_t r = proof_random(state);
    const bool is_signed = gi_dtype_class(t) == GI_SINT;
    if (ints == INTS_BIT || t == GOPT_BOOL)
        return (int64_t)(r % 2);
    if (ints == INTS_SMALL)
        return (int64_t)(r % 7) - (is_signed ? 3 : 0);
    const int bits = gopt_dtype_bits(t);
    const uint64_t all = bits >= 64 ? UINT64_MAX : (1ull << bits) - 1, most = is_signed ? all >> 1 : all;
    const uint64_t far[] = { 0, 1, all, most, most - 1, is_signed ? most + 1 : all / 2, is_signed ? most + 2 : 3 };
    return (int64_t)(r % 4 ? far[r / 4 % GI_COUNT(far)] : proof_random(state));
}

static bool fill(const proof_inputs *s, gopt_tensor *x, const proof_case *c, uint64_t *state)
{
    const gi_dclass kind = gi_dtype_class(x->dtype);
    for (int64_t i = 0, n = gopt_tensor_elements(x); i < n; i++) {
        if (kind == GI_FLOAT)
            gi_store_f64(x->dtype, x->data, (size_t)i, float_value(s, x->dtype, c, state));
        else if (kind == GI_TEXT)
            ((gopt_string *)x->data)[i] = (gopt_string){ "ab ab" + proof_random(state) % 3, proof_random(state) % 3 };
        else if (kind == GI_COMPLEX)
            memset(x->data, 0, x->bytes);
        else
            gi_store_i64(x->dtype, x->data, (size_t)i, int_value(x->dtype, c->ints, state));
    }
    return true;
}

static bool make_tensor(proof_inputs *s, gopt_graph *g, const gi_type *t, const proof_case *c, uint64_t *state,
                        gopt_tensor **out)
{
    int64_t dims[GOPT_MAX_RANK];
    int rank = t->rank;
    if (rank < 0) {
        rank = c->sizes % 4;
        for (int i = 0; i < rank; i++)
            dims[i] = size_of(c->sizes, (size_t)i);
    } else {
        for (int i = 0; i < rank; i++)
            if (!gi_dim_eval(t->dims[i], s->symbols, s->n_symbols, &dims[i]))
                return false;
    }
    const gopt_dtype dtype = t->dtype == GOPT_UNDEFINED ? GOPT_F32 : t->dtype;
    return gopt_tensor_create(g->cx, dtype, rank, dims, out) == GOPT_OK && fill(s, *out, c, state);
}

bool proof_inputs_make(proof_inputs *s, gopt_graph *g, const proof_case *c)
{
    proof_inputs_release(s);
    for (size_t i = 0; i < s->n_symbols; i++)
        s->symbols[i].value = size_of(c->sizes, i);
    for (uint32_t i = 0; i < s->n; i++) {
        const gi_type *t = g->main->params[i]->type;
        uint64_t state = c->seed * 0x2545f4914f6cdd1du + i;
        if (!t || t->kind != GOPT_TENSOR || !make_tensor(s, g, t, c, &state, &s->in[i]))
            return false;
    }
    return true;
}

void proof_inputs_release(proof_inputs *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        gopt_tensor_unref(s->in[i]);
        s->in[i] = NULL;
    }
}
