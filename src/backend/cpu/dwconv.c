/* Tactic "conv_depthwise": one filter a channel, over blocked images. Workers share the rows of all channel blocks;
 * nothing is copied, the kernel goes around what lies outside of the image. */
#include "backend/cpu/epilogue.h"
#include "backend/cpu/window.h"

enum { ROWS_EACH = 5 };

typedef struct dwconv {
    gi_epilogue e;
    gi_window w;
    int add;
    bool bf16;
    int64_t block;
    float *weights, *bias; /* [channel block][kh][kw][lanes], [channel block][lanes] */
    uint64_t scratch;
} dwconv;

static bool applies(const gi_node *n, dwconv *v)
{
    const gi_value *x = gi_node_in(n, Conv_in_X), *bv = gi_node_in(n, Conv_in_B);
    const gi_blob *wb = gi_value_blob(gi_node_in(n, Conv_in_W)), *bb = gi_value_blob(bv);
    if (!wb || wb->dtype != GOPT_F32 || wb->rank < 3 || (bv && (!bb || bb->dtype != GOPT_F32)))
        return false;
    if (!gi_window_of(n, x, n->out[0], Conv_at_auto_pad, Conv_at_pads, Conv_at_strides, Conv_at_dilations,
                      (uint32_t)wb->rank - 2, wb->dims + 2, &v->w))
        return false;
    return v->w.c > 1 && gi_attr_int(n, Conv_at_group) == v->w.c && v->w.oc == v->w.c && wb->dims[0] == v->w.c &&
           wb->dims[1] == 1 && (!bb || gi_blob_elements(bb) == v->w.c);
}

bool gi_conv_depthwise_takes(const gi_cpu *d, const gi_node *n)
{
    dwconv v;
    (void)d;
    return n->op == OP_Conv && applies(n, &v);
}

/* Where in its block a channel's weights lie: as gk_dwconv_row says. */
static int64_t lane_of(const gi_cpu *d, const dwconv *v, int64_t channel)
{
    const int64_t pair = 2 * d->block, in = channel % v->block;
    return v->bf16 ? in / pair * pair + in % 2 * d->block + in % pair / 2 : in;
}

static gopt_status pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, dwconv *v)
{
    const gi_blob *wb = gi_value_blob(gi_node_in(v->e.main, Conv_in_W));
    const gi_blob *bb = gi_value_blob(gi_node_in(v->e.main, Conv_in_B));
    const int64_t block = v->block, blocks = (v->w.c + block - 1) / block, per = v->w.kh * v->w.kw;
    v->weights = gi_cpu_pack(d, s, c, (size_t)(blocks * per * block) * sizeof(float));
    v->bias = gi_cpu_pack(d, s, c, (size_t)(blocks * block) * sizeof(float));
    GI_NEED(v->weights && v->bias);
    memset(v->weights, 0, (size_t)(blocks * per * block) * sizeof(float));
    memset(v->bias, 0, (size_t)(blocks * block) * sizeof(float));
    for (int64_t ch = 0; ch < v->w.c; ch++) {
        for (int64_t k = 0; k < per; k++)
            memcpy(&v->weights[(ch / block * per + k) * block + lane_of(d, v, ch)],
                   (const char *)wb->data + (size_t)(ch * per + k) * sizeof(float), sizeof(float));
        const gi_blob *const from[2] = { bb, v->e.bias };
        for (int i = 0; i < 2; i++) {
            float x = 0.0f;
            if (from[i])
                memcpy(&x, (const char *)from[i]->data + (size_t)ch * sizeof(x), sizeof(x));
            v->bias[ch / block * block + lane_of(d, v, ch)] += x;
        }
    }
    return GOPT_OK;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    dwconv *v = gi_cpu_own(c, sizeof(*v));
    bool ok;
    GI_NEED(v);
    GI_TRY(gi_epilogue_find(c, s, OP_Conv, OP_Conv, 1, &v->e, &ok));
    if (!ok || !applies(v->e.main, v))
        return GOPT_OK;
    gi_value *x = gi_node_in(v->e.main, Conv_in_X);
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, x) && gi_epilogue_values(&v->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    v->add = v->e.add ? gi_cpu_in_index(s, v->e.add) : -1;
    v->bf16 = c->have_in[0] == GI_BLOCKED_BF16 && c->have_out[0] == GI_BLOCKED_BF16;
    const gi_layout layout = v->bf16 ? GI_BLOCKED_BF16 : GI_BLOCKED;
    v->block = gi_cpu_layout_block(d, layout);
    gi_cpu_want_like(s, c, s->out[0]->type, layout);
    c->want_in[0] = layout;
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, &ok));
    if (!ok)
        return GOPT_OK;
    if (!c->dry)
        GI_TRY(pack(d, s, c, v));
    v->scratch = gi_epilogue_scratch(&v->e);
    s->scratch = v->scratch * (uint64_t)d->threads;
    s->gflop = 2e-9 * (double)(v->w.n * v->w.oc * v->w.oh * v->w.ow) * (double)(v->w.kh * v->w.kw);
    if (v->add > 0 && !v->e.n_rest)
        s->in_place = v->add;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

typedef struct job {
    const gi_cpu *d;
    const dwconv *v;
    const gi_run_args *args;
} job;

/* Output rows r0 … r1-1 of one block of channels of an image. */
static void run_rows(const job *j, int64_t plane, int64_t r0, int64_t r1, void *scratch)
{
    const dwconv *v = j->v;
    const gi_window *w = &v->w;
    const int64_t block = v->block, cb = plane % ((w->c + block - 1) / block);
    const int64_t item = v->bf16 ? sizeof(uint16_t) : sizeof(float);
    const char *x = j->args->in[0].host, *add = v->add >= 0 ? j->args->in[v->add].host : NULL;
    char *y = j->args->out[0].host;
    gk_dwconv_row t = { .row_stride = w->dh * w->iw * block,
                        .w = v->weights + cb * w->kh * w->kw * block,
                        .bias = v->bias + cb * block,
                        .kw = (int)w->kw,
                        .stride = (int)w->sw,
                        .dilation = (int)w->dw,
                        .pad = (int)w->pl,
                        .in_w = (int)w->iw,
                        .out_w = (int)w->ow,
                        .lo = v->e.lo,
                        .hi = v->e.hi };
    for (int64_t r = r0; r < r1; r++) {
        const int64_t at = (plane * w->oh + r) * w->ow * block;
        int64_t h0, h1;
        gi_window_rows(w, r, &h0, &h1);
        t.kh0 = (int)h0;
        t.kh1 = (int)h1;
        t.row = x + (plane * w->ih + r * w->sh - w->pt) * w->iw * block * item;
        t.add = add ? add + at * item : NULL;
        t.dst = y + at * item;
        (v->bf16 ? j->d->k->dwconv_row_bf16 : j->d->k->dwconv_row)(&t);
        if (v->e.program)
            gi_epilogue_run(j->d, &v->e, j->args, at, at + w->ow * block, scratch);
    }
}

/* The same rows of all channels, as the convolutions before and behind share them, so that a core reads what it wrote;
 * where there are too few, rows of all blocks of channels as one. */
static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_window *w = &j->v->w;
    const int64_t block = j->v->block, blocks = (w->c + block - 1) / block;
    const bool by_rows = w->n * w->oh >= ROWS_EACH * n_workers;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * j->v->scratch;
    int64_t from, to;
    gi_share(w->n * w->oh * (by_rows ? 1 : blocks), 1, worker, n_workers, &from, &to);
    for (int64_t i = from, end; i < to; i = end) {
        const int64_t of = i / w->oh, first = of * w->oh;
        end = gi_min_i64(to, first + w->oh);
        for (int64_t cb = 0; cb < (by_rows ? blocks : 1); cb++)
            run_rows(j, by_rows ? of * blocks + cb : of, i - first, end - first, scratch);
    }
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_conv_depthwise = { .name = "conv_depthwise", .prepare = prepare, .run = run, .packs = true };
