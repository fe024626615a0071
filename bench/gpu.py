#!/usr/bin/env python3
"""gopt's opencl backend beside PyTorch on an NVIDIA GPU, in one run: answers checked, medians in ms.

  bench/gpu.py [--gopt PROGRAM] [--nets resnet50,bert] [--batches 1,64] [--precisions] [--repeats 3] [--fresh]
               [--compile NETS] [--no-fuse NETS] [--worst 10] [--save FILE] [--show FILE] [--device cpu]

PyTorch is timed as written (eager), as a CUDA graph, as one with BatchNorm folded, all with channels last, and by
torch.compile (max-autotune; --compile NETS, ResNet-50 alone unless told, `all` or `none`). gopt is timed by
`gopt run --json`, in --repeats separate processes: from launch to finish without the copies to and from the device
("gopt"), and with them ("whole"); --fresh gives each process an empty cache folder, so that each makes its own choices of
variants. --no-fuse NETS are also timed without fusions (ResNet-18 unless told). --precisions adds fp32 and tf32 to fp16,
PyTorch's with allow_tf32 off and on. Networks have random weights with BatchNorms that keep the spread of activations;
inputs are random. `error` is the distance of gopt's answer to PyTorch's in fp32, relative to its norm, `top-1` the share of
its rows with the highest value in the same place (of BERT's encoder rows are tokens, whose 768 features are no classes),
`torch` and `torch-1` the same of PyTorch's own answer in that precision.

What is printed, by gpu_table.py: the times and what they are against the targets there, how they vary within a process and
between processes, and for each network the --worst steps that lose most against their floors. --save keeps all of it as
JSON, --show prints such a file again, on any machine.

--device cpu holds small networks on PoCL against PyTorch on the processor: it tries this program where there is no GPU, and
its times say nothing. Needs PyTorch, and torchvision for the networks of images.
"""
import argparse
import contextlib
import copy
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import gpu_table

CALLS = 60
NETS = {"cuda": "resnet50,resnet18,mobilenet_v2,squeezenet1_1,bert", "cpu": "small_images,small_bert"}
WITHOUT_BATCHNORM = ("bert", "small_bert", "squeezenet1_1")


# ---- networks ----

def bert(torch, layers, width, heads):
    """The encoder of BERT over embedded tokens."""
    F = torch.nn.functional

    class Bert(torch.nn.Module):
        def __init__(self):
            super().__init__()
            make = lambda: torch.nn.ModuleDict({
                "qkv": torch.nn.Linear(width, 3 * width), "out": torch.nn.Linear(width, width),
                "up": torch.nn.Linear(width, 4 * width), "down": torch.nn.Linear(4 * width, width),
                "n1": torch.nn.LayerNorm(width), "n2": torch.nn.LayerNorm(width)})
            self.layers = torch.nn.ModuleList(make() for _ in range(layers))

        def forward(self, x):
            b, t, c = x.shape
            for l in self.layers:
                q, k, v = l["qkv"](x).view(b, t, 3, heads, c // heads).permute(2, 0, 3, 1, 4).unbind(0)
                y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c)
                x = l["n1"](x + l["out"](y))
                x = l["n2"](x + l["down"](F.gelu(l["up"](x))))
            return x

    return Bert()


def small_images(torch):
    n = torch.nn
    return n.Sequential(n.Conv2d(3, 16, 3, 2, 1, bias=False), n.BatchNorm2d(16), n.ReLU(), n.Conv2d(16, 32, 3, 1, 1, bias=False),
                        n.BatchNorm2d(32), n.ReLU(), n.AdaptiveAvgPool2d(1), n.Flatten(), n.Linear(32, 10))


def make(torch, name):
    """The network, and what makes an input of so many."""
    torch.manual_seed(7)
    if name == "bert":
        return bert(torch, 12, 768, 12).eval(), lambda b: torch.randn(b, 128, 768)
    if name == "small_bert":
        return bert(torch, 2, 64, 4).eval(), lambda b: torch.randn(b, 16, 64)
    if name == "small_images":
        return small_images(torch).eval(), lambda b: torch.randn(b, 3, 32, 32)
    import torchvision
    m = getattr(torchvision.models, name)().eval()
    for n, x in m.named_modules():
        if isinstance(x, torch.nn.BatchNorm2d):
            last = n.endswith("bn3") or (name == "resnet18" and n.endswith("bn2"))
            x.weight.data.uniform_(*((0.3, 0.5) if last else (0.6, 1.0)))
            x.bias.data.normal_(0, 0.1), x.running_mean.normal_(0, 0.1), x.running_var.uniform_(0.8, 1.2)
    return m, lambda b: torch.randn(b, 3, 224, 224)


def distance(got, want):
    """How far an answer is from the right one, and the share of its rows whose highest value stands in the same place."""
    highest = lambda y: y.reshape(-1, y.shape[-1]).argmax(1)
    return {"error": float((got - want).norm() / want.norm()), "top1": float((highest(got) == highest(want)).float().mean())}


# ---- PyTorch ----

class Torch:
    """PyTorch's times on a device, "cuda" or "cpu"."""

    def __init__(self, torch, device):
        self.torch, self.device = torch, device
        torch.backends.cudnn.benchmark = True

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def allow_tf32(self, on):
        self.torch.backends.cuda.matmul.allow_tf32 = self.torch.backends.cudnn.allow_tf32 = on

    def median(self, f):
        for _ in range(10):
            f()
        self.wait()
        times = []
        for _ in range(CALLS):
            t = time.perf_counter()
            f()
            self.wait()
            times.append((time.perf_counter() - t) * 1e3)
        return statistics.median(times)

    def graph_of(self, f):
        cuda = self.torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(3):
                f()
        cuda.current_stream().wait_stream(side)
        g = cuda.CUDAGraph()
        with cuda.graph(g):
            f()
        return g.replay

    def right(self, model, x):
        """The answer in fp32."""
        self.allow_tf32(False)
        return copy.deepcopy(model).to(self.device)(x.to(self.device)).cpu()

    def times(self, model, x, precision, fold, compiled, want):
        """{"eager", "graph", "folded", "compile": ms, "error", "top1" of its answer}; what was not to be had is left out."""
        torch = self.torch
        self.allow_tf32(precision == "tf32")
        dtype = torch.half if precision == "fp16" and self.device == "cuda" else torch.float

        def placed(m):
            m = m.to(dtype).to(self.device)
            return m.to(memory_format=torch.channels_last) if x.dim() == 4 else m

        m, y = placed(copy.deepcopy(model)), placed(x)
        r = {"eager": self.median(lambda: m(y)), **distance(m(y).float().cpu(), want)}
        if fold:
            import torch.fx.experimental.optimization as opt
            folded = placed(opt.fuse(copy.deepcopy(model)))
        if self.device == "cuda":
            r["graph"] = self.median(self.graph_of(lambda: m(y)))
            if fold:
                r["folded"] = self.median(self.graph_of(lambda: folded(y)))
            if compiled:
                try:
                    best = torch.compile(folded if fold else m, mode="max-autotune")
                    r["compile"] = self.median(lambda: best(y))
                except Exception as e:  # noqa: BLE001: it lacks a compiler or triton
                    r["compile failed"] = str(e).strip().splitlines()[0][:200]
        return r


# ---- gopt ----

class Gopt:
    def __init__(self, program, backend, repeats, fresh, calls=CALLS, warmup=300):
        self.program, self.backend, self.repeats, self.fresh, self.calls, self.warmup = program, backend, repeats, fresh, calls, warmup

    def run(self, *args, cache=None):
        """None, or the sentence that says why it does not run."""
        env = {**os.environ, "XDG_CACHE_HOME": cache} if cache else None
        p = subprocess.run([self.program, "run", *map(str, args)], capture_output=True, text=True, env=env)
        lines = [l for l in p.stderr.strip().splitlines() if l.startswith("error:")] or p.stderr.strip().splitlines() or ["failed"]
        return lines[0].removeprefix("error: ")[:200] if p.returncode else None

    def times(self, model, folder, precision, *more):
        """{"runs": one a process, each {"compute": {"min", "median", "p90"}, "whole": …}}, or {"refused": why}."""
        args = [model, "--backend", self.backend, "--precision", precision, "--input", f"{folder}/x.npy", *more]
        refused = self.run(*args, "--iterations", 1, "--warmup", 0, "--output-dir", folder)  # builds, and chooses
        runs = []
        while not refused and len(runs) < self.repeats:
            with tempfile.TemporaryDirectory() if self.fresh else contextlib.nullcontext() as cache:
                refused = self.run(*args, "--iterations", self.calls, "--warmup", self.warmup, "--json", f"{folder}/run.json", cache=cache)
            if not refused:
                facts = json.loads(pathlib.Path(folder, "run.json").read_text())
                runs.append({what: {k: facts[key][k] for k in ("min", "median", "p90")}
                             for what, key in (("compute", "compute_ms"), ("whole", "latency_ms"))})
        return {"refused": refused} if refused else {"runs": runs}

    def profile(self, model, folder, precision):
        """gopt's own trace, as it writes it; None where it does not run."""
        path = pathlib.Path(folder, "trace.json")
        refused = self.run(model, "--backend", self.backend, "--precision", precision, "--input", f"{folder}/x.npy", "--profile", path)
        return None if refused else json.loads(path.read_text())


# ---- all ----

def answer_of(np, torch, folder, want):
    """gopt's answer: its one output, beside the input."""
    return torch.from_numpy(np.load(next(p for p in pathlib.Path(folder).glob("*.npy") if p.name != "x.npy"))).view_as(want)


def chosen(option, name):
    return option == "all" or name in option.split(",")


def measure(a, torch, name, batch, folder):
    """The rows of a network and batch, one a precision."""
    import numpy as np
    model, inputs = make(torch, name)
    x, path, rows = inputs(batch), f"{folder}/{name}.onnx", []
    np.save(f"{folder}/x.npy", x.numpy())
    there, gopt = Torch(torch, a.device), Gopt(a.gopt, a.backend, a.repeats, a.fresh, *((10, 50) if a.device == "cpu" else ()))
    want = there.right(model, x)
    torch.onnx.export(copy.deepcopy(model), (x,), path, opset_version=17, dynamo=False)
    for precision in ("fp16", "fp32", "tf32") if a.precisions else ("fp16",):
        r = {"network": name, "batch": batch, "precision": precision}
        r["torch"] = there.times(model, x, precision, name not in WITHOUT_BATCHNORM, chosen(a.compile, name), want)
        r["gopt"] = gopt.times(path, folder, precision)
        if "runs" in r["gopt"]:
            got = answer_of(np, torch, folder, want)
            r["gopt"].update(distance(got, want))
            r["profile"] = gopt.profile(path, folder, precision)
            if chosen(a.no_fuse, name):
                r["no-fuse"] = gopt.times(path, folder, precision, "--no-fuse")
        rows.append(r)
    return rows


def card_of(torch, device):
    if device == "cpu":
        return "the processor"
    p = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"], capture_output=True, text=True) \
        if any(pathlib.Path(d, "nvidia-smi").exists() for d in os.environ.get("PATH", "").split(":")) else None
    return torch.cuda.get_device_name() + (", driver, most MHz, most W: " + p.stdout.strip().splitlines()[0] if p and p.stdout.strip() else "")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--gopt", default="build/release/gopt")
    ap.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    ap.add_argument("--nets", help="default: " + NETS["cuda"])
    ap.add_argument("--batches", default="1,64", help="BERT gets 8 at most")
    ap.add_argument("--precisions", action="store_true")
    ap.add_argument("--repeats", type=int, default=3)
    ap.add_argument("--fresh", action="store_true")
    ap.add_argument("--compile", default="resnet50", metavar="NETS")
    ap.add_argument("--no-fuse", default="resnet18,small_images", metavar="NETS")
    ap.add_argument("--worst", type=int, default=10)
    ap.add_argument("--save", metavar="FILE")
    ap.add_argument("--show", metavar="FILE")
    a = ap.parse_args()
    if a.show:
        print(gpu_table.report(json.loads(pathlib.Path(a.show).read_text()), a.worst))
        return
    import torch
    a.backend = "opencl:gpu" if a.device == "cuda" else "opencl:cpu"
    found = {"card": card_of(torch, a.device), "pytorch": torch.__version__, "rows": []}
    for name in (a.nets or NETS[a.device]).split(","):
        for batch in dict.fromkeys(min(int(b), 8) if "bert" in name else int(b) for b in a.batches.split(",")):
            with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                rows = measure(a, torch, name, batch, folder)
            found["rows"] += rows
            print("\n".join(gpu_table.times_of(rows, found["card"])), flush=True)  # as they come; the whole stands at the end
            if a.save:
                pathlib.Path(a.save).write_text(json.dumps(found))
    print(gpu_table.report(found, a.worst))


if __name__ == "__main__":
    main()
