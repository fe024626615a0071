/* Times a model's steps on the cpu backend, and checks its answers against the reference evaluation.
 *
 *   bench_run MODEL [--dim NAME=VALUE]... [--threads N] [--isa NAME] [--iterations N] [--check] [--steps] [--cpu-time] [--no-fuse]
 *
 * --cpu-time: the processor time of all threads, for a machine that others use too (with --threads 1).
 * Free symbols are 1, inputs seeded random numbers (integers 0 … 9). */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gopt/gopt.h"

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct options {
    const char *model;
    gopt_engine_options engine;
    const char *dims[8]; /* "NAME=VALUE" */
    int n_dims;
    int iterations;
    clockid_t clock;
    bool check, steps, fuse;
} options;

static bool read_options(int argc, char **argv, options *o)
{
    *o = (options){ .iterations = 30, .fuse = true, .clock = CLOCK_MONOTONIC };
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--check"))
            o->check = true;
        else if (!strcmp(argv[i], "--steps"))
            o->steps = true;
        else if (!strcmp(argv[i], "--cpu-time"))
            o->clock = CLOCK_PROCESS_CPUTIME_ID;
        else if (!strcmp(argv[i], "--no-fuse"))
            o->fuse = false;
        else if (!strcmp(argv[i], "--threads") && more)
            o->engine.threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--isa") && more)
            o->engine.isa = argv[++i];
        else if (!strcmp(argv[i], "--dim") && more && o->n_dims < 8 && strchr(argv[i + 1], '='))
            o->dims[o->n_dims++] = argv[++i];
        else if (!strcmp(argv[i], "--iterations") && more)
            o->iterations = atoi(argv[++i]);
        else if (argv[i][0] != '-' && !o->model)
            o->model = argv[i];
        else
            return false;
    }
    return o->model && o->iterations > 0;
}

static gopt_tensor *make_input(gopt_ctx *cx, const gopt_value *v, uint32_t *seed)
{
    int64_t dims[GOPT_MAX_RANK];
    const int rank = gopt_value_rank(v);
    gopt_tensor *t;
    for (int i = 0; i < rank; i++)
        dims[i] = gopt_value_dim(v, i);
    if (gopt_tensor_create(cx, gopt_value_dtype(v), rank, dims, &t) != GOPT_OK)
        return NULL;
    const int64_t n = gopt_tensor_elements(t);
    for (int64_t i = 0; i < n; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        const uint32_t r = *seed >> 8;
        if (t->dtype == GOPT_F32)
            ((float *)t->data)[i] = (float)r / 8388608.0f - 1.0f;
        else if (t->dtype == GOPT_I64)
            ((int64_t *)t->data)[i] = r % 10;
        else if (t->dtype == GOPT_I32)
            ((int32_t *)t->data)[i] = (int32_t)(r % 10);
    }
    return t;
}

/* Largest difference over the largest magnitude. */
static double difference(const gopt_tensor *a, const gopt_tensor *b)
{
    double worst = 0, scale = 0;
    const int64_t n = gopt_tensor_elements(a);
    if (a->dtype != GOPT_F32)
        return memcmp(a->data, b->data, a->bytes) ? INFINITY : 0;
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)((const float *)a->data)[i], y = (double)((const float *)b->data)[i];
        if (isnan(x) != isnan(y))
            return INFINITY;
        worst = fmax(worst, fabs(x - y));
        scale = fmax(scale, fabs(y));
    }
    return scale > 0 ? worst / scale : worst;
}

static gopt_status prepare(gopt_graph *g, const gopt_engine_options *o, gopt_tensor **in, gopt_engine **e,
                           gopt_run_context **rc)
{
    gopt_status st = gopt_engine_create(g, o, e);
    if (st == GOPT_OK)
        st = gopt_run_context_create(*e, rc);
    for (size_t i = 0; st == GOPT_OK && i < gopt_graph_input_count(g); i++)
        st = gopt_run_context_set_input(*rc, i, in[i]);
    return st;
}

/* The least time of each step over some profiled runs. */
static gopt_status print_steps(gopt_run_context *rc, int iterations)
{
    enum { MOST = 4096 };
    static double least[MOST];
    const gopt_step_info *s;
    gopt_run_context_profile(rc, true);
    for (int k = 0; k < iterations; k++) {
        const gopt_status st = gopt_run(rc);
        if (st != GOPT_OK)
            return st;
        for (size_t i = 0; i < MOST && (s = gopt_run_context_step(rc, i)); i++)
            least[i] = k == 0 || s->ms < least[i] ? s->ms : least[i];
    }
    for (size_t i = 0; i < MOST && (s = gopt_run_context_step(rc, i)); i++)
        printf("%8.3f ms %7.1f GF/s  %-16s %-40s %s\n", least[i], least[i] > 0 ? s->gflop / least[i] * 1e3 : 0.0,
               s->tactic ? s->tactic : "-", s->op, s->name ? s->name : "");
    return GOPT_OK;
}

static gopt_status measure(gopt_graph *plain, gopt_graph *g, const options *o, gopt_tensor **in)
{
    gopt_engine *e = NULL, *reference = NULL;
    gopt_run_context *rc = NULL, *rr = NULL;
    gopt_status st = prepare(g, &o->engine, in, &e, &rc);
    double *ms = malloc((size_t)o->iterations * sizeof(*ms));
    for (int i = 0; st == GOPT_OK && i < 3; i++)
        st = gopt_run(rc);
    for (int i = 0; st == GOPT_OK && ms && i < o->iterations; i++) {
        const double start = now(o->clock);
        st = gopt_run(rc);
        ms[i] = now(o->clock) - start;
    }
    if (st == GOPT_OK && ms) {
        const gopt_engine_info *info = gopt_engine_get_info(e);
        qsort(ms, (size_t)o->iterations, sizeof(*ms), by_value);
        printf("%s: median %.3f ms, least %.3f, steps %zu, activations %.1f MB, build %.0f ms\n", o->model,
               ms[o->iterations / 2], ms[0], info->steps, (double)info->activation_bytes * 1e-6, info->build_ms);
    }
    if (st == GOPT_OK && o->steps)
        st = print_steps(rc, o->iterations);
    if (st == GOPT_OK && o->check) {
        gopt_engine_options ro = { .reference = true };
        st = prepare(plain, &ro, in, &reference, &rr);
        if (st == GOPT_OK)
            st = gopt_run(rr);
        for (size_t i = 0; st == GOPT_OK && i < gopt_graph_output_count(g); i++)
            printf("  %s: relative difference %.2e\n", gopt_graph_output_name(g, i),
                   difference(gopt_run_context_output(rc, i), gopt_run_context_output(rr, i)));
    }
    free(ms);
    gopt_run_context_destroy(rr);
    gopt_engine_destroy(reference);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    return st;
}

int main(int argc, char **argv)
{
    options o;
    uint32_t seed = 1;
    if (!read_options(argc, argv, &o)) {
        fprintf(stderr,
                "usage: %s MODEL [--dim NAME=VALUE]... [--threads N] [--isa NAME] [--iterations N] [--check] [--steps] "
                "[--cpu-time] "
                "[--no-fuse]\n",
                argv[0]);
        return GOPT_USAGE;
    }
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *plain = NULL, *g = NULL;
    gopt_status st = gopt_load(cx, o.model, &plain);
    for (int i = 0; i < o.n_dims && st == GOPT_OK; i++) {
        char name[64];
        const char *is = strchr(o.dims[i], '=');
        snprintf(name, sizeof(name), "%.*s", (int)(is - o.dims[i]), o.dims[i]);
        st = gopt_graph_fix_dim(plain, name, atoll(is + 1));
    }
    if (st == GOPT_OK)
        st = gopt_graph_fix_rest(plain);
    if (st == GOPT_OK)
        st = gopt_graph_clone(plain, &g);
    if (st == GOPT_OK)
        st = gopt_kernels_open(cx, &o.engine, &o.engine.kernels);
    if (st == GOPT_OK)
        st = gopt_optimize(g,
                           &(gopt_optimize_options){
                               .level = 2, .fuse = o.fuse, .runs = gopt_kernels_run, .runs_user = o.engine.kernels },
                           NULL);
    const size_t n = st == GOPT_OK ? gopt_graph_input_count(g) : 0;
    gopt_tensor **in = calloc(n + 1, sizeof(*in));
    for (size_t i = 0; in && i < n && st == GOPT_OK; i++)
        if (!(in[i] = make_input(cx, gopt_graph_get_input(g, i), &seed)))
            st = GOPT_NO_MEMORY;
    if (st == GOPT_OK && in)
        st = measure(plain, g, &o, in);
    gopt_kernels_close(o.engine.kernels);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    for (size_t i = 0; in && i < n; i++)
        gopt_tensor_unref(in[i]);
    free(in);
    gopt_graph_destroy(g);
    gopt_graph_destroy(plain);
    gopt_ctx_destroy(cx);
    return gopt_status_exit(st);
}
