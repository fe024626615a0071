/* If, Loop, Scan, sequences and optionals. */
#include "unit/gir.h"

static void branches(void **state)
{
    (void)state;
    evaluates("%y = If dense<bool[], [1]> {\n"
              "then_branch = block \"t\" () { %a = Neg dense<f32[2], [1,2]> return %a as \"a\" },\n"
              "else_branch = block \"e\" () { %b = Abs dense<f32[1], [3]> return %b as \"b\" } }",
              "2: -1 -2");
    infers("%c: bool[], %x: f32[n,4]",
           "%y = If %c {\n"
           "then_branch = block \"t\" () { %a = Neg %x return %a as \"a\" },\n"
           "else_branch = block \"e\" () { %b = ReduceSum %x, dense<i64[1], [0]> return %b as \"b\" } }",
           "f32[?1,4]");
    /* a branch that cannot run does not speak */
    infers("%c: bool[], %x: f32[n,4]",
           "%y = If %c {\n"
           "then_branch = block \"t\" () { %a = Neg %x return %a as \"a\" },\n"
           "else_branch = block \"e\" () { %b = ReduceSum %x, dense<i64[1], [7]> return %b as \"b\" } }",
           "f32[n,4]");
    infer_refuses("%c: bool[], %x: f32[n,4]",
                  "%y = If %c {\n"
                  "then_branch = block \"t\" () { %a = Neg %x return %a as \"a\" },\n"
                  "else_branch = block \"e\" () { %b = Shape %x return %b as \"b\" } }",
                  "output 0 is f32[n,4] of its then_branch, and i64[2] of its else_branch");
}

/* What a file declares inside of a branch and its operators contradict is forgotten: no kernel may be built for it. */
static void declared_in_a_branch(void **state)
{
    (void)state;
    gopt_graph *g = parse("%c: bool[], %x: f32[1,4]",
                          "%y = If %c {\n"
                          "then_branch = block \"t\" () { %a: f32[1810] = MatMul %x, dense<f32[4,4], #a>\n"
                          "return %a as \"a\" },\n"
                          "else_branch = block \"e\" () { %b = Neg %x return %b as \"b\" } }");
    assert_int_equal(gi_infer_graph(g), GOPT_OK);
    const gi_node *n = g->main->first;
    assert_null(gi_attr_graph(n, If_at_then_branch)->results[0].value->type);
    assert_non_null(n->out[0]->type);
    assert_int_equal(gi_infer_graph(g), GOPT_OK); /* now nothing contradicts */
    assert_ptr_equal(gi_attr_graph(n, If_at_then_branch)->results[0].value->type, n->out[0]->type);
    gopt_graph_destroy(g);
    /* in both branches: the operators are right */
    infers("%c: bool[], %x: f32[1,4]",
           "%y = If %c {\n"
           "then_branch = block \"t\" () { %a: f32[7] = Neg %x return %a as \"a\" },\n"
           "else_branch = block \"e\" () { %b: f32[7] = Abs %x return %b as \"b\" } }",
           "f32[1,4]");
}

#define SUM_LOOP                                                                  \
    "%y, %s = Loop dense<i64[], [4]>, dense<bool[], [1]>, dense<f32[1], [1]> {\n" \
    "body = block \"b\" (%i: i64[], %c: bool[], %v: f32[1]) {\n"                  \
    "%w = Add %v, %v\n%d = Identity %c\nreturn %d as \"d\", %w as \"w\", %w as \"o\" } }"

static void loops(void **state)
{
    (void)state;
    evaluates(SUM_LOOP, "1: 16");
    evaluates("%z, %y = Loop dense<i64[], [3]>, _, dense<i64[], [1]> {\n"
              "body = block \"b\" (%i: i64[], %c: bool[], %v: i64[]) {\n"
              "%w = Add %v, %i\n%d = Less %w, dense<i64[], [2]>\nreturn %d as \"d\", %w as \"w\", %w as \"o\" } }",
              "2: 1 2");
    /* what grows in every iteration has no known length */
    infers("%x: f32[1]",
           "%y = Loop dense<i64[], [4]>, _, %x {\n"
           "body = block \"b\" (%i: i64[], %c: bool[], %v: ?) {\n"
           "%w = Concat %v, %v { axis = 0 }\n%d = Identity %c\nreturn %d as \"d\", %w as \"w\" } }",
           "f32[?2]");
    /* what the body declares gives way to what goes in, and one that fits no run may still run no time */
    infers("%x: f32[2], %m: i64[]",
           "%z, %y = Loop %m, _, %x {\n"
           "body = block \"b\" (%i: i64[], %c: bool[], %v: f32[5,5]) {\n"
           "%w = Neg %v\nreturn %c as \"c\", %w as \"w\", %w as \"o\" } }",
           "f32[?1,2]");
    infers("%x: f32[2], %m: i64[]",
           "%y = Loop %m, _, %x {\n"
           "body = block \"b\" (%i: i64[], %c: bool[], %v: f32[3]) {\n"
           "%w = Add %v, dense<f32[3], [1,2,3]>\nreturn %c as \"c\", %w as \"w\" } }",
           "f32[*]");
    /* elements have one type throughout */
    infer_refuses("%x: i64[2], %m: i64[]",
                  "%y = Loop %m, _, %x {\n"
                  "body = block \"b\" (%i: i64[], %c: bool[], %v: f32[2]) { return %c as \"c\", %v as \"w\" } }",
                  "input v_initial[0] is i64[2], its body takes f32[2] there");
    infer_refuses("%x: f32[2], %m: i64[]",
                  "%y = Loop %m, _, %x {\n"
                  "body = block \"b\" (%i: i64[], %c: bool[], %v: f32[2]) {\n"
                  "%w = Cast %v { to = 7 }\nreturn %c as \"c\", %w as \"w\" } }",
                  "value 0 that it carries goes into its body as f32[2], and comes out as i64[2]");
}

static void scans(void **state)
{
    (void)state;
    evaluates("%s, %y = Scan dense<f32[2], [0,0]>, dense<f32[3,2], [1,2,3,4,5,6]> { num_scan_inputs = 1,\n"
              "body = block \"b\" (%a: f32[2], %x: f32[2]) {\n"
              "%n = Add %a, %x\nreturn %n as \"n\", %n as \"o\" } }",
              "3x2: 1 2 4 6 9 12");
    evaluates("%s, %y = Scan dense<f32[], [0]>, dense<f32[3], [1,2,3]> { num_scan_inputs = 1,\n"
              "scan_input_directions = [1], scan_output_directions = [1],\n"
              "body = block \"b\" (%a: f32[], %x: f32[]) {\n"
              "%n = Add %a, %x\nreturn %n as \"n\", %n as \"o\" } }",
              "3: 6 5 3");
}

static void sequences(void **state)
{
    (void)state;
    evaluates("%s = SequenceConstruct dense<f32[1], [1]>, dense<f32[2], [2,3]>\n"
              "%t = SequenceInsert %s, dense<f32[1], [9]>, dense<i64[], [1]>\n%u = SequenceErase %t\n"
              "%y = ConcatFromSequence %u { axis = 0 }",
              "2: 1 9");
    evaluates("%s = SplitToSequence dense<f32[5], [1,2,3,4,5]>, dense<i64[], [2]>\n%y = SequenceAt %s, "
              "dense<i64[], [-1]>",
              "1: 5");
    eval_refuses("%s = SequenceConstruct dense<f32[1], [1]>\n%y = SequenceAt %s, dense<i64[], [1]>", "lies outside");
    eval_refuses("%o = Optional\n%y = OptionalGetElement %o", "holds nothing");
    /* keepdims counts where the pieces are of one number, which is 1, as ONNX Runtime has it */
    infers("%x: f32[4,n]",
           "%s = SplitToSequence %x, dense<i64[], 1> { keepdims = 0 }\n%y = SequenceAt %s, dense<i64[], 0>", "f32[n]");
    evaluates("%s = SplitToSequence dense<f32[2,2], [1,2,3,4]>, dense<i64[], 1> { keepdims = 0 }\n%y = SequenceAt %s, "
              "dense<i64[], 1>",
              "2: 3 4");
    evaluates("%s = SplitToSequence dense<f32[2,1], [1,2]>, dense<i64[], 2> { keepdims = 0 }\n%y = SequenceAt %s, "
              "dense<i64[], 0>",
              "2x1: 1 2");
    evaluates("%s = SplitToSequence dense<f32[2,1], [1,2]>, dense<i64[2], [1,1]> { keepdims = 0 }\n%y = SequenceAt %s, "
              "dense<i64[], 0>",
              "1x1: 1");
    infers("%x: f32[4,n]", "%s = SplitToSequence %x { keepdims = 0 }\n%y = SequenceAt %s, dense<i64[], [0]>", "f32[n]");
}

#define TWO "%s = SequenceConstruct dense<f32[1], [1]>, dense<f32[2], [2,3]>\n"
#define ADD_BODY "{ body = block \"b\" (%e: ?, %a: ?) { %r = Add %e, %a return %r as \"r\" } }\n"

static void maps(void **state)
{
    (void)state;
    evaluates(TWO "%m = SequenceMap %s, dense<f32[1], [10]> " ADD_BODY "%y = ConcatFromSequence %m { axis = 0 }",
              "3: 11 12 13");
    evaluates(TWO "%m = SequenceMap %s, %s " ADD_BODY "%y = ConcatFromSequence %m { axis = 0 }", "3: 2 4 6");
    evaluates("%s = SequenceEmpty { dtype = 1 }\n%m = SequenceMap %s, dense<f32[1], [10]> " ADD_BODY
              "%y = SequenceLength %m",
              ": 0");
    /* elements of lengths of their own: what is known of one says nothing of another */
    infers("%x: f32[n]",
           "%s = SequenceConstruct %x, dense<f32[4], [1,2,3,4]>\n%m = SequenceMap %s, %s " ADD_BODY
           "%p = SequenceAt %m, dense<i64[], [0]>\n%q = SequenceAt %m, dense<i64[], [1]>\n"
           "%y = Concat %p, %q { axis = 0 }",
           "f32[?5+?6]");
    eval_refuses(TWO "%t = SequenceErase %s\n%m = SequenceMap %s, %t " ADD_BODY "%y = SequenceLength %m",
                 "input 1 has 1 elements, the first has 2");
    eval_refuses("%m = SequenceMap dense<f32[1], [1]>, dense<f32[1], [10]> " ADD_BODY "%y = SequenceLength %m",
                 "expected a sequence");
    eval_refuses(TWO "%m = SequenceMap %s " ADD_BODY "%y = SequenceLength %m", "its body has 2 inputs");
    infer_refuses("%x: f32[3]", "%m = SequenceMap %x, %x " ADD_BODY "%y = SequenceLength %m", "expected a sequence");
    infer_refuses("%x: f32[3], %z: i64[3]",
                  "%s = SequenceConstruct %x\n%m = SequenceMap %s, %z " ADD_BODY "%y = SequenceLength %m",
                  "expected f32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches),  cmocka_unit_test(declared_in_a_branch),
        cmocka_unit_test(loops),     cmocka_unit_test(scans),
        cmocka_unit_test(sequences), cmocka_unit_test(maps),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
