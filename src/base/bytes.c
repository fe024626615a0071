/* Numbers and texts in bytes (bytes.h). */
#include "base/bytes.h"

static void put(gi_str *s, uint64_t x, size_t n)
{
    char b[8];
    for (size_t i = 0; i < n; i++, x >>= 8)
        b[i] = (char)(x & 255);
    gi_str_addn(s, b, n);
}

void gi_put_u32(gi_str *s, uint32_t x)
{
    put(s, x, 4);
}

void gi_put_u64(gi_str *s, uint64_t x)
{
    put(s, x, 8);
}

void gi_put_bytes(gi_str *s, const void *p, size_t n)
{
    gi_put_u64(s, n);
    gi_str_addn(s, p, n);
}

void gi_put_text(gi_str *s, const char *text)
{
    gi_put_bytes(s, text ? text : "", text ? strlen(text) : 0);
}

static uint64_t get(gi_bytes *b, size_t n)
{
    uint64_t x = 0;
    if (b->bad || (size_t)(b->end - b->p) < n) {
        b->bad = true;
        return 0;
    }
    for (size_t i = n; i > 0; i--)
        x = x << 8 | b->p[i - 1];
    b->p += n;
    return x;
}

uint32_t gi_get_u32(gi_bytes *b)
{
    return (uint32_t)get(b, 4);
}

uint64_t gi_get_u64(gi_bytes *b)
{
    return get(b, 8);
}

const uint8_t *gi_get_bytes(gi_bytes *b, size_t *n)
{
    const uint64_t size = get(b, 8);
    *n = 0;
    if (b->bad || size > (uint64_t)(b->end - b->p)) {
        b->bad = true;
        return b->end;
    }
    const uint8_t *p = b->p;
    *n = (size_t)size;
    b->p += size;
    return p;
}

const char *gi_get_text(gi_bytes *b, gi_arena *a)
{
    size_t n;
    const uint8_t *p = gi_get_bytes(b, &n);
    const char *s = gi_arena_strn(a, (const char *)p, n);
    b->bad |= !s;
    return s ? s : "";
}

size_t gi_get_count(gi_bytes *b, size_t least)
{
    const uint64_t n = get(b, 8);
    if (b->bad || n > (uint64_t)(b->end - b->p) / least) {
        b->bad = true;
        return 0;
    }
    return (size_t)n;
}
