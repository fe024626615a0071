/* The opencl backend's kernels that find what they read by arithmetic on coordinates: picking and putting by index,
 * resizing, recurrent networks. */
#include "unit/opencl.h"

/* What a test adds, until check_all: in fp32, the same with values of type f16, and in fp16. */
static batch in_floats, with_f16, in_halves;

/* Before each test: one that failed has left what it added. */
static int nothing(void **state)
{
    (void)state;
    in_floats = with_f16 = (batch){ .precision = "fp32" };
    in_halves = (batch){ .precision = "fp16" };
    return 0;
}

/* One node that runs on the device; its results are named where there are several. */
static void node(const char *inputs, const char *text)
{
    char line[2048];
    const bool named = *text == '%';
    (void)snprintf(line, sizeof line, "  %s%s", named ? "" : "%y = ", text);
    batch_add(strstr(inputs, "f16") || strstr(text, "f16") ? &with_f16 : &in_floats, inputs, line);
}

/* Behind and before nodes that keep halves on the device: %h and what comes of the node are halves, %i an integer input. */
static void half_node(const char *inputs, const char *text)
{
    char lines[2048];
    (void)snprintf(lines, sizeof lines, "  %%h = Mul %%x, dense<f32[], 0.5>\n  %%y = %s\n  %%z = Exp %%y", text);
    batch_add(&in_halves, inputs, lines);
}

static void check_all(void)
{
    batch_check(&in_floats);
    batch_check(&with_f16);
    batch_check(&in_halves);
}

static void picking(void **state)
{
    (void)state;
    node("%x: f32[10,7], %i: i64[2,3]", "Gather %x, %i");
    node("%x: f32[3,10,5], %i: i32[]", "Gather %x, %i { axis = 1 }");
    node("%x: f16[3,10], %i: i64[4]", "Gather %x, %i { axis = -1 }");
    node("%x: bool[10,2], %i: i64[4]", "Gather %x, %i");
    node("%x: f32[3,5,4]", "Gather %x, dense<i64[6], [4,-1,0,-5,2,2]> { axis = 1 }");
    node("%x: f32[3,5,4]", "Gather %x, dense<i64[], 1> { axis = 0 }");
    node("%x: f32[12,5], %i: i64[4,5]", "GatherElements %x, %i");
    node("%x: f32[4,12], %i: i64[4,3]", "GatherElements %x, %i { axis = 1 }");
    node("%x: f32[12,11,5], %i: i64[3,2]", "GatherND %x, %i");
    node("%x: f32[3,10,5], %i: i64[3,2,1]", "GatherND %x, %i { batch_dims = 1 }");
    node("%x: f32[3,4]", "GatherND %x, dense<i64[2,2], [-1,1,0,-4]>");
    node("%i: i64[3,2]", "OneHot %i, dense<i64[], 12>, dense<f32[2], [0.5,2.0]>");
    node("%i: i32[5]", "OneHot %i, dense<i64[], 10>, dense<i64[2], [3,4]> { axis = 0 }");
    half_node("%x: f32[10,7], %i: i64[2,3]", "Gather %h, %i");
    half_node("%x: f32[12,5], %i: i64[4,5]", "GatherElements %h, %i");
    check_all();
}

static void putting(void **state)
{
    (void)state;
    node("%x: f32[5,4], %u: f32[3,4]", "ScatterElements %x, dense<i64[3,4], [0,1,2,3,1,2,3,-1,2,3,0,0]>, %u");
    node("%x: f32[3,6], %u: f32[3,2]", "ScatterElements %x, dense<i64[3,2], [0,5,-2,2,3,1]>, %u { axis = 1 }");
    node("%x: f32[5,4,2], %u: f32[3,4,2]", "ScatterND %x, dense<i64[3,1], [4,0,-3]>, %u");
    node("%x: i64[5,4], %u: i64[2]", "ScatterND %x, dense<i64[2,2], [1,3,4,-4]>, %u");
    half_node("%x: f32[5,4]", "ScatterND %h, dense<i64[3,1], [4,0,-3]>, dense<f32[3,4], #e>");
    check_all();
}

/* What an index that points outside names is nothing: the run goes on. */
static void indices_that_point_outside(void **state)
{
    gopt_tensor *x, *i;
    (void)state;
    net n =
        open_net("opencl", NULL, "graph (%x: f32[3], %i: i64[4]) {\n  %y = Gather %x, %i\n  return %y as \"y\"\n}\n");
    assert_int_equal(gopt_tensor_create(n.cx, GOPT_F32, 1, (const int64_t[]){ 3 }, &x), GOPT_OK);
    assert_int_equal(gopt_tensor_create(n.cx, GOPT_I64, 1, (const int64_t[]){ 4 }, &i), GOPT_OK);
    memcpy(x->data, (const float[]){ 1, 2, 3 }, 3 * sizeof(float));
    memcpy(i->data, (const int64_t[]){ 2, 3, -3, INT64_MIN }, 4 * sizeof(int64_t));
    set_input(&n, 0, x);
    set_input(&n, 1, i);
    assert_int_equal(gopt_run(n.rc), GOPT_OK);
    assert_memory_equal(gopt_run_context_output(n.rc, 0)->data, ((const float[]){ 3, 0, 1, 0 }), 4 * sizeof(float));
    close_net(&n);
}

static void resizing(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "_, dense<f32[4], [1.0,1.0,2.0,2.0]>",
        "_, _, dense<i64[4], [2,3,7,11]> { mode = \"linear\" }",
        "_, dense<f32[4], [1.0,1.0,0.6,1.7]> { mode = \"cubic\", exclude_outside = 1 }",
        "_, _, dense<i64[4], [2,3,3,2]> { mode = \"linear\", antialias = 1 }",
        "_, dense<f32[4], [1.0,1.0,3.0,1.0]> { mode = \"linear\", coordinate_transformation_mode = \"align_corners\" }",
        "_, dense<f32[4], [1.0,1.0,1.5,2.5]> { nearest_mode = \"floor\", coordinate_transformation_mode = "
        "\"asymmetric\" }",
        "dense<f32[8], [0.0,0.0,0.4,0.3,1.0,1.0,1.2,0.8]>, _, dense<i64[4], [2,3,4,6]> { mode = \"linear\", "
        "coordinate_transformation_mode = \"tf_crop_and_resize\", extrapolation_value = 2.5 }",
    };
    for (size_t i = 0; i < GI_COUNT(ways); i++) {
        char text[512];
        (void)snprintf(text, sizeof text, "Resize %%x, %s", ways[i]);
        node("%x: f32[2,3,5,4]", text);
        (void)snprintf(text, sizeof text, "Resize %%h, %s", ways[i]);
        half_node("%x: f32[2,3,5,4]", text);
    }
    node("%x: u8[1,1,3,4]", "Resize %x, _, dense<f32[4], [1.0,1.0,2.0,1.5]>");
    node("%x: f32[5]", "Resize %x, _, dense<f32[1], [2.0]> { mode = \"linear\" }");
    check_all();
}

static void recurrent_networks(void **state)
{
    (void)state;
    node("%x: f32[5,2,3]",
         "LSTM %x, dense<f32[1,20,3], #a>, dense<f32[1,20,5], #b>, dense<f32[1,40], #c> { hidden_size = 5 }");
    node("%x: f32[5,2,3], %h: f32[2,2,5], %c: f32[2,2,5]",
         "LSTM %x, dense<f32[2,20,3], #a>, dense<f32[2,20,5], #b>, dense<f32[2,40], #c>, dense<i32[2], [3,5]>, %h, %c, "
         "dense<f32[2,15], #d> { hidden_size = 5, direction = \"bidirectional\" }");
    node("%x: f32[2,5,3], %w: f32[1,20,3], %r: f32[1,20,5]",
         "LSTM %x, %w, %r { hidden_size = 5, layout = 1, direction = \"reverse\", input_forget = 1, clip = 0.7, "
         "activations = [\"HardSigmoid\",\"Softsign\",\"ScaledTanh\"], activation_alpha = [0.3,1.5], activation_beta = "
         "[0.4,0.7] }");
    for (int linear = 0; linear < 2; linear++) {
        char text[512];
        (void)snprintf(
            text, sizeof text,
            "GRU %%x, dense<f32[2,15,3], #a>, dense<f32[2,15,5], #b>, dense<f32[2,30], #c> { hidden_size = 5, "
            "direction = \"bidirectional\", linear_before_reset = %d }",
            linear);
        node("%x: f32[6,3,3]", text);
    }
    node("%x: f32[4,2,3], %h: f32[1,2,200]",
         "RNN %x, dense<f32[1,200,3], #a>, dense<f32[1,200,200], #b>, _, _, %h { hidden_size = 200 }");
    node("%x: f32[4,2,3]", "RNN %x, dense<f32[2,6,3], #a>, dense<f32[2,6,6], #b> { hidden_size = 6, direction = "
                           "\"bidirectional\", activations = [\"Relu\",\"LeakyRelu\"], activation_alpha = [0.2] }");
    half_node("%x: f32[5,2,3]",
              "LSTM %h, dense<f32[1,20,3], #a>, dense<f32[1,20,5], #b>, dense<f32[1,40], #c> { hidden_size = 5 }");
    check_all();
}

static void arranging(void **state)
{
    (void)state;
    static const char *const halves[] = { "Pad %h, dense<i64[4], [1,2,0,3]>", "Expand %h, dense<i64[3], [2,3,4]>",
                                          "Tile %h, dense<i64[2], [2,3]>", "Trilu %h { upper = 0 }" };
    node("%x: f32[3,1]", "Expand %x, dense<i64[3], [2,1,4]>");
    node("%x: bool[3,1]", "Expand %x, dense<i64[2], [3,5]>");
    node("%x: i64[2,3]", "Tile %x, dense<i64[2], [2,3]>");
    node("%x: f32[3,4]", "Pad %x, dense<i64[4], [1,2,0,3]>, dense<f32[], 2.5>");
    node("%x: i32[3,4]", "Pad %x, dense<i64[2], [-1,2]>, _, dense<i64[1], [-1]>");
    node("%x: f16[3,4], %v: f16[]", "Pad %x, dense<i64[4], [0,1,2,0]>, %v");
    node("%x: f32[3,4]", "Pad %x, dense<i64[4], [5,2,4,3]> { mode = \"reflect\" }");
    node("%x: f32[3,4]", "Pad %x, dense<i64[4], [2,-1,-1,3]> { mode = \"edge\" }");
    node("%x: f32[3,4]", "Pad %x, dense<i64[4], [4,1,5,6]> { mode = \"wrap\" }");
    node("%x: f32[1,3]", "Pad %x, dense<i64[4], [2,1,1,1]> { mode = \"reflect\" }");
    node("%x: f32[2,12,3,5]", "DepthToSpace %x { blocksize = 2 }");
    node("%x: f32[2,12,3,5]", "DepthToSpace %x { blocksize = 2, mode = \"CRD\" }");
    node("%x: f32[2,3,4,6]", "SpaceToDepth %x { blocksize = 2 }");
    node("%x: f32[2,4,5]", "Trilu %x, dense<i64[], -1>");
    node("%x: i64[4,5]", "Trilu %x, dense<i64[], 2> { upper = 0 }");
    node("%x: f32[4,3,2]", "ReverseSequence %x, dense<i64[3], [4,1,2]>");
    node("%x: f32[3,4,2]", "ReverseSequence %x, dense<i64[3], [4,1,2]> { batch_axis = 0, time_axis = 1 }");
    for (size_t i = 0; i < GI_COUNT(halves); i++)
        half_node("%x: f32[3,4]", halves[i]);
    check_all();
}

static void sums_of_any_kind(void **state)
{
    (void)state;
    node("%x: f32[2,4,3,5]", "ConvTranspose %x, dense<f32[4,3,2,3], #a>, dense<f32[3], #b> { strides = [2,3] }");
    node("%x: f32[1,4,3,5]",
         "ConvTranspose %x, dense<f32[4,3,3,3], #a> { group = 2, strides = [2,1], pads = [1,0,1,2], dilations = [1,2], "
         "output_padding = [1,0] }");
    node("%x: f32[1,4,5]", "ConvTranspose %x, dense<f32[4,3,3], #a> { strides = [2], auto_pad = \"SAME_UPPER\" }");
    node("%x: f32[1,4,5]", "ConvTranspose %x, dense<f32[4,3,3], #a> { strides = [2], output_shape = [14] }");
    node(
        "%x: f32[2,4,3,5,4]",
        "Conv %x, dense<f32[6,2,2,3,2], #a>, dense<f32[6], #b> { group = 2, strides = [1,2,1], pads = [1,1,0,0,1,1] }");
    node("%a: f32[5], %b: f32[2,5,3]", "MatMul %a, %b");
    node("%a: f32[2,3,5], %b: f32[5]", "MatMul %a, %b");
    node("%a: f32[5], %b: f32[5]", "MatMul %a, %b");
    node("%a: i64[3,2,5], %b: i64[5,4]", "MatMul %a, %b");
    node("%a: u8[3,5], %b: i8[5,4]", "MatMulInteger %a, %b, dense<u8[], 3>, dense<i8[4], [1,-2,3,0]>");
    node("%a: u8[2,3,5], %b: u8[5,4]", "MatMulInteger %a, %b, dense<u8[3], [1,2,3]>");
    half_node("%x: f32[1,4,3,5]", "ConvTranspose %h, dense<f32[4,3,2,2], #a> { strides = [2,2] }");
    check_all();
}

static void pools_of_any_kind(void **state)
{
    (void)state;
    for (int column = 0; column < 2; column++) {
        char text[256];
        (void)snprintf(
            text, sizeof text,
            "%%y, %%i = MaxPool %%x { kernel_shape = [3,2], strides = [2,1], pads = [1,0,1,1], storage_order = %d }",
            column);
        node("%x: f32[2,3,5,6]", text);
    }
    node("%x: f32[1,2,4,5,6]", "MaxPool %x { kernel_shape = [2,3,2], strides = [1,2,2], pads = [1,1,0,0,1,1] }");
    node("%x: u8[1,2,7]", "MaxPool %x { kernel_shape = [3], strides = [2] }");
    node("%x: f32[1,2,4,5,6]", "AveragePool %x { kernel_shape = [2,3,2], strides = [1,2,2], pads = [1,1,0,0,1,1] }");
    node("%x: f32[1,2,4,5,6]", "AveragePool %x { kernel_shape = [2,3,2], strides = [2,2,2], pads = [1,1,0,0,1,1], "
                               "count_include_pad = 1, ceil_mode = 1 }");
    node("%x: f32[2,3,5,6]", "LpPool %x { kernel_shape = [2,3], strides = [2,2], pads = [1,1,0,1], p = 3 }");
    check_all();
}

static void along_axes(void **state)
{
    (void)state;
    static const char *const reductions[] = {
        "Sum", "Mean", "Prod", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp"
    };
    for (size_t i = 0; i < GI_COUNT(reductions); i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "Reduce%s %%x, dense<i64[2], [0,-1]> { keepdims = %d }", reductions[i],
                       i % 2 == 0);
        node("%x: f32[3,2,4]", text);
    }
    node("%x: i64[3,4]", "ReduceSum %x, dense<i64[1], [1]>");
    node("%x: i32[3,4]", "ReduceProd %x");
    node("%x: u8[3,4]", "ReduceMax %x, dense<i64[1], [0]> { keepdims = 0 }");
    node("%x: f32[3,0]", "ReduceSum %x, dense<i64[1], [1]>");
    node("%x: f32[3,4]", "ReduceMax %x { noop_with_empty_axes = 1 }");
    node("%x: f32[3,7,2]", "ArgMax %x { axis = 1 }");
    node("%x: i64[3,70]", "ArgMin %x { axis = -1, keepdims = 0, select_last_index = 1 }");
    node("%x: f32[3,7,2]", "CumSum %x, dense<i64[], 1>");
    node("%x: i64[9]", "CumSum %x, dense<i64[], 0> { reverse = 1, exclusive = 1 }");
    node("%x: f32[3,70]", "CumSum %x, dense<i32[], -1> { exclusive = 1 }");
    half_node("%x: f32[3,7,2]", "CumSum %h, dense<i64[], 1>");
    check_all();
}

/* Both results, sorted: of equal elements the first comes first, and there are many of them. */
static void the_greatest(void **state)
{
    (void)state;
    node("%x: i64[3,40,2]", "%v, %i = TopK %x, dense<i64[1], [13]> { axis = 1 }");
    node("%x: i64[3,40,2]", "%v, %i = TopK %x, dense<i64[1], [13]> { axis = 1, largest = 0 }");
    node("%x: f32[300]", "%v, %i = TopK %x, dense<i64[1], [300]>");
    check_all();
}

static void sampling_grids(void **state)
{
    static const char *const modes[] = { "nearest", "linear", "cubic" }, *const pads[] = { "zeros", "border",
                                                                                           "reflection" };
    (void)state;
    for (size_t m = 0; m < GI_COUNT(modes); m++)
        for (size_t p = 0; p < GI_COUNT(pads); p++)
            for (int align = 0; align < 2; align++) {
                char text[256];
                (void)snprintf(text, sizeof text,
                               "GridSample %%x, %%g { mode = \"%s\", padding_mode = \"%s\", align_corners = %d }",
                               modes[m], pads[p], align);
                node("%x: f32[2,3,5,7], %g: f32[2,4,3,2]", text);
            }
    node("%x: f32[1,2,3,4,5], %g: f32[1,2,3,4,3]", "GridSample %x, %g { mode = \"linear\" }");
    node("%x: f32[2,2,9], %g: f32[2,11,1]", "GridSample %x, %g { mode = \"cubic\", padding_mode = \"reflection\" }");
    node("%x: f32[1,1,1,1], %g: f32[1,2,2,2]",
         "GridSample %x, %g { padding_mode = \"reflection\", align_corners = 1 }");
    node("%x: f32[1,1,2,2]",
         "GridSample %x, dense<f32[1,1,4,2], [1e30,0.0,-1e30,0.5,nan,0.0,inf,-inf]> { padding_mode = \"border\" }");
    half_node("%x: f32[2,3,5,7], %g: f32[2,4,3,2]", "GridSample %h, %g");
    half_node("%x: f32[2,3,5,7]", "GridSample %h, dense<f32[2,6,5,2], #67> { mode = \"linear\", align_corners = 1 }");
    check_all();
}

static void integer_convolutions(void **state)
{
    (void)state;
    node("%x: u8[2,3,7,6], %w: i8[5,3,3,2]",
         "ConvInteger %x, %w, dense<u8[], 3>, dense<i8[5], [1,-2,3,0,5]> { pads = [1,0,2,1], "
         "strides = [2,1] }");
    node("%x: i8[1,4,9], %w: i8[6,2,3]", "ConvInteger %x, %w { group = 2, dilations = [2] }");
    node("%x: u8[1,2,3,4,5], %w: u8[2,2,2,2,2]", "ConvInteger %x, %w, dense<u8[1], [7]>");
    node(
        "%x: u8[2,3,7,6]",
        "QLinearConv %x, dense<f32[], 0.02>, dense<u8[], 4>, dense<i8[5,3,3,3], #a>, dense<f32[5], "
        "[0.01,0.02,0.5,0.003,0.04]>, "
        "dense<i8[5], [0,1,2,-3,4]>, dense<f32[], 0.11>, dense<u8[], 120>, dense<i32[5], [100,-200,3000,0,5]> { pads = "
        "[1,1,1,1] }");
    node("%x: i8[1,6,5,5]", "QLinearConv %x, dense<f32[1], [0.03]>, dense<i8[1], [1]>, dense<i8[6,1,3,3], #a>, "
                            "dense<f32[], 0.01>, dense<i8[], 0>, "
                            "dense<f32[], 0.0213>, dense<i8[], -5> { group = 6, strides = [2,2] }");
    node("%x: u8[4,6]", "QLinearMatMul %x, dense<f32[], 0.03>, dense<u8[], 2>, dense<u8[6,5], #b>, dense<f32[], "
                        "0.017>, dense<u8[], 120>, "
                        "dense<f32[], 0.05>, dense<u8[], 90>");
    node("%x: i8[2,3,4,6]",
         "QLinearMatMul %x, dense<f32[4], [0.03,0.01,0.2,0.05]>, dense<i8[4], [2,1,0,-1]>, "
         "dense<i8[6,5], #b>, dense<f32[5], "
         "[0.1,0.2,0.03,0.04,0.5]>, dense<i8[5], [1,2,3,-4,5]>, dense<f32[], 0.0713>, dense<i8[], 3>");
    node("%x: u8[3,6]",
         "QLinearMatMul %x, dense<f16[], 0.03>, dense<u8[], 2>, dense<u8[6,5], #b>, dense<f16[], 0.017>, "
         "dense<u8[], 120>, dense<f16[], 0.05>, dense<u8[], 90>");
    check_all();
}

static void casting_floats(void **state)
{
    static const char *const to[] = { "i8", "u8", "i16", "u16", "u32", "u64", "i32", "i64" };
    (void)state;
    for (size_t i = 0; i < GI_COUNT(to); i++) {
        gopt_dtype t = GOPT_UNDEFINED;
        for (int k = 1; k < GOPT_DTYPE_COUNT; k++)
            if (!strcmp(gopt_dtype_name((gopt_dtype)k), to[i]))
                t = (gopt_dtype)k;
        char text[512];
        (void)snprintf(text, sizeof text,
                       "%%m = Mul %%x, dense<f32[12], [1.0,-50.0,300.0,-3e5,1e10,-1e10,1e19,-1e20,nan,inf,-inf,0.3]>\n"
                       "  %%y = Cast %%m { to = %d }",
                       (int)t);
        node("%x: f32[12]", text);
        (void)snprintf(text, sizeof text, "Cast %%x { to = %d }", (int)t);
        node("%x: f16[9]", text);
    }
    check_all();
}

static void quantizing(void **state)
{
    (void)state;
    node("%x: f32[3,40]", "QuantizeLinear %x, dense<f32[], 0.02>, dense<u8[], 100>");
    node("%x: f32[3,4]", "QuantizeLinear %x, dense<f32[4], [0.5,0.25,0.01,3.0]>, dense<i8[4], [1,-2,100,0]>");
    node("%x: f32[3,4]", "QuantizeLinear %x, dense<f32[3], [0.5,0.0001,2.0]>, dense<i16[3], [1,-2,0]> { axis = 0 }");
    node("%x: f32[3,4]", "QuantizeLinear %x, dense<f32[3,2], [0.5,0.25,0.01,0.02,3.0,0.1]> { block_size = 2 }");
    node("%x: u8[3,4]", "DequantizeLinear %x, dense<f32[], 0.02>, dense<u8[], 7>");
    node("%x: i8[3,4]", "DequantizeLinear %x, dense<f32[3], [0.5,0.25,2.0]> { axis = 0 }");
    node("%x: i32[3,4]", "DequantizeLinear %x, dense<f32[4], [0.5,0.25,2.0,1.0]>");
    node("%x: u16[3,4]", "DequantizeLinear %x, dense<f32[3,2], [0.5,0.25,0.01,0.02,3.0,0.1]>, "
                         "dense<u16[3,2], [1,2,3,4,5,6]> { block_size = 2 }");
    node("%x: f32[7,90]", "%y, %s, %z = DynamicQuantizeLinear %x");
    check_all();
}

/* Values of type f16 lie as halves and are computed in floats, in networks exported so. */
static void values_in_f16(void **state)
{
    (void)state;
    const char *const text = "graph (%x: f16[1,4,6,6]) {\n"
                             "  %c = Conv %x, dense<f16[8,4,3,3], #a>, dense<f16[8], #b> { pads = [1,1,1,1] }\n"
                             "  %r = Relu %c\n"
                             "  %s = Sigmoid %r\n"
                             "  %p = MaxPool %s { kernel_shape = [2,2], strides = [2,2] }\n"
                             "  %f = Reshape %p, dense<i64[2], [9,8]>\n"
                             "  %n = LayerNormalization %f, dense<f16[8], #c>, dense<f16[8], #d>\n"
                             "  %m = MatMul %n, dense<f16[8,10], #e>\n"
                             "  %o = Softmax %m\n"
                             "  %y = Cast %o { to = 1 }\n"
                             "  %z = Cast %y { to = 10 }\n"
                             "  return %y as \"y\", %z as \"z\"\n}\n";
    for (int half = 0; half < 2; half++)
        assert_int_equal(check_in(half ? "fp16" : "fp32", text), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(picking, nothing),
        cmocka_unit_test_setup(putting, nothing),
        cmocka_unit_test_setup(resizing, nothing),
        cmocka_unit_test(indices_that_point_outside),
        cmocka_unit_test_setup(recurrent_networks, nothing),
        cmocka_unit_test_setup(arranging, nothing),
        cmocka_unit_test_setup(sums_of_any_kind, nothing),
        cmocka_unit_test_setup(along_axes, nothing),
        cmocka_unit_test_setup(the_greatest, nothing),
        cmocka_unit_test(values_in_f16),
        cmocka_unit_test_setup(pools_of_any_kind, nothing),
        cmocka_unit_test_setup(quantizing, nothing),
        cmocka_unit_test_setup(sampling_grids, nothing),
        cmocka_unit_test_setup(integer_convolutions, nothing),
        cmocka_unit_test_setup(casting_floats, nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
