/* Operators of ONNX Runtime that are ONNX's under another name, or a few of ONNX's at once: they are brought to those
 * on import, one row each. What has attributes that ONNX cannot express stays as it came. */
#include "onnx/raw.h"

typedef gopt_status (*contrib_fn)(gi_import *im, gi_raw *r);

/* ---- helpers ---- */

/* From now on it is this operator of ai.onnx. */
static gopt_status become(gi_raw *r, const char *op)
{
    r->domain = "";
    r->op = op;
    return GOPT_OK;
}

static gopt_status add_int(gi_import *im, gi_raw_attrs *attrs, const char *name, int64_t v)
{
    const gi_attr a = { .kind = GI_ATTR_INT, .name = name, .u.i = v };
    return gi_push(im->a, attrs, (gi_raw_attr){ .a = a }) ? GOPT_OK : GOPT_NO_MEMORY;
}

static gopt_status add_ints(gi_import *im, gi_raw_attrs *attrs, const char *name, uint32_t n, const int64_t *v)
{
    int64_t *kept = GI_NEW_ARRAY(im->g->arena, int64_t, n + 1);
    GI_NEED(kept);
    memcpy(kept, v, n * sizeof *kept);
    const gi_attr a = { .kind = GI_ATTR_INTS, .name = name, .n = n, .u.ints = kept };
    return gi_push(im->a, attrs, (gi_raw_attr){ .a = a }) ? GOPT_OK : GOPT_NO_MEMORY;
}

static float float_attr(gi_raw *r, const char *name, float otherwise)
{
    const gi_raw_attr *a = gi_raw_attr_find(r, name);
    return a && a->a.kind == GI_ATTR_FLOAT ? a->a.u.f : otherwise;
}

/* One element, of whatever rank, as one of rank 0 or 1. */
static gopt_status one_element(gi_import *im, gi_raw *r, int rank, gi_value *v, gi_value **out)
{
    const int64_t one = 1;
    *out = v;
    if (!v || rank_of(v) == rank)
        return GOPT_OK;
    gi_value *shape = gi_const_i64(im->g, 1, rank, &one);
    GI_NEED(shape);
    return EMIT(im, r, "Reshape", out, v, shape);
}

static gopt_status cast(gi_import *im, gi_raw *r, gi_value *v, gopt_dtype t, gi_value **out)
{
    gi_raw_attrs to = { 0 };
    GI_TRY(add_int(im, &to, "to", t));
    return EMIT_WITH(im, r, "Cast", &to, out, v);
}

/* The number v in the type of `like`. */
static gopt_status number_like(gi_import *im, gi_raw *r, float v, gi_value *like, gi_value **out)
{
    gi_value *c = gi_const_f32(im->g, 0, 1, &v);
    GI_NEED(c);
    return EMIT(im, r, "CastLike", out, c, like);
}

static gopt_status dequantize(gi_import *im, gi_raw *r, gi_value *x, gi_value *scale, gi_value *zero, gi_value **out)
{
    return EMIT(im, r, "DequantizeLinear", out, x, scale, zero);
}

/* Channels from the last dimension to the second, or back. */
static gopt_status move_channels(gi_import *im, gi_raw *r, bool to_front, int rank, gi_value *v, gi_value **out)
{
    int64_t perm[GOPT_MAX_RANK] = { 0 };
    gi_raw_attrs order = { 0 };
    for (int i = 1; i < rank; i++)
        perm[i] = to_front ? (i == 1 ? rank - 1 : i - 1) : (i == rank - 1 ? 1 : i + 1);
    GI_TRY(add_ints(im, &order, "perm", (uint32_t)rank, perm));
    return EMIT_WITH(im, r, "Transpose", &order, out, v);
}

/* Rank of an image: of a value where it is known, else by the kernel's; 0 where it cannot be told. */
static int image_rank(gi_raw *r, const gi_value *v)
{
    const gi_raw_attr *kernel = gi_raw_attr_find(r, "kernel_shape");
    const int rank = rank_of(v) > 0 ? rank_of(v) : kernel && kernel->a.kind == GI_ATTR_INTS ? (int)kernel->a.n + 2 : 0;
    return rank >= 3 && rank <= GOPT_MAX_RANK ? rank : 0;
}

/* The operator, now of ai.onnx, between Transposes. */
static gopt_status channels_first(gi_import *im, gi_raw *r, const char *op, int rank)
{
    gi_value *y;
    GI_TRY(move_channels(im, r, true, rank, input(r, 0), &r->in.p[0]));
    GI_TRY(emit(im, r, op, r->name, &r->attrs, r->in.n, r->in.p, &y));
    GI_TRY(move_channels(im, r, false, rank, y, &y));
    return finish(im, r, y);
}

/* ---- the same under another name ---- */

static gopt_status same(gi_import *im, gi_raw *r)
{
    (void)im;
    return become(r, r->op);
}

static gopt_status transpose_matmul(gi_import *im, gi_raw *r)
{
    (void)im;
    r->op = "FusedMatMul";
    return GOPT_OK;
}

static gopt_status range(gi_import *im, gi_raw *r)
{
    gi_value *v;
    for (size_t i = 0; i < r->in.n; i++) {
        GI_TRY(one_element(im, r, 0, input(r, i), &v));
        r->in.p[i] = v;
    }
    if (!input(r, 2) && input(r, 0)) {
        GI_TRY(number_like(im, r, 1, input(r, 0), &v));
        GI_TRY(set_input(im, r, 2, v));
    }
    return become(r, "Range");
}

static gopt_status pad(gi_import *im, gi_raw *r)
{
    const int64_t flat = -1;
    if (rank_of(input(r, 1)) == 2) {
        gi_value *shape = gi_const_i64(im->g, 1, 1, &flat);
        GI_NEED(shape);
        GI_TRY(EMIT(im, r, "Reshape", &r->in.p[1], input(r, 1), shape));
    }
    if (input(r, 2))
        GI_TRY(one_element(im, r, 0, input(r, 2), &r->in.p[2]));
    return become(r, "Pad");
}

static gopt_status expand_dims(gi_import *im, gi_raw *r)
{
    gi_value *axes;
    GI_TRY(one_element(im, r, 1, input(r, 1), &axes));
    if (!axes)
        return GOPT_OK;
    GI_TRY(cast(im, r, axes, GOPT_I64, &r->in.p[1]));
    return become(r, "Unsqueeze");
}

/* In the order in which they occur, and without ONNX's second output. */
static gopt_status unique(gi_import *im, gi_raw *r)
{
    gi_raw_attrs attrs = { 0 };
    gi_value **v, *x = input(r, 0);
    GI_TRY(add_int(im, &attrs, "sorted", 0));
    GI_TRY(emit_all(im, r, "", "Unique", r->name, &attrs, 1, &x, 4, &v));
    r->done = GI_NEW_ARRAY(im->a, gi_value *, r->n_out + 1u);
    GI_NEED(r->done);
    for (uint32_t i = 0; i < r->n_out; i++)
        r->done[i] = v[i == 0 ? 0 : i == 1 ? 2 : 3];
    return GOPT_OK;
}

static gopt_status grid_sample(gi_import *im, gi_raw *r)
{
    if (has_str(r, "mode", "bilinear"))
        GI_TRY(set_str(im, r, "mode", "linear"));
    else if (has_str(r, "mode", "bicubic"))
        GI_TRY(set_str(im, r, "mode", "cubic"));
    return become(r, "GridSample");
}

static gopt_status conv_transpose(gi_import *im, gi_raw *r)
{
    const gi_blob *pads = gi_value_blob(input(r, 2));
    const int64_t n = pads ? gi_blob_elements(pads) : 0;
    int64_t v[2 * GOPT_MAX_RANK];
    if (input(r, 2) && (!pads || pads->dtype != GOPT_I64 || n > (int64_t)GI_COUNT(v)))
        return GOPT_OK;
    if (pads) {
        memcpy(v, pads->data, (size_t)n * sizeof *v);
        gi_raw_attr_drop(r, "pads");
        GI_TRY(add_ints(im, &r->attrs, "pads", (uint32_t)n, v));
    }
    if (r->in.n > 2)
        r->in.p[2] = input(r, 3);
    if (r->in.n > 3)
        r->in.n = 3;
    return become(r, "ConvTranspose");
}

/* ---- Fourier transforms of the last dimension ---- */

static gopt_status fourier(gi_import *im, gi_raw *r, bool inverse)
{
    const int64_t last = -1;
    gi_value *axis = gi_const_i64(im->g, 1, 1, &last), *y = input(r, 0);
    gi_raw_attrs attrs = { 0 };
    GI_NEED(axis);
    if (int_attr(r, "signal_ndim", 1) != 1 || int_attr(r, "onesided", 1) != 1 || int_attr(r, "normalized", 0) != 0)
        return GOPT_OK;
    GI_TRY(add_int(im, &attrs, "onesided", 1));
    GI_TRY(add_int(im, &attrs, "inverse", inverse));
    if (!inverse)
        GI_TRY(EMIT(im, r, "Unsqueeze", &y, y, axis));
    GI_TRY(EMIT_WITH(im, r, "DFT", &attrs, &y, y));
    if (inverse)
        GI_TRY(EMIT(im, r, "Squeeze", &y, y, axis));
    return finish(im, r, y);
}

static gopt_status rfft(gi_import *im, gi_raw *r)
{
    return fourier(im, r, false);
}

static gopt_status irfft(gi_import *im, gi_raw *r)
{
    return fourier(im, r, true);
}

/* ---- diffusion models ---- */

static gopt_status bias_add(gi_import *im, gi_raw *r)
{
    gi_value *y;
    GI_TRY(EMIT(im, r, "Add", &y, input(r, 0), input(r, 1)));
    GI_TRY(EMIT(im, r, "Add", &y, y, input(r, 2)));
    return finish(im, r, y);
}

static gopt_status bias_split_gelu(gi_import *im, gi_raw *r)
{
    gi_raw_attrs halves = { 0 };
    gi_value *y, **half;
    GI_TRY(add_int(im, &halves, "axis", -1));
    GI_TRY(add_int(im, &halves, "num_outputs", 2));
    GI_TRY(EMIT(im, r, "Add", &y, input(r, 0), input(r, 1)));
    GI_TRY(emit_all(im, r, "", "Split", NULL, &halves, 1, &y, 2, &half));
    GI_TRY(EMIT(im, r, "Gelu", &y, half[1]));
    GI_TRY(EMIT(im, r, "Mul", &y, half[0], y));
    return finish(im, r, y);
}

/* x normalized a group of channels at a time, in f32, whatever the type of x. */
static gopt_status normalize_groups(gi_import *im, gi_raw *r, gi_value *x, gi_value **out)
{
    const bool last = int_attr(r, "channels_last", 1) != 0;
    gi_raw_attrs attrs = { 0 };
    gi_value *y = x, *sigmoid;
    if (last)
        GI_TRY(move_channels(im, r, true, 4, y, &y));
    GI_TRY(cast(im, r, y, GOPT_F32, &y));
    GI_TRY(add_int(im, &attrs, "num_groups", int_attr(r, "groups", 0)));
    const gi_attr epsilon = { .kind = GI_ATTR_FLOAT, .name = "epsilon", .u.f = float_attr(r, "epsilon", 1e-5f) };
    GI_NEED(gi_push(im->a, &attrs, (gi_raw_attr){ .a = epsilon }));
    gi_value *in[] = { y, NULL, NULL };
    for (size_t i = 1; i < 3; i++)
        if (input(r, i))
            GI_TRY(cast(im, r, input(r, i), GOPT_F32, &in[i]));
    GI_TRY(emit(im, r, "GroupNormalization", r->name, &attrs, 3, in, &y));
    if (int_attr(r, "activation", 0)) {
        GI_TRY(EMIT(im, r, "Sigmoid", &sigmoid, y));
        GI_TRY(EMIT(im, r, "Mul", &y, y, sigmoid));
    }
    GI_TRY(EMIT(im, r, "CastLike", &y, y, x));
    if (last)
        GI_TRY(move_channels(im, r, false, 4, y, &y));
    *out = y;
    return GOPT_OK;
}

static gopt_status group_norm(gi_import *im, gi_raw *r)
{
    gi_value *y;
    GI_TRY(normalize_groups(im, r, input(r, 0), &y));
    return finish(im, r, y);
}

static gopt_status skip_group_norm(gi_import *im, gi_raw *r)
{
    const bool last = int_attr(r, "channels_last", 1) != 0;
    const int64_t planes[] = { last ? 1 : 2, last ? 2 : 3 };
    gi_value *sum, *y, *skip = input(r, 3);
    if (!last && input(r, 4))
        return GOPT_OK; /* where the bias lies is not said */
    if (rank_of(skip) == 2) {
        gi_value *axes = gi_const_i64(im->g, 1, 2, planes);
        GI_NEED(axes);
        GI_TRY(EMIT(im, r, "Unsqueeze", &skip, skip, axes));
    }
    GI_TRY(EMIT(im, r, "Add", &sum, input(r, 0), skip));
    if (input(r, 4))
        GI_TRY(EMIT(im, r, "Add", &sum, sum, input(r, 4)));
    GI_TRY(normalize_groups(im, r, sum, &y));
    GI_TRY(finish(im, r, y));
    if (r->n_out > 1)
        r->done[1] = sum;
    return GOPT_OK;
}

/* ---- quantized ---- */

static gopt_status qlinear_conv(gi_import *im, gi_raw *r)
{
    const int rank = image_rank(r, input(r, 3));
    const bool last = int_attr(r, "channels_last", 0) != 0;
    if (last && !rank)
        return GOPT_OK;
    gi_raw_attr_drop(r, "channels_last");
    return last ? channels_first(im, r, "QLinearConv", rank) : become(r, "QLinearConv");
}

static gopt_status nhwc_max_pool(gi_import *im, gi_raw *r)
{
    const int rank = image_rank(r, input(r, 0));
    return rank && input(r, 0) ? channels_first(im, r, "MaxPool", rank) : GOPT_OK;
}

static gopt_status transposed_if(gi_import *im, gi_raw *r, const char *attr, gi_value *v, gi_value **out)
{
    gi_raw_attrs order = { 0 };
    *out = v;
    if (!int_attr(r, attr, 0) || !v)
        return GOPT_OK;
    GI_TRY(add_ints(im, &order, "perm", 2, (const int64_t[]){ 1, 0 }));
    return EMIT_WITH(im, r, "Transpose", &order, out, v);
}

/* y = (a - za)(b - zb) + c in integers, times alpha and both scales, quantized again where there is a scale for it. */
static gopt_status qgemm(gi_import *im, gi_raw *r)
{
    const float alpha = float_attr(r, "alpha", 1);
    gi_value *a, *b, *y, *scale, *by;
    GI_TRY(transposed_if(im, r, "transA", input(r, 0), &a));
    GI_TRY(transposed_if(im, r, "transB", input(r, 3), &b));
    GI_TRY(EMIT(im, r, "MatMulInteger", &y, a, b, input(r, 2), input(r, 5)));
    if (input(r, 6))
        GI_TRY(EMIT(im, r, "Add", &y, y, input(r, 6)));
    GI_TRY(cast(im, r, y, GOPT_F32, &y));
    GI_TRY(EMIT(im, r, "Mul", &scale, input(r, 1), input(r, 4)));
    if (alpha != 1) {
        by = gi_const_f32(im->g, 0, 1, &alpha);
        GI_NEED(by);
        GI_TRY(EMIT(im, r, "Mul", &scale, scale, by));
    }
    GI_TRY(EMIT(im, r, "Mul", &y, y, scale));
    if (input(r, 7))
        GI_TRY(EMIT(im, r, "QuantizeLinear", &y, y, input(r, 7), input(r, 8)));
    return finish(im, r, y);
}

/* Before opset 13 all dimensions from the axis on were one. */
static gopt_status qlinear_softmax(gi_import *im, gi_raw *r)
{
    const bool old = int_attr(r, "opset", 13) < 13;
    const int64_t axis = int_attr(r, "axis", old ? 1 : -1);
    gi_raw_attrs at = { 0 }, from = { 0 };
    gi_value *x, *y, *shape;
    GI_TRY(dequantize(im, r, input(r, 0), input(r, 1), input(r, 2), &x));
    GI_TRY(add_int(im, &at, "axis", old ? -1 : axis));
    GI_TRY(add_int(im, &from, "axis", axis));
    y = x;
    if (old)
        GI_TRY(EMIT_WITH(im, r, "Flatten", &from, &y, x));
    GI_TRY(EMIT_WITH(im, r, "Softmax", &at, &y, y));
    if (old) {
        GI_TRY(EMIT(im, r, "Shape", &shape, x));
        GI_TRY(EMIT(im, r, "Reshape", &y, y, shape));
    }
    GI_TRY(EMIT(im, r, "QuantizeLinear", &y, y, input(r, 3), input(r, 4)));
    return finish(im, r, y);
}

static gopt_status qlinear_where(gi_import *im, gi_raw *r)
{
    gi_value *x, *y;
    GI_TRY(dequantize(im, r, input(r, 1), input(r, 2), input(r, 3), &x));
    GI_TRY(dequantize(im, r, input(r, 4), input(r, 5), input(r, 6), &y));
    GI_TRY(EMIT(im, r, "Where", &y, input(r, 0), x, y));
    GI_TRY(EMIT(im, r, "QuantizeLinear", &y, y, input(r, 7), input(r, 8)));
    return finish(im, r, y);
}

static gopt_status qattention(gi_import *im, gi_raw *r)
{
    gi_value *x, *w, *in[] = { NULL, NULL, input(r, 2), input(r, 5), input(r, 8) };
    GI_TRY(dequantize(im, r, input(r, 0), input(r, 3), input(r, 6), &x));
    GI_TRY(dequantize(im, r, input(r, 1), input(r, 4), input(r, 7), &w));
    r->in = (gi_values){ 0 };
    in[0] = x;
    in[1] = w;
    for (size_t i = 0; i < GI_COUNT(in); i++)
        GI_NEED(gi_push(im->a, &r->in, in[i]));
    r->op = "Attention";
    return GOPT_OK;
}

/* Tables, gamma and beta are inputs 2 to 6; their scales lie from 8 on, their zero points from 13 on. */
static gopt_status qembed_norm(gi_import *im, gi_raw *r)
{
    for (size_t i = 0; i < 5; i++)
        if (input(r, 2 + i))
            GI_TRY(dequantize(im, r, input(r, 2 + i), input(r, 8 + i), input(r, 13 + i), &r->in.p[2 + i]));
    if (r->in.n > 8)
        r->in.n = 8;
    r->op = "EmbedLayerNormalization";
    return GOPT_OK;
}

/* Weights [directions, in, 4·hidden] less zero points times scales, as LSTM has them, [directions, 4·hidden, in]. The
 * scales are one a direction, or one a column. */
static gopt_status lstm_weights(gi_import *im, gi_raw *r, gi_value *w, gi_value *scale, gi_value *zero, gi_value **out)
{
    const int64_t axes[] = { 1, 2 };
    gi_raw_attrs order = { 0 };
    gi_value *which = gi_const_i64(im->g, 1, rank_of(scale) == 2 ? 1 : 2, axes);
    gi_value *z_which = gi_const_i64(im->g, 1, rank_of(zero) == 2 ? 1 : 2, axes), *y;
    GI_NEED(which && z_which);
    GI_TRY(cast(im, r, w, GOPT_F32, &y));
    GI_TRY(cast(im, r, zero, GOPT_F32, &zero));
    GI_TRY(EMIT(im, r, "Unsqueeze", &zero, zero, z_which));
    GI_TRY(EMIT(im, r, "Unsqueeze", &scale, scale, which));
    GI_TRY(EMIT(im, r, "Sub", &y, y, zero));
    GI_TRY(EMIT(im, r, "Mul", &y, y, scale));
    GI_TRY(add_ints(im, &order, "perm", 3, (const int64_t[]){ 0, 2, 1 }));
    return EMIT_WITH(im, r, "Transpose", &order, out, y);
}

/* With activations as they are, which ONNX Runtime rounds to 8 bits in each step. */
static gopt_status dynamic_lstm(gi_import *im, gi_raw *r)
{
    if (!input(r, 1) || !input(r, 2) || !input(r, 11))
        return GOPT_OK;
    GI_TRY(lstm_weights(im, r, input(r, 1), input(r, 8), input(r, 9), &r->in.p[1]));
    GI_TRY(lstm_weights(im, r, input(r, 2), input(r, 10), input(r, 11), &r->in.p[2]));
    r->in.n = 8;
    return become(r, "LSTM");
}

/* ---- */

typedef struct row {
    const char *op;
    contrib_fn fn;
} row;

static const row rows[] = {
    { "BiasAdd", bias_add },
    { "BiasSplitGelu", bias_split_gelu },
    { "ConvTransposeWithDynamicPads", conv_transpose },
    { "DequantizeLinear", same },
    { "DynamicQuantizeLSTM", dynamic_lstm },
    { "ExpandDims", expand_dims },
    { "GatherND", same },
    { "GridSample", grid_sample },
    { "GroupNorm", group_norm },
    { "Irfft", irfft },
    { "NhwcMaxPool", nhwc_max_pool },
    { "Pad", pad },
    { "QAttention", qattention },
    { "QEmbedLayerNormalization", qembed_norm },
    { "QGemm", qgemm },
    { "QLinearConv", qlinear_conv },
    { "QLinearSoftmax", qlinear_softmax },
    { "QLinearWhere", qlinear_where },
    { "QuantizeLinear", same },
    { "Range", range },
    { "Rfft", rfft },
    { "SkipGroupNorm", skip_group_norm },
    { "TransposeMatMul", transpose_matmul },
    { "Trilu", same },
    { "Unique", unique },
};

gopt_status gi_contrib_import(gi_import *im, gi_raw *r)
{
    for (size_t i = 0; i < GI_COUNT(rows); i++) {
        if (strcmp(rows[i].op, r->op) != 0)
            continue;
        if (!r->in.n || !r->in.p[0])
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "it has no first input");
        GI_TRY(rows[i].fn(im, r));
        GI_NEED(gi_smap_put(&im->domains, r->done ? "" : r->domain, im));
        return GOPT_OK;
    }
    return GOPT_OK;
}
