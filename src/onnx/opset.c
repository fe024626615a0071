/* Old opsets brought to the newest form of each operator: one row a change, applied in order. */
#include "gopt/pass.h"
#include "onnx/raw.h"

typedef gopt_status (*shim_fn)(gi_import *im, gi_raw *r);

/* ---- helpers ---- */

/* A 0-d constant of the dtype of input 0 (f32 where that is unknown). */
static gi_value *scalar_like(gi_import *im, const gi_raw *r, double v)
{
    const gi_value *x = input(r, 0);
    const gopt_dtype known = x && x->type && x->type->kind == GOPT_TENSOR ? x->type->dtype : GOPT_UNDEFINED;
    const gi_dclass c = gi_dtype_class(known);
    const gopt_dtype t = c == GI_FLOAT || c == GI_SINT || c == GI_UINT || c == GI_BOOLEAN ? known : GOPT_F32;
    gi_blob *b;
    if (gi_blob_create(im->cx, t, 0, NULL, &b) != GOPT_OK)
        return NULL;
    gi_store_f64(t, b->owned, 0, v);
    return gi_const(im->g, b, NULL);
}

/* Turns a list attribute into input i. Nothing where the attribute is absent. */
static gopt_status ints_to_input(gi_import *im, gi_raw *r, const char *name, size_t i)
{
    gi_raw_attr *a = gi_raw_attr_find(r, name);
    if (!a)
        return GOPT_OK;
    if (a->a.kind != GI_ATTR_INTS && a->a.n)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute %s is expected to be a list of integers", name);
    GI_TRY(set_input(im, r, i, gi_const_i64(im->g, 1, a->a.n, a->a.u.ints)));
    a->a.kind = GI_ATTR_NONE;
    return GOPT_OK;
}

static gopt_status int_to_input(gi_import *im, gi_raw *r, const char *name, size_t i, int rank)
{
    gi_raw_attr *a = gi_raw_attr_find(r, name);
    if (!a)
        return GOPT_OK;
    if (a->a.kind != GI_ATTR_INT)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute %s is expected to be an integer", name);
    const int64_t v = a->a.u.i;
    a->a.kind = GI_ATTR_NONE;
    return set_input(im, r, i, gi_const_i64(im->g, rank, 1, &v));
}

/* ---- opset 1 to 6 ---- */

static gopt_status drop_consumed(gi_import *im, gi_raw *r)
{
    (void)im;
    gi_raw_attr_drop(r, "consumed_inputs");
    return GOPT_OK;
}

static gopt_status drop_is_test(gi_import *im, gi_raw *r)
{
    (void)im;
    gi_raw_attr_drop(r, "is_test");
    return GOPT_OK;
}

static gopt_status drop_output_sequence(gi_import *im, gi_raw *r)
{
    (void)im;
    gi_raw_attr_drop(r, "output_sequence");
    return GOPT_OK;
}

/* Before opset 7, B was broadcast only where asked, with its dimensions lying from `axis` on in A. */
static gopt_status old_broadcast(gi_import *im, gi_raw *r)
{
    const int64_t axis = int_attr(r, "axis", INT64_MAX);
    const bool asked = int_attr(r, "broadcast", 0) != 0;
    gi_raw_attr_drop(r, "broadcast");
    gi_raw_attr_drop(r, "axis");
    if (!asked || axis == INT64_MAX || !input(r, 1))
        return GOPT_OK;
    const int ra = rank_of(input(r, 0)), rb = rank_of(input(r, 1));
    const int64_t from = axis < 0 ? axis + ra : axis;
    if (ra < 0 || rb < 0 || from < 0 || from + rb > ra)
        return gi_fail(im->cx, GOPT_UNSUPPORTED, &r->at, "convert the model to opset 7 or later",
                       "broadcast along axis %lld needs both ranks, found %d and %d", (long long)axis, ra, rb);
    int64_t axes[GOPT_MAX_RANK];
    const int n = ra - rb - (int)from;
    if (n == 0)
        return GOPT_OK;
    for (int i = 0; i < n; i++)
        axes[i] = rb + i;
    gi_value *which = gi_const_i64(im->g, 1, n, axes), *b;
    GI_NEED(which);
    GI_TRY(EMIT(im, r, "Unsqueeze", &b, input(r, 1), which));
    return set_input(im, r, 1, b);
}

/* Before opset 7, a slope of one dimension lay along the channels. */
static gopt_status old_prelu(gi_import *im, gi_raw *r)
{
    const int rx = rank_of(input(r, 0)), rs = rank_of(input(r, 1));
    if (rs != 1 || rx <= 2)
        return GOPT_OK;
    int64_t axes[GOPT_MAX_RANK];
    for (int i = 0; i < rx - 2; i++)
        axes[i] = 1 + i;
    gi_value *which = gi_const_i64(im->g, 1, rx - 2, axes), *s;
    GI_NEED(which);
    GI_TRY(EMIT(im, r, "Unsqueeze", &s, input(r, 1), which));
    return set_input(im, r, 1, s);
}

/* ONNX misspelt its default until opset 3. */
static gopt_status gru_forward(gi_import *im, gi_raw *r)
{
    return has_str(r, "direction", "foward") ? set_str(im, r, "direction", "forward") : GOPT_OK;
}

static gopt_status old_gemm(gi_import *im, gi_raw *r)
{
    (void)im;
    gi_raw_attr_drop(r, "broadcast");
    return GOPT_OK;
}

static gopt_status reshape_shape(gi_import *im, gi_raw *r)
{
    return ints_to_input(im, r, "shape", 1);
}

static gopt_status cast_by_name(gi_import *im, gi_raw *r)
{
    const gi_raw_attr *a = gi_raw_attr_find(r, "to");
    if (!a || a->a.kind != GI_ATTR_STRING)
        return GOPT_OK;
    for (int t = 1; t < GOPT_DTYPE_COUNT; t++)
        if (!strcasecmp(gi_dtype_onnx_name((gopt_dtype)t), a->a.u.s))
            return set_int(im, r, "to", t);
    return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute to is '%s', which is no type", a->a.u.s);
}

static gopt_status concat_axis(gi_import *im, gi_raw *r)
{
    return gi_raw_attr_find(r, "axis") ? GOPT_OK : set_int(im, r, "axis", 1);
}

static gopt_status rename_paddings(gi_import *im, gi_raw *r)
{
    (void)im;
    gi_raw_attr *a = gi_raw_attr_find(r, "paddings");
    if (a)
        a->a.name = "pads";
    return GOPT_OK;
}

static gopt_status cast_to(gi_import *im, gi_raw *r, gopt_dtype t, gi_value *v, gi_value **out)
{
    gi_raw_attrs to = { 0 };
    GI_NEED(gi_push(im->a, &to, (gi_raw_attr){ .a = { .kind = GI_ATTR_INT, .name = "to", .u.i = (int64_t)t } }));
    return emit(im, r, "Cast", NULL, &to, 1, &v, out);
}

/* Before opset 6, Tile repeated along one axis: now 1 everywhere but there. */
static gopt_status old_tile(gi_import *im, gi_raw *r)
{
    const int rank = rank_of(input(r, 0));
    if (!input(r, 1) || !input(r, 2))
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "it has %zu inputs, expected 3", r->in.n);
    if (rank < 1)
        return gi_fail(im->cx, GOPT_UNSUPPORTED, &r->at, "convert the model to opset 6 or later",
                       "the rank of its input is not known");
    int64_t index[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++)
        index[i] = i;
    const int64_t one = 1;
    gi_value *places = gi_const_i64(im->g, 1, rank, index), *ones = gi_const_i64(im->g, 0, 1, &one);
    gi_value *tiles, *axis, *repeats;
    GI_NEED(places && ones);
    GI_TRY(cast_to(im, r, GOPT_I64, input(r, 1), &tiles));
    GI_TRY(cast_to(im, r, GOPT_I64, input(r, 2), &axis));
    GI_TRY(EMIT(im, r, "Equal", &repeats, places, axis));
    GI_TRY(EMIT(im, r, "Where", &repeats, repeats, tiles, ones));
    r->in.n = 2;
    r->in.p[1] = repeats;
    return GOPT_OK;
}

/* Selu of opset 1 had its constants to four decimals. */
static gopt_status old_selu(gi_import *im, gi_raw *r)
{
    static const struct {
        const char *name;
        float v;
    } was[] = { { "alpha", 1.6732f }, { "gamma", 1.0507f } };
    for (size_t i = 0; i < GI_COUNT(was); i++)
        if (!gi_raw_attr_find(r, was[i].name))
            GI_TRY(set_attr(im, r, (gi_attr){ .kind = GI_ATTR_FLOAT, .name = was[i].name, .u.f = was[i].v }));
    return GOPT_OK;
}

/* The norm's order was a float. */
static gopt_status whole_p(gi_import *im, gi_raw *r)
{
    const gi_raw_attr *a = gi_raw_attr_find(r, "p");
    if (!a || a->a.kind != GI_ATTR_FLOAT)
        return GOPT_OK;
    const float p = a->a.u.f;
    if (!(p >= 1 && p < 1e6f && p == (float)(int64_t)p))
        return gi_fail(im->cx, GOPT_UNSUPPORTED, &r->at, NULL, "attribute p is %g, expected a whole number", (double)p);
    return set_int(im, r, "p", (int64_t)p);
}

/* ---- attributes that became inputs ---- */

static gopt_status axes_to_input(gi_import *im, gi_raw *r)
{
    return ints_to_input(im, r, "axes", 1);
}

static gopt_status split_to_input(gi_import *im, gi_raw *r)
{
    return ints_to_input(im, r, "split", 1);
}

/* From opset 18 on the number of outputs is said where the sizes are not. */
static gopt_status split_count(gi_import *im, gi_raw *r)
{
    return input(r, 1) ? GOPT_OK : set_int(im, r, "num_outputs", r->n_out);
}

static gopt_status slice_inputs(gi_import *im, gi_raw *r)
{
    GI_TRY(ints_to_input(im, r, "starts", 1));
    GI_TRY(ints_to_input(im, r, "ends", 2));
    return ints_to_input(im, r, "axes", 3);
}

static gopt_status float_to_input(gi_import *im, gi_raw *r, const char *name, size_t i)
{
    gi_raw_attr *a = gi_raw_attr_find(r, name);
    if (!a)
        return GOPT_OK;
    if (a->a.kind != GI_ATTR_FLOAT && a->a.kind != GI_ATTR_INT)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute %s is expected to be a float", name);
    const double v = a->a.kind == GI_ATTR_FLOAT ? (double)a->a.u.f : (double)a->a.u.i;
    a->a.kind = GI_ATTR_NONE;
    return set_input(im, r, i, scalar_like(im, r, v));
}

static gopt_status pad_inputs(gi_import *im, gi_raw *r)
{
    GI_TRY(ints_to_input(im, r, "pads", 1));
    return float_to_input(im, r, "value", 2);
}

static gopt_status clip_inputs(gi_import *im, gi_raw *r)
{
    GI_TRY(float_to_input(im, r, "min", 1));
    return float_to_input(im, r, "max", 2);
}

static gopt_status dropout_inputs(gi_import *im, gi_raw *r)
{
    return float_to_input(im, r, "ratio", 1);
}

/* Until opset 9 the mask had the data's type. */
static gopt_status dropout_mask(gi_import *im, gi_raw *r)
{
    const gi_value *x = input(r, 0);
    if (r->n_out < 2 || !*r->out[1] || rank_of(x) < 0)
        return GOPT_OK;
    const gopt_dtype t = x->type->dtype;
    gi_raw both = *r;
    gi_value **v;
    GI_TRY(gi_raw_create(im, &both, &v));
    r->done = GI_NEW_ARRAY(im->a, gi_value *, 2);
    GI_NEED(r->done);
    r->done[0] = v[0];
    return cast_to(im, r, t, v[1], &r->done[1]);
}

static gopt_status topk_input(gi_import *im, gi_raw *r)
{
    return int_to_input(im, r, "k", 1, 1);
}

/* Opset 17 has an attribute that is 1 where absent, opset 20 an input that is -2 where absent. */
static gopt_status dft_axis(gi_import *im, gi_raw *r)
{
    const int64_t axis = int_attr(r, "axis", 1);
    gi_raw_attr_drop(r, "axis");
    return set_input(im, r, 2, gi_const_i64(im->g, 0, 1, &axis));
}

/* ---- resizing ---- */

static gopt_status old_upsample(gi_import *im, gi_raw *r)
{
    const gi_raw_attr *h = gi_raw_attr_find(r, "height_scale"), *w = gi_raw_attr_find(r, "width_scale");
    if (!h || !w)
        return GOPT_OK;
    float *scales = GI_NEW_ARRAY(im->g->arena, float, 4);
    GI_NEED(scales);
    scales[0] = scales[1] = 1;
    scales[2] = h->a.u.f;
    scales[3] = w->a.u.f;
    gi_raw_attr_drop(r, "height_scale");
    gi_raw_attr_drop(r, "width_scale");
    return set_attr(im, r, (gi_attr){ .kind = GI_ATTR_FLOATS, .name = "scales", .n = 4, .u.floats = scales });
}

static gopt_status upsample_scales(gi_import *im, gi_raw *r)
{
    gi_raw_attr *a = gi_raw_attr_find(r, "scales");
    if (!a || a->a.kind != GI_ATTR_FLOATS)
        return GOPT_OK;
    GI_TRY(set_input(im, r, 1, gi_const_f32(im->g, 1, a->a.n, a->a.u.floats)));
    a->a.kind = GI_ATTR_NONE;
    return GOPT_OK;
}

/* Resize of opset 10, and Upsample: scales come second, coordinates are multiplied, the floor is taken. */
static gopt_status resize_10(gi_import *im, gi_raw *r)
{
    gi_value *scales = input(r, 1);
    if (scales) {
        GI_TRY(set_input(im, r, 2, scales));
        r->in.p[1] = NULL;
    }
    if (has_str(r, "mode", "bilinear"))
        GI_TRY(set_str(im, r, "mode", "linear"));
    r->op = "Resize";
    GI_TRY(set_str(im, r, "coordinate_transformation_mode", "asymmetric"));
    return set_str(im, r, "nearest_mode", "floor");
}

/* Exporters of opset 11 and 12, where these are not optional, pass empty tensors. */
static gopt_status resize_empty(gi_import *im, gi_raw *r)
{
    (void)im;
    for (size_t i = 1; i <= 3 && i < r->in.n; i++) {
        const gi_value *v = r->in.p[i];
        if (rank_of(v) == 1 && gi_dim_is(v->type->dims[0], 0))
            r->in.p[i] = NULL;
    }
    return GOPT_OK;
}

/* ---- normalizations ---- */

/* spatial = 0: statistics for every position, so plain arithmetic over the trailing dimensions. */
static gopt_status batchnorm_everywhere(gi_import *im, gi_raw *r)
{
    const gi_raw_attr *e = gi_raw_attr_find(r, "epsilon");
    gi_value *eps = scalar_like(im, r, e && e->a.kind == GI_ATTR_FLOAT ? (double)e->a.u.f : 1e-5);
    for (size_t i = 0; i < 5; i++)
        if (!input(r, i))
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "it has %zu inputs, expected 5", r->in.n);
    gi_value *d, *v, *y;
    GI_NEED(eps);
    GI_TRY(EMIT(im, r, "Sub", &d, input(r, 0), input(r, 3)));
    GI_TRY(EMIT(im, r, "Add", &v, input(r, 4), eps));
    GI_TRY(EMIT(im, r, "Sqrt", &v, v));
    GI_TRY(EMIT(im, r, "Div", &y, d, v));
    GI_TRY(EMIT(im, r, "Mul", &y, y, input(r, 1)));
    GI_TRY(EMIT(im, r, "Add", &y, y, input(r, 2)));
    return finish(im, r, y);
}

static gopt_status old_batchnorm(gi_import *im, gi_raw *r)
{
    for (uint32_t i = 1; i < r->n_out; i++)
        if (*r->out[i])
            return gi_fail(im->cx, GOPT_UNSUPPORTED, &r->at, "export the model for inference",
                           "output '%s' is computed in training only", r->out[i]);
    r->n_out = r->n_out > 1 ? 1 : r->n_out;
    return GOPT_OK;
}

static gopt_status batchnorm_spatial(gi_import *im, gi_raw *r)
{
    const bool spatial = int_attr(r, "spatial", 1) != 0;
    gi_raw_attr_drop(r, "spatial");
    return spatial || rank_of(input(r, 0)) == 2 ? GOPT_OK : batchnorm_everywhere(im, r);
}

/* Until opset 20 scale and bias were one a group, now one a channel: each is repeated. */
static gopt_status per_channel(gi_import *im, gi_raw *r, size_t i, int64_t groups, int64_t each)
{
    const int64_t column[2] = { groups, 1 }, full[2] = { groups, each }, flat = -1;
    gi_value *c = gi_const_i64(im->g, 1, 2, column), *f = gi_const_i64(im->g, 1, 2, full);
    gi_value *l = gi_const_i64(im->g, 1, 1, &flat), *v;
    GI_NEED(c && f && l);
    GI_TRY(EMIT(im, r, "Reshape", &v, input(r, i), c));
    GI_TRY(EMIT(im, r, "Expand", &v, v, f));
    GI_TRY(EMIT(im, r, "Reshape", &v, v, l));
    return set_input(im, r, i, v);
}

static gopt_status groupnorm_18(gi_import *im, gi_raw *r)
{
    const int64_t groups = int_attr(r, "num_groups", 0);
    int64_t channels;
    const gi_value *x = input(r, 0);
    if (!x || !input(r, 1) || !input(r, 2))
        return GOPT_OK; /* the row's check says it */
    if (rank_of(x) < 2 || !gi_type_dim_const(x->type, 1, &channels) || groups < 1 || channels % groups)
        return gi_fail(im->cx, GOPT_UNSUPPORTED, &r->at, "convert the model to opset 21",
                       "its scale is one a group, and the number of channels is not known to be a multiple of %lld",
                       (long long)groups);
    GI_TRY(per_channel(im, r, 1, groups, channels / groups));
    return per_channel(im, r, 2, groups, channels / groups);
}

static gopt_status old_softmax_reshaped(gi_import *im, gi_raw *r, int64_t axis)
{
    gi_value *x = input(r, 0), *shape, *y;
    gi_raw_attrs flatten = { 0 }, last = { 0 };
    GI_NEED(gi_push(im->a, &flatten, (gi_raw_attr){ .a = { .kind = GI_ATTR_INT, .name = "axis", .u.i = axis } }));
    GI_NEED(gi_push(im->a, &last, (gi_raw_attr){ .a = { .kind = GI_ATTR_INT, .name = "axis", .u.i = -1 } }));
    int64_t dims[GOPT_MAX_RANK];
    if (x->type && gi_type_static_dims(x->type, dims)) {
        shape = gi_const_i64(im->g, 1, x->type->rank, dims);
        GI_NEED(shape);
    } else {
        GI_TRY(EMIT(im, r, "Shape", &shape, x));
    }
    GI_TRY(emit(im, r, "Flatten", NULL, &flatten, 1, &x, &y));
    GI_TRY(emit(im, r, r->op, r->name, &last, 1, &y, &y));
    GI_TRY(EMIT(im, r, "Reshape", &y, y, shape));
    return finish(im, r, y);
}

/* Until opset 12, all dimensions from `axis` (1 where absent) on were taken as one. */
static gopt_status old_softmax(gi_import *im, gi_raw *r)
{
    const int64_t given = int_attr(r, "axis", 1);
    const gi_value *x = input(r, 0);
    if (!x || r->n_out != 1)
        return GOPT_OK;
    const int rank = rank_of(x);
    if (given == -1 || (rank >= 0 && (given == rank - 1)))
        return set_int(im, r, "axis", -1);
    if (rank < 0)
        return old_softmax_reshaped(im, r, given);
    const int64_t axis = given < 0 ? given + rank : given;
    if (axis < 0 || axis > rank)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute axis is %lld, expected -%d to %d",
                       (long long)given, rank, rank);
    bool ones = axis < rank;
    for (int i = (int)axis + 1; i < rank && ones; i++)
        ones = gi_dim_is(x->type->dims[i], 1);
    return ones ? set_int(im, r, "axis", axis) : old_softmax_reshaped(im, r, axis);
}

/* ---- names and defaults ---- */

static gopt_status grid_names(gi_import *im, gi_raw *r)
{
    if (has_str(r, "mode", "bilinear"))
        return set_str(im, r, "mode", "linear");
    return has_str(r, "mode", "bicubic") ? set_str(im, r, "mode", "cubic") : GOPT_OK;
}

static gopt_status roialign_mode(gi_import *im, gi_raw *r)
{
    return gi_raw_attr_find(r, "coordinate_transformation_mode")
               ? GOPT_OK
               : set_str(im, r, "coordinate_transformation_mode", "output_half_pixel");
}

static gopt_status scatter_name(gi_import *im, gi_raw *r)
{
    (void)im;
    r->op = "ScatterElements";
    return GOPT_OK;
}

/* ---- operators that ONNX had on trial, and dropped ---- */

static gopt_status slice_name(gi_import *im, gi_raw *r)
{
    (void)im;
    r->op = "Slice";
    return GOPT_OK;
}

/* The shape of a ConstantFill: an attribute, the input's contents, or its shape. */
static gopt_status fill_shape(gi_import *im, gi_raw *r, gi_value **out)
{
    const gi_raw_attr *shape = gi_raw_attr_find(r, "shape"), *extra = gi_raw_attr_find(r, "extra_shape");
    gi_raw_attrs axis = { 0 };
    if ((shape && shape->a.kind != GI_ATTR_INTS) || (extra && extra->a.kind != GI_ATTR_INTS) ||
        (!shape && !input(r, 0)))
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "it needs an input, or a list of integers as shape");
    if (!input(r, 0))
        *out = gi_const_i64(im->g, 1, shape->a.n, shape->a.u.ints);
    else if (int_attr(r, "input_as_shape", 0))
        GI_TRY(cast_to(im, r, GOPT_I64, input(r, 0), out));
    else
        GI_TRY(EMIT(im, r, "Shape", out, input(r, 0)));
    GI_NEED(*out);
    if (!extra || !extra->a.n)
        return GOPT_OK;
    gi_value *more = gi_const_i64(im->g, 1, extra->a.n, extra->a.u.ints);
    GI_NEED(more && gi_push(im->a, &axis, (gi_raw_attr){ .a = { .kind = GI_ATTR_INT, .name = "axis", .u.i = 0 } }));
    return emit(im, r, "Concat", NULL, &axis, 2, (gi_value *[]){ *out, more }, out);
}

static gopt_status constant_fill(gi_import *im, gi_raw *r)
{
    const gi_raw_attr *value = gi_raw_attr_find(r, "value");
    const int64_t dtype = int_attr(r, "dtype", GOPT_F32);
    const gi_dclass c = dtype > 0 && dtype < GOPT_DTYPE_COUNT ? gi_dtype_class((gopt_dtype)dtype) : GI_NONE;
    gi_value *shape, *filling;
    gi_blob *b;
    if (c != GI_FLOAT && c != GI_SINT && c != GI_UINT && c != GI_BOOLEAN)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "attribute dtype is %lld, which is no type of numbers",
                       (long long)dtype);
    GI_TRY(fill_shape(im, r, &shape));
    GI_TRY(gi_blob_create(im->cx, (gopt_dtype)dtype, 0, NULL, &b));
    gi_store_f64((gopt_dtype)dtype, b->owned, 0,
                 value && value->a.kind == GI_ATTR_FLOAT ? (double)value->a.u.f : (double)int_attr(r, "value", 0));
    filling = gi_const(im->g, b, NULL);
    r->in.n = 0;
    GI_NEED(filling && gi_push(im->a, &r->in, filling) && gi_push(im->a, &r->in, shape));
    r->attrs.n = 0;
    r->op = "Expand";
    return GOPT_OK;
}

/* ---- the table ---- */

typedef struct shim {
    const char *op; /* NULL: every operator */
    int below;      /* applies to models of an earlier opset */
    shim_fn fn;
    const char *means; /* what was otherwise */
} shim;

static const shim shims[] = {
    { "DynamicSlice", 1000, slice_name, "now called Slice" },
    { "ConstantFill", 1000, constant_fill, "a value, and the shape that it fills" },
    { NULL, 7, drop_consumed, "consumed_inputs said which memory an output may take: dropped" },
    { "BatchNormalization", 7, drop_is_test, "is_test is dropped: models are read for inference" },
    { "Dropout", 7, drop_is_test, "is_test is dropped: models are read for inference" },
    { "GRU", 3, gru_forward, "the default of direction was misspelt" },
    { "GRU", 7, drop_output_sequence, "output_sequence said whether the first output was wanted: dropped" },
    { "LSTM", 7, drop_output_sequence, "output_sequence said whether the first output was wanted: dropped" },
    { "RNN", 7, drop_output_sequence, "output_sequence said whether the first output was wanted: dropped" },
    { "Add", 7, old_broadcast, "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Sub", 7, old_broadcast, "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Mul", 7, old_broadcast, "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Div", 7, old_broadcast, "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Pow", 7, old_broadcast, "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "And", 7, old_broadcast, "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Or", 7, old_broadcast, "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Xor", 7, old_broadcast, "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Equal", 7, old_broadcast,
      "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Greater", 7, old_broadcast,
      "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "Less", 7, old_broadcast,
      "the second operand was broadcast only where asked, its dimensions lying from axis on" },
    { "PRelu", 7, old_prelu, "a slope of one dimension lay along the channels" },
    { "Gemm", 7, old_gemm, "broadcast said that C has fewer dimensions: dropped" },
    { "Reshape", 5, reshape_shape, "attribute shape became an input" },
    { "Cast", 6, cast_by_name, "the type was a name" },
    { "Concat", 4, concat_axis, "axis could be left out, and was 1" },
    { "Pad", 2, rename_paddings, "pads were called paddings" },
    { "Tile", 6, old_tile, "repeated along one axis, given with the number of tiles" },
    { "Selu", 6, old_selu, "alpha and gamma had four decimals where not said" },
    { "LpPool", 2, whole_p, "p was a float" },
    { "GlobalLpPool", 2, whole_p, "p was a float" },
    { "Scan", 9, gi_import_scan_8, "ran over a batch: now a Scan within a Scan" },
    { "Squeeze", 13, axes_to_input, "attribute axes became an input" },
    { "Unsqueeze", 13, axes_to_input, "attribute axes became an input" },
    { "ReduceSum", 13, axes_to_input, "attribute axes became an input" },
    { "ReduceL1", 18, axes_to_input, "attribute axes became an input" },
    { "ReduceL2", 18, axes_to_input, "attribute axes became an input" },
    { "ReduceLogSum", 18, axes_to_input, "attribute axes became an input" },
    { "ReduceLogSumExp", 18, axes_to_input, "attribute axes became an input" },
    { "ReduceMax", 18, axes_to_input, "attribute axes became an input" },
    { "ReduceMean", 18, axes_to_input, "attribute axes became an input" },
    { "ReduceMin", 18, axes_to_input, "attribute axes became an input" },
    { "ReduceProd", 18, axes_to_input, "attribute axes became an input" },
    { "ReduceSumSquare", 18, axes_to_input, "attribute axes became an input" },
    { "Split", 13, split_to_input, "attribute split became an input" },
    { "Split", 18, split_count, "the number of outputs is said where the sizes are not" },
    { "Slice", 10, slice_inputs, "attributes starts, ends and axes became inputs" },
    { "Pad", 11, pad_inputs, "attributes pads and value became inputs" },
    { "Clip", 11, clip_inputs, "attributes min and max became inputs" },
    { "Dropout", 12, dropout_inputs, "attribute ratio became an input" },
    { "Dropout", 10, dropout_mask, "the mask had the data's type" },
    { "TopK", 10, topk_input, "attribute k became an input" },
    { "DFT", 20, dft_axis, "attribute axis became an input" },
    { "Upsample", 7, old_upsample, "attributes height_scale and width_scale became scales" },
    { "Upsample", 9, upsample_scales, "attribute scales became an input" },
    { "Upsample", 1000, resize_10, "scales are the third input, coordinates asymmetric, and the nearest is the floor" },
    { "Resize", 11, resize_10, "scales are the third input, coordinates asymmetric, and the nearest is the floor" },
    { "Resize", 1000, resize_empty, "inputs that are empty stand for none" },
    { "BatchNormalization", 14, old_batchnorm, "outputs of training are refused" },
    { "BatchNormalization", 9, batchnorm_spatial, "spatial = 0 becomes arithmetic over every position" },
    { "GroupNormalization", 21, groupnorm_18, "scale and bias were one a group: repeated for its channels" },
    { "Softmax", 13, old_softmax, "all dimensions from axis on (1 where not said) were one" },
    { "LogSoftmax", 13, old_softmax, "all dimensions from axis on (1 where not said) were one" },
    { "Hardmax", 13, old_softmax, "all dimensions from axis on (1 where not said) were one" },
    { "GridSample", 20, grid_names, "modes were called bilinear and bicubic" },
    { "RoiAlign", 16, roialign_mode, "coordinates had no half pixel" },
    { "Scatter", 1000, scatter_name, "now called ScatterElements" },
};

/* Operators that no graph holds, since import makes others of them. */
static const gopt_op_by_import by_import[] = {
    { "Constant", "", "a constant value" },
    { "ConstantFill", "Expand", "Expand of a constant (on trial until opset 9)" },
    { "DynamicSlice", "Slice", "Slice (on trial until opset 9)" },
    { "Scatter", "ScatterElements", "ScatterElements, its newer name" },
    { "Upsample", "Resize", "Resize" },
};

bool gopt_op_by_import_get(size_t i, gopt_op_by_import *out)
{
    if (i >= GI_COUNT(by_import))
        return false;
    *out = by_import[i];
    return true;
}

bool gopt_op_change_get(size_t i, gopt_op_change *out)
{
    if (i >= GI_COUNT(shims))
        return false;
    const bool always = shims[i].below > GI_ONNX_NEWEST_OPSET; /* of whatever opset */
    *out = (gopt_op_change){ .op = shims[i].op, .before = always ? 0 : shims[i].below, .means = shims[i].means };
    return true;
}

/* What the table lacks stays as it came. */
static bool has_row(const char *op)
{
    for (size_t i = 0; i < GI_COUNT(by_import); i++)
        if (*by_import[i].becomes && !strcmp(by_import[i].name, op))
            op = by_import[i].becomes;
    return gi_op_find("", op) != OP_Unknown;
}

gopt_status gi_opset_upgrade(gi_import *im, gi_raw *r)
{
    if (!has_row(r->op))
        return GOPT_OK;
    for (size_t i = 0; i < GI_COUNT(shims) && !r->done; i++)
        if (r->opset < shims[i].below && (!shims[i].op || !strcmp(shims[i].op, r->op)))
            GI_TRY(shims[i].fn(im, r));
    return GOPT_OK;
}
