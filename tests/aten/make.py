#!/usr/bin/env python3
"""Makes the cases that hold the lowerings of PyTorch's operators against PyTorch's own answers.

  make.py [--only REGEX] [--out FOLDER] [FAMILY...]

A family is a file cases/FAMILY.py: a list CASES of `case(name, function, inputs…)` and `call(name, operator,
arguments…)`. Each case is exported by PyTorch's
TorchScript exporter with operator_export_type=ONNX_ATEN, so that every operator stays PyTorch's, and run by PyTorch for
the answers: a folder of the shape of ONNX's backend tests, FAMILY/NAME with model.onnx and test_data_set_0. They are
packed as cases/FAMILY.tar.xz, which is what the tests read: making needs PyTorch (2.15), torchvision and onnx,
testing does not.

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
    def __init__(self, name, function, *inputs, opset=OPSET, dynamic=None, fallthrough=False):
        self.name, self.function, self.inputs = name, function, inputs
        self.opset, self.dynamic, self.fallthrough = opset, dynamic, fallthrough


class Call:
    def __init__(self, name, operator, arguments, opset, domain, results):
        self.name, self.operator, self.arguments = name, operator, arguments
        self.opset, self.domain, self.results = opset, domain, results


def case(name, function, *inputs, **options):
    """One case. function takes the inputs (tensors) and gives a tensor or a tuple of them; it may be a Module.

    Options: opset; dynamic = {input number: {axis: name}}, dims that the export leaves open (answers are of the
    inputs given); fallthrough = True exports with ONNX_FALLTHROUGH, which keeps only what ONNX has no form for.
    Operators: what of ONNX's own the model holds besides is no fault."""
    return Case(name, function, *inputs, **options)


def call(name, operator, *arguments, opset=OPSET, domain="org.pytorch.aten", results=None):
    """One call of "operator" or "operator.overload" with all its arguments by position, as the exporter writes it:
    tensors become inputs, numbers and lists constants, None an empty name, lists of tensors a SequenceConstruct. For
    operators that PyTorch's exporter always turns into ONNX's. domain: "aten" writes aten::operator.
    results: how many of its results anybody reads (all)."""
    return Call(name, operator, arguments, opset, domain, results)


class Wrapped(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def flat(x):
    """The tensors of nested tuples, in order."""
    return [t for y in x for t in flat(y)] if isinstance(x, (tuple, list)) else [x]


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
    outputs = flat(outputs)
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


def constant(nodes, value):
    """The name of a Constant in the exporter's way."""
    name = f"constant_{len(nodes)}"
    if isinstance(value, str):
        nodes.append(onnx.helper.make_node("Constant", [], [name], value=value))
        return name
    if isinstance(value, bool):
        array = np.array(value)
    elif isinstance(value, int) or (isinstance(value, (list, tuple)) and all(isinstance(v, int) for v in value)):
        array = np.array(value, np.int64) if value != [] else np.zeros(0, np.float32)
    else:
        array = np.array(value, np.float64)
    nodes.append(onnx.helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
    return name


def make_call(c, folder):
    """Writes the folder of a call."""
    operator, _, overload = c.operator.partition(".")
    if c.domain == "prim":  # only lists are taken apart so
        return write_call(c, folder, operator, "", c.arguments[0])
    if c.domain == "torchvision":
        import torchvision  # noqa: F401  it brings its operators
    function = getattr(getattr(getattr(torch.ops, c.domain.split(".")[-1]), operator), overload or "default")
    by_name = {p.name: v for p, v in zip(function._schema.arguments, c.arguments) if p.kwarg_only}
    answer = function(*c.arguments[: len(c.arguments) - len(by_name)], **by_name)
    write_call(c, folder, operator, overload, answer)


def write_call(c, folder, operator, overload, answer):
    answer = [t if isinstance(t, torch.Tensor) else torch.tensor(t) for t in flat(answer)[: c.results]]
    nodes, inputs, tensors, names = [], [], [], []

    def value(x):
        if x is None:
            return ""
        if isinstance(x, torch.Tensor):
            tensors.append(x)
            inputs.append(f"in{len(inputs)}")
            return inputs[-1]
        if isinstance(x, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in x):
            parts, made = [value(v) for v in x], f"list_{len(nodes)}"
            kind = {"op_type": "SequenceConstruct"} if all(parts) else {"op_type": "ListConstruct", "domain": "prim"}
            nodes.append(onnx.helper.make_node(inputs=parts, outputs=[made], **kind))
            return made
        if isinstance(x, torch.dtype):
            x = DTYPES.index(x)
        return constant(nodes, x)

    names = [value(x) for x in c.arguments]
    outputs = [f"out{i}" for i in range(len(answer))]
    if c.domain != "org.pytorch.aten":
        nodes.append(onnx.helper.make_node(operator, names, outputs, domain=c.domain))
    else:
        nodes.append(onnx.helper.make_node("ATen", names, outputs, domain=c.domain, operator=operator, overload_name=overload))
    element = {t: tensor_proto(t, "").data_type for t in [*tensors, *answer]}
    graph = onnx.helper.make_graph(
        nodes, "main_graph", [onnx.helper.make_tensor_value_info(n, element[t], list(t.shape)) for n, t in zip(inputs, tensors)],
        [onnx.helper.make_tensor_value_info(n, element[t], None) for n, t in zip(outputs, answer)])
    domains = [("", c.opset)] + sorted({(n.domain, 1) for n in nodes if n.domain})
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(*d) for d in domains], ir_version=8)
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, all_names, all_tensors in (("input", inputs, tensors), ("output", outputs, answer)):
        for i, t in enumerate(all_tensors):
            (data / f"{kind}_{i}.pb").write_bytes(tensor_proto(t, all_names[i]).SerializeToString())


# c10/core/ScalarType.h, by number
DTYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64, None,
          torch.complex64, torch.complex128, torch.bool, None, None, None, torch.bfloat16]


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
                    (make_call if isinstance(c, Call) else make)(c, folder)
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
