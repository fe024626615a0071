/* Builds protobuf messages byte by byte, so that tests of reading do not lean on what they test. */
#ifndef UNIT_ONNX_BYTES_H
#define UNIT_ONNX_BYTES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bytes {
    uint8_t *p;
    size_t n, cap;
} bytes;

static inline void put(bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = 2 * (b->n + n) + 64;
        b->p = realloc(b->p, b->cap);
        if (!b->p)
            abort();
    }
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void varint(bytes *b, uint64_t v)
{
    do {
        const uint8_t c = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        put(b, &c, 1);
        v >>= 7;
    } while (v);
}

static inline void num(bytes *b, int field, int64_t v)
{
    varint(b, (uint64_t)field << 3);
    varint(b, (uint64_t)v);
}

static inline void str(bytes *b, int field, const char *s)
{
    varint(b, (uint64_t)field << 3 | 2);
    varint(b, strlen(s));
    put(b, s, strlen(s));
}

/* A submessage, which is freed. */
static inline void sub(bytes *b, int field, bytes m)
{
    varint(b, (uint64_t)field << 3 | 2);
    varint(b, m.n);
    put(b, m.p, m.n);
    free(m.p);
}

/* inputs and outputs are lists between spaces: "a b"; "-" is an absent one. */
static inline void words(bytes *b, int field, const char *list)
{
    for (const char *s = list; *s;) {
        const size_t n = strcspn(s, " ");
        char word[64] = "";
        if (n != 1 || *s != '-')
            memcpy(word, s, n < 63 ? n : 63);
        str(b, field, word);
        s += n;
        s += *s == ' ';
    }
}

static inline bytes node(const char *op, const char *in, const char *out, const char *name)
{
    bytes b = { 0 };
    words(&b, 1, in);
    words(&b, 2, out);
    str(&b, 3, name);
    str(&b, 4, op);
    return b;
}

static inline bytes attr_int(const char *name, int64_t v)
{
    bytes b = { 0 };
    str(&b, 1, name);
    num(&b, 3, v);
    num(&b, 20, 2);
    return b;
}

static inline bytes attr_ints(const char *name, size_t n, const int64_t *v)
{
    bytes b = { 0 };
    str(&b, 1, name);
    for (size_t i = 0; i < n; i++)
        num(&b, 8, v[i]);
    num(&b, 20, 7);
    return b;
}

/* f32 of the dims, the last of which may be a symbol. */
static inline bytes value(const char *name, int rank, const int64_t *dims, const char *symbol)
{
    bytes shape = { 0 }, tensor = { 0 }, type = { 0 }, v = { 0 };
    for (int i = 0; i < rank; i++) {
        bytes d = { 0 };
        if (symbol && i == rank - 1)
            str(&d, 2, symbol);
        else
            num(&d, 1, dims[i]);
        sub(&shape, 1, d);
    }
    num(&tensor, 1, 1);
    sub(&tensor, 2, shape);
    sub(&type, 1, tensor);
    str(&v, 1, name);
    sub(&v, 2, type);
    return v;
}

static inline bytes f32_initializer(const char *name, int rank, const int64_t *dims, size_t n, const float *v)
{
    bytes t = { 0 };
    for (int i = 0; i < rank; i++)
        num(&t, 1, dims[i]);
    num(&t, 2, 1);
    str(&t, 8, name);
    varint(&t, 9 << 3 | 2);
    varint(&t, n * 4);
    put(&t, v, n * 4);
    return t;
}

/* A model around a graph, which is freed. */
/* A TensorProto of rank 1. */
static inline bytes i64_initializer(const char *name, int64_t n, const int64_t *v)
{
    bytes t = { 0 };
    num(&t, 1, n);
    num(&t, 2, 7);
    str(&t, 8, name);
    varint(&t, 9 << 3 | 2);
    varint(&t, (uint64_t)n * 8);
    put(&t, v, (size_t)n * 8);
    return t;
}

static inline bytes model(bytes graph, int ir, int opset)
{
    bytes m = { 0 }, o = { 0 };
    num(&m, 1, ir);
    str(&o, 1, "");
    num(&o, 2, opset);
    sub(&m, 8, o);
    str(&graph, 2, "test");
    sub(&m, 7, graph);
    return m;
}

static inline void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
        abort();
}

#endif
