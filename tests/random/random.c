/* All rewrites on random graphs.
 *
 * A graph is stitched from two to four golden cases, drawn by a seed: where an input of one has the type of a result of
 * those before it, it may read that result instead; all results stay outputs, so values in the middle of chains are
 * outputs too. It is mutated at up to two places (rules/mutate.h), sometimes put inside an If or a Loop, and optimized
 * at a drawn level, --fp, opset and --emit, with fusion or without. The verifier must find nothing, the answers must be
 * what the rewrites promise (proof/proof.h), and the graph must come back from its text and from ONNX as it was
 * (back.c).
 *
 *   random N FOLDER...
 *
 * makes N graphs, with GOPT_TEST_FULL fifty times as many; GOPT_RANDOM_ONLY=SEED makes one, GOPT_RANDOM_FROM=SEED
 * begins there. A failure prints the seed, the rewrite that it takes to fail, and the smallest graph that does
 * (shrink.c), which goes into the folder GOPT_RANDOM_KEEP too. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "random/random.h"

enum { MOST_SEEDS = 8192, SHOWN = 10, BIG = 1 << 14, MOST_TEXT = 1 << 16 };

typedef struct seeds {
    char *path[MOST_SEEDS];
    size_t n;
} seeds;

typedef struct tally {
    int64_t made, valid, applied, failed;
} tally;

static void add_seed(void *arg, const char *path)
{
    seeds *s = arg;
    if (s->n < MOST_SEEDS)
        s->path[s->n++] = strdup(path);
}

/* ---- stitching ---- */

typedef struct result {
    const char *name; /* "%p1_y" */
    const char *type;
} result;

typedef struct stitch {
    gopt_ctx *cx;
    gi_arena *arena;
    uint64_t state;
    gi_str params, body, results;
    gi_vec(result) made;
    int parts;
} stitch;

static const char *type_text(stitch *s, const gi_type *t)
{
    gi_str text;
    gi_str_init(&text, s->arena);
    gi_type_print(&text, t);
    return text.p;
}

/* What stands for input v: a result of a part before, or an input of the whole. */
static const char *place_input(stitch *s, const gi_value *v, const char *own)
{
    const char *type = v->type ? type_text(s, v->type) : NULL;
    const char *found[64];
    size_t n = 0;
    for (size_t i = 0; type && i < s->made.n; i++)
        if (s->made.p[i].type && !strcmp(s->made.p[i].type, type) && n < GI_COUNT(found))
            found[n++] = s->made.p[i].name;
    if (n && proof_random(&s->state) % 4)
        return found[proof_random(&s->state) % n];
    gi_str_addf(&s->params, "%s%s: %s", s->params.n ? ", " : "", own, type ? type : "f32[2]");
    return own;
}

static bool add_part(stitch *s, gopt_graph *g)
{
    gi_str text;
    mutate_parts p;
    gi_str_init(&text, s->arena);
    if (gi_print(g, &(gi_print_options){ .contents = true }, &text) != GOPT_OK || text.n > MOST_TEXT ||
        !mutate_take_apart(text.p, s->arena, &p))
        return false;
    const int part = ++s->parts;
    const char *body = mutate_rename(p.body, &p, part, s->arena);
    if (!body)
        return false;
    for (uint32_t i = 0; i < g->main->n_params; i++) {
        const gi_value *v = g->main->params[i];
        const char *own = gi_arena_printf(s->arena, "%%p%d_%s", part, v->name ? v->name : "");
        if (!own || !(body = mutate_replace(body, own, place_input(s, v, own), s->arena)))
            return false;
    }
    gi_str_add(&s->body, body);
    for (uint32_t i = 0; i < g->main->n_results; i++) {
        const gi_value *v = g->main->results[i].value;
        char buffer[32];
        if (!gi_value_node(v))
            continue;
        const char *name = gi_arena_printf(s->arena, "%%p%d_%s", part,
                                           v->name ? v->name : gi_value_label(v, buffer, sizeof buffer) + 1);
        if (!name || !gi_push(s->arena, &s->made, (result){ name, v->type ? type_text(s, v->type) : NULL }))
            return false;
        gi_str_addf(&s->results, "%s%s as \"out%zu\"", s->results.n ? ", " : "", name, s->made.n);
    }
    return true;
}

static gopt_graph *stitch_graph(stitch *s, const seeds *all)
{
    gi_str_init(&s->params, s->arena);
    gi_str_init(&s->body, s->arena);
    gi_str_init(&s->results, s->arena);
    const uint64_t parts = 2 + proof_random(&s->state) % 3;
    for (int tries = 0; (uint64_t)s->parts < parts && tries < 20; tries++) {
        const char *path = all->path[proof_random(&s->state) % all->n];
        golden_case c = { 0 };
        gopt_graph *g = mutate_seed(s->cx, s->arena, path, BIG, &c);
        if (g && !c.run.no_eval)
            (void)add_part(s, g);
        gopt_graph_destroy(g);
        gopt_diag_clear(s->cx);
    }
    gopt_graph *g = NULL;
    if (!s->body.n || !s->results.n)
        return NULL;
    const char *text =
        gi_arena_printf(s->arena, "opset %d\ngraph (%s) {\n%s  return %s\n}\n", proof_random(&s->state) % 2 ? 17 : 24,
                        s->params.p ? s->params.p : "", s->body.p, s->results.p);
    if (text && gi_parse(s->cx, "random", text, strlen(text), &g) != GOPT_OK) {
        gopt_graph_destroy(g);
        g = NULL;
    }
    gopt_diag_clear(s->cx);
    return g;
}

/* ---- one graph ---- */

static gopt_optimize_options draw_options(uint64_t *state)
{
    static const gopt_fp fps[] = { GOPT_FP_REASSOC, GOPT_FP_REASSOC, GOPT_FP_STRICT, GOPT_FP_FAST };
    static const int opsets[] = { 0, 0, 24, 18 };
    return (gopt_optimize_options){ .level = 1 + (int)(proof_random(state) % 3),
                                    .fp = fps[proof_random(state) % 4],
                                    .opset = opsets[proof_random(state) % 4],
                                    .emit = proof_random(state) % 3 ? GOPT_EMIT_ONNX : GOPT_EMIT_ORT,
                                    .fuse = proof_random(state) % 2,
                                    .verify_each = true };
}

const char *random_try(const random_trial *t, gi_arena *a, int64_t *rewrites, const char **last)
{
    gopt_graph *after = NULL;
    gopt_report *report = NULL;
    gi_str why;
    const char *fault = NULL;
    int64_t n = 0;
    gi_str_init(&why, a);
    if (gopt_graph_clone(t->g, &after) != GOPT_OK) {
        fault = "it cannot be cloned";
    } else if (gopt_optimize(after, &t->o, &report) != GOPT_OK) {
        if (prove(t->g, t->g, (proof_promise){ BITWISE, false }, 0, &why) == PROOF_SAME)
            fault = "the passes failed";
    } else {
        const gopt_report_summary *s = gopt_report_get(report);
        for (size_t i = 0; i < s->n_passes; i++)
            for (size_t k = 0; k < s->passes[i].n_rewrites; k++)
                n += s->passes[i].rewrites[k].count;
        for (size_t i = 0; i < s->n_remarks && last; i++)
            if (s->remarks[i].kind == GOPT_APPLIED)
                *last = gi_arena_printf(a, "%s at %s", s->remarks[i].rule, s->remarks[i].at);
        if (gi_verify(after) != GOPT_OK)
            fault = "the verifier finds faults afterwards";
        else if (n && prove(t->g, after, proof_promised(report, &t->o), 0, &why) == PROOF_DIFFERENT)
            fault = why.p;
        else
            fault = random_back(after, t->folder, a);
    }
    if (rewrites)
        *rewrites = n;
    gopt_report_destroy(report);
    gopt_graph_destroy(after);
    return fault;
}

static bool mutate_some(gopt_graph *g, uint64_t *state, gi_arena *a)
{
    gi_str what;
    gi_str_init(&what, a);
    for (uint64_t k = proof_random(state) % 3; k > 0; k--) {
        const int64_t n = mutate(g, -1, a, &what);
        if (n < 1 || !mutate(g, (int64_t)(proof_random(state) % (uint64_t)n), a, &what))
            return false;
        if (gi_verify(g) != GOPT_OK || gi_infer_graph(g) != GOPT_OK)
            return false;
    }
    return true;
}

static void try_seed(const seeds *all, uint64_t seed, const char *folder, tally *t)
{
    gopt_ctx *cx = proof_ctx();
    gi_arena *a = cx ? gi_arena_create(cx) : NULL;
    stitch s = { .cx = cx, .arena = a, .state = seed * 0x9e3779b97f4a7c15u + 1 };
    gopt_graph *g = a ? stitch_graph(&s, all) : NULL;
    t->made++;
    if (g && gi_verify(g) == GOPT_OK && gi_infer_graph(g) == GOPT_OK && mutate_limit_rounds(g) &&
        mutate_some(g, &s.state, a) && mutate_ends(g) && mutate_has_types(g)) {
        const random_trial r = { g, draw_options(&s.state), folder, seed };
        int64_t rewrites = 0;
        t->valid++;
        const char *fault = random_try(&r, a, &rewrites, NULL);
        t->applied += rewrites;
        if (fault && t->failed++ < SHOWN) {
            gopt_diag_print(cx, stdout, false);
            random_show(&r, fault, rewrites, a);
        }
    }
    gopt_graph_destroy(g);
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
}

int main(int argc, char **argv)
{
    static seeds all;
    char folder[] = "/tmp/gopt-random-XXXXXX";
    tally t = { 0 };
    const char *only = getenv("GOPT_RANDOM_ONLY"), *from = getenv("GOPT_RANDOM_FROM");
    const uint64_t first = only ? strtoull(only, NULL, 10) : from ? strtoull(from, NULL, 10) : 1;
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    for (int i = 2; i < argc; i++)
        (void)golden_each(argv[i], add_seed, &all);
    if (!all.n || !n || !mkdtemp(folder)) {
        fprintf(stderr, "usage: random N FOLDER...\n");
        return 2;
    }
    if (getenv("GOPT_TEST_FULL"))
        n *= 50;
    for (uint64_t i = 0; i < (only ? 1 : n); i++)
        try_seed(&all, first + i, folder, &t);
    for (size_t i = 0; i < all.n; i++)
        free(all.path[i]);
    (void)rmdir(folder);
    printf("%lld graphs, %lld of them valid, %lld rewrites, %lld failed\n", (long long)t.made, (long long)t.valid,
           (long long)t.applied, (long long)t.failed);
    return t.failed || !t.valid;
}
