/* The cpu backend: host memory, our own threads, tactics from tactics.def. */
#include "backend/cpu/cpu.h"
#include "ops/plugin.h"

#include <inttypes.h>
#include <stdio.h>

static char *copy_text(gopt_ctx *cx, const char *text)
{
    const size_t n = strlen(text) + 1;
    char *copy = gi_alloc(cx, n);
    return copy ? memcpy(copy, text, n) : NULL;
}

/* "fp32", "bf16", "bf16x3", "bf16x6", "best"; and with ":UNIT" behind it, a unit of gk_bf16_get, for tests. */
static gopt_status read_precision(gopt_ctx *cx, const char *text, gi_cpu *d)
{
    static const struct {
        const char *name;
        gi_precision precision;
        int parts;
    } known[] = { { "fp32", GI_FP32, 0 },
                  { "best", GI_BEST, 0 },
                  { "bf16", GI_BF16, 1 },
                  { "bf16x3", GI_BF16, 2 },
                  { "bf16x6", GI_BF16, 3 } };
    const char *why = "";
    const size_t n = strcspn(text, ":");
    size_t i = 0;
    while (i < GI_COUNT(known) && (strlen(known[i].name) != n || strncmp(known[i].name, text, n) != 0))
        i++;
    if (i == GI_COUNT(known))
        return gi_fail(cx, GOPT_UNSUPPORTED, NULL, "use --precision fp32, bf16 or best",
                       "the cpu backend does not compute in %s", text);
    d->precision = known[i].precision;
    d->parts = known[i].parts;
    if (text[n] && !(d->bf16 = gk_bf16_get(text + n + 1)))
        return gi_fail(cx, GOPT_UNSUPPORTED, NULL, "use bf16:emulated or bf16:emulated_amx",
                       "this processor has no unit for bfloat16 called %s", text + n + 1);
    if (!text[n]) /* fp32 has use for none but the fastest */
        d->bf16 = d->precision == GI_FP32 ? gk_bf16_get("amx") : gk_bf16_best(&why);
    if (d->bf16 && !d->bf16->any_block && d->block != 16) {
        d->bf16 = NULL;
        why = "--isa keeps it from AVX-512";
    }
    if (d->bf16 && d->parts > d->bf16->most_parts) {
        d->bf16 = NULL;
        why = "three products in bfloat16 are slower than one in fp32 where there is no AMX";
    }
    if (d->precision == GI_BF16 && !d->bf16)
        return gi_fail(cx, GOPT_UNSUPPORTED, NULL,
                       "use --precision best or fp32; bf16:emulated shows, slowly, what bf16 would answer",
                       "this processor does not compute faster in %s: %s", text, why);
    return GOPT_OK;
}

static gopt_status cpu_open(gopt_ctx *cx, const char *spec, const gopt_engine_options *o, gi_device **out)
{
    gk_isa isa = gk_best();
    (void)spec;
    if (o && o->isa) {
        gk_isa asked;
        if (!gk_isa_parse(o->isa, &asked))
            return gi_fail(cx, GOPT_USAGE, NULL, "one of sse2, avx2, avx512", "there is no instruction set \"%s\"",
                           o->isa);
        if (asked > isa)
            return gi_fail(cx, GOPT_UNSUPPORTED, NULL,
                           o->plan ? "build the plan on this machine: gopt run MODEL --plan FILE"
                                   : "leave the option out to use what there is",
                           "this processor has no %s%s; the best that it has is %s", o->isa,
                           o->plan ? ", which the plan was built for" : "", gk_isa_name(isa));
        isa = asked;
    }
    gi_cpu *d = gi_alloc(cx, sizeof(*d));
    GI_NEED(d);
    d->cx = cx;
    d->threads = o && o->threads > 0 ? o->threads : cx->threads > 0 ? cx->threads : gi_cpu_count();
    d->reference = o && o->reference;
    d->fp = o ? o->fp : GOPT_FP_REASSOC;
    d->native = isa == gk_best();
    d->isa = isa;
    d->k = gk_get(isa);
    d->block = d->k->lanes;
    d->workspace = o ? o->workspace : 0;
    const gopt_status st = read_precision(cx, o && o->precision ? o->precision : "fp32", d);
    if (st != GOPT_OK) {
        gi_free(cx, d);
        return st;
    }
    if (o && o->tactics && !(d->prefer = copy_text(cx, o->tactics))) {
        gi_free(cx, d);
        return GOPT_NO_MEMORY;
    }
    snprintf(d->name, sizeof(d->name), "cpu, %s, %d thread%s", gk_isa_name(isa), d->threads,
             d->threads == 1 ? "" : "s");
    *out = (gi_device *)d;
    return GOPT_OK;
}

static void cpu_close(gi_device *dev)
{
    gi_cpu *d = (gi_cpu *)dev;
    if (!d)
        return;
    gi_free(d->cx, d->prefer);
    gi_free(d->cx, d);
}

static const char *cpu_device_name(const gi_device *dev)
{
    return ((const gi_cpu *)dev)->name;
}

static bool cpu_supports(gi_device *dev, const gi_node *n, gi_arena *a, const char **why)
{
    (void)dev;
    if (!gi_node_evaluates(n)) {
        *why = gi_arena_printf(a, "operator %s has no evaluation", n->op_name ? n->op_name : gi_op_get(n->op)->name);
        return false;
    }
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (v && !gi_type_is_static(v->type)) {
            *why = gi_arena_printf(a, "input %" PRIu32 " has no fixed shape", i);
            return false;
        }
    }
    gi_values captured = { 0 };
    if (!gi_node_captures(n, a, &captured)) {
        *why = "no memory";
        return false;
    }
    for (size_t i = 0; i < captured.n; i++)
        if (!gi_type_is_static(captured.p[i]->type)) {
            *why = "a value that its body reads has no fixed shape";
            return false;
        }
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!gi_type_is_static(n->out[i]->type)) {
            *why = gi_arena_printf(a, "output %" PRIu32 " has no shape before the run", i);
            return false;
        }
    return true;
}

/* ---- steps ---- */

typedef struct limited {
    gi_job job;
    void *arg;
    int threads;
} limited;

static void run_limited(void *arg, int worker, int n_workers)
{
    const limited *l = arg;
    const int n = n_workers < l->threads ? n_workers : l->threads;
    if (worker < n)
        l->job(l->arg, worker, n);
}

void gi_cpu_run(const gi_cpu *d, gi_pool *pool, gi_job job, void *arg)
{
    limited l = { job, arg, d->threads };
    if (gi_pool_threads(pool) <= d->threads)
        gi_pool_run(pool, job, arg);
    else
        gi_pool_run(pool, run_limited, &l);
}

/* Packed weights that the plans of one engine share. */
struct gi_cpu_shared {
    gi_blob *of; /* held, so that its address stays its own */
    uint64_t how;
    void *p;
    size_t bytes;
    gi_store store;
    int users;
    struct gi_cpu_shared *next;
};

int gi_cpu_split(const gi_cpu *d, const gi_split *s)
{
    double best = 0;
    int chosen = 1;
    for (int g = 1; g <= d->threads; g++) {
        if (d->threads % g)
            continue;
        const int r = d->threads / g;
        const int64_t most = s->most ? s->most(s->of, g) : (s->units + g - 1) / g, turns = (s->rows + r - 1) / r;
        const double even = (double)(most * g) / (double)s->units * (double)(turns * r) / (double)s->rows;
        const double again = (s->weights * r + s->input * g) / (s->weights + s->input) / d->threads;
        const double cost = even * (1.0 + s->traffic * again);
        if (g == 1 || cost < best) {
            best = cost;
            chosen = g;
        }
    }
    return chosen;
}

struct gi_cpu_packed {
    void *p;
    size_t bytes;
    gi_store how;
    struct gi_cpu_shared *shared; /* then p is NULL */
    struct gi_cpu_packed *next;
    const void *data; /* of what plan files may hold: the packed weights, their size and order; else NULL */
    size_t packed;
    uint64_t order;
    const gi_blob *of; /* what it is made of */
};

uint64_t gi_cpu_order(const gi_tactic *t, const void *order, size_t bytes)
{
    return gi_hash(order, bytes, gi_hash(t->name, strlen(t->name), 0));
}

void *gi_cpu_pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, size_t bytes)
{
    struct gi_cpu_packed *k = GI_NEW(c->arena, struct gi_cpu_packed);
    size_t room;
    if (!k || !gi_add_size(bytes, 64, &room))
        return NULL;
    k->p = gi_store_alloc(d->cx, room, &k->how);
    if (!k->p)
        return NULL;
    k->bytes = room;
    k->next = c->packs;
    c->packs = k;
    s->weight_bytes += bytes;
    return (void *)(((uintptr_t)k->p + 63) & ~(uintptr_t)63);
}

static struct gi_cpu_shared *find_shared(const gi_cpu *d, const gi_blob *of, uint64_t how, size_t bytes)
{
    for (struct gi_cpu_shared *k = d->shared; k; k = k->next)
        if (k->of == of && k->how == how && k->bytes == bytes)
            return k;
    return NULL;
}

static struct gi_cpu_shared *add_shared(gi_cpu *d, gi_blob *of, uint64_t how, size_t bytes)
{
    struct gi_cpu_shared *k = gi_alloc(d->cx, sizeof(*k));
    if (!k)
        return NULL;
    *k = (struct gi_cpu_shared){ .how = how, .bytes = bytes };
    k->p = gi_store_alloc(d->cx, bytes + 64, &k->store);
    if (!k->p) {
        gi_free(d->cx, k);
        return NULL;
    }
    k->of = gi_blob_ref(of);
    k->next = d->shared;
    d->shared = k;
    return k;
}

static void drop_shared(gi_cpu *d, struct gi_cpu_shared *k)
{
    if (--k->users > 0)
        return;
    struct gi_cpu_shared **at = &d->shared;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    gi_store_free(d->cx, k->p, k->bytes + 64, k->store);
    gi_blob_unref(k->of);
    gi_free(d->cx, k);
}

/* Notes what lies in a plan file, which the engine holds. */
static void *add_kept(gi_step *s, gi_cpu_step *c, void *p, size_t bytes)
{
    struct gi_cpu_packed *k = GI_NEW(c->arena, struct gi_cpu_packed);
    if (!k)
        return NULL;
    k->next = c->packs;
    c->packs = k;
    s->weight_bytes += bytes;
    return p;
}

void *gi_cpu_pack_of(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_blob *of, uint64_t how, size_t bytes, bool *filled)
{
    const union {
        const void *p;
        void *data; /* filled: nobody writes to it */
    } kept = { .p = gi_kept_next(s, bytes, how) };
    *filled = kept.p != NULL;
    if (kept.p || !s->again || !of) {
        void *p = kept.p ? add_kept(s, c, kept.data, bytes) : gi_cpu_pack(d, s, c, bytes);
        if (p) {
            c->packs->data = p;
            c->packs->packed = bytes;
            c->packs->order = how;
            c->packs->of = of;
        }
        return p;
    }
    struct gi_cpu_packed *u = GI_NEW(c->arena, struct gi_cpu_packed);
    if (!u || bytes > SIZE_MAX - 64)
        return NULL;
    struct gi_cpu_shared *k = find_shared(d, of, how, bytes);
    *filled = k != NULL;
    if (!k)
        k = add_shared(d, of, how, bytes);
    if (!k)
        return NULL;
    k->users++;
    u->shared = k;
    u->next = c->packs;
    c->packs = u;
    s->weight_bytes += bytes;
    void *p = (void *)(((uintptr_t)k->p + 63) & ~(uintptr_t)63);
    u->data = p;
    u->packed = bytes;
    u->order = how;
    u->of = of;
    return p;
}

void gi_cpu_unpack(gi_cpu *d, gi_cpu_step *c)
{
    for (struct gi_cpu_packed *p = c->packs; p; p = p->next)
        if (p->shared)
            drop_shared(d, p->shared);
        else
            gi_store_free(d->cx, p->p, p->bytes, p->how);
    c->packs = NULL;
}

void *gi_cpu_own(gi_cpu_step *c, size_t bytes)
{
    return gi_arena_alloc(c->arena, bytes);
}

int gi_cpu_in_index(const gi_step *s, const gi_value *v)
{
    for (uint32_t i = 0; i < s->n_in; i++)
        if (s->in[i] == v)
            return (int)i;
    return -1;
}

bool gi_cpu_static_f32(const gi_value *v, int *rank, int64_t *dims)
{
    if (!v || !gi_type_is_static(v->type) || v->type->dtype != GOPT_F32)
        return false;
    *rank = v->type->rank;
    return gi_type_static_dims(v->type, dims);
}

gopt_status gi_cpu_set_in(gi_step *s, gi_cpu_step *c, uint32_t n, gi_value *const *in)
{
    gi_value **copy = GI_NEW_ARRAY(c->arena, gi_value *, n + 1);
    gi_layout *want = GI_NEW_ARRAY(c->arena, gi_layout, n + 1), *have = GI_NEW_ARRAY(c->arena, gi_layout, n + 1);
    GI_NEED(copy && want && have);
    for (uint32_t i = 0; i < n; i++) {
        copy[i] = in[i];
        want[i] = have[i] = gi_cpu_layout(s->plan, in[i]);
    }
    s->in = copy;
    s->n_in = n;
    c->want_in = want;
    c->have_in = have;
    return GOPT_OK;
}

/* Room in the step's scratch for n bytes, aligned; its offset + 1. */
static uint64_t reserve(gi_step *s, uint64_t n)
{
    s->scratch = (s->scratch + 63) & ~(uint64_t)63;
    const uint64_t at = s->scratch + 1;
    s->scratch += n;
    return at;
}

/* What lies otherwise than the tactic wants it gets a place in the scratch, behind the tactic's own. */
static gopt_status plan_conversions(gi_cpu *d, gi_step *s, gi_cpu_step *c)
{
    c->in_scratch = GI_NEW_ARRAY(c->arena, uint64_t, s->n_in + 1);
    c->out_scratch = GI_NEW_ARRAY(c->arena, uint64_t, s->n_out + 1);
    GI_NEED(c->in_scratch && c->out_scratch);
    for (uint32_t i = 0; i < s->n_in; i++)
        if (!gi_cpu_layouts_agree(d, c->want_in[i], c->have_in[i], s->in[i]->type)) {
            c->in_scratch[i] = reserve(s, gi_cpu_layout_bytes(d, c->want_in[i], s->in[i]->type));
            c->converts = true;
        }
    for (uint32_t i = 0; i < s->n_out; i++)
        if (!gi_cpu_layouts_agree(d, c->want_out[i], c->have_out[i], s->out[i]->type)) {
            c->out_scratch[i] = reserve(s, gi_cpu_layout_bytes(d, c->want_out[i], s->out[i]->type));
            c->converts = true;
        }
    if (c->converts) {
        s->in_place = -1;
        c->own_scratch = reserve(s, (s->n_in + s->n_out) * sizeof(gi_buffer));
    }
    return GOPT_OK;
}

static void cpu_release(gi_device *dev, gi_step *s)
{
    gi_cpu *d = (gi_cpu *)dev;
    gi_cpu_step *c = s->state;
    if (!c)
        return;
    if (c->tactic && c->tactic->release)
        c->tactic->release(c);
    gi_cpu_unpack(d, c);
    gi_arena_destroy(c->arena);
    s->state = NULL;
}

static gopt_status cpu_compile(gi_device *dev, gi_step *s, gi_arena *a)
{
    gi_cpu *d = (gi_cpu *)dev;
    gi_arena *arena = gi_arena_create(d->cx);
    GI_NEED(arena);
    gi_cpu_step *c = GI_NEW(arena, gi_cpu_step);
    if (!c) {
        gi_arena_destroy(arena);
        return GOPT_NO_MEMORY;
    }
    c->arena = arena;
    s->state = c;
    s->in_place = -1;
    gopt_status st = gi_cpu_choose(d, s, c, a);
    if (st == GOPT_OK && !s->alias)
        st = plan_conversions(d, s, c);
    if (st != GOPT_OK)
        cpu_release(dev, s);
    return st;
}

static bool cpu_has_kernel(gi_device *dev, const gi_step *asked, gi_arena *a, const char **why)
{
    gi_cpu *d = (gi_cpu *)dev;
    gi_step s = *asked;
    if (d->reference)
        return true;
    if (!cpu_supports(dev, s.node, a, why))
        return false;
    *why = "no kernel of the cpu runs it as one";
    gi_arena *arena = gi_arena_create(d->cx);
    gi_cpu_step *c = arena ? GI_NEW(arena, gi_cpu_step) : NULL;
    if (!c) {
        gi_arena_destroy(arena);
        return false;
    }
    c->arena = arena;
    c->dry = true;
    s.state = c;
    const bool takes = gi_cpu_choose(d, &s, c, NULL) == GOPT_OK;
    cpu_release(dev, &s);
    return takes;
}

static gopt_status run_converted(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    char *scratch = args->scratch;
    gi_buffer *in = (gi_buffer *)(void *)(scratch + c->own_scratch - 1), *out = in + s->n_in;
    for (uint32_t i = 0; i < s->n_in; i++) {
        in[i] = args->in[i];
        if (!c->in_scratch[i])
            continue;
        in[i].host = scratch + c->in_scratch[i] - 1;
        in[i].bytes = gi_cpu_layout_bytes(d, c->want_in[i], in[i].type);
        gi_cpu_convert(d, args->pool, in[i].type, c->have_in[i], c->want_in[i], args->in[i].host, in[i].host);
    }
    for (uint32_t i = 0; i < s->n_out; i++) {
        out[i] = args->out[i];
        if (!c->out_scratch[i])
            continue;
        out[i].host = scratch + c->out_scratch[i] - 1;
        out[i].bytes = gi_cpu_layout_bytes(d, c->want_out[i], out[i].type);
    }
    gi_run_args inner = *args;
    inner.in = in;
    inner.out = out;
    GI_TRY(c->tactic->run(d, s, c, &inner));
    for (uint32_t i = 0; i < s->n_out; i++)
        if (c->out_scratch[i])
            gi_cpu_convert(d, args->pool, out[i].type, c->want_out[i], c->have_out[i], out[i].host, args->out[i].host);
    return GOPT_OK;
}

static gopt_status cpu_run(gi_device *dev, gi_step *s, const gi_run_args *args)
{
    gi_cpu *d = (gi_cpu *)dev;
    const gi_cpu_step *c = s->state;
    return c->converts ? run_converted(d, s, c, args) : c->tactic->run(d, s, c, args);
}

static gopt_status cpu_packs(gi_device *dev, const gi_step *s, gi_pack_visit visit, void *user)
{
    const gi_cpu_step *c = s->state;
    const struct gi_cpu_packed *done = NULL;
    (void)dev;
    while (c && done != c->packs) { /* the list has the last first, and they are wanted as they were asked for */
        const struct gi_cpu_packed *k = c->packs;
        while (k->next != done)
            k = k->next;
        const gi_pack pack = { .data = k->data, .bytes = k->packed, .how = k->order, .of = k->of };
        if (k->data)
            GI_TRY(visit(user, &pack));
        done = k;
    }
    return GOPT_OK;
}

static const char *cpu_machine(const gi_device *dev, gi_arena *a)
{
    const gi_cpu *d = (const gi_cpu *)dev;
    return gi_arena_printf(a, "isa=%s; bf16=%s", gk_isa_name(d->isa), d->bf16 ? d->bf16->name : "none");
}

static gopt_status cpu_context_open(gi_device *dev, gopt_ctx *cx, void **context)
{
    gi_cpu *d = (gi_cpu *)dev;
    (void)cx; /* steps are given it */
    gi_cpu_context *x = gi_alloc(d->cx, sizeof(*x));
    GI_NEED(x);
    x->scratch = gi_arena_create(d->cx);
    if (!x->scratch) {
        gi_free(d->cx, x);
        return GOPT_NO_MEMORY;
    }
    *context = x;
    return GOPT_OK;
}

static void cpu_context_close(gi_device *dev, void *context)
{
    gi_cpu *d = (gi_cpu *)dev;
    gi_cpu_context *x = context;
    if (!x)
        return;
    gi_arena_destroy(x->scratch);
    gi_free(d->cx, x);
}

const gi_backend gi_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .device_name = cpu_device_name,
    .supports = cpu_supports,
    .has_kernel = cpu_has_kernel,
    .compile = cpu_compile,
    .run = cpu_run,
    .release = cpu_release,
    .plan_open = gi_cpu_plan_open,
    .plan_close = gi_cpu_plan_close,
    .value_bytes = gi_cpu_value_bytes,
    .layout = gi_cpu_layout_number,
    .context_open = cpu_context_open,
    .context_close = cpu_context_close,
    .packs = cpu_packs,
    .machine = cpu_machine,
};
