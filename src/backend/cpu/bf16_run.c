/* Running products of bfloat16: packing a strip, cutting it into tiles, and all panels of weights over them. */
#include "backend/cpu/bf16.h"

typedef struct job {
    const gi_cpu *d;
    const gi_bf16 *v;
    const gi_run_args *args;
} job;

/* Rows r0 … r1-1 of one image's result, or of a matrix. */
typedef struct strip {
    int64_t image, r0, r1;
    uint16_t *packed;    /* room for it */
    const uint16_t *src; /* what is read: packed, or the input itself */
    gi_bf16_piece *pieces;
    int64_t n_pieces;
    bool finite;
} strip;

/* ---- packing ---- */

static void zero(const gi_bf16 *v, uint16_t *to, int64_t pixels)
{
    for (int i = 0; i < v->parts; i++)
        memset(to + i * v->part, 0, (size_t)(pixels * GK_BF16_K) * sizeof(*to));
}

/* Where channel `first` of pixel `at` of the input lies. */
static int64_t input_at(const gi_bf16 *v, const strip *s, int64_t first, int64_t at)
{
    const int64_t blocks = (v->k + v->in_block - 1) / v->in_block;
    if (!v->image)
        return at * v->k + first;
    return ((s->image * blocks + first / v->in_block) * v->in_pixels + at) * v->in_block;
}

/* Packs n pixels of one group's channels, every step-th from pixel `at` of the input on. */
static void pack_pixels(const job *j, strip *s, int64_t group, int64_t at, int64_t step, int64_t n, uint16_t *to)
{
    const gi_bf16 *v = j->v;
    const int64_t first = group * GK_BF16_K, left = gi_min_i64(GK_BF16_K, v->k - first);
    const int64_t from = input_at(v, s, first, at), pixel = step * (v->image ? v->in_block : v->k);
    if (v->in_bf16) {
        /* past the last channel of a block lies what is there; of a row, the next one */
        v->unit->copy((size_t)n, (const uint16_t *)j->args->in[v->x].host + from, pixel,
                      v->image ? GK_BF16_K : (int)left, to);
        return;
    }
    const gk_bf16_pack p = { .src = (const float *)j->args->in[v->x].host + from,
                             .pixel = pixel,
                             .src_block = v->image ? v->in_pixels * v->in_block : v->in_block,
                             .block = v->in_block,
                             .channels = (int)left,
                             .parts = v->parts,
                             .dst = to,
                             .part = v->part,
                             .n = (size_t)n };
    s->finite = v->unit->pack(&p) && s->finite;
}

static void pack_flat(const job *j, strip *s)
{
    const gi_bf16 *v = j->v;
    for (int64_t g = 0; g < v->groups; g++)
        pack_pixels(j, s, g, s->r0, 1, s->r1 - s->r0, s->packed + g * v->plane);
}

/* Every sw-th column from `phase` on of row y of the input, padding included. */
static void pack_row(const job *j, strip *s, int64_t group, int64_t y, int64_t phase, uint16_t *to)
{
    const gi_bf16 *v = j->v;
    const gi_window *w = &v->w;
    if (y < 0 || y >= w->ih) {
        zero(v, to, v->pitch);
        return;
    }
    /* packed column i is the image's i * sw + phase - pl */
    const int64_t before = w->pl - phase > 0 ? (w->pl - phase + w->sw - 1) / w->sw : 0;
    const int64_t left = gi_min_i64(before, v->pitch), first = left * w->sw + phase - w->pl;
    const int64_t there = first < w->iw ? (w->iw - 1 - first) / w->sw + 1 : 0;
    const int64_t inside = gi_min_i64(there, v->pitch - left);
    zero(v, to, left);
    if (inside > 0)
        pack_pixels(j, s, group, y * w->iw + first, w->sw, inside, to + left * GK_BF16_K);
    zero(v, to + (left + inside) * GK_BF16_K, v->pitch - left - inside);
}

/* A stem's rows, zeros around the picture included. */
static void pack_stem(const job *j, strip *s)
{
    const gi_bf16 *v = j->v;
    const gi_window *w = &v->w;
    const int64_t rows = (s->r1 - s->r0 - 1) * w->sh + w->kh, pixels = v->row / 4, plane = w->ih * w->iw;
    const int64_t left = gi_min_i64(w->pl, pixels), inside = gi_min_i64(w->iw, pixels - left);
    const float *x = (const float *)j->args->in[v->x].host + s->image * v->k * plane;
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *to = s->packed + r * v->row;
        const int64_t y = s->r0 * w->sh - w->pt + r;
        const float *from[4] = { NULL };
        const bool there = y >= 0 && y < w->ih;
        memset(to, 0, (size_t)(there ? left * 4 : v->row) * sizeof(*to));
        if (!there)
            continue;
        for (int64_t c = 0; c < v->k; c++)
            from[c] = x + c * plane + y * w->iw;
        j->d->k->narrow_4((size_t)inside, (size_t)v->k, from, to + left * 4);
        memset(to + (left + inside) * 4, 0, (size_t)((pixels - left - inside) * 4) * sizeof(*to));
    }
}

static bool phase_is_read(int64_t phase, int64_t taps, int64_t dilation, int64_t stride)
{
    for (int64_t i = 0; i < taps; i++)
        if (i * dilation % stride == phase)
            return true;
    return false;
}

static void pack_image(const job *j, strip *s)
{
    const gi_bf16 *v = j->v;
    const gi_window *w = &v->w;
    const int64_t rows = s->r1 - s->r0 + v->reach_h;
    for (int64_t a = 0; a < v->phases_h; a++)
        for (int64_t b = 0; b < v->phases_w; b++) {
            if (!phase_is_read(a, w->kh, w->dh, w->sh) || !phase_is_read(b, w->kw, w->dw, w->sw))
                continue;
            for (int64_t g = 0; g < v->groups; g++) {
                uint16_t *to = s->packed + ((g * v->phases_h + a) * v->phases_w + b) * v->plane;
                for (int64_t i = 0; i < rows; i++)
                    pack_row(j, s, g, (s->r0 + i) * w->sh + a - w->pt, b, to + i * v->pitch * GK_BF16_K);
            }
        }
}

/* ---- tiles ---- */

/* src: where its first pixel lies, each `pixel` numbers from the one before. */
static gi_bf16_piece *new_piece(strip *s, int64_t src, int64_t pixel, int pixels, int64_t h0, int64_t h1)
{
    gi_bf16_piece *p = &s->pieces[s->n_pieces++];
    p->src = src;
    p->half = (pixels + 1) / 2 * pixel;
    p->pixels = pixels;
    p->h0 = h0;
    p->h1 = h1;
    return p;
}

/* Positions from … to-1 of the packed strip, those between two rows included, which are nothing of the result's. */
static void cut_flat(const gi_bf16 *v, strip *s, int64_t from, int64_t to, int64_t kh)
{
    const int most = v->unit->pixels;
    for (int64_t at = from; at < to; at += most) {
        const int n = (int)gi_min_i64(most, to - at);
        gi_bf16_piece *p = new_piece(s, at * GK_BF16_K, GK_BF16_K, n, 0, kh);
        for (int i = 0; i < n; i++) {
            const int64_t row = (at + i) / v->pitch, column = (at + i) % v->pitch;
            p->at[i] = column < v->columns ? (row * v->columns + column) * v->dst_pixel : -1;
        }
    }
}

/* Positions that are the result's from `first` on, in tiles of about the same size; src: where the first lies. */
static void cut_evenly(const gi_bf16 *v, strip *s, int64_t src, int64_t first, int64_t n, int64_t h0, int64_t h1)
{
    const int64_t most = v->unit->pixels, pieces = (n + most - 1) / most;
    for (int64_t k = 0; k < pieces; k++) {
        const int count = (int)(n / pieces + (k < n % pieces));
        gi_bf16_piece *p = new_piece(s, src, v->pixel, count, h0, h1);
        for (int i = 0; i < count; i++)
            p->at[i] = (first + i) * v->dst_pixel;
        src += count * v->pixel;
        first += count;
    }
}

static void cut_rows(const gi_bf16 *v, strip *s)
{
    const int64_t rows = s->r1 - s->r0;
    for (int64_t r = 0; r < rows; r++) {
        int64_t h0, h1, n0 = -1, n1 = -1;
        gi_window_rows(&v->w, s->r0 + r, &h0, &h1);
        if (2 * v->columns <= v->unit->pixels && r + 1 < rows)
            gi_window_rows(&v->w, s->r0 + r + 1, &n0, &n1);
        if (n0 != h0 || n1 != h1) {
            cut_evenly(v, s, r * v->pitch * GK_BF16_K, r * v->columns, v->columns, h0, h1);
            continue;
        }
        gi_bf16_piece *p = new_piece(s, r * v->pitch * GK_BF16_K, GK_BF16_K, (int)(2 * v->columns), h0,
                                     h1); /* two short rows in one */
        p->half = v->pitch * GK_BF16_K;
        for (int i = 0; i < p->pixels; i++)
            p->at[i] = (r * v->columns + i) * v->dst_pixel;
        r++;
    }
}

static void cut(const gi_bf16 *v, strip *s)
{
    const int64_t rows = s->r1 - s->r0;
    s->n_pieces = 0;
    if (v->stem)
        for (int64_t r = 0; r < rows; r++)
            cut_evenly(v, s, r * v->w.sh * v->row, r * v->columns, v->columns, 0, v->w.kh);
    else if (v->unit->flat)
        cut_flat(v, s, 0, (rows - 1) * v->pitch + v->columns, v->flat ? 1 : v->w.kh);
    else if (v->flat)
        cut_evenly(v, s, 0, 0, rows, 0, 1);
    else
        cut_rows(v, s);
}

/* ---- multiplying ---- */

/* Tiles in turns: while one is multiplied the one before is stored, by units that can. */
typedef struct turns {
    gk_bf16_tile tile[2];
    int which;
    bool pending; /* the other one's sums wait */
    _Alignas(64) float sums[GK_BF16_PIXELS * GK_BF16_COLUMNS];
} turns;

static void store_pending(const job *j, turns *t)
{
    if (t->pending)
        j->v->unit->store(&t->tile[!t->which]);
    t->pending = false;
}

/* One panel by all taps of every tile; `whole` says what they have in common. */
static void multiply(const job *j, const strip *s, turns *turn, const gk_bf16_tile *whole, int64_t panel)
{
    const gi_bf16 *v = j->v;
    const uint16_t *w = v->weights + panel * v->panel;
    const int64_t tap = v->panel / v->n_taps, lines = tap * (int64_t)sizeof(*w) / 64;
    const int prefetch = panel + 1 < v->panels ? (int)((lines + s->n_pieces - 1) / s->n_pieces) : 0;
    const bool later = v->unit->store && s->finite;
    for (int64_t i = 0; i < s->n_pieces; i++) {
        const gi_bf16_piece *p = &s->pieces[i];
        const int64_t from = p->h0 * v->taps_a_row;
        gk_bf16_tile *t = &turn->tile[turn->which];
        *t = *whole;
        t->prefetch_lines = prefetch;
        t->src = s->src + p->src;
        t->pixel = v->pixel;
        t->depth = v->depth;
        t->half = v->unit->flat ? 0 : p->half;
        t->taps = v->taps + from;
        t->n_taps = (size_t)((p->h1 - p->h0) * v->taps_a_row);
        t->w = w + from * tap;
        t->at = p->at;
        t->pixels = p->pixels;
        t->prefetch = (const char *)(w + v->panel) + i * prefetch * 64 * v->n_taps;
        if (!s->finite) {
            gk_bf16_tile_plain(t);
            continue;
        }
        t->sums = later ? turn->sums : NULL;
        t->before = turn->pending ? &turn->tile[!turn->which] : NULL;
        v->unit->tile(t);
        turn->pending = later;
        turn->which = later ? !turn->which : turn->which;
    }
}

/* Where row r0 of panel p of the result begins. */
static int64_t result_at(const gi_bf16 *v, const strip *s, int64_t panel)
{
    const int64_t pixels = v->rows * v->columns, block = v->out_block, blocks = (v->n + block - 1) / block;
    if (!v->image)
        return s->r0 * v->n + panel * GK_BF16_COLUMNS;
    return ((s->image * blocks + panel * GK_BF16_COLUMNS / block) * pixels + s->r0 * v->columns) * block;
}

static void run_programs(const job *j, const strip *s, int64_t p0, int64_t p1, void *scratch)
{
    const gi_bf16 *v = j->v;
    if (!v->image) {
        for (int64_t r = s->r0; r < s->r1; r++)
            gi_epilogue_run(j->d, &v->e, j->args, r * v->n + p0 * GK_BF16_COLUMNS,
                            r * v->n + gi_min_i64(v->n, p1 * GK_BF16_COLUMNS), scratch);
        return;
    }
    const int64_t blocks = (v->n + v->out_block - 1) / v->out_block, each = GK_BF16_COLUMNS / v->out_block;
    const int64_t length = (s->r1 - s->r0) * v->columns * v->out_block, block = v->rows * v->columns * v->out_block;
    for (int64_t b = p0 * each; b < gi_min_i64(blocks, p1 * each); b++) {
        const int64_t at = result_at(v, s, 0) + b * block;
        gi_epilogue_run(j->d, &v->e, j->args, at, at + length, scratch);
    }
}

static void run_strip(const job *j, strip *s, int64_t p0, int64_t p1, char *scratch)
{
    const gi_bf16 *v = j->v;
    char *out = j->args->out[0].host;
    const char *add = v->add >= 0 ? j->args->in[v->add].host : NULL;
    const int64_t pixels = v->rows * v->columns, block = v->out_block;
    const int64_t out_item = v->out_bf16 ? sizeof(uint16_t) : sizeof(float);
    const int64_t add_item = v->add_bf16 ? sizeof(uint16_t) : sizeof(float);
    /* a blocked result is written in whole blocks */
    const int64_t columns = v->image ? (v->n + block - 1) / block * block : v->n;
    s->finite = true;
    s->src = s->packed;
    if (v->direct)
        s->src = (const uint16_t *)j->args->in[v->x].host + input_at(v, s, 0, s->r0);
    else if (v->stem)
        pack_stem(j, s);
    else if (v->flat)
        pack_flat(j, s);
    else
        pack_image(j, s);
    s->finite = s->finite || v->parts == 1;
    cut(v, s);
    turns turn;
    turn.which = 0;
    turn.pending = false;
    for (int64_t p = p0; p < p1; p++) {
        const int64_t at = result_at(v, s, p);
        gk_bf16_tile t = { .part = v->part,
                           .parts = v->parts,
                           .bias = v->bias + p * GK_BF16_COLUMNS,
                           .add = add ? add + at * add_item : NULL,
                           .dst = out + at * out_item,
                           .dst_block = v->image ? pixels * block : block,
                           .block = v->out_block,
                           .add_bf16 = v->add_bf16,
                           .dst_bf16 = v->out_bf16,
                           .columns = (int)gi_min_i64(GK_BF16_COLUMNS, columns - p * GK_BF16_COLUMNS),
                           .gelu = v->gelu,
                           .lo = v->e.lo,
                           .hi = v->e.hi };
        multiply(j, s, &turn, &t, p);
        if (!v->e.program || !v->image)
            continue;
        store_pending(j, &turn);
        run_programs(j, s, p, p + 1, scratch + v->epilogue_at);
    }
    store_pending(j, &turn);
    if (v->e.program && !v->image)
        run_programs(j, s, p0, p1, scratch + v->epilogue_at);
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_bf16 *v = j->v;
    const int split = n_workers % v->split ? 1 : v->split;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * v->scratch;
    strip s = { .packed = (uint16_t *)(void *)scratch, .pieces = (gi_bf16_piece *)(void *)(scratch + v->pieces_at) };
    int64_t p0, p1, u0, u1;
    gi_share(v->panels, 1, worker % split, split, &p0, &p1);
    gi_share(v->images * v->rows, 1, worker / split, n_workers / split, &u0, &u1);
    if (p0 == p1 || u0 == u1)
        return;
    v->unit->begin();
    while (u0 < u1) {
        s.image = u0 / v->rows;
        s.r0 = u0 % v->rows;
        s.r1 = gi_min_i64(gi_min_i64(v->rows, s.r0 + u1 - u0), s.r0 + v->strip);
        run_strip(j, &s, p0, p1, scratch);
        u0 += s.r1 - s.r0;
    }
    v->unit->end();
}

gopt_status gi_bf16_run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}
