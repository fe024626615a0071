/* Pad and CenterCropPad: a window of the input placed into a larger or smaller output.
 *
 * Negative pads cut first; what is left is the window, and the modes other than constant continue it. */
#include "ops/pad.h"

#include "ops/move.h"

gopt_status gi_infer_pad(gi_infer *c)
{
    gi_dims *t = c->g->dims;
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Pad_in_data, dims);
    const gopt_dtype dtype = gi_infer_dtype(c, Pad_in_data);
    const char *mode = gi_attr_str(c->n, Pad_at_mode);
    if (strcmp(mode, "constant") != 0 && strcmp(mode, "reflect") != 0 && strcmp(mode, "edge") != 0 &&
        strcmp(mode, "wrap") != 0)
        return gi_infer_fail_node(c, "attribute mode is \"%s\", expected constant, reflect, edge or wrap", mode);
    if (rank < 0)
        return gi_set(c, 0, dtype, -1, NULL);
    uint32_t n;
    const gi_dim *const *pads = gi_contents(c, Pad_in_pads, &n);
    int n_axes, axes[GOPT_MAX_RANK];
    GI_TRY(gi_axes_of(c, Pad_in_axes, rank, &n_axes, axes));
    if (!pads || n_axes < 0) {
        for (int i = 0; i < rank; i++)
            dims[i] = gi_dim_unknown(t, true);
        return gi_set(c, 0, dtype, rank, dims);
    }
    if (n != 2 * (uint32_t)n_axes)
        return gi_infer_fail(c, Pad_in_pads, "which has %u entries, expected %d, two for each axis", n, 2 * n_axes);
    for (int i = 0; i < n_axes; i++) {
        const gi_dim *before = pads[i], *after = pads[n_axes + i], *was = dims[axes[i]];
        int64_t v;
        const gi_dim *sum = gi_dim_add(t, was, gi_dim_add(t, before, after));
        GI_NEED(sum);
        if (gi_dim_is_const(sum, &v) && v < 0)
            return gi_infer_fail(c, Pad_in_pads, "which takes %s and %s from axis %d of %s", gi_dim_text(c, before),
                                 gi_dim_text(c, after), axes[i], gi_dim_text(c, was));
        const bool any = (gi_dim_is_unknown(before) || gi_dim_is_unknown(after)) && !(gi_dim_lower(sum, &v) && v >= 0);
        dims[axes[i]] = any ? gi_dim_unknown(t, true) : sum;
    }
    return gi_set(c, 0, dtype, rank, dims);
}

/* Per axis: the window's first element in the input, its length, and where it lies in the output. */
typedef struct window {
    int rank;
    int64_t first[GOPT_MAX_RANK], length[GOPT_MAX_RANK], at[GOPT_MAX_RANK], out[GOPT_MAX_RANK];
} window;

static void whole_window(window *w, const gopt_tensor *x)
{
    w->rank = x->rank;
    for (int i = 0; i < x->rank; i++) {
        w->first[i] = w->at[i] = 0;
        w->length[i] = w->out[i] = x->dims[i];
    }
}

static bool pad_axis(window *w, int k, int64_t before, int64_t after)
{
    if (before < -w->length[k] || after < -w->length[k])
        return false;
    w->first[k] = gi_max_i64(0, -before);
    w->at[k] = gi_max_i64(0, before);
    w->length[k] -= w->first[k] + gi_max_i64(0, -after);
    return w->length[k] >= 0 && gi_add_i64(w->length[k], w->at[k], &w->out[k]) &&
           gi_add_i64(w->out[k], gi_max_i64(0, after), &w->out[k]);
}

/* Everything outside the window gets the value. */
static void place(const window *w, const gopt_tensor *x, const uint8_t *p, const uint8_t *value, const gi_moved *y)
{
    int64_t from[GOPT_MAX_RANK], to[GOPT_MAX_RANK], s = 0, d = 0;
    bool same = true, empty = false;
    gi_strides(w->rank, x->dims, from);
    gi_strides(w->rank, w->out, to);
    for (int i = 0; i < w->rank; i++) {
        s += w->first[i] * from[i];
        d += w->at[i] * to[i];
        same &= w->length[i] == w->out[i];
        empty |= w->length[i] == 0;
    }
    if (!same)
        gi_move_fill(y->p, gi_product(0, w->rank, w->out), value, y->item);
    if (!empty)
        gi_move_nd(w->rank, w->length, y->p + (size_t)d * y->item, to, p + (size_t)s * y->item, from, y->item);
}

/* The element of a window of n that continues it at place i. */
static int64_t continued(const char *mode, int64_t i, int64_t n)
{
    if (i >= 0 && i < n)
        return i;
    if (*mode == 'e' || n == 1)
        return i < 0 ? 0 : n - 1;
    const int64_t period = *mode == 'w' ? n : 2 * (n - 1);
    int64_t r = i % period;
    if (r < 0)
        r += period;
    return r < n ? r : period - r;
}

/* Row by row of the last axis: the rows' sources from a table for each axis, then the row's middle in one run. */
static gopt_status place_continued(gi_eval *a, const window *w, const gopt_tensor *x, const uint8_t *p,
                                   const char *mode, const gi_moved *y)
{
    const int last = w->rank - 1;
    int64_t *source[GOPT_MAX_RANK], strides[GOPT_MAX_RANK], index[GOPT_MAX_RANK] = { 0 };
    gi_strides(w->rank, x->dims, strides);
    for (int k = 0; k < w->rank; k++) {
        source[k] = gi_eval_scratch(a, (size_t)w->out[k] + 1, sizeof **source);
        GI_NEED(source[k]);
        for (int64_t i = 0; i < w->out[k]; i++)
            source[k][i] = (w->first[k] + continued(mode, i - w->at[k], w->length[k])) * strides[k];
    }
    const int64_t row = w->out[last], middle = w->at[last], rows = gi_product(0, last, w->out);
    const size_t item = y->item;
    for (int64_t r = 0; r < rows; r++) {
        uint8_t *to = y->p + (size_t)(r * row) * item;
        int64_t base = 0;
        for (int k = 0; k < last; k++)
            base += source[k][index[k]];
        const uint8_t *from = p + (size_t)base * item;
        for (int64_t i = 0; i < middle; i++)
            memcpy(to + (size_t)i * item, from + (size_t)source[last][i] * item, item);
        memcpy(to + (size_t)middle * item, from + (size_t)w->first[last] * item, (size_t)w->length[last] * item);
        for (int64_t i = middle + w->length[last]; i < row; i++)
            memcpy(to + (size_t)i * item, from + (size_t)source[last][i] * item, item);
        for (int k = last - 1; k >= 0 && ++index[k] == w->out[k]; k--)
            index[k] = 0;
    }
    return GOPT_OK;
}

static gopt_status pad_window(gi_eval *a, const gopt_tensor *x, window *w)
{
    uint32_t n, n_axes;
    int64_t *pads;
    int axes[GOPT_MAX_RANK];
    whole_window(w, x);
    GI_TRY(gi_move_ints(a, Pad_in_pads, 2 * GOPT_MAX_RANK, &n, &pads));
    GI_TRY(gi_move_axes(a, Pad_in_axes, x->rank, &n_axes, axes));
    if (n != 2 * n_axes)
        return gi_eval_fail(a, Pad_in_pads, "has %u entries, expected %u, two for each axis", n, 2 * n_axes);
    for (uint32_t i = 0; i < n_axes; i++)
        if (!pad_axis(w, axes[i], pads[i], pads[n_axes + i]))
            return gi_eval_fail(a, Pad_in_pads, "holds %lld and %lld for axis %d of %lld", (long long)pads[i],
                                (long long)pads[n_axes + i], axes[i], (long long)x->dims[axes[i]]);
    return GOPT_OK;
}

gopt_status gi_eval_pad(gi_eval *a)
{
    const gopt_tensor *x = a->in[Pad_in_data];
    const gopt_tensor *value = a->n_in > Pad_in_constant_value ? a->in[Pad_in_constant_value] : NULL;
    const char *mode = gi_attr_str(a->n, Pad_at_mode);
    window w;
    GI_TRY(pad_window(a, x, &w));
    const bool constant = *mode == 'c';
    for (int k = 0; k < w.rank && !constant; k++)
        if (w.length[k] == 0 && w.out[k] > 0)
            return gi_eval_fail(a, Pad_in_data, "is empty at axis %d: mode %s has nothing to continue", k, mode);
    static const uint8_t zero[16];
    const uint8_t *p, *fill = zero;
    gi_moved y;
    if (value && constant) {
        if (gopt_tensor_elements(value) != 1 || value->dtype != x->dtype)
            return gi_eval_fail(a, Pad_in_constant_value, "has %lld elements of %s, expected one of %s",
                                (long long)gopt_tensor_elements(value), gopt_dtype_name(value->dtype),
                                gopt_dtype_name(x->dtype));
        GI_TRY(gi_move_in(a, value, &fill));
    }
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, w.out, &y));
    if (!y.p)
        return GOPT_OK;
    if (constant || w.rank == 0)
        place(&w, x, p, fill, &y);
    else if (gopt_tensor_elements(y.t))
        GI_TRY(place_continued(a, &w, x, p, mode, &y));
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- CenterCropPad ---- */

/* The axes that shape speaks of, in its order; false where the attribute names none or one twice. */
static bool crop_axes(const gi_node *n, int rank, int *count, int *axes)
{
    const int64_t *v;
    bool seen[GOPT_MAX_RANK] = { false };
    *count = rank;
    for (int i = 0; i < rank; i++)
        axes[i] = i;
    if (!gi_attr_has(n, CenterCropPad_at_axes))
        return true;
    const uint32_t given = gi_attr_ints(n, CenterCropPad_at_axes, &v);
    if (given > (uint32_t)rank)
        return false;
    *count = (int)given;
    for (int i = 0; i < *count; i++) {
        if (!gi_axis(v[i], rank, &axes[i]) || seen[axes[i]])
            return false;
        seen[axes[i]] = true;
    }
    return true;
}

gopt_status gi_infer_center_crop_pad(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, CenterCropPad_in_input_data, dims);
    if (rank < 0)
        return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
    int n_axes, axes[GOPT_MAX_RANK];
    if (!crop_axes(c->n, rank, &n_axes, axes))
        return gi_infer_fail(c, CenterCropPad_in_input_data, "which has rank %d, which attribute axes does not fit",
                             rank);
    uint32_t n;
    const gi_dim *const *shape = gi_contents(c, CenterCropPad_in_shape, &n);
    if (shape && n != (uint32_t)n_axes)
        return gi_infer_fail(c, CenterCropPad_in_shape, "which has %u entries, expected %d", n, n_axes);
    for (int i = 0; i < n_axes; i++)
        dims[axes[i]] = shape && !gi_dim_is_unknown(shape[i]) ? shape[i] : gi_dim_unknown(c->g->dims, true);
    return gi_set(c, 0, gi_infer_dtype(c, 0), rank, dims);
}

gopt_status gi_eval_center_crop_pad(gi_eval *a)
{
    const gopt_tensor *x = a->in[CenterCropPad_in_input_data];
    int n_axes, axes[GOPT_MAX_RANK];
    uint32_t n;
    int64_t *shape;
    window w;
    whole_window(&w, x);
    if (!crop_axes(a->n, x->rank, &n_axes, axes))
        return gi_eval_fail(a, 0, "has rank %d, which attribute axes does not fit", x->rank);
    GI_TRY(gi_move_ints(a, CenterCropPad_in_shape, GOPT_MAX_RANK, &n, &shape));
    if (n != (uint32_t)n_axes)
        return gi_eval_fail(a, CenterCropPad_in_shape, "has %u entries, expected %d", n, n_axes);
    for (int i = 0; i < n_axes; i++) {
        const int k = axes[i];
        if (shape[i] < 0)
            return gi_eval_fail(a, CenterCropPad_in_shape, "holds %lld, expected no negative dim", (long long)shape[i]);
        w.out[k] = shape[i];
        w.length[k] = gi_min_i64(shape[i], x->dims[k]);
        w.first[k] = (x->dims[k] - w.length[k]) / 2;
        w.at[k] = (shape[i] - w.length[k]) / 2;
    }
    static const uint8_t zero[16];
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, w.out, &y));
    if (!y.p)
        return GOPT_OK;
    place(&w, x, p, zero, &y);
    gi_move_end(&y);
    return GOPT_OK;
}
