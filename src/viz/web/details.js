/* The panel at the side: the model, a scope, a rewrite, or everything about one node. */

class Details {
  constructor(report, holder) {
    this.report = report;
    this.holder = holder;
  }

  fill(...parts) {
    clear(this.holder).append(...parts.flat(3).filter(x => x));
    this.holder.scrollTop = 0;
  }

  heading(kind, text, sub) {
    return el("div", { class: "d-head" }, el("div", { class: "d-kind" }, kind), el("h2", { class: "name" }, clip(text, 300)),
      sub ? el("div", { class: "dim name" }, sub) : null);
  }

  part(title, ...rows) {
    const inside = rows.flat().filter(x => x);
    return inside.length ? el("section", { class: "d-part" }, el("h3", {}, title), inside) : null;
  }

  row(name, value, cls) {
    return el("div", { class: "d-row " + (cls || "") }, el("span", { class: "dim" }, name), el("span", { class: "name" }, value));
  }

  link(rec, model, k, text) {
    return el("button", { type: "button", class: "link name", onclick: () => this.report.goTo(rec, k) }, text || clip(nameOf(rec, model), 90));
  }

  /* ---- the model at a stage ---- */

  summary(model, k) {
    const s = model.json.summary, stage = model.stages[k], first = model.stages[0], last = model.stages[model.last];
    const parts = [this.heading("model", tail(model.title), model.title !== tail(model.title) ? clip(model.title, 120) : "")];
    const big = el("div", { class: "cards" },
      card(first.nodes === last.nodes ? countText(first.nodes) : countText(first.nodes) + " \u2192 " + countText(last.nodes), "nodes"),
      s ? card(countText(s.fusions), "fused regions") : null,
      s ? card(bytesText(s.parameter_bytes_after), "weights") : null,
      model.run ? card(msText(model.run.latency), "latency (median)") : null);
    parts.push(big);
    if (model.run && model.run.total > 0) parts.push(this.part("Where time goes", this.slowest(model)));
    parts.push(this.part("Operators, loaded and now (" + stage.pass + ")", this.operators(model, k)));
    const rules = new Map();
    for (const p of model.passes) for (const [rule, n] of p.rules) rules.set(rule, (rules.get(rule) || 0) + n);
    parts.push(this.part("What was done", [...rules.entries()].sort((a, b) => b[1] - a[1]).slice(0, 14).map(([rule, n]) =>
      el("div", { class: "d-row" }, el("button", { type: "button", class: "link", onclick: () => this.report.ledger.filter(rule) }, rule), el("span", {}, countText(n))))));
    this.fill(parts);
  }

  slowest(model) {
    return [...model.run.steps].sort((a, b) => b.ms - a.ms).slice(0, 6).map(s => el("div", { class: "d-bar" },
      el("button", { type: "button", class: "link name", onclick: () => this.report.goToStep(s) }, clip(s.op, 40)),
      el("span", { class: "bar" }, barOf(s.ms / model.run.steps.reduce((a, b) => Math.max(a, b.ms), 0))), el("span", {}, msText(s.ms))));
  }

  operators(model, k) {
    const count = at => {
      const counts = new Map();
      for (const rec of model.graph(at).recs) if (!rec.fusion && !rec.port) counts.set(rec.op, (counts.get(rec.op) || 0) + 1);
      return counts;
    };
    const a = count(0), b = count(k);
    const ops = [...new Set([...a.keys(), ...b.keys()])].sort((x, y) => Math.max(a.get(y) || 0, b.get(y) || 0) - Math.max(a.get(x) || 0, b.get(x) || 0) || (x < y ? -1 : 1));
    const most = Math.max(1, ...a.values(), ...b.values());
    return ops.slice(0, 40).map(op => {
      const n = a.get(op) || 0, m = b.get(op) || 0;
      return el("div", { class: "d-op" }, el("button", { type: "button", class: "link", onclick: () => this.report.search(op) }, clip(op, 30)),
        el("span", { class: "twobars", "aria-hidden": "true" }, barOf(n / most, "was"), barOf(m / most, "is")),
        el("span", { class: "num" }, n === m ? countText(n) : countText(n) + " \u2192 " + countText(m)));
    });
  }

  /* ---- a scope ---- */

  scope(model, item, k, recOf) {
    const counts = new Map();
    let flops = 0, weights = 0, time = 0;
    const visit = i => {
      const rec = recOf(i);
      if (rec && !rec.fusion && !rec.port) {
        counts.set(rec.op, (counts.get(rec.op) || 0) + 1);
        flops += rec.work;
        for (const v of rec.ins) weights += model.isWeight(v) ? model.values.get(v).weight.bytes : 0;
        if (model.run) time += model.run.timeOf(rec, k);
      }
      i.children.forEach(visit);
    };
    visit(item);
    const most = Math.max(1, ...counts.values());
    this.fill(this.heading("scope", item.label, item.key.slice(3)),
      el("div", { class: "cards" }, card(countText([...counts.values()].reduce((a, b) => a + b, 0)), "nodes"), flops ? card(opsText(flops), "operations") : null,
        weights ? card(bytesText(weights), "weights") : null, time ? card(msText(time), percent(time / model.run.total)) : null),
      el("button", { type: "button", class: "act", onclick: () => this.report.graph.toggle(item) }, "Open or close (Enter)"),
      this.part("Operators", [...counts.entries()].sort((x, y) => y[1] - x[1]).map(([op, n]) => el("div", { class: "d-op" }, el("span", {}, op),
        el("span", { class: "twobars" }, barOf(n / most, "is")), el("span", { class: "num" }, countText(n))))));
  }

  /* ---- a node ---- */

  node(model, rec, k) {
    const parts = [this.heading(rec.fusion ? "fusion: " + rec.op : rec.port ? "graph " + rec.op.toLowerCase() : rec.op, nameOf(rec, model),
      rec.scope && rec.scope !== rec.name ? clip(rec.scope, 200) : "")];
    if (rec.fusion) parts.push(this.inside(model, rec, k));
    parts.push(this.run(model, rec, k));
    parts.push(this.part("Inputs", rec.fusion ? this.fusionInputs(model, rec, k) : rec.ins.map((v, i) => this.value(model, v, k, i, true))));
    parts.push(this.part("Outputs", rec.outs.map((v, i) => this.value(model, v, k, i, false))));
    const attrs = [];
    for (let i = 0; i < rec.attrs.length; i += 2) attrs.push(this.row(model.strings[rec.attrs[i]], clip(model.strings[rec.attrs[i + 1]], 300)));
    parts.push(this.part("Attributes", attrs));
    if (rec.flops) parts.push(this.part("Work", this.row("operations", typeof rec.flops === "number" ? opsText(rec.flops) : clip(rec.flops, 200))));
    parts.push(this.origin(model, rec, k));
    parts.push(this.story(model, rec));
    parts.push(this.remarks(model, rec));
    this.fill(parts);
  }

  inside(model, rec, k) {
    const nodes = model.graph(k).inside.get(rec.id) || [];
    const order = this.report.graph.panes[0].scene.tree.leafOf;
    nodes.sort((a, b) => (order.get(a.id)?.order ?? 0) - (order.get(b.id)?.order ?? 0));
    return this.part("Runs as one kernel", nodes.map(n => el("div", { class: "d-row" }, el("span", {}, n.op), this.link(n, model, k, clip(tail(nameOf(n, model)), 60)))),
      el("button", { type: "button", class: "act", onclick: () => this.report.graph.reveal(this.report.graph.panes[0], nodes[0] || rec) }, "Open in the graph"));
  }

  fusionInputs(model, rec, k) {
    const g = model.graph(k), seen = new Set(), rows = [];
    for (const n of g.inside.get(rec.id) || []) for (const v of n.ins) {
      const from = v >= 0 ? g.source(v) : null;
      if (v < 0 || seen.has(v) || (from && from.parent === rec.id)) continue;
      seen.add(v);
      rows.push(this.value(model, v, k, rows.length, true));
    }
    return rows;
  }

  value(model, v, k, i, isInput) {
    if (v < 0) return el("div", { class: "d-value dim" }, i + "  absent");
    const value = model.values.get(v), g = model.graph(k);
    const rows = [el("div", { class: "d-type" }, el("span", { class: "dim" }, i + "  "), clip(model.typeAt(v, k), 120))];
    if (value.name) rows.push(el("div", { class: "name small" }, clip(value.name, 160)));
    if (isInput) {
      const from = g.source(v);
      if (from) rows.push(el("div", { class: "small" }, "from ", this.link(from, model, k)));
    } else {
      const users = this.usersOf(g, v);
      for (const u of users.slice(0, 12)) rows.push(el("div", { class: "small" }, "to ", this.link(u, model, k)));
      if (users.length > 12) rows.push(el("div", { class: "small dim" }, "and " + (users.length - 12) + " more"));
    }
    if (value.weight) rows.push(...this.weight(value.weight));
    return el("div", { class: "d-value" }, rows);
  }

  usersOf(g, v) {
    const from = g.source(v), out = new Set();
    for (const e of from && g.users.get(from.id) || []) {
      const at = g.source(e.v);
      if (at === from && (e.v === v || from.outs.length === 1 || from.outs.indexOf(v) < 0)) out.add(e.to);
    }
    return [...out];
  }

  weight(w) {
    const rows = [el("div", { class: "small dim" }, plural(w.elements, "element") + ", " + bytesText(w.bytes))];
    if (w.contents) rows.push(el("div", { class: "small mono" }, w.contents.map(x => typeof x === "number" ? digits(x, 6) : x).join(", ")));
    if (w.stats && w.stats[6].length) {
      const [n, min, max, mean, zeros, strange, bins] = w.stats;
      rows.push(histogram(bins, min, max, 260, 46));
      rows.push(el("div", { class: "small dim" }, "mean " + digits(mean) + ", " + percent(zeros / n) + " zeros" + (strange ? ", " + plural(strange, "NaN or infinity", "NaN or infinities") : "") +
        (n < w.elements ? "; of a sample of " + countText(n) : "")));
    }
    return rows;
  }

  origin(model, rec, k) {
    if (rec.port) return null;
    const now = rec.origins.filter(o => o !== rec.name || rec.origins.length > 1);
    const first = model.byOrigin(0);
    return this.part(rec.origins.length > 1 ? "Came from " + rec.origins.length + " nodes" : "Came from", (now.length ? now : rec.origins).slice(0, 60).map(o => {
      const there = (first.get(o) || [])[0];
      return el("div", { class: "d-row" }, el("span", { class: "dim" }, there ? there.op : ""), there ? this.link(there, model, 0, clip(o, 90)) : el("span", { class: "name" }, clip(o, 90)));
    }), k < model.last ? this.becomes(model, rec) : null);
  }

  becomes(model, rec) {
    const end = model.counterparts(rec, model.last);
    if (!end.length) return el("div", { class: "d-row" }, el("span", { class: "dim" }, "at the end"), el("span", {}, "gone"));
    return end.slice(0, 6).map(r => el("div", { class: "d-row" }, el("span", { class: "dim" }, "at the end"), this.link(r, model, model.last, clip(r.op + "  " + tail(nameOf(r, model)), 80))));
  }

  /* What happened to it, pass by pass. */
  story(model, rec) {
    const rows = [], history = model.nodeHistory.get(rec.id);
    for (let i = 0; i < history.length; i += 2) {
      const k = history[i], now = history[i + 1], before = i ? history[i - 1] : null;
      let what = "changed";
      if (!now) what = "gone";
      else if (!before) what = k ? "made" : "loaded";
      else if (now.parent !== before.parent) what = now.parent ? "taken into a region" : "taken out of its region";
      rows.push(el("div", { class: "d-row" }, el("button", { type: "button", class: "link", onclick: () => this.report.setStage(k) }, clip(model.stages[k].pass, 40)), el("span", {}, what)));
    }
    return this.part("What happened to it", rows);
  }

  remarks(model, rec) {
    const mine = new Set(rec.origins);
    const list = model.remarks.filter(m => mine.has(m.at) || m.nodes.some(n => mine.has(n)));
    return this.part("Why and why not (" + list.length + ")", list.slice(0, 40).map(m => this.report.ledger.row(m)),
      list.length > 40 ? el("div", { class: "dim small" }, "and " + (list.length - 40) + " more, in the ledger") : null);
  }

  run(model, rec, k) {
    if (!model.run || rec.port) return null;
    const steps = model.run.stepsOf(rec, k);
    if (!steps.length) return this.part("Run", el("div", { class: "dim" }, "no step of its own"));
    return steps.slice(0, 4).map(s => this.part(steps.length > 1 ? "Step " + s.i : "Run", model.run.rows(s, model, rec).map(([a, b]) => this.row(a, b)),
      s.tactics.length > 1 ? this.considered(s) : null));
  }

  /* Every way to run the step that was asked, with its time or estimate, or why it is not taken. */
  considered(s) {
    const figure = c => c.ms || c.estimate_ms || 0, most = Math.max(1e-9, ...s.tactics.map(figure));
    const list = [...s.tactics].sort((a, b) => b.chosen - a.chosen || b.takes - a.takes || figure(a) - figure(b));
    return el("div", { class: "d-tactics" }, el("div", { class: "dim small" }, "tactics considered"), list.map(c => el("div", { class: "tactic" },
      el("div", { class: "d-op" }, el("span", { class: c.chosen ? "chosen" : c.takes ? "" : "dim" }, clip(c.name + (c.label ? "  " + c.label : ""), 50)),
        el("span", { class: "twobars" }, figure(c) > 0 ? barOf(figure(c) / most, c.ms ? "is" : "was") : null),
        el("span", { class: "num" }, c.ms ? msText(c.ms) : c.estimate_ms ? "about " + msText(c.estimate_ms) : "")),
      c.why && !c.chosen ? el("div", { class: "dim small name" }, clip(c.why, 200)) : null)));
  }

  /* ---- a remark ---- */

  remark(model, m) {
    const rule = model.json.rules && model.json.rules[m.rule];
    this.fill(this.heading(["applied", "declined", "found"][m.kind], m.rule || m.pass, "in pass " + m.pass),
      this.part("Reason", el("div", { class: "name" }, clip(m.reason, 2000))),
      rule ? this.part("The rule", el("div", { class: "mono small" }, rule[0]), rule[1] ? el("div", { class: "small dim" }, "needs: " + rule[1]) : null) : null,
      this.part("At", [...new Set([m.at, ...m.nodes])].slice(0, 80).map(n => {
        const rec = (model.byOrigin(Math.max(0, m.stage - 1)).get(n) || model.byOrigin(model.last).get(n) || [])[0];
        return el("div", { class: "d-row" }, el("span", { class: "dim" }, rec ? rec.op : ""), rec ? this.link(rec, model, m.kind === 0 ? Math.max(0, m.stage - 1) : model.last, clip(n, 90)) : el("span", { class: "name" }, clip(n, 90)));
      })));
  }
}

function card(value, name) {
  return el("div", { class: "card" }, el("b", {}, value), el("span", {}, name));
}

function barOf(share, cls) {
  const bar = el("i", { class: cls || "is" });
  bar.style.width = Math.max(share > 0 ? 1.5 : 0, 100 * Math.min(1, share)) + "%";
  return bar;
}
