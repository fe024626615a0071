"""What tests that hold gopt against ONNX and ONNX Runtime share.

    sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
    import peers
    peers.need()            # from here on numpy, onnx and onnxruntime can be imported
"""
import importlib
import os
import pathlib
import re
import subprocess
import sys

SKIP = 77


def skip(why):
    """Ends the test as one that was not made, and says why."""
    print("skipped:", why)
    sys.exit(SKIP)


def use(*packages):
    """Goes on in the interpreter that GOPT_PEERS_PYTHON names, where there is one, and skips without the packages."""
    python = os.environ.get("GOPT_PEERS_PYTHON")
    if python and os.path.realpath(sys.prefix) != os.path.realpath(pathlib.Path(python).parent.parent):
        sys.exit(subprocess.run([python, *sys.argv]).returncode)
    for name in packages:
        try:
            importlib.import_module(name)
        except ImportError as e:
            skip(f"{e.name} is not installed; scripts/test says which packages the tests use")


def need(*more):
    """The same with what most tests use."""
    use("numpy", "onnx", "onnxruntime", *more)
    importlib.import_module("onnxruntime").set_default_logger_severity(4)


def has_opencl(program):
    """Has the program an OpenCL device to run on?"""
    listed = subprocess.run([program, "devices"], capture_output=True, text=True).stdout
    return re.search(r"^opencl\b(?!.*(missing|no |not ))", listed, re.M) is not None


def need_opencl(program):
    if not has_opencl(program):
        skip("there is no OpenCL device")


def session(path):
    """The model in ONNX Runtime, as it is: without its optimizer, on one thread."""
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    o.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])
