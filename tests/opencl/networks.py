#!/usr/bin/env python3
"""Networks and ONNX's own tests through the opencl backend, on whatever device is there (PoCL on a machine without one).

  networks.py CASE GOPT ROOT

Cases:
  trained      the networks of shared/models/trained: answers as on the cpu, in fp32 and fp16, and no operator that falls
               back to the cpu but control flow and what has data-dependent shapes; some in one of both unless
               GOPT_TEST_FULL is set
  tensor       networks by the kernels for tensor cores, which are emulated where there are none
  exports      the ATen exports of shared/models/aten: PyTorch's own answers
  archs        the same as `trained` for the architectures that weights.py makes ready; small ones alone unless
               GOPT_TEST_FULL is set
  copies       runs are warned of where copies to and from the device take longer than computing, and others are not
  conformance  ONNX's own tests of the operators that the backend has kernels for; all of them where GOPT_TEST_FULL is set

A case that lacks what it needs exits with 77 and says so.
"""
import csv
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import inputs  # noqa: E402
import peers  # noqa: E402

FULL = bool(os.environ.get("GOPT_TEST_FULL"))
SANITIZED = "ASAN_OPTIONS" in os.environ or "UBSAN_OPTIONS" in os.environ

# What the host keeps: it decides, or its result's shape depends on data. BesselI0 has a reference evaluation alone.
HOSTS = {"If", "Loop", "Scan", "NonMaxSuppression", "NonZero", "BesselI0"}

# Of the spread of the answers, the root mean square error that fp16 may make. On noise yolox_nano loses much more than the
# usual: it is off by 0.085 here; on other noise it is off by as much as ONNX Runtime is with all values rounded to halves
# (0.033 and 0.036 in its own units).
FP16 = {"yolox_nano": 0.11}
FP16_USUAL = 0.02

SMALL = {"bilstm_gru", "unet_small", "shufflenet_v2_x1_0", "minilm_l6"}
LARGE = {"ultraface_rfb_320", "yolox_nano"}  # of the trained ones: not where a sanitizer looks on

# For every day in one precision, since compiling takes long: the first two are convolutions, depthwise ones, pools, moves
# and residuals both, and the product of the last one is CLBlast's, in floats, either way.
ONE_PRECISION = {"ultraface_rfb_320": "fp32", "yolox_nano": "fp16", "magika_v2_1": "fp16"}

# Compiling takes longer than running: what PoCL optimizes is seen in the others.
QUICK = {"mnist", "digits", "dtln_1", "silero_vad"}


def gopt(program, *args, expect=0, timeout=1500):
    p = subprocess.run([program, *map(str, args)], capture_output=True, text=True, timeout=timeout, errors="replace")
    if p.returncode != expect or "Sanitizer" in p.stderr or "runtime error:" in p.stderr:
        sys.exit(f"{' '.join(map(str, args))}: exit {p.returncode}, expected {expect}\n{p.stderr[-3000:]}")
    return p


def read_f32(path):
    data = path.read_bytes()
    head = struct.unpack("<H", data[8:10])[0] + 10
    if b"<f4" not in data[:head]:
        return None
    return struct.unpack(f"<{(len(data) - head) // 4}f", data[head:])


def stays(program, model, precision, tmp, extra):
    """Runs it; names what the cpu ran though it need not."""
    out = tmp / precision
    out.mkdir(exist_ok=True)
    gopt(program, "run", model, "--backend", "opencl", "--precision", precision, "--iterations", 1, "--warmup", 0,
         "--output-dir", out, "--profile", tmp / "steps.csv", *extra)
    with open(tmp / "steps.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    fell = sorted({f"{r['op']}: {r['reason']}" for r in rows if r["backend"] == "cpu" and r["op"] not in HOSTS
                   and "known only in a run" not in r["reason"]})
    if fell:
        sys.exit(f"{model.name} in {precision}: not on the device: {'; '.join(fell)}")
    if not any(r["backend"] == "opencl" and r["op"] != "copy" for r in rows):
        sys.exit(f"{model.name} in {precision}: nothing ran on the device")
    return out


def off(got, want):
    """The root mean square error, in spreads of the answer."""
    mean = sum(want) / len(want)
    spread = math.sqrt(sum((w - mean) ** 2 for w in want) / len(want)) or abs(mean) or 1
    return math.sqrt(sum((g - w) ** 2 for g, w in zip(got, want)) / len(want)) / spread


def same(program, model, tmp):
    extra = [*inputs.sizes(model), *inputs.given(model, tmp)]
    only = None if FULL else ONE_PRECISION.get(model.stem)
    if only != "fp16":
        gopt(program, "compare", model, "--a", "cpu", "--b", "opencl", *extra)
        stays(program, model, "fp32", tmp, extra)
        print(f"{model.stem}: as on the cpu", flush=True)
    if only != "fp32":
        same_in_halves(program, model, tmp, extra)


def same_in_halves(program, model, tmp, extra):
    half, whole = stays(program, model, "fp16", tmp, extra), tmp / "cpu"
    gopt(program, "run", model, "--iterations", 1, "--warmup", 0, "--output-dir", whole, *extra)
    worst = 0
    for want in sorted(whole.glob("*.npy")):
        w, g = read_f32(want), read_f32(half / want.name)
        if w and g and len(w) == len(g):
            worst = max(worst, off(g, w))
        elif w is not None or want.read_bytes() != (half / want.name).read_bytes():
            sys.exit(f"{model.name} in fp16: {want.name} differs in type, size or value")
    if not worst <= FP16.get(model.stem, FP16_USUAL):
        sys.exit(f"{model.name} in fp16: off by {worst:.3g} of the spread, {FP16.get(model.stem, FP16_USUAL)} is allowed")
    print(f"{model.stem}: in fp16 off by {worst:.2g} of the spread", flush=True)


def each(program, models):
    if not models:
        peers.skip("there are no such networks here")
    for m in models:
        os.environ["GOPT_OPENCL_OPTIONS"] = "-cl-opt-disable" if m.stem in QUICK else ""
        with tempfile.TemporaryDirectory() as d:
            same(program, m, pathlib.Path(d))


def trained(program, root, tmp):
    found = sorted((root.parent / "shared" / "models" / "trained").glob("*.onnx")) + [root / "examples" / "digits.onnx"]
    each(program, [m for m in found if m.stem != "superres_custom_ops" and not (SANITIZED and m.stem in LARGE)])


def tensor(program, root, tmp):
    os.environ["GOPT_OPENCL_TENSOR"] = "emulated"
    for m in [root.parent / "shared" / "models" / "trained" / "mnist.onnx", root / "examples" / "digits.onnx"]:
        if not m.exists():
            continue
        same_in_halves(program, m, tmp, [*inputs.sizes(m), *inputs.given(m, tmp)])
        with open(tmp / "steps.csv", newline="") as f:
            if not any(r["tactic"].startswith(("mma_", "stem_", "halo_")) for r in csv.DictReader(f)):
                sys.exit(f"{m.name}: nothing was computed by a kernel for tensor cores")


def exports(program, root, tmp):
    found = sorted((root.parent / "shared" / "models" / "aten").glob("*/model.onnx"))
    if not found:
        peers.skip("there are no ATen exports here (shared/models/aten)")
    for m in found:
        data = m.parent / "test_data_set_0"
        gopt(program, "run", m, "--backend", "opencl", "--test-data", data)
        gopt(program, "run", m, "--backend", "opencl", "--precision", "fp16", "--test-data", data, "--rtol", "2e-2",
             "--atol", "1e-2")
        print(m.parent.name, flush=True)


def archs(program, root, tmp):
    cache = pathlib.Path.home() / ".cache" / "gopt-models"
    found = sorted(p for p in cache.glob("*/*.onnx") if p.with_suffix(".weights").exists())
    # its detections come in another order
    each(program, [m for m in found if (m.stem in SMALL or FULL) and m.stem != "ssdlite320"])


# Families of operators, a test of each way of which is enough for every day.
EVERY_DAY = (r"/test_(gather|scatter_elements_with_axis|scatternd$|onehot|lstm|gru|simple_rnn|rnn|resize_(down|up)sample_"
             r"(sizes|scales)_(nearest|linear|cubic)$|.*_pad$|edge_pad|reflect_pad|wrap_pad|expand|tile|tril|triu|"
             r"depthtospace|spacetodepth|convtranspose|conv_|basic_conv|reduce_(sum|max|l1|prod|log_sum_exp)_|arg(max|min)_"
             r"(default|no)|cumsum|top_k|matmul|softmax|layer_normalization|concat|split|slice|transpose|where|"
             r"averagepool_2d|maxpool_2d|global|gridsample|qlinear|convinteger)[^/]*")


def conformance(program, root, tmp):
    peers.need()
    import onnx
    data = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
    if not data.is_dir():
        peers.skip("this onnx package ships no test data (1.22 is the last that does)")
    some = [] if FULL else ["--include", EVERY_DAY]
    p = gopt(program, "conformance", data, "--backend", "opencl", "--overrides",
             root / "tests/conformance/overrides.json", "--timeout", 900, *some)
    last = p.stdout.strip().splitlines()[-1]
    passed = re.match(r"(\d+) passed, 0 failed", last)
    if not passed or int(passed[1]) < (1765 if FULL else 396):
        sys.exit(f"expected more to pass: {last}")
    print(last)


def timed(program, tmp, text, *args):
    """What --json says of copies in a timed run of that graph, and what stands on stderr."""
    (tmp / "net.gir").write_text(text)
    p = gopt(program, "run", tmp / "net.gir", "--iterations", 7, "--warmup", 0, "--json", tmp / "r.json", *args)
    return json.loads((tmp / "r.json").read_text()), p.stderr


def copies(program, root, tmp):
    def check(ok, what):
        if not ok:
            sys.exit(f"{what}\n{json.dumps(r.get('copies'), indent=1)}\n{said}")

    device, size = ("--backend", "opencl"), 8 * 64 * 128 * 128 * 4
    relu = "graph (%x: f32[8,64,128,128]) {\n  %y = Relu %x\n  return %y as \"y\"\n}\n"
    r, said = timed(program, tmp, relu, *device)
    c = r["copies"]
    check(c["h2d"]["bytes"] == c["d2h"]["bytes"] == size and c["h2d"]["copies"] == c["d2h"]["copies"] == 1,
          "the copies of one Relu are its input and its output")
    for way, ms in (("h2d", r["h2d_ms"]), ("d2h", r["d2h_ms"])):
        check(abs(c[way]["gb_per_s"] * ms["median"] * 1e6 / size - 1) < 1e-6, f"the rate of {way} is bytes over time")
    dominate = r["h2d_ms"]["median"] + r["d2h_ms"]["median"] > r["compute_ms"]["median"]
    check(dominate, "one Relu over 32 MiB takes less time than copying them")
    check("warning: copying takes longer than computing" in said and "GB/s" in said, "it is warned of")
    advice = " ".join(c["advice"])
    for what in ("input x, f32[8,64,128,128], is 32.0 MiB of the 32.0 MiB", "as u8", "8.0 MiB", "output y", "--streams 2"):
        check(what in advice and what in said, f"the advice is specific: '{what}'")
    check("a larger batch" not in advice, "32 MiB are no small copy")
    r, said = timed(program, tmp, relu, *device, "--streams", 2)
    check("--streams" not in " ".join(r["copies"]["advice"]), "what is done already is not advised")
    # Det has no kernel: what it reads goes out and comes back
    r, said = timed(program, tmp, "graph (%x: f32[8,64,128,128]) {\n  %y = Relu %x\n"
                    "  %f = Reshape %y, dense<i64[1], [8388608]>\n"
                    "  %q = Slice %f, dense<i64[1], [0]>, dense<i64[1], [9]>, dense<i64[1], [0]>\n"
                    "  %m = Reshape %q, dense<i64[2], [3,3]>\n  %d = Det %m\n  %e = Exp %d\n"
                    "  return %y as \"y\", %e as \"e\"\n}\n", *device)
    c = r["copies"]
    check(c["h2d"]["copies"] == 2 and c["d2h"]["copies"] == 3 and c["d2h"]["bytes"] == size + 9 * 4 + 4,
          "nine elements go out for Det beside the outputs, one comes back")
    check("2 of the copies, 40 bytes, lie between" in " ".join(c["advice"]), "copies between steps are told apart")
    # what is advised runs on the device: bytes in, normalized there, and a class alone comes back
    r, said = timed(program, tmp, "graph (%x: u8[8,64,128,128]) {\n  %f = Cast %x { to = 1 }\n"
                    "  %s = Sub %f, dense<f32[1], #a>\n  %n = Mul %s, dense<f32[1], #b>\n"
                    "  %y = ArgMax %n { axis = 1 }\n  return %y as \"y\"\n}\n", *device, "--profile", tmp / "steps.csv")
    c = r["copies"]
    check(c["h2d"]["bytes"] == size // 4, "bytes are a quarter of floats")
    check("as u8" not in " ".join(c["advice"]), "bytes are not advised where there are some")
    with open(tmp / "steps.csv", newline="") as f:
        check({s["backend"] for s in csv.DictReader(f)} == {"opencl"}, "all of it runs on the device")
    products = "".join(f"  %p{i + 1} = MatMul %p{i}, dense<f32[512,512], #c{i}>\n" for i in range(6))
    r, said = timed(program, tmp, f"graph (%p0: f32[512,512]) {{\n{products}  return %p6 as \"y\"\n}}\n", *device)
    check(r["copies"]["warning"] is None and not r["copies"]["advice"] and "copying takes" not in said,
          "products take longer than their copies")
    r, said = timed(program, tmp, relu)
    check("copies" not in r and "copying takes" not in said, "the cpu copies nothing")


CASES = {f.__name__: f for f in (trained, tensor, exports, archs, copies, conformance)}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in CASES:
        sys.exit(__doc__)
    peers.need_opencl(sys.argv[2])
    with tempfile.TemporaryDirectory() as d:
        CASES[sys.argv[1]](sys.argv[2], pathlib.Path(sys.argv[3]).resolve(), pathlib.Path(d))
