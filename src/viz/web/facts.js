/* The model in figures: passes with their times, inputs and outputs, weights, what nothing can run. */

class Facts {
  constructor(report, holder) {
    this.report = report;
    this.holder = clear(holder);
    const m = report.models[0], j = m.json;
    holder.append(el("div", { class: "page-head" }, el("h1", {}, "Model and passes"), el("p", { class: "dim name" }, clip(m.title, 300))));
    this.budget(report.models.map(x => x.json.budget).find(b => b));
    this.lint(j.lint);
    this.unsupported(j.unsupported || []);
    this.aten(j.aten || []);
    if (m.run) this.copies(m.run.j.copies);
    if (m.run) this.placement(m.run);
    this.interface(m);
    this.passes(m);
    this.weights(m);
  }

  section(title, note, ...body) {
    this.holder.append(el("section", { class: "block" }, el("h2", {}, title), note ? el("p", { class: "dim" }, note) : null, body));
  }

  /* Of gopt compare --budget. */
  budget(b) {
    if (!b) return;
    const amount = (l, v) => v === null ? "" : l.name.endsWith("_bytes") ? bytesText(v) : l.name.endsWith("_ms") ? msText(v) : countText(v);
    const allowed = l => [l.max === null ? "" : amount(l, l.max), l.max_ratio === null ? "" : digits(l.max_ratio) + "\u00d7 the first"].filter(x => x).join(", ");
    this.section(b.passed ? "Within the budget" : "Over the budget", b.passed ? "" : clip(b.reason || "", 2000), table(["", "limit", "first", "second", "second / first", "allowed at most"],
      b.limits.map(l => [l.passed ? "ok" : "over", l.name, amount(l, l.a), amount(l, l.b), l.ratio === null ? "" : digits(l.ratio), allowed(l)])));
    if (b.fusions_lost.length) this.section("Fusions that are lost", "Those of the first that the second has not, each with the reason.", table(["fusion", "why"],
      b.fusions_lost.slice(0, 500).map(f => [clip(f.fusion, 200), clip(f.reason || "", 400)])));
  }

  /* Of gopt inspect --lint. */
  lint(l) {
    if (!l) return;
    const cost = f => f.cost === null ? { v: 0, t: "" } : { v: f.cost, t: f.unit === "bytes" ? bytesText(f.cost) : f.unit === "flops" ? opsText(f.cost) : countText(f.cost) + " " + f.unit };
    this.section("Lint", plural(l.errors, "error") + ", " + plural(l.warnings, "warning") + ", " + plural(l.notes, "note") + " by " + plural(l.rules, "rule") + ".",
      l.findings.length ? sortable(["severity", "rule", "place", "what", "cost", "what to do"], l.findings.map(f =>
        [f.severity, f.rule, clip(f.value || f.node || "the model", 80), clip(f.message, 200), cost(f), clip(f.fix, 200)])) : null);
  }

  unsupported(list) {
    if (!list.length) return;
    this.section("What nothing here can run", "Each with what to do about it.", list.slice(0, 200).map(u => el("article", { class: "why k1" },
      el("div", { class: "why-head" }, el("b", {}, clip((u.domain ? u.domain + "::" : "") + u.op + (u.aten_operator ? " " + u.aten_operator : ""), 120)), el("span", { class: "dim name" }, clip(u.node || "", 120))),
      el("div", {}, clip(u.reason || "", 600)), u.fix ? el("div", { class: "fix" }, clip(u.fix, 600)) : null)));
  }

  aten(list) {
    if (!list.length) return;
    this.section("Operators of PyTorch", "What an exporter left, and what became of it.", table(["operator", "place", "outcome", "what", "fix"], list.slice(0, 500).map(a =>
      [clip((a.operator || "") + (a.overload ? "." + a.overload : ""), 60), clip(a.node || "", 80), a.outcome || "", clip(a.what || "", 200), clip(a.fix || "", 200)])));
  }

  /* Where they take longer than computing. */
  copies(c) {
    if (!c || !c.warning) return;
    this.section("Copies to and from the device", clip(c.warning, 600), c.advice.slice(0, 20).map(a => el("article", { class: "why k1" }, el("div", { class: "fix" }, clip(a, 600)))));
  }

  /* Steps that run elsewhere than was asked, regions that no kernel took whole, and what stays in fp32, by reason. */
  placement(run) {
    const groups = new Map();
    for (const s of run.steps) for (const why of [s.reason ? "runs on " + s.backend + ": " + s.reason : null, s.region ? "a region fell apart: " + s.region : null, s.fp32 ? "stays in fp32: " + s.fp32 : null])
      if (why) groups.set(why, [...(groups.get(why) || []), s]);
    if (!groups.size) return;
    this.section("Placed elsewhere", "Steps that run otherwise than was asked, and why.", [...groups.entries()].sort((a, b) => b[1].length - a[1].length).slice(0, 100).map(([why, steps]) =>
      el("article", { class: "why k1" }, el("div", { class: "why-head" }, el("b", {}, clip(why, 400)), el("span", { class: "count" }, countText(steps.length) + "\u00d7")),
        el("div", { class: "places" }, steps.slice(0, 12).map(s => el("button", { type: "button", class: "link name", onclick: () => this.report.goToStep(s) }, clip(s.op + "  " + s.name, 80)))))));
  }

  interface(m) {
    const rows = [];
    for (const rec of m.graph(m.last).recs) {
      if (!rec.port || rec.parent) continue;
      const v = rec.op === "Input" ? rec.outs[0] : rec.ins[0];
      rows.push([rec.op.toLowerCase(), clip(rec.name, 120), clip(m.typeAt(v, m.last), 120)]);
    }
    this.section("Inputs and outputs", "", table(["", "name", "type"], rows));
  }

  passes(m) {
    if (!m.passes.length) return;
    const all = m.passes.reduce((a, p) => a + p.ms, 0);
    this.section("Passes", plural(m.passes.length, "pass", "passes") + " in " + msText(all) + "; those that changed something are stages of the graph.",
      sortable(["#", "pass", "time", "nodes before", "after", "rewrites"], m.passes.map(p => [p.index, p.name, { v: p.ms, t: msText(p.ms) }, p.before, p.after,
        p.rules.map(([r, n]) => r + " " + n).join(", ") || (p.changed ? "changed" : "")]), i => this.report.setStage(m.stageOf(m.passes[i].index))));
  }

  weights(m) {
    const seen = new Set(), rows = [], recs = [];
    for (const rec of m.graph(m.last).recs) for (const v of rec.ins) {
      const value = m.values.get(v);
      if (!value || !value.weight || seen.has(v)) continue;
      seen.add(v);
      const w = value.weight, s = w.stats;
      rows.push([clip(value.name || "%" + v, 80), clip(w.type, 40), { v: w.bytes, t: bytesText(w.bytes) }, s ? { v: s[1], t: digits(s[1]) } : "", s ? { v: s[2], t: digits(s[2]) } : "",
        s ? { v: s[3], t: digits(s[3]) } : "", s ? { v: s[4] / s[0], t: percent(s[4] / s[0]) } : ""]);
      recs.push(rec);
    }
    this.section("Weights", plural(rows.length, "weight") + "; figures of large ones are of a sample.", sortable(["name", "type", "bytes", "min", "max", "mean", "zeros"], rows, i => this.report.goTo(recs[i], m.last), 2));
  }
}

function table(head, rows) {
  return el("div", { class: "table-wrap" }, el("table", {}, el("thead", {}, el("tr", {}, head.map(h => el("th", {}, h)))),
    el("tbody", {}, rows.map(r => el("tr", {}, r.map(c => el("td", { class: "name" }, typeof c === "object" && c ? c.t : String(c))))))));
}

/* A table whose heads sort it; rows hold numbers, texts, or { v: what to sort by, t: what to show }. */
function sortable(head, rows, onRow, first) {
  const order = rows.map((_, i) => i), body = el("tbody", {});
  const value = c => (typeof c === "object" && c ? c.v : c);
  let column = -1, up = true, most = 300;
  const fill = () => {
    clear(body);
    for (const i of order.slice(0, most)) {
      const tr = el("tr", {}, rows[i].map(c => el("td", { class: typeof value(c) === "number" ? "num" : "name" }, typeof c === "object" && c ? c.t : typeof c === "number" ? countText(c) : String(c))));
      if (onRow) {
        tr.tabIndex = 0;
        tr.addEventListener("click", () => onRow(i));
        tr.addEventListener("keydown", e => { if (e.key === "Enter") onRow(i); });
      }
      body.append(tr);
    }
    if (order.length > most) body.append(el("tr", {}, el("td", { colspan: head.length }, el("button", { type: "button", class: "flat", onclick: () => { most = Infinity; fill(); } }, "show all " + countText(order.length)))));
  };
  const heads = head.map((h, c) => el("th", { "aria-sort": "none", class: rows.some(r => typeof value(r[c]) === "number") ? "num" : "" }, el("button", { type: "button", class: "flat", onclick: () => sort(c) }, h)));
  const sort = c => {
    up = c === column ? !up : !(rows.length && typeof value(rows[0][c]) === "number");
    column = c;
    order.sort((a, b) => {
      const x = value(rows[a][c]), y = value(rows[b][c]);
      const d = typeof x === "number" && typeof y === "number" ? x - y : String(x) < String(y) ? -1 : String(x) > String(y) ? 1 : 0;
      return (up ? d : -d) || a - b;
    });
    heads.forEach((h, i) => h.setAttribute("aria-sort", i === c ? (up ? "ascending" : "descending") : "none"));
    fill();
  };
  if (first !== undefined) sort(first);
  else fill();
  return el("div", { class: "table-wrap" }, el("table", {}, el("thead", {}, el("tr", {}, heads)), body));
}
