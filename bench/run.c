/* Times models on the cpu backend against what this machine could do at best, and names the steps that lose most.
 *
 *   bench_run MODEL|FOLDER... [--dim NAME=VALUE]... [--threads N] [--isa NAME] [--iterations N] [--worst N] [--check]
 *             [--steps] [--cpu-time] [--no-fuse]
 *
 *   ceiling: 229 Gop/s (avx512, 2 threads), 142 GB/s from the cache, 27 from memory
 *   resnet18.onnx                 16.34 ms, least 16.10   steps 16.05   floor 15.57   1.03 times   23 steps
 *       0.412 ms of   0.651  conv_direct   Conv+Relu                 /conv1/Conv
 *
 * The ceiling is measured first, for about a second. A step's floor is the longer of its multiplications and additions
 * at that rate (of products, convolutions and recurrent layers, as a direct computation has them: Winograd's algorithm
 * may go below) and of its bytes read and written: at the cache's rate where they fit there, else at memory's. The
 * model's floor is the sum, held against the sum of its steps, the least time of each: so it says something on a machine
 * that others use too. --worst N: so many steps are named (default 10).
 *
 * --check compares with the reference evaluation. --steps prints every step.
 * --cpu-time: the processor time of all threads, for a machine that others use too (with --threads 1).
 * Free symbols are 1, inputs seeded random numbers (integers 0 … 9). */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ceiling.h"
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
    char **models;
    int n_models;
    int worst;
    ceiling top;
    gopt_engine_options engine;
    const char *dims[8]; /* "NAME=VALUE" */
    int n_dims;
    int iterations;
    clockid_t clock;
    bool check, steps, fuse;
} options;

static bool read_options(int argc, char **argv, options *o)
{
    *o = (options){ .iterations = 30, .worst = 10, .fuse = true, .clock = CLOCK_MONOTONIC };
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
        else if (!strcmp(argv[i], "--worst") && more)
            o->worst = atoi(argv[++i]);
        else if (argv[i][0] != '-')
            argv[1 + o->n_models++] = argv[i]; /* to the front */
        else
            return false;
    }
    o->models = argv + 1;
    return o->n_models && o->iterations > 0 && o->worst >= 0;
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

typedef struct step {
    const gopt_step_info *s;
    double ms, floor; /* the least of some profiled runs */
} step;

static int by_loss(const void *a, const void *b)
{
    const step *x = a, *y = b;
    const double p = x->ms - x->floor, q = y->ms - y->floor;
    return (p < q) - (p > q);
}

static gopt_status time_steps(gopt_run_context *rc, const options *o, step **steps, size_t *n)
{
    gopt_run_context_profile(rc, true);
    for (int k = 0; k < o->iterations; k++) {
        const gopt_status st = gopt_run(rc);
        if (st != GOPT_OK)
            return st;
        for (*n = *steps ? *n : 0; !*steps && gopt_run_context_step(rc, *n);)
            ++*n;
        if (!*steps && !(*steps = calloc(*n + 1, sizeof **steps)))
            return GOPT_NO_MEMORY;
        for (size_t i = 0; i < *n; i++) {
            step *p = &(*steps)[i];
            p->s = gopt_run_context_step(rc, i);
            p->ms = k == 0 || p->s->ms < p->ms ? p->s->ms : p->ms;
            p->floor = gopt_floor_ms(&o->top.of, p->s->gflop, (double)p->s->bytes);
        }
    }
    gopt_run_context_profile(rc, false);
    return GOPT_OK;
}

static void print_step(const step *p)
{
    printf("    %8.3f ms of %8.3f %7.1f GF/s  %-16s %-40s %s\n", p->ms - p->floor, p->ms,
           p->ms > 0 ? p->s->gflop / p->ms * 1e3 : 0.0, p->s->tactic ? p->s->tactic : "-", p->s->op,
           p->s->name ? p->s->name : "");
}

/* The model against its floor, and the steps that lose most against theirs. */
static gopt_status print_summary(gopt_run_context *rc, const gopt_engine_info *info, const options *o, double median,
                                 double least)
{
    step *steps = NULL;
    size_t n = 0;
    const gopt_status st = time_steps(rc, o, &steps, &n);
    if (st == GOPT_OK) {
        double floor = 0, sum = 0;
        const char *slash = strrchr(o->model, '/');
        for (size_t i = 0; i < n; i++) {
            floor += steps[i].floor;
            sum += steps[i].ms;
        }
        printf("%-26s %9.3f ms, least %9.3f   steps %9.3f   floor %9.3f   %5.2f times   "
               "%zu steps, activations %.1f MB, built in %.0f ms\n",
               slash ? slash + 1 : o->model, median, least, sum, floor, floor > 0 ? sum / floor : 0.0, info->steps,
               (double)info->activation_bytes * 1e-6, info->build_ms);
        for (size_t i = 0; o->steps && i < n; i++)
            print_step(&steps[i]);
        qsort(steps, n, sizeof *steps, by_loss);
        if (o->steps && o->worst)
            printf("  those that lose most:\n");
        for (size_t i = 0; i < n && i < (size_t)o->worst; i++)
            print_step(&steps[i]);
    }
    free(steps);
    return st;
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
        qsort(ms, (size_t)o->iterations, sizeof(*ms), by_value);
        st = print_summary(rc, gopt_engine_get_info(e), o, ms[o->iterations / 2], ms[0]);
    }
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

/* Fixes the dims that were asked for, of those that this model has, and the others as 1. */
static gopt_status fix_dims(gopt_ctx *cx, gopt_graph *g, const options *o)
{
    for (int i = 0; i < o->n_dims; i++) {
        char name[64];
        const char *is = strchr(o->dims[i], '=');
        snprintf(name, sizeof(name), "%.*s", (int)(is - o->dims[i]), o->dims[i]);
        const gopt_status st = gopt_graph_fix_dim(g, name, atoll(is + 1));
        if (st == GOPT_USAGE && o->n_models > 1)
            gopt_diag_clear(cx);
        else if (st != GOPT_OK)
            return st;
    }
    return gopt_graph_fix_rest(g);
}

static gopt_status bench_model(options *o, const char *path)
{
    uint32_t seed = 1;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *plain = NULL, *g = NULL;
    o->model = path;
    gopt_status st = cx ? gopt_load(cx, path, &plain) : GOPT_NO_MEMORY;
    if (st == GOPT_OK)
        st = fix_dims(cx, plain, o);
    if (st == GOPT_OK)
        st = gopt_graph_clone(plain, &g);
    if (st == GOPT_OK)
        st = gopt_kernels_open(cx, &o->engine, &o->engine.kernels);
    if (st == GOPT_OK)
        st = gopt_optimize(g,
                           &(gopt_optimize_options){
                               .level = 2, .fuse = o->fuse, .runs = gopt_kernels_run, .runs_user = o->engine.kernels },
                           NULL);
    const size_t n = st == GOPT_OK ? gopt_graph_input_count(g) : 0;
    gopt_tensor **in = calloc(n + 1, sizeof(*in));
    for (size_t i = 0; in && i < n && st == GOPT_OK; i++)
        if (!(in[i] = make_input(cx, gopt_graph_get_input(g, i), &seed)))
            st = GOPT_NO_MEMORY;
    if (st == GOPT_OK && in)
        st = measure(plain, g, o, in);
    gopt_kernels_close(o->engine.kernels);
    o->engine.kernels = NULL;
    if (st != GOPT_OK && cx)
        gopt_diag_print(cx, stderr, false);
    for (size_t i = 0; in && i < n; i++)
        gopt_tensor_unref(in[i]);
    free(in);
    gopt_graph_destroy(g);
    gopt_graph_destroy(plain);
    gopt_ctx_destroy(cx);
    return st;
}

static int is_model(const struct dirent *e)
{
    const size_t n = strlen(e->d_name);
    return n > 5 && !strcmp(e->d_name + n - 5, ".onnx");
}

/* A model, or all of a folder; the first failure counts, and the others run. */
static gopt_status bench_path(options *o, const char *path)
{
    struct dirent **list;
    gopt_status st = GOPT_OK;
    const int n = scandir(path, &list, is_model, alphasort);
    if (n < 0)
        return bench_model(o, path);
    o->n_models += n;
    for (int i = 0; i < n; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, list[i]->d_name);
        const gopt_status one = bench_model(o, file);
        st = st == GOPT_OK ? one : st;
        free(list[i]);
    }
    free(list);
    return st;
}

int main(int argc, char **argv)
{
    options o;
    gopt_status st = GOPT_OK;
    if (!read_options(argc, argv, &o)) {
        fprintf(
            stderr,
            "usage: %s MODEL|FOLDER... [--dim NAME=VALUE]... [--threads N] [--isa NAME] [--iterations N] [--worst N] "
            "[--check] [--steps] [--cpu-time] [--no-fuse]\n",
            argv[0]);
        return GOPT_USAGE;
    }
    if (o.engine.threads <= 0)
        o.engine.threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (ceiling_measure(o.engine.threads, o.engine.isa, &o.top)) {
        fprintf(stderr, "error: the machine could not be measured: no memory, or no threads\n");
        return GOPT_NO_MEMORY;
    }
    printf("ceiling: %.0f Gop/s (%s, %d thread%s), %.0f GB/s from the cache, %.1f from memory\n", o.top.of.gflops,
           o.top.isa, o.engine.threads, o.engine.threads == 1 ? "" : "s", o.top.of.cache_gbytes,
           o.top.of.memory_gbytes);
    for (int i = 0, n = o.n_models; i < n; i++) {
        const gopt_status one = bench_path(&o, o.models[i]);
        st = st == GOPT_OK ? one : st;
    }
    return gopt_status_exit(st);
}
