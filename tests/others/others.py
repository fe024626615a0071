#!/usr/bin/env python3
"""What gopt writes for other tools, read by those tools.

  others.py CASE GOPT     CASE: a class below, or all

Model Explorer's classes (PyPI ai-edge-model-explorer) load the graph and node data, onnx.checker the annotated model,
ONNX Runtime's profile tools the trace. TREx is no package: what its reader does with a file is done here again.
"""
import json, math, pathlib, re, subprocess, sys, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "cli"), str(HERE.parent / "scale"), str(HERE.parent)]
import gopt_case  # noqa: E402
import peers  # noqa: E402

CASE = sys.argv[1]
peers.need(*(["model_explorer", "dacite"] if CASE in ("Explorer", "all") else []))
import onnx  # noqa: E402
import onnx_bytes as ox  # noqa: E402

GOPT = str(pathlib.Path(sys.argv[2]).resolve())
DIGITS = HERE.parent.parent / "examples" / "digits.onnx"
HOSTILE = ["</script><b>", "\"quoted\" 'twice'", "two\nlines\ttab", "\u202eright to left", "x" * 10000, "a//b/", "[profile 1]", "[io]x", "]]>"]


class Case(gopt_case.Shared):
    patience = 200

    def program(self):
        return GOPT

    def json(self, name):
        return json.loads((self.dir / name).read_text())

    def hostile(self):
        """A chain of nodes, tensors and weights with the names above; some names twice."""
        nodes, weights, x = [], [], "x"
        for i, name in enumerate(HOSTILE):
            y = f"{name}#{i}"
            weights.append(ox.tensor(f"w{name}", [2], [1.0 + i, 2.0]))
            nodes.append(ox.node("Mul" if i % 2 else "Add", [x, f"w{name}"], [y], f"/{name}/{name}"))
            nodes.append(ox.node("Sin", [y], [y + "t"], name if i % 3 else "twice"))
            x = y + "t"
        (self.dir / "hostile.onnx").write_bytes(ox.model(ox.graph(nodes, [ox.value("x", ["n", 2])], [ox.value(x, ["n", 2])], weights)))
        return "hostile.onnx"

    def loop(self):
        """An If whose branches read what lies outside."""
        h, f32 = onnx.helper, onnx.TensorProto.FLOAT
        value = lambda name: h.make_tensor_value_info(name, f32, [2])
        then = h.make_graph([h.make_node("Sin", ["h"], ["t"], "/then/sin")], "then", [], [value("t")])
        other = h.make_graph([h.make_node("Cos", ["h"], ["e"], "/else/cos"), h.make_node("Tanh", ["e"], ["f"], "/else/tanh")], "else", [], [value("f")])
        nodes = [h.make_node("Exp", ["x"], ["h"], "/exp"), h.make_node("ReduceSum", ["h"], ["s"], "/sum", keepdims=0),
                 h.make_node("Greater", ["s", "zero"], ["c"], "/greater"), h.make_node("If", ["c"], ["y"], "/if", then_branch=then, else_branch=other)]
        zero = h.make_tensor("zero", f32, [], [0.0])
        onnx.save(h.make_model(h.make_graph(nodes, "if", [value("x")], [value("y")], [zero]), opset_imports=[h.make_opsetid("", 17)], ir_version=8), self.dir / "if.onnx")
        return "if.onnx"


class Trace(Case):
    def check(self, model, *more):
        self.gopt("run", model, "--profile", "t.json", "--html", "p.html", "--json", "r.json", *more)
        events = self.json("t.json")
        timed = [e for e in events if e["ph"] == "X"]
        for e in timed:
            self.assertGreaterEqual(e["dur"], 0)
        for tid in {e["tid"] for e in timed}:
            around = []
            for e in sorted((e for e in timed if e["tid"] == tid), key=lambda e: (e["ts"], -e["dur"])):
                while around and around[-1] <= e["ts"]:
                    around.pop()
                self.assertTrue(not around or e["ts"] + e["dur"] <= around[-1], e)
                around.append(e["ts"] + e["dur"])
        steps = [e for e in timed if e["cat"] == "Node"]
        self.assertEqual(len(steps), self.json("r.json")["steps"])
        self.assertTrue(all(e["name"].endswith("_kernel_time") for e in steps))
        return events, steps

    def test_nests(self):
        """Events of a thread nest, nodes of a fusion add up to it, and steps to the run."""
        events, steps = self.check(DIGITS, "--threads", "2")
        run = [e for e in events if e["name"] == "model_run"]
        self.assertEqual(len(run), 1)
        self.assertLessEqual(sum(e["dur"] for e in steps), run[0]["dur"])
        parts = [e for e in events if e.get("cat") == "Part"]
        self.assertGreater(len(parts), 5)
        for step in steps:
            mine = [e for e in parts if e["ts"] >= step["ts"] and e["ts"] + e["dur"] <= step["ts"] + step["dur"] and set(e["args"]["origins"]) <= set(step["args"]["origins"])]
            if mine and "+" in step["args"]["op_name"]:
                self.assertAlmostEqual(sum(e["args"]["share"] for e in mine), 1, places=6)
                self.assertAlmostEqual(sum(e["args"]["ms"] for e in mine), step["args"]["ms"], places=6)
        names = {e["args"]["name"] for e in events if e["ph"] == "M"}
        self.assertIn("calling thread", names)
        shares = [e for e in events if e.get("cat") == "Share"]
        self.assertTrue(shares and all(e["args"]["step"] for e in shares))

    def test_branches(self):
        self.check(self.loop())

    def test_hostile(self):
        events, _ = self.check(self.hostile())
        self.assertTrue(any(e["name"].startswith("x" * 100) for e in events) or any("x" * 100 in json.dumps(e) for e in events))

    def test_onnxruntime_reads_it(self):
        from onnxruntime.transformers import profile_result_processor as reader
        _, steps = self.check(DIGITS)
        events = reader.load_profile_json(str(self.dir / "t.json"))
        reader.parse_kernel_results(events)
        nodes = reader.parse_node_results(events)
        for e in steps:
            name = e["name"].removesuffix("_kernel_time")
            line = [n for n in nodes if n.endswith("\t" + name)][0].split("\t")
            self.assertEqual(int(line[0]), e["dur"])
            self.assertEqual(line[5].strip(), "CPU")
        grouped = "\n".join(reader.group_node_results(events))
        for e in steps:
            self.assertIn(e["args"]["op_name"], grouped)
        for e in steps:
            for size in ("output_size", "parameter_size", "activation_size"):
                int(e["args"][size])
            self.assertTrue(all(len(t) == 1 for t in e["args"]["output_type_shape"]))


# What TREx takes a tensor's format for, and how many bytes an element has then.
FORMATS = {"Row major linear FP32": 4, "Row major linear FP16 format": 2, "BFloat16": 2, "Double": 8, "Row major Int8 format": 1, "Int16": 2,
           "Row major linear Int32": 4, "Row major linear Int64 format": 8, "Row major linear UInt8 format": 1, "UInt16": 2, "UInt32": 4, "UInt64": 8,
           "Row major linear BOOL": 0}
WEIGHTS = {"Int8": 1, "Half": 2, "Float": 4, "Int32": 4}


class Trex(Case):
    def check(self, model, *more):
        self.gopt("run", model, "--trex", "e.json", "--json", "r.json", *more)
        graph = self.json("e.graph.json")
        records = [r for r in self.json("e.profile.json") if len(r) in (4, 5)]
        layers, bindings = graph["Layers"], graph["Bindings"]
        self.assertTrue(layers and bindings)
        names = [l["Name"] for l in layers]
        self.assertEqual(len(set(names)), len(names))
        self.assertFalse(any(re.search(r"\[profile +[0-9]\]", n) for n in names))
        self.assertEqual([r["name"] for r in records], names)
        self.assertEqual(len(layers), self.json("r.json")["steps"])
        self.assertAlmostEqual(sum(r["percentage"] for r in records), 100, places=3)
        tensors = set()
        for l in layers:
            self.assertIsInstance(l["Metadata"], str)
            for t in l["Inputs"] + l["Outputs"]:
                self.assertIn(t["Format/Datatype"], FORMATS)
                self.assertTrue(all(isinstance(d, int) for d in t["Dimensions"]))
                tensors.add(t["Name"])
            for key in ("Weights", "Bias"):
                if key in l:
                    self.assertIn(l[key]["Type"], WEIGHTS)
                    self.assertGreater(l[key]["Count"], 0)
            if l.get("ParameterType") in ("Convolution", "Deconvolution"):
                n, c, h, w = l["Inputs"][0]["Dimensions"]
                kh, kw = l["Kernel"]
                for key in ("Groups", "OutMaps", "Stride", "HasBias", "HasReLU", "Activation", "Dilation"):
                    self.assertIn(key, l)
                self.assertEqual(l["Weights"]["Count"], c * l["OutMaps"] * kh * kw // l["Groups"])
        self.assertTrue(set(bindings) & tensors)
        return layers

    def test_digits(self):
        kinds = [l.get("ParameterType", l["LayerType"]) for l in self.check(DIGITS)]
        self.assertIn("Convolution", kinds)
        self.assertIn("SoftMax", kinds)

    def test_others(self):
        self.check(self.hostile())
        self.check(self.loop())

    def test_reference(self):
        """A run without a plan has no layers: said, not written."""
        p = subprocess.run([GOPT, "run", str(DIGITS), "--level", "0", "--trex", "none"], cwd=self.dir, capture_output=True, text=True)
        self.assertEqual(p.returncode, 2)
        self.assertFalse((self.dir / "none.graph.json").exists())


class Explorer(Case):
    def load(self, name):
        import dacite
        from model_explorer import graph_builder
        self.collection = dacite.from_dict(graph_builder.GraphCollection, self.json(name), config=dacite.Config(strict=True))
        graphs = {g.id: g for g in self.collection.graphs}
        self.assertEqual(len(graphs), len(self.collection.graphs))
        for g in graphs.values():
            ids = [n.id for n in g.nodes]
            self.assertEqual(len(ids), len(set(ids)))
            self.assertTrue(all(ids))
            outputs = {(n.id, m.id) for n in g.nodes for m in n.outputsMetadata}
            for n in g.nodes:
                self.assertTrue(n.label)
                self.assertNotIn("//", n.namespace)
                for e in n.incomingEdges:
                    self.assertIn((e.sourceNodeId, e.sourceNodeOutputId), outputs)
                for s in n.subgraphIds:
                    self.assertIn(s, graphs)
        return graphs

    def load_data(self, name, graphs):
        import dacite
        from model_explorer import node_data_builder as nd
        found = 0
        for graph, data in self.json(name).items():
            loaded = dacite.from_dict(nd.GraphNodeData, data, config=dacite.Config(strict=True, type_hooks={float: float}))
            ids = {n.id for n in graphs[graph].nodes}
            self.assertLessEqual(set(loaded.results), ids)
            self.assertTrue(all(math.isfinite(r.value) for r in loaded.results.values()))
            found += len(loaded.results)
        return found

    def check_sync(self, name, graphs):
        sync = self.json(name)
        self.assertEqual(sync["type"], "sync_navigation")
        for side, key in (("before", "leftNodeIds"), ("after", "rightNodeIds")):
            ids = {n.id for g in graphs.values() if g.id.split("/")[0] == side for n in g.nodes}
            listed = [i for e in sync["mappingEntries"] for i in e[key]]
            self.assertEqual(len(listed), len(set(listed)))
            self.assertLessEqual(set(listed), ids)
            self.assertTrue(all(e[key] for e in sync["mappingEntries"]))
        return sync["mappingEntries"]

    def test_optimize(self):
        self.gopt("optimize", DIGITS, "--model-explorer", "d.json", "--json", "o.json")
        graphs = self.load("d.json")
        facts = self.json("o.json")
        for side, count in (("before", facts["nodes_before"]), ("after", facts["nodes_after"])):
            self.assertEqual(sum(not n.id.startswith("[io]") for n in graphs[side].nodes), count)
        entries = self.check_sync("d.sync.json", graphs)
        folded = [e for e in entries if "/stem/norm" in e["leftNodeIds"]]
        self.assertEqual(folded, [{"leftNodeIds": ["/stem/conv", "/stem/norm"], "rightNodeIds": ["/stem/conv"]}])
        for metric in ("flops", "bytes", "weights"):
            self.assertGreater(self.load_data(f"d.{metric}.json", graphs), 0)
        self.assertFalse((self.dir / "d.time.json").exists())
        fused = [n for n in graphs["after"].nodes if "fused conv" in n.namespace]
        self.assertGreater(len(fused), 3)

    def test_run(self):
        """Time in the node data is that of the steps, on both sides."""
        self.gopt("run", DIGITS, "--model-explorer", "r.json", "--trex", "r")
        graphs = self.load("r.json")
        self.check_sync("r.sync.json", graphs)
        whole = sum(r["medianMs"] for r in self.json("r.profile.json") if "medianMs" in r)
        data = self.json("r.time.json")
        for side in ("before", "after"):
            self.assertAlmostEqual(sum(r["value"] for r in data[side]["results"].values()), whole, places=6)
        for metric in ("time", "moved", "flops", "bytes", "weights"):
            self.load_data(f"r.{metric}.json", graphs)

    def test_inspect(self):
        self.gopt("inspect", DIGITS, "--model-explorer", "i")
        self.assertEqual(set(self.load("i.json")), {"model"})
        self.assertFalse((self.dir / "i.sync.json").exists())

    def test_branches(self):
        self.gopt("inspect", self.loop(), "--model-explorer", "b")
        graphs = self.load("b.json")
        self.assertEqual(set(graphs), {"model", "model//if/then_branch", "model//if/else_branch"})
        self.assertEqual(len(graphs["model//if/else_branch"].nodes), 4)     # what it captures, two nodes, its result

    def test_linear(self):
        """Four times the nodes take no more than ten times as long, also where thousands wish for one id."""
        import networks, resource
        seconds = {}
        for n in (4000, 16000):
            (self.dir / "many.onnx").write_bytes(networks.KINDS["branches"](n))
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            self.gopt("inspect", "many.onnx", "--model-explorer", "many", "-q")
            seconds[n] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        self.assertLess(seconds[16000], 10 * seconds[4000] + 0.2)

    def test_hostile(self):
        self.gopt("run", self.hostile(), "--model-explorer", "h")
        graphs = self.load("h.json")
        self.check_sync("h.sync.json", graphs)
        self.load_data("h.time.json", graphs)
        self.assertTrue(any("</script>" in n.id for n in graphs["before"].nodes))


class Meta(Case):
    def annotated(self, model):
        self.gopt("optimize", model, "-o", "out.onnx")
        m = onnx.load(str(self.dir / "out.onnx"))
        onnx.checker.check_model(m, full_check=True)
        return [(n, {p.key: p.value for p in n.metadata_props}) for n in m.graph.node]

    def test_digits(self):
        nodes = self.annotated(DIGITS)
        self.assertTrue(all("gopt.origin" in p for n, p in nodes if n.op_type != "Constant"))
        folded = [p for n, p in nodes if p.get("gopt.origin") == "/stem/conv, /stem/norm"]
        self.assertEqual(len(folded), 1)
        self.assertEqual(folded[0]["gopt.pass"], "conv_batchnorm_fold")
        self.assertEqual(folded[0]["namespace"], "stem/conv: Conv")
        loaded = [p for n, p in nodes if p.get("gopt.origin") == "/block/relu2"]
        self.assertNotIn("gopt.pass", loaded[0])
        merged = [p for n, p in nodes if p.get("gopt.pass") == "fuse-horizontal"]
        self.assertTrue(merged)

    def test_again(self):
        """A second time through changes nothing that a node says of itself."""
        first = self.annotated(DIGITS)
        (self.dir / "out.onnx").rename(self.dir / "once.onnx")
        second = self.annotated("once.onnx")
        self.assertEqual([p for _, p in first], [p for _, p in second])

    def test_hostile(self):
        self.assertTrue(self.annotated(self.hostile()))


def main():
    suite = unittest.TestSuite()
    for name, cls in list(globals().items()):
        if isinstance(cls, type) and issubclass(cls, Case) and cls is not Case and CASE in (name, "all"):
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(cls))
    return 0 if unittest.TextTestRunner(verbosity=1).run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
