/* Tactic "attention": softmax(q·k + …)·v as one, over blocks of rows whose scores stay in the caches.
 *
 * A worker packs one batch's keys and values into panels, as matmul.c does with a computed B, and goes through its rows.
 * Where nothing but a scale and masks that are added stand before the softmax, and nothing behind it, the attention
 * kernel takes a tile of rows at a time. Else rows go a block at a time: scores by the tile kernel, what is between them
 * and the softmax as a vector program over the block, the softmax row by row, what is behind it as another, and the
 * product with the values straight into the result. The scores, which are the largest tensor of attention, are never
 * written to memory.
 *
 * The Transposes at the borders are strides of what is read and written; a scaling by one number is applied while
 * packing, element by element as the node would. */
#include "backend/cpu/attention.h"

enum { SCORE_BYTES = 256 * 1024, MAX_BORDER = 4 };

/* ---- reading the region ---- */

/* What a value is made of so far. */
typedef enum stage { BORDER = 0, SCORES, PROBABILITIES, RESULT } stage;

typedef struct parts {
    const gi_block *body;
    gi_map stages; /* value id + 1 → its stage; BORDER where absent */
    gi_node *scores, *softmax, *values;
    gi_node **before, **behind; /* of the softmax */
    size_t n_before, n_behind;
    size_t n_border; /* Transposes and scalings of the operands, each of which must turn up in one */
} parts;

static stage stage_of(const parts *p, const gi_value *v)
{
    return v ? (stage)(uintptr_t)gi_map_get(&p->stages, (uint64_t)v->id + 1) : BORDER;
}

static stage inputs_stage(const parts *p, const gi_node *n)
{
    stage t = BORDER;
    for (uint32_t i = 0; i < n->n_in; i++)
        t = stage_of(p, gi_node_in(n, i)) > t ? stage_of(p, gi_node_in(n, i)) : t;
    return t;
}

/* Another view of the batch: the last two dims stay. */
static bool keeps_rows(const gi_node *n)
{
    int rx, ry;
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    return n->op == OP_Reshape && gi_cpu_static_f32(gi_node_in(n, 0), &rx, x) && gi_cpu_static_f32(n->out[0], &ry, y) &&
           rx >= 2 && ry >= 2 && x[rx - 1] == y[ry - 1] && x[rx - 2] == y[ry - 2];
}

/* The stage of n's result where it may stand after `t`; false where it is none of attention's. */
static bool read_node(parts *p, gi_node *n, stage t, stage *out)
{
    *out = t;
    if (n->n_out != 1)
        return false;
    if (n->op == OP_MatMul) {
        gi_node **as = t == BORDER ? &p->scores : &p->values;
        *out = t == BORDER ? SCORES : RESULT;
        if (*as || (t != BORDER && (stage_of(p, gi_node_in(n, 0)) != PROBABILITIES || stage_of(p, gi_node_in(n, 1)))))
            return false;
        *as = n;
        return true;
    }
    if (n->op == OP_Softmax) {
        const int64_t axis = gi_attr_int(n, Softmax_at_axis);
        p->softmax = n;
        *out = PROBABILITIES;
        return t == SCORES && n->out[0]->type && (axis == -1 || axis == n->out[0]->type->rank - 1);
    }
    if (t == BORDER)
        p->n_border++;
    else if (t == RESULT)
        return n->op == OP_Transpose && n == p->body->last;
    else if (!gi_vp_takes(n) && !(t == SCORES && keeps_rows(n)))
        return false;
    else if (t == SCORES)
        p->before[p->n_before++] = n;
    else
        p->behind[p->n_behind++] = n;
    return true;
}

static gopt_status read_region(gi_cpu_step *c, const gi_step *s, parts *p, bool *ok)
{
    *ok = false;
    *p = (parts){ .body = s->node->op == OP_Fusion ? gi_fusion_block(s->node) : NULL };
    if (!p->body || p->body->n_results != 1 || s->n_out != 1)
        return GOPT_OK;
    gi_map_init(&p->stages, c->arena);
    p->before = GI_NEW_ARRAY(c->arena, gi_node *, p->body->n_nodes + 1);
    p->behind = GI_NEW_ARRAY(c->arena, gi_node *, p->body->n_nodes + 1);
    GI_NEED(p->before && p->behind);
    for (gi_node *n = p->body->first; n; n = n->next) {
        stage t;
        if (!read_node(p, n, inputs_stage(p, n), &t))
            return GOPT_OK;
        if (t != BORDER)
            GI_NEED(gi_map_put(&p->stages, (uint64_t)n->out[0]->id + 1, (void *)(uintptr_t)t));
    }
    *ok = p->scores && p->softmax && p->values && p->body->results[0].value == p->body->last->out[0] &&
          stage_of(p, p->body->last->out[0]) == RESULT;
    return GOPT_OK;
}

static bool one_number(const gi_value *v, float *x)
{
    const gi_blob *b = gi_value_blob(v);
    if (!b || b->dtype != GOPT_F32 || gi_blob_elements(b) != 1)
        return false;
    memcpy(x, b->data, sizeof(*x));
    return true;
}

static bool read_scaling(const gi_node *n, gi_attention_operand *o)
{
    float x;
    const bool right = one_number(gi_node_in(n, 1), &x);
    if (o->scaling != GI_UNSCALED || (n->op != OP_Mul && n->op != OP_Div) ||
        (!right && (n->op == OP_Div || !one_number(gi_node_in(n, 0), &x))))
        return false;
    gi_value *v = gi_node_in(n, right ? 0 : 1);
    if (!v || v->type != n->out[0]->type)
        return false;
    o->source = v;
    o->scaling = n->op == OP_Mul ? GI_TIMES : GI_DIVIDED;
    o->scale = x;
    return true;
}

/* Dims and strides as the Transpose leaves them. */
static bool transpose(const gi_node *n, gi_attention_operand *o)
{
    const gi_attention_operand from = *o;
    const int64_t *perm;
    const uint32_t np = gi_attr_ints(n, Transpose_at_perm, &perm);
    if (np && np != (uint32_t)o->rank)
        return false;
    for (int i = 0; i < o->rank; i++) {
        const int64_t at = np ? perm[i] : o->rank - 1 - i;
        if (at < 0 || at >= o->rank)
            return false;
        o->dims[i] = from.dims[at];
        o->strides[i] = from.strides[at];
    }
    return true;
}

/* Goes back from v to the value outside that it is made of. */
static bool read_operand(parts *p, gi_value *v, gi_attention_operand *o)
{
    const gi_node *transposes[MAX_BORDER];
    int n = 0;
    *o = (gi_attention_operand){ .source = v };
    for (gi_node *k; (k = gi_value_node(o->source)) && k->block == p->body; p->n_border--) {
        if (k->op != OP_Transpose) {
            if (!read_scaling(k, o))
                return false;
            continue;
        }
        if (n == MAX_BORDER)
            return false;
        transposes[n++] = k;
        o->source = gi_node_in(k, 0);
    }
    if (!o->source || gi_value_blob(o->source) || !gi_cpu_static_f32(o->source, &o->rank, o->dims) || o->rank < 2)
        return false;
    int64_t step = 1;
    for (int i = o->rank - 1; i >= 0; i--) {
        o->strides[i] = step;
        step *= o->dims[i];
    }
    while (n > 0)
        if (!transpose(transposes[--n], o))
            return false;
    return true;
}

/* Strides of the operand along the batch; false where it is not broadcast to it. */
static bool batch_strides(const gi_attention_operand *o, int rank, const int64_t *dims, int64_t *strides)
{
    const int lead = rank - (o->rank - 2);
    if (lead < 0)
        return false;
    for (int i = 0; i < rank; i++) {
        const int64_t own = i < lead ? 1 : o->dims[i - lead];
        if (own != 1 && own != dims[i])
            return false;
        strides[i] = own == 1 ? 0 : o->strides[i - lead];
    }
    return true;
}

/* Sizes and strides of everything; false where they are not attention's. */
static bool read_shapes(parts *p, gi_attention *v)
{
    int rank, ry;
    int64_t y[GOPT_MAX_RANK];
    if (!read_operand(p, gi_node_in(p->scores, 0), &v->q) || !read_operand(p, gi_node_in(p->scores, 1), &v->k) ||
        !read_operand(p, gi_node_in(p->values, 1), &v->v) || p->n_border ||
        !gi_cpu_static_f32(p->values->out[0], &rank, y) || rank < 2)
        return false;
    int64_t scores[GOPT_MAX_RANK];
    v->rank = rank - 2;
    if (!gi_cpu_static_f32(p->scores->out[0], &ry, scores) || ry != rank ||
        memcmp(scores, y, (size_t)v->rank * sizeof(*y)) != 0 || gi_product(0, rank, y) <= 0)
        return false;
    v->m = y[rank - 2];
    v->dv = y[rank - 1];
    v->n = scores[rank - 1];
    v->d = v->q.dims[v->q.rank - 1];
    v->batch = gi_product(0, v->rank, y);
    memcpy(v->dims, y, (size_t)v->rank * sizeof(*y));
    if (v->d <= 0 || v->n <= 0 || scores[rank - 2] != v->m || v->q.dims[v->q.rank - 2] != v->m ||
        v->k.dims[v->k.rank - 2] != v->d || v->k.dims[v->k.rank - 1] != v->n || v->v.dims[v->v.rank - 2] != v->n ||
        v->v.dims[v->v.rank - 1] != v->dv || !batch_strides(&v->q, v->rank, y, v->q_strides) ||
        !batch_strides(&v->k, v->rank, y, v->k_strides) || !batch_strides(&v->v, v->rank, y, v->v_strides))
        return false;
    /* the result: where its dims lie once the Transpose behind has turned them */
    gi_attention_operand out = { .rank = rank };
    for (int i = 0; i < rank; i++)
        out.dims[i] = i;
    if (p->body->last != p->values && !transpose(p->body->last, &out))
        return false;
    int64_t strides[GOPT_MAX_RANK], step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[out.dims[i]] = step;
        step *= y[out.dims[i]];
    }
    memcpy(v->y_strides, strides, (size_t)v->rank * sizeof(*strides));
    v->y_row = strides[rank - 2];
    return strides[rank - 1] == 1;
}

/* ---- preparing ---- */

/* Programs over the scores: input 0 is the block of them, input 1+i is step->in[i]. */
static gopt_status build_program(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_node *const *nodes, size_t n, gi_value *from,
                                 gi_value *to, gi_vp **out, bool *ok)
{
    gi_value **args = GI_NEW_ARRAY(c->arena, gi_value *, s->n_in + 1);
    gi_layout *lay = GI_NEW_ARRAY(c->arena, gi_layout, s->n_in + 1);
    int64_t dims[GOPT_MAX_RANK];
    const gi_type *t = from->type; /* of the views of the scores the one of most dims: masks may lie along any */
    GI_NEED(args && lay);
    if (!n)
        return GOPT_OK;
    args[0] = from;
    memcpy(args + 1, s->in, s->n_in * sizeof(gi_value *));
    for (size_t i = 0; i < n; i++)
        t = nodes[i]->op == OP_Reshape && nodes[i]->out[0]->type->rank > t->rank ? nodes[i]->out[0]->type : t;
    gi_type_static_dims(t, dims);
    GI_TRY(gi_vp_build(d, s, c, nodes, n, args, lay, s->n_in + 1, &to, 1, t->rank, dims, GI_PLAIN, out));
    *ok = *ok && *out;
    return GOPT_OK;
}

/* The distinct values read: the operands, and what the pointwise nodes read from outside. */
static gopt_status collect(gi_cpu_step *c, const parts *p, gi_attention *v, gi_values *in)
{
    gi_attention_operand *const operands[] = { &v->q, &v->k, &v->v };
    for (size_t i = 0; i < GI_COUNT(operands); i++) {
        size_t k = 0;
        while (k < in->n && in->p[k] != operands[i]->source)
            k++;
        if (k == in->n)
            GI_NEED(gi_push(c->arena, in, operands[i]->source));
        operands[i]->in = (int)k;
    }
    for (size_t i = 0; i < p->n_before + p->n_behind; i++) {
        const gi_node *n = i < p->n_before ? p->before[i] : p->behind[i - p->n_before];
        for (uint32_t j = 0; j < n->n_in; j++) {
            gi_value *x = gi_node_in(n, j);
            const gi_node *by = gi_value_node(x);
            bool known = !x || (by && by->block == p->body) || (gi_value_blob(x) && x->type->dtype == GOPT_F32);
            for (size_t k = 0; k < in->n && !known; k++)
                known = in->p[k] == x;
            if (!known)
                GI_NEED(gi_push(c->arena, in, x));
        }
    }
    return GOPT_OK;
}

/* The value that an Add adds to the scores; rank and strides are those of the view that it sees. */
static gopt_status read_mask(gi_cpu *d, gi_step *s, gi_cpu_step *c, const parts *p, const gi_node *n,
                             gi_attention_mask *m, bool *ok)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK], out[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
    const bool right = stage_of(p, gi_node_in(n, 0)) == SCORES;
    gi_value *v = gi_node_in(n, right ? 1 : 0), *x = gi_node_in(n, right ? 0 : 1);
    *ok = stage_of(p, x) == SCORES && stage_of(p, v) == BORDER && gi_cpu_static_f32(v, &rank, dims) &&
          gi_cpu_static_f32(n->out[0], &m->rank, out) && x->type == n->out[0]->type && m->rank >= 2 && rank <= m->rank;
    if (!*ok)
        return GOPT_OK;
    gi_broadcast_strides(rank, dims, m->rank, out, strides);
    m->rank -= 2;
    memcpy(m->dims, out, (size_t)m->rank * sizeof(*out));
    memcpy(m->strides, strides, (size_t)m->rank * sizeof(*strides));
    m->row = strides[m->rank];
    m->key = strides[m->rank + 1];
    m->in = gi_cpu_in_index(s, v);
    const gi_blob *b = gi_value_blob(v);
    if (m->in >= 0 || !b) {
        *ok = m->in >= 0;
        return GOPT_OK;
    }
    if (c->dry)
        return GOPT_OK;
    float *copy = gi_cpu_pack(d, s, c, b->bytes);
    GI_NEED(copy);
    memcpy(copy, b->data, b->bytes);
    m->data = copy;
    return GOPT_OK;
}

/* Is all that happens to the scores what the kernel does? A scale first, then masks. */
static gopt_status read_tiles(gi_cpu *d, gi_step *s, gi_cpu_step *c, const parts *p, gi_attention *v)
{
    bool ok = !p->n_behind && d->fp != GOPT_FP_STRICT;
    v->scale = 1.0f;
    for (size_t i = 0; i < p->n_before && ok; i++) {
        gi_node *n = p->before[i];
        gi_attention_operand o = { 0 };
        if (n->op == OP_Reshape) {
            ok = keeps_rows(n);
        } else if (n->op == OP_Add) {
            ok = v->n_masks < GK_ATTENTION_MASKS;
            if (ok)
                GI_TRY(read_mask(d, s, c, p, n, &v->masks[v->n_masks++], &ok));
        } else {
            ok = !v->n_masks && read_scaling(n, &o) && stage_of(p, o.source) == SCORES;
            v->scale = o.scaling == GI_DIVIDED ? v->scale / o.scale : v->scale * o.scale;
        }
    }
    v->tiles = ok;
    return GOPT_OK;
}

static uint64_t take(uint64_t *at, int64_t floats)
{
    const uint64_t begin = *at;
    *at = (begin + (uint64_t)floats * sizeof(float) + 63) & ~(uint64_t)63;
    return begin;
}

static void lay_out(const gi_cpu *d, gi_attention *v)
{
    const int64_t lanes2 = 2 * d->block, tile = d->k->tile;
    if (v->tiles) {
        uint64_t end = 0;
        v->blocks = (v->m + tile - 1) / tile;
        v->keys_at = take(&end, gi_attention_panels(d, v->n) * v->d * lanes2);
        v->values_at = take(&end, gi_attention_panels(d, v->dv) * v->n * lanes2);
        v->rows_at = take(&end, tile * v->d);
        v->scores_at = take(&end, (int64_t)gk_attention_work(d->k, (size_t)v->dv));
        v->scratch = end;
        return;
    }
    v->line = v->n % 1024 == 0 && v->m > 2 ? v->n + 16 : v->n;
    /* as many rows as fit, but enough blocks for all threads */
    const int64_t fit = SCORE_BYTES / (v->line * (int64_t)sizeof(float)) / tile * tile;
    const int64_t wanted = gi_max_i64(1, (2 * d->threads + v->batch - 1) / v->batch);
    const int64_t even = ((v->m + wanted - 1) / wanted + tile - 1) / tile * tile;
    v->block = gi_min_i64(v->m, gi_max_i64(tile, gi_min_i64(fit, even)));
    v->blocks = (v->m + v->block - 1) / v->block;
    v->key_tap = (gk_tap){ 0, v->d };
    v->value_tap = (gk_tap){ 0, v->n };
    const size_t a = v->before ? gi_vp_scratch(v->before) : 0, b = v->behind ? gi_vp_scratch(v->behind) : 0;
    uint64_t at = 0;
    (void)take(&at, (int64_t)((a > b ? a : b) / sizeof(float)) + 16);
    (void)take(&at, (int64_t)((size_t)v->n_args * sizeof(void *) / sizeof(float)) + 16);
    v->keys_at = take(&at, gi_attention_panels(d, v->n) * v->d * lanes2);
    v->values_at = take(&at, gi_attention_panels(d, v->dv) * v->n * lanes2);
    v->rows_at = take(&at, v->block * v->d);
    v->scores_at = take(&at, v->block * v->line);
    v->scratch = at;
}

/* The step as attention; what stands around the softmax but for what the kernel does is left in p. */
static gopt_status read_step(gi_cpu *d, gi_step *s, gi_cpu_step *c, parts *p, gi_attention *v, bool *ok)
{
    gi_values in = { 0 };
    GI_TRY(read_region(c, s, p, ok));
    *ok = *ok && read_shapes(p, v);
    if (!*ok)
        return GOPT_OK;
    GI_TRY(collect(c, p, v, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    for (uint32_t i = 0; i < s->n_in; i++)
        c->want_in[i] = GI_PLAIN;
    c->want_out[0] = GI_PLAIN;
    v->n_args = (int)s->n_in + 1;
    s->gflop = 2e-9 * (double)v->batch * (double)v->m * (double)v->n * (double)(v->d + v->dv);
    return read_tiles(d, s, c, p, v);
}

gopt_status gi_attention_read(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_attention *v, bool *ok)
{
    parts p;
    GI_TRY(read_step(d, s, c, &p, v, ok));
    *ok = *ok && v->tiles;
    return GOPT_OK;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    gi_attention *v = gi_cpu_own(c, sizeof(*v));
    parts p;
    bool ok;
    GI_NEED(v);
    GI_TRY(read_step(d, s, c, &p, v, &ok));
    if (!ok)
        return GOPT_OK;
    if (!v->tiles) {
        GI_TRY(
            build_program(d, s, c, p.before, p.n_before, p.scores->out[0], gi_node_in(p.softmax, 0), &v->before, &ok));
        GI_TRY(
            build_program(d, s, c, p.behind, p.n_behind, p.softmax->out[0], gi_node_in(p.values, 0), &v->behind, &ok));
    }
    if (!ok)
        return GOPT_OK;
    lay_out(d, v);
    s->scratch = v->scratch * (uint64_t)d->threads;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

const gi_tactic gi_tactic_attention = {
    .name = "attention", .prepare = prepare, .run = gi_attention_run_fp32, .packs = true
};
