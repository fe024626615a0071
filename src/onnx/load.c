/* gopt_load, which tells formats apart by their first bytes, and stored tensors. */
#include "onnx/import.h"
#include "ops/eval.h"
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
typedef Gi__Pb__MapProto pb_map;

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

static gopt_status read_optional(gi_payloads *p, const pb_optional *o, const gi_place *at, gopt_tensor **out);

static gopt_status read_map(gi_payloads *p, const pb_map *m, const gi_place *at, gopt_tensor **out);

/* Recursion is bounded: the scanner caps how deep messages nest. */
static gopt_status read_sequence(gi_payloads *p, const pb_sequence *s, const gi_place *at, gopt_tensor **out)
{
    if (s->n_sparse_tensor_values)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, at, NULL, "a sequence of sparse tensors");
    const size_t n = s->n_tensor_values + s->n_sequence_values + s->n_optional_values + s->n_map_values;
    gopt_tensor *t;
    GI_TRY(gi_tensor_container(p->cx, GOPT_SEQUENCE, n, &t));
    gopt_status st = GOPT_OK;
    for (size_t i = 0; i < n && st == GOPT_OK; i++) {
        const size_t k = i - s->n_tensor_values, m = k - s->n_sequence_values, map = m - s->n_optional_values;
        gopt_tensor *item = NULL;
        if (i < s->n_tensor_values)
            st = read_tensor(p, s->tensor_values[i], at, &item);
        else if (k < s->n_sequence_values)
            st = read_sequence(p, s->sequence_values[k], at, &item);
        else if (m < s->n_optional_values)
            st = read_optional(p, s->optional_values[m], at, &item);
        else
            st = read_map(p, s->map_values[map], at, &item);
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
    GI_TRY(gi_tensor_container(p->cx, GOPT_OPTIONAL, 1, &t));
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

static gopt_status map_keys(gi_payloads *p, const pb_map *m, const gi_place *at, gopt_tensor **out)
{
    const bool strings = m->key_type == GOPT_STRING;
    const gopt_dtype type =
        m->key_type > 0 && m->key_type < GOPT_DTYPE_COUNT ? (gopt_dtype)m->key_type : GOPT_UNDEFINED;
    if (!strings && !gi_dtype_is_int(type))
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "a map has keys of type %d, which are no integers or strings",
                       (int)m->key_type);
    const int64_t n = (int64_t)(strings ? m->n_string_keys : m->n_keys);
    GI_TRY(gopt_tensor_create(p->cx, type, 1, &n, out));
    for (int64_t i = 0; i < n; i++)
        if (strings)
            ((gopt_string *)(*out)->data)[i] =
                (gopt_string){ (const char *)m->string_keys[i].data, m->string_keys[i].len };
        else
            gi_store_i64(type, (*out)->data, (size_t)i, m->keys[i]);
    return strings ? gi_tensor_own_strings(p->cx, *out) : GOPT_OK;
}

/* The values, one tensor of one element each, as one tensor. */
static gopt_status map_values(gi_payloads *p, const gopt_tensor *seq, const gi_place *at, gopt_tensor **out)
{
    const int64_t n = (int64_t)seq->n_items;
    const gopt_dtype type = n && seq->items[0]->kind == GOPT_TENSOR ? seq->items[0]->dtype : GOPT_F32;
    const size_t item = type == GOPT_STRING ? sizeof(gopt_string) : (size_t)gopt_dtype_bits(type) / 8;
    GI_TRY(gopt_tensor_create(p->cx, type, 1, &n, out));
    for (int64_t i = 0; i < n; i++) {
        const gopt_tensor *t = seq->items[i];
        if (t->kind != GOPT_TENSOR || t->dtype != type || gopt_tensor_elements(t) != 1 || !item)
            return gi_fail(p->cx, GOPT_UNSUPPORTED, at, NULL,
                           "a map whose values are no single numbers or strings of one type");
        memcpy((uint8_t *)(*out)->data + (size_t)i * item, t->data, item);
    }
    return type == GOPT_STRING ? gi_tensor_own_strings(p->cx, *out) : GOPT_OK;
}

static gopt_status read_map(gi_payloads *p, const pb_map *m, const gi_place *at, gopt_tensor **out)
{
    gopt_tensor *t, *values = NULL;
    const pb_sequence none = GI__PB__SEQUENCE_PROTO__INIT;
    GI_TRY(gi_tensor_container(p->cx, GOPT_MAP, 2, &t));
    t->n_items = 2;
    gopt_status st = map_keys(p, m, at, &t->items[0]);
    if (st == GOPT_OK)
        st = read_sequence(p, m->values ? m->values : &none, at, &values);
    if (st == GOPT_OK)
        st = map_values(p, values, at, &t->items[1]);
    gopt_tensor_unref(values);
    if (st == GOPT_OK && t->items[0]->dims[0] != t->items[1]->dims[0])
        st = gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "a map has %lld keys and %lld values",
                     (long long)t->items[0]->dims[0], (long long)t->items[1]->dims[0]);
    if (st == GOPT_OK)
        *out = t;
    else
        gopt_tensor_unref(t);
    return st;
}

static gopt_status read_stored(gopt_ctx *cx, gi_file *f, gopt_kind kind, gi_arena *a, gopt_tensor **out)
{
    static const char *const kinds[] = { "a TensorProto", "a SequenceProto", "an OptionalProto", "a MapProto" };
    const ProtobufCMessageDescriptor *const roots[] = { &gi__pb__tensor_proto__descriptor,
                                                        &gi__pb__sequence_proto__descriptor,
                                                        &gi__pb__optional_proto__descriptor,
                                                        &gi__pb__map_proto__descriptor };
    const gi_place at = { .file = f->path };
    ProtobufCMessage *m = NULL;
    gi_payloads p;
    gi_payloads_init(&p, cx, f, a);
    gopt_status st = gi_pb_read(cx, f, roots[kind], kinds[kind], a, &m);
    if (st == GOPT_OK && kind == GOPT_TENSOR)
        st = read_tensor(&p, (const pb_tensor *)m, &at, out);
    else if (st == GOPT_OK && kind == GOPT_SEQUENCE)
        st = read_sequence(&p, (const pb_sequence *)m, &at, out);
    else if (st == GOPT_OK && kind == GOPT_OPTIONAL)
        st = read_optional(&p, (const pb_optional *)m, &at, out);
    else if (st == GOPT_OK)
        st = read_map(&p, (const pb_map *)m, &at, out);
    gi_payloads_fini(&p);
    return st;
}

gopt_status gopt_onnx_load_tensor(gopt_ctx *cx, const char *path, gopt_kind kind, gopt_tensor **out)
{
    gi_file *f;
    *out = NULL;
    if ((int)kind < GOPT_TENSOR || kind > GOPT_MAP)
        return GOPT_USAGE;
    GI_TRY(gi_file_open(cx, path, &f));
    gi_arena *a = gi_arena_create(cx);
    const gopt_status st = a ? read_stored(cx, f, kind, a, out) : GOPT_NO_MEMORY;
    gi_arena_destroy(a);
    gi_file_unref(f);
    return st;
}
