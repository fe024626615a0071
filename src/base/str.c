/* Growing strings. */
#include <stdio.h>

#include "base/base.h"

void gi_str_init(gi_str *s, gi_arena *a)
{
    *s = (gi_str){ .arena = a };
}

/* Makes room for n more bytes and a terminator. */
static bool room(gi_str *s, size_t n)
{
    if (s->failed)
        return false;
    if (n < s->cap - s->n)
        return true;
    size_t cap = s->cap ? s->cap : 64;
    while (cap - s->n <= n) {
        if (cap > SIZE_MAX / 2) {
            s->failed = true;
            return false;
        }
        cap *= 2;
    }
    char *p = gi_arena_alloc(s->arena, cap);
    if (!p) {
        s->failed = true;
        return false;
    }
    if (s->n)
        memcpy(p, s->p, s->n);
    s->p = p;
    s->cap = cap;
    return true;
}

void gi_str_addn(gi_str *s, const char *text, size_t n)
{
    if (!room(s, n))
        return;
    memcpy(s->p + s->n, text, n);
    s->n += n;
    s->p[s->n] = 0;
}

void gi_str_add(gi_str *s, const char *text)
{
    gi_str_addn(s, text, strlen(text));
}

void gi_str_addf(gi_str *s, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0 && room(s, (size_t)n)) {
        vsnprintf(s->p + s->n, (size_t)n + 1, fmt, again);
        s->n += (size_t)n;
    }
    va_end(again);
}

void gi_str_add_quoted(gi_str *s, const char *text)
{
    gi_str_add(s, "\"");
    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            gi_str_addf(s, "\\%c", c);
        else if (c == '\n')
            gi_str_add(s, "\\n");
        else if (c == '\t')
            gi_str_add(s, "\\t");
        else if (c < 0x20 || c == 0x7f)
            gi_str_addf(s, "\\x%02x", c);
        else
            gi_str_addn(s, p, 1);
    }
    gi_str_add(s, "\"");
}
