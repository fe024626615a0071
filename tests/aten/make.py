#!/usr/bin/env python3
"""Makes the cases that hold the lowerings of PyTorch's operators against PyTorch's own answers.

  make.py [--only REGEX] [--out FOLDER] [FAMILY...]

A family is a file cases/FAMILY.py: a list CASES of `case(name, function, inputs…)`. Each case is exported by PyTorch's
TorchScript exporter with operator_export_type=ONNX_ATEN, so that every operator stays PyTorch's, and run by PyTorch for
the answers: a folder of the shape of ONNX's backend tests, FAMILY/NAME with model.onnx and test_data_set_0. They are
packed as cases/FAMILY.tar.xz, which is what the tests read: making needs PyTorch (2.15) and onnx, testing does not.

With --out nothing is packed: the folders stay in FOLDER. With --only (a search in the names) the others are kept as
they were packed.
"""
import argparse
import importlib.util
import io
import pathlib
import re
import sys
import tarfile
import tempfile
import warnings

import numpy as np
import onnx
import torch
from onnx import numpy_helper

HERE = pathlib.Path(__file__).resolve().parent / "cases"
OPSET = 18


class Case:
    def __init__(self, name, function, *inputs, opset=OPSET, dynamic=None, fallthrough=False, keep_constant=False):
        self.name, self.function, self.inputs = name, function, inputs
        self.opset, self.dynamic, self.fallthrough = opset, dynamic, fallthrough


def case(name, function, *inputs, **options):
    """One case. function takes the inputs (tensors) and gives a tensor or a tuple of them; it may be a Module.

    Options: opset; dynamic = {input number: {axis: name}}, dims that the export leaves open (answers are of the
    inputs given); fallthrough = True exports with ONNX_FALLTHROUGH, which keeps only what ONNX has no form for.
    Operators: what of ONNX's own the model holds besides is no fault."""
    return Case(name, function, *inputs, **options)


def seeded(name):
    """A generator of its own for each case: adding one changes no other."""
    return torch.Generator().manual_seed(int.from_bytes(name.encode()[-8:], "little") % (1 << 31))


class Wrapped(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def tensor_proto(t, name):
    t = t.detach().contiguous()
    if t.dtype == torch.bfloat16:
        p = onnx.TensorProto(data_type=onnx.TensorProto.BFLOAT16, dims=t.shape, name=name)
        p.raw_data = t.view(torch.int16).numpy().tobytes()
        return p
    return numpy_helper.from_array(t.numpy(), name)


def make(c, folder):
    """Writes the folder of a case. Raises where PyTorch cannot export or run it."""
    module = c.function if isinstance(c.function, torch.nn.Module) else Wrapped(c.function)
    module.eval()
    with torch.no_grad():
        outputs = module(*[i.clone() for i in c.inputs])
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    names = [f"in{i}" for i in range(len(c.inputs))]
    axes = {names[i]: a for i, a in (c.dynamic or {}).items()}
    kind = torch.onnx.OperatorExportTypes
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, tuple(i.clone() for i in c.inputs), buffer, dynamo=False, opset_version=c.opset,
                          operator_export_type=kind.ONNX_FALLTHROUGH if c.fallthrough else kind.ONNX_ATEN,
                          input_names=names, dynamic_axes=axes or None, do_constant_folding=False, verbose=False)
    model = onnx.load_from_string(buffer.getvalue())
    model.ClearField("producer_version")
    for n in model.graph.node:
        n.ClearField("doc_string")
    foreign = {n.domain for n in model.graph.node} - {""}
    if not foreign:
        raise RuntimeError("the export holds no operator of PyTorch's")
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    kept = [i.name for i in model.graph.input]
    for i, t in enumerate(x for name, x in zip(names, c.inputs) if name in kept):
        (data / f"input_{i}.pb").write_bytes(tensor_proto(t, kept[i]).SerializeToString())
    if len(outputs) != len(model.graph.output):
        raise RuntimeError(f"{len(outputs)} answers, {len(model.graph.output)} outputs")
    for i, t in enumerate(outputs):
        (data / f"output_{i}.pb").write_bytes(tensor_proto(t, model.graph.output[i].name).SerializeToString())


def cases_of(family):
    spec = importlib.util.spec_from_file_location(family, HERE / f"{family}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make"] = sys.modules[__name__]
    torch.manual_seed(0)
    spec.loader.exec_module(module)
    names = [c.name for c in module.CASES]
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        sys.exit(f"{family}: named twice: {', '.join(sorted(twice))}")
    return module.CASES


def pack(folder, path):
    """Deterministic: no times, owners or order of the disk."""
    with tarfile.open(path, "w:xz", preset=9) as tar:
        for p in sorted(folder.rglob("*")):
            if p.is_file():
                info = tarfile.TarInfo(str(p.relative_to(folder)))
                info.size = p.stat().st_size
                tar.addfile(info, io.BytesIO(p.read_bytes()))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("families", nargs="*")
    args.add_argument("--only", default="")
    args.add_argument("--out")
    o = args.parse_args()
    failed = total = 0
    for family in o.families or sorted(p.stem for p in HERE.glob("*.py")):
        with tempfile.TemporaryDirectory() as tmp:
            out = pathlib.Path(o.out or tmp) / family
            out.mkdir(parents=True, exist_ok=True)
            packed = HERE / f"{family}.tar.xz"
            if o.only and not o.out and packed.exists():
                with tarfile.open(packed) as tar:
                    tar.extractall(out, filter="data")
            for c in cases_of(family):
                if not re.search(o.only, c.name):
                    continue
                folder = out / c.name
                if folder.exists():
                    import shutil
                    shutil.rmtree(folder)
                try:
                    make(c, folder)
                    total += 1
                except Exception as e:  # what PyTorch refuses is for the author of the case to see
                    failed += 1
                    print(f"{family}/{c.name}: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}", file=sys.stderr)
            if not o.out and not failed:
                pack(out, packed)
    print(f"{total} cases made, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
