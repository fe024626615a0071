/* The engine: tries rules at nodes until none applies.
 *
 * A worklist in program order, rules looked up by the root's operator. After a rewrite only what it touched is
 * looked at again: the nodes it made, their neighbours, and the users of the result. That is linear in nodes
 * plus rewrites. A model on which rules feed each other forever is stopped by a cap, and a note names the rule
 * that ran last.
 *
 * A decline is kept until the end: the same node may be tried again after its neighbourhood changed, and only
 * what still stands then is told. */
#include "passes/rule.h"

bool(gi_decline)(gi_reason *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    why->text = gi_arena_vprintf(why->arena, fmt, args);
    va_end(args);
    return false;
}

gi_node *gi_rw_node(gi_rewrite *r, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out)
{
    gi_node *n = gi_node_create(r->root->block, r->before ? r->before : r->root, op, n_in, in, n_out);
    return n && gi_push(r->scratch, &r->made, n) ? n : NULL;
}

gi_node *gi_rw_node_behind(gi_rewrite *r, const gi_value *v, gi_opcode op, uint32_t n_in, gi_value *const *in,
                           uint32_t n_out)
{
    gi_block *b = r->root->block;
    const gi_node *source = gi_value_node(v);
    gi_node *n = gi_node_create(b, source && source->block == b ? source->next : b->first, op, n_in, in, n_out);
    return n && gi_push(r->scratch, &r->made, n) ? n : NULL;
}

bool gi_rw_also(gi_rewrite *r, gi_value *from, gi_value *to)
{
    return gi_push(r->scratch, &r->also, ((gi_swap){ from, to }));
}

gi_value *gi_rw_done(gi_rewrite *r, gi_node *n)
{
    return n && gi_infer_node(n, r->scratch) == GOPT_OK ? n->out[0] : NULL;
}

gi_value *gi_rw_build(gi_rewrite *r, gi_opcode op, uint32_t n_in, gi_value *const *in)
{
    return gi_rw_done(r, gi_rw_node(r, op, n_in, in, 1));
}

/* Does a row lose its digits? Of f16 alone: the other types' subnormal numbers are too small for anyone to miss. */
static bool vanishes(const gi_blob *b, const gi_blob *was)
{
    enum { LEAST_NORMAL = 0x400 };
    const int64_t rows = b->rank ? b->dims[0] : 1, n = gi_blob_elements(b);
    if (b->dtype != GOPT_F16 || was->dtype != GOPT_F16 || gi_blob_elements(was) != n || n == 0)
        return false;
    const size_t run = (size_t)(n / rows);
    for (size_t i = 0; i < (size_t)rows; i++) {
        const uint64_t now = gi_blob_greatest_bits(b, i * run, run);
        if (now < LEAST_NORMAL && gi_blob_greatest_bits(was, i * run, run) > now)
            return true;
    }
    return false;
}

gi_value *gi_rw_const(gi_rewrite *r, gi_blob *b, const gi_blob *was)
{
    if (gi_dtype_is_float(b->dtype) && gopt_dtype_bits(b->dtype) >= 16) {
        if (!gi_blob_is_finite(b))
            r->why = "its constant would not be finite";
        else if (was && vanishes(b, was))
            r->why = "its constant would be too small for f16";
        if (r->why) {
            gi_blob_unref(b);
            return NULL;
        }
    }
    return gi_const(r->g, b, NULL);
}

/* ---- the run ---- */

enum { MOST_NEIGHBOURS = 64 }; /* users of one value that are looked at again after a rewrite beside them */

typedef struct decline {
    const gi_rule *rule;
    gi_node *at;
    const char *text;
    struct decline *next; /* at the same node */
} decline;

typedef struct engine {
    gopt_graph *g;
    gi_pass_ctx *cx;
    const gi_rule *const *by_op[OP_COUNT]; /* NULL last */
    gi_vec(gi_node *) todo;                /* read from `head` on */
    size_t head;
    bool *queued; /* by node id, grown with the graph */
    uint32_t cap_queued;
    gi_map declines; /* by node id + 1 */
    gi_vec(decline *) order;
    int64_t applied, cap;
    gi_arena *scratch; /* of one try */
    gi_visit visit;    /* of one root, while the epoch stays */
    gi_node *visited;
    uint64_t visited_epoch;
    uint64_t held; /* bytes of weights' pages after the last sweep */
    bool failed;
} engine;

static void enqueue(engine *e, gi_node *n)
{
    if (!n || !n->block || !e->by_op[n->op])
        return;
    if (n->id >= e->cap_queued) {
        const uint32_t cap = 2 * (n->id + 16);
        bool *grown = GI_NEW_ARRAY(e->cx->scratch, bool, cap);
        if (!grown) {
            e->failed = true;
            return;
        }
        if (e->cap_queued)
            memcpy(grown, e->queued, e->cap_queued);
        e->queued = grown;
        e->cap_queued = cap;
    }
    if (e->queued[n->id])
        return;
    e->queued[n->id] = true;
    if (!gi_push(e->cx->scratch, &e->todo, n))
        e->failed = true;
}

static bool enqueue_each(void *arg, gi_node *n)
{
    engine *e = arg;
    enqueue(e, n);
    return !e->failed;
}

/* Looks again at users of v, the ones linked last coming first. Of a value that is not new only some: thousands
 * may read it, and each rewrite of one of them ends here. */
static void enqueue_users(engine *e, const gi_value *v, uint32_t most)
{
    for (const gi_use *u = v->uses; u && most > 0; u = u->next, most--)
        enqueue(e, u->node);
}

static void note_decline(engine *e, const gi_rule *rule, gi_node *at, const char *text)
{
    decline *first = gi_map_get(&e->declines, (uint64_t)at->id + 1), *d = first;
    while (d && d->rule != rule)
        d = d->next;
    if (!d) {
        if (!text)
            return;
        d = GI_NEW(e->cx->scratch, decline);
        if (!d || !gi_push(e->cx->scratch, &e->order, d)) {
            e->failed = true;
            return;
        }
        *d = (decline){ .rule = rule, .at = at, .next = first };
        e->failed |= !gi_map_put(&e->declines, (uint64_t)at->id + 1, d);
    }
    d->text = text ? gi_arena_str(e->cx->scratch, text) : NULL;
}

/* Takes back what a rule had built. */
static void discard(engine *e, gi_rewrite *r)
{
    for (size_t i = r->made.n; i-- > 0;)
        if (r->made.p[i]->block)
            gi_remove_dead(r->made.p[i], e->scratch);
}

static const char *type_text(engine *e, const gi_type *t)
{
    gi_str s;
    gi_str_init(&s, e->scratch);
    gi_type_print(&s, t);
    return s.p ? s.p : "?";
}

static bool was_made(const gi_rewrite *r, const gi_node *n)
{
    for (size_t i = 0; n && i < r->made.n; i++)
        if (r->made.p[i] == n)
            return true;
    return false;
}

/* May y stand where `old` stood? */
static bool may_stand(engine *e, const gi_rule *rule, const gi_rewrite *r, gi_value *old, gi_value *y, const char **why)
{
    const bool same = rule->keeps_type || was_made(r, gi_value_node(y)) ? !gi_type_differs(old->type, y->type)
                                                                        : gi_type_same(e->g, old->type, y->type);
    if (!same) {
        const bool may = !gi_type_differs(old->type, y->type);
        *why = gi_arena_printf(e->scratch,
                               may ? "whether its type, %s, is that of what it would become, %s, is known "
                                     "only at run time"
                                   : "its type, %s, would become %s",
                               type_text(e, old->type), type_text(e, y->type));
        return false;
    }
    return gi_value_may_replace(old, y, why);
}

/* Does the root's first output get a successor? Not where others of its outputs alone are read. */
static bool is_replaced(const gi_rewrite *r)
{
    return !r->also.n || r->root->out[0]->n_uses;
}

/* Has each output of the root that is read something to take its place, and may that be? */
static bool check_result(engine *e, const gi_rule *rule, const gi_rewrite *r, gi_value *y, const char **why)
{
    const gi_node *root = r->root;
    if (y == root->out[0] || (is_replaced(r) && !may_stand(e, rule, r, root->out[0], y, why)))
        return false;
    for (size_t i = 0; i < r->also.n; i++)
        if (!may_stand(e, rule, r, r->also.p[i].from, r->also.p[i].to, why))
            return false;
    const gi_node *at = gi_value_node(y);
    for (uint32_t i = 1; i < root->n_out; i++) {
        bool found = !root->out[i]->n_uses || (!r->also.n && at && at->n_out > i);
        for (size_t k = 0; k < r->also.n && !found; k++)
            found = r->also.p[k].from == root->out[i];
        if (!found)
            return false;
    }
    return true;
}

/* Which of the matched nodes live on under their names, since something but the match reads them, or a matched node
 * that lives on itself. Readers stand before what they read. */
static void find_living(const gi_match *m, bool *lives)
{
    for (uint32_t k = 0; k < m->n_nodes; k++) {
        lives[k] = false;
        for (const gi_use *u = m->nodes[k] == m->root ? NULL : m->nodes[k]->out[0]->uses; u; u = u->next) {
            bool dies = false;
            for (uint32_t i = 0; i < m->n_nodes; i++)
                dies = dies || (u->node == m->nodes[i] && (i > k || !lives[i]));
            lives[k] = lives[k] || !dies;
        }
    }
}

/* `to` takes the place of `from`, whose node is not the root's or goes with it. */
static void replace_also(engine *e, const gi_rewrite *r, gi_value *from, gi_value *to)
{
    const uint32_t n_users = from->n_uses;
    gi_node *old = gi_value_node(from), *at = gi_value_node(to);
    if (at && was_made(r, at))
        gi_value_take_name(to, from);
    if (at && old)
        e->failed |= !gi_node_merge_origins(at, old);
    gi_value_refine(e->g, to, from->type);
    gi_value_replace_uses(from, to);
    enqueue_users(e, to, n_users > MOST_NEIGHBOURS ? n_users : MOST_NEIGHBOURS);
    if (old && old != r->root)
        gi_remove_dead(old, e->scratch);
}

/* Weights that rewrites made and replaced again, beyond those that the rule matched, go when there are many. */
static void let_go(engine *e)
{
    enum { MANY = 32 << 20 };
    const uint64_t held = __atomic_load_n(&e->g->cx->page_bytes, __ATOMIC_RELAXED);
    if (held < e->held)
        e->held = held;
    if (held - e->held < MANY)
        return;
    gi_graph_drop_consts(e->g, e->cx->first_value);
    e->held = __atomic_load_n(&e->g->cx->page_bytes, __ATOMIC_RELAXED);
}

static void put_in_place(engine *e, const gi_rule *rule, gi_match *m, gi_rewrite *r, gi_value *y)
{
    gi_node *root = m->root, *at = gi_value_node(y);
    const uint32_t n_users = root->out[0]->n_uses;
    gi_values around = { 0 };
    for (uint32_t i = 0; i < m->n_nodes; i++)
        for (uint32_t k = 0; k < m->nodes[i]->n_in; k++)
            if (gi_value_node(m->nodes[i]->in[k].value) || gi_value_blob(m->nodes[i]->in[k].value))
                e->failed |= !gi_push(e->scratch, &around, m->nodes[i]->in[k].value);
    for (size_t i = 0; i < r->made.n; i++) {
        gi_node *n = r->made.p[i];
        for (uint32_t k = m->n_nodes; k-- > 0;)
            e->failed |= !gi_node_merge_origins(n, m->nodes[k]);
    }
    if (at && !r->made.n)
        e->failed |= !gi_node_merge_origins(at, root);
    if (at && was_made(r, at)) {
        bool lives[GI_MATCH_NODES];
        find_living(m, lives);
        for (uint32_t k = m->n_nodes; k-- > 0 && !at->name;)
            at->name = lives[k] ? NULL : m->nodes[k]->name;
        if (is_replaced(r))
            gi_value_take_name(y, root->out[0]);
    }
    if (is_replaced(r))
        gi_value_refine(e->g, y, root->out[0]->type);
    gi_value_replace_uses(root->out[0], y);
    for (size_t i = 0; i < r->also.n; i++)
        replace_also(e, r, r->also.p[i].from, r->also.p[i].to);
    for (uint32_t i = 1; at && rule->all_outputs && !r->also.n && i < root->n_out && i < at->n_out; i++) {
        gi_value_refine(e->g, at->out[i], root->out[i]->type);
        gi_value_take_name(at->out[i], root->out[i]);
        gi_value_replace_uses(root->out[i], at->out[i]);
        enqueue_users(e, at->out[i], UINT32_MAX);
    }
    gi_applied(e->cx, rule->name, at && was_made(r, at) ? at : root, "%s", r->said ? r->said : rule->means);
    gi_remove_dead(root, e->scratch);
    for (size_t i = 0; i < r->made.n; i++) {
        enqueue(e, r->made.p[i]);
        for (uint32_t k = 0; k < r->made.p[i]->n_out; k++)
            enqueue_users(e, r->made.p[i]->out[k], UINT32_MAX);
    }
    enqueue_users(e, y, n_users > MOST_NEIGHBOURS ? n_users : MOST_NEIGHBOURS);
    enqueue(e, at);
    for (size_t i = 0; i < around.n; i++) {
        gi_node *n = gi_value_node(around.p[i]);
        if (around.p[i]->kind == GI_DEF_CONST && around.p[i]->id >= e->cx->first_value)
            gi_const_drop(around.p[i]); /* a weight that an earlier rewrite made, and this one made anew */
        if (!n || !n->block)
            continue;
        enqueue(e, n);
        enqueue_users(e, around.p[i], MOST_NEIGHBOURS);
    }
}

static gopt_status try_rule(engine *e, const gi_rule *rule, gi_node *root, bool *done)
{
    gi_arena_reset(e->scratch);
    if (e->visited != root || e->visited_epoch != e->g->epoch) {
        if (e->visit.cuts)
            gi_arena_reset(e->visit.arena);
        e->visit.cuts = NULL;
        e->visited = root;
        e->visited_epoch = e->g->epoch;
    }
    gi_match m = { .g = e->g, .root = root, .scratch = e->scratch, .visit = &e->visit, .opset = e->cx->opset };
    gi_reason why = { .arena = e->scratch };
    const gi_match_result found = gi_match_at(rule->match, root, rule->all_outputs, &m, &why);
    if (found == GI_MATCH_NO) {
        note_decline(e, rule, root, NULL);
        return GOPT_OK;
    }
    if (found == GI_MATCH_SHARED || (rule->find && !rule->find(&m, &why)) || (rule->when && !rule->when(&m, &why))) {
        note_decline(e, rule, root, why.text && why.text[0] ? why.text : NULL);
        return GOPT_OK;
    }
    if (rule->opset > e->cx->opset) {
        note_decline(e, rule, root,
                     gi_arena_printf(e->scratch, "%s came with opset %d, the model has %d",
                                     gi_op_get(rule->makes)->name, rule->opset, e->cx->opset));
        return GOPT_OK;
    }
    if (!gi_pass_may(e->cx, rule->name))
        return GOPT_OK;
    gi_rewrite r = { .g = e->g, .root = root, .scratch = e->scratch };
    const size_t diags = e->g->cx->n_diags;
    const uint64_t epoch = e->g->epoch;
    const char *pass = e->g->pass;
    e->g->pass = rule->name;
    gi_value *y = rule->make(&r, &m);
    const char *reason = r.why;
    e->g->cx->n_diags = diags;
    if (!y || !check_result(e, rule, &r, y, &reason)) {
        note_decline(e, rule, root, reason);
        discard(e, &r);
        e->g->pass = pass;
        e->g->epoch = epoch; /* all is as it was */
        return GOPT_OK;
    }
    note_decline(e, rule, root, NULL);
    put_in_place(e, rule, &m, &r, y);
    let_go(e);
    e->g->pass = pass;
    e->applied++;
    *done = true;
    return e->failed ? GOPT_NO_MEMORY : GOPT_OK;
}

static gopt_status visit(engine *e, gi_node *n)
{
    const gi_rule *const *first = e->by_op[n->op];
    if (e->cx->only && !e->cx->only(e->cx, n))
        return GOPT_OK;
    for (size_t i = 0; first && first[i] && n->block;) {
        const gi_rule *rule = first[i];
        bool done = false;
        GI_TRY(try_rule(e, rule, n, &done));
        if (e->applied >= e->cap) {
            gi_note(e->g->cx, NULL, "the result is right, only not as small as it might be",
                    "%s stopped after %lld rewrites; the last one was %s", e->cx->pass, (long long)e->applied,
                    rule->name);
            return GOPT_OK;
        }
        i = done ? 0 : i + 1;
        if (e->cx->rewrites_left <= 0)
            return GOPT_OK;
    }
    return GOPT_OK;
}

/* Calls for each operator that the pattern may have at its root: count, or add the rule behind `end`. */
static void each_root(const gi_pattern *p, size_t *count, const gi_rule *rule, const gi_rule ***end)
{
    if (p->kind == GI_PAT_NODE) {
        count[p->op]++;
        if (rule)
            *end[p->op]++ = rule;
        return;
    }
    for (uint32_t i = 0; p->in && p->in[i]; i++)
        each_root(p->in[i], count, rule, end);
}

/* Rules by the root's operator, without those that --fp, --skip or --emit forbids. */
static bool index_rules(engine *e, const gi_rule *const *rules, size_t n)
{
    const gopt_fp fp = e->cx->options->fp;
    const gi_exact most = fp == GOPT_FP_STRICT ? BITWISE : fp == GOPT_FP_FAST ? FINITE : REASSOC;
    size_t count[OP_COUNT] = { 0 };
    const gi_rule **end[OP_COUNT] = { 0 };
    for (size_t i = 0; i < n; i++)
        each_root(rules[i]->match, count, NULL, NULL);
    for (int op = 0; op < OP_COUNT; op++) {
        if (!count[op])
            continue;
        e->by_op[op] = end[op] = GI_NEW_ARRAY(e->cx->scratch, const gi_rule *, count[op] + 1);
        if (!end[op])
            return false;
    }
    const bool ort = e->cx->options->emit == GOPT_EMIT_ORT;
    for (size_t i = 0; i < n; i++)
        if (rules[i]->exact <= most && (ort || (!rules[i]->ort && rules[i]->stage != EMIT_ORT)) &&
            !(e->cx->skip && gi_smap_get(e->cx->skip, rules[i]->name)))
            each_root(rules[i]->match, count, rules[i], end);
    return true;
}

gopt_status gi_rules_run(gopt_graph *g, gi_pass_ctx *cx, const gi_rule *const *rules, size_t n)
{
    engine *e = GI_NEW(cx->scratch, engine);
    GI_NEED(e);
    e->g = g;
    e->cx = cx;
    gi_map_init(&e->declines, cx->scratch);
    GI_NEED(index_rules(e, rules, n));
    e->cap = 8 * (int64_t)gi_graph_count_nodes(g) + 1000;
    e->scratch = gi_arena_create(g->cx);
    e->visit.arena = gi_arena_create(g->cx);
    gopt_status status =
        e->scratch && e->visit.arena && gi_each_node(g->main, enqueue_each, e) ? GOPT_OK : GOPT_NO_MEMORY;
    while (status == GOPT_OK && e->head < e->todo.n && e->applied < e->cap && cx->rewrites_left > 0) {
        gi_node *node = e->todo.p[e->head++];
        e->queued[node->id] = false;
        if (node->block)
            status = visit(e, node);
    }
    if (cx->rewrites_left <= 0)
        cx->stop = true;
    gi_arena_destroy(e->scratch);
    gi_arena_destroy(e->visit.arena);
    for (size_t i = 0; i < e->order.n && status == GOPT_OK; i++)
        if (e->order.p[i]->text && e->order.p[i]->at->block)
            gi_declined(cx, e->order.p[i]->rule->name, e->order.p[i]->at, "%s", e->order.p[i]->text);
    return status;
}

gopt_status gi_rules_run_stage(gopt_graph *g, gi_pass_ctx *cx, gi_stage stage)
{
    gi_vec(const gi_rule *) rules = { 0 };
    const gi_rule *r;
    for (size_t i = 0; (r = gi_rule_planted(i)); i++)
        if (r->stage == stage && gi_name_listed(cx->options->planted, r->name))
            GI_NEED(gi_push(cx->scratch, &rules, r));
    for (size_t i = 0; (r = gi_rule_row(i)); i++)
        if (r->stage == stage)
            GI_NEED(gi_push(cx->scratch, &rules, r));
    return gi_rules_run(g, cx, rules.p, rules.n);
}
