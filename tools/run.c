/* gopt run: load, optimize, compile, run; then whatever was asked: outputs, comparison, timing, profile. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

typedef struct running {
    tool *t;
    gopt_graph *g, *before; /* before: as loaded, for --model-explorer; else NULL */
    gopt_report *report;
    gopt_engine_options engine;
    gopt_engine *e;
    gopt_plan *plan; /* that it was loaded from; NULL: it was built */
    double load_ms, contexts_ms;
    gopt_run_context **rc;
    size_t n_streams;
    gopt_tensor **in;
    size_t n_in;
    double samples;         /* a run: the first input's first size */
    json_t *worth, *copies; /* copies: NULL where there were none to and from a device */
    size_t samples_seen;    /* of --calibrate */
    timing timing;
    bool timed;
} running;

/* ---- building ---- */

/* Optimizes in place; keeps the graph from before where a picture wants it. */
static gopt_status optimize_for(running *r)
{
    tool *t = r->t;
    gopt_optimize_options o;
    char *skip = NULL;
    gopt_graph *before = NULL;
    gopt_status s = tool_optimize_options(t, &o, &skip);
    if (s == GOPT_OK && !r->engine.reference) {
        s = gopt_kernels_open(t->cx, &r->engine, &r->engine.kernels);
        o.runs = gopt_kernels_run;
        o.runs_user = r->engine.kernels;
    }
    if (s == GOPT_OK && (tool_draws(t) || t->o.explorer))
        s = gopt_graph_clone(r->g, &before);
    progress *p = s == GOPT_OK ? progress_start(t, "optimizing") : NULL;
    if (s == GOPT_OK)
        s = gopt_optimize(r->g, &o, &r->report);
    progress_stop(p);
    if (s == GOPT_OK)
        s = page_report(t, r->g, r->report);
    if (s == GOPT_OK && tool_draws(t))
        s = tool_pictures(t, before, r->g, tool_model(t));
    if (s == GOPT_OK && t->o.remarks)
        tool_print_remarks(t, gopt_report_get(r->report));
    r->before = before;
    free(skip);
    return s;
}

static gopt_status build(running *r)
{
    tool *t = r->t;
    if (t->o.dump_kernels)
        TRY(tool_make_dir(t, t->o.dump_kernels));
    progress *p = progress_start(t, "building");
    const gopt_status s = gopt_engine_create(r->g, &r->engine, &r->e);
    if (r->engine.take_graph)
        r->g = r->e ? gopt_engine_graph(r->e) : NULL; /* the engine's from now on */
    progress_stop(p);
    gopt_kernels_close(r->engine.kernels);
    r->engine.kernels = NULL;
    return s;
}

/* All that came before the first run. */
static double built_ms(const running *r)
{
    return (r->plan ? r->load_ms : gopt_engine_get_info(r->e)->build_ms) + r->contexts_ms;
}

/* Inputs go to where the device copies from at full speed. Where memory is short for two of one, it stays as it is. */
static gopt_status move_inputs(running *r)
{
    tool *t = r->t;
    if (!strcmp(gopt_engine_get_info(r->e)->backend, "cpu"))
        return GOPT_OK;
    for (size_t i = 0; i < r->n_in; i++) {
        gopt_tensor *x = r->in[i], *moved;
        if (x->kind != GOPT_TENSOR || x->dtype == GOPT_STRING || !x->bytes)
            continue;
        const gopt_status s = gopt_engine_tensor_create(r->e, x->dtype, x->rank, x->dims, &moved);
        if (s == GOPT_NO_MEMORY) {
            tool_forget(t);
            continue;
        }
        TRY(s);
        memcpy(moved->data, x->data, x->bytes);
        r->in[i] = moved;
        gopt_tensor_unref(x);
    }
    return GOPT_OK;
}

static gopt_status make_contexts(running *r)
{
    r->n_streams = r->t->o.streams ? (size_t)r->t->o.streams : 1;
    r->rc = calloc(r->n_streams, sizeof(gopt_run_context *));
    if (!r->rc)
        return tool_no_memory(r->t);
    const double start = now_seconds();
    progress *p = progress_start(r->t, "building"); /* a GPU's kernels may be chosen only now */
    gopt_status s = GOPT_OK;
    for (size_t k = 0; k < r->n_streams && s == GOPT_OK; k++)
        s = gopt_run_context_create(r->e, &r->rc[k]);
    progress_stop(p);
    TRY(s);
    r->contexts_ms = 1e3 * (now_seconds() - start);
    for (size_t k = 0; k < r->n_streams; k++)
        for (size_t i = 0; i < r->n_in; i++)
            TRY(gopt_run_context_set_input(r->rc[k], i, r->in[i]));
    r->samples = r->n_in && r->in[0]->kind == GOPT_TENSOR && r->in[0]->rank > 1 ? (double)r->in[0]->dims[0] : 1;
    return GOPT_OK;
}

/* ---- answers ---- */

static void print_top(const tool *t, const gopt_tensor *x)
{
    const int64_t n = gopt_tensor_elements(x);
    if (x->rank < 1 || x->dims[x->rank - 1] != n || n < 2 || n > 100000)
        return;
    int64_t best[5];
    int found = 0;
    for (int64_t i = 0; i < n; i++) {
        const double v = gopt_tensor_get_f64(x, i);
        int at = found;
        while (at > 0 && v > gopt_tensor_get_f64(x, best[at - 1]))
            at--;
        if (at >= 5)
            continue;
        found += found < 5;
        for (int k = found - 1; k > at; k--)
            best[k] = best[k - 1];
        best[at] = i;
    }
    say(t, "    highest:");
    for (int k = 0; k < found; k++)
        say(t, "%s [%lld] %.4g", k ? "," : "", (long long)best[k], gopt_tensor_get_f64(x, best[k]));
    say(t, "\n");
}

/* The first few of a map: {setosa: 0.97, versicolor: 0.03, …} */
static void print_map(const tool *t, const gopt_tensor *m)
{
    const int64_t n = m->n_items == 2 ? gopt_tensor_elements(m->items[0]) : 0;
    for (int64_t i = 0; i < n && i < 5; i++) {
        say(t, "%s", i ? ", " : "{");
        for (size_t k = 0; k < 2; k++) {
            const gopt_tensor *x = m->items[k];
            if (x->dtype == GOPT_STRING) {
                const gopt_string *s = (const gopt_string *)x->data + i;
                say(t, "%.*s", (int)(s->n < 60 ? s->n : 60), s->p ? s->p : "");
            } else {
                say(t, "%.4g", gopt_tensor_get_f64(x, i));
            }
            say(t, "%s", k ? "" : ": ");
        }
    }
    say(t, "%s", n > 5 ? ", …}" : n ? "}" : "{}");
}

static void print_maps(const tool *t, const gopt_tensor *x)
{
    if (x->kind == GOPT_MAP) {
        say(t, "  ");
        print_map(t, x);
    }
    for (size_t i = 0; x->kind == GOPT_SEQUENCE && i < x->n_items && i < 5 && x->items[i]->kind == GOPT_MAP; i++) {
        say(t, "\n    [%zu] ", i);
        print_map(t, x->items[i]);
    }
    say(t, "\n");
}

/* Classes, positions, counts: the first of them say more than their mean. */
static bool is_list_of_integers(const gopt_tensor *x)
{
    return x->kind == GOPT_TENSOR && x->rank == 1 && (x->dtype == GOPT_I64 || x->dtype == GOPT_I32);
}

static void print_integers(const tool *t, const gopt_tensor *x)
{
    const int64_t n = gopt_tensor_elements(x);
    for (int64_t i = 0; i < n && i < 10; i++)
        say(t, "%s%lld", i ? ", " : "  ", (long long)gopt_tensor_get_i64(x, i));
    say(t, "%s\n", n > 10 ? ", …" : "");
}

static void print_output(const tool *t, const char *name, const gopt_tensor *x)
{
    char type[256];
    if (!x) {
        say(t, "  %s: empty\n", name);
        return;
    }
    type_text(x, type, sizeof type);
    say(t, "  %s%s%s %s", bold(t), name, plain(t), type);
    if (x->kind == GOPT_MAP || x->kind == GOPT_SEQUENCE) {
        print_maps(t, x);
        return;
    }
    if (is_list_of_integers(x)) {
        print_integers(t, x);
        return;
    }
    const int64_t n = x->kind == GOPT_TENSOR ? gopt_tensor_elements(x) : 0;
    if (x->kind == GOPT_TENSOR && x->dtype == GOPT_STRING) {
        const gopt_string *s = x->data;
        for (int64_t i = 0; i < n && i < 5; i++)
            say(t, "%s '%.*s'", i ? "," : " ", (int)(s[i].n < 60 ? s[i].n : 60), s[i].p ? s[i].p : "");
    } else if (n && x->dtype != GOPT_C64 && x->dtype != GOPT_C128) {
        double min = INFINITY, max = -INFINITY, sum = 0;
        int64_t nan = 0;
        for (int64_t i = 0; i < n; i++) {
            const double v = gopt_tensor_get_f64(x, i);
            if (isnan(v)) {
                nan++;
                continue;
            }
            min = fmin(min, v);
            max = fmax(max, v);
            sum += v;
        }
        if (n == 1)
            say(t, " %.7g", gopt_tensor_get_f64(x, 0));
        else if (n > nan)
            say(t, "  min %.5g, max %.5g, mean %.5g", min, max, sum / (double)(n - nan));
        if (nan)
            say(t, "%s, %lld NaN%s", red(t), (long long)nan, plain(t));
    }
    say(t, "\n");
    if (n && x->dtype != GOPT_STRING)
        print_top(t, x);
}

/* Compares with output_N.pb of --test-data. */
static gopt_status check_outputs(running *r)
{
    tool *t = r->t;
    const double rtol = t->o.rtol < 0 ? 1e-3 : t->o.rtol, atol = t->o.atol < 0 ? 1e-5 : t->o.atol;
    size_t checked = 0, wrong = 0;
    for (size_t i = 0; i < gopt_graph_output_count(r->g); i++) {
        char *path = text_of("%s/output_%zu.pb", t->o.test_data, i);
        if (!path)
            return tool_no_memory(t);
        gopt_tensor *want = NULL;
        gopt_status s = GOPT_OK;
        const bool there = !access(path, R_OK);
        if (there)
            s = gopt_onnx_load_tensor(t->cx, path, gopt_value_kind(gopt_graph_get_output(r->g, i)), &want);
        free(path);
        TRY(s);
        if (!there)
            continue;
        diff d;
        tensor_diff(gopt_run_context_output(r->rc[0], i), want, rtol, atol, false, &d);
        gopt_tensor_unref(want);
        checked++;
        wrong += !d.same;
        const char *name = gopt_graph_output_name(r->g, i);
        if (d.same)
            say(t, "  %sright%s  %s (worst error %.3g of the tolerance)\n", green(t), plain(t), name, d.worst);
        else
            tool_fail(t, GOPT_DIFFERENT, NULL, NULL, "output %s differs from output_%zu.pb: %s", name, i, d.why);
    }
    if (!checked)
        return tool_fail(t, GOPT_BAD_INPUT, t->o.test_data, NULL, "has no output_N.pb to compare with");
    return wrong ? GOPT_DIFFERENT : GOPT_OK;
}

static gopt_status use_outputs(running *r)
{
    tool *t = r->t;
    const size_t n = gopt_graph_output_count(r->g);
    const gopt_tensor **out = calloc(n + 1, sizeof *out);
    if (!out)
        return tool_no_memory(t);
    for (size_t i = 0; i < n; i++)
        out[i] = gopt_run_context_output(r->rc[0], i);
    gopt_status s = GOPT_OK;
    if (!r->timed && !t->o.quiet)
        for (size_t i = 0; i < n; i++)
            print_output(t, gopt_graph_output_name(r->g, i), out[i]);
    if (t->o.output_dir)
        s = outputs_save(t, r->g, out, n);
    free(out);
    if (s == GOPT_OK && t->o.test_data)
        s = check_outputs(r);
    return s;
}

/* ---- the whole ---- */

static gopt_status write_json(running *r)
{
    tool *t = r->t;
    const gopt_engine_info *i = gopt_engine_get_info(r->e);
    const timing *m = &r->timing;
    const double qps = m->wall_s > 0 ? (double)m->n / m->wall_s : 0;
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    json_t *j = json_object();
    json_object_set_new(j, "model", json_text(tool_model(t)));
    json_object_set_new(j, "backend", json_text(i->backend));
    json_object_set_new(j, "device", json_text(i->device));
    json_object_set_new(j, "precision", json_text(i->precision ? i->precision : "fp32"));
    json_object_set_new(j, "threads", json_integer(i->threads));
    json_object_set_new(j, "iterations", json_integer((json_int_t)m->n));
    json_object_set_new(j, "build_ms", json_real(built_ms(r)));
    json_object_set_new(j, "from_plan", json_boolean(r->plan != NULL));
    json_object_set_new(j, "latency_ms", summary_json(&m->latency));
    json_object_set_new(j, "h2d_ms", summary_json(&m->h2d));
    json_object_set_new(j, "compute_ms", summary_json(&m->compute));
    json_object_set_new(j, "d2h_ms", summary_json(&m->d2h));
    if (r->copies)
        json_object_set(j, "copies", r->copies);
    json_object_set_new(j, "throughput_qps", json_real(qps));
    json_object_set_new(j, "samples_per_second", json_real(qps * r->samples));
    json_object_set_new(j, "peak_rss_bytes", json_integer((json_int_t)use.ru_maxrss * 1024));
    json_object_set_new(j, "activation_bytes", json_integer((json_int_t)i->activation_bytes));
    json_object_set_new(j, "weight_bytes", json_integer((json_int_t)i->weight_bytes));
    json_object_set_new(j, "steps", json_integer((json_int_t)i->steps));
    if (r->worth)
        json_object_set(j, "worth", r->worth);
    json_object_set_new(j, "tactics", tactics_json(r->rc[0]));
    json_object_set_new(j, "kept_fp32", fp16_json(r->rc[0]));
    if (r->t->o.calibrate)
        json_object_set_new(j, "calibration_samples", json_integer((json_int_t)r->samples_seen));
    return tool_write_json(t, t->o.json, j);
}

static void print_engine(const running *r)
{
    const tool *t = r->t;
    const gopt_engine_info *i = gopt_engine_get_info(r->e);
    const gopt_report_summary *m = r->report ? gopt_report_get(r->report) : NULL;
    say(t, "%s%s%s on %s%s%s", bold(t), tool_model(t), plain(t), bold(t), i->backend, plain(t));
    if (i->device && *i->device)
        say(t, " (%s)", i->device);
    say(t, ": ");
    if (m)
        say(t, "%lld nodes, %lld after optimizing, ", (long long)m->nodes_before, (long long)m->nodes_after);
    say(t, "%zu steps; weights %s, activations %s; ", i->steps, bytes_text(i->weight_bytes).p,
        bytes_text(i->activation_bytes).p);
    const double ms = built_ms(r);
    say(t, "%s in %.*f ms\n", r->plan ? "loaded from a plan" : "built", ms < 100 ? 1 : 0, ms);
}

/* A model, say, that --plan was given by mistake. */
static bool holds_something(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0;
}

static gopt_status check_options(tool *t)
{
    const options *o = &t->o;
    if (o->tune && o->deterministic)
        return tool_fail(t, GOPT_USAGE, NULL, "leave one of the two out",
                         "--tune decides by the clock, which --deterministic forbids");
    if (o->streams > 4096)
        return tool_fail(t, GOPT_USAGE, NULL, NULL, "--streams is %lld, expected at most 4096", (long long)o->streams);
    if (o->plan && !gopt_is_plan(o->plan) && holds_something(o->plan))
        return tool_fail(t, GOPT_USAGE, o->plan, "name another file, or remove it first",
                         "this is there already and is no plan: --plan does not overwrite it");
    TRY(fp16_check(t));
    return tool_check_remarks(t);
}

static gopt_status profile(running *r)
{
    json_t *told = NULL;
    TRY(profile_write(r->t, r->e, r->rc[0], r->before, r->g, r->t->page ? &told : NULL));
    if (told)
        page_put(r->t, "run", page_run(r->t, r->e, r->rc[0], &r->timing, &r->engine, told, r->copies));
    return GOPT_OK;
}

static gopt_status from_model(running *r)
{
    tool *t = r->t;
    TRY(tool_load(t, tool_model(t), &r->g));
    if (t->o.verify)
        return tool_fail(t, GOPT_USAGE, tool_model(t), "gopt optimize MODEL --verify, or gopt compare MODEL",
                         "gopt run --verify checks a plan, and this is a model");
    TRY(tool_check_supported(t, r->g, tool_model(t)));
    TRY(fp16_check_names(t, r->g));
    TRY(inputs_make(t, r->g, t->o.test_data, &r->in, &r->n_in));
    TRY(page_begin(t, tool_model(t), r->g));
    TRY(optimize_for(r));
    TRY(fp16_keep(t, r->g, &r->engine, r->in, &r->samples_seen));
    return build(r);
}

static gopt_status from_plan(running *r)
{
    tool *t = r->t;
    if (t->o.dump_kernels)
        TRY(tool_make_dir(t, t->o.dump_kernels));
    r->engine.take_graph = true;
    TRY(plan_load(t, &r->engine, &r->plan, &r->e, &r->load_ms));
    r->g = gopt_engine_graph(r->e);
    TRY(inputs_make(t, r->g, t->o.test_data, &r->in, &r->n_in));
    if (tool_draws(t))
        TRY(tool_pictures(t, r->g, NULL, tool_model(t)));
    return GOPT_OK;
}

static gopt_status run_steps(running *r)
{
    tool *t = r->t;
    TRY(check_options(t));
    if (gopt_is_plan(tool_model(t)))
        TRY(from_plan(r));
    else
        TRY(from_model(r));
    tool_flush(t);
    TRY(move_inputs(r));
    TRY(make_contexts(r));
    if (t->o.plan)
        TRY(plan_write(t, r->e, r->g, r->in));
    r->timed = t->o.iterations || t->o.duration > 0;
    TRY(time_runs(t, r->rc, r->n_streams, &r->timing));
    r->copies = copies_json(r->g, r->rc[0], &r->timing, r->n_streams);
    print_engine(r);
    if (t->o.verify)
        TRY(plan_check(t, r->plan, r->e));
    precision_print(t, r->rc[0]);
    if (t->o.remarks)
        fp16_print_remarks(t, r->rc[0]);
    if (!t->o.calibrate)
        fp16_check_outputs(t, r->e, r->rc[0], r->in, r->n_in);
    gopt_status s = use_outputs(r);
    if (s != GOPT_OK && s != GOPT_DIFFERENT)
        return s;
    if (r->timed) {
        timing_print(t, &r->timing, r->samples);
        copies_warn(t, r->copies);
    }
    if (t->o.profile || t->o.trex || t->o.explorer || t->page)
        TRY(profile(r));
    if (t->o.worth)
        TRY(worth_measure(t, r->g, &r->engine, r->rc[0], r->in, r->n_in, &r->worth));
    page_put(t, "worth", json_incref(r->worth));
    TRY(page_write(t));
    if (t->o.json)
        TRY(write_json(r));
    return s;
}

gopt_status run(tool *t)
{
    running r = { .t = t,
                  .engine = { .backend = t->o.backend ? t->o.backend : "cpu",
                              .precision = t->o.precision,
                              .isa = t->o.isa,
                              .tactics = t->o.tactics,
                              .threads = (int)t->o.threads,
                              .fp = tool_fp(t),
                              .reference = t->o.level == 0,
                              .take_graph = !t->o.worth,
                              .apart = t->o.no_fuse,
                              .deterministic = t->o.deterministic,
                              .for_plan = t->o.plan != NULL,
                              .trust_plan = t->o.trust_plan,
                              .tune = (t->o.tune || t->o.timing_cache) && !t->o.deterministic,
                              .timing_cache = t->o.timing_cache,
                              .workspace = t->o.workspace,
                              .dump_kernels = t->o.dump_kernels } };
    const gopt_status s = run_steps(&r);
    for (size_t k = 0; r.rc && k < r.n_streams; k++)
        gopt_run_context_destroy(r.rc[k]);
    free(r.rc);
    free(r.timing.series);
    json_decref(r.worth);
    json_decref(r.copies);
    gopt_kernels_close(r.engine.kernels); /* where it ended before an engine took them over */
    if (r.e && r.engine.take_graph)
        r.g = NULL;
    gopt_engine_destroy(r.e);
    gopt_plan_close(r.plan);
    tensors_free(r.in, r.n_in);
    gopt_report_destroy(r.report);
    gopt_graph_destroy(r.before);
    gopt_graph_destroy(r.g);
    return s;
}
