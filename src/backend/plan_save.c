/* Writing plan files: what is in them is gathered, given its place, and written from front to back.
 *
 * Two machines that build the same plan write the same bytes: no time, no path but the model's, no address. */
#include "backend/plan_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "backend/frame.h"

/* One piece of the file; its bytes lie in memory, or on the device until it is written. */
typedef struct piece {
    const void *data;
    void *mem;
    uint64_t offset; /* in mem */
    gi_plan_range range;
} piece;

typedef struct saver {
    struct gopt_engine *e;
    gopt_graph *g; /* what is written */
    gi_arena *a;
    gi_vec(piece) pieces;
    gi_map piece_of; /* address of the bytes → piece + 1 */
    gi_vec(gi_blob *) weights;
    gi_map number_of;                          /* blob → its number + 1 */
    gi_str facts, text, tensors, plans, print; /* parts of the index */
    gi_str state[2];
    uint64_t end, cold;
    gi_map packed;            /* (node id, weight) of what a step has packed */
    const gi_plan_step *step; /* whose packs are listed */
    uint64_t count;           /* of what is being listed */
    gopt_tensor **answers;
    size_t n_inputs, n_answers;
    const gopt_tensor *const *inputs;
    gi_str *to;
} saver;

/* ---- places ---- */

/* The place of these bytes, once for all that have them. */
static gopt_status place(saver *s, const void *data, void *mem, uint64_t offset, uint64_t bytes, gi_plan_range *out)
{
    const uint64_t key = gi_key(data ? data : mem) ^ (offset * 0x9e3779b97f4a7c15u);
    const uintptr_t seen = bytes ? (uintptr_t)gi_map_get(&s->piece_of, key) : 0;
    *out = (gi_plan_range){ .at = GI_PLAN_HEADER };
    if (!bytes)
        return GOPT_OK;
    if (seen && s->pieces.p[seen - 1].range.bytes == bytes) {
        *out = s->pieces.p[seen - 1].range;
        return GOPT_OK;
    }
    if (bytes > INT64_MAX / 2 || s->end > INT64_MAX / 2)
        return GOPT_NO_MEMORY;
    *out = (gi_plan_range){ .at = s->end, .bytes = bytes };
    s->end = (s->end + bytes + GI_PLAN_ALIGN - 1) / GI_PLAN_ALIGN * GI_PLAN_ALIGN;
    GI_NEED(gi_push(s->a, &s->pieces, (piece){ .data = data, .mem = mem, .offset = offset, .range = *out }));
    GI_NEED(gi_map_put(&s->piece_of, key, (void *)(uintptr_t)s->pieces.n));
    return GOPT_OK;
}

static void put_range(gi_str *to, gi_plan_range r)
{
    gi_put_u64(to, r.at);
    gi_put_u64(to, r.bytes);
}

static void put_tensor(gi_str *to, gopt_dtype dtype, int rank, const int64_t *dims, gi_plan_range r, uint64_t hash)
{
    gi_put_u32(to, (uint32_t)dtype);
    gi_put_u32(to, (uint32_t)rank);
    for (int i = 0; i < rank; i++)
        gi_put_u64(to, (uint64_t)dims[i]);
    put_range(to, r);
    gi_put_u64(to, hash);
}

/* ---- parts of the index ---- */

static void fact(saver *s, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    gi_put_text(&s->facts, name);
    gi_put_text(&s->facts, value);
    s->count++;
}

static void fact_number(saver *s, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    fact(s, name, text);
}

static gopt_status put_facts(saver *s)
{
    const struct gopt_engine *e = s->e;
    char cpu[96];
    gi_str all;
    gi_str_init(&all, s->a);
    s->count = 0;
    gi_cpu_model(cpu, sizeof cpu);
    fact(s, "gopt", gopt_version());
    fact(s, "build", gi_plan_build_key());
    const char *slash = e->graph->file ? strrchr(e->graph->file, '/') : NULL;
    fact(s, "model", slash ? slash + 1 : e->graph->file);
    fact(s, "backend", e->info.backend);
    fact(s, "asked", e->options.backend);
    fact(s, "device", e->info.device);
    fact(s, "precision", e->options.precision);
    fact_number(s, "threads", (uint64_t)e->options.threads);
    fact_number(s, "fp", (uint64_t)e->options.fp);
    if (e->options.apart)
        fact(s, "apart", "yes");
    if (e->options.deterministic)
        fact(s, "deterministic", "yes");
    fact(s, "built on", cpu);
    fact_number(s, "weight bytes", e->info.weight_bytes);
    fact_number(s, "activation bytes", e->info.activation_bytes);
    for (int d = 0; d < 2; d++) {
        const gi_backend *b = e->backend[d];
        if (!b || !b->machine || (d == 0 && e->backend[1])) /* what is left to the cpu is chosen anew */
            continue;
        const char *machine = b->machine(e->device[d], s->a);
        GI_NEED(machine);
        fact(s, d ? "machine1" : "machine0", machine);
    }
    gi_put_u64(&all, s->count);
    if (s->facts.n)
        gi_str_addn(&all, s->facts.p, s->facts.n);
    s->facts = all;
    return GOPT_OK;
}

static bool number_of(void *user, gi_blob *b, uint64_t *number)
{
    saver *s = user;
    uintptr_t at = (uintptr_t)gi_map_get(&s->number_of, gi_key(b));
    if (!at) {
        if (!gi_push(s->a, &s->weights, b))
            return false;
        at = s->weights.n;
        if (!gi_map_put(&s->number_of, gi_key(b), (void *)at))
            return false;
    }
    *number = at - 1;
    return true;
}

static gopt_status put_graph(saver *s)
{
    gi_str_init(&s->print, s->a);
    GI_TRY(gi_print(s->g, &(gi_print_options){ .types = true, .number = number_of, .user = s }, &s->print));
    gi_put_bytes(&s->text, s->print.p, s->print.n);
    return GOPT_OK;
}

/* ---- weights ---- */

static uint64_t use_key(const gi_node *n, const gi_blob *b)
{
    const uint64_t parts[] = { n->id, gi_key(b) };
    return gi_hash(parts, sizeof parts, 0) | 1;
}

/* Do all steps that read the value hold it packed? A region's nodes belong to its step. */
static bool is_packed(const saver *s, const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_node *n = u->node;
        while (n && n->block->owner && n->block->owner->op == OP_Fusion)
            n = n->block->owner;
        if (!n || !gi_map_get(&s->packed, use_key(n, gi_value_blob(v))))
            return false;
    }
    return true;
}

/* Finds the cold weights: every value that has one is packed by whatever reads it. Those of attributes, and all where
 * the shapes are free and other plans will be made of them, are not. */
static void find_cold(const saver *s, bool *cold, bool *hot)
{
    for (size_t i = 0; s->e->is_static && i < s->g->consts.n; i++) {
        const gi_value *v = s->g->consts.p[i];
        const uintptr_t at = (uintptr_t)gi_map_get(&s->number_of, gi_key(gi_value_blob(v)));
        if (at && is_packed(s, v))
            cold[at - 1] = true;
        else if (at)
            hot[at - 1] = true;
    }
    for (size_t i = 0; i < s->weights.n; i++)
        cold[i] = cold[i] && !hot[i];
}

/* Weights that are read, then the cold ones: so the file is read up to there, and the index behind. */
static gopt_status put_weights(saver *s)
{
    bool *cold = GI_NEW_ARRAY(s->a, bool, s->weights.n + 1), *hot = GI_NEW_ARRAY(s->a, bool, s->weights.n + 1);
    gi_plan_range *ranges = GI_NEW_ARRAY(s->a, gi_plan_range, s->weights.n + 1);
    GI_NEED(cold && hot && ranges);
    find_cold(s, cold, hot);
    for (int turn = 0; turn < 2; turn++) {
        s->cold = s->end;
        for (size_t i = 0; i < s->weights.n; i++) {
            const gi_blob *b = s->weights.p[i];
            if (b->bytes && !b->data)
                return gi_fail(s->e->cx, GOPT_USAGE, NULL, "make the engine with for_plan",
                               "weights that the plan needs were let go of when the engine was made");
            if (cold[i] == turn)
                GI_TRY(place(s, b->data, NULL, 0, b->bytes, &ranges[i]));
        }
    }
    gi_put_u64(&s->text, s->weights.n);
    for (size_t i = 0; i < s->weights.n; i++) {
        gi_blob *b = s->weights.p[i];
        put_tensor(&s->text, b->dtype, b->rank, b->dims, ranges[i], gi_blob_hash(b));
    }
    return GOPT_OK;
}

static gopt_status put_pack(void *user, const gi_pack *k)
{
    saver *s = user;
    gi_plan_range r;
    GI_TRY(place(s, k->data, k->mem, k->offset, k->bytes, &r));
    put_range(s->to, r);
    gi_put_u64(s->to, k->how);
    s->count++;
    if (k->of)
        GI_NEED(gi_map_put(&s->packed, use_key(s->step->node, k->of), s));
    return GOPT_OK;
}

static gopt_status put_step(saver *s, const gi_plan_step *k, gi_str *out)
{
    const gi_backend *b = s->e->backend[k->device];
    gi_str packs;
    int variant = 0;
    for (size_t i = 0; i < k->s.n_tactics; i++)
        if (k->s.tactics[i].chosen)
            variant = k->s.tactics[i].variant;
    gi_put_text(out, k->info.name);
    gi_put_text(out, k->info.op);
    gi_put_text(out, k->s.tactic);
    gi_put_u32(out, (uint32_t)variant);
    gi_put_u32(out, (uint32_t)k->device);
    gi_str_init(&packs, s->a);
    s->to = &packs;
    s->step = k;
    s->count = 0;
    if (b->packs && (k->device || !s->e->backend[1]))
        GI_TRY(b->packs(s->e->device[k->device], &k->s, put_pack, s));
    gi_put_u64(out, s->count);
    if (packs.n)
        gi_str_addn(out, packs.p, packs.n);
    GI_NEED(!packs.failed);
    return GOPT_OK;
}

/* In the order in which they were compiled: an If's branches where it stands. */
static gopt_status put_steps(saver *s, const gi_plan *p, gi_str *out, uint64_t *n)
{
    for (size_t i = 0; i < p->steps.n; i++) {
        const gi_plan_step *k = &p->steps.p[i];
        if (k->kind == GI_STEP_COMPILED) {
            GI_TRY(put_step(s, k, out));
            ++*n;
        }
        for (int b = 0; b < 2; b++)
            if (k->branch[b])
                GI_TRY(put_steps(s, k->branch[b], out, n));
    }
    return GOPT_OK;
}

static gopt_status put_plans(saver *s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < GI_MAX_PLANS; i++)
        n += s->e->plans[i] != NULL;
    gi_put_u64(&s->plans, n);
    for (size_t i = 0; i < GI_MAX_PLANS; i++) {
        const gi_special *k = s->e->plans[i];
        if (!k)
            continue;
        gi_str steps;
        uint64_t count = 0;
        gi_str_init(&steps, s->a);
        GI_TRY(put_steps(s, k->plan, &steps, &count));
        gi_put_u64(&s->plans, k->n_key);
        for (size_t d = 0; d < k->n_key; d++)
            gi_put_u64(&s->plans, (uint64_t)k->key[d]);
        gi_put_u64(&s->plans, count);
        if (steps.n)
            gi_str_addn(&s->plans, steps.p, steps.n);
        GI_NEED(!steps.failed);
    }
    for (int d = 0; d < 2; d++) {
        gi_plan_range r;
        gi_str_init(&s->state[d], s->a);
        if (s->e->backend[d] && s->e->backend[d]->state)
            GI_TRY(s->e->backend[d]->state(s->e->device[d], &s->state[d]));
        GI_NEED(!s->state[d].failed);
        GI_TRY(place(s, s->state[d].p, NULL, 0, s->state[d].n, &r));
        put_range(&s->plans, r);
    }
    return GOPT_OK;
}

/* ---- the fingerprint ---- */

static bool has_random(const gopt_graph *g)
{
    for (const gopt_node *n = gopt_graph_first_node(g); n; n = gopt_node_next(n))
        if (gopt_node_is_random(n))
            return true;
    return false;
}

static bool is_plain(const gopt_tensor *t)
{
    return t && t->kind == GOPT_TENSOR && t->dtype != GOPT_STRING && gopt_dtype_bits(t->dtype) != 0;
}

/* Answers are copied, since the context that holds them goes. */
static gopt_status ask(saver *s, gopt_run_context *rc)
{
    const size_t n = s->e->graph->main->n_params, n_out = s->e->graph->main->n_results;
    for (size_t i = 0; i < n; i++)
        GI_TRY(gopt_run_context_set_input(rc, i, s->inputs[i]));
    GI_TRY(gopt_run(rc));
    s->answers = GI_NEW_ARRAY(s->a, gopt_tensor *, n_out + 1);
    GI_NEED(s->answers);
    for (size_t i = 0; i < n_out; i++)
        if (!is_plain(gopt_run_context_output(rc, i)))
            return GOPT_OK;
    for (size_t i = 0; i < n_out; i++) {
        const gopt_tensor *x = gopt_run_context_output(rc, i);
        GI_TRY(gopt_tensor_create(s->e->cx, x->dtype, x->rank, x->dims, &s->answers[i]));
        if (x->bytes)
            memcpy(s->answers[i]->data, x->data, x->bytes);
        s->n_answers = i + 1;
    }
    s->n_inputs = n;
    return GOPT_OK;
}

static gopt_status make_answers(saver *s)
{
    const size_t n = s->e->graph->main->n_params;
    if (!s->inputs || has_random(s->e->graph))
        return GOPT_OK;
    for (size_t i = 0; i < n; i++)
        if (!is_plain(s->inputs[i]))
            return GOPT_OK;
    gopt_run_context *rc;
    GI_TRY(gopt_run_context_create(s->e, &rc));
    const gopt_status st = ask(s, rc);
    gopt_run_context_destroy(rc);
    return st;
}

static gopt_status put_tensors(saver *s, const gopt_tensor *const *t, size_t n)
{
    gi_put_u64(&s->tensors, n);
    for (size_t i = 0; i < n; i++) {
        gi_plan_range r;
        GI_TRY(place(s, t[i]->data, NULL, 0, t[i]->bytes, &r));
        put_tensor(&s->tensors, t[i]->dtype, t[i]->rank, t[i]->dims, r, 0);
    }
    return GOPT_OK;
}

/* ---- writing ---- */

/* Gathers chunks, so that each is summed as it goes by. */
typedef struct writer {
    gi_out *o;
    uint8_t *chunk;
    size_t n;
    uint64_t chunks;
    gi_str sums;
} writer;

static void end_chunk(writer *w)
{
    gi_put_u64(&w->sums, gi_hash(w->chunk, w->n, w->chunks++));
    gi_out_write(w->o, w->chunk, w->n);
    w->n = 0;
}

static void put(writer *w, const void *data, uint64_t bytes)
{
    const uint8_t *p = data;
    while (bytes) {
        const size_t n = bytes < GI_PLAN_CHUNK - w->n ? (size_t)bytes : GI_PLAN_CHUNK - w->n;
        memcpy(w->chunk + w->n, p, n);
        w->n += n;
        p += n;
        bytes -= n;
        if (w->n == GI_PLAN_CHUNK)
            end_chunk(w);
    }
}

static gopt_status put_piece(const saver *s, writer *w, const piece *k, uint64_t *at)
{
    static const uint8_t zeros[GI_PLAN_ALIGN];
    put(w, zeros, k->range.at - *at);
    *at = k->range.at + k->range.bytes;
    if (k->data) {
        put(w, k->data, k->range.bytes);
        return GOPT_OK;
    }
    void *copy = gi_alloc(s->e->cx, (size_t)k->range.bytes);
    GI_NEED(copy);
    const gi_buffer from = { .mem = k->mem, .offset = k->offset, .bytes = k->range.bytes };
    const gopt_status st = s->e->backend[1]->download(s->e->device[1], NULL, &from, copy);
    if (st == GOPT_OK)
        put(w, copy, k->range.bytes);
    gi_free(s->e->cx, copy);
    return st;
}

static gopt_status write_all(saver *s, writer *w)
{
    const gi_str *index[] = { &s->facts, &s->text, &s->plans, &s->tensors };
    static const uint8_t zeros[GI_PLAN_ALIGN];
    uint64_t sums = s->end, at = GI_PLAN_HEADER;
    gi_str header;
    gi_str_init(&header, s->a);
    gi_str_init(&w->sums, s->a);
    for (size_t i = 0; i < GI_COUNT(index); i++) {
        GI_NEED(!index[i]->failed);
        sums += index[i]->n;
    }
    const uint64_t chunks = sums / GI_PLAN_CHUNK + (sums % GI_PLAN_CHUNK != 0), size = sums + 8 * (chunks + 1);
    gi_str_addn(&header, GI_PLAN_MAGIC, 8);
    gi_put_u32(&header, GI_PLAN_FORMAT);
    gi_put_u32(&header, GI_PLAN_ORDER);
    gi_put_u64(&header, size);
    gi_put_u64(&header, s->end);
    gi_put_u64(&header, sums - s->end);
    gi_put_u64(&header, sums);
    gi_put_u64(&header, s->cold);
    GI_NEED(!header.failed);
    gi_put_u64(&header, gi_hash(header.p, GI_PLAN_HEADER - 8, 0));
    GI_NEED(!header.failed);
    gi_out_expect(w->o, size);
    put(w, header.p, GI_PLAN_HEADER);
    for (size_t i = 0; i < s->pieces.n; i++)
        GI_TRY(put_piece(s, w, &s->pieces.p[i], &at));
    put(w, zeros, s->end - at);
    for (size_t i = 0; i < GI_COUNT(index); i++)
        put(w, index[i]->p, index[i]->n);
    if (w->n)
        end_chunk(w);
    GI_NEED(!w->sums.failed);
    gi_out_write(w->o, w->sums.p, w->sums.n);
    gi_str last;
    gi_str_init(&last, s->a);
    gi_put_u64(&last, gi_hash(w->sums.p, w->sums.n, size));
    GI_NEED(!last.failed);
    gi_out_write(w->o, last.p, last.n);
    return GOPT_OK;
}

static gopt_status write_file(saver *s, const char *path)
{
    writer w = { .chunk = gi_alloc(s->e->cx, GI_PLAN_CHUNK) };
    GI_NEED(w.chunk);
    gopt_status st = gi_out_open(s->e->cx, path, &w.o);
    if (st == GOPT_OK) {
        st = write_all(s, &w);
        if (st == GOPT_OK)
            st = gi_out_commit_safely(w.o);
        else
            gi_out_abort(w.o);
    }
    gi_free(s->e->cx, w.chunk);
    return st;
}

static gopt_status save(saver *s, const char *path)
{
    struct gopt_engine *e = s->e;
    gi_str *const all[] = { &s->facts, &s->text, &s->plans, &s->tensors };
    for (size_t i = 0; i < GI_COUNT(all); i++)
        gi_str_init(all[i], s->a);
    gi_map_init(&s->piece_of, s->a);
    gi_map_init(&s->number_of, s->a);
    gi_map_init(&s->packed, s->a);
    s->end = GI_PLAN_HEADER;
    s->g = e->is_static && e->plans[0] ? e->plans[0]->graph : e->graph;
    GI_TRY(put_facts(s));
    GI_TRY(put_graph(s));
    GI_TRY(put_plans(s));
    GI_TRY(put_tensors(s, s->inputs, s->n_inputs));
    GI_TRY(put_tensors(s, (const gopt_tensor *const *)s->answers, s->n_answers));
    GI_TRY(put_weights(s)); /* last, since the cold ones end the data */
    return write_file(s, path);
}

gopt_status gopt_plan_save(gopt_engine *e, const char *path, const gopt_tensor *const *inputs)
{
    if (e->options.reference)
        return gi_fail(e->cx, GOPT_USAGE, NULL, "leave --level 0 out",
                       "what runs by reference evaluation has no plan to be written");
    if (!e->options.for_plan && !e->file)
        return gi_fail(e->cx, GOPT_USAGE, NULL, "set for_plan in its options",
                       "the engine was not made to have its plan written");
    saver s = { .e = e, .inputs = inputs, .a = gi_arena_create(e->cx) };
    GI_NEED(s.a);
    gopt_status st = make_answers(&s);
    if (st == GOPT_OK) {
        pthread_mutex_lock(&e->lock);
        st = save(&s, path);
        pthread_mutex_unlock(&e->lock);
    }
    for (size_t i = 0; i < s.n_answers; i++)
        gopt_tensor_unref(s.answers[i]);
    gi_arena_destroy(s.a);
    return st;
}
