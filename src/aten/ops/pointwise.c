/* Element by element: PyTorch promotes types and takes Python numbers where ONNX wants operands of one type.
 *
 * What is put together of several operators goes through f32 for float16 and bfloat16, as PyTorch's kernels do. */
#include "aten/ops/pointwise.h"

#include <math.h>

gi_opcode gi_aten_opcode(const gi_aten *a)
{
    return (gi_opcode)a->row->arg;
}

gi_dclass gi_aten_class(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? gi_dtype_class(v->type->dtype) : GI_NONE;
}

bool gi_aten_wide(gi_aten *a, gi_aten_promotion how, gopt_dtype *t, uint32_t n, gi_value **const *v)
{
    if (!gi_aten_promote(a, how, n, v))
        return false;
    *t = GOPT_UNDEFINED;
    for (uint32_t i = 0; i < n && *t == GOPT_UNDEFINED; i++)
        if (*v[i] && !gi_aten_dtype_of(a, *v[i], t))
            return false;
    if (*t == GOPT_F16 || *t == GOPT_BF16)
        for (uint32_t i = 0; i < n; i++)
            if (*v[i])
                *v[i] = gi_aten_cast(a, *v[i], GOPT_F32);
    return true;
}

gi_value *gi_aten_with(gi_aten *a, gi_opcode op, gi_value *x, double number)
{
    return gi_aten_2(a, op, x, gi_aten_number_like(a, x, number));
}

gi_value *gi_aten_negative(gi_aten *a, gi_value *x)
{
    const gi_dclass c = gi_aten_class(x);
    if (c != GI_FLOAT)
        return gi_aten_with(a, OP_Less, x, 0);
    gi_value *zero = gi_aten_with(a, OP_Equal, x, 0); /* the sign of -0 shows in 1 / -0 */
    return gi_aten_with(a, OP_Less, gi_aten_where(a, zero, gi_aten_1(a, OP_Reciprocal, x), x), 0);
}

gi_value *gi_aten_log1p(gi_aten *a, gi_value *x)
{
    /* log(u) · x / (u − 1) with u = 1 + x as it was rounded: the error of u cancels (Kahan) */
    gi_value *u = gi_aten_with(a, OP_Add, x, 1);
    gi_value *share = gi_aten_2(a, OP_Div, x, gi_aten_with(a, OP_Sub, u, 1));
    gi_value *is_x = gi_aten_2(a, OP_Or, gi_aten_with(a, OP_Equal, u, 1), gi_aten_with(a, OP_Equal, u, INFINITY));
    return gi_aten_where(a, is_x, x, gi_aten_2(a, OP_Mul, gi_aten_1(a, OP_Log, u), share));
}

gi_value *gi_aten_expm1(gi_aten *a, gi_value *x)
{
    /* near zero 2·tanh(x/2) / (1 − tanh(x/2)), where exp(x) − 1 would cancel */
    gi_value *h = gi_aten_1(a, OP_Tanh, gi_aten_with(a, OP_Mul, x, 0.5));
    gi_value *one = gi_aten_number_like(a, x, 1);
    gi_value *near = gi_aten_2(a, OP_Div, gi_aten_with(a, OP_Mul, h, 2), gi_aten_2(a, OP_Sub, one, h));
    gi_value *far = gi_aten_with(a, OP_Sub, gi_aten_1(a, OP_Exp, x), 1);
    return gi_aten_where(a, gi_aten_with(a, OP_Less, gi_aten_1(a, OP_Abs, x), 0.5), near, far);
}

gi_value *gi_aten_trunc(gi_aten *a, gi_value *x)
{
    if (gi_aten_class(x) != GI_FLOAT)
        return x;
    return gi_aten_where(a, gi_aten_with(a, OP_Less, x, 0), gi_aten_1(a, OP_Ceil, x), gi_aten_1(a, OP_Floor, x));
}

/* ---- of one operand; row->arg is the operator ---- */

/* The operator takes every type that PyTorch's does. */
bool gi_aten_unary(gi_aten *a)
{
    return gi_aten_return(a, 0, gi_aten_1(a, gi_aten_opcode(a), gi_aten_tensor(a, "self")));
}

/* Integers and bool become f32 first. */
bool gi_aten_unary_float(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    return gi_aten_promote(a, GI_ATEN_TO_FLOAT, 1, (gi_value * *[]){ &x }) &&
           gi_aten_return(a, 0, gi_aten_1(a, gi_aten_opcode(a), x));
}

/* 1, 0 or −1; of NaN it is 0, where ONNX's Sign leaves NaN. */
bool gi_aten_sign(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gopt_dtype t;
    if (!gi_aten_dtype_of(a, x, &t))
        return false;
    if (!gi_dtype_is_float(t))
        return gi_aten_return(a, 0, t == GOPT_BOOL ? x : gi_aten_1(a, OP_Sign, x));
    gi_value *above = gi_aten_cast(a, gi_aten_with(a, OP_Greater, x, 0), t);
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Sub, above, gi_aten_cast(a, gi_aten_with(a, OP_Less, x, 0), t)));
}

/* Of integers it is the value itself. */
bool gi_aten_rounding(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gopt_dtype t;
    if (!gi_aten_dtype_of(a, x, &t))
        return false;
    if (!gi_dtype_is_float(t))
        return gi_aten_return(a, 0, x);
    return gi_aten_return(a, 0, a->row->arg ? gi_aten_1(a, gi_aten_opcode(a), x) : gi_aten_trunc(a, x));
}

/* The value itself: contiguous, alias, detach … say nothing in ONNX. */
bool gi_aten_same(gi_aten *a)
{
    return gi_aten_return(a, 0, gi_aten_tensor(a, "self"));
}

bool gi_aten_relu(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    return gi_aten_return(a, 0,
                          gi_aten_class(x) == GI_FLOAT ? gi_aten_1(a, OP_Relu, x) : gi_aten_with(a, OP_Max, x, 0));
}

/* Which of the functions that take several operators; rows name them as the argument of gi_aten_composed. */
static gi_value *compose(gi_aten *a, gi_value *x)
{
    gi_value *one = gi_aten_number_like(a, x, 1);
    switch (a->row->arg) {
    case GI_ATEN_DEG2RAD:
        return gi_aten_with(a, OP_Mul, x, M_PI / 180);
    case GI_ATEN_RAD2DEG:
        return gi_aten_with(a, OP_Mul, x, 180 / M_PI);
    case GI_ATEN_ERFC:
        return gi_aten_2(a, OP_Sub, one, gi_aten_1(a, OP_Erf, x));
    case GI_ATEN_EXP2:
        return gi_aten_2(a, OP_Pow, gi_aten_number_like(a, x, 2), x);
    case GI_ATEN_EXPM1:
        return gi_aten_expm1(a, x);
    case GI_ATEN_LOG1P:
        return gi_aten_log1p(a, x);
    case GI_ATEN_LOG2:
        return gi_aten_with(a, OP_Mul, gi_aten_1(a, OP_Log, x), 1 / M_LN2);
    case GI_ATEN_LOG10:
        return gi_aten_with(a, OP_Mul, gi_aten_1(a, OP_Log, x), 1 / M_LN10);
    case GI_ATEN_RSQRT:
        return gi_aten_1(a, OP_Reciprocal, gi_aten_1(a, OP_Sqrt, x));
    case GI_ATEN_SINC: {
        gi_value *p = gi_aten_with(a, OP_Mul, x, M_PI);
        gi_value *s = gi_aten_2(a, OP_Div, gi_aten_1(a, OP_Sin, p), p);
        return gi_aten_where(a, gi_aten_with(a, OP_Equal, x, 0), one, s);
    }
    default:
        return NULL;
    }
}

bool gi_aten_composed(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gopt_dtype t;
    return gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 1, (gi_value * *[]){ &x }) &&
           gi_aten_return(a, 0, gi_aten_cast(a, compose(a, x), t));
}

bool gi_aten_square(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Mul, x, x));
}

bool gi_aten_frac(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Sub, x, gi_aten_trunc(a, x)));
}

/* Halves go to even; with decimals the number is moved there and back. */
bool gi_aten_round(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int64_t decimals;
    if (!gi_aten_int(a, "decimals", &decimals))
        return false;
    if (gi_aten_class(x) != GI_FLOAT)
        return gi_aten_return(a, 0, x);
    if (!decimals)
        return gi_aten_return(a, 0, gi_aten_1(a, OP_Round, x));
    const double ten = pow(10, fabs((double)decimals));
    const gi_opcode there = decimals > 0 ? OP_Mul : OP_Div, back = decimals > 0 ? OP_Div : OP_Mul;
    gopt_dtype t;
    return gi_aten_wide(a, GI_ATEN_RESULT, &t, 1, (gi_value * *[]){ &x }) &&
           gi_aten_return(
               a, 0,
               gi_aten_cast(a, gi_aten_with(a, back, gi_aten_1(a, OP_Round, gi_aten_with(a, there, x, ten)), ten), t));
}

bool gi_aten_logit(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gopt_dtype t;
    double eps = 0;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 1, (gi_value * *[]){ &x }))
        return false;
    if (gi_aten_has(a, "eps")) {
        if (!gi_aten_float(a, "eps", &eps))
            return false;
        x = gi_aten_with(a, OP_Min, gi_aten_with(a, OP_Max, x, eps), 1 - eps);
    }
    gi_value *rest = gi_aten_2(a, OP_Sub, gi_aten_number_like(a, x, 1), x);
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_1(a, OP_Log, gi_aten_2(a, OP_Div, x, rest)), t));
}

/* ---- what kind of number it is ---- */

enum { NAN_ = 1, POSITIVE_INF = 2, NEGATIVE_INF = 4 };

/* row->arg: which kinds; negative: none of them. */
bool gi_aten_is_kind(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    const int kinds = a->row->arg < 0 ? -a->row->arg : a->row->arg;
    if (gi_aten_class(x) != GI_FLOAT)
        return gi_aten_return(a, 0, gi_aten_full_like(a, x, GOPT_BOOL, a->row->arg < 0));
    if (gi_aten_class(x) == GI_FLOAT && x->type->dtype != GOPT_F64) /* not all runtimes test the narrow ones */
        x = gi_aten_cast(a, x, GOPT_F32);
    gi_value *nan = kinds & NAN_ ? gi_aten_1(a, OP_IsNaN, x) : NULL, *inf = NULL;
    if (kinds & (POSITIVE_INF | NEGATIVE_INF))
        inf = gi_aten_make(a, OP_IsInf, 1, &x, "detect_positive = %d, detect_negative = %d", !!(kinds & POSITIVE_INF),
                           !!(kinds & NEGATIVE_INF));
    gi_value *is = nan && inf ? gi_aten_2(a, OP_Or, nan, inf) : nan ? nan : inf;
    return gi_aten_return(a, 0, a->row->arg < 0 ? gi_aten_1(a, OP_Not, is) : is);
}

bool gi_aten_signbit(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    if (gi_aten_class(x) == GI_BOOLEAN || gi_aten_class(x) == GI_UINT)
        return gi_aten_return(a, 0, gi_aten_full_like(a, x, GOPT_BOOL, 0));
    return gi_aten_return(a, 0, gi_aten_negative(a, x));
}

bool gi_aten_nan_to_num(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gopt_dtype t;
    double nan = 0, high, low;
    if (!gi_aten_dtype_of(a, x, &t))
        return false;
    if (!gi_dtype_is_float(t))
        return gi_aten_return(a, 0, x);
    high = t == GOPT_F64    ? 1.7976931348623157e308
           : t == GOPT_F16  ? 65504
           : t == GOPT_BF16 ? 0x1.fep127
                            : 0x1.fffffep127;
    low = -high;
    if ((gi_aten_has(a, "nan") && !gi_aten_float(a, "nan", &nan)) ||
        (gi_aten_has(a, "posinf") && !gi_aten_float(a, "posinf", &high)) ||
        (gi_aten_has(a, "neginf") && !gi_aten_float(a, "neginf", &low)))
        return false;
    gi_value *wide = t == GOPT_F64 ? x : gi_aten_cast(a, x, GOPT_F32);
    gi_value *y = gi_aten_where(a, gi_aten_1(a, OP_IsNaN, wide), gi_aten_number(a, t, nan), x);
    y = gi_aten_where(a, gi_aten_with(a, OP_Equal, wide, INFINITY), gi_aten_number(a, t, high), y);
    return gi_aten_return(a, 0,
                          gi_aten_where(a, gi_aten_with(a, OP_Equal, wide, -INFINITY), gi_aten_number(a, t, low), y));
}

/* ---- of two ---- */

/* bool · bool is their And. */
bool gi_aten_mul(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    return gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }) &&
           gi_aten_return(a, 0, gi_aten_2(a, gi_aten_class(x) == GI_BOOLEAN ? OP_And : OP_Mul, x, y));
}

/* x + alpha · y, x − alpha · y; rsub is the second turned round. bool + bool is their Or. */
bool gi_aten_add_sub(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    double alpha = 1;
    gopt_dtype t;
    if ((gi_aten_has(a, "alpha") && !gi_aten_float(a, "alpha", &alpha)) ||
        !gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }) || !gi_aten_dtype_of(a, x, &t))
        return false;
    if (t == GOPT_BOOL)
        return gi_aten_return(a, 0, gi_aten_2(a, OP_Or, x, y));
    gi_value **scaled = strcmp(a->row->name, "rsub") ? &y : &x;
    if (alpha != 1)
        *scaled = gi_aten_2(a, OP_Mul, *scaled, gi_aten_scalar_value(a, "alpha", t));
    if (scaled == &x)
        return gi_aten_return(a, 0, gi_aten_2(a, OP_Sub, y, x));
    return gi_aten_return(a, 0, gi_aten_2(a, gi_aten_opcode(a), x, y));
}

/* fmod: the remainder has the dividend's sign. */
static gi_value *fmod_of(gi_aten *a, gi_value *x, gi_value *y)
{
    return gi_aten_make(a, OP_Mod, 2, (gi_value *[]){ x, y }, "fmod = 1");
}

/* Have the remainder, where there is one, and the divisor different signs? */
static gi_value *turned(gi_aten *a, gi_value *remainder, gi_value *y)
{
    gi_value *signs = gi_aten_2(a, OP_Xor, gi_aten_with(a, OP_Less, y, 0), gi_aten_with(a, OP_Less, remainder, 0));
    return gi_aten_2(a, OP_And, gi_aten_1(a, OP_Not, gi_aten_with(a, OP_Equal, remainder, 0)), signs);
}

/* Of floats it comes from the remainder, which is exact, as Python's floor division: floor(x / y) is not, where x / y
 * rounds up to a whole number. By zero it is x / y. */
static gi_value *floor_division(gi_aten *a, gi_value *x, gi_value *y)
{
    if (gi_aten_class(x) != GI_FLOAT)
        return gi_aten_2(a, OP_Div, gi_aten_2(a, OP_Sub, x, gi_aten_2(a, OP_Mod, x, y)), y);
    gi_value *r = fmod_of(a, x, y);
    gi_value *q = gi_aten_2(a, OP_Div, gi_aten_2(a, OP_Sub, x, r), y);
    q = gi_aten_where(a, turned(a, r, y), gi_aten_with(a, OP_Sub, q, 1), q);
    gi_value *whole = gi_aten_1(a, OP_Floor, q); /* q is whole but for rounding */
    gi_value *above = gi_aten_with(a, OP_Greater, gi_aten_2(a, OP_Sub, q, whole), 0.5);
    whole = gi_aten_where(a, above, gi_aten_with(a, OP_Add, whole, 1), whole);
    return gi_aten_where(a, gi_aten_with(a, OP_Equal, y, 0), gi_aten_2(a, OP_Div, x, y), whole);
}

bool gi_aten_floor_divide(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    gopt_dtype t;
    return gi_aten_wide(a, GI_ATEN_RESULT, &t, 2, (gi_value * *[]){ &x, &y }) &&
           gi_aten_return(a, 0, gi_aten_cast(a, floor_division(a, x, y), t));
}

/* True division gives floats; with a rounding mode the type stays. */
bool gi_aten_div(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    const char *mode;
    gopt_dtype t;
    if (!gi_aten_str(a, "rounding_mode", &mode))
        return false;
    if (!mode)
        return gi_aten_promote(a, GI_ATEN_TO_FLOAT, 2, (gi_value * *[]){ &x, &y }) &&
               gi_aten_return(a, 0, gi_aten_2(a, OP_Div, x, y));
    if (!strcmp(mode, "floor"))
        return gi_aten_floor_divide(a);
    if (strcmp(mode, "trunc") != 0)
        return gi_aten_decline(a, "its rounding_mode is '%s', expected 'floor' or 'trunc'", mode);
    return gi_aten_wide(a, GI_ATEN_RESULT, &t, 2, (gi_value * *[]){ &x, &y }) &&
           gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_trunc(a, gi_aten_2(a, OP_Div, x, y)), t));
}

/* With the divisor's sign, as Python's %. */
bool gi_aten_remainder(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_RESULT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    if (gi_aten_class(x) != GI_FLOAT)
        return gi_aten_return(a, 0, gi_aten_2(a, OP_Mod, x, y));
    gi_value *r = fmod_of(a, x, y);
    r = gi_aten_where(a, turned(a, r, y), gi_aten_2(a, OP_Add, r, y), r);
    return gi_aten_return(a, 0, gi_aten_cast(a, r, t));
}

bool gi_aten_fmod(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    return gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }) && gi_aten_return(a, 0, fmod_of(a, x, y));
}

bool gi_aten_pow(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "exponent");
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }))
        return false;
    if (!strcmp(a->row->name, "float_power")) {
        x = gi_aten_cast(a, x, GOPT_F64);
        y = gi_aten_cast(a, y, GOPT_F64);
    }
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Pow, x, y));
}

/* Comparisons; those of order know no bool. Less and Greater of integers are exact. */
bool gi_aten_compare(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    const gi_opcode op = gi_aten_opcode(a);
    if (!gi_aten_promote(a, op == OP_Equal || op == OP_Not ? GI_ATEN_RESULT : GI_ATEN_TO_INT, 2,
                         (gi_value * *[]){ &x, &y }))
        return false;
    if (op == OP_Not)
        return gi_aten_return(a, 0, gi_aten_1(a, OP_Not, gi_aten_2(a, OP_Equal, x, y)));
    return gi_aten_return(a, 0, gi_aten_2(a, op, x, y));
}

/* NaN goes by: what is one, the other is the answer. */
bool gi_aten_fmax_fmin(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_RESULT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    gi_value *m = gi_aten_2(a, gi_aten_opcode(a), x, y);
    if (gi_aten_class(x) == GI_FLOAT)
        m = gi_aten_where(a, gi_aten_1(a, OP_IsNaN, x), y, gi_aten_where(a, gi_aten_1(a, OP_IsNaN, y), x, m));
    return gi_aten_return(a, 0, gi_aten_cast(a, m, t));
}

/* max and min of two: bool is their Or and And. */
bool gi_aten_maximum(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }))
        return false;
    const gi_opcode op = gi_aten_opcode(a);
    if (gi_aten_class(x) == GI_BOOLEAN)
        return gi_aten_return(a, 0, gi_aten_2(a, op == OP_Max ? OP_Or : OP_And, x, y));
    return gi_aten_return(a, 0, gi_aten_2(a, op, x, y));
}

bool gi_aten_logical(gi_aten *a)
{
    gi_value *x = gi_aten_cast(a, gi_aten_tensor(a, "self"), GOPT_BOOL);
    if (gi_aten_opcode(a) == OP_Not)
        return gi_aten_return(a, 0, gi_aten_1(a, OP_Not, x));
    return gi_aten_return(a, 0,
                          gi_aten_2(a, gi_aten_opcode(a), x, gi_aten_cast(a, gi_aten_tensor(a, "other"), GOPT_BOOL)));
}

/* Bits of integers; of bool the logical operators. row->arg is the one for bits. */
bool gi_aten_bitwise(gi_aten *a)
{
    static const struct {
        gi_opcode bits, truth;
    } pairs[] = {
        { OP_BitwiseAnd, OP_And }, { OP_BitwiseOr, OP_Or }, { OP_BitwiseXor, OP_Xor }, { OP_BitwiseNot, OP_Not }
    };
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }))
        return false;
    for (size_t i = 0; i < GI_COUNT(pairs); i++)
        if (pairs[i].bits == gi_aten_opcode(a)) {
            const gi_opcode op = gi_aten_class(x) == GI_BOOLEAN ? pairs[i].truth : pairs[i].bits;
            return gi_aten_return(a, 0,
                                  op == OP_Not || op == OP_BitwiseNot ? gi_aten_1(a, op, x) : gi_aten_2(a, op, x, y));
        }
    return false;
}

/* ONNX shifts unsigned integers alone: of signed ones a shift is a product by, or a floor division by, a power of two.
 * row->arg: 1 to the right. */
bool gi_aten_shift(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }))
        return false;
    if (gi_aten_class(x) == GI_UINT)
        return gi_aten_return(a, 0,
                              gi_aten_make(a, OP_BitShift, 2, (gi_value *[]){ x, y }, "direction = \"%s\"",
                                           a->row->arg ? "RIGHT" : "LEFT"));
    gi_value *two = gi_aten_2(a, OP_Pow, gi_aten_number_like(a, x, 2), y);
    return gi_aten_return(a, 0, a->row->arg ? floor_division(a, x, two) : gi_aten_2(a, OP_Mul, x, two));
}

bool gi_aten_atan2(gi_aten *a)
{
    gi_value *y = gi_aten_tensor(a, "self"), *x = gi_aten_tensor(a, "other");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &y, &x }))
        return false;
    /* in the left half plane half a turn is added, with y's sign; zeros have signs, two infinities an angle between */
    gi_value *left = gi_aten_negative(a, x), *below = gi_aten_negative(a, y);
    gi_value *angle = gi_aten_1(a, OP_Atan, gi_aten_2(a, OP_Div, y, x));
    gi_value *both = gi_aten_2(a, OP_And, gi_aten_with(a, OP_Equal, gi_aten_1(a, OP_Abs, x), INFINITY),
                               gi_aten_with(a, OP_Equal, gi_aten_1(a, OP_Abs, y), INFINITY));
    gi_value *quarter = gi_aten_where(a, gi_aten_2(a, OP_Xor, left, below), gi_aten_number_like(a, x, -M_PI_4),
                                      gi_aten_number_like(a, x, M_PI_4));
    angle = gi_aten_where(a, both, quarter, angle);
    gi_value *zero = gi_aten_where(a, left, gi_aten_1(a, OP_Neg, y), y);
    angle = gi_aten_where(a, gi_aten_with(a, OP_Equal, y, 0), zero, angle);
    gi_value *half = gi_aten_where(a, below, gi_aten_number_like(a, x, -M_PI), gi_aten_number_like(a, x, M_PI));
    angle = gi_aten_where(a, left, gi_aten_2(a, OP_Add, angle, half), angle);
    angle = gi_aten_where(a, gi_aten_1(a, OP_IsNaN, x), x, angle);
    return gi_aten_return(a, 0, gi_aten_cast(a, angle, t));
}

bool gi_aten_copysign(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    gi_value *size = gi_aten_1(a, OP_Abs, x);
    return gi_aten_return(
        a, 0, gi_aten_cast(a, gi_aten_where(a, gi_aten_negative(a, y), gi_aten_1(a, OP_Neg, size), size), t));
}

bool gi_aten_heaviside(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *v = gi_aten_tensor(a, "values");
    gopt_dtype t;
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &v }) || !gi_aten_dtype_of(a, x, &t))
        return false;
    gi_value *step = gi_aten_cast(a, gi_aten_with(a, OP_Greater, x, 0), t);
    return gi_aten_return(a, 0, gi_aten_where(a, gi_aten_with(a, OP_Equal, x, 0), v, step));
}

bool gi_aten_hypot(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    /* m · √((x/m)² + (y/m)²), m the larger, so that squares do not overflow */
    x = gi_aten_1(a, OP_Abs, x);
    y = gi_aten_1(a, OP_Abs, y);
    gi_value *m = gi_aten_2(a, OP_Max, x, y);
    gi_value *whole = gi_aten_2(a, OP_Or, gi_aten_with(a, OP_Equal, m, 0), gi_aten_with(a, OP_Equal, m, INFINITY));
    gi_value *by = gi_aten_where(a, whole, gi_aten_number_like(a, m, 1), m);
    x = gi_aten_2(a, OP_Div, x, by);
    y = gi_aten_2(a, OP_Div, y, by);
    gi_value *s = gi_aten_2(a, OP_Add, gi_aten_2(a, OP_Mul, x, x), gi_aten_2(a, OP_Mul, y, y));
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_2(a, OP_Mul, by, gi_aten_1(a, OP_Sqrt, s)), t));
}

/* x · log(y), zero where x is; row->arg: of log1p(y). */
bool gi_aten_xlogy(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    gi_value *p = gi_aten_2(a, OP_Mul, x, a->row->arg ? gi_aten_log1p(a, y) : gi_aten_1(a, OP_Log, y));
    p = gi_aten_where(a, gi_aten_with(a, OP_Equal, x, 0), gi_aten_number_like(a, x, 0), p);
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_where(a, gi_aten_1(a, OP_IsNaN, y), y, p), t));
}

/* log(bˣ + bʸ) to the base b = e, or 2 where row->arg says so: the larger, and what the other adds to it. */
bool gi_aten_logaddexp(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    const double ln = a->row->arg == 2 ? M_LN2 : 1;
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    gi_value *m = gi_aten_2(a, OP_Max, x, y), *d = gi_aten_1(a, OP_Abs, gi_aten_2(a, OP_Sub, x, y));
    gi_value *more = gi_aten_log1p(a, gi_aten_1(a, OP_Exp, gi_aten_with(a, OP_Mul, d, -ln)));
    more = ln != 1 ? gi_aten_with(a, OP_Div, more, ln) : more;
    gi_value *same = gi_aten_with(a, OP_Add, x, M_LN2 / ln); /* infinities have no difference */
    gi_value *sum = gi_aten_where(a, gi_aten_2(a, OP_Equal, x, y), same, gi_aten_2(a, OP_Add, m, more));
    return gi_aten_return(a, 0, gi_aten_cast(a, sum, t));
}

bool gi_aten_isclose(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    double rtol, atol;
    bool equal_nan;
    gopt_dtype t;
    if (!gi_aten_float(a, "rtol", &rtol) || !gi_aten_float(a, "atol", &atol) ||
        !gi_aten_bool(a, "equal_nan", &equal_nan))
        return false;
    gi_value *same = gi_aten_2(a, OP_Equal, x, y);
    if (gi_aten_is_float(x) && equal_nan)
        same = gi_aten_2(a, OP_Or, same, gi_aten_2(a, OP_And, gi_aten_1(a, OP_IsNaN, x), gi_aten_1(a, OP_IsNaN, y)));
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }))
        return false;
    gi_value *limit = gi_aten_with(a, OP_Add, gi_aten_1(a, OP_Abs, gi_aten_with(a, OP_Mul, y, rtol)), atol);
    gi_value *error = gi_aten_1(a, OP_Abs, gi_aten_2(a, OP_Sub, x, y));
    gi_value *near =
        gi_aten_2(a, OP_And, gi_aten_2(a, OP_LessOrEqual, error, limit), gi_aten_with(a, OP_Less, error, INFINITY));
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Or, same, near));
}

/* x · 2ʸ. */
bool gi_aten_ldexp(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    if (!gi_aten_promote(a, GI_ATEN_TO_FLOAT, 2, (gi_value * *[]){ &x, &y }))
        return false;
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Mul, x, gi_aten_2(a, OP_Pow, gi_aten_number_like(a, y, 2), y)));
}

/* ---- of three ---- */

/* Bounds may be numbers or tensors of their own types, either may be missing; the lower one goes first, so that
 * the upper one wins where they cross. */
bool gi_aten_clamp(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *low = gi_aten_tensor(a, "min"), *high = gi_aten_tensor(a, "max");
    if (!low && !high)
        return gi_aten_decline(a, "neither min nor max is given");
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 3, (gi_value * *[]){ &x, &low, &high }))
        return false;
    x = low ? gi_aten_2(a, OP_Max, x, low) : x;
    return gi_aten_return(a, 0, high ? gi_aten_2(a, OP_Min, x, high) : x);
}

/* self + value · tensor1 ∘ tensor2, ∘ being the row's. */
bool gi_aten_addc(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "tensor1"), *z = gi_aten_tensor(a, "tensor2");
    const bool divides = gi_aten_opcode(a) == OP_Div;
    double value = 1;
    gopt_dtype t;
    if ((gi_aten_has(a, "value") && !gi_aten_float(a, "value", &value)) ||
        !gi_aten_wide(a, divides ? GI_ATEN_TO_FLOAT : GI_ATEN_RESULT, &t, 3, (gi_value * *[]){ &x, &y, &z }))
        return false;
    y = value != 1 ? gi_aten_2(a, OP_Mul, y, gi_aten_scalar_value(a, "value", y->type->dtype)) : y;
    gi_value *s = gi_aten_2(a, OP_Add, x, gi_aten_2(a, gi_aten_opcode(a), y, z));
    return gi_aten_return(a, 0, gi_aten_cast(a, s, t));
}

/* Reckoned from the nearer end, so that weight 1 gives `end` to the bit. */
bool gi_aten_lerp(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *end = gi_aten_tensor(a, "end"), *w = gi_aten_tensor(a, "weight");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 3, (gi_value * *[]){ &x, &end, &w }))
        return false;
    gi_value *d = gi_aten_2(a, OP_Sub, end, x), *rest = gi_aten_2(a, OP_Sub, gi_aten_number_like(a, w, 1), w);
    gi_value *from = gi_aten_2(a, OP_Add, x, gi_aten_2(a, OP_Mul, w, d));
    gi_value *to = gi_aten_2(a, OP_Sub, end, gi_aten_2(a, OP_Mul, rest, d));
    gi_value *y = gi_aten_where(a, gi_aten_with(a, OP_Less, gi_aten_1(a, OP_Abs, w), 0.5), from, to);
    return gi_aten_return(a, 0, gi_aten_cast(a, y, t));
}

bool gi_aten_where_(gi_aten *a)
{
    gi_value *c = gi_aten_cast(a, gi_aten_tensor(a, "condition"), GOPT_BOOL);
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    if (!x)
        return gi_aten_decline(a, "where of a condition alone gives as many results as it has dims");
    return gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }) &&
           gi_aten_return(a, 0, gi_aten_where(a, c, x, y));
}

bool gi_aten_masked_fill(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *mask = gi_aten_cast(a, gi_aten_tensor(a, "mask"), GOPT_BOOL);
    gopt_dtype t;
    if (!gi_aten_dtype_of(a, x, &t))
        return false;
    return gi_aten_return(a, 0, gi_aten_where(a, mask, gi_aten_cast(a, gi_aten_tensor(a, "value"), t), x));
}

/* ---- filled, and of another type ---- */

/* A tensor of self's shape; row->arg is the number, where the call has none. */
bool gi_aten_fill(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *v = gi_aten_tensor(a, "fill_value");
    gopt_dtype t;
    if (!gi_aten_dtype(a, "dtype", &t) || (t == GOPT_UNDEFINED && !gi_aten_dtype_of(a, x, &t)))
        return false;
    v = v ? v : gi_aten_tensor(a, "value");
    v = v ? gi_aten_cast(a, v, t) : gi_aten_number(a, t, a->row->arg);
    return gi_aten_return(a, 0, gi_aten_expand(a, v, gi_aten_shape(a, x)));
}

/* To the type that is given, or another tensor's; a device or layout alone changes nothing. Negative floats to
 * unsigned integers are PyTorch's own undefined behaviour. */
bool gi_aten_to(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *other = gi_aten_tensor(a, "other");
    gopt_dtype t;
    if (!gi_aten_dtype(a, "dtype", &t) || (other && !gi_aten_dtype_of(a, other, &t)))
        return false;
    return gi_aten_return(a, 0, t == GOPT_UNDEFINED ? x : gi_aten_cast(a, x, t));
}

/* row->arg is the type. */
bool gi_aten_scalar_of(gi_aten *a)
{
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_tensor(a, "a"), (gopt_dtype)a->row->arg));
}

/* (clamp(round(x / scale) + zero_point) − zero_point) · scale; per channel the two have an axis. */
bool gi_aten_fake_quantize(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *s = gi_aten_tensor(a, "scale"), *z = gi_aten_tensor(a, "zero_point");
    int64_t low, high, axis;
    int rank;
    gopt_dtype t;
    if (!gi_aten_int(a, "quant_min", &low) || !gi_aten_int(a, "quant_max", &high) || !gi_aten_rank(a, x, &rank) ||
        !gi_aten_dtype_of(a, x, &t))
        return false;
    x = t == GOPT_F64 ? x : gi_aten_cast(a, x, GOPT_F32);
    s = gi_aten_cast(a, s, x ? x->type->dtype : GOPT_F32);
    z = gi_aten_cast(a, z, x ? x->type->dtype : GOPT_F32);
    if (gi_aten_has(a, "axis")) {
        int64_t to[GOPT_MAX_RANK];
        if (!gi_aten_axis(a, "axis", rank, &axis))
            return false;
        for (int i = 0; i < rank; i++)
            to[i] = i == axis ? -1 : 1;
        s = gi_aten_reshape(a, s, (uint32_t)rank, to);
        z = gi_aten_reshape(a, z, (uint32_t)rank, to);
    }
    gi_value *q = gi_aten_1(a, OP_Round, gi_aten_2(a, OP_Mul, x, gi_aten_1(a, OP_Reciprocal, s)));
    q = gi_aten_2(a, OP_Add, q, z);
    q = gi_aten_with(a, OP_Min, gi_aten_with(a, OP_Max, q, (double)low), (double)high);
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_2(a, OP_Mul, gi_aten_2(a, OP_Sub, q, z), s), t));
}

/* ---- special functions: operators of gopt's own ---- */

/* row->arg is the operator; integers become f32. */
bool gi_aten_special(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, gi_aten_has(a, "self") ? "self" : "x");
    return gi_aten_promote(a, GI_ATEN_TO_FLOAT, 1, (gi_value * *[]){ &x }) &&
           gi_aten_return(a, 0, gi_aten_1(a, gi_aten_opcode(a), x));
}

bool gi_aten_polygamma(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int64_t n;
    if (!gi_aten_int(a, "n", &n) || !gi_aten_promote(a, GI_ATEN_TO_FLOAT, 1, (gi_value * *[]){ &x }))
        return false;
    if (n < 0 || n > 170)
        return gi_aten_decline(a, "its argument n is %lld, expected 0 to 170", (long long)n);
    return gi_aten_return(
        a, 0, n ? gi_aten_make(a, OP_Polygamma, 1, &x, "n = %lld", (long long)n) : gi_aten_1(a, OP_Digamma, x));
}

/* Half of 1 + erf(x / √2). */
bool gi_aten_ndtr(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 1, (gi_value * *[]){ &x }))
        return false;
    gi_value *e = gi_aten_1(a, OP_Erf, gi_aten_with(a, OP_Mul, x, M_SQRT1_2));
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_with(a, OP_Mul, gi_aten_with(a, OP_Add, e, 1), 0.5), t));
}

/* −x · log(x); 0 at 0, −∞ below. */
bool gi_aten_entr(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gopt_dtype t;
    if (!gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 1, (gi_value * *[]){ &x }))
        return false;
    gi_value *e = gi_aten_1(a, OP_Neg, gi_aten_2(a, OP_Mul, x, gi_aten_1(a, OP_Log, x)));
    e = gi_aten_where(a, gi_aten_with(a, OP_Equal, x, 0), gi_aten_number_like(a, x, 0), e);
    e = gi_aten_where(a, gi_aten_with(a, OP_Less, x, 0), gi_aten_number_like(a, x, -INFINITY), e);
    return gi_aten_return(a, 0, gi_aten_cast(a, e, t));
}
