/* Attention and its kin: types, answers known by hand, what is refused. */
#include "unit/gir.h"

#define MS "com.microsoft::"

static void infers_types(void **state)
{
    (void)state;
    infers("%q: f32[b,s,8], %k: f32[b,t,4], %v: f32[b,t,6]",
           "%y = Attention %q, %k, %v { q_num_heads = 4, kv_num_heads = 2 }", "f32[b,s,12]");
    infers("%q: f16[b,h,s,8], %k: f16[b,h,t,8], %v: f16[b,h,t,e]", "%y = Attention %q, %k, %v", "f16[b,h,s,e]");
    infers("%q: f32[b,2,s,8], %k: f32[b,2,s,8], %p: f32[b,2,p,8]", "%a, %y, %c = Attention %q, %k, %k, _, %p, %p",
           "f32[b,2,p+s,8]");
    infers("%q: f32[b,2,s,8], %k: f32[b,2,t,8]", "%a, %b, %c, %y = Attention %q, %k, %k", "f32[b,2,s,t]");
    infers("%q: f32[b,s,8], %k: f32[b,t,8], %v: f32[b,t,6]",
           "%a, %b, %y = " MS "MultiHeadAttention %q, %k, %v { num_heads = 2 }", "f32[b,2,t,3]");
    infers("%q: f32[b,s,2,3,4]", "%y = " MS "MultiHeadAttention %q { num_heads = 2 }", "f32[b,s,8]");
    infers("%x: f32[b,s,5], %w: f32[5,24], %p: f32[2,b,2,p,4]",
           "%a, %y = " MS "Attention %x, %w, _, _, %p { num_heads = 2 }", "f32[2,b,2,p+s,4]");
    infers("%q: f32[b,1,64], %p: f32[b,2,t,16], %l: i32[b]",
           "%a, %y = " MS
           "GroupQueryAttention %q, _, _, %p, %p, %l, dense<i32[], [9]> { num_heads = 2, kv_num_heads = 1 }",
           "f32[b,1,max(t,9),16]");
    infers("%x: f32[b,s,8], %c: f32[b,s,2]", "%y = RotaryEmbedding %x, %c, %c { num_heads = 2 }", "f32[b,s,8]");
}

/* Scores ln 3 and 0 weigh 3/4 and 1/4. */
#define Q "dense<f32[1,1,1,1], [1.0986123]>"
#define K "dense<f32[1,1,2,1], [1,0]>"
#define V "dense<f32[1,1,2,1], [4,8]>"

static void answers(void **state)
{
    (void)state;
    evaluates("%y = Attention " Q ", " K ", " V, "1x1x1x1: 5");
    evaluates("%y = Attention " Q ", " K ", " V ", dense<bool[1,2], [0,1]>", "1x1x1x1: 8");
    evaluates("%y = Attention " Q ", " K ", " V ", dense<f32[1,1], [0]>", "1x1x1x1: 4"); /* shorter than the keys */
    evaluates("%y = Attention " Q ", " K ", " V " { is_causal = 1 }", "1x1x1x1: 4");
    evaluates("%y = Attention " Q ", " K ", " V ", _, _, _, dense<i64[1], [1]>", "1x1x1x1: 4");
    evaluates("%a, %y = Attention " Q ", " K ", " V ", _, " K ", " V, "1x1x4x1: 1 0 1 0");
    evaluates("%a, %b, %c, %y = Attention " Q ", " K ", " V " { qk_matmul_output_mode = 3 }", "1x1x1x2: 0.75 0.25");
    /* Two heads of queries share one of keys and values. */
    evaluates("%y = Attention dense<f32[1,2,1,1], [1.0986123,0]>, " K ", " V, "1x2x1x1: 5 6");
    evaluates("%y = RotaryEmbedding dense<f32[1,1,1,4], [1,2,3,4]>, dense<f32[1,1,2], [0,1]>, dense<f32[1,1,2], [1,0]>",
              "1x1x1x4: -3 2 1 4");
    /* No keys at all: the sum of nothing. */
    evaluates("%y = Attention " Q ", dense<f32[1,1,0,1], []>, dense<f32[1,1,0,1], []>", "1x1x1x1: 0");
}

static void refuses(void **state)
{
    (void)state;
    const char *three = "%q: f32[b,s,8], %k: f32[b,t,8]", *four = "%q: f32[b,2,s,4], %k: f32[b,2,t,4]";
    infer_refuses(three, "%y = Attention %q, %k, %k", "q_num_heads is missing");
    infer_refuses(three, "%y = Attention %q, %k, %k { q_num_heads = 3, kv_num_heads = 2 }", "the 3 heads divide");
    infer_refuses(four, "%y = Attention %q, %k, %k { qk_matmul_output_mode = 4 }", "expected 0 to 3");
    infer_refuses("%q: f32[b,8], %k: f32[b,8]", "%y = Attention %q, %k, %k", "expected rank 3 or 4");
    infer_refuses(three, "%y = " MS "MultiHeadAttention %q, %k, %k { num_heads = 0 }", "num_heads is 0");
    infer_refuses("%x: f32[b,s,5], %w: f32[5,25]", "%y = " MS "Attention %x, %w { num_heads = 2 }", "of 2 heads");
    eval_refuses("%y = Attention dense<f32[1,3,1,1], [1,2,3]>, dense<f32[1,2,1,1], [1,2]>, dense<f32[1,2,1,1], [1,2]>",
                 "expected a divisor");
    eval_refuses("%y = Attention " Q ", " K ", " V ", dense<f32[3,1,1], [0,0,0]>", "expected");
    eval_refuses("%y = RotaryEmbedding dense<f32[1,1,1,2], [1,2]>, dense<f32[2,1], [0,1]>, dense<f32[2,1], [1,0]>, "
                 "dense<i64[1,1], [2]>",
                 "holds 2, the caches have 2 rows");
    eval_refuses("%y = " MS "MultiHeadAttention dense<f32[1,1,1], [1]>, dense<f32[1,2,1], [1,2]>, "
                 "dense<f32[1,3,1], [1,2,3]> { num_heads = 1 }",
                 "the key 1 of 2");
    eval_refuses("%y = " MS
                 "GroupQueryAttention dense<f32[1,1,1], [1]>, dense<f32[1,1,1], [1]>, dense<f32[1,1,1], [1]>, "
                 "_, _, dense<i32[1], [5]>, dense<i32[], [6]> { num_heads = 1, kv_num_heads = 1 }",
                 "0 can be cached");
}

#define LINEAR(RULE) " { q_num_heads = 1, kv_num_heads = 1, scale = 1.0, update_rule = \"" RULE "\" }"
#define TWO_TOKENS "dense<f32[1,2,1], [1,1]>, dense<f32[1,2,1], [2,3]>, dense<f32[1,2,1], [5,7]>"

static void carries_a_state(void **state)
{
    (void)state;
    evaluates("%y, %s = LinearAttention " TWO_TOKENS LINEAR("linear"), "1x2x1: 10 31");
    evaluates("%o, %y = LinearAttention " TWO_TOKENS ", dense<f16[1,1,1,1], [100]>" LINEAR("linear"), "1x1x1x1: 131");
    /* The second value is 7 less the 30 that the state holds for its key, and half of it counts. */
    evaluates("%y, %s = LinearAttention " TWO_TOKENS ", _, _, dense<f32[1,2,1], [1,0.5]>" LINEAR("delta"),
              "1x2x1: 10 -24.5");
    evaluates("%y, %s = LinearAttention " TWO_TOKENS ", _, dense<f32[1,2,1], [0,-100]>" LINEAR("gated"),
              "1x2x1: 10 21");
    evaluates("%y, %s = LinearAttention dense<f32[1,0,4], []>, dense<f32[1,0,2], []>, dense<f32[1,0,1], []>"
              " { q_num_heads = 2, kv_num_heads = 1, update_rule = \"linear\" }",
              "1x0x2:");
    infers("%q: f16[b,t,32], %k: f16[b,t,16], %v: f16[b,t,48], %p: f32[b,2,8,24]",
           "%o, %y = LinearAttention %q, %k, %v, %p { q_num_heads = 4, kv_num_heads = 2, update_rule = \"linear\" }",
           "f32[b,2,8,24]");
    infers("%q: f16[b,t,32], %k: f16[b,t,16], %v: f16[b,t,48]",
           "%y, %s = LinearAttention %q, %k, %v { q_num_heads = 4, kv_num_heads = 2, update_rule = \"linear\" }",
           "f16[b,t,96]");
    infer_refuses("%q: f32[b,t,32]", "%y, %s = LinearAttention %q, %q, %q" LINEAR("gated"), "needs input decay");
    infer_refuses("%q: f32[b,t,32]", "%y, %s = LinearAttention %q, %q, %q, _, %q" LINEAR("delta"), "no input decay");
    infer_refuses("%q: f32[b,t,32]", "%y, %s = LinearAttention %q, %q, %q" LINEAR("best"), "gated_delta");
    infer_refuses("%q: f32[b,t,32], %k: f32[b,t,16]", "%y, %s = LinearAttention %q, %k, %k" LINEAR("linear"),
                  "expected 32 in dimension 2");
    eval_refuses("%y, %s = LinearAttention " TWO_TOKENS ", dense<f32[1,1,2,1], [1,1]>" LINEAR("linear"),
                 "dimension 2 is 2, expected 1");
    eval_refuses("%y, %s = LinearAttention " TWO_TOKENS " { q_num_heads = 0, kv_num_heads = 0 }", "1 or more");
}

static void remembers_its_end(void **state)
{
    (void)state;
    evaluates("%y, %s = CausalConvWithState dense<f32[1,1,3], [1,2,3]>, dense<f32[1,1,2], [10,1]>", "1x1x3: 1 12 23");
    evaluates(
        "%y, %s = CausalConvWithState dense<f32[1,1,3], [1,2,3]>, dense<f32[1,1,2], [10,1]>, dense<f32[1], [100]>,"
        " dense<f32[1,1,1], [5]>",
        "1x1x3: 151 112 123");
    /* Shorter than the kernel: some of what was before stays. */
    evaluates("%o, %y = CausalConvWithState dense<f32[1,1,1], [9]>, dense<f32[1,1,3], [1,1,1]>, _,"
              " dense<f32[1,1,2], [7,8]>",
              "1x1x2: 8 9");
    evaluates("%o, %y = CausalConvWithState dense<f32[2,1,0], []>, dense<f32[1,1,1], [1]>", "2x1x0:");
    infers("%x: f32[b,16,n], %w: f32[16,1,4]", "%o, %y = CausalConvWithState %x, %w", "f32[b,16,3]");
    infer_refuses("%x: f32[b,16,n], %w: f32[8,1,4]", "%y, %s = CausalConvWithState %x, %w", "expected 16");
    infer_refuses("%x: f32[b,16,n], %w: f32[16,1,0]", "%y, %s = CausalConvWithState %x, %w", "kernel of 1 or more");
    eval_refuses("%y, %s = CausalConvWithState dense<f32[1,1,1], [9]>, dense<f32[1,1,0], []>", "is [1,1,0]");
    eval_refuses("%y, %s = CausalConvWithState dense<f32[1,1,1], [9]>, dense<f32[1,1,1], [1]> { activation = \"elu\" }",
                 "silu or swish");
}

#define HEADS "dense<f32[1,1,1,1], [2]>, dense<f32[1,1,2,1], [0,1]>, dense<f32[1,1,2,1], [10,20]>"

static void passes_scores_through_graphs(void **state)
{
    (void)state;
    evaluates("%y = ai.onnx.preview::FlexAttention dense<f32[1,1,1,1], [0]>, dense<f32[1,1,2,1], [3,1]>,"
              " dense<f32[1,1,2,1], [10,20]>",
              "1x1x1x1: 15");
    /* All scores alike; then every weight 1, the sum of the values. */
    evaluates("%zero = Sub dense<f32[], [1]>, dense<f32[], [1]>\n"
              "%y = ai.onnx.preview::FlexAttention " HEADS " { score_mod = block (%s: f32[*]) {\n"
              "%r = Mul %s, %zero\nreturn %r\n} }",
              "1x1x1x1: 15");
    evaluates("%y = ai.onnx.preview::FlexAttention " HEADS " { prob_mod = block (%s: f32[*]) {\n"
              "%r = Ceil %s\nreturn %r\n} }",
              "1x1x1x1: 30");
    /* The graphs see the type asked for. */
    evaluates("%y = ai.onnx.preview::FlexAttention " HEADS
              " { softmax_precision = 11, prob_mod = block (%s: f64[1,1,1,2]) {\n"
              "%r = Ceil %s\nreturn %r\n} }",
              "1x1x1x1: 30");
    infers("%q: f16[b,8,l,64], %k: f16[b,2,s,64], %v: f16[b,2,s,32]", "%y = ai.onnx.preview::FlexAttention %q, %k, %v",
           "f16[b,8,l,32]");
    infer_refuses("%q: f16[b,8,l,64], %k: f16[b,3,s,64]", "%y = ai.onnx.preview::FlexAttention %q, %k, %k",
                  "divides the 8 of queries");
    infer_refuses("",
                  "%y = ai.onnx.preview::FlexAttention " HEADS " { score_mod = block (%s: f32[*]) {\n"
                  "%r = ReduceSum %s\nreturn %r\n} }",
                  "something else than the scores");
    eval_refuses("%y = ai.onnx.preview::FlexAttention " HEADS " { score_mod = block (%s: f32[*]) {\n"
                 "%r = ReduceSum %s\nreturn %r\n} }",
                 "something else than the scores");
    eval_refuses("%y = ai.onnx.preview::FlexAttention " HEADS
                 " { score_mod = block (%s: f32[*], %t: f32[*]) {\nreturn %s\n} }",
                 "2 inputs and 1 outputs");
    eval_refuses("%y = ai.onnx.preview::FlexAttention " HEADS " { softmax_precision = 7 }", "no type of floats");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(carries_a_state, setup, teardown),
        cmocka_unit_test_setup_teardown(remembers_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(passes_scores_through_graphs, setup, teardown),
        cmocka_unit_test_setup_teardown(infers_types, setup, teardown),
        cmocka_unit_test_setup_teardown(answers, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
