#!/usr/bin/env python3
"""What the program promises on its command line: exit codes, messages, files, JSON keys.

  cli.py CASE GOPT      CASE: a class below, or all

The models are written here, byte by byte. Every failure must be one diagnostic, and nothing may be written."""
import json, os, pathlib, struct, subprocess, sys, unittest, zlib

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import gopt_case  # noqa: E402
import onnx_bytes as ox  # noqa: E402

GOPT = None


def network(extra=(), outputs=("y",)):
    """x f32[1,2,2,2] -> Conv 1x1 (weights 1, 10) -> Relu -> y f32[1,1,2,2]"""
    return ox.model(ox.graph(
        [ox.node("Conv", ["x", "w"], ["c"], "conv"), ox.node("Relu", ["c"], ["y"], "relu"), *extra],
        [ox.value("x", [1, 2, 2, 2])], [ox.value(o, [1, 1, 2, 2]) for o in outputs],
        [ox.tensor("w", [1, 2, 1, 1], [1.0, 10.0])]))


X = [1.0, 2.0, 3.0, -400.0, 0.5, 0.5, 0.5, 0.5]
Y = [6.0, 7.0, 8.0, 0.0]


def png(width, height, rgb):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(rgb[y * width * 3:(y + 1) * width * 3]) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Case(gopt_case.Case):
    def setUp(self):
        super().setUp()
        self.write("net.onnx", network())

    def program(self):
        return GOPT

    def fails(self, code, *args, says=(), hint=(), **more):
        p = self.gopt(*args, code=code, **more)
        errors = [l for l in p.stderr.splitlines() if l.startswith("error: ")]
        self.assertEqual(len(errors), 1, p.stderr)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, errors[0])
        for word in [hint] if isinstance(hint, str) else hint:
            self.assertIn(word, "\n".join(l for l in p.stderr.splitlines() if l.startswith("hint: ")))
        return p


class Usage(Case):
    def test_unknown_flag(self):
        self.fails(2, "run", "net.onnx", "--itrations", "3", says="--itrations", hint="did you mean --iterations?")

    def test_flag_of_another_command(self):
        self.fails(2, "inspect", "net.onnx", "--iterations", "3", says="inspect has no flag --iterations", hint="gopt run")

    def test_unknown_command(self):
        self.fails(2, "optimise", "net.onnx", says="optimise", hint="gopt optimize")
        self.fails(2, "net.onnx", says="net.onnx", hint="gopt inspect net.onnx")

    def test_no_model(self):
        self.fails(2, "run", "--threads", "1", says="needs MODEL", hint="gopt run model.onnx --threads 1")

    def test_bad_values(self):
        self.fails(2, "run", "net.onnx", "--threads", "many", says=["--threads", "many"])
        self.fails(2, "run", "net.onnx", "--fp", "exact", says=["--fp", "strict|reassoc|fast"])
        self.fails(2, "run", "net.onnx", "--threads", says="needs a value")
        self.fails(2, "run", "net.onnx", "--shape", "x=1xtwo", says="no shape")
        self.fails(2, "run", "net.onnx", "--dim", "n", says="no SYMBOL=N")
        self.fails(2, "run", "net.onnx", "other.onnx", says="other.onnx")
        self.fails(2, "optimize", "net.onnx", "--remarks=(", says="regular expression")
        self.fails(2, "optimize", "net.onnx", "-o", "out.txt", says="out.txt")

    def test_fixing_what_is_not_there(self):
        self.fails(2, "run", "net.onnx", "--shape", "z=1x2", says="z")
        self.fails(2, "run", "net.onnx", "--dim", "batch=2", says="batch")

    def test_help_and_version(self):
        for command in ("inspect", "optimize", "run", "compare", "conformance", "passes", "ops", "devices"):
            self.assertIn("--threads", self.gopt(command, "--help").stdout)
        self.assertRegex(self.gopt("--version").stdout, r"^gopt \d+\.\d+\.\d+\n$")
        self.assertNotIn("\033", self.gopt("--help").stdout)

    def test_color(self):
        self.assertIn("\033[", self.gopt("--nothing", "--color", "always", code=2).stderr)
        self.assertNotIn("\033[", self.gopt("--nothing", code=2).stderr)

    def test_diagnostics_as_json(self):
        p = self.gopt("run", "missing.onnx", "--diagnostics=json", code=3)
        d = json.loads(p.stderr.splitlines()[-1])
        self.assertEqual((d["severity"], d["exit"]), ("error", 3))
        self.assertIn("missing.onnx", d["file"])

    def test_lists(self):
        passes = self.gopt("passes").stdout
        for name in ("dce", "constant-fold", "cse", "fuse-vertical", "fuse-horizontal", "detect-unsupported"):
            self.assertIn(name, passes)
        self.assertEqual(self.gopt("optimize", "--list-passes").stdout, passes)
        self.assertIn("Conv", self.gopt("ops").stdout)
        self.assertIn("cpu", self.gopt("devices").stdout)


class Bad(Case):
    """Bad models: exit 3 with one diagnostic, whatever the command, and nothing written."""

    def refused(self, data, *says, name="bad.onnx", hint=()):
        self.write(name, data)
        before = sorted(self.dir.rglob("*"))
        for command in (["inspect"], ["optimize", "-o", "out.onnx", "--json", "out.json"], ["run", "--output-dir", "out"]):
            self.fails(3, command[0], name, *command[1:], says=says, hint=hint)
            self.assertEqual(sorted(self.dir.rglob("*")), before, "something was written")

    def test_missing(self):
        self.fails(3, "inspect", "missing.onnx", says="missing.onnx")

    def test_empty(self):
        self.refused(b"", "bad.onnx")

    def test_truncated(self):
        data = network()
        for n in (1, len(data) // 2, len(data) - 1):
            self.refused(data[:n], "bad.onnx")

    def test_jpeg(self):
        self.refused(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(64), "bad.onnx")

    def test_folder(self):
        self.fails(3, "inspect", ".", says=".")

    def weights(self, **entries):
        return ox.model(ox.graph([ox.node("Add", ["x", "w"], ["y"], "add")], [ox.value("x", [4])], [ox.value("y", [4])],
                                 [ox.external("w", [4], entries)]))

    def test_external_missing(self):
        self.refused(self.weights(location="nowhere.bin"), "nowhere.bin")

    def test_external_outside(self):
        self.refused(self.weights(location="../secret.bin"), "../secret.bin")
        self.refused(self.weights(location="/etc/passwd"), "/etc/passwd")

    def test_external_past_the_end(self):
        self.write("w.bin", bytes(16))
        self.refused(self.weights(location="w.bin", offset=8), "w.bin")
        self.refused(self.weights(location="w.bin", offset=1 << 62), "w.bin")

    def test_shape_overflows(self):
        self.refused(ox.model(ox.graph([ox.node("Add", ["x", "w"], ["y"])], [ox.value("x", [4])], [ox.value("y", [4])],
                                       [ox.tensor("w", [1 << 40, 1 << 40], [1.0])])), "w")

    def test_cycle(self):
        self.refused(ox.model(ox.graph([ox.node("Add", ["x", "b"], ["a"], "first"), ox.node("Relu", ["a"], ["b"], "second")],
                                       [ox.value("x", [4])], [ox.value("b", [4])])), "cycl")

    def test_undefined_input(self):
        self.refused(ox.model(ox.graph([ox.node("Relu", ["nowhere"], ["y"], "relu")], [ox.value("x", [4])], [ox.value("y", [4])])),
                     "nowhere")

    def test_two_outputs_of_one_name(self):
        self.refused(ox.model(ox.graph([ox.node("Relu", ["x"], ["y"], "a"), ox.node("Abs", ["x"], ["y"], "b")],
                                       [ox.value("x", [4])], [ox.value("y", [4])])), "y")

    def test_types_differ(self):
        self.refused(ox.model(ox.graph([ox.node("Add", ["x", "w"], ["y"], "add")], [ox.value("x", [4])], [ox.value("y", [4])],
                                       [ox.tensor("w", [4], [1, 2, 3, 4], ox.I64)])), "add")

    def test_deep_nesting(self):
        g = b""
        for _ in range(300):
            g = ox.graph([ox.node("If", ["c"], ["y"], "if", then_branch=g, else_branch=b"")], [], [])
        self.refused(ox.model(g), "bad.onnx")
        deep = ox.field(2, "g")
        for _ in range(5000):  # attributes of nodes of graphs: without names, but the scanner must not mind
            deep = ox.field(1, ox.field(5, ox.field(6, deep)))
        self.refused(ox.field(7, deep), "bad.onnx")

    def test_unknown_operator(self):
        self.write("odd.onnx", ox.model(ox.graph([ox.node("Frobnicate", ["x"], ["y"], "frob", domain="com.acme")],
                                                 [ox.value("x", [4])], [ox.value("y", [4])]), domains=["com.acme"]))
        self.fails(4, "run", "odd.onnx", says="com.acme::Frobnicate")
        out = self.gopt("inspect", "odd.onnx", "--json", "odd.json").stdout
        self.assertIn("Frobnicate", out)
        u = json.loads((self.dir / "odd.json").read_text())["unsupported"]
        self.assertEqual((u[0]["node"], u[0]["domain"], u[0]["op"]), ("frob", "com.acme", "Frobnicate"))
        self.gopt("optimize", "odd.onnx", "-o", "out.onnx")

    def test_unused_domain(self):
        self.write("fine.onnx", ox.model(ox.graph([ox.node("Relu", ["x"], ["y"])], [ox.value("x", [4])], [ox.value("y", [4])]),
                                         domains=["com.acme"]))
        p = self.gopt("run", "fine.onnx")
        self.assertEqual(sum(l.startswith("error") for l in p.stderr.splitlines()), 0)


class Inputs(Case):
    def answer(self, *args):
        self.gopt("run", "net.onnx", *args, "--output-dir", "out")
        return ox.read_npy((self.dir / "out/y.npy").read_bytes())

    def test_npy(self):
        self.write("x.npy", ox.npy([1, 2, 2, 2], X))
        self.assertEqual(self.answer("--input", "x=x.npy"), ((1, 1, 2, 2), Y))
        self.assertEqual(self.answer("--input", "x.npy")[1], Y)
        self.assertEqual(self.answer("--inputs", ".")[1], Y)

    def test_big_endian_and_fortran(self):
        self.write("x.npy", ox.npy([1, 2, 2, 2], X, ">f4"))
        self.assertEqual(self.answer("--input", "x=x.npy")[1], Y)
        turned = [X[c * 4 + h * 2 + w] for w in range(2) for h in range(2) for c in range(2)]
        self.write("x.npy", ox.npy([1, 2, 2, 2], turned, fortran=True))
        self.assertEqual(self.answer("--input", "x=x.npy")[1], Y)

    def test_pb_and_bin(self):
        self.write("x.pb", ox.tensor("x", [1, 2, 2, 2], X))
        self.assertEqual(self.answer("--input", "x=x.pb")[1], Y)
        self.write("x.bin", struct.pack("<8f", *X))
        self.assertEqual(self.answer("--input", "x=x.bin")[1], Y)

    def test_npz(self):
        import zipfile
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            with zipfile.ZipFile(self.dir / "x.npz", "w", method) as z:
                z.writestr("other.npy", ox.npy([1], [5.0]))
                z.writestr("x.npy", ox.npy([1, 2, 2, 2], X))
            self.assertEqual(self.answer("--input", "x=x.npz")[1], Y)

    def test_random_is_seeded(self):
        self.assertEqual(self.answer("--seed", "7"), self.answer("--seed", "7"))
        self.assertNotEqual(self.answer("--seed", "7"), self.answer("--seed", "8"))

    def test_bad_files(self):
        self.write("short.npy", ox.npy([1, 2, 2, 2], X)[:-3])
        self.fails(3, "run", "net.onnx", "--input", "x=short.npy", says=["short.npy", "cut off"])
        self.write("huge.npy", ox.npy([1 << 40, 1 << 40], []))
        self.fails(3, "run", "net.onnx", "--input", "x=huge.npy", says="huge.npy")
        self.write("bad.npz", b"PK\x03\x04" + bytes(40))
        self.fails(3, "run", "net.onnx", "--input", "x=bad.npz", says="bad.npz")
        self.write("bad.png", b"\x89PNG\r\n\x1a\n" + bytes(40))
        self.fails(3, "run", "net.onnx", "--input", "x=bad.png", says="bad.png")
        self.write("x.txt", b"hello")
        self.fails(3, "run", "net.onnx", "--input", "x=x.txt", says="x.txt")
        self.fails(3, "run", "net.onnx", "--input", "x=none.npy", says="none.npy")

    def test_wrong_shape_and_type(self):
        self.write("rank.npy", ox.npy([2, 2, 2], X))
        self.fails(3, "run", "net.onnx", "--input", "x=rank.npy", says=["x", "f32[2,2,2]", "f32[1,2,2,2]"])
        self.write("f64.npy", ox.npy([1, 2, 2, 2], X, "<f8"))
        self.fails(3, "run", "net.onnx", "--input", "x=f64.npy", says=["f64[1,2,2,2]", "f32[1,2,2,2]"], hint="f64")

    def test_unknown_name(self):
        self.write("x.npy", ox.npy([1, 2, 2, 2], X))
        self.fails(2, "run", "net.onnx", "--input", "z=x.npy", says="z=x.npy", hint="x")

    def picture(self):
        return ox.model(ox.graph([ox.node("Identity", ["image"], ["y"])], [ox.value("image", [1, 3, 2, 2])], [ox.value("y", [1, 3, 2, 2])]))

    def test_pictures(self):
        rgb = list(range(0, 120, 10))
        self.write("net.onnx", self.picture())
        self.write("p.png", png(2, 2, rgb))
        self.write("p.ppm", b"P6\n# made by a test\n2 2\n255\n" + bytes(rgb))
        planes = [float(v) for c in range(3) for v in rgb[c::3]]
        for name in ("p.png", "p.ppm"):
            self.assertEqual(self.answer("--input", f"image={name}")[1], planes)
        scaled = self.answer("--input", "p.png", "--image-scale", "1/255", "--image-mean", "0.5", "--image-std", "0.25,0.5,1")[1]
        for i, v in enumerate(planes):
            self.assertAlmostEqual(scaled[i], (v / 255 - 0.5) / (0.25, 0.5, 1)[i // 4], places=5)

    def test_picture_of_another_size(self):
        self.write("net.onnx", self.picture())
        self.write("p.png", png(4, 4, [100] * 48))
        self.fails(3, "run", "net.onnx", "--input", "p.png", says=["4x4", "2x2"], hint="--image-resize")
        self.assertEqual(self.answer("--input", "p.png", "--image-resize")[1], [100.0] * 12)

    def test_bytes_of_a_picture(self):
        self.write("net.onnx", self.picture())
        rgb = list(range(0, 120, 10))
        self.write("p.npy", ox.npy([2, 2, 3], rgb, "|u1"))
        self.fails(3, "run", "net.onnx", "--input", "p.npy", says=["u8[2,2,3]", "f32[1,3,2,2]"], hint=["--image-layout", "--image-scale"])
        self.assertEqual(self.answer("--input", "p.npy", "--image-layout", "nchw")[1], [float(v) for c in range(3) for v in rgb[c::3]])

    def test_missing_in_folder(self):
        (self.dir / "empty").mkdir()
        self.fails(3, "run", "net.onnx", "--inputs", "empty", says=["empty", "x"])

    def test_dynamic(self):
        self.write("net.onnx", ox.model(ox.graph([ox.node("Relu", ["x"], ["y"])], [ox.value("x", ["n", 2])], [ox.value("y", ["n", 2])])))
        self.write("x.npy", ox.npy([3, 2], [1.0, -1.0, 2.0, -2.0, 3.0, -3.0]))
        self.assertEqual(self.answer("--input", "x.npy"), ((3, 2), [1.0, 0.0, 2.0, 0.0, 3.0, 0.0]))
        self.assertEqual(self.answer("--dim", "n=4")[0], (4, 2))
        self.assertEqual(self.answer("--shape", "x=5x2")[0], (5, 2))
        p = self.gopt("run", "net.onnx", "--output-dir", "out")
        self.assertIn("note: ", p.stderr)

    def test_memory_limit(self):
        self.write("net.onnx", ox.model(ox.graph([ox.node("Relu", ["x"], ["y"])], [ox.value("x", ["n"])], [ox.value("y", ["n"])])))
        self.fails(4, "run", "net.onnx", "--dim", "n=100000000", "--memory-limit", "16M")


class Outputs(Case):
    def test_mangled_names(self):
        names = ["a/b:0", "a:b/0", "plain"]
        self.write("net.onnx", ox.model(ox.graph([ox.node(op, ["x"], [n]) for op, n in zip(("Relu", "Abs", "Neg"), names)],
                                                 [ox.value("x", [2])], [ox.value(n, [2]) for n in names])))
        self.write("x.npy", ox.npy([2], [1.0, -2.0]))
        self.gopt("run", "net.onnx", "--input", "x.npy", "--output-dir", "o")
        got = {p.name: ox.read_npy(p.read_bytes())[1] for p in (self.dir / "o").iterdir()}
        self.assertEqual(got, {"a_b_0.npy": [1.0, 0.0], "a_b_0_2.npy": [1.0, 2.0], "plain.npy": [-1.0, 2.0]})

    def test_test_data(self):
        self.write("t/input_0.pb", ox.tensor("x", [1, 2, 2, 2], X))
        self.write("t/output_0.pb", ox.tensor("y", [1, 1, 2, 2], Y))
        self.gopt("run", "net.onnx", "--test-data", "t")
        self.write("t/output_0.pb", ox.tensor("y", [1, 1, 2, 2], [6.0, 7.0, 8.5, 0.0]))
        self.fails(1, "run", "net.onnx", "--test-data", "t", says=["output y", "1 of 4"])

    def test_run_json(self):
        self.gopt("run", "net.onnx", "--json", "r.json", "--iterations", "3")
        r = json.loads((self.dir / "r.json").read_text())
        for key in ("model backend device precision threads iterations build_ms latency_ms h2d_ms compute_ms d2h_ms throughput_qps "
                    "samples_per_second peak_rss_bytes activation_bytes weight_bytes steps").split():
            self.assertIn(key, r)
        self.assertEqual(set(r["latency_ms"]), {"min", "max", "mean", "median", "p90", "p95", "p99"})
        self.assertEqual(r["iterations"], 3)

    def test_profile(self):
        self.gopt("run", "net.onnx", "--profile", "t.json")
        events = json.loads((self.dir / "t.json").read_text())
        steps = [e for e in events if e["cat"] == "Node"]
        self.assertTrue(steps and all(e["ph"] == "X" and e["name"].endswith("_kernel_time") for e in steps))
        self.gopt("run", "net.onnx", "--profile", "t.csv")
        self.assertTrue((self.dir / "t.csv").read_text().startswith("step,"))
        self.assertIn("tactic", self.gopt("run", "net.onnx", "--profile", "-").stdout)

    def test_tactics(self):
        self.gopt("run", "net.onnx", "--profile", "t.json", "--tactics", "reference")
        for e in json.loads((self.dir / "t.json").read_text()):
            if e["cat"] != "Node":
                continue
            self.assertEqual(e["args"]["tactic"], "reference")
            chosen = [t for t in e["args"]["tactics"] if t["chosen"]]
            self.assertEqual([t["name"] for t in chosen], ["reference"])
            self.assertTrue(all(t["takes"] or t["why"] for t in e["args"]["tactics"]))

    def test_tuning(self):
        self.write("x.npy", ox.npy([1, 2, 2, 2], X))
        for again in range(2):
            self.gopt("run", "net.onnx", "--timing-cache", "c.json", "--input", "x.npy", "--output-dir", "o")
            self.assertEqual(ox.read_npy((self.dir / "o/y.npy").read_bytes())[1], Y)
            entries = json.loads((self.dir / "c.json").read_text())["entries"]
            self.assertTrue(entries and all({"machine", "step", "tactic", "variant", "ms"} == set(e) for e in entries.values()))
        self.write("c.json", b"{ broken")
        p = self.gopt("run", "net.onnx", "--timing-cache", "c.json", "--deterministic")
        self.assertIn("c.json.corrupt", p.stderr)
        self.assertFalse((self.dir / "c.json").exists())
        self.fails(2, "run", "net.onnx", "--tune", "--deterministic", says=["by the clock"])

    def test_worth(self):
        p = self.gopt("run", "net.onnx", "--worth", "--duration", "0.01", "--json", "w.json")
        self.assertIn("Conv+Relu, 1 place", p.stdout)
        worth = json.loads((self.dir / "w.json").read_text())["worth"]
        self.assertEqual([w["fusion"] for w in worth], ["all", "Conv+Relu"])
        self.assertTrue(all({"places", "ms", "spread_ms", "of_ms", "bytes"} <= set(w) for w in worth))
        self.assertIn("nothing to take apart", self.gopt("run", "net.onnx", "--worth", "--no-fuse").stderr)

    def test_streams(self):
        p = self.gopt("run", "net.onnx", "--iterations", "20", "--streams", "3")
        self.assertIn("20 runs", p.stdout)

    def test_optimize(self):
        p = self.gopt("optimize", "net.onnx", "-o", "o.onnx", "--dot", "o.dot", "--json", "o.json", "--verify", "--stats", "--remarks")
        self.assertIn("verified", p.stdout)
        for name in ("o.onnx", "o.dot", "o.before.dot", "o.after.dot"):
            self.assertTrue((self.dir / name).stat().st_size, name)
        r = json.loads((self.dir / "o.json").read_text())
        for key in ("nodes_before nodes_after fusions operators_before operators_after parameter_bytes_before "
                    "parameter_bytes_after passes remarks verify ms").split():
            self.assertIn(key, r)
        self.assertTrue(r["verify"]["passed"])
        self.gopt("compare", "net.onnx", "o.onnx")
        self.assertEqual(self.gopt("optimize", "net.onnx", "-o", "o.gir").returncode, 0)
        self.gopt("compare", "net.onnx", "o.gir")

    def test_remarks(self):
        """One line for what is the same in many places; all of them where a regular expression asks, over the reason too."""
        layers = "".join(f"  %t{i} = Transpose %{'x' if not i else f'r{i - 1}'} {{ perm = [1,0] }} @\"t{i}\"\n  %r{i} = Trilu %t{i}\n"
                         for i in range(9))
        (self.dir / "many.gir").write_text(f"graph (%x: f32[4,4]) {{\n{layers}  return %r8\n}}\n")
        lines = [l for l in self.gopt("optimize", "many.gir", "--remarks").stdout.splitlines() if l.startswith("declined")]
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("and 5 more (--remarks=transpose_chain lists them)", " ".join(lines))
        for regex, n in (("transpose_chain", 9), ("^t3$", 1), ("moves dims", 9), ("nothing of that", 0)):
            p = self.gopt("optimize", "many.gir", f"--remarks={regex}", "--json", "r.json")
            self.assertEqual(sum(l.startswith("declined") for l in p.stdout.splitlines()), n, regex)
            self.assertEqual(len(json.loads((self.dir / "r.json").read_text())["remarks"]), n, regex)
        p = self.gopt("optimize", "many.gir", "--stats")
        self.assertRegex(p.stdout, r"pass +ms +before +after +rewrites")

    def test_stdin_and_stdout(self):
        with open(self.dir / "net.onnx", "rb") as f:
            self.assertIn("Conv", self.gopt("inspect", stdin=f).stdout)
        p = self.gopt("optimize", "net.onnx", "--dot", "-")
        self.assertTrue(p.stdout.startswith("digraph"))
        self.assertIn("nodes before", p.stderr)
        self.assertEqual(json.loads(self.gopt("inspect", "net.onnx", "--json", "-").stdout)["nodes"], 2)
        self.assertEqual(json.loads(self.gopt("run", "net.onnx", "--json", "-").stdout)["backend"], "cpu")
        self.assertTrue(json.loads(self.gopt("compare", "net.onnx", "--json", "-").stdout)["same"])
        for command in ("passes", "ops", "devices"):
            self.assertTrue(json.loads(self.gopt(command, "--json", "-").stdout), command)
        self.fails(2, "run", "net.onnx", "--json", "-", "--html", "-", says="--json and --html both ask for stdout")

    def test_inspect_json(self):
        self.gopt("inspect", "net.onnx", "--json", "i.json")
        r = json.loads((self.dir / "i.json").read_text())
        for key in ("model ir_version opsets inputs outputs nodes operators parameters parameter_bytes flops "
                    "peak_activation_bytes unsupported diagnostics").split():
            self.assertIn(key, r)
        self.assertEqual(r["inputs"][0]["shape"], [1, 2, 2, 2])
        self.assertEqual(r["operators"], {"Conv": 1, "Relu": 1})
        for flag in ("--ops", "--nodes", "--weights"):
            self.gopt("inspect", "net.onnx", flag)

    def target(self, model, target, *args, **more):
        p = self.gopt("inspect", model, "--target", target, "--json", "t.json", *args, **more)
        return p, json.loads((self.dir / "t.json").read_text())["target"]

    def test_inspect_target(self):
        # a Compress whose result's size depends on data, an operator of another domain, and one that nobody has
        self.write("mixed.onnx", ox.model(ox.graph(
            [ox.node("Conv", ["x", "w"], ["c"], "conv"), ox.node("Compress", ["c", "k"], ["p"], "pick"),
             ox.node("Relu", ["c"], ["y"], "relu"), ox.node("QuickGelu", ["y"], ["g"], "gelu", domain="com.microsoft"),
             ox.node("Sparkle", ["g"], ["z"], "sparkle", domain="acme")],
            [ox.value("x", [1, 2, 2, 2]), ox.value("k", [4], 9)],
            [ox.value("p", ["n"]), ox.value("z", [1, 1, 2, 2])],
            [ox.tensor("w", [1, 2, 1, 1], [1.0, 10.0])]), domains=("com.microsoft", "acme")))
        p, t = self.target("net.onnx", "cpu")
        self.assertEqual((t["name"], t["nodes"], t["taken"], t["not_taken"], t["by_kernel"]), ("cpu", 1, 1, 0, 1))
        self.assertIn("1 of 1 steps run by kernels of the cpu", p.stdout)
        self.assertEqual(t["operators"], {"Conv+Relu": {"taken": 1, "not_taken": 0}})
        self.assertEqual(sorted(t["node_list"][0]["origins"]), ["conv", "relu"])
        p, t = self.target("mixed.onnx", "cpu", "--nodes")
        by_op = {n["op"]: n for n in t["node_list"]}
        self.assertFalse(by_op["Sparkle"]["taken"])
        self.assertIsNone(by_op["Sparkle"]["backend"])
        self.assertEqual(t["not_taken"], 1)
        self.assertFalse(by_op["Compress"]["kernel"])
        self.assertIn("known only in a run", by_op["Compress"]["reason"])
        self.assertIn("acme::Sparkle, 1 place: sparkle\n    nothing here runs it", p.stdout)
        p, t = self.target("mixed.onnx", "onnx")
        self.assertEqual({n["op"] for n in t["node_list"] if not n["taken"]}, {"Sparkle"})
        self.assertIn("acme::Sparkle", p.stdout)
        self.assertTrue(all(n["reason"] for n in t["node_list"] if not n["taken"]))
        p, t = self.target("net.onnx", "onnx")
        self.assertEqual((t["taken"], t["not_taken"], t["device"]), (2, 0, None))
        self.fails(2, "inspect", "net.onnx", "--target", "cuda", says="--target is 'cuda'", hint="--target opencl")

    def test_inspect_target_opencl(self):
        devices = json.loads(self.gopt("devices", "--json", "-").stdout)
        opencl = next(d for d in devices if d["backend"] == "opencl")
        if opencl["missing"] and "this build" in opencl["missing"]:
            self.fails(4, "inspect", "net.onnx", "--target", "opencl", says="OpenCL")
            return
        # without a device, what its kernels take is known all the same
        p, t = self.target("net.onnx", "opencl", env={"OCL_ICD_VENDORS": "/nowhere"})
        self.assertEqual((t["device"], t["taken"], t["not_taken"]), (None, 1, 0))
        self.assertIn("there is no OpenCL device", p.stderr)
        self.fails(4, "inspect", "net.onnx", "--target", "opencl:gpu", env={"OCL_ICD_VENDORS": "/nowhere"}, says="no OpenCL device")
        if opencl["missing"]:
            return
        p, t = self.target("net.onnx", "opencl")
        self.assertEqual((t["name"], t["taken"], t["not_taken"], t["node_list"][0]["backend"]), ("opencl", 1, 0, "opencl"))
        self.assertEqual(t["device"], opencl["name"])
        self.fails(4, "inspect", "net.onnx", "--target", "opencl:no such device", says="no such device")

    def test_compare(self):
        self.gopt("compare", "net.onnx")
        self.write("other.onnx", network().replace(struct.pack("<f", 10.0), struct.pack("<f", 11.0)))
        self.write("x.npy", ox.npy([1, 2, 2, 2], X))
        self.fails(1, "compare", "net.onnx", "other.onnx", "--input", "x.npy", "--json", "c.json", says=["the first is y"])
        self.assertEqual(json.loads((self.dir / "c.json").read_text())["first_different"], "y")
        self.fails(2, "compare", "net.onnx", "--a", "cpu,leve=2", says="leve=2")
        self.fails(4, "run", "net.onnx", "--precision", "int8", says="int8")

    def test_conformance(self):
        for name, want in (("good", Y), ("wrong", [0.0] * 4)):
            self.write(f"tests/{name}/model.onnx", network())
            self.write(f"tests/{name}/test_data_set_0/input_0.pb", ox.tensor("x", [1, 2, 2, 2], X))
            self.write(f"tests/{name}/test_data_set_0/output_0.pb", ox.tensor("y", [1, 1, 2, 2], want))
        self.write("tests/broken/model.onnx", b"nothing")
        (self.dir / "tests/broken/test_data_set_0").mkdir()
        p = self.gopt("conformance", "tests", "--json", "c.json", code=1)
        self.assertEqual(p.stdout.splitlines()[-1], "1 passed, 2 failed, 0 skipped")
        self.assertIn("FAILED tests/wrong: level 0: output y", p.stdout)
        self.assertEqual(json.loads((self.dir / "c.json").read_text())["failed"], 2)
        self.assertEqual(self.gopt("conformance", "tests", "--include", "good").stdout.splitlines()[-1], "1 passed, 0 failed, 0 skipped")
        self.fails(3, "conformance", "out", says="out")

    def test_cannot_write(self):
        for args in (["optimize", "net.onnx", "-o", "no/such/o.onnx"], ["inspect", "net.onnx", "--json", "no/such/i.json"],
                     ["optimize", "net.onnx", "--dot", "no/such/o.dot"]):
            self.fails(3, *args, says="no/such")


class Classes(Case):
    """Classical models: strings in, classes and maps of scores out."""
    MODEL = ('opset 21\nopset "ai.onnx.ml" 3\ngraph "pipe" (%town: string[n,1], %age: f32[n,1]) {\n'
             '  %o = ai.onnx.ml::OneHotEncoder %town { cats_strings = ["Zürich", "Paris"] }\n'
             '  %shape = Identity dense<i64[2], [-1,2]>\n  %t = Reshape %o, %shape\n'
             '  %f = Concat %t, %age { axis = 1 }\n'
             '  %l, %p = ai.onnx.ml::LinearClassifier %f { classlabels_strings = ["no", "yes"], '
             'coefficients = [1.0,0.0,-1.0,0.0,1.0,1.0], intercepts = [0.0,0.5], post_transform = "SOFTMAX" }\n'
             '  %z = ai.onnx.ml::ZipMap %p { classlabels_strings = ["no", "yes"] }\n'
             '  return %l as "label", %z as "scores"\n}\n')

    def setUp(self):
        super().setUp()
        self.write("pipe.gir", self.MODEL.encode())
        self.gopt("optimize", "pipe.gir", "--level", "0", "-o", "pipe.onnx", "-q")
        self.write("town.json", '[["Zürich"], ["Paris"], ["Rome"]]'.encode())
        self.write("age.json", b"[[0.5], [1], [-2.0]]")

    def run_it(self, *more, model="pipe.onnx", town="town.json", code=0):
        return self.gopt("run", model, "--input", f"town={town}", "--input", "age=age.json", *more, code=code)

    def test_prints_classes_and_scores(self):
        for model in ("pipe.onnx", "pipe.gir"):
            for level in ("0", "3"):
                said = self.run_it("--level", level, model=model).stdout
                self.assertIn("'yes', 'yes', 'no'", said)
                self.assertIn("sequence of 3", said)
                self.assertIn("[0] {no: 0.3775, yes: 0.6225}", said)

    def test_saves_maps_as_json(self):
        self.run_it("--output-dir", "out")
        scores = json.loads((self.dir / "out/scores.json").read_text())
        self.assertEqual([sorted(s) for s in scores], [["no", "yes"]] * 3)
        self.assertAlmostEqual(scores[1]["yes"], 0.970688, places=5)
        self.assertTrue((self.dir / "out/label.npy").exists())

    def npy(self, descr, data, shape="(3, 1)"):
        head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode() + data

    def test_reads_strings_of_numpy(self):
        expected = self.run_it().stdout
        words = ("Zürich", "Paris", "Rome")
        for descr, code in (("<U6", "utf-32-le"), (">U6", "utf-32-be")):
            self.write("town.npy", self.npy(descr, b"".join(w.ljust(6, "\0").encode(code) for w in words)))
            self.assertEqual(self.run_it(town="town.npy").stdout.split("label")[-1], expected.split("label")[-1])
        self.write("town.npy", self.npy("|S7", b"".join(w.encode().ljust(7, b"\0") for w in words)))
        self.assertIn("'yes', 'yes', 'no'", self.run_it(town="town.npy").stdout)

    def test_refuses(self):
        for text, says in ((b'["a", "b"]', "string[2]"), (b'[["a"], ["b", "c"]]', "not all as long"),
                           (b"[[1]]", "no string"), (b'{"a": 1}', "holds an object"), (b"[", "is no JSON"),
                           (b"[" * 40 + b"]" * 40, "nest deeper")):
            self.write("bad.json", text)
            self.fails(3, "run", "pipe.onnx", "--input", "town=bad.json", "--input", "age=age.json", says=says)
        self.write("object.npy", self.npy("|O", b"\0" * 24))
        self.fails(3, "run", "pipe.onnx", "--input", "town=object.npy", "--input", "age=age.json", says="|O")
        self.fails(2, "run", "pipe.onnx", "--input", "age=age.json", says="no random one can be made", hint=".json")

    def test_input_of_no_declared_type(self):
        self.write("any.gir", b'opset 21\ngraph "any" (%x: undefined[2,3]) {\n'
                   b'  %y = ArgMax %x { axis = 1, keepdims = 0 }\n  return %y as "y"\n}\n')
        self.write("x.json", b"[[1, 5, 2], [7, 1, 0]]")
        self.assertIn("y i64[2]  1, 0", self.gopt("run", "any.gir", "--input", "x=x.json").stdout)

    def test_reads_maps(self):
        self.write("map.gir", b'opset 21\nopset "ai.onnx.ml" 3\ngraph "m" (%x: map(i64,f32[])) {\n'
                   b'  %y = ai.onnx.ml::CastMap %x\n  return %y as "y"\n}\n')
        self.write("x.json", b'{"7": 1.5, "-2": 3}')
        self.assertIn("f32[1,2]  min 1.5, max 3", self.gopt("run", "map.gir", "--input", "x=x.json").stdout)
        self.write("x.json", b'{"seven": 1.5}')
        self.fails(3, "run", "map.gir", "--input", "x=x.json", says="'seven' is no integer")

    def test_inspects(self):
        said = self.gopt("inspect", "pipe.onnx").stdout
        self.assertIn("seq(map(string,f32[]))", said)
        self.assertIn("string[n,1]", said)


class Pictures(Case):
    def draw(self, data):
        self.write("net.onnx", data)
        p = subprocess.run([GOPT, "optimize", "net.onnx", "--svg", "o.svg", "--dot", "o.dot", "-q"], cwd=self.dir, capture_output=True,
                           text=True, timeout=120)
        if p.returncode == 4 and "no graphviz" in p.stderr:
            self.skipTest("built without graphviz")
        self.assertEqual(p.returncode, 0, p.stderr)
        import xml.dom.minidom
        for name in ("o.svg", "o.before.svg", "o.after.svg"):
            xml.dom.minidom.parse(str(self.dir / name))
        return (self.dir / "o.svg").read_text()

    def test_plain(self):
        svg = self.draw(network())
        for word in ("Conv", "Relu", "before", "after", "f32[1,2,1,1]"):
            self.assertIn(word, svg.replace("&#45;", "-").replace("&#91;", "[").replace("&#93;", "]"))

    def test_hostile_names(self):
        evil = '<B>&"\\]>' + "\x01\u00e9" + "/" * 50 + "x" * 3000
        self.draw(ox.model(ox.graph([ox.node("Relu", ["x"], [evil], evil), ox.node("Abs", [evil], ["y"], "\\N\\G</TABLE>>")],
                                    [ox.value("x", [2])], [ox.value("y", [2])], name=evil)))

    def test_many_nodes(self):
        nodes = [ox.node("Relu" if i % 2 else "Abs", [f"v{i}"], [f"v{i + 1}"], f"/block{i // 100}/part{i // 10}/n{i}") for i in range(3000)]
        self.draw(ox.model(ox.graph(nodes, [ox.value("v0", [2])], [ox.value("v3000", [2])])))
        self.assertIn("drawn together by scope", (self.dir / "o.before.dot").read_text())


SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared/models"  # real models, where there are some
DIGITS = pathlib.Path(__file__).resolve().parents[2] / "examples/digits.onnx"


class Cuts(Case):
    """--extract and --drop-postprocess: parts that connect, and answer together as the whole does."""

    def custom(self):
        """x -> Conv -> c -> Relu -> /r:0 -> com.acme::Frob with z -> Neg -> odd; /r:0 -> Abs -> even"""
        return ox.model(ox.graph(
            [ox.node("Conv", ["x", "w"], ["c"], "conv"), ox.node("Relu", ["c"], ["/r:0"], "relu"),
             ox.node("Frob", ["/r:0", "z", "s"], ["f"], "frob", domain="com.acme"), ox.node("Neg", ["f"], ["odd"], "neg"),
             ox.node("Abs", ["/r:0"], ["even"], "abs")],
            [ox.value("x", ["n", 2, 2, 2]), ox.value("z", [2])], [ox.value("odd", ["n", 3]), ox.value("even", ["n", 1, 2, 2])],
            [ox.tensor("w", [1, 2, 1, 1], [1.0, 10.0]), ox.tensor("s", [3], [1.0, 2.0, 3.0])]), domains=["com.acme"])

    def signature(self, model):
        self.gopt("inspect", model, "--json", "sig.json")
        r = json.loads((self.dir / "sig.json").read_text())
        return [v["name"] for v in r["inputs"]], r["operators"], [v["name"] for v in r["outputs"]], r

    def answers(self, model, *args):
        self.gopt("run", model, *args, "--output-dir", "answers")
        found = {p.stem: p.read_bytes() for p in (self.dir / "answers").iterdir()}
        for name in found:
            (self.dir / "answers" / f"{name}.npy").unlink()
        return found

    def test_drop_postprocess(self):
        self.write("odd.onnx", self.custom())
        p = self.gopt("optimize", "odd.onnx", "--drop-postprocess", "-o", "out.onnx", "--json", "r.json")
        for word in ("com.acme::Frob", "from the head to the tail: /r:0 f32[n,1,2,2]", "inputs of the tail: z f32[2]",
                     "outputs of the head: even", "outputs of the tail: odd", "out.tail.onnx"):
            self.assertIn(word, p.stdout)
        self.assertEqual(self.signature("out.onnx")[:3], (["x"], {"Abs": 1, "Conv": 1, "Relu": 1}, ["even", "/r:0"]))
        tail = self.signature("out.tail.onnx")
        self.assertEqual(tail[:3], (["z", "/r:0"], {"com.acme::Frob": 1, "Neg": 1}, ["odd"]))
        self.assertEqual(tail[3]["parameters"], 3)  # the head's weights stay there
        self.assertEqual(tail[3]["outputs"][0]["shape"], ["n", 3])
        cut = json.loads((self.dir / "out.cut.json").read_text())
        self.assertEqual(cut, json.loads((self.dir / "r.json").read_text())["cut"])
        self.assertEqual([(v["name"], v["dtype"], v["shape"]) for v in cut["tensors"]], [("/r:0", "f32", ["n", 1, 2, 2])])
        self.assertEqual([(v["name"], v["to"]) for v in cut["inputs"]], [("x", ["head"]), ("z", ["tail"])])
        self.assertEqual([(v["name"], v["from"]) for v in cut["outputs"]], [("odd", "tail"), ("even", "head")])
        self.assertEqual([(v["name"], v["from"]) for v in cut["tail"]["inputs"]], [("z", "model"), ("/r:0", "head")])
        self.assertEqual([(u["node"], u["domain"], u["op"]) for u in cut["cut"]], [("frob", "com.acme", "Frob")])
        self.assertTrue(cut["cut"][0]["reason"] and cut["cut"][0]["fix"])
        self.assertEqual((cut["head"]["file"], cut["tail"]["file"]), ("out.onnx", "out.tail.onnx"))
        self.gopt("run", "out.onnx")

    def test_nothing_to_drop(self):
        p = self.gopt("optimize", "net.onnx", "--drop-postprocess", "-o", "out.onnx")
        self.assertIn("cut: nothing", p.stdout)
        self.assertIsNone(json.loads((self.dir / "out.cut.json").read_text())["tail"])
        self.assertFalse((self.dir / "out.tail.onnx").exists())
        self.gopt("compare", "net.onnx", "out.onnx")

    def test_nothing_is_left(self):
        self.write("odd.onnx", ox.model(ox.graph([ox.node("Frob", ["x"], ["f"], "frob", domain="com.acme"), ox.node("Relu", ["f"], ["y"])],
                                                 [ox.value("x", [4])], [ox.value("y", [4])]), domains=["com.acme"]))
        before = sorted(self.dir.rglob("*"))
        self.fails(4, "optimize", "odd.onnx", "--drop-postprocess", "-o", "out.onnx", says="nothing is left", hint="--extract-input")
        self.fails(2, "optimize", "net.onnx", "--drop-postprocess", "-o", "-", says="three files")
        self.fails(3, "optimize", "net.onnx", "--drop-postprocess", "-o", "no/such/o.onnx", says="no/such")
        self.write("o.tail.onnx", network())
        self.fails(2, "optimize", "o.tail.onnx", "--drop-postprocess", "-o", "o.onnx", says="is the model itself")
        (self.dir / "o.tail.onnx").unlink()
        self.assertEqual(sorted(self.dir.rglob("*")), before, "something was written")

    def test_parts_around_what_cannot_run(self):
        """Without --drop-postprocess both sides of an unknown operator are optimized, and it stays."""
        self.write("odd.onnx", ox.model(ox.graph(
            [ox.node("Neg", ["x"], ["a"]), ox.node("Neg", ["a"], ["b"]), ox.node("Relu", ["b"], ["c"]),
             ox.node("Frob", ["c"], ["f"], "frob", domain="com.acme"),
             ox.node("Neg", ["f"], ["d"]), ox.node("Neg", ["d"], ["e"]), ox.node("Relu", ["e"], ["y"])],
            [ox.value("x", [4])], [ox.value("y", [4])]), domains=["com.acme"]))
        self.gopt("optimize", "odd.onnx", "-o", "out.onnx")
        self.assertEqual(self.signature("out.onnx")[1], {"Relu": 2, "com.acme::Frob": 1})

    def test_extract(self):
        self.write("odd.onnx", self.custom())
        self.gopt("optimize", "odd.onnx", "--extract-input", "c", "--extract-output", "/r:0", "-o", "a.onnx")
        self.assertEqual(self.signature("a.onnx")[:3], (["c"], {"Relu": 1}, ["/r:0"]))
        self.gopt("optimize", "odd.onnx", "--extract", "c:/r:0", "-o", "b.onnx")  # a name with a colon
        self.assertEqual((self.dir / "a.onnx").read_bytes(), (self.dir / "b.onnx").read_bytes())
        self.gopt("optimize", "odd.onnx", "--extract", "/r:0,z:odd,even", "-o", "c.onnx")
        self.assertEqual(self.signature("c.onnx")[::2][:2], (["/r:0", "z"], ["odd", "even"]))
        self.gopt("optimize", "odd.onnx", "--extract", ":c", "-o", "d.onnx")
        self.assertEqual(self.signature("d.onnx")[:3], (["x"], {"Conv": 1}, ["c"]))
        self.gopt("optimize", "odd.onnx", "--extract-output", "x", "-o", "e.onnx")
        self.assertEqual(self.signature("e.onnx")[0], ["x"])

    def test_extract_diagnostics(self):
        self.write("odd.onnx", self.custom())
        self.fails(2, "optimize", "odd.onnx", "--extract-output", "evn", says="no tensor 'evn'", hint="'even'")
        self.fails(2, "optimize", "odd.onnx", "--extract", "c:odd", says="'z' (read by Frob node 'frob')", hint="z")
        self.fails(2, "optimize", "odd.onnx", "--extract", "c", says="no IN:OUT", hint="--extract-input")
        self.fails(2, "optimize", "odd.onnx", "--extract-input", "f", says=["'f' cannot become an input", "frob"])

    def test_shapes_of_what_becomes_an_input(self):
        self.write("odd.onnx", self.custom())
        self.gopt("optimize", "odd.onnx", "--extract", "c:even", "--shape", "c=3x1x2x2", "-o", "a.onnx")
        self.assertEqual(self.signature("a.onnx")[3]["outputs"][0]["shape"], [3, 1, 2, 2])
        self.fails(2, "optimize", "odd.onnx", "--extract", "c:even", "--shape", "q=3", says="q")

    def test_two_halves_of_a_network(self):
        """The network of digits, halved at each of several tensors: the halves answer as the whole does, to the bit."""
        whole = self.answers(DIGITS, "--dim", "batch=3", "--level", "0")["scores"]
        for at in ("/block/pool_out", "/fork/concat_out", "/head/matmul_out"):
            self.gopt("optimize", DIGITS, "--level", "0", "--extract-output", at, "-o", "front.onnx")
            self.gopt("optimize", DIGITS, "--level", "0", "--extract", f"{at}:scores", "-o", "back.onnx")
            middle = self.answers("front.onnx", "--dim", "batch=3", "--level", "0")
            self.write("middle.npy", middle[at.replace("/", "_")])
            back = self.answers("back.onnx", "--level", "0", "--input", f"{at}=middle.npy")
            self.assertEqual(back["scores"], whole, at)
            self.gopt("optimize", "back.onnx", "-o", "fast.onnx", "--verify")

    def test_pictures_in_and_out(self):
        """A network with operators of onnxruntime-extensions at both ends: what lies between is cut out, and runs."""
        model = SHARED / "trained/superres_custom_ops.onnx"
        if not model.exists():
            self.skipTest("no models")
        self.fails(4, "optimize", model, "--drop-postprocess", "-o", "out.onnx", says="nothing is left", hint="--extract-input")
        self.fails(2, "optimize", model, "--extract-input", "_ppp2_cropped_image", says="pre_process_23")
        self.gopt("optimize", model, "--extract-input", "_ppp3_f_pixels", "--shape", "_ppp3_f_pixels=224x224x3", "--drop-postprocess",
                  "-o", "out.onnx")
        cut = json.loads((self.dir / "out.cut.json").read_text())
        self.assertEqual([(u["op"], u["node"]) for u in cut["cut"]], [("EncodeImage", "post_process_52")])
        self.assertEqual([(v["name"], v["type"]) for v in cut["tensors"]], [("_ppp12_bgr_data", "u8[672,672,3]")])
        self.assertEqual(set(self.answers("out.onnx")), {"_ppp12_bgr_data"})

    def test_pytorch_operators(self):
        """A network that PyTorch's exporter left operators in, of which one becomes an operator of gopt's own: the head is standard
        ONNX, the tail has it, and both after another answer as the whole does, to the bit."""
        for kind in ("aten", "aten_fallback", "fallthrough"):
            model = SHARED / f"aten/conv_special_i0.{kind}/model.onnx"
            if not model.exists():
                self.skipTest("no models")
            self.gopt("optimize", model, "--drop-postprocess", "--level", "0", "-o", "out.onnx")
            cut = json.loads((self.dir / "out.cut.json").read_text())
            self.assertEqual([u["op"] for u in cut["cut"]], ["BesselI0"])
            self.assertFalse([o for o in cut["head"]["operators"] if "::" in o])
            middle, last = cut["tensors"][0]["name"], cut["outputs"][0]["name"]
            self.write("middle.npy", self.answers("out.onnx", "--level", "0")[middle.replace("/", "_")])
            tail = self.answers("out.tail.onnx", "--level", "0", "--input", f"{middle}=middle.npy")
            self.assertEqual(tail[last], self.answers(model, "--level", "0")[last])
            self.gopt("optimize", model, "--drop-postprocess", "-o", "out.gir")  # gopt alone reads that: nothing to cut
            self.assertIsNone(json.loads((self.dir / "out.cut.json").read_text())["tail"])


class Plans(Case):
    """gopt run --plan, and what is done with the file."""
    def build(self):
        self.gopt("run", "net.onnx", "--plan", "net.gplan", "--output-dir", "a", "--threads", 2)
        return self.dir / "net.gplan"

    def test_runs(self):
        self.build()
        (self.dir / "net.onnx").unlink()
        for k, way in enumerate((["net.gplan"], ["--plan", "net.gplan"], ["net.gplan", "--verify"], ["net.gplan", "--threads", 1])):
            p = self.gopt("run", *way, "--output-dir", f"b{k}", "--json", "r.json")
            self.assertIn("loaded from a plan", p.stdout)
            self.assertEqual((self.dir / "a/y.npy").read_bytes(), (self.dir / f"b{k}/y.npy").read_bytes())
            r = json.loads((self.dir / "r.json").read_text())
            self.assertTrue(r["from_plan"])
            self.assertEqual(r["threads"], 1 if k == 3 else 2)

    def test_verify(self):
        self.build()
        self.assertIn("bit for bit", self.gopt("run", "net.gplan", "--verify").stdout)
        self.fails(2, "run", "net.onnx", "--verify", says="checks a plan", hint="gopt compare")

    def test_inspect(self):
        self.build()
        p = self.gopt("inspect", "net.gplan", "--nodes", "--json", "i.json")
        for word in ("a built plan", "cpu", "fp32", "fingerprint", "net.onnx", "isa="):
            self.assertIn(word, p.stdout)
        plan = json.loads((self.dir / "i.json").read_text())["plan"]
        self.assertEqual(plan["facts"]["backend"], "cpu")
        self.assertEqual(plan["file_bytes"], (self.dir / "net.gplan").stat().st_size)
        self.assertTrue(plan["fingerprint"] and plan["steps"])
        self.assertTrue(all(s["tactic"] for s in plan["steps"]))

    def test_as_a_model(self):
        self.build()
        self.gopt("compare", "net.gplan", "net.onnx")
        self.gopt("optimize", "net.gplan", "-o", "back.onnx")
        self.gopt("compare", "back.onnx", "net.onnx")

    def test_same_bytes(self):
        first = self.build().read_bytes()
        self.assertEqual(first, self.build().read_bytes())
        self.assertNotIn(str(self.dir).encode(), first)

    def test_refused(self):
        path = self.build()
        good = path.read_bytes()
        self.write("cut.gplan", good[:len(good) // 2])
        self.fails(3, "run", "cut.gplan", says=["cut.gplan", "cut off", f"{len(good) // 2} bytes of {len(good)}"], hint="build it again")
        self.fails(3, "inspect", "cut.gplan", says="cut off")
        bad = bytearray(good)
        bad[100] ^= 1
        self.write("bad.gplan", bytes(bad))
        self.fails(3, "run", "bad.gplan", "--output-dir", "none", says=["bad.gplan", "damaged between byte 0 and"])
        self.assertFalse((self.dir / "none").exists())
        self.fails(4, "run", "net.gplan", "--isa", "sse2", says="--isa sse2 is asked for")
        self.fails(4, "run", "net.gplan", "--backend", "opencl", says="backend cpu")

    def test_built_already(self):
        self.build()
        for flag in (["--level", 1], ["--no-fuse"], ["--shape", "x=1x2x2x2"], ["--plan", "again.gplan"], ["--fp", "strict"]):
            self.fails(2, "run", "net.gplan", *flag, says=[flag[0], "built already"], hint="when the plan is built")
        self.assertFalse((self.dir / "again.gplan").exists())

    def test_model_is_no_plan(self):
        before = (self.dir / "net.onnx").read_bytes()
        self.fails(2, "run", "net.onnx", "--plan", "net.onnx", says=["net.onnx", "does not overwrite"])
        self.assertEqual(before, (self.dir / "net.onnx").read_bytes())
        self.build()
        self.build()  # a plan it does

    def test_cannot_be_written(self):
        self.fails(3, "run", "net.onnx", "--plan", "no/such/folder.gplan", says="cannot write")
        self.fails(2, "run", "net.onnx", "--level", 0, "--plan", "z.gplan", says="reference evaluation")
        self.assertFalse((self.dir / "z.gplan").exists())


if __name__ == "__main__":
    case, GOPT = sys.argv[1], os.path.abspath(sys.argv[2])
    names = [case] if case != "all" else ["Usage", "Bad", "Inputs", "Outputs", "Classes", "Pictures", "Cuts"]
    suite = unittest.TestSuite(unittest.defaultTestLoader.loadTestsFromTestCase(globals()[n]) for n in names)
    sys.exit(not unittest.TextTestRunner(verbosity=1).run(suite).wasSuccessful())
