/* One caller of an engine on the opencl backend: inputs of its own, a run context, and what reference evaluation
 * answers. */
#ifndef GOPT_UNIT_OPENCL_SIDE_H
#define GOPT_UNIT_OPENCL_SIDE_H

#include "unit/opencl.h"

#include <math.h>

#include "ops/eval.h"

/* Kernels of all sorts, packed weights, two spans that can be walked, and between them a node that the cpu runs: Det has
 * no kernel. */
static const char with_det[] = "graph (%x: f32[1,4,6,6], %i: i64[3]) {\n"
                               "  %c = Conv %x, dense<f32[8,4,3,3], #a>, dense<f32[8], #b> { pads = [1,1,1,1] }\n"
                               "  %r = Relu %c\n"
                               "  %p = MaxPool %r { kernel_shape = [2,2], strides = [2,2] }\n"
                               "  %f = Reshape %p, dense<i64[2], [3,24]>\n"
                               "  %q = Slice %f, dense<i64[1], [0]>, dense<i64[1], [3]>, dense<i64[1], [1]>\n"
                               "  %d = Det %q\n"
                               "  %g = Gather %f, %i\n"
                               "  %m = MatMul %g, dense<f32[24,10], #c>\n"
                               "  %s = Softmax %m\n"
                               "  %a = Add %s, %d\n"
                               "  return %a as \"a\"\n}\n";

typedef struct side {
    gopt_ctx *cx; /* of its own, as the graph: they belong to one thread */
    gopt_graph *g;
    gopt_engine *e;
    gopt_run_context *rc; /* made by the first run */
    gopt_tensor *x, *i, *want;
    bool half;
    size_t runs;
    gopt_status status;
    bool right;
} side;

/* Of a network whose inputs are x and three indices below 3; each number has inputs of its own. */
static inline void side_open(side *s, const char *text, unsigned number)
{
    *s = (side){ .cx = gopt_ctx_create(NULL), .runs = 1 };
    s->g = parse(s->cx, text);
    s->x = draw(s->cx, s->g->main->params[0]->type, number + 7);
    s->i = draw(s->cx, s->g->main->params[1]->type, 2);
    for (unsigned k = 0; k < 3; k++)
        ((int64_t *)s->i->data)[k] = (int64_t)((k + number) % 3);
    const gopt_tensor *in[2] = { s->x, s->i };
    assert_int_equal(gi_eval_graph(s->g, in, &s->want), GOPT_OK);
}

static inline void side_close(side *s)
{
    gopt_run_context_destroy(s->rc);
    gopt_tensor_unref(s->x);
    gopt_tensor_unref(s->i);
    gopt_tensor_unref(s->want);
    gopt_graph_destroy(s->g);
    gopt_ctx_destroy(s->cx);
}

static inline bool is_right(const side *s)
{
    const gopt_tensor *y = gopt_run_context_output(s->rc, 0);
    bool right = y && y->bytes == s->want->bytes;
    double most = 1;
    for (int64_t k = 0; k < gopt_tensor_elements(s->want); k++)
        most = fmax(most, fabs(gopt_tensor_get_f64(s->want, k)));
    const double bound = most * (s->half ? 5e-3 : 1e-5);
    for (int64_t k = 0; right && k < gopt_tensor_elements(y); k++)
        right = fabs(gopt_tensor_get_f64(y, k) - gopt_tensor_get_f64(s->want, k)) <= bound;
    return right;
}

/* Runs it `runs` times, until one fails. A thread's function, so without cmocka's assertions, which belong to the main
 * thread. */
static inline void *side_run(void *p)
{
    side *s = p;
    s->right = true;
    s->status = s->rc ? GOPT_OK : gopt_run_context_create(s->e, &s->rc);
    for (size_t run = 0; run < s->runs && s->status == GOPT_OK; run++) {
        s->status = gopt_run_context_set_input(s->rc, 0, s->x);
        s->status = s->status == GOPT_OK ? gopt_run_context_set_input(s->rc, 1, s->i) : s->status;
        s->status = s->status == GOPT_OK ? gopt_run(s->rc) : s->status;
        s->right = s->right && (s->status != GOPT_OK || is_right(s));
    }
    return NULL;
}

#endif
