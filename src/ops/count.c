/* Counting a graph: its operators by name, and its constants, each blob once. */
#include "ops/count.h"

#include <stdlib.h>

typedef struct counter {
    gi_arena *arena;
    gi_smap by_name;
    gi_vec(gopt_op_count *) ops;
    gi_map seen; /* blobs */
    gi_vec(const gi_value *) constants;
    uint64_t bytes;
    int64_t fusions;
} counter;

static bool count_constant(counter *c, const gi_value *v)
{
    gi_blob *b = gi_value_blob(v);
    if (!b || gi_map_get(&c->seen, gi_key(b)))
        return true;
    c->bytes += b->bytes;
    return gi_map_put(&c->seen, gi_key(b), b) && gi_push(c->arena, &c->constants, v);
}

static bool count_results(counter *c, const gi_block *b)
{
    for (uint32_t i = 0; i < b->n_results; i++)
        if (!count_constant(c, b->results[i].value))
            return false;
    return true;
}

/* As ONNX writes it, "domain::Name" outside its own domain. */
static const char *op_name(gi_arena *a, const gi_node *n)
{
    const gi_op *row = gi_op_get(n->op);
    const char *domain = n->op == OP_Unknown ? n->domain : row->domain;
    const char *name = n->op == OP_Unknown ? n->op_name : row->onnx ? row->onnx : row->name;
    return domain && *domain ? gi_arena_printf(a, "%s::%s", domain, name ? name : "?") : name;
}

static bool count_op(counter *c, const gi_node *n)
{
    const char *name = op_name(c->arena, n);
    if (!name)
        return false;
    gopt_op_count *o = gi_smap_get(&c->by_name, name);
    if (!o) {
        o = GI_NEW(c->arena, gopt_op_count);
        if (!o || !(o->op = gi_arena_str(c->arena, name)) || !gi_smap_put(&c->by_name, o->op, o) ||
            !gi_push(c->arena, &c->ops, o))
            return false;
    }
    o->count++;
    return true;
}

static bool count_node(void *arg, gi_node *n)
{
    counter *c = arg;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!count_constant(c, n->in[i].value))
            return false;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].kind == GI_ATTR_GRAPH && n->attrs[i].u.graph && !count_results(c, n->attrs[i].u.graph))
            return false;
    if (n->op != OP_Fusion)
        return count_op(c, n);
    c->fusions++;
    return true;
}

static int by_name(const void *x, const void *y)
{
    return strcmp(((const gopt_op_count *)x)->op, ((const gopt_op_count *)y)->op);
}

bool gi_count_graph(gopt_graph *g, gi_arena *a, gi_counts *out)
{
    counter c = { .arena = a };
    gi_smap_init(&c.by_name, a);
    gi_map_init(&c.seen, a);
    if (!gi_each_node(g->main, count_node, &c) || !count_results(&c, g->main))
        return false;
    gopt_op_count *ops = GI_NEW_ARRAY(a, gopt_op_count, c.ops.n + 1);
    if (!ops)
        return false;
    for (size_t i = 0; i < c.ops.n; i++)
        ops[i] = *c.ops.p[i];
    qsort(ops, c.ops.n, sizeof *ops, by_name);
    *out = (gi_counts){ .ops = ops,
                        .n_ops = c.ops.n,
                        .fusions = c.fusions,
                        .constants = c.constants.p,
                        .n_constants = c.constants.n,
                        .bytes = c.bytes };
    return true;
}
