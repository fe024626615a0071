/* Heads that are one dim with the batch: [b·h, s, d] as torch.bmm and nn.MultiheadAttention have them.
 *
 *   [s,b,e] ─ Reshape ─ [s,b·h,d] ─ Transpose ─ [b·h,s,d]        becomes   Reshape ─ [s,b,h,d] ─ Transpose ─ [b,h,s,d]
 *
 * for queries, keys and values, and the other way round behind: as many nodes, and attention has the four dims that
 * all other rules know it by. */
#include "passes/build.h"
#include "passes/layout.h"

enum { MAX_CHAIN = 32, MAX_STEPS = 4 };

typedef struct heads {
    gi_origin in[3]; /* to q [b,h,s,d], k [b,h,d,t] and v [b,h,t,e] */
    const gi_dim *batch, *count;
    const gi_node *step[MAX_STEPS]; /* what scales and masks the scores, the last one first */
    int at[MAX_STEPS];              /* which operand are the scores */
    uint32_t n_steps;
} heads;

/* Does v broadcast to [b·h, s, t] the same to each, and so to [b,h,s,t] as it is? */
static bool is_alike_for_all(const gi_value *v)
{
    const int rank = gi_value_rank(v);
    return rank >= 0 && (rank <= 2 || (rank == 3 && gi_value_dim(v, 0) == 1));
}

/* Which operand of n is the scores, read once, whose other one is a scale or a mask; -1: none. */
static int scores_of(const gi_node *n)
{
    if (!n || (n->op != OP_Mul && n->op != OP_Div && n->op != OP_Add))
        return -1;
    for (uint32_t i = 0; i < (n->op == OP_Div ? 1 : 2); i++) {
        const gi_value *x = gi_node_in(n, i);
        const gi_node *from = gi_value_node(x);
        if (from && x->n_uses == 1 && gi_value_rank(x) == 3 && from->block == n->block &&
            is_alike_for_all(gi_node_in(n, 1 - i)) &&
            (from->op == OP_MatMul || from->op == OP_Mul || from->op == OP_Div || from->op == OP_Add))
            return (int)i;
    }
    return -1;
}

/* The heads are the last factor of the first dim, a number; the batch is what is before it. */
static bool cut_heads(gopt_graph *g, const gi_layout *l, const gi_dim **batch, const gi_dim **count)
{
    int64_t h;
    if (l->rank != 3 || l->to_end[0] < 2)
        return false;
    *batch = gi_dim_const(g->dims, 1);
    for (uint32_t i = 0; *batch && i + 1 < l->to_end[0]; i++)
        *batch = gi_dim_mul(g->dims, *batch, l->size[l->to[i]]);
    *count = l->size[l->to[l->to_end[0] - 1]];
    return *batch && gi_dim_is_const(*count, &h) && h > 1;
}

/* One operand with its heads apart, by no more nodes than there are. */
static bool take_apart(const gi_match *m, heads *p, int i, gi_value *v)
{
    const gi_dim *batch, *count;
    gi_origin *o = &p->in[i];
    if (v->n_uses != 1 || gi_value_rank(v) != 3 || !gi_origin_find(o, m->g, v) || o->count || !o->moves ||
        !cut_heads(m->g, &o->l, &batch, &count))
        return false;
    if (i && (gi_dim_equal(m->g->dims, batch, p->batch) != 1 || gi_dim_equal(m->g->dims, count, p->count) != 1))
        return false;
    p->batch = batch;
    p->count = count;
    const gi_dim *dims[4] = { batch, count, v->type->dims[1], v->type->dims[2] };
    const gi_type *t = gi_type_tensor(m->g->types, v->type->dtype, 4, dims);
    if (!t || !gi_layout_view(&o->l, t))
        return false;
    const int cost = gi_layout_cost(&o->l);
    return cost >= 0 && cost <= (int)o->moves;
}

/* Do the moves that read the result put the heads together at no more nodes than now? */
static bool goes_together(const gi_match *m, const heads *p)
{
    const gi_value *y = m->root->out[0];
    const gi_dim *dims[4] = { p->batch, p->count, y->type->dims[1], y->type->dims[2] };
    const gi_type *t = gi_type_tensor(m->g->types, y->type->dtype, 4, dims);
    gi_layout l;
    if (!t || gi_value_dim(y, 2) < 1 || !gi_layout_begin(&l, m->g, t) || !gi_layout_view(&l, y->type))
        return false;
    gi_layout last = l;
    int nodes = 0;
    for (const gi_node *n; nodes < MAX_CHAIN; nodes++, y = n->out[0], last = l) {
        n = gi_value_only_user(y);
        if (!gi_is_move(n) || n->block != m->root->block || !gi_layout_apply(&l, n))
            break;
    }
    const int cost = gi_layout_cost(&last);
    return cost >= 0 && cost <= nodes;
}

static bool read_heads(const gi_match *m, heads *p)
{
    const gi_node *softmax = gi_value_node(m->p);
    const gi_value *v = m->s;
    *p = (heads){ 0 };
    if (gi_value_rank(m->root->out[0]) != 3 || gi_value_rank(m->p) != 3 ||
        (gi_attr_int(softmax, Softmax_at_axis) != -1 && gi_attr_int(softmax, Softmax_at_axis) != 2))
        return false;
    for (int at; v->n_uses == 1 && (at = scores_of(gi_value_node(v))) >= 0 && p->n_steps < MAX_STEPS;) {
        p->step[p->n_steps] = gi_value_node(v);
        p->at[p->n_steps++] = at;
        v = gi_node_in(gi_value_node(v), (uint32_t)at);
    }
    const gi_node *product = gi_value_node(v);
    return product && product->op == OP_MatMul && product->block == m->root->block && v->n_uses == 1 &&
           take_apart(m, p, 0, gi_node_in(product, 0)) && take_apart(m, p, 1, gi_node_in(product, 1)) &&
           take_apart(m, p, 2, m->v) && goes_together(m, p);
}

static bool heads_come_apart(const gi_match *m, gi_reason *why)
{
    heads p;
    (void)why;
    return read_heads(m, &p);
}

/* y [b,h,s,e] as [b·h,s,e], by way of [s,b·h,e], so that one dim alone is known only at run time; what stands behind
 * takes it in. */
static gi_value *together_again(gi_rewrite *r, const gi_match *m, gi_value *y)
{
    static const int64_t rows_first[4] = { 2, 0, 1, 3 }, rows_second[3] = { 1, 0, 2 };
    const int64_t target[3] = { 0, -1, gi_value_dim(m->root->out[0], 2) };
    return gi_rw_transpose(r, gi_rw_reshape(r, gi_rw_transpose(r, y, 4, rows_first), 3, target), 3, rows_second);
}

static gi_value *make_apart(gi_rewrite *r, const gi_match *m)
{
    heads p;
    gi_value *in[3];
    if (!read_heads(m, &p))
        return NULL;
    for (int i = 0; i < 3; i++)
        if (!(in[i] = gi_layout_build(r, &p.in[i].l, p.in[i].x)))
            return NULL;
    gi_value *s = gi_rw_binary(r, OP_MatMul, in[0], in[1]);
    for (uint32_t i = p.n_steps; s && i-- > 0;) {
        gi_value *other = gi_node_in(p.step[i], p.at[i] ? 0 : 1);
        s = p.at[i] ? gi_rw_binary(r, p.step[i]->op, other, s) : gi_rw_binary(r, p.step[i]->op, s, other);
    }
    gi_value *y = gi_rw_binary(r, OP_MatMul, s ? gi_rw_softmax(r, s, -1) : NULL, in[2]);
    return together_again(r, m, y);
}

#include "passes/rows.h"
#include "passes/rules/heads.def"
