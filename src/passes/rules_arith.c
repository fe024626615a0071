/* Rules of arithmetic with constants, of casts, and of activations of activations. */
#include <float.h>
#include <math.h>

#include "passes/build.h"

static gi_value *make_x(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->x;
}

static gi_value *make_y(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->y;
}

static bool is_one(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_blob_all(gi_value_blob(m->k), 1.0);
}

/* Powers of 64-bit integers go through double, which has fewer digits. */
static bool is_exact_one(const gi_match *m, gi_reason *why)
{
    const gopt_dtype t = gi_value_dtype(m->x);
    return is_one(m, why) && (gi_dtype_is_float(t) || (gi_dtype_is_int(t) && gopt_dtype_bits(t) < 64));
}

static bool is_zero(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_blob_all(gi_value_blob(m->k), 0.0);
}

/* ---- two constants become one ---- */

/* The joint constant is no bigger than the bigger one. Not for integers: they wrap, or truncate. */
static bool constants_join(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gi_blob *a = gi_value_blob(m->a), *b = gi_value_blob(m->b);
    if (!gi_dtype_is_float(a->dtype) || gopt_dtype_bits(a->dtype) < 16 || a->dtype != b->dtype)
        return false;
    if (gi_blob_elements(a) < 1 || gi_blob_elements(b) < 1)
        return false;
    const bool same = a->rank == b->rank && (!a->rank || !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims));
    return gi_blob_elements(a) && gi_blob_elements(b) && (same || gi_blob_elements(a) == 1 || gi_blob_elements(b) == 1);
}

/* Is an element subnormal or zero whose factors are not? */
static bool underflows(const gi_blob *joint, const gi_blob *a, const gi_blob *b)
{
    const gopt_dtype t = joint->dtype;
    const double least = t == GOPT_F64 ? DBL_MIN : t == GOPT_F16 ? 0x1p-14 : (double)FLT_MIN;
    for (int64_t i = 0; i < gi_blob_elements(joint); i++) {
        const double x = gi_load_f64(t, a->data, gi_blob_elements(a) == 1 ? 0 : (size_t)i);
        const double y = gi_load_f64(t, b->data, gi_blob_elements(b) == 1 ? 0 : (size_t)i);
        if (x != 0 && y != 0 && fabs(gi_load_f64(t, joint->data, (size_t)i)) < least)
            return true;
    }
    return false;
}

static gi_value *join_constants(gi_rewrite *r, const gi_match *m)
{
    const gi_blob *a = gi_value_blob(m->a), *b = gi_value_blob(m->b);
    const gi_blob *big = gi_blob_elements(a) > gi_blob_elements(b) || a->rank > b->rank ? a : b;
    if (gi_blob_elements(big) < gi_blob_elements(a) || gi_blob_elements(big) < gi_blob_elements(b) ||
        big->rank < a->rank || big->rank < b->rank) {
        r->why = "its constants have shapes that do not nest";
        return NULL;
    }
    gi_blob *joint;
    if (gi_blob_create(r->g->cx, big->dtype, big->rank, big->dims, &joint) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < gi_blob_elements(big); i++) {
        const double x = gi_load_f64(a->dtype, a->data, gi_blob_elements(a) == 1 ? 0 : (size_t)i);
        const double y = gi_load_f64(b->dtype, b->data, gi_blob_elements(b) == 1 ? 0 : (size_t)i);
        gi_store_f64(big->dtype, joint->owned, (size_t)i, m->root->op == OP_Add ? x + y : x * y);
    }
    if (m->root->op != OP_Add && underflows(joint, a, b)) {
        gi_blob_unref(joint);
        r->why = "the product of its constants is too small a number";
        return NULL;
    }
    gi_value *k = gi_rw_const(r, joint, NULL);
    return k ? gi_rw_build(r, m->root->op, 2, (gi_value *[]){ m->x, k }) : NULL;
}

/* ---- clips ---- */

static bool least_is_not_negative(const gi_match *m, gi_reason *why)
{
    (void)why;
    double least, most = INFINITY;
    return gi_value_scalar(m->a, &least) && least >= 0 && (!m->b || gi_value_scalar(m->b, &most)) && least <= most;
}

static gi_value *make_clip(gi_rewrite *r, const gi_match *m)
{
    return gi_rw_build(r, OP_Clip, m->b ? 3 : 2, (gi_value *[]){ m->x, m->a, m->b });
}

static bool clips_overlap(const gi_match *m, gi_reason *why)
{
    double a, b, c, d;
    if (!gi_value_scalar(m->a, &a) || !gi_value_scalar(m->b, &b) || !gi_value_scalar(m->c, &c) ||
        !gi_value_scalar(m->d, &d) || !(a <= b) || !(c <= d))
        return false;
    return fmax(a, c) <= fmin(b, d) || gi_decline(why, "the two ranges have nothing in common");
}

static gi_value *merge_clips(gi_rewrite *r, const gi_match *m)
{
    double a = 0, b = 0, c = 0, d = 0;
    (void)(gi_value_scalar(m->a, &a) && gi_value_scalar(m->b, &b));
    (void)(gi_value_scalar(m->c, &c) && gi_value_scalar(m->d, &d));
    return gi_rw_build(r, OP_Clip, 3, (gi_value *[]){ m->x, a >= c ? m->a : m->c, b <= d ? m->b : m->d });
}

/* ---- casts ---- */

static bool dtype_is_the_same(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gopt_dtype t = gi_value_dtype(m->x);
    return t != GOPT_UNDEFINED && (int64_t)t == gi_attr_int(m->root, Cast_at_to);
}

/* Bits of integers that a float holds exactly; 0 for small floats, which take no part. */
static int mantissa(gopt_dtype t)
{
    switch (t) {
    case GOPT_F64:
        return 53;
    case GOPT_F32:
        return 24;
    case GOPT_F16:
        return 11;
    case GOPT_BF16:
        return 8;
    default:
        return 0;
    }
}

/* Does every value of `from` have its equal in `to`? */
static bool is_exact_cast(gopt_dtype from, gopt_dtype to)
{
    const gi_dclass f = gi_dtype_class(from), t = gi_dtype_class(to);
    const int bits = gopt_dtype_bits(from), room = gopt_dtype_bits(to);
    if (from == to)
        return true;
    if (bits < 8 || room < 8 || f == GI_TEXT || t == GI_TEXT || f == GI_COMPLEX || t == GI_COMPLEX)
        return false;
    if (f == GI_BOOLEAN)
        return t == GI_SINT || t == GI_UINT || mantissa(to) > 0;
    if (f == GI_UINT)
        return (t == GI_UINT && room >= bits) || (t == GI_SINT && room > bits) || mantissa(to) >= bits;
    if (f == GI_SINT)
        return (t == GI_SINT && room >= bits) || mantissa(to) >= bits - 1;
    return f == GI_FLOAT && mantissa(from) > 0 && mantissa(to) > mantissa(from) && (to == GOPT_F32 || to == GOPT_F64);
}

static bool inner_cast_is_exact(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gopt_dtype from = gi_value_dtype(m->x), via = gi_value_dtype(m->y);
    return from != GOPT_UNDEFINED && via != GOPT_UNDEFINED && is_exact_cast(from, via);
}

static gi_value *make_cast(gi_rewrite *r, const gi_match *m)
{
    if (dtype_is_the_same(m, NULL))
        return m->x;
    gi_node *n = gi_rw_node(r, OP_Cast, 1, (gi_value *[]){ m->x }, 1);
    return n && gi_attrs_copy(n, m->root) ? gi_rw_done(r, n) : NULL;
}

static bool type_is_known(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_value_dtype(m->y) != GOPT_UNDEFINED && gi_value_dtype(m->x) != GOPT_UNDEFINED;
}

static gi_value *make_cast_to(gi_rewrite *r, const gi_match *m)
{
    if (gi_value_dtype(m->x) == gi_value_dtype(m->y))
        return m->x;
    gi_node *n = gi_rw_node(r, OP_Cast, 1, (gi_value *[]){ m->x }, 1);
    if (!n || !gi_rw_attrs_of(n, m->root))
        return NULL;
    gi_attr_set_int(n, Cast_at_to, gi_value_dtype(m->y));
    return gi_rw_done(r, n);
}

/* ---- leftovers ---- */

static bool does_not_train(const gi_match *m, gi_reason *why)
{
    const gi_blob *t = gi_value_blob(m->t);
    double ratio;
    if (!m->t || (t && gi_blob_elements(t) == 1 && !gi_load_i64(t->dtype, t->data, 0)))
        return true;
    return (m->r && gi_value_scalar(m->r, &ratio) && ratio == 0) || gi_decline(why, "it is in training mode");
}

/* -1 where the condition is not the same everywhere. */
static int condition(const gi_match *m)
{
    const gi_blob *c = gi_value_blob(m->c);
    const int64_t n = gi_blob_elements(c);
    if (c->dtype != GOPT_BOOL || n < 1)
        return -1;
    const bool first = gi_load_i64(c->dtype, c->data, 0) != 0;
    for (int64_t i = 1; i < n; i++)
        if ((gi_load_i64(c->dtype, c->data, (size_t)i) != 0) != first)
            return -1;
    return first;
}

static bool condition_is_known(const gi_match *m, gi_reason *why)
{
    (void)why;
    const int c = condition(m);
    return c >= 0 && gi_type_same(m->g, (c ? m->x : m->y)->type, m->root->out[0]->type);
}

static gi_value *make_chosen(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return condition(m) ? m->x : m->y;
}

#include "passes/rows.h"
#include "passes/rules/arith.def"
