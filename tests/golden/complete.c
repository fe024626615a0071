/* Does every rule have its golden cases? One where it applies, and one where it does not: a precondition that is
 * broken, or a second user. A rule of one node without a condition has nothing to decline, and needs no such case; nor
 * has one that expands an operator of whatever type the operator takes.
 *
 *   complete FOLDER
 *
 * Lists what is missing by name. */
#include <stdio.h>

#include "golden/case.h"
#include "passes/rule.h"

typedef struct count {
    gopt_ctx *cx;
    gi_arena *arena;
    const char *applied; /* "; applied RULE at" */
    int applies, declines;
} count;

static void look(void *arg, const char *path)
{
    count *c = arg;
    golden_case g = { 0 };
    if (golden_read(c->cx, c->arena, path, &g))
        return;
    if (strstr(g.want, c->applied))
        c->applies++;
    else
        c->declines++;
}

static int count_nodes(const gi_pattern *p)
{
    int n = p->kind == GI_PAT_NODE;
    for (uint32_t i = 0; p->in && p->in[i]; i++) {
        const int inner = count_nodes(p->in[i]);
        if (p->kind != GI_PAT_OR)
            n += inner;
        else
            n = inner > n ? inner : n;
    }
    return n;
}

/* The rules that tests plant are wrong by design, and have tests of their own. */
static bool is_planted(const gi_rule *r)
{
    return !strncmp(r->name, "planted_", 8);
}

static int check(const gi_rule *r, const char *folder, count *c)
{
    const char *path = gi_arena_printf(c->arena, "%s/%s", folder, r->name);
    c->applied = gi_arena_printf(c->arena, "; applied %s at", r->name);
    c->applies = c->declines = 0;
    if (!path || !c->applied || !golden_each(path, look, c)) {
        printf("%s: no folder tests/golden/%s\n", r->name, r->name);
        return 1;
    }
    const bool takes_all = count_nodes(r->match) == 1 && !r->find && (!r->when || r->stage == LOWER);
    if (!c->applies)
        printf("%s: no case where it applies (with --remarks)\n", r->name);
    if (!c->declines && !takes_all)
        printf("%s: no case where it does not apply\n", r->name);
    return !c->applies || (!c->declines && !takes_all);
}

int main(int argc, char **argv)
{
    int missing = 0;
    const gi_rule *r;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    count c = { .cx = cx, .arena = cx ? gi_arena_create(cx) : NULL };
    if (argc != 2 || !c.arena)
        return 2;
    for (size_t i = 0; (r = gi_rule_row(i)); i++)
        if (!is_planted(r))
            missing += check(r, argv[1], &c);
    printf("%d rules lack cases\n", missing);
    gi_arena_destroy(c.arena);
    gopt_ctx_destroy(cx);
    return missing != 0;
}
