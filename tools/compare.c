/* gopt compare: two models, or one in two ways, on the same inputs; and the ways themselves. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* ---- ways to run ---- */

gopt_status run_spec_parse(tool *t, const char *text, run_spec *s)
{
    static const char *const precisions[] = { "fp32", "tf32", "fp16", "bf16", "bf16x3", "bf16x6", "int8", "best" };
    *s = (run_spec){ .backend = "cpu", .precision = "fp32", .level = -1 };
    for (bool first = true; *text; first = false) {
        char word[128];
        const size_t n = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", n > 127 ? 127 : (int)n, text);
        text += n + (text[n] == ',');
        bool known = first;
        if (first)
            memcpy(s->backend, word, sizeof word);
        for (size_t i = 0; !known && i < sizeof precisions / sizeof precisions[0]; i++)
            if (strlen(precisions[i]) == strcspn(word, ":") && !strncmp(word, precisions[i], strcspn(word, ":")) &&
                strlen(word) < sizeof s->precision) {
                strcpy(s->precision, word); /* with what follows a colon, which is the backend's */
                known = true;
            }
        if (!known && !strcmp(word, "no-fuse"))
            known = s->no_fuse = true;
        if (!known && !strncmp(word, "level=", 6) && word[6] >= '0' && word[6] <= '3' && !word[7]) {
            s->level = word[6] - '0';
            known = true;
        }
        if (!known)
            return tool_fail(t, GOPT_USAGE, NULL,
                             "write BACKEND[,PRECISION][,level=N][,no-fuse], as in opencl,fp32,level=2",
                             "'%s' is no part of a way to run", word);
    }
    return GOPT_OK;
}

void answers_free(answers *a)
{
    free(a->p);
    gopt_run_context_destroy(a->rc);
    gopt_engine_destroy(a->e);
    gopt_report_destroy(a->report);
    gopt_graph_destroy(a->g);
    *a = (answers){ 0 };
}

/* Outputs of the last run: they may lie elsewhere after each. */
static void take_outputs(answers *a)
{
    for (size_t i = 0; i < a->n; i++)
        a->p[i] = gopt_run_context_output(a->rc, i);
}

static gopt_status run_engine(tool *t, gopt_graph *g, const gopt_engine_options *o, gopt_tensor *const *in,
                              answers *out)
{
    *out = (answers){ .n = gopt_graph_output_count(g) };
    gopt_status s = gopt_engine_create(g, o, &out->e);
    if (s == GOPT_OK)
        s = gopt_run_context_create(out->e, &out->rc);
    for (size_t i = 0; s == GOPT_OK && i < gopt_graph_input_count(g); i++)
        s = gopt_run_context_set_input(out->rc, i, in[i]);
    if (s == GOPT_OK)
        s = gopt_run(out->rc);
    out->p = s == GOPT_OK ? calloc(out->n + 1, sizeof *out->p) : NULL;
    if (s == GOPT_OK && !out->p)
        s = tool_no_memory(t);
    if (s == GOPT_OK)
        take_outputs(out);
    else
        answers_free(out);
    return s;
}

/* For --html: where the time of this side goes. */
static gopt_status show_run(tool *t, gopt_graph *before, gopt_graph *g, const gopt_engine_options *o, answers *a)
{
    enum { RUNS = 20 };
    timing m = { 0 };
    json_t *steps = NULL;
    t->o.iterations = RUNS;
    gopt_status s = time_runs(t, &a->rc, 1, &m);
    if (s == GOPT_OK)
        s = profile_write(t, a->e, a->rc, before, g, &steps);
    if (s == GOPT_OK)
        page_put(t, "run", page_run(t, a->e, a->rc, &m, o, steps, NULL));
    free(m.series);
    if (s == GOPT_OK)
        take_outputs(a);
    return s;
}

gopt_status run_once(tool *t, gopt_graph *g, const run_spec *spec, gopt_tensor *const *in, answers *out)
{
    gopt_graph *copy = NULL;
    gopt_engine_options engine = { .backend = spec->backend,
                                   .precision = spec->precision,
                                   .threads = (int)t->o.threads,
                                   .fp = tool_fp(t),
                                   .reference = !spec->level,
                                   .apart = spec->no_fuse };
    *out = (answers){ 0 };
    gopt_status s = gopt_graph_clone(g, &copy);
    if (s == GOPT_OK && !engine.reference)
        s = gopt_kernels_open(t->cx, &engine, &engine.kernels);
    gopt_optimize_options o = { .level = spec->level < 0 ? 2 : spec->level,
                                .fp = engine.fp,
                                .fuse = !spec->no_fuse,
                                .skip = spec->no_fuse ? "fuse-vertical,fuse-horizontal" : NULL,
                                .runs = engine.kernels ? gopt_kernels_run : NULL,
                                .runs_user = engine.kernels };
    gopt_report *report = NULL;
    if (s == GOPT_OK && spec->title) {
        o.after_pass = tool_after_pass;
        o.after_pass_user = t;
        s = page_begin(t, spec->title, copy);
    }
    if (s == GOPT_OK)
        s = gopt_optimize(copy, &o, &report);
    if (s == GOPT_OK && spec->title)
        s = page_report(t, copy, report);
    if (s == GOPT_OK)
        s = run_engine(t, copy, &engine, in, out);
    if (s == GOPT_OK && spec->title)
        s = show_run(t, g, copy, &engine, out);
    if (s == GOPT_OK && spec->keep) {
        out->g = copy;
        out->report = report;
        copy = NULL;
        report = NULL;
    } else if (s != GOPT_OK) {
        answers_free(out);
    }
    gopt_kernels_close(engine.kernels);
    gopt_report_destroy(report);
    gopt_graph_destroy(copy);
    return s;
}

gopt_status run_reference(tool *t, gopt_graph *g, gopt_tensor *const *in, answers *out)
{
    return run_engine(t, g, &(gopt_engine_options){ .backend = "cpu", .reference = true }, in, out);
}

/* ---- the subcommand ---- */

typedef struct side {
    const char *text, *path;
    run_spec spec;
    gopt_graph *g;
    answers out;
    json_t *report; /* of two --json files */
} side;

typedef struct comparing {
    tool *t;
    side a, b;
    gopt_tensor **in;
    size_t n_in;
    json_t *budget;
} comparing;

static gopt_status check_interfaces(comparing *c)
{
    const gopt_graph *a = c->a.g, *b = c->b.g;
    if (gopt_graph_input_count(a) != gopt_graph_input_count(b) ||
        gopt_graph_output_count(a) != gopt_graph_output_count(b))
        return tool_fail(c->t, GOPT_DIFFERENT, c->b.path, NULL, "has %zu inputs and %zu outputs, %s has %zu and %zu",
                         gopt_graph_input_count(b), gopt_graph_output_count(b), c->a.path, gopt_graph_input_count(a),
                         gopt_graph_output_count(a));
    for (size_t i = 0; i < gopt_graph_input_count(a); i++)
        if (strcmp(gopt_graph_input_name(a, i), gopt_graph_input_name(b, i)) != 0)
            return tool_fail(c->t, GOPT_DIFFERENT, c->b.path, NULL, "calls input %zu %s, %s calls it %s", i,
                             gopt_graph_input_name(b, i), c->a.path, gopt_graph_input_name(a, i));
    return GOPT_OK;
}

/* The second model's free shapes become the first's inputs'. */
static gopt_status fix_like_inputs(comparing *c)
{
    for (size_t i = 0; i < c->n_in; i++)
        if (c->in[i]->kind == GOPT_TENSOR)
            TRY(gopt_graph_fix_shape(c->b.g, gopt_graph_input_name(c->b.g, i), c->in[i]->rank, c->in[i]->dims));
    return GOPT_OK;
}

static json_t *json_diff(const char *name, const diff *d)
{
    json_t *o = json_object();
    json_object_set_new(o, "name", json_text(name));
    json_object_set_new(o, "same", json_boolean(d->same));
    json_object_set_new(o, "worst", isfinite(d->worst) ? json_real(d->worst) : json_null());
    json_object_set_new(o, "max_abs", isfinite(d->max_abs) ? json_real(d->max_abs) : json_null());
    json_object_set_new(o, "differ", json_integer(d->wrong));
    json_object_set_new(o, "elements", json_integer(d->elements));
    json_object_set_new(o, "reason", d->same ? json_null() : json_text(d->why));
    return o;
}

typedef struct verdict_of_outputs {
    size_t wrong;
    char *why; /* of those that are wrong; NULL where none is */
    const char *first;
    json_t *json;
} verdict_of_outputs;

static gopt_status judge_outputs(comparing *c, double rtol, double atol, verdict_of_outputs *v)
{
    tool *t = c->t;
    diff first = { 0 };
    v->json = json_array();
    rtol = t->o.rtol >= 0 ? t->o.rtol : rtol >= 0 ? rtol : 1e-3;
    atol = t->o.atol >= 0 ? t->o.atol : atol >= 0 ? atol : 5e-4;
    for (size_t i = 0; i < c->a.out.n; i++) {
        const char *name = gopt_graph_output_name(c->a.g, i);
        diff d;
        tensor_diff(c->b.out.p[i], c->a.out.p[i], rtol, atol, true, &d);
        json_array_append_new(v->json, json_diff(name, &d));
        if (d.same && d.min > d.max)
            say(t, "  %ssame%s  %s: no elements\n", green(t), plain(t), name);
        else if (d.same)
            say(t,
                "  %ssame%s  %s: worst error %.3g of the tolerance, largest difference %.3g, values from %.4g to "
                "%.4g\n",
                green(t), plain(t), name, d.worst, d.max_abs, d.min, d.max);
        else if (!v->wrong++) {
            v->first = name;
            first = d;
        }
    }
    if (v->wrong)
        v->why = text_of("%zu of %zu outputs differ between %s and %s, the first is %s: %s; values from %.4g to %.4g",
                         v->wrong, c->a.out.n, c->a.text, c->b.text, v->first, first.why, first.min, first.max);
    return v->wrong && !v->why ? tool_no_memory(t) : GOPT_OK;
}

static gopt_status write_comparison(comparing *c, const verdict_of_outputs *v, json_t *budget)
{
    json_t *j = json_object();
    json_object_set_new(j, "a", json_text(c->a.text));
    json_object_set_new(j, "b", json_text(c->b.text));
    json_object_set_new(j, "same", json_boolean(!v->wrong));
    json_object_set_new(j, "first_different", json_text(v->first));
    json_object_set(j, "outputs", v->json);
    if (budget)
        json_object_set(j, "budget", budget);
    return tool_write_json(c->t, c->t->o.json, j);
}

/* The answers, then the budget where there is one; the JSON says both, also where the answer is no. */
static gopt_status judge(comparing *c)
{
    tool *t = c->t;
    verdict_of_outputs v = { 0 };
    double rtol = -1, atol = -1;
    const bool strict = budget_answers(c->budget, &rtol, &atol);
    json_t *limits = NULL;
    gopt_status s = judge_outputs(c, rtol, atol, &v), no = GOPT_OK;
    if (s == GOPT_OK && !c->budget && v.wrong)
        no = tool_fail(t, GOPT_DIFFERENT, c->b.path, NULL, "%s", v.why);
    if (s == GOPT_OK && c->budget) {
        const budget_side a = { c->a.path, c->a.g, &c->a.out, NULL };
        const budget_side b = { c->b.path, c->b.g ? c->b.g : c->a.g, &c->b.out, NULL };
        no = budget_judge(t, c->budget, &a, &b, strict ? v.why : NULL, &limits);
        s = no == GOPT_DIFFERENT ? GOPT_OK : no;
        page_put(t, "budget", json_incref(limits));
    }
    if (s == GOPT_OK && t->o.json)
        s = write_comparison(c, &v, limits);
    if (s == GOPT_OK && !v.wrong)
        say(t, "%zu output%s between %s and %s\n", c->a.out.n, c->a.out.n == 1 ? " agrees" : "s agree", c->a.text,
            c->b.text);
    json_decref(v.json);
    json_decref(limits);
    free(v.why);
    return s == GOPT_OK ? no : s;
}

/* ---- two --json reports ---- */

static bool is_report(const char *path)
{
    const size_t n = strlen(path);
    return n > 5 && !strcmp(path + n - 5, ".json");
}

static gopt_status read_report(tool *t, const char *path, json_t **out)
{
    uint8_t *p;
    size_t n;
    json_error_t e;
    TRY(tool_read_file(t, path, &p, &n));
    *out = json_loadb((const char *)p, n, 0, &e);
    free(p);
    if (!*out)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "line %d, column %d: %s", e.line, e.column, e.text);
    if (!json_is_object(*out))
        return tool_fail(t, GOPT_BAD_INPUT, path, "write one with gopt run --json or gopt optimize --json",
                         "is no report");
    return GOPT_OK;
}

/* Every number that both have, one a line. */
static void print_numbers(const tool *t, const char *prefix, json_t *a, const json_t *b)
{
    const char *key;
    json_t *v;
    json_object_foreach(a, key, v)
    {
        const json_t *w = json_object_get(b, key);
        char name[128];
        snprintf(name, sizeof name, "%s%s%.60s", prefix, *prefix ? "." : "", key);
        if (json_is_object(v) && json_is_object(w) && !*prefix) {
            print_numbers(t, name, v, w);
        } else if (json_is_number(v) && json_is_number(w)) {
            const double x = json_number_value(v), y = json_number_value(w);
            if (x == 0 && y == 0)
                continue;
            say(t, "  %-32s %14.6g → %-14.6g", name, x, y);
            if (x > 0 && isfinite(y / x))
                say(t, " %s%.3f%s", y > 1.05 * x ? red(t) : y < 0.95 * x ? green(t) : dim(t), y / x, plain(t));
            say(t, "\n");
        }
    }
}

static gopt_status compare_reports(comparing *c)
{
    tool *t = c->t;
    const char *a = t->o.args.p[0], *b = t->o.args.p[1];
    json_t *limits = NULL;
    if (t->o.html || t->o.svg || t->o.dot || t->o.a || t->o.b)
        return tool_fail(t, GOPT_USAGE, NULL, "give the models for pictures and pages", "two reports hold no network");
    TRY(read_report(t, a, &c->a.report));
    TRY(read_report(t, b, &c->b.report));
    print_numbers(t, "", c->a.report, c->b.report);
    if (!c->budget)
        return GOPT_OK;
    const budget_side x = { a, NULL, NULL, c->a.report }, y = { b, NULL, NULL, c->b.report };
    const gopt_status no = budget_judge(t, c->budget, &x, &y, NULL, &limits);
    gopt_status s = no == GOPT_DIFFERENT ? GOPT_OK : no;
    if (s == GOPT_OK && t->o.json)
        s = tool_write_json(t, t->o.json,
                            json_pack("{s:o, s:o, s:O}", "a", json_text(a), "b", json_text(b), "budget", limits));
    json_decref(limits);
    return s == GOPT_OK ? no : s;
}

static gopt_status compare_steps(comparing *c)
{
    tool *t = c->t;
    const bool two = t->o.args.n > 1;
    TRY(budget_read(t, &c->budget));
    if (two && is_report(t->o.args.p[0]) && is_report(t->o.args.p[1]))
        return compare_reports(c);
    c->a = (side){ .text = t->o.a ? t->o.a : two ? "cpu" : "cpu,level=0", .path = tool_model(t) };
    c->b = (side){ .text = t->o.b ? t->o.b : "cpu", .path = t->o.args.p[two] };
    TRY(run_spec_parse(t, c->a.text, &c->a.spec));
    TRY(run_spec_parse(t, c->b.text, &c->b.spec));
    if (t->o.html) {
        c->a.spec.title = two ? c->a.path : c->a.text;
        c->b.spec.title = two ? c->b.path : c->b.text;
    }
    c->a.spec.keep = c->b.spec.keep = c->budget || t->o.svg || t->o.dot;
    TRY(tool_load(t, c->a.path, &c->a.g));
    TRY(tool_check_supported(t, c->a.g, c->a.path));
    if (two) {
        TRY(tool_load(t, c->b.path, &c->b.g));
        TRY(tool_check_supported(t, c->b.g, c->b.path));
        TRY(check_interfaces(c));
    }
    TRY(inputs_make(t, c->a.g, NULL, &c->in, &c->n_in));
    if (two)
        TRY(fix_like_inputs(c));
    progress *p = progress_start(t, "running");
    gopt_status s = run_once(t, c->a.g, &c->a.spec, c->in, &c->a.out);
    if (s == GOPT_OK)
        s = run_once(t, two ? c->b.g : c->a.g, &c->b.spec, c->in, &c->b.out);
    progress_stop(p);
    TRY(s);
    if (t->o.svg || t->o.dot)
        TRY(tool_pictures(t, c->a.out.g, c->b.out.g, two ? c->b.path : c->a.path));
    const gopt_status no = judge(c); /* the page is written where the answer is no, too: it says why */
    if (no == GOPT_OK || no == GOPT_DIFFERENT)
        TRY(page_write(t));
    return no;
}

gopt_status compare(tool *t)
{
    comparing c = { .t = t };
    const gopt_status s = compare_steps(&c);
    tensors_free(c.in, c.n_in);
    answers_free(&c.a.out);
    answers_free(&c.b.out);
    gopt_graph_destroy(c.a.g);
    gopt_graph_destroy(c.b.g);
    json_decref(c.a.report);
    json_decref(c.b.report);
    json_decref(c.budget);
    return s;
}
