/* Sorting and selecting: TopK, NonZero, Unique. */
#include "ops/eval.h"
#include "ops/infer.h"

#include <math.h>
#include <stdlib.h>

/* ---- TopK: a heap of the k best, the worst of them on top; or all sorted, where k is a good part of them ---- */

/* Keys of a line as doubles, or as integers where a double would not hold them. */
typedef struct line {
    const double *f;
    const int64_t *i;
    bool largest;
} line;

/* Is element x better than element y? NaN is greatest; of equals the first is better. */
static bool better(const line *l, int64_t x, int64_t y)
{
    if (l->i) {
        if (l->i[x] != l->i[y])
            return (l->i[x] > l->i[y]) == l->largest;
        return x < y;
    }
    const double a = l->f[x], b = l->f[y];
    const bool na = isnan(a), nb = isnan(b);
    if (na != nb)
        return na == l->largest;
    if (!na && a != b)
        return (a > b) == l->largest;
    return x < y;
}

/* Sinks heap[at]: every parent is worse than its children. */
static void sink(const line *l, int64_t *heap, int64_t n, int64_t at)
{
    for (;;) {
        int64_t worst = at, child = 2 * at + 1;
        for (int64_t c = child; c < child + 2 && c < n; c++)
            if (better(l, heap[worst], heap[c]))
                worst = c;
        if (worst == at)
            return;
        const int64_t t = heap[at];
        heap[at] = heap[worst];
        heap[worst] = t;
        at = worst;
    }
}

/* The k best of n, best first, into heap. */
static void select_best(const line *l, int64_t n, int64_t k, int64_t *heap)
{
    for (int64_t i = 0; i < k; i++)
        heap[i] = i;
    for (int64_t i = k / 2 - 1; i >= 0; i--)
        sink(l, heap, k, i);
    for (int64_t i = k; i < n && k > 0; i++)
        if (better(l, i, heap[0])) {
            heap[0] = i;
            sink(l, heap, k, 0);
        }
    for (int64_t left = k - 1; left > 0; left--) { /* the worst goes last */
        const int64_t t = heap[0];
        heap[0] = heap[left];
        heap[left] = t;
        sink(l, heap, left, 0);
    }
}

typedef struct keyed {
    uint64_t key; /* less is better */
    int64_t at;
} keyed;

static uint64_t key_of(const line *l, int64_t x)
{
    const uint64_t top = UINT64_C(1) << 63;
    uint64_t u = 0;
    if (l->i) {
        u = (uint64_t)l->i[x] ^ top;
    } else if (isnan(l->f[x])) {
        u = UINT64_MAX;
    } else {
        const double v = l->f[x] + 0.0; /* both zeros are one */
        memcpy(&u, &v, sizeof u);
        u = u & top ? ~u : u | top;
    }
    return l->largest ? ~u : u;
}

/* Sorts n of them byte by byte, from the lowest, keeping the order of equals; bytes that all have in common are
 * passed over. `other` has room for n too; gives the one of both that holds the result. */
static keyed *sort_keyed(keyed *from, keyed *other, int64_t n)
{
    int64_t counts[8][256] = { 0 };
    for (int64_t i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            counts[b][from[i].key >> (8 * b) & 255]++;
    for (int b = 0; b < 8; b++) {
        int64_t *count = counts[b], at = 0;
        if (n == 0 || count[from[0].key >> (8 * b) & 255] == n)
            continue;
        for (int v = 0; v < 256; v++) {
            const int64_t first = at;
            at += count[v];
            count[v] = first;
        }
        for (int64_t i = 0; i < n; i++)
            other[count[from[i].key >> (8 * b) & 255]++] = from[i];
        keyed *t = from;
        from = other;
        other = t;
    }
    return from;
}

/* The k best of n as select_best gives them; room: for 2n. */
static void select_sorted(const line *l, int64_t n, int64_t k, keyed *room, int64_t *best)
{
    for (int64_t i = 0; i < n; i++)
        room[i] = (keyed){ key_of(l, i), i };
    const keyed *sorted = sort_keyed(room, room + n, n);
    for (int64_t i = 0; i < k; i++)
        best[i] = sorted[i].at;
}

static gopt_status eval_topk(gi_eval *a)
{
    const gopt_tensor *x = a->in[TopK_in_X], *count = a->in[TopK_in_K];
    int64_t dims[GOPT_MAX_RANK];
    int axis;
    gopt_tensor *values, *indices;
    if (!gi_axis(gi_attr_int(a->n, TopK_at_axis), x->rank, &axis))
        return gi_eval_fail(a, TopK_in_X, "it has rank %d, attribute axis is %lld", x->rank,
                            (long long)gi_attr_int(a->n, TopK_at_axis));
    if (!gi_dtype_is_int(count->dtype) || gopt_tensor_elements(count) != 1)
        return gi_eval_fail(a, TopK_in_K, "expected one integer");
    const int64_t k = gi_tensor_i64(count, 0), n = x->dims[axis];
    if (k < 0 || k > n)
        return gi_eval_fail(a, TopK_in_K, "it is %lld, there are %lld elements", (long long)k, (long long)n);
    const int64_t inner = gi_product(axis + 1, x->rank, x->dims), outer = gi_product(0, axis, x->dims);
    const bool ints = gi_dtype_is_int(x->dtype);
    const size_t item = gi_item_size(x->dtype);
    for (int i = 0; i < x->rank; i++)
        dims[i] = i == axis ? k : x->dims[i];
    GI_TRY(gi_eval_out(a, TopK_out_Values, x->dtype, x->rank, dims, &values));
    GI_TRY(gi_eval_out(a, TopK_out_Indices, GOPT_I64, x->rank, dims, &indices));
    int64_t *heap = gi_eval_scratch(a, (size_t)k, sizeof *heap);
    double *f = gi_eval_scratch(a, ints ? 0 : (size_t)n, sizeof *f);
    int64_t *v = gi_eval_scratch(a, ints ? (size_t)n : 0, sizeof *v);
    const bool sorts = n >= 256 && k >= n / 16;
    keyed *room = gi_eval_scratch(a, sorts ? 2 * (size_t)n : 0, sizeof *room);
    GI_NEED(heap && f && v && room);
    const uint64_t flip = x->dtype == GOPT_U64 ? (uint64_t)1 << 63 : 0;
    const line l = { .f = f, .i = ints ? v : NULL, .largest = gi_attr_int(a->n, TopK_at_largest) != 0 };
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            for (int64_t p = 0; p < n; p++) {
                const int64_t at = (o * n + p) * inner + i;
                if (ints)
                    v[p] = (int64_t)((uint64_t)gi_tensor_i64(x, at) ^ flip);
                else
                    f[p] = gi_tensor_f64(x, at);
            }
            if (sorts)
                select_sorted(&l, n, k, room, heap);
            else
                select_best(&l, n, k, heap);
            for (int64_t p = 0; p < k; p++) {
                const size_t to = (size_t)((o * k + p) * inner + i);
                if (values)
                    memcpy((uint8_t *)values->data + to * item,
                           (const uint8_t *)x->data + (size_t)((o * n + heap[p]) * inner + i) * item, item);
                if (indices)
                    ((int64_t *)indices->data)[to] = heap[p];
            }
        }
    return GOPT_OK;
}

/* ---- NonZero ---- */

static bool is_set(const gopt_tensor *x, int64_t i)
{
    if (x->dtype == GOPT_STRING)
        return ((const gopt_string *)x->data)[i].n > 0;
    return gi_dtype_is_float(x->dtype) ? gi_tensor_f64(x, i) != 0 : gi_tensor_i64(x, i) != 0;
}

static gopt_status eval_nonzero(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const int64_t n = gopt_tensor_elements(x);
    int64_t count = 0, at = 0, where[GOPT_MAX_RANK] = { 0 };
    gopt_tensor *y;
    for (int64_t i = 0; i < n; i++)
        count += is_set(x, i);
    const int rank = x->rank ? x->rank : 1; /* a scalar is a vector of one */
    GI_TRY(gi_eval_out(a, 0, GOPT_I64, 2, (const int64_t[]){ rank, count }, &y));
    for (int64_t i = 0; y && i < n; i++) {
        if (is_set(x, i)) {
            for (int d = 0; d < rank; d++)
                ((int64_t *)y->data)[d * count + at] = where[d];
            at++;
        }
        for (int d = x->rank - 1; d >= 0 && ++where[d] == x->dims[d]; d--)
            where[d] = 0;
    }
    return GOPT_OK;
}

/* ---- Unique: sorts the numbers of slices, then counts runs of equal ones ---- */

typedef struct slices {
    const gopt_tensor *x;
    int64_t outer, n, inner; /* slice i: elements (o * n + i) * inner + k */
} slices;

static int compare_elements(const gopt_tensor *x, int64_t p, int64_t q)
{
    if (x->dtype == GOPT_STRING) {
        const gopt_string *s = x->data;
        const size_t n = s[p].n < s[q].n ? s[p].n : s[q].n;
        const int c = n ? memcmp(s[p].p, s[q].p, n) : 0;
        return c ? c : (s[p].n > s[q].n) - (s[p].n < s[q].n);
    }
    if (x->dtype == GOPT_U64) {
        const uint64_t *u = x->data;
        return (u[p] > u[q]) - (u[p] < u[q]);
    }
    if (!gi_dtype_is_float(x->dtype)) {
        const int64_t u = gi_tensor_i64(x, p), v = gi_tensor_i64(x, q);
        return (u > v) - (u < v);
    }
    const double u = gi_tensor_f64(x, p), v = gi_tensor_f64(x, q);
    if (isnan(u) || isnan(v))
        return (isnan(u) != 0) - (isnan(v) != 0);
    return (u > v) - (u < v);
}

static int compare_slices(const void *p, const void *q, void *arg)
{
    const slices *s = arg;
    const int64_t i = *(const int64_t *)p, j = *(const int64_t *)q;
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t k = 0; k < s->inner; k++) {
            const int c = compare_elements(s->x, (o * s->n + i) * s->inner + k, (o * s->n + j) * s->inner + k);
            if (c)
                return c;
        }
    return 0;
}

static int compare_slices_stable(const void *p, const void *q, void *arg)
{
    const int64_t i = *(const int64_t *)p, j = *(const int64_t *)q;
    const int c = compare_slices(p, q, arg);
    return c ? c : (i > j) - (i < j);
}

static int compare_i64(const void *p, const void *q)
{
    const int64_t i = *(const int64_t *)p, j = *(const int64_t *)q;
    return (i > j) - (i < j);
}

/* Groups of equal slices: the first of each, in the order asked for; of each slice its group; their sizes. */
typedef struct groups {
    int64_t n;
    int64_t *first, *inverse, *counts;
} groups;

static gopt_status find_groups(gi_eval *a, slices *s, bool sorted, groups *g)
{
    const size_t n = (size_t)s->n;
    int64_t *order = gi_eval_scratch(a, n, sizeof *order), *rank = gi_eval_scratch(a, n, sizeof *rank);
    g->first = gi_eval_scratch(a, n, sizeof *g->first);
    g->inverse = gi_eval_scratch(a, n, sizeof *g->inverse);
    g->counts = gi_eval_scratch(a, n, sizeof *g->counts);
    GI_NEED(order && rank && g->first && g->inverse && g->counts);
    for (int64_t i = 0; i < s->n; i++)
        order[i] = i;
    qsort_r(order, n, sizeof *order, compare_slices_stable, s);
    g->n = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (i == 0 || compare_slices(&order[i - 1], &order[i], s) != 0)
            g->first[g->n++] = order[i];
        rank[order[i]] = g->first[g->n - 1]; /* each slice knows the first that equals it */
    }
    if (!sorted)
        qsort(g->first, (size_t)g->n, sizeof *g->first, compare_i64);
    int64_t *group_of = order; /* by first slice; the order is no longer needed */
    for (int64_t i = 0; i < g->n; i++)
        group_of[g->first[i]] = i;
    for (int64_t i = 0; i < s->n; i++) {
        g->inverse[i] = group_of[rank[i]];
        g->counts[g->inverse[i]]++;
    }
    return GOPT_OK;
}

static gopt_status give_list(gi_eval *a, uint32_t out, int64_t n, const int64_t *v)
{
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, out, GOPT_I64, 1, &n, &y));
    if (y && n)
        memcpy(y->data, v, (size_t)n * sizeof *v);
    return GOPT_OK;
}

/* Output 0: the slices of that numbers, in that order; flat: as a vector. */
static gopt_status give_slices(gi_eval *a, const slices *s, int axis, bool flat, int64_t n, const int64_t *which)
{
    const gopt_tensor *x = s->x;
    const size_t run = (size_t)s->inner * ((size_t)gopt_dtype_bits(x->dtype) / 8);
    int64_t dims[GOPT_MAX_RANK];
    gopt_tensor *y;
    for (int i = 0; i < x->rank; i++)
        dims[i] = i == axis ? n : x->dims[i];
    if (flat)
        dims[0] = n;
    GI_TRY(gi_eval_out(a, 0, x->dtype, flat ? 1 : x->rank, dims, &y));
    for (int64_t o = 0; y && run && o < s->outer; o++)
        for (int64_t i = 0; i < n; i++)
            memcpy((uint8_t *)y->data + (size_t)(o * n + i) * run,
                   (const uint8_t *)x->data + (size_t)(o * s->n + which[i]) * run, run);
    return GOPT_OK;
}

/* The slices along an attribute's axis; all elements, flat, where it is absent. */
static gopt_status slices_of(const gi_eval *a, int at, slices *s, int *axis, bool *flat)
{
    const gopt_tensor *x = a->in[0];
    *flat = !gi_attr_has(a->n, at);
    *axis = 0;
    if (!*flat && !gi_axis(gi_attr_int(a->n, at), x->rank, axis))
        return gi_eval_fail(a, 0, "it has rank %d, attribute axis is %lld", x->rank, (long long)gi_attr_int(a->n, at));
    if (gopt_dtype_bits(x->dtype) < 8)
        return gi_eval_fail(a, 0, "elements of type %s are not taken", gopt_dtype_name(x->dtype));
    if (*flat)
        *s = (slices){ x, 1, gopt_tensor_elements(x), 1 };
    else
        *s = (slices){ x, gi_product(0, *axis, x->dims), x->dims[*axis], gi_product(*axis + 1, x->rank, x->dims) };
    return GOPT_OK;
}

static gopt_status eval_unique(gi_eval *a)
{
    slices s;
    groups g;
    int axis;
    bool flat;
    GI_TRY(slices_of(a, Unique_at_axis, &s, &axis, &flat));
    GI_TRY(find_groups(a, &s, gi_attr_int(a->n, Unique_at_sorted) != 0, &g));
    GI_TRY(give_slices(a, &s, axis, flat, g.n, g.first));
    GI_TRY(give_list(a, Unique_out_indices, g.n, g.first));
    GI_TRY(give_list(a, Unique_out_inverse_indices, s.n, g.inverse));
    return give_list(a, Unique_out_counts, g.n, g.counts);
}

/* ---- type rules ---- */

static gopt_status infer_topk(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, TopK_in_X);
    const int rank = gi_infer_rank(c, TopK_in_X);
    const gi_dim *dims[GOPT_MAX_RANK];
    uint32_t n;
    int64_t k, all;
    int axis;
    if (!t || rank < 0) {
        gi_infer_set(c, TopK_out_Values, gi_infer_dtype(c, TopK_in_X), -1, NULL);
        gi_infer_set(c, TopK_out_Indices, GOPT_I64, -1, NULL);
        return GOPT_OK;
    }
    if (!gi_axis(gi_attr_int(c->n, TopK_at_axis), rank, &axis))
        return gi_infer_fail(c, TopK_in_X, "which has no axis %lld", (long long)gi_attr_int(c->n, TopK_at_axis));
    const gi_dim *const *known = gi_infer_known(c, TopK_in_K, &n);
    for (int i = 0; i < rank; i++)
        dims[i] = t->dims[i];
    dims[axis] = known && n == 1 ? known[0] : gi_dim_unknown(c->g->dims, true);
    GI_NEED(dims[axis]);
    if (gi_dim_is_const(dims[axis], &k) && (k < 0 || (gi_dim_is_const(t->dims[axis], &all) && k > all)))
        return gi_infer_fail(c, TopK_in_X, "K is %lld, expected at most the length of axis %d", (long long)k, axis);
    gi_infer_set(c, TopK_out_Values, t->dtype, rank, dims);
    gi_infer_set(c, TopK_out_Indices, GOPT_I64, rank, dims);
    return GOPT_OK;
}

static gopt_status infer_nonzero(gi_infer *c)
{
    const int rank = gi_infer_rank(c, 0);
    const gi_dim *dims[2] = { rank < 0 ? gi_dim_unknown(c->g->dims, true) : gi_dim_const(c->g->dims, rank ? rank : 1),
                              gi_dim_unknown(c->g->dims, true) };
    GI_NEED(dims[0] && dims[1]);
    gi_infer_set(c, 0, GOPT_I64, 2, dims);
    return GOPT_OK;
}

/* Output 0 as the input, with an unknown length along the attribute's axis; a vector where there is none. */
static gopt_status infer_selected(gi_infer *c, int at, const gi_dim *length)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int rank = gi_infer_rank(c, 0);
    const gi_dim *dims[GOPT_MAX_RANK];
    int axis;
    if (!gi_attr_has(c->n, at)) {
        gi_infer_set(c, 0, gi_infer_dtype(c, 0), 1, &length);
        return GOPT_OK;
    }
    if (!t || rank < 0) {
        gi_infer_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
        return GOPT_OK;
    }
    if (!gi_axis(gi_attr_int(c->n, at), rank, &axis))
        return gi_infer_fail(c, 0, "which has no axis %lld", (long long)gi_attr_int(c->n, at));
    for (int i = 0; i < rank; i++)
        dims[i] = i == axis ? length : t->dims[i];
    gi_infer_set(c, 0, t->dtype, rank, dims);
    return GOPT_OK;
}

static gopt_status infer_unique(gi_infer *c)
{
    const gi_dim *n = gi_dim_unknown(c->g->dims, true), *all = gi_dim_unknown(c->g->dims, true);
    const int rank = gi_infer_rank(c, 0);
    int axis;
    GI_NEED(n && all);
    if (rank >= 0 && gi_attr_has(c->n, Unique_at_axis) && gi_axis(gi_attr_int(c->n, Unique_at_axis), rank, &axis)) {
        all = gi_infer_dim(c, 0, axis);
    } else if (rank >= 0 && !gi_attr_has(c->n, Unique_at_axis)) {
        all = gi_dim_const(c->g->dims, 1);
        for (int i = 0; i < rank && all; i++)
            all = gi_dim_mul(c->g->dims, all, gi_infer_dim(c, 0, i));
        GI_NEED(all);
    }
    gi_infer_set(c, Unique_out_indices, GOPT_I64, 1, &n);
    gi_infer_set(c, Unique_out_inverse_indices, GOPT_I64, 1, &all);
    gi_infer_set(c, Unique_out_counts, GOPT_I64, 1, &n);
    return infer_selected(c, Unique_at_axis, n);
}

#include "ops/rows.h"

#include "ir/ops/sort.def"
