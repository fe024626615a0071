/* Reductions, scans and norms. */
#include <math.h>

#include "aten/ops/pointwise.h"

/* What a reduction works on: self, its rank and axes. */
typedef struct reduction {
    gi_value *x;
    int rank;
    uint32_t n;
    int64_t axes[GOPT_MAX_RANK];
    bool keep, all; /* all: the result has rank 0 */
} reduction;

/* Reads self, dim and keepdim in the ways that schemas have them: no dim, one, a list, None. */
static bool read(gi_aten *a, reduction *r)
{
    *r = (reduction){ .x = gi_aten_tensor(a, "self") };
    if (!gi_aten_rank(a, r->x, &r->rank) || !gi_aten_bool(a, "keepdim", &r->keep) ||
        !gi_aten_axes(a, "dim", r->rank, &r->n, r->axes))
        return false;
    r->all = !gi_aten_has(a, "dim") && !r->keep;
    return true;
}

static gi_value *reduce(gi_aten *a, gi_opcode op, const reduction *r, gi_value *x)
{
    return gi_aten_reduce(a, op, x, r->n, r->axes, r->keep);
}

/* How many elements go into one result, in type t. */
static gi_value *count(gi_aten *a, const reduction *r, gopt_dtype t)
{
    int64_t n = 1, dim;
    bool known = true;
    for (uint32_t i = 0; known && i < r->n; i++)
        known = gi_type_dim_const(r->x->type, (int)r->axes[i], &dim) && gi_mul_i64(n, dim, &n);
    if (known)
        return gi_aten_number(a, t, (double)n);
    gi_value *product = NULL;
    for (uint32_t i = 0; i < r->n; i++) {
        gi_value *d = gi_aten_dim(a, r->x, (int)r->axes[i]);
        product = product ? gi_aten_2(a, OP_Mul, product, d) : d;
    }
    return gi_aten_cast(a, gi_aten_squeeze(a, product, 1, (int64_t[]){ 0 }), t);
}

/* The type that is asked for; where none is, integers and bool become i64 (or f32: `floats`). */
static bool result_type(gi_aten *a, const gi_value *x, bool floats, gopt_dtype *t)
{
    if (!gi_aten_dtype(a, "dtype", t) || (*t == GOPT_UNDEFINED && !gi_aten_dtype_of(a, x, t)))
        return false;
    if (!gi_aten_has(a, "dtype") && !gi_dtype_is_float(*t))
        *t = floats ? GOPT_F32 : GOPT_I64;
    return true;
}

/* sum, nansum, mean, nanmean, prod; row->arg is the operator. NaN counts as nothing where the name says so. */
bool gi_aten_sum(gi_aten *a)
{
    reduction r;
    gopt_dtype t;
    const bool mean = gi_aten_opcode(a) == OP_ReduceMean, skips = !strncmp(a->row->name, "nan", 3);
    if (!read(a, &r) || !result_type(a, r.x, mean, &t))
        return false;
    const bool narrow = t == GOPT_F16 || t == GOPT_BF16; /* summed in f32 */
    r.x = gi_aten_cast(a, r.x, narrow ? GOPT_F32 : t);
    gi_value *y = r.x, *n = NULL;
    if (skips && gi_aten_is_float(r.x)) {
        gi_value *nan = gi_aten_1(a, OP_IsNaN, r.x);
        y = gi_aten_where(a, nan, gi_aten_number_like(a, r.x, 0), r.x);
        if (mean)
            n = reduce(a, OP_ReduceSum, &r, gi_aten_cast(a, gi_aten_1(a, OP_Not, nan), r.x->type->dtype));
    }
    y = reduce(a, n ? OP_ReduceSum : gi_aten_opcode(a), &r, y);
    return gi_aten_return(a, 0, gi_aten_cast(a, n ? gi_aten_2(a, OP_Div, y, n) : y, t));
}

/* all, any: of what is not zero. */
bool gi_aten_all_any(gi_aten *a)
{
    reduction r;
    if (!read(a, &r))
        return false;
    gi_value *is = gi_aten_cast(a, gi_aten_cast(a, r.x, GOPT_BOOL), GOPT_I32);
    gi_value *y = gi_aten_cast(a, reduce(a, gi_aten_opcode(a), &r, is), GOPT_BOOL);
    if (r.x->type->dtype == GOPT_U8) /* a bool, once: PyTorch keeps u8 */
        y = gi_aten_cast(a, y, GOPT_U8);
    return gi_aten_return(a, 0, y);
}

/* Extremes know no bool, and not all runtimes every integer. */
static gi_value *extreme(gi_aten *a, gi_opcode op, const reduction *r)
{
    gopt_dtype t;
    if (!gi_aten_dtype_of(a, r->x, &t))
        return NULL;
    gi_value *x = t == GOPT_BOOL ? gi_aten_cast(a, r->x, GOPT_I32) : r->x;
    return gi_aten_cast(a, reduce(a, op, r, x), t);
}

bool gi_aten_amax(gi_aten *a)
{
    reduction r;
    return read(a, &r) && gi_aten_return(a, 0, extreme(a, gi_aten_opcode(a), &r));
}

bool gi_aten_aminmax(gi_aten *a)
{
    reduction r;
    return read(a, &r) && gi_aten_return(a, 0, extreme(a, OP_ReduceMin, &r)) &&
           gi_aten_return(a, 1, extreme(a, OP_ReduceMax, &r));
}

/* ArgMax or ArgMin along one axis; of all elements in a row where none is given. */
static gi_value *arg(gi_aten *a, gi_opcode op, const reduction *r, bool keep)
{
    gi_value *x = gi_aten_class(r->x) == GI_BOOLEAN ? gi_aten_cast(a, r->x, GOPT_I32) : r->x;
    return gi_aten_make(a, op, 1, &x, "axis = %lld, keepdims = %d", (long long)r->axes[0], keep);
}

bool gi_aten_arg_extreme(gi_aten *a)
{
    reduction r;
    if (!read(a, &r))
        return false;
    if (gi_aten_has(a, "dim") && r.rank)
        return gi_aten_return(a, 0, arg(a, gi_aten_opcode(a), &r, r.keep));
    r.x = gi_aten_reshape(a, r.x, 1, (int64_t[]){ -1 });
    r.axes[0] = 0;
    gi_value *y = arg(a, gi_aten_opcode(a), &r, false);
    if (r.keep) {
        int64_t ones[GOPT_MAX_RANK];
        for (int i = 0; i < r.rank; i++)
            ones[i] = 1;
        y = gi_aten_reshape(a, y, (uint32_t)r.rank, ones);
    }
    return gi_aten_return(a, 0, y);
}

/* max and min: of all elements; of two tensors; along a dim, with the places. row->arg: ReduceMax or ReduceMin. */
bool gi_aten_max_min(gi_aten *a)
{
    reduction r;
    const bool max = gi_aten_opcode(a) == OP_ReduceMax;
    if (gi_aten_tensor(a, "other")) {
        gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
        if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }))
            return false;
        const bool truth = gi_aten_class(x) == GI_BOOLEAN;
        return gi_aten_return(a, 0, gi_aten_2(a, truth ? max ? OP_Or : OP_And : max ? OP_Max : OP_Min, x, y));
    }
    if (!read(a, &r) || !gi_aten_return(a, 0, extreme(a, gi_aten_opcode(a), &r)))
        return false;
    if (!gi_aten_has(a, "dim"))
        return true;
    if (!r.rank)
        return gi_aten_return(a, 1, gi_aten_number(a, GOPT_I64, 0));
    return gi_aten_return(a, 1, arg(a, max ? OP_ArgMax : OP_ArgMin, &r, r.keep));
}

bool gi_aten_count_nonzero(gi_aten *a)
{
    reduction r;
    return read(a, &r) &&
           gi_aten_return(a, 0,
                          reduce(a, OP_ReduceSum, &r, gi_aten_cast(a, gi_aten_cast(a, r.x, GOPT_BOOL), GOPT_I64)));
}

/* ---- moments ---- */

enum { STD = 1, WITH_MEAN = 2 }; /* row->arg */

bool gi_aten_var(gi_aten *a)
{
    reduction r;
    gopt_dtype t;
    double correction = 1;
    bool unbiased = true;
    if (!read(a, &r) || !gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 1, (gi_value * *[]){ &r.x }) ||
        (gi_aten_has(a, "correction") && !gi_aten_float(a, "correction", &correction)) ||
        (gi_aten_has(a, "unbiased") && !gi_aten_bool(a, "unbiased", &unbiased)))
        return false;
    if (!unbiased)
        correction = 0;
    gi_value *centred = gi_aten_2(a, OP_Sub, r.x, gi_aten_reduce(a, OP_ReduceMean, r.x, r.n, r.axes, true));
    gi_value *square = gi_aten_2(a, OP_Mul, centred, centred), *v;
    if (correction == 0) {
        v = reduce(a, OP_ReduceMean, &r, square);
    } else {
        gi_value *n = gi_aten_with(a, OP_Sub, count(a, &r, r.x->type->dtype), correction);
        v = gi_aten_2(a, OP_Div, reduce(a, OP_ReduceSum, &r, square), gi_aten_with(a, OP_Max, n, 0));
    }
    v = a->row->arg & STD ? gi_aten_1(a, OP_Sqrt, v) : v;
    if (!gi_aten_return(a, 0, gi_aten_cast(a, v, t)))
        return false;
    return !(a->row->arg & WITH_MEAN) || gi_aten_return(a, 1, gi_aten_cast(a, reduce(a, OP_ReduceMean, &r, r.x), t));
}

/* ---- norms ---- */

gi_value *gi_aten_p_norm(gi_aten *a, gi_value *x, uint32_t n, const int64_t *axes, bool keep, double p)
{
    if (!x)
        return NULL;
    if (p == 1 || p == 2)
        return gi_aten_reduce(a, p == 1 ? OP_ReduceL1 : OP_ReduceL2, x, n, axes, keep);
    if (p == 0)
        return gi_aten_reduce(a, OP_ReduceSum, gi_aten_cast(a, gi_aten_cast(a, x, GOPT_BOOL), x->type->dtype), n, axes,
                              keep);
    gi_value *size = gi_aten_1(a, OP_Abs, x);
    if (isinf(p))
        return gi_aten_reduce(a, p > 0 ? OP_ReduceMax : OP_ReduceMin, size, n, axes, keep);
    return gi_aten_with(a, OP_Pow, gi_aten_reduce(a, OP_ReduceSum, gi_aten_with(a, OP_Pow, size, p), n, axes, keep),
                        1 / p);
}

static gi_value *norm(gi_aten *a, const reduction *r, gi_value *x, double p)
{
    return gi_aten_p_norm(a, x, r->n, r->axes, r->keep, p);
}

bool gi_aten_norm(gi_aten *a)
{
    reduction r;
    double p = 2;
    gopt_dtype t, asked;
    const char *name = gi_aten_has(a, "ord") ? "ord" : "p";
    if (!read(a, &r) || !gi_aten_dtype(a, "dtype", &asked) || (gi_aten_has(a, name) && !gi_aten_float(a, name, &p)))
        return false;
    if (asked != GOPT_UNDEFINED)
        r.x = gi_aten_cast(a, r.x, asked);
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 1, (gi_value * *[]){ &r.x }))
        return false;
    return gi_aten_return(a, 0, gi_aten_cast(a, norm(a, &r, r.x, p), t));
}

/* The p-norm of a difference: of all elements. */
bool gi_aten_dist(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    gopt_dtype t;
    double p;
    reduction r = { 0 };
    if (!gi_aten_float(a, "p", &p) || !gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    gi_value *d = gi_aten_2(a, OP_Sub, x, y);
    if (!d || !gi_aten_rank(a, d, &r.rank))
        return false;
    for (r.n = 0; r.n < (uint32_t)r.rank; r.n++)
        r.axes[r.n] = r.n;
    return gi_aten_return(a, 0, gi_aten_cast(a, norm(a, &r, d, p), t));
}

/* ‖x − y + ε‖ along the last dim. */
bool gi_aten_pairwise_distance(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "x1"), *y = gi_aten_tensor(a, "x2");
    gopt_dtype t;
    double p, eps;
    reduction r = { .n = 1, .axes = { -1 } };
    if (!gi_aten_float(a, "p", &p) || !gi_aten_float(a, "eps", &eps) || !gi_aten_bool(a, "keepdim", &r.keep) ||
        !gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    gi_value *d = gi_aten_with(a, OP_Add, gi_aten_2(a, OP_Sub, x, y), eps);
    return d && gi_aten_return(a, 0, gi_aten_cast(a, norm(a, &r, d, p), t));
}

/* x·y / (max(‖x‖, ε) · max(‖y‖, ε)) along a dim of what the two broadcast to. */
bool gi_aten_cosine_similarity(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "x1"), *y = gi_aten_tensor(a, "x2");
    gopt_dtype t;
    double eps;
    int rx, ry;
    int64_t axis;
    if (!gi_aten_float(a, "eps", &eps) || !gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }) ||
        !gi_aten_rank(a, x, &rx) || !gi_aten_rank(a, y, &ry) || !gi_aten_axis(a, "dim", rx > ry ? rx : ry, &axis))
        return false;
    axis -= rx > ry ? rx : ry; /* from the end it is the same dim of both */
    if (axis < -rx || axis < -ry)
        return gi_aten_decline(a, "its dim is broadcast");
    gi_value *nx = gi_aten_with(a, OP_Max, gi_aten_reduce(a, OP_ReduceL2, x, 1, &axis, true), eps);
    gi_value *ny = gi_aten_with(a, OP_Max, gi_aten_reduce(a, OP_ReduceL2, y, 1, &axis, true), eps);
    gi_value *p = gi_aten_2(a, OP_Mul, gi_aten_2(a, OP_Div, x, nx), gi_aten_2(a, OP_Div, y, ny));
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_reduce(a, OP_ReduceSum, p, 1, &axis, false), t));
}

/* Slices along a dim whose norm exceeds maxnorm are brought to it. */
bool gi_aten_renorm(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    reduction r = { .keep = true };
    gopt_dtype t;
    double p, most;
    int64_t axis;
    if (!gi_aten_float(a, "p", &p) || !gi_aten_float(a, "maxnorm", &most) || !gi_aten_rank(a, x, &r.rank) ||
        !gi_aten_axis(a, "dim", r.rank, &axis) || !gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 1, (gi_value * *[]){ &x }))
        return false;
    for (int i = 0; i < r.rank; i++)
        if (i != axis)
            r.axes[r.n++] = i;
    gi_value *n = norm(a, &r, x, p);
    gi_value *by = gi_aten_2(a, OP_Div, gi_aten_number_like(a, x, most), gi_aten_with(a, OP_Add, n, 1e-7));
    by = gi_aten_where(a, gi_aten_with(a, OP_Greater, n, most), by, gi_aten_number_like(a, x, 1));
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_2(a, OP_Mul, x, by), t));
}

/* The largest is taken off first; where it is infinite nothing is, so that no infinities cancel. */
bool gi_aten_logsumexp(gi_aten *a)
{
    reduction r;
    gopt_dtype t;
    if (!read(a, &r) || !gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 1, (gi_value * *[]){ &r.x }))
        return false;
    return gi_aten_return(a, 0, gi_aten_cast(a, reduce(a, OP_ReduceLogSumExp, &r, r.x), t));
}

/* ---- softmax ---- */

/* row->arg is the operator. A scalar is a row of one. */
bool gi_aten_softmax(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    gopt_dtype t;
    bool to_float;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis) || !gi_aten_dtype(a, "dtype", &t) ||
        !gi_aten_bool(a, "half_to_float", &to_float))
        return false;
    t = to_float ? GOPT_F32 : t;
    x = t != GOPT_UNDEFINED ? gi_aten_cast(a, x, t) : x;
    x = rank ? x : gi_aten_unsqueeze(a, x, 1, (int64_t[]){ 0 });
    x = gi_aten_make(a, gi_aten_opcode(a), 1, &x, "axis = %lld", (long long)axis);
    return gi_aten_return(a, 0, rank ? x : gi_aten_squeeze(a, x, 1, (int64_t[]){ 0 }));
}

/* ---- running values ---- */

bool gi_aten_cumsum(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    gopt_dtype t;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis) || !result_type(a, x, false, &t))
        return false;
    const bool narrow = t == GOPT_F16 || t == GOPT_BF16;
    x = gi_aten_cast(a, x, narrow ? GOPT_F32 : t);
    if (!rank)
        return gi_aten_return(a, 0, gi_aten_cast(a, x, t));
    return gi_aten_return(a, 0,
                          gi_aten_cast(a, gi_aten_2(a, OP_CumSum, x, gi_aten_number(a, GOPT_I64, (double)axis)), t));
}

enum { CUMPROD, CUMMAX, CUMMIN, LOGCUMSUMEXP }; /* row->arg */

/* The step of a running value: the state and the next element to the new state. */
static gi_value *step(gi_aten *a, gi_value *state, gi_value *x)
{
    switch (a->row->arg) {
    case CUMPROD:
        return gi_aten_2(a, OP_Mul, state, x);
    case LOGCUMSUMEXP: {
        gi_value *m = gi_aten_2(a, OP_Max, state, x), *d = gi_aten_1(a, OP_Abs, gi_aten_2(a, OP_Sub, state, x));
        gi_value *sum = gi_aten_2(a, OP_Add, m, gi_aten_log1p(a, gi_aten_1(a, OP_Exp, gi_aten_1(a, OP_Neg, d))));
        gi_value *same = gi_aten_with(a, OP_Add, x, M_LN2); /* infinities have no difference */
        return gi_aten_where(a, gi_aten_2(a, OP_Equal, state, x), same, sum);
    }
    default:
        return NULL;
    }
}

/* Of the two the later one where it is at least as good, or NaN: then it stays NaN. */
static gi_value *takes_over(gi_aten *a, gi_value *best, gi_value *x)
{
    gi_value *better = gi_aten_2(a, a->row->arg == CUMMAX ? OP_GreaterOrEqual : OP_LessOrEqual, x, best);
    if (!gi_aten_is_float(x))
        return better;
    return gi_aten_2(a, OP_Or, gi_aten_1(a, OP_IsNaN, x), better);
}

/* A Scan along the axis: state and element in, new state out; cummax and cummin carry the place of the best too. */
bool gi_aten_running(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    gopt_dtype t;
    const bool places = a->row->arg == CUMMAX || a->row->arg == CUMMIN;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis) || !gi_aten_dtype_of(a, x, &t))
        return false;
    if (places) {
        x = t == GOPT_BOOL ? gi_aten_cast(a, x, GOPT_I32) : x;
    } else {
        if (!result_type(a, x, a->row->arg == LOGCUMSUMEXP, &t))
            return false;
        x = gi_aten_cast(a, x, t == GOPT_F16 || t == GOPT_BF16 ? GOPT_F32 : t);
    }
    if (!rank)
        return gi_aten_return(a, 0, gi_aten_cast(a, x, t)) &&
               (!places || gi_aten_return(a, 1, gi_aten_number(a, GOPT_I64, 0)));
    if (!x)
        return false;
    /* the state before the first element: it is not looked at where places run, since the first always takes over */
    gi_value *slice = gi_aten_slice(a, x, axis, 0, 1, 1);
    gi_value *first = gi_aten_squeeze(a, slice, 1, &axis);
    const double neutral = a->row->arg == CUMPROD ? 1 : -INFINITY;
    gi_value *start = places ? first : gi_aten_full_like(a, first, x->type->dtype, neutral);
    gi_value *in[4] = { start, NULL, NULL, x };
    uint32_t n_in = 2;
    if (places) {
        in[1] = gi_aten_full_like(a, first, GOPT_I64, 0);
        in[2] = gi_aten_number(a, GOPT_I64, 0);
        n_in = 4;
    } else {
        in[1] = x;
    }
    gi_aten body = *a;
    gi_node *scan = gi_aten_scan(a, n_in, in, places ? 2 : 1, axis, &body);
    if (!scan)
        return false;
    gi_block *b = body.at;
    gi_value *state = b->params[0], *element = b->params[n_in - 1];
    gi_value *out[5];
    uint32_t n_out = 0;
    if (places) {
        gi_value *take = takes_over(&body, state, element), *i = b->params[2];
        out[n_out++] = gi_aten_where(&body, take, element, state);
        out[n_out++] = gi_aten_where(&body, take, i, b->params[1]);
        out[n_out++] = gi_aten_with(&body, OP_Add, i, 1);
        out[n_out++] = gi_aten_1(&body, OP_Identity, out[0]);
        out[n_out++] = gi_aten_1(&body, OP_Identity, out[1]);
    } else {
        out[n_out++] = step(&body, state, element);
        out[n_out++] = gi_aten_1(&body, OP_Identity, out[0]);
    }
    if (!gi_aten_scan_done(a, scan, &body, n_out, out))
        return false;
    if (!gi_aten_return(a, 0, gi_aten_cast(a, scan->out[n_in - 1], t)))
        return false;
    return !places || gi_aten_return(a, 1, scan->out[n_in]);
}

/* ---- ordered ---- */

/* The k-th least along an axis with its place: the last of the k least. */
static bool kth(gi_aten *a, gi_value *x, gi_value *k, int64_t axis, bool keep, bool nan)
{
    gi_node *least =
        x && k ? gi_aten_node(a, OP_TopK, 2, (gi_value *[]){ x, k }, 2, "axis = %lld, largest = 0", (long long)axis)
               : NULL;
    if (!least)
        return false;
    gi_value *v = gi_aten_slice(a, least->out[0], axis, -1, INT64_MAX, 1),
             *i = gi_aten_slice(a, least->out[1], axis, -1, INT64_MAX, 1);
    if (nan && gi_aten_is_float(x)) { /* where there is a NaN, it is the answer */
        gi_value *is = gi_aten_cast(a, gi_aten_1(a, OP_IsNaN, x), GOPT_I32);
        gi_value *any = gi_aten_cast(a, gi_aten_reduce(a, OP_ReduceMax, is, 1, &axis, true), GOPT_BOOL);
        gi_value *where = gi_aten_make(a, OP_ArgMax, 1, &is, "axis = %lld", (long long)axis);
        v = gi_aten_where(a, any, gi_aten_number_like(a, x, NAN), v);
        i = gi_aten_where(a, any, where, i);
    }
    return gi_aten_return(a, 0, keep ? v : gi_aten_squeeze(a, v, 1, &axis)) &&
           gi_aten_return(a, 1, keep ? i : gi_aten_squeeze(a, i, 1, &axis));
}

/* The lower of the two in the middle. */
bool gi_aten_median(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis = 0;
    bool keep;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_bool(a, "keepdim", &keep))
        return false;
    if (!gi_aten_has(a, "dim") || !rank)
        x = gi_aten_reshape(a, x, 1, (int64_t[]){ -1 });
    else if (!gi_aten_axis(a, "dim", rank, &axis))
        return false;
    gi_value *n = gi_aten_dim(a, x, (int)axis);
    gi_value *k = gi_aten_with(a, OP_Div, gi_aten_with(a, OP_Add, n, 1), 2);
    return kth(a, x, k, axis, keep && rank, true);
}

bool gi_aten_kthvalue(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis, k;
    bool keep;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis) || !gi_aten_int(a, "k", &k) ||
        !gi_aten_bool(a, "keepdim", &keep))
        return false;
    if (!rank)
        return gi_aten_return(a, 0, x) && gi_aten_return(a, 1, gi_aten_number(a, GOPT_I64, 0));
    return kth(a, x, gi_aten_list(a, 1, &k), axis, keep, false);
}

/* The most frequent along a dim, of several the least; its last place. Every element is compared with every other. */
bool gi_aten_mode(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    bool keep;
    gopt_dtype t;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis) || !gi_aten_bool(a, "keepdim", &keep) ||
        !gi_aten_dtype_of(a, x, &t))
        return false;
    if (!rank)
        return gi_aten_return(a, 0, x) && gi_aten_return(a, 1, gi_aten_number(a, GOPT_I64, 0));
    const int64_t other = axis + 1;
    gi_value *w = t == GOPT_BOOL ? gi_aten_cast(a, x, GOPT_I32) : x;
    gi_value *same = gi_aten_2(a, OP_Equal, gi_aten_unsqueeze(a, w, 1, &other), gi_aten_unsqueeze(a, w, 1, &axis));
    gi_value *times = gi_aten_reduce(a, OP_ReduceSum, gi_aten_cast(a, same, GOPT_I32), 1, &other, false);
    gi_value *most = gi_aten_2(a, OP_Equal, times, gi_aten_reduce(a, OP_ReduceMax, times, 1, &axis, true));
    gi_value *worst = gi_aten_reduce(a, OP_ReduceMax, w, 1, &axis, true);
    gi_value *v = gi_aten_reduce(a, OP_ReduceMin, gi_aten_where(a, most, w, worst), 1, &axis, true);
    gi_value *is = gi_aten_cast(a, gi_aten_2(a, OP_Equal, w, v), GOPT_I32);
    gi_value *i = gi_aten_make(a, OP_ArgMax, 1, &is, "axis = %lld, select_last_index = 1", (long long)axis);
    v = gi_aten_cast(a, v, t);
    return gi_aten_return(a, 0, keep ? v : gi_aten_squeeze(a, v, 1, &axis)) &&
           gi_aten_return(a, 1, keep ? i : gi_aten_squeeze(a, i, 1, &axis));
}

/* ---- others ---- */

/* Neighbours' means by their distances dx, or by 1: the trapezoidal rule. */
bool gi_aten_trapezoid(gi_aten *a)
{
    gi_value *y = gi_aten_tensor(a, "y"), *x = gi_aten_tensor(a, "x");
    int rank, x_rank;
    int64_t axis;
    double dx = 1;
    gopt_dtype t;
    if (!gi_aten_rank(a, y, &rank) || !gi_aten_axis(a, "dim", rank, &axis) ||
        (gi_aten_has(a, "dx") && !gi_aten_float(a, "dx", &dx)) ||
        !gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &y, &x }))
        return false;
    gi_value *pairs =
        gi_aten_2(a, OP_Add, gi_aten_slice(a, y, axis, 1, INT64_MAX, 1), gi_aten_slice(a, y, axis, 0, -1, 1));
    if (x) {
        if (!gi_aten_rank(a, x, &x_rank))
            return false;
        const int64_t at = x_rank == 1 ? 0 : axis;
        gi_value *d = gi_aten_2(a, OP_Sub, gi_aten_slice(a, x, at, 1, INT64_MAX, 1), gi_aten_slice(a, x, at, 0, -1, 1));
        int64_t to[GOPT_MAX_RANK];
        for (int i = 0; i < rank; i++)
            to[i] = i == axis ? -1 : 1;
        d = x_rank == 1 && rank > 1 ? gi_aten_reshape(a, d, (uint32_t)rank, to) : d;
        pairs = gi_aten_2(a, OP_Mul, pairs, d);
        dx = 1;
    }
    pairs = gi_aten_with(a, OP_Mul, pairs, dx / 2);
    pairs = strcmp(a->row->name, "trapezoid")
                ? gi_aten_2(a, OP_CumSum, pairs, gi_aten_number(a, GOPT_I64, (double)axis))
                : gi_aten_reduce(a, OP_ReduceSum, pairs, 1, &axis, false);
    return gi_aten_return(a, 0, gi_aten_cast(a, pairs, t));
}
