/* Which tactic runs a step.
 *
 *     rows of tactics.def, in order          asked          states ms      taken
 *       conv_depthwise                       declines
 *       winograd, variant 0                  takes it       0.41
 *       winograd, variant 1                  takes it       0.38           ✓ the least of those that state one
 *       conv_direct                          takes it       0.52
 *
 * A row without `variants` states no estimate: where nothing has taken the step yet it is prepared for good at once
 * and ends the search, and where something has, it is not asked. Rows with `variants` are asked dry, and the one
 * with the least estimate is then prepared. So where nobody states an estimate, the first row that takes the step
 * wins. A tuner asks every row (s->ask_all), and then for one of them (s->want). */
#include "backend/cpu/cpu.h"

#include <inttypes.h>
#include <stdlib.h>

static const gi_tactic *const tactics[] = {
#define TACTIC(NAME, ...) &gi_tactic_##NAME,
#include "backend/cpu/tactics.def"
#undef TACTIC
};

typedef struct chooser {
    gi_cpu *d;
    gi_step *s;
    gi_cpu_step *c; /* what the step will have */
    gi_step given;
    gi_arena *a; /* of the list */
    gi_vec(gopt_tactic_info) list;
    const gi_tactic *best; /* among those asked dry */
    int best_variant;
    double best_ms;
} chooser;

/* ---- figures ---- */

/* What a core does at least where steps are bound by arithmetic, in billions a second; what all cores read. Only
 * ratios matter: every estimate of a step is made of the same figures. */
double gi_cpu_ms(const gi_cpu *d, double flop, double bytes)
{
    static const double core[] = { [GK_BASE] = 35, [GK_AVX2] = 85, [GK_AVX512] = 110 }, memory = 15;
    const double work = flop * 1e-6 / (core[d->isa] * d->threads), moving = bytes * 1e-6 / memory;
    return work > moving ? work : moving;
}

gopt_status gi_cpu_decline(gi_cpu_step *c, const char *fmt, ...)
{
    if (c->dry && !c->asked)
        return GOPT_OK; /* nobody will read it */
    va_list args;
    va_start(args, fmt);
    c->why = gi_arena_vprintf(c->arena, fmt, args);
    va_end(args);
    return GOPT_OK;
}

static double conversions_ms(const gi_cpu *d, const gi_step *s, const gi_cpu_step *c)
{
    double bytes = 0;
    for (uint32_t i = 0; i < s->n_in; i++)
        if (!gi_cpu_layouts_agree(d, c->want_in[i], c->have_in[i], s->in[i]->type))
            bytes += 2.0 * (double)gi_cpu_layout_bytes(d, GI_BLOCKED, s->in[i]->type);
    for (uint32_t i = 0; i < s->n_out; i++)
        if (!gi_cpu_layouts_agree(d, c->want_out[i], c->have_out[i], s->out[i]->type))
            bytes += 2.0 * (double)gi_cpu_layout_bytes(d, GI_BLOCKED, s->out[i]->type);
    return gi_cpu_ms(d, 0, bytes);
}

/* ---- asking ---- */

/* Has the tactic prepare s and c, as they were given. */
static gopt_status prepare(gi_cpu *d, const gi_step *given, const gi_tactic *t, int variant, gi_step *s, gi_cpu_step *c,
                           bool *took)
{
    *took = false;
    *s = *given;
    s->state = c;
    c->own = NULL;
    c->variant = variant;
    c->estimate_ms = 0;
    c->packed_bytes = 0;
    c->label = c->why = NULL;
    c->want_out = GI_NEW_ARRAY(c->arena, gi_layout, s->n_out + 1);
    c->have_out = GI_NEW_ARRAY(c->arena, gi_layout, s->n_out + 1);
    GI_NEED(c->want_out && c->have_out);
    GI_TRY(gi_cpu_set_in(s, c, s->n_in, s->in));
    for (uint32_t k = 0; k < s->n_out; k++)
        c->want_out[k] = c->have_out[k] = gi_cpu_layout(s->plan, s->out[k]);
    GI_TRY(t->prepare(d, s, c, took));
    if (*took && d->workspace && s->scratch > d->workspace && t != &gi_tactic_reference) {
        const uint64_t asked = s->scratch;
        *took = false;
        if (t->release)
            t->release(c);
        GI_TRY(gi_cpu_decline(c, "it works in %" PRIu64 " bytes, and the limit is %" PRIu64, asked, d->workspace));
    }
    if (*took) {
        c->tactic = t;
        s->tactic = t->name;
        s->packs = t->packs;
    } else {
        gi_cpu_unpack(d, c);
    }
    return GOPT_OK;
}

static gopt_status note(chooser *h, const gi_tactic *t, const gi_step *s, const gi_cpu_step *c, bool took)
{
    if (!h->a || (!took && !c->why))
        return GOPT_OK;
    const gopt_tactic_info info = { .name = t->name,
                                    .variant = c->variant,
                                    .label = gi_arena_str(h->a, c->label),
                                    .takes = took,
                                    .estimate_ms = c->estimate_ms,
                                    .workspace_bytes = took ? s->scratch : 0,
                                    .weight_bytes = s->weight_bytes ? s->weight_bytes : c->packed_bytes,
                                    .why = gi_arena_str(h->a, c->why) };
    GI_NEED(gi_push(h->a, &h->list, info));
    return GOPT_OK;
}

/* Asks one way to run the step without packing anything. */
static gopt_status ask(chooser *h, const gi_tactic *t, int variant)
{
    gi_arena *arena = gi_arena_create(h->d->cx);
    GI_NEED(arena);
    gi_step s;
    gi_cpu_step *c = GI_NEW(arena, gi_cpu_step);
    gopt_status st = GOPT_NO_MEMORY;
    bool took = false;
    if (c) {
        c->arena = arena;
        c->dry = true;
        c->asked = h->a != NULL;
        st = prepare(h->d, &h->given, t, variant, &s, c, &took);
    }
    if (st == GOPT_OK && took && c->estimate_ms > 0)
        c->estimate_ms += conversions_ms(h->d, &s, c);
    if (st == GOPT_OK)
        st = note(h, t, &s, c, took);
    if (st == GOPT_OK && took && (!h->best || (c->estimate_ms > 0 && h->best_ms > 0 && c->estimate_ms < h->best_ms))) {
        h->best = t;
        h->best_variant = variant;
        h->best_ms = c->estimate_ms;
    }
    if (c && took && t->release)
        t->release(c);
    if (c)
        gi_cpu_unpack(h->d, c);
    gi_arena_destroy(arena);
    return st;
}

/* Prepares for good. */
static gopt_status settle(chooser *h, const gi_tactic *t, int variant, bool *took)
{
    GI_TRY(prepare(h->d, &h->given, t, variant, h->s, h->c, took));
    for (size_t i = 0; i < h->list.n; i++)
        if (h->list.p[i].variant == variant && !strcmp(h->list.p[i].name, t->name)) {
            h->list.p[i].chosen = *took;
            h->list.p[i].weight_bytes = h->s->weight_bytes;
            return GOPT_OK;
        }
    const size_t n = h->list.n;
    GI_TRY(note(h, t, h->s, h->c, *took));
    if (h->list.n > n)
        h->list.p[n].chosen = *took;
    return GOPT_OK;
}

/* "NAME" or "NAME:VARIANT" among names with commas between. */
static bool is_named(const char *names, const gi_tactic *t, int *variant)
{
    const size_t n = strlen(t->name);
    for (const char *p = names; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (!strncmp(p, t->name, n) && (!p[n] || p[n] == ',' || p[n] == ':')) {
            *variant = p[n] == ':' ? atoi(p + n + 1) : 0;
            return true;
        }
    }
    return false;
}

/* What was asked for by name, where it takes the step. */
static gopt_status choose_named(chooser *h, bool *took)
{
    const gopt_tactic_info *want = h->given.want;
    for (size_t i = 0; i < GI_COUNT(tactics) && !*took; i++) {
        if (want && !strcmp(want->name, tactics[i]->name))
            GI_TRY(settle(h, tactics[i], want->variant, took));
    }
    for (size_t i = 0; i < GI_COUNT(tactics) && !*took && h->d->prefer; i++) {
        int variant;
        if (is_named(h->d->prefer, tactics[i], &variant))
            GI_TRY(settle(h, tactics[i], variant, took));
    }
    return GOPT_OK;
}

static gopt_status choose_listed(chooser *h, bool *took)
{
    const gi_cpu *d = h->d;
    for (size_t i = 0; i < GI_COUNT(tactics) && !*took; i++) {
        const gi_tactic *t = tactics[i];
        const bool last = t == &gi_tactic_reference;
        if (last ? h->c->dry || h->best : d->reference || (!t->variants && h->best && !h->given.ask_all))
            continue;
        if (!t->variants && !h->given.ask_all) {
            GI_TRY(settle(h, t, 0, took));
            continue;
        }
        const int n = t->variants ? t->variants(d, &h->given) : 1;
        for (int v = 0; v < n; v++)
            GI_TRY(ask(h, t, v));
    }
    return h->best && !*took ? settle(h, h->best, h->best_variant, took) : GOPT_OK;
}

/* Says of those that could have run the step why they do not. */
static gopt_status explain(chooser *h)
{
    const gopt_tactic_info *chosen = NULL;
    for (size_t i = 0; i < h->list.n; i++)
        if (h->list.p[i].chosen)
            chosen = &h->list.p[i];
    for (size_t i = 0; i < h->list.n; i++) {
        gopt_tactic_info *k = &h->list.p[i];
        if (!k->takes || k == chosen || k->why)
            continue;
        if (h->given.want)
            k->why = "tuning chose another";
        else if (chosen && k->estimate_ms > 0 && chosen->estimate_ms > 0)
            k->why = gi_arena_printf(h->a, "it would take %.4g ms, the one chosen %.4g", k->estimate_ms,
                                     chosen->estimate_ms);
        else
            k->why = "the one chosen comes first";
        GI_NEED(k->why);
    }
    return GOPT_OK;
}

gopt_status gi_cpu_choose(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_arena *a)
{
    chooser h = { .d = d, .s = s, .c = c, .given = *s, .a = a };
    bool took = false;
    if (!c->dry && !d->reference)
        GI_TRY(choose_named(&h, &took));
    if (!took)
        GI_TRY(choose_listed(&h, &took));
    if (!took)
        return GOPT_INTERNAL;
    if (a)
        GI_TRY(explain(&h));
    s->tactics = h.list.p;
    s->n_tactics = h.list.n;
    return GOPT_OK;
}
