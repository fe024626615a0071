/* Rules of views: Reshape, Squeeze, Unsqueeze, Flatten keep the elements and their order, so a chain of them is
 * known by the shapes at its two ends. */
#include "passes/rule.h"

enum { MAX_CHAIN = 32 };

static bool is_view(const gi_node *n)
{
    return n && (n->op == OP_Reshape || n->op == OP_Squeeze || n->op == OP_Unsqueeze || n->op == OP_Flatten);
}

/* The target of a Reshape that takes x to y's shape, 0 where a dim stays in its place and -1 for one that is
 * known only at run time. False where there are more of those. */
static bool write_shape(gopt_graph *g, const gi_value *x, const gi_value *y, int64_t *target, int *unknown)
{
    *unknown = 0;
    const int rank = gi_value_rank(y);
    if (rank < 0)
        return false;
    for (int i = 0; i < rank; i++) {
        const gi_dim *d = y->type->dims[i];
        if (gi_dim_is_const(d, &target[i])) {
            if (target[i] == 0)
                return false; /* 0 means another thing there */
        } else if (i < gi_value_rank(x) && gi_dim_equal(g->dims, d, x->type->dims[i]) == 1) {
            target[i] = 0;
        } else {
            target[i] = -1;
            (*unknown)++;
        }
    }
    return *unknown <= 1;
}

static bool target_can_be_written(const gi_match *m, gi_reason *why)
{
    int64_t target[GOPT_MAX_RANK];
    int unknown;
    if (gi_value_blob(m->s))
        return false;
    if (write_shape(m->g, m->x, m->root->out[0], target, &unknown))
        return true;
    return unknown > 1 && gi_decline(why, "its target has %d dims that are known only at run time", unknown);
}

static gi_value *reshape(gi_rewrite *r, gi_value *x, const gi_value *y)
{
    int64_t target[GOPT_MAX_RANK];
    int unknown;
    if (!write_shape(r->g, x, y, target, &unknown))
        return NULL;
    gi_value *s = gi_const_i64(r->g, 1, gi_value_rank(y), target);
    return s ? gi_rw_build(r, OP_Reshape, 2, (gi_value *[]){ x, s }) : NULL;
}

static gi_value *write_target(gi_rewrite *r, const gi_match *m)
{
    return reshape(r, m->x, m->root->out[0]);
}

/* The nearest value up the chain that has the root's type; NULL where there is none. */
static gi_value *find_origin(const gi_match *m)
{
    gi_value *v = m->x;
    for (int i = 0; i < MAX_CHAIN && v; i++) {
        if (gi_type_same(m->g, v->type, m->root->out[0]->type))
            return v;
        const gi_node *n = gi_value_node(v);
        if (!is_view(n) || n->block != m->root->block)
            break;
        v = gi_node_in(n, 0);
    }
    return NULL;
}

static bool returns_where_it_began(const gi_match *m, gi_reason *why)
{
    (void)why;
    return find_origin(m) != NULL;
}

static gi_value *make_origin(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return find_origin(m);
}

/* The value at the chain's other end, if the chain is longer than one and its inner links have no other use. */
static gi_value *find_start(const gi_match *m)
{
    gi_value *v = m->x;
    for (int i = 0; i < MAX_CHAIN; i++) {
        const gi_node *n = gi_value_node(v);
        if (!is_view(n) || n->block != m->root->block || v->n_uses != 1)
            break;
        v = gi_node_in(n, 0);
    }
    return v == m->x ? NULL : v;
}

static bool chain_is_one_reshape(const gi_match *m, gi_reason *why)
{
    int64_t target[GOPT_MAX_RANK];
    int unknown = 0;
    const gi_value *start = find_start(m);
    if (!start || gi_value_rank(start) < 0)
        return false;
    if (write_shape(m->g, start, m->root->out[0], target, &unknown))
        return true;
    return unknown > 1 &&
           gi_decline(why, "the merged target would have %d dims that are known only at run time", unknown);
}

static gi_value *make_one_reshape(gi_rewrite *r, const gi_match *m)
{
    gi_value *start = find_start(m);
    gi_value *y = start ? reshape(r, start, m->root->out[0]) : NULL;
    for (const gi_value *v = m->x; y && v != start; v = gi_node_in(v->def.node, 0))
        if (!gi_node_merge_origins(y->def.node, v->def.node))
            return NULL;
    return y;
}

/* The dims that are not 1 stay in their order: then so do the elements. A permutation that is in order altogether
 * is another rule's. */
static bool moves_only_ones(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t target[GOPT_MAX_RANK], last = -1;
    const int64_t *perm;
    int unknown;
    bool moves = false;
    const uint32_t n = gi_attr_ints(m->root, Transpose_at_perm, &perm);
    if (!n || (int)n != gi_value_rank(m->x))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (perm[i] < 0 || perm[i] >= (int64_t)n)
            return false;
        moves = moves || perm[i] != (int64_t)i;
        if (gi_value_dim(m->x, (int)perm[i]) == 1)
            continue;
        if (perm[i] < last)
            return false;
        last = perm[i];
    }
    return moves && write_shape(m->g, m->x, m->root->out[0], target, &unknown);
}

/* ---- slices ---- */

/* Of one Slice with constant bounds, or of two on different axes. */
typedef struct span {
    uint32_t n;
    int axes[GOPT_MAX_RANK];
    int64_t start[GOPT_MAX_RANK], end[GOPT_MAX_RANK], step[GOPT_MAX_RANK];
    bool steps; /* does any of them name its steps? */
} span;

/* Adds what n takes. False where its bounds are not constants, or an axis is there already. */
static bool add_span(span *to, const gi_node *n)
{
    int64_t start[GOPT_MAX_RANK], end[GOPT_MAX_RANK], step[GOPT_MAX_RANK], axes[GOPT_MAX_RANK];
    const int rank = gi_value_rank(gi_node_in(n, Slice_in_data));
    const gi_value *a = gi_node_in(n, Slice_in_axes), *t = gi_node_in(n, Slice_in_steps);
    uint32_t count, n_end, n_axes, n_steps;
    if (rank < 0 || !gi_value_ints(gi_node_in(n, Slice_in_starts), start, GOPT_MAX_RANK, &count) ||
        !gi_value_ints(gi_node_in(n, Slice_in_ends), end, GOPT_MAX_RANK, &n_end) || n_end != count ||
        (a && (!gi_value_ints(a, axes, GOPT_MAX_RANK, &n_axes) || n_axes != count)) ||
        (t && (!gi_value_ints(t, step, GOPT_MAX_RANK, &n_steps) || n_steps != count)))
        return false;
    to->steps |= t != NULL;
    for (uint32_t i = 0; i < count; i++) {
        int axis;
        if (to->n == GOPT_MAX_RANK || !gi_axis(a ? axes[i] : (int64_t)i, rank, &axis))
            return false;
        for (uint32_t k = 0; k < to->n; k++)
            if (to->axes[k] == axis)
                return false;
        to->axes[to->n] = axis;
        to->start[to->n] = start[i];
        to->end[to->n] = end[i];
        to->step[to->n++] = t ? step[i] : 1;
    }
    return true;
}

/* The inner one dies only if all that read it can do without. */
static bool all_take_other_axes(const gi_match *m, gi_reason *why)
{
    (void)why;
    for (const gi_use *u = m->y->uses; u; u = u->next) {
        span s = { 0 };
        if (!u->node || u->node->op != OP_Slice || u->index != Slice_in_data || u->node->block != m->root->block ||
            !add_span(&s, gi_value_node(m->y)) || !add_span(&s, u->node))
            return false;
    }
    return true;
}

static gi_value *make_one_slice(gi_rewrite *r, const gi_match *m)
{
    span s = { 0 };
    int64_t axes[GOPT_MAX_RANK];
    if (!add_span(&s, gi_value_node(m->y)) || !add_span(&s, m->root))
        return NULL;
    for (uint32_t i = 0; i < s.n; i++)
        axes[i] = s.axes[i];
    gi_value *in[5] = { m->x, gi_const_i64(r->g, 1, s.n, s.start), gi_const_i64(r->g, 1, s.n, s.end),
                        gi_const_i64(r->g, 1, s.n, axes), s.steps ? gi_const_i64(r->g, 1, s.n, s.step) : NULL };
    if (!in[1] || !in[2] || !in[3] || (s.steps && !in[4]))
        return NULL;
    return gi_rw_build(r, OP_Slice, s.steps ? 5 : 4, in);
}

#include "passes/rows.h"
#include "passes/rules/view.def"
