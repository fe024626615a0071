#!/usr/bin/env python3
"""Work grows with the network, not with its square.

  scale.py CASE GOPT

Cases:
  linear   `gopt optimize` on generated networks (networks.py), and on ones four times as large: processor time may
           grow by GROWTH at most. With GOPT_TEST_FULL set the larger ones have 100,000 nodes, which must be done in 5 s.

  memory   a network whose weights take 4 GiB (256 MiB unless GOPT_TEST_FULL is set) is optimized, with work on each
           weight, and saved, in less than 1 GiB (so much less) of anonymous memory

Times are processor time, the least of some tries; GROWTH lies between the 4 of what is linear and the 16 of what is
quadratic, and a network that fails is tried again, so a busy machine does not fail the test.
"""
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import networks  # noqa: E402

SKIP = 77
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


def peak_anonymous(program, *args):
    """Bytes, looked at 200 times a second."""
    peak = 0
    p = subprocess.Popen([program, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while p.poll() is None:
        try:
            with open(f"/proc/{p.pid}/status") as f:
                peak = max([peak] + [int(line.split()[1]) * 1024 for line in f if line.startswith("RssAnon")])
        except OSError:
            pass
        time.sleep(.005)
    if p.returncode:
        sys.exit(f"{' '.join(map(str, args))}: exit {p.returncode}\n{p.stderr.read()[-2000:]}")
    return peak


def memory(program, folder):
    if not os.path.exists("/proc/self/status"):
        print("skipped: no /proc to read anonymous memory from")
        sys.exit(SKIP)
    if is_instrumented(program):
        print("skipped: sanitizers take memory of their own")
        sys.exit(SKIP)
    # what a process holds before it has any weights, twice, and what may lie in pages before files are used
    most = (1 << 30) if FULL else (96 << 20)
    size = networks.with_large_weights(str(folder / "large.onnx"), *((40, 4096, 1024) if FULL else (12, 1536, 512)))
    options = () if FULL else ("--memory-limit", 512 << 20)
    peak = peak_anonymous(program, "optimize", folder / "large.onnx", "-q", "--external-data", "-o", folder / "out.onnx", *options)
    written = (folder / "out.onnx.data").stat().st_size
    print(f"{size >> 20} MiB of weights: at most {peak >> 20} MiB of anonymous memory, {written >> 20} MiB written")
    if peak > most:
        sys.exit(f"expected at most {most >> 20} MiB")
    if written < size // 2:
        sys.exit("the weights are not there")


CASES = {"linear": linear, "memory": memory}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in CASES:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as d:
        CASES[sys.argv[1]](sys.argv[2], pathlib.Path(d))
