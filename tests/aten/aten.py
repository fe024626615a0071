#!/usr/bin/env python3
"""Holds the lowerings of PyTorch's operators against PyTorch's own answers.

    aten.py GOPT [--keep DIR] [REGEX]

The cases are what PyTorch exported and answered (tests/aten/make.py), packed in tests/aten/cases. Each must run here
with those answers at level 0 and 3, and what `gopt optimize` writes of it must be ONNX's operators alone, on which
ONNX Runtime answers the same. cases/own.txt names the cases whose operators ONNX has no way to say, a regular
expression of FAMILY/NAME and the reason a line: one that could be said after all fails, too.

The first half needs nothing but Python; the second is left out, with a word, where onnx and onnxruntime are missing:
of the interpreter that GOPT_PEERS_PYTHON names, where there is one."""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

python = os.environ.get("GOPT_PEERS_PYTHON")
if python and os.path.realpath(sys.prefix) != os.path.realpath(pathlib.Path(python).parent.parent):
    sys.exit(subprocess.run([python, *sys.argv]).returncode)
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import numpy_helper
except ImportError as missing:
    onnx, why_not = None, missing

CASES = pathlib.Path(__file__).resolve().parent / "cases"


def unpack(folder, regex):
    for packed in sorted(CASES.glob("*.tar.xz")):
        family = packed.name.removesuffix(".tar.xz")
        with tarfile.open(packed) as tar:
            for m in tar.getmembers():
                name = f"{family}/{m.name.split('/')[0]}"
                if re.search(regex, name) and m.isfile() and ".." not in m.name:
                    to = folder / family / m.name
                    to.parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(tar.extractfile(m).read())


def own():
    lines = (CASES / "own.txt").read_text().splitlines() if (CASES / "own.txt").exists() else []
    return [line.split(None, 1)[0] for line in lines if line.strip() and not line.startswith("#")]


def here(gopt, folder):
    """The cases that gopt does not run with PyTorch's answers."""
    wrong = 0
    for level in ("0", "3"):
        r = subprocess.run([gopt, "conformance", str(folder), "--level", level, "--atol", "1e-5"],
                           text=True, capture_output=True)
        print(f"level {level}:", *(r.stdout + r.stderr).splitlines(), sep="\n  ", flush=True)
        last = re.search(r"(\d+) passed, (\d+) failed, (\d+) skipped", r.stdout)
        if not last or r.returncode not in (0, 1):
            sys.exit(f"gopt conformance ended with {r.returncode}")
        wrong += int(last[2]) + int(last[3])
    return wrong


def read(folder, kind):
    found = []
    while (path := folder / "test_data_set_0" / f"{kind}_{len(found)}.pb").exists():
        found.append(numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())))
    return found


def elsewhere(gopt, folder):
    """Why ONNX Runtime does not give PyTorch's answers on what gopt writes; None where it does."""
    out = folder / "lowered.onnx"
    # a newer one than the exports have, since some operators came late; ONNX Runtime knows it whole
    r = subprocess.run([gopt, "optimize", str(folder / "model.onnx"), "-q", "--opset", "20", "-o", str(out)], text=True,
                       capture_output=True)
    if r.returncode:
        return r.stderr.strip()
    model = onnx.load(out)
    left = {f"{n.domain}::{n.op_type}" for n in model.graph.node if n.domain}
    if left:
        return f"{', '.join(sorted(left))} stayed"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
        found = session.run(None, dict(zip([i.name for i in session.get_inputs()], read(folder, "input"))))
    except Exception as failure:  # whatever it says is the reason
        return str(failure).strip().splitlines()[-1]
    for x, y in zip(found, read(folder, "output")):
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"answers {x.dtype}{list(x.shape)}, expected {y.dtype}{list(y.shape)}"
        if x.dtype.kind not in "fc":
            if not np.array_equal(x, y):
                return "answers differ"
        elif not np.allclose(x, y, rtol=2e-2 if x.dtype == np.float16 else 1e-3, atol=1e-4, equal_nan=True):
            return f"answers differ by up to {np.nanmax(np.abs(x.astype(np.float64) - y))}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gopt")
    parser.add_argument("--keep")
    parser.add_argument("regex", nargs="?", default="")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(o.keep or temporary)
        unpack(folder, o.regex)
        wrong = here(o.gopt, folder)
        if not onnx:
            print(f"not run in ONNX Runtime: {why_not}")
            return wrong != 0
        listed, right = own(), 0
        for at in sorted(p.parent for p in folder.glob("*/*/model.onnx")):
            name = f"{at.parent.name}/{at.name}"
            why = elsewhere(o.gopt, at)
            expected = any(re.fullmatch(line, name) for line in listed)
            if why and not expected:
                print(f"elsewhere: {name}: {why}")
            elif expected and not why:
                print(f"elsewhere: {name} runs in ONNX Runtime after all: strike it from own.txt")
            right += bool(why) == expected
            wrong += bool(why) != expected
        print(f"elsewhere: {right} as expected, {wrong} wrong in all")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
