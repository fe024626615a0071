/* The memory map: who lies where in the arena, and when. */

class MemoryTab {
  constructor(report, holder) {
    const run = report.models[0].run, W = 1200, H = 460;
    this.report = report;
    this.run = run;
    const all = run.buffers.map(b => ({ name: b[0], offset: b[1], bytes: b[2], first: b[3], last: b[4], work: b[5], device: b[6] }));
    clear(holder).append(el("div", { class: "page-head" }, el("h1", {}, "Memory"), el("p", { class: "dim" }, "Every intermediate tensor that the plan gave a place, over the steps between which it holds something. What stands on the same height shares memory.")));
    for (const device of [false, true]) {
      const list = all.filter(b => b.device === device);
      if (!list.length) continue;
      const size = list.reduce((a, b) => Math.max(a, b.offset + b.bytes), 0), steps = Math.max(1, ...list.map(b => b.last + 1));
      const live = new Float64Array(steps + 1);
      for (const b of list) for (let s = b.first; s <= Math.min(b.last, steps); s++) live[s] += b.bytes;
      const peak = live.reduce((a, b) => Math.max(a, b), 0), at = live.indexOf(peak), sum = list.reduce((a, b) => a + b.bytes, 0);
      const step = run.steps[at];
      holder.append(el("section", { class: "block" }, device ? el("h2", {}, "On the device") : null, el("div", { class: "cards wide" }, card(bytesText(size), "arena"), card(bytesText(peak), "most at once"), card(bytesText(sum), "all tensors together"), card(digits(sum / Math.max(1, size)) + "\u00d7", "reuse"), card(countText(list.length), "buffers")),
        step ? el("p", {}, "The most lies there at step " + at + ", ", el("button", { type: "button", class: "link", onclick: () => report.goToStep(step) }, clip(step.op + "  " + step.name, 90)), ".") : null,
        this.map(list, size, steps, at, W, H), this.table(list)));
    }
  }

  map(list, size, steps, at, W, H) {
    const L = 70, X = s => L + s / steps * (W - L), Y = b => H - b / Math.max(1, size) * (H - 8), out = [];
    for (let i = 0; i <= 4; i++) out.push(svg("line", { x1: L, x2: W, y1: Y(size * i / 4), y2: Y(size * i / 4), class: "grid" }), svg("text", { x: L - 8, y: Y(size * i / 4) + 4, class: "axis", "text-anchor": "end" }, bytesText(size * i / 4)));
    for (const b of list) {
      const step = this.run.steps[b.first], c = b.work ? heat(0.7) : step ? kindColors(this.run.kindOf(step)) : kindColors(9);
      const w = X(b.last + 1) - X(b.first), h = Y(b.offset) - Y(b.offset + b.bytes);
      out.push(svg("g", { class: "seg", onclick: () => step && this.report.goToStep(step) }, svg("title", {}, clip((b.work ? "room to work in for " : "") + (b.name || "a tensor") + "  |  " + bytesText(b.bytes) + " at " + countText(b.offset) + "  |  steps " + b.first + " to " + b.last, 300)),
        svg("rect", { x: X(b.first).toFixed(1), y: Y(b.offset + b.bytes).toFixed(1), width: Math.max(1, w - 0.5).toFixed(1), height: Math.max(1, h - 0.5).toFixed(1), fill: c.fill, stroke: c.line, "stroke-width": 0.8 }),
        w > 60 && h > 14 ? svg("text", { x: (X(b.first) + 4).toFixed(1), y: (Y(b.offset + b.bytes) + 12).toFixed(1), fill: c.text }, fitting(tensorName(b.name), Math.floor((w - 6) / 6.1))) : null));
    }
    out.push(svg("line", { x1: X(at + 0.5), x2: X(at + 0.5), y1: 0, y2: H, class: "peak" }), svg("text", { x: L, y: H + 15, class: "axis" }, "step 0"), svg("text", { x: W, y: H + 15, class: "axis", "text-anchor": "end" }, "step " + (steps - 1)));
    return el("div", { class: "chart-box" }, svg("svg", { class: "flame memory", viewBox: `0 0 ${W} ${H + 20}`, role: "img", "aria-label": "memory map" }, out));
  }

  table(list) {
    return el("div", { class: "after" }, sortable(["tensor", "bytes", "offset", "from step", "to step", "what for"], list.map(b => [clip(b.name || "(no name)", 80), { v: b.bytes, t: bytesText(b.bytes) }, b.offset, b.first, b.last, b.work ? "room to work in" : "tensor"]),
      i => this.run.steps[list[i].first] && this.report.goToStep(this.run.steps[list[i].first]), 1));
  }
}
