/* NumPy's files: .npy read and written, .npz (a zip of them) read.
 *
 * Formats: numpy/lib/format.py's docstring; zip by PKWARE's APPNOTE 6.3, sections 4.3 and 4.4. Headers are
 * not trusted: every size is checked against what the file holds. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#ifdef GI_HAVE_ZLIB
#include <zlib.h>
#endif

#include "tool.h"

/* ---- reading .npy ---- */

typedef struct npy_header {
    gopt_dtype dtype;
    size_t item;  /* bytes of one element */
    size_t swap;  /* bytes of the units to swap; 0: none */
    size_t units; /* of a string: bytes of a character */
    bool fortran;
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    size_t data; /* where the elements start */
} npy_header;

static gopt_dtype dtype_of(char kind, size_t size)
{
    static const struct {
        char kind;
        size_t size;
        gopt_dtype dtype;
    } known[] = {
        { 'f', 2, GOPT_F16 }, { 'f', 4, GOPT_F32 },  { 'f', 8, GOPT_F64 }, { 'i', 1, GOPT_I8 },    { 'i', 2, GOPT_I16 },
        { 'i', 4, GOPT_I32 }, { 'i', 8, GOPT_I64 },  { 'u', 1, GOPT_U8 },  { 'u', 2, GOPT_U16 },   { 'u', 4, GOPT_U32 },
        { 'u', 8, GOPT_U64 }, { 'b', 1, GOPT_BOOL }, { 'c', 8, GOPT_C64 }, { 'c', 16, GOPT_C128 },
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].kind == kind && known[i].size == size)
            return known[i].dtype;
    return GOPT_UNDEFINED;
}

/* The text after 'key': in the header's dict, or NULL. */
static const char *value_of(const char *dict, const char *key)
{
    char quoted[40];
    snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *p = strstr(dict, quoted);
    if (!p)
        return NULL;
    p += strlen(quoted);
    p += strspn(p, " ");
    return *p == ':' ? p + 1 + strspn(p + 1, " ") : NULL;
}

/* Characters of 4 bytes (U) or bytes (S), filled up with zeros. */
static bool is_text(char kind, unsigned long size)
{
    return (kind == 'U' && size > 0 && size < 1u << 24) || (kind == 'S' && size > 0 && size < 1u << 26);
}

static gopt_status parse_dict(tool *t, const char *path, const char *dict, npy_header *h)
{
    const char *descr = value_of(dict, "descr"), *order = value_of(dict, "fortran_order");
    const char *shape = value_of(dict, "shape");
    if (!descr || !order || !shape || (*descr != '\'' && *descr != '[') || *shape != '(')
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a damaged .npy file: its header is '%.60s'", dict);
    char *end;
    const char endian = *descr == '\'' ? descr[1] : '[';
    const char kind = endian && endian != '[' ? descr[2] : 0;
    errno = 0;
    const unsigned long size = kind && isdigit((unsigned char)descr[3]) ? strtoul(descr + 3, &end, 10) : 0;
    h->dtype = strchr("<>|=", endian) && endian ? dtype_of(kind, size) : GOPT_UNDEFINED;
    if (is_text(kind, size) && strchr("<>|=", endian))
        h->dtype = GOPT_STRING;
    if (h->dtype == GOPT_UNDEFINED)
        return tool_fail(t, GOPT_BAD_INPUT, path,
                         "convert it with array.astype(...); of Python's objects array.astype(str) makes strings",
                         "holds elements of %.*s, expected numbers, booleans or strings",
                         (int)strcspn(descr + 1, "'],") + 2, descr);
    h->item = kind == 'U' ? 4 * size : size;
    h->units = kind == 'U' ? 4 : 1;
    if (h->dtype == GOPT_STRING)
        h->swap = kind == 'U' && endian == '>' ? 4 : 0;
    else
        h->swap = endian == '>' ? (kind == 'c' ? size / 2 : size) : 0;
    if (h->swap == 1)
        h->swap = 0;
    h->fortran = !strncmp(order, "True", 4);
    for (const char *p = shape + 1; *p && *p != ')';) {
        const long long v = strtoll(p, &end, 10);
        if (end == p || v < 0 || errno || h->rank >= GOPT_MAX_RANK)
            return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "has the shape '%.40s', expected at most %d sizes", shape,
                             GOPT_MAX_RANK);
        h->dims[h->rank++] = v;
        p = end + strspn(end, "L, ");
    }
    return GOPT_OK;
}

static gopt_status parse_header(tool *t, const char *path, const uint8_t *p, size_t n, npy_header *h)
{
    *h = (npy_header){ 0 };
    if (n < 10 || memcmp(p, "\x93NUMPY", 6) != 0)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is no .npy file: it does not start with \\x93NUMPY");
    const int version = p[6];
    size_t length = (size_t)p[8] | (size_t)p[9] << 8, start = 10;
    if (version > 1) {
        if (n < 12)
            return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is cut off in its header");
        length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
        start = 12;
    }
    if (version < 1 || version > 3)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a .npy file of version %d, expected 1 to 3", version);
    if (length > n - start)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is cut off: its header says %zu bytes, %zu are left", length,
                         n - start);
    char *dict = strndup((const char *)p + start, length);
    if (!dict)
        return tool_no_memory(t);
    h->data = start + length;
    const gopt_status s = parse_dict(t, path, dict, h);
    free(dict);
    return s;
}

static void swap_bytes(uint8_t *p, size_t bytes, size_t unit)
{
    for (size_t i = 0; i + unit <= bytes; i += unit)
        for (size_t a = 0, b = unit - 1; a < b; a++, b--) {
            const uint8_t x = p[i + a];
            p[i + a] = p[i + b];
            p[i + b] = x;
        }
}

/* Column-major to row-major. */
static void reorder(const npy_header *h, const uint8_t *from, uint8_t *to, int64_t elements)
{
    int64_t index[GOPT_MAX_RANK] = { 0 }, stride[GOPT_MAX_RANK], at = 0;
    for (int i = 0; i < h->rank; i++)
        stride[i] = i ? stride[i - 1] * h->dims[i - 1] : 1;
    for (int64_t k = 0; k < elements; k++) {
        memcpy(to + (size_t)k * h->item, from + (size_t)at * h->item, h->item);
        for (int i = h->rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < h->dims[i])
                break;
            at -= stride[i] * h->dims[i];
            index[i] = 0;
        }
    }
}

static uint32_t u16_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32_at(const uint8_t *p)
{
    return u16_at(p) | u16_at(p + 2) << 16;
}

/* A code point as UTF-8; what is none becomes U+FFFD. */
static size_t encode_utf8(uint32_t c, char *p)
{
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    if (c < 0x80) {
        p[0] = (char)c;
        return 1;
    }
    const size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        p[i] = (char)(0x80 | (c & 0x3f));
    p[0] = (char)((0xf00u >> length & 0xff) | c);
    return length;
}

/* Elements in row-major order and this machine's order of bytes. */
static gopt_status decode_strings(tool *t, const npy_header *h, const uint8_t *p, gopt_tensor *x)
{
    const int64_t n = gopt_tensor_elements(x);
    char *text = malloc(h->item + 1);
    gopt_status s = text ? GOPT_OK : tool_no_memory(t);
    for (int64_t i = 0; i < n && s == GOPT_OK; i++, p += h->item) {
        size_t length = h->item, out = 0; /* without the zeros at its end */
        while (length && (h->units == 4 ? !u32_at(p + length - 4) : !p[length - 1]))
            length -= h->units;
        for (size_t k = 0; k < length; k += h->units)
            if (h->units == 4)
                out += encode_utf8(u32_at(p + k), text + out);
            else
                text[out++] = (char)p[k];
        s = gopt_tensor_set_string(x, i, text, out);
    }
    free(text);
    return s;
}

static gopt_status load_strings(tool *t, const npy_header *h, const uint8_t *p, size_t bytes, gopt_tensor *x)
{
    uint8_t *copy = malloc(bytes + 1);
    if (!copy)
        return tool_no_memory(t);
    if (h->fortran && h->rank > 1)
        reorder(h, p, copy, gopt_tensor_elements(x));
    else
        memcpy(copy, p, bytes);
    if (h->swap)
        swap_bytes(copy, bytes, h->swap);
    const gopt_status s = decode_strings(t, h, copy, x);
    free(copy);
    return s;
}

gopt_status npy_load(tool *t, const char *path, const uint8_t *p, size_t n, gopt_tensor **out)
{
    npy_header h;
    size_t bytes;
    TRY(parse_header(t, path, p, n, &h));
    bytes = h.item;
    bool overflow = false;
    for (int i = 0; i < h.rank; i++)
        overflow |= __builtin_mul_overflow(bytes, (size_t)h.dims[i], &bytes);
    if (overflow || bytes > n - h.data)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is cut off: its shape needs %s%zu bytes, %zu are there",
                         overflow ? "more than " : "", overflow ? SIZE_MAX : bytes, n - h.data);
    TRY(gopt_tensor_create(t->cx, h.dtype, h.rank, h.dims, out));
    gopt_tensor *x = *out;
    if (h.dtype == GOPT_STRING) {
        const gopt_status s = load_strings(t, &h, p + h.data, bytes, x);
        if (s != GOPT_OK) {
            gopt_tensor_unref(x);
            *out = NULL;
        }
        return s;
    }
    if (x->bytes != bytes) {
        gopt_tensor_unref(x);
        *out = NULL;
        return tool_fail(t, GOPT_INTERNAL, path, NULL, "needs %zu bytes, the tensor has %zu", bytes, x->bytes);
    }
    if (!bytes)
        return GOPT_OK;
    if (h.fortran && h.rank > 1)
        reorder(&h, p + h.data, x->data, gopt_tensor_elements(x));
    else
        memcpy(x->data, p + h.data, bytes);
    if (h.swap)
        swap_bytes(x->data, bytes, h.swap);
    if (h.dtype == GOPT_BOOL)
        for (size_t i = 0; i < bytes; i++)
            ((uint8_t *)x->data)[i] = ((uint8_t *)x->data)[i] != 0;
    return GOPT_OK;
}

/* ---- reading .npz ---- */

static uint64_t u64_at(const uint8_t *p)
{
    return (uint64_t)u32_at(p) | (uint64_t)u32_at(p + 4) << 32;
}

typedef struct zip_entry {
    const uint8_t *name;
    size_t name_length;
    uint32_t method;
    uint64_t packed, size, header;
} zip_entry;

/* Sizes of over 4 GB stand in the extra field, tag 1, in order, only those that do not fit. */
static bool read_zip64(const uint8_t *extra, size_t n, zip_entry *e)
{
    for (size_t at = 0; at + 4 <= n;) {
        const size_t length = u16_at(extra + at + 2);
        if (length > n - at - 4)
            return false;
        if (u16_at(extra + at) == 1) {
            const uint8_t *p = extra + at + 4, *end = p + length;
            uint64_t *const fields[] = { &e->size, &e->packed, &e->header };
            for (size_t i = 0; i < 3; i++)
                if (*fields[i] == UINT32_MAX) {
                    if (end - p < 8)
                        return false;
                    *fields[i] = u64_at(p);
                    p += 8;
                }
        }
        at += 4 + length;
    }
    return true;
}

/* The central directory entry at p; the bytes that it takes, 0 where it is damaged. */
static size_t read_entry(const uint8_t *p, size_t n, zip_entry *e)
{
    if (n < 46 || u32_at(p) != 0x02014b50)
        return 0;
    const size_t name = u16_at(p + 28), extra = u16_at(p + 30), comment = u16_at(p + 32);
    if (name + extra + comment > n - 46)
        return 0;
    *e = (zip_entry){ .name = p + 46,
                      .name_length = name,
                      .method = u16_at(p + 10),
                      .packed = u32_at(p + 20),
                      .size = u32_at(p + 24),
                      .header = u32_at(p + 42) };
    return read_zip64(p + 46 + name, extra, e) ? 46 + name + extra + comment : 0;
}

static gopt_status inflate_entry(tool *t, const char *path, const uint8_t *p, const zip_entry *e, gopt_tensor **out)
{
#ifdef GI_HAVE_ZLIB
    /* deflate makes at most 1032 bytes of one */
    if (e->packed > UINT_MAX || e->size > UINT_MAX || e->size / 1040 > e->packed + 16)
        return tool_fail(t, GOPT_BAD_INPUT, path, "save it with numpy.savez", "has a compressed array of %llu bytes",
                         (unsigned long long)e->size);
    uint8_t *buffer = malloc((size_t)e->size + 1);
    if (!buffer)
        return tool_no_memory(t);
    z_stream z = { 0 };
    z.avail_in = (uInt)e->packed;
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_out = (uInt)e->size;
    z.next_out = buffer;
    bool ok = inflateInit2(&z, -MAX_WBITS) == Z_OK;
    if (ok) {
        ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == e->size;
        inflateEnd(&z);
    }
    const gopt_status s = ok ? npy_load(t, path, buffer, (size_t)e->size, out)
                             : tool_fail(t, GOPT_BAD_INPUT, path, NULL, "has a damaged compressed array");
    free(buffer);
    return s;
#else
    (void)p;
    (void)e;
    (void)out;
    return tool_fail(t, GOPT_UNSUPPORTED, path,
                     "save it with numpy.savez, or build with zlib (apt-get install zlib1g-dev)",
                     "is compressed, and this build has no zlib");
#endif
}

static gopt_status load_entry(tool *t, const char *path, const uint8_t *p, size_t n, const zip_entry *e,
                              gopt_tensor **out)
{
    if (e->header > n || n - e->header < 30 || u32_at(p + e->header) != 0x04034b50)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a damaged .npz file");
    const uint64_t skip = 30 + (uint64_t)u16_at(p + e->header + 26) + u16_at(p + e->header + 28);
    if (skip > n - e->header || e->packed > n - e->header - skip)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is cut off");
    const uint8_t *data = p + e->header + skip;
    if (e->method == 0)
        return npy_load(t, path, data, (size_t)e->packed, out);
    if (e->method == 8)
        return inflate_entry(t, path, data, e, out);
    return tool_fail(t, GOPT_BAD_INPUT, path, "save it with numpy.savez", "is compressed by method %u", e->method);
}

static bool is_member(const zip_entry *e, const char *member)
{
    const size_t n = strlen(member);
    return (e->name_length == n || (e->name_length == n + 4 && !memcmp(e->name + n, ".npy", 4))) &&
           !memcmp(e->name, member, n);
}

gopt_status npz_load(tool *t, const char *path, const uint8_t *p, size_t n, const char *member, gopt_tensor **out)
{
    size_t end = n >= 22 ? n - 22 : 0;
    const size_t least = end > 65536 ? end - 65536 : 0;
    while (n >= 22 && end > least && u32_at(p + end) != 0x06054b50)
        end--;
    if (n < 22 || u32_at(p + end) != 0x06054b50)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is no .npz file, or is cut off");
    const size_t entries = u16_at(p + end + 10);
    size_t at = u32_at(p + end + 16), found = 0;
    if (at > end)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a damaged .npz file");
    zip_entry only = { 0 };
    char names[256] = "";
    for (size_t i = 0; i < entries; i++) {
        zip_entry e;
        const size_t size = read_entry(p + at, end - at, &e);
        if (!size)
            return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a damaged .npz file");
        at += size;
        if (is_member(&e, member))
            return load_entry(t, path, p, n, &e, out);
        only = e;
        const size_t len = strlen(names);
        snprintf(names + len, sizeof names - len, "%s%.*s", found++ ? ", " : "",
                 (int)(e.name_length > 60 ? 60 : e.name_length), (const char *)e.name);
    }
    if (found == 1)
        return load_entry(t, path, p, n, &only, out);
    return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "holds no array called '%s'; it has %s", member, names);
}

/* ---- writing .npy ---- */

typedef struct npy_type {
    const char *descr;
    gopt_dtype as; /* element type written: NumPy lacks the small ones */
} npy_type;

static npy_type npy_type_of(gopt_dtype d)
{
    switch (d) {
    case GOPT_F32:
        return (npy_type){ "<f4", d };
    case GOPT_F64:
        return (npy_type){ "<f8", d };
    case GOPT_F16:
        return (npy_type){ "<f2", d };
    case GOPT_U8:
        return (npy_type){ "|u1", d };
    case GOPT_I8:
        return (npy_type){ "|i1", d };
    case GOPT_U16:
        return (npy_type){ "<u2", d };
    case GOPT_I16:
        return (npy_type){ "<i2", d };
    case GOPT_U32:
        return (npy_type){ "<u4", d };
    case GOPT_I32:
        return (npy_type){ "<i4", d };
    case GOPT_U64:
        return (npy_type){ "<u8", d };
    case GOPT_I64:
        return (npy_type){ "<i8", d };
    case GOPT_BOOL:
        return (npy_type){ "|b1", d };
    case GOPT_C64:
        return (npy_type){ "<c8", d };
    case GOPT_C128:
        return (npy_type){ "<c16", d };
    case GOPT_U4:
    case GOPT_U2:
        return (npy_type){ "|u1", GOPT_U8 };
    case GOPT_I4:
    case GOPT_I2:
        return (npy_type){ "|i1", GOPT_I8 };
    default:
        return (npy_type){ "<f4", GOPT_F32 }; /* bfloat16 and smaller: every value is a float32 */
    }
}

/* One UTF-8 character to a code point; the bytes that it takes. Bytes that are none stand for themselves. */
static size_t decode_utf8(const uint8_t *p, size_t n, uint32_t *c)
{
    const size_t length = p[0] < 0x80 ? 1 : (p[0] >> 5) == 6 ? 2 : (p[0] >> 4) == 14 ? 3 : (p[0] >> 3) == 30 ? 4 : 0;
    *c = p[0];
    if (length < 2 || length > n)
        return 1;
    uint32_t v = p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        v = v << 6 | (p[i] & 0x3fu);
    }
    *c = v;
    return length;
}

static size_t characters(const gopt_string *s)
{
    size_t n = 0;
    uint32_t c;
    for (size_t i = 0; i < s->n; n++)
        i += decode_utf8((const uint8_t *)s->p + i, s->n - i, &c);
    return n;
}

static uint8_t *with_header(const gopt_tensor *x, const char *descr, size_t bytes, size_t *start, size_t *total)
{
    char dict[512];
    size_t n = (size_t)snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < x->rank; i++)
        n += (size_t)snprintf(dict + n, sizeof dict - n, "%lld%s", (long long)x->dims[i],
                              x->rank == 1 || i + 1 < x->rank ? "," : "");
    n += (size_t)snprintf(dict + n, sizeof dict - n, "), }");
    *start = (10 + n + 1 + 63) / 64 * 64;
    if (__builtin_add_overflow(*start, bytes, total))
        return NULL;
    uint8_t *p = calloc(1, *total);
    if (!p)
        return NULL;
    memcpy(p, "\x93NUMPY\x01", 8); /* version 1.0 */
    p[8] = (uint8_t)((*start - 10) & 255);
    p[9] = (uint8_t)((*start - 10) >> 8);
    memset(p + 10, ' ', *start - 11);
    memcpy(p + 10, dict, n);
    p[*start - 1] = '\n';
    return p;
}

static gopt_status save_strings(tool *t, const char *path, const gopt_tensor *x)
{
    const gopt_string *s = x->data;
    const size_t n = (size_t)gopt_tensor_elements(x);
    size_t longest = 1, start, total, bytes;
    for (size_t i = 0; i < n; i++) {
        const size_t k = characters(&s[i]);
        longest = k > longest ? k : longest;
    }
    char descr[32];
    snprintf(descr, sizeof descr, "<U%zu", longest);
    if (__builtin_mul_overflow(n, longest * 4, &bytes))
        return tool_no_memory(t);
    uint8_t *p = with_header(x, descr, bytes, &start, &total);
    if (!p)
        return tool_no_memory(t);
    for (size_t i = 0; i < n; i++) {
        uint8_t *to = p + start + i * longest * 4;
        for (size_t at = 0; at < s[i].n; to += 4) {
            uint32_t c;
            at += decode_utf8((const uint8_t *)s[i].p + at, s[i].n - at, &c);
            for (int k = 0; k < 4; k++)
                to[k] = (uint8_t)(c >> (8 * k));
        }
    }
    const gopt_status status = tool_write_file(t, path, p, total);
    free(p);
    return status;
}

gopt_status npy_save(tool *t, const char *path, const gopt_tensor *x)
{
    if (x->dtype == GOPT_STRING)
        return save_strings(t, path, x);
    const npy_type type = npy_type_of(x->dtype);
    const int64_t n = gopt_tensor_elements(x);
    size_t start, total;
    const size_t bytes = type.as == x->dtype ? x->bytes : (size_t)n * (size_t)gopt_dtype_bits(type.as) / 8;
    uint8_t *p = with_header(x, type.descr, bytes, &start, &total);
    if (!p)
        return tool_no_memory(t);
    if (type.as == x->dtype) {
        if (bytes)
            memcpy(p + start, x->data, bytes);
    } else {
        gopt_tensor to = { .dtype = type.as, .data = p + start };
        for (int64_t i = 0; i < n; i++)
            gopt_tensor_set_f64(&to, i, gopt_tensor_get_f64(x, i));
    }
    const gopt_status s = tool_write_file(t, path, p, total);
    free(p);
    return s;
}
