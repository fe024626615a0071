/* Where everything stands: every open container is laid out by itself, in layers, and is then a box in the one around
 * it. All steps are linear in nodes and edges, but for sorting within a layer.
 *
 *   layers by the longest path - dummies where an edge passes layers - order by barycenters, a few sweeps - x by
 *   drawing each to the mean of its neighbours, in order and without overlap (pool adjacent violators); layers that are
 *   far too wide become several rows
 *
 * Where things stood before is the first order, so that little moves when the stage changes. */

const GAP_X = 18, GAP_Y = 30, PAD = 14, HEAD = 26, MOST_SPAN = 24, WIDEST = 5000;

/* One line within one container: from a child (or its upper border) to a child (or its lower border). */
class Hop {
  constructor(holder, from, to, fromPort, toPort) {
    this.holder = holder;
    this.from = from;           /* item; null: the upper border */
    this.to = to;               /* item; null: the lower border */
    this.fromPort = fromPort;   /* key of the port at an open child's border */
    this.toPort = toPort;
    this.values = [];
    this.pts = null;
    this.back = false;
  }
}

class Layout {
  constructor(tree, seeds) {
    this.tree = tree;
    this.seeds = seeds || new Map();
    this.hops = [];
    this.hopIndex = new Map();
    this.holders = new Map();   /* container -> { hops, ins, outs } */
    this.flows = [];            /* an edge between visible boxes: { from, to, v, hops } */
    this.route();
    this.arrange(this.tree.root);
    this.settle(this.tree.root, 0, 0);
    this.finish();
  }

  holder(item) {
    let h = this.holders.get(item);
    if (!h) this.holders.set(item, h = { hops: [], ins: new Map(), outs: new Map() });
    return h;
  }

  hop(holder, from, to, fromPort, toPort, v) {
    const key = holder.key + "\n" + (from ? from.key : "") + "\n" + fromPort + "\n" + (to ? to.key : "") + "\n" + toPort;
    let hop = this.hopIndex.get(key);
    if (!hop) {
      hop = new Hop(holder, from, to, fromPort, toPort);
      this.hopIndex.set(key, hop);
      this.hops.push(hop);
      this.holder(holder).hops.push(hop);
    }
    if (hop.values.length < 8) hop.values.push(v);
    return hop;
  }

  /* Cuts every edge into hops: out of the containers around its start, across their common one, into those around its
   * end. */
  route() {
    const t = this.tree, flat = !t.root.children.some(c => c.open), seen = new Map();
    const depth = item => {
      let d = 0;
      for (let p = item; p; p = p.parent) d++;
      return d;
    };
    for (const e of t.graph.edges) {
      const a = t.visible(t.leafOf.get(e.from.id)), b = t.visible(t.leafOf.get(e.to.id));
      if (a === b) continue;
      const flow = { from: a, to: b, edge: e, hops: [] };
      this.flows.push(flow);
      if (flat) {
        flow.hops.push(this.hop(t.root, a, b, "", "", e.v));
        continue;
      }
      const pair = a.key + "\n" + b.key;
      const known = seen.get(pair);
      if (known) {
        flow.hops = known;
        for (const h of known) if (h.values.length < 8) h.values.push(e.v);
        continue;
      }
      this.cut(flow, a, b, e.v, depth);
      seen.set(pair, flow.hops);
    }
  }

  cut(flow, a, b, v, depth) {
    let up = a, down = b, upPort = "", downPort = "", da = depth(a), db = depth(b);
    const into = [];
    while (up.parent !== down.parent || up === down) {
      if (da >= db && up.parent) {
        const p = up.parent;
        if (p === down) break;
        flow.hops.push(this.hop(p, up, null, upPort, "", v));
        upPort = up.key;
        up = p;
        da--;
      } else {
        const p = down.parent;
        if (p === up) break;
        into.push([p, down, downPort]);
        downPort = down.key;
        down = p;
        db--;
      }
    }
    if (up.parent === down.parent && up.parent) flow.hops.push(this.hop(up.parent, up, down, upPort, downPort, v));
    else if (down.parent === up) flow.hops.push(this.hop(up, null, down, "", downPort, v)); /* from the node around it */
    for (const [p, child, port] of into.reverse()) flow.hops.push(this.hop(p, null, child, child.key, port, v));
  }

  size(item) {
    if (!item.open) [item.w, item.h] = boxSize(item, this.tree.model);
    else this.arrange(item);
  }

  arrange(item) {
    const kids = item.children;
    for (const c of kids) this.size(c);
    const own = this.holders.get(item), hops = own ? own.hops : [];
    const layers = new Layers(kids, hops, this.seeds, item.parent === null);
    layers.run();
    const head = item.parent ? HEAD : 0, pad = item.parent ? PAD : 0;
    item.w = layers.width + 2 * pad;
    item.h = layers.height + head + pad;
    item.ports = { top: layers.top, bottom: layers.bottom };
    if (item.parent) {
      const label = 60 + 7 * Math.min(30, item.label.length);
      item.w = Math.max(item.w, label);
    }
    const dx = pad, dy = head;
    for (const c of kids) {
      c.rx = c.x + dx;
      c.ry = c.y + dy;
    }
    for (const h of hops) for (const p of h.pts) {
      p[0] += dx;
      p[1] += dy;
    }
    for (const side of [layers.top, layers.bottom]) for (const [k, x] of side) side.set(k, x + dx);
  }

  /* From places within their containers to places in the picture. */
  settle(item, x, y) {
    item.x = x;
    item.y = y;
    const own = this.holders.get(item);
    if (own) for (const h of own.hops) for (const p of h.pts) {
      p[0] += x;
      p[1] += y;
    }
    if (item.open) for (const c of item.children) this.settle(c, x + c.rx, y + c.ry);
  }

  /* Lines begin and end at the ports of open children. */
  finish() {
    for (const h of this.hops) {
      const first = h.pts[0], end = h.pts[h.pts.length - 1];
      if (h.from && h.from.open && h.from.ports.bottom.has(h.fromPort)) first[0] = h.from.x + h.from.ports.bottom.get(h.fromPort);
      if (h.to && h.to.open && h.to.ports.top.has(h.toPort)) end[0] = h.to.x + h.to.ports.top.get(h.toPort);
      if (!h.from) first[1] = h.holder.y;
      if (!h.to) end[1] = h.holder.y + h.holder.h;
      let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
      for (const [x, y] of h.pts) {
        x0 = Math.min(x0, x);
        x1 = Math.max(x1, x);
        y0 = Math.min(y0, y);
        y1 = Math.max(y1, y);
      }
      h.box = [x0, y0, x1, y1];
    }
    this.width = this.tree.root.w;
    this.height = this.tree.root.h;
  }
}

/* The layers of one container. Vertices are its children, then dummies, all in arrays of numbers. */
class Layers {
  constructor(kids, hops, seeds, outermost) {
    this.kids = kids;
    this.hops = hops;
    this.seeds = seeds;
    this.outermost = outermost;
    this.w = kids.map(c => c.w);
    this.h = kids.map(c => c.h);
    this.rank = new Int32Array(kids.length);
    this.up = kids.map(() => []);
    this.down = kids.map(() => []);
    this.top = new Map();
    this.bottom = new Map();
  }

  run() {
    this.index = new Map(this.kids.map((c, i) => [c, i]));
    this.rankAll();
    this.addDummies();
    this.orderAll();
    this.wrapRows();
    this.placeX();
    this.placeY();
    this.trace();
  }

  rankAll() {
    const n = this.kids.length, next = Array.from({ length: n }, () => []), fed = new Uint8Array(n);
    const byOrder = this.alongTheFlow(), place = new Int32Array(n);
    byOrder.forEach((v, i) => { place[v] = i; });
    for (const h of this.hops) {
      if (!h.to) continue;
      const b = this.index.get(h.to);
      if (!h.from) {
        fed[b] = 1;
        continue;
      }
      const a = this.index.get(h.from);
      if (place[a] < place[b]) {
        next[a].push(b);
        fed[b] = 1;
      } else {
        h.back = true;
      }
    }
    for (const v of byOrder) for (const to of next[v]) this.rank[to] = Math.max(this.rank[to], this.rank[v] + 1);
    for (let i = n - 1; i >= 0; i--) {      /* what nothing feeds stands right above what it feeds */
      const v = byOrder[i];
      if (fed[v] || !next[v].length) continue;
      let least = Infinity;
      for (const to of next[v]) least = Math.min(least, this.rank[to]);
      this.rank[v] = Math.max(0, least - 1);
    }
    this.ranks = n ? this.rank.reduce((a, b) => Math.max(a, b), 0) + 1 : 1;
    const loose = [];                      /* children without any edge, all of them, stand in a square */
    for (let v = 0; v < n; v++) if (!fed[v] && !next[v].length) loose.push(v);
    if (n > 1 && !this.hops.length) {
      const perRow = Math.max(1, Math.ceil(Math.sqrt(n)));
      loose.forEach((v, i) => { this.rank[v] = Math.floor(i / perRow); });
      this.ranks = Math.ceil(n / perRow);
    }
  }

  /* The children in reverse postorder of a walk along the lines; where scopes feed each other in a cycle, the one that
   * holds the earlier node is the first. */
  alongTheFlow() {
    const n = this.kids.length, to = Array.from({ length: n }, () => []), done = new Uint8Array(n), post = [];
    for (const h of this.hops) if (h.from && h.to) to[this.index.get(h.from)].push(this.index.get(h.to));
    const starts = [...this.kids.keys()].sort((a, b) => this.kids[b].order - this.kids[a].order || b - a);
    const indegree = new Int32Array(n);
    for (const list of to) for (const b of list) indegree[b]++;
    for (const start of [...starts.filter(v => !indegree[v]), ...starts.reverse()]) {
      if (done[start]) continue;
      done[start] = 1;
      const stack = [[start, 0]];
      while (stack.length) {
        const top = stack[stack.length - 1], list = to[top[0]];
        if (top[1] >= list.length) {
          post.push(top[0]);
          stack.pop();
          continue;
        }
        const v = list[top[1]++];
        if (done[v]) continue;
        done[v] = 1;
        stack.push([v, 0]);
      }
    }
    return post.reverse();
  }

  dummy(r) {
    this.w.push(6);
    this.h.push(0);
    this.up.push([]);
    this.down.push([]);
    this.dummyRank.push(r);
    return this.w.length - 1;
  }

  link(a, b) {
    this.down[a].push(b);
    this.up[b].push(a);
  }

  /* A chain of dummies from vertex a (or -1) to b (or -1) through layers r0..r1; long ones are left out. */
  chain(a, b, r0, r1) {
    const path = [];
    let before = a;
    for (let r = r0; r <= r1; r++) {
      const d = this.dummy(r);
      if (before >= 0) this.link(before, d);
      path.push(d);
      before = d;
    }
    if (before >= 0 && b >= 0) this.link(before, b);
    return path;
  }

  addDummies() {
    this.dummyRank = [];
    const shared = new Map();
    for (const h of this.hops) {
      const a = h.from ? this.index.get(h.from) : -1, b = h.to ? this.index.get(h.to) : -1;
      const r0 = h.from ? this.rank[a] + 1 : 0, r1 = h.to ? this.rank[b] - 1 : this.ranks - 1;
      h.path = [];
      if (h.back || r1 - r0 + 1 > MOST_SPAN) {
        h.long = !h.back;
        if (!h.from || !h.to) h.path = [this.dummy(h.from ? this.ranks - 1 : 0)];
        continue;
      }
      const key = h.from && h.to ? null : h.from ? "o" + a : "i" + b;
      if (key && shared.has(key)) h.path = shared.get(key);
      else h.path = this.chain(a, b, r0, r1);
      if (key) shared.set(key, h.path);
    }
  }

  rankOf(v) { return v < this.kids.length ? this.rank[v] : this.dummyRank[v - this.kids.length]; }

  orderAll() {
    const n = this.w.length, rows = Array.from({ length: this.ranks }, () => []);
    this.pos = new Float64Array(n);
    const first = new Float64Array(n);
    for (let v = 0; v < n; v++) {
      rows[this.rankOf(v)].push(v);
      const seed = v < this.kids.length ? this.seeds.get(this.kids[v].key) : undefined;
      first[v] = seed !== undefined ? seed : v < this.kids.length ? this.kids[v].order * 1e-3 : NaN;
    }
    for (let v = this.kids.length; v < n; v++)   /* dummies begin where their chain begins or ends */
      if (isNaN(first[v])) first[v] = this.up[v].length ? first[this.up[v][0]] : NaN;
    for (let v = n - 1; v >= this.kids.length; v--)
      if (isNaN(first[v])) first[v] = this.down[v].length ? first[this.down[v][0]] : 0;
    for (const row of rows) row.sort((a, b) => first[a] - first[b] || a - b);
    this.rows = rows;
    const number = row => row.forEach((v, i) => { this.pos[v] = i; });
    rows.forEach(number);
    const sweeps = n > 8000 ? 2 : n > 2000 ? 4 : 8, key = new Float64Array(n);
    const sort = (row, side) => {
      if (row.length < 2) return;
      for (const v of row) {
        const near = side[v];
        let sum = 0;
        for (const u of near) sum += (this.pos[u] + 0.5) / this.rows[this.rankOf(u)].length;
        key[v] = near.length ? sum / near.length : (this.pos[v] + 0.5) / row.length;
      }
      row.sort((a, b) => key[a] - key[b] || this.pos[a] - this.pos[b]);
      number(row);
    };
    for (let s = 0; s < sweeps; s++) {
      if (s % 2 === 0) for (let r = 1; r < this.ranks; r++) sort(rows[r], this.up);
      else for (let r = this.ranks - 2; r >= 0; r--) sort(rows[r], this.down);
    }
  }

  /* Layers far wider than the whole is high become several rows: nothing in a layer feeds its neighbours. */
  wrapRows() {
    let area = 0;
    this.kids.forEach((c, v) => { area += (this.w[v] + GAP_X) * (this.h[v] + GAP_Y); });
    const most = Math.max(WIDEST, 1.6 * Math.sqrt(area)), rows = [];
    for (const row of this.rows) {
      let part = [], width = 0;
      for (const v of row) {
        if (width + this.w[v] > most && part.length) {
          rows.push(part);
          part = [];
          width = 0;
        }
        part.push(v);
        width += this.w[v] + GAP_X;
      }
      rows.push(part);
    }
    if (rows.length === this.rows.length) return;
    rows.forEach((row, r) => {
      for (const v of row) {
        if (v < this.kids.length) this.rank[v] = r;
        else this.dummyRank[v - this.kids.length] = r;
      }
    });
    this.rows = rows;
    this.ranks = rows.length;
  }

  /* Nearest places to `want` in the row's order that do not overlap. */
  fit(row, want) {
    const m = row.length, offset = new Float64Array(m);
    for (let i = 1; i < m; i++) offset[i] = offset[i - 1] + (this.w[row[i - 1]] + this.w[row[i]]) / 2 + GAP_X;
    const mean = [], weight = [], size = [];
    for (let i = 0; i < m; i++) {
      mean.push(want[row[i]] - offset[i]);
      weight.push(row[i] < this.kids.length ? 1 : 2);
      size.push(1);
      while (mean.length > 1 && mean[mean.length - 2] > mean[mean.length - 1]) {
        const b = mean.length - 1, a = b - 1, total = weight[a] + weight[b];
        mean[a] = (mean[a] * weight[a] + mean[b] * weight[b]) / total;
        weight[a] = total;
        size[a] += size[b];
        mean.pop();
        weight.pop();
        size.pop();
      }
    }
    for (let g = 0, i = 0; g < mean.length; g++)
      for (let k = 0; k < size[g]; k++, i++) this.x[row[i]] = mean[g] + offset[i];
  }

  placeX() {
    const n = this.w.length, want = new Float64Array(n);
    this.x = new Float64Array(n);
    for (const row of this.rows) {
      let at = 0;
      for (const v of row) {
        this.x[v] = at + this.w[v] / 2;
        at += this.w[v] + GAP_X;
      }
      for (const v of row) this.x[v] -= at / 2;
    }
    const pull = (row, sides) => {
      for (const v of row) {
        let sum = 0, count = 0;
        for (const side of sides) for (const u of side[v]) {
          sum += this.x[u];
          count++;
        }
        want[v] = count ? sum / count : this.x[v];
      }
      this.fit(row, want);
    };
    const sweeps = n > 8000 ? 4 : n > 2000 ? 6 : 10;
    for (let s = 0; s < sweeps; s++) {
      const both = s >= sweeps - 2;
      if (s % 2 === 0) for (let r = 0; r < this.ranks; r++) pull(this.rows[r], both ? [this.up, this.down] : [this.up]);
      else for (let r = this.ranks - 1; r >= 0; r--) pull(this.rows[r], both ? [this.up, this.down] : [this.down]);
    }
    let least = Infinity, most = -Infinity;
    for (let v = 0; v < n; v++) {
      least = Math.min(least, this.x[v] - this.w[v] / 2);
      most = Math.max(most, this.x[v] + this.w[v] / 2);
    }
    if (!n) least = most = 0;
    for (let v = 0; v < n; v++) this.x[v] -= least;
    this.width = most - least;
  }

  placeY() {
    this.rowTop = new Float64Array(this.ranks + 1);
    this.rowHeight = new Float64Array(this.ranks);
    let y = this.outermost ? 0 : 10;
    for (let r = 0; r < this.ranks; r++) {
      let most = 0;
      for (const v of this.rows[r]) most = Math.max(most, this.h[v]);
      this.rowTop[r] = y;
      this.rowHeight[r] = most;
      y += most + (most || this.rows[r].length ? GAP_Y : 0);
    }
    this.height = Math.max(0, y - GAP_Y) + (this.outermost ? 0 : 10);
    this.kids.forEach((c, i) => {
      c.x = this.x[i] - c.w / 2;
      c.y = this.rowTop[this.rank[i]] + (this.rowHeight[this.rank[i]] - c.h) / 2;
    });
  }

  trace() {
    for (const h of this.hops) {
      const pts = [];
      if (h.from) {
        const a = this.index.get(h.from);
        pts.push([this.x[a], h.from.y + h.from.h]);
      }
      for (const d of h.path) {
        const r = this.rankOf(d);
        pts.push([this.x[d], this.rowTop[r]]);
        if (this.rowHeight[r] > 4) pts.push([this.x[d], this.rowTop[r] + this.rowHeight[r]]);
      }
      if (h.to) {
        const b = this.index.get(h.to);
        if (!h.from) pts.unshift([h.path.length ? this.x[h.path[0]] : this.x[b], 0]);
        pts.push([this.x[b], h.to.y]);
      } else {
        pts.push([pts[pts.length - 1][0], this.height]);
      }
      h.pts = pts;
      if (!h.from) this.top.set(h.fromPort || h.to.key, pts[0][0]);
      if (!h.to) this.bottom.set(h.from.key, pts[pts.length - 1][0]);
    }
  }
}
