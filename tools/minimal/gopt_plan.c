/* gopt-plan: runs plan files, where nothing is but a driver.
 *
 * It is gopt without all that reads models, improves and draws them: no library is needed beyond OpenCL's loader. So a
 * plan that was built elsewhere runs on a bare machine. Inputs that are not given are those of the plan's fingerprint. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "npy.h"

enum { MAX_INPUTS = 64, MAX_RUNS = 1000000 };

typedef struct asked {
    const char *plan, *output_dir, *inputs[MAX_INPUTS];
    size_t n_inputs;
    bool inspect, verify, trust;
    long iterations;
    double rtol;
    gopt_engine_options engine;
} asked;

static const char usage[] =
    "gopt-plan FILE [FLAGS]\n\n"
    "Runs a plan that `gopt run MODEL --plan FILE` has written, on a machine like the one that it was built on.\n\n"
    "  --inspect            say what is inside, and stop\n"
    "  --verify             run the plan's own inputs and compare with the answers of where it was built\n"
    "  --input NAME=FILE    .npy, or the bytes as they are (repeatable; default: the inputs of the fingerprint)\n"
    "  --output-dir DIR     write each output as NAME.npy\n"
    "  --iterations N       time N runs\n"
    "  --backend BACKEND    opencl:NAME-OR-TYPE, where there are several devices\n"
    "  --threads N          default: as many as it was built with\n"
    "  --rtol X             what --verify allows, as a part of an output's spread\n"
    "  --trust-plan         take compiled programs also where this computer's own processor would run them\n\n"
    "Exit codes: 0 done, 1 the answers are others, 2 wrong usage, 3 a bad file, 4 a plan that does not fit, 5 a fault "
    "of ours.\n";

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static gopt_status misused(const char *what, const char *word)
{
    fprintf(stderr, "error: %s%s\nhint: gopt-plan --help\n", what, word);
    return GOPT_USAGE;
}

/* ---- options ---- */

static bool number(const char *text, double least, double most, double *out)
{
    char *end;
    *out = text ? strtod(text, &end) : -1;
    return text && end != text && !*end && *out >= least && *out <= most;
}

static gopt_status parse_value(asked *a, const char *flag, const char *value)
{
    double x;
    if (!strcmp(flag, "--input")) {
        if (a->n_inputs == MAX_INPUTS || !strchr(value, '='))
            return misused("expected --input NAME=FILE, found ", value);
        a->inputs[a->n_inputs++] = value;
    } else if (!strcmp(flag, "--output-dir")) {
        a->output_dir = value;
    } else if (!strcmp(flag, "--backend")) {
        a->engine.backend = value;
    } else if (!strcmp(flag, "--iterations")) {
        if (!number(value, 1, MAX_RUNS, &x))
            return misused("--iterations takes a whole number, not ", value);
        a->iterations = (long)x;
    } else if (!strcmp(flag, "--threads")) {
        if (!number(value, 1, 4096, &x))
            return misused("--threads takes a whole number, not ", value);
        a->engine.threads = (int)x;
    } else if (!strcmp(flag, "--rtol")) {
        if (!number(value, 0, 1e9, &a->rtol))
            return misused("--rtol takes a number, not ", value);
    } else {
        return misused("unknown flag ", flag);
    }
    return GOPT_OK;
}

static gopt_status parse(asked *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (!strcmp(word, "--inspect")) {
            a->inspect = true;
        } else if (!strcmp(word, "--verify")) {
            a->verify = true;
        } else if (!strcmp(word, "--trust-plan")) {
            a->engine.trust_plan = true;
        } else if (word[0] == '-') {
            if (i + 1 >= argc)
                return misused("unknown flag, or one without its value: ", word);
            const gopt_status s = parse_value(a, word, argv[++i]);
            if (s != GOPT_OK)
                return s;
        } else if (a->plan) {
            return misused("one plan is expected, found also ", word);
        } else {
            a->plan = word;
        }
    }
    return a->plan ? GOPT_OK : misused("no plan is named", "");
}

/* ---- inputs and outputs ---- */

static const char *file_of(const asked *a, const char *name)
{
    for (size_t i = 0; i < a->n_inputs; i++) {
        const char *equals = strrchr(a->inputs[i], '=');
        if (strlen(name) == (size_t)(equals - a->inputs[i]) && !strncmp(a->inputs[i], name, strlen(name)))
            return equals + 1;
    }
    return NULL;
}

static gopt_status check_names(const asked *a, const gopt_graph *g)
{
    for (size_t i = 0; i < a->n_inputs; i++) {
        const size_t n = (size_t)(strrchr(a->inputs[i], '=') - a->inputs[i]);
        bool found = false;
        for (size_t k = 0; k < gopt_graph_input_count(g); k++) {
            const char *name = gopt_graph_input_name(g, k);
            found = found || (strlen(name) == n && !strncmp(name, a->inputs[i], n));
        }
        if (!found)
            return misused("the plan has no input for ", a->inputs[i]);
    }
    return GOPT_OK;
}

/* Input i: from its file, or the plan's own. *made is to be let go of. */
static gopt_status input_of(gopt_engine *e, const asked *a, const gopt_plan *p, size_t i, const gopt_tensor **in,
                            gopt_tensor **made)
{
    const gopt_graph *g = gopt_engine_graph(e);
    const gopt_value *v = gopt_graph_get_input(g, i);
    const char *name = gopt_graph_input_name(g, i), *file = file_of(a, name);
    *in = gopt_plan_input(p, i);
    *made = NULL;
    if (!file && *in)
        return GOPT_OK;
    if (!file)
        return misused("the plan has no inputs of its own: give --input for ", name);
    int64_t dims[GOPT_MAX_RANK];
    const int rank = gopt_value_rank(v);
    for (int k = 0; k < rank; k++)
        if ((dims[k] = gopt_value_dim(v, k)) < 0)
            return misused("its shape is not fixed: ", name);
    const gopt_status s = gopt_engine_tensor_create(e, gopt_value_dtype(v), rank, dims, made);
    *in = *made;
    return s != GOPT_OK ? s : npy_read(file, *made) ? GOPT_OK : GOPT_BAD_INPUT;
}

static void print_output(const char *name, const gopt_tensor *t)
{
    if (!t || t->kind != GOPT_TENSOR || t->dtype == GOPT_STRING)
        return;
    double min = INFINITY, max = -INFINITY, sum = 0;
    const int64_t n = gopt_tensor_elements(t);
    for (int64_t i = 0; i < n; i++) {
        const double v = gopt_tensor_get_f64(t, i);
        min = fmin(min, v);
        max = fmax(max, v);
        sum += v;
    }
    printf("  %s %s, %lld elements: min %.5g, max %.5g, mean %.5g\n", name, gopt_dtype_name(t->dtype), (long long)n,
           min, max, n ? sum / (double)n : 0);
}

/* ---- running ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static gopt_status time_runs(gopt_run_context *rc, long n)
{
    double *ms = malloc((size_t)n * sizeof *ms), compute = 0, h2d = 0, d2h = 0;
    gopt_status s = ms ? GOPT_OK : GOPT_NO_MEMORY;
    for (long i = 0; i < n && s == GOPT_OK; i++) {
        const double start = now_ms();
        s = gopt_run(rc);
        ms[i] = now_ms() - start;
        const gopt_run_times t = gopt_run_context_times(rc);
        h2d += t.h2d_ms / (double)n;
        compute += t.compute_ms / (double)n;
        d2h += t.d2h_ms / (double)n;
    }
    if (s == GOPT_OK) {
        qsort(ms, (size_t)n, sizeof *ms, ascending);
        printf("  %ld runs: min %.4f, median %.4f, p90 %.4f, max %.4f ms\n", n, ms[0], ms[n / 2], ms[n * 9 / 10],
               ms[n - 1]);
        printf("  mean: to the device %.4f, compute %.4f, from the device %.4f ms\n", h2d, compute, d2h);
    }
    free(ms);
    return s;
}

static gopt_status run_on(const asked *a, gopt_engine *e, gopt_run_context *rc)
{
    const gopt_graph *g = gopt_engine_graph(e);
    gopt_status s = gopt_run(rc);
    if (s == GOPT_OK && a->iterations)
        s = time_runs(rc, a->iterations);
    for (size_t i = 0; s == GOPT_OK && i < gopt_graph_output_count(g); i++) {
        const gopt_tensor *t = gopt_run_context_output(rc, i);
        const char *name = gopt_graph_output_name(g, i);
        print_output(name, t);
        if (a->output_dir && !npy_write(a->output_dir, name, t))
            s = GOPT_BAD_INPUT;
    }
    return s;
}

static gopt_status run(const asked *a, const gopt_plan *p, gopt_engine *e)
{
    const gopt_graph *g = gopt_engine_graph(e);
    const size_t n = gopt_graph_input_count(g);
    gopt_tensor **made = calloc(n + 1, sizeof *made);
    gopt_run_context *rc = NULL;
    gopt_status s = made ? check_names(a, g) : GOPT_NO_MEMORY;
    if (s == GOPT_OK)
        s = gopt_run_context_create(e, &rc);
    for (size_t i = 0; i < n && s == GOPT_OK; i++) {
        const gopt_tensor *in;
        s = input_of(e, a, p, i, &in, &made[i]);
        if (s == GOPT_OK)
            s = gopt_run_context_set_input(rc, i, in);
    }
    if (s == GOPT_OK)
        s = run_on(a, e, rc);
    gopt_run_context_destroy(rc);
    for (size_t i = 0; made && i < n; i++)
        gopt_tensor_unref(made[i]);
    free(made);
    return s;
}

static void inspect(const gopt_plan *p)
{
    const gopt_plan_sizes z = gopt_plan_get_sizes(p);
    const gopt_plan_fact *f;
    gopt_plan_step s;
    for (size_t i = 0; (f = gopt_plan_get_fact(p, i)) != NULL; i++)
        printf("  %-16s %s\n", f->name, f->value);
    printf("  %llu bytes: %llu packed, %llu of weights as they are, %llu of programs\n", (unsigned long long)z.file,
           (unsigned long long)z.packed, (unsigned long long)z.weights, (unsigned long long)z.programs);
    for (size_t i = 0; gopt_plan_get_step(p, i, &s); i++)
        printf("  %5zu  %-22s %-28s %s\n", i, s.tactic, s.op, s.name);
}

static gopt_status verify(const asked *a, gopt_plan *p, gopt_engine *e)
{
    gopt_plan_verdict v;
    const gopt_status s = gopt_plan_verify(p, e, a->rtol, &v);
    if (s == GOPT_OK && v.same_bits)
        printf("  right  the same answers as where the plan was built, bit for bit\n");
    else if (s == GOPT_OK)
        printf("  right  the answers of where the plan was built, to %.2g of their spread\n", v.worst);
    return s;
}

static gopt_status whole(gopt_ctx *cx, const asked *a)
{
    const double start = now_ms();
    gopt_plan *p = NULL;
    gopt_engine *e = NULL;
    gopt_status s = gopt_plan_open(cx, a->plan, &p);
    if (s == GOPT_OK && a->inspect) {
        inspect(p);
        gopt_plan_close(p);
        return GOPT_OK;
    }
    if (s == GOPT_OK)
        s = gopt_plan_engine(p, &a->engine, &e);
    if (s == GOPT_OK) {
        const gopt_engine_info *i = gopt_engine_get_info(e);
        printf("%s on %s (%s, %s): %zu steps, loaded in %.1f ms\n", a->plan, i->backend, i->device, i->precision,
               i->steps, now_ms() - start);
        if (a->verify)
            s = verify(a, p, e);
    }
    if (s == GOPT_OK)
        s = run(a, p, e);
    gopt_engine_destroy(e);
    gopt_plan_close(p);
    return s;
}

int main(int argc, char **argv)
{
    asked a = { 0 };
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        fputs(usage, argc < 2 ? stderr : stdout);
        return argc < 2 ? GOPT_USAGE : 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("gopt-plan %s\n", gopt_version());
        return 0;
    }
    if (parse(&a, argc, argv) != GOPT_OK)
        return GOPT_USAGE;
    gopt_ctx *cx = gopt_ctx_create(&(gopt_ctx_options){ .threads = a.engine.threads });
    if (!cx) {
        fprintf(stderr, "error: out of memory\n");
        return GOPT_UNSUPPORTED;
    }
    const gopt_status s = whole(cx, &a);
    gopt_diag_print(cx, stderr, false);
    gopt_ctx_destroy(cx);
    return gopt_status_exit(s);
}
