#!/usr/bin/env python3
"""How `gopt conformance` finds tests and judges them: each kind of wrong answer must fail, and say why.

  judging.py GOPT

The tests are written here, byte by byte."""
import json, math, os, pathlib, random, struct, subprocess, sys, unittest

sys.path += [str(pathlib.Path(__file__).resolve().parent.parent / d) for d in ("cli", ".")]
import gopt_case  # noqa: E402
import onnx_bytes as ox  # noqa: E402

GOPT = None
N = 1000


def relu():
    return ox.model(ox.graph([ox.node("Relu", ["x"], ["y"])], [ox.value("x", [2, 2])], [ox.value("y", [2, 2])]))


def bernoulli():
    return ox.model(ox.graph([ox.node("Bernoulli", ["p"], ["y"])], [ox.value("p", [N])], [ox.value("y", [N])]), opset=15)


def dropout(ratio):
    """Dropout in training, with its mask."""
    return ox.model(ox.graph([ox.node("Dropout", ["x", "r", "t"], ["y", "mask"])], [ox.value("x", [N]), ox.value("r", [])],
                             [ox.value("y", [N]), ox.value("mask", [N], ox.BOOL)], [ox.tensor("t", [], [True], ox.BOOL)]), opset=13)


def number(name, v):
    """A float attribute, to be added to a node."""
    return ox.field(5, ox.field(1, name) + ox.varint(2 << 3 | 5) + struct.pack("<f", v) + ox.field(20, 1))


def expanded(high):
    """Bernoulli written out; right only where the numbers spread over 0 to 1."""
    nodes = [ox.node("RandomUniformLike", ["p"], ["u"]) + number("high", high), ox.node("Greater", ["p", "u"], ["b"]),
             ox.node("Cast", ["b"], ["y"], to=1)]
    return ox.model(ox.graph(nodes, [ox.value("p", [N])], [ox.value("y", [N])]))


def normal(mean, scale):
    op = ox.node("RandomNormal", [], ["y"], shape=[N]) + number("mean", mean) + number("scale", scale)
    return ox.model(ox.graph([op], [], [ox.value("y", [N])]))


class Folder(gopt_case.Folder):
    def add(self, name, model, inputs, outputs):
        """Each input and output: (dims, values[, dtype])."""
        self.write(f"{name}/model.onnx", model)
        for kind, tensors in (("input", inputs), ("output", outputs)):
            for i, t in enumerate(tensors):
                self.write(f"{name}/test_data_set_0/{kind}_{i}.pb", ox.tensor("", *t))

    def run_all(self, *args):
        p = subprocess.run([GOPT, "conformance", ".", "--json", "c.json", *args], cwd=self.dir, capture_output=True, text=True,
                           timeout=120)
        self.assertIn(p.returncode, (0, 1), p.stderr)
        got = json.loads((self.dir / "c.json").read_text())
        return {pathlib.Path(t["name"]).name: t for t in got["tests"]}, got, p.stdout


class Judging(Folder):
    def relu_test(self, name, want, dims=(2, 2), dtype=ox.F32):
        self.add(name, relu(), [([2, 2], [1.0, -2.0, 3.0, 4.0])], [(list(dims), want, dtype)])

    def test_tolerances(self):
        self.relu_test("right", [1.0, 0.0, 3.0, 4.0])
        self.relu_test("near", [1.0009, 5e-8, 3.0, 4.0])
        self.relu_test("off", [1.0, 0.0, 3.004, 4.1])
        self.relu_test("told", [1.0, 0.0, 3.004, 4.0])
        self.write("told/data.json", b'{"rtol": 0.002}')
        self.relu_test("shape", [1.0, 0.0, 3.0, 4.0], dims=[4])
        self.relu_test("dtype", [1, 0, 3, 4], dtype=ox.I64)
        tests, got, out = self.run_all()
        self.assertEqual({n: t["result"] for n, t in tests.items()},
                         {"right": "passed", "near": "passed", "told": "passed", "off": "failed", "shape": "failed", "dtype": "failed"})
        self.assertEqual(tests["off"]["reason"], "level 0: output y: 2 of 4 differ, first at [1,0]: 3, expected 3.004; worst at [1,1]: 4, expected 4.1 (rtol 0.001, atol 1e-07)")
        self.assertIn("is f32[2,2], expected f32[4]", tests["shape"]["reason"])
        self.assertIn("is f32[2,2], expected i64[2,2]", tests["dtype"]["reason"])
        self.assertEqual(out.splitlines()[-1], "3 passed, 3 failed, 0 skipped")
        self.assertEqual(self.run_all("--level", "1")[0]["off"]["reason"][:9], "level 1: ")

    def test_overrides(self):
        self.relu_test("off", [1.0, 0.0, 3.004, 4.0])
        entry = {"name": "off", "rtol": 0.002, "reason": "the answer is rounded", "link": "https://example.org"}
        (self.dir / "o.json").write_text(json.dumps({"tests": [entry]}))
        self.assertEqual(self.run_all("--overrides", "o.json")[1]["passed"], 1)
        for key in ("name", "reason", "link", "rtol"):
            (self.dir / "o.json").write_text(json.dumps({"tests": [{k: v for k, v in entry.items() if k != key}]}))
            p = subprocess.run([GOPT, "conformance", ".", "--overrides", "o.json"], cwd=self.dir, capture_output=True, text=True)
            self.assertEqual(p.returncode, 3, p.stdout)
            self.assertIn("entry 0", p.stderr)

    def test_answers(self):
        self.relu_test("none", [1.0, 0.0, 3.0, 4.0])
        (self.dir / "none/test_data_set_0/output_0.pb").unlink()
        self.relu_test("many", [1.0, 0.0, 3.0, 4.0])
        self.write("many/test_data_set_0/output_1.pb", ox.tensor("", [1], [1.0]))
        self.relu_test("second", [1.0, 0.0, 3.0, 4.0])
        self.write("second/test_data_set_1/input_0.pb", ox.tensor("", [2, 2], [1.0] * 4))
        self.write("second/test_data_set_1/output_0.pb", ox.tensor("", [2, 2], [2.0] * 4))
        tests, _, _ = self.run_all()
        self.assertIn("no answer", tests["none"]["reason"])
        self.assertIn("has 1 outputs", tests["many"]["reason"])
        self.assertIn("4 of 4 differ", tests["second"]["reason"])

    def test_network_beside_its_answer(self):
        """As in data/light: the input is 0, 1/n, 2/n …, the tolerance that of data/real/test_NAME."""
        self.write("light/light_abs.onnx", relu())
        self.write("light/light_abs_output_0.pb", ox.tensor("", [2, 2], [0.0, .25, .5, .7511]))
        self.write("light/light_alone.onnx", relu())
        self.assertEqual(self.run_all()[0]["light_abs.onnx"]["result"], "failed")
        self.write("real/test_abs/data.json", b'{"rtol": 0.002, "url": "light/light_abs.onnx"}')
        tests, got, _ = self.run_all()
        self.assertEqual((len(tests), got["passed"]), (1, 1))

    def test_unsupported(self):
        self.add("new", ox.model(ox.graph([ox.node("Nonsense", ["x"], ["y"])], [ox.value("x", [1])], [ox.value("y", [1])])),
                  [([1], [1.0])], [([1], [1.0])])
        tests, got, _ = self.run_all()
        self.assertEqual(got["skipped"], 1)
        self.assertIn("Nonsense", tests["new"]["reason"])

    def test_bernoulli(self):
        rng = random.Random(1)
        p = [0.0] * 100 + [1.0] * 100 + [rng.random() for _ in range(N - 200)]
        self.add("right", bernoulli(), [([N], p)], [([N], [float(x > .5) for x in p])])
        self.add("dims", bernoulli(), [([N], p)], [([N - 1], p[1:])])
        for name, high in (("expanded", 1.0), ("often", 0.8)):
            self.add(name, expanded(high), [([N], p)], [([N], [float(x > .5) for x in p])])
        tests, got, out = self.run_all()
        self.assertEqual([tests[n]["result"] for n in ("expanded", "often")], ["passed", "failed"])
        self.assertRegex(tests["often"]["reason"], r"level 0: output y holds \d+ that are not zero, expected about \d+")
        self.assertEqual((tests["right"]["result"], tests["right"]["by_distribution"], got["by_distribution"]), ("passed", True, 2))
        self.assertIn("2 of those that passed draw random numbers", out.splitlines()[-2])
        self.assertIn("is f32[1000], expected f32[999]", tests["dims"]["reason"])

    def test_dropout(self):
        x, ratio = [float(i) - 7 for i in range(N)], 0.25
        y, mask = ([N], [0.0] * N), ([N], [False] * N, ox.BOOL)
        self.add("right", dropout(ratio), [([N], x), ([], [ratio])], [y, mask])
        self.add("none", dropout(0.0), [([N], x), ([], [0.0])], [([N], x), ([N], [True] * N, ox.BOOL)])
        tests, _, _ = self.run_all()
        self.assertEqual([tests[n]["result"] for n in ("right", "none")], ["passed", "passed"], tests)

    def test_other_distributions(self):
        rng = random.Random(2)
        draw = [rng.gauss(3, 2) for _ in range(N)]
        self.add("right", normal(3, 2), [], [([N], draw)])
        self.add("mean", normal(2, 2), [], [([N], draw)])
        self.add("scale", normal(3, 1), [], [([N], draw)])
        tests, _, _ = self.run_all()
        self.assertEqual([tests[n]["result"] for n in ("right", "mean", "scale")], ["passed", "failed", "failed"], tests)
        self.assertIn("Kolmogorov-Smirnov", tests["mean"]["reason"])

    def test_names_that_are_numbers(self):
        """A value called "0" beside one without a name, in the text form."""
        self.write("two.gir", b'opset 17\ngraph (%"0": f32[2]) {\n  %0 = Neg %"0"\n  %1 = Abs %0\n  return %1\n}\n')
        p = subprocess.run([GOPT, "optimize", "two.gir", "--level", "0", "-o", "out.gir"], cwd=self.dir, capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertIn('%0: f32[2] = Neg %"0"', (self.dir / "out.gir").read_text())


def one(op, opset, inputs, out, initializers=(), extra=b"", outputs=("y",), **attributes):
    """A model of one node: inputs are (name, dims), out the dims of all outputs."""
    node = ox.node(op, [n for n, _ in inputs] + [name for name, _ in initializers], list(outputs), **attributes) + extra
    return ox.model(ox.graph([node], [ox.value(n, d) for n, d in inputs], [ox.value(o, out) for o in outputs],
                             [t for _, t in initializers]), opset=opset)


class Opsets(Folder):
    """Nodes as old opsets wrote them, whose meaning or form is another today."""

    def passes(self, name, model, inputs, outputs):
        self.add(name, model, inputs, outputs)
        self.write(f"{name}/data.json", b'{"rtol": 1e-6}')
        tests, _, _ = self.run_all()
        self.assertEqual(tests[name]["result"], "passed", tests[name])

    def test_tile_1(self):
        """Along one axis; the number of tiles and the axis have the data's type."""
        x, y = ([2, 2], [1.0, 2.0, 3.0, 4.0]), ([2, 6], [1.0, 2.0] * 3 + [3.0, 4.0] * 3)
        self.passes("given", one("Tile", 5, [("x", [2, 2]), ("tiles", []), ("axis", [])], [2, 6]), [x, ([], [3.0]), ([], [1.0])], [y])
        self.passes("constant", one("Tile", 5, [("x", [2, 2])], [2, 6], [("t", ox.tensor("t", [1], [3.0])), ("a", ox.tensor("a", [1], [1.0]))]),
                    [x], [y])

    def test_selu_1(self):
        """Constants of four decimals."""
        below = 1.0507 * 1.6732 * (math.exp(-1) - 1)
        self.passes("old", one("Selu", 5, [("x", [2])], [2]), [([2], [-1.0, 2.0])], [([2], [below, 2.1014])])
        self.add("new", one("Selu", 6, [("x", [2])], [2]), [([2], [-1.0, 2.0])], [([2], [below, 2.1014])])
        self.write("new/data.json", b'{"rtol": 1e-6}')
        self.assertEqual(self.run_all()[0]["new"]["result"], "failed")

    def test_lp_pool_1(self):
        """The order of the norm was a float."""
        x = ([1, 1, 4], [1.0, -2.0, 3.0, -4.0])
        self.passes("pool", one("LpPool", 1, [("x", [1, 1, 4])], [1, 1, 2], extra=number("p", 1.0), kernel_shape=[2], strides=[2]),
                    [x], [([1, 1, 2], [3.0, 7.0])])
        self.passes("global", one("GlobalLpPool", 1, [("x", [1, 1, 4])], [1, 1, 1], extra=number("p", 1.0)), [x], [([1, 1, 1], [10.0])])
        self.add("part", one("GlobalLpPool", 1, [("x", [1, 1, 4])], [1, 1, 1], extra=number("p", 1.5)), [x], [([1, 1, 1], [10.0])])
        self.assertIn("attribute p is 1.5", self.run_all()[0]["part"]["reason"])

    def test_dropout_7(self):
        """The mask has the data's type."""
        self.passes("mask", one("Dropout", 7, [("x", [3])], [3], outputs=("y", "m")), [([3], [1.0, 2.0, 3.0])],
                    [([3], [1.0, 2.0, 3.0]), ([3], [1.0, 1.0, 1.0])])

    def test_batchnorm_7(self):
        """spatial = 0: statistics for every position."""
        names, v = ("x", "s", "b", "m", "v"), [[1.0, 2.0], [2.0, 3.0], [0.5, 0.25], [0.0, 1.0], [1.0, 4.0]]
        inputs = [(n, [1, 1, 2] if n == "x" else [1, 2]) for n in names]
        y = [s * (x - m) / math.sqrt(q + 1e-5) + b for x, s, b, m, q in zip(*v)]
        self.passes("every", one("BatchNormalization", 7, inputs, [1, 1, 2], spatial=0), [(d, x) for (_, d), x in zip(inputs, v)],
                    [([1, 1, 2], y)])

    def test_on_trial(self):
        """Operators that ONNX had on trial until opset 9: ConstantFill and DynamicSlice."""
        self.passes("slice", one("DynamicSlice", 8, [("x", [4])], [2], [("s", ox.tensor("s", [1], [1], ox.I64)),
                                                                        ("e", ox.tensor("e", [1], [3], ox.I64))]),
                    [([4], [1.0, 2.0, 3.0, 4.0])], [([2], [2.0, 3.0])])
        self.passes("fill", one("ConstantFill", 8, [], [2, 1], extra=number("value", 1.5), shape=[2, 1]), [], [([2, 1], [1.5, 1.5])])
        self.passes("like", one("ConstantFill", 8, [("x", [2])], [2, 1], extra=number("value", 1.5), extra_shape=[1]),
                    [([2], [0.0, 0.0])], [([2, 1], [1.5, 1.5])])
        self.passes("told", one("ConstantFill", 8, [], [3], [("n", ox.tensor("n", [1], [3], ox.I64))], input_as_shape=1), [],
                    [([3], [0.0, 0.0, 0.0])])

    def test_resize_11(self):
        """A way to count pixels that is gone since, and empty inputs for what is left out."""
        sizes = [("r", ox.tensor("r", [0], [])), ("s", ox.tensor("s", [0], [])), ("z", ox.tensor("z", [3], [1, 1, 2], ox.I64))]
        self.passes("half", one("Resize", 11, [("x", [1, 1, 4])], [1, 1, 2], sizes, mode="nearest", nearest_mode="floor",
                                coordinate_transformation_mode="tf_half_pixel_for_nn"),
                    [([1, 1, 4], [1.0, 2.0, 3.0, 4.0])], [([1, 1, 2], [2.0, 4.0])])


if __name__ == "__main__":
    GOPT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
