/* The data: one JSON text, deflated, in base64; and a model's history made of it.
 *
 * A stage is the difference to the one before, so what a node was at a stage is looked up in its own history: the last
 * record that is not younger. */

async function loadData() {
  const holder = document.getElementById("data");
  const raw = atob(holder.textContent.replace(/\s+/g, ""));
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  holder.textContent = "";
  if (holder.dataset.packed !== "deflate") return JSON.parse(new TextDecoder().decode(bytes));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

/* One node as it stood from some stage on. */
class Rec {
  constructor(a, r, strings) {
    this.r = r;
    this.id = a[0];
    this.op = strings[a[1]];
    this.kind = a[2];               /* of work; -1 a fusion, -2 an input or output */
    this.name = strings[a[3]];
    this.scope = strings[a[4]];
    this.parent = a[5];             /* id of the node in whose block it lies; 0 none */
    this.block = strings[a[6]];
    this.ins = a[7];
    this.outs = a[8];
    this.attrs = a[9];
    this.origins = a[10].length ? a[10].map(s => strings[s]) : this.name ? [this.name] : [];
    const symbolic = Array.isArray(a[11]);
    this.flops = symbolic ? a[11][0] : a[11];
    this.work = symbolic ? a[11][1] : a[11] || 0;   /* with 1 for each symbol */
    this.results = a[12];
  }
  get fusion() { return this.kind === -1; }
  get port() { return this.kind === -2; }
}

/* The last entry of a history [stage, what, stage, what, ...] that is not younger than stage k. */
function at(history, k) {
  if (!history) return null;
  for (let i = history.length - 2; i >= 0; i -= 2)
    if (history[i] <= k) return history[i + 1];
  return null;
}

class Model {
  constructor(json, strings) {
    this.json = json;
    this.strings = strings;
    this.title = strings[json.title];
    this.recs = json.nodes.map((a, r) => new Rec(a, r, strings));
    this.stages = json.stages.map(s => ({ pass: strings[s.pass], index: s.index, nodes: s.nodes,
      added: s.add.map(r => this.recs[r]), removed: s.remove.map(r => this.recs[r]), changed: [] }));
    this.last = this.stages.length - 1;
    this.values = new Map();
    for (const [id, name, weight] of json.values)
      this.values.set(id, { id, name: strings[name], weight: weight < 0 ? null : this.weightOf(json.weights[weight]) });
    this.nodeHistory = new Map();
    this.typeHistory = new Map();
    json.stages.forEach((s, k) => this.replay(s, k));
    this.remarks = (json.remarks || []).map((m, i) => ({ i, kind: m[0], index: m[1], pass: strings[m[2]],
      rule: strings[m[3]], at: strings[m[4]], nodes: m[5].map(s => strings[s]), reason: strings[m[6]],
      stage: this.stageOf(m[1]) }));
    this.passes = (json.passes || []).map((p, i) => ({ index: i + 1, name: strings[p[0]], ms: p[1], changed: p[2],
      before: p[3], after: p[4], rules: this.pairs(p[5]) }));
    this.graphs = new Map();
    this.findSlots();
  }

  weightOf(w) {
    return { type: this.strings[w[0]], bytes: w[1], elements: w[2], contents: w[3], stats: w[4] };
  }

  pairs(list) {
    const out = [];
    for (let i = 0; i < list.length; i += 2) out.push([this.strings[list[i]], list[i + 1]]);
    return out;
  }

  replay(s, k) {
    const gone = new Set(s.remove.map(r => this.recs[r].id));
    for (const id of gone) this.nodeHistory.get(id).push(k, null);
    for (const r of s.add) {
      const rec = this.recs[r], known = this.nodeHistory.get(rec.id);
      if (known && known[known.length - 1]) this.stages[k].changed.push(rec);
      if (known) known.push(k, rec);
      else this.nodeHistory.set(rec.id, [k, rec]);
    }
    for (let i = 0; i < s.types.length; i += 2) {
      const known = this.typeHistory.get(s.types[i]);
      if (known) known.push(k, this.strings[s.types[i + 1]]);
      else this.typeHistory.set(s.types[i], [k, this.strings[s.types[i + 1]]]);
    }
  }

  /* The stage that shows what pass number `index` left behind. */
  stageOf(index) {
    let k = 0;
    while (k < this.last && this.stages[k].index < index) k++;
    return k;
  }

  nodeAt(id, k) { return at(this.nodeHistory.get(id), k); }
  typeAt(v, k) { return at(this.typeHistory.get(v), k) || "?"; }

  /* The nodes of stage k and what flows between them; results of fusions are those of the nodes inside. */
  graph(k) {
    let g = this.graphs.get(k);
    if (g) return g;
    const recs = [];
    for (const history of this.nodeHistory.values()) {
      const rec = at(history, k);
      if (rec) recs.push(rec);
    }
    g = this.connect(recs);
    g.k = k;
    g.count = this.stages[k].nodes;
    if (this.graphs.size > 6) this.graphs.delete(this.graphs.keys().next().value);
    this.graphs.set(k, g);
    return g;
  }

  /* All that was there at any stage, each node as it last was, with every flow that there was. */
  union() {
    if (this.whole) return this.whole;
    const recs = [];
    for (const history of this.nodeHistory.values()) {
      let rec = history[history.length - 1];
      if (!rec) rec = history[history.length - 3];
      recs.push(rec);
    }
    const latest = new Map(recs.map(r => [r.id, r]));
    const g = this.connect(this.recs);
    g.recs = recs;
    g.byId = latest;
    g.inside = new Map();
    for (const rec of recs)
      if (rec.parent) {
        if (g.inside.has(rec.parent)) g.inside.get(rec.parent).push(rec);
        else g.inside.set(rec.parent, [rec]);
      }
    return this.whole = g;
  }

  connect(recs) {
    const byId = new Map(), alias = new Map(), producer = new Map(), edges = [], users = new Map();
    for (const rec of recs) {
      byId.set(rec.id, rec);
      if (rec.fusion) rec.outs.forEach((v, i) => alias.set(v, rec.results[i]));
      else for (const v of rec.outs) producer.set(v, rec);
    }
    const source = v => {
      for (let n = 0; alias.has(v) && n < 100; n++) v = alias.get(v);
      return producer.get(v) || null;
    };
    for (const rec of recs) {
      if (rec.fusion) continue;
      for (const v of rec.ins) {
        const from = v >= 0 ? source(v) : null;
        if (!from || from === rec) continue;
        const e = { from, to: rec, v };
        edges.push(e);
        if (users.has(from.id)) users.get(from.id).push(e);
        else users.set(from.id, [e]);
      }
    }
    const inside = new Map();
    for (const rec of recs)
      if (rec.parent) {
        if (inside.has(rec.parent)) inside.get(rec.parent).push(rec);
        else inside.set(rec.parent, [rec]);
      }
    return { recs, byId, edges, source, users, inside };
  }

  /* A slot is a place in the picture: what a rewrite makes takes the slot of what it came from, where that is gone. */
  findSlots() {
    this.slot = new Map();
    const byOrigin = new Map();  /* origin -> ids that stand for it now */
    const note = rec => {
      for (const o of rec.origins) {
        if (!byOrigin.has(o)) byOrigin.set(o, new Set());
        byOrigin.get(o).add(rec.id);
      }
    };
    for (const s of this.stages) {
      const free = new Map();    /* id that is gone -> its slot */
      for (const rec of s.removed) if (!rec.fusion) free.set(rec.id, this.slot.get(rec.id));
      for (const rec of s.added) {
        if (this.slot.has(rec.id)) continue;
        let slot = rec.id;
        if (!rec.fusion)
          search: for (const o of rec.origins)
            for (const id of byOrigin.get(o) || [])
              if (free.has(id)) {
                slot = free.get(id);
                free.delete(id);
                break search;
              }
        this.slot.set(rec.id, slot);
      }
      for (const rec of s.removed)
        for (const o of rec.origins) byOrigin.get(o)?.delete(rec.id);
      for (const rec of s.added) note(rec);
    }
  }

  /* Nodes of stage k by the original nodes that they came from. */
  byOrigin(k) {
    const g = this.graph(k);
    if (g.byOrigin) return g.byOrigin;
    g.byOrigin = new Map();
    for (const rec of g.recs)
      for (const o of rec.origins) {
        if (g.byOrigin.has(o)) g.byOrigin.get(o).push(rec);
        else g.byOrigin.set(o, [rec]);
      }
    return g.byOrigin;
  }

  /* What a node of one stage is at another: itself where it is still there, else all that share an origin. */
  counterparts(rec, k) {
    const same = this.nodeAt(rec.id, k);
    if (same) return [same];
    const index = this.byOrigin(k), found = new Set();
    for (const o of rec.origins)
      for (const other of index.get(o) || []) if (other.fusion === rec.fusion || rec.fusion || other.fusion) found.add(other);
    const leaves = [...found].filter(r => !r.fusion);
    return leaves.length ? leaves : [...found];
  }

  /* How a node of stage k stands beside stage j: "same", "changed", "fused", "new" (j before) or "gone" (j after). */
  standing(rec, k, j) {
    const other = this.nodeAt(rec.id, j);
    if (rec.fusion) return other ? "same" : j < k ? "fused" : "gone";
    if (!other) {
      const index = this.byOrigin(j);
      const kin = rec.origins.some(o => index.has(o));
      return j < k ? (kin ? "changed" : "new") : kin ? "changed" : "gone";
    }
    const a = this.nodeAt(rec.parent, k), b = this.nodeAt(other.parent, j);
    const inA = !!(a && a.fusion), inB = !!(b && b.fusion);
    if (inA !== inB) return "fused";
    return other === rec || (other.op === rec.op && String(other.attrs) === String(rec.attrs) &&
      this.sameInputs(rec, other)) ? "same" : "changed";
  }

  sameInputs(a, b) {
    return a.ins.length === b.ins.length &&
      a.ins.every((v, i) => v === b.ins[i] || (this.isWeight(v) === this.isWeight(b.ins[i]) && !this.isWeight(v)));
  }

  isWeight(v) {
    const value = this.values.get(v);
    return !!(value && value.weight);
  }
}
