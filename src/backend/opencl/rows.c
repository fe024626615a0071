/* Softmax and reductions over neighbouring dimensions, and pooling. */
#include "backend/opencl/cl.h"
#include "ops/window.h"

enum { GROUP = 64 };

static gopt_status two_refs(gi_cl_build *b, const gi_node *n, gi_cl_ref refs[2])
{
    GI_TRY(gi_cl_find(b, gi_node_in(n, 0), &refs[0]));
    return gi_cl_find(b, n->out[0], &refs[1]);
}

static bool plain_f32(gi_cl_build *b, const gi_node *n, int *rank, int64_t *dims)
{
    const gi_value *x = gi_node_in(n, 0);
    if (!x || !gi_cl_tensor(b, x, "its input", rank, dims))
        return false;
    return x->type->dtype == GOPT_F32 ||
           gi_cl_decline(b, "%s is computed in f32 alone, not in %s", n->op_name, gopt_dtype_name(x->type->dtype));
}

static gopt_status launch_rows(gi_cl_build *b, const gi_node *n, const char *kernel, int64_t rows, int64_t length,
                               int64_t inner, int64_t mode)
{
    gi_cl_ref refs[2];
    GI_TRY(two_refs(b, n, refs));
    const int64_t ints[] = { length, inner, mode };
    const size_t global[] = { (size_t)rows * GROUP, 1, 1 };
    return gi_cl_launch_kernel(b, gk_opencl_rows, kernel, 2, refs, GI_COUNT(ints), ints, global,
                               (size_t[]){ GROUP, 1, 1 });
}

static gopt_status take_softmax(gi_cl_build *b, const gi_node *n, bool *took)
{
    int rank, axis;
    int64_t dims[GOPT_MAX_RANK];
    const bool logarithm = n->op == OP_LogSoftmax;
    const int64_t at = gi_attr_int(n, logarithm ? (int)LogSoftmax_at_axis : (int)Softmax_at_axis);
    if (!plain_f32(b, n, &rank, dims) || !gi_axis(at, rank, &axis))
        return GOPT_OK;
    const int64_t inner = gi_product(axis + 1, rank, dims);
    *took = true;
    return launch_rows(b, n, "softmax", gi_product(0, axis, dims) * inner, dims[axis], inner, logarithm);
}

/* The axes of a reduction as first … last where they are neighbours. */
static bool neighbouring_axes(gi_cl_build *b, const gi_node *n, int rank, int *first, int *last)
{
    uint32_t count = 0;
    gi_value *axes = gi_node_in(n, 1);
    const gi_dim *const *known = axes ? gi_value_known(axes, &count) : NULL;
    bool is[GOPT_MAX_RANK] = { false };
    if (axes && !known)
        return gi_cl_decline(b, "its axes are known only in a run");
    for (uint32_t i = 0; i < count; i++) {
        int64_t v;
        int axis;
        if (!known[i] || !gi_dim_is_const(known[i], &v) || !gi_axis(v, rank, &axis))
            return gi_cl_decline(b, "its axes are known only in a run");
        is[axis] = true;
    }
    if (!count) {
        if (gi_attr_int(n, ReduceSum_at_noop_with_empty_axes))
            return gi_cl_decline(b, "it reduces nothing");
        memset(is, true, sizeof is);
    }
    *first = 0;
    while (*first < rank && !is[*first])
        ++*first;
    *last = *first;
    while (*last + 1 < rank && is[*last + 1])
        ++*last;
    for (int i = *last + 1; i < rank; i++)
        if (is[i])
            return gi_cl_decline(b, "its axes are no neighbours");
    return *first < rank || gi_cl_decline(b, "it reduces a scalar");
}

static gopt_status take_reduce(gi_cl_build *b, const gi_node *n, int64_t mode, bool *took)
{
    int rank, first = 0, last = 0;
    int64_t dims[GOPT_MAX_RANK];
    if (!plain_f32(b, n, &rank, dims) || !neighbouring_axes(b, n, rank, &first, &last))
        return GOPT_OK;
    const int64_t inner = gi_product(last + 1, rank, dims), length = gi_product(first, last + 1, dims);
    if (!length) {
        (void)gi_cl_decline(b, "it reduces nothing");
        return GOPT_OK;
    }
    *took = true;
    return launch_rows(b, n, "reduce", gi_product(0, first, dims) * inner, length, inner, mode);
}

static gopt_status take_global_pool(gi_cl_build *b, const gi_node *n, int64_t mode, bool *took)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    if (!plain_f32(b, n, &rank, dims) || rank < 3)
        return GOPT_OK;
    const int64_t length = gi_product(2, rank, dims);
    if (!length)
        return GOPT_OK;
    *took = true;
    return launch_rows(b, n, "reduce", dims[0] * dims[1], length, 1, mode);
}

gopt_status gi_cl_take_rows(gi_cl_build *b, const gi_node *n, bool *took)
{
    switch (n->op) {
    case OP_Softmax:
    case OP_LogSoftmax:
        return take_softmax(b, n, took);
    case OP_ReduceSum:
        return take_reduce(b, n, 0, took);
    case OP_ReduceMean:
        return take_reduce(b, n, 1, took);
    case OP_ReduceMax:
        return take_reduce(b, n, 2, took);
    case OP_ReduceMin:
        return take_reduce(b, n, 3, took);
    case OP_ReduceSumSquare:
        return take_reduce(b, n, 4, took);
    case OP_ReduceL2:
        return take_reduce(b, n, 5, took);
    case OP_GlobalAveragePool:
        return take_global_pool(b, n, 1, took);
    case OP_GlobalMaxPool:
        return take_global_pool(b, n, 2, took);
    default:
        return GOPT_OK;
    }
}

gopt_status gi_cl_take_pool(gi_cl_build *b, const gi_node *n, bool *took)
{
    int rank;
    int64_t x[GOPT_MAX_RANK];
    gi_window w;
    if ((n->op != OP_MaxPool && n->op != OP_AveragePool) || !plain_f32(b, n, &rank, x))
        return GOPT_OK;
    if (rank != 3 && rank != 4) {
        (void)gi_cl_decline(b, "pooling of %d spatial dimensions is not taken", rank - 2);
        return GOPT_OK;
    }
    if (n->op == OP_MaxPool && n->n_out > 1 && n->out[MaxPool_out_Indices]->n_uses) {
        (void)gi_cl_decline(b, "the places of the maxima are not computed");
        return GOPT_OK;
    }
    if (!gi_window_read(n, rank - 2, NULL, &w) || !gi_window_place(&w, x + 2)) {
        (void)gi_cl_decline(b, "%s", w.why);
        return GOPT_OK;
    }
    const bool two = rank == 4;
    const int y = 0, l = two ? 1 : 0;
    const int64_t mode = n->op == OP_MaxPool ? 0 : gi_attr_int(n, AveragePool_at_count_include_pad) ? 2 : 1;
    const int64_t oh = two ? w.out[y] : 1, ow = w.out[l], total = x[0] * x[1] * oh * ow;
    const int64_t ints[] = { total,
                             two ? x[2] : 1,
                             x[rank - 1],
                             two ? w.kernel[y] : 1,
                             w.kernel[l],
                             oh,
                             ow,
                             two ? w.stride[y] : 1,
                             w.stride[l],
                             two ? w.begin[y] : 0,
                             w.begin[l],
                             two ? w.end[y] : 0,
                             w.end[l],
                             two ? w.dilation[y] : 1,
                             w.dilation[l],
                             mode };
    gi_cl_ref refs[2];
    GI_TRY(two_refs(b, n, refs));
    *took = true;
    return gi_cl_launch_kernel(b, gk_opencl_pool, "pool", 2, refs, GI_COUNT(ints), ints,
                               (size_t[]){ (size_t)total, 1, 1 }, NULL);
}
