/* Rules of reductions: keepdims says at no cost what a Squeeze or Unsqueeze would, and reductions in a row are one
 * over all their axes. */
#include "passes/rule.h"

static bool is_arg(const gi_node *n)
{
    return n->op == OP_ArgMax || n->op == OP_ArgMin;
}

static bool keeps_dims(const gi_node *n)
{
    return gi_attr_int(n, is_arg(n) ? (int)ArgMax_at_keepdims : (int)ReduceSum_at_keepdims) != 0;
}

/* Which dims of its input a reduction goes over. False where that is not known. */
static bool reduced_dims(const gi_node *n, bool *reduced, int *rank)
{
    int64_t axes[GOPT_MAX_RANK];
    uint32_t count = 0;
    int at;
    *rank = gi_value_rank(gi_node_in(n, 0));
    if (*rank < 0)
        return false;
    memset(reduced, 0, GOPT_MAX_RANK * sizeof *reduced);
    if (is_arg(n)) {
        const bool found = gi_axis(gi_attr_int(n, ArgMax_at_axis), *rank, &at);
        if (found)
            reduced[at] = true;
        return found;
    }
    gi_value *a = gi_node_in(n, ReduceSum_in_axes);
    if (a && !gi_value_known_ints(a, axes, GOPT_MAX_RANK, &count))
        return false;
    for (int i = 0; i < *rank; i++)
        reduced[i] = count == 0 && !gi_attr_int(n, ReduceSum_at_noop_with_empty_axes);
    for (uint32_t i = 0; i < count; i++) {
        if (!gi_axis(axes[i], *rank, &at))
            return false;
        reduced[at] = true;
    }
    return true;
}

/* x reduced over those dims by n's operator, with n's other attributes. */
static gi_value *reduce(gi_rewrite *r, const gi_node *n, gi_opcode op, gi_value *x, const bool *reduced, int rank,
                        bool keep)
{
    int64_t axes[GOPT_MAX_RANK];
    uint32_t count = 0;
    for (int i = 0; i < rank; i++)
        if (reduced[i])
            axes[count++] = i;
    gi_value *a = is_arg(n) ? NULL : gi_const_i64(r->g, 1, count, axes);
    gi_node *y = a || is_arg(n) ? gi_rw_node(r, op, a ? 2 : 1, (gi_value *[]){ x, a }, 1) : NULL;
    if (!y || (op == n->op && !gi_attrs_copy(y, n)))
        return NULL;
    if (!count && !is_arg(n))
        gi_attr_set_int(y, ReduceSum_at_noop_with_empty_axes, 1);
    y->name = n->name;
    gi_attr_set_int(y, is_arg(n) ? (int)ArgMax_at_keepdims : (int)ReduceSum_at_keepdims, keep);
    return gi_rw_done(r, y);
}

/* ---- dims of 1 ---- */

/* Is v's shape x's with the reduced dims kept as 1, or left out? */
static bool has_shape(gopt_graph *g, const gi_value *v, const gi_value *x, const bool *reduced, bool keep)
{
    int at = 0;
    for (int i = 0; i < gi_value_rank(x); i++) {
        if (reduced[i] && !keep)
            continue;
        if (at >= gi_value_rank(v))
            return false;
        const gi_dim *d = v->type->dims[at++];
        if (reduced[i] ? !gi_dim_is(d, 1) : gi_dim_equal(g->dims, d, x->type->dims[i]) != 1)
            return false;
    }
    return at == gi_value_rank(v);
}

static bool is_other_keepdims(const gi_match *m, gi_reason *why)
{
    (void)why;
    bool reduced[GOPT_MAX_RANK];
    int rank;
    const gi_node *n = gi_value_node(m->y);
    return reduced_dims(n, reduced, &rank) && has_shape(m->g, m->root->out[0], m->x, reduced, !keeps_dims(n));
}

static gi_value *turn_keepdims(gi_rewrite *r, const gi_match *m)
{
    bool reduced[GOPT_MAX_RANK];
    int rank;
    const gi_node *n = gi_value_node(m->y);
    return reduced_dims(n, reduced, &rank) ? reduce(r, n, n->op, m->x, reduced, rank, !keeps_dims(n)) : NULL;
}

static bool flattens_pool(const gi_match *m, gi_reason *why)
{
    (void)why;
    bool spatial[GOPT_MAX_RANK] = { false };
    for (int i = 2; i < gi_value_rank(m->x); i++)
        spatial[i] = true;
    return gi_value_rank(m->x) > 2 && has_shape(m->g, m->root->out[0], m->x, spatial, false);
}

static gi_value *reduce_instead(gi_rewrite *r, const gi_match *m)
{
    bool spatial[GOPT_MAX_RANK] = { false };
    const gi_node *n = gi_value_node(m->y);
    for (int i = 2; i < gi_value_rank(m->x); i++)
        spatial[i] = true;
    return reduce(r, n, n->op == OP_GlobalMaxPool ? OP_ReduceMax : OP_ReduceMean, m->x, spatial, gi_value_rank(m->x),
                  false);
}

/* ---- one after another ---- */

/* The dims of x that go in both steps, and whether they stay as 1. */
static bool join(const gi_match *m, bool *reduced, int *rank, bool *keep)
{
    bool outer[GOPT_MAX_RANK];
    int left, at = 0;
    const gi_node *inner = gi_value_node(m->y);
    if (!reduced_dims(inner, reduced, rank) || !reduced_dims(m->root, outer, &left))
        return false;
    *keep = keeps_dims(m->root);
    if (!keeps_dims(inner) && *keep)
        return false;
    for (int i = 0; i < *rank; i++) {
        if (!keeps_dims(inner)) {
            reduced[i] = reduced[i] || outer[at++];
            continue;
        }
        if (!*keep && reduced[i] && !outer[i])
            return false; /* the inner one's dim of 1 stays, the outer one's go */
        reduced[i] = reduced[i] || outer[i];
    }
    return true;
}

static bool reductions_join(const gi_match *m, gi_reason *why)
{
    (void)why;
    bool reduced[GOPT_MAX_RANK], keep;
    int rank;
    const gi_opcode op = m->root->op;
    const bool any_type = op == OP_ReduceSum || op == OP_ReduceProd || op == OP_ReduceMax || op == OP_ReduceMin;
    return (any_type || gi_dtype_is_float(gi_value_dtype(m->x))) && join(m, reduced, &rank, &keep);
}

static gi_value *join_reductions(gi_rewrite *r, const gi_match *m)
{
    bool reduced[GOPT_MAX_RANK], keep;
    int rank;
    return join(m, reduced, &rank, &keep) ? reduce(r, m->root, m->root->op, m->x, reduced, rank, keep) : NULL;
}

/* ---- dims of 1 alone ---- */

static bool reduces_ones(const gi_match *m, gi_reason *why)
{
    (void)why;
    bool reduced[GOPT_MAX_RANK];
    int rank;
    if (!reduced_dims(m->root, reduced, &rank))
        return false;
    const gopt_dtype t = gi_value_dtype(m->x);
    if (m->root->op == OP_ReduceMean && gi_dtype_is_int(t) && gopt_dtype_bits(t) > 32)
        return false; /* their mean goes through double, which has fewer digits */
    for (int i = 0; i < rank; i++)
        if (reduced[i] && gi_value_dim(m->x, i) != 1)
            return false;
    return true;
}

static gi_value *drop_ones(gi_rewrite *r, const gi_match *m)
{
    bool reduced[GOPT_MAX_RANK];
    int64_t axes[GOPT_MAX_RANK];
    int rank;
    uint32_t n = 0;
    if (!reduced_dims(m->root, reduced, &rank))
        return NULL;
    for (int i = 0; i < rank; i++)
        if (reduced[i])
            axes[n++] = i;
    if (keeps_dims(m->root) || !n)
        return m->x;
    gi_value *a = gi_const_i64(r->g, 1, n, axes);
    return a ? gi_rw_build(r, OP_Squeeze, 2, (gi_value *[]){ m->x, a }) : NULL;
}

/* ---- of few numbers ---- */

static bool reduces_singles(const gi_match *m, gi_reason *why)
{
    (void)why;
    bool reduced[GOPT_MAX_RANK];
    int rank;
    const gi_node *concat = gi_value_node(m->y);
    if (!gi_dtype_is_int(gi_value_dtype(m->y)) || concat->n_in < 2 || !keeps_dims(m->root) ||
        !reduced_dims(m->root, reduced, &rank) || rank != 1 || !reduced[0])
        return false;
    for (uint32_t i = 0; i < concat->n_in; i++)
        if (gi_value_rank(gi_node_in(concat, i)) != 1 || gi_value_dim(gi_node_in(concat, i), 0) != 1)
            return false;
    return true;
}

static gi_value *make_extreme(gi_rewrite *r, const gi_match *m)
{
    const gi_node *concat = gi_value_node(m->y);
    gi_value **in = GI_NEW_ARRAY(r->scratch, gi_value *, concat->n_in);
    for (uint32_t i = 0; in && i < concat->n_in; i++)
        in[i] = concat->in[i].value;
    return in ? gi_rw_build(r, m->root->op == OP_ReduceMin ? OP_Min : OP_Max, concat->n_in, in) : NULL;
}

static gi_value *make_arithmetic(gi_rewrite *r, const gi_match *m)
{
    return gi_rw_build(r, m->root->op == OP_ReduceSum ? OP_Add : OP_Mul, 2, (gi_value *[]){ m->p, m->q });
}

#include "passes/rows.h"
#include "passes/rules/reduce.def"
