/* The tactics "conv_direct" and "conv_depthwise" over sizes, windows, groups, layouts of the input, activations and
 * residuals, instruction sets and one to four threads, against the reference. */
#include "unit/net.h"

typedef struct shape {
    int64_t n, c, group, oc, h, w, kh, kw;
    const char *attributes; /* but for the group */
    bool blocked;           /* the input is made by another convolution, so it lies in blocks */
    bool residual;
    const char *act; /* an operator, "Swish", or NULL */
} shape;

#define SAME3 "pads = [1,1,1,1]"
#define HALF3 "pads = [1,1,1,1], strides = [2,2]"

static const shape shapes[] = {
    /* one block of channels, the last of three, and blocks that are not full */
    { 1, 16, 1, 16, 29, 31, 1, 1, NULL, true, false, "Swish" },
    { 2, 20, 1, 9, 13, 13, 1, 1, NULL, true, true, NULL },
    { 1, 16, 1, 16, 13, 13, 3, 3, SAME3, true, true, "Relu" },
    { 2, 32, 1, 48, 7, 7, 3, 3, SAME3, true, false, "Relu" },
    { 1, 24, 1, 41, 5, 90, 3, 3, HALF3, true, true, "Swish" },
    { 1, 16, 1, 5, 1, 1, 1, 1, NULL, true, false, NULL },
    { 1, 96, 2, 96, 10, 9, 3, 3, SAME3, true, false, NULL },
    { 2, 64, 4, 64, 9, 14, 1, 1, NULL, true, true, "Relu" },
    { 1, 40, 1, 24, 40, 30, 1, 1, NULL, true, false, "HardSwish" },
    /* dense inputs: stems, and more channels; dilated, without padding, and padded on one side */
    { 1, 3, 1, 16, 50, 47, 6, 6, "pads = [2,2,2,2], strides = [2,2]", false, false, "Swish" },
    { 2, 3, 1, 32, 33, 35, 3, 3, HALF3, false, false, "Relu" },
    { 1, 1, 1, 20, 28, 28, 5, 5, NULL, false, false, NULL },
    { 1, 2, 1, 10, 17, 23, 3, 4, "dilations = [2,3], pads = [1,2,3,0]", false, false, NULL },
    { 1, 4, 1, 33, 15, 16, 1, 1, NULL, false, false, "Relu" },
    { 1, 12, 1, 16, 21, 20, 3, 3, SAME3, false, false, "Swish" },
    { 3, 19, 1, 37, 11, 12, 3, 5, "pads = [1,0,0,4], strides = [1,2]", false, true, NULL },
    { 1, 40, 1, 16, 9, 30, 1, 7, "pads = [0,3,0,3]", false, false, NULL },
    /* depthwise */
    { 1, 40, 40, 40, 33, 30, 3, 3, SAME3, true, true, "Swish" },
    { 2, 24, 24, 24, 20, 57, 5, 5, "pads = [2,2,2,2]", true, false, "HardSwish" },
    { 1, 33, 33, 33, 19, 44, 5, 5, "pads = [2,1,2,2], strides = [2,2]", true, false, NULL },
    { 1, 48, 48, 48, 15, 14, 7, 7, "pads = [3,3,3,3]", true, true, NULL },
    { 1, 16, 16, 16, 9, 8, 3, 2, "dilations = [2,3], pads = [2,3,2,3], strides = [3,1]", true, false, "Relu" },
    { 1, 17, 17, 17, 3, 2, 3, 3, SAME3, true, false, NULL },
};

static const shape *now;

static gopt_value *chain(net *t)
{
    const shape *s = now;
    char attributes[160];
    gopt_value *x = input(t, DIMS(s->n, s->blocked ? 8 : s->c, s->h, s->w));
    if (s->blocked) /* and a pool behind that, so that they are no inverted residual */
        x = add(t, "MaxPool", "kernel_shape = [2,2], pads = [0,0,1,1]", 1, conv(t, x, s->c, 8, 1, 1, NULL), NULL, NULL);
    snprintf(attributes, sizeof(attributes), "group = %lld%s%s", (long long)s->group, s->attributes ? ", " : "",
             s->attributes ? s->attributes : "");
    gopt_value *y = conv(t, x, s->oc, s->c / s->group, s->kh, s->kw, attributes);
    if (s->residual)
        y = add(t, "Add", NULL, 2, y, input(t, DIMS(s->n, s->oc, gopt_value_dim(y, 2), gopt_value_dim(y, 3))), NULL);
    if (s->act && !strcmp(s->act, "Swish"))
        return add(t, "Mul", NULL, 2, y, add(t, "Sigmoid", NULL, 1, y, NULL, NULL), NULL);
    return s->act ? add(t, s->act, NULL, 1, y, NULL, NULL) : y;
}

static void one(const shape *s)
{
    char what[64];
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    now = s;
    snprintf(what, sizeof(what), "shape %d", (int)(s - shapes));
    assert_int_equal(gopt_graph_create(cx, "conv", 21, &t.g), GOPT_OK);
    assert_int_equal(gopt_graph_output(t.g, chain(&t), "y"), GOPT_OK);
    const char *tactic = s->group == s->c && s->c > 1 ? "conv_depthwise" : "conv_direct";
    by_tactic(&t, cx, what, "fuse-vertical", tactic, tactic);
}

static void convolutions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
        one(&shapes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(convolutions) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
