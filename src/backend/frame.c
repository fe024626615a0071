/* Runs a plan. All that a static plan needs is laid out when the frame is made: a run then walks the steps,
 * fills in the places that are known only now (the caller's inputs, tensors made in this run), and calls
 * backends. It takes no lock and allocates nothing. */
#include "backend/frame.h"

#include <sys/mman.h>

enum { ALIGN = 64, HUGE_PAGE = 2 << 20 };

/* ---- making ---- */

static gopt_status host_arena(gi_frame *f, char **base)
{
    gopt_ctx *cx = f->run->cx;
    const gi_backend *backend = f->p->e->backend[1];
    /* at least a byte: tensors without elements have an address too */
    const uint64_t bytes = f->p->arena_bytes[0] ? f->p->arena_bytes[0] : 1;
    const uint64_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGN;
    *base = NULL;
    const uint64_t held = __atomic_add_fetch(&cx->tensor_bytes, bytes, __ATOMIC_RELAXED);
    f->charged = bytes;
    if (held > cx->memory_limit)
        return gi_fail(cx, GOPT_NO_MEMORY, &(gi_place){ .file = f->p->block->graph->file },
                       "raise --memory-limit, or fix the dynamic dimensions to smaller values",
                       "intermediate tensors take %llu bytes, which passes the memory limit of %llu",
                       (unsigned long long)bytes, (unsigned long long)cx->memory_limit);
    if (backend && backend->host_alloc && f->p->arena_bytes[1]) { /* values are copied to and from the device */
        f->memory = *base = backend->host_alloc(f->p->e->device[1], bytes, &f->pinned);
        if (f->memory)
            return GOPT_OK;
    }
    f->memory = bytes > SIZE_MAX - 2 * align ? NULL : gi_realloc(cx, NULL, (size_t)(bytes + 2 * align));
    if (!f->memory)
        return gi_fail(cx, GOPT_NO_MEMORY, &(gi_place){ .file = f->p->block->graph->file }, NULL,
                       "no memory for %llu bytes of intermediate tensors", (unsigned long long)bytes);
    *base = (char *)(((uintptr_t)f->memory + align - 1) & ~(uintptr_t)(align - 1));
#ifdef MADV_HUGEPAGE
    if (align == HUGE_PAGE)
        (void)madvise(*base, (size_t)(bytes & ~(align - 1)), MADV_HUGEPAGE);
#endif
    return GOPT_OK;
}

static gopt_status init_slot(gi_frame *f, uint32_t i, char *base)
{
    const gi_slot *s = &f->p->slots.p[i], *root = &f->p->slots.p[gi_slot_root(f->p, i)];
    const uint64_t at = gi_slot_at(f->p, i);
    gi_slot_state *st = &f->slots[i];
    st->b = (gi_buffer){ .bytes = s->bytes, .type = s->type };
    if (s->type) {
        st->view = (gopt_tensor){ .dtype = s->type->dtype, .rank = s->type->rank, .refs = 1 };
        if (!gi_type_static_dims(s->type, st->view.dims) || !gi_type_bytes(s->type, &st->view.bytes))
            return GOPT_INTERNAL;
    }
    if (root->kind == GI_SLOT_PLANNED) {
        if (s->on_device) {
            st->b.mem = f->device_memory;
            st->b.offset = root->offset + at;
        } else {
            st->b.host = base ? base + root->offset + at : NULL;
        }
    } else if (root->kind == GI_SLOT_CONST) {
        st->b.mem = root->mem;
        st->b.offset = at;
        if (!s->on_device) { /* read alone */
            const char *data = (const char *)root->blob->data + at;
            memcpy(&st->b.host, &data, sizeof st->b.host);
        }
    }
    if (s->unread)
        st->b.host = NULL;
    st->view.data = st->b.host;
    if (!s->on_device && (root->kind == GI_SLOT_PLANNED || root->kind == GI_SLOT_CONST))
        st->t = &st->view;
    return GOPT_OK;
}

static gopt_status init_step(gi_frame *f, uint32_t i, char *base)
{
    const gi_plan *p = f->p;
    const gi_plan_step *s = &p->steps.p[i];
    gi_step_state *st = &f->steps[i];
    st->in = GI_NEW_ARRAY(f->arena, gi_buffer, s->n_in + 1);
    st->out = GI_NEW_ARRAY(f->arena, gi_buffer, s->n_out + 1);
    GI_NEED(st->in && st->out);
    for (uint32_t k = 0; k < s->n_in; k++)
        st->in[k] = f->slots[s->in[k]].b;
    for (uint32_t k = 0; k < s->n_out; k++)
        st->out[k] = f->slots[s->out[k]].b;
    st->scratch = (gi_buffer){ .mem = f->device_memory, .offset = s->scratch_offset, .bytes = s->s.scratch };
    st->args = (gi_run_args){ .in = st->in,
                              .out = st->out,
                              .pool = f->run->pool,
                              .cx = f->run->cx,
                              .context = f->run->backend_context[s->device] };
    if (s->kind == GI_STEP_COMPILED) {
        st->args.seed = s->node->id;
        st->args.scratch = gi_engine_on_device(p->e, s->device) ? (void *)&st->scratch
                           : s->s.scratch                       ? base + s->scratch_offset
                                                                : NULL;
    } else if (s->kind == GI_STEP_DYNAMIC) {
        const gi_node *n = s->node;
        st->eval_in = GI_NEW_ARRAY(f->arena, const gopt_tensor *, n->n_in + 1);
        st->eval_out = GI_NEW_ARRAY(f->arena, gopt_tensor *, s->n_out + 1);
        st->eval_slot = GI_NEW_ARRAY(f->arena, int64_t, n->n_in + 1);
        GI_NEED(st->eval_in && st->eval_out && st->eval_slot);
        for (uint32_t k = 0; k < n->n_in; k++)
            st->eval_slot[k] = n->in[k].value ? gi_plan_find(p, n->in[k].value, false) : -1;
    } else if (s->kind == GI_STEP_IF) {
        GI_TRY(gi_frame_create(s->branch[0], f->run, f->arena, &st->branch[0]));
        GI_TRY(gi_frame_create(s->branch[1], f->run, f->arena, &st->branch[1]));
    }
    return GOPT_OK;
}

/* Offers the steps from `first` on that follow each other on a device, whose places are known, as one. */
static gopt_status init_span(gi_frame *f, size_t first, size_t *end)
{
    const gi_plan *p = f->p;
    const int device = p->steps.p[first].device;
    const gi_backend *backend = p->e->backend[device];
    size_t n = 0, i = first;
    for (; i < p->steps.n; i++) {
        const gi_plan_step *s = &p->steps.p[i];
        if (s->kind != GI_STEP_COMPILED || s->device != device || s->n_patch || s->n_release)
            break;
        n += !s->s.alias;
    }
    *end = i > first ? i : first + 1;
    if (n < 2 || !backend || !backend->span_open)
        return GOPT_OK;
    gi_step **steps = GI_NEW_ARRAY(f->arena, gi_step *, n);
    const gi_run_args **args = GI_NEW_ARRAY(f->arena, const gi_run_args *, n);
    GI_NEED(steps && args);
    n = 0;
    for (size_t k = first; k < i; k++)
        if (!p->steps.p[k].s.alias) {
            steps[n] = &p->steps.p[k].s;
            args[n++] = &f->steps[k].args;
        }
    f->steps[first].span_end = i;
    return backend->span_open(p->e->device[device], steps, args, n, &f->steps[first].span);
}

static gopt_status init(gi_frame *f)
{
    const gi_plan *p = f->p;
    char *base;
    GI_TRY(host_arena(f, &base));
    if (p->arena_bytes[1])
        GI_TRY(p->e->backend[1]->mem_alloc(p->e->device[1], p->arena_bytes[1], &f->device_memory));
    f->slots = GI_NEW_ARRAY(f->arena, gi_slot_state, p->slots.n + 1);
    f->steps = GI_NEW_ARRAY(f->arena, gi_step_state, p->steps.n + 1);
    GI_NEED(f->slots && f->steps);
    for (size_t i = 0; i < p->slots.n; i++)
        GI_TRY(init_slot(f, (uint32_t)i, base));
    for (size_t i = 0; i < p->steps.n; i++)
        GI_TRY(init_step(f, (uint32_t)i, base));
    for (size_t i = 0; i < p->steps.n;)
        GI_TRY(init_span(f, i, &i));
    return GOPT_OK;
}

gopt_status gi_frame_create(gi_plan *p, gi_run_state *run, gi_arena *arena, gi_frame **out)
{
    gi_frame *f = GI_NEW(arena, gi_frame);
    GI_NEED(f);
    f->p = p;
    f->run = run;
    f->arena = arena;
    const gopt_status st = init(f);
    if (st != GOPT_OK) {
        gi_frame_destroy(f);
        return st;
    }
    *out = f;
    return GOPT_OK;
}

/* Lets go of what the last run made. */
static void clear(gi_frame *f)
{
    for (size_t i = 0; i < f->p->slots.n; i++) {
        if (f->p->slots.p[i].kind != GI_SLOT_DYNAMIC)
            continue;
        gopt_tensor_unref(f->slots[i].owned);
        f->slots[i].owned = NULL;
        f->slots[i].t = NULL;
    }
}

void gi_frame_destroy(gi_frame *f)
{
    if (!f)
        return;
    if (f->slots)
        clear(f);
    for (size_t i = 0; f->steps && i < f->p->steps.n; i++) {
        gi_frame_destroy(f->steps[i].branch[0]);
        gi_frame_destroy(f->steps[i].branch[1]);
        if (f->steps[i].span) {
            const int device = f->p->steps.p[i].device;
            f->p->e->backend[device]->span_close(f->p->e->device[device], f->steps[i].span);
        }
    }
    if (f->device_memory)
        f->p->e->backend[1]->mem_free(f->p->e->device[1], f->device_memory);
    if (f->pinned)
        f->p->e->backend[1]->host_free(f->pinned);
    else if (f->memory)
        gi_free(f->run->cx, f->memory);
    __atomic_sub_fetch(&f->run->cx->tensor_bytes, f->charged, __ATOMIC_RELAXED);
}

uint64_t gi_frame_bytes(const gi_frame *f)
{
    uint64_t sum = f->p->arena_bytes[0] + f->p->arena_bytes[1];
    for (size_t i = 0; i < f->p->steps.n; i++)
        for (int k = 0; k < 2; k++)
            if (f->steps[i].branch[k])
                sum += gi_frame_bytes(f->steps[i].branch[k]);
    return sum;
}

size_t gi_frame_list(gi_frame *f, gopt_step_info *infos, size_t at)
{
    for (size_t i = 0; i < f->p->steps.n; i++) {
        if (infos) {
            infos[at] = f->p->steps.p[i].info;
            f->steps[i].info = &infos[at];
        }
        at++;
        for (int k = 1; k >= 0; k--)
            if (f->steps[i].branch[k])
                at = gi_frame_list(f->steps[i].branch[k], infos, at);
    }
    return at;
}

/* ---- values ---- */

void gi_frame_set(gi_frame *f, uint32_t slot, const gopt_tensor *t)
{
    f->slots[slot].t = t;
    f->slots[slot].b.host = t ? t->data : NULL;
}

/* A host slot's bytes, where its root's place is known in a run alone. */
static void *within(const gi_frame *f, uint32_t slot, uint32_t root)
{
    char *base = f->slots[root].b.host;
    return base ? base + gi_slot_at(f->p, slot) : NULL;
}

const gopt_tensor *gi_frame_get(gi_frame *f, uint32_t slot)
{
    const uint32_t root = gi_slot_root(f->p, slot);
    gi_slot_state *s = &f->slots[slot];
    if (root == slot)
        return s->t;
    s->view.data = within(f, slot, root);
    return &s->view;
}

/* Gives a DYNAMIC slot its tensor; takes the reference over where `owned`. */
static gopt_status give(gi_frame *f, const gi_plan_step *s, uint32_t slot, const gopt_tensor *t, gopt_tensor *owned)
{
    gi_slot_state *st = &f->slots[slot];
    const gi_type *type = f->p->slots.p[slot].type;
    st->owned = owned;
    gi_frame_set(f, slot, t);
    if (!type || !t)
        return GOPT_OK;
    bool fits = t->kind == GOPT_TENSOR && t->dtype == type->dtype && t->rank == type->rank;
    for (int i = 0; i < type->rank && fits; i++)
        fits = t->dims[i] == st->view.dims[i];
    if (fits)
        return GOPT_OK;
    const gi_place at = gi_node_place(s->node);
    gi_str want;
    gi_str_init(&want, f->run->scratch);
    gi_type_print(&want, type);
    return gi_fail(f->run->cx, GOPT_BAD_INPUT, &at, "the model's declared shapes contradict what it computes",
                   "its result is %s of rank %d, expected %s", gopt_dtype_name(t->dtype), t->rank,
                   want.p ? want.p : "another type");
}

static const gopt_tensor *look_up(void *user, const gi_value *v)
{
    gi_frame *f = user;
    const int64_t slot = gi_plan_find(f->p, v, false);
    return slot < 0 ? NULL : gi_frame_get(f, (uint32_t)slot);
}

/* ---- running ---- */

static gopt_status run_dynamic(gi_frame *f, const gi_plan_step *s, gi_step_state *st)
{
    const gi_node *n = s->node;
    for (uint32_t k = 0; k < n->n_in; k++)
        st->eval_in[k] = st->eval_slot[k] < 0 ? NULL : gi_frame_get(f, (uint32_t)st->eval_slot[k]);
    for (uint32_t k = 0; k < s->n_out; k++)
        st->eval_out[k] = NULL;
    gi_eval e = { .n = n,
                  .cx = f->run->cx,
                  .n_in = n->n_in,
                  .n_out = s->n_out,
                  .in = st->eval_in,
                  .out = st->eval_out,
                  .scratch = f->run->scratch,
                  .lookup = look_up,
                  .user = f,
                  .seed = n->id };
    gopt_status status = gi_eval_node(&e);
    for (uint32_t k = 0; k < s->n_out; k++) {
        if (status == GOPT_OK)
            status = give(f, s, s->out[k], st->eval_out[k], st->eval_out[k]);
        else
            gopt_tensor_unref(st->eval_out[k]);
    }
    gi_arena_reset(f->run->scratch);
    return status;
}

/* A branch's results: what lies in its own memory or in a weight is borrowed, what it made changes owner,
 * what it only handed on is copied, since its place may be reused. */
static gopt_status take_results(gi_frame *f, const gi_plan_step *s, gi_frame *branch)
{
    for (uint32_t k = 0; k < s->n_out; k++) {
        if (k >= branch->p->block->n_results)
            return GOPT_INTERNAL;
        const uint32_t slot = branch->p->results[k], root = gi_slot_root(branch->p, slot);
        const gi_slot_kind kind = branch->p->slots.p[root].kind;
        const gopt_tensor *t = gi_frame_get(branch, slot);
        gopt_tensor *owned = NULL;
        if (kind == GI_SLOT_DYNAMIC && slot == root && branch->slots[root].owned)
            owned = gopt_tensor_ref(branch->slots[root].owned);
        else if (t && (kind == GI_SLOT_OUTER || kind == GI_SLOT_DYNAMIC))
            GI_TRY(gi_tensor_copy(f->run->cx, t, &owned));
        GI_TRY(give(f, s, s->out[k], owned ? owned : t, owned));
    }
    return GOPT_OK;
}

static gopt_status run_if(gi_frame *f, const gi_plan_step *s, gi_step_state *st)
{
    const gopt_tensor *cond = look_up(f, gi_node_in(s->node, If_in_cond));
    if (!cond || cond->kind != GOPT_TENSOR || gopt_tensor_elements(cond) != 1) {
        const gi_place at = gi_node_place(s->node);
        return gi_fail(f->run->cx, GOPT_BAD_INPUT, &at, NULL, "its condition is no single element");
    }
    gi_frame *branch = st->branch[gi_load_i64(cond->dtype, cond->data, 0) != 0];
    for (size_t i = 0; i < branch->p->captures.n; i++) {
        const gi_capture *c = &branch->p->captures.p[i];
        gi_frame_set(branch, c->slot, gi_frame_get(f, c->outer));
    }
    GI_TRY(gi_frame_run(branch));
    return take_results(f, s, branch);
}

static gopt_status run_copy(gi_frame *f, const gi_plan_step *s, gi_step_state *st)
{
    struct gopt_engine *e = f->p->e;
    void *context = f->run->backend_context[1];
    const double start = gi_now();
    if (s->kind == GI_STEP_COPY) {
        if (st->out[0].bytes)
            memcpy(st->out[0].host, st->in[0].host, (size_t)st->out[0].bytes);
        return GOPT_OK;
    }
    if (s->kind == GI_STEP_UPLOAD) {
        GI_TRY(e->backend[1]->upload(e->device[1], context, &st->out[0], st->in[0].host));
        f->run->times.h2d_ms += 1e3 * (gi_now() - start);
        return GOPT_OK;
    }
    GI_TRY(e->backend[1]->finish(e->device[1], context)); /* so that waiting counts as computing */
    const double ready = gi_now();
    GI_TRY(e->backend[1]->download(e->device[1], context, &st->in[0], st->out[0].host));
    f->run->times.d2h_ms += 1e3 * (gi_now() - ready);
    return GOPT_OK;
}

static gopt_status run_step(gi_frame *f, gi_plan_step *s, gi_step_state *st)
{
    struct gopt_engine *e = f->p->e;
    for (uint32_t k = 0; k < s->n_patch; k++) {
        const uint32_t slot = s->in[s->patch[k]];
        st->in[s->patch[k]].host = within(f, slot, gi_slot_root(f->p, slot));
    }
    switch (s->kind) {
    case GI_STEP_COMPILED:
        return s->s.alias ? GOPT_OK : e->backend[s->device]->run(e->device[s->device], &s->s, &st->args);
    case GI_STEP_DYNAMIC:
        return run_dynamic(f, s, st);
    case GI_STEP_IF:
        return run_if(f, s, st);
    case GI_STEP_COPY:
    case GI_STEP_UPLOAD:
    case GI_STEP_DOWNLOAD:
        return run_copy(f, s, st);
    }
    return GOPT_INTERNAL;
}

/* Runs a step and waits for it. *ms: by the device's clock; negative where it has none, or does not say. */
static gopt_status run_and_wait(gi_frame *f, gi_plan_step *s, gi_step_state *st, double *ms)
{
    struct gopt_engine *e = f->p->e;
    const bool launched = s->kind == GI_STEP_COMPILED && !s->s.alias && gi_engine_on_device(e, s->device);
    *ms = -1;
    if (launched && e->backend[s->device]->run_timed)
        return e->backend[s->device]->run_timed(e->device[s->device], &s->s, &st->args, ms);
    GI_TRY(run_step(f, s, st));
    return launched ? e->backend[s->device]->finish(e->device[s->device], st->args.context) : GOPT_OK;
}

/* Times a step; what the steps of a branch take is theirs, not the If's. */
static gopt_status run_profiled(gi_frame *f, gi_plan_step *s, gi_step_state *st)
{
    const double start = gi_now(), before = f->run->profiled_ms;
    double on_device;
    const gopt_status status = run_and_wait(f, s, st, &on_device);
    const double took = s->s.alias ? 0 : 1e3 * (gi_now() - start);
    if (st->info) {
        st->info->device_clock = on_device >= 0;
        st->info->ms = on_device >= 0 ? on_device : took - (f->run->profiled_ms - before);
        st->info->start_ms = 1e3 * (start - f->run->began);
        st->info->whole_ms = took;
    }
    f->run->profiled_ms = before + took;
    return status;
}

static void show(gi_frame *f, const gi_plan_step *s)
{
    for (uint32_t k = 0; s->node && k < s->n_out; k++)
        if (!f->p->slots.p[s->out[k]].on_device)
            f->run->seen(f->run->seen_user, f->p->slots.p[s->out[k]].value, gi_frame_get(f, s->out[k]));
}

gopt_status gi_frame_run(gi_frame *f)
{
    clear(f);
    for (size_t i = 0; i < f->p->steps.n; i++) {
        gi_plan_step *s = &f->p->steps.p[i];
        if (f->steps[i].span && !f->run->profile) {
            struct gopt_engine *e = f->p->e;
            GI_TRY(e->backend[s->device]->span_run(e->device[s->device], f->steps[i].span, &f->steps[i].args));
            i = f->steps[i].span_end - 1;
            continue;
        }
        GI_TRY(f->run->profile ? run_profiled(f, s, &f->steps[i]) : run_step(f, s, &f->steps[i]));
        if (f->run->seen)
            show(f, s);
        for (uint32_t k = 0; k < s->n_release; k++) {
            gi_slot_state *dead = &f->slots[s->release[k]];
            gopt_tensor_unref(dead->owned);
            dead->owned = NULL;
            dead->t = NULL;
        }
    }
    return GOPT_OK;
}
