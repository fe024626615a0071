/* Tactic "conv_winograd": 3x3 convolutions over blocked images by Winograd's algorithm (see kernels/cpu/winograd.h).
 *
 *     image ─ transform ─ V[position][channel][tile] ─ product per position ─ M[position][output channel][tile] ─ back
 *
 * A worker owns a range of tiles, of output channels, or of both. It takes as many tiles at a time as leave V in the
 * second-level cache, and for these goes through its output channels in panels of two blocks: all positions of a panel
 * are multiplied, and then turned into outputs, so that M is one panel. Where that would read the weights too often, V
 * and M are larger and go through all panels of a position (by_positions). Workers that share the channels each
 * transform the tiles for themselves: where channels are many that is little, and needs no meeting.
 * Weights lie in the order in which they are read: [panel][position][channel][1 or 2 blocks]. */
#include <math.h>

#include "backend/cpu/winograd.h"

static const double ERROR = 1e-5; /* of the layer's largest result, at most */

/* ---- preparing ---- */

/* Rows of G (see gk.h). */
static void filter_transform(int m, double (*g)[3])
{
    static const double points[2][5] = { { 0, 1, -1 }, { 0, GK_WINO_P, -GK_WINO_P, GK_WINO_Q, -GK_WINO_Q } };
    const double *a = points[m == 4];
    for (int j = 0; j < m + 1; j++) {
        double f = 1;
        for (int k = 0; k < m + 1; k++)
            f *= k == j ? 1 : a[j] - a[k];
        for (int i = 0; i < 3; i++)
            g[j][i] = (i == 0 ? 1 : i == 1 ? a[j] : a[j] * a[j]) / f;
    }
    g[m + 1][0] = g[m + 1][1] = 0;
    g[m + 1][2] = 1;
}

/* One channel of a panel: filters w[i][9], `stride` floats apart, to to[position * by][wide]. */
static void pack_channel(const gi_winograd *v, double (*g)[3], const float *w, int64_t stride, int64_t count,
                         int64_t wide, float *to, int64_t by)
{
    enum { LANES = 32 };
    double half[GI_WINO_SIDE][3][LANES];
    for (int64_t o = 0; o < wide; o++)
        for (int k = 0; k < 3; k++) {
            double x[3] = { 0 };
            for (int r = 0; r < 3 && o < count; r++)
                x[r] = (double)w[o * stride + r * 3 + k];
            for (int i = 0; i < v->side; i++)
                half[i][k][o] = g[i][0] * x[0] + g[i][1] * x[1] + g[i][2] * x[2];
        }
    for (int i = 0; i < v->side; i++)
        for (int c = 0; c < v->side; c++, to += by)
            for (int64_t o = 0; o < wide; o++)
                to[o] = (float)(g[c][0] * half[i][0][o] + g[c][1] * half[i][1][o] + g[c][2] * half[i][2][o]);
}

/* How many blocks of output channels lie before panel p, of all groups. */
static int64_t panel_start(const gi_winograd *v, int64_t p)
{
    return p / v->panels * v->out_blocks + p % v->panels * 2;
}

static const float *panel_weights(const gi_cpu *d, const gi_winograd *v, int64_t p)
{
    return v->weights + panel_start(v, p) * v->positions * v->icg * d->block;
}

/* Panel p of dense weights: [position][channel][its blocks]. */
void gi_winograd_pack_panel(const gi_cpu *d, const gi_winograd *v, const float *w, int64_t p, float *to)
{
    const int64_t wide = gi_winograd_panel_width(v, p) * d->block, by = v->icg * wide,
                  done = p % v->panels * 2 * d->block;
    const int64_t first = p / v->panels * v->ocg + done;
    double g[GI_WINO_SIDE][3];
    filter_transform(v->m, g);
    for (int64_t c = 0; c < v->icg; c++)
        pack_channel(v, g, w + (first * v->icg + c) * 9, v->icg * 9, gi_min_i64(wide, v->ocg - done), wide,
                     to + c * wide, by);
}

static void pack_bias(const gi_cpu *d, const gi_winograd *v)
{
    const gi_blob *from[2] = { gi_value_blob(gi_node_in(v->e.main, Conv_in_B)), v->e.bias };
    memset(v->bias, 0, (size_t)(v->group * v->out_blocks * d->block) * sizeof(float));
    for (int i = 0; i < 2; i++)
        for (int64_t o = 0; from[i] && o < v->w.oc; o++) {
            float x;
            memcpy(&x, (const char *)from[i]->data + (size_t)o * sizeof(x), sizeof(x));
            v->bias[o / v->ocg * v->out_blocks * d->block + o % v->ocg] += x;
        }
}

static gopt_status pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_winograd *v)
{
    gi_blob *wb = gi_value_blob(gi_node_in(v->e.main, Conv_in_W));
    const int64_t order[] = { v->m, v->group, v->ocg, v->icg, d->block };
    bool filled;
    v->weights = gi_cpu_pack_of(d, s, c, wb, gi_cpu_order(&gi_tactic_conv_winograd, order, sizeof(order)),
                                (size_t)gi_winograd_bytes(d, v), &filled);
    v->bias = gi_cpu_pack(d, s, c, (size_t)(v->group * v->out_blocks * d->block) * sizeof(float));
    GI_NEED(v->weights && v->bias);
    for (int64_t p = 0; p < v->group * v->panels && !filled; p++)
        gi_winograd_pack_panel(d, v, wb->data, p, v->weights + (panel_weights(d, v, p) - v->weights));
    pack_bias(d, v);
    return GOPT_OK;
}

gopt_status gi_winograd_taps(const gi_cpu *d, gi_arena *a, gi_winograd *v)
{
    v->taps = GI_NEW_ARRAY(a, gk_tap, v->blocks);
    GI_NEED(v->taps);
    for (int64_t b = 0; b < v->blocks; b++)
        v->taps[b] = (gk_tap){ b * v->most * d->block, gi_min_i64(d->block, v->icg - b * d->block) };
    return GOPT_OK;
}

/* ---- running ---- */

/* Tiles of the ones in hand that lie in one row of an image. */
typedef struct span {
    int64_t image, row, column; /* in tiles */
    int64_t at, count;          /* of the tiles in hand */
} span;

static bool next_span(const gi_winograd_job *j, span *s)
{
    const gi_winograd *v = j->v;
    s->at += s->count;
    if (s->at >= j->count)
        return false;
    const int64_t tile = j->first + s->at;
    s->column = tile % v->across;
    s->row = tile / v->across % v->down;
    s->image = tile / v->across / v->down;
    s->count = gi_min_i64(v->across - s->column, j->count - s->at);
    return true;
}

static void transform_in(const gi_winograd_job *j, int64_t group)
{
    const gi_winograd *v = j->v;
    const gi_window *w = &v->w;
    const int64_t block = j->d->block, plane = w->ih * w->iw * block;
    const float *x = j->args->in[0].host;
    gk_winograd_in t = { .m = v->m, .height = (int)w->ih, .width = (int)w->iw, .position = v->v_position };
    for (span s = { 0 }; next_span(j, &s);)
        for (int64_t b = 0; b < v->blocks; b++) {
            t.src = x + ((s.image * v->group + group) * v->blocks + b) * plane;
            t.y = (int)(s.row * v->m - w->pt);
            t.x = (int)(s.column * v->m - w->pl);
            t.tiles = (int)s.count;
            t.dst = j->in + (b * v->most + s.at) * block;
            j->d->k->winograd_in(&t);
        }
}

/* Positions p0 … p1-1 of a panel. */
static void multiply(const gi_winograd_job *j, int64_t panel, float *to, int64_t p0, int64_t p1)
{
    const gi_winograd *v = j->v;
    const gk_table *k = j->d->k;
    const int64_t block = j->d->block, wide = gi_winograd_panel_width(v, panel);
    const int64_t tile = wide == 2 ? k->tile : k->tile_one, pieces = (j->count + tile - 1) / tile;
    const float *w = panel_weights(j->d, v, panel);
    gk_conv_tile t = { .pixel = block,
                       .taps = v->taps,
                       .n_taps = (size_t)v->blocks,
                       .dst_pixel = block,
                       .dst_col = v->most * block,
                       .columns = (int)(wide * block),
                       .lo = -INFINITY,
                       .hi = INFINITY };
    for (int64_t p = p0; p < p1; p++) {
        t.w = w + p * v->icg * wide * block;
        int64_t x = 0;
        for (int64_t i = 0; i < pieces; i++) {
            const int64_t n = j->count / pieces + (i < j->count % pieces);
            t.src = j->in + p * v->v_position + x * block;
            t.dst = to + p * v->m_position + x * block;
            t.half = t.dst_half = (n + 1) / 2 * block;
            t.pixels = (int)n;
            (wide == 2 ? k->conv_tile : k->conv_tile_one)(&t);
            x += n;
        }
    }
}

/* A panel's block k of channels: M to outputs, and what follows on those. */
static void transform_out(const gi_winograd_job *j, int64_t panel, int64_t k, const float *from)
{
    const gi_winograd *v = j->v;
    const gi_window *w = &v->w;
    const int64_t block = j->d->block, pixels = w->oh * w->ow;
    const int64_t cb = panel_start(v, panel) + k;
    const int64_t channel_blocks = (w->oc + block - 1) / block;
    float *y = j->args->out[0].host;
    const float *add = v->add >= 0 ? j->args->in[v->add].host : NULL;
    gk_winograd_out t = { .m = v->m,
                          .position = v->m_position,
                          .bias = v->bias + cb * block,
                          .row = w->ow * block,
                          .lo = v->e.lo,
                          .hi = v->e.hi };
    for (span s = { 0 }; next_span(j, &s);) {
        const int64_t x = s.column * v->m, width = gi_min_i64(w->ow - x, s.count * v->m);
        const int64_t at = (s.image * channel_blocks + cb) * pixels + s.row * v->m * w->ow + x;
        const int64_t rows = gi_min_i64(v->m, w->oh - s.row * v->m);
        t.src = from + (k * v->most + s.at) * block;
        t.tiles = (int)s.count;
        t.dst = y + at * block;
        t.add = add ? add + at * block : NULL;
        t.rows = (int)rows;
        t.columns = (int)width;
        j->d->k->winograd_out(&t);
        /* whole rows lie behind each other */
        const int64_t runs = width == w->ow ? 1 : rows, length = width == w->ow ? rows * width : width;
        for (int64_t r = 0; v->e.program && r < runs; r++)
            gi_epilogue_run(j->d, &v->e, j->args, (at + r * w->ow) * block, (at + r * w->ow + length) * block,
                            j->scratch);
    }
}

static void turn_back(const gi_winograd_job *j, int64_t panel, const float *from)
{
    for (int64_t k = 0; k < gi_winograd_panel_width(j->v, panel); k++)
        transform_out(j, panel, k, from);
}

/* The tiles in hand, panels p0 … p1-1 of one group. */
static void run_group(const gi_winograd_job *j, int64_t p0, int64_t p1)
{
    const gi_winograd *v = j->v;
    const int64_t panel = v->positions * v->m_position;
    transform_in(j, p0 / v->panels);
    for (int64_t i = 0; v->by_positions && i < v->positions; i++)
        for (int64_t p = p0; p < p1; p++)
            multiply(j, p, j->out + (p - p0) * panel, i, i + 1);
    for (int64_t p = p0; p < p1; p++) {
        if (!v->by_positions)
            multiply(j, p, j->out, 0, v->positions);
        turn_back(j, p, v->by_positions ? j->out + (p - p0) * panel : j->out);
    }
}

/* The same of all groups, and of no more panels at a time than M has room for. */
void gi_winograd_run_tiles(const gi_winograd_job *j, int64_t p0, int64_t p1)
{
    const gi_winograd *v = j->v;
    for (int64_t end; p0 < p1; p0 = end) {
        end = gi_min_i64(p1, (p0 / v->panels + 1) * v->panels);
        end = v->by_positions ? gi_min_i64(end, p0 + v->kept) : end;
        run_group(j, p0, end);
    }
}

static void run_part(void *arg, int worker, int n_workers)
{
    gi_winograd_job j = *(const gi_winograd_job *)arg;
    const gi_winograd *v = j.v;
    const int split = n_workers % v->split ? 1 : v->split, along = n_workers / split;
    int64_t p0, p1, u0, u1;
    gi_share(v->group * v->panels, 1, worker % split, split, &p0, &p1);
    gi_share(v->w.n * v->down * v->across, 1, worker / split, along, &u0, &u1);
    if (p0 == p1)
        return;
    j.scratch = (char *)j.args->scratch + (uint64_t)worker * v->scratch;
    j.in = (float *)(void *)(j.scratch + gi_epilogue_scratch(&v->e));
    j.out = j.in + v->positions * v->v_position;
    const int64_t turns = (u1 - u0 + v->most - 1) / v->most;
    for (int64_t i = 0; i < turns; i++, u0 += j.count) {
        j.first = u0;
        j.count = (u1 - u0 + turns - i - 1) / (turns - i);
        gi_winograd_run_tiles(&j, p0, p1);
    }
}

/* ---- taking a step ---- */

/* Is it worth it? Where the caller has his own ways to find out, he does. */
static gopt_status judge_cost(const gi_cpu *d, const gi_step *s, gi_cpu_step *c, const gi_winograd *v, bool *ok)
{
    const gi_cpu_plan *p = s->plan;
    c->estimate_ms = gi_winograd_ms(d, v);
    c->packed_bytes = (uint64_t)gi_winograd_bytes(d, v);
    *ok = s->ask_all || s->want || d->prefer;
    if (*ok)
        return GOPT_OK;
    if (!gi_winograd_pays(d, v))
        return gi_cpu_decline(c, "it would take %.3g ms, direct sums %.3g", c->estimate_ms,
                              gi_winograd_direct_ms(d, v));
    if (p && (int)(uintptr_t)gi_map_get(&p->winograd, (uint64_t)v->e.main->id + 1) < v->m + 1)
        return gi_cpu_decline(c,
                              "its weights take %.3g MB; of what memory the network may spend on such, %.3g MB are "
                              "left, and other layers gain more by it",
                              (double)c->packed_bytes * 1e-6, (double)p->spare * 1e-6);
    *ok = true;
    return GOPT_OK;
}

static gopt_status judge_error(gi_cpu *d, gi_cpu_step *c, const gi_winograd *v, bool *ok)
{
    const gi_blob *wb = gi_value_blob(gi_node_in(v->e.main, Conv_in_W));
    const bool fast = d->fp == GOPT_FP_FAST;
    const double bound = fast ? 10 * ERROR : ERROR;
    double error = 0;
    GI_TRY(gi_winograd_error(d, v, wb->data, &error));
    *ok = error <= bound;
    if (*ok)
        return GOPT_OK;
    return gi_cpu_decline(c, "its error on this layer's weights is %.2g of the largest result, above %.2g%s", error,
                          bound, fast ? "" : "; --fp fast takes ten times that");
}

static int variants(const gi_cpu *d, const gi_step *s)
{
    (void)d;
    (void)s;
    return 2;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    gi_winograd *v = gi_cpu_own(c, sizeof(*v));
    bool ok;
    GI_NEED(v);
    GI_TRY(gi_epilogue_find(c, s, OP_Conv, OP_Conv, 1, &v->e, &ok));
    if (!ok || !gi_winograd_applies(d, v->e.main, v))
        return GOPT_OK;
    c->label = c->variant ? "F(2x2, 3x3)" : "F(4x4, 3x3)";
    if (d->fp == GOPT_FP_STRICT)
        return gi_cpu_decline(c, "--fp strict keeps to direct sums");
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, gi_node_in(v->e.main, Conv_in_X)) && gi_epilogue_values(&v->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    v->add = v->e.add ? gi_cpu_in_index(s, v->e.add) : -1;
    gi_cpu_want_like(s, c, s->out[0]->type, GI_BLOCKED);
    c->want_in[0] = GI_BLOCKED;
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, &ok));
    if (!ok)
        return GOPT_OK;
    gi_winograd_lay_out(d, v, c->variant ? 2 : 4);
    GI_TRY(judge_cost(d, s, c, v, &ok));
    if (ok && !s->kept && (!c->dry || c->asked)) /* kept: it was judged when the plan was built */
        GI_TRY(judge_error(d, c, v, &ok));
    if (!ok)
        return GOPT_OK;
    if (!c->dry)
        GI_TRY(pack(d, s, c, v));
    GI_TRY(gi_winograd_taps(d, c->arena, v));
    v->scratch = (uint64_t)(v->positions * (v->v_position + v->m_position * v->kept)) * sizeof(float);
    v->scratch = (v->scratch + gi_epilogue_scratch(&v->e) + 63) & ~(uint64_t)63;
    s->scratch = v->scratch * (uint64_t)d->threads;
    s->gflop = 2e-9 * (double)(v->w.n * v->w.oc * v->w.oh * v->w.ow) * (double)(v->icg * 9);
    if (v->add > 0 && !v->e.n_rest)
        s->in_place = v->add;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    gi_winograd_job j = { .d = d, .v = c->own, .args = args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_conv_winograd = {
    .name = "conv_winograd", .prepare = prepare, .run = run, .packs = true, .variants = variants
};
