/* The order of a graph's nodes: as they stand where that works, else sorted, as near to it as can be. */
#include "onnx/import.h"

/* Names that a nested graph defines itself, up to the graph being sorted. */
typedef struct inner {
    const struct inner *parent;
    gi_smap names;
} inner;

typedef struct edge {
    uint32_t from, to;
} edge;

typedef struct sorter {
    gi_import *im;
    gi_arena *a;
    pb_node *const *nodes;
    uint32_t n;
    gi_smap producers; /* name → node index + 1 */
    gi_vec(edge) edges;
    uint32_t *degree;
    bool needed; /* a node stands before one that it needs */
} sorter;

static bool add_name(gi_smap *m, const char *name, uintptr_t v)
{
    return !name || !*name || gi_smap_put(m, name, (void *)v); /* NOLINT(performance-no-int-to-ptr) */
}

static bool defined_inside(const inner *in, const char *name)
{
    for (; in; in = in->parent)
        if (gi_smap_get(&in->names, name))
            return true;
    return false;
}

static bool depend(sorter *s, uint32_t node, const inner *in, const char *name)
{
    if (!name || !*name || defined_inside(in, name))
        return true;
    const uint32_t from = (uint32_t)(uintptr_t)gi_smap_get(&s->producers, name);
    if (!from)
        return true;
    s->needed |= from - 1 >= node;
    return gi_push(s->a, &s->edges, (edge){ from - 1, node });
}

static bool depend_graph(sorter *s, uint32_t node, const inner *parent, const pb_graph *g);

/* A Gradient needs what it names, too. */
static bool depend_named(sorter *s, uint32_t node, const inner *in, const pb_attr *at)
{
    for (size_t i = 0; i < at->n_strings + 1; i++) {
        const ProtobufCBinaryData *t = i < at->n_strings ? &at->strings[i] : &at->s;
        const char *name = t->len ? gi_arena_strn(s->a, (const char *)t->data, t->len) : "";
        if (!name || !depend(s, node, in, name))
            return false;
    }
    return true;
}

static bool depend_node(sorter *s, uint32_t node, const inner *in, const pb_node *p)
{
    const bool gradient =
        !strcmp(gi_onnx_domain(p->domain), GI_DOMAIN_TRAINING) && !strcmp(gi_pb_str(p->op_type), "Gradient");
    for (size_t i = 0; i < p->n_input; i++)
        if (!depend(s, node, in, p->input[i]))
            return false;
    for (size_t i = 0; i < p->n_attribute; i++) {
        const pb_attr *at = p->attribute[i];
        if (gradient && !depend_named(s, node, in, at))
            return false;
        if (at->g && !depend_graph(s, node, in, at->g))
            return false;
        for (size_t k = 0; k < at->n_graphs; k++)
            if (!depend_graph(s, node, in, at->graphs[k]))
                return false;
    }
    return true;
}

/* Recursion is bounded: the scanner caps how deep messages nest. */
static bool depend_graph(sorter *s, uint32_t node, const inner *parent, const pb_graph *g)
{
    inner in = { .parent = parent };
    gi_smap_init(&in.names, s->a);
    for (size_t i = 0; i < g->n_input; i++)
        if (!add_name(&in.names, g->input[i]->name, 1))
            return false;
    for (size_t i = 0; i < g->n_initializer; i++)
        if (!add_name(&in.names, g->initializer[i]->name, 1))
            return false;
    for (size_t i = 0; i < g->n_sparse_initializer; i++)
        if (g->sparse_initializer[i]->values && !add_name(&in.names, g->sparse_initializer[i]->values->name, 1))
            return false;
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            if (!add_name(&in.names, g->node[i]->output[k], 1))
                return false;
    for (size_t i = 0; i < g->n_node; i++)
        if (!depend_node(s, node, &in, g->node[i]))
            return false;
    for (size_t i = 0; i < g->n_output; i++)
        if (!depend(s, node, &in, g->output[i]->name))
            return false;
    return true;
}

/* ---- a heap of node indices, least first ---- */

static void heap_push(uint32_t *heap, uint32_t *n, uint32_t v)
{
    uint32_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > v; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = v;
}

static uint32_t heap_pop(uint32_t *heap, uint32_t *n)
{
    const uint32_t least = heap[0], v = heap[--*n];
    uint32_t i = 0;
    for (;;) {
        uint32_t k = 2 * i + 1;
        if (k + 1 < *n && heap[k + 1] < heap[k])
            k++;
        if (k >= *n || heap[k] >= v)
            break;
        heap[i] = heap[k];
        i = k;
    }
    heap[i] = v;
    return least;
}

static const char *label(const pb_node *p)
{
    if (p->name && *p->name)
        return p->name;
    return p->n_output ? gi_pb_str(p->output[0]) : gi_pb_str(p->op_type);
}

/* Names the nodes of one cycle: every node left over waits for another that is left over. */
static gopt_status report_cycle(sorter *s, const gi_scope *scope)
{
    uint32_t *waits_for = GI_NEW_ARRAY(s->a, uint32_t, s->n);
    uint8_t *seen = GI_NEW_ARRAY(s->a, uint8_t, s->n);
    GI_NEED(waits_for && seen);
    for (size_t i = 0; i < s->edges.n; i++)
        if (s->degree[s->edges.p[i].from])
            waits_for[s->edges.p[i].to] = s->edges.p[i].from;
    uint32_t at = 0;
    while (!s->degree[at])
        at++;
    while (!seen[at]) {
        seen[at] = 1;
        at = waits_for[at];
    }
    gi_str text;
    gi_str_init(&text, s->a);
    const uint32_t start = at;
    int shown = 0;
    do {
        gi_str_addf(&text, "%s'%s'", shown ? " needs " : "", label(s->nodes[at]));
        at = waits_for[at];
    } while (at != start && ++shown < 8);
    gi_str_addf(&text, " needs '%s'", at == start ? label(s->nodes[at]) : "…");
    GI_NEED(!text.failed);
    const gi_place place = { .file = s->im->g->file, .subgraph = scope->path };
    return gi_fail(s->im->cx, GOPT_BAD_INPUT, &place, NULL, "nodes form a cycle: %s", text.p);
}

static gopt_status sort(sorter *s, const gi_scope *scope, uint32_t *order)
{
    uint32_t *first = GI_NEW_ARRAY(s->a, uint32_t, (size_t)s->n + 2);
    uint32_t *to = GI_NEW_ARRAY(s->a, uint32_t, s->edges.n + 1);
    uint32_t *heap = GI_NEW_ARRAY(s->a, uint32_t, s->n + 1);
    s->degree = GI_NEW_ARRAY(s->a, uint32_t, s->n + 1);
    GI_NEED(first && to && heap && s->degree);
    for (size_t i = 0; i < s->edges.n; i++) {
        first[s->edges.p[i].from + 2]++;
        s->degree[s->edges.p[i].to]++;
    }
    for (uint32_t i = 2; i < s->n + 2; i++)
        first[i] += first[i - 1];
    for (size_t i = 0; i < s->edges.n; i++)
        to[first[s->edges.p[i].from + 1]++] = s->edges.p[i].to;
    uint32_t in_heap = 0, done = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (!s->degree[i])
            heap_push(heap, &in_heap, i);
    while (in_heap) {
        const uint32_t i = heap_pop(heap, &in_heap);
        order[done++] = i;
        for (uint32_t k = first[i]; k < first[i + 1]; k++)
            if (--s->degree[to[k]] == 0)
                heap_push(heap, &in_heap, to[k]);
    }
    return done == s->n ? GOPT_OK : report_cycle(s, scope);
}

gopt_status gi_import_order(gi_import *im, pb_node *const *nodes, size_t n, const gi_scope *scope, uint32_t **order)
{
    if (n >= UINT32_MAX - 2)
        return gi_fail(im->cx, GOPT_BAD_INPUT, NULL, NULL, "over 2^32 nodes");
    sorter s = { .im = im, .a = im->a, .nodes = nodes, .n = (uint32_t)n };
    uint32_t *o = GI_NEW_ARRAY(im->a, uint32_t, n + 1);
    GI_NEED(o);
    gi_smap_init(&s.producers, s.a);
    for (uint32_t i = 0; i < s.n; i++) {
        o[i] = i;
        for (size_t k = 0; k < nodes[i]->n_output; k++)
            GI_NEED(add_name(&s.producers, nodes[i]->output[k], (uintptr_t)i + 1));
    }
    for (uint32_t i = 0; i < s.n; i++)
        GI_NEED(depend_node(&s, i, NULL, nodes[i]));
    *order = o;
    if (!s.needed)
        return GOPT_OK;
    GI_TRY(sort(&s, scope, o));
    im->sorted++;
    return GOPT_OK;
}
