/* Pointwise operators, reductions and sorting: answers known by hand, contents that flow, what is refused. */
#include "unit/gir.h"

static void broadcasts(void **state)
{
    (void)state;
    evaluates("%y = Add dense<f32[2,3], [1,2,3,4,5,6]>, dense<f32[3], [10,20,30]>", "2x3: 11 22 33 14 25 36");
    evaluates("%y = Sub dense<i64[2,1], [1,2]>, dense<i64[1,3], [1,2,3]>", "2x3: 0 -1 -2 1 0 -1");
    evaluates("%y = Mul dense<f16[2], [1.5,2]>, dense<f16[], [2]>", "2: 3 4");
    evaluates("%y = Mul dense<f32[2,2,2], [1,2,3,4,5,6,7,8]>, dense<f32[2,1], [1,10]>", "2x2x2: 1 2 30 40 5 6 70 80");
    evaluates("%y = Max dense<f32[1], [2]>, dense<f32[3], [1,2,3]>, dense<f32[2,1], [0,9]>", "2x3: 2 2 3 9 9 9");
    evaluates("%y = Where dense<bool[2,1], [1,0]>, dense<i32[2], [1,2]>, dense<i32[], [7]>", "2x2: 1 2 7 7");
    evaluates("%y = Add dense<f32[0,3], []>, dense<f32[1,3], [1,2,3]>", "0x3:");
    infer_refuses("%a: f32[2,3], %b: f32[4]", "%y = Add %a, %b", "does not broadcast");
    infer_refuses("%a: f32[2], %b: i64[2]", "%y = Add %a, %b", "expected f32 elements");
    eval_refuses("%y = Add dense<f32[2], [1,2]>, dense<f32[3], [1,2,3]>", "does not broadcast");
}

static void divides_by_zero(void **state)
{
    (void)state;
    evaluates("%y = Div dense<i32[4], [7,-7,5,-2147483648]>, dense<i32[4], [2,2,0,-1]>", "4: 3 -3 0 -2.14748e+09");
    evaluates("%y = Mod dense<i64[4], [-7,7,5,-9]>, dense<i64[4], [3,-3,0,-1]>", "4: 2 -2 0 0");
    evaluates("%y = Mod dense<i64[2], [-7,7]>, dense<i64[2], [3,-3]> { fmod = 1 }", "2: -1 1");
    evaluates("%y = Div dense<f32[2], [1,-1]>, dense<f32[], [0]>", "2: inf -inf");
    evaluates("%y = Div dense<u8[2], [200,1]>, dense<u8[2], [7,0]>", "2: 28 0");
}

static void keeps_nan(void **state)
{
    (void)state;
    evaluates("%a = Div dense<f32[2], [0,1]>, dense<f32[2], [0,1]>\n%b = IsNaN %a\n%y = Cast %b { to = 6 }", "2: 1 0");
    evaluates("%a = Log dense<f32[1], [-1]>\n%b = Relu %a\n%c = Max %b, dense<f32[1], [1]>\n"
              "%d = Clip %c, dense<f32[], [0]>, dense<f32[], [1]>\n%e = IsNaN %d\n%y = Cast %e { to = 7 }",
              "1: 1");
}

static void one_input(void **state)
{
    (void)state;
    evaluates("%y = Round dense<f32[4], [0.5,1.5,2.5,-0.5]>", "4: 0 2 2 -0");
    evaluates("%y = Softplus dense<f32[3], [0,1000,-1000]>", "3: 0.693147 1000 0");
    evaluates("%y = Sigmoid dense<f32[3], [0,100,-100]>", "3: 0.5 1 0");
    evaluates("%y = Gelu dense<f64[2], [1,-1]>", "2: 0.841345 -0.158655");
    evaluates("%y = Abs dense<i8[2], [-128,-3]>", "2: -128 3");
    evaluates("%y = Pow dense<i32[3], [2,-1,0]>, dense<i32[3], [10,-3,-1]>", "3: 1024 -1 0");
}

static void casts(void **state)
{
    (void)state;
    evaluates("%y = Cast dense<f32[3], [1.9,-1.9,0]> { to = 7 }", "3: 1 -1 0");
    evaluates("%y = Cast dense<f32[2], [500,-500]> { to = 17 }", "2: 448 -448");
    evaluates("%a = Cast dense<f32[3], [0.1,1e10,-2]> { to = 8 }\n%y = Cast %a { to = 1 }", "3: 0.1 1e+10 -2");
    eval_refuses("%a = Cast dense<f32[1], [1]> { to = 99 }\n%y = Abs %a", "no element type");
}

static void bit_casts(void **state)
{
    (void)state;
    evaluates("%y = BitCast dense<f32[2], [1,-0]> { to = 6 }", "2: 1.06535e+09 -2.14748e+09");
    evaluates("%y = BitCast dense<u8[3], [0,1,7]> { to = 9 }", "3: 0 1 1");
    evaluates("%y = BitCast dense<i4[3], [-1,7,-8]> { to = 21 }", "3: 15 7 8");
    evaluates("%y = BitCast dense<f16[1,1], [1]> { to = 16 }", "1x1: 0.0078125");
    infers("%x: f64[n,3]", "%y = BitCast %x { to = 14 }", "c64[n,3]");
    infer_refuses("%x: f32[2]", "%y = BitCast %x { to = 7 }", "expected elements as large as those of i64");
    infer_refuses("%x: f32[2]", "%y = BitCast %x { to = 8 }", "attribute to is 8");
    eval_refuses("%y = BitCast dense<f32[1], [1]> { to = 3 }", "elements of f32 cannot be read as i8");
    eval_refuses("%y = BitCast dense<f32[1], [1]> { to = 99 }", "elements of f32 cannot be read as");
}

/* A shape computed with a dynamic dim reaches the operator that needs it. */
static void contents_flow(void **state)
{
    (void)state;
    infers("%x: f32[n,6]",
           "%s = Shape %x\n%h = Div %s, dense<i64[2], [1,2]>\n%t = Mul %h, dense<i64[], [2]>\n"
           "%u = Add %t, dense<i64[2], [1,0]>\n%y = Expand dense<f32[], [0]>, %u",
           "f32[2*n+1,6]");
    infers("%x: f32[n,3]",
           "%s = Shape %x\n%c = Equal %s, dense<i64[2], [-1,-1]>\n%w = Where %c, dense<i64[2], [1,1]>, %s\n"
           "%y = Expand dense<f32[], [0]>, %w",
           "f32[n,3]");
    infers("%x: f32[n,3,4]", "%s = Shape %x\n%p = ReduceProd %s { keepdims = 1 }\n%y = Expand dense<f32[], [0]>, %p",
           "f32[12*n]");
    infers("%x: f32[n,3]", "%s = Shape %x\n%m = Max %s, dense<i64[], [2]>\n%y = Expand dense<f32[], [0]>, %m",
           "f32[max(n,2),3]");
}

static void reduces(void **state)
{
    (void)state;
    evaluates("%y = ReduceSum dense<f32[2,2,2], [1,2,3,4,5,6,7,8]>, dense<i64[2], [0,2]> { keepdims = 0 }", "2: 14 22");
    evaluates("%y = ReduceMean dense<f32[2,3], [1,2,3,4,5,6]>, dense<i64[1], [0]>", "1x3: 2.5 3.5 4.5");
    evaluates("%y = ReduceMax dense<i8[0,2], []>, dense<i64[1], [0]>", "1x2: -128 -128");
    evaluates("%y = ReduceLogSumExp dense<f32[2], [1000,1000]>", "1: 1000.69");
    evaluates("%y = ReduceSum dense<f32[2], [1,2]> { noop_with_empty_axes = 1 }", "2: 1 2");
    evaluates("%y = ArgMax dense<f32[2,3], [1,3,3,6,5,6]> { axis = 1, keepdims = 0, select_last_index = 1 }", "2: 2 2");
    evaluates("%y = Softmax dense<f32[2,2], [0,1000,0,0]>", "2x2: 0 1 0.5 0.5");
    evaluates("%y = CumSum dense<i32[3], [1,2,3]>, dense<i64[], [0]> { reverse = 1, exclusive = 1 }", "3: 5 3 0");
    infers("%x: f32[n,3,m]", "%y = ReduceSum %x, dense<i64[1], [-1]> { keepdims = 0 }", "f32[n,3]");
    infer_refuses("%x: f32[2,3]", "%y = ReduceSum %x, dense<i64[1], [2]>", "no axis 2");
}

static void sorts(void **state)
{
    (void)state;
    evaluates("%y, %i = TopK dense<f32[2,3], [1,3,2,9,7,8]>, dense<i64[1], [2]>", "2x2: 3 2 9 8");
    evaluates("%v, %y = TopK dense<i64[4], [5,1,5,0]>, dense<i64[1], [3]> { largest = 0 }", "3: 3 1 0");
    evaluates("%y = NonZero dense<f32[2,2], [1,0,1,1]>", "2x3: 0 1 1 0 0 1");
    evaluates("%y = Unique dense<f32[5], [2,1,1,3,2]>", "3: 1 2 3");
    evaluates("%a, %b, %y = Unique dense<f32[5], [2,1,1,3,2]> { sorted = 0 }", "5: 0 1 1 2 0");
    /* where much is asked for all are sorted: the first are those that a heap finds */
    for (int k = 0; k < 8; k++) {
        static const char *const kinds[] = { "Identity %s", "Cast %s { to = 7 }", "Cast %s { to = 13 }", "Log %s" };
        char body[800];
        snprintf(body, sizeof body,
                 "%%r = Range dense<f32[], [0]>, dense<f32[], [400]>, dense<f32[], [1]>\n"
                 "%%m = Mul %%r, dense<f32[], [7]>\n%%s = Mod %%m, dense<f32[], [90]> { fmod = 1 }\n%%x = %s\n"
                 "%%v, %%i = TopK %%x, dense<i64[1], [400]> { largest = %d }\n"
                 "%%w, %%j = TopK %%x, dense<i64[1], [9]> { largest = %d }\n"
                 "%%h = Slice %%i, dense<i64[1], [0]>, dense<i64[1], [9]>\n%%d = Sub %%h, %%j\n"
                 "%%p = Abs %%d\n%%y = ReduceMax %%p { keepdims = 0 }",
                 kinds[k / 2], k % 2, k % 2);
        evaluates(body, ": 0");
    }
    evaluates("%x = Sqrt dense<f32[5], [4,-1,0,-0,1]>\n%e = Expand dense<f32[1], [0.5]>, dense<i64[1], [300]>\n"
              "%c = Concat %x, %e { axis = 0 }\n%v, %i = TopK %c, dense<i64[1], [304]>\n"
              "%y = Gather %i, dense<i64[6], [0,1,2,3,302,303]>",
              "6: 1 0 4 5 304 2");
    eval_refuses("%y, %i = TopK dense<f32[2], [1,2]>, dense<i64[1], [3]>", "there are 2 elements");
}

/* Declarations are refined, and contradicted ones are told. */
static void merges_declarations(void **state)
{
    (void)state;
    gopt_graph *g = parse("%x: f32[2,3]", "%y = Neg %x");
    gi_value *y = gopt_graph_get_output(g, 0);
    const gi_dim *dims[] = { gi_dim_const(g->dims, 2), gi_dim_const(g->dims, 4) };
    gi_value_set_type(y, gi_type_tensor(g->types, GOPT_F32, 2, dims));
    says(gi_infer_graph(g), "is declared f32[2,4], but the operator gives f32[2,3]");
    gopt_graph_destroy(g);
    infer_refuses("%x: bool[2]", "%y = Neg %x", "does not take");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broadcasts),          cmocka_unit_test(divides_by_zero), cmocka_unit_test(keeps_nan),
        cmocka_unit_test(one_input),           cmocka_unit_test(casts),           cmocka_unit_test(bit_casts),
        cmocka_unit_test(contents_flow),       cmocka_unit_test(reduces),         cmocka_unit_test(sorts),
        cmocka_unit_test(merges_declarations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
