/* Whether a plan file fits: this machine's devices, and what building comes to step by step. */
#include "backend/plan_file.h"

#include <stdio.h>
#include <stdlib.h>

const void *gi_kept_next(struct gi_step *s, uint64_t bytes, uint64_t how)
{
    const gi_kept_pack *k = s->kept && s->kept_at < s->kept->n_packs ? &s->kept->packs[s->kept_at++] : NULL;
    if (k && k->bytes == bytes && k->how == how)
        return k->data;
    s->kept_missed = true;
    return NULL;
}

const gi_kept_plan *gi_plan_file_find(const gopt_plan *p, const int64_t *key, size_t n_key)
{
    for (size_t i = 0; i < p->n_plans; i++)
        if (p->plans[i].n_key == n_key && (!n_key || !memcmp(p->plans[i].key, key, n_key * sizeof *key)))
            return &p->plans[i];
    return NULL;
}

gopt_status gi_plan_file_misfit(struct gopt_engine *e, const gi_kept_step *k, const char *op, const char *tactic)
{
    const gi_place at = { .file = e->file->file->path, .node = k ? k->name : NULL, .op = op };
    static const char hint[] = "build the plan with this gopt: gopt run MODEL --plan FILE";
    if (!k)
        return gi_fail(e->cx, GOPT_UNSUPPORTED, &at, hint, "the plan holds fewer steps than its graph comes to here");
    if (tactic)
        return gi_fail(e->cx, GOPT_UNSUPPORTED, &at, hint,
                       "the plan runs this step by %s, which this build or machine lacks: it would take %s",
                       k->tactic.name, tactic);
    return gi_fail(e->cx, GOPT_UNSUPPORTED, &at, hint, "the plan has %s on %s where %s comes next here", k->op,
                   k->device ? "the device" : "the cpu", op);
}

/* The part of "a=x; b=y" that stands for `name`; "" where there is none. */
static void part_of(const char *text, const char *name, size_t n, char *out, size_t size)
{
    out[0] = 0;
    for (const char *p = text; p && *p; p = strstr(p, "; ") ? strstr(p, "; ") + 2 : NULL) {
        const size_t part = strcspn(p, ";");
        if (part > n && p[n] == '=' && !strncmp(p, name, n)) {
            snprintf(out, size, "%.*s", (int)(part - n - 1), p + n + 1);
            return;
        }
    }
}

/* Names the first of the facts in `there` that is another here. */
static gopt_status same_machine(struct gopt_engine *e, const char *there, const char *here)
{
    for (const char *p = there; p && *p; p = strstr(p, "; ") ? strstr(p, "; ") + 2 : NULL) {
        const size_t n = strcspn(p, "=");
        char want[256], have[256], name[64];
        part_of(there, p, n, want, sizeof want);
        part_of(here, p, n, have, sizeof have);
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        if (strcmp(want, have) != 0)
            return gi_fail(e->cx, GOPT_UNSUPPORTED, &(gi_place){ .file = e->file->file->path },
                           "build the plan on this machine: gopt run MODEL --plan FILE",
                           "the plan is for another machine: its %s is %s, here it is %s", name, want,
                           *have ? have : "none");
    }
    return GOPT_OK;
}

gopt_status gi_plan_file_fits(struct gopt_engine *e)
{
    gopt_plan *p = e->file;
    for (int d = 0; d < 2; d++) {
        const gi_backend *b = e->backend[d];
        char name[16];
        snprintf(name, sizeof name, "machine%d", d);
        const char *there = gopt_plan_find_fact(p, name);
        if (!b)
            continue;
        const char *here = b->machine ? b->machine(e->device[d], e->arena) : "";
        GI_NEED(here);
        if (there && *there)
            GI_TRY(same_machine(e, there, here));
        if (b->restore && p->state[d].bytes)
            GI_TRY(b->restore(e->device[d], p->file->data + p->state[d].at, (size_t)p->state[d].bytes,
                              e->options.trust_plan));
    }
    return GOPT_OK;
}

/* ---- an engine of a plan ---- */

/* The value of an option as the plan has it; refuses another that was asked for. */
static gopt_status take_text(const gopt_plan *p, const char *name, const char *option, const char **value)
{
    const char *there = gopt_plan_find_fact(p, name);
    if (!there || !*there)
        return GOPT_OK;
    if (*value && strcmp(*value, there) != 0)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, &(gi_place){ .file = p->file->path },
                       "leave the option out, or build another plan with it",
                       "the plan was built with %s %s, and %s is asked for", option, there, *value);
    *value = there;
    return GOPT_OK;
}

static int number_of(const gopt_plan *p, const char *name)
{
    const char *text = gopt_plan_find_fact(p, name);
    const long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 && n < 4096 ? (int)n : 0;
}

static bool names_backend(const char *asked, const char *backend)
{
    const size_t n = strcspn(asked, ":");
    return strlen(backend) == n && !strncmp(asked, backend, n);
}

static gopt_status options_of(const gopt_plan *p, const gopt_engine_options *asked, gopt_engine_options *o)
{
    const char *backend = gopt_plan_find_fact(p, "backend");
    *o = asked ? *asked : (gopt_engine_options){ 0 };
    if (o->backend && !names_backend(o->backend, backend))
        return gi_fail(p->cx, GOPT_UNSUPPORTED, &(gi_place){ .file = p->file->path },
                       "leave the option out, or build another plan with it",
                       "the plan was built for backend %s, and %s is asked for", backend, o->backend);
    if (!o->backend)
        o->backend = gopt_plan_find_fact(p, "asked");
    GI_TRY(take_text(p, "precision", "--precision", &o->precision));
    char isa[32];
    part_of(gopt_plan_find_fact(p, "machine0"), "isa", 3, isa, sizeof isa);
    if (*isa) {
        if (o->isa && strcmp(o->isa, isa) != 0)
            return gi_fail(p->cx, GOPT_UNSUPPORTED, &(gi_place){ .file = p->file->path },
                           "leave the option out, or build another plan with it",
                           "the plan was built for %s, and --isa %s is asked for", isa, o->isa);
        GI_NEED(o->isa = gi_arena_str(p->arena, isa));
    }
    o->fp = (gopt_fp)number_of(p, "fp") > GOPT_FP_FAST ? GOPT_FP_REASSOC : (gopt_fp)number_of(p, "fp");
    char unit[32];
    part_of(gopt_plan_find_fact(p, "machine0"), "bf16", 4, unit, sizeof unit);
    if (*unit && strcmp(unit, "none") != 0 && o->precision && strcmp(o->precision, "fp32") != 0 &&
        !strchr(o->precision, ':'))
        GI_NEED(o->precision = gi_arena_printf(p->arena, "%s:%s", o->precision, unit)); /* as it was chosen there */
    const int threads = number_of(p, "threads");
    if (!o->threads && threads)
        o->threads = threads;
    o->apart = o->apart || gopt_plan_find_fact(p, "apart");
    o->deterministic = o->deterministic || gopt_plan_find_fact(p, "deterministic");
    o->tune = false;
    o->timing_cache = NULL;
    o->reference = false;
    o->unfuse = NULL;
    o->take_graph = true;
    o->kernels = NULL;
    return GOPT_OK;
}

/* Packed weights of another build may lie otherwise. */
static gopt_status check_writer(const gopt_plan *p)
{
    static const char hint[] = "build it again: gopt run MODEL --plan FILE";
    const char *version = gopt_plan_find_fact(p, "gopt"), *build = gopt_plan_find_fact(p, "build");
    const gi_place at = { .file = p->file->path };
    if (strcmp(version, gopt_version()) != 0)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, &at, hint, "the plan was written by gopt %s, and this is gopt %s",
                       version, gopt_version());
    if (strcmp(build, gi_plan_build_key()) != 0)
        return gi_fail(p->cx, GOPT_UNSUPPORTED, &at, hint,
                       "the plan was written by a build of gopt with other kernels (%s), and this one's are %s", build,
                       gi_plan_build_key());
    return GOPT_OK;
}

gopt_status gopt_plan_engine(gopt_plan *p, const gopt_engine_options *asked, gopt_engine **out)
{
    gopt_engine_options o;
    gopt_graph *g;
    *out = NULL;
    GI_TRY(check_writer(p));
    GI_TRY(options_of(p, asked, &o));
    GI_TRY(gi_plan_file_graph(p, &g));
    o.plan = p;
    return gopt_engine_create(g, &o, out);
}
