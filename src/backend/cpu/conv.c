/* Tactic "conv_direct": convolutions over blocked images, epilogue included.
 *
 * The kernel makes a tile of pixels by two blocks of output channels in registers. Around it: a worker owns a range
 * of output rows, of output channels, or of both; it goes through its rows in strips whose input fits the
 * second-level cache, and through all its channels for each strip. Where the window reaches over the image's sides,
 * the strip's rows are first copied with their zeros, once for all channels; rows above and below are left out of the
 * sum instead. Where a group's last channels fill one block alone, their tile is of one block and more pixels.
 * Weights lie in the order in which they are read: [tile][kh][channel block][kw][channel][2 lanes, or one]. */
#include "backend/cpu/epilogue.h"
#include "backend/cpu/tile.h"
#include "backend/cpu/window.h"

enum { STRIP_BYTES = 256 * 1024, PART_PIXELS = 28 * 14 };

typedef struct conv {
    gi_epilogue e;
    gi_window w;
    int x, add; /* in step->in; add -1: none */
    int64_t group, icg, ocg;
    bool plain;                 /* read from the dense layout, as if in blocks of one channel */
    bool copy;                  /* strips go through scratch, padded */
    int64_t cb, blocks;         /* channels of a block, blocks of a group */
    int64_t row, plane, pixel;  /* strides of what the kernel reads */
    int64_t tiles, tile_floats; /* a group's tiles of output channels; weights of a tile of two blocks */
    bool odd;                   /* the last tile of a group is of one block */
    int64_t strip, unit;        /* rows of a strip; pixels that a worker's share is a multiple of, if flat */
    bool flat;                  /* a pointwise convolution: all rows are one */
    int split;                  /* workers along the channels */
    gk_tap *taps;
    int64_t taps_a_row;
    float *weights, *bias;
    uint64_t scratch; /* a worker */
} conv;

/* Blocks of output channels in tile t. */
static int tile_blocks(const conv *v, int64_t t)
{
    return v->odd && t % v->tiles == v->tiles - 1 ? 1 : 2;
}

/* ---- preparing ---- */

static void pack_weights(const gi_cpu *d, const conv *v, const float *w)
{
    const int64_t per = v->w.kh * v->w.kw;
    for (int64_t t = 0; t < v->group * v->tiles; t++) {
        const int64_t lanes = tile_blocks(v, t) * d->block, done = t % v->tiles * 2 * d->block;
        const int64_t first = t / v->tiles * v->ocg + done, count = gi_min_i64(lanes, v->ocg - done);
        float *to = v->weights + t * v->tile_floats;
        for (int64_t h = 0; h < v->w.kh; h++)
            for (int64_t b = 0; b < v->blocks; b++)
                for (int64_t k = 0; k < v->w.kw; k++)
                    for (int64_t c = b * v->cb; c < gi_min_i64(v->icg, (b + 1) * v->cb); c++, to += lanes) {
                        for (int64_t o = 0; o < count; o++)
                            to[o] = w[((first + o) * v->icg + c) * per + h * v->w.kw + k];
                        memset(to + count, 0, (size_t)(lanes - count) * sizeof(float));
                    }
    }
}

static gopt_status pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, conv *v)
{
    gi_blob *wb = gi_value_blob(gi_node_in(v->e.main, Conv_in_W));
    const gi_blob *bb = gi_value_blob(gi_node_in(v->e.main, Conv_in_B));
    const int64_t lanes2 = 2 * d->block, all = v->group * v->tiles;
    const int64_t order[] = { v->group, v->ocg, v->tiles, v->icg, v->cb, v->blocks, lanes2 };
    bool filled;
    v->tile_floats = v->w.kh * v->w.kw * v->icg * lanes2;
    v->weights = gi_cpu_pack_of(d, s, c, wb, gi_cpu_order(&gi_tactic_conv_direct, order, sizeof(order)),
                                (size_t)(all * v->tile_floats) * sizeof(float), &filled);
    v->bias = gi_cpu_pack(d, s, c, (size_t)(all * lanes2) * sizeof(float));
    GI_NEED(v->weights && v->bias);
    if (!filled)
        pack_weights(d, v, wb->data);
    memset(v->bias, 0, (size_t)(all * lanes2) * sizeof(float));
    for (int64_t o = 0; o < v->w.oc; o++) {
        float *to = &v->bias[o / v->ocg * v->tiles * lanes2 + o % v->ocg], x;
        if (bb) {
            memcpy(&x, (const char *)bb->data + (size_t)o * sizeof(x), sizeof(x));
            *to += x;
        }
        if (v->e.bias) {
            memcpy(&x, (const char *)v->e.bias->data + (size_t)o * sizeof(x), sizeof(x));
            *to += x;
        }
    }
    return GOPT_OK;
}

/* Taps of the kernel's row h. Of dense planes the positions of a row lie side by side, so one tap has them all. */
static gk_tap *row_of_taps(const conv *v, int64_t h, gk_tap *t)
{
    const gi_window *w = &v->w;
    for (int64_t b = 0; b < v->blocks; b++) {
        if (v->plain && w->dw == 1) {
            *t++ = (gk_tap){ h * w->dh * v->row + b * v->plane, w->kw };
            continue;
        }
        for (int64_t k = 0; k < w->kw; k++)
            *t++ = (gk_tap){ h * w->dh * v->row + b * v->plane + k * w->dw * v->cb,
                             gi_min_i64(v->cb, v->icg - b * v->cb) };
    }
    return t;
}

/* How strips, copies and taps lie. */
static gopt_status lay_out(const gi_cpu *d, gi_cpu_step *c, conv *v)
{
    gi_window *w = &v->w;
    const int64_t wide = (w->ow - 1) * w->sw + (w->kw - 1) * w->dw + 1; /* columns read, padding included */
    v->cb = v->plain ? 1 : d->block;
    v->blocks = (v->icg + v->cb - 1) / v->cb;
    v->copy = w->pl > 0 || wide > w->iw;
    v->flat = !v->copy && w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && w->pt == 0 && w->oh == w->ih &&
              w->ow == w->iw;
    if (v->flat) {
        w->ow = w->iw = w->oh * w->ow;
        w->oh = w->ih = 1;
    }
    v->pixel = w->sw * v->cb;
    const int64_t columns = v->copy ? wide : w->iw;
    v->row = columns * v->cb;
    const int64_t row_bytes = v->row * v->blocks * v->group * w->sh * (int64_t)sizeof(float);
    const int64_t reach = (w->kh - 1) * w->dh + 1;
    v->strip = gi_max_i64(1, gi_min_i64(w->oh, STRIP_BYTES / row_bytes - reach / w->sh));
    v->unit = d->k->tile;
    const int64_t in_rows = gi_min_i64(w->ih, (v->strip - 1) * w->sh + reach);
    v->plane = v->copy ? in_rows * v->row + 16 : w->ih * w->iw * v->cb;
    v->scratch = v->copy ? (uint64_t)(v->plane * v->blocks * v->group + 16) * sizeof(float) : 0;
    v->taps_a_row = v->plain && w->dw == 1 ? v->blocks : v->blocks * w->kw;
    v->taps = GI_NEW_ARRAY(c->arena, gk_tap, w->kh * v->taps_a_row);
    GI_NEED(v->taps);
    gk_tap *t = v->taps;
    for (int64_t h = 0; h < w->kh; h++)
        t = row_of_taps(v, h, t);
    return GOPT_OK;
}

/* Blocks of output channels of the worker that has most of them, of g along the channels. */
static int64_t most_blocks(const void *of, int g)
{
    const conv *v = of;
    int64_t most = 0;
    for (int w = 0; w < g; w++) {
        int64_t t0, t1;
        gi_share(v->group * v->tiles, 1, w, g, &t0, &t1);
        most = gi_max_i64(most, 2 * (t1 - t0) - (v->odd ? t1 / v->tiles - t0 / v->tiles : 0));
    }
    return most;
}

/* Workers along the channels and along the rows: what leaves them the most even work, and where both do, the split
 * that reads less twice. */
static int choose_split(const gi_cpu *d, const conv *v)
{
    const int64_t blocks = most_blocks(v, 1);
    return gi_cpu_split(d, &(gi_split){ .units = blocks,
                                        .rows = v->w.n * (v->flat ? (v->w.ow + v->unit - 1) / v->unit : v->w.oh),
                                        .most = most_blocks,
                                        .of = v,
                                        .weights = (double)(blocks * v->tile_floats / 2),
                                        .input = (double)(v->w.n * v->w.c * v->w.ih * v->w.iw),
                                        .traffic = 0.1 });
}

static bool applies(const gi_cpu *d, const gi_node *n, conv *v)
{
    const gi_value *x = gi_node_in(n, Conv_in_X), *wv = gi_node_in(n, Conv_in_W), *bv = gi_node_in(n, Conv_in_B);
    const gi_blob *wb = gi_value_blob(wv), *bb = gi_value_blob(bv);
    if (!wb || wb->dtype != GOPT_F32 || wb->rank < 3 || (bv && (!bb || bb->dtype != GOPT_F32)))
        return false;
    if (!gi_window_of(n, x, n->out[0], Conv_at_auto_pad, Conv_at_pads, Conv_at_strides, Conv_at_dilations,
                      (uint32_t)wb->rank - 2, wb->dims + 2, &v->w))
        return false;
    v->group = gi_attr_int(n, Conv_at_group);
    if (v->group < 1 || v->w.c % v->group || v->w.oc % v->group || wb->dims[0] != v->w.oc ||
        wb->dims[1] != v->w.c / v->group || (bb && gi_blob_elements(bb) != v->w.oc))
        return false;
    v->icg = v->w.c / v->group;
    v->ocg = v->w.oc / v->group;
    return v->group == 1 || (v->icg % d->block == 0 && v->ocg % d->block == 0);
}

bool gi_conv_direct_takes(const gi_cpu *d, const gi_node *n)
{
    conv v;
    return n->op == OP_Conv && applies(d, n, &v);
}

/* Few channels would leave a block half empty, and what lies dense is best read so: but for single positions of many
 * channels, whose taps would be one number each. */
static bool reads_plain(const gi_cpu *d, const conv *v, gi_layout lies)
{
    return v->group == 1 &&
           (v->icg * 2 < d->block || (lies == GI_PLAIN && (v->icg <= 4 || (v->w.kw > 2 && v->w.dw == 1))));
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    conv *v = gi_cpu_own(c, sizeof(*v));
    bool ok;
    GI_NEED(v);
    GI_TRY(gi_epilogue_find(c, s, OP_Conv, OP_Conv, 1, &v->e, &ok));
    if (!ok || !applies(d, v->e.main, v))
        return GOPT_OK;
    gi_value *x = gi_node_in(v->e.main, Conv_in_X);
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, x) && gi_epilogue_values(&v->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    v->x = 0;
    v->add = v->e.add ? gi_cpu_in_index(s, v->e.add) : -1;
    v->tiles = (v->ocg + 2 * d->block - 1) / (2 * d->block);
    v->odd = (v->ocg + d->block - 1) / d->block % 2;
    v->plain = reads_plain(d, v, c->want_in[0]);
    gi_cpu_want_like(s, c, s->out[0]->type, GI_BLOCKED);
    const double flop = 2.0 * (double)(v->w.n * v->w.oc * v->w.oh * v->w.ow) * (double)(v->icg * v->w.kh * v->w.kw);
    GI_TRY(lay_out(d, c, v));
    c->want_in[0] = v->plain ? GI_PLAIN : GI_BLOCKED;
    if (v->plain && v->add == 0)
        return GOPT_OK;
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, &ok));
    if (!ok)
        return GOPT_OK;
    if (!c->dry)
        GI_TRY(pack(d, s, c, v));
    v->split = choose_split(d, v);
    v->scratch += gi_epilogue_scratch(&v->e);
    v->scratch = (v->scratch + 63) & ~(uint64_t)63;
    s->scratch = v->scratch * (uint64_t)d->threads;
    s->gflop = flop * 1e-9;
    if (v->add > 0 && !v->e.n_rest)
        s->in_place = v->add;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

/* ---- running ---- */

typedef struct job {
    const gi_cpu *d;
    const conv *v;
    const gi_run_args *args;
} job;

/* Input rows first … first+count-1 of an image, with the zeros at their sides, into scratch. */
static void copy_strip(const conv *v, const float *src, int64_t first, int64_t count, int64_t g0, int64_t g1, float *to)
{
    const gi_window *w = &v->w;
    const int64_t columns = v->row / v->cb, left = gi_min_i64(w->pl, columns);
    const int64_t inside = gi_max_i64(0, gi_min_i64(w->iw, columns - left));
    for (int64_t b = g0 * v->blocks; b < g1 * v->blocks; b++)
        for (int64_t r = 0; r < count; r++) {
            float *row = to + b * v->plane + r * v->row;
            memset(row, 0, (size_t)(left * v->cb) * sizeof(float));
            memset(row + (left + inside) * v->cb, 0, (size_t)((columns - left - inside) * v->cb) * sizeof(float));
            memcpy(row + left * v->cb, src + (b * w->ih + first + r) * w->iw * v->cb,
                   (size_t)(inside * v->cb) * sizeof(float));
        }
}

/* One row (or flat range) of pixels x0 … x1-1 for one tile of channels. */
static void run_row(const job *j, gk_conv_tile *t, const float *src, float *dst, const float *add, int64_t x0,
                    int64_t x1)
{
    const conv *v = j->v;
    const int64_t n = x1 - x0, tile = gi_tile_pixels(j->d, t), pieces = (n + tile - 1) / tile, block = j->d->block;
    int64_t x = x0;
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t count = n / pieces + (i < n % pieces), h = (count + 1) / 2;
        t->src = src + x * v->pixel;
        t->half = h * v->pixel;
        t->dst = dst + x * block;
        t->add = add ? add + x * block : NULL;
        t->dst_half = h * block;
        t->pixels = (int)count;
        gi_tile_run(j->d, t);
        x += count;
    }
}

/* Two rows so short that one tile holds both. */
static void run_two_rows(const job *j, gk_conv_tile *t, const float *src, float *dst, const float *add)
{
    const conv *v = j->v;
    t->src = src;
    t->half = v->w.sh * v->row;
    t->dst = dst;
    t->add = add;
    t->dst_half = v->w.ow * j->d->block;
    t->pixels = (int)(2 * v->w.ow);
    gi_tile_run(j->d, t);
}

/* Rows r0 … r1-1, pixels x0 … x1-1 of each, for tile i of the channels; src, dst and add are those of row 0. */
static void run_rows(const job *j, gk_conv_tile *t, int64_t i, const float *src, float *dst, const float *add,
                     int64_t r0, int64_t r1, int64_t x0, int64_t x1)
{
    const conv *v = j->v;
    const gi_window *w = &v->w;
    const int64_t block = j->d->block;
    for (int64_t r = r0; r < r1;) {
        int64_t h0, h1, n0 = -1, n1 = -1;
        gi_window_rows(w, r, &h0, &h1);
        if (!v->flat && 2 * w->ow <= gi_tile_pixels(j->d, t) && r + 1 < r1)
            gi_window_rows(w, r + 1, &n0, &n1);
        t->taps = v->taps + h0 * v->taps_a_row;
        t->n_taps = (size_t)((h1 - h0) * v->taps_a_row);
        t->w = v->weights + i * v->tile_floats + h0 * w->kw * v->icg * t->columns;
        const int64_t to = r * w->ow * block;
        if (n0 == h0 && n1 == h1) {
            run_two_rows(j, t, src + r * w->sh * v->row, dst + to, add ? add + to : NULL);
            r += 2;
        } else {
            run_row(j, t, src + r * w->sh * v->row, dst + to, add ? add + to : NULL, x0, x1);
            r++;
        }
    }
}

/* Rows r0 … r1-1 (pixels x0 … x1-1 where flat) of one image, tiles t0 … t1-1. */
static void run_strip(const job *j, int64_t image, int64_t r0, int64_t r1, int64_t x0, int64_t x1, int64_t t0,
                      int64_t t1, char *scratch)
{
    const conv *v = j->v;
    const gi_window *w = &v->w;
    const int64_t block = j->d->block, pixels = w->oh * w->ow, channel_blocks = (w->oc + block - 1) / block;
    const float *src = (const float *)j->args->in[v->x].host + image * v->blocks * v->group * v->cb * w->ih * w->iw;
    float *out = j->args->out[0].host;
    const float *add = v->add >= 0 ? j->args->in[v->add].host : NULL;
    int64_t first = 0;
    if (v->copy) {
        first = gi_max_i64(0, r0 * w->sh - w->pt);
        const int64_t last = gi_min_i64(w->ih - 1, (r1 - 1) * w->sh - w->pt + (w->kh - 1) * w->dh);
        float *to = (float *)(void *)(scratch + gi_epilogue_scratch(&v->e));
        copy_strip(v, src, first, gi_max_i64(0, last - first + 1), t0 / v->tiles, (t1 - 1) / v->tiles + 1, to);
        src = to;
    }
    gk_conv_tile t = { .pixel = v->pixel, .dst_pixel = block, .dst_col = pixels * block, .lo = v->e.lo, .hi = v->e.hi };
    for (int64_t i = t0; i < t1; i++) {
        const int64_t g = i / v->tiles, o = g * v->ocg + i % v->tiles * 2 * block, cb = o / block;
        const int64_t at = (image * channel_blocks + cb) * pixels * block;
        t.columns = tile_blocks(v, i) * (int)block;
        t.bias = v->bias + i * 2 * block;
        const int64_t origin = (g * v->blocks) * v->plane - (w->pt + first) * v->row;
        /* with a program behind: in parts that are still in the first-level cache when it runs */
        const int64_t rows = v->e.program && !v->flat ? gi_max_i64(2, PART_PIXELS / w->ow / 2 * 2) : r1 - r0;
        const int64_t width = v->e.program && v->flat ? PART_PIXELS : x1 - x0;
        for (int64_t r = r0; r < r1; r += rows)
            for (int64_t x = x0; x < x1; x += width) {
                const int64_t r_end = gi_min_i64(r1, r + rows), x_end = gi_min_i64(x1, x + width);
                run_rows(j, &t, i, src + origin, out + at, add ? add + at : NULL, r, r_end, x, x_end);
                for (int64_t k = 0; v->e.program && k < t.columns / block; k++)
                    gi_epilogue_run(j->d, &v->e, j->args, at + (k * pixels + r * w->ow + x) * block,
                                    at + (k * pixels + (r_end - 1) * w->ow + x_end) * block, scratch);
            }
    }
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const conv *v = j->v;
    const gi_window *w = &v->w;
    const int split = n_workers % v->split ? 1 : v->split, along = n_workers / split;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * v->scratch;
    int64_t t0, t1, u0, u1;
    gi_share(v->group * v->tiles, 1, worker % split, split, &t0, &t1);
    if (t0 == t1)
        return;
    if (v->flat) {
        const int64_t units = (w->ow + v->unit - 1) / v->unit;
        const int64_t most = gi_max_i64(1, STRIP_BYTES / (w->c * (int64_t)sizeof(float) * v->unit));
        gi_share(w->n * units, 1, worker / split, along, &u0, &u1);
        while (u0 < u1) {
            const int64_t image = u0 / units, at = u0 % units,
                          count = gi_min_i64(gi_min_i64(u1 - u0, units - at), most);
            run_strip(j, image, 0, 1, at * v->unit, gi_min_i64(w->ow, (at + count) * v->unit), t0, t1, scratch);
            u0 += count;
        }
        return;
    }
    gi_share(w->n * w->oh, 1, worker / split, along, &u0, &u1);
    while (u0 < u1) {
        const int64_t image = u0 / w->oh, at = u0 % w->oh,
                      count = gi_min_i64(gi_min_i64(u1 - u0, w->oh - at), v->strip);
        run_strip(j, image, at, at + count, 0, w->ow, t0, t1, scratch);
        u0 += count;
    }
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_conv_direct = { .name = "conv_direct", .prepare = prepare, .run = run, .packs = true };
