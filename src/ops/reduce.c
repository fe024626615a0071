/* Reductions along axes, ArgMax and ArgMin.
 *
 * The input is read once, in the order of memory. Adjacent axes that are all reduced or all kept are one; the
 * innermost then is either a run folded into one accumulator or a row folded into as many. float32 and float64
 * accumulate in double, integers in 64 bits. */
#include "ops/known.h"
#include "ops/walk.h"

#include <math.h>

/* ---- folding ---- */

typedef enum fold { FOLD_SUM, FOLD_ABS, FOLD_SQUARE, FOLD_PROD, FOLD_MAX, FOLD_MIN, FOLD_EXP, FOLD_COUNT } fold;

/* n elements from x into acc[0] (a run), or acc[i] from x[i] (a row). shift: what FOLD_EXP subtracts. */
typedef void (*fold_fn)(void *acc, const void *x, int64_t n, const double *shift);

enum { LANES = 8 };

/* Lanes keep sums independent, so that they run side by side. START is neutral. */
#define FOLD(NAME, T, A, START, EXPR)                                                   \
    static void run_##NAME(void *acc, const void *from, int64_t n, const double *shift) \
    {                                                                                   \
        const T *p = from;                                                              \
        A *out = acc, lane[LANES];                                                      \
        int64_t i = 0;                                                                  \
        (void)shift;                                                                    \
        for (int k = 0; k < LANES; k++)                                                 \
            lane[k] = START;                                                            \
        for (; i + LANES <= n; i += LANES)                                              \
            for (int k = 0; k < LANES; k++) {                                           \
                const A a = lane[k], x = (A)p[i + k];                                   \
                lane[k] = EXPR;                                                         \
            }                                                                           \
        for (; i < n; i++) {                                                            \
            const A a = lane[0], x = (A)p[i];                                           \
            lane[0] = EXPR;                                                             \
        }                                                                               \
        for (int k = 0; k < LANES; k++)                                                 \
            *out = join_##NAME(*out, lane[k]);                                          \
    }                                                                                   \
    static void row_##NAME(void *acc, const void *from, int64_t n, const double *shift) \
    {                                                                                   \
        const T *p = from;                                                              \
        A *out = acc;                                                                   \
        (void)shift;                                                                    \
        for (int64_t i = 0; i < n; i++) {                                               \
            const A a = out[i], x = (A)p[i];                                            \
            out[i] = EXPR;                                                              \
        }                                                                               \
    }

#define JOIN(NAME, A, EXPR)               \
    static inline A join_##NAME(A a, A x) \
    {                                     \
        return EXPR;                      \
    }

#define WRAP(a, op, b) ((int64_t)((uint64_t)(a)op(uint64_t)(b)))

#define FLOAT_FOLDS(S, T)                                                                \
    JOIN(sum_##S, double, a + x)                                                         \
    JOIN(abs_##S, double, a + x)                                                         \
    JOIN(square_##S, double, a + x)                                                      \
    JOIN(prod_##S, double, a *x)                                                         \
    JOIN(max_##S, double, x > a || x != x ? x : a)                                       \
    JOIN(min_##S, double, x < a || x != x ? x : a)                                       \
    FOLD(sum_##S, T, double, 0, a + x)                                                   \
    FOLD(abs_##S, T, double, 0, a + fabs(x))                                             \
    FOLD(square_##S, T, double, 0, a + x * x)                                            \
    FOLD(prod_##S, T, double, 1, a *x)                                                   \
    FOLD(max_##S, T, double, -(double)INFINITY, x > a || x != x ? x : a)                 \
    FOLD(min_##S, T, double, (double)INFINITY, x < a || x != x ? x : a)                  \
    static void run_exp_##S(void *acc, const void *from, int64_t n, const double *shift) \
    {                                                                                    \
        const T *p = from;                                                               \
        double *out = acc;                                                               \
        for (int64_t i = 0; i < n; i++)                                                  \
            *out += exp((double)p[i] - *shift);                                          \
    }                                                                                    \
    static void row_exp_##S(void *acc, const void *from, int64_t n, const double *shift) \
    {                                                                                    \
        const T *p = from;                                                               \
        double *out = acc;                                                               \
        for (int64_t i = 0; i < n; i++)                                                  \
            out[i] += exp((double)p[i] - shift[i]);                                      \
    }
FLOAT_FOLDS(f32, float)
FLOAT_FOLDS(f64, double)

JOIN(sum_i64, int64_t, WRAP(a, +, x))
JOIN(abs_i64, int64_t, WRAP(a, +, x))
JOIN(square_i64, int64_t, WRAP(a, +, x))
JOIN(prod_i64, int64_t, WRAP(a, *, x))
JOIN(max_i64, int64_t, x > a ? x : a)
JOIN(min_i64, int64_t, x < a ? x : a)
FOLD(sum_i64, int64_t, int64_t, 0, WRAP(a, +, x))
FOLD(abs_i64, int64_t, int64_t, 0, x < 0 ? WRAP(a, -, x) : WRAP(a, +, x))
FOLD(square_i64, int64_t, int64_t, 0, WRAP(a, +, WRAP(x, *, x)))
FOLD(prod_i64, int64_t, int64_t, 1, WRAP(a, *, x))
FOLD(max_i64, int64_t, int64_t, INT64_MIN, x > a ? x : a)
FOLD(min_i64, int64_t, int64_t, INT64_MAX, x < a ? x : a)

#define PAIR(N)          \
    {                    \
        run_##N, row_##N \
    }
static const fold_fn folds_f32[FOLD_COUNT][2] = {
    PAIR(sum_f32), PAIR(abs_f32), PAIR(square_f32), PAIR(prod_f32), PAIR(max_f32), PAIR(min_f32), PAIR(exp_f32),
};
static const fold_fn folds_f64[FOLD_COUNT][2] = {
    PAIR(sum_f64), PAIR(abs_f64), PAIR(square_f64), PAIR(prod_f64), PAIR(max_f64), PAIR(min_f64), PAIR(exp_f64),
};
static const fold_fn folds_i64[FOLD_COUNT][2] = {
    PAIR(sum_i64), PAIR(abs_i64), PAIR(square_i64), PAIR(prod_i64), PAIR(max_i64), PAIR(min_i64), { NULL, NULL },
};

/* ---- which axes ---- */

/* Marks the axes that are reduced. None given: all, or none where the node says so. */
static gopt_status reduced_axes(const gi_eval *a, int rank, bool *reduced)
{
    const gopt_tensor *t = a->n_in > ReduceSum_in_axes ? a->in[ReduceSum_in_axes] : NULL;
    const int64_t n = t ? gopt_tensor_elements(t) : 0;
    if (t && !gi_dtype_is_int(t->dtype))
        return gi_eval_fail(a, ReduceSum_in_axes, "it has elements of type %s, expected integers",
                            gopt_dtype_name(t->dtype));
    for (int i = 0; i < rank; i++)
        reduced[i] = n == 0 && !gi_attr_int(a->n, ReduceSum_at_noop_with_empty_axes);
    for (int64_t i = 0; i < n; i++) {
        int at;
        if (!gi_axis(gi_tensor_i64(t, i), rank, &at))
            return gi_eval_fail(a, ReduceSum_in_axes, "axis %lld lies outside of rank %d",
                                (long long)gi_tensor_i64(t, i), rank);
        reduced[at] = true;
    }
    return GOPT_OK;
}

/* The input's axes, adjacent ones of a kind as one. */
typedef struct layout {
    int n; /* of groups outside the innermost */
    int64_t size[GOPT_MAX_RANK];
    int64_t step[GOPT_MAX_RANK]; /* in accumulators; 0 where reduced */
    int64_t inner;               /* elements of the innermost group */
    bool inner_reduced;
} layout;

static void lay_out(const gopt_tensor *x, const bool *reduced, layout *l)
{
    bool kind[GOPT_MAX_RANK] = { false };
    int n = 0;
    for (int i = 0; i < x->rank; i++) {
        if (x->dims[i] == 1)
            continue;
        if (n > 0 && kind[n - 1] == reduced[i]) {
            l->size[n - 1] *= x->dims[i];
        } else {
            kind[n] = reduced[i];
            l->size[n++] = x->dims[i];
        }
    }
    int64_t step = 1;
    for (int i = n - 1; i >= 0; i--) {
        l->step[i] = kind[i] ? 0 : step;
        step *= kind[i] ? 1 : l->size[i];
    }
    l->inner = n ? l->size[n - 1] : 1;
    l->inner_reduced = n && kind[n - 1];
    l->n = n ? n - 1 : 0;
}

/* Folds all of x, whose elements have `item` bytes, into accumulators of 8 bytes. */
static void fold_all(const layout *l, const void *x, size_t item, const fold_fn f[2], void *acc, const double *shift)
{
    const uint8_t *p = x;
    int64_t at[GOPT_MAX_RANK] = { 0 }, to = 0;
    const fold_fn inner = f[!l->inner_reduced];
    for (int i = 0; i < l->n; i++)
        if (l->size[i] == 0)
            return;
    if (l->inner == 0)
        return;
    for (;;) {
        inner((uint8_t *)acc + (size_t)to * 8, p, l->inner, shift ? shift + to : NULL);
        p += (size_t)l->inner * item;
        int i = l->n - 1;
        for (; i >= 0; i--) {
            to += l->step[i];
            if (++at[i] < l->size[i])
                break;
            to -= l->step[i] * l->size[i];
            at[i] = 0;
        }
        if (i < 0)
            return;
    }
}

/* ---- evaluation ---- */

static fold fold_of(gi_opcode op)
{
    switch (op) {
    case OP_ReduceMax:
        return FOLD_MAX;
    case OP_ReduceMin:
        return FOLD_MIN;
    case OP_ReduceProd:
        return FOLD_PROD;
    case OP_ReduceL1:
        return FOLD_ABS;
    case OP_ReduceL2:
    case OP_ReduceSumSquare:
        return FOLD_SQUARE;
    case OP_ReduceLogSumExp:
        return FOLD_EXP;
    default:
        return FOLD_SUM;
    }
}

static double finish(gi_opcode op, double v, int64_t count)
{
    switch (op) {
    case OP_ReduceMean:
        return v / (double)count;
    case OP_ReduceL2:
        return sqrt(v);
    case OP_ReduceLogSum:
        return log(v);
    default:
        return v;
    }
}

/* In double: floats, and integers where the result needs it. */
static gopt_status reduce_floats(gi_eval *a, const layout *l, int64_t count, gopt_tensor *y)
{
    const gopt_tensor *x = a->in[0];
    const bool wide = x->dtype == GOPT_F64 || gi_dtype_is_int(x->dtype);
    const void *data = wide ? (const void *)gi_as_f64(a, x) : gi_as_f32(a, x);
    const size_t n = (size_t)gopt_tensor_elements(y), item = wide ? 8 : 4;
    const fold_fn(*folds)[2] = wide ? folds_f64 : folds_f32;
    const fold what = fold_of(a->n->op);
    double *acc = gi_eval_scratch(a, n, sizeof *acc), *shift = NULL;
    GI_NEED(data && acc);
    if (what == FOLD_EXP) { /* exp(x - max): no overflow; the max of nothing or of infinities shifts nothing */
        shift = gi_eval_scratch(a, n, sizeof *shift);
        GI_NEED(shift);
        for (size_t i = 0; i < n; i++)
            shift[i] = -INFINITY;
        fold_all(l, data, item, folds[FOLD_MAX], shift, NULL);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(shift[i]))
                shift[i] = 0;
    }
    const double start = what == FOLD_PROD ? 1 : what == FOLD_MAX ? -INFINITY : what == FOLD_MIN ? INFINITY : 0;
    for (size_t i = 0; i < n; i++)
        acc[i] = start;
    fold_all(l, data, item, folds[what], acc, shift);
    for (size_t i = 0; i < n; i++)
        gi_store_f64(y->dtype, y->data, i, shift ? log(acc[i]) + shift[i] : finish(a->n->op, acc[i], count));
    return GOPT_OK;
}

static gopt_status reduce_ints(gi_eval *a, const layout *l, gopt_tensor *y)
{
    const gopt_tensor *x = a->in[0];
    const fold what = fold_of(a->n->op);
    const size_t n_in = (size_t)gopt_tensor_elements(x), n = (size_t)gopt_tensor_elements(y);
    const uint64_t flip = x->dtype == GOPT_U64 && (what == FOLD_MAX || what == FOLD_MIN) ? (uint64_t)1 << 63 : 0;
    const int bits = gopt_dtype_bits(x->dtype);
    const bool is_signed = gi_dtype_class(x->dtype) == GI_SINT;
    int64_t *v = gi_eval_scratch(a, n_in, sizeof *v), *acc = gi_eval_scratch(a, n, sizeof *acc), start = 0;
    GI_NEED(v && acc);
    for (size_t i = 0; i < n_in; i++)
        v[i] = (int64_t)((uint64_t)gi_load_i64(x->dtype, x->data, i) ^ flip);
    if (what == FOLD_PROD)
        start = 1;
    else if (what == FOLD_MAX) /* of nothing: the least of the type */
        start = is_signed || flip ? INT64_MIN >> (flip ? 0 : 64 - bits) : 0;
    else if (what == FOLD_MIN)
        start = x->dtype == GOPT_BOOL ? 1
                : flip                ? INT64_MAX
                                      : (int64_t)(UINT64_MAX >> (64 - bits + (is_signed ? 1 : 0)));
    for (size_t i = 0; i < n; i++)
        acc[i] = start;
    fold_all(l, v, 8, folds_i64[what], acc, NULL);
    for (size_t i = 0; i < n; i++)
        gi_store_i64(y->dtype, y->data, i, (int64_t)((uint64_t)acc[i] ^ flip));
    return GOPT_OK;
}

static gopt_status eval_reduce(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const bool keep = gi_attr_int(a->n, ReduceSum_at_keepdims) != 0;
    bool reduced[GOPT_MAX_RANK] = { false };
    int64_t dims[GOPT_MAX_RANK], count = 1;
    int rank = 0;
    gopt_tensor *y;
    layout l;
    GI_TRY(reduced_axes(a, x->rank, reduced));
    for (int i = 0; i < x->rank; i++) {
        if (!reduced[i] || keep)
            dims[rank++] = reduced[i] ? 1 : x->dims[i];
        count *= reduced[i] ? x->dims[i] : 1;
    }
    GI_TRY(gi_eval_out(a, 0, x->dtype, rank, dims, &y));
    if (!y)
        return GOPT_OK;
    lay_out(x, reduced, &l);
    const gi_opcode op = a->n->op;
    if (gi_dtype_is_float(x->dtype) || op == OP_ReduceMean || op == OP_ReduceL2 || op == OP_ReduceLogSum ||
        op == OP_ReduceLogSumExp)
        return reduce_floats(a, &l, count, y);
    return reduce_ints(a, &l, y);
}

/* ---- ArgMax and ArgMin ---- */

/* Is x better than the best so far? NaN is best of all, the first of them. */
#define ARG(S, T)                                                                                                  \
    static int64_t arg_##S(const T *p, int64_t n, int64_t stride, bool least, bool last)                           \
    {                                                                                                              \
        int64_t best = 0;                                                                                          \
        T at_best = p[0];                                                                                          \
        for (int64_t i = 1; i < n; i++) {                                                                          \
            const T x = p[i * stride];                                                                             \
            if ((least ? x < at_best : x > at_best) || (x != x && at_best == at_best) || (last && x == at_best)) { \
                best = i;                                                                                          \
                at_best = x;                                                                                       \
            }                                                                                                      \
        }                                                                                                          \
        return best;                                                                                               \
    }
ARG(f32, float)
ARG(f64, double)
ARG(i64, int64_t)

static gopt_status eval_arg(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const bool least = a->n->op == OP_ArgMin, last = gi_attr_int(a->n, ArgMax_at_select_last_index) != 0;
    const bool is_int = gi_dtype_is_int(x->dtype), keep = gi_attr_int(a->n, ArgMax_at_keepdims) != 0;
    int64_t dims[GOPT_MAX_RANK];
    int axis, rank = 0;
    gopt_tensor *y;
    if (!gi_axis(gi_attr_int(a->n, ArgMax_at_axis), x->rank, &axis))
        return gi_eval_fail(a, 0, "attribute axis is %lld, it has rank %d",
                            (long long)gi_attr_int(a->n, ArgMax_at_axis), x->rank);
    for (int i = 0; i < x->rank; i++)
        if (i != axis || keep)
            dims[rank++] = i == axis ? 1 : x->dims[i];
    const int64_t n = x->dims[axis], inner = gi_product(axis + 1, x->rank, x->dims);
    const int64_t outer = gi_product(0, axis, x->dims);
    if (n == 0 && outer * inner > 0)
        return gi_eval_fail(a, 0, "it has no elements along axis %d", axis);
    GI_TRY(gi_eval_out(a, 0, GOPT_I64, rank, dims, &y));
    if (!y || outer * inner == 0)
        return GOPT_OK;
    const float *f = x->dtype == GOPT_F64 || is_int ? NULL : gi_as_f32(a, x);
    const double *d = x->dtype == GOPT_F64 ? x->data : NULL;
    int64_t *v = NULL;
    if (is_int) {
        const size_t all = (size_t)gopt_tensor_elements(x);
        const uint64_t flip = x->dtype == GOPT_U64 ? (uint64_t)1 << 63 : 0;
        v = gi_eval_scratch(a, all, sizeof *v);
        for (size_t i = 0; v && i < all; i++)
            v[i] = (int64_t)((uint64_t)gi_load_i64(x->dtype, x->data, i) ^ flip);
    }
    GI_NEED(f || d || v);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            const int64_t at = o * n * inner + i;
            ((int64_t *)y->data)[o * inner + i] = f   ? arg_f32(f + at, n, inner, least, last)
                                                  : d ? arg_f64(d + at, n, inner, least, last)
                                                      : arg_i64(v + at, n, inner, least, last);
        }
    return GOPT_OK;
}

/* ---- type rules ---- */

/* Contents of a vector reduced to one element. */
static void known_reduced(gi_infer *c)
{
    uint32_t n;
    const gi_dim *const *known = gi_infer_known(c, 0, &n);
    const gopt_dtype t = gi_infer_dtype(c, 0);
    gi_dims *dims = c->g->dims;
    const gi_opcode op = c->n->op;
    if (!known || n == 0 || (t != GOPT_I64 && t != GOPT_I32) ||
        (op != OP_ReduceSum && op != OP_ReduceProd && op != OP_ReduceMax && op != OP_ReduceMin))
        return;
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, 1);
    if (!r) {
        c->no_memory = true;
        return;
    }
    r[0] = known[0];
    for (uint32_t i = 1; i < n && r[0]; i++)
        r[0] = op == OP_ReduceSum    ? gi_dim_add(dims, r[0], known[i])
               : op == OP_ReduceProd ? gi_dim_mul(dims, r[0], known[i])
               : op == OP_ReduceMax  ? gi_dim_max(dims, r[0], known[i])
                                     : gi_dim_min(dims, r[0], known[i]);
    gi_known_set(c, 0, t, 1, r);
}

/* The axes are not known: how many they are may be. */
static gopt_status infer_unknown_axes(gi_infer *c, int rank, bool keep)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    int64_t n = 0;
    if (!keep) {
        if (gi_infer_rank(c, ReduceSum_in_axes) != 1 || !gi_dim_is_const(gi_infer_dim(c, ReduceSum_in_axes, 0), &n) ||
            n == 0 || n > rank)
            n = rank + 1;
    }
    for (int i = 0; i < rank - n; i++) {
        dims[i] = gi_dim_unknown(c->g->dims, true);
        GI_NEED(dims[i]);
    }
    gi_infer_set(c, 0, gi_infer_dtype(c, 0), n > rank ? -1 : rank - (int)n, dims);
    return GOPT_OK;
}

static gopt_status infer_reduce(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int rank = gi_infer_rank(c, 0);
    const bool keep = gi_attr_int(c->n, ReduceSum_at_keepdims) != 0;
    const gi_dim *dims[GOPT_MAX_RANK];
    bool reduced[GOPT_MAX_RANK] = { false };
    uint32_t n = 0;
    int64_t *axes = NULL;
    int out = 0;
    if (!t)
        return GOPT_OK;
    const bool given = gi_infer_has(c, ReduceSum_in_axes);
    const bool told = !given || gi_infer_ints(c, ReduceSum_in_axes, c->scratch, &n, &axes);
    if (rank < 0) {
        const bool scalar = told && n == 0 && !keep && !gi_attr_int(c->n, ReduceSum_at_noop_with_empty_axes);
        gi_infer_set(c, 0, t->dtype, scalar ? 0 : -1, NULL);
        return GOPT_OK;
    }
    if (!told)
        return infer_unknown_axes(c, rank, keep);
    for (int i = 0; i < rank; i++)
        reduced[i] = n == 0 && !gi_attr_int(c->n, ReduceSum_at_noop_with_empty_axes);
    for (uint32_t i = 0; i < n; i++) {
        int at;
        if (!gi_axis(axes[i], rank, &at))
            return gi_infer_fail(c, 0, "which has no axis %lld", (long long)axes[i]);
        reduced[at] = true;
    }
    for (int i = 0; i < rank; i++) {
        if (reduced[i] && !keep)
            continue;
        dims[out] = reduced[i] ? gi_dim_const(c->g->dims, 1) : t->dims[i];
        GI_NEED(dims[out]);
        out++;
    }
    gi_infer_set(c, 0, t->dtype, out, dims);
    if (rank == 1 && reduced[0])
        known_reduced(c);
    return GOPT_OK;
}

static gopt_status infer_arg(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int rank = gi_infer_rank(c, 0);
    const bool keep = gi_attr_int(c->n, ArgMax_at_keepdims) != 0;
    const gi_dim *dims[GOPT_MAX_RANK];
    int axis, out = 0;
    if (!t || rank < 0) {
        gi_infer_set(c, 0, GOPT_I64, -1, NULL);
        return GOPT_OK;
    }
    if (!gi_axis(gi_attr_int(c->n, ArgMax_at_axis), rank, &axis))
        return gi_infer_fail(c, 0, "which has no axis %lld", (long long)gi_attr_int(c->n, ArgMax_at_axis));
    for (int i = 0; i < rank; i++) {
        if (i == axis && !keep)
            continue;
        dims[out] = i == axis ? gi_dim_const(c->g->dims, 1) : t->dims[i];
        GI_NEED(dims[out]);
        out++;
    }
    gi_infer_set(c, 0, GOPT_I64, out, dims);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/reduce.def"
