/* One node on its way in: Constant, a call of a function, or an operator, checked against its row. */
#include "onnx/gradient.h"

/* ---- raw nodes ---- */

gi_raw_attr *gi_raw_attr_find(gi_raw *r, const char *name)
{
    for (size_t i = 0; i < r->attrs.n; i++)
        if (r->attrs.p[i].a.kind != GI_ATTR_NONE && !strcmp(r->attrs.p[i].a.name, name))
            return &r->attrs.p[i];
    return NULL;
}

void gi_raw_attr_drop(gi_raw *r, const char *name)
{
    gi_raw_attr *a = gi_raw_attr_find(r, name);
    if (a)
        a->a.kind = GI_ATTR_NONE;
}

/* Torch's scope: the namespace that the dynamo exporter writes ("": root, then "conv1: Conv2d", the operator
 * last), else what stands before the last slash of the name. */
static const char *torch_scope(gi_import *im, const pb_node *p)
{
    gi_str s;
    gi_str_init(&s, im->g->arena);
    for (size_t i = 0; i < p->n_metadata_props; i++) {
        if (strcmp(gi_pb_str(p->metadata_props[i]->key), "namespace") != 0)
            continue;
        const char *t = gi_pb_str(p->metadata_props[i]->value);
        const char *last = strrchr(t, '/');
        for (const char *end; last && t < last; t = end + 1) {
            end = strchr(t, '/');
            const char *colon = memchr(t, ':', (size_t)(end - t));
            const size_t n = (size_t)((colon ? colon : end) - t);
            if (n) {
                if (s.n)
                    gi_str_add(&s, "/");
                gi_str_addn(&s, t, n);
            }
        }
        return s.p;
    }
    const char *name = gi_pb_str(p->name);
    const char *last = strrchr(name, '/');
    name += *name == '/';
    return last && last > name ? gi_arena_strn(im->g->arena, name, (size_t)(last - name)) : NULL;
}

static const char *join(gi_import *im, const char *prefix, const char *name)
{
    return prefix ? gi_arena_printf(im->g->arena, "%s/%s", prefix, name) : gi_arena_str(im->g->arena, name);
}

/* The names in "a, b", which an optimized file has in its node's gopt.origin. */
static bool add_origins(gi_arena *a, gi_node *n, const char *names)
{
    for (const char *end; *names; names = *end ? end + 2 : end) {
        end = strstr(names, ", ");
        end = end ? end : names + strlen(names);
        const char *name = gi_arena_strn(a, names, (size_t)(end - names));
        if (!name || (*name && !gi_node_add_origin(n, name)))
            return false;
    }
    return true;
}

bool gi_raw_describe(gi_import *im, const gi_raw *r, gi_node *n)
{
    gi_arena *a = im->g->arena;
    const pb_node *p = r->p;
    n->opset = r->opset;
    n->scope = r->scope_path;
    n->number = r->number;
    n->doc = p->doc_string && *p->doc_string ? gi_arena_str(a, p->doc_string) : NULL;
    if (p->n_metadata_props && p->n_metadata_props < UINT32_MAX / 2) {
        const char **meta = GI_NEW_ARRAY(a, const char *, 2 * p->n_metadata_props);
        if (!meta)
            return false;
        for (size_t i = 0; i < p->n_metadata_props; i++) {
            const char *key = gi_pb_str(p->metadata_props[i]->key), *value = gi_pb_str(p->metadata_props[i]->value);
            const uint32_t k = 2 * n->n_meta;
            if (!strcmp(key, "gopt.origin")) {
                if (!add_origins(a, n, value))
                    return false;
                continue;
            }
            if (!strcmp(key, "gopt.pass")) {
                n->pass = gi_arena_str(a, value);
                continue;
            }
            meta[k] = gi_arena_str(a, key);
            meta[k + 1] = gi_arena_str(a, value);
            if (!meta[k] || !meta[k + 1])
                return false;
            n->n_meta++;
        }
        n->meta = meta;
    }
    return n->n_origins || gi_node_add_origin(n, r->origin);
}

/* ---- checks against the row ---- */

static const char *kind_name(gi_attr_kind k)
{
    static const char *const names[] = {
        "nothing", "an integer",         "a float",          "a string",         "a tensor",
        "a graph", "a list of integers", "a list of floats", "a list of strings"
    };
    return names[k];
}

static gopt_status check_count(gi_import *im, const gi_raw *r, const char *what, const gi_op_arg *args, int n_args,
                               size_t n)
{
    const bool variadic = n_args && args[n_args - 1].presence == GI_VARIADIC;
    if (n > (size_t)n_args && !variadic)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "it has %zu %s, expected at most %d", n, what, n_args);
    return GOPT_OK;
}

static gopt_status check_inputs(gi_import *im, const gi_raw *r, const gi_op *row)
{
    GI_TRY(check_count(im, r, "inputs", row->in, row->n_in, r->in.n));
    for (int i = 0; i < row->n_in; i++) {
        gi_place at = r->at;
        at.input = row->in[i].name;
        if (row->in[i].presence == GI_REQUIRED && ((size_t)i >= r->in.n || !r->in.p[i]))
            return gi_fail(im->cx, GOPT_BAD_INPUT, &at, NULL, "input %s is missing", row->in[i].name);
    }
    return check_count(im, r, "outputs", row->out, row->n_out, r->n_out);
}

static gopt_status put_attr(gi_import *im, const gi_raw *r, const gi_op *row, const gi_raw_attr *from, gi_node *n)
{
    const int at = gi_op_find_attr(row, from->a.name);
    if (at < 0)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "it has an attribute %s, which %s does not know",
                       from->a.name, r->op);
    gi_attr *to = &n->attrs[at];
    if (to->kind != GI_ATTR_NONE)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute %s comes twice", from->a.name);
    const gi_attr_kind want = row->attrs[at].kind;
    gi_attr a = from->a;
    if (want == GI_ATTR_FLOAT && a.kind == GI_ATTR_INT) { /* exporters that mix them up are common, and harmless */
        a.kind = want;
        a.u.f = (float)from->a.u.i;
    } else if (a.kind != want && a.n == 0 && (a.kind == GI_ATTR_INTS || a.kind == GI_ATTR_FLOATS) &&
               (want == GI_ATTR_INTS || want == GI_ATTR_FLOATS || want == GI_ATTR_STRINGS)) {
        a.kind = want; /* an empty list has no type */
    }
    if (a.kind != want)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute %s is %s, expected %s", from->a.name,
                       kind_name(a.kind), kind_name(want));
    a.name = to->name;
    if (a.kind != GI_ATTR_GRAPH)
        *to = a;
    return GOPT_OK;
}

static gopt_status check_attrs(gi_import *im, const gi_raw *r, const gi_op *row, gi_node *n)
{
    for (size_t i = 0; i < r->attrs.n; i++)
        if (r->attrs.p[i].a.kind != GI_ATTR_NONE)
            GI_TRY(put_attr(im, r, row, &r->attrs.p[i], n));
    for (int i = 0; i < row->n_attrs; i++) {
        bool given = n->attrs[i].kind != GI_ATTR_NONE;
        for (size_t k = 0; k < r->attrs.n && !given; k++)
            given = r->attrs.p[k].a.kind == GI_ATTR_GRAPH && !strcmp(r->attrs.p[k].a.name, row->attrs[i].name);
        if (row->attrs[i].required && !given)
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute %s is missing", row->attrs[i].name);
    }
    return GOPT_OK;
}

/* An operator without a row keeps what came. */
static gopt_status keep_attrs(gi_import *im, const gi_raw *r, gi_node *n)
{
    n->domain = gi_arena_str(im->g->arena, r->domain);
    n->op_name = gi_arena_str(im->g->arena, r->op);
    n->attrs = GI_NEW_ARRAY(im->g->arena, gi_attr, r->attrs.n ? r->attrs.n : 1);
    GI_NEED(n->domain && n->op_name && n->attrs);
    for (size_t i = 0; i < r->attrs.n; i++)
        if (r->attrs.p[i].a.kind != GI_ATTR_NONE) {
            n->attrs[n->n_attrs] = r->attrs.p[i].a;
            if (n->attrs[n->n_attrs].kind == GI_ATTR_GRAPH)
                n->attrs[n->n_attrs].kind = GI_ATTR_NONE; /* until it is built */
            n->n_attrs++;
        }
    return GOPT_OK;
}

/* ---- subgraphs ---- */

static gopt_status build_graph(gi_import *im, const gi_raw *r, const gi_raw_attr *from, gi_node *n, gi_attr *to)
{
    gi_block *b = gi_block_create(im->g, n, from->graph->name);
    GI_NEED(b);
    const gi_scope *outer = from->scope;
    const char *label = r->name ? r->name : r->op;
    gi_scope s = { .parent = outer,
                   .block = b,
                   .opsets = outer->opsets,
                   .n_opsets = outer->n_opsets,
                   .call = outer->call,
                   .depth = outer->depth + 1 };
    s.path = outer->path ? gi_arena_printf(im->a, "%s/%s/%s", outer->path, label, from->a.name)
                         : gi_arena_printf(im->a, "%s/%s", label, from->a.name);
    GI_NEED(s.path);
    if (s.depth > GI_ONNX_MAX_DEPTH)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "subgraphs and functions nest over %d deep",
                       GI_ONNX_MAX_DEPTH);
    gi_smap_init(&s.values, im->a);
    gi_smap_init(&s.declared, im->a);
    *to = (gi_attr){ .kind = GI_ATTR_GRAPH, .name = to->name, .u.graph = b };
    return gi_import_graph(im, from->graph, &s);
}

static gopt_status build_graphs(gi_import *im, const gi_raw *r, gi_node *n)
{
    for (size_t i = 0; i < r->attrs.n; i++) {
        const gi_raw_attr *from = &r->attrs.p[i];
        if (from->a.kind != GI_ATTR_GRAPH)
            continue;
        for (uint32_t k = 0; k < n->n_attrs; k++)
            if (!strcmp(n->attrs[k].name, from->a.name))
                GI_TRY(build_graph(im, r, from, n, &n->attrs[k]));
    }
    return GOPT_OK;
}

/* ---- creating ---- */

/* Does it lie in a branch of an If, which may be dead? */
static bool is_in_branch(const gi_node *n)
{
    while (n && n->op != OP_If)
        n = n->block->owner;
    return n != NULL;
}

/* What cannot be inferred in a branch is the If's to judge: the branch may never be taken (control_infer.c). */
static gopt_status infer(gi_import *im, gi_node *n)
{
    const size_t n_diags = im->cx->n_diags;
    const gopt_status st = gi_infer_node(n, im->scratch);
    gi_arena_reset(im->scratch);
    if (st != GOPT_BAD_INPUT || !is_in_branch(n->block->owner))
        return st;
    im->cx->n_diags = n_diags;
    return GOPT_OK;
}

gopt_status gi_raw_create(gi_import *im, gi_raw *r, gi_value ***out)
{
    gi_opcode op = gi_op_find(r->domain, r->op);
    const gi_op *row = gi_op_get(op);
    if (row->traits & GI_INTERNAL_OP) {
        op = OP_Unknown;
        row = gi_op_get(op);
    }
    while (r->in.n && !r->in.p[r->in.n - 1])
        r->in.n--;
    if (op != OP_Unknown)
        GI_TRY(check_inputs(im, r, row));
    gi_node *n = gi_node_create(r->block, NULL, op, (uint32_t)r->in.n, r->in.p, r->n_out);
    GI_NEED(n && gi_raw_describe(im, r, n));
    n->name = r->name;
    GI_TRY(op == OP_Unknown ? keep_attrs(im, r, n) : check_attrs(im, r, row, n));
    GI_TRY(build_graphs(im, r, n));
    GI_TRY(infer(im, n));
    *out = n->out;
    return GOPT_OK;
}

/* ---- Constant ---- */

static gopt_status constant_blob(gi_import *im, const gi_raw *r, const gi_attr *a, gi_blob **out)
{
    const int64_t n = a->n;
    switch (a->kind) {
    case GI_ATTR_TENSOR:
        *out = gi_blob_ref(a->u.tensor);
        return GOPT_OK;
    case GI_ATTR_INT:
        GI_TRY(gi_blob_create(im->cx, GOPT_I64, 0, NULL, out));
        memcpy((*out)->owned, &a->u.i, sizeof a->u.i);
        return GOPT_OK;
    case GI_ATTR_FLOAT:
        GI_TRY(gi_blob_create(im->cx, GOPT_F32, 0, NULL, out));
        memcpy((*out)->owned, &a->u.f, sizeof a->u.f);
        return GOPT_OK;
    case GI_ATTR_INTS:
        GI_TRY(gi_blob_create(im->cx, GOPT_I64, 1, &n, out));
        memcpy((*out)->owned, a->u.ints, (size_t)n * sizeof *a->u.ints);
        return GOPT_OK;
    case GI_ATTR_FLOATS:
        GI_TRY(gi_blob_create(im->cx, GOPT_F32, 1, &n, out));
        memcpy((*out)->owned, a->u.floats, (size_t)n * sizeof *a->u.floats);
        return GOPT_OK;
    case GI_ATTR_STRING:
    case GI_ATTR_STRINGS: {
        const bool list = a->kind == GI_ATTR_STRINGS;
        const size_t count = list ? a->n : 1;
        ProtobufCBinaryData *s = GI_NEW_ARRAY(im->a, ProtobufCBinaryData, count ? count : 1);
        GI_NEED(s);
        for (size_t i = 0; i < count; i++) {
            const char *text = list ? a->u.strings[i] : a->u.s;
            s[i].len = list ? strlen(text) : a->n;
            s[i].data = gi_arena_alloc(im->a, s[i].len + 1);
            GI_NEED(s[i].data);
            memcpy(s[i].data, text, s[i].len);
        }
        GI_TRY(gi_blob_create(im->cx, GOPT_STRING, list, &n, out));
        const gopt_status st = gi_onnx_fill_strings(*out, s);
        if (st != GOPT_OK)
            gi_blob_unref(*out);
        return st;
    }
    case GI_ATTR_NONE:
    case GI_ATTR_GRAPH:
        break;
    }
    return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute %s of a Constant is a graph", a->name);
}

/* A Constant becomes a constant value of its output's name. */
static gopt_status constant(gi_import *im, gi_raw *r, gi_value ***out)
{
    const gi_attr *only = NULL;
    for (size_t i = 0; i < r->attrs.n; i++) {
        const gi_attr *a = &r->attrs.p[i].a;
        if (a->kind == GI_ATTR_NONE)
            continue;
        if (only || (strncmp(a->name, "value", 5) != 0 && strcmp(a->name, "sparse_value") != 0))
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "a Constant has an attribute %s besides its value",
                           a->name);
        only = a;
    }
    if (!only || r->n_out != 1)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "a Constant needs one value and one output");
    gi_blob *b;
    GI_TRY(constant_blob(im, r, only, &b));
    gi_value **v = GI_NEW(im->a, gi_value *);
    if (!v) {
        gi_blob_unref(b);
        return GOPT_NO_MEMORY;
    }
    *v = gi_const(im->g, b, NULL);
    GI_NEED(*v && gi_push(im->g->arena, &im->g->source->constants, *v));
    *out = v;
    return GOPT_OK;
}

/* ---- functions ---- */

static const pb_function *find_function(gi_import *im, const gi_raw *r)
{
    const char *key = gi_arena_printf(im->a, "%s\n%s\n%s", r->domain, r->op, gi_pb_str(r->p->overload));
    return key ? gi_smap_get(&im->functions, key) : NULL;
}

/* Its attributes: the caller's, then defaults. */
static gopt_status call_attrs(gi_import *im, const gi_scope *s, const gi_raw *r, gi_call *c)
{
    for (size_t i = 0; i < r->attrs.n; i++)
        if (r->attrs.p[i].a.kind != GI_ATTR_NONE)
            GI_NEED(gi_push(im->a, &c->attrs, r->attrs.p[i]));
    for (size_t i = 0; i < c->f->n_attribute_proto; i++) {
        const pb_attr *d = c->f->attribute_proto[i];
        bool given = false;
        for (size_t k = 0; k < c->attrs.n && !given; k++)
            given = !strcmp(c->attrs.p[k].a.name, gi_pb_str(d->name));
        gi_raw_attr a;
        if (given)
            continue;
        GI_TRY(gi_import_attr(im, s, d, &r->at, &a));
        GI_NEED(gi_push(im->a, &c->attrs, a));
    }
    return GOPT_OK;
}

/* The body's nodes become the model's, so the model imports what the function does. */
static gopt_status add_opset(gi_import *im, gi_opset o)
{
    gopt_graph *g = im->g;
    if (gi_graph_opset(g, o.domain))
        return GOPT_OK;
    gi_opset *more = GI_NEW_ARRAY(g->arena, gi_opset, g->n_opsets + 1u);
    o.domain = gi_arena_str(g->arena, o.domain);
    GI_NEED(more && o.domain);
    if (g->n_opsets)
        memcpy(more, g->opsets, g->n_opsets * sizeof *more);
    more[g->n_opsets++] = o;
    g->opsets = more;
    return GOPT_OK;
}

static gopt_status call_opsets(gi_import *im, const pb_function *f, gi_scope *s)
{
    gi_opset *own = GI_NEW_ARRAY(im->a, gi_opset, f->n_opset_import ? f->n_opset_import : 1);
    GI_NEED(own);
    for (size_t i = 0; i < f->n_opset_import; i++) {
        own[i] = (gi_opset){ gi_onnx_domain(f->opset_import[i]->domain), f->opset_import[i]->version };
        GI_TRY(add_opset(im, own[i]));
    }
    s->opsets = own;
    s->n_opsets = (uint32_t)f->n_opset_import;
    return GOPT_OK;
}

static gopt_status check_call(gi_import *im, const gi_scope *s, const gi_raw *r, const pb_function *f)
{
    for (const gi_call *c = s->call; c; c = c->parent)
        if (c->f == f)
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "function %s calls itself", r->op);
    if (s->depth + 1 > GI_ONNX_MAX_DEPTH)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "subgraphs and functions nest over %d deep",
                       GI_ONNX_MAX_DEPTH);
    im->inlined += f->n_node + 1;
    if (im->inlined > GI_ONNX_MAX_INLINED)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "calls of functions become over %d nodes",
                       GI_ONNX_MAX_INLINED);
    if (r->in.n > f->n_input || r->n_out > f->n_output)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL,
                       "the call has %zu inputs and %u outputs, function %s has %zu and %zu", r->in.n, r->n_out, r->op,
                       f->n_input, f->n_output);
    return GOPT_OK;
}

static gopt_status inline_call(gi_import *im, gi_scope *outer, gi_raw *r, const pb_function *f, gi_value ***out)
{
    GI_TRY(check_call(im, outer, r, f));
    const char *prefix = r->name ? r->name : r->n_out ? r->out[0] : r->op;
    gi_call call = {
        .parent = outer->call, .f = f, .prefix = prefix, .number = r->number, .scope_path = r->scope_path
    };
    GI_TRY(call_attrs(im, outer, r, &call));
    gi_scope s = { .block = outer->block, .call = &call, .path = outer->path, .depth = outer->depth + 1 };
    s.path = s.path ? gi_arena_printf(im->a, "%s/%s", s.path, prefix) : prefix;
    GI_NEED(s.path);
    gi_smap_init(&s.values, im->a);
    gi_smap_init(&s.declared, im->a);
    for (size_t i = 0; i < f->n_value_info; i++)
        if (f->value_info[i]->name)
            GI_NEED(gi_smap_put(&s.declared, f->value_info[i]->name, f->value_info[i]));
    GI_TRY(call_opsets(im, f, &s));
    /* A parameter that the caller left out is known, and stands for nothing: see gi_scope_find. */
    for (size_t i = 0; i < f->n_input; i++)
        GI_TRY(gi_scope_define(im, &s, gi_pb_str(f->input[i]), i < r->in.n ? r->in.p[i] : NULL, &r->at));
    GI_TRY(gi_import_nodes(im, f->node, f->n_node, &s));
    gi_value **v = GI_NEW_ARRAY(im->a, gi_value *, r->n_out ? r->n_out : 1);
    GI_NEED(v);
    for (uint32_t i = 0; i < r->n_out; i++) {
        bool found;
        v[i] = gi_scope_find(&s, gi_pb_str(f->output[i]), &found);
        if (!v[i])
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "output %s of function %s is nowhere computed",
                           gi_pb_str(f->output[i]), r->op);
    }
    *out = v;
    return GOPT_OK;
}

/* ---- the node ---- */

static int opset_of(const gi_scope *s, const char *domain)
{
    for (uint32_t i = 0; i < s->n_opsets; i++)
        if (!strcmp(s->opsets[i].domain, domain))
            return s->opsets[i].version > 0 && s->opsets[i].version < 10000 ? (int)s->opsets[i].version : 1;
    return 0;
}

static gopt_status read_inputs(gi_import *im, const gi_scope *s, gi_raw *r)
{
    for (size_t i = 0; i < r->p->n_input; i++) {
        const char *name = gi_pb_str(r->p->input[i]);
        bool found = true;
        gi_value *v = *name ? gi_scope_find(s, name, &found) : NULL;
        if (!found)
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL,
                           "input #%zu is '%s', which no node, input or initializer defines", i, name);
        GI_NEED(gi_push(im->a, &r->in, v));
        if (v && v->kind == GI_DEF_CONST)
            GI_NEED(gi_map_put(&im->read, gi_key(v), v));
    }
    return GOPT_OK;
}

static gopt_status read_node(gi_import *im, const gi_scope *s, const pb_node *p, gi_raw *r)
{
    const char *prefix = s->call ? s->call->prefix : NULL;
    *r = (gi_raw){ .p = p,
                   .domain = gi_onnx_domain(p->domain),
                   .op = gi_pb_str(p->op_type),
                   .block = s->block,
                   .n_out = (uint32_t)p->n_output,
                   .number = s->call ? s->call->number : ++im->number };
    r->opset = opset_of(s, r->domain);
    if (p->name && *p->name) {
        r->name = join(im, prefix, p->name);
        GI_NEED(r->name);
    }
    r->out = GI_NEW_ARRAY(im->a, const char *, r->n_out + 1u);
    GI_NEED(r->out);
    for (uint32_t i = 0; i < r->n_out; i++)
        r->out[i] = gi_pb_str(p->output[i]);
    r->at = (gi_place){ .file = im->g->file,
                        .subgraph = s->path,
                        .node = r->name,
                        .op = r->op,
                        .node_number = r->number,
                        .opset = r->opset };
    r->origin = r->name ? r->name : r->n_out ? r->out[0] : NULL;
    r->scope_path = torch_scope(im, p);
    if (!r->scope_path && s->call)
        r->scope_path = s->call->scope_path;
    GI_NEED(gi_smap_put(&im->domains, r->domain, im));
    GI_TRY(read_inputs(im, s, r));
    for (size_t i = 0; i < p->n_attribute; i++) {
        gi_raw_attr a;
        GI_TRY(gi_import_attr(im, s, p->attribute[i], &r->at, &a));
        if (a.a.kind != GI_ATTR_NONE)
            GI_NEED(gi_push(im->a, &r->attrs, a));
    }
    return GOPT_OK;
}

enum { MAX_NAMED = 8 };

/* A user asks for outputs, and reads what is said of them; of the rest their number will do. */
static void warn_of_declared(gi_import *im, const gi_scope *s, const char *name, const gi_type *found,
                             const gi_type *declared)
{
    if (s->parent || s->call || !gi_smap_get(&im->outputs, name) || im->named >= MAX_NAMED) {
        im->stale++;
        return;
    }
    gi_str text;
    gi_str_init(&text, im->a);
    gi_str_addf(&text, "output '%.200s' is declared ", name);
    gi_type_print(&text, declared);
    gi_str_addf(&text, ", but the operators yield ");
    gi_type_print(&text, found);
    const gi_place at = { .file = im->g->file };
    if (!text.failed)
        gi_warn(im->cx, &at, NULL, "%s: the declaration is ignored", text.p);
    im->named++;
}

/* Gives a value its name and what the file declares of its type. */
static gopt_status define_output(gi_import *im, gi_scope *s, const gi_raw *r, const char *name, gi_value *v)
{
    if (!*name)
        return GOPT_OK;
    if (!v->name) {
        v->name = join(im, s->call ? s->call->prefix : NULL, name);
        GI_NEED(v->name);
    }
    const Gi__Pb__ValueInfoProto *declared = gi_smap_get(&s->declared, name);
    if (declared && v->kind == GI_DEF_NODE) {
        const gi_type *t;
        bool clash = false;
        GI_NEED(gi_onnx_type(im->g, declared->type, &t));
        const gi_type *refined = gi_onnx_refine(im->g, &im->inputs, v->type, t, &clash);
        if (clash)
            warn_of_declared(im, s, name, v->type, t);
        if (refined)
            gi_value_set_type(v, refined);
    }
    return gi_scope_define(im, s, name, v, &r->at);
}

gopt_status gi_import_node(gi_import *im, gi_scope *s, const pb_node *p)
{
    gi_raw r;
    GI_TRY(read_node(im, s, p, &r));
    gi_value **out = NULL;
    const pb_function *f = find_function(im, &r);
    if (f) {
        GI_TRY(inline_call(im, s, &r, f, &out));
    } else if (!*r.domain && !strcmp(r.op, "Constant")) {
        GI_TRY(constant(im, &r, &out));
    } else if (!strcmp(r.domain, GI_DOMAIN_TRAINING) && !strcmp(r.op, "Gradient")) {
        GI_TRY(gi_import_gradient(im, s, &r, &out));
    } else {
        if (!r.opset && !*r.domain)
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r.at, NULL, "the model does not say which opset it uses");
        if (!*r.domain)
            GI_TRY(gi_opset_upgrade(im, &r));
        else if (!strcmp(r.domain, GI_DOMAIN_MS))
            GI_TRY(gi_contrib_import(im, &r));
        if (r.done)
            out = r.done;
        else
            GI_TRY(gi_raw_create(im, &r, &out));
    }
    for (uint32_t i = 0; i < r.n_out; i++)
        GI_TRY(define_output(im, s, &r, r.out[i], out[i]));
    return GOPT_OK;
}
