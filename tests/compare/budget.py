#!/usr/bin/env python3
"""gopt compare with --budget: what is measured, what is refused, and what a continuous-integration job gets to read.

  budget.py CASE GOPT      CASE: a class below, or all"""
import json
import pathlib
import sys
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / d) for d in ("cli", ".")]
import gopt_case
import onnx_bytes as ox

GOPT = None
DIGITS = str(pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "digits.onnx")
EXAMPLE = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "budget.json"


def network(*between, weights=(1.0, 10.0), extra=()):
    """x f32[1,2,2,2] -> Conv 1x1 -> what lies between -> Relu -> y, all nodes named"""
    nodes, last = [ox.node("Conv", ["x", "w"], ["c"], "conv")], "c"
    for i, op in enumerate(between):
        nodes.append(ox.node(op, [last], [f"b{i}"], f"between{i}"))
        last = f"b{i}"
    return ox.model(ox.graph([*nodes, ox.node("Relu", [last], ["y"], "relu"), *extra], [ox.value("x", [1, 2, 2, 2])],
                             [ox.value("y", [1, 1, 2, 2])], [ox.tensor("w", [1, 2, 1, 1], list(weights))]))


class Case(gopt_case.Case):
    def setUp(self):
        super().setUp()
        self.write("a.onnx", network())

    def program(self):
        return GOPT

    def judge(self, budget, *args, code=0):
        """The paragraph (empty where within), and the JSON's budget."""
        self.write("budget.json", json.dumps(budget))
        p = self.gopt("compare", *args, "--budget", "budget.json", "--json", "out.json", code=code)
        errors = [l for l in p.stderr.splitlines() if l.startswith("error: ")]
        self.assertEqual(len(errors), 1 if code else 0, p.stderr)
        j = json.loads((self.dir / "out.json").read_text()) if code in (0, 1) else {"budget": None}
        return errors[0] if errors else "", j["budget"]


class Limits(Case):
    ALL = {"nodes": {"ratio": 1}, "optimized_nodes": {"ratio": 1}, "steps": {"ratio": 1}, "parameter_bytes": {"ratio": 1},
           "file_bytes": {"ratio": 1}, "memory_bytes": {"ratio": 1}, "latency_ms": {"ratio": 5}, "fusions_lost": 0, "lint_errors": 0,
           "lint_warnings": {"ratio": 1}, "answers": {"rtol": 0, "atol": 0}}

    def test_equal_models_are_within(self):
        self.write("b.onnx", network())
        why, b = self.judge(self.ALL, "a.onnx", "b.onnx")
        self.assertTrue(b["passed"])
        self.assertIsNone(b["reason"])
        self.assertEqual({l["name"] for l in b["limits"]}, set(self.ALL) - {"answers"})
        self.assertTrue(all(l["passed"] for l in b["limits"]))
        values = {l["name"]: (l["a"], l["b"]) for l in b["limits"]}
        self.assertEqual(values["nodes"], (2, 2))
        self.assertEqual(values["parameter_bytes"], (8, 8))
        self.assertEqual(values["file_bytes"], (len(network()),) * 2)
        self.assertGreater(values["latency_ms"][0], 0)

    def test_each_limit(self):
        self.write("b.onnx", network("Tanh", "Identity", extra=[ox.node("Neg", ["x"], ["d"], "dead")]))
        for key, limit, says in [("nodes", {"ratio": 1.5}, "nodes is 5, 2.5 times the first's 2, allowed at most 1.5 times"),
                                 ("nodes", 4, "nodes is 5, allowed at most 4"),
                                 ("nodes", {"max": 4, "ratio": 3}, "nodes is 5, allowed at most 4"),
                                 ("optimized_nodes", {"ratio": 1}, "optimized_nodes is 3"),
                                 ("file_bytes", {"max": 10}, "file_bytes is"),
                                 ("memory_bytes", 1, "memory_bytes is"),
                                 ("latency_ms", 0, "latency_ms is"),
                                 ("lint_warnings", 0, "lint_warnings is 1, allowed at most 0"),
                                 ("lint_warnings", {"ratio": 2}, "lint_warnings is 1, the first has none")]:
            with self.subTest(key=key, limit=limit):
                why, b = self.judge({key: limit, "answers": False}, "a.onnx", "b.onnx", code=1)
                self.assertIn("b.onnx: is over the budget of budget.json: " + says, why)
                self.assertFalse(b["passed"])
                self.assertEqual([l["passed"] for l in b["limits"]], [False])
                self.assertIn(says, b["reason"])

    def test_better_is_within(self):
        self.write("b.onnx", network("Identity", "Identity"))
        self.judge({"nodes": {"ratio": 1}, "file_bytes": {"ratio": 1}}, "b.onnx", "a.onnx")

    def test_external_data_count(self):
        g = ox.graph([ox.node("Conv", ["x", "w"], ["y"], "conv")], [ox.value("x", [1, 2, 2, 2])], [ox.value("y", [1, 1, 2, 2])],
                     [ox.external("w", [1, 2, 1, 1], {"location": "w.bin"})])
        self.write("w.bin", bytes(8))
        self.write("b.onnx", ox.model(g))
        _, b = self.judge({"file_bytes": 1000000, "answers": False}, "a.onnx", "b.onnx")
        self.assertEqual(b["limits"][0]["b"], len(ox.model(g)) + 8)

    def test_answers(self):
        self.write("a.onnx", network(weights=(-1.0, -10.0)))
        self.write("b.onnx", network(weights=(-1.0, -10.1)))
        why, b = self.judge({"nodes": 9}, "a.onnx", "b.onnx", code=1)
        self.assertIn("1 of 1 outputs differ", why)
        self.assertTrue(b["limits"][0]["passed"])
        self.judge({"nodes": 9, "answers": {"rtol": 0.5}}, "a.onnx", "b.onnx")
        self.judge({"nodes": 9, "answers": False}, "a.onnx", "b.onnx")
        self.gopt("compare", "a.onnx", "b.onnx", code=1)

    def test_pictures_and_page_where_it_fails(self):
        self.write("b.onnx", network("Tanh"))
        self.write("budget.json", json.dumps({"nodes": 1, "answers": False}))
        self.gopt("compare", "a.onnx", "b.onnx", "--budget", "budget.json", "--dot", "out.dot", "--html", "out.html", code=1)
        dot = (self.dir / "out.dot").read_text()
        self.assertIn("digraph", dot)
        self.assertTrue((self.dir / "out.before.dot").exists() and (self.dir / "out.after.dot").exists())
        self.assertIn("<html", (self.dir / "out.html").read_text())

    def test_one_paragraph(self):
        self.write("b.onnx", network("Tanh"))
        p, _ = self.judge({"nodes": 1, "optimized_nodes": 1, "answers": False}, "a.onnx", "b.onnx", code=1)
        self.assertIn("nodes is 3, allowed at most 1; optimized_nodes is 3, allowed at most 1", p)


class Fusions(Case):
    def lost(self, *args, code=1):
        _, b = self.judge({"fusions_lost": 0, "answers": False}, *args, code=code)
        return b["fusions_lost"]

    def test_kept(self):
        self.assertEqual(self.lost(DIGITS, DIGITS, code=0), [])

    def test_kept_in_an_optimized_file(self):
        """What the file has merged already is no fusion that is lost."""
        self.gopt("optimize", DIGITS, "-o", "small.onnx", "-q")
        self.assertEqual(self.lost(DIGITS, "small.onnx", code=0), [])

    def test_something_between(self):
        self.write("b.onnx", network("Transpose"))
        lost = self.lost("a.onnx", "b.onnx")
        self.assertEqual(len(lost), 1)
        self.assertIn("at conv, relu", lost[0]["fusion"])
        self.assertTrue(lost[0]["reason"])

    def test_switched_off(self):
        lost = self.lost(DIGITS, "--a", "cpu", "--b", "cpu,no-fuse")
        self.assertGreater(len(lost), 3)
        self.assertEqual({l["reason"] for l in lost}, {"the pass fuse-horizontal did not run there", "the pass fuse-vertical did not run there"})

    def test_other_names(self):
        """Without names in common, kinds are counted."""
        renamed = network().replace(b"conv", b"CONV").replace(b"relu", b"RELU")
        self.write("b.onnx", renamed)
        self.assertEqual(self.lost("a.onnx", "b.onnx", code=0), [])
        self.write("b.onnx", network("Transpose").replace(b"conv", b"CONV").replace(b"relu", b"RELU"))
        self.assertIn("no nodes of these names", self.lost("a.onnx", "b.onnx")[0]["reason"])


class Refused(Case):
    def refuses(self, text, says, hint=""):
        self.write("budget.json", text)
        p = self.gopt("compare", "a.onnx", "a.onnx", "--budget", "budget.json", code=3)
        self.assertIn(says, p.stderr)
        self.assertIn(hint, p.stderr)

    def test_all(self):
        self.refuses('{"node": 3}', 'a budget has no key "node"', 'did you mean "nodes"?')
        self.refuses('{"something else entirely": 3}', "has no key", "docs/compare.md")
        self.refuses('{"nodes": {"maximum": 3}}', 'nodes has no key "maximum"')
        self.refuses('{"nodes": {}}', "no limit")
        self.refuses('{"nodes": -1}', "no limit")
        self.refuses('{"nodes": "3"}', "no limit", '{"max": N, "ratio": R}')
        self.refuses('{"nodes": {"ratio": "3"}}', "no number")
        self.refuses('{"fusions_lost": {"ratio": 1}}', "it has no ratio", '{"max": 0}')
        self.refuses('{"answers": true}', "neither tolerances nor false")
        self.refuses('{"answers": {"tol": 1}}', 'answers has no key "tol"', 'did you mean "rtol"?')
        self.refuses('{"about": 1}', "no text")
        self.refuses("[1]", "no JSON object")
        self.refuses('{"nodes": 3,', "line 1")
        self.refuses('{"nodes": 3, "nodes": 4}', "duplicate")

    def test_missing_file(self):
        p = self.gopt("compare", "a.onnx", "a.onnx", "--budget", "none.json", code=3)
        self.assertIn("none.json: cannot be read", p.stderr)


class Reports(Case):
    """Two --json files of runs in place of models."""

    def setUp(self):
        super().setUp()
        for name, ms in ("a", 2.0), ("b", 3.0):
            self.write(f"{name}.json", json.dumps({"latency_ms": {"median": ms}, "activation_bytes": 100, "weight_bytes": 50, "steps": 4}))

    def test_numbers(self):
        p = self.gopt("compare", "a.json", "b.json")
        self.assertRegex(p.stdout, r"latency_ms.median +2 → 3 +1.500")

    def test_budget(self):
        why, b = self.judge({"latency_ms": {"ratio": 1.2}, "memory_bytes": 150}, "a.json", "b.json", code=1)
        self.assertIn("latency_ms is 3 ms, 1.5 times the first's 2 ms, allowed at most 1.2 times", why)
        self.judge({"latency_ms": {"ratio": 1.6}}, "a.json", "b.json")

    def test_what_it_does_not_say(self):
        self.write("budget.json", '{"nodes": 3}')
        p = self.gopt("compare", "a.json", "b.json", "--budget", "budget.json", code=3)
        self.assertIn("b.json: does not say its nodes", p.stderr)

    def test_of_real_runs(self):
        for name in "ab":
            self.gopt("run", "a.onnx", "--iterations", "5", "--json", f"{name}.json", "-q")
        self.judge({"latency_ms": {"ratio": 100}, "memory_bytes": {"ratio": 1}, "steps": {"ratio": 1}}, "a.json", "b.json")


class Example(Case):
    def test_is_read_and_holds(self):
        budget = json.loads(EXAMPLE.read_text())
        budget["latency_ms"] = {"ratio": 10}  # of a network of microseconds, on a machine that may be busy
        self.judge(budget, DIGITS, DIGITS)


if __name__ == "__main__":
    name, GOPT = sys.argv[1], str(pathlib.Path(sys.argv[2]).resolve())
    unittest.main(argv=[sys.argv[0], *([] if name == "all" else [name])])
