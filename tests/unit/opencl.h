/* The opencl backend against reference evaluation, on whatever device is there (PoCL on a machine without a GPU). */
#ifndef GOPT_UNIT_OPENCL_H
#define GOPT_UNIT_OPENCL_H

#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "gopt/gopt.h"
#include "ir/graph.h"
#include "ops/infer.h"

static inline bool there_is_a_device(void)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    bool found = false;
    const gopt_device_info *d;
    for (size_t i = 0; (d = gopt_device_get(cx, i)); i++)
        found = found || (!strcmp(d->backend, "opencl") && !d->missing);
    gopt_ctx_destroy(cx);
    return found;
}

static inline gopt_tensor *draw(gopt_ctx *cx, const gi_type *t, unsigned seed)
{
    int64_t dims[GOPT_MAX_RANK];
    gopt_tensor *x;
    assert_true(gi_type_static_dims(t, dims));
    assert_int_equal(gopt_tensor_create(cx, t->dtype, t->rank, dims, &x), GOPT_OK);
    for (int64_t i = 0; i < gopt_tensor_elements(x); i++) {
        seed = seed * 1103515245u + 12345u;
        if (t->dtype == GOPT_F32)
            ((float *)x->data)[i] = (float)((int)(seed >> 16) % 256 - 128) / 64 + 0.01f;
        else
            gi_store_i64(t->dtype, x->data, (size_t)i, t->dtype == GOPT_BOOL ? (seed >> 16) % 2 : (seed >> 16) % 9 + 1);
    }
    return x;
}

/* Within rounding of the largest value, that of halves where they are computed in, or of tf32, which has as many bits:
 * long sums cancel. */
static inline void close_enough(const gopt_tensor *a, const gopt_tensor *b, bool half, const char *text)
{
    const double bound = half ? 5e-3 : 1e-5;
    double most = 0;
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->bytes, b->bytes);
    for (int64_t i = 0; i < gopt_tensor_elements(b); i++) {
        const double y = gi_load_f64(b->dtype, b->data, (size_t)i), size = y < 0 ? -y : y;
        most = size > most ? size : most;
    }
    for (int64_t i = 0; i < gopt_tensor_elements(a); i++) {
        const double x = gi_load_f64(a->dtype, a->data, (size_t)i), y = gi_load_f64(b->dtype, b->data, (size_t)i);
        const double diff = x - y < 0 ? y - x : x - y;
        if (!(x == y || diff <= bound * (half ? most : 1 + most) || (x != x && y != y))) {
            print_error("element %ld is %g, expected %g, in\n%s\n", (long)i, x, y, text);
            fail();
        }
    }
}

/* Runs a graph both ways; returns how many steps the device ran, other than copies. The first and the last tactic
 * that is no copy are left in `first` and `last`, that of a step with a Softmax in `attention`; how many Concats
 * copied something in `copying`, how many steps ran by stem.cl in `stems`. */
static char first[32], last[32], attention[32];
static const char *wanted; /* a tactic, of which as_wanted counts the steps; NULL: none */
static size_t as_wanted;
static size_t copying, stems;
static void (*prepare)(gopt_graph *g); /* what the test does to the graph first; NULL: nothing */
static const char *dump;               /* folder for the kernels' sources; NULL: none */
static bool apart;                     /* a launch each, whatever the environment says */
static bool deterministic;             /* no variant is chosen by its time */
static inline size_t check_in(const char *precision, const char *text, bool fuse_all)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g;
    gopt_engine *e[2];
    gopt_run_context *rc[2];
    size_t on_device = 0;
    copying = stems = 0;
    gopt_status st = gi_parse(cx, "test", text, strlen(text), &g);
    st = st == GOPT_OK ? gi_infer_graph(g) : st;
    if (st == GOPT_OK && prepare)
        prepare(g);
    for (int k = 0; k < 2 && st == GOPT_OK; k++) {
        if (k == 0 && fuse_all) {
            gi_node *nodes[32];
            size_t n = 0;
            for (gi_node *i = g->main->first; i && n < 32; i = i->next)
                nodes[n++] = i;
            assert_non_null(gi_fuse(g->main, GI_FUSION_POINTWISE, nodes, n));
            assert_int_equal(gi_infer_graph(g), GOPT_OK);
        }
        const gopt_engine_options o = { .backend = k ? "cpu" : "opencl",
                                        .precision = k ? NULL : precision,
                                        .dump_kernels = k ? NULL : dump,
                                        .apart = apart,
                                        .deterministic = deterministic,
                                        .reference = k == 1 };
        st = gopt_engine_create(g, &o, &e[k]);
        st = st == GOPT_OK ? gopt_run_context_create(e[k], &rc[k]) : st;
    }
    enum { MOST = 128 };
    gopt_tensor *in[MOST] = { NULL };
    assert_true(st != GOPT_OK || g->main->n_params <= MOST);
    for (size_t i = 0; st == GOPT_OK && i < g->main->n_params; i++) {
        in[i] = draw(cx, g->main->params[i]->type, (unsigned)i + 1);
        for (int k = 0; k < 2 && st == GOPT_OK; k++)
            st = gopt_run_context_set_input(rc[k], i, in[i]);
    }
    for (int round = 0; round < 2 && st == GOPT_OK; round++)
        for (int k = 0; k < 2 && st == GOPT_OK; k++)
            st = gopt_run(rc[k]);
    if (st != GOPT_OK) {
        gopt_diag_print(cx, stderr, false);
        print_error("%s\n", text);
        fail();
    }
    for (size_t i = 0; i < g->main->n_results; i++) {
        static char where[1 << 16];
        (void)snprintf(where, sizeof where, "%s of\n%s", g->main->result_names[i], text);
        close_enough(gopt_run_context_output(rc[0], i), gopt_run_context_output(rc[1], i),
                     strcmp(precision, "fp32") != 0 || strstr(text, "f16"), where);
    }
    const gopt_step_info *s;
    as_wanted = 0;
    for (size_t i = 0; (s = gopt_run_context_step(rc[0], i)); i++)
        if (!strcmp(s->backend, "opencl") && strcmp(s->op, "copy") != 0) {
            if (!on_device++)
                (void)snprintf(first, sizeof first, "%s", s->tactic);
            (void)snprintf(last, sizeof last, "%s", s->tactic);
            as_wanted += wanted && !strcmp(s->tactic, wanted);
            stems += !strncmp(s->tactic, "stem_", 5);
            copying += !strcmp(s->op, "Concat") && s->bytes;
            if (strstr(s->op, "Softmax"))
                (void)snprintf(attention, sizeof attention, "%s", s->tactic);
        }
    for (int k = 0; k < 2; k++) {
        gopt_run_context_destroy(rc[k]);
        gopt_engine_destroy(e[k]);
    }
    for (int i = 0; i < MOST; i++)
        gopt_tensor_unref(in[i]);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
    return on_device;
}

/* Is it a tactic of mma.c? */
static inline bool ran_by_mma(const char *tactic)
{
    static const char *const by[] = { "mma_", "fma_", "tf32_", "halo_", "stream_" };
    for (size_t i = 0; i < GI_COUNT(by); i++)
        if (!strncmp(tactic, by[i], strlen(by[i])))
            return true;
    return false;
}

/* Is it one of tiled.c's: a product with what follows it inside? */
static inline bool ran_as_product(const char *tactic)
{
    return ran_by_mma(tactic) || !strcmp(tactic, "tile") || !strcmp(tactic, "gemv");
}

static inline size_t check(const char *text, bool fuse_all)
{
    return check_in("fp32", text, fuse_all);
}

static inline void one_node(const char *inputs, const char *node)
{
    char text[2048];
    (void)snprintf(text, sizeof text, "graph (%s) {\n  %%y = %s\n  return %%y as \"y\"\n}\n", inputs, node);
    assert_int_equal(check(text, false), 1);
}

/* ---- many small graphs as one: a driver may take longer to be opened than to compile a kernel (PoCL does) ---- */

typedef struct batch {
    const char *precision;
    char inputs[1 << 13], lines[1 << 15], results[1 << 12];
    unsigned n;
    size_t steps;
} batch;

/* Appends text whose values get names of their own. */
static inline void add_renamed(char *out, size_t size, unsigned number, const char *text)
{
    size_t at = strlen(out);
    while (*text) {
        const size_t n =
            *text == '%' ? 1 + strspn(text + 1, "abcdefghijklmnopqrstuvwxyz0123456789") : strcspn(text, "%");
        const int more = *text == '%' ? snprintf(out + at, size - at, "%.*s_%u", (int)n, text, number)
                                      : snprintf(out + at, size - at, "%.*s", (int)n, text);
        assert_true(more >= 0 && at + (size_t)more < size);
        at += (size_t)more;
        text += n;
    }
}

/* Nodes, one a line, that shall be a step on the device each; what the last one makes is compared. */
static inline void batch_add(batch *b, const char *inputs, const char *lines)
{
    char name[16] = "";
    const char *made = strrchr(lines, '\n');
    made = strchr(made ? made : lines, '%');
    b->n++;
    b->steps++;
    for (const char *c = lines; *c; c++)
        b->steps += *c == '\n';
    if (*b->inputs)
        add_renamed(b->inputs, sizeof b->inputs, 0, ", ");
    add_renamed(b->inputs, sizeof b->inputs, b->n, inputs);
    add_renamed(b->lines, sizeof b->lines, b->n, lines);
    add_renamed(b->lines, sizeof b->lines, 0, "\n");
    for (const char *c = made, *end = strstr(c, " ="); c < end; c += strspn(c, ", ")) { /* each by its name */
        const size_t n = strcspn(c, ", ");
        (void)snprintf(name, sizeof name, "%s%.*s", *b->results ? ", " : "", (int)n, c);
        add_renamed(b->results, sizeof b->results, b->n, name);
        (void)snprintf(name, sizeof name, " as \"%.*s%u\"", (int)n - 1, c + 1, b->n);
        add_renamed(b->results, sizeof b->results, 0, name);
        c += n;
    }
}

static inline void batch_check(batch *b)
{
    static char text[sizeof *b + 64];
    if (!b->n)
        return;
    (void)snprintf(text, sizeof text, "graph (%s) {\n%s  return %s\n}\n", b->inputs, b->lines, b->results);
    assert_int_equal(check_in(b->precision, text, false), b->steps);
    *b = (batch){ .precision = b->precision };
}

#endif
