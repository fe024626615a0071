/* Writing a graph as ONNX: messages are built around the weights, which go from their place to the file. */
#include "onnx/export.h"
#include "onnx/import.h"

#include <stdio.h>

enum {
    INLINE_BYTES = 1024, /* smaller weights stay in the model where others are kept apart */
    LARGE = 1 << 20      /* weights worth letting go early */
};

typedef struct writer {
    gi_export x;
    gi_out *data;   /* weights apart; NULL where they stay in the model */
    gi_map written; /* data of weights that may go once they are in the file, to their blobs */
    bool consume;
    gopt_status failed;
} writer;

/* ---- small things ---- */

static char *text(gi_arena *a, const char *s)
{
    return gi_arena_str(a, s ? s : "");
}

/* protobuf-c's structs want pointers to what they may change; it does not when packing. */
static uint8_t *bytes_of(const void *p)
{
    return (uint8_t *)(uintptr_t)p;
}

/* An array of n messages of a type, and the pointers to them. */
#define NEW_MESSAGE(a, T, INIT, p) ((p) = GI_NEW((a), T), (p) ? ((*(p) = (T)INIT), true) : false)

static bool add_pair(gi_arena *a, Gi__Pb__StringStringEntryProto **to, const char *key, const char *value)
{
    if (!NEW_MESSAGE(a, Gi__Pb__StringStringEntryProto, GI__PB__STRING_STRING_ENTRY_PROTO__INIT, *to))
        return false;
    (*to)->key = text(a, key);
    (*to)->value = text(a, value);
    return (*to)->key && (*to)->value;
}

/* ---- types ---- */

static bool index_symbols(gi_export *x)
{
    gi_smap_init(&x->symbols, x->a);
    for (uint32_t i = x->g->n_out_symbols; i-- > 0;) { /* of two of one name, the first */
        const char *const *pair = &x->g->out_symbols[(size_t)2 * i];
        if (!gi_smap_put(&x->symbols, pair[0], bytes_of(pair[1])))
            return false;
    }
    return true;
}

/* The file's name of an output's dim; NULL where it had none. */
static const char *declared_symbol(const gi_export *x, const char *output, int dim)
{
    const char *s = output ? gi_smap_get(&x->symbols, output) : NULL;
    for (; dim > 0 && s; dim--) {
        s = strchr(s, '\n');
        s += s != NULL;
    }
    const size_t n = s ? strcspn(s, "\n") : 0;
    return n ? gi_arena_strn(x->a, s, n) : NULL;
}

static bool tensor_type(gi_export *x, const gi_type *t, const char *output, Gi__Pb__TypeProto__Tensor **out)
{
    gi_arena *a = x->a;
    if (!NEW_MESSAGE(a, Gi__Pb__TypeProto__Tensor, GI__PB__TYPE_PROTO__TENSOR__INIT, *out))
        return false;
    (*out)->has_elem_type = 1;
    (*out)->elem_type = (int32_t)t->dtype;
    if (t->rank < 0)
        return true;
    Gi__Pb__TensorShapeProto *s;
    if (!NEW_MESSAGE(a, Gi__Pb__TensorShapeProto, GI__PB__TENSOR_SHAPE_PROTO__INIT, s))
        return false;
    (*out)->shape = s;
    s->dim = GI_NEW_ARRAY(a, Gi__Pb__TensorShapeProto__Dimension *, t->rank + 1);
    if (!s->dim)
        return false;
    for (int i = 0; i < t->rank; i++) {
        Gi__Pb__TensorShapeProto__Dimension *d;
        if (!NEW_MESSAGE(a, Gi__Pb__TensorShapeProto__Dimension, GI__PB__TENSOR_SHAPE_PROTO__DIMENSION__INIT, d))
            return false;
        s->dim[s->n_dim++] = d;
        const char *symbol = declared_symbol(x, output, i);
        if (!symbol && !gi_dim_is_unknown(t->dims[i]))
            symbol = gi_dim_symbol(t->dims[i]);
        if (gi_dim_is_const(t->dims[i], &d->dim_value))
            d->has_dim_value = 1;
        else if (symbol && !(d->dim_param = text(a, symbol)))
            return false;
    }
    return true;
}

/* Sequences, optionals and maps nest as deep as a type rule made them; import caps that at 100. */
static bool type_of(gi_export *x, const gi_type *t, const char *output, pb_type **out)
{
    gi_arena *a = x->a;
    if (!NEW_MESSAGE(a, pb_type, GI__PB__TYPE_PROTO__INIT, *out))
        return false;
    if (t->kind == GOPT_TENSOR)
        return tensor_type(x, t, output, &(*out)->tensor_type);
    pb_type *elem = NULL;
    if (t->elem && !type_of(x, t->elem, NULL, &elem))
        return false;
    if (t->kind == GOPT_SEQUENCE) {
        if (!NEW_MESSAGE(a, Gi__Pb__TypeProto__Sequence, GI__PB__TYPE_PROTO__SEQUENCE__INIT, (*out)->sequence_type))
            return false;
        (*out)->sequence_type->elem_type = elem;
        return true;
    }
    if (t->kind == GOPT_MAP) {
        if (!NEW_MESSAGE(a, Gi__Pb__TypeProto__Map, GI__PB__TYPE_PROTO__MAP__INIT, (*out)->map_type))
            return false;
        (*out)->map_type->has_key_type = 1;
        (*out)->map_type->key_type = (int32_t)t->key;
        (*out)->map_type->value_type = elem;
        return true;
    }
    if (!NEW_MESSAGE(a, Gi__Pb__TypeProto__Optional, GI__PB__TYPE_PROTO__OPTIONAL__INIT, (*out)->optional_type))
        return false;
    (*out)->optional_type->elem_type = elem;
    return true;
}

static bool value_info(gi_export *x, const char *name, const gi_type *t, bool output, Gi__Pb__ValueInfoProto **out)
{
    if (!NEW_MESSAGE(x->a, Gi__Pb__ValueInfoProto, GI__PB__VALUE_INFO_PROTO__INIT, *out))
        return false;
    (*out)->name = text(x->a, name);
    return (*out)->name && (!t || type_of(x, t, output ? name : NULL, &(*out)->type));
}

/* ---- tensors ---- */

static bool write_apart(writer *w, pb_tensor *t, gi_blob *b)
{
    static const uint8_t zeros[4096];
    gi_arena *a = w->x.a;
    /* A page for what may be mapped alone, a cache line for the rest. */
    const uint64_t align = b->bytes >= 1 << 20 ? 4096 : 64, at = gi_out_size(w->data);
    const uint64_t offset = (at + align - 1) / align * align;
    gi_out_write(w->data, zeros, (size_t)(offset - at));
    gi_out_write(w->data, b->data, b->bytes);
    if (w->consume)
        gi_blob_drop_bytes(b);
    t->has_data_location = 1;
    t->data_location = 1;
    t->external_data = GI_NEW_ARRAY(a, Gi__Pb__StringStringEntryProto *, 3);
    const char *from = gi_arena_printf(a, "%llu", (unsigned long long)offset);
    const char *length = gi_arena_printf(a, "%zu", b->bytes);
    if (!t->external_data || !from || !length)
        return false;
    t->n_external_data = 3;
    return add_pair(a, &t->external_data[0], "location", w->x.data_name) &&
           add_pair(a, &t->external_data[1], "offset", from) && add_pair(a, &t->external_data[2], "length", length);
}

/* The message points at the blob's bytes. */
static bool tensor(writer *w, gi_blob *b, const char *name, bool may_go_apart, pb_tensor **out)
{
    gi_arena *a = w->x.a;
    if (!NEW_MESSAGE(a, pb_tensor, GI__PB__TENSOR_PROTO__INIT, *out))
        return false;
    pb_tensor *t = *out;
    t->has_data_type = 1;
    t->data_type = (int32_t)b->dtype;
    t->n_dims = (size_t)b->rank;
    t->dims = (int64_t *)(void *)bytes_of(b->dims);
    if (name && !(t->name = text(a, name)))
        return false;
    if (b->dtype == GOPT_STRING) {
        const gopt_string *s = b->data;
        t->n_string_data = (size_t)gi_blob_elements(b);
        t->string_data = GI_NEW_ARRAY(a, ProtobufCBinaryData, t->n_string_data + 1);
        for (size_t i = 0; t->string_data && i < t->n_string_data; i++)
            t->string_data[i] = (ProtobufCBinaryData){ s[i].n, bytes_of(s[i].p) };
        return t->string_data != NULL;
    }
    if (w->data && may_go_apart && b->bytes >= INLINE_BYTES)
        return write_apart(w, t, b);
    t->has_raw_data = 1;
    t->raw_data = (ProtobufCBinaryData){ b->bytes, bytes_of(b->data) };
    return !w->consume || !b->owned || b->bytes < LARGE || gi_map_put(&w->written, gi_key(b->data), b);
}

/* ---- attributes ---- */

static bool graph(writer *w, gi_xblock *b, pb_graph **out);

static bool string_list(gi_arena *a, const gi_attr *from, pb_attr *to)
{
    to->n_strings = from->n;
    to->strings = GI_NEW_ARRAY(a, ProtobufCBinaryData, from->n + 1u);
    for (uint32_t i = 0; to->strings && i < from->n; i++)
        to->strings[i] = (ProtobufCBinaryData){ strlen(from->u.strings[i]), bytes_of(from->u.strings[i]) };
    return to->strings != NULL;
}

/* The keys of a map, and the comma behind them. */
static bool parse_key(gi_export *x, const char **p, gopt_dtype *key)
{
    const size_t n = strcspn(*p, ",");
    const char *name = gi_arena_strn(x->a, *p, n);
    *p += n + ((*p)[n] == ',');
    *key = name ? gopt_dtype_parse(name) : GOPT_UNDEFINED;
    return *key != GOPT_UNDEFINED;
}

/* A type that import kept as text: seq(f32[2,n]), optional(…), f32[*]. */
static bool parse_type(gi_export *x, const char **p, int depth, const gi_type **out)
{
    static const struct {
        const char *word;
        gopt_kind kind;
    } wraps[] = {
        { "seq(", GOPT_SEQUENCE }, { "optional(", GOPT_OPTIONAL }, { "opt(", GOPT_OPTIONAL }, { "map(", GOPT_MAP }
    };
    for (size_t i = 0; i < GI_COUNT(wraps); i++) {
        const size_t n = strlen(wraps[i].word);
        const gi_type *elem;
        if (strncmp(*p, wraps[i].word, n) != 0)
            continue;
        *p += n;
        gi_type around = { .kind = wraps[i].kind };
        if (around.kind == GOPT_MAP && !parse_key(x, p, &around.key))
            return false;
        if (depth > GI_PB_MAX_DEPTH || !parse_type(x, p, depth + 1, &elem) || *(*p)++ != ')')
            return false;
        *out = gi_type_around(x->g->types, &around, elem);
        return *out != NULL;
    }
    const size_t n = strcspn(*p, "[)");
    const char *name = gi_arena_strn(x->a, *p, n);
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank = 0;
    if (!name)
        return false;
    const gopt_dtype dtype = gopt_dtype_parse(name);
    *p += n;
    if (**p != '[')
        rank = -1;
    else if (!strncmp(*p, "[*]", 3))
        rank = -1, *p += 3;
    else
        for (++*p; **p != ']' || !++*p; *p += **p == ',') {
            const char *end = *p + 1;
            if (rank == GOPT_MAX_RANK)
                return false;
            if (**p == '?') {
                dims[rank] = gi_dim_unknown(x->g->dims, true);
                end += strspn(end, "0123456789");
            } else {
                dims[rank] = gi_dim_parse(x->g->dims, *p, &end);
            }
            if (!dims[rank++])
                return false;
            *p = end;
        }
    *out = gi_type_tensor(x->g->types, dtype, rank, dims);
    return *out != NULL;
}

static bool type_attr(gi_export *x, const gi_attr *from, pb_attr *to)
{
    const char *p = from->u.s + strlen(GI_ONNX_TYPE_PREFIX);
    const gi_type *t;
    to->type = 13;
    return parse_type(x, &p, 0, &t) && type_of(x, t, NULL, &to->tp);
}

static bool attribute(writer *w, const gi_xattr *from, pb_attr **out)
{
    gi_arena *a = w->x.a;
    const gi_attr *at = &from->a;
    if (!NEW_MESSAGE(a, pb_attr, GI__PB__ATTRIBUTE_PROTO__INIT, *out))
        return false;
    pb_attr *to = *out;
    to->name = text(a, at->name);
    to->has_type = 1;
    switch (at->kind) {
    case GI_ATTR_FLOAT:
        to->type = 1;
        to->has_f = 1;
        to->f = at->u.f;
        break;
    case GI_ATTR_INT:
        to->type = 2;
        to->has_i = 1;
        to->i = at->u.i;
        break;
    case GI_ATTR_STRING:
        if (!strncmp(at->u.s, GI_ONNX_TYPE_PREFIX, strlen(GI_ONNX_TYPE_PREFIX)))
            return type_attr(&w->x, at, to);
        to->type = 3;
        to->has_s = 1;
        to->s = (ProtobufCBinaryData){ at->n, bytes_of(at->u.s) };
        break;
    case GI_ATTR_TENSOR:
        to->type = 4;
        return tensor(w, at->u.tensor, NULL, false, &to->t);
    case GI_ATTR_GRAPH:
        to->type = 5;
        return graph(w, from->graph, &to->g);
    case GI_ATTR_FLOATS:
        to->type = 6;
        to->n_floats = at->n;
        to->floats = (float *)(void *)bytes_of(at->u.floats);
        break;
    case GI_ATTR_INTS:
        to->type = 7;
        to->n_ints = at->n;
        to->ints = (int64_t *)(void *)bytes_of(at->u.ints);
        break;
    case GI_ATTR_STRINGS:
        to->type = 8;
        return string_list(a, at, to);
    case GI_ATTR_NONE:
        break;
    }
    return to->name != NULL;
}

/* ---- nodes ---- */

static bool has_meta(const gi_node *n, const char *key)
{
    for (uint32_t i = 0; i < n->n_meta; i++)
        if (!strcmp(n->meta[2 * i], key))
            return true;
    return false;
}

/* The scope as PyTorch's exporter writes it: the last part is the node itself. Of a node that a rule made and named after
 * another one it is what a reader would take from the name. NULL: there is none; *ok is false without memory. */
static const char *namespace_of(gi_arena *a, const gi_node *n, const char *op, bool *ok)
{
    const char *slash = n->name ? strrchr(n->name, '/') : NULL;
    const char *last = slash ? slash + 1 : n->name && *n->name ? n->name : op;
    const char *scope = n->scope, *path = NULL;
    *ok = true;
    if ((!scope || !*scope) && slash) {
        const char *first = n->name + (*n->name == '/');
        scope = slash > first ? gi_arena_strn(a, first, (size_t)(slash - first)) : NULL;
        *ok = scope || slash <= first;
    }
    if (scope && *scope)
        *ok = (path = gi_arena_printf(a, "%s/%s: %s", scope, last, op)) != NULL;
    return path;
}

/* Every node says which ones of the original model it came from, where it lies in the model's structure, and which rule
 * or pass made it. Nodes have metadata since IR 10; readers of older files pass over it. */
static bool node_meta(gi_export *x, const gi_xnode *n, const char *first_out, pb_node *to)
{
    gi_arena *a = x->a;
    if (!n->n)
        return true;
    const gi_node *from = n->n;
    to->metadata_props = GI_NEW_ARRAY(a, Gi__Pb__StringStringEntryProto *, from->n_meta + 4u);
    if (!to->metadata_props)
        return false;
    for (uint32_t i = 0; i < from->n_meta; i++)
        if (!add_pair(a, &to->metadata_props[to->n_metadata_props++], from->meta[2 * i], from->meta[2 * i + 1]))
            return false;
    if (from->pass && !add_pair(a, &to->metadata_props[to->n_metadata_props++], "gopt.pass", from->pass))
        return false;
    if (!has_meta(from, "namespace")) {
        bool ok;
        const char *path = namespace_of(a, from, n->op, &ok);
        if (!ok || (path && !add_pair(a, &to->metadata_props[to->n_metadata_props++], "namespace", path)))
            return false;
    }
    gi_str s;
    gi_str_init(&s, a);
    for (uint32_t i = 0; i < from->n_origins; i++)
        gi_str_addf(&s, "%s%s", i ? ", " : "", from->origins[i]);
    if (!from->n_origins)
        gi_str_add(&s, from->name ? from->name : first_out);
    return !s.failed && s.p && add_pair(a, &to->metadata_props[to->n_metadata_props++], "gopt.origin", s.p);
}

static bool node(writer *w, const gi_xnode *n, pb_node **out)
{
    gi_export *x = &w->x;
    gi_arena *a = x->a;
    if (!NEW_MESSAGE(a, pb_node, GI__PB__NODE_PROTO__INIT, *out))
        return false;
    pb_node *to = *out;
    to->op_type = text(a, n->op);
    to->domain = *n->domain ? text(a, n->domain) : NULL;
    to->name = n->n && n->n->name ? text(a, n->n->name) : NULL;
    to->doc_string = n->n && n->n->doc ? text(a, n->n->doc) : NULL;
    to->n_input = n->in.n;
    to->input = GI_NEW_ARRAY(a, char *, n->in.n + 1);
    to->output = GI_NEW_ARRAY(a, char *, n->out.n + 1);
    to->attribute = GI_NEW_ARRAY(a, pb_attr *, n->attrs.n + 1);
    if (!to->op_type || !to->input || !to->output || !to->attribute)
        return false;
    for (size_t i = 0; i < n->in.n; i++)
        to->input[i] = text(a, n->in.p[i] ? x->name[n->in.p[i]->id] : "");
    if (n->out_name)
        to->output[to->n_output++] = text(a, n->out_name);
    for (size_t i = 0; i < n->out.n; i++)
        to->output[to->n_output++] = text(a, x->name[n->out.p[i]->id]);
    while (to->n_output > 1 && !*to->output[to->n_output - 1])
        to->n_output--;
    for (size_t i = 0; i < n->attrs.n; i++)
        if (n->attrs.p[i].a.kind != GI_ATTR_NONE && !attribute(w, &n->attrs.p[i], &to->attribute[to->n_attribute++]))
            return false;
    return node_meta(x, n, to->n_output ? to->output[0] : "", to);
}

static bool constant_node(writer *w, const gi_value *v, pb_node **out)
{
    gi_arena *a = w->x.a;
    pb_attr *at;
    if (!NEW_MESSAGE(a, pb_node, GI__PB__NODE_PROTO__INIT, *out) ||
        !NEW_MESSAGE(a, pb_attr, GI__PB__ATTRIBUTE_PROTO__INIT, at))
        return false;
    pb_node *to = *out;
    to->op_type = text(a, "Constant");
    to->output = GI_NEW_ARRAY(a, char *, 1);
    to->attribute = GI_NEW_ARRAY(a, pb_attr *, 1);
    at->name = text(a, "value");
    at->has_type = 1;
    at->type = 4;
    if (!to->op_type || !to->output || !to->attribute || !at->name || !tensor(w, v->def.blob, NULL, false, &at->t))
        return false;
    to->output[to->n_output++] = text(a, w->x.name[v->id]);
    to->attribute[to->n_attribute++] = at;
    return to->output[0] != NULL;
}

/* ---- graphs ---- */

static bool graph_ends(writer *w, gi_xblock *b, pb_graph *to)
{
    gi_export *x = &w->x;
    const bool listed = !b->parent && x->ir < 4; /* IR 3 wants initializers among the inputs */
    to->input = GI_NEW_ARRAY(x->a, Gi__Pb__ValueInfoProto *, b->b->n_params + b->consts.n + 1);
    to->output = GI_NEW_ARRAY(x->a, Gi__Pb__ValueInfoProto *, b->b->n_results + 1u);
    if (!to->input || !to->output)
        return false;
    for (uint32_t i = 0; i < b->b->n_params; i++)
        if (!value_info(x, x->name[b->b->params[i]->id], b->b->params[i]->type, false, &to->input[to->n_input++]))
            return false;
    for (size_t i = 0; listed && i < b->consts.n; i++)
        if (!value_info(x, x->name[b->consts.p[i]->id], b->consts.p[i]->type, false, &to->input[to->n_input++]))
            return false;
    for (uint32_t i = 0; i < b->b->n_results; i++) {
        const gi_value *v = b->b->results[i].value;
        if (!value_info(x, b->results[i], v->type, !b->parent, &to->output[to->n_output++]))
            return false;
    }
    return true;
}

static bool graph(writer *w, gi_xblock *b, pb_graph **out)
{
    gi_export *x = &w->x;
    if (!NEW_MESSAGE(x->a, pb_graph, GI__PB__GRAPH_PROTO__INIT, *out))
        return false;
    pb_graph *to = *out;
    const bool as_nodes = b->parent && x->ir < 4;
    const char *name = b->parent ? b->b->name : x->g->name;
    to->name = text(x->a, name && *name ? name : b->parent ? "body" : "gopt");
    to->initializer = GI_NEW_ARRAY(x->a, pb_tensor *, b->consts.n + 1);
    to->node = GI_NEW_ARRAY(x->a, pb_node *, b->nodes.n + b->consts.n + 1);
    if (!to->name || !to->initializer || !to->node)
        return false;
    for (size_t i = 0; i < b->consts.n; i++) {
        const gi_value *v = b->consts.p[i];
        if (as_nodes ? !constant_node(w, v, &to->node[to->n_node++])
                     : !tensor(w, v->def.blob, x->name[v->id], true, &to->initializer[to->n_initializer++]))
            return false;
    }
    for (size_t i = 0; i < b->nodes.n; i++)
        if (!node(w, b->nodes.p[i], &to->node[to->n_node++]))
            return false;
    return graph_ends(w, b, to);
}

/* ---- the model ---- */

static bool uses_domain(const gi_xblock *b, const char *domain)
{
    for (size_t i = 0; i < b->nodes.n; i++) {
        const gi_xnode *n = b->nodes.p[i];
        if (!strcmp(n->domain, domain))
            return true;
        for (size_t k = 0; k < n->attrs.n; k++)
            if (n->attrs.p[k].graph && uses_domain(n->attrs.p[k].graph, domain))
                return true;
    }
    return false;
}

static bool add_opset(gi_export *x, pb_model *m, const char *domain, int64_t version)
{
    Gi__Pb__OperatorSetIdProto *o;
    if (!NEW_MESSAGE(x->a, Gi__Pb__OperatorSetIdProto, GI__PB__OPERATOR_SET_ID_PROTO__INIT, o))
        return false;
    o->domain = text(x->a, domain);
    o->has_version = 1;
    o->version = version;
    m->opset_import[m->n_opset_import++] = o;
    return true;
}

/* Domains whose operators gopt takes the place of, or brings in: not imported where none is left. */
static bool may_go(const char *domain)
{
    static const char *const all[] = { GI_DOMAIN_MS,       GI_DOMAIN_OWN, GI_DOMAIN_TRAINING,
                                       "org.pytorch.aten", "aten",        "prim" };
    for (size_t i = 0; i < GI_COUNT(all); i++)
        if (!strcmp(all[i], domain))
            return true;
    return false;
}

/* Those of the model, and of what the passes brought in. */
static bool opsets(gi_export *x, pb_model *m)
{
    static const char *const brought[] = { "", GI_DOMAIN_MS, GI_DOMAIN_OWN };
    const gopt_graph *g = x->g;
    m->opset_import = GI_NEW_ARRAY(x->a, Gi__Pb__OperatorSetIdProto *, g->n_opsets + GI_COUNT(brought));
    if (!m->opset_import)
        return false;
    for (uint32_t i = 0; i < g->n_opsets; i++) {
        const gi_opset *o = &g->opsets[i];
        if (may_go(o->domain) && !uses_domain(x->main, o->domain))
            continue;
        if (!add_opset(x, m, o->domain, *o->domain ? o->version : x->opset))
            return false;
    }
    for (size_t i = 0; i < GI_COUNT(brought); i++)
        if (!gi_graph_opset(g, brought[i]) && uses_domain(x->main, brought[i]) &&
            !add_opset(x, m, brought[i], *brought[i] ? 1 : x->opset))
            return false;
    return true;
}

static bool model(writer *w, pb_model **out)
{
    gi_export *x = &w->x;
    const gopt_graph *g = x->g;
    gi_arena *a = x->a;
    if (!NEW_MESSAGE(a, pb_model, GI__PB__MODEL_PROTO__INIT, *out))
        return false;
    pb_model *m = *out;
    m->has_ir_version = 1;
    m->ir_version = x->ir;
    m->producer_name = g->producer ? text(a, g->producer) : NULL;
    m->producer_version = g->producer_version ? text(a, g->producer_version) : NULL;
    m->domain = g->model_domain ? text(a, g->model_domain) : NULL;
    m->has_model_version = g->model_version != 0;
    m->model_version = g->model_version;
    m->doc_string = g->doc ? text(a, g->doc) : NULL;
    m->metadata_props = GI_NEW_ARRAY(a, Gi__Pb__StringStringEntryProto *, g->n_meta + 1u);
    if (!m->metadata_props)
        return false;
    for (uint32_t i = 0; i < g->n_meta; i++)
        if (!add_pair(a, &m->metadata_props[m->n_metadata_props++], g->meta[2 * i], g->meta[2 * i + 1]))
            return false;
    return opsets(x, m) && graph(w, x->main, &m->graph);
}

/* ---- the file ---- */

typedef struct sink {
    ProtobufCBuffer base;
    gi_out *to;
    const writer *w;
} sink;

static void append(ProtobufCBuffer *b, size_t n, const uint8_t *p)
{
    const sink *s = (const sink *)b;
    gi_out_write(s->to, p, n);
    gi_blob *done = n >= LARGE ? gi_map_get(&s->w->written, gi_key(p)) : NULL;
    if (done && done->bytes == n)
        gi_blob_drop_bytes(done);
}

/* Bytes that initializers would take inside the model. */
static uint64_t weight_bytes(const gi_xblock *b)
{
    uint64_t n = 0;
    for (size_t i = 0; i < b->consts.n; i++)
        n += b->consts.p[i]->def.blob->bytes;
    for (size_t i = 0; i < b->nodes.n; i++)
        for (size_t k = 0; k < b->nodes.p[i]->attrs.n; k++)
            if (b->nodes.p[i]->attrs.p[k].graph)
                n += weight_bytes(b->nodes.p[i]->attrs.p[k].graph);
    return n;
}

static gopt_status write_model(writer *w, const char *path, pb_model *m)
{
    const size_t size = protobuf_c_message_get_packed_size(&m->base);
    if (size > INT32_MAX)
        return gi_fail(w->x.cx, GOPT_BAD_INPUT, &(gi_place){ .file = path }, NULL,
                       "the model without its weights is over 2 GB, which protobuf does not allow");
    gi_out *o;
    GI_TRY(gi_out_open(w->x.cx, path, &o));
    sink s = { .base = { .append = append }, .to = o, .w = w };
    gi_out_expect(o, size);
    const size_t written = protobuf_c_message_pack_to_buffer(&m->base, &s.base);
    if (written != size || gi_out_size(o) != size) {
        gi_out_abort(o);
        return gi_fail(w->x.cx, GOPT_INTERNAL, NULL, NULL, "%zu bytes were packed, expected %zu", written, size);
    }
    /* The weights first: a model must never name a file that is not there. */
    if (w->data) {
        gi_out *data = w->data;
        w->data = NULL;
        const gopt_status st = gi_out_commit(data);
        if (st != GOPT_OK) {
            gi_out_abort(o);
            return st;
        }
    }
    return gi_out_commit(o);
}

static gopt_status open_data(writer *w, const char *path)
{
    gi_export *x = &w->x;
    if (!strcmp(path, "-"))
        return gi_fail(x->cx, GOPT_USAGE, NULL, "name a file with -o", "weights cannot be kept apart on stdout");
    const char *data = gi_arena_printf(x->a, "%s.data", path);
    GI_NEED(data);
    const char *slash = strrchr(data, '/');
    x->data_name = slash ? slash + 1 : data;
    return gi_out_open(x->cx, data, &w->data);
}

static gopt_status save(writer *w, const char *path, const gopt_save_options *o)
{
    gi_export *x = &w->x;
    const int own = gi_graph_opset(x->g, "");
    const int asked = o && o->opset > 0 ? o->opset : own;
    x->opset = asked ? asked : 21;
    GI_TRY(gi_export_graph(x));
    GI_NEED(index_symbols(x));
    const int64_t least = gi_onnx_ir_of_opset(x->opset);
    x->ir = x->g->ir_version;
    if (x->ir < 1 || (x->opset > own && x->ir < least && uses_domain(x->main, "")))
        x->ir = least;
    if (x->ir < 3)
        x->ir = 3; /* earlier ones have no opsets */
    if ((o && o->external_data) || weight_bytes(x->main) > INT32_MAX - (64u << 20))
        GI_TRY(open_data(w, path));
    pb_model *m;
    GI_NEED(model(w, &m));
    return write_model(w, path, m);
}

gopt_status gopt_onnx_save(gopt_graph *g, const char *path, const gopt_save_options *o)
{
    writer w = { .x = { .cx = g->cx, .g = g, .a = gi_arena_create(g->cx) }, .consume = o && o->consume };
    gi_map_init(&w.written, w.x.a);
    const gopt_status st = w.x.a ? save(&w, path, o) : GOPT_NO_MEMORY;
    gi_out_abort(w.data);
    gi_arena_destroy(w.x.a);
    return st;
}
