/* Rules of orders within one dim: a shuffle is a Gather by a constant list, and a list before or behind a product is a
 * list of its weights. */
#include "passes/layout.h"
#include "passes/parts.h"

enum { MAX_CHAIN = 32, MAX_LIST = 65536 };

/* ---- a dim shuffled ---- */

/* The chain of moves that ends in the root, and what it does; NULL where it does not begin and end in one shape. */
static gi_value *read_shuffle(const gi_match *m, gi_layout *l, uint32_t *moves)
{
    gi_origin o;
    if (!gi_origin_find(&o, m->g, m->root->out[0]) || o.count || !o.x || o.moves < 2 ||
        !gi_type_same(m->g, o.x->type, m->root->out[0]->type))
        return NULL;
    *l = o.l;
    *moves = o.moves;
    return o.x;
}

/* Atoms lie dim by dim where they did, but for those of one dim. */
static bool find_shuffled(const gi_layout *l, int *dim)
{
    *dim = -1;
    for (int d = 0; d < l->rank; d++) {
        const uint32_t first = d ? l->from_end[d - 1] : 0, end = l->from_end[d];
        if ((d ? l->to_end[d - 1] : 0) != first || l->to_end[d] != end)
            return false;
        if (!memcmp(l->from + first, l->to + first, end - first))
            continue;
        if (*dim >= 0)
            return false;
        *dim = d;
        for (uint32_t i = first; i < end; i++) { /* the same ones, in another order */
            bool found = false;
            for (uint32_t k = first; k < end; k++)
                found = found || l->from[k] == l->to[i];
            if (!found)
                return false;
        }
    }
    return *dim >= 0;
}

/* For each element of the shuffled dim, where it comes from. False where that is known only at run time. */
static bool list_shuffle(gi_arena *a, const gi_layout *l, int dim, int64_t **list, int64_t *n)
{
    const uint32_t first = dim ? l->from_end[dim - 1] : 0, end = l->from_end[dim];
    int64_t size[GI_LAYOUT_ATOMS], stride[GI_LAYOUT_ATOMS];
    *n = 1;
    for (uint32_t i = end; i-- > first;) {
        const uint8_t atom = l->from[i];
        if (!gi_dim_is_const(l->size[atom], &size[atom]))
            return false;
        stride[atom] = *n;
        if (!gi_mul_i64(*n, size[atom], n) || *n > MAX_LIST)
            return false;
    }
    *list = GI_NEW_ARRAY(a, int64_t, *n);
    for (int64_t e = 0; *list && e < *n; e++) {
        int64_t rest = e, at = 0;
        for (uint32_t i = end; i-- > first;) {
            const uint8_t atom = l->to[i];
            at += rest % size[atom] * stride[atom];
            rest /= size[atom];
        }
        (*list)[e] = at;
    }
    return *list != NULL;
}

static bool shuffles_one_dim(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_layout l;
    uint32_t moves;
    int dim;
    int64_t *list, n;
    return read_shuffle(m, &l, &moves) && find_shuffled(&l, &dim) && list_shuffle(m->scratch, &l, dim, &list, &n);
}

static gi_value *gather(gi_rewrite *r, gi_value *x, int64_t n, const int64_t *list, int axis)
{
    gi_value *indices = gi_const_i64(r->g, 1, n, list);
    gi_node *y = indices ? gi_rw_node(r, OP_Gather, 2, (gi_value *[]){ x, indices }, 1) : NULL;
    if (!y)
        return NULL;
    gi_attr_set_int(y, Gather_at_axis, axis);
    return gi_rw_done(r, y);
}

static gi_value *gather_shuffled(gi_rewrite *r, const gi_match *m)
{
    gi_layout l;
    uint32_t moves;
    int dim;
    int64_t *list, n;
    gi_value *x = read_shuffle(m, &l, &moves);
    if (!x || !find_shuffled(&l, &dim) || !list_shuffle(r->scratch, &l, dim, &list, &n))
        return NULL;
    gi_value *y = gather(r, x, n, list, dim);
    for (const gi_value *v = m->x; y && v != x; v = gi_node_in(v->def.node, 0))
        if (!gi_node_merge_origins(y->def.node, v->def.node))
            return NULL;
    return y;
}

/* ---- lists of channels and columns ---- */

/* The elements that v takes of an axis of what it reads, in order. NULL where they are not constant, too many, or it
 * drops or cuts another axis. */
static int64_t *read_list(gi_arena *a, const gi_value *v, int axis, int64_t *n)
{
    const gi_node *node = gi_value_node(v);
    const gi_blob *b = node->op == OP_Gather ? gi_value_blob(gi_node_in(node, Gather_in_indices)) : NULL;
    const int64_t dim = gi_value_dim(gi_node_in(node, 0), axis);
    gi_part p;
    int own;
    if (dim < 0)
        return NULL;
    if (!b && (!gi_part_of(v, &p) || p.axis != axis || p.drops))
        return NULL;
    if (b && (b->rank != 1 || !gi_dtype_is_int(b->dtype) ||
              !gi_axis(gi_attr_int(node, Gather_at_axis), gi_value_rank(gi_node_in(node, 0)), &own) || own != axis))
        return NULL;
    *n = b ? gi_blob_elements(b) : p.count;
    int64_t *list = *n > 0 && *n <= MAX_LIST ? GI_NEW_ARRAY(a, int64_t, *n) : NULL;
    for (int64_t i = 0; list && i < *n; i++) {
        list[i] = b ? gi_load_i64(b->dtype, b->data, (size_t)i) : p.first + i * p.step;
        list[i] += list[i] < 0 ? dim : 0;
        if (list[i] < 0 || list[i] >= dim)
            return NULL;
    }
    return list;
}

static bool each_once(gi_arena *a, const int64_t *list, int64_t n, int64_t dim)
{
    bool *seen = GI_NEW_ARRAY(a, bool, dim);
    for (int64_t i = 0; seen && i < n; i++) {
        if (seen[list[i]])
            return false;
        seen[list[i]] = true;
    }
    return seen != NULL;
}

/* The entries list[0], list[1], … of a constant's axis. Whole-byte types only. */
static gi_value *take_entries(gi_rewrite *r, const gi_blob *b, int axis, const int64_t *list, int64_t n)
{
    int64_t dims[GOPT_MAX_RANK];
    gi_blob *to;
    memcpy(dims, b->dims, (size_t)b->rank * sizeof *dims);
    dims[axis] = n;
    if (gopt_dtype_bits(b->dtype) < 8 || gi_blob_create(r->g->cx, b->dtype, b->rank, dims, &to) != GOPT_OK)
        return NULL;
    const size_t run = (size_t)gi_product(axis + 1, b->rank, b->dims) * (size_t)gopt_dtype_bits(b->dtype) / 8;
    const int64_t outer = gi_product(0, axis, b->dims);
    uint8_t *p = to->owned;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++, p += run)
            memcpy(p, (const uint8_t *)b->data + (size_t)(o * b->dims[axis] + list[i]) * run, run);
    return gi_const(r->g, to, NULL);
}

static bool is_dense_conv(const gi_node *n, const gi_blob *w)
{
    return gi_attr_int(n, Conv_at_group) == 1 && w->rank >= 3;
}

static bool gathers_all_channels(const gi_match *m, gi_reason *why)
{
    int64_t n;
    const gi_blob *w = gi_value_blob(m->w);
    if (!is_dense_conv(m->root, w))
        return false;
    const int64_t *list = read_list(m->scratch, m->y, 1, &n);
    return list && n == gi_value_dim(m->x, 1) && n == w->dims[1] && each_once(m->scratch, list, n, n) &&
           (m->w->n_uses == 1 ||
            gi_decline(why, "its weights %s are used elsewhere too", gi_value_ref(m->w, m->scratch)));
}

static gi_value *rebuild(gi_rewrite *r, const gi_node *n, gi_value *x, gi_value *w, gi_value *b)
{
    gi_node *y = w ? gi_rw_node(r, n->op, b ? 3 : 2, (gi_value *[]){ x, w, b }, 1) : NULL;
    if (!y || !gi_attrs_copy(y, n))
        return NULL;
    y->name = n->name;
    return gi_rw_done(r, y);
}

/* Channel list[i] of x is what weight i multiplied. */
static gi_value *reorder_inputs(gi_rewrite *r, const gi_match *m)
{
    int64_t n;
    const int64_t *list = read_list(r->scratch, m->y, 1, &n);
    int64_t *back = list ? GI_NEW_ARRAY(r->scratch, int64_t, n) : NULL;
    if (!back)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        back[list[i]] = i;
    return rebuild(r, m->root, m->x, take_entries(r, gi_value_blob(m->w), 1, back, n), m->b);
}

static bool read_alone(const gi_match *m, gi_reason *why)
{
    const gi_value *k = m->w->n_uses != 1 ? m->w : m->b && m->b->n_uses != 1 ? m->b : NULL;
    return !k || gi_decline(why, "its constant %s is used elsewhere too", gi_value_ref(k, m->scratch));
}

static bool takes_output_channels(const gi_match *m, gi_reason *why)
{
    int64_t n;
    const gi_blob *w = gi_value_blob(m->w);
    if (!is_dense_conv(gi_value_node(m->c), w))
        return false;
    const int64_t *list = read_list(m->scratch, m->root->out[0], 1, &n);
    return list && each_once(m->scratch, list, n, w->dims[0]) && read_alone(m, why);
}

static gi_value *take_channels(gi_rewrite *r, const gi_match *m)
{
    int64_t n;
    const int64_t *list = read_list(r->scratch, m->root->out[0], 1, &n);
    if (!list)
        return NULL;
    gi_value *b = m->b ? take_entries(r, gi_value_blob(m->b), 0, list, n) : NULL;
    if (m->b && !b)
        return NULL;
    return rebuild(r, gi_value_node(m->c), m->x, take_entries(r, gi_value_blob(m->w), 0, list, n), b);
}

static bool takes_columns(const gi_match *m, gi_reason *why)
{
    int64_t n;
    const gi_blob *w = gi_value_blob(m->w);
    if (w->rank != 2 || gi_value_rank(m->c) < 2)
        return false;
    const int64_t *list = read_list(m->scratch, m->root->out[0], gi_value_rank(m->c) - 1, &n);
    return list && each_once(m->scratch, list, n, w->dims[1]) && read_alone(m, why);
}

static gi_value *take_columns(gi_rewrite *r, const gi_match *m)
{
    int64_t n;
    const int64_t *list = read_list(r->scratch, m->root->out[0], gi_value_rank(m->c) - 1, &n);
    return list ? rebuild(r, gi_value_node(m->c), m->x, take_entries(r, gi_value_blob(m->w), 1, list, n), NULL) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/permute.def"
