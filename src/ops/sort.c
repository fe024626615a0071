/* Sorting and selecting: TopK, NonZero, Unique. */
#include "ops/infer.h"
#include "ops/keyed.h"

#include <math.h>
#include <stdlib.h>

/* ---- TopK: a heap of the k best, the worst of them on top; or all sorted, where k is a good part of them ---- */

/* Less is better; of equals the first. */
static bool is_worse(const gi_keyed *x, const gi_keyed *y)
{
    return x->key > y->key || (x->key == y->key && x->at > y->at);
}

static void exchange(gi_keyed *x, gi_keyed *y)
{
    const gi_keyed t = *x;
    *x = *y;
    *y = t;
}

/* Sinks heap[at]: no parent is better than its children. */
static void sink(gi_keyed *heap, int64_t n, int64_t at)
{
    for (;;) {
        int64_t worst = at, child = 2 * at + 1;
        for (int64_t c = child; c < child + 2 && c < n; c++)
            if (is_worse(&heap[c], &heap[worst]))
                worst = c;
        if (worst == at)
            return;
        exchange(&heap[at], &heap[worst]);
        at = worst;
    }
}

/* The k best of n come first, best first. */
static void select_best(gi_keyed *all, int64_t n, int64_t k)
{
    for (int64_t i = k / 2 - 1; i >= 0; i--)
        sink(all, k, i);
    for (int64_t i = k; i < n && k > 0; i++)
        if (all[i].key < all[0].key) { /* an equal one that stands behind is worse */
            all[0] = all[i];
            sink(all, k, 0);
        }
    for (int64_t left = k - 1; left > 0; left--) { /* the worst goes last */
        exchange(&all[0], &all[left]);
        sink(all, left, 0);
    }
}

/* Keys of the n elements from `from` on, `step` apart. Of the largest, NaN is greatest. */
static void read_keys(const gopt_tensor *x, int64_t from, int64_t step, int64_t n, bool largest, gi_keyed *keys)
{
    const uint64_t flip = largest ? UINT64_MAX : 0;
    if (x->dtype == GOPT_F32) {
        const float *f = (const float *)x->data + from;
        for (int64_t i = 0; i < n; i++)
            keys[i] = (gi_keyed){ (gi_key_f32(f[i * step]) ^ flip) & UINT32_MAX, i };
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = from + i * step;
        const uint64_t key = gi_dtype_is_float(x->dtype) ? gi_key_f64(gi_tensor_f64(x, at))
                             : x->dtype == GOPT_U64      ? (uint64_t)gi_tensor_i64(x, at)
                                                         : gi_key_i64(gi_tensor_i64(x, at));
        keys[i] = (gi_keyed){ key ^ flip, i };
    }
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
    const bool largest = gi_attr_int(a->n, TopK_at_largest) != 0, sorts = k >= n / 16;
    const size_t item = gi_item_size(x->dtype);
    for (int i = 0; i < x->rank; i++)
        dims[i] = i == axis ? k : x->dims[i];
    GI_TRY(gi_eval_out(a, TopK_out_Values, x->dtype, x->rank, dims, &values));
    GI_TRY(gi_eval_out(a, TopK_out_Indices, GOPT_I64, x->rank, dims, &indices));
    gi_keyed *keys = gi_eval_scratch(a, (size_t)n * (sorts ? 2 : 1), sizeof *keys), *best = keys;
    GI_NEED(keys);
    for (int64_t line = 0; line < outer * inner; line++) {
        const int64_t o = line / inner, i = line % inner;
        read_keys(x, o * n * inner + i, inner, n, largest, keys);
        if (sorts)
            best = gi_sort_keyed(keys, keys + n, n);
        else
            select_best(keys, n, k);
        for (int64_t p = 0; p < k; p++) {
            const size_t to = (size_t)((o * k + p) * inner + i);
            if (values)
                memcpy((uint8_t *)values->data + to * item,
                       (const uint8_t *)x->data + (size_t)((o * n + best[p].at) * inner + i) * item, item);
            if (indices)
                ((int64_t *)indices->data)[to] = best[p].at;
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
