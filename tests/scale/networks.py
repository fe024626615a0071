#!/usr/bin/env python3
"""Generated networks that are large in one way each. Needs Python's standard library alone.

  networks.py KIND NODES FILE     writes one of about so many nodes
  networks.py                     lists the kinds

A network is a function of the number of nodes wanted, and is the same in every run.
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from onnx_bytes import F32, I64, external, field, graph, many, model, node, tensor, value  # noqa: E402

BOOL = 9
KINDS = {}


def kind(f):
    KINDS[f.__name__] = f
    return f


def scalar(name, v):
    return tensor(name, [], [v])


def ints(name, v):
    return tensor(name, [len(v)], v, I64)


def filled(name, dims, seed):
    """Weights that differ from each other: the values are of no matter, only that equal ones stay apart."""
    n = 1
    for d in dims:
        n *= d
    return tensor(name, dims, [((seed * 37 + i * 11) % 101 - 50) / 64 for i in range(n)])



def whole(nodes, inputs, outputs, weights=(), opset=17):
    return model(graph(nodes, inputs, outputs, weights), opset)


@kind
def pointwise(n):
    """one long chain: activations, scalars, no two alike"""
    ops, nodes, weights = ["Relu", "Sigmoid", "Tanh", "Abs"], [], []
    x = "x"
    for i in range(n):
        y = f"v{i}"
        if i % 3 == 2:
            weights.append(scalar(f"k{i}", 1.5 + i % 7))
            nodes.append(node("Mul" if i % 2 else "Add", [x, f"k{i}"], [y], f"/chain/{i}"))
        else:
            nodes.append(node(ops[i % 4], [x], [y], f"/chain/{i}"))
        x = y
    return whole(nodes, [value("x", ["n", 64])], [value(x, ["n", 64])], weights)


@kind
def nothing(n):
    """one long chain of what does nothing: Identity, times one, plus zero, Dropout, Cast to the same"""
    nodes, x = [], "x"
    for i in range(n):
        y, name = f"v{i}", f"/nothing/{i}"
        nodes.append([node("Identity", [x], [y], name), node("Mul", [x, "one"], [y], name), node("Add", ["zero", x], [y], name),
                      node("Dropout", [x], [y], name), node("Cast", [x], [y], name, to=1)][i % 5])
        x = y
    nodes.append(node("Relu", [x], ["y"], "/relu"))
    return whole(nodes, [value("x", ["n", 64])], [value("y", ["n", 64])], [scalar("one", 1.0), scalar("zero", 0.0)])


@kind
def scalars(n):
    """one long chain of products and sums with constants, which merge"""
    nodes, weights, x = [], [], "x"
    for i in range(n):
        weights.append(filled(f"k{i}", [64], i) if i % 2 else scalar(f"k{i}", 0.5 + i % 5))
        nodes.append(node("Mul" if i // 8 % 2 else "Add", [x, f"k{i}"], [f"v{i}"], f"/scalars/{i}"))
        x = f"v{i}"
    return whole(nodes, [value("x", ["n", 64])], [value(x, ["n", 64])], weights)


@kind
def tree(n):
    """a wide layer of distinct nodes, added up in pairs"""
    half, nodes, weights = n // 3, [], []
    for i in range(half):
        weights.append(scalar(f"k{i}", 1.0 + i))
        nodes += [node("Mul", ["x", f"k{i}"], [f"m{i}"], f"/leaf{i}/mul"), node("Tanh", [f"m{i}"], [f"t{i}"], f"/leaf{i}/tanh")]
    layer, k = [f"t{i}" for i in range(half)], 0
    while len(layer) > 1:
        up = []
        for i in range(0, len(layer) - 1, 2):
            nodes.append(node("Add", layer[i:i + 2], [f"a{k}"], f"/add{k}"))
            up.append(f"a{k}")
            k += 1
        layer = up + layer[len(layer) - len(layer) % 2:]
    return whole(nodes, [value("x", ["n", 64])], [value(layer[0], ["n", 64])], weights)


@kind
def users(n):
    """one value with half of the nodes as its users, gathered by one Sum"""
    nodes, weights, names = [], [], []
    for i in range(n // 2):
        weights.append(scalar(f"k{i}", 1.0 + i))
        nodes += [node("Mul", ["r", f"k{i}"], [f"m{i}"], f"/user{i}"), node("Sigmoid", [f"m{i}"], [f"s{i}"], f"/after{i}")]
        names.append(f"s{i}")
    nodes = [node("Relu", ["x"], ["r"], "/shared")] + nodes + [node("Sum", names, ["y"], "/sum")]
    return whole(nodes, [value("x", ["n", 64])], [value("y", ["n", 64])], weights)


@kind
def same(n):
    """one value with many users that all compute the same, with constants of their own"""
    nodes, weights, names = [], [], []
    for i in range(n // 2):
        weights.append(tensor(f"k{i}", [64], [2.0] * 64))
        nodes += [node("Mul", ["x", f"k{i}"], [f"m{i}"], f"/same{i}/mul"), node("Tanh", [f"m{i}"], [f"t{i}"], f"/same{i}/tanh")]
        names.append(f"t{i}")
    nodes.append(node("Concat", names, ["y"], "/concat", axis=1))
    return whole(nodes, [value("x", ["n", 64])], [value("y", ["n", 64 * len(names)])], weights)


@kind
def outputs(n):
    """every second node is an output of the graph"""
    nodes, ends = [], []
    for i in range(n // 2):
        nodes += [node("Relu", [f"t{i - 1}" if i else "x"], [f"r{i}"], f"/r{i}"), node("Tanh", [f"r{i}"], [f"t{i}"], f"/t{i}")]
        ends.append(value(f"t{i}", ["n", 64]))
    return whole(nodes, [value("x", ["n", 64])], ends)


@kind
def convolutions(n):
    """blocks of Conv, BatchNormalization and Relu; every fourth with a residual"""
    c, nodes, weights, x, skip = 4, [], [], "x", "x"
    for i in range(n // 3):
        p = f"/block{i}/"
        weights += [filled(p + "w", [c, c, 1, 1], i), filled(p + "b", [c], i + 1), filled(p + "s", [c], i + 2),
                    filled(p + "o", [c], i + 3), filled(p + "m", [c], i + 4), tensor(p + "v", [c], [1.0 + i % 3] * c)]
        nodes += [node("Conv", [x, p + "w", p + "b"], [p + "c"], p + "conv"),
                  node("BatchNormalization", [p + c for c in "csomv"], [p + "n"], p + "bn")]
        x = p + "n"
        if i % 4 == 3:
            nodes.append(node("Add", [x, skip], [p + "a"], p + "add"))
            x = p + "a"
        nodes.append(node("Relu", [x], [p + "r"], p + "relu"))
        x = p + "r"
        skip = x if i % 4 == 3 else skip
    return whole(nodes, [value("x", ["n", c, 8, 8])], [value(x, ["n", c, 8, 8])], weights)


@kind
def parallel(n):
    """one value read by many products with weights of their own, and biases behind them"""
    nodes, weights, names = [], [], []
    for i in range(n // 2):
        p = f"/head{i}/"
        weights += [filled(p + "w", [4, 3 + i % 2], i), filled(p + "b", [3 + i % 2], i)]
        nodes += [node("MatMul", ["x", p + "w"], [p + "m"], p + "matmul"), node("Add", [p + "m", p + "b"], [p + "a"], p + "add")]
        names.append(p + "a")
    nodes.append(node("Concat", names, ["y"], "/concat", axis=1))
    return whole(nodes, [value("x", ["n", 4])], [value("y", ["n", "m"])], weights)


@kind
def transformer(n):
    """layers of attention as exporters write them, with shape arithmetic for a dynamic batch and length"""
    d, heads, nodes = 8, 2, []
    weights = [ints("i0", [0]), ints("i1", [1]), ints("h", [heads]), ints("k", [d // heads]), ints("d", [d]), ints("axes", [0]),
               tensor("at0", [], [0], I64), tensor("at1", [], [1], I64), scalar("two", 2.0), scalar("eps", 1e-5), scalar("root", 2.0)]
    x = "x"

    def add(op, inputs, name, **attributes):
        nodes.append(node(op, inputs, [name], name, **attributes))
        return name

    for i in range(n // 72 + 1):
        p = f"/layer{i}/"
        for m in ("q", "k", "v", "o", "f", "g"):
            weights += [filled(p + m + ".w", [d, d], i * 6 + ord(m)), filled(p + m + ".b", [d], i)]
        weights += [filled(p + "scale", [d], i), filled(p + "shift", [d], i + 1)]

        def norm(v, q):
            mean = add("ReduceMean", [v], p + q + "mean", axes=[-1])
            centred = add("Sub", [v, mean], p + q + "sub")
            square = add("Pow", [centred, "two"], p + q + "pow")
            var = add("ReduceMean", [square], p + q + "var", axes=[-1])
            root = add("Sqrt", [add("Add", [var, "eps"], p + q + "eps")], p + q + "sqrt")
            y = add("Div", [centred, root], p + q + "div")
            return add("Add", [add("Mul", [y, p + "scale"], p + q + "mul"), p + "shift"], p + q + "add")

        def split(m, perm):
            y = add("Add", [add("MatMul", [x, p + m + ".w"], p + m + "/matmul"), p + m + ".b"], p + m + "/add")
            dims = []
            for k in (0, 1):
                s = add("Shape", [x], p + m + f"/shape{k}")
                g = add("Gather", [s, f"at{k}"], p + m + f"/gather{k}", axis=0)
                dims.append(add("Unsqueeze", [g, "axes"], p + m + f"/unsqueeze{k}"))
            to = add("Concat", dims + ["h", "k"], p + m + "/concat", axis=0)
            return add("Transpose", [add("Reshape", [y, to], p + m + "/reshape")], p + m + "/transpose", perm=perm)

        q, k, v = split("q", [0, 2, 1, 3]), split("k", [0, 2, 3, 1]), split("v", [0, 2, 1, 3])
        scores = add("Div", [add("MatMul", [q, k], p + "scores"), "root"], p + "scaled")
        mixed = add("MatMul", [add("Softmax", [scores], p + "softmax", axis=-1), v], p + "mixed")
        back = add("Transpose", [mixed], p + "back", perm=[0, 2, 1, 3])
        s = add("Shape", [back], p + "back/shape")
        b = add("Unsqueeze", [add("Gather", [s, "at0"], p + "back/g0", axis=0), "axes"], p + "back/u0")
        t = add("Unsqueeze", [add("Gather", [s, "at1"], p + "back/g1", axis=0), "axes"], p + "back/u1")
        flat = add("Reshape", [back, add("Concat", [b, t, "d"], p + "back/concat", axis=0)], p + "back/reshape")
        o = add("Add", [add("MatMul", [flat, p + "o.w"], p + "o/matmul"), p + "o.b"], p + "o/add")
        x = norm(add("Add", [x, o], p + "residual"), "norm1/")
        f = add("Relu", [add("Add", [add("MatMul", [x, p + "f.w"], p + "f/matmul"), p + "f.b"], p + "f/add")], p + "f/relu")
        g = add("Add", [add("MatMul", [f, p + "g.w"], p + "g/matmul"), p + "g.b"], p + "g/add")
        x = norm(add("Add", [x, g], p + "residual2"), "norm2/")
    return whole(nodes, [value("x", ["batch", "length", d])], [value(x, ["batch", "length", d])], weights)


@kind
def views(n):
    """a chain of Reshape, Transpose, Concat, Slice, Squeeze and Unsqueeze"""
    nodes, x = [], "x"
    weights = [ints("flat", [2, 64]), ints("tall", [-1, 4]), ints("back", [2, 8, 8]), ints("zero", [0]), ints("two", [2]), ints("eight", [8]),
               ints("axis", [0]), ints("axis1", [1])]
    i = 0
    while len(nodes) < n:
        p = f"/view{i}/"

        def add(op, inputs, name, **attributes):
            nodes.append(node(op, inputs, [p + name], p + name, **attributes))
            return p + name

        y = add("Transpose", [x], "t1", perm=[0, 2, 1])
        y = add("Reshape", [y, "flat"], "r1")
        y = add("Reshape", [y, "tall"], "r2")
        y = add("Reshape", [y, "back"], "r3")
        y = add("Transpose", [y], "t2", perm=[1, 0, 2])
        y = add("Unsqueeze", [y, "axis"], "u")
        y = add("Squeeze", [y, "axis"], "q")
        y = add("Transpose", [y], "t3", perm=[1, 2, 0])
        y = add("Concat", [y, y], "c", axis=0)
        y = add("Slice", [y, "zero", "two", "axis"], "s1")
        x = add("Slice", [y, "zero", "eight", "axis1"], "s2")
        i += 1
    nodes.append(node("Relu", [x], ["y"], "/relu"))
    return whole(nodes, [value("x", [2, 8, 8])], [value("y", [2, 8, 8])], weights)


@kind
def branches(n):
    """nests of If, twelve deep, that read a value from the outside at each depth"""
    deep, nodes, weights = 12, [], []

    def branch(p, level, x):
        inner = [node("Relu", [x], [p + "r"], p + "relu")]
        if level < deep:
            inner.append(choice(p, level + 1, p + "r", "y"))
        else:
            inner.append(node("Tanh", [p + "r"], [p + "y"], p + "tanh"))
        return inner, p + "y"

    def choice(p, level, x, out):
        a, ya = branch(p + "a", level, x)
        b = [node("Sigmoid", [x], [p + "b"], p + "sigmoid"), node("Abs", [p + "b"], [p + "bb"], p + "abs")]
        then = graph(a, [], [value(ya, ["n", 8])], name="then")
        other = graph(b, [], [value(p + "bb", ["n", 8])], name="else")
        return node("If", ["cond"], [p + out], p + "if", then_branch=then, else_branch=other)

    x = "x"
    for i in range(n // (4 * deep) + 1):
        nodes.append(choice(f"n{i}/", 1, x, "out"))
        x = f"n{i}/out"
    return whole(nodes, [value("x", ["n", 8]), value("cond", [], BOOL)], [value(x, ["n", 8])], weights)


@kind
def arithmetic(n):
    """one long chain of arithmetic on a dynamic dim, used by an Expand at the end"""
    nodes, x = [node("Shape", ["x"], ["s0"], "/shape"), node("Gather", ["s0", "at"], ["d0"], "/gather", axis=0)], "d0"
    for i in range(n):
        op = ["Add", "Mul", "Sub", "Div", "Add"][i % 5]
        nodes.append(node(op, [x, ["one", "two", "one", "two", "one"][i % 5]], [f"e{i}"], f"/dim{i}"))
        x = f"e{i}"
    nodes += [node("ConstantOfShape", [x], ["z"], "/fill"), node("Relu", ["z"], ["y"], "/relu")]
    return whole(nodes, [value("x", ["n", 8])], [value("y", ["m"])], [tensor("at", [1], [0], I64), ints("one", [1]), ints("two", [2])])


@kind
def weights(n):
    """constants that differ in one byte far from their ends, each read by an Add"""
    nodes, w, x = [], [], "x"
    for i in range(n):
        data = bytearray(4096)
        data[2048 + 4 * (i % 256)], data[1000 + 4 * (i // 256 % 256)] = 1, 2
        w.append(field(1, 1024) + field(2, F32) + field(8, f"k{i}") + field(9, bytes(data)))
        nodes.append(node("Max", [x, f"k{i}"], [f"v{i}"], f"/max{i}"))
        x = f"v{i}"
    return whole(nodes, [value("x", ["n", 1024])], [value(x, ["n", 1024])], w)


def cut(x, i, y, to):
    """Slice of one element of axis 1, and its bounds."""
    return node("Slice", [x, f"at{i}", f"at{i + 1}", "axis1"], [y], to)


@kind
def slices(n):
    """one value cut into single elements, each treated on its own, and put together again"""
    nodes, w, names, parts = [], [ints("axis1", [1])], [], n // 2
    for i in range(parts):
        w.append(ints(f"at{i}", [i]))
        nodes += [cut("x", i, f"s{i}", f"/slice{i}"), node("Relu", [f"s{i}"], [f"r{i}"], f"/relu{i}")]
        names.append(f"r{i}")
    w.append(ints(f"at{parts}", [parts]))
    nodes.append(node("Concat", names, ["y"], "/concat", axis=1))
    return whole(nodes, [value("x", ["n", parts])], [value("y", ["n", parts])], w)


@kind
def backwards(n):
    """one value cut into single elements, and put together again from the last to the first"""
    nodes, w = [], [ints("axis1", [1])]
    for i in range(n):
        w.append(ints(f"at{i}", [i]))
        nodes.append(cut("x", i, f"s{i}", f"/slice{i}"))
    w.append(ints(f"at{n}", [n]))
    nodes.append(node("Concat", [f"s{i}" for i in reversed(range(n))], ["y"], "/concat", axis=1))
    return whole(nodes, [value("x", ["n", n])], [value("y", ["n", n])], w)


@kind
def split(n):
    """a Split into half of the nodes, which a Concat puts together again"""
    names = [f"s{i}" for i in range(n // 2)]
    nodes = [node("Split", ["x", "sizes"], names, "/split", axis=1)]
    nodes += [node("Tanh" if i % 2 else "Abs", [s], ["t" + s], f"/f{i}") for i, s in enumerate(names)]
    nodes.append(node("Concat", ["t" + s for s in names], ["y"], "/concat", axis=1))
    return whole(nodes, [value("x", ["n", len(names)])], [value("y", ["n", len(names)])], [ints("sizes", [1] * len(names))])


@kind
def gathers(n):
    """one value read by Gathers of single elements, added up one after another"""
    nodes, w, x = [], [], "x0"
    nodes.append(node("Gather", ["x", "at0"], ["x0"], "/gather0", axis=1))
    w.append(tensor("at0", [], [0], I64))
    for i in range(1, n // 2):
        w.append(tensor(f"at{i}", [], [i], I64))
        nodes += [node("Gather", ["x", f"at{i}"], [f"g{i}"], f"/gather{i}", axis=1), node("Add", [x, f"g{i}"], [f"a{i}"], f"/add{i}")]
        x = f"a{i}"
    return whole(nodes, [value("x", ["n", n // 2])], [value(x, ["n"])], w)


@kind
def growing(n):
    """a Concat of a Concat of a Concat, each with one value more"""
    nodes, x = [], "x"
    for i in range(n // 2):
        nodes += [node(["Relu", "Tanh", "Abs", "Sigmoid"][i % 4], [x if i % 64 else "x"], [f"r{i}"], f"/f{i}"),
                  node("Concat", [x, f"r{i}"] if i % 64 else ["x", f"r{i}"], [f"c{i}"], f"/concat{i}", axis=1)]
        x = f"c{i}"
    chain, z = [], "x"
    for i in range(n // 4):
        chain.append(node("Concat", [z, "x"], [f"d{i}"], f"/chain{i}", axis=0))
        z = f"d{i}"
    chain.append(node("ReduceMax", [z], ["z"], "/max"))
    return whole(nodes + chain, [value("x", ["n", 1])], [value(x, ["n", "m"]), value("z", ["p", "q"])])


@kind
def norms(n):
    """one convolution read by many BatchNormalizations, and each again by a residual sum"""
    c, nodes = 4, [node("Conv", ["x", "w"], ["c"], "/conv")]
    w = [filled("w", [c, c, 1, 1], 1), tensor("v", [c], [1.0] * c)]
    names = []
    for i in range(n // 3):
        w += [filled(f"s{i}", [c], i), filled(f"o{i}", [c], i + 3), filled(f"m{i}", [c], i + 7)]
        nodes += [node("BatchNormalization", ["c", f"s{i}", f"o{i}", f"m{i}", "v"], [f"b{i}"], f"/bn{i}"),
                  node("Add", [f"b{i}", "c"], [f"a{i}"], f"/add{i}"), node("Relu", [f"a{i}"], [f"r{i}"], f"/relu{i}")]
        names.append(f"r{i}")
    nodes.append(node("Max", names, ["y"], "/max"))
    return whole(nodes, [value("x", ["n", c, 8, 8])], [value("y", ["n", c, 8, 8])], w)


@kind
def cells(n):
    """a recurrence unrolled: gates of one product, split, and a state that goes on"""
    nodes, w = [], [filled("w", [4, 16], 1), filled("r", [4, 16], 2), filled("b", [16], 3), ints("sizes", [4] * 4), ints("axis1", [1])]
    h, c = "h", "c"
    for i in range(n // 14):
        p = f"/step{i}/"
        w.append(ints(f"at{i}", [i]))
        nodes += [node("Slice", ["x", f"at{i}", f"at{i + 1}", "axis1"], [p + "x"], p + "slice"), node("Squeeze", [p + "x", "axis1"], [p + "q"], p + "squeeze"),
                  node("MatMul", [p + "q", "w"], [p + "xw"], p + "xw"), node("MatMul", [h, "r"], [p + "hr"], p + "hr"),
                  node("Add", [p + "xw", p + "hr"], [p + "s"], p + "sum"), node("Add", [p + "s", "b"], [p + "g"], p + "bias"),
                  node("Split", [p + "g", "sizes"], [p + k for k in ("i", "f", "g4", "o")], p + "split", axis=1)]
        nodes += [node("Sigmoid", [p + k], [p + k + "s"], p + "sigmoid_" + k) for k in ("i", "f", "o")]
        nodes += [node("Tanh", [p + "g4"], [p + "gt"], p + "tanh_g"), node("Mul", [p + "fs", c], [p + "fc"], p + "fc"),
                  node("Mul", [p + "is", p + "gt"], [p + "ig"], p + "ig"), node("Add", [p + "fc", p + "ig"], [p + "c"], p + "c"),
                  node("Tanh", [p + "c"], [p + "ct"], p + "tanh_c"), node("Mul", [p + "os", p + "ct"], [p + "h"], p + "h")]
        h, c = p + "h", p + "c"
    w.append(ints(f"at{n // 14}", [n // 14]))
    return whole(nodes, [value("x", ["n", n // 14, 4]), value("h", ["n", 4]), value("c", ["n", 4])], [value(h, ["n", 4]), value(c, ["n", 4])], w)


@kind
def doubling(n):
    """constants that double at every step, by Tile, Expand and Concat, down to one element at the end"""
    nodes, w, ends = [], [scalar("seed", 3.0), ints("rep", [2]), ints("shape", [1])], []
    for i in range(n // 42 + 1):
        p = f"/grow{i}/"
        x = p + "e"
        w.append(scalar(p + "k", 1.0 + i))
        nodes += [node("Mul", ["seed", p + "k"], [p + "s"], p + "mul"), node("Expand", [p + "s", "shape"], [x], p + "expand")]
        for k in range(38):
            op, inputs, more = [("Tile", [x, "rep"], {}), ("Concat", [x, x], {"axis": 0})][k % 2]
            nodes.append(node(op, inputs, [p + f"t{k}"], p + f"t{k}", **more))
            x = p + f"t{k}"
        nodes.append(node("ReduceMax", [x], [p + "m"], p + "max", keepdims=0))
        nodes.append(node("Mul", ["x", p + "m"], [p + "y"], p + "use"))
        ends.append(value(p + "y", ["n"]))
    return whole(nodes, [value("x", ["n"])], ends, w)


@kind
def shapes(n):
    """constants of huge shapes: ConstantOfShape and Range, each read by one node"""
    nodes, w, ends = [], [scalar("zero", 0.0)], []
    for i in range(n // 3 + 1):
        p = f"/shape{i}/"
        w.append(ints(p + "dims", [1 << 12, 1 << 10, i % 9 + 1]))
        nodes += [node("ConstantOfShape", [p + "dims"], [p + "c"], p + "fill"), node("Exp", [p + "c"], [p + "e"], p + "exp"),
                  node("Add", [p + "e", "x"], [p + "y"], p + "add")]
        ends.append(value(p + "y", [1 << 12, 1 << 10, i % 9 + 1]))
    return whole(nodes, [value("x", [1])], ends, w)


@kind
def loops(n):
    """Loops of tables, which come apart, one of a body as long as all of them, which stays, and Ifs on one condition"""
    nodes, x = [], "x"
    weights = [ints("three", [3]), ints("many", [40]), filled("table", [3, 8], 1)]
    for i in range(n // 16):
        p = f"l{i}/"
        body = [node("Gather", ["table", p + "i"], [p + "row"], p + "row"), node("Add", [p + "v", p + "row"], [p + "w"], p + "add"),
                node("Identity", [p + "c"], [p + "d"], p + "on")]
        inner = graph(body, [value(p + "i", [], I64), value(p + "c", [], BOOL), value(p + "v", ["n", 8])],
                      [value(p + "d", [], BOOL), value(p + "w", ["n", 8])], name="body")
        nodes.append(node("Loop", ["three", "", x], [p + "y"], p + "loop", body=inner))
        x = p + "y"
        then = graph([node("Neg", [x], [p + "t"], p + "neg")], [], [value(p + "t", ["n", 8])], name="then")
        other = graph([node("Exp", ["x"], [p + "e"], p + "exp")], [], [value(p + "e", ["n", 8])], name="else")
        nodes.append(node("If", ["cond"], [p + "z"], p + "if", then_branch=then, else_branch=other))
        if i % 8 == 7:
            nodes.append(node("Add", [x, p + "z"], [p + "s"], p + "sum"))
            x = p + "s"
    body, v = [], "v"
    for i in range(n // 4):
        body.append(node("Exp", ["x"], [f"b{i}/c"], f"b{i}/fixed") if i % 4 == 0 else node("Abs", [v], [f"b{i}/c"], f"b{i}/abs"))
        body.append(node("Mul", [v, f"b{i}/c"], [f"b{i}/v"], f"b{i}/mul"))
        v = f"b{i}/v"
    body.append(node("Identity", ["c"], ["d"], "on"))
    inner = graph(body, [value("i", [], I64), value("c", [], BOOL), value("v", ["n", 8])],
                  [value("d", [], BOOL), value(v, ["n", 8])], name="body")
    nodes.append(node("Loop", ["many", "", x], ["y"], "long", body=inner))
    return whole(nodes, [value("x", ["n", 8]), value("cond", [], BOOL)], [value("y", ["n", 8])], weights)


@kind
def conditions(n):
    """Ifs on one condition, which become one: each reads the one before, as turned as not"""
    nodes, x, ifs = [node("Not", ["cond"], ["not"], "/not")], "x", []
    for i in range(n // 3):
        p = f"c{i}/"
        then = graph([node("Neg", [x], [p + "t"], p + "neg")], [], [value(p + "t", ["n", 8])], name="then")
        other = graph([node("Exp", [x], [p + "e"], p + "exp")], [], [value(p + "e", ["n", 8])], name="else")
        nodes.append(node("If", ["not" if i % 2 else "cond"], [p + "y"], p + "if", then_branch=then, else_branch=other))
        x = p + "y"
        ifs.append(x)
    nodes.append(node("Concat", ifs, ["y"], "/all", axis=1))
    return whole(nodes, [value("x", ["n", 8]), value("cond", [], BOOL)], [value("y", ["n", 8 * len(ifs)])])


@kind
def lists(n):
    """lists: grown one by one at both ends, taken from a split, joined again"""
    nodes, weights = [node("SequenceEmpty", [], ["s"], "/empty")], [scalar("unused", 1.0), tensor("front", [], [0], I64)]
    s, k = "s", n // 5
    for i in range(k):
        nodes.append(node("Relu", ["x"], [f"r{i}"], f"/relu{i}") if i % 2 else node("Abs", ["x"], [f"r{i}"], f"/abs{i}"))
        nodes.append(node("SequenceInsert", [s, f"r{i}"] + (["front"] if i % 64 == 5 else []), [f"s{i}"], f"/insert{i}"))
        s = f"s{i}"
    nodes.append(node("ConcatFromSequence", [s], ["joined"], "/join", axis=1))
    m = min(k, 4000)  # of one sequence with more readers those are left
    nodes.append(node("SplitToSequence", ["z"], ["parts"], "/split", axis=0, keepdims=0))
    parts = []
    for i in range(m):
        weights.append(tensor(f"at{i}", [], [i], I64))
        nodes.append(node("SequenceAt", ["parts", f"at{i}"], [f"p{i}"], f"/part{i}"))
        nodes.append(node("Sigmoid", [f"p{i}"], [f"q{i}"], f"/sigmoid{i}"))
        parts.append(f"q{i}")
    nodes.append(node("Concat", parts, ["again"], "/again", axis=0))
    nodes.append(node("SequenceConstruct", parts, ["made"], "/construct"))
    nodes.append(node("SequenceAt", ["made", f"at{m - 1}"], ["last"], "/last"))
    nodes.append(node("SequenceLength", ["made"], ["count"], "/count"))
    return whole(nodes, [value("x", ["n", 1]), value("z", [m, 4])],
                 [value("joined", ["n", k]), value("again", [4 * m]), value("last", [4]), value("count", [], I64)], weights)


def with_large_weights(path, layers, side, channels):
    """Writes a network whose weights lie in a file beside it, PATH.weights, sparse but for the start of each one, so that
    no two are the same. Everything gives folding work on a whole weight: a product behind a Transpose, scaled by a number,
    and a convolution with BatchNormalization. Returns the bytes of the weights."""
    nodes, small, end, x, y = [], [scalar("half", 0.5)], 0, "x", "image"
    location = os.path.basename(path) + ".weights"
    with open(path + ".weights", "wb") as f:

        def large(name, dims, seed):
            nonlocal end
            f.seek(end)
            f.write(struct.pack("<1024f", *(((seed * 7919 + i * 31) % 2003 - 1001) / 4096 for i in range(1024))))
            size = 4
            for d in dims:
                size *= d
            small.append(external(name, dims, {"location": location, "offset": end, "length": size}))
            end += (size + 4095) // 4096 * 4096

        for i in range(layers):
            p = f"/layer{i}/"
            large(p + "w", [side, side], 2 * i)
            large(p + "k", [channels, channels, 3, 3], 2 * i + 1)
            small += [tensor(p + "bn." + q, [channels], [1.0 + (i + ord(q)) % 5] * channels) for q in "somv"]
            nodes += [node("Transpose", [p + "w"], [p + "t"], p + "transpose", perm=[1, 0]),
                      node("MatMul", [x, p + "t"], [p + "m"], p + "matmul"), node("Mul", [p + "m", "half"], [p + "h"], p + "mul"),
                      node("Relu", [p + "h"], [p + "x"], p + "relu"),
                      node("Conv", [y, p + "k"], [p + "c"], p + "conv", pads=[1, 1, 1, 1]),
                      node("BatchNormalization", [p + "c"] + [p + "bn." + q for q in "somv"], [p + "y"], p + "bn")]
            x, y = p + "x", p + "y"
        f.truncate(end)
    with open(path, "wb") as f:
        f.write(whole(nodes, [value("x", ["n", side]), value("image", ["n", channels, 8, 8])],
                      [value(x, ["n", side]), value(y, ["n", channels, 8, 8])], small))
    return end


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in KINDS:
        print(__doc__)
        for name, f in KINDS.items():
            print(f"  {name:14} {f.__doc__}")
        sys.exit(2 if len(sys.argv) > 1 else 0)
    with open(sys.argv[3], "wb") as out:
        out.write(KINDS[sys.argv[1]](int(sys.argv[2])))
