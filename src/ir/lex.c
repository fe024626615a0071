/* The words of the text form. */
#include "ir/lex.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

bool gi_lex_fail(gi_lex *l, const char *fmt, ...)
{
    if (l->status != GOPT_OK)
        return false;
    int line = 1;
    for (const char *c = l->start; c < l->p && c < l->end; c++)
        line += *c == '\n';
    va_list args;
    va_start(args, fmt);
    const char *what = gi_arena_vprintf(l->scratch, fmt, args);
    va_end(args);
    l->status = gi_fail(l->cx, GOPT_BAD_INPUT, &(gi_place){ .file = l->file }, NULL, "line %d: %s", line,
                        what ? what : "out of memory");
    return false;
}

bool gi_lex_no_memory(gi_lex *l)
{
    if (l->status == GOPT_OK)
        l->status = GOPT_NO_MEMORY;
    return false;
}

void gi_lex_skip(gi_lex *l)
{
    while (l->p < l->end) {
        if (isspace((unsigned char)*l->p))
            l->p++;
        else if (*l->p == ';')
            while (l->p < l->end && *l->p != '\n')
                l->p++;
        else
            break;
    }
}

bool gi_lex_peek(gi_lex *l, char c)
{
    gi_lex_skip(l);
    return l->p < l->end && *l->p == c;
}

bool gi_lex_take(gi_lex *l, char c)
{
    if (!gi_lex_peek(l, c))
        return false;
    l->p++;
    return true;
}

bool gi_lex_expect(gi_lex *l, char c)
{
    if (gi_lex_take(l, c))
        return true;
    if (l->p >= l->end)
        return gi_lex_fail(l, "the text ends, expected '%c'", c);
    return gi_lex_fail(l, "found '%c', expected '%c'", *l->p, c);
}

const char *gi_lex_word(gi_lex *l)
{
    gi_lex_skip(l);
    const char *from = l->p;
    while (l->p < l->end && gi_lex_is_word(*l->p))
        l->p++;
    return l->p == from ? NULL : gi_arena_strn(l->scratch, from, (size_t)(l->p - from));
}

bool gi_lex_take_word(gi_lex *l, const char *w)
{
    gi_lex_skip(l);
    const size_t n = strlen(w);
    if ((size_t)(l->end - l->p) < n || memcmp(l->p, w, n) != 0 || (l->p + n < l->end && gi_lex_is_word(l->p[n])))
        return false;
    l->p += n;
    return true;
}

bool gi_lex_quoted(gi_lex *l, const char **out, size_t *n)
{
    if (!gi_lex_expect(l, '"'))
        return false;
    gi_str s;
    gi_str_init(&s, l->arena);
    gi_str_addn(&s, "", 0);
    for (; l->p < l->end && *l->p != '"'; l->p++) {
        if (*l->p != '\\') {
            gi_str_addn(&s, l->p, 1);
            continue;
        }
        if (++l->p >= l->end)
            break;
        char c = *l->p;
        if (c == 'n')
            c = '\n';
        else if (c == 't')
            c = '\t';
        else if (c == 'x' && l->end - l->p > 2 && gi_lex_hex_digit(l->p[1]) >= 0 && gi_lex_hex_digit(l->p[2]) >= 0) {
            c = (char)(gi_lex_hex_digit(l->p[1]) << 4 | gi_lex_hex_digit(l->p[2]));
            l->p += 2;
        }
        gi_str_addn(&s, &c, 1);
    }
    if (l->p >= l->end)
        return gi_lex_fail(l, "a string without its closing quote");
    l->p++;
    if (s.failed || !s.p)
        return gi_lex_no_memory(l);
    *out = s.p;
    if (n)
        *n = s.n;
    return true;
}

bool gi_lex_name(gi_lex *l, const char **out)
{
    if (gi_lex_peek(l, '"'))
        return gi_lex_quoted(l, out, NULL);
    const char *w = gi_lex_word(l);
    if (!w)
        return gi_lex_fail(l, "expected a name");
    *out = gi_arena_str(l->arena, w);
    return *out ? true : gi_lex_no_memory(l);
}

bool gi_lex_integer(gi_lex *l, int64_t *v)
{
    gi_lex_skip(l);
    char *end;
    errno = 0;
    *v = strtoll(l->p, &end, 10);
    if (end == l->p || end > l->end)
        return gi_lex_fail(l, "expected an integer");
    if (errno == ERANGE) { /* u64 beyond i64 wraps to the same bits */
        errno = 0;
        *v = (int64_t)strtoull(l->p, &end, 10);
        if (errno == ERANGE)
            return gi_lex_fail(l, "an integer of more than 64 bits");
    }
    l->p = end;
    return true;
}

bool gi_lex_number(gi_lex *l, double *v)
{
    gi_lex_skip(l);
    char *end;
    *v = strtod(l->p, &end);
    if (end == l->p || end > l->end)
        return gi_lex_fail(l, "expected a number");
    l->p = end;
    return true;
}

bool gi_lex_looks_float(gi_lex *l)
{
    gi_lex_skip(l);
    const char *c = l->p;
    if (c < l->end && *c == '-')
        c++;
    if (c < l->end && (*c == 'i' || *c == 'n'))
        return (l->end - c >= 3) && (!memcmp(c, "inf", 3) || !memcmp(c, "nan", 3));
    for (; c < l->end && (isdigit((unsigned char)*c) || *c == '.' || *c == 'e'); c++)
        if (*c == '.' || *c == 'e')
            return true;
    return false;
}
