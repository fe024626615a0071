/* Rules that recognize what runs along an axis: softmax, its logarithm, sums of functions, norms. */
#include "passes/rule.h"

#define ONE_AXIS "maximum and sum go over one axis, the same, and keep it as 1; before opset 13 it is the last one"
#define FLOATS "of f32 or f64; computed axes need opset 18"

/* The only axis, which is kept; false where there are more or it is not known. Positions are those of ReduceMean for
 * all reductions. */
static bool only_axis(const gi_value *v, int *axis)
{
    const gi_node *n = gi_value_node(v);
    int64_t a;
    uint32_t count;
    return n && gi_attr_int(n, ReduceMean_at_keepdims) && gi_node_in(n, ReduceMean_in_axes) &&
           gi_value_known_ints(gi_node_in(n, ReduceMean_in_axes), &a, 1, &count) && count == 1 &&
           gi_axis(a, gi_value_rank(gi_node_in(n, ReduceMean_in_data)), axis);
}

/* m->s sums, m->m, where there is one, is the maximum, and m->e, where there is one, is read twice here. */
static bool is_softmax(const gi_match *m, gi_reason *why)
{
    int axis, other;
    if (!gi_dtype_is_float(gi_value_dtype(m->x)) || !only_axis(m->s, &axis) ||
        (m->m && (!only_axis(m->m, &other) || other != axis)))
        return false;
    if (axis != gi_value_rank(m->x) - 1 && m->opset < 13)
        return gi_decline(why, "it goes over axis %d, and before opset 13 Softmax goes to the last one", axis);
    return !m->e || m->e->n_uses == 2 ||
           gi_decline(why, "%s has %u users: %s", gi_value_ref(m->e, m->scratch), m->e->n_uses,
                      gi_value_users(m->e, m->scratch));
}

static gi_value *along(gi_rewrite *r, gi_opcode op, gi_value *x, int64_t axis)
{
    gi_node *n = gi_rw_node(r, op, 1, &x, 1);
    if (!n)
        return NULL;
    gi_attr_set_int(n, Softmax_at_axis, axis);
    return gi_rw_done(r, n);
}

static gi_value *make_softmax(gi_rewrite *r, const gi_match *m)
{
    int axis;
    return only_axis(m->s, &axis) ? along(r, OP_Softmax, m->x, axis) : NULL;
}

static gi_value *make_log_softmax(gi_rewrite *r, const gi_match *m)
{
    int axis;
    return only_axis(m->s, &axis) ? along(r, OP_LogSoftmax, m->x, axis) : NULL;
}

static gi_value *make_log_of_softmax(gi_rewrite *r, const gi_match *m)
{
    return along(r, OP_LogSoftmax, m->x, gi_attr_int(gi_value_node(m->y), Softmax_at_axis));
}

/* ---- sums of functions ---- */

static const gi_node *reduction_of(const gi_match *m)
{
    return m->s ? gi_value_node(m->s) : m->root;
}

static bool reduces_floats(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gopt_dtype t = gi_value_dtype(m->x);
    const gi_node *n = reduction_of(m), *below = gi_value_node(m->x);
    if (m->root->op == OP_Log && below && below->op == OP_Exp)
        return false; /* of which LogSoftmax and ReduceLogSumExp are made */
    if (m->b && !gi_value_blob(m->b) && m->opset < 18)
        return gi_decline(why, "its axes are computed, and but for sums that came with opset 18");
    return (t == GOPT_F32 || t == GOPT_F64) && !gi_attr_int(n, ReduceMean_at_noop_with_empty_axes);
}

static bool reduces_squares(const gi_match *m, gi_reason *why)
{
    double two;
    return reduces_floats(m, why) &&
           (!m->k || (gi_value_scalar(m->k, &two) && two == 2 && gi_value_blob(m->k)->rank <= gi_value_rank(m->x)));
}

/* The same axes, another function. */
static gi_value *reduce(gi_rewrite *r, const gi_match *m, gi_opcode op)
{
    const gi_node *old = reduction_of(m);
    gi_node *n = gi_rw_node(r, op, m->b ? 2 : 1, (gi_value *[]){ m->x, m->b }, 1);
    if (!n)
        return NULL;
    gi_attr_set_int(n, ReduceMean_at_keepdims, gi_attr_int(old, ReduceMean_at_keepdims));
    return gi_rw_done(r, n);
}

static gi_value *make_log_sum_exp(gi_rewrite *r, const gi_match *m)
{
    return reduce(r, m, OP_ReduceLogSumExp);
}

static gi_value *make_l1(gi_rewrite *r, const gi_match *m)
{
    return reduce(r, m, OP_ReduceL1);
}

static gi_value *make_sum_square(gi_rewrite *r, const gi_match *m)
{
    return reduce(r, m, OP_ReduceSumSquare);
}

static gi_value *make_l2(gi_rewrite *r, const gi_match *m)
{
    return reduce(r, m, OP_ReduceL2);
}

static gi_value *make_log_sum(gi_rewrite *r, const gi_match *m)
{
    return reduce(r, m, OP_ReduceLogSum);
}

static bool is_plain_norm(const gi_match *m, gi_reason *why)
{
    int axis;
    if (!gi_dtype_is_float(gi_value_dtype(m->x)) || !only_axis(m->s, &axis))
        return false;
    return m->n == m->s ||
           gi_decline(why, "its norm is kept above a least one, and LpNormalization keeps none: shorter "
                           "vectors would come out longer");
}

static gi_value *make_lp_normalization(gi_rewrite *r, const gi_match *m)
{
    int axis;
    gi_node *n = only_axis(m->s, &axis) ? gi_rw_node(r, OP_LpNormalization, 1, &(gi_value *){ m->x }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, LpNormalization_at_axis, axis);
    gi_attr_set_int(n, LpNormalization_at_p, gi_value_node(m->s)->op == OP_ReduceL1 ? 1 : 2);
    return gi_rw_done(r, n);
}

#include "passes/rows.h"
#include "passes/rules/softmax.def"
