/* ONNX Runtime's own operators: on 8-bit tensors of one scale and zero point. All compute in f32. */
#include <math.h>

#include "ops/move.h"
#include "ops/pool.h"
#include "ops/real.h"
#include "ops/window.h"

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

/* ---- types ---- */

static gopt_status infer_eight_bits(const gi_infer *c, uint32_t in)
{
    const gopt_dtype t = gi_infer_dtype(c, in);
    return t == GOPT_UNDEFINED || t == GOPT_I8 || t == GOPT_U8 ? GOPT_OK : gi_infer_fail(c, in, "expected i8 or u8");
}

/* A tensor at `in`, its scale and zero point behind it. */
static gopt_status infer_quantized(const gi_infer *c, uint32_t in)
{
    GI_TRY(infer_eight_bits(c, in));
    if (gi_infer_has(c, in + 2))
        GI_TRY(gi_infer_want_dtype(c, in + 2, in));
    return GOPT_OK;
}

static gopt_status infer_one(gi_infer *c)
{
    GI_TRY(infer_quantized(c, 0));
    return gi_infer_same_type(c);
}

static gopt_status infer_pair(gi_infer *c)
{
    const gi_dim *a[GOPT_MAX_RANK], *b[GOPT_MAX_RANK], *dims[GOPT_MAX_RANK];
    const int ra = gi_dims_of(c, QLinearAdd_in_A, a), rb = gi_dims_of(c, QLinearAdd_in_B, b);
    int rank = -1;
    GI_TRY(infer_quantized(c, QLinearAdd_in_A));
    GI_TRY(infer_quantized(c, QLinearAdd_in_B));
    GI_TRY(gi_infer_want_dtype(c, QLinearAdd_in_B, QLinearAdd_in_A));
    if (ra >= 0 && rb >= 0 && !gi_infer_broadcast(c, ra, a, rb, b, &rank, dims))
        return gi_infer_fail(c, QLinearAdd_in_B, "expected a shape that broadcasts with that of A");
    gi_infer_set_like(c, 0, QLinearAdd_in_A, rank, rank < 0 ? NULL : dims);
    return GOPT_OK;
}

/* The dims of a tensor's planes lie from 2 on, or from 1 where its channels come last. */
static int first_plane(const gi_node *n)
{
    const gi_attr *last = gi_attr_find(n, "channels_last");
    return last && last->u.i ? 1 : 2;
}

static gopt_status infer_average_pool(gi_infer *c)
{
    const int rank = gi_infer_rank(c, 0), first = first_plane(c->n);
    const gi_dim *dims[GOPT_MAX_RANK];
    gi_window w;
    GI_TRY(infer_quantized(c, 0));
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 3));
    if (rank < 3) {
        gi_infer_set_like(c, 0, 0, -1, NULL);
        return GOPT_OK;
    }
    if (!gi_window_read(c->n, rank - 2, NULL, &w))
        return gi_infer_fail_node(c, "%s", w.why);
    for (int i = 0; i < rank; i++)
        dims[i] = gi_infer_dim(c, 0, i);
    for (int i = 0; i < rank - 2; i++) {
        dims[first + i] = gi_window_dim(c->g->dims, &w, i, dims[first + i]);
        if (!dims[first + i] && w.why[0])
            return gi_infer_fail(c, 0, "%s", w.why);
        GI_NEED(dims[first + i]);
    }
    gi_infer_set_like(c, 0, 0, rank, dims);
    return GOPT_OK;
}

static gopt_status infer_global_pool(gi_infer *c)
{
    const int rank = gi_infer_rank(c, 0), first = first_plane(c->n);
    const gi_dim *dims[GOPT_MAX_RANK];
    GI_TRY(infer_quantized(c, 0));
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 3));
    for (int i = 0; i < rank; i++) {
        dims[i] = i >= first && i < first + rank - 2 ? gi_dim_const(c->g->dims, 1) : gi_infer_dim(c, 0, i);
        GI_NEED(dims[i]);
    }
    gi_infer_set_like(c, 0, 0, rank, rank < 0 ? NULL : dims);
    return GOPT_OK;
}

enum { PARTS = QLinearConcat_in_inputs };

static gopt_status infer_qconcat(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_infer_rank(c, PARTS);
    int axis;
    if (c->n->n_in < PARTS + 3 || (c->n->n_in - PARTS) % 3)
        return gi_infer_fail_node(c, "expected a scale and a zero point behind each tensor");
    GI_TRY(infer_eight_bits(c, QLinearConcat_in_Y_zero_point));
    for (uint32_t i = PARTS; i < c->n->n_in; i += 3) {
        GI_TRY(infer_quantized(c, i));
        GI_TRY(gi_infer_want_dtype(c, i, QLinearConcat_in_Y_zero_point));
        if (rank >= 0)
            GI_TRY(gi_infer_want_rank(c, i, rank));
        if (gi_infer_rank(c, i) < 0) {
            gi_infer_set_like(c, 0, QLinearConcat_in_Y_zero_point, -1, NULL);
            return GOPT_OK;
        }
    }
    if (!gi_axis(gi_attr_int(c->n, QLinearConcat_at_axis), rank, &axis))
        return gi_infer_fail_node(c, "attribute axis lies outside of rank %d", rank);
    for (int i = 0; i < rank; i++)
        dims[i] = gi_infer_dim(c, PARTS, i);
    for (uint32_t i = PARTS + 3; i < c->n->n_in; i += 3)
        for (int k = 0; k < rank; k++) {
            if (k != axis)
                GI_TRY(gi_infer_want_dim(c, i, k, dims[k], "that of the first tensor"));
            else
                dims[k] = gi_dim_add(c->g->dims, dims[k], gi_infer_dim(c, i, k));
            GI_NEED(dims[k]);
        }
    gi_infer_set_like(c, 0, QLinearConcat_in_Y_zero_point, rank, dims);
    return GOPT_OK;
}

/* ---- to f32 and back ---- */

typedef struct scaling {
    float scale;
    int64_t zero_point;
} scaling;

/* Scale at `in`, zero point (0 where absent) behind it. */
static gopt_status read_scaling(const gi_eval *a, uint32_t in, scaling *s)
{
    const gopt_tensor *scale = input(a, in), *zero = input(a, in + 1);
    if (!scale || scale->dtype != GOPT_F32 || gopt_tensor_elements(scale) != 1)
        return gi_eval_fail(a, (int)in, "expected one f32");
    if (zero && (!gi_dtype_is_int(zero->dtype) || gopt_tensor_elements(zero) != 1))
        return gi_eval_fail(a, (int)in + 1, "expected one integer");
    *s = (scaling){ .scale = ((const float *)scale->data)[0], .zero_point = zero ? gi_tensor_i64(zero, 0) : 0 };
    return GOPT_OK;
}

/* The numbers that the tensor at `in` stands for. */
static gopt_status dequantize(gi_eval *a, uint32_t in, const float **out)
{
    const gopt_tensor *x = input(a, in);
    scaling s;
    if (!x || (x->dtype != GOPT_I8 && x->dtype != GOPT_U8))
        return gi_eval_fail(a, (int)in, "expected i8 or u8");
    GI_TRY(read_scaling(a, in + 1, &s));
    const int64_t n = gopt_tensor_elements(x);
    float *y = gi_eval_scratch(a, (size_t)n + 1, sizeof *y);
    GI_NEED(y);
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)(gi_tensor_i64(x, i) - s.zero_point) * s.scale;
    *out = y;
    return GOPT_OK;
}

/* Output 0: x over the scale at `in`, rounded to even, plus the zero point behind it. */
static gopt_status quantize(gi_eval *a, const float *x, uint32_t in, gopt_dtype t, int rank, const int64_t *dims)
{
    const double low = t == GOPT_I8 ? INT8_MIN : 0, high = t == GOPT_I8 ? INT8_MAX : UINT8_MAX;
    scaling s;
    gopt_tensor *y;
    GI_TRY(read_scaling(a, in, &s));
    GI_TRY(gi_eval_out(a, 0, t, rank, dims, &y));
    const int64_t n = y ? gopt_tensor_elements(y) : 0;
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)rintf(x[i] / s.scale) + (double)s.zero_point;
        gi_store_i64(t, y->data, (size_t)i, (int64_t)fmin(fmax(v, low), high)); /* NaN: the lowest */
    }
    return GOPT_OK;
}

/* ---- pointwise ---- */

static gopt_status eval_pair(gi_eval *a)
{
    enum { A = QLinearAdd_in_A, B = QLinearAdd_in_B };
    const float *x, *y;
    const void *wide_x, *wide_y;
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    GI_TRY(dequantize(a, A, &x));
    GI_TRY(dequantize(a, B, &y));
    const gopt_tensor *p = a->in[A], *q = a->in[B];
    if (!gi_broadcast_dims(p->rank, p->dims, q->rank, q->dims, &rank, dims))
        return gi_eval_fail(a, B, "does not broadcast with A");
    GI_TRY(gi_real_expand(a, GOPT_F32, x, p->rank, p->dims, rank, dims, &wide_x));
    GI_TRY(gi_real_expand(a, GOPT_F32, y, q->rank, q->dims, rank, dims, &wide_y));
    GI_NEED(wide_x && wide_y);
    const int64_t n = gi_product(0, rank, dims);
    float *r = gi_eval_scratch(a, (size_t)n + 1, sizeof *r);
    GI_NEED(r);
    for (int64_t i = 0; i < n; i++) {
        const float u = ((const float *)wide_x)[i], v = ((const float *)wide_y)[i];
        r[i] = a->n->op == OP_QLinearMul ? u * v : u + v;
    }
    return quantize(a, r, QLinearAdd_in_C_scale, p->dtype, rank, dims);
}

static gopt_status eval_each(gi_eval *a, float (*f)(float x, float alpha), float alpha)
{
    const float *x;
    GI_TRY(dequantize(a, QLinearSigmoid_in_X, &x));
    const gopt_tensor *t = a->in[QLinearSigmoid_in_X];
    const int64_t n = gopt_tensor_elements(t);
    float *r = gi_eval_scratch(a, (size_t)n + 1, sizeof *r);
    GI_NEED(r);
    for (int64_t i = 0; i < n; i++)
        r[i] = f(x[i], alpha);
    return quantize(a, r, QLinearSigmoid_in_Y_scale, t->dtype, t->rank, t->dims);
}

static float sigmoid(float x, float alpha)
{
    (void)alpha;
    return 1 / (1 + expf(-x));
}

static float leaky_relu(float x, float alpha)
{
    return x < 0 ? alpha * x : x;
}

static gopt_status eval_sigmoid(gi_eval *a)
{
    return eval_each(a, sigmoid, 0);
}

static gopt_status eval_leaky_relu(gi_eval *a)
{
    return eval_each(a, leaky_relu, gi_attr_float(a->n, QLinearLeakyRelu_at_alpha));
}

/* ---- pools ---- */

/* Between [batch, planes, channels] and [batch, channels, planes]. */
static const float *turned(gi_eval *a, int64_t batch, int64_t rows, int64_t cols, const float *x)
{
    float *y = gi_eval_scratch(a, (size_t)(batch * rows * cols) + 1, sizeof *y);
    for (int64_t b = 0; y && b < batch; b++)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++)
                y[(b * cols + j) * rows + i] = x[(b * rows + i) * cols + j];
    return y;
}

/* Dims with the channels in front of the planes, or behind. */
static void move_channels(bool to_front, int rank, const int64_t *from, int64_t *to)
{
    to[0] = from[0];
    for (int i = 1; i < rank; i++)
        to[i] = to_front ? from[i == 1 ? rank - 1 : i - 1] : from[i == rank - 1 ? 1 : i + 1];
}

/* AveragePool has the same attributes in the same places. */
_Static_assert((int)QLinearAveragePool_at_count_include_pad == (int)AveragePool_at_count_include_pad,
               "QLinearAveragePool begins as AveragePool does");

static gopt_status eval_average_pool(gi_eval *a)
{
    const float *x;
    GI_TRY(gi_eval_rank_at_least(a, 0, 3));
    GI_TRY(dequantize(a, 0, &x));
    const gopt_tensor *t = a->in[0];
    const bool last = first_plane(a->n) == 1;
    gopt_tensor plain = { .kind = GOPT_TENSOR, .dtype = GOPT_F32, .rank = t->rank, .refs = 1 };
    const gopt_tensor *in[] = { &plain };
    gopt_tensor *out[] = { NULL };
    if (last) {
        const int64_t channels = t->dims[t->rank - 1], planes = gi_product(1, t->rank - 1, t->dims);
        x = turned(a, t->dims[0], planes, channels, x);
        GI_NEED(x);
        move_channels(true, t->rank, t->dims, plain.dims);
    } else {
        memcpy(plain.dims, t->dims, sizeof plain.dims);
    }
    plain.data = (void *)(uintptr_t)x;
    plain.bytes = (size_t)gopt_tensor_elements(t) * sizeof *x;
    gi_eval pool = *a;
    pool.in = in;
    pool.out = out;
    pool.n_in = pool.n_out = 1;
    pool.planned = false;
    gopt_status st = gi_eval_average_pool(&pool);
    if (st == GOPT_OK) {
        int64_t dims[GOPT_MAX_RANK];
        const gopt_tensor *y = out[0];
        const float *r = y->data;
        memcpy(dims, y->dims, sizeof dims);
        if (last) {
            r = turned(a, y->dims[0], y->dims[1], gi_product(2, y->rank, y->dims), r);
            move_channels(false, y->rank, y->dims, dims);
        }
        st = r ? quantize(a, r, QLinearAveragePool_in_y_scale, t->dtype, y->rank, dims) : GOPT_NO_MEMORY;
    }
    gopt_tensor_unref(out[0]);
    return st;
}

static gopt_status eval_global_pool(gi_eval *a)
{
    const float *x;
    GI_TRY(gi_eval_rank_at_least(a, 0, 3));
    GI_TRY(dequantize(a, 0, &x));
    const gopt_tensor *t = a->in[0];
    const int first = first_plane(a->n), rank = t->rank;
    const int64_t channels = t->dims[first == 1 ? rank - 1 : 1], planes = gi_product(first, first + rank - 2, t->dims);
    int64_t dims[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++)
        dims[i] = i >= first && i < first + rank - 2 ? 1 : t->dims[i];
    float *r = gi_eval_scratch(a, (size_t)(t->dims[0] * channels) + 1, sizeof *r);
    GI_NEED(r);
    for (int64_t i = 0; i < t->dims[0] * channels; i++) {
        const int64_t at = first == 1 ? i / channels * planes * channels + i % channels : i * planes;
        double sum = 0;
        for (int64_t k = 0; k < planes; k++)
            sum += (double)x[at + k * (first == 1 ? channels : 1)];
        r[i] = (float)(sum / (double)planes);
    }
    return quantize(a, r, QLinearGlobalAveragePool_in_y_scale, t->dtype, rank, dims);
}

/* ---- QLinearConcat ---- */

static gopt_status eval_qconcat(gi_eval *a)
{
    int64_t dims[GOPT_MAX_RANK], all = 0;
    int axis;
    if (a->n_in < PARTS + 3 || (a->n_in - PARTS) % 3)
        return gi_eval_fail(a, -1, "expected a scale and a zero point behind each tensor");
    GI_TRY(gi_eval_rank_at_least(a, PARTS, 1));
    const gopt_tensor *t = a->in[PARTS];
    if (!gi_axis(gi_attr_int(a->n, QLinearConcat_at_axis), t->rank, &axis))
        return gi_eval_fail(a, PARTS, "has rank %d, attribute axis is %lld", t->rank,
                            (long long)gi_attr_int(a->n, QLinearConcat_at_axis));
    for (uint32_t i = PARTS; i < a->n_in; i += 3) {
        GI_TRY(gi_eval_rank(a, i, t->rank));
        for (int k = 0; k < t->rank; k++)
            if (k != axis)
                GI_TRY(gi_eval_dim(a, i, k, t->dims[k]));
        if (a->in[i]->dtype != t->dtype || !gi_add_i64(all, a->in[i]->dims[axis], &all))
            return gi_eval_fail(a, (int)i, "is of another type than the first tensor, or too long");
    }
    memcpy(dims, t->dims, sizeof dims);
    dims[axis] = all;
    const int64_t outer = gi_product(0, axis, dims), inner = gi_product(axis + 1, t->rank, dims);
    int64_t n;
    if (!gi_mul_i64(outer, inner, &n) || !gi_mul_i64(n, all, &n))
        return gi_eval_fail(a, PARTS, "is too long");
    float *r = gi_eval_scratch(a, (size_t)n + 1, sizeof *r);
    GI_NEED(r);
    int64_t at = 0;
    for (uint32_t i = PARTS; i < a->n_in; i += 3) {
        const float *x;
        const int64_t own = a->in[i]->dims[axis] * inner;
        GI_TRY(dequantize(a, i, &x));
        for (int64_t o = 0; o < outer; o++)
            memcpy(r + o * all * inner + at, x + o * own, (size_t)own * sizeof *r);
        at += own;
    }
    return quantize(a, r, QLinearConcat_in_Y_scale, t->dtype, t->rank, dims);
}

#include "ops/rows.h"

#include "ir/ops/contrib_quantize.def"
