/* Conversion between element types. */
#include "ops/known.h"
#include "ops/walk.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* ---- plain loops for the common pairs ---- */

#define CONVERT(NAME, FROM, TO, EXPR)                       \
    static void NAME(const void *from, void *to, int64_t n) \
    {                                                       \
        const FROM *p = from;                               \
        TO *q = to;                                         \
        for (int64_t i = 0; i < n; i++) {                   \
            const FROM x = p[i];                            \
            q[i] = (TO)(EXPR);                              \
        }                                                   \
    }
CONVERT(f32_f64, float, double, x)
CONVERT(f64_f32, double, float, x)
CONVERT(i32_f32, int32_t, float, x)
CONVERT(i64_f32, int64_t, float, x)
CONVERT(u8_f32, uint8_t, float, x)
CONVERT(bool_f32, uint8_t, float, x != 0)
CONVERT(i32_i64, int32_t, int64_t, x)
CONVERT(i64_i32, int64_t, int32_t, (uint32_t)x)
CONVERT(bool_i64, uint8_t, int64_t, x != 0)
CONVERT(bool_i32, uint8_t, int32_t, x != 0)
CONVERT(f32_bool, float, uint8_t, x != 0)
CONVERT(i64_bool, int64_t, uint8_t, x != 0)
CONVERT(i32_bool, int32_t, uint8_t, x != 0)
/* What does not fit has no meaning in ONNX: the least integer, as processors give. */
CONVERT(f32_i64, float, int64_t, x >= -0x1p63f && x < 0x1p63f ? (int64_t)x : INT64_MIN)
CONVERT(f32_i32, float, int32_t, x >= -0x1p31f && x < 0x1p31f ? (int32_t)x : INT32_MIN)
CONVERT(f64_i64, double, int64_t, x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN)
CONVERT(f64_i32, double, int32_t, x > -0x1p31 - 1 && x < 0x1p31 ? (int32_t)x : INT32_MIN)

typedef struct pair {
    gopt_dtype from, to;
    void (*convert)(const void *from, void *to, int64_t n);
} pair;

static const pair pairs[] = {
    { GOPT_F32, GOPT_F64, f32_f64 },   { GOPT_F64, GOPT_F32, f64_f32 },   { GOPT_I32, GOPT_F32, i32_f32 },
    { GOPT_I64, GOPT_F32, i64_f32 },   { GOPT_U8, GOPT_F32, u8_f32 },     { GOPT_BOOL, GOPT_F32, bool_f32 },
    { GOPT_I32, GOPT_I64, i32_i64 },   { GOPT_I64, GOPT_I32, i64_i32 },   { GOPT_BOOL, GOPT_I64, bool_i64 },
    { GOPT_BOOL, GOPT_I32, bool_i32 }, { GOPT_F32, GOPT_BOOL, f32_bool }, { GOPT_I64, GOPT_BOOL, i64_bool },
    { GOPT_I32, GOPT_BOOL, i32_bool }, { GOPT_F32, GOPT_I64, f32_i64 },   { GOPT_F32, GOPT_I32, f32_i32 },
    { GOPT_F64, GOPT_I64, f64_i64 },   { GOPT_F64, GOPT_I32, f64_i32 },
};

/* ---- small floats ---- */

static double largest_of(gopt_dtype t)
{
    switch (t) {
    case GOPT_F8E4M3FN:
        return 448;
    case GOPT_F8E4M3FNUZ:
        return 240;
    case GOPT_F8E5M2:
    case GOPT_F8E5M2FNUZ:
        return 57344;
    default:
        return INFINITY;
    }
}

/* Without saturation what is too large becomes infinity where there is one (E5M2), else NaN. A value that rounds
 * down to the largest is not too large: half a step above it is where that ends, a tie goes to even, away. */
static double overflow_of(gopt_dtype t, double x)
{
    const double most = largest_of(t), step = t == GOPT_F8E4M3FN ? 32 : t == GOPT_F8E4M3FNUZ ? 16 : 8192;
    const bool even = t == GOPT_F8E4M3FN; /* the largest there has an even fraction, so that a tie stays */
    const double ax = fabs(x);
    if (isnan(x) || !(ax > most) || (ax < most + step / 2 || (even && ax == most + step / 2)))
        return x;
    return t == GOPT_F8E5M2 ? (x > 0 ? INFINITY : -INFINITY) : NAN;
}

/* Besides, the bits of an E5M2 infinity, which a saturating store does not write. */
void gi_store_unsaturated(gopt_dtype t, void *data, size_t i, double x)
{
    x = overflow_of(t, x);
    if (t == GOPT_F8E5M2 && isinf(x))
        ((uint8_t *)data)[i] = x > 0 ? 0x7c : 0xfc;
    else
        gi_store_f64(t, data, i, x);
}

/* E8M0 holds powers of two alone: which one is a choice. */
static uint8_t encode_e8m0(double x, const char *mode, bool saturate)
{
    int e;
    if (isnan(x) || x < 0)
        return 0xff;
    if (isinf(x))
        return saturate ? 0xfe : 0xff;
    if (x == 0)
        return 0;
    const double m = frexp(x, &e); /* x = m·2^e, 0.5 <= m < 1 */
    const bool up = !strcmp(mode, "up") ? m > 0.5 : !strcmp(mode, "nearest") ? m >= 0.75 : false;
    e = up ? e : e - 1;
    if (e > 127)
        return saturate ? 0xfe : 0xff;
    return (uint8_t)(e < -127 ? 0 : e + 127);
}

/* ---- text ---- */

/* A number of any spelling that strtod knows, "NaN" and "INF" among them. */
static bool parse_text(gopt_string s, gopt_dtype to, void *data, size_t i)
{
    char text[64], *end;
    if (s.n == 0 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (to == GOPT_U64 || (gi_dtype_is_int(to) && !strpbrk(text, ".eEnN"))) {
        errno = 0;
        const int64_t v = to == GOPT_U64 ? (int64_t)strtoull(text, &end, 10) : strtoll(text, &end, 10);
        if (!*end && !errno) {
            gi_store_i64(to, data, i, v);
            return true;
        }
    }
    const double x = to == GOPT_F32 ? (double)strtof(text, &end) : strtod(text, &end);
    if (end == text || *end)
        return false;
    gi_store_f64(to, data, i, x);
    return true;
}

/* The shortest decimal that reads back as the same number. */
static int print_number(const gopt_tensor *t, int64_t i, char *text, size_t size)
{
    const gi_dclass class = gi_dtype_class(t->dtype);
    if (class == GI_BOOLEAN)
        return snprintf(text, size, "%s", gi_tensor_i64(t, i) ? "True" : "False");
    if (t->dtype == GOPT_U64)
        return snprintf(text, size, "%llu", (unsigned long long)gi_tensor_i64(t, i));
    if (class != GI_FLOAT)
        return snprintf(text, size, "%lld", (long long)gi_tensor_i64(t, i));
    const double x = gi_tensor_f64(t, i);
    if (isnan(x))
        return snprintf(text, size, "NaN");
    if (isinf(x))
        return snprintf(text, size, x > 0 ? "INF" : "-INF");
    for (int digits = 1; digits < 18; digits++) {
        const int n = snprintf(text, size, "%.*g", digits, x);
        const double back = strtod(text, NULL);
        uint64_t a = 0, b = 0;
        if (t->dtype == GOPT_F64 ? back == x
                                 : (gi_store_f64(t->dtype, &a, 0, back), gi_store_f64(t->dtype, &b, 0, x), a == b))
            return n;
    }
    return snprintf(text, size, "%.17g", x);
}

static gopt_status to_text(gi_eval *a, const gopt_tensor *x, gopt_tensor *y)
{
    gopt_string *s = y->data;
    const int64_t n = gopt_tensor_elements(x);
    for (int64_t i = 0; i < n; i++) {
        char text[64];
        const int length = print_number(x, i, text, sizeof text);
        char *copy = gi_eval_scratch(a, (size_t)length + 1, 1);
        GI_NEED(copy);
        memcpy(copy, text, (size_t)length + 1);
        s[i] = (gopt_string){ .p = copy, .n = (size_t)length };
    }
    return GOPT_OK;
}

static gopt_status from_text(gi_eval *a, const gopt_tensor *x, gopt_tensor *y)
{
    const gopt_string *s = x->data;
    const int64_t n = gopt_tensor_elements(x);
    for (int64_t i = 0; i < n; i++)
        if (!parse_text(s[i], y->dtype, y->data, (size_t)i))
            return gi_eval_fail(a, 0, "\"%.*s\" is no number", (int)(s[i].n < 40 ? s[i].n : 40), s[i].p ? s[i].p : "");
    return GOPT_OK;
}

/* ---- evaluation ---- */

static void convert_any(const gopt_tensor *x, gopt_tensor *y, bool saturate, const char *mode)
{
    const int64_t n = gopt_tensor_elements(x);
    const bool from_int = gi_dtype_is_int(x->dtype) || x->dtype == GOPT_BOOL;
    const bool small = largest_of(y->dtype) < INFINITY;
    for (size_t i = 0; i < (size_t)n; i++) {
        if (y->dtype == GOPT_F8E8M0)
            ((uint8_t *)y->data)[i] = encode_e8m0(gi_load_f64(x->dtype, x->data, i), mode, saturate);
        else if (small && !saturate)
            gi_store_unsaturated(y->dtype, y->data, i, gi_load_f64(x->dtype, x->data, i));
        else if (from_int && x->dtype != GOPT_U64)
            gi_store_i64(y->dtype, y->data, i, gi_load_i64(x->dtype, x->data, i));
        else if (x->dtype == GOPT_U64 && (gi_dtype_is_int(y->dtype) || y->dtype == GOPT_BOOL))
            gi_store_i64(y->dtype, y->data, i, gi_load_i64(x->dtype, x->data, i));
        else if (y->dtype == GOPT_I64 || y->dtype == GOPT_I32) { /* from every float as from double */
            const double v = gi_load_f64(x->dtype, x->data, i);
            (y->dtype == GOPT_I64 ? f64_i64 : f64_i32)(&v, (uint8_t *)y->data + i * gi_item_size(y->dtype), 1);
        } else
            gi_store_f64(y->dtype, y->data, i, gi_load_f64(x->dtype, x->data, i));
    }
}

static gopt_status cast_to(gi_eval *a, gopt_dtype to, bool saturate, const char *mode)
{
    const gopt_tensor *x = a->in[0];
    gopt_tensor *y;
    const gi_dclass class = gi_dtype_class(to);
    if (class == GI_NONE || class == GI_COMPLEX)
        return gi_eval_fail(a, -1, "there is no cast to element type %d", (int)to);
    GI_TRY(gi_eval_out(a, 0, to, x->rank, x->dims, &y));
    if (!y)
        return GOPT_OK;
    const int64_t n = gopt_tensor_elements(x);
    if (x->dtype == to) {
        if (x->bytes && y->data != x->data)
            memcpy(y->data, x->data, x->bytes);
        return GOPT_OK;
    }
    if (to == GOPT_STRING)
        return to_text(a, x, y);
    if (x->dtype == GOPT_STRING)
        return from_text(a, x, y);
    for (size_t i = 0; i < GI_COUNT(pairs); i++)
        if (pairs[i].from == x->dtype && pairs[i].to == to) {
            pairs[i].convert(x->data, y->data, n);
            return GOPT_OK;
        }
    if (to == GOPT_F32 && (x->dtype == GOPT_F16 || x->dtype == GOPT_BF16))
        gi_floats_load(x->dtype, x->data, 0, n, y->data);
    else if (x->dtype == GOPT_F32 && (to == GOPT_F16 || to == GOPT_BF16))
        gi_floats_store(to, y->data, 0, n, x->data);
    else
        convert_any(x, y, saturate, mode);
    return GOPT_OK;
}

static gopt_status eval_cast(gi_eval *a)
{
    const int64_t to = gi_attr_int(a->n, Cast_at_to);
    if (to <= 0 || to >= GOPT_DTYPE_COUNT)
        return gi_eval_fail(a, -1, "attribute to is %lld, which is no element type", (long long)to);
    return cast_to(a, (gopt_dtype)to, gi_attr_int(a->n, Cast_at_saturate) != 0, gi_attr_str(a->n, Cast_at_round_mode));
}

static gopt_status eval_cast_like(gi_eval *a)
{
    return cast_to(a, a->in[CastLike_in_target_type]->dtype, gi_attr_int(a->n, CastLike_at_saturate) != 0,
                   gi_attr_str(a->n, CastLike_at_round_mode));
}

/* The bytes as they are; but a bool is 0 or 1 everywhere here, so that any other byte becomes 1. */
static gopt_status eval_bit_cast(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const int64_t given = gi_attr_int(a->n, BitCast_at_to);
    const gopt_dtype to = given > 0 && given < GOPT_DTYPE_COUNT ? (gopt_dtype)given : GOPT_UNDEFINED;
    gopt_tensor *y;
    if (!to || to == GOPT_STRING || gopt_dtype_bits(to) != gopt_dtype_bits(x->dtype))
        return gi_eval_fail(a, 0, "elements of %s cannot be read as %s", gopt_dtype_name(x->dtype),
                            gopt_dtype_name(to));
    GI_TRY(gi_eval_out(a, 0, to, x->rank, x->dims, &y));
    if (y && x->bytes && y->data != x->data)
        memcpy(y->data, x->data, x->bytes);
    for (size_t i = 0; y && to == GOPT_BOOL && i < y->bytes; i++)
        ((uint8_t *)y->data)[i] = ((uint8_t *)y->data)[i] != 0;
    return GOPT_OK;
}

/* ---- type rules ---- */

static bool is_float(gopt_dtype t)
{
    return t == GOPT_F32 || t == GOPT_F64;
}

/* Sizes that were computed in floats. */
static gopt_status known_from_floats(gi_infer *c, gopt_dtype to)
{
    uint32_t n;
    const gi_dim *const *known = gi_known_truncated(c, 0, &n);
    const gi_dim **own = known ? GI_NEW_ARRAY(c->scratch, const gi_dim *, n) : NULL;
    GI_NEED(own || !known);
    for (uint32_t i = 0; known && i < n; i++)
        own[i] = known[i];
    if (known)
        gi_known_set(c, 0, to, n, own);
    return GOPT_OK;
}

/* Contents stay between the wide integers; as bool they are "not zero" where that is decided. */
static gopt_status infer_to(gi_infer *c, gopt_dtype to)
{
    const gi_type *t = gi_infer_type(c, 0);
    const gopt_dtype from = gi_infer_dtype(c, 0);
    uint32_t n;
    const gi_dim *const *known = gi_infer_known(c, 0, &n);
    if (t)
        gi_infer_set(c, 0, to, t->rank, t->dims);
    if (t && is_float(from) && (to == GOPT_I32 || to == GOPT_I64) && t->rank >= 0 && t->rank <= 1)
        return known_from_floats(c, to);
    if (!known || (from != GOPT_I32 && from != GOPT_I64 && from != GOPT_BOOL) ||
        (to != GOPT_I32 && to != GOPT_I64 && to != GOPT_BOOL))
        return GOPT_OK;
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1), *zero = gi_dim_const(c->g->dims, 0);
    GI_NEED(r && zero);
    for (uint32_t i = 0; i < n; i++) {
        const int is_zero = gi_dim_equal(c->g->dims, known[i], zero);
        r[i] = to != GOPT_BOOL ? known[i] : is_zero < 0 ? NULL : gi_dim_const(c->g->dims, !is_zero);
    }
    gi_known_set(c, 0, to, n, r);
    return GOPT_OK;
}

static gopt_status infer_cast(gi_infer *c)
{
    const int64_t to = gi_attr_int(c->n, Cast_at_to);
    const gi_dclass class = to > 0 && to < GOPT_DTYPE_COUNT ? gi_dtype_class((gopt_dtype)to) : GI_NONE;
    if (class == GI_NONE || class == GI_COMPLEX)
        return gi_infer_fail_node(c, "attribute to is %lld, to which nothing can be cast", (long long)to);
    return infer_to(c, (gopt_dtype)to);
}

static gopt_status infer_cast_like(gi_infer *c)
{
    return infer_to(c, gi_infer_dtype(c, CastLike_in_target_type));
}

static gopt_status infer_bit_cast(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int64_t to = gi_attr_int(c->n, BitCast_at_to);
    if (to <= 0 || to >= GOPT_DTYPE_COUNT || to == GOPT_STRING)
        return gi_infer_fail_node(c, "attribute to is %lld, as which no bits can be read", (long long)to);
    if (t && t->dtype && gopt_dtype_bits(t->dtype) != gopt_dtype_bits((gopt_dtype)to))
        return gi_infer_fail(c, 0, "expected elements as large as those of %s", gopt_dtype_name((gopt_dtype)to));
    if (t)
        gi_infer_set(c, 0, (gopt_dtype)to, t->rank, t->dims);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/cast.def"
