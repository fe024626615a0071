/* Ranges: what f32 values reach on samples.
 *
 * A clone of the graph runs in fp32 on the cpu, its regions taken apart, so that every value is one that a step writes,
 * and each step is looked at when it has run, before its memory becomes another's. So a run takes the memory that it
 * always takes, and what stays of a sample is a number a value.
 *
 * A clone has its nodes in the order of the original: that is how values of the two find each other. */
#include <float.h>
#include <inttypes.h>
#include <math.h>

#include "backend/fp32.h"
#include "backend/frame.h"
#include "ops/infer.h"

typedef struct range {
    gi_value *v; /* of the caller's graph */
    float most;
    bool finite;
    size_t sample;
} range;

struct gopt_ranges {
    gopt_ctx *cx;
    gopt_graph *g;
    gi_arena *arena;
    gi_vec(range) all;
    gi_map place; /* id of a value of the clone + 1 → its range + 1 */
    gopt_engine *e;
    gopt_run_context *rc;
    size_t samples;
};

/* ---- looking ---- */

static void look(gopt_ranges *r, const gi_value *v, const gopt_tensor *t)
{
    const uintptr_t at = v && t && t->kind == GOPT_TENSOR && t->dtype == GOPT_F32 && t->data
                             ? (uintptr_t)gi_map_get(&r->place, (uint64_t)v->id + 1)
                             : 0;
    if (!at)
        return;
    const float *x = t->data;
    const size_t n = t->bytes / sizeof *x;
    float most = 0;
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        const float size = fabsf(x[i]);
        finite &= size <= FLT_MAX;
        most = size > most && size <= FLT_MAX ? size : most;
    }
    range *k = &r->all.p[at - 1];
    k->finite &= finite;
    if (most > k->most) {
        k->most = most;
        k->sample = r->samples;
    }
}

static void seen(void *user, const gi_value *v, const gopt_tensor *t)
{
    look(user, v, t);
}

/* ---- making ---- */

typedef struct nodes {
    gi_arena *a;
    gi_vec(gi_node *) all;
} nodes;

static bool add_node(void *arg, gi_node *n)
{
    nodes *l = arg;
    return gi_push(l->a, &l->all, n);
}

static gopt_status add_value(gopt_ranges *r, gi_value *v, const gi_value *copy)
{
    if (v->type && (v->type->kind != GOPT_TENSOR || v->type->dtype != GOPT_F32))
        return GOPT_OK;
    GI_NEED(gi_push(r->arena, &r->all, (range){ .v = v, .finite = true }));
    GI_NEED(gi_map_put(&r->place, (uint64_t)copy->id + 1, (void *)(uintptr_t)r->all.n));
    return GOPT_OK;
}

static gopt_status add_values(gopt_ranges *r, const gopt_graph *copy, gi_arena *scratch)
{
    nodes own = { .a = scratch }, its = { .a = scratch };
    GI_NEED(gi_each_node(r->g->main, add_node, &own) && gi_each_node(copy->main, add_node, &its));
    if (own.all.n != its.all.n)
        return gi_fail(r->cx, GOPT_INTERNAL, NULL, NULL, "a clone has other nodes than its graph");
    for (uint32_t i = 0; i < copy->main->n_params; i++)
        GI_TRY(add_value(r, r->g->main->params[i], copy->main->params[i]));
    for (size_t i = 0; i < own.all.n; i++)
        for (uint32_t k = 0; own.all.p[i]->op != OP_Fusion && k < own.all.p[i]->n_out; k++)
            GI_TRY(add_value(r, own.all.p[i]->out[k], its.all.p[i]->out[k]));
    return GOPT_OK;
}

static gopt_status check_shapes(const gopt_ranges *r)
{
    for (uint32_t i = 0; i < r->g->main->n_params; i++) {
        const gi_value *v = r->g->main->params[i];
        char type[256];
        if (!v->type || (v->type->kind == GOPT_TENSOR && !gi_type_is_static(v->type))) {
            (void)gopt_value_type_text(v, type, sizeof type);
            return gi_fail(r->cx, GOPT_USAGE, &(gi_place){ .file = r->g->file, .input = v->name },
                           "fix it before (gopt_graph_fix_dim, gopt_graph_fix_rest)",
                           "it is %s, and ranges are those of one shape", type);
        }
    }
    return GOPT_OK;
}

static gopt_status fill(gopt_ranges *r, const gopt_engine_options *o)
{
    gopt_graph *copy;
    GI_TRY(check_shapes(r));
    r->arena = gi_arena_create(r->cx);
    gi_arena *scratch = gi_arena_create(r->cx);
    gi_map_init(&r->place, r->arena);
    gopt_status st = r->arena && scratch ? gopt_graph_clone(r->g, &copy) : GOPT_NO_MEMORY;
    if (st == GOPT_OK) {
        st = add_values(r, copy, scratch);
        if (st == GOPT_OK)
            st = gopt_engine_create(copy,
                                    &(gopt_engine_options){ .isa = o ? o->isa : NULL,
                                                            .threads = o ? o->threads : 0,
                                                            .take_graph = true, /* its values stay themselves */
                                                            .for_plan = true,   /* as do the weights, which g shares */
                                                            .unfuse = "*",
                                                            .plain = true },
                                    &r->e);
        else
            gopt_graph_destroy(copy);
    }
    gi_arena_destroy(scratch);
    GI_TRY(st);
    GI_TRY(gopt_run_context_create(r->e, &r->rc));
    gi_run_context_watch(r->rc, seen, r);
    return GOPT_OK;
}

gopt_status gopt_ranges_create(gopt_graph *g, const gopt_engine_options *o, gopt_ranges **out)
{
    *out = NULL;
    gopt_ranges *r = gi_alloc(g->cx, sizeof *r);
    GI_NEED(r);
    r->cx = g->cx;
    r->g = g;
    const gopt_status st = fill(r, o);
    if (st != GOPT_OK) {
        gopt_ranges_destroy(r);
        return st;
    }
    *out = r;
    return GOPT_OK;
}

void gopt_ranges_destroy(gopt_ranges *r)
{
    if (!r)
        return;
    gopt_run_context_destroy(r->rc);
    gopt_engine_destroy(r->e);
    gi_arena_destroy(r->arena);
    gi_free(r->cx, r);
}

/* ---- samples ---- */

gopt_status gopt_ranges_add(gopt_ranges *r, const gopt_tensor *const *inputs)
{
    const gi_block *b = gopt_engine_graph(r->e)->main;
    for (uint32_t i = 0; i < b->n_params; i++)
        GI_TRY(gopt_run_context_set_input(r->rc, i, inputs[i]));
    for (uint32_t i = 0; i < b->n_params; i++)
        look(r, b->params[i], inputs[i]);
    GI_TRY(gopt_run(r->rc));
    r->samples++;
    return GOPT_OK;
}

bool gopt_ranges_get(const gopt_ranges *r, size_t i, gopt_range *out)
{
    if (i >= r->all.n)
        return false;
    const range *k = &r->all.p[i];
    *out = (gopt_range){ .value = k->v, .most = (double)k->most, .finite = k->finite, .sample = k->sample };
    return true;
}

gopt_status gopt_ranges_keep(gopt_ranges *r, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->all.n; i++) {
        const range *k = &r->all.p[i];
        const double most = (double)k->most;
        char does[120];
        if (most > GOPT_FP16_MOST)
            (void)snprintf(does, sizeof does, "reaches %.6g, beyond what fp16 holds (65504)", most);
        else if (most * GOPT_FP16_MARGIN > GOPT_FP16_MOST)
            (void)snprintf(does, sizeof does, "reaches %.6g, within a factor of %g of what fp16 holds (65504)", most,
                           GOPT_FP16_MARGIN);
        else if (most > 0 && most < GOPT_FP16_LEAST)
            (void)snprintf(does, sizeof does, "stays at %.3g, below the least normal number of fp16 (6.1e-05)", most);
        else
            continue;
        GI_NEED(gi_fp32_mark(k->v, does));
        kept++;
    }
    if (n)
        *n = kept;
    return GOPT_OK;
}
