/* Operators that training graphs have: losses and optimizers. Answers known by hand, what is refused. */
#include "unit/gir.h"

#define X "dense<f32[2,3], [1,2,3,4,5,6]>"
#define T "dense<i64[2], [2,0]>"

static void loss_of_samples(void **state)
{
    (void)state;
    evaluates("%y = NegativeLogLikelihoodLoss " X ", " T " { reduction = \"none\" }", "2: -3 -4");
    evaluates("%y = NegativeLogLikelihoodLoss " X ", " T " { reduction = \"sum\" }", ": -7");
    evaluates("%y = NegativeLogLikelihoodLoss " X ", dense<i32[2], [2,0]>", ": -3.5");
    evaluates("%y = NegativeLogLikelihoodLoss " X ", " T ", dense<f32[3], [3,9,1]>", ": -3.75");
    evaluates("%y = NegativeLogLikelihoodLoss dense<f64[1,2,2], [1,2,3,4]>, dense<i64[1,2], [1,0]>"
              " { reduction = \"none\" }",
              "1x2: -3 -2");
    evaluates("%y = NegativeLogLikelihoodLoss dense<bf16[2,2], [1,2,3,4]>, dense<i64[2], [1,0]>", ": -2.5");
    evaluates("%y = NegativeLogLikelihoodLoss dense<f16[2,2], [1,2,3,4]>, dense<i64[2], [1,0]>, dense<f16[2], [3,1]>"
              " { reduction = \"none\" }",
              "2: -2 -9");
}

/* A sample that is ignored counts in no mean, whatever its class. */
static void loss_ignores(void **state)
{
    (void)state;
    evaluates("%y = NegativeLogLikelihoodLoss " X ", dense<i64[2], [2,-7]> { ignore_index = -7 }", ": -3");
    evaluates("%y = NegativeLogLikelihoodLoss " X ", dense<i64[2], [-1,1]> { ignore_index = -1, reduction = \"none\" }",
              "2: 0 -5");
    evaluates("%y = NegativeLogLikelihoodLoss " X ", dense<i64[2], [2,0]>, dense<f32[3], [3,9,2]>"
              " { ignore_index = 2, reduction = \"sum\" }",
              ": -12");
    evaluates("%a = NegativeLogLikelihoodLoss " X ", dense<i64[2], [5,5]> { ignore_index = 5 }\n%b = IsNaN %a\n"
              "%y = Cast %b { to = 7 }",
              ": 1");
}

static void cross_entropy(void **state)
{
    (void)state;
    evaluates("%y = SoftmaxCrossEntropyLoss dense<f32[2,2], [0,0,1000,-1000]>, dense<i64[2], [1,1]>"
              " { reduction = \"none\" }",
              "2: 0.693147 2000");
    evaluates("%a, %y = SoftmaxCrossEntropyLoss dense<f32[1,2,2], [0,0,0,1]>, dense<i64[1,2], [1,1]>",
              "1x2x2: -0.693147 -1.31326 -0.693147 -0.313262");
    evaluates("%a, %y = SoftmaxCrossEntropyLoss dense<f16[1,2], [0,0]>, dense<i64[1], [1]>",
              "1x2: -0.693359 -0.693359");
    evaluates("%y = SoftmaxCrossEntropyLoss dense<f64[1,2], [0,0]>, dense<i64[1], [1]>, dense<f64[2], [1,0.5]>"
              " { reduction = \"sum\" }",
              ": 0.346574");
    evaluates("%y = SoftmaxCrossEntropyLoss dense<f32[0,2,3], []>, dense<i64[0,3], []> { reduction = \"none\" }",
              "0x3:");
}

static void loss_types(void **state)
{
    (void)state;
    infers("%x: f16[n,c,h,w], %t: i64[n,h,w]", "%y = SoftmaxCrossEntropyLoss %x, %t { reduction = \"none\" }",
           "f16[n,h,w]");
    infers("%x: f32[n,c,h,w], %t: i64[n,4,w]", "%y = NegativeLogLikelihoodLoss %x, %t { reduction = \"none\" }",
           "f32[n,4,w]");
    infers("%x: f32[*], %t: i64[n,4]", "%y = NegativeLogLikelihoodLoss %x, %t { reduction = \"none\" }", "f32[n,4]");
    infers("%x: f32[*], %t: i64[*]", "%y = NegativeLogLikelihoodLoss %x, %t", "f32[]");
    infers("%x: f32[n,c], %t: i64[n]", "%a, %y = SoftmaxCrossEntropyLoss %x, %t", "f32[n,c]");
}

static void loss_refuses(void **state)
{
    (void)state;
    infer_refuses("%x: f32[2], %t: i64[]", "%y = NegativeLogLikelihoodLoss %x, %t", "expected rank 2 or more");
    infer_refuses("%x: f32[2,3], %t: i64[2,3]", "%y = NegativeLogLikelihoodLoss %x, %t", "expected rank 1");
    infer_refuses("%x: f32[2,3,4], %t: i64[2,5]", "%y = NegativeLogLikelihoodLoss %x, %t", "expected 4 in dimension 1");
    infer_refuses("%x: f32[2,3], %t: f32[2]", "%y = NegativeLogLikelihoodLoss %x, %t", "expected i32 or i64");
    infer_refuses("%x: f32[2,3], %t: i64[2], %w: f32[2]", "%y = NegativeLogLikelihoodLoss %x, %t, %w",
                  "expected 3 in dimension 0 (one weight a class)");
    infer_refuses("%x: f32[2,3], %t: i64[2]", "%y = NegativeLogLikelihoodLoss %x, %t { reduction = \"max\" }",
                  "attribute reduction is \"max\"");
    eval_refuses("%y = NegativeLogLikelihoodLoss " X ", dense<i64[2], [0,3]>", "element 1 is class 3, expected 0 to 2");
    eval_refuses("%y = NegativeLogLikelihoodLoss " X ", dense<i64[2], [0,-1]>", "element 1 is class -1");
    eval_refuses("%y = NegativeLogLikelihoodLoss " X ", dense<i64[2], [0,-9223372036854775808]> { ignore_index = 1 }",
                 "element 1 is class -9223372036854775808");
    eval_refuses("%y = NegativeLogLikelihoodLoss " X ", dense<i64[3], [0,0,0]>", "dimension 0 is 3, expected 2");
    eval_refuses("%y = NegativeLogLikelihoodLoss " X ", " T ", dense<f32[2], [0,0]>", "dimension 0 is 2, expected 3");
    eval_refuses("%y = SoftmaxCrossEntropyLoss dense<f32[2], [1,2]>, dense<i64[], [0]>", "has rank 1");
}

/* ---- optimizers: rate and count first, then tensors, gradients and states, group by group ---- */

#define RATE(R, T) "dense<f32[], [" R "]>, dense<i64[], [" T "]>, "
#define F(V) "dense<f32[1], [" V "]>"

static void adagrad(void **state)
{
    (void)state;
    evaluates("%y, %h = ai.onnx.preview.training::Adagrad " RATE("0.5", "1")
                  F("1") ", " F("3") ", " F("16") " { decay_factor = 0.25, epsilon = 0 }",
              "1: 0.76");
    evaluates("%x, %y = ai.onnx.preview.training::Adagrad " RATE("0.5", "1")
                  F("1") ", " F("3") ", " F("16") " { norm_coefficient = 1 }",
              "1: 32");
    evaluates("%a, %b, %h, %y = ai.onnx.preview.training::Adagrad dense<f64[1], [1]>, dense<i64[], [0]>, dense<f64[], "
              "[1]>, dense<f64[2,1], [1,2]>,"
              " dense<f64[], [2]>, dense<f64[2,1], [3,4]>, dense<f64[], [0]>, dense<f64[2,1], [1,0]>",
              "2x1: 10 16");
}

static void adam(void **state)
{
    (void)state;
    evaluates("%y, %v, %h = ai.onnx.preview.training::Adam " RATE("0.5", "0")
                  F("1") ", " F("2") ", " F("4") ", " F("9") " { alpha = 0.5, beta = 0.75, epsilon = 0 }",
              "1: 0.461184");
    /* the first step of zero states goes by the rate, whatever the gradient */
    evaluates("%y, %v, %h = ai.onnx.preview.training::Adam " RATE("0.5", "1")
                  F("1") ", " F("1e-3") ", " F("0") ", " F("0") " { epsilon = 0 }",
              "1: 0.5");
    evaluates("%y, %v, %h = ai.onnx.preview.training::Adam " RATE("0.5", "1")
                  F("1") ", " F("-7") ", " F("0") ", " F("0") " { epsilon = 0, norm_coefficient_post = 0.5 }",
              "1: 0.75");
    evaluates("%x, %y, %h = ai.onnx.preview.training::Adam " RATE("0.5", "1")
                  F("1") ", " F("-7") ", " F("4") ", " F("0") " { alpha = 0.5, norm_coefficient = 3 }",
              "1: 0");
}

static void momentum(void **state)
{
    (void)state;
#define ATTRS " { alpha = 0.5, beta = 10, norm_coefficient = 0, mode = "
    evaluates("%y, %v = ai.onnx.preview.training::Momentum " RATE("0.1", "0") F("1") ", " F("3") ", " F("2") ATTRS
              "\"standard\" }",
              "1: 0.6");
    evaluates("%y, %v = ai.onnx.preview.training::Momentum " RATE("0.1", "1") F("1") ", " F("3") ", " F("2") ATTRS
              "\"standard\" }",
              "1: -2.1");
    evaluates("%y, %v = ai.onnx.preview.training::Momentum " RATE("0.1", "0") F("1") ", " F("3") ", " F("2") ATTRS
              "\"nesterov\" }",
              "1: 0.5");
    evaluates("%x, %y = ai.onnx.preview.training::Momentum " RATE("0.1", "1") F("1") ", " F("3") ", " F("2") ATTRS
              "\"nesterov\" }",
              "1: 31");
    infer_refuses("%x: f32[2]",
                  "%y, %v = ai.onnx.preview.training::Momentum " RATE("1", "1") "%x, %x" ATTRS "\"standard\" }",
                  "it has 2 inputs behind R and T, expected a multiple of 3");
    eval_refuses("%y, %v = ai.onnx.preview.training::Momentum " RATE("1", "1") F("1") ", " F("1") ", " F("1") ATTRS
                 "\"fast\" }",
                 "attribute mode is \"fast\"");
}

static void optimizers_refuse(void **state)
{
    (void)state;
    infer_refuses("%x: f32[2], %g: f32[3]", "%y, %h = ai.onnx.preview.training::Adagrad " RATE("1", "1") "%x, %g, %x",
                  "expected 2 in dimension 0");
    infer_refuses("%x: f32[2], %g: f64[2]", "%y, %h = ai.onnx.preview.training::Adagrad " RATE("1", "1") "%x, %g, %x",
                  "expected f32 elements");
    infer_refuses("%x: f32[2]", "%y, %h, %z = ai.onnx.preview.training::Adagrad " RATE("1", "1") "%x, %x, %x",
                  "it has 3 outputs, expected 2");
    infers("%x: f32[n,2], %z: f64[m]",
           "%a, %y, %h, %i = ai.onnx.preview.training::Adagrad " RATE("1", "1") "%x, %z, %x, %z, %x, %z", "f64[m]");
    eval_refuses("%y, %h = ai.onnx.preview.training::Adagrad " RATE("1", "1") F("1") ", dense<f32[2], [1,2]>, " F("1"),
                 "another shape");
    eval_refuses("%y, %h = ai.onnx.preview.training::Adagrad " RATE("1", "1") F("1") ", _, " F("1"),
                 "input 3 is missing");
    eval_refuses("%y, %h = ai.onnx.preview.training::Adagrad dense<f32[2], [1,2]>, dense<i64[], [1]>, " F("1") ", " F(
                     "1") ", " F("1"),
                 "expected one number");
    eval_refuses("%y, %h = ai.onnx.preview.training::Adagrad "
                 "dense<f32[], [1]>, dense<i64[], [1]>",
                 "it has 0 inputs behind R and T");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(loss_of_samples, setup, teardown),
        cmocka_unit_test_setup_teardown(loss_ignores, setup, teardown),
        cmocka_unit_test_setup_teardown(cross_entropy, setup, teardown),
        cmocka_unit_test_setup_teardown(loss_types, setup, teardown),
        cmocka_unit_test_setup_teardown(loss_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(adagrad, setup, teardown),
        cmocka_unit_test_setup_teardown(adam, setup, teardown),
        cmocka_unit_test_setup_teardown(momentum, setup, teardown),
        cmocka_unit_test_setup_teardown(optimizers_refuse, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
