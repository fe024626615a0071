/* One view of a scene: a canvas that pans and zooms, a small map, the pointer and the keys.
 *
 * The picture is painted once with a margin around what is seen; while one pans within the margin it is only moved. */

const MARGIN = 300, LEAST_K = 0.004, MOST_K = 3;

class Pane {
  /* hooks: paint(ctx, view, size), pick(item, event), toggle(item), key(event, pane), moved(pane), present(item), covered(): pixels at
   * the lower edge that something lies over */
  constructor(hooks, label) {
    this.hooks = hooks;
    this.view = { x: 0, y: 0, k: 1 };
    this.scene = null;
    this.title = el("div", { class: "pane-title" });
    this.canvas = el("canvas", { class: "scene", tabindex: 0, role: "application", "aria-label": label });
    this.mini = el("canvas", { class: "mini", "aria-hidden": "true" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.root = el("div", { class: "pane" }, this.title, this.canvas, this.mini, this.tip);
    this.sheet = document.createElement("canvas");
    this.sheetAt = null;
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  resize() {
    const r = this.canvas.getBoundingClientRect();
    if (!r.width || !r.height) return;
    const fresh = !this.size;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.size = [r.width, r.height];
    this.canvas.width = Math.round(r.width * this.ratio);
    this.canvas.height = Math.round(r.height * this.ratio);
    this.sheet.width = Math.round((r.width + 2 * MARGIN) * this.ratio);
    this.sheet.height = Math.round((r.height + 2 * MARGIN) * this.ratio);
    if (fresh && this.hooks.ready) this.hooks.ready(this);
    this.repaint();
  }

  /* ---- painting ---- */

  repaint() {
    this.sheetAt = null;
    this.refresh();
  }

  refresh() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.paint();
    });
  }

  paint() {
    if (!this.scene || !this.size) return;
    const at = this.sheetAt, v = this.view;
    const fits = at && at.k === v.k && Math.abs(v.x - at.x) <= MARGIN && Math.abs(v.y - at.y) <= MARGIN;
    if (!fits) {
      const ctx = this.sheet.getContext("2d");
      ctx.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      ctx.fillStyle = inkColors().paper;
      ctx.fillRect(0, 0, this.size[0] + 2 * MARGIN, this.size[1] + 2 * MARGIN);
      this.hooks.paint(this, ctx, { x: v.x + MARGIN, y: v.y + MARGIN, k: v.k }, [this.size[0] + 2 * MARGIN, this.size[1] + 2 * MARGIN]);
      this.sheetAt = { ...v };
    }
    const ctx = this.canvas.getContext("2d"), r = this.ratio;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    const dx = Math.round((v.x - this.sheetAt.x - MARGIN) * r), dy = Math.round((v.y - this.sheetAt.y - MARGIN) * r);
    ctx.drawImage(this.sheet, dx, dy);
    this.paintMini();
    this.frames = (this.frames || 0) + 1;
  }

  /* ---- the small map ---- */

  drawMini() {
    const l = this.scene.layout, most = 150, k = Math.min(most / Math.max(1, l.width), most / Math.max(1, l.height));
    const w = Math.max(24, l.width * k), h = Math.max(24, l.height * k), r = this.ratio || 1;
    this.miniScale = k;
    this.miniSheet = document.createElement("canvas");
    for (const c of [this.mini, this.miniSheet]) {
      c.width = Math.round(w * r);
      c.height = Math.round(h * r);
    }
    this.mini.style.width = w + "px";
    this.mini.style.height = h + "px";
    const ctx = this.miniSheet.getContext("2d");
    ctx.scale(r, r);
    ctx.fillStyle = inkColors().frame;
    ctx.fillRect(0, 0, w, h);
    const visit = item => {
      for (const c of item.children) {
        if (!this.hooks.present(this, c)) continue;
        if (c.open) visit(c);
        else {
          ctx.fillStyle = this.hooks.color(this, c);
          ctx.fillRect(c.x * k, c.y * k, Math.max(1, c.w * k), Math.max(1, c.h * k));
        }
      }
    };
    visit(this.scene.tree.root);
  }

  paintMini() {
    const l = this.scene.layout;
    const all = l.width * this.view.k < this.size[0] * 1.05 && l.height * this.view.k < this.size[1] * 1.05;
    this.mini.hidden = all;
    if (all) return;
    if (!this.miniSheet) this.drawMini();
    const ctx = this.mini.getContext("2d"), r = this.ratio, k = this.miniScale, v = this.view;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.drawImage(this.miniSheet, 0, 0);
    ctx.setTransform(r, 0, 0, r, 0, 0);
    ctx.strokeStyle = inkColors().pick;
    ctx.lineWidth = 1.5;
    ctx.strokeRect(-v.x / v.k * k, -v.y / v.k * k, this.size[0] / v.k * k, this.size[1] / v.k * k);
  }

  /* ---- moving ---- */

  setScene(scene) {
    this.scene = scene;
    this.miniSheet = null;
    this.repaint();
  }

  fit() {
    if (!this.size || !this.scene) return;
    const l = this.scene.layout, w = Math.max(1, l.width), h = Math.max(1, l.height), pad = 24;
    const high = this.size[1] - pad - Math.max(pad, this.hooks.covered ? this.hooks.covered() : 0);
    const whole = Math.min((this.size[0] - 2 * pad) / w, high / h, 1.15);
    const k = Math.max(LEAST_K, whole);
    this.view = { k, x: (this.size[0] - w * k) / 2, y: pad + Math.max(0, (high - h * k) / 2) };
    this.after();
  }

  /* Readable from the top: as wide as it goes, not smaller than one can read. */
  start() {
    if (!this.size || !this.scene) return;
    const l = this.scene.layout, pad = 24;
    const wide = Math.min((this.size[0] - 2 * pad) / Math.max(1, l.width), 1);
    const whole = Math.min(wide, (this.size[1] - 2 * pad) / Math.max(1, l.height));
    if (whole > 0.45 || wide > 0.2 && l.height * wide < this.size[1] * 1.2) return this.fit();
    const k = Math.max(wide, 0.5);
    const first = this.scene.tree.root.children.reduce((a, c) => (!a || c.y < a.y ? c : a), null);
    const cx = wide >= 0.5 ? l.width / 2 : first ? first.x + first.w / 2 : l.width / 2;
    this.view = { k, x: this.size[0] / 2 - cx * k, y: pad + 6 };
    this.after();
  }

  after() {
    this.refresh();
    if (this.hooks.moved) this.hooks.moved(this);
  }

  zoom(by, px, py) {
    const v = this.view, k = Math.max(LEAST_K, Math.min(MOST_K, v.k * by)), f = k / v.k;
    this.view = { k, x: px - (px - v.x) * f, y: py - (py - v.y) * f };
    this.after();
  }

  pan(dx, dy) {
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy };
    this.after();
  }

  /* Brings a rectangle of the scene into view. */
  show(x, y, w, h, closer) {
    if (!this.size) return;
    const k0 = this.view.k, most = Math.min((this.size[0] - 120) / Math.max(1, w), (this.size[1] - 120) / Math.max(1, h));
    let k = closer ? Math.max(0.75, k0) : k0;
    k = Math.max(LEAST_K, Math.min(k, most, MOST_K));
    this.view = { k, x: this.size[0] / 2 - (x + w / 2) * k, y: this.size[1] / 2 - (y + h / 2) * k };
    this.after();
  }

  /* Brings a rectangle into view where none of it can be seen; the scale stays. */
  showIfHidden(x, y, w, h) {
    if (!this.size) return;
    const v = this.view, x0 = x * v.k + v.x, y0 = y * v.k + v.y;
    if (x0 < this.size[0] && y0 < this.size[1] && x0 + w * v.k > 0 && y0 + h * v.k > 0) return;
    this.show(x, y, w, h, false);
  }

  itemAt(px, py) {
    if (!this.scene) return null;
    const x = (px - this.view.x) / this.view.k, y = (py - this.view.y) / this.view.k;
    let item = this.scene.tree.root, hit = null;
    for (;;) {
      let next = null;
      for (const c of item.children)
        if (x >= c.x && x <= c.x + c.w && y >= c.y && y <= c.y + c.h && this.hooks.present(this, c)) next = c;
      if (!next) return hit;
      hit = next;
      if (!next.open) return hit;
      item = next;
    }
  }

  /* ---- pointer and keys ---- */

  listen() {
    const c = this.canvas;
    let down = null;
    const where = e => {
      const r = c.getBoundingClientRect();
      return [e.clientX - r.left, e.clientY - r.top];
    };
    c.addEventListener("wheel", e => {
      e.preventDefault();
      const [x, y] = where(e);
      if (e.shiftKey || (Math.abs(e.deltaX) > Math.abs(e.deltaY) && !e.ctrlKey)) this.pan(-(e.deltaX || e.deltaY), 0);
      else this.zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0016) * (e.ctrlKey ? 4 : 1)), x, y);
    }, { passive: false });
    c.addEventListener("pointerdown", e => {
      c.setPointerCapture(e.pointerId);
      down = { x: e.clientX, y: e.clientY, at: { ...this.view }, moved: false };
    });
    c.addEventListener("pointermove", e => {
      if (!down) return this.hover(...where(e));
      const dx = e.clientX - down.x, dy = e.clientY - down.y;
      if (Math.abs(dx) + Math.abs(dy) > 4) down.moved = true;
      if (!down.moved) return;
      c.classList.add("moving");
      this.view = { k: down.at.k, x: down.at.x + dx, y: down.at.y + dy };
      this.after();
    });
    c.addEventListener("pointerup", e => {
      c.classList.remove("moving");
      const d = down;
      down = null;
      if (!d || d.moved) return;
      const [x, y] = where(e), item = this.itemAt(x, y);
      const header = item && item.open && (y - this.view.y) / this.view.k < item.y + HEAD && (x - this.view.x) / this.view.k < item.x + 26;
      if (header) this.hooks.toggle(this, item);
      else this.hooks.pick(this, item, e);
    });
    c.addEventListener("pointercancel", () => { down = null; });
    c.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    c.addEventListener("dblclick", e => {
      const item = this.itemAt(...where(e));
      if (item && item.type !== LEAF) this.hooks.toggle(this, item);
    });
    c.addEventListener("keydown", e => this.hooks.key(this, e));
    const jump = e => {
      const r = this.mini.getBoundingClientRect(), k = this.miniScale;
      this.view = { ...this.view, x: this.size[0] / 2 - (e.clientX - r.left) / k * this.view.k, y: this.size[1] / 2 - (e.clientY - r.top) / k * this.view.k };
      this.after();
    };
    this.mini.addEventListener("pointerdown", e => {
      this.mini.setPointerCapture(e.pointerId);
      jump(e);
      this.mini.onpointermove = jump;
    });
    this.mini.addEventListener("pointerup", () => { this.mini.onpointermove = null; });
  }

  hover(px, py) {
    const item = this.itemAt(px, py);
    this.canvas.style.cursor = item && !item.open ? "pointer" : "";
    const text = item && this.hooks.tip ? this.hooks.tip(this, item) : null;
    if (!text) {
      this.tip.hidden = true;
      return;
    }
    if (this.tipFor !== item) {
      clear(this.tip).append(...text);
      this.tipFor = item;
    }
    this.tip.hidden = false;
    const left = px + 260 > this.size[0];
    this.tip.style.left = left ? "" : px + 16 + "px";
    this.tip.style.right = left ? this.size[0] - px + 10 + "px" : "";
    this.tip.style.top = py + 44 + "px";
  }
}
