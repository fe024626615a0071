/* Per-step times of a plan: a Chrome trace in ONNX Runtime's form, a .csv, or a table on "-". */
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum { MOST_RUNS = 20 };

/* One profiled run. */
typedef struct one_run {
    double *ms, *start, *whole; /* one a step */
    double sum, run_ms;
    gopt_share_info *shares;
    size_t n_shares;
} one_run;

typedef struct times {
    one_run run[MOST_RUNS];
    size_t steps, runs;
    gopt_step_times *step;
    gopt_run_profile profile; /* of the run whose steps took the median time */
    bool device_clock;        /* that of a device timed steps */
    double rest;              /* median of what is in no step's ms */
    gopt_ceilings ceilings;   /* where profile.ceilings is not NULL */
} times;

static size_t step_count(gopt_run_context *rc)
{
    size_t n = 0;
    while (gopt_run_context_step(rc, n))
        n++;
    return n;
}

static size_t share_count(gopt_run_context *rc)
{
    size_t n = 0;
    gopt_share_info s;
    while (gopt_run_context_share(rc, n, &s))
        n++;
    return n;
}

static gopt_status keep_run(tool *t, gopt_run_context *rc, size_t steps, one_run *r)
{
    r->ms = calloc(3 * steps + 1, sizeof *r->ms);
    r->start = r->ms + steps;
    r->whole = r->start + steps;
    r->n_shares = share_count(rc);
    r->shares = calloc(r->n_shares + 1, sizeof *r->shares);
    if (!r->ms || !r->shares)
        return tool_no_memory(t);
    for (size_t i = 0; i < steps; i++) {
        const gopt_step_info *s = gopt_run_context_step(rc, i);
        r->ms[i] = s ? s->ms : 0;
        r->start[i] = s ? s->start_ms : 0;
        r->whole[i] = s ? s->whole_ms : 0;
        r->sum += r->ms[i];
        r->run_ms = r->start[i] + r->whole[i] > r->run_ms ? r->start[i] + r->whole[i] : r->run_ms;
    }
    for (size_t i = 0; i < r->n_shares; i++)
        gopt_run_context_share(rc, i, &r->shares[i]);
    return GOPT_OK;
}

static void times_free(times *m)
{
    for (size_t i = 0; i < MOST_RUNS; i++) {
        free(m->run[i].ms);
        free(m->run[i].shares);
    }
    free(m->step);
}

static int by_sum(const void *a, const void *b)
{
    const one_run *x = a, *y = b;
    return (x->sum > y->sum) - (x->sum < y->sum);
}

/* Medians and means of all runs, and the run in the middle. */
static gopt_status sum_up(tool *t, gopt_run_context *rc, times *m)
{
    double of[MOST_RUNS];
    summary rest;
    m->step = calloc(m->steps + 1, sizeof *m->step);
    if (!m->step)
        return tool_no_memory(t);
    qsort(m->run, m->runs, sizeof *m->run, by_sum);
    const one_run *r = &m->run[m->runs / 2];
    for (size_t i = 0; i < m->steps; i++) {
        for (size_t k = 0; k < m->runs; k++)
            of[k] = m->run[k].ms[i];
        const summary s = summary_of(of, m->runs);
        m->step[i] = (gopt_step_times){ .step = gopt_run_context_step(rc, i),
                                        .median_ms = s.median,
                                        .mean_ms = s.mean,
                                        .ms = r->ms[i],
                                        .start_ms = r->start[i],
                                        .whole_ms = r->whole[i] };
        m->device_clock |= m->step[i].step->device_clock;
    }
    for (size_t k = 0; k < m->runs; k++)
        of[k] = m->run[k].run_ms - m->run[k].sum;
    rest = summary_of(of, m->runs);
    m->rest = rest.median;
    m->profile = (gopt_run_profile){ .steps = m->step,
                                     .n_steps = m->steps,
                                     .shares = r->shares,
                                     .n_shares = r->n_shares,
                                     .runs = m->runs,
                                     .run_ms = r->run_ms,
                                     .rest_ms = r->run_ms - r->sum };
    return GOPT_OK;
}

/* Runs until a second or MOST_RUNS have passed; the first run, which warms the timers, is dropped. */
static gopt_status measure(tool *t, gopt_run_context *rc, times *m)
{
    gopt_run_context_profile(rc, true);
    gopt_status s = gopt_run(rc);
    m->steps = s == GOPT_OK ? step_count(rc) : 0;
    const double start = now_seconds();
    while (s == GOPT_OK && m->runs < MOST_RUNS && (!m->runs || now_seconds() - start < 1)) {
        s = gopt_run(rc);
        if (s == GOPT_OK)
            s = keep_run(t, rc, m->steps, &m->run[m->runs++]);
    }
    gopt_run_context_profile(rc, false);
    return s == GOPT_OK ? sum_up(t, rc, m) : s;
}

static double median_of(times *m, size_t i)
{
    return m->step[i].median_ms;
}

/* 0: not known */
static double floor_of(const times *m, size_t i)
{
    return m->profile.ceilings ? gopt_step_floor_ms(m->profile.ceilings, m->step[i].step) : 0;
}

/* What the device can do at best. A step that took clearly less than its floor says that it was busy when that was
 * measured. */
static void find_ceilings(gopt_engine *e, times *m)
{
    if (gopt_engine_ceilings(e, false, &m->ceilings) != GOPT_OK)
        return;
    m->profile.ceilings = &m->ceilings;
    for (size_t i = 0; i < m->steps; i++)
        if (m->step[i].median_ms > 0 && m->step[i].median_ms < 0.95 * floor_of(m, i)) {
            (void)gopt_engine_ceilings(e, true, &m->ceilings);
            return;
        }
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
    fputs("step,name,op,backend,tactic,ms,gflop,bytes,origins,reason,region,floor_ms\n", f);
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
        fprintf(f, ",%.6g\n", floor_of(m, i));
        free(origins);
    }
}

/* "62%" of a step that takes its floor's time 1.6 times; "" where it has none. */
static void print_share(const times *m, double floor, double ms)
{
    char text[16] = "";
    if (floor > 0 && ms > 0)
        snprintf(text, sizeof text, "%.0f%%", 100 * floor / ms);
    if (m->profile.ceilings)
        printf(" %8s", text);
}

/* What the steps add up to, and what else a profiled run takes. */
static void print_sums(const times *m, double total, double floors, double floored)
{
    printf("%5zu %9.4f  steps in all%s\n", m->steps, total, m->device_clock ? ", by the device's clock" : "");
    if (floors > 0)
        printf("%5s %9.4f  at least, by what the device can do: %.0f%% of what those steps took\n", "", floors,
               floored > 0 ? 100 * floors / floored : 0);
    if (m->device_clock)
        printf("%5s %9.4f  the rest of a profiled run: each step is launched by itself and waited for\n", "", m->rest);
}

static void print_table(const tool *t, gopt_run_context *rc, times *m)
{
    double total = 0, floors = 0, floored = 0; /* ms: of all steps; floors, and what the steps that have them took */
    const char *last_region = NULL;
    const int indent = m->profile.ceilings ? 50 : 41; /* where tactics stand */
    for (size_t i = 0; i < m->steps; i++) {
        const double floor = floor_of(m, i);
        total += median_of(m, i);
        floors += floor;
        floored += floor > 0 ? median_of(m, i) : 0;
    }
    printf("\n%s%5s %9s %6s %8s%s  %-8s %-22s %-34s %s%s\n", bold(t), "step", "ms", "share", "Gop/s",
           m->profile.ceilings ? " of floor" : "", "backend", "tactic", "operators", "name", plain(t));
    for (size_t i = 0; i < m->steps; i++) {
        const gopt_step_info *s = gopt_run_context_step(rc, i);
        const double ms = median_of(m, i);
        char rate[16] = "";
        if (ms > 0 && s->gflop > 0)
            snprintf(rate, sizeof rate, "%.1f", s->gflop / ms * 1e3);
        printf("%5zu %9.4f %5.1f%% %8s", i, ms, total > 0 ? 100 * ms / total : 0, rate);
        print_share(m, floor_of(m, i), ms);
        printf("  %-8s %-22.22s ", or_empty(s->backend), or_empty(s->tactic));
        text_column(or_empty(s->op), 34);
        text_put(stdout, or_empty(s->name));
        putchar('\n');
        if (s->reason && *s->reason)
            printf("%s%*s placed there because %s%s\n", dim(t), indent, "", s->reason, plain(t));
        if (s->fp32)
            printf("%s%*s stays in fp32: %s%s\n", dim(t), indent, "", s->fp32, plain(t));
        if (s->region && s->region != last_region)
            printf("%s%*s from here on a region that fell apart: %s%s\n", dim(t), indent, "", s->region, plain(t));
        last_region = s->region;
    }
    print_sums(m, total, floors, floored);
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
    return gopt_trace_save(t->cx, &m->profile, path);
}

static json_t *tactics_of(tool *t, const gopt_step_info *s)
{
    char *text = NULL;
    json_t *j = gopt_tactics_json(t->cx, s, &text) == GOPT_OK ? json_loads(text, 0, NULL) : NULL;
    gopt_text_free(t->cx, text);
    return j;
}

/* Steps for the page. */
static json_t *steps_json(tool *t, gopt_run_context *rc, times *m)
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
        json_object_set_new(o, "fp32", json_text(s->fp32));
        json_object_set_new(o, "origins", origins);
        json_object_set_new(o, "ms", json_real(median_of(m, i)));
        json_object_set_new(o, "start_ms", json_real(m->step[i].start_ms));
        json_object_set_new(o, "whole_ms", json_real(m->step[i].whole_ms));
        json_object_set_new(o, "gflop", json_real(s->gflop));
        json_object_set_new(o, "bytes", json_integer((json_int_t)s->bytes));
        json_object_set_new(o, "floor_ms", json_real(floor_of(m, i)));
        json_object_set_new(o, "tactics", tactics_of(t, s));
        json_array_append_new(a, o);
    }
    return a;
}

/* What each thread did in the run that is told: [[thread, start, ms], …], the longest ones where they are too many. */
static json_t *threads_json(const times *m)
{
    enum { MOST = 6000 };
    const gopt_run_profile *p = &m->profile;
    json_t *a = json_array();
    double least = 0;
    size_t n = p->n_shares;
    while (n > MOST) { /* drops what is shorter and shorter */
        least = least > 0 ? 2 * least : 1e-4;
        n = 0;
        for (size_t i = 0; i < p->n_shares; i++)
            n += p->shares[i].ms >= least;
    }
    for (size_t i = 0; i < p->n_shares; i++)
        if (p->shares[i].ms >= least)
            json_array_append_new(a,
                                  json_pack("[i, f, f]", p->shares[i].thread, p->shares[i].start_ms, p->shares[i].ms));
    return a;
}

/* "out" of "out.json". Freed by the caller. */
static char *prefix_of(const char *path)
{
    const size_t n = strlen(path);
    return text_of("%.*s", n > 5 && !strcmp(path + n - 5, ".json") ? (int)n - 5 : (int)n, path);
}

static gopt_status write_others(tool *t, gopt_graph *before, gopt_graph *after, times *m)
{
    if (t->o.trex && !m->steps)
        return tool_fail(t, GOPT_USAGE, t->o.trex, "leave out --level 0", "a run by reference has no steps to write");
    char *prefix = t->o.trex ? prefix_of(t->o.trex) : NULL;
    gopt_status s = prefix ? gopt_trex_save(after, &m->profile, prefix) : t->o.trex ? tool_no_memory(t) : GOPT_OK;
    free(prefix);
    return s == GOPT_OK ? explorer_write(t, before, after, &m->profile) : s;
}

gopt_status explorer_write(tool *t, gopt_graph *before, gopt_graph *after, const gopt_run_profile *p)
{
    if (!t->o.explorer)
        return GOPT_OK;
    char *prefix = prefix_of(t->o.explorer);
    const gopt_status s = prefix ? gopt_explorer_save(before, after, p, tool_model(t), prefix) : tool_no_memory(t);
    free(prefix);
    return s;
}

gopt_status profile_write(tool *t, gopt_engine *e, gopt_run_context *rc, gopt_graph *before, gopt_graph *after,
                          json_t **told)
{
    times m = { 0 };
    gopt_status s = measure(t, rc, &m);
    if (s == GOPT_OK)
        find_ceilings(e, &m);
    if (s == GOPT_OK && t->o.profile)
        s = write_profile(t, rc, &m);
    if (s == GOPT_OK)
        s = write_others(t, before, after, &m);
    if (s == GOPT_OK && told)
        *told = json_pack("{s:o, s:o, s:f, s:f, s:b}", "steps", steps_json(t, rc, &m), "threads_did", threads_json(&m),
                          "run_ms", m.profile.run_ms, "rest_ms", m.rest, "device_clock", (int)m.device_clock);
    times_free(&m);
    return s;
}
