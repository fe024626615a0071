/* Small graphs written as text: what they infer to, what they evaluate to, what they are refused for. */
#ifndef GOPT_UNIT_GIR_H
#define GOPT_UNIT_GIR_H

#include "unit/unit.h"

#include <stdio.h>

#include "gopt/graph.h"
#include "ops/eval.h"
#include "ops/infer.h"

static gopt_ctx *cx;

static int setup(void **state)
{
    (void)state;
    cx = gopt_ctx_create(NULL);
    return cx ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(cx->tensor_bytes, 0);
    gopt_ctx_destroy(cx);
    return 0;
}

static gopt_graph *parse(const char *params, const char *body)
{
    static char text[1 << 17];
    gopt_graph *g = NULL;
    snprintf(text, sizeof text, "opset 24\ngraph \"t\" (%s) {\n%s\n  return %%y as \"y\"\n}\n", params, body);
    const gopt_status st = gi_parse(cx, "test", text, strlen(text), &g);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
    return g;
}

/* The graph infers, and %y has this type. */
static inline void infers(const char *params, const char *body, const char *type)
{
    char found[256];
    gopt_graph *g = parse(params, body);
    const gopt_status st = gi_infer_graph(g);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
    gopt_value_type_text(gopt_graph_get_output(g, 0), found, sizeof found);
    assert_string_equal(found, type);
    gopt_graph_destroy(g);
}

static inline void says(gopt_status st, const char *what)
{
    assert_int_equal(st, GOPT_BAD_INPUT);
    assert_true(gopt_diag_count(cx) > 0);
    const char *message = gopt_diag_get(cx, gopt_diag_count(cx) - 1)->message;
    if (!strstr(message, what))
        fail_msg("found: %s\nexpected: %s", message, what);
    gopt_diag_clear(cx);
}

/* Inference refuses, and its last diagnostic says so. */
static inline void infer_refuses(const char *params, const char *body, const char *what)
{
    gopt_graph *g = parse(params, body);
    says(gi_infer_graph(g), what);
    gopt_graph_destroy(g);
}

/* %y of a graph without inputs has these dims and elements, "2x3: 1 2 3 4 5 6"; types inferred before. */
static inline void evaluates(const char *body, const char *what)
{
    char found[1024];
    size_t n = 0;
    gopt_tensor *y = NULL;
    gopt_graph *g = parse("", body);
    gopt_status st = gi_infer_graph(g);
    if (st == GOPT_OK)
        st = gi_eval_graph(g, NULL, &y);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
    for (int i = 0; i < y->rank; i++)
        n += (size_t)snprintf(found + n, sizeof found - n, "%s%lld", i ? "x" : "", (long long)y->dims[i]);
    n += (size_t)snprintf(found + n, sizeof found - n, ":");
    for (int64_t i = 0; i < gopt_tensor_elements(y); i++)
        n += (size_t)snprintf(found + n, sizeof found - n, " %.6g", gi_tensor_f64(y, i));
    assert_string_equal(found, what);
    gopt_tensor_unref(y);
    gopt_graph_destroy(g);
}

/* Evaluation, without inference before it, refuses. */
static inline void eval_refuses(const char *body, const char *what)
{
    gopt_tensor *y = NULL;
    gopt_graph *g = parse("", body);
    says(gi_eval_graph(g, NULL, &y), what);
    gopt_graph_destroy(g);
}

#endif
