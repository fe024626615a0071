/* Golden cases as seeds. */
#include "ops/infer.h"
#include "rules/mutate.h"

typedef struct limit {
    int64_t most;
} limit;

/* A case of big constants shows what growing files come to, and is no seed for hundreds; random numbers are others
 * in every copy of a graph. */
static bool is_small(void *arg, gi_node *n)
{
    const limit *l = arg;
    int64_t elements;
    if (gi_op_get(n->op)->traits & GI_RANDOM)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_blob *b = gi_value_blob(gi_node_in(n, i));
        if (b && b->bytes > (size_t)l->most)
            return false;
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i]->type && gi_type_elements(n->out[i]->type, &elements) && elements > l->most)
            return false;
    return true;
}

gopt_graph *mutate_seed(gopt_ctx *cx, gi_arena *a, const char *path, int64_t most, golden_case *c)
{
    gopt_graph *g = NULL;
    limit l = { most };
    if (!golden_read(cx, a, path, c) && c->run.optimize && golden_graph(cx, path, c, &g) == GOPT_OK &&
        gi_each_node(g->main, is_small, &l) && mutate_limit_rounds(g))
        return g;
    gopt_graph_destroy(g);
    gopt_diag_clear(cx);
    return NULL;
}
