/* A graph made ready for writing: fusions flattened, constants put where they are used, everything named. */
#include "onnx/export.h"

#include <stdio.h>

enum { MAX_DEPTH = 200 }; /* of blocks within each other */

/* ---- the flat form ---- */

/* What a Fusion yields is what its block computes. */
static gi_value *resolve(gi_value *v)
{
    for (const gi_node *n = gi_value_node(v); n && n->op == OP_Fusion; n = gi_value_node(v)) {
        const gi_block *b = gi_fusion_block(n);
        if (v->index >= b->n_results)
            return v;
        v = b->results[v->index].value;
    }
    return v;
}

static gopt_status flatten(gi_export *x, const gi_block *from, gi_xblock *to, int depth);

static gopt_status new_block(gi_export *x, const gi_block *b, gi_xblock *parent, int depth, gi_xblock **out)
{
    gi_xblock *to = GI_NEW(x->a, gi_xblock);
    GI_NEED(to);
    to->b = b;
    to->parent = parent;
    to->depth = parent ? parent->depth + 1 : 0;
    *out = to;
    return flatten(x, b, to, depth);
}

static gopt_status add_node(gi_export *x, const gi_node *n, gi_xblock *to, int depth)
{
    gi_xnode *m = GI_NEW(x->a, gi_xnode);
    GI_NEED(m);
    m->n = n;
    m->op = n->op_name;
    m->domain = n->domain ? n->domain : "";
    for (uint32_t i = 0; i < n->n_in; i++)
        GI_NEED(gi_push(x->a, &m->in, resolve(n->in[i].value)));
    while (m->in.n && !m->in.p[m->in.n - 1])
        m->in.n--;
    for (uint32_t i = 0; i < n->n_out; i++)
        GI_NEED(gi_push(x->a, &m->out, n->out[i]));
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        gi_xattr at = { .a = n->attrs[i] };
        if (at.a.kind == GI_ATTR_NONE)
            continue;
        if (at.a.kind == GI_ATTR_GRAPH)
            GI_TRY(new_block(x, at.a.u.graph, to, depth + 1, &at.graph));
        GI_NEED(gi_push(x->a, &m->attrs, at));
    }
    GI_NEED(gi_push(x->a, &to->nodes, m));
    return GOPT_OK;
}

static gopt_status flatten(gi_export *x, const gi_block *from, gi_xblock *to, int depth)
{
    if (depth > MAX_DEPTH)
        return gi_fail(x->cx, GOPT_BAD_INPUT, NULL, NULL, "blocks nest over %d deep", MAX_DEPTH);
    for (const gi_node *n = from->first; n; n = n->next)
        GI_TRY(n->op == OP_Fusion ? flatten(x, gi_fusion_block(n), to, depth + 1) : add_node(x, n, to, depth));
    return GOPT_OK;
}

/* ---- results: what is no node's output of this very block goes through an Identity ---- */

static bool defined_here(const gi_export *x, const gi_xblock *b, const gi_value *v)
{
    return v->kind != GI_DEF_CONST && x->home[v->id] == b;
}

static gopt_status identity(gi_export *x, gi_xblock *b, gi_value *v, const char *name)
{
    gi_xnode *m = GI_NEW(x->a, gi_xnode);
    GI_NEED(m);
    *m = (gi_xnode){ .op = "Identity", .domain = "", .out_name = name };
    GI_NEED(gi_push(x->a, &m->in, v));
    return gi_push(x->a, &b->nodes, m) ? GOPT_OK : GOPT_NO_MEMORY;
}

/* A name like `wish` that nothing has yet. */
static const char *fresh(gi_export *x, const char *wish)
{
    const char *name = wish;
    for (int i = 2; name && gi_smap_get(&x->names, name); i++)
        name = gi_arena_printf(x->a, "%s_%d", wish, i);
    return name && gi_smap_put(&x->names, name, x) ? name : NULL;
}

static const char *wish_of(gi_export *x, const gi_value *v)
{
    if (v->name && *v->name)
        return v->name;
    return gi_arena_printf(x->a, v->kind == GI_DEF_CONST ? "const_%u" : "v_%u", v->id);
}

static gopt_status name_value(gi_export *x, const gi_value *v)
{
    if (x->name[v->id])
        return GOPT_OK;
    const char *wish = wish_of(x, v);
    x->name[v->id] = wish ? fresh(x, wish) : NULL;
    return x->name[v->id] ? GOPT_OK : GOPT_NO_MEMORY;
}

/* ---- homes ---- */

static void use(gi_export *x, gi_xblock *b, const gi_value *v)
{
    if (!v || v->kind != GI_DEF_CONST)
        return;
    gi_xblock *h = x->home[v->id];
    if (!h) {
        x->home[v->id] = b;
        return;
    }
    while (h != b) {
        if (h->depth >= b->depth)
            h = h->parent;
        else
            b = b->parent;
    }
    x->home[v->id] = h;
}

static void set_homes(gi_export *x, gi_xblock *b)
{
    for (uint32_t i = 0; i < b->b->n_params; i++)
        x->home[b->b->params[i]->id] = b;
    for (size_t i = 0; i < b->nodes.n; i++) {
        gi_xnode *n = b->nodes.p[i];
        for (size_t k = 0; k < n->in.n; k++)
            use(x, b, n->in.p[k]);
        for (size_t k = 0; k < n->out.n; k++)
            x->home[n->out.p[k]->id] = b;
        for (size_t k = 0; k < n->attrs.n; k++)
            if (n->attrs.p[k].graph)
                set_homes(x, n->attrs.p[k].graph);
    }
    for (uint32_t i = 0; i < b->b->n_results; i++)
        use(x, b, resolve(b->b->results[i].value));
}

/* Constants in the order of their first use, each in its home. */
static gopt_status collect_consts(gi_export *x, gi_xblock *b, uint8_t *seen)
{
    for (size_t i = 0; i < b->nodes.n; i++) {
        gi_xnode *n = b->nodes.p[i];
        for (size_t k = 0; k < n->in.n; k++) {
            gi_value *v = n->in.p[k];
            if (!v || v->kind != GI_DEF_CONST || seen[v->id])
                continue;
            seen[v->id] = 1;
            GI_NEED(gi_push(x->a, &x->home[v->id]->consts, v));
        }
        for (size_t k = 0; k < n->attrs.n; k++)
            if (n->attrs.p[k].graph)
                GI_TRY(collect_consts(x, n->attrs.p[k].graph, seen));
    }
    for (uint32_t i = 0; i < b->b->n_results; i++) {
        gi_value *v = resolve(b->b->results[i].value);
        if (!v || v->kind != GI_DEF_CONST || seen[v->id])
            continue;
        seen[v->id] = 1;
        GI_NEED(gi_push(x->a, &x->home[v->id]->consts, v));
    }
    return GOPT_OK;
}

/* ---- names ---- */

/* Inputs and outputs of the model have their names for good. */
static gopt_status name_main(gi_export *x)
{
    const gi_block *b = x->main->b;
    for (uint32_t i = 0; i < b->n_params; i++) {
        const gi_value *p = b->params[i];
        const char *name = p->name ? p->name : "";
        if (!*name || gi_smap_get(&x->names, name))
            return gi_fail(x->cx, GOPT_INTERNAL, NULL, NULL, "input #%u has no name of its own", i);
        x->name[p->id] = name;
        GI_NEED(gi_smap_put(&x->names, name, x));
    }
    x->main->results = GI_NEW_ARRAY(x->a, const char *, b->n_results + 1u);
    GI_NEED(x->main->results);
    for (uint32_t i = 0; i < b->n_results; i++) {
        const gi_value *v = resolve(b->results[i].value);
        const char *name = b->result_names[i] ? b->result_names[i] : v ? v->name : NULL;
        if (!v || !name || !*name)
            return gi_fail(x->cx, GOPT_INTERNAL, NULL, NULL, "output #%u has no name or no value", i);
        x->main->results[i] = name;
        if (x->name[v->id] || gi_smap_get(&x->names, name))
            continue; /* an input, a second output of one value, or an output listed twice */
        x->name[v->id] = name;
        GI_NEED(gi_smap_put(&x->names, name, x));
    }
    return GOPT_OK;
}

/* May the output be left out where nobody reads it? Not where ONNX requires it, nor out of a list. */
static bool may_lack_name(const gi_xnode *n, size_t k)
{
    if (!k || !n->n)
        return k > 0;
    if (n->n->op == OP_Unknown)
        return true;
    const gi_op *row = gi_op_get(n->n->op);
    return row->n_out && row->out[k < (size_t)row->n_out ? k : (size_t)row->n_out - 1].presence == GI_OPTIONAL;
}

static gopt_status name_block(gi_export *x, gi_xblock *b)
{
    for (size_t i = 0; i < b->consts.n; i++)
        GI_TRY(name_value(x, b->consts.p[i]));
    for (uint32_t i = 0; i < b->b->n_params; i++)
        GI_TRY(name_value(x, b->b->params[i]));
    for (size_t i = 0; i < b->nodes.n; i++) {
        gi_xnode *n = b->nodes.p[i];
        for (size_t k = 0; k < n->out.n; k++)
            if ((n->out.p[k]->name && *n->out.p[k]->name) || n->out.p[k]->n_uses || x->name[n->out.p[k]->id] ||
                !may_lack_name(n, k))
                GI_TRY(name_value(x, n->out.p[k]));
        for (size_t k = 0; k < n->attrs.n; k++)
            if (n->attrs.p[k].graph)
                GI_TRY(name_block(x, n->attrs.p[k].graph));
    }
    return GOPT_OK;
}

/* Results that cannot be said by their value's own name. */
static gopt_status finish_main(gi_export *x)
{
    gi_xblock *b = x->main;
    gi_smap seen;
    gi_smap_init(&seen, x->a);
    for (uint32_t i = 0; i < b->b->n_results; i++) {
        gi_value *v = resolve(b->b->results[i].value);
        const bool again = gi_smap_get(&seen, b->results[i]);
        GI_NEED(gi_smap_put(&seen, b->results[i], b));
        if (strcmp(x->name[v->id], b->results[i]) != 0 && !again)
            GI_TRY(identity(x, b, v, b->results[i]));
    }
    return GOPT_OK;
}

static gopt_status finish_inner(gi_export *x, gi_xblock *b)
{
    const uint32_t n = b->b->n_results;
    if (b->parent) {
        b->results = GI_NEW_ARRAY(x->a, const char *, n + 1u);
        GI_NEED(b->results);
        gi_map seen;
        gi_map_init(&seen, x->a);
        for (uint32_t i = 0; i < n; i++) {
            gi_value *v = resolve(b->b->results[i].value);
            if (!v)
                return gi_fail(x->cx, GOPT_INTERNAL, NULL, NULL, "result #%u of a subgraph has no value", i);
            const bool again = gi_map_get(&seen, (uint64_t)v->id + 1);
            GI_NEED(gi_map_put(&seen, (uint64_t)v->id + 1, v));
            b->results[i] = x->name[v->id];
            if (defined_here(x, b, v) && !again)
                continue;
            const char *wish = b->b->result_names && b->b->result_names[i] ? b->b->result_names[i] : x->name[v->id];
            b->results[i] = fresh(x, wish);
            GI_NEED(b->results[i]);
            GI_TRY(identity(x, b, v, b->results[i]));
        }
    }
    for (size_t i = 0; i < b->nodes.n; i++)
        for (size_t k = 0; k < b->nodes.p[i]->attrs.n; k++)
            if (b->nodes.p[i]->attrs.p[k].graph)
                GI_TRY(finish_inner(x, b->nodes.p[i]->attrs.p[k].graph));
    return GOPT_OK;
}

gopt_status gi_export_graph(gi_export *x)
{
    GI_TRY(new_block(x, x->g->main, NULL, 0, &x->main));
    GI_TRY(gi_opset_downgrade(x));
    x->n_values = x->g->n_values;
    x->name = GI_NEW_ARRAY(x->a, const char *, x->n_values + 1u);
    x->home = GI_NEW_ARRAY(x->a, gi_xblock *, x->n_values + 1u);
    uint8_t *seen = GI_NEW_ARRAY(x->a, uint8_t, x->n_values + 1u);
    GI_NEED(x->name && x->home && seen);
    gi_smap_init(&x->names, x->a);
    set_homes(x, x->main);
    GI_TRY(collect_consts(x, x->main, seen));
    GI_TRY(name_main(x));
    GI_TRY(name_block(x, x->main));
    GI_TRY(finish_main(x));
    return finish_inner(x, x->main);
}
