/* A plan's memory: how long each slot lives, which results take over an input's place, offsets in the arenas. */
#include "backend/memplan.h"
#include "backend/plan.h"

static void live_at(gi_plan *p, uint32_t slot, uint32_t step)
{
    gi_slot *r = &p->slots.p[gi_slot_root(p, slot)];
    if (step < r->first)
        r->first = step;
    if (step > r->last)
        r->last = step;
}

static void find_lifetimes(gi_plan *p)
{
    for (size_t i = 0; i < p->slots.n; i++) {
        p->slots.p[i].first = UINT32_MAX;
        p->slots.p[i].last = 0;
    }
    for (size_t i = 0; i < p->steps.n; i++) {
        const gi_plan_step *s = &p->steps.p[i];
        for (uint32_t k = 0; k < s->n_in; k++)
            live_at(p, s->in[k], (uint32_t)i);
        for (uint32_t k = 0; k < s->n_out; k++)
            live_at(p, s->out[k], (uint32_t)i);
    }
    for (uint32_t i = 0; i < p->block->n_results; i++)
        live_at(p, p->results[i], (uint32_t)p->steps.n);
}

/* Step i's first result may stand where its input k stands: that dies here, no other input shares its bytes,
 * and it is large enough. */
static void try_in_place(gi_plan *p, uint32_t i)
{
    const gi_plan_step *s = &p->steps.p[i];
    if (s->kind != GI_STEP_COMPILED || s->s.alias || s->s.in_place < 0 || (uint32_t)s->s.in_place >= s->n_in ||
        !s->n_out)
        return;
    const uint32_t a = gi_slot_root(p, s->in[s->s.in_place]), b = s->out[0];
    gi_slot *from = &p->slots.p[a], *to = &p->slots.p[b];
    if (to->root != b || to->kind != GI_SLOT_PLANNED || from->kind != GI_SLOT_PLANNED ||
        from->on_device != to->on_device || from->last != i || to->bytes > from->bytes)
        return;
    for (uint32_t k = 0; k < s->n_in; k++)
        if (k != (uint32_t)s->s.in_place && gi_slot_root(p, s->in[k]) == a)
            return;
    to->root = a;
    from->last = to->last;
}

static gopt_status lay_out(gi_plan *p, bool on_device, gi_arena *scratch)
{
    gi_mem_item *items = GI_NEW_ARRAY(scratch, gi_mem_item, p->slots.n + p->steps.n + 1);
    GI_NEED(items);
    size_t n = 0;
    for (size_t i = 0; i < p->slots.n; i++) {
        const gi_slot *s = &p->slots.p[i];
        if (s->root == i && s->kind == GI_SLOT_PLANNED && s->on_device == on_device && s->first != UINT32_MAX)
            items[n++] = (gi_mem_item){ .bytes = s->bytes, .first = s->first, .last = s->last };
    }
    for (size_t i = 0; i < p->steps.n; i++) {
        const gi_plan_step *s = &p->steps.p[i];
        if (s->kind == GI_STEP_COMPILED && gi_engine_on_device(p->e, s->device) == on_device)
            items[n++] = (gi_mem_item){ .bytes = s->s.scratch, .first = (uint32_t)i, .last = (uint32_t)i };
    }
    const gopt_status st = gi_memplan(items, n, 64, scratch, &p->arena_bytes[on_device]);
    if (st != GOPT_OK)
        return gi_fail(p->e->cx, st, NULL, "fix the dynamic dimensions to smaller values",
                       "the sizes of all intermediate tensors overflow");
    n = 0;
    for (size_t i = 0; i < p->slots.n; i++) {
        gi_slot *s = &p->slots.p[i];
        if (s->root == i && s->kind == GI_SLOT_PLANNED && s->on_device == on_device && s->first != UINT32_MAX)
            s->offset = items[n++].offset;
    }
    for (size_t i = 0; i < p->steps.n; i++) {
        gi_plan_step *s = &p->steps.p[i];
        if (s->kind == GI_STEP_COMPILED && gi_engine_on_device(p->e, s->device) == on_device)
            s->scratch_offset = items[n++].offset;
    }
    return GOPT_OK;
}

/* Which entries of `in` are known in a run alone. */
static gopt_status find_patches(gi_plan *p, gi_plan_step *s)
{
    s->patch = GI_NEW_ARRAY(p->arena, uint32_t, s->n_in + 1);
    GI_NEED(s->patch);
    for (uint32_t k = 0; k < s->n_in; k++) {
        const gi_slot_kind kind = p->slots.p[gi_slot_root(p, s->in[k])].kind;
        if (kind == GI_SLOT_OUTER || kind == GI_SLOT_DYNAMIC)
            s->patch[s->n_patch++] = k;
    }
    return GOPT_OK;
}

static gopt_status find_releases(gi_plan *p)
{
    for (size_t i = 0; i < p->slots.n; i++) {
        const gi_slot *s = &p->slots.p[i];
        if (s->root == i && s->kind == GI_SLOT_DYNAMIC && s->last < p->steps.n)
            p->steps.p[s->last].n_release++;
    }
    for (size_t i = 0; i < p->steps.n; i++) {
        gi_plan_step *s = &p->steps.p[i];
        if (s->n_release)
            GI_NEED(s->release = GI_NEW_ARRAY(p->arena, uint32_t, s->n_release));
        s->n_release = 0;
    }
    for (size_t i = 0; i < p->slots.n; i++) {
        const gi_slot *s = &p->slots.p[i];
        if (s->root == i && s->kind == GI_SLOT_DYNAMIC && s->last < p->steps.n)
            p->steps.p[s->last].release[p->steps.p[s->last].n_release++] = (uint32_t)i;
    }
    return GOPT_OK;
}

gopt_status gi_plan_memory(gi_plan *p, gi_arena *scratch)
{
    find_lifetimes(p);
    for (size_t i = 0; i < p->steps.n; i++)
        try_in_place(p, (uint32_t)i);
    GI_TRY(lay_out(p, false, scratch));
    GI_TRY(lay_out(p, true, scratch));
    for (size_t i = 0; i < p->steps.n; i++)
        GI_TRY(find_patches(p, &p->steps.p[i]));
    return find_releases(p);
}
