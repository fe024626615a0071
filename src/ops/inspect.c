/* What a model is, without running it: operators, parameters, work and memory, and its weights' ranges. */
#include <math.h>

#include "ops/cost.h"
#include "ops/count.h"
#include "ops/infer.h"

/* ---- peak memory of activations ----
 *
 * Values live from their node to their last user; a view lives in what it views. With symbols the step of the
 * peak depends on their values, so it is looked for at likely ones, and that step's sum is the answer. */

enum { LIKELY_BATCH = 1, LIKELY_PIXELS = 224, LIKELY_STEPS = 128, BINDINGS_MAX = 1024 };

typedef gi_vec(gi_binding) bindings;

typedef struct binder {
    gi_arena *arena;
    bindings b;
    int64_t value;
    bool failed;
} binder;

static void bind_symbol(void *arg, const gi_dim *symbol)
{
    binder *w = arg;
    for (size_t i = 0; i < w->b.n; i++)
        if (w->b.p[i].symbol == symbol)
            return;
    if (w->b.n < BINDINGS_MAX && !gi_push(w->arena, &w->b, (gi_binding){ symbol, w->value }))
        w->failed = true;
}

static void bind_type(binder *w, const gi_type *t)
{
    for (int i = 0; t && t->kind == GOPT_TENSOR && i < t->rank; i++) {
        w->value = i == 0 ? LIKELY_BATCH : t->rank >= 4 && i >= 2 ? LIKELY_PIXELS : LIKELY_STEPS;
        gi_dim_each_symbol(t->dims[i], bind_symbol, w);
    }
}

static const gi_dim *bytes_of(gopt_graph *g, const gi_type *t)
{
    const gi_dim *n = gi_type_count(g, t);
    if (!n)
        return NULL;
    const int bits = t->dtype == GOPT_STRING ? 8 * (int)sizeof(gopt_string) : gopt_dtype_bits(t->dtype);
    if (bits < 8)
        return gi_dim_ceildiv(g->dims, gi_dim_mul(g->dims, n, gi_dim_const(g->dims, bits)), gi_dim_const(g->dims, 8));
    return gi_dim_mul(g->dims, n, gi_dim_const(g->dims, bits / 8));
}

/* A value that holds memory of its own. */
typedef struct life {
    const gi_dim *bytes;
    int64_t likely;       /* bytes at the likely binding */
    uint32_t first, last; /* steps */
} life;

typedef struct lives {
    gopt_graph *g;
    gi_arena *arena;
    binder *bind;
    gi_map by_value;    /* value id + 1 → life */
    gi_vec(life *) all; /* in order of definition */
} lives;

static life *find_life(const lives *w, const gi_value *v)
{
    return v ? gi_map_get(&w->by_value, (uint64_t)v->id + 1) : NULL;
}

static bool begin(lives *w, const gi_value *v, life *shared, uint32_t step)
{
    life *l = shared;
    if (!l) {
        l = GI_NEW(w->arena, life);
        if (!l || !gi_push(w->arena, &w->all, l))
            return false;
        l->bytes = bytes_of(w->g, v->type);
        l->first = l->last = step;
        bind_type(w->bind, v->type);
        if (l->bytes && !gi_dim_eval(l->bytes, w->bind->b.p, w->bind->b.n, &l->likely))
            l->likely = 0;
    }
    return gi_map_put(&w->by_value, (uint64_t)v->id + 1, l);
}

static void use(lives *w, const gi_value *v, uint32_t step)
{
    life *l = find_life(w, v);
    if (l && l->last < step)
        l->last = step;
}

/* What a node's own blocks take at their peak. */
typedef struct inside {
    const gi_dim *bytes;
    int64_t likely;
} inside;

static gopt_status block_peak(gopt_graph *g, const gi_block *b, binder *bind, int depth, inside *peak);

static gopt_status inner_peak(lives *w, const gi_node *n, int depth, inside *most)
{
    for (uint32_t i = 0; i < n->n_attrs && n->op != OP_Fusion && depth < GI_MAX_NESTING; i++) {
        inside one = { 0 };
        if (n->attrs[i].kind != GI_ATTR_GRAPH || !n->attrs[i].u.graph)
            continue;
        GI_TRY(block_peak(w->g, n->attrs[i].u.graph, w->bind, depth + 1, &one));
        if (!most->bytes || one.likely > most->likely)
            *most = one;
    }
    return GOPT_OK;
}

/* Notes when values begin and end, and per step what its node's blocks take. */
static gopt_status find_lives(lives *w, const gi_block *b, inside *blocks, int depth)
{
    uint32_t step = 0;
    for (uint32_t i = 0; i < b->n_params; i++)
        GI_NEED(begin(w, b->params[i], NULL, 0));
    for (const gi_node *n = b->first; n; n = n->next, step++) {
        const gi_op *row = gi_op_get(n->op);
        for (uint32_t i = 0; i < n->n_in; i++)
            use(w, n->in[i].value, step);
        if (row->traits & GI_CONTROL) {
            gi_values captured = { 0 };
            GI_NEED(gi_node_captures(n, w->arena, &captured));
            for (size_t i = 0; i < captured.n; i++)
                use(w, captured.p[i], step);
            GI_TRY(inner_peak(w, n, depth, &blocks[step]));
        }
        life *viewed = row->traits & GI_VIEW ? find_life(w, gi_node_in(n, 0)) : NULL;
        for (uint32_t i = 0; i < n->n_out; i++)
            GI_NEED(begin(w, n->out[i], i == 0 ? viewed : NULL, step));
    }
    for (uint32_t i = 0; i < b->n_results; i++)
        use(w, b->results[i].value, step ? step - 1 : 0);
    return w->bind->failed ? GOPT_NO_MEMORY : GOPT_OK;
}

static gopt_status sum_peak(lives *w, uint32_t steps, const inside *blocks, inside *peak)
{
    int64_t *change = GI_NEW_ARRAY(w->arena, int64_t, steps + 1), now = 0;
    uint32_t at = 0;
    GI_NEED(change);
    for (size_t i = 0; i < w->all.n; i++) {
        const life *l = w->all.p[i];
        if (!gi_add_i64(change[l->first], l->likely, &change[l->first]) ||
            !gi_add_i64(change[l->last + 1], -l->likely, &change[l->last + 1]))
            return GOPT_OK;
    }
    peak->likely = -1;
    for (uint32_t s = 0; s < steps; s++) {
        int64_t here;
        if (!gi_add_i64(now, change[s], &now) || !gi_add_i64(now, blocks[s].likely, &here))
            return GOPT_OK;
        if (here > peak->likely) {
            peak->likely = here;
            at = s;
        }
    }
    peak->bytes = blocks[at].bytes ? blocks[at].bytes : gi_dim_const(w->g->dims, 0);
    for (size_t i = 0; i < w->all.n; i++)
        if (w->all.p[i]->first <= at && w->all.p[i]->last >= at && w->all.p[i]->bytes)
            peak->bytes = gi_dim_add(w->g->dims, peak->bytes, w->all.p[i]->bytes);
    return peak->bytes ? GOPT_OK : GOPT_NO_MEMORY;
}

static gopt_status block_peak(gopt_graph *g, const gi_block *b, binder *bind, int depth, inside *peak)
{
    lives w = { .g = g, .arena = bind->arena, .bind = bind };
    const uint32_t steps = b->n_nodes ? b->n_nodes : 1;
    inside *blocks = GI_NEW_ARRAY(w.arena, inside, steps);
    GI_NEED(blocks);
    gi_map_init(&w.by_value, w.arena);
    GI_TRY(find_lives(&w, b, blocks, depth));
    return sum_peak(&w, steps, blocks, peak);
}

static gopt_status peak_of(gopt_graph *g, gi_arena *scratch, const gi_dim **bytes)
{
    binder bind = { .arena = scratch };
    inside peak = { 0 };
    for (uint32_t i = 0; i < g->main->n_params; i++)
        bind_type(&bind, g->main->params[i]->type);
    GI_TRY(block_peak(g, g->main, &bind, 0, &peak));
    *bytes = peak.bytes ? peak.bytes : gi_dim_const(g->dims, 0);
    return *bytes ? GOPT_OK : GOPT_NO_MEMORY;
}

/* ---- the whole ---- */

static const char *dim_text(gopt_graph *g, const gi_dim *d)
{
    gi_str s;
    gi_str_init(&s, g->arena);
    if (d)
        gi_dim_print(&s, d);
    return s.failed ? NULL : s.p;
}

gopt_status gopt_inspect(gopt_graph *g, const gopt_inspection **out)
{
    gi_counts c;
    gopt_inspection *r = GI_NEW(g->arena, gopt_inspection);
    GI_NEED(r && gi_count_graph(g, g->arena, &c));
    r->nodes = gi_graph_count_nodes(g);
    r->ops = c.ops;
    r->n_ops = c.n_ops;
    r->parameter_bytes = c.bytes;
    for (size_t i = 0; i < c.n_constants; i++)
        r->parameters += (uint64_t)gi_blob_elements(gi_value_blob(c.constants[i]));
    gi_arena *scratch = gi_arena_create(g->cx);
    GI_NEED(scratch);
    const gi_dim *bytes = NULL;
    const gopt_status st = peak_of(g, scratch, &bytes);
    gi_arena_destroy(scratch);
    GI_TRY(st);
    r->flops = dim_text(g, gi_block_flops(g->main));
    r->peak_activation_bytes = dim_text(g, bytes);
    GI_NEED(r->flops && r->peak_activation_bytes);
    *out = r;
    return GOPT_OK;
}

/* ---- weights ---- */

static const double f16_max = 65504;

typedef struct tally {
    gopt_weight_stat *s;
    double sum;
    uint64_t finite;
} tally;

static void take(tally *t, double x)
{
    gopt_weight_stat *s = t->s;
    if (isnan(x)) {
        s->nans++;
        return;
    }
    s->zeros += x == 0;
    if (isinf(x)) {
        s->infs++;
    } else {
        s->beyond_f16 += fabs(x) > f16_max;
        t->sum += x;
        t->finite++;
    }
    s->min = x < s->min ? x : s->min;
    s->max = x > s->max ? x : s->max;
}

/* Complex numbers count as their two parts. */
static void take_all(tally *t, const gi_blob *b)
{
    const size_t n = (size_t)t->s->elements;
    const gi_dclass kind = gi_dtype_class(b->dtype);
    if (kind == GI_TEXT || kind == GI_NONE)
        return;
    if (b->dtype == GOPT_F32 || b->dtype == GOPT_C64) {
        const float *p = b->data;
        for (size_t i = 0; i < (kind == GI_COMPLEX ? 2 * n : n); i++)
            take(t, (double)p[i]);
    } else if (b->dtype == GOPT_C128) {
        const double *p = b->data;
        for (size_t i = 0; i < 2 * n; i++)
            take(t, p[i]);
    } else {
        for (size_t i = 0; i < n; i++)
            take(t, gi_load_f64(b->dtype, b->data, i));
    }
}

static gopt_status weight_stat(gopt_graph *g, const gi_value *v, gopt_weight_stat *s)
{
    const gi_blob *b = gi_value_blob(v);
    char label[64];
    gi_str type;
    gi_str_init(&type, g->arena);
    gi_type_print(&type, v->type);
    s->name = gi_arena_str(g->arena, v->name ? v->name : gi_value_label(v, label, sizeof label));
    s->type = type.p;
    GI_NEED(s->name && s->type);
    s->elements = (uint64_t)gi_blob_elements(b);
    tally t = { .s = s };
    s->min = INFINITY;
    s->max = -INFINITY;
    take_all(&t, b);
    s->mean = t.finite ? t.sum / (double)t.finite : 0;
    if (s->min > s->max)
        s->min = s->max = 0;
    return GOPT_OK;
}

gopt_status gopt_inspect_weights(gopt_graph *g, const gopt_weight_stat **list, size_t *n)
{
    gi_counts c;
    GI_NEED(gi_count_graph(g, g->arena, &c));
    gopt_weight_stat *all = GI_NEW_ARRAY(g->arena, gopt_weight_stat, c.n_constants + 1);
    GI_NEED(all);
    for (size_t i = 0; i < c.n_constants; i++)
        GI_TRY(weight_stat(g, c.constants[i], &all[i]));
    *list = all;
    *n = c.n_constants;
    return GOPT_OK;
}
