/* Softmax and reductions over neighbouring dimensions, and pooling. */
#include "backend/opencl/cl.h"

enum {
    GROUP = 64,
    WIDE_GROUP = 256,
    WIDE_FROM = 128,
    MOST_WINDOW = 7,
    WARP = 32,
    MOST_IN_REGISTERS = 4096,
    MOST_AT_ONCE = 8
};

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
    return gi_cl_is_float(x->type->dtype) ||
           gi_cl_decline(b, "%s is computed in f32 alone, not in %s", n->op_name, gopt_dtype_name(x->type->dtype));
}

/* A template with the access to x and y before it. */
static const char *with_access(gi_cl_build *b, const char *source, const gi_cl_view *x, const gi_cl_view *y)
{
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_cl_write_access(&s, x, y);
    if (x->channels_last)
        gi_cl_write_chunks(&s, x->half, y->half);
    gi_str_add(&s, source);
    return s.failed ? NULL : s.p;
}

/* A launch of a kernel of rows.cl with an argument more: how many rows there are, of `length` elements each. Few items
 * share a short row, so that a group, which has WIDE_GROUP for the sake of walks, makes some. */
static gopt_status launch_groups(gi_cl_build *b, const char *source, const char *kernel, uint32_t n_refs,
                                 const gi_cl_ref *refs, int64_t *ints, uint32_t n_ints, int64_t rows, int64_t length)
{
    const int64_t items = length >= WIDE_FROM ? WIDE_GROUP : GROUP, side = WIDE_GROUP / items;
    GI_NEED(source && (source = gi_arena_printf(b->arena, "#define G %d\n%s", (int)items, source)));
    ints[n_ints] = rows;
    return gi_cl_launch_kernel(b, source, kernel, n_refs, refs, n_ints + 1, ints,
                               (size_t[]){ (size_t)((rows + side - 1) / side) * WIDE_GROUP, 1, 1 },
                               (size_t[]){ WIDE_GROUP, 1, 1 });
}

/* The stride of dims from … to-1 of a view taken as one; false where they are none. 0 where they hold one element. */
static bool one_stride(const gi_cl_view *v, int from, int to, int64_t *stride)
{
    int64_t expect = -1;
    *stride = 0;
    for (int i = to - 1; i >= from; i--) {
        if (v->dims[i] == 1)
            continue;
        if (expect < 0)
            *stride = v->stride[i];
        else if (v->stride[i] != expect)
            return false;
        expect = v->stride[i] * v->dims[i];
    }
    return true;
}

typedef struct rows {
    int64_t outer, length, inner;
    int64_t x[3], y[3]; /* strides: outer, inner, along the row */
} rows;

/* Dims first … last-1 of x are the rows; y keeps them (as ones, or away) or has them whole. */
static bool rows_of(const gi_cl_view *x, const gi_cl_view *y, int first, int last, bool whole, rows *r)
{
    const int gone = x->rank - y->rank, behind = last - gone;
    *r = (rows){ .outer = gi_product(0, first, x->dims),
                 .length = gi_product(first, last, x->dims),
                 .inner = gi_product(last, x->rank, x->dims) };
    return one_stride(x, 0, first, &r->x[0]) && one_stride(x, last, x->rank, &r->x[1]) &&
           one_stride(x, first, last, &r->x[2]) && one_stride(y, 0, first, &r->y[0]) &&
           one_stride(y, behind, y->rank, &r->y[1]) && (!whole || one_stride(y, first, last, &r->y[2]));
}

/* Chunks of 8 channels that a group of reduce_image.cl makes: as many as leave a group for most of the compute units, since
 * they are read together; no fewer than where an item has one pixel, or where less than 32 bytes were read together. */
static int64_t chunks_a_group(const gi_cl *d, int64_t images, int64_t chunks, int64_t pixels)
{
    int64_t n = WIDE_GROUP / GI_CL_CHANNELS;
    while (n > 1 && (n / 2 >= chunks ||
                     (n > 2 && images * ((chunks + n - 1) / n) < (int64_t)d->units * 3 / 4 && pixels * n > WIDE_GROUP)))
        n /= 2;
    return n;
}

/* All pixels of an image with channels last: 8 channels are read at once. */
static gopt_status launch_image(gi_cl_build *b, const gi_cl_view *x, const gi_cl_view *y, const gi_cl_ref *refs,
                                int64_t mode)
{
    const int64_t chunks = x->channels / GI_CL_CHANNELS, pixels = gi_product(2, x->rank, x->dims);
    const int64_t columns = chunks_a_group(b->d, x->dims[0], chunks, pixels), groups = (chunks + columns - 1) / columns;
    const int64_t each = (pixels * columns + WIDE_GROUP - 1) / WIDE_GROUP;
    const int64_t ints[] = { groups,       chunks,       pixels, y->channels_last ? y->channels : x->dims[1],
                             y->stride[0], y->stride[1], mode };
    const char *source = with_access(b, gk_opencl_reduce_image, x, y);
    GI_NEED(source && (source = gi_arena_printf(b->arena, "#define COLUMNS %d\n#define PER %d\n%s%s", (int)columns,
                                                (int)gi_min_i64(each, MOST_AT_ONCE),
                                                x->half ? "#define HALVES 1\n" : "", source)));
    return gi_cl_launch_kernel(b, source, "reduce_image", 2, refs, GI_COUNT(ints), ints,
                               (size_t[]){ (size_t)(x->dims[0] * groups) * WIDE_GROUP, 1, 1 },
                               (size_t[]){ WIDE_GROUP, 1, 1 });
}

static gopt_status launch_rows(gi_cl_build *b, const gi_node *n, const char *kernel, int first, int last, bool whole,
                               int64_t mode)
{
    gi_cl_view x, y;
    gi_cl_ref refs[2];
    rows r;
    if (!gi_cl_view_of(b, gi_node_in(n, 0), &x) || !gi_cl_view_of(b, n->out[0], &y))
        return GOPT_INTERNAL;
    GI_TRY(two_refs(b, n, refs));
    if (x.channels_last && gi_cl_pitch(&x) == x.channels && first == 2 && last == x.rank && !whole && mode <= 2)
        return launch_image(b, &x, &y, refs, mode);
    if (!rows_of(&x, &y, first, last, whole, &r)) { /* as the rows of a dense copy */
        const gi_cl_view dense = gi_cl_view_dense(x.rank, x.dims, x.half);
        GI_TRY(gi_cl_convert(b, gi_node_in(n, 0), &dense, &refs[0]));
        x = dense;
        if (!rows_of(&x, &y, first, last, whole, &r))
            return gi_fail(b->d->cx, GOPT_INTERNAL, NULL, NULL, "the rows of %s lie in no order", n->op_name);
    }
    int64_t ints[10] = { r.length, r.inner, r.x[0], r.x[1], r.x[2], r.y[0], r.y[1], r.y[2], mode };
    return launch_groups(b, with_access(b, gk_opencl_rows, &x, &y), kernel, 2, refs, ints, GI_COUNT(ints) - 1,
                         r.outer * r.inner, r.length);
}

static gopt_status take_softmax(gi_cl_build *b, const gi_node *n, bool *took)
{
    int rank, axis;
    int64_t dims[GOPT_MAX_RANK];
    const bool logarithm = n->op == OP_LogSoftmax;
    const int64_t at = gi_attr_int(n, logarithm ? (int)LogSoftmax_at_axis : (int)Softmax_at_axis);
    if (!plain_f32(b, n, &rank, dims) || !gi_axis(at, rank, &axis))
        return GOPT_OK;
    *took = true;
    return launch_rows(b, n, "softmax", axis, axis + 1, true, logarithm);
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
    if (!gi_product(first, last + 1, dims)) {
        (void)gi_cl_decline(b, "it reduces nothing");
        return GOPT_OK;
    }
    *took = true;
    return launch_rows(b, n, "reduce", first, last + 1, false, mode);
}

static gopt_status take_global_pool(gi_cl_build *b, const gi_node *n, int64_t mode, bool *took)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    if (!plain_f32(b, n, &rank, dims) || rank < 3)
        return GOPT_OK;
    if (!gi_product(2, rank, dims))
        return GOPT_OK;
    *took = true;
    return launch_rows(b, n, "reduce", 2, rank, false, mode);
}

/* A row read once, 8 elements at a time. */
static gopt_status launch_norm8(gi_cl_build *b, const gi_cl_view *x, const gi_cl_view *y, const gi_cl_ref *refs,
                                int64_t length, int64_t count, bool has_bias, float epsilon)
{
    const bool warps = b->d->mma && length <= WARP * 8 * 8;
    const int64_t items = warps ? WARP : GROUP, each = items * 8;
    const int64_t side = WIDE_GROUP / items, groups = (count + side - 1) / side;
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_cl_write_access(&s, x, y);
    if (warps)
        gi_str_add(&s, gi_cl_ptx(b->d));
    gi_cl_write_chunks(&s, x->half, y->half);
    gi_str_addf(&s,
                "#define N %lld\n#define ROWS %lld\n#define ITEMS %lld\n#define PER %lld\n#define GROUP_ROWS %lld\n"
                "#define EPSILON %af\n#define HAS_BIAS %d\n#define EARLY %d\n",
                (long long)length, (long long)count, (long long)items, (long long)((length + each - 1) / each),
                (long long)side, (double)epsilon, has_bias, refs[2].place == GI_CL_OWN && refs[3].place == GI_CL_OWN);
    if (warps)
        gi_str_add(&s, "#define SHUFFLES 1\n");
    gi_str_add(&s, gk_opencl_norm);
    GI_NEED(!s.failed);
    const size_t local = (size_t)(items * side);
    return gi_cl_launch_kernel(b, s.p, "layer_norm8", 4, refs, 0, NULL, (size_t[]){ (size_t)groups * local, 1, 1 },
                               (size_t[]){ local, 1, 1 });
}

static gopt_status take_layer_norm(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *scale = gi_node_in(n, LayerNormalization_in_Scale), *bias = gi_node_in(n, LayerNormalization_in_B);
    int rank, rs, rb, axis;
    int64_t dims[GOPT_MAX_RANK], ds[GOPT_MAX_RANK], db[GOPT_MAX_RANK];
    if (!plain_f32(b, n, &rank, dims) || !gi_axis(gi_attr_int(n, LayerNormalization_at_axis), rank, &axis) ||
        !gi_cl_tensor(b, scale, "Scale", &rs, ds) || (bias && !gi_cl_tensor(b, bias, "B", &rb, db)))
        return GOPT_OK;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]->n_uses) {
            (void)gi_cl_decline(b, "its means and deviations are not given out");
            return GOPT_OK;
        }
    const int64_t length = gi_product(axis, rank, dims);
    if (!length || gi_product(0, rs, ds) != length || (bias && gi_product(0, rb, db) != length)) {
        (void)gi_cl_decline(b, "its scale or bias is no row");
        return GOPT_OK;
    }
    gi_cl_view x, y;
    gi_cl_ref refs[4];
    if (!gi_cl_view_of(b, gi_node_in(n, 0), &x) || !gi_cl_view_of(b, n->out[0], &y))
        return GOPT_INTERNAL;
    x = gi_cl_view_dense(x.rank, x.dims, x.half); /* what follows a product lies so; an image is brought there */
    GI_TRY(gi_cl_convert(b, gi_node_in(n, 0), &x, &refs[0]));
    GI_TRY(gi_cl_find(b, n->out[0], &refs[1]));
    GI_TRY(gi_cl_dense_operand(b, scale, &refs[2]));
    refs[3] = refs[2];
    if (bias)
        GI_TRY(gi_cl_dense_operand(b, bias, &refs[3]));
    const float epsilon = gi_attr_float(n, LayerNormalization_at_epsilon);
    *took = true;
    if (length % 8 == 0 && length <= MOST_IN_REGISTERS && refs[0].offset % 16 == 0)
        return launch_norm8(b, &x, &y, refs, length, gi_product(0, axis, dims), bias != NULL, epsilon);
    int32_t bits;
    memcpy(&bits, &epsilon, sizeof bits);
    int64_t ints[4] = { length, bias != NULL, bits };
    return launch_groups(b, with_access(b, gk_opencl_rows, &x, &y), "layer_norm", 4, refs, ints, GI_COUNT(ints) - 1,
                         gi_product(0, axis, dims), length);
}

gopt_status gi_cl_take_rows(gi_cl_build *b, const gi_node *n, bool *took)
{
    switch (n->op) {
    case OP_Softmax:
    case OP_LogSoftmax:
        return take_softmax(b, n, took);
    case OP_LayerNormalization:
        return take_layer_norm(b, n, took);
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

/* Of images with channels last, the channels that pad them too: zeros stay zeros. */
static gopt_status launch_pool8(gi_cl_build *b, const gi_node *n, const gi_cl_window *w, const gi_cl_view *x,
                                const gi_cl_view *y, int64_t mode)
{
    const int64_t chunks = y->channels / GI_CL_CHANNELS, total = y->dims[0] * w->oh * w->ow * chunks;
    const int64_t ints[] = { total,
                             chunks,
                             w->h,
                             w->w,
                             w->kh,
                             w->kw,
                             w->oh,
                             w->ow,
                             w->sh,
                             w->sw,
                             w->ph,
                             w->pw,
                             w->ph_end,
                             w->pw_end,
                             w->dh,
                             w->dw,
                             gi_cl_pitch(x) / GI_CL_CHANNELS,
                             gi_cl_pitch(y) / GI_CL_CHANNELS,
                             mode };
    const char *source = with_access(b, gk_opencl_pool, x, y);
    gi_cl_ref refs[2];
    GI_NEED(source &&
            (source = gi_arena_printf(b->arena, "#define KH %d\n#define KW %d\n%s", (int)w->kh, (int)w->kw, source)));
    GI_TRY(two_refs(b, n, refs));
    return gi_cl_launch_kernel(b, source, "pool8", 2, refs, GI_COUNT(ints), ints, (size_t[]){ (size_t)total, 1, 1 },
                               NULL);
}

static gopt_status launch_pool(gi_cl_build *b, const gi_node *n, const gi_cl_window *w, const gi_cl_view *x,
                               const gi_cl_view *y, int64_t mode)
{
    const int64_t channels = x->channels_last && y->channels_last ? y->channels : x->dims[1]; /* zeros stay zeros */
    const int64_t total = x->dims[0] * channels * w->oh * w->ow;
    const int last = x->rank - 1, line = last - 1; /* of lines, which have one pixel above each other, line is no dim */
    const int64_t x_y = x->rank == 4 ? x->stride[line] : 0, y_y = x->rank == 4 ? y->stride[line] : 0;
    const int64_t ints[] = { total,     channels,        w->h,         w->w,         w->kh,        w->kw,
                             w->oh,     w->ow,           w->sh,        w->sw,        w->ph,        w->pw,
                             w->ph_end, w->pw_end,       w->dh,        w->dw,        x->stride[0], x->stride[1],
                             x_y,       x->stride[last], y->stride[0], y->stride[1], y_y,          y->stride[last],
                             mode };
    const char *source = with_access(b, gk_opencl_pool, x, y);
    gi_cl_ref refs[2];
    GI_NEED(source);
    GI_TRY(two_refs(b, n, refs));
    return gi_cl_launch_kernel(b, source, "pool", 2, refs, GI_COUNT(ints), ints, (size_t[]){ (size_t)total, 1, 1 },
                               NULL);
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
    const int64_t mode = n->op == OP_MaxPool ? 0 : gi_attr_int(n, AveragePool_at_count_include_pad) ? 2 : 1;
    const gi_cl_window v = gi_cl_window_of(&w, rank, x);
    gi_cl_view vx, vy;
    if (!gi_cl_view_of(b, gi_node_in(n, 0), &vx) || !gi_cl_view_of(b, n->out[0], &vy))
        return GOPT_INTERNAL;
    *took = true;
    return vx.channels_last && vy.channels_last && v.kh <= MOST_WINDOW && v.kw <= MOST_WINDOW
               ? launch_pool8(b, n, &v, &vx, &vy, mode)
               : launch_pool(b, n, &v, &vx, &vy, mode);
}
