/* Shorthand for rules that build chains of nodes. */
#include "passes/build.h"

/* ---- constants ---- */

static gi_value *filled(gi_rewrite *r, gopt_dtype t, int rank, int64_t n, double x)
{
    gi_blob *b;
    if (gi_blob_create(r->g->cx, t, rank, &n, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        gi_store_f64(t, b->owned, (size_t)i, x);
    return gi_const(r->g, b, NULL);
}

gi_value *gi_rw_scalar(gi_rewrite *r, gopt_dtype t, double x)
{
    return filled(r, t, 0, 1, x);
}

gi_value *gi_rw_filled(gi_rewrite *r, gopt_dtype t, int64_t n, double x)
{
    return filled(r, t, 1, n, x);
}

gi_value *gi_rw_ints(gi_rewrite *r, uint32_t n, const int64_t *v)
{
    return gi_const_i64(r->g, 1, n, v);
}

/* ---- nodes ---- */

gi_value *gi_rw_unary(gi_rewrite *r, gi_opcode op, gi_value *x)
{
    return x ? gi_rw_build(r, op, 1, &x) : NULL;
}

gi_value *gi_rw_binary(gi_rewrite *r, gi_opcode op, gi_value *a, gi_value *b)
{
    return a && b ? gi_rw_build(r, op, 2, (gi_value *[]){ a, b }) : NULL;
}

gi_value *gi_rw_where(gi_rewrite *r, gi_value *condition, gi_value *a, gi_value *b)
{
    return condition && a && b ? gi_rw_build(r, OP_Where, 3, (gi_value *[]){ condition, a, b }) : NULL;
}

static gi_node *with_input(gi_rewrite *r, gi_opcode op, gi_value *x)
{
    return x ? gi_rw_node(r, op, 1, &x, 1) : NULL;
}

gi_value *gi_rw_cast(gi_rewrite *r, gi_value *x, gopt_dtype t)
{
    if (x && gi_value_dtype(x) == t)
        return x;
    gi_node *n = with_input(r, OP_Cast, x);
    if (n)
        gi_attr_set_int(n, Cast_at_to, (int64_t)t);
    return gi_rw_done(r, n);
}

gi_value *gi_rw_transpose(gi_rewrite *r, gi_value *x, int rank, const int64_t *perm)
{
    bool moved = false;
    for (int i = 0; i < rank; i++)
        moved |= perm[i] != i;
    if (!moved)
        return x;
    gi_node *n = with_input(r, OP_Transpose, x);
    return n && gi_attr_set_ints(n, Transpose_at_perm, (uint32_t)rank, perm) ? gi_rw_done(r, n) : NULL;
}

gi_value *gi_rw_reshape(gi_rewrite *r, gi_value *x, int rank, const int64_t *target)
{
    return gi_rw_binary(r, OP_Reshape, x, x ? gi_rw_ints(r, (uint32_t)rank, target) : NULL);
}

gi_value *gi_rw_unsqueeze(gi_rewrite *r, gi_value *x, uint32_t n, const int64_t *axes)
{
    return gi_rw_binary(r, OP_Unsqueeze, x, x ? gi_rw_ints(r, n, axes) : NULL);
}

gi_value *gi_rw_squeeze(gi_rewrite *r, gi_value *x, uint32_t n, const int64_t *axes)
{
    return gi_rw_binary(r, OP_Squeeze, x, x ? gi_rw_ints(r, n, axes) : NULL);
}

gi_value *gi_rw_concat(gi_rewrite *r, uint32_t n, gi_value *const *parts, int64_t axis)
{
    for (uint32_t i = 0; i < n; i++)
        if (!parts[i])
            return NULL;
    gi_node *c = gi_rw_node(r, OP_Concat, n, parts, 1);
    if (c)
        gi_attr_set_int(c, Concat_at_axis, axis);
    return gi_rw_done(r, c);
}

gi_value *gi_rw_softmax(gi_rewrite *r, gi_value *x, int64_t axis)
{
    gi_node *n = with_input(r, OP_Softmax, x);
    if (n)
        gi_attr_set_int(n, Softmax_at_axis, axis);
    return gi_rw_done(r, n);
}

gi_value *gi_rw_reduce(gi_rewrite *r, gi_opcode op, gi_value *x, uint32_t n, const int64_t *axes)
{
    return gi_rw_binary(r, op, x, x ? gi_rw_ints(r, n, axes) : NULL);
}

bool gi_rw_split(gi_rewrite *r, gi_value *x, int64_t axis, uint32_t n, const int64_t *lengths, gi_value **parts)
{
    gi_value *l = x ? gi_rw_ints(r, n, lengths) : NULL;
    gi_node *s = l ? gi_rw_node(r, OP_Split, 2, (gi_value *[]){ x, l }, n) : NULL;
    if (!s)
        return false;
    gi_attr_set_int(s, Split_at_axis, axis);
    if (!gi_rw_done(r, s))
        return false;
    for (uint32_t i = 0; i < n; i++)
        parts[i] = s->out[i];
    return true;
}

gi_value *gi_rw_dim(gi_rewrite *r, gi_value *x, int i, gopt_dtype t)
{
    const int64_t known = gi_value_dim(x, i), at = i;
    if (known >= 0)
        return gi_rw_scalar(r, t, (double)known);
    return gi_rw_cast(r, gi_rw_binary(r, OP_Gather, gi_rw_unary(r, OP_Shape, x), gi_const_i64(r->g, 0, 1, &at)), t);
}

gi_value *gi_rw_widen(gi_rewrite *r, gi_value *x, gi_value *like, int i)
{
    const int64_t known[2] = { gi_value_dim(like, i), 1 }, at = i, one = 1;
    if (known[0] >= 0)
        return gi_rw_binary(r, OP_Expand, x, gi_rw_ints(r, 2, known));
    gi_value *dim = gi_rw_binary(r, OP_Gather, gi_rw_unary(r, OP_Shape, like), gi_rw_ints(r, 1, &at));
    return gi_rw_binary(r, OP_Expand, x, gi_rw_concat(r, 2, (gi_value *[]){ dim, gi_rw_ints(r, 1, &one) }, 0));
}

bool gi_rw_attrs_of(gi_node *n, const gi_node *from)
{
    const gi_op *row = gi_op_get(n->op);
    for (int i = 0; i < row->n_attrs; i++) {
        const gi_attr *a = gi_attr_find(from, row->attrs[i].name);
        bool ok = true;
        if (!a || a->kind != row->attrs[i].kind)
            continue;
        switch (a->kind) {
        case GI_ATTR_INT:
            gi_attr_set_int(n, i, a->u.i);
            break;
        case GI_ATTR_FLOAT:
            gi_attr_set_float(n, i, a->u.f);
            break;
        case GI_ATTR_STRING:
            ok = gi_attr_set_str(n, i, a->u.s);
            break;
        case GI_ATTR_INTS:
            ok = gi_attr_set_ints(n, i, a->n, a->u.ints);
            break;
        case GI_ATTR_FLOATS:
            ok = gi_attr_set_floats(n, i, a->n, a->u.floats);
            break;
        default:
            break;
        }
        if (!ok)
            return false;
    }
    return true;
}
