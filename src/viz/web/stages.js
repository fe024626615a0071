/* The bar of stages: one tick a pass that changed something, its height by how many nodes stood after it. */

class StageBar {
  constructor(holder, model, onChange) {
    this.model = model;
    this.onChange = onChange;
    this.holder = clear(holder);
    const most = Math.max(1, ...model.stages.map(s => s.nodes));
    this.ticks = model.stages.map((s, k) => {
      const bar = el("span", { class: "tick-bar" });
      bar.style.height = Math.max(3, Math.round(30 * s.nodes / most)) + "px";
      return el("button", { class: "tick", type: "button", tabindex: -1, title: s.pass + ": " + plural(s.nodes, "node"),
        onclick: () => this.set(k) }, bar);
    });
    this.range = el("input", { type: "range", min: 0, max: model.last, step: 1, "aria-label": "stage",
      oninput: () => this.set(Number(this.range.value)) });
    this.label = el("div", { class: "stage-label" });
    this.facts = el("div", { class: "stage-facts" });
    holder.append(
      el("button", { type: "button", class: "flat", title: "the stage before  [", "aria-label": "the stage before",
        onclick: () => this.step(-1) }, "\u2039"),
      el("div", { class: "stage-track" }, el("div", { class: "ticks" }, this.ticks), this.range),
      el("button", { type: "button", class: "flat", title: "the next stage  ]", "aria-label": "the next stage",
        onclick: () => this.step(1) }, "\u203a"),
      el("div", { class: "stage-text" }, this.label, this.facts));
    this.k = -1;
  }

  step(by) { this.set(Math.min(this.model.last, Math.max(0, this.k + by))); }

  set(k, quiet) {
    if (k === this.k) return;
    this.k = k;
    this.range.value = k;
    const s = this.model.stages[k], before = k ? this.model.stages[k - 1] : null;
    this.ticks.forEach((t, i) => t.classList.toggle("now", i === k));
    this.range.setAttribute("aria-valuetext", s.pass);
    clear(this.label).append(el("b", {}, s.pass), el("span", { class: "dim" }, "  stage " + k + " of " + this.model.last));
    const parts = [plural(s.nodes, "node")];
    if (before) {
      const ports = rs => rs.filter(r => !r.port).length;
      const fused = s.added.filter(r => r.fusion).length, fresh = ports(s.added) - s.changed.length - fused;
      if (s.removed.length) parts.push(countText(ports(s.removed)) + " gone");
      if (fresh > 0) parts.push(countText(fresh) + " new");
      if (fused) parts.push(plural(fused, "region"));
      if (s.changed.length) parts.push(countText(s.changed.length) + " changed");
    }
    clear(this.facts).append(parts.join(" \u00b7 "));
    if (!quiet) this.onChange(k);
  }
}
