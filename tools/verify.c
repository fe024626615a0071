/* --verify: the model before and after, by reference evaluation, on seeded inputs; and on a mismatch the one
 * rewrite that caused it, found by halving the number of rewrites that are made. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum { WANTED_BINDINGS = 2 };

/* Sizes that dynamic dimensions are given in turn, until WANTED_BINDINGS of them run before the rewrites:
 * a network of strides may refuse the small ones. */
static const int64_t sizes[] = { 1, 2, 3, 8, 32, 64, 224 };

typedef struct checking {
    tool *t;
    gopt_graph *before, *after;
    const gopt_optimize_options *o;
    verdict *v;
    double rtol, atol;
} checking;

/* One size for all dynamic dimensions: the inputs, and what the model answered before. */
typedef struct trial {
    int64_t size;
    gopt_tensor **in;
    size_t n_in;
    answers want;
} trial;

static void trial_free(trial *r)
{
    tensors_free(r->in, r->n_in);
    answers_free(&r->want);
    *r = (trial){ 0 };
}

static gopt_status bind(gopt_graph *g, int64_t size)
{
    char symbol[128], last[128] = "";
    while (free_symbol(g, symbol, sizeof symbol)) {
        if (!strcmp(symbol, last)) /* it will not go: leave it to the inputs */
            break;
        TRY(gopt_graph_fix_dim(g, symbol, size));
        memcpy(last, symbol, sizeof last);
    }
    return GOPT_OK;
}

/* A copy of g with all dims of that size. */
static gopt_status bound_copy(const gopt_graph *g, int64_t size, gopt_graph **out)
{
    TRY(gopt_graph_clone(g, out));
    const gopt_status s = bind(*out, size);
    if (s != GOPT_OK) {
        gopt_graph_destroy(*out);
        *out = NULL;
    }
    return s;
}

static gopt_status try_size(checking *c, int64_t size, trial *r)
{
    gopt_graph *g = NULL;
    *r = (trial){ .size = size };
    gopt_status s = bound_copy(c->before, size, &g);
    if (s == GOPT_OK)
        s = inputs_make(c->t, g, NULL, &r->in, &r->n_in);
    if (s == GOPT_OK)
        s = run_reference(c->t, g, r->in, &r->want);
    gopt_graph_destroy(g);
    if (s != GOPT_OK)
        trial_free(r);
    return s;
}

/* Is g's answer what it was? GOPT_DIFFERENT with the reason in v where it is not. */
static gopt_status check(checking *c, gopt_graph *g, const trial *r, char *why, size_t size, double *worst)
{
    gopt_graph *copy = NULL;
    answers got = { 0 };
    gopt_status s = bound_copy(g, r->size, &copy);
    if (s == GOPT_OK)
        s = run_reference(c->t, copy, r->in, &got);
    gopt_graph_destroy(copy);
    if (s == GOPT_NO_MEMORY)
        return s;
    if (s != GOPT_OK) {
        const size_t n = gopt_diag_count(c->t->cx);
        snprintf(why, size, "it no longer runs: %.200s",
                 n ? gopt_diag_get(c->t->cx, n - 1)->message : "no reason given");
        tool_forget(c->t);
        *worst = INFINITY;
        return GOPT_DIFFERENT;
    }
    for (size_t i = 0; i < got.n && s == GOPT_OK; i++) {
        diff d;
        tensor_diff(got.p[i], i < r->want.n ? r->want.p[i] : NULL, c->rtol, c->atol, true, &d);
        *worst = fmax(*worst, d.worst);
        if (!d.same) {
            snprintf(why, size, "output %s: %s", gopt_graph_output_name(g, i), d.why);
            s = GOPT_DIFFERENT;
        }
    }
    answers_free(&got);
    return s;
}

/* Optimizes a copy with at most `limit` rewrites and checks it; the last rewrite made goes to `last`. */
static gopt_status check_limited(checking *c, int64_t limit, const trial *r, char *last, size_t size)
{
    gopt_graph *g = NULL;
    gopt_report *report = NULL;
    gopt_optimize_options o = *c->o;
    char why[512];
    double worst = 0;
    o.rewrite_limit = limit ? limit : -1;
    o.dump_dir = NULL;
    o.after_pass = NULL;
    gopt_status s = gopt_graph_clone(c->before, &g);
    if (s == GOPT_OK)
        s = gopt_optimize(g, &o, &report);
    if (s == GOPT_OK)
        s = check(c, g, r, why, sizeof why, &worst);
    if (s == GOPT_DIFFERENT) {
        const gopt_report_summary *m = gopt_report_get(report);
        for (size_t i = m->n_remarks; i-- > 0;)
            if (m->remarks[i].kind == GOPT_APPLIED) {
                snprintf(last, size, "rewrite %lld, %s at %s", (long long)limit,
                         m->remarks[i].rule ? m->remarks[i].rule : m->remarks[i].pass,
                         m->remarks[i].at ? m->remarks[i].at : "?");
                break;
            }
    }
    gopt_report_destroy(report);
    gopt_graph_destroy(g);
    return s;
}

static int64_t count_rewrites(checking *c)
{
    gopt_graph *g = NULL;
    gopt_report *report = NULL;
    gopt_optimize_options o = *c->o;
    int64_t n = 0;
    o.dump_dir = NULL;
    o.after_pass = NULL;
    if (gopt_graph_clone(c->before, &g) == GOPT_OK && gopt_optimize(g, &o, &report) == GOPT_OK) {
        const gopt_report_summary *m = gopt_report_get(report);
        for (size_t i = 0; i < m->n_passes; i++)
            for (size_t k = 0; k < m->passes[i].n_rewrites; k++)
                n += m->passes[i].rewrites[k].count;
    }
    gopt_report_destroy(report);
    gopt_graph_destroy(g);
    return n;
}

/* The least number of rewrites that is wrong: its last one is the culprit. */
static gopt_status find_culprit(checking *c, const trial *r, char *culprit, size_t size)
{
    int64_t good = 0, bad = count_rewrites(c);
    if (c->o->rewrite_limit > 0 && c->o->rewrite_limit < bad)
        bad = c->o->rewrite_limit;
    snprintf(culprit, size, "no single rewrite causes it");
    if (bad < 1)
        return GOPT_OK;
    gopt_status s = check_limited(c, bad, r, culprit, size);
    if (s != GOPT_DIFFERENT)
        return s;
    while (bad - good > 1) {
        const int64_t middle = good + (bad - good) / 2;
        s = check_limited(c, middle, r, culprit, size);
        if (s != GOPT_OK && s != GOPT_DIFFERENT)
            return s;
        if (s == GOPT_DIFFERENT)
            bad = middle;
        else
            good = middle;
    }
    s = check_limited(c, bad, r, culprit, size); /* for its name */
    return s == GOPT_DIFFERENT ? GOPT_OK : s;
}

static gopt_status check_trial(checking *c, const trial *r)
{
    char why[400] = "", culprit[256];
    const gopt_status s = check(c, c->after, r, why, sizeof why, &c->v->worst);
    if (s != GOPT_DIFFERENT)
        return s;
    TRY(find_culprit(c, r, culprit, sizeof culprit));
    c->v->passed = false;
    return tool_fail(c->t, GOPT_DIFFERENT, tool_model(c->t), "leave that rule out with --skip, and please report it",
                     "the optimized model answers otherwise: %s; caused by %s", why, culprit);
}

gopt_status verify_rewrites(tool *t, gopt_graph *before, gopt_graph *after, const gopt_optimize_options *o, verdict *v)
{
    *v = (verdict){ .passed = true, .tolerance = t->o.rtol < 0 ? 1e-3 : t->o.rtol };
    checking c = { .t = t,
                   .before = before,
                   .after = after,
                   .o = o,
                   .v = v,
                   .rtol = v->tolerance,
                   .atol = t->o.atol < 0 ? 5e-4 : t->o.atol };
    char symbol[128];
    const bool dynamic = free_symbol(before, symbol, sizeof symbol);
    gopt_status s = GOPT_OK;
    tool_flush(t);
    for (size_t i = 0; i < (dynamic ? sizeof sizes / sizeof sizes[0] : 1) && v->bindings < WANTED_BINDINGS; i++) {
        trial r;
        const bool failed = t->failed;
        s = try_size(&c, sizes[i], &r);
        if (s != GOPT_OK && dynamic && s != GOPT_NO_MEMORY && !(t->failed && !failed)) {
            if (i + 1 < sizeof sizes / sizeof sizes[0] || v->bindings) {
                tool_forget(t); /* this size does not suit the model: the next */
                s = GOPT_OK;
            }
            continue;
        }
        TRY(s);
        v->bindings++;
        s = check_trial(&c, &r);
        trial_free(&r);
        TRY(s);
    }
    return s;
}
