/* What a step says of itself: its operators, where it came from, who runs it and why. */
#include "backend/plan.h"
#include "backend/tune.h"

enum { MAX_OPS_NAMED = 12 };

const char *gi_plan_name_ops(gi_arena *a, const gi_node *n)
{
    if (n->op != OP_Fusion)
        return gi_arena_str(a, n->op_name);
    gi_str s;
    gi_str_init(&s, a);
    int count = 0;
    for (const gi_node *in = gi_fusion_block(n)->first; in; in = in->next, count++) {
        if (count == MAX_OPS_NAMED) {
            gi_str_add(&s, "+…");
            break;
        }
        gi_str_add(&s, count ? "+" : "");
        gi_str_add(&s, in->op_name);
    }
    return s.failed ? NULL : s.p ? s.p : "Fusion";
}

gopt_status gi_plan_origins(gi_arena *a, const gi_node *n, const char *const **out, size_t *count)
{
    gi_vec(const char *) names = { 0 };
    for (uint32_t i = 0; i < n->n_origins; i++)
        GI_NEED(gi_push(a, &names, n->origins[i]));
    if (n->op == OP_Fusion && !names.n)
        for (const gi_node *in = gi_fusion_block(n)->first; in; in = in->next)
            for (uint32_t i = 0; i < in->n_origins; i++)
                GI_NEED(gi_push(a, &names, in->origins[i]));
    if (!names.n && n->name)
        GI_NEED(gi_push(a, &names, n->name));
    *out = names.p;
    *count = names.n;
    return GOPT_OK;
}

const char *gi_plan_name(gi_arena *a, const gi_node *n)
{
    char label[16];
    const char *name = n->name;
    if (!name)
        name = n->n_out ? gi_value_label(n->out[0], label, sizeof label) : n->op_name;
    return gi_arena_str(a, name);
}

static uint64_t bytes_of(const gi_plan *p, uint32_t n, const uint32_t *slots)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += p->slots.p[slots[i]].bytes;
    return sum;
}

/* Does n, or all of the fusion n that reads v, only take some of its elements? */
static bool looks_up(const gi_node *n, const gi_value *v)
{
    bool found = false;
    const gi_node *in = n->op == OP_Fusion ? gi_fusion_block(n)->first : n;
    for (; in; in = n->op == OP_Fusion ? in->next : NULL)
        for (uint32_t i = 0; i < in->n_in; i++) {
            if (in->in[i].value != v)
                continue;
            if (i ||
                (in->op != OP_Gather && in->op != OP_GatherElements && in->op != OP_GatherND && in->op != OP_Slice))
                return false;
            found = true;
        }
    return found;
}

/* Bytes that a step reads and writes at least: of a table in which it looks something up, no more than it writes. */
static uint64_t moved_by(const gi_plan *p, const gi_plan_step *s)
{
    const uint64_t written = bytes_of(p, s->n_out, s->out);
    uint64_t sum = written;
    for (uint32_t i = 0; i < s->n_in; i++) {
        const gi_slot *in = &p->slots.p[s->in[i]];
        sum += s->node && in->bytes > written && looks_up(s->node, in->value) ? written : in->bytes;
    }
    return sum;
}

gopt_status gi_plan_describe(const gi_plan *p, gi_plan_step *s, const char *reason)
{
    gopt_step_info *info = &s->info;
    static const char *const own[] = { [GI_STEP_DYNAMIC] = "reference",
                                       [GI_STEP_IF] = "branch",
                                       [GI_STEP_COPY] = "copy",
                                       [GI_STEP_UPLOAD] = "upload",
                                       [GI_STEP_DOWNLOAD] = "download" };
    info->reason = reason;
    info->backend = p->e->backend[s->device]->name;
    info->bytes = moved_by(p, s);
    if (s->kind == GI_STEP_COMPILED) {
        info->tactic = s->s.tactic ? s->s.tactic : "compiled";
        info->gflop = s->s.gflop;
        info->fp32 = s->s.fp32;
        info->tactics = s->s.tactics;
        info->n_tactics = s->s.n_tactics;
        gopt_tactic_info *timed;
        const size_t n = p->e->tuned && s->node ? gi_tuned_list(p->e->tuned, s->node, &timed) : 0;
        if (n) {
            info->tactics = timed;
            info->n_tactics = n;
        }
        info->bytes = s->s.alias ? 0 : info->bytes + s->s.weight_bytes;
    } else {
        info->tactic = own[s->kind];
    }
    char label[16];
    info->node = s->node;
    if (s->node) {
        info->name = gi_plan_name(p->arena, s->node);
        info->op = gi_plan_name_ops(p->arena, s->node);
        info->region = gi_map_get(&p->fell, (uint64_t)s->node->id + 1);
        if (!info->region && p->e->tuned) /* it fell apart in the first plan that was tuned */
            info->region = gi_map_get(&p->e->tuned->fell, (uint64_t)s->node->id + 1);
        GI_TRY(gi_plan_origins(p->arena, s->node, &info->origins, &info->n_origins));
    } else {
        info->name = gi_arena_str(p->arena, gi_value_label(p->slots.p[s->in[0]].value, label, sizeof label));
        info->op = "copy";
    }
    return info->name && info->op ? GOPT_OK : GOPT_NO_MEMORY;
}
