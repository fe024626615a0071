/* Nodes: attributes, provenance, fusion regions, captures. */
#include "ir/graph.h"

/* ---- attributes ---- */

const gi_attr *gi_attr_find(const gi_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].kind != GI_ATTR_NONE && !strcmp(n->attrs[i].name, name))
            return &n->attrs[i];
    return NULL;
}

bool gi_attr_has(const gi_node *n, int at)
{
    return n->attrs[at].kind != GI_ATTR_NONE;
}

static const gi_op_attr *default_of(const gi_node *n, int at)
{
    return &gi_op_get(n->op)->attrs[at];
}

int64_t gi_attr_int(const gi_node *n, int at)
{
    return n->attrs[at].kind == GI_ATTR_INT ? n->attrs[at].u.i : default_of(n, at)->i;
}

float gi_attr_float(const gi_node *n, int at)
{
    return n->attrs[at].kind == GI_ATTR_FLOAT ? n->attrs[at].u.f : default_of(n, at)->f;
}

const char *gi_attr_str(const gi_node *n, int at)
{
    return n->attrs[at].kind == GI_ATTR_STRING ? n->attrs[at].u.s : default_of(n, at)->s;
}

uint32_t gi_attr_ints(const gi_node *n, int at, const int64_t **v)
{
    if (n->attrs[at].kind != GI_ATTR_INTS)
        return 0;
    *v = n->attrs[at].u.ints;
    return n->attrs[at].n;
}

uint32_t gi_attr_floats(const gi_node *n, int at, const float **v)
{
    if (n->attrs[at].kind != GI_ATTR_FLOATS)
        return 0;
    *v = n->attrs[at].u.floats;
    return n->attrs[at].n;
}

uint32_t gi_attr_strings(const gi_node *n, int at, const char *const **v)
{
    if (n->attrs[at].kind != GI_ATTR_STRINGS)
        return 0;
    *v = n->attrs[at].u.strings;
    return n->attrs[at].n;
}

gi_blob *gi_attr_tensor(const gi_node *n, int at)
{
    return n->attrs[at].kind == GI_ATTR_TENSOR ? n->attrs[at].u.tensor : NULL;
}

gi_block *gi_attr_graph(const gi_node *n, int at)
{
    return n->attrs[at].kind == GI_ATTR_GRAPH ? n->attrs[at].u.graph : NULL;
}

bool gi_attr_is(const gi_node *n, int at, const char *s)
{
    const char *have = gi_attr_str(n, at);
    return have && !strcmp(have, s);
}

static gi_arena *arena_of(const gi_node *n)
{
    return n->block->graph->arena;
}

static void put(gi_node *n, int at, gi_attr a)
{
    a.name = n->attrs[at].name;
    n->attrs[at] = a;
    n->block->graph->epoch++;
}

void gi_attr_set_int(gi_node *n, int at, int64_t v)
{
    put(n, at, (gi_attr){ .kind = GI_ATTR_INT, .u.i = v });
}

void gi_attr_set_float(gi_node *n, int at, float v)
{
    put(n, at, (gi_attr){ .kind = GI_ATTR_FLOAT, .u.f = v });
}

bool gi_attr_set_str(gi_node *n, int at, const char *s)
{
    const char *own = gi_arena_str(arena_of(n), s);
    if (!own)
        return false;
    put(n, at, (gi_attr){ .kind = GI_ATTR_STRING, .n = (uint32_t)strlen(s), .u.s = own });
    return true;
}

bool gi_attr_set_ints(gi_node *n, int at, uint32_t count, const int64_t *v)
{
    int64_t *own = GI_NEW_ARRAY(arena_of(n), int64_t, count ? count : 1);
    if (!own)
        return false;
    if (count)
        memcpy(own, v, count * sizeof *own);
    put(n, at, (gi_attr){ .kind = GI_ATTR_INTS, .n = count, .u.ints = own });
    return true;
}

bool gi_attr_set_floats(gi_node *n, int at, uint32_t count, const float *v)
{
    float *own = GI_NEW_ARRAY(arena_of(n), float, count ? count : 1);
    if (!own)
        return false;
    if (count)
        memcpy(own, v, count * sizeof *own);
    put(n, at, (gi_attr){ .kind = GI_ATTR_FLOATS, .n = count, .u.floats = own });
    return true;
}

bool gi_attr_set_strings(gi_node *n, int at, uint32_t count, const char *const *v)
{
    const char **own = GI_NEW_ARRAY(arena_of(n), const char *, count ? count : 1);
    for (uint32_t i = 0; own && i < count; i++)
        if (!(own[i] = gi_arena_str(arena_of(n), v[i])))
            return false;
    if (own)
        put(n, at, (gi_attr){ .kind = GI_ATTR_STRINGS, .n = count, .u.strings = own });
    return own != NULL;
}

void gi_attr_set_tensor(gi_node *n, int at, gi_blob *b)
{
    gopt_graph *g = n->block->graph;
    if (!gi_push(g->arena, &g->blobs, b)) {
        gi_blob_unref(b);
        return;
    }
    put(n, at, (gi_attr){ .kind = GI_ATTR_TENSOR, .u.tensor = b });
}

void gi_attr_set_graph(gi_node *n, int at, gi_block *b)
{
    b->owner = n;
    put(n, at, (gi_attr){ .kind = GI_ATTR_GRAPH, .u.graph = b });
}

void gi_attr_clear(gi_node *n, int at)
{
    put(n, at, (gi_attr){ .kind = GI_ATTR_NONE });
}

bool gi_attr_equal(const gi_attr *a, const gi_attr *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case GI_ATTR_NONE:
        return true;
    case GI_ATTR_INT:
        return a->u.i == b->u.i;
    case GI_ATTR_FLOAT:
        return !memcmp(&a->u.f, &b->u.f, sizeof a->u.f);
    case GI_ATTR_STRING:
        return a->n == b->n && (!a->n || !memcmp(a->u.s, b->u.s, a->n));
    case GI_ATTR_TENSOR:
        return gi_blob_equal(a->u.tensor, b->u.tensor);
    case GI_ATTR_GRAPH:
        return false;
    case GI_ATTR_INTS:
        return a->n == b->n && (!a->n || !memcmp(a->u.ints, b->u.ints, a->n * sizeof *a->u.ints));
    case GI_ATTR_FLOATS:
        return a->n == b->n && (!a->n || !memcmp(a->u.floats, b->u.floats, a->n * sizeof *a->u.floats));
    case GI_ATTR_STRINGS:
        if (a->n != b->n)
            return false;
        for (uint32_t i = 0; i < a->n; i++)
            if (strcmp(a->u.strings[i], b->u.strings[i]) != 0)
                return false;
        return true;
    }
    return false;
}

/* An attribute copied into another graph's arena; graphs are left to the caller. */
static bool copy_attr(gopt_graph *g, gi_attr *to, const gi_attr *from)
{
    gi_arena *a = g->arena;
    *to = *from;
    to->name = gi_arena_str(a, from->name);
    switch (from->kind) {
    case GI_ATTR_STRING:
        to->u.s = gi_arena_strn(a, from->u.s, from->n);
        return to->u.s != NULL;
    case GI_ATTR_TENSOR:
        if (!gi_push(a, &g->blobs, from->u.tensor))
            return false;
        gi_blob_ref(from->u.tensor);
        return true;
    case GI_ATTR_INTS:
    case GI_ATTR_FLOATS: {
        const size_t item = from->kind == GI_ATTR_INTS ? sizeof(int64_t) : sizeof(float);
        void *p = gi_arena_array(a, from->n ? from->n : 1, item);
        if (!p)
            return false;
        if (from->n)
            memcpy(p, from->kind == GI_ATTR_INTS ? (const void *)from->u.ints : (const void *)from->u.floats,
                   from->n * item);
        if (from->kind == GI_ATTR_INTS)
            to->u.ints = p;
        else
            to->u.floats = p;
        return true;
    }
    case GI_ATTR_STRINGS: {
        const char **p = GI_NEW_ARRAY(a, const char *, from->n ? from->n : 1);
        for (uint32_t i = 0; p && i < from->n; i++)
            p[i] = gi_arena_str(a, from->u.strings[i]);
        to->u.strings = p;
        return p != NULL;
    }
    case GI_ATTR_GRAPH:
        to->kind = GI_ATTR_NONE;
        return true;
    default:
        return true;
    }
}

bool gi_attrs_copy(gi_node *to, const gi_node *from)
{
    gopt_graph *g = to->block->graph;
    if (to->n_attrs < from->n_attrs) {
        to->attrs = GI_NEW_ARRAY(g->arena, gi_attr, from->n_attrs);
        if (!to->attrs)
            return false;
    }
    to->n_attrs = from->n_attrs;
    for (uint32_t i = 0; i < from->n_attrs; i++)
        if (!copy_attr(g, &to->attrs[i], &from->attrs[i]))
            return false;
    g->epoch++;
    return true;
}

/* ---- provenance ---- */

/* A list of origins is shared by the nodes that have it, and grows in place for the one that holds its end: a
 * chain of rewrites that each add a name to what the node before had costs one pointer a name, not a copy of
 * the list. */
typedef struct origin_list {
    uint32_t n, cap;
    const char *names[];
} origin_list;

static origin_list *list_of(const gi_node *n)
{
    return (origin_list *)((uintptr_t)n->origins -
                           offsetof(origin_list, names)); /* NOLINT(performance-no-int-to-ptr) */
}

/* Puts a string of the graph's arena at the end, unless it is there or the list is full. */
static bool append_origin(gi_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->n_origins; i++)
        if (n->origins[i] == name || !strcmp(n->origins[i], name))
            return true;
    if (n->n_origins >= GI_MAX_ORIGINS)
        return true;
    origin_list *l = n->n_origins ? list_of(n) : NULL;
    if (!l || l->n != n->n_origins || l->n == l->cap) {
        const uint32_t cap = n->n_origins ? 2 * n->n_origins : 1;
        origin_list *own = gi_arena_alloc(arena_of(n), sizeof *own + cap * sizeof *own->names);
        if (!own)
            return false;
        own->cap = cap;
        own->n = n->n_origins;
        if (own->n)
            memcpy(own->names, n->origins, own->n * sizeof *own->names);
        l = own;
        n->origins = own->names;
    }
    l->names[l->n++] = name;
    n->n_origins++;
    return true;
}

bool gi_node_add_origin(gi_node *n, const char *name)
{
    if (!name || !*name)
        return true;
    const char *own = gi_arena_str(arena_of(n), name);
    return own && append_origin(n, own);
}

bool gi_node_set_origins(gi_node *n, const char *const *names, uint32_t count)
{
    n->origins = NULL;
    n->n_origins = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!gi_node_add_origin(n, names[i]))
            return false;
    return true;
}

/* The longest run of whole path parts that both begin with. */
static const char *common_scope(gi_arena *a, const char *x, const char *y)
{
    size_t stem = 0, i = 0;
    for (; x[i] && x[i] == y[i]; i++)
        if (x[i] == '/')
            stem = i;
    if ((!x[i] || x[i] == '/') && (!y[i] || y[i] == '/'))
        stem = i;
    return stem ? gi_arena_strn(a, x, stem) : NULL;
}

bool gi_node_merge_origins(gi_node *n, const gi_node *from)
{
    const bool same_arena = from->block && from->block->graph == n->block->graph;
    if (same_arena && !n->n_origins) {
        n->origins = from->origins;
        n->n_origins = from->n_origins;
    }
    for (uint32_t i = 0; i < from->n_origins && n->origins != from->origins; i++)
        if (!(same_arena ? append_origin : gi_node_add_origin)(n, from->origins[i]))
            return false;
    if (n->block->graph->pass)
        n->pass = n->block->graph->pass;
    if (!n->number)
        n->number = from->number;
    if (!n->scope)
        n->scope = from->scope;
    else if (from->scope && strcmp(n->scope, from->scope) != 0)
        n->scope = common_scope(arena_of(n), n->scope, from->scope);
    return true;
}

/* ---- fusion regions ---- */

const char *gi_fusion_kind_name(gi_fusion_kind k)
{
    static const char *const names[GI_FUSION_KIND_COUNT] = { "none",   "conv", "matmul",    "pointwise",
                                                             "reduce", "norm", "attention", "pool" };
    return (unsigned)k < GI_FUSION_KIND_COUNT ? names[k] : "none";
}

gi_block *gi_fusion_block(const gi_node *fusion)
{
    return gi_attr_graph(fusion, Fusion_at_body);
}

/* Is the user outside of block b (and of the blocks inside it)? */
static bool is_outside(const gi_use *u, const gi_block *b)
{
    const gi_block *at = u->node ? u->node->block : u->block;
    for (; at; at = at->owner ? at->owner->block : NULL)
        if (at == b)
            return false;
    return true;
}

static bool used_outside(const gi_value *v, const gi_block *b)
{
    for (const gi_use *u = v->uses; u; u = u->next)
        if (is_outside(u, b))
            return true;
    return false;
}

/* Uses of v outside of b become uses of to. */
static void replace_outside(gi_value *v, gi_value *to, const gi_block *b)
{
    for (gi_use *u = v->uses, *next; u; u = next) {
        next = u->next;
        if (!is_outside(u, b))
            continue;
        if (u->node)
            gi_node_set_in(u->node, u->index, to);
        else
            gi_block_set_result(u->block, u->index, to);
    }
}

gi_node *gi_fuse(gi_block *b, gi_fusion_kind kind, gi_node *const *nodes, size_t n)
{
    uint32_t *at;
    gi_node *fusion = NULL;
    gi_arena *scratch = gi_arena_create(b->graph->cx);
    gi_node **order = scratch ? GI_NEW_ARRAY(scratch, gi_node *, n) : NULL;
    if (order && gi_block_number(b, scratch, &at)) {
        for (size_t i = 0; i < n; i++) { /* few nodes */
            size_t k = i;
            for (; k > 0 && at[order[k - 1]->id] > at[nodes[i]->id]; k--)
                order[k] = order[k - 1];
            order[k] = nodes[i];
        }
        fusion = gi_fuse_in_order(b, kind, order, n);
    }
    gi_arena_destroy(scratch);
    return fusion;
}

gi_node *gi_fuse_in_order(gi_block *b, gi_fusion_kind kind, gi_node *const *order, size_t n)
{
    gopt_graph *g = b->graph;
    gi_values escaping = { 0 };
    gi_arena *scratch = gi_arena_create(g->cx);
    gi_node *fusion = NULL;
    if (!scratch)
        goto done;
    gi_node *after = order[n - 1]->next;
    gi_block *body = gi_block_create(g, NULL, NULL);
    if (!body)
        goto done;
    for (size_t i = 0; i < n; i++)
        gi_node_move(order[i], body, NULL);
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < order[i]->n_out; k++)
            if (used_outside(order[i]->out[k], body) && !gi_push(scratch, &escaping, order[i]->out[k]))
                goto done;
    gi_node *f = gi_node_create(b, after, OP_Fusion, 0, NULL, (uint32_t)escaping.n);
    if (!f)
        goto done;
    f->fusion = kind;
    gi_attr_set_graph(f, Fusion_at_body, body);
    for (size_t i = 0; i < escaping.n; i++) {
        gi_value *v = escaping.p[i], *o = f->out[i];
        replace_outside(v, o, body);
        o->type = v->type;
        o->known = v->known;
        o->n_known = v->n_known;
        o->name = v->name;
    }
    if (!gi_block_set_results(body, (uint32_t)escaping.n, escaping.p, NULL))
        goto done;
    for (size_t i = 0; i < n; i++)
        if (!gi_node_merge_origins(f, order[i]))
            goto done;
    fusion = f;
done:
    gi_arena_destroy(scratch);
    return fusion;
}

bool gi_unfuse(gi_node *fusion)
{
    gi_block *body = gi_fusion_block(fusion), *b = fusion->block;
    for (uint32_t i = 0; i < body->n_results; i++)
        gi_value_replace_uses(fusion->out[i], body->results[i].value);
    for (gi_node *n = body->first, *next; n; n = next) {
        next = n->next;
        gi_node_move(n, b, fusion);
    }
    if (!gi_block_set_results(body, 0, NULL, NULL))
        return false;
    gi_node_remove(fusion);
    return true;
}

/* ---- captures ---- */

typedef struct capture_walk {
    const gi_node *owner;
    gi_arena *arena;
    gi_values *out;
    gi_map seen;
    bool failed;
} capture_walk;

/* Is v defined inside one of the owner's blocks? */
static bool is_inner(const gi_value *v, const gi_node *owner)
{
    const gi_block *b = v->kind == GI_DEF_PARAM                 ? v->def.block
                        : v->kind == GI_DEF_NODE && v->def.node ? v->def.node->block
                                                                : NULL;
    for (; b && b->owner; b = b->owner->block)
        if (b->owner == owner)
            return true;
    return false;
}

static void note_capture(capture_walk *w, gi_value *v)
{
    if (!v || v->kind == GI_DEF_CONST || gi_map_get(&w->seen, v->id) || is_inner(v, w->owner))
        return;
    if (!gi_map_put(&w->seen, v->id, v) || !gi_push(w->arena, w->out, v))
        w->failed = true;
}

static void note_results(capture_walk *w, const gi_node *n)
{
    for (uint32_t k = 0; k < n->n_attrs; k++)
        if (n->attrs[k].kind == GI_ATTR_GRAPH)
            for (uint32_t i = 0; i < n->attrs[k].u.graph->n_results; i++)
                note_capture(w, n->attrs[k].u.graph->results[i].value);
}

static bool capture_visit(void *arg, gi_node *n)
{
    capture_walk *w = arg;
    for (uint32_t i = 0; i < n->n_in; i++)
        note_capture(w, n->in[i].value);
    note_results(w, n);
    return !w->failed;
}

bool gi_node_captures(const gi_node *n, gi_arena *a, gi_values *out)
{
    capture_walk w = { .owner = n, .arena = a, .out = out };
    gi_map_init(&w.seen, a);
    for (size_t i = 0; i < out->n; i++)
        if (!gi_map_put(&w.seen, out->p[i]->id, out->p[i]))
            return false;
    for (uint32_t k = 0; k < n->n_attrs; k++)
        if (n->attrs[k].kind == GI_ATTR_GRAPH)
            gi_each_node(n->attrs[k].u.graph, capture_visit, &w);
    note_results(&w, n);
    return !w.failed;
}
