/* Tactic "pool": MaxPool, AveragePool and their global forms over blocked images, with pointwise nodes behind them as a
 * program over each row just written. */
#include <limits.h>

#include "backend/cpu/epilogue.h"
#include "backend/cpu/window.h"

typedef struct pool {
    gi_epilogue e;
    uint64_t scratch; /* a worker */
    gi_window w;
    bool max, global, bf16, mean_bf16;
    int64_t block;
    int count; /* of gk_pool_row */
} pool;

static bool global_window(const gi_node *n, gi_window *w)
{
    int rank, ry;
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    if (!gi_cpu_static_f32(gi_node_in(n, 0), &rank, x) || !gi_cpu_static_f32(n->out[0], &ry, y) || rank != ry ||
        rank < 3 || rank > 4 || gi_product(0, rank, x) <= 0)
        return false;
    *w = (gi_window){ .n = x[0],
                      .c = x[1],
                      .oc = x[1],
                      .ih = rank == 4 ? x[2] : 1,
                      .iw = x[rank - 1],
                      .oh = 1,
                      .ow = 1,
                      .sh = 1,
                      .sw = 1,
                      .dh = 1,
                      .dw = 1 };
    w->kh = w->ih;
    w->kw = w->iw;
    return true;
}

static bool applies(const gi_node *n, pool *v)
{
    const int64_t *k;
    uint32_t nk;
    switch (n->op) {
    case OP_GlobalAveragePool:
    case OP_GlobalMaxPool:
        v->global = true;
        v->max = n->op == OP_GlobalMaxPool;
        return global_window(n, &v->w);
    case OP_MaxPool:
        v->max = true;
        nk = gi_attr_ints(n, MaxPool_at_kernel_shape, &k);
        return (n->n_out < 2 || !n->out[1]->n_uses) &&
               gi_window_of(n, gi_node_in(n, 0), n->out[0], MaxPool_at_auto_pad, MaxPool_at_pads, MaxPool_at_strides,
                            MaxPool_at_dilations, nk, k, &v->w);
    case OP_AveragePool: {
        nk = gi_attr_ints(n, AveragePool_at_kernel_shape, &k);
        if (!gi_window_of(n, gi_node_in(n, 0), n->out[0], AveragePool_at_auto_pad, AveragePool_at_pads,
                          AveragePool_at_strides, AveragePool_at_dilations, nk, k, &v->w))
            return false;
        const gi_window *w = &v->w;
        if (!gi_attr_int(n, AveragePool_at_count_include_pad))
            return true;
        /* a window that ceil_mode hangs over the padding's end has a divisor of its own: left to the reference */
        v->count = (int)(w->kh * w->kw);
        return !gi_attr_int(n, AveragePool_at_ceil_mode) && w->kh * w->kw < 1 << 24;
    }
    default:
        return false;
    }
}

bool gi_pool_takes(const gi_cpu *d, const gi_node *n)
{
    pool v = { .count = 0 };
    (void)d;
    return applies(n, &v);
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    pool *v = gi_cpu_own(c, sizeof(*v));
    gi_values in = { 0 };
    bool ok = true;
    GI_NEED(v);
    if (s->node->op == OP_Fusion) {
        GI_TRY(gi_epilogue_find(c, s, OP_MaxPool, OP_AveragePool, INT_MAX, &v->e, &ok));
        if (!ok)
            GI_TRY(gi_epilogue_find(c, s, OP_GlobalAveragePool, OP_GlobalMaxPool, INT_MAX, &v->e, &ok));
    } else {
        v->e.main = s->node;
    }
    if (!ok || !applies(v->e.main, v))
        return GOPT_OK;
    s->n_out = 1;
    GI_NEED(gi_push(c->arena, &in, gi_node_in(v->e.main, 0)) && gi_epilogue_values(&v->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    v->bf16 = c->have_in[0] == GI_BLOCKED_BF16 && c->have_out[0] == GI_BLOCKED_BF16 && (!v->global || v->max);
    const gi_layout layout = v->bf16 ? GI_BLOCKED_BF16 : GI_BLOCKED;
    v->block = gi_cpu_layout_block(d, layout);
    gi_cpu_want_like(s, c, s->out[0]->type, layout);
    c->want_in[0] = layout;
    v->mean_bf16 = v->global && !v->max && c->have_in[0] == GI_BLOCKED_BF16;
    if (v->mean_bf16) /* and the means, one number a channel, are floats */
        c->want_in[0] = GI_BLOCKED_BF16;
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, &ok));
    if (!ok)
        return GOPT_OK;
    v->scratch = gi_epilogue_scratch(&v->e);
    s->scratch = v->scratch * (uint64_t)d->threads;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

typedef struct job {
    const gi_cpu *d;
    const pool *v;
    const gi_run_args *args;
} job;

/* The sums of a block of floats' channels, which are a part of a block of bfloat16. */
static void sum_of_bf16(const job *j, int64_t i, float *y)
{
    const int64_t block = j->d->block, blocks = (j->v->w.c + block - 1) / block, first = i % blocks * block;
    const int64_t all = (j->v->w.c + GK_BF16_K - 1) / GK_BF16_K, pixels = j->v->w.ih * j->v->w.iw;
    const uint16_t *x = j->args->in[0].host;
    float sums[GK_BF16_K];
    j->d->k->sum_pixels_bf16((size_t)pixels, x + (i / blocks * all + first / GK_BF16_K) * pixels * GK_BF16_K, sums);
    memcpy(y, sums + first % GK_BF16_K, (size_t)block * sizeof(*y));
}

static void global_part(const job *j, int64_t from, int64_t to, char *scratch)
{
    const int64_t block = j->d->block, pixels = j->v->w.ih * j->v->w.iw;
    for (int64_t i = from; i < to; i++) {
        float *y = (float *)j->args->out[0].host + i * block;
        if (j->v->mean_bf16)
            sum_of_bf16(j, i, y);
        else
            j->d->k->sum_pixels((size_t)pixels, (const float *)j->args->in[0].host + i * pixels * block, y);
        for (int64_t k = 0; k < block; k++)
            y[k] /= (float)pixels;
    }
    if (j->v->e.program)
        gi_epilogue_run(j->d, &j->v->e, j->args, from * block, to * block, scratch);
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_window *w = &j->v->w;
    const int64_t block = j->v->block, blocks = (w->c + block - 1) / block;
    const int64_t item = j->v->bf16 ? sizeof(uint16_t) : sizeof(float);
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * j->v->scratch;
    int64_t from, to;
    if (j->v->global && !j->v->max) {
        gi_share(w->n * blocks, 1, worker, n_workers, &from, &to);
        global_part(j, from, to, scratch);
        return;
    }
    gk_pool_row t = { .row_stride = w->dh * w->iw * block,
                      .kw = (int)w->kw,
                      .stride = (int)w->sw,
                      .dilation = (int)w->dw,
                      .pad = (int)w->pl,
                      .in_w = (int)w->iw,
                      .out_w = (int)w->ow,
                      .max = j->v->max,
                      .count = j->v->count };
    gi_share(w->n * blocks * w->oh, 1, worker, n_workers, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t row = i % w->oh, plane = i / w->oh;
        int64_t h0, h1;
        gi_window_rows(w, row, &h0, &h1);
        t.kh0 = (int)h0;
        t.kh1 = (int)h1;
        t.row = (const char *)j->args->in[0].host + (plane * w->ih + row * w->sh - w->pt) * w->iw * block * item;
        t.dst = (char *)j->args->out[0].host + i * w->ow * block * item;
        (j->v->bf16 ? j->d->k->pool_row_bf16 : j->d->k->pool_row)(&t);
        if (j->v->e.program)
            gi_epilogue_run(j->d, &j->v->e, j->args, i * w->ow * block, (i + 1) * w->ow * block, scratch);
    }
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_pool = { .name = "pool", .prepare = prepare, .run = run };
