/* Transposes: to where they cancel, many at a time.
 *
 *     %a = Transpose %x { perm = [0,2,3,1] }          %b = Add %x, %k'       (%k' is %k turned)
 *     %b = Add %a, %k                            ⇒    %c = Relu %b
 *     %c = Relu %b                                    %d = Conv %c, …
 *     %t = Transpose %c { perm = [0,3,1,2] }          %m = ReduceMean %c, axes [2,3]
 *     %d = Conv %t, …
 *     %m = ReduceMean %c, axes [1,2]
 *
 * An exporter of a framework whose images have their channels last writes islands of nodes between Transposes. Moving
 * one Transpose past one node helps no one as long as the others stay: the sum of a residual network has two operands,
 * and its result two readers. So all nodes that could work on flipped operands (flip.h) are looked at together, as far
 * as they reach from one Transpose, and each is given to one of two sides: as it is, or flipped. A value that is made
 * on one side and read on the other costs a Transpose, whatever the number of its readers; the Transposes that there
 * are stand between x, on one side, and their result, on the other. The fewest Transposes are a minimum cut.
 *
 * Values of which the flip is none (a mean over height and width leaves batch and channels in their order) cost
 * nothing on either side. Regions are bounded, so that the work is linear; a graph is only changed where Transposes
 * become fewer. Nothing else changes: no node is added but a Transpose. To the bit the numbers stay what they are, but
 * for sums over several dims, which go on in another order: at level 1, and with --fp strict, these stay. */
#include <stdlib.h>

#include "passes/flip.h"
#include "passes/layout.h"

enum { MAX_NODES = 2000 };

/* A value of the region, and what flips it. */
typedef struct place {
    gi_value *v;
    gi_perm p;
    gi_value *flipped; /* once it is there */
} place;

typedef struct region {
    gi_pass_ctx *cx;
    gi_block *block;
    gi_vec(place) places;
    gi_vec(gi_flip) flips; /* of the nodes that can be flipped */
    gi_map at;             /* value id + 1 to place index + 1, node id + 1 | 1 << 32 to flip index + 1 */
    bool *side;            /* per flip: is it flipped? */
    bool exact;            /* sums stay in their order */
    bool failed;
} region;

static uint64_t node_key(const gi_node *n)
{
    return ((uint64_t)n->id + 1) | (uint64_t)1 << 33;
}

static place *find_place(const region *r, const gi_value *v)
{
    const uintptr_t i = (uintptr_t)gi_map_get(&r->at, (uint64_t)v->id + 1);
    return i ? &r->places.p[i - 1] : NULL;
}

/* The index of a node's flip; -1 where it has none. */
static int64_t find_flip(const region *r, const gi_node *n)
{
    return (int64_t)(uintptr_t)gi_map_get(&r->at, node_key(n)) - 1;
}

static bool perm_of(const gi_node *transpose, gi_perm *p)
{
    int64_t perm[GOPT_MAX_RANK];
    if (!gi_transpose_perm(transpose, perm, &p->rank))
        return false;
    for (int i = 0; i < p->rank; i++)
        p->at[i] = (int8_t)perm[i];
    return true;
}

/* ---- growing the region ---- */

static bool add_place(region *r, gi_value *v, const gi_perm *p)
{
    const bool added = gi_push(r->cx->scratch, &r->places, ((place){ .v = v, .p = *p })) &&
                       gi_map_put(&r->at, (uint64_t)v->id + 1, (void *)(uintptr_t)r->places.n);
    r->failed |= !added;
    return added;
}

/* Do the values that a flip asks to be flipped agree with what is asked of them already? */
static bool agrees(const region *r, const gi_flip *f)
{
    for (uint32_t i = 0; i < f->n->n_in + f->n->n_out; i++) {
        const bool is_in = i < f->n->n_in;
        const gi_perm *p = is_in ? &f->in[i] : &f->out[i - f->n->n_in];
        const gi_value *v = is_in ? gi_node_in(f->n, i) : f->n->out[i - f->n->n_in];
        const place *at = v && p->rank >= 0 ? find_place(r, v) : NULL;
        if (at && !gi_perm_equal(&at->p, p))
            return false;
    }
    for (uint32_t i = 0; i < f->n->n_in; i++) /* one value twice */
        for (uint32_t k = 0; k < i; k++)
            if (gi_node_in(f->n, i) == gi_node_in(f->n, k) && f->in[i].rank >= 0 && f->in[k].rank >= 0 &&
                !gi_perm_equal(&f->in[i], &f->in[k]))
                return false;
    return true;
}

/* The node joins, if it can be flipped as the place asks that it reads or makes. */
static void try_node(region *r, gi_node *n, const gi_value *through, const gi_perm *p)
{
    gi_flip f;
    bool found = false;
    if (n->block != r->block || n->op == OP_Transpose || r->flips.n == MAX_NODES || find_flip(r, n) >= 0 ||
        (gi_op_get(n->op)->traits & GI_CONTROL))
        return;
    if (through->kind == GI_DEF_NODE && through->def.node == n)
        found = gi_flip_from_out(r->cx->scratch, n, through->index, p, &f);
    for (uint32_t i = 0; i < n->n_in && !found; i++)
        found = n->in[i].value == through && gi_flip_from_in(r->cx->scratch, n, i, p, &f);
    if (!found || (f.sums && r->exact) || !agrees(r, &f))
        return;
    if (!gi_push(r->cx->scratch, &r->flips, f) || !gi_map_put(&r->at, node_key(n), (void *)(uintptr_t)r->flips.n)) {
        r->failed = true;
        return;
    }
    for (uint32_t i = 0; i < n->n_in; i++)
        if (f.in[i].rank >= 0 && !find_place(r, n->in[i].value))
            add_place(r, n->in[i].value, &f.in[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        if (f.out[i].rank >= 0 && !find_place(r, n->out[i]))
            add_place(r, n->out[i], &f.out[i]);
}

/* From the result of a Transpose, flipped back, as far as nodes can be flipped. */
static void grow(region *r, gi_node *seed)
{
    gi_perm q;
    if (!perm_of(seed, &q))
        return;
    const gi_perm back = gi_perm_inverse(&q);
    add_place(r, seed->out[0], &back);
    if (!find_place(r, gi_node_in(seed, 0)))
        add_place(r, gi_node_in(seed, 0), &q);
    for (size_t i = 0; i < r->places.n && !r->failed; i++) {
        gi_value *v = r->places.p[i].v;
        const gi_perm p = r->places.p[i].p;
        if (gi_value_node(v))
            try_node(r, v->def.node, v, &p);
        for (const gi_use *u = v->uses; u && !r->failed; u = u->next)
            if (u->node)
                try_node(r, u->node, v, &p);
    }
}

/* ---- the cut ---- */

typedef struct edge {
    uint32_t to, next;
    int32_t left; /* capacity */
} edge;

enum { AS_IT_IS = 0, FLIPPED = 1, FIRST_NODE = 2, MUCH = 1 << 28 };

typedef struct network {
    gi_arena *arena;
    gi_vec(edge) edges; /* each beside its reverse */
    gi_vec(uint32_t) first;
    bool failed;
} network;

static uint32_t add_vertex(network *w)
{
    w->failed |= !gi_push(w->arena, &w->first, UINT32_MAX);
    return (uint32_t)w->first.n - 1;
}

static void add_edge(network *w, uint32_t from, uint32_t to, int32_t capacity)
{
    if (w->failed)
        return;
    w->failed |= !gi_push(w->arena, &w->edges, ((edge){ to, w->first.p[from], capacity }));
    w->failed |= !gi_push(w->arena, &w->edges, ((edge){ from, w->first.p[to], 0 }));
    if (w->failed)
        return;
    w->first.p[from] = (uint32_t)w->edges.n - 2;
    w->first.p[to] = (uint32_t)w->edges.n - 1;
}

/* What makes or reads a place's value, as vertices; those that may stand on either side are left out. */
typedef struct pins {
    gi_vec(uint32_t) list;
    bool as_it_is, flipped, movable;
} pins;

static void add_pin(region *r, pins *p, uint32_t vertex)
{
    bool *seen = vertex == AS_IT_IS ? &p->as_it_is : vertex == FLIPPED ? &p->flipped : &p->movable;
    if (vertex < FIRST_NODE && *seen)
        return;
    *seen = true;
    r->failed |= !gi_push(r->cx->scratch, &p->list, vertex);
}

static void collect_pins(region *r, const place *at, pins *p)
{
    *p = (pins){ .movable = false };
    gi_node *maker = gi_value_node(at->v);
    gi_perm q;
    if (!maker && gi_value_blob(at->v) == NULL)
        add_pin(r, p, AS_IT_IS);
    else if (maker && maker->op == OP_Transpose && maker->block == r->block && perm_of(maker, &q)) {
        q = gi_perm_inverse(&q);
        if (gi_perm_equal(&q, &at->p))
            add_pin(r, p, FLIPPED);
    } else if (maker) {
        const int64_t i = maker->block == r->block ? find_flip(r, maker) : -1;
        add_pin(r, p, i < 0 ? AS_IT_IS : (uint32_t)i + FIRST_NODE);
    }
    for (const gi_use *u = at->v->uses; u; u = u->next) {
        const int64_t i = u->node && u->node->block == r->block ? find_flip(r, u->node) : -1;
        if (u->node && u->node->op == OP_Transpose && u->node->block == r->block && perm_of(u->node, &q)) {
            if (gi_perm_equal(&q, &at->p))
                add_pin(r, p, FLIPPED);
        } else {
            add_pin(r, p, i >= 0 && r->flips.p[i].in[u->index].rank >= 0 ? (uint32_t)i + FIRST_NODE : AS_IT_IS);
        }
    }
}

/* A value costs a Transpose where its pins are not all on one side. */
static void add_net(network *w, const pins *p)
{
    const uint32_t in = add_vertex(w), out = add_vertex(w);
    add_edge(w, in, out, 1);
    for (size_t i = 0; i < p->list.n; i++) {
        add_edge(w, p->list.p[i], in, MUCH);
        add_edge(w, out, p->list.p[i], MUCH);
    }
}

/* One more unit of flow along a shortest path; false where there is none. */
static bool augment(network *w, uint32_t *parent, uint32_t *queue)
{
    const size_t n = w->first.n;
    for (size_t i = 0; i < n; i++)
        parent[i] = UINT32_MAX;
    size_t head = 0, tail = 0;
    queue[tail++] = AS_IT_IS;
    while (head < tail && parent[FLIPPED] == UINT32_MAX) {
        const uint32_t v = queue[head++];
        for (uint32_t e = w->first.p[v]; e != UINT32_MAX; e = w->edges.p[e].next) {
            const edge *x = &w->edges.p[e];
            if (x->left <= 0 || x->to == AS_IT_IS || parent[x->to] != UINT32_MAX)
                continue;
            parent[x->to] = e;
            queue[tail++] = x->to;
        }
    }
    if (parent[FLIPPED] == UINT32_MAX)
        return false;
    for (uint32_t v = FLIPPED; v != AS_IT_IS; v = w->edges.p[parent[v] ^ 1].to) {
        w->edges.p[parent[v]].left--;
        w->edges.p[parent[v] ^ 1].left++;
    }
    return true;
}

/* Which nodes lie on the flipped side: those that what is left of the capacities connects to it, no more. */
static void find_side(region *r, network *w, uint32_t *queue)
{
    bool *reaches = GI_NEW_ARRAY(r->cx->scratch, bool, w->first.n);
    r->side = GI_NEW_ARRAY(r->cx->scratch, bool, r->flips.n + 1);
    if (!reaches || !r->side) {
        r->failed = true;
        return;
    }
    size_t head = 0, tail = 0;
    queue[tail++] = FLIPPED;
    reaches[FLIPPED] = true;
    while (head < tail) {
        const uint32_t v = queue[head++];
        for (uint32_t e = w->first.p[v]; e != UINT32_MAX; e = w->edges.p[e].next) {
            const edge *back = &w->edges.p[e ^ 1]; /* from where the edge leads, to v */
            const uint32_t from = w->edges.p[e].to;
            if (back->left <= 0 || reaches[from])
                continue;
            reaches[from] = true;
            queue[tail++] = from;
        }
    }
    for (size_t i = 0; i < r->flips.n; i++)
        r->side[i] = reaches[i + FIRST_NODE];
}

/* How many Transposes become fewer with the nodes on their best sides. */
static int64_t cut(region *r)
{
    network w = { .arena = r->cx->scratch };
    int64_t before = 0, after = 0;
    for (size_t i = 0; i < r->flips.n + FIRST_NODE; i++)
        add_vertex(&w);
    for (size_t i = 0; i < r->places.n && !r->failed; i++) {
        pins p;
        if (gi_perm_is_identity(&r->places.p[i].p))
            continue;
        collect_pins(r, &r->places.p[i], &p);
        before += p.flipped && (p.as_it_is || p.movable);
        if (p.list.n > 1)
            add_net(&w, &p);
    }
    uint32_t *parent = GI_NEW_ARRAY(r->cx->scratch, uint32_t, w.first.n),
             *queue = GI_NEW_ARRAY(r->cx->scratch, uint32_t, w.first.n);
    r->failed |= w.failed || !parent || !queue;
    if (r->failed || before < 1)
        return 0;
    while (after < before && augment(&w, parent, queue))
        after++;
    if (after < before)
        find_side(r, &w, queue);
    return before - after;
}

/* ---- changing the graph ---- */

/* The node behind which, at the earliest, something may read v. */
static gi_node *behind(const region *r, const gi_value *v)
{
    const gi_node *maker = gi_value_node(v);
    return maker && maker->block == r->block ? maker->next : r->block->first;
}

static gi_value *build_transpose(region *r, gi_value *x, const gi_perm *p)
{
    int64_t perm[GOPT_MAX_RANK];
    const gi_node *maker = gi_value_node(x);
    for (int i = 0; i < p->rank; i++)
        perm[i] = p->at[i];
    gi_node *t = gi_node_create(r->block, behind(r, x), OP_Transpose, 1, &x, 1);
    if (!t || !gi_attr_set_ints(t, Transpose_at_perm, (uint32_t)p->rank, perm) ||
        gi_infer_node(t, r->cx->scratch) != GOPT_OK || (maker && !gi_node_merge_origins(t, maker)))
        return NULL;
    return t->out[0];
}

/* x transposed by p, through what it may be transposed of already. */
static gi_value *transposed(region *r, gi_value *x, const gi_perm *p)
{
    gi_perm q, both = *p;
    const gi_node *maker = gi_value_node(x);
    if (maker && maker->op == OP_Transpose && maker->block == r->block && perm_of(maker, &q)) {
        both = gi_perm_then(&q, p);
        x = gi_node_in(maker, 0);
    }
    return gi_perm_is_identity(&both) ? x : build_transpose(r, x, &both);
}

/* A Transpose of v by p that there is already, moved to where all can read it; NULL where there is none. */
static gi_value *find_transposed(region *r, const gi_value *v, const gi_perm *p)
{
    gi_perm q;
    for (const gi_use *u = v->uses; u; u = u->next) {
        if (!u->node || u->node->op != OP_Transpose || u->node->block != r->block || !perm_of(u->node, &q) ||
            !gi_perm_equal(&q, p))
            continue;
        gi_node *before = behind(r, v);
        if (before != u->node)
            gi_node_move(u->node, r->block, before);
        return u->node->out[0];
    }
    return NULL;
}

static gi_value *flipped(region *r, gi_value *v)
{
    place *at = find_place(r, v);
    if (!at->flipped)
        at->flipped = gi_perm_is_identity(&at->p) ? v : find_transposed(r, v, &at->p);
    if (!at->flipped)
        at->flipped = transposed(r, v, &at->p);
    return at->flipped;
}

static bool flip_node(region *r, const gi_flip *f)
{
    gi_value **in = GI_NEW_ARRAY(r->cx->scratch, gi_value *, f->n->n_in + 1);
    for (uint32_t i = 0; in && i < f->n->n_in; i++) {
        in[i] = f->in[i].rank >= 0 ? flipped(r, gi_node_in(f->n, i)) : NULL;
        if (f->in[i].rank >= 0 && !in[i])
            return false;
    }
    gi_node *y = in ? gi_flip_build(f, in, r->cx->scratch) : NULL;
    for (uint32_t i = 0; y && i < f->n->n_out; i++) {
        place *at = find_place(r, f->n->out[i]);
        if (at)
            at->flipped = y->out[i];
    }
    return y != NULL;
}

static bool is_flipped(const region *r, const gi_node *n)
{
    const int64_t i = find_flip(r, n);
    return i >= 0 && r->side[i];
}

/* The readers of a flipped node's result that are not flipped read it transposed back; Transposes read it as it is. */
static bool serve_readers(region *r, gi_value *v)
{
    place *at = find_place(r, v);
    gi_value *back = NULL;
    gi_perm q;
    if (!at)
        return v->n_uses == 0;
    const gi_perm inverse = gi_perm_inverse(&at->p);
    gi_vec(gi_node *) turned = { 0 };
    bool others = false;
    for (const gi_use *u = v->uses; u; u = u->next) {
        if (u->node && u->node->block == r->block && is_flipped(r, u->node))
            continue;
        if (!u->node || u->node->op != OP_Transpose || u->node->block != r->block || !perm_of(u->node, &q))
            others = true;
        else if (!gi_push(r->cx->scratch, &turned, u->node))
            return false;
    }
    for (size_t i = 0; i < turned.n; i++) {
        gi_node *t = turned.p[i];
        if (!perm_of(t, &q))
            return false;
        const gi_perm both = gi_perm_then(&inverse, &q);
        gi_value *y = gi_perm_is_identity(&both) ? at->flipped : build_transpose(r, at->flipped, &both);
        if (!y || !gi_node_merge_origins(y->def.node, t))
            return false;
        gi_value_refine(r->block->graph, y, t->out[0]->type);
        if (!gi_value_replace(t->out[0], y, t))
            return false;
        gi_value_take_name(y, t->out[0]);
        gi_remove_dead(t, r->cx->scratch);
    }
    if (!others)
        return true;
    back = gi_perm_is_identity(&inverse) ? at->flipped : build_transpose(r, at->flipped, &inverse);
    if (!back)
        return false;
    gi_value_refine(r->block->graph, back, v->type);
    for (gi_use *u = v->uses, *next; u; u = next) {
        next = u->next;
        if (u->node && u->node->block == r->block && is_flipped(r, u->node))
            continue;
        if (u->node)
            gi_node_set_in(u->node, u->index, back);
        else
            gi_block_set_result(u->block, u->index, back);
    }
    gi_value_take_name(back, v);
    return true;
}

/* The nodes to be flipped in the block's order. */
typedef struct turn {
    uint32_t number, flip;
} turn;

static int compare_turns(const void *x, const void *y)
{
    const turn *a = x, *b = y;
    return a->number < b->number ? -1 : a->number > b->number;
}

static gopt_status apply(region *r)
{
    uint32_t *number, n = 0;
    GI_NEED(gi_block_number(r->block, r->cx->scratch, &number));
    turn *order = GI_NEW_ARRAY(r->cx->scratch, turn, r->flips.n + 1);
    GI_NEED(order);
    for (uint32_t i = 0; i < r->flips.n; i++)
        if (r->side[i])
            order[n++] = (turn){ number[r->flips.p[i].n->id], i };
    qsort(order, n, sizeof *order, compare_turns);
    for (uint32_t i = 0; i < n; i++)
        GI_NEED(flip_node(r, &r->flips.p[order[i].flip]));
    for (uint32_t i = 0; i < n; i++) {
        const gi_flip *f = &r->flips.p[order[i].flip];
        for (uint32_t k = 0; k < f->n->n_out; k++)
            GI_NEED(serve_readers(r, f->n->out[k]));
    }
    for (uint32_t i = n; i-- > 0;)
        if (r->flips.p[order[i].flip].n->block)
            gi_remove_dead(r->flips.p[order[i].flip].n, r->cx->scratch);
    return GOPT_OK;
}

/* ---- the pass ---- */

typedef struct pass {
    gi_pass_ctx *cx;
    gi_vec(gi_node *) seeds;
    gi_map tried; /* by node id + 1 */
} pass;

static bool collect(void *arg, gi_node *n)
{
    pass *p = arg;
    return n->op != OP_Transpose || gi_value_blob(gi_node_in(n, 0)) || gi_push(p->cx->scratch, &p->seeds, n);
}

/* Transposes that this region had on its border need not be asked again. */
static bool mark_tried(pass *p, const region *r)
{
    for (size_t i = 0; i < r->places.n; i++) {
        gi_perm q;
        const gi_node *maker = gi_value_node(r->places.p[i].v);
        if (maker && maker->op == OP_Transpose && perm_of(maker, &q)) {
            q = gi_perm_inverse(&q);
            if (gi_perm_equal(&q, &r->places.p[i].p) && !gi_map_put(&p->tried, (uint64_t)maker->id + 1, p))
                return false;
        }
        for (const gi_use *u = r->places.p[i].v->uses; u; u = u->next)
            if (u->node && u->node->op == OP_Transpose && perm_of(u->node, &q) &&
                gi_perm_equal(&q, &r->places.p[i].p) && !gi_map_put(&p->tried, (uint64_t)u->node->id + 1, p))
                return false;
    }
    return true;
}

static gopt_status try_seed(pass *p, gi_node *seed)
{
    const gopt_optimize_options *o = p->cx->options;
    region r = { .cx = p->cx, .block = seed->block, .exact = o->level < 2 || o->fp == GOPT_FP_STRICT };
    gi_map_init(&r.at, p->cx->scratch);
    grow(&r, seed);
    GI_NEED(!r.failed && mark_tried(p, &r));
    if (!r.flips.n)
        return GOPT_OK;
    const int64_t fewer = cut(&r);
    GI_NEED(!r.failed);
    if (fewer < 1)
        return GOPT_OK;
    uint32_t flips = 0;
    bool sums = false;
    for (size_t i = 0; i < r.flips.n; i++) {
        flips += r.side[i];
        sums = sums || (r.side[i] && r.flips.p[i].sums);
    }
    const char *rule = sums ? "transposes_sums" : "transposes";
    if (!gi_pass_may(p->cx, rule))
        return GOPT_OK;
    gi_applied(p->cx, rule, seed, "%lld Transpose%s fewer, with %u node%s on dims in another order", (long long)fewer,
               fewer > 1 ? "s" : "", flips, flips > 1 ? "s" : "");
    return apply(&r);
}

gopt_status gi_pass_transposes(gopt_graph *g, gi_pass_ctx *cx)
{
    pass p = { .cx = cx };
    gi_map_init(&p.tried, cx->scratch);
    GI_NEED(gi_each_node(g->main, collect, &p));
    for (size_t i = 0; i < p.seeds.n; i++) {
        gi_node *n = p.seeds.p[i];
        if (n->block && !gi_map_get(&p.tried, (uint64_t)n->id + 1))
            GI_TRY(try_seed(&p, n));
    }
    return GOPT_OK;
}
