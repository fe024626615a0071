/* AttributeProto → attributes in the graph's arena; inside functions, references to the caller's. */
#include "onnx/import.h"

/* ONNX's AttributeProto.AttributeType. */
enum {
    AT_UNDEFINED = 0,
    AT_FLOAT,
    AT_INT,
    AT_STRING,
    AT_TENSOR,
    AT_GRAPH,
    AT_FLOATS,
    AT_INTS,
    AT_STRINGS,
    AT_TENSORS,
    AT_GRAPHS,
    AT_SPARSE_TENSOR,
    AT_SPARSE_TENSORS,
    AT_TYPE_PROTO,
    AT_TYPE_PROTOS
};

/* Files of IR 1 and 2 need not say the type: what is there tells it. */
static int type_of(const pb_attr *p)
{
    if (p->type != AT_UNDEFINED)
        return p->type;
    if (p->has_f)
        return AT_FLOAT;
    if (p->has_i)
        return AT_INT;
    if (p->has_s)
        return AT_STRING;
    if (p->t)
        return AT_TENSOR;
    if (p->g)
        return AT_GRAPH;
    if (p->n_floats)
        return AT_FLOATS;
    if (p->n_ints)
        return AT_INTS;
    return p->n_strings ? AT_STRINGS : AT_UNDEFINED;
}

static void *copy(gopt_graph *g, const void *p, size_t n, size_t item)
{
    void *own = gi_arena_array(g->arena, n ? n : 1, item);
    if (own && n)
        memcpy(own, p, n * item);
    return own;
}

static gopt_status strings(gopt_graph *g, const pb_attr *p, gi_attr *a)
{
    const char **own = GI_NEW_ARRAY(g->arena, const char *, p->n_strings ? p->n_strings : 1);
    GI_NEED(own);
    for (size_t i = 0; i < p->n_strings; i++) {
        const ProtobufCBinaryData *s = &p->strings[i]; /* an empty one has no data */
        own[i] = gi_arena_strn(g->arena, s->data ? (const char *)s->data : "", s->len);
        GI_NEED(own[i]);
    }
    a->n = (uint32_t)p->n_strings;
    a->u.strings = own;
    return GOPT_OK;
}

static gopt_status tensor(gi_import *im, const pb_attr *p, const gi_place *at, gi_attr *a)
{
    gi_blob *b;
    if (p->type == AT_SPARSE_TENSOR && p->sparse_tensor)
        GI_TRY(gi_onnx_sparse_blob(&im->payloads, p->sparse_tensor, at, &b));
    else if (p->t)
        GI_TRY(gi_onnx_blob(&im->payloads, p->t, at, &b));
    else
        return gi_fail(im->cx, GOPT_BAD_INPUT, at, NULL, "attribute %s has no tensor", a->name);
    if (!gi_push(im->g->arena, &im->g->blobs, b)) {
        gi_blob_unref(b);
        return GOPT_NO_MEMORY;
    }
    a->u.tensor = b;
    return GOPT_OK;
}

static gopt_status type_attr(gi_import *im, const pb_attr *p, const gi_place *at, gi_attr *a)
{
    const gi_type *t;
    GI_NEED(gi_onnx_type(im->g, p->tp, &t));
    if (!t)
        return gi_fail(im->cx, GOPT_UNSUPPORTED, at, NULL,
                       "attribute %s is a type that is no tensor, sequence, optional or map", a->name);
    gi_str s;
    gi_str_init(&s, im->g->arena);
    gi_str_add(&s, GI_ONNX_TYPE_PREFIX);
    gi_type_print(&s, t);
    GI_NEED(!s.failed);
    a->u.s = s.p;
    a->n = (uint32_t)s.n;
    return GOPT_OK;
}

/* The caller's attribute of that name, inside a function. */
static gopt_status reference(gi_import *im, const gi_scope *s, const pb_attr *p, const gi_place *at, gi_raw_attr *out)
{
    if (!s->call)
        return gi_fail(im->cx, GOPT_BAD_INPUT, at, NULL,
                       "attribute %s refers to attribute %s of a function, but stands in none", gi_pb_str(p->name),
                       p->ref_attr_name);
    for (size_t i = 0; i < s->call->attrs.n; i++)
        if (!strcmp(s->call->attrs.p[i].a.name, p->ref_attr_name)) {
            *out = s->call->attrs.p[i];
            out->a.name = gi_arena_str(im->g->arena, gi_pb_str(p->name));
            return out->a.name ? GOPT_OK : GOPT_NO_MEMORY;
        }
    *out = (gi_raw_attr){ .a.name = gi_pb_str(p->name) };
    return GOPT_OK;
}

gopt_status gi_import_attr(gi_import *im, const gi_scope *s, const pb_attr *p, const gi_place *at, gi_raw_attr *out)
{
    gopt_graph *g = im->g;
    if (p->ref_attr_name && *p->ref_attr_name)
        return reference(im, s, p, at, out);
    *out = (gi_raw_attr){ .a.name = gi_arena_str(g->arena, gi_pb_str(p->name)) };
    gi_attr *a = &out->a;
    GI_NEED(a->name);
    if (p->n_floats > UINT32_MAX || p->n_ints > UINT32_MAX || p->n_strings > UINT32_MAX || p->s.len > UINT32_MAX)
        return gi_fail(im->cx, GOPT_BAD_INPUT, at, NULL, "attribute %s has over 2^32 entries", a->name);
    switch (type_of(p)) {
    case AT_FLOAT:
        a->kind = GI_ATTR_FLOAT;
        a->u.f = p->f;
        return GOPT_OK;
    case AT_INT:
        a->kind = GI_ATTR_INT;
        a->u.i = p->i;
        return GOPT_OK;
    case AT_STRING:
        a->kind = GI_ATTR_STRING;
        a->n = (uint32_t)p->s.len;
        a->u.s = gi_arena_strn(g->arena, p->s.len ? (const char *)p->s.data : "", p->s.len);
        return a->u.s ? GOPT_OK : GOPT_NO_MEMORY;
    case AT_FLOATS:
        a->kind = GI_ATTR_FLOATS;
        a->n = (uint32_t)p->n_floats;
        a->u.floats = copy(g, p->floats, p->n_floats, sizeof *p->floats);
        return a->u.floats ? GOPT_OK : GOPT_NO_MEMORY;
    case AT_INTS:
        a->kind = GI_ATTR_INTS;
        a->n = (uint32_t)p->n_ints;
        a->u.ints = copy(g, p->ints, p->n_ints, sizeof *p->ints);
        return a->u.ints ? GOPT_OK : GOPT_NO_MEMORY;
    case AT_STRINGS:
        a->kind = GI_ATTR_STRINGS;
        return strings(g, p, a);
    case AT_TENSOR:
    case AT_SPARSE_TENSOR:
        a->kind = GI_ATTR_TENSOR;
        return tensor(im, p, at, a);
    case AT_TYPE_PROTO:
        a->kind = GI_ATTR_STRING;
        return type_attr(im, p, at, a);
    case AT_GRAPH:
        if (!p->g)
            return gi_fail(im->cx, GOPT_BAD_INPUT, at, NULL, "attribute %s has no graph", a->name);
        a->kind = GI_ATTR_GRAPH;
        out->graph = p->g;
        out->scope = s;
        return GOPT_OK;
    case AT_UNDEFINED:
        return gi_fail(im->cx, GOPT_BAD_INPUT, at, NULL, "attribute %s has neither type nor value", a->name);
    default:
        return gi_fail(im->cx, GOPT_UNSUPPORTED, at, NULL, "attribute %s is of kind %d, which gopt cannot hold",
                       a->name, p->type);
    }
}
