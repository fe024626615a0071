"""Small models for each rule of lint: FOUND[rule] is a list of (model, a part of the message), CLEAN[rule] of models.

A model is gopt's text form, or ONNX as bytes where the rule is of the file."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import onnx_bytes as ox


def gir(params, body, result="%y"):
    return f"opset 17\ngraph ({params}) {{\n" + "".join(f"  {l.strip()}\n" for l in body.strip().splitlines()) + f"  return {result}\n}}\n"


def relu(*more, inputs=("x",), outputs=("y",), initializers=(), infos=(), first=(), opset=17, ir=8, domains=(), names=("relu",)):
    """x f32[2] -> Relu -> y, and what else a case is of."""
    g = ox.graph([*first, *[ox.node("Relu", ["x"], ["y"], n) for n in names[:1]], *more], [ox.value(i, [2]) for i in inputs],
                 [ox.value(o, [2]) for o in outputs], initializers) + ox.many(13, infos)
    return ox.model(g, opset=opset, ir=ir, domains=domains)


def floats(n, value):
    return "[" + ", ".join([str(value)] * n) + "]"


def ints(values):
    return "[" + ", ".join(map(str, values)) + "]"


X = "%x: f32[n,3,8,8]"
CONV = "%c = Conv %x, dense<f32[4,3,1,1], " + floats(12, 0.5) + ">"
BN = "dense<f32[4], [1,1,1,1]>, dense<f32[4], [0,0,0,0]>, dense<f32[4], [0,0,0,0]>, dense<f32[4], [1,1,1,1]>"
W8 = "dense<i8[4,3], " + ints(range(12)) + ">"
Q, DQ = "dense<f32[], 0.5>, dense<i8[], 0>", "dense<f32[], 0.5>, dense<i8[], 0>"
PRODUCT = "%y = MatMul %x, dense<f32[3,2], {}>"
RESIZE = "%y = Resize %x, _, dense<f32[4], [1,1,2,2]> {{ {} }}"

FOUND = {
    "unused-initializer": [(relu(initializers=[ox.tensor("w", [3], [1, 2, 3])]), "nothing reads it")],
    "unused-import": [(relu(domains=["some.where"]), "some.where")],
    "initializer-input": [(relu(ox.node("Add", ["y", "w"], ["z"]), inputs=("x", "w"), outputs=("z",),
                                initializers=[ox.tensor("w", [2], [1, 2])]), "1 weight is listed as inputs")],
    "ir-version": [(relu(ir=10), "IR version 10, where opset 17 came with 8")],
    "old-opset": [(relu(opset=6, ir=3), "opset 6")],
    "new-opset": [(relu(opset=23, ir=11), "opset 23")],
    "unsorted-nodes": [(relu(ox.node("Abs", ["x"], ["z"], "abs"), first=[ox.node("Neg", ["y"], ["n"], "neg")],
                             outputs=("n", "z")), "order of computation")],
    "stale-types": [(ox.model(ox.graph([ox.node("Relu", ["x"], ["y"], "r")], [ox.value("x", [2])], [ox.value("y", [3])])),
                     "not what the operators yield")],
    "value-info": [(relu(ox.node("Abs", ["y"], ["z"]), outputs=("z",)), "2 nodes, and types of 1")],
    "huge-constant": [(ox.model(ox.graph(
        [ox.field(2, "k") + ox.field(4, "Constant") + ox.field(5, ox.field(1, "value") + ox.field(5, ox.tensor("", [70000], [1.5] * 70000))
                                                               + ox.field(20, 4)),
         ox.node("Add", ["x", "k"], ["y"])], [ox.value("x", [1])], [ox.value("y", [70000])])), "Constant node holds it")],
    "unused-input": [(gir("%x: f32[2], %u: f32[2]", "%y = Relu %x"), "no node reads it")],
    "dead-node": [(gir("%x: f32[2]", "%y = Relu %x\n%d = Neg %x\n%e = Abs %d"), "no output needs")],
    "input-output": [(gir("%x: f32[2]", "%y = Relu %x", '%y, %x as "z"'), "output z is this input")],
    "same-name": [(relu(ox.node("Abs", ["y"], ["z"], "relu"), outputs=("z",)), "1 name is that of several nodes: relu")],
    "no-effect": [(gir("%x: f32[2]", "%a = Identity %x\n%y = Relu %a"), "it is its input"),
                  (gir("%x: f32[2]", "%a = Cast %x { to = 1 }\n%y = Relu %a"), "has that type"),
                  (gir("%x: f32[2,3]", "%a = Transpose %x { perm = [0,1] }\n%y = Relu %a"), "moves no dim"),
                  (gir("%x: f32[2]", "%a = Dropout %x, dense<f32[], 0.5>\n%y = Relu %a"), "outside of training")],
    "foldable": [(gir("%x: f32[2]", "%k = Add dense<f32[2], [1,2]>, dense<f32[2], [3,4]>\n%l = Neg %k\n%y = Add %x, %l"),
                  "2 nodes read constants alone")],
    "shape-arithmetic": [(gir("%x: f32[a,b]", """%s = Shape %x
        %i = Gather %s, dense<i64[], 0>
        %u = Unsqueeze %i, dense<i64[1], [0]>
        %c = Concat %u, dense<i64[1], [-1]> { axis = 0 }
        %y = Reshape %x, %c"""), "4 nodes compute sizes")],
    "constant-if": [(gir("%x: f32[2]", """%y = If dense<bool[], 1> { then_branch = block () {
        %a = Relu %x
        return %a
        }, else_branch = block () {
        %b = Neg %x
        return %b
        } }"""), "always true")],
    "double": [(gir("%x: f32[2]", "%a = Cast %x { to = 11 }\n%y = Neg %a"), "makes float64"),
               (gir("%x: f64[2]", "%y = Neg %x"), "an input in float64"),
               (gir("%x: f64[2]", "%y = Add %x, dense<f64[2], [1,2]>"), "a weight in float64")],
    "int64": [(gir("%i: i64[n,4]", "%y = Gather dense<f32[3,2], [1,2,3,4,5,6]>, %i"), "all 1 int64 tensors fit"),
              (gir("%i: i64[n,4], %j: i64[n,4]", "%g = Gather dense<f32[3], [1,2,3]>, %i\n%f = Cast %j { to = 1 }\n%y = Add %g, %f"),
               "1 of 2 int64 tensors")],
    "int64-range": [(gir("%x: i64[2]", "%y = Add %x, dense<i64[2], [1,5000000000]>"), "reach from 1 to 5000000000")],
    "cast-back": [(gir("%x: f16[2]", "%a = Cast %x { to = 1 }\n%b = Cast %a { to = 10 }\n%y = Neg %b"), "takes back what")],
    "nan-weight": [(gir("%x: f32[2,3]", PRODUCT.format("[1,nan,3,4,5,6]")), "1 of its 6 elements is NaN")],
    "inf-weight": [(gir("%x: f32[2,3]", PRODUCT.format("[1,inf,3,4,5,-inf]")), "2 of its 6 elements are infinite")],
    "fp16-range": [(gir("%x: f32[2,3]", PRODUCT.format("[1,70000,3,4,5,6]")), "1 of its 6 elements is beyond ±65504, up to 7e+04"),
                   (gir("%x: f32[2]", "%y = Add %x, dense<f32[], -3.4e38>"), "its magnitude is 3.4e+38")],
    "fp16-epsilon": [(gir("%x: f32[2,3]", "%y = LayerNormalization %x, dense<f32[3], [1,1,1]> { epsilon = 1e-12 }"), "its epsilon is 1e-12"),
                     (gir("%x: f32[2]", "%a = Add %x, dense<f32[], 1e-12>\n%y = Sqrt %a"), "it adds 1e-12"),
                     (gir("%x: f32[2]", "%a = Max %x, dense<f32[], 1e-12>\n%y = Sqrt %a"), "keeps its result above")],
    "subnormal-weight": [(gir("%x: f32[2,3]", PRODUCT.format("[1,1e-39,3,4,5,6]")), "1 of its 6 elements are subnormal")],
    "zero-weight": [(gir("%x: f32[2,3]", PRODUCT.format(floats(6, 0))), "all of its 6 elements are 0")],
    "duplicate-weight": [(gir("%x: f32[256]", f"%a = Add %x, dense<f32[256], {floats(256, 1.5)}>\n"
                              f"%y = Mul %a, dense<f32[256], {floats(256, 1.5)}>"), "the same bytes as")],
    "unnamed-dim": [(gir("%x: f32[?,3]", "%y = Relu %x"), "dim 0 has no size and no name"),
                    (gir("%x: f32[?,?]", "%y = Relu %x"), "dims 0, 1 have no size")],
    "fixed-reshape": [(gir("%x: f32[n,6]", "%y = Reshape %x, dense<i64[3], [1,2,3]>"), "3 fixed dims of f32[n,6]")],
    "data-shape": [(gir("%x: f32[n,3]", "%y = NonZero %x"), "dim 1 depends on values")],
    "unknown-rank": [(gir("%x: f32[*]", "%y = Relu %x"), "1 node has a result of unknown rank")],
    "transpose-pair": [(gir("%x: f32[n,3,4,5]", """%a = Transpose %x { perm = [0,2,3,1] }
        %b = Relu %a
        %c = Mul %b, dense<f32[], 2.0>
        %y = Transpose %c { perm = [0,3,1,2] }"""), "it undoes")],
    "channels": [(gir("%x: f32[n,20]", f"%y = MatMul %x, dense<f32[20,24], {floats(480, 0.5)}>"), "20 x 24 channels: 24 x 24 is 20.0% more")],
    "training-mode": [(gir(X, f"{CONV}\n%y = BatchNormalization %c, {BN} {{ training_mode = 1 }}"), "by the batch"),
                      (gir("%x: f32[2]", "%y = Dropout %x, dense<f32[], 0.5>, dense<bool[], 1>"), "by chance")],
    "batchnorm": [(gir(X, f"{CONV}\n%y = BatchNormalization %c, {BN}"), "it follows c")],
    "random": [(gir("%x: f32[2]", "%r = RandomNormalLike %x\n%y = Add %x, %r"), "no seed")],
    "quantized-late": [(gir("%x: f32[2,3]", f"%q = QuantizeLinear dense<f32[3,2], {floats(6, 0.5)}>, {Q}\n%w = DequantizeLinear %q, {DQ}\n"
                            "%y = MatMul %x, %w"), "stored as 6 floats")],
    "half-quantized": [(gir("%x: f32[2,3]", f"%q = QuantizeLinear %x, {Q}\n%d = DequantizeLinear %q, {DQ}\n"
                            f"%y = MatMul %d, dense<f32[3,2], {floats(6, 0.5)}>"), "its weights are floats")],
    "requantized": [(gir("%x: f32[2,3]", f"%q = QuantizeLinear %x, {Q}\n%y = DequantizeLinear %q, dense<f32[], 0.25>, dense<i8[], 0>"),
                     "is not that of")],
    "zero-point": [(gir("%x: f32[2,3]", "%q = QuantizeLinear %x, dense<f32[], 0.5>, dense<u8[], 128>\n"
                        "%y = DequantizeLinear %q, dense<f32[], 0.5>, dense<u8[], 128>"), "its zero point is 128")],
    "aten": [(gir("%x: f32[2]", '%a: f32[2] = org.pytorch.aten::ATen %x { operator = "logcumsumexp", overload_name = "" }\n%y = Relu %a'),
              "org.pytorch.aten::ATen")],
    "foreign-domain": [(gir("%x: f32[2]", "%a: f32[2] = some.where::Thing %x\n%y = Relu %a"), "some.where::Thing")],
    "resize-mode": [(gir(X, RESIZE.format('mode = "cubic"')), "mode cubic"),
                    (gir(X, RESIZE.format('mode = "linear", antialias = 1')), "antialias"),
                    (gir(X, RESIZE.format('coordinate_transformation_mode = "tf_half_pixel_for_nn"')), "tf_half_pixel_for_nn"),
                    (gir(X, RESIZE.format('nearest_mode = "ceil"')), "nearest_mode ceil"),
                    (gir(X, "%y = Resize %x, _, dense<f32[4], [1,2,2,2]>"), "the channels")],
    "rare-operator": [(gir("%x: f32[4]", "%y, %i, %j, %k = Unique %x"), "lack Unique")],
    "uint8-input": [(gir("%x: u8[n,8,8,3]", "%y = Cast %x { to = 1 }"), "makes floats of it")],
}

PLAIN = gir("%x: f32[n,3,8,8]", f"{CONV}\n%y = Relu %c")
CLEAN = {
    "unused-initializer": [relu(ox.node("Add", ["y", "w"], ["z"]), outputs=("z",), initializers=[ox.tensor("w", [2], [1, 2])]),
                           # an old Upsample's scales become another operator's input; a subgraph's use is one, too
                           relu(outputs=("y", "w"), initializers=[ox.tensor("w", [2], [1, 2])])],
    "unused-import": [relu()],
    "initializer-input": [relu(ox.node("Add", ["y", "w"], ["z"]), inputs=("x", "w"), outputs=("z",), ir=3,
                               initializers=[ox.tensor("w", [2], [1, 2])]), relu()],
    "ir-version": [relu(ir=8), relu(ir=10, opset=21)],
    "old-opset": [relu(opset=7), PLAIN],
    "new-opset": [relu(opset=22, ir=10)],
    "unsorted-nodes": [relu(ox.node("Neg", ["y"], ["n"]), outputs=("n",))],
    "stale-types": [relu()],
    "value-info": [relu(ox.node("Abs", ["y"], ["z"]), outputs=("z",), infos=[ox.value("y", [2])])],
    "huge-constant": [relu()],
    "unused-input": [PLAIN],
    "dead-node": [PLAIN, gir("%x: f32[2]", """%c = ReduceMax %x { keepdims = 0 }
        %b = Cast %c { to = 9 }
        %n = Neg %x
        %y = If %b { then_branch = block () {
        %a = Relu %n
        return %a
        }, else_branch = block () {
        return %n
        } }""")],
    "input-output": [PLAIN],
    "same-name": [relu(ox.node("Abs", ["y"], ["z"], "abs"), outputs=("z",)), relu(ox.node("Abs", ["y"], ["z"]), ox.node("Neg", ["z"], ["q"]), outputs=("q",))],
    "no-effect": [PLAIN, gir("%x: f32[2]", "%y = Identity %x"), gir("%x: f32[2,3]", "%y = Transpose %x"),
                  gir("%x: f32[2]", "%y = Dropout %x, dense<f32[], 0.5>, dense<bool[], 1>")],
    "foldable": [PLAIN, gir("%x: f32[2,3]", f"%w = DequantizeLinear dense<i8[3,2], {ints(range(6))}>, {DQ}\n%y = MatMul %x, %w"),
                 gir("%x: f32[2]", "%r = RandomNormal { shape = [2] }\n%y = Add %x, %r")],
    "shape-arithmetic": [gir("%x: f32[a,b]", "%s = Shape %x\n%y = ConstantOfShape %s")],
    "constant-if": [gir("%x: f32[2], %c: bool[]", """%y = If %c { then_branch = block () {
        %a = Relu %x
        return %a
        }, else_branch = block () {
        %b = Neg %x
        return %b
        } }""")],
    "double": [PLAIN, gir("%x: f32[2]", "%y = Cast %x { to = 10 }")],
    "int64": [PLAIN, gir("%i: i64[n,4]", "%y = Cast %i { to = 1 }"),
              gir("%x: i64[n,4]", "%a = Mul %x, %x\n%y = Add %a, %x")],
    "int64-range": [gir("%x: i64[4]", "%y = Slice %x, dense<i64[1], [1]>, dense<i64[1], [9223372036854775807]>"),
                    gir("%x: f32[n,4]", """%c = Concat dense<i64[1], [2]>, dense<i64[1], [9223372036854775807]> { axis = 0 }
        %y = Slice %x, dense<i64[2], [0,0]>, %c"""), gir("%x: i64[2]", "%y = Add %x, dense<i64[2], [1,2147483647]>")],
    "cast-back": [gir("%x: f32[2]", "%a = Cast %x { to = 10 }\n%y = Cast %a { to = 1 }"), gir("%x: f32[2]", "%a = Cast %x { to = 7 }\n%y = Cast %a { to = 1 }")],
    "nan-weight": [PLAIN],
    "inf-weight": [gir("%x: f32[2,2]", "%y = Add %x, dense<f32[2,2], [0,-inf,0,0]>")],
    "fp16-range": [gir("%x: f32[2,3]", PRODUCT.format("[1,65504,3,4,5,-65504]"))],
    "fp16-epsilon": [gir("%x: f32[2,3]", "%y = LayerNormalization %x, dense<f32[3], [1,1,1]>"), gir("%x: f32[2]", "%y = Mul %x, dense<f32[], 1e-12>"),
                     gir("%x: f32[2]", "%y = Add %x, dense<f32[], 1e-6>")],
    "subnormal-weight": [PLAIN, gir("%x: f32[2]", "%y = Add %x, dense<f32[2], [1e-39,1]>")],
    "zero-weight": [PLAIN, gir("%x: f32[2]", "%y = Add %x, dense<f32[2], [0,0]>"),
                    gir(X, CONV.replace("%c", "%y") + ", dense<f32[4], [0,0,0,0]>")],
    "duplicate-weight": [gir("%x: f32[256]", f"%a = Add %x, dense<f32[256], {floats(256, 1.5)}>\n%y = Mul %a, dense<f32[256], {floats(256, 2.5)}>"),
                         gir("%x: f32[2]", "%a = Add %x, dense<f32[2], [1,2]>\n%y = Mul %a, dense<f32[2], [1,2]>")],
    "unnamed-dim": [PLAIN],
    "fixed-reshape": [gir("%x: f32[n,6]", "%y = Reshape %x, dense<i64[3], [-1,2,3]>"), gir("%x: f32[n,6]", "%y = Reshape %x, dense<i64[3], [0,2,3]>"),
                      gir("%x: f32[1,6]", "%y = Reshape %x, dense<i64[3], [1,2,3]>")],
    "data-shape": [PLAIN, gir("%x: f32[n,9]", "%y, %i = TopK %x, dense<i64[1], [3]>"),
                   gir("%x: f32[n,9]", "%s = Shape %x\n%n = Gather %s, dense<i64[], 0>\n%y = Range dense<i64[], 0>, %n, dense<i64[], 1>")],
    "unknown-rank": [PLAIN],
    "transpose-pair": [gir("%x: f32[n,3,4,5]", "%a = Transpose %x { perm = [0,2,3,1] }\n%b = Softmax %a { axis = -1 }\n%y = Transpose %b { perm = [0,3,1,2] }"),
                       gir("%x: f32[n,3,4,5]", "%a = Transpose %x { perm = [0,2,3,1] }\n%y = Transpose %a { perm = [0,2,3,1] }"),
                       gir("%x: f32[n,3,4,5]", "%a = Transpose %x { perm = [0,2,3,1] }\n%y = Transpose %a { perm = [0,3,1,2] }", "%y, %a")],
    "channels": [gir("%x: f32[n,24]", f"%y = MatMul %x, dense<f32[24,10], {floats(240, 0.5)}>"),
                 gir("%x: f32[n,20,4,4]", f"%y = Conv %x, dense<f32[20,1,1,1], {floats(20, 0.5)}> {{ group = 20 }}")],
    "training-mode": [gir(X, f"{CONV}\n%y = BatchNormalization %c, {BN}"), gir("%x: f32[2]", "%y = Dropout %x, dense<f32[], 0.5>")],
    "batchnorm": [gir("%x: f32[n,4,8,8]", f"%y = BatchNormalization %x, {BN}"),
                  gir(X, f"{CONV}\n%y = BatchNormalization %c, {BN}", "%y, %c")],
    "random": [gir("%x: f32[2]", "%r = RandomNormalLike %x { seed = 1.0 }\n%y = Add %x, %r")],
    "quantized-late": [gir("%x: f32[2,3]", f"%q = QuantizeLinear %x, {Q}\n%y = DequantizeLinear %q, {DQ}")],
    "half-quantized": [gir("%x: f32[2,4]", f"%q = QuantizeLinear %x, {Q}\n%d = DequantizeLinear %q, {DQ}\n%w = DequantizeLinear {W8}, {DQ}\n%y = MatMul %d, %w"),
                       gir("%x: f32[2,4]", f"%w = DequantizeLinear {W8}, {DQ}\n%y = MatMul %x, %w")],
    "requantized": [gir("%x: f32[2,3]", f"%q = QuantizeLinear %x, {Q}\n%y = DequantizeLinear %q, {DQ}")],
    "zero-point": [gir("%x: f32[2,3]", f"%q = QuantizeLinear %x, {Q}\n%y = DequantizeLinear %q, {DQ}")],
    "aten": [PLAIN],
    "foreign-domain": [PLAIN],
    "resize-mode": [gir(X, RESIZE.format('mode = "linear"')), gir(X, RESIZE.format('coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"'))],
    "rare-operator": [PLAIN],
    "uint8-input": [PLAIN, gir("%x: f32[2], %u: u8[2]", "%y = Relu %x")],
}
