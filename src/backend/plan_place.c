/* Placement: which backend runs each node, and why not the one asked for. */
#include "backend/plan.h"

/* Marks the values that `n` reads, in its blocks too. */
static gopt_status mark_reads(const gi_node *n, gi_arena *scratch, bool *live)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value)
            live[n->in[i].value->id] = true;
    gi_values captured = { 0 };
    if (gi_op_get(n->op)->traits & GI_CONTROL) {
        GI_NEED(gi_node_captures(n, scratch, &captured));
        for (size_t i = 0; i < captured.n; i++)
            live[captured.p[i]->id] = true;
    }
    return GOPT_OK;
}

/* A tensor whose bytes the plan can lay out: static, of a size, and no strings (they own memory). */
static bool has_place(const gi_value *v)
{
    size_t bytes;
    return v->type && gi_type_is_static(v->type) && v->type->dtype != GOPT_STRING && gi_type_bytes(v->type, &bytes);
}

static bool reads_known_shapes(const gi_node *n, gi_arena *scratch, const gi_value **unknown, bool *ok)
{
    gi_values reads = { 0 };
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && !gi_push(scratch, &reads, n->in[i].value))
            return false;
    if ((gi_op_get(n->op)->traits & GI_CONTROL) && !gi_node_captures(n, scratch, &reads))
        return false;
    *ok = true;
    for (size_t i = 0; i < reads.n && *ok; i++) {
        const gi_type *t = reads.p[i]->type;
        *ok = t && gi_type_is_static(t) && t->dtype != GOPT_UNDEFINED; /* the run's input may say which */
        *unknown = reads.p[i];
    }
    return true;
}

static bool may_branch(const gi_plan *p, const gi_node *n)
{
    int depth = 0;
    for (const gi_plan *o = p; o; o = o->outer)
        depth++;
    return n->op == OP_If && depth < GI_MAX_PLAN_DEPTH;
}

static gopt_status place(gi_plan *p, gi_node *n, const bool *live, gi_arena *scratch, gi_placed *at)
{
    const struct gopt_engine *e = p->e;
    const char *asked = e->backend[1] ? e->backend[1]->name : "cpu", *why = NULL;
    char label[16];
    *at = (gi_placed){ .node = n, .kind = GI_STEP_DYNAMIC };
    for (uint32_t i = 0; i < n->n_out; i++)
        if (live[n->out[i]->id] || has_place(n->out[i]))
            at->n_out = i + 1;
    if (may_branch(p, n)) {
        at->kind = GI_STEP_IF;
        at->reason = e->backend[1] ? "control flow is decided on the host" : NULL;
        return GOPT_OK;
    }
    const gi_value *unknown = NULL;
    bool known;
    GI_NEED(reads_known_shapes(n, scratch, &unknown, &known));
    for (uint32_t i = 0; i < at->n_out; i++)
        if (!has_place(n->out[i])) {
            at->reason_kind = "the shape of its result is known only in a run";
            at->reason = gi_arena_printf(p->arena, "the shape of its result %s is known only in a run",
                                         gi_value_label(n->out[i], label, sizeof label));
            return at->reason ? GOPT_OK : GOPT_NO_MEMORY;
        }
    if (!known) {
        at->reason_kind = "the shape of an input is known only in a run";
        at->reason = gi_arena_printf(p->arena, "the shape of its input %s is known only in a run",
                                     gi_value_label(unknown, label, sizeof label));
        return at->reason ? GOPT_OK : GOPT_NO_MEMORY;
    }
    for (int d = 1; d >= 0; d--) {
        const char *no = NULL;
        if (!e->backend[d])
            continue;
        if (e->backend[d]->supports(e->device[d], n, p->arena, &no)) {
            at->kind = GI_STEP_COMPILED;
            at->device = d;
            at->reason = why;
            return GOPT_OK;
        }
        if (!why) {
            why = no ? no : gi_arena_printf(p->arena, "%s has no kernel for %s", asked, n->op_name);
            GI_NEED(why);
        }
    }
    at->reason = why;
    return GOPT_OK;
}

gopt_status gi_plan_place(gi_plan *p, gi_arena *scratch, gi_placed **placed, size_t *n)
{
    gi_block *b = p->block;
    bool *live = GI_NEW_ARRAY(scratch, bool, b->graph->n_values + 1);
    gi_placed *all = GI_NEW_ARRAY(scratch, gi_placed, b->n_nodes + 1);
    GI_NEED(live && all);
    for (uint32_t i = 0; i < b->n_results; i++)
        live[b->results[i].value->id] = true;
    size_t count = 0;
    for (gi_node *node = b->last; node; node = node->prev) {
        bool needed = false;
        for (uint32_t i = 0; i < node->n_out && !needed; i++)
            needed = live[node->out[i]->id];
        if (!needed)
            continue;
        GI_TRY(mark_reads(node, scratch, live));
        GI_TRY(place(p, node, live, scratch, &all[count++]));
    }
    for (size_t i = 0; i < count / 2; i++) {
        const gi_placed swap = all[i];
        all[i] = all[count - 1 - i];
        all[count - 1 - i] = swap;
    }
    *placed = all;
    *n = count;
    return GOPT_OK;
}
