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
    *a = (answers){ 0 };
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
    for (size_t i = 0; s == GOPT_OK && i < out->n; i++)
        out->p[i] = gopt_run_context_output(out->rc, i);
    if (s != GOPT_OK)
        answers_free(out);
    return s;
}

gopt_status run_once(tool *t, gopt_graph *g, const run_spec *spec, gopt_tensor *const *in, answers *out)
{
    gopt_graph *copy = NULL;
    gopt_engine_options engine = { .backend = spec->backend,
                                   .precision = spec->precision,
                                   .threads = (int)t->o.threads,
                                   .fp = tool_fp(t),
                                   .reference = !spec->level };
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
    gopt_report_destroy(report);
    if (s == GOPT_OK)
        s = run_engine(t, copy, &engine, in, out);
    gopt_kernels_close(engine.kernels);
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
} side;

typedef struct comparing {
    tool *t;
    side a, b;
    gopt_tensor **in;
    size_t n_in;
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

static gopt_status judge(comparing *c)
{
    tool *t = c->t;
    const double rtol = t->o.rtol < 0 ? 1e-3 : t->o.rtol, atol = t->o.atol < 0 ? 5e-4 : t->o.atol;
    json_t *outputs = json_array();
    size_t wrong = 0;
    const char *first = NULL;
    diff first_diff = { 0 };
    for (size_t i = 0; i < c->a.out.n; i++) {
        const char *name = gopt_graph_output_name(c->a.g, i);
        diff d;
        tensor_diff(c->b.out.p[i], c->a.out.p[i], rtol, atol, true, &d);
        json_array_append_new(outputs, json_diff(name, &d));
        if (d.same && d.min > d.max)
            say(t, "  %ssame%s  %s: no elements\n", green(t), plain(t), name);
        else if (d.same)
            say(t,
                "  %ssame%s  %s: worst error %.3g of the tolerance, largest difference %.3g, values from %.4g to "
                "%.4g\n",
                green(t), plain(t), name, d.worst, d.max_abs, d.min, d.max);
        else if (!wrong++) {
            first = name;
            first_diff = d;
        }
    }
    gopt_status s = GOPT_OK;
    if (t->o.json) {
        json_t *j = json_object();
        json_object_set_new(j, "a", json_text(c->a.text));
        json_object_set_new(j, "b", json_text(c->b.text));
        json_object_set_new(j, "same", json_boolean(!wrong));
        json_object_set_new(j, "first_different", json_text(first));
        json_object_set_new(j, "outputs", outputs);
        s = tool_write_json(t, t->o.json, j);
    } else {
        json_decref(outputs);
    }
    TRY(s);
    if (wrong)
        return tool_fail(t, GOPT_DIFFERENT, c->b.path, NULL,
                         "%zu of %zu outputs differ between %s and %s, the first is %s: %s; values from %.4g to %.4g",
                         wrong, c->a.out.n, c->a.text, c->b.text, first, first_diff.why, first_diff.min,
                         first_diff.max);
    say(t, "%zu output%s between %s and %s\n", c->a.out.n, c->a.out.n == 1 ? " agrees" : "s agree", c->a.text,
        c->b.text);
    return GOPT_OK;
}

static gopt_status compare_steps(comparing *c)
{
    tool *t = c->t;
    const bool two = t->o.args.n > 1;
    c->a = (side){ .text = t->o.a ? t->o.a : two ? "cpu" : "cpu,level=0", .path = tool_model(t) };
    c->b = (side){ .text = t->o.b ? t->o.b : "cpu", .path = t->o.args.p[two] };
    TRY(run_spec_parse(t, c->a.text, &c->a.spec));
    TRY(run_spec_parse(t, c->b.text, &c->b.spec));
    if (t->o.html) {
        c->a.spec.title = two ? c->a.path : c->a.text;
        c->b.spec.title = two ? c->b.path : c->b.text;
    }
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
    TRY(page_write(t));
    return judge(c);
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
    return s;
}
