#!/usr/bin/env python3
"""Dynamic networks answer right at every size after optimization, with nothing fixed.

  dynamic.py CASE GOPT ROOT

Cases:
  networks  every network whose inputs have symbols, optimized as it is, at several sizes of each symbol: ONNX Runtime's
            answers on what gopt wrote against its answers on the model. The example network and the small trained ones;
            with GOPT_TEST_FULL set all of the made-ready ones too
  exports   the golden cases of shape arithmetic, small graphs in the spellings of exporters, written as ONNX before and
            after: the same

Needs the Python packages onnx, onnxruntime and numpy, as models.py does. Exits with 77 where they are missing.
"""
import pathlib
import sys
import tempfile

from models import WAYS, apart, gopt, models, peers, picture, session_of

# Sizes of dims by what stands first in an input (a batch) and what does not. Different ones for different symbols, so
# that a mix-up shows; multiples of 32, for networks that halve an image five times.
SIZES = {"small": {"batch": 2, "seq": 7, "image": (64, 96)}, "large": {"batch": 3, "seq": 65, "image": (96, 32)},
         "one": {"batch": 1, "seq": 1, "image": (32, 32)}}
PLAIN = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(int32)": "int32", "tensor(int64)": "int64",
         "tensor(bool)": "bool"}


def is_dynamic(session):
    return any(not isinstance(d, int) for i in session.get_inputs() for d in i.shape)


def dims_of(stem, i, sizes):
    if stem == "silero_vad":     # its file names no symbols: the batch of its input and of its state, and one length
        return {"input": [sizes["batch"], 512], "state": [2, sizes["batch"], 128], "sr": []}[i.name]
    image = len(i.shape) == 4
    return [d if isinstance(d, int) else sizes["batch"] if k == 0 else sizes["image"][k - 2] if image and k >= 2 else sizes["seq"]
            for k, d in enumerate(i.shape)]


def inputs_at(stem, session, sizes):
    import numpy as np
    rng, out = np.random.default_rng(3), {}
    for i in session.get_inputs():
        dims, kind = dims_of(stem, i, sizes), PLAIN[i.type]
        if i.name == "sr":
            a = np.array(16000)
        elif "mask" in i.name:          # one that hides something, where there is more than one
            a = np.ones(dims)
            a[..., dims[-1] - dims[-1] // 3:] = 0
        elif kind.startswith("int"):
            a = rng.integers(0, 200, dims)
        elif kind == "bool":
            a = rng.integers(0, 2, dims)
        elif len(dims) == 4:
            a = picture(rng, dims)
        else:
            a = rng.standard_normal(dims)
        out[i.name] = np.asarray(a).astype(kind)
    return out


def compare(stem, before, after, way):
    for name, sizes in SIZES.items():
        x = inputs_at(stem, before, sizes)
        for o, want, got in zip(before.get_outputs(), before.run(None, x), after.run(None, x)):
            if apart(got, want) > 1:
                sys.exit(f"{stem} with {way}, sizes '{name}' {[a.shape for a in x.values()]}: "
                         f"{o.name} is {got.shape}, expected {want.shape}; {apart(got, want):.3g} tolerances off")


def networks(program, root, tmp):
    peers.need()
    for m in models(root):
        before = session_of(m)
        if not is_dynamic(before):
            continue
        for way in WAYS:
            out = tmp / "out.onnx"
            gopt(program, "optimize", m, "-o", out, *way)
            compare(m.stem, before, session_of(out), " ".join(way))
        print(f"{m.stem}: the same at {len(SIZES)} sizes", flush=True)


def sizes_of_symbols(session, name):
    start, step = {"small": (2, 1), "large": (9, 4), "one": (1, 0)}[name]
    symbols = sorted({s for i in session.get_inputs() for s in i.shape if isinstance(s, str)})
    return {s: start + step * k for k, s in enumerate(symbols)}


def exports(program, root, tmp):
    peers.need()
    import numpy as np
    count = 0
    folders = ("shape_arithmetic", "slice_bounds", "resize_scales", "expand_broadcast")
    for case in sorted(p for f in folders for p in (root / "tests/golden" / f).glob("*.gir")):
        raw, out = tmp / "raw.onnx", tmp / "out.onnx"
        gopt(program, "optimize", case, "--level", 0, "-o", raw)
        gopt(program, "optimize", case, "-o", out)
        before, after, ran = session_of(raw), session_of(out), 0
        if any(d is None for i in before.get_inputs() for d in i.shape):
            continue            # an expression, as 2*h, has no name in the file, and its size may not be any
        for name in SIZES:
            rng, x, sizes = np.random.default_rng(5), {}, sizes_of_symbols(before, name)
            for i in before.get_inputs():
                dims = [d if isinstance(d, int) else sizes[d] for d in i.shape]
                x[i.name] = (rng.integers(0, 2, dims) if "float" not in i.type else rng.standard_normal(dims)).astype(PLAIN[i.type])
            try:
                wanted = before.run(None, x)
            except Exception:                                   # not a size of this case: [h,w] into another [h,w]
                continue
            ran += 1
            for o, want, got in zip(before.get_outputs(), wanted, after.run(None, x)):
                if apart(got, want) > 1:
                    sys.exit(f"{case.name} at {sizes}: {o.name} is {got.shape}, expected {want.shape}; {apart(got, want):.3g} tolerances off")
        if not ran:
            sys.exit(f"{case.name} runs at no size")
        count += 1
    print(f"{count} cases are the same at {len(SIZES)} sizes")


CASES = {f.__name__: f for f in (networks, exports)}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in CASES:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as d:
        CASES[sys.argv[1]](sys.argv[2], pathlib.Path(sys.argv[3]).resolve(), pathlib.Path(d))
