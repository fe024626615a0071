/* QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: per tensor, axis or block, of 8 and 16 bits (and i32, to be
 * dequantized). Whole numbers of fewer bits and float8 stay on the cpu. */
#include <inttypes.h>

#include "backend/opencl/index.h"
#include "ops/eval.h"

bool gi_cl_quantized_range(gopt_dtype t, int64_t *low, int64_t *high)
{
    switch (t) {
    case GOPT_I8:
        *low = INT8_MIN;
        *high = INT8_MAX;
        return true;
    case GOPT_U8:
        *low = 0;
        *high = UINT8_MAX;
        return true;
    case GOPT_I16:
        *low = INT16_MIN;
        *high = INT16_MAX;
        return true;
    case GOPT_U16:
        *low = 0;
        *high = UINT16_MAX;
        return true;
    default:
        return false;
    }
}

gopt_status gi_cl_index_end_quantized(gi_cl_index *k, gopt_dtype t, const char *v)
{
    char value[128];
    int64_t low, high;
    if (!gi_cl_quantized_range(t, &low, &high))
        return GOPT_INTERNAL;
    (void)snprintf(value, sizeof value, "(%s)clamp(%s, %" PRId64 ".0f, %" PRId64 ".0f)", gi_cl_type(t), v, low, high);
    return gi_cl_index_end(k, value);
}

static bool has_type(gi_cl_build *b, const gi_value *v, const char *what, gopt_dtype t)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    return gi_cl_tensor(b, v, what, &rank, dims) &&
           (v->type->dtype == t ||
            gi_cl_decline(b, "%s is %s, not %s", what, gopt_dtype_name(v->type->dtype), gopt_dtype_name(t)));
}

/* Reads the scale and the zero point (none: 0) of an element as `scale` and `zero`. */
static gopt_status read_scale(gi_cl_index *k, const gi_value *scale, const gi_value *zero, int axis, int64_t block,
                              bool *ok)
{
    gi_cl_view vs, vz;
    gi_str at;
    GI_TRY(gi_cl_index_read(k, scale, "S", &vs));
    if (zero)
        GI_TRY(gi_cl_index_read(k, zero, "Z", &vz));
    const int64_t elements = gi_product(0, vs.rank, vs.dims);
    *ok =
        (!zero || gi_product(0, vz.rank, vz.dims) == elements) &&
        (elements == 1 || (axis >= 0 && (block ? vs.rank == k->y.rank : vs.rank == 1 && elements == k->y.dims[axis])));
    if (!*ok)
        return GOPT_OK;
    gi_str_init(&at, k->b->arena);
    if (elements == 1) {
        gi_str_add(&at, "0");
    } else if (!block) {
        gi_str_addf(&at, "c%d", axis);
    } else {
        const char *names[GOPT_MAX_RANK];
        for (int i = 0; i < k->y.rank; i++)
            names[i] = i == axis ? "block" : gi_cl_coordinates[i];
        gi_str_addf(&k->body, "    const ix block = c%d / %" PRId64 ";\n", axis, block);
        gi_cl_index_place(&at, &vs, names);
    }
    GI_NEED(!at.failed);
    gi_str_addf(&k->body, "    const float scale = S(%s);\n", at.p);
    if (zero)
        gi_str_addf(&k->body, "    const int zero = Z(%s);\n", at.p);
    else
        gi_str_add(&k->body, "    const int zero = 0;\n");
    return GOPT_OK;
}

static gopt_status write_quantized(gi_cl_build *b, const gi_node *n, const gi_value *scale, const gi_value *zero,
                                   int axis, int64_t block, bool *took)
{
    int64_t low, high;
    gi_cl_index k;
    gi_cl_view x;
    bool ok;
    if (!gi_cl_quantized_range(n->out[0]->type->dtype, &low, &high)) {
        (void)gi_cl_decline(b, "opencl quantizes to no %s", gopt_dtype_name(n->out[0]->type->dtype));
        return GOPT_OK;
    }
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, gi_node_in(n, 0), "X", &x));
    GI_TRY(read_scale(&k, scale, zero, axis, block, &ok));
    if (!ok)
        return GOPT_OK;
    gi_str_add(&k.body, "    const float v = rint(X(");
    gi_cl_index_place(&k.body, &x, NULL);
    gi_str_add(&k.body, ") / scale) + zero;\n");
    *took = true;
    return gi_cl_index_end_quantized(&k, n->out[0]->type->dtype, "v");
}

static gopt_status take_quantize(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *scale = gi_node_in(n, 1), *zero = gi_node_in(n, 2);
    int rank, axis = -1;
    int64_t dims[GOPT_MAX_RANK];
    if (!has_type(b, gi_node_in(n, 0), "its input", GOPT_F32) || !has_type(b, scale, "its scale", GOPT_F32) ||
        !gi_cl_tensor(b, n->out[0], "its result", &rank, dims) ||
        (zero && !has_type(b, zero, "its zero point", n->out[0]->type->dtype)) ||
        gi_attr_int(n, QuantizeLinear_at_precision))
        return GOPT_OK;
    if (!gi_axis(gi_attr_int(n, QuantizeLinear_at_axis), rank, &axis))
        axis = -1; /* one scale needs none */
    return write_quantized(b, n, scale, zero, axis, gi_attr_int(n, QuantizeLinear_at_block_size), took);
}

static gopt_status take_dequantize(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *v = gi_node_in(n, 0), *scale = gi_node_in(n, 1), *zero = gi_node_in(n, 2);
    int rank, axis = -1;
    int64_t dims[GOPT_MAX_RANK], low, high;
    gi_cl_index k;
    gi_cl_view x;
    bool ok;
    if (!gi_cl_tensor(b, v, "its input", &rank, dims) || !has_type(b, scale, "its scale", GOPT_F32) ||
        !has_type(b, n->out[0], "its result", GOPT_F32) ||
        (zero && !has_type(b, zero, "its zero point", v->type->dtype)))
        return GOPT_OK;
    if (v->type->dtype != GOPT_I32 && !gi_cl_quantized_range(v->type->dtype, &low, &high)) {
        (void)gi_cl_decline(b, "opencl dequantizes no %s", gopt_dtype_name(v->type->dtype));
        return GOPT_OK;
    }
    if (!gi_axis(gi_attr_int(n, DequantizeLinear_at_axis), rank, &axis))
        axis = -1;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, v, "X", &x));
    GI_TRY(read_scale(&k, scale, zero, axis, gi_attr_int(n, DequantizeLinear_at_block_size), &ok));
    if (!ok)
        return GOPT_OK;
    gi_str_add(&k.body, "    const float v = (float)((long)X(");
    gi_cl_index_place(&k.body, &x, NULL);
    gi_str_add(&k.body, ") - zero) * scale;\n");
    *took = true;
    return gi_cl_index_end(&k, "v");
}

/* Scale and zero point of what lies between the least and greatest element, 0 among them. */
static const char range_source[] =
    "// DynamicQuantizeLinear: the range\n"
    "#define G 256\n"
    "__kernel __attribute__((reqd_work_group_size(G, 1, 1))) void\n"
    "range(__global const float *x, const ulong x_at, __global float *scale, const ulong scale_at,\n"
    "      __global uchar *zero, const ulong zero_at, const long n)\n{\n"
    "    __local float low[G], high[G];\n"
    "    const int t = get_local_id(0);\n"
    "    float a = 0.0f, b = 0.0f;\n"
    "    for (long i = t; i < n; i += G) {\n"
    "        a = fmin(a, x[x_at + i]);\n"
    "        b = fmax(b, x[x_at + i]);\n"
    "    }\n"
    "    low[t] = a;\n"
    "    high[t] = b;\n"
    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    for (int k = G / 2; k > 0; k /= 2) {\n"
    "        if (t < k) {\n"
    "            low[t] = fmin(low[t], low[t + k]);\n"
    "            high[t] = fmax(high[t], high[t + k]);\n"
    "        }\n"
    "        barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    }\n"
    "    if (t)\n"
    "        return;\n"
    "    const float s = high[0] == low[0] ? 1.0f : (high[0] - low[0]) / 255.0f;\n"
    "    scale[scale_at] = s;\n"
    "    zero[zero_at] = (uchar)clamp(rint(0.0f - low[0] / s), 0.0f, 255.0f);\n"
    "}\n";

static gopt_status take_dynamic(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *x = gi_node_in(n, 0);
    gi_cl_ref refs[3];
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    if (n->n_out < 3 || !has_type(b, x, "its input", GOPT_F32) || !gi_cl_tensor(b, x, "its input", &rank, dims))
        return GOPT_OK;
    GI_TRY(gi_cl_dense_operand(b, x, &refs[0]));
    GI_TRY(gi_cl_dense_result(b, n->out[1], &refs[1]));
    GI_TRY(gi_cl_find(b, n->out[2], &refs[2]));
    const int64_t count = gi_product(0, rank, dims);
    GI_TRY(gi_cl_launch_kernel(b, range_source, "range", 3, refs, 1, &count, (size_t[]){ 256, 1, 1 },
                               (size_t[]){ 256, 1, 1 }));
    GI_TRY(gi_cl_store_result(b, n->out[1], &refs[1]));
    return write_quantized(b, n, n->out[1], n->out[2], -1, 0, took);
}

gopt_status gi_cl_take_quantize(gi_cl_build *b, const gi_node *n, bool *took)
{
    switch (n->op) {
    case OP_QuantizeLinear:
        return take_quantize(b, n, took);
    case OP_DequantizeLinear:
        return take_dequantize(b, n, took);
    case OP_DynamicQuantizeLinear:
        return take_dynamic(b, n, took);
    default:
        return GOPT_OK;
    }
}
