/* Activations. */
#include "aten/ops/pointwise.h"

/* self in f32 or wider, and the type of the answer. */
static gi_value *wide(gi_aten *a, gopt_dtype *t)
{
    gi_value *x = gi_aten_tensor(a, "self");
    return gi_aten_wide(a, GI_ATEN_TO_FLOAT, t, 1, (gi_value * *[]){ &x }) ? x : NULL;
}

/* ONNX has it under the same meaning; row->arg is the operator. */
bool gi_aten_silu(gi_aten *a)
{
    gopt_dtype t;
    gi_value *x = wide(a, &t);
    return x && gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_2(a, OP_Mul, x, gi_aten_1(a, OP_Sigmoid, x)), t));
}

bool gi_aten_leaky_relu(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    double slope;
    return gi_aten_float(a, "negative_slope", &slope) &&
           gi_aten_return(a, 0, gi_aten_make(a, OP_LeakyRelu, 1, &x, "alpha = %.9g", slope));
}

/* Outside of training the slope is the middle of the range. */
bool gi_aten_rrelu(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    double low, high;
    bool training;
    if (!gi_aten_float(a, "lower", &low) || !gi_aten_float(a, "upper", &high) ||
        !gi_aten_bool(a, "training", &training))
        return false;
    if (training)
        return gi_aten_decline(a, "it is of training: call model.eval() before exporting");
    return gi_aten_return(a, 0, gi_aten_make(a, OP_LeakyRelu, 1, &x, "alpha = %.9g", (low + high) / 2));
}

/* scale · (x > 0 ? x : alpha · (exp(input_scale · x) − 1)) */
bool gi_aten_elu(gi_aten *a)
{
    double alpha, scale = 1, input_scale = 1;
    gopt_dtype t;
    gi_value *x = wide(a, &t);
    if (!x || !gi_aten_float(a, "alpha", &alpha) || (gi_aten_has(a, "scale") && !gi_aten_float(a, "scale", &scale)) ||
        (gi_aten_has(a, "input_scale") && !gi_aten_float(a, "input_scale", &input_scale)))
        return false;
    if (scale == 1 && input_scale == 1)
        return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_make(a, OP_Elu, 1, &x, "alpha = %.9g", alpha), t));
    gi_value *e = gi_aten_with(a, OP_Mul, gi_aten_expm1(a, gi_aten_with(a, OP_Mul, x, input_scale)), alpha * scale);
    gi_value *y = gi_aten_where(a, gi_aten_with(a, OP_Greater, x, 0), gi_aten_with(a, OP_Mul, x, scale), e);
    return gi_aten_return(a, 0, gi_aten_cast(a, y, t));
}

bool gi_aten_celu(gi_aten *a)
{
    double alpha;
    gopt_dtype t;
    gi_value *x = wide(a, &t);
    if (!x || !gi_aten_float(a, "alpha", &alpha))
        return false;
    gi_value *e = gi_aten_with(a, OP_Mul, gi_aten_expm1(a, gi_aten_with(a, OP_Div, x, alpha)), alpha);
    gi_value *zero = gi_aten_number_like(a, x, 0);
    return gi_aten_return(
        a, 0, gi_aten_cast(a, gi_aten_2(a, OP_Add, gi_aten_2(a, OP_Max, x, zero), gi_aten_2(a, OP_Min, e, zero)), t));
}

bool gi_aten_selu(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    return gi_aten_return(a, 0,
                          gi_aten_make(a, OP_Selu, 1, &x, "alpha = 1.6732632423543772, gamma = 1.0507009873554805"));
}

bool gi_aten_gelu(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    const char *approximate;
    if (!gi_aten_str(a, "approximate", &approximate))
        return false;
    return gi_aten_return(a, 0,
                          gi_aten_make(a, OP_Gelu, 1, &x, "approximate = \"%s\"",
                                       approximate && !strcmp(approximate, "tanh") ? "tanh" : "none"));
}

bool gi_aten_hardsigmoid(gi_aten *a)
{
    gopt_dtype t;
    gi_value *x = wide(a, &t);
    if (!x)
        return false;
    gi_value *y = gi_aten_with(a, OP_Min, gi_aten_with(a, OP_Max, gi_aten_with(a, OP_Add, x, 3), 0), 6);
    y = gi_aten_with(a, OP_Div, y, 6);
    return gi_aten_return(a, 0, gi_aten_cast(a, strcmp(a->row->name, "hardswish") ? y : gi_aten_2(a, OP_Mul, x, y), t));
}

/* Bounds are numbers; of integers too. */
bool gi_aten_hardtanh(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    double low = 0, high = 6; /* relu6 */
    if ((gi_aten_has(a, "min_val") && !gi_aten_float(a, "min_val", &low)) ||
        (gi_aten_has(a, "max_val") && !gi_aten_float(a, "max_val", &high)))
        return false;
    return gi_aten_return(a, 0, gi_aten_with(a, OP_Min, gi_aten_with(a, OP_Max, x, low), high));
}

/* Zero within ±lambd; beyond, x itself, or x less lambd with its sign where row->arg says so. */
bool gi_aten_shrink(gi_aten *a)
{
    double lambd;
    gi_value *x = gi_aten_tensor(a, "self");
    if (!gi_aten_float(a, "lambd", &lambd))
        return false;
    gi_value *y = gi_aten_make(a, OP_Shrink, 1, &x, "lambd = %.9g, bias = %.9g", lambd, a->row->arg ? lambd : 0);
    return gi_aten_return(a, 0, y);
}

/* log(1 + exp(beta · x)) / beta, and x itself beyond the threshold. */
bool gi_aten_softplus(gi_aten *a)
{
    double beta, threshold;
    gopt_dtype t;
    gi_value *x = wide(a, &t);
    if (!x || !gi_aten_float(a, "beta", &beta) || !gi_aten_float(a, "threshold", &threshold))
        return false;
    gi_value *z = beta == 1 ? x : gi_aten_with(a, OP_Mul, x, beta);
    gi_value *s = gi_aten_1(a, OP_Softplus, z);
    s = beta == 1 ? s : gi_aten_with(a, OP_Div, s, beta);
    if (threshold < 17) /* beyond that a float's own rounding gives x */
        s = gi_aten_where(a, gi_aten_with(a, OP_Greater, z, threshold), x, s);
    return gi_aten_return(a, 0, gi_aten_cast(a, s, t));
}

bool gi_aten_log_sigmoid(gi_aten *a)
{
    gopt_dtype t;
    gi_value *x = wide(a, &t);
    return x && gi_aten_return(
                    a, 0, gi_aten_cast(a, gi_aten_1(a, OP_Neg, gi_aten_1(a, OP_Softplus, gi_aten_1(a, OP_Neg, x))), t));
}

bool gi_aten_threshold(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gopt_dtype t;
    if (!gi_aten_dtype_of(a, x, &t))
        return false;
    gi_value *limit = gi_aten_scalar_value(a, "threshold", t), *v = gi_aten_scalar_value(a, "value", t);
    /* NaN stays: it is not below */
    return gi_aten_return(a, 0, gi_aten_where(a, gi_aten_2(a, OP_LessOrEqual, x, limit), v, x));
}

/* One slope, or one a channel: of dim 1. */
bool gi_aten_prelu(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *w = gi_aten_tensor(a, "weight");
    int rank, w_rank;
    int64_t to[GOPT_MAX_RANK];
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_rank(a, w, &w_rank))
        return false;
    if (rank > 2 && w_rank == 1) {
        for (int i = 1; i < rank; i++)
            to[i - 1] = i == 1 ? -1 : 1;
        w = gi_aten_reshape(a, w, (uint32_t)rank - 1, to);
    }
    return gi_aten_return(a, 0, gi_aten_2(a, OP_PRelu, x, w));
}

/* The first half by the sigmoid of the second. */
bool gi_aten_glu(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis))
        return false;
    gi_node *halves = gi_aten_node(a, OP_Split, 1, &x, 2, "axis = %lld, num_outputs = 2", (long long)axis);
    return halves &&
           gi_aten_return(a, 0, gi_aten_2(a, OP_Mul, halves->out[0], gi_aten_1(a, OP_Sigmoid, halves->out[1])));
}
