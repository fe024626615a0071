/* What stays in fp32 in a plan of less precision.
 *
 * Marks are metadata, so that clones of a graph, graphs of other shapes made of it and plan files have them too, and
 * regions may be drawn and taken apart around them:
 *
 *     gopt.fp32         of a node: why the step that holds it stays in fp32
 *     gopt.fp32.N       of a node: what its result N does that halves cannot hold
 *     gopt.fp32.NAME    of the graph: the same of its input of that name
 *
 * Weights need no mark: they are looked at when they are packed. What rounding to normal halves loses is 2^-12 of a
 * weight; below the least normal half, 6.1e-5, that becomes more and more of it, until nothing is left below 3e-8. What
 * matters is not how many weights are that small but what they are beside the others: a thousand of 1e-9 beside one of
 * 1 do nothing. So the squares that are lost are held against the squares of all. */
#include "backend/fp32.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <math.h>

static const char key[] = "gopt.fp32";

/* ---- marks ---- */

static const char *find(const char *const *meta, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(meta[2 * i], name))
            return meta[2 * i + 1];
    return NULL;
}

/* Puts name and value into a list of pairs. */
static bool put(gi_arena *a, const char *const **meta, uint32_t *n, const char *name, const char *value)
{
    const char **all = GI_NEW_ARRAY(a, const char *, 2 * ((size_t)*n + 1));
    uint32_t at = 0;
    if (!all)
        return false;
    for (uint32_t i = 0; i < 2 * *n; i++)
        all[i] = (*meta)[i];
    while (at < *n && strcmp(all[2 * at], name) != 0)
        at++;
    all[2 * at] = gi_arena_str(a, name);
    all[2 * at + 1] = gi_arena_str(a, value);
    *n += at == *n;
    *meta = all;
    return all[2 * at] && all[2 * at + 1];
}

static void name_result(uint32_t i, char *name, size_t size)
{
    (void)snprintf(name, size, "%s.%" PRIu32, key, i);
}

bool gi_fp32_mark(gi_value *v, const char *does)
{
    gi_node *n = gi_value_node(v);
    char name[32];
    if (n) {
        name_result(v->index, name, sizeof name);
        return put(n->block->graph->arena, &n->meta, &n->n_meta, name, does);
    }
    if (v->kind != GI_DEF_PARAM || !v->name)
        return true;
    gopt_graph *g = v->def.block->graph;
    const char *own = gi_arena_printf(g->arena, "%s.%s", key, v->name);
    return own && put(g->arena, &g->meta, &g->n_meta, own, does);
}

static bool fits(const char *name, const char *pattern)
{
    return name && *name && (!strcmp(name, pattern) || !fnmatch(pattern, name, 0));
}

bool gopt_node_is_called(const gopt_node *n, const char *pattern)
{
    bool is = fits(n->name, pattern);
    for (uint32_t i = 0; i < n->n_origins && !is; i++)
        is = fits(n->origins[i], pattern);
    for (uint32_t i = 0; i < n->n_out && !is; i++)
        is = fits(n->out[i]->name, pattern);
    return is && n->op != OP_Fusion;
}

gopt_status gopt_node_keep_fp32(gopt_node *n, const char *why)
{
    return put(n->block->graph->arena, &n->meta, &n->n_meta, key, why) ? GOPT_OK : GOPT_NO_MEMORY;
}

const char *gi_fp32_node(const gi_node *n)
{
    const char *why = find(n->meta, n->n_meta, key);
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    for (const gi_node *k = body ? body->first : NULL; k && !why; k = k->next)
        why = find(k->meta, k->n_meta, key);
    return why;
}

static const char *marked_result(const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    char name[32];
    if (n && n->op == OP_Fusion) { /* it gives what one inside gives */
        const gi_block *body = gi_fusion_block(n);
        v = v->index < body->n_results ? body->results[v->index].value : NULL;
        n = v ? gi_value_node(v) : NULL;
    }
    if (!n || !n->n_meta)
        return NULL;
    name_result(v->index, name, sizeof name);
    return find(n->meta, n->n_meta, name);
}

const char *gi_fp32_value(const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    const size_t prefix = sizeof key;
    if (n) {
        const char *does = marked_result(v);
        return does ? does : gi_fp32_node(n) ? "stays in fp32" : NULL;
    }
    if (v->kind != GI_DEF_PARAM || !v->name)
        return NULL;
    const gopt_graph *g = v->def.block->graph;
    for (uint32_t i = 0; i < g->n_meta; i++)
        if (!strncmp(g->meta[2 * i], key, prefix - 1) && g->meta[2 * i][prefix - 1] == '.' &&
            !strcmp(g->meta[2 * i] + prefix, v->name))
            return g->meta[2 * i + 1];
    return NULL;
}

/* ---- weights ---- */

uint16_t gi_halve(gi_halving *h, float v)
{
    const uint16_t half = gi_f32_to_f16(v);
    const float size = fabsf(v);
    h->n += size != 0;
    if (!isfinite(v)) {
        h->nan |= isnan(v);
        h->infinite |= isinf(v);
        return half;
    }
    h->most = size > h->most ? size : h->most;
    h->norm += (double)v * (double)v;
    if (size != 0 && size < (float)GOPT_FP16_LEAST) {
        const double lost = (double)v - (double)gi_f16_to_f32(half);
        h->lost += lost * lost;
        h->small++;
    }
    return half;
}

gopt_status gi_halving_misfit(const gi_halving *h, const gi_value *weight, gi_arena *a, const char **why)
{
    static const double bearable = 1e-3; /* of the norm: four times what rounding takes of any weight */
    char label[16];
    const char *name = gi_value_label(weight, label, sizeof label);
    *why = NULL;
    if (h->nan || h->infinite)
        *why = gi_arena_printf(a, "its weight %s holds %s", name, h->nan ? "NaN" : "an infinity");
    else if ((double)h->most > GOPT_FP16_MOST)
        *why = gi_arena_printf(a, "its weight %s reaches %.6g, beyond what fp16 holds (65504)", name, (double)h->most);
    else if (h->lost > bearable * bearable * h->norm)
        *why = gi_arena_printf(a,
                               "its weight %s would lose %.2g%% of its norm in fp16: %.3g%% of what is not zero lies "
                               "below 6.1e-05, its least normal number",
                               name, 100 * sqrt(h->lost / h->norm), 100 * (double)h->small / (double)h->n);
    else
        return GOPT_OK;
    return *why ? GOPT_OK : GOPT_NO_MEMORY;
}
