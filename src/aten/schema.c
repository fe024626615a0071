/* Reads PyTorch's schemas. */
#include "aten/schema.h"

#include <ctype.h>
#include <stdlib.h>

typedef struct reader {
    gi_arena *arena;
    const char *p;
} reader;

static void skip(reader *r)
{
    while (*r->p == ' ')
        r->p++;
}

static bool take(reader *r, const char *text)
{
    skip(r);
    const size_t n = strlen(text);
    if (strncmp(r->p, text, n) != 0)
        return false;
    r->p += n;
    return true;
}

/* The text up to one of the characters in `ends`, outside of brackets and quotes. NULL where it is empty. */
static const char *until(reader *r, const char *ends)
{
    skip(r);
    const char *start = r->p;
    int depth = 0;
    bool quoted = false;
    for (; *r->p && (quoted || depth || !strchr(ends, *r->p)); r->p++) {
        quoted ^= *r->p == '\'';
        depth += quoted ? 0 : (*r->p == '[' || *r->p == '(') - (*r->p == ']' || *r->p == ')');
    }
    const char *end = r->p;
    while (end > start && end[-1] == ' ')
        end--;
    return end > start ? gi_arena_strn(r->arena, start, (size_t)(end - start)) : NULL;
}

static const struct {
    const char *name;
    gi_aten_kind one, list;
} kinds[] = {
    { "Tensor", GI_ATEN_TENSOR, GI_ATEN_TENSORS }, { "int", GI_ATEN_INT, GI_ATEN_INTS },
    { "SymInt", GI_ATEN_INT, GI_ATEN_INTS },       { "float", GI_ATEN_FLOAT, GI_ATEN_FLOATS },
    { "bool", GI_ATEN_BOOL, GI_ATEN_BOOLS },       { "Scalar", GI_ATEN_SCALAR, GI_ATEN_OTHER },
    { "str", GI_ATEN_STR, GI_ATEN_OTHER },         { "ScalarType", GI_ATEN_DTYPE, GI_ATEN_OTHER },
};

/* "int[2]?", "Tensor", "ScalarType?" */
static void read_type(const char *text, gi_aten_param *p)
{
    const size_t n = strcspn(text, "[?(");
    const char *bracket = strchr(text, '[');
    p->kind = GI_ATEN_OTHER;
    p->optional = text[strlen(text) - 1] == '?';
    for (size_t i = 0; i < GI_COUNT(kinds); i++)
        if (strlen(kinds[i].name) == n && !strncmp(kinds[i].name, text, n))
            p->kind = bracket ? kinds[i].list : kinds[i].one;
    p->length = bracket ? atoi(bracket + 1) : 0;
}

/* "int[2] stride=1": the name is the last word before a default. */
static bool read_param(reader *r, gi_aten_param *p)
{
    const char *text = until(r, ",)=");
    const char *space = text ? strrchr(text, ' ') : NULL;
    if (!space)
        return false;
    p->name = space + 1;
    const char *type = gi_arena_strn(r->arena, text, (size_t)(space - text));
    if (!type)
        return false;
    read_type(type, p);
    if (take(r, "="))
        p->given = until(r, ",)");
    return !p->given || p->given[0];
}

static uint32_t count_results(const char *text)
{
    if (!text || !strcmp(text, "()"))
        return 0;
    uint32_t n = 1;
    const char *list = strchr(text, '[');
    if (text[0] != '(')
        return list ? 0 : 1;
    for (const char *p = text; *p; p++)
        n += *p == ',';
    return n;
}

static bool read_overload(reader *r, gi_aten_schema *s)
{
    skip(r);
    s->overload = "";
    if (*r->p != '(') {
        s->overload = until(r, ":");
        if (!s->overload || !take(r, ":"))
            return false;
    }
    if (!take(r, "("))
        return false;
    while (!take(r, ")")) {
        if (s->n_params && !take(r, ","))
            return false;
        take(r, "*,"); /* what follows is given by name in Python; here all come by position */
        if (s->n_params == GI_ATEN_MAX_PARAMS || !read_param(r, &s->params[s->n_params++]))
            return false;
    }
    if (!take(r, "->"))
        return false;
    s->n_results = count_results(until(r, ";"));
    return true;
}

bool gi_aten_read_schemas(gi_arena *a, const char *text, uint32_t cap, gi_aten_schema *out, uint32_t *n)
{
    reader r = { .arena = a, .p = text };
    *n = 0;
    do {
        if (*n == cap)
            return false;
        out[*n] = (gi_aten_schema){ 0 };
        if (!read_overload(&r, &out[*n]))
            return false;
        ++*n;
    } while (take(&r, ";"));
    return !*r.p;
}
