/* RNN, GRU and LSTM: what ONNX's own tests leave out. Answers are those of the formulas of its documentation, computed
 * apart in double precision. */
#include "unit/gir.h"

static void attributes(void **state)
{
    (void)state;
    /* each direction has functions and parameters of its own, taken in order by those that have some */
    evaluates("%y, %u1 = RNN dense<f64[2,1,1], [2.0625,-2.5625]>, dense<f64[2,2,1], [0.4375,-0.5625,-0.4375,-0.1875]>, "
              "dense<f64[2,2,2], [-1,-0.125,-0.4375,1.6875,0.125,-0.1875,-0.125,-0.3125]>, dense<f64[2,4], "
              "[-0.5,-0.1875,0.25,-0.125,0.5,-0.125,0,0.75]> { direction = \"bidirectional\", activations = "
              "[\"LeakyRelu\",\"HardSigmoid\"], activation_alpha = [0.5,0.25], activation_beta = [0.125] }",
              "2x2x1x2: 0.652344 -0.736328 0.022171 0.136642 -0.965698 -0.199524 0.530273 0.401367");
    /* a short sequence backwards: its own end is its beginning, the rest of Y is 0 */
    evaluates("%y, %u1 = RNN dense<f64[3,2,1], [-0.4375,-1.0625,0,-0.0625,1.375,0.75]>, dense<f64[1,1,1], [0.1875]>, "
              "dense<f64[1,1,1], [0.5625]>, _, dense<i32[2], [3,1]>, dense<f64[1,2,1], [0.5625,0.5625]> { direction = "
              "\"reverse\", activations = [\"Softsign\"] }",
              "3x1x2x1: 0.0135474 0.104895 0.170248 0 0.364764 0");
    /* GRU: bounded inputs of its functions, the reset gate behind the product */
    evaluates("%u0, %y = GRU dense<f64[2,1,2], [0.5,-1.625,0.0625,-0.9375]>, dense<f64[1,6,2], "
              "[0.75,-2.0625,-0.9375,0.6875,1.1875,-2.1875,-0.5,0.3125,-0.625,1.5625,-1.1875,0.375]>, "
              "dense<f64[1,6,2], [-0.5,0.6875,-0,-0.1875,-0.875,0.8125,0.375,0.375,0.5625,0.1875,-0.3125,-0.375]>, "
              "dense<f64[1,12], [-0.375,0.6875,-0.75,-0.3125,-0.1875,0.125,0.3125,-0.625,-0.875,-0,0.625,0.375]>, _, "
              "dense<f64[1,1,2], [0.1875,-0.3125]> { clip = 0.5, linear_before_reset = 1, activations = "
              "[\"Sigmoid\",\"ScaledTanh\"], activation_alpha = [1.5], activation_beta = [0.5] }",
              "1x1x2: -0.152387 -0.181029");
    /* GRU: two directions, of sequences of other lengths */
    evaluates(
        "%u0, %y = GRU dense<f64[2,2,1], [2.5625,1.5,1.5,-2.0625]>, dense<f64[2,3,1], "
        "[-0.3125,-0.625,0.5625,-2.25,1.1875,1.0625]>, dense<f64[2,3,1], [-0.625,-0.5,-0.375,0,0.3125,1]>, "
        "dense<f64[2,6], [-0.125,0.375,0.0625,0.875,0.375,0.6875,-0.5625,-0.125,-0.4375,0.75,0.3125,-0.125]>, "
        "dense<i32[2], [2,1]>, dense<f64[2,2,1], [-0.4375,0.5,-0.6875,-0.9375]> { direction = \"bidirectional\" }",
        "2x2x1: 0.524666 0.707558 0.984867 0.190406");
    /* LSTM: peepholes, forget gates coupled to input gates, bounds */
    evaluates("%y, %u1, %u2 = LSTM dense<f64[2,1,1], [0.125,0.125]>, dense<f64[1,8,1], "
              "[-1.5,-0.4375,0.125,-0.8125,-0.5,-0.8125,-0.3125,0.875]>, dense<f64[1,8,2], "
              "[-0.1875,-0.0625,0.4375,0.3125,0.875,-1.0625,0.4375,-0.25,0.0625,0.4375,0.5625,0.5,0.0625,0.8125,-0.125,"
              "-0.0625]>, dense<f64[1,16], "
              "[0.375,-0.25,1.0625,0.5,1.0625,-0,-0.1875,0.0625,0.375,-0.3125,0.1875,-0,0.8125,-0.3125,0.5,-0.3125]>, "
              "_, dense<f64[1,1,2], [-0.9375,-0.6875]>, dense<f64[1,1,2], [-1.1875,0.125]>, dense<f64[1,6], "
              "[0.5,0.0625,0.3125,0.8125,0.125,0.125]> { input_forget = 1, clip = 0.75 }",
              "2x1x1x2: -0.418622 0.0507547 -0.101164 0.0181817");
    /* LSTM: the cell, of six functions */
    evaluates(
        "%u0, %u1, %y = LSTM dense<f64[2,1,1], [-0.25,-1.625]>, dense<f64[2,4,1], "
        "[0.75,-1.75,0.625,-0,1.125,-0.0625,-0.8125,0.375]>, dense<f64[2,4,1], "
        "[-0.25,-0.0625,0,-0.0625,-0.125,-0.4375,-0.125,-1.0625]>, _, _, _, dense<f64[2,1,1], [-0.6875,-0.0625]>, "
        "dense<f64[2,3], [-0.3125,0.875,0.125,-0.5,-0.375,-0]> { direction = \"bidirectional\", activations = "
        "[\"HardSigmoid\",\"Elu\",\"Relu\",\"Softplus\",\"Affine\",\"ThresholdedRelu\"], activation_alpha = "
        "[0.25,1,0.5,0.125], activation_beta = [0.5,0.25] }",
        "2x1x1: -0.0714984 0.034373");
}

/* [batch, steps, inputs], and states with the batch in front, give the same numbers in other places. */
static void layouts(void **state)
{
    (void)state;
#define WEIGHTS "dense<f32[1,2,1], [0.5,-0.25]>, dense<f32[1,2,2], [0.5,0,0.25,-0.5]>, _, dense<i32[2], [2,1]>"
    evaluates("%y, %h = RNN dense<f32[2,2,1], [1,2,3,4]>, " WEIGHTS " { activations = [\"Affine\"] }",
              "2x1x2x2: 0.5 -0.25 1 -0.5 1.75 -0.5 0 0");
    evaluates("%y, %h = RNN dense<f32[2,2,1], [1,3,2,4]>, " WEIGHTS " { activations = [\"Affine\"], layout = 1 }",
              "2x2x1x2: 0.5 -0.25 1.75 -0.5 1 -0.5 0 0");
    evaluates("%h, %y = RNN dense<f32[2,2,1], [1,2,3,4]>, " WEIGHTS ", dense<f32[1,2,2], [0,0,8,16]>"
              " { activations = [\"Affine\"] }",
              "1x2x2: 1.75 -0.5 5 -6.5");
    evaluates("%h, %y = RNN dense<f32[2,2,1], [1,3,2,4]>, " WEIGHTS ", dense<f32[2,1,2], [0,0,8,16]>"
              " { activations = [\"Affine\"], layout = 1 }",
              "2x1x2: 1.75 -0.5 5 -6.5");
    infers("%x: f16[b,s,3], %w: f16[2,8,3], %r: f16[2,8,2]",
           "%a, %b, %y = LSTM %x, %w, %r { layout = 1, direction = \"bidirectional\" }", "f16[b,2,2]");
}

static void types(void **state)
{
    (void)state;
#define CELL(T)                                                                                         \
    "%y = GRU dense<" T "[2,1,1], [1,2]>, dense<" T "[1,3,1], [0,0,0.5]>, dense<" T "[1,3,1], [0,0,0]>" \
    " { activations = [\"Sigmoid\", \"Affine\"] }"
    evaluates(CELL("f16"), "2x1x1x1: 0.25 0.625");
    evaluates(CELL("bf16"), "2x1x1x1: 0.25 0.625");
    evaluates(CELL("f32"), "2x1x1x1: 0.25 0.625");
    evaluates(CELL("f64"), "2x1x1x1: 0.25 0.625");
}

static void keeps_nan(void **state)
{
    (void)state;
    evaluates("%n = Log dense<f32[1,1,1], [-1]>\n%r = RNN %n, dense<f32[1,1,1], [1]>, dense<f32[1,1,1], [0]>"
              " { activations = [\"Relu\"] }\n%b = IsNaN %r\n%y = Cast %b { to = 7 }",
              "1x1x1x1: 1");
}

static void refuses(void **state)
{
    (void)state;
#define X1 "dense<f32[1,1,1], [1]>"
    eval_refuses("%y = RNN " X1 ", " X1 ", " X1 ", _, dense<i32[1], [2]>", "entry 0 is 2, expected 0 to 1");
    eval_refuses("%y = RNN " X1 ", " X1 ", " X1 ", _, dense<i32[1], [-1]>", "entry 0 is -1, expected 0 to 1");
    eval_refuses("%y = RNN " X1 ", " X1 ", " X1 ", dense<f32[1,3], [1,2,3]>", "dimension 1 is 3, expected 2");
    eval_refuses("%y = RNN " X1 ", " X1 ", " X1 ", _, _, dense<f32[2,1,1], [1,2]>", "dimension 0 is 2, expected 1");
    eval_refuses("%y = LSTM " X1 ", " X1 ", " X1, "dimension 1 is 1, expected 4");
    infer_refuses("%x: f32[1,1,1]", "%y = RNN %x, %x, %x { activations = [\"Gauss\"] }",
                  "names a function that is unknown");
    infer_refuses("%x: f32[1,1,1], %w: f32[2,1,1]",
                  "%y = RNN %x, %w, %w { direction = \"bidirectional\", activations = [\"Tanh\"] }", "too few entries");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(layouts, setup, teardown),
        cmocka_unit_test_setup_teardown(types, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_nan, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
