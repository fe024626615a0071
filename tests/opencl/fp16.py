#!/usr/bin/env python3
"""What `gopt run --precision fp16` keeps in fp32: --calibrate, --keep-fp32, weights, and the warning without.

  fp16.py NAME GOPT      NAME: a class below, or all

On whatever OpenCL device is there; exits with 77 where none is. Needs Python's standard library alone.
"""
import json
import pathlib
import subprocess
import sys
import unittest
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
sys.path.append(str(HERE.parent / "cli"))
import gopt_case  # noqa: E402
import onnx_bytes as ox  # noqa: E402
from networks import SANITIZED, off  # noqa: E402

FP16 = ("--backend", "opencl", "--precision", "fp16")

# %d is Conv+Relu of some 30 times x squared: within halves where x is about 1, beyond where it is about 1000.
NETWORK = """graph (%x: f32[1,8,6,6]) {
  %a = Conv %x, dense<f32[16,8,3,3], #a> { pads = [1,1,1,1] } @"stem"
  %b = Mul %a, %a @"square"
  %c = Conv %b, dense<f32[16,16,1,1], #b> @"loud"
  %d = Relu %c @"relu"
  %e = Conv %d, dense<f32[8,16,1,1], #c> @"quiet"
  %p = Abs %e @"abs"
  %f = Sqrt %p @"sqrt"
  %g = Conv %f, dense<f32[8,8,1,1], #d> @"last"
  return %g as "y"
}
"""

# Rows of the mask that are the least float throughout: in halves they are -inf, and their softmax is NaN.
MASKED = """graph (%x: f32[1,2,6,8], %mask: f32[1,1,6,6]) {
  %h = Mul %x, dense<f32[], 0.5>
  %q = Mul %x, dense<f32[], 300.0> @"queries"
  %m = Mul %mask, dense<f32[], -3.4028235e+38> @"mask"
  %k = Transpose %h { perm = [0,1,3,2] }
  %s = MatMul %q, %k @"scores"
  %t = Mul %s, dense<f32[], 90.0>
  %u = Add %t, %m
  %p = Softmax %u { axis = -1 }
  %v = MatMul %p, %h
  %t2 = Mul %s, dense<f32[], 50.0>
  %u2 = Add %t2, %m
  %p2 = Softmax %u2 { axis = -1 }
  %v2 = MatMul %p2, %x
  %w = Add %v, %v2
  return %w as "y"
}
"""

HEAVY = """graph (%x: f32[4,16]) {
  %a = MatMul %x, dense<f32[16,8], #a> @"before"
  %b = Relu %a
  %c = MatMul %b, dense<f32[8,2], [1e5,2.0,3.0,4.0,5.0,6.0,7.0,8.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0], "w"> @"heavy"
  return %c as "y"
}
"""


def values(n, scale, seed=1):
    out = []
    for _ in range(n):
        seed = (seed * 1103515245 + 12345) % 2 ** 31
        out.append((seed / 2 ** 30 - 1) * scale)
    return out


class Case(gopt_case.Case):
    def program(self):
        return GOPT

    def npy(self, name, shape, data):
        return self.write(name, ox.npy(shape, data))

    def read(self, name):
        return ox.read_npy((self.dir / name).read_bytes())[1]

    def image(self, name, scale, seed=1):
        return self.npy(name, (1, 8, 6, 6), values(288, scale, seed))

    def npz(self, name, **arrays):
        (self.dir / name).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self.dir / name, "w") as z:
            for key, file in arrays.items():
                z.write(self.dir / file, f"{key}.npy")
        return name

    def run_as(self, *args, **kw):
        """Runs in fp16: what was said, what stayed in fp32, and the answer."""
        p = self.gopt("run", *args, *FP16, "--output-dir", "out", "--json", "out.json", **kw)
        j = json.loads((self.dir / "out.json").read_text())
        return p, j["kept_fp32"], self.read("out/y.npy")

    def right(self, got, *args):
        self.gopt("run", *args, "--output-dir", "cpu")
        self.assertLess(off(got, self.read("cpu/y.npy")), 0.01)


class Calibrate(Case):
    def setUp(self):
        super().setUp()
        self.write("net.gir", NETWORK)
        self.image("loud.npy", 1000)
        self.image("calm.npy", 1)

    def test_without(self):
        p, kept, y = self.run_as("net.gir", "--input", "loud.npy")
        self.assertEqual(kept, [])
        self.assertTrue(any(v != v or abs(v) == float("inf") for v in y))
        self.assertIn("warning: output y: ", p.stderr)
        self.assertIn("--calibrate", p.stderr)
        p, kept, y = self.run_as("net.gir", "--input", "calm.npy")
        self.assertNotIn("warning", p.stderr)
        self.right(y, "net.gir", "--input", "calm.npy")

    def test_inputs_of_the_run(self):
        p, kept, y = self.run_as("net.gir", "--input", "loud.npy", "--calibrate", "--remarks")
        self.right(y, "net.gir", "--input", "loud.npy")
        self.assertNotIn("warning", p.stderr)
        self.assertRegex(p.stderr, r"note: net.gir: \d layers stay in fp32: .*loud: its result reaches [0-9.e+]+, beyond what "
                                   r"fp16 holds \(65504\)")
        self.assertIn(["loud", "relu"], [k["nodes"] for k in kept])
        self.assertTrue(any(k["reason"].startswith("it reads d, which reaches ") for k in kept), kept)
        self.assertNotIn("last", [n for k in kept for n in k["nodes"]])
        self.assertIn("declined fp16 at loud: its result reaches ", p.stdout)
        again = self.run_as("net.gir", "--input", "loud.npy", "--calibrate")
        self.assertEqual(again[1:], (kept, y))

    def test_random(self):
        p, _, _ = self.run_as("net.gir", "--calibrate")
        self.assertIn("calibrated with random inputs", p.stderr)

    def test_every_place(self):
        self.npz("one.npz", x="loud.npy")
        self.npz("npzs/a.npz", x="calm.npy")
        self.npz("npzs/b.npz", x="loud.npy")
        self.image("npys/1.npy", 1000)
        self.image("npys/2.npy", 10)
        self.image("named/x.npy", 1000)
        for i, scale in enumerate((1, 1000, 2)):
            self.write(f"sets/test_data_set_{i}/input_0.pb", ox.tensor("x", [1, 8, 6, 6], values(288, scale)))
        self.write("sets/model.onnx", b"")
        for place, n in (("loud.npy", 1), ("one.npz", 1), ("npzs", 2), ("npys", 2), ("named", 1), ("sets", 3),
                         ("sets/test_data_set_1", 1)):
            with self.subTest(place):
                p, kept, y = self.run_as("net.gir", "--input", "loud.npy", f"--calibrate={place}")
                self.assertIn(["loud", "relu"], [k["nodes"] for k in kept])
                self.assertEqual(json.loads((self.dir / "out.json").read_text())["calibration_samples"], n)
                self.right(y, "net.gir", "--input", "loud.npy")

    @unittest.skipIf(SANITIZED, "a sanitizer holds what was freed")
    def test_memory(self):
        """It does not grow with the number of samples."""
        self.write("net.gir", "graph (%x: f32[1,8,128,128]) {\n  %y = Relu %x\n  return %y\n}\n")
        data = (self.dir / self.npy("few/0.npy", (1, 8, 128, 128), values(8 * 128 * 128, 1))).read_bytes()

        def peak(folder):
            self.run_as("net.gir", f"--calibrate={folder}")
            return json.loads((self.dir / "out.json").read_text())["peak_rss_bytes"]
        for i in range(120):
            self.write(f"many/{i}.npy", data)
        few = [peak("few") for _ in range(2)][1]  # the first compiles, and remembers what
        self.assertLess(peak("many"), few + 20 * len(data))

    def test_profile(self):
        p = self.gopt("run", "net.gir", *FP16, "--input", "loud.npy", "--calibrate", "--profile", "-")
        self.assertIn(" stays in fp32: its result reaches ", p.stdout)
        self.gopt("run", "net.gir", *FP16, "--input", "loud.npy", "--calibrate", "--profile", "out.json")
        self.assertIn('"fp32":"its result reaches ', (self.dir / "out.json").read_text())

    def test_second_sample(self):
        self.image("both/1.npy", 1)
        self.assertEqual(self.run_as("net.gir", "--input", "calm.npy", "--calibrate=both")[1], [])
        self.image("both/2.npy", 1000)
        kept = self.run_as("net.gir", "--input", "calm.npy", "--calibrate=both")[1]
        self.assertIn(["loud", "relu"], [k["nodes"] for k in kept])

    def test_wrong(self):
        (self.dir / "empty").mkdir()
        self.write("text/readme.txt", "no sample")
        self.npy("small.npy", (1, 8, 5, 6), values(240, 1))
        self.write("two.gir", "graph (%x: f32[4], %z: f32[4]) {\n  %y = Add %x, %z\n  return %y\n}\n")
        self.write("pairs/a/x.npy", (self.dir / self.npy("x.npy", (4,), values(4, 1))).read_bytes())

        def fails(code, says, model, *args):
            p = self.gopt("run", model, *args, code=code)
            for s in says:
                self.assertIn(s, p.stderr)
        fails(3, ("nowhere",), "net.gir", *FP16, "--calibrate=nowhere")
        for place in ("empty", "text"):
            fails(3, (f"error: {place}: holds no sample to calibrate with", "hint:"), "net.gir", *FP16,
                  f"--calibrate={place}")
        fails(3, ("small.npy", "input x is f32[1,8,5,6], expected f32[1,8,6,6]"), "net.gir", *FP16,
              "--calibrate=small.npy")
        fails(3, ("x.npy", "the model has 2 inputs", ".npz"), "two.gir", *FP16, "--calibrate=x.npy")
        fails(3, ("pairs/a", "no file for input z"), "two.gir", *FP16, "--calibrate=pairs")
        fails(2, ("--calibrate is for runs in fp16, and this one is in fp32", "--precision fp16"), "net.gir", "--calibrate")
        fails(2, ("--keep-fp32 is for runs in fp16",), "net.gir", "--keep-fp32", "loud")
        fails(2, ("'calm.npy'", "--calibrate=calm.npy"), "net.gir", *FP16, "--calibrate", "calm.npy")

    def test_plan(self):
        _, kept, y = self.run_as("net.gir", "--input", "loud.npy", "--calibrate", "--plan", "net.gplan")
        self.gopt("run", "net.gplan", "--verify", "--input", "loud.npy", "--output-dir", "out", "--json", "plan.json")
        self.assertEqual(json.loads((self.dir / "plan.json").read_text())["kept_fp32"], kept)
        self.assertEqual(self.read("out/y.npy"), y)
        for flag in ("--calibrate", "--keep-fp32=loud"):
            p = self.gopt("run", "net.gplan", flag, code=2)
            self.assertIn("has no effect on a plan", p.stderr)

    def test_masks(self):
        self.write("net.gir", MASKED)
        self.npy("x.npy", (1, 2, 6, 8), values(96, 40))
        self.npy("mask.npy", (1, 1, 6, 6), [1.0 if i in (0, 3) or k > 3 else 0.0 for i in range(6) for k in range(6)])
        given = ("net.gir", "--input", "x=x.npy", "--input", "mask=mask.npy")
        _, kept, y = self.run_as(*given)
        self.assertTrue(any(v != v for v in y))
        _, kept, y = self.run_as(*given, "--calibrate")
        self.assertTrue(any("mask" in k["nodes"] for k in kept), kept)
        self.right(y, *given)


class Inputs(Case):
    """What the host gives may be too large itself."""

    def stays(self, model, reason, **given):
        self.write("net.gir", model)
        flags = [f for name, file in given.items() for f in ("--input", f"{name}={file}")]
        before = self.run_as("net.gir", *flags)[2]
        p, kept, y = self.run_as("net.gir", *flags, "--calibrate")
        self.right(y, "net.gir", *flags)
        self.assertTrue(any(v != v or abs(v) == float("inf") for v in before) or off(before, y) > 0.01)
        self.assertTrue(any(k["reason"].startswith(reason) for k in kept), kept)

    def test_products(self):
        self.stays("graph (%x: f32[1,8,6,6]) {\n  %a = Conv %x, dense<f32[8,1,3,3], #a> { group = 8 } @\"each\"\n"
                   "  %a1 = Mul %a, dense<f32[], 0.01>\n  %b = Conv %x, dense<f32[8,8,3,3], #b> @\"all\"\n"
                   "  %b1 = Mul %b, dense<f32[], 0.01>\n  %y = Sub %a1, %b1\n  return %y\n}\n",
                   "it reads x, which reaches ", x=self.image("x.npy", 200000))
        self.stays("graph (%x: f32[8,16]) {\n  %a = MatMul %x, dense<f32[16,8], #a>\n"
                   "  %y = Mul %a, dense<f32[], 0.01>\n  return %y\n}\n",
                   "it reads x, which reaches ", x=self.npy("rows.npy", (8, 16), values(128, 200000)))


class Keep(Case):
    def test_names(self):
        self.write("net.gir", NETWORK)
        self.image("x.npy", 1)
        for names, at in (("loud", {"loud"}), ("stem,last", {"stem", "last"}), ("l*", {"loud", "last"}), ("d", {"relu"})):
            with self.subTest(names):
                p, kept, y = self.run_as("net.gir", "--input", "x.npy", "--keep-fp32", names)
                named = {n for k in kept for n in k["nodes"] if k["reason"] == "--keep-fp32 names it"}
                self.assertLessEqual(at, named, kept)
                self.right(y, "net.gir", "--input", "x.npy")
        p = self.gopt("run", "net.gir", *FP16, "--keep-fp32", "stem,luod", code=2)
        self.assertIn("no node or tensor is called 'luod'", p.stderr)
        self.assertIn("hint: did you mean loud?", p.stderr)

    def test_gone(self):
        self.write("net.gir", "graph (%x: f32[2,8]) {\n  %a = Identity %x @\"same\"\n"
                              "  %y = MatMul %a, dense<f32[8,8], #a> @\"product\"\n  return %y\n}\n")
        p = self.gopt("run", "net.gir", *FP16, "--keep-fp32", "same")
        self.assertIn("nothing is left of 'same' to be kept", p.stderr)


class Weights(Case):
    def test_heavy(self):
        self.write("net.gir", HEAVY)
        p, kept, y = self.run_as("net.gir", "--remarks=fp16")
        why = "its weight w reaches 100000, beyond what fp16 holds (65504)"
        self.assertEqual([(k["nodes"], k["reason"]) for k in kept], [(["heavy"], why)])
        self.assertIn(f"note: net.gir: 1 layer stays in fp32: heavy: {why}", p.stderr)
        self.assertIn(f"declined fp16 at heavy: {why}", p.stdout)
        self.right(y, "net.gir")


if __name__ == "__main__":
    name, GOPT = sys.argv[1], str(pathlib.Path(sys.argv[2]).resolve())
    found = json.loads(subprocess.run([GOPT, "devices", "--json", "-"], capture_output=True, text=True).stdout)
    if not any(d["backend"] == "opencl" and not d["missing"] for d in found):
        print("there is no OpenCL device")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *([] if name == "all" else [name])])
