/* Arenas: chunks that double in size, freed all at once. */
#include <stdio.h>

#include "base/base.h"

typedef struct chunk {
    struct chunk *next;
    size_t size, used; /* of the bytes behind this header */
    size_t pad;        /* keeps the bytes 16-byte aligned */
} chunk;

struct gi_arena {
    gopt_ctx *cx;
    chunk *head;
};

enum { FIRST_CHUNK = 8 << 10, LAST_CHUNK = 1 << 20 };

gi_arena *gi_arena_create(gopt_ctx *cx)
{
    gi_arena *a = gi_alloc(cx, sizeof *a);
    if (a)
        a->cx = cx;
    return a;
}

void gi_arena_destroy(gi_arena *a)
{
    if (!a)
        return;
    for (chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        gi_free(a->cx, c);
    }
    gi_free(a->cx, a);
}

gopt_ctx *gi_arena_ctx(gi_arena *a)
{
    return a->cx;
}

void gi_arena_reset(gi_arena *a)
{
    if (!a->head)
        return;
    for (chunk *c = a->head->next, *next; c; c = next) {
        next = c->next;
        gi_free(a->cx, c);
    }
    a->head->next = NULL;
    a->head->used = 0;
}

static chunk *add_chunk(gi_arena *a, size_t n)
{
    size_t size = a->head ? 2 * a->head->size : FIRST_CHUNK;
    if (size > LAST_CHUNK)
        size = LAST_CHUNK;
    if (size < n)
        size = n;
    size_t whole;
    if (!gi_add_size(size, sizeof(chunk), &whole))
        return NULL;
    chunk *c = gi_realloc(a->cx, NULL, whole);
    if (!c)
        return NULL;
    *c = (chunk){ .next = a->head, .size = size };
    a->head = c;
    return c;
}

void *gi_arena_alloc(gi_arena *a, size_t n)
{
    if (n > SIZE_MAX - 15)
        return NULL;
    n = (n + 15) & ~(size_t)15;
    if (n == 0)
        n = 16;
    chunk *c = a->head;
    if (!c || c->size - c->used < n) {
        c = add_chunk(a, n);
        if (!c)
            return NULL;
    }
    char *p = (char *)(c + 1) + c->used;
    c->used += n;
    memset(p, 0, n);
    return p;
}

void *gi_arena_array(gi_arena *a, size_t n, size_t item)
{
    size_t bytes;
    return gi_mul_size(n, item, &bytes) ? gi_arena_alloc(a, bytes) : NULL;
}

char *gi_arena_strn(gi_arena *a, const char *s, size_t n)
{
    if (!s || n == SIZE_MAX)
        return NULL;
    char *p = gi_arena_alloc(a, n + 1);
    if (p)
        memcpy(p, s, n);
    return p;
}

char *gi_arena_str(gi_arena *a, const char *s)
{
    return s ? gi_arena_strn(a, s, strlen(s)) : NULL;
}

char *gi_arena_vprintf(gi_arena *a, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    char *p = n < 0 ? NULL : gi_arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

char *gi_arena_printf(gi_arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *p = gi_arena_vprintf(a, fmt, args);
    va_end(args);
    return p;
}

bool gi_vec_grow(gi_arena *a, void *p_field, size_t *cap, size_t n, size_t item)
{
    const size_t more = *cap ? 2 * *cap : 8;
    void *old, *p = gi_arena_array(a, more, item);
    if (!p)
        return false;
    memcpy(&old, p_field, sizeof old);
    if (n)
        memcpy(p, old, n * item);
    memcpy(p_field, &p, sizeof p);
    *cap = more;
    return true;
}
