/* Convolutions: Conv, ConvTranspose, ConvInteger, DeformConv. */
#include <stdio.h>

#include "ops/conv.h"

#include <math.h>

#include "ops/gemm.h"
#include "ops/matmul.h"

#define WORD float
#define NAME(x) x##_f32
#define GEMM gi_gemm_f32
#include "ops/conv_loops.h"
#include "ops/conv_transpose_loops.h"
#undef WORD
#undef NAME
#undef GEMM
#define WORD double
#define NAME(x) x##_f64
#define GEMM gi_gemm_f64
#include "ops/conv_loops.h"
#include "ops/conv_transpose_loops.h"
#undef WORD
#undef NAME
#undef GEMM
#define WORD uint32_t
#define NAME(x) x##_u32
#define GEMM gi_gemm_u32
#include "ops/conv_loops.h"
#undef WORD
#undef NAME
#undef GEMM

/* ---- shapes ---- */

/* The window as far as the types tell it; kernels from w where its dims are known. */
static gopt_status infer_window(const gi_infer *c, uint32_t w, int spatial, gi_window *out)
{
    int64_t kernel[GI_WINDOW_MAX];
    for (int i = 0; i < spatial && i < GI_WINDOW_MAX; i++)
        if (gi_infer_rank(c, w) < 0 || !gi_dim_is_const(gi_infer_dim(c, w, 2 + i), &kernel[i]))
            kernel[i] = -1;
    return gi_window_read(c->n, spatial, kernel, out) ? GOPT_OK : gi_infer_fail_node(c, "%s", out->why);
}

/* Ranks of x and w, found from either; -1 where both are unknown. */
static gopt_status conv_rank(const gi_infer *c, uint32_t x, uint32_t w, int *rank)
{
    *rank = gi_infer_rank(c, x) >= 0 ? gi_infer_rank(c, x) : gi_infer_rank(c, w);
    if (*rank < 0)
        return GOPT_OK;
    GI_TRY(gi_infer_want_rank_at_least(c, x, 3));
    GI_TRY(gi_infer_want_rank(c, w, *rank));
    return GOPT_OK;
}

static gopt_status infer_group(const gi_infer *c, int64_t *group)
{
    const gi_attr *at = gi_attr_find(c->n, "group");
    *group = at && at->kind == GI_ATTR_INT ? at->u.i : 1;
    if (*group < 1 || *group > INT32_MAX)
        return gi_infer_fail_node(c, "attribute group is %lld, expected 1 or more", (long long)*group);
    return GOPT_OK;
}

static gopt_status infer_channels(gi_infer *c, uint32_t x, uint32_t w, int b, int64_t group)
{
    gi_dims *t = c->g->dims;
    int64_t filters;
    const gi_dim *groups = gi_dim_const(t, group);
    GI_NEED(groups);
    if (gi_infer_rank(c, w) >= 0) {
        const gi_dim *want = gi_dim_mul(t, gi_infer_dim(c, w, 1), groups);
        GI_NEED(want);
        GI_TRY(gi_infer_want_dim(c, x, 1, want, "channels of the weights times group"));
        if (gi_dim_is_const(gi_infer_dim(c, w, 0), &filters) && filters % group)
            return gi_infer_fail(c, w, "expected a number of filters that group %lld divides", (long long)group);
    }
    if (b >= 0 && gi_infer_has(c, (uint32_t)b)) {
        GI_TRY(gi_infer_want_rank(c, (uint32_t)b, 1));
        if (gi_infer_rank(c, w) >= 0)
            GI_TRY(gi_infer_want_dim(c, (uint32_t)b, 0, gi_infer_dim(c, w, 0), "one bias a filter"));
    }
    return GOPT_OK;
}

gopt_status gi_infer_conv_shape(gi_infer *c, uint32_t x, uint32_t w, int b, gopt_dtype dtype)
{
    int rank;
    int64_t group;
    gi_window window;
    const gi_dim *dims[GOPT_MAX_RANK];
    GI_TRY(conv_rank(c, x, w, &rank));
    if (rank < 0) {
        gi_infer_set(c, 0, dtype, -1, NULL);
        return GOPT_OK;
    }
    GI_TRY(infer_group(c, &group));
    GI_TRY(infer_channels(c, x, w, b, group));
    GI_TRY(infer_window(c, w, rank - 2, &window));
    dims[0] = gi_infer_dim(c, x, 0);
    dims[1] = gi_infer_dim(c, w, 0);
    for (int i = 0; i < rank - 2; i++) {
        dims[2 + i] = gi_window_dim(c->g->dims, &window, i, gi_infer_dim(c, x, 2 + i));
        if (!dims[2 + i] && window.why[0])
            return gi_infer_fail(c, x, "%s", window.why);
        GI_NEED(dims[2 + i]);
    }
    gi_infer_set(c, 0, dtype, rank, dims);
    return GOPT_OK;
}

static bool is_pointwise(const gi_window *w)
{
    for (int i = 0; i < w->n; i++)
        if (w->kernel[i] != 1 || w->stride[i] != 1 || w->begin[i] || w->end[i])
            return false;
    return true;
}

/* Group, and the counts that must fit each other. `wide`: the dimension of w that counts all channels of x. */
static gopt_status eval_groups(const gi_eval *a, uint32_t x, uint32_t w, int b, bool transposed, conv_shape *s)
{
    const gi_attr *at = gi_attr_find(a->n, "group");
    GI_TRY(gi_eval_rank_at_least(a, x, 3));
    GI_TRY(gi_eval_rank(a, w, a->in[x]->rank));
    *s = (conv_shape){ .batch = a->in[x]->dims[0], .channels = a->in[x]->dims[1] };
    s->groups = at && at->kind == GI_ATTR_INT ? at->u.i : 1;
    if (s->groups < 1 || s->groups > INT32_MAX || s->channels % s->groups)
        return gi_eval_fail(a, (int)x, "has %lld channels, expected a multiple of group %lld", (long long)s->channels,
                            (long long)s->groups);
    const int64_t *d = a->in[w]->dims;
    if (transposed) {
        GI_TRY(gi_eval_dim(a, w, 0, s->channels));
        if (!gi_mul_i64(d[1], s->groups, &s->filters))
            return gi_eval_fail(a, (int)w, "has too many filters");
    } else {
        GI_TRY(gi_eval_dim(a, w, 1, s->channels / s->groups));
        s->filters = d[0];
        if (s->filters % s->groups)
            return gi_eval_fail(a, (int)w, "has %lld filters, expected a multiple of group %lld", (long long)s->filters,
                                (long long)s->groups);
    }
    if (b >= 0 && (uint32_t)b < a->n_in && a->in[b]) {
        GI_TRY(gi_eval_rank(a, (uint32_t)b, 1));
        GI_TRY(gi_eval_dim(a, (uint32_t)b, 0, s->filters));
    }
    return GOPT_OK;
}

gopt_status gi_conv_shape_of(const gi_eval *a, uint32_t x, uint32_t w, int b, conv_shape *s)
{
    GI_TRY(eval_groups(a, x, w, b, false, s));
    if (!gi_window_of_conv(a->n, a->in[x]->rank, a->in[x]->dims, a->in[w]->dims, &s->window))
        return gi_eval_fail(a, (int)x, "%s", s->window.why);
    s->pointwise = is_pointwise(&s->window);
    return GOPT_OK;
}

void gi_conv_dims(const conv_shape *s, int64_t *dims)
{
    dims[0] = s->batch;
    dims[1] = s->filters;
    memcpy(dims + 2, s->window.out, (size_t)s->window.n * sizeof *dims);
}

/* ---- Conv ---- */

static gopt_status infer_conv(gi_infer *c)
{
    GI_TRY(gi_infer_want_dtype(c, Conv_in_W, Conv_in_X));
    return gi_infer_conv_shape(c, Conv_in_X, Conv_in_W, Conv_in_B, gi_infer_dtype(c, Conv_in_X));
}

gopt_status gi_eval_conv(gi_eval *a)
{
    conv_shape s;
    int64_t dims[GOPT_MAX_RANK];
    const void *x, *w, *b;
    gi_real y;
    GI_TRY(gi_conv_shape_of(a, Conv_in_X, Conv_in_W, Conv_in_B, &s));
    const gopt_dtype dtype = a->in[Conv_in_X]->dtype, real = gi_real_of(dtype);
    gi_conv_dims(&s, dims);
    GI_TRY(gi_real_in(a, Conv_in_X, real, &x));
    GI_TRY(gi_real_in(a, Conv_in_W, real, &w));
    GI_TRY(gi_real_in(a, Conv_in_B, real, &b));
    GI_TRY(gi_real_out(a, 0, dtype, s.window.n + 2, dims, &y));
    if (!y.p || gi_product(0, s.window.n + 2, dims) == 0)
        return GOPT_OK;
    if (real == GOPT_F64)
        conv_f64(&s, x, w, b, y.p);
    else
        conv_f32(&s, x, w, b, y.p);
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- ConvTranspose ---- */

/* An attribute's list of `n` entries; absent ones are zero. */
static bool read_ints(const gi_node *n, int at, int want, int64_t *out, bool *given)
{
    const int64_t *v;
    const uint32_t count = gi_attr_ints(n, at, &v);
    *given = count != 0;
    for (int i = 0; i < want; i++)
        out[i] = 0;
    /* Some exporters write output_shape with batch and channels in front. */
    const uint32_t skip = at == ConvTranspose_at_output_shape && count == (uint32_t)want + 2 ? 2 : 0;
    if (count && count - skip != (uint32_t)want)
        return false;
    for (int i = 0; i < want && count; i++) {
        out[i] = v[(uint32_t)i + skip];
        if (out[i] < 0 || out[i] > INT32_MAX)
            return false;
    }
    return true;
}

typedef struct transpose_attrs {
    int64_t output_padding[GI_WINDOW_MAX], output_shape[GI_WINDOW_MAX];
    bool has_padding, has_shape;
} transpose_attrs;

static const char *read_transpose(const gi_node *n, int spatial, transpose_attrs *t)
{
    if (!read_ints(n, ConvTranspose_at_output_padding, spatial, t->output_padding, &t->has_padding))
        return "attribute output_padding needs one number a spatial dimension, 0 or more";
    if (!read_ints(n, ConvTranspose_at_output_shape, spatial, t->output_shape, &t->has_shape))
        return "attribute output_shape needs one number a spatial dimension, 0 or more";
    return NULL;
}

/* Pads such that the output has the size asked for: the window's, from a total to take away. */
static void split_pads(gi_window *w, int i, int64_t total)
{
    if (w->auto_pad == GI_PAD_SAME_UPPER) {
        w->begin[i] = total / 2;
        w->end[i] = total - w->begin[i];
    } else {
        w->end[i] = total / 2;
        w->begin[i] = total - w->end[i];
    }
}

/* Output size of dimension i for `in`, with the pads resolved; less than 0 where there is none. */
static int64_t transpose_size(gi_window *w, const transpose_attrs *t, int i, int64_t in)
{
    const int64_t ext = (w->kernel[i] - 1) * w->dilation[i] + 1;
    int64_t full;
    if (in < 0 || !gi_mul_i64(in - 1, w->stride[i], &full) || !gi_add_i64(full, ext + t->output_padding[i], &full))
        return -1;
    int64_t size = full - w->begin[i] - w->end[i];
    if (t->has_shape) {
        size = t->output_shape[i];
        /* Where the output is larger than what the taps reach, the rest stays empty behind it. */
        split_pads(w, i, gi_max_i64(full - size, 0));
    } else if (w->auto_pad == GI_PAD_SAME_UPPER || w->auto_pad == GI_PAD_SAME_LOWER) {
        if (!gi_mul_i64(in, w->stride[i], &size))
            return -1;
        split_pads(w, i, gi_max_i64(full - size, 0));
    }
    return size;
}

static const gi_dim *transpose_dim(gi_dims *d, gi_window *w, const transpose_attrs *t, int i, const gi_dim *in)
{
    int64_t size;
    if (t->has_shape)
        return gi_dim_const(d, t->output_shape[i]);
    if (w->kernel[i] < 0)
        return gi_dim_unknown(d, true);
    if (gi_dim_is_const(in, &size))
        return gi_dim_const(d, transpose_size(w, t, i, size));
    const gi_dim *stride = gi_dim_const(d, w->stride[i]), *scaled = stride ? gi_dim_mul(d, in, stride) : NULL;
    if (!scaled || w->auto_pad == GI_PAD_SAME_UPPER || w->auto_pad == GI_PAD_SAME_LOWER)
        return scaled;
    const gi_dim *rest = gi_dim_const(d, (w->kernel[i] - 1) * w->dilation[i] + 1 + t->output_padding[i] - w->begin[i] -
                                             w->end[i] - w->stride[i]);
    return rest ? gi_dim_add(d, scaled, rest) : NULL;
}

static gopt_status infer_conv_transpose(gi_infer *c)
{
    const uint32_t x = ConvTranspose_in_X, w = ConvTranspose_in_W, b = ConvTranspose_in_B;
    int rank;
    int64_t group, size;
    gi_window window;
    transpose_attrs attrs;
    const gi_dim *dims[GOPT_MAX_RANK];
    GI_TRY(gi_infer_want_dtype(c, w, x));
    GI_TRY(conv_rank(c, x, w, &rank));
    if (rank < 0) {
        gi_infer_set_like(c, 0, x, -1, NULL);
        return GOPT_OK;
    }
    GI_TRY(infer_group(c, &group));
    const gi_dim *groups = gi_dim_const(c->g->dims, group);
    GI_NEED(groups);
    dims[0] = gi_infer_dim(c, x, 0);
    dims[1] = gi_dim_mul(c->g->dims, gi_infer_dim(c, w, 1), groups);
    GI_NEED(dims[1]);
    if (gi_infer_rank(c, w) >= 0) {
        GI_TRY(gi_infer_want_dim(c, x, 1, gi_infer_dim(c, w, 0), "channels of the weights"));
        if (gi_infer_has(c, b))
            GI_TRY(gi_infer_want_dim(c, b, 0, dims[1], "one bias a filter"));
    }
    GI_TRY(infer_window(c, w, rank - 2, &window));
    const char *why = read_transpose(c->n, rank - 2, &attrs);
    if (why)
        return gi_infer_fail_node(c, "%s", why);
    for (int i = 0; i < rank - 2; i++) {
        dims[2 + i] = transpose_dim(c->g->dims, &window, &attrs, i, gi_infer_dim(c, x, 2 + i));
        GI_NEED(dims[2 + i]);
        if (gi_dim_is_const(dims[2 + i], &size) && size < 0)
            return gi_infer_fail(c, x, "spatial dimension %d gives a negative output size", i);
    }
    gi_infer_set_like(c, 0, x, rank, dims);
    return GOPT_OK;
}

bool gi_window_of_transposed(const gi_node *n, int rank, const int64_t *x, const int64_t *weights, gi_window *w)
{
    transpose_attrs attrs;
    if (!gi_window_read(n, rank - 2, weights + 2, w))
        return false;
    const char *why = read_transpose(n, w->n, &attrs);
    for (int i = 0; i < w->n && !why; i++) {
        w->out[i] = x[2 + i];
        w->in[i] = transpose_size(w, &attrs, i, w->out[i]);
        if (w->in[i] < 0)
            why = "a spatial dimension gives a negative output size";
    }
    if (why)
        (void)snprintf(w->why, sizeof w->why, "%s", why);
    return !why;
}

static gopt_status transpose_shape(const gi_eval *a, conv_shape *s)
{
    const gopt_tensor *x = a->in[ConvTranspose_in_X], *w = a->in[ConvTranspose_in_W];
    return gi_window_of_transposed(a->n, x->rank, x->dims, w->dims, &s->window)
               ? GOPT_OK
               : gi_eval_fail(a, -1, "%s", s->window.why);
}

static gopt_status eval_conv_transpose(gi_eval *a)
{
    conv_shape s;
    int64_t dims[GOPT_MAX_RANK];
    const void *x, *w, *b;
    gi_real y;
    GI_TRY(eval_groups(a, ConvTranspose_in_X, ConvTranspose_in_W, ConvTranspose_in_B, true, &s));
    GI_TRY(transpose_shape(a, &s));
    const gopt_dtype dtype = a->in[ConvTranspose_in_X]->dtype, real = gi_real_of(dtype);
    dims[0] = s.batch;
    dims[1] = s.filters;
    memcpy(dims + 2, s.window.in, (size_t)s.window.n * sizeof *dims);
    GI_TRY(gi_real_in(a, ConvTranspose_in_X, real, &x));
    GI_TRY(gi_real_in(a, ConvTranspose_in_W, real, &w));
    GI_TRY(gi_real_in(a, ConvTranspose_in_B, real, &b));
    GI_TRY(gi_real_out(a, 0, dtype, s.window.n + 2, dims, &y));
    if (!y.p || gi_product(0, s.window.n + 2, dims) == 0)
        return GOPT_OK;
    if (real == GOPT_F64)
        conv_transpose_f64(&s, x, w, b, y.p);
    else
        conv_transpose_f32(&s, x, w, b, y.p);
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- ConvInteger ---- */

static gopt_status infer_conv_integer(gi_infer *c)
{
    return gi_infer_conv_shape(c, ConvInteger_in_x, ConvInteger_in_w, -1, GOPT_I32);
}

void gi_conv_u32(const conv_shape *s, const uint32_t *x, const uint32_t *w, uint32_t *y)
{
    conv_u32(s, x, w, NULL, y);
}

gopt_status gi_filters_less_zero_point(gi_eval *a, uint32_t in, uint32_t zero_point, const uint32_t **out)
{
    const gopt_tensor *t = a->in[in], *z = zero_point < a->n_in ? a->in[zero_point] : NULL;
    if (!gi_dtype_is_int(t->dtype) || gopt_dtype_bits(t->dtype) != 8)
        return gi_eval_fail(a, (int)in, "expected i8 or u8");
    const int64_t n = gopt_tensor_elements(t), nz = z ? gopt_tensor_elements(z) : 1;
    if (nz != 1 && nz != t->dims[0])
        return gi_eval_fail(a, (int)zero_point, "has %lld elements, expected 1 or one a filter", (long long)nz);
    uint32_t *p = gi_eval_scratch(a, (size_t)n + 1, sizeof *p);
    GI_NEED(p);
    const int64_t per = t->dims[0] ? gi_max_i64(n / t->dims[0], 1) : 1;
    for (int64_t i = 0; i < n; i++)
        p[i] = (uint32_t)(gi_tensor_i64(t, i) - (z ? gi_tensor_i64(z, nz == 1 ? 0 : i / per) : 0));
    *out = p;
    return GOPT_OK;
}

static gopt_status eval_conv_integer(gi_eval *a)
{
    conv_shape s;
    int64_t dims[GOPT_MAX_RANK];
    const uint32_t *x, *w;
    gopt_tensor *y;
    GI_TRY(gi_conv_shape_of(a, ConvInteger_in_x, ConvInteger_in_w, -1, &s));
    const gopt_tensor *z = a->n_in > ConvInteger_in_x_zero_point ? a->in[ConvInteger_in_x_zero_point] : NULL;
    if (z && gopt_tensor_elements(z) != 1)
        return gi_eval_fail(a, ConvInteger_in_x_zero_point, "expected one element");
    GI_TRY(gi_less_zero_point(a, ConvInteger_in_x, ConvInteger_in_x_zero_point, true, &x));
    GI_TRY(gi_filters_less_zero_point(a, ConvInteger_in_w, ConvInteger_in_w_zero_point, &w));
    gi_conv_dims(&s, dims);
    GI_TRY(gi_eval_out(a, 0, GOPT_I32, s.window.n + 2, dims, &y));
    if (y && gopt_tensor_elements(y))
        gi_conv_u32(&s, x, w, y->data);
    return GOPT_OK;
}

/* ---- DeformConv ---- */

static gopt_status infer_deform_conv(gi_infer *c)
{
    GI_TRY(gi_infer_want_dtype(c, DeformConv_in_W, DeformConv_in_X));
    GI_TRY(gi_infer_want_rank(c, DeformConv_in_X, 4));
    return gi_infer_conv_shape(c, DeformConv_in_X, DeformConv_in_W, DeformConv_in_B,
                               gi_infer_dtype(c, DeformConv_in_X));
}

/* Bilinear reading at (y, x); zero outside. */
static double read_bilinear(const double *p, int64_t height, int64_t width, double y, double x)
{
    if (!(y > -1 && y < (double)height && x > -1 && x < (double)width))
        return 0;
    const int64_t y0 = (int64_t)floor(y), x0 = (int64_t)floor(x);
    const double fy = y - (double)y0, fx = x - (double)x0;
    double sum = 0;
    for (int64_t j = 0; j < 2; j++)
        for (int64_t i = 0; i < 2; i++)
            if (y0 + j >= 0 && y0 + j < height && x0 + i >= 0 && x0 + i < width)
                sum += (j ? fy : 1 - fy) * (i ? fx : 1 - fx) * p[(y0 + j) * width + x0 + i];
    return sum;
}

typedef struct deform {
    conv_shape s;
    int64_t offset_groups;
    const double *x, *w, *offset, *bias, *mask;
} deform;

static double deform_at(const deform *d, int64_t b, int64_t filter, int64_t oy, int64_t ox)
{
    const gi_window *w = &d->s.window;
    const int64_t in = d->s.channels / d->s.groups, out = d->s.filters / d->s.groups, g = filter / out;
    const int64_t kh = w->kernel[0], kw = w->kernel[1], taps = kh * kw, size_y = w->out[0] * w->out[1];
    const int64_t at = oy * w->out[1] + ox, per_offset = d->s.channels / d->offset_groups;
    double sum = d->bias ? d->bias[filter] : 0;
    for (int64_t c = 0; c < in; c++) {
        const int64_t channel = g * in + c, og = channel / per_offset;
        const double *plane = d->x + (b * d->s.channels + channel) * w->in[0] * w->in[1];
        const double *offset = d->offset + (b * d->offset_groups + og) * 2 * taps * size_y;
        const double *mask = d->mask ? d->mask + (b * d->offset_groups + og) * taps * size_y : NULL;
        for (int64_t t = 0; t < taps; t++) {
            const int64_t ky = t / kw, kx = t % kw;
            const double y =
                (double)(oy * w->stride[0] - w->begin[0] + ky * w->dilation[0]) + offset[2 * t * size_y + at];
            const double x =
                (double)(ox * w->stride[1] - w->begin[1] + kx * w->dilation[1]) + offset[(2 * t + 1) * size_y + at];
            sum += d->w[(filter * in + c) * taps + t] * (mask ? mask[t * size_y + at] : 1) *
                   read_bilinear(plane, w->in[0], w->in[1], y, x);
        }
    }
    return sum;
}

/* Offsets [N, groups * taps * 2, oh, ow] and mask [N, groups * taps, oh, ow]. */
static gopt_status check_offsets(const gi_eval *a, const deform *d, uint32_t in, int64_t per_tap)
{
    int64_t channels;
    if (in >= a->n_in || !a->in[in])
        return GOPT_OK;
    if (!gi_mul_i64(d->offset_groups * per_tap, d->s.window.kernel[0] * d->s.window.kernel[1], &channels))
        return gi_eval_fail(a, (int)in, "the kernel is too large");
    GI_TRY(gi_eval_rank(a, in, 4));
    GI_TRY(gi_eval_dim(a, in, 0, d->s.batch));
    GI_TRY(gi_eval_dim(a, in, 1, channels));
    GI_TRY(gi_eval_dim(a, in, 2, d->s.window.out[0]));
    return gi_eval_dim(a, in, 3, d->s.window.out[1]);
}

static gopt_status eval_deform_conv(gi_eval *a)
{
    deform d;
    int64_t dims[GOPT_MAX_RANK];
    GI_TRY(gi_eval_rank(a, DeformConv_in_X, 4));
    GI_TRY(gi_conv_shape_of(a, DeformConv_in_X, DeformConv_in_W, DeformConv_in_B, &d.s));
    d.offset_groups = gi_attr_int(a->n, DeformConv_at_offset_group);
    if (d.offset_groups < 1 || d.offset_groups > INT32_MAX || d.s.channels % d.offset_groups || d.s.channels == 0)
        return gi_eval_fail(a, DeformConv_in_X, "has %lld channels, expected a multiple of offset_group %lld",
                            (long long)d.s.channels, (long long)d.offset_groups);
    GI_TRY(check_offsets(a, &d, DeformConv_in_offset, 2));
    GI_TRY(check_offsets(a, &d, DeformConv_in_mask, 1));
    GI_TRY(gi_real_in(a, DeformConv_in_X, GOPT_F64, (const void **)&d.x));
    GI_TRY(gi_real_in(a, DeformConv_in_W, GOPT_F64, (const void **)&d.w));
    GI_TRY(gi_real_in(a, DeformConv_in_offset, GOPT_F64, (const void **)&d.offset));
    GI_TRY(gi_real_in(a, DeformConv_in_B, GOPT_F64, (const void **)&d.bias));
    GI_TRY(gi_real_in(a, DeformConv_in_mask, GOPT_F64, (const void **)&d.mask));
    gi_conv_dims(&d.s, dims);
    gi_real y;
    GI_TRY(gi_real_out_as(a, 0, a->in[DeformConv_in_X]->dtype, GOPT_F64, 4, dims, &y));
    double *p = y.p;
    if (!p || gi_product(0, 4, dims) == 0)
        return GOPT_OK;
    for (int64_t b = 0; b < dims[0]; b++)
        for (int64_t f = 0; f < dims[1]; f++)
            for (int64_t oy = 0; oy < dims[2]; oy++)
                for (int64_t ox = 0; ox < dims[3]; ox++)
                    *p++ = deform_at(&d, b, f, oy, ox);
    gi_real_store(&y);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/conv.def"
