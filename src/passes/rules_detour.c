/* Rules of products and convolutions that are given another shape for nothing, and of steps of recurrences that have
 * an output of their own. */
#include "passes/layout.h"

enum { MAX_CHAIN = 32 };

/* ---- products of rows ---- */

static bool same_dim(const gi_match *m, const gi_value *a, int i, const gi_value *b, int k)
{
    return gi_dim_equal(m->g->dims, a->type->dims[i], b->type->dims[k]) == 1;
}

static bool rows_come_apart(const gi_match *m, gi_reason *why)
{
    const gi_value *y = m->root->out[0];
    const gi_blob *b = gi_value_blob(m->b);
    const int rank = gi_value_rank(y);
    if (gi_value_rank(m->w) != 2 || gi_value_rank(m->y) != 2 || rank < 1 || gi_value_rank(m->x) != rank ||
        gi_value_rank(m->c) != 2 || !same_dim(m, m->x, rank - 1, m->y, 1) || !same_dim(m, y, rank - 1, m->c, 1))
        return false;
    for (int i = 0; i + 1 < rank; i++)
        if (!same_dim(m, m->x, i, y, i))
            return false;
    return !b || gi_blob_elements(b) == 1 || (b->rank <= rank && gi_blob_elements(b) == b->dims[b->rank - 1]) ||
           gi_decline(why, "its bias %s is not one value per column", gi_value_ref(m->b, m->scratch));
}

static gi_value *multiply_as_it_is(gi_rewrite *r, const gi_match *m)
{
    gi_node *n = gi_rw_node(r, OP_MatMul, 2, (gi_value *[]){ m->x, m->w }, 1);
    if (!n)
        return NULL;
    n->name = gi_value_node(m->c)->name;
    gi_value *y = gi_rw_done(r, n);
    return y && m->b ? gi_rw_build(r, OP_Add, 2, (gi_value *[]){ y, m->b }) : y;
}

/* ---- convolutions of lines ---- */

/* Entry i of a list attribute; `absent` where there is none. */
static int64_t entry(const gi_node *n, int at, uint32_t i, int64_t absent)
{
    const int64_t *v;
    return i < gi_attr_ints(n, at, &v) ? v[i] : absent;
}

/* Are image, kernel and result of length 1 in that dim, and does nothing pad it? */
static bool is_idle(const gi_match *m, const gi_node *conv, int dim, int rank)
{
    const uint32_t i = (uint32_t)dim - 2, spatial = (uint32_t)rank - 2;
    return gi_value_dim(m->y, dim) == 1 && gi_value_dim(m->c, dim) == 1 && gi_value_blob(m->w)->dims[dim] == 1 &&
           entry(conv, Conv_at_kernel_shape, i, 1) == 1 && entry(conv, Conv_at_pads, i, 0) == 0 &&
           entry(conv, Conv_at_pads, i + spatial, 0) == 0;
}

/* The idle dim that the root takes away; -1 where there is none. */
static int find_idle(const gi_match *m)
{
    const gi_node *conv = gi_value_node(m->c);
    const gi_value *y = m->root->out[0];
    const int rank = gi_value_rank(m->c);
    if (rank < 4 || gi_value_rank(m->y) != rank || gi_value_blob(m->w)->rank != rank || gi_value_rank(y) != rank - 1)
        return -1;
    for (int dim = 2; dim < rank; dim++) {
        bool same = is_idle(m, conv, dim, rank);
        for (int i = 0; i < rank - 1 && same; i++)
            same = same_dim(m, y, i, m->c, i < dim ? i : i + 1);
        if (same)
            return dim;
    }
    return -1;
}

/* From where the image comes to the image without that dim, and how many moves there were. */
static bool read_image(const gi_match *m, int dim, gi_origin *o)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_value_rank(m->y);
    if (!gi_origin_find(o, m->g, m->y) || o->count || !o->x || !o->moves || m->y->n_uses != 1)
        return false;
    for (int i = 0; i < rank - 1; i++)
        dims[i] = m->y->type->dims[i < dim ? i : i + 1];
    const gi_type *t = gi_type_tensor(m->g->types, m->y->type->dtype, rank - 1, dims);
    return t && gi_layout_view(&o->l, t);
}

static bool has_idle_dim(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_origin o;
    const int dim = find_idle(m);
    if (dim < 0 || !read_image(m, dim, &o))
        return false;
    const int cost = gi_layout_cost(&o.l);
    return cost >= 0 && (uint32_t)cost <= o.moves;
}

static bool drop_entry(gi_node *n, int at, uint32_t i, bool pairs)
{
    int64_t kept[2 * GOPT_MAX_RANK];
    const int64_t *v;
    uint32_t to = 0;
    const uint32_t count = gi_attr_ints(n, at, &v);
    for (uint32_t k = 0; k < count && to < GI_COUNT(kept); k++)
        if (k != i && !(pairs && k == i + count / 2))
            kept[to++] = v[k];
    return count == 0 || gi_attr_set_ints(n, at, to, kept);
}

static gi_value *drop_idle_dim(gi_rewrite *r, const gi_match *m)
{
    gi_origin o;
    gi_blob *b;
    int64_t dims[GOPT_MAX_RANK];
    const int dim = find_idle(m);
    if (dim < 0 || !read_image(m, dim, &o))
        return NULL;
    const gi_blob *w = gi_value_blob(m->w);
    for (int i = 0; i < w->rank - 1; i++)
        dims[i] = w->dims[i < dim ? i : i + 1];
    if (gi_blob_reshaped(gi_value_blob(m->w), w->rank - 1, dims, &b) != GOPT_OK)
        return NULL;
    gi_value *line = gi_const(r->g, b, NULL), *x = line ? gi_layout_build(r, &o.l, o.x) : NULL;
    gi_node *n = x ? gi_rw_node(r, OP_Conv, m->b ? 3 : 2, (gi_value *[]){ x, line, m->b }, 1) : NULL;
    const uint32_t i = (uint32_t)dim - 2;
    if (!n || !gi_attrs_copy(n, gi_value_node(m->c)) || !drop_entry(n, Conv_at_kernel_shape, i, false) ||
        !drop_entry(n, Conv_at_strides, i, false) || !drop_entry(n, Conv_at_dilations, i, false) ||
        !drop_entry(n, Conv_at_pads, i, true))
        return NULL;
    n->name = gi_value_node(m->c)->name;
    for (const gi_value *v = m->y; v != o.x; v = gi_node_in(v->def.node, 0))
        if (!gi_node_merge_origins(n, v->def.node))
            return NULL;
    return gi_rw_done(r, n);
}

/* ---- recurrences ---- */

/* The LSTM, GRU or RNN whose Y this is, if it has Y_h and runs whole sequences; NULL otherwise. */
static gi_node *find_rnn(const gi_value *y)
{
    gi_node *n = gi_value_node(y);
    if (!n || y->index != 0 || (n->op != OP_LSTM && n->op != OP_GRU && n->op != OP_RNN) || n->n_out < 2)
        return NULL;
    const int layout = n->op == OP_LSTM  ? (int)LSTM_at_layout
                       : n->op == OP_GRU ? (int)GRU_at_layout
                                         : (int)RNN_at_layout;
    return gi_node_in(n, LSTM_in_sequence_lens) || gi_attr_int(n, layout) ? NULL : n;
}

static bool runs_forward(const gi_node *n)
{
    return gi_attr_is(n,
                      n->op == OP_LSTM  ? (int)LSTM_at_direction
                      : n->op == OP_GRU ? (int)GRU_at_direction
                                        : (int)RNN_at_direction,
                      "forward");
}

/* The moves from Y to what the Gather reads. */
static gi_node *read_steps(const gi_match *m, gi_layout *l)
{
    const gi_node *chain[MAX_CHAIN];
    uint32_t n = 0;
    gi_value *v = m->y;
    for (const gi_node *at; n < MAX_CHAIN && gi_is_move(at = gi_value_node(v)); v = gi_node_in(at, 0))
        chain[n++] = at;
    gi_node *rnn = find_rnn(v);
    if (!rnn || rnn->block != m->root->block || !gi_layout_begin(l, m->g, v->type))
        return NULL;
    while (n-- > 0)
        if (!gi_layout_apply(l, chain[n]))
            return NULL;
    return rnn;
}

/* Is the Gather's axis that of the steps, its index the last, and all else in its order? */
static gi_node *find_last_step(const gi_match *m)
{
    gi_layout l;
    int axis;
    const gi_blob *i = gi_value_blob(m->i);
    gi_node *rnn = i->rank == 0 && gi_dtype_is_int(i->dtype) ? read_steps(m, &l) : NULL;
    if (!rnn || !runs_forward(rnn) || l.from_end[0] != 1 ||
        !gi_axis(gi_attr_int(m->root, Gather_at_axis), l.rank, &axis))
        return NULL;
    const uint32_t at = axis ? l.to_end[axis - 1] : 0;
    const int64_t index = gi_load_i64(i->dtype, i->data, 0), steps = gi_value_dim(m->y, axis);
    if (l.to_end[axis] != at + 1 || l.to[at] != l.from[0] || (index != -1 && (steps < 0 || index != steps - 1)))
        return NULL;
    for (uint32_t k = 0, last = 0; k < l.n; k++) {
        uint32_t place = 0;
        while (l.from[place] != l.to[k])
            place++;
        if (k != at && place < last)
            return NULL;
        last = k == at ? last : place;
    }
    return rnn;
}

static bool takes_last_step(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_layout l;
    const gi_node *rnn = find_last_step(m);
    return rnn && gi_layout_begin(&l, m->g, rnn->out[LSTM_out_Y_h]->type) &&
           gi_layout_view(&l, m->root->out[0]->type) && gi_layout_cost(&l) >= 0;
}

static gi_value *take_last_state(gi_rewrite *r, const gi_match *m)
{
    gi_layout l;
    const gi_node *rnn = find_last_step(m);
    if (!rnn || !gi_layout_begin(&l, r->g, rnn->out[LSTM_out_Y_h]->type) || !gi_layout_view(&l, m->root->out[0]->type))
        return NULL;
    return gi_layout_build(r, &l, rnn->out[LSTM_out_Y_h]);
}

static bool has_one_step(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gi_node *n = find_rnn(m->y);
    return n && gi_value_rank(m->y) == 4 && gi_value_dim(m->y, 0) == 1 &&
           gi_type_same(m->g, n->out[LSTM_out_Y_h]->type, m->root->out[0]->type);
}

static gi_value *take_state(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return find_rnn(m->y)->out[LSTM_out_Y_h];
}

#include "passes/rows.h"
#include "passes/rules/detour.def"
