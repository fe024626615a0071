#!/usr/bin/env python3
"""Pictures, and what inspect shows on a terminal.

  viz.py CASE GOPT     CASE: a class below, or all

UPDATE_GOLDEN=1 writes the files of golden/ anew. Needs Python's standard library alone."""
import fcntl, os, pathlib, pty, re, struct, subprocess, sys, termios, unicodedata, unittest
import xml.dom.minidom

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "cli"), str(HERE.parent)]
import gopt_case  # noqa: E402
import onnx_bytes as ox  # noqa: E402

GOPT = None
SVG = "{http://www.w3.org/2000/svg}"


def fork():
    """A convolution with BatchNormalization, Relu and what does nothing; beside it an activation; an If behind both."""
    w = [0.5] * 36
    ones = [1.0, 1.0, 1.0, 1.0]
    nodes = [ox.node("Conv", ["x", "w"], ["c"], "/block/conv", pads=[1, 1, 1, 1]),
             ox.node("BatchNormalization", ["c", "s", "o", "m", "v"], ["b"], "/block/norm"),
             ox.node("Relu", ["b"], ["r"], "/block/relu"), ox.node("Identity", ["r"], ["i"], "/block/nothing"),
             ox.node("Sigmoid", ["x"], ["g"], "/gate/sigmoid"), ox.node("Mul", ["i", "g"], ["p"], "/gate/mul"),
             ox.node("If", ["cond"], ["y"], "/gate/if",
                     then_branch=ox.graph([ox.node("Exp", ["p"], ["t"], "/gate/then/exp")], [], [ox.value("t", ["n", 2, 4, 4])]),
                     else_branch=ox.graph([ox.node("Tanh", ["p"], ["e"], "/gate/else/tanh")], [], [ox.value("e", ["n", 2, 4, 4])]))]
    weights = [ox.tensor("w", [2, 2, 3, 3], w)] + [ox.tensor(k, [2], ones[:2]) for k in "somv"]
    return ox.model(ox.graph(nodes, [ox.value("x", ["n", 2, 4, 4]), ox.value("cond", [], ox.BOOL)],
                             [ox.value("y", ["n", 2, 4, 4])], weights))


EVIL = ["</script><svg onload=x>", 'quo"te\\N\\G', "line\nbreak\r\x00\x1b[31m"[:11], "right‮left⁦", "<B>&amp;]]>--></TABLE>>",
        "x" * 10000, "é" * 3000, "日本語/テンソル", "}; digraph {", "%s%n", "\\"]


def hostile():
    nodes, last = [], "x"
    for i, name in enumerate(EVIL):
        out = f"{name}{i}"
        nodes.append(ox.node("Relu" if i % 2 else "Sigmoid", [last], [out], name))
        last = out
    nodes.append(ox.node(EVIL[0], [last], ["odd" + EVIL[3]], EVIL[1], domain=EVIL[4]))
    return ox.model(ox.graph(nodes, [ox.value("x", ["n" + EVIL[1], 2])], [ox.value("odd" + EVIL[3], ["n", 2])], name=EVIL[0]),
                    domains=[EVIL[4]])


class Case(gopt_case.Case):
    patience = 200

    def program(self):
        return GOPT

    def gopt(self, *args, code=0, **env):
        return super().gopt(*args, code=code, env=env)

    def network(self, kind, nodes):
        subprocess.run([sys.executable, HERE.parent / "scale/networks.py", kind, str(nodes), self.dir / "net.onnx"], check=True)
        return "net.onnx"


class Dot(Case):
    def test_golden(self):
        self.gopt("optimize", self.write("fork.onnx", fork()), "--dot", "fork.dot", "-q")
        self.gopt("optimize", "fork.onnx", "--dot", "flat.dot", "--dot-flat", "-q")
        for name in ("fork.before.dot", "fork.after.dot", "fork.dot", "flat.dot"):
            got, kept = (self.dir / name).read_text(), HERE / "golden" / name
            if os.environ.get("UPDATE_GOLDEN"):
                kept.write_text(got)
            self.assertEqual(got, kept.read_text(), f"{name}: UPDATE_GOLDEN=1 writes it anew, to be read")

    def test_same_each_time(self):
        self.write("fork.onnx", fork())
        a, b = (self.gopt("optimize", "fork.onnx", "--dot", "-").stdout for _ in range(2))
        self.assertEqual(a, b)

    def simple(self, text):
        """Reads DOT as Netron does: strings without escapes, HTML by nesting, what stands in a subgraph is gone.
        Returns node statements by name and edges."""
        tokens, at = [], 0
        while at < len(text):
            m = re.compile(r'\s+|"[^"]*"|->|[{}\[\]=:;,]|[A-Za-z0-9_$.*]+').match(text, at)
            if m:
                at = m.end()
                if m[0].strip():
                    tokens.append(m[0])
                continue
            self.assertEqual(text[at], "<", text[at:at + 80])
            depth, end = 0, at
            while end == at or depth:
                depth += {"<": 1, ">": -1}.get(text[end], 0)
                end += 1
            tokens.append(text[at:end])
            at = end
        nodes, edges, depth, i = {}, [], 0, 0
        while i < len(tokens):
            t = tokens[i]
            if t in "{}":
                depth += 1 if t == "{" else -1
            elif t == "[":
                last = tokens[i - 1]
                end = i + tokens[i:].index("]")
                for k in range(i + 1, end, 4):  # name = value ,
                    self.assertTrue(re.fullmatch(r"\w+", tokens[k]) and tokens[k + 1] == "=" and tokens[k + 3] in ",]", tokens[k:k + 4])
                if tokens[i - 2] == "->":
                    edges.append((tokens[i - 3], last))
                elif depth == 1 and last not in ("graph", "node", "edge"):
                    nodes[last] = True
                i = end
            i += 1
        self.assertEqual(depth, 0)
        return nodes, edges

    def test_flat_as_simple_viewers_read_it(self):
        """Every node that an edge names is there, and says its operator in the name that Netron takes it from."""
        for model in (fork(), hostile()):
            self.gopt("inspect", self.write("m.onnx", model), "--dot", "one.dot", "--dot-flat", "-q")
            self.gopt("optimize", "m.onnx", "--dot", "o.dot", "--dot-flat", "-q")
            for name in [n for n in ("one.dot", "o.dot", "o.before.dot", "o.after.dot") if (self.dir / n).exists()]:
                text = (self.dir / name).read_text()
                self.assertNotIn("subgraph", text)
                self.assertNotIn("rank=same", text)
                nodes, edges = self.simple(text)
                self.assertTrue(edges and {n for e in edges for n in e} <= set(nodes))
                for n in nodes:
                    self.assertRegex(n, r'^"[A-Z][A-Za-z0-9_]* \(op#\d+\)"$')

    def test_clusters_as_simple_viewers_read_them(self):
        for model in (fork(), hostile()):
            self.gopt("inspect", self.write("m.onnx", model), "--dot", "one.dot", "-q")
            self.simple((self.dir / "one.dot").read_text())

    def test_pairs_rise_on_both_sides(self):
        self.gopt("optimize", self.network("transformer", 600), "--dot", "o.dot", "-q")
        pairs = [tuple(map(int, m)) for m in re.findall(r"^\{rank=same;b(\d+);a(\d+)\}$", (self.dir / "o.dot").read_text(), re.M)]
        self.assertGreater(len(pairs), 20)
        for (b0, a0), (b1, a1) in zip(pairs, pairs[1:]):
            self.assertTrue(b0 < b1 and a0 < a1)

    def test_both_sides_are_collapsed(self):
        """Where one side has too many nodes, the other is drawn by scope as well."""
        self.gopt("optimize", self.network("transformer", 3000), "--dot", "o.dot", "-q")
        text = (self.dir / "o.dot").read_text()
        self.assertEqual(text.count("drawn together by scope"), 2)
        for side in "ab":
            self.assertLess(len(re.findall(rf"^{side}\d+ \[", text, re.M)), 200)

    def test_runs_without_scopes_stand_in_parts(self):
        """One box of 5,000 nodes would say nothing: parts in the order of the schedule, whose arcs lead onward."""
        self.gopt("inspect", self.network("pointwise", 5000), "--dot", "o.dot", "-q")
        text = (self.dir / "o.dot").read_text()
        parts = [int(m) for m in re.findall(r">\d+ nodes, part (\d+) of 48<", text)]
        self.assertEqual(parts, list(range(1, 49)))
        self.assertEqual(sum(int(m) for m in re.findall(r">(\d+) nodes, part", text)), 5000)
        for a, b in re.findall(r"^n(\d+) -> n(\d+) \[", text, re.M):
            self.assertLess(int(a), int(b))

    def test_full(self):
        self.gopt("inspect", self.network("transformer", 3000), "--dot", "o.dot", "--dot-full", "-q")
        text = (self.dir / "o.dot").read_text()
        self.assertNotIn("drawn together by scope", text)
        self.assertGreater(len(re.findall(r"^n\d+ \[", text, re.M)), 2500)

    def test_hostile_names(self):
        self.gopt("inspect", self.write("evil.onnx", hostile()), "--dot", "o.dot", "-q")
        text = (self.dir / "o.dot").read_text()
        self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
        self.assertNotIn("<script", text.lower())
        self.assertLess(max(map(len, text.splitlines())), 4000)


class Svg(Case):
    def svg(self, name):
        xml.dom.minidom.parse(str(self.dir / name))
        import xml.etree.ElementTree as tree
        return tree.parse(self.dir / name).getroot()

    def graphviz(self):
        p = self.gopt("inspect", self.write("fork.onnx", fork()), "--svg", "try.svg")
        if "no graphviz" in p.stderr:
            self.skipTest("built without graphviz")

    def boxes(self, root):
        """id of each box to its (left, top, right, bottom), of graphviz' drawing or ours."""
        found = {}
        for g in root.iter(SVG + "g"):
            if not re.fullmatch(r"[ab]?n\d+", g.get("id") or ""):
                continue
            rect, paths = g.find(SVG + "rect"), list(g.iter(SVG + "path")) + list(g.iter(SVG + "polygon"))
            if rect is not None:
                x, y, w, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
                found[g.get("id")] = (x, y, x + w, y + h)
            elif paths:
                v = list(map(float, re.findall(r"-?[\d.]+", paths[0].get("d") or paths[0].get("points"))))
                found[g.get("id")] = (min(v[0::2]), min(v[1::2]), max(v[0::2]), max(v[1::2]))
        return found

    def apart(self, boxes):
        self.assertGreater(len(boxes), 3)
        for side in ("an", "bn", "n"):
            rows = sorted((b for k, b in boxes.items() if k.startswith(side)), key=lambda b: (b[1], b[0]))
            for i, a in enumerate(rows):
                for b in rows[i + 1:i + 40]:
                    self.assertFalse(a[0] < b[2] - 0.5 and b[0] < a[2] - 0.5 and a[1] < b[3] - 0.5 and b[1] < a[3] - 0.5, (a, b))

    def test_pairs_at_one_height(self):
        self.graphviz()
        self.gopt("optimize", "fork.onnx", "--svg", "o.svg", "--dot", "o.dot", "-q")
        boxes = self.boxes(self.svg("o.svg"))
        pairs = re.findall(r"^\{rank=same;b(\d+);a(\d+)\}$", (self.dir / "o.dot").read_text(), re.M)
        self.assertGreaterEqual(len(pairs), 6)
        for b, a in pairs:
            x, y = boxes["bn" + b], boxes["an" + a]
            self.assertAlmostEqual((x[1] + x[3]) / 2, (y[1] + y[3]) / 2, delta=1)
        self.apart(boxes)

    def test_hostile_names(self):
        self.gopt("inspect", self.write("evil.onnx", hostile()), "--svg", "o.svg", "-q")
        self.svg("o.svg")
        text = (self.dir / "o.svg").read_text()
        self.assertNotIn("<script", text.lower())
        self.assertNotIn("onload=x>", text)
        self.assertNotRegex(text, "[\u202a-\u202e\u2066-\u2069]")

    def test_own_layout(self):
        """Arcs past hundreds of boxes: graphviz takes minutes, so that we draw it."""
        p = self.gopt("optimize", self.network("growing", 400), "--level", "0", "--svg", "o.svg", "--dot-full")
        self.assertIn("drawn by gopt's own layout", p.stderr)
        for name in ("o.svg", "o.before.svg", "o.after.svg"):
            self.apart(self.boxes(self.svg(name)))
        boxes = self.boxes(self.svg("o.svg"))
        for k, b in boxes.items():  # nothing became anything else: all at the same height
            if k.startswith("bn"):
                self.assertAlmostEqual(b[1], boxes["a" + k[1:]][1], delta=0.2)

    def test_own_layout_of_hostile_names(self):
        nodes = [ox.node("Concat", [f"v{j}" for j in range(i + 1)], [f"v{i + 1}"], EVIL[i % len(EVIL)], axis=0) for i in range(60)]
        self.write("net.onnx", ox.model(ox.graph(nodes, [ox.value("v0", [2])], [ox.value("v60", ["n"])], name=EVIL[0])))
        p = self.gopt("inspect", "net.onnx", "--svg", "o.svg")
        self.assertIn("drawn by gopt's own layout", p.stderr)
        self.svg("o.svg")
        self.assertNotRegex((self.dir / "o.svg").read_text(), "<script|onload=x>|[\u202a-\u202e\u2066-\u2069\x00-\x08]")

    def test_png_and_pdf(self):
        self.graphviz()
        self.gopt("optimize", "fork.onnx", "--png", "o.png", "--pdf", "o.pdf", "-q")
        for name in ("o.png", "o.before.png", "o.after.png"):
            data = (self.dir / name).read_bytes()
            self.assertEqual(data[:8], b"\x89PNG\r\n\x1a\n")
            self.assertGreater(min(struct.unpack(">II", data[16:24])), 100)
        for name in ("o.pdf", "o.before.pdf", "o.after.pdf"):
            self.assertEqual((self.dir / name).read_bytes()[:5], b"%PDF-")


def cells(text):
    return sum(0 if unicodedata.combining(c) or unicodedata.category(c) in ("Mn", "Me") else
               2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class Terminal(Case):
    def on(self, columns, rows, *args, **env):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        p = subprocess.Popen([GOPT, *args], cwd=self.dir, stdout=slave, stderr=slave, stdin=subprocess.DEVNULL,
                             env={**clean, "TERM": "xterm", **env})
        os.close(slave)
        data = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            data += piece
        os.close(master)
        self.assertEqual(p.wait(), 0, data)
        return data.decode().replace("\r\n", "\n")

    def fits(self, text, columns, rows=None):
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip("\n").split("\n")
        for line in lines:
            self.assertLessEqual(cells(line), columns, line)
        if rows:
            self.assertLess(len(lines), rows)
        return lines

    def wide(self):
        """Many inputs, many operators, names of all kinds."""
        ops = ["Relu", "Sigmoid", "Tanh", "Abs", "Exp", "Neg", "Ceil", "Floor", "Sqrt", "Erf", "Sin", "Cos", "Softplus", "Softsign", "Sign",
               "Round", "Log", "Reciprocal", "HardSwish", "HardSigmoid", "Selu", "Elu", "LeakyRelu", "ThresholdedRelu", "Identity"]
        names = ["日本語/テンソル/" * 6, "e\u0301" * 50, "x" * 300, "a\x1b[31mred", "right\u202eleft"] + [f"in{i}" for i in range(60)]
        nodes = [ox.node(ops[i % len(ops)], [n], [f"out/{n}"], f"/block{i}/{n}") for i, n in enumerate(names)]
        return ox.model(ox.graph(nodes, [ox.value(n, ["batch", 3, 640, 640]) for n in names],
                                 [ox.value(f"out/{n}", ["batch", 3, 640, 640]) for n in names]))

    def test_names_steer_nothing(self):
        """What cannot run, cut or not, rewrites and errors: whatever a name holds."""
        evil = "a\x1b]0;title\x07\x1b[31m\u202eb"
        nodes = [ox.node("Relu", ["x"], ["r" + evil], evil), ox.node("Relu", ["r" + evil], ["s"], "s" + evil),
                 ox.node("Frob", ["s"], [evil], "f" + evil, domain="com.\x1b[2J"), ox.node("Abs", [evil], ["y"], "abs")]
        self.write("m.onnx", ox.model(ox.graph(nodes, [ox.value("x", [2])], [ox.value("y", [2])], name=evil), domains=["com.\x1b[2J"]))
        self.write("n.onnx", ox.model(ox.graph([ox.node("Abs", [evil + "x"], [evil], evil)], [ox.value(evil + "x", [2])], [ox.value(evil, [2])])))
        for args, code in ((["inspect", "m.onnx"], 0), (["inspect", "m.onnx", "--target", "cpu"], 0), (["run", "m.onnx"], 4), (["run", "n.onnx", "--profile", "-"], 0), (["compare", "n.onnx"], 0), (["optimize", "m.onnx", "--remarks", "-v"], 0),
                           (["optimize", "m.onnx", "--drop-postprocess", "-v"], 0)):
            p = self.gopt(*args, code=code)
            for text in (p.stdout, p.stderr):
                self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f\u202e]", args)
            self.assertIn("Frob" if "m.onnx" in args else "Abs" if "run" in args else "same", p.stdout + p.stderr)

    def test_summary_fits_the_screen(self):
        self.write("m.onnx", self.wide())
        for columns, rows in ((80, 24), (200, 50), (60, 20)):
            lines = self.fits(self.on(columns, rows, "inspect", "m.onnx"), columns, rows)
            self.assertTrue(any("more" in line for line in lines))
            for word in ("inputs", "outputs", "nodes", "weights", "operations", "activations"):
                self.assertTrue(any(word in line for line in lines), word)

    def test_tables_fit_the_width(self):
        self.write("m.onnx", self.wide())
        self.write("fork.onnx", fork())
        for columns in (80, 120, 200):
            for flag in ("--nodes", "--ops"):
                self.fits(self.on(columns, 24, "inspect", "m.onnx", flag), columns)
            self.fits(self.on(columns, 24, "inspect", "fork.onnx", "--weights", "--nodes"), columns)

    def test_columns_stand_below_each_other(self):
        self.write("m.onnx", self.wide())
        lines = self.fits(self.on(120, 24, "inspect", "m.onnx", "--nodes"), 120)
        head = next(i for i, line in enumerate(lines) if line.split()[:2] == ["node", "operator"])
        at = lines[head].index("type")
        for line in lines[head + 1:]:
            self.assertEqual(cells(line[:line.index("f32[batch")]), at, line)

    def test_names_cannot_steer_the_terminal(self):
        self.write("m.onnx", self.wide())
        for text in (self.on(80, 24, "inspect", "m.onnx", "--nodes", NO_COLOR="1"), self.gopt("inspect", "m.onnx", "--nodes").stdout):
            self.assertNotRegex(text, "[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]")

    def test_a_pipe_cuts_nothing(self):
        self.write("m.onnx", self.wide())
        text = self.gopt("inspect", "m.onnx", "--nodes").stdout
        for word in ("x" * 300, "日本語/テンソル/" * 6, "in59", "f32[batch,3,640,640]"):
            self.assertIn(word, text)
        self.assertNotIn("…", text)

    def test_colours(self):
        self.write("fork.onnx", fork())
        self.assertIn("\x1b[", self.on(80, 24, "inspect", "fork.onnx"))
        self.assertNotIn("\x1b[", self.on(80, 24, "inspect", "fork.onnx", NO_COLOR="1"))
        self.assertNotIn("\x1b[", self.on(80, 24, "inspect", "fork.onnx", "--color", "never"))
        self.assertNotIn("\x1b[", self.gopt("inspect", "fork.onnx").stdout)
        self.assertIn("\x1b[", self.gopt("inspect", "fork.onnx", "--color", "always").stdout)


if __name__ == "__main__":
    case, GOPT = sys.argv[1], str(pathlib.Path(sys.argv[2]).resolve())
    unittest.main(argv=[sys.argv[0], *([] if case == "all" else [case])])
