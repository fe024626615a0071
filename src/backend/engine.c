/* Engines: opening backends, and the plans that were made, one a set of input shapes, the least recently used
 * thrown away first. */
#include "backend/engine.h"

#include "backend/frame.h"
#include "backend/plan_file.h"
#include "backend/specialise.h"
#include "backend/tune.h"

static const gi_backend *const backends[] = {
    &gi_backend_cpu,
#if defined(GI_HAVE_OPENCL)
    &gi_backend_opencl,
#endif
};

/* ---- opening ---- */

/* Splits "opencl:NAME" and finds the backend. */
static gopt_status find_backend(gopt_ctx *cx, const char *text, const gi_backend **out, const char **spec)
{
    const char *colon = strchr(text, ':');
    const size_t n = colon ? (size_t)(colon - text) : strlen(text);
    *spec = colon ? colon + 1 : NULL;
    for (size_t i = 0; i < GI_COUNT(backends); i++)
        if (strlen(backends[i]->name) == n && !strncmp(backends[i]->name, text, n)) {
            *out = backends[i];
            return GOPT_OK;
        }
    if (n == 6 && !strncmp(text, "opencl", 6))
        return gi_fail(cx, GOPT_UNSUPPORTED, NULL,
                       "install OpenCL (Debian and Ubuntu: apt-get install ocl-icd-opencl-dev opencl-headers) and "
                       "build gopt again, or use --backend cpu",
                       "this build of gopt has no OpenCL backend");
    return gi_fail(cx, GOPT_USAGE, NULL, "the backends are cpu and opencl[:NAME-OR-TYPE]", "there is no backend '%s'",
                   text);
}

static gopt_status copy_options(struct gopt_engine *e, const gopt_engine_options *o)
{
    if (o)
        e->options = *o;
    gopt_engine_options *own = &e->options;
    const char **const texts[] = { &own->backend,      &own->precision, &own->isa,         &own->tactics,
                                   &own->timing_cache, &own->unfuse,    &own->dump_kernels };
    for (size_t i = 0; i < GI_COUNT(texts); i++)
        if (*texts[i]) {
            *texts[i] = gi_arena_str(e->arena, *texts[i]);
            GI_NEED(*texts[i]);
        }
    own->backend = own->backend ? own->backend : "cpu";
    own->precision = own->precision ? own->precision : "fp32";
    if (own->threads < 0)
        return gi_fail(e->cx, GOPT_USAGE, NULL, NULL, "%d threads are asked for, expected 0 or more", own->threads);
    if (own->threads == 0)
        own->threads = e->cx->threads;
    return GOPT_OK;
}

/* The cpu beside another backend: it runs what is left in full precision. */
static gopt_status open_host(gopt_ctx *cx, const gopt_engine_options *o, gi_devices *d)
{
    gopt_engine_options host = *o;
    host.precision = "fp32";
    return d->backend[0]->open(cx, NULL, &host, &d->device[0]);
}

gopt_status gi_devices_open(gopt_ctx *cx, const gopt_engine_options *o, gi_devices *d)
{
    const gi_backend *asked;
    const char *spec;
    GI_TRY(find_backend(cx, o->backend ? o->backend : "cpu", &asked, &spec));
    d->backend[0] = &gi_backend_cpu;
    if (asked == &gi_backend_cpu)
        return asked->open(cx, spec, o, &d->device[0]);
    GI_TRY(open_host(cx, o, d));
    d->backend[1] = asked;
    return asked->open(cx, spec, o, &d->device[1]);
}

gopt_status gi_devices_open_to_ask(gopt_ctx *cx, const gopt_engine_options *o, gi_devices *d, bool *absent)
{
    const gi_backend *asked;
    const char *spec;
    gi_device *none = NULL;
    *absent = false;
    GI_TRY(find_backend(cx, o->backend ? o->backend : "cpu", &asked, &spec));
    if (!spec && asked->open_absent)
        GI_TRY(asked->open_absent(cx, &none));
    if (!none)
        return gi_devices_open(cx, o, d);
    *absent = true;
    *d = (gi_devices){ .backend = { &gi_backend_cpu, asked }, .device = { NULL, none } };
    return open_host(cx, o, d);
}

void gi_devices_close(gi_devices *d)
{
    for (int i = 0; i < 2; i++)
        if (d->device[i])
            d->backend[i]->close(d->device[i]);
    *d = (gi_devices){ 0 };
}

static gopt_status open_devices(struct gopt_engine *e)
{
    gi_devices d = { 0 };
    gopt_status st = GOPT_OK;
    if (!e->options.kernels || !gi_kernels_give(e->options.kernels, &d))
        st = gi_devices_open(e->cx, &e->options, &d);
    e->options.kernels = NULL;
    for (int i = 0; i < 2; i++) {
        e->backend[i] = d.backend[i];
        e->device[i] = d.device[i];
    }
    return st;
}

static bool inputs_are_static(const gopt_graph *g)
{
    for (uint32_t i = 0; i < g->main->n_params; i++) {
        const gi_type *t = g->main->params[i]->type;
        if (!t || (t->kind == GOPT_TENSOR && !gi_type_is_static(t)))
            return false;
    }
    return true;
}

/* ---- plans ---- */

static bool same_key(const gi_special *s, size_t n, const gopt_tensor *const *inputs)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const gopt_tensor *t = inputs[i];
        const int rank = t->kind == GOPT_TENSOR ? t->rank : 0;
        if (at + 2 + (size_t)rank > s->n_key || s->key[at] != (int64_t)t->kind * 256 + (int64_t)t->dtype ||
            s->key[at + 1] != rank || (rank && memcmp(&s->key[at + 2], t->dims, (size_t)rank * sizeof *t->dims) != 0))
            return false;
        at += 2 + (size_t)rank;
    }
    return at == s->n_key;
}

bool gi_special_fits(const gi_special *s, const gopt_tensor *const *inputs, size_t n)
{
    return s && (!s->key || same_key(s, n, inputs));
}

static gopt_status make_key(gi_special *s, size_t n, const gopt_tensor *const *inputs)
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++)
        length += 2 + (inputs[i]->kind == GOPT_TENSOR ? (size_t)inputs[i]->rank : 0);
    s->key = GI_NEW_ARRAY(s->arena, int64_t, length + 1);
    GI_NEED(s->key);
    for (size_t i = 0; i < n; i++) {
        const gopt_tensor *t = inputs[i];
        const int rank = t->kind == GOPT_TENSOR ? t->rank : 0;
        s->key[s->n_key++] = (int64_t)t->kind * 256 + (int64_t)t->dtype;
        s->key[s->n_key++] = rank;
        for (int k = 0; k < rank; k++)
            s->key[s->n_key++] = t->dims[k];
    }
    return GOPT_OK;
}

static void special_destroy(struct gopt_engine *e, gi_special *s)
{
    if (!s)
        return;
    gi_plan_release(s->plan);
    if (s->graph != e->graph)
        gopt_graph_destroy(s->graph);
    gi_arena_destroy(s->arena);
    gi_free(e->cx, s);
}

/* Bytes of the weights that steps read where they lie, each once. */
static bool count_weights(const gi_plan *p, gi_map *seen, uint64_t *sum)
{
    for (size_t i = 0; i < p->slots.n; i++) {
        const gi_blob *b = p->slots.p[i].blob;
        if (!b || gi_map_get(seen, gi_key(b)))
            continue;
        if (!gi_map_put(seen, gi_key(b), seen))
            return false;
        *sum += b->bytes;
    }
    for (size_t i = 0; i < p->steps.n; i++) {
        const gi_plan_step *s = &p->steps.p[i];
        *sum += s->s.weight_bytes;
        for (int k = 0; k < 2; k++)
            if (s->branch[k] && !count_weights(s->branch[k], seen, sum))
                return false;
    }
    return true;
}

static void count_steps(const gi_plan *p, gi_special *s)
{
    s->n_steps += p->steps.n;
    s->activation_bytes += p->arena_bytes[0] + p->arena_bytes[1];
    for (size_t i = 0; i < p->steps.n; i++)
        for (int k = 0; k < 2; k++)
            if (p->steps.p[i].branch[k])
                count_steps(p->steps.p[i].branch[k], s);
}

typedef struct placement {
    gi_str what; /* operators that the cpu runs, with their first reason */
    gi_smap seen;
    size_t there, here, named;
} placement;

/* Of branches too. */
static void count_placement(const gi_plan *p, placement *c)
{
    enum { MOST_NAMED = 8 };
    for (size_t i = 0; i < p->steps.n; i++) {
        const gi_plan_step *st = &p->steps.p[i];
        const bool there = st->kind == GI_STEP_COMPILED && st->device == 1;
        if (!st->node)
            continue;
        c->there += there;
        c->here += !there;
        if (!there && !gi_smap_get(&c->seen, st->info.op) && c->named < MOST_NAMED) {
            (void)gi_smap_put(&c->seen, st->info.op, &c->seen);
            gi_str_addf(&c->what, "%s%s (%s)", c->named++ ? "; " : "", st->info.op,
                        st->info.reason ? st->info.reason : "");
        }
        for (int k = 1; k >= 0; k--)
            if (st->branch[k])
                count_placement(st->branch[k], c);
    }
}

/* Of branches too. */
static void count_fp32(const gi_plan *p, gi_str *what, size_t *n)
{
    enum { MOST_NAMED = 4 };
    for (size_t i = 0; i < p->steps.n; i++) {
        const gopt_step_info *info = &p->steps.p[i].info;
        if (info->fp32 && (*n)++ < MOST_NAMED)
            gi_str_addf(what, "%s%s: %s", *n > 1 ? "; " : "", info->n_origins ? info->origins[0] : info->name,
                        info->fp32);
        for (int k = 1; k >= 0; k--)
            if (p->steps.p[i].branch[k])
                count_fp32(p->steps.p[i].branch[k], what, n);
    }
    if (!p->outer && *n > MOST_NAMED)
        gi_str_addf(what, "; and %zu more", *n - MOST_NAMED);
}

/* One line on what was placed elsewhere than asked, and one on what stayed in fp32. */
static gopt_status tell_placement(struct gopt_engine *e, const gi_plan *p)
{
    const gi_place at = { .file = e->graph->file };
    if (e->told || !e->backend[1])
        return GOPT_OK;
    e->told = true;
    placement c = { 0 };
    gi_str what;
    size_t n = 0;
    gi_arena *a = gi_arena_create(e->cx);
    GI_NEED(a);
    gi_str_init(&c.what, a);
    gi_str_init(&what, a);
    gi_smap_init(&c.seen, a);
    count_placement(p, &c);
    if (c.here)
        gi_note(e->cx, &at, NULL, "%s runs %zu steps, the cpu the other %zu: %s", e->backend[1]->name, c.there, c.here,
                c.what.p ? c.what.p : "");
    count_fp32(p, &what, &n);
    if (n)
        gi_note(e->cx, &at, NULL, "%zu layer%s in fp32: %s", n, n == 1 ? " stays" : "s stay", what.p ? what.p : "");
    gi_arena_destroy(a);
    return GOPT_OK;
}

static gopt_status make_plan(struct gopt_engine *e, const gopt_tensor *const *inputs, gi_special *s)
{
    gi_tuned tuned;
    if (e->file) {
        e->kept = gi_plan_file_find(e->file, s->key, s->n_key);
        e->kept_at = 0;
        e->reads_cold |= !e->kept;
    }
    if (!e->options.tune || !e->timings) {
        const gopt_status st = gi_plan_build(e, s->graph->main, s->arena, NULL, &s->plan);
        e->kept = NULL;
        return st;
    }
    GI_TRY(gi_tune(e, s->graph->main, inputs, s->arena, &tuned));
    e->wants = &tuned.wants;
    e->tuned = &tuned;
    const gopt_status st = gi_plan_build(e, s->graph->main, s->arena, NULL, &s->plan);
    e->wants = NULL;
    e->tuned = NULL;
    return st;
}

static gopt_status special_fill(struct gopt_engine *e, const gopt_tensor *const *inputs, gi_special *s)
{
    s->arena = gi_arena_create(e->cx);
    GI_NEED(s->arena);
    if (e->options.take_graph && e->is_static) {
        GI_TRY(gi_specialise_in_place(e->graph));
        s->graph = e->graph;
    } else {
        GI_TRY(gi_specialise(e->graph, inputs, &s->graph));
    }
    if (inputs)
        GI_TRY(make_key(s, e->graph->main->n_params, inputs));
    GI_TRY(make_plan(e, inputs, s));
    if (e->file && e->reads_cold)
        GI_TRY(gi_plan_file_check_cold(e->file));
    count_steps(s->plan, s);
    gi_map seen;
    gi_map_init(&seen, s->arena);
    GI_NEED(count_weights(s->plan, &seen, &s->weight_bytes));
    e->info.steps = s->n_steps;
    e->info.activation_bytes = s->activation_bytes;
    e->info.weight_bytes = s->weight_bytes;
    return tell_placement(e, s->plan);
}

static gopt_status special_create(struct gopt_engine *e, const gopt_tensor *const *inputs, gi_special **out)
{
    gi_special *s = gi_alloc(e->cx, sizeof *s);
    GI_NEED(s);
    const double start = gi_now();
    s->refs = 1;
    gi_store_weights_begin(e->cx); /* packed ones too are pages that go back when they are let go of */
    const gopt_status st = special_fill(e, inputs, s);
    gi_store_weights_end(e->cx);
    if (st != GOPT_OK) {
        special_destroy(e, s);
        return st;
    }
    e->info.build_ms += 1e3 * (gi_now() - start);
    *out = s;
    return GOPT_OK;
}

static void drop(struct gopt_engine *e, gi_special *s)
{
    if (s && --s->refs == 0)
        special_destroy(e, s);
}

static gopt_status acquire(struct gopt_engine *e, const gopt_tensor *const *inputs, gi_special **out)
{
    const size_t n = e->graph->main->n_params;
    size_t oldest = 0;
    for (size_t i = 0; i < GI_MAX_PLANS; i++) {
        gi_special *s = e->plans[i];
        if (s && (e->is_static || same_key(s, n, inputs))) {
            s->used = ++e->clock;
            s->refs++;
            *out = s;
            return GOPT_OK;
        }
        if (!s || (e->plans[oldest] && s->used < e->plans[oldest]->used))
            oldest = i;
    }
    gi_special *made;
    GI_TRY(special_create(e, e->is_static ? NULL : inputs, &made));
    drop(e, e->plans[oldest]);
    e->plans[oldest] = made;
    made->used = ++e->clock;
    made->refs++;
    *out = made;
    return GOPT_OK;
}

gopt_status gi_engine_acquire(struct gopt_engine *e, const gopt_tensor *const *inputs, gi_special **out)
{
    pthread_mutex_lock(&e->lock);
    const gopt_status st = acquire(e, inputs, out);
    pthread_mutex_unlock(&e->lock);
    return st;
}

void gi_engine_give_back(struct gopt_engine *e, gi_special *s)
{
    pthread_mutex_lock(&e->lock);
    drop(e, s);
    pthread_mutex_unlock(&e->lock);
}

gopt_status gi_engine_device_const(struct gopt_engine *e, gi_blob *b, void **mem)
{
    *mem = gi_map_get(&e->device_consts, gi_key(b));
    if (*mem)
        return GOPT_OK;
    const gi_backend *backend = e->backend[1];
    GI_TRY(backend->mem_alloc(e->device[1], b->bytes ? b->bytes : 1, mem));
    if (!gi_push(e->arena, &e->device_copies, (gi_device_copy){ *mem, b })) {
        backend->mem_free(e->device[1], *mem);
        return GOPT_NO_MEMORY;
    }
    gi_blob_ref(b); /* so that its address stays its own */
    GI_NEED(gi_map_put(&e->device_consts, gi_key(b), *mem));
    const gi_buffer to = { .mem = *mem, .bytes = b->bytes };
    return b->bytes ? backend->upload(e->device[1], NULL, &to, b->data) : GOPT_OK;
}

/* ---- the interface ---- */

static gopt_status fill(struct gopt_engine *e, gopt_graph *g, const gopt_engine_options *o)
{
    const double start = gi_now();
    if (o && o->take_graph)
        e->graph = g;
    e->arena = gi_arena_create(e->cx);
    GI_NEED(e->arena);
    gi_map_init(&e->device_consts, e->arena);
    GI_TRY(copy_options(e, o));
    GI_TRY(open_devices(e));
    if (!e->graph)
        GI_TRY(gopt_graph_clone(g, &e->graph));
    if (e->options.plan) {
        e->file = gi_plan_file_ref(e->options.plan);
        e->options.plan = NULL;
        GI_TRY(gi_plan_file_fits(e));
    }
    if ((e->options.tune || e->options.timing_cache) && !e->options.reference && !e->backend[1]) {
        const char *machine = gi_tune_machine(e, e->arena);
        GI_NEED(machine);
        GI_TRY(gi_timings_open(e->cx, e->options.timing_cache, machine, &e->timings));
    }
    const int main_device = e->backend[1] ? 1 : 0;
    e->info = (gopt_engine_info){ .backend = e->backend[main_device]->name,
                                  .device = e->backend[main_device]->device_name(e->device[main_device]),
                                  .precision = e->file && gopt_plan_find_fact(e->file, "precision")
                                                   ? gopt_plan_find_fact(e->file, "precision")
                                                   : e->options.precision,
                                  .threads = e->options.threads };
    e->is_static = inputs_are_static(e->graph);
    if (e->options.reference)
        e->info.steps = gi_graph_count_nodes(e->graph);
    else if (e->is_static) {
        gi_special *s;
        GI_TRY(special_create(e, NULL, &s));
        e->plans[0] = s;
    }
    e->info.build_ms = 1e3 * (gi_now() - start);
    return GOPT_OK;
}

gopt_status gopt_engine_create(gopt_graph *g, const gopt_engine_options *o, gopt_engine **out)
{
    gopt_ctx *cx = g->cx;
    struct gopt_engine *e = gi_alloc(cx, sizeof *e);
    *out = NULL;
    if (!e || pthread_mutex_init(&e->lock, NULL)) {
        gi_free(cx, e);
        if (o && o->take_graph)
            gopt_graph_destroy(g);
        return GOPT_NO_MEMORY;
    }
    e->cx = cx;
    const gopt_status st = fill(e, g, o);
    if (st != GOPT_OK) {
        gopt_engine_destroy(e);
        return st;
    }
    *out = e;
    return GOPT_OK;
}

void gopt_engine_destroy(gopt_engine *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < GI_MAX_PLANS; i++)
        drop(e, e->plans[i]);
    for (size_t i = 0; i < e->device_copies.n; i++) {
        e->backend[1]->mem_free(e->device[1], e->device_copies.p[i].mem);
        gi_blob_unref(e->device_copies.p[i].blob);
    }
    gi_devices_close(
        &(gi_devices){ .backend = { e->backend[0], e->backend[1] }, .device = { e->device[0], e->device[1] } });
    gi_timings_close(e->timings);
    gopt_graph_destroy(e->graph);
    gopt_plan_close(e->file);
    gi_arena_destroy(e->arena);
    pthread_mutex_destroy(&e->lock);
    gi_free(e->cx, e);
}

typedef struct lender {
    const gi_backend *backend;
    gi_device *device;
} lender;

static void *lend(void *user, size_t bytes, void **handle)
{
    const lender *l = user;
    return l->backend->host_alloc(l->device, bytes, handle);
}

gopt_status gopt_engine_tensor_create(gopt_engine *e, gopt_dtype dtype, int rank, const int64_t *dims,
                                      gopt_tensor **out)
{
    const gi_backend *b = e->backend[1];
    *out = NULL;
    if (!b || !b->host_alloc)
        return gopt_tensor_create(e->cx, dtype, rank, dims, out);
    lender l = { b, e->device[1] };
    pthread_mutex_lock(&e->lock);
    const gopt_status st = gi_tensor_create_lent(
        e->cx, dtype, rank, dims, &(gi_lender){ .lend = lend, .take_back = b->host_free, .user = &l }, out);
    pthread_mutex_unlock(&e->lock);
    return st;
}

const gopt_engine_info *gopt_engine_get_info(const gopt_engine *e)
{
    return &e->info;
}

gopt_graph *gopt_engine_graph(gopt_engine *e)
{
    return e->graph;
}
