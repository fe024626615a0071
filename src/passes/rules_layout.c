/* Rules that move Transposes to where they cancel, and take parts before moving instead of after.
 *
 * A Transpose may go behind what treats the dims alike that it moves: a product with a matrix on the right, when it
 * leaves the last dim in its place; arithmetic with constants along that dim; a Split. That makes no node fewer by
 * itself. So it is done only where every reader behind is a chain of moves that takes the Transpose in at no cost,
 * and the model is then shorter by it. */
#include "passes/layout.h"

enum { MAX_READERS = 8, MAX_DEPTH = 8, MAX_CHAIN = 32, MAX_PARTS = 16 };

/* ---- what takes a Transpose in ---- */

static bool apply(gi_layout *l, const gi_node *n)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    if (n->op == OP_Transpose)
        return gi_transpose_perm(n, perm, &rank) && gi_layout_permute(l, perm, rank);
    return gi_layout_view(l, n->out[0]->type);
}

static bool is_move(const gi_node *n)
{
    return gi_is_view(n) || (n && n->op == OP_Transpose);
}

/* The chain of moves that begins with n does the same at no more nodes with this permutation before it. x: the type
 * before the permutation. */
static bool chain_absorbs(gopt_graph *g, const gi_type *x, const int64_t *perm, int rank, const gi_node *n)
{
    gi_layout l;
    int nodes = 1;
    if (!gi_layout_begin(&l, g, x) || !gi_layout_permute(&l, perm, rank) || !apply(&l, n))
        return false;
    for (const gi_node *next; nodes < MAX_CHAIN; n = next, nodes++) {
        next = gi_value_only_user(n->out[0]);
        if (!is_move(next) || next->block != n->block || !apply(&l, next))
            break;
    }
    const int cost = gi_layout_cost(&l);
    return cost >= 0 && cost <= nodes;
}

static bool is_in_place(const int64_t *perm, int axis)
{
    return perm[axis] == axis;
}

static bool varies_along_last(const gi_value *k)
{
    const gi_blob *b = gi_value_blob(k);
    for (int i = 0; b && i + 1 < b->rank; i++)
        if (b->dims[i] != 1)
            return false;
    return b != NULL;
}

/* Pointwise, with no operand but x that the permutation would have to move too. */
static bool is_pointwise_along_last(const gi_node *n, const gi_value *x)
{
    if (!(gi_op_get(n->op)->traits & GI_ELEMENTWISE) || n->n_out != 1 || gi_value_rank(n->out[0]) != gi_value_rank(x))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && n->in[i].value != x && !varies_along_last(n->in[i].value))
            return false;
    return true;
}

static bool is_product(const gi_node *n, const gi_value *x)
{
    return n->op == OP_MatMul && gi_node_in(n, 0) == x && gi_value_blob(gi_node_in(n, 1)) &&
           gi_value_rank(gi_node_in(n, 1)) == 2;
}

/* The type of v before a permutation that gave it the one it has. */
static const gi_type *unpermuted(gopt_graph *g, const gi_value *v, const int64_t *perm, int rank)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    if (gi_value_rank(v) != rank)
        return NULL;
    for (int i = 0; i < rank; i++)
        dims[perm[i]] = v->type->dims[i];
    return gi_type_tensor(g->types, v->type->dtype, rank, dims);
}

/* Would a Transpose that gives v its shape cost nothing, whoever reads it? */
static bool is_absorbed(gopt_graph *g, const gi_value *v, const int64_t *perm, int rank, int depth)
{
    const gi_type *before = unpermuted(g, v, perm, rank);
    if (!before || !v->n_uses || v->n_uses > MAX_READERS || depth > MAX_DEPTH)
        return false;
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_node *n = u->node;
        if (!n)
            return false;
        if (is_move(n) && u->index == 0 && chain_absorbs(g, before, perm, rank, n))
            continue;
        if (n->op == OP_Split && u->index == Split_in_input) {
            for (uint32_t i = 0; i < n->n_out; i++)
                if (n->out[i]->n_uses && !is_absorbed(g, n->out[i], perm, rank, depth + 1))
                    return false;
            continue;
        }
        if (!is_in_place(perm, rank - 1) || (!is_product(n, v) && !is_pointwise_along_last(n, v)) ||
            !is_absorbed(g, n->out[0], perm, rank, depth + 1))
            return false;
    }
    return true;
}

/* The Transpose that m->y comes from, and whether it may go behind the root and is gone there. */
static bool goes_behind(const gi_match *m, bool keeps_last)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    if (!gi_transpose_perm(gi_value_node(m->y), perm, &rank) || rank < 2 ||
        (keeps_last && !is_in_place(perm, rank - 1)))
        return false;
    for (uint32_t i = 0; i < m->root->n_out; i++)
        if (m->root->out[i]->n_uses && !is_absorbed(m->g, m->root->out[i], perm, rank, 0))
            return false;
    return true;
}

/* Could v be made in the order that this permutation gives it, at no cost? */
static bool is_made_permuted(gopt_graph *g, const gi_value *v, const int64_t *perm, int rank, int depth)
{
    const gi_node *n = gi_value_node(v), *chain[MAX_CHAIN];
    if (!n || v->n_uses != 1 || gi_value_rank(v) != rank || depth > MAX_DEPTH)
        return false;
    if (is_in_place(perm, rank - 1)) {
        const gi_value *x = gi_node_in(n, 0);
        if (is_product(n, x))
            return is_made_permuted(g, x, perm, rank, depth + 1);
        x = varies_along_last(x) ? gi_node_in(n, 1) : x;
        if (n->op == OP_Add && is_pointwise_along_last(n, x))
            return is_made_permuted(g, x, perm, rank, depth + 1);
    }
    uint32_t moves = 0;
    for (; moves < MAX_CHAIN && is_move(n) && n->out[0]->n_uses == 1; n = gi_value_node(gi_node_in(n, 0)))
        chain[moves++] = n;
    gi_layout l;
    if (!moves || !gi_layout_begin(&l, g, gi_node_in(chain[moves - 1], 0)->type))
        return false;
    for (uint32_t i = moves; i-- > 0;)
        if (!apply(&l, chain[i]))
            return false;
    if (!gi_layout_permute(&l, perm, rank))
        return false;
    const int cost = gi_layout_cost(&l);
    return cost >= 0 && cost <= (int)moves;
}

/* May the Transpose at the root go before the product or sum that it follows? */
static bool goes_before(const gi_match *m, gi_reason *why)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    (void)why;
    return gi_transpose_perm(m->root, perm, &rank) && is_made_permuted(m->g, m->y, perm, rank, 0);
}

static gi_value *transpose_earlier(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = gi_value_node(m->y);
    gi_node *t = gi_rw_node(r, OP_Transpose, 1, &m->x, 1);
    gi_value *x = t && gi_attrs_copy(t, m->root) ? gi_rw_done(r, t) : NULL;
    if (!x)
        return NULL;
    gi_value *in[2] = { n->in[0].value == m->x ? x : n->in[0].value, n->in[1].value == m->x ? x : n->in[1].value };
    gi_node *made = gi_rw_node(r, n->op, 2, in, 1);
    if (!made || !gi_attrs_copy(made, n))
        return NULL;
    made->name = n->name;
    return gi_rw_done(r, made);
}

static bool product_lets_it_through(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_value_rank(m->w) == 2 && goes_behind(m, true);
}

static bool pointwise_lets_it_through(const gi_match *m, gi_reason *why)
{
    (void)why;
    return is_pointwise_along_last(m->root, m->y) && goes_behind(m, true);
}

static bool split_lets_it_through(const gi_match *m, gi_reason *why)
{
    int axis;
    (void)why;
    return gi_axis(gi_attr_int(m->root, Split_at_axis), gi_value_rank(m->y), &axis) && goes_behind(m, false);
}

static gi_value *transposed_again(gi_rewrite *r, const gi_match *m, gi_value *v)
{
    gi_node *n = v ? gi_rw_node(r, OP_Transpose, 1, &v, 1) : NULL;
    return n && gi_attrs_copy(n, gi_value_node(m->y)) ? gi_rw_done(r, n) : NULL;
}

/* The root on x instead of on the transposed x, and its result transposed. */
static gi_value *transpose_later(gi_rewrite *r, const gi_match *m)
{
    gi_value *in[GI_OP_MAX_IN];
    if (m->root->n_in > GI_OP_MAX_IN)
        return NULL;
    for (uint32_t i = 0; i < m->root->n_in; i++)
        in[i] = m->root->in[i].value == m->y ? m->x : m->root->in[i].value;
    gi_node *n = gi_rw_node(r, m->root->op, m->root->n_in, in, 1);
    if (!n || !gi_attrs_copy(n, m->root))
        return NULL;
    n->name = m->root->name;
    return transposed_again(r, m, gi_rw_done(r, n));
}

static gi_value *split_earlier(gi_rewrite *r, const gi_match *m)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank, axis;
    const gi_node *split = m->root;
    if (!gi_transpose_perm(gi_value_node(m->y), perm, &rank) ||
        !gi_axis(gi_attr_int(split, Split_at_axis), rank, &axis))
        return NULL;
    gi_value **outs = GI_NEW_ARRAY(r->scratch, gi_value *, split->n_out);
    gi_node *n = outs ? gi_rw_node(r, OP_Split, split->n_in, (gi_value *[]){ m->x, m->s }, split->n_out) : NULL;
    if (!n || !gi_attrs_copy(n, split))
        return NULL;
    gi_attr_set_int(n, Split_at_axis, perm[axis]);
    if (!gi_rw_done(r, n))
        return NULL;
    for (uint32_t i = 0; i < split->n_out; i++) {
        outs[i] = transposed_again(r, m, n->out[i]);
        if (!outs[i])
            return NULL;
    }
    r->outs = outs;
    return outs[0];
}

/* ---- one part of a value that was moved about first ---- */

/* Where an entry of dim `axis` of a moved value lies in the source: a stretch of one of its dims. */
typedef struct part {
    gi_value *x;
    gi_layout l;                /* of the part alone, to the Gather's result */
    int axis;                   /* of x */
    int64_t index, count, size; /* which of how many stretches, of how many entries each */
    uint32_t chain;             /* moves before the Gather */
} part;

static bool read_chain(const gi_match *m, part *p)
{
    const gi_node *chain[MAX_CHAIN];
    p->chain = 0;
    gi_value *v = m->y;
    for (const gi_node *n; p->chain < MAX_CHAIN; v = gi_node_in(n, 0)) {
        n = gi_value_node(v);
        if (!is_move(n) || n->block != m->root->block || (v != m->y && v->n_uses != 1))
            break;
        chain[p->chain++] = n;
    }
    p->x = v;
    if (!p->chain || !gi_layout_begin(&p->l, m->g, v->type))
        return false;
    for (uint32_t i = p->chain; i-- > 0;)
        if (!apply(&p->l, chain[i]))
            return false;
    return true;
}

static void drop_atom(uint8_t *list, uint32_t n, uint32_t at)
{
    memmove(list + at, list + at + 1, (n - at - 1) * sizeof *list);
}

/* Takes dim `axis` of the result, one whole atom that leads a dim of the source, out of the layout. */
static bool take_out(part *p, int axis, int64_t index)
{
    gi_layout *l = &p->l;
    const uint32_t at = axis ? l->to_end[axis - 1] : 0;
    int64_t count, dim;
    if (l->to_end[axis] != at + 1 || !gi_dim_is_const(l->dims[axis], &count))
        return false;
    const uint8_t atom = l->to[at];
    uint32_t place = 0;
    while (l->from[place] != atom)
        place++;
    p->axis = 0;
    while (l->from_end[p->axis] <= place)
        p->axis++;
    if (place != (p->axis ? l->from_end[p->axis - 1] : 0) || !gi_dim_is_const(l->source->dims[p->axis], &dim) ||
        index < -count || index >= count)
        return false;
    p->index = index < 0 ? index + count : index;
    p->count = count;
    p->size = dim / count; /* exactly: the atom leads the dim */
    const gi_dim *dims[GOPT_MAX_RANK];
    memcpy(dims, l->source->dims, (size_t)l->source->rank * sizeof *dims);
    dims[p->axis] = gi_dim_const(l->g->dims, p->size);
    l->source = gi_type_tensor(l->g->types, l->source->dtype, l->source->rank, dims);
    if (!dims[p->axis] || !l->source)
        return false;
    drop_atom(l->from, l->n, place);
    drop_atom(l->to, l->n, at);
    for (int i = 0; i < l->source->rank; i++)
        l->from_end[i] -= l->from_end[i] > place;
    for (int i = axis; i + 1 < l->rank; i++) {
        l->dims[i] = l->dims[i + 1];
        l->to_end[i] = l->to_end[i + 1] - 1;
    }
    l->rank--;
    /* The last of the atoms takes the number of the one that is gone. */
    l->n--;
    for (uint32_t i = 0; i < l->n && atom != l->n; i++) {
        if (l->from[i] == l->n)
            l->from[i] = atom;
        if (l->to[i] == l->n)
            l->to[i] = atom;
    }
    l->size[atom] = l->size[l->n];
    return true;
}

/* Of one Gather: true where its index is one number known now. */
static bool gathers_one(const gi_node *n, int64_t *index, int *axis)
{
    const gi_value *i = gi_node_in(n, Gather_in_indices);
    uint32_t count;
    return gi_value_blob(i) && gi_value_rank(i) == 0 && gi_value_ints(i, index, 1, &count) && count == 1 &&
           gi_axis(gi_attr_int(n, Gather_at_axis), gi_value_rank(gi_node_in(n, Gather_in_data)), axis);
}

static bool find_part(const gi_match *m, part *p)
{
    int64_t index, other;
    int axis, its;
    if (!gathers_one(m->root, &index, &axis) || !read_chain(m, p) || !take_out(p, axis, index))
        return false;
    for (const gi_use *u = m->y->uses; u; u = u->next)
        if (!u->node || u->node->op != OP_Gather || u->index != Gather_in_data || !gathers_one(u->node, &other, &its) ||
            its != axis)
            return false;
    return true;
}

static bool part_is_shorter(const gi_match *m, gi_reason *why)
{
    part p;
    (void)why;
    if (!find_part(m, &p))
        return false;
    const int cost = gi_layout_cost(&p.l);
    return cost >= 0 && p.count <= MAX_PARTS && 1 + (uint32_t)cost * m->y->n_uses < p.chain + m->y->n_uses;
}

/* Each of the Gathers makes this Split; equal ones become one (cse). */
static gi_value *take_part_first(gi_rewrite *r, const gi_match *m)
{
    part p;
    if (!find_part(m, &p))
        return NULL;
    int64_t sizes[MAX_PARTS];
    for (int64_t i = 0; i < p.count; i++)
        sizes[i] = p.size;
    gi_value *s = gi_const_i64(r->g, 1, p.count, sizes);
    gi_node *split = s ? gi_rw_node(r, OP_Split, 2, (gi_value *[]){ p.x, s }, (uint32_t)p.count) : NULL;
    if (!split)
        return NULL;
    gi_attr_set_int(split, Split_at_axis, p.axis);
    return gi_rw_done(r, split) ? gi_layout_build(r, &p.l, split->out[p.index]) : NULL;
}

/* ---- a Gemm of rows that were one dim only for it ---- */

static bool same_dims(gopt_graph *g, const gi_value *v, int rank, const gi_dim *const *dims)
{
    if (gi_value_rank(v) != rank)
        return false;
    for (int i = 0; i < rank; i++)
        if (gi_dim_equal(g->dims, v->type->dims[i], dims[i]) != 1)
            return false;
    return true;
}

/* What the product reads: the dims of the root's result, the last one as long as the weights have rows. A Reshape
 * makes that of m->x. */
static bool rows_of(const gi_match *m, const gi_dim **dims, int *rank)
{
    int64_t target[GOPT_MAX_RANK];
    const gi_value *y = m->root->out[0];
    *rank = gi_value_rank(y);
    if (*rank < 3 || gi_value_rank(m->x) < 1 || gi_value_rank(m->y) != 2 ||
        gi_dim_equal(m->g->dims, y->type->dims[*rank - 1], m->c->type->dims[1]) != 1)
        return false;
    memcpy(dims, y->type->dims, (size_t)*rank * sizeof *dims);
    dims[*rank - 1] = m->y->type->dims[1];
    const int unknown = gi_reshape_target(m->g, gi_value_rank(m->x), m->x->type->dims, *rank, dims, target);
    return unknown == 0 || unknown == 1;
}

static gi_value *as_rows(gi_rewrite *r, const gi_match *m)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    int64_t target[GOPT_MAX_RANK];
    int rank;
    if (!rows_of(m, dims, &rank))
        return NULL;
    if (same_dims(m->g, m->x, rank, dims))
        return m->x;
    (void)gi_reshape_target(m->g, gi_value_rank(m->x), m->x->type->dims, rank, dims, target);
    gi_value *s = gi_const_i64(r->g, 1, rank, target);
    return s ? gi_rw_build(r, OP_Reshape, 2, (gi_value *[]){ m->x, s }) : NULL;
}

static bool rows_come_apart_again(const gi_match *m, gi_reason *why)
{
    const gi_node *gemm = gi_value_node(m->c);
    const gi_blob *b = gi_value_blob(m->b);
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank;
    if (gi_attr_float(gemm, Gemm_at_alpha) != 1.0f || gi_attr_float(gemm, Gemm_at_beta) != 1.0f ||
        gi_attr_int(gemm, Gemm_at_transA) || gi_value_rank(m->c) != 2 || !rows_of(m, dims, &rank))
        return false;
    const gi_node *next = gi_value_only_user(m->root->out[0]);
    if (!same_dims(m->g, m->x, rank, dims) && m->b && !(next && next->op == OP_Transpose))
        return false; /* as many nodes as before, and nothing that comes next gets shorter */
    if (b && !(b->rank == 1 || (b->rank == 2 && b->dims[0] == 1)))
        return gi_decline(why, "its bias is not one value per column");
    return !gi_attr_int(gemm, Gemm_at_transB) || m->w->n_uses == 1 ||
           gi_decline(why, "its weights %s are used elsewhere too", gi_value_ref(m->w, m->scratch));
}

static gi_value *make_product(gi_rewrite *r, const gi_match *m)
{
    const gi_node *gemm = gi_value_node(m->c);
    gi_value *w = m->w;
    if (gi_attr_int(gemm, Gemm_at_transB)) {
        gi_node *t = gi_rw_node(r, OP_Transpose, 1, &w, 1);
        w = t && gi_attr_set_ints(t, Transpose_at_perm, 2, (const int64_t[]){ 1, 0 }) ? gi_rw_done(r, t) : NULL;
    }
    gi_value *x = w ? as_rows(r, m) : NULL;
    gi_node *product = x ? gi_rw_node(r, OP_MatMul, 2, (gi_value *[]){ x, w }, 1) : NULL;
    if (!product)
        return NULL;
    product->name = gemm->name;
    gi_value *y = gi_rw_done(r, product);
    return y && m->b ? gi_rw_build(r, OP_Add, 2, (gi_value *[]){ y, m->b }) : y;
}

#include "passes/rows.h"
#include "passes/rules/layout.def"
