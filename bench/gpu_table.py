"""What bench/gpu.py prints of what it measured: nothing here runs or times anything.

  report({"card", "pytorch", "rows": [{"network", "batch", "precision", "torch": {"eager", "graph", "folded", "compile",
          "error", "top1"}, "gopt": {"runs", "error", "top1"} or {"refused"}, "no-fuse": like gopt, "profile": gopt's trace}]})

A run is {"compute": {"min", "median", "p90"}, "whole": …} of one process, in ms. What was not measured is left out.
"""
import statistics

# What gopt is to reach in fp16 on an H200, ms from launch to finish.
TARGET_CARD = "H200"
TARGETS = {("resnet50", 1): 0.26, ("resnet50", 64): 2.4, ("resnet18", 1): 0.12, ("resnet18", 64): 0.9,
           ("mobilenet_v2", 1): 0.22, ("mobilenet_v2", 64): 1.6, ("squeezenet1_1", 1): 0.14, ("squeezenet1_1", 64): 1.1,
           ("bert", 1): 0.6, ("bert", 8): 1.3}

COLUMNS = ("eager", "graph", "folded", "compile", "gopt", "whole", "no-fuse", "x graph", "x eager", "error", "torch", "top-1", "torch-1")


def median_of(times, what="compute"):
    """Of the processes' medians; None where there are none."""
    runs = (times or {}).get("runs")
    return statistics.median(r[what]["median"] for r in runs) if runs else None


def number(x, form):
    return "-" if x is None else format(x, form)


def ratio(a, b):
    return a / b if a and b else None


# ---- the times, and what they are against the targets ----

def head():
    return f"{'network':15}{'batch':>6}{'':>6}" + "".join(f"{c:>9}" for c in COLUMNS) + "  target"


def target_of(row, card):
    """"0.26 reached", "0.26 missed, 1.42 times", the target alone on another card, "" where there is none."""
    target, ms = TARGETS.get((row["network"], row["batch"])), median_of(row["gopt"])
    if target is None or row["precision"] != "fp16":
        return ""
    if ms is None or TARGET_CARD not in card:
        return f"{target:g} (of an {TARGET_CARD})"
    return f"{target:g} reached" if ms <= target else f"{target:g} missed, {ms / target:.2f} times"


def times_of(rows, card):
    """A line a row; of one that gopt refuses, why."""
    lines = []
    for r in rows:
        t, g = r["torch"], r["gopt"]
        ms, plain = median_of(g), median_of(r.get("no-fuse"))
        lead = f"{r['network']:15}{r['batch']:>6}{r['precision']:>6}"
        torch = "".join(f"{number(t.get(k), '.3f'):>9}" for k in COLUMNS[:4])
        if "refused" in g:
            lines.append(f"{lead}{torch}  refused: {g['refused']}")
            continue
        best = min((t[k] for k in ("graph", "folded") if k in t), default=None)
        cells = [number(ms, ".3f"), number(median_of(g, "whole"), ".3f"), number(plain, ".3f"), number(ratio(best, ms), ".2f"),
                 number(ratio(t.get("eager"), ms), ".2f"), number(g.get("error"), ".1e"), number(t.get("error"), ".1e"),
                 number(g.get("top1"), ".3f"), number(t.get("top1"), ".3f")]
        lines.append((lead + torch + "".join(f"{c:>9}" for c in cells) + "  " + target_of(r, card)).rstrip())
    return lines


def fusion_of(rows):
    """What fusions are worth, where that was measured."""
    lines = []
    for r in rows:
        ms, plain = median_of(r["gopt"]), median_of(r.get("no-fuse"))
        if plain:
            lines.append(f"{r['network']} batch {r['batch']} {r['precision']}: {plain:.3f} ms without fusions, {plain / ms:.2f} times {ms:.3f}")
        elif "refused" in r.get("no-fuse", {}):
            lines.append(f"{r['network']} batch {r['batch']} {r['precision']} without fusions: refused: {r['no-fuse']['refused']}")
    return lines


# ---- how they vary ----

def spread_of(rows):
    """Each process's least, median and p90, and how far apart the medians are."""
    lines = []
    for r in rows:
        for what, times in (("", r["gopt"]), (" --no-fuse", r.get("no-fuse"))):
            runs = [p["compute"] for p in (times or {}).get("runs", [])]
            if not runs:
                continue
            medians = [p["median"] for p in runs]
            each = "   ".join(f"{p['min']:.3f} {p['median']:.3f} {p['p90']:.3f}" for p in runs)
            apart = f"{100 * (max(medians) / min(medians) - 1):.0f}% apart" if len(runs) > 1 and min(medians) > 0 else ""
            lines.append(f"{r['network']:15}{r['batch']:>6}{r['precision']:>6}{what:10}  {each}   {apart}".rstrip())
    return lines


# ---- floors ----

def steps_of(trace):
    """Steps of gopt's trace that the device ran: their args, each with what it loses against its floor."""
    return [{**e["args"], "name": e["name"].removesuffix("_kernel_time"), "loses": e["args"]["median_ms"] - e["args"]["floor_ms"]}
            for e in trace if e.get("cat") == "Node" and e["args"].get("floor_ms", 0) > 0]


def floors_of(row, worst):
    """The steps against their floors in all, then those that lose most."""
    trace = row.get("profile")
    if not trace:
        return []
    steps, run = steps_of(trace), next(e["args"] for e in trace if e["name"] == "model_run")
    top = run.get("ceilings")
    if not steps or not top:
        return [f"{row['network']} batch {row['batch']} {row['precision']}: the device's ceilings are not known"]
    took, floor = sum(s["median_ms"] for s in steps), sum(s["floor_ms"] for s in steps)
    lines = [f"{row['network']} batch {row['batch']} {row['precision']}: {len(steps)} steps take {took:.4f} ms by the device's clock, at least {floor:.4f}: "
             f"{100 * floor / took:.0f}%; {top['gflops']:.4g} Gop/s, {top['memory_gbytes']:.0f} GB/s from memory, {top['cache_gbytes']:.0f} from the cache, "
             f"{1e3 * top['launch_ms']:.1f} µs a launch",
             f"  {'loses ms':>9}{'of ms':>9}{'of floor':>9}  {'tactic':20}{'operators':40} name"]
    for s in sorted(steps, key=lambda s: -s["loses"])[:worst]:
        share = f"{100 * s['floor_ms'] / s['median_ms']:.0f}%" if s["median_ms"] > 0 else ""
        lines.append(f"  {s['loses']:9.4f}{s['median_ms']:9.4f}{share:>9}  {s['tactic'][:19]:20}{s['op_name'][:39]:40} {s['name']}")
    return lines


# ---- all ----

def summary_of(rows, card):
    """How many targets are reached."""
    if TARGET_CARD not in card:
        return f"targets are those of an {TARGET_CARD}: not judged on this card"
    judged = [target_of(r, card) for r in rows]
    reached, missed = sum("reached" in t for t in judged), sum("missed" in t for t in judged)
    return f"{reached} of {reached + missed} targets reached" if reached + missed else "no target was measured"


def report(found, worst=10):
    rows, card = found["rows"], found["card"]
    failed = [f"{r['network']} batch {r['batch']} {r['precision']}: torch.compile: {r['torch']['compile failed']}" for r in rows if "compile failed" in r["torch"]]
    parts = [[f"{card}, PyTorch {found['pytorch']}; ms, medians"], [head(), *times_of(rows, card), summary_of(rows, card), *failed], fusion_of(rows),
             ["gopt, one process after another, each: least, median, p90", *spread_of(rows)], *(floors_of(r, worst) for r in rows)]
    return "\n\n".join("\n".join(p) for p in parts if p)
