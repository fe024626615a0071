#!/usr/bin/env python3
"""Whole-program tests on real models.

  models.py CASE GOPT ROOT

Cases:
  digits      every picture of examples/digits/ is read as the digit that it shows
  text        a model written as .gir, read back and written again gives the same bytes; so does a second time
  optimize    what `gopt optimize` writes passes onnx.checker, and ONNX Runtime gives the same answers on it
  run         `gopt run` gives ONNX Runtime's answers, with fewer instructions and tuned too
  bf16        with --precision bf16 and best, answers stay near ONNX Runtime's in fp32
  aten        `gopt inspect` says what becomes of the torch operators of ATen exports, and `gopt run` gives PyTorch's answers
  opencl      `gopt compare --a cpu --b opencl` agrees on small networks
  conformance ONNX's own backend tests pass in every way but those with operators that are not there, as many as ever
  run_light   the networks that come with them (data/light) give their answers in every way

Beside the example network the cases take the networks of a folder `shared/models` next to the project, where
there is one, trained ones alone unless GOPT_TEST_FULL is set. `optimize`, `run`, `conformance` and `run_light` need the
Python packages onnx, onnxruntime and numpy: of the interpreter that GOPT_PEERS_PYTHON names, else of this one. A case that
lacks what it needs exits with 77 and says so.
"""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import peers  # noqa: E402

# Levels and what the output may use: level 3 takes operators of the newest opset.
WAYS = [("--level", "1"), ("--level", "2"), ("--level", "3"), ("--emit", "ort")]


# Ways to run a network: fused or not, by reference evaluation, with fewer instructions, tuned.
RUNS = [(), ("--no-fuse",), ("--level", 0), ("--isa", "avx2"), ("--isa", "sse2"), ("--tune",)]


def gopt(program, *args, expect=0, timeout=900):
    """Runs the program; a crash, a wrong exit code or a sanitizer's report fails the test."""
    p = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=timeout, errors="replace")
    expect = expect if isinstance(expect, tuple) else (expect,)
    if p.returncode not in expect or "Sanitizer" in p.stderr or "runtime error:" in p.stderr:
        sys.exit(f"{' '.join(map(str, args))}: exit {p.returncode}, expected {expect}\n{p.stderr[-3000:]}")
    return p


def models(root, full=None):
    found = [root / "examples" / "digits.onnx"]
    shared = root.parent / "shared" / "models"
    found += sorted((shared / "trained").glob("*.onnx"))
    if os.environ.get("GOPT_TEST_FULL") if full is None else full:
        cache = pathlib.Path.home() / ".cache" / "gopt-models"
        found += sorted(p for p in cache.glob("*/*.onnx") if p.with_suffix(".weights").exists())
    return [p for p in found if p.stem != "superres_custom_ops"]


def read_npy_f32(path):
    data = path.read_bytes()
    head = struct.unpack("<H", data[8:10])[0] + 10
    return struct.unpack(f"<{(len(data) - head) // 4}f", data[head:])


def digits(program, root, tmp):
    for digit in range(10):
        gopt(program, "run", root / "examples/digits.onnx", "--input", f"image={root}/examples/digits/{digit}.png",
             "--image-scale", 1 / 255, "--output-dir", tmp)
        scores = read_npy_f32(tmp / "scores.npy")
        seen = max(range(10), key=scores.__getitem__)
        if len(scores) != 10 or seen != digit or scores[seen] < .5:
            sys.exit(f"{digit}.png was read as {seen} ({scores[seen]:.2f})")
    print("ten pictures, ten digits")


def text(program, root, tmp):
    for m in models(root):
        once, twice = tmp / "once.gir", tmp / "twice.gir"
        gopt(program, "optimize", m, "--level", 0, "-o", once)
        gopt(program, "optimize", once, "--level", 0, "-o", twice)
        if once.read_bytes() != twice.read_bytes():
            sys.exit(f"{m.name}: printing, parsing and printing gives other bytes")
        print(f"{m.stem}: {once.stat().st_size} bytes, the same twice", flush=True)


def picture(rng, shape):
    """A smooth coloured field, so that unlike inputs give unlike answers."""
    import numpy as np
    h, w = shape[-2:]
    low = rng.random((*shape[:-2], 5, 5), dtype=np.float32)
    return low[..., np.arange(h) * 5 // h, :][..., np.arange(w) * 5 // w] + .1 * rng.standard_normal(shape, dtype=np.float32)


def make_inputs(session):
    import numpy as np
    rng, out = np.random.default_rng(1), {}
    sizes = {"seq": 64, "sequence": 512, "h": 64, "w": 64}
    for i in session.get_inputs():
        shape = [d if isinstance(d, int) and d > 0 else 1 if k == 0 else sizes.get(d, 512) for k, d in enumerate(i.shape)]
        if i.name == "sr":
            a = np.array(16000, np.int64)
        elif i.name == "state":
            a = (rng.standard_normal([2, 1, 128]) * .1).astype(np.float32)
        elif "mask" in i.name:
            a = np.ones(shape, np.int64)
        elif "int" in i.type:
            a = rng.integers(0, 200, shape).astype({"tensor(int32)": np.int32, "tensor(int64)": np.int64}[i.type])
        elif len(shape) >= 3 and min(shape[-2:]) > 7:
            a = picture(rng, shape)
        else:
            a = rng.standard_normal(shape).astype(np.float32)
        out[i.name] = a
    return out


def session_of(path):
    import onnxruntime as ort
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def apart(got, want):
    """Worst error in tolerances of 1e-3 of each value plus 5e-4 of the spread; infinite for another shape or type."""
    import numpy as np
    if got.shape != want.shape or got.dtype != want.dtype:
        return float("inf")
    if not got.size:
        return 0.0
    if want.dtype.kind in "biu":
        return 0.0 if (got == want).all() else float("inf")
    spread = float(want.std()) if want.size > 1 else abs(float(want.ravel()[0]))
    return float((np.abs(got - want) / (1e-3 * np.abs(want) + 5e-4 * spread + 1e-30)).max())


def answers(path, x):
    return session_of(path).run(None, x)


def optimize(program, root, tmp):
    peers.need()
    import onnx
    for m in models(root):
        s = session_of(m)
        x, out = make_inputs(s), tmp / "out.onnx"
        for level in WAYS:
            gopt(program, "optimize", m, "-o", out, *level)
            if "ort" not in level:              # the checker knows ONNX's own operators alone
                onnx.checker.check_model(str(out), full_check=False)
            written = onnx.load(str(out), load_external_data=False).graph.node
            if any("gopt.origin" not in {p.key for p in n.metadata_props} for n in written):
                sys.exit(f"{m.name}: a node does not say where it came from at {' '.join(level)}")
            after = session_of(out)
            for kind in ("get_inputs", "get_outputs"):
                if [v.name for v in getattr(after, kind)()] != [v.name for v in getattr(s, kind)()]:
                    sys.exit(f"{m.name}: inputs or outputs were renamed or reordered at {' '.join(level)}")
            if m.stem == "ssdlite320":          # detections come in another order; judged elsewhere
                continue
            for name, a, b in zip((o.name for o in s.get_outputs()), after.run(None, x), s.run(None, x)):
                if apart(a, b) > 1:
                    sys.exit(f"{m.name}: {name} differs by {apart(a, b):.3g} tolerances at {' '.join(level)}")
        before, now = (len(onnx.load(str(p), load_external_data=False).graph.node) for p in (m, out))
        print(f"{m.stem}: {before} nodes, {now} after, same answers", flush=True)


def run(program, root, tmp):
    peers.need()
    import numpy as np
    for m in models(root):
        if m.stem == "ssdlite320":
            continue
        s = session_of(m)
        x = make_inputs(s)
        for extra in RUNS:
            args = ["run", m, "--output-dir", tmp, *extra]
            for name, a in x.items():
                np.save(tmp / "in.npy", a) if len(x) == 1 else np.save(tmp / f"in_{len(args)}.npy", a)
                args += ["--input", f"{name}={tmp / 'in.npy' if len(x) == 1 else tmp / f'in_{len(args)}.npy'}"]
            if gopt(program, *args, expect=(0, 4) if "--isa" in args else 0).returncode:
                continue  # not of this processor
            for o, want in zip(s.get_outputs(), s.run(None, x)):
                got = np.load(tmp / (re.sub("[/:]", "_", o.name) + ".npy"))
                if apart(got, want) > 1:
                    sys.exit(f"{m.name} {' '.join(map(str, extra))}: {o.name} is {apart(got, want):.3g} tolerances off")
        print(f"{m.stem}: as ONNX Runtime", flush=True)


def bf16(program, root, tmp):
    """Each layer's result is off by about 0.2% of its size, at random: seven times that for fifty of them, and the worst
    of a thousand answers lies further out. MobileNet's narrow layers, with these weights, make five times that of it:
    its bound is what OpenVINO's bf16, which keeps values in bfloat16 between layers as we do, is off by there."""
    peers.need()
    import numpy as np
    bounds = {"minilm_l6": 0.03, "resnet50": 0.08, "mobilenet_v2": 0.18}  # of the answers' spread
    found = [m for m in models(root, True) if m.stem in bounds]
    if not found or gopt(program, "run", found[0], "--precision", "bf16", expect=(0, 4)).returncode:
        print("skipped: there is no such network, or no processor for it")
        sys.exit(77)
    for m in found:
        s, bound = session_of(m), bounds[m.stem]
        x, args = make_inputs(s), []
        for i, (name, a) in enumerate(x.items()):
            np.save(tmp / f"in_{i}.npy", a)
            args += ["--input", f"{name}={tmp / f'in_{i}.npy'}"]
        for precision in ("bf16", "best"):
            gopt(program, "run", m, "--precision", precision, "--output-dir", tmp, *args)
            for o, want in zip(s.get_outputs(), s.run(None, x)):
                got = np.load(tmp / (re.sub("[/:]", "_", o.name) + ".npy"))
                off = float(np.abs(got - want).max() / want.std())
                if not off < bound:
                    sys.exit(f"{m.name} in {precision}: {o.name} is off by {off:.3g} of its spread, {bound} is allowed")
                print(f"{m.stem} in {precision}: off by {off:.2g} of the spread", flush=True)


def aten(program, root, tmp):
    exports = sorted((root.parent / "shared" / "models" / "aten").glob("*/model.onnx"))
    if not exports:
        peers.skip("there are no ATen exports here (shared/models/aten)")
    for m in exports:
        gopt(program, "inspect", m, "--json", tmp / "i.json")
        found = json.loads((tmp / "i.json").read_text())["aten"]
        if not found or not all(f["operator"] and f["outcome"] != "unsupported" for f in found):
            sys.exit(f"{m}: PyTorch's operators were not all brought to ones that run: {found}")
        gopt(program, "optimize", m, "-o", tmp / "o.onnx")
        gopt(program, "run", m, "--test-data", m.parent / "test_data_set_0")
        print(m.parent.name, *sorted({f["operator"] for f in found}), flush=True)


def opencl(program, root, tmp):
    listed = gopt(program, "devices").stdout
    if not re.search(r"^opencl\b(?!.*(missing|no |not ))", listed, re.M):
        peers.skip("no OpenCL device: " + (re.search(r"^opencl.*$", listed, re.M) or [""])[0])
    for m in (root / "examples/digits.onnx", root.parent / "shared/models/trained/mnist.onnx"):
        if m.exists():
            gopt(program, "compare", m, "--a", "cpu", "--b", "opencl")
            gopt(program, "compare", m, "--a", "cpu", "--b", "opencl,fp16", "--rtol", "1e-2", "--atol", "5e-3")
            gopt(program, "run", m, "--backend", "opencl", "--precision", "fp16", "--iterations", "2")
            print(f"{m.stem}: cpu and opencl agree", flush=True)


def script(path):
    """A script without .py, as a module."""
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_loader(path.name, importlib.machinery.SourceFileLoader(path.name, str(path)))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Of ONNX's own backend tests, at least so many pass, and none fails.
CONFORMANCE_FLOOR = 1905


def onnx_tests(program, root, tmp, *args):
    """Runs those that `args` leave, in every way; what is kept of the outcome, and the data's folder."""
    peers.need()
    import onnx
    data = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
    if not (data / "node").is_dir():
        peers.skip("this onnx package ships no test data (1.22 is the last that does)")
    p = gopt(program, "conformance", data, "--overrides", root / "tests/conformance/overrides.json", "--timeout", 900,
             "--json", tmp / "c.json", *args, expect=(0, 1), timeout=1700)
    print("\n".join(p.stdout.strip().splitlines()[-20:]), flush=True)
    if p.returncode:
        sys.exit(1)
    return script(root / "scripts" / "conformance").outcome(json.loads((tmp / "c.json").read_text())), data


def conformance(program, root, tmp):
    got, data = onnx_tests(program, root, tmp, "--exclude", "/light/")
    import onnx
    if got["passed"] < CONFORMANCE_FLOOR:
        sys.exit(f"expected at least {CONFORMANCE_FLOOR} to pass")
    kept = json.loads((root / "tests/conformance/releases.json").read_text())["releases"].get(onnx.__version__)
    lost = sorted(got["not_passed"].keys() - kept["not_passed"].keys()) if kept else []
    if lost:
        sys.exit(f"these passed when docs/conformance.md was written: {' '.join(lost)}")
    if kept and got["not_passed"] != kept["not_passed"]:
        text = f"docs/conformance.md is not up to date: run scripts/conformance {onnx.__version__}={data}"
        # Operators come one by one: not a failure of who adds one, until the whole is tested.
        if os.environ.get("GOPT_TEST_FULL"):
            sys.exit(text)
        print(text)


def run_light(program, root, tmp):
    # Reference evaluation of the larger ones takes minutes where a sanitizer looks on.
    small = "ASAN_OPTIONS" in os.environ and not os.environ.get("GOPT_TEST_FULL")
    got, _ = onnx_tests(program, root, tmp, "--include", "/light/.*(shuffle|squeeze)net" if small else "/light/")
    if got["passed"] != (2 if small else 9):
        sys.exit("expected all of the networks to pass")


CASES = {f.__name__: f for f in (digits, text, optimize, run, bf16, aten, opencl, conformance, run_light)}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in CASES:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as d:
        CASES[sys.argv[1]](sys.argv[2], pathlib.Path(sys.argv[3]).resolve(), pathlib.Path(d))
