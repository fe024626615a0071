/* Gradient, which import differentiates: held against differences of the function itself, and what is refused. */
#include "unit/onnx_bytes.h"
#include "unit/unit.h"

#include <math.h>
#include <unistd.h>

#include "gopt/gopt.h"
#include "ops/eval.h"

static char path[] = "/tmp/gopt-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return close(mkstemp(path));
}

static int teardown(void **state)
{
    (void)state;
    return remove(path);
}

/* ---- models ---- */

enum { MAX_NODES = 4, MAX_ATTRS = 3, MAX_RANK = 4 };

/* t = a function of a and b, f64, and of the integers i, of some nodes; y is the sum of its squares. */
typedef struct {
    const char *op, *in, *out;
    struct {
        const char *name;
        int64_t n; /* 0: one integer, not a list */
        int64_t v[4];
        const char *text; /* NULL: of integers */
    } attrs[MAX_ATTRS];
} line;

typedef struct {
    const char *what;
    int rank_a;
    int64_t a[MAX_RANK];
    int rank_b; /* -1: there is no b */
    int64_t b[MAX_RANK];
    int64_t n_i, i[4];
    line lines[MAX_NODES];
} function;

static bytes typed(const char *name, int dtype, int rank, const int64_t *dims)
{
    bytes shape = { 0 }, tensor = { 0 }, type = { 0 }, v = { 0 };
    for (int i = 0; i < rank; i++) {
        bytes d = { 0 };
        num(&d, 1, dims[i]);
        sub(&shape, 1, d);
    }
    num(&tensor, 1, dtype);
    sub(&tensor, 2, shape);
    sub(&type, 1, tensor);
    str(&v, 1, name);
    sub(&v, 2, type);
    return v;
}

static bytes output(const char *name)
{
    bytes v = { 0 };
    str(&v, 1, name);
    return v;
}

static bytes attr_str(const char *name, const char *v)
{
    bytes b = { 0 };
    str(&b, 1, name);
    str(&b, 4, v);
    num(&b, 20, 3);
    return b;
}

static bytes attr_strs(const char *name, const char *list)
{
    bytes b = { 0 };
    str(&b, 1, name);
    words(&b, 9, list);
    num(&b, 20, 8);
    return b;
}

static bytes gradient(const char *in, const char *out, const char *xs, const char *y)
{
    bytes n = node("Gradient", in, out, "gradient");
    str(&n, 7, "ai.onnx.preview.training");
    sub(&n, 5, attr_strs("xs", xs));
    sub(&n, 5, attr_str("y", y));
    return n;
}

static bytes training_model(bytes graph)
{
    bytes m = { 0 }, o = { 0 };
    str(&o, 1, "ai.onnx.preview.training");
    num(&o, 2, 1);
    sub(&m, 8, o);
    bytes rest = model(graph, 9, 20);
    put(&m, rest.p, rest.n);
    free(rest.p);
    return m;
}

static void add_lines(bytes *g, const function *f)
{
    for (int i = 0; i < MAX_NODES && f->lines[i].op; i++) {
        const line *l = &f->lines[i];
        bytes n = node(l->op, l->in, l->out, l->out);
        for (int k = 0; k < MAX_ATTRS && l->attrs[k].name; k++)
            sub(&n, 5,
                l->attrs[k].text ? attr_str(l->attrs[k].name, l->attrs[k].text)
                : l->attrs[k].n  ? attr_ints(l->attrs[k].name, (size_t)l->attrs[k].n, l->attrs[k].v)
                                 : attr_int(l->attrs[k].name, l->attrs[k].v[0]));
        sub(g, 1, n);
    }
}

static gopt_graph *load(gopt_ctx *cx, bytes graph)
{
    gopt_graph *g = NULL;
    bytes m = training_model(graph);
    write_file(path, m.p, m.n);
    free(m.p);
    const gopt_status st = gopt_onnx_load(cx, path, &g);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
    return g;
}

static gopt_graph *load_function(gopt_ctx *cx, const function *f)
{
    const bool two = f->rank_b >= 0;
    bytes g = { 0 };
    add_lines(&g, f);
    sub(&g, 1, node("Mul", "t t", "t2", "square"));
    sub(&g, 1, node("ReduceSum", "t2", "y", "sum"));
    sub(&g, 1, gradient(two ? "a b" : "a", two ? "da db" : "da", two ? "a b" : "a", "y"));
    if (f->n_i)
        sub(&g, 5, i64_initializer("i", f->n_i, f->i));
    sub(&g, 11, typed("a", 11, f->rank_a, f->a));
    if (two)
        sub(&g, 11, typed("b", 11, f->rank_b, f->b));
    sub(&g, 12, output("y"));
    sub(&g, 12, output("da"));
    if (two)
        sub(&g, 12, output("db"));
    return load(cx, g);
}

/* ---- against differences ---- */

/* Positive numbers in no order, none of them near a kink. */
static gopt_tensor *numbers(gopt_ctx *cx, int rank, const int64_t *dims, double from)
{
    gopt_tensor *t;
    assert_int_equal(gopt_tensor_create(cx, GOPT_F64, rank, dims, &t), GOPT_OK);
    for (int64_t i = 0; i < gopt_tensor_elements(t); i++)
        ((double *)t->data)[i] = from + 0.11 * (double)(i * 7 % 13);
    return t;
}

static double y_of(gopt_graph *g, gopt_tensor *const *in)
{
    gopt_tensor *out[3] = { NULL };
    assert_int_equal(gi_eval_graph(g, (const gopt_tensor *const *)in, out), GOPT_OK);
    const double y = *(double *)out[0]->data;
    for (int i = 0; i < 3; i++)
        gopt_tensor_unref(out[i]);
    return y;
}

static void differs_as_said(gopt_graph *g, const char *what, gopt_tensor *const *in, const gopt_tensor *x,
                            const gopt_tensor *dx)
{
    const double h = 1e-5;
    assert_int_equal(gopt_tensor_elements(dx), gopt_tensor_elements(x));
    for (int64_t i = 0; i < gopt_tensor_elements(x); i++) {
        double *v = (double *)x->data + i;
        const double before = *v, found = ((double *)dx->data)[i];
        *v = before + h;
        const double up = y_of(g, in);
        *v = before - h;
        const double down = y_of(g, in);
        *v = before;
        const double want = (up - down) / (2 * h);
        if (!(fabs(found - want) <= 1e-6 * (1 + fabs(want))))
            fail_msg("%s, element %lld: %.12g, by differences %.12g", what, (long long)i, found, want);
    }
}

static void holds(const function *f)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = load_function(cx, f);
    gopt_tensor *in[2] = { numbers(cx, f->rank_a, f->a, 0.25), NULL }, *out[3] = { NULL };
    if (f->rank_b >= 0)
        in[1] = numbers(cx, f->rank_b, f->b, 0.4);
    const gopt_status st = gi_eval_graph(g, (const gopt_tensor *const *)in, out);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
    differs_as_said(g, f->what, in, in[0], out[1]);
    if (in[1])
        differs_as_said(g, f->what, in, in[1], out[2]);
    for (int i = 0; i < 3; i++)
        gopt_tensor_unref(out[i]);
    gopt_tensor_unref(in[0]);
    gopt_tensor_unref(in[1]);
    gopt_graph_destroy(g);
    assert_int_equal(cx->tensor_bytes, 0);
    gopt_ctx_destroy(cx);
}

#define ONE(OP)                                                                                          \
    {                                                                                                    \
        .what = #OP, .rank_a = 2, .a = { 2, 3 }, .rank_b = -1, .lines = { { #OP, "a", "t", { { 0 } } } } \
    }
#define TWO(OP, ...)                                                                                      \
    {                                                                                                     \
        .what = #OP, .rank_a = 2, .a = { 2, 3 }, __VA_ARGS__, .lines = { { #OP, "a b", "t", { { 0 } } } } \
    }
#define LIST(NAME, ...)                                                     \
    {                                                                       \
        NAME, sizeof((int64_t[]){ __VA_ARGS__ }) / 8, { __VA_ARGS__ }, NULL \
    }
#define NUMBER(NAME, V)      \
    {                        \
        NAME, 0, { V }, NULL \
    }
#define WORD(NAME, V)     \
    {                     \
        NAME, 0, { 0 }, V \
    }

static const function functions[] = {
    ONE(Identity),
    ONE(Neg),
    ONE(Abs),
    ONE(Exp),
    ONE(Log),
    ONE(Sqrt),
    ONE(Reciprocal),
    ONE(Sin),
    ONE(Cos),
    ONE(Erf),
    ONE(Tanh),
    ONE(Sigmoid),
    ONE(Softplus),
    ONE(Relu),
    ONE(LeakyRelu),
    ONE(Gelu),
    ONE(Softmax),
    ONE(LogSoftmax),
    ONE(Flatten),
    ONE(Transpose),
    ONE(ReduceSum),
    ONE(ReduceMean),
    TWO(Add, .rank_b = 1, .b = { 3 }),
    TWO(Sub, .rank_b = 3, .b = { 2, 1, 3 }),
    TWO(Mul, .rank_b = 0),
    TWO(Div, .rank_b = 2, .b = { 2, 1 }),
    TWO(Pow, .rank_b = 2, .b = { 1, 3 }),
    TWO(Max, .rank_b = 1, .b = { 3 }),
    TWO(Min, .rank_b = 2, .b = { 2, 1 }),
    TWO(Sum, .rank_b = 1, .b = { 3 }),
    TWO(MatMul, .rank_b = 2, .b = { 3, 4 }),
    TWO(MatMul, .rank_b = 1, .b = { 3 }),
    TWO(MatMul, .rank_b = 3, .b = { 2, 3, 2 }),
    { "MatMul of a vector and batches", 1, { 3 }, 3, { 2, 3, 4 }, .lines = { { "MatMul", "a b", "t", { { 0 } } } } },
    { "MatMul of vectors", 1, { 3 }, 1, { 3 }, .lines = { { "MatMul", "a b", "t", { { 0 } } } } },
    TWO(Gemm, .rank_b = 2, .b = { 3, 4 }),
    { "Gemm, both turned",
      2,
      { 3, 2 },
      2,
      { 4, 3 },
      .lines = { { "Gemm", "a b", "t", { NUMBER("transA", 1), NUMBER("transB", 1) } } } },
    { "Gemm, a turned, b added",
      2,
      { 2, 2 },
      1,
      { 2 },
      .lines = { { "Gemm", "a a b", "t", { NUMBER("transA", 1) } } } },
    { "kinks",
      2,
      { 2, 3 },
      -1,
      { 0 },
      .lines = { { "Neg", "a", "n", { { 0 } } },
                 { "LeakyRelu", "n", "l", { { 0 } } },
                 { "Relu", "n", "r", { { 0 } } },
                 { "Add", "l r", "t", { { 0 } } } } },
    { "Where",
      2,
      { 2, 3 },
      1,
      { 3 },
      .lines = { { "Greater", "a b", "c", { { 0 } } }, { "Where", "c a b", "t", { { 0 } } } } },
    { "Concat and Split",
      2,
      { 2, 3 },
      2,
      { 2, 1 },
      2,
      { 1, 3 },
      .lines = { { "Concat", "a b", "c", { NUMBER("axis", 1) } },
                 { "Split", "c i", "d e", { NUMBER("axis", 1) } },
                 { "Div", "e d", "t", { { 0 } } } } },
    { "half of a Split", 1, { 4 }, -1, { 0 }, 2, { 1, 3 }, .lines = { { "Split", "a i", "c t", { { 0 } } } } },
    { "Reshape",
      2,
      { 2, 3 },
      1,
      { 2 },
      2,
      { 3, 2 },
      .lines = { { "Reshape", "a i", "c", { { 0 } } }, { "Mul", "c b", "t", { { 0 } } } } },
    { "Squeeze and Unsqueeze",
      2,
      { 1, 3 },
      1,
      { 3 },
      1,
      { 0 },
      .lines = { { "Squeeze", "a i", "c", { { 0 } } },
                 { "Unsqueeze", "b i", "d", { { 0 } } },
                 { "Mul", "c d", "t", { { 0 } } } } },
    { "ReduceMean without the axis",
      3,
      { 2, 3, 2 },
      2,
      { 2, 2 },
      1,
      { -2 },
      .lines = { { "ReduceMean", "a i", "c", { NUMBER("keepdims", 0) } }, { "Mul", "c b", "t", { { 0 } } } } },
    { "ReduceSum with the axis",
      2,
      { 2, 3 },
      2,
      { 2, 3 },
      1,
      { 1 },
      .lines = { { "ReduceSum", "a i", "c", { { 0 } } }, { "Div", "b c", "t", { { 0 } } } } },
    { "Expand",
      2,
      { 2, 1 },
      2,
      { 2, 3 },
      2,
      { 2, 3 },
      .lines = { { "Expand", "a i", "c", { { 0 } } }, { "Mul", "c b", "t", { { 0 } } } } },
    { "Transpose by a permutation",
      3,
      { 2, 3, 4 },
      3,
      { 4, 2, 3 },
      .lines = { { "Transpose", "a", "c", { LIST("perm", 2, 0, 1) } }, { "Mul", "c b", "t", { { 0 } } } } },
    { "Gather, a row twice",
      2,
      { 3, 2 },
      1,
      { 2 },
      3,
      { 2, 0, 2 },
      .lines = { { "Gather", "a i", "c", { { 0 } } }, { "Mul", "c b", "t", { { 0 } } } } },
    { "SoftmaxCrossEntropyLoss",
      2,
      { 2, 3 },
      -1,
      { 0 },
      2,
      { 2, 0 },
      .lines = { { "SoftmaxCrossEntropyLoss", "a i", "t", { { 0 } } } } },
    { "loss of LogSoftmax",
      2,
      { 2, 3 },
      -1,
      { 0 },
      2,
      { 1, 1 },
      .lines = { { "LogSoftmax", "a", "c", { { 0 } } }, { "NegativeLogLikelihoodLoss", "c i", "t", { { 0 } } } } },
    { "Softmax along the first axis",
      2,
      { 2, 3 },
      -1,
      { 0 },
      .lines = { { "Softmax", "a", "t", { NUMBER("axis", 0) } } } },
    { "Conv", 4, { 2, 2, 4, 5 }, 4, { 3, 2, 2, 3 }, .lines = { { "Conv", "a b", "t", { { 0 } } } } },
    { "Conv with strides and pads",
      4,
      { 1, 2, 6, 5 },
      4,
      { 2, 2, 3, 2 },
      .lines = { { "Conv", "a b", "t", { LIST("strides", 2, 2), LIST("pads", 1, 0, 0, 1) } } } },
    { "Conv with dilations",
      3,
      { 2, 1, 7 },
      3,
      { 2, 1, 2 },
      .lines = { { "Conv", "a b", "t", { LIST("dilations", 3), LIST("strides", 2) } } } },
    { "MaxPool, windows apart",
      4,
      { 1, 2, 4, 4 },
      -1,
      { 0 },
      .lines = { { "MaxPool", "a", "t", { LIST("kernel_shape", 2, 2), LIST("strides", 2, 2) } } } },
    { "MaxPool, windows upon each other",
      4,
      { 2, 1, 4, 4 },
      -1,
      { 0 },
      .lines = { { "MaxPool", "a", "t", { LIST("kernel_shape", 3, 2), LIST("pads", 1, 0, 1, 0) } } } },
    { "GlobalAveragePool", 4, { 2, 2, 2, 3 }, -1, { 0 }, .lines = { { "GlobalAveragePool", "a", "t", { { 0 } } } } },
    { "Clip from below",
      2,
      { 2, 3 },
      -1,
      { 0 },
      1,
      { 0 },
      .lines = { { "Size", "i", "n", { { 0 } } },
                 { "Cast", "n", "m", { NUMBER("to", 11) } },
                 { "Clip", "a m", "t", { { 0 } } } } },
    { "Clip from above",
      2,
      { 2, 3 },
      -1,
      { 0 },
      1,
      { 0 },
      .lines = { { "Size", "i", "n", { { 0 } } },
                 { "Cast", "n", "m", { NUMBER("to", 11) } },
                 { "Clip", "a - m", "t", { { 0 } } } } },
    { "Gelu by Tanh", 2, { 2, 3 }, -1, { 0 }, .lines = { { "Gelu", "a", "t", { WORD("approximate", "tanh") } } } },
    { "Slice",
      3,
      { 2, 4, 3 },
      -1,
      { 0 },
      2,
      { 1, 1 },
      .lines = { { "Add", "i i", "e", { { 0 } } }, { "Slice", "a i e", "t", { { 0 } } } } },
    { "Pad",
      1,
      { 3 },
      1,
      { 6 },
      2,
      { 2, 1 },
      .lines = { { "Pad", "a i", "c", { { 0 } } }, { "Mul", "c b", "t", { { 0 } } } } },
    { "a network",
      2,
      { 2, 3 },
      2,
      { 3, 3 },
      .lines = { { "MatMul", "a b", "h", { { 0 } } },
                 { "Tanh", "h", "u", { { 0 } } },
                 { "MatMul", "u b", "v", { { 0 } } },
                 { "Sub", "v a", "t", { { 0 } } } } },
};

static void slopes(void **state)
{
    (void)state;
    for (size_t i = 0; i < GI_COUNT(functions); i++)
        holds(&functions[i]);
}

/* ---- what Gradient says besides ---- */

/* Of y = a³ at 3: y is a · a · a. */
static bytes cube(void)
{
    bytes g = { 0 };
    sub(&g, 1, node("Mul", "a a", "s", "square"));
    sub(&g, 1, node("Mul", "s a", "y", "cube"));
    sub(&g, 5, f32_initializer("a", 0, NULL, 1, (const float[]){ 3 }));
    sub(&g, 5, f32_initializer("other", 0, NULL, 1, (const float[]){ 2 }));
    return g;
}

static void gives(bytes g, const char *name, float want)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_tensor *y = NULL;
    sub(&g, 12, output(name));
    gopt_graph *graph = load(cx, g);
    assert_int_equal(gi_eval_graph(graph, NULL, &y), GOPT_OK);
    assert_float_equal(*(float *)y->data, want, 1e-5);
    gopt_tensor_unref(y);
    gopt_graph_destroy(graph);
    gopt_ctx_destroy(cx);
}

static void second_order(void **state)
{
    (void)state;
    bytes g = cube();
    sub(&g, 1, gradient("a", "d", "a", "y"));
    sub(&g, 1, gradient("a", "d2", "a", "d"));
    gives(g, "d2", 18);
}

static void at_other_values(void **state)
{
    (void)state;
    bytes g = cube();
    sub(&g, 1, gradient("other", "d", "a", "y"));
    gives(g, "d", 12);
}

/* With respect to s alone, a is a constant: y = s · a. */
static void to_what_lies_between(void **state)
{
    (void)state;
    bytes g = cube();
    sub(&g, 1, gradient("s", "d", "s", "y"));
    gives(g, "d", 3);
    g = cube();
    sub(&g, 1, gradient("other", "d", "other", "y"));
    gives(g, "d", 0);
}

/* It stands before the nodes that make y. */
static void out_of_order(void **state)
{
    (void)state;
    bytes g = { 0 };
    sub(&g, 1, gradient("a", "d", "a", "y"));
    sub(&g, 1, node("Mul", "a a", "y", "square"));
    sub(&g, 5, f32_initializer("a", 0, NULL, 1, (const float[]){ 3 }));
    gives(g, "d", 6);
}

static void refuses(gopt_status want, bytes node_, bytes gradient_, const char *what)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *graph = NULL;
    bytes g = { 0 };
    sub(&g, 1, node_);
    sub(&g, 1, gradient_);
    sub(&g, 5, i64_initializer("i", 1, (const int64_t[]){ 0 }));
    sub(&g, 11, typed("a", 1, 2, (const int64_t[]){ 2, 3 }));
    sub(&g, 12, output("d"));
    bytes m = training_model(g);
    write_file(path, m.p, m.n);
    free(m.p);
    assert_int_equal(gopt_onnx_load(cx, path, &graph), want);
    const char *said = gopt_diag_get(cx, gopt_diag_count(cx) - 1)->message;
    if (!strstr(said, what))
        fail_msg("found: %s\nexpected: %s", said, what);
    gopt_ctx_destroy(cx);
}

static void refused(void **state)
{
    (void)state;
    refuses(GOPT_UNSUPPORTED, node("Atan", "a", "y", "n"), gradient("a", "d", "a", "y"),
            "no gradient through Atan 'y': there is no rule for that operator");
    bytes topk = node("TopK", "a i", "v y", "n");
    refuses(GOPT_UNSUPPORTED, topk, gradient("a", "d", "a", "v"), "no gradient through TopK");
    bytes gather = node("Gather", "a i", "y", "n");
    sub(&gather, 5, attr_int("axis", 1));
    refuses(GOPT_UNSUPPORTED, gather, gradient("a", "d", "a", "y"),
            "no gradient through Gather 'y': it gathers along axis 1");
    refuses(GOPT_BAD_INPUT, node("Relu", "a", "y", "n"), gradient("a", "d", "a", "z"), "attribute y names 'z'");
    refuses(GOPT_BAD_INPUT, node("Relu", "a", "y", "n"), gradient("a", "d", "z", "y"), "attribute xs names 'z'");
    refuses(GOPT_BAD_INPUT, node("Relu", "a", "y", "n"), gradient("i", "d", "i", "y"), "not known to be real numbers");
    refuses(GOPT_BAD_INPUT, node("Relu", "a", "y", "n"), gradient("a", "d e", "a", "y"), "1 inputs and 2 outputs");
    refuses(GOPT_BAD_INPUT, node("Relu", "a", "y", "n"), gradient("a", "d", "", "y"), "xs has 0 names");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slopes),       cmocka_unit_test(second_order),         cmocka_unit_test(at_other_values),
        cmocka_unit_test(out_of_order), cmocka_unit_test(to_what_lies_between), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
