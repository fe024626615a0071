/* Vertical fusion: draws regions that one kernel runs. Changes no arithmetic.
 *
 *     %c = Conv %x, %w, %b                       %r = Fusion conv {
 *     %a = Add %c, %skip               ⇒             %c = Conv %x, %w, %b
 *     %r = Relu %a                                   %a = Add %c, %skip
 *                                                    yield Relu %a }
 *
 * Two kinds. A product (Conv, ConvTranspose, MatMul, Gemm) takes the pointwise nodes behind it as its epilogue:
 * activations, constants per channel, one residual of its own type. It grows forwards, in program order, and
 * keeps the longest stretch of which only the last node's result is read from outside; so x * Sigmoid(x), where
 * the product has two users, is taken whole or not at all. Products are served from the last to the first:
 * where two meet in an Add, the later one takes it, since the other operand is ready by then.
 *
 * What is left of pointwise nodes becomes clusters. These grow backwards from a root: a producer joins if
 * all its readers are inside already, so by construction nothing but the root's result leaves, and no path can
 * leave the cluster and come back to it. Taking candidates from the last to the first decides each once.
 *
 * Shapes must be provably the same as the root's; operands may broadcast. */
#include "passes/util.h"

enum { MAX_EPILOGUE = 16, MAX_CLUSTER = 48 };

typedef struct fuser {
    gopt_graph *g;
    gi_pass_ctx *cx;
    uint32_t *at;    /* by node id: position in the block */
    uint32_t *stamp; /* by node id: the set that it was last put in */
    bool *taken;     /* by node id: in a region */
    uint32_t n_nodes, set;
    gi_vec(gi_node *) nodes;   /* of the growing set */
    gi_vec(gi_node *) waiting; /* candidates */
    const char *why;
} fuser;

static bool in_set(const fuser *f, const gi_node *n)
{
    return n && n->id < f->n_nodes && f->stamp[n->id] == f->set;
}

static bool is_free(const fuser *f, const gi_node *n, const gi_block *b)
{
    return n && n->block == b && n->id < f->n_nodes && !f->taken[n->id];
}

static bool is_pointwise(const gi_node *n)
{
    const unsigned traits = gi_op_get(n->op)->traits;
    if (!(traits & GI_ELEMENTWISE) || !(traits & GI_PURE) || (traits & (GI_RANDOM | GI_CONTROL)) || n->n_out != 1)
        return false;
    const gopt_dtype t = gi_value_dtype(n->out[0]);
    return gi_value_rank(n->out[0]) >= 0 && t != GOPT_STRING && t != GOPT_UNDEFINED;
}

static bool is_product(const gi_node *n)
{
    return n->op == OP_Conv || n->op == OP_ConvTranspose || n->op == OP_MatMul || n->op == OP_Gemm;
}

static bool same_dims(gopt_graph *g, const gi_type *a, const gi_type *b)
{
    if (!a || !b || a->kind != GOPT_TENSOR || b->kind != GOPT_TENSOR || a->rank < 0 || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (gi_dim_equal(g->dims, a->dims[i], b->dims[i]) != 1)
            return false;
    return true;
}

static void begin_set(fuser *f, gi_node *n)
{
    f->set++;
    f->nodes.n = f->waiting.n = 0;
    f->why = NULL;
    f->stamp[n->id] = f->set;
    (void)gi_push(f->cx->scratch, &f->nodes, n);
}

/* "Conv + Add + Relu" */
static const char *what(fuser *f)
{
    gi_str s;
    gi_str_init(&s, f->cx->scratch);
    for (size_t i = 0; i < f->nodes.n; i++)
        gi_str_addf(&s, "%s%s", i ? " + " : "", f->nodes.p[i]->op_name);
    return s.p ? s.p : "nodes";
}

static int compare_at(const fuser *f, const gi_node *a, const gi_node *b)
{
    return f->at[a->id] < f->at[b->id] ? -1 : f->at[a->id] > f->at[b->id];
}

static void sort_set(fuser *f)
{
    for (size_t i = 1; i < f->nodes.n; i++) {
        gi_node *n = f->nodes.p[i];
        size_t k = i;
        for (; k > 0 && compare_at(f, f->nodes.p[k - 1], n) > 0; k--)
            f->nodes.p[k] = f->nodes.p[k - 1];
        f->nodes.p[k] = n;
    }
}

static gopt_status make_region(fuser *f, gi_fusion_kind kind)
{
    if (!gi_pass_may(f->cx, "fuse_vertical"))
        return GOPT_OK;
    sort_set(f);
    const char *text = what(f);
    for (size_t i = 0; i < f->nodes.n; i++)
        f->taken[f->nodes.p[i]->id] = true;
    gi_node *fusion = gi_fuse_in_order(f->nodes.p[0]->block, kind, f->nodes.p, f->nodes.n);
    GI_NEED(fusion);
    gi_applied(f->cx, "fuse_vertical", fusion, "%s run as one %s kernel", text, gi_fusion_kind_name(kind));
    return GOPT_OK;
}

/* ---- products and their epilogues ---- */

/* A constant with at most one dim that is not 1, and that one the product's channel (or last) axis. */
static bool is_per_channel(const gi_node *product, const gi_value *k)
{
    const gi_blob *b = gi_value_blob(k);
    const int rank = gi_value_rank(product->out[0]);
    const int channel = product->op == OP_Conv || product->op == OP_ConvTranspose ? 1 : rank - 1;
    if (!b || b->rank > rank)
        return false;
    for (int i = 0; i < b->rank; i++)
        if (b->dims[i] != 1 && rank - b->rank + i != channel)
            return false;
    return true;
}

static bool say(fuser *f, const char *text, const gi_node *n)
{
    f->why = gi_arena_printf(f->cx->scratch, "%s %s", gi_node_label(n, f->cx->scratch), text);
    return false;
}

/* May n join the epilogue? */
static bool joins(fuser *f, const gi_node *product, const gi_node *n, bool *residual)
{
    const gi_value *y = product->out[0];
    if (!n)
        return false;
    if (n->id < f->n_nodes && f->taken[n->id])
        return say(f, "already belongs to another region", n);
    if (n->block != product->block)
        return say(f, "lies in another block", n);
    if (!is_pointwise(n) || !is_free(f, n, product->block))
        return say(f, "is no pointwise node", n);
    if (!gi_type_same(f->g, n->out[0]->type, y->type))
        return say(f, "changes the shape or type", n);
    bool own_residual = false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (!v || in_set(f, gi_value_node(v)) || is_per_channel(product, v))
            continue;
        if (n->op != OP_Add || !gi_type_same(f->g, v->type, y->type))
            return say(f, "reads an operand that is neither per channel nor a residual of the same shape", n);
        if (*residual || own_residual)
            return say(f, "would be its second residual", n);
        own_residual = true;
    }
    *residual = *residual || own_residual;
    return true;
}

static bool push_users(fuser *f, const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next)
        if (u->node && !in_set(f, u->node) && !gi_push(f->cx->scratch, &f->waiting, u->node))
            return false;
    return true;
}

/* Is the set's last node the only one whose result is read from outside? */
static bool is_closed(const fuser *f)
{
    for (size_t i = 0; i + 1 < f->nodes.n; i++)
        for (const gi_use *u = f->nodes.p[i]->out[0]->uses; u; u = u->next)
            if (!in_set(f, u->node))
                return false;
    return true;
}

/* Takes the candidate that comes first in the block. */
static gi_node *take_first(fuser *f)
{
    gi_node *best = NULL;
    size_t left = 0;
    for (size_t i = 0; i < f->waiting.n; i++) {
        gi_node *n = f->waiting.p[i];
        if (in_set(f, n))
            continue;
        f->waiting.p[left++] = n;
        if (!best || n->block != best->block || compare_at(f, n, best) < 0)
            best = n;
    }
    f->waiting.n = left;
    return best;
}

static void explain(fuser *f, const gi_node *product)
{
    const gi_value *y = product->out[0];
    const gi_node *next = y->uses ? y->uses->node : NULL;
    bool pointwise = false;
    for (const gi_use *u = y->uses; u; u = u->next)
        pointwise = pointwise || (u->node && is_pointwise(u->node));
    if (!next || !pointwise)
        return;
    if (y->n_uses > 1)
        gi_declined(f->cx, "fuse_vertical", product, "its result has %u users: %s", y->n_uses,
                    gi_value_users(y, f->cx->scratch));
    else if (f->why)
        gi_declined(f->cx, "fuse_vertical", product, "%s", f->why);
}

static gopt_status fuse_product(fuser *f, gi_node *product)
{
    bool residual = false;
    size_t best = 1;
    begin_set(f, product);
    GI_NEED(push_users(f, product->out[0]));
    while (f->nodes.n < MAX_EPILOGUE) {
        gi_node *n = take_first(f);
        if (!n || !joins(f, product, n, &residual))
            break;
        f->stamp[n->id] = f->set;
        GI_NEED(gi_push(f->cx->scratch, &f->nodes, n) && push_users(f, n->out[0]));
        if (is_closed(f))
            best = f->nodes.n;
    }
    if (best == 1) {
        explain(f, product);
        return GOPT_OK;
    }
    f->nodes.n = best;
    return make_region(f,
                       product->op == OP_Conv || product->op == OP_ConvTranspose ? GI_FUSION_CONV : GI_FUSION_MATMUL);
}

/* ---- pointwise clusters ---- */

static bool all_uses_inside(const fuser *f, const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next)
        if (!in_set(f, u->node))
            return false;
    return true;
}

static bool push_producers(fuser *f, const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_node *p = gi_value_node(n->in[i].value);
        if (is_free(f, p, n->block) && is_pointwise(p) && !gi_push(f->cx->scratch, &f->waiting, p))
            return false;
    }
    return true;
}

static gi_node *take_last(fuser *f)
{
    gi_node *best = NULL;
    for (size_t i = 0; i < f->waiting.n; i++)
        if (!best || compare_at(f, f->waiting.p[i], best) > 0)
            best = f->waiting.p[i];
    size_t left = 0;
    for (size_t i = 0; i < f->waiting.n; i++)
        if (f->waiting.p[i] != best)
            f->waiting.p[left++] = f->waiting.p[i];
    f->waiting.n = left;
    return best;
}

static gopt_status fuse_cluster(fuser *f, gi_node *root)
{
    begin_set(f, root);
    GI_NEED(push_producers(f, root));
    gi_node *n;
    while (f->nodes.n < MAX_CLUSTER && (n = take_last(f))) {
        if (!all_uses_inside(f, n->out[0]) || !same_dims(f->g, n->out[0]->type, root->out[0]->type))
            continue;
        f->stamp[n->id] = f->set;
        GI_NEED(gi_push(f->cx->scratch, &f->nodes, n) && push_producers(f, n));
    }
    return f->nodes.n < 2 ? GOPT_OK : make_region(f, GI_FUSION_POINTWISE);
}

/* ---- all blocks ---- */

static gopt_status fuse_block(fuser *f, gi_block *b)
{
    gi_vec(gi_node *) all = { 0 };
    GI_NEED(gi_block_number(b, f->cx->scratch, &f->at));
    for (gi_node *n = b->first; n; n = n->next)
        GI_NEED(gi_push(f->cx->scratch, &all, n));
    for (size_t i = all.n; i-- > 0;)
        if (is_product(all.p[i]) && gi_value_rank(all.p[i]->out[0]) >= 0)
            GI_TRY(fuse_product(f, all.p[i]));
    for (size_t i = all.n; i-- > 0;)
        if (is_free(f, all.p[i], b) && is_pointwise(all.p[i]))
            GI_TRY(fuse_cluster(f, all.p[i]));
    return GOPT_OK;
}

typedef struct block_list {
    gi_arena *arena;
    gi_vec(gi_block *) blocks;
} block_list;

static bool collect_blocks(void *arg, gi_node *n)
{
    block_list *list = arg;
    for (uint32_t k = 0; n->op != OP_Fusion && k < n->n_attrs; k++)
        if (n->attrs[k].kind == GI_ATTR_GRAPH && !gi_push(list->arena, &list->blocks, n->attrs[k].u.graph))
            return false;
    return true;
}

gopt_status gi_pass_fuse_vertical(gopt_graph *g, gi_pass_ctx *cx)
{
    block_list list = { .arena = cx->scratch };
    GI_NEED(gi_each_node(g->main, collect_blocks, &list) && gi_push(cx->scratch, &list.blocks, g->main));
    fuser f = { .g = g, .cx = cx, .n_nodes = g->next_node };
    f.stamp = GI_NEW_ARRAY(cx->scratch, uint32_t, g->next_node + 1);
    f.taken = GI_NEW_ARRAY(cx->scratch, bool, g->next_node + 1);
    GI_NEED(f.stamp && f.taken);
    for (size_t i = 0; i < list.blocks.n; i++)
        GI_TRY(fuse_block(&f, list.blocks.p[i]));
    return GOPT_OK;
}
