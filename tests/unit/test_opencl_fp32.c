/* What stays in fp32 in plans of halves: by calibration, by name, by weights; and floats among halves, whichever step they
 * are at. */
#include "unit/opencl.h"

#include <math.h>

#include "backend/fp32.h"

/* Images: pairs of pixels, residuals, one filter a channel, moves of channels, pools, a classifier. */
static const char images[] =
    "graph (%x: f32[2,3,12,12], %r: f32[2,10,6,6]) {\n"
    "  %a = Conv %x, dense<f32[10,3,3,3], #a>, dense<f32[10], #b> { pads = [1,1,1,1], strides = [2,2] } @\"stem\"\n"
    "  %b = Relu %a @\"relu\"\n"
    "  %c = Conv %b, dense<f32[10,10,3,3], #c> { pads = [1,1,1,1] } @\"conv1\"\n"
    "  %c1 = Relu %c\n"
    "  %d = Conv %c1, dense<f32[10,10,1,1], #d> @\"conv2\"\n"
    "  %e = Add %d, %b @\"add\"\n"
    "  %f = Relu %e\n"
    "  %e2 = Add %f, %r @\"host\"\n"
    "  %g = MaxPool %e2 { kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1] } @\"pool\"\n"
    "  %h = Conv %g, dense<f32[10,1,3,3], #e> { pads = [1,1,1,1], group = 10 } @\"depthwise\"\n"
    "  %h1 = Clip %h, dense<f32[], 0.0>, dense<f32[], 6.0>\n"
    "  %i = Conv %g, dense<f32[6,10,1,1], #f> @\"branch\"\n"
    "  %j = Concat %h1, %i { axis = 1 } @\"concat\"\n"
    "  %k, %l = Split %j, dense<i64[2], [8,8]> { axis = 1 } @\"split\"\n"
    "  %m = Mul %k, %l @\"gate\"\n"
    "  %n = Resize %m, _, dense<f32[4], [1.0,1.0,2.0,2.0]> { mode = \"nearest\" } @\"resize\"\n"
    "  %o = Conv %n, dense<f32[16,8,3,3], #a6> @\"last\"\n"
    "  %p = GlobalAveragePool %o @\"mean\"\n"
    "  %q = Flatten %p @\"flat\"\n"
    "  %s = Gemm %q, dense<f32[16,16], #a7>, dense<f32[16], #a8> { transB = 1 } @\"fc1\"\n"
    "  %t = Gemm %s, dense<f32[16,12], #a9> @\"fc2\"\n"
    "  return %t as \"y\", %p as \"p\"\n}\n";

/* Tokens: rows, heads read out of one product, a mask, residuals, a reduction. */
static const char tokens[] = "graph (%x: f32[2,9,16], %mask: f32[2,1,1,9]) {\n"
                             "  %x1 = Mul %x, dense<f32[], 0.5> @\"scale\"\n"
                             "  %n = LayerNormalization %x1, dense<f32[16], #a>, dense<f32[16], #b> @\"norm1\"\n"
                             "  %all = MatMul %n, dense<f32[16,48], #c> @\"qkv\"\n"
                             "  %q0, %k0, %v0 = Split %all, dense<i64[3], [16,16,16]> { axis = 2 } @\"split\"\n"
                             "  %q4 = Reshape %q0, dense<i64[4], [2,9,2,8]>\n"
                             "  %k4 = Reshape %k0, dense<i64[4], [2,9,2,8]>\n"
                             "  %v4 = Reshape %v0, dense<i64[4], [2,9,2,8]> @\"values\"\n"
                             "  %q = Transpose %q4 { perm = [0,2,1,3] } @\"queries\"\n"
                             "  %k = Transpose %k4 { perm = [0,2,3,1] } @\"keys\"\n"
                             "  %v = Transpose %v4 { perm = [0,2,1,3] }\n"
                             "  %s = MatMul %q, %k @\"scores\"\n"
                             "  %m2 = Mul %mask, dense<f32[], 2.0> @\"mask\"\n"
                             "  %t = Mul %s, dense<f32[], 0.35>\n"
                             "  %u = Add %t, %m2\n"
                             "  %p = Softmax %u { axis = -1 } @\"softmax\"\n"
                             "  %o = MatMul %p, %v @\"context\"\n"
                             "  %o1 = Transpose %o { perm = [0,2,1,3] }\n"
                             "  %o2 = Reshape %o1, dense<i64[3], [2,9,16]> @\"merge\"\n"
                             "  %w = MatMul %o2, dense<f32[16,16], #d> @\"out\"\n"
                             "  %y1 = Add %w, %x1 @\"residual1\"\n"
                             "  %n2 = LayerNormalization %y1, dense<f32[16], #e> @\"norm2\"\n"
                             "  %f1 = MatMul %n2, dense<f32[16,32], #f> @\"up\"\n"
                             "  %f2 = Gelu %f1\n"
                             "  %f3 = MatMul %f2, dense<f32[32,16], #a6> @\"down\"\n"
                             "  %y2 = Add %f3, %y1 @\"residual2\"\n"
                             "  %c = Slice %y2, dense<i64[1], [0]>, dense<i64[1], [4]>, dense<i64[1], [1]> @\"slice\"\n"
                             "  %r = ReduceMean %c, dense<i64[1], [1]> { keepdims = 0 } @\"mean\"\n"
                             "  %z = MatMul %r, dense<f32[16,5], #a7> @\"head\"\n"
                             "  return %z as \"z\"\n}\n";

/* A graph in two forms, its inputs, and what it answers in floats. */
typedef struct network {
    gopt_ctx *cx;
    gopt_graph *g; /* optimized */
    gopt_tensor *in[4];
    size_t n_in, n_out;
    const gopt_tensor *want[4];
    gopt_engine *e;
    gopt_run_context *rc;
    const char *text;
} network;

static void must(const network *k, gopt_status st)
{
    if (st != GOPT_OK) {
        gopt_diag_print(k->cx, stderr, false);
        fail_msg("failed:\n%s", k->text);
    }
}

/* Input `at` is drawn `times` as large; level 0 leaves regions as they are written. */
static void open_scaled(network *k, const char *text, size_t at, float times, int level)
{
    gopt_graph *before;
    *k = (network){ .cx = gopt_ctx_create(NULL), .text = text };
    must(k, gi_parse(k->cx, "test", text, strlen(text), &before));
    must(k, gi_infer_graph(before));
    k->n_in = before->main->n_params;
    k->n_out = before->main->n_results;
    must(k, gopt_graph_clone(before, &k->g));
    must(k, gopt_engine_create(before, &(gopt_engine_options){ .reference = true, .take_graph = true }, &k->e));
    must(k, gopt_run_context_create(k->e, &k->rc));
    for (size_t i = 0; i < k->n_in; i++) {
        k->in[i] = draw(k->cx, before->main->params[i]->type, (unsigned)i + 1);
        for (int64_t j = 0; i == at && j < gopt_tensor_elements(k->in[i]); j++)
            ((float *)k->in[i]->data)[j] *= times;
        must(k, gopt_run_context_set_input(k->rc, i, k->in[i]));
    }
    must(k, gopt_run(k->rc));
    for (size_t i = 0; i < k->n_out; i++)
        k->want[i] = gopt_run_context_output(k->rc, i);
    if (level)
        must(k, gopt_optimize(k->g, &(gopt_optimize_options){ .level = level, .fuse = true }, NULL));
}

static void open_network(network *k, const char *text)
{
    open_scaled(k, text, SIZE_MAX, 1, 2);
}

static void close_network(network *k)
{
    gopt_run_context_destroy(k->rc);
    gopt_engine_destroy(k->e);
    gopt_graph_destroy(k->g);
    for (size_t i = 0; i < k->n_in; i++)
        gopt_tensor_unref(k->in[i]);
    gopt_ctx_destroy(k->cx);
}

/* What a run in halves says: how many steps stayed in floats, the reason of the first, whether all answers are right. */
typedef struct outcome {
    size_t kept;
    char why[300];
    bool finite;
} outcome;

static outcome run_halves(const network *k, gopt_graph *g, bool right)
{
    gopt_engine *e;
    gopt_run_context *rc;
    outcome o = { .finite = true };
    must(k, gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl", .precision = "fp16" }, &e));
    must(k, gopt_run_context_create(e, &rc));
    for (size_t i = 0; i < k->n_in; i++)
        must(k, gopt_run_context_set_input(rc, i, k->in[i]));
    must(k, gopt_run(rc));
    for (size_t i = 0; i < k->n_out; i++) {
        const gopt_tensor *y = gopt_run_context_output(rc, i);
        if (right)
            close_enough(y, k->want[i], true, k->text);
        for (int64_t j = 0; j < gopt_tensor_elements(y); j++)
            o.finite = o.finite && isfinite(gopt_tensor_get_f64(y, j));
    }
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++)
        if (s->fp32 && !o.kept++)
            (void)snprintf(o.why, sizeof o.why, "%s: %s", s->name, s->fp32);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    return o;
}

/* Each node in turn in floats, the rest in halves. */
static void each_step(const char *text)
{
    network k;
    size_t n = 0;
    open_network(&k, text);
    assert_int_equal(run_halves(&k, k.g, true).kept, 0);
    for (const gopt_node *at = gopt_graph_first_node(k.g); at; at = gopt_node_next(at), n++) {
        gopt_graph *g;
        must(&k, gopt_graph_clone(k.g, &g));
        gopt_node *it = gopt_graph_first_node(g);
        for (size_t i = 0; i < n; i++)
            it = gopt_node_next(it);
        if (strcmp(gopt_node_op(it), "Fusion") != 0) {
            must(&k, gopt_node_keep_fp32(it, "as told"));
            const outcome o = run_halves(&k, g, true);
            if (!o.kept && strcmp(gopt_node_op(it), "Reshape") != 0 && strcmp(gopt_node_op(it), "Flatten") != 0)
                fail_msg("nothing stays in floats for %s in\n%s", gopt_node_name(it), text);
        }
        gopt_graph_destroy(g);
    }
    assert_true(n > 6);
    close_network(&k);
}

static void images_with_floats(void **state)
{
    (void)state;
    need_a_device();
    each_step(images);
}

static void tokens_with_floats(void **state)
{
    (void)state;
    need_a_device();
    each_step(tokens);
}

/* Few steps of many kinds: each plan is one kernel, which takes long to compile. */
static const char walked[] =
    "graph (%x: f32[1,8,6,6]) {\n"
    "  %a = Conv %x, dense<f32[12,8,3,3], #a> { pads = [1,1,1,1] } @\"conv\"\n"
    "  %p = MaxPool %a { kernel_shape = [2,2], strides = [2,2] } @\"pool\"\n"
    "  %d = Conv %p, dense<f32[12,1,3,3], #b> { pads = [1,1,1,1], group = 12 } @\"depthwise\"\n"
    "  %e = Add %d, %p @\"add\"\n"
    "  %k = Concat %e, %p { axis = 1 } @\"concat\"\n"
    "  %g = GlobalAveragePool %k @\"mean\"\n"
    "  %f = Flatten %g\n"
    "  %y = Gemm %f, dense<f32[8,24], #c> { transB = 1 } @\"head\"\n"
    "  return %y as \"y\"\n}\n";

/* The same where the plan is one kernel. */
static void walks_with_floats(void **state)
{
    (void)state;
    need_a_device();
    assert_int_equal(setenv("GOPT_OPENCL_WALK", "1", 1), 0);
    each_step(walked);
    assert_int_equal(unsetenv("GOPT_OPENCL_WALK"), 0);
}

/* ---- calibration ---- */

static gopt_status calibrate(const network *k, gopt_graph *g, size_t *kept)
{
    gopt_ranges *r;
    must(k, gopt_ranges_create(g, NULL, &r));
    const gopt_status st = gopt_ranges_add(r, (const gopt_tensor *const *)k->in);
    if (st == GOPT_OK)
        must(k, gopt_ranges_keep(r, kept));
    gopt_ranges_destroy(r);
    return st;
}

/* Networks that overflow: Inf and NaN without calibration, right answers with it, and the reason told. */
static void what_overflows_stays_in_floats(void **state)
{
    (void)state;
    need_a_device();
    static const struct {
        const char *text, *why;
        size_t kept;
    } cases[] = {
        /* a convolution's result, and the one that reads it */
        { "graph (%x: f32[1,8,5,5]) {\n  %a = Conv %x, dense<f32[16,8,3,3], #a> { pads = [1,1,1,1] }\n"
          "  %b = Mul %a, dense<f32[], 30000.0>\n  %c = Relu %b\n"
          "  %d = Conv %c, dense<f32[8,16,1,1], #b>\n  %e = Mul %d, dense<f32[], 1e-4>\n"
          "  %f = Conv %e, dense<f32[8,8,1,1], #c>\n  return %f as \"y\"\n}\n",
          "its result reaches ", 2 },
        /* one that a view, a pool and a sum see */
        { "graph (%x: f32[1,8,4,4]) {\n  %a = Conv %x, dense<f32[8,8,1,1], #a>\n"
          "  %b = Mul %a, dense<f32[], 90000.0>\n"
          "  %m = MaxPool %b { kernel_shape = [2,2], strides = [2,2] }\n  %s = Add %m, %m\n"
          "  %f = Reshape %s, dense<i64[2], [4,8]>\n  %y = MatMul %f, dense<f32[8,8], #b>\n"
          "  %z = Mul %y, dense<f32[], 1e-5>\n  return %z as \"y\"\n}\n",
          "its result reaches ", 3 },
        /* an input of the graph, that one filter a channel and a product read */
        { "graph (%x: f32[1,8,4,4]) {\n  %a = Conv %x, dense<f32[8,1,3,3], #a> { group = 8 }\n"
          "  %b = Conv %x, dense<f32[8,8,3,3], #b>\n  %c = Sub %a, %b\n  return %c as \"y\"\n}\n",
          NULL, 0 },
        /* scores */
        { "graph (%x: f32[1,2,6,8]) {\n  %q = Mul %x, dense<f32[], 20000.0>\n"
          "  %k = Transpose %x { perm = [0,1,3,2] }\n  %s = MatMul %q, %k\n  %t = Mul %s, dense<f32[], 1e-5>\n"
          "  %p = Softmax %t { axis = -1 }\n  %y = MatMul %p, %x\n  return %y as \"y\"\n}\n",
          NULL, 0 },
        /* in a branch */
        { "graph (%x: f32[1,8,4,4]) {\n  %s = ReduceSum %x { keepdims = 0 }\n"
          "  %c = Greater %s, dense<f32[], -1e9>\n"
          "  %y = If %c { then_branch = block () {\n"
          "    %a = Conv %x, dense<f32[8,8,1,1], #a>\n    %b = Mul %a, dense<f32[], 90000.0>\n"
          "    %r = Relu %b\n    %d = Conv %r, dense<f32[8,8,1,1], #b>\n    %e = Mul %d, dense<f32[], 1e-5>\n"
          "    return %e }, else_branch = block () {\n    %n = Neg %x\n    return %n } }\n  return %y as \"y\"\n}\n",
          "its result reaches ", 2 },
        /* nothing but what halves have as zero */
        { "graph (%x: f32[2,16]) {\n  %a = MatMul %x, dense<f32[16,16], #a>\n  %b = Mul %a, dense<f32[], 1e-9>\n"
          "  %c = Softplus %x\n  %e = ReduceSum %b, dense<i64[1], [1]>\n  %d = Mul %e, dense<f32[], 1e+9>\n"
          "  %y = Add %c, %d\n  return %y as \"y\"\n}\n",
          NULL, 0 },
    };
    for (size_t i = 0; i < GI_COUNT(cases); i++) {
        network k;
        size_t once = 0, again = 0;
        gopt_graph *g;
        open_network(&k, cases[i].text);
        must(&k, gopt_graph_clone(k.g, &g));
        const outcome bad = run_halves(&k, g, false);
        if (cases[i].why)
            assert_false(bad.finite);
        must(&k, calibrate(&k, g, &once));
        const outcome o = run_halves(&k, g, true);
        if (cases[i].why) {
            assert_true(once > 0);
            assert_int_equal(o.kept, cases[i].kept);
            assert_non_null(strstr(o.why, cases[i].why));
        }
        /* the same again, on the marked graph */
        must(&k, calibrate(&k, g, &again));
        assert_int_equal(again, once);
        const outcome p = run_halves(&k, g, true);
        assert_int_equal(p.kept, o.kept);
        assert_string_equal(p.why, o.why);
        gopt_graph_destroy(g);
        close_network(&k);
    }
}

/* An operand of what is fused behind a product is brought to the result's layout as floats: the product stays in halves. */
static void residuals_stay_in_floats(void **state)
{
    (void)state;
    need_a_device();
    static const char *const texts[] = {
        "graph (%x: f32[2,8,5,4], %r: f32[2,12,5,4]) {\n  %y = Fusion<conv> { body = block () {\n"
        "    %c = Conv %x, dense<f32[12,8,1,1], #a>\n    %d = Div %c, %r\n"
        "    %e = Mul %d, dense<f32[], 1000000.0>\n    return %e } }\n"
        "  %z = Conv %y, dense<f32[8,12,1,1], #b>\n  return %z as \"z\"\n}\n",
        "graph (%x: f32[2,12,9,8], %r: f32[2,12,9,8]) {\n  %y = Fusion<conv> { body = block () {\n"
        "    %c = Conv %x, dense<f32[12,1,3,3], #a> { group = 12, pads = [1,1,1,1] }\n    %d = Div %c, %r\n"
        "    %e = Mul %d, dense<f32[], 1000000.0>\n    return %e } }\n"
        "  %z = Conv %y, dense<f32[8,12,1,1], #b>\n  return %z as \"z\"\n}\n",
        "graph (%x: f32[2,5,16], %r: f32[2,5,24]) {\n  %y = Fusion<matmul> { body = block () {\n"
        "    %c = MatMul %x, dense<f32[16,24], #a>\n    %d = Div %c, %r\n"
        "    %e = Mul %d, dense<f32[], 1000000.0>\n    return %e } }\n"
        "  %z = MatMul %y, dense<f32[24,8], #b>\n  return %z as \"z\"\n}\n",
    };
    for (size_t i = 0; i < GI_COUNT(texts); i++) {
        network k;
        size_t kept;
        open_scaled(&k, texts[i], 1, 1000000, 0);
        must(&k, calibrate(&k, k.g, &kept));
        assert_int_equal(kept, 1);
        assert_int_equal(run_halves(&k, k.g, true).kept, 0);
        close_network(&k);
    }
}

/* Where there are tensor cores, which take halves alone: their products, residuals, and attention over values of the host. */
static void tensor_cores_with_floats(void **state)
{
    (void)state;
    need_a_device();
    static const char heads[] = "graph (%x: f32[1,2,17,8]) {\n"
                                "  %q = Mul %x, dense<f32[], 0.5> @\"queries\"\n"
                                "  %h = MatMul %q, dense<f32[8,8], #a> @\"product\"\n"
                                "  %k = Transpose %h { perm = [0,1,3,2] } @\"keys\"\n"
                                "  %s = MatMul %q, %k @\"scores\"\n"
                                "  %p = Softmax %s { axis = -1 } @\"softmax\"\n"
                                "  %y = MatMul %p, %x @\"context\"\n"
                                "  %z = MatMul %y, dense<f32[8,16], #b> @\"head\"\n"
                                "  return %z as \"z\"\n}\n";
    network k;
    size_t kept;
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", "emulated", 1), 0);
    each_step(heads);
    if (getenv("GOPT_TEST_FULL")) /* emulated kernels take long to compile */
        each_step(walked);
    residuals_stay_in_floats(state);
    /* values of the host that halves cannot hold */
    open_scaled(&k, heads, 0, 1000000, 2);
    assert_false(run_halves(&k, k.g, false).finite);
    must(&k, calibrate(&k, k.g, &kept));
    assert_true(run_halves(&k, k.g, true).kept >= 3);
    close_network(&k);
    assert_int_equal(unsetenv("GOPT_OPENCL_TENSOR"), 0);
}

/* Two samples, of which the second overflows; and what does not fit. */
static void each_sample_counts(void **state)
{
    (void)state;
    network k;
    gopt_ranges *r;
    gopt_range at;
    size_t kept = 9;
    gopt_tensor *small, *other;
    open_network(&k, "graph (%x: f32[2,8]) {\n  %a = MatMul %x, dense<f32[8,8], #a>\n"
                     "  %b = Mul %a, %a\n  %y = Neg %b\n  return %y as \"y\"\n}\n");
    must(&k, gopt_tensor_create(k.cx, GOPT_F32, 2, (int64_t[]){ 2, 8 }, &small));
    must(&k, gopt_tensor_create(k.cx, GOPT_F32, 2, (int64_t[]){ 3, 8 }, &other));
    for (int i = 0; i < 16; i++)
        ((float *)small->data)[i] = (float)i / 16;
    must(&k, gopt_ranges_create(k.g, NULL, &r));
    must(&k, gopt_ranges_add(r, (const gopt_tensor *const[]){ small }));
    must(&k, gopt_ranges_keep(r, &kept));
    assert_int_equal(kept, 0);
    for (int i = 0; i < 16; i++)
        ((float *)small->data)[i] = (float)(i % 2 ? -1000 - i : 500);
    must(&k, gopt_ranges_add(r, (const gopt_tensor *const[]){ small }));
    must(&k, gopt_ranges_keep(r, &kept));
    assert_true(kept > 0);
    for (size_t i = 0; gopt_ranges_get(r, i, &at); i++)
        if (gopt_value_producer(at.value) == NULL) {
            assert_true(at.most == 1015);
            assert_true(at.finite);
            assert_int_equal(at.sample, 1);
        }
    /* an infinity is none that halves lack, and leaves what else was seen */
    ((float *)small->data)[3] = INFINITY;
    must(&k, gopt_ranges_add(r, (const gopt_tensor *const[]){ small }));
    for (size_t i = 0; gopt_ranges_get(r, i, &at); i++)
        if (gopt_value_producer(at.value) == NULL)
            assert_true(at.most == 1015 && !at.finite);
    assert_int_equal(gopt_ranges_add(r, (const gopt_tensor *const[]){ other }), GOPT_BAD_INPUT);
    assert_non_null(strstr(gopt_diag_get(k.cx, gopt_diag_count(k.cx) - 1)->message, "f32[3,8]"));
    gopt_ranges_destroy(r);
    gopt_tensor_unref(small);
    gopt_tensor_unref(other);
    close_network(&k);
    /* a dim that is open */
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g;
    static const char open[] = "graph (%x: f32[n,8]) {\n  %y = Neg %x\n  return %y as \"y\"\n}\n";
    assert_int_equal(gi_parse(cx, "test", open, strlen(open), &g), GOPT_OK);
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    assert_int_equal(gopt_ranges_create(g, NULL, &r), GOPT_USAGE);
    assert_null(r);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
}

/* Weights that halves do not hold keep their layer in floats; the bound is what is lost, not how many are small. */
static void weights(void **state)
{
    (void)state;
    need_a_device();
    static const struct {
        const char *weights, *why; /* NULL: none */
    } cases[] = {
        { "1e5,2.0,3.0,4.0,5.0,6.0,7.0,8.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0", "reaches 100000, beyond" },
        { "65504.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0", NULL },
        { "nan,2.0,3.0,4.0,5.0,6.0,7.0,8.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0", "holds NaN" },
        { "1.0,inf,3.0,4.0,5.0,6.0,7.0,8.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0", "holds an infinity" },
        { "1e-9,2e-9,1e-9,3e-9,1e-9,2e-9,1e-9,3e-9,1e-9,2e-9,1e-9,3e-9,1e-9,2e-9,1e-9,3e-9",
          "would lose 1e+02% of its norm in fp16: 100% of" },
        { "1e-6,2e-6,1e-6,3e-6,1e-6,2e-6,1e-6,3e-6,1e-6,2e-6,1e-6,3e-6,1e-6,2e-6,1e-6,3e-6", "of its norm" },
        { "1e-9,2e-9,1e-9,3e-9,1e-9,2e-9,1e-9,3e-9,1e-9,2e-9,1e-9,3e-9,1e-9,2e-9,1e-9,0.5", NULL },
        { "0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0", NULL },
    };
    for (size_t i = 0; i < GI_COUNT(cases); i++) {
        char text[1000];
        network k;
        (void)snprintf(text, sizeof text,
                       "graph (%%x: f32[5,8]) {\n  %%a = MatMul %%x, dense<f32[8,2], [%s], \"w\"> @\"layer\"\n"
                       "  return %%a as \"y\"\n}\n",
                       cases[i].weights);
        open_network(&k, text);
        const outcome o = run_halves(&k, k.g, true);
        assert_int_equal(o.kept, cases[i].why != NULL);
        if (cases[i].why && (!strstr(o.why, cases[i].why) || !strstr(o.why, "its weight w ")))
            fail_msg("found %s, expected %s", o.why, cases[i].why);
        close_network(&k);
    }
}

static void names(void **state)
{
    (void)state;
    network k;
    size_t stem = 0, convs = 0, none = 0;
    open_network(&k, images);
    for (const gopt_node *n = gopt_graph_first_node(k.g); n; n = gopt_node_next(n)) {
        stem += gopt_node_is_called(n, "stem");
        convs += gopt_node_is_called(n, "conv?");
        none += gopt_node_is_called(n, "ste");
    }
    assert_int_equal(stem, 1);
    assert_int_equal(convs, 2);
    assert_int_equal(none, 0);
    close_network(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_with_floats),
        cmocka_unit_test(tokens_with_floats),
        cmocka_unit_test(what_overflows_stays_in_floats),
        cmocka_unit_test(walks_with_floats),
        cmocka_unit_test(residuals_stay_in_floats),
        cmocka_unit_test(tensor_cores_with_floats),
        cmocka_unit_test(each_sample_counts),
        cmocka_unit_test(weights),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
