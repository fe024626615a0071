/* gopt optimize: runs the passes, says what they did, writes and draws the result. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

typedef struct work {
    tool *t;
    gopt_graph *before, *after;
    gopt_report *report;
    gopt_optimize_options o;
    char *skip;
    verdict verdict;
    bool verified;
    cut_off cut;
    char *dumped; /* file with the verdict's subgraph */
} work;

/* ---- the summary ---- */

static int64_t count_of(const gopt_op_count *ops, size_t n, const char *op)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(ops[i].op, op))
            return ops[i].count;
    return 0;
}

static void print_row(work *w, const char *op, int64_t before, int64_t after)
{
    enum { WIDTH = 28 };
    const tool *t = w->t;
    char *name = text_fit(op, 0);
    const int pad = WIDTH - (name ? text_columns(name) : 1);
    printf("  %s%*s %7lld %7lld", name ? name : "?", pad > 0 ? pad : 0, "", (long long)before, (long long)after);
    free(name);
    if (before != after)
        printf("  %s%+lld%s", after < before ? green(t) : red(t), (long long)(after - before), plain(t));
    putchar('\n');
}

static void print_operators(work *w, const gopt_report_summary *r)
{
    printf("\n%s  %-28s %7s %7s%s\n", dim(w->t), "operator", "before", "after", plain(w->t));
    for (size_t i = 0; i < r->n_ops_before; i++)
        print_row(w, r->ops_before[i].op, r->ops_before[i].count,
                  count_of(r->ops_after, r->n_ops_after, r->ops_before[i].op));
    for (size_t i = 0; i < r->n_ops_after; i++)
        if (!count_of(r->ops_before, r->n_ops_before, r->ops_after[i].op))
            print_row(w, r->ops_after[i].op, 0, r->ops_after[i].count);
}

static void print_rules(work *w, const gopt_report_summary *r)
{
    bool any = false;
    for (size_t i = 0; i < r->n_passes; i++)
        for (size_t k = 0; k < r->passes[i].n_rewrites; k++) {
            if (!any)
                printf("\n%s  %-40s %7s%s\n", dim(w->t), "rewrite", "times", plain(w->t));
            any = true;
            printf("  %-40s %7lld  %sin %s%s\n", r->passes[i].rewrites[k].rule,
                   (long long)r->passes[i].rewrites[k].count, dim(w->t), r->passes[i].name, plain(w->t));
        }
}

static void print_stats(work *w, const gopt_report_summary *r)
{
    printf("\n%s  %-20s %9s %7s %7s  %s%s\n", dim(w->t), "pass", "ms", "before", "after", "rewrites", plain(w->t));
    for (size_t i = 0; i < r->n_passes; i++) {
        const gopt_pass_stat *p = &r->passes[i];
        printf("  %-20s %9.3f %7lld %7lld", p->name, p->ms, (long long)p->nodes_before, (long long)p->nodes_after);
        for (size_t k = 0; k < p->n_rewrites; k++)
            printf("%s%s %lld", k ? ", " : "  ", p->rewrites[k].rule, (long long)p->rewrites[k].count);
        printf("%s\n", p->n_rewrites || p->changed ? "" : "  unchanged");
    }
}

static void print_summary(work *w)
{
    const tool *t = w->t;
    const gopt_report_summary *r = gopt_report_get(w->report);
    if (t->o.quiet)
        return;
    printf("%s%s%s: %s%lld nodes%s before, %s%lld%s after", bold(t), tool_model(t), plain(t), bold(t),
           (long long)r->nodes_before, plain(t), bold(t), (long long)r->nodes_after, plain(t));
    if (r->fusions)
        printf(", %lld fusions", (long long)r->fusions);
    printf("; weights %s", bytes_text(r->parameter_bytes_before).p);
    if (r->parameter_bytes_after != r->parameter_bytes_before)
        printf(" before, %s after", bytes_text(r->parameter_bytes_after).p);
    printf("; %.*f ms\n", r->ms < 10 ? 1 : 0, r->ms);
    if (r->rewrite_limit_hit)
        printf("stopped after %lld rewrites (--rewrite-limit)\n", (long long)t->o.rewrite_limit);
    print_operators(w, r);
    print_rules(w, r);
    if (t->o.stats)
        print_stats(w, r);
    if (w->verified)
        printf("\n%sverified%s: the same answers on seeded inputs, worst error %.3g of the tolerance%s%s\n", green(t),
               plain(t), w->verdict.worst, w->verdict.sizes[0] ? "; with " : "", w->verdict.sizes);
}

/* ---- JSON ---- */

static json_t *json_passes(const gopt_report_summary *r)
{
    json_t *a = json_array();
    for (size_t i = 0; i < r->n_passes; i++) {
        json_t *o = json_object(), *rewrites = json_object();
        for (size_t k = 0; k < r->passes[i].n_rewrites; k++)
            json_object_set_new(rewrites, r->passes[i].rewrites[k].rule, json_integer(r->passes[i].rewrites[k].count));
        json_object_set_new(o, "name", json_text(r->passes[i].name));
        json_object_set_new(o, "ms", json_real(r->passes[i].ms));
        json_object_set_new(o, "changed", json_boolean(r->passes[i].changed));
        json_object_set_new(o, "nodes_before", json_integer(r->passes[i].nodes_before));
        json_object_set_new(o, "nodes_after", json_integer(r->passes[i].nodes_after));
        json_object_set_new(o, "rewrites", rewrites);
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *json_verify(const work *w)
{
    const verdict *v = &w->verdict;
    json_t *o = json_object();
    json_object_set_new(o, "passed", json_boolean(v->passed));
    json_object_set_new(o, "worst", isfinite(v->worst) ? json_real(v->worst) : json_null());
    json_object_set_new(o, "tolerance", json_real(v->tolerance));
    json_object_set_new(o, "sizes", json_text(v->sizes));
    if (v->passed)
        return o;
    json_object_set_new(o, "reason", json_text(v->reason));
    if (!v->rule[0])
        return o;
    json_t *c = json_object();
    json_object_set_new(c, "rewrite", v->rewrite ? json_integer(v->rewrite) : json_null());
    json_object_set_new(c, "rule", json_text(v->rule));
    json_object_set_new(c, "at", json_text(v->at));
    json_object_set_new(c, "reason", json_text(v->means));
    json_object_set_new(c, "subgraph", json_text(v->subgraph));
    json_object_set_new(c, "file", json_text(w->dumped));
    json_object_set_new(o, "culprit", c);
    return o;
}

static gopt_status write_json(work *w)
{
    const gopt_report_summary *r = gopt_report_get(w->report);
    json_t *j = json_object();
    json_object_set_new(j, "nodes_before", json_integer(r->nodes_before));
    json_object_set_new(j, "nodes_after", json_integer(r->nodes_after));
    json_object_set_new(j, "fusions", json_integer(r->fusions));
    json_object_set_new(j, "operators_before", json_op_counts(r->ops_before, r->n_ops_before));
    json_object_set_new(j, "operators_after", json_op_counts(r->ops_after, r->n_ops_after));
    json_object_set_new(j, "parameter_bytes_before", json_integer((json_int_t)r->parameter_bytes_before));
    json_object_set_new(j, "parameter_bytes_after", json_integer((json_int_t)r->parameter_bytes_after));
    json_object_set_new(j, "passes", json_passes(r));
    json_object_set_new(j, "remarks", json_remarks(w->t, r));
    if (w->t->o.verify)
        json_object_set_new(j, "verify", json_verify(w));
    if (w->cut.json)
        json_object_set(j, "cut", w->cut.json);
    json_object_set_new(j, "ms", json_real(r->ms));
    return tool_write_json(w->t, w->t->o.json, j);
}

/* ---- the whole ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

static gopt_status save(work *w)
{
    tool *t = w->t;
    const char *out = t->o.out;
    if (!out)
        return GOPT_OK;
    if (ends_with(out, ".gir"))
        return gopt_gir_save(w->after, out);
    const gopt_save_options o = { .external_data = t->o.external_data,
                                  .opset = (int)t->o.opset,
                                  .consume = !tool_draws(t) && !t->o.explorer };
    return gopt_onnx_save(w->after, out, &o);
}

/* "out.culprit.gir": beside the output, or in this folder under the model's name. Freed by the caller. */
static char *dump_path(const tool *t)
{
    const bool beside = t->o.out && strcmp(t->o.out, "-") != 0;
    const char *path = beside ? t->o.out : strcmp(tool_model(t), "-") ? tool_model(t) : "stdin";
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    if (t->o.verify_dump)
        return strdup(t->o.verify_dump);
    const int folder = beside ? (int)(name - path) : 0,
              stem = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    return text_of("%.*s%.*s.culprit.gir", folder, path, stem, name);
}

static gopt_status dump_subgraph(work *w)
{
    tool *t = w->t;
    const verdict *v = &w->verdict;
    if (!v->subgraph)
        return GOPT_OK;
    char *path = dump_path(t);
    char *text = path ? text_of("; The smallest graph on which %s answers otherwise:\n"
                                ";   gopt optimize %s --passes %s%s%s --verify\n%s",
                                v->rule, path, v->alone, t->o.planted ? " --planted " : "",
                                t->o.planted ? t->o.planted : "", v->subgraph)
                      : NULL;
    const gopt_status s = text ? tool_write_file(t, path, text, strlen(text)) : tool_no_memory(t);
    free(text);
    if (s == GOPT_OK)
        w->dumped = path;
    else
        free(path);
    return s;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

/* Says what is wrong, whose fault it is, and where to see it. */
static gopt_status accuse(work *w)
{
    enum { MOST_LINES = 24, MOST_BYTES = 4000 };
    tool *t = w->t;
    const verdict *v = &w->verdict;
    char what[1400], hint[1400] = "please report it";
    TRY(dump_subgraph(w));
    if (v->rewrite)
        snprintf(what, sizeof what, "caused by rewrite %lld, %s at %s%s%s", (long long)v->rewrite, v->rule, v->at,
                 v->means[0] ? ": " : "", v->means);
    else if (v->rule[0])
        snprintf(what, sizeof what, "caused by %s, which makes no single rewrites (%s)", v->rule, v->at);
    else
        snprintf(what, sizeof what, "no single rewrite causes it");
    if (v->rule[0])
        snprintf(hint, sizeof hint, "leave it out with --skip %s, and please report it%s%s%s", v->rule,
                 w->dumped ? " with " : "", w->dumped ? w->dumped : "",
                 w->dumped ? ", the smallest graph that shows it" : "");
    const gopt_status s = tool_fail(t, GOPT_DIFFERENT, tool_model(t), hint,
                                    "the optimized model answers otherwise: %s; %s", v->reason, what);
    const bool json = t->o.diagnostics && !strcmp(t->o.diagnostics, "json");
    if (v->subgraph && !json && !t->o.quiet && count_lines(v->subgraph) <= MOST_LINES &&
        strlen(v->subgraph) <= MOST_BYTES)
        fprintf(stderr, "%s", v->subgraph);
    return s;
}

static gopt_status verify(work *w)
{
    tool *t = w->t;
    if (!t->o.verify)
        return GOPT_OK;
    progress *p = progress_start(t, "verifying");
    const gopt_status s = verify_rewrites(t, w->before, w->after, &w->o, &w->verdict);
    progress_stop(p);
    w->verified = s == GOPT_OK;
    return s == GOPT_DIFFERENT ? accuse(w) : s;
}

static gopt_status check_options(tool *t)
{
    const char *const out = t->o.out;
    if (out && strcmp(out, "-") != 0 && !ends_with(out, ".onnx") && !ends_with(out, ".gir"))
        return tool_fail(t, GOPT_USAGE, out, "gopt optimize MODEL -o OUT.onnx",
                         "is no kind of model that can be written, expected .onnx or .gir");
    if (out && !strcmp(out, tool_model(t)) && strcmp(out, "-") != 0 && t->o.external_data)
        return tool_fail(t, GOPT_USAGE, out, NULL,
                         "is the model itself: its external weights would be overwritten while in use");
    if (out && !strcmp(out, "-") && t->o.drop_postprocess)
        return tool_fail(t, GOPT_USAGE, NULL, "gopt optimize MODEL --drop-postprocess -o OUT.onnx",
                         "--drop-postprocess writes three files, so stdout cannot take them");
    return tool_check_remarks(t);
}

static gopt_status optimize_steps(work *w)
{
    tool *t = w->t;
    const options *o = &t->o;
    const bool drawn = tool_draws(t);
    TRY(check_options(t));
    const bool part = o->drop_postprocess || o->extract.n || o->extract_in.n || o->extract_out.n;
    TRY(tool_optimize_options(t, &w->o, &w->skip));
    TRY(tool_load(t, tool_model(t), &w->after));
    if (!part)
        TRY(page_begin(t, tool_model(t), w->after));
    if (w->o.level > 0 || o->drop_postprocess)
        TRY(tool_lower_aten(t, w->after));
    TRY(tool_extract(t, &w->after));
    if (o->drop_postprocess)
        TRY(tool_cut(t, &w->after, &w->cut));
    if (part)
        TRY(page_begin(t, tool_model(t), w->after));
    if (drawn || o->explorer || o->verify)
        TRY(gopt_graph_clone(w->after, &w->before));
    progress *p = progress_start(t, "optimizing");
    gopt_status s = gopt_optimize(w->after, &w->o, &w->report);
    progress_stop(p);
    TRY(s);
    s = verify(w);
    if (s == GOPT_DIFFERENT && o->json)
        TRY(write_json(w));
    TRY(s);
    TRY(page_report(t, w->after, w->report));
    TRY(page_write(t));
    TRY(tool_cut_save(t, &w->cut));
    TRY(save(w));
    TRY(drawn ? tool_pictures(t, w->before, w->after, tool_model(t)) : GOPT_OK);
    TRY(explorer_write(t, w->before, w->after, NULL));
    if (o->json)
        TRY(write_json(w));
    if (o->remarks)
        tool_print_remarks(t, gopt_report_get(w->report));
    print_summary(w);
    return GOPT_OK;
}

gopt_status optimize(tool *t)
{
    if (t->o.list_passes)
        return list_passes(t);
    work w = { .t = t };
    const gopt_status s = optimize_steps(&w);
    gopt_report_destroy(w.report);
    gopt_graph_destroy(w.before);
    gopt_graph_destroy(w.after);
    tool_cut_free(&w.cut);
    gopt_text_free(t->cx, w.verdict.subgraph);
    free(w.dumped);
    free(w.skip);
    return s;
}
