/* What runs along one axis and keeps the shape: Softmax, LogSoftmax, Hardmax, CumSum, CumProd. */
#include "ops/softmax.h"

#include "ops/infer.h"
#include "ops/walk.h"

#include <math.h>

/* The axis in the middle: outer · n · inner elements. */
typedef struct along {
    int64_t outer, n, inner;
} along;

static gopt_status find_along(const gi_eval *a, int64_t axis, along *l)
{
    const gopt_tensor *x = a->in[0];
    int at = 0;
    if (x->rank == 0 && (axis == 0 || axis == -1)) { /* a scalar counts as one element along its axis */
        *l = (along){ 1, 1, 1 };
        return GOPT_OK;
    }
    if (!gi_axis(axis, x->rank, &at))
        return gi_eval_fail(a, 0, "it has rank %d, the axis is %lld", x->rank, (long long)axis);
    *l = (along){ gi_product(0, at, x->dims), x->dims[at], gi_product(at + 1, x->rank, x->dims) };
    return GOPT_OK;
}

/* ---- Softmax and LogSoftmax: one line of n elements, or n rows of `inner` beside each other ---- */

#define SOFTMAX(S, T, EXP, LOG)                                                                       \
    static void line_##S(const T *x, T *y, int64_t n, bool logs)                                      \
    {                                                                                                 \
        T most = x[0];                                                                                \
        double sum = 0;                                                                               \
        for (int64_t i = 1; i < n; i++)                                                               \
            most = x[i] > most ? x[i] : most;                                                         \
        for (int64_t i = 0; i < n; i++) {                                                             \
            const T e = EXP(x[i] - most);                                                             \
            sum += (double)e;                                                                         \
            y[i] = logs ? x[i] - most : e;                                                            \
        }                                                                                             \
        const T scale = (T)(logs ? log(sum) : 1 / sum);                                               \
        for (int64_t i = 0; i < n; i++)                                                               \
            y[i] = logs ? y[i] - scale : y[i] * scale;                                                \
    }                                                                                                 \
    static void rows_##S(const T *x, T *y, int64_t n, int64_t inner, bool logs, T *most, double *sum) \
    {                                                                                                 \
        for (int64_t i = 0; i < inner; i++) {                                                         \
            most[i] = x[i];                                                                           \
            sum[i] = 0;                                                                               \
        }                                                                                             \
        for (int64_t k = 1; k < n; k++)                                                               \
            for (int64_t i = 0; i < inner; i++)                                                       \
                most[i] = x[k * inner + i] > most[i] ? x[k * inner + i] : most[i];                    \
        for (int64_t k = 0; k < n; k++)                                                               \
            for (int64_t i = 0; i < inner; i++) {                                                     \
                const T d = x[k * inner + i] - most[i], e = EXP(d);                                   \
                sum[i] += (double)e;                                                                  \
                y[k * inner + i] = logs ? d : e;                                                      \
            }                                                                                         \
        for (int64_t i = 0; i < inner; i++)                                                           \
            most[i] = (T)(logs ? log(sum[i]) : 1 / sum[i]);                                           \
        for (int64_t k = 0; k < n; k++)                                                               \
            for (int64_t i = 0; i < inner; i++)                                                       \
                y[k * inner + i] = logs ? y[k * inner + i] - most[i] : y[k * inner + i] * most[i];    \
    }                                                                                                 \
    static gopt_status softmax_##S(gi_eval *a, const along *l, const T *x, T *y, bool logs)           \
    {                                                                                                 \
        T *most = gi_eval_scratch(a, (size_t)l->inner, sizeof *most);                                 \
        double *sum = gi_eval_scratch(a, (size_t)l->inner, sizeof *sum);                              \
        GI_NEED(most &&sum);                                                                          \
        for (int64_t o = 0; o < l->outer && l->n > 0 && l->inner > 0; o++) {                          \
            const int64_t at = o * l->n * l->inner;                                                   \
            if (l->inner == 1)                                                                        \
                line_##S(x + at, y + at, l->n, logs);                                                 \
            else                                                                                      \
                rows_##S(x + at, y + at, l->n, l->inner, logs, most, sum);                            \
        }                                                                                             \
        return GOPT_OK;                                                                               \
    }
SOFTMAX(f32, float, expf, logf)
SOFTMAX(f64, double, exp, log)

void gi_softmax_line_f32(const float *x, float *y, int64_t n)
{
    line_f32(x, y, n, false);
}

void gi_softmax_line_f64(const double *x, double *y, int64_t n)
{
    line_f64(x, y, n, false);
}

gopt_status gi_log_softmax_f32(gi_eval *a, int64_t outer, int64_t n, int64_t inner, const float *x, float *y)
{
    return softmax_f32(a, &(along){ outer, n, inner }, x, y, true);
}

gopt_status gi_log_softmax_f64(gi_eval *a, int64_t outer, int64_t n, int64_t inner, const double *x, double *y)
{
    return softmax_f64(a, &(along){ outer, n, inner }, x, y, true);
}

static gopt_status eval_softmax(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const bool logs = a->n->op == OP_LogSoftmax;
    along l;
    gopt_tensor *y;
    GI_TRY(find_along(a, gi_attr_int(a->n, Softmax_at_axis), &l));
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    if (!y)
        return GOPT_OK;
    if (x->dtype == GOPT_F64)
        return softmax_f64(a, &l, x->data, y->data, logs);
    if (x->dtype == GOPT_F32)
        return softmax_f32(a, &l, x->data, y->data, logs);
    const int64_t n = gopt_tensor_elements(x);
    const float *from = gi_as_f32(a, x);
    float *to = gi_eval_scratch(a, (size_t)n, sizeof *to);
    GI_NEED(from && to);
    GI_TRY(softmax_f32(a, &l, from, to, logs));
    gi_floats_store(y->dtype, y->data, 0, n, to);
    return GOPT_OK;
}

static gopt_status eval_hardmax(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    along l;
    gopt_tensor *y;
    GI_TRY(find_along(a, gi_attr_int(a->n, Hardmax_at_axis), &l));
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    if (!y || l.n == 0)
        return GOPT_OK;
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t i = 0; i < l.inner; i++) {
            const int64_t at = o * l.n * l.inner + i;
            int64_t best = 0;
            for (int64_t k = 1; k < l.n; k++)
                if (gi_tensor_f64(x, at + k * l.inner) > gi_tensor_f64(x, at + best * l.inner))
                    best = k;
            for (int64_t k = 0; k < l.n; k++)
                gi_store_f64(y->dtype, y->data, (size_t)(at + k * l.inner), k == best);
        }
    return GOPT_OK;
}

/* ---- CumSum and CumProd ---- */

#define CUMULATE(S, T, A, LOAD, ADD, MUL, STORE)                                                                 \
    static void cumulate_##S(const gopt_tensor *x, gopt_tensor *y, const along *l, bool product, bool exclusive, \
                             bool reverse)                                                                       \
    {                                                                                                            \
        for (int64_t o = 0; o < l->outer; o++)                                                                   \
            for (int64_t i = 0; i < l->inner; i++) {                                                             \
                A acc = product ? 1 : 0;                                                                         \
                for (int64_t k = 0; k < l->n; k++) {                                                             \
                    const size_t at = (size_t)((o * l->n + (reverse ? l->n - 1 - k : k)) * l->inner + i);        \
                    const A v = LOAD;                                                                            \
                    const A next = product ? (MUL) : (ADD);                                                      \
                    const A out = exclusive ? acc : next;                                                        \
                    STORE;                                                                                       \
                    acc = next;                                                                                  \
                }                                                                                                \
            }                                                                                                    \
    }
CUMULATE(f32, float, double, (double)((const float *)x->data)[at], acc + v, acc *v, ((float *)y->data)[at] = (float)out)
CUMULATE(float, double, double, gi_load_f64(x->dtype, x->data, at), acc + v, acc *v,
         gi_store_f64(y->dtype, y->data, at, out))
CUMULATE(int, int64_t, int64_t, gi_load_i64(x->dtype, x->data, at), (int64_t)((uint64_t)acc + (uint64_t)v),
         (int64_t)((uint64_t)acc *(uint64_t)v), gi_store_i64(y->dtype, y->data, at, out))

static gopt_status eval_cumulative(gi_eval *a)
{
    const gopt_tensor *x = a->in[CumSum_in_x], *axis = a->in[CumSum_in_axis];
    const bool product = a->n->op == OP_CumProd, exclusive = gi_attr_int(a->n, CumSum_at_exclusive) != 0;
    const bool reverse = gi_attr_int(a->n, CumSum_at_reverse) != 0;
    along l;
    gopt_tensor *y;
    if (!gi_dtype_is_int(axis->dtype) || gopt_tensor_elements(axis) != 1)
        return gi_eval_fail(a, CumSum_in_axis, "expected one integer");
    GI_TRY(find_along(a, gi_tensor_i64(axis, 0), &l));
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    if (!y)
        return GOPT_OK;
    if (x->dtype == GOPT_F32)
        cumulate_f32(x, y, &l, product, exclusive, reverse);
    else if (gi_dtype_is_float(x->dtype))
        cumulate_float(x, y, &l, product, exclusive, reverse);
    else
        cumulate_int(x, y, &l, product, exclusive, reverse);
    return GOPT_OK;
}

/* ---- type rules ---- */

static gopt_status infer_along(gi_infer *c)
{
    const int rank = gi_infer_rank(c, 0);
    const int64_t axis = gi_attr_int(c->n, Softmax_at_axis);
    int at;
    if (rank > 0 && !gi_axis(axis, rank, &at))
        return gi_infer_fail(c, 0, "which has no axis %lld", (long long)axis);
    return gi_infer_same_type(c);
}

#include "ops/rows.h"

#include "ir/ops/softmax.def"
