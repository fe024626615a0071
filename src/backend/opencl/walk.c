/* Spans of a plan as walks: which launches, in which phases, by which variants, and whether that is faster than launching
 * them one by one.
 *
 * Launches that follow each other and touch nothing that another one of them writes make a phase: their units are shared
 * out over all groups together. A phase begins when all groups that took part in the one before have said so. */
#include "backend/opencl/walk.h"

#include <limits.h>
#include <stdlib.h>

enum { LEAST = 3, MOST = 160, REPEATS = 24, KEPT_WAYS = 14, ROUNDS = 15, SAME_MEMS = 8 };

typedef struct item {
    gi_cl_step *c;
    gi_cl_launch *l;
    const gi_run_args *args;
    uint64_t scratch; /* bytes of the step's workspace */
    gi_cl_body body;
    bool fits;
    uint32_t phase;
    size_t number; /* of its body */
    size_t units;
    gi_cl_mma_made *made; /* of a product on tensor cores, its way; NULL: as launched */
} item;

/* Consecutive items: as one kernel, or launched one by one. */
typedef struct part {
    size_t first, n;
    cl_kernel kernel; /* NULL: one by one */
    cl_mem table, counts, sums;
    cl_uint epoch, fault;
} part;

typedef struct gi_cl_span {
    gi_cl *d;
    gi_cl_context *x;        /* whose frame it is of */
    gi_arena *arena, *tries; /* tries: while variants are chosen */
    item *items;
    size_t n;
    part *parts;
    size_t n_parts;
    struct gi_cl_span *next; /* of the context's */
} gi_cl_span;

/* The buffers that a walk is given. */
typedef struct mems {
    cl_mem m[GI_CL_WALK_MEMS];
    uint32_t n;
} mems;

/* ---- what a launch touches ---- */

typedef struct range {
    cl_mem mem;
    uint64_t from, to;
    uint32_t pitch, width; /* of a comb: bytes from tooth to tooth, and of a tooth; else 0 */
    bool written;
} range;

/* False where it matters to no other launch: weights, and what a walk has of its own. */
static bool range_of(const item *it, uint32_t i, range *r)
{
    const gi_cl_ref *ref = &it->l->refs[i];
    if (ref->place == GI_CL_OWN || (it->l->mma && (i == GI_CL_MMA_PARTS || i == GI_CL_MMA_PARTS + 1)))
        return false;
    const gi_buffer *b = ref->place == GI_CL_IN    ? &it->args->in[ref->index]
                         : ref->place == GI_CL_OUT ? &it->args->out[ref->index]
                                                   : it->args->scratch;
    *r = (range){ b->mem,     b->offset,  b->offset + (ref->place == GI_CL_SCRATCH ? it->scratch : b->bytes),
                  ref->pitch, ref->width, ref->place != GI_CL_IN };
    return true;
}

/* Do they touch a byte in common? Images within one that is around both are combs whose teeth may lie beside each
 * other. */
static bool meet(const range *x, const range *y)
{
    if (x->mem != y->mem || x->from >= y->to || y->from >= x->to)
        return false;
    if (!x->pitch || x->pitch != y->pitch)
        return true;
    const uint64_t p = x->pitch, behind = (y->from % p + p - x->from % p) % p; /* y's tooth behind x's */
    return behind < x->width || behind + y->width > p;
}

static bool conflict(const item *a, const item *b)
{
    /* copies of a Concat write slabs that do not meet */
    const bool slabs = a->c == b->c && !strcmp(a->l->name, "move") && !strcmp(b->l->name, "move");
    for (uint32_t i = 0; i < a->l->n_refs; i++)
        for (uint32_t k = 0; k < b->l->n_refs; k++) {
            range x, y;
            if (range_of(a, i, &x) && range_of(b, k, &y) && (x.written || y.written) && meet(&x, &y) &&
                !(slabs && x.written && y.written))
                return true;
        }
    return false;
}

static uint32_t set_phases(item *items, size_t n)
{
    uint32_t phase = 0;
    size_t begin = 0;
    for (size_t i = 0; i < n; i++) {
        bool new_phase = false;
        for (size_t k = begin; k < i && !new_phase; k++)
            new_phase = conflict(&items[k], &items[i]);
        if (new_phase) {
            phase++;
            begin = i;
        }
        items[i].phase = phase;
    }
    return phase + 1;
}

/* ---- the table ---- */

static uint32_t number_of(mems *all, cl_mem m)
{
    for (uint32_t i = 0; i < all->n; i++)
        if (all->m[i] == m)
            return i;
    if (all->n < GI_CL_WALK_MEMS)
        all->m[all->n] = m;
    return all->n++;
}

static cl_ulong address(mems *all, cl_mem m, uint64_t offset)
{
    return ((cl_ulong)number_of(all, m) << 56) | offset;
}

/* `sums` and `counts`: where the parts of split sums and their counters go. */
static gi_cl_walk_step step_of(const item *it, unsigned groups, mems *all, cl_mem sums, uint64_t sums_at, cl_mem counts,
                               uint64_t counts_at)
{
    const gi_cl_launch *l = it->l;
    gi_cl_walk_step s = { .body = (cl_uint)it->number, .units = (cl_uint)it->units };
    for (uint32_t i = 0; i < l->n_refs; i++) {
        cl_mem m;
        uint64_t offset;
        gi_cl_locate(it->c, it->args, &l->refs[i], &m, &offset);
        if (it->made && i == GI_CL_MMA_PARTS)
            s.p[i] = address(all, sums, sums_at);
        else if (it->made && i == GI_CL_MMA_PARTS + 1)
            s.p[i] = address(all, counts, counts_at);
        else
            s.p[i] = address(all, m, offset);
    }
    const int64_t *ints = it->made ? it->made->ints : l->ints;
    for (uint32_t i = 0; i < it->body.n_ints; i++)
        s.ints[i] = ints[i];
    s.items = it->body.by_items ? l->global[0] : 0;
    if (l->weights < UINT32_MAX) /* rounded down: no byte past the end is asked for */
        s.weights = (cl_uint)(l->weights / groups / 16 * 16);
    s.columns = it->body.square ? (cl_uint)(l->global[0] / 16) : 1;
    return s;
}

/* ---- kernels ---- */

static cl_int set_mems(cl_kernel k, cl_uint first, const mems *all)
{
    cl_int err = CL_SUCCESS;
    for (uint32_t i = 0; i < all->n && err == CL_SUCCESS; i++)
        err = clSetKernelArg(k, first + i, sizeof all->m[i], &all->m[i]);
    return err;
}

/* Is a walk on the device, or on its way there, that one in another queue has to wait for? One that failed is none. */
static bool is_walking(const gi_cl *d)
{
    cl_int state;
    return d->last_walk &&
           (clGetEventInfo(d->last_walk, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL) != CL_SUCCESS ||
            state > CL_COMPLETE);
}

void gi_cl_walk_forget(gi_cl *d, cl_command_queue q)
{
    if (!d->last_walk || d->last_walk_queue != q)
        return;
    (void)clReleaseEvent(d->last_walk);
    d->last_walk = NULL;
}

/* All groups of a walk must be resident at once, so two walks are never on the device together: each waits for the last
 * one, whatever queue that is in. *e, of the caller's own from then on, may be NULL. */
static cl_int enqueue(gi_cl *d, cl_command_queue q, cl_kernel k, cl_uint steps, cl_uint epoch, cl_event *e)
{
    const size_t local = GI_CL_WALK_ITEMS, global = local * d->units;
    cl_event mine;
    cl_int err = clSetKernelArg(k, 2, sizeof steps, &steps);
    if (err == CL_SUCCESS)
        err = clSetKernelArg(k, 3, sizeof epoch, &epoch);
    const bool waits = d->last_walk_queue != q && is_walking(d);
    if (waits && err == CL_SUCCESS)
        err = clFlush(d->last_walk_queue); /* or it might never begin */
    if (err == CL_SUCCESS)
        err = clEnqueueNDRangeKernel(q, k, 1, NULL, &global, &local, waits, waits ? &d->last_walk : NULL, &mine);
    if (err != CL_SUCCESS)
        return err;
    if (d->last_walk)
        (void)clReleaseEvent(d->last_walk);
    d->last_walk = mine;
    d->last_walk_queue = q;
    if (e) {
        err = clRetainEvent(mine);
        *e = mine;
    }
    return err;
}

static cl_int zero(gi_cl *d, cl_mem m, size_t bytes)
{
    const cl_uint nothing = 0;
    return clEnqueueFillBuffer(d->own.queue, m, &nothing, sizeof nothing, 0, bytes, 0, NULL, NULL);
}

/* A kernel "walk" whose arguments are set but for steps and epoch, its table written. *kernel is NULL where the driver
 * does not build it: then launches go one by one. */
static gopt_status make_kernel(gi_cl *d, gi_arena *a, const gi_cl_body *bodies, size_t n_bodies, const mems *all,
                               gi_cl_walk_step *table, size_t n, cl_mem *table_mem, cl_mem counts, cl_kernel *kernel)
{
    cl_kernel resolve = NULL;
    cl_int err;
    const cl_uint steps = (cl_uint)n;
    const size_t items = n * GI_CL_WALK_REFS;
    const char *source = gi_cl_walk_source(d, a, bodies, n_bodies, all->n);
    *kernel = NULL;
    *table_mem = NULL;
    GI_NEED(source);
    GI_TRY(gi_cl_kernel(d, source, "walk", kernel));
    gopt_status st = gi_cl_kernel(d, source, "resolve", &resolve);
    if (st == GOPT_OK) {
        *table_mem =
            clCreateBuffer(d->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, n * sizeof *table, table, &err);
        if (*table_mem)
            err = clSetKernelArg(resolve, 0, sizeof *table_mem, table_mem);
        if (err == CL_SUCCESS)
            err = clSetKernelArg(resolve, 1, sizeof steps, &steps);
        if (err == CL_SUCCESS)
            err = set_mems(resolve, 2, all);
        if (err == CL_SUCCESS)
            err = clEnqueueNDRangeKernel(d->own.queue, resolve, 1, NULL, &items, NULL, 0, NULL, NULL);
        if (err == CL_SUCCESS)
            err = clSetKernelArg(*kernel, 0, sizeof *table_mem, table_mem);
        if (err == CL_SUCCESS)
            err = clSetKernelArg(*kernel, 1, sizeof counts, &counts);
        if (err == CL_SUCCESS)
            err = set_mems(*kernel, 4, all);
        if (err == CL_SUCCESS)
            err = clFinish(d->own.queue);
        if (err != CL_SUCCESS)
            st = gi_cl_fail(d->cx, d, err, "a kernel that walks the plan cannot be made");
    }
    if (resolve)
        (void)clReleaseKernel(resolve);
    return st;
}

static size_t body_number(gi_cl_body *bodies, size_t *n, const gi_cl_body *b)
{
    for (size_t i = 0; i < *n; i++)
        if (!strcmp(bodies[i].source, b->source) && !strcmp(bodies[i].name, b->name) && bodies[i].n_refs == b->n_refs &&
            bodies[i].n_ints == b->n_ints && bodies[i].by_items == b->by_items)
            return i;
    bodies[*n] = *b;
    return (*n)++;
}

/* Makes an item that way, of what is in the arena. */
static gopt_status take_way(gi_cl_span *s, gi_arena *a, item *it, gi_cl_way way)
{
    it->made = GI_NEW(a, gi_cl_mma_made);
    GI_NEED(it->made);
    GI_TRY(gi_cl_mma_make(s->d, a, it->l->mma, way, it->made));
    it->body.source = it->made->source;
    it->body.n_ints = it->made->n_ints;
    it->units = it->made->groups;
    return GOPT_OK;
}

/* ---- choosing variants ---- */

/* µs of a step of the item as it is, among REPEATS of them; -1 where it does not run. */
static double time_item(gi_cl_span *s, const item *it, const gi_cl_body *bodies, size_t n_bodies, cl_mem sums,
                        cl_mem counts, size_t count_bytes, cl_command_queue q)
{
    gi_cl *d = s->d;
    mems all = { .n = 0 };
    gi_cl_walk_step table[REPEATS];
    cl_mem table_mem = NULL;
    cl_kernel k = NULL;
    double best[2] = { -1, -1 };
    const size_t said = gopt_diag_count(d->cx);
    const cl_uint taking = (cl_uint)(it->units < d->units ? it->units : d->units);
    for (cl_uint i = 0; i < REPEATS; i++) {
        const uint64_t tiles = (REPEATS + 2) * GI_CL_WALK_LINE + (uint64_t)i * (uint64_t)it->made->tiles;
        table[i] = step_of(it, d->units, &all, sums, 0, counts, tiles * 4);
        table[i].wait = i * GI_CL_WALK_LINE;
        table[i].wait_for = i ? taking : 0;
        table[i].arrive = (i + 1) * GI_CL_WALK_LINE;
    }
    while (all.n < SAME_MEMS) /* of one program, whichever buffers are the same */
        all.m[all.n++] = all.m[0];
    bool ok = all.n <= GI_CL_WALK_MEMS &&
              make_kernel(d, s->tries, bodies, n_bodies, &all, table, REPEATS, &table_mem, counts, &k) == GOPT_OK;
    for (int i = 0; ok && i < 8; i++) {
        const cl_uint steps = i % 2 ? REPEATS : 1;
        cl_event e;
        ok = zero(d, counts, count_bytes) == CL_SUCCESS && clFinish(d->own.queue) == CL_SUCCESS &&
             enqueue(d, q, k, steps, 0, &e) == CL_SUCCESS;
        if (!ok)
            break;
        const double t = gi_cl_event_us(e);
        (void)clReleaseEvent(e);
        ok = t >= 0;
        if (i > 1 && (best[i % 2] < 0 || t < best[i % 2]))
            best[i % 2] = t;
    }
    if (k)
        (void)clReleaseKernel(k);
    if (table_mem)
        (void)clReleaseMemObject(table_mem);
    gi_diag_forget(d->cx, said); /* a variant that is not built is none */
    return ok ? (best[1] - best[0]) / (REPEATS - 1) : -1;
}

/* A body for each variant, in their order: products that differ in nothing but sizes share one program. */
static gopt_status all_bodies(gi_cl_span *s, item *it, const gi_cl_way *ways, int n, gi_cl_body *bodies,
                              size_t *n_bodies)
{
    for (int last = -1, least;; last = least) {
        int at = -1;
        least = INT_MAX;
        for (int i = 0; i < n; i++)
            if (ways[i].variant > last && ways[i].variant < least) {
                least = ways[i].variant;
                at = i;
            }
        if (at < 0)
            return GOPT_OK;
        GI_TRY(take_way(s, s->tries, it, ways[at]));
        (void)body_number(bodies, n_bodies, &it->body);
    }
}

/* Ways of a product in a walk, under which key the chosen one is remembered, and which it was; -1: not known. */
typedef struct choices {
    gi_cl_way ways[GI_CL_MOST_WAYS];
    int n, known;
    char key[220];
} choices;

static void find_choices(const gi_cl *d, const gi_cl_mma *m, choices *c)
{
    c->n = gi_cl_mma_ways(d, m, true, c->ways);
    gi_cl_mma_key(m, "walk,", c->key, sizeof c->key);
    c->known = gi_cl_mma_known(d, c->key, c->ways, c->n);
}

/* Builds the programs by which the ways of all items will be timed, side by side. */
static gopt_status build_ways(gi_cl_span *s, item *items, size_t n)
{
    gi_cl *d = s->d;
    const char **sources = GI_NEW_ARRAY(s->tries, const char *, n + 1);
    gi_cl_body *bodies = GI_NEW_ARRAY(s->tries, gi_cl_body, GI_CL_MOST_WAYS);
    size_t n_sources = 0;
    GI_NEED(sources && bodies);
    for (size_t i = 0; i < n && d->timed; i++) {
        const gi_cl_mma *m = items[i].l->mma;
        choices all;
        size_t n_bodies = 0;
        if (!m)
            continue;
        find_choices(d, m, &all);
        if (all.known >= 0)
            continue;
        GI_TRY(all_bodies(s, &items[i], all.ways, all.n, bodies, &n_bodies));
        GI_NEED(sources[n_sources++] = gi_cl_walk_source(d, s->tries, bodies, n_bodies, SAME_MEMS));
    }
    return gi_cl_build_all(d, s->tries, sources, n_sources);
}

static gopt_status choose_way(gi_cl_span *s, item *it, cl_command_queue q)
{
    gi_cl *d = s->d;
    choices all;
    find_choices(d, it->l->mma, &all);
    if (!all.n)
        return GOPT_INTERNAL;
    if (all.known >= 0 || !d->timed)
        return take_way(s, s->arena, it, all.ways[all.known >= 0 ? all.known : 0]);
    const int n = all.n < KEPT_WAYS ? all.n : KEPT_WAYS;
    int best = 0;
    gi_cl_body *bodies = GI_NEW_ARRAY(s->tries, gi_cl_body, (size_t)all.n);
    size_t n_bodies = 0;
    uint64_t sums = 4, tiles = 1;
    GI_NEED(bodies);
    GI_TRY(all_bodies(s, it, all.ways, all.n, bodies, &n_bodies));
    for (int i = 0; i < n; i++) {
        GI_TRY(take_way(s, s->tries, it, all.ways[i]));
        sums = it->made->parts > sums ? it->made->parts : sums;
        tiles = (uint64_t)it->made->tiles > tiles ? (uint64_t)it->made->tiles : tiles;
    }
    cl_int err;
    const size_t count_bytes = ((REPEATS + 2) * GI_CL_WALK_LINE + REPEATS * (size_t)tiles) * 4;
    cl_mem sums_mem = clCreateBuffer(d->context, CL_MEM_READ_WRITE, (size_t)sums, NULL, &err);
    cl_mem counts = clCreateBuffer(d->context, CL_MEM_READ_WRITE, count_bytes, NULL, &err);
    double least = -1;
    gopt_status st = GOPT_OK;
    for (int i = 0; sums_mem && counts && i < n && st == GOPT_OK; i++) {
        st = take_way(s, s->tries, it, all.ways[i]);
        it->number = body_number(bodies, &n_bodies, &it->body);
        const double t = st == GOPT_OK ? time_item(s, it, bodies, n_bodies, sums_mem, counts, count_bytes, q) : -1;
        if (t >= 0 && (least < 0 || t < least)) {
            least = t;
            best = i;
        }
    }
    if (sums_mem)
        (void)clReleaseMemObject(sums_mem);
    if (counts)
        (void)clReleaseMemObject(counts);
    GI_TRY(st);
    GI_TRY(take_way(s, s->arena, it, all.ways[best]));
    return gi_cl_mma_remember(d, all.key, all.ways[best]);
}

static gopt_status choose_ways(gi_cl_span *s, item *items, size_t n)
{
    cl_int err;
    s->tries = gi_arena_create(s->d->cx);
    GI_NEED(s->tries);
    cl_command_queue q = clCreateCommandQueue(s->d->context, s->d->device, CL_QUEUE_PROFILING_ENABLE, &err);
    gopt_status st = q ? build_ways(s, items, n) : gi_cl_fail(s->d->cx, s->d, err, "the device gives no queue");
    for (size_t i = 0; i < n && st == GOPT_OK; i++)
        if (items[i].l->mma)
            st = choose_way(s, &items[i], q);
    if (q) {
        gi_cl_walk_forget(s->d, q);
        (void)clReleaseCommandQueue(q);
    }
    gi_arena_destroy(s->tries);
    return st;
}

/* ---- a part as one kernel ---- */

static void drop_kernel(part *p)
{
    if (p->kernel)
        (void)clReleaseKernel(p->kernel);
    const cl_mem all[] = { p->table, p->counts, p->sums };
    for (size_t i = 0; i < GI_COUNT(all); i++)
        if (all[i])
            (void)clReleaseMemObject(all[i]);
    p->kernel = NULL;
    p->table = p->counts = p->sums = NULL;
}

/* Fills in who waits for whom, and which group begins. */
static void set_order(gi_cl_span *s, const item *items, gi_cl_walk_step *table, size_t n)
{
    const cl_uint groups = s->d->units;
    cl_uint before = 0, now = 0, first = 0;
    for (size_t i = 0; i < n; i++) {
        if (i && items[i].phase != items[i - 1].phase) {
            before = now;
            now = first = 0;
        }
        table[i].first = first % groups;
        table[i].wait = items[i].phase * GI_CL_WALK_LINE;
        table[i].wait_for = before;
        table[i].arrive = (items[i].phase + 1) * GI_CL_WALK_LINE;
        first = (first + table[i].units) % groups;
        now += table[i].units < groups ? table[i].units : groups;
    }
}

static gopt_status make_walk(gi_cl_span *s, part *p)
{
    gi_cl *d = s->d;
    item *items = s->items + p->first;
    mems all = { .n = 0 };
    gi_cl_body *bodies = GI_NEW_ARRAY(s->arena, gi_cl_body, p->n);
    gi_cl_walk_step *table = GI_NEW_ARRAY(s->arena, gi_cl_walk_step, p->n);
    size_t n_bodies = 0;
    GI_NEED(bodies && table);
    GI_TRY(choose_ways(s, items, p->n));
    const uint32_t phases = set_phases(items, p->n);
    uint64_t most = 4, sums = 0, tiles = 0;
    for (size_t i = 0; i < p->n; i++) {
        sums = (i && items[i].phase != items[i - 1].phase ? 0 : sums) + (items[i].made ? items[i].made->parts : 0);
        most = sums > most ? sums : most;
        tiles += items[i].made ? (uint64_t)items[i].made->tiles : 0;
        items[i].number = body_number(bodies, &n_bodies, &items[i].body);
    }
    cl_int err;
    const uint64_t heads = (uint64_t)(phases + 1) * GI_CL_WALK_LINE;
    const size_t bytes = (size_t)(heads + tiles) * 4;
    p->sums = clCreateBuffer(d->context, CL_MEM_READ_WRITE, (size_t)most, NULL, &err);
    if (p->sums)
        p->counts = clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &err);
    if (p->counts)
        err = zero(d, p->counts, bytes);
    if (err != CL_SUCCESS)
        return gi_cl_fail(d->cx, d, err, "no memory for a walk of the plan");
    sums = tiles = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (i && items[i].phase != items[i - 1].phase)
            sums = 0;
        table[i] = step_of(&items[i], d->units, &all, p->sums, sums, p->counts, (heads + tiles) * 4);
        sums += items[i].made ? items[i].made->parts : 0;
        tiles += items[i].made ? (uint64_t)items[i].made->tiles : 0;
    }
    if (all.n > GI_CL_WALK_MEMS)
        return GOPT_OK;
    set_order(s, items, table, p->n);
    GI_TRY(make_kernel(d, s->arena, bodies, n_bodies, &all, table, p->n, &p->table, p->counts, &p->kernel));
    const char *source = gi_cl_walk_source(d, s->arena, bodies, n_bodies, all.n);
    GI_NEED(source && gi_cl_source_in_use(d, source));
    return GOPT_OK;
}

/* ---- running ---- */

static cl_int run_part(gi_cl_span *s, part *p, bool walk)
{
    cl_int err = CL_SUCCESS;
    if (walk) {
        err = enqueue(s->d, s->x->queue, p->kernel, (cl_uint)p->n, p->epoch, NULL);
        p->epoch += err == CL_SUCCESS;
        return err;
    }
    for (size_t i = p->first; i < p->first + p->n && err == CL_SUCCESS; i++)
        err = gi_cl_run_launch(s->d, s->items[i].c, s->items[i].l, s->items[i].args, NULL);
    return err;
}

static int by_time(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Seconds of a part: one by one, and with `ways` of 2 as its walk, too, in turns; medians. False where a run failed. */
static bool median_times(gi_cl_span *s, part *p, int ways, double *median)
{
    double times[2][ROUNDS];
    for (int i = -3; i < ROUNDS; i++)
        for (int walk = 0; walk < ways; walk++) {
            const double start = gi_now();
            if (run_part(s, p, walk != 0) != CL_SUCCESS || clFinish(s->x->queue) != CL_SUCCESS)
                return false;
            if (i >= 0)
                times[walk][i] = gi_now() - start;
        }
    for (int walk = 0; walk < ways; walk++) {
        qsort(times[walk], ROUNDS, sizeof times[walk][0], by_time);
        median[walk] = times[walk][ROUNDS / 2];
    }
    return true;
}

/* Could a walk be faster? What it spares is the start of launches, and it has one group a multiprocessor, which is less
 * than launches have that fill the device. Where starts are less than a quarter of the time, no walk has won. */
static bool may_gain(gi_cl_span *s, part *p)
{
    double launches;
    return !median_times(s, p, 1, &launches) || (double)p->n * s->d->start_us * 1e-6 >= launches / 4;
}

/* Is the walk faster than its launches? False, and not known, where a run failed. */
static bool compare(gi_cl_span *s, part *p, bool *faster)
{
    double times[2];
    if (!median_times(s, p, 2, times))
        return false;
    if (clEnqueueReadBuffer(s->x->queue, p->counts, CL_TRUE, 0, sizeof p->fault, &p->fault, 0, NULL, NULL) !=
            CL_SUCCESS ||
        p->fault)
        return false;
    *faster = times[1] < times[0];
    return true;
}

gopt_status gi_cl_span_run(gi_device *dev, void *span, const gi_run_args *args)
{
    gi_cl *d = (gi_cl *)dev;
    gi_cl_span *s = span;
    cl_int err = CL_SUCCESS;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < s->n_parts && err == CL_SUCCESS; i++)
        err = run_part(s, &s->parts[i], s->parts[i].kernel != NULL);
    s->x->walked = true;
    pthread_mutex_unlock(&d->lock);
    return err == CL_SUCCESS ? GOPT_OK : gi_cl_fail(args->cx, d, err, "a kernel does not start");
}

cl_int gi_cl_walk_ask(gi_cl_context *x)
{
    cl_int err = CL_SUCCESS;
    for (gi_cl_span *s = x->spans; s; s = s->next)
        for (size_t i = 0; i < s->n_parts && err == CL_SUCCESS; i++)
            if (s->parts[i].kernel)
                err = clEnqueueReadBuffer(x->queue, s->parts[i].counts, CL_FALSE, 0, sizeof s->parts[i].fault,
                                          &s->parts[i].fault, 0, NULL, NULL);
    return err;
}

bool gi_cl_walk_fault(gi_cl_context *x)
{
    bool fault = false;
    for (gi_cl_span *s = x->spans; s; s = s->next)
        for (size_t i = 0; i < s->n_parts; i++)
            if (s->parts[i].kernel && s->parts[i].fault) { /* from now on one by one */
                fault = true;
                drop_kernel(&s->parts[i]);
            }
    return fault;
}

/* ---- life ---- */

static gopt_status gather(gi_cl_span *s, gi_step *const *steps, const gi_run_args *const *args, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->n += ((gi_cl_step *)steps[i]->state)->launches.n;
    GI_NEED(s->items = GI_NEW_ARRAY(s->arena, item, s->n + 1));
    GI_NEED(s->parts = GI_NEW_ARRAY(s->arena, part, s->n + 1));
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        gi_cl_step *c = steps[i]->state;
        for (size_t k = 0; k < c->launches.n; k++) {
            if (gi_cl_lies_there(c, args[i], &c->launches.p[k]))
                continue;
            item *it = &s->items[at++];
            *it = (item){ .c = c, .l = &c->launches.p[k], .args = args[i], .scratch = steps[i]->scratch };
            it->fits =
                gi_cl_body_of(it->l, &it->body) || (it->l->mma && it->l->n_refs <= GI_CL_WALK_REFS && it->body.source);
            it->units = it->body.units;
        }
    }
    s->n = at;
    return GOPT_OK;
}

/* By which a part is known in the file of what was timed: all that its launches compute. */
static void key_of(const gi_cl_span *s, const part *p, char *key, size_t size)
{
    uint64_t hash = 0;
    for (size_t i = p->first; i < p->first + p->n; i++) {
        const gi_cl_launch *l = s->items[i].l;
        hash = gi_hash(l->source, strlen(l->source), hash);
        if (l->walk_source)
            hash = gi_hash(l->walk_source, strlen(l->walk_source), hash);
        hash = gi_hash(l->ints, l->n_ints * sizeof *l->ints, hash);
        hash = gi_hash(l->global, sizeof l->global, hash);
    }
    (void)snprintf(key, size, "walk of %zu,%016llx", p->n, (unsigned long long)hash);
}

static void launch_one_by_one(gi_cl_span *s, part *p, const char *why)
{
    gi_note(s->d->cx, &(gi_place){ .file = s->d->name }, "GOPT_OPENCL_WALK=0 does not try",
            "%zu steps are launched one by one: %s", p->n, why);
    drop_kernel(p);
}

/* One kernel, where the driver makes it and it is faster, or was when this was last asked. */
static gopt_status open_part(gi_cl_span *s, part *p)
{
    gi_cl *d = s->d;
    char key[64];
    key_of(s, p, key, sizeof key);
    const int known = d->walk == 0 ? gi_cl_tuned(d, key) : 1;
    if (known == 0)
        return GOPT_OK;
    if (known < 0 && !may_gain(s, p))
        return gi_cl_tuned_put(d, key, false);
    const size_t said = gopt_diag_count(d->cx);
    if (make_walk(s, p) != GOPT_OK) { /* a driver that does not build it, or has no room for it */
        gi_diag_forget(d->cx, said);
        launch_one_by_one(s, p, "the driver makes no kernel that walks them");
    }
    if (!p->kernel || known > 0)
        return GOPT_OK;
    bool faster;
    if (!compare(s, p, &faster)) { /* now; next time it may well run */
        launch_one_by_one(s, p, "the kernel that walks them failed while it was timed");
        return GOPT_OK;
    }
    if (!faster)
        drop_kernel(p);
    return gi_cl_tuned_put(d, key, faster);
}

/* Do the buffers of the item find room, too? Those of what a walk has of its own are not asked for. */
static bool has_room(mems *all, const item *it)
{
    for (uint32_t i = 0; i < it->l->n_refs; i++) {
        cl_mem m;
        uint64_t offset;
        gi_cl_locate(it->c, it->args, &it->l->refs[i], &m, &offset);
        if (!it->l->mma || (i != GI_CL_MMA_PARTS && i != GI_CL_MMA_PARTS + 1))
            (void)number_of(all, m);
    }
    return all->n <= GI_CL_WALK_MEMS;
}

static gopt_status open_parts(gi_cl_span *s, bool *any)
{
    for (size_t i = 0; i < s->n;) {
        part *p = &s->parts[s->n_parts++];
        mems all = { .n = 2 }; /* sums and counters */
        *p = (part){ .first = i };
        const bool fits = s->items[i].fits;
        while (i < s->n && s->items[i].fits == fits && p->n < MOST &&
               (!fits || has_room(&all, &s->items[i]) || !p->n)) {
            p->n++;
            i++;
        }
        if (fits && p->n >= LEAST)
            GI_TRY(open_part(s, p));
        *any = *any || p->kernel;
    }
    return GOPT_OK;
}

gopt_status gi_cl_span_open(gi_device *dev, gi_step *const *steps, const gi_run_args *const *args, size_t n,
                            void **span)
{
    gi_cl *d = (gi_cl *)dev;
    bool any = false;
    *span = NULL;
    if (d->walk < 0)
        return GOPT_OK;
    gi_arena *a = gi_arena_create(d->cx);
    GI_NEED(a);
    gi_cl_span *s = GI_NEW(a, gi_cl_span);
    if (!s) {
        gi_arena_destroy(a);
        return GOPT_NO_MEMORY;
    }
    s->d = d;
    s->x = args[0]->context;
    s->arena = a;
    pthread_mutex_lock(&d->lock);
    gopt_status st = gather(s, steps, args, n);
    if (st == GOPT_OK)
        st = open_parts(s, &any);
    if (st == GOPT_OK && any) {
        s->next = s->x->spans;
        s->x->spans = s;
        *span = s;
    }
    pthread_mutex_unlock(&d->lock);
    if (!*span)
        gi_cl_span_close(dev, s);
    return st;
}

void gi_cl_span_close(gi_device *dev, void *span)
{
    gi_cl *d = (gi_cl *)dev;
    gi_cl_span *s = span;
    pthread_mutex_lock(&d->lock);
    for (gi_cl_span **p = &s->x->spans; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    for (size_t i = 0; i < s->n_parts; i++)
        drop_kernel(&s->parts[i]);
    pthread_mutex_unlock(&d->lock);
    gi_arena_destroy(s->arena);
}
