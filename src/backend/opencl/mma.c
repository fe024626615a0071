/* Products on NVIDIA's GPUs: variants of mma.cl, halo.cl and stream.cl, and which of them a problem gets. */
#include "backend/opencl/mma.h"

#include <math.h>

enum {
    TIMED = 6, /* variants, of a problem */
    VARIANTS = 8,
    WALKED = 6 /* what was timed among others is asked anew */
};

/* Local memory of a work-group, and pieces of it for a patch: few sizes, few programs. Taps that halo.cl has bits for. */
enum { MOST_LOCAL = 48 * 1024, LOCAL_PIECE = 4096, MOST_TAPS = 25, MOST_KW = 5 };

/* Which kernel: mma.cl; halo.cl, whose stages hold one of the weights' taps, or a row of the window, or one tap, and the
 * next block's pixels come to where this one's were; stream.cl. */
typedef enum form { PLAIN, HALO_BY_TAPS, HALO_BY_ROWS, HALO_IN_PLACE, STREAM } form;

/* A variant of mma.cl: its tile, stages and warps. Floats have half of bk, so the same bytes. With halo.cl bk is the
 * channels of a block. */
typedef struct variant {
    int bm, bn, bk, stages, warps_m, warps_n, passes;
    int groups; /* that a multiprocessor holds at once */
    form form;
    enum { LAUNCHES = 1, WALKS = 2 } uses; /* walks: of 256 items */
} variant;

/* Those that won somewhere among the networks of bench/gpu.py (docs/performance.md says what did not), and one for floats of
 * many pixels. */
static const variant variants[] = {
    { 32, 64, 64, 4, 2, 4, 1, 4, PLAIN, LAUNCHES | WALKS },
    { 64, 64, 64, 3, 2, 4, 1, 4, PLAIN, LAUNCHES | WALKS },
    { 64, 64, 64, 3, 2, 2, 1, 4, PLAIN, LAUNCHES },
    { 64, 128, 64, 2, 2, 2, 1, 3, PLAIN, LAUNCHES },
    { 128, 64, 32, 4, 4, 2, 1, 2, PLAIN, WALKS },
    { 64, 128, 32, 4, 2, 2, 1, 3, PLAIN, LAUNCHES },
    /* of short sums: little room, many groups */
    { 128, 64, 32, 2, 2, 2, 2, 4, PLAIN, LAUNCHES },
    /* of few tiles: more of them, and fewer parts of a sum */
    { 32, 32, 64, 4, 2, 4, 1, 4, PLAIN, LAUNCHES | WALKS },
    { 64, 32, 64, 4, 4, 2, 1, 4, PLAIN, LAUNCHES | WALKS },
    /* of many pixels: each element that is loaded is used more often */
    { 128, 128, 32, 3, 2, 4, 2, 2, PLAIN, LAUNCHES },
    { 128, 64, 64, 2, 4, 2, 1, 2, PLAIN, LAUNCHES | WALKS },
    /* each pixel once for all taps */
    { 256, 64, 16, 3, 4, 1, 2, 2, HALO_BY_ROWS, LAUNCHES },
    { 128, 64, 32, 4, 4, 1, 2, 3, HALO_BY_TAPS, LAUNCHES },
    { 128, 64, 64, 2, 4, 1, 2, 3, HALO_IN_PLACE, LAUNCHES },
    { 64, 128, 64, 2, 2, 2, 1, 3, HALO_IN_PLACE, LAUNCHES },
    /* groups that go from tile to tile */
    { 64, 128, 64, 2, 2, 2, 1, 3, STREAM, LAUNCHES },
    { 64, 128, 32, 3, 2, 2, 1, 3, STREAM, LAUNCHES },
    { 64, 64, 64, 3, 2, 2, 1, 4, STREAM, LAUNCHES },
    { 128, 128, 32, 3, 2, 4, 1, 2, STREAM, LAUNCHES },
    { 128, 64, 64, 2, 4, 2, 1, 2, STREAM, LAUNCHES },
};

static int bk_of(const variant *v, const gi_cl_mma *m)
{
    return m->element == GI_CL_HALVES ? v->bk : v->bk / 2;
}

static int items_of(const variant *v)
{
    return 32 * v->warps_m * v->warps_n;
}

/* ---- halo.cl ---- */

static bool is_halo(const variant *v)
{
    return v->form >= HALO_BY_TAPS && v->form <= HALO_IN_PLACE;
}

static int64_t stage_taps(const variant *v, const gi_cl_mma *m)
{
    return v->form == HALO_BY_ROWS ? m->ints[GI_CL_MMA_KW] : 1;
}

static int64_t blocks_of(const variant *v, const gi_cl_mma *m)
{
    const int64_t chunks = v->bk * 2 / 16;
    return (m->ints[GI_CL_MMA_CHUNKS] + chunks - 1) / chunks;
}

/* Pixels of x from the first to the last that the taps of a tile read, wherever the tile begins: those that it has, those
 * between the ends of its rows and images in the result and in x, and the window's. */
static int64_t patch_of(const variant *v, const gi_cl_mma *m)
{
    const int64_t *p = m->ints, ow = p[GI_CL_MMA_WIDTH], kw = p[GI_CL_MMA_KW], most = v->bm - 1;
    const int64_t rows = (most + ow - 1) / ow, images = (most + p[GI_CL_MMA_PIXELS] - 1) / p[GI_CL_MMA_PIXELS];
    const int64_t n = most + (p[GI_CL_MMA_X_W] - ow) * rows +
                      (p[GI_CL_MMA_X_H] - p[GI_CL_MMA_PIXELS] / ow) * p[GI_CL_MMA_X_W] * images +
                      (p[GI_CL_MMA_TAPS] / kw - 1) * p[GI_CL_MMA_X_W] + kw;
    const int64_t whole = gi_max_i64(128 / (v->bk * 2), 1); /* patches begin at multiples of 128 bytes */
    return (n + whole - 1) / whole * whole;
}

/* Bytes of local memory: weights, zeros, and the patches of a block and of the next. */
static int64_t halo_local(const variant *v, const gi_cl_mma *m)
{
    const int64_t weights = v->stages * stage_taps(v, m) * v->bn * v->bk * 2;
    const int64_t patches = (blocks_of(v, m) > 1 && v->form != HALO_IN_PLACE ? 2 : 1) * patch_of(v, m) * v->bk * 2;
    return (weights + 128 + patches + LOCAL_PIECE - 1) / LOCAL_PIECE * LOCAL_PIECE;
}

/* Has the problem the form that halo.cl takes, and is there room for this variant? Taps follow each other in x; there are
 * stages enough that the next patch is there in time. */
static bool halo_takes(const variant *v, const gi_cl_mma *m)
{
    const int64_t *p = m->ints, kw = p[GI_CL_MMA_KW], taps = p[GI_CL_MMA_TAPS];
    const bool window = m->element != GI_CL_FLOATS && taps > 1 && taps <= MOST_TAPS && kw <= MOST_KW &&
                        p[GI_CL_MMA_SH] == 1 && p[GI_CL_MMA_SW] == 1 && p[GI_CL_MMA_DH] == 1 && p[GI_CL_MMA_DW] == 1;
    return window && p[GI_CL_MMA_WIDTH] <= p[GI_CL_MMA_X_W] &&
           p[GI_CL_MMA_PIXELS] / p[GI_CL_MMA_WIDTH] <= p[GI_CL_MMA_X_H] && p[GI_CL_MMA_X_W] <= v->bm * 8 &&
           taps / stage_taps(v, m) >= v->stages - 1 && halo_local(v, m) <= MOST_LOCAL;
}

/* ---- sizes ---- */

static int local_of(const variant *v, const gi_cl_mma *m)
{
    const int stages = is_halo(v) ? (int)halo_local(v, m) : v->stages * (v->bm + v->bn) * v->bk * 2;
    const int out = v->bm / v->passes * (v->bn + 4) * 4;
    return stages > out || v->form == STREAM ? stages : out;
}

/* Steps along the sum, of which each part of it takes some. */
static int64_t steps_of(const variant *v, const gi_cl_mma *m)
{
    return is_halo(v) ? blocks_of(v, m) : m->ints[GI_CL_MMA_ROW] / bk_of(v, m);
}

static int64_t tiles_of(const variant *v, const gi_cl_mma *m)
{
    return (m->ints[GI_CL_MMA_M] + v->bm - 1) / v->bm * ((m->ints[GI_CL_MMA_ROOM] + v->bn - 1) / v->bn);
}

/* µs that a variant is expected to take: rounds of groups over the multiprocessors, each step of the sum bound by
 * latency or by what groups that share a multiprocessor leave of it. Constants from an H100: 0.28 µs for 128 bytes of
 * the sum, 3 TFLOP/s a multiprocessor in halves (guessed for the others: half of it, and three quarters of its FMA units),
 * 2.5 µs to begin and end. halo.cl's stages are smaller, and it waits less for memory. */
static double expected(const gi_cl *d, const variant *v, const gi_cl_mma *m, int splits, bool walk)
{
    static const double speeds[] = { [GI_CL_HALVES] = 3.0, [GI_CL_FLOATS] = 0.36, [GI_CL_TF32] = 1.5 };
    const bool stream = v->form == STREAM;
    const double groups = walk ? 1 : stream ? splits : v->groups;
    if (stream)
        splits = 1;
    const double units = (double)tiles_of(v, m) * splits, slots = (double)d->units * groups;
    const int64_t taps = is_halo(v) ? m->ints[GI_CL_MMA_TAPS] : 1;
    const double rounds = ceil(units / slots), steps = ceil((double)steps_of(v, m) / splits) * (double)taps;
    const double shared = fmin(ceil(units / d->units / rounds), groups);
    const double speed = speeds[m->element] * (is_halo(v) ? 1.2 : 1);
    const double work = 2.0 * v->bm * v->bn * bk_of(v, m) * 1e-6 / speed;
    const double sum = splits > 1 ? 1.5 + splits * v->bm * v->bn * 4e-5 * 0.5 : 0;
    return 2.5 + rounds * steps * fmax(0.28 * v->bk / 64, work * shared) + rounds * (stream ? 0.2 : 1.0) + sum;
}

void gi_cl_mma_name(const gi_cl_mma *m, gi_cl_way w, char *name, size_t size)
{
    const variant *v = &variants[w.variant];
    static const char *const by[] = { [GI_CL_HALVES] = "mma", [GI_CL_FLOATS] = "fma", [GI_CL_TF32] = "tf32" };
    (void)snprintf(name, size, "%s_%dx%dx%dx%dx%d%s%.0d",
                   is_halo(v)          ? m->element == GI_CL_TF32 ? "tf32_halo" : "halo"
                   : v->form == STREAM ? "stream"
                                       : by[m->element],
                   v->bm, v->bn, bk_of(v, m), v->stages, v->warps_m * v->warps_n,
                   w.splits < 2        ? ""
                   : v->form == STREAM ? "_by"
                                       : "_split",
                   w.splits > 1 ? w.splits : 0);
}

/* The one that is asked for by name; -1: none, or no such one. */
static int asked_way(const gi_cl *d, const gi_cl_mma *m, const gi_cl_way *ways, int n)
{
    for (int i = 0; d->way && i < n; i++) {
        char name[GI_CL_MMA_NAME];
        gi_cl_mma_name(m, ways[i], name, sizeof name);
        if (!strcmp(name, d->way))
            return i;
    }
    return -1;
}

int gi_cl_mma_ways(const gi_cl *d, const gi_cl_mma *m, bool walk, gi_cl_way *ways)
{
    static const int counts[] = { 1, 2, 3, 4, 6, 8, 9, 12 };
    double times[GI_CL_MOST_WAYS];
    int n = 0;
    for (size_t i = 0; i < GI_COUNT(variants); i++)
        for (size_t k = 0; k < GI_COUNT(counts) && n < GI_CL_MOST_WAYS; k++) {
            const variant *v = &variants[i];
            const int64_t tiles = tiles_of(v, m);
            if (v->form == STREAM && (!m->streams || counts[k] > v->groups + 1 || counts[k] * 2 < v->groups ||
                                      (!d->way && tiles < 2 * d->units)))
                continue;
            if (!(v->uses & (walk ? WALKS : LAUNCHES)) && (walk || !d->way)) /* by name each can be launched */
                continue;
            if (walk && k && tiles * counts[k] > d->units)
                continue;
            if ((is_halo(v) && !halo_takes(v, m)) ||
                (k && v->form != STREAM && (steps_of(v, m) < 2 * counts[k] || tiles >= 2 * d->units)))
                continue;
            const double t = expected(d, v, m, counts[k], walk);
            int at = n++;
            for (; at && times[at - 1] > t; at--) {
                times[at] = times[at - 1];
                ways[at] = ways[at - 1];
            }
            times[at] = t;
            ways[at] = (gi_cl_way){ (int)i, counts[k] };
        }
    const int asked = asked_way(d, m, ways, n);
    if (asked < 0)
        return n;
    ways[0] = ways[asked];
    return 1;
}

int64_t gi_cl_divisor(int64_t d)
{
    int k = 0;
    if (d <= 1)
        return 0;
    while ((int64_t)2 << k <= d)
        k++;
    if ((d & (d - 1)) == 0)
        return ((int64_t)(k - 1) << 32) | (int64_t)1 << 31;
    return ((int64_t)k << 32) | (int64_t)((((uint64_t)1 << (32 + k)) + (uint64_t)d - 1) / (uint64_t)d);
}

gopt_status gi_cl_mma_make(const gi_cl *d, gi_arena *a, const gi_cl_mma *m, gi_cl_way w, gi_cl_mma_made *l)
{
    const variant *v = &variants[w.variant];
    const int64_t tiles_n = (m->ints[GI_CL_MMA_ROOM] + v->bn - 1) / v->bn;
    const int64_t behind[] = { w.splits,
                               tiles_n,
                               gi_cl_divisor(w.splits),
                               gi_cl_divisor(tiles_n),
                               gi_cl_divisor(m->ints[GI_CL_MMA_PIXELS]),
                               gi_cl_divisor(m->ints[GI_CL_MMA_WIDTH]),
                               gi_cl_divisor(m->ints[GI_CL_MMA_CHUNKS]),
                               gi_cl_divisor(m->ints[GI_CL_MMA_KW]),
                               is_halo(v) ? patch_of(v, m) : 0 };
    gi_str s;
    gi_str_init(&s, a);
    gi_str_add(&s, m->before);
    gi_str_addf(&s,
                "#define BM %d\n#define BN %d\n#define BK %d\n#define ST %d\n#define WAIT %d\n#define WARPS_M %d\n"
                "#define WARPS_N %d\n#define PASSES %d\n#define LOCAL_BYTES %d\n#define TF32 %d\n#define HALO %d\n",
                v->bm, v->bn, bk_of(v, m), v->stages, v->stages - 2, v->warps_m, v->warps_n, v->passes, local_of(v, m),
                m->element == GI_CL_TF32, is_halo(v));
    if (is_halo(v))
        gi_str_addf(&s, "#define KH %d\n#define KW %d\n#define STAGE_TAPS %d\n#define ONE_PATCH %d\n",
                    (int)(m->ints[GI_CL_MMA_TAPS] / m->ints[GI_CL_MMA_KW]), (int)m->ints[GI_CL_MMA_KW],
                    (int)stage_taps(v, m), v->form == HALO_IN_PLACE);
    gi_str_add(&s, gi_cl_ptx(d));
    gi_str_add(&s, gk_opencl_tile_mma);
    gi_str_add(&s, v->form == STREAM ? gk_opencl_stream : gk_opencl_mma);
    if (is_halo(v))
        gi_str_add(&s, gk_opencl_halo);
    GI_NEED(!s.failed);
    *l = (gi_cl_mma_made){ .source = s.p,
                           .tiles = tiles_of(v, m),
                           .threads = (size_t)items_of(v),
                           .n_ints = GI_CL_MMA_INTS + GI_COUNT(behind) - !is_halo(v) };
    l->groups = (size_t)(v->form == STREAM ? gi_min_i64(l->tiles, (int64_t)d->units * w.splits) : l->tiles * w.splits);
    l->parts = w.splits > 1 && v->form != STREAM ? (uint64_t)l->groups * (uint64_t)(v->bm * v->bn) * 4 : 0;
    memcpy(l->ints, m->ints, sizeof m->ints);
    memcpy(l->ints + GI_CL_MMA_INTS, behind, sizeof behind);
    return GOPT_OK;
}

/* µs of one way on buffers that hold zeros; -1 where it does not run. */
static double time_way(gi_cl_build *b, const gi_cl_mma *m, const gi_cl_mma_made *l)
{
    uint64_t bytes[GI_CL_MMA_REFS];
    memcpy(bytes, m->bytes, sizeof bytes);
    bytes[GI_CL_MMA_PARTS] = l->parts;
    bytes[GI_CL_MMA_PARTS + 1] = (uint64_t)l->tiles * 4;
    return gi_cl_time_source(b->d, l->source, "product_mma", m->n_refs, bytes, l->n_ints, l->ints,
                             (size_t[]){ l->groups * l->threads, 1, 1 }, (size_t[]){ l->threads, 1, 1 });
}

void gi_cl_mma_key(const gi_cl_mma *m, const char *kind, char *key, size_t size)
{
    int at = snprintf(key, size, "%s%d,%016llx", kind, (int)m->element,
                      (unsigned long long)gi_hash(m->before, strlen(m->before), *kind ? WALKED : VARIANTS));
    for (uint32_t i = 0; i < GI_CL_MMA_INTS - 3 && at > 0 && (size_t)at < size; i++) /* but the strides of the result */
        at += snprintf(key + at, size - (size_t)at, ",%lld", (long long)m->ints[i]);
}

int gi_cl_mma_known(const gi_cl *d, const char *key, const gi_cl_way *ways, int n)
{
    const int known = gi_cl_tuned(d, key);
    for (int i = 0; i < n; i++)
        if (known >= 0 && ways[i].variant == known / 16 && ways[i].splits == known % 16)
            return i;
    return -1;
}

gopt_status gi_cl_mma_remember(gi_cl *d, const char *key, gi_cl_way way)
{
    return gi_cl_tuned_put(d, key, way.variant * 16 + way.splits);
}

/* Leaves those of the TIMED variants that are expected to be fastest, however many parts they have; how many ways? A
 * driver takes about a second to build a variant. */
static int ways_of_best(gi_cl_way *ways, int n)
{
    int timed[TIMED], n_timed = 0, kept = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < n_timed && timed[k] != ways[i].variant)
            k++;
        if (k == TIMED)
            continue;
        if (k == n_timed)
            timed[n_timed++] = ways[i].variant;
        ways[kept++] = ways[i];
    }
    return kept;
}

static gopt_status choose(gi_cl_build *b, const gi_cl_mma *m, gi_cl_way *chosen)
{
    gi_cl_way ways[GI_CL_MOST_WAYS];
    char key[200];
    const int n = gi_cl_mma_ways(b->d, m, false, ways);
    *chosen = ways[0];
    if (!b->d->timed)
        return GOPT_OK;
    gi_cl_mma_key(m, "", key, sizeof key);
    const int known = gi_cl_mma_known(b->d, key, ways, n);
    if (known >= 0) {
        *chosen = ways[known];
        return GOPT_OK;
    }
    gi_cl_mma_made made[GI_CL_MOST_WAYS];
    const char *sources[GI_CL_MOST_WAYS];
    const int kept = ways_of_best(ways, n);
    for (int i = 0; i < kept; i++) {
        GI_TRY(gi_cl_mma_make(b->d, b->arena, m, ways[i], &made[i]));
        sources[i] = made[i].source;
    }
    GI_TRY(gi_cl_build_all(b->d, b->arena, sources, (size_t)kept));
    double least = -1;
    for (int i = 0; i < kept; i++) {
        const double t = time_way(b, m, &made[i]);
        if (t >= 0 && (least < 0 || t < least)) {
            least = t;
            *chosen = ways[i];
        }
    }
    return gi_cl_mma_remember(b->d, key, *chosen);
}

gopt_status gi_cl_mma_launch(gi_cl_build *b, gi_cl_mma *m)
{
    gi_cl_way w;
    gi_cl_mma_made l;
    char name[GI_CL_MMA_NAME];
    GI_TRY(choose(b, m, &w));
    GI_TRY(gi_cl_mma_make(b->d, b->arena, m, w, &l));
    /* any buffer where nothing is split */
    m->refs[GI_CL_MMA_PARTS] = m->refs[GI_CL_MMA_PARTS + 1] = m->refs[1];
    m->refs[GI_CL_MMA_PARTS].item = 16;
    m->refs[GI_CL_MMA_PARTS + 1].item = 4;
    if (l.parts) {
        GI_TRY(gi_cl_scratch(b, l.parts, 16, &m->refs[GI_CL_MMA_PARTS]));
        gi_cl_counters(b, (size_t)l.tiles * sizeof(cl_uint), &m->refs[GI_CL_MMA_PARTS + 1]);
    }
    gi_cl_mma_name(m, w, name, sizeof name);
    GI_NEED(b->s->tactic = gi_arena_str(b->c->arena, name));
    b->weights = m->bytes[1];
    GI_TRY(gi_cl_launch_kernel(b, l.source, "product_mma", m->n_refs, m->refs, l.n_ints, l.ints,
                               (size_t[]){ l.groups * l.threads, 1, 1 }, (size_t[]){ l.threads, 1, 1 }));
    /* a walk may take another variant */
    gi_cl_mma *own = GI_NEW(b->c->arena, gi_cl_mma);
    GI_NEED(own);
    *own = *m;
    GI_NEED(own->before = gi_arena_str(b->c->arena, m->before));
    if (b->c->launches.n)
        b->c->launches.p[b->c->launches.n - 1].mma = own;
    return GOPT_OK;
}
