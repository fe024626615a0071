#!/usr/bin/env python3
"""Work grows with the network, not with its square.

  scale.py CASE GOPT

Cases:
  linear   `gopt optimize` on generated networks (networks.py), and on ones four times as large: processor time may
           grow by GROWTH at most. With GOPT_TEST_FULL set the larger ones have 100,000 nodes, which must be done in 5 s.

Times are processor time, the least of some tries; GROWTH lies between the 4 of what is linear and the 16 of what is
quadratic, and a network that fails is tried again, so a busy machine does not fail the test.
"""
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import networks  # noqa: E402

FULL = bool(os.environ.get("GOPT_TEST_FULL"))
GROWTH, START = 6.5, 0.02  # START: seconds that the process takes before it does anything, and then some
LONGEST = 5.0
INSTRUMENTED = 10  # sanitized builds may take so much longer


def cpu_seconds(program, *args):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    p = subprocess.run([program, *map(str, args)], capture_output=True, text=True, errors="replace")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if p.returncode:
        sys.exit(f"{' '.join(map(str, args))}: exit {p.returncode}\n{p.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def is_instrumented(program):
    with open(program, "rb") as f:
        return b"__asan_init" in f.read()


def linear(program, folder):
    slow = is_instrumented(program)
    limit = LONGEST * (INSTRUMENTED if slow else 1)
    largest = 8000 if slow else 100000 if FULL else 24000
    sizes = (largest // 4, largest)
    failed = []
    for kind, make in networks.KINDS.items():
        files = []
        for n in sizes:
            files.append(folder / f"{kind}{n}.onnx")
            files[-1].write_bytes(make(n))
        least = [float("inf")] * 2
        for _ in range(4):
            for i, f in enumerate(files):
                least[i] = min(least[i], cpu_seconds(program, "optimize", f, "-q", "-o", folder / "out.onnx"))
            if least[1] <= GROWTH * (least[0] + START) and least[1] <= limit:
                break
        else:
            failed.append(kind)
        print(f"{kind:14} {sizes[0]} nodes {least[0]:6.2f} s, {sizes[1]} nodes {least[1]:6.2f} s", flush=True)
        for f in files:
            f.unlink()
    if failed:
        sys.exit(f"grows too fast, or takes over {limit:g} s: {', '.join(failed)}")


CASES = {"linear": linear}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in CASES:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as d:
        CASES[sys.argv[1]](sys.argv[2], pathlib.Path(d))
