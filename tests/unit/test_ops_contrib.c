/* ONNX Runtime's own operators: shapes, answers at the edges, what is refused. tests/contrib holds the answers against
 * ONNX Runtime's. */
#include "unit/gir.h"

static void inverts(void **state)
{
    (void)state;
    evaluates("%y = com.microsoft::Inverse dense<f32[2,2], [0,1,2,3]>", "2x2: -1.5 0.5 1 0");
    evaluates("%y = com.microsoft::Inverse dense<f64[1,1], [0]>", "1x1: inf");
    evaluates("%y = com.microsoft::Inverse dense<f16[3,0,0], []>", "3x0x0:");
    infer_refuses("%x: f32[b,3,4]", "%y = com.microsoft::Inverse %x", "square");
    eval_refuses("%y = com.microsoft::Inverse dense<f32[2], [1,2]>", "at least 2");
}

static void measures_distances(void **state)
{
    (void)state;
    evaluates("%y = com.microsoft::CDist dense<f32[1,2], [0,0]>, dense<f32[2,2], [3,4,0,1]>", "1x2: 25 1");
    evaluates("%y = com.microsoft::CDist dense<f32[1,0], []>, dense<f32[1,0], []> { metric = \"euclidean\" }",
              "1x1: 0");
    infers("%a: f32[m,8], %b: f32[k,8]", "%y = com.microsoft::CDist %a, %b", "f32[m,k]");
    infer_refuses("%a: f32[m,8]", "%y = com.microsoft::CDist %a, %a { metric = \"hamming\" }", "sqeuclidean");
    eval_refuses("%y = com.microsoft::CDist dense<f32[1,2], [0,0]>, dense<f32[1,1], [3]>", "is 1, expected 2");
}

#define ROWS_OF_16 "dense<u8[2,8], [16,50,84,118,152,186,220,254,0,0,0,0,0,0,0,255]>"

static void gathers_blocks(void **state)
{
    (void)state;
    /* The lower half of a byte comes first; 8 is in the middle. An index outside of the table gives zeros. */
    evaluates("%y = com.microsoft::GatherBlockQuantized " ROWS_OF_16 ", dense<i64[2], [0,2]>, dense<f32[2,1], [1,2]>"
              " { block_size = 16 }",
              "2x16: -8 -7 -6 -5 -4 -3 -2 -1 0 1 2 3 4 5 6 7 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
    evaluates("%y = com.microsoft::GatherBlockQuantized " ROWS_OF_16 ", dense<i32[1], [-1]>, dense<f32[2,1], [1,2]>,"
              " dense<u8[2,1], [0,15]> { block_size = 16 }",
              "1x16: -30 -30 -30 -30 -30 -30 -30 -30 -30 -30 -30 -30 -30 -30 0 0");
    /* 4-bit integers may be gathered along any axis; without a zero point theirs is 0. */
    evaluates("%y = com.microsoft::GatherBlockQuantized dense<i4[2,2], [1,-2,3,-4]>, dense<i64[], [1]>,"
              " dense<f32[2,1], [1,10]> { block_size = 16, gather_axis = 1 }",
              "2: -2 -40");
    infers("%d: u8[v,64], %i: i64[b,t], %s: f16[v,4]",
           "%y = com.microsoft::GatherBlockQuantized %d, %i, %s { block_size = 32 }", "f16[b,t,128]");
    infer_refuses("%d: u8[v,64], %i: i64[b,t], %s: f16[v,4]",
                  "%y = com.microsoft::GatherBlockQuantized %d, %i, %s { gather_axis = 1 }", "along the first axis");
    infer_refuses("%d: u8[v,64], %i: i64[b,t], %s: f16[v,4]",
                  "%y = com.microsoft::GatherBlockQuantized %d, %i, %s { block_size = 0 }", "power of two");
    eval_refuses("%y = com.microsoft::GatherBlockQuantized " ROWS_OF_16
                 ", dense<i64[1], [0]>, dense<f32[2,2], [1,1,1,1]>"
                 " { block_size = 16 }",
                 "2 in dimension 1, expected 1");
    eval_refuses("%y = com.microsoft::GatherBlockQuantized " ROWS_OF_16 ", dense<i64[1], [0]>, dense<f32[2,1], [1,1]>"
                 " { bits = 3, block_size = 16 }",
                 "2, 4 or 8");
}

#define MIX \
    "dense<f32[1,1], [2]>, dense<f32[1,3], [0,9,9]>, dense<f32[3,1,1], [1,2,3]>, _, dense<f32[3,1,1], [1,10,100]>"

static void mixes_experts(void **state)
{
    (void)state;
    /* The first of equals. */
    evaluates("%y = com.microsoft::MoE " MIX " { normalize_routing_weights = 1 }", "1x1: 40");
    evaluates("%y = com.microsoft::MoE " MIX " { normalize_routing_weights = 1, k = 2 }", "1x1: 320");
    /* A gate of its own: 2 · 2 of the second expert. */
    evaluates("%y = com.microsoft::MoE " MIX ", _, dense<f32[3,1,1], [1,1,1]> { normalize_routing_weights = 1 }",
              "1x1: 80");
    evaluates("%y = com.microsoft::MoE dense<f32[0,1], []>, dense<f32[0,3], []>, dense<f32[3,1,1], [1,2,3]>, _,"
              " dense<f32[3,1,1], [1,10,100]>",
              "0x1:");
    infer_refuses("", "%y = com.microsoft::MoE " MIX " { activation_type = \"tanh\" }", "relu, gelu, silu");
    infer_refuses("", "%y = com.microsoft::MoE " MIX " { activation_type = \"swiglu\" }", "swiglu needs");
    eval_refuses("%y = com.microsoft::MoE " MIX " { activation_type = \"swiglu\", swiglu_fusion = 1 }",
                 "that fc1 gives");
    eval_refuses("%y = com.microsoft::MoE " MIX " { k = 0 }", "1 or more");
    eval_refuses("%y = com.microsoft::MoE dense<f32[1,1], [2]>, dense<f32[1,2], [0,9]>, dense<f32[3,1,1], [1,2,3]>, _,"
                 " dense<f32[3,1,1], [1,10,100]>",
                 "is 3, expected 2");
}

static void multiplies_packed_weights(void **state)
{
    (void)state;
    const char *quarter =
        "%y = com.microsoft::MatMulBnb4 dense<f32[1,1], [2]>, dense<u8[1], [240]>, dense<f32[1], [3]>";
    char body[512];
    snprintf(body, sizeof body, "%s { K = 1, N = 1, block_size = 16, quant_type = 1 }", quarter);
    evaluates(body, "1x1: 6");
    snprintf(body, sizeof body, "%s { K = 1, N = 1, block_size = 16, quant_type = 0 }", quarter);
    evaluates(body, "1x1: -1.5");
    snprintf(body, sizeof body, "%s { K = 1, N = 9, block_size = 16, quant_type = 1 }", quarter);
    eval_refuses(body, "expected 5");
    snprintf(body, sizeof body, "%s { K = 1, N = 1, block_size = 3, quant_type = 1 }", quarter);
    eval_refuses(body, "power of two");
    eval_refuses("%x = ConstantOfShape dense<i64[2], [1,16]>\n"
                 "%b = ConstantOfShape dense<i64[3], [1,1,8]> { value = dense<u8[1], [0]> }\n"
                 "%g = ConstantOfShape dense<i64[1], [16]> { value = dense<i32[1], [7]> }\n"
                 "%y = com.microsoft::MatMulNBits %x, %b, dense<f32[1,1], [1]>, _, %g"
                 " { K = 16, N = 1, block_size = 16 }",
                 "holds 7, expected 0 to 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(inverts, setup, teardown),
        cmocka_unit_test_setup_teardown(measures_distances, setup, teardown),
        cmocka_unit_test_setup_teardown(gathers_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(mixes_experts, setup, teardown),
        cmocka_unit_test_setup_teardown(multiplies_packed_weights, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
