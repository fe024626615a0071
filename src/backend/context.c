/* Run contexts: a caller's inputs, the frames for the shapes that he uses, his outputs.
 *
 * Diagnostics and tensors of a run belong to a small library context of its own, since several contexts of
 * one engine may run at once; what a failed run said is handed to the engine's context under its lock. */
#include <inttypes.h>

#include "backend/frame.h"
#include "ops/eval.h"

enum { MAX_FRAMES = 4, INPUT_ALIGN = 16, MAX_SHARES = 1 << 15 };

typedef struct framed {
    gi_special *special;
    gi_arena *arena;
    gi_frame *frame;
    gopt_step_info *infos;
    size_t n_infos;
    uint64_t used;
} framed;

struct gopt_run_context {
    struct gopt_engine *e;
    gopt_ctx *cx; /* its own */
    gi_arena *arena;
    gi_run_state run;
    size_t n_inputs, n_outputs;
    const gopt_tensor **inputs;  /* as set */
    const gopt_tensor **aligned; /* the same, or copies of ours where misaligned */
    gopt_tensor **copies;
    const gopt_tensor **outputs;
    gopt_tensor **reference_outputs;
    framed frames[MAX_FRAMES];
    framed *now; /* that of the last run; of the static plan before the first */
    uint64_t clock;
    gopt_run_times times;
    gi_pool_share *shares; /* of the last profiled run; MAX_SHARES of them while runs are profiled */
    size_t n_shares;
};

/* ---- diagnostics ---- */

static void hand_over(struct gopt_run_context *rc)
{
    gopt_ctx *to = rc->e->cx;
    pthread_mutex_lock(&rc->e->lock);
    for (size_t i = 0; i < gopt_diag_count(rc->cx); i++) {
        const gopt_diag *d = gopt_diag_get(rc->cx, i);
        const gi_place at = { .file = d->file ? d->file : rc->e->graph->file,
                              .subgraph = d->subgraph,
                              .node = d->node,
                              .op = d->op,
                              .input = d->input,
                              .node_number = d->node_index + 1,
                              .opset = d->opset };
        if (d->severity == GOPT_ERROR)
            (void)gi_fail(to, d->status, &at, d->hint, "%s", d->message);
        else if (d->severity == GOPT_WARNING)
            gi_warn(to, &at, d->hint, "%s", d->message);
        else
            gi_note(to, &at, d->hint, "%s", d->message);
    }
    pthread_mutex_unlock(&rc->e->lock);
    gopt_diag_clear(rc->cx);
}

/* ---- frames ---- */

static void framed_destroy(struct gopt_run_context *rc, framed *f)
{
    gi_frame_destroy(f->frame);
    gi_arena_destroy(f->arena);
    if (f->special)
        gi_engine_give_back(rc->e, f->special);
    *f = (framed){ 0 };
}

static gopt_status framed_fill(struct gopt_run_context *rc, framed *f)
{
    f->arena = gi_arena_create(rc->cx);
    GI_NEED(f->arena);
    pthread_mutex_lock(&rc->e->lock); /* backends may build what the frame runs */
    const gopt_status st = gi_frame_create(f->special->plan, &rc->run, f->arena, &f->frame);
    pthread_mutex_unlock(&rc->e->lock);
    GI_TRY(st);
    f->n_infos = gi_frame_list(f->frame, NULL, 0);
    f->infos = GI_NEW_ARRAY(f->arena, gopt_step_info, f->n_infos + 1);
    GI_NEED(f->infos);
    (void)gi_frame_list(f->frame, f->infos, 0);
    return GOPT_OK;
}

/* The frame for a plan; takes over the caller's hold on the plan. */
static gopt_status frame_for(struct gopt_run_context *rc, gi_special *special)
{
    framed *f = &rc->frames[0];
    for (size_t i = 0; i < MAX_FRAMES; i++)
        if (!rc->frames[i].frame || (f->frame && rc->frames[i].used < f->used))
            f = &rc->frames[i];
    if (rc->now == f)
        rc->now = NULL;
    framed_destroy(rc, f);
    f->special = special;
    const gopt_status st = framed_fill(rc, f);
    if (st != GOPT_OK) {
        framed_destroy(rc, f);
        return st;
    }
    f->used = ++rc->clock;
    rc->now = f;
    return GOPT_OK;
}

static gopt_status choose_frame(struct gopt_run_context *rc)
{
    if (rc->now && gi_special_fits(rc->now->special, rc->aligned, rc->n_inputs))
        return GOPT_OK;
    for (size_t i = 0; i < MAX_FRAMES; i++)
        if (rc->frames[i].frame && gi_special_fits(rc->frames[i].special, rc->aligned, rc->n_inputs)) {
            rc->now = &rc->frames[i];
            rc->now->used = ++rc->clock;
            return GOPT_OK;
        }
    gi_special *special;
    GI_TRY(gi_engine_acquire(rc->e, rc->aligned, &special));
    return frame_for(rc, special);
}

/* ---- life ---- */

static gopt_status fill(struct gopt_run_context *rc)
{
    struct gopt_engine *e = rc->e;
    const gi_block *b = e->graph->main;
    rc->arena = gi_arena_create(rc->cx);
    rc->run.scratch = gi_arena_create(rc->cx);
    GI_NEED(rc->arena && rc->run.scratch);
    rc->run.cx = rc->cx;
    rc->n_inputs = b->n_params;
    rc->n_outputs = b->n_results;
    rc->inputs = GI_NEW_ARRAY(rc->arena, const gopt_tensor *, rc->n_inputs + 1);
    rc->aligned = GI_NEW_ARRAY(rc->arena, const gopt_tensor *, rc->n_inputs + 1);
    rc->copies = GI_NEW_ARRAY(rc->arena, gopt_tensor *, rc->n_inputs + 1);
    rc->outputs = GI_NEW_ARRAY(rc->arena, const gopt_tensor *, rc->n_outputs + 1);
    rc->reference_outputs = GI_NEW_ARRAY(rc->arena, gopt_tensor *, rc->n_outputs + 1);
    GI_NEED(rc->inputs && rc->aligned && rc->copies && rc->outputs && rc->reference_outputs);
    if (e->options.reference)
        return GOPT_OK;
    rc->run.pool = gi_pool_create(rc->cx, e->options.threads);
    if (!rc->run.pool)
        return gi_fail(rc->cx, GOPT_NO_MEMORY, NULL, "ask for fewer with --threads", "%d threads cannot be started",
                       e->options.threads);
    for (int d = 0; d < 2; d++)
        if (e->backend[d] && e->backend[d]->context_open)
            GI_TRY(e->backend[d]->context_open(e->device[d], rc->cx, &rc->run.backend_context[d]));
    if (!e->is_static)
        return GOPT_OK;
    gi_special *special;
    GI_TRY(gi_engine_acquire(e, NULL, &special));
    return frame_for(rc, special);
}

gopt_status gopt_run_context_create(gopt_engine *e, gopt_run_context **out)
{
    *out = NULL;
    struct gopt_run_context *rc = gi_alloc(e->cx, sizeof *rc);
    GI_NEED(rc);
    rc->e = e;
    rc->cx = gopt_ctx_create(&(gopt_ctx_options){ .realloc_fn = e->cx->realloc_fn,
                                                  .user = e->cx->user,
                                                  .memory_limit = e->cx->memory_limit,
                                                  .threads = e->options.threads });
    if (!rc->cx) {
        gi_free(e->cx, rc);
        return GOPT_NO_MEMORY;
    }
    rc->cx->tensor_bytes = __atomic_load_n(&e->cx->tensor_bytes, __ATOMIC_RELAXED); /* the ceiling is for both */
    const gopt_status st = fill(rc);
    if (st != GOPT_OK) {
        hand_over(rc);
        gopt_run_context_destroy(rc);
        return st;
    }
    *out = rc;
    return GOPT_OK;
}

static void drop_reference_outputs(struct gopt_run_context *rc)
{
    for (size_t i = 0; rc->reference_outputs && i < rc->n_outputs; i++) {
        gopt_tensor_unref(rc->reference_outputs[i]);
        rc->reference_outputs[i] = NULL;
    }
}

void gopt_run_context_destroy(gopt_run_context *rc)
{
    if (!rc)
        return;
    struct gopt_engine *e = rc->e;
    for (size_t i = 0; i < MAX_FRAMES; i++)
        framed_destroy(rc, &rc->frames[i]);
    for (size_t i = 0; rc->copies && i < rc->n_inputs; i++)
        gopt_tensor_unref(rc->copies[i]);
    drop_reference_outputs(rc);
    for (int d = 0; d < 2; d++)
        if (rc->run.backend_context[d] && e->backend[d]->context_close)
            e->backend[d]->context_close(e->device[d], rc->run.backend_context[d]);
    gi_pool_destroy(rc->run.pool);
    gi_arena_destroy(rc->run.scratch);
    gi_arena_destroy(rc->arena);
    gi_free(rc->cx, rc->shares);
    gopt_ctx_destroy(rc->cx);
    gi_free(e->cx, rc);
}

/* ---- inputs ---- */

gopt_status gopt_run_context_set_input(gopt_run_context *rc, size_t i, const gopt_tensor *t)
{
    const gopt_status st = gi_check_input(rc->cx, rc->e->graph, i, t);
    if (st != GOPT_OK) {
        hand_over(rc);
        return st;
    }
    rc->inputs[i] = t;
    return GOPT_OK;
}

/* Copies input i where its data are not aligned as backends expect. */
static gopt_status align_input(struct gopt_run_context *rc, size_t i)
{
    const gopt_tensor *t = rc->inputs[i];
    rc->aligned[i] = t;
    if (t->kind != GOPT_TENSOR || t->dtype == GOPT_STRING || (uintptr_t)t->data % INPUT_ALIGN == 0)
        return GOPT_OK;
    gopt_tensor *c = rc->copies[i];
    const size_t dims = (size_t)t->rank * sizeof *t->dims;
    if (!c || c->dtype != t->dtype || c->rank != t->rank || (dims && memcmp(c->dims, t->dims, dims) != 0)) {
        gopt_tensor_unref(c);
        rc->copies[i] = NULL;
        GI_TRY(gopt_tensor_create(rc->cx, t->dtype, t->rank, t->dims, &rc->copies[i]));
        c = rc->copies[i];
    }
    memcpy(c->data, t->data, c->bytes);
    rc->aligned[i] = c;
    return GOPT_OK;
}

static gopt_status take_inputs(struct gopt_run_context *rc)
{
    const gopt_graph *g = rc->e->graph;
    for (size_t i = 0; i < rc->n_inputs; i++) {
        if (!rc->inputs[i]) {
            char type[256];
            (void)gopt_value_type_text(g->main->params[i], type, sizeof type);
            return gi_fail(rc->cx, GOPT_BAD_INPUT, &(gi_place){ .file = g->file, .input = g->main->params[i]->name },
                           "every input must be set before a run", "nothing was given for it, expected %s", type);
        }
        GI_TRY(align_input(rc, i));
    }
    return GOPT_OK;
}

/* ---- running ---- */

/* What a run says of a graph whose shapes are bound here belongs to the engine's context already. */
static gopt_status run_reference(struct gopt_run_context *rc)
{
    drop_reference_outputs(rc);
    pthread_mutex_lock(&rc->e->lock);
    const gopt_status st = gi_eval_graph(rc->e->graph, rc->aligned, rc->reference_outputs);
    pthread_mutex_unlock(&rc->e->lock);
    for (size_t i = 0; i < rc->n_outputs; i++)
        rc->outputs[i] = rc->reference_outputs[i];
    return st;
}

/* Waits for what the run has started on a device. One that failed half way too: then nothing touches memory of the
 * caller's any more. */
static gopt_status settle(struct gopt_run_context *rc, gopt_status ran)
{
    struct gopt_engine *e = rc->e;
    if (!e->backend[1] || !gi_engine_on_device(e, 1))
        return ran;
    const size_t said = gopt_diag_count(rc->cx);
    const gopt_status st = e->backend[1]->finish(e->device[1], rc->run.backend_context[1]);
    if (ran == GOPT_OK)
        return st;
    gi_diag_forget(rc->cx, said); /* what came first says more */
    return ran;
}

static gopt_status run_plan(struct gopt_run_context *rc)
{
    GI_TRY(choose_frame(rc));
    gi_frame *f = rc->now->frame;
    for (size_t i = 0; i < rc->n_inputs; i++)
        gi_frame_set(f, f->p->params[i], rc->aligned[i]);
    for (size_t i = 0; rc->run.profile && i < rc->now->n_infos; i++) { /* of a branch that is not taken, too */
        gopt_step_info *s = &rc->now->infos[i];
        s->ms = s->start_ms = s->whole_ms = 0;
        s->device_clock = false;
    }
    gi_pool_watch(rc->run.pool, rc->run.profile ? rc->shares : NULL, MAX_SHARES);
    rc->run.began = gi_now();
    gi_pool_enter(rc->run.pool);
    gopt_status st = gi_frame_run(f);
    gi_pool_leave(rc->run.pool);
    rc->n_shares = gi_pool_watch(rc->run.pool, NULL, 0);
    st = settle(rc, st);
    for (size_t i = 0; i < rc->n_outputs && st == GOPT_OK; i++)
        rc->outputs[i] = gi_frame_get(f, f->p->results[i]);
    return st;
}

gopt_status gopt_run(gopt_run_context *rc)
{
    for (size_t i = 0; i < rc->n_outputs; i++)
        rc->outputs[i] = NULL;
    rc->run.times = (gopt_run_times){ 0 };
    gopt_status st = take_inputs(rc);
    const double start = gi_now();
    if (st == GOPT_OK)
        st = rc->e->options.reference ? run_reference(rc) : run_plan(rc);
    rc->times = rc->run.times;
    rc->times.compute_ms = 1e3 * (gi_now() - start) - rc->times.h2d_ms - rc->times.d2h_ms;
    if (gopt_diag_count(rc->cx))
        hand_over(rc);
    return st;
}

const gopt_tensor *gopt_run_context_output(gopt_run_context *rc, size_t i)
{
    return i < rc->n_outputs ? rc->outputs[i] : NULL;
}

const gopt_step_info *gopt_run_context_step(gopt_run_context *rc, size_t i)
{
    return rc->now && i < rc->now->n_infos ? &rc->now->infos[i] : NULL;
}

/* Number of a plan's step in the list that branches are counted in, too. */
static size_t listed(const framed *f, size_t step)
{
    return step < f->frame->p->steps.n ? (size_t)(f->frame->steps[step].info - f->infos) : f->n_infos;
}

bool gopt_run_context_buffer(gopt_run_context *rc, size_t i, gopt_buffer_info *out)
{
    const framed *f = rc->now;
    const gi_plan *p = f && f->frame ? f->frame->p : NULL;
    for (size_t k = 0; p && k < p->slots.n; k++) {
        const gi_slot *s = &p->slots.p[k];
        if (s->root != k || s->kind != GI_SLOT_PLANNED || s->first == UINT32_MAX || !s->bytes || i--)
            continue;
        *out = (gopt_buffer_info){ .name = s->value ? s->value->name : NULL,
                                   .on_device = s->on_device,
                                   .offset = s->offset,
                                   .bytes = s->bytes,
                                   .first = listed(f, s->first),
                                   .last = listed(f, s->last) };
        return true;
    }
    for (size_t k = 0; p && k < p->steps.n; k++) {
        const gi_plan_step *s = &p->steps.p[k];
        if (s->kind != GI_STEP_COMPILED || !s->s.scratch || i--)
            continue;
        *out = (gopt_buffer_info){ .name = s->info.name,
                                   .workspace = true,
                                   .on_device = gi_engine_on_device(rc->e, s->device),
                                   .offset = s->scratch_offset,
                                   .bytes = s->s.scratch,
                                   .first = listed(f, k),
                                   .last = listed(f, k) };
        return true;
    }
    return false;
}

void gi_run_context_watch(gopt_run_context *rc, void (*seen)(void *user, const gi_value *v, const gopt_tensor *t),
                          void *user)
{
    rc->run.seen = seen;
    rc->run.seen_user = user;
}

void gopt_run_context_profile(gopt_run_context *rc, bool on)
{
    rc->run.profile = on;
    if (on && !rc->shares) /* without memory, steps are timed all the same */
        rc->shares = gi_alloc(rc->cx, MAX_SHARES * sizeof *rc->shares);
}

bool gopt_run_context_share(const gopt_run_context *rc, size_t i, gopt_share_info *out)
{
    if (i >= rc->n_shares)
        return false;
    const gi_pool_share *s = &rc->shares[i];
    *out = (gopt_share_info){ .thread = s->thread,
                              .start_ms = 1e3 * (s->start - rc->run.began),
                              .ms = 1e3 * (s->end - s->start) };
    return true;
}

gopt_run_times gopt_run_context_times(const gopt_run_context *rc)
{
    return rc->times;
}
