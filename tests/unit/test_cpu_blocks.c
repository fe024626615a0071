/* The tactic "conv_block": depthwise convolutions with their 1x1 neighbours, by rows and by planes, over sizes, strides,
 * kernels, activations, residuals, batches, instruction sets and one to four threads, against the reference. */
#include "unit/net.h"

typedef struct shape {
    int64_t n, c, hidden, oc, h, w, kh, kw; /* hidden 0: no expansion; oc 0: no projection */
    const char *attributes;                 /* of the depthwise convolution, but for its group */
    const char *act;                        /* behind the first two: an operator, "Clip", "Swish" or NULL */
    bool residual;                          /* an Add of x (or of another input, where shapes differ) behind the last */
    const char *last;                       /* an operator behind all that, NULL: none */
} shape;

#define SAME3 "pads = [1,1,1,1]"
#define HALF3 "pads = [1,1,1,1], strides = [2,2]"
#define SAME5 "pads = [2,2,2,2]"
#define HALF5 "pads = [2,2,2,2], strides = [2,2]"

static const shape shapes[] = {
    { 1, 24, 144, 24, 14, 14, 3, 3, SAME3, "Clip", true, NULL },
    { 2, 16, 96, 24, 23, 19, 3, 3, HALF3, "Clip", false, NULL },
    { 3, 8, 40, 8, 7, 7, 3, 3, SAME3, "Relu", true, "Relu" },
    { 1, 33, 70, 17, 9, 31, 5, 5, SAME5, "Swish", false, NULL },
    { 1, 20, 60, 20, 12, 10, 5, 5, SAME5, "HardSwish", true, "HardSwish" },
    { 2, 17, 37, 65, 31, 8, 5, 5, HALF5, "HardSwish", false, NULL },
    { 1, 16, 48, 16, 40, 90, 3, 3, SAME3, "Swish", true, "Sigmoid" },
    { 1, 64, 384, 96, 14, 14, 3, 3, "dilations = [2,3], pads = [2,3,2,3]", "Relu", false, NULL },
    { 1, 8, 24, 12, 17, 16, 3, 3, NULL, NULL, false, NULL },
    { 2, 8, 24, 12, 6, 5, 2, 4, "pads = [4,5,5,6]", "Relu", false, "Tanh" }, /* windows that see padding alone */
    { 1, 8, 24, 12, 20, 11, 2, 2, "strides = [4,3]", "Relu", false, NULL },  /* rows that no window sees */
    { 1, 8, 24, 12, 25, 11, 3, 3, "auto_pad = \"SAME_LOWER\", strides = [2,1]", "Relu", false, NULL },
    { 1, 32, 0, 64, 30, 40, 3, 3, SAME3, "Relu", false, "Relu" },
    { 2, 24, 0, 24, 15, 13, 5, 5, SAME5, "Swish", true, "Swish" },
    { 1, 40, 0, 9, 21, 20, 3, 3, HALF3, "Clip", false, "Clip" },
    { 4, 48, 0, 48, 5, 3, 3, 3, SAME3, NULL, true, NULL },
    { 1, 24, 112, 0, 28, 27, 3, 3, HALF3, "Swish", false, NULL },
    { 2, 24, 37, 0, 13, 14, 5, 5, SAME5, "Relu", true, "Relu" },
    { 1, 16, 160, 0, 7, 7, 3, 3, SAME3, "Clip", false, NULL },
};

static const shape *now;

static gopt_value *number_of(net *t, float x)
{
    return gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &x);
}

static gopt_value *activate(net *t, gopt_value *x, const char *act)
{
    if (!act)
        return x;
    if (!strcmp(act, "Clip"))
        return add(t, "Clip", NULL, 3, x, number_of(t, 0.0f), number_of(t, 6.0f));
    if (!strcmp(act, "Swish"))
        return add(t, "Mul", NULL, 2, x, add(t, "Sigmoid", NULL, 1, x, NULL, NULL), NULL);
    return add(t, act, NULL, 1, x, NULL, NULL);
}

static gopt_value *block(net *t)
{
    const shape *s = now;
    const int64_t hidden = s->hidden ? s->hidden : s->c;
    char attributes[128];
    gopt_value *x = input(t, DIMS(s->n, s->c, s->h, s->w)), *y = x;
    if (s->hidden)
        y = activate(t, conv(t, y, hidden, s->c, 1, 1, NULL), s->act);
    snprintf(attributes, sizeof(attributes), "group = %lld%s%s", (long long)hidden, s->attributes ? ", " : "",
             s->attributes ? s->attributes : "");
    y = conv(t, y, hidden, 1, s->kh, s->kw, attributes);
    if (s->oc)
        y = conv(t, activate(t, y, s->act), s->oc, hidden, 1, 1, NULL);
    if (s->residual && s->oc == s->c)
        y = add(t, "Add", NULL, 2, y, x, NULL);
    else if (s->residual)
        y = add(t, "Add", NULL, 2, y,
                input(t, DIMS(s->n, gopt_value_dim(y, 1), gopt_value_dim(y, 2), gopt_value_dim(y, 3))), NULL);
    return activate(t, y, s->last);
}

/* Something before and behind it, so that images lie in blocks all along. */
static gopt_value *block_in_chain(net *t)
{
    gopt_value *y = block(t);
    return add(t, "MaxPool", "kernel_shape = [2,2], pads = [0,0,1,1]", 1, y, NULL, NULL);
}

static void one(const shape *s, gopt_value *(*make)(net *t), const char *tactics)
{
    char what[64];
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    now = s;
    snprintf(what, sizeof(what), "shape %d", (int)(s - shapes));
    assert_int_equal(gopt_graph_create(cx, "block", 21, &t.g), GOPT_OK);
    assert_int_equal(gopt_graph_output(t.g, make(&t), "y"), GOPT_OK);
    by_tactic(&t, cx, what, NULL, tactics, "conv_block");
}

static void by_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
        one(&shapes[i], block, "conv_block:0");
}

static void by_planes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
        one(&shapes[i], block_in_chain, "conv_block:1");
}

/* Regions that are no such block fall apart, and answer all the same. */
static gopt_value *read_twice(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 8, 9, 9)), 32, 8, 1, 1, NULL);
    gopt_value *y = conv(t, x, 32, 1, 3, 3, "group = 32, pads = [1,1,1,1]");
    return add(t, "Add", NULL, 2, conv(t, y, 32, 32, 1, 1, NULL), x, NULL);
}

static gopt_value *strided_pixels(net *t)
{
    gopt_value *x = conv(t, input(t, DIMS(1, 8, 9, 9)), 32, 8, 1, 1, "strides = [2,2]");
    x = conv(t, x, 32, 1, 3, 3, "group = 32, pads = [1,1,1,1]");
    return conv(t, x, 16, 32, 1, 1, "pads = [1,1,1,1]");
}

static void others(void **state)
{
    static const net_case cases[] = { { "read_twice", read_twice, NULL }, { "strided_pixels", strided_pixels, NULL } };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        one_case(&cases[i], "");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(by_rows), cmocka_unit_test(by_planes),
                                        cmocka_unit_test(others) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
