/* Running a depthwise convolution with its 1x1 neighbours (see conv_block.c): the strips, and how workers share them. */
#include "backend/cpu/conv_block.h"
#include "backend/cpu/tile.h"

enum { CHUNK_BYTES = 256 * 1024 };

typedef struct job {
    const gi_cpu *d;
    const gi_conv_block *v;
    const gi_run_args *args;
    float *between; /* by planes, with a projection: [image][block][pixel][lanes] */
} job;

/* A worker, in an image. */
typedef struct work {
    const job *j;
    char *programs;
    float *ring, *mid;
    int64_t image;
    int64_t first, end; /* rows of the expansion that the ring holds */
} work;

static work start(const job *j, int worker)
{
    const gi_conv_block *v = j->v;
    char *own = (char *)j->args->scratch + v->shared + (uint64_t)worker * v->scratch;
    return (work){
        .j = j, .programs = own, .ring = (float *)(void *)(own + v->ring), .mid = (float *)(void *)(own + v->mid)
    };
}

/* n pixels of one tile of a 1x1 convolution, in even pieces. */
static void pixels(const job *j, gk_conv_tile *t, const float *src, float *dst, const float *add, int64_t n)
{
    const int64_t block = j->d->block, most = gi_tile_pixels(j->d, t), pieces = (n + most - 1) / most;
    for (int64_t i = 0, x = 0; i < pieces; i++) {
        const int64_t count = n / pieces + (i < n % pieces), half = (count + 1) / 2 * block;
        t->src = src + x * block;
        t->dst = dst + x * block;
        t->add = add ? add + x * block : NULL;
        t->half = t->dst_half = half;
        t->pixels = (int)count;
        gi_tile_run(j->d, t);
        x += count;
    }
}

static gk_conv_tile tile_of(const gi_cpu *d, const gi_block_stage *s, int64_t tile)
{
    const int64_t lanes2 = 2 * d->block, blocks = (s->w.oc + d->block - 1) / d->block;
    return (gk_conv_tile){ .pixel = d->block,
                           .dst_pixel = d->block,
                           .taps = s->taps,
                           .n_taps = s->n_taps,
                           .w = s->weights + tile * s->w.c * lanes2,
                           .bias = s->bias + tile * lanes2,
                           .columns = (int)(2 * tile + 1 < blocks ? lanes2 : d->block),
                           .lo = s->e.lo,
                           .hi = s->e.hi };
}

/* Rows from … to-1 of the expansion, blocks b0 … b1-1 (one tile), to `ring`, where the block's row from lies. */
static void expand(const work *k, int64_t b0, int64_t b1, int64_t from, int64_t to, float *ring)
{
    const gi_conv_block *v = k->j->v;
    const gi_cpu *d = k->j->d;
    const gi_window *w = &v->expand.w;
    const int64_t block = d->block, in_blocks = (w->c + block - 1) / block, n = (to - from) * w->iw;
    gk_conv_tile t = tile_of(d, &v->expand, b0 / 2);
    t.dst_col = v->ring_plane;
    const float *x = k->j->args->in[0].host;
    pixels(k->j, &t, x + (k->image * in_blocks * w->ih + from) * w->iw * block, ring, NULL, n);
    for (int64_t b = b0; b < b1 && v->expand.e.program; b++) {
        const int64_t at = ((k->image * v->blocks + b) * w->ih + from) * w->iw * block;
        gi_epilogue_run_inner(d, &v->expand.e, ring + (b - b0) * v->ring_plane, at, at + n * block, k->programs);
    }
}

/* Output rows r0 … r1-1 of one block. `rows` is where the block's input row `first` lies. */
static void depthwise(const work *k, int64_t b, int64_t r0, int64_t r1, const float *rows, int64_t first, float *dst)
{
    const gi_conv_block *v = k->j->v;
    const gi_cpu *d = k->j->d;
    const gi_window *w = &v->dw.w;
    const int64_t block = d->block, row = w->iw * block;
    const int64_t at = ((k->image * v->blocks + b) * w->oh + r0) * w->ow * block, n = (r1 - r0) * w->ow * block;
    const float *add = !v->has_project && v->add >= 0 ? (const float *)k->j->args->in[v->add].host + at : NULL;
    gk_dwconv_row t = { .row_stride = w->dh * row,
                        .w = v->dw.weights + b * w->kh * w->kw * block,
                        .bias = v->dw.bias + b * block,
                        .kw = (int)w->kw,
                        .stride = (int)w->sw,
                        .dilation = (int)w->dw,
                        .pad = (int)w->pl,
                        .in_w = (int)w->iw,
                        .out_w = (int)w->ow,
                        .lo = v->dw.e.lo,
                        .hi = v->dw.e.hi };
    for (int64_t r = r0; r < r1; r++) {
        const int64_t to = (r - r0) * w->ow * block;
        int64_t h0, h1;
        gi_window_rows(w, r, &h0, &h1);
        t.kh0 = (int)h0;
        t.kh1 = (int)h1;
        t.row = rows + (r * w->sh - w->pt - first) * row;
        t.add = add ? add + to : NULL;
        t.dst = dst + to;
        d->k->dwconv_row(&t);
    }
    if (v->dw.e.program && v->has_project)
        gi_epilogue_run_inner(d, &v->dw.e, dst, at, at + n, k->programs);
    else if (v->dw.e.program)
        gi_epilogue_run(d, &v->dw.e, k->j->args, at, at + n, k->programs);
}

/* Output rows r0 … r1-1 of blocks b0 … b1-1: the rows of the expansion that are new, and the depthwise convolution over
 * them and those kept. Block b's rows go to dst + (b - b0) * plane. */
static void make_rows(work *k, int64_t b0, int64_t b1, int64_t r0, int64_t r1, float *dst, int64_t plane)
{
    const gi_conv_block *v = k->j->v;
    const gi_window *w = &v->dw.w;
    const int64_t block = k->j->d->block, row = w->iw * block;
    if (!v->has_expand) {
        const float *x = (const float *)k->j->args->in[0].host + k->image * v->blocks * w->ih * row;
        for (int64_t b = b0; b < b1; b++)
            depthwise(k, b, r0, r1, x + b * w->ih * row, 0, dst + (b - b0) * plane);
        return;
    }
    const int64_t low = gi_min_i64(w->ih, gi_max_i64(0, r0 * w->sh - w->pt));
    const int64_t high = gi_max_i64(low, gi_min_i64(w->ih, (r1 - 1) * w->sh - w->pt + (w->kh - 1) * w->dh + 1));
    const bool moves = high - k->first > v->ring_rows || k->end <= low;
    const int64_t kept = gi_max_i64(0, k->end - low), first = moves ? low : k->first;
    const int64_t from = gi_max_i64(low, k->end);
    for (int64_t b = b0; b < b1; b += 2) {
        const int64_t end = gi_min_i64(b1, b + 2);
        float *ring = k->ring + (b - b0) * v->ring_plane;
        for (int64_t i = b; i < end && moves && kept; i++) {
            float *to = ring + (i - b) * v->ring_plane;
            memmove(to, to + (low - k->first) * row, (size_t)(kept * row) * sizeof(float));
        }
        if (from < high)
            expand(k, b, end, from, high, ring + (from - first) * row);
        for (int64_t i = b; i < end; i++)
            depthwise(k, i, r0, r1, ring + (i - b) * v->ring_plane, first, dst + (i - b0) * plane);
    }
    k->first = first;
    k->end = gi_max_i64(from, high);
}

/* n pixels from pixel p of the image on, tiles t0 … t1-1 of the projection, from what `src` holds of them. */
static void project(const work *k, int64_t t0, int64_t t1, int64_t p, int64_t n, const float *src)
{
    const gi_conv_block *v = k->j->v;
    const gi_cpu *d = k->j->d;
    const gi_window *w = &v->project.w;
    const int64_t block = d->block, all = w->oh * w->ow, blocks = (w->oc + block - 1) / block;
    float *y = k->j->args->out[0].host;
    const float *add = v->add >= 0 ? k->j->args->in[v->add].host : NULL;
    for (int64_t i = t0; i < t1; i++) {
        const int64_t at = ((k->image * blocks + 2 * i) * all + p) * block;
        gk_conv_tile t = tile_of(d, &v->project, i);
        t.dst_col = all * block;
        pixels(k->j, &t, src, y + at, add ? add + at : NULL, n);
        for (int64_t b = 0; b < t.columns / block && v->project.e.program; b++)
            gi_epilogue_run(d, &v->project.e, k->j->args, at + b * all * block, at + (b * all + n) * block,
                            k->programs);
    }
}

/* ---- by rows: every worker takes its rows through all stages ---- */

static void run_rows(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_conv_block *v = j->v;
    const gi_window *w = &v->dw.w;
    const int64_t row_floats = w->ow * j->d->block, plane = v->has_project ? v->mid_plane : w->oh * row_floats;
    work k = start(j, worker);
    int64_t from, to;
    gi_share(w->n * w->oh, 1, worker, n_workers, &from, &to);
    while (from < to) {
        const int64_t row = from % w->oh, end = gi_min_i64(w->oh, row + to - from);
        const int64_t strips = (end - row + v->strip - 1) / v->strip;
        k.image = from / w->oh;
        k.first = k.end = 0;
        for (int64_t i = 0, r = row; i < strips; i++) {
            const int64_t next = r + (end - row) / strips + (i < (end - row) % strips);
            float *to_rows = (float *)j->args->out[0].host + k.image * v->blocks * plane + r * row_floats;
            make_rows(&k, 0, v->blocks, r, next, v->has_project ? k.mid : to_rows, plane);
            if (v->has_project)
                project(&k, 0, v->project.tiles, r * w->ow, (next - r) * w->ow, k.mid);
            r = next;
        }
        from += end - row;
    }
}

/* ---- by planes: every worker makes some blocks of channels; then the projection reads what all made ---- */

static void run_planes(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_conv_block *v = j->v;
    const gi_window *w = &v->dw.w;
    const int64_t block = j->d->block, plane = w->oh * w->ow * block;
    const int64_t pairs = (v->blocks + 1) / 2;
    float *y = v->has_project ? j->between : j->args->out[0].host;
    work k = start(j, worker);
    int64_t from, to;
    gi_share(w->n * pairs * w->oh, 1, worker, n_workers, &from, &to);
    while (from < to) {
        const int64_t row = from % w->oh, end = gi_min_i64(w->oh, row + to - from);
        const int64_t strips = (end - row + v->strip - 1) / v->strip, b = from / w->oh % pairs * 2;
        const int64_t b_end = gi_min_i64(v->blocks, b + 2);
        k.image = from / w->oh / pairs;
        k.first = k.end = 0;
        for (int64_t i = 0, r = row; i < strips; i++) {
            const int64_t next = r + (end - row) / strips + (i < (end - row) % strips);
            make_rows(&k, b, b_end, r, next, y + (k.image * v->blocks + b) * plane + r * w->ow * block, plane);
            r = next;
        }
        from += end - row;
    }
}

/* The projection of what lies between. Where its weights are more than what it reads, workers share the tiles of
 * channels, else the pixels. */
static void run_project(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_conv_block *v = j->v;
    const gi_window *w = &v->project.w;
    const int64_t block = j->d->block, all = w->oh * w->ow, tile = j->d->k->tile, pieces = (all + tile - 1) / tile;
    const bool tiles_first = w->oc > w->n * all;
    const int64_t most = gi_max_i64(1, CHUNK_BYTES / (w->c * tile * (int64_t)sizeof(float)));
    work k = start(j, worker);
    int64_t from, to;
    gi_share(w->n * pieces * (tiles_first ? v->project.tiles : 1), 1, worker, n_workers, &from, &to);
    while (from < to) {
        const int64_t piece = from % pieces, count = gi_min_i64(to - from, pieces - piece);
        const int64_t tiles = tiles_first ? v->project.tiles : 1, t = from / pieces % tiles;
        const int64_t n = tiles_first ? count : gi_min_i64(count, most);
        const int64_t p0 = all * piece / pieces, p1 = all * (piece + n) / pieces;
        k.image = from / pieces / tiles;
        project(&k, t, tiles_first ? t + 1 : v->project.tiles, p0, p1 - p0,
                j->between + k.image * v->blocks * all * block + p0 * block);
        from += n;
    }
}

gopt_status gi_conv_block_run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    const gi_conv_block *v = c->own;
    job j = { d, v, args, args->scratch };
    (void)s;
    gi_cpu_run(d, args->pool, v->by_planes ? run_planes : run_rows, &j);
    if (v->by_planes && v->has_project)
        gi_cpu_run(d, args->pool, run_project, &j);
    return GOPT_OK;
}
