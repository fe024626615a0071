#!/usr/bin/env python3
"""Plugins from the outside: the example is built against the public headers alone and runs a network; plugins that are
wrong (wrong.c) end in one diagnostic.

  plugin.py GOPT CC ROOT"""
import json, pathlib, shutil, struct, subprocess, sys, tempfile, unittest, zlib

ROOT = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else ".")
sys.path.insert(0, str(ROOT / "tests/cli"))
import onnx_bytes as ox

GOPT, CC = None, "cc"
EXTENSIONS = "com.microsoft.extensions"
WIDTH, HEIGHT = 5, 3
PIXELS = bytes((37 * i) % 256 for i in range(3 * WIDTH * HEIGHT))
PPM = b"P6\n# a comment\n%d %d\n255\n" % (WIDTH, HEIGHT) + PIXELS


def read_png(data):
    """Width, height and RGB of a PNG without filters; every checksum is checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, stream, head = 8, b"", None
    while at < len(data):
        n, = struct.unpack(">I", data[at:at + 4])
        kind, body = data[at + 4:at + 8], data[at + 8:at + 8 + n]
        assert struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0] == zlib.crc32(kind + body), kind
        head = struct.unpack(">IIBBBBB", body) if kind == b"IHDR" else head
        stream += body if kind == b"IDAT" else b""
        at += 12 + n
    assert kind == b"IEND" and head[2:] == (8, 2, 0, 0, 0)
    rows, row = zlib.decompress(stream), 3 * head[0] + 1
    assert len(rows) == row * head[1] and not any(rows[::row])
    return head[0], head[1], b"".join(rows[y * row + 1:(y + 1) * row] for y in range(head[1]))


def negative(format="png"):
    """Bytes of a picture -> its negative, as bytes of a picture."""
    return ox.model(ox.graph(
        [ox.node("DecodeImage", ["file"], ["pixels"], "decode", EXTENSIONS),
         ox.node("Sub", ["white", "pixels"], ["inverted"], "invert"),
         ox.node("EncodeImage", ["inverted"], ["out"], "encode", EXTENSIONS, format=format)],
        [ox.value("file", ["n"], ox.U8)], [ox.value("out", ["m"], ox.U8)],
        [ox.tensor("white", [1], [255], ox.U8)]), domains=[EXTENSIONS])


def add_one(domain="test", op="AddOne", declared=("n", 2)):
    return ox.model(ox.graph(
        [ox.node(op, ["x"], ["a"], "plus", domain), ox.node("Neg", ["a"], ["y"], "minus")],
        [ox.value("x", ["n", 2])], [ox.value("y", list(declared))]), domains=[domain])


class Plugin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)
        shutil.copytree(ROOT / "include/gopt", cls.dir / "include/gopt")
        cls.image = cls.build(ROOT / "examples/plugin/image.c", "image.so", "-std=c11")
        (cls.dir / "negative.onnx").write_bytes(negative())
        (cls.dir / "one.onnx").write_bytes(add_one())
        (cls.dir / "picture.ppm").write_bytes(PPM)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def build(cls, source, name, *flags):
        subprocess.run([CC, "-Wall", "-Wextra", "-Werror", *flags, "-shared", "-fPIC", "-fvisibility=hidden", "-I",
                        cls.dir / "include", "-o", cls.dir / name, source], check=True)
        return "./" + name

    def wrong(self, number):
        return self.build(ROOT / "tests/plugin/wrong.c", f"wrong{number}.so", f"-DWRONG={number}", "-Wno-unused-function",
                          "-Wno-unused-variable", "-Wno-unused-but-set-variable")

    def gopt(self, *args, code=0):
        p = subprocess.run([GOPT, *map(str, args)], cwd=self.dir, capture_output=True, text=True, timeout=120)
        self.assertEqual(p.returncode, code, f"gopt {' '.join(map(str, args))}\n{p.stdout}\n{p.stderr}")
        return p

    def fails(self, code, *args, says=()):
        p = self.gopt(*args, code=code)
        errors = [l for l in p.stderr.splitlines() if l.startswith("error: ")]
        self.assertEqual(len(errors), 1, p.stderr)
        for word in says:
            self.assertIn(word, errors[0])
        return p

    def out(self, name="out"):
        return ox.read_npy((self.dir / "results" / f"{name}.npy").read_bytes())

    # ---- the example ----

    def test_without_it_the_network_cannot_run(self):
        self.fails(4, "run", "negative.onnx", "--input", "picture.ppm", says=["DecodeImage", "EncodeImage"])

    def test_the_example_runs(self):
        for level in 0, 2, 3:
            self.gopt("run", "negative.onnx", "--plugin", self.image, "--input", "picture.ppm", "--output-dir", "results",
                      "--level", level)
            width, height, rgb = read_png(bytes(self.out()[1]))
            self.assertEqual((width, height, rgb), (WIDTH, HEIGHT, bytes(255 - p for p in PIXELS)))

    def test_many_runs_at_once(self):
        self.gopt("run", "negative.onnx", "--plugin", self.image, "--input", "picture.ppm", "--iterations", 50,
                  "--streams", 3)

    def test_a_written_model_holds_the_operators_as_they_came(self):
        self.gopt("optimize", "negative.onnx", "--plugin", self.image, "-o", "written.onnx")
        self.gopt("run", "written.onnx", "--plugin", self.image, "--input", "picture.ppm", "--output-dir", "results")
        self.assertEqual(read_png(bytes(self.out()[1]))[2], bytes(255 - p for p in PIXELS))

    def test_levels_agree(self):
        self.gopt("compare", "negative.onnx", "--plugin", self.image, "--input", "picture.ppm")

    def test_inspect_says_who_provides_them(self):
        said = self.gopt("inspect", "negative.onnx", "--plugin", self.image).stdout
        self.assertIn(f"{EXTENSIONS}::DecodeImage, 1 place: decode\n    by ./image.so: reads a binary PPM picture", said)
        self.assertIn(f"{EXTENSIONS}::EncodeImage, 1 place: encode\n    by ./image.so", said)
        self.assertNotIn("unsupported", said)
        facts = json.loads(self.gopt("inspect", "negative.onnx", "--plugin", self.image, "--json", "-").stdout)
        self.assertEqual(facts["unsupported"], [])
        self.assertEqual([(p["node"], p["op"], p["plugin"]) for p in facts["plugins"]],
                         [("decode", "DecodeImage", "./image.so"), ("encode", "EncodeImage", "./image.so")])

    def test_inspect_without_it(self):
        self.assertIn("2 nodes cannot run here", self.gopt("inspect", "negative.onnx").stdout)

    def test_constants_are_folded_through_it(self):
        (self.dir / "constant.onnx").write_bytes(ox.model(ox.graph(
            [ox.node("DecodeImage", ["file"], ["pixels"], "decode", EXTENSIONS),
             ox.node("Cast", ["pixels"], ["f"], "cast", to=1), ox.node("Add", ["f", "x"], ["y"], "add")],
            [ox.value("x", [1])], [ox.value("y", [HEIGHT, WIDTH, 3])],
            [ox.tensor("file", [len(PPM)], PPM, ox.U8)]), domains=[EXTENSIONS]))
        self.gopt("optimize", "constant.onnx", "--plugin", self.image, "-o", "folded.onnx", "--verify")
        facts = json.loads(self.gopt("inspect", "folded.onnx", "--json", "-").stdout)
        self.assertEqual(facts["operators"], {"Add": 1})

    def test_a_bad_picture_is_refused(self):
        for data, says in ((PPM[:-1], "ends before its last pixel"), (b"P5\n1 1\n255\nx", "does not begin with P6"),
                           (b"P6\n70000 1\n255\n", "cannot be"), (b"P6", "cannot be"), (b"P6\n0", "cannot be"),
                           (b"", "does not begin with P6")):
            (self.dir / "bad.bin").write_bytes(data)
            self.fails(3, "run", "negative.onnx", "--plugin", self.image, "--input", "bad.bin",
                       says=["'decode'", "image.so", says])
        (self.dir / "jpg.onnx").write_bytes(negative("jpg"))
        self.fails(3, "run", "jpg.onnx", "--plugin", self.image, "--input", "picture.ppm", says=["'encode'", "png"])

    def test_a_trained_network(self):
        path = ROOT.parent / "shared/models/trained/superres_custom_ops.onnx"
        if not path.exists():
            self.skipTest("shared/models/trained is not here")
        pixels = bytes((x if c else y) % 256 for y in range(224) for x in range(224) for c in range(3))
        (self.dir / "large.ppm").write_bytes(b"P6 224 224 255\n" + pixels)
        self.gopt("run", path, "--plugin", self.image, "--input", "large.ppm", "--output-dir", "results")
        width, height, rgb = read_png(bytes(self.out("image_out")[1]))
        self.assertEqual((width, height), (672, 672))
        far = sum(abs(rgb[3 * (3 * y * 672 + 3 * x) + 1] - pixels[3 * (y * 224 + x) + 1]) for y in range(8, 216)
                  for x in range(8, 216)) / 208 ** 2
        self.assertLess(far, 8)  # three times as large, and the same picture

    # ---- plugins that are right and wrong ----

    def test_right(self):
        self.gopt("run", "one.onnx", "--plugin", self.wrong(0), "--dim", "n=3", "--verbose")
        said = self.gopt("inspect", "one.onnx", "--plugin", self.wrong(0), "--nodes").stdout
        self.assertRegex(said, r"f32\[n,2\]\s+a\n")  # the symbol goes through

    def test_opencl_source_is_declined_aloud(self):
        self.assertIn("is not used by this version", self.gopt("run", "one.onnx", "--plugin", self.wrong(21)).stderr)

    def test_refused_when_loaded(self):
        for number, says in ((1, ["ABI 42", "this is 1"]), (2, ["no symbol gopt_plugin_abi_version"]),
                             (3, ["ai.onnx::Relu", "gopt has"]), (4, ["test::AddOne", "`run`"]), (17, ["ABI 99"]),
                             (18, ["test::AddOne", "gives already"]), (19, ["refuses", "status 4"]),
                             (20, ["registers no operator"])):
            plugin = self.wrong(number)
            self.fails(3, "run", "one.onnx", "--plugin", plugin, says=[plugin, *says])
        self.fails(3, "run", "one.onnx", "--plugin", self.wrong(0), "--plugin", self.wrong(21), says=["wrong0.so gives already"])
        self.fails(3, "run", "one.onnx", "--plugin", "one.onnx", says=["one.onnx", "cannot be loaded"])
        self.fails(3, "run", "one.onnx", "--plugin", "nowhere.so", says=["nowhere.so", "cannot be read"])

    def test_refused_by_types(self):
        for number, says in ((5, "rank 99"), (6, "-77"), (7, "says: the moon is not full"), (8, "NULL"),
                             (9, "without saying why (status 77)"), (10, "type 1234")):
            plugin = self.wrong(number)
            self.fails(3, "inspect", "one.onnx", "--plugin", plugin, says=["'plus'", "test::AddOne", plugin, says])

    def test_a_declared_type_that_contradicts_is_told(self):
        (self.dir / "declared.onnx").write_bytes(add_one(declared=("n", 3)))
        p = self.gopt("inspect", "declared.onnx", "--plugin", self.wrong(0))
        self.assertIn("is declared f32[n,3], but the operators yield f32[n,2]", p.stderr)
        self.assertIn("y  f32[n,2]", p.stdout)

    def test_refused_when_run(self):
        for number, says in ((11, "f32[1000]"), (12, "f64[1,2]"), (13, "gives no output #0"),
                             (14, "says: the sun went down"), (15, "rank 40"), (16, "-5")):
            plugin = self.wrong(number)
            for level in 0, 2:
                self.fails(3, "run", "one.onnx", "--plugin", plugin, "--level", level,
                           says=["'plus'", "test::AddOne", plugin, says])

    def test_operators_of_pytorch(self):
        """In both spellings, where gopt itself has no way."""
        plugin = self.build(ROOT / "tests/plugin/aten.c", "aten.so")
        for op, attributes in (("nonesuch", {}), ("ATen", {"operator": "nonesuch"}),
                               ("ATen", {"operator": "nonesuch", "overload_name": "out"})):
            (self.dir / "aten.onnx").write_bytes(ox.model(ox.graph(
                [ox.node(op, ["x"], ["a"], "plus", "org.pytorch.aten", **attributes), ox.node("Neg", ["a"], ["y"], "minus")],
                [ox.value("x", ["n", 2])], [ox.value("y", ["n", 2])]), domains=["org.pytorch.aten"]))
            self.fails(4, "run", "aten.onnx", says=["nonesuch"])
            (self.dir / "x.npy").write_bytes(ox.npy([1, 2], [3.0, -4.0]))
            self.gopt("run", "aten.onnx", "--plugin", plugin, "--input", "x.npy", "--output-dir", "results")
            self.assertEqual(self.out("y"), ((1, 2), [-6.0, 8.0]))
            self.assertIn("org.pytorch.aten::nonesuch, 1 place: plus",
                          self.gopt("inspect", "aten.onnx", "--plugin", plugin).stdout)


if __name__ == "__main__":
    GOPT, CC = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
