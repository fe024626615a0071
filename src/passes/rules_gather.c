/* Rules of Gather by constant indices. */
#include "passes/build.h"
#include "passes/parts.h"

static gi_value *make_x(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->x;
}

static bool gather_axis(const gi_node *gather, int *axis)
{
    return gi_axis(gi_attr_int(gather, Gather_at_axis), gi_value_rank(gi_node_in(gather, Gather_in_data)), axis);
}

/* Index e of a constant, counted from the start of a dim of that length; -1 where it lies outside. */
static int64_t index_at(const gi_blob *b, size_t e, int64_t dim)
{
    const int64_t i = gi_load_i64(b->dtype, b->data, e), at = i < 0 ? i + dim : i;
    return at >= 0 && at < dim ? at : -1;
}

static bool gathers_everything(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_part p;
    return gi_part_of(m->root->out[0], &p) && !p.drops && p.first == 0 && p.count == p.dim &&
           (p.step == 1 || p.count == 1);
}

/* ---- Gather of a Gather ---- */

static bool indices_join(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gi_blob *inner = gi_value_blob(m->j), *outer = gi_value_blob(m->i);
    int axis, own;
    if (inner->rank != 1 || !gi_dtype_is_int(inner->dtype) || !gi_dtype_is_int(outer->dtype) ||
        !gather_axis(gi_value_node(m->y), &axis) || !gather_axis(m->root, &own) || own != axis)
        return false;
    for (int64_t e = 0; e < gi_blob_elements(outer); e++)
        if (index_at(outer, (size_t)e, inner->dims[0]) < 0)
            return false;
    return true;
}

static gi_value *gather(gi_rewrite *r, gi_value *x, gi_blob *indices, int axis)
{
    gi_value *i = gi_const(r->g, indices, NULL);
    gi_node *n = i ? gi_rw_node(r, OP_Gather, 2, (gi_value *[]){ x, i }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, Gather_at_axis, axis);
    return gi_rw_done(r, n);
}

static gi_value *join_gathers(gi_rewrite *r, const gi_match *m)
{
    const gi_blob *inner = gi_value_blob(m->j), *outer = gi_value_blob(m->i);
    gi_blob *joint;
    int axis;
    if (!gather_axis(m->root, &axis) ||
        gi_blob_create(r->g->cx, inner->dtype, outer->rank, outer->dims, &joint) != GOPT_OK)
        return NULL;
    for (int64_t e = 0; e < gi_blob_elements(outer); e++)
        gi_store_i64(joint->dtype, joint->owned, (size_t)e,
                     gi_load_i64(inner->dtype, inner->data, (size_t)index_at(outer, (size_t)e, inner->dims[0])));
    return gather(r, m->x, joint, axis);
}

/* ---- Gather of a Concat ---- */

/* The Concat's input that holds all the indices, and the element that it begins with. */
static bool find_part(const gi_match *m, uint32_t *part, int64_t *begin)
{
    const gi_node *concat = gi_value_node(m->y);
    const gi_blob *b = gi_value_blob(m->i);
    int axis, own;
    if (!gi_dtype_is_int(b->dtype) || !gather_axis(m->root, &axis) ||
        !gi_axis(gi_attr_int(concat, Concat_at_axis), gi_value_rank(m->y), &own) || own != axis)
        return false;
    const int64_t dim = gi_value_dim(m->y, axis), n = gi_blob_elements(b);
    int64_t low = INT64_MAX, high = -1;
    for (int64_t e = 0; e < n; e++) {
        const int64_t raw = gi_load_i64(b->dtype, b->data, (size_t)e);
        if (dim < 0 && raw < 0)
            return false;
        const int64_t at = dim < 0 ? raw : index_at(b, (size_t)e, dim);
        low = at < low ? at : low;
        high = at > high ? at : high;
    }
    if (high < 0 || low < 0)
        return false;
    *begin = 0;
    for (*part = 0; *part < concat->n_in; (*part)++) {
        const int64_t length = gi_value_dim(gi_node_in(concat, *part), axis);
        if (length < 0)
            return false;
        if (low - *begin < length)
            return high - *begin < length;
        if (!gi_add_i64(*begin, length, begin))
            return false;
    }
    return false;
}

static bool gathers_from_a_part(const gi_match *m, gi_reason *why)
{
    (void)why;
    uint32_t part;
    int64_t begin;
    return find_part(m, &part, &begin);
}

static gi_value *gather_the_part(gi_rewrite *r, const gi_match *m)
{
    const gi_blob *b = gi_value_blob(m->i);
    gi_blob *moved;
    uint32_t part;
    int64_t begin;
    int axis;
    if (!find_part(m, &part, &begin) || !gather_axis(m->root, &axis) ||
        gi_blob_create(r->g->cx, b->dtype, b->rank, b->dims, &moved) != GOPT_OK)
        return NULL;
    const int64_t dim = gi_value_dim(m->y, axis);
    for (int64_t e = 0; e < gi_blob_elements(b); e++) {
        const int64_t raw = gi_load_i64(b->dtype, b->data, (size_t)e);
        gi_store_i64(b->dtype, moved->owned, (size_t)e, (raw < 0 ? raw + dim : raw) - begin);
    }
    return gather(r, gi_node_in(gi_value_node(m->y), part), moved, axis);
}

/* ---- one element ---- */

static bool gathers_the_only(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_part p;
    return gi_part_of(m->root->out[0], &p) && p.drops && p.dim == 1;
}

static gi_value *squeeze_instead(gi_rewrite *r, const gi_match *m)
{
    int axis;
    if (!gather_axis(m->root, &axis))
        return NULL;
    gi_value *a = gi_const_i64(r->g, 1, 1, (const int64_t[]){ axis });
    return a ? gi_rw_build(r, OP_Squeeze, 2, (gi_value *[]){ m->x, a }) : NULL;
}

/* The index is one number, and the dim that it takes away comes back in its place. */
static bool unsqueezes_the_axis(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t given;
    uint32_t n;
    int axis, back;
    const int rank = gi_value_rank(m->x);
    return rank > 0 && gi_value_blob(m->i)->rank == 0 && gi_value_known_ints(m->a, &given, 1, &n) && n == 1 &&
           gather_axis(gi_value_node(m->y), &axis) && gi_axis(given, rank, &back) && axis == back;
}

/* The index is a list of one, and the dim that it makes is taken away. */
static bool squeezes_the_axis(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t given;
    uint32_t n;
    int axis, gone;
    const gi_blob *i = gi_value_blob(m->i);
    const int rank = gi_value_rank(m->x);
    return rank > 0 && i->rank == 1 && i->dims[0] == 1 && gi_value_ints(m->a, &given, 1, &n) && n == 1 &&
           gather_axis(gi_value_node(m->y), &axis) && gi_axis(given, rank, &gone) && axis == gone;
}

static gi_value *gather_one(gi_rewrite *r, const gi_match *m)
{
    gi_blob *b;
    int axis;
    const int rank = m->root->op == OP_Unsqueeze;
    if (!gather_axis(gi_value_node(m->y), &axis) ||
        gi_blob_reshaped(gi_value_blob(m->i), rank, (const int64_t[]){ 1 }, &b) != GOPT_OK)
        return NULL;
    return gather(r, m->x, b, axis);
}

/* ---- Gathers of a dim that a Reshape cut off ---- */

/* Is y x with one dim, of the Gather's axis, cut in two? */
static bool cuts_the_axis(const gi_match *m, int axis)
{
    const int rank = gi_value_rank(m->x);
    if (rank < 1 || gi_value_rank(m->y) != rank + 1 || axis >= rank)
        return false;
    for (int i = 0; i <= rank; i++)
        if (i != axis && i != axis + 1 &&
            gi_dim_equal(m->g->dims, m->y->type->dims[i], m->x->type->dims[i > axis ? i - 1 : i]) != 1)
            return false;
    int64_t all;
    return gi_value_dim(m->y, axis) > 0 && gi_value_dim(m->y, axis + 1) > 0 &&
           gi_mul_i64(gi_value_dim(m->y, axis), gi_value_dim(m->y, axis + 1), &all) && gi_value_dim(m->x, axis) == all;
}

/* The Gathers of y along the axis, by the element that they take. */
static bool find_gathers(const gi_match *m, gi_value ***taken, gi_part *own)
{
    if (!gi_part_of(m->root->out[0], own) || !own->drops || own->first != 0 || own->dim < 2 || own->dim > 1024)
        return false;
    *taken = GI_NEW_ARRAY(m->scratch, gi_value *, own->dim);
    if (!*taken)
        return false;
    int64_t found = 0;
    for (const gi_use *u = m->y->uses; u; u = u->next) {
        gi_part p;
        if (!u->node || u->node->op != OP_Gather || u->index != 0 || u->node->block != m->root->block ||
            !gi_part_of(u->node->out[0], &p) || p.axis != own->axis || !p.drops)
            continue;
        if ((*taken)[p.first])
            return false;
        (*taken)[p.first] = u->node->out[0];
        found++;
    }
    return found == own->dim;
}

static bool gathers_cover_split_dim(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_value **taken;
    gi_part own;
    return find_gathers(m, &taken, &own) && cuts_the_axis(m, own.axis);
}

static gi_value *split_source(gi_rewrite *r, const gi_match *m)
{
    gi_value **taken;
    gi_part own;
    if (!find_gathers(m, &taken, &own))
        return NULL;
    int64_t *lengths = GI_NEW_ARRAY(r->scratch, int64_t, own.dim);
    if (!lengths)
        return NULL;
    for (int64_t i = 0; i < own.dim; i++)
        lengths[i] = gi_value_dim(m->y, own.axis + 1);
    const gi_node *split = gi_split_build(r, m->x, own.axis, (uint32_t)own.dim, lengths);
    if (!split)
        return NULL;
    for (int64_t i = 1; i < own.dim; i++)
        if (!gi_rw_also(r, taken[i], split->out[i]))
            return NULL;
    return split->out[0];
}

/* ---- parts of one entry ---- */

enum { MAX_ENTRIES = 256 };

/* Does a Squeeze take away this axis, and nothing else? */
static bool squeezes_only(const gi_node *n, int axis)
{
    int64_t at;
    uint32_t count;
    int known;
    const gi_value *x = n && n->op == OP_Squeeze ? gi_node_in(n, 0) : NULL;
    return x && gi_node_in(n, 1) && gi_value_ints(gi_node_in(n, 1), &at, 1, &count) && count == 1 &&
           gi_axis(at, gi_value_rank(x), &known) && known == axis;
}

/* Is each output of the Split that is read one entry of the axis, and is each reader such a Squeeze? */
static bool splits_into_entries(const gi_match *m, gi_reason *why)
{
    gi_part p;
    int64_t readers = 0;
    const gi_node *split = gi_value_node(m->y);
    (void)why;
    if (!split || split->op != OP_Split || split->block != m->root->block || split->n_out > MAX_ENTRIES ||
        !gi_part_of(m->y, &p) || !squeezes_only(m->root, p.axis))
        return false;
    for (uint32_t i = 0; i < split->n_out; i++) {
        if (!split->out[i]->n_uses)
            continue;
        if (!gi_part_of(split->out[i], &p) || p.count != 1)
            return false;
        for (const gi_use *u = split->out[i]->uses; u; u = u->next)
            if (++readers > MAX_ENTRIES || u->index != 0 || !u->node || u->node->block != split->block ||
                !squeezes_only(u->node, p.axis))
                return false;
    }
    return true;
}

static gi_value *gather_entry(gi_rewrite *r, const gi_match *m)
{
    gi_part p;
    gi_value *i = gi_part_of(m->y, &p) ? gi_const_i64(r->g, 0, 1, &p.first) : NULL;
    gi_node *n = i ? gi_rw_node(r, OP_Gather, 2, (gi_value *[]){ p.x, i }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, Gather_at_axis, p.axis);
    return gi_rw_done(r, n);
}

/* ---- one row of each ---- */

/* Is v 0, 1, 2, … of as many as x has rows? */
static bool counts_rows(const gi_match *m, const gi_value *v)
{
    double start, delta;
    const gi_node *n = gi_value_node(v);
    return n && n->op == OP_Range && gi_value_rank(v) == 1 && gi_value_scalar(gi_node_in(n, Range_in_start), &start) &&
           gi_value_scalar(gi_node_in(n, Range_in_delta), &delta) && start == 0 && delta == 1 &&
           gi_dim_equal(m->g->dims, v->type->dims[0], m->x->type->dims[0]) == 1;
}

static bool is_dim(const gi_match *m, gi_value *v, int dim)
{
    uint32_t n;
    const gi_dim *const *known = gi_value_known(v, &n);
    return known && n == 1 && gi_dim_equal(m->g->dims, known[0], m->x->type->dims[dim]) == 1;
}

/* Rows of [b·s, …], seen as [b, s, …]: entry l[i] of row i. */
static bool takes_one_of_each(const gi_match *m, gi_reason *why)
{
    const gi_value *x = m->x, *y = m->y;
    const int rank = gi_value_rank(x);
    if (rank < 2 || gi_value_rank(y) != rank - 1 || gi_value_rank(m->l) != 1 || gi_attr_int(m->root, Gather_at_axis) ||
        gi_value_dtype(m->l) != GOPT_I64 || gi_dim_equal(m->g->dims, m->l->type->dims[0], x->type->dims[0]) != 1)
        return false;
    const gi_dim *rows = gi_dim_mul(m->g->dims, x->type->dims[0], x->type->dims[1]);
    if (!rows || gi_dim_equal(m->g->dims, rows, y->type->dims[0]) != 1)
        return false;
    for (int i = 2; i < rank; i++)
        if (gi_dim_equal(m->g->dims, x->type->dims[i], y->type->dims[i - 1]) != 1)
            return false;
    if (!(counts_rows(m, m->r) && is_dim(m, m->k, 1)) && !(counts_rows(m, m->k) && is_dim(m, m->r, 1)))
        return false;
    return gi_indices_within(m->g, m->l, x->type->dims[1]) ||
           gi_decline(why, "an index of %s may lie outside of its row, and takes an entry of another one then",
                      gi_value_ref(m->l, m->scratch));
}

static gi_value *gather_of_each(gi_rewrite *r, const gi_match *m)
{
    const int64_t one = 1;
    gi_value *l = gi_rw_unsqueeze(r, m->l, 1, &one);
    gi_node *n = l ? gi_rw_node(r, OP_GatherND, 2, (gi_value *[]){ m->x, l }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, GatherND_at_batch_dims, 1);
    return gi_rw_done(r, n);
}

/* ---- rows of a matrix by one-hot rows ---- */

static bool picks_rows(const gi_match *m, gi_reason *why)
{
    double depth;
    const gi_node *hot = gi_value_node(m->o);
    const gi_blob *values = gi_value_blob(m->v), *w = gi_value_blob(m->w);
    const int rank = gi_value_rank(m->o);
    if (w->rank != 2 || !gi_dtype_is_float(w->dtype) || gopt_dtype_bits(w->dtype) < 16 || rank < 2 ||
        gi_blob_elements(values) != 2 || gi_value_dtype(gi_node_in(m->root, 0)) != w->dtype ||
        (gi_value_dtype(m->i) != GOPT_I64 && gi_value_dtype(m->i) != GOPT_I32))
        return false;
    const bool bools = values->dtype == GOPT_BOOL;
    const double off = bools ? gi_load_i64(values->dtype, values->data, 0) != 0
                             : gi_load_f64(values->dtype, values->data, 0),
                 on = bools ? gi_load_i64(values->dtype, values->data, 1) != 0
                            : gi_load_f64(values->dtype, values->data, 1);
    const int64_t axis = gi_attr_int(hot, OneHot_at_axis);
    if (off != 0 || on != 1 || (axis != -1 && axis != rank - 1) || !gi_value_scalar(m->d, &depth) ||
        depth != (double)w->dims[0])
        return false;
    if (!gi_blob_is_finite(w))
        return gi_decline(why, "the matrix has elements that are not finite, of which 0 times is NaN");
    return gi_indices_within(m->g, m->i, gi_dim_const(m->g->dims, w->dims[0])) ||
           gi_decline(why, "an index of %s may be out of range: OneHot gives a row of zeros for it, Gather fails",
                      gi_value_ref(m->i, m->scratch));
}

static gi_value *gather_rows(gi_rewrite *r, const gi_match *m)
{
    return gi_rw_build(r, OP_Gather, 2, (gi_value *[]){ m->w, m->i });
}

#include "passes/rows.h"
#include "passes/rules/gather.def"
