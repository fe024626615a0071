/* Tries every rewrite on mutated golden cases.
 *
 * Each case of tests/golden that optimizes is a seed. Its graph is mutated at one place after another: other shapes,
 * ranks, types, symbols and constants, operands in another order, attributes of other values, a second user of each
 * value, a value that is an output or that a subgraph captures, the whole inside an If or a Loop; and at two places,
 * drawn by a seed. Where a mutant is still a graph that can be evaluated, the case's own passes run, and both sides
 * must answer the same (proof/proof.h): whatever the rule declined is right, and so must be whatever it applied.
 *
 *   rules FOLDER-OR-FILE...
 *
 * A failure prints the mutation and the graph. GOPT_TEST_FULL=1 makes every mutation instead of some, more pairs,
 * and runs the whole pipeline over each mutant too. */
#include <stdio.h>
#include <stdlib.h>

#include "rules/mutate.h"

enum { SOME = 120, PAIRS = 40, ALL_PAIRS = 400, SHOWN = 40, BIG = 1 << 16 };

typedef struct tally {
    bool full;
    int64_t made, valid, applied, failed, cases;
} tally;

typedef struct trial {
    tally *tally;
    gopt_ctx *cx;
    gi_arena *arena; /* of one mutant */
    const char *path;
    const golden_case *c;
} trial;

static void show(const trial *t, gopt_graph *g, const char *what, const char *why, const gopt_report *report)
{
    gi_str s;
    gi_str_init(&s, t->arena);
    t->tally->failed++;
    if (t->tally->failed > SHOWN)
        return;
    printf("FAILED %s, mutated: %s\n  %s\n", t->path, what, why);
    if (report)
        for (size_t i = 0; i < gopt_report_get(report)->n_remarks; i++) {
            const gopt_remark *r = &gopt_report_get(report)->remarks[i];
            if (r->kind == GOPT_APPLIED)
                printf("  applied %s at %s\n", r->rule, r->at);
        }
    if (gi_print(g, &(gi_print_options){ 0 }, &s) == GOPT_OK && s.p)
        printf("%s", s.p);
    gopt_diag_print(t->cx, stdout, false);
}

static int64_t count_rewrites(const gopt_report *report)
{
    int64_t n = 0;
    const gopt_report_summary *s = gopt_report_get(report);
    for (size_t i = 0; i < s->n_passes; i++)
        for (size_t k = 0; k < s->passes[i].n_rewrites; k++)
            n += s->passes[i].rewrites[k].count;
    return n;
}

/* A graph that runs on nothing may be refused by passes too: they come to know constants that inference did not. */
static bool never_runs(const trial *t, gopt_graph *g)
{
    gi_str why;
    gi_str_init(&why, t->arena);
    return prove(g, g, (proof_promise){ .exact = BITWISE }, t->tally->full, &why) == PROOF_VOID;
}

/* Optimizes a copy and compares it. */
static void check(trial *t, gopt_graph *g, const gopt_optimize_options *o, const char *what)
{
    gopt_graph *after = NULL;
    gopt_report *report = NULL;
    gi_str why;
    gi_str_init(&why, t->arena);
    gopt_status s = gopt_graph_clone(g, &after);
    if (s != GOPT_OK) {
        show(t, g, what, "it cannot be cloned", NULL);
    } else if ((s = gopt_optimize(after, o, &report)) != GOPT_OK) {
        if (s != GOPT_BAD_INPUT || !never_runs(t, g))
            show(t, g, what, "the passes failed", NULL);
    } else if (gi_verify(after) != GOPT_OK) {
        show(t, g, what, "the verifier finds faults afterwards", report);
    } else if (count_rewrites(report)) {
        t->tally->applied++;
        if (prove(g, after, proof_promised(report, o), t->tally->full, &why) == PROOF_DIFFERENT)
            show(t, g, what, why.p, report);
    }
    gopt_report_destroy(report);
    gopt_graph_destroy(after);
}

static void check_mutant(trial *t, gopt_graph *g, const char *what)
{
    t->tally->made++;
    if (gi_verify(g) != GOPT_OK || gi_infer_graph(g) != GOPT_OK || !mutate_ends(g) || !mutate_has_types(g)) {
        gopt_diag_clear(t->cx);
        return;
    }
    t->tally->valid++;
    check(t, g, &t->c->run.o, what);
    if (t->tally->full) {
        gopt_optimize_options whole = { .level = 3, .verify_each = true, .fuse = true };
        check(t, g, &whole, what);
    }
    gopt_diag_clear(t->cx);
}

/* One mutation, or two where `second` is not negative: a share of the sites of what the first left. */
static void try_mutation(trial *t, gopt_graph *seed, int64_t first, int64_t second)
{
    gopt_graph *g = NULL;
    gi_str what;
    gi_arena_reset(t->arena);
    gi_str_init(&what, t->arena);
    if (gopt_graph_clone(seed, &g) == GOPT_OK && mutate(g, first, t->arena, &what)) {
        bool made = true;
        if (second >= 0) {
            gi_str_add(&what, "; ");
            const int64_t n = gi_infer_graph(g) == GOPT_OK ? mutate(g, -1, t->arena, &what) : 0;
            made = n > 0 && mutate(g, second % n, t->arena, &what);
        }
        if (made)
            check_mutant(t, g, what.p);
    }
    gopt_diag_clear(t->cx);
    gopt_graph_destroy(g);
}

static void try_wrapped(trial *t, gopt_graph *seed, bool loop)
{
    gopt_graph *g = NULL;
    gi_arena_reset(t->arena);
    const char *text = mutate_wrap(seed, loop, t->arena);
    if (text && gi_parse(t->cx, t->path, text, strlen(text), &g) == GOPT_OK)
        check_mutant(t, g, loop ? "inside a Loop" : "inside an If");
    gopt_diag_clear(t->cx);
    gopt_graph_destroy(g);
}

/* Folder and file: the same wherever the tree lies. */
static const char *short_name(const char *path)
{
    const char *p = path + strlen(path);
    for (int slashes = 0; p > path && !(p[-1] == '/' && ++slashes == 2);)
        p--;
    return p;
}

static void try_all(trial *t, gopt_graph *seed)
{
    gi_arena_reset(t->arena);
    gi_str what;
    gi_str_init(&what, t->arena);
    const int64_t n = mutate(seed, -1, t->arena, &what);
    const char *name = short_name(t->path);
    uint64_t state = gi_hash(name, strlen(name), 1);
    const int64_t some = t->tally->full ? n : gi_min_i64(n, SOME);
    for (int64_t i = 0; i < some; i++)
        try_mutation(t, seed, some == n ? i : (int64_t)(proof_random(&state) % (uint64_t)n), -1);
    for (int64_t i = 0; n && i < (t->tally->full ? ALL_PAIRS : PAIRS); i++) {
        const int64_t first = (int64_t)(proof_random(&state) % (uint64_t)n);
        try_mutation(t, seed, first, (int64_t)(proof_random(&state) >> 1));
    }
    try_wrapped(t, seed, false);
    try_wrapped(t, seed, true);
}

static void run_case(void *arg, const char *path)
{
    tally *all = arg;
    gopt_ctx *cx = proof_ctx();
    gi_arena *a = gi_arena_create(cx);
    golden_case c = { 0 };
    gopt_graph *seed = cx && a ? mutate_seed(cx, a, path, BIG, &c) : NULL;
    if (seed) {
        trial t = { .tally = all, .cx = cx, .arena = gi_arena_create(cx), .path = path, .c = &c };
        all->cases++;
        c.run.o.rewrite_limit = 0;
        if (t.arena)
            try_all(&t, seed);
        gi_arena_destroy(t.arena);
    }
    gopt_graph_destroy(seed);
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
}

int main(int argc, char **argv)
{
    tally all = { .full = getenv("GOPT_TEST_FULL") != NULL };
    for (int i = 1; i < argc; i++)
        if (!golden_each(argv[i], run_case, &all)) {
            printf("FAILED %s: cannot be read\n", argv[i]);
            all.failed++;
        }
    printf("%lld cases, %lld mutants, %lld of them graphs, %lld rewritten, %lld failed\n", (long long)all.cases,
           (long long)all.made, (long long)all.valid, (long long)all.applied, (long long)all.failed);
    return all.failed || !all.cases;
}
