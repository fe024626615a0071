/* Walking a graph through the public interface, what the file says of itself, and single elements of tensors. */
#include "gopt/graph.h"
#include "ir/graph.h"

const char *gopt_node_domain(const gopt_node *n)
{
    const char *domain = n->op == OP_Unknown ? n->domain : gi_op_get(n->op)->domain;
    return domain ? domain : "";
}

size_t gopt_node_input_count(const gopt_node *n)
{
    return n->n_in;
}

gopt_value *gopt_node_input(const gopt_node *n, size_t i)
{
    return i < n->n_in ? n->in[i].value : NULL;
}

/* The first node of the node's blocks from attribute `from` on. */
static gi_node *first_inside(const gi_node *n, uint32_t from)
{
    for (uint32_t i = from; i < n->n_attrs; i++)
        if (n->attrs[i].kind == GI_ATTR_GRAPH && n->attrs[i].u.graph && n->attrs[i].u.graph->first)
            return n->attrs[i].u.graph->first;
    return NULL;
}

gopt_node *gopt_graph_first_node(const gopt_graph *g)
{
    return g->main->first;
}

gopt_node *gopt_node_next(const gopt_node *n)
{
    gi_node *inside = first_inside(n, 0);
    if (inside)
        return inside;
    while (n) {
        if (n->next)
            return n->next;
        const gi_block *b = n->block;
        const gi_node *owner = b ? b->owner : NULL;
        if (!owner)
            return NULL;
        for (uint32_t i = 0; i < owner->n_attrs; i++)
            if (owner->attrs[i].kind == GI_ATTR_GRAPH && owner->attrs[i].u.graph == b) {
                inside = first_inside(owner, i + 1);
                break;
            }
        if (inside)
            return inside;
        n = owner;
    }
    return NULL;
}

int gopt_node_depth(const gopt_node *n)
{
    int depth = 0;
    for (const gi_block *b = n->block; b && b->owner; b = b->owner->block)
        depth++;
    return depth;
}

int64_t gopt_graph_ir_version(const gopt_graph *g)
{
    return g->ir_version;
}

const char *gopt_graph_producer(const gopt_graph *g)
{
    return g->producer;
}

bool gopt_graph_get_opset(const gopt_graph *g, size_t i, const char **domain, int64_t *version)
{
    if (i >= g->n_opsets)
        return false;
    *domain = g->opsets[i].domain ? g->opsets[i].domain : "";
    *version = g->opsets[i].version;
    return true;
}

static bool is_number(gopt_dtype t)
{
    const gi_dclass c = gi_dtype_class(t);
    return c == GI_FLOAT || c == GI_SINT || c == GI_UINT || c == GI_BOOLEAN;
}

double gopt_tensor_get_f64(const gopt_tensor *t, int64_t i)
{
    return is_number(t->dtype) ? gi_load_f64(t->dtype, t->data, (size_t)i) : 0;
}

int64_t gopt_tensor_get_i64(const gopt_tensor *t, int64_t i)
{
    return is_number(t->dtype) ? gi_load_i64(t->dtype, t->data, (size_t)i) : 0;
}

void gopt_tensor_set_f64(gopt_tensor *t, int64_t i, double x)
{
    if (is_number(t->dtype))
        gi_store_f64(t->dtype, t->data, (size_t)i, x);
}

void gopt_tensor_set_i64(gopt_tensor *t, int64_t i, int64_t x)
{
    if (is_number(t->dtype))
        gi_store_i64(t->dtype, t->data, (size_t)i, x);
}

gopt_status gopt_tensor_set_string(gopt_tensor *t, int64_t i, const char *p, size_t n)
{
    if (t->dtype != GOPT_STRING || !t->cx)
        return GOPT_USAGE;
    const char *copy = gi_text(t->cx, p, n);
    if (!copy)
        return GOPT_NO_MEMORY;
    ((gopt_string *)t->data)[i] = (gopt_string){ .p = copy, .n = n };
    return GOPT_OK;
}

gopt_status gopt_map_create(gopt_ctx *cx, gopt_tensor *keys, gopt_tensor *values, gopt_tensor **out)
{
    gopt_tensor *m = gi_alloc(cx, sizeof *m);
    if (m) {
        *m = (gopt_tensor){ .kind = GOPT_MAP, .cx = cx, .refs = 1 };
        m->items = gi_alloc(cx, 2 * sizeof *m->items);
    }
    if (!m || !m->items) {
        gi_free(cx, m);
        gopt_tensor_unref(keys);
        gopt_tensor_unref(values);
        return GOPT_NO_MEMORY;
    }
    m->items[0] = keys;
    m->items[1] = values;
    m->n_items = 2;
    *out = m;
    return GOPT_OK;
}
