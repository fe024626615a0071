#!/usr/bin/env python3
"""Holds the operator table against ONNX's own schemas.

  schemas.py GOPT [--write]

Every operator of ONNX, every version of it. The newest version must stand in the table with its inputs, outputs,
attributes, defaults and types. An older one must be the same, but for what opsets add (further optional inputs, outputs
and attributes, more types), or import must change it: a row of `shims` in src/onnx/opset.c whose opset is that in which
the form changed. And of every version, a node with all its attributes is imported: nothing in it may be unknown.

What differs all the same is listed with its reason in schemas.json. A difference that is not listed fails, and so does a
listed one that there no longer is. --write lists what differs now, with empty reasons where it is new.

Needs the Python package onnx 1.22.0: of the interpreter that GOPT_PEERS_PYTHON names, else of this one."""
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SKIP, VERSION, NEWEST = 77, "1.22.0", 27
LIST = pathlib.Path(__file__).resolve().parent / "schemas.json"
CLASSES = {"floats": {"float16", "bfloat16", "float", "double"}, "signed": {"int8", "int16", "int32", "int64"},
           "unsigned": {"uint8", "uint16", "uint32", "uint64"}, "bool": {"bool"}, "string": {"string"},
           "small": {"float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0", "float4e2m1", "int4",
                     "uint4", "int2", "uint2"},
           "complex": {"complex64", "complex128"}}
OURS = {"floats": {"f16", "bf16", "f32", "f64"}, "signed": {"i8", "i16", "i32", "i64"}, "unsigned": {"u8", "u16", "u32", "u64"},
        "bool": {"bool"}, "string": {"string"}, "small": {"i4", "u4"}, "complex": {"c64", "c128"}}


def fail(text):
    print(text)
    sys.exit(1)


try:
    python = os.environ.get("GOPT_PEERS_PYTHON")
    if python and os.path.realpath(sys.prefix) != os.path.realpath(pathlib.Path(python).parent.parent):
        sys.exit(subprocess.run([python, *sys.argv]).returncode)
    import onnx
    from onnx import TensorProto, helper
    from onnx.defs import OpSchema, get_all_schemas_with_history
except ImportError:
    print("skipped: onnx is not installed (pip install onnx)")
    sys.exit(SKIP)

Option, Attr = OpSchema.FormalParameterOption, OpSchema.AttrType


# ---- what a schema says, in the words of `gopt ops --json` ----

def args(formal):
    words = {Option.Single: "required", Option.Optional: "optional", Option.Variadic: "variadic"}
    return [(a.name, words[a.option]) for a in formal]


def kind(a):
    words = {"TYPE_PROTO": "type", "SPARSE_TENSOR": "sparse"}
    name = str(a.type).rsplit(".", 1)[-1]
    return words.get(name, name.lower())


def default(a):
    if not a.default_value.name:
        return None
    v = helper.get_attribute_value(a.default_value)
    return v.decode() if isinstance(v, bytes) else [x.decode() if isinstance(x, bytes) else x for x in v] if isinstance(v, list) else v


def attrs(s):
    return {n: (kind(a), bool(a.required), default(a)) for n, a in s.attributes.items()}


def first_types(s):
    """Element types that the first input may have, whatever holds them."""
    if not s.inputs:
        return set()
    return {t.split("tensor(")[-1].split(")")[0] for t in s.inputs[0].types}


def classes(types, of):
    return {c for c, members in of.items() if members & types}


def same(a, b):
    return a == b or isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-6 * abs(a)


# ---- the newest version against the table ----

def compare(s, row):
    """Each difference as a sentence."""
    out = []
    for what, theirs, ours in (("inputs", args(s.inputs), row["inputs"]), ("outputs", args(s.outputs), row["outputs"])):
        ours = [(a["name"], a["presence"]) for a in ours]
        if ours != theirs:
            show = lambda x: ", ".join(n + {"required": "", "optional": "?", "variadic": "…"}[p] for n, p in x)
            out.append(f"{what}: ({show(ours)}), ONNX has ({show(theirs)})")
    theirs, ours = attrs(s), {a["name"]: (a["kind"], a["required"], a["default"]) for a in row["attributes"]}
    for n in sorted(theirs.keys() | ours.keys()):
        if n not in ours or n not in theirs:
            out.append(f"attribute {n}: only in {'ONNX' if n in theirs else 'the table'}")
            continue
        for what, x, y in zip(("kind", "required", "default"), ours[n], theirs[n]):
            if not same(x, y):
                out.append(f"attribute {n}: {what} {x}, ONNX has {y}")
    if s.inputs:
        theirs, ours = classes(first_types(s), CLASSES), classes(set(row["types"]), OURS)
        if ours != theirs:
            # The table has integers of both kinds where ONNX has signed ones, and does not say what maps hold.
            wide = theirs | ({"unsigned"} if "signed" in theirs else set()) | (ours if "map(" in str(s.inputs[0].types) else set())
            more, less = sorted(ours - wide), sorted(theirs - ours)
            if more or less:
                out.append("types:" + (f" takes {', '.join(more)} too" if more else "") + (";" if more and less else "") +
                           (f" does not take {', '.join(less)}" if less else ""))
    if row["since"] != s.since_version:
        out.append(f"since: {row['since']}, ONNX has {s.since_version}")
    return out


# ---- one version against the next ----

def appended(old, new):
    """`new` is `old` and further ones that may be left out; one that had to be there may have become optional."""
    return len(new) >= len(old) and all(p == q or (p, q) == ("required", "optional") for (_, p), (_, q) in zip(old, new)) and \
        all(p != "required" for _, p in new[len(old):])


def changes(a, b):
    """What a node of version a says that means something else, or nothing, in version b."""
    out, old, new = [], attrs(a), attrs(b)
    for n in sorted(old):
        if n not in new:
            out.append(f"attribute {n} went")
        elif old[n][0] != new[n][0]:
            out.append(f"attribute {n} was of kind {old[n][0]}")
        elif not old[n][1] and new[n][1]:
            out.append(f"attribute {n} may not be left out any more")
        elif not same(old[n][2], new[n][2]):
            out.append(f"the default of attribute {n} was {old[n][2]}, now {new[n][2]}")
    out += [f"attribute {n} came, and must be given" for n in sorted(new) if n not in old and new[n][1]]
    if not appended(args(a.inputs), args(b.inputs)):
        out.append("inputs changed")
    if not appended(args(a.outputs), args(b.outputs)):
        out.append("outputs changed")
    return out


# ---- import ----

def block(n_in, *out):
    """A graph of inputs p0, p1 …; an output is one of these, or c, a constant."""
    c = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    return helper.make_graph([c], "b", [onnx.ValueInfoProto(name=f"p{i}") for i in range(n_in)],
                             [onnx.ValueInfoProto(name=o) for o in out])


# Values of attributes where not any will do; None: left out.
VALUES = {"to": 1, "dtype": 1, "equation": "ij->ij", "axes": [0], "direction": "LEFT", "mode": "TF", "num_scan_inputs": 1,
          "then_branch": block(0, "c"), "else_branch": block(0, "c"), "weights": None}
OF = {("Loop", "body"): block(3, "c", "p2"), ("Scan", "body"): block(1, "c"), ("SequenceMap", "body"): block(1, "c"), ("Cast-1", "to"): "FLOAT",
      ("SplitToSequence", "axis"): 0, ("LabelEncoder-1", "classes_strings"): ["a"],
      **{("LabelEncoder", f"{a}_{b}"): None for a in ("keys", "values") for b in ("int64s", "strings", "tensor")},
      ("Resize", "axes"): None, ("Unsqueeze", "axes"): [0]}


def sample(s, name, a):
    """A value of the attribute's kind; None where it is to be left out."""
    for key in ((f"{s.name}-{s.since_version}", name), (s.name, name)):
        if key in OF:
            return OF[key]
    v = default(a)
    if s.name == "Constant":    # one of its attributes is all it may have
        v = None if name != "value" else helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
        return v
    if v is not None:
        return v
    if name in VALUES:
        return VALUES[name]
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    return {"int": 1, "float": 1.0, "ints": [1, 1], "floats": [1.0, 1.0], "tensor": tensor}.get(kind(a))


def model(s, optional, more):
    """One node of that version, with all its attributes, on inputs of unknown shape; with the optional ones or without, and
    with so many more of what may be any number."""
    given = {n: sample(s, n, a) for n, a in s.attributes.items()}
    given = {n: v for n, v in given.items() if v is not None}
    n_in = max(s.min_input, len([i for i in s.inputs if i.option == Option.Single or optional]))
    n_in += more if s.inputs and s.inputs[-1].option == Option.Variadic else 0
    ins = [f"i{k}" for k in range(n_in)]
    node = helper.make_node(s.name, ins, [f"o{k}" for k in range(max(1, s.min_output))], domain=s.domain, **given)
    if s.name == "Resize" and n_in == 4:    # sizes and scales exclude each other
        node.input[3] = ""
    if s.name == "Scan" and s.since_version == 8:
        node.input[0] = ""
    one_type = lambda i: sorted(i.types, key=lambda t: ("(float)" not in t, "(int64)" not in t, t))[0]
    value = lambda n, t: onnx.ValueInfoProto(name=n, type=type_of(t))
    formal = [s.inputs[min(k, len(s.inputs) - 1)] for k in range(n_in)]
    inputs = [value(n, one_type(f)) for n, f in zip(ins, formal)]
    if s.name == "Scan":
        for i in inputs:
            i.type.tensor_type.shape.dim.extend([onnx.TensorShapeProto.Dimension(dim_value=2)] * 3)
    graph = helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name=o) for o in node.output])
    opsets = [helper.make_opsetid(s.domain, s.since_version)]
    return helper.make_model(graph, opset_imports=opsets if not s.domain else opsets + [helper.make_opsetid("", NEWEST)])


def type_of(text):
    """tensor(float), seq(tensor(float)), optional(…) as a TypeProto without shapes."""
    t, (word, inner) = onnx.TypeProto(), text.split("(", 1)
    inner = inner[:-1]
    if word == "tensor":
        t.tensor_type.elem_type = getattr(TensorProto, inner.upper())
    elif word == "seq":
        t.sequence_type.elem_type.CopyFrom(type_of(inner))
    elif word == "optional":
        t.optional_type.elem_type.CopyFrom(type_of(inner))
    elif word == "map":
        t.map_type.key_type = TensorProto.INT64
    return t


def imports(program, folder, s):
    """The diagnostic of import, where it is about what the node says; None where it goes, with optional inputs or without."""
    path = pathlib.Path(folder) / f"{s.domain}.{s.name}.{s.since_version}.onnx"
    for optional, more in ((False, 0), (True, 0), (False, 1), (False, 2), (False, 3)):
        path.write_bytes(model(s, optional, more).SerializeToString())
        p = subprocess.run([program, "inspect", str(path), "--json", "/dev/null"], capture_output=True, text=True)
        if p.returncode in (0, 4) and "Sanitizer" not in p.stderr:
            return None
        first = next((x for x in p.stderr.splitlines() if x.startswith("error: ")), p.stderr)
    return first.split("): ", 1)[-1].strip()


# ---- all ----

def differences(program):
    rows = {(r["domain"], r["name"]): r for r in json.loads(
        subprocess.run([program, "ops", "--json", "-"], check=True, capture_output=True, text=True).stdout)}
    history, out = {}, set()
    for s in get_all_schemas_with_history():
        if s.domain or s.since_version <= NEWEST:
            history.setdefault((s.domain, s.name), []).append(s)
    imported = []
    for key, versions in sorted(history.items()):
        versions.sort(key=lambda s: s.since_version)
        name, row = "::".join(filter(None, key)), rows.get(key)
        if not row:
            out.add(f"{name}: not in the table")
            continue
        living = [s for s in versions if not s.deprecated] or versions
        if row["becomes"] is None:
            if not key[0] and row["first"] != versions[0].since_version:
                out.add(f"{name}: came in {row['first']}, ONNX has {versions[0].since_version}")
            out |= {f"{name}: {d}" for d in compare(living[-1], row)}
        for a, b in zip(living, living[1:]):
            lost = classes(first_types(a), CLASSES) - classes(set(row.get("types", ())), OURS)
            kept = {f"attribute {x['name']} went" for x in row.get("attributes", ())}
            for d in sorted(set(changes(a, b)) - kept) + [f"types {t} went" for t in sorted(lost) if row["becomes"] is None]:
                if d != "attribute consumed_inputs went" and b.since_version not in {c["before"] for c in row["changes"]}:
                    out.add(f"{name}-{a.since_version}: {d} in {b.since_version}")
        imported += [(f"{name}-{s.since_version}", s) for s in living]
    for key, row in rows.items():
        if key not in history and row["becomes"] is None and not row["ours"] and key[0] in {d for d, _ in history}:
            out.add(f"{'::'.join(filter(None, key))}: no operator of ONNX")
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (name, _), said in zip(imported, pool.map(lambda x: imports(program, folder, x[1]), imported)):
            if said:
                out.add(f"{name}: import says: {said}")
    return out, len(history), sum(map(len, history.values()))


def main():
    words = [a for a in sys.argv[1:] if a != "--write"]
    if len(words) != 1:
        fail(__doc__)
    if onnx.__version__ != VERSION:
        print(f"skipped: the schemas of onnx {VERSION} are wanted, this is {onnx.__version__}")
        sys.exit(SKIP)
    found, operators, versions = differences(words[0])
    listed = json.loads(LIST.read_text()) if LIST.exists() else {}
    if "--write" in sys.argv:
        LIST.write_text(json.dumps({d: listed.get(d, "") for d in sorted(found)}, indent=1, ensure_ascii=False) + "\n")
    else:
        # Operators come one by one: that one was added is no failure of who adds it, until the whole is tested.
        strict = os.environ.get("GOPT_TEST_FULL")
        if not strict:
            listed = {d: why for d, why in listed.items() if d in found or not d.endswith(": not in the table")}
        new, gone, bare = sorted(found - listed.keys()), sorted(listed.keys() - found), sorted(d for d in listed if not listed[d])
        for text, which in (("differs from ONNX, and is not listed in schemas.json", new), ("is listed, but no longer differs", gone),
                            ("is listed without a reason", bare)):
            for d in which:
                print(f"{d}\n    {text}")
        if new or gone or bare:
            sys.exit(1)
    print(f"{operators} operators in {versions} versions; {len(found)} differences, each with its reason")


main()
