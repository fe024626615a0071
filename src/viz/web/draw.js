/* A scene on a canvas: frames, lines, boxes, text; as much of each as can be seen at this scale. */

const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

/* ---- what stands in a box ---- */

function weightText(rec, model) {
  for (let i = 1; i < rec.ins.length; i++) {
    const v = model.values.get(rec.ins[i]);
    if (v && v.weight && v.weight.elements > 16) return shapeText(v.weight.type);
  }
  return "";
}

const SHORT = { kernel_shape: "", strides: "/", group: "g", axis: "axis ", perm: "", to: "" };

function detailText(rec, model) {
  const parts = [];
  const w = weightText(rec, model);
  if (w) parts.push(w);
  for (let i = 0; i < rec.attrs.length && parts.length < 3; i += 2) {
    const name = model.strings[rec.attrs[i]], text = model.strings[rec.attrs[i + 1]];
    if (name === "kernel_shape" && w) continue;
    if (name === "strides" && /^\[1(, 1)*\]$/.test(text)) continue;
    if (name === "group" && text === "1") continue;
    if (name in SHORT && name !== "to") parts.push(SHORT[name] + text.replace(/[[\] ]/g, "").split(",").join(name === "perm" ? "" : "\u00d7"));
  }
  return parts.join("  ");
}

function fusionTitle(item, model) {
  const ops = item.children.map(c => c.rec ? c.rec.op : "").filter(o => o);
  return ops.slice(0, 4).join(" + ") + (ops.length > 4 ? " + " + (ops.length - 4) : "") || item.label;
}

/* Title, subtitle, detail of an item as it is in the picture. */
function linesOf(item, rec, model) {
  if (item.type === SCOPE) {
    const kinds = [...item.kinds.entries()].sort((a, b) => b[1] - a[1]);
    return [clip(item.label, 30), plural(item.leaves, "node"), kinds.slice(0, 2).map(([k, n]) => n + " " + (KINDS[k] || "")).join(", ")];
  }
  if (item.type === FUSION) {
    const main = item.children.find(c => c.rec && c.rec.kind < 3) || item.children[0], inner = main && main.rec;
    const names = inner ? shortName(nameOf(inner, model), inner.op, item.parent && item.parent.label) : "";
    const inside = item.children.reduce((t, c) => t || (c.rec ? weightText(c.rec, model) : ""), "");
    return [clip(fusionTitle(item, model), 34), clip(names, 28), inside];
  }
  if (!rec) return ["", "", ""];
  if (rec.port) return [clip(rec.name || rec.op, 30), "", ""];
  return [clip(rec.op, 30), clip(shortName(nameOf(rec, model), rec.op, item.parent && item.parent.label), 28), detailText(rec, model)];
}

function boxSize(item, model) {
  const lines = item.lines = linesOf(item, item.rec, model);
  const w = Math.max(7.1 * lines[0].length, 5.7 * lines[1].length, 5.4 * lines[2].length) + 26;
  const h = item.rec && item.rec.port ? 24 : 16 + (lines[1] ? 14 : 0) + (lines[2] ? 13 : 0) + 8;
  return [Math.max(64, Math.min(260, w)), h];
}

/* ---- drawing ---- */

const MOST_LONG_LINES = 600;  /* more than that melt into one grey, and cost most of the time: some stand for all */

class Painter {
  /* style(item, rec): colours of a box, or null where it is not to be seen; marks: sets of items to point out. */
  constructor(ctx, scene, view, size, options) {
    this.ctx = ctx;
    this.scene = scene;
    this.view = view;
    this.o = options;
    this.ink = inkColors();
    this.x0 = -view.x / view.k;
    this.y0 = -view.y / view.k;
    this.x1 = this.x0 + size[0] / view.k;
    this.y1 = this.y0 + size[1] / view.k;
  }

  sees(x, y, w, h) { return x < this.x1 && y < this.y1 && x + w > this.x0 && y + h > this.y0; }

  paint() {
    const { ctx, view } = this;
    this.boxes = [];
    this.frames = [];
    this.collect(this.scene.tree.root, 0);
    ctx.save();
    ctx.translate(view.x, view.y);
    ctx.scale(view.k, view.k);
    for (const f of this.frames) this.frame(f);
    this.lines();
    if (view.k < 0.16) this.dots();
    else for (const b of this.boxes) this.box(b);
    for (const f of this.frames) this.frameTitle(f);
    ctx.restore();
    return this.boxes.length;
  }

  collect(item, depth) {
    for (const c of item.children) {
      if (!this.sees(c.x - 4, c.y - 4, c.w + 8, c.h + 8) || !this.o.present(c)) continue;
      if (c.open) {
        if (c.type !== FUSION || this.o.recOf(c)) this.frames.push([c, depth]);
        this.collect(c, depth + 1);
      } else {
        this.boxes.push(c);
      }
    }
  }

  frame([c, depth]) {
    const { ctx, ink } = this;
    const fusion = c.type === FUSION, picked = this.o.picked && this.o.picked.has(c);
    round(ctx, c.x, c.y, c.w, c.h, 8);
    ctx.fillStyle = fusion ? (dark ? "#1a2a3d" : "#eaf2fc") : depth % 2 ? ink.frame2 : ink.frame;
    ctx.fill();
    ctx.strokeStyle = picked ? ink.pick : fusion ? (dark ? "#3f6ba1" : "#8db4e4") : ink.frameLine;
    ctx.lineWidth = picked ? 2.2 / Math.min(1, this.view.k) : 1;
    ctx.stroke();
  }

  frameTitle([c]) {
    const { ctx, ink, view } = this;
    if (view.k * 12 < 4) return;
    ctx.fillStyle = ink.dim;
    ctx.font = `600 11px ${FONT}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    const rec = this.o.recOf(c);
    const text = c.type === FUSION ? "fused: " + c.label : c.type === OWNER ? c.label + "  " + clip(tail(nameOf(rec || c.rec, this.scene.tree.model)), 24) : clip(c.label, 40);
    ctx.fillText("\u2212  " + text, c.x + 10, c.y + 14, c.w - 16);
  }

  lines() {
    const { ctx, ink, view, o } = this;
    const plain = new Path2D(), faint = new Path2D(), strong = new Path2D();
    let n = 0, m = 0, f = 0;
    const seen = this.scene.layout.hops.filter(h => {
      const b = h.box;
      return b[0] <= this.x1 && b[1] <= this.y1 && b[2] >= this.x0 && b[3] >= this.y0 && o.hopShown(h);
    });
    const spread = h => (h.box[2] - h.box[0] + h.box[3] - h.box[1]) * view.k > 120;
    const long = seen.reduce((c, h) => c + spread(h), 0), each = Math.ceil(long / MOST_LONG_LINES);
    let passed = 0;
    for (const h of seen) {
      if (each > 1 && spread(h) && passed++ % each && !(o.hot && o.hot.has(h))) continue;
      const path = o.hot && o.hot.has(h) ? (m++, strong) : h.long || h.back ? (f++, faint) : (n++, plain);
      if (view.k < 0.16) straight(path, h.pts);
      else curve(path, h);
    }
    const thin = Math.max(1, 0.8 / view.k);
    ctx.lineWidth = thin;
    if (f) {
      ctx.globalAlpha = 0.35;
      ctx.strokeStyle = ink.edge;
      ctx.stroke(faint);
      ctx.globalAlpha = 1;
    }
    if (n) {
      ctx.globalAlpha = each > 1 ? 0.3 : view.k < 0.16 ? 0.6 : 1;
      ctx.strokeStyle = ink.edge;
      ctx.stroke(plain);
      ctx.globalAlpha = 1;
    }
    if (m) {
      ctx.lineWidth = 2 * thin;
      ctx.strokeStyle = ink.edgeStrong;
      ctx.stroke(strong);
    }
    if (view.k > 0.3) this.heads();
    if (view.k > 0.62) this.labels();
  }

  heads() {
    const { ctx, ink, o } = this;
    ctx.fillStyle = ink.edge;
    ctx.beginPath();
    for (const h of this.scene.layout.hops) {
      if (!h.to || h.to.open) continue;
      const [x, y] = h.pts[h.pts.length - 1];
      if (x < this.x0 || x > this.x1 || y < this.y0 || y > this.y1 || !o.hopShown(h)) continue;
      ctx.moveTo(x, y);
      ctx.lineTo(x - 3.2, y - 6);
      ctx.lineTo(x + 3.2, y - 6);
    }
    ctx.fill();
  }

  /* Shapes and dtypes, where a line leaves its box. */
  labels() {
    const { ctx, ink, o } = this;
    ctx.font = `9.5px ${FONT}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    const seen = new Set();
    for (const h of this.scene.layout.hops) {
      if (!h.from || h.from.open || !o.hopShown(h)) continue;
      const [x, y] = h.pts[0];
      if (x < this.x0 - 50 || x > this.x1 || y < this.y0 || y > this.y1) continue;
      const text = o.typeOf(h.values[0]);
      const key = x + " " + y;
      if (!text || seen.has(key)) continue;
      seen.add(key);
      const w = ctx.measureText(text).width;
      ctx.fillStyle = ink.paper;
      ctx.globalAlpha = 0.8;
      ctx.fillRect(x + 3, y + 3, w + 4, 12);
      ctx.globalAlpha = 1;
      ctx.fillStyle = ink.dim;
      ctx.fillText(text, x + 5, y + 9.5);
    }
  }

  /* From afar: one path a colour. */
  dots() {
    const { ctx, o } = this, byColor = new Map();
    for (const c of this.boxes) {
      const s = o.style(c, o.recOf(c));
      if (!byColor.has(s.line)) byColor.set(s.line, []);
      byColor.get(s.line).push(c);
    }
    for (const [color, list] of byColor) {
      ctx.fillStyle = color;
      ctx.beginPath();
      for (const c of list) ctx.rect(c.x, c.y, c.w, c.h);
      ctx.fill();
    }
    for (const c of this.boxes) if (o.picked && o.picked.has(c)) this.ring(c);
  }

  ring(c) {
    const { ctx, ink, view } = this;
    const grow = 2 / view.k;
    round(ctx, c.x - grow, c.y - grow, c.w + 2 * grow, c.h + 2 * grow, 6);
    ctx.strokeStyle = ink.pick;
    ctx.lineWidth = 2.5 / view.k;
    ctx.stroke();
  }

  box(c) {
    const { ctx, view, o, ink } = this;
    const rec = o.recOf(c), s = o.style(c, rec), scope = c.type === SCOPE;
    const picked = o.picked && o.picked.has(c), marked = o.marked && o.marked.has(c);
    if (scope || c.type === FUSION) {          /* a second sheet behind: there is more inside */
      round(ctx, c.x + 3, c.y + 3, c.w, c.h, 6);
      ctx.fillStyle = ink.card;
      ctx.fill();
      ctx.strokeStyle = s.line;
      ctx.globalAlpha = 0.6;
      ctx.lineWidth = 1;
      ctx.stroke();
      ctx.globalAlpha = 1;
    }
    round(ctx, c.x, c.y, c.w, c.h, rec && rec.port ? 12 : 6);
    ctx.fillStyle = s.fill;
    ctx.fill();
    ctx.strokeStyle = picked ? ink.pick : marked ? ink.mark : s.line;
    ctx.lineWidth = picked || marked ? 2.4 / Math.min(1, view.k) : 1;
    ctx.stroke();
    if (marked && !picked) this.halo(c);
    if (scope && !s.flat) this.stripe(c);
    if (view.k < 0.34) return;
    const lines = rec && rec !== c.rec ? linesOf(c, rec, this.scene.tree.model) : c.lines || linesOf(c, rec, this.scene.tree.model);
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    const x = c.x + c.w / 2;
    let y = c.y + 13;
    ctx.fillStyle = s.text;
    ctx.font = `600 12px ${FONT}`;
    if (!lines[1] && !lines[2]) y = c.y + c.h / 2;
    ctx.fillText(lines[0], x, y, c.w - 14);
    if (view.k < 0.5) return;
    ctx.globalAlpha = 0.78;
    ctx.font = `10.5px ${FONT}`;
    if (lines[1]) ctx.fillText(lines[1], x, y += 14.5, c.w - 14);
    ctx.font = `9.5px ${FONT}`;
    if (lines[2]) ctx.fillText(lines[2], x, y += 13, c.w - 14);
    ctx.globalAlpha = 1;
    if (s.note) {
      ctx.font = `600 9.5px ${FONT}`;
      ctx.textAlign = "right";
      ctx.fillStyle = ink.dim;
      ctx.fillText(s.note, c.x + c.w, c.y - 6);
    }
  }

  halo(c) {
    const { ctx, ink, view } = this, grow = 3 / Math.min(1, view.k);
    round(ctx, c.x - grow, c.y - grow, c.w + 2 * grow, c.h + 2 * grow, 9);
    ctx.strokeStyle = ink.mark;
    ctx.globalAlpha = 0.4;
    ctx.lineWidth = grow;
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  /* What work a closed scope holds, as shares of its lower edge. */
  stripe(c) {
    const { ctx } = this, w = c.w - 12;
    let x = c.x + 6;
    for (const [kind, n] of [...c.kinds.entries()].sort((a, b) => a[0] - b[0])) {
      const part = w * n / Math.max(1, c.leaves);
      ctx.fillStyle = kindColors(kind).line;
      ctx.fillRect(x, c.y + c.h - 4.5, part, 2.5);
      x += part;
    }
  }
}

function round(ctx, x, y, w, h, r) {
  ctx.beginPath();
  ctx.roundRect(x, y, w, h, Math.min(r, h / 2, w / 2));
}

function straight(path, pts) {
  path.moveTo(pts[0][0], pts[0][1]);
  path.lineTo(pts[pts.length - 1][0], pts[pts.length - 1][1]);
}

function curve(path, h) {
  const pts = h.pts;
  let [x, y] = pts[0];
  path.moveTo(x, y);
  if (h.back) {                                /* against the flow: around the side */
    const [ex, ey] = pts[pts.length - 1], side = Math.max(x, ex) + 60;
    path.bezierCurveTo(side, y + 30, side, ey - 30, ex, ey);
    return;
  }
  for (let i = 1; i < pts.length; i++) {
    const [nx, ny] = pts[i], dy = (ny - y) / 2;
    if (Math.abs(nx - x) < 0.5) path.lineTo(nx, ny);
    else path.bezierCurveTo(x, y + dy, nx, ny - dy, nx, ny);
    x = nx;
    y = ny;
  }
}
