/* attention_mma.cl in every variant against reference evaluation, and rows that are warps (norm.cl): on NVIDIA's GPUs as
 * they are, elsewhere emulated by ptx_emulated.cl. */
#include "unit/opencl.h"

/* Heads of queries of length m, keys and values of length n, of d and dv elements; read where they lie, row by row. */
typedef struct problem {
    const char *variant;
    int batch, m, n, heads, d, dv;
    const char *between, *scores; /* of the product and the softmax */
} problem;

#define SCALED "    %t = Mul %s, dense<f32[], 0.125>\n"
#define ADDED SCALED "    %u = Add %t, %mask\n"
#define CHOSEN SCALED "    %u = Where %flag, %t, dense<f32[], -3.4028235e+38>\n"

static const problem problems[] = {
    /* keys in whole stages, behind the last one, in one; rows that fill no warp, several groups */
    { "attention_mma_64x1x64", 1, 70, 130, 2, 64, 64, SCALED, "%t" },
    { "attention_mma_32x1x64", 2, 33, 64, 2, 24, 40, ADDED, "%u" },
    { "attention_mma_64x1x32", 1, 5, 96, 3, 8, 16, CHOSEN, "%u" },
    { "attention_mma_64x1x128", 1, 65, 257, 1, 32, 32, SCALED, "%t" },
    { "attention_mma_128x1x64", 1, 130, 70, 2, 16, 8, ADDED, "%u" },
    { "attention_mma_128x1x32", 1, 17, 33, 1, 128, 64, SCALED, "%t" },
    /* warps that share the keys of the same rows, some without any */
    { "attention_mma_32x2x32", 2, 35, 65, 1, 40, 24, SCALED, "%t" },
    { "attention_mma_64x2x32", 1, 70, 20, 2, 64, 64, ADDED, "%u" },
    { "attention_mma_32x4x32", 1, 19, 200, 1, 48, 80, CHOSEN, "%u" },
    { "attention_mma_16x8x16", 3, 1, 131, 2, 64, 64, SCALED, "%t" },
    { "attention_mma_16x8x16", 1, 30, 9, 1, 8, 8, "", "%s" },
};

static void every_variant(void **state)
{
    (void)state;
    for (size_t i = 0; i < GI_COUNT(problems); i++) {
        char text[3000], how[80];
        const problem *p = &problems[i];
        const int b = p->batch, m = p->m, n = p->n, h = p->heads, d = p->d, dv = p->dv;
        (void)snprintf(how, sizeof how, "emulated,%s", p->variant);
        (void)snprintf(
            text, sizeof text,
            "graph (%%q: f32[%d,%d,%d], %%k: f32[%d,%d,%d], %%v: f32[%d,%d,%d], %%mask: f32[%d,1,1,%d], "
            "%%flag: bool[%d,1,%d,%d]) {\n"
            "  %%q4 = Reshape %%q, dense<i64[4], [%d,%d,%d,%d]>\n  %%k4 = Reshape %%k, dense<i64[4], [%d,%d,%d,%d]>\n"
            "  %%v4 = Reshape %%v, dense<i64[4], [%d,%d,%d,%d]>\n"
            "  %%y = Fusion<attention> { body = block () {\n"
            "    %%qt = Transpose %%q4 { perm = [0,2,1,3] }\n    %%kt = Transpose %%k4 { perm = [0,2,3,1] }\n"
            "    %%vt = Transpose %%v4 { perm = [0,2,1,3] }\n    %%s = MatMul %%qt, %%kt\n%s"
            "    %%p = Softmax %s { axis = -1 }\n    %%o = MatMul %%p, %%vt\n"
            "    %%ot = Transpose %%o { perm = [0,2,1,3] }\n    return %%ot } }\n"
            "  return %%y as \"y\"\n}\n",
            b, m, h * d, b, n, h * d, b, n, h * dv, b, n, b, m, n, b, m, h, d, b, n, h, d, b, n, h, dv, p->between,
            p->scores);
        assert_int_equal(setenv("GOPT_OPENCL_TENSOR", how, 1), 0);
        const checked r = check_with(&(check_options){ .precision = "fp16" }, text);
        if (strcmp(r.attention, p->variant) != 0)
            fail_msg("%s was computed as %s in\n%s", p->variant, r.attention, text);
    }
}

/* Rows that are a warp each, in groups of eight that are not all there. */
static void rows_of_warps(void **state)
{
    static const int lengths[] = { 8, 520, 2048, 2056 };
    (void)state;
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", "emulated", 1), 0);
    for (size_t i = 0; i < GI_COUNT(lengths); i++) {
        char text[400];
        (void)snprintf(text, sizeof text,
                       "graph (%%x: f32[3,5,%d]) {\n  %%h = Mul %%x, dense<f32[], 0.5>\n"
                       "  %%y = LayerNormalization %%h, dense<f32[%d], #a>\n  return %%y as \"y\"\n}\n",
                       lengths[i], lengths[i]);
        assert_int_equal(check_in("fp16", text), 2);
    }
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant),
        cmocka_unit_test(rows_of_warps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
