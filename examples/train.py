#!/usr/bin/env python3
"""Trains the example network and writes examples/digits.onnx and ten pictures beside it.

  python3 -m pip install numpy scikit-learn onnx
  python3 examples/train.py

A network for handwritten digits (scikit-learn's bundled set, 1,797 pictures of 8 by 8), small enough to train
in plain numpy in a minute, and made of what exporters leave behind: convolutions each followed by a
BatchNormalization, a residual block, two parallel 1x1 convolutions, a reshape whose target is computed from
the input's shape, and a head of MatMul, Add and Softmax. The seed is fixed; the last line says how many of
the 360 held-out pictures it gets right (97% or better, or the script fails).
"""
import pathlib
import struct
import sys
import zlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
RNG = np.random.default_rng(7)
EPS = 1e-5


# ---- layers: forward keeps what backward needs; parameters carry their gradient ----

class Param:
    def __init__(self, value):
        self.v = value.astype(np.float32)
        self.m, self.s, self.g = np.zeros_like(self.v), np.zeros_like(self.v), None


class Conv:
    def __init__(self, cin, cout, k):
        self.k, self.cout = k, cout
        self.w = Param(RNG.standard_normal((cout, cin, k, k)) * np.sqrt(2 / (cin * k * k)))
        self.params = [self.w]

    def forward(self, x, train):
        n, c, h, w = x.shape
        p = self.k // 2
        xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        win = np.lib.stride_tricks.sliding_window_view(xp, (self.k, self.k), axis=(2, 3))
        self.cols = win.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, -1)
        self.shape = x.shape
        y = self.cols @ self.w.v.reshape(self.cout, -1).T
        return y.reshape(n, h, w, self.cout).transpose(0, 3, 1, 2)

    def backward(self, g):
        n, c, h, w = self.shape
        p, k = self.k // 2, self.k
        flat = g.transpose(0, 2, 3, 1).reshape(-1, self.cout)
        self.w.g = (flat.T @ self.cols).reshape(self.w.v.shape)
        cols = (flat @ self.w.v.reshape(self.cout, -1)).reshape(n, h, w, c, k, k)
        out = np.zeros((n, c, h + 2 * p, w + 2 * p), np.float32)
        for i in range(k):
            for j in range(k):
                out[:, :, i:i + h, j:j + w] += cols[..., i, j].transpose(0, 3, 1, 2)
        return out[:, :, p:p + h, p:p + w]


class BatchNorm:
    def __init__(self, c):
        self.scale, self.bias = Param(np.ones(c)), Param(np.zeros(c))
        self.mean, self.var = np.zeros(c, np.float32), np.ones(c, np.float32)
        self.params = [self.scale, self.bias]

    def forward(self, x, train):
        if train:
            m, v = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.mean, self.var = .9 * self.mean + .1 * m, .9 * self.var + .1 * v
        else:
            m, v = self.mean, self.var
        self.inv = 1 / np.sqrt(v + EPS)
        self.xn = (x - m[:, None, None]) * self.inv[:, None, None]
        return self.xn * self.scale.v[:, None, None] + self.bias.v[:, None, None]

    def backward(self, g):
        self.scale.g, self.bias.g = (g * self.xn).sum((0, 2, 3)), g.sum((0, 2, 3))
        g = g * self.scale.v[:, None, None]
        mean = g.mean((0, 2, 3), keepdims=True)
        return (g - mean - self.xn * (g * self.xn).mean((0, 2, 3), keepdims=True)) * self.inv[:, None, None]


class Relu:
    params = []

    def forward(self, x, train):
        self.on = x > 0
        return x * self.on

    def backward(self, g):
        return g * self.on


class MaxPool:
    params = []

    def forward(self, x, train):
        n, c, h, w = x.shape
        b = x.reshape(n, c, h // 2, 2, w // 2, 2)
        y = b.max((3, 5))
        self.on = b == y[:, :, :, None, :, None]
        return y

    def backward(self, g):
        n, c, h, w = g.shape
        return (self.on * g[:, :, :, None, :, None]).reshape(n, c, 2 * h, 2 * w)


class Chain:
    def __init__(self, *layers):
        self.layers = layers
        self.params = [p for l in layers for p in l.params]

    def forward(self, x, train):
        for l in self.layers:
            x = l.forward(x, train)
        return x

    def backward(self, g):
        for l in reversed(self.layers):
            g = l.backward(g)
        return g


class Residual(Chain):
    def forward(self, x, train):
        return x + super().forward(x, train)

    def backward(self, g):
        return g + super().backward(g)


class Parallel:
    """Branches on the same input, their outputs joined along the channels."""
    def __init__(self, *branches):
        self.branches = branches
        self.params = [p for b in branches for p in b.params]

    def forward(self, x, train):
        ys = [b.forward(x, train) for b in self.branches]
        self.cuts = np.cumsum([y.shape[1] for y in ys])[:-1]
        return np.concatenate(ys, 1)

    def backward(self, g):
        return sum(b.backward(part) for b, part in zip(self.branches, np.split(g, self.cuts, 1)))


class Dense:
    def __init__(self, cin, cout):
        self.w, self.b = Param(RNG.standard_normal((cin, cout)) * np.sqrt(1 / cin)), Param(np.zeros(cout))
        self.params = [self.w, self.b]

    def forward(self, x, train):
        self.shape, self.x = x.shape, x.reshape(len(x), -1)
        return self.x @ self.w.v + self.b.v

    def backward(self, g):
        self.w.g, self.b.g = self.x.T @ g, g.sum(0)
        return (g @ self.w.v.T).reshape(self.shape)


def network():
    stem = Chain(Conv(1, 16, 3), BatchNorm(16), Relu())
    block = Residual(Conv(16, 16, 3), BatchNorm(16), Relu(), Conv(16, 16, 3), BatchNorm(16))
    forks = Parallel(Conv(16, 16, 1), Conv(16, 16, 1))
    tail = Chain(Conv(32, 32, 3), BatchNorm(32), Relu(), MaxPool())
    return stem, block, forks, tail, Dense(32 * 2 * 2, 10)


def train(net, x, y, epochs=30, batch=64):
    for epoch in range(epochs):
        rate, order = 3e-3 * .5 * (1 + np.cos(np.pi * epoch / epochs)), RNG.permutation(len(x))
        for step, k in enumerate(range(0, len(x) - batch + 1, batch)):
            i = order[k:k + batch]
            z = net.forward(x[i], True)
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(batch), y[i]] -= 1
            net.backward(p / batch)
            t = epoch * (len(x) // batch) + step + 1
            for q in net.params:
                q.m, q.s = .9 * q.m + .1 * q.g, .999 * q.s + .001 * q.g * q.g
                q.v -= (rate * (q.m / (1 - .9 ** t)) / (np.sqrt(q.s / (1 - .999 ** t)) + 1e-8)).astype(np.float32)


# ---- the ONNX file ----

def export(parts, path):
    from onnx import TensorProto, checker, helper, numpy_helper, save
    stem, block, forks, tail, head = parts
    nodes, weights = [], []

    def weight(name, value):
        weights.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(op, name, inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [name + "_out"], name=name, **attributes))
        return name + "_out"

    def conv(name, layer, x):
        return node("Conv", name, [x, weight(name + ".weight", layer.w.v)], kernel_shape=[layer.k] * 2,
                    pads=[layer.k // 2] * 4, strides=[1, 1], dilations=[1, 1], group=1)

    def norm(name, layer, x):
        ws = [weight(f"{name}.{k}", v) for k, v in
              (("scale", layer.scale.v), ("bias", layer.bias.v), ("mean", layer.mean), ("var", layer.var))]
        return node("BatchNormalization", name, [x, *ws], epsilon=EPS)

    x = norm("/stem/norm", stem.layers[1], conv("/stem/conv", stem.layers[0], "image"))
    x = shortcut = node("Relu", "/stem/relu", [x])
    x = norm("/block/norm1", block.layers[1], conv("/block/conv1", block.layers[0], x))
    x = node("Relu", "/block/relu1", [x])
    x = norm("/block/norm2", block.layers[4], conv("/block/conv2", block.layers[3], x))
    x = node("Relu", "/block/relu2", [node("Add", "/block/add", [x, shortcut])])
    x = node("MaxPool", "/block/pool", [x], kernel_shape=[2, 2], strides=[2, 2])
    a, b = (node("Relu", f"/fork/relu{i}", [conv(f"/fork/conv{i}", c, x)]) for i, c in ((1, forks[0]), (2, forks[1])))
    x = node("Concat", "/fork/concat", [a, b], axis=1)
    x = norm("/tail/norm", tail.layers[1], conv("/tail/conv", tail.layers[0], x))
    x = node("MaxPool", "/tail/pool", [node("Relu", "/tail/relu", [x])], kernel_shape=[2, 2], strides=[2, 2])
    # what torch's exporter writes for x.reshape(x.shape[0], -1)
    size = node("Gather", "/head/gather", [node("Shape", "/head/shape", [x]), weight("zero", np.array(0))], axis=0)
    size = node("Unsqueeze", "/head/unsqueeze", [size, weight("axes", np.array([0]))])
    size = node("Concat", "/head/concat", [size, weight("rest", np.array([-1]))], axis=0)
    x = node("Reshape", "/head/reshape", [x, size])
    x = node("MatMul", "/head/matmul", [x, weight("head.weight", head.w.v)])
    x = node("Add", "/head/add", [weight("head.bias", head.b.v), x])
    nodes.append(helper.make_node("Softmax", [x], ["scores"], name="/head/softmax", axis=-1))
    graph = helper.make_graph(nodes, "digits",
                              [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
                              [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="gopt examples/train.py")
    model.ir_version = 8
    checker.check_model(model, full_check=True)
    save(model, str(path))


def write_png(path, gray):
    """An 8-bit grayscale PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    h, w = gray.shape
    raw = b"".join(b"\0" + row.tobytes() for row in gray)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def main():
    from sklearn.datasets import load_digits
    data = load_digits()
    pixels = np.round(data.images / 16 * 255).astype(np.uint8)
    x, y = (pixels / 255).astype(np.float32)[:, None], data.target
    order = RNG.permutation(len(x))
    test, rest = order[:360], order[360:]

    stem, block, forks, tail, head = parts = network()
    relu, pool = Relu(), MaxPool()
    fork_relus = [Chain(c, Relu()) for c in forks.branches]
    net = Chain(stem, block, relu, pool, Parallel(*fork_relus), tail, head)
    train(net, x[rest], y[rest])
    guess = net.forward(x[test], False).argmax(1)
    right = int((guess == y[test]).sum())

    export((stem, block, forks.branches, tail, head), HERE / "digits.onnx")
    (HERE / "digits").mkdir(exist_ok=True)
    for digit in range(10):                       # the first held-out picture of each digit
        write_png(HERE / "digits" / f"{digit}.png", pixels[test[np.flatnonzero(y[test] == digit)[0]]])
    print(f"{right} of {len(test)} held-out pictures right ({right / len(test):.1%})")
    return 0 if right >= .97 * len(test) else 1


if __name__ == "__main__":
    sys.exit(main())
