"""Holds gopt's evaluation of strings and of classical models (ai.onnx.ml) against ONNX Runtime.

Each case is a model of one node. ONNX Runtime, with its optimizations off, gives the expected outputs; `gopt
conformance` then runs the model as it is (level 0) and optimized (level 3).

    ml.py GOPT [--keep DIR] [REGEX]

Runs in the interpreter that GOPT_PEERS_PYTHON names, where there is one. Exits with 77 (skipped) where onnx or
onnxruntime are missing."""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import peers  # noqa: E402

peers.need()
import cases  # noqa: E402
import features  # noqa: E402
import models  # noqa: E402
import strings  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gopt")
    parser.add_argument("--keep")
    parser.add_argument("regex", nargs="?", default="")
    o = parser.parse_args()
    strings.all_cases()
    features.all_cases()
    models.all_cases()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(o.keep or temporary)
        for c in cases.CASES:
            if re.search(o.regex, c["name"]):
                why = cases.build(folder, c)
                if why:
                    print(f"{c['name']}: no answer to hold against: {why}")
                    failed += 1
        for level in ("0", "3"):
            r = subprocess.run([o.gopt, "conformance", str(folder), "--level", level], text=True, capture_output=True)
            print(f"level {level}:\n{r.stdout}{r.stderr}", end="")
            failed += r.returncode != 0
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
