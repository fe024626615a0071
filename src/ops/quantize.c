/* Quantization: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, QLinearMatMul, QLinearConv. */
#include <math.h>

#include "ops/conv.h"
#include "ops/matmul.h"

/* ---- which scale belongs to which element ---- */

/* x seen as [outer, axis, inner]. Element (o, k, i) has the scale at o·step_outer + k/block·step_axis + i·step_inner. */
typedef struct grain {
    int64_t outer, size, inner, block;
    int64_t step_outer, step_axis, step_inner;
} grain;

static gopt_status infer_grain(gi_infer *c, int at_axis, int at_block)
{
    int axis;
    const int rank = gi_infer_rank(c, 0), scales = gi_infer_rank(c, 1);
    const int64_t block = gi_attr_int(c->n, at_block);
    int64_t size, blocks;
    if (block < 0)
        return gi_infer_fail_node(c, "attribute block_size is %lld, expected 0 or more", (long long)block);
    if (rank < 0 || scales < 0)
        return GOPT_OK;
    if (block > 0) {
        GI_TRY(gi_infer_want_rank(c, 1, rank));
        if (!gi_axis(gi_attr_int(c->n, at_axis), rank, &axis))
            return gi_infer_fail_node(c, "attribute axis lies outside the input's rank %d", rank);
        for (int i = 0; i < rank; i++)
            if (i != axis)
                GI_TRY(gi_infer_want_dim(c, 1, i, gi_infer_dim(c, 0, i), "that of the input"));
        if (gi_dim_is_const(gi_infer_dim(c, 0, axis), &size) && gi_dim_is_const(gi_infer_dim(c, 1, axis), &blocks) &&
            size / block + (size % block != 0) != blocks)
            return gi_infer_fail(c, 1, "expected %lld blocks of %lld along axis %d",
                                 (long long)(size / block + (size % block != 0)), (long long)block, axis);
        return GOPT_OK;
    }
    if (scales > 1)
        return gi_infer_fail(c, 1, "expected one scale or a vector of them");
    if (scales == 0 || gi_dim_is(gi_infer_dim(c, 1, 0), 1))
        return GOPT_OK;
    if (rank > 0 && !gi_axis(gi_attr_int(c->n, at_axis), rank, &axis))
        return gi_infer_fail_node(c, "attribute axis lies outside the input's rank %d", rank);
    return rank ? gi_infer_want_dim(c, 1, 0, gi_infer_dim(c, 0, axis), "one scale a place of the axis") : GOPT_OK;
}

static gopt_status grain_of(const gi_eval *a, int at_axis, int at_block, grain *g)
{
    const gopt_tensor *x = a->in[0], *s = a->n_in > 1 ? a->in[1] : NULL;
    const gopt_tensor *z = a->n_in > 2 ? a->in[2] : NULL;
    const int64_t block = gi_attr_int(a->n, at_block);
    int axis = 0;
    if (!s)
        return gi_eval_fail(a, 1, "is missing");
    const int64_t scales = gopt_tensor_elements(s);
    *g = (grain){ .outer = 1, .size = 1, .inner = gopt_tensor_elements(x), .block = 1 };
    if (z && gopt_tensor_elements(z) != scales)
        return gi_eval_fail(a, 2, "has %lld elements, expected %lld as there are scales",
                            (long long)gopt_tensor_elements(z), (long long)scales);
    if (block <= 0 && scales == 1)
        return GOPT_OK;
    if (x->rank == 0 || !gi_axis(gi_attr_int(a->n, at_axis), x->rank, &axis))
        return gi_eval_fail(a, 0, "has rank %d, attribute axis is %lld", x->rank,
                            (long long)gi_attr_int(a->n, at_axis));
    g->outer = gi_product(0, axis, x->dims);
    g->size = x->dims[axis];
    g->inner = gi_product(axis + 1, x->rank, x->dims);
    if (block <= 0) {
        if (s->rank != 1 || scales != g->size)
            return gi_eval_fail(a, 1, "has %lld elements, expected 1 or %lld", (long long)scales, (long long)g->size);
        g->step_axis = 1;
        return GOPT_OK;
    }
    GI_TRY(gi_eval_rank(a, 1, x->rank));
    for (int i = 0; i < x->rank; i++)
        GI_TRY(gi_eval_dim(a, 1, i, i == axis ? g->size / block + (g->size % block != 0) : x->dims[i]));
    g->block = block;
    g->step_inner = 1;
    g->step_axis = g->inner;
    g->step_outer = s->dims[axis] * g->inner;
    return GOPT_OK;
}

/* ---- QuantizeLinear ---- */

static void store_quantized(gopt_dtype t, void *y, size_t i, float x, float scale, double zero, bool saturate)
{
    const float q = x / scale;
    if (gi_dtype_is_int(t)) {
        const double v = rint((double)q) + zero;
        const int bits = gopt_dtype_bits(t);
        const bool sign = gi_dtype_class(t) == GI_SINT;
        const double low = sign ? -ldexp(1, bits - 1) : 0, high = ldexp(1, sign ? bits - 1 : bits) - 1;
        gi_store_i64(t, y, i, v != v ? 0 : (int64_t)(v < low ? low : v > high ? high : v));
    } else if (saturate || t == GOPT_F4E2M1) {
        gi_store_f64(t, y, i, (double)q + zero);
    } else {
        gi_store_unsaturated(t, y, i, (double)q + zero);
    }
}

/* The type in which x is divided by its scale: what the attribute says, else the scale's. */
static gopt_dtype division_dtype(const gi_node *n, gopt_dtype scale)
{
    const int64_t asked = gi_attr_int(n, QuantizeLinear_at_precision);
    return asked > 0 && asked < GOPT_DTYPE_COUNT ? (gopt_dtype)asked : scale;
}

static float rounded_to(gopt_dtype t, float x)
{
    return t == GOPT_F16 ? gi_f16_to_f32(gi_f32_to_f16(x)) : t == GOPT_BF16 ? gi_bf16_to_f32(gi_f32_to_bf16(x)) : x;
}

/* x / scale in that type: of narrow floats, the quotient in f32 rounded once more is theirs. */
static float divided(gopt_dtype t, float x, float scale)
{
    return rounded_to(t, rounded_to(t, x) / rounded_to(t, scale));
}

static gopt_dtype quantized_dtype(int64_t attr, gopt_dtype zero_point, bool has_zero_point)
{
    if (has_zero_point)
        return zero_point;
    return attr > 0 && attr < GOPT_DTYPE_COUNT ? (gopt_dtype)attr : GOPT_U8;
}

static bool is_quantized(gopt_dtype t)
{
    return (gi_dtype_is_int(t) && gopt_dtype_bits(t) <= 16) || (gi_dtype_is_float(t) && gopt_dtype_bits(t) <= 8);
}

static gopt_status infer_quantize(gi_infer *c)
{
    const gi_type *x = gi_infer_type(c, QuantizeLinear_in_x);
    const int64_t asked = gi_attr_int(c->n, QuantizeLinear_at_output_dtype);
    const bool given = gi_infer_has(c, QuantizeLinear_in_y_zero_point);
    const gopt_dtype zero = gi_infer_dtype(c, QuantizeLinear_in_y_zero_point), t = quantized_dtype(asked, zero, given);
    if (t != GOPT_UNDEFINED && !is_quantized(t))
        return gi_infer_fail_node(c, "it gives %s, expected an integer of 16 bits or less, or a float of 8 or less",
                                  gopt_dtype_name(t));
    const int64_t precision = gi_attr_int(c->n, QuantizeLinear_at_precision);
    if (precision != 0 && precision != GOPT_F32 && precision != GOPT_F16 && precision != GOPT_BF16 &&
        precision != GOPT_F64)
        return gi_infer_fail_node(c, "attribute precision is %lld, which is no type of floats", (long long)precision);
    if (given && asked && zero != GOPT_UNDEFINED && (int64_t)zero != asked)
        return gi_infer_fail(c, QuantizeLinear_in_y_zero_point, "expected the dtype of attribute output_dtype");
    GI_TRY(infer_grain(c, QuantizeLinear_at_axis, QuantizeLinear_at_block_size));
    gi_infer_set(c, 0, t, x ? x->rank : -1, x && x->rank >= 0 ? x->dims : NULL);
    return GOPT_OK;
}

/* f32 to 8 bits with one scale a row, the usual case, in a loop that vectorizes. */
static void quantize_row_8(int64_t n, const float *x, float scale, float zero, float low, float high, bool sign,
                           void *y)
{
    int8_t *s = y;
    uint8_t *u = y;
    for (int64_t i = 0; i < n; i++) {
        float v = rintf(x[i] / scale) + zero;
        v = v > low ? v : low; /* also what a NaN becomes */
        v = v < high ? v : high;
        if (sign)
            s[i] = (int8_t)v;
        else
            u[i] = (uint8_t)v;
    }
}

static gopt_status eval_quantize(gi_eval *a)
{
    const gopt_tensor *x = a->in[0], *z = a->n_in > 2 ? a->in[2] : NULL;
    grain g;
    const float *from, *scale;
    gopt_tensor *y;
    if (!x)
        return gi_eval_fail(a, 0, "is missing");
    GI_TRY(grain_of(a, QuantizeLinear_at_axis, QuantizeLinear_at_block_size, &g));
    const gopt_dtype t =
        quantized_dtype(gi_attr_int(a->n, QuantizeLinear_at_output_dtype), z ? z->dtype : GOPT_UNDEFINED, z != NULL);
    if (!is_quantized(t))
        return gi_eval_fail(a, z ? 2 : -1, "asks for %s, expected a quantized dtype", gopt_dtype_name(t));
    GI_TRY(gi_real_in(a, 0, GOPT_F32, (const void **)&from));
    GI_TRY(gi_real_in(a, 1, GOPT_F32, (const void **)&scale));
    GI_TRY(gi_eval_out(a, 0, t, x->rank, x->dims, &y));
    if (!y)
        return GOPT_OK;
    const bool saturate = gi_attr_int(a->n, QuantizeLinear_at_saturate) != 0;
    const gopt_dtype within = division_dtype(a->n, a->in[1]->dtype);
    const bool sign = gi_dtype_class(t) == GI_SINT, narrow = within == GOPT_F16 || within == GOPT_BF16;
    const bool fast = (t == GOPT_I8 || t == GOPT_U8) && g.step_inner == 0 && !narrow;
    for (int64_t row = 0; row < g.outer * g.size; row++) {
        const int64_t is = row / g.size * g.step_outer + row % g.size / g.block * g.step_axis, at = row * g.inner;
        if (fast) {
            quantize_row_8(g.inner, from + at, scale[is], z ? (float)gi_tensor_i64(z, is) : 0, sign ? -128 : 0,
                           sign ? 127 : 255, sign, (uint8_t *)y->data + at);
            continue;
        }
        for (int64_t i = 0; i < g.inner; i++) {
            const int64_t k = is + i * g.step_inner;
            store_quantized(t, y->data, (size_t)(at + i), divided(within, from[at + i], scale[k]), 1,
                            z ? gi_tensor_f64(z, k) : 0, saturate);
        }
    }
    return GOPT_OK;
}

/* ---- DequantizeLinear ---- */

static gopt_dtype dequantized_dtype(int64_t attr, gopt_dtype scale)
{
    return attr > 0 && attr < GOPT_DTYPE_COUNT ? (gopt_dtype)attr : scale;
}

static gopt_status infer_dequantize(gi_infer *c)
{
    const gi_type *x = gi_infer_type(c, DequantizeLinear_in_x);
    const gopt_dtype t = dequantized_dtype(gi_attr_int(c->n, DequantizeLinear_at_output_dtype),
                                           gi_infer_dtype(c, DequantizeLinear_in_x_scale));
    if (t != GOPT_UNDEFINED && !(gi_dtype_is_float(t) && gopt_dtype_bits(t) >= 16))
        return gi_infer_fail_node(c, "it gives %s, expected f32, f16 or bf16", gopt_dtype_name(t));
    if (gi_infer_has(c, DequantizeLinear_in_x_zero_point))
        GI_TRY(gi_infer_want_dtype(c, DequantizeLinear_in_x_zero_point, DequantizeLinear_in_x));
    GI_TRY(infer_grain(c, DequantizeLinear_at_axis, DequantizeLinear_at_block_size));
    gi_infer_set(c, 0, t, x ? x->rank : -1, x && x->rank >= 0 ? x->dims : NULL);
    return GOPT_OK;
}

static void dequantize_row(gopt_dtype t, const void *x, int64_t at, int64_t n, float zero, float scale, float *y)
{
    const int8_t *s = (const int8_t *)x + at;
    const uint8_t *u = (const uint8_t *)x + at;
    if (t == GOPT_I8)
        for (int64_t i = 0; i < n; i++)
            y[i] = ((float)s[i] - zero) * scale;
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = ((float)u[i] - zero) * scale;
}

static gopt_status eval_dequantize(gi_eval *a)
{
    const gopt_tensor *x = a->in[0], *z = a->n_in > 2 ? a->in[2] : NULL;
    grain g;
    const float *scale;
    gi_real out;
    if (!x)
        return gi_eval_fail(a, 0, "is missing");
    GI_TRY(grain_of(a, DequantizeLinear_at_axis, DequantizeLinear_at_block_size, &g));
    GI_TRY(gi_real_in(a, 1, GOPT_F32, (const void **)&scale));
    const gopt_dtype t = dequantized_dtype(gi_attr_int(a->n, DequantizeLinear_at_output_dtype), a->in[1]->dtype);
    if (!gi_dtype_is_float(t) || gopt_dtype_bits(t) < 16)
        return gi_eval_fail(a, 1, "asks for %s, expected f32, f16 or bf16", gopt_dtype_name(t));
    if (gi_dtype_class(x->dtype) == GI_TEXT || gi_dtype_class(x->dtype) == GI_COMPLEX || (z && z->dtype != x->dtype))
        return gi_eval_fail(a, z ? 2 : 0, "expected quantized numbers, and a zero point of the same dtype");
    GI_TRY(gi_real_out_as(a, 0, t, GOPT_F32, x->rank, x->dims, &out));
    float *y = out.p;
    const bool fast = (x->dtype == GOPT_I8 || x->dtype == GOPT_U8) && g.step_inner == 0;
    for (int64_t row = 0; y && row < g.outer * g.size; row++) {
        const int64_t is = row / g.size * g.step_outer + row % g.size / g.block * g.step_axis, at = row * g.inner;
        if (fast) {
            dequantize_row(x->dtype, x->data, at, g.inner, z ? (float)gi_tensor_i64(z, is) : 0, scale[is], y + at);
            continue;
        }
        for (int64_t i = 0; i < g.inner; i++) {
            const int64_t k = is + i * g.step_inner;
            y[at + i] = (float)(gi_tensor_f64(x, at + i) - (z ? gi_tensor_f64(z, k) : 0)) * scale[k];
        }
    }
    gi_real_store(&out);
    return GOPT_OK;
}

/* ---- DynamicQuantizeLinear ---- */

static gopt_status infer_dynamic_quantize(gi_infer *c)
{
    const gi_type *x = gi_infer_type(c, 0);
    gi_infer_set(c, DynamicQuantizeLinear_out_y, GOPT_U8, x ? x->rank : -1, x && x->rank >= 0 ? x->dims : NULL);
    if (c->n->n_out > DynamicQuantizeLinear_out_y_scale)
        gi_infer_set(c, DynamicQuantizeLinear_out_y_scale, GOPT_F32, 0, NULL);
    if (c->n->n_out > DynamicQuantizeLinear_out_y_zero_point)
        gi_infer_set(c, DynamicQuantizeLinear_out_y_zero_point, GOPT_U8, 0, NULL);
    return GOPT_OK;
}

static gopt_status eval_dynamic_quantize(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const float *p;
    float low = 0, high = 0;
    gopt_tensor *y, *s = NULL, *z = NULL;
    if (!x)
        return gi_eval_fail(a, 0, "is missing");
    GI_TRY(gi_real_in(a, 0, GOPT_F32, (const void **)&p));
    const int64_t n = gopt_tensor_elements(x);
    for (int64_t i = 0; i < n; i++) {
        low = p[i] < low ? p[i] : low;
        high = p[i] > high ? p[i] : high;
    }
    /* All zero: any scale will do. */
    const float scale = high == low ? 1 : (high - low) / 255, exact = rintf(0 - low / scale);
    const float zero = exact < 0 ? 0 : exact > 255 ? 255 : exact;
    GI_TRY(gi_eval_out(a, DynamicQuantizeLinear_out_y, GOPT_U8, x->rank, x->dims, &y));
    if (a->n_out > DynamicQuantizeLinear_out_y_scale)
        GI_TRY(gi_eval_out(a, DynamicQuantizeLinear_out_y_scale, GOPT_F32, 0, NULL, &s));
    if (a->n_out > DynamicQuantizeLinear_out_y_zero_point)
        GI_TRY(gi_eval_out(a, DynamicQuantizeLinear_out_y_zero_point, GOPT_U8, 0, NULL, &z));
    if (y)
        quantize_row_8(n, p, scale, zero, 0, 255, false, y->data);
    if (s)
        *(float *)s->data = scale;
    if (z)
        *(uint8_t *)z->data = (uint8_t)zero;
    return GOPT_OK;
}

/* ---- QLinearMatMul, QLinearConv ---- */

/* The number for `line` of `lines` in a scale or zero point: the only one, or one a line. */
static double line_value(const gopt_tensor *t, int64_t line, int64_t lines)
{
    const int64_t n = gopt_tensor_elements(t);
    return gi_tensor_f64(t, n == 1 ? 0 : n == lines ? line % lines : line % n);
}

/* Scales and zero points `first` … must be given and hold numbers. */
static gopt_status check_scales(const gi_eval *a, const uint32_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const gopt_tensor *t = in[i] < a->n_in ? a->in[in[i]] : NULL;
        if (!t || gopt_tensor_elements(t) < 1 || (!gi_dtype_is_float(t->dtype) && !gi_dtype_is_int(t->dtype)))
            return gi_eval_fail(a, (int)in[i], "expected one number or more");
    }
    return GOPT_OK;
}

static gopt_status infer_qlinear_matmul(gi_infer *c)
{
    return gi_infer_matmul_shape(c, QLinearMatMul_in_a, QLinearMatMul_in_b,
                                 gi_infer_dtype(c, QLinearMatMul_in_y_zero_point));
}

/* The products before they are quantized again: of integers exactly, of float8 in f32. */
static gopt_status quantized_products(gi_eval *a, const gi_matmul_plan *p, double *sum)
{
    const bool floats = gi_dtype_is_float(a->in[QLinearMatMul_in_a]->dtype);
    const int64_t n = gi_product(0, p->rank, p->dims);
    const void *x, *w;
    void *words = gi_eval_scratch(a, (size_t)n + 1, sizeof(uint32_t));
    GI_NEED(words);
    if (floats) {
        GI_TRY(gi_real_in(a, QLinearMatMul_in_a, GOPT_F32, &x));
        GI_TRY(gi_real_in(a, QLinearMatMul_in_b, GOPT_F32, &w));
    } else {
        GI_TRY(gi_less_zero_point(a, QLinearMatMul_in_a, QLinearMatMul_in_a_zero_point, true, (const uint32_t **)&x));
        GI_TRY(gi_less_zero_point(a, QLinearMatMul_in_b, QLinearMatMul_in_b_zero_point, false, (const uint32_t **)&w));
    }
    gi_matmul_run(p, floats ? GI_WORD_F32 : GI_WORD_U32, x, w, words);
    for (int64_t i = 0; i < n; i++)
        sum[i] = floats ? (double)((const float *)words)[i] : (double)((const int32_t *)words)[i];
    return GOPT_OK;
}

static gopt_status eval_qlinear_matmul(gi_eval *a)
{
    static const uint32_t scales[] = { QLinearMatMul_in_a_scale, QLinearMatMul_in_a_zero_point,
                                       QLinearMatMul_in_b_scale, QLinearMatMul_in_b_zero_point,
                                       QLinearMatMul_in_y_scale, QLinearMatMul_in_y_zero_point };
    gi_matmul_plan p;
    gopt_tensor *y;
    GI_TRY(check_scales(a, scales, GI_COUNT(scales)));
    GI_TRY(gi_matmul_plan_of(a, QLinearMatMul_in_a, QLinearMatMul_in_b, &p));
    const gopt_dtype t = a->in[QLinearMatMul_in_y_zero_point]->dtype;
    if (!is_quantized(t))
        return gi_eval_fail(a, QLinearMatMul_in_y_zero_point, "is %s, expected 8 bits", gopt_dtype_name(t));
    GI_TRY(gi_eval_out(a, 0, t, p.rank, p.dims, &y));
    if (!y)
        return GOPT_OK;
    const int64_t n = gopt_tensor_elements(y);
    double *sum = gi_eval_scratch(a, (size_t)n + 1, sizeof *sum);
    GI_NEED(sum);
    GI_TRY(quantized_products(a, &p, sum));
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = i / p.n, col = i % p.n + row / p.m * p.n;
        const double scale = line_value(a->in[QLinearMatMul_in_a_scale], row, p.m) *
                             line_value(a->in[QLinearMatMul_in_b_scale], col, p.n) /
                             line_value(a->in[QLinearMatMul_in_y_scale], row, p.m);
        store_quantized(t, y->data, (size_t)i, (float)(sum[i] * scale), 1,
                        line_value(a->in[QLinearMatMul_in_y_zero_point], row, p.m), true);
    }
    return GOPT_OK;
}

static gopt_status infer_qlinear_conv(gi_infer *c)
{
    return gi_infer_conv_shape(c, QLinearConv_in_x, QLinearConv_in_w, QLinearConv_in_B,
                               gi_infer_dtype(c, QLinearConv_in_y_zero_point));
}

static gopt_status eval_qlinear_conv(gi_eval *a)
{
    static const uint32_t scales[] = { QLinearConv_in_x_scale, QLinearConv_in_x_zero_point,
                                       QLinearConv_in_w_scale, QLinearConv_in_w_zero_point,
                                       QLinearConv_in_y_scale, QLinearConv_in_y_zero_point };
    conv_shape s;
    int64_t dims[GOPT_MAX_RANK];
    const uint32_t *x, *w;
    gopt_tensor *y;
    GI_TRY(check_scales(a, scales, GI_COUNT(scales)));
    GI_TRY(gi_conv_shape_of(a, QLinearConv_in_x, QLinearConv_in_w, QLinearConv_in_B, &s));
    const gopt_tensor *ws = a->in[QLinearConv_in_w_scale], *zp = a->in[QLinearConv_in_y_zero_point],
                      *b = a->n_in > QLinearConv_in_B ? a->in[QLinearConv_in_B] : NULL;
    if (gopt_tensor_elements(ws) != 1 && gopt_tensor_elements(ws) != s.filters)
        return gi_eval_fail(a, QLinearConv_in_w_scale, "expected one number, or one a filter");
    if (gopt_tensor_elements(a->in[QLinearConv_in_x_zero_point]) != 1)
        return gi_eval_fail(a, QLinearConv_in_x_zero_point, "expected one number");
    if ((zp->dtype != GOPT_I8 && zp->dtype != GOPT_U8) || (b && b->dtype != GOPT_I32))
        return gi_eval_fail(a, b ? QLinearConv_in_B : QLinearConv_in_y_zero_point,
                            "expected an 8-bit zero point and a bias of i32");
    GI_TRY(gi_less_zero_point(a, QLinearConv_in_x, QLinearConv_in_x_zero_point, true, &x));
    GI_TRY(gi_filters_less_zero_point(a, QLinearConv_in_w, QLinearConv_in_w_zero_point, &w));
    gi_conv_dims(&s, dims);
    GI_TRY(gi_eval_out(a, 0, zp->dtype, s.window.n + 2, dims, &y));
    const int64_t n = gi_product(0, s.window.n + 2, dims), plane = gi_product(0, s.window.n, s.window.out);
    uint32_t *sum = gi_eval_scratch(a, (size_t)n + 1, sizeof *sum);
    GI_NEED(sum);
    if (!y || n == 0)
        return GOPT_OK;
    gi_conv_u32(&s, x, w, sum);
    const double to = gi_tensor_f64(a->in[QLinearConv_in_x_scale], 0) / gi_tensor_f64(a->in[QLinearConv_in_y_scale], 0);
    const double zero = gi_tensor_f64(zp, 0);
    for (int64_t i = 0; i < n; i++) {
        const int64_t f = i / plane % s.filters;
        const uint32_t total = sum[i] + (b ? (uint32_t)gi_tensor_i64(b, f) : 0);
        store_quantized(zp->dtype, y->data, (size_t)i,
                        (float)((double)(int32_t)total * line_value(ws, f, s.filters) * to), 1, zero, true);
    }
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/quantize.def"
