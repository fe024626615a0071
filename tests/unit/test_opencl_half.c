/* What the opencl backend has beside products, in floats and in halves: attention, residuals of the host, rows in
 * registers, one filter a channel. */
#include "unit/opencl.h"

/* Attention as one kernel: heads read where a product of queries, keys and values left them, masks and scales. */
static void attention_as_one(void **state)
{
    (void)state;
    static const struct {
        int batch, seq, heads, size;
        const char *between, *scores; /* of the product and the softmax */
        const char *values, *by;      /* the values, and what they are */
    } cases[] = {
        { 2, 5, 2, 8, "", "%s", "", "%v" },
        { 1, 70, 3, 16, "    %t = Mul %s, dense<f32[], 0.25>\n    %u = Add %t, %mask\n", "%u", "", "%v" },
        { 2, 33, 2, 24, "    %t = Div %s, dense<f32[], 4.0>\n    %u = Add %t, %each\n    %w = Add %u, %mask\n", "%w",
          "", "%v" },
        { 2, 18, 2, 8, "    %t = Where %flag, %s, dense<f32[], -3.4028235e+38>\n    %u = Add %t, %mask\n", "%u", "",
          "%v" },
        { 1, 21, 2, 8, "    %t = Mul %s, dense<f32[], 0.1>\n    %u = Tanh %t\n    %w = Mul %u, dense<f32[], 5.0>\n",
          "%w", "", "%v" },
        { 1, 40, 1, 5, "", "%s", "    %vs = Mul %v, dense<f32[], 0.5>\n", "%vs" },
        { 3, 1, 2, 64, "    %t = Mul %s, dense<f32[], 0.125>\n", "%t", "", "%v" },
    };
    for (int half = 0; half < 2; half++)
        for (size_t i = 0; i < GI_COUNT(cases); i++) {
            char text[3000];
            const int b = cases[i].batch, t = cases[i].seq, h = cases[i].heads, d = cases[i].size, w = h * d;
            (void)snprintf(
                text, sizeof text,
                "graph (%%x: f32[%d,%d,%d], %%mask: f32[%d,1,1,%d], %%each: f32[%d,%d], %%flag: bool[%d,1,1,%d]) {\n"
                "  %%all = MatMul %%x, dense<f32[%d,%d], #a>\n"
                "  %%qs, %%ks, %%vs0 = Split %%all, dense<i64[3], [%d,%d,%d]> { axis = 2 }\n"
                "  %%q4 = Reshape %%qs, dense<i64[4], [%d,%d,%d,%d]>\n"
                "  %%k4 = Reshape %%ks, dense<i64[4], [%d,%d,%d,%d]>\n"
                "  %%v4 = Reshape %%vs0, dense<i64[4], [%d,%d,%d,%d]>\n"
                "  %%m = Mul %%mask, dense<f32[], 2.0>\n"
                "  %%y4 = Fusion<attention> { body = block () {\n"
                "    %%q = Transpose %%q4 { perm = [0,2,1,3] }\n    %%k = Transpose %%k4 { perm = [0,2,3,1] }\n"
                "    %%v = Transpose %%v4 { perm = [0,2,1,3] }\n    %%s = MatMul %%q, %%k\n%s%s"
                "    %%p = Softmax %s { axis = -1 }\n    %%o = MatMul %%p, %s\n"
                "    %%ot = Transpose %%o { perm = [0,2,1,3] }\n    return %%ot } }\n"
                "  %%y3 = Reshape %%y4, dense<i64[3], [%d,%d,%d]>\n  return %%y3 as \"y\", %%m as \"m\"\n}\n",
                b, t, w, b, t, t, t, b, t, w, 3 * w, w, w, w, b, t, h, d, b, t, h, d, b, t, h, d, cases[i].values,
                cases[i].between, cases[i].scores, cases[i].by, b, t, w);
            const checked r = check_with(&(check_options){ .precision = half ? "fp16" : "fp32" }, text);
            if (strncmp(r.attention, "attention", 9) != 0)
                fail_msg("no kernel took\n%s", text);
        }
}

/* Residuals that the host wrote, in floats: they are read by the product's own kernel. */
static void residuals_of_the_host(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "graph (%x: f32[3,5,16], %r: f32[3,5,24]) {\n  %y = Fusion<matmul> { body = block () {\n"
        "    %c = MatMul %x, dense<f32[16,24], #a>\n    %d = Add %r, %c\n    return %d } }\n  return %y as \"y\"\n}\n",
        "graph (%x: f32[2,8,5,4], %r: f32[2,12,5,4]) {\n  %y = Fusion<conv> { body = block () {\n"
        "    %c = Conv %x, dense<f32[12,8,1,1], #a>\n    %d = Add %r, %c\n    return %d } }\n"
        "  %z = Conv %y, dense<f32[8,12,1,1], #b>\n  return %z as \"z\"\n}\n",
        /* with channels last, and a result that the host reads */
        "graph (%x: f32[2,8,5,4]) {\n  %h = Conv %x, dense<f32[12,8,1,1], #b>\n  %y = Fusion<conv> { body = block () "
        "{\n"
        "    %c = Conv %h, dense<f32[12,12,3,3], #a> { pads = [1,1,1,1] }\n    %d = Add %h, %c\n    return %d } }\n"
        "  return %y as \"y\"\n}\n",
        /* the same of the host */
        "graph (%x: f32[2,8,5,4], %r: f32[2,12,5,4]) {\n  %y = Fusion<conv> { body = block () {\n"
        "    %c = Conv %x, dense<f32[12,8,3,3], #a> { pads = [1,1,1,1] }\n    %d = Add %r, %c\n    return %d } }\n"
        "  return %y as \"y\"\n}\n",
    };
    for (size_t i = 0; i < GI_COUNT(texts); i++) {
        for (int half = 0; half < 2; half++) {
            const checked r = check_with(&(check_options){ .precision = half ? "fp16" : "fp32" }, texts[i]);
            /* each by what suits it: on a GPU two products may take two variants */
            if (!ran_as_product(r.first) || !ran_as_product(r.last))
                fail_msg("%s and %s ran\n%s", r.first, r.last, texts[i]);
        }
    }
}

static void rows_in_registers(void **state)
{
    (void)state;
    static const int lengths[] = { 8, 40, 520, 768, 4104 };
    for (size_t i = 0; i < GI_COUNT(lengths); i++)
        for (int half = 0; half < 2; half++) {
            char text[600];
            (void)snprintf(text, sizeof text,
                           "graph (%%x: f32[3,5,%d]) {\n  %%h = Mul %%x, dense<f32[], 0.5>\n"
                           "  %%m = LayerNormalization %%h, dense<f32[%d], #a>%s\n  %%y = Neg %%m\n"
                           "  return %%y as \"y\"\n}\n",
                           lengths[i], lengths[i], lengths[i] == 40 ? ", dense<f32[40], #b>" : "");
            assert_int_equal(check_in(half ? "fp16" : "fp32", text), 3);
        }
}

/* One filter a channel, in tiles of pixels as large as the image allows, at the edges too. */
static void one_filter_a_channel(void **state)
{
    (void)state;
    static const struct {
        int images, channels, size;
        const char *window;
    } cases[] = {
        { 2, 20, 9, "3,3], #a> { group = 20, pads = [1,1,1,1], strides = [2,2] }" },
        { 1, 12, 7, "5,5], #a> { group = 12, pads = [2,2,2,2] }" },
        { 1, 8, 67, "3,3], #a> { group = 8, pads = [1,1,1,1] }" },
        { 1, 16, 66, "3,3], #a> { group = 16, pads = [1,1,1,1] }" },
        { 1, 24, 74, "3,3], #a> { group = 24, pads = [0,1,2,1] }" },
        { 1, 32, 131, "5,5], #a> { group = 32, pads = [2,2,2,2], strides = [2,2] }" },
        { 1, 64, 68, "3,3], #a> { group = 64, pads = [1,1,1,1], strides = [1,2] }" },
        { 2, 10, 40, "3,3], #a> { group = 10, dilations = [2,2], pads = [2,2,2,2] }" },
    };
    for (size_t i = 0; i < GI_COUNT(cases); i++) {
        char text[1000];
        const int c = cases[i].channels, n = cases[i].size;
        (void)snprintf(text, sizeof text,
                       "graph (%%x: f32[%d,%d,%d,%d]) {\n  %%h = Mul %%x, dense<f32[], 0.5>\n"
                       "  %%y = Fusion<conv> { body = block () {\n    %%c = Conv %%h, dense<f32[%d,1,%s\n"
                       "    %%r = Clip %%c, dense<f32[], 0.0>, dense<f32[], 6.0>\n    return %%r } }\n"
                       "  %%z = Conv %%y, dense<f32[8,%d,1,1], #b>\n  return %%z as \"z\", %%h as \"h\"\n}\n",
                       cases[i].images, c, n, n, c, cases[i].window, c);
        for (int half = 0; half < 2; half++)
            assert_int_equal(check_in(half ? "fp16" : "fp32", text), 3);
        (void)snprintf(
            text, sizeof text,
            "graph (%%x: f32[%d,%d,%d,%d]) {\n  %%c = Conv %%x, dense<f32[%d,1,%s\n  return %%c as \"c\"\n}\n",
            cases[i].images, c, n, n, c, cases[i].window);
        for (int half = 0; half < 2; half++) {
            const checked r = check_with(&(check_options){ .precision = half ? "fp16" : "fp32" }, text);
            assert_int_equal(r.steps, 1);
            if (strncmp(r.last, "depthwise", 9) != 0)
                fail_msg("%s ran\n%s", r.last, text);
        }
    }
}

/* Models of type f16 take the same kernels: convolutions, of one filter a channel too, and products. */
static void weights_in_f16(void **state)
{
    (void)state;
    static const struct {
        const char *tactic, *text;
    } cases[] = {
        { "tile", "graph (%x: f16[2,8,6,6]) {\n  %c = Conv %x, dense<f16[12,8,3,3], #a>, dense<f16[12], #b> { pads = "
                  "[1,1,1,1] }\n  return %c as \"y\"\n}\n" },
        { "depthwise",
          "graph (%x: f16[2,8,7,6]) {\n  %c = Conv %x, dense<f16[8,1,3,3], #a>, dense<f16[8], #b> { group = 8, "
          "pads = [1,1,1,1] }\n  return %c as \"y\"\n}\n" },
        { "gemv", "graph (%x: f16[3,16]) {\n  %c = Gemm %x, dense<f16[16,24], #a>, dense<f16[24], #b> { alpha = 0.5 }\n"
                  "  return %c as \"y\"\n}\n" },
        { "tile",
          "graph (%x: f16[1,8,6,6]) {\n  %a = Conv %x, dense<f16[16,8,1,1], #a>\n  %y = Fusion<conv> { body = block "
          "() {\n    %c = Conv %a, dense<f16[16,16,3,3], #b> { pads = [1,1,1,1] }\n    %d = Add %a, %c\n    return %d "
          "} }\n  %z = Conv %y, dense<f16[8,16,1,1], #c>\n  return %z as \"z\"\n}\n" },
    };
    for (int half = 0; half < 2; half++)
        for (size_t i = 0; i < GI_COUNT(cases); i++) {
            const checked r = check_with(&(check_options){ .precision = half ? "fp16" : "fp32" }, cases[i].text);
            if (strncmp(r.first, cases[i].tactic, strlen(cases[i].tactic)) != 0 && strncmp(r.first, "mma", 3) != 0 &&
                strncmp(r.first, "fma", 3) != 0)
                fail_msg("%s ran in %s\n%s", r.first, half ? "fp16" : "fp32", cases[i].text);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_as_one),  cmocka_unit_test(residuals_of_the_host),
        cmocka_unit_test(rows_in_registers), cmocka_unit_test(one_filter_a_channel),
        cmocka_unit_test(weights_in_f16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
