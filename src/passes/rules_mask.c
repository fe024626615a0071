/* Rules of elements chosen by their contents: exporters write x[mask] as the list of places where the mask is set,
 * and a Gather by that list; and ask how many TopK gave. */
#include "passes/rule.h"

/* Is the mask a bool vector as long as x along the axis? */
static bool mask_fits(const gi_match *m, const gi_value *x, int axis)
{
    return gi_value_dtype(m->c) == GOPT_BOOL && gi_value_rank(m->c) == 1 && gi_value_rank(x) > axis &&
           gi_dim_equal(m->g->dims, m->c->type->dims[0], x->type->dims[axis]) == 1;
}

static bool gathers_by_mask(const gi_match *m, const gi_node *n, int *axis)
{
    const gi_value *x = gi_node_in(n, 0);
    if (n->op == OP_GatherND) {
        *axis = 0;
        return gi_attr_int(n, GatherND_at_batch_dims) == 0 && mask_fits(m, x, 0);
    }
    return n->op == OP_Gather && gi_axis(gi_attr_int(n, Gather_at_axis), gi_value_rank(x), axis) &&
           mask_fits(m, x, *axis);
}

/* The list of places goes only if all that read it can do without. */
static bool all_gather_by_mask(const gi_match *m)
{
    int axis;
    for (const gi_use *u = m->i->uses; u; u = u->next)
        if (!u->node || u->index != 1 || u->node->op != m->root->op || u->node->block != m->root->block ||
            !gathers_by_mask(m, u->node, &axis))
            return false;
    return true;
}

/* Of a vector, NonZero gives one row of places: they are to stand in one column, one a place. */
static bool masks_leading_dim(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_value_rank(m->i) == 2 && gi_value_dim(m->i, 1) == 1 && all_gather_by_mask(m);
}

static bool masks_axis(const gi_match *m, gi_reason *why)
{
    (void)why;
    int axis = 0;
    const gi_node *row = gi_value_node(m->i);
    if (row->op == OP_Gather && (!gi_axis(gi_attr_int(row, Gather_at_axis), 2, &axis) || axis != 0))
        return false; /* one place, not all of them */
    return gi_value_rank(m->i) == 1 && all_gather_by_mask(m);
}

static gi_value *compress(gi_rewrite *r, const gi_match *m)
{
    int axis;
    gi_node *n =
        gathers_by_mask(m, m->root, &axis) ? gi_rw_node(r, OP_Compress, 2, (gi_value *[]){ m->x, m->c }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, Compress_at_axis, axis);
    return gi_rw_done(r, n);
}

/* ---- as many as were asked for ---- */

/* TopK of a vector gives k elements, or fails. */
static gi_value *top_count(const gi_match *m)
{
    const gi_node *n = gi_value_node(m->y);
    if (!n || n->op != OP_TopK || gi_value_rank(m->y) != 1 || gi_attr_int(m->root, Shape_at_start) ||
        gi_attr_has(m->root, Shape_at_end))
        return NULL;
    gi_value *k = gi_node_in(n, TopK_in_K);
    return gi_value_rank(k) == 1 && gi_value_dtype(k) == GOPT_I64 ? k : NULL;
}

static bool is_top_of_vector(const gi_match *m, gi_reason *why)
{
    (void)why;
    return top_count(m) != NULL;
}

static gi_value *make_count(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return top_count(m);
}

#include "passes/rows.h"
#include "passes/rules/mask.def"
