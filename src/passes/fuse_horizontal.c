/* Horizontal fusion: parallel products of one input become one with their weights side by side.
 *
 *     %q = Add (MatMul %x, %wq), %bq               %m = MatMul %x, [%wq|%wk|%wv]
 *     %k = Add (MatMul %x, %wk), %bk       ⇒       %a = Add %m, [%bq|%bk|%bv]
 *     %v = Add (MatMul %x, %wv), %bv               %q, %k, %v = Split %a { axis = -1 }
 *
 * Convolutions likewise, where all attributes agree; and where a Concat takes the results in the same order,
 * it takes the one result instead, and nothing is split. Bias Adds behind the products and activations that
 * all of them share go along.
 *
 * It is a rewrite (the weights are new ones, and it is exported), though each output element is computed from
 * the same numbers in the same order. Only weights that nothing else reads take part, so the file does not
 * grow; and it is done only where fewer nodes are left: two bare MatMuls against one and a Split is no gain. */
#include <stdlib.h>

#include "passes/util.h"

enum { MAX_MEMBERS = 32, MAX_STEPS = 4, MAX_USERS = 1024 };

typedef struct group {
    gi_node *first[MAX_MEMBERS]; /* the products */
    gi_node *last[MAX_MEMBERS];  /* what stands at the end of each chain */
    size_t n;
    gi_node *step[MAX_MEMBERS][MAX_STEPS]; /* what follows the products, in all members alike */
    size_t n_steps;
    int axis; /* of the outputs that lie side by side */
} group;

typedef struct merger {
    gopt_graph *g;
    gi_pass_ctx *cx;
    uint32_t *at;     /* by node id: numbers that compare within a block */
    uint32_t n_nodes; /* ids that there were at the start */
} merger;

/* ---- which products go together ---- */

static bool has_own_weights(const gi_node *n)
{
    const gi_value *w = gi_node_in(n, 1);
    const gi_blob *b = gi_value_blob(w);
    if (!b || w->n_uses != 1 || !gi_dtype_is_float(b->dtype) || gopt_dtype_bits(b->dtype) < 8)
        return false;
    const gi_value *bias = gi_node_in(n, 2);
    return !bias || gi_value_blob(bias);
}

static bool is_member(const gi_node *n)
{
    if (!has_own_weights(n) || gi_value_rank(n->out[0]) < 2)
        return false;
    const gi_blob *w = gi_node_in(n, 1)->def.blob;
    const gi_blob *b = gi_value_blob(gi_node_in(n, 2));
    switch (n->op) {
    case OP_Conv:
        return w->rank >= 3 && gi_attr_int(n, Conv_at_group) == 1;
    case OP_MatMul:
        return w->rank == 2;
    case OP_Gemm:
        return w->rank == 2 && !gi_attr_int(n, Gemm_at_transA) &&
               (!b || (b->rank >= 1 && gi_blob_elements(b) == gi_value_dim(n->out[0], 1)));
    default:
        return false;
    }
}

/* The axis on which the weights lie side by side. */
static int weight_axis(const gi_node *n)
{
    return n->op == OP_Conv || (n->op == OP_Gemm && gi_attr_int(n, Gemm_at_transB)) ? 0 : 1;
}

static bool go_together(const gi_node *a, const gi_node *b)
{
    const gi_blob *x = gi_node_in(a, 1)->def.blob, *y = gi_node_in(b, 1)->def.blob;
    if (a->op != b->op || a->block != b->block || x->rank != y->rank || x->dtype != y->dtype ||
        !gi_node_in(a, 2) != !gi_node_in(b, 2))
        return false;
    for (uint32_t i = 0; i < a->n_attrs; i++)
        if (!gi_attr_equal(&a->attrs[i], &b->attrs[i]))
            return false;
    for (int i = 0; i < x->rank; i++)
        if (i != weight_axis(a) && x->dims[i] != y->dims[i])
            return false;
    return true;
}

static int compare_nodes(const void *x, const void *y)
{
    const gi_node *a = *(gi_node *const *)x, *b = *(gi_node *const *)y;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* n and what reads the same input as it does and goes with it. What this pass made has no place in the order yet. */
static void gather(const merger *m, gi_node *n, group *gr)
{
    const gi_value *x = gi_node_in(n, 0);
    int looked_at = 0;
    gr->n = 0;
    for (const gi_use *u = x->uses; u && gr->n < MAX_MEMBERS && looked_at < MAX_USERS; u = u->next, looked_at++)
        if (u->node && u->index == 0 && u->node->id < m->n_nodes && is_member(u->node) && go_together(n, u->node))
            gr->first[gr->n++] = u->node;
    qsort(gr->first, gr->n, sizeof *gr->first, compare_nodes);
}

/* ---- what goes along behind them ---- */

/* An Add of a constant that has one element per column, and nothing more. */
static gi_value *bias_of(const gi_node *add, const gi_node *product)
{
    if (add->op != OP_Add || add->n_in != 2)
        return NULL;
    const bool second = gi_value_node(gi_node_in(add, 0)) != NULL;
    gi_value *k = gi_node_in(add, second ? 1 : 0);
    const gi_blob *b = gi_value_blob(k);
    return b && b->rank == 1 && b->dims[0] == gi_value_dim(product->out[0], -1) && k->n_uses == 1 ? k : NULL;
}

static bool is_activation(const gi_node *n)
{
    const unsigned traits = gi_op_get(n->op)->traits;
    return n->n_in == 1 && n->n_out == 1 && (traits & GI_ELEMENTWISE) && (traits & GI_PURE) && n->op != OP_Cast;
}

/* Is `n`, behind member i, the same step as `like`, behind the first one? */
static bool same_step(const group *gr, size_t i, const gi_node *n, const gi_node *like)
{
    if (!n || n->op != like->op || n->block != gr->first[i]->block)
        return false;
    if (like->op == OP_Add)
        return gr->first[0]->op == OP_MatMul && bias_of(like, gr->first[0]) && bias_of(n, gr->first[i]);
    if (!is_activation(n))
        return false;
    for (uint32_t k = 0; k < n->n_attrs; k++)
        if (!gi_attr_equal(&n->attrs[k], &like->attrs[k]))
            return false;
    return true;
}

static void follow(group *gr)
{
    for (size_t i = 0; i < gr->n; i++)
        gr->last[i] = gr->first[i];
    for (gr->n_steps = 0; gr->n_steps < MAX_STEPS; gr->n_steps++) {
        gi_node *next[MAX_MEMBERS];
        for (size_t i = 0; i < gr->n; i++) {
            next[i] = gi_value_only_user(gr->last[i]->out[0]);
            if (!next[i] || !same_step(gr, i, next[i], next[0]))
                return;
        }
        for (size_t i = 0; i < gr->n; i++) {
            gr->step[i][gr->n_steps] = next[i];
            gr->last[i] = next[i];
        }
    }
}

/* The Concat that takes all the results one after another, and where the first of them stands in it. */
static gi_node *find_concat(const group *gr, uint32_t *from)
{
    gi_node *c = gi_value_only_user(gr->last[0]->out[0]);
    int axis;
    if (!c || c->op != OP_Concat || c->block != gr->first[0]->block ||
        !gi_axis(gi_attr_int(c, Concat_at_axis), gi_value_rank(gr->last[0]->out[0]), &axis) || axis != gr->axis)
        return NULL;
    *from = gr->last[0]->out[0]->uses->index;
    for (size_t i = 0; i < gr->n; i++) {
        const gi_value *v = gr->last[i]->out[0];
        if (v->n_uses != 1 || v->uses->node != c || v->uses->index != *from + i)
            return NULL;
    }
    return c;
}

/* ---- merging ---- */

static gi_value *side_by_side(merger *m, gi_blob *const *parts, size_t n, int axis)
{
    gi_blob *b;
    return gi_blob_concat(m->g->cx, parts, n, axis, &b) == GOPT_OK ? gi_const(m->g, b, NULL) : NULL;
}

/* Biases of any shape with one element a column, as one of rank 1. */
static gi_value *one_bias(merger *m, gi_value *const *v, size_t n)
{
    gi_blob *flat[MAX_MEMBERS];
    gi_value *all = NULL;
    size_t made = 0;
    for (; made < n; made++) {
        const int64_t elements = gi_blob_elements(v[made]->def.blob);
        if (gi_blob_reshaped(v[made]->def.blob, 1, &elements, &flat[made]) != GOPT_OK)
            break;
    }
    if (made == n)
        all = side_by_side(m, flat, n, 0);
    for (size_t i = 0; i < made; i++)
        gi_blob_unref(flat[i]);
    return all;
}

static gi_node *merge_products(merger *m, const group *gr, gi_node *before)
{
    const gi_node *first = gr->first[0];
    gi_blob *w[MAX_MEMBERS];
    gi_value *b[MAX_MEMBERS];
    for (size_t i = 0; i < gr->n; i++) {
        w[i] = gi_node_in(gr->first[i], 1)->def.blob;
        b[i] = gi_node_in(gr->first[i], 2);
    }
    gi_value *in[3] = { gi_node_in(first, 0), side_by_side(m, w, gr->n, weight_axis(first)), NULL };
    if (b[0])
        in[2] = one_bias(m, b, gr->n);
    if (!in[1] || (b[0] && !in[2]))
        return NULL;
    gi_node *n = gi_node_create(first->block, before, first->op, b[0] ? 3 : 2, in, 1);
    return n && gi_attrs_copy(n, first) && gi_infer_node(n, m->cx->scratch) == GOPT_OK ? n : NULL;
}

static gi_node *merge_step(merger *m, const group *gr, size_t k, gi_value *x, gi_node *before)
{
    const gi_node *like = gr->step[0][k];
    gi_value *in[2] = { x, NULL };
    if (like->op == OP_Add) {
        gi_value *b[MAX_MEMBERS];
        for (size_t i = 0; i < gr->n; i++)
            b[i] = bias_of(gr->step[i][k], gr->first[i]);
        in[1] = one_bias(m, b, gr->n);
        if (!in[1])
            return NULL;
    }
    gi_node *n = gi_node_create(like->block, before, like->op, in[1] ? 2 : 1, in, 1);
    return n && gi_attrs_copy(n, like) && gi_infer_node(n, m->cx->scratch) == GOPT_OK ? n : NULL;
}

static gi_node *make_split(merger *m, const group *gr, gi_value *x, gi_node *before)
{
    int64_t sizes[MAX_MEMBERS];
    for (size_t i = 0; i < gr->n; i++)
        sizes[i] = gi_value_dim(gr->last[i]->out[0], gr->axis);
    gi_value *split = gi_const_i64(m->g, 1, (int64_t)gr->n, sizes);
    gi_node *n =
        split ? gi_node_create(before->block, before, OP_Split, 2, (gi_value *[]){ x, split }, (uint32_t)gr->n) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, Split_at_axis, gr->axis);
    return gi_infer_node(n, m->cx->scratch) == GOPT_OK ? n : NULL;
}

/* The Concat reads the one result in place of the n from `from` on. */
static bool shorten_concat(gi_node *c, uint32_t from, uint32_t n, gi_value *y)
{
    gi_node_set_in(c, from, y);
    for (uint32_t i = from + 1; i + n - 1 < c->n_in; i++)
        gi_node_set_in(c, i, c->in[i + n - 1].value);
    return gi_node_resize_in(c, c->n_in - n + 1);
}

static bool add_origins(gi_node *n, const group *gr)
{
    if (n->op == gr->first[0]->op)
        n->name = gr->first[0]->name;
    for (size_t i = 0; i < gr->n; i++) {
        if (!gi_node_merge_origins(n, gr->first[i]))
            return false;
        for (size_t k = 0; k < gr->n_steps; k++)
            if (!gi_node_merge_origins(n, gr->step[i][k]))
                return false;
    }
    return true;
}

static gopt_status merge(merger *m, group *gr, gi_node *concat, uint32_t from)
{
    gi_node *before = gr->first[0];
    for (size_t i = 1; i < gr->n; i++)
        if (m->at[gr->first[i]->id] < m->at[before->id])
            before = gr->first[i];
    gi_node *top = merge_products(m, gr, before), *end = top;
    GI_NEED(top && add_origins(top, gr));
    for (size_t k = 0; k < gr->n_steps; k++) {
        end = merge_step(m, gr, k, end->out[0], before);
        GI_NEED(end && add_origins(end, gr));
    }
    gi_node *shown = top->name || top->n_origins ? top : concat; /* what a reader can find again */
    if (concat) {
        GI_NEED(shorten_concat(concat, from, (uint32_t)gr->n, end->out[0]));
    } else {
        gi_node *split = make_split(m, gr, end->out[0], before);
        GI_NEED(split && add_origins(split, gr));
        for (size_t i = 0; i < gr->n; i++) {
            gi_value *old = gr->last[i]->out[0];
            gi_value_refine(m->g, split->out[i], old->type);
            gi_value_take_name(split->out[i], old);
            gi_value_replace_uses(old, split->out[i]);
        }
        shown = shown ? shown : split;
    }
    gi_applied(m->cx, "fuse_horizontal", shown, "%zu parallel %s%s%s became one%s", gr->n, gr->first[0]->op_name,
               gr->n_steps ? " with " : "", gr->n_steps ? gr->step[0][gr->n_steps - 1]->op_name : "",
               concat ? "" : " and a Split");
    for (size_t i = 0; i < gr->n; i++)
        gi_remove_dead(gr->last[i], m->cx->scratch);
    return GOPT_OK;
}

static bool sizes_are_known(const group *gr)
{
    for (size_t i = 0; i < gr->n; i++)
        if (gi_value_dim(gr->last[i]->out[0], gr->axis) <= 0)
            return false;
    return true;
}

static gopt_status try_group(merger *m, gi_node *n)
{
    group *gr = GI_NEW(m->cx->scratch, group);
    GI_NEED(gr);
    gather(m, n, gr);
    if (gr->n < 2 || gr->first[0] != n)
        return GOPT_OK;
    gr->axis = n->op == OP_Conv ? 1 : gi_value_rank(n->out[0]) - 1;
    follow(gr);
    if (!sizes_are_known(gr))
        return GOPT_OK;
    uint32_t from = 0;
    gi_node *concat = find_concat(gr, &from);
    const size_t before = gr->n * (1 + gr->n_steps), after = 1 + gr->n_steps + (concat ? 0 : 1);
    if (after >= before) {
        gi_declined(m->cx, "fuse_horizontal", n, "%zu parallel %s would become as many nodes, with the Split", gr->n,
                    n->op_name);
        return GOPT_OK;
    }
    return gi_pass_may(m->cx, "fuse_horizontal") ? merge(m, gr, concat, from) : GOPT_OK;
}

typedef struct candidates {
    gi_arena *arena;
    gi_vec(gi_node *) list;
} candidates;

static bool collect(void *arg, gi_node *n)
{
    candidates *c = arg;
    return !is_member(n) || gi_node_in(n, 0)->n_uses < 2 || gi_push(c->arena, &c->list, n);
}

gopt_status gi_pass_fuse_horizontal(gopt_graph *g, gi_pass_ctx *cx)
{
    candidates c = { .arena = cx->scratch };
    GI_NEED(gi_each_node(g->main, collect, &c));
    merger m = { .g = g, .cx = cx, .n_nodes = g->next_node };
    GI_NEED(gi_graph_number(g, cx->scratch, &m.at));
    for (size_t i = 0; i < c.list.n; i++)
        if (c.list.p[i]->block)
            GI_TRY(try_group(&m, c.list.p[i]));
    return GOPT_OK;
}
