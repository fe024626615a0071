/* The graph and its stages: one pane, or two side by side, with what is open, selected and coloured in common. */

const OVERLAYS = [
  ["kind", "kind of work"], ["pass", "what this pass changed"], ["load", "what changed since loading"],
  ["flops", "operations"], ["bytes", "bytes of the outputs"], ["weights", "bytes of the weights"], ["dtype", "element type"],
  ["time", "time", "run"], ["moved", "bytes read and written", "run"], ["rate", "operations a second", "run"],
  ["backend", "backend", "run"], ["tactic", "tactic", "run"],
];

class GraphTab {
  constructor(report, holder) {
    this.report = report;
    this.model = report.models[0];
    this.open = null;
    this.hold = false;
    this.overlay = "kind";
    this.picked = null;          /* { rec, k, model } */
    this.marked = [];            /* records that a remark speaks of */
    this.panes = [this.makePane("graph"), this.makePane("graph, second stage")];
    this.panes[0].k = this.model.last;
    this.panes[0].model = this.panes[1].model = this.model;
    this.second = false;
    this.holder = clear(holder);
    this.area = el("div", { class: "panes" });
    this.printed = el("div", { class: "printed" });
    this.holder.append(this.area, this.printed);
    this.place();
  }

  makePane(label) {
    return new Pane({
      paint: (p, ctx, view, size) => this.paint(p, ctx, view, size),
      present: (p, item) => this.present(p, item),
      color: (p, item) => this.styleOf(p, item, this.recOf(p, item)).line,
      pick: (p, item) => this.pickItem(p, item),
      toggle: (p, item) => this.toggle(item, p),
      key: (p, e) => this.key(p, e),
      moved: p => this.follow(p),
      ready: p => p.start(),
      covered: () => $("legend").childElementCount ? $("legend").offsetHeight + 20 : 0,
      tip: (p, item) => this.tip(p, item),
    }, label);
  }

  place() {
    clear(this.area);
    this.area.classList.toggle("two", this.second);
    this.area.append(this.panes[0].root);
    if (this.second) this.area.append(this.panes[1].root);
  }

  /* ---- scenes ---- */

  build(keepView) {
    const started = performance.now();
    const shared = this.hold && this.panes.every(p => p.model === this.panes[0].model);
    const shown = this.second ? this.panes : [this.panes[0]];
    if (!this.open) this.open = this.firstOpen();
    for (const p of shown) {
      const anchor = keepView ? this.anchorOf(p) : null;
      const scene = shared && p !== shown[0] ? shown[0].scene : this.sceneFor(p, shared);
      p.recs = this.recsOf(p, scene);
      p.setScene(scene);
      p.styles = null;
      if (anchor) this.restore(p, anchor);
    }
    this.mark();
    this.heading();
    this.buildMs = performance.now() - started;
    const p = this.panes[0];
    document.documentElement.dataset.goptNodes = p.model.graph(p.k).count;
  }

  sceneFor(p, shared) {
    const graph = shared ? p.model.union() : p.model.graph(p.k);
    const tree = new Tree(p.model, graph, id => p.model.slot.get(id) ?? id);
    tree.setOpen(shared ? this.withFusions(tree) : this.open);
    const layout = new Layout(tree, this.seeds);
    this.seeds = new Map(this.seeds || []);
    for (const item of tree.items.values()) if (item.w) this.seeds.set(item.key, item.x + item.w / 2 - (item.parent ? item.parent.x : 0));
    return { tree, layout };
  }

  /* Where places are held, what is fused later keeps room for the nodes that it is made of. */
  withFusions(tree) {
    const open = new Set(this.open);
    for (const item of tree.items.values()) if (item.type === FUSION) open.add(item.key);
    return open;
  }

  firstOpen() {
    const p = this.panes[0];
    const tree = new Tree(p.model, p.model.graph(p.k), id => p.model.slot.get(id) ?? id);
    return tree.autoOpen(90);
  }

  /* item -> record, of the pane's stage */
  recsOf(p, scene) {
    const recs = new Map(), g = p.model.graph(p.k), t = scene.tree;
    const there = new Set();
    for (const rec of g.recs) {
      const item = t.leafOf.get(rec.id);
      if (!item) continue;
      recs.set(item, rec);
      for (let i = item; i && !there.has(i); i = i.parent) there.add(i);
    }
    p.there = there;
    return recs;
  }

  present(p, item) { return p.there.has(item); }
  recOf(p, item) { return p.recs.get(item) || null; }

  anchorOf(p) {
    if (!p.scene || !p.there || !p.size) return null;
    const picked = this.picked && p.scene.tree.leafOf.get(this.picked.rec.id);
    let best = picked && p.there.has(picked) ? p.scene.tree.visible(picked) : null, least = Infinity;
    const cx = (p.size[0] / 2 - p.view.x) / p.view.k, cy = (p.size[1] / 2 - p.view.y) / p.view.k;
    if (!best) for (const item of p.scene.tree.items.values()) {
      if (item.open || item.parent && !item.parent.open || !p.there.has(item)) continue;
      const d = Math.abs(item.x + item.w / 2 - cx) + Math.abs(item.y + item.h / 2 - cy);
      if (d < least) {
        least = d;
        best = item;
      }
    }
    if (!best) return null;
    return { key: best.key, ids: best.rec ? [best.rec] : [], x: best.x + best.w / 2, y: best.y + best.h / 2 };
  }

  restore(p, anchor) {
    let item = p.scene.tree.items.get(anchor.key);
    if (!item || !p.there.has(item)) for (const rec of anchor.ids) for (const o of p.model.counterparts(rec, p.k)) item = item || p.scene.tree.leafOf.get(o.id);
    if (!item) return;
    item = p.scene.tree.visible(item);
    p.view.x += (anchor.x - item.x - item.w / 2) * p.view.k;
    p.view.y += (anchor.y - item.y - item.h / 2) * p.view.k;
  }

  follow(p) {
    if (!this.second || this.following || !this.hold) return;
    this.following = true;
    const other = this.panes[p === this.panes[0] ? 1 : 0];
    other.view = { ...p.view };
    other.refresh();
    this.following = false;
  }

  heading() {
    for (const p of this.second ? this.panes : [this.panes[0]]) {
      const s = p.model.stages[p.k], which = this.second ? (p === this.panes[0] ? "left: " : "right: ") : "";
      const model = this.report.models.length > 1 ? clip(tail(p.model.title), 40) + ", " : "";
      clear(p.title).append(el("b", {}, which + model + s.pass), el("span", { class: "dim" }, "  " + plural(s.nodes, "node")));
      p.title.hidden = !this.second;
    }
  }

  /* ---- how boxes look ---- */

  paint(p, ctx, view, size) {
    const recOf = item => this.recOf(p, item);
    const typeCache = new Map();
    const painter = new Painter(ctx, p.scene, view, size, {
      recOf,
      present: item => this.present(p, item),
      style: (item, rec) => this.styleOf(p, item, rec),
      hopShown: h => (!h.from || this.present(p, h.from)) && (!h.to || this.present(p, h.to)) && this.present(p, h.holder),
      typeOf: v => {
        if (!typeCache.has(v)) typeCache.set(v, this.edgeText(p.model.typeAt(v, p.k)));
        return typeCache.get(v);
      },
      picked: p.pickedItems, marked: p.markedItems, hot: p.hot,
    });
    p.drawn = painter.paint();
  }

  edgeText(type) {
    const [dtype, dims] = splitType(type);
    if (!dims) return dtype === "?" ? "" : dtype;
    return (dtype === "f32" ? "" : dtype + " ") + clip(dims.split(",").join("\u00d7"), 24);
  }

  styleOf(p, item, rec) {
    if (!p.styles) {
      p.styles = new Map();
      p.scale = this.scaleOf(p);
    }
    let s = p.styles.get(item);
    if (!s) p.styles.set(item, s = this.makeStyle(p, item, rec));
    return s;
  }

  makeStyle(p, item, rec) {
    if (rec && rec.port) return kindColors(-2);
    const o = this.overlay;
    if (o === "kind" || !rec && item.type !== SCOPE) return this.kindStyle(item, rec);
    if (o === "pass" || o === "load" || o === "pair") return standingColors(this.standingOf(p, item));
    const figure = this.figure(p, item, o);
    if (typeof figure === "string") return Object.assign({ note: clip(figure, 26) }, wordColors(figure));
    const share = p.scale > 0 ? Math.sqrt(figure / p.scale) : 0;
    return Object.assign({ note: figure > 0 ? this.figureText(o, figure) : "", flat: true }, heat(share));
  }

  kindStyle(item, rec) {
    if (item.type === SCOPE) {
      const c = kindColors(9);
      return { fill: inkColors().card, line: c.line, text: inkColors().text };
    }
    if (item.type === FUSION) {
      let main = 5;
      const rank = [0, 1, 2, 4, 6, 3, 7, 8, 5];
      let best = 99;
      for (const k of item.kinds.keys()) if (rank.indexOf(k) >= 0 && rank.indexOf(k) < best) {
        best = rank.indexOf(k);
        main = k;
      }
      return kindColors(main);
    }
    return kindColors(rec.kind);
  }

  otherStage(p) {
    if (this.second) return this.panes[p === this.panes[0] ? 1 : 0].k;
    return this.overlay === "load" ? 0 : Math.max(0, p.k - 1);
  }

  /* Of a closed box: the strongest of what it holds. */
  standingOf(p, item) {
    const j = this.otherStage(p), order = ["same", "changed", "fused", "new", "gone"];
    if (j === p.k && (!this.second || this.panes[0].model === this.panes[1].model)) return "same";
    let worst = 0;
    const visit = i => {
      const rec = this.recOf(p, i);
      if (rec && !rec.port) worst = Math.max(worst, order.indexOf(this.compared(p, rec, j)));
      if (!i.open) for (const c of i.children) if (worst < 4) visit(c);
    };
    visit(item);
    return order[worst];
  }

  compared(p, rec, j) {
    const other = this.second ? this.panes[p === this.panes[0] ? 1 : 0] : p;
    if (other.model === p.model) return p.model.standing(rec, p.k, j);
    const index = other.model.byOrigin(j), kin = rec.origins.map(o => index.get(o)).find(x => x);
    if (!kin) return p === this.panes[0] ? "gone" : "new";
    return kin.some(r => r.op === rec.op && String(r.attrs) === String(rec.attrs)) ? "same" : "changed";
  }

  figure(p, item, o) {
    let sum = 0, word = null;
    const run = p.model.run;
    const visit = i => {
      const rec = this.recOf(p, i);
      if (rec && !rec.port) {
        const step = run ? run.stepsOf(rec, p.k) : [];
        if (o === "flops" && !rec.fusion) sum += rec.work;
        else if (o === "bytes" && !rec.fusion) for (const v of rec.outs) sum += typeBytes(p.model.typeAt(v, p.k));
        else if (o === "weights" && !rec.fusion) for (const v of rec.ins) sum += p.model.isWeight(v) ? p.model.values.get(v).weight.bytes : 0;
        else if (o === "dtype") word = word || (rec.outs.length ? splitType(p.model.typeAt(rec.outs[0], p.k))[0] : null);
        else if (o === "backend" || o === "tactic") for (const s of step) word = word || s[o];
        else if (o === "time" && !rec.fusion) sum += run ? run.timeOf(rec, p.k) : 0;
        else if (o === "moved" && !rec.fusion) for (const s of step) sum += s.bytes * run.shareOf(rec, s, p.k);
        else if (o === "rate") for (const s of step) sum = Math.max(sum, s.ms > 0 ? s.gflop / s.ms * 1e12 : 0);
      }
      for (const c of i.children) visit(c);
    };
    visit(item);
    return o === "dtype" || o === "backend" || o === "tactic" ? word || "" : sum;
  }

  scaleOf(p) {
    let most = 0;
    for (const item of p.scene.tree.items.values()) {
      if (item.open || !this.present(p, item) || item.parent && !item.parent.open) continue;
      const f = this.figure(p, item, this.overlay);
      if (typeof f === "number") most = Math.max(most, f);
    }
    return most;
  }

  figureText(o, x) {
    if (o === "flops") return opsText(x);
    if (o === "time") return msText(x);
    if (o === "rate") return opsText(x) + "/s";
    return bytesText(x);
  }

  tip(p, item) {
    const rec = this.recOf(p, item), m = p.model;
    if (item.open) return null;
    const rows = [el("b", {}, item.type === SCOPE ? clip(item.label, 60) : item.type === FUSION ? clip(fusionTitle(item, m), 60) : clip(rec ? rec.op : item.label, 60))];
    if (rec) rows.push(el("div", { class: "name" }, clip(nameOf(rec, m), 80)));
    if (item.type === SCOPE) rows.push(el("div", {}, plural(item.leaves, "node") + ", double click or Enter opens"));
    for (const v of rec ? rec.outs.slice(0, 3) : []) rows.push(el("div", { class: "dim" }, clip(m.typeAt(v, p.k), 60)));
    if (m.run && rec) {
      const t = m.run.timeOf(rec, p.k);
      if (t > 0) rows.push(el("div", {}, msText(t) + ", " + percent(t / m.run.total)));
    }
    return rows;
  }

  /* ---- choosing ---- */

  setStage(pane, k) {
    const p = this.panes[pane];
    if (p.k === k) return;
    p.k = k;
    this.build(true);
    if (this.picked) this.repick(p);
    else this.report.details.summary(p.model, p.k);
  }

  /* The selection at another stage: what the node is there. */
  repick(p) {
    const others = p.model.counterparts(this.picked.rec, p.k);
    if (p === this.panes[0] && others.length) {
      this.picked = { rec: others[0], k: p.k, model: p.model };
      this.report.details.node(p.model, others[0], p.k);
    }
    this.mark();
  }

  setSecond(on) {
    this.second = on;
    const [a, b] = this.panes;
    b.k = a.k;
    if (this.report.models.length > 1) {
      b.model = this.report.models[1];
      b.k = b.model.last;
    } else if (on) {
      a.k = 0;
      b.k = this.model.last;
    }
    if (!on) a.k = b.k === undefined || b.model !== a.model ? a.k : b.k;
    this.overlay = on ? "pair" : "kind";
    this.place();
    this.build(false);
    for (const p of this.panes) p.resize();
    a.start();
    if (on) b.start();
  }

  /* For paper: what the panes show, from the top, in as many sheets as it takes to be read, eight at most. */
  print() {
    const W = 1000, H = 1300, MOST = 8, sheets = [];
    for (const p of this.second ? this.panes : [this.panes[0]]) {
      const l = p.scene.layout, k = Math.min(1, (W - 40) / Math.max(1, l.width), (H * MOST - 40) / Math.max(1, l.height));
      const high = l.height * k + 40;
      sheets.push(el("h2", {}, p.model.stages[p.k].pass + ", " + plural(p.model.stages[p.k].nodes, "node")));
      for (let y = 0; y < high; y += H) {
        const sheet = el("canvas", { width: 2 * W, height: Math.ceil(2 * Math.min(H, high - y)) }), ctx = sheet.getContext("2d");
        ctx.scale(2, 2);
        ctx.fillStyle = inkColors().paper;
        ctx.fillRect(0, 0, W, H);
        this.paint(p, ctx, { k, x: (W - l.width * k) / 2, y: 20 - y }, [W, H]);
        sheets.push(sheet);
      }
    }
    this.printed.replaceChildren(...sheets);
  }

  setOverlay(o) {
    this.overlay = o;
    for (const p of this.panes) {
      p.styles = null;
      p.miniSheet = null;
      p.repaint();
    }
  }

  setHold(on) {
    this.hold = on;
    this.build(true);
  }

  toggle(item, p) {
    if (this.open.has(item.key)) this.open.delete(item.key);
    else this.open.add(item.key);
    this.build(true);
    void p;
  }

  openAll(all) {
    const p = this.panes[0];
    this.open = new Set([""]);
    if (all) for (const item of p.scene.tree.items.values()) if (item.type !== LEAF && (all === "fusions" || item.type !== FUSION)) this.open.add(item.key);
    this.build(true);
    p.start();
  }

  /* Opens whatever closes a node in. */
  reveal(p, rec) {
    const item = p.scene.tree.leafOf.get(rec.id);
    if (!item) return null;
    let changed = false;
    for (let i = item.parent; i && i.parent; i = i.parent)
      if (!i.open && !this.open.has(i.key)) {
        this.open.add(i.key);
        changed = true;
      }
    if (changed) this.build(true);
    return p.scene.tree.leafOf.get(rec.id);
  }

  pickItem(p, item) {
    p.canvas.focus({ preventScroll: true });
    this.marked = [];
    if (!item || !item.rec && item.type !== SCOPE) return this.unpick(p);
    const rec = this.recOf(p, item);
    if (item.type === SCOPE || !rec) {
      this.picked = null;
      p.pickedScope = item;
      this.mark();
      this.report.details.scope(p.model, item, p.k, x => this.recOf(p, x));
    } else {
      this.picked = { rec, k: p.k, model: p.model };
      this.mark();
      for (const other of this.second ? this.panes : []) if (other !== p) this.showPicked(other);
      this.report.details.node(p.model, rec, p.k);
    }
    this.report.say(item.type === SCOPE ? "scope " + item.label : nameOf(rec || item.rec, p.model));
  }

  /* The other pane shows what was picked here. */
  showPicked(p) {
    const first = this.hold ? null : [...p.pickedItems][0];
    if (first) p.showIfHidden(first.x, first.y, first.w, first.h);
  }

  unpick(p) {
    this.picked = null;
    this.marked = [];
    this.mark();
    this.report.details.summary(p.model, p.k);
  }

  /* Selects a node by hand of a list or link. */
  goTo(rec, k, near) {
    const p = this.panes[0];
    if (k !== undefined && k !== p.k && !p.model.nodeAt(rec.id, p.k)) {
      p.k = k;
      this.build(false);
      this.report.stageBars();
    }
    const there = p.model.nodeAt(rec.id, p.k) || p.model.counterparts(rec, p.k)[0];
    if (!there) return;
    const item = this.reveal(p, there);
    this.picked = { rec: there, k: p.k, model: p.model };
    this.marked = [];
    this.mark();
    this.report.details.node(p.model, there, p.k);
    if (item) {
      const shown = p.scene.tree.visible(item);
      p.show(shown.x, shown.y, shown.w, shown.h, near !== false);
    }
    if (this.second) this.showPicked(this.panes[1]);
  }

  /* A remark's place: before on the left, after on the right, both marked. */
  showRemark(m) {
    const [a, b] = this.panes, applied = m.kind === 0;
    this.picked = null;
    if (applied) {
      if (!this.second) {
        this.second = true;
        this.place();
      }
      a.k = Math.max(0, m.stage - 1);
      b.model = a.model;
      b.k = m.stage;
      this.overlay = "pair";
    } else if (this.second) {
      this.second = false;
      this.place();
      this.overlay = "kind";
    }
    if (!applied) a.k = a.model.last;
    this.build(false);
    const names = new Set([...m.nodes, m.at]);
    for (const p of this.second ? this.panes : [a]) {
      const index = p.model.byOrigin(p.k), recs = new Set();
      for (const n of names) for (const r of index.get(n) || []) recs.add(r);
      p.markedRecs = [...recs];
      const first = [...recs].find(r => !r.fusion && p.model.nodeAt(r.id, p.k)) || [...recs][0];
      if (first) this.reveal(p, first);
    }
    this.marked = [m];
    this.mark();
    requestAnimationFrame(() => {
      for (const p of this.second ? this.panes : [a]) {
        p.resize();
        this.showItems(p, p.markedItems);
      }
    });
    this.report.stageBars();
    this.report.details.remark(a.model, m);
  }

  showItems(p, items) {
    let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
    for (const i of items || []) {
      x0 = Math.min(x0, i.x);
      y0 = Math.min(y0, i.y);
      x1 = Math.max(x1, i.x + i.w);
      y1 = Math.max(y1, i.y + i.h);
    }
    if (x1 < x0) return p.start();
    p.view.k = 1;
    p.show(x0, y0, Math.min(x1 - x0, 2400), Math.min(y1 - y0, 1600), true);
  }

  /* Finds what is selected, marked and hot in each pane. */
  mark() {
    for (const p of this.second ? this.panes : [this.panes[0]]) {
      const t = p.scene.tree;
      p.pickedItems = new Set();
      p.markedItems = new Set();
      p.hot = new Set();
      const add = (set, rec) => {
        const item = t.leafOf.get(rec.id);
        if (item) set.add(t.visible(item));
      };
      if (this.picked) {
        const there = this.picked.model === p.model ? p.model.counterparts(this.picked.rec, p.k)
          : this.picked.rec.origins.flatMap(o => p.model.byOrigin(p.k).get(o) || []);
        for (const rec of there) add(p.pickedItems, rec);
      } else if (p.pickedScope && t.items.has(p.pickedScope.key)) {
        p.pickedItems.add(t.visible(t.items.get(p.pickedScope.key)));
      }
      if (this.marked.length) for (const rec of p.markedRecs || []) if (!rec.fusion) add(p.markedItems, rec);
      if (this.picked) p.pickedScope = null;
      if (p.pickedItems.size) for (const f of p.scene.layout.flows) if (p.pickedItems.has(f.from) || p.pickedItems.has(f.to)) for (const h of f.hops) p.hot.add(h);
      p.repaint();
    }
  }

  /* ---- keys ---- */

  key(p, e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const step = 80, center = [p.size[0] / 2, p.size[1] / 2];
    const done = () => { e.preventDefault(); e.stopPropagation(); };
    const arrow = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[e.key];
    if (arrow) {
      done();
      const from = p.pickedItems && [...p.pickedItems][0];
      if (!from || e.shiftKey) return p.pan(-arrow[0] * step, -arrow[1] * step);
      const to = this.neighbour(p, from, arrow);
      if (to) {
        this.pickItem(p, to);
        this.keepSeen(p, to);
      }
    } else if (e.key === "+" || e.key === "=") done(), p.zoom(1.25, ...center);
    else if (e.key === "-") done(), p.zoom(0.8, ...center);
    else if (e.key === "0" || e.key === "f") done(), p.fit();
    else if (e.key === "Enter" || e.key === " ") {
      done();
      const item = p.pickedItems && [...p.pickedItems][0];
      if (!item) {
        const first = p.scene.tree.root.children.filter(c => this.present(p, c)).sort((a, b) => a.y - b.y)[0];
        if (first) this.pickItem(p, first);
      } else if (item.type !== LEAF) this.toggle(item, p);
    } else if (e.key === "Backspace") {
      const item = p.pickedItems && [...p.pickedItems][0];
      if (item && item.parent && item.parent.parent) {
        done();
        this.toggle(item.parent, p);
      }
    } else if (e.key === "Escape") done(), this.unpick(p);
  }

  keepSeen(p, i) {
    const x = i.x * p.view.k + p.view.x, y = i.y * p.view.k + p.view.y;
    if (x < 20 || y < 20 || x + i.w * p.view.k > p.size[0] - 20 || y + i.h * p.view.k > p.size[1] - 20) p.show(i.x, i.y, i.w, i.h);
  }

  /* Up and down follow the lines; left and right go to what stands beside. */
  neighbour(p, from, [dx, dy]) {
    const list = [];
    if (dy) for (const f of p.scene.layout.flows) {
      if (dy > 0 && f.from === from && this.present(p, f.to)) list.push(f.to);
      if (dy < 0 && f.to === from && this.present(p, f.from)) list.push(f.from);
    } else {
      for (const c of p.scene.tree.items.values())
        if (c !== from && !c.open && (!c.parent || c.parent.open) && this.present(p, c) && Math.abs(c.y - from.y) < 40 && (c.x - from.x) * dx > 0) list.push(c);
    }
    let best = null, least = Infinity;
    for (const c of list) {
      const d = Math.abs(c.x + c.w / 2 - from.x - from.w / 2) + Math.abs(c.y - from.y);
      if (d < least) {
        least = d;
        best = c;
      }
    }
    return best;
  }
}
