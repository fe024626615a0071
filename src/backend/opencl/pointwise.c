/* Generated kernels: one for each pointwise node or fusion of them.
 *
 * An item computes one element of the result. What it reads is broadcast by index arithmetic; the source is
 * meant to be read:
 *
 *     // Add+Relu
 *     __kernel void pointwise(__global const float *b0, const ulong o0, …, __global float *r0, const ulong q0)
 *     {
 *         const size_t i = get_global_id(0);
 *         const float v0 = b0[o0 + i];
 *         const float v1 = b1[o1 + i / 49 % 64];
 *         const float v2 = v0 + v1; // Add
 *         const float v3 = v2 < 0 ? 0 : v2; // Relu
 *         r0[q0 + i] = v3;
 *     } */
#include <inttypes.h>
#include <math.h>

#include "backend/opencl/cl.h"

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

/* Does input i of n lie along the channels of the result, in place of its last dims? */
static bool is_along_channels(const gi_node *n, uint32_t i)
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

/* ---- writing ---- */

typedef struct writer {
    gi_cl_build *b;
    gi_str body;
    gi_map names; /* value → its number + 1 */
    uint32_t n_values;
    gi_cl_ref refs[GI_CL_MAX_REFS];
    const char *types[GI_CL_MAX_REFS];
    uint32_t n_refs;
    gi_cl_view out; /* of the results: items go through its elements as they lie */
    int in_place;   /* of step->in: may be overwritten by the first result; -1 none */
} writer;

static void write_float(gi_str *s, float f)
{
    if (isnan(f))
        gi_str_add(s, "NAN");
    else if (isinf(f))
        gi_str_add(s, f < 0 ? "(-INFINITY)" : "INFINITY");
    else
        gi_str_addf(s, f < 0 ? "(%af)" : "%af", (double)f);
}

/* The literal of a constant of one element. */
static bool write_literal(gi_str *s, const gi_blob *blob)
{
    if (gi_cl_is_float(blob->dtype)) {
        write_float(s, (float)gi_load_f64(blob->dtype, blob->data, 0));
        return true;
    }
    const int64_t v = gi_load_i64(blob->dtype, blob->data, 0);
    if (v == INT64_MIN || blob->dtype == GOPT_U64)
        return false;
    gi_str_addf(s, "((%s)%" PRId64 "L)", gi_cl_type(blob->dtype), v);
    return true;
}

typedef struct loop {
    int64_t count, step; /* how often, and how far in the operand */
    int64_t most;        /* of channels with padding behind: the last that an operand has; 0: no bound */
} loop;

/* The loops of the result's elements, outermost first, with the strides of an operand that is broadcast to it. */
static bool loops_of(const writer *w, const gi_cl_view *v, loop *loops, int *n)
{
    const gi_cl_view *out = &w->out;
    *n = 0;
    if (v->rank > out->rank)
        return false;
    for (int i = 0; i < out->rank; i++) {
        /* channels come last where they lie so */
        const int k = !out->channels_last || i == 0 ? i : i == out->rank - 1 ? 1 : i + 1;
        const int own = k - (out->rank - v->rank);
        const bool channel = out->channels_last && k == 1;
        const int64_t d = own >= 0 ? v->dims[own] : 1;
        if (d != 1 && d != out->dims[k])
            return false;
        loop l = { .count = channel ? out->channels : out->dims[k], .step = d == 1 ? 0 : v->stride[own] };
        if (channel && l.step && out->channels > out->dims[k])
            l.most = out->dims[k] - 1;
        if (l.count == 1)
            continue;
        loop *before = *n ? &loops[*n - 1] : NULL;
        if (before && !l.most && !before->most && before->step == l.step * l.count) {
            before->count *= l.count;
            before->step = l.step;
        } else {
            loops[(*n)++] = l;
        }
    }
    return true;
}

/* The place of an element in an operand that is broadcast to the results' shape. */
static bool write_index(writer *w, const gi_cl_view *v)
{
    gi_str *s = &w->body;
    loop loops[GOPT_MAX_RANK];
    int n;
    int64_t below = 1;
    bool any = false;
    if (gi_cl_same_place(v, &w->out)) {
        gi_str_add(s, "i");
        return true;
    }
    if (!loops_of(w, v, loops, &n))
        return false;
    for (int k = n - 1; k >= 0; below *= loops[k--].count) {
        if (!loops[k].step)
            continue;
        gi_str_add(s, any ? " + " : "");
        any = true;
        if (loops[k].most)
            gi_str_add(s, "min(");
        gi_str_add(s, "i");
        if (below != 1)
            gi_str_addf(s, " / %" PRId64, below);
        if (k > 0)
            gi_str_addf(s, " %% %" PRId64, loops[k].count);
        if (loops[k].most)
            gi_str_addf(s, ", (size_t)%" PRId64 ")", loops[k].most);
        if (loops[k].step != 1)
            gi_str_addf(s, " * %" PRId64, loops[k].step);
    }
    if (!any)
        gi_str_add(s, "0");
    return true;
}

/* A value may be read along the channels, and as any other too: by two names. */
static uint64_t name_key(const gi_value *v, bool channels)
{
    return ((uint64_t)v->id + 1) * 2 + channels;
}

static void name_value(writer *w, const gi_value *v, bool channels)
{
    if (!gi_map_put(&w->names, name_key(v, channels), (void *)(uintptr_t)(w->n_values + 1)))
        w->body.failed = true;
    w->n_values++;
}

/* Loads a value from outside, once. */
static gopt_status load(writer *w, const gi_node *n, uint32_t i, bool *ok)
{
    const gi_value *v = gi_node_in(n, i);
    const bool channels = is_along_channels(n, i);
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    if (gi_map_get(&w->names, name_key(v, channels)))
        return GOPT_OK;
    *ok = gi_cl_tensor(w->b, v, "an input", &rank, dims);
    if (!*ok)
        return GOPT_OK;
    gi_cl_view view;
    if (!gi_cl_view_of(w->b, v, &view))
        return GOPT_INTERNAL;
    if (channels) {
        for (; rank < n->out[0]->type->rank - 1; rank++)
            dims[rank] = 1;
        view = gi_cl_view_dense(rank, dims, false);
    }
    const char *type = gi_cl_type(v->type->dtype);
    const gi_blob *blob = gi_value_blob(v);
    gi_str_addf(&w->body, "    const %s v%u = ", type, w->n_values);
    if (!(blob && gi_blob_elements(blob) == 1 && write_literal(&w->body, blob))) {
        if (w->n_refs == GI_CL_MAX_REFS) {
            *ok = gi_cl_decline(w->b, "it reads more than %d tensors", GI_CL_MAX_REFS);
            return GOPT_OK;
        }
        w->types[w->n_refs] = view.half ? "half" : type;
        GI_TRY(gi_cl_find(w->b, v, &w->refs[w->n_refs]));
        if (view.half)
            gi_str_addf(&w->body, "vload_half(o%u + ", w->n_refs);
        else
            gi_str_addf(&w->body, "b%u[o%u + ", w->n_refs, w->n_refs);
        const size_t at = w->body.n;
        if (!write_index(w, &view)) {
            *ok = gi_cl_decline(w->b, "an input is not broadcast to the result's shape");
            return GOPT_OK;
        }
        if (!blob && w->in_place < 0 && w->body.n == at + 1 && w->refs[w->n_refs].place == GI_CL_IN &&
            view.half == w->out.half)
            w->in_place = (int)w->refs[w->n_refs].index;
        if (view.half)
            gi_str_addf(&w->body, ", b%u)", w->n_refs);
        else
            gi_str_add(&w->body, "]");
        w->n_refs++;
    }
    gi_str_add(&w->body, ";\n");
    name_value(w, v, channels);
    return GOPT_OK;
}

static void write_operand(writer *w, const gi_node *n, uint32_t i)
{
    const gi_value *v = gi_node_in(n, i);
    const void *number = v ? gi_map_get(&w->names, name_key(v, is_along_channels(n, i))) : NULL;
    gi_str_addf(&w->body, "v%u", number ? (uint32_t)(uintptr_t)number - 1 : 0);
}

/* `text` with its operands put in; $0 is `first` where that is given. */
static void write_expression(writer *w, const gi_node *n, const char *text, const char *first, uint32_t second)
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

static void write_node(writer *w, const gi_node *n)
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
    name_value(w, n->out[0], false);
}

static gopt_status finish(writer *w, const char *title, uint32_t n_stores)
{
    gi_str s;
    gi_str_init(&s, w->b->arena);
    gi_str_addf(&s, "// %s\n__kernel void pointwise(", title);
    for (uint32_t i = 0; i < w->n_refs; i++) {
        const bool stored = i >= w->n_refs - n_stores;
        gi_str_addf(&s, "%s__global %s%s *b%u, const ulong o%u", i ? ", " : "", stored ? "" : "const ", w->types[i], i,
                    i);
    }
    gi_str_addf(&s, " WALK_ARGS)\n{\n    const size_t i = get_global_id(0);\n%s}\n", w->body.p);
    GI_NEED(!s.failed && !w->body.failed);
    const size_t global[] = { (size_t)w->out.room, 1, 1 };
    return gi_cl_launch_kernel(w->b, s.p, "pointwise", w->n_refs, w->refs, 0, NULL, global, NULL);
}

/* Stores value v into ref n_refs: zeros past the last channel, where a layout has room there. */
static void write_store(writer *w, const gi_cl_view *view, uint32_t v)
{
    const gi_cl_view *out = &w->out;
    gi_str *s = &w->body;
    const bool padded = out->channels_last && out->channels > out->dims[1], same = gi_cl_same_place(view, out);
    char inside[64], value[112];
    (void)snprintf(inside, sizeof inside, "i %% %" PRId64 " < %" PRId64, out->channels, out->dims[1]);
    if (padded && same)
        (void)snprintf(value, sizeof value, "(%s ? v%u : 0)", inside, v);
    else
        (void)snprintf(value, sizeof value, "v%u", v);
    gi_str_add(s, "    ");
    if (padded && !same)
        gi_str_addf(s, "if (%s)\n        ", inside);
    if (view->half)
        gi_str_addf(s, "vstore_half(%s, o%u + ", value, w->n_refs);
    else
        gi_str_addf(s, "b%u[o%u + ", w->n_refs, w->n_refs);
    (void)write_index(w, view); /* it was checked: the shapes are equal */
    if (view->half)
        gi_str_addf(s, ", b%u);\n", w->n_refs);
    else
        gi_str_addf(s, "] = %s;\n", value);
}

static gopt_status write_nodes(writer *w, const gi_node *const *nodes, size_t n, bool *ok)
{
    for (size_t k = 0; k < n && *ok; k++) {
        bool folds;
        int64_t dims[GOPT_MAX_RANK];
        int rank;
        if (!expression_of(nodes[k], &folds)) {
            *ok = gi_cl_decline(w->b, "%s inside a pointwise kernel has no expression", nodes[k]->op_name);
            return GOPT_OK;
        }
        *ok = gi_cl_tensor(w->b, nodes[k]->out[0], "a result", &rank, dims);
        for (uint32_t i = 0; i < nodes[k]->n_in && *ok; i++)
            if (gi_node_in(nodes[k], i))
                GI_TRY(load(w, nodes[k], i, ok));
        if (*ok)
            write_node(w, nodes[k]);
    }
    return GOPT_OK;
}

gopt_status gi_cl_pointwise(gi_cl_build *b, const char *title, const gi_node *const *nodes, size_t n,
                            const gi_value *const *outs, const gi_value *const *stored, uint32_t n_out, bool *took)
{
    writer w = { .b = b, .in_place = -1 };
    bool ok = true;
    *took = false;
    gi_str_init(&w.body, b->arena);
    gi_map_init(&w.names, b->arena);
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    if (!n_out || !gi_cl_tensor(b, outs[0], "its result", &rank, dims))
        return GOPT_OK;
    gi_cl_view first;
    if (!gi_cl_view_of(b, stored[0], &first))
        return GOPT_INTERNAL;
    w.out = gi_cl_view_alone(&first);
    GI_TRY(write_nodes(&w, nodes, n, &ok));
    for (uint32_t i = 0; i < n_out && ok; i++) {
        gi_cl_view view;
        const void *number = gi_map_get(&w.names, name_key(outs[i], false));
        ok = number && gi_cl_tensor(b, outs[i], "a result", &rank, dims) && gi_cl_view_of(b, stored[i], &view) &&
             rank == w.out.rank && (!rank || !memcmp(dims, w.out.dims, (size_t)rank * sizeof *dims));
        if (!ok || w.n_refs == GI_CL_MAX_REFS) {
            (void)gi_cl_decline(b, "its results differ in shape");
            return GOPT_OK;
        }
        w.types[w.n_refs] = view.half ? "half" : gi_cl_type(outs[i]->type->dtype);
        GI_TRY(gi_cl_find(b, stored[i], &w.refs[w.n_refs]));
        write_store(&w, &view, (uint32_t)(uintptr_t)number - 1);
        w.n_refs++;
    }
    if (!ok)
        return GOPT_OK;
    *took = true;
    GI_TRY(finish(&w, title, n_out));
    if (!b->dry)
        b->s->in_place = gi_cl_same_place(&first, &w.out) ? w.in_place : -1;
    return GOPT_OK;
}

gopt_status gi_cl_take_pointwise(gi_cl_build *b, const gi_node *n, bool *took)
{
    if (!gi_cl_is_pointwise(n))
        return GOPT_OK;
    const gi_value *out = n->out[0];
    return gi_cl_pointwise(b, n->op_name, &n, 1, &out, &out, 1, took);
}

/* ---- behind a product ---- */

typedef struct tail {
    writer w;
    gi_str args, residuals, prefetches, keeps, unpacks, pairs, unpack_pairs, values, values_at; /* of the macros */
    uint32_t n_residuals;
    gi_cl_epilogue *e;
    const gi_value *turned[8]; /* operands that must be brought to the result's layout first; NULL: as they lie */
    int axis;
} tail;

/* A constant of one element a channel of the result. */
static bool along_channels(const tail *t, const gi_node *n, uint32_t i, const gi_value *v)
{
    const gi_blob *blob = gi_value_blob(v);
    if (!blob || blob->dtype != GOPT_F32 || gi_blob_elements(blob) != t->w.out.dims[t->axis])
        return false;
    if (is_along_channels(n, i))
        return t->axis == 1;
    const int at = t->axis - (t->w.out.rank - blob->rank);
    return at >= 0 && at < blob->rank && blob->dims[at] == t->w.out.dims[t->axis];
}

/* A tensor as large as the result whose elements lie as its do: images of the host after they have been turned. */
static bool lies_like_result(tail *t, const gi_value *v, gi_cl_view *view)
{
    const gi_cl_view *out = &t->w.out;
    if (v->type->dtype != GOPT_F32 && !(t->w.b->d->half && v->type->dtype == GOPT_F16))
        return false;
    if (gi_cl_same_place(view, out))
        return true;
    if (!out->channels_last || view->rank != out->rank ||
        memcmp(view->dims, out->dims, (size_t)out->rank * sizeof *out->dims) != 0)
        return false;
    *view = *out;
    view->half = t->w.b->d->half && !gi_fp32_value(v);
    t->turned[t->e->n_refs] = v;
    return true;
}

/* An operand from outside becomes a parameter of the function. */
static gopt_status take_operand(tail *t, const gi_node *n, uint32_t i, gi_str *params, bool *ok)
{
    writer *w = &t->w;
    const gi_value *v = gi_node_in(n, i);
    const bool channels = is_along_channels(n, i);
    const gi_blob *blob = gi_value_blob(v);
    const uint32_t r = t->e->n_refs;
    gi_cl_view view;
    if (gi_map_get(&w->names, name_key(v, channels)))
        return GOPT_OK;
    if (blob && gi_blob_elements(blob) == 1 && gi_cl_type(blob->dtype)) {
        gi_str_addf(&w->body, "    const %s v%u = ", gi_cl_type(blob->dtype), w->n_values);
        *ok = write_literal(&w->body, blob);
        gi_str_add(&w->body, ";\n");
        name_value(w, v, channels);
        return GOPT_OK;
    }
    *ok = r < GI_COUNT(t->e->refs) && gi_cl_view_of(w->b, v, &view);
    if (!*ok)
        return GOPT_OK;
    if (along_channels(t, n, i, v)) {
        gi_str_addf(&t->args, ", __global const float *t%u, const ulong t%u_at", r, r);
        gi_str_addf(&t->values, ", t%u[t%u_at + (n)]", r, r);
        gi_str_addf(&t->values_at, ", t%u[t%u_at + (n)]", r, r);
    } else if (!blob && lies_like_result(t, v, &view)) {
        t->e->residual = true;
        gi_str_addf(&t->args, ", __global const %s *t%u, const ulong t%u_at", view.half ? "half" : "float", r, r);
        gi_str_addf(&t->residuals,
                    view.half ? " float q%u[8]; vstore8(load_half8(t%u + t%u_at + (i)), 0, q%u);"
                              : " float q%u[8]; vstore8(load_float8(t%u + t%u_at + (i)), 0, q%u);",
                    r, r, r, r);
        gi_str_addf(&t->prefetches, " PREFETCH(t%u + t%u_at + (i));", r, r);
        if (view.half == w->b->d->half) {
            const char *floats = view.half ? "" : "_floats";
            gi_str_addf(&t->keeps, " kept[k][%u] = load8%s(t%u + t%u_at + (i));", t->n_residuals, floats, r, r);
            gi_str_addf(&t->unpacks,
                        view.half ? " float q%u[8]; unpack8(kept[k][%u], q%u);"
                                  : " float q%u[8]; vstore8(kept[k][%u], 0, q%u);",
                        r, t->n_residuals, r);
            gi_str_addf(&t->pairs, " pair[k][%u] = load2%s(t%u + t%u_at + (i));", t->n_residuals, floats, r, r);
            gi_str_addf(&t->unpack_pairs,
                        view.half ? " float q%u[2]; unpack2(pair[k][%u], q%u);"
                                  : " float q%u[2]; vstore2(pair[k][%u], 0, q%u);",
                        r, t->n_residuals, r);
            t->n_residuals++;
        } else { /* from element `at` on, when it is needed */
            gi_str_addf(&t->unpacks, " float q%u[8]; vstore8(load_float8(t%u + t%u_at + at), 0, q%u);", r, r, r, r);
            gi_str_addf(&t->unpack_pairs, " float q%u[2]; vstore2(vload2((t%u_at + at) / 2, t%u), 0, q%u);", r, r, r,
                        r);
        }
        gi_str_addf(&t->values, ", q%u[e]", r);
        gi_str_addf(&t->values_at, view.half ? ", vload_half(t%u_at + (i), t%u)" : ", t%u[t%u_at + (i)]", r, r);
    } else {
        *ok = false;
        return GOPT_OK;
    }
    if (!t->turned[r])
        GI_TRY(gi_cl_find(w->b, v, &t->e->refs[r]));
    t->e->n_refs++;
    gi_str_addf(params, ", const float v%u", w->n_values);
    name_value(w, v, channels);
    return GOPT_OK;
}

gopt_status gi_cl_epilogue_of(gi_cl_build *b, const gi_value *acc, const gi_node *const *nodes, size_t n,
                              const gi_value *result, const gi_cl_view *out, int axis, gi_cl_epilogue *e, bool *ok)
{
    tail t = { .w = { .b = b, .in_place = -1, .out = *out }, .e = e, .axis = axis };
    gi_str params, s;
    *e = (gi_cl_epilogue){ 0 };
    *ok = true;
    gi_str *const all[] = { &t.w.body, &t.args,         &t.residuals, &t.prefetches, &t.keeps, &t.unpacks,
                            &t.pairs,  &t.unpack_pairs, &t.values,    &t.values_at,  &params,  &s };
    for (size_t i = 0; i < GI_COUNT(all); i++)
        gi_str_init(all[i], b->arena);
    gi_map_init(&t.w.names, b->arena);
    name_value(&t.w, acc, false);
    for (size_t k = 0; k < n && *ok; k++) {
        bool folds;
        *ok = expression_of(nodes[k], &folds) != NULL;
        for (uint32_t i = 0; i < nodes[k]->n_in && *ok; i++)
            if (gi_node_in(nodes[k], i))
                GI_TRY(take_operand(&t, nodes[k], i, &params, ok));
        if (*ok)
            write_node(&t.w, nodes[k]);
    }
    const void *number = gi_map_get(&t.w.names, name_key(result, false));
    *ok = *ok && number;
    if (!*ok)
        return GOPT_OK;
    gi_str_addf(&s, "static float epilogue(const float v0%s)\n{\n%s    return v%u;\n}\n", params.p ? params.p : "",
                t.w.body.p ? t.w.body.p : "", (uint32_t)(uintptr_t)number - 1);
    gi_str_addf(&s, "#define EXTRA_ARGS %s\n#define LOAD_RESIDUALS(i)%s\n", t.args.p ? t.args.p : "",
                t.residuals.p ? t.residuals.p : "");
    gi_str_addf(&s, "#define PREFETCH_RESIDUALS(i)%s\n", t.prefetches.p ? t.prefetches.p : "");
    gi_str_addf(&s, "#define RESIDUALS %u\n#define KEEP_RESIDUALS(k, i)%s\n#define UNPACK_RESIDUALS(k)%s\n",
                t.n_residuals, t.keeps.p ? t.keeps.p : "", t.unpacks.p ? t.unpacks.p : "");
    gi_str_addf(&s, "#define KEEP_PAIRS(k, i)%s\n#define UNPACK_PAIRS(k)%s\n", t.pairs.p ? t.pairs.p : "",
                t.unpack_pairs.p ? t.unpack_pairs.p : "");
    gi_str_addf(&s, "#define EPILOGUE(acc, e, n) epilogue(acc%s)\n", t.values.p ? t.values.p : "");
    gi_str_addf(&s, "#define EPILOGUE_AT(acc, i, n) epilogue(acc%s)\n", t.values_at.p ? t.values_at.p : "");
    for (size_t i = 0; i < GI_COUNT(all); i++)
        GI_NEED(!all[i]->failed);
    gi_cl_view turned = *out;
    for (uint32_t i = 0; i < e->n_refs; i++)
        if (t.turned[i]) {
            turned.half = b->d->half && !gi_fp32_value(t.turned[i]);
            GI_TRY(gi_cl_convert(b, t.turned[i], &turned, &e->refs[i]));
        }
    e->source = s.p;
    return GOPT_OK;
}

/* ---- between the products of attention ---- */

/* An operand from outside becomes a parameter. */
static bool take_outside(writer *w, const gi_node *n, uint32_t i, gi_str *params, gi_cl_function *f)
{
    const gi_value *v = gi_node_in(n, i);
    const gi_blob *blob = gi_value_blob(v);
    const char *type = v->type && v->type->kind == GOPT_TENSOR ? gi_cl_type(v->type->dtype) : NULL;
    if (gi_map_get(&w->names, name_key(v, false)))
        return true;
    if (!type || is_along_channels(n, i))
        return false;
    const size_t before = w->body.n;
    gi_str_addf(&w->body, "    const %s v%u = ", type, w->n_values);
    if (blob && gi_blob_elements(blob) == 1 && write_literal(&w->body, blob)) {
        gi_str_add(&w->body, ";\n");
    } else {
        if (f->n == GI_COUNT(f->outside))
            return false;
        if (w->body.p)
            w->body.p[w->body.n = before] = 0;
        gi_str_addf(params, ", const %s v%u", type, w->n_values);
        f->outside[f->n] = v;
        f->by[f->n++] = n;
    }
    name_value(w, v, false);
    return true;
}

gopt_status gi_cl_function_of(gi_cl_build *b, const char *name, const gi_value *x, gi_node *const *nodes, size_t n,
                              const gi_value *result, gi_cl_function *f, bool *ok)
{
    writer w = { .b = b, .in_place = -1 };
    gi_str params, s;
    *f = (gi_cl_function){ 0 };
    *ok = true;
    gi_str_init(&w.body, b->arena);
    gi_str_init(&params, b->arena);
    gi_str_init(&s, b->arena);
    gi_map_init(&w.names, b->arena);
    name_value(&w, x, false);
    for (size_t k = 0; k < n && *ok; k++) {
        bool folds;
        if (nodes[k]->op == OP_Reshape) { /* the same elements */
            void *number = gi_map_get(&w.names, name_key(gi_node_in(nodes[k], 0), false));
            *ok = number != NULL;
            GI_NEED(gi_map_put(&w.names, name_key(nodes[k]->out[0], false), number));
            continue;
        }
        *ok = expression_of(nodes[k], &folds) != NULL;
        for (uint32_t i = 0; i < nodes[k]->n_in && *ok; i++)
            *ok = !gi_node_in(nodes[k], i) || take_outside(&w, nodes[k], i, &params, f);
        if (*ok)
            write_node(&w, nodes[k]);
    }
    const void *number = gi_map_get(&w.names, name_key(result, false));
    *ok = *ok && number;
    gi_str_addf(&s, "static float %s(const float v0%s)\n{\n%s    return v%u;\n}\n", name, params.p ? params.p : "",
                w.body.p ? w.body.p : "", (uint32_t)(uintptr_t)number - 1);
    GI_NEED(!s.failed && !w.body.failed && !params.failed);
    f->source = s.p;
    return GOPT_OK;
}
