/* Dimensions as text: printing without spaces, and parsing back to the same pointer. */
#include <ctype.h>
#include <stdlib.h>

#include "ir/dim_form.h"

static bool is_identifier(const char *s)
{
    if (*s == '?')
        s++;
    else if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && *s != '.')
            return false;
    return true;
}

/* As a factor or divisor: sums and divisions in parentheses. */
static void print_tight(gi_str *s, const gi_dim *d)
{
    const bool wrap = d->kind == FLOORDIV || (d->kind == SUM && d->n > 0) || (d->kind == SUM && d->c < 0);
    if (wrap)
        gi_str_add(s, "(");
    gi_dim_print(s, d);
    if (wrap)
        gi_str_add(s, ")");
}

static void print_symbol(gi_str *s, const char *name)
{
    if (is_identifier(name) && strcmp(name, "min") != 0 && strcmp(name, "max") != 0) {
        gi_str_add(s, name);
        return;
    }
    gi_str_add(s, "`");
    for (const char *p = name; *p; p++)
        if (*p == '`' || *p == '\\' || (unsigned char)*p < 0x20)
            gi_str_addf(s, "\\x%02x", (unsigned char)*p);
        else
            gi_str_addn(s, p, 1);
    gi_str_add(s, "`");
}

static void print_sum(gi_str *s, const gi_dim *d)
{
    for (uint32_t i = 0; i < d->n; i++) {
        const term *x = &d->t[i];
        if (i && x->coef > 0)
            gi_str_add(s, "+");
        if (x->coef == -1)
            gi_str_add(s, "-");
        else if (x->coef != 1)
            gi_str_addf(s, "%lld*", (long long)x->coef);
        for (uint32_t k = 0; k < x->n; k++) {
            if (k)
                gi_str_add(s, "*");
            if (x->n == 1 && x->coef == 1 && i == 0 && x->f[k]->kind == FLOORDIV)
                gi_dim_print(s, x->f[k]);
            else
                print_tight(s, x->f[k]);
        }
    }
    if (d->n == 0 || d->c != 0)
        gi_str_addf(s, d->n && d->c > 0 ? "+%lld" : "%lld", (long long)d->c);
}

void gi_dim_print(gi_str *s, const gi_dim *d)
{
    switch (d->kind) {
    case SYMBOL:
        print_symbol(s, d->name);
        break;
    case SUM:
        print_sum(s, d);
        break;
    case FLOORDIV:
        print_tight(s, d->a);
        gi_str_add(s, "/");
        print_tight(s, d->b);
        break;
    case MIN:
    case MAX:
        gi_str_add(s, d->kind == MIN ? "min(" : "max(");
        gi_dim_print(s, d->a);
        gi_str_add(s, ",");
        gi_dim_print(s, d->b);
        gi_str_add(s, ")");
        break;
    }
}

typedef struct parser {
    gi_dims *t;
    const char *p;
    int depth;
} parser;

static const gi_dim *parse_sum(parser *x);

static const gi_dim *parse_name(parser *x)
{
    char name[256];
    size_t n = 0;
    const bool quoted = *x->p == '`';
    if (quoted)
        x->p++;
    for (;; x->p++) {
        char c = *x->p;
        if (quoted ? (c == '`' || !c) : !(isalnum((unsigned char)c) || c == '_' || c == '.' || (n == 0 && c == '?')))
            break;
        if (quoted && c == '\\' && x->p[1] == 'x' && isxdigit((unsigned char)x->p[2]) &&
            isxdigit((unsigned char)x->p[3])) {
            const char hex[3] = { x->p[2], x->p[3], 0 };
            c = (char)strtol(hex, NULL, 16);
            x->p += 3;
        }
        if (n + 1 >= sizeof name)
            return NULL;
        name[n++] = c;
    }
    name[n] = 0;
    if (quoted && *x->p++ != '`')
        return NULL;
    if (n == 0)
        return NULL;
    const bool is_min = !strcmp(name, "min");
    if (!quoted && (is_min || !strcmp(name, "max"))) {
        if (*x->p++ != '(')
            return NULL;
        const gi_dim *a = parse_sum(x);
        if (!a || *x->p++ != ',')
            return NULL;
        const gi_dim *b = parse_sum(x);
        if (!b || *x->p++ != ')')
            return NULL;
        return is_min ? gi_dim_min(x->t, a, b) : gi_dim_max(x->t, a, b);
    }
    return gi_dim_sym(x->t, name, true);
}

static const gi_dim *parse_number(parser *x, int sign)
{
    int64_t v = 0;
    for (; isdigit((unsigned char)*x->p); x->p++)
        if (!gi_mul_i64(v, 10, &v) || !gi_add_i64(v, sign * (*x->p - '0'), &v))
            return NULL;
    return gi_dim_const(x->t, v);
}

static const gi_dim *parse_factor(parser *x)
{
    if (*x->p == '-') {
        x->p++;
        if (*x->p == '-')
            return NULL;
        if (isdigit((unsigned char)*x->p))
            return parse_number(x, -1);
        return gi_dim_mul(x->t, gi_dim_const(x->t, -1), parse_factor(x));
    }
    if (*x->p == '(') {
        x->p++;
        const gi_dim *d = parse_sum(x);
        return d && *x->p++ == ')' ? d : NULL;
    }
    if (isdigit((unsigned char)*x->p))
        return parse_number(x, 1);
    return parse_name(x);
}

static const gi_dim *parse_product(parser *x)
{
    const gi_dim *d = parse_factor(x);
    while (d && (*x->p == '*' || *x->p == '/')) {
        const bool times = *x->p++ == '*';
        const gi_dim *f = parse_factor(x);
        d = !f ? NULL : times ? gi_dim_mul(x->t, d, f) : gi_dim_floordiv(x->t, d, f);
    }
    return d;
}

static const gi_dim *parse_sum(parser *x)
{
    if (++x->depth > 2 * GI_DIM_MAX_DEPTH)
        return NULL;
    const gi_dim *d = parse_product(x);
    while (d && (*x->p == '+' || *x->p == '-')) {
        const bool plus = *x->p++ == '+';
        const gi_dim *f = parse_product(x);
        d = !f ? NULL : plus ? gi_dim_add(x->t, d, f) : gi_dim_sub(x->t, d, f);
    }
    x->depth--;
    return d;
}

const gi_dim *gi_dim_parse(gi_dims *t, const char *text, const char **end)
{
    parser x = { .t = t, .p = text };
    const gi_dim *d = parse_sum(&x);
    if (end)
        *end = x.p;
    return d;
}
