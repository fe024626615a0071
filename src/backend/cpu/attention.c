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

enum { SCORE_BYTES = 256 * 1024 };

/* ---- preparing ---- */

/* Sizes and strides; false where a row of the result is scattered. */
static bool take_shapes(const gi_attention_region *p, gi_attention *v)
{
    const int rank = p->rank + 2;
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    v->q = p->q;
    v->k = p->k;
    v->v = p->v;
    v->m = p->m;
    v->n = p->n;
    v->d = p->d;
    v->dv = p->dv;
    v->rank = p->rank;
    v->batch = p->batch;
    memcpy(v->dims, p->dims, sizeof v->dims);
    gi_attention_batch_strides(p, &p->q, p->q.strides, v->q_strides);
    gi_attention_batch_strides(p, &p->k, p->k.strides, v->k_strides);
    gi_attention_batch_strides(p, &p->v, p->v.strides, v->v_strides);
    if (!gi_type_static_dims(p->body->last->out[0]->type, dims))
        return false;
    gi_strides(rank, dims, strides);
    for (int i = 0; i < rank; i++)
        y[i] = strides[p->y_axis[i]];
    memcpy(v->y_strides, y, (size_t)p->rank * sizeof *y);
    v->y_row = y[rank - 2];
    return y[rank - 1] == 1;
}

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
static gopt_status collect(gi_cpu_step *c, const gi_attention_region *p, gi_attention *v, gi_values *in)
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
static gopt_status read_mask(gi_cpu *d, gi_step *s, gi_cpu_step *c, const gi_attention_region *p, const gi_node *n,
                             gi_attention_mask *m, bool *ok)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK], out[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
    gi_value *v, *x;
    *ok = gi_attention_mask_of(p, n, &v, &x) && gi_cpu_static_f32(v, &rank, dims) &&
          gi_cpu_static_f32(n->out[0], &m->rank, out) && m->rank >= 2 && rank <= m->rank;
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
static gopt_status read_tiles(gi_cpu *d, gi_step *s, gi_cpu_step *c, const gi_attention_region *p, gi_attention *v)
{
    bool ok = !p->n_behind && d->fp != GOPT_FP_STRICT;
    v->scale = 1.0f;
    for (size_t i = 0; i < p->n_before && ok; i++) {
        gi_node *n = p->before[i];
        gi_attention_operand o = { 0 };
        if (n->op == OP_Reshape) {
            ok = gi_attention_keeps_rows(n);
        } else if (n->op == OP_Add) {
            ok = v->n_masks < GK_ATTENTION_MASKS;
            if (ok)
                GI_TRY(read_mask(d, s, c, p, n, &v->masks[v->n_masks++], &ok));
        } else {
            ok =
                !v->n_masks && gi_attention_scaling(n, &o) && gi_attention_stage_of(p, o.source) == GI_ATTENTION_SCORES;
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
static gopt_status read_step(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_attention_region *p, gi_attention *v, bool *ok)
{
    gi_values in = { 0 };
    GI_TRY(gi_attention_read_region(c->arena, s->node, gi_vp_takes, p, ok));
    *ok = *ok && s->n_out == 1 && take_shapes(p, v);
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
    gi_attention_region p;
    GI_TRY(read_step(d, s, c, &p, v, ok));
    *ok = *ok && v->tiles;
    return GOPT_OK;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    gi_attention *v = gi_cpu_own(c, sizeof(*v));
    gi_attention_region p;
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
