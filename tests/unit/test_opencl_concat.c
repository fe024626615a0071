/* Concat in place on the opencl backend: parts that are written where the whole wants them, dense ones and images with
 * channels last, and all that keeps them from it. */
#include "unit/opencl.h"

/* `copies` Concats still have something to do. */
static void concat(const char *precision, const char *text, size_t copies)
{
    const checked r = check_with(&(check_options){ .precision = precision }, text);
    if (r.copying != copies)
        fail_msg("%zu Concats copy, not %zu, in\n%s", r.copying, copies, text);
}

#define TWO_CONVOLUTIONS(x, a, b)                                                                         \
    "graph (%x: f32[" x "]) {\n  %c = Conv %x, dense<f32[" a ",8,1,1], #a>\n  %d = Conv %x, dense<f32[" b \
    ",8,3,3], #b> { pads = [1,1,1,1] }\n"
#define CONVOLUTION_BEHIND(n) "  %z = Conv %y, dense<f32[4," n ",1,1], #e>\n  return %z as \"z\"\n}\n"

static void images(void **state)
{
    (void)state;
    /* as in SqueezeNet and Inception */
    concat("fp16",
           TWO_CONVOLUTIONS("2,8,5,6", "16", "24") "  %y = Concat %c, %d { axis = 1 }\n" CONVOLUTION_BEHIND("40"), 0);
    concat("fp16",
           TWO_CONVOLUTIONS("1,8,1,1", "16", "24") "  %y = Concat %c, %d { axis = 1 }\n" CONVOLUTION_BEHIND("40"), 0);
    /* of a model in f16 */
    concat(
        "fp16",
        "graph (%x: f16[1,8,5,6]) {\n  %c = Conv %x, dense<f16[16,8,1,1], #a>\n  %d = Conv %x, dense<f16[24,8,3,3], "
        "#b> "
        "{ pads = [1,1,1,1] }\n  %y = Concat %c, %d { axis = 1 }\n  %z = Conv %y, dense<f16[4,40,1,1], #e>\n  return "
        "%z as \"z\"\n}\n",
        0);
    /* what follows a convolution in its kernel, and what does not */
    concat("fp16",
           TWO_CONVOLUTIONS("2,8,5,6", "16", "24") "  %r = Relu %c\n  %s = Tanh %r\n  %m = MaxPool %d { kernel_shape = "
                                                   "[3,3], pads = [1,1,1,1] }\n"
                                                   "  %y = Concat %m, %s { axis = 1 }\n" CONVOLUTION_BEHIND("40"),
           0);
    /* chunks of 8 channels stay whole: the part behind an odd one, or an odd one, is copied */
    concat("fp16",
           TWO_CONVOLUTIONS("2,8,5,6", "16", "8") "  %e = Conv %x, dense<f32[4,8,1,1], #c>\n  %f = Conv %x, "
                                                  "dense<f32[4,8,1,1], #d>\n  %y = Concat %c, %e, %f, %d { axis = "
                                                  "1 }\n" CONVOLUTION_BEHIND("32"),
           1);
    concat("fp16",
           TWO_CONVOLUTIONS("2,8,5,6", "12", "24") "  %y = Concat %c, %d { axis = 1 }\n" CONVOLUTION_BEHIND("36"), 1);
    /* a depthwise convolution, a filter for several channels, a line */
    concat("fp16",
           "graph (%x: f32[1,8,7,7]) {\n  %c = Conv %x, dense<f32[16,8,1,1], #a>\n  %d = Conv %c, dense<f32[16,1,3,3], "
           "#b> { "
           "group = 16, pads = [1,1,1,1] }\n  %e = Conv %c, dense<f32[8,8,3,3], #c> { group = 2, pads = [1,1,1,1] }\n"
           "  %y = Concat %d, %e { axis = 1 }\n" CONVOLUTION_BEHIND("24"),
           0);
    concat(
        "fp16",
        "graph (%x: f32[2,8,9]) {\n  %c = Conv %x, dense<f32[16,8,1], #a>\n  %d = Conv %x, dense<f32[8,8,3], #b> { "
        "pads = "
        "[1,1] }\n  %y = Concat %c, %d { axis = 1 }\n  %z = Conv %y, dense<f32[4,24,1], #e>\n  return %z as \"z\"\n}\n",
        0);
}

static void parts_that_others_read(void **state)
{
    (void)state;
    /* pools, pointwise nodes and moves read a part where it lies, as in a U-Net */
    concat("fp16",
           TWO_CONVOLUTIONS("2,8,6,6", "16",
                            "24") "  %y = Concat %c, %d { axis = 1 }\n"
                                  "  %p = MaxPool %c { kernel_shape = [2,2], strides = [2,2] }\n"
                                  "  %q = Tanh %d\n  %t = Add %q, dense<f32[24,1,1], #f>\n"
                                  "  %l, %r = Split %d, dense<i64[2], [8,16]> { axis = 1 }\n"
                                  "  %z = Conv %y, dense<f32[4,40,1,1], #e>\n  %pp = Tanh %p\n  %ll = Tanh %l\n"
                                  "  return %z as \"z\", %pp as \"p\", %t as \"t\", %ll as \"l\"\n}\n",
           0);
    /* a convolution wants it alone, so that one is copied */
    concat("fp16",
           TWO_CONVOLUTIONS("2,8,6,6", "16",
                            "24") "  %y = Concat %c, %d { axis = 1 }\n  %v = Conv %c, dense<f32[4,16,3,3], "
                                  "#f>\n  %w = Tanh %v\n  %z = Conv %y, dense<f32[4,40,1,1], #e>\n  return %z "
                                  "as \"z\", %w as \"w\"\n}\n",
           1);
    /* a sum that lies elsewhere goes into the kernel of the convolution */
    concat("fp16",
           "graph (%x: f32[1,8,5,5]) {\n  %c = Conv %x, dense<f32[16,8,1,1], #a>\n  %d = Fusion<conv> { body = block "
           "() {\n"
           "    %u = Conv %x, dense<f32[16,8,3,3], #b> { pads = [1,1,1,1] }\n    %w = Add %u, %c\n    return %w } }\n"
           "  %y = Concat %d, %c { axis = 1 }\n" CONVOLUTION_BEHIND("32"),
           1);
    /* graph outputs, of part and whole */
    concat("fp16",
           TWO_CONVOLUTIONS("2,8,6,6", "16",
                            "24") "  %y = Concat %c, %d { axis = 1 }\n  return %y as \"y\", %c as \"c\"\n}\n",
           1);
}

static void the_same_part_again(void **state)
{
    (void)state;
    concat("fp16",
           TWO_CONVOLUTIONS("2,8,5,6", "16", "24") "  %y = Concat %c, %d, %c { axis = 1 }\n" CONVOLUTION_BEHIND("56"),
           1);
    /* in two Concats: it lies in the last one */
    concat(
        "fp16",
        TWO_CONVOLUTIONS("2,8,5,6", "16", "24") "  %y = Concat %c, %d { axis = 1 }\n  %v = Concat %d, %c { axis = 1 }\n"
                                                "  %w = Conv %v, dense<f32[4,40,1,1], #f>\n  %z = Conv %y, "
                                                "dense<f32[4,40,1,1], #e>\n  return %z as \"z\", %w as \"w\"\n}\n",
        1);
    concat("fp32",
           "graph (%x: f32[1,16,4,4]) {\n  %c = Tanh %x\n  %d = Relu %x\n  %y = Concat %c, %d, %c { axis = 1 }\n  %z = "
           "Exp %y\n"
           "  return %z as \"z\"\n}\n",
           1);
}

/* As in a DenseNet: results that grow are parts of the last one. */
static void parts_of_parts(void **state)
{
    (void)state;
    concat(
        "fp16",
        "graph (%x: f32[2,8,6,6]) {\n  %a = Conv %x, dense<f32[16,8,1,1], #a>\n"
        "  %n1 = Tanh %a\n  %b = Conv %n1, dense<f32[8,16,3,3], #b> { pads = [1,1,1,1] }\n"
        "  %ab = Concat %a, %b { axis = 1 }\n"
        "  %n2 = Sigmoid %ab\n  %c = Conv %n2, dense<f32[8,24,3,3], #c> { pads = [1,1,1,1] }\n"
        "  %abc = Concat %ab, %c { axis = 1 }\n"
        "  %n3 = Sigmoid %abc\n  %d = Conv %n3, dense<f32[8,32,1,1], #d>\n"
        "  %abcd = Concat %abc, %d { axis = 1 }\n"
        "  %p = AveragePool %abcd { kernel_shape = [2,2], strides = [2,2] }\n  %z = Conv %p, dense<f32[4,40,1,1], #e>\n"
        "  return %z as \"z\"\n}\n",
        0);
    /* the same without nesting: each lies in the last */
    concat("fp16",
           "graph (%x: f32[1,8,6,6]) {\n  %a = Conv %x, dense<f32[16,8,1,1], #a>\n"
           "  %n1 = Tanh %a\n  %b = Conv %n1, dense<f32[8,16,3,3], #b> { pads = [1,1,1,1] }\n"
           "  %ab = Concat %a, %b { axis = 1 }\n"
           "  %n2 = Sigmoid %ab\n  %c = Conv %n2, dense<f32[8,24,3,3], #c> { pads = [1,1,1,1] }\n"
           "  %abc = Concat %a, %b, %c { axis = 1 }\n  %z = Conv %abc, dense<f32[4,32,1,1], #e>\n"
           "  return %z as \"z\"\n}\n",
           1);
    /* split, worked on, put together again */
    concat("fp16",
           "graph (%x: f32[2,8,6,6]) {\n  %a = Conv %x, dense<f32[32,8,1,1], #a>\n"
           "  %l, %r = Split %a, dense<i64[2], [16,16]> { axis = 1 }\n  %e = Tanh %r\n  %y = Concat %l, %e { axis = 1 "
           "}\n" CONVOLUTION_BEHIND("32"),
           0);
    concat("fp16",
           "graph (%x: f32[2,8,6,6]) {\n  %a = Conv %x, dense<f32[32,8,1,1], #a>\n"
           "  %l, %r = Split %a, dense<i64[2], [16,16]> { axis = 1 }\n  %y = Concat %r, %l { axis = 1 "
           "}\n" CONVOLUTION_BEHIND("32"),
           0);
}

static void dense_parts(void **state)
{
    (void)state;
    for (int half = 0; half < 2; half++) {
        const char *precision = half ? "fp16" : "fp32";
        concat(precision,
               "graph (%x: f32[64,16]) {\n  %a = MatMul %x, dense<f32[16,32], #a>\n  %b = Tanh %x\n  %c = MatMul %b, "
               "dense<f32[16,32], #b>\n  %y = Concat %a, %c { axis = 0 }\n  %z = Softmax %y\n  return %z as \"z\"\n}\n",
               0);
        /* a piece that begins between, and one that is no piece */
        concat(precision,
               "graph (%x: f32[3,5]) {\n  %a = Tanh %x\n  %b = Relu %x\n  %y = Concat %a, %b { axis = 0 }\n  %z = Tanh "
               "%y\n"
               "  return %z as \"z\"\n}\n",
               1);
        concat(precision,
               "graph (%x: f32[4,32]) {\n  %a = Tanh %x\n  %b = Relu %x\n  %y = Concat %a, %b { axis = 1 }\n  %z = "
               "Tanh %y\n"
               "  return %z as \"z\"\n}\n",
               1);
    }
    concat("fp32",
           TWO_CONVOLUTIONS("2,8,4,4", "16", "24") "  %m = MaxPool %c { kernel_shape = [3,3], pads = [1,1,1,1] }\n"
                                                   "  %y = Concat %m, %c, %d { axis = 1 }\n" CONVOLUTION_BEHIND("56"),
           0);
    concat("fp32",
           "graph (%x: f32[1,32]) {\n  %a = Tanh %x\n  %b = Relu %x\n  %y = Concat %a, %b { axis = 0 }\n  return %y as "
           "\"y\", %a "
           "as \"a\"\n}\n",
           0);
    concat("fp32",
           "graph (%x: f32[1,32]) {\n  %a = Tanh %x\n  %y = Concat %a, %x, dense<f32[1,32], #c> { axis = 0 }\n  %z = "
           "Exp %y\n"
           "  return %z as \"z\"\n}\n",
           1);
    concat("fp32",
           "graph (%x: f32[1,32]) {\n  %a = Tanh %x\n  %b = Relu %x\n  %y = Concat %a, %b { axis = 0 }\n  %c = Sigmoid "
           "%y\n"
           "  %w = Concat %y, %c { axis = 0 }\n  %z = Tanh %w\n  return %z as \"z\"\n}\n",
           0);
    concat("fp32",
           "graph (%x: i64[2,16]) {\n  %a = Add %x, %x\n  %b = Mul %x, %x\n  %y = Concat %a, %b { axis = 0 }\n  %z = "
           "Add %y, "
           "dense<i64[], 1>\n  return %z as \"z\"\n}\n",
           0);
}

/* One kernel makes all: what writes one part and what writes or reads another are told apart by where they lie. */
static void walked(void **state)
{
    (void)state;
    assert_int_equal(setenv("GOPT_OPENCL_WALK", "1", 1), 0);
    concat("fp16",
           "graph (%x: f32[2,8,6,6]) {\n  %a = Conv %x, dense<f32[16,8,1,1], #a>\n"
           "  %b = Conv %x, dense<f32[8,8,1,1], #b>\n  %c = Conv %x, dense<f32[12,8,1,1], #c>\n"
           "  %ab = Concat %a, %b { axis = 1 }\n  %s = Sigmoid %ab\n  %t = Tanh %b\n  %y = Concat %ab, %s, %t, %c { "
           "axis = 1 "
           "}\n" CONVOLUTION_BEHIND("68"),
           1);
    assert_int_equal(unsetenv("GOPT_OPENCL_WALK"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images),
        cmocka_unit_test(parts_that_others_read),
        cmocka_unit_test(the_same_part_again),
        cmocka_unit_test(parts_of_parts),
        cmocka_unit_test(dense_parts),
        cmocka_unit_test(walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
