#!/usr/bin/env python3
"""gopt's opencl backend beside PyTorch on an NVIDIA GPU, in one run: fp16, answers checked, medians in ms.

  bench/gpu.py [--gopt PROGRAM] [--nets resnet50,bert] [--batches 1,64] [--steps] [--compile]

PyTorch is timed three ways: as written (eager), as a CUDA graph with BatchNorm folded and channels last, and, with
--compile, by torch.compile (max-autotune). gopt's time is that of `gopt run --json`: "ms" from launch to finish without
the copies to and from the device, "whole" with them. Networks have random weights with BatchNorms that keep the spread of
activations; inputs are random. `error` is the distance of gopt's answer to PyTorch's in fp32, relative to its norm, and
`torch` that of PyTorch's own fp16. --steps prints each step's time and share of its floor. Needs PyTorch, torchvision and,
for BERT, transformers or nothing (a plain encoder of its size stands in).
"""
import argparse
import copy
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F

CALLS = 60


class Bert(torch.nn.Module):
    """The encoder of BERT-base over embedded tokens: 12 layers, 768 wide, 12 heads."""

    def __init__(self, layers=12, width=768, heads=12):
        super().__init__()
        self.heads = heads
        make = lambda: torch.nn.ModuleDict({
            "qkv": torch.nn.Linear(width, 3 * width), "out": torch.nn.Linear(width, width),
            "up": torch.nn.Linear(width, 4 * width), "down": torch.nn.Linear(4 * width, width),
            "n1": torch.nn.LayerNorm(width), "n2": torch.nn.LayerNorm(width)})
        self.layers = torch.nn.ModuleList(make() for _ in range(layers))

    def forward(self, x):
        b, t, c = x.shape
        for l in self.layers:
            q, k, v = l["qkv"](x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c)
            x = l["n1"](x + l["out"](y))
            x = l["n2"](x + l["down"](F.gelu(l["up"](x))))
        return x


def make(name):
    torch.manual_seed(7)
    if name == "bert":
        return Bert().eval(), lambda b: torch.randn(b, 128, 768)
    import torchvision
    m = getattr(torchvision.models, name)().eval()
    for n, x in m.named_modules():
        if isinstance(x, torch.nn.BatchNorm2d):
            last = n.endswith("bn3") or (name == "resnet18" and n.endswith("bn2"))
            x.weight.data.uniform_(*((0.3, 0.5) if last else (0.6, 1.0)))
            x.bias.data.normal_(0, 0.1), x.running_mean.normal_(0, 0.1), x.running_var.uniform_(0.8, 1.2)
    return m, lambda b: torch.randn(b, 3, 224, 224)


def median(f, calls=CALLS):
    for _ in range(10):
        f()
    torch.cuda.synchronize()
    times = []
    for _ in range(calls):
        t = time.perf_counter()
        f()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - t) * 1e3)
    return statistics.median(times)


def graph_of(f):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            f()
    torch.cuda.current_stream().wait_stream(side)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        f()
    return g.replay


def torch_times(m, x, fold, compiled):
    half = m.half().cuda()
    y = x.half().cuda()
    if y.dim() == 4:
        half, y = half.to(memory_format=torch.channels_last), y.to(memory_format=torch.channels_last)
    r = {"eager": median(lambda: half(y)), "answer": half(y).float().cpu()}
    if fold:
        import torch.fx.experimental.optimization as opt
        folded = opt.fuse(copy.deepcopy(m).float()).half().cuda().to(memory_format=torch.channels_last)
        r["plain graph"] = median(graph_of(lambda: half(y)))
    else:
        folded = half
    r["graph"] = median(graph_of(lambda: folded(y)))
    if compiled:
        best = torch.compile(folded, mode="max-autotune")
        r["compile"] = median(lambda: best(y))
    return r


def gopt_run(program, model, folder, *extra):
    cmd = [program, "run", model, "--backend", "opencl:gpu", "--iterations", str(CALLS), "--warmup", "300",
           "--input", f"{folder}/x.npy", "--output-dir", folder, "--json", f"{folder}/run.json", *extra]
    p = subprocess.run(cmd, capture_output=True, text=True)
    if p.returncode:
        return {"error": (p.stderr.strip().splitlines() or ["failed"])[0][:200]}
    return json.load(open(f"{folder}/run.json"))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--gopt", default="build/release/gopt")
    ap.add_argument("--nets", default="resnet50,resnet18,mobilenet_v2,squeezenet1_1,bert")
    ap.add_argument("--batches", default="1,64")
    ap.add_argument("--steps", action="store_true")
    ap.add_argument("--compile", action="store_true")
    ap.add_argument("--no-fuse", action="store_true", help="also gopt without fusions")
    a = ap.parse_args()
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(torch.cuda.get_device_name(), "PyTorch", torch.__version__)
    print(f"{'network':16}{'batch':>6}{'eager':>9}{'graph':>9}{'folded':>9}{'compile':>9}{'gopt':>9}{'whole':>9}{'no-fuse':>9}"
          f"{'x graph':>9}{'x eager':>9}{'error':>10}{'torch':>10}  top-1")
    for name in a.nets.split(","):
        model, inputs = make(name)
        for b in map(int, a.batches.split(",")):
            b = 8 if name == "bert" and b > 8 else b
            with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                x = inputs(b)
                np.save(f"{folder}/x.npy", x.numpy())
                want = copy.deepcopy(model).cuda()(x.cuda()).cpu()
                path = f"{folder}/{name}.onnx"
                torch.onnx.export(copy.deepcopy(model), (x,), path, opset_version=17, dynamo=False)
                t = torch_times(copy.deepcopy(model), x, name != "bert", a.compile)
                g = gopt_run(a.gopt, path, folder, "--precision", "fp16")
                if "error" in g:
                    print(f"{name:16}{b:6} {g['error']}", flush=True)
                    continue
                got = torch.from_numpy(np.load(next(pathlib.Path(folder).glob("[!x]*.npy")))).view_as(want)
                flat = lambda y: y.reshape(-1, y.shape[-1])
                err = float((got - want).norm() / want.norm())
                own = float((t["answer"] - want).norm() / want.norm())
                top = float((flat(got).argmax(1) == flat(want).argmax(1)).float().mean())
                plain = gopt_run(a.gopt, path, folder, "--precision", "fp16", "--no-fuse") if a.no_fuse else {}
                ms = g["compute_ms"]["median"]
                n = float("nan")
                print(f"{name:16}{b:6}{t['eager']:9.3f}{t.get('plain graph', n):9.3f}{t['graph']:9.3f}{t.get('compile', n):9.3f}"
                      f"{ms:9.3f}{g['latency_ms']['median']:9.3f}{plain.get('compute_ms', {}).get('median', n):9.3f}"
                      f"{t['graph'] / ms:9.2f}{t['eager'] / ms:9.2f}{err:10.1e}{own:10.1e}  {top:.3f}", flush=True)
                if a.steps:
                    p = subprocess.run([a.gopt, "run", path, "--backend", "opencl:gpu", "--precision", "fp16", "--iterations",
                                        "20", "--input", f"{folder}/x.npy", "--profile", "-"], capture_output=True, text=True)
                    print(p.stdout)


if __name__ == "__main__":
    main()
