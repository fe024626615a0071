/* Builds the plan of a block: takes regions apart that no kernel runs, places its nodes, has them compiled, gives every value a slot, puts copies where
 * a value crosses between host and device. */
#include "backend/plan.h"
#include "backend/plan_file.h"
#include "backend/tune.h"

typedef struct builder {
    gi_plan *p;
    gi_arena *scratch;
} builder;

static uint64_t slot_key(const gi_value *v, bool on_device)
{
    return (uint64_t)v->id * 2 + on_device + 1;
}

int64_t gi_plan_find(const gi_plan *p, const gi_value *v, bool on_device)
{
    return (int64_t)(uintptr_t)gi_map_get(&p->slot_of, slot_key(v, on_device)) - 1;
}

static gopt_status add_slot(gi_plan *p, gi_value *v, bool on_device, gi_slot_kind kind, uint32_t *index)
{
    gi_slot s = { .value = v, .kind = kind, .on_device = on_device };
    size_t bytes = 0;
    if (v->type && gi_type_is_static(v->type) && gi_type_bytes(v->type, &bytes)) {
        s.type = v->type;
        s.bytes = bytes;
    }
    *index = (uint32_t)p->slots.n;
    s.root = *index;
    GI_NEED(p->slots.n < UINT32_MAX - 1);
    GI_NEED(gi_push(p->arena, &p->slots, s));
    GI_NEED(gi_map_put(&p->slot_of, slot_key(v, on_device), (void *)(uintptr_t)(*index + 1)));
    return GOPT_OK;
}

/* A slot of its own for what step `s` writes. */
static gopt_status add_copy(gi_plan *p, gi_step_kind kind, uint32_t from, uint32_t to)
{
    gi_plan_step s = { .kind = kind, .n_in = 1, .n_out = 1 };
    s.device = kind == GI_STEP_COPY ? 0 : 1;
    s.in = GI_NEW(p->arena, uint32_t);
    s.out = GI_NEW(p->arena, uint32_t);
    GI_NEED(s.in && s.out);
    *s.in = from;
    *s.out = to;
    GI_TRY(gi_plan_describe(p, &s, NULL));
    GI_NEED(gi_push(p->arena, &p->steps, s));
    return GOPT_OK;
}

/* The slot of `v` at that place, with a copy step where it lies at the other. */
static gopt_status need_slot(builder *b, gi_value *v, bool on_device, uint32_t *index)
{
    gi_plan *p = b->p;
    const int64_t here = gi_plan_find(p, v, on_device), there = gi_plan_find(p, v, !on_device);
    if (here >= 0) {
        *index = (uint32_t)here;
        return GOPT_OK;
    }
    gi_blob *blob = gi_value_blob(v);
    if (blob) {
        GI_TRY(add_slot(p, v, on_device, GI_SLOT_CONST, index));
        p->slots.p[*index].blob = blob;
        return on_device ? gi_engine_device_const(p->e, blob, &p->slots.p[*index].mem) : GOPT_OK;
    }
    uint32_t source = (uint32_t)there;
    if (there < 0) { /* from outside this block: it lies in the host's memory there */
        const int64_t outer = p->outer ? gi_plan_find(p->outer, v, false) : -1;
        if (outer < 0)
            return gi_fail(p->e->cx, GOPT_INTERNAL, NULL, NULL, "a value is used before any step gives it");
        GI_TRY(add_slot(p, v, false, GI_SLOT_OUTER, &source));
        GI_NEED(gi_push(p->arena, &p->captures, (gi_capture){ source, (uint32_t)outer }));
        if (!on_device) {
            *index = source;
            return GOPT_OK;
        }
    }
    GI_TRY(add_slot(p, v, on_device, GI_SLOT_PLANNED, index));
    return add_copy(p, on_device ? GI_STEP_UPLOAD : GI_STEP_DOWNLOAD, source, *index);
}

/* The distinct values that a node reads: inputs, then captures. */
static gopt_status collect_reads(const gi_node *n, gi_arena *a, gi_arena *scratch, gi_values *reads)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value)
            GI_NEED(gi_push(a, reads, n->in[i].value));
    if (gi_op_get(n->op)->traits & GI_CONTROL)
        GI_NEED(gi_node_captures(n, a, reads));
    gi_map seen;
    gi_map_init(&seen, scratch);
    size_t kept = 0;
    for (size_t i = 0; i < reads->n; i++) {
        gi_value *v = reads->p[i];
        if (gi_map_get(&seen, (uint64_t)v->id + 1))
            continue;
        GI_NEED(gi_map_put(&seen, (uint64_t)v->id + 1, v));
        reads->p[kept++] = v;
    }
    reads->n = kept;
    return GOPT_OK;
}

gopt_status gi_plan_step_of(gi_node *n, uint32_t n_out, gi_arena *a, gi_arena *scratch, gi_step *s)
{
    gi_values reads = { 0 };
    GI_TRY(collect_reads(n, a, scratch, &reads));
    *s =
        (gi_step){ .node = n, .in = reads.p, .n_in = (uint32_t)reads.n, .out = n->out, .n_out = n_out, .in_place = -1 };
    return GOPT_OK;
}

static gopt_status slots_of(builder *b, uint32_t n, gi_value *const *v, bool on_device, uint32_t **slots)
{
    *slots = GI_NEW_ARRAY(b->p->arena, uint32_t, n + 1);
    GI_NEED(*slots);
    for (uint32_t i = 0; i < n; i++)
        GI_TRY(need_slot(b, v[i], on_device, &(*slots)[i]));
    return GOPT_OK;
}

/* Slots for what a compiled step reads and writes. */
static gopt_status connect(builder *b, gi_plan_step *s)
{
    gi_plan *p = b->p;
    const gi_backend *backend = p->e->backend[s->device];
    const bool on_device = gi_engine_on_device(p->e, s->device);
    s->n_in = s->s.n_in;
    s->n_out = s->s.n_out;
    GI_TRY(slots_of(b, s->n_in, s->s.in, on_device, &s->in));
    s->out = GI_NEW_ARRAY(p->arena, uint32_t, s->n_out + 1);
    GI_NEED(s->out);
    for (uint32_t i = 0; i < s->n_out; i++) {
        GI_TRY(add_slot(p, s->s.out[i], on_device, GI_SLOT_PLANNED, &s->out[i]));
        if (backend->value_bytes)
            p->slots.p[s->out[i]].bytes =
                backend->value_bytes(p->e->device[s->device], p->backend_plan[s->device], s->s.out[i]);
    }
    for (uint32_t i = 0; s->s.alias && s->n_in && i < s->n_out; i++) {
        p->slots.p[s->out[i]].root = s->in[0];
        p->slots.p[s->out[i]].at = s->s.out_at ? s->s.out_at[i] : 0;
    }
    return GOPT_OK;
}

/* What the plan file holds of the step that is compiled next. */
static gopt_status keep_next(gi_plan *p, const gi_placed *at, gi_step *s)
{
    struct gopt_engine *e = p->e;
    const gi_kept_step *k = e->kept_at < e->kept->n ? &e->kept->steps[e->kept_at++] : NULL;
    const char *op = gi_plan_name_ops(p->arena, at->node);
    GI_NEED(op);
    if (!k || strcmp(k->op, op) != 0 || k->device != at->device)
        return gi_plan_file_misfit(e, k, op, NULL);
    if (k->tactic.name && !e->backend[1]) /* what a device leaves to the cpu is chosen anew */
        s->want = &k->tactic;
    s->kept = k;
    return GOPT_OK;
}

/* What the caller of `compile` says of its choice. */
static gopt_status choose_by(builder *b, const gi_placed *at, gi_step *s)
{
    const struct gopt_engine *e = b->p->e;
    if (e->kept)
        GI_TRY(keep_next(b->p, at, s));
    s->again = !e->is_static || e->tuning;
    s->ask_all = e->tuning && !e->wants;
    if (e->wants && !b->p->outer)
        s->want = gi_map_get(e->wants, (uint64_t)at->node->id + 1);
    return !s->want && e->timings && !at->device ? gi_tune_look_up(b->p, s, b->scratch, &s->want) : GOPT_OK;
}

/* Does the timing cache know every step? Then there is nothing to tune. */
static gopt_status look_up_all(builder *b, const gi_placed *placed, size_t n, bool *known)
{
    *known = true;
    for (size_t i = 0; i < n && *known; i++) {
        gi_step s;
        const gopt_tactic_info *want = NULL;
        if (placed[i].kind != GI_STEP_COMPILED || placed[i].device)
            continue;
        GI_TRY(gi_plan_step_of(placed[i].node, placed[i].n_out, b->scratch, b->scratch, &s));
        s.plan = b->p->backend_plan[0];
        GI_TRY(gi_tune_look_up(b->p, &s, b->scratch, &want));
        *known = want != NULL;
    }
    return GOPT_OK;
}

static gopt_status add_compiled(builder *b, const gi_placed *at, bool *packs)
{
    gi_plan *p = b->p;
    const gi_backend *backend = p->e->backend[at->device];
    gi_device *device = p->e->device[at->device];
    gi_plan_step s = { .kind = GI_STEP_COMPILED, .device = at->device, .node = at->node };
    GI_TRY(gi_plan_step_of(at->node, at->n_out, p->arena, b->scratch, &s.s));
    s.s.plan = p->backend_plan[at->device];
    GI_TRY(choose_by(b, at, &s.s));
    GI_TRY(backend->compile(device, &s.s, p->arena));
    p->e->reads_cold |= s.s.kept_missed;
    *packs = s.s.packs;
    gopt_status st = GOPT_OK;
    if (s.s.kept && s.s.want && s.s.tactic && strcmp(s.s.kept->tactic.name, s.s.tactic) != 0)
        st = gi_plan_file_misfit(p->e, s.s.kept, s.s.kept->op, s.s.tactic);
    if (st == GOPT_OK)
        st = connect(b, &s);
    if (st == GOPT_OK)
        st = gi_plan_describe(p, &s, at->reason);
    if (st == GOPT_OK && !gi_push(p->arena, &p->steps, s))
        st = GOPT_NO_MEMORY;
    if (st != GOPT_OK)
        backend->release(device, &s.s);
    return st;
}

/* A step that the engine runs itself: reference evaluation, or an If over two plans. */
static gopt_status add_own(builder *b, const gi_placed *at)
{
    gi_plan *p = b->p;
    gi_plan_step s = { .kind = at->kind, .node = at->node, .n_out = at->n_out };
    gi_values reads = { 0 };
    GI_TRY(collect_reads(at->node, p->arena, b->scratch, &reads));
    s.n_in = (uint32_t)reads.n;
    GI_TRY(slots_of(b, s.n_in, reads.p, false, &s.in));
    s.out = GI_NEW_ARRAY(p->arena, uint32_t, s.n_out + 1);
    GI_NEED(s.out);
    gopt_status st = GOPT_OK;
    if (s.kind == GI_STEP_IF) {
        gi_block *other = gi_attr_graph(at->node, If_at_else_branch),
                 *then = gi_attr_graph(at->node, If_at_then_branch);
        if (!other || !then)
            return gi_fail(p->e->cx, GOPT_INTERNAL, NULL, NULL, "an If lacks a branch");
        st = gi_plan_build(p->e, other, p->arena, p, &s.branch[0]);
        if (st == GOPT_OK)
            st = gi_plan_build(p->e, then, p->arena, p, &s.branch[1]);
    }
    for (uint32_t i = 0; i < s.n_out && st == GOPT_OK; i++)
        st = add_slot(p, at->node->out[i], false, GI_SLOT_DYNAMIC, &s.out[i]);
    if (st == GOPT_OK)
        st = gi_plan_describe(p, &s, at->reason);
    if (st == GOPT_OK && !gi_push(p->arena, &p->steps, s))
        st = GOPT_NO_MEMORY;
    if (st != GOPT_OK) {
        gi_plan_release(s.branch[0]);
        gi_plan_release(s.branch[1]);
    }
    return st;
}

/* Results lie in host memory that is the plan's own, never the caller's, where their shapes are known. */
static gopt_status add_results(builder *b)
{
    gi_plan *p = b->p;
    const gi_block *block = p->block;
    p->results = GI_NEW_ARRAY(p->arena, uint32_t, block->n_results + 1);
    GI_NEED(p->results);
    for (uint32_t i = 0; i < block->n_results; i++) {
        uint32_t slot = 0;
        GI_TRY(need_slot(b, block->results[i].value, false, &slot));
        const gi_slot *s = &p->slots.p[slot];
        const bool outer = p->slots.p[gi_slot_root(p, slot)].kind == GI_SLOT_OUTER;
        if (outer && s->type && s->type->dtype != GOPT_STRING) {
            gi_slot own = { .value = s->value,
                            .kind = GI_SLOT_PLANNED,
                            .root = (uint32_t)p->slots.n,
                            .type = s->type,
                            .bytes = s->bytes };
            GI_NEED(gi_push(p->arena, &p->slots, own));
            GI_TRY(add_copy(p, GI_STEP_COPY, slot, own.root));
            slot = own.root;
        }
        p->results[i] = slot;
    }
    return GOPT_OK;
}

/* Small values from outside are brought to the device before all else: a copy between kernels would wait for those before
 * it, and part them for gi_backend.span_open. Large ones come when they are needed, so that not all take memory at
 * once. */
static gopt_status upload_first(builder *b)
{
    enum { SMALL = 1 << 20 };
    gi_plan *p = b->p;
    size_t n = 0;
    gi_plan_step *sorted = GI_NEW_ARRAY(b->scratch, gi_plan_step, p->steps.n + 1);
    GI_NEED(sorted);
    for (int later = 0; later < 2; later++)
        for (size_t i = 0; i < p->steps.n; i++) {
            const gi_plan_step *s = &p->steps.p[i];
            const gi_slot *from = s->kind == GI_STEP_UPLOAD ? &p->slots.p[*s->in] : NULL;
            if ((from && from->kind == GI_SLOT_OUTER && from->bytes <= SMALL) == !later)
                sorted[n++] = *s;
        }
    if (n)
        memcpy(p->steps.p, sorted, n * sizeof *sorted);
    return GOPT_OK;
}

static gopt_status open_backends(builder *b, const gi_placed *placed, size_t n)
{
    gi_plan *p = b->p;
    for (int d = 0; d < 2; d++) {
        if (!p->e->backend[d] || !p->e->backend[d]->plan_open || p->e->options.plain)
            continue;
        gi_node **nodes = GI_NEW_ARRAY(b->scratch, gi_node *, n + 1);
        GI_NEED(nodes);
        size_t count = 0;
        for (size_t i = 0; i < n; i++)
            if (placed[i].kind == GI_STEP_COMPILED && placed[i].device == d)
                nodes[count++] = placed[i].node;
        GI_TRY(p->e->backend[d]->plan_open(p->e->device[d], nodes, count, &p->backend_plan[d]));
    }
    return GOPT_OK;
}

static gopt_status build(builder *b)
{
    gi_plan *p = b->p;
    gi_block *block = p->block;
    p->params = GI_NEW_ARRAY(p->arena, uint32_t, block->n_params + 1);
    GI_NEED(p->params);
    for (uint32_t i = 0; i < block->n_params; i++)
        GI_TRY(add_slot(p, block->params[i], false, GI_SLOT_OUTER, &p->params[i]));
    gi_placed *placed;
    size_t n;
    if (!p->e->file || !p->e->is_static) /* the graph of a file is as it was when its steps were compiled */
        GI_TRY(gi_plan_regions(p, b->scratch));
    GI_TRY(gi_plan_place(p, b->scratch, &placed, &n));
    GI_TRY(open_backends(b, placed, n));
    if (p->e->tuning && !p->e->wants && !p->outer) {
        GI_TRY(look_up_all(b, placed, n, &p->known));
        if (p->known)
            return GOPT_OK;
    }
    gi_weights *weights;
    GI_TRY(gi_weights_open(p, placed, n, b->scratch, &weights));
    for (size_t i = 0; i < n; i++) {
        bool packs = false;
        GI_TRY(placed[i].kind == GI_STEP_COMPILED ? add_compiled(b, &placed[i], &packs) : add_own(b, &placed[i]));
        gi_weights_passed(weights, i, packs);
    }
    GI_TRY(add_results(b));
    GI_TRY(upload_first(b));
    return gi_plan_memory(p, b->scratch);
}

gopt_status gi_plan_build(struct gopt_engine *e, gi_block *block, gi_arena *arena, gi_plan *outer, gi_plan **out)
{
    gi_plan *p = GI_NEW(arena, gi_plan);
    GI_NEED(p);
    p->e = e;
    p->arena = arena;
    p->block = block;
    p->outer = outer;
    gi_map_init(&p->slot_of, arena);
    gi_map_init(&p->fell, arena);
    builder b = { .p = p, .scratch = gi_arena_create(e->cx) };
    GI_NEED(b.scratch);
    const gopt_status st = build(&b);
    gi_arena_destroy(b.scratch);
    if (st != GOPT_OK) {
        gi_plan_release(p);
        return st;
    }
    *out = p;
    return GOPT_OK;
}

void gi_plan_release(gi_plan *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->steps.n; i++) {
        gi_plan_step *s = &p->steps.p[i];
        if (s->kind == GI_STEP_COMPILED)
            p->e->backend[s->device]->release(p->e->device[s->device], &s->s);
        gi_plan_release(s->branch[0]);
        gi_plan_release(s->branch[1]);
    }
    for (int d = 0; d < 2; d++)
        if (p->backend_plan[d] && p->e->backend[d]->plan_close)
            p->e->backend[d]->plan_close(p->e->device[d], p->backend_plan[d]);
}
