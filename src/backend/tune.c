/* Tuning in place.
 *
 * A candidate timed alone, with its operands in the cache and nobody else on the machine, promises what it does not
 * keep inside of the network. So candidates are timed where they will run, in whole sweeps of the plan, with its real
 * buffers:
 *
 *   round 0   the plan as it would be without tuning
 *   round r   each step by its r-th candidate, where it has so many; in each round several sweeps, of which each
 *             step's median counts
 *   at last   the plan of the best candidates against that of round 0, turn by turn, and it is taken only where it is
 *             faster by more than the turns differ among each other
 *
 * A round's plan is made, run and let go of before the next; its weights are those of round 0 where they are packed
 * alike, so what is held beside that plan is what one round packs otherwise. */
#include "backend/tune.h"

#include <math.h>
#include <stdlib.h>

#include "backend/frame.h"

enum {
    MOST_ROUNDS = 16,
    SWEEPS = 7, /* of a round, after one that warms up */
    FEWEST_TURNS = 7,
    MOST_TURNS = 41
};
static const double ROUNDS_S = 5, TURNS_S = 1.0; /* seconds that they may take */
static const double TOO_SLOW = 3;                /* not timed: estimated at so many times the default's estimate */

typedef struct tuned_step {
    gi_node *node;
    gopt_tactic_info *c; /* the default first */
    size_t n, best;
    double default_ms;
    char key[33];
} tuned_step;

typedef struct tuner {
    struct gopt_engine *e;
    gi_block *block;
    gi_arena *a;
    gi_run_state run;
    const gopt_tensor **in;
    gopt_tensor **made; /* of `in`, those that are ours */
    gi_vec(tuned_step) steps;
    bool chosen; /* a step has more than one candidate */
    double started;
} tuner;

/* ---- running a plan ---- */

typedef struct framed {
    gi_plan *p;
    gi_arena *plan_arena, *arena;
    gi_frame *f;
    gopt_step_info *infos;
} framed;

static void let_go(framed *k)
{
    gi_frame_destroy(k->f);
    gi_plan_release(k->p);
    gi_arena_destroy(k->arena);
    gi_arena_destroy(k->plan_arena);
    *k = (framed){ 0 };
}

static gopt_status fill(tuner *t, framed *k)
{
    k->plan_arena = gi_arena_create(t->e->cx);
    k->arena = gi_arena_create(t->e->cx);
    GI_NEED(k->plan_arena && k->arena);
    GI_TRY(gi_plan_build(t->e, t->block, k->plan_arena, NULL, &k->p));
    if (k->p->known)
        return GOPT_OK;
    GI_TRY(gi_frame_create(k->p, &t->run, k->arena, &k->f));
    k->infos = GI_NEW_ARRAY(k->arena, gopt_step_info, gi_frame_list(k->f, NULL, 0) + 1);
    GI_NEED(k->infos);
    (void)gi_frame_list(k->f, k->infos, 0);
    for (uint32_t i = 0; i < t->block->n_params; i++)
        gi_frame_set(k->f, k->p->params[i], t->in[i]);
    return GOPT_OK;
}

/* A plan of these wants (node id + 1 → tactic; NULL: as the backend thinks), ready to run. */
static gopt_status make(tuner *t, gi_map *wants, framed *k)
{
    *k = (framed){ 0 };
    t->e->wants = wants;
    const gopt_status st = fill(t, k);
    t->e->wants = NULL;
    if (st != GOPT_OK)
        let_go(k);
    return st;
}

static gopt_status sweep(tuner *t, framed *k, bool each_step, double *ms)
{
    t->run.profile = each_step;
    gi_pool_enter(t->run.pool);
    const double start = gi_now();
    const gopt_status st = gi_frame_run(k->f);
    *ms = 1e3 * (gi_now() - start);
    gi_pool_leave(t->run.pool);
    t->run.profile = false;
    return st;
}

/* ---- rounds ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, ascending);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* The candidates of a step, the one that runs it first. Reference evaluation is none, where it is not that one. */
static gopt_status add_step(tuner *t, const gi_plan *p, const gi_plan_step *s)
{
    tuned_step k = { .node = s->node };
    double expected = 0;
    if (s->kind != GI_STEP_COMPILED || s->device || s->s.want)
        return GOPT_OK;
    k.c = GI_NEW_ARRAY(t->a, gopt_tactic_info, s->s.n_tactics + 1);
    GI_NEED(k.c);
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < s->s.n_tactics; i++) {
            const gopt_tactic_info *c = &s->s.tactics[i];
            if (!c->takes || c->chosen != (turn == 0) || k.n == MOST_ROUNDS)
                continue;
            if (turn == 0)
                expected = c->estimate_ms;
            else if ((expected > 0 && c->estimate_ms > TOO_SLOW * expected) || s->s.alias)
                continue;
            k.c[k.n] = *c;
            k.c[k.n].name = gi_arena_str(t->a, c->name);
            k.c[k.n].label = gi_arena_str(t->a, c->label);
            k.c[k.n].why = NULL;
            GI_NEED(k.c[k.n++].name);
        }
    if (!k.n)
        return GOPT_OK;
    t->chosen |= k.n > 1;
    gi_step asked = s->s; /* as `compile` was given it: what it changed is no part of the key */
    GI_TRY(gi_plan_step_of(s->node, s->s.n_out, t->a, t->a, &asked));
    asked.plan = s->s.plan;
    GI_TRY(gi_tune_key(p, &asked, t->a, k.key));
    GI_NEED(gi_push(t->a, &t->steps, k));
    return GOPT_OK;
}

/* Times every step's candidate of that round, which stands in the plan. */
static gopt_status time_round(tuner *t, framed *k, size_t round)
{
    double *ms = GI_NEW_ARRAY(k->arena, double, (t->steps.n + 1) * SWEEPS), total;
    gopt_step_info **info = GI_NEW_ARRAY(k->arena, gopt_step_info *, t->steps.n + 1);
    GI_NEED(ms && info);
    for (size_t i = 0; i < t->steps.n; i++)
        for (size_t s = 0; s < k->p->steps.n && !info[i]; s++)
            if (k->p->steps.p[s].node == t->steps.p[i].node)
                info[i] = k->f->steps[s].info;
    GI_TRY(sweep(t, k, true, &total));
    for (int r = 0; r < SWEEPS; r++) {
        GI_TRY(sweep(t, k, true, &total));
        for (size_t i = 0; i < t->steps.n; i++)
            ms[i * SWEEPS + (size_t)r] = info[i] ? info[i]->ms : 0;
    }
    for (size_t i = 0; i < t->steps.n; i++) {
        tuned_step *s = &t->steps.p[i];
        if (round < s->n && info[i])
            s->c[round].ms = median(ms + i * SWEEPS, SWEEPS);
    }
    return GOPT_OK;
}

static gopt_status want(gi_map *wants, const tuned_step *s, size_t candidate)
{
    GI_NEED(gi_map_put(wants, (uint64_t)s->node->id + 1, &s->c[candidate]));
    return GOPT_OK;
}

static gopt_status time_rounds(tuner *t, framed *first)
{
    size_t rounds = 1;
    for (size_t i = 0; i < t->steps.n; i++)
        rounds = t->steps.p[i].n > rounds ? t->steps.p[i].n : rounds;
    GI_TRY(time_round(t, first, 0));
    for (size_t r = 1; r < rounds && gi_now() - t->started < ROUNDS_S; r++) {
        framed k;
        gi_map wants;
        gi_map_init(&wants, t->a);
        for (size_t i = 0; i < t->steps.n; i++)
            GI_TRY(want(&wants, &t->steps.p[i], r < t->steps.p[i].n ? r : 0));
        GI_TRY(make(t, &wants, &k));
        const gopt_status st = time_round(t, &k, r);
        let_go(&k);
        GI_TRY(st);
    }
    return GOPT_OK;
}

/* The candidate that took the least, over all steps that are known as this one: they shall run alike, as they will
 * when the cache tells. */
static size_t best_of(const tuner *t, const tuned_step *s)
{
    double least = 0;
    size_t best = 0;
    for (size_t c = 0; c < s->n; c++) {
        double sum = 0;
        bool timed = true;
        for (size_t i = 0; i < t->steps.n && timed; i++) {
            const tuned_step *k = &t->steps.p[i];
            if (strcmp(k->key, s->key) != 0)
                continue;
            timed = c < k->n && k->c[c].ms > 0;
            sum += timed ? k->c[c].ms : 0;
        }
        if (timed && (c == 0 || sum < least)) {
            least = sum;
            best = c;
        }
    }
    return best;
}

/* ---- whole plans ---- */

/* Is b faster than a by more than the turns differ? In turns, so that what else the machine does meets both. */
static gopt_status is_faster(tuner *t, framed *a, framed *b, bool *faster, double *gain, double *whole)
{
    double gains[MOST_TURNS], off[MOST_TURNS], of_a[MOST_TURNS], x, y;
    size_t n = 0;
    GI_TRY(sweep(t, a, false, &x));
    GI_TRY(sweep(t, b, false, &y));
    const double start = gi_now();
    while (n < MOST_TURNS && (n < FEWEST_TURNS || gi_now() - start < TURNS_S)) {
        for (int i = 0; i < 2; i++) /* the first run brings its weights back into the caches */
            GI_TRY(sweep(t, n % 2 ? b : a, false, n % 2 ? &y : &x));
        for (int i = 0; i < 2; i++)
            GI_TRY(sweep(t, n % 2 ? a : b, false, n % 2 ? &x : &y));
        of_a[n] = x;
        gains[n++] = x - y;
    }
    *gain = median(gains, n);
    *whole = median(of_a, n);
    for (size_t i = 0; i < n; i++)
        off[i] = fabs(gains[i] - *gain);
    *faster = *gain > 2 * 1.4826 * median(off, n) / sqrt((double)n) && *gain > 0;
    return GOPT_OK;
}

/* ---- the whole ---- */

static gopt_status make_inputs(tuner *t, const gopt_tensor *const *inputs)
{
    const uint32_t n = t->block->n_params;
    t->in = GI_NEW_ARRAY(t->a, const gopt_tensor *, n + 1);
    t->made = GI_NEW_ARRAY(t->a, gopt_tensor *, n + 1);
    GI_NEED(t->in && t->made);
    for (uint32_t i = 0; i < n; i++) {
        const gi_type *type = t->block->params[i]->type;
        int64_t dims[GOPT_MAX_RANK];
        if (inputs) {
            t->in[i] = inputs[i];
            continue;
        }
        if (type->kind != GOPT_TENSOR || type->dtype == GOPT_STRING || !gi_type_static_dims(type, dims))
            return GOPT_UNSUPPORTED;
        GI_TRY(gopt_tensor_create(t->e->cx, type->dtype, type->rank, dims, &t->made[i]));
        t->in[i] = t->made[i];
        const int64_t elements = gopt_tensor_elements(t->in[i]);
        for (int64_t k = 0; type->dtype == GOPT_F32 && k < elements; k++)
            ((float *)t->made[i]->data)[k] = (float)(k % 13) * 0.125f - 0.75f;
    }
    return GOPT_OK;
}

static gopt_status start(tuner *t)
{
    struct gopt_engine *e = t->e;
    t->run.cx = e->cx;
    t->run.scratch = gi_arena_create(e->cx);
    t->run.pool = gi_pool_create(e->cx, e->options.threads);
    GI_NEED(t->run.scratch && t->run.pool);
    return e->backend[0]->context_open ? e->backend[0]->context_open(e->device[0], e->cx, &t->run.backend_context[0])
                                       : GOPT_OK;
}

static void stop(tuner *t)
{
    if (t->run.backend_context[0])
        t->e->backend[0]->context_close(t->e->device[0], t->run.backend_context[0]);
    gi_pool_destroy(t->run.pool);
    gi_arena_destroy(t->run.scratch);
    for (uint32_t i = 0; t->made && i < t->block->n_params; i++)
        gopt_tensor_unref(t->made[i]);
}

/* The best candidates, compared with the default plan as a whole. */
static gopt_status decide(tuner *t, framed *first, gi_tuned *out)
{
    framed best = { 0 };
    const gi_place at = { .file = t->block->graph->file };
    size_t others = 0;
    bool faster = false;
    double gain = 0, whole = 0;
    gi_map *wants = &out->wants;
    for (size_t i = 0; i < t->steps.n; i++) {
        tuned_step *s = &t->steps.p[i];
        s->best = best_of(t, s);
        others += s->best != 0;
        GI_TRY(want(wants, s, s->best));
    }
    gopt_status st = GOPT_OK;
    if (others) {
        st = make(t, wants, &best);
        if (st == GOPT_OK)
            st = is_faster(t, first, &best, &faster, &gain, &whole);
    }
    if (st == GOPT_OK && faster)
        gi_note(t->e->cx, &at, NULL, "tuned: %zu of %zu steps run by other tactics than expected, %.3g ms less of %.3g",
                others, t->steps.n, gain, whole);
    else if (st == GOPT_OK)
        gi_note(t->e->cx, &at, NULL, "tuned: nothing is faster than the plan as expected, beyond the noise");
    for (size_t i = 0; i < t->steps.n && st == GOPT_OK; i++) {
        tuned_step *s = &t->steps.p[i];
        s->best = faster ? s->best : 0;
        st = want(wants, s, s->best);
    }
    let_go(&best);
    return st;
}

static gopt_status note(tuner *t, gi_tuned *out)
{
    for (size_t i = 0; i < t->steps.n; i++) {
        tuned_step *s = &t->steps.p[i];
        const gi_timing found = { s->c[s->best].name, s->c[s->best].variant, s->c[s->best].ms };
        const char *ops = gi_plan_name_ops(t->a, s->node);
        gi_str line;
        gi_str_init(&line, t->a);
        gi_str_addf(&line, "%s", ops ? ops : "");
        for (uint32_t k = 0; k < s->node->n_out && k < 1; k++) {
            gi_str_add(&line, " ");
            gi_type_print(&line, s->node->out[k]->type);
        }
        GI_NEED(!line.failed && gi_timings_put(t->e->timings, s->key, line.p, &found));
        GI_NEED(gi_map_put(&out->timed, (uint64_t)s->node->id + 1, s));
    }
    return gi_timings_save(t->e->timings);
}

/* A region falls apart once, for all plans of the graph. */
static gopt_status keep_fell(tuner *t, const gi_map *from, gi_map *to)
{
    for (size_t i = 0; i < from->cap; i++)
        if (from->values[i]) {
            char *text = gi_arena_str(t->a, from->values[i]);
            GI_NEED(text && gi_map_put(to, from->keys[i], text));
        }
    return GOPT_OK;
}

static gopt_status tune(tuner *t, const gopt_tensor *const *inputs, gi_tuned *out)
{
    framed first = { 0 };
    GI_TRY(make_inputs(t, inputs));
    GI_TRY(start(t));
    GI_TRY(make(t, NULL, &first));
    gopt_status st = keep_fell(t, &first.p->fell, &out->fell);
    for (size_t i = 0; i < first.p->steps.n && st == GOPT_OK; i++)
        st = add_step(t, first.p, &first.p->steps.p[i]);
    if (st == GOPT_OK && t->chosen)
        st = time_rounds(t, &first);
    if (st == GOPT_OK && t->chosen)
        st = decide(t, &first, out);
    if (st == GOPT_OK)
        st = note(t, out);
    let_go(&first);
    return st;
}

gopt_status gi_tune(struct gopt_engine *e, gi_block *b, const gopt_tensor *const *inputs, gi_arena *a, gi_tuned *out)
{
    tuner t = { .e = e, .block = b, .a = a, .started = gi_now() };
    *out = (gi_tuned){ 0 };
    gi_map_init(&out->wants, a);
    gi_map_init(&out->timed, a);
    gi_map_init(&out->fell, a);
    const size_t diags = e->cx->n_diags;
    e->tuning = true;
    gopt_status st = tune(&t, inputs, out);
    e->tuning = false;
    stop(&t);
    if (st == GOPT_BAD_INPUT || st == GOPT_UNSUPPORTED) { /* of what was made up to run it */
        e->cx->n_diags = diags;
        gi_note(e->cx, &(gi_place){ .file = b->graph->file }, NULL,
                "not tuned: the network does not run on inputs that are made up");
        gi_map_init(&out->wants, a);
        gi_map_init(&out->timed, a);
        st = GOPT_OK;
    }
    return st;
}

size_t gi_tuned_list(const gi_tuned *t, const gi_node *n, gopt_tactic_info **list)
{
    tuned_step *s = gi_map_get(&t->timed, (uint64_t)n->id + 1);
    if (!s)
        return 0;
    for (size_t i = 0; i < s->n; i++) {
        s->c[i].chosen = i == s->best;
        if (i != s->best)
            s->c[i].why = s->c[i].ms <= 0                 ? "there was no time to time it"
                          : s->c[i].ms < s->c[s->best].ms ? "faster by itself, but the whole plan was not"
                                                          : "it took longer when tuning";
    }
    *list = s->c;
    return s->n;
}
