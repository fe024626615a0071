/* Pointwise operators of two and more inputs. */
#include "ops/known.h"
#include "ops/walk.h"

#include <math.h>

/* ---- rows: one plain loop a shape of steps, so that the compiler sees each of them ---- */

#define ROW(NAME, T, R, EXPR)                                                                       \
    static void NAME(const void *const *in, const int *step, void *out, int64_t n, const void *arg) \
    {                                                                                               \
        const T *a = in[0], *b = in[1];                                                             \
        R *y = out;                                                                                 \
        (void)arg;                                                                                  \
        if (step[0] && step[1]) {                                                                   \
            for (int64_t i = 0; i < n; i++) {                                                       \
                const T p = a[i], q = b[i];                                                         \
                y[i] = (R)(EXPR);                                                                   \
            }                                                                                       \
        } else if (step[0]) {                                                                       \
            const T q = *b;                                                                         \
            for (int64_t i = 0; i < n; i++) {                                                       \
                const T p = a[i];                                                                   \
                y[i] = (R)(EXPR);                                                                   \
            }                                                                                       \
        } else {                                                                                    \
            const T p = *a;                                                                         \
            for (int64_t i = 0; i < n; i++) {                                                       \
                const T q = step[1] ? b[i] : *b;                                                    \
                y[i] = (R)(EXPR);                                                                   \
            }                                                                                       \
        }                                                                                           \
    }

/* (suffix, type, unsigned type in which arithmetic wraps, least value or 0) */
#define EACH_SIGNED(X)                   \
    X(i8, int8_t, uint32_t, INT8_MIN)    \
    X(i16, int16_t, uint32_t, INT16_MIN) \
    X(i32, int32_t, uint32_t, INT32_MIN) \
    X(i64, int64_t, uint64_t, INT64_MIN)
#define EACH_UNSIGNED(X)          \
    X(u8, uint8_t, uint32_t, 0)   \
    X(u16, uint16_t, uint32_t, 0) \
    X(u32, uint32_t, uint32_t, 0) \
    X(u64, uint64_t, uint64_t, 0)
#define EACH_INT(X) EACH_SIGNED(X) EACH_UNSIGNED(X)

#define INT_ROWS(S, T, U, LEAST)               \
    ROW(add_##S, T, T, (U)p + (U)q)            \
    ROW(sub_##S, T, T, (U)p - (U)q)            \
    ROW(mul_##S, T, T, (U)p *(U)q)             \
    ROW(min_##S, T, T, p < q ? p : q)          \
    ROW(max_##S, T, T, p > q ? p : q)          \
    ROW(bitand_##S, T, T, p &q)                \
    ROW(bitor_##S, T, T, p | q)                \
    ROW(bitxor_##S, T, T, p ^ q)               \
    ROW(equal_##S, T, uint8_t, p == q)         \
    ROW(greater_##S, T, uint8_t, p > q)        \
    ROW(greater_equal_##S, T, uint8_t, p >= q) \
    ROW(less_##S, T, uint8_t, p < q)           \
    ROW(less_equal_##S, T, uint8_t, p <= q)

/* The least value by -1 has no result: it wraps to itself, its remainder is 0. */
#define SIGNED_ROWS(S, T, U, LEAST)                                  \
    INT_ROWS(S, T, U, LEAST)                                         \
    ROW(prelu_##S, T, T, p < 0 ? (U)p * (U)q : (U)p)                 \
    ROW(div_##S, T, T, q == 0 ? 0 : q == -1 ? (T)(0 - (U)p) : p / q) \
    ROW(fmod_##S, T, T, q == 0 || q == -1 ? 0 : p % q)               \
    ROW(mod_##S, T, T, q == 0 || q == -1 ? 0 : p % q != 0 && (p % q < 0) != (q < 0) ? p % q + q : p % q)

#define UNSIGNED_ROWS(S, T, U, LEAST)                      \
    INT_ROWS(S, T, U, LEAST)                               \
    ROW(div_##S, T, T, q == 0 ? 0 : p / q)                 \
    ROW(mod_##S, T, T, q == 0 ? 0 : p % q)                 \
    ROW(shl_##S, T, T, q >= sizeof(T) * 8 ? 0 : (U)p << q) \
    ROW(shr_##S, T, T, q >= sizeof(T) * 8 ? 0 : (U)p >> q) \
    ROW(prelu_##S, T, T, ((void)q, p))

/* Min and Max give NaN where either is. */
#define FLOAT_ROWS(S, T, F)                           \
    ROW(add_##S, T, T, p + q)                         \
    ROW(sub_##S, T, T, p - q)                         \
    ROW(mul_##S, T, T, p *q)                          \
    ROW(div_##S, T, T, p / q)                         \
    ROW(fmod_##S, T, T, fmod##F(p, q))                \
    ROW(mod_##S, T, T, floored_##S(p, q))             \
    ROW(pow_##S, T, T, q == 2 ? p * p : pow##F(p, q)) \
    ROW(min_##S, T, T, p < q || p != p ? p : q)       \
    ROW(max_##S, T, T, p > q || p != p ? p : q)       \
    ROW(equal_##S, T, uint8_t, p == q)                \
    ROW(greater_##S, T, uint8_t, p > q)               \
    ROW(greater_equal_##S, T, uint8_t, p >= q)        \
    ROW(less_##S, T, uint8_t, p < q)                  \
    ROW(less_equal_##S, T, uint8_t, p <= q)           \
    ROW(prelu_##S, T, T, p < 0 ? p * q : p)

/* Remainder with the sign of the divisor. */
static float floored_f32(float p, float q)
{
    const float r = fmodf(p, q);
    return r != 0 && (r < 0) != (q < 0) ? r + q : r;
}

static double floored_f64(double p, double q)
{
    const double r = fmod(p, q);
    return r != 0 && (r < 0) != (q < 0) ? r + q : r;
}

EACH_SIGNED(SIGNED_ROWS)
EACH_UNSIGNED(UNSIGNED_ROWS)
FLOAT_ROWS(f32, float, f)
FLOAT_ROWS(f64, double, )
ROW(and_bool, uint8_t, uint8_t, p &&q)
ROW(or_bool, uint8_t, uint8_t, p || q)
ROW(xor_bool, uint8_t, uint8_t, !p != !q)
ROW(equal_bool, uint8_t, uint8_t, !p == !q)

static bool same_string(gopt_string p, gopt_string q)
{
    return p.n == q.n && (p.n == 0 || !memcmp(p.p, q.p, p.n));
}
ROW(equal_string, gopt_string, uint8_t, same_string(p, q))

#define SIGNED_TABLE(O) [GOPT_I8] = O##_i8, [GOPT_I16] = O##_i16, [GOPT_I32] = O##_i32, [GOPT_I64] = O##_i64
#define UNSIGNED_TABLE(O) [GOPT_U8] = O##_u8, [GOPT_U16] = O##_u16, [GOPT_U32] = O##_u32, [GOPT_U64] = O##_u64
#define FLOAT_TABLE(O) [GOPT_F32] = O##_f32, [GOPT_F64] = O##_f64
#define INT_TABLE(O) SIGNED_TABLE(O), UNSIGNED_TABLE(O)
#define NUMERIC_TABLE(O) FLOAT_TABLE(O), INT_TABLE(O)

/* ---- evaluation ---- */

/* Inputs 0 and 1, broadcast; the output has their dtype, or is bool. */
static gopt_status run_binary(gi_eval *a, const gi_row_table rows, bool to_bool)
{
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    gopt_tensor *y;
    GI_TRY(gi_eval_broadcast(a, 2, &rank, dims));
    GI_TRY(gi_eval_out(a, 0, to_bool ? GOPT_BOOL : a->in[0]->dtype, rank, dims, &y));
    return y ? gi_walk_table(a, rows, 2, a->in, y, NULL) : GOPT_OK;
}

#define BINARY(NAME, TO_BOOL, ...)                        \
    static gopt_status eval_##NAME(gi_eval *a)            \
    {                                                     \
        static const gi_row_table rows = { __VA_ARGS__ }; \
        return run_binary(a, rows, TO_BOOL);              \
    }

BINARY(add, false, NUMERIC_TABLE(add))
BINARY(sub, false, NUMERIC_TABLE(sub))
BINARY(mul, false, NUMERIC_TABLE(mul))
BINARY(div, false, NUMERIC_TABLE(div))
BINARY(and, true, [GOPT_BOOL] = and_bool)
BINARY(or, true, [GOPT_BOOL] = or_bool)
BINARY(xor, true, [GOPT_BOOL] = xor_bool)
BINARY(bitand, false, INT_TABLE(bitand))
BINARY(bitor, false, INT_TABLE(bitor))
BINARY(bitxor, false, INT_TABLE(bitxor))
BINARY(equal, true, NUMERIC_TABLE(equal), [GOPT_BOOL] = equal_bool, [GOPT_STRING] = equal_string)
BINARY(greater, true, NUMERIC_TABLE(greater))
BINARY(greater_equal, true, NUMERIC_TABLE(greater_equal))
BINARY(less, true, NUMERIC_TABLE(less))
BINARY(less_equal, true, NUMERIC_TABLE(less_equal))
BINARY(prelu, false, NUMERIC_TABLE(prelu))

static gopt_status eval_mod(gi_eval *a)
{
    static const gi_row_table floored = { NUMERIC_TABLE(mod) };
    static const gi_row_table truncated = { FLOAT_TABLE(fmod), SIGNED_TABLE(fmod), UNSIGNED_TABLE(mod) };
    return run_binary(a, gi_attr_int(a->n, Mod_at_fmod) ? truncated : floored, false);
}

static gopt_status eval_shift(gi_eval *a)
{
    static const gi_row_table left = { UNSIGNED_TABLE(shl) }, right = { UNSIGNED_TABLE(shr) };
    const bool to_left = gi_attr_is(a->n, BitShift_at_direction, "LEFT");
    if (!to_left && !gi_attr_is(a->n, BitShift_at_direction, "RIGHT"))
        return gi_eval_fail(a, -1, "attribute direction is '%s', expected LEFT or RIGHT",
                            gi_attr_str(a->n, BitShift_at_direction));
    return run_binary(a, to_left ? left : right, false);
}

/* ---- Pow: the exponent may have another dtype ---- */

/* By squaring, wrapping; a negative exponent leaves 0 but for bases 1 and -1. */
static int64_t int_power(int64_t base, int64_t e)
{
    uint64_t r = 1, b = (uint64_t)base;
    if (e < 0)
        return base == 1 ? 1 : base == -1 ? (e % 2 ? -1 : 1) : 0;
    for (; e; e >>= 1, b *= b)
        if (e & 1)
            r *= b;
    return (int64_t)r;
}

typedef struct pow_arg {
    gopt_dtype x, y;
} pow_arg;

/* An integer base: exact with an integer exponent, through double with another. */
static void row_pow_int(const void *const *in, const int *step, void *out, int64_t n, const void *arg)
{
    const pow_arg *t = arg;
    for (int64_t i = 0; i < n; i++) {
        const size_t at_x = step[0] ? (size_t)i : 0, at_y = step[1] ? (size_t)i : 0;
        if (gi_dtype_is_int(t->y))
            gi_store_i64(t->x, out, (size_t)i,
                         int_power(gi_load_i64(t->x, in[0], at_x), gi_load_i64(t->y, in[1], at_y)));
        else
            gi_store_f64(t->x, out, (size_t)i, pow(gi_load_f64(t->x, in[0], at_x), gi_load_f64(t->y, in[1], at_y)));
    }
}

static gopt_status eval_pow(gi_eval *a)
{
    static const gi_row_table rows = { FLOAT_TABLE(pow) };
    const gopt_tensor *x = a->in[Pow_in_X], *y = a->in[Pow_in_Y];
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    gopt_tensor *z, cast = *y;
    GI_TRY(gi_eval_broadcast(a, 2, &rank, dims));
    if (!gi_dtype_is_float(y->dtype) && !gi_dtype_is_int(y->dtype))
        return gi_eval_fail(a, Pow_in_Y, "it has elements of type %s, expected numbers", gopt_dtype_name(y->dtype));
    GI_TRY(gi_eval_out(a, 0, x->dtype, rank, dims, &z));
    if (!z)
        return GOPT_OK;
    if (gi_dtype_is_int(x->dtype)) {
        gi_walk w;
        const pow_arg t = { x->dtype, y->dtype };
        const size_t item[] = { gi_item_size(x->dtype), gi_item_size(y->dtype) };
        if (!item[1])
            return gi_eval_fail(a, Pow_in_Y, "elements of type %s are not taken", gopt_dtype_name(y->dtype));
        gi_walk_init(&w, rank, dims, 2, a->in);
        gi_walk_run(&w, (const void *[]){ x->data, y->data }, item, z->data, item[0], row_pow_int, &t);
        return GOPT_OK;
    }
    if (y->dtype != x->dtype) {
        const int64_t n = gopt_tensor_elements(y);
        cast.dtype = x->dtype;
        cast.data = gi_eval_scratch(a, (size_t)n, gi_item_size(x->dtype));
        GI_NEED(cast.data);
        for (int64_t i = 0; i < n; i++)
            gi_store_f64(x->dtype, cast.data, (size_t)i, gi_tensor_f64(y, i));
    }
    return gi_walk_table(a, rows, 2, (const gopt_tensor *[]){ x, &cast }, z, NULL);
}

/* ---- any number of inputs ---- */

static void copy_broadcast(const gopt_tensor *x, gopt_tensor *y)
{
    const size_t item = gi_item_size(y->dtype);
    int64_t strides[GOPT_MAX_RANK], at[GOPT_MAX_RANK] = { 0 }, from = 0;
    const int64_t n = gopt_tensor_elements(y);
    if (n == gopt_tensor_elements(x)) {
        if (y->bytes && y->data != x->data)
            memcpy(y->data, x->data, y->bytes);
        return;
    }
    gi_broadcast_strides(x->rank, x->dims, y->rank, y->dims, strides);
    for (int64_t i = 0; i < n; i++) {
        memcpy((uint8_t *)y->data + (size_t)i * item, (const uint8_t *)x->data + (size_t)from * item, item);
        for (int d = y->rank - 1; d >= 0; d--) {
            from += strides[d];
            if (++at[d] < y->dims[d])
                break;
            from -= strides[d] * y->dims[d];
            at[d] = 0;
        }
    }
}

/* out = in[0], broadcast, then out = f(out, in[i]) in place. */
static gopt_status run_variadic(gi_eval *a, const gi_row_table rows, gopt_tensor **out)
{
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    if (a->n_in == 0)
        return gi_eval_fail(a, -1, "it has no inputs, expected at least one");
    for (uint32_t i = 0; i < a->n_in; i++)
        if (!a->in[i])
            return gi_eval_fail(a, -1, "input %u is missing", i);
    GI_TRY(gi_eval_broadcast(a, a->n_in, &rank, dims));
    GI_TRY(gi_eval_out(a, 0, a->in[0]->dtype, rank, dims, out));
    gopt_tensor *y = *out;
    if (!y)
        return GOPT_OK;
    copy_broadcast(a->in[0], y);
    for (uint32_t i = 1; i < a->n_in; i++)
        GI_TRY(gi_walk_table(a, rows, 2, (const gopt_tensor *[]){ y, a->in[i] }, y, NULL));
    return GOPT_OK;
}

#define VARIADIC(NAME, ...)                               \
    static gopt_status eval_##NAME(gi_eval *a)            \
    {                                                     \
        static const gi_row_table rows = { __VA_ARGS__ }; \
        gopt_tensor *y;                                   \
        return run_variadic(a, rows, &y);                 \
    }
VARIADIC(min, NUMERIC_TABLE(min))
VARIADIC(max, NUMERIC_TABLE(max))
VARIADIC(sum, FLOAT_TABLE(add))

static gopt_status eval_mean(gi_eval *a)
{
    static const gi_row_table add = { FLOAT_TABLE(add) }, div = { FLOAT_TABLE(div) };
    gopt_tensor *y, count = { .rank = 0 };
    double storage = 0;
    GI_TRY(run_variadic(a, add, &y));
    if (!y)
        return GOPT_OK;
    count.dtype = y->dtype;
    count.data = &storage;
    gi_store_f64(y->dtype, &storage, 0, (double)a->n_in);
    return gi_walk_table(a, div, 2, (const gopt_tensor *[]){ y, &count }, y, NULL);
}

/* ---- Where and Clip ---- */

typedef struct bytes16 {
    uint64_t a, b;
} bytes16;

#define WHERE_ROW(NAME, T)                                                                          \
    static void NAME(const void *const *in, const int *step, void *out, int64_t n, const void *arg) \
    {                                                                                               \
        const uint8_t *c = in[0];                                                                   \
        const T *p = in[1], *q = in[2];                                                             \
        T *y = out;                                                                                 \
        (void)arg;                                                                                  \
        if (step[0] && step[1] && step[2])                                                          \
            for (int64_t i = 0; i < n; i++)                                                         \
                y[i] = c[i] ? p[i] : q[i];                                                          \
        else                                                                                        \
            for (int64_t i = 0; i < n; i++)                                                         \
                y[i] = c[step[0] ? i : 0] ? p[step[1] ? i : 0] : q[step[2] ? i : 0];                \
    }
WHERE_ROW(where_1, uint8_t)
WHERE_ROW(where_2, uint16_t)
WHERE_ROW(where_4, uint32_t)
WHERE_ROW(where_8, uint64_t)
WHERE_ROW(where_16, bytes16)

static gopt_status eval_where(gi_eval *a)
{
    const gopt_tensor *x = a->in[Where_in_X], *y = a->in[Where_in_Y];
    const size_t item = (size_t)gopt_dtype_bits(x->dtype) / 8;
    gi_row_fn f = NULL;
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    gopt_tensor *out;
    gi_walk w;
    switch (item) {
    case 1:
        f = where_1;
        break;
    case 2:
        f = where_2;
        break;
    case 4:
        f = where_4;
        break;
    case 8:
        f = where_8;
        break;
    case 16:
        f = where_16;
        break;
    default:
        return gi_eval_fail(a, Where_in_X, "elements of type %s are not taken", gopt_dtype_name(x->dtype));
    }
    if (y->dtype != x->dtype)
        return gi_eval_fail(a, Where_in_Y, "it has elements of type %s, expected %s", gopt_dtype_name(y->dtype),
                            gopt_dtype_name(x->dtype));
    GI_TRY(gi_eval_broadcast(a, 3, &rank, dims));
    GI_TRY(gi_eval_out(a, 0, x->dtype, rank, dims, &out));
    if (!out)
        return GOPT_OK;
    gi_walk_init(&w, rank, dims, 3, a->in);
    gi_walk_run(&w, (const void *[]){ a->in[0]->data, x->data, y->data }, (const size_t[]){ 1, item, item }, out->data,
                item, f, NULL);
    return GOPT_OK;
}

/* Limits as min(max(p, low), high): NaN stays, and high wins over low. */
#define CLIP_ROW(S, T, U, LEAST)                                                                        \
    static void clip_##S(const void *const *in, const int *step, void *out, int64_t n, const void *arg) \
    {                                                                                                   \
        const T *const *limit = arg, *x = in[0];                                                        \
        T *y = out;                                                                                     \
        (void)step;                                                                                     \
        for (int64_t i = 0; i < n && limit[0] && limit[1]; i++) {                                       \
            const T p = x[i] < *limit[0] ? *limit[0] : x[i];                                            \
            y[i] = p > *limit[1] ? *limit[1] : p;                                                       \
        }                                                                                               \
        for (int64_t i = 0; i < n && limit[0] && !limit[1]; i++)                                        \
            y[i] = x[i] < *limit[0] ? *limit[0] : x[i];                                                 \
        for (int64_t i = 0; i < n && !limit[0] && limit[1]; i++)                                        \
            y[i] = x[i] > *limit[1] ? *limit[1] : x[i];                                                 \
        if (!limit[0] && !limit[1] && out != in[0])                                                     \
            memcpy(y, x, (size_t)n * sizeof *y);                                                        \
    }
EACH_INT(CLIP_ROW)
CLIP_ROW(f32, float, 0, 0)
CLIP_ROW(f64, double, 0, 0)

static gopt_status eval_clip(gi_eval *a)
{
    static const gi_row_table rows = { NUMERIC_TABLE(clip) };
    const gopt_tensor *x = a->in[Clip_in_input];
    const void *limit[2] = { NULL, NULL };
    float as_float[2];
    gopt_tensor *y;
    for (uint32_t i = 1; i < 3; i++) {
        const gopt_tensor *t = i < a->n_in ? a->in[i] : NULL;
        if (!t)
            continue;
        if (t->dtype != x->dtype || gopt_tensor_elements(t) != 1)
            return gi_eval_fail(a, (int)i, "expected one element of type %s", gopt_dtype_name(x->dtype));
        limit[i - 1] = t->data;
        if (x->dtype == GOPT_F16 || x->dtype == GOPT_BF16) {
            gi_floats_load(x->dtype, t->data, 0, 1, &as_float[i - 1]);
            limit[i - 1] = &as_float[i - 1];
        }
    }
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    return y ? gi_walk_table(a, rows, 1, &x, y, limit) : GOPT_OK;
}

/* ---- type rules ---- */

#define ARITHMETIC(NAME, RULE, F)                \
    static gopt_status infer_##NAME(gi_infer *c) \
    {                                            \
        GI_TRY(RULE(c));                         \
        gi_known_apply(c, F);                    \
        return GOPT_OK;                          \
    }
ARITHMETIC(add, gi_infer_binary, gi_dim_add)
ARITHMETIC(sub, gi_infer_binary, gi_dim_sub)
ARITHMETIC(mul, gi_infer_binary, gi_dim_mul)
ARITHMETIC(div, gi_infer_binary, gi_known_div)
ARITHMETIC(mod, gi_infer_binary, gi_known_mod)
ARITHMETIC(and, gi_infer_compare, gi_known_and)
ARITHMETIC(or, gi_infer_compare, gi_known_or)
ARITHMETIC(xor, gi_infer_compare, gi_known_xor)
ARITHMETIC(equal, gi_infer_compare, gi_known_equal)
ARITHMETIC(greater, gi_infer_compare, gi_known_greater)
ARITHMETIC(greater_equal, gi_infer_compare, gi_known_greater_equal)
ARITHMETIC(less, gi_infer_compare, gi_known_less)
ARITHMETIC(less_equal, gi_infer_compare, gi_known_less_equal)

static gopt_status infer_variadic(gi_infer *c)
{
    if (c->n->n_in == 0)
        return gi_infer_fail_node(c, "it has no inputs, expected at least one");
    return gi_infer_binary(c);
}
ARITHMETIC(min, infer_variadic, gi_dim_min)
ARITHMETIC(max, infer_variadic, gi_dim_max)

/* Broadcast of some inputs, without a look at their dtypes. */
static gopt_status infer_broadcast_of(gi_infer *c, uint32_t n, gopt_dtype dtype)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank = 0;
    for (uint32_t i = 0; i < n; i++) {
        const gi_type *t = gi_infer_type(c, i);
        const int r = gi_infer_rank(c, i);
        if (!gi_infer_broadcast(c, rank, dims, r, r >= 0 ? t->dims : NULL, &rank, dims))
            return gi_infer_fail(c, i, "which does not broadcast with the inputs before it");
    }
    gi_infer_set(c, 0, dtype, rank, dims);
    return GOPT_OK;
}

static gopt_status infer_pow(gi_infer *c)
{
    return infer_broadcast_of(c, 2, gi_infer_dtype(c, Pow_in_X));
}

/* The slope broadcasts to X and never widens it. */
static gopt_status infer_prelu(gi_infer *c)
{
    const gopt_dtype x = gi_infer_dtype(c, PRelu_in_X), s = gi_infer_dtype(c, PRelu_in_slope);
    const gi_type *t = gi_infer_type(c, PRelu_in_X);
    if (x && s && x != s)
        return gi_infer_fail(c, PRelu_in_slope, "expected %s elements as X has", gopt_dtype_name(x));
    if (t && gi_infer_rank(c, PRelu_in_slope) > gi_infer_rank(c, PRelu_in_X))
        return infer_broadcast_of(c, 2, x);
    gi_infer_set_type(c, 0, t);
    return GOPT_OK;
}

/* max where min is greater, as the evaluation has it. */
static gopt_status known_clipped(gi_infer *c, gopt_dtype t)
{
    uint32_t n, m;
    const gi_dim *const *known = gi_infer_known(c, Clip_in_input, &n), *const * limit[2] = { NULL };
    if (!known || (t != GOPT_I32 && t != GOPT_I64))
        return GOPT_OK;
    for (uint32_t i = 0; i < 2; i++)
        if (gi_infer_has(c, i + 1) && (!(limit[i] = gi_infer_known(c, i + 1, &m)) || m != 1))
            return GOPT_OK;
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1);
    GI_NEED(r);
    for (uint32_t i = 0; i < n; i++) {
        r[i] = limit[0] ? gi_dim_max(c->g->dims, known[i], limit[0][0]) : known[i];
        if (limit[1] && r[i])
            r[i] = gi_dim_min(c->g->dims, r[i], limit[1][0]);
    }
    gi_known_set(c, 0, t, n, r);
    return GOPT_OK;
}

static gopt_status infer_clip(gi_infer *c)
{
    const gopt_dtype x = gi_infer_dtype(c, Clip_in_input);
    for (uint32_t i = 1; i < 3; i++) {
        const gopt_dtype t = gi_infer_dtype(c, i);
        if (x && t && x != t)
            return gi_infer_fail(c, i, "expected %s elements as the first input has", gopt_dtype_name(x));
    }
    GI_TRY(gi_infer_same_type(c));
    return known_clipped(c, x);
}

static gopt_status infer_where(gi_infer *c)
{
    const gopt_dtype x = gi_infer_dtype(c, Where_in_X), y = gi_infer_dtype(c, Where_in_Y);
    if (x && y && x != y)
        return gi_infer_fail(c, Where_in_Y, "expected %s elements as X has", gopt_dtype_name(x));
    const gopt_dtype t = x ? x : y;
    GI_TRY(infer_broadcast_of(c, 3, t));
    uint32_t n[3], most = 1;
    const gi_dim *const *k[3];
    if (t != GOPT_I64 && t != GOPT_I32 && t != GOPT_BOOL)
        return GOPT_OK;
    for (uint32_t i = 0; i < 3; i++) {
        k[i] = gi_infer_known(c, i, &n[i]);
        if (!k[i] || (n[i] != 1 && most != 1 && n[i] != most))
            return GOPT_OK;
        most = n[i] == 1 ? most : n[i];
    }
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, most + 1);
    GI_NEED(r);
    for (uint32_t i = 0; i < most; i++) {
        const gi_dim *cond = k[0][n[0] == 1 ? 0 : i], *p = k[1][n[1] == 1 ? 0 : i], *q = k[2][n[2] == 1 ? 0 : i];
        r[i] = gi_dim_is(cond, 1) || p == q ? p : gi_dim_is(cond, 0) ? q : NULL;
    }
    gi_known_set(c, 0, t, most, r);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/elementwise.def"
