#!/usr/bin/env python3
"""bench/gpu.py where there is no GPU: its way to run gopt on PoCL, and what it prints of measurements that are made up.

  bench.py GOPT ROOT

Where PyTorch is installed, the whole program is tried too, on the processor.
"""
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
GOPT, ROOT = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
sys.path[:0] = [str(ROOT / "bench"), str(HERE.parent), str(HERE)]
import gpu  # noqa: E402
import gpu_table  # noqa: E402
import inputs  # noqa: E402
import networks  # noqa: E402
import peers  # noqa: E402

DIGITS = ROOT / "examples" / "digits.onnx"


def runs(*medians):
    return {"runs": [{"compute": {"min": 0.9 * m, "median": m, "p90": 1.2 * m}, "whole": {"min": m, "median": m + 0.1, "p90": 2 * m}} for m in medians]}


def row(network, batch, precision="fp16", gopt=None, **more):
    return {"network": network, "batch": batch, "precision": precision, "torch": {"eager": 2.0, "graph": 1.0, "error": 1e-3},
            "gopt": {"error": 2e-3, "top1": 1.0, **runs(0.5)} if gopt is None else gopt, **more}


def step(name, ms, floor, kind="Node"):
    return {"cat": kind, "name": name + "_kernel_time", "args": {"median_ms": ms, "ms": ms, "floor_ms": floor, "tactic": "mma", "op_name": "Conv"}}


class Gopt(unittest.TestCase):
    """gopt itself, on PoCL."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        inputs.write_npy(pathlib.Path(cls.folder.name, "x.npy"), "<f4", (2, 1, 8, 8), bytes(4 * 128))
        cls.gopt = gpu.Gopt(str(GOPT), "opencl", repeats=2, fresh=False, calls=5, warmup=0)

    def test_times(self):
        for gopt in (self.gopt, gpu.Gopt(str(GOPT), "opencl", repeats=1, fresh=True, calls=3, warmup=0)):
            t = gopt.times(DIGITS, self.folder.name, "fp16")
            self.assertEqual(len(t["runs"]), gopt.repeats)
            for r in t["runs"]:
                for times in r.values():
                    self.assertTrue(0 < times["min"] <= times["median"] <= times["p90"])
                self.assertLessEqual(r["compute"]["min"], r["whole"]["median"])

    def test_refused(self):
        t = self.gopt.times(DIGITS, self.folder.name, "fp17")
        self.assertEqual(set(t), {"refused"})
        self.assertIn("fp17", t["refused"])
        self.assertIsNone(self.gopt.profile(DIGITS, self.folder.name, "fp17"))

    def test_floors(self):
        """What is printed of gopt's own trace adds up to it, and what loses most stands first."""
        trace = self.gopt.profile(DIGITS, self.folder.name, "fp16")
        lines = gpu_table.floors_of(row("digits", 2, profile=trace), 4)
        args = [e["args"] for e in trace if e["cat"] == "Node" and e["args"]["floor_ms"] > 0]
        self.assertGreater(len(args), 4)
        took, floor = sum(a["median_ms"] for a in args), sum(a["floor_ms"] for a in args)
        self.assertIn(f"{len(args)} steps take {took:.4f} ms by the device's clock, at least {floor:.4f}: {100 * floor / took:.0f}%", lines[0])
        self.assertEqual(len(lines), 2 + 4)
        lost = sorted((a["median_ms"] - a["floor_ms"] for a in args), reverse=True)
        self.assertEqual([l.split()[0] for l in lines[2:]], [f"{x:.4f}" for x in lost[:4]])
        self.assertTrue(any("Conv" in l for l in lines[2:]))


class Table(unittest.TestCase):
    H200 = "NVIDIA H200"

    def test_targets(self):
        rows = [row("resnet50", 1, gopt=runs(0.20, 0.30, 0.25)), row("resnet50", 64, gopt=runs(3.6)), row("bert", 1, gopt=runs(0.61)),
                row("bert", 1, "fp32", gopt=runs(0.1)), row("alexnet", 1)]
        self.assertEqual([gpu_table.target_of(r, self.H200) for r in rows], ["0.26 reached", "2.4 missed, 1.50 times", "0.6 missed, 1.02 times", "", ""])
        self.assertEqual(gpu_table.summary_of(rows, self.H200), "1 of 3 targets reached")
        self.assertEqual(gpu_table.target_of(rows[0], "NVIDIA H100"), "0.26 (of an H200)")
        self.assertIn("not judged", gpu_table.summary_of(rows, "NVIDIA H100"))

    def test_lines(self):
        rows = [row("resnet18", 1, gopt={**runs(0.4, 0.5, 0.6), "error": 2e-3, "top1": 0.75}, **{"no-fuse": runs(1.0)}),
                row("resnet18", 1, "tf32", gopt={"refused": "no tf32 here"})]
        rows[0]["torch"]["folded"] = 0.75
        rows[0]["torch"]["top1"] = 0.875
        head = gpu_table.head().split()
        full, refused = gpu_table.times_of(rows, self.H200)
        cells = dict(zip(head[:2] + ["precision"] + " ".join(head[2:]).replace("x graph", "x-graph").replace("x eager", "x-eager").split(), full.split()))
        want = {"network": "resnet18", "batch": "1", "precision": "fp16", "eager": "2.000", "graph": "1.000", "folded": "0.750", "compile": "-", "gopt": "0.500",
                "whole": "0.600", "no-fuse": "1.000", "x-graph": "1.50", "x-eager": "4.00", "error": "2.0e-03", "torch": "1.0e-03", "top-1": "0.750",
                "torch-1": "0.875", "target": "0.12"}
        self.assertEqual(cells, want)
        self.assertTrue(full.endswith("0.12 missed, 4.17 times"))
        self.assertTrue(refused.startswith("resnet18") and refused.endswith("refused: no tf32 here"))
        self.assertEqual(gpu_table.fusion_of(rows), ["resnet18 batch 1 fp16: 1.000 ms without fusions, 2.00 times 0.500"])
        self.assertEqual(len(set(map(len, (gpu_table.head().split("  target")[0], full[:len(gpu_table.head()) - 8])))), 1)

    def test_spread(self):
        lines = gpu_table.spread_of([row("bert", 1, gopt=runs(0.6, 0.85, 0.7)), row("bert", 8, gopt={"refused": "no"}), row("bert", 2, gopt=runs(1.0))])
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[0].endswith("42% apart"), lines[0])
        self.assertIn("0.540 0.600 0.720   0.765 0.850 1.020   0.630 0.700 0.840", lines[0])
        self.assertNotIn("apart", lines[1])

    def test_floors(self):
        top = {"gflops": 6e5, "memory_gbytes": 4300, "cache_gbytes": 6000, "launch_ms": 2e-3}
        trace = [{"cat": "Session", "name": "model_run", "args": {"ceilings": top}}, step("near", 1.0, 0.9), step("far", 0.5, 0.1), step("copy", 3.0, 0),
                 step("under", 0.1, 0.2), step("far", 9, 1, "Part")]
        lines = gpu_table.floors_of(row("x", 1, profile=trace), 10)
        self.assertIn("3 steps take 1.6000 ms by the device's clock, at least 1.2000: 75%", lines[0])
        self.assertEqual([l.split()[2] + l.split()[-1] for l in lines[2:]], ["20%far", "90%near", "200%under"])
        self.assertEqual(gpu_table.floors_of(row("x", 1), 10), [])
        self.assertIn("not known", gpu_table.floors_of(row("x", 1, profile=[{**trace[0], "args": {}}]), 10)[0])

    def test_show(self):
        """A saved measurement is printed as it was, with nothing but Python."""
        found = {"card": self.H200, "pytorch": "2.11", "rows": [row("bert", 1, gopt=runs(0.55, 0.6, 0.85)), row("bert", 1, "tf32", gopt={"refused": "why"})]}
        found["rows"][0]["torch"]["compile failed"] = "no triton"
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d, "found.json")
            path.write_text(json.dumps(found))
            p = subprocess.run([sys.executable, "-S", ROOT / "bench" / "gpu.py", "--show", path], capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertEqual(p.stdout.strip(), gpu_table.report(found))
        for says in ("1 of 1 targets reached", "refused: why", "torch.compile: no triton", "55% apart", "NVIDIA H200, PyTorch 2.11"):
            self.assertIn(says, p.stdout)


@unittest.skipUnless(importlib.util.find_spec("torch") and importlib.util.find_spec("numpy"), "PyTorch is not installed")
class Whole(unittest.TestCase):
    def test_on_the_processor(self):
        p = subprocess.run([sys.executable, ROOT / "bench" / "gpu.py", "--gopt", GOPT, "--device", "cpu", "--batches", "2", "--repeats", "2", "--precisions"],
                           capture_output=True, text=True)
        self.assertEqual(p.returncode, 0, p.stderr[-2000:])
        last = p.stdout[p.stdout.index("PyTorch"):]
        for says in ("small_images", "small_bert", "fp16", "fp32", "without fusions", "of floor", "apart"):
            self.assertIn(says, last)


if __name__ == "__main__":
    peers.need_opencl(str(GOPT))
    unittest.main(argv=sys.argv[:1])
