/* Rules that move Transposes to where they cancel, and take parts before moving instead of after.
 *
 * A Transpose may go behind what treats the dims alike that it moves: a product with a matrix on the right, when it
 * leaves the last dim in its place; arithmetic with constants along that dim; a Split. That makes no node fewer by
 * itself. So it is done only where every reader behind is a chain of moves that takes the Transpose in at no cost,
 * and the model is then shorter by it. */
#include "passes/layout.h"

enum { MAX_READERS = 8, MAX_DEPTH = 8, MAX_CHAIN = 32 };

/* ---- what takes a Transpose in ---- */

/* The chain of moves that begins with n does the same at no more nodes with this permutation before it. x: the type
 * before the permutation. */
static bool chain_absorbs(gopt_graph *g, const gi_type *x, const int64_t *perm, int rank, const gi_node *n)
{
    gi_layout l;
    int nodes = 1;
    if (!gi_layout_begin(&l, g, x) || !gi_layout_permute(&l, perm, rank) || !gi_layout_apply(&l, n))
        return false;
    for (const gi_node *next; nodes < MAX_CHAIN; n = next, nodes++) {
        next = gi_value_only_user(n->out[0]);
        if (!gi_is_move(next) || next->block != n->block || !gi_layout_apply(&l, next))
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
        if (gi_is_move(n) && u->index == 0 && chain_absorbs(g, before, perm, rank, n))
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
    for (; moves < MAX_CHAIN && gi_is_move(n) && n->out[0]->n_uses == 1; n = gi_value_node(gi_node_in(n, 0)))
        chain[moves++] = n;
    gi_layout l;
    if (!moves || !gi_layout_begin(&l, g, gi_node_in(chain[moves - 1], 0)->type))
        return false;
    for (uint32_t i = moves; i-- > 0;)
        if (!gi_layout_apply(&l, chain[i]))
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
    gi_value *first = NULL;
    gi_node *n = gi_rw_node(r, OP_Split, split->n_in, (gi_value *[]){ m->x, m->s }, split->n_out);
    if (!n || !gi_attrs_copy(n, split))
        return NULL;
    gi_attr_set_int(n, Split_at_axis, perm[axis]);
    if (!gi_rw_done(r, n))
        return NULL;
    for (uint32_t i = 0; i < split->n_out; i++) {
        gi_value *v = transposed_again(r, m, n->out[i]);
        if (!v || (i && !gi_rw_also(r, split->out[i], v)))
            return NULL;
        first = i ? first : v;
    }
    return first;
}

/* ---- one part of a value that was moved about first ---- */

/* The moves behind a value, each the only reader of the one before. */
static uint32_t follow_moves(const gi_value *v, gi_layout *l)
{
    uint32_t n = 0;
    for (const gi_node *next; n < MAX_CHAIN; v = next->out[0], n++) {
        next = gi_value_only_user(v);
        if (!gi_is_move(next) || !gi_layout_apply(l, next))
            break;
    }
    return n;
}

/* One Split and what each part takes from there to the end of its chain, against the nodes that there are. */
static bool part_is_shorter(const gi_match *m, gi_reason *why)
{
    gi_origin o;
    uint32_t before = 0, after = 1;
    (void)why;
    if (!gi_origin_find(&o, m->g, m->root->out[0]) || !o.count || o.gather != m->root)
        return false;
    for (const gi_use *u = m->y->uses; u; u = u->next) {
        gi_origin other;
        if (!u->node || !gi_origin_find(&other, m->g, u->node->out[0]))
            return false;
        before += 1 + follow_moves(u->node->out[0], &other.l);
        const int cost = gi_layout_cost(&other.l);
        if (cost < 0)
            return false;
        after += (uint32_t)cost;
    }
    return after < before + o.moves_before;
}

/* Each of the Gathers makes the Split; equal ones become one (cse). */
static gi_value *take_part_first(gi_rewrite *r, const gi_match *m)
{
    gi_origin o;
    gi_value *x = gi_origin_find(&o, m->g, m->root->out[0]) ? gi_origin_source(r, &o) : NULL;
    return x ? gi_layout_build(r, &o.l, x) : NULL;
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
