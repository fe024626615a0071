/* gopt compare --budget: limits that a continuous-integration job puts on a model against the one before it.
 *
 * A budget is a JSON object: a key of the table below, and the most that the second side may have, absolutely ("max"),
 * as a multiple of the first ("ratio"), or both. What cannot be measured on a side is no answer, and so an error. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fusions.h"

typedef enum unit { COUNT, BYTES, MS } unit;

enum {
    NODES,
    OPTIMIZED_NODES,
    STEPS,
    PARAMETER_BYTES,
    FILE_BYTES,
    MEMORY_BYTES,
    LATENCY_MS,
    FUSIONS_LOST,
    LINT_ERRORS,
    LINT_WARNINGS,
    N_LIMITS
};

typedef struct limit_row {
    const char *name;
    unit unit;
    bool ratio; /* may be given as a multiple of the first side */
} limit_row;

static const limit_row rows[N_LIMITS] = {
    [NODES] = { "nodes", COUNT, true },
    [OPTIMIZED_NODES] = { "optimized_nodes", COUNT, true },
    [STEPS] = { "steps", COUNT, true },
    [PARAMETER_BYTES] = { "parameter_bytes", BYTES, true },
    [FILE_BYTES] = { "file_bytes", BYTES, true },
    [MEMORY_BYTES] = { "memory_bytes", BYTES, true },
    [LATENCY_MS] = { "latency_ms", MS, true },
    [FUSIONS_LOST] = { "fusions_lost", COUNT, false },
    [LINT_ERRORS] = { "lint_errors", COUNT, true },
    [LINT_WARNINGS] = { "lint_warnings", COUNT, true },
};

/* ---- reading ---- */

static gopt_status unknown_key(tool *t, const char *where, const char *key, const char *const *known, size_t n)
{
    char hint[256];
    const char *near = nearest(key, known, n);
    if (near)
        snprintf(hint, sizeof hint, "did you mean \"%s\"?", near);
    else
        snprintf(hint, sizeof hint, "docs/compare.md lists the keys");
    return tool_fail(t, GOPT_BAD_INPUT, t->o.budget, hint, "%s has no key \"%.60s\"", where, key);
}

static bool is_amount(const json_t *v)
{
    return json_is_number(v) && json_number_value(v) >= 0;
}

static gopt_status check_limit(tool *t, const limit_row *r, const json_t *v)
{
    static const char *const keys[] = { "max", "ratio" };
    const char *key;
    const json_t *one;
    if (is_amount(v))
        return GOPT_OK;
    if (!json_is_object(v) || !json_object_size(v))
        return tool_fail(t, GOPT_BAD_INPUT, t->o.budget, "write a number, or {\"max\": N, \"ratio\": R}",
                         "\"%s\" is no limit, expected a number of at least 0", r->name);
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
    {
        if (strcmp(key, "max") != 0 && strcmp(key, "ratio") != 0)
            return unknown_key(t, r->name, key, keys, 2);
        if (!is_amount(one))
            return tool_fail(t, GOPT_BAD_INPUT, t->o.budget, NULL, "\"%s\" of %s is no number of at least 0", key,
                             r->name);
        if (!strcmp(key, "ratio") && !r->ratio)
            return tool_fail(t, GOPT_BAD_INPUT, t->o.budget, "write {\"max\": 0}",
                             "%s counts what the first side has and the second has not: it has no ratio", r->name);
    }
    return GOPT_OK;
}

static gopt_status check_answers(tool *t, const json_t *v)
{
    static const char *const keys[] = { "rtol", "atol" };
    const char *key;
    const json_t *one;
    if (json_is_false(v))
        return GOPT_OK;
    if (!json_is_object(v))
        return tool_fail(t, GOPT_BAD_INPUT, t->o.budget,
                         "write {\"rtol\": 1e-3, \"atol\": 5e-4}, or false for any answers",
                         "\"answers\" is neither tolerances nor false");
    json_object_foreach((json_t *)(uintptr_t)v, key, one)
    {
        if (strcmp(key, "rtol") != 0 && strcmp(key, "atol") != 0)
            return unknown_key(t, "answers", key, keys, 2);
        if (!is_amount(one))
            return tool_fail(t, GOPT_BAD_INPUT, t->o.budget, NULL, "\"%s\" of answers is no number of at least 0", key);
    }
    return GOPT_OK;
}

static gopt_status check(tool *t, const json_t *budget)
{
    const char *known[N_LIMITS + 2] = { "about", "answers" };
    const char *key;
    const json_t *v;
    for (size_t i = 0; i < N_LIMITS; i++)
        known[i + 2] = rows[i].name;
    if (!json_is_object(budget))
        return tool_fail(t, GOPT_BAD_INPUT, t->o.budget, NULL, "is no JSON object");
    json_object_foreach((json_t *)(uintptr_t)budget, key, v)
    {
        size_t i = 0;
        while (i < N_LIMITS && strcmp(rows[i].name, key) != 0)
            i++;
        if (i < N_LIMITS)
            TRY(check_limit(t, &rows[i], v));
        else if (!strcmp(key, "answers"))
            TRY(check_answers(t, v));
        else if (strcmp(key, "about") != 0)
            return unknown_key(t, "a budget", key, known, N_LIMITS + 2);
        else if (!json_is_string(v))
            return tool_fail(t, GOPT_BAD_INPUT, t->o.budget, NULL, "\"about\" is no text");
    }
    return GOPT_OK;
}

gopt_status budget_read(tool *t, json_t **out)
{
    uint8_t *p;
    size_t n;
    json_error_t e;
    *out = NULL;
    if (!t->o.budget)
        return GOPT_OK;
    TRY(tool_read_file(t, t->o.budget, &p, &n));
    *out = json_loadb((const char *)p, n, JSON_REJECT_DUPLICATES, &e);
    free(p);
    if (!*out)
        return tool_fail(t, GOPT_BAD_INPUT, t->o.budget, NULL, "line %d, column %d: %s", e.line, e.column, e.text);
    return check(t, *out);
}

bool budget_answers(const json_t *budget, double *rtol, double *atol)
{
    const json_t *v = json_object_get(budget, "answers"), *r = json_object_get(v, "rtol"),
                 *a = json_object_get(v, "atol");
    *rtol = r ? json_number_value(r) : -1;
    *atol = a ? json_number_value(a) : -1;
    return !json_is_false(v);
}

/* ---- measuring ---- */

typedef struct measured {
    double v[N_LIMITS]; /* NAN: not to be had */
} measured;

/* Of the first key that the report has. */
static double of_report(const json_t *j, const char *key, const char *inner)
{
    const json_t *v = json_object_get(j, key);
    v = inner ? json_object_get(v, inner) : v;
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* What `run --json` and `optimize --json` write. */
static void measure_report(const json_t *j, measured *m)
{
    m->v[NODES] = of_report(j, "nodes_before", NULL);
    m->v[OPTIMIZED_NODES] = of_report(j, "nodes_after", NULL);
    m->v[STEPS] = of_report(j, "steps", NULL);
    m->v[PARAMETER_BYTES] = of_report(j, "parameter_bytes_after", NULL);
    m->v[MEMORY_BYTES] = of_report(j, "activation_bytes", NULL) + of_report(j, "weight_bytes", NULL);
    m->v[LATENCY_MS] = of_report(j, "latency_ms", "median");
}

static gopt_status measure_model(const budget_side *s, bool lint, measured *m)
{
    const gopt_report_summary *r = gopt_report_get(s->run->report);
    const gopt_engine_info *i = gopt_engine_get_info(s->run->e);
    struct stat st;
    m->v[NODES] = (double)r->nodes_before;
    m->v[OPTIMIZED_NODES] = (double)r->nodes_after;
    m->v[STEPS] = (double)i->steps;
    m->v[PARAMETER_BYTES] = (double)r->parameter_bytes_before;
    const uint64_t bytes = gopt_graph_file_bytes(s->g);
    m->v[FILE_BYTES] = bytes ? (double)bytes : !stat(s->path, &st) ? (double)st.st_size : NAN;
    m->v[MEMORY_BYTES] = (double)i->activation_bytes + (double)i->weight_bytes;
    if (lint) {
        const gopt_lint_report *l;
        TRY(gopt_lint(s->g, NULL, &l));
        m->v[LINT_ERRORS] = (double)l->errors;
        m->v[LINT_WARNINGS] = (double)l->warnings;
    }
    return GOPT_OK;
}

/* Runs twice and times the second: the first brings this side's weights back into the caches. */
static gopt_status run_timed(gopt_run_context *rc, double *ms)
{
    TRY(gopt_run(rc));
    const double start = now_seconds();
    TRY(gopt_run(rc));
    *ms = 1e3 * (now_seconds() - start);
    return GOPT_OK;
}

/* Turn by turn, so that what else the machine does meets both alike: the ratio is the median of the turns' ratios. */
static gopt_status measure_latency(const budget_side *a, const budget_side *b, double *ms_a, double *ms_b,
                                   double *ratio)
{
    enum { FEWEST = 15, MOST = 201 };
    static const double seconds = 2;
    double x[MOST], y[MOST], q[MOST];
    size_t n = 0;
    const double start = now_seconds();
    while (n < MOST && (n < FEWEST || now_seconds() - start < seconds)) {
        const bool first = n % 2 == 0;
        TRY(run_timed(first ? a->run->rc : b->run->rc, first ? &x[n] : &y[n]));
        TRY(run_timed(first ? b->run->rc : a->run->rc, first ? &y[n] : &x[n]));
        q[n] = x[n] > 0 ? y[n] / x[n] : NAN;
        n++;
    }
    *ms_a = summary_of(x, n).median;
    *ms_b = summary_of(y, n).median;
    *ratio = summary_of(q, n).median;
    return GOPT_OK;
}

/* ---- judging ---- */

typedef struct judging {
    tool *t;
    const json_t *budget;
    const budget_side *a, *b;
    measured ma, mb;
    double latency_ratio; /* NAN: of the two medians */
    lost_fusions lost;
    json_t *limits;
    char why[1600]; /* the paragraph */
    size_t passed_over, judged;
} judging;

static void add_why(judging *j, const char *text)
{
    const size_t n = strlen(j->why);
    snprintf(j->why + n, sizeof j->why - n, "%s%s", n ? "; " : "", text);
}

static char *amount(double v, unit u)
{
    return u == BYTES ? text_of("%s", bytes_text((uint64_t)v).p)
           : u == MS  ? text_of("%.4g ms", v)
                      : text_of("%s", count_text((uint64_t)v).p);
}

static void tell(judging *j, const limit_row *r, double a, double b, double ratio, double max, double most_ratio,
                 bool over)
{
    char *from = isnan(a) ? strdup("?") : amount(a, r->unit), *to = amount(b, r->unit), *limit = amount(max, r->unit);
    char rule[96] = "", text[256];
    if (!isinf(max))
        snprintf(rule, sizeof rule, "at most %s", limit ? limit : "");
    if (!isinf(most_ratio))
        snprintf(rule + strlen(rule), sizeof rule - strlen(rule), "%sat most %.4g of the first", *rule ? ", " : "",
                 most_ratio);
    say(j->t, "  %s%-4s%s %-16s %s%s%s", over ? red(j->t) : green(j->t), over ? "over" : "ok", plain(j->t), r->name,
        r->ratio && from ? from : "", r->ratio ? " → " : "", to ? to : "");
    if (r->ratio && isfinite(ratio) && ratio != 1)
        say(j->t, " (%.4g times)", ratio);
    say(j->t, "  %s%s%s\n", dim(j->t), rule, plain(j->t));
    if (over && r != &rows[FUSIONS_LOST]) {
        if (b > max)
            snprintf(text, sizeof text, "%s is %s, allowed at most %s", r->name, to ? to : "", limit ? limit : "");
        else if (isinf(ratio))
            snprintf(text, sizeof text, "%s is %s, the first has none", r->name, to ? to : "");
        else
            snprintf(text, sizeof text, "%s is %s, %.4g times the first's %s, allowed at most %.4g times", r->name,
                     to ? to : "", ratio, from ? from : "", most_ratio);
        add_why(j, text);
    }
    json_array_append_new(j->limits,
                          json_pack("{s:s, s:o, s:f, s:o, s:o, s:o, s:b}", "name", r->name, "a",
                                    isnan(a) ? json_null() : json_real(a), "b", b, "ratio",
                                    isnan(ratio) || isinf(ratio) ? json_null() : json_real(ratio), "max",
                                    isinf(max) ? json_null() : json_real(max), "max_ratio",
                                    isinf(most_ratio) ? json_null() : json_real(most_ratio), "passed", !over));
    free(from);
    free(to);
    free(limit);
}

static gopt_status judge_limit(judging *j, size_t i)
{
    const limit_row *r = &rows[i];
    const json_t *v = json_object_get(j->budget, r->name);
    const json_t *max = json_is_number(v) ? v : json_object_get(v, "max"), *most = json_object_get(v, "ratio");
    const double a = j->ma.v[i], b = j->mb.v[i];
    if (!v)
        return GOPT_OK;
    if (isnan(b) || (most && isnan(a)))
        return tool_fail(j->t, GOPT_BAD_INPUT, isnan(b) ? j->b->path : j->a->path,
                         "compare the models themselves, or take the key out of the budget", "does not say its %s",
                         r->name);
    const double ratio = i == LATENCY_MS && !isnan(j->latency_ratio) ? j->latency_ratio
                         : isnan(a)                                  ? NAN
                         : a > 0                                     ? b / a
                         : b > 0                                     ? INFINITY
                                                                     : 1;
    const double limit = max ? json_number_value(max) : INFINITY,
                 most_ratio = most ? json_number_value(most) : INFINITY;
    const bool over = b > limit || (most && ratio > most_ratio);
    tell(j, r, a, b, ratio, limit, most_ratio, over);
    j->judged++;
    j->passed_over += over;
    return GOPT_OK;
}

/* Each fusion that is gone, with its reason; the first three stand in the paragraph. */
static void tell_lost(judging *j)
{
    enum { SHOWN = 3 };
    const json_t *v = json_object_get(j->budget, "fusions_lost");
    const json_t *max = json_is_number(v) ? v : json_object_get(v, "max");
    const bool over = max && (double)j->lost.n > json_number_value(max);
    char text[512];
    for (size_t i = 0; i < j->lost.n && (i < 10 || j->t->o.verbose); i++)
        say(j->t, "       %slost%s %s: %s\n", red(j->t), plain(j->t), j->lost.p[i].what, j->lost.p[i].reason);
    if (!over)
        return;
    snprintf(text, sizeof text, "%zu fusion%s of the first %s lost, allowed at most %g", j->lost.n,
             j->lost.n == 1 ? "" : "s", j->lost.n == 1 ? "is" : "are", json_number_value(max));
    add_why(j, text);
    for (size_t i = 0; i < j->lost.n && i < SHOWN; i++) {
        snprintf(text, sizeof text, "%.160s, since %.300s", j->lost.p[i].what, j->lost.p[i].reason);
        add_why(j, text);
    }
}

static json_t *as_json(const judging *j)
{
    json_t *lost = json_array();
    for (size_t i = 0; i < j->lost.n; i++)
        json_array_append_new(lost, json_pack("{s:o, s:o}", "fusion", json_text(j->lost.p[i].what), "reason",
                                              json_text(j->lost.p[i].reason)));
    return json_pack("{s:b, s:O, s:o, s:o}", "passed", !j->passed_over, "limits", j->limits, "fusions_lost", lost,
                     "reason", j->passed_over ? json_text(j->why) : json_null());
}

static gopt_status judge_steps(judging *j, const char *wrong)
{
    const bool lint = json_object_get(j->budget, "lint_errors") || json_object_get(j->budget, "lint_warnings");
    for (size_t i = 0; i < N_LIMITS; i++)
        j->ma.v[i] = j->mb.v[i] = NAN;
    if (j->a->report) {
        measure_report(j->a->report, &j->ma);
        measure_report(j->b->report, &j->mb);
    } else {
        TRY(measure_model(j->a, lint, &j->ma));
        TRY(measure_model(j->b, lint, &j->mb));
        if (json_object_get(j->budget, "fusions_lost")) {
            TRY(fusions_compare(j->t, j->a->run, j->b->run, &j->lost));
            j->mb.v[FUSIONS_LOST] = (double)j->lost.n;
        }
        if (json_object_get(j->budget, "latency_ms"))
            TRY(measure_latency(j->a, j->b, &j->ma.v[LATENCY_MS], &j->mb.v[LATENCY_MS], &j->latency_ratio));
    }
    if (wrong) {
        j->passed_over++;
        add_why(j, wrong);
    }
    for (size_t i = 0; i < N_LIMITS; i++) {
        TRY(judge_limit(j, i));
        if (i == FUSIONS_LOST)
            tell_lost(j);
    }
    return GOPT_OK;
}

gopt_status budget_judge(tool *t, const json_t *budget, const budget_side *a, const budget_side *b, const char *wrong,
                         json_t **out)
{
    judging j = { .t = t, .budget = budget, .a = a, .b = b, .latency_ratio = NAN, .limits = json_array() };
    gopt_status s = judge_steps(&j, wrong);
    if (s == GOPT_OK && out)
        *out = as_json(&j);
    if (s == GOPT_OK && j.passed_over)
        s = tool_fail(t, GOPT_DIFFERENT, b->path, NULL, "is over the budget of %s: %s", t->o.budget, j.why);
    else if (s == GOPT_OK)
        say(t, "within the budget of %s: %zu limit%s\n", t->o.budget, j.judged, j.judged == 1 ? "" : "s");
    fusions_free(&j.lost);
    json_decref(j.limits);
    return s;
}
