/* What is drawn inside what: scopes by the names' slashes, fusions, the blocks of control flow, and nodes as leaves.
 *
 * A leaf is a slot (see Model.findSlots), so a tree made of several stages has one leaf where a node was rewritten in
 * place. Keys are the same for every stage: what is open or selected stays so when the stage changes. */

const MOST_OWN = 60;

const LEAF = 0, SCOPE = 1, FUSION = 2, OWNER = 3;

class Item {
  constructor(key, type, label, parent) {
    this.key = key;
    this.type = type;
    this.label = label;
    this.parent = parent;
    this.children = [];
    this.rec = null;
    this.order = Infinity;
    this.leaves = 0;
    this.kinds = null;
    this.x = this.y = this.w = this.h = 0;
    this.open = false;
  }
}

/* "/features/features.1/attn/MatMul" lies in ["features", "features.1", "attn"]. */
function scopePath(rec) {
  const parts = s => s.slice(0, 2000).split("/").filter(p => p).slice(0, 24);
  if (rec.scope) return rec.scope.indexOf("/") >= 0 ? parts(rec.scope) : rec.scope.slice(0, 2000).split(".").filter(p => p).slice(0, 24);
  if (!rec.origins.length) return parts(rec.name).slice(0, -1);
  let common = parts(rec.origins[0]).slice(0, -1);
  for (let i = 1; i < rec.origins.length && common.length; i++) {
    const other = parts(rec.origins[i]);
    let n = 0;
    while (n < common.length && n < other.length - 1 && common[n] === other[n]) n++;
    common = common.slice(0, n);
  }
  return common;
}

class Tree {
  /* graph: of Model.connect. slotOf: id to slot. Items get an order that follows the flow. */
  constructor(model, graph, slotOf) {
    this.model = model;
    this.graph = graph;
    this.items = new Map();
    this.root = new Item("", SCOPE, "", null);
    this.leafOf = new Map();     /* node id -> item */
    this.slotOf = slotOf;
    for (let i = graph.recs.length - 1; i >= 0; i--) this.place(graph.recs[i]);  /* the younger decide where a slot is */
    this.flatten();
    this.gatherOwn();
    this.number();
    this.count(this.root);
  }

  scopeItem(path) {
    let item = this.root, key = "s:";
    for (const part of path) {
      key += "/" + part;
      let next = this.items.get(key);
      if (!next) {
        next = new Item(key, SCOPE, part, item);
        this.items.set(key, next);
        item.children.push(next);
      }
      item = next;
    }
    return item;
  }

  place(rec) {
    const known = this.leafOf.get(rec.id);
    if (known) return known;
    const owner = rec.parent ? this.graph.byId.get(rec.parent) : null;
    const inside = this.graph.inside.has(rec.id);
    const type = rec.fusion ? FUSION : inside ? OWNER : LEAF;
    const key = (type === LEAF ? "n:" : type === FUSION ? "f:" : "o:") + this.slotOf(rec.id);
    const parent = owner ? this.place(owner) : this.scopeItem(rec.port ? [] : scopePath(rec));
    let item = this.items.get(key);
    if (!item) {
      item = new Item(key, type, rec.op, parent);
      this.items.set(key, item);
      parent.children.push(item);
    }
    item.rec = rec;
    this.leafOf.set(rec.id, item);
    return item;
  }

  /* Scopes that hold one thing alone say nothing: what they hold takes their place. */
  flatten() {
    const visit = item => {
      for (let i = 0; i < item.children.length; i++) {
        let c = item.children[i];
        if (c.type !== LEAF) visit(c);
        while (c.type === SCOPE && c.children.length === 1) {
          const only = c.children[0];
          if (only.type === SCOPE) only.label = c.label + "/" + only.label;
          only.parent = item;
          this.items.delete(c.key);
          item.children[i] = c = only;
        }
      }
    };
    visit(this.root);
  }

  /* A scope's own nodes stand in a box of their own where they are so many that the scopes beside them would drown. */
  gatherOwn() {
    for (const scope of [this.root, ...this.items.values()]) {
      if (scope.type !== SCOPE) continue;
      const own = scope.children.filter(c => c.type !== SCOPE && !(c.rec && c.rec.port));
      if (own.length <= MOST_OWN || own.length === scope.children.length || !scope.children.some(c => c.type === SCOPE)) continue;
      const box = new Item(scope.key + "/*", SCOPE, scope.label ? "in " + scope.label : "at the top", scope);
      box.children = own;
      for (const c of own) c.parent = box;
      scope.children = [...scope.children.filter(c => c.parent === scope), box];
      this.items.set(box.key, box);
    }
  }

  /* Leaves in reverse postorder of a walk along the flow: what feeds a node comes before it, but in a cycle. */
  number() {
    const next = new Map();
    for (const e of this.graph.edges) {
      const a = this.leafOf.get(e.from.id), b = this.leafOf.get(e.to.id);
      if (a === b) continue;
      if (next.has(a)) next.get(a).push(b);
      else next.set(a, [b]);
    }
    const done = new Set(), post = [];
    for (const rec of this.graph.recs) {
      const start = this.leafOf.get(rec.id);
      if (start.type === FUSION || done.has(start)) continue;
      done.add(start);
      const stack = [[start, 0]];
      while (stack.length) {
        const top = stack[stack.length - 1], list = next.get(top[0]);
        if (!list || top[1] >= list.length) {
          post.push(top[0]);
          stack.pop();
          continue;
        }
        const to = list[top[1]++];
        if (!done.has(to)) {
          done.add(to);
          stack.push([to, 0]);
        }
      }
    }
    post.reverse().forEach((item, i) => {
      item.order = Math.min(item.order, i);
    });
  }

  count(item) {
    item.kinds = new Map();
    for (const c of item.children) {
      this.count(c);
      item.leaves += c.leaves;
      item.order = Math.min(item.order, c.order);
      for (const [k, n] of c.kinds) item.kinds.set(k, (item.kinds.get(k) || 0) + n);
    }
    item.children.sort((a, b) => a.order - b.order);
    if (item.type === LEAF || item.type === OWNER) {
      const counts = item.rec && !item.rec.port;
      item.leaves += counts ? 1 : 0;
      if (counts) item.kinds.set(item.rec.kind, (item.kinds.get(item.rec.kind) || 0) + 1);
    }
  }

  /* Which scopes to open so that about `budget` boxes are drawn: the largest first. */
  autoOpen(budget) {
    const open = new Set([""]), closed = [];
    let boxes = 0;
    const add = item => {
      for (const c of item.children) {
        boxes++;
        if (c.type === SCOPE) closed.push(c);
      }
    };
    add(this.root);
    for (;;) {
      let best = -1;
      for (let i = 0; i < closed.length; i++)
        if (boxes + closed[i].children.length - 1 <= budget && (best < 0 || closed[i].leaves > closed[best].leaves)) best = i;
      if (best < 0) return open;
      const [item] = closed.splice(best, 1);
      open.add(item.key);
      boxes--;
      add(item);
    }
  }

  /* Sets which items are open; with `all`, everything is but what lies in `closed`. */
  setOpen(open) {
    const visit = item => {
      item.open = item.type !== LEAF && (item.parent === null || open.has(item.key)) && item.children.length > 0;
      if (item.open) item.children.forEach(visit);
      else this.shut(item);
    };
    visit(this.root);
  }

  shut(item) {
    const stack = [...item.children];
    while (stack.length) {
      const c = stack.pop();
      c.open = false;
      stack.push(...c.children);
    }
  }

  /* The box that shows an item: itself, or the closed one around it. */
  visible(item) {
    let shown = item;
    for (let p = item.parent; p; p = p.parent) if (!p.open) shown = p;
    return shown;
  }
}
