/* Tactic "conv_winograd": 3x3 convolutions over blocked images by Winograd's algorithm (see kernels/cpu/winograd.h).
 *
 *     image ─ transform ─ V[position][channel][tile] ─ product per position ─ M[position][output channel][tile] ─ back
 *
 * A worker owns a range of tiles, of output channels, or of both. It takes as many tiles at a time as leave V in the
 * second-level cache, and for these goes through its output channels in panels of two blocks: all positions of a panel
 * are multiplied, and then turned into outputs, so that M is one panel. Where workers share the channels, each
 * transforms the tiles for itself: where channels are many that is little, and needs no meeting.
 * Weights lie in the order in which they are read: [panel][position][channel][2 lanes]. */
#include "backend/cpu/epilogue.h"
#include "backend/cpu/window.h"

#include <math.h>
#include <unistd.h>

enum { MAX_SIDE = 6, WEIGHT_BYTES = 5 << 20 };

static const double ERROR = 1e-5, /* of the layer's largest result, at most */
    GAIN = 0.9;                   /* of the time of direct sums, at most */

typedef struct winograd {
    gi_epilogue e;
    gi_window w;
    int add;                /* in step->in; -1: none */
    int m, side, positions; /* F(m x m, 3 x 3); m + 2; side * side */
    int64_t group, icg, ocg;
    int64_t blocks, panels;         /* a group's blocks of input channels, panels of output channels */
    int64_t down, across;           /* tiles of an image */
    int64_t most;                   /* tiles at a time */
    int64_t v_position, m_position; /* strides */
    int split;                      /* workers along the channels */
    gk_tap *taps;
    float *weights, *bias;
    uint64_t scratch; /* a worker */
} winograd;

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

/* One channel of a panel: filters w[i][9], `stride` floats apart, to to[position * by][lanes2]. */
static void pack_channel(const winograd *v, double (*g)[3], const float *w, int64_t stride, int64_t count,
                         int64_t lanes2, float *to, int64_t by)
{
    enum { LANES = 32 };
    double half[MAX_SIDE][3][LANES];
    for (int64_t o = 0; o < lanes2; o++)
        for (int k = 0; k < 3; k++) {
            double x[3] = { 0 };
            for (int r = 0; r < 3 && o < count; r++)
                x[r] = (double)w[o * stride + r * 3 + k];
            for (int i = 0; i < v->side; i++)
                half[i][k][o] = g[i][0] * x[0] + g[i][1] * x[1] + g[i][2] * x[2];
        }
    for (int i = 0; i < v->side; i++)
        for (int c = 0; c < v->side; c++, to += by)
            for (int64_t o = 0; o < lanes2; o++)
                to[o] = (float)(g[c][0] * half[i][0][o] + g[c][1] * half[i][1][o] + g[c][2] * half[i][2][o]);
}

/* Panel p (of all groups) of dense weights: [position][channel][2 lanes]. */
static void pack_panel(const gi_cpu *d, const winograd *v, const float *w, int64_t p, float *to)
{
    const int64_t lanes2 = 2 * d->block, by = v->icg * lanes2;
    const int64_t first = p / v->panels * v->ocg + p % v->panels * lanes2;
    const int64_t count = gi_min_i64(lanes2, v->ocg - p % v->panels * lanes2);
    double g[MAX_SIDE][3];
    filter_transform(v->m, g);
    for (int64_t c = 0; c < v->icg; c++)
        pack_channel(v, g, w + (first * v->icg + c) * 9, v->icg * 9, count, lanes2, to + c * lanes2, by);
}

static void pack_bias(const gi_cpu *d, const winograd *v)
{
    const gi_blob *from[2] = { gi_value_blob(gi_node_in(v->e.main, Conv_in_B)), v->e.bias };
    const int64_t lanes2 = 2 * d->block;
    memset(v->bias, 0, (size_t)(v->group * v->panels * lanes2) * sizeof(float));
    for (int i = 0; i < 2; i++)
        for (int64_t o = 0; from[i] && o < v->w.oc; o++) {
            float x;
            memcpy(&x, (const char *)from[i]->data + (size_t)o * sizeof(x), sizeof(x));
            v->bias[o / v->ocg * v->panels * lanes2 + o % v->ocg] += x;
        }
}

static gopt_status pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, winograd *v, const float *dense)
{
    const int64_t lanes2 = 2 * d->block, all = v->group * v->panels, panel = v->positions * v->icg * lanes2;
    v->weights = gi_cpu_pack(d, s, c, (size_t)(all * panel) * sizeof(float));
    v->bias = gi_cpu_pack(d, s, c, (size_t)(all * lanes2) * sizeof(float));
    GI_NEED(v->weights && v->bias);
    for (int64_t p = 0; p < all; p++)
        pack_panel(d, v, dense, p, v->weights + p * panel);
    pack_bias(d, v);
    return GOPT_OK;
}

static int64_t share_of(int64_t n, int64_t parts)
{
    return (n + parts - 1) / parts;
}

/* An odd number of cache lines, so that a tile's positions fall into different sets of the caches. */
static int64_t spread(int64_t floats)
{
    const int64_t lines = (floats + 15) / 16;
    return (lines | 1) * 16;
}

static int choose_split(const gi_cpu *d, const winograd *v)
{
    const int64_t panels = v->group * v->panels, tiles = v->w.n * v->down * v->across;
    const double weights = (double)(panels * v->positions * v->icg * 2 * d->block);
    const double input = (double)(v->positions * v->w.c * tiles);
    double best = 0;
    int chosen = 1;
    for (int g = 1; g <= d->threads; g++) {
        if (d->threads % g)
            continue;
        const int r = d->threads / g;
        const int64_t groups = (panels + g - 1) / g, turns = (tiles + r - 1) / r;
        const double even = (double)(groups * g) / (double)panels * (double)(turns * r) / (double)tiles;
        const double traffic = (weights * r + input * g) / (weights + input) / d->threads;
        const double cost = even * (1.0 + 0.1 * traffic);
        if (g == 1 || cost < best) {
            best = cost;
            chosen = g;
        }
    }
    return chosen;
}

/* Of the second level; where it is unknown or shared, what every machine has. */
static int64_t cache_bytes(void)
{
    int64_t n = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    n = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return n < 256 << 10 ? 256 << 10 : n > 2 << 20 ? 2 << 20 : n;
}

static void lay_out(const gi_cpu *d, winograd *v, int m)
{
    const int64_t block = d->block;
    v->m = m;
    v->side = m + 2;
    v->positions = v->side * v->side;
    v->blocks = (v->icg + block - 1) / block;
    v->panels = (v->ocg + 2 * block - 1) / (2 * block);
    v->down = (v->w.oh + m - 1) / m;
    v->across = (v->w.ow + m - 1) / m;
    v->split = choose_split(d, v);
    const int64_t tile_bytes = v->positions * (v->blocks + 2) * block * (int64_t)sizeof(float);
    v->most = gi_min_i64(gi_max_i64(d->k->tile, cache_bytes() * 3 / 4 / tile_bytes),
                         share_of(v->w.n * v->down * v->across, d->threads / v->split));
    v->v_position = spread(v->blocks * v->most * block);
    v->m_position = spread(2 * v->most * block);
}

static gopt_status make_taps(const gi_cpu *d, gi_arena *a, winograd *v)
{
    v->taps = GI_NEW_ARRAY(a, gk_tap, v->blocks);
    GI_NEED(v->taps);
    for (int64_t b = 0; b < v->blocks; b++)
        v->taps[b] = (gk_tap){ b * v->most * d->block, gi_min_i64(d->block, v->icg - b * d->block) };
    return GOPT_OK;
}

/* Products of whole vectors that a worker's time is worth, as measured on a Zen 4 with AVX-512 (1 product a cycle,
 * 3.6 GHz), where it came within 5% for 64 to 512 channels at 56 to 7 pixels: the kernel wants 4 rows at least to keep
 * its units busy, a transform costs so many for each tile and block, and weights, which come from beyond the
 * second-level cache once for each turn, 12 bytes each. */
static double row_step(double rows)
{
    return 2 * (rows > 4 ? rows : 4);
}

static double cost_of(const gi_cpu *d, const winograd *v)
{
    const double in = v->m == 4 ? 320 : 120, out = v->m == 4 ? 290 : 110;
    const int64_t panels = share_of(v->group * v->panels, v->split);
    const int64_t tiles = share_of(v->w.n * v->down * v->across, d->threads / v->split);
    const int64_t turns = share_of(tiles, v->most), pieces = share_of(share_of(tiles, turns), d->k->tile) * turns;
    const double depth = (double)(v->positions * v->icg * panels);
    return depth * (double)pieces * row_step((double)tiles / (double)pieces) +
           (double)tiles * ((double)v->blocks * in + (double)panels * 2 * out) +
           (double)turns * depth * 2 * (double)sizeof(float) * 16 / 12;
}

static double direct_cost(const gi_cpu *d, const winograd *v)
{
    const double pixels = (double)(v->w.n * v->w.oh * v->w.ow), row = (double)gi_min_i64(2 * v->w.ow, d->k->tile);
    return pixels / row * row_step(row) * 9 * (double)(v->icg * v->panels * v->group) / d->threads;
}

static bool applies(const gi_cpu *d, const gi_node *n, winograd *v)
{
    const gi_value *x = gi_node_in(n, Conv_in_X);
    const gi_blob *wb = gi_value_blob(gi_node_in(n, Conv_in_W));
    if (!gi_conv_direct_takes(d, n) || wb->rank != 4 ||
        !gi_window_of(n, x, n->out[0], Conv_at_auto_pad, Conv_at_pads, Conv_at_strides, Conv_at_dilations, 2,
                      wb->dims + 2, &v->w))
        return false;
    v->group = gi_attr_int(n, Conv_at_group);
    v->icg = v->w.c / v->group;
    v->ocg = v->w.oc / v->group;
    return v->w.kh == 3 && v->w.kw == 3 && v->w.sh == 1 && v->w.sw == 1 && v->w.dh == 1 && v->w.dw == 1 &&
           v->icg * 2 >= d->block;
}

/* ---- running ---- */

typedef struct job {
    const gi_cpu *d;
    const winograd *v;
    const gi_run_args *args;
    int64_t first, count; /* of the tiles in hand */
    float *in, *out;      /* V and M */
    char *scratch;        /* the epilogue's */
} job;

/* Tiles of the ones in hand that lie in one row of an image. */
typedef struct span {
    int64_t image, row, column; /* in tiles */
    int64_t at, count;          /* of the tiles in hand */
} span;

static bool next_span(const job *j, span *s)
{
    const winograd *v = j->v;
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

static void transform_in(const job *j, int64_t group)
{
    const winograd *v = j->v;
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

static void multiply(const job *j, int64_t panel)
{
    const winograd *v = j->v;
    const int64_t block = j->d->block, tile = j->d->k->tile, pieces = (j->count + tile - 1) / tile;
    gk_conv_tile t = { .pixel = block,
                       .taps = v->taps,
                       .n_taps = (size_t)v->blocks,
                       .dst_pixel = block,
                       .dst_col = v->most * block,
                       .columns = (int)(2 * block),
                       .lo = -INFINITY,
                       .hi = INFINITY };
    for (int64_t p = 0; p < v->positions; p++) {
        t.w = v->weights + (panel * v->positions + p) * v->icg * 2 * block;
        int64_t x = 0;
        for (int64_t i = 0; i < pieces; i++) {
            const int64_t n = j->count / pieces + (i < j->count % pieces);
            t.src = j->in + p * v->v_position + x * block;
            t.dst = j->out + p * v->m_position + x * block;
            t.half = t.dst_half = (n + 1) / 2 * block;
            t.pixels = (int)n;
            j->d->k->conv_tile(&t);
            x += n;
        }
    }
}

/* One block of channels of a panel: M to outputs, and what follows on those. */
static void transform_out(const job *j, int64_t panel, int64_t k)
{
    const winograd *v = j->v;
    const gi_window *w = &v->w;
    const int64_t block = j->d->block, pixels = w->oh * w->ow;
    const int64_t cb = (panel / v->panels * v->ocg + panel % v->panels * 2 * block) / block + k;
    const int64_t channel_blocks = (w->oc + block - 1) / block;
    float *y = j->args->out[0].host;
    const float *add = v->add >= 0 ? j->args->in[v->add].host : NULL;
    gk_winograd_out t = { .m = v->m,
                          .position = v->m_position,
                          .bias = v->bias + (panel * 2 + k) * block,
                          .row = w->ow * block,
                          .lo = v->e.lo,
                          .hi = v->e.hi };
    for (span s = { 0 }; next_span(j, &s);) {
        const int64_t x = s.column * v->m, width = gi_min_i64(w->ow - x, s.count * v->m);
        const int64_t at = (s.image * channel_blocks + cb) * pixels + s.row * v->m * w->ow + x;
        const int64_t rows = gi_min_i64(v->m, w->oh - s.row * v->m);
        t.src = j->out + (k * v->most + s.at) * block;
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

/* The tiles in hand, panels p0 … p1-1 (of all groups). */
static void run_tiles(const job *j, int64_t p0, int64_t p1)
{
    const winograd *v = j->v;
    const int64_t block = j->d->block;
    for (int64_t p = p0; p < p1; p++) {
        if (p == p0 || p % v->panels == 0)
            transform_in(j, p / v->panels);
        multiply(j, p);
        const int64_t left = v->ocg - p % v->panels * 2 * block;
        for (int64_t k = 0; k < 2 && k * block < left; k++)
            transform_out(j, p, k);
    }
}

static void run_part(void *arg, int worker, int n_workers)
{
    job j = *(const job *)arg;
    const winograd *v = j.v;
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
        run_tiles(&j, p0, p1);
    }
}

/* ---- accuracy ---- */

/* Three tiles of random inputs, through the first and the last panel, against direct sums in double. */
typedef struct trial {
    winograd v; /* of one image of three tiles and one panel */
    float *image, *out;
    double *plain; /* the image, [channel][row][column] */
    int64_t panel; /* of the layer's */
    double error, largest;
} trial;

static void *aligned(gi_arena *a, int64_t floats)
{
    char *p = gi_arena_alloc(a, (size_t)floats * sizeof(float) + 64);
    return p ? (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63) : NULL;
}

static gopt_status trial_open(const gi_cpu *d, gi_arena *a, const winograd *of, trial *t)
{
    const int64_t block = d->block;
    winograd *v = &t->v;
    *v = *of;
    v->e = (gi_epilogue){ .lo = -INFINITY, .hi = INFINITY };
    v->group = 1;
    v->ocg = gi_min_i64(of->ocg, 2 * block);
    v->add = -1;
    v->w = (gi_window){
        .n = 1, .c = of->icg, .ih = of->side, .iw = 3 * of->m + 2, .oc = v->ocg, .oh = of->m, .ow = 3 * of->m
    };
    lay_out(d, v, of->m);
    v->weights = aligned(a, v->positions * v->icg * 2 * block);
    v->bias = aligned(a, 2 * block);
    t->image = aligned(a, v->blocks * v->w.ih * v->w.iw * block);
    t->out = aligned(a, 2 * block * v->w.oh * v->w.ow);
    GI_NEED(v->weights && v->bias && t->image && t->out);
    const int64_t pixels = v->w.ih * v->w.iw;
    t->plain = GI_NEW_ARRAY(a, double, v->blocks *pixels *block);
    GI_NEED(t->plain);
    uint32_t seed = 1;
    for (int64_t i = 0; i < v->blocks * pixels * block; i++) {
        seed = seed * 1664525u + 1013904223u;
        t->image[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
        t->plain[(i / block / pixels * block + i % block) * pixels + i / block % pixels] = (double)t->image[i];
    }
    return make_taps(d, a, v);
}

/* Output channel o of the panel, of a filter w[channel][9]. */
static void trial_judge(const gi_cpu *d, trial *t, int64_t o, const float *w)
{
    enum { MOST = 4 * 12 };
    const gi_window *g = &t->v.w;
    double sum[MOST] = { 0 };
    for (int64_t c = 0; c < t->v.icg; c++)
        for (int64_t k = 0; k < 9; k++) {
            const double *x = t->plain + (c * g->ih + k / 3) * g->iw + k % 3, by = (double)w[c * 9 + k];
            for (int64_t row = 0; row < g->oh; row++)
                for (int64_t i = 0; i < g->ow; i++)
                    sum[row * g->ow + i] += by * x[row * g->iw + i];
        }
    for (int64_t i = 0; i < g->oh * g->ow; i++) {
        const double is = (double)t->out[(o / d->block * g->oh * g->ow + i) * d->block + o % d->block];
        const double error = fabs(is - sum[i]);
        t->error = error <= t->error ? t->error : error; /* keeps NaN */
        t->largest = fmax(t->largest, fabs(sum[i]));
    }
}

static gopt_status trial_run(gi_cpu *d, gi_arena *a, const winograd *of, const float *w, trial *t)
{
    enum { EACH = 4 }; /* of the panel's channels, one in so many */
    const int64_t block = d->block, first = t->panel / of->panels * of->ocg + t->panel % of->panels * 2 * block;
    const int64_t count = gi_min_i64(2 * block, of->ocg - t->panel % of->panels * 2 * block);
    winograd *v = &t->v;
    v->ocg = v->w.oc = count;
    pack_panel(d, of, w, t->panel, v->weights);
    const gi_buffer in = { .host = t->image }, out = { .host = t->out };
    const gi_run_args args = { .in = &in, .out = &out };
    job j = { .d = d, .v = v, .args = &args, .count = 3 };
    j.in = aligned(a, v->positions * v->v_position);
    j.out = aligned(a, v->positions * v->m_position);
    GI_NEED(j.in && j.out);
    run_tiles(&j, 0, 1);
    for (int64_t o = 0; o < count; o += EACH)
        trial_judge(d, t, o, w + (first + o) * of->icg * 9);
    return GOPT_OK;
}

/* The largest error of some outputs over the largest of them. */
static gopt_status measure_error(const gi_cpu *of, const winograd *v, const float *dense, double *error)
{
    gi_cpu own = *of, *d = &own;
    d->threads = 1;
    gi_arena *a = gi_arena_create(d->cx);
    GI_NEED(a);
    trial *t = GI_NEW(a, trial);
    gopt_status st = t ? trial_open(d, a, v, t) : GOPT_NO_MEMORY;
    const int64_t last = v->group * v->panels - 1;
    for (int i = 0; st == GOPT_OK && i < (last ? 2 : 1); i++) {
        t->panel = i ? last : 0;
        st = trial_run(d, a, v, dense, t);
    }
    if (st == GOPT_OK)
        *error = t->error > 0 || t->error != t->error ? t->error / t->largest : 0;
    gi_arena_destroy(a);
    return st;
}

/* ---- taking a step ---- */

/* In milliseconds. */
static double ms_of(const gi_cpu *d, double products)
{
    return gi_cpu_ms(d, products * 2 * d->block * d->threads, 0);
}

/* Is it worth it? Where the caller has his own ways to find out, he does. */
static gopt_status judge_cost(const gi_cpu *d, const gi_step *s, gi_cpu_step *c, const winograd *v, bool *ok)
{
    const double cost = cost_of(d, v), direct = direct_cost(d, v);
    c->estimate_ms = ms_of(d, cost);
    c->packed_bytes = (uint64_t)(v->group * v->panels * v->positions * v->icg * 2 * d->block) * sizeof(float);
    *ok = s->ask_all || s->want || d->prefer;
    if (!*ok && cost > GAIN * direct)
        return gi_cpu_decline(c, "it would take %.3g ms, direct sums %.3g", ms_of(d, cost), ms_of(d, direct));
    if (!*ok && c->packed_bytes > WEIGHT_BYTES)
        return gi_cpu_decline(c, "its weights would take %.3g MB, %.3g at most", (double)c->packed_bytes * 1e-6,
                              (double)WEIGHT_BYTES * 1e-6);
    *ok = true;
    return GOPT_OK;
}

static gopt_status judge_error(gi_cpu *d, gi_cpu_step *c, const winograd *v, const float *dense, bool *ok)
{
    const bool fast = d->fp == GOPT_FP_FAST;
    const double bound = fast ? 10 * ERROR : ERROR;
    double error = 0;
    GI_TRY(measure_error(d, v, dense, &error));
    *ok = error <= bound;
    if (*ok)
        return GOPT_OK;
    return gi_cpu_decline(c, "its error on this layer's weights is %.2g of the largest result, above %.2g%s", error,
                          bound, fast ? "" : "; --fp fast takes ten times that");
}

/* What the weights decide. */
static gopt_status judge_and_pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, winograd *v, bool *ok)
{
    const gi_blob *wb = gi_value_blob(gi_node_in(v->e.main, Conv_in_W));
    if (c->dry && !c->asked)
        return GOPT_OK;
    float *dense = gi_alloc(d->cx, wb->bytes + 1); /* where it lies it need not be aligned */
    GI_NEED(dense);
    memcpy(dense, wb->data, wb->bytes);
    gopt_status st = judge_error(d, c, v, dense, ok);
    if (st == GOPT_OK && *ok && !c->dry)
        st = pack(d, s, c, v, dense);
    gi_free(d->cx, dense);
    return st;
}

static int variants(const gi_cpu *d, const gi_step *s)
{
    (void)d;
    (void)s;
    return 2;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    winograd *v = gi_cpu_own(c, sizeof(*v));
    bool ok;
    GI_NEED(v);
    GI_TRY(gi_epilogue_find(c, s, OP_Conv, OP_Conv, 1, &v->e, &ok));
    if (!ok || !applies(d, v->e.main, v))
        return GOPT_OK;
    c->label = c->variant ? "F(2x2, 3x3)" : "F(4x4, 3x3)";
    if (d->fp == GOPT_FP_STRICT)
        return gi_cpu_decline(c, "--fp strict keeps to direct sums");
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, gi_node_in(v->e.main, Conv_in_X)) && gi_epilogue_values(&v->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    v->add = v->e.add ? gi_cpu_in_index(s, v->e.add) : -1;
    gi_cpu_want_like(s, c, s->out[0]->type);
    c->want_in[0] = GI_BLOCKED;
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, &ok));
    if (!ok)
        return GOPT_OK;
    lay_out(d, v, c->variant ? 2 : 4);
    GI_TRY(judge_cost(d, s, c, v, &ok));
    if (ok)
        GI_TRY(judge_and_pack(d, s, c, v, &ok));
    if (!ok)
        return GOPT_OK;
    GI_TRY(make_taps(d, c->arena, v));
    v->scratch = (uint64_t)(v->positions * (v->v_position + v->m_position)) * sizeof(float);
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
    job j = { .d = d, .v = c->own, .args = args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_conv_winograd = {
    .name = "conv_winograd", .prepare = prepare, .run = run, .variants = variants
};
