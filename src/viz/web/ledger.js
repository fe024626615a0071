/* The ledger: what was applied, in order, and what was declined, each with its reason. One list at the side of the
 * graph, and a whole page of it. */

const MOST_ROWS = 400;

class Ledger {
  constructor(report, side, page) {
    this.report = report;
    this.side = side;
    this.page = page;
    this.kind = 0;
    this.text = "";
    this.rule = "";
    this.build();
  }

  get remarks() { return this.report.models[0].remarks; }

  build() {
    const counts = [0, 1, 2].map(k => this.remarks.filter(m => m.kind === k).length);
    this.sideText = el("input", { type: "search", placeholder: "rule, node or reason", "aria-label": "filter rewrites", oninput: () => this.showSide() });
    this.sideList = el("div", { class: "list", role: "list" });
    clear(this.side).append(el("h3", {}, "Rewrites in order"), this.sideText, this.sideList);
    this.tabs = ["applied", "declined", "findings"].map((name, k) => el("button", { type: "button", class: "chip", "aria-pressed": "false",
      onclick: () => { this.kind = k; this.rule = ""; this.showPage(); } }, name + " " + countText(counts[k])));
    this.pageText = el("input", { type: "search", placeholder: "filter by rule, node or reason", "aria-label": "filter the ledger", oninput: () => { this.text = this.pageText.value; this.showPage(); } });
    this.rules = el("div", { class: "rules" });
    this.rows = el("div", { class: "ledger-rows" });
    clear(this.page).append(el("div", { class: "page-head" }, el("h1", {}, "Why and why not"), el("p", { class: "dim" },
      "Every rewrite that was made and every one that was declined, with its reason. Click one to see the spot in the graph."),
      el("div", { class: "bar-row" }, this.tabs, this.pageText)), el("div", { class: "split" }, this.rules, this.rows));
    this.showSide();
    this.showPage();
  }

  matches(m, text) {
    if (!text) return true;
    const t = text.toLowerCase();
    return [m.rule, m.pass, m.at, m.reason].some(s => s.toLowerCase().includes(t)) || m.nodes.some(n => n.toLowerCase().includes(t));
  }

  showSide() {
    const list = this.remarks.filter(m => m.kind === 0 && this.matches(m, this.sideText.value));
    clear(this.sideList).append(...this.inOrder(list));
    if (!list.length) this.sideList.append(el("p", { class: "dim" }, this.remarks.length ? "none" : "no pass ran"));
  }

  /* One head a pass; in it, rewrites of one rule that follow each other stand under one line that opens. */
  inOrder(list) {
    const out = [];
    let stage = -1;
    for (let i = 0, to; i < list.length; i = to) {
      for (to = i + 1; to < list.length && list[to].rule === list[i].rule && list[to].stage === list[i].stage;) to++;
      if (list[i].stage !== stage) {
        stage = list[i].stage;
        const k = stage;
        out.push(el("button", { type: "button", class: "pass-head", onclick: () => this.report.setStage(k) }, el("span", {}, list[i].pass)));
      }
      const some = list.slice(i, to);
      if (some.length < 3) out.push(...some.map(m => this.row(m)));
      else out.push(el("details", { class: "run", ontoggle: e => this.fill(e.target, some) }, el("summary", {}, el("span", { class: "r-rule" }, some[0].rule || some[0].pass), el("span", { class: "count" }, countText(some.length)))));
    }
    return out;
  }

  fill(details, list) {
    if (details.children.length < 2) details.append(...list.slice(0, MOST_ROWS).map(m => this.row(m)));
  }

  row(m) {
    return el("button", { type: "button", class: "remark k" + m.kind, onclick: () => this.report.showRemark(m) },
      el("span", { class: "r-rule" }, m.rule || m.pass), el("span", { class: "r-at name" }, clip(m.at, 70)),
      m.kind === 0 ? null : el("span", { class: "r-why name" }, clip(m.reason, 240)));
  }

  filter(rule) {
    this.rule = rule;
    this.kind = this.remarks.some(m => m.rule === rule && m.kind === 0) ? 0 : 1;
    this.report.show("why");
    this.showPage();
  }

  showPage() {
    this.tabs.forEach((t, k) => t.setAttribute("aria-pressed", String(k === this.kind)));
    const all = this.remarks.filter(m => m.kind === this.kind && this.matches(m, this.text));
    const byRule = new Map();
    for (const m of all) byRule.set(m.rule, (byRule.get(m.rule) || 0) + 1);
    clear(this.rules).append(el("button", { type: "button", class: "rule", "aria-pressed": String(!this.rule), onclick: () => { this.rule = ""; this.showPage(); } }, el("span", {}, "all rules"), el("b", {}, countText(all.length))),
      ...[...byRule.entries()].sort((a, b) => b[1] - a[1]).map(([rule, n]) => el("button", { type: "button", class: "rule", "aria-pressed": String(this.rule === rule),
        onclick: () => { this.rule = rule; this.showPage(); } }, el("span", {}, rule || "(pass)"), el("b", {}, countText(n)))));
    const shown = all.filter(m => !this.rule || m.rule === this.rule);
    const rule = this.rule && this.report.models[0].json.rules && this.report.models[0].json.rules[this.rule];
    clear(this.rows);
    if (rule) this.rows.append(el("div", { class: "note" }, el("div", { class: "mono" }, rule[0]), rule[1] ? el("div", { class: "dim small" }, "needs: " + rule[1]) : null));
    for (const [reason, list] of this.alike(shown)) this.rows.append(this.group(reason, list));
    if (!shown.length) this.rows.append(el("p", { class: "dim" }, "Nothing here."));
  }

  /* For paper: what was applied and what was declined, one after the other. */
  showAll() {
    const kind = this.kind, rule = this.rule, all = [];
    this.rule = "";
    for (this.kind = 0; this.kind < 3; this.kind++) {
      this.showPage();
      if (this.remarks.some(m => m.kind === this.kind)) all.push(el("h2", {}, ["Applied", "Declined", "Findings"][this.kind]), ...this.rows.children);
    }
    [this.kind, this.rule] = [kind, rule];
    clear(this.rows).append(...all);
  }

  /* Remarks of one rule that give the same reason stand together: twelve equal layers decline everything twelve times. */
  alike(list) {
    const groups = new Map();
    for (const m of list) {
      const key = m.rule + "\n" + m.reason.replace(/\d+/g, "#");
      if (groups.has(key)) groups.get(key).push(m);
      else groups.set(key, [m]);
    }
    return [...groups.values()].sort((a, b) => this.kind === 0 ? a[0].i - b[0].i : b.length - a.length).slice(0, MOST_ROWS).map(g => [g[0], g]);
  }

  group(first, list) {
    const places = el("div", { class: "places" });
    const fill = n => {
      clear(places).append(...list.slice(0, n).map(m => el("button", { type: "button", class: "link name", title: clip(m.reason, 300), onclick: () => this.report.showRemark(m) }, clip(m.at, 90))));
      if (list.length > n) places.append(el("button", { type: "button", class: "flat", onclick: () => fill(n + 200) }, "and " + countText(list.length - n) + " more"));
    };
    fill(4);
    return el("article", { class: "why k" + first.kind }, el("div", { class: "why-head" }, el("b", {}, first.rule || first.pass), list.length > 1 ? el("span", { class: "count" }, countText(list.length) + "\u00d7") : null,
      el("span", { class: "dim" }, first.pass)), el("div", { class: "name why-text" }, clip(first.reason, 600)), places);
  }
}
