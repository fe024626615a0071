/* Reading an ONNX model: scanner, messages, graph. */
#include "onnx/import.h"

#include <stdio.h>

/* ---- scopes ---- */

/* Stands for a function's parameter that the caller left out. */
static char left_out;

gi_value *gi_scope_find(const gi_scope *s, const char *name, bool *found)
{
    for (; s; s = s->parent) {
        void *v = gi_smap_get(&s->values, name);
        if (v) {
            *found = true;
            return v == &left_out ? NULL : v;
        }
    }
    *found = false;
    return NULL;
}

gopt_status gi_scope_define(gi_import *im, gi_scope *s, const char *name, gi_value *v, const gi_place *at)
{
    if (gi_smap_get(&s->values, name))
        return gi_fail(im->cx, GOPT_BAD_INPUT, at, NULL, "two values are named '%s'", name);
    return gi_smap_put(&s->values, name, v ? (void *)v : &left_out) ? GOPT_OK : GOPT_NO_MEMORY;
}

static gi_place place_of(const gi_import *im, const gi_scope *s)
{
    return (gi_place){ .file = im->g->file, .subgraph = s->path };
}

/* ---- a graph ---- */

static const char *named(gi_import *im, const gi_scope *s, const char *name)
{
    return s->call ? gi_arena_printf(im->a, "%s/%s", s->call->prefix, name) : name;
}

static gopt_status add_initializer(gi_import *im, gi_scope *s, const char *name, gi_blob *b)
{
    const gi_place at = place_of(im, s);
    gi_value *v = gi_const(im->g, b, named(im, s, name));
    GI_NEED(v);
    return gi_scope_define(im, s, name, v, &at);
}

static gopt_status read_initializers(gi_import *im, const pb_graph *p, gi_scope *s)
{
    for (size_t i = 0; i < p->n_initializer + p->n_sparse_initializer; i++) {
        const bool sparse = i >= p->n_initializer;
        const pb_sparse *sp = sparse ? p->sparse_initializer[i - p->n_initializer] : NULL;
        const pb_tensor *t = sparse ? sp->values : p->initializer[i];
        const char *name = t ? gi_pb_str(t->name) : "";
        char what[320];
        snprintf(what, sizeof what, "initializer '%.280s'", name);
        gi_place at = place_of(im, s);
        at.input = what;
        if (!*name)
            return gi_fail(im->cx, GOPT_BAD_INPUT, &at, NULL, "initializer #%zu has no name", i);
        gi_blob *b;
        GI_TRY(sparse ? gi_onnx_sparse_blob(&im->payloads, sp, &at, &b) : gi_onnx_blob(&im->payloads, t, &at, &b));
        GI_TRY(add_initializer(im, s, name, b));
    }
    return GOPT_OK;
}

/* Inputs are the parameters, but for those that have an initializer. */
static gopt_status read_inputs(gi_import *im, const pb_graph *p, gi_scope *s)
{
    const gi_place at = place_of(im, s);
    const bool main = s->block == im->g->main;
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = gi_pb_str(p->input[i]->name);
        if (!*name)
            return gi_fail(im->cx, GOPT_BAD_INPUT, &at, NULL, "input #%zu of the graph has no name", i);
        const gi_value *have = gi_smap_get(&s->values, name);
        if (have && have->kind == GI_DEF_CONST) {
            GI_NEED(gi_push(im->g->arena, &im->g->source->defaults, have));
            continue;
        }
        const gi_type *type;
        GI_NEED(gi_onnx_type(im->g, p->input[i]->type, &type));
        gi_value *v = gi_block_add_param(s->block, named(im, s, name), type);
        GI_NEED(v);
        for (int k = 0; main && type && type->kind == GOPT_TENSOR && k < type->rank; k++)
            if (!gi_dim_is_const(type->dims[k], NULL))
                GI_NEED(gi_map_put(&im->inputs, (uint64_t)(uintptr_t)type->dims[k], v));
        GI_TRY(gi_scope_define(im, s, name, v, &at));
    }
    return GOPT_OK;
}

static gopt_status declare(const Gi__Pb__ValueInfoProto *const *v, size_t n, gi_scope *s)
{
    for (size_t i = 0; i < n; i++)
        if (v[i]->name && *v[i]->name && v[i]->type)
            GI_NEED(gi_smap_put(&s->declared, v[i]->name, (void *)(uintptr_t)v[i])); /* NOLINT */
    return GOPT_OK;
}

static gopt_status read_outputs(gi_import *im, const pb_graph *p, gi_scope *s)
{
    const gi_place at = place_of(im, s);
    gi_value **v = GI_NEW_ARRAY(im->a, gi_value *, p->n_output + 1);
    const char **names = GI_NEW_ARRAY(im->a, const char *, p->n_output + 1);
    GI_NEED(v && names && p->n_output < UINT32_MAX);
    for (size_t i = 0; i < p->n_output; i++) {
        names[i] = gi_pb_str(p->output[i]->name);
        bool found;
        v[i] = gi_scope_find(s, names[i], &found);
        if (!v[i])
            return gi_fail(im->cx, GOPT_BAD_INPUT, &at, NULL,
                           "output '%s' of the graph is no node's output, input or initializer", names[i]);
    }
    return gi_block_set_results(s->block, (uint32_t)p->n_output, v, names) ? GOPT_OK : GOPT_NO_MEMORY;
}

gopt_status gi_import_graph(gi_import *im, const pb_graph *p, gi_scope *s)
{
    GI_TRY(declare((const Gi__Pb__ValueInfoProto *const *)p->value_info, p->n_value_info, s));
    GI_TRY(declare((const Gi__Pb__ValueInfoProto *const *)p->output, p->n_output, s));
    GI_TRY(read_initializers(im, p, s));
    if (s->block == im->g->main)
        im->n_initializers = im->g->consts.n;
    GI_TRY(read_inputs(im, p, s));
    GI_TRY(gi_import_nodes(im, p->node, p->n_node, s));
    return read_outputs(im, p, s);
}

gopt_status gi_import_nodes(gi_import *im, pb_node *const *nodes, size_t n, gi_scope *s)
{
    uint32_t *order;
    GI_TRY(gi_import_order(im, nodes, n, s, &order));
    const int64_t first = im->number;
    for (size_t i = 0; i < n; i++) {
        if (!s->call && !s->parent)
            im->number = first + order[i]; /* the position in the file, sorted or not */
        GI_TRY(gi_import_node(im, s, nodes[order[i]]));
    }
    return GOPT_OK;
}

/* ---- the model ---- */

static gopt_status read_opsets(gi_import *im, const pb_model *m)
{
    gopt_graph *g = im->g;
    const gi_place at = { .file = g->file };
    const bool old = !m->n_opset_import && m->ir_version < 3;
    const size_t n = old ? 1 : m->n_opset_import;
    g->opsets = GI_NEW_ARRAY(g->arena, gi_opset, n + 1);
    GI_NEED(g->opsets);
    if (old)
        g->opsets[g->n_opsets++] = (gi_opset){ "", 1 };
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const char *domain = gi_arena_str(g->arena, gi_onnx_domain(m->opset_import[i]->domain));
        GI_NEED(domain);
        const int64_t version = m->opset_import[i]->version;
        if (gi_graph_opset(g, domain))
            continue; /* said twice */
        if (!*domain && (version < 1 || version >= 10000))
            return gi_fail(im->cx, GOPT_BAD_INPUT, &at, NULL, "the model asks for opset %lld, expected 1 to %d",
                           (long long)version, GI_ONNX_NEWEST_OPSET);
        g->opsets[g->n_opsets++] = (gi_opset){ domain, version };
        if (!*domain && version > GI_ONNX_NEWEST_OPSET)
            gi_warn(im->cx, &at, NULL, "the model uses opset %lld, newer than the newest known here (%d)",
                    (long long)version, GI_ONNX_NEWEST_OPSET);
    }
    return GOPT_OK;
}

static gopt_status read_functions(gi_import *im, const pb_model *m)
{
    for (size_t i = 0; i < m->n_functions; i++) {
        const pb_function *f = m->functions[i];
        const char *key =
            gi_arena_printf(im->a, "%s\n%s\n%s", gi_onnx_domain(f->domain), gi_pb_str(f->name), gi_pb_str(f->overload));
        GI_NEED(key);
        const gi_place at = { .file = im->g->file };
        if (gi_smap_get(&im->functions, key))
            return gi_fail(im->cx, GOPT_BAD_INPUT, &at, NULL, "two functions are named %s::%s%s%s",
                           gi_pb_str(f->domain), gi_pb_str(f->name), f->overload && *f->overload ? ", overload " : "",
                           gi_pb_str(f->overload));
        GI_NEED(gi_smap_put(&im->functions, key, m->functions[i]));
    }
    return GOPT_OK;
}

static const char *kept(gi_import *im, const char *s)
{
    return s && *s ? gi_arena_str(im->g->arena, s) : NULL;
}

static gopt_status read_header(gi_import *im, const pb_model *m)
{
    gopt_graph *g = im->g;
    g->ir_version = m->ir_version;
    g->producer = kept(im, m->producer_name);
    g->producer_version = kept(im, m->producer_version);
    g->model_domain = kept(im, m->domain);
    g->model_version = m->model_version;
    g->doc = kept(im, m->doc_string ? m->doc_string : m->graph->doc_string);
    g->name = gi_arena_str(g->arena, gi_pb_str(m->graph->name));
    const char **meta = GI_NEW_ARRAY(g->arena, const char *, 2 * m->n_metadata_props + 1);
    GI_NEED(meta && g->name && m->n_metadata_props < UINT32_MAX / 2);
    for (size_t i = 0; i < m->n_metadata_props; i++) {
        meta[2 * i] = gi_arena_str(g->arena, gi_pb_str(m->metadata_props[i]->key));
        meta[2 * i + 1] = gi_arena_str(g->arena, gi_pb_str(m->metadata_props[i]->value));
        GI_NEED(meta[2 * i] && meta[2 * i + 1]);
    }
    g->meta = meta;
    g->n_meta = (uint32_t)m->n_metadata_props;
    return GOPT_OK;
}

/* What was done without being asked, one note each. */
static gopt_status notes(gi_import *im)
{
    const gi_place at = { .file = im->g->file };
    gi_source *source = im->g->source;
    source->sorted = im->sorted;
    source->stale = im->stale + im->named;
    if (im->sorted)
        gi_note(im->cx, &at, NULL, "nodes did not stand in the order of their computation: sorted");
    if (source->defaults.n)
        gi_note(im->cx, &at, NULL, "%zu inputs have initializers: they are constants here", source->defaults.n);
    if (im->stale)
        gi_warn(im->cx, &at, NULL, "%u declared types contradict what the operators yield: ignored", im->stale);
    for (size_t i = 0; i < im->n_initializers; i++) {
        const gi_value *v = im->g->consts.p[i];
        if (!v->n_uses && !gi_map_get(&im->read, gi_key(v))) /* an old form may need fewer inputs here than there */
            GI_NEED(gi_push(im->g->arena, &source->unused_weights, v));
    }
    gi_str unused;
    gi_str_init(&unused, im->a);
    for (uint32_t i = 0; i < im->g->n_opsets; i++) {
        const char *d = im->g->opsets[i].domain;
        if (!*d || gi_smap_get(&im->domains, d))
            continue;
        gi_str_addf(&unused, "%s%s", unused.n ? ", " : "", d);
        GI_NEED(gi_push(im->g->arena, &source->unused_domains, d));
    }
    if (unused.n && !unused.failed)
        gi_note(im->cx, &at, NULL, "imported but never used: %s", unused.p);
    return GOPT_OK;
}

/* The names that the file gives to dims of outputs: inference may know them as expressions. */
static gopt_status keep_symbols(gi_import *im, const pb_graph *p)
{
    gopt_graph *g = im->g;
    const char **pairs = GI_NEW_ARRAY(g->arena, const char *, 2 * p->n_output + 1);
    GI_NEED(pairs);
    for (size_t i = 0; i < p->n_output; i++) {
        const pb_type *t = p->output[i]->type;
        if (!t || !t->tensor_type || !t->tensor_type->shape)
            continue;
        gi_str s;
        gi_str_init(&s, g->arena);
        bool any = false;
        for (size_t k = 0; k < t->tensor_type->shape->n_dim; k++) {
            const char *symbol = gi_pb_str(t->tensor_type->shape->dim[k]->dim_param);
            any |= *symbol != 0;
            gi_str_addf(&s, "%s%s", k ? "\n" : "", symbol);
        }
        GI_NEED(!s.failed);
        if (!any)
            continue;
        pairs[2 * g->n_out_symbols] = gi_arena_str(g->arena, gi_pb_str(p->output[i]->name));
        pairs[2 * g->n_out_symbols + 1] = s.p;
        GI_NEED(pairs[2 * g->n_out_symbols]);
        g->n_out_symbols++;
    }
    g->out_symbols = pairs;
    return GOPT_OK;
}

static gopt_status read_model(gi_import *im, const gi_file *f)
{
    ProtobufCMessage *message;
    GI_TRY(gi_pb_read(im->cx, f, &gi__pb__model_proto__descriptor, "an ONNX model", im->a, &message));
    const pb_model *m = (const pb_model *)message;
    if (!m->graph)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &(gi_place){ .file = f->path }, NULL, "the model has no graph");
    im->g->file = gi_arena_str(im->g->arena, f->path);
    GI_NEED(im->g->file);
    im->g->source = GI_NEW(im->g->arena, gi_source);
    GI_NEED(im->g->source);
    im->g->source->nodes = (uint32_t)m->graph->n_node;
    im->g->source->value_infos = (uint32_t)m->graph->n_value_info;
    GI_TRY(read_header(im, m));
    GI_TRY(read_opsets(im, m));
    GI_TRY(read_functions(im, m));
    gi_scope s = { .block = im->g->main, .opsets = im->g->opsets, .n_opsets = im->g->n_opsets };
    gi_smap_init(&s.values, im->a);
    gi_smap_init(&s.declared, im->a);
    for (size_t i = 0; i < m->graph->n_output; i++)
        GI_NEED(gi_smap_put(&im->outputs, gi_pb_str(m->graph->output[i]->name), im));
    GI_TRY(gi_import_graph(im, m->graph, &s));
    im->g->main->name = im->g->name;
    GI_TRY(keep_symbols(im, m->graph));
    im->g->source->bytes = f->size;
    for (size_t i = 0; i < im->payloads.files.n; i++)
        im->g->source->bytes += im->payloads.files.p[i]->size;
    return notes(im);
}

gopt_status gi_onnx_import(gopt_ctx *cx, gi_file *f, gopt_graph **out)
{
    gi_import im = { .cx = cx, .a = gi_arena_create(cx), .scratch = gi_arena_create(cx) };
    gopt_status st = im.a && im.scratch ? gi_graph_create(cx, &im.g) : GOPT_NO_MEMORY;
    if (st == GOPT_OK) {
        gi_payloads_init(&im.payloads, cx, f, im.a);
        gi_smap_init(&im.functions, im.a);
        gi_smap_init(&im.domains, im.a);
        gi_smap_init(&im.outputs, im.a);
        gi_map_init(&im.inputs, im.a);
        gi_map_init(&im.read, im.a);
        st = read_model(&im, f);
        gi_payloads_fini(&im.payloads);
    }
    gi_arena_destroy(im.a);
    gi_arena_destroy(im.scratch);
    if (st == GOPT_OK)
        *out = im.g;
    else
        gopt_graph_destroy(im.g);
    return st;
}
