/* The opencl backend against reference evaluation, on whatever device is there (PoCL on a machine without a GPU). */
#ifndef GOPT_UNIT_OPENCL_H
#define GOPT_UNIT_OPENCL_H

#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "gopt/gopt.h"
#include "ir/graph.h"
#include "ops/infer.h"

/* Skips the test where there is none. All that runs something here asks for itself; call it before you make what would
 * stay, a folder say. */
static inline void need_a_device(void)
{
    static enum { UNKNOWN, NONE, SOME } there;
    if (there == UNKNOWN) {
        gopt_ctx *cx = gopt_ctx_create(NULL);
        const gopt_device_info *d;
        there = NONE;
        for (size_t i = 0; (d = gopt_device_get(cx, i)); i++)
            there = !strcmp(d->backend, "opencl") && !d->missing ? SOME : there;
        gopt_ctx_destroy(cx);
    }
    if (there == NONE)
        skip();
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

/* How a graph is run; zeros: in fp32, as the environment says. */
typedef struct check_options {
    const char *precision;
    bool fuse_all;      /* as one pointwise kernel */
    bool apart;         /* a launch each */
    bool deterministic; /* no variant is chosen by its time */
    const char *dump;   /* folder for the kernels' sources; NULL: none */
    const char *tactic; /* of which steps are counted; NULL: none */
    void (*prepare)(gopt_graph *g);
} check_options;

/* What ran on the device, other than copies. */
typedef struct checked {
    size_t steps, by_tactic; /* the latter by the tactic that was asked for */
    size_t stems, copying;   /* steps by stem.cl, Concats that copied something */
    char first[32], last[32];
    char attention[32]; /* tactics of the first and last step, and of one with a Softmax */
} checked;

static inline checked steps_of(gopt_run_context *rc, const char *tactic)
{
    checked r = { 0 };
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++) {
        if (strcmp(s->backend, "opencl") != 0 || !strcmp(s->op, "copy"))
            continue;
        if (!r.steps++)
            (void)snprintf(r.first, sizeof r.first, "%s", s->tactic);
        (void)snprintf(r.last, sizeof r.last, "%s", s->tactic);
        if (strstr(s->op, "Softmax"))
            (void)snprintf(r.attention, sizeof r.attention, "%s", s->tactic);
        r.by_tactic += tactic && !strcmp(s->tactic, tactic);
        r.stems += !strncmp(s->tactic, "stem_", 5);
        r.copying += !strcmp(s->op, "Concat") && s->bytes;
    }
    return r;
}

static inline gopt_graph *parse(gopt_ctx *cx, const char *text)
{
    gopt_graph *g;
    gopt_status st = gi_parse(cx, "test", text, strlen(text), &g);
    st = st == GOPT_OK ? gi_infer_graph(g) : st;
    if (st != GOPT_OK) {
        gopt_diag_print(cx, stderr, false);
        fail_msg("it does not hold:\n%s", text);
    }
    return g;
}

/* A network that is ready to run but for its inputs. */
typedef struct net {
    gopt_ctx *cx;
    gopt_graph *g;
    gopt_engine *e;
    gopt_run_context *rc;
    gopt_tensor *in[2];
} net;

static inline net open_net(const char *backend, const char *precision, const char *text)
{
    net n = { 0 };
    if (strcmp(backend, "cpu") != 0)
        need_a_device();
    n.cx = gopt_ctx_create(NULL);
    n.g = parse(n.cx, text);
    const gopt_engine_options o = { .backend = backend, .precision = precision };
    assert_int_equal(gopt_engine_create(n.g, &o, &n.e), GOPT_OK);
    assert_int_equal(gopt_run_context_create(n.e, &n.rc), GOPT_OK);
    return n;
}

/* The net's from then on. */
static inline void set_input(net *n, size_t i, gopt_tensor *x)
{
    n->in[i] = x;
    assert_int_equal(gopt_run_context_set_input(n->rc, i, x), GOPT_OK);
}

static inline void close_net(net *n)
{
    gopt_run_context_destroy(n->rc);
    gopt_engine_destroy(n->e);
    for (size_t i = 0; i < GI_COUNT(n->in); i++)
        gopt_tensor_unref(n->in[i]);
    gopt_graph_destroy(n->g);
    gopt_ctx_destroy(n->cx);
}

/* All nodes of a small graph as one. */
static inline void fuse_all(gopt_graph *g)
{
    gi_node *nodes[32];
    size_t n = 0;
    for (gi_node *i = g->main->first; i && n < GI_COUNT(nodes); i = i->next)
        nodes[n++] = i;
    assert_non_null(gi_fuse(g->main, GI_FUSION_POINTWISE, nodes, n));
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
}

/* Runs a graph twice on the device and by reference evaluation: the answers must be the same. */
static inline checked check_with(const check_options *o, const char *text)
{
    enum { MOST = 128 };
    const char *precision = o->precision ? o->precision : "fp32";
    need_a_device();
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = parse(cx, text);
    gopt_engine *e[2];
    gopt_run_context *rc[2];
    gopt_tensor *in[MOST] = { NULL };
    gopt_status st = GOPT_OK;
    assert_true(g->main->n_params <= MOST);
    for (size_t i = 0; i < g->main->n_params; i++)
        in[i] = draw(cx, g->main->params[i]->type, (unsigned)i + 1);
    if (o->prepare)
        o->prepare(g);
    if (o->fuse_all)
        fuse_all(g);
    for (int k = 0; k < 2 && st == GOPT_OK; k++) {
        const gopt_engine_options how = { .backend = k ? "cpu" : "opencl",
                                          .precision = k ? NULL : precision,
                                          .dump_kernels = k ? NULL : o->dump,
                                          .apart = o->apart,
                                          .deterministic = o->deterministic,
                                          .reference = k == 1 };
        st = gopt_engine_create(g, &how, &e[k]);
        st = st == GOPT_OK ? gopt_run_context_create(e[k], &rc[k]) : st;
        for (size_t i = 0; i < g->main->n_params && st == GOPT_OK; i++)
            st = gopt_run_context_set_input(rc[k], i, in[i]);
        for (int round = 0; round < 2 && st == GOPT_OK; round++)
            st = gopt_run(rc[k]);
    }
    if (st != GOPT_OK) {
        gopt_diag_print(cx, stderr, false);
        fail_msg("it does not run:\n%s", text);
    }
    for (size_t i = 0; i < g->main->n_results; i++) {
        static char where[1 << 16];
        (void)snprintf(where, sizeof where, "%s of\n%s", g->main->result_names[i], text);
        close_enough(gopt_run_context_output(rc[0], i), gopt_run_context_output(rc[1], i),
                     strcmp(precision, "fp32") != 0 || strstr(text, "f16"), where);
    }
    const checked r = steps_of(rc[0], o->tactic);
    for (int k = 0; k < 2; k++) {
        gopt_run_context_destroy(rc[k]);
        gopt_engine_destroy(e[k]);
    }
    for (int i = 0; i < MOST; i++)
        gopt_tensor_unref(in[i]);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
    return r;
}

/* The same; how many steps did the device run? */
static inline size_t check_in(const char *precision, const char *text)
{
    return check_with(&(check_options){ .precision = precision }, text).steps;
}

static inline size_t check(const char *text)
{
    return check_in("fp32", text);
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

/* One node as a graph; what ran it? */
static inline checked one_node_in(const char *precision, const char *inputs, const char *node)
{
    char text[2048];
    (void)snprintf(text, sizeof text, "graph (%s) {\n  %%y = %s\n  return %%y as \"y\"\n}\n", inputs, node);
    const checked r = check_with(&(check_options){ .precision = precision }, text);
    if (r.steps != 1)
        fail_msg("%zu steps, not one, of\n%s", r.steps, text);
    return r;
}

static inline void one_node(const char *inputs, const char *node)
{
    (void)one_node_in("fp32", inputs, node);
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
    assert_int_equal(check_in(b->precision, text), b->steps);
    *b = (batch){ .precision = b->precision };
}

#endif
