"""Writes ONNX files byte by byte, so that the tests need no onnx package. Field numbers are those of onnx.proto."""
import struct

F32, U8, I64, BOOL = 1, 2, 7, 9


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, value):
    """An int is a varint; text and bytes are length-delimited."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def many(number, values):
    return b"".join(field(number, v) for v in values)


def tensor(name, dims, values, dtype=F32):
    """TensorProto with raw_data."""
    kind = {F32: "f", U8: "B", I64: "q", BOOL: "?"}[dtype]
    return (many(1, dims) + field(2, dtype) + field(8, name) + field(9, struct.pack(f"<{len(values)}{kind}", *values)))


def external(name, dims, entries, dtype=F32):
    """TensorProto whose data lie in another file."""
    return (many(1, dims) + field(2, dtype) + field(8, name)
            + many(13, [field(1, k) + field(2, str(v)) for k, v in entries.items()]) + field(14, 1))


def value(name, dims, dtype=F32):
    """ValueInfoProto; a dim that is text is a symbol."""
    shape = many(1, [field(2, d) if isinstance(d, str) else field(1, d) for d in dims])
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, shape)))


def attribute(name, v):
    if isinstance(v, bytes):  # a GraphProto
        return field(1, name) + field(6, v) + field(20, 5)
    if isinstance(v, str):
        return field(1, name) + field(4, v) + field(20, 3)
    if isinstance(v, list):
        return field(1, name) + many(8, v) + field(20, 7)
    return field(1, name) + field(3, v) + field(20, 2)


def node(op, inputs, outputs, name="", domain="", **attributes):
    return (many(1, inputs) + many(2, outputs) + field(3, name) + field(4, op)
            + many(5, [attribute(k, v) for k, v in attributes.items()]) + (field(7, domain) if domain else b""))


def graph(nodes, inputs, outputs, initializers=(), name="g"):
    return many(1, nodes) + field(2, name) + many(5, initializers) + many(11, inputs) + many(12, outputs)


def model(g, opset=17, ir=8, domains=()):
    opsets = [field(1, "") + field(2, opset)] + [field(1, d) + field(2, 1) for d in domains]
    return field(1, ir) + field(2, "tests") + field(7, g) + many(8, opsets)


def npy(dims, values, descr="<f4", fortran=False):
    kind = {"f4": "f", "f8": "d", "u1": "B", "i8": "q", "b1": "?"}[descr[1:]]
    order = ">" if descr[0] == ">" else "<"
    shape = "(" + "".join(f"{d}," for d in dims) + ")"
    head = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack(f"{order}{len(values)}{kind}", *values)


def read_npy(data):
    n = struct.unpack("<H", data[8:10])[0]
    head = eval(data[10:10 + n].decode(), {"__builtins__": {}}, {"True": True, "False": False})
    kind = {"<f4": "f", "<i8": "q", "|u1": "B", "|b1": "?"}[head["descr"]]
    body = data[10 + n:]
    return head["shape"], list(struct.unpack(f"<{len(body) // struct.calcsize(kind)}{kind}", body))
