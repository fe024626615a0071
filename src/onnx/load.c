/* gopt_load, which tells formats apart by their first bytes, and stored tensors. */
#include "onnx/import.h"
#include "ops/infer.h"

/* gopt's text form starts with `graph` or a comment. */
static bool is_gir(const gi_file *f)
{
    size_t i = 0;
    while (i < f->size && (f->data[i] == ' ' || f->data[i] == '\t' || f->data[i] == '\r' || f->data[i] == '\n'))
        i++;
    if (i == f->size)
        return false;
    /* a comment, or a word that a header line or the graph starts with, and a space */
    static const char *const words[] = {
        ";", "graph ", "opset ", "ir_version ", "producer ", "model ", "doc ", "meta "
    };
    for (size_t k = 0; k < GI_COUNT(words); k++)
        if (f->size - i > strlen(words[k]) && !memcmp(f->data + i, words[k], strlen(words[k])))
            return true;
    return false;
}

gopt_status gopt_load(gopt_ctx *cx, const char *path, gopt_graph **out)
{
    gi_file *f;
    *out = NULL;
    GI_TRY(gi_file_open(cx, path, &f));
    const gopt_status st = is_gir(f) ? gi_gir_read(cx, f, out) : gi_onnx_import(cx, f, out);
    gi_file_unref(f);
    return st;
}

gopt_status gopt_onnx_load(gopt_ctx *cx, const char *path, gopt_graph **out)
{
    gi_file *f;
    *out = NULL;
    GI_TRY(gi_file_open(cx, path, &f));
    const gopt_status st = gi_onnx_import(cx, f, out);
    gi_file_unref(f);
    return st;
}

/* ---- stored tensors ---- */

typedef Gi__Pb__SequenceProto pb_sequence;
typedef Gi__Pb__OptionalProto pb_optional;

static gopt_status tensor_of_blob(gopt_ctx *cx, const gi_blob *b, gopt_tensor **out)
{
    gopt_tensor *t;
    GI_TRY(gopt_tensor_create(cx, b->dtype, b->rank, b->dims, &t));
    if (b->dtype != GOPT_STRING) {
        if (b->bytes)
            memcpy(t->data, b->data, b->bytes);
        *out = t;
        return GOPT_OK;
    }
    const gopt_string *s = b->data;
    const size_t n = (size_t)gi_blob_elements(b);
    size_t bytes = t->bytes;
    for (size_t i = 0; i < n; i++)
        bytes += s[i].n + 1; /* they are in memory, so the sum fits */
    gopt_string *to = gi_realloc(cx, t->data, bytes ? bytes : 1);
    if (!to) {
        gopt_tensor_unref(t);
        return GOPT_NO_MEMORY;
    }
    t->data = to;
    char *text = (char *)to + t->bytes;
    for (size_t i = 0; i < n; i++) {
        memcpy(text, s[i].p, s[i].n + 1);
        to[i] = (gopt_string){ text, s[i].n };
        text += s[i].n + 1;
    }
    *out = t;
    return GOPT_OK;
}

static gopt_status read_tensor(gi_payloads *p, const pb_tensor *t, const gi_place *at, gopt_tensor **out)
{
    gi_blob *b;
    GI_TRY(gi_onnx_blob(p, t, at, &b));
    const gopt_status st = tensor_of_blob(p->cx, b, out);
    gi_blob_unref(b);
    return st;
}

/* A container without items yet. */
static gopt_status container(gopt_ctx *cx, gopt_kind kind, size_t n, gopt_tensor **out)
{
    gopt_tensor *t = gi_alloc(cx, sizeof *t);
    GI_NEED(t);
    *t = (gopt_tensor){ .kind = kind, .cx = cx, .refs = 1 };
    t->items = gi_alloc(cx, (n ? n : 1) * sizeof *t->items);
    if (!t->items) {
        gi_free(cx, t);
        return GOPT_NO_MEMORY;
    }
    *out = t;
    return GOPT_OK;
}

static gopt_status read_optional(gi_payloads *p, const pb_optional *o, const gi_place *at, gopt_tensor **out);

/* Recursion is bounded: the scanner caps how deep messages nest. */
static gopt_status read_sequence(gi_payloads *p, const pb_sequence *s, const gi_place *at, gopt_tensor **out)
{
    if (s->n_sparse_tensor_values)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, at, NULL, "a sequence of sparse tensors");
    const size_t n = s->n_tensor_values + s->n_sequence_values + s->n_optional_values;
    gopt_tensor *t;
    GI_TRY(container(p->cx, GOPT_SEQUENCE, n, &t));
    gopt_status st = GOPT_OK;
    for (size_t i = 0; i < n && st == GOPT_OK; i++) {
        const size_t k = i - s->n_tensor_values, m = k - s->n_sequence_values;
        gopt_tensor *item = NULL;
        if (i < s->n_tensor_values)
            st = read_tensor(p, s->tensor_values[i], at, &item);
        else if (k < s->n_sequence_values)
            st = read_sequence(p, s->sequence_values[k], at, &item);
        else
            st = read_optional(p, s->optional_values[m], at, &item);
        if (st == GOPT_OK)
            t->items[t->n_items++] = item;
    }
    if (st != GOPT_OK) {
        gopt_tensor_unref(t);
        return st;
    }
    *out = t;
    return GOPT_OK;
}

static gopt_status read_optional(gi_payloads *p, const pb_optional *o, const gi_place *at, gopt_tensor **out)
{
    if (o->sparse_tensor_value)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, at, NULL, "an optional sparse tensor");
    gopt_tensor *t, *item = NULL;
    GI_TRY(container(p->cx, GOPT_OPTIONAL, 1, &t));
    gopt_status st = GOPT_OK;
    if (o->tensor_value)
        st = read_tensor(p, o->tensor_value, at, &item);
    else if (o->sequence_value)
        st = read_sequence(p, o->sequence_value, at, &item);
    else if (o->optional_value)
        st = read_optional(p, o->optional_value, at, &item);
    if (st != GOPT_OK) {
        gopt_tensor_unref(t);
        return st;
    }
    if (item)
        t->items[t->n_items++] = item;
    *out = t;
    return GOPT_OK;
}

static gopt_status read_stored(gopt_ctx *cx, gi_file *f, gopt_kind kind, gi_arena *a, gopt_tensor **out)
{
    static const char *const kinds[] = { "a TensorProto", "a SequenceProto", "an OptionalProto" };
    const ProtobufCMessageDescriptor *const roots[] = { &gi__pb__tensor_proto__descriptor,
                                                        &gi__pb__sequence_proto__descriptor,
                                                        &gi__pb__optional_proto__descriptor };
    const gi_place at = { .file = f->path };
    ProtobufCMessage *m = NULL;
    gi_payloads p;
    gi_payloads_init(&p, cx, f, a);
    gopt_status st = gi_pb_read(cx, f, roots[kind], kinds[kind], a, &m);
    if (st == GOPT_OK && kind == GOPT_TENSOR)
        st = read_tensor(&p, (const pb_tensor *)m, &at, out);
    else if (st == GOPT_OK && kind == GOPT_SEQUENCE)
        st = read_sequence(&p, (const pb_sequence *)m, &at, out);
    else if (st == GOPT_OK)
        st = read_optional(&p, (const pb_optional *)m, &at, out);
    gi_payloads_fini(&p);
    return st;
}

gopt_status gopt_onnx_load_tensor(gopt_ctx *cx, const char *path, gopt_kind kind, gopt_tensor **out)
{
    gi_file *f;
    *out = NULL;
    if ((int)kind < GOPT_TENSOR || kind > GOPT_OPTIONAL)
        return GOPT_USAGE;
    GI_TRY(gi_file_open(cx, path, &f));
    gi_arena *a = gi_arena_create(cx);
    const gopt_status st = a ? read_stored(cx, f, kind, a, out) : GOPT_NO_MEMORY;
    gi_arena_destroy(a);
    gi_file_unref(f);
    return st;
}
