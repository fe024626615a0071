/* Neural-network operators: answers known by hand, symbolic shapes, what is refused. */
#include <math.h>
#include <stdlib.h>

#include "unit/gir.h"

#define ONES_2X2 "dense<f32[1,1,2,2], [1,1,1,1]>"
#define COUNT_3X3 "dense<f32[1,1,3,3], [1,2,3,4,5,6,7,8,9]>"

static void convolves(void **state)
{
    (void)state;
    evaluates("%y = Conv " COUNT_3X3 ", " ONES_2X2, "1x1x2x2: 12 16 24 28");
    /* Pads above 1 and left 0, below 0 and right 1. */
    evaluates("%y = Conv " COUNT_3X3 ", " ONES_2X2 " { pads = [1,0,0,1] }", "1x1x3x3: 3 5 3 12 16 9 24 28 15");
    evaluates("%y = Conv " COUNT_3X3 ", " ONES_2X2 " { dilations = [2,2] }", "1x1x1x1: 20");
    evaluates("%y = Conv " COUNT_3X3 ", " ONES_2X2 " { strides = [2,2], auto_pad = \"SAME_UPPER\" }",
              "1x1x2x2: 12 9 15 9");
    evaluates("%y = Conv " COUNT_3X3 ", " ONES_2X2 " { strides = [2,2], auto_pad = \"SAME_LOWER\" }",
              "1x1x2x2: 1 5 11 28");
    /* Two groups, a bias each. */
    evaluates("%y = Conv dense<f32[1,2,3], [1,2,3,4,5,6]>, dense<f32[2,1,2], [1,1,1,-1]>, dense<f32[2], [10,20]>"
              " { group = 2 }",
              "1x2x2: 13 15 19 19");
    /* 1 by 1: a matrix product. */
    evaluates("%y = Conv dense<f64[1,2,2], [1,2,3,4]>, dense<f64[1,2,1], [10,1]>", "1x1x2: 13 24");
    evaluates("%y = Conv dense<f16[1,1,3], [1,2,3]>, dense<f16[1,1,3], [1,1,1]>", "1x1x1: 6");
    evaluates("%y = ConvInteger dense<u8[1,1,3], [2,3,4]>, dense<u8[1,1,2], [1,2]>, dense<u8[], [1]>"
              " { pads = [1,0] }",
              "1x1x3: 2 5 8");
}

static void convolves_transposed(void **state)
{
    (void)state;
    evaluates("%y = ConvTranspose dense<f32[1,1,2], [1,2]>, dense<f32[1,1,3], [1,10,100]> { strides = [2] }",
              "1x1x5: 1 10 102 20 200");
    evaluates("%y = ConvTranspose dense<f32[1,1,2], [1,2]>, dense<f32[1,1,3], [1,10,100]>"
              " { strides = [2], pads = [1,1], output_padding = [1] }",
              "1x1x4: 10 102 20 200");
    infers("%x: f32[n,4,h,w], %w: f32[4,8,2,2]", "%y = ConvTranspose %x, %w { strides = [2,2] }", "f32[n,8,2*h,2*w]");
}

static void shapes_of_windows(void **state)
{
    (void)state;
    infers("%x: f32[n,3,h,w], %w: f32[64,3,7,7]", "%y = Conv %x, %w { strides = [2,2], pads = [3,3,3,3] }",
           "f32[n,64,(h+1)/2,(w+1)/2]");
    infers("%x: f32[n,3,h,w], %w: f32[64,3,3,3]", "%y = Conv %x, %w { pads = [1,1,1,1] }", "f32[n,64,h,w]");
    infers("%x: f32[n,3,h], %w: f32[8,3,3]", "%y = Conv %x, %w { strides = [2], auto_pad = \"SAME_UPPER\" }",
           "f32[n,8,(h+1)/2]");
    infers("%x: f32[n,3,h]", "%y = MaxPool %x { kernel_shape = [3], strides = [2], ceil_mode = 1 }", "f32[n,3,h/2]");
    infers("%x: f32[n,c,h,w]", "%y = GlobalAveragePool %x", "f32[n,c,1,1]");
    infers("%x: f32[1,1,h,w]", "%y = Resize %x, _, dense<f32[4], [1,1,2,0.5]>", "f32[1,1,2*h,w/2]");
}

static void refuses_windows(void **state)
{
    (void)state;
    infer_refuses("%x: f32[1,3,8,8], %w: f32[64,3,7]", "%y = Conv %x, %w", "expected rank 4");
    infer_refuses("%x: f32[1,3,8,8], %w: f32[64,4,7,7]", "%y = Conv %x, %w", "expected 4 in dimension 1");
    infer_refuses("%x: f32[1,4,8], %w: f32[3,2,1]", "%y = Conv %x, %w { group = 2 }", "group 2 divides");
    infer_refuses("%x: f32[1,1,4], %w: f32[1,1,5]", "%y = Conv %x, %w", "too small for a window of 5");
    infer_refuses("%x: f32[1,1,4], %w: f32[1,1,3]", "%y = Conv %x, %w { strides = [0] }", "strides holds 0");
    infer_refuses("%x: f32[1,1,4], %w: f32[1,1,3]", "%y = Conv %x, %w { pads = [1] }", "pads has 1 entries");
    infer_refuses("%x: f32[1,1,4], %w: f32[1,1,3]", "%y = Conv %x, %w { auto_pad = \"SAME\" }", "auto_pad");
    infer_refuses("%x: f32[1,1,4], %w: f64[1,1,3]", "%y = Conv %x, %w", "expected f32");
    eval_refuses("%y = Conv dense<f32[1,2,2], [1,2,3,4]>, dense<f32[1,1,1], [1]>", "expected 2");
    eval_refuses("%y = MaxPool dense<f32[2], [1,2]> { kernel_shape = [2] }", "expected at least 3");
}

static void pools(void **state)
{
    (void)state;
    evaluates("%y = MaxPool dense<f32[1,1,5], [1,5,2,4,3]> { kernel_shape = [2], strides = [2], ceil_mode = 1 }",
              "1x1x3: 5 4 3");
    /* The last window would start in the padding: it is left out. */
    evaluates("%y = MaxPool dense<f32[1,1,4], [1,5,2,4]>"
              " { kernel_shape = [1], strides = [2], pads = [0,1], ceil_mode = 1 }",
              "1x1x2: 1 2");
    evaluates("%v, %y = MaxPool " COUNT_3X3 " { kernel_shape = [2,2] }", "1x1x2x2: 4 5 7 8");
    evaluates("%v, %y = MaxPool " COUNT_3X3 " { kernel_shape = [2,2], storage_order = 1 }", "1x1x2x2: 4 7 5 8");
    evaluates("%y = MaxPool dense<i8[1,1,2], [-5,-9]> { kernel_shape = [2], pads = [1,0] }", "1x1x2: -5 -5");
    evaluates("%y = AveragePool dense<f32[1,1,3], [3,6,9]> { kernel_shape = [2], pads = [1,0] }", "1x1x3: 3 4.5 7.5");
    evaluates("%y = AveragePool dense<f32[1,1,3], [3,6,9]>"
              " { kernel_shape = [2], pads = [1,0], count_include_pad = 1 }",
              "1x1x3: 1.5 4.5 7.5");
    evaluates("%y = LpPool dense<f32[1,1,2], [3,4]> { kernel_shape = [2] }", "1x1x1: 5");
    evaluates("%y = GlobalMaxPool dense<f32[1,2,2], [1,2,4,3]>", "1x2x1: 2 4");
}

static void multiplies(void **state)
{
    (void)state;
    evaluates("%y = MatMul dense<f32[2,2], [1,2,3,4]>, dense<f32[2], [1,10]>", "2: 21 43");
    evaluates("%y = MatMul dense<f32[2], [1,10]>, dense<f32[2,2], [1,2,3,4]>", "2: 31 42");
    evaluates("%y = MatMul dense<f32[2], [1,10]>, dense<f32[2], [3,4]>", ": 43");
    evaluates("%y = MatMul dense<i32[2,1,2], [1,2,3,4]>, dense<i32[2,1], [5,-6]>", "2x1x1: -7 -9");
    evaluates("%y = MatMul dense<f32[1,0], []>, dense<f32[0,2], []>", "1x2: 0 0");
    /* Integers wrap, as in a MatMul. */
    evaluates("%y = Gemm dense<i8[1,2], [-128,3]>, dense<i8[2,2], [-1,2,0,5]>, dense<i8[2], [1,-7]> { beta = 2.0 }",
              "1x2: -126 1");
    evaluates("%y = Gemm dense<i32[1,1], [7]>, dense<i32[1,1], [3]>, dense<i32[1,1], [10]> { alpha = 0.5, beta = 0.1 }",
              "1x1: 12");
    evaluates("%y = Gemm dense<f32[2,1], [1,2]>, dense<f32[2,2], [3,4,5,6]>, dense<f32[], [10]>"
              " { transA = 1, transB = 1, alpha = 2, beta = 0.5 }",
              "1x2: 27 39");
    evaluates("%y = Einsum dense<f32[2,2], [1,2,3,4]>, dense<f32[2,2], [1,0,0,1]> { equation = \"ij,kj->ik\" }",
              "2x2: 1 2 3 4");
    evaluates("%y = Einsum dense<i64[2,2], [1,2,3,4]> { equation = \"ii\" }", ": 5");
    evaluates("%y = Einsum dense<f32[1,2], [1,2]>, dense<f32[2,2], [1,2,3,4]> { equation = \"...i,...i->...\" }",
              "2: 5 11");
    infers("%a: f32[b,1,s,64], %b: f32[12,64,t]", "%y = MatMul %a, %b", "f32[b,12,s,t]");
    infer_refuses("%a: f32[2,3], %b: f32[4,5]", "%y = MatMul %a, %b", "expected 3 in dimension 0");
    infer_refuses("%a: f32[2,3]", "%y = Einsum %a { equation = \"ijk->i\" }", "another rank");
    infer_refuses("%a: f32[2,3]", "%y = Einsum %a { equation = \"ij->k\" }", "no operand has");
    eval_refuses("%y = Gemm dense<f32[1,2], [1,2]>, dense<f32[3,1], [1,2,3]>", "expected 2");
}

static void normalizes(void **state)
{
    (void)state;
    evaluates("%y = BatchNormalization dense<f32[1,2,2], [1,2,3,4]>, dense<f32[2], [1,2]>, dense<f32[2], [0,1]>,"
              " dense<f32[2], [1,3]>, dense<f32[2], [1,4]> { epsilon = 0 }",
              "1x2x2: 0 1 1 2");
    evaluates("%y = LayerNormalization dense<f32[2,2], [1,3,10,10]>, dense<f32[2], [1,2]>, dense<f32[2], [5,5]>"
              " { epsilon = 3 }",
              "2x2: 4.5 6 5 5");
    evaluates("%y = RMSNormalization dense<f32[1,2], [6,8]>, dense<f32[2], [1,1]> { epsilon = 0 }",
              "1x2: 0.848528 1.13137");
    evaluates("%y = LpNormalization dense<f32[2,2], [3,4,0,0]>", "2x2: 0.6 0.8 0 0");
    infer_refuses("%x: f32[1,6,4], %s: f32[6]", "%y = GroupNormalization %x, %s, %s { num_groups = 4 }",
                  "num_groups 4 divides");
    infer_refuses("%x: f32[1,6,4], %s: f32[5]", "%y = InstanceNormalization %x, %s, %s", "expected 6");
}

static void quantizes(void **state)
{
    (void)state;
    evaluates("%y = QuantizeLinear dense<f32[5], [-1000,-1.5,0.5,1.5,1000]>, dense<f32[], [1]>, dense<i8[], [1]>",
              "5: -128 -1 1 3 127");
    evaluates(
        "%y = DequantizeLinear dense<u8[2,2], [1,2,3,4]>, dense<f32[2], [1,10]>, dense<u8[2], [1,2]> { axis = 0 }",
        "2x2: 0 1 10 20");
    evaluates("%y = DequantizeLinear dense<i8[1,4], [1,2,3,4]>, dense<f32[1,2], [1,10]> { block_size = 2 }",
              "1x4: 1 2 30 40");
    infer_refuses("%x: f32[2,4], %s: f32[3]", "%y = QuantizeLinear %x, %s", "expected 4 in dimension 0");
    /* The quotient is one of the scale's type, or of that asked for: f16 has no 2049 and no 3645. */
    evaluates("%y = QuantizeLinear dense<f32[1], [2049]>, dense<f32[], [1]>, dense<u16[], [0]> { precision = 10 }",
              "1: 2048");
    evaluates("%y = QuantizeLinear dense<f32[1], [2049]>, dense<f32[], [1]>, dense<u16[], [0]>", "1: 2049");
    evaluates("%y = QuantizeLinear dense<f16[1], [1367]>, dense<f16[], [0.375]>, dense<u16[], [0]>", "1: 3646");
    evaluates("%y = QuantizeLinear dense<f16[1], [1367]>, dense<f16[], [0.375]>, dense<u16[], [0]> { precision = 1 }",
              "1: 3645");
    infer_refuses("%x: f32[n]", "%y = QuantizeLinear %x, dense<f32[], [2]> { precision = 7 }", "no type of floats");
}

static void resizes(void **state)
{
    (void)state;
    evaluates("%y = Resize dense<f32[2], [1,3]>, _, dense<f32[1], [2]>", "4: 1 1 3 3");
    evaluates("%y = Resize dense<f32[2], [1,3]>, _, dense<f32[1], [2]> { mode = \"linear\" }", "4: 1 1.5 2.5 3");
    evaluates("%y = Resize dense<f32[2], [1,3]>, _, _, dense<i64[1], [3]>"
              " { mode = \"linear\", coordinate_transformation_mode = \"align_corners\" }",
              "3: 1 2 3");
    evaluates("%y = Resize dense<i64[2], [1,3]>, _, _, dense<i64[1], [4]>"
              " { coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\" }",
              "4: 1 1 3 3");
    infer_refuses("%x: f32[2]", "%y = Resize %x", "none of scales and sizes");
    eval_refuses("%y = Resize dense<f32[2], [1,3]>, _, dense<f32[1], [-1]>", "expected a positive number");
}

static void recurs(void **state)
{
    (void)state;
    /* h = x + h, forward and backward. */
    evaluates("%y = RNN dense<f32[3,1,1], [1,2,3]>, dense<f32[2,1,1], [1,1]>, dense<f32[2,1,1], [1,1]>"
              " { direction = \"bidirectional\", hidden_size = 1, activations = [\"Affine\", \"Affine\"] }",
              "3x2x1x1: 1 6 3 5 6 3");
    infers("%x: f32[s,b,10], %w: f32[1,80,10], %r: f32[1,80,20]", "%y = LSTM %x, %w, %r { hidden_size = 20 }",
           "f32[s,1,b,20]");
    infer_refuses("%x: f32[s,b,10], %w: f32[1,60,10], %r: f32[1,80,20]", "%y = LSTM %x, %w, %r { hidden_size = 20 }",
                  "expected 80 in dimension 1");
    infer_refuses("%x: f32[s,b,10], %w: f32[1,20,10], %r: f32[1,20,20]",
                  "%y = RNN %x, %w, %r { hidden_size = 20, direction = \"up\" }", "direction");
}

static void selects_boxes(void **state)
{
    (void)state;
    evaluates("%y = NonMaxSuppression dense<f32[1,3,4], [0,0,1,1,0,0.1,1,1.1,0,10,1,11]>,"
              " dense<f32[1,1,3], [0.9,0.75,0.6]>, dense<i64[1], [3]>, dense<f32[1], [0.5]>",
              "2x3: 0 0 0 0 0 2");
    /* 40 boxes apart, each twice: more than are held against one at a time */
    evaluates("%r = Range dense<f32[], [0]>, dense<f32[], [40]>, dense<f32[], [1]>\n"
              "%c = Unsqueeze %r, dense<i64[1], [1]>\n"
              "%b = Mul %c, dense<f32[4], [2,0,2,0]>\n%d = Add %b, dense<f32[4], [0,0,1,1]>\n"
              "%e = Concat %d, %d { axis = 0 }\n%f = Unsqueeze %e, dense<i64[1], [0]>\n"
              "%s = Expand dense<f32[1,1,1], [1]>, dense<i64[3], [1,1,80]>\n"
              "%n = NonMaxSuppression %f, %s, dense<i64[], [99]>, dense<f32[], [0.5]>\n"
              "%y = Slice %n, dense<i64[1], [38]>, dense<i64[1], [99]>, dense<i64[1], [0]>",
              "2x3: 0 0 38 0 0 39");
    /* a NaN hides nothing and is not hidden */
    evaluates("%a = Sqrt dense<f32[1,3,4], [0,0,1,1,0,0,1,-1,0,0,1,1]>\n"
              "%y = NonMaxSuppression %a, dense<f32[1,1,3], [0.9,0.75,0.6]>, dense<i64[1], [3]>, dense<f32[1], [0.5]>"
              " { center_point_box = 1 }",
              "2x3: 0 0 0 0 0 1");
    evaluates("%y = Col2Im dense<f32[1,2,2], [1,2,3,4]>, dense<i64[1], [3]>, dense<i64[1], [2]>", "1x1x3: 1 5 4");
    evaluates("%y = MaxUnpool dense<f32[1,1,2], [5,7]>, dense<i64[1,1,2], [1,2]> { kernel_shape = [2], strides = [2] }",
              "1x1x4: 0 5 7 0");
    eval_refuses("%y = MaxUnpool dense<f32[1,1,1], [5]>, dense<i64[1,1,1], [9]> { kernel_shape = [2], strides = [2] }",
                 "of 2 elements");
}

/* Boxes one after another, each against all that were kept. */
static int64_t select_plainly(int64_t n, const float *boxes, const float *scores, float threshold, int64_t *kept)
{
    int64_t count = 0;
    bool *done = calloc((size_t)n, sizeof *done);
    assert_non_null(done);
    for (;;) {
        int64_t best = -1;
        for (int64_t i = 0; i < n; i++)
            if (!done[i] && (best < 0 || scores[i] > scores[best]))
                best = i;
        if (best < 0)
            break;
        done[best] = true;
        const float *b = boxes + 4 * best, area = (b[2] - b[0]) * (b[3] - b[1]);
        bool hidden = false;
        for (int64_t i = 0; i < count && !hidden; i++) {
            const float *k = boxes + 4 * kept[i];
            const float h = fminf(b[2], k[2]) - fmaxf(b[0], k[0]), w = fminf(b[3], k[3]) - fmaxf(b[1], k[1]);
            const float both = h * w, other = (k[2] - k[0]) * (k[3] - k[1]);
            hidden = h > 0 && w > 0 && both / (area + other - both) > threshold;
        }
        if (!hidden)
            kept[count++] = best;
    }
    free(done);
    return count;
}

/* Many boxes lie in bands by height: the answer is as without, whatever their sizes and places. */
static void selects_among_many(void **state)
{
    (void)state;
    enum { N = 900 };
    static float boxes[N * 4], scores[N];
    static int64_t kept[N];
    static const float thresholds[] = { 0, 0.05F, 0.3F, 0.55F, 0.9F, 1 };
    uint32_t seed = 1;
    for (int round = 0; round < 24; round++) {
        const float apart = round % 2 ? 400 : 0, most = round % 3 ? 60 : 3;
        for (int i = 0; i < N; i++) {
            float r[5];
            for (int k = 0; k < 5; k++) {
                seed = seed * 1664525U + 1013904223U;
                r[k] = (float)(seed >> 12) / (1 << 20);
            }
            const float at = apart * (float)(i % 7), tall = i % 50 ? most : 300;
            const float b[4] = { at + 200 * r[0], at + 200 * r[1], at + 200 * r[0] + tall * r[2],
                                 at + 200 * r[1] + most * r[3] };
            memcpy(boxes + 4 * (size_t)i, b, sizeof b);
            scores[i] = (float)(int)(100 * r[4]);
        }
        char body[200];
        const float threshold = thresholds[round / 4];
        snprintf(body, sizeof body, "%%y = NonMaxSuppression %%b, %%s, dense<i64[1], [%d]>, dense<f32[1], [%g]>", N,
                 (double)threshold);
        gopt_graph *g = parse("%b: f32[1,900,4], %s: f32[1,1,900]", body);
        gopt_tensor *in[2], *y = NULL;
        assert_int_equal(gopt_tensor_create(cx, GOPT_F32, 3, (const int64_t[]){ 1, N, 4 }, &in[0]), GOPT_OK);
        assert_int_equal(gopt_tensor_create(cx, GOPT_F32, 3, (const int64_t[]){ 1, 1, N }, &in[1]), GOPT_OK);
        memcpy(in[0]->data, boxes, sizeof boxes);
        memcpy(in[1]->data, scores, sizeof scores);
        assert_int_equal(gi_eval_graph(g, (const gopt_tensor *const *)in, &y), GOPT_OK);
        const int64_t count = select_plainly(N, boxes, scores, threshold, kept);
        assert_int_equal(y->dims[0], count);
        for (int64_t i = 0; i < count; i++)
            assert_int_equal(gi_tensor_i64(y, 3 * i + 2), kept[i]);
        gopt_tensor_unref(y);
        gopt_tensor_unref(in[0]);
        gopt_tensor_unref(in[1]);
        gopt_graph_destroy(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(convolves, setup, teardown),
        cmocka_unit_test_setup_teardown(convolves_transposed, setup, teardown),
        cmocka_unit_test_setup_teardown(shapes_of_windows, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_windows, setup, teardown),
        cmocka_unit_test_setup_teardown(pools, setup, teardown),
        cmocka_unit_test_setup_teardown(multiplies, setup, teardown),
        cmocka_unit_test_setup_teardown(normalizes, setup, teardown),
        cmocka_unit_test_setup_teardown(quantizes, setup, teardown),
        cmocka_unit_test_setup_teardown(resizes, setup, teardown),
        cmocka_unit_test_setup_teardown(recurs, setup, teardown),
        cmocka_unit_test_setup_teardown(selects_boxes, setup, teardown),
        cmocka_unit_test_setup_teardown(selects_among_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
