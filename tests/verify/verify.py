#!/usr/bin/env python3
"""Does `gopt optimize --verify` find rules that are wrong?

  verify.py GOPT ROOT

Each .gir file beside this one, and the example network, is optimized with a planted rule (src/passes/rules/planted.def;
one that is wrong, or wrong for some sizes, or gives NaN). The program must say no (exit 1), name the rule and the place,
write no output, and leave a graph behind that shows the fault alone and holds no more than it must. Without the planted
rule the same model must be verified. A case says at its head what is planted, where it strikes, and which operators the
smallest graph has:

  ; PLANTED: planted_factors at %z
  ; SMALLEST: Mul Mul
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def gopt(program, tmp, *args):
    return subprocess.run([program, "optimize", *map(str, args)], capture_output=True, text=True, cwd=tmp, timeout=300)


def operators(gir):
    return [m.group(1) for m in re.finditer(r"^ +%.*? = (\w+)", gir, re.M)]


def check(program, tmp, model, rule, at, smallest):
    bad = []

    def need(condition, what):
        if not condition:
            bad.append(what)

    clean = gopt(program, tmp, model, "--verify", "--json", "clean.json")
    need(clean.returncode == 0 and "verified" in clean.stdout, f"without the rule: exit {clean.returncode}\n{clean.stderr}")
    need(json.loads((tmp / "clean.json").read_text())["verify"]["passed"] is True, "without the rule: not passed in JSON")

    p = gopt(program, tmp, model, "--planted", rule, "--verify", "-o", "out.onnx", "--json", "out.json")
    need(p.returncode == 1, f"exit {p.returncode}, expected 1")
    need(re.search(rf"caused by rewrite \d+, {rule} at {re.escape(at)}:", p.stderr), f"the rule and its place are not named:\n{p.stderr}")
    need(not (tmp / "out.onnx").exists(), "a wrong model was written")
    need((tmp / "out.culprit.gir").exists(), f"no subgraph was written:\n{p.stderr}")
    if bad:
        return bad
    v = json.loads((tmp / "out.json").read_text())["verify"]
    need(v["passed"] is False, "passed in JSON")
    c = v.get("culprit", {})
    need(c.get("rule") == rule and c.get("at") == at and c.get("rewrite", 0) > 0, f"JSON: culprit is {c}")
    text = (tmp / "out.culprit.gir").read_text()
    need(c.get("subgraph") and c["subgraph"] in text and c.get("file") == "out.culprit.gir", "JSON: another subgraph than the file's")
    need(operators(text) == smallest, f"the smallest graph has {operators(text)}, expected {smallest}:\n{text}")
    need(c["subgraph"] in p.stderr, "a short subgraph is not shown")

    alone = gopt(program, tmp, "out.culprit.gir", "--planted", rule, "--passes", rule, "--verify", "--verify-dump", "again.gir")
    need(alone.returncode == 1 and rule in alone.stderr, f"the subgraph alone does not show it: exit {alone.returncode}\n{alone.stderr}")
    need((tmp / "again.gir").exists(), "--verify-dump wrote nothing")
    return bad


def main(program, root):
    cases = [(root / "examples/digits.onnx", "planted_sign", "/head/add", ["Add"]),
             (root / "examples/digits.onnx", "planted_logarithm", "/stem/relu", ["Relu"])]
    for path in sorted(HERE.glob("*.gir")):
        text = path.read_text()
        rule, at = re.search(r"; PLANTED: (\w+) at (\S+)", text).groups()
        cases.append((path, rule, at, re.search(r"; SMALLEST: (.*)", text).group(1).split()))
    failed = 0
    for model, rule, at, smallest in cases:
        with tempfile.TemporaryDirectory() as tmp:
            bad = check(program, pathlib.Path(tmp), model, rule, at, smallest)
        failed += bool(bad)
        print("FAILED" if bad else "found", rule, "in", model.name, *("\n  " + b for b in bad))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()))
