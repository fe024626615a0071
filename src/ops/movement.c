/* Operators that move whole elements: Transpose, Concat, Split, Slice, Tile and their kin. Pad and
 * CenterCropPad, which also make elements, lie in pad.c. */
#include "ops/eval.h"
#include "ops/infer.h"
#include "ops/move.h"
#include "ops/pad.h"

/* ---- Transpose ---- */

/* perm as the model gives it, or reversed; false where it is no permutation of rank dims. */
static bool read_perm(const gi_node *n, int rank, int *perm)
{
    const int64_t *v;
    bool seen[GOPT_MAX_RANK] = { false };
    if (!gi_attr_has(n, Transpose_at_perm)) {
        for (int i = 0; i < rank; i++)
            perm[i] = rank - 1 - i;
        return true;
    }
    if (gi_attr_ints(n, Transpose_at_perm, &v) != (uint32_t)rank)
        return false;
    for (int i = 0; i < rank; i++) {
        if (!gi_axis(v[i], rank, &perm[i]) || seen[perm[i]])
            return false;
        seen[perm[i]] = true;
    }
    return true;
}

static gopt_status infer_transpose(gi_infer *c)
{
    const gi_dim *in[GOPT_MAX_RANK], *out[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Transpose_in_data, in);
    int perm[GOPT_MAX_RANK];
    if (rank < 0) {
        const int64_t *v;
        const uint32_t n = gi_attr_ints(c->n, Transpose_at_perm, &v);
        if (!n || n > GOPT_MAX_RANK)
            return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
        for (uint32_t i = 0; i < n; i++)
            out[i] = gi_dim_unknown(c->g->dims, true);
        return gi_set(c, 0, gi_infer_dtype(c, 0), (int)n, out);
    }
    if (!read_perm(c->n, rank, perm))
        return gi_infer_fail(c, Transpose_in_data, "which has rank %d, of which attribute perm is no permutation",
                             rank);
    for (int i = 0; i < rank; i++)
        out[i] = in[perm[i]];
    GI_TRY(gi_set(c, 0, gi_infer_dtype(c, 0), rank, out));
    uint32_t n;
    const gi_dim *const *known = gi_infer_known(c, Transpose_in_data, &n);
    return known && rank <= 1 ? gi_set_known(c, 0, n, known) : GOPT_OK;
}

static gopt_status eval_transpose(gi_eval *a)
{
    const gopt_tensor *x = a->in[Transpose_in_data];
    int perm[GOPT_MAX_RANK];
    if (!read_perm(a->n, x->rank, perm))
        return gi_eval_fail(a, Transpose_in_data, "has rank %d, of which attribute perm is no permutation", x->rank);
    int64_t dims[GOPT_MAX_RANK], own[GOPT_MAX_RANK], from[GOPT_MAX_RANK], to[GOPT_MAX_RANK];
    gi_strides(x->rank, x->dims, own);
    for (int i = 0; i < x->rank; i++) {
        dims[i] = x->dims[perm[i]];
        from[i] = own[perm[i]];
    }
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    gi_strides(x->rank, dims, to);
    gi_move_nd(x->rank, dims, y.p, to, p, from, y.item);
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- Concat ---- */

/* Contents of all inputs in a row, where there are few. Only worth setting if something is known of one. */
static gopt_status concat_known(gi_infer *c)
{
    const gi_dim *all[GI_KNOWN_MAX];
    uint32_t total = 0;
    bool any = false;
    for (uint32_t i = 0; i < c->n->n_in; i++) {
        uint32_t n;
        const gi_dim *const *k = gi_contents(c, i, &n);
        if (!k || total + n > GI_KNOWN_MAX)
            return GOPT_OK;
        for (uint32_t j = 0; j < n; j++)
            any |= k[j] && !gi_dim_is_unknown(k[j]);
        memcpy(all + total, k, n * sizeof *k);
        total += n;
    }
    return any ? gi_set_known(c, 0, total, all) : GOPT_OK;
}

/* The other dims are the same in all inputs: a constant says more than a symbol, a symbol more than an unknown. */
static const gi_dim *better(const gi_dim *a, const gi_dim *b)
{
    if (gi_dim_is_const(a, NULL) || (!gi_dim_is_unknown(a) && !gi_dim_is_const(b, NULL)))
        return a;
    return gi_dim_is_unknown(b) ? a : b;
}

static gopt_status infer_concat(gi_infer *c)
{
    const gi_dim *out[GOPT_MAX_RANK], *in[GOPT_MAX_RANK];
    int rank = -1, axis = 0;
    uint32_t first = 0;
    bool all = true; /* every input's rank is known */
    if (!c->n->n_in)
        return gi_infer_fail_node(c, "has no inputs, expected one or more");
    for (uint32_t i = 0; i < c->n->n_in; i++) {
        const int r = gi_dims_of(c, i, in);
        all &= r >= 0;
        if (r < 0)
            continue;
        if (rank < 0) {
            rank = r;
            first = i;
            memcpy(out, in, (size_t)rank * sizeof *out);
            if (!gi_axis(gi_attr_int(c->n, Concat_at_axis), rank, &axis))
                return gi_infer_fail(c, i, "which has rank %d, which has no axis %lld", rank,
                                     (long long)gi_attr_int(c->n, Concat_at_axis));
            continue;
        }
        if (r != rank)
            return gi_infer_fail(c, i, "expected rank %d as of input %u", rank, first);
        for (int k = 0; k < rank; k++) {
            if (k == axis) {
                out[k] = gi_dim_add(c->g->dims, out[k], in[k]);
            } else if (gi_dim_equal(c->g->dims, out[k], in[k]) == 0) {
                return gi_infer_fail(c, i, "which has %s at axis %d, expected %s as in the inputs before it",
                                     gi_dim_text(c, in[k]), k, gi_dim_text(c, out[k]));
            } else {
                out[k] = better(out[k], in[k]);
            }
        }
    }
    gopt_dtype dtype = GOPT_UNDEFINED;
    for (uint32_t i = 0; i < c->n->n_in && dtype == GOPT_UNDEFINED; i++)
        dtype = gi_infer_dtype(c, i);
    if (rank < 0)
        return gi_set(c, 0, dtype, -1, NULL);
    if (!all)
        out[axis] = gi_dim_unknown(c->g->dims, true);
    GI_TRY(gi_set(c, 0, dtype, rank, out));
    return rank == 1 ? concat_known(c) : GOPT_OK;
}

static gopt_status eval_concat(gi_eval *a)
{
    const gopt_tensor *x = a->n_in ? a->in[0] : NULL;
    int axis;
    if (!x)
        return gi_eval_fail(a, 0, "is absent, expected one or more tensors");
    if (!gi_axis(gi_attr_int(a->n, Concat_at_axis), x->rank, &axis))
        return gi_eval_fail(a, 0, "has rank %d, which has no axis %lld", x->rank,
                            (long long)gi_attr_int(a->n, Concat_at_axis));
    int64_t dims[GOPT_MAX_RANK] = { 0 };
    memcpy(dims, x->dims, sizeof dims);
    for (uint32_t i = 1; i < a->n_in; i++) {
        const gopt_tensor *t = a->in[i];
        if (!t || t->rank != x->rank || t->dtype != x->dtype)
            return gi_eval_fail(a, (int)i, "has another rank or type than the first input");
        for (int k = 0; k < x->rank; k++)
            if (k != axis && t->dims[k] != x->dims[k])
                return gi_eval_fail(a, (int)i, "has %lld at axis %d, expected %lld", (long long)t->dims[k], k,
                                    (long long)x->dims[k]);
        if (!gi_add_i64(dims[axis], t->dims[axis], &dims[axis]))
            return gi_eval_fail(a, (int)i, "makes axis %d too long", axis);
    }
    gi_moved y;
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    const int64_t outer = gi_product(0, axis, dims), inner = gi_product(axis + 1, x->rank, dims);
    const size_t row = (size_t)(dims[axis] * inner) * y.item;
    size_t at = 0;
    for (uint32_t i = 0; i < a->n_in; i++) {
        const uint8_t *p;
        GI_TRY(gi_move_in(a, a->in[i], &p));
        const size_t run = (size_t)(a->in[i]->dims[axis] * inner) * y.item;
        for (int64_t o = 0; o < outer && run; o++)
            memcpy(y.p + (size_t)o * row + at, p + (size_t)o * run, run);
        at += run;
    }
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- Split ---- */

/* Lengths of the parts, where the split input is absent: equal, the last one shorter. */
static gopt_status equal_parts(gi_infer *c, const gi_dim *whole, uint32_t parts, const gi_dim **lengths)
{
    gi_dims *t = c->g->dims;
    const gi_dim *n = gi_dim_const(t, parts), *zero = gi_dim_const(t, 0), *exact = gi_dim_div_exact(t, whole, n);
    const gi_dim *part = exact ? exact : gi_dim_ceildiv(t, whole, n), *left = whole;
    for (uint32_t i = 0; i < parts; i++) {
        lengths[i] = exact ? exact : gi_dim_min(t, part, left);
        left = exact ? left : gi_dim_max(t, gi_dim_sub(t, left, part), zero);
        GI_NEED(lengths[i] && left);
    }
    return GOPT_OK;
}

static gopt_status split_lengths(gi_infer *c, const gi_dim *whole, int axis, const gi_dim **lengths)
{
    gi_dims *t = c->g->dims;
    const uint32_t parts = c->n->n_out;
    if (!gi_infer_has(c, Split_in_split)) {
        const int64_t asked = gi_attr_has(c->n, Split_at_num_outputs) ? gi_attr_int(c->n, Split_at_num_outputs) : parts;
        if (asked != parts)
            return gi_infer_fail_node(c, "attribute num_outputs is %lld, but the node has %u outputs", (long long)asked,
                                      parts);
        return equal_parts(c, whole, parts, lengths);
    }
    uint32_t n;
    const gi_dim *const *given = gi_contents(c, Split_in_split, &n);
    if (given && n != parts)
        return gi_infer_fail(c, Split_in_split, "which has %u lengths, but the node has %u outputs", n, parts);
    const gi_dim *sum = gi_dim_const(t, 0);
    for (uint32_t i = 0; i < parts; i++) {
        int64_t v;
        if (given && gi_dim_is_const(given[i], &v) && v < 0)
            return gi_infer_fail(c, Split_in_split, "which is %s, expected no negative length",
                                 gi_dims_text(c, (int)n, given));
        lengths[i] = given && !gi_dim_is_unknown(given[i]) ? given[i] : gi_dim_unknown(t, true);
        sum = gi_dim_add(t, sum, lengths[i]);
    }
    GI_NEED(sum);
    if (gi_dim_equal(t, sum, whole) == 0)
        return gi_infer_fail(c, Split_in_input, "which has %s at axis %d, expected %s, the sum of split",
                             gi_dim_text(c, whole), axis, gi_dim_text(c, sum));
    return GOPT_OK;
}

static gopt_status infer_split(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Split_in_input, dims);
    int axis;
    if (rank < 0) {
        for (uint32_t i = 0; i < c->n->n_out; i++)
            GI_TRY(gi_set(c, i, gi_infer_dtype(c, 0), -1, NULL));
        return GOPT_OK;
    }
    if (!gi_axis(gi_attr_int(c->n, Split_at_axis), rank, &axis))
        return gi_infer_fail(c, Split_in_input, "which has rank %d, which has no axis %lld", rank,
                             (long long)gi_attr_int(c->n, Split_at_axis));
    const gi_dim **lengths = GI_NEW_ARRAY(c->scratch, const gi_dim *, c->n->n_out + 1);
    GI_NEED(lengths);
    GI_TRY(split_lengths(c, dims[axis], axis, lengths));
    uint32_t n_known, at = 0;
    const gi_dim *const *known = rank == 1 ? gi_infer_known(c, Split_in_input, &n_known) : NULL;
    for (uint32_t i = 0; i < c->n->n_out; i++) {
        dims[axis] = lengths[i];
        GI_TRY(gi_set(c, i, gi_infer_dtype(c, 0), rank, dims));
        int64_t length;
        if (known && gi_dim_is_const(lengths[i], &length) && length >= 0 && length <= n_known - at) {
            GI_TRY(gi_set_known(c, i, (uint32_t)length, known + at));
            at += (uint32_t)length;
        } else {
            known = NULL;
        }
    }
    return GOPT_OK;
}

static gopt_status eval_split(gi_eval *a)
{
    const gopt_tensor *x = a->in[Split_in_input];
    const bool given = a->n_in > Split_in_split && a->in[Split_in_split];
    int axis;
    if (!gi_axis(gi_attr_int(a->n, Split_at_axis), x->rank, &axis))
        return gi_eval_fail(a, Split_in_input, "has rank %d, which has no axis %lld", x->rank,
                            (long long)gi_attr_int(a->n, Split_at_axis));
    uint32_t n;
    int64_t *lengths, sum = 0;
    GI_TRY(gi_move_ints(a, Split_in_split, UINT32_MAX, &n, &lengths));
    if (given && n != a->n_out)
        return gi_eval_fail(a, Split_in_split, "has %u lengths, but the node has %u outputs", n, a->n_out);
    const int64_t whole = x->dims[axis], parts = a->n_out;
    const int64_t part = parts ? whole / parts + (whole % parts != 0) : 0;
    for (uint32_t i = 0; given && i < n; i++)
        if (lengths[i] < 0 || !gi_add_i64(sum, lengths[i], &sum))
            return gi_eval_fail(a, Split_in_split, "holds %lld, expected no negative length", (long long)lengths[i]);
    if (given && sum != whole)
        return gi_eval_fail(a, Split_in_split, "adds up to %lld, expected %lld", (long long)sum, (long long)whole);
    const uint8_t *p;
    GI_TRY(gi_move_in(a, x, &p));
    const int64_t outer = gi_product(0, axis, x->dims), inner = gi_product(axis + 1, x->rank, x->dims);
    const size_t item = gi_move_item(x->dtype), row = (size_t)(whole * inner) * item;
    int64_t dims[GOPT_MAX_RANK] = { 0 }, at = 0;
    memcpy(dims, x->dims, sizeof dims);
    for (uint32_t i = 0; i < a->n_out; i++) {
        dims[axis] = given ? lengths[i] : gi_max_i64(0, gi_min_i64(part, whole - at));
        gi_moved y;
        GI_TRY(gi_move_out(a, i, x->dtype, x->rank, dims, &y));
        const size_t run = (size_t)(dims[axis] * inner) * item, from = (size_t)(at * inner) * item;
        for (int64_t o = 0; y.p && run && o < outer; o++)
            memcpy(y.p + (size_t)o * run, p + (size_t)o * row + from, run);
        if (y.p)
            gi_move_end(&y);
        at += dims[axis];
    }
    return GOPT_OK;
}

/* ---- Slice ---- */

/* Bounds this far out mean "to the end", as exporters write them. */
static const int64_t far_out = INT32_MAX;

/* A bound as written → a place in 0 … dim, by expressions. NULL where its sign is not decided. */
static const gi_dim *slice_bound(gi_infer *c, const gi_dim *bound, const gi_dim *dim)
{
    gi_dims *t = c->g->dims;
    const gi_dim *zero = gi_dim_const(t, 0);
    int64_t v, low, high;
    if (!zero || !bound || !dim)
        return NULL;
    if (gi_dim_is_const(bound, &v)) {
        if (v >= far_out)
            return dim;
        if (v < -far_out)
            return zero;
        return v >= 0 ? gi_dim_min(t, bound, dim) : gi_dim_max(t, gi_dim_add(t, dim, bound), zero);
    }
    if (gi_dim_lower(bound, &low) && low >= 0)
        return gi_dim_min(t, bound, dim);
    if (gi_dim_upper(bound, &high) && high < 0)
        return gi_dim_max(t, gi_dim_add(t, dim, bound), zero);
    const gi_dim *plus = gi_dim_add(t, bound, gi_dim_const(t, 1));
    if (plus && gi_dim_lower(plus, &low) && low >= 0 && plus == dim) /* dim-1: at dim 0 both readings give 0 */
        return gi_dim_max(t, bound, zero);
    return NULL;
}

/* How many elements start, end and step take of dim; NULL where that is not decided. */
static const gi_dim *slice_length(gi_infer *c, const gi_dim *start, const gi_dim *end, int64_t step, const gi_dim *dim)
{
    gi_dims *t = c->g->dims;
    const gi_dim *zero = gi_dim_const(t, 0), *minus = gi_dim_const(t, -1), *span;
    int64_t v;
    if (step > 0) {
        const gi_dim *e = slice_bound(c, end, dim), *s = slice_bound(c, start, dim);
        if (gi_dim_is_const(start, &v) && v < 0 && e == dim) /* the last -v: all of them where there are fewer */
            span = v < -far_out ? dim : gi_dim_min(t, dim, gi_dim_mul(t, start, minus));
        else if (s && gi_dim_lower(start, &v) && v >= 0) /* past the end the span is negative, clamped or not */
            span = gi_dim_sub(t, e, start);
        else
            span = gi_dim_sub(t, e, s);
    } else {
        /* backwards: start is at most dim-1, and an end that lies before the first element is -1 */
        const gi_dim *last = gi_dim_add(t, dim, minus);
        const gi_dim *s = gi_dim_is(start, -1) ? last : gi_dim_min(t, slice_bound(c, start, dim), last);
        const gi_dim *e = slice_bound(c, end, dim);
        if (gi_dim_is_const(end, &v) && v < 0) {
            e = v < -far_out ? minus : gi_dim_max(t, gi_dim_add(t, dim, end), minus);
        } else if (e) {
            e = gi_dim_min(t, e, last);
        }
        span = gi_dim_sub(t, s, e);
    }
    if (!span || step == INT64_MIN)
        return NULL;
    const int64_t by = step > 0 ? step : -step;
    return gi_dim_max(t, by == 1 ? span : gi_dim_ceildiv(t, span, gi_dim_const(t, by)), zero);
}

/* Contents of a sliced list. */
static gopt_status slice_known(gi_infer *c, const gi_dim *start, const gi_dim *end, int64_t step)
{
    uint32_t n;
    int64_t s, e, first, length;
    const gi_dim *const *known = gi_infer_known(c, Slice_in_data, &n), *part[GI_KNOWN_MAX];
    if (!known || n > GI_KNOWN_MAX || !gi_dim_is_const(start, &s) || !gi_dim_is_const(end, &e))
        return GOPT_OK;
    gi_slice_span(n, s, e, step, &first, &length);
    for (int64_t i = 0; i < length; i++)
        part[i] = known[first + i * step];
    return gi_set_known(c, 0, (uint32_t)length, part);
}

static gopt_status infer_slice(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Slice_in_data, dims);
    if (rank < 0)
        return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
    uint32_t n, n_ends, n_steps = 0;
    const gi_dim *const *starts = gi_contents(c, Slice_in_starts, &n);
    const gi_dim *const *ends = gi_contents(c, Slice_in_ends, &n_ends);
    const gi_dim *const *steps = gi_contents(c, Slice_in_steps, &n_steps);
    int n_axes, axes[GOPT_MAX_RANK];
    GI_TRY(gi_axes_of(c, Slice_in_axes, rank, &n_axes, axes));
    if (!starts || !ends || n_axes < 0) {
        for (int i = 0; i < rank; i++)
            if (n_axes < 0 || !gi_infer_has(c, Slice_in_axes))
                dims[i] = gi_dim_unknown(c->g->dims, true);
        for (int i = 0; i < n_axes; i++)
            dims[axes[i]] = gi_dim_unknown(c->g->dims, true);
        return gi_set(c, 0, gi_infer_dtype(c, 0), rank, dims);
    }
    if (n_ends != n || (gi_infer_has(c, Slice_in_axes) ? n != (uint32_t)n_axes : n > (uint32_t)rank))
        return gi_infer_fail(c, Slice_in_starts, "which has %u entries for %u ends and %d axes", n, n_ends, n_axes);
    if (steps && n_steps != n)
        return gi_infer_fail(c, Slice_in_steps, "which has %u entries, expected %u", n_steps, n);
    const gi_dim *whole = rank == 1 ? dims[0] : NULL;
    for (uint32_t i = 0; i < n; i++) {
        const int k = axes[i];
        int64_t step = 1;
        const bool fixed = !gi_infer_has(c, Slice_in_steps) || (steps && gi_dim_is_const(steps[i], &step));
        if (step == 0)
            return gi_infer_fail(c, Slice_in_steps, "which holds 0 for axis %d, expected another step", k);
        const gi_dim *length = fixed ? slice_length(c, starts[i], ends[i], step, dims[k]) : NULL;
        dims[k] = length ? length : gi_dim_unknown(c->g->dims, true);
        if (whole && fixed)
            GI_TRY(slice_known(c, starts[i], ends[i], step));
    }
    GI_TRY(gi_set(c, 0, gi_infer_dtype(c, 0), rank, dims));
    uint32_t n_known;
    const gi_dim *const *known = gi_infer_known(c, Slice_in_data, &n_known);
    return !n && known ? gi_set_known(c, 0, n_known, known) : GOPT_OK;
}

static gopt_status eval_slice(gi_eval *a)
{
    const gopt_tensor *x = a->in[Slice_in_data];
    uint32_t n, n_ends, n_axes, n_steps;
    int64_t *starts, *ends, *steps, dims[GOPT_MAX_RANK], from[GOPT_MAX_RANK], to[GOPT_MAX_RANK];
    int axes[GOPT_MAX_RANK];
    GI_TRY(gi_move_ints(a, Slice_in_starts, GOPT_MAX_RANK, &n, &starts));
    GI_TRY(gi_move_ints(a, Slice_in_ends, GOPT_MAX_RANK, &n_ends, &ends));
    GI_TRY(gi_move_axes(a, Slice_in_axes, x->rank, &n_axes, axes));
    GI_TRY(gi_move_ints(a, Slice_in_steps, GOPT_MAX_RANK, &n_steps, &steps));
    if (n != n_ends || n > n_axes || (steps && n_steps != n))
        return gi_eval_fail(a, Slice_in_starts, "has %u entries for %u ends, %u axes and %u steps", n, n_ends, n_axes,
                            n_steps);
    gi_strides(x->rank, x->dims, from);
    memcpy(dims, x->dims, sizeof dims);
    int64_t offset = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int k = axes[i];
        const int64_t step = steps ? steps[i] : 1;
        int64_t first, length;
        if (!step)
            return gi_eval_fail(a, Slice_in_steps, "holds 0 for axis %d, expected another step", k);
        gi_slice_span(x->dims[k], starts[i], ends[i], step, &first, &length);
        dims[k] = length;
        if (length)
            offset += first * from[k];
        from[k] = length > 1 ? from[k] * step : from[k]; /* a step past the end may be any number */
    }
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    gi_strides(x->rank, dims, to);
    if (gopt_tensor_elements(y.t))
        gi_move_nd(x->rank, dims, y.p, to, p + offset * (int64_t)y.item, from, y.item);
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- Tile ---- */

static gopt_status infer_tile(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK], *copies[GI_KNOWN_MAX];
    const int rank = gi_dims_of(c, Tile_in_input, dims);
    uint32_t n, n_known;
    const gi_dim *const *repeats = gi_contents(c, Tile_in_repeats, &n);
    if (rank < 0 || !repeats) {
        for (int i = 0; i < rank; i++)
            dims[i] = gi_dim_unknown(c->g->dims, true);
        return gi_set(c, 0, gi_infer_dtype(c, 0), rank, dims);
    }
    if (n != (uint32_t)rank)
        return gi_infer_fail(c, Tile_in_repeats, "which has %u entries, expected %d, the rank of input", n, rank);
    int64_t v = 1;
    for (int i = 0; i < rank; i++) {
        if (gi_dim_is_const(repeats[i], &v) && v < 0)
            return gi_infer_fail(c, Tile_in_repeats, "which is %s, expected no negative count",
                                 gi_dims_text(c, rank, repeats));
        int64_t low;
        const bool any = gi_dim_is_unknown(repeats[i]) && (!gi_dim_lower(repeats[i], &low) || low < 0);
        dims[i] = any ? gi_dim_unknown(c->g->dims, true) : gi_dim_mul(c->g->dims, dims[i], repeats[i]);
    }
    GI_TRY(gi_set(c, 0, gi_infer_dtype(c, 0), rank, dims));
    const gi_dim *const *known = gi_infer_known(c, Tile_in_input, &n_known);
    if (!known || rank > 1 || (rank == 1 && !gi_dim_is_const(repeats[0], &v)))
        return GOPT_OK;
    const int64_t times = rank ? v : 1;
    if (n_known && times > GI_KNOWN_MAX / (int64_t)n_known)
        return GOPT_OK;
    const uint32_t count = n_known ? n_known * (uint32_t)times : 0;
    for (uint32_t i = 0; i < count; i++)
        copies[i] = known[i % n_known];
    return gi_set_known(c, 0, count, copies);
}

/* Each axis twice: the repeats (stride 0 in the input), then the elements. */
static gopt_status eval_tile(gi_eval *a)
{
    const gopt_tensor *x = a->in[Tile_in_input];
    uint32_t n;
    int64_t *repeats, dims[GOPT_MAX_RANK], nest[2 * GOPT_MAX_RANK], from[2 * GOPT_MAX_RANK], to[2 * GOPT_MAX_RANK];
    GI_TRY(gi_move_ints(a, Tile_in_repeats, GOPT_MAX_RANK, &n, &repeats));
    if (n != (uint32_t)x->rank)
        return gi_eval_fail(a, Tile_in_repeats, "has %u entries, expected %d, the rank of input", n, x->rank);
    for (int i = 0; i < x->rank; i++)
        if (repeats[i] < 0 || !gi_mul_i64(x->dims[i], repeats[i], &dims[i]))
            return gi_eval_fail(a, Tile_in_repeats, "holds %lld for axis %d", (long long)repeats[i], i);
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    int64_t own[GOPT_MAX_RANK], out[GOPT_MAX_RANK];
    gi_strides(x->rank, x->dims, own);
    gi_strides(x->rank, dims, out);
    int k = 0;
    for (int i = 0; i < x->rank; i++) {
        if (repeats[i] != 1) {
            nest[k] = repeats[i];
            from[k] = 0;
            to[k++] = out[i] * x->dims[i];
        }
        nest[k] = x->dims[i];
        from[k] = own[i];
        to[k++] = out[i];
    }
    gi_move_nd(k, nest, y.p, to, p, from, y.item);
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- DepthToSpace and SpaceToDepth ---- */

static gopt_status block_dims(gi_infer *c, int64_t block, const gi_dim **dims, bool *known)
{
    const int rank = gi_dims_of(c, 0, dims);
    *known = rank >= 0;
    if (block < 1 || block > 46340)
        return gi_infer_fail_node(c, "attribute blocksize is %lld, expected 1 or more", (long long)block);
    if (rank >= 0 && rank != 4)
        return gi_infer_fail(c, 0, "which has rank %d, expected 4", rank);
    if (rank < 0)
        for (int i = 0; i < 4; i++)
            dims[i] = gi_dim_unknown(c->g->dims, true);
    return GOPT_OK;
}

static gopt_status divide_dim(gi_infer *c, const gi_dim **dim, int axis, int64_t by)
{
    int64_t v;
    if (gi_dim_is_const(*dim, &v) && v % by)
        return gi_infer_fail(c, 0, "which has %lld at axis %d, expected a multiple of %lld", (long long)v, axis,
                             (long long)by);
    *dim = gi_dims_quotient(c, *dim, gi_dim_const(c->g->dims, by));
    return GOPT_OK;
}

static gopt_status infer_depth_to_space(gi_infer *c)
{
    const int64_t b = gi_attr_int(c->n, DepthToSpace_at_blocksize);
    const gi_dim *dims[GOPT_MAX_RANK];
    bool known;
    GI_TRY(block_dims(c, b, dims, &known));
    if (known) {
        GI_TRY(divide_dim(c, &dims[1], 1, b * b));
        const gi_dim *by = gi_dim_const(c->g->dims, b);
        dims[2] = gi_dim_mul(c->g->dims, dims[2], by);
        dims[3] = gi_dim_mul(c->g->dims, dims[3], by);
    }
    return gi_set(c, 0, gi_infer_dtype(c, 0), 4, dims);
}

static gopt_status infer_space_to_depth(gi_infer *c)
{
    const int64_t b = gi_attr_int(c->n, SpaceToDepth_at_blocksize);
    const gi_dim *dims[GOPT_MAX_RANK];
    bool known;
    GI_TRY(block_dims(c, b, dims, &known));
    if (known) {
        dims[1] = gi_dim_mul(c->g->dims, dims[1], gi_dim_const(c->g->dims, b * b));
        GI_TRY(divide_dim(c, &dims[2], 2, b));
        GI_TRY(divide_dim(c, &dims[3], 3, b));
    }
    return gi_set(c, 0, gi_infer_dtype(c, 0), 4, dims);
}

/* Moves the input, seen with dims `seen`, its axes in the order `perm`, into an output of dims `out`. */
static gopt_status move_blocks(gi_eval *a, int rank, const int64_t *seen, const int *perm, const int64_t *out)
{
    const gopt_tensor *x = a->in[0];
    int64_t own[GOPT_MAX_RANK], dims[GOPT_MAX_RANK], from[GOPT_MAX_RANK], to[GOPT_MAX_RANK];
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, 4, out, &y));
    if (!y.p)
        return GOPT_OK;
    gi_strides(rank, seen, own);
    for (int i = 0; i < rank; i++) {
        dims[i] = seen[perm[i]];
        from[i] = own[perm[i]];
    }
    gi_strides(rank, dims, to);
    gi_move_nd(rank, dims, y.p, to, p, from, y.item);
    gi_move_end(&y);
    return GOPT_OK;
}

static gopt_status eval_depth_to_space(gi_eval *a)
{
    const gopt_tensor *x = a->in[DepthToSpace_in_input];
    const int64_t b = gi_attr_int(a->n, DepthToSpace_at_blocksize);
    if (x->rank != 4 || b < 1 || b > 46340 || x->dims[1] % (b * b))
        return gi_eval_fail(a, 0, "does not divide into blocks of %lld", (long long)b);
    const int64_t n = x->dims[0], c = x->dims[1] / (b * b), h = x->dims[2], w = x->dims[3];
    int64_t out[4] = { n, c, 0, 0 };
    if (!gi_mul_i64(h, b, &out[2]) || !gi_mul_i64(w, b, &out[3]))
        return gi_eval_fail(a, 0, "is too large for blocks of %lld", (long long)b);
    if (gi_attr_is(a->n, DepthToSpace_at_mode, "CRD"))
        return move_blocks(a, 6, (int64_t[]){ n, c, b, b, h, w }, (int[]){ 0, 1, 4, 2, 5, 3 }, out);
    return move_blocks(a, 6, (int64_t[]){ n, b, b, c, h, w }, (int[]){ 0, 3, 4, 1, 5, 2 }, out);
}

static gopt_status eval_space_to_depth(gi_eval *a)
{
    const gopt_tensor *x = a->in[SpaceToDepth_in_input];
    const int64_t b = gi_attr_int(a->n, SpaceToDepth_at_blocksize);
    if (x->rank != 4 || b < 1 || b > 46340 || x->dims[2] % b || x->dims[3] % b)
        return gi_eval_fail(a, 0, "does not divide into blocks of %lld", (long long)b);
    const int64_t n = x->dims[0], c = x->dims[1], h = x->dims[2] / b, w = x->dims[3] / b;
    int64_t out[4] = { n, 0, h, w };
    if (!gi_mul_i64(c, b * b, &out[1]))
        return gi_eval_fail(a, 0, "is too large for blocks of %lld", (long long)b);
    return move_blocks(a, 6, (int64_t[]){ n, c, h, b, w, b }, (int[]){ 0, 3, 5, 1, 2, 4 }, out);
}

/* ---- ReverseSequence and Trilu ---- */

static gopt_status infer_reverse_sequence(gi_infer *c)
{
    const int rank = gi_infer_rank(c, ReverseSequence_in_input);
    int batch, time;
    if (rank >= 0 && (rank < 2 || !gi_axis(gi_attr_int(c->n, ReverseSequence_at_batch_axis), rank, &batch) ||
                      !gi_axis(gi_attr_int(c->n, ReverseSequence_at_time_axis), rank, &time) || batch == time))
        return gi_infer_fail(c, ReverseSequence_in_input, "which has rank %d, expected one with batch and time axes",
                             rank);
    return gi_infer_same(c);
}

static gopt_status eval_reverse_sequence(gi_eval *a)
{
    const gopt_tensor *x = a->in[ReverseSequence_in_input];
    uint32_t n;
    int64_t *lens;
    int batch, time;
    if (!gi_axis(gi_attr_int(a->n, ReverseSequence_at_batch_axis), x->rank, &batch) ||
        !gi_axis(gi_attr_int(a->n, ReverseSequence_at_time_axis), x->rank, &time) || batch == time)
        return gi_eval_fail(a, 0, "has rank %d, expected one with batch and time axes", x->rank);
    GI_TRY(gi_move_ints(a, ReverseSequence_in_sequence_lens, UINT32_MAX, &n, &lens));
    if (n != x->dims[batch])
        return gi_eval_fail(a, ReverseSequence_in_sequence_lens, "has %u entries, expected %lld", n,
                            (long long)x->dims[batch]);
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, x->dims, &y));
    if (!y.p)
        return GOPT_OK;
    int64_t strides[GOPT_MAX_RANK], back[GOPT_MAX_RANK], dims[GOPT_MAX_RANK];
    const int64_t size = (int64_t)y.item, steps = x->dims[time];
    gi_strides(x->rank, x->dims, strides);
    memcpy(back, strides, sizeof back);
    memcpy(dims, x->dims, sizeof dims);
    back[time] = -strides[time];
    dims[batch] = 1;
    for (int64_t b = 0; b < n; b++) {
        const int64_t turned = lens[b], at = b * strides[batch];
        if (turned < 0 || turned > steps)
            return gi_eval_fail(a, ReverseSequence_in_sequence_lens, "holds %lld, expected 0 to %lld",
                                (long long)turned, (long long)steps);
        dims[time] = turned;
        if (turned)
            gi_move_nd(x->rank, dims, y.p + at * size, strides, p + (at + (turned - 1) * strides[time]) * size, back,
                       y.item);
        dims[time] = steps - turned;
        const int64_t rest = (at + turned * strides[time]) * size;
        if (dims[time])
            gi_move_nd(x->rank, dims, y.p + rest, strides, p + rest, strides, y.item);
    }
    gi_move_end(&y);
    return GOPT_OK;
}

static gopt_status infer_trilu(gi_infer *c)
{
    const int rank = gi_infer_rank(c, Trilu_in_input);
    if (rank >= 0 && rank < 2)
        return gi_infer_fail(c, Trilu_in_input, "which has rank %d, expected 2 or more", rank);
    return gi_infer_same(c);
}

static gopt_status eval_trilu(gi_eval *a)
{
    const gopt_tensor *x = a->in[Trilu_in_input];
    uint32_t n;
    int64_t *given;
    if (x->rank < 2)
        return gi_eval_fail(a, Trilu_in_input, "has rank %d, expected 2 or more", x->rank);
    GI_TRY(gi_move_ints(a, Trilu_in_k, 1, &n, &given));
    const bool upper = gi_attr_int(a->n, Trilu_at_upper) != 0;
    const int64_t rows = x->dims[x->rank - 2], cols = x->dims[x->rank - 1], count = gi_product(0, x->rank - 2, x->dims);
    const int64_t k = gi_max_i64(-rows, gi_min_i64(n ? given[0] : 0, cols));
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, x->dims, &y));
    if (!y.p)
        return GOPT_OK;
    for (int64_t i = 0; i < count * rows && cols; i++) {
        /* columns from … to stay */
        const int64_t edge = i % rows + k + (upper ? 0 : 1), cut = gi_max_i64(0, gi_min_i64(edge, cols));
        const int64_t from = upper ? cut : 0, to = upper ? cols : cut;
        uint8_t *row = y.p + (size_t)(i * cols) * y.item;
        memset(row, 0, (size_t)from * y.item);
        memcpy(row + (size_t)from * y.item, p + (size_t)(i * cols + from) * y.item, (size_t)(to - from) * y.item);
        memset(row + (size_t)to * y.item, 0, (size_t)(cols - to) * y.item);
    }
    gi_move_end(&y);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/movement.def"
