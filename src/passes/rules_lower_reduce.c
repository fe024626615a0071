/* Rules that expand reductions, and LogSoftmax, into what backends have kernels for: sums, maxima and pointwise chains.
 *
 * The rules that recognize these operators make networks smaller to read; where no kernel knows them, their parts run
 * faster than their evaluation. Only rows, the last dims, have kernels: other axes stay as they are. */
#include <math.h>

#include "passes/build.h"

static gopt_dtype real_of(const gi_value *x)
{
    return gi_value_dtype(x) == GOPT_F64 ? GOPT_F64 : GOPT_F32;
}

/* The axes that the root reduces, in order. False where they are none, not known, or x's rank is not. */
static bool read_axes(const gi_match *m, uint32_t *n, int64_t *axes)
{
    const int rank = gi_value_rank(m->x);
    bool reduced[GOPT_MAX_RANK] = { false };
    int64_t given[GOPT_MAX_RANK];
    uint32_t count = 0;
    if (rank < 1 || (m->a && !gi_value_ints(m->a, given, GOPT_MAX_RANK, &count)) || (m->a && !count))
        return false;
    for (int i = 0; i < rank; i++)
        reduced[i] = !m->a && !gi_attr_int(m->root, ReduceL1_at_noop_with_empty_axes);
    for (uint32_t i = 0; i < count; i++) {
        int axis;
        if (!gi_axis(given[i], rank, &axis))
            return false;
        reduced[axis] = true;
    }
    *n = 0;
    for (int i = 0; i < rank; i++)
        if (reduced[i])
            axes[(*n)++] = i;
    return *n > 0;
}

static bool reduces_rows(const gi_match *m, gi_reason *why)
{
    (void)why;
    uint32_t n;
    int64_t axes[GOPT_MAX_RANK];
    return gi_dtype_is_float(gi_value_dtype(m->x)) && read_axes(m, &n, axes) &&
           axes[0] == gi_value_rank(m->x) - (int64_t)n;
}

/* y, of kept dims, in x's type, and with the reduced dims dropped where the root drops them. */
static gi_value *finish(gi_rewrite *r, const gi_match *m, gi_value *y, uint32_t n, const int64_t *axes)
{
    y = y ? gi_rw_cast(r, y, gi_value_dtype(m->x)) : NULL;
    return y && !gi_attr_int(m->root, ReduceL1_at_keepdims) ? gi_rw_squeeze(r, y, n, axes) : y;
}

static gi_value *expand_norm(gi_rewrite *r, const gi_match *m)
{
    uint32_t n;
    int64_t axes[GOPT_MAX_RANK];
    if (!read_axes(m, &n, axes))
        return NULL;
    const gi_opcode op = m->root->op;
    gi_value *x = gi_rw_cast(r, m->x, real_of(m->x));
    gi_value *terms = op == OP_ReduceL1       ? gi_rw_unary(r, OP_Abs, x)
                      : op == OP_ReduceLogSum ? x
                                              : gi_rw_binary(r, OP_Mul, x, x);
    gi_value *y = gi_rw_reduce(r, OP_ReduceSum, terms, n, axes);
    if (op == OP_ReduceL2 || op == OP_ReduceLogSum)
        y = gi_rw_unary(r, op == OP_ReduceL2 ? OP_Sqrt : OP_Log, y);
    return finish(r, m, y, n, axes);
}

/* Log(ReduceSum(Exp(x))) */
static gi_value *log_of_sum(gi_rewrite *r, gi_value *x, uint32_t n, const int64_t *axes)
{
    return gi_rw_unary(r, OP_Log, gi_rw_reduce(r, OP_ReduceSum, gi_rw_unary(r, OP_Exp, x), n, axes));
}

static gi_value *expand_log_sum_exp(gi_rewrite *r, const gi_match *m)
{
    uint32_t n;
    int64_t axes[GOPT_MAX_RANK];
    if (!read_axes(m, &n, axes))
        return NULL;
    gi_value *x = gi_rw_cast(r, m->x, real_of(m->x)), *most = gi_rw_reduce(r, OP_ReduceMax, x, n, axes);
    gi_value *finite = gi_rw_binary(r, OP_Less, gi_rw_unary(r, OP_Abs, most), gi_rw_scalar(r, real_of(m->x), INFINITY));
    gi_value *shift = finite ? gi_rw_where(r, finite, most, gi_rw_scalar(r, real_of(m->x), 0)) : NULL;
    gi_value *y = shift ? log_of_sum(r, gi_rw_binary(r, OP_Sub, x, shift), n, axes) : NULL;
    return finish(r, m, y ? gi_rw_binary(r, OP_Add, y, shift) : NULL, n, axes);
}

static bool softens_rows(const gi_match *m, gi_reason *why)
{
    (void)why;
    int axis;
    return gi_dtype_is_float(gi_value_dtype(m->x)) && gi_value_rank(m->x) >= 1 &&
           gi_axis(gi_attr_int(m->root, LogSoftmax_at_axis), gi_value_rank(m->x), &axis) &&
           axis == gi_value_rank(m->x) - 1;
}

static gi_value *expand_log_softmax(gi_rewrite *r, const gi_match *m)
{
    const int64_t axis = gi_value_rank(m->x) - 1;
    gi_value *x = gi_rw_cast(r, m->x, real_of(m->x));
    gi_value *y = gi_rw_binary(r, OP_Sub, x, gi_rw_reduce(r, OP_ReduceMax, x, 1, &axis));
    y = y ? gi_rw_binary(r, OP_Sub, y, log_of_sum(r, y, 1, &axis)) : NULL;
    return y ? gi_rw_cast(r, y, gi_value_dtype(m->x)) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/lower_reduce.def"
