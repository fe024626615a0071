/* Per-step times of a plan: a Chrome trace in ONNX Runtime's form, a .csv, or a table on "-". */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum { MOST_RUNS = 20 };

typedef struct times {
    double *ms; /* one a step, of all runs */
    size_t steps, runs;
} times;

static size_t step_count(gopt_run_context *rc)
{
    size_t n = 0;
    while (gopt_run_context_step(rc, n))
        n++;
    return n;
}

/* Runs until a second or MOST_RUNS have passed; the first run, which warms the timers, is dropped. */
static gopt_status measure(tool *t, gopt_run_context *rc, times *m)
{
    gopt_run_context_profile(rc, true);
    gopt_status s = gopt_run(rc);
    m->steps = s == GOPT_OK ? step_count(rc) : 0;
    m->ms = calloc(m->steps * MOST_RUNS + 1, sizeof *m->ms);
    if (!m->ms) {
        gopt_run_context_profile(rc, false);
        return tool_no_memory(t);
    }
    const double start = now_seconds();
    while (s == GOPT_OK && m->runs < MOST_RUNS && (!m->runs || now_seconds() - start < 1)) {
        s = gopt_run(rc);
        for (size_t i = 0; s == GOPT_OK && i < m->steps; i++) {
            const gopt_step_info *step = gopt_run_context_step(rc, i);
            m->ms[i * MOST_RUNS + m->runs] = step ? step->ms : 0;
        }
        m->runs++;
    }
    gopt_run_context_profile(rc, false);
    return s;
}

static double median_of(times *m, size_t i)
{
    return summary_of(m->ms + i * MOST_RUNS, m->runs).median;
}

static char *origins_of(const gopt_step_info *s, const char *between)
{
    char *text = strdup("");
    for (size_t i = 0; i < s->n_origins && text; i++) {
        char *longer = text_of("%s%s%s", text, i ? between : "", s->origins[i]);
        free(text);
        text = longer;
    }
    return text;
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* What was considered for a step, and why not the others. */
static json_t *json_tactics(const gopt_step_info *s)
{
    json_t *a = json_array();
    for (size_t i = 0; i < s->n_tactics; i++) {
        const gopt_tactic_info *k = &s->tactics[i];
        json_array_append_new(
            a, json_pack("{s:s, s:i, s:o, s:b, s:b, s:o, s:o, s:I, s:I, s:o}", "name", k->name, "variant", k->variant,
                         "label", json_text(k->label), "takes", k->takes, "chosen", k->chosen, "estimate_ms",
                         k->estimate_ms > 0 ? json_real(k->estimate_ms) : json_null(), "ms",
                         k->ms > 0 ? json_real(k->ms) : json_null(), "workspace_bytes", (json_int_t)k->workspace_bytes,
                         "weight_bytes", (json_int_t)k->weight_bytes, "why", json_text(k->why)));
    }
    return a;
}

static json_t *trace(gopt_run_context *rc, times *m)
{
    json_t *a = json_array();
    double at = 0;
    for (size_t i = 0; i < m->steps; i++) {
        const gopt_step_info *s = gopt_run_context_step(rc, i);
        const double us = 1e3 * median_of(m, i);
        json_t *args = json_object(), *origins = json_array(), *event = json_object();
        char *name = text_of("%s_kernel_time", or_empty(s->name));
        for (size_t k = 0; k < s->n_origins; k++)
            json_array_append_new(origins, json_text(s->origins[k]));
        json_object_set_new(args, "op_name", json_text(or_empty(s->op)));
        json_object_set_new(args, "provider", json_text(or_empty(s->backend)));
        json_object_set_new(args, "tactic", json_text(or_empty(s->tactic)));
        json_object_set_new(args, "tactics", json_tactics(s));
        json_object_set_new(args, "origins", origins);
        json_object_set_new(args, "gflop", json_real(s->gflop));
        json_object_set_new(args, "bytes", json_integer((json_int_t)s->bytes));
        json_object_set_new(args, "graph_index", json_integer((json_int_t)i));
        json_object_set_new(event, "cat", json_string("Node"));
        json_object_set_new(event, "ph", json_string("X"));
        json_object_set_new(event, "name", json_text(name));
        json_object_set_new(event, "pid", json_integer(1));
        json_object_set_new(event, "tid", json_integer(1));
        json_object_set_new(event, "ts", json_real(at));
        json_object_set_new(event, "dur", json_real(us));
        json_object_set_new(event, "args", args);
        json_array_append_new(a, event);
        free(name);
        at += us;
    }
    return a;
}

/* A field of a .csv, in quotes where it needs them. */
static void csv_field(FILE *f, const char *s)
{
    if (!strpbrk(s, ",\"\n")) {
        fputs(s, f);
        return;
    }
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"')
            fputc('"', f);
        fputc(*s, f);
    }
    fputc('"', f);
}

static void write_csv(FILE *f, gopt_run_context *rc, times *m)
{
    fputs("step,name,op,backend,tactic,ms,gflop,bytes,origins,reason,region\n", f);
    for (size_t i = 0; i < m->steps; i++) {
        const gopt_step_info *s = gopt_run_context_step(rc, i);
        char *origins = origins_of(s, " ");
        fprintf(f, "%zu,", i);
        csv_field(f, or_empty(s->name));
        fputc(',', f);
        csv_field(f, or_empty(s->op));
        fprintf(f, ",%s,%s,%.6g,%.6g,%llu,", or_empty(s->backend), or_empty(s->tactic), median_of(m, i), s->gflop,
                (unsigned long long)s->bytes);
        csv_field(f, or_empty(origins));
        fputc(',', f);
        csv_field(f, or_empty(s->reason));
        fputc(',', f);
        csv_field(f, or_empty(s->region));
        fputc('\n', f);
        free(origins);
    }
}

static void print_table(const tool *t, gopt_run_context *rc, times *m)
{
    double total = 0;
    const char *last_region = NULL;
    for (size_t i = 0; i < m->steps; i++)
        total += median_of(m, i);
    printf("\n%s%5s %9s %6s %8s  %-8s %-22s %-34s %s%s\n", bold(t), "step", "ms", "share", "Gop/s", "backend", "tactic",
           "operators", "name", plain(t));
    for (size_t i = 0; i < m->steps; i++) {
        const gopt_step_info *s = gopt_run_context_step(rc, i);
        const double ms = median_of(m, i);
        char rate[16] = "";
        if (ms > 0 && s->gflop > 0)
            snprintf(rate, sizeof rate, "%.1f", s->gflop / ms * 1e3);
        printf("%5zu %9.4f %5.1f%% %8s  %-8s %-22.22s %-34.34s %s\n", i, ms, total > 0 ? 100 * ms / total : 0, rate,
               or_empty(s->backend), or_empty(s->tactic), or_empty(s->op), or_empty(s->name));
        if (s->reason && *s->reason)
            printf("%s%41s placed there because %s%s\n", dim(t), "", s->reason, plain(t));
        if (s->region && s->region != last_region)
            printf("%s%41s from here on a region that fell apart: %s%s\n", dim(t), "", s->region, plain(t));
        last_region = s->region;
    }
    printf("%5zu %9.4f  steps in all\n", m->steps, total);
}

static gopt_status write_profile(tool *t, gopt_run_context *rc, times *m)
{
    const char *path = t->o.profile;
    const size_t n = strlen(path);
    if (!strcmp(path, "-")) {
        print_table(t, rc, m);
        return GOPT_OK;
    }
    if (n > 4 && !strcmp(path + n - 4, ".csv")) {
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        if (!f)
            return tool_no_memory(t);
        write_csv(f, rc, m);
        const gopt_status s = fclose(f) ? tool_no_memory(t) : tool_write_file(t, path, text, size);
        free(text);
        return s;
    }
    return tool_write_json(t, path, trace(rc, m));
}

/* Steps for the page. */
static json_t *steps_json(gopt_run_context *rc, times *m)
{
    json_t *a = json_array();
    for (size_t i = 0; i < m->steps; i++) {
        const gopt_step_info *s = gopt_run_context_step(rc, i);
        json_t *origins = json_array();
        for (size_t k = 0; k < s->n_origins; k++)
            json_array_append_new(origins, json_text(s->origins[k]));
        json_t *o = json_object();
        json_object_set_new(o, "name", json_text(or_empty(s->name)));
        json_object_set_new(o, "op", json_text(or_empty(s->op)));
        json_object_set_new(o, "backend", json_text(or_empty(s->backend)));
        json_object_set_new(o, "tactic", json_text(or_empty(s->tactic)));
        json_object_set_new(o, "reason", json_text(s->reason));
        json_object_set_new(o, "region", json_text(s->region));
        json_object_set_new(o, "origins", origins);
        json_object_set_new(o, "ms", json_real(median_of(m, i)));
        json_object_set_new(o, "gflop", json_real(s->gflop));
        json_object_set_new(o, "bytes", json_integer((json_int_t)s->bytes));
        json_object_set_new(o, "tactics", json_tactics(s));
        json_array_append_new(a, o);
    }
    return a;
}

gopt_status profile_write(tool *t, gopt_run_context *rc, json_t **steps)
{
    times m = { 0 };
    gopt_status s = measure(t, rc, &m);
    if (s == GOPT_OK && t->o.profile)
        s = write_profile(t, rc, &m);
    if (s == GOPT_OK && steps)
        *steps = steps_json(rc, &m);
    free(m.ms);
    return s;
}
