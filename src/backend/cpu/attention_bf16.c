/* Tactic "attention_bf16": attention whose two products have operands in bfloat16; sums, scores and exponents are float.
 *
 * As with "attention" a worker packs one batch's keys and values and goes through its rows a tile at a time; here they
 * are packed in panels of pairs, which is what the units for bfloat16 take (gk_bf16_attention). What the rounding costs
 * is measured when the step is prepared: on random queries, keys and values, with the graph's own scale. */
#include <math.h>

#include "backend/cpu/attention.h"
#include "backend/cpu/bf16.h"

enum { GROUP = GK_BF16_K, PANEL = GK_BF16_K * GK_BF16_COLUMNS };

typedef struct attention_bf16 {
    gi_attention a;
    const gk_bf16_unit *unit;
    int64_t depth, groups, columns; /* groups of 32 of a key's numbers, of keys, of a value's numbers */
    uint64_t keys_at, values_at, rows_at, floats_at, work_at, scratch; /* of a worker, in bytes */
} attention_bf16;

/* ---- does it pay, and what is lost? ---- */

enum { TRIAL_ROWS = 4, TRIAL_KEYS = 64, TRIAL_D = 64 };

typedef struct trial {
    float q[TRIAL_ROWS][TRIAL_D], k[TRIAL_KEYS][TRIAL_D], v[TRIAL_KEYS];
} trial;

static double rounded(float x, bool narrow)
{
    return (double)(narrow ? gk_bf16_value(gk_bf16_of(x)) : x);
}

/* One number of the result of row r. */
static double attend(const trial *t, int r, int d, double scale, bool narrow)
{
    double score[TRIAL_KEYS], best = -INFINITY, sum = 0, y = 0;
    for (int j = 0; j < TRIAL_KEYS; j++) {
        score[j] = 0;
        for (int i = 0; i < d; i++)
            score[j] += rounded(t->q[r][i], narrow) * rounded(t->k[j][i], narrow);
        score[j] *= scale;
        best = score[j] > best ? score[j] : best;
    }
    for (int j = 0; j < TRIAL_KEYS; j++) {
        const double p = exp(score[j] - best);
        sum += p;
        y += rounded((float)p, narrow) * rounded(t->v[j], narrow);
    }
    return y / sum;
}

/* The largest error over the largest value. */
static double loss_of(const gi_attention *v)
{
    uint32_t seed = 7;
    const int d = (int)gi_min_i64(v->d, TRIAL_D);
    trial t;
    double error = 0, largest = 0;
    for (int r = 0; r < TRIAL_ROWS; r++)
        for (int i = 0; i < d; i++)
            t.q[r][i] = gi_bf16_noise(&seed);
    for (int j = 0; j < TRIAL_KEYS; j++) {
        for (int i = 0; i < d; i++)
            t.k[j][i] = gi_bf16_noise(&seed);
        t.v[j] = gi_bf16_noise(&seed);
        largest = fabs((double)t.v[j]) > largest ? fabs((double)t.v[j]) : largest;
    }
    for (int r = 0; r < TRIAL_ROWS; r++) {
        const double e = attend(&t, r, d, (double)v->scale, true) - attend(&t, r, d, (double)v->scale, false);
        error = fabs(e) > error || e != e ? fabs(e) : error;
    }
    return error / largest;
}

static double padded(int64_t n, int64_t to)
{
    return (double)((n + to - 1) / to * to);
}

/* Exponents cost what some 60 operations of fp32 do, in both. */
static gopt_status may_run(const gi_cpu *d, gi_cpu_step *c, const attention_bf16 *v, bool *ok)
{
    const gi_attention *a = &v->a;
    const double pairs = (double)a->batch * (double)a->m * (double)a->n, sizes = (double)(a->d + a->dv);
    const double rows = padded(a->m, v->unit->flat ? 16 : 1), keys = padded(a->n, GROUP);
    const double work = 2 * (double)a->batch * rows * keys * (double)((v->depth + v->columns) * GROUP);
    const double fp32 = gi_cpu_ms(d, 2 * pairs * sizes + 60 * pairs, 0);
    if (d->precision == GI_BF16)
        return GOPT_OK;
    c->estimate_ms = gi_cpu_ms(d, work / v->unit->speed + 60 * pairs, 0);
    *ok = c->estimate_ms < fp32;
    if (!*ok)
        return gi_cpu_decline(c, "fp32 is faster: an estimated %.3g ms instead of %.3g", fp32, c->estimate_ms);
    const double loss = loss_of(a);
    *ok = loss <= gi_bf16_best_loss;
    if (!*ok)
        return gi_cpu_decline(c, "it would be off by %.2g of its largest result, and %.2g is allowed", loss,
                              gi_bf16_best_loss);
    return GOPT_OK;
}

/* ---- preparing ---- */

static uint64_t take(uint64_t *at, int64_t bytes)
{
    const uint64_t begin = *at;
    *at = (begin + (uint64_t)bytes + 63) & ~(uint64_t)63;
    return begin;
}

static void lay_out(attention_bf16 *v)
{
    const int64_t pixels = v->unit->pixels, half = (int64_t)sizeof(uint16_t), whole = (int64_t)sizeof(float);
    uint64_t end = 0;
    v->a.blocks = (v->a.m + pixels - 1) / pixels;
    v->keys_at = take(&end, v->groups * v->depth * PANEL * half);
    v->values_at = take(&end, v->groups * v->columns * PANEL * half);
    v->rows_at = take(&end, v->depth * pixels * GROUP * half);
    v->floats_at = take(&end, GROUP * GROUP * whole + GROUP * GROUP * half);
    v->work_at = take(&end, (int64_t)v->unit->attention_work((size_t)v->a.dv));
    v->scratch = end;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    bool ok;
    if (!gi_bf16_asked(d, 1))
        return GOPT_OK;
    attention_bf16 *v = gi_cpu_own(c, sizeof(*v));
    GI_NEED(v);
    v->unit = d->bf16;
    GI_TRY(gi_attention_read(d, s, c, &v->a, &ok));
    if (!ok)
        return GOPT_OK;
    if (v->a.d > GK_BF16_ATTENTION_D)
        return gi_cpu_decline(c, "a key has %lld numbers, and this takes %d", (long long)v->a.d, GK_BF16_ATTENTION_D);
    v->depth = (v->a.d + GROUP - 1) / GROUP;
    v->groups = (v->a.n + GROUP - 1) / GROUP;
    v->columns = (v->a.dv + GROUP - 1) / GROUP;
    GI_TRY(may_run(d, c, v, &ok));
    if (!ok)
        return GOPT_OK;
    lay_out(v);
    s->scratch = v->scratch * (uint64_t)d->threads;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

/* ---- running ---- */

typedef struct job {
    const gi_cpu *d;
    const attention_bf16 *v;
    const gi_run_args *args;
} job;

/* Up to 32 rows of up to 32 numbers, scaled and side by side. Rows that are so already stay where they are. */
static const float *rows_of(const gi_attention_operand *o, const float *from, ptrdiff_t row, ptrdiff_t column,
                            int64_t rows, int64_t columns, float *copy, ptrdiff_t *pitch)
{
    *pitch = row;
    if (column == 1 && o->scaling == GI_UNSCALED)
        return from;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < columns; i++)
            copy[r * GROUP + i] = from[r * row + i * column];
    gi_attention_scale(o, copy, rows * GROUP);
    *pitch = GROUP;
    return copy;
}

static gk_bf16_pack pack_of(const float *src, ptrdiff_t pitch, int64_t rows, int64_t columns, uint16_t *to)
{
    return (gk_bf16_pack){ .src = src,
                           .pixel = pitch,
                           .src_block = 16,
                           .block = 16,
                           .channels = (int)columns,
                           .parts = 1,
                           .dst = to,
                           .n = (size_t)rows };
}

/* Keys by panels of 32: each is rounded, then its pairs of numbers go across. */
static void pack_keys(const job *j, const float *from, char *scratch)
{
    const attention_bf16 *v = j->v;
    const gi_attention_operand *o = &v->a.k;
    const ptrdiff_t key = o->strides[o->rank - 1], one = o->strides[o->rank - 2];
    float *copy = (float *)(void *)(scratch + v->floats_at);
    uint16_t *lines = (uint16_t *)(void *)(copy + GROUP * GROUP), *to = (uint16_t *)(void *)(scratch + v->keys_at);
    for (int64_t first = 0; first < v->a.n; first += GROUP)
        for (int64_t d = 0; d < v->a.d; d += GROUP, to += PANEL) {
            const int64_t keys = gi_min_i64(GROUP, v->a.n - first), n = gi_min_i64(GROUP, v->a.d - d);
            ptrdiff_t pitch;
            const float *src = rows_of(o, from + first * key + d * one, key, one, keys, n, copy, &pitch);
            const gk_bf16_pack p = pack_of(src, pitch, keys, n, lines);
            (void)v->unit->pack(&p);
            memset(lines + keys * GROUP, 0, (size_t)((GROUP - keys) * GROUP) * sizeof(*lines));
            j->d->k->transpose(GROUP, GROUP / 2, (const float *)(const void *)lines, GROUP / 2, (float *)(void *)to,
                               GROUP);
        }
}

static void pack_values(const job *j, const float *from, char *scratch)
{
    const attention_bf16 *v = j->v;
    const gi_attention_operand *o = &v->a.v;
    const ptrdiff_t key = o->strides[o->rank - 2], one = o->strides[o->rank - 1];
    float *copy = (float *)(void *)(scratch + v->floats_at);
    uint16_t *to = (uint16_t *)(void *)(scratch + v->values_at);
    for (int64_t first = 0; first < v->a.dv; first += GROUP)
        for (int64_t k = 0; k < v->a.n; k += GROUP, to += PANEL) {
            const int64_t keys = gi_min_i64(GROUP, v->a.n - k), n = gi_min_i64(GROUP, v->a.dv - first);
            ptrdiff_t pitch;
            const float *src = rows_of(o, from + k * key + first * one, key, one, keys, n, copy, &pitch);
            const gk_bf16_pack p = pack_of(src, pitch, keys, n, to);
            v->unit->pack_pairs(&p);
            const int64_t there = (keys + 1) / 2 * 2 * GROUP;
            memset(to + there, 0, (size_t)(PANEL - there) * sizeof(*to));
        }
}

static void pack_rows(const job *j, const float *from, int64_t count, char *scratch)
{
    const attention_bf16 *v = j->v;
    const gi_attention_operand *o = &v->a.q;
    const ptrdiff_t row = o->strides[o->rank - 2], one = o->strides[o->rank - 1];
    float *copy = (float *)(void *)(scratch + v->floats_at);
    uint16_t *to = (uint16_t *)(void *)(scratch + v->rows_at);
    for (int64_t d = 0; d < v->a.d; d += GROUP, to += v->unit->pixels * GROUP) {
        const int64_t n = gi_min_i64(GROUP, v->a.d - d);
        ptrdiff_t pitch;
        const float *src = rows_of(o, from + d * one, row, one, count, n, copy, &pitch);
        const gk_bf16_pack p = pack_of(src, pitch, count, n, to);
        (void)v->unit->pack(&p);
    }
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const attention_bf16 *v = j->v;
    const gi_attention *a = &v->a;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * v->scratch;
    gk_attention t = { .keys = (size_t)a->n,
                       .d = (size_t)a->d,
                       .dv = (size_t)a->dv,
                       .scale = a->scale,
                       .n_masks = a->n_masks,
                       .y_row = a->y_row };
    const gk_bf16_attention tile = { .of = &t,
                                     .q = (uint16_t *)(void *)(scratch + v->rows_at),
                                     .k = (uint16_t *)(void *)(scratch + v->keys_at),
                                     .v = (uint16_t *)(void *)(scratch + v->values_at),
                                     .work = scratch + v->work_at };
    int64_t from, to, packed = -1;
    gi_share(a->batch * a->blocks, 1, worker, n_workers, &from, &to);
    if (from == to)
        return;
    v->unit->begin();
    for (int64_t i = from; i < to; i++) {
        const int64_t batch = i / a->blocks, block = i % a->blocks;
        const int64_t first = block * a->m / a->blocks, count = (block + 1) * a->m / a->blocks - first;
        int64_t at_q, at_k, at_v, at_y;
        gi_attention_offsets(a, batch, &at_q, &at_k, &at_v, &at_y);
        if (batch != packed) {
            pack_keys(j, (const float *)j->args->in[a->k.in].host + at_k, scratch);
            pack_values(j, (const float *)j->args->in[a->v.in].host + at_v, scratch);
        }
        packed = batch;
        pack_rows(j, (const float *)j->args->in[a->q.in].host + at_q + first * a->q.strides[a->q.rank - 2], count,
                  scratch);
        gi_attention_set_masks(a, j->args, batch, first, &t);
        t.rows = (int)count;
        t.y = (float *)j->args->out[0].host + at_y + first * a->y_row;
        v->unit->attention(&tile);
    }
    v->unit->end();
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_attention_bf16 = { .name = "attention_bf16", .prepare = prepare, .run = run, .packs = true };
