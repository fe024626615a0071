/* What works along rows or windows, with the pointwise nodes before and behind: normalizations, softmax, reductions, pools.
 *
 *     %m = Mul %x, 0.125                         %y = Fusion reduce {
 *     %a = Add %m, %mask              ⇒              %m, %a, Softmax %a }
 *     %y = Softmax %a
 *
 * Behind: the longest stretch of pointwise nodes, of the result's shape or of the input's (a mean that is subtracted
 * again), and of further reductions to the same shape, of which only the last result is read from outside: so a
 * normalization that an exporter took apart is one region. Before: pointwise nodes of the input's shape, or broadcast to
 * it; one that is also read later becomes a result of the region. Windows that overlap would compute what is before
 * them again, so nothing is taken there. */
#include "passes/fuse.h"

static bool is_reduction(const gi_node *n)
{
    return (gi_op_get(n->op)->traits & GI_REDUCTION) != 0 && n->op != OP_ArgMax && n->op != OP_ArgMin;
}

static gi_fusion_kind kind_of(const gi_node *n)
{
    switch (n->op) {
    case OP_LayerNormalization:
    case OP_RMSNormalization:
    case OP_InstanceNormalization:
    case OP_GroupNormalization:
    case OP_LpNormalization:
    case OP_MeanVarianceNormalization:
        return GI_FUSION_NORM;
    case OP_Softmax:
    case OP_LogSoftmax:
        return GI_FUSION_REDUCE;
    case OP_MaxPool:
    case OP_AveragePool:
    case OP_LpPool:
    case OP_GlobalAveragePool:
    case OP_GlobalMaxPool:
    case OP_GlobalLpPool:
        return GI_FUSION_POOL;
    default:
        return is_reduction(n) ? GI_FUSION_REDUCE : GI_FUSION_NONE;
    }
}

static bool is_anchor(const gi_fuser *f, const gi_node *n)
{
    if (!gi_fuse_is_free(f, n) || kind_of(n) == GI_FUSION_NONE || gi_value_rank(n->out[0]) < 0 ||
        gi_value_rank(gi_node_in(n, 0)) < 0)
        return false;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return false;
    return true;
}

/* ---- behind ---- */

static bool joins(const gi_fuser *f, const gi_node *anchor, const gi_node *n)
{
    const gi_type *from = gi_node_in(anchor, 0)->type, *to = anchor->out[0]->type;
    if (!gi_fuse_is_free(f, n))
        return false;
    if (gi_fuse_is_pointwise(n))
        return gi_fuse_same_dims(f->g, n->out[0]->type, to) || gi_fuse_same_dims(f->g, n->out[0]->type, from);
    return is_reduction(n) && is_reduction(anchor) && n->op != OP_GlobalAveragePool && n->op != OP_GlobalMaxPool &&
           n->op != OP_GlobalLpPool && gi_fuse_same_dims(f->g, gi_node_in(n, 0)->type, from) &&
           gi_fuse_same_dims(f->g, n->out[0]->type, to);
}

static gopt_status grow_behind(gi_fuser *f, const gi_node *anchor)
{
    size_t best = 1;
    GI_NEED(gi_fuse_push_users(f, anchor->out[0]));
    while (f->nodes.n < GI_FUSE_MAX_EPILOGUE) {
        gi_node *n = gi_fuse_take_first(f);
        if (!n || !joins(f, anchor, n))
            break;
        GI_NEED(gi_fuse_add(f, n) && gi_fuse_push_users(f, n->out[0]));
        if (gi_fuse_is_closed(f))
            best = f->nodes.n;
    }
    gi_fuse_keep(f, best);
    return GOPT_OK;
}

/* ---- before ---- */

/* Does every element of the input lie in one window at most, with nothing at its sides? */
static bool windows_are_apart(const gi_node *n, int at_kernel, int at_strides, int at_pads, int at_auto_pad)
{
    const int64_t *kernel, *strides, *pads;
    const uint32_t nk = gi_attr_ints(n, at_kernel, &kernel), ns = gi_attr_ints(n, at_strides, &strides);
    const uint32_t np = gi_attr_ints(n, at_pads, &pads);
    const char *mode = gi_attr_str(n, at_auto_pad);
    for (uint32_t i = 0; i < np; i++)
        if (pads[i])
            return false;
    for (uint32_t i = 0; i < nk; i++)
        if (kernel[i] > (ns == nk ? strides[i] : 1))
            return false;
    return !mode || !strcmp(mode, "NOTSET") || !strcmp(mode, "VALID");
}

static bool reads_once(const gi_node *n)
{
    switch (n->op) {
    case OP_MaxPool:
        return windows_are_apart(n, MaxPool_at_kernel_shape, MaxPool_at_strides, MaxPool_at_pads, MaxPool_at_auto_pad);
    case OP_AveragePool:
        return windows_are_apart(n, AveragePool_at_kernel_shape, AveragePool_at_strides, AveragePool_at_pads,
                                 AveragePool_at_auto_pad);
    case OP_LpPool:
        return windows_are_apart(n, LpPool_at_kernel_shape, LpPool_at_strides, LpPool_at_pads, LpPool_at_auto_pad);
    default:
        return true;
    }
}

static gopt_status grow_before(gi_fuser *f, const gi_node *anchor)
{
    const gi_type *like = gi_node_in(anchor, 0)->type;
    const gi_node *before = gi_value_node(gi_node_in(anchor, 0));
    f->waiting.n = 0;
    if (!gi_fuse_is_free(f, before) || !gi_fuse_is_pointwise(before))
        return GOPT_OK;
    if (!reads_once(anchor)) {
        if (gi_fuse_only_inside(f, before->out[0]))
            gi_declined(f->cx, "fuse_vertical", anchor,
                        "%s stays before it: its windows overlap and would compute each element several times",
                        gi_node_label(before, f->cx->scratch));
        return GOPT_OK;
    }
    const size_t own = f->nodes.n;
    size_t results = 1;
    for (size_t i = 0; i < own; i++)
        GI_NEED(gi_fuse_push_producers(f, f->nodes.p[i]));
    return gi_fuse_grow_back(f, like, &results);
}

/* Why pointwise nodes behind it stay apart. */
static void explain(gi_fuser *f, const gi_node *anchor)
{
    const gi_value *y = anchor->out[0];
    bool pointwise = false;
    for (const gi_use *u = y->n_uses <= GI_FUSE_MAX_USERS ? y->uses : NULL; u && !pointwise; u = u->next)
        pointwise = u->node && joins(f, anchor, u->node);
    if (pointwise && y->n_uses > 1)
        gi_declined(f->cx, "fuse_vertical", anchor, "its result has %u users: %s", y->n_uses,
                    gi_value_users(y, f->cx->scratch));
}

gopt_status gi_fuse_rows(gi_fuser *f)
{
    for (size_t i = 0; i < f->all.n; i++) {
        gi_node *n = f->all.p[i];
        if (!is_anchor(f, n))
            continue;
        GI_NEED(gi_fuse_begin(f, n));
        GI_TRY(grow_behind(f, n));
        GI_TRY(grow_before(f, n));
        if (f->nodes.n > 1)
            GI_TRY(gi_fuse_make(f, kind_of(n), n, NULL));
        else
            explain(f, n);
    }
    return GOPT_OK;
}
