/* Resize: separable, so each axis is resampled alone from a table of places and weights. Nearest moves elements
 * as they are, whatever their type. */
#include "ops/resize.h"

#include <math.h>

typedef enum coordinates {
    COORD_HALF_PIXEL,
    COORD_HALF_PIXEL_SYMMETRIC,
    COORD_PYTORCH_HALF_PIXEL,
    COORD_ALIGN_CORNERS,
    COORD_ASYMMETRIC,
    COORD_TF_CROP,
    COORD_TF_HALF_NEAREST /* of opsets 11 and 12 */
} coordinates;

typedef enum resize_mode { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC } resize_mode;
typedef enum rounding { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, ROUND_FLOOR, ROUND_CEIL } rounding;
typedef enum policy { POLICY_STRETCH, POLICY_NOT_LARGER, POLICY_NOT_SMALLER } policy;

typedef struct resize {
    int rank;
    coordinates coord;
    resize_mode mode;
    rounding round;
    policy policy;
    bool antialias, exclude_outside;
    double cubic, fill;
    bool resized[GOPT_MAX_RANK];
    double scale[GOPT_MAX_RANK], roi[GOPT_MAX_RANK][2];
    int64_t in[GOPT_MAX_RANK], out[GOPT_MAX_RANK];
} resize;

#define WORD float
#define NAME(x) x##_f32
#include "ops/resize_loops.h"
#undef WORD
#undef NAME
#define WORD double
#define NAME(x) x##_f64
#include "ops/resize_loops.h"
#undef WORD
#undef NAME

/* ---- attributes ---- */

static bool read_word(const gi_node *n, int at, const char *const *words, int count, int *out)
{
    const char *s = gi_attr_str(n, at);
    for (*out = 0; *out < count; ++*out)
        if (s && !strcmp(s, words[*out]))
            return true;
    return false;
}

static const char *read_attributes(const gi_node *n, resize *r)
{
    static const char *const coords[] = { "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",  "align_corners",
                                          "asymmetric", "tf_crop_and_resize",   "tf_half_pixel_for_nn" };
    static const char *const modes[] = { "nearest", "linear", "cubic" };
    static const char *const roundings[] = { "round_prefer_floor", "round_prefer_ceil", "floor", "ceil" };
    static const char *const policies[] = { "stretch", "not_larger", "not_smaller" };
    int coord, mode, round, keep;
    if (!read_word(n, Resize_at_coordinate_transformation_mode, coords, (int)GI_COUNT(coords), &coord))
        return "attribute coordinate_transformation_mode is unknown";
    if (!read_word(n, Resize_at_mode, modes, (int)GI_COUNT(modes), &mode))
        return "attribute mode is none of nearest, linear and cubic";
    if (!read_word(n, Resize_at_nearest_mode, roundings, (int)GI_COUNT(roundings), &round))
        return "attribute nearest_mode is unknown";
    if (!read_word(n, Resize_at_keep_aspect_ratio_policy, policies, (int)GI_COUNT(policies), &keep))
        return "attribute keep_aspect_ratio_policy is none of stretch, not_larger and not_smaller";
    r->coord = (coordinates)coord;
    r->mode = (resize_mode)mode;
    r->round = (rounding)round;
    r->policy = (policy)keep;
    r->antialias = gi_attr_int(n, Resize_at_antialias) != 0;
    r->exclude_outside = gi_attr_int(n, Resize_at_exclude_outside) != 0;
    r->cubic = (double)gi_attr_float(n, Resize_at_cubic_coeff_a);
    r->fill = (double)gi_attr_float(n, Resize_at_extrapolation_value);
    return NULL;
}

/* The axes that roi, scales and sizes speak of; their count, or -1 where one lies outside. */
static int read_axes(const gi_node *n, int rank, int *axes)
{
    const int64_t *v;
    const uint32_t count = gi_attr_ints(n, Resize_at_axes, &v);
    if (count > (uint32_t)rank)
        return -1;
    for (uint32_t i = 0; i < count; i++)
        if (!gi_axis(v[i], rank, &axes[i]))
            return -1;
    for (int i = 0; i < rank && !count; i++)
        axes[i] = i;
    return count ? (int)count : rank;
}

/* ---- the rule ---- */

/* floor(d · scale), where that can be said. */
static const gi_dim *scaled_dim(gi_dims *t, const gi_dim *d, float scale)
{
    int64_t v;
    if (!(scale > 0) || !(scale < 1e6f))
        return gi_dim_unknown(t, true);
    if (gi_dim_is_const(d, &v))
        return gi_dim_const(t, (int64_t)floorf((float)v * scale));
    for (int64_t q = 1; q <= 1024; q *= 2) {
        const float p = scale * (float)q;
        if (p != floorf(p))
            continue;
        const gi_dim *up = gi_dim_const(t, (int64_t)p), *down = gi_dim_const(t, q);
        const gi_dim *product = up && down ? gi_dim_mul(t, d, up) : NULL;
        return product ? gi_dim_floordiv(t, product, down) : NULL;
    }
    return gi_dim_unknown(t, true);
}

static gopt_status infer_resize(gi_infer *c)
{
    resize r = { 0 };
    int axes[GOPT_MAX_RANK];
    const gi_dim *dims[GOPT_MAX_RANK];
    const char *why = read_attributes(c->n, &r);
    const int rank = gi_infer_rank(c, Resize_in_X);
    if (why)
        return gi_infer_fail_node(c, "%s", why);
    if (gi_infer_has(c, Resize_in_scales) == gi_infer_has(c, Resize_in_sizes))
        return gi_infer_fail_node(c, "it has %s of scales and sizes, expected one",
                                  gi_infer_has(c, Resize_in_sizes) ? "both" : "none");
    if (rank < 0) {
        gi_infer_set_like(c, 0, Resize_in_X, -1, NULL);
        return GOPT_OK;
    }
    const int count = read_axes(c->n, rank, axes);
    if (count < 0)
        return gi_infer_fail_node(c, "attribute axes does not fit the input's rank %d", rank);
    const uint32_t which = gi_infer_has(c, Resize_in_scales) ? Resize_in_scales : Resize_in_sizes;
    uint32_t n_sizes = 0;
    const gi_dim *const *sizes = which == Resize_in_sizes ? gi_infer_known(c, which, &n_sizes) : NULL;
    gi_blob *scales = which == Resize_in_scales ? gi_infer_blob(c, which) : NULL;
    const gi_dim *entries = gi_dim_const(c->g->dims, count);
    GI_NEED(entries);
    GI_TRY(gi_infer_want_rank(c, which, 1));
    GI_TRY(gi_infer_want_dim(c, which, 0, entries, "one number an axis"));
    const bool known = (sizes && n_sizes == (uint32_t)count && r.policy == POLICY_STRETCH) ||
                       (scales && scales->dtype == GOPT_F32 && gi_blob_elements(scales) == count);
    for (int i = 0; i < rank; i++)
        dims[i] = gi_infer_dim(c, Resize_in_X, i);
    for (int i = 0; i < count; i++) {
        const int axis = axes[i];
        dims[axis] = !known  ? gi_dim_unknown(c->g->dims, true)
                     : sizes ? sizes[i]
                             : scaled_dim(c->g->dims, dims[axis], ((const float *)scales->data)[i]);
        GI_NEED(dims[axis]);
    }
    gi_infer_set_like(c, 0, Resize_in_X, rank, dims);
    return GOPT_OK;
}

/* ---- sizes ---- */

static gopt_status from_scales(const gi_eval *a, const int *axes, int count, resize *r)
{
    const gopt_tensor *t = a->in[Resize_in_scales];
    if (gopt_tensor_elements(t) != count || !gi_dtype_is_float(t->dtype))
        return gi_eval_fail(a, Resize_in_scales, "expected %d numbers", count);
    for (int i = 0; i < count; i++) {
        const int axis = axes[i];
        const float scale = (float)gi_tensor_f64(t, i), size = floorf((float)r->in[axis] * scale);
        if (!(scale > 0) || !(size < 1e15f))
            return gi_eval_fail(a, Resize_in_scales, "entry %d is %g, expected a positive number", i, (double)scale);
        r->resized[axis] = true;
        r->scale[axis] = (double)scale;
        r->out[axis] = (int64_t)size;
    }
    return GOPT_OK;
}

static gopt_status from_sizes(const gi_eval *a, const int *axes, int count, resize *r)
{
    const gopt_tensor *t = a->in[Resize_in_sizes];
    double common = r->policy == POLICY_NOT_LARGER ? INFINITY : 0;
    if (gopt_tensor_elements(t) != count || !gi_dtype_is_int(t->dtype))
        return gi_eval_fail(a, Resize_in_sizes, "expected %d integers", count);
    for (int i = 0; i < count; i++) {
        const int axis = axes[i];
        const int64_t size = gi_tensor_i64(t, i);
        if (size < 0 || (r->in[axis] == 0 && size > 0))
            return gi_eval_fail(a, Resize_in_sizes, "entry %d is %lld, of an axis of %lld", i, (long long)size,
                                (long long)r->in[axis]);
        r->resized[axis] = true;
        r->out[axis] = size;
        r->scale[axis] = r->in[axis] ? (double)size / (double)r->in[axis] : 1;
        common = r->policy == POLICY_NOT_LARGER ? fmin(common, r->scale[axis]) : fmax(common, r->scale[axis]);
    }
    for (int i = 0; i < count && r->policy != POLICY_STRETCH; i++) {
        const double size = floor(common * (double)r->in[axes[i]] + 0.5);
        if (!(size < 1e15))
            return gi_eval_fail(a, Resize_in_sizes, "the output would be too large");
        r->scale[axes[i]] = common;
        r->out[axes[i]] = (int64_t)size;
    }
    return GOPT_OK;
}

static bool given(const gi_eval *a, uint32_t i)
{
    return i < a->n_in && a->in[i] && gopt_tensor_elements(a->in[i]) > 0;
}

static gopt_status read_resize(const gi_eval *a, resize *r)
{
    int axes[GOPT_MAX_RANK];
    const gopt_tensor *x = a->in[Resize_in_X];
    const char *why = read_attributes(a->n, r);
    if (why)
        return gi_eval_fail(a, -1, "%s", why);
    r->rank = x->rank;
    for (int i = 0; i < r->rank; i++) {
        r->in[i] = r->out[i] = x->dims[i];
        r->scale[i] = 1;
        r->roi[i][1] = 1;
    }
    const int count = read_axes(a->n, r->rank, axes);
    if (count < 0)
        return gi_eval_fail(a, -1, "attribute axes does not fit the input's rank %d", r->rank);
    if (given(a, Resize_in_scales))
        GI_TRY(from_scales(a, axes, count, r));
    else if (given(a, Resize_in_sizes))
        GI_TRY(from_sizes(a, axes, count, r));
    else if (r->rank)
        return gi_eval_fail(a, -1, "it has neither scales nor sizes");
    if (r->coord != COORD_TF_CROP)
        return GOPT_OK;
    const gopt_tensor *roi = given(a, Resize_in_roi) ? a->in[Resize_in_roi] : NULL;
    if (!roi || gopt_tensor_elements(roi) != 2 * count || !gi_dtype_is_float(roi->dtype))
        return gi_eval_fail(a, Resize_in_roi, "expected %d numbers", 2 * count);
    for (int i = 0; i < 2 * count; i++)
        r->roi[axes[i % count]][i / count] = gi_tensor_f64(roi, i);
    return GOPT_OK;
}

/* ---- places and weights of one axis ---- */

/* Where output place x lies in the input. */
static double original(const resize *r, int d, double x)
{
    const double in = (double)r->in[d], scale = r->scale[d], width = scale * in;
    const double start = r->roi[d][0], end = r->roi[d][1];
    switch (r->coord) {
    case COORD_HALF_PIXEL:
        break;
    case COORD_HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - (double)r->out[d] / width) + (x + 0.5) / scale - 0.5;
    case COORD_PYTORCH_HALF_PIXEL:
        return width == 1 ? -0.5 : (x + 0.5) / scale - 0.5;
    case COORD_ALIGN_CORNERS:
        return width == 1 ? 0 : x * (in - 1) / (width - 1);
    case COORD_ASYMMETRIC:
        return x / scale;
    case COORD_TF_HALF_NEAREST:
        return (x + 0.5) / scale;
    case COORD_TF_CROP:
        return start * (in - 1) +
               (width == 1 ? (end - start) * (in - 1) / 2 : x * (end - start) * (in - 1) / (width - 1));
    }
    return (x + 0.5) / scale - 0.5;
}

static double round_place(rounding how, double x)
{
    switch (how) {
    case ROUND_PREFER_FLOOR:
        return ceil(x - 0.5);
    case ROUND_PREFER_CEIL:
        return floor(x + 0.5);
    case ROUND_FLOOR:
        return floor(x);
    case ROUND_CEIL:
        break;
    }
    return ceil(x);
}

/* Keys' cubic kernel at distance x. */
static double cubic_kernel(double x, double a)
{
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

void gi_cubic_weights(double t, double coefficient, double *w)
{
    for (int i = 0; i < 4; i++)
        w[i] = cubic_kernel(t + 1 - i, coefficient);
}

/* Taps reach from `first` relative to the element left of a place; with antialias the kernel is stretched. */
static void tap_range(const resize *r, int d, int64_t *first, int64_t *taps, double *stretch)
{
    const int reach = r->mode == RESIZE_CUBIC ? 2 : 1;
    *stretch = r->antialias ? fmin(r->scale[d], 1) : 1;
    /* A scale below 1e-6 would reach over more elements than there are. */
    *first = (int64_t)floor(-reach / fmax(*stretch, 1e-6)) + 1;
    *taps = 2 - 2 * *first;
    if (r->mode == RESIZE_NEAREST)
        *taps = 1;
}

static void fill_taps(const resize *r, gi_resize_map *m, int64_t k, double x, int64_t first, double stretch)
{
    /* The place lies right of its left neighbour, or on the right one. */
    const double left = ceil(x) - 1;
    double sum = 0, *w = m->weight + k * m->taps;
    int64_t *at = m->index + k * m->taps;
    for (int64_t t = 0; t < m->taps; t++) {
        const double place = left + (double)(first + t), distance = (place - x) * stretch;
        const bool inside = place >= 0 && place <= (double)(m->in - 1);
        at[t] = (int64_t)fmin(fmax(place, 0), (double)(m->in - 1));
        w[t] = r->mode == RESIZE_CUBIC ? cubic_kernel(distance, r->cubic) : fmax(1 - fabs(distance), 0);
        if (r->exclude_outside && !inside)
            w[t] = 0;
        sum += w[t];
    }
    for (int64_t t = 0; t < m->taps && sum != 0; t++)
        w[t] /= sum;
}

static bool unchanged(const resize *r, int d)
{
    return !r->resized[d] || (r->scale[d] == 1 && r->in[d] == r->out[d] && r->coord != COORD_TF_CROP);
}

static gopt_status make_map(gi_eval *a, const resize *r, int d, gi_resize_map *m)
{
    int64_t first, cells;
    double stretch;
    *m = (gi_resize_map){ .in = r->in[d], .out = r->out[d], .fill = r->fill, .unchanged = unchanged(r, d) };
    tap_range(r, d, &first, &m->taps, &stretch);
    if (m->in < 1 && m->out > 0)
        return gi_eval_fail(a, Resize_in_X, "dimension %d is empty and cannot grow", d);
    if (!gi_mul_i64(m->out, m->taps, &cells))
        return gi_eval_fail(a, -1, "the output would be too large");
    m->index = gi_eval_scratch(a, (size_t)cells + 1, sizeof *m->index);
    m->weight = gi_eval_scratch(a, (size_t)cells + 1, sizeof *m->weight);
    m->outside = gi_eval_scratch(a, (size_t)m->out + 1, sizeof *m->outside);
    GI_NEED(m->index && m->weight && m->outside);
    for (int64_t k = 0; k < m->out; k++) {
        double x = original(r, d, (double)k);
        m->outside[k] = r->coord == COORD_TF_CROP && !(x >= 0 && x <= (double)(m->in - 1));
        if (!(x >= -1e15 && x <= 1e15))
            x = 0;
        if (r->mode == RESIZE_NEAREST) {
            m->index[k] = (int64_t)fmin(fmax(round_place(r->round, x), 0), (double)(m->in - 1));
            m->weight[k] = 1;
        } else {
            fill_taps(r, m, k, x, first, stretch);
        }
    }
    return GOPT_OK;
}

gopt_status gi_resize_maps(gi_eval *a, gi_resize_map *maps)
{
    resize r = { 0 };
    GI_TRY(read_resize(a, &r));
    for (int d = 0; d < r.rank; d++)
        GI_TRY(make_map(a, &r, d, &maps[d]));
    return GOPT_OK;
}

/* ---- evaluation ---- */

static gopt_status nearest(gi_eval *a, const resize *r)
{
    const gopt_tensor *x = a->in[Resize_in_X];
    const size_t item = gi_item_size(x->dtype);
    const int rank = r->rank;
    gi_resize_map maps[GOPT_MAX_RANK];
    int64_t stride[GOPT_MAX_RANK], at[GOPT_MAX_RANK] = { 0 };
    gopt_tensor *y;
    if (!item)
        return gi_eval_fail(a, Resize_in_X, "has packed elements");
    for (int d = 0; d < rank; d++)
        GI_TRY(make_map(a, r, d, &maps[d]));
    GI_TRY(gi_eval_out(a, 0, x->dtype, rank, r->out, &y));
    if (!y)
        return GOPT_OK;
    gi_strides(rank, r->in, stride);
    const int64_t n = gopt_tensor_elements(y);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = 0;
        bool outside = false;
        for (int d = 0; d < rank; d++) {
            from += maps[d].index[at[d]] * stride[d];
            outside = outside || maps[d].outside[at[d]];
        }
        if (!outside)
            memcpy((char *)y->data + (size_t)i * item, (const char *)x->data + (size_t)from * item, item);
        else if (gi_dtype_class(x->dtype) != GI_TEXT && gi_dtype_class(x->dtype) != GI_COMPLEX)
            gi_store_f64(x->dtype, y->data, (size_t)i, r->fill);
        for (int d = rank - 1; d >= 0 && ++at[d] == r->out[d]; d--)
            at[d] = 0;
    }
    return GOPT_OK;
}

/* Linear and cubic: axis by axis, from the last on. Integers are cut, as the operator's definition has it. */
static gopt_status interpolate(gi_eval *a, const resize *r)
{
    const gopt_tensor *x = a->in[Resize_in_X];
    const gopt_dtype real = gi_real_of(x->dtype);
    const size_t item = gi_item_size(real);
    int64_t dims[GOPT_MAX_RANK];
    const void *from;
    gopt_tensor *y;
    memcpy(dims, r->in, sizeof dims);
    GI_TRY(gi_real_in(a, Resize_in_X, real, &from));
    for (int d = r->rank - 1; d >= 0; d--) {
        gi_resize_map m;
        if (unchanged(r, d))
            continue;
        GI_TRY(make_map(a, r, d, &m));
        const int64_t outer = gi_product(0, d, dims), inner = gi_product(d + 1, r->rank, dims);
        int64_t total;
        if (!gi_mul_i64(outer, inner, &total) || !gi_mul_i64(total, m.out, &total))
            return gi_eval_fail(a, -1, "the output would be too large");
        void *to = gi_eval_scratch(a, (size_t)total + 1, item);
        GI_NEED(to);
        if (real == GOPT_F64)
            resample_f64(&m, outer, inner, from, to);
        else
            resample_f32(&m, outer, inner, from, to);
        dims[d] = m.out;
        from = to;
    }
    GI_TRY(gi_eval_out(a, 0, x->dtype, r->rank, r->out, &y));
    const int64_t n = y ? gopt_tensor_elements(y) : 0;
    if (y && (gi_dtype_is_int(x->dtype) || x->dtype == GOPT_BOOL))
        for (int64_t i = 0; i < n; i++) {
            const double v = trunc(gi_load_f64(real, from, (size_t)i));
            gi_convert(x->dtype, (char *)y->data + (size_t)i * gi_item_size(x->dtype), GOPT_F64, &v, 1);
        }
    else if (y)
        gi_convert(x->dtype, y->data, real, from, (size_t)n);
    return GOPT_OK;
}

static gopt_status eval_resize(gi_eval *a)
{
    resize r = { 0 };
    if (!a->in[Resize_in_X])
        return gi_eval_fail(a, Resize_in_X, "is missing");
    GI_TRY(read_resize(a, &r));
    return r.mode == RESIZE_NEAREST ? nearest(a, &r) : interpolate(a, &r);
}

#include "ops/rows.h"

#include "ir/ops/resize.def"
