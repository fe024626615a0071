/* The newest forms brought back to the opset asked for, and what that opset must be at least.
 *
 * Each row can say whether a node has an older form; where it has none, the opset is raised to the one that
 * brought the newer. */
#include "onnx/export.h"

#include <stdio.h>

/* ---- attributes that came later: left out where they say the default ---- */

static const struct {
    const char *op, *attr;
    int since;
} later[] = {
    { "ArgMax", "select_last_index", 12 },
    { "ArgMin", "select_last_index", 12 },
    { "AveragePool", "ceil_mode", 10 },
    { "AveragePool", "dilations", 19 },
    { "BatchNormalization", "training_mode", 14 },
    { "Cast", "saturate", 19 },
    { "Cast", "round_mode", 24 },
    { "CastLike", "saturate", 19 },
    { "CastLike", "round_mode", 24 },
    { "DepthToSpace", "mode", 11 },
    { "DequantizeLinear", "axis", 13 },
    { "DequantizeLinear", "block_size", 21 },
    { "DequantizeLinear", "output_dtype", 23 },
    { "Dropout", "seed", 12 },
    { "GRU", "layout", 14 },
    { "GatherND", "batch_dims", 12 },
    { "GroupNormalization", "stash_type", 21 },
    { "LSTM", "layout", 14 },
    { "LpPool", "ceil_mode", 18 },
    { "LpPool", "dilations", 18 },
    { "MaxPool", "ceil_mode", 10 },
    { "MaxPool", "dilations", 10 },
    { "MaxPool", "storage_order", 8 },
    { "QuantizeLinear", "axis", 13 },
    { "QuantizeLinear", "block_size", 21 },
    { "QuantizeLinear", "output_dtype", 21 },
    { "QuantizeLinear", "precision", 23 },
    { "QuantizeLinear", "saturate", 19 },
    { "RNN", "layout", 14 },
    { "Range", "stash_type", 27 },
    { "Reshape", "allowzero", 14 },
    { "Resize", "antialias", 18 },
    { "Resize", "axes", 18 },
    { "Resize", "keep_aspect_ratio_policy", 18 },
    { "ScatterElements", "reduction", 16 },
    { "ScatterND", "reduction", 16 },
    { "Shape", "end", 15 },
    { "Shape", "start", 15 },
    { "TopK", "largest", 11 },
    { "TopK", "sorted", 11 },
};

/* ---- helpers ---- */

static gi_attr *find(gi_xnode *n, const char *name)
{
    for (size_t i = 0; i < n->attrs.n; i++)
        if (n->attrs.p[i].a.kind != GI_ATTR_NONE && !strcmp(n->attrs.p[i].a.name, name))
            return &n->attrs.p[i].a;
    return NULL;
}

static void drop(gi_xnode *n, const char *name)
{
    gi_attr *a = find(n, name);
    if (a)
        a->kind = GI_ATTR_NONE;
}

static bool add(gi_export *x, gi_xnode *n, gi_attr a)
{
    drop(n, a.name);
    return gi_push(x->a, &n->attrs, (gi_xattr){ .a = a });
}

static int64_t int_of(gi_xnode *n, const char *name, int64_t otherwise)
{
    const gi_attr *a = find(n, name);
    return a && a->kind == GI_ATTR_INT ? a->u.i : otherwise;
}

static bool is_str(gi_xnode *n, const char *name, const char *value, const char *otherwise)
{
    const gi_attr *a = find(n, name);
    return !strcmp(a && a->kind == GI_ATTR_STRING ? a->u.s : otherwise, value);
}

static gi_value *in(const gi_xnode *n, size_t i)
{
    return i < n->in.n ? n->in.p[i] : NULL;
}

static void drop_in(gi_xnode *n, size_t i)
{
    if (i < n->in.n)
        n->in.p[i] = NULL;
    while (n->in.n && !n->in.p[n->in.n - 1])
        n->in.n--;
}

static int rank_of(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type->rank : -1;
}

/* Contents of a constant integer input of rank 0 or 1. */
static bool ints_of(gi_export *x, const gi_xnode *n, size_t i, uint32_t *count, int64_t **v)
{
    const gi_blob *b = gi_value_blob(in(n, i));
    if (!b || b->rank > 1 || (b->dtype != GOPT_I64 && b->dtype != GOPT_I32))
        return false;
    *count = (uint32_t)gi_blob_elements(b);
    *v = GI_NEW_ARRAY(x->a, int64_t, *count + 1);
    for (uint32_t k = 0; *v && k < *count; k++)
        (*v)[k] = gi_load_i64(b->dtype, b->data, k);
    return *v != NULL;
}

static bool float_of(const gi_xnode *n, size_t i, float *v)
{
    const gi_blob *b = gi_value_blob(in(n, i));
    if (!b || gi_blob_elements(b) != 1 || gi_dtype_class(b->dtype) != GI_FLOAT)
        return false;
    *v = (float)gi_load_f64(b->dtype, b->data, 0);
    return true;
}

/* Input i becomes a list attribute. True where it is absent too. */
static bool ints_to_attr(gi_export *x, gi_xnode *n, size_t i, const char *name, bool apply)
{
    uint32_t count;
    int64_t *v;
    if (!in(n, i))
        return true;
    if (!ints_of(x, n, i, &count, &v))
        return false;
    if (!apply)
        return true;
    drop_in(n, i);
    return add(x, n, (gi_attr){ .kind = GI_ATTR_INTS, .name = name, .n = count, .u.ints = v });
}

static bool float_to_attr(gi_export *x, gi_xnode *n, size_t i, const char *name, bool apply)
{
    float v;
    if (!in(n, i))
        return true;
    if (!float_of(n, i, &v))
        return false;
    if (!apply)
        return true;
    drop_in(n, i);
    return add(x, n, (gi_attr){ .kind = GI_ATTR_FLOAT, .name = name, .u.f = v });
}

/* ---- one row a change: true where the node has an older form; changes it where `apply` ---- */

typedef bool (*down_fn)(gi_export *x, gi_xnode *n, bool apply);

static bool never(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)n, (void)apply;
    return false;
}

/* Numbers of keys that are no padding came with opset 24. */
static bool attention_23(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return !in(n, Attention_in_nonpad_kv_seqlen);
}

static bool axes_attr(gi_export *x, gi_xnode *n, bool apply)
{
    return ints_to_attr(x, n, 1, "axes", apply);
}

static bool reduce_axes(gi_export *x, gi_xnode *n, bool apply)
{
    const gi_blob *axes = gi_value_blob(in(n, 1));
    const bool none = !in(n, 1) || (axes && gi_blob_elements(axes) == 0);
    if (none && int_of(n, "noop_with_empty_axes", 0) != 0)
        return false;
    if (!apply)
        return none || ints_to_attr(x, n, 1, "axes", false);
    drop(n, "noop_with_empty_axes");
    if (none)
        drop_in(n, 1);
    return none || ints_to_attr(x, n, 1, "axes", true);
}

/* Equal parts need no count before opset 18; an uneven last one cannot be said. */
static bool split_count(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x;
    const int rank = rank_of(in(n, 0));
    int64_t axis = int_of(n, "axis", 0), size;
    const int64_t parts = int_of(n, "num_outputs", (int64_t)n->out.n);
    axis += axis < 0 ? rank : 0;
    const bool known = rank > 0 && axis >= 0 && axis < rank && gi_type_dim_const(in(n, 0)->type, (int)axis, &size);
    const bool was_older = n->n && n->n->opset > 0 && n->n->opset < 18;
    if (!in(n, 1) && parts > 0 && !(known ? size % parts == 0 : was_older))
        return false;
    if (apply)
        drop(n, "num_outputs");
    return true;
}

static bool split_attr(gi_export *x, gi_xnode *n, bool apply)
{
    return ints_to_attr(x, n, 1, "split", apply);
}

static bool slice_attrs(gi_export *x, gi_xnode *n, bool apply)
{
    uint32_t count = 0;
    int64_t *steps = NULL;
    if (in(n, 4) && !ints_of(x, n, 4, &count, &steps))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (steps[i] != 1)
            return false;
    if (!ints_to_attr(x, n, 1, "starts", false) || !ints_to_attr(x, n, 2, "ends", false) ||
        !ints_to_attr(x, n, 3, "axes", false))
        return false;
    if (!apply)
        return true;
    drop_in(n, 4);
    return ints_to_attr(x, n, 3, "axes", true) && ints_to_attr(x, n, 2, "ends", true) &&
           ints_to_attr(x, n, 1, "starts", true);
}

/* Pads of some axes become pads of all. */
static bool pad_axes(gi_export *x, gi_xnode *n, bool apply)
{
    uint32_t n_axes, n_pads;
    int64_t *axes, *pads;
    const int rank = rank_of(in(n, 0));
    if (!in(n, 3))
        return true;
    if (rank < 0 || !ints_of(x, n, 3, &n_axes, &axes) || !ints_of(x, n, 1, &n_pads, &pads) || n_pads != 2 * n_axes)
        return false;
    if (!apply)
        return true;
    int64_t all[2 * GOPT_MAX_RANK] = { 0 };
    for (uint32_t i = 0; i < n_axes; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (axis < 0 || axis >= rank)
            return false;
        all[axis] = pads[i];
        all[rank + axis] = pads[n_axes + i];
    }
    n->in.p[1] = gi_const_i64(x->g, 1, 2 * rank, all);
    drop_in(n, 3);
    return in(n, 1) != NULL;
}

static bool pad_mode(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return !is_str(n, "mode", "wrap", "constant");
}

static bool pad_attrs(gi_export *x, gi_xnode *n, bool apply)
{
    if (!ints_to_attr(x, n, 1, "pads", false) || !float_to_attr(x, n, 2, "value", false))
        return false;
    return !apply || (float_to_attr(x, n, 2, "value", true) && ints_to_attr(x, n, 1, "pads", true));
}

static bool clip_attrs(gi_export *x, gi_xnode *n, bool apply)
{
    if (!float_to_attr(x, n, 1, "min", false) || !float_to_attr(x, n, 2, "max", false))
        return false;
    return !apply || (float_to_attr(x, n, 2, "max", true) && float_to_attr(x, n, 1, "min", true));
}

static bool dropout_attr(gi_export *x, gi_xnode *n, bool apply)
{
    const gi_blob *training = gi_value_blob(in(n, 2));
    if (in(n, 2) && (!training || gi_blob_elements(training) != 1 || gi_load_i64(training->dtype, training->data, 0)))
        return false;
    if (!float_to_attr(x, n, 1, "ratio", false))
        return false;
    if (!apply)
        return true;
    drop_in(n, 2);
    return float_to_attr(x, n, 1, "ratio", true);
}

static bool topk_attr(gi_export *x, gi_xnode *n, bool apply)
{
    uint32_t count;
    int64_t *v;
    if (!ints_of(x, n, 1, &count, &v) || count != 1 || int_of(n, "largest", 1) != 1)
        return false;
    if (!apply)
        return true;
    drop(n, "largest");
    drop(n, "sorted");
    drop_in(n, 1);
    return add(x, n, (gi_attr){ .kind = GI_ATTR_INT, .name = "k", .u.i = v[0] });
}

static bool dft_axis(gi_export *x, gi_xnode *n, bool apply)
{
    uint32_t count = 1;
    int64_t *v, axis = -2;
    if (in(n, 2)) {
        if (!ints_of(x, n, 2, &count, &v) || count != 1)
            return false;
        axis = v[0];
    }
    if (!apply)
        return true;
    drop_in(n, 2);
    return add(x, n, (gi_attr){ .kind = GI_ATTR_INT, .name = "axis", .u.i = axis });
}

static bool resize_mode(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return !is_str(n, "coordinate_transformation_mode", "half_pixel_symmetric", "half_pixel");
}

/* In opsets 11 and 12 an absent roi or scales is an empty tensor. */
static bool resize_empty(gi_export *x, gi_xnode *n, bool apply)
{
    if (!apply || x->opset < 11)
        return true;
    while (n->in.n < 3)
        if (!gi_push(x->a, &n->in, NULL))
            return false;
    gi_value *empty = gi_const_f32(x->g, 1, 0, NULL);
    for (size_t i = 1; i <= 2; i++)
        if (!n->in.p[i])
            n->in.p[i] = empty;
    return empty != NULL;
}

static bool resize_10(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x;
    if (!is_str(n, "coordinate_transformation_mode", "asymmetric", "half_pixel") || !in(n, 2) || in(n, 3) ||
        is_str(n, "mode", "cubic", "nearest"))
        return false;
    if (is_str(n, "mode", "nearest", "nearest") && !is_str(n, "nearest_mode", "floor", "round_prefer_floor"))
        return false;
    if (!apply)
        return true;
    static const char *const newer[] = { "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a",
                                         "exclude_outside", "extrapolation_value" };
    for (size_t i = 0; i < GI_COUNT(newer); i++)
        drop(n, newer[i]);
    n->in.p[1] = n->in.p[2];
    n->in.n = 2;
    return true;
}

static bool resize_to_upsample(gi_export *x, gi_xnode *n, bool apply)
{
    if (!resize_10(x, n, false) && !(apply && n->in.n == 2)) /* the row above may have been applied */
        return false;
    if (apply)
        n->op = "Upsample";
    return true;
}

static bool upsample_scales(gi_export *x, gi_xnode *n, bool apply)
{
    const size_t at = n->in.n > 2 ? 2 : 1;
    const gi_blob *b = gi_value_blob(in(n, at));
    if (!b || b->dtype != GOPT_F32 || b->rank != 1)
        return false;
    if (!apply)
        return true;
    const uint32_t count = (uint32_t)gi_blob_elements(b);
    float *v = GI_NEW_ARRAY(x->a, float, count + 1);
    if (!v)
        return false;
    memcpy(v, b->data, b->bytes);
    n->in.n = 1;
    return add(x, n, (gi_attr){ .kind = GI_ATTR_FLOATS, .name = "scales", .n = count, .u.floats = v });
}

static bool batchnorm_outputs(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return n->out.n <= 1;
}

/* Before opset 13 the dimensions from `axis` on are one: the same where those behind are 1. */
static bool softmax_axis(gi_export *x, gi_xnode *n, bool apply)
{
    const int rank = rank_of(in(n, 0));
    int64_t axis = int_of(n, "axis", -1);
    if (rank < 0 && axis != -1)
        return false;
    if (rank >= 0) {
        axis += axis < 0 ? rank : 0;
        for (int64_t i = axis + 1; i < rank; i++)
            if (!gi_dim_is(in(n, 0)->type->dims[i], 1))
                return false;
    }
    return !apply || add(x, n, (gi_attr){ .kind = GI_ATTR_INT, .name = "axis", .u.i = axis });
}

static bool grid_names(gi_export *x, gi_xnode *n, bool apply)
{
    if (rank_of(in(n, 0)) > 4)
        return false;
    if (!apply)
        return true;
    const char *mode = is_str(n, "mode", "linear", "linear") ? "bilinear" : "bicubic";
    return is_str(n, "mode", "nearest", "linear") ||
           add(x, n, (gi_attr){ .kind = GI_ATTR_STRING, .name = "mode", .n = (uint32_t)strlen(mode), .u.s = mode });
}

static bool roialign_mode(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x;
    if (!is_str(n, "coordinate_transformation_mode", "output_half_pixel", "half_pixel"))
        return false;
    if (apply)
        drop(n, "coordinate_transformation_mode");
    return true;
}

static bool to_scatter(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x;
    if (!is_str(n, "reduction", "none", "none"))
        return false;
    if (apply)
        n->op = "Scatter";
    return true;
}

static bool scatter_reduction(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return !is_str(n, "reduction", "max", "none") && !is_str(n, "reduction", "min", "none");
}

static bool gemm_bias(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return in(n, 2) != NULL;
}

/* The opset in which QuantizeLinear and DequantizeLinear took elements of that type. */
static int quantized_since(const gi_value *v)
{
    switch (v && v->type && v->type->kind == GOPT_TENSOR ? v->type->dtype : GOPT_UNDEFINED) {
    case GOPT_F16:
    case GOPT_BF16:
    case GOPT_F8E4M3FN:
    case GOPT_F8E4M3FNUZ:
    case GOPT_F8E5M2:
    case GOPT_F8E5M2FNUZ:
        return 19;
    case GOPT_I16:
    case GOPT_U16:
    case GOPT_I4:
    case GOPT_U4:
        return 21;
    case GOPT_F4E2M1:
        return 23;
    case GOPT_F8E8M0:
        return 24;
    case GOPT_I2:
    case GOPT_U2:
        return 25;
    default:
        return 10;
    }
}

static bool quantized_before(const gi_xnode *n, int opset)
{
    for (size_t i = 0; i < n->in.n; i++)
        if (quantized_since(in(n, i)) >= opset)
            return false;
    return !n->out.n || quantized_since(n->out.p[0]) < opset;
}

static bool quantized_24(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return quantized_before(n, 25);
}

static bool quantized_23(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return quantized_before(n, 24);
}

static bool quantized_21(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return quantized_before(n, 23);
}

static bool quantized_19(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return quantized_before(n, 21);
}

/* Scales of one axis came with opset 13. */
static bool quantized_13(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return quantized_before(n, 19);
}

static bool quantized_10(gi_export *x, gi_xnode *n, bool apply)
{
    (void)x, (void)apply;
    return rank_of(in(n, 1)) <= 0;
}

typedef struct down {
    const char *op;
    int below;
    down_fn fn;
} down;

/* Of one operator, newest first: each may rely on those above it. */
static const down downs[] = {
    { "Squeeze", 13, axes_attr },
    { "Unsqueeze", 13, axes_attr },
    { "ReduceSum", 13, reduce_axes },
    { "ReduceL1", 18, reduce_axes },
    { "ReduceL2", 18, reduce_axes },
    { "ReduceLogSum", 18, reduce_axes },
    { "ReduceLogSumExp", 18, reduce_axes },
    { "ReduceMax", 18, reduce_axes },
    { "ReduceMean", 18, reduce_axes },
    { "ReduceMin", 18, reduce_axes },
    { "ReduceProd", 18, reduce_axes },
    { "ReduceSumSquare", 18, reduce_axes },
    { "Split", 18, split_count },
    { "Split", 13, split_attr },
    { "Slice", 10, slice_attrs },
    { "Pad", 19, pad_mode },
    { "Pad", 18, pad_axes },
    { "Pad", 11, pad_attrs },
    { "Clip", 11, clip_attrs },
    { "Dropout", 12, dropout_attr },
    { "TopK", 10, topk_attr },
    { "DFT", 20, dft_axis },
    { "Resize", 19, resize_mode },
    { "Resize", 11, resize_10 },
    { "Resize", 13, resize_empty },
    { "Resize", 10, resize_to_upsample },
    { "Resize", 9, upsample_scales },
    { "Upsample", 9, upsample_scales },
    { "BatchNormalization", 14, batchnorm_outputs },
    { "Attention", 24, attention_23 },
    { "GroupNormalization", 21, never },
    { "Scan", 9, never },
    { "Tile", 6, never },
    { "Softmax", 13, softmax_axis },
    { "LogSoftmax", 13, softmax_axis },
    { "Hardmax", 13, softmax_axis },
    { "GridSample", 20, grid_names },
    { "RoiAlign", 16, roialign_mode },
    { "ScatterElements", 18, scatter_reduction },
    { "ScatterND", 18, scatter_reduction },
    { "ScatterElements", 11, to_scatter },
    { "Gemm", 11, gemm_bias },
    { "QuantizeLinear", 25, quantized_24 },
    { "QuantizeLinear", 24, quantized_23 },
    { "QuantizeLinear", 23, quantized_21 },
    { "QuantizeLinear", 21, quantized_19 },
    { "QuantizeLinear", 19, quantized_13 },
    { "QuantizeLinear", 13, quantized_10 },
    { "DequantizeLinear", 25, quantized_24 },
    { "DequantizeLinear", 24, quantized_23 },
    { "DequantizeLinear", 23, quantized_21 },
    { "DequantizeLinear", 21, quantized_19 },
    { "DequantizeLinear", 19, quantized_13 },
    { "DequantizeLinear", 13, quantized_10 },
};

/* ---- attributes ---- */

static bool says_default(const gi_xnode *n, const gi_attr *a)
{
    const gi_op *row = n->n ? gi_op_get(n->n->op) : NULL;
    const int at = row ? gi_op_find_attr(row, a->name) : -1;
    const gi_op_attr *d = at >= 0 ? &row->attrs[at] : NULL;
    switch (a->kind) {
    case GI_ATTR_INT:
        return d && d->has_default && d->i == a->u.i;
    case GI_ATTR_FLOAT:
        return d && d->has_default && d->f == a->u.f;
    case GI_ATTR_STRING:
        return d && d->has_default && d->s && !strcmp(d->s, a->u.s);
    case GI_ATTR_INTS:
        for (uint32_t i = 0; i < a->n; i++)
            if (a->u.ints[i] != 1)
                return false;
        return !strcmp(a->name, "dilations");
    default:
        return false;
    }
}

/* The axis of a scale of one element says nothing. */
static bool is_moot(const gi_xnode *n, const gi_attr *a)
{
    return !strcmp(a->name, "axis") &&
           !strcmp(n->op + (n->op[0] == 'D' ? 2 : 0), n->op[0] == 'D' ? "quantizeLinear" : "QuantizeLinear") &&
           rank_of(in(n, 1)) == 0;
}

static int check_later(gi_xnode *n, int target, bool apply)
{
    int need = 0;
    for (size_t i = 0; i < GI_COUNT(later); i++) {
        if (target >= later[i].since || strcmp(later[i].op, n->op) != 0)
            continue;
        gi_attr *a = find(n, later[i].attr);
        if (!a)
            continue;
        if (!says_default(n, a) && !is_moot(n, a))
            need = later[i].since > need ? later[i].since : need;
        else if (apply)
            a->kind = GI_ATTR_NONE;
    }
    return need;
}

/* Negative axes came with opset 11. */
static bool count_axes(gi_xnode *n, bool apply)
{
    int rank = rank_of(in(n, 0));
    gi_attr *axis = find(n, "axis"), *axes = find(n, "axes");
    if (rank >= 0 && !strcmp(n->op, "OneHot"))
        rank++;
    if (rank >= 0 && !strcmp(n->op, "Unsqueeze") && axes)
        rank += (int)axes->n;
    if (axis && axis->kind == GI_ATTR_INT && axis->u.i < 0) {
        if (rank < 0)
            return false;
        axis->u.i += apply ? rank : 0;
    }
    bool negative = false;
    for (uint32_t i = 0; axes && axes->kind == GI_ATTR_INTS && i < axes->n; i++)
        negative |= axes->u.ints[i] < 0;
    return !negative || rank >= 0;
}

static bool positive_axes(gi_export *x, gi_xnode *n)
{
    int rank = rank_of(in(n, 0));
    gi_attr *axes = find(n, "axes");
    if (!axes || axes->kind != GI_ATTR_INTS || rank < 0)
        return true;
    rank += !strcmp(n->op, "Unsqueeze") ? (int)axes->n : 0;
    int64_t *v = GI_NEW_ARRAY(x->a, int64_t, axes->n + 1u);
    for (uint32_t i = 0; v && i < axes->n; i++)
        v[i] = axes->u.ints[i] + (axes->u.ints[i] < 0 ? rank : 0);
    axes->u.ints = v;
    return v != NULL;
}

/* ---- the walk ---- */

static bool is_ours(const gi_xnode *n)
{
    return !*n->domain && (!n->n || n->n->op != OP_Unknown);
}

/* The least opset, at least `target`, that this node needs. */
static int need_of(gi_export *x, gi_xnode *n, int target)
{
    int need = gi_op_introduced(n->op);
    if (!strcmp(n->op, "ScatterElements"))
        need = 9;
    if (!strcmp(n->op, "Resize"))
        need = 7;
    need = need > target ? need : target;
    const int later_need = check_later(n, target, false);
    need = later_need > need ? later_need : need;
    for (size_t i = 0; i < GI_COUNT(downs); i++)
        if (need < downs[i].below && !strcmp(downs[i].op, n->op) && !downs[i].fn(x, n, false))
            need = downs[i].below;
    const bool was_older = n->n && n->n->opset > 0 && n->n->opset < 11;
    if (need < 11 && !was_older && !count_axes(n, false))
        need = 11;
    return need;
}

static gopt_status lower(gi_export *x, gi_xnode *n)
{
    check_later(n, x->opset, true);
    for (size_t i = 0; i < GI_COUNT(downs); i++)
        if (x->opset < downs[i].below && !strcmp(downs[i].op, n->op))
            GI_NEED(downs[i].fn(x, n, true));
    if (x->opset < 11 && count_axes(n, false)) {
        count_axes(n, true);
        GI_NEED(positive_axes(x, n));
    }
    return GOPT_OK;
}

static gopt_status each(gi_export *x, gi_xblock *b, int *need, gi_xnode **why)
{
    for (size_t i = 0; i < b->nodes.n; i++) {
        gi_xnode *n = b->nodes.p[i];
        if (need && !*n->domain && !is_ours(n) && n->n->opset > *need) {
            *why = n; /* not in the table, so it can only be written as it came */
            *need = n->n->opset;
        } else if (is_ours(n) && need) {
            const int least = need_of(x, n, *need);
            if (least > *need)
                *why = n;
            *need = least > *need ? least : *need;
        } else if (is_ours(n)) {
            GI_TRY(lower(x, n));
        }
        for (size_t k = 0; k < n->attrs.n; k++)
            if (n->attrs.p[k].graph)
                GI_TRY(each(x, n->attrs.p[k].graph, need, why));
    }
    return GOPT_OK;
}

gopt_status gi_opset_downgrade(gi_export *x)
{
    int need = x->opset;
    gi_xnode *why = NULL;
    GI_TRY(each(x, x->main, &need, &why));
    if (need > x->opset && why) {
        const gi_place at = { .file = x->g->file };
        char label[16] = "";
        const char *name = why->n && why->n->name ? why->n->name : "";
        if (!*name && why->out.n)
            name = gi_value_label(why->out.p[0], label, sizeof label);
        gi_note(x->cx, &at, NULL, "written for opset %d instead of %d: %s '%s' cannot be said in an older one", need,
                x->opset, why->op, name);
        x->opset = need;
    }
    return each(x, x->main, NULL, NULL);
}

int64_t gi_onnx_ir_of_opset(int opset)
{
    static const struct {
        int opset, ir;
    } versions[] = { { 8, 3 },  { 9, 4 },  { 10, 5 },  { 11, 6 },  { 14, 7 },
                     { 18, 8 }, { 20, 9 }, { 22, 10 }, { 23, 11 }, { 24, 12 } };
    for (size_t i = 0; i < GI_COUNT(versions); i++)
        if (opset <= versions[i].opset)
            return versions[i].ir;
    return 13;
}
