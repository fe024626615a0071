/* Small networks, compiled for each instruction set that this machine has and for one and three threads, whose answers
 * are held against the reference evaluation's. */
#ifndef GOPT_UNIT_NET_H
#define GOPT_UNIT_NET_H

#include "unit/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gk.h"
#include "gopt/gopt.h"
#include "ir/graph.h"

static uint32_t seed = 7;
static uint32_t kept_bits = 0xffffffff; /* of a number: with fewer it is exact in a shorter type */

static inline float number(void)
{
    seed = seed * 1664525u + 1013904223u;
    float x = (float)(seed >> 8) / 8388608.0f - 1.0f;
    uint32_t u;
    memcpy(&u, &x, sizeof(u));
    u &= kept_bits;
    memcpy(&x, &u, sizeof(x));
    return x;
}

typedef struct net {
    gopt_graph *g;
    int n;
} net;

#define DIMS(...) ((const int64_t[]){ __VA_ARGS__ }), (int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))

static inline gopt_value *input(net *t, const int64_t *dims, int rank)
{
    char text[GOPT_MAX_RANK][24], name[16];
    const char *p[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        snprintf(text[i], sizeof(text[i]), "%lld", (long long)dims[i]);
        p[i] = text[i];
    }
    snprintf(name, sizeof(name), "x%d", t->n++);
    gopt_value *v = gopt_graph_input(t->g, name, GOPT_F32, rank, p);
    assert_non_null(v);
    return v;
}

static inline gopt_value *weights(net *t, const int64_t *dims, int rank)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= dims[i];
    float *p = malloc((size_t)n * sizeof(*p));
    assert_non_null(p);
    for (int64_t i = 0; i < n; i++)
        p[i] = number() * 0.5f;
    gopt_value *v = gopt_graph_constant(t->g, NULL, GOPT_F32, rank, dims, p);
    free(p);
    assert_non_null(v);
    return v;
}

static inline gopt_value *integers(net *t, const int64_t *v, int n)
{
    const int64_t dims = n;
    return gopt_graph_constant(t->g, NULL, GOPT_I64, 1, &dims, v);
}

static inline gopt_value *add(net *t, const char *op, const char *attributes, int n, gopt_value *a, gopt_value *b,
                              gopt_value *c)
{
    gopt_value *in[3] = { a, b, c }, *v = gopt_graph_add(t->g, op, NULL, n, in, attributes);
    assert_non_null(v);
    return v;
}

static inline gopt_value *conv(net *t, gopt_value *x, int64_t oc, int64_t icg, int64_t kh, int64_t kw,
                               const char *attributes)
{
    return add(t, "Conv", attributes, 3, x, weights(t, DIMS(oc, icg, kh, kw)), weights(t, DIMS(oc)));
}

typedef struct net_case {
    const char *name;
    gopt_value *(*make)(net *t);
    const char *tactic; /* that must run a step where nothing is capped; NULL: any */
} net_case;

/* ---- comparing ---- */

static const char *prefer; /* tactics asked for by name; NULL: none */

static inline gopt_tensor *make_input(gopt_ctx *cx, const gopt_value *v)
{
    int64_t dims[GOPT_MAX_RANK];
    gopt_tensor *t;
    for (int i = 0; i < gopt_value_rank(v); i++)
        dims[i] = gopt_value_dim(v, i);
    assert_int_equal(gopt_tensor_create(cx, GOPT_F32, gopt_value_rank(v), dims, &t), GOPT_OK);
    for (int64_t i = 0; i < gopt_tensor_elements(t); i++)
        ((float *)t->data)[i] = number();
    return t;
}

static inline gopt_run_context *start(gopt_graph *g, const gopt_engine_options *o, gopt_tensor **in, gopt_engine **e)
{
    gopt_run_context *rc = NULL;
    assert_int_equal(gopt_engine_create(g, o, e), GOPT_OK);
    assert_int_equal(gopt_run_context_create(*e, &rc), GOPT_OK);
    for (size_t i = 0; i < gopt_graph_input_count(g); i++)
        assert_int_equal(gopt_run_context_set_input(rc, i, in[i]), GOPT_OK);
    return rc;
}

static inline void same(const char *name, const gopt_tensor *a, const gopt_tensor *b)
{
    float scale = 0.0f;
    assert_int_equal(a->rank, b->rank);
    assert_memory_equal(a->dims, b->dims, (size_t)a->rank * sizeof(*a->dims));
    const int64_t n = gopt_tensor_elements(b);
    for (int64_t i = 0; i < n; i++)
        scale = fmaxf(scale, fabsf(((const float *)b->data)[i]));
    for (int64_t i = 0; i < n; i++) {
        const float x = ((const float *)a->data)[i], y = ((const float *)b->data)[i];
        if (isnan(x) && isnan(y))
            continue;
        if (!(fabsf(x - y) <= 1e-5f * scale)) {
            print_error("%s: element %lld is %g, expected %g\n", name, (long long)i, (double)x, (double)y);
            fail();
        }
    }
}

static inline bool runs(gopt_run_context *rc, const char *tactic)
{
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++)
        if (s->tactic && !strcmp(s->tactic, tactic))
            return true;
    return false;
}

static inline void compare(const net_case *k, gopt_graph *g, gopt_graph *fused, gopt_tensor **in, const char *isa,
                           int threads)
{
    gopt_engine *e = NULL, *r = NULL;
    const gopt_engine_options o = { .isa = isa, .threads = threads, .tactics = prefer };
    gopt_run_context *rc = start(fused, &o, in, &e);
    gopt_run_context *rr = start(g, &(gopt_engine_options){ .reference = true }, in, &r);
    assert_int_equal(gopt_run(rr), GOPT_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gopt_run(rc), GOPT_OK);
        same(k->name, gopt_run_context_output(rc, 0), gopt_run_context_output(rr, 0));
    }
    if (k->tactic && !isa && !runs(rc, k->tactic)) {
        print_error("%s: no step runs by %s\n", k->name, k->tactic);
        fail();
    }
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    gopt_run_context_destroy(rr);
    gopt_engine_destroy(r);
}

/* One shape of a tactic's tests: asked for by name on every instruction set and one to four threads, it must run a step
 * and answer as the reference does. Takes t's graph and its context over. */
static inline void by_tactic(net *t, gopt_ctx *cx, const char *what, const char *passes, const char *asked,
                             const char *tactic)
{
    static const char *const isas[] = { NULL, "sse2", "avx2", "avx512" };
    gopt_graph *fused;
    gopt_tensor *in[2];
    gopt_engine *r = NULL;
    assert_int_equal(gopt_graph_clone(t->g, &fused), GOPT_OK);
    const gopt_optimize_options whole = { .level = 2, .fuse = true, .passes = passes };
    assert_int_equal(gopt_optimize(fused, &whole, NULL), GOPT_OK);
    const size_t n = gopt_graph_input_count(t->g);
    for (size_t i = 0; i < n; i++)
        in[i] = make_input(cx, gopt_graph_get_input(t->g, i));
    gopt_run_context *rr = start(t->g, &(gopt_engine_options){ .reference = true }, in, &r);
    assert_int_equal(gopt_run(rr), GOPT_OK);
    for (size_t i = 0; i < sizeof(isas) / sizeof(*isas); i++) {
        gk_isa isa;
        if (isas[i] && (!gk_isa_parse(isas[i], &isa) || isa > gk_best()))
            continue;
        for (int threads = 1; threads <= 4; threads++) {
            const gopt_engine_options o = { .isa = isas[i], .threads = threads, .tactics = asked };
            gopt_engine *e = NULL;
            gopt_run_context *rc = start(fused, &o, in, &e);
            for (int twice = 0; twice < 2; twice++) {
                assert_int_equal(gopt_run(rc), GOPT_OK);
                same(what, gopt_run_context_output(rc, 0), gopt_run_context_output(rr, 0));
            }
            if (!runs(rc, tactic))
                print_error("no step runs by %s: %s\n", tactic, what);
            assert_true(runs(rc, tactic));
            gopt_run_context_destroy(rc);
            gopt_engine_destroy(e);
        }
    }
    gopt_run_context_destroy(rr);
    gopt_engine_destroy(r);
    for (size_t i = 0; i < n; i++)
        gopt_tensor_unref(in[i]);
    gopt_graph_destroy(fused);
    gopt_graph_destroy(t->g);
    gopt_ctx_destroy(cx);
}

/* With every rewrite, or with those passes alone; NULL: as it is. */
static inline void one_case(const net_case *k, const char *passes)
{
    static const char *const isas[] = { NULL, "sse2", "avx2", "avx512" };
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    assert_int_equal(gopt_graph_create(cx, k->name, 21, &t.g), GOPT_OK);
    gopt_value *y = k->make(&t);
    assert_int_equal(gopt_graph_output(t.g, y, "y"), GOPT_OK);
    gopt_graph *fused;
    assert_int_equal(gopt_graph_clone(t.g, &fused), GOPT_OK);
    const gopt_optimize_options o = { .level = 2, .fuse = true, .passes = passes && *passes ? passes : NULL };
    if (passes)
        assert_int_equal(gopt_optimize(fused, &o, NULL), GOPT_OK);
    gopt_tensor *in[8];
    const size_t n = gopt_graph_input_count(t.g);
    for (size_t i = 0; i < n; i++)
        in[i] = make_input(cx, gopt_graph_get_input(t.g, i));
    for (size_t i = 0; i < sizeof(isas) / sizeof(*isas); i++) {
        gk_isa isa;
        if (isas[i] && (!gk_isa_parse(isas[i], &isa) || isa > gk_best()))
            continue;
        compare(k, t.g, fused, in, isas[i], i % 2 ? 1 : 3);
    }
    for (size_t i = 0; i < n; i++)
        gopt_tensor_unref(in[i]);
    gopt_graph_destroy(fused);
    gopt_graph_destroy(t.g);
    gopt_ctx_destroy(cx);
}

#endif
