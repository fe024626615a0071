/* What a run took: steps, the nodes that each stands for, and the page that shows it. */

class Run {
  constructor(model) {
    const j = model.json.run;
    this.model = model;
    this.j = j;
    this.steps = j.steps.map((s, i) => ({ ...s, i, tactics: s.tactics || [] }));
    this.buffers = j.buffers;
    this.total = this.steps.reduce((a, s) => a + s.ms, 0);
    this.latency = j.latency_ms.median;
    this.byStage = new Map();
    const fast = this.steps.filter(s => s.ms > 0);
    const best = f => fast.reduce((a, s) => Math.max(a, f(s)), 0);
    this.peakOps = Math.max(j.ceilings.ops, best(s => s.gflop / s.ms * 1e12));
    this.peakBytes = j.ceilings.bytes || best(s => s.bytes / s.ms * 1e3);
  }

  /* Which nodes of a stage a step stands for: those that share its origins. A node goes to the step that it shares most
   * with; a step that none went to takes those that fit it best. */
  assign(k) {
    let a = this.byStage.get(k);
    if (a) return a;
    a = { steps: new Map(), nodes: this.steps.map(() => []) };
    const index = this.model.byOrigin(k), sets = this.steps.map(s => new Set(s.origins)), best = new Map();
    const fit = (rec, i) => {
      let both = 0;
      for (const o of rec.origins) if (sets[i].has(o)) both++;
      return both / (rec.origins.length + sets[i].size - both) + both / Math.max(1, rec.origins.length) + (rec.name && rec.name === this.steps[i].name ? 1 : 0);
    };
    const candidates = this.steps.map((s, i) => {
      const recs = new Set();
      for (const o of sets[i]) for (const r of index.get(o) || []) if (!r.fusion && !r.port) recs.add(r);
      return [...recs];
    });
    candidates.forEach((recs, i) => {
      for (const r of recs) {
        const f = fit(r, i), old = best.get(r);
        if (!old || f > old[0]) best.set(r, [f, i]);
      }
    });
    for (const [r, [, i]] of best) a.nodes[i].push(r);
    candidates.forEach((recs, i) => {
      if (!a.nodes[i].length && recs.length) a.nodes[i] = [recs.reduce((x, r) => (fit(r, i) > fit(x, i) ? r : x))];
    });
    a.nodes.forEach((recs, i) => {
      for (const r of recs) {
        if (a.steps.has(r)) a.steps.get(r).push(this.steps[i]);
        else a.steps.set(r, [this.steps[i]]);
      }
    });
    a.weights = a.nodes.map(recs => this.weigh(recs, k));
    this.byStage.set(k, a);
    return a;
  }

  /* Shares of a step among its nodes: by operations, or by elements where nothing is counted. */
  weigh(recs, k) {
    const work = recs.map(r => r.work);
    const sum = work.reduce((x, y) => x + y, 0);
    const size = sum > 0 ? work : recs.map(r => r.outs.reduce((x, v) => x + typeBytes(this.model.typeAt(v, k)), 0) || 1);
    const all = size.reduce((x, y) => x + y, 0) || 1;
    return new Map(recs.map((r, i) => [r, size[i] / all]));
  }

  nodesOf(step, k) { return this.assign(k === undefined ? this.model.last : k).nodes[step.i]; }

  stepsOf(rec, k) {
    if (!rec.fusion) return this.assign(k).steps.get(rec) || [];
    const out = new Set();
    for (const n of this.model.graph(k).inside.get(rec.id) || []) for (const s of this.stepsOf(n, k)) out.add(s);
    return [...out];
  }

  shareOf(rec, step, k) {
    const stage = k === undefined ? this.model.last : k;
    return this.assign(stage).weights[step.i].get(rec) || 0;
  }

  timeOf(rec, k) {
    if (rec.fusion) {
      const inside = this.model.graph(k).inside.get(rec.id) || [];
      return inside.reduce((a, n) => a + this.timeOf(n, k), 0);
    }
    return (this.assign(k).steps.get(rec) || []).reduce((a, s) => a + s.ms * this.shareOf(rec, s, k), 0);
  }

  /* The step as rows of name and text. */
  rows(s, model, rec) {
    const rows = [["time", msText(s.ms) + ", " + percent(s.ms / (this.total || 1))]];
    const share = rec && !rec.fusion ? this.shareOf(rec, s, this.model.last) : 0;
    if (share > 0 && share < 0.9995) rows.push(["of it, this node", msText(s.ms * share)]);
    rows.push(["backend", s.backend], ["tactic", s.tactic || ""]);
    if (s.gflop) rows.push(["operations", opsText(s.gflop * 1e9)]);
    if (s.gflop && s.ms > 0) rows.push(["rate", opsText(s.gflop / s.ms * 1e12) + "/s"]);
    if (s.bytes) rows.push(["read and written", bytesText(s.bytes)]);
    if (s.bytes && s.ms > 0) rows.push(["bytes a second", bytesText(s.bytes / s.ms * 1e3) + "/s"]);
    if (s.floor_ms > 0) rows.push(["at least", msText(s.floor_ms) + (s.ms > 0 ? ", " + percent(s.floor_ms / s.ms) + " of its time" : "")]);
    if (s.reason) rows.push(["placed there because", clip(s.reason, 300)]);
    if (s.region) rows.push(["region fell apart", clip(s.region, 300)]);
    return rows;
  }

  kindOf(step) {
    const recs = this.nodesOf(step);
    let best = -2, rank = 99;
    const order = [0, 1, 2, 4, 6, 3, 7, 8, 5, 10];
    for (const r of recs) if (order.indexOf(r.kind) >= 0 && order.indexOf(r.kind) < rank) {
      rank = order.indexOf(r.kind);
      best = r.kind;
    }
    return best < 0 ? 5 : best;
  }
}

const THIN = 0.4;  /* of the flame's width of 1200 */

class TimeTab {
  constructor(report, holder) {
    this.report = report;
    this.run = report.models[0].run;
    this.holder = holder;
    this.draw();
  }

  recolor() { this.draw(); }

  draw() {
    const { run, holder } = this, j = run.j, l = j.latency_ms, runs = this.report.models.map(m => m.run);
    clear(holder);
    if (runs.length > 1 && runs.every(r => r)) this.sides(runs);
    holder.append(el("div", { class: "page-head" }, el("h1", {}, "Where time goes" + (runs.length > 1 ? ", " + clip(tail(run.model.title), 40) : "")), el("p", { class: "dim name" },
      clip(j.backend + (j.device ? " (" + j.device + ")" : ""), 120) + ", " + j.precision + ", " + plural(j.threads, "thread") + "; " + plural(run.steps.length, "step") + ", built in " + msText(j.build_ms)),
      el("div", { class: "cards wide" }, card(msText(l.median), "latency, median"), card(msText(l.min), "fastest run"), card(msText(l.p99), "99th percentile"),
        card(digits(j.wall_s > 0 ? j.iterations / j.wall_s : 0), "runs a second"), card(msText(run.total), "steps in all, profiled"),
        j.device_clock ? card(msText(j.rest_ms), "launching each, and waiting") : null, card(bytesText(j.activation_bytes), "activations"))));
    this.block("Steps in the order in which they run", "Width is time; above, the modules; below, the original nodes in each step. Click one to see it in the graph.", this.flame());
    if ((j.threads_did || []).length) this.block("What the threads did", "One run as it was, each thread a row; white is waiting, or work of the calling thread alone.", this.threads());
    const two = el("div", { class: "two-columns" });
    two.append(this.plain("By tactic", this.groups(s => s.tactic || "?")), this.plain("By operators", this.groups(s => s.op)));
    holder.append(el("section", { class: "block" }, two));
    this.block("Roofline", "Work for each byte moved against speed; the roof is what this " + (j.ceilings.device ? "device reached on multiply-adds from registers and on a copy" : "machine reached on a product and on a pass over memory") +
      (j.ceilings.ops ? "." : " (taken from the fastest steps)."), this.roofline());
    const worth = report => report.models[0].json.worth || [];
    if (worth(this.report).length) this.block("What fusion is worth", "The network timed again with these regions taken apart, alternating with the whole; \u00b1 two deviations.", this.worth(worth(this.report)));
    if (j.series.length > 3) this.block("Latency of " + plural(j.iterations, "run"), "How they spread, and one after the other.", this.latency());
    this.block("Every step", "Click a head to sort, a row to see it in the graph.", this.table());
  }

  /* Two runs: what each took in all, then by operators, with what the second takes more. */
  sides(runs) {
    const names = runs.map(r => clip(tail(r.model.title), 30)), [a, b] = runs;
    const row = (what, f, text) => [what, { v: f(a), t: text(f(a)) }, { v: f(b), t: text(f(b)) }, f(a) > 0 ? { v: f(b) / f(a), t: digits(f(b) / f(a)) } : { v: 0, t: "" }];
    const sums = new Map();
    runs.forEach((r, side) => r.steps.forEach(s => {
      const g = sums.get(s.op) || { ms: [0, 0], n: [0, 0] };
      g.ms[side] += s.ms;
      g.n[side]++;
      sums.set(s.op, g);
    }));
    const ops = [...sums.entries()].sort((x, y) => Math.abs(y[1].ms[1] - y[1].ms[0]) - Math.abs(x[1].ms[1] - x[1].ms[0]));
    const signed = v => (v > 0 ? "+" : v < 0 ? "\u2212" : "") + msText(Math.abs(v));
    this.holder.append(el("div", { class: "page-head", id: "sides" }, el("h1", {}, names.join(" and "))));
    this.block("Both runs", "Medians of " + plural(a.j.iterations, "run") + " one after the other; gopt compare --budget takes turns instead.", sortable(["", ...names, "second / first"], [
      row("latency, median", r => r.latency, msText), row("fastest run", r => r.j.latency_ms.min, msText), row("steps", r => r.steps.length, countText),
      row("steps in all, profiled", r => r.total, msText), row("activations", r => r.j.activation_bytes, bytesText), row("weights as packed", r => r.j.weight_bytes, bytesText)]));
    this.block("By operators", "What differs most comes first.", sortable(["operators", names[0], names[1], "steps", "difference"], ops.map(([op, g]) => [clip(op, 46), { v: g.ms[0], t: g.n[0] ? msText(g.ms[0]) : "" },
      { v: g.ms[1], t: g.n[1] ? msText(g.ms[1]) : "" }, g.n.join(" \u2192 "), { v: g.ms[1] - g.ms[0], t: signed(g.ms[1] - g.ms[0]) }])));
  }

  block(title, note, ...body) {
    this.holder.append(el("section", { class: "block" }, el("h2", {}, title), el("p", { class: "dim" }, note), body));
  }

  plain(title, body) { return el("div", {}, el("h2", {}, title), body); }

  /* Rows of segments: up to three levels of modules, the steps, the original nodes. */
  flame() {
    const { run } = this, W = 1200, H = 19, segs = [];
    const paths = run.steps.map(s => {
      const recs = run.nodesOf(s);
      return recs.length ? scopePath(recs[0]) : [];
    });
    let shared = 0;
    while (paths.length > 1 && paths.every(p => p.length > shared + 1 && p[shared] === paths[0][shared]) ) shared++;
    const levels = Math.min(3, Math.max(0, ...paths.map(p => p.length - shared)));
    const x0 = [];
    let at = 0;
    for (const s of run.steps) {
      x0.push(at);
      at += s.ms;
    }
    const scale = W / Math.max(at, 1e-9);
    for (let level = 0; level < levels; level++)
      for (let i = 0, to; i < run.steps.length; i = to) {
        const part = p => p.slice(0, shared + level + 1).join("/");
        const name = paths[i][shared + level];
        for (to = i + 1; to < run.steps.length && part(paths[to]) === part(paths[i]) && paths[to].length > shared + level === paths[i].length > shared + level;) to++;
        if (name) {
          const end = to < run.steps.length ? x0[to] : at;
          segs.push({ x: x0[i] * scale, w: (end - x0[i]) * scale, row: level, text: name, title: part(paths[i]) + "\n" + msText(end - x0[i]) + ", " + percent((end - x0[i]) / at), color: wordless(level) });
        }
      }
    run.steps.forEach((s, i) => {
      segs.push({ x: x0[i] * scale, w: s.ms * scale, row: levels, text: s.op, title: s.op + "\n" + s.name + "\n" + s.tactic + ", " + msText(s.ms) + ", " + percent(s.ms / (at || 1)), color: kindColors(run.kindOf(s)), step: s });
      let x = x0[i];
      const a = run.assign(0), share = a.weights[i];
      for (const r of a.nodes[i]) {
        const part = s.ms * (share.get(r) || 0);
        segs.push({ x: x * scale, w: part * scale, row: levels + 1, text: r.op, title: r.op + "\n" + nameOf(r, run.model) + "\n" + msText(part) + " of this step's " + msText(s.ms), color: kindColors(r.kind), rec: r });
        x += part;
      }
    });
    const h = (levels + 2) * (H + 2);
    return el("div", { class: "chart-box" }, svg("svg", { class: "flame", viewBox: `0 0 ${W} ${h}`, role: "img", "aria-label": "steps by time" },
      mergeThin(segs).map(s => svg("g", { class: s.step || s.rec ? "seg" : "", onclick: s.step ? () => this.report.goToStep(s.step) : s.rec ? () => this.report.goTo(s.rec, 0) : null },
        svg("title", {}, clip(s.title.replace(/\n/g, "  |  "), 300)),
        svg("rect", { x: s.x.toFixed(2), y: s.row * (H + 2), width: Math.max(0.4, s.w - 0.6).toFixed(2), height: H, rx: 2, fill: s.color.fill, stroke: s.color.line, "stroke-width": 0.7 }),
        s.w > 24 ? svg("text", { x: (s.x + 4).toFixed(2), y: s.row * (H + 2) + 13, fill: s.color.text }, fitting(s.text, Math.floor((s.w - 7) / 6.1))) : null))));
  }

  /* One run: what each thread did, in the colour of the step. */
  threads() {
    const { run } = this, j = run.j, W = 1200, L = 100, H = 17, segs = [];
    const ran = run.steps.filter(s => s.whole_ms > 0), rows = 1 + j.threads_did.reduce((a, t) => Math.max(a, t[0]), 0);
    const end = Math.max(j.run_ms, 1e-9), X = ms => L + ms / end * (W - L), busy = new Float64Array(rows);
    const stepAt = ms => {
      let low = 0, high = ran.length;
      while (low < high) {
        const mid = (low + high) >> 1;
        if (ran[mid].start_ms <= ms) low = mid + 1;
        else high = mid;
      }
      for (let i = low - 1; i >= 0; i--) if (ms < ran[i].start_ms + ran[i].whole_ms) return ran[i];
      return null;
    };
    for (const [thread, start, ms] of [...j.threads_did].sort((a, b) => a[1] - b[1])) {
      const step = stepAt(start);
      busy[thread] += ms;
      segs.push({ x: X(start), w: ms / end * (W - L), row: thread, title: (step ? step.op + " | " + step.name + " | " : "") + msText(ms), color: kindColors(step ? run.kindOf(step) : 5), step });
    }
    const labels = Array.from(busy, (ms, t) => svg("text", { x: L - 6, y: t * (H + 3) + 12, class: "axis", "text-anchor": "end" }, (t ? "worker " + t : "caller") + " " + percent(ms / end)));
    return el("div", { class: "chart-box" }, svg("svg", { class: "flame threads", viewBox: `0 0 ${W} ${rows * (H + 3) + 14}`, role: "img", "aria-label": "what the threads did" }, labels,
      mergeThin(segs).map(s => svg("g", { class: s.step ? "seg" : "", onclick: s.step ? () => this.report.goToStep(s.step) : null }, svg("title", {}, clip(s.title, 300)),
        svg("rect", { x: s.x.toFixed(2), y: s.row * (H + 3), width: Math.max(0.5, s.w).toFixed(2), height: H, fill: s.color.fill, stroke: s.color.line, "stroke-width": 0.5 }))),
      svg("text", { x: L, y: rows * (H + 3) + 11, class: "axis" }, "0"), svg("text", { x: W, y: rows * (H + 3) + 11, class: "axis", "text-anchor": "end" }, msText(end))));
  }

  groups(key) {
    const sums = new Map();
    for (const s of this.run.steps) {
      const g = sums.get(key(s)) || { ms: 0, n: 0 };
      g.ms += s.ms;
      g.n++;
      sums.set(key(s), g);
    }
    const list = [...sums.entries()].sort((a, b) => b[1].ms - a[1].ms), most = list.length ? list[0][1].ms : 1;
    return el("div", {}, list.slice(0, 12).map(([name, g]) => el("div", { class: "d-bar wide" }, el("span", { class: "name" }, clip(name, 46) + (g.n > 1 ? "  " + g.n + "\u00d7" : "")), el("span", { class: "bar" }, barOf(g.ms / most)), el("span", { class: "num" }, msText(g.ms)))),
      list.length > 12 ? el("div", { class: "dim small" }, "and " + (list.length - 12) + " more: " + msText(list.slice(12).reduce((a, x) => a + x[1].ms, 0))) : null);
  }

  worth(list) {
    const most = Math.max(1e-9, ...list.map(w => Math.abs(w.ms)));
    return el("div", { class: "worth" }, list.map(w => {
      const clear = Math.abs(w.ms) > w.spread_ms;
      return el("div", { class: "d-bar wide" + (clear ? "" : " dim") }, el("span", { class: "name" }, (w.fusion === "all" ? "all fusions" : clip(w.fusion, 60)) + "  " + countText(w.places) + "\u00d7"),
        el("span", { class: "bar" }, barOf(w.ms > 0 ? w.ms / most : 0, clear ? "is" : "was")),
        el("span", { class: "num" }, (w.ms < 0 ? "\u2212" : "") + msText(Math.abs(w.ms)) + " \u00b1 " + msText(w.spread_ms) + (w.bytes > 0 ? ", " + bytesText(w.bytes) + " less moved" : "") + (clear ? "" : ", no more than the noise")));
    }));
  }

  roofline() {
    const { run } = this, W = 1100, H = 360, L = 62, B = 36, pts = run.steps.filter(s => s.gflop > 0 && s.bytes > 0 && s.ms > 0);
    if (!pts.length || !run.peakOps) return el("p", { class: "dim" }, "No step says how many operations it does.");
    const xs = pts.map(s => s.gflop * 1e9 / s.bytes), ys = pts.map(s => s.gflop / s.ms * 1e12);
    const lo = Math.log10(Math.min(0.1, ...xs)) - 0.1, hi = Math.log10(Math.max(100, ...xs)) + 0.2;
    const bottom = Math.log10(Math.max(1e6, Math.min(...ys))) - 0.2, top = Math.log10(run.peakOps) + 0.25;
    const X = v => L + (Math.log10(v) - lo) / (hi - lo) * (W - L - 12), Y = v => H - B - (Math.log10(v) - bottom) / (top - bottom) * (H - B - 12);
    const ridge = run.peakOps / (run.peakBytes || 1), out = [];
    for (let d = Math.ceil(lo); d <= hi; d++) out.push(svg("line", { x1: X(10 ** d), x2: X(10 ** d), y1: 10, y2: H - B, class: "grid" }), svg("text", { x: X(10 ** d), y: H - B + 15, class: "axis", "text-anchor": "middle" }, digits(10 ** d)));
    for (let d = Math.ceil(bottom); d <= top; d++) out.push(svg("line", { x1: L, x2: W - 12, y1: Y(10 ** d), y2: Y(10 ** d), class: "grid" }), svg("text", { x: L - 6, y: Y(10 ** d) + 4, class: "axis", "text-anchor": "end" }, opsText(10 ** d) + "/s"));
    const left = Math.max(10 ** lo, 10 ** bottom / (run.peakBytes || 1));
    out.push(svg("polyline", { points: [[left, left * run.peakBytes], [ridge, run.peakOps], [10 ** hi, run.peakOps]].map(([a, b]) => X(a).toFixed(1) + "," + Y(b).toFixed(1)).join(" "), class: "roof" }),
      svg("text", { x: W - 16, y: Y(run.peakOps) - 6, class: "axis", "text-anchor": "end" }, opsText(run.peakOps) + "/s"),
      svg("text", { x: X(Math.sqrt(left * ridge)) - 8, y: Y(Math.sqrt(left * ridge) * run.peakBytes) - 6, class: "axis", "text-anchor": "end" }, bytesText(run.peakBytes) + "/s"),
      svg("text", { x: (L + W) / 2, y: H - 4, class: "axis", "text-anchor": "middle" }, "operations for each byte read or written"));
    const most = Math.max(...pts.map(s => s.ms));
    pts.forEach((s, i) => {
      const c = kindColors(run.kindOf(s));
      out.push(svg("circle", { cx: X(xs[i]).toFixed(1), cy: Y(Math.max(10 ** bottom, ys[i])).toFixed(1), r: (3 + 9 * Math.sqrt(s.ms / most)).toFixed(1), fill: c.fill, stroke: c.line, "fill-opacity": 0.8, class: "seg", onclick: () => this.report.goToStep(s) },
        svg("title", {}, clip(s.op + "  " + s.name + "  |  " + msText(s.ms) + "  |  " + opsText(ys[i]) + "/s  |  " + digits(xs[i]) + " op/byte", 300))));
    });
    return svg("svg", { class: "chart big", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "roofline" }, out);
  }

  latency() {
    const series = this.run.j.series, W = 560, H = 130, sorted = [...series].sort((a, b) => a - b), bins = new Array(40).fill(0);
    const lo = sorted[0], hi = Math.max(sorted[Math.floor((sorted.length - 1) * 0.995)], lo * 1.0001);
    for (const v of series) bins[Math.max(0, Math.min(39, Math.floor((v - lo) / (hi - lo) * 40)))]++;
    const line = series.map((v, i) => (i / Math.max(1, series.length - 1) * (W - 4) + 2).toFixed(1) + "," + (H - 4 - Math.min(1, v / (hi * 1.05)) * (H - 12)).toFixed(1)).join(" ");
    return el("div", { class: "two-columns" }, el("div", {}, histogram(bins, lo, hi, W, H), el("div", { class: "dim small" }, "milliseconds; the last bar holds all that took longer")),
      el("div", {}, svg("svg", { class: "chart", viewBox: `0 0 ${W} ${H + 14}`, role: "img", "aria-label": "latency over time" }, svg("polyline", { points: line, class: "line" }), svg("text", { x: 0, y: H + 12, class: "axis" }, "first run"),
        svg("text", { x: W, y: H + 12, class: "axis", "text-anchor": "end" }, "last; the scale begins at zero")), null));
  }

  table() {
    const { run } = this;
    const floors = run.steps.some(s => s.floor_ms > 0), floor = s => (s.ms > 0 && s.floor_ms > 0 ? { v: s.floor_ms / s.ms, t: percent(s.floor_ms / s.ms) } : { v: 0, t: "" });
    return sortable(["#", "operators", "name", "tactic", "time", "share", ...(floors ? ["of floor"] : []), "op/s", "bytes/s", "work", "bytes"], run.steps.map(s => [s.i, clip(s.op, 46), clip(s.name, 60), clip(s.tactic + (s.reason ? " (" + s.backend + ")" : ""), 40),
      { v: s.ms, t: msText(s.ms) }, { v: s.ms, t: percent(s.ms / (run.total || 1)) }, ...(floors ? [floor(s)] : []), { v: s.ms > 0 ? s.gflop / s.ms : 0, t: s.gflop && s.ms > 0 ? opsText(s.gflop / s.ms * 1e12) : "" },
      { v: s.ms > 0 ? s.bytes / s.ms : 0, t: s.ms > 0 ? bytesText(s.bytes / s.ms * 1e3) : "" }, { v: s.gflop, t: s.gflop ? opsText(s.gflop * 1e9) : "" }, { v: s.bytes, t: bytesText(s.bytes) }]),
      i => this.report.goToStep(run.steps[i]), 4);
  }
}

/* Segments too thin to be drawn become one with their neighbours in the row. */
function mergeThin(segs) {
  const out = [], open = new Map();  /* row -> the merged segment that may still grow */
  for (const s of segs) {
    const last = open.get(s.row);
    if (s.w > THIN) {
      open.delete(s.row);
      out.push(s);
    } else if (last && Math.abs(last.x + last.w - s.x) < 0.01) {
      last.w += s.w;
      last.title = "and " + (++last.n - 1) + " more, each too short to be seen here | " + last.first;
    } else if (s.w > 0) {
      const one = { ...s, text: "", n: 1, first: s.title };
      open.set(s.row, one);
      out.push(one);
    }
  }
  return out.filter(s => s.w > THIN);
}

function wordless(level) {
  const ink = inkColors();
  return { fill: level % 2 ? ink.frame : ink.frame2, line: ink.frameLine, text: ink.dim };
}
