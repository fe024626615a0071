/* Products with what is around them: Conv, ConvTranspose, MatMul, Gemm.
 *
 * Behind: activations, constants per channel, one residual of the result's own type. The set grows forwards, in program
 * order, and keeps the longest stretch of which only the last node's result is read from outside; so x * Sigmoid(x),
 * where the product has two users, is taken whole or not at all. Those behind most others are served first.
 *
 * Before, once all have what is behind them: pointwise nodes that only the product reads, where it reads each element
 * in one place alone: a convolution of one pixel, a product with a constant matrix. A wider window would compute them
 * again for each of its places. */
#include <stdlib.h>

#include "passes/fuse.h"

/* ---- behind ---- */

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

/* May n join the epilogue? */
static bool joins(gi_fuser *f, const gi_node *product, const gi_node *n, bool *residual)
{
    const gi_value *y = product->out[0];
    const uint32_t n_in = n->op == OP_BatchNormalization ? 1 : n->n_in; /* its constants are per channel */
    if (n->block != f->block)
        return gi_fuse_stop(f, n, "lies in another block");
    if (gi_fuse_group_of(f, n))
        return gi_fuse_stop(f, n, "already belongs to another region");
    if (!gi_fuse_is_pointwise(n) || !gi_fuse_is_free(f, n))
        return gi_fuse_stop(f, n, "is no pointwise node");
    if (!gi_type_same(f->g, n->out[0]->type, y->type))
        return gi_fuse_stop(f, n, "changes the shape or type");
    bool own_residual = false;
    for (uint32_t i = 0; i < n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (!v || gi_fuse_in_set(f, gi_value_node(v)) || is_per_channel(product, v))
            continue;
        if (n->op != OP_Add || !gi_type_same(f->g, v->type, y->type))
            return gi_fuse_stop(f, n, "reads an operand that is neither per channel nor a residual of the same shape");
        if (*residual || own_residual)
            return gi_fuse_stop(f, n, "would be its second residual");
        own_residual = true;
    }
    *residual = *residual || own_residual;
    return true;
}

static void explain(gi_fuser *f, const gi_node *product)
{
    const gi_value *y = product->out[0];
    bool pointwise = false;
    for (const gi_use *u = y->uses; u && !pointwise; u = u->next)
        pointwise = u->node && gi_fuse_is_pointwise(u->node);
    if (!pointwise)
        return;
    if (y->n_uses > 1)
        gi_declined(f->cx, "fuse_vertical", product, "its result has %u users: %s", y->n_uses,
                    gi_value_users(y, f->cx->scratch));
    else if (f->why)
        gi_declined(f->cx, "fuse_vertical", product, "%s", f->why);
}

static gi_fusion_kind kind_of(const gi_node *product)
{
    return product->op == OP_Conv || product->op == OP_ConvTranspose ? GI_FUSION_CONV : GI_FUSION_MATMUL;
}

static gopt_status fuse_behind(gi_fuser *f, gi_node *product)
{
    bool residual = false;
    size_t best = 1;
    GI_NEED(gi_fuse_begin(f, product));
    if (product->out[0]->n_uses <= GI_FUSE_MAX_EPILOGUE)
        GI_NEED(gi_fuse_push_users(f, product->out[0]));
    while (f->nodes.n < GI_FUSE_MAX_EPILOGUE) {
        gi_node *n = gi_fuse_take_first(f);
        if (!n || !joins(f, product, n, &residual))
            break;
        GI_NEED(gi_fuse_add(f, n) && gi_fuse_push_users(f, n->out[0]));
        if (gi_fuse_is_closed(f))
            best = f->nodes.n;
    }
    if (best == 1) {
        explain(f, product);
        return GOPT_OK;
    }
    gi_fuse_keep(f, best);
    return gi_fuse_make(f, kind_of(product), product, NULL);
}

typedef struct place {
    gi_node *product;
    uint32_t depth; /* products on the longest path that ends with it */
    size_t at;
} place;

static int deepest_first(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->depth != y->depth)
        return x->depth < y->depth ? 1 : -1;
    return x->at < y->at ? 1 : -1;
}

/* Where two products meet in a sum, the one at the end of the longer path takes it: the other one (the 1x1 convolution
 * of a residual block's shortcut) waits for less, and may then run beside what the longer path still has to compute. */
gopt_status gi_fuse_products(gi_fuser *f)
{
    uint32_t *depth = GI_NEW_ARRAY(f->cx->scratch, uint32_t, (size_t)f->n_nodes + 1);
    place *places = GI_NEW_ARRAY(f->cx->scratch, place, f->all.n + 1);
    size_t n = 0;
    GI_NEED(depth && places);
    for (size_t i = 0; i < f->all.n; i++) {
        gi_node *node = f->all.p[i];
        uint32_t d = 0;
        for (uint32_t k = 0; k < node->n_in; k++) {
            const gi_node *by = gi_value_node(gi_node_in(node, k));
            if (by && by->id < f->n_nodes && depth[by->id] > d)
                d = depth[by->id];
        }
        depth[node->id] = d + gi_fuse_is_product(node);
        if (gi_fuse_is_product(node) && gi_value_rank(node->out[0]) >= 0)
            places[n++] = (place){ node, depth[node->id], i };
    }
    qsort(places, n, sizeof *places, deepest_first);
    for (size_t i = 0; i < n; i++)
        if (gi_fuse_is_free(f, places[i].product))
            GI_TRY(fuse_behind(f, places[i].product));
    return GOPT_OK;
}

/* ---- before ---- */

/* How many places of its window read one element of the input; 0 where that cannot be told. */
static int64_t places(const gi_node *conv)
{
    const gi_blob *w = gi_value_blob(gi_node_in(conv, Conv_in_W));
    int64_t n = 1;
    if (!w || w->rank < 3)
        return 0;
    for (int i = 2; i < w->rank; i++)
        if (!gi_mul_i64(n, w->dims[i], &n))
            return 0;
    return n;
}

static bool is_padded(const gi_node *conv)
{
    const int64_t *pads;
    const uint32_t n = gi_attr_ints(conv, Conv_at_pads, &pads);
    for (uint32_t i = 0; i < n; i++)
        if (pads[i])
            return true;
    const char *mode = gi_attr_str(conv, Conv_at_auto_pad);
    return mode && strcmp(mode, "NOTSET") != 0 && strcmp(mode, "VALID") != 0;
}

/* Does the product read each element of its first input in one place? */
static bool reads_once(gi_fuser *f, const gi_node *n, gi_node *before)
{
    switch (n->op) {
    case OP_Conv: {
        const int64_t k = places(n);
        if (k == 1)
            return !is_padded(n);
        if (k > 1)
            gi_declined(f->cx, "fuse_vertical", n,
                        "%s stays before it: a window of %lld places would compute each element that often, %s written "
                        "and read costs less",
                        gi_node_label(before, f->cx->scratch), (long long)k,
                        gi_cost_bytes_text(f->cx->scratch, gi_cost_of_value(f->g, before->out[0]).bytes));
        return false;
    }
    case OP_MatMul:
        return gi_value_blob(gi_node_in(n, 1)) != NULL;
    case OP_Gemm:
        return gi_value_blob(gi_node_in(n, 1)) && !gi_attr_int(n, Gemm_at_transA);
    default:
        return false;
    }
}

static gopt_status fuse_before(gi_fuser *f, gi_node *product)
{
    gi_group *old = gi_fuse_group_of(f, product);
    gi_node *before = gi_value_node(gi_node_in(product, 0));
    if (old ? old->main != product || (old->kind != GI_FUSION_CONV && old->kind != GI_FUSION_MATMUL)
            : !gi_fuse_is_free(f, product))
        return GOPT_OK;
    if (!gi_fuse_is_free(f, before) || !gi_fuse_is_pointwise(before))
        return GOPT_OK;
    GI_NEED(old ? gi_fuse_begin_group(f, old) : gi_fuse_begin(f, product));
    const size_t had = f->nodes.n;
    if (!gi_fuse_only_inside(f, before->out[0]) || !reads_once(f, product, before))
        return GOPT_OK;
    GI_NEED(gi_push(f->cx->scratch, &f->waiting, before));
    GI_TRY(gi_fuse_grow_back(f, before->out[0]->type, NULL));
    return f->nodes.n > had ? gi_fuse_make(f, kind_of(product), product, old) : GOPT_OK;
}

gopt_status gi_fuse_prologues(gi_fuser *f)
{
    for (size_t i = f->all.n; i-- > 0;)
        if (gi_fuse_is_product(f->all.p[i]) && gi_value_rank(f->all.p[i]->out[0]) >= 0)
            GI_TRY(fuse_before(f, f->all.p[i]));
    return GOPT_OK;
}
