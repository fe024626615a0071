/* A failure made small: the rewrite that it takes, and the least graph that shows it (gopt_reduce). */
#include <stdio.h>
#include <stdlib.h>

#include "random/random.h"

/* The least number of rewrites that fails; 0 where none are needed. */
static int64_t find_rewrite(const random_trial *t, int64_t rewrites, gi_arena *a, const char **culprit)
{
    int64_t good = 0, bad = rewrites;
    random_trial limited = *t;
    while (bad - good > 1) {
        limited.o.rewrite_limit = good + (bad - good) / 2;
        if (random_try(&limited, a, NULL, NULL))
            bad = limited.o.rewrite_limit;
        else
            good = limited.o.rewrite_limit;
    }
    limited.o.rewrite_limit = bad;
    if (bad)
        (void)random_try(&limited, a, NULL, culprit);
    return bad;
}

static gopt_status shows(void *user, const gopt_graph *g, bool *shows)
{
    random_trial t = *(const random_trial *)user;
    gi_arena *a = gi_arena_create(g->cx);
    if (!a || gopt_graph_clone(g, &t.g) != GOPT_OK) {
        gi_arena_destroy(a);
        return GOPT_NO_MEMORY;
    }
    *shows = random_try(&t, a, NULL, NULL) != NULL;
    gopt_graph_destroy(t.g);
    gi_arena_destroy(a);
    return GOPT_OK;
}

/* A copy with so many rewrites; as it is where that is none. */
static gopt_graph *optimized(const random_trial *t, int64_t rewrites)
{
    gopt_graph *g = NULL;
    gopt_optimize_options o = t->o;
    o.rewrite_limit = rewrites;
    if (gopt_graph_clone(t->g, &g) != GOPT_OK || (rewrites && gopt_optimize(g, &o, NULL) != GOPT_OK)) {
        gopt_graph_destroy(g);
        return NULL;
    }
    return g;
}

static void add_head(gi_str *s, const random_trial *t, const char *fault)
{
    static const char *const fps[] = { [GOPT_FP_STRICT] = " --fp=strict", [GOPT_FP_FAST] = " --fp=fast" };
    const gopt_optimize_options *o = &t->o;
    const char *fp = (size_t)o->fp < GI_COUNT(fps) ? fps[o->fp] : NULL;
    gi_str_addf(s, "; Seed %llu: %.*s\n; RUN: optimize --level=%d", (unsigned long long)t->seed,
                (int)strcspn(fault, "\n"), fault, o->level);
    if (o->opset)
        gi_str_addf(s, " --opset=%d", o->opset);
    gi_str_addf(s, "%s%s%s\n", fp ? fp : "", o->emit == GOPT_EMIT_ORT ? " --emit=ort" : "", o->fuse ? " --fuse" : "");
}

static void keep(const random_trial *t, const char *text, gi_arena *a)
{
    const char *folder = getenv("GOPT_RANDOM_KEEP");
    const char *path = folder ? gi_arena_printf(a, "%s/seed_%llu.gir", folder, (unsigned long long)t->seed) : NULL;
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f && (fputs(text, f) < 0 || fclose(f) != 0))
        printf("  %s cannot be written\n", path);
}

void random_show(const random_trial *t, const char *fault, int64_t rewrites, gi_arena *a)
{
    const char *culprit = "none";
    const int64_t bad = find_rewrite(t, rewrites, a, &culprit);
    char *least = NULL;
    gi_str s;
    gi_str_init(&s, a);
    add_head(&s, t, fault);
    gopt_graph *before = optimized(t, bad ? bad - 1 : 0), *after = bad ? optimized(t, bad) : NULL;
    random_trial user = *t;
    if (before)
        (void)gopt_reduce(before, after ? after : before, shows, &user, &least);
    if (least)
        gi_str_add(&s, least);
    else
        (void)gi_print(t->g, &(gi_print_options){ .contents = true }, &s);
    printf("FAILED seed %llu: %s\n  by rewrite %lld, %s%s\n%s", (unsigned long long)t->seed, fault, (long long)bad,
           culprit, least ? "" : "; it cannot be made smaller", s.p ? s.p : "");
    if (s.p)
        keep(t, s.p, a);
    gopt_text_free(t->g->cx, least);
    gopt_graph_destroy(before);
    gopt_graph_destroy(after);
}
