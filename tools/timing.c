/* Timing: warm-up, runs in one or several streams, and what the figures say. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tool.h"

/* ---- statistics ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, between the two nearest ranks. */
static double percentile(const double *v, size_t n, double share)
{
    const double at = share * (double)(n - 1);
    const size_t i = (size_t)at;
    return i + 1 < n ? v[i] + (at - (double)i) * (v[i + 1] - v[i]) : v[n - 1];
}

summary summary_of(double *v, size_t n)
{
    summary s = { 0 };
    if (!n)
        return s;
    qsort(v, n, sizeof *v, ascending);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    s.mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (v[i] - s.mean) * (v[i] - s.mean);
    s.min = v[0];
    s.max = v[n - 1];
    s.median = percentile(v, n, 0.5);
    s.p90 = percentile(v, n, 0.9);
    s.p95 = percentile(v, n, 0.95);
    s.p99 = percentile(v, n, 0.99);
    s.cv = n > 1 && s.mean > 0 ? sqrt(squares / (double)(n - 1)) / s.mean : 0;
    return s;
}

json_t *summary_json(const summary *s)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "min", s->min, "max", s->max, "mean", s->mean, "median",
                     s->median, "p90", s->p90, "p95", s->p95, "p99", s->p99);
}

/* ---- runs ---- */

typedef struct samples {
    double *latency, *h2d, *compute, *d2h;
    size_t n, cap;
} samples;

typedef struct stream {
    gopt_run_context *rc;
    size_t runs;    /* at least */
    double seconds; /* at least */
    samples s;
    gopt_status status;
    double start, end;
} stream;

static bool add_sample(samples *s, double latency, gopt_run_times m)
{
    if (s->n == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 256;
        double **const all[] = { &s->latency, &s->h2d, &s->compute, &s->d2h };
        for (size_t i = 0; i < 4; i++) {
            double *p = realloc(*all[i], cap * sizeof *p);
            if (!p)
                return false;
            *all[i] = p;
        }
        s->cap = cap;
    }
    s->latency[s->n] = latency;
    s->h2d[s->n] = m.h2d_ms;
    s->compute[s->n] = m.compute_ms;
    s->d2h[s->n++] = m.d2h_ms;
    return true;
}

static void *run_stream(void *arg)
{
    stream *s = arg;
    s->start = s->end = now_seconds();
    while (s->status == GOPT_OK && (s->s.n < s->runs || s->end - s->start < s->seconds)) {
        const double from = now_seconds();
        s->status = gopt_run(s->rc);
        s->end = now_seconds();
        if (s->status == GOPT_OK && !add_sample(&s->s, 1e3 * (s->end - from), gopt_run_context_times(s->rc)))
            s->status = GOPT_NO_MEMORY;
    }
    return NULL;
}

static gopt_status run_all(tool *t, stream *s, size_t n)
{
    if (n == 1) {
        run_stream(s);
        return s->status;
    }
    pthread_t *threads = calloc(n, sizeof *threads);
    if (!threads)
        return tool_no_memory(t);
    size_t started = 0;
    while (started < n && !pthread_create(&threads[started], NULL, run_stream, &s[started]))
        started++;
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    if (started < n)
        return tool_fail(t, GOPT_NO_MEMORY, NULL, NULL, "only %zu of %zu streams could be started", started, n);
    for (size_t i = 0; i < n; i++)
        TRY(s[i].status);
    return GOPT_OK;
}

static gopt_status warm_up(tool *t, gopt_run_context **rc, size_t n)
{
    const int64_t runs = t->o.iterations;
    const double ms = t->o.warmup >= 0 ? t->o.warmup : runs && runs < 10 && t->o.duration < 0 ? 0 : 200;
    if (ms <= 0)
        return GOPT_OK;
    for (size_t i = 0; i < n; i++) {
        const double start = now_seconds();
        do
            TRY(gopt_run(rc[i]));
        while (now_seconds() - start < ms / 1e3 / (double)n);
    }
    return GOPT_OK;
}

/* Gathers all streams' samples into the first's. */
static gopt_status gather(tool *t, stream *s, size_t n, timing *out)
{
    samples *all = &s[0].s;
    double start = s[0].start, end = s[0].end;
    for (size_t i = 1; i < n; i++) {
        for (size_t k = 0; k < s[i].s.n; k++)
            if (!add_sample(all, s[i].s.latency[k],
                            (gopt_run_times){ s[i].s.h2d[k], s[i].s.compute[k], s[i].s.d2h[k] }))
                return tool_no_memory(t);
        start = fmin(start, s[i].start);
        end = fmax(end, s[i].end);
    }
    out->n = all->n;
    out->wall_s = end - start;
    if (t->page && all->n) {
        out->series = calloc(all->n, sizeof *out->series);
        if (!out->series)
            return tool_no_memory(t);
        memcpy(out->series, all->latency, all->n * sizeof *out->series);
    }
    out->latency = summary_of(all->latency, all->n);
    out->h2d = summary_of(all->h2d, all->n);
    out->compute = summary_of(all->compute, all->n);
    out->d2h = summary_of(all->d2h, all->n);
    return GOPT_OK;
}

gopt_status time_runs(tool *t, gopt_run_context **rc, size_t n_streams, timing *out)
{
    struct rusage before, after;
    *out = (timing){ 0 };
    TRY(warm_up(t, rc, n_streams));
    stream *s = calloc(n_streams, sizeof *s);
    if (!s)
        return tool_no_memory(t);
    const size_t runs = t->o.iterations ? (size_t)t->o.iterations : 1;
    for (size_t i = 0; i < n_streams; i++) {
        s[i].rc = rc[i];
        s[i].runs = runs / n_streams + (i < runs % n_streams);
        s[i].seconds = t->o.duration > 0 ? t->o.duration : 0;
    }
    getrusage(RUSAGE_SELF, &before);
    progress *p = progress_start(t, "timing");
    gopt_status status = run_all(t, s, n_streams);
    progress_stop(p);
    getrusage(RUSAGE_SELF, &after);
    if (status == GOPT_OK)
        status = gather(t, s, n_streams, out);
    out->preempted = after.ru_nivcsw - before.ru_nivcsw;
    for (size_t i = 0; i < n_streams; i++) {
        free(s[i].s.latency);
        free(s[i].s.h2d);
        free(s[i].s.compute);
        free(s[i].s.d2h);
    }
    free(s);
    return status;
}

/* ---- what they say ---- */

static void print_line(const tool *t, const char *name, const summary *s)
{
    say(t, "  %-16s %9.4g %9.4g %9.4g %9.4g %9.4g %9.4g %9.4g\n", name, s->min, s->max, s->mean, s->median, s->p90,
        s->p95, s->p99);
}

void timing_print(const tool *t, const timing *m, double n_samples)
{
    const double qps = m->wall_s > 0 ? (double)m->n / m->wall_s : 0;
    say(t, "\n%sThroughput%s %.4g queries/s, %.4g samples/s (%zu runs in %.2f s)\n", bold(t), plain(t), qps,
        qps * n_samples, m->n, m->wall_s);
    say(t, "%s  %-16s %9s %9s %9s %9s %9s %9s %9s%s\n", dim(t), "milliseconds", "min", "max", "mean", "median", "p90",
        "p95", "p99", plain(t));
    print_line(t, "latency", &m->latency);
    if (m->h2d.max > 0 || m->d2h.max > 0)
        print_line(t, "host to device", &m->h2d);
    print_line(t, "compute", &m->compute);
    if (m->h2d.max > 0 || m->d2h.max > 0)
        print_line(t, "device to host", &m->d2h);
    if (m->n >= 10 && m->latency.cv > 0.1 && m->preempted > (int64_t)(m->n / 4 + 4))
        tool_note((tool *)(uintptr_t)t, "close what else runs, or give fewer --threads",
                  "the machine was busy: other programs took a core %lld times, latency varies by %.0f%%",
                  (long long)m->preempted, 100 * m->latency.cv);
    else if (m->n >= 10 && m->latency.cv > 0.1)
        tool_note((tool *)(uintptr_t)t, "a longer --warmup and --duration steady it; p99 tells what a user may wait",
                  "latency varies by %.0f%% (its deviation over its mean): the median hides that", 100 * m->latency.cv);
}
