/* A graph copied whole: names, order, ids' order and provenance; weights are shared. Or a part of it cut out. */
#include "ir/graph.h"

#include <stdio.h>

typedef struct copy {
    gopt_graph *to;
    gi_arena *scratch;
    gi_value **values; /* by old id */
    gi_map types;      /* old type -> new */
    bool cut;          /* of a part: what it reads from outside becomes a parameter */
    gi_map unknown;    /* cut: an unknown dim -> the symbol that stands for it */
    gi_smap names;     /* cut: of parameters and results */
    bool part;         /* of a part whose parameters are given; unknown dims of these alone get names */
    bool naming;       /* part: the parameters are being made */
    bool fresh;        /* part: it starts at other tensors than the graph, so contents are no longer known */
    gi_smap symbols;   /* part: names of all symbols, once one is to be made */
    bool undefined;    /* part: it reads what it does not have */
    bool no_memory;    /* part: for the names of symbols */
} copy;

const gi_type *gi_type_import(gopt_graph *g, const gi_type *t)
{
    if (!t)
        return NULL;
    if (t->kind != GOPT_TENSOR) {
        const gi_type *elem = gi_type_import(g, t->elem);
        return gi_type_around(g->types, t, elem);
    }
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < t->rank; i++)
        dims[i] = gi_dim_import(g->dims, t->dims[i]);
    return gi_type_tensor(g->types, t->dtype, t->rank, dims);
}

/* Nobody can give a value to a dim that is unknown: in a part that stands alone it gets a name. */
static const gi_dim *cut_dim(copy *c, const gi_dim *d)
{
    if (!gi_dim_is_unknown(d))
        return gi_dim_import(c->to->dims, d);
    union {
        void *p;
        const gi_dim *d;
    } known = { .p = gi_map_get(&c->unknown, gi_key(d)) };
    if (!known.p && c->part && !c->naming)
        return gi_dim_import(c->to->dims, d);
    if (!known.p) {
        char name[24];
        size_t number = c->unknown.n;
        do
            snprintf(name, sizeof name, "u%zu", ++number);
        while (c->part && gi_smap_get(&c->symbols, name));
        known.d = gi_dim_sym(c->to->dims, name, true);
        if (known.d &&
            (!gi_map_put(&c->unknown, gi_key(d), known.p) || (c->part && !gi_smap_put(&c->symbols, name, c))))
            return NULL;
    }
    return known.d;
}

static const gi_type *cut_type(copy *c, const gi_type *t)
{
    if (t->kind != GOPT_TENSOR)
        return gi_type_import(c->to, t);
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < t->rank; i++)
        if (!(dims[i] = cut_dim(c, t->dims[i])))
            return NULL;
    return gi_type_tensor(c->to->types, t->dtype, t->rank, dims);
}

static const gi_type *type_of(copy *c, const gi_type *t)
{
    if (!t)
        return NULL;
    union {
        void *p;
        const gi_type *t;
    } known = { .p = gi_map_get(&c->types, gi_key(t)) };
    if (!known.p) {
        known.t = c->cut || c->part ? cut_type(c, t) : gi_type_import(c->to, t);
        if (known.t && !gi_map_put(&c->types, gi_key(t), known.p))
            return NULL;
    }
    return known.t;
}

static const char *const *strings(gi_arena *a, const char *const *s, uint32_t n)
{
    const char **p = GI_NEW_ARRAY(a, const char *, n ? n : 1);
    for (uint32_t i = 0; p && i < n; i++)
        p[i] = gi_arena_str(a, s[i]);
    return p;
}

static bool fill_value(copy *c, gi_value *to, const gi_value *from)
{
    to->name = gi_arena_str(c->to->arena, from->name);
    to->type = type_of(c, from->type);
    if (from->known && !c->cut && !c->fresh) {
        const gi_dim **known = GI_NEW_ARRAY(c->to->arena, const gi_dim *, from->n_known ? from->n_known : 1);
        if (!known)
            return false;
        for (uint32_t i = 0; i < from->n_known; i++)
            known[i] = gi_dim_import(c->to->dims, from->known[i]);
        to->known = known;
        to->n_known = from->n_known;
    }
    c->values[from->id] = to;
    return !from->type || to->type;
}

/* A name that no other parameter or result of the part has. */
static const char *cut_name(copy *c, const char *name, uint32_t id)
{
    const char *s = name && *name ? name : gi_arena_printf(c->scratch, "v%u", id);
    for (int k = 2; s && gi_smap_get(&c->names, s); k++)
        s = gi_arena_printf(c->scratch, "%s_%d", name && *name ? name : "v", k);
    return s && gi_smap_put(&c->names, s, c) ? s : NULL;
}

static bool add_cut_param(copy *c, gi_value *from)
{
    const char *name = cut_name(c, from->name, from->id);
    gi_value *v = name ? gi_block_add_param(c->to->main, name, NULL) : NULL;
    if (!v || !fill_value(c, v, from))
        return false;
    v->name = gi_arena_str(c->to->arena, name);
    return v->name != NULL;
}

/* The copy of a value; constants, and parameters of a part, are made when first met. */
static bool value_of(copy *c, gi_value *from, gi_value **to)
{
    if (from && c->cut && from->kind != GI_DEF_CONST && !c->values[from->id] && !add_cut_param(c, from))
        return false;
    *to = from ? c->values[from->id] : NULL;
    if (from && !*to && from->kind == GI_DEF_CONST) {
        gi_value *v = gi_const(c->to, gi_blob_ref(from->def.blob), from->name);
        if (!v || !fill_value(c, v, from))
            return false;
        *to = v;
    }
    c->undefined |= c->part && from && !*to;
    return !c->undefined;
}

static bool copy_results(copy *c, gi_block *to, const gi_block *from)
{
    gi_value **v = GI_NEW_ARRAY(c->scratch, gi_value *, from->n_results ? from->n_results : 1);
    if (!v)
        return false;
    for (uint32_t i = 0; i < from->n_results; i++)
        if (!value_of(c, from->results[i].value, &v[i]))
            return false;
    return gi_block_set_results(to, from->n_results, v, from->result_names);
}

static bool copy_node(copy *c, gi_block *to, const gi_node *n, gi_node **out)
{
    gi_arena *a = c->to->arena;
    gi_value **in = GI_NEW_ARRAY(c->scratch, gi_value *, n->n_in ? n->n_in : 1);
    if (!in)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!value_of(c, n->in[i].value, &in[i]))
            return false;
    gi_node *m = gi_node_create(to, NULL, n->op, n->n_in, in, n->n_out);
    if (!m || !gi_attrs_copy(m, n))
        return false;
    m->fusion = n->fusion;
    m->domain = gi_arena_str(a, n->domain);
    m->op_name = gi_arena_str(a, n->op_name);
    m->opset = n->opset;
    m->name = gi_arena_str(a, n->name);
    m->doc = gi_arena_str(a, n->doc);
    m->scope = gi_arena_str(a, n->scope);
    m->number = n->number;
    m->pass = gi_arena_str(a, n->pass);
    m->meta = strings(a, n->meta, 2 * n->n_meta);
    m->n_meta = n->n_meta;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!fill_value(c, m->out[i], n->out[i]))
            return false;
    *out = m;
    return m->meta && gi_node_set_origins(m, n->origins, n->n_origins);
}

static bool copy_block(copy *c, gi_block *to, const gi_block *from);

/* Nesting is capped by import at 100. */
static bool copy_blocks_of(copy *c, gi_node *m, const gi_node *n)
{
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        if (n->attrs[k].kind != GI_ATTR_GRAPH)
            continue;
        const gi_block *inner = n->attrs[k].u.graph;
        gi_block *b = gi_block_create(c->to, m, inner->name);
        if (!b)
            return false;
        gi_attr_set_graph(m, (int)k, b);
        if (!copy_block(c, b, inner))
            return false;
    }
    return true;
}

static bool copy_block(copy *c, gi_block *to, const gi_block *from)
{
    for (uint32_t i = 0; i < from->n_params; i++) {
        gi_value *p = gi_block_add_param(to, from->params[i]->name, NULL);
        if (!p || !fill_value(c, p, from->params[i]))
            return false;
    }
    for (const gi_node *n = from->first; n; n = n->next) {
        gi_node *m;
        if (!copy_node(c, to, n, &m) || !copy_blocks_of(c, m, n))
            return false;
    }
    return copy_results(c, to, from);
}

static bool copy_header(gopt_graph *to, const gopt_graph *g)
{
    gi_arena *a = to->arena;
    to->name = gi_arena_str(a, g->name);
    to->doc = gi_arena_str(a, g->doc);
    to->file = gi_arena_str(a, g->file);
    to->ir_version = g->ir_version;
    to->producer = gi_arena_str(a, g->producer);
    to->producer_version = gi_arena_str(a, g->producer_version);
    to->model_domain = gi_arena_str(a, g->model_domain);
    to->model_version = g->model_version;
    to->meta = strings(a, g->meta, 2 * g->n_meta);
    to->n_meta = g->n_meta;
    to->out_symbols = strings(a, g->out_symbols, 2 * g->n_out_symbols);
    to->n_out_symbols = g->n_out_symbols;
    to->opsets = GI_NEW_ARRAY(a, gi_opset, g->n_opsets ? g->n_opsets : 1);
    if (!to->opsets || !to->meta || !to->out_symbols)
        return false;
    for (uint32_t i = 0; i < g->n_opsets; i++)
        to->opsets[i] = (gi_opset){ gi_arena_str(a, g->opsets[i].domain), g->opsets[i].version };
    to->n_opsets = g->n_opsets;
    return true;
}

/* An empty graph, and room for what becomes of each value; end() whatever comes. */
static gopt_status begin(copy *c, const gopt_graph *g)
{
    GI_TRY(gi_graph_create(g->cx, &c->to));
    c->scratch = gi_arena_create(g->cx);
    c->values = c->scratch ? GI_NEW_ARRAY(c->scratch, gi_value *, g->n_values ? g->n_values : 1) : NULL;
    gi_map_init(&c->types, c->scratch);
    gi_map_init(&c->unknown, c->scratch);
    gi_smap_init(&c->names, c->scratch);
    gi_smap_init(&c->symbols, c->scratch);
    return GOPT_OK;
}

/* Gives the copy out where it is whole. */
static gopt_status end(copy *c, bool done, gopt_graph **out)
{
    gi_arena_destroy(c->scratch);
    if (!done) {
        gopt_graph_destroy(c->to);
        return GOPT_NO_MEMORY;
    }
    *out = c->to;
    return GOPT_OK;
}

gi_node *gi_node_in_block(gi_node *n, const gi_block *b)
{
    while (n && n->block != b)
        n = n->block->owner;
    return n;
}

bool gi_node_reads(const gi_node *n, gi_arena *a, gi_values *out)
{
    gi_values captured = { 0 };
    bool owns = false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && !gi_push(a, out, n->in[i].value))
            return false;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        owns |= n->attrs[i].kind == GI_ATTR_GRAPH;
    if (owns && !gi_node_captures(n, a, &captured))
        return false;
    for (size_t i = 0; i < captured.n; i++)
        if (!gi_push(a, out, captured.p[i]))
            return false;
    return true;
}

static bool is_read_outside(const gi_value *v, const gi_block *b, const bool *keep)
{
    for (const gi_use *u = v->uses; u; u = u->next) {
        gi_node *n = u->node ? u->node : u->block->owner;
        const gi_node *at = !u->node && u->block == b ? NULL : gi_node_in_block(n, b);
        if (!at || !keep[at->id])
            return true;
    }
    return false;
}

static bool cut_results(copy *c, const gi_block *b, const bool *keep)
{
    gi_values values = { 0 };
    gi_vec(const char *) names = { 0 };
    for (const gi_node *n = b->first; n; n = n->next)
        for (uint32_t i = 0; keep[n->id] && i < n->n_out; i++) {
            if (!is_read_outside(n->out[i], b, keep))
                continue;
            const char *name = cut_name(c, n->out[i]->name, n->out[i]->id);
            gi_value *v = c->values[n->out[i]->id];
            if (!name || !gi_push(c->scratch, &values, v) || !gi_push(c->scratch, &names, name))
                return false;
        }
    return gi_block_set_results(c->to->main, (uint32_t)values.n, values.p, names.p);
}

/* Names of nodes are enough for a part that is to be looked at. */
static void forget_provenance(gi_node *m)
{
    if (!m->name && m->n_origins)
        m->name = m->origins[0];
    m->n_origins = m->n_meta = 0;
    m->doc = m->scope = NULL;
}

static bool cut_nodes(copy *c, const gi_block *b, const bool *keep)
{
    for (const gi_node *n = b->first; n; n = n->next) {
        gi_node *m;
        if (!keep[n->id])
            continue;
        if (!copy_node(c, c->to->main, n, &m) || !copy_blocks_of(c, m, n))
            return false;
        forget_provenance(m);
    }
    return cut_results(c, b, keep);
}

gopt_status gi_graph_cut(const gopt_graph *g, const gi_block *b, const bool *keep, gopt_graph **out)
{
    copy c = { .cut = true };
    GI_TRY(begin(&c, g));
    const bool done = c.values && copy_header(c.to, g) && cut_nodes(&c, b, keep);
    c.to->n_out_symbols = c.to->n_meta = 0;
    return end(&c, done, out);
}

/* ---- a part between given values ---- */

static void note_symbol(void *arg, const gi_dim *symbol)
{
    copy *c = arg;
    const char *name = gi_dim_symbol(symbol);
    if (name && !gi_smap_get(&c->symbols, name) && !gi_smap_put(&c->symbols, name, c))
        c->no_memory = true;
}

static void note_type(copy *c, const gi_type *t)
{
    while (t && t->kind != GOPT_TENSOR)
        t = t->elem;
    for (int i = 0; t && i < t->rank; i++)
        gi_dim_each_symbol(t->dims[i], note_symbol, c);
}

static bool note_node(void *arg, gi_node *n)
{
    copy *c = arg;
    for (uint32_t i = 0; i < n->n_out; i++)
        note_type(c, n->out[i]->type);
    return !c->no_memory;
}

/* The symbols that the graph has: one that is made for a part must be none of them. */
static bool note_symbols(copy *c, const gopt_graph *g)
{
    for (uint32_t i = 0; i < g->main->n_params; i++)
        note_type(c, g->main->params[i]->type);
    return gi_each_node(g->main, note_node, c) && !c->no_memory;
}

static bool part_params(copy *c, const gopt_graph *g, const gi_excerpt *p)
{
    for (uint32_t i = 0; i < p->n_params; i++)
        c->fresh |= p->params[i]->kind != GI_DEF_PARAM || p->params[i]->def.block != g->main;
    if (c->fresh && !note_symbols(c, g))
        return false;
    c->naming = c->fresh;
    for (uint32_t i = 0; i < p->n_params; i++) {
        gi_value *v = gi_block_add_param(c->to->main, p->param_names[i], NULL);
        if (!v || !fill_value(c, v, p->params[i]))
            return false;
        v->name = gi_arena_str(c->to->arena, p->param_names[i]);
        if (!v->name)
            return false;
    }
    c->naming = false;
    return true;
}

static bool part_nodes(copy *c, const gopt_graph *g, const gi_excerpt *p)
{
    for (const gi_node *n = g->main->first; n; n = n->next) {
        gi_node *m;
        if (p->keep[n->id] && (!copy_node(c, c->to->main, n, &m) || !copy_blocks_of(c, m, n)))
            return false;
    }
    gi_value **v = GI_NEW_ARRAY(c->scratch, gi_value *, p->n_results + 1u);
    for (uint32_t i = 0; v && i < p->n_results; i++)
        if (!value_of(c, p->results[i], &v[i]))
            return false;
    return v && gi_block_set_results(c->to->main, p->n_results, v, p->result_names);
}

gopt_status gi_graph_excerpt(const gopt_graph *g, const gi_excerpt *p, gopt_graph **out)
{
    copy c = { .part = true };
    GI_TRY(begin(&c, g));
    const bool done = c.values && copy_header(c.to, g) && part_params(&c, g, p) && part_nodes(&c, g, p);
    const gopt_status st = end(&c, done, out);
    return !done && c.undefined ? gi_fail(g->cx, GOPT_INTERNAL, &(gi_place){ .file = g->file }, NULL,
                                          "a part reads a tensor that it does not have")
                                : st;
}

gopt_status gopt_graph_clone(const gopt_graph *g, gopt_graph **out)
{
    copy c = { 0 };
    GI_TRY(begin(&c, g));
    const bool done = c.values && copy_header(c.to, g) && copy_block(&c, c.to->main, g->main);
    return end(&c, done, out);
}
