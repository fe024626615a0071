/* The whole: tabs, search, theme, and what the parts ask of each other. */

const MOST_HITS = 60, MOST_LOOKED_AT = 2000;

class Report {
  constructor(json) {
    this.models = json.models.map(m => new Model(m, json.strings));
    const m = this.models[0];
    document.title = clip(tail(m.title), 60) + " \u00b7 gopt";
    $("title").textContent = clip(tail(m.title), 60);
    $("title").title = clip(m.title, 400);
    if (typeof Run !== "undefined") for (const x of this.models) if (x.json.run) x.run = new Run(x);
    this.details = new Details(this, $("details"));
    this.graph = new GraphTab(this, $("panes"));
    this.ledger = new Ledger(this, $("rewrites"), $("why"));
    this.made = new Set(["graph", "why"]);
    this.bars = [];
    this.tools();
    this.buildBars();
    if (this.models.length > 1) {
      $("title").textContent = this.models.map(x => clip(tail(x.title), 40)).join(" and ");
      this.setSecond(true);
    } else {
      this.graph.build(false);
    }
    this.details.summary(m, m.last);
    this.tabsSetup();
    this.searchSetup();
    addEventListener("keydown", e => this.keys(e));
  }

  say(text) { $("live").textContent = clip(text, 200); }

  /* ---- tabs ---- */

  tabsSetup() {
    const has = { graph: true, why: true, time: !!this.models[0].run, memory: !!(this.models[0].run && this.models[0].run.buffers.length), facts: true };
    this.tabs = [...document.querySelectorAll("[role=tab]")].filter(t => {
      t.hidden = !has[t.dataset.tab];
      return !t.hidden;
    });
    for (const t of this.tabs) t.addEventListener("click", () => this.show(t.dataset.tab));
    $("tabs").addEventListener("keydown", e => {
      const i = this.tabs.indexOf(document.activeElement), by = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (i < 0 || !by) return;
      const next = this.tabs[(i + by + this.tabs.length) % this.tabs.length];
      next.focus();
      this.show(next.dataset.tab);
    });
    this.show(location.hash.slice(1) in has && has[location.hash.slice(1)] ? location.hash.slice(1) : "graph");
  }

  make(name) {
    if (this.made.has(name)) return;
    this.made.add(name);
    if (name === "facts") new Facts(this, $("facts"));
    if (name === "time" && this.models[0].run) this.timeTab = new TimeTab(this, $("time"));
    if (name === "memory" && this.models[0].run) new MemoryTab(this, $("memory"));
  }

  show(name) {
    this.make(name);
    for (const t of this.tabs) {
      const on = t.dataset.tab === name;
      t.setAttribute("aria-selected", String(on));
      t.tabIndex = on ? 0 : -1;
      $(t.getAttribute("aria-controls")).hidden = !on;
    }
    this.tab = name;
    document.body.dataset.tab = name;
    if (name === "graph") for (const p of this.graph.panes) p.resize();
  }

  /* ---- the graph's tools and stages ---- */

  tools() {
    const g = this.graph, run = !!this.models[0].run;
    const select = $("overlay");
    for (const [key, text, needs] of OVERLAYS) if (!needs || run) select.append(el("option", { value: key }, text));
    select.addEventListener("change", () => {
      g.setOverlay(select.value);
      this.legend();
    });
    $("fit").addEventListener("click", () => g.panes.forEach(p => p.fit()));
    $("zoom-in").addEventListener("click", () => g.panes.forEach(p => p.size && p.zoom(1.3, p.size[0] / 2, p.size[1] / 2)));
    $("zoom-out").addEventListener("click", () => g.panes.forEach(p => p.size && p.zoom(1 / 1.3, p.size[0] / 2, p.size[1] / 2)));
    $("open-all").addEventListener("click", () => g.openAll("scopes"));
    $("open-fusions").addEventListener("click", () => g.openAll("fusions"));
    $("close-all").addEventListener("click", () => g.openAll(null));
    $("hold").addEventListener("click", () => {
      g.setHold(!g.hold);
      $("hold").setAttribute("aria-pressed", String(g.hold));
    });
    $("second").addEventListener("click", () => this.setSecond(!g.second));
    $("second").hidden = this.models[0].last === 0 && this.models.length < 2;
    this.legend();
  }

  setSecond(on) {
    this.graph.setSecond(on);
    this.stageBars();
    for (const p of on ? this.graph.panes : [this.graph.panes[0]]) {  /* the second bar takes some of their height */
      p.resize();
      p.start();
    }
    if (this.graph.picked) this.details.node(this.models[0], this.graph.picked.rec, this.graph.picked.k);
  }

  legend() {
    const g = this.graph, o = g.overlay, box = clear($("legend"));
    const chip = (c, text) => {
      const dot = el("i", {});
      dot.style.background = c.fill;
      dot.style.borderColor = c.line;
      return el("span", {}, dot, text);
    };
    if (o === "kind") {
      const kinds = new Set();
      for (const r of g.panes[0].model.graph(g.panes[0].k).recs) if (r.kind >= 0) kinds.add(r.kind);
      box.append(...[...kinds].sort((a, b) => a - b).map(k => chip(kindColors(k), KINDS[k])));
    } else if (o === "pass" || o === "load" || o === "pair") {
      box.append(...["new", "changed", "fused", "gone", "same"].map(s => chip(standingColors(s), STANDING[s])));
    } else if (o === "dtype" || o === "backend" || o === "tactic") {
      box.append(el("span", {}, "one colour each; names stand above the boxes"));
    } else {
      box.append(chip(heat(0), "little"), chip(heat(0.5), ""), chip(heat(1), "most"));
    }
    $("overlay").value = o === "pair" ? "" : o;
  }

  buildBars() {
    this.bars = [new StageBar($("stage-a"), this.graph.panes[0].model, k => this.stageChosen(0, k)), null];
    this.stageBars();
  }

  /* Brings the bars in line with the panes. */
  stageBars() {
    const g = this.graph;
    $("stage-a").hidden = g.panes[0].model.last === 0;
    $("stage-b").hidden = !g.second || g.panes[1].model.last === 0;
    if (g.second && (!this.bars[1] || this.bars[1].model !== g.panes[1].model))
      this.bars[1] = new StageBar($("stage-b"), g.panes[1].model, k => this.stageChosen(1, k));
    this.bars[0].set(g.panes[0].k, true);
    if (g.second) this.bars[1].set(g.panes[1].k, true);
    $("second").setAttribute("aria-pressed", String(g.second));
    this.legend();
  }

  stageChosen(pane, k) {
    this.graph.setStage(pane, k);
    this.legend();
    this.say("stage " + this.graph.panes[pane].model.stages[k].pass);
  }

  setStage(k) {
    this.show("graph");
    this.bars[0].set(k);
  }

  goTo(rec, k) {
    this.show("graph");
    this.graph.goTo(rec, k);
    this.stageBars();
  }

  goToStep(step) {
    const m = this.models[0], recs = m.run.nodesOf(step);
    if (recs.length) this.goTo(recs[0], m.last);
  }

  showRemark(m) {
    this.show("graph");
    this.graph.showRemark(m);
  }

  /* ---- search ---- */

  searchSetup() {
    const input = $("search"), list = $("found");
    this.at = -1;
    input.addEventListener("input", () => this.find());
    input.addEventListener("focus", () => this.find());
    input.addEventListener("keydown", e => {
      const rows = [...list.children];
      if (e.key === "ArrowDown" || e.key === "ArrowUp") {
        e.preventDefault();
        this.at = Math.max(0, Math.min(rows.length - 1, this.at + (e.key === "ArrowDown" ? 1 : -1)));
        rows.forEach((r, i) => r.classList.toggle("on", i === this.at));
        rows[this.at]?.scrollIntoView({ block: "nearest" });
      } else if (e.key === "Enter") {
        e.preventDefault();
        (rows[Math.max(0, this.at)] || input).click();
      } else if (e.key === "Escape") {
        list.hidden = true;
        input.blur();
      }
    });
    document.addEventListener("pointerdown", e => { if (!e.target.closest(".search")) list.hidden = true; });
  }

  search(text) {
    this.show("graph");
    $("search").value = text;
    $("search").focus();
    this.find();
  }

  /* By name, original name, operator, type or tensor; at the stage that is shown, then at the first. */
  find() {
    const g = this.graph, list = clear($("found")), t = $("search").value.trim().toLowerCase();
    list.hidden = !t;
    this.at = -1;
    if (!t) return;
    const model = g.panes[0].model, hits = [], seen = new Set();
    for (const k of [g.panes[0].k, 0]) {
      for (const rec of model.graph(k).recs) {
        if (hits.length >= MOST_LOOKED_AT) break;
        if (seen.has(rec.id)) continue;
        const why = this.matches(model, rec, k, t);
        if (!why) continue;
        seen.add(rec.id);
        hits.push([rec, k, why, this.rank(rec, why, t)]);
      }
      if (g.panes[0].k === 0) break;
    }
    hits.sort((a, b) => a[3] - b[3]);
    for (const [rec, k, why] of hits.slice(0, MOST_HITS))
      list.append(el("button", { type: "button", class: "hit", onclick: () => { list.hidden = true; this.goTo(rec, k); } },
        el("b", {}, clip(rec.op, 30)), el("span", { class: "name" }, clip(nameOf(rec, model), 80)), why === "name" ? null : el("span", { class: "dim name" }, clip(why, 60)),
        k !== g.panes[0].k ? el("span", { class: "dim" }, "in " + model.stages[k].pass) : null));
    if (hits.length > MOST_HITS) list.append(el("div", { class: "dim pad" }, "and " + (hits.length < MOST_LOOKED_AT ? countText(hits.length - MOST_HITS) : "many") + " more"));
    if (!hits.length) list.append(el("div", { class: "dim pad" }, "nothing found"));
  }

  /* Operators before names, names before what a node came from and what it reads. */
  rank(rec, why, t) {
    const op = rec.op.toLowerCase();
    return op === t ? 0 : op.startsWith(t) ? 1 : op.includes(t) ? 2 : why === "name" ? 3 : 4;
  }

  matches(model, rec, k, t) {
    if (rec.op.toLowerCase().includes(t) || rec.name.toLowerCase().includes(t)) return "name";
    for (const o of rec.origins) if (o.toLowerCase().includes(t)) return o;
    for (const v of [...rec.outs, ...rec.ins]) {
      if (v < 0) continue;
      const value = model.values.get(v);
      if (value.name.toLowerCase().includes(t)) return value.name;
    }
    for (const v of rec.outs) if (model.typeAt(v, k).toLowerCase().includes(t)) return model.typeAt(v, k);
    return null;
  }

  /* ---- keys everywhere ---- */

  keys(e) {
    const typing = /^(input|textarea|select)$/i.test(e.target.tagName) && e.target.type !== "range";
    if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "/") {
      e.preventDefault();
      $("search").focus();
      $("search").select();
    } else if (e.key === "[" || e.key === "]") {
      if (this.tab === "graph") this.bars[0].step(e.key === "]" ? 1 : -1);
    } else if (e.key === "?") $("help").showModal();
    else if (e.key === "c" && this.tab === "graph" && !$("second").hidden) this.setSecond(!this.graph.second);
    else if (e.key === "t") switchTheme(this);
    else if (/^[1-5]$/.test(e.key) && this.tabs[e.key - 1]) this.show(this.tabs[e.key - 1].dataset.tab);
  }

  recolor() {
    this.graph.setOverlay(this.graph.overlay);
    this.legend();
    if (this.timeTab) this.timeTab.recolor();
  }
}

/* ---- light and dark ---- */

function setTheme(name) {
  dark = name === "dark";
  document.documentElement.dataset.theme = name;
}

function switchTheme(report) {
  setTheme(dark ? "light" : "dark");
  try { localStorage.setItem("gopt-theme", dark ? "dark" : "light"); } catch (e) { void e; }
  report.recolor();
}

async function start() {
  const started = performance.now();
  const wish = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try { kept = localStorage.getItem("gopt-theme"); } catch (e) { void e; }
  setTheme(kept || (wish.matches ? "dark" : "light"));
  try {
    const report = new Report(await loadData());
    $("theme").addEventListener("click", () => switchTheme(report));
    $("help-open").addEventListener("click", () => $("help").showModal());
    wish.addEventListener("change", e => {
      setTheme(e.matches ? "dark" : "light");
      report.recolor();
    });
    let theme = "light";
    addEventListener("beforeprint", () => {
      ["time", "memory", "facts"].forEach(n => report.make(n));
      report.ledger.showAll();
      theme = dark ? "dark" : "light";
      setTheme("light");                 /* paper is */
      report.recolor();
      report.graph.print();
    });
    addEventListener("afterprint", () => {
      setTheme(theme);
      report.recolor();
      report.ledger.showPage();
      report.graph.printed.replaceChildren();
    });
    window.gopt = report;
    requestAnimationFrame(() => requestAnimationFrame(() => {
      document.documentElement.dataset.goptMs = Math.round(performance.now() - started);
      document.documentElement.dataset.goptReady = "yes";
    }));
  } catch (e) {
    document.body.textContent = "This page cannot be shown: " + e.message;
    throw e;
  }
}
start();
