/* Element types: names, sizes, and conversion of single elements. */
#include "ir/dtype.h"

#include <math.h>

typedef struct row {
    const char *name, *onnx;
    uint8_t bits;
    uint8_t class_;
} row;

static const row rows[GOPT_DTYPE_COUNT] = {
#define DTYPE(SYMBOL, NAME, ONNX, BITS, CLASS) [SYMBOL] = { NAME, ONNX, BITS, CLASS },
#include "ir/dtype.def"
#undef DTYPE
};

static const row *row_of(gopt_dtype t)
{
    return &rows[(unsigned)t < GOPT_DTYPE_COUNT ? t : GOPT_UNDEFINED];
}

const char *gopt_dtype_name(gopt_dtype t)
{
    return row_of(t)->name;
}

const char *gi_dtype_onnx_name(gopt_dtype t)
{
    return row_of(t)->onnx;
}

int gopt_dtype_bits(gopt_dtype t)
{
    return row_of(t)->bits;
}

gi_dclass gi_dtype_class(gopt_dtype t)
{
    return (gi_dclass)row_of(t)->class_;
}

gopt_dtype gopt_dtype_parse(const char *name)
{
    for (int t = 1; t < GOPT_DTYPE_COUNT; t++)
        if (!strcmp(rows[t].name, name))
            return (gopt_dtype)t;
    return GOPT_UNDEFINED;
}

bool gi_dtype_bytes(gopt_dtype t, size_t n, size_t *bytes)
{
    const size_t bits = row_of(t)->bits;
    if (!bits)
        return false;
    if (bits >= 8)
        return gi_mul_size(n, bits / 8, bytes);
    const size_t per_byte = 8 / bits;
    *bytes = n / per_byte + (n % per_byte != 0);
    return true;
}

/* ---- 16-bit floats ---- */

float gi_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    uint32_t u;
    if (exponent == 31) {
        u = sign | 0x7f800000 | fraction << 13;
    } else if (exponent) {
        u = sign | (exponent + 112) << 23 | fraction << 13;
    } else { /* zero or subnormal: fraction * 2^-24 is exact */
        const float f = (float)fraction * 0x1p-24f;
        memcpy(&u, &f, 4);
        u |= sign;
    }
    float f;
    memcpy(&f, &u, 4);
    return f;
}

uint16_t gi_f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    u &= 0x7fffffff;
    if (u > 0x7f800000)
        return sign | 0x7e00;
    if (u >= 0x477ff000) /* rounds to infinity from 65520 on */
        return sign | 0x7c00;
    if (u < 0x38800000) { /* subnormal: adding 0.5 puts the 10 bits at the end, rounded by the hardware */
        float x;
        memcpy(&x, &u, 4);
        x += 0.5f;
        memcpy(&u, &x, 4);
        return sign | (uint16_t)(u - 0x3f000000);
    }
    u += 0xfff + (u >> 13 & 1);
    return sign | (uint16_t)((u - 0x38000000) >> 13);
}

uint16_t gi_f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    u += 0x7fff + (u >> 16 & 1);
    return (uint16_t)(u >> 16);
}

/* ---- 8-bit and 4-bit floats ---- */

typedef struct small_format {
    int exponent_bits, fraction_bits, bias;
    bool has_inf; /* all-ones exponent: infinity and NaN, as IEEE */
    bool one_nan; /* all ones is the NaN (FN) */
    bool fnuz;    /* the sign bit alone is the NaN; no negative zero */
} small_format;

static const small_format *small_format_of(gopt_dtype t)
{
    static const small_format e4m3fn = { 4, 3, 7, false, true, false }, e4m3fnuz = { 4, 3, 8, false, false, true },
                              e5m2 = { 5, 2, 15, true, false, false }, e5m2fnuz = { 5, 2, 16, false, false, true },
                              e2m1 = { 2, 1, 1, false, false, false };
    switch (t) {
    case GOPT_F8E4M3FN:
        return &e4m3fn;
    case GOPT_F8E4M3FNUZ:
        return &e4m3fnuz;
    case GOPT_F8E5M2:
        return &e5m2;
    case GOPT_F8E5M2FNUZ:
        return &e5m2fnuz;
    default:
        return &e2m1;
    }
}

static double small_decode(gopt_dtype t, unsigned u)
{
    if (t == GOPT_F8E8M0)
        return u == 0xff ? NAN : ldexp(1, (int)u - 127);
    const small_format *s = small_format_of(t);
    const int bits = s->exponent_bits + s->fraction_bits;
    const unsigned sign = u >> bits & 1, mask = (1u << bits) - 1;
    const unsigned exponent = (u & mask) >> s->fraction_bits, fraction = u & ((1u << s->fraction_bits) - 1);
    const double one = sign ? -1 : 1;
    if (s->fnuz && sign && !(u & mask))
        return NAN;
    if (s->one_nan && (u & mask) == mask)
        return NAN;
    if (s->has_inf && exponent == (1u << s->exponent_bits) - 1)
        return fraction ? NAN : one * (double)INFINITY;
    if (!exponent)
        return one * ldexp(fraction, 1 - s->bias - s->fraction_bits);
    return one * ldexp(fraction + (1u << s->fraction_bits), (int)exponent - s->bias - s->fraction_bits);
}

/* Rounds half to even and saturates to the largest finite value, as Cast with saturate = 1. */
static unsigned small_encode(gopt_dtype t, double x)
{
    if (t == GOPT_F8E8M0) {
        if (isnan(x) || x < 0)
            return 0xff;
        if (isinf(x))
            return 0xfe;
        if (x <= 0x1p-127)
            return 0;
        int e;
        const double m = frexp(x, &e); /* x = m * 2^e, 0.5 <= m < 1; round half up */
        e = m >= 0.75 ? e : e - 1;
        return e + 127 > 254 ? 254 : (unsigned)(e + 127);
    }
    const small_format *s = small_format_of(t);
    const int bits = s->exponent_bits + s->fraction_bits;
    const unsigned mask = (1u << bits) - 1, sign = signbit(x) ? 1u << bits : 0;
    unsigned largest = mask;
    if (s->has_inf)
        largest = ((1u << s->exponent_bits) - 1) << s->fraction_bits; /* infinity; one less is the largest */
    if (s->has_inf || s->one_nan)
        largest--;
    if (isnan(x))
        return s->fnuz ? 1u << bits : s->has_inf ? sign | (mask & ~1u) | 1u : s->one_nan ? sign | mask : 0;
    const double ax = fabs(x);
    int e = 0;
    frexp(ax, &e);
    const int least = 1 - s->bias - s->fraction_bits; /* exponent of the smallest step */
    int step = e - 1 - s->fraction_bits;
    if (step < least)
        step = least;
    const double q = isinf(ax) ? INFINITY : nearbyint(ldexp(ax, -step));
    if (!(ldexp(q, step) <= small_decode(t, largest)))
        return sign | largest;
    if (q == 0)
        return s->fnuz ? 0 : sign;
    const double top = (double)(1u << s->fraction_bits);
    unsigned exponent = (unsigned)(step - least), fraction = (unsigned)q;
    if (fraction >= (unsigned)top) { /* normal: the hidden bit */
        if (fraction >= 2 * (unsigned)top) {
            fraction /= 2;
            exponent++;
        }
        return sign | ((exponent + 1) << s->fraction_bits) | (fraction - (unsigned)top);
    }
    return sign | fraction;
}

/* ---- elements ---- */

static unsigned load_packed(const uint8_t *p, size_t i, unsigned bits)
{
    const size_t per_byte = 8 / bits;
    return (unsigned)(p[i / per_byte] >> (i % per_byte * bits)) & ((1u << bits) - 1);
}

static void store_packed(uint8_t *p, size_t i, unsigned bits, unsigned v)
{
    const size_t per_byte = 8 / bits;
    const unsigned shift = (unsigned)(i % per_byte) * bits, mask = ((1u << bits) - 1) << shift;
    p[i / per_byte] = (uint8_t)((p[i / per_byte] & ~mask) | (v << shift & mask));
}

#define AT(T) (((const T *)data)[i])

int64_t gi_load_i64(gopt_dtype t, const void *data, size_t i)
{
    switch (t) {
    case GOPT_U8:
    case GOPT_BOOL:
        return AT(uint8_t);
    case GOPT_I8:
        return AT(int8_t);
    case GOPT_U16:
        return AT(uint16_t);
    case GOPT_I16:
        return AT(int16_t);
    case GOPT_I32:
        return AT(int32_t);
    case GOPT_I64:
        return AT(int64_t);
    case GOPT_U32:
        return AT(uint32_t);
    case GOPT_U64:
        return (int64_t)AT(uint64_t);
    case GOPT_U4:
        return load_packed(data, i, 4);
    case GOPT_I4:
        return (int)(load_packed(data, i, 4) ^ 8) - 8;
    case GOPT_U2:
        return load_packed(data, i, 2);
    case GOPT_I2:
        return (int)(load_packed(data, i, 2) ^ 2) - 2;
    default: {
        const double x = gi_load_f64(t, data, i);
        if (isnan(x))
            return 0;
        return x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : (int64_t)x;
    }
    }
}

double gi_load_f64(gopt_dtype t, const void *data, size_t i)
{
    switch (t) {
    case GOPT_F32:
        return (double)AT(float);
    case GOPT_F64:
        return AT(double);
    case GOPT_F16:
        return (double)gi_f16_to_f32(AT(uint16_t));
    case GOPT_BF16:
        return (double)gi_bf16_to_f32(AT(uint16_t));
    case GOPT_F8E4M3FN:
    case GOPT_F8E4M3FNUZ:
    case GOPT_F8E5M2:
    case GOPT_F8E5M2FNUZ:
    case GOPT_F8E8M0:
        return small_decode(t, AT(uint8_t));
    case GOPT_F4E2M1:
        return small_decode(t, load_packed(data, i, 4));
    case GOPT_U64:
        return (double)AT(uint64_t);
    case GOPT_UNDEFINED:
    case GOPT_STRING:
    case GOPT_C64:
    case GOPT_C128:
        return 0;
    default:
        return (double)gi_load_i64(t, data, i);
    }
}
#undef AT

#define AT(T) (((T *)data)[i])

void gi_store_i64(gopt_dtype t, void *data, size_t i, int64_t x)
{
    switch (t) {
    case GOPT_BOOL:
        AT(uint8_t) = x != 0;
        break;
    case GOPT_U8:
    case GOPT_I8:
        AT(uint8_t) = (uint8_t)x;
        break;
    case GOPT_U16:
    case GOPT_I16:
        AT(uint16_t) = (uint16_t)x;
        break;
    case GOPT_I32:
    case GOPT_U32:
        AT(uint32_t) = (uint32_t)x;
        break;
    case GOPT_I64:
    case GOPT_U64:
        AT(int64_t) = x;
        break;
    case GOPT_U4:
    case GOPT_I4:
        store_packed(data, i, 4, (unsigned)(x & 15));
        break;
    case GOPT_U2:
    case GOPT_I2:
        store_packed(data, i, 2, (unsigned)(x & 3));
        break;
    case GOPT_F64:
        AT(double) = (double)x;
        break;
    case GOPT_F32:
        AT(float) = (float)x; /* one rounding, not two */
        break;
    default:
        gi_store_f64(t, data, i, (double)x);
    }
}

/* Truncates; what does not fit saturates at 64 bits and then wraps, NaN is 0. */
static int64_t to_i64(double x)
{
    if (isnan(x))
        return 0;
    return x >= 0x1p63 ? INT64_MAX : x <= -0x1p63 ? INT64_MIN : (int64_t)x;
}

void gi_store_f64(gopt_dtype t, void *data, size_t i, double x)
{
    switch (t) {
    case GOPT_F32:
        AT(float) = (float)x;
        break;
    case GOPT_F64:
        AT(double) = x;
        break;
    case GOPT_F16:
        AT(uint16_t) = gi_f32_to_f16((float)x);
        break;
    case GOPT_BF16:
        AT(uint16_t) = gi_f32_to_bf16((float)x);
        break;
    case GOPT_F8E4M3FN:
    case GOPT_F8E4M3FNUZ:
    case GOPT_F8E5M2:
    case GOPT_F8E5M2FNUZ:
    case GOPT_F8E8M0:
        AT(uint8_t) = (uint8_t)small_encode(t, x);
        break;
    case GOPT_F4E2M1:
        store_packed(data, i, 4, small_encode(t, x));
        break;
    case GOPT_BOOL:
        AT(uint8_t) = x != 0; /* NaN is true */
        break;
    case GOPT_U64:
        AT(uint64_t) = x >= 0x1p64 ? UINT64_MAX : x >= 0x1p63 ? (uint64_t)x : (uint64_t)to_i64(x);
        break;
    case GOPT_UNDEFINED:
    case GOPT_STRING:
    case GOPT_C64:
    case GOPT_C128:
        break;
    default:
        gi_store_i64(t, data, i, to_i64(x));
    }
}
