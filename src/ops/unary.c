/* Pointwise operators of one input. */
#include "ops/activate.h"
#include "ops/known.h"
#include "ops/walk.h"

#include <math.h>

/* ---- rows. `arg` is an array of parameters in double ---- */

#define ROW(NAME, T, EXPR)                                                                          \
    static void NAME(const void *const *in, const int *step, void *out, int64_t n, const void *arg) \
    {                                                                                               \
        const T *a = in[0];                                                                         \
        T *y = out;                                                                                 \
        (void)arg;                                                                                  \
        (void)step;                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                           \
            const T x = a[i];                                                                       \
            y[i] = (T)(EXPR);                                                                       \
        }                                                                                           \
    }

/* In float and in double; P32 and P64 are the parameters. */
#define FLOAT_ROW(NAME, EXPR32, EXPR64) ROW(NAME##_f32, float, EXPR32) ROW(NAME##_f64, double, EXPR64)
#define P32(i) ((float)((const double *)arg)[i])
#define P64(i) (((const double *)arg)[i])
#define FLOAT_TABLE(O) [GOPT_F32] = O##_f32, [GOPT_F64] = O##_f64
#define SIGNED_TABLE(O) [GOPT_I8] = O##_i8, [GOPT_I16] = O##_i16, [GOPT_I32] = O##_i32, [GOPT_I64] = O##_i64
#define UNSIGNED_TABLE(O) [GOPT_U8] = O##_u8, [GOPT_U16] = O##_u16, [GOPT_U32] = O##_u32, [GOPT_U64] = O##_u64

#define EACH_SIGNED(X)        \
    X(i8, int8_t, uint32_t)   \
    X(i16, int16_t, uint32_t) \
    X(i32, int32_t, uint32_t) \
    X(i64, int64_t, uint64_t)
#define EACH_UNSIGNED(X)       \
    X(u8, uint8_t, uint32_t)   \
    X(u16, uint16_t, uint32_t) \
    X(u32, uint32_t, uint32_t) \
    X(u64, uint64_t, uint64_t)

/* Negation wraps: the least value is its own. */
#define SIGNED_ROWS(S, T, U)                 \
    ROW(abs_##S, T, x < 0 ? 0 - (U)x : (U)x) \
    ROW(neg_##S, T, 0 - (U)x)                \
    ROW(relu_##S, T, x < 0 ? 0 : x)          \
    ROW(sign_##S, T, (x > 0) - (x < 0))      \
    ROW(bitnot_##S, T, ~x)
#define UNSIGNED_ROWS(S, T, U) \
    ROW(abs_##S, T, x)         \
    ROW(sign_##S, T, x > 0)    \
    ROW(bitnot_##S, T, ~x)
EACH_SIGNED(SIGNED_ROWS)
EACH_UNSIGNED(UNSIGNED_ROWS)
ROW(not_bool, uint8_t, !x)

/* NaN compares false everywhere, and so falls through to x or to an expression of x: it stays NaN. */
FLOAT_ROW(abs, fabsf(x), fabs(x))
FLOAT_ROW(neg, -x, -x)
FLOAT_ROW(relu, x < 0 ? 0 : x, x < 0 ? 0 : x)
FLOAT_ROW(sign, x > 0 ? 1 : x < 0 ? -1 : x, x > 0 ? 1 : x < 0 ? -1 : x)
FLOAT_ROW(ceil, ceilf(x), ceil(x))
FLOAT_ROW(floor, floorf(x), floor(x))
FLOAT_ROW(round, rintf(x), rint(x))
FLOAT_ROW(sqrt, sqrtf(x), sqrt(x))
FLOAT_ROW(reciprocal, 1 / x, 1 / x)
FLOAT_ROW(exp, expf(x), exp(x))
FLOAT_ROW(log, logf(x), log(x))
FLOAT_ROW(sin, sinf(x), sin(x))
FLOAT_ROW(cos, cosf(x), cos(x))
FLOAT_ROW(tan, tanf(x), tan(x))
FLOAT_ROW(asin, asinf(x), asin(x))
FLOAT_ROW(acos, acosf(x), acos(x))
FLOAT_ROW(atan, atanf(x), atan(x))
FLOAT_ROW(sinh, sinhf(x), sinh(x))
FLOAT_ROW(cosh, coshf(x), cosh(x))
FLOAT_ROW(tanh, tanhf(x), tanh(x))
FLOAT_ROW(asinh, asinhf(x), asinh(x))
FLOAT_ROW(acosh, acoshf(x), acosh(x))
FLOAT_ROW(atanh, atanhf(x), atanh(x))
FLOAT_ROW(erf, erff(x), erf(x))
FLOAT_ROW(sigmoid, 1 / (1 + expf(-x)), 1 / (1 + exp(-x)))
FLOAT_ROW(softsign, x / (1 + fabsf(x)), x / (1 + fabs(x)))
FLOAT_ROW(leaky_relu, x < 0 ? P32(0) * x : x, x < 0 ? P64(0) * x : x)
FLOAT_ROW(thresholded_relu, x > P32(0) ? x : 0, x > P64(0) ? x : 0)
FLOAT_ROW(elu, x < 0 ? P32(0) * expm1f(x) : x, x < 0 ? P64(0) * expm1(x) : x)
FLOAT_ROW(celu, x < 0 ? P32(0) * expm1f(x / P32(0)) : x, x < 0 ? P64(0) * expm1(x / P64(0)) : x)
FLOAT_ROW(selu, x < 0 ? P32(1) * (P32(0) * expm1f(x)) : P32(1) * x, x < 0 ? P64(1) * (P64(0) * expm1(x)) : P64(1) * x)
FLOAT_ROW(swish, x / (1 + expf(-P32(0) * x)), x / (1 + exp(-P64(0) * x)))
FLOAT_ROW(gelu, 0.5f * x * (1 + erff(x * 0.70710678f)), 0.5 * x * (1 + erf(x * M_SQRT1_2)))
FLOAT_ROW(gelu_tanh, 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x))),
          0.5 * x * (1 + tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x))))
FLOAT_ROW(shrink, x<-P32(0) ? x + P32(1) : x> P32(0) ? x - P32(1) : 0,
          x<-P64(0) ? x + P64(1) : x> P64(0) ? x - P64(1) : 0)

static inline float unit32(float v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static inline double unit64(double v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}
FLOAT_ROW(hard_sigmoid, unit32(P32(0) * x + P32(1)), unit64(P64(0) * x + P64(1)))
FLOAT_ROW(hard_swish, unit32(x / 6 + 0.5f) * x, unit64(x / 6 + 0.5) * x)

/* log(1 + exp(x)) without overflow, and exact where x is far below 0. */
static inline float softplus32(float x)
{
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x))) + (x != x ? x : 0);
}

static inline double softplus64(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x))) + (x != x ? x : 0);
}
FLOAT_ROW(softplus, softplus32(x), softplus64(x))
FLOAT_ROW(mish, tanhf(softplus32(x)) * x, tanh(softplus64(x)) * x)

/* ---- evaluation ---- */

static gopt_status run_unary(gi_eval *a, const gi_row_table rows, const double *parameters)
{
    gopt_tensor *y;
    const gopt_tensor *x = a->in[0];
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    return y ? gi_walk_table(a, rows, 1, &x, y, parameters) : GOPT_OK;
}

#define EVAL(NAME, ...)                                   \
    static gopt_status eval_##NAME(gi_eval *a)            \
    {                                                     \
        static const gi_row_table rows = { __VA_ARGS__ }; \
        return run_unary(a, rows, NULL);                  \
    }
EVAL(abs, FLOAT_TABLE(abs), SIGNED_TABLE(abs), UNSIGNED_TABLE(abs))
EVAL(neg, FLOAT_TABLE(neg), SIGNED_TABLE(neg))
EVAL(relu, FLOAT_TABLE(relu), SIGNED_TABLE(relu))
EVAL(sign, FLOAT_TABLE(sign), SIGNED_TABLE(sign), UNSIGNED_TABLE(sign))
EVAL(bitnot, SIGNED_TABLE(bitnot), UNSIGNED_TABLE(bitnot))
EVAL(not, [GOPT_BOOL] = not_bool)
EVAL(ceil, FLOAT_TABLE(ceil))
EVAL(floor, FLOAT_TABLE(floor))
EVAL(round, FLOAT_TABLE(round))
EVAL(sqrt, FLOAT_TABLE(sqrt))
EVAL(reciprocal, FLOAT_TABLE(reciprocal))
EVAL(exp, FLOAT_TABLE(exp))
EVAL(log, FLOAT_TABLE(log))
EVAL(sin, FLOAT_TABLE(sin))
EVAL(cos, FLOAT_TABLE(cos))
EVAL(tan, FLOAT_TABLE(tan))
EVAL(asin, FLOAT_TABLE(asin))
EVAL(acos, FLOAT_TABLE(acos))
EVAL(atan, FLOAT_TABLE(atan))
EVAL(sinh, FLOAT_TABLE(sinh))
EVAL(cosh, FLOAT_TABLE(cosh))
EVAL(tanh, FLOAT_TABLE(tanh))
EVAL(asinh, FLOAT_TABLE(asinh))
EVAL(acosh, FLOAT_TABLE(acosh))
EVAL(atanh, FLOAT_TABLE(atanh))
EVAL(sigmoid, FLOAT_TABLE(sigmoid))
EVAL(hard_swish, FLOAT_TABLE(hard_swish))
EVAL(softplus, FLOAT_TABLE(softplus))
EVAL(softsign, FLOAT_TABLE(softsign))
EVAL(mish, FLOAT_TABLE(mish))

/* With float attributes, in the order of the row's parameters. */
#define WITH(NAME, P0, P1)                                                                       \
    static gopt_status eval_##NAME(gi_eval *a)                                                   \
    {                                                                                            \
        static const gi_row_table rows = { FLOAT_TABLE(NAME) };                                  \
        const double p[] = { (double)gi_attr_float(a->n, P0), (double)gi_attr_float(a->n, P1) }; \
        return run_unary(a, rows, p);                                                            \
    }
WITH(leaky_relu, LeakyRelu_at_alpha, LeakyRelu_at_alpha)
WITH(thresholded_relu, ThresholdedRelu_at_alpha, ThresholdedRelu_at_alpha)
WITH(elu, Elu_at_alpha, Elu_at_alpha)
WITH(celu, Celu_at_alpha, Celu_at_alpha)
WITH(selu, Selu_at_alpha, Selu_at_gamma)
WITH(hard_sigmoid, HardSigmoid_at_alpha, HardSigmoid_at_beta)
WITH(swish, Swish_at_alpha, Swish_at_alpha)

static gopt_status eval_gelu(gi_eval *a)
{
    static const gi_row_table exact = { FLOAT_TABLE(gelu) }, tanh_rows = { FLOAT_TABLE(gelu_tanh) };
    const bool approximate = gi_attr_is(a->n, Gelu_at_approximate, "tanh");
    if (!approximate && !gi_attr_is(a->n, Gelu_at_approximate, "none"))
        return gi_eval_fail(a, -1, "attribute approximate is '%s', expected none or tanh",
                            gi_attr_str(a->n, Gelu_at_approximate));
    return run_unary(a, approximate ? tanh_rows : exact, NULL);
}

/* Integers go through double, one by one. */
static gopt_status eval_in_double(gi_eval *a, double (*f)(double x, const double *p), const double *p)
{
    const gopt_tensor *x = a->in[0];
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    const int64_t n = y ? gopt_tensor_elements(y) : 0;
    for (int64_t i = 0; i < n; i++)
        gi_store_f64(y->dtype, y->data, (size_t)i, f(gi_tensor_f64(x, i), p));
    return GOPT_OK;
}

static double erf_one(double x, const double *p)
{
    (void)p;
    return erf(x);
}

static double shrink_one(double x, const double *p)
{
    return x < -p[0] ? x + p[1] : x > p[0] ? x - p[1] : 0;
}

static gopt_status eval_erf(gi_eval *a)
{
    static const gi_row_table rows = { FLOAT_TABLE(erf) };
    return gi_dtype_is_float(a->in[0]->dtype) ? run_unary(a, rows, NULL) : eval_in_double(a, erf_one, NULL);
}

static gopt_status eval_shrink(gi_eval *a)
{
    static const gi_row_table rows = { FLOAT_TABLE(shrink) };
    const double p[] = { (double)gi_attr_float(a->n, Shrink_at_lambd), (double)gi_attr_float(a->n, Shrink_at_bias) };
    return gi_dtype_is_float(a->in[0]->dtype) ? run_unary(a, rows, p) : eval_in_double(a, shrink_one, p);
}

static gopt_status eval_is_nan(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, GOPT_BOOL, x->rank, x->dims, &y));
    const int64_t n = y ? gopt_tensor_elements(y) : 0;
    for (int64_t i = 0; i < n; i++)
        ((uint8_t *)y->data)[i] = (uint8_t)(isnan(gi_tensor_f64(x, i)) != 0);
    return GOPT_OK;
}

static gopt_status eval_is_inf(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const bool negative = gi_attr_int(a->n, IsInf_at_detect_negative) != 0;
    const bool positive = gi_attr_int(a->n, IsInf_at_detect_positive) != 0;
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, GOPT_BOOL, x->rank, x->dims, &y));
    const int64_t n = y ? gopt_tensor_elements(y) : 0;
    for (int64_t i = 0; i < n; i++) {
        const double v = gi_tensor_f64(x, i);
        ((uint8_t *)y->data)[i] = isinf(v) && (v > 0 ? positive : negative);
    }
    return GOPT_OK;
}

/* SplitMix64: a uniform number in [0, 1). */
static double next_uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static gopt_status eval_dropout(gi_eval *a)
{
    const gopt_tensor *x = a->in[Dropout_in_data];
    const gopt_tensor *ratio = a->n_in > 1 ? a->in[Dropout_in_ratio] : NULL;
    const gopt_tensor *training = a->n_in > 2 ? a->in[Dropout_in_training_mode] : NULL;
    if ((ratio && gopt_tensor_elements(ratio) != 1) || (training && gopt_tensor_elements(training) != 1))
        return gi_eval_fail(a, -1, "ratio and training_mode must have one element each");
    const double p = ratio ? gi_tensor_f64(ratio, 0) : 0.5;
    const bool drop = training && gi_tensor_i64(training, 0) != 0 && p > 0;
    gopt_tensor *y, *mask;
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    GI_TRY(gi_eval_out(a, 1, GOPT_BOOL, x->rank, x->dims, &mask));
    const int64_t n = gopt_tensor_elements(x);
    uint64_t state = gi_attr_has(a->n, Dropout_at_seed) ? (uint64_t)gi_attr_int(a->n, Dropout_at_seed) : a->seed;
    if (y && y->data != x->data && x->bytes)
        memcpy(y->data, x->data, x->bytes);
    if (mask && n)
        memset(mask->data, 1, (size_t)n);
    for (int64_t i = 0; i < n && drop; i++) {
        const bool keep = next_uniform(&state) >= p;
        if (y)
            gi_store_f64(y->dtype, y->data, (size_t)i, keep ? gi_tensor_f64(x, i) / (1 - p) : 0);
        if (mask)
            ((uint8_t *)mask->data)[i] = keep;
    }
    return GOPT_OK;
}

/* ---- activations inside other operators ---- */

static inline float clip32(float x, float low, float high)
{
    return x < low ? low : x > high ? high : x;
}

static inline double clip64(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}
FLOAT_ROW(clip, clip32(x, P32(0), P32(1)), clip64(x, P64(0), P64(1)))

typedef struct activation {
    const char *name;
    gi_row_table rows;
    int n; /* parameters */
    double usual[GI_ACTIVATION_MAX];
} activation;

static const activation activations[] = {
    { "Relu", { FLOAT_TABLE(relu) }, 0, { 0 } },
    { "Sigmoid", { FLOAT_TABLE(sigmoid) }, 0, { 0 } },
    { "Tanh", { FLOAT_TABLE(tanh) }, 0, { 0 } },
    { "LeakyRelu", { FLOAT_TABLE(leaky_relu) }, 1, { 0.01 } },
    { "Clip", { FLOAT_TABLE(clip) }, 2, { -INFINITY, INFINITY } },
    { "HardSigmoid", { FLOAT_TABLE(hard_sigmoid) }, 2, { 0.2, 0.5 } },
    { "HardSwish", { FLOAT_TABLE(hard_swish) }, 0, { 0 } },
    { "Elu", { FLOAT_TABLE(elu) }, 1, { 1 } },
    { "Selu", { FLOAT_TABLE(selu) }, 2, { 1.67326319217681884765625, 1.05070102214813232421875 } },
    { "ThresholdedRelu", { FLOAT_TABLE(thresholded_relu) }, 1, { 1 } },
    { "Softplus", { FLOAT_TABLE(softplus) }, 0, { 0 } },
    { "Softsign", { FLOAT_TABLE(softsign) }, 0, { 0 } },
    { "Swish", { FLOAT_TABLE(swish) }, 1, { 1 } },
    { "Gelu", { FLOAT_TABLE(gelu) }, 0, { 0 } },
    { "FastGelu", { FLOAT_TABLE(gelu_tanh) }, 0, { 0 } },
};

static const activation *find_activation(const char *name)
{
    for (size_t i = 0; i < GI_COUNT(activations); i++)
        if (!strcmp(activations[i].name, name))
            return &activations[i];
    return NULL;
}

int gi_activation_parameters(const char *name, double *usual)
{
    const activation *f = find_activation(name);
    if (f)
        memcpy(usual, f->usual, sizeof f->usual);
    return f ? f->n : -1;
}

gopt_status gi_activate(gi_eval *a, const char *name, const double *parameters, gopt_tensor *y)
{
    const activation *f = find_activation(name);
    if (!f)
        return gi_eval_fail(a, -1, "activation '%s' is not known", name);
    return gi_walk_table(a, f->rows, 1, (const gopt_tensor *[]){ y }, y, parameters);
}

/* ---- type rules ---- */

static gopt_status infer_unary(gi_infer *c)
{
    const gopt_dtype t = gi_infer_dtype(c, 0);
    uint32_t n;
    const gi_dim *const *known = gi_infer_known(c, 0, &n);
    GI_TRY(gi_infer_same_type(c));
    if (!known || (t != GOPT_I32 && t != GOPT_I64))
        return GOPT_OK;
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1), *zero = gi_dim_const(c->g->dims, 0);
    GI_NEED(r && zero);
    for (uint32_t i = 0; i < n; i++) {
        int64_t least;
        const bool positive = gi_dim_lower(known[i], &least) && least >= 0;
        const bool negative = gi_dim_upper(known[i], &least) && least <= 0;
        if (c->n->op == OP_Neg)
            r[i] = gi_dim_sub(c->g->dims, zero, known[i]);
        else if (c->n->op == OP_Relu)
            r[i] = gi_dim_max(c->g->dims, known[i], zero);
        else if (c->n->op == OP_Abs && (positive || negative))
            r[i] = positive ? known[i] : gi_dim_sub(c->g->dims, zero, known[i]);
    }
    gi_known_set(c, 0, t, n, r);
    return GOPT_OK;
}

static gopt_status infer_not(gi_infer *c)
{
    uint32_t n;
    const gi_dim *const *known = gi_infer_known(c, 0, &n);
    GI_TRY(gi_infer_same_type(c));
    if (!known)
        return GOPT_OK;
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1);
    GI_NEED(r);
    for (uint32_t i = 0; i < n; i++)
        r[i] = gi_dim_is_const(known[i], NULL) ? gi_dim_const(c->g->dims, gi_dim_is(known[i], 0)) : NULL;
    gi_known_set(c, 0, GOPT_BOOL, n, r);
    return GOPT_OK;
}

static gopt_status infer_test(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    if (t)
        gi_infer_set(c, 0, GOPT_BOOL, t->rank, t->dims);
    return GOPT_OK;
}

static gopt_status infer_dropout(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    GI_TRY(gi_infer_same(c));
    if (t)
        gi_infer_set(c, Dropout_out_mask, GOPT_BOOL, t->rank, t->dims);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/unary.def"
