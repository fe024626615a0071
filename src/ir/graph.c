/* The graph: creation, values, nodes, def-use chains. */
#include "ir/graph.h"

/* ---- graphs ---- */

gopt_status gi_graph_create(gopt_ctx *cx, gopt_graph **out)
{
    gi_arena *a = gi_arena_create(cx);
    gopt_graph *g = a ? GI_NEW(a, gopt_graph) : NULL;
    if (g) {
        g->cx = cx;
        g->arena = a;
        g->next_node = 1;
        g->dims = gi_dims_create(a);
        g->types = gi_types_create(a);
        g->main = gi_block_create(g, NULL, NULL);
    }
    if (!g || !g->dims || !g->types || !g->main) {
        gi_arena_destroy(a);
        return GOPT_NO_MEMORY;
    }
    *out = g;
    return GOPT_OK;
}

void gopt_graph_destroy(gopt_graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->consts.n; i++)
        gi_blob_unref(g->consts.p[i]->def.blob);
    for (size_t i = 0; i < g->blobs.n; i++)
        gi_blob_unref(g->blobs.p[i]);
    gi_arena_destroy(g->arena);
}

int gi_graph_opset(const gopt_graph *g, const char *domain)
{
    if (!domain || !strcmp(domain, "ai.onnx"))
        domain = "";
    for (uint32_t i = 0; i < g->n_opsets; i++)
        if (!strcmp(g->opsets[i].domain, domain))
            return (int)g->opsets[i].version;
    return 0;
}

static bool count_one(void *arg, gi_node *n)
{
    *(uint32_t *)arg += n->op != OP_Fusion;
    return true;
}

uint32_t gi_graph_count_nodes(const gopt_graph *g)
{
    uint32_t n = 0;
    gi_each_node(g->main, count_one, &n);
    return n;
}

/* ---- blocks ---- */

gi_block *gi_block_create(gopt_graph *g, gi_node *owner, const char *name)
{
    gi_block *b = GI_NEW(g->arena, gi_block);
    if (!b)
        return NULL;
    b->id = g->n_blocks++;
    b->graph = g;
    b->owner = owner;
    b->name = gi_arena_str(g->arena, name);
    return b;
}

static gi_value *new_value(gopt_graph *g, gi_def_kind kind, uint32_t index)
{
    gi_value *v = GI_NEW(g->arena, gi_value);
    if (!v)
        return NULL;
    v->id = g->n_values++;
    v->kind = kind;
    v->index = index;
    return v;
}

gi_value *gi_block_add_param(gi_block *b, const char *name, const gi_type *type)
{
    gopt_graph *g = b->graph;
    if (b->n_params == b->cap_params) {
        const uint32_t cap = b->cap_params ? 2 * b->cap_params : 4;
        gi_value **p = GI_NEW_ARRAY(g->arena, gi_value *, cap);
        if (!p)
            return NULL;
        if (b->n_params)
            memcpy(p, b->params, b->n_params * sizeof *p);
        b->params = p;
        b->cap_params = cap;
    }
    gi_value *v = new_value(g, GI_DEF_PARAM, b->n_params);
    if (!v)
        return NULL;
    v->def.block = b;
    v->name = gi_arena_str(g->arena, name);
    v->type = type;
    b->params[b->n_params++] = v;
    g->epoch++;
    return v;
}

void gi_block_remove_param(gi_block *b, uint32_t index)
{
    for (uint32_t i = index; i + 1 < b->n_params; i++) {
        b->params[i] = b->params[i + 1];
        b->params[i]->index = i;
    }
    b->n_params--;
    b->graph->epoch++;
}

/* ---- uses ---- */

static void link_use(gi_use *u, gi_value *v)
{
    u->value = v;
    u->prev = NULL;
    u->next = NULL;
    if (!v)
        return;
    u->next = v->uses;
    if (v->uses)
        v->uses->prev = u;
    v->uses = u;
    v->n_uses++;
    v->n_result_uses += !u->node;
}

static void unlink_use(gi_use *u)
{
    gi_value *v = u->value;
    if (!v)
        return;
    if (u->prev)
        u->prev->next = u->next;
    else
        v->uses = u->next;
    if (u->next)
        u->next->prev = u->prev;
    v->n_uses--;
    v->n_result_uses -= !u->node;
    u->value = NULL;
    u->next = u->prev = NULL;
}

/* Moves `n` uses to a larger array; lists keep their order. */
static void relocate_uses(gi_use *to, gi_use *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to[i] = from[i];
        if (!to[i].value)
            continue;
        if (to[i].prev)
            to[i].prev->next = &to[i];
        else
            to[i].value->uses = &to[i];
        if (to[i].next)
            to[i].next->prev = &to[i];
    }
}

bool gi_block_set_results(gi_block *b, uint32_t n, gi_value *const *v, const char *const *names)
{
    gopt_graph *g = b->graph;
    gi_use *results = GI_NEW_ARRAY(g->arena, gi_use, n ? n : 1);
    const char **own = GI_NEW_ARRAY(g->arena, const char *, n ? n : 1);
    if (!results || !own)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        results[i].block = b;
        results[i].index = i;
        link_use(&results[i], v[i]);
        own[i] = names ? gi_arena_str(g->arena, names[i]) : NULL;
    }
    for (uint32_t i = 0; i < b->n_results; i++)
        unlink_use(&b->results[i]);
    b->results = results;
    b->result_names = own;
    b->n_results = n;
    g->epoch++;
    return true;
}

void gi_block_set_result(gi_block *b, uint32_t i, gi_value *v)
{
    unlink_use(&b->results[i]);
    link_use(&b->results[i], v);
    b->graph->epoch++;
}

bool gi_graph_name_clash(const gopt_graph *g, gi_arena *scratch, const char **out)
{
    const gi_block *b = g->main;
    gi_smap names;
    *out = NULL;
    gi_smap_init(&names, scratch);
    for (uint32_t i = 0; i < b->n_params; i++) {
        const char *name = b->params[i]->name;
        if (name && gi_smap_get(&names, name))
            *out = name;
        else if (name && !gi_smap_put(&names, name, b->params[i]))
            return false;
    }
    for (uint32_t i = 0; i < b->n_results; i++) {
        const char *name = b->result_names[i];
        const gi_value *other = name ? gi_smap_get(&names, name) : NULL;
        if (other && other != b->results[i].value)
            *out = name;
        else if (name && !gi_smap_put(&names, name, b->results[i].value))
            return false;
    }
    return true;
}

void gi_value_replace_uses(gi_value *from, gi_value *to)
{
    if (from == to || !from->uses)
        return;
    gi_use *last = from->uses;
    for (;; last = last->next) {
        last->value = to;
        if (last->node)
            last->node->block->graph->epoch++;
        else
            last->block->graph->epoch++;
        if (!last->next)
            break;
    }
    last->next = to->uses;
    if (to->uses)
        to->uses->prev = last;
    to->uses = from->uses;
    to->n_uses += from->n_uses;
    to->n_result_uses += from->n_result_uses;
    from->uses = NULL;
    from->n_uses = 0;
    from->n_result_uses = 0;
}

/* ---- values ---- */

gi_value *gi_const(gopt_graph *g, gi_blob *blob, const char *name)
{
    if (!blob)
        return NULL;
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < blob->rank; i++)
        dims[i] = gi_dim_const(g->dims, blob->dims[i]);
    gi_value *v = new_value(g, GI_DEF_CONST, 0);
    if (!v || !gi_push(g->arena, &g->consts, v)) {
        gi_blob_unref(blob);
        return NULL;
    }
    v->def.blob = blob;
    v->name = gi_arena_str(g->arena, name);
    v->type = gi_type_tensor(g->types, blob->dtype, blob->rank, dims);
    g->epoch++;
    return v->type ? v : NULL;
}

void gi_const_drop(gi_value *v)
{
    if (v->kind != GI_DEF_CONST || v->n_uses)
        return;
    gi_blob_unref(v->def.blob);
    v->def.blob = NULL;
}

void gi_graph_drop_consts(gopt_graph *g, uint32_t first)
{
    size_t kept = g->consts.n;
    while (kept && g->consts.p[kept - 1]->id >= first) /* they lie in the order of their ids */
        kept--;
    for (size_t i = kept; i < g->consts.n; i++) {
        gi_value *v = g->consts.p[i];
        gi_const_drop(v);
        if (v->def.blob)
            g->consts.p[kept++] = v;
    }
    g->consts.n = kept;
}

static gi_value *const_of(gopt_graph *g, gopt_dtype t, int rank, int64_t n, const void *data)
{
    gi_blob *b;
    if (gi_blob_create(g->cx, t, rank, &n, &b) != GOPT_OK)
        return NULL;
    if (n)
        memcpy(b->owned, data, b->bytes);
    return gi_const(g, b, NULL);
}

gi_value *gi_const_i64(gopt_graph *g, int rank, int64_t n, const int64_t *v)
{
    return const_of(g, GOPT_I64, rank, n, v);
}

gi_value *gi_const_f32(gopt_graph *g, int rank, int64_t n, const float *v)
{
    return const_of(g, GOPT_F32, rank, n, v);
}

gi_blob *gi_value_blob(const gi_value *v)
{
    return v && v->kind == GI_DEF_CONST ? v->def.blob : NULL;
}

gi_node *gi_value_node(const gi_value *v)
{
    return v && v->kind == GI_DEF_NODE ? v->def.node : NULL;
}

bool gi_value_is_output(const gi_value *v)
{
    for (const gi_use *u = v->n_result_uses ? v->uses : NULL; u; u = u->next)
        if (!u->node && !u->block->owner)
            return true;
    return false;
}

static gopt_graph *graph_of(const gi_value *v)
{
    if (v->kind == GI_DEF_NODE)
        return v->def.node && v->def.node->block ? v->def.node->block->graph : NULL;
    if (v->kind == GI_DEF_PARAM)
        return v->def.block->graph;
    for (const gi_use *u = v->uses; u; u = u->next)
        return u->node ? u->node->block->graph : u->block->graph;
    return NULL;
}

void gi_value_set_type(gi_value *v, const gi_type *type)
{
    if (v->type == type)
        return;
    v->type = type;
    gopt_graph *g = graph_of(v);
    if (g)
        g->epoch++;
}

bool gi_value_set_known(gi_value *v, uint32_t n, const gi_dim *const *known)
{
    gopt_graph *g = graph_of(v);
    if (v->n_known == n && v->known && (!n || !memcmp(v->known, known, n * sizeof *known)))
        return true;
    if (!g)
        return true;
    const gi_dim **own = GI_NEW_ARRAY(g->arena, const gi_dim *, n ? n : 1);
    if (!own)
        return false;
    if (n)
        memcpy(own, known, n * sizeof *own);
    v->known = own;
    v->n_known = n;
    g->epoch++;
    return true;
}

const gi_dim *const *gi_value_known(gi_value *v, uint32_t *n)
{
    if (!v->known && v->kind == GI_DEF_CONST) {
        const gi_blob *b = v->def.blob;
        const gi_dclass c = gi_dtype_class(b->dtype);
        const int64_t count = b->rank <= 1 ? gi_blob_elements(b) : INT64_MAX;
        gopt_graph *g = graph_of(v);
        if (g && count <= 64 && (c == GI_SINT || c == GI_UINT || c == GI_BOOLEAN)) {
            const gi_dim *dims[64];
            for (int64_t i = 0; i < count; i++) {
                dims[i] = gi_dim_const(g->dims, gi_load_i64(b->dtype, b->data, (size_t)i));
                if (!dims[i])
                    return NULL;
            }
            const uint64_t epoch = g->epoch; /* nothing changed: it is only now looked at */
            const bool done = gi_value_set_known(v, (uint32_t)count, dims);
            g->epoch = epoch;
            if (!done)
                return NULL;
        }
    }
    if (v->known)
        *n = v->n_known;
    return v->known;
}

const char *gi_value_label(const gi_value *v, char *buffer, size_t size)
{
    if (v->name && *v->name)
        return v->name;
    snprintf(buffer, size, "%%%u", v->id);
    return buffer;
}

/* ---- nodes ---- */

static void link_node(gi_node *n, gi_block *b, gi_node *before)
{
    n->block = b;
    n->next = before;
    n->prev = before ? before->prev : b->last;
    if (n->prev)
        n->prev->next = n;
    else
        b->first = n;
    if (before)
        before->prev = n;
    else
        b->last = n;
    b->n_nodes++;
}

static void unlink_node(gi_node *n)
{
    gi_block *b = n->block;
    if (n->prev)
        n->prev->next = n->next;
    else
        b->first = n->next;
    if (n->next)
        n->next->prev = n->prev;
    else
        b->last = n->prev;
    b->n_nodes--;
    n->next = n->prev = NULL;
    n->block = NULL;
}

gi_node *gi_node_create(gi_block *b, gi_node *before, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out)
{
    gopt_graph *g = b->graph;
    const gi_op *row = gi_op_get(op);
    gi_node *n = GI_NEW(g->arena, gi_node);
    if (!n)
        return NULL;
    n->id = g->next_node++;
    n->op = op;
    n->pass = g->pass;
    n->domain = row->domain ? row->domain : "";
    n->op_name = row->onnx ? row->onnx : row->name;
    n->opset = gi_graph_opset(g, n->domain);
    n->n_in = n_in;
    n->n_out = n_out;
    n->n_attrs = (uint32_t)row->n_attrs;
    n->in = GI_NEW_ARRAY(g->arena, gi_use, n_in ? n_in : 1);
    n->out = GI_NEW_ARRAY(g->arena, gi_value *, n_out ? n_out : 1);
    n->attrs = GI_NEW_ARRAY(g->arena, gi_attr, n->n_attrs ? n->n_attrs : 1);
    if (!n->in || !n->out || !n->attrs)
        return NULL;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        n->attrs[i].name = row->attrs[i].name;
    for (uint32_t i = 0; i < n_out; i++) {
        n->out[i] = new_value(g, GI_DEF_NODE, i);
        if (!n->out[i])
            return NULL;
        n->out[i]->def.node = n;
    }
    for (uint32_t i = 0; i < n_in; i++) {
        n->in[i].node = n;
        n->in[i].index = i;
        link_use(&n->in[i], in ? in[i] : NULL);
    }
    link_node(n, b, before);
    g->epoch++;
    return n;
}

void gi_node_set_in(gi_node *n, uint32_t i, gi_value *v)
{
    if (n->in[i].value == v)
        return;
    unlink_use(&n->in[i]);
    link_use(&n->in[i], v);
    n->block->graph->epoch++;
}

bool gi_node_resize_in(gi_node *n, uint32_t n_in)
{
    for (uint32_t i = n_in; i < n->n_in; i++)
        unlink_use(&n->in[i]);
    if (n_in > n->n_in) {
        gi_use *in = GI_NEW_ARRAY(n->block->graph->arena, gi_use, n_in);
        if (!in)
            return false;
        relocate_uses(in, n->in, n->n_in);
        for (uint32_t i = n->n_in; i < n_in; i++)
            in[i] = (gi_use){ .node = n, .index = i };
        n->in = in;
    }
    n->n_in = n_in;
    n->block->graph->epoch++;
    return true;
}

void gi_node_remove_out(gi_node *n, uint32_t i)
{
    n->out[i]->def.node = NULL;
    for (; i + 1 < n->n_out; i++) {
        n->out[i] = n->out[i + 1];
        n->out[i]->index = i;
    }
    n->n_out--;
    n->block->graph->epoch++;
}

/* Drops every use that the block's nodes and results make, and the nodes with it. */
static bool drop_uses(void *arg, gi_node *n)
{
    (void)arg;
    for (uint32_t i = 0; i < n->n_in; i++)
        unlink_use(&n->in[i]);
    for (uint32_t k = 0; k < n->n_attrs; k++)
        if (n->attrs[k].kind == GI_ATTR_GRAPH) {
            gi_block *b = n->attrs[k].u.graph;
            for (uint32_t i = 0; i < b->n_results; i++)
                unlink_use(&b->results[i]);
        }
    return true;
}

void gi_node_remove(gi_node *n)
{
    gopt_graph *g = n->block->graph;
    for (uint32_t k = 0; k < n->n_attrs; k++)
        if (n->attrs[k].kind == GI_ATTR_GRAPH)
            gi_each_node(n->attrs[k].u.graph, drop_uses, NULL);
    drop_uses(NULL, n);
    unlink_node(n);
    for (uint32_t i = 0; i < n->n_out; i++)
        n->out[i]->def.node = NULL;
    g->epoch++;
}

void gi_node_move(gi_node *n, gi_block *b, gi_node *before)
{
    if (before == n)
        return;
    unlink_node(n);
    link_node(n, b, before);
    b->graph->epoch++;
}

/* Only these need their attributes looked through for blocks. */
static bool may_own_blocks(const gi_node *n)
{
    return n->op == OP_Unknown || (gi_op_get(n->op)->traits & GI_CONTROL);
}

/* Steps to the node after n in the walk: down into the last block of n first is not needed, since a node
 * comes after what its blocks hold. */
static gi_node *first_inside(gi_node *n)
{
    while (may_own_blocks(n)) {
        gi_node *inner = NULL;
        for (uint32_t k = 0; k < n->n_attrs && !inner; k++)
            if (n->attrs[k].kind == GI_ATTR_GRAPH)
                inner = n->attrs[k].u.graph->first;
        if (!inner)
            break;
        n = inner;
    }
    return n;
}

/* What follows when block b is done: the next block of its owner that has nodes, or the owner itself. */
static gi_node *after_block(const gi_block *b)
{
    gi_node *owner = b->owner;
    bool past = false;
    for (uint32_t k = 0; k < owner->n_attrs; k++) {
        if (owner->attrs[k].kind != GI_ATTR_GRAPH)
            continue;
        if (past && owner->attrs[k].u.graph->first)
            return first_inside(owner->attrs[k].u.graph->first);
        past |= owner->attrs[k].u.graph == b;
    }
    return owner;
}

bool gi_each_node(gi_block *b, bool (*f)(void *arg, gi_node *n), void *arg)
{
    gi_node *n = b->first ? first_inside(b->first) : NULL;
    while (n) {
        const gi_block *at = n->block;
        gi_node *next = n->next; /* f may remove n */
        if (!f(arg, n))
            return false;
        if (next)
            n = first_inside(next);
        else
            n = at == b ? NULL : after_block(at);
    }
    return true;
}

bool gi_block_number(const gi_block *b, gi_arena *a, uint32_t **by_node_id)
{
    uint32_t *at = GI_NEW_ARRAY(a, uint32_t, b->graph->next_node);
    if (!at)
        return false;
    uint32_t k = 0;
    for (const gi_node *n = b->first; n; n = n->next)
        at[n->id] = ++k;
    *by_node_id = at;
    return true;
}

static bool number_one(void *arg, gi_node *n)
{
    uint32_t *at = arg;
    at[n->id] = ++at[0]; /* no node has id 0 */
    return true;
}

bool gi_graph_number(const gopt_graph *g, gi_arena *a, uint32_t **by_node_id)
{
    uint32_t *at = GI_NEW_ARRAY(a, uint32_t, g->next_node);
    if (!at)
        return false;
    gi_each_node(g->main, number_one, at);
    *by_node_id = at;
    return true;
}

gi_place gi_node_place(const gi_node *n)
{
    gi_place at = { .node = n->name, .op = n->op_name, .opset = n->opset, .node_number = n->number };
    if (n->domain && *n->domain && n->block)
        at.op = gi_arena_printf(n->block->graph->arena, "%s::%s", n->domain, n->op_name);
    if (!n->block)
        return at;
    at.file = n->block->graph->file;
    gi_arena *a = n->block->graph->arena;
    int depth = 0;
    for (const gi_block *b = n->block; b->owner && depth < 100; b = b->owner->block, depth++) {
        const char *owner = b->owner->name && *b->owner->name ? b->owner->name : b->owner->op_name;
        at.subgraph = at.subgraph ? gi_arena_printf(a, "%s/%s/%s", owner, b->name ? b->name : "body", at.subgraph)
                                  : gi_arena_printf(a, "%s/%s", owner, b->name ? b->name : "body");
        if (!b->owner->block)
            break;
    }
    return at;
}
