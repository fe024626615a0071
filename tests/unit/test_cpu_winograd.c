/* Winograd convolutions: images of all sizes round a tile's, with every kind of padding, batch, group and epilogue, by
 * both variants, answer as the reference evaluation does; and where they may not be used they are not. */
#include "unit/net.h"

typedef struct shape {
    int64_t n, c, h, w, oc, group;
    const char *pads;
    enum { NOTHING, RELU, RESIDUAL, SWISH } after;
} shape;

static const shape *now;

static gopt_value *network(net *t)
{
    char text[96];
    snprintf(text, sizeof(text), "pads = [%s], group = %d", now->pads, (int)now->group);
    gopt_value *x = conv(t, input(t, DIMS(now->n, now->c, now->h, now->w)), now->c, now->c, 1, 1, NULL);
    gopt_value *y = conv(t, x, now->oc, now->c / now->group, 3, 3, text);
    switch (now->after) {
    case NOTHING:
        return y;
    case RELU:
        return add(t, "Relu", NULL, 1, y, NULL, NULL);
    case RESIDUAL:
        return add(t, "Relu", NULL, 1, add(t, "Add", NULL, 2, y, x, NULL), NULL, NULL);
    case SWISH:
        y = add(t, "Mul", NULL, 2, y, add(t, "Sigmoid", NULL, 1, y, NULL, NULL), NULL);
        return conv(t, y, 20, now->oc, 1, 1, NULL);
    }
    return NULL;
}

static const shape shapes[] = {
    { 1, 16, 1, 1, 16, 1, "1,1,1,1", NOTHING },    { 1, 16, 3, 3, 32, 1, "0,0,0,0", RELU },
    { 1, 33, 2, 3, 40, 1, "1,1,1,1", NOTHING },    { 2, 17, 4, 4, 24, 1, "1,1,1,1", SWISH },
    { 3, 32, 5, 9, 32, 1, "1,1,1,1", RESIDUAL },   { 1, 64, 7, 7, 100, 1, "1,1,1,1", RELU },
    { 2, 48, 13, 17, 48, 1, "1,1,1,1", RESIDUAL }, { 1, 16, 6, 67, 16, 1, "1,1,1,1", SWISH },
    { 1, 24, 21, 10, 16, 1, "0,2,1,3", SWISH },    { 1, 16, 3, 4, 20, 1, "6,5,9,7", NOTHING },
    { 2, 64, 11, 12, 96, 2, "1,1,1,1", RELU },     { 1, 96, 9, 8, 96, 3, "1,0,1,0", SWISH },
    { 5, 16, 14, 14, 16, 1, "1,1,1,1", RESIDUAL }, { 1, 128, 20, 20, 64, 1, "1,1,1,1", NOTHING },
};

static void all_shapes(void **state)
{
    (void)state;
    static const char *const variants[] = { "conv_winograd:0", "conv_winograd:1" };
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
        for (int v = 0; v < 2; v++) {
            char name[64];
            now = &shapes[i];
            prefer = variants[v];
            snprintf(name, sizeof(name), "shape %d, %s", (int)i, variants[v]);
            one_case(&(net_case){ name, network, "conv_winograd" }, "fuse-vertical");
        }
}

/* What ran a convolution of these weights, and what Winograd's tactic said of its first way. */
static const char *tactic_of(float weight, gopt_fp fp, char *why, size_t n)
{
    static char tactic[64];
    float w[32 * 32 * 9];
    gopt_ctx *cx = gopt_ctx_create(NULL);
    net t = { 0 };
    gopt_engine *e;
    assert_int_equal(gopt_graph_create(cx, "x", 21, &t.g), GOPT_OK);
    for (size_t i = 0; i < sizeof(w) / sizeof(*w); i++)
        w[i] = i % 7 ? number() : weight;
    gopt_value *x = input(&t, DIMS(1, 32, 28, 28));
    gopt_value *k = gopt_graph_constant(t.g, NULL, GOPT_F32, 4, ((const int64_t[]){ 32, 32, 3, 3 }), w);
    assert_int_equal(gopt_graph_output(t.g, add(&t, "Conv", NULL, 2, x, k, NULL), "y"), GOPT_OK);
    gopt_tensor *in[1] = { make_input(cx, gopt_graph_get_input(t.g, 0)) };
    gopt_run_context *rc = start(t.g, &(gopt_engine_options){ .threads = 1, .fp = fp }, in, &e);
    const gopt_step_info *s = gopt_run_context_step(rc, 0);
    snprintf(tactic, sizeof(tactic), "%s", s->tactic);
    *why = 0;
    for (size_t i = 0; i < s->n_tactics; i++)
        if (!strcmp(s->tactics[i].name, "conv_winograd") && s->tactics[i].variant == 0)
            snprintf(why, n, "%s", s->tactics[i].why ? s->tactics[i].why : "");
    assert_int_equal(gopt_run(rc), GOPT_OK);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    gopt_tensor_unref(in[0]);
    gopt_graph_destroy(t.g);
    gopt_ctx_destroy(cx);
    return tactic;
}

static void within_its_bound(void **state)
{
    (void)state;
    char why[200];
    assert_string_equal(tactic_of(0.5f, GOPT_FP_REASSOC, why, sizeof(why)), "conv_winograd");
    assert_string_equal(why, "");
    assert_string_equal(tactic_of(0.5f, GOPT_FP_FAST, why, sizeof(why)), "conv_winograd");
    assert_string_equal(tactic_of(0.5f, GOPT_FP_STRICT, why, sizeof(why)), "conv_direct");
    assert_string_equal(why, "--fp strict keeps to direct sums");
    assert_string_equal(tactic_of(NAN, GOPT_FP_REASSOC, why, sizeof(why)), "conv_direct");
    assert_non_null(strstr(why, "its error on this layer's weights is"));
    assert_string_equal(tactic_of(1e38f, GOPT_FP_FAST, why, sizeof(why)), "conv_direct");
    assert_non_null(strstr(why, "its error on this layer's weights is"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(all_shapes), cmocka_unit_test(within_its_bound) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
