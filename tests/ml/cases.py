"""Cases of one node each, held against ONNX Runtime. A case is a name, an operator, inputs and attributes; what the
node is expected to answer comes from ONNX Runtime, or from ONNX's reference where ONNX Runtime lacks the operator."""
import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
CASES = []


def f32(*shape, seed=0, scale=1.0):
    return (np.random.default_rng(seed + 17 * len(shape) + sum(shape)).standard_normal(shape) * scale).astype(np.float32)


def text(*words):
    return np.array(words, object)


def case(name, op, inputs, outputs=1, domain=ML, version=3, reference=False, types=None, **attributes):
    """outputs: how many. reference: ask ONNX's reference. types: of outputs that are no tensors, as TypeProto."""
    CASES.append(dict(name=name, op=op, inputs=list(inputs), outputs=outputs, domain=domain, version=version,
                      reference=reference, types=types or {}, attributes=attributes))


def value_proto(x, name):
    """Test data of any kind that ONNX defines."""
    if isinstance(x, dict):
        return map_proto(x, name)
    if isinstance(x, list):
        return numpy_helper.from_list(x, name) if not x or not isinstance(x[0], dict) else maps_proto(x, name)
    x = np.asarray(x)
    if x.dtype.kind in "UO":
        return helper.make_tensor(name, TensorProto.STRING, x.shape, [s.encode() for s in x.ravel().tolist()])
    return numpy_helper.from_array(x, name)


def map_proto(x, name):
    words = isinstance(next(iter(x)), str)
    proto = onnx.MapProto(name=name, key_type=TensorProto.STRING if words else TensorProto.INT64)
    (proto.string_keys if words else proto.keys).extend(k.encode() if words else int(k) for k in x)
    proto.values.elem_type = onnx.SequenceProto.TENSOR
    for v in x.values():
        v = np.float32(v) if isinstance(v, float) else np.array(v, object) if isinstance(v, str) else np.int64(v)
        proto.values.tensor_values.append(value_proto(v, ""))
    return proto


def maps_proto(maps, name):
    proto = onnx.SequenceProto(name=name, elem_type=onnx.SequenceProto.MAP)
    proto.map_values.extend(map_proto(m, "") for m in maps)
    return proto


def type_of(x, name):
    x = np.asarray(x)
    dtype = TensorProto.STRING if x.dtype.kind in "UO" else helper.np_dtype_to_tensor_dtype(x.dtype)
    return helper.make_tensor_value_info(name, dtype, x.shape)


def output_info(name, types):
    if name in types:
        return helper.make_value_info(name, types[name])
    return helper.make_empty_tensor_value_info(name)


def session(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def build(folder, c):
    """Writes the model and its data set; returns why not where nobody answers it."""
    names = ["" if x is None else f"i{k}" for k, x in enumerate(c["inputs"])]
    outs = [f"y{k}" for k in range(c["outputs"])]
    node = helper.make_node(c["op"], names, outs, domain=c["domain"], name="node", **c["attributes"])
    given = [(n, x) for n, x in zip(names, c["inputs"]) if n]
    graph = helper.make_graph([node], c["name"],
                              [output_info(n, c["types"]) if n in c["types"] else type_of(x, n) for n, x in given],
                              [output_info(n, c["types"]) for n in outs])
    opsets = [helper.make_opsetid("", 21)] + ([helper.make_opsetid(c["domain"], c["version"] if c["domain"] == ML else 1)]
                                             if c["domain"] else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    at = folder / c["name"]
    (at / "test_data_set_0").mkdir(parents=True)
    onnx.save(model, at / "model.onnx")
    try:
        if c["reference"]:
            from onnx.reference import ReferenceEvaluator
            found = ReferenceEvaluator(model).run(None, dict(given))
        else:
            found = session(at / "model.onnx").run(None, dict(given))
    except Exception as failure:
        shutil.rmtree(at)
        return str(failure)
    for kind, values in (("input", given), ("output", list(zip(outs, found)))):
        for k, (n, x) in enumerate(values):
            (at / "test_data_set_0" / f"{kind}_{k}.pb").write_bytes(value_proto(x, n).SerializeToString())
    return None
