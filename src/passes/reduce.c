/* The smallest part of a graph that shows a fault which one rewrite brought in.
 *
 * What the rewrite removed, or drew a region around, is found by comparing the graph before it with the graph after:
 * ids are given in order and never again, so a node that both have has one id in both. That part is cut out, and what
 * it reads becomes parameters. A rewrite may look further than at what it removes, and random values may not show what
 * real ones do (an index that lies in range, a mask that is 0 or 1): so the part is widened ring by ring, up to the
 * whole graph, until it shows the fault. Then it is made smaller by leaving nodes out, halves first, then ever smaller
 * pieces (Zeller and Hildebrandt's delta debugging), then results, then dims.
 *
 * Every step asks the caller whether the fault still shows, so nothing is taken for granted; tries and time are
 * limited, and what there is then is the answer. The last question is put to the graph read back from its own text:
 * that is what people get. */
#include "passes/reduce.h"

enum { MOST_TRIES = 400, MOST_SECONDS = 60 };

bool gi_reduce_more(const gi_reducer *r)
{
    return r->status == GOPT_OK && r->tries > 0 && gi_now() < r->until;
}

/* A random input can be made of these alone. */
static bool has_plain_inputs(const gopt_graph *g)
{
    for (uint32_t i = 0; i < g->main->n_params; i++) {
        const gi_type *t = g->main->params[i]->type;
        if (!t || t->kind != GOPT_TENSOR || t->rank < 0 || t->dtype == GOPT_STRING || t->dtype == GOPT_UNDEFINED)
            return false;
    }
    return g->main->n_results > 0;
}

bool gi_reduce_try(gi_reducer *r, gopt_graph *candidate)
{
    bool shows = false;
    const size_t diags = r->cx->n_diags;
    if (gi_reduce_more(r) && has_plain_inputs(candidate) && gi_infer_graph(candidate) == GOPT_OK &&
        gi_verify(candidate) == GOPT_OK) {
        r->tries--;
        r->status = r->shows(r->user, candidate, &shows);
    }
    r->cx->n_diags = diags;
    if (!shows || r->status != GOPT_OK) {
        gopt_graph_destroy(candidate);
        return false;
    }
    gopt_graph_destroy(r->best);
    r->best = candidate;
    return true;
}

/* ---- what the rewrite touched ---- */

typedef struct by_id {
    gi_node **p;
    uint32_t n;
} by_id;

static bool collect(void *arg, gi_node *n)
{
    by_id *of = arg;
    if (n->id < of->n)
        of->p[n->id] = n;
    return true;
}

static uint32_t fusion_around(const gi_node *n)
{
    const gi_node *owner = n->block->owner;
    return owner && owner->op == OP_Fusion ? owner->id + 1 : 0;
}

static bool reads_the_same(const gi_node *a, const gi_node *b)
{
    bool same = a->op == b->op && a->n_in == b->n_in && a->n_attrs == b->n_attrs;
    for (uint32_t i = 0; same && i < a->n_in; i++) {
        const gi_value *x = a->in[i].value, *y = b->in[i].value;
        same = (x ? x->id + 1 : 0) == (y ? y->id + 1 : 0);
    }
    for (uint32_t i = 0; same && i < a->n_attrs; i++)
        same = a->attrs[i].kind == GI_ATTR_GRAPH || gi_attr_equal(&a->attrs[i], &b->attrs[i]);
    return same;
}

typedef struct walk {
    gi_reducer *r;
    by_id after;
    gi_vec(bool) seed; /* of each node before, in the order of a walk */
    size_t at;
    bool any, by_reads; /* by_reads: nodes that read something else are the seeds */
    gi_vec(gi_node *) seeds;
} walk;

static bool judge_node(void *arg, gi_node *n)
{
    walk *w = arg;
    const gi_node *m = n->id < w->after.n ? w->after.p[n->id] : NULL;
    bool seed = false;
    if (n->op != OP_Fusion)
        seed = w->by_reads ? m && !reads_the_same(n, m) : !m || fusion_around(n) != fusion_around(m);
    w->any |= seed;
    return gi_push(w->r->arena, &w->seed, seed);
}

static bool take_seed(void *arg, gi_node *n)
{
    walk *w = arg;
    return !w->seed.p[w->at++] || gi_push(w->r->arena, &w->seeds, n);
}

typedef struct list {
    gi_arena *arena;
    gi_values fusions;
} list;

static bool collect_fusion(void *arg, gi_node *n)
{
    list *l = arg;
    return n->op != OP_Fusion || !n->n_out || gi_push(l->arena, &l->fusions, n->out[0]);
}

/* A copy of `before` without regions, and the nodes in it that the rewrite touched. */
static gopt_status find_seeds(walk *w, const gopt_graph *before, const gopt_graph *after, gopt_graph **base)
{
    gi_arena *a = w->r->arena;
    w->after = (by_id){ GI_NEW_ARRAY(a, gi_node *, after->next_node + 1), after->next_node };
    GI_NEED(w->after.p && gi_each_node(after->main, collect, &w->after));
    GI_NEED(gi_each_node(before->main, judge_node, w));
    if (!w->any) {
        w->by_reads = true;
        w->seed.n = 0;
        GI_NEED(gi_each_node(before->main, judge_node, w));
    }
    GI_TRY(gopt_graph_clone(before, base));
    GI_NEED(gi_each_node((*base)->main, take_seed, w));
    list l = { .arena = a };
    GI_NEED(gi_each_node((*base)->main, collect_fusion, &l));
    for (size_t i = 0; i < l.fusions.n; i++)
        GI_NEED(gi_unfuse(l.fusions.p[i]->def.node));
    return GOPT_OK;
}

/* ---- the part ---- */

typedef struct part {
    gi_reducer *r;
    gopt_graph *base;
    gi_block *b;
    bool *keep;  /* by node id */
    uint32_t n;  /* nodes kept */
    uint32_t of; /* nodes that there are in b */
} part;

static bool try_part(part *p)
{
    gopt_graph *g;
    if (!gi_reduce_more(p->r))
        return false;
    const gopt_status s = gi_graph_cut(p->base, p->b, p->keep, &g);
    if (s != GOPT_OK) {
        p->r->status = s;
        return false;
    }
    return gi_reduce_try(p->r, g);
}

static void keep(part *p, const gi_node *n)
{
    while (n && n->block != p->b)
        n = n->block->owner;
    if (n && !p->keep[n->id]) {
        p->keep[n->id] = true;
        p->n++;
    }
}

static void keep_all(part *p)
{
    for (const gi_node *n = p->b->first; n; n = n->next)
        keep(p, n);
}

static void keep_users(part *p, const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next)
        keep(p, u->node ? u->node : u->block->owner);
}

/* Adds what the part reads, what reads it, and what reads the same: a rewrite may look at all of these. */
static bool widen(part *p)
{
    gi_vec(const gi_node *) kept = { 0 };
    for (const gi_node *n = p->b->first; n; n = n->next)
        if (p->keep[n->id] && !gi_push(p->r->arena, &kept, n))
            return false;
    for (size_t k = 0; k < kept.n; k++) {
        const gi_node *n = kept.p[k];
        gi_values read = { 0 };
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i].value && !gi_push(p->r->arena, &read, n->in[i].value))
                return false;
        if (!gi_node_captures(n, p->r->arena, &read))
            return false;
        for (size_t i = 0; i < read.n; i++) {
            if (gi_value_node(read.p[i]))
                keep(p, read.p[i]->def.node);
            keep_users(p, read.p[i]);
        }
        for (uint32_t i = 0; i < n->n_out; i++)
            keep_users(p, n->out[i]);
    }
    return true;
}

/* The innermost block that holds all seeds, themselves or in blocks of its nodes. */
static gi_block *common_block(const walk *w, gopt_graph *g)
{
    gi_block *b = w->seeds.n ? w->seeds.p[0]->block : g->main;
    for (size_t i = 1; i < w->seeds.n; i++)
        while (!gi_block_within(w->seeds.p[i]->block, b))
            b = b->owner->block;
    return b;
}

/* Rings 0, 1, 2, 4, 8 … in this block, until the part shows the fault or is all that there is. */
static gopt_status find_part(part *p, const walk *w)
{
    memset(p->keep, 0, p->base->next_node);
    p->n = p->of = 0;
    for (const gi_node *n = p->b->first; n; n = n->next)
        p->of++;
    for (size_t i = 0; i < w->seeds.n; i++)
        keep(p, w->seeds.p[i]);
    if (!p->n)
        keep_all(p);
    for (uint32_t rings = 0; p->n && !try_part(p) && p->n < p->of && gi_reduce_more(p->r); rings = rings ? rings : 1) {
        const uint32_t more = rings ? rings : 1;
        uint32_t had = 0;
        for (uint32_t i = 0; i < more && had != p->n; i++) {
            had = p->n;
            GI_NEED(widen(p));
        }
        rings += more;
        if (had == p->n) /* the rest hangs together with it nowhere */
            keep_all(p);
    }
    return p->r->status;
}

/* ---- fewer nodes ---- */

static gopt_status leave_out(part *p)
{
    gi_reducer *r = p->r;
    gi_vec(const gi_node *) kept = { 0 };
    for (const gi_node *n = p->b->first; n; n = n->next)
        if (p->keep[n->id])
            GI_NEED(gi_push(r->arena, &kept, n));
    bool again = true;
    for (size_t size = kept.n / 2; size && again && gi_reduce_more(r);) {
        again = false;
        /* From the start: what lies before the fault goes first, and with it the weights that are real. */
        for (size_t from = 0; from < kept.n && kept.n > 1 && gi_reduce_more(r);) {
            const size_t end = from + size < kept.n ? from + size : kept.n;
            for (size_t i = from; i < end; i++)
                p->keep[kept.p[i]->id] = false;
            if (end - from < kept.n && try_part(p)) {
                memmove(kept.p + from, kept.p + end, (kept.n - end) * sizeof *kept.p);
                kept.n -= end - from;
                again = true;
            } else {
                for (size_t i = from; i < end; i++)
                    p->keep[kept.p[i]->id] = true;
                from = end;
            }
        }
        if (size > 1) {
            size = size / 2;
            again = true;
        }
    }
    return r->status;
}

/* ---- the text ---- */

/* Does the graph show the fault when read back from its text? Its text then; else NULL. */
static gopt_status text_that_shows(gi_reducer *r, bool contents, char **text)
{
    gi_str s;
    gi_str_init(&s, r->arena);
    GI_TRY(gi_print(r->best, &(gi_print_options){ .types = true, .contents = contents }, &s));
    gopt_graph *g = NULL;
    bool shows = false;
    const size_t diags = r->cx->n_diags;
    gopt_status st = gi_parse(r->cx, "reduced.gir", s.p, s.n, &g);
    if (st == GOPT_OK)
        st = gi_verify(g);
    if (st == GOPT_OK)
        st = gi_infer_graph(g);
    if (st == GOPT_OK)
        st = r->shows(r->user, g, &shows);
    gopt_graph_destroy(g);
    r->cx->n_diags = diags;
    if (st == GOPT_NO_MEMORY || st == GOPT_INTERNAL)
        return st;
    if (st != GOPT_OK || !shows)
        return GOPT_OK;
    *text = gi_alloc(r->cx, s.n + 1);
    GI_NEED(*text);
    memcpy(*text, s.p, s.n + 1);
    return GOPT_OK;
}

static gopt_status reduce(gi_reducer *r, const gopt_graph *before, const gopt_graph *after, gopt_graph **base,
                          char **text)
{
    walk w = { .r = r };
    GI_TRY(find_seeds(&w, before, after, base));
    part p = { .r = r, .base = *base, .b = common_block(&w, *base) };
    p.keep = GI_NEW_ARRAY(r->arena, bool, (*base)->next_node + 1);
    GI_NEED(p.keep);
    for (;;) {
        GI_TRY(find_part(&p, &w));
        if (r->best || !p.b->owner)
            break;
        p.b = p.b->owner->block;
    }
    if (!r->best)
        return GOPT_OK;
    GI_TRY(leave_out(&p));
    gi_reduce_results(r);
    gi_reduce_sizes(r);
    GI_TRY(r->status);
    GI_TRY(text_that_shows(r, false, text)); /* weights may be any that have this shape */
    return *text ? GOPT_OK : text_that_shows(r, true, text);
}

gopt_status gopt_reduce(const gopt_graph *before, const gopt_graph *after, gopt_shows_fn shows, void *user, char **text)
{
    gi_reducer r = { .cx = before->cx,
                     .arena = gi_arena_create(before->cx),
                     .shows = shows,
                     .user = user,
                     .tries = MOST_TRIES,
                     .until = gi_now() + MOST_SECONDS };
    gopt_graph *base = NULL;
    *text = NULL;
    GI_NEED(r.arena);
    const gopt_status s = reduce(&r, before, after, &base, text);
    gopt_graph_destroy(r.best);
    gopt_graph_destroy(base);
    gi_arena_destroy(r.arena);
    return s;
}
