/* Opening plan files: the sums first, then the index, every number of it checked. */
#include "backend/plan_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "ops/infer.h"

static const char again_hint[] = "build it again: gopt run MODEL --plan FILE";

gopt_plan *gi_plan_file_ref(gopt_plan *p)
{
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
    return p;
}

void gopt_plan_close(gopt_plan *p)
{
    if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    gi_file_unref(p->file);
    gopt_ctx *cx = p->cx;
    gi_arena_destroy(p->arena);
    gi_free(cx, p);
}

bool gopt_is_plan(const char *path)
{
    char magic[sizeof GI_PLAN_MAGIC] = "";
    FILE *f = strcmp(path, "-") ? fopen(path, "rbe") : NULL;
    const bool is = f && fread(magic, 1, sizeof magic - 1, f) == sizeof magic - 1 && !strcmp(magic, GI_PLAN_MAGIC);
    if (f)
        (void)fclose(f);
    return is;
}

/* ---- the sums ---- */

typedef struct header {
    uint32_t format, order;
    uint64_t size, index, index_bytes, sums, cold, sum;
} header;

static gopt_status fail(const gopt_plan *p, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static gopt_status fail(const gopt_plan *p, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const gopt_status st = gi_vfail(p->cx, GOPT_BAD_INPUT, &(gi_place){ .file = p->file->path }, hint, fmt, args);
    va_end(args);
    return st;
}

static gopt_status read_header(const gopt_plan *p, header *h)
{
    const gi_file *f = p->file;
    if (f->size < strlen(GI_PLAN_MAGIC) || memcmp(f->data, GI_PLAN_MAGIC, strlen(GI_PLAN_MAGIC)) != 0)
        return fail(p, NULL, "this is no plan of gopt");
    if (f->size < GI_PLAN_HEADER)
        return fail(p, again_hint, "the plan is cut off: it has %zu bytes, its header alone %d", f->size,
                    GI_PLAN_HEADER);
    gi_bytes b = { .p = f->data + 8, .end = f->data + GI_PLAN_HEADER };
    h->format = gi_get_u32(&b);
    h->order = gi_get_u32(&b);
    h->size = gi_get_u64(&b);
    h->index = gi_get_u64(&b);
    h->index_bytes = gi_get_u64(&b);
    h->sums = gi_get_u64(&b);
    h->cold = gi_get_u64(&b);
    b.p = f->data + GI_PLAN_HEADER - 8;
    h->sum = gi_get_u64(&b);
    if (gi_hash(f->data, GI_PLAN_HEADER - 8, 0) != h->sum)
        return fail(p, again_hint, "the plan is damaged between byte 0 and byte %d, its header", GI_PLAN_HEADER);
    if (h->format != GI_PLAN_FORMAT)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, &(gi_place){ .file = f->path }, again_hint,
                       "the plan is of format %" PRIu32 ", and gopt %s reads format %d", h->format, gopt_version(),
                       GI_PLAN_FORMAT);
    const uint32_t here = GI_PLAN_ORDER;
    uint8_t first;
    memcpy(&first, &here, 1);
    if (h->order != GI_PLAN_ORDER || first != 4)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, &(gi_place){ .file = f->path }, again_hint,
                       "the plan's numbers have their bytes in another order than this machine's");
    if (h->size > f->size)
        return fail(p, "copy it again, or build it again", "the plan is cut off: it has %zu bytes of %" PRIu64, f->size,
                    h->size);
    if (h->size < f->size)
        return fail(p, "copy it again, or build it again", "%" PRIu64 " bytes stand behind the plan's end",
                    (uint64_t)f->size - h->size);
    const uint64_t chunks = h->sums / GI_PLAN_CHUNK + (h->sums % GI_PLAN_CHUNK != 0);
    if (h->sums > h->size || h->size - h->sums != 8 * (chunks + 1) || h->index > h->sums ||
        h->index_bytes != h->sums - h->index || h->index < GI_PLAN_HEADER || h->cold > h->index)
        return fail(p, again_hint, "the plan's header does not fit its size");
    return GOPT_OK;
}

typedef struct summing {
    const uint8_t *data, *sums;
    uint64_t end, chunks;
    uint64_t from, to; /* whole chunks between these are left out; or, where `between`, they alone are checked */
    bool between;
    uint64_t bad; /* the first chunk that is; changed with atomics */
} summing;

static void sum_part(void *arg, int worker, int n_workers)
{
    summing *s = arg;
    for (uint64_t i = (uint64_t)worker; i < s->chunks; i += (uint64_t)n_workers) {
        const uint64_t at = i * GI_PLAN_CHUNK, n = s->end - at < GI_PLAN_CHUNK ? s->end - at : GI_PLAN_CHUNK;
        if ((at >= s->from && at + n <= s->to) != s->between)
            continue;
        gi_bytes b = { .p = s->sums + 8 * i, .end = s->sums + 8 * i + 8 };
        if (gi_hash(s->data + at, (size_t)n, i) == gi_get_u64(&b))
            continue;
        uint64_t seen = __atomic_load_n(&s->bad, __ATOMIC_RELAXED);
        while (i < seen && !__atomic_compare_exchange_n(&s->bad, &seen, i, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            ;
    }
}

static gopt_status sum_chunks(const gopt_plan *p, summing *s)
{
    s->bad = UINT64_MAX;
    gi_pool *pool = s->chunks > 16 ? gi_pool_create(p->cx, 0) : NULL;
    if (pool)
        gi_pool_run(pool, sum_part, s);
    else
        sum_part(s, 0, 1);
    gi_pool_destroy(pool);
    if (s->bad == UINT64_MAX)
        return GOPT_OK;
    const uint64_t at = s->bad * GI_PLAN_CHUNK;
    return fail(p, "copy it again, or build it again", "the plan is damaged between byte %" PRIu64 " and byte %" PRIu64,
                at, s->end - at < GI_PLAN_CHUNK ? s->end : at + GI_PLAN_CHUNK);
}

static gopt_status check_sums(const gopt_plan *p, const header *h)
{
    summing s = { .data = p->file->data, .sums = p->file->data + h->sums, .end = h->sums };
    s.from = h->cold;
    s.to = h->index;
    s.chunks = (h->size - h->sums) / 8 - 1;
    gi_bytes last = { .p = s.sums + 8 * s.chunks, .end = s.sums + 8 * s.chunks + 8 };
    if (gi_hash(s.sums, (size_t)(8 * s.chunks), h->size) != gi_get_u64(&last))
        return fail(p, again_hint, "the plan is damaged between byte %" PRIu64 " and byte %" PRIu64 ", its sums",
                    h->sums, h->size);
    return sum_chunks(p, &s);
}

gopt_status gi_plan_file_check_cold(gopt_plan *p)
{
    if (p->cold_checked)
        return GOPT_OK;
    const uint64_t size = p->file->size;
    gi_bytes b = { .p = p->file->data + 40, .end = p->file->data + 48 };
    const uint64_t sums = gi_get_u64(&b);
    summing s = { .data = p->file->data, .sums = p->file->data + sums, .end = sums, .between = true };
    s.from = p->cold;
    s.to = p->index;
    s.chunks = (size - sums) / 8 - 1;
    GI_TRY(sum_chunks(p, &s));
    p->cold_checked = true;
    return GOPT_OK;
}

/* ---- the index ---- */

static gi_plan_range get_range(gi_bytes *b, uint64_t end)
{
    gi_plan_range r = { .at = gi_get_u64(b), .bytes = gi_get_u64(b) };
    if (r.at > end || r.bytes > end - r.at || r.at % GI_PLAN_ALIGN) {
        b->bad = true;
        return (gi_plan_range){ 0 };
    }
    return r;
}

static gi_plan_tensor get_tensor(gi_bytes *b, uint64_t end)
{
    gi_plan_tensor t = { .dtype = (gopt_dtype)gi_get_u32(b) };
    const uint32_t rank = gi_get_u32(b);
    b->bad |= rank > GOPT_MAX_RANK || t.dtype == GOPT_STRING || gopt_dtype_bits(t.dtype) == 0;
    t.rank = b->bad ? 0 : (int)rank;
    for (int i = 0; i < t.rank; i++)
        t.dims[i] = (int64_t)gi_get_u64(b);
    t.range = get_range(b, end);
    t.hash = gi_get_u64(b);
    return t;
}

enum { TENSOR_BYTES = 4 + 4 + 24, STEP_BYTES = 8 * 3 + 4 + 4 + 8, PACK_BYTES = 24, FACT_BYTES = 16 };

static gopt_status get_tensors(gopt_plan *p, gi_bytes *b, uint64_t end, gi_plan_tensor **out, size_t *n)
{
    *n = gi_get_count(b, TENSOR_BYTES);
    *out = GI_NEW_ARRAY(p->arena, gi_plan_tensor, *n + 1);
    GI_NEED(*out);
    for (size_t i = 0; i < *n && !b->bad; i++)
        (*out)[i] = get_tensor(b, end);
    return GOPT_OK;
}

static gopt_status get_step(gopt_plan *p, gi_bytes *b, uint64_t end, gi_kept_step *s)
{
    s->name = gi_get_text(b, p->arena);
    s->op = gi_get_text(b, p->arena);
    s->tactic.name = gi_get_text(b, p->arena);
    if (!*s->tactic.name)
        s->tactic.name = NULL;
    s->tactic.variant = (int)(gi_get_u32(b) & 0xffffff);
    s->tactic.takes = s->tactic.chosen = true;
    s->device = (int)(gi_get_u32(b) & 1);
    const size_t n = gi_get_count(b, PACK_BYTES);
    gi_kept_pack *packs = GI_NEW_ARRAY(p->arena, gi_kept_pack, n + 1);
    GI_NEED(packs && n < UINT32_MAX);
    for (size_t i = 0; i < n && !b->bad; i++) {
        const gi_plan_range r = get_range(b, end);
        packs[i] = (gi_kept_pack){ .data = p->file->data + r.at, .bytes = r.bytes, .how = gi_get_u64(b) };
    }
    s->packs = packs;
    s->n_packs = (uint32_t)n;
    return GOPT_OK;
}

static gopt_status get_plan(gopt_plan *p, gi_bytes *b, uint64_t end, gi_kept_plan *k)
{
    k->n_key = gi_get_count(b, 8);
    int64_t *key = GI_NEW_ARRAY(p->arena, int64_t, k->n_key + 1);
    GI_NEED(key);
    for (size_t i = 0; i < k->n_key; i++)
        key[i] = (int64_t)gi_get_u64(b);
    k->key = key;
    k->n = gi_get_count(b, STEP_BYTES);
    gi_kept_step *steps = GI_NEW_ARRAY(p->arena, gi_kept_step, k->n + 1);
    GI_NEED(steps);
    for (size_t i = 0; i < k->n && !b->bad; i++)
        GI_TRY(get_step(p, b, end, &steps[i]));
    k->steps = steps;
    return GOPT_OK;
}

static gopt_status make_inputs(gopt_plan *p)
{
    p->input_tensors = GI_NEW_ARRAY(p->arena, gopt_tensor, p->n_inputs + 1);
    GI_NEED(p->input_tensors);
    for (size_t i = 0; i < p->n_inputs; i++) {
        const gi_plan_tensor *t = &p->inputs[i];
        union {
            const uint8_t *p;
            void *data; /* nobody writes to an input */
        } u = { .p = p->file->data + t->range.at };
        gopt_tensor *x = &p->input_tensors[i];
        *x = (gopt_tensor){ .kind = GOPT_TENSOR, .dtype = t->dtype, .rank = t->rank, .data = u.data, .refs = 1 };
        memcpy(x->dims, t->dims, sizeof x->dims);
        x->bytes = (size_t)t->range.bytes;
        int64_t n = 1;
        size_t bytes;
        for (int k = 0; k < t->rank; k++)
            if (t->dims[k] < 0 || !gi_mul_i64(n, t->dims[k], &n))
                return fail(p, again_hint, "the plan's fingerprint has an input of no possible shape");
        if (!gi_dtype_bytes(t->dtype, (size_t)n, &bytes) || bytes != x->bytes)
            return fail(p, again_hint, "the plan's fingerprint has an input of %zu bytes that do not fit its shape",
                        x->bytes);
    }
    return GOPT_OK;
}

static gopt_status read_index(gopt_plan *p, const header *h)
{
    gi_bytes b = { .p = p->file->data + h->index, .end = p->file->data + h->sums };
    p->n_facts = gi_get_count(&b, FACT_BYTES);
    p->facts = GI_NEW_ARRAY(p->arena, gopt_plan_fact, p->n_facts + 1);
    GI_NEED(p->facts);
    for (size_t i = 0; i < p->n_facts && !b.bad; i++) {
        p->facts[i].name = gi_get_text(&b, p->arena);
        p->facts[i].value = gi_get_text(&b, p->arena);
    }
    p->graph = (const char *)gi_get_bytes(&b, &p->graph_bytes);
    GI_TRY(get_tensors(p, &b, h->index, &p->weights, &p->n_weights));
    p->n_plans = gi_get_count(&b, 16);
    b.bad |= p->n_plans > GI_PLAN_MAX_SHAPES;
    p->plans = GI_NEW_ARRAY(p->arena, gi_kept_plan, GI_PLAN_MAX_SHAPES);
    GI_NEED(p->plans);
    for (size_t i = 0; i < p->n_plans && !b.bad; i++)
        GI_TRY(get_plan(p, &b, h->index, &p->plans[i]));
    for (int d = 0; d < 2; d++)
        p->state[d] = get_range(&b, h->index);
    GI_TRY(get_tensors(p, &b, h->index, &p->inputs, &p->n_inputs));
    GI_TRY(get_tensors(p, &b, h->index, &p->answers, &p->n_answers));
    if (b.bad || b.p != b.end) {
        p->n_facts = p->n_plans = p->n_inputs = p->n_answers = 0;
        return fail(p, again_hint, "the plan's index, from byte %" PRIu64 " on, is not as gopt writes it", h->index);
    }
    if (!gopt_plan_find_fact(p, "gopt") || !gopt_plan_find_fact(p, "build") || !gopt_plan_find_fact(p, "backend"))
        return fail(p, again_hint, "the plan does not say who wrote it");
    return make_inputs(p);
}

static gopt_status read_plan(gopt_plan *p, const char *path)
{
    header h = { 0 };
    GI_TRY(gi_file_open(p->cx, path, &p->file));
    GI_TRY(read_header(p, &h));
    GI_TRY(check_sums(p, &h));
    p->cold = h.cold;
    p->index = h.index;
    return read_index(p, &h);
}

gopt_status gopt_plan_open(gopt_ctx *cx, const char *path, gopt_plan **out)
{
    *out = NULL;
    gopt_plan *p = gi_alloc(cx, sizeof *p);
    GI_NEED(p);
    p->refs = 1;
    p->cx = cx;
    p->arena = gi_arena_create(cx);
    const gopt_status st = p->arena ? read_plan(p, path) : GOPT_NO_MEMORY;
    if (st != GOPT_OK) {
        gopt_plan_close(p);
        return st;
    }
    *out = p;
    return GOPT_OK;
}

/* ---- looking ---- */

const gopt_plan_fact *gopt_plan_get_fact(const gopt_plan *p, size_t i)
{
    return i < p->n_facts ? &p->facts[i] : NULL;
}

const char *gopt_plan_find_fact(const gopt_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_facts; i++)
        if (!strcmp(p->facts[i].name, name))
            return p->facts[i].value;
    return NULL;
}

bool gopt_plan_get_step(const gopt_plan *p, size_t i, gopt_plan_step *out)
{
    for (size_t k = 0; k < p->n_plans; i -= p->plans[k++].n) {
        if (i >= p->plans[k].n)
            continue;
        const gi_kept_step *s = &p->plans[k].steps[i];
        const char *backend = s->device ? gopt_plan_find_fact(p, "backend") : "cpu";
        *out = (gopt_plan_step){ .name = s->name,
                                 .op = s->op,
                                 .tactic = s->tactic.name ? s->tactic.name : "",
                                 .backend = backend,
                                 .variant = s->tactic.variant };
        for (uint32_t n = 0; n < s->n_packs; n++)
            out->packed_bytes += s->packs[n].bytes;
        return true;
    }
    return false;
}

gopt_plan_sizes gopt_plan_get_sizes(const gopt_plan *p)
{
    gopt_plan_sizes s = { .file = p->file->size,
                          .graph = p->graph_bytes,
                          .programs = p->state[0].bytes + p->state[1].bytes,
                          .n_weights = p->n_weights,
                          .shapes = p->n_plans };
    for (size_t i = 0; i < p->n_weights; i++)
        s.weights += p->weights[i].range.bytes;
    gopt_plan_step step;
    for (; gopt_plan_get_step(p, s.steps, &step); s.steps++)
        s.packed += step.packed_bytes;
    for (size_t i = 0; i < p->n_plans; i++)
        for (size_t k = 0; k < p->plans[i].n; k++)
            s.n_packs += p->plans[i].steps[k].n_packs;
    return s;
}

const gopt_tensor *gopt_plan_input(const gopt_plan *p, size_t i)
{
    return i < p->n_inputs ? &p->input_tensors[i] : NULL;
}

/* ---- the graph ---- */

typedef struct weights {
    gopt_plan *p;
    gi_blob **made; /* each once, so that what shares a weight goes on sharing it */
    gopt_status status;
} weights;

static gi_blob *weight_of(void *user, uint64_t number)
{
    weights *w = user;
    if (number >= w->p->n_weights)
        return NULL;
    gi_blob **b = &w->made[number];
    const gi_plan_tensor *t = &w->p->weights[number];
    if (!*b) {
        w->status = gi_blob_mapped(w->p->cx, t->dtype, t->rank, t->dims, w->p->file, t->range.at, b);
        if (w->status != GOPT_OK)
            return NULL;
        (*b)->hash = t->hash;
    }
    return gi_blob_ref(*b);
}

static gopt_status parse_graph(gopt_plan *p, gi_arena *a, gopt_graph **out)
{
    weights w = { .p = p, .made = GI_NEW_ARRAY(a, gi_blob *, p->n_weights + 1) };
    gopt_graph *g = NULL;
    GI_NEED(w.made);
    gopt_status st = gi_parse_with(p->cx, p->file->path, p->graph, p->graph_bytes, weight_of, &w, &g);
    for (size_t i = 0; i < p->n_weights; i++)
        gi_blob_unref(w.made[i]);
    GI_TRY(st);
    st = gi_verify(g);
    if (st == GOPT_OK)
        st = gi_infer_graph(g);
    if (st != GOPT_OK) {
        gopt_graph_destroy(g);
        return st == GOPT_INTERNAL ? fail(p, again_hint, "the plan holds a graph that is none") : st;
    }
    const char *model = gopt_plan_find_fact(p, "model");
    if (model)
        g->file = gi_arena_str(g->arena, model);
    *out = g;
    return GOPT_OK;
}

gopt_status gi_plan_file_graph(gopt_plan *p, gopt_graph **out)
{
    *out = NULL;
    gi_arena *a = gi_arena_create(p->cx);
    GI_NEED(a);
    const gopt_status st = parse_graph(p, a, out);
    gi_arena_destroy(a);
    return st;
}

gopt_status gopt_plan_graph(gopt_plan *p, gopt_graph **out)
{
    *out = NULL;
    GI_TRY(gi_plan_file_check_cold(p));
    return gi_plan_file_graph(p, out);
}
