/* All mutations, and what they share. */
#include "rules/mutate.h"

#include <ctype.h>

typedef struct lister {
    mutate_node_list *out;
    gi_arena *arena;
} lister;

static bool list_node(void *arg, gi_node *n)
{
    lister *l = arg;
    return gi_push(l->arena, l->out, n);
}

bool mutate_list_nodes(gopt_graph *g, gi_arena *a, mutate_node_list *out)
{
    lister l = { .out = out, .arena = a };
    *out = (mutate_node_list){ 0 };
    return gi_each_node(g->main, list_node, &l);
}

/* What nodes give is inferred anew, and what a Loop carries, which follows from what it begins with. What else blocks
 * are given is not: nobody else says it. */
static bool forget_types(void *arg, gi_node *n)
{
    (void)arg;
    const gi_block *body = n->op == OP_Loop ? gi_attr_graph(n, Loop_at_body) : NULL;
    for (uint32_t i = 2; body && i < body->n_params; i++)
        body->params[i]->type = NULL;
    for (uint32_t i = 0; i < n->n_out; i++) {
        n->out[i]->type = NULL;
        n->out[i]->known = NULL;
        n->out[i]->n_known = 0;
    }
    return true;
}

int64_t mutate(gopt_graph *g, int64_t wanted, gi_arena *a, gi_str *what)
{
    mutator m = { .g = g, .arena = a, .wanted = wanted, .what = what };
    mutate_users(&m);
    mutate_nodes(&m);
    mutate_constants(&m);
    mutate_inputs(&m);
    mutate_dtypes(&m);
    if (wanted < 0)
        return m.at;
    if (m.made)
        (void)gi_each_node(g->main, forget_types, NULL);
    return m.made;
}

/* ---- wrapping ---- */

/* ---- loops ---- */

enum { MOST_ROUNDS = 50 };

static bool check_rounds(void *arg, gi_node *n)
{
    (void)arg;
    gi_value *m = n->op == OP_Loop ? gi_node_in(n, Loop_in_M) : NULL;
    int64_t rounds;
    uint32_t count;
    if (n->op != OP_Loop || (m && m->kind == GI_DEF_PARAM))
        return true; /* inputs are small where a graph has loops */
    return m && gi_value_known_ints(m, &rounds, 1, &count) && count == 1 && rounds <= MOST_ROUNDS;
}

bool mutate_ends(gopt_graph *g)
{
    return gi_each_node(g->main, check_rounds, NULL);
}

static bool check_types(void *arg, gi_node *n)
{
    (void)arg;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->op != OP_Unknown && n->out[i]->n_uses && !n->out[i]->type)
            return false;
    return true;
}

bool mutate_has_types(gopt_graph *g)
{
    return gi_each_node(g->main, check_types, NULL);
}

static bool limit_rounds(void *arg, gi_node *n)
{
    const int64_t most = MOST_ROUNDS;
    (void)arg;
    if (n->op == OP_Loop && n->n_in > Loop_in_M && !gi_node_in(n, Loop_in_M)) {
        gi_value *m = gi_const_i64(n->block->graph, 0, 1, &most);
        if (!m)
            return false;
        gi_node_set_in(n, Loop_in_M, m);
    }
    return true;
}

bool mutate_limit_rounds(gopt_graph *g)
{
    return gi_each_node(g->main, limit_rounds, NULL);
}

bool mutate_take_apart(const char *text, gi_arena *a, mutate_parts *out)
{
    const char *open = strstr(text, "graph ");
    const char *paren = open ? strchr(open, '(') : NULL, *brace = paren ? strstr(paren, ") {\n") : NULL;
    const char *last = NULL;
    for (const char *p = brace; p && (p = strstr(p, "\n  return")); p += 9)
        last = p;
    const char *end = last ? strchr(last + 1, '\n') : NULL;
    if (!end)
        return false;
    out->head = gi_arena_strn(a, text, (size_t)(paren - text));
    out->params = gi_arena_strn(a, paren + 1, (size_t)(brace - paren - 1));
    out->body = gi_arena_strn(a, brace + 4, (size_t)(last + 1 - brace - 4));
    out->results = gi_arena_strn(a, last + 9, (size_t)(end - last - 9));
    return out->head && out->params && out->body && out->results;
}

/* "%a as "x", %b" as "%a, %b". */
static char *without_names(const char *results, gi_arena *a)
{
    gi_str s;
    gi_str_init(&s, a);
    for (const char *p = results; *p;) {
        if (!strncmp(p, " as \"", 5)) {
            const char *end = strchr(p + 5, '"');
            p = end ? end + 1 : p + strlen(p);
        } else {
            gi_str_addn(&s, p++, 1);
        }
    }
    return s.p;
}

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* The names that the text defines, as keys of the map. */
static bool find_names(const char *text, gi_arena *a, gi_smap *names)
{
    gi_smap_init(names, a);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        const char *end = strchr(line, '\n'), *equals = strstr(line, " = "), *block = strstr(line, "block (");
        for (const char *p = line; p && end && p < end; p++) {
            const bool defines = (equals && p < equals) || (block && p > block);
            if (*p != '%' || !defines)
                continue;
            size_t n = 0;
            while (in_name(p[1 + n]))
                n++;
            const char *name = gi_arena_strn(a, p + 1, n);
            if (!n || !name || !gi_smap_put(names, name, names))
                return false;
        }
    }
    return true;
}

/* The text with other names for what it defines: two blocks may not have the same. */
static char *rename_all(const char *text, const gi_smap *names, const char *prefix, gi_arena *a)
{
    gi_str s;
    gi_str_init(&s, a);
    for (const char *p = text; *p;) {
        size_t n = 0;
        while (*p == '%' && in_name(p[1 + n]))
            n++;
        const char *name = gi_arena_strn(a, p + 1, n);
        if (n && name && gi_smap_get(names, name)) {
            gi_str_addf(&s, "%%%s%s", prefix, name);
            p += 1 + n;
        } else {
            gi_str_addn(&s, p++, 1);
        }
    }
    return s.p;
}

char *mutate_wrap(gopt_graph *g, bool loop, gi_arena *a)
{
    gi_str text, s;
    mutate_parts p;
    gi_str_init(&text, a);
    gi_str_init(&s, a);
    if (gi_print(g, &(gi_print_options){ .contents = true }, &text) != GOPT_OK || !mutate_take_apart(text.p, a, &p))
        return NULL;
    gi_smap names;
    const char *inner = without_names(p.results, a);
    if (!inner || !find_names(p.body, a, &names))
        return NULL;
    const char *other = rename_all(p.body, &names, "else_", a), *other_inner = rename_all(inner, &names, "else_", a);
    if (!other || !other_inner)
        return NULL;
    gi_str_addf(&s, "%s(%s%s%s) {\n  ", p.head, p.params, *p.params && !loop ? ", " : "",
                loop ? "" : "%wrapping: bool[]");
    for (uint32_t i = 0; i < g->main->n_results; i++)
        gi_str_addf(&s, "%s%%wrapped%u", i ? ", " : "", i);
    if (loop)
        gi_str_addf(&s,
                    " = Loop dense<i64[], 2>, _ { body = block (%%round: i64[], %%going: bool[]) {\n%s  return "
                    "%%going, %s\n  } }\n",
                    p.body, inner);
    else
        gi_str_addf(&s,
                    " = If %%wrapping { then_branch = block () {\n%s  return %s\n  }, else_branch = block () {\n%s  "
                    "return %s\n  } }\n",
                    p.body, inner, other, other_inner);
    gi_str_add(&s, "  return ");
    for (uint32_t i = 0; i < g->main->n_results; i++) {
        gi_str_addf(&s, "%s%%wrapped%u as ", i ? ", " : "", i);
        gi_str_add_quoted(&s, g->main->result_names[i]);
    }
    gi_str_add(&s, "\n}\n");
    return s.failed ? NULL : s.p;
}

char *mutate_rename(const char *text, const mutate_parts *p, int part, gi_arena *a)
{
    gi_smap names;
    const char *prefix = gi_arena_printf(a, "p%d_", part);
    if (!prefix || !find_names(p->body, a, &names))
        return NULL;
    for (const char *q = p->params; *q; q++) {
        size_t n = 0;
        while (*q == '%' && in_name(q[1 + n]))
            n++;
        const char *name = gi_arena_strn(a, q + 1, n);
        if (n && (!name || !gi_smap_put(&names, name, &names)))
            return NULL;
    }
    return rename_all(text, &names, prefix, a);
}

char *mutate_replace(const char *text, const char *name, const char *by, gi_arena *a)
{
    gi_str s;
    const size_t n = strlen(name);
    gi_str_init(&s, a);
    for (const char *p = text; *p;) {
        if (!strncmp(p, name, n) && !in_name(p[n])) {
            gi_str_add(&s, by);
            p += n;
        } else {
            gi_str_addn(&s, p++, 1);
        }
    }
    return s.p ? s.p : gi_arena_str(a, "");
}
