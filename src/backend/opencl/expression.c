/* Pointwise nodes as statements of OpenCL C: what each operator writes, of which types, and how values are named. */
#include "backend/opencl/expression.h"

#include <inttypes.h>
#include <math.h>

/* ---- what each operator writes: $0 … its inputs, $T the type of its result, @name an attribute ---- */

enum { FLOATS = 1, SIGNED = 2, UNSIGNED = 4, BOOLS = 8, INTS = SIGNED | UNSIGNED, ALL = 15 };

typedef struct expression {
    gi_opcode op;
    unsigned takes; /* dtypes of its last input, which is the one that is computed on */
    const char *text;
    bool folds; /* any number of inputs, two by two */
} expression;

static const expression expressions[] = {
    { OP_Add, FLOATS | INTS, "$0 + $1", false },
    { OP_Sub, FLOATS | INTS, "$0 - $1", false },
    { OP_Mul, FLOATS | INTS, "$0 * $1", false },
    { OP_Div, FLOATS, "$0 / $1", false },
    { OP_Div, UNSIGNED, "($1 == 0 ? 0 : $0 / $1)", false },
    { OP_Div, SIGNED, "($1 == 0 ? 0 : $1 == -1 ? 0 - $0 : $0 / $1)", false },
    { OP_Pow, FLOATS, "pow($0, $1)", false },
    { OP_PRelu, FLOATS, "($0 < 0 ? $1 * $0 : $0)", false },
    { OP_Min, FLOATS | INTS, "($0 != $0 || $0 < $1 ? $0 : $1)", true },
    { OP_Max, FLOATS | INTS, "($0 != $0 || $0 > $1 ? $0 : $1)", true },
    { OP_Sum, FLOATS, "$0 + $1", true },
    { OP_Where, ALL, "($0 ? $1 : $2)", false },
    { OP_And, BOOLS, "($0 && $1)", false },
    { OP_Or, BOOLS, "($0 || $1)", false },
    { OP_Xor, BOOLS, "($0 != $1)", false },
    { OP_Not, BOOLS, "!$0", false },
    { OP_Equal, ALL, "($0 == $1)", false },
    { OP_Greater, FLOATS | INTS, "($0 > $1)", false },
    { OP_GreaterOrEqual, FLOATS | INTS, "($0 >= $1)", false },
    { OP_Less, FLOATS | INTS, "($0 < $1)", false },
    { OP_LessOrEqual, FLOATS | INTS, "($0 <= $1)", false },
    { OP_Mod, SIGNED, "($1 == 0 || $1 == -1 ? 0 : $0 % $1 != 0 && ($0 % $1 < 0) != ($1 < 0) ? $0 % $1 + $1 : $0 % $1)",
      false },
    { OP_Mod, UNSIGNED, "($1 == 0 ? 0 : $0 % $1)", false },
    { OP_BitwiseAnd, INTS, "$0 & $1", false },
    { OP_BitwiseOr, INTS, "$0 | $1", false },
    { OP_BitwiseXor, INTS, "$0 ^ $1", false },
    { OP_BitwiseNot, INTS, "~$0", false },
    { OP_Sign, FLOATS, "($0 > 0 ? 1.0f : $0 < 0 ? -1.0f : $0)", false },
    { OP_Sign, SIGNED, "($0 > 0) - ($0 < 0)", false },
    { OP_Sign, UNSIGNED, "($0 > 0)", false },
    { OP_Identity, ALL, "$0", false },
    { OP_Abs, FLOATS, "fabs($0)", false },
    { OP_Abs, SIGNED, "($0 < 0 ? -$0 : $0)", false },
    { OP_Abs, UNSIGNED, "$0", false },
    { OP_Neg, FLOATS | SIGNED, "-$0", false },
    { OP_Relu, FLOATS | SIGNED, "($0 < 0 ? 0 : $0)", false },
    { OP_Ceil, FLOATS, "ceil($0)", false },
    { OP_Floor, FLOATS, "floor($0)", false },
    { OP_Round, FLOATS, "rint($0)", false },
    { OP_Sqrt, FLOATS, "sqrt($0)", false },
    { OP_Reciprocal, FLOATS, "1.0f / $0", false },
    { OP_Exp, FLOATS, "exp($0)", false },
    { OP_Log, FLOATS, "log($0)", false },
    { OP_Sin, FLOATS, "sin($0)", false },
    { OP_Cos, FLOATS, "cos($0)", false },
    { OP_Tan, FLOATS, "tan($0)", false },
    { OP_Asin, FLOATS, "asin($0)", false },
    { OP_Acos, FLOATS, "acos($0)", false },
    { OP_Atan, FLOATS, "atan($0)", false },
    { OP_Sinh, FLOATS, "sinh($0)", false },
    { OP_Cosh, FLOATS, "cosh($0)", false },
    { OP_Tanh, FLOATS, "tanh($0)", false },
    { OP_Asinh, FLOATS, "asinh($0)", false },
    { OP_Acosh, FLOATS, "acosh($0)", false },
    { OP_Atanh, FLOATS, "atanh($0)", false },
    { OP_Erf, FLOATS, "erf($0)", false },
    { OP_Sigmoid, FLOATS, "1.0f / (1.0f + exp(-$0))", false },
    { OP_HardSwish, FLOATS, "$0 * fmax(0.0f, fmin(1.0f, $0 / 6.0f + 0.5f))", false },
    { OP_Softplus, FLOATS, "fmax($0, 0.0f) + log1p(exp(-fabs($0)))", false },
    { OP_Softsign, FLOATS, "$0 / (1.0f + fabs($0))", false },
    { OP_Mish, FLOATS, "$0 * tanh(fmax($0, 0.0f) + log1p(exp(-fabs($0))))", false },
    { OP_IsNaN, FLOATS, "($0 != $0)", false },
    { OP_LeakyRelu, FLOATS, "($0 < 0 ? @alpha * $0 : $0)", false },
    { OP_ThresholdedRelu, FLOATS, "($0 > @alpha ? $0 : 0)", false },
    { OP_Elu, FLOATS, "($0 < 0 ? @alpha * expm1($0) : $0)", false },
    { OP_Celu, FLOATS, "fmax($0, 0.0f) + fmin(0.0f, @alpha * expm1($0 / @alpha))", false },
    { OP_Selu, FLOATS, "@gamma * ($0 > 0 ? $0 : @alpha * expm1($0))", false },
    { OP_HardSigmoid, FLOATS, "fmax(0.0f, fmin(1.0f, @alpha * $0 + @beta))", false },
    { OP_Swish, FLOATS, "$0 / (1.0f + exp(-@alpha * $0))", false },
    { OP_Shrink, FLOATS, "($0 < -@lambd ? $0 + @bias : $0 > @lambd ? $0 - @bias : 0)", false },
};

static const char gelu_exact[] = "0.5f * $0 * (1.0f + erf($0 * 0.70710678118654752f))";
static const char gelu_tanh[] = "0.5f * $0 * (1.0f + tanh(0.79788456080286536f * ($0 + 0.044715f * $0 * $0 * $0)))";

static unsigned class_of(gopt_dtype t)
{
    switch (gi_dtype_class(t)) {
    case GI_FLOAT:
        return FLOATS;
    case GI_SINT:
        return SIGNED;
    case GI_UINT:
        return UNSIGNED;
    case GI_BOOLEAN:
        return BOOLS;
    default:
        return 0;
    }
}

const char *gi_cl_type(gopt_dtype t)
{
    switch (t) {
    case GOPT_F32:
    case GOPT_F16:
        return "float";
    case GOPT_I8:
        return "char";
    case GOPT_U8:
    case GOPT_BOOL:
        return "uchar";
    case GOPT_I16:
        return "short";
    case GOPT_U16:
        return "ushort";
    case GOPT_I32:
        return "int";
    case GOPT_U32:
        return "uint";
    case GOPT_I64:
        return "long";
    case GOPT_U64:
        return "ulong";
    default:
        return NULL;
    }
}

/* A Cast whose result OpenCL C's own conversion gives: not from floats to what may not hold them. */
static bool plain_cast(gopt_dtype from, gopt_dtype to)
{
    if (!gi_cl_type(from) || !gi_cl_type(to))
        return false;
    return !gi_cl_is_float(from) || gi_cl_is_float(to) || to == GOPT_BOOL;
}

/* As the reference: ops/cast.c. The narrow ones wrap what fits a long. */
static const char *float_to_int(gopt_dtype to)
{
    switch (to) {
    case GOPT_I64:
        return "($0 >= -0x1p63f && $0 < 0x1p63f ? (long)$0 : LONG_MIN)";
    case GOPT_I32:
        return "($0 >= -0x1p31f && $0 < 0x1p31f ? (int)$0 : INT_MIN)";
    case GOPT_U64:
        return "($0 >= 0x1p63f ? convert_ulong_sat($0) : $0 == $0 ? (ulong)convert_long_sat($0) : 0)";
    default:
        return "($0 == $0 ? convert_long_sat($0) : 0)";
    }
}

/* The statistics are constants, one element a channel. */
static bool is_fixed_normalization(const gi_node *n)
{
    const gi_value *x = gi_node_in(n, 0);
    if (n->op != OP_BatchNormalization || gi_attr_int(n, BatchNormalization_at_training_mode) || !x || !x->type ||
        x->type->kind != GOPT_TENSOR || x->type->dtype != GOPT_F32 || x->type->rank < 2)
        return false;
    for (uint32_t i = 1; i < 5; i++) {
        const gi_blob *b = gi_value_blob(gi_node_in(n, i));
        if (!b || b->dtype != GOPT_F32 || b->rank != 1 || !gi_dim_is(x->type->dims[1], b->dims[0]))
            return false;
    }
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return false;
    return true;
}

bool gi_cl_is_along_channels(const gi_node *n, uint32_t i)
{
    return n->op == OP_BatchNormalization && i > 0;
}

static const char *expression_of(const gi_node *n, bool *folds)
{
    gi_value *last = NULL;
    *folds = false;
    for (uint32_t i = 0; i < n->n_in; i++)
        last = gi_node_in(n, i) ? gi_node_in(n, i) : last;
    if (!last || !last->type || last->type->kind != GOPT_TENSOR || !n->n_out || !n->out[0]->type)
        return NULL;
    const gopt_dtype t = last->type->dtype;
    if (!gi_cl_type(t) || n->out[0]->type->kind != GOPT_TENSOR || !gi_cl_type(n->out[0]->type->dtype))
        return NULL;
    if (n->op == OP_BatchNormalization)
        return is_fixed_normalization(n) ? "($0 - $3) * ($1 / sqrt($4 + @epsilon)) + $2" : NULL;
    if (n->op == OP_Gelu && gi_cl_is_float(t))
        return gi_attr_is(n, Gelu_at_approximate, "tanh") ? gelu_tanh : gelu_exact;
    if (n->op == OP_Clip && (class_of(t) & (FLOATS | INTS)))
        return gi_node_in(n, Clip_in_min)   ? gi_node_in(n, Clip_in_max) ? "($0 != $0 ? $0 : min(max($0, $1), $2))"
                                                                         : "($0 != $0 ? $0 : max($0, $1))"
               : gi_node_in(n, Clip_in_max) ? "($0 != $0 ? $0 : min($0, $2))"
                                            : "$0";
    if (n->op == OP_Cast && plain_cast(t, n->out[0]->type->dtype))
        return n->out[0]->type->dtype == GOPT_BOOL ? "($0 != 0)" : "$0";
    if (n->op == OP_Cast && gi_cl_is_float(t))
        return float_to_int(n->out[0]->type->dtype);
    if (n->op == OP_Mod && gi_attr_int(n, Mod_at_fmod))
        return class_of(t) == FLOATS ? "fmod($0, $1)" : NULL;
    if (n->op == OP_BitShift)
        return gi_attr_is(n, BitShift_at_direction, "LEFT") ? "($1 >= sizeof($0) * 8 ? 0 : $0 << $1)"
                                                            : "($1 >= sizeof($0) * 8 ? 0 : $0 >> $1)";
    if (n->op == OP_IsInf)
        return gi_attr_int(n, IsInf_at_detect_negative)
                   ? gi_attr_int(n, IsInf_at_detect_positive) ? "isinf($0)" : "($0 == -INFINITY)"
               : gi_attr_int(n, IsInf_at_detect_positive) ? "($0 == INFINITY)"
                                                          : "0";
    for (size_t i = 0; i < GI_COUNT(expressions); i++)
        if (expressions[i].op == n->op && (expressions[i].takes & class_of(t))) {
            *folds = expressions[i].folds;
            return expressions[i].text;
        }
    return NULL;
}

bool gi_cl_is_pointwise(const gi_node *n)
{
    bool folds;
    return n->op != OP_Fusion && expression_of(n, &folds) != NULL;
}

bool gi_cl_tensor(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims)
{
    if (!v || !v->type || !gi_type_static_dims(v->type, dims))
        return gi_cl_decline(b, "the shape of %s is known only in a run", what);
    if (!gi_cl_type(v->type->dtype))
        return gi_cl_decline(b, "opencl kernels have no %s elements", gopt_dtype_name(v->type->dtype));
    *rank = v->type->rank;
    return true;
}

/* ---- names ---- */

void gi_cl_writer_init(gi_cl_writer *w, gi_cl_build *b)
{
    *w = (gi_cl_writer){ .b = b };
    gi_str_init(&w->body, b->arena);
    gi_map_init(&w->names, b->arena);
}

static uint64_t name_key(const gi_value *v, bool along_channels)
{
    return ((uint64_t)v->id + 1) * 2 + along_channels;
}

void gi_cl_name_value(gi_cl_writer *w, const gi_value *v, bool along_channels)
{
    if (!gi_map_put(&w->names, name_key(v, along_channels), (void *)(uintptr_t)(w->n_values + 1)))
        w->body.failed = true;
    w->n_values++;
}

bool gi_cl_name_alias(gi_cl_writer *w, const gi_value *v, const gi_value *same)
{
    void *number = gi_map_get(&w->names, name_key(v, false));
    if (number && !gi_map_put(&w->names, name_key(same, false), number))
        w->body.failed = true;
    return number != NULL;
}

bool gi_cl_number_of(const gi_cl_writer *w, const gi_value *v, bool along_channels, uint32_t *number)
{
    const void *found = gi_map_get(&w->names, name_key(v, along_channels));
    *number = found ? (uint32_t)(uintptr_t)found - 1 : 0;
    return found != NULL;
}

/* ---- statements ---- */

static void write_float(gi_str *s, float f)
{
    if (isnan(f))
        gi_str_add(s, "NAN");
    else if (isinf(f))
        gi_str_add(s, f < 0 ? "(-INFINITY)" : "INFINITY");
    else
        gi_str_addf(s, f < 0 ? "(%af)" : "%af", (double)f);
}

/* What a long literal cannot say has none. */
static bool has_literal(const gi_blob *blob)
{
    return gi_cl_is_float(blob->dtype) ||
           (blob->dtype != GOPT_U64 && gi_load_i64(blob->dtype, blob->data, 0) != INT64_MIN);
}

static void write_literal(gi_str *s, const gi_blob *blob)
{
    if (gi_cl_is_float(blob->dtype))
        write_float(s, (float)gi_load_f64(blob->dtype, blob->data, 0));
    else
        gi_str_addf(s, "((%s)%" PRId64 "L)", gi_cl_type(blob->dtype), gi_load_i64(blob->dtype, blob->data, 0));
}

bool gi_cl_write_constant(gi_cl_writer *w, const gi_value *v, bool along_channels)
{
    const gi_blob *blob = gi_value_blob(v);
    if (!blob || gi_blob_elements(blob) != 1 || !gi_cl_type(blob->dtype) || !has_literal(blob))
        return false;
    gi_str_addf(&w->body, "    const %s v%u = ", gi_cl_type(blob->dtype), w->n_values);
    write_literal(&w->body, blob);
    gi_str_add(&w->body, ";\n");
    gi_cl_name_value(w, v, along_channels);
    return true;
}

static void write_operand(gi_cl_writer *w, const gi_node *n, uint32_t i)
{
    const gi_value *v = gi_node_in(n, i);
    uint32_t number = 0;
    (void)(v && gi_cl_number_of(w, v, gi_cl_is_along_channels(n, i), &number));
    gi_str_addf(&w->body, "v%u", number);
}

/* `text` with its operands put in; $0 is `first` where that is given. */
static void write_expression(gi_cl_writer *w, const gi_node *n, const char *text, const char *first, uint32_t second)
{
    for (const char *p = text; *p; p++) {
        if (*p == '$') {
            const uint32_t i = (uint32_t)(*++p - '0');
            if (i == 0 && first)
                gi_str_add(&w->body, first);
            else
                write_operand(w, n, i == 1 ? second : i);
        } else if (*p == '@') {
            char name[32];
            size_t k = 0;
            while (p[1] >= 'a' && p[1] <= 'z' && k < sizeof name - 1)
                name[k++] = *++p;
            name[k] = 0;
            write_float(&w->body, gi_attr_float(n, gi_op_find_attr(gi_op_get(n->op), name)));
        } else {
            gi_str_addn(&w->body, p, 1);
        }
    }
}

void gi_cl_write_node(gi_cl_writer *w, const gi_node *n)
{
    bool folds;
    const char *text = expression_of(n, &folds), *type = gi_cl_type(n->out[0]->type->dtype);
    const uint32_t own = w->n_values;
    if (folds && n->n_in != 2) {
        char so_far[24];
        gi_str_addf(&w->body, "    %s v%u = ", type, own);
        write_operand(w, n, 0);
        gi_str_addf(&w->body, "; // %s\n", n->op_name);
        (void)snprintf(so_far, sizeof so_far, "v%u", own);
        for (uint32_t i = 1; i < n->n_in; i++) {
            gi_str_addf(&w->body, "    v%u = ", own);
            write_expression(w, n, text, so_far, i);
            gi_str_add(&w->body, ";\n");
        }
    } else {
        gi_str_addf(&w->body, "    const %s v%u = (%s)(", type, own, type);
        write_expression(w, n, text, NULL, 1);
        gi_str_addf(&w->body, "); // %s\n", n->op_name);
    }
    gi_cl_name_value(w, n->out[0], false);
}
