/* Vertical fusion: draws regions that one kernel can run. Changes no arithmetic.
 *
 *     %c = Conv %x, %w, %b                       %r = Fusion conv {
 *     %a = Add %c, %skip               ⇒             %c = Conv %x, %w, %b
 *     %r = Relu %a                                   %a = Add %c, %skip
 *                                                    yield Relu %a }
 *
 * The kinds choose one after another, each taking nodes that are still free: attention as one; products with what
 * is behind them; depthwise convolutions with their 1x1 neighbours; normalizations, softmax, reductions and pools with
 * what is before and behind; products with what is before them; pointwise clusters (fuse_*.c, one each).
 *
 * Regions say what could be one kernel. Which of them are is the backend's affair: what it has no kernel for falls
 * apart when a plan is made, and costs nothing. Not one function with all patterns nested in it: a new kind is a
 * file of its own that grows a set under the law of fuse.h. */
#include "passes/fuse.h"

/* ---- what a node is ---- */

static bool is_fixed_normalization(const gi_node *n)
{
    if (n->op != OP_BatchNormalization || gi_attr_int(n, BatchNormalization_at_training_mode))
        return false;
    for (uint32_t i = 1; i < n->n_in; i++)
        if (!gi_value_blob(gi_node_in(n, i)))
            return false;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return false;
    return true;
}

bool gi_fuse_is_pointwise(const gi_node *n)
{
    const unsigned traits = gi_op_get(n->op)->traits;
    if (!is_fixed_normalization(n) &&
        (!(traits & GI_ELEMENTWISE) || !(traits & GI_PURE) || (traits & (GI_RANDOM | GI_CONTROL)) || n->n_out != 1))
        return false;
    const gopt_dtype t = gi_value_dtype(n->out[0]);
    return gi_value_rank(n->out[0]) >= 0 && t != GOPT_STRING && t != GOPT_UNDEFINED;
}

bool gi_fuse_is_product(const gi_node *n)
{
    return n->op == OP_Conv || n->op == OP_ConvTranspose || n->op == OP_MatMul || n->op == OP_Gemm;
}

bool gi_fuse_same_dims(gopt_graph *g, const gi_type *a, const gi_type *b)
{
    return a && b && a->kind == GOPT_TENSOR && b->kind == GOPT_TENSOR && a->rank == b->rank &&
           gi_fuse_broadcasts(g, a, b) && gi_fuse_broadcasts(g, b, a);
}

bool gi_fuse_broadcasts(gopt_graph *g, const gi_type *from, const gi_type *to)
{
    if (!from || !to || from->kind != GOPT_TENSOR || to->kind != GOPT_TENSOR || from->rank < 0 || from->rank > to->rank)
        return false;
    for (int i = 0; i < from->rank; i++)
        if (!gi_dim_is(from->dims[i], 1) &&
            gi_dim_equal(g->dims, from->dims[i], to->dims[to->rank - from->rank + i]) != 1)
            return false;
    return true;
}

/* ---- the growing set ---- */

static bool begin(gi_fuser *f)
{
    f->set++;
    f->nodes.n = f->waiting.n = 0;
    f->last = 0;
    f->why = NULL;
    return true;
}

bool gi_fuse_add(gi_fuser *f, gi_node *n)
{
    f->stamp[n->id] = f->set;
    if (f->at[n->id] > f->last)
        f->last = f->at[n->id];
    return gi_push(f->cx->scratch, &f->nodes, n);
}

bool gi_fuse_begin(gi_fuser *f, gi_node *n)
{
    return begin(f) && gi_fuse_add(f, n);
}

bool gi_fuse_begin_group(gi_fuser *f, gi_group *g)
{
    bool ok = begin(f);
    for (size_t i = 0; i < g->n && ok; i++)
        ok = gi_fuse_add(f, g->nodes[i]);
    return ok;
}

bool gi_fuse_push_users(gi_fuser *f, const gi_value *v)
{
    if (v->n_uses > GI_FUSE_MAX_USERS) /* never all inside */
        return true;
    for (const gi_use *u = v->uses; u; u = u->next)
        if (u->node && !gi_fuse_in_set(f, u->node) && !gi_push(f->cx->scratch, &f->waiting, u->node))
            return false;
    return true;
}

bool gi_fuse_push_producers(gi_fuser *f, const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in && i < GI_FUSE_MAX_USERS; i++) {
        gi_node *p = gi_value_node(n->in[i].value);
        if (gi_fuse_is_free(f, p) && !gi_fuse_in_set(f, p) && !gi_push(f->cx->scratch, &f->waiting, p))
            return false;
    }
    return true;
}

/* Takes from those waiting the one that `before` puts first, and drops those that are in the set by now. A node of
 * another block comes first: it ends the growing. */
static gi_node *take(gi_fuser *f, bool first)
{
    gi_node *best = NULL;
    size_t left = 0;
    for (size_t i = 0; i < f->waiting.n; i++) {
        gi_node *n = f->waiting.p[i];
        if (gi_fuse_in_set(f, n) || n == best)
            continue;
        if (!best) {
            best = n;
            continue;
        }
        const bool here = n->block == f->block && best->block == f->block;
        const bool better = here ? (f->at[n->id] < f->at[best->id]) == first : best->block == f->block;
        f->waiting.p[left++] = better ? best : n;
        if (better)
            best = n;
    }
    f->waiting.n = left;
    return best;
}

gi_node *gi_fuse_take_first(gi_fuser *f)
{
    return take(f, true);
}

gi_node *gi_fuse_take_last(gi_fuser *f)
{
    return take(f, false);
}

bool gi_fuse_only_inside(const gi_fuser *f, const gi_value *v)
{
    if (v->n_uses > GI_FUSE_MAX_USERS)
        return false;
    for (const gi_use *u = v->uses; u; u = u->next)
        if (!gi_fuse_in_set(f, u->node))
            return false;
    return true;
}

/* Where in the block a use stands: a use in a block inside it stands where that block's owner does. */
static uint32_t position(const gi_fuser *f, const gi_use *u)
{
    const gi_node *n = u->node;
    const gi_block *b = n ? n->block : u->block;
    while (b != f->block) {
        n = b->owner;
        if (!n)
            return 0;
        b = n->block;
    }
    return n && n->id < f->n_nodes ? f->at[n->id] : UINT32_MAX;
}

bool gi_fuse_read_later(const gi_fuser *f, const gi_value *v)
{
    if (v->n_uses > GI_FUSE_MAX_USERS)
        return false;
    for (const gi_use *u = v->uses; u; u = u->next)
        if (!gi_fuse_in_set(f, u->node) && position(f, u) <= f->last)
            return false;
    return true;
}

bool gi_fuse_is_closed(const gi_fuser *f)
{
    for (size_t i = 0; i + 1 < f->nodes.n; i++)
        for (uint32_t k = 0; k < f->nodes.p[i]->n_out; k++)
            if (!gi_fuse_only_inside(f, f->nodes.p[i]->out[k]))
                return false;
    return true;
}

bool gi_fuse_may_join(gi_fuser *f, const gi_node *n, const gi_type *like, size_t *results)
{
    if (!gi_fuse_is_free(f, n) || !gi_fuse_is_pointwise(n))
        return false;
    if (gi_fuse_only_inside(f, n->out[0]))
        return gi_fuse_broadcasts(f->g, n->out[0]->type, like);
    if (!results || *results == GI_FUSE_MAX_RESULTS || !gi_fuse_same_dims(f->g, n->out[0]->type, like) ||
        !gi_fuse_read_later(f, n->out[0]))
        return false;
    (*results)++;
    return true;
}

gopt_status gi_fuse_grow_back(gi_fuser *f, const gi_type *like, size_t *results)
{
    for (gi_node *n; f->nodes.n < GI_FUSE_MAX_NODES && (n = gi_fuse_take_last(f));)
        if (gi_fuse_may_join(f, n, like, results))
            GI_NEED(gi_fuse_add(f, n) && gi_fuse_push_producers(f, n));
    return GOPT_OK;
}

void gi_fuse_keep(gi_fuser *f, size_t n)
{
    f->last = 0;
    for (size_t i = 0; i < f->nodes.n; i++) {
        const gi_node *k = f->nodes.p[i];
        if (i >= n)
            f->stamp[k->id] = 0;
        else if (f->at[k->id] > f->last)
            f->last = f->at[k->id];
    }
    f->nodes.n = n;
}

/* ---- groups ---- */

static const char *text_of(gi_fuser *f, gi_node *const *nodes, size_t n)
{
    gi_str s;
    gi_str_init(&s, f->cx->scratch);
    for (size_t i = 0; i < n; i++)
        gi_str_addf(&s, "%s%s", i ? " + " : "", nodes[i]->op_name);
    return s.p ? s.p : "nodes";
}

const char *gi_fuse_text(gi_fuser *f)
{
    return text_of(f, f->nodes.p, f->nodes.n);
}

bool gi_fuse_stop(gi_fuser *f, const gi_node *n, const char *text)
{
    f->why = gi_arena_printf(f->cx->scratch, "%s %s", gi_node_label(n, f->cx->scratch), text);
    return false;
}

gopt_status gi_fuse_make(gi_fuser *f, gi_fusion_kind kind, gi_node *main, gi_group *old)
{
    gi_group g = { .kind = kind, .main = main, .n = f->nodes.n };
    g.nodes = GI_NEW_ARRAY(f->cx->scratch, gi_node *, g.n + 1);
    GI_NEED(g.nodes);
    for (size_t i = 0; i < g.n; i++) {
        gi_node *n = f->nodes.p[i];
        size_t k = i;
        for (; k > 0 && f->at[g.nodes[k - 1]->id] > f->at[n->id]; k--)
            g.nodes[k] = g.nodes[k - 1];
        g.nodes[k] = n;
        f->group[n->id] = (uint32_t)f->groups.n + 1;
    }
    if (old)
        old->gone = true;
    GI_NEED(gi_push(f->cx->scratch, &f->groups, g));
    return GOPT_OK;
}

static bool is_in_group(void *arg, const gi_use *u)
{
    const gi_fuser *f = arg;
    return gi_fuse_in_set(f, u->node);
}

static const char *spared(gi_fuser *f, gi_group *g)
{
    begin(f);
    for (size_t i = 0; i < g->n; i++)
        f->stamp[g->nodes[i]->id] = f->set;
    const gi_cost c = gi_cost_of_fusion(f->g, g->nodes, g->n, is_in_group, f);
    const char *text =
        gi_arena_printf(f->cx->scratch, "spares %lld kernel%s", (long long)c.kernels, c.kernels == 1 ? "" : "s");
    if (!text || (c.bytes && gi_dim_is(c.bytes, 0)))
        return text;
    return gi_arena_printf(f->cx->scratch, "%s and %s written and read", text,
                           gi_cost_bytes_text(f->cx->scratch, c.bytes));
}

static gopt_status draw(gi_fuser *f, gi_group *g)
{
    if (!gi_pass_may(f->cx, "fuse_vertical"))
        return GOPT_OK;
    const char *text = text_of(f, g->nodes, g->n), *why = spared(f, g);
    GI_NEED(text && why);
    gi_node *fusion = gi_fuse_in_order(f->block, g->kind, g->nodes, g->n);
    GI_NEED(fusion);
    gi_applied(f->cx, "fuse_vertical", fusion, "%s can run as one %s kernel, which %s", text,
               gi_fusion_kind_name(g->kind), why);
    return GOPT_OK;
}

/* ---- all blocks ---- */

static gopt_status fuse_block(gi_fuser *f, gi_block *b)
{
    uint32_t at = 0;
    f->block = b;
    f->all.n = f->groups.n = 0;
    for (gi_node *n = b->first; n; n = n->next) {
        f->at[n->id] = ++at;
        GI_NEED(gi_push(f->cx->scratch, &f->all, n));
    }
    GI_TRY(gi_fuse_attention(f));
    GI_TRY(gi_fuse_products(f));
    GI_TRY(gi_fuse_depthwise(f));
    GI_TRY(gi_fuse_rows(f));
    GI_TRY(gi_fuse_prologues(f));
    GI_TRY(gi_fuse_clusters(f));
    for (size_t i = 0; i < f->groups.n; i++)
        if (!f->groups.p[i].gone)
            GI_TRY(draw(f, &f->groups.p[i]));
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
    gi_fuser f = { .g = g, .cx = cx, .n_nodes = g->next_node };
    f.at = GI_NEW_ARRAY(cx->scratch, uint32_t, g->next_node + 1);
    f.stamp = GI_NEW_ARRAY(cx->scratch, uint32_t, g->next_node + 1);
    f.group = GI_NEW_ARRAY(cx->scratch, uint32_t, g->next_node + 1);
    GI_NEED(f.at && f.stamp && f.group);
    for (size_t i = 0; i < list.blocks.n; i++)
        GI_TRY(fuse_block(&f, list.blocks.p[i]));
    return GOPT_OK;
}
