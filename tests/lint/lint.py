#!/usr/bin/env python3
"""gopt inspect --lint: every rule where it finds something and where it must not, and what the command line promises.

  lint.py CASE GOPT      CASE: a class below, or all"""
import json
import pathlib
import sys
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent)]
import cases
import gopt_case

ox, gir, GOPT = cases.ox, cases.gir, None


class Case(gopt_case.Case):
    def program(self):
        return GOPT

    def write(self, model):
        return super().write("model.onnx" if isinstance(model, bytes) else "model.gir", model)

    def lint(self, model, rules="", *more, code=0):
        flag = f"--lint={rules}" if rules else "--lint"
        p = self.gopt("inspect", self.write(model), flag, "--json", "-", *more, code=code)
        return json.loads(p.stdout)["lint"]


class Rules(Case):
    def rules(self):
        return json.loads(self.gopt("inspect", "--list-lint", "--json", "-").stdout)

    def test_each_is_tested_both_ways(self):
        names = {r["name"] for r in self.rules()}
        self.assertEqual(names, set(cases.FOUND))
        self.assertEqual(names, set(cases.CLEAN))

    def test_rows_are_whole(self):
        for r in self.rules():
            for key in ("name", "group", "finds", "why", "fix"):
                self.assertTrue(r[key] and r[key].strip() == r[key], r)

    def test_found(self):
        severity = {r["name"]: r["severity"] for r in self.rules()}
        for rule, models in cases.FOUND.items():
            for i, (model, message) in enumerate(models):
                with self.subTest(rule=rule, case=i):
                    r = self.lint(model, rule, code=1 if severity[rule] == "error" else 0)
                    self.assertTrue(r["findings"], f"nothing found in\n{model if isinstance(model, str) else ''}")
                    self.assertEqual(r["rules"], 1)
                    self.assertIn(message, "\n".join(f["message"] for f in r["findings"]))
                    for f in r["findings"]:
                        self.assertEqual((f["rule"], f["severity"]), (rule, severity[rule]))
                        self.assertTrue(f["fix"])
                        self.assertEqual(f["cost"] is None, f["unit"] is None)

    def test_clean(self):
        for rule, models in cases.CLEAN.items():
            for i, model in enumerate(models):
                with self.subTest(rule=rule, case=i):
                    self.assertEqual(self.lint(model, rule)["findings"], [])

    def test_all_rules_on_all_models(self):
        """None stumbles over what another is for."""
        for models in [m for m, _ in sum(cases.FOUND.values(), [])], sum(cases.CLEAN.values(), []):
            for model in models:
                r = self.lint(model, "all", "--lint-fail", "never")
                self.assertEqual(r["errors"] + r["warnings"] + r["notes"], len(r["findings"]))

    def test_costs(self):
        def cost(rule):
            f = self.lint(cases.FOUND[rule][0][0], rule, "--lint-fail", "never")["findings"][0]
            return f["cost"], f["unit"]
        self.assertEqual(cost("unused-initializer"), (12, "bytes"))
        self.assertEqual(cost("duplicate-weight"), (1024, "bytes"))
        self.assertEqual(cost("huge-constant"), (280000, "bytes"))
        self.assertEqual(cost("double"), (8, "bytes"))
        self.assertEqual(cost("nan-weight"), (1, "elements"))
        self.assertEqual(cost("shape-arithmetic"), (4, "nodes"))
        self.assertEqual(cost("channels"), (2 * 20 * 24 // 5, "flops"))
        self.assertEqual(cost("quantized-late"), (18, "bytes"))
        self.assertEqual(cost("transpose-pair"), (2 * 4 * 60, "bytes"))

    def test_mended(self):
        """What a rule says that gopt optimize mends is gone afterwards."""
        for rule in ("unused-initializer", "initializer-input", "unsorted-nodes", "stale-types", "huge-constant", "dead-node",
                     "no-effect", "foldable", "shape-arithmetic", "constant-if", "cast-back", "duplicate-weight", "transpose-pair",
                     "batchnorm", "quantized-late"):
            with self.subTest(rule=rule):
                self.gopt("optimize", self.write(cases.FOUND[rule][0][0]), "-o", "better.onnx", "-q")
                p = self.gopt("inspect", "better.onnx", f"--lint={rule}", "--json", "-")
                self.assertEqual(json.loads(p.stdout)["lint"]["findings"], [])


class Command(Case):
    BAD = cases.FOUND["nan-weight"][0][0]
    DEAD = cases.FOUND["dead-node"][0][0]

    def test_exit(self):
        m = self.write(self.BAD)
        self.gopt("inspect", m, "--lint", code=1)
        self.gopt("inspect", m, "--lint", "--lint-fail", "never")
        self.gopt("inspect", m, "--lint=-nan-weight")
        self.gopt("inspect", m)
        d = self.write(self.DEAD)
        self.gopt("inspect", d, "--lint")
        self.gopt("inspect", d, "--lint", "--lint-fail", "warning", code=1)
        self.gopt("inspect", d, "--lint", "--lint-fail", "error")
        self.gopt("inspect", d, "--lint", "--lint-fail", "sometimes", code=2)

    def test_choosing(self):
        both = cases.gir("%x: f32[2,3], %u: f32[2]", cases.PRODUCT.format("[1,nan,3,70000,5,6]") + "\n%d = Neg %x")
        names = lambda *a: {f["rule"] for f in self.lint(both, *a, "--lint-fail", "never")["findings"]}
        everything = {"nan-weight", "dead-node", "unused-input", "fp16-range"}
        self.assertEqual(names(""), everything)
        self.assertEqual(names("dead-node"), {"dead-node"})
        self.assertEqual(names("dead_node"), {"dead-node"})
        self.assertEqual(names("weights"), {"nan-weight", "fp16-range"})
        self.assertEqual(names("weights,-fp16-range"), {"nan-weight"})
        self.assertEqual(names("-weights"), {"dead-node", "unused-input"})
        self.assertEqual(names("all,-graph"), {"nan-weight", "fp16-range"})
        self.assertEqual(names("", "--lint-level", "warning"), everything - {"fp16-range"})
        self.assertEqual(names("", "--lint-level", "error"), {"nan-weight"})

    def test_unknown_rule(self):
        p = self.gopt("inspect", self.write(self.DEAD), "--lint=dead-nodes", code=2)
        self.assertIn("there is no rule 'dead-nodes'", p.stderr)
        self.assertIn("did you mean dead-node?", p.stderr)

    def test_text(self):
        p = self.gopt("inspect", self.write(self.DEAD), "--lint")
        self.assertIn("model.gir: 2 warnings\n", p.stdout)
        self.assertIn("warning dead-node  2 places", p.stdout)
        self.assertIn("    d (Neg)  no output needs its results  2 FLOP\n    e (Abs)  no output", p.stdout)
        self.assertIn("fix: gopt optimize (dce) removes them", p.stdout)

    def test_clean_is_one_line(self):
        p = self.gopt("inspect", self.write(cases.PLAIN), "--lint")
        self.assertEqual(p.stdout, "model.gir: nothing found\n")
        self.assertEqual(self.gopt("inspect", "model.gir", "--lint", "-q").stdout, "")

    def test_many_places_are_counted(self):
        body = "".join(f"%d{i} = Neg %x\n" for i in range(20)) + "%y = Relu %x"
        m = self.write(cases.gir("%x: f32[2]", body))
        p = self.gopt("inspect", m, "--lint")
        self.assertIn("dead-node  20 places, 40 FLOP", p.stdout)
        self.assertIn("… and 17 more", p.stdout)
        self.assertIn("d19 (Neg)", self.gopt("inspect", m, "--lint", "-v").stdout)

    def test_list(self):
        text = self.gopt("inspect", "--list-lint").stdout
        self.assertEqual(len(text.splitlines()), len(cases.FOUND))

    def test_hostile_names(self):
        name = "a\n\x1b[31m\"<script>" + "x" * 5000
        p = self.gopt("inspect", self.write(cases.relu(ox.node("Neg", ["x"], ["d"], name))), "--lint")
        self.assertNotIn("\x1b[31m", p.stdout)
        self.assertLess(max(map(len, p.stdout.splitlines())), 400)
        long, turned = "é" * 80, "turned\u202eround"
        m = self.write(cases.relu(*[ox.node("Neg", ["x"], [f"d{i}"], n) for i, n in enumerate((long, turned))]))
        lines = [l for l in self.gopt("inspect", m, "--lint").stdout.splitlines() if "no output needs" in l]
        self.assertEqual(len(lines), 2)
        self.assertNotIn("\u202e", "".join(lines))
        self.assertEqual(len({l.index("no output needs") for l in lines}), 1, lines)  # one column, whatever the letters


class Large(Case):
    def test_linear(self):
        """100,000 nodes of which half are dead and one weight has 50,000 readers: seconds, not minutes."""
        def seconds(n):
            nodes = [ox.node("Add", ["x" if i == 0 else f"v{i - 1}", "w"], [f"v{i}"], f"n{i}") for i in range(n // 2)]
            nodes += [ox.node("Max", [f"v{i}", "eps"], [f"d{i}"], f"d{i}") for i in range(n // 2)]
            self.write(ox.model(ox.graph(nodes, [ox.value("x", [4])], [ox.value(f"v{n // 2 - 1}", [4])],
                                         [ox.tensor("w", [4], [1, 2, 3, 4]), ox.tensor("eps", [], [1e-12])])))
            # what lint adds to inspect's own time
            times = []
            for flags in ([], ["--lint=all"]):
                start = time.monotonic()
                self.gopt("inspect", "model.onnx", "-q", *flags)
                times.append(time.monotonic() - start)
            return times[1] - times[0]
        small, large = seconds(10000), seconds(100000)
        self.assertLess(large, max(0.5, small) * 30, "lint's time grows faster than the graph")


if __name__ == "__main__":
    name, GOPT = sys.argv[1], str(pathlib.Path(sys.argv[2]).resolve())
    unittest.main(argv=[sys.argv[0], *([] if name == "all" else [name])])
