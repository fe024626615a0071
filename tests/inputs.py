"""What networks need to be run with by tests that ask nobody else: sizes of free dimensions, and inputs that random numbers
would not do for. Python's standard library alone.

    sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
    import inputs
    gopt(program, "run", model, *inputs.sizes(model), *inputs.given(model, tmp))
"""
import array
import random
import struct

DIMS = {"unet_small": {"h": 64, "w": 64}, "bert_base_sdpa": {"seq": 16}, "minilm_l6": {"seq": 16},
        "bilstm_gru": {"seq": 9, "batch": 2}}
SHAPES = {"silero_vad": {"input": (1, 512), "state": (2, 1, 128)}}


def brightness():
    """efficientnet_b0's random weights make noise of both signs chaotic: two programs in fp32 differ by up to 0.02 of the
    spread, and ONNX Runtime with all values rounded to halves by 0.1 to 0.5, as does gopt. Numbers from 0 to 1 it takes well."""
    numbers = random.Random(1)
    return array.array("f", (numbers.random() for _ in range(3 * 224 * 224))).tobytes()


# name: type, shape, what makes the bytes
GIVEN = {"silero_vad": {"sr": ("<i8", (), lambda: struct.pack("<q", 16000))},
         "efficientnet_b0": {"input": ("<f4", (1, 3, 224, 224), brightness)}}


def write_npy(path, descr, shape, data):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head.encode() + data)


def sizes(model):
    """Flags that fix what the file leaves free."""
    out = []
    for name, n in DIMS.get(model.stem, {}).items():
        out += ["--dim", f"{name}={n}"]
    for name, shape in SHAPES.get(model.stem, {}).items():
        out += ["--shape", f"{name}={'x'.join(map(str, shape))}"]
    return out


def given(model, tmp):
    """Flags that give inputs, which are written into that folder."""
    out = []
    for name, (descr, shape, data) in GIVEN.get(model.stem, {}).items():
        write_npy(tmp / f"{name}.npy", descr, shape, data())
        out += ["--input", f"{name}={tmp / f'{name}.npy'}"]
    return out
