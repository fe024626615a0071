/* Clusters of pointwise nodes.
 *
 *     %g = Sigmoid %s            ; [n,c,1,1]         %y, %a = Fusion pointwise {
 *     %a = Add %x, %z            ; also read later ⇒     … }
 *     %y = Mul %a, %g
 *
 * A cluster grows backwards from a root. A producer of the root's shape joins if its other readers all stand behind the
 * root: it is then a result of the cluster too, and nothing waits for the cluster that the cluster waits for. A producer
 * that is broadcast to the root's shape joins if only the cluster reads it. Then siblings: nodes of the root's shape that
 * read what the cluster reads, so that it is read once; and, where the tensors are small, nodes shortly before it that have
 * nothing to do with it, since starting a kernel for each would take longer than their work.
 *
 * Taking candidates from the last to the first decides each once. */
#include "passes/fuse.h"

enum { MAX_SIBLING_USERS = 8, NEIGHBOURHOOD = 16, SMALL = 8192 };

/* Nodes that read what node n of the set reads from outside. */
static gopt_status push_siblings(gi_fuser *f, const gi_node *n, const gi_type *like)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (!v || gi_value_blob(v) || gi_fuse_in_set(f, gi_value_node(v)) || v->n_uses > MAX_SIBLING_USERS ||
            !gi_fuse_same_dims(f->g, v->type, like))
            continue;
        for (const gi_use *u = v->uses; u; u = u->next)
            if (gi_fuse_is_free(f, u->node) && !gi_fuse_in_set(f, u->node) && f->at[u->node->id] < f->last)
                GI_NEED(gi_push(f->cx->scratch, &f->waiting, u->node));
    }
    return GOPT_OK;
}

static bool is_small(gi_fuser *f, const gi_type *t)
{
    int64_t n;
    const gi_dim *count = gi_type_count(f->g, t);
    return count && gi_dim_is_const(count, &n) && n <= SMALL;
}

/* Free nodes that stand shortly before the root; f->all is in the block's order. */
static gopt_status push_neighbours(gi_fuser *f, const gi_node *root)
{
    const size_t at = f->at[root->id] - 1;
    for (size_t k = 1; k <= NEIGHBOURHOOD && k <= at; k++)
        if (gi_fuse_is_free(f, f->all.p[at - k]) && !gi_fuse_in_set(f, f->all.p[at - k]))
            GI_NEED(gi_push(f->cx->scratch, &f->waiting, f->all.p[at - k]));
    return GOPT_OK;
}

static gopt_status fuse_cluster(gi_fuser *f, gi_node *root)
{
    const gi_type *like = root->out[0]->type;
    size_t results = 1;
    GI_NEED(gi_fuse_begin(f, root) && gi_fuse_push_producers(f, root));
    GI_TRY(gi_fuse_grow_back(f, like, &results));
    const size_t own = f->nodes.n;
    for (size_t i = 0; i < own; i++)
        GI_TRY(push_siblings(f, f->nodes.p[i], like));
    if (is_small(f, like))
        GI_TRY(push_neighbours(f, root));
    for (gi_node *n; f->nodes.n < GI_FUSE_MAX_NODES && (n = gi_fuse_take_last(f));)
        if (gi_fuse_same_dims(f->g, n->out[0]->type, like) && gi_fuse_may_join(f, n, like, &results))
            GI_NEED(gi_fuse_add(f, n) && gi_fuse_push_producers(f, n));
    return f->nodes.n < 2 ? GOPT_OK : gi_fuse_make(f, GI_FUSION_POINTWISE, NULL, NULL);
}

gopt_status gi_fuse_clusters(gi_fuser *f)
{
    for (size_t i = f->all.n; i-- > 0;)
        if (gi_fuse_is_free(f, f->all.p[i]) && gi_fuse_is_pointwise(f->all.p[i]))
            GI_TRY(fuse_cluster(f, f->all.p[i]));
    return GOPT_OK;
}
