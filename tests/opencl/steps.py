#!/usr/bin/env python3
"""Profiles of the example network on the opencl backend: what steps take by the device's clock and what is left of the run
add up, and floors are those of the ceilings that are told with them, in the trace, the .csv and the table.

  steps.py GOPT ROOT
"""
import csv
import json
import pathlib
import re
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
import networks  # noqa: E402
import peers  # noqa: E402


def expect(holds, what, *found):
    if not holds:
        sys.exit(f"{what}: {' '.join(map(str, found))}")


def floor_of(args, top):
    rate = top["cache_gbytes"] if top["cache_gbytes"] and args["bytes"] <= top["cache_bytes"] else top["memory_gbytes"]
    works = args["bytes"] or args["gflop"]
    return max(args["gflop"] / top["gflops"] * 1e3, args["bytes"] / rate * 1e-6, top["launch_ms"]) if works else 0


def check_trace(events):
    run = [e for e in events if e["name"] == "model_run"][0]
    steps = [e for e in events if e["cat"] == "Node"]
    told = run["args"]
    expect(abs(sum(e["args"]["ms"] for e in steps) - told["steps_ms"]) < 1e-6, "steps do not add up", told)
    expect(abs(told["steps_ms"] + told["rest_ms"] - run["dur"] / 1e3) < 2e-3, "steps and the rest are not the run", run)
    expect(told["rest_ms"] > 0 and all(v > 0 for k, v in told["ceilings"].items() if "cache" not in k), "nothing left", told)
    for e in steps:
        a = e["args"]
        launched = a["backend"] == "opencl" and a["tactic"] not in ("upload", "download") and a["bytes"] > 0
        expect((a.get("clock") == "device") == launched, "timed by the wrong clock", e)
        expect(0 <= a["ms"] <= (e["dur"] + 2) / 1e3, "the device took longer than the host saw", e)
        floor = floor_of(a, told["ceilings"]) if launched else 0
        expect(abs(a["floor_ms"] - floor) <= 1e-6 * floor, "another floor", e, floor)
        expect(not launched or "Conv" not in a["op_name"] or a["gflop"] > 0, "a convolution without arithmetic", e)
    expect(sum(e["args"].get("clock") == "device" for e in steps) > 5, "few steps ran on the device")
    return len(steps)


def check_table(text, steps):
    rows = re.findall(r"^ *(\d+) +([\d.]+) +[\d.]+%(.*)$", text, re.M)
    sums = {m[2]: float(m[1]) for m in re.finditer(r"^ *(?:\d+ +)?([\d.]+)  (steps in all|at least|the rest)", text, re.M)}
    expect(len(rows) == steps and "of floor" in text, "another table", text)
    expect(abs(sum(float(r[1]) for r in rows) - sums["steps in all"]) < 1e-4 * steps, "the table does not add up", text)
    expect(0 < sums["at least"] and sums["the rest"] > 0, "the table lacks a sum", text)
    expect(all(re.search(r"\d%", r[2]) for r in rows if "Conv" in r[2]), "a step without floor", text)


def check(program, model, tmp):
    for precision in ("fp32", "fp16"):
        networks.gopt(program, "run", model, "--backend", "opencl", "--precision", precision, "--profile", tmp / "t.json")
        steps = check_trace(json.loads((tmp / "t.json").read_text()))
        networks.gopt(program, "run", model, "--backend", "opencl", "--precision", precision, "--profile", tmp / "t.csv")
        with open(tmp / "t.csv", newline="") as f:
            rows = list(csv.DictReader(f))
        expect(len(rows) == steps and all(float(r["floor_ms"]) > 0 for r in rows if "Conv" in r["op"]), "no floors", rows)
        check_table(networks.gopt(program, "run", model, "--backend", "opencl", "--precision", precision, "--profile", "-").stdout, steps)
    on_cpu = networks.gopt(program, "run", model, "--profile", "-").stdout
    expect("of floor" not in on_cpu and "the rest" not in on_cpu, "the cpu has no clock of its own", on_cpu)


if __name__ == "__main__":
    peers.need_opencl(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        check(sys.argv[1], pathlib.Path(sys.argv[2]) / "examples" / "digits.onnx", pathlib.Path(folder))
