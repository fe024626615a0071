/* Conversion between the layouts of a value, over the pool.
 *
 * Between plain and blocked floats it is transposes. All else goes by way of a piece of some pixels by one block of
 * bfloat16's channels, in floats, which stays in the first-level cache. */
#include "backend/cpu/cpu.h"

enum { CHUNK = 1024, PIECE = 64 };

typedef struct job {
    const gi_cpu *d;
    int64_t batch, channels, pixels;
    gi_layout from, to;
    const void *src;
    void *dst;
} job;

/* ---- floats, plain and blocked ---- */

static void floats_part(void *arg, int w, int nw)
{
    const job *j = arg;
    const int64_t b = j->d->block, blocks = (j->channels + b - 1) / b;
    const int64_t chunks = (j->pixels + CHUNK - 1) / CHUNK;
    const float *src = j->src;
    float *dst = j->dst;
    int64_t from, to;
    gi_share(j->batch * blocks * chunks, 1, w, nw, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t at = i % chunks * CHUNK, cb = i / chunks % blocks, n = i / chunks / blocks;
        const int64_t left = gi_min_i64(b, j->channels - cb * b), count = gi_min_i64(CHUNK, j->pixels - at);
        const int64_t plain = (n * j->channels + cb * b) * j->pixels + at;
        const int64_t blocked = ((n * blocks + cb) * j->pixels + at) * b;
        if (j->from == GI_BLOCKED) {
            j->d->k->transpose((size_t)count, (size_t)left, src + blocked, b, dst + plain, j->pixels);
            continue;
        }
        j->d->k->transpose((size_t)left, (size_t)count, src + plain, j->pixels, dst + blocked, b);
        for (int64_t p = 0; left < b && p < count; p++)
            memset(dst + blocked + p * b + left, 0, (size_t)(b - left) * sizeof(float));
    }
}

/* ---- in the same order ---- */

static void flat_part(void *arg, int w, int nw)
{
    const job *j = arg;
    int64_t from, to;
    gi_share(j->batch * j->channels * j->pixels, CHUNK, w, nw, &from, &to);
    if (gi_is_bf16(j->from))
        j->d->k->widen((size_t)(to - from), (const uint16_t *)j->src + from, (float *)j->dst + from);
    else
        j->d->k->narrow((size_t)(to - from), (const float *)j->src + from, (uint16_t *)j->dst + from);
}

/* ---- by pieces ---- */

/* Channels first … first+GK_BF16_K-1 of `count` pixels from `at` on, of one image. */
typedef struct piece {
    int64_t image, first, left, at, count;
    float floats[PIECE * GK_BF16_K]; /* [pixel][channel] */
    float rows[PIECE * GK_BF16_K];   /* [channel][pixel], of plain bfloat16 */
} piece;

/* Where channel first of the piece's first pixel lies. */
static int64_t place(const job *j, gi_layout l, const piece *p, int64_t first)
{
    const int64_t b = gi_cpu_layout_block(j->d, l), blocks = (j->channels + b - 1) / b;
    if (!gi_is_blocked(l))
        return (p->image * j->channels + first) * j->pixels + p->at;
    return ((p->image * blocks + first / b) * j->pixels + p->at) * b;
}

static void read_piece(const job *j, piece *p)
{
    const gk_table *k = j->d->k;
    const size_t left = (size_t)p->left, count = (size_t)p->count;
    const int64_t at = place(j, j->from, p, p->first), b = j->d->block;
    if (j->from == GI_BLOCKED_BF16) {
        k->widen(count * GK_BF16_K, (const uint16_t *)j->src + at, p->floats);
        return;
    }
    memset(p->floats, 0, sizeof(p->floats));
    if (j->from == GI_PLAIN) {
        k->transpose(left, count, (const float *)j->src + at, j->pixels, p->floats, GK_BF16_K);
        return;
    }
    for (int64_t c = 0; j->from == GI_PLAIN_BF16 && c < p->left; c++)
        k->widen(count, (const uint16_t *)j->src + at + c * j->pixels, p->rows + c * PIECE);
    if (j->from == GI_PLAIN_BF16)
        k->transpose(left, count, p->rows, PIECE, p->floats, GK_BF16_K);
    for (int64_t c = 0; j->from == GI_BLOCKED && c < p->left; c += b) {
        const float *from = (const float *)j->src + place(j, GI_BLOCKED, p, p->first + c);
        for (int64_t i = 0; i < p->count; i++)
            memcpy(p->floats + i * GK_BF16_K + c, from + i * b, (size_t)b * sizeof(float));
    }
}

static void write_piece(const job *j, piece *p)
{
    const gk_table *k = j->d->k;
    const size_t left = (size_t)p->left, count = (size_t)p->count;
    const int64_t at = place(j, j->to, p, p->first), b = j->d->block;
    if (j->to == GI_BLOCKED_BF16)
        k->narrow(count * GK_BF16_K, p->floats, (uint16_t *)j->dst + at);
    if (j->to == GI_PLAIN)
        k->transpose(count, left, p->floats, GK_BF16_K, (float *)j->dst + at, j->pixels);
    if (j->to == GI_PLAIN_BF16)
        k->transpose(count, left, p->floats, GK_BF16_K, p->rows, PIECE);
    for (int64_t c = 0; j->to == GI_PLAIN_BF16 && c < p->left; c++)
        k->narrow(count, p->rows + c * PIECE, (uint16_t *)j->dst + at + c * j->pixels);
    for (int64_t c = 0; j->to == GI_BLOCKED && c < p->left; c += b) {
        float *to = (float *)j->dst + place(j, GI_BLOCKED, p, p->first + c);
        for (int64_t i = 0; i < p->count; i++)
            memcpy(to + i * b, p->floats + i * GK_BF16_K + c, (size_t)b * sizeof(float));
    }
}

static void pieces_part(void *arg, int w, int nw)
{
    const job *j = arg;
    const int64_t groups = (j->channels + GK_BF16_K - 1) / GK_BF16_K, chunks = (j->pixels + PIECE - 1) / PIECE;
    int64_t from, to;
    piece p;
    gi_share(j->batch * groups * chunks, 1, w, nw, &from, &to);
    for (int64_t i = from; i < to; i++) {
        p.image = i / chunks / groups;
        p.first = i / chunks % groups * GK_BF16_K;
        p.left = gi_min_i64(GK_BF16_K, j->channels - p.first);
        p.at = i % chunks * PIECE;
        p.count = gi_min_i64(PIECE, j->pixels - p.at);
        read_piece(j, &p);
        write_piece(j, &p);
    }
}

void gi_cpu_convert(const gi_cpu *d, gi_pool *pool, const gi_type *t, gi_layout from, gi_layout to, const void *src,
                    void *dst)
{
    int64_t dims[GOPT_MAX_RANK] = { 0 };
    gi_type_static_dims(t, dims);
    const bool image = t->rank >= 2;
    job j = { .d = d,
              .batch = image ? dims[0] : 1,
              .channels = image ? dims[1] : 1,
              .pixels = image ? gi_product(2, t->rank, dims) : gi_product(0, t->rank, dims),
              .from = from,
              .to = to,
              .src = src,
              .dst = dst };
    if (!gi_is_blocked(from) && !gi_is_blocked(to))
        gi_cpu_run(d, pool, flat_part, &j);
    else if (!gi_is_bf16(from) && !gi_is_bf16(to))
        gi_cpu_run(d, pool, floats_part, &j);
    else
        gi_cpu_run(d, pool, pieces_part, &j);
}
