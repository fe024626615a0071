/* Rules of what broadcasting does anyway: an operand that was made as large as the other need not have been. */
#include "passes/rule.h"

/* ---- operands ---- */

static bool same_shape(gopt_graph *g, const gi_value *a, const gi_value *b)
{
    if (gi_value_rank(a) < 0 || gi_value_rank(a) != gi_value_rank(b))
        return false;
    for (int i = 0; i < gi_value_rank(a); i++)
        if (gi_dim_equal(g->dims, a->type->dims[i], b->type->dims[i]) != 1)
            return false;
    return true;
}

/* A Tile repeats what broadcasting cannot, but for dims of 1. */
static bool tiles_ones(const gi_match *m)
{
    const gi_value *x = m->x, *e = m->e;
    if (gi_value_rank(x) < 0 || gi_value_rank(x) != gi_value_rank(e))
        return false;
    for (int i = 0; i < gi_value_rank(x); i++)
        if (gi_value_dim(x, i) != 1 && gi_dim_equal(m->g->dims, x->type->dims[i], e->type->dims[i]) != 1)
            return false;
    return true;
}

static bool other_has_the_shape(const gi_match *m, gi_reason *why)
{
    (void)why;
    bool found = false;
    for (uint32_t i = 0; i < m->root->n_in; i++)
        found = found || (gi_node_in(m->root, i) != m->e && gi_node_in(m->root, i) &&
                          same_shape(m->g, gi_node_in(m->root, i), m->root->out[0]));
    return found && (gi_value_node(m->e)->op != OP_Tile || tiles_ones(m));
}

/* Gemm spreads what it adds over the product, and takes nothing larger. */
static bool bias_was_narrow(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gi_opcode op = gi_value_node(m->e)->op;
    return op == OP_ConstantOfShape ||
           (gi_value_rank(m->x) >= 0 && gi_value_rank(m->x) <= 2 && (op != OP_Tile || tiles_ones(m)));
}

/* What a ConstantOfShape is filled with, as one number. */
static gi_value *filling(gi_rewrite *r, const gi_node *n)
{
    gi_blob *value = gi_attr_tensor(n, ConstantOfShape_at_value), *b;
    if (!value)
        return gi_const_f32(r->g, 0, 1, (const float[]){ 0.0f });
    return gi_blob_reshaped(value, 0, NULL, &b) == GOPT_OK ? gi_const(r->g, b, NULL) : NULL;
}

static gi_value *read_narrow(gi_rewrite *r, const gi_match *m)
{
    gi_value *in[3];
    const gi_node *e = gi_value_node(m->e);
    gi_value *x = e->op == OP_ConstantOfShape ? filling(r, e) : m->x;
    if (!x || m->root->n_in > 3)
        return NULL;
    for (uint32_t i = 0; i < m->root->n_in; i++)
        in[i] = gi_node_in(m->root, i) == m->e ? x : gi_node_in(m->root, i);
    gi_node *n = gi_rw_node(r, m->root->op, m->root->n_in, in, 1);
    return n && gi_attrs_copy(n, m->root) ? gi_rw_done(r, n) : NULL;
}

/* ---- one after another ---- */

static bool last_shape_says_all(const gi_match *m, gi_reason *why)
{
    (void)why;
    uint32_t n;
    const gi_value *y = m->root->out[0];
    const gi_dim *const *known = gi_value_known(m->t, &n);
    if (!known || gi_value_rank(y) < 0 || n != (uint32_t)gi_value_rank(y))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (gi_dim_equal(m->g->dims, known[i], y->type->dims[i]) != 1)
            return false;
    return true;
}

static gi_value *expand_once(gi_rewrite *r, const gi_match *m)
{
    return gi_rw_build(r, OP_Expand, 2, (gi_value *[]){ m->x, m->t });
}

static bool multiply(const gi_match *m, int64_t *repeats, uint32_t *n)
{
    int64_t outer[GOPT_MAX_RANK];
    uint32_t count;
    if (!gi_value_ints(m->s, repeats, GOPT_MAX_RANK, n) || !gi_value_ints(m->t, outer, GOPT_MAX_RANK, &count) ||
        count != *n)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (repeats[i] < 0 || outer[i] < 0 || !gi_mul_i64(repeats[i], outer[i], &repeats[i]))
            return false;
    return true;
}

static bool repeats_multiply(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t repeats[GOPT_MAX_RANK];
    uint32_t n;
    return multiply(m, repeats, &n);
}

static gi_value *tile_once(gi_rewrite *r, const gi_match *m)
{
    int64_t repeats[GOPT_MAX_RANK];
    uint32_t n;
    gi_value *k = multiply(m, repeats, &n) ? gi_const_i64(r->g, 1, n, repeats) : NULL;
    return k ? gi_rw_build(r, OP_Tile, 2, (gi_value *[]){ m->x, k }) : NULL;
}

/* ---- casts of numbers that were spread ---- */

static bool is_number(gopt_dtype t)
{
    return t == GOPT_BOOL || gi_dtype_is_int(t) || gi_dtype_is_float(t);
}

/* One number as another type. NULL where it has no such value: what a Cast makes of it then is its own affair. */
static gi_value *cast_number(gi_rewrite *r, const gi_blob *b, gopt_dtype to)
{
    gi_blob *y;
    if (!is_number(b->dtype) || !is_number(to) || gi_blob_elements(b) != 1 || gopt_dtype_bits(b->dtype) < 8 ||
        gopt_dtype_bits(to) < (gi_dtype_is_float(to) ? 16 : 8) ||
        (gi_dtype_is_float(b->dtype) && gopt_dtype_bits(b->dtype) < 16) ||
        gi_blob_create(r->g->cx, to, b->rank, b->dims, &y) != GOPT_OK)
        return NULL;
    const double x = gi_load_f64(b->dtype, b->data, 0);
    if (to == GOPT_BOOL)
        gi_store_i64(to, y->owned, 0, x != 0);
    else if (gi_dtype_is_float(to))
        gi_store_f64(to, y->owned, 0, x);
    else
        gi_store_i64(to, y->owned, 0,
                     gi_dtype_is_float(b->dtype) ? (x > -1e15 && x < 1e15 ? (int64_t)x : 0)
                                                 : gi_load_i64(b->dtype, b->data, 0));
    const double back = gi_load_f64(to, y->data, 0);
    if (to != GOPT_BOOL && !(gi_dtype_is_float(b->dtype) && gi_dtype_is_float(to)) && back != x) {
        gi_blob_unref(y);
        return NULL;
    }
    return gi_const(r->g, y, NULL);
}

/* Has every runtime a Where of this type? ONNX Runtime has none of bools and of the other integers. */
static bool is_chosen_everywhere(gopt_dtype t)
{
    return t == GOPT_F32 || t == GOPT_F64 || t == GOPT_I32 || t == GOPT_I64 || t == GOPT_U8;
}

static bool is_of_numbers(const gi_match *m, gi_reason *why)
{
    const gi_node *n = gi_value_node(m->y);
    const gopt_dtype to = gi_value_dtype(m->root->out[0]);
    if (n->op == OP_ConstantOfShape)
        return true;
    if (n->op == OP_Where && !is_chosen_everywhere(to))
        return gi_decline(why, "runtimes have no Where of %s", gopt_dtype_name(to));
    return gi_blob_elements(gi_value_blob(m->k)) == 1 && (!m->l || gi_blob_elements(gi_value_blob(m->l)) == 1);
}

static gi_value *fill_with_cast(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = gi_value_node(m->y);
    const gopt_dtype to = gi_value_dtype(m->root->out[0]);
    if (n->op != OP_ConstantOfShape) {
        gi_value *k = cast_number(r, gi_value_blob(m->k), to),
                 *l = m->l ? cast_number(r, gi_value_blob(m->l), to) : NULL;
        if (!k || (m->l && !l))
            return NULL;
        return n->op == OP_Where ? gi_rw_build(r, OP_Where, 3, (gi_value *[]){ m->s, k, l })
                                 : gi_rw_build(r, OP_Expand, 2, (gi_value *[]){ k, m->s });
    }
    const gi_blob *value = gi_attr_tensor(n, ConstantOfShape_at_value);
    gi_value *zero = value ? NULL : gi_const_f32(r->g, 1, 1, (const float[]){ 0.0f });
    gi_value *k = value || zero ? cast_number(r, value ? value : gi_value_blob(zero), to) : NULL;
    gi_node *y = k ? gi_rw_node(r, OP_ConstantOfShape, 1, (gi_value *[]){ m->s }, 1) : NULL;
    if (!y)
        return NULL;
    gi_attr_set_tensor(y, ConstantOfShape_at_value, gi_blob_ref(gi_value_blob(k)));
    return gi_rw_done(r, y);
}

#include "passes/rows.h"
#include "passes/rules/broadcast.def"
