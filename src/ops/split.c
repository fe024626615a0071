/* One network cut in two: a head, and a tail that begins with chosen nodes.
 *
 *     x ─ Conv ─ Relu ─ NMS* ─ Gather ─ y          head  x ─ Conv ─ Relu ─ r, s
 *                  └─── Sigmoid ─────┘  s    ⇒     tail  r ─ NMS* ─ ┐
 *                                                        s ──────── Gather ─ y
 *
 * The tail takes the chosen nodes (*) and all that depends on them, so nothing goes back from the tail to the head, and
 * the head is as large as it can be. What is computed from weights alone (dequantizing them, say) would make outputs of
 * weights: it goes to where it is read, to both where both read it. A tensor that would go from head to tail without a
 * known type takes its node along into the tail, since an output of a model must have a type.
 *
 * Linear in nodes and edges. */
#include "gopt/graph.h"
#include "ops/infer.h"

typedef struct splitter {
    const gopt_graph *g;
    gi_arena *arena;
    bool (*cuts)(void *user, const gopt_node *n);
    void *user;
    bool *tail;                      /* by node id: chosen, or depends on such */
    bool *live;                      /* by node id: of these, those that an output needs, or that have none */
    bool *weights;                   /* by node id: computed from weights alone */
    bool *wanted_head, *wanted_tail; /* by node id: of these, where they are read */
    bool *in_head, *in_tail;         /* by node id: the answer */
    bool *read_head, *read_tail;     /* by value id */
    gi_vec(gi_node *) todo;
    const char **result; /* by value id: its name as an output of the graph */
    gi_smap names;       /* taken: name -> value */
    bool any;
} splitter;

static gi_node *main_node(const splitter *s, const gi_value *v)
{
    return gi_node_in_block(gi_value_node(v), s->g->main);
}

static gi_node *user_node(const splitter *s, const gi_use *u)
{
    return gi_node_in_block(u->node ? u->node : u->block->owner, s->g->main);
}

/* ---- what the tail takes ---- */

static bool take(splitter *s, gi_node *n)
{
    if (!n || s->tail[n->id])
        return true;
    s->tail[n->id] = s->any = true;
    return gi_push(s->arena, &s->todo, n);
}

static bool ask(void *arg, gi_node *n)
{
    splitter *s = arg;
    return !s->cuts(s->user, n) || take(s, gi_node_in_block(n, s->g->main));
}

static bool has_type(const gi_value *v)
{
    const gi_type *t = v->type;
    while (t && t->kind != GOPT_TENSOR)
        t = t->elem;
    return t && t->dtype != GOPT_UNDEFINED;
}

static gopt_status find_tail(splitter *s)
{
    GI_NEED(gi_each_node(s->g->main, ask, s));
    while (s->todo.n) {
        const gi_node *n = s->todo.p[--s->todo.n];
        gi_values read = { 0 };
        for (uint32_t i = 0; i < n->n_out; i++)
            for (const gi_use *u = n->out[i]->uses; u; u = u->next)
                GI_NEED(take(s, user_node(s, u)));
        GI_NEED(gi_node_reads(n, s->arena, &read));
        for (size_t i = 0; i < read.n; i++)
            if (!has_type(read.p[i]))
                GI_NEED(take(s, main_node(s, read.p[i])));
    }
    return GOPT_OK;
}

/* Of the tail, what its outputs need. A node without outputs is there for what it does. */
static gopt_status find_live(splitter *s)
{
    const gi_block *b = s->g->main;
    gi_values todo = { 0 };
    for (uint32_t i = 0; i < b->n_results; i++)
        GI_NEED(gi_push(s->arena, &todo, b->results[i].value));
    s->any = false;
    for (gi_node *n = b->first; n; n = n->next)
        if (s->tail[n->id] && !n->n_out) {
            s->live[n->id] = s->any = true;
            GI_NEED(gi_node_reads(n, s->arena, &todo));
        }
    while (todo.n) {
        const gi_node *n = main_node(s, todo.p[--todo.n]);
        if (!n || !s->tail[n->id] || s->live[n->id])
            continue;
        s->live[n->id] = s->any = true;
        GI_NEED(gi_node_reads(n, s->arena, &todo));
    }
    return GOPT_OK;
}

/* ---- what is computed from weights ---- */

static bool is_of_weights(const splitter *s, const gi_node *n)
{
    const unsigned traits = gi_op_get(n->op)->traits;
    if (n->op == OP_Unknown || s->tail[n->id] || !(traits & GI_PURE) || (traits & (GI_RANDOM | GI_CONTROL)))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        const gi_node *by = v ? main_node(s, v) : NULL;
        if (v && v->kind != GI_DEF_CONST && !(by && s->weights[by->id]))
            return false;
    }
    return true;
}

static void place_weights(splitter *s, const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        for (const gi_use *u = n->out[i]->uses; u; u = u->next) {
            const gi_node *by = user_node(s, u);
            if (!by) {
                s->wanted_head[n->id] = true; /* an output */
            } else if (s->tail[by->id]) {
                s->wanted_tail[n->id] |= s->live[by->id];
            } else {
                s->wanted_head[n->id] |= s->in_head[by->id];
                s->wanted_tail[n->id] |= s->in_tail[by->id];
            }
        }
}

static void place(splitter *s)
{
    const gi_block *b = s->g->main;
    for (const gi_node *n = b->first; n; n = n->next)
        s->weights[n->id] = is_of_weights(s, n);
    for (const gi_node *n = b->last; n; n = n->prev) {
        if (s->weights[n->id])
            place_weights(s, n);
        s->in_tail[n->id] = s->live[n->id] || s->wanted_tail[n->id];
        s->in_head[n->id] = !s->tail[n->id] && (s->wanted_head[n->id] || !s->wanted_tail[n->id]);
    }
}

static gopt_status find_reads(splitter *s)
{
    const gi_block *b = s->g->main;
    for (const gi_node *n = b->first; n; n = n->next) {
        gi_values read = { 0 };
        GI_NEED(gi_node_reads(n, s->arena, &read));
        for (size_t i = 0; i < read.n; i++) {
            s->read_head[read.p[i]->id] |= s->in_head[n->id];
            s->read_tail[read.p[i]->id] |= s->in_tail[n->id];
        }
    }
    for (uint32_t i = 0; i < b->n_results; i++) {
        const gi_node *n = main_node(s, b->results[i].value);
        s->read_head[b->results[i].value->id] |= !n || s->in_head[n->id];
    }
    return GOPT_OK;
}

/* ---- names ---- */

static bool take_name(splitter *s, const char *name, gi_value *v)
{
    return !name || !*name || gi_smap_get(&s->names, name) || gi_smap_put(&s->names, name, v);
}

static bool take_name_of(void *arg, gi_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!take_name(arg, n->out[i]->name, n->out[i]))
            return false;
    return true;
}

/* Names of inputs and outputs come first: no other tensor may go by them. */
static bool take_names(splitter *s)
{
    const gi_block *b = s->g->main;
    gi_smap_init(&s->names, s->arena);
    for (uint32_t i = 0; i < b->n_params; i++)
        if (!take_name(s, b->params[i]->name, b->params[i]))
            return false;
    for (uint32_t i = b->n_results; i-- > 0;) {
        s->result[b->results[i].value->id] = b->result_names[i];
        if (!take_name(s, b->result_names[i], b->results[i].value))
            return false;
    }
    return gi_each_node(s->g->main, take_name_of, s);
}

/* The name under which a tensor goes from head to tail: an output's, its own, or one after the node that makes it. */
static const char *name_of(splitter *s, gi_value *v)
{
    if (s->result[v->id])
        return s->result[v->id];
    if (v->name && *v->name && gi_smap_get(&s->names, v->name) == v)
        return v->name;
    const gi_node *n = gi_value_node(v);
    const char *wish = v->name && *v->name   ? v->name
                       : n->name && *n->name ? gi_arena_printf(s->arena, "%s_output_%u", n->name, v->index)
                                             : gi_arena_printf(s->arena, "cut_%u", v->id);
    const char *name = wish;
    for (int k = 2; name && gi_smap_get(&s->names, name); k++)
        name = gi_arena_printf(s->arena, "%s_%d", wish, k);
    return name && gi_smap_put(&s->names, name, v) ? name : NULL;
}

/* ---- the two graphs ---- */

typedef struct ends {
    gi_arena *arena;
    gi_values in, out;
    gi_vec(const char *) in_names, out_names;
} ends;

static bool add_in(ends *e, gi_value *v, const char *name)
{
    return name && gi_push(e->arena, &e->in, v) && gi_push(e->arena, &e->in_names, name);
}

static bool add_out(ends *e, gi_value *v, const char *name)
{
    return name && gi_push(e->arena, &e->out, v) && gi_push(e->arena, &e->out_names, name);
}

static gopt_status make(const splitter *s, const ends *e, const bool *keep, gopt_graph **out)
{
    const gi_excerpt p = { .keep = keep,
                           .params = e->in.p,
                           .param_names = e->in_names.p,
                           .n_params = (uint32_t)e->in.n,
                           .results = e->out.p,
                           .result_names = e->out_names.p,
                           .n_results = (uint32_t)e->out.n };
    gopt_graph *g;
    GI_TRY(gi_graph_excerpt(s->g, &p, &g));
    const gopt_status st = gi_infer_graph(g);
    if (st == GOPT_OK)
        *out = g;
    else
        gopt_graph_destroy(g);
    return st;
}

static gopt_status find_ends(splitter *s, ends *head, ends *tail)
{
    const gi_block *b = s->g->main;
    for (uint32_t i = 0; i < b->n_params; i++) {
        gi_value *p = b->params[i];
        if (s->read_head[p->id] || !s->read_tail[p->id])
            GI_NEED(add_in(head, p, p->name));
        if (s->read_tail[p->id])
            GI_NEED(add_in(tail, p, p->name));
    }
    for (uint32_t i = 0; i < b->n_results; i++) {
        gi_value *v = b->results[i].value;
        const gi_node *n = main_node(s, v);
        GI_NEED(add_out(n && s->tail[n->id] ? tail : head, v, b->result_names[i]));
    }
    for (const gi_node *n = b->first; n; n = n->next)
        for (uint32_t i = 0; s->in_head[n->id] && !s->in_tail[n->id] && i < n->n_out; i++) {
            gi_value *v = n->out[i];
            if (!s->read_tail[v->id])
                continue;
            const char *name = name_of(s, v);
            GI_NEED(add_in(tail, v, name));
            GI_NEED(s->result[v->id] || add_out(head, v, name));
        }
    return GOPT_OK;
}

static gopt_status split(splitter *s, gopt_graph **head, gopt_graph **tail)
{
    const gopt_graph *g = s->g;
    bool **const by_node[] = { &s->tail,        &s->live,    &s->weights, &s->wanted_head,
                               &s->wanted_tail, &s->in_head, &s->in_tail };
    for (size_t i = 0; i < GI_COUNT(by_node); i++)
        GI_NEED(*by_node[i] = GI_NEW_ARRAY(s->arena, bool, g->next_node + 1u));
    s->read_head = GI_NEW_ARRAY(s->arena, bool, g->n_values + 1u);
    s->read_tail = GI_NEW_ARRAY(s->arena, bool, g->n_values + 1u);
    s->result = GI_NEW_ARRAY(s->arena, const char *, g->n_values + 1u);
    GI_NEED(s->read_head && s->read_tail && s->result);
    GI_TRY(find_tail(s));
    if (!s->any)
        return gopt_graph_clone(g, head);
    GI_TRY(find_live(s));
    place(s);
    GI_TRY(find_reads(s));
    GI_NEED(take_names(s));
    ends of_head = { .arena = s->arena }, of_tail = { .arena = s->arena };
    GI_TRY(find_ends(s, &of_head, &of_tail));
    GI_TRY(make(s, &of_head, s->in_head, head));
    return s->any ? make(s, &of_tail, s->in_tail, tail) : GOPT_OK;
}

gopt_status gopt_graph_split(const gopt_graph *g, bool (*cuts)(void *user, const gopt_node *n), void *user,
                             gopt_graph **head, gopt_graph **tail)
{
    splitter s = { .g = g, .arena = gi_arena_create(g->cx), .cuts = cuts, .user = user };
    *head = *tail = NULL;
    GI_NEED(s.arena);
    const gopt_status st = split(&s, head, tail);
    gi_arena_destroy(s.arena);
    if (st != GOPT_OK) {
        gopt_graph_destroy(*head);
        *head = NULL;
    }
    return st;
}
