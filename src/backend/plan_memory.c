/* A plan's memory: how long each slot lives, which values are written where a Concat wants them, which results take
 * over an input's place, offsets in the arenas. */
#include "backend/memplan.h"
#include "backend/plan.h"

enum { ALIGN = 64, DEVICE_ALIGN = 16, BESIDE = 2, SMALL = 4 << 20 };

static void live_at(gi_plan *p, uint32_t slot, uint32_t step)
{
    gi_slot *r = &p->slots.p[gi_slot_root(p, slot)];
    if (step < r->first)
        r->first = step;
    if (step > r->last)
        r->last = step;
}

/* Steps whose results no later one reads, since that reads what was before them, have nothing to run. */
static gopt_status drop_unread(gi_plan *p, gi_arena *scratch)
{
    bool *read = GI_NEW_ARRAY(scratch, bool, p->slots.n + 1);
    GI_NEED(read);
    for (uint32_t i = 0; i < p->block->n_results; i++)
        read[p->results[i]] = true;
    for (size_t i = p->steps.n; i > 0; i--) {
        gi_plan_step *s = &p->steps.p[i - 1];
        bool wanted = s->kind != GI_STEP_COMPILED || !s->n_out || !(gi_op_get(s->node->op)->traits & GI_PURE);
        for (uint32_t k = 0; k < s->n_out; k++)
            wanted = wanted || read[s->out[k]];
        for (uint32_t k = 0; k < s->n_out && wanted && s->s.skips_unread; k++)
            p->slots.p[s->out[k]].unread = !read[s->out[k]];
        if (!wanted) {
            s->n_in = s->n_out = 0;
            s->s.alias = true;
            s->s.scratch = 0;
            s->info.bytes = 0;
        }
        for (uint32_t k = 0; k < s->n_in; k++)
            read[s->in[k]] = true;
    }
    return GOPT_OK;
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
            if (!p->slots.p[s->out[k]].unread)
                live_at(p, s->out[k], (uint32_t)i);
    }
    for (uint32_t i = 0; i < p->block->n_results; i++)
        live_at(p, p->results[i], (uint32_t)p->steps.n);
}

/* ---- values within others ---- */

/* A slot that is a buffer of its own, all of it. */
static bool is_whole(const gi_plan *p, uint32_t slot, uint32_t root)
{
    const gi_slot *r = &p->slots.p[root];
    return r->kind == GI_SLOT_PLANNED && gi_slot_at(p, slot) == 0 && r->bytes == p->slots.p[slot].bytes;
}

static void place_within(gi_plan *p, uint32_t root, uint32_t in, uint64_t at)
{
    gi_slot *r = &p->slots.p[root], *around = &p->slots.p[gi_slot_root(p, in)];
    r->root = in;
    r->at = at;
    if (r->first < around->first)
        around->first = r->first;
    if (r->last > around->last)
        around->last = r->last;
}

/* Do all inputs already lie in one buffer as the result wants them? So does then the result. */
static bool lies_ready(const gi_plan *p, const gi_plan_step *s, uint32_t *root, uint64_t *at)
{
    uint64_t end = 0;
    *root = gi_slot_root(p, s->in[0]);
    *at = gi_slot_at(p, s->in[0]);
    for (uint32_t k = 0; k < s->n_in; k++) {
        if (s->s.in_at[k] != end || gi_slot_root(p, s->in[k]) != *root || gi_slot_at(p, s->in[k]) != *at + end)
            return false;
        end += p->slots.p[s->in[k]].bytes;
    }
    return end == p->slots.p[s->out[0]].bytes && p->slots.p[*root].kind == GI_SLOT_PLANNED;
}

/* Step i's result lies within another, and may stand where an input stands that dies here: then that is written there. */
static bool try_place_before(gi_plan *p, uint32_t i)
{
    const gi_plan_step *s = &p->steps.p[i];
    if (s->kind != GI_STEP_COMPILED || s->s.alias || s->s.in_place < 0 || (uint32_t)s->s.in_place >= s->n_in ||
        s->n_out != 1 || p->slots.p[s->out[0]].root == s->out[0])
        return false;
    const uint32_t in = s->in[s->s.in_place], out = s->out[0], r = gi_slot_root(p, in), around = gi_slot_root(p, out);
    const gi_slot *around_slot = &p->slots.p[around];
    if (around_slot->kind != GI_SLOT_PLANNED || r == around || !is_whole(p, in, r) || p->slots.p[r].last != i ||
        p->slots.p[r].bytes != p->slots.p[out].bytes || p->slots.p[r].on_device != around_slot->on_device)
        return false;
    for (uint32_t k = 0; k < s->n_in; k++)
        if (k != (uint32_t)s->s.in_place && gi_slot_root(p, s->in[k]) == r)
            return false;
    place_within(p, r, out, 0);
    return true;
}

/* Step i puts its inputs together: those that have a buffer of their own are written into the result's at once.
 *
 * From the last such step to the first, so that of results that grow (the blocks of a DenseNet) the last holds all,
 * and the others are parts of it. Whatever is alive between the first writing of a part and the last reading of the
 * whole lies elsewhere: the whole lives as long as any part. Parts lie apart, and no step writes into what is alive
 * (try_in_place comes after, and asks when the whole dies). */
static void place_parts(gi_plan *p, uint32_t i)
{
    gi_plan_step *s = &p->steps.p[i];
    if (try_place_before(p, i) || s->kind != GI_STEP_COMPILED || s->s.alias || !s->s.in_at || !s->n_in || s->n_out != 1)
        return;
    const uint32_t out = s->out[0], around = gi_slot_root(p, out);
    uint32_t root;
    uint64_t at, placed = 0;
    uint32_t n_placed = 0;
    if (p->slots.p[around].kind != GI_SLOT_PLANNED)
        return;
    const bool ready = around == out && lies_ready(p, s, &root, &at);
    if (ready) {
        const uint32_t first = p->slots.p[out].first, last = p->slots.p[out].last;
        gi_slot *r = &p->slots.p[root];
        p->slots.p[out].root = root;
        p->slots.p[out].at = at;
        r->first = first < r->first ? first : r->first;
        r->last = last > r->last ? last : r->last;
        placed = p->slots.p[out].bytes;
    }
    for (uint32_t k = 0; k < s->n_in && !ready; k++) {
        const uint32_t r = gi_slot_root(p, s->in[k]);
        const uint64_t align = p->slots.p[around].on_device ? DEVICE_ALIGN : ALIGN;
        if (s->s.in_at[k] == GI_NOT_WITHIN || s->s.in_at[k] % align || r == around || !is_whole(p, s->in[k], r) ||
            p->slots.p[r].on_device != p->slots.p[around].on_device)
            continue;
        place_within(p, r, out, s->s.in_at[k]);
        placed += p->slots.p[s->in[k]].bytes;
        n_placed++;
    }
    if (placed)
        s->s.in_place = -1;                                                         /* they lie there already */
    if (placed == p->slots.p[out].bytes || (s->s.in_once && n_placed == s->n_in)) { /* nothing is left to run */
        s->s.alias = true;
        s->info.bytes = 0;
    }
}

/* Step i's first result may stand where its input k stands: that dies here, no other input shares its bytes,
 * and it is large enough. */
static void try_in_place(gi_plan *p, uint32_t i)
{
    const gi_plan_step *s = &p->steps.p[i];
    if (s->kind != GI_STEP_COMPILED || s->s.alias || s->s.in_place < 0 || (uint32_t)s->s.in_place >= s->n_in ||
        !s->n_out)
        return;
    const uint32_t in = s->in[s->s.in_place], a = gi_slot_root(p, in), b = s->out[0];
    gi_slot *from = &p->slots.p[a], *to = &p->slots.p[b];
    if (to->root != b || to->kind != GI_SLOT_PLANNED || from->kind != GI_SLOT_PLANNED ||
        from->on_device != to->on_device || from->last != i || to->bytes > p->slots.p[in].bytes)
        return;
    for (uint32_t k = 0; k < s->n_in; k++)
        if (k != (uint32_t)s->s.in_place && gi_slot_root(p, s->in[k]) == a)
            return;
    to->root = in;
    from->last = to->last;
}

/* A device runs neighbours that do not depend on each other at the same time (docs/opencl.md, walks). They would, if one
 * were written where another one reads: a small buffer's place stays free for some steps. Large ones fill the device by
 * themselves, and memory counts more. */
static gi_mem_item item_of(uint64_t bytes, uint32_t first, uint32_t last, bool on_device)
{
    return (gi_mem_item){ .bytes = bytes, .first = first, .last = last + (on_device && bytes <= SMALL ? BESIDE : 0) };
}

static gopt_status lay_out(gi_plan *p, bool on_device, gi_arena *scratch)
{
    gi_mem_item *items = GI_NEW_ARRAY(scratch, gi_mem_item, p->slots.n + p->steps.n + 1);
    GI_NEED(items);
    size_t n = 0;
    for (size_t i = 0; i < p->slots.n; i++) {
        const gi_slot *s = &p->slots.p[i];
        if (s->root == i && s->kind == GI_SLOT_PLANNED && s->on_device == on_device && s->first != UINT32_MAX)
            items[n++] = item_of(s->bytes, s->first, s->last, on_device);
    }
    for (size_t i = 0; i < p->steps.n; i++) {
        const gi_plan_step *s = &p->steps.p[i];
        if (s->kind == GI_STEP_COMPILED && gi_engine_on_device(p->e, s->device) == on_device)
            items[n++] = item_of(s->s.scratch, (uint32_t)i, (uint32_t)i, on_device);
    }
    const gopt_status st = gi_memplan(items, n, ALIGN, scratch, &p->arena_bytes[on_device]);
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
    GI_TRY(drop_unread(p, scratch));
    find_lifetimes(p);
    for (size_t i = p->steps.n; i > 0; i--)
        place_parts(p, (uint32_t)(i - 1));
    for (size_t i = 0; i < p->steps.n; i++)
        try_in_place(p, (uint32_t)i);
    GI_TRY(lay_out(p, false, scratch));
    GI_TRY(lay_out(p, true, scratch));
    for (size_t i = 0; i < p->steps.n; i++)
        GI_TRY(find_patches(p, &p->steps.p[i]));
    return find_releases(p);
}
