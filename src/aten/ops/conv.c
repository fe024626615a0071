/* Convolutions and pooling, of one to three dims, with or without a batch. */
#include "aten/ops/pointwise.h"

enum { MOST = 3 };

/* A batch of one around what has none; taken away again by out_of_batch. */
static gi_value *into_batch(gi_aten *a, gi_value *x, int rank, int dims)
{
    static const int64_t first[] = { 0 };
    return rank == dims + 1 ? gi_aten_unsqueeze(a, x, 1, first) : x;
}

static gi_value *out_of_batch(gi_aten *a, gi_value *y, int rank, int dims)
{
    static const int64_t first[] = { 0 };
    return rank == dims + 1 ? gi_aten_squeeze(a, y, 1, first) : y;
}

/* ---- convolutions ---- */

/* padding as one number a dim, or "same", which puts the odd one behind. */
static bool read_padding(gi_aten *a, const gi_value *w, int dims, const int64_t *dilation, int64_t *pads)
{
    const gi_value *given = gi_aten_tensor(a, "padding");
    const gi_blob *b = gi_value_blob(given);
    const char *text;
    if (!(b && b->dtype == GOPT_STRING) && !(given && !b && gi_aten_class(given) == GI_NONE)) {
        if (!gi_aten_ints_of(a, "padding", (uint32_t)dims, pads))
            return false;
        memcpy(pads + dims, pads, (size_t)dims * sizeof *pads);
        return true;
    }
    if (!gi_aten_str(a, "padding", &text) || !text)
        return false;
    if (strcmp(text, "same") != 0 && strcmp(text, "valid") != 0)
        return gi_aten_decline(a, "its padding is '%s'", text);
    for (int i = 0; i < dims; i++) {
        int64_t k, all;
        if (!gi_aten_dim_const(a, w, 2 + i, &k))
            return false;
        all = *text == 's' ? dilation[i] * (k - 1) : 0;
        pads[i] = all / 2;
        pads[dims + i] = all - all / 2;
    }
    return true;
}

bool gi_aten_conv(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *w = gi_aten_tensor(a, "weight"), *b = gi_aten_tensor(a, "bias");
    int rank, w_rank;
    int64_t stride[MOST], dilation[MOST], pads[2 * MOST], more[MOST] = { 0 }, groups;
    bool transposed = strstr(a->row->name, "transpose") != NULL;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_rank(a, w, &w_rank))
        return false;
    const int dims = w_rank - 2;
    if (dims < 1 || dims > MOST || (rank != w_rank && rank != w_rank - 1))
        return gi_aten_decline(a, "its input has rank %d and its weight rank %d", rank, w_rank);
    const uint32_t n = (uint32_t)dims;
    if ((gi_aten_has(a, "transposed") && !gi_aten_bool(a, "transposed", &transposed)) ||
        !gi_aten_ints_of(a, "stride", n, stride) || !gi_aten_ints_of(a, "dilation", n, dilation) ||
        !read_padding(a, w, dims, dilation, pads) || !gi_aten_int(a, "groups", &groups) ||
        (gi_aten_has(a, "output_padding") && !gi_aten_ints_of(a, "output_padding", n, more)))
        return false;
    gi_value *in[3] = { into_batch(a, x, rank, dims), w, b };
    const char *shape = gi_arena_printf(a->scratch, "strides = %s, dilations = %s, pads = %s, group = %lld",
                                        gi_aten_ints_text(a, n, stride), gi_aten_ints_text(a, n, dilation),
                                        gi_aten_ints_text(a, 2 * n, pads), (long long)groups);
    gi_value *y = transposed ? gi_aten_make(a, OP_ConvTranspose, b ? 3 : 2, in, "%s, output_padding = %s", shape,
                                            gi_aten_ints_text(a, n, more))
                             : gi_aten_make(a, OP_Conv, b ? 3 : 2, in, "%s", shape);
    return gi_aten_return(a, 0, out_of_batch(a, y, rank, dims));
}

/* ---- pooling ---- */

/* "avg_pool2d" → 2 */
static int dims_of_name(const char *name)
{
    const char *d = strpbrk(name, "123");
    return d ? *d - '0' : 2;
}

typedef struct window {
    int dims, rank;
    int64_t kernel[MOST], stride[MOST], dilation[MOST], pads[2 * MOST];
    bool ceil;
} window;

static bool read_window(gi_aten *a, const gi_value *x, window *w)
{
    *w = (window){ .dims = dims_of_name(a->row->name), .dilation = { 1, 1, 1 } };
    const uint32_t n = (uint32_t)w->dims;
    uint32_t given;
    const int64_t *unused;
    if (!gi_aten_rank(a, x, &w->rank) || !gi_aten_ints_of(a, "kernel_size", n, w->kernel) ||
        !gi_aten_ints(a, "stride", &given, &unused) || !gi_aten_ints_of(a, "padding", n, w->pads) ||
        !gi_aten_bool(a, "ceil_mode", &w->ceil))
        return false;
    memcpy(w->stride, w->kernel, sizeof w->stride); /* where none is given */
    memcpy(w->pads + n, w->pads, n * sizeof *w->pads);
    if ((given && !gi_aten_ints_of(a, "stride", n, w->stride)) ||
        (gi_aten_has(a, "dilation") && !gi_aten_ints_of(a, "dilation", n, w->dilation)))
        return false;
    if (w->rank != w->dims + 1 && w->rank != w->dims + 2)
        return gi_aten_decline(a, "its input has rank %d, expected %d or %d", w->rank, w->dims + 1, w->dims + 2);
    return true;
}

static const char *window_text(gi_aten *a, const window *w)
{
    const uint32_t n = (uint32_t)w->dims;
    return gi_arena_printf(a->scratch, "kernel_shape = %s, strides = %s, pads = %s, ceil_mode = %d",
                           gi_aten_ints_text(a, n, w->kernel), gi_aten_ints_text(a, n, w->stride),
                           gi_aten_ints_text(a, 2 * n, w->pads), w->ceil);
}

bool gi_aten_avg_pool(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    window w;
    bool counts_pads;
    int64_t divisor = 0, size = 1;
    if (!read_window(a, x, &w) || !gi_aten_bool(a, "count_include_pad", &counts_pads) ||
        (gi_aten_has(a, "divisor_override") && !gi_aten_int(a, "divisor_override", &divisor)))
        return false;
    if (divisor && w.ceil)
        return gi_aten_decline(a, "it has a divisor of its own with ceil_mode");
    for (int i = 0; i < w.dims; i++)
        if (!gi_mul_i64(size, w.kernel[i], &size))
            return gi_aten_decline(a, "its window is too large");
    gi_value *in = into_batch(a, x, w.rank, w.dims);
    gi_value *y = gi_aten_make(a, OP_AveragePool, 1, &in, "%s, count_include_pad = %d", window_text(a, &w),
                               counts_pads || divisor);
    y = divisor ? gi_aten_with(a, OP_Mul, y, (double)size / (double)divisor) : y;
    return gi_aten_return(a, 0, out_of_batch(a, y, w.rank, w.dims));
}

/* Places as PyTorch counts them: within one plane, where ONNX counts through the whole tensor. */
static gi_value *in_plane(gi_aten *a, gi_value *at, const gi_value *x, int dims)
{
    int64_t plane = 1, d;
    for (int i = 1; i <= dims; i++)
        if (!gi_aten_dim_const(a, x, -i, &d) || !gi_mul_i64(plane, d, &plane))
            return NULL;
    return gi_aten_with(a, OP_Mod, at, (double)plane);
}

static bool max_pool(gi_aten *a, gi_value *x, const window *w)
{
    gi_value *in = into_batch(a, x, w->rank, w->dims);
    const bool places = a->n->n_out > 1 && a->n->out[1]->n_uses;
    gi_node *p = in ? gi_aten_node(a, OP_MaxPool, 1, &in, places ? 2 : 1, "%s, dilations = %s", window_text(a, w),
                                   gi_aten_ints_text(a, (uint32_t)w->dims, w->dilation))
                    : NULL;
    if (!p || !gi_aten_return(a, 0, out_of_batch(a, p->out[0], w->rank, w->dims)))
        return false;
    return !places || gi_aten_return(a, 1, out_of_batch(a, in_plane(a, p->out[1], x, w->dims), w->rank, w->dims));
}

bool gi_aten_max_pool(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    window w;
    return read_window(a, x, &w) && max_pool(a, x, &w);
}

/* ---- adaptive pooling: bin i of n goes from ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉ ---- */

/* All bins alike: an ordinary window. */
static bool is_even(const int64_t *size, const int64_t *out, int dims)
{
    for (int i = 0; i < dims; i++)
        if (out[i] < 1 || size[i] % out[i])
            return false;
    return true;
}

static bool read_adaptive(gi_aten *a, const gi_value *x, window *w, int64_t *size, int64_t *out)
{
    *w = (window){ .dims = dims_of_name(a->row->name), .dilation = { 1, 1, 1 } };
    if (!gi_aten_rank(a, x, &w->rank) || !gi_aten_ints_of(a, "output_size", (uint32_t)w->dims, out))
        return false;
    if (w->rank != w->dims + 1 && w->rank != w->dims + 2)
        return gi_aten_decline(a, "its input has rank %d, expected %d or %d", w->rank, w->dims + 1, w->dims + 2);
    for (int i = 0; i < w->dims; i++) {
        if (!gi_aten_dim_const(a, x, i - w->dims, &size[i]))
            return false;
        if (out[i] < 1 || size[i] < 1)
            return gi_aten_decline(a, "%lld elements make no %lld", (long long)size[i], (long long)out[i]);
        w->kernel[i] = w->stride[i] = size[i] / out[i];
    }
    return true;
}

static gi_value *last_and(gi_aten *a, gi_value *x, int rank, int axis)
{
    int64_t perm[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++)
        perm[i] = i == axis ? rank - 1 : i == rank - 1 ? axis : i;
    return gi_aten_transpose(a, x, rank, perm);
}

/* Means along one dim: a product with the shares that elements have in bins. */
static gi_value *bins(gi_aten *a, gi_value *x, int rank, int axis, int64_t size, int64_t out)
{
    const int64_t shape[2] = { size, out };
    gi_blob *b;
    if (gi_blob_create(a->g->cx, x && x->type ? x->type->dtype : GOPT_F32, 2, shape, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < out; i++) {
        const int64_t from = i * size / out, to = ((i + 1) * size + out - 1) / out;
        for (int64_t k = from; k < to; k++)
            gi_store_f64(b->dtype, b->owned, (size_t)(k * out + i), 1.0 / (double)(to - from));
    }
    return last_and(a, gi_aten_2(a, OP_MatMul, last_and(a, x, rank, axis), gi_const(a->g, b, NULL)), rank, axis);
}

bool gi_aten_adaptive_avg_pool(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    window w;
    int64_t size[MOST], out[MOST], axes[MOST];
    const int dims = dims_of_name(a->row->name);
    bool one = gi_aten_ints_of(a, "output_size", (uint32_t)dims, out);
    for (int i = 0; i < dims; i++) {
        one = one && out[i] == 1;
        axes[i] = i - dims;
    }
    if (one)
        return gi_aten_return(a, 0, gi_aten_reduce(a, OP_ReduceMean, x, (uint32_t)dims, axes, true));
    if (!read_adaptive(a, x, &w, size, out))
        return false;
    if (is_even(size, out, dims)) {
        gi_value *in = into_batch(a, x, w.rank, dims);
        return gi_aten_return(
            a, 0, out_of_batch(a, gi_aten_make(a, OP_AveragePool, 1, &in, "%s", window_text(a, &w)), w.rank, dims));
    }
    for (int i = 0; i < dims; i++)
        x = size[i] == out[i] ? x : bins(a, x, w.rank, w.rank - dims + i, size[i], out[i]);
    return gi_aten_return(a, 0, x);
}

bool gi_aten_adaptive_max_pool(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    window w;
    int64_t size[MOST], out[MOST];
    if (!read_adaptive(a, x, &w, size, out))
        return false;
    if (is_even(size, out, w.dims))
        return max_pool(a, x, &w);
    for (int i = 0; i < w.dims; i++) { /* one dim after the other: maxima of maxima */
        const int64_t axis = w.rank - w.dims + i;
        gi_value **parts = out[i] <= 1 << 12 ? GI_NEW_ARRAY(a->scratch, gi_value *, out[i]) : NULL;
        if (!parts)
            return gi_aten_decline(a, "it has %lld bins", (long long)out[i]);
        for (int64_t k = 0; k < out[i]; k++)
            parts[k] = gi_aten_reduce(
                a, OP_ReduceMax,
                gi_aten_slice(a, x, axis, k * size[i] / out[i], ((k + 1) * size[i] + out[i] - 1) / out[i], 1), 1, &axis,
                true);
        x = out[i] > 1 ? gi_aten_concat(a, (uint32_t)out[i], parts, axis) : parts[0];
    }
    return gi_aten_return(a, 0, x);
}
