/* Damage to files: bytes, protobuf fields, words of text. */
#include "mutate.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t rng_next(rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t rng_below(rng *r, size_t n)
{
    return n ? (size_t)(rng_next(r) % n) : 0;
}

static void *need(void *p)
{
    if (!p) {
        perror("fuzz");
        exit(1);
    }
    return p;
}

void buffer_replace(buffer *b, size_t at, size_t end, const void *p, size_t n)
{
    uint8_t *to = need(malloc(b->n - (end - at) + n + 1));
    memcpy(to, b->p, at);
    if (n)
        memcpy(to + at, p, n);
    memcpy(to + at + n, b->p + end, b->n - end);
    free(b->p);
    b->p = to;
    b->n = b->n - (end - at) + n;
}

/* Values at which size computations and indices go wrong. */
static const int64_t borders[] = {
    0,
    1,
    -1,
    2,
    -2,
    3,
    7,
    64,
    127,
    128,
    255,
    256,
    65535,
    65536,
    1000003,
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    1ll << 32,
    1ll << 40,
    1ll << 62,
    -(1ll << 62),
    INT64_MAX - 1,
    4611686018427387905,
    16,
    17,
    24,
    5,
    11,
};
enum { N_BORDERS = sizeof borders / sizeof *borders };

/* ---- bytes ---- */

static void damage(buffer *b, rng *r)
{
    if (!b->n)
        return;
    const size_t at = rng_below(r, b->n), room = b->n - at;
    const size_t n = 1 + rng_below(r, room < 64 ? room : 64);
    uint8_t copy[64];
    memcpy(copy, b->p + at, n <= room ? n : room);
    switch (rng_below(r, 8)) {
    case 0:
    case 1:
        b->p[at] ^= (uint8_t)(1u << rng_below(r, 8));
        break;
    case 2:
        b->p[at] = (uint8_t)rng_next(r);
        break;
    case 3:
        b->p[at] = (const uint8_t[]){ 0, 0xff, 0x7f, 0x80 }[rng_below(r, 4)];
        break;
    case 4:
        buffer_replace(b, at, at + (n <= room ? n : room), NULL, 0);
        break;
    case 5:
        buffer_replace(b, at, at, copy, n <= room ? n : room);
        break;
    case 6: {
        const size_t to = rng_below(r, b->n);
        for (size_t i = 0; i < n && i < room && to + i < b->n; i++)
            b->p[to + i] = copy[i];
        break;
    }
    default:
        if (!rng_below(r, 4))
            b->n = at;
        break;
    }
}

void mutate_bytes(buffer *b, rng *r)
{
    for (size_t i = 1 + rng_below(r, 4); i > 0; i--)
        damage(b, r);
}

/* ---- protobuf ---- */

typedef struct field {
    size_t start, body, end; /* its key, what follows key and length, its end */
    size_t parent;           /* index; SIZE_MAX at the top */
    int wire;
} field;

typedef struct fields {
    field *p;
    size_t n, cap;
} fields;

static bool read_varint(const buffer *b, size_t *at, size_t end, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        const uint8_t c = b->p[(*at)++];
        *v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return true;
    }
    return false;
}

static size_t write_varint(uint8_t *to, uint64_t v)
{
    size_t n = 0;
    for (; v > 0x7f; v >>= 7)
        to[n++] = (uint8_t)(v | 0x80);
    to[n++] = (uint8_t)v;
    return n;
}

/* Lists the fields in [at, end) and below; false where the bytes are no message. What was added stays. */
static bool scan(const buffer *b, size_t at, size_t end, size_t parent, int depth, fields *f)
{
    while (at < end) {
        field x = { .start = at, .parent = parent };
        uint64_t key, v = 0;
        if (!read_varint(b, &at, end, &key) || key >> 3 == 0 || key >> 3 > 40)
            return false;
        x.wire = (int)(key & 7);
        x.body = at;
        if (x.wire == 0 || x.wire == 2) {
            if (!read_varint(b, &at, end, &v))
                return false;
        } else if (x.wire == 1 || x.wire == 5) {
            v = x.wire == 1 ? 8 : 4;
        } else {
            return false;
        }
        if (x.wire != 0) {
            if (v > end - at)
                return false;
            x.body = at;
            at += (size_t)v;
        }
        x.end = at;
        if (f->n == f->cap)
            f->p = need(realloc(f->p, (f->cap = 2 * f->cap + 64) * sizeof *f->p));
        const size_t self = f->n;
        f->p[f->n++] = x;
        if (x.wire == 2 && depth < 16 && !scan(b, x.body, x.end, self, depth + 1, f))
            f->n = self + 1; /* text, numbers or a payload */
    }
    return true;
}

/* Replaces [at, end), which lies in the message `parent`, and sets the lengths of all messages around. */
static void replace_in(buffer *b, const fields *f, size_t parent, size_t at, size_t end, const void *p, size_t n)
{
    buffer_replace(b, at, end, p, n);
    ptrdiff_t grown = (ptrdiff_t)n - (ptrdiff_t)(end - at);
    for (size_t i = parent; i != SIZE_MAX; i = f->p[i].parent) {
        const field *m = &f->p[i];
        uint8_t length[10];
        size_t head = m->start;
        uint64_t key;
        read_varint(b, &head, b->n, &key);
        const size_t k = write_varint(length, (uint64_t)((ptrdiff_t)(m->end - m->body) + grown));
        grown += (ptrdiff_t)k - (ptrdiff_t)(m->body - head);
        buffer_replace(b, head, m->body, length, k);
    }
}

/* A field of the same kind of wire, often out of the same message: names of operators, tensors, shapes. */
static const field *another(const fields *f, const field *x, rng *r)
{
    const field *found = x;
    for (int tries = 0; tries < 200; tries++) {
        found = &f->p[rng_below(r, f->n)];
        if (found->wire == x->wire && found->end - found->body < 4096 && found != x)
            break;
    }
    return found;
}

static void change_field(buffer *b, const fields *f, const field *x, rng *r)
{
    uint8_t bytes[80];
    if (x->wire == 0) {
        const size_t n = write_varint(bytes, (uint64_t)borders[rng_below(r, N_BORDERS)]);
        replace_in(b, f, x->parent, x->body, x->end, bytes, n);
    } else if (x->wire == 1 || x->wire == 5) {
        b->p[x->body + rng_below(r, x->end - x->body)] ^= (uint8_t)(1u << rng_below(r, 8));
    } else {
        /* The body becomes borders as packed varints or as raw integers, or nothing. */
        size_t n = 0;
        const size_t count = rng_below(r, 5);
        const bool raw = rng_below(r, 2);
        for (size_t i = 0; i < count; i++) {
            const int64_t v = borders[rng_below(r, N_BORDERS)];
            if (raw)
                memcpy(bytes + n, &v, 8);
            n += raw ? 8 : write_varint(bytes + n, (uint64_t)v);
        }
        const size_t self = (size_t)(x - f->p);
        replace_in(b, f, self, x->body, x->end, bytes, n);
    }
}

static void mutate_field(buffer *b, rng *r)
{
    fields f = { 0 };
    scan(b, 0, b->n, SIZE_MAX, 0, &f);
    if (!f.n) {
        free(f.p);
        damage(b, r);
        return;
    }
    const field *x = &f.p[rng_below(r, f.n)];
    const field *y = another(&f, x, r);
    const size_t size = x->end - x->start, ysize = y->end - y->start;
    uint8_t *copy = need(malloc((size > ysize ? size : ysize) + 1));
    switch (rng_below(r, 8)) {
    case 0: /* dropped */
        replace_in(b, &f, x->parent, x->start, x->end, NULL, 0);
        break;
    case 1: /* doubled */
        memcpy(copy, b->p + x->start, size);
        replace_in(b, &f, x->parent, x->start, x->start, copy, size);
        break;
    case 2: /* another's body, its own key */
    case 3:
        memcpy(copy, b->p + y->body, y->end - y->body);
        if (x->wire == 2)
            replace_in(b, &f, (size_t)(x - f.p), x->body, x->end, copy, y->end - y->body);
        else
            replace_in(b, &f, x->parent, x->body, x->end, copy, y->end - y->body);
        break;
    case 4: /* another one beside it */
        memcpy(copy, b->p + y->start, ysize);
        replace_in(b, &f, x->parent, x->end, x->end, copy, ysize);
        break;
    case 5: { /* another key */
        const uint8_t key = (uint8_t)((1 + rng_below(r, 15)) << 3 | (size_t)x->wire);
        size_t head = x->start;
        uint64_t old;
        read_varint(b, &head, b->n, &old);
        replace_in(b, &f, x->parent, x->start, head, &key, 1);
        break;
    }
    default:
        change_field(b, &f, x, r);
        break;
    }
    free(copy);
    free(f.p);
}

void mutate_protobuf(buffer *b, rng *r)
{
    for (size_t i = 1 + rng_below(r, 3); i > 0; i--)
        mutate_field(b, r);
}

/* ---- text ---- */

static bool is_word(uint8_t c)
{
    return isalnum(c) || c == '_' || c == '.' || c == '-';
}

/* The word at or after a place. */
static void word_at(const buffer *b, size_t at, size_t *start, size_t *end)
{
    while (at < b->n && !is_word(b->p[at]))
        at++;
    *start = at;
    while (*start > 0 && is_word(b->p[*start - 1]))
        --*start;
    while (at < b->n && is_word(b->p[at]))
        at++;
    *end = at;
}

static void line_at(const buffer *b, size_t at, size_t *start, size_t *end)
{
    *start = *end = at;
    while (*start > 0 && b->p[*start - 1] != '\n')
        --*start;
    while (*end < b->n && b->p[*end] != '\n')
        ++*end;
    *end += *end < b->n;
}

void mutate_text(buffer *b, rng *r)
{
    if (!b->n)
        return;
    size_t s, e, s2, e2;
    char number[32];
    const size_t how = rng_below(r, 8);
    if (how < 6) {
        word_at(b, rng_below(r, b->n), &s, &e);
        word_at(b, rng_below(r, b->n), &s2, &e2);
    } else {
        line_at(b, rng_below(r, b->n), &s, &e);
        line_at(b, rng_below(r, b->n), &s2, &e2);
    }
    const size_t n = e2 - s2;
    uint8_t *copy = need(malloc(n + 1));
    memcpy(copy, b->p + s2, n);
    if (how == 0) {
        buffer_replace(b, s, e, NULL, 0);
    } else if (how < 3 || (how < 5 && s < e && isdigit(b->p[s]))) {
        const int k = snprintf(number, sizeof number, "%" PRId64, borders[rng_below(r, N_BORDERS)]);
        buffer_replace(b, s, e, number, (size_t)k);
    } else if (how < 6) {
        buffer_replace(b, s, e, copy, n);
    } else if (how == 6) {
        buffer_replace(b, s, rng_below(r, 2) ? e : s, copy, n);
    } else {
        damage(b, r);
    }
    free(copy);
}
