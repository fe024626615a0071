/* Whose fault it is that the optimized model answers otherwise: the one rewrite, found by halving the number of
 * rewrites that are made, and the smallest part of the graph that shows it. Passes that no limit holds back (dead code)
 * are told apart by looking at the graph after each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "verify.h"

/* Optimizes a copy of the model, with at most `limit` rewrites where it is not negative. */
static gopt_status optimized(checking *c, int64_t limit, gopt_graph **g, gopt_report **report)
{
    gopt_optimize_options o = *c->o;
    if (limit >= 0)
        o.rewrite_limit = limit ? limit : -1;
    o.dump_dir = NULL;
    o.after_pass = NULL;
    *g = NULL;
    *report = NULL;
    gopt_status s = gopt_graph_clone(c->before, g);
    if (s == GOPT_OK)
        s = gopt_optimize(*g, &o, report);
    if (s != GOPT_OK) {
        gopt_graph_destroy(*g);
        *g = NULL;
    }
    return s;
}

static bool is_wrong(checking *c, const gopt_graph *g, const trial *r, gopt_status *s)
{
    char why[512];
    double worst = 0;
    const gopt_status checked = trial_check(c, g, r, why, sizeof why, &worst);
    if (checked != GOPT_OK && checked != GOPT_DIFFERENT)
        *s = checked;
    return checked == GOPT_DIFFERENT;
}

static gopt_status check_limited(checking *c, int64_t limit, const trial *r, bool *wrong)
{
    gopt_graph *g;
    gopt_report *report;
    gopt_status s = optimized(c, limit, &g, &report);
    *wrong = s == GOPT_OK && is_wrong(c, g, r, &s);
    gopt_report_destroy(report);
    gopt_graph_destroy(g);
    return s;
}

static const gopt_remark *last_applied(const gopt_report *report, int64_t *n)
{
    const gopt_report_summary *m = gopt_report_get(report);
    const gopt_remark *last = NULL;
    *n = 0;
    for (size_t i = 0; i < m->n_remarks; i++)
        if (m->remarks[i].kind == GOPT_APPLIED) {
            last = &m->remarks[i];
            ++*n;
        }
    return last;
}

static gopt_status count_rewrites(checking *c, int64_t *n)
{
    gopt_graph *g;
    gopt_report *report;
    TRY(optimized(c, -1, &g, &report));
    (void)last_applied(report, n);
    gopt_report_destroy(report);
    gopt_graph_destroy(g);
    return GOPT_OK;
}

/* ---- passes that make no single rewrites ---- */

typedef struct watch {
    checking *c;
    const trial *r;
    gopt_status status;
    bool found;
} watch;

static void look(void *user, gopt_graph *g, const char *pass, int index)
{
    watch *w = user;
    if (w->found || w->status != GOPT_OK || !is_wrong(w->c, g, w->r, &w->status))
        return;
    w->found = true;
    snprintf(w->c->v->rule, sizeof w->c->v->rule, "%s", pass);
    snprintf(w->c->v->at, sizeof w->c->v->at, "pass %d", index);
}

static gopt_status find_pass(checking *c, const trial *r)
{
    watch w = { .c = c, .r = r };
    gopt_optimize_options o = *c->o;
    gopt_graph *g = NULL;
    o.rewrite_limit = -1;
    o.dump_dir = NULL;
    o.after_pass = look;
    o.after_pass_user = &w;
    gopt_status s = gopt_graph_clone(c->before, &g);
    if (s == GOPT_OK)
        s = gopt_optimize(g, &o, NULL);
    gopt_graph_destroy(g);
    return s == GOPT_OK ? w.status : s;
}

/* ---- the smallest graph that shows it ---- */

typedef struct showing {
    checking *c;
    const char *pass; /* what to run: the rule alone, or its pass */
} showing;

/* Is what the rule makes of g, alone, something that answers otherwise? Whatever g itself lacks is no answer. */
static gopt_status shows(void *user, const gopt_graph *g, bool *out)
{
    const showing *w = user;
    checking *c = w->c;
    gopt_graph *after = NULL;
    gopt_optimize_options o = *c->o;
    o.passes = w->pass;
    o.skip = NULL;
    o.rewrite_limit = 0;
    o.dump_dir = NULL;
    o.after_pass = NULL;
    *out = false;
    gopt_status s = gopt_graph_clone(g, &after);
    if (s == GOPT_OK)
        s = gopt_optimize(after, &o, NULL);
    binding b;
    const bool dynamic = is_dynamic(g);
    for (size_t i = 0; s == GOPT_OK && !*out && binding_get(i, &b) && (dynamic || i == 0); i++) {
        trial r;
        if (trial_make(c, g, &b, &r) == GOPT_OK)
            *out = is_wrong(c, after, &r, &s);
        trial_free(&r);
    }
    gopt_graph_destroy(after);
    tool_forget(c->t);
    return s == GOPT_NO_MEMORY ? s : GOPT_OK;
}

/* Can this name stand in --passes? Rules that a pass carries out itself (fuse_horizontal, if_known) are not rows. */
static bool runs_alone(checking *c, const char *name)
{
    gopt_graph *g = NULL;
    gopt_optimize_options o = *c->o;
    o.passes = name;
    o.skip = NULL;
    o.dump_dir = NULL;
    o.after_pass = NULL;
    const bool done = gopt_graph_create(c->t->cx, "empty", 0, &g) == GOPT_OK && gopt_optimize(g, &o, NULL) == GOPT_OK;
    gopt_graph_destroy(g);
    tool_forget(c->t);
    return done;
}

static gopt_status find_subgraph(checking *c, gopt_graph *before, gopt_graph *after, const gopt_remark *m)
{
    showing w = { .c = c, .pass = m->rule && runs_alone(c, m->rule) ? m->rule : m->pass };
    snprintf(c->v->alone, sizeof c->v->alone, "%s", w.pass);
    c->t->muted = true;
    const gopt_status s = gopt_reduce(before, after, shows, &w, &c->v->subgraph);
    c->t->muted = false;
    return s;
}

/* ---- the rewrite ---- */

static gopt_status take_culprit(checking *c, int64_t number)
{
    verdict *v = c->v;
    gopt_graph *before = NULL, *after = NULL;
    gopt_report *report_before = NULL, *report = NULL;
    int64_t n = 0;
    gopt_status s = optimized(c, number - 1, &before, &report_before);
    if (s == GOPT_OK)
        s = optimized(c, number, &after, &report);
    const gopt_remark *m = s == GOPT_OK ? last_applied(report, &n) : NULL;
    if (m) {
        v->rewrite = number;
        snprintf(v->rule, sizeof v->rule, "%s", m->rule ? m->rule : m->pass);
        snprintf(v->at, sizeof v->at, "%s", m->at ? m->at : "?");
        snprintf(v->means, sizeof v->means, "%s", m->reason ? m->reason : "");
        s = find_subgraph(c, before, after, m);
    }
    gopt_report_destroy(report_before);
    gopt_report_destroy(report);
    gopt_graph_destroy(before);
    gopt_graph_destroy(after);
    return s;
}

gopt_status find_culprit(checking *c, const trial *r)
{
    int64_t good = 0, bad = 0;
    bool wrong;
    TRY(check_limited(c, 0, r, &wrong));
    if (wrong)
        return find_pass(c, r);
    TRY(count_rewrites(c, &bad));
    if (bad < 1)
        return GOPT_OK;
    TRY(check_limited(c, bad, r, &wrong));
    if (!wrong) /* not by the rewrites alone: nothing more can be said */
        return GOPT_OK;
    while (bad - good > 1) {
        const int64_t middle = good + (bad - good) / 2;
        TRY(check_limited(c, middle, r, &wrong));
        *(wrong ? &bad : &good) = middle;
    }
    return take_culprit(c, bad);
}
