/* Shapes, views, and tensors made from shapes.
 *
 * Here dynamic dims are decided: Shape turns a type into contents, Reshape, Expand, ConstantOfShape and Range
 * turn contents back into types, all of it as expressions over the model's symbols. */
#include <math.h>

#include "ops/eval.h"
#include "ops/infer.h"
#include "ops/move.h"

/* ---- Shape and Size ---- */

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

static void shape_span(const gi_node *n, int rank, int *from, int *to)
{
    const int64_t start = gi_attr_int(n, Shape_at_start);
    const int64_t end = gi_attr_has(n, Shape_at_end) ? gi_attr_int(n, Shape_at_end) : rank;
    *from = (int)clamp(start < 0 ? start + rank : start, 0, rank);
    *to = (int)clamp(end < 0 ? end + rank : end, *from, rank);
}

static gopt_status infer_shape(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Shape_in_data, dims);
    if (rank < 0) {
        const gi_dim *any = gi_dim_unknown(c->g->dims, true);
        return gi_set(c, 0, GOPT_I64, 1, &any);
    }
    int from, to;
    shape_span(c->n, rank, &from, &to);
    const gi_dim *n = gi_dim_const(c->g->dims, to - from);
    GI_TRY(gi_set(c, 0, GOPT_I64, 1, &n));
    return gi_set_known(c, 0, (uint32_t)(to - from), dims + from);
}

static gopt_status eval_shape(gi_eval *a)
{
    const gopt_tensor *x = a->in[Shape_in_data];
    int from, to;
    shape_span(a->n, x->rank, &from, &to);
    const int64_t n = to - from;
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, GOPT_I64, 1, &n, &y));
    if (y && n)
        memcpy(y->data, x->dims + from, (size_t)n * sizeof *x->dims);
    return GOPT_OK;
}

static gopt_status infer_size(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Size_in_data, dims);
    GI_TRY(gi_set(c, 0, GOPT_I64, 0, NULL));
    if (rank < 0)
        return GOPT_OK;
    const gi_dim *n = gi_dims_product(c, 0, rank, dims);
    return gi_set_known(c, 0, 1, &n);
}

static gopt_status eval_size(gi_eval *a)
{
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, GOPT_I64, 0, NULL, &y));
    if (y)
        gi_store_i64(GOPT_I64, y->data, 0, gopt_tensor_elements(a->in[Size_in_data]));
    return GOPT_OK;
}

/* ---- Reshape ---- */

typedef struct target {
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank;
    int rest;    /* the dim that takes what remains (written -1), or -1 */
    int unknown; /* the only dim of which nothing is known, or -1; -2: several */
} target;

/* The dims that the shape asks for, before -1 is solved. */
static gopt_status reshape_target(gi_infer *c, uint32_t n, const gi_dim *const *want, int in_rank,
                                  const gi_dim *const *in, target *t)
{
    const bool zero_is_zero = gi_attr_int(c->n, Reshape_at_allowzero) != 0;
    t->rank = (int)n;
    t->rest = t->unknown = -1;
    for (int i = 0; i < t->rank; i++) {
        int64_t v, low;
        t->dims[i] = want[i];
        if (gi_dim_is_const(want[i], &v)) {
            if (v < -1)
                return gi_infer_fail(c, Reshape_in_shape, "which holds %lld, expected -1 or more", (long long)v);
            if (v == -1) {
                if (t->rest >= 0)
                    return gi_infer_fail(c, Reshape_in_shape, "which is %s, expected at most one -1",
                                         gi_dims_text(c, t->rank, want));
                t->rest = i;
            } else if (v == 0 && !zero_is_zero) {
                if (in_rank >= 0 && i >= in_rank)
                    return gi_infer_fail(c, Reshape_in_shape, "which copies dim %d by a 0, but data has rank %d", i,
                                         in_rank);
                t->dims[i] = in_rank < 0 ? gi_dim_unknown(c->g->dims, true) : in[i];
            }
        } else if (gi_dim_is_unknown(want[i])) {
            if (!gi_dim_lower(want[i], &low) || low < 0)
                t->dims[i] = gi_dim_unknown(c->g->dims, true);
            t->unknown = t->unknown == -1 ? i : -2;
        }
    }
    return GOPT_OK;
}

/* What remains of the input's elements for dim `at`: equal factors cancel first, so that [n,h,w,96] → [n,-1,96]
 * gives h*w however n, h and w came about. */
static gopt_status reshape_rest(gi_infer *c, int in_rank, const gi_dim *const *in, int at, target *t, bool must)
{
    const gi_dim *above[GOPT_MAX_RANK], *below[GOPT_MAX_RANK];
    int n_above = 0, n_below = 0;
    for (int i = 0; i < in_rank; i++)
        above[n_above++] = in[i];
    for (int i = 0; i < t->rank; i++) {
        if (i == at)
            continue;
        int k = 0;
        while (k < n_above && above[k] != t->dims[i])
            k++;
        if (k < n_above && !gi_dim_is(t->dims[i], 0))
            above[k] = above[--n_above];
        else
            below[n_below++] = t->dims[i];
    }
    const gi_dim *a = gi_dims_product(c, 0, n_above, above), *b = gi_dims_product(c, 0, n_below, below);
    GI_NEED(a && b);
    int64_t na, nb;
    if (gi_dim_is(b, 0)) {
        if (must)
            return gi_infer_fail(c, Reshape_in_shape, "which is %s: with a dim of 0, -1 may be anything",
                                 gi_dims_text(c, t->rank, t->dims));
        return GOPT_OK;
    }
    const gi_dim *exact = gi_dim_div_exact(c->g->dims, a, b);
    if (!exact && gi_dim_is_const(a, &na) && gi_dim_is_const(b, &nb)) {
        if (must)
            return gi_infer_fail(c, Reshape_in_data, "whose elements do not divide into %s",
                                 gi_dims_text(c, t->rank, t->dims));
        return GOPT_OK;
    }
    if (exact || must) {
        t->dims[at] = exact ? exact : gi_dim_floordiv(c->g->dims, a, b);
        GI_NEED(t->dims[at]);
    }
    return GOPT_OK;
}

static gopt_status infer_reshape(gi_infer *c)
{
    const gopt_dtype dtype = gi_infer_dtype(c, Reshape_in_data);
    const gi_dim *in[GOPT_MAX_RANK];
    const int in_rank = gi_dims_of(c, Reshape_in_data, in);
    uint32_t n;
    const gi_dim *const *want = gi_contents(c, Reshape_in_shape, &n);
    if (!want)
        return gi_set(c, 0, dtype, -1, NULL);
    if (n > GOPT_MAX_RANK)
        return gi_infer_fail(c, Reshape_in_shape, "which asks for rank %u, expected at most %d", n, GOPT_MAX_RANK);
    target t;
    GI_TRY(reshape_target(c, n, want, in_rank, in, &t));
    if (t.rest >= 0 && in_rank < 0) {
        t.dims[t.rest] = gi_dim_unknown(c->g->dims, true);
    } else if (t.rest >= 0) {
        GI_TRY(reshape_rest(c, in_rank, in, t.rest, &t, true));
    } else if (in_rank >= 0 && t.unknown >= 0) {
        GI_TRY(reshape_rest(c, in_rank, in, t.unknown, &t, false));
    } else if (in_rank >= 0 && t.unknown == -1) {
        const gi_dim *a = gi_dims_product(c, 0, in_rank, in), *b = gi_dims_product(c, 0, t.rank, t.dims);
        GI_NEED(a && b);
        if (gi_dim_equal(c->g->dims, a, b) == 0)
            return gi_infer_fail(c, Reshape_in_data, "which has %s elements, expected the %s of shape %s",
                                 gi_dim_text(c, a), gi_dim_text(c, b), gi_dims_text(c, t.rank, t.dims));
    }
    GI_TRY(gi_set(c, 0, dtype, t.rank, t.dims));
    uint32_t n_known;
    const gi_dim *const *known = t.rank <= 1 ? gi_traced(c, Reshape_in_data, &n_known) : NULL;
    return known ? gi_set_known(c, 0, n_known, known) : GOPT_OK;
}

static gopt_status eval_reshape(gi_eval *a)
{
    const gopt_tensor *x = a->in[Reshape_in_data];
    uint32_t rank;
    int64_t *want, dims[GOPT_MAX_RANK] = { 0 }, others = 1, n = gopt_tensor_elements(x);
    GI_TRY(gi_move_ints(a, Reshape_in_shape, GOPT_MAX_RANK, &rank, &want));
    int rest = -1;
    for (int i = 0; i < (int)rank; i++) {
        dims[i] = want[i];
        if (want[i] == 0 && !gi_attr_int(a->n, Reshape_at_allowzero)) {
            if (i >= x->rank)
                return gi_eval_fail(a, Reshape_in_shape, "copies dim %d by a 0, but data has rank %d", i, x->rank);
            dims[i] = x->dims[i];
        }
        if (dims[i] < -1 || (dims[i] == -1 && rest >= 0))
            return gi_eval_fail(a, Reshape_in_shape, "holds %lld at %d, expected dims and at most one -1",
                                (long long)dims[i], i);
        if (dims[i] == -1)
            rest = i;
        else if (!gi_mul_i64(others, dims[i], &others))
            return gi_eval_fail(a, Reshape_in_shape, "asks for more elements than can be counted");
    }
    if (rest >= 0) {
        if (others == 0 || n % others)
            return gi_eval_fail(a, Reshape_in_data, "has %lld elements, expected a multiple of %lld", (long long)n,
                                (long long)others);
        dims[rest] = n / others;
    } else if (others != n) {
        return gi_eval_fail(a, Reshape_in_data, "has %lld elements, expected %lld", (long long)n, (long long)others);
    }
    return gi_move_view(a, (int)rank, dims);
}

/* ---- Flatten, Squeeze, Unsqueeze, Identity ---- */

static gopt_status infer_flatten(gi_infer *c)
{
    const gi_dim *in[GOPT_MAX_RANK], *out[2];
    const int rank = gi_dims_of(c, Flatten_in_input, in);
    const int64_t axis = gi_attr_int(c->n, Flatten_at_axis);
    if (rank < 0) {
        out[0] = gi_dim_unknown(c->g->dims, true);
        out[1] = gi_dim_unknown(c->g->dims, true);
        return gi_set(c, 0, gi_infer_dtype(c, 0), 2, out);
    }
    if (axis < -rank || axis > rank)
        return gi_infer_fail_node(c, "attribute axis is %lld, expected -%d to %d", (long long)axis, rank, rank);
    const int at = (int)(axis < 0 ? axis + rank : axis);
    out[0] = gi_dims_product(c, 0, at, in);
    out[1] = gi_dims_product(c, at, rank, in);
    return gi_set(c, 0, gi_infer_dtype(c, 0), 2, out);
}

static gopt_status eval_flatten(gi_eval *a)
{
    const gopt_tensor *x = a->in[Flatten_in_input];
    const int64_t axis = gi_attr_int(a->n, Flatten_at_axis);
    if (axis < -x->rank || axis > x->rank)
        return gi_eval_fail(a, Flatten_in_input, "has rank %d, which has no axis %lld", x->rank, (long long)axis);
    const int at = (int)(axis < 0 ? axis + x->rank : axis);
    return gi_move_view(a, 2, (int64_t[]){ gi_product(0, at, x->dims), gi_product(at, x->rank, x->dims) });
}

/* Contents go through a view unchanged, as long as the result has no more than one dim. */
static gopt_status known_through(gi_infer *c, int out_rank)
{
    uint32_t n;
    const gi_dim *const *known = out_rank <= 1 ? gi_traced(c, 0, &n) : NULL;
    return known ? gi_set_known(c, 0, n, known) : GOPT_OK;
}

/* Without axes: all dims of 1 go. Rank is unknown where it is not decided whether a dim is 1. */
static gopt_status squeeze_ones(gi_infer *c, int rank, const gi_dim *const *in)
{
    const gi_dim *out[GOPT_MAX_RANK];
    int n = 0;
    const gi_dim *one = gi_dim_const(c->g->dims, 1);
    GI_NEED(one);
    for (int i = 0; i < rank; i++) {
        int64_t low;
        if (gi_dim_is(in[i], 1))
            continue;
        if (gi_dim_equal(c->g->dims, in[i], one) != 0 && !(gi_dim_lower(in[i], &low) && low > 1))
            return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
        out[n++] = in[i];
    }
    GI_TRY(gi_set(c, 0, gi_infer_dtype(c, 0), n, out));
    return known_through(c, n);
}

static gopt_status infer_squeeze(gi_infer *c)
{
    const gi_dim *in[GOPT_MAX_RANK], *out[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Squeeze_in_data, in);
    if (rank < 0)
        return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
    if (!gi_infer_has(c, Squeeze_in_axes))
        return squeeze_ones(c, rank, in);
    int n_axes, axes[GOPT_MAX_RANK], n = 0;
    bool drop[GOPT_MAX_RANK] = { false };
    GI_TRY(gi_axes_of(c, Squeeze_in_axes, rank, &n_axes, axes));
    if (n_axes < 0)
        return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
    const gi_dim *one = gi_dim_const(c->g->dims, 1);
    GI_NEED(one);
    for (int i = 0; i < n_axes; i++) {
        if (gi_dim_equal(c->g->dims, in[axes[i]], one) == 0)
            return gi_infer_fail(c, Squeeze_in_data, "which has %s at axis %d, expected 1", gi_dim_text(c, in[axes[i]]),
                                 axes[i]);
        drop[axes[i]] = true;
    }
    for (int i = 0; i < rank; i++)
        if (!drop[i])
            out[n++] = in[i];
    GI_TRY(gi_set(c, 0, gi_infer_dtype(c, 0), n, out));
    return known_through(c, n);
}

static gopt_status eval_squeeze(gi_eval *a)
{
    const gopt_tensor *x = a->in[Squeeze_in_data];
    bool drop[GOPT_MAX_RANK] = { false };
    if (a->n_in <= Squeeze_in_axes || !a->in[Squeeze_in_axes]) {
        for (int i = 0; i < x->rank; i++)
            drop[i] = x->dims[i] == 1;
    } else {
        uint32_t n;
        int axes[GOPT_MAX_RANK];
        GI_TRY(gi_move_axes(a, Squeeze_in_axes, x->rank, &n, axes));
        for (uint32_t i = 0; i < n; i++) {
            if (x->dims[axes[i]] != 1)
                return gi_eval_fail(a, Squeeze_in_data, "has %lld at axis %d, expected 1", (long long)x->dims[axes[i]],
                                    axes[i]);
            drop[axes[i]] = true;
        }
    }
    int64_t dims[GOPT_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->rank; i++)
        if (!drop[i])
            dims[rank++] = x->dims[i];
    return gi_move_view(a, rank, dims);
}

static gopt_status infer_unsqueeze(gi_infer *c)
{
    const gi_dim *in[GOPT_MAX_RANK], *out[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Unsqueeze_in_data, in);
    uint32_t n_axes;
    const gi_dim *const *axes_known = gi_contents(c, Unsqueeze_in_axes, &n_axes);
    if (rank < 0 || !axes_known)
        return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
    if ((uint32_t)rank + n_axes > GOPT_MAX_RANK)
        return gi_infer_fail(c, Unsqueeze_in_axes, "which makes rank %u, expected at most %d", (uint32_t)rank + n_axes,
                             GOPT_MAX_RANK);
    const int out_rank = rank + (int)n_axes;
    int n, axes[GOPT_MAX_RANK], from = 0;
    bool insert[GOPT_MAX_RANK] = { false };
    GI_TRY(gi_axes_of(c, Unsqueeze_in_axes, out_rank, &n, axes));
    if (n < 0) {
        for (int i = 0; i < out_rank; i++)
            out[i] = gi_dim_unknown(c->g->dims, true);
        return gi_set(c, 0, gi_infer_dtype(c, 0), out_rank, out);
    }
    for (int i = 0; i < n; i++)
        insert[axes[i]] = true;
    for (int i = 0; i < out_rank; i++)
        out[i] = insert[i] ? gi_dim_const(c->g->dims, 1) : in[from++];
    GI_TRY(gi_set(c, 0, gi_infer_dtype(c, 0), out_rank, out));
    return known_through(c, out_rank);
}

static gopt_status eval_unsqueeze(gi_eval *a)
{
    const gopt_tensor *x = a->in[Unsqueeze_in_data];
    const int64_t more = gopt_tensor_elements(a->in[Unsqueeze_in_axes]);
    if (more < 0 || more > GOPT_MAX_RANK - x->rank)
        return gi_eval_fail(a, Unsqueeze_in_axes, "has %lld entries for data of rank %d, expected at most %d",
                            (long long)more, x->rank, GOPT_MAX_RANK - x->rank);
    const int rank = x->rank + (int)more;
    uint32_t n;
    int axes[GOPT_MAX_RANK], from = 0;
    GI_TRY(gi_move_axes(a, Unsqueeze_in_axes, rank, &n, axes));
    bool insert[GOPT_MAX_RANK] = { false };
    int64_t dims[GOPT_MAX_RANK];
    for (uint32_t i = 0; i < n; i++)
        insert[axes[i]] = true;
    for (int i = 0; i < rank; i++)
        dims[i] = insert[i] ? 1 : x->dims[from++];
    return gi_move_view(a, rank, dims);
}

static gopt_status infer_identity(gi_infer *c)
{
    gi_infer_set_type(c, 0, gi_infer_type(c, Identity_in_input));
    uint32_t n;
    const gi_dim *const *known = gi_infer_known(c, Identity_in_input, &n);
    return known ? gi_set_known(c, 0, n, known) : GOPT_OK;
}

static gopt_status eval_identity(gi_eval *a)
{
    const gopt_tensor *x = a->in[Identity_in_input];
    if (x->kind == GOPT_TENSOR)
        return gi_move_view(a, x->rank, x->dims);
    gopt_tensor *y;
    GI_TRY(gi_tensor_keep(a->cx, x, &y));
    return gi_eval_out_tensor(a, 0, y);
}

/* ---- Expand ---- */

static gopt_status infer_expand(gi_infer *c)
{
    const gi_dim *in[GOPT_MAX_RANK], *out[GOPT_MAX_RANK], *want[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Expand_in_input, in);
    uint32_t n;
    const gi_dim *const *shape = gi_contents(c, Expand_in_shape, &n);
    if (rank < 0 || !shape)
        return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
    if (n > GOPT_MAX_RANK)
        return gi_infer_fail(c, Expand_in_shape, "which asks for rank %u, expected at most %d", n, GOPT_MAX_RANK);
    for (uint32_t i = 0; i < n; i++) {
        int64_t v;
        want[i] = shape[i];
        if (gi_dim_is_const(shape[i], &v) && v < 0)
            return gi_infer_fail(c, Expand_in_shape, "which is %s, expected no negative dim",
                                 gi_dims_text(c, (int)n, shape));
        if (gi_dim_is_unknown(shape[i]) && (!gi_dim_lower(shape[i], &v) || v < 0))
            want[i] = gi_dim_unknown(c->g->dims, true);
    }
    int out_rank;
    if (!gi_infer_broadcast(c, rank, in, (int)n, want, &out_rank, out))
        return gi_infer_fail(c, Expand_in_input, "which does not broadcast with shape %s",
                             gi_dims_text(c, (int)n, shape));
    GI_TRY(gi_set(c, 0, gi_infer_dtype(c, 0), out_rank, out));
    uint32_t n_known;
    int64_t count;
    const gi_dim *const *known = gi_infer_known(c, Expand_in_input, &n_known);
    const gi_dim *copies[GI_KNOWN_MAX];
    if (!known || !n_known || out_rank > 1)
        return GOPT_OK;
    if (out_rank == 0)
        return gi_set_known(c, 0, n_known, known);
    if (!gi_dim_is_const(out[0], &count) || count < 0 || count > GI_KNOWN_MAX)
        return GOPT_OK;
    for (int64_t i = 0; i < count; i++)
        copies[i] = known[n_known == 1 ? 0 : i];
    return n_known == 1 || n_known == count ? gi_set_known(c, 0, (uint32_t)count, copies) : GOPT_OK;
}

static gopt_status eval_expand(gi_eval *a)
{
    const gopt_tensor *x = a->in[Expand_in_input];
    uint32_t n;
    int64_t *want, dims[GOPT_MAX_RANK], from[GOPT_MAX_RANK], to[GOPT_MAX_RANK];
    int rank;
    GI_TRY(gi_move_ints(a, Expand_in_shape, GOPT_MAX_RANK, &n, &want));
    for (uint32_t i = 0; i < n; i++)
        if (want[i] < 0)
            return gi_eval_fail(a, Expand_in_shape, "holds %lld, expected no negative dim", (long long)want[i]);
    if (!gi_broadcast_dims(x->rank, x->dims, (int)n, want, &rank, dims))
        return gi_eval_fail(a, Expand_in_input, "does not broadcast with the shape asked for");
    gi_moved y;
    const uint8_t *p;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    gi_broadcast_strides(x->rank, x->dims, rank, dims, from);
    gi_strides(rank, dims, to);
    gi_move_nd(rank, dims, y.p, to, p, from, y.item);
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- ConstantOfShape, Range, EyeLike ---- */

static gopt_status infer_constant_of_shape(gi_infer *c)
{
    const gi_blob *value = gi_attr_tensor(c->n, ConstantOfShape_at_value);
    const gopt_dtype dtype = value ? value->dtype : GOPT_F32;
    if (value && gi_blob_elements(value) != 1)
        return gi_infer_fail_node(c, "attribute value has %lld elements, expected 1",
                                  (long long)gi_blob_elements(value));
    uint32_t n;
    const gi_dim *const *shape = gi_contents(c, ConstantOfShape_in_input, &n);
    if (!shape)
        return gi_set(c, 0, dtype, -1, NULL);
    if (n > GOPT_MAX_RANK)
        return gi_infer_fail(c, ConstantOfShape_in_input, "which asks for rank %u, expected at most %d", n,
                             GOPT_MAX_RANK);
    const gi_dim *dims[GOPT_MAX_RANK], *known[GI_KNOWN_MAX];
    for (uint32_t i = 0; i < n; i++) {
        int64_t v;
        dims[i] = shape[i];
        if (gi_dim_is_const(shape[i], &v) && v < 0)
            return gi_infer_fail(c, ConstantOfShape_in_input, "which is %s, expected no negative dim",
                                 gi_dims_text(c, (int)n, shape));
        if (gi_dim_is_unknown(shape[i]) && (!gi_dim_lower(shape[i], &v) || v < 0))
            dims[i] = gi_dim_unknown(c->g->dims, true);
    }
    GI_TRY(gi_set(c, 0, dtype, (int)n, dims));
    int64_t count = 1;
    if (!value || (!gi_dtype_is_int(dtype) && dtype != GOPT_BOOL) || n > 1 ||
        (n == 1 && !gi_dim_is_const(dims[0], &count)) || count > GI_KNOWN_MAX)
        return GOPT_OK;
    for (int64_t i = 0; i < count; i++)
        known[i] = gi_dim_const(c->g->dims, gi_load_i64(dtype, value->data, 0));
    return gi_set_known(c, 0, (uint32_t)count, known);
}

static gopt_status eval_constant_of_shape(gi_eval *a)
{
    const gi_blob *value = gi_attr_tensor(a->n, ConstantOfShape_at_value);
    const gopt_dtype dtype = value ? value->dtype : GOPT_F32;
    uint32_t rank;
    int64_t *dims;
    GI_TRY(gi_move_ints(a, ConstantOfShape_in_input, GOPT_MAX_RANK, &rank, &dims));
    for (uint32_t i = 0; i < rank; i++)
        if (dims[i] < 0)
            return gi_eval_fail(a, ConstantOfShape_in_input, "holds %lld, expected no negative dim",
                                (long long)dims[i]);
    gi_moved y;
    GI_TRY(gi_move_out(a, 0, dtype, (int)rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    static const uint8_t zero[16];
    const uint8_t *one = zero;
    if (value && gi_blob_elements(value) == 1) {
        gopt_tensor t;
        gi_tensor_of_blob(value, &t);
        GI_TRY(gi_move_in(a, &t, &one));
    }
    gi_move_fill(y.p, gopt_tensor_elements(y.t), one, y.item);
    gi_move_end(&y);
    return GOPT_OK;
}

/* How many numbers lie in start, start + delta, … before limit; 0 where delta is 0. */
static int64_t range_count_i64(int64_t start, int64_t limit, int64_t delta)
{
    if (delta == 0 || (delta > 0 ? start >= limit : start <= limit))
        return 0;
    const uint64_t span = delta > 0 ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
    const uint64_t by = delta > 0 ? (uint64_t)delta : 0 - (uint64_t)delta;
    const uint64_t steps = (span - 1) / by;
    return steps >= (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)steps + 1;
}

static double range_count_f64(double start, double limit, double delta)
{
    const double n = ceil((limit - start) / delta);
    return n > 0 ? n : 0;
}

/* Three constants of a floating type. */
static gopt_status range_of_floats(gi_infer *c, const gi_dim **n)
{
    double v[3];
    for (uint32_t i = 0; i < 3; i++) {
        const gi_blob *b = gi_infer_blob(c, i);
        if (!b || gi_blob_elements(b) != 1 || !gi_dtype_is_float(b->dtype))
            return GOPT_OK;
        v[i] = gi_load_f64(b->dtype, b->data, 0);
    }
    const double count = range_count_f64(v[0], v[1], v[2]);
    if (isfinite(count) && count < 9e15)
        *n = gi_dim_const(c->g->dims, (int64_t)count);
    return GOPT_OK;
}

static gopt_status infer_range(gi_infer *c)
{
    gi_dims *t = c->g->dims;
    uint32_t n[3] = { 0, 0, 0 };
    const gi_dim *v[3], *count = NULL;
    for (uint32_t i = 0; i < 3; i++) {
        const gi_dim *const *k = gi_infer_known(c, i, &n[i]);
        v[i] = k && n[i] == 1 ? k[0] : NULL;
        int64_t elements;
        const gi_type *type = gi_infer_type(c, i);
        if (type && type->rank > 0 && gi_type_elements(type, &elements) && elements != 1)
            return gi_infer_fail(c, i, "which has %lld elements, expected a scalar", (long long)elements);
    }
    int64_t delta;
    if (v[2] && gi_dim_is(v[2], 0))
        return gi_infer_fail(c, Range_in_delta, "which is 0, expected another step");
    if (v[0] && v[1] && v[2] && gi_dim_is_const(v[2], &delta)) {
        const gi_dim *span = gi_dim_sub(t, v[1], v[0]);
        GI_NEED(span);
        /* more than a number holds is unknown, of either sign; a count is none that is below 0 */
        const bool fits = !gi_dim_is_unknown(span) || gi_dim_is_unknown(v[0]) || gi_dim_is_unknown(v[1]);
        const gi_dim *steps = delta == 1 ? span : gi_dim_ceildiv(t, span, v[2]);
        const gi_dim *zero = gi_dim_const(t, 0);
        GI_NEED(steps && zero);
        count = fits ? gi_dim_max(t, steps, zero) : NULL;
    } else if (gi_dtype_is_float(gi_infer_dtype(c, 0))) {
        GI_TRY(range_of_floats(c, &count));
    }
    if (!count)
        count = gi_dim_unknown(t, true);
    GI_TRY(gi_set(c, 0, gi_infer_dtype(c, Range_in_start), 1, &count));
    int64_t entries;
    if (!v[0] || !v[2] || !gi_dim_is_const(count, &entries) || entries > GI_KNOWN_MAX)
        return GOPT_OK;
    const gi_dim *known[GI_KNOWN_MAX];
    for (int64_t i = 0; i < entries; i++) {
        known[i] = i ? gi_dim_add(t, known[i - 1], v[2]) : v[0];
        GI_NEED(known[i]);
    }
    return gi_set_known(c, 0, (uint32_t)entries, known);
}

static gopt_status range_of_ints(gi_eval *a, gopt_dtype dtype)
{
    const int64_t start = gi_tensor_i64(a->in[0], 0), delta = gi_tensor_i64(a->in[2], 0);
    const int64_t n = range_count_i64(start, gi_tensor_i64(a->in[1], 0), delta);
    if (!delta)
        return gi_eval_fail(a, Range_in_delta, "is 0, expected another step");
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, dtype, 1, &n, &y));
    uint64_t x = (uint64_t)start;
    for (int64_t i = 0; y && i < n; i++, x += (uint64_t)delta)
        gi_store_i64(dtype, y->data, (size_t)i, (int64_t)x);
    return GOPT_OK;
}

static gopt_status eval_range(gi_eval *a)
{
    const gopt_dtype dtype = a->in[Range_in_start]->dtype;
    for (int i = 0; i < 3; i++)
        if (gopt_tensor_elements(a->in[i]) != 1)
            return gi_eval_fail(a, i, "has %lld elements, expected a scalar",
                                (long long)gopt_tensor_elements(a->in[i]));
    if (gi_dtype_is_int(dtype))
        return range_of_ints(a, dtype);
    const double start = gi_tensor_f64(a->in[0], 0), delta = gi_tensor_f64(a->in[2], 0);
    const double count = range_count_f64(start, gi_tensor_f64(a->in[1], 0), delta);
    if (!(count < 9e15))
        return gi_eval_fail(a, Range_in_delta, "is %g, which gives no finite number of steps", delta);
    const int64_t n = (int64_t)count;
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, dtype, 1, &n, &y));
    if (!y)
        return GOPT_OK;
    for (int64_t i = 0; i < n; i++) {
        if (dtype == GOPT_F64)
            gi_store_f64(dtype, y->data, (size_t)i, start + (double)i * delta);
        else
            gi_store_f64(dtype, y->data, (size_t)i, (double)((float)start + (float)i * (float)delta));
    }
    return GOPT_OK;
}

static gopt_dtype eye_dtype(const gi_node *n, gopt_dtype of_input)
{
    return gi_attr_has(n, EyeLike_at_dtype) ? (gopt_dtype)gi_attr_int(n, EyeLike_at_dtype) : of_input;
}

static gopt_status infer_eye_like(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, EyeLike_in_input, dims);
    const int64_t asked = gi_attr_int(c->n, EyeLike_at_dtype);
    if (gi_attr_has(c->n, EyeLike_at_dtype) &&
        (asked <= 0 || asked >= GOPT_DTYPE_COUNT || !gopt_dtype_bits((gopt_dtype)asked)))
        return gi_infer_fail_node(c, "attribute dtype is %lld, expected a numeric type", (long long)asked);
    if (rank >= 0 && rank != 2)
        return gi_infer_fail(c, EyeLike_in_input, "which has rank %d, expected 2", rank);
    return gi_set(c, 0, eye_dtype(c->n, gi_infer_dtype(c, EyeLike_in_input)), rank, dims);
}

static gopt_status eval_eye_like(gi_eval *a)
{
    const gopt_tensor *x = a->in[EyeLike_in_input];
    if (x->rank != 2)
        return gi_eval_fail(a, EyeLike_in_input, "has rank %d, expected 2", x->rank);
    const gopt_dtype dtype = eye_dtype(a->n, x->dtype);
    const gi_dclass kind = gi_dtype_class(dtype);
    if (kind == GI_NONE || kind == GI_TEXT || kind == GI_COMPLEX)
        return gi_eval_fail(a, EyeLike_in_input, "asks for an identity of %s", gopt_dtype_name(dtype));
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, dtype, 2, x->dims, &y));
    if (!y)
        return GOPT_OK;
    memset(y->data, 0, y->bytes);
    const int64_t rows = x->dims[0], cols = x->dims[1], k = gi_attr_int(a->n, EyeLike_at_k);
    if (k <= -rows || k >= cols)
        return GOPT_OK;
    for (int64_t r = gi_max_i64(0, -k); r < rows && r + k < cols; r++)
        gi_store_f64(dtype, y->data, (size_t)(r * cols + r + k), 1);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/shape.def"
