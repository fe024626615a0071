/* Walks protobuf's wire format iteratively and hands protobuf-c a copy without payloads. */
#include "onnx/scan.h"

#include <stdio.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LEN = 2, WIRE_32 = 5 };
enum { FIELD_TRAINING_INFO = 20, FIELD_MAPPED = 20000 };

typedef struct frame {
    const ProtobufCMessageDescriptor *d;
    size_t end;    /* in the file */
    size_t header; /* where its length stands in the lean copy */
    uint64_t seen; /* single messages that came already, by index of the field */
} frame;

typedef struct scanner {
    gopt_ctx *cx;
    const gi_file *f;
    const char *expected;
    size_t at;
    uint8_t *lean;
    size_t n, cap;
    uint64_t messages;
    bool any_known;
    bool training;
    frame stack[GI_PB_MAX_DEPTH];
    int depth;
} scanner;

/* ---- what a file that is none of ours may be ---- */

typedef struct looks {
    const char *magic;
    size_t offset, n;
    const char *what, *hint;
} looks;

static const looks formats[] = {
    { "\xff\xd8\xff", 0, 3, "a JPEG image", "pass images with --input NAME=FILE" },
    { "\x89PNG", 0, 4, "a PNG image", "pass images with --input NAME=FILE" },
    { "GIF8", 0, 4, "a GIF image", NULL },
    { "RIFF", 0, 4, "a RIFF file (audio, video or WebP)", NULL },
    { "%PDF", 0, 4, "a PDF document", NULL },
    { "PK\x03\x04", 0, 4, "a zip archive (PyTorch .pt and .pth files are such, and .npz)",
      "export the model with torch.onnx.export" },
    { "\x80\x02", 0, 2, "a Python pickle (an old PyTorch file?)", "export the model with torch.onnx.export" },
    { "\x1f\x8b", 0, 2, "gzip-compressed data", "unpack it first" },
    { "\x28\xb5\x2f\xfd", 0, 4, "zstd-compressed data", "unpack it first" },
    { "\x89HDF", 0, 4, "an HDF5 file (Keras .h5?)", "convert it with tf2onnx" },
    { "\x93NUMPY", 0, 6, "a NumPy array", "pass arrays with --input NAME=FILE" },
    { "TFL3", 4, 4, "a TensorFlow Lite model", "convert it with tf2onnx --tflite" },
    { "ORTM", 4, 4, "an ONNX Runtime .ort model", "use the .onnx file that it was made from" },
    { "GGUF", 0, 4, "a GGUF model", NULL },
    { "\x7f"
      "ELF",
      0, 4, "an ELF program or library", NULL },
    { "version https://git-lfs", 0, 23, "a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`" },
};

static bool has_prefix(const gi_file *f, const char *text)
{
    size_t i = 0;
    while (i < f->size && (f->data[i] <= ' ' || f->data[i] > 0x7f) && i < 64)
        i++;
    for (; *text; text++, i++)
        if (i >= f->size || (f->data[i] | 0x20) != (*text | 0x20))
            return false;
    return true;
}

/* NULL where it looks like nothing that we know. */
static const char *looks_like(const gi_file *f, const char **hint)
{
    *hint = NULL;
    for (size_t i = 0; i < GI_COUNT(formats); i++) {
        const looks *l = &formats[i];
        if (f->size >= l->offset + l->n && !memcmp(f->data + l->offset, l->magic, l->n)) {
            *hint = l->hint;
            return l->what;
        }
    }
    if (f->size > 10 && f->data[8] == '{' && f->data[9] == '"' && f->data[7] == 0)
        return "a safetensors file (weights without a model)";
    if (has_prefix(f, "<!doctype html") || has_prefix(f, "<html")) {
        *hint = "a web server answered with a page: check the download's address";
        return "an HTML page";
    }
    const size_t n = f->size < 512 ? f->size : 512;
    for (size_t i = 0; i < n; i++)
        if (f->data[i] < ' ' && f->data[i] != '\n' && f->data[i] != '\r' && f->data[i] != '\t')
            return NULL;
    return f->data[0] == '{' || f->data[0] == '[' ? "JSON text" : "a text file";
}

static gopt_status not_ours(scanner *s, const char *why)
{
    const gi_place at = { .file = s->f->path };
    const char *hint;
    const char *what = looks_like(s->f, &hint);
    if (what)
        return gi_fail(s->cx, GOPT_BAD_INPUT, &at, hint, "this is %s, expected %s", what, s->expected);
    return gi_fail(s->cx, GOPT_BAD_INPUT, &at, NULL, "not %s: %s at byte %zu", s->expected, why, s->at);
}

static gopt_status truncated(scanner *s, const frame *in, uint64_t missing)
{
    const gi_place at = { .file = s->f->path };
    const char *hint;
    if (looks_like(s->f, &hint) || in->end != s->f->size)
        return not_ours(s, "a length that leaves its message");
    return gi_fail(s->cx, GOPT_BAD_INPUT, &at, "get the file again: the download or copy was cut off",
                   "truncated: the file ends after %zu bytes, inside a %s that needs %llu more", s->f->size,
                   in->d->short_name, (unsigned long long)missing);
}

/* ---- the lean copy ---- */

static gopt_status put(scanner *s, const void *p, size_t n)
{
    if (n > s->cap - s->n) {
        size_t cap = s->cap ? s->cap * 2 : 1 << 14;
        while (cap - s->n < n)
            cap *= 2;
        if (cap > INT32_MAX)
            return gi_fail(s->cx, GOPT_BAD_INPUT, &(gi_place){ .file = s->f->path }, NULL,
                           "over 1 GiB of structure besides the weights");
        uint8_t *bigger = gi_realloc(s->cx, s->lean, cap);
        GI_NEED(bigger);
        s->lean = bigger;
        s->cap = cap;
    }
    memcpy(s->lean + s->n, p, n);
    s->n += n;
    return GOPT_OK;
}

static size_t varint(uint8_t *to, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        to[n++] = (uint8_t)(v | 0x80);
    to[n++] = (uint8_t)v;
    return n;
}

/* Five bytes always, so that a length can be written once it is known. */
static void patch_length(uint8_t *to, size_t v)
{
    for (int i = 0; i < 4; i++, v >>= 7)
        to[i] = (uint8_t)((v & 0x7f) | 0x80);
    to[4] = (uint8_t)(v & 0x7f);
}

static gopt_status put_mapped(scanner *s, uint32_t field, size_t offset, size_t n)
{
    uint8_t body[30], head[10];
    size_t k = varint(body, field);
    k += varint(body + k, offset);
    k += varint(body + k, n);
    size_t h = varint(head, (uint64_t)FIELD_MAPPED << 3 | WIRE_LEN);
    h += varint(head + h, k);
    GI_TRY(put(s, head, h));
    return put(s, body, k);
}

/* ---- the walk ---- */

static bool read_varint(scanner *s, size_t end, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && s->at < end; shift += 7) {
        const uint8_t b = s->f->data[s->at++];
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

static bool is_payload(const frame *in, uint32_t field)
{
    return in->d == &gi__pb__tensor_proto__descriptor &&
           (field == 4 || field == 5 || field == 7 || field == 9 || field == 10 || field == 11);
}

static int wire_of(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LEN;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM:
        break;
    }
    return WIRE_VARINT;
}

/* Enters a submessage whose contents are the next `length` bytes. */
static gopt_status push(scanner *s, frame *in, const ProtobufCFieldDescriptor *fd, size_t tag_at, size_t tag_n,
                        size_t length)
{
    static const uint8_t none[5] = { 0 };
    const gi_place at = { .file = s->f->path };
    if (s->depth == GI_PB_MAX_DEPTH)
        return gi_fail(s->cx, GOPT_BAD_INPUT, &at, NULL, "messages nest over %d deep at byte %zu, no real model does",
                       GI_PB_MAX_DEPTH, s->at);
    if (fd->label != PROTOBUF_C_LABEL_REPEATED) {
        const size_t index = (size_t)(fd - in->d->fields);
        if (in->seen >> index & 1)
            return gi_fail(s->cx, GOPT_BAD_INPUT, &at, NULL, "%s of a %s comes twice, at byte %zu", fd->name,
                           in->d->short_name, s->at);
        in->seen |= UINT64_C(1) << index;
    }
    s->messages++;
    GI_TRY(put(s, s->f->data + tag_at, tag_n));
    const size_t header = s->n;
    GI_TRY(put(s, none, sizeof none));
    s->stack[s->depth++] =
        (frame){ .d = (const ProtobufCMessageDescriptor *)fd->descriptor, .end = s->at + length, .header = header };
    return GOPT_OK;
}

static gopt_status length_field(scanner *s, frame *in, const ProtobufCFieldDescriptor *fd, uint32_t field,
                                size_t tag_at, size_t tag_n)
{
    uint64_t length;
    if (!read_varint(s, in->end, &length))
        return truncated(s, in, 1);
    if (length > in->end - s->at)
        return truncated(s, in, length - (in->end - s->at));
    const size_t n = (size_t)length;
    if (fd && in->d == &gi__pb__model_proto__descriptor)
        s->any_known = true;
    if (in->d == &gi__pb__model_proto__descriptor && field == FIELD_TRAINING_INFO)
        s->training = true;
    if (!fd || field == FIELD_MAPPED) {
        s->at += n;
        return GOPT_OK;
    }
    if (fd->type == PROTOBUF_C_TYPE_MESSAGE)
        return push(s, in, fd, tag_at, tag_n, n);
    const size_t from = s->at;
    s->at += n;
    if (is_payload(in, field) && n > GI_PB_INLINE)
        return put_mapped(s, field, from, n);
    s->messages += fd->label == PROTOBUF_C_LABEL_REPEATED;
    return put(s, s->f->data + tag_at, s->at - tag_at);
}

static gopt_status one_field(scanner *s, frame *in)
{
    const size_t tag_at = s->at;
    uint64_t tag;
    if (!read_varint(s, in->end, &tag))
        return truncated(s, in, 1);
    const size_t tag_n = s->at - tag_at;
    const unsigned wire = (unsigned)(tag & 7);
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return not_ours(s, "a field number out of range");
    const uint32_t field = (uint32_t)(tag >> 3);
    const ProtobufCFieldDescriptor *fd = protobuf_c_message_descriptor_get_field(in->d, field);
    if (fd) {
        const int expected = wire_of(fd->type);
        const bool packed = wire == WIRE_LEN && fd->label == PROTOBUF_C_LABEL_REPEATED;
        if ((int)wire != expected && !packed)
            return not_ours(s, "a field of another kind than ONNX gives it");
    }
    size_t n = 0;
    uint64_t ignored;
    switch (wire) {
    case WIRE_VARINT:
        if (!read_varint(s, in->end, &ignored))
            return in->end - tag_at < 11 ? truncated(s, in, 1) : not_ours(s, "a number of over 64 bits");
        break;
    case WIRE_64:
        n = 8;
        break;
    case WIRE_32:
        n = 4;
        break;
    case WIRE_LEN:
        return length_field(s, in, fd, field, tag_at, tag_n);
    default:
        return not_ours(s, "a wire type that ONNX does not use");
    }
    if (n > in->end - s->at)
        return truncated(s, in, n - (in->end - s->at));
    s->at += n;
    return fd && field != FIELD_MAPPED ? put(s, s->f->data + tag_at, s->at - tag_at) : GOPT_OK;
}

static gopt_status walk(scanner *s)
{
    while (s->depth > 0) {
        frame *top = &s->stack[s->depth - 1];
        if (s->at < top->end) {
            GI_TRY(one_field(s, top));
            continue;
        }
        if (s->depth > 1)
            patch_length(s->lean + top->header, s->n - top->header - 5);
        s->depth--;
    }
    return GOPT_OK;
}

/* ---- protobuf-c ---- */

/* protobuf-c does not tell a message that is wrong from one that there was no memory for. */
typedef struct unpack_memory {
    gi_arena *arena;
    bool ran_out;
} unpack_memory;

static void *arena_alloc(void *data, size_t n)
{
    unpack_memory *m = data;
    void *p = gi_arena_alloc(m->arena, n);
    m->ran_out |= !p;
    return p;
}

static void arena_free(void *data, void *p)
{
    (void)data;
    (void)p;
}

static gopt_status unpack(scanner *s, const ProtobufCMessageDescriptor *root, gi_arena *a, ProtobufCMessage **out)
{
    /* An empty message of two bytes becomes a struct of some 150: a file must not ask for a hundredfold. */
    if (s->messages > s->cx->memory_limit / 256)
        return gi_fail(s->cx, GOPT_NO_MEMORY, &(gi_place){ .file = s->f->path }, "raise --memory-limit",
                       "%llu messages would not fit in memory", (unsigned long long)s->messages);
    unpack_memory memory = { .arena = a };
    ProtobufCAllocator allocator = { .alloc = arena_alloc, .free = arena_free, .allocator_data = &memory };
    *out = protobuf_c_message_unpack(root, &allocator, s->n, s->lean ? s->lean : (const uint8_t *)"");
    if (!*out)
        return memory.ran_out ? GOPT_NO_MEMORY : not_ours(s, "the message cannot be unpacked");
    return GOPT_OK;
}

gopt_status gi_pb_read(gopt_ctx *cx, const gi_file *f, const ProtobufCMessageDescriptor *root, const char *expected,
                       gi_arena *a, ProtobufCMessage **out)
{
    if (f->size == 0)
        return gi_fail(cx, GOPT_BAD_INPUT, &(gi_place){ .file = f->path }, NULL, "the file is empty, expected %s",
                       expected);
    scanner *s = gi_alloc(cx, sizeof *s);
    GI_NEED(s);
    s->cx = cx;
    s->f = f;
    s->expected = expected;
    s->stack[s->depth++] = (frame){ .d = root, .end = f->size };
    gopt_status status = walk(s);
    if (status == GOPT_OK && root == &gi__pb__model_proto__descriptor && !s->any_known)
        status = not_ours(s, "no part of a model up to the end,");
    if (status == GOPT_OK)
        status = unpack(s, root, a, out);
    if (status == GOPT_OK && s->training)
        gi_note(cx, &(gi_place){ .file = f->path }, NULL, "training information is dropped: gopt is for inference");
    gi_free(cx, s->lean);
    gi_free(cx, s);
    return status;
}
