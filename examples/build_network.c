/* Builds a small network through the public interface, without any file, optimizes and runs it.
 *
 *   x[n,4] ─ MatMul ─ Add ─ Relu ─ y[n,3] */
#include <stdio.h>

#include "gopt/gopt.h"

static gopt_status build(gopt_ctx *cx, gopt_graph **out)
{
    static const float weights[4 * 3] = { 1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1 };
    static const float bias[3] = { 0.5F, -0.5F, 0 };
    gopt_graph *g;
    const gopt_status st = gopt_graph_create(cx, "dense", 17, &g);
    if (st != GOPT_OK)
        return st;
    gopt_value *x = gopt_graph_input(g, "x", GOPT_F32, 2, (const char *[]){ "n", "4" });
    gopt_value *w = gopt_graph_constant(g, "w", GOPT_F32, 2, (int64_t[]){ 4, 3 }, weights);
    gopt_value *b = gopt_graph_constant(g, "b", GOPT_F32, 1, (int64_t[]){ 3 }, bias);
    gopt_value *product = x && w ? gopt_graph_add(g, "MatMul", "product", 2, (gopt_value *[]){ x, w }, NULL) : NULL;
    gopt_value *sum = product && b ? gopt_graph_add(g, "Add", "sum", 2, (gopt_value *[]){ product, b }, NULL) : NULL;
    gopt_value *y = sum ? gopt_graph_add(g, "Relu", "relu", 1, (gopt_value *[]){ sum }, NULL) : NULL;
    if (!y || gopt_graph_output(g, y, "y") != GOPT_OK) {
        gopt_graph_destroy(g);
        return GOPT_BAD_INPUT;
    }
    *out = g;
    return GOPT_OK;
}

static gopt_status run(gopt_ctx *cx, gopt_engine *engine, gopt_run_context **rc, gopt_tensor **x)
{
    gopt_status st = gopt_tensor_create(cx, GOPT_F32, 2, (int64_t[]){ 2, 4 }, x);
    if (st != GOPT_OK)
        return st;
    for (int i = 0; i < 8; i++)
        ((float *)(*x)->data)[i] = (float)i;
    st = gopt_run_context_create(engine, rc);
    if (st == GOPT_OK)
        st = gopt_run_context_set_input(*rc, 0, *x);
    if (st == GOPT_OK)
        st = gopt_run(*rc);
    if (st != GOPT_OK)
        return st;
    const gopt_tensor *y = gopt_run_context_output(*rc, 0);
    for (int64_t row = 0; row < y->dims[0]; row++) {
        for (int64_t i = 0; i < y->dims[1]; i++)
            printf("%s%g", i ? " " : "", (double)((const float *)y->data)[row * y->dims[1] + i]);
        printf("\n");
    }
    return GOPT_OK;
}

int main(void)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = NULL;
    gopt_engine *engine = NULL;
    gopt_run_context *rc = NULL;
    gopt_tensor *x = NULL;
    if (!cx)
        return 1;
    gopt_status st = build(cx, &g);
    if (st == GOPT_OK)
        st = gopt_optimize(g, &(gopt_optimize_options){ .level = 2, .fuse = true }, NULL);
    if (st == GOPT_OK)
        st = gopt_engine_create(g, &(gopt_engine_options){ .backend = "cpu" }, &engine);
    if (st == GOPT_OK)
        st = run(cx, engine, &rc, &x);
    gopt_diag_print(cx, stderr, false);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(engine);
    gopt_tensor_unref(x);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
    return gopt_status_exit(st);
}
