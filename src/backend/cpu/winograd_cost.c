/* What Winograd's convolutions take, in time and in memory, and so how they are laid out and where they are used. */
#include <stdlib.h>
#include <unistd.h>

#include "backend/cpu/winograd.h"

enum { SPILL_BYTES = 8 << 20, SPARE_BYTES = 6 << 20 };

static const double GAIN = 0.9, /* of the time of direct sums, at most */
    LEAST = 0.1;                /* of a layer's time that more memory must save */

bool gi_winograd_applies(const gi_cpu *d, const gi_node *n, gi_winograd *v)
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

/* ---- time ---- */

int64_t gi_winograd_bytes(const gi_cpu *d, const gi_winograd *v)
{
    return v->group * v->out_blocks * v->positions * v->icg * d->block * (int64_t)sizeof(float);
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

static int choose_split(const gi_cpu *d, const gi_winograd *v)
{
    const int64_t tiles = v->w.n * v->down * v->across;
    return gi_cpu_split(d, &(gi_split){ .units = v->group * v->panels,
                                        .rows = tiles,
                                        .weights = (double)gi_winograd_bytes(d, v) / sizeof(float),
                                        .input = (double)(v->positions * v->w.c * tiles),
                                        .traffic = 0.1 });
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

static int64_t tiles_of_worker(const gi_cpu *d, const gi_winograd *v)
{
    return share_of(v->w.n * v->down * v->across, d->threads / v->split);
}

/* As many tiles at a time as leave V, and M of so many panels, in `bytes`. */
static void fit_tiles(const gi_cpu *d, gi_winograd *v, int64_t bytes, int64_t panels)
{
    const int64_t block = d->block;
    const int64_t tile_bytes = v->positions * (v->blocks + 2 * panels) * block * (int64_t)sizeof(float);
    v->most = gi_min_i64(gi_max_i64(d->k->tile, bytes / tile_bytes), tiles_of_worker(d, v));
    v->v_position = spread(v->blocks * v->most * block);
    v->m_position = spread(2 * v->most * block);
    v->kept = panels;
}

/* Products of whole vectors that a worker's time is worth, as measured on a Zen 4 with AVX-512 (1 product a cycle,
 * 3.6 GHz), where it came within 5% for 64 to 512 channels at 56 to 7 pixels, one thread and two: the kernel wants 4
 * rows at least to keep its units busy, and a transform costs so many for each tile and block. What comes from beyond
 * the second-level cache, weights once for each turn, comes through something that workers share: 14 bytes of it a
 * product where a layer's weights stay in the third level, 9 where not, for vectors of 16; a few cores use that up. */
static double row_step(double rows)
{
    return 2 * (rows > 4 ? rows : 4);
}

static double bytes_cost(const gi_cpu *d, const gi_winograd *v, double bytes)
{
    enum { LAST_LEVEL = 24 << 20, CORES = 4 };
    const double each = (gi_winograd_bytes(d, v) > LAST_LEVEL ? 9.0 : 14.0) * d->block / 16;
    return bytes * (double)gi_min_i64(d->threads, CORES) / each;
}

static double cost_of(const gi_cpu *d, const gi_winograd *v)
{
    const double in = v->m == 4 ? 320 : 120, out = v->m == 4 ? 290 : 110;
    const int64_t blocks = share_of(v->group * v->out_blocks, v->split), tiles = tiles_of_worker(d, v);
    const int64_t turns = share_of(tiles, v->most), pieces = share_of(share_of(tiles, turns), d->k->tile) * turns;
    const double depth = (double)(v->positions * v->icg * blocks), vector = (double)d->block * sizeof(float);
    const double through = v->by_positions ? 2 * (double)(tiles * v->positions * (v->blocks + blocks)) : 0;
    return depth * (double)pieces * row_step((double)tiles / (double)pieces) / 2 +
           (double)tiles * ((double)(v->group * v->blocks) * in + (double)blocks * out) +
           bytes_cost(d, v, ((double)turns * depth + through) * vector);
}

static double direct_cost(const gi_cpu *d, const gi_winograd *v)
{
    const double pixels = (double)(v->w.n * v->w.oh * v->w.ow), row = (double)gi_min_i64(2 * v->w.ow, d->k->tile);
    return pixels / row * row_step(row) * 9 * (double)(v->icg * v->out_blocks * v->group) / 2 / d->threads;
}

void gi_winograd_lay_out(const gi_cpu *d, gi_winograd *v, int m)
{
    const int64_t block = d->block;
    v->m = m;
    v->side = m + 2;
    v->positions = v->side * v->side;
    v->blocks = share_of(v->icg, block);
    v->out_blocks = share_of(v->ocg, block);
    v->panels = share_of(v->out_blocks, 2);
    v->down = share_of(v->w.oh, m);
    v->across = share_of(v->w.ow, m);
    v->split = choose_split(d, v);
    v->by_positions = false;
    gi_winograd by_panels = *v, by_positions = *v;
    fit_tiles(d, &by_panels, cache_bytes() * 3 / 4, 1);
    by_positions.by_positions = true;
    fit_tiles(d, &by_positions, gi_min_i64(SPILL_BYTES, 8 * SPILL_BYTES / d->threads),
              gi_min_i64(v->panels, share_of(v->group * v->panels, v->split)));
    *v = cost_of(d, &by_positions) < cost_of(d, &by_panels) ? by_positions : by_panels;
}

double gi_winograd_ms(const gi_cpu *d, const gi_winograd *v)
{
    return gi_cpu_ms(d, cost_of(d, v) * 2 * d->block * d->threads, 0);
}

double gi_winograd_direct_ms(const gi_cpu *d, const gi_winograd *v)
{
    return gi_cpu_ms(d, direct_cost(d, v) * 2 * d->block * d->threads, 0);
}

bool gi_winograd_pays(const gi_cpu *d, const gi_winograd *v)
{
    return cost_of(d, v) <= GAIN * direct_cost(d, v);
}

/* ---- memory ---- */

/* A layer's step to larger tiles. */
typedef struct upgrade {
    const gi_node *node;
    size_t at;     /* in the list of layers, for an order that is always the same */
    int from, m;   /* m + 1 of before, and m */
    double gain;   /* milliseconds a byte */
    int64_t bytes; /* more than before */
} upgrade;

typedef struct budget {
    const gi_cpu *d;
    gi_arena *a;
    gi_vec(upgrade) upgrades;
    int64_t constants; /* bytes that the nodes read */
    size_t layers;
} budget;

static gopt_status add_layer(budget *b, const gi_node *n, int64_t dense)
{
    const gi_cpu *d = b->d;
    gi_winograd v[2] = { 0 };
    int64_t bytes = dense;
    int best = 0;
    if (!gi_winograd_applies(d, n, &v[0]))
        return GOPT_OK;
    double ms = 0;
    v[1] = v[0];
    b->layers++;
    for (int i = 0; i < 2; i++) {
        const int m = i ? 4 : 2;
        gi_winograd_lay_out(d, &v[i], m);
        const double is = gi_winograd_ms(d, &v[i]), before = best ? ms : gi_winograd_direct_ms(d, &v[i]);
        const int64_t more = gi_winograd_bytes(d, &v[i]) - bytes;
        if (!gi_winograd_pays(d, &v[i]) || is >= (1 - LEAST) * before)
            continue;
        const upgrade u = { n, b->layers, best + 1, m, (before - is) / (double)gi_max_i64(more, 1), more };
        GI_NEED(gi_push(b->a, &b->upgrades, u));
        bytes += more;
        best = m;
        ms = is;
    }
    return GOPT_OK;
}

static gopt_status add_node(budget *b, gi_node *n)
{
    int64_t largest = 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_blob *w = gi_value_blob(n->in[i].value);
        b->constants += w ? (int64_t)w->bytes : 0;
        largest = gi_max_i64(largest, w ? (int64_t)w->bytes : 0);
    }
    return n->op == OP_Conv ? add_layer(b, n, largest) : GOPT_OK;
}

static int by_gain(const void *x, const void *y)
{
    const upgrade *a = x, *b = y;
    if (a->gain != b->gain)
        return a->gain < b->gain ? 1 : -1;
    return a->at != b->at ? (a->at > b->at) - (a->at < b->at) : a->m - b->m;
}

gopt_status gi_winograd_budget(const gi_cpu *d, gi_node *const *nodes, size_t n, gi_cpu_plan *p)
{
    budget b = { .d = d, .a = gi_arena_create(d->cx) };
    GI_NEED(b.a);
    gopt_status st = GOPT_OK;
    for (size_t i = 0; i < n && st == GOPT_OK; i++) {
        gi_block *body = nodes[i]->op == OP_Fusion ? gi_fusion_block(nodes[i]) : NULL;
        st = body ? GOPT_OK : add_node(&b, nodes[i]);
        for (gi_node *k = body ? body->first : NULL; k && st == GOPT_OK; k = k->next)
            st = add_node(&b, k);
    }
    if (b.upgrades.n)
        qsort(b.upgrades.p, b.upgrades.n, sizeof(*b.upgrades.p), by_gain);
    p->spare = b.constants + SPARE_BYTES;
    for (size_t i = 0; i < b.upgrades.n && st == GOPT_OK; i++) {
        const upgrade *u = &b.upgrades.p[i];
        const uint64_t key = (uint64_t)u->node->id + 1;
        const int is = (int)(uintptr_t)gi_map_get(&p->winograd, key);
        const bool fits = (is ? is : 1) == u->from && u->bytes <= p->spare;
        p->spare -= fits ? u->bytes : 0;
        if ((fits || !is) && !gi_map_put(&p->winograd, key, (void *)(uintptr_t)(fits ? u->m + 1 : 1)))
            st = GOPT_NO_MEMORY;
    }
    gi_arena_destroy(b.a);
    return st;
}
