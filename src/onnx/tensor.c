/* TensorProto in all its encodings → blobs. */
#include "onnx/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { RAW_DATA = 9, FLOAT_DATA = 4, INT32_DATA = 5, INT64_DATA = 7, DOUBLE_DATA = 10, UINT64_DATA = 11 };

/* ---- external data ---- */

void gi_payloads_init(gi_payloads *p, gopt_ctx *cx, gi_file *file, gi_arena *a)
{
    *p = (gi_payloads){ .cx = cx, .file = file, .arena = a };
    gi_smap_init(&p->external, a);
}

void gi_payloads_fini(gi_payloads *p)
{
    for (size_t i = 0; i < p->files.n; i++)
        gi_file_unref(p->files.p[i]);
    p->files.n = 0;
}

/* Does a path step out of its folder by its text alone? */
static bool leaves_folder(const char *location)
{
    if (location[0] == '/' || location[0] == '\\' || (location[0] && location[1] == ':'))
        return true;
    for (const char *s = location; *s;) {
        const size_t n = strcspn(s, "/\\");
        if (n == 2 && s[0] == '.' && s[1] == '.')
            return true;
        s += n + (s[n] != 0);
    }
    return false;
}

static gopt_status open_beside(gi_payloads *p, const char *location, const gi_place *at, gi_file **out)
{
    const char *model = p->file->path, *slash = strrchr(model, '/');
    const char *dir = slash ? gi_arena_strn(p->arena, model, (size_t)(slash - model) + 1) : "./";
    const char *path = dir ? gi_arena_printf(p->arena, "%s%s", dir, location) : NULL;
    GI_NEED(path);
    char *real_dir = realpath(dir, NULL), *real = realpath(path, NULL);
    const int error = errno;
    gopt_status st = GOPT_OK;
    if (!real_dir || !real) {
        st = gi_fail(p->cx, GOPT_BAD_INPUT, at, "keep the files of a model together",
                     "its external data '%s' cannot be found beside the model: %s", location, strerror(error));
    } else {
        const size_t n = strlen(real_dir);
        const bool inside = !strncmp(real, real_dir, n) && (real[n] == '/' || (n && real_dir[n - 1] == '/'));
        if (!inside)
            st = gi_fail(p->cx, GOPT_BAD_INPUT, at, "copy the file into the model's folder",
                         "its external data '%s' is a link that leaves the model's folder", location);
    }
    free(real_dir);
    free(real);
    return st == GOPT_OK ? gi_file_open(p->cx, path, out) : st;
}

gopt_status gi_onnx_external_file(gi_payloads *p, const char *location, const gi_place *at, gi_file **out)
{
    *out = gi_smap_get(&p->external, location);
    if (*out)
        return GOPT_OK;
    if (!p->file || !strcmp(p->file->path, "(stdin)"))
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, "pass the model by its path",
                       "its external data '%s' cannot be found: the model came through a pipe", location);
    if (!*location || leaves_folder(location))
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, "a model may only name files inside its own folder",
                       "its external data '%s' lies outside of the model's folder", location);
    GI_TRY(open_beside(p, location, at, out));
    if (!gi_push(p->arena, &p->files, *out)) {
        gi_file_unref(*out);
        return GOPT_NO_MEMORY;
    }
    return gi_smap_put(&p->external, location, *out) ? GOPT_OK : GOPT_NO_MEMORY;
}

static bool parse_number(const char *s, uint64_t *v)
{
    char *end;
    errno = 0;
    if (*s < '0' || *s > '9')
        return false;
    *v = strtoull(s, &end, 10);
    return !errno && !*end;
}

static gopt_status external_blob(gi_payloads *p, const pb_tensor *t, const int64_t *dims, size_t bytes,
                                 const gi_place *at, gi_blob **out)
{
    const char *location = NULL;
    uint64_t offset = 0, length = bytes;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = gi_pb_str(t->external_data[i]->key), *value = gi_pb_str(t->external_data[i]->value);
        if (!strcmp(key, "location"))
            location = value;
        else if ((!strcmp(key, "offset") && !parse_number(value, &offset)) ||
                 (!strcmp(key, "length") && !parse_number(value, &length)))
            return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "the %s of its external data is '%s', expected a number",
                           key, value);
    }
    if (!location)
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its external data have no location");
    if (length != bytes)
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its external data are %llu bytes, expected %zu",
                       (unsigned long long)length, bytes);
    gi_file *f;
    GI_TRY(gi_onnx_external_file(p, location, at, &f));
    if (offset > f->size || bytes > f->size - offset)
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, "is the file of weights complete?",
                       "its external data are %zu bytes at offset %llu of '%s', which has %zu", bytes,
                       (unsigned long long)offset, location, f->size);
    return gi_blob_mapped(p->cx, (gopt_dtype)t->data_type, (int)t->n_dims, dims, f, offset, out);
}

/* ---- payloads in the message or mapped from its file ---- */

/* One kind of list: in the message, or in pieces of the file. */
typedef struct source {
    const uint8_t *p; /* little-endian elements, or varints where `varints` */
    size_t n;         /* bytes of p */
    uint64_t offset;  /* in the file, of a mapped one */
    bool varints;
} source;

/* The one mapped piece of a field. False where there is none; *twice where there are several. */
static bool mapped_piece(const gi_payloads *p, const pb_tensor *t, uint64_t field, source *out, bool *twice)
{
    bool found = false;
    for (size_t i = 0; i + 2 < t->n_mapped; i += 3) {
        if (t->mapped[i] != field)
            continue;
        *twice |= found && field != RAW_DATA;
        found = true;
        *out = (source){ .p = p->file->data + t->mapped[i + 1],
                         .n = (size_t)t->mapped[i + 2],
                         .offset = t->mapped[i + 1] };
    }
    return found;
}

static gopt_status wrong_size(gi_payloads *p, const gi_place *at, const pb_tensor *t, const char *field, size_t found,
                              size_t expected, const char *unit)
{
    return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its %s has %zu %s, expected %zu for its shape and type %s", field,
                   found, unit, expected, gi_dtype_onnx_name((gopt_dtype)t->data_type));
}

/* Raw bytes: a view where they are mapped. */
static gopt_status raw_blob(gi_payloads *p, const pb_tensor *t, const int64_t *dims, size_t bytes, const source *s,
                            bool mapped, const gi_place *at, gi_blob **out)
{
    const gopt_dtype dtype = (gopt_dtype)t->data_type;
    if (s->n != bytes)
        return wrong_size(p, at, t, "payload", s->n, bytes, "bytes");
    if (mapped)
        return gi_blob_mapped(p->cx, dtype, (int)t->n_dims, dims, p->file, s->offset, out);
    GI_TRY(gi_blob_create(p->cx, dtype, (int)t->n_dims, dims, out));
    if (bytes)
        memcpy((*out)->owned, s->p, bytes);
    return GOPT_OK;
}

static bool next_varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && *p < end; shift += 7) {
        const uint8_t b = *(*p)++;
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

/* Element i of the low `width` bytes of v. */
static void store_low(void *data, size_t i, size_t width, uint64_t v)
{
    memcpy((uint8_t *)data + i * width, &v, width);
}

typedef struct numbers {
    const char *field;
    const void *list; /* in the message */
    size_t n;         /* its entries */
    size_t item;      /* bytes of an entry */
    uint64_t number;  /* of the field */
    bool varints;
} numbers;

/* Numbers, each of which becomes `width` bytes (for packed types one number is a byte). */
static gopt_status numbers_blob(gi_payloads *p, const pb_tensor *t, const int64_t *dims, size_t bytes, size_t width,
                                const numbers *list, const gi_place *at, gi_blob **out)
{
    const size_t count = bytes / width;
    source s = { 0 };
    bool twice = false;
    const bool mapped = mapped_piece(p, t, list->number, &s, &twice);
    if (twice || (mapped && list->n))
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its %s is stored in several pieces", list->field);
    if (!list->varints) {
        source in = { .p = list->list, .n = list->n * list->item };
        return raw_blob(p, t, dims, bytes, mapped ? &s : &in, mapped, at, out);
    }
    if (!mapped && list->n != count)
        return wrong_size(p, at, t, list->field, list->n, count, "numbers");
    if (mapped && s.n < count)
        return wrong_size(p, at, t, list->field, s.n, count, "bytes at most");
    gi_blob *b;
    GI_TRY(gi_blob_create(p->cx, (gopt_dtype)t->data_type, (int)t->n_dims, dims, &b));
    const uint8_t *at_byte = s.p, *end = s.p ? s.p + s.n : NULL;
    for (size_t i = 0; i < count; i++) {
        uint64_t v = 0;
        if (mapped && !next_varint(&at_byte, end, &v)) {
            gi_blob_unref(b);
            return wrong_size(p, at, t, list->field, i, count, "numbers");
        }
        if (!mapped)
            memcpy(&v, (const uint8_t *)list->list + i * list->item, list->item);
        store_low(b->owned, i, width, v);
    }
    if (mapped && at_byte != end) {
        gi_blob_unref(b);
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its %s has over %zu numbers, expected so many", list->field,
                       count);
    }
    *out = b;
    return GOPT_OK;
}

gopt_status gi_onnx_fill_strings(gi_blob *b, const ProtobufCBinaryData *s)
{
    const size_t n = (size_t)gi_blob_elements(b);
    size_t bytes = b->bytes;
    for (size_t i = 0; i < n; i++)
        GI_NEED(gi_add_size(bytes, s[i].len + 1, &bytes));
    void *p = gi_realloc(b->cx, b->owned, bytes ? bytes : 1);
    GI_NEED(p);
    b->owned = p;
    b->data = p;
    gopt_string *to = p;
    char *text = (char *)p + b->bytes;
    for (size_t i = 0; i < n; i++) {
        if (s[i].len)
            memcpy(text, s[i].data, s[i].len);
        text[s[i].len] = 0;
        to[i] = (gopt_string){ text, s[i].len };
        text += s[i].len + 1;
    }
    return GOPT_OK;
}

static gopt_status string_blob(gi_payloads *p, const pb_tensor *t, const int64_t *dims, size_t bytes,
                               const gi_place *at, gi_blob **out)
{
    const size_t n = bytes / sizeof(gopt_string);
    if (n != t->n_string_data)
        return wrong_size(p, at, t, "string_data", t->n_string_data, n, "strings");
    gi_blob *b;
    GI_TRY(gi_blob_create(p->cx, GOPT_STRING, (int)t->n_dims, dims, &b));
    const gopt_status st = gi_onnx_fill_strings(b, t->string_data);
    if (st != GOPT_OK) {
        gi_blob_unref(b);
        return st;
    }
    *out = b;
    return GOPT_OK;
}

/* Which list of numbers a type without raw data uses. */
static numbers list_of(const pb_tensor *t)
{
    switch ((gopt_dtype)t->data_type) {
    case GOPT_F32:
    case GOPT_C64:
        return (numbers){ "float_data", t->float_data, t->n_float_data, 4, FLOAT_DATA, false };
    case GOPT_F64:
    case GOPT_C128:
        return (numbers){ "double_data", t->double_data, t->n_double_data, 8, DOUBLE_DATA, false };
    case GOPT_I64:
        return (numbers){ "int64_data", t->int64_data, t->n_int64_data, 8, INT64_DATA, true };
    case GOPT_U64:
    case GOPT_U32:
        return (numbers){ "uint64_data", t->uint64_data, t->n_uint64_data, 8, UINT64_DATA, true };
    default:
        return (numbers){ "int32_data", t->int32_data, t->n_int32_data, 4, INT32_DATA, true };
    }
}

static gopt_status check_header(gi_payloads *p, const pb_tensor *t, const gi_place *at, size_t *bytes)
{
    if (t->data_type <= 0 || t->data_type >= GOPT_DTYPE_COUNT)
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its element type is %d, expected 1 to %d", t->data_type,
                       GOPT_DTYPE_COUNT - 1);
    if (t->n_dims > GOPT_MAX_RANK)
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its rank is %zu, expected at most %d", t->n_dims,
                       GOPT_MAX_RANK);
    int64_t n = 1;
    for (size_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 0)
            return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its dimension %zu is %lld, expected 0 or more", i,
                           (long long)t->dims[i]);
        if (!gi_mul_i64(n, t->dims[i], &n))
            return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its shape overflows 64 bits");
    }
    if (t->segment)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, at, NULL, "it is a segment of a tensor: no exporter writes such");
    if (!gi_dtype_bytes((gopt_dtype)t->data_type, (size_t)n, bytes) || *bytes > INT64_MAX)
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its shape overflows 64 bits");
    return GOPT_OK;
}

gopt_status gi_onnx_blob(gi_payloads *p, const pb_tensor *t, const gi_place *at, gi_blob **out)
{
    size_t bytes;
    GI_TRY(check_header(p, t, at, &bytes));
    const int64_t *dims = t->dims;
    if (t->data_location == 1)
        return external_blob(p, t, dims, bytes, at, out);
    if (t->data_type == GOPT_STRING)
        return string_blob(p, t, dims, bytes, at, out);
    source raw;
    bool twice = false;
    if (mapped_piece(p, t, RAW_DATA, &raw, &twice))
        return raw_blob(p, t, dims, bytes, &raw, true, at, out);
    const numbers list = list_of(t);
    if (t->has_raw_data && (t->raw_data.len || !list.n)) {
        raw = (source){ .p = t->raw_data.data, .n = t->raw_data.len };
        if (raw.n || bytes)
            return raw_blob(p, t, dims, bytes, &raw, false, at, out);
    }
    const int bits = gopt_dtype_bits((gopt_dtype)t->data_type);
    const size_t width = bits < 8 ? 1 : (size_t)bits / 8;
    return numbers_blob(p, t, dims, bytes, width, &list, at, out);
}

/* ---- sparse ---- */

static gopt_status bad_index(gi_payloads *p, const gi_place *at, size_t i)
{
    return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its index #%zu lies outside of its shape", i);
}

/* Position of entry i in the dense tensor; false where it lies outside. */
static bool sparse_position(const gi_blob *indices, const pb_sparse *t, int64_t total, size_t i, int64_t *position)
{
    const int64_t *v = indices->data;
    if (indices->rank == 1) {
        *position = v[i];
        return v[i] >= 0 && v[i] < total;
    }
    *position = 0;
    for (size_t d = 0; d < t->n_dims; d++) {
        const int64_t x = v[i * t->n_dims + d];
        if (x < 0 || x >= t->dims[d])
            return false;
        *position = *position * t->dims[d] + x;
    }
    return true;
}

static gopt_status scatter(gi_payloads *p, const pb_sparse *t, const gi_blob *values, const gi_blob *indices,
                           const gi_place *at, gi_blob *b)
{
    const int64_t n = gi_blob_elements(values), total = gi_blob_elements(b);
    const bool linear = indices->rank == 1 && indices->dims[0] == n;
    const bool full = indices->rank == 2 && indices->dims[0] == n && indices->dims[1] == (int64_t)t->n_dims;
    if (values->rank != 1 || indices->dtype != GOPT_I64 || (!linear && !full))
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL,
                       "its indices do not fit its %lld values, expected int64 of shape [values] or [values, rank]",
                       (long long)n);
    const size_t item = (size_t)gopt_dtype_bits(b->dtype) / 8;
    for (size_t i = 0; i < (size_t)n; i++) {
        int64_t position;
        if (!sparse_position(indices, t, total, i, &position))
            return bad_index(p, at, i);
        memcpy((uint8_t *)b->owned + (size_t)position * item, (const uint8_t *)values->data + i * item, item);
    }
    return GOPT_OK;
}

gopt_status gi_onnx_sparse_blob(gi_payloads *p, const pb_sparse *t, const gi_place *at, gi_blob **out)
{
    if (!t->values || !t->indices)
        return gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "a sparse tensor lacks its values or indices");
    gi_blob *values = NULL, *indices = NULL, *b = NULL;
    gopt_status st = gi_onnx_blob(p, t->values, at, &values);
    if (st == GOPT_OK)
        st = gi_onnx_blob(p, t->indices, at, &indices);
    if (st == GOPT_OK && (values->dtype == GOPT_STRING || gopt_dtype_bits(values->dtype) < 8))
        st = gi_fail(p->cx, GOPT_UNSUPPORTED, at, NULL, "a sparse tensor of type %s", gopt_dtype_name(values->dtype));
    if (st == GOPT_OK && t->n_dims > GOPT_MAX_RANK)
        st = gi_fail(p->cx, GOPT_BAD_INPUT, at, NULL, "its rank is %zu, expected at most %d", t->n_dims, GOPT_MAX_RANK);
    if (st == GOPT_OK)
        st = gi_blob_create(p->cx, values->dtype, (int)t->n_dims, t->dims, &b);
    if (st == GOPT_OK)
        st = scatter(p, t, values, indices, at, b);
    gi_blob_unref(values);
    gi_blob_unref(indices);
    if (st != GOPT_OK) {
        gi_blob_unref(b);
        return st;
    }
    *out = b;
    return GOPT_OK;
}
