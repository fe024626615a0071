/* Moving elements by size alone: packed types, dense runs, blocked transposition. */
#include "ops/move.h"

size_t gi_move_item(gopt_dtype t)
{
    if (t == GOPT_STRING)
        return sizeof(gopt_string);
    const int bits = gopt_dtype_bits(t);
    return bits <= 8 ? 1 : (size_t)bits / 8;
}

static bool is_packed(gopt_dtype t)
{
    return gopt_dtype_bits(t) < 8 && t != GOPT_STRING && t != GOPT_BOOL;
}

gopt_status gi_move_in(gi_eval *a, const gopt_tensor *t, const uint8_t **p)
{
    if (!is_packed(t->dtype)) {
        *p = t->data;
        return GOPT_OK;
    }
    const size_t n = (size_t)gopt_tensor_elements(t);
    uint8_t *wide = gi_eval_scratch(a, n ? n : 1, 1);
    GI_NEED(wide);
    const unsigned bits = (unsigned)gopt_dtype_bits(t->dtype), per = 8 / bits, mask = (1u << bits) - 1;
    const uint8_t *packed = t->data;
    for (size_t i = 0; i < n; i++)
        wide[i] = (uint8_t)(((unsigned)packed[i / per] >> (unsigned)(i % per * bits)) & mask);
    *p = wide;
    return GOPT_OK;
}

gopt_status gi_move_out(gi_eval *a, uint32_t i, gopt_dtype dtype, int rank, const int64_t *dims, gi_moved *m)
{
    m->p = NULL;
    m->item = gi_move_item(dtype);
    GI_TRY(gi_eval_out(a, i, dtype, rank, dims, &m->t));
    if (!m->t)
        return GOPT_OK;
    if (!is_packed(dtype)) {
        m->p = m->t->data;
        return GOPT_OK;
    }
    const size_t n = (size_t)gopt_tensor_elements(m->t);
    m->p = gi_eval_scratch(a, n ? n : 1, 1);
    return m->p ? GOPT_OK : GOPT_NO_MEMORY;
}

void gi_move_end(const gi_moved *m)
{
    if (!m->t || !is_packed(m->t->dtype))
        return;
    const size_t n = (size_t)gopt_tensor_elements(m->t);
    const unsigned bits = (unsigned)gopt_dtype_bits(m->t->dtype), per = 8 / bits;
    uint8_t *packed = m->t->data;
    memset(packed, 0, m->t->bytes);
    for (size_t i = 0; i < n; i++)
        packed[i / per] |= (uint8_t)(m->p[i] << (i % per * bits));
}

/* ---- copying by strides ---- */

enum { MAX_NEST = 2 * GOPT_MAX_RANK };

typedef struct nest {
    int rank;
    int64_t dims[MAX_NEST], dst[MAX_NEST], src[MAX_NEST];
} nest;

/* Drops dims of 1 and joins neighbours that lie as one on both sides. False where there is nothing to copy. */
static bool collapse(nest *c, int rank, const int64_t *dims, const int64_t *dst, const int64_t *src)
{
    c->rank = 0;
    for (int i = 0; i < rank; i++) {
        if (dims[i] <= 0)
            return false;
        if (dims[i] == 1)
            continue;
        const int k = c->rank - 1;
        if (k >= 0 && c->dst[k] == dst[i] * dims[i] && c->src[k] == src[i] * dims[i]) {
            c->dims[k] *= dims[i];
            c->dst[k] = dst[i];
            c->src[k] = src[i];
        } else {
            c->dims[c->rank] = dims[i];
            c->dst[c->rank] = dst[i];
            c->src[c->rank++] = src[i];
        }
    }
    return true;
}

/* The dim that src runs along densely, where dst's densest is another: -1 where there is none. It changes
 * places with the last but one. */
static bool find_transposition(nest *c)
{
    const int last = c->rank - 1;
    if (last < 1 || c->dst[last] != 1 || c->src[last] == 1)
        return false;
    for (int j = 0; j < last; j++) {
        if (c->src[j] != 1)
            continue;
        const int k = last - 1;
        const int64_t dim = c->dims[j], dst = c->dst[j];
        c->dims[j] = c->dims[k], c->dst[j] = c->dst[k], c->src[j] = c->src[k];
        c->dims[k] = dim, c->dst[k] = dst, c->src[k] = 1;
        return true;
    }
    return false;
}

typedef uint16_t __attribute__((may_alias)) item2;
typedef uint32_t __attribute__((may_alias)) item4;
typedef uint64_t __attribute__((may_alias)) item8;
typedef struct __attribute__((may_alias)) item16 {
    uint64_t a, b;
} item16;

enum { TILE = 16, BAND = 4 * TILE };

/* run: d[i·ds] = s[i·ss]. tile: d[r·ds + c] = s[r + c·ss], in square blocks so that both sides stay in cache. */
#define MOVER(T, SUFFIX)                                                                                     \
    static void run##SUFFIX(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n)                   \
    {                                                                                                        \
        T *d = dst;                                                                                          \
        const T *s = src;                                                                                    \
        for (int64_t i = 0; i < n; i++)                                                                      \
            d[i * ds] = s[i * ss];                                                                           \
    }                                                                                                        \
    static void tile##SUFFIX(void *dst, int64_t ds, const void *src, int64_t ss, int64_t rows, int64_t cols) \
    {                                                                                                        \
        T *d = dst;                                                                                          \
        const T *s = src;                                                                                    \
        for (int64_t r0 = 0; r0 < rows; r0 += TILE) {                                                        \
            const int64_t r1 = gi_min_i64(rows, r0 + TILE);                                                  \
            for (int64_t c0 = 0; c0 < cols; c0 += TILE) {                                                    \
                const int64_t c1 = gi_min_i64(cols, c0 + TILE);                                              \
                for (int64_t r = r0; r < r1; r++)                                                            \
                    for (int64_t k = c0; k < c1; k++)                                                        \
                        d[r * ds + k] = s[r + k * ss];                                                       \
            }                                                                                                \
        }                                                                                                    \
    }
MOVER(uint8_t, 1)
MOVER(item2, 2)
MOVER(item4, 4)
MOVER(item8, 8)
MOVER(item16, 16)

typedef void (*run_fn)(void *, int64_t, const void *, int64_t, int64_t);
typedef void (*tile_fn)(void *, int64_t, const void *, int64_t, int64_t, int64_t);

/* ---- four bytes, by registers: most weights are f32 ---- */

typedef uint32_t four __attribute__((vector_size(16), aligned(4), may_alias));

/* A square of 4 × 4. */
static inline void turn4(uint32_t *d, int64_t ds, const uint32_t *s, int64_t ss)
{
    const four a = *(const four *)s, b = *(const four *)(s + ss);
    const four c = *(const four *)(s + 2 * ss), e = *(const four *)(s + 3 * ss);
    const four ab = { a[0], b[0], a[1], b[1] }, cd = { c[0], e[0], c[1], e[1] };
    const four ab2 = { a[2], b[2], a[3], b[3] }, cd2 = { c[2], e[2], c[3], e[3] };
    *(four *)d = (four){ ab[0], ab[1], cd[0], cd[1] };
    *(four *)(d + ds) = (four){ ab[2], ab[3], cd[2], cd[3] };
    *(four *)(d + 2 * ds) = (four){ ab2[0], ab2[1], cd2[0], cd2[1] };
    *(four *)(d + 3 * ds) = (four){ ab2[2], ab2[3], cd2[2], cd2[3] };
}

/* As tile4, where whole squares come in bands of rows: what one line of s holds is used up at once. */
static void turn(void *dst, int64_t ds, const void *src, int64_t ss, int64_t rows, int64_t cols)
{
    uint32_t *d = dst;
    const uint32_t *s = src;
    const int64_t whole_rows = rows - rows % 4, whole_cols = cols - cols % 4;
    for (int64_t band = 0; band < whole_rows; band += BAND)
        for (int64_t c0 = 0; c0 < whole_cols; c0 += TILE)
            for (int64_t r = band; r < gi_min_i64(whole_rows, band + BAND); r += 4)
                for (int64_t c = c0; c < gi_min_i64(whole_cols, c0 + TILE); c += 4)
                    turn4(d + r * ds + c, ds, s + r + c * ss, ss);
    tile4(d + whole_rows * ds, ds, s + whole_rows, ss, rows - whole_rows, cols);
    tile4(d + whole_cols, ds, s + whole_cols * ss, ss, whole_rows, cols - whole_cols);
}

static run_fn run_of(size_t item)
{
    return item == 1 ? run1 : item == 2 ? run2 : item == 4 ? run4 : item == 8 ? run8 : run16;
}

static tile_fn tile_of(size_t item)
{
    return item == 1 ? tile1 : item == 2 ? tile2 : item == 4 ? turn : item == 8 ? tile8 : tile16;
}

/* Steps through the outer dims; false after the last. */
static bool step(const nest *c, int outer, int64_t *index, int64_t *d, int64_t *s)
{
    for (int i = outer - 1; i >= 0; i--) {
        *d += c->dst[i];
        *s += c->src[i];
        if (++index[i] < c->dims[i])
            return true;
        *d -= c->dst[i] * c->dims[i];
        *s -= c->src[i] * c->dims[i];
        index[i] = 0;
    }
    return false;
}

void gi_move_nd(int rank, const int64_t *dims, uint8_t *dst, const int64_t *dst_strides, const uint8_t *src,
                const int64_t *src_strides, size_t item)
{
    nest c;
    if (!collapse(&c, rank, dims, dst_strides, src_strides))
        return;
    if (!c.rank) {
        memcpy(dst, src, item);
        return;
    }
    const bool tiled = find_transposition(&c);
    const int last = c.rank - 1, outer = tiled ? last - 1 : last;
    const bool dense = c.dst[last] == 1 && c.src[last] == 1;
    const size_t bytes = (size_t)c.dims[last] * item;
    const run_fn run = run_of(item);
    const tile_fn tile = tile_of(item);
    const int64_t size = (int64_t)item;
    int64_t index[MAX_NEST] = { 0 }, d = 0, s = 0;
    do {
        if (dense)
            memcpy(dst + d * size, src + s * size, bytes);
        else if (tiled)
            tile(dst + d * size, c.dst[last - 1], src + s * size, c.src[last], c.dims[last - 1], c.dims[last]);
        else
            run(dst + d * size, c.dst[last], src + s * size, c.src[last], c.dims[last]);
    } while (step(&c, outer, index, &d, &s));
}

void gi_move_fill(uint8_t *dst, int64_t n, const uint8_t *value, size_t item)
{
    if (n <= 0)
        return;
    if (item == 1)
        memset(dst, *value, (size_t)n);
    else
        run_of(item)(dst, 1, value, 0, n);
}

/* ---- for evaluators ---- */

gopt_status gi_move_view(gi_eval *a, int rank, const int64_t *dims)
{
    const gopt_tensor *x = a->in[0];
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, x->dtype, rank, dims, &y));
    if (y && y->data != x->data && x->bytes)
        memcpy(y->data, x->data, x->bytes < y->bytes ? x->bytes : y->bytes);
    return GOPT_OK;
}

gopt_status gi_move_ints(gi_eval *a, uint32_t in, uint32_t most, uint32_t *n, int64_t **v)
{
    *n = 0;
    *v = NULL;
    const gopt_tensor *t = in < a->n_in ? a->in[in] : NULL;
    if (!t)
        return GOPT_OK;
    if (t->rank > 1 || (!gi_dtype_is_int(t->dtype) && t->dtype != GOPT_BOOL))
        return gi_eval_fail(a, (int)in, "is %s of rank %d, expected a list of integers", gopt_dtype_name(t->dtype),
                            t->rank);
    const int64_t count = gopt_tensor_elements(t);
    if (count > most)
        return gi_eval_fail(a, (int)in, "has %lld entries, expected at most %u", (long long)count, most);
    int64_t *r = gi_eval_scratch(a, count ? (size_t)count : 1, sizeof *r);
    GI_NEED(r);
    for (int64_t i = 0; i < count; i++)
        r[i] = gi_tensor_i64(t, i);
    *n = (uint32_t)count;
    *v = r;
    return GOPT_OK;
}

gopt_status gi_move_axes(gi_eval *a, uint32_t in, int rank, uint32_t *n, int *axes)
{
    int64_t *v;
    GI_TRY(gi_move_ints(a, in, GOPT_MAX_RANK, n, &v));
    if (!v) {
        *n = (uint32_t)rank;
        for (int i = 0; i < rank; i++)
            axes[i] = i;
        return GOPT_OK;
    }
    bool seen[GOPT_MAX_RANK] = { false };
    for (uint32_t i = 0; i < *n; i++) {
        if (!gi_axis(v[i], rank, &axes[i]))
            return gi_eval_fail(a, (int)in, "holds axis %lld, expected -%d to %d", (long long)v[i], rank, rank - 1);
        if (seen[axes[i]])
            return gi_eval_fail(a, (int)in, "names axis %d twice", axes[i]);
        seen[axes[i]] = true;
    }
    return GOPT_OK;
}

void gi_slice_span(int64_t dim, int64_t start, int64_t end, int64_t step, int64_t *first, int64_t *length)
{
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? dim : dim - 1;
    *first = *length = 0;
    if (dim == 0)
        return;
    int64_t s = start < 0 ? start + dim : start, e = end < 0 ? (end < -dim ? -1 : end + dim) : end;
    s = gi_max_i64(0, gi_min_i64(s, high));
    e = gi_max_i64(low, gi_min_i64(e, high));
    *first = s;
    if (step > 0)
        *length = s < e ? (e - s - 1) / step + 1 : 0;
    else
        *length = s > e ? (int64_t)((uint64_t)(s - e - 1) / (0 - (uint64_t)step)) + 1 : 0;
}
