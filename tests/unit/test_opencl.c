/* The opencl backend against reference evaluation, on whatever device is there (PoCL on a machine without a GPU):
 * every tactic, the fallback to the cpu, copies between the two, and the programs on disk. */
#include "unit/opencl.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t check_as_one(const char *text)
{
    return check_with(&(check_options){ .fuse_all = true }, text).steps;
}

/* Many nodes on the same inputs, as one kernel with a result each: drivers take their time to build one. */
static void many_nodes(const char *inputs, const char *operands, size_t n, const char *const *ops)
{
    static char text[8192];
    size_t at = (size_t)snprintf(text, sizeof text, "graph (%s) {\n", inputs);
    for (size_t i = 0; i < n; i++) {
        const char *space = strchr(ops[i], ' ');
        at += (size_t)snprintf(text + at, sizeof text - at, "  %%y%zu = %.*s %s%s\n", i,
                               space ? (int)(space - ops[i]) : 99, ops[i], operands, space ? space : "");
    }
    at += (size_t)snprintf(text + at, sizeof text - at, "  return ");
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%%y%zu as \"y%zu\"", i ? ", " : "", i, i);
    (void)snprintf(text + at, sizeof text - at, "\n}\n");
    assert_int_equal(check_as_one(text), 1);
}

static void pointwise_nodes(void **state)
{
    (void)state;
    static const char *const unary[] = { "Abs",
                                         "Neg",
                                         "Relu",
                                         "Ceil",
                                         "Floor",
                                         "Round",
                                         "Exp",
                                         "Sin",
                                         "Cos",
                                         "Tanh",
                                         "Sigmoid",
                                         "Erf",
                                         "Softplus",
                                         "Softsign",
                                         "Elu",
                                         "Celu",
                                         "Selu",
                                         "Mish",
                                         "Gelu",
                                         "Swish",
                                         "Shrink",
                                         "Atan",
                                         "HardSwish",
                                         "HardSigmoid",
                                         "LeakyRelu { alpha = -0.3 }",
                                         "ThresholdedRelu",
                                         "Gelu { approximate = \"tanh\" }" };
    static const char *const binary[] = { "Add", "Sub", "Mul", "Div", "Less", "GreaterOrEqual", "Equal" };
    static const char *const folded[] = { "Max", "Min", "Sum" };
    many_nodes("%x: f32[3,17]", "%x", GI_COUNT(unary), unary);
    many_nodes("%a: f32[2,3,4,5], %b: f32[3,1,5]", "%a, %b", GI_COUNT(binary), binary);
    many_nodes("%a: f32[4,1], %b: f32[2,1,6]", "%a, %b", GI_COUNT(binary), binary);
    many_nodes("%a: i64[2,3], %b: i64[]", "%a, %b", GI_COUNT(binary), binary);
    many_nodes("%a: f32[5], %b: f32[2,5], %c: f32[2,1]", "%a, %b, %c", GI_COUNT(folded), folded);
    one_node("%k: bool[2,1], %b: f32[2,5], %c: f32[5]", "Where %k, %b, %c");
    one_node("%a: f32[3,5]", "Clip %a, dense<f32[], -0.5>, dense<f32[], 1.0>");
    one_node("%a: f32[3,5]", "Clip %a, _, dense<f32[], 0.25>");
    one_node("%a: bool[]", "Not %a");
    one_node("%a: i64[3,5]", "Cast %a { to = 1 }");
    one_node("%a: f32[0,5]", "Relu %a");
}

static void pointwise_fusions(void **state)
{
    (void)state;
    assert_int_equal(check_as_one("graph (%x: f32[2,3,4], %b: f32[3,1], %k: f32[]) {\n"
                                  "  %a = Add %x, %b\n"
                                  "  %s = Sigmoid %a\n"
                                  "  %m = Mul %s, %x\n"
                                  "  %q = Mul %m, dense<f32[], 0.5>\n"
                                  "  %r = Add %q, dense<f32[4], [1.0,2.0,-3.5,0.1]>\n"
                                  "  %t = Sub %r, %k\n"
                                  "  return %t as \"t\", %m as \"m\"\n"
                                  "}\n"),
                     1);
    assert_int_equal(check_as_one("graph (%x: f32[1,3,6,6]) {\n"
                                  "  %c = Conv %x, dense<f32[4,3,3,3], #a>, dense<f32[4], #b> { pads = [1,1,1,1] }\n"
                                  "  %r = Relu %c\n"
                                  "  %s = Add %r, dense<f32[4,1,1], #c>\n"
                                  "  return %s as \"s\"\n"
                                  "}\n"),
                     1);
    assert_int_equal(check_as_one("graph (%x: f32[2,5], %z: f32[2,7]) {\n"
                                  "  %c = MatMul %x, dense<f32[5,7], #a>\n"
                                  "  %r = Tanh %c\n"
                                  "  %s = Add %r, %z\n"
                                  "  return %s as \"s\"\n"
                                  "}\n"),
                     1);
}

static void products(void **state)
{
    (void)state;
    one_node("%a: f32[7,33], %b: f32[33,19]", "MatMul %a, %b");
    one_node("%a: f32[2,3,7,5], %b: f32[2,3,5,4]", "MatMul %a, %b");
    one_node("%a: f32[2,3,7,5], %b: f32[5,4]", "MatMul %a, %b");
    one_node("%a: f32[7,5], %b: f32[3,5,4]", "MatMul %a, %b");
    one_node("%a: f32[2,1,7,5], %b: f32[3,5,4]", "MatMul %a, %b");
    one_node("%a: f32[17,5], %b: f32[5,4]", "Gemm %a, %b");
    one_node("%a: f32[5,17], %b: f32[5,4], %c: f32[4]", "Gemm %a, %b, %c { transA = 1, alpha = 0.5, beta = 2.0 }");
    one_node("%a: f32[17,5], %b: f32[4,5], %c: f32[17,1]", "Gemm %a, %b, %c { transB = 1 }");
    one_node("%a: f32[5,17], %b: f32[4,5], %c: f32[17,4]", "Gemm %a, %b, %c { transA = 1, transB = 1, beta = 0.3 }");
    one_node("%a: f32[300,260], %b: f32[260,280]", "MatMul %a, %b"); /* large enough for CLBlast */
}

static void convolutions_and_windows(void **state)
{
    (void)state;
    one_node("%x: f32[2,3,9,8]",
             "Conv %x, dense<f32[5,3,3,2], #a>, dense<f32[5], #b> { pads = [1,0,2,1], strides = [2,1] }");
    one_node("%x: f32[1,4,9,9]", "Conv %x, dense<f32[6,4,1,1], #a>");
    one_node("%x: f32[2,4,9,9]", "Conv %x, dense<f32[6,4,3,3], #a> { dilations = [2,2], auto_pad = \"SAME_UPPER\" }");
    one_node("%x: f32[2,4,9,9]", "Conv %x, dense<f32[4,1,3,3], #a>, dense<f32[4], #b> { group = 4, pads = [1,1,1,1] }");
    one_node("%x: f32[1,4,9,9]", "Conv %x, dense<f32[6,2,3,3], #a> { group = 2 }");
    one_node("%x: f32[2,3,17]", "Conv %x, dense<f32[5,3,4], #a> { strides = [3], pads = [2,1] }");
    one_node("%x: f32[2,3,9,8]", "MaxPool %x { kernel_shape = [3,2], strides = [2,2], pads = [1,0,1,1] }");
    one_node("%x: f32[2,3,9,8]", "MaxPool %x { kernel_shape = [2,2], strides = [2,2], ceil_mode = 1 }");
    one_node("%x: f32[2,3,9,8]", "AveragePool %x { kernel_shape = [3,3], pads = [1,1,1,1] }");
    one_node("%x: f32[2,3,9,8]", "AveragePool %x { kernel_shape = [3,3], pads = [1,1,1,1], count_include_pad = 1 }");
    one_node("%x: f32[2,3,9]", "AveragePool %x { kernel_shape = [4], strides = [2] }");
    one_node("%x: f32[2,3,9,8]", "GlobalAveragePool %x");
    one_node("%x: f32[2,3,9,8]", "GlobalMaxPool %x");
}

static void rows_and_moves(void **state)
{
    (void)state;
    one_node("%x: f32[2,3,100]", "Softmax %x");
    one_node("%x: f32[2,3,5]", "Softmax %x { axis = 1 }");
    one_node("%x: f32[2,3,5]", "LogSoftmax %x { axis = 0 }");
    one_node("%x: f32[2,3,5,4]", "ReduceMean %x, dense<i64[2], [1,2]>");
    one_node("%x: f32[2,3,5,4]", "ReduceSum %x, dense<i64[1], [-1]> { keepdims = 0 }");
    one_node("%x: f32[2,3,5,4]", "ReduceMax %x");
    one_node("%x: f32[2,3,5,4]", "ReduceMin %x, dense<i64[1], [0]>");
    one_node("%x: f32[2,3,5,4]", "ReduceL2 %x, dense<i64[1], [3]>");
    one_node("%x: f32[3,7,70]", "LayerNormalization %x, dense<f32[70], #a>, dense<f32[70], #b>");
    one_node("%x: f32[3,7,6]", "LayerNormalization %x, dense<f32[7,6], #a> { axis = 1, epsilon = 0.01 }");
    one_node("%x: f32[2,3,5,4]", "Transpose %x { perm = [2,0,3,1] }");
    one_node("%x: i64[2,3,5]", "Transpose %x");
    one_node("%x: f32[2,3,5], %b: f32[2,1,5], %z: f32[2,4,5]", "Concat %x, %b, %z { axis = 1 }");
    one_node("%x: f32[9,7]", "Slice %x, dense<i64[2], [-2,1]>, dense<i64[2], [-9,6]>, dense<i64[2], [0,1]>, "
                             "dense<i64[2], [-3,2]>");
    assert_int_equal(check("graph (%x: f32[2,9,3]) {\n"
                           "  %a, %b, %c = Split %x, dense<i64[3], [2,4,3]> { axis = 1 }\n"
                           "  %r = Reshape %b, dense<i64[2], [2,-1]>\n"
                           "  %s = Relu %r\n"
                           "  return %a as \"a\", %s as \"s\", %c as \"c\"\n"
                           "}\n"),
                     3);
}

static void what_it_does_not_take_runs_on_the_cpu(void **state)
{
    (void)state;
    assert_int_equal(check("graph (%x: f32[2,9], %k: bool[]) {\n"
                           "  %a = Relu %x\n"
                           "  %t = CumProd %a, dense<i64[], 1>\n"
                           "  %b = Add %t, %a\n"
                           "  %i = If %k { then_branch = block () { %n = Neg %b\n return %n },\n"
                           "               else_branch = block () { return %t } }\n"
                           "  %s = Mul %i, %a\n"
                           "  return %s as \"s\", %a as \"a\", %x as \"x\"\n"
                           "}\n"),
                     4); /* Neg in its branch, too */
}

/* ---- products with what is behind them, in floats and in halves ---- */

static const char *const precisions[] = { "fp32", "fp16" };

/* A node between two that keep its operand and result on the device. */
static void inner_node(const char *inputs, const char *node, const char *precision, const char *tactic)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "graph (%s) {\n  %%h = Mul %%x, dense<f32[], 0.5>\n  %%m = %s\n"
                   "  %%y = Neg %%m\n  return %%y as \"y\"\n}\n",
                   inputs, node);
    assert_int_equal(check_in(precision, text), 3);
    /* and with the result read by the host */
    (void)snprintf(text, sizeof text,
                   "graph (%s) {\n  %%h = Mul %%x, dense<f32[], 0.5>\n  %%m = %s\n"
                   "  return %%m as \"y\"\n}\n",
                   inputs, node);
    const checked r = check_with(&(check_options){ .precision = precision }, text);
    assert_int_equal(r.steps, 2);
    if (tactic && strncmp(r.last, tactic, strlen(tactic)) != 0 && !ran_by_mma(r.last))
        fail_msg("%s ran %s in %s, expected %s", node, r.last, precision, tactic);
}

static void products_with_constant_weights(void **state)
{
    (void)state;
    static const struct {
        const char *inputs, *node, *tactic;
    } cases[] = {
        { "%x: f32[7,16]", "MatMul %h, dense<f32[16,19], #a>", "tile" },
        { "%x: f32[2,70,24]", "MatMul %h, dense<f32[24,72], #a>", "tile" },
        { "%x: f32[7,15]", "MatMul %h, dense<f32[15,19], #a>", NULL }, /* rows of no whole chunks */
        { "%x: f32[9,64]", "Gemm %h, dense<f32[8,64], #a>, dense<f32[8], #b> { transB = 1, alpha = 0.5, beta = 2.0 }",
          "tile" },
        { "%x: f32[2,3,8,8]", "MatMul %h, %h", NULL },
        { "%x: f32[2,16,9,7]", "Conv %h, dense<f32[24,16,3,3], #a>, dense<f32[24], #b> { pads = [1,1,1,1] }", "tile" },
        { "%x: f32[1,5,9,7]", "Conv %h, dense<f32[13,5,3,2], #a> { pads = [1,0,2,1], strides = [2,1] }", "tile" },
        { "%x: f32[1,12,9,7]", "Conv %h, dense<f32[70,12,3,3], #a> { pads = [1,1,0,2], strides = [1,2] }", "tile" },
        { "%x: f32[2,8,9,9]", "Conv %h, dense<f32[6,8,3,3], #a> { dilations = [2,2], auto_pad = \"SAME_UPPER\" }",
          "tile" },
        { "%x: f32[2,20,9,9]",
          "Conv %h, dense<f32[20,1,3,3], #a>, dense<f32[20], #b> { group = 20, pads = [1,1,1,1], strides = [2,2] }",
          NULL },
        { "%x: f32[1,4,9,9]", "Conv %h, dense<f32[6,2,3,3], #a> { group = 2 }", NULL },
        { "%x: f32[2,3,17]", "Conv %h, dense<f32[5,3,4], #a> { strides = [3], pads = [2,1] }", "tile" },
    };
    for (size_t k = 0; k < GI_COUNT(precisions); k++)
        for (size_t i = 0; i < GI_COUNT(cases); i++)
            inner_node(cases[i].inputs, cases[i].node, precisions[k], cases[i].tactic);
    inner_node("%x: f32[7,18]", "MatMul %h, dense<f32[18,19], #a>", "fp32", NULL);
    inner_node("%x: f32[7,20]", "MatMul %h, dense<f32[20,19], #a>", "fp32", "tile"); /* whole chunks of floats alone */
    /* pairs of pixels: what comes from the host has few channels */
    for (size_t k = 0; k < GI_COUNT(precisions); k++)
        for (int channels = 1; channels < 4; channels++)
            for (int pad = 0; pad < 4; pad++) {
                char text[512];
                (void)snprintf(
                    text, sizeof text,
                    "graph (%%x: f32[2,%d,12,14]) {\n  %%c = Conv %%x, dense<f32[10,%d,5,7], #a>, dense<f32[10], #b> { "
                    "pads = [1,%d,1,%d], strides = [2,2] }\n  return %%c as \"c\"\n}\n",
                    channels, channels, pad, 3 - pad);
                assert_int_equal(check_in(precisions[k], text), 1);
            }
}

/* What follows a product goes into its kernel, and what cannot does not. */
static void what_follows_products(void **state)
{
    (void)state;
    static const char *const behind[] = {
        "  %r = Relu %c\n",
        "  %a = Add %c, %d\n  %r = Relu %a\n",
        "  %s = Sigmoid %c\n  %r = Mul %s, %c\n",
        "  %a = Add %c, dense<f32[24,1,1], #c>\n  %r = Clip %a, dense<f32[], 0.0>, dense<f32[], 6.0>\n",
        "  %a = Mul %d, %c\n  %b = Sub %a, %d\n  %r = Tanh %b\n",
        "  %a = Add %c, %w\n  %r = Relu %a\n", /* along the width: a kernel of its own */
    };
    static const char *const main_of[] = {
        "Conv %h, dense<f32[24,16,3,3], #a>, dense<f32[24], #b> { pads = [1,1,1,1] }",
        "Conv %h, dense<f32[24,16,1,1], #a>",
    };
    for (size_t m = 0; m < GI_COUNT(main_of); m++)
        for (size_t k = 0; k < GI_COUNT(behind) * GI_COUNT(precisions); k++) {
            const size_t i = k / GI_COUNT(precisions);
            char text[2048];
            (void)snprintf(text, sizeof text,
                           "graph (%%x: f32[2,16,6,5], %%w: f32[5]) {\n  %%h = Mul %%x, dense<f32[], 0.5>\n"
                           "  %%d = Conv %%h, dense<f32[24,16,1,1], #d>\n"
                           "  %%y0 = Fusion<conv> { body = block () {\n  %%c = %s\n%s  return %%r } }\n"
                           "  %%y = Add %%y0, %%d\n  return %%y as \"y\"\n}\n",
                           main_of[m], behind[i]);
            assert_int_equal(check_in(precisions[k % GI_COUNT(precisions)], text), 4);
        }
}

static void images_with_channels_last(void **state)
{
    (void)state;
    static const char *const nodes[] = {
        "MaxPool %c { kernel_shape = [3,2], strides = [2,2], pads = [1,0,1,1] }",
        "AveragePool %c { kernel_shape = [3,3], pads = [1,1,1,1] }",
        "AveragePool %c { kernel_shape = [8,6], pads = [1,1,1,1] }",
        "AveragePool %c { kernel_shape = [3,3], pads = [1,1,1,1], count_include_pad = 1 }",
        "GlobalAveragePool %c",
        "GlobalMaxPool %c",
        "ReduceMean %c, dense<i64[2], [2,3]> { keepdims = 0 }",
        "ReduceSum %c, dense<i64[1], [1]>",
        "Softmax %c { axis = 1 }",
        "LayerNormalization %c, dense<f32[6], #c>",
        "Softmax %c",
        "Reshape %c, dense<i64[2], [2,-1]>",
        "Transpose %c { perm = [0,2,3,1] }",
        "Concat %c, %h { axis = 1 }",
        "Slice %c, dense<i64[1], [1]>, dense<i64[1], [9]>, dense<i64[1], [1]>, dense<i64[1], [2]>",
        "Add %c, dense<f32[12,1,1], #c>",
        "Add %c, dense<f32[6], #d>",
        "Mul %c, %h",
    };
    /* 12 channels take the room of 16 */
    for (size_t i = 0; i < GI_COUNT(nodes); i++) {
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "graph (%%x: f32[2,12,7,6]) {\n  %%h = Mul %%x, dense<f32[], 0.5>\n"
                       "  %%c = Conv %%h, dense<f32[12,12,3,3], #a>, dense<f32[12], #b> { pads = [1,1,1,1] }\n"
                       "  %%m = %s\n  %%y = Exp %%m\n  return %%y as \"y\"\n}\n",
                       nodes[i]);
        for (size_t k = 0; k < GI_COUNT(precisions); k++)
            assert_int_equal(check_in(precisions[k], text), 4);
    }
    /* what pads the channels stays zero, whatever is done to it */
    for (size_t k = 0; k < GI_COUNT(precisions); k++)
        assert_int_equal(check_in(precisions[k],
                                  "graph (%x: f32[1,12,4,4]) {\n"
                                  "  %c = Conv %x, dense<f32[12,12,1,1], #a>\n  %e = Exp %c\n  %r = Reciprocal %e\n"
                                  "  %d = Conv %r, dense<f32[5,12,1,1], #b>\n  return %d as \"y\"\n}\n"),
                         4);
}

static int count_files(const char *folder, bool spoil)
{
    DIR *d = opendir(folder);
    int n = 0;
    char path[600];
    for (const struct dirent *f; d && (f = readdir(d));) {
        if (f->d_name[0] == '.')
            continue;
        n++;
        (void)snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
        if (spoil)
            assert_int_equal(truncate(path, 60), 0);
    }
    if (d)
        closedir(d);
    return n;
}

static void programs_are_kept_on_disk(void **state)
{
    (void)state;
    need_a_device();
    char folder[] = "/tmp/gopt-test-XXXXXX", programs[64];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("XDG_CACHE_HOME", folder, 1), 0);
    assert_int_equal(setenv("GOPT_OPENCL_KEEP", "1", 1), 0);
    (void)snprintf(programs, sizeof programs, "%s/gopt/opencl", folder);
    for (int round = 0; round < 3; round++) {
        one_node("%x: f32[3,7]", "Relu %x");
        assert_int_equal(count_files(programs, round == 1), 1); /* what is spoilt is built again */
    }
    assert_int_equal(setenv("GOPT_OPENCL_KEEP", "0", 1), 0);
    one_node("%x: f32[3,7]", "Neg %x");
    assert_int_equal(count_files(programs, false), 1);
    assert_int_equal(setenv("GOPT_OPENCL_KEEP", "1", 1), 0);
    assert_int_equal(setenv("XDG_CACHE_HOME", "/proc/nothing", 1), 0); /* not writable: never an error */
    one_node("%x: f32[3,7]", "Relu %x");
    char command[100];
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(unsetenv("XDG_CACHE_HOME"), 0);
    assert_int_equal(setenv("GOPT_OPENCL_KEEP", "0", 1), 0);
}

static void devices_are_chosen_by_name_or_type(void **state)
{
    (void)state;
    need_a_device();
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g;
    const char text[] = "graph (%x: f32[4]) {\n  %a = Relu %x\n  return %a as \"a\"\n}\n";
    assert_int_equal(gi_parse(cx, "test", text, strlen(text), &g), GOPT_OK);
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    gopt_engine *e;
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl:any" }, &e), GOPT_OK);
    gopt_engine_destroy(e);
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl:no such device" }, &e),
                     GOPT_UNSUPPORTED);
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl", .precision = "int8" }, &e),
                     GOPT_UNSUPPORTED);
    if (!getenv("GOPT_OPENCL_TENSOR")) /* emulated ones would do */
        assert_int_equal(
            gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl:cpu", .precision = "tf32" }, &e),
            GOPT_UNSUPPORTED);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
}

static void normalizations_that_stay(void **state)
{
    (void)state;
    const char *const text =
        "graph (%x: f32[2,3,4,3]) {\n"
        "  %b = BatchNormalization %x, dense<f32[3], [1.0,2.0,3.0]>, dense<f32[3], [0.1,0.2,0.3]>, "
        "dense<f32[3], [0.5,-1.0,0.25]>, dense<f32[3], [1.0,2.0,0.5]>\n"
        "  %a = Add %b, dense<f32[3], [1.0,2.0,3.0]>\n"
        "  %y = Relu %a\n"
        "  return %y\n}\n";
    assert_int_equal(check(text), 3);
    assert_int_equal(check_as_one(text), 1);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointwise_nodes),
        cmocka_unit_test(pointwise_fusions),
        cmocka_unit_test(normalizations_that_stay),
        cmocka_unit_test(products),
        cmocka_unit_test(convolutions_and_windows),
        cmocka_unit_test(rows_and_moves),
        cmocka_unit_test(products_with_constant_weights),
        cmocka_unit_test(what_follows_products),
        cmocka_unit_test(images_with_channels_last),
        cmocka_unit_test(what_it_does_not_take_runs_on_the_cpu),
        cmocka_unit_test(programs_are_kept_on_disk),
        cmocka_unit_test(devices_are_chosen_by_name_or_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
