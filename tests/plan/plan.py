#!/usr/bin/env python3
"""Plan files of whole networks, with the program.

  plan.py CASE GOPT ROOT BUILD

Cases:
  cpu       a plan answers as the run that wrote it did, bit for bit, on every network, with fewer instructions and other
            precisions too; --verify says so
  opencl    the same on an OpenCL device, in fp32 and fp16
  minimal   configures and builds gopt-plan (GOPT_PLAN_ONLY) in BUILD: it needs nothing but OpenCL, and runs the plans of
            gopt on the cpu and on an OpenCL device

The networks are those of tests/models/models.py; all of them where GOPT_TEST_FULL is set. Needs Python's standard library
alone. A case that lacks what it needs exits with 77 and says so.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "models"))
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import inputs  # noqa: E402
from models import gopt, models  # noqa: E402


def files(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.npy"))}


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def round_trip(program, model, tmp, *flags):
    """Runs, writing a plan; runs the plan; the answers must be the same bytes. Gives what the plan's run printed."""
    plan, a, b = tmp / "net.gplan", fresh(tmp / "a"), fresh(tmp / "b")
    given = inputs.given(model, tmp)
    gopt(program, "run", model, "--plan", plan, "--output-dir", a, "--threads", 2, *inputs.sizes(model), *given, *flags)
    p = gopt(program, "run", plan, "--output-dir", b, "--verify", "--trust-plan", *given)
    if not files(a) or files(a) != files(b):
        sys.exit(f"{model.name} {' '.join(map(str, flags))}: the plan gives other answers than the run that wrote it")
    if "bit for bit" not in p.stdout:
        sys.exit(f"{model.name} {' '.join(map(str, flags))}: --verify does not find the same bits:\n{p.stdout}")
    return p.stdout


def cpu(program, root, tmp, build):
    ways = [(), ("--isa", "avx2"), ("--isa", "sse2", "--no-fuse"), ("--precision", "bf16:emulated"), ("--tune",)]
    for k, m in enumerate(models(root)):
        for way in ways if k == 0 else ways[:1]:
            if way[:1] == ("--isa",) and way[1] == "avx2" and "avx2" not in pathlib.Path("/proc/cpuinfo").read_text():
                continue
            said = round_trip(program, m, tmp, *way)
            print(f"{' '.join([m.stem, *way])}: {re.search('loaded from a plan.*', said)[0]}", flush=True)


def device(program):
    return any(d["backend"] == "opencl" and not d["missing"]
               for d in json.loads(gopt(program, "devices", "--json", "-").stdout))


def opencl(program, root, tmp, build):
    if not device(program):
        print("skipped: there is no OpenCL device")
        sys.exit(77)
    for m in models(root)[:None if os.environ.get("GOPT_TEST_FULL") else 1]:
        for precision in "fp32", "fp16":
            said = round_trip(program, m, tmp, "--backend", "opencl", "--precision", precision)
            print(f"{m.stem} {precision}: {re.search('loaded from a plan.*', said)[0]}", flush=True)


UNWANTED = re.compile("protobuf|jansson|gvc|cgraph|dnnl|clblast|gomp|pcre|png|jpeg|tiff|webp|openjp|libz")


def minimal(program, root, tmp, build):
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    # -O1 and no -g: compiling is most of what this takes. GCC warns at -O1 of what is none; the release build has both.
    flags = "-O1 -DNDEBUG -Wno-sign-conversion -Wno-maybe-uninitialized"
    for command in (["cmake", "-S", root, "-B", build, "-DGOPT_PLAN_ONLY=ON", "-DGOPT_WERROR=ON", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                     f"-DCMAKE_C_FLAGS_RELWITHDEBINFO={flags}", *launcher],
                    ["cmake", "--build", build, "-j", str(len(os.sched_getaffinity(0)))]):
        p = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if p.returncode:
            sys.exit(f"{' '.join(map(str, command))}\n{p.stdout[-3000:]}\n{p.stderr[-3000:]}")
    bare = build / "gopt-plan"
    linked = subprocess.run(["ldd", bare], capture_output=True, text=True, check=True).stdout
    if UNWANTED.search(linked):
        sys.exit(f"gopt-plan needs more than OpenCL:\n{linked}")
    m = models(root)[0]
    ways = [()] + ([("--backend", "opencl"), ("--backend", "opencl", "--precision", "fp16")] if device(program) else [])
    for way in ways:
        plan, a, b, c = tmp / "net.gplan", fresh(tmp / "a"), fresh(tmp / "b"), fresh(tmp / "c")
        gopt(program, "run", m, "--plan", plan, "--output-dir", a, *way)
        said = gopt(bare, plan, "--verify", "--output-dir", b, "--iterations", 3).stdout
        if " right " not in said or "3 runs" not in said or set(files(a)) != set(files(b)):
            sys.exit(f"gopt-plan on a plan of {way}:\n{said}")
        # what gopt wrote as .npy is read as an input, and shapes that do not fit are refused
        name = json.loads(gopt(program, "inspect", plan, "--json", "-").stdout)["inputs"][0]["name"]
        gopt(bare, plan, "--input", f"{name}={next(a.glob('*.npy'))}", expect=3)
        gopt(bare, plan, "--input", "nothing=x.npy", expect=2)
        gopt(bare, plan, "--input", f"{name}={tmp}/none.npy", expect=3)
        if "packed" not in gopt(bare, plan, "--inspect").stdout:
            sys.exit("gopt-plan --inspect says nothing")
        print(f"gopt-plan {' '.join(way) or 'cpu'}: {said.splitlines()[0]}; {said.splitlines()[1].strip()}", flush=True)
    data = plan.read_bytes()
    plan.write_bytes(data[:-7])
    p = gopt(bare, plan, expect=3)
    if "cut off" not in p.stderr:
        sys.exit(p.stderr)
    gopt(bare, expect=2)
    gopt(bare, plan, "--iterations", "many", expect=2)
    if not device(program):
        print("there is no OpenCL device: the cpu alone was tried")


def main():
    case, program, root, build = sys.argv[1:5]
    with tempfile.TemporaryDirectory() as tmp:
        {"cpu": cpu, "opencl": opencl, "minimal": minimal}[case](program, pathlib.Path(root), pathlib.Path(tmp),
                                                                 pathlib.Path(build))


if __name__ == "__main__":
    main()
