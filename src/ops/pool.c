/* Pooling: MaxPool, AveragePool, LpPool and the global ones. */
#include <math.h>

#include "ops/pool.h"
#include "ops/real.h"
#include "ops/sum.h"
#include "ops/window.h"

typedef enum pool_kind { POOL_MAX, POOL_SUM, POOL_LP } pool_kind;

typedef struct pool {
    gi_window window;
    pool_kind kind;
    double p;      /* of POOL_LP */
    double lowest; /* of POOL_MAX: what an empty window gives */
    bool include_pad;
    int64_t *count; /* of POOL_SUM: per place in a row, the taps of the last dimension that are counted */
} pool;

/* Taps of dimension i at output place `at` that lie inside the input, its padding included. */
static int64_t padded_taps(const gi_window *w, int i, int64_t at)
{
    const int64_t room = w->in[i] + w->begin[i] + w->end[i] - at * w->stride[i];
    return room <= 0 ? 0 : gi_min_i64(w->kernel[i], (room + w->dilation[i] - 1) / w->dilation[i]);
}

static int64_t padded_lines(const gi_window *w, const int64_t *row)
{
    int64_t lines = 1;
    for (int d = 0; d < w->n - 1; d++)
        lines *= padded_taps(w, d, row[d]);
    return lines;
}

#define WORD float
#define NAME(x) x##_f32
#define POW powf
#define ABS fabsf
#define SQRT sqrtf
#include "ops/pool_loops.h"
#undef WORD
#undef NAME
#undef POW
#undef ABS
#undef SQRT
#define WORD double
#define NAME(x) x##_f64
#define POW pow
#define ABS fabs
#define SQRT sqrt
#include "ops/pool_loops.h"
#undef WORD
#undef NAME
#undef POW
#undef ABS
#undef SQRT

/* ---- windows ---- */

static gopt_status infer_windows(gi_infer *c, int *rank, const gi_dim **dims)
{
    gi_window w;
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 3));
    *rank = gi_infer_rank(c, 0);
    if (*rank < 0)
        return GOPT_OK;
    if (!gi_window_read(c->n, *rank - 2, NULL, &w))
        return gi_infer_fail_node(c, "%s", w.why);
    dims[0] = gi_infer_dim(c, 0, 0);
    dims[1] = gi_infer_dim(c, 0, 1);
    for (int i = 0; i < w.n; i++) {
        dims[2 + i] = gi_window_dim(c->g->dims, &w, i, gi_infer_dim(c, 0, 2 + i));
        if (!dims[2 + i] && w.why[0])
            return gi_infer_fail(c, 0, "%s", w.why);
        GI_NEED(dims[2 + i]);
    }
    return GOPT_OK;
}

static gopt_status infer_pool(gi_infer *c)
{
    int rank;
    const gi_dim *dims[GOPT_MAX_RANK];
    GI_TRY(infer_windows(c, &rank, dims));
    gi_infer_set_like(c, 0, 0, rank, rank < 0 ? NULL : dims);
    return GOPT_OK;
}

static gopt_status infer_max_pool(gi_infer *c)
{
    int rank;
    const gi_dim *dims[GOPT_MAX_RANK];
    GI_TRY(infer_windows(c, &rank, dims));
    gi_infer_set_like(c, MaxPool_out_Y, 0, rank, rank < 0 ? NULL : dims);
    if (c->n->n_out > MaxPool_out_Indices)
        gi_infer_set(c, MaxPool_out_Indices, GOPT_I64, rank, rank < 0 ? NULL : dims);
    return GOPT_OK;
}

static gopt_status pool_of(gi_eval *a, pool *s, int64_t *dims)
{
    GI_TRY(gi_eval_rank_at_least(a, 0, 3));
    const gopt_tensor *x = a->in[0];
    if (!gi_window_read(a->n, x->rank - 2, NULL, &s->window) || !gi_window_place(&s->window, x->dims + 2))
        return gi_eval_fail(a, 0, "%s", s->window.why);
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    memcpy(dims + 2, s->window.out, (size_t)s->window.n * sizeof *dims);
    return GOPT_OK;
}

/* Runs the windows of every plane, and fills y. */
static gopt_status run_pool(gi_eval *a, const pool *s, const int64_t *dims)
{
    const gopt_tensor *x = a->in[0];
    const gi_window *w = &s->window;
    const gopt_dtype real = gi_real_of(x->dtype);
    const void *p;
    gi_real y;
    GI_TRY(gi_real_in(a, 0, real, &p));
    GI_TRY(gi_real_out(a, 0, x->dtype, x->rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    const int64_t size_x = gi_product(0, w->n, w->in), size_y = gi_product(0, w->n, w->out), planes = dims[0] * dims[1];
    for (int64_t c = 0; c < planes && size_y; c++)
        if (real == GOPT_F64)
            pool_plane_f64(s, (const double *)p + c * size_x, (double *)y.p + c * size_y);
        else
            pool_plane_f32(s, (const float *)p + c * size_x, (float *)y.p + c * size_y);
    gi_real_store(&y);
    return GOPT_OK;
}

/* Where the largest element of the window at `row` lies in the plane; the first of equals. -1 of none. */
static int64_t find_largest(const pool *s, const int64_t *row, const gopt_tensor *x, int64_t plane, bool by_column)
{
    const gi_window *w = &s->window;
    const int64_t taps = gi_product(0, w->n, w->kernel);
    int64_t tap[GI_WINDOW_MAX] = { 0 }, found = -1;
    double best = 0;
    for (int64_t t = 0; t < taps; t++) {
        int64_t by_row = 0, column = 0, scale = 1;
        bool inside = true;
        for (int d = 0; d < w->n; d++) {
            const int64_t at = row[d] * w->stride[d] + tap[d] * w->dilation[d] - w->begin[d];
            inside = inside && at >= 0 && at < w->in[d];
            by_row = by_row * w->in[d] + at;
            column += at * scale;
            scale *= w->in[d];
        }
        if (inside) {
            const double v = gi_tensor_f64(x, plane + by_row);
            if (found < 0 || v > best || (v != v && best == best)) {
                best = v;
                found = by_column ? column : by_row;
            }
        }
        for (int d = w->n - 1; d >= 0 && ++tap[d] == w->kernel[d]; d--)
            tap[d] = 0;
    }
    return found;
}

static gopt_status pool_indices(gi_eval *a, const pool *s, const int64_t *dims)
{
    const gopt_tensor *x = a->in[0];
    const gi_window *w = &s->window;
    gopt_tensor *t;
    if (a->n_out <= MaxPool_out_Indices)
        return GOPT_OK;
    GI_TRY(gi_eval_out(a, MaxPool_out_Indices, GOPT_I64, x->rank, dims, &t));
    if (!t)
        return GOPT_OK;
    const bool by_column = gi_attr_int(a->n, MaxPool_at_storage_order) != 0;
    const int64_t size_x = gi_product(0, w->n, w->in), size_y = gi_product(0, w->n, w->out);
    int64_t *p = t->data;
    for (int64_t c = 0; c < dims[0] * dims[1]; c++) {
        int64_t row[GI_WINDOW_MAX] = { 0 };
        for (int64_t i = 0; i < size_y; i++) {
            const int64_t found = find_largest(s, row, x, c * size_x, by_column);
            *p++ = found < 0 ? -1 : c * size_x + found;
            for (int d = w->n - 1; d >= 0 && ++row[d] == w->out[d]; d--)
                row[d] = 0;
        }
    }
    return GOPT_OK;
}

static gopt_status eval_max_pool(gi_eval *a)
{
    pool s = { .kind = POOL_MAX, .lowest = -INFINITY };
    int64_t dims[GOPT_MAX_RANK];
    GI_TRY(pool_of(a, &s, dims));
    if (a->in[0]->dtype == GOPT_I8)
        s.lowest = INT8_MIN;
    else if (a->in[0]->dtype == GOPT_U8)
        s.lowest = 0;
    else if (!gi_dtype_is_float(a->in[0]->dtype))
        return gi_eval_fail(a, 0, "is %s, expected floats, i8 or u8", gopt_dtype_name(a->in[0]->dtype));
    GI_TRY(run_pool(a, &s, dims));
    return pool_indices(a, &s, dims);
}

gopt_status gi_eval_average_pool(gi_eval *a)
{
    pool s = { .kind = POOL_SUM, .include_pad = gi_attr_int(a->n, AveragePool_at_count_include_pad) != 0 };
    int64_t dims[GOPT_MAX_RANK];
    GI_TRY(pool_of(a, &s, dims));
    const gi_window *w = &s.window;
    const int last = w->n - 1;
    s.count = gi_eval_scratch(a, (size_t)w->out[last] + 1, sizeof *s.count);
    GI_NEED(s.count);
    for (int64_t i = 0; i < w->out[last] && s.include_pad; i++)
        s.count[i] = padded_taps(w, last, i);
    for (int64_t k = 0; k < w->kernel[last] && !s.include_pad; k++) {
        int64_t from, to;
        gi_window_range(w, last, k, &from, &to);
        for (int64_t i = from; i < to; i++)
            s.count[i]++;
    }
    return run_pool(a, &s, dims);
}

static gopt_status eval_lp_pool(gi_eval *a)
{
    pool s = { .kind = POOL_LP, .p = (double)gi_attr_int(a->n, LpPool_at_p) };
    int64_t dims[GOPT_MAX_RANK];
    if (!(s.p >= 1))
        return gi_eval_fail(a, -1, "attribute p is %g, expected 1 or more", s.p);
    GI_TRY(pool_of(a, &s, dims));
    return run_pool(a, &s, dims);
}

/* ---- whole planes ---- */

static gopt_status infer_global(gi_infer *c)
{
    const int rank = gi_infer_rank(c, 0);
    const gi_dim *dims[GOPT_MAX_RANK];
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 2));
    for (int i = 0; i < rank; i++) {
        dims[i] = i < 2 ? gi_infer_dim(c, 0, i) : gi_dim_const(c->g->dims, 1);
        GI_NEED(dims[i]);
    }
    gi_infer_set_like(c, 0, 0, rank, rank < 0 ? NULL : dims);
    return GOPT_OK;
}

GI_DEFINE_SUM(sum_f32, float, v)
GI_DEFINE_SUM(sum_f64, double, v)
GI_DEFINE_SUM(sum_pow_f32, float, pow(fabs(v), m))
GI_DEFINE_SUM(sum_pow_f64, double, pow(fabs(v), m))

typedef enum global_kind { GLOBAL_MEAN, GLOBAL_MAX, GLOBAL_LP } global_kind;

static double largest(gopt_dtype real, const void *x, int64_t n)
{
    double best = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        const double v = real == GOPT_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
        if (v > best || v != v)
            best = v;
    }
    return best;
}

static double reduce_plane(global_kind kind, double p, gopt_dtype real, const void *x, int64_t n)
{
    const bool wide = real == GOPT_F64;
    switch (kind) {
    case GLOBAL_MEAN:
        return (wide ? sum_f64(x, n, 0) : sum_f32(x, n, 0)) / (double)n;
    case GLOBAL_MAX:
        return largest(real, x, n);
    case GLOBAL_LP:
        break;
    }
    return pow(wide ? sum_pow_f64(x, n, p) : sum_pow_f32(x, n, p), 1 / p);
}

static gopt_status eval_global(gi_eval *a, global_kind kind, double p)
{
    GI_TRY(gi_eval_rank_at_least(a, 0, 2));
    const gopt_tensor *x = a->in[0];
    const gopt_dtype real = gi_real_of(x->dtype);
    const int64_t n = gi_product(2, x->rank, x->dims), planes = x->dims[0] * x->dims[1];
    int64_t dims[GOPT_MAX_RANK] = { x->dims[0], x->dims[1] };
    for (int i = 2; i < x->rank; i++)
        dims[i] = 1;
    const void *from;
    gi_real y;
    GI_TRY(gi_real_in(a, 0, real, &from));
    GI_TRY(gi_real_out_as(a, 0, x->dtype, GOPT_F64, x->rank, dims, &y));
    for (int64_t i = 0; i < planes && y.p; i++)
        ((double *)y.p)[i] = reduce_plane(kind, p, real, (const char *)from + (size_t)(i * n) * gi_item_size(real), n);
    gi_real_store(&y);
    return GOPT_OK;
}

static gopt_status eval_global_average(gi_eval *a)
{
    return eval_global(a, GLOBAL_MEAN, 0);
}

static gopt_status eval_global_max(gi_eval *a)
{
    return eval_global(a, GLOBAL_MAX, 0);
}

static gopt_status eval_global_lp(gi_eval *a)
{
    const double p = (double)gi_attr_int(a->n, GlobalLpPool_at_p);
    if (!(p >= 1))
        return gi_eval_fail(a, -1, "attribute p is %g, expected 1 or more", p);
    return eval_global(a, GLOBAL_LP, p);
}

#include "ops/rows.h"

#include "ir/ops/pool.def"
