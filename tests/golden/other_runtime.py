#!/usr/bin/env python3
"""ONNX Runtime on the golden cases: what a rewrite makes must give the answers that there were.

  other_runtime.py GOPT FOLDER [CASE...]

Every case that `golden` holds against our own evaluation is written as ONNX before and after its RUN line, and both
files are run by ONNX Runtime, without its optimizer, on the same seeded inputs. So operators that rules make mean what
they mean elsewhere, and the files load there. A case that ONNX Runtime cannot run before (a type that it has no kernel
for) says nothing. Needs onnx, onnxruntime and numpy, of the interpreter that GOPT_PEERS_PYTHON names, else of this one;
exits with 77 where they are missing.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import peers  # noqa: E402

peers.need()
import numpy as np  # noqa: E402
import onnx  # noqa: E402

# Where ONNX Runtime itself departs from ONNX: the case, and why. One that comes out right after all fails too.
DEPARTS = {"recurrent_join/from_zeros_to_nan.gir": "its LSTM bounds what goes into Sigmoid, and so loses a NaN of the forget gate"}
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(bool)": np.bool_,
         **{f"tensor({s}int{b})": np.dtype(f"{s}int{b}").type for s in ("", "u") for b in (8, 16, 32, 64)}}


def make_inputs(s):
    rng, sizes, out = np.random.default_rng(7), {}, {}
    for i in s.get_inputs():
        if None in i.shape:
            raise ValueError(f"the size of input {i.name} follows from others")
        dims = [d if isinstance(d, int) else sizes.setdefault(d, 2 + len(sizes) % 3) for d in i.shape]
        t = TYPES[i.type]
        out[i.name] = (rng.uniform(-1, 1, dims) if np.issubdtype(t, np.floating) else rng.integers(0, 2, dims)).astype(t)
    return out


def differs(a, b, steps=0):
    """Why a is not b; whole numbers may be `steps` apart."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return None if type(a) is type(b) else f"{type(b).__name__} became {type(a).__name__}"
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{b.dtype}{list(b.shape)} became {a.dtype}{list(a.shape)}"
    if not np.issubdtype(b.dtype, np.floating):
        apart = np.abs(a.astype(np.int64) - b.astype(np.int64)) if steps else (a != b)
        return None if (apart <= steps).all() else f"{int((apart > steps).sum())} of {b.size} elements differ"
    small = b.dtype == np.float16
    x, y = a.astype(np.float64), b.astype(np.float64)
    same = np.isclose(x, y, rtol=1e-2 if small else 1e-4, atol=1e-2 if small else 1e-5, equal_nan=True)
    return None if same.all() else f"{int((~same).sum())} of {b.size} elements differ, by {np.nanmax(np.abs(x - y)):.3g} at most"


def check(gopt, case, folder):
    """None: right; else what is wrong, or "skipped" with the reason."""
    run = re.search(r"^; RUN: optimize(.*)$", case.read_text(), re.M)
    if not run:
        return "skipped: nothing is optimized"
    flags = [f for f in run[1].split() if not re.match(r"--(remarks|types|fuse|eval|again)\b", f)]
    before, after = folder / "before.onnx", folder / "after.onnx"
    for path, own in ((before, ["--level=0"]), (after, flags)):
        p = subprocess.run([gopt, "optimize", case, "-q", "-o", path, *own], capture_output=True, text=True)
        if p.returncode:
            return f"skipped: {p.stderr.strip().splitlines()[0][:160]}" if path is before else p.stderr.strip()[:300]
    if before.read_bytes() == after.read_bytes():
        return "skipped: nothing changed"
    try:
        s = peers.session(before)
        inputs = make_inputs(s)
        want = s.run(None, inputs)
    except Exception as e:  # noqa: BLE001: whatever ONNX Runtime has no kernel for
        return f"skipped: {str(e).splitlines()[0][:160]}"
    try:
        t = peers.session(after)
        got = t.run(None, inputs)
    except Exception as e:  # noqa: BLE001
        return f"ONNX Runtime does not run what was made: {str(e).splitlines()[0][:300]}"
    if [o.name for o in t.get_outputs()] != [o.name for o in s.get_outputs()]:
        return "outputs were renamed or reordered"
    for o, a, b in zip(s.get_outputs(), got, want):
        # quantized operators taken apart: a sum may fall on the other side of the middle between two steps
        why = differs(a, b, steps=1 if "qlinear" in str(case) else 0)
        if why:
            return f"output {o.name}: {why}"
    return None


def main():
    gopt, root, names = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as d:
        for case in sorted(root.glob("*/*.gir")):
            if names and not any(n in str(case) for n in names):
                continue
            why, name = check(gopt, case, pathlib.Path(d)), str(case.relative_to(root))
            if name in DEPARTS and (why is None or not why.startswith("skipped")):
                why = f"skipped: {DEPARTS[name]}" if why else "ONNX Runtime is right here after all: strike it from DEPARTS"
            passed += why is None
            skipped += bool(why) and why.startswith("skipped")
            if why and (not why.startswith("skipped") or names):
                failed += not why.startswith("skipped")
                print(f"{case.relative_to(root)}: {why}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
