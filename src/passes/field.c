/* Constants as numbers that broadcast (field.h). */
#include "passes/field.h"

#include <math.h>

bool gi_field_one(gi_arena *a, double x, gi_field *f)
{
    *f = (gi_field){ .n = 1, .v = GI_NEW(a, double) };
    if (f->v)
        *f->v = x;
    return f->v != NULL;
}

bool gi_field_of(gi_arena *a, const gi_value *k, gi_field *f)
{
    const gi_blob *b = gi_value_blob(k);
    if (!b || !gi_dtype_is_float(b->dtype) || gopt_dtype_bits(b->dtype) < 16 || b->rank > GOPT_MAX_RANK)
        return false;
    *f = (gi_field){ .rank = b->rank, .n = gi_blob_elements(b) };
    f->v = f->n > 0 ? GI_NEW_ARRAY(a, double, f->n) : NULL;
    if (!f->v)
        return false;
    for (int i = 0; i < b->rank; i++)
        f->dims[i] = b->dims[i];
    for (int64_t i = 0; i < f->n; i++)
        f->v[i] = gi_load_f64(b->dtype, b->data, (size_t)i);
    return true;
}

static double apply(double x, char op, double y)
{
    return op == '+' ? x + y : op == '-' ? x - y : op == '*' ? x * y : x / y;
}

bool gi_field_combine(gi_arena *arena, const gi_field *a, char op, const gi_field *b, gi_field *to)
{
    gi_field f = { .n = 1 };
    int64_t sa[GOPT_MAX_RANK], sb[GOPT_MAX_RANK], at[GOPT_MAX_RANK] = { 0 }, ia = 0, ib = 0;
    if (!gi_broadcast_dims(a->rank, a->dims, b->rank, b->dims, &f.rank, f.dims))
        return false;
    for (int i = 0; i < f.rank; i++)
        if (!gi_mul_i64(f.n, f.dims[i], &f.n))
            return false;
    f.v = f.n > 0 ? GI_NEW_ARRAY(arena, double, f.n) : NULL;
    if (!f.v)
        return false;
    gi_broadcast_strides(a->rank, a->dims, f.rank, f.dims, sa);
    gi_broadcast_strides(b->rank, b->dims, f.rank, f.dims, sb);
    for (int64_t i = 0; i < f.n; i++) {
        f.v[i] = apply(a->v[ia], op, b->v[ib]);
        for (int d = f.rank - 1; d >= 0; d--) {
            ia += sa[d];
            ib += sb[d];
            if (++at[d] < f.dims[d])
                break;
            ia -= sa[d] * f.dims[d];
            ib -= sb[d] * f.dims[d];
            at[d] = 0;
        }
    }
    *to = f;
    return true;
}

bool gi_field_is(const gi_field *f, double x)
{
    for (int64_t i = 0; i < f->n; i++)
        if (f->v[i] != x)
            return false;
    return true;
}

bool gi_field_is_finite(const gi_field *f)
{
    for (int64_t i = 0; i < f->n; i++)
        if (!isfinite(f->v[i]))
            return false;
    return true;
}

static const double LEAST_F16 = 0x1p-14; /* below, digits are lost */

gi_value *gi_field_const(gopt_graph *g, const gi_field *f, gopt_dtype t)
{
    gi_blob *b;
    if (gi_blob_create(g->cx, t, f->rank, f->dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < f->n; i++) {
        gi_store_f64(t, b->owned, (size_t)i, f->v[i]);
        const bool lost = t == GOPT_F16 && f->v[i] != 0 && fabs(f->v[i]) < LEAST_F16;
        if (lost || (isfinite(f->v[i]) && !isfinite(gi_load_f64(t, b->data, (size_t)i)))) {
            gi_blob_unref(b);
            return NULL;
        }
    }
    return gi_const(g, b, NULL);
}
