/* Type rules of shapes, moves and indices: contents flow, dims are decided by symbols, contradictions are told. */
#include "unit/gir.h"

static void reshape_keeps_symbols(void **state)
{
    (void)state;
    infers("%x: f32[n,3,h,w]", "%y = Reshape %x, dense<i64[3], [0,3,-1]>", "f32[n,3,h*w]");
    infers("%x: f32[n,seq,768]", "%y = Reshape %x, dense<i64[4], [0,-1,12,64]>", "f32[n,seq,12,64]");
    infers("%x: f32[n,seq,12,64]", "%y = Reshape %x, dense<i64[2], [-1,64]>", "f32[12*n*seq,64]");
    infers("%x: f32[n,6]", "%y = Reshape %x, dense<i64[2], [-1,4]>", "f32[(3*n)/2,4]");
    infers("%x: f32[0,6]", "%y = Reshape %x, dense<i64[2], [0,3]> { allowzero = 1 }", "f32[0,3]");
}

static void reshape_refuses(void **state)
{
    (void)state;
    infer_refuses("%x: f32[2,3]", "%y = Reshape %x, dense<i64[2], [2,4]>",
                  "which has 6 elements, expected the 8 of shape [2,4]");
    infer_refuses("%x: f32[2,3]", "%y = Reshape %x, dense<i64[2], [4,-1]>", "whose elements do not divide");
    infer_refuses("%x: f32[2,3]", "%y = Reshape %x, dense<i64[2], [-1,-1]>", "at most one -1");
    infer_refuses("%x: f32[2,3]", "%y = Reshape %x, dense<i64[3], [2,3,0]>", "copies dim 2 by a 0");
    infer_refuses("%x: f32[2,3]", "%y = Reshape %x, dense<i64[2], [-7,3]>", "holds -7");
}

/* What exporters write for x.view(x.size(0), x.size(1), -1). */
static void contents_flow(void **state)
{
    (void)state;
    infers("%x: f32[n,c,h,w]",
           "%s = Shape %x\n"
           "%a = Gather %s, dense<i64[], 0>\n"
           "%b = Gather %s, dense<i64[], -3>\n"
           "%a1 = Unsqueeze %a, dense<i64[1], [0]>\n"
           "%b1 = Unsqueeze %b, dense<i64[1], [0]>\n"
           "%t = Concat %a1, %b1, dense<i64[1], [-1]> { axis = 0 }\n"
           "%y = Reshape %x, %t",
           "f32[n,c,h*w]");
    infers("%x: f32[n,c,h,w]",
           "%s = Shape %x { start = 2 }\n"
           "%r = Slice %s, dense<i64[1], [-1]>, dense<i64[1], [-9223372036854775807]>, dense<i64[1], [0]>, "
           "dense<i64[1], [-1]>\n"
           "%y = ConstantOfShape %r",
           "f32[w,h]");
    infers("%x: f32[n,c,h,w]",
           "%s = Shape %x\n"
           "%p, %q = Split %s { num_outputs = 2 }\n"
           "%m = Tile %p, dense<i64[1], [2]>\n"
           "%y = ConstantOfShape %m",
           "f32[n,c,n,c]");
    infers("%x: f32[n,6]",
           "%s = Shape %x\n"
           "%u = ScatterND %s, dense<i64[1,1], [1]>, dense<i64[1], [2]>\n"
           "%t = Concat %u, dense<i64[1], [-1]> { axis = 0 }\n"
           "%y = Reshape %x, %t",
           "f32[n,2,3]");
    infers("%x: f32[n,6]", "%s = Size %x\n%u = Reshape %s, dense<i64[1], [1]>\n%y = ConstantOfShape %u", "f32[6*n]");
}

/* What exporters write for torch.nn.functional.pad: pads turned around through a table of two columns. */
static void contents_through_tables(void **state)
{
    (void)state;
    infers("%x: f32[n,h]",
           "%s = Shape %x { start = 1 }\n"
           "%m = Mod %s, dense<i64[1], [7]>\n"
           "%l = Sub dense<i64[1], [7]>, %m\n"
           "%k = Mod %l, dense<i64[1], [7]>\n"
           "%p = Concat dense<i64[1], [0]>, %k, dense<i64[2], [1,0]> { axis = 0 }\n"
           "%t = Reshape %p, dense<i64[2], [-1,2]>\n"
           "%r = Slice %t, dense<i64[1], [-1]>, dense<i64[1], [-9223372036854775807]>, dense<i64[1], [0]>, "
           "dense<i64[1], [-1]>\n"
           "%c = Transpose %r { perm = [1,0] }\n"
           "%f = Reshape %c, dense<i64[1], [-1]>\n"
           "%q = Pad %x, %f\n"
           "%y = Slice %q, dense<i64[1], [0]>, %s, dense<i64[1], [1]>",
           "f32[n+1,h]");
}

static void ranges(void **state)
{
    (void)state;
    infers("%x: f32[n,seq]",
           "%s = Shape %x\n%l = Gather %s, dense<i64[], 1>\n"
           "%y = Range dense<i64[], 0>, %l, dense<i64[], 1>",
           "i64[seq]");
    infers("%x: f32[n,seq]",
           "%s = Shape %x\n%l = Gather %s, dense<i64[], 1>\n"
           "%y = Range dense<i64[], 0>, %l, dense<i64[], 2>",
           "i64[(seq+1)/2]");
    infers("%x: f32[2]", "%y = Range dense<f32[], 0>, dense<f32[], 1>, dense<f32[], 0.3>", "f32[4]");
    infers("%x: f32[n]", "%r = Range dense<i64[], 2>, dense<i64[], 8>, dense<i64[], 3>\n%y = ConstantOfShape %r",
           "f32[2,5]");
    infer_refuses("%x: f32[2]", "%y = Range dense<i64[], 0>, dense<i64[], 8>, dense<i64[], 0>", "which is 0");
}

static void slices(void **state)
{
    (void)state;
#define SLICE(START, END, STEP) \
    "%y = Slice %x, dense<i64[1], [" START "]>, dense<i64[1], [" END "]>, dense<i64[1], [0]>, dense<i64[1], [" STEP "]>"
    infers("%x: f32[n]", SLICE("0", "9223372036854775807", "1"), "f32[n]");
    infers("%x: f32[n]", SLICE("1", "2147483647", "1"), "f32[max(0,n-1)]");
    infers("%x: f32[n]", SLICE("-1", "9223372036854775807", "1"), "f32[min(n,1)]");
    infers("%x: f32[n+4]", SLICE("0", "-1", "1"), "f32[n+3]");
    infers("%x: f32[2*n]", SLICE("0", "9223372036854775807", "2"), "f32[n]");
    infers("%x: f32[n+5]", SLICE("0", "3", "1"), "f32[3]");
    infers("%x: f32[7]", SLICE("-1", "-9223372036854775807", "-2"), "f32[4]");
    infers("%x: f32[7]", SLICE("5", "2", "-1"), "f32[3]");
    infers("%x: f32[n]", SLICE("-1", "-9223372036854775807", "-1"), "f32[n]");
    infers("%x: f32[0]", SLICE("-1", "-9223372036854775807", "-1"), "f32[0]");
    infer_refuses("%x: f32[7]", SLICE("0", "2", "0"), "which holds 0 for axis 0");
    infer_refuses("%x: f32[7]", "%y = Slice %x, dense<i64[1], [0]>, dense<i64[1], [1]>, dense<i64[1], [3]>",
                  "holds axis 3");
    infers("%x: f32[n,seq], %m: f32[1,1,512,512]",
           "%s = Shape %x { start = 1 }\n"
           "%y = Slice %m, dense<i64[1], [0]>, %s, dense<i64[1], [2]>",
           "f32[1,1,min(seq,512),512]");
#undef SLICE
}

static void views(void **state)
{
    (void)state;
    infers("%x: f32[n,3,h]", "%y = Flatten %x { axis = 2 }", "f32[3*n,h]");
    infers("%x: f32[n,3,h]", "%y = Flatten %x { axis = 0 }", "f32[1,3*h*n]");
    infers("%x: f32[1,n,1]", "%y = Squeeze %x, dense<i64[2], [0,-1]>", "f32[n]");
    infers("%x: f32[n]", "%y = Unsqueeze %x, dense<i64[2], [-1,0]>", "f32[1,n,1]");
    infer_refuses("%x: f32[2,n]", "%y = Squeeze %x, dense<i64[1], [0]>", "which has 2 at axis 0, expected 1");
    infer_refuses("%x: f32[2]", "%y = Unsqueeze %x, dense<i64[2], [0,0]>", "names axis 0 twice");
}

static void moves(void **state)
{
    (void)state;
    infers("%x: f32[n,3,h]", "%y = Transpose %x { perm = [0,2,1] }", "f32[n,h,3]");
    infer_refuses("%x: f32[n,3,h]", "%y = Transpose %x { perm = [0,2,2] }", "no permutation");
    infers("%x: f32[n,3], %z: f32[n,k]", "%y = Concat %x, %z { axis = 1 }", "f32[n,k+3]");
    infer_refuses("%x: f32[2,3], %z: f32[4,3]", "%y = Concat %x, %z { axis = 1 }", "which has 4 at axis 0, expected 2");
    infers("%x: f32[n,10]", "%a, %b, %y = Split %x { axis = 1, num_outputs = 3 }", "f32[n,2]");
    infers("%x: f32[n,10]", "%y, %b = Split %x, dense<i64[2], [3,7]> { axis = 1 }", "f32[n,3]");
    infer_refuses("%x: f32[n,10]", "%y, %b = Split %x, dense<i64[2], [3,8]> { axis = 1 }",
                  "expected 11, the sum of split");
    infers("%x: f32[n,h]", "%y = Pad %x, dense<i64[4], [0,1,0,2]>", "f32[n,h+3]");
    infers("%x: f32[n,h]", "%y = Pad %x, dense<i64[2], [1,-1]>, _, dense<i64[1], [-1]>", "f32[n,h]");
    infers("%x: f32[n,8,h,w]", "%y = DepthToSpace %x { blocksize = 2 }", "f32[n,2,2*h,2*w]");
    infer_refuses("%x: f32[n,6,h,w]", "%y = DepthToSpace %x { blocksize = 2 }", "expected a multiple of 4");
    infers("%x: f32[1,n,1], %z: f32[b,7]",
           "%s = Shape %z\n%one = Unsqueeze dense<i64[], 1>, dense<i64[1], [0]>\n"
           "%t = Concat %s, %one { axis = 0 }\n%y = Expand %x, %t",
           "f32[b,7,1]");
}

static void indices(void **state)
{
    (void)state;
    infers("%x: f32[v,64], %i: i64[b,seq]", "%y = Gather %x, %i", "f32[b,seq,64]");
    infers("%x: f32[v,64], %i: i64[]", "%y = Gather %x, %i", "f32[64]");
    infer_refuses("%x: f32[4,64]", "%y = Gather %x, dense<i64[], 4>", "which holds 4, expected -4 to 3");
    infers("%x: f32[b,s,64], %i: i64[b,s,2]", "%y = GatherND %x, %i { batch_dims = 1 }", "f32[b,s]");
    infers("%x: i64[b], %v: f32[2]", "%y = OneHot %x, dense<i64[], 5>, %v", "f32[b,5]");
    infers("%x: f32[3,n]", "%y = Compress %x, dense<bool[3], [1,0,1]> { axis = 0 }", "f32[2,n]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_keeps_symbols),
        cmocka_unit_test(reshape_refuses),
        cmocka_unit_test(contents_flow),
        cmocka_unit_test(contents_through_tables),
        cmocka_unit_test(ranges),
        cmocka_unit_test(slices),
        cmocka_unit_test(views),
        cmocka_unit_test(moves),
        cmocka_unit_test(indices),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
