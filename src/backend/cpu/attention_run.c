/* Running attention in fp32: tiles of rows by the attention kernel, or blocks of rows with programs over the scores. */
#include <math.h>

#include "backend/cpu/attention.h"

typedef struct job {
    const gi_cpu *d;
    const gi_attention *v;
    const gi_run_args *args;
} job;

void gi_attention_scale(const gi_attention_operand *o, float *x, int64_t n)
{
    if (o->scaling == GI_TIMES)
        for (int64_t i = 0; i < n; i++)
            x[i] *= o->scale;
    else if (o->scaling == GI_DIVIDED)
        for (int64_t i = 0; i < n; i++)
            x[i] /= o->scale;
}

/* A matrix [rows][columns] of those strides into panels [⌈columns / 2 lanes⌉][rows][2 lanes]. */
static void pack(const gi_cpu *d, const gi_attention_operand *o, const float *from, int64_t rows, int64_t columns,
                 float *to)
{
    const int64_t lanes2 = 2 * d->block, sr = o->strides[o->rank - 2], sc = o->strides[o->rank - 1];
    for (int64_t first = 0; first < columns; first += lanes2, to += rows * lanes2) {
        const int64_t count = gi_min_i64(lanes2, columns - first);
        if (sr == 1)
            d->k->transpose((size_t)count, (size_t)rows, from + first * sc, sc, to, lanes2);
        for (int64_t r = 0; r < rows && (sr != 1 || count < lanes2); r++) {
            float *line = to + r * lanes2;
            if (sr != 1 && sc == 1)
                memcpy(line, from + r * sr + first, (size_t)count * sizeof(float));
            else if (sr != 1)
                for (int64_t i = 0; i < count; i++)
                    line[i] = from[r * sr + (first + i) * sc];
            for (int64_t i = count; i < lanes2; i++)
                line[i] = 0.0f;
        }
    }
}

/* All rows of a block by all panels: c[row][column] = a[row] · panel. */
static void multiply(const gi_cpu *d, const gk_tap *tap, const float *a, int64_t pixel, int64_t rows, const float *w,
                     int64_t columns, float *to, int64_t line)
{
    const int64_t lanes2 = 2 * d->block, tile = d->k->tile, pieces = (rows + tile - 1) / tile;
    gk_conv_tile t = { .pixel = pixel,
                       .taps = tap,
                       .n_taps = 1,
                       .dst_pixel = line,
                       .dst_col = d->block,
                       .lo = -INFINITY,
                       .hi = INFINITY };
    for (int64_t first = 0; first < columns; first += lanes2) {
        t.w = w + first * tap->channels;
        t.columns = (int)gi_min_i64(lanes2, columns - first);
        int64_t r = 0;
        for (int64_t i = 0; i < pieces; i++) {
            const int64_t count = rows / pieces + (i < rows % pieces), h = (count + 1) / 2;
            t.src = a + r * pixel;
            t.half = h * pixel;
            t.dst = to + r * line + first;
            t.dst_half = h * line;
            t.pixels = (int)count;
            d->k->conv_tile(&t);
            r += count;
        }
    }
}

/* Elements of rows first … first+rows-1 (counted over all batches) of the scores, which lie in a block. */
static void run_program(const job *j, const gi_vp *p, float *block, int64_t first, int64_t rows, char *scratch)
{
    const gi_attention *v = j->v;
    const size_t a = v->before ? gi_vp_scratch(v->before) : 0, b = v->behind ? gi_vp_scratch(v->behind) : 0;
    const void **in = (const void **)(void *)(scratch + (((a > b ? a : b) + 64 + 63) & ~(size_t)63));
    const int64_t turns = v->line == v->n ? 1 : rows, each = rows / turns;
    if (!p)
        return;
    for (int i = 1; i < v->n_args; i++)
        in[i] = j->args->in[i - 1].host;
    for (int64_t r = 0; r < turns; r++) {
        const int64_t from = (first + r) * v->n;
        float *at = block + r * v->line - from; /* so that element `from` lies at the row's begin */
        void *out[1] = { at };
        in[0] = at;
        gi_vp_run(j->d, p, in, out, from, from + each * v->n, scratch);
    }
}

void gi_attention_offsets(const gi_attention *v, int64_t batch, int64_t *q, int64_t *k, int64_t *x, int64_t *y)
{
    *q = *k = *x = *y = 0;
    for (int i = v->rank - 1; i >= 0; i--) {
        const int64_t at = batch % v->dims[i];
        batch /= v->dims[i];
        *q += at * v->q_strides[i];
        *k += at * v->k_strides[i];
        *x += at * v->v_strides[i];
        *y += at * v->y_strides[i];
    }
}

/* A batch's keys and values into the worker's panels. */
static void pack_batch(const job *j, int64_t at_k, int64_t at_v, float *keys, float *values)
{
    const gi_attention *v = j->v;
    const gi_cpu *d = j->d;
    pack(d, &v->k, (const float *)j->args->in[v->k.in].host + at_k, v->d, v->n, keys);
    gi_attention_scale(&v->k, keys, gi_attention_panels(d, v->n) * v->d * 2 * d->block);
    pack(d, &v->v, (const float *)j->args->in[v->v.in].host + at_v, v->n, v->dv, values);
    gi_attention_scale(&v->v, values, gi_attention_panels(d, v->dv) * v->n * 2 * d->block);
}

/* `count` rows of queries, scaled, side by side. */
static void pack_rows(const job *j, int64_t at_q, int64_t first, int64_t count, float *rows)
{
    const gi_attention *v = j->v;
    const int64_t sr = v->q.strides[v->q.rank - 2], sc = v->q.strides[v->q.rank - 1];
    const float *source = (const float *)j->args->in[v->q.in].host + at_q + first * sr;
    for (int64_t r = 0; r < count; r++, source += sr)
        if (sc == 1)
            memcpy(rows + r * v->d, source, (size_t)v->d * sizeof(float));
        else
            for (int64_t e = 0; e < v->d; e++)
                rows[r * v->d + e] = source[e * sc];
    gi_attention_scale(&v->q, rows, count * v->d);
}

void gi_attention_set_masks(const gi_attention *v, const gi_run_args *args, int64_t batch, int64_t first,
                            gk_attention *t)
{
    for (int i = 0; i < v->n_masks; i++) {
        const gi_attention_mask *m = &v->masks[i];
        int64_t rest = batch, at = first * m->row;
        for (int k = m->rank - 1; k >= 0; k--) {
            at += rest % m->dims[k] * m->strides[k];
            rest /= m->dims[k];
        }
        t->masks[i].at = (m->in < 0 ? m->data : (const float *)args->in[m->in].host) + at;
        t->masks[i].row = m->row;
        t->masks[i].one = m->key == 0;
    }
}

/* Tiles of rows, the batch's rows shared out evenly among them. */
static void run_tiles(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_attention *v = j->v;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * v->scratch;
    float *keys = (float *)(void *)(scratch + v->keys_at), *values = (float *)(void *)(scratch + v->values_at);
    float *rows = (float *)(void *)(scratch + v->rows_at);
    gk_attention t = { .keys = (size_t)v->n,
                       .d = (size_t)v->d,
                       .dv = (size_t)v->dv,
                       .q = rows,
                       .k = keys,
                       .v = values,
                       .scale = v->scale,
                       .n_masks = v->n_masks,
                       .y_row = v->y_row,
                       .work = (float *)(void *)(scratch + v->scores_at) };
    int64_t from, to, packed = -1;
    gi_share(v->batch * v->blocks, 1, worker, n_workers, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t batch = i / v->blocks, block = i % v->blocks;
        const int64_t first = block * v->m / v->blocks, count = (block + 1) * v->m / v->blocks - first;
        int64_t at_q, at_k, at_v, at_y;
        gi_attention_offsets(v, batch, &at_q, &at_k, &at_v, &at_y);
        if (batch != packed)
            pack_batch(j, at_k, at_v, keys, values);
        packed = batch;
        pack_rows(j, at_q, first, count, rows);
        gi_attention_set_masks(v, j->args, batch, first, &t);
        t.rows = (int)count;
        t.y = (float *)j->args->out[0].host + at_y + first * v->y_row;
        j->d->k->attention(&t);
    }
}

static void run_blocks(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_attention *v = j->v;
    const gi_cpu *d = j->d;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * v->scratch;
    float *keys = (float *)(void *)(scratch + v->keys_at), *values = (float *)(void *)(scratch + v->values_at);
    float *rows = (float *)(void *)(scratch + v->rows_at), *scores = (float *)(void *)(scratch + v->scores_at);
    int64_t from, to, packed = -1;
    gi_share(v->batch * v->blocks, 1, worker, n_workers, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t batch = i / v->blocks, first = i % v->blocks * v->block,
                      count = gi_min_i64(v->block, v->m - first);
        int64_t at_q, at_k, at_v, at_y;
        gi_attention_offsets(v, batch, &at_q, &at_k, &at_v, &at_y);
        if (batch != packed)
            pack_batch(j, at_k, at_v, keys, values);
        packed = batch;
        pack_rows(j, at_q, first, count, rows);
        multiply(d, &v->key_tap, rows, v->d, count, keys, v->n, scores, v->line);
        run_program(j, v->before, scores, batch * v->m + first, count, scratch);
        for (int64_t r = 0; r < count; r++)
            d->k->softmax_row((size_t)v->n, scores + r * v->line, scores + r * v->line);
        run_program(j, v->behind, scores, batch * v->m + first, count, scratch);
        multiply(d, &v->value_tap, scores, v->line, count, values, v->dv,
                 (float *)j->args->out[0].host + at_y + first * v->y_row, v->y_row);
    }
}

gopt_status gi_attention_run_fp32(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, j.v->tiles ? run_tiles : run_blocks, &j);
    return GOPT_OK;
}
