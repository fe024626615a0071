/* Evaluation of moves and indices: values by hand, packed types, strings, and indices that lie outside. */
#include "unit/gir.h"

/* Runs a body without inputs, and without inference before it; the caller owns *y. */
static void run(const char *body, gopt_tensor **y)
{
    gopt_graph *g = parse("", body);
    *y = NULL;
    assert_int_equal(gi_eval_graph(g, NULL, y), GOPT_OK);
    gopt_graph_destroy(g);
}

#define X6 "dense<f32[2,3], [1,2,3,4,5,6]>"

static void transposes(void **state)
{
    (void)state;
    evaluates("%y = Transpose " X6, "3x2: 1 4 2 5 3 6");
    evaluates("%y = Transpose dense<u4[2,3], [1,2,3,4,5,6]>", "3x2: 1 4 2 5 3 6");
    evaluates("%y = Transpose dense<i64[1,2,2], [1,2,3,4]> { perm = [2,0,1] }", "2x1x2: 1 3 2 4");
}

static void slices(void **state)
{
    (void)state;
    evaluates("%y = Slice " X6 ", dense<i64[1], [-1]>, dense<i64[1], [-9223372036854775807]>, dense<i64[1], [1]>, "
              "dense<i64[1], [-2]>",
              "2x2: 3 1 6 4");
    evaluates("%y = Slice " X6 ", dense<i64[1], [5]>, dense<i64[1], [9]>, dense<i64[1], [1]>", "2x0:");
    evaluates("%y = Slice " X6 ", dense<i32[2], [1,-2]>, dense<i32[2], [99,99]>", "1x2: 5 6");
}

static void joins_and_parts(void **state)
{
    (void)state;
    evaluates("%y = Concat " X6 ", dense<f32[2,1], [7,8]> { axis = -1 }", "2x4: 1 2 3 7 4 5 6 8");
    evaluates("%y = Concat dense<i4[3], [1,-2,3]>, dense<i4[1], [-4]> { axis = 0 }", "4: 1 -2 3 -4");
    evaluates("%a, %y = Split " X6 " { axis = 1, num_outputs = 2 }", "2x1: 3 6");
    evaluates("%y = Tile dense<f32[1,2], [1,2]>, dense<i64[2], [2,2]>", "2x4: 1 2 1 2 1 2 1 2");
    evaluates("%y = Expand dense<f32[2,1], [1,2]>, dense<i64[3], [2,1,3]>", "2x2x3: 1 1 1 2 2 2 1 1 1 2 2 2");
}

static void pads(void **state)
{
    (void)state;
    evaluates("%y = Pad dense<f32[3], [1,2,3]>, dense<i64[2], [2,3]> { mode = \"reflect\" }", "8: 3 2 1 2 3 2 1 2");
    evaluates("%y = Pad dense<f32[3], [1,2,3]>, dense<i64[2], [2,1]> { mode = \"edge\" }", "6: 1 1 1 2 3 3");
    evaluates("%y = Pad dense<f32[3], [1,2,3]>, dense<i64[2], [2,4]> { mode = \"wrap\" }", "9: 2 3 1 2 3 1 2 3 1");
    evaluates("%y = Pad " X6 ", dense<i64[2], [1,-2]>, dense<f32[], 9>, dense<i64[1], [1]>", "2x2: 9 1 9 4");
    evaluates("%y = Pad " X6 ", dense<i64[4], [1,0,0,1]> { mode = \"reflect\" }", "3x4: 4 5 6 5 1 2 3 2 4 5 6 5");
    eval_refuses("%y = Pad dense<f32[3], [1,2,3]>, dense<i64[2], [-2,-2]>", "holds -2 and -2 for axis 0 of 3");
    evaluates("%y = CenterCropPad dense<f32[1,5], [1,2,3,4,5]>, dense<i64[2], [2,2]>", "2x2: 2 3 0 0");
}

static void indices(void **state)
{
    (void)state;
    evaluates("%y = Gather " X6 ", dense<i64[2], [-1,0]> { axis = 1 }", "2x2: 3 1 6 4");
    evaluates("%y = Gather " X6 ", dense<i32[], -1>", "3: 4 5 6");
    eval_refuses("%y = Gather " X6 ", dense<i64[1], [2]>", "input indices: holds 2 at 0, expected -2 to 1");
    eval_refuses("%y = GatherElements " X6 ", dense<i64[1,1], [-3]>", "holds -3");
    eval_refuses("%y = GatherND " X6 ", dense<i64[1,2], [0,7]>", "holds 7 at 1, expected -3 to 2");
    eval_refuses("%y = ScatterND " X6 ", dense<i64[1,2], [0,7]>, dense<f32[1], [0]>", "holds 7 at 1");
    eval_refuses("%y = ScatterElements " X6 ", dense<i64[1,1], [2]>, dense<f32[1,1], [0]>", "holds 2 at 0");
    evaluates("%y = ScatterElements " X6
              ", dense<i64[1,3], [1,-1,1]>, dense<f32[1,3], [10,20,30]> { reduction = \"add\" }",
              "2x3: 1 2 3 14 25 36");
    evaluates("%y = ScatterND " X6 ", dense<i64[2,1], [0,0]>, dense<f32[2,3], [9,0,9,0,9,2]> { reduction = \"max\" }",
              "2x3: 9 9 9 4 5 6");
    evaluates("%y = OneHot dense<i64[3], [0,-1,7]>, dense<i64[], 3>, dense<f32[2], [5,6]>", "3x3: 6 5 5 5 5 6 5 5 5");
    evaluates("%y = Compress " X6 ", dense<bool[2], [0,1]> { axis = 1 }", "2x1: 2 5");
    evaluates("%y = Compress " X6 ", dense<bool[4], [0,1,0,1]>", "2: 2 4");
}

static void shapes(void **state)
{
    (void)state;
    evaluates("%y = Reshape " X6 ", dense<i64[3], [0,1,-1]>", "2x1x3: 1 2 3 4 5 6");
    eval_refuses("%y = Reshape " X6 ", dense<i64[2], [4,-1]>", "has 6 elements, expected a multiple of 4");
    eval_refuses("%y = Reshape " X6 ", dense<i64[2], [9223372036854775807,9223372036854775807]>", "more elements than");
    evaluates("%y = Range dense<i64[], 9>, dense<i64[], 0>, dense<i64[], -4>", "3: 9 5 1");
    eval_refuses("%y = Range dense<f32[], 0>, dense<f32[], 1>, dense<f32[], 0>", "no finite number of steps");
    evaluates("%y = ConstantOfShape dense<i64[2], [2,2]> { value = dense<i32[1], [7]> }", "2x2: 7 7 7 7");
    eval_refuses("%y = ConstantOfShape dense<i64[2], [2,-2]>", "holds -2");
    evaluates("%y = EyeLike " X6 " { k = 1 }", "2x3: 0 1 0 0 0 1");
    evaluates("%y = Trilu dense<i64[2,2], [1,2,3,4]>, dense<i64[], -1> { upper = 0 }", "2x2: 0 0 3 0");
    evaluates("%y = ReverseSequence dense<f32[3,2], [1,2,3,4,5,6]>, dense<i64[2], [3,1]>", "3x2: 5 2 3 4 1 6");
}

/* A view of strings must hold its own bytes: the graph that made it is gone by then. */
static void strings(void **state)
{
    (void)state;
    gopt_tensor *y;
    run("%y = Gather dense<string[3], [\"a\", \"bc\", \"\"]>, dense<i64[2], [1,2]>", &y);
    const gopt_string *s = y->data;
    assert_int_equal(s[0].n, 2);
    assert_memory_equal(s[0].p, "bc", 2);
    assert_int_equal(s[1].n, 0);
    gopt_tensor_unref(y);
}

/* The same seed, the same numbers; they lie in their range and are about evenly spread. */
static void random_numbers(void **state)
{
    (void)state;
    gopt_tensor *a, *b;
    const char *body = "%y = RandomUniform { shape = [1000], low = 2.0, high = 4.0, seed = 3.0 }";
    double sum = 0;
    run(body, &a);
    run(body, &b);
    assert_memory_equal(a->data, b->data, a->bytes);
    for (int64_t i = 0; i < 1000; i++) {
        assert_true(gi_tensor_f64(a, i) >= 2 && gi_tensor_f64(a, i) <= 4);
        sum += gi_tensor_f64(a, i);
    }
    assert_true(sum > 2900 && sum < 3100);
    gopt_tensor_unref(a);
    gopt_tensor_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transposes), cmocka_unit_test(slices),         cmocka_unit_test(joins_and_parts),
        cmocka_unit_test(pads),       cmocka_unit_test(indices),        cmocka_unit_test(shapes),
        cmocka_unit_test(strings),    cmocka_unit_test(random_numbers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
