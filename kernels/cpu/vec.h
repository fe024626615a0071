/* Vectors of GK_LANES floats, and the functions over them that kernels are made of.
 *
 * Included by a file that defined GK_LANES. Compares give a mask gm, SEL chooses by it. All functions let NaN
 * through. tests/unit/test_cpu_ulp.c bounds their errors. Coefficients of log and tanh are those of Cephes (Moshier). */
#ifndef GK_VEC_H
#define GK_VEC_H

#include <math.h>
#include <string.h>

#include "gk.h"
#if GK_LANES == 16 || defined(__SSE2__)
#include <immintrin.h>
#endif

#define GK_INLINE static inline __attribute__((always_inline, unused))
enum { L = GK_LANES };

typedef float gv __attribute__((vector_size(GK_LANES * 4), may_alias));
typedef int32_t gi __attribute__((vector_size(GK_LANES * 4), may_alias));
typedef float gvu __attribute__((vector_size(GK_LANES * 4), aligned(4), may_alias));

GK_INLINE gv v_load(const float *p)
{
    return *(const gvu *)p;
}
GK_INLINE void v_store(float *p, gv v)
{
    *(gvu *)p = v;
}
GK_INLINE gv V(float x)
{
    return x - (gv){ 0 };
}

#if GK_LANES == 16
typedef __mmask16 gm;
GK_INLINE gm LT(gv a, gv b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}
GK_INLINE gm LE(gv a, gv b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ);
}
GK_INLINE gm EQ(gv a, gv b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ);
}
GK_INLINE gv SEL(gm m, gv x, gv y)
{
    return (gv)_mm512_mask_blend_ps(m, (__m512)y, (__m512)x);
}
GK_INLINE gv v_sqrt(gv a)
{
    return (gv)_mm512_sqrt_ps((__m512)a);
}
GK_INLINE gv v_round(gv a)
{
    return (gv)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
GK_INLINE gv v_floor(gv a)
{
    return (gv)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
#else
typedef gi gm;
GK_INLINE gm LT(gv a, gv b)
{
    return a < b;
}
GK_INLINE gm LE(gv a, gv b)
{
    return a <= b;
}
GK_INLINE gm EQ(gv a, gv b)
{
    return a == b;
}
GK_INLINE gv SEL(gm m, gv x, gv y)
{
    return (gv)((m & (gi)x) | (~m & (gi)y));
}
GK_INLINE gv v_sqrt(gv a)
{
    gv r;
    for (int i = 0; i < L; i++)
        r[i] = sqrtf(a[i]);
    return r;
}
/* For |a| < 2^22; larger ones are whole already. */
GK_INLINE gv v_round(gv a)
{
    const gv big = V(12582912.0f), r = (a + big) - big;
    return SEL(LT(SEL(LT(a, V(0.0f)), -a, a), V(4194304.0f)), r, a);
}
GK_INLINE gv v_floor(gv a)
{
    const gv r = v_round(a);
    return SEL(LT(a, r), r - V(1.0f), r);
}
#endif

GK_INLINE gv v_abs(gv a)
{
    return (gv)((gi)a & 0x7fffffff);
}
/* One instruction each, which no compiler makes of a compare and a choice: where either is NaN, or they are equal, the
 * second. */
GK_INLINE gv v_atleast(gv lo, gv x)
{
#if GK_LANES == 16
    return (gv)_mm512_max_ps((__m512)lo, (__m512)x);
#elif GK_LANES == 8 && defined(__AVX__)
    return (gv)_mm256_max_ps((__m256)lo, (__m256)x);
#elif GK_LANES == 4 && defined(__SSE2__)
    return (gv)_mm_max_ps((__m128)lo, (__m128)x);
#else
    return SEL(LT(x, lo), lo, x);
#endif
}
GK_INLINE gv v_atmost(gv hi, gv x)
{
#if GK_LANES == 16
    return (gv)_mm512_min_ps((__m512)hi, (__m512)x);
#elif GK_LANES == 8 && defined(__AVX__)
    return (gv)_mm256_min_ps((__m256)hi, (__m256)x);
#elif GK_LANES == 4 && defined(__SSE2__)
    return (gv)_mm_min_ps((__m128)hi, (__m128)x);
#else
    return SEL(LT(hi, x), hi, x);
#endif
}
GK_INLINE gv v_clip(gv a, float lo, float hi)
{
    return v_atmost(V(hi), v_atleast(V(lo), a));
}
/* 2^n for whole n in -126 … 127 */
GK_INLINE gv v_pow2(gi n)
{
    return (gv)((n + 127) << 23);
}
GK_INLINE gi v_to_int(gv a)
{
    return __builtin_convertvector(a, gi);
}

/* e^x for -104 <= x <= 89, and NaN */
GK_INLINE gv v_exp_inside(gv x)
{
    const gv n = v_round(x * V(1.44269504089f));
    const gv r = (x - n * V(0.693359375f)) - n * V(-2.12194440e-4f);
    gv y = V(1.9875691500e-4f);
    y = y * r + V(1.3981999507e-3f);
    y = y * r + V(8.3334519073e-3f);
    y = y * r + V(4.1665795894e-2f);
    y = y * r + V(1.6666665459e-1f);
    y = y * r + V(5.0000001201e-1f);
    y = y * r * r + r + V(1.0f);
#if GK_LANES == 16
    return (gv)_mm512_scalef_ps((__m512)y, (__m512)n);
#else
    const gi k = v_to_int(n), h = k >> 1;
    return y * v_pow2(h) * v_pow2(k - h);
#endif
}

GK_INLINE gv v_exp(gv x)
{
    return v_exp_inside(v_clip(x, -104.0f, 89.0f));
}

/* 2^x for x <= 0: below 2e-7 off, relatively; 2^x that are no normal floats may be zero. A polynomial of degree 5 over
 * the fraction. */
GK_INLINE gv v_exp2_falling(gv x)
{
#if GK_LANES == 16
    const gv f = (gv)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
    const gm none = LT(x, V(-126.0f));
    x = SEL(none, V(-126.0f), x);
    const gv n = v_floor(x), f = x - n;
#endif
    gv y = V(0.0018775759963318706f);
    y = y * f + V(0.00898934155702591f);
    y = y * f + V(0.05582631751894951f);
    y = y * f + V(0.24015361070632935f);
    y = y * f + V(0.6931530833244324f);
    y = y * f + V(0.9999999403953552f);
#if GK_LANES == 16
    return (gv)_mm512_scalef_ps((__m512)y, (__m512)x);
#else
    return SEL(none, V(0.0f), y * v_pow2(v_to_int(n)));
#endif
}

/* a / b, for b far from zero and from overflow. */
GK_INLINE gv v_quotient(gv a, gv b)
{
#if GK_LANES == 16
    const gv r = (gv)_mm512_rcp14_ps((__m512)b), q = a * r; /* and one step of Newton's, by the residual */
    return q + r * (a - b * q);
#else
    return a / b;
#endif
}

/* 1 / (1 + e^x): the sigmoid of -x */
GK_INLINE gv v_sigmoid_neg(gv x)
{
    return v_quotient(V(1.0f), V(1.0f) + v_exp_inside(v_clip(x, -104.0f, 86.0f)));
}

/* 1 / (1 + e^-x) */
GK_INLINE gv v_sigmoid(gv x)
{
    return v_sigmoid_neg(-x);
}

/* a / (1 + e^(-p a)) = a / (1 + 2^t), and what t = c a lost by rounding is added to its fraction. */
GK_INLINE gv v_swish(gv a, float p)
{
#if GK_LANES == 16
    const float c = -1.44269504f * p, bound = 126.0f / fabsf(c);
    const gv x = v_clip(a, -bound, bound), t = x * V(c);
    const gv whole = (gv)_mm512_roundscale_ps((__m512)t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const gv r = (t - whole) + (gv)_mm512_fmsub_ps((__m512)x, (__m512)V(c), (__m512)t);
    gv y = V(1.3264727e-3f);
    y = y * r + V(9.6715130e-3f);
    y = y * r + V(5.5507336e-2f);
    y = y * r + V(2.4022242e-1f);
    y = y * r + V(6.9314700e-1f);
    y = y * r + V(1.0f);
    const gv d = V(1.0f) + (gv)_mm512_scalef_ps((__m512)y, (__m512)whole);
    const gv q = (gv)_mm512_rcp14_ps((__m512)d);
    return a * (q + q * (V(1.0f) - d * q));
#else
    return a * v_sigmoid_neg(a * V(-p));
#endif
}

/* e^x - 1 for x <= 0, where it matters; precise near zero. */
GK_INLINE gv v_expm1(gv x)
{
    const gv near =
        x + x * x * (V(0.5f) + x * (V(1.0f / 6) + x * (V(1.0f / 24) + x * (V(1.0f / 120) + x * V(1.0f / 720)))));
    return SEL(LT(v_abs(x), V(0.35f)), near, v_exp(x) - V(1.0f));
}

GK_INLINE gv v_log(gv x)
{
    const gi bits = (gi)x;
    gi e = (bits >> 23) - 126;
    gv m = (gv)((bits & 0x007fffff) | 0x3f000000); /* 0.5 … 1 */
    const gm low = LT(m, V(0.70710678f));
    const gv ef = __builtin_convertvector(e, gv) - SEL(low, V(1.0f), V(0.0f));
    m = SEL(low, m + m, m) - V(1.0f);
    const gv z = m * m;
    gv y = V(7.0376836292e-2f);
    y = y * m + V(-1.1514610310e-1f);
    y = y * m + V(1.1676998740e-1f);
    y = y * m + V(-1.2420140846e-1f);
    y = y * m + V(1.4249322787e-1f);
    y = y * m + V(-1.6668057665e-1f);
    y = y * m + V(2.0000714765e-1f);
    y = y * m + V(-2.4999993993e-1f);
    y = y * m + V(3.3333331174e-1f);
    y = y * m * z + ef * V(-2.12194440e-4f) - V(0.5f) * z;
    y = m + y + ef * V(0.693359375f);
    y = SEL(LT(x, V(1.17549435e-38f)), V(-INFINITY), y); /* zero, and denormals, which count as zero */
    y = SEL(LT(x, V(0.0f)), V(NAN), y);
    y = SEL(EQ(x, V(INFINITY)), x, y);
    return SEL(EQ(x, x), y, x);
}

GK_INLINE gv v_tanh(gv x)
{
    const gv z = x * x;
    gv p = V(-5.70498872745e-3f);
    p = p * z + V(2.06390887954e-2f);
    p = p * z + V(-5.37397155531e-2f);
    p = p * z + V(1.33314422036e-1f);
    p = p * z + V(-3.33332819422e-1f);
    p = p * z * x + x;
    const gv a = v_abs(x), f = V(1.0f) - V(2.0f) / (v_exp(a + a) + V(1.0f));
    const gv far = SEL(LT(x, V(0.0f)), -f, f);
    return SEL(LT(a, V(0.625f)), p, far);
}

/* x P(x^2) / Q(x^2), fitted for least relative error up to where floats become 1; coefficients chosen as floats. */
GK_INLINE gv v_erf(gv x)
{
    x = v_clip(x, -3.95f, 3.95f);
    const gv z = x * x;
    gv p = V(2.05003562e-06f), q = V(3.80907732e-05f);
    p = p * z + V(0.000284875161f);
    q = q * z + V(0.00116250059f);
    p = p * z + V(0.00376551482f);
    q = q * z + V(0.0149690229f);
    p = p * z + V(0.0527484119f);
    q = q * z + V(0.114108317f);
    p = p * z + V(0.190404803f);
    q = q * z + V(0.502074718f);
    p = p * z + V(1.12837911f);
    q = q * z + V(1.0f);
    return v_clip(v_quotient(x * p, q), -1.0f, 1.0f);
}

/* log(1 + e^x) = max(x, 0) + log1p(e^-|x|) */
GK_INLINE gv v_softplus(gv x)
{
    const gv u = v_exp(-v_abs(x)), w = V(1.0f) + u;
    const gv d = w - V(1.0f);
    const gv l = SEL(EQ(d, V(0.0f)), u, v_log(w) * u / SEL(EQ(d, V(0.0f)), V(1.0f), d));
    return v_atleast(V(0.0f), x) + l;
}

GK_INLINE float v_total(gv v)
{
#if GK_LANES == 16
    return _mm512_reduce_add_ps((__m512)v);
#else
    float s[L];
    v_store(s, v);
    for (int n = L / 2; n; n /= 2)
        for (int i = 0; i < n; i++)
            s[i] += s[i + n];
    return s[0];
#endif
}

/* The greatest lane, NaN if there is one. */
GK_INLINE float v_greatest(gv v)
{
    float s[L];
    v_store(s, v);
#if GK_LANES == 16
    if (_mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q) == 0)
        return _mm512_reduce_max_ps((__m512)v);
#endif
    float r = -INFINITY;
    for (int k = 0; k < L; k++)
        r = s[k] < r || r != r ? r : s[k];
    return r;
}

#if GK_LANES == 8 && defined(__AVX2__)
/* Lanes below n, for masked loads and stores. */
GK_INLINE __m256i v_first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

/* The first n lanes from memory (n < L), the others x. */
GK_INLINE gv v_load_part(const float *p, size_t n, float x)
{
#if GK_LANES == 16
    return (gv)_mm512_mask_loadu_ps((__m512)V(x), (__mmask16)((1u << n) - 1), p);
#elif GK_LANES == 8 && defined(__AVX2__)
    const __m256i first = v_first(n);
    return (gv)_mm256_blendv_ps((__m256)V(x), _mm256_maskload_ps(p, first), _mm256_castsi256_ps(first));
#else
    float s[L];
    for (size_t i = 0; i < L; i++)
        s[i] = i < n ? p[i] : x;
    return v_load(s);
#endif
}
GK_INLINE void v_store_part(float *p, size_t n, gv v)
{
#if GK_LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif GK_LANES == 8 && defined(__AVX2__)
    _mm256_maskstore_ps(p, v_first(n), (__m256)v);
#else
    float s[L];
    v_store(s, v);
    for (size_t i = 0; i < n; i++)
        p[i] = s[i];
#endif
}

/* L rows become L columns, in place. */
GK_INLINE void v_transpose(gv *r)
{
#if GK_LANES == 16
    __m512 a[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps((__m512)r[i], (__m512)r[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps((__m512)r[i], (__m512)r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            const __m512d x = _mm512_castps_pd(a[i + k]), y = _mm512_castps_pd(a[i + k + 2]);
            r[i + 2 * k] = (gv)_mm512_unpacklo_pd(x, y);
            r[i + 2 * k + 1] = (gv)_mm512_unpackhi_pd(x, y);
        }
    for (int k = 0; k < 4; k++) /* r[4 i + k]: of rows 4 i …, columns k, k + 4, k + 8, k + 12 */
        for (int i = 0; i < 2; i++) {
            a[8 * i + k] = _mm512_shuffle_f32x4((__m512)r[8 * i + k], (__m512)r[8 * i + 4 + k], 0x88);
            a[8 * i + 4 + k] = _mm512_shuffle_f32x4((__m512)r[8 * i + k], (__m512)r[8 * i + 4 + k], 0xdd);
        }
    for (int k = 0; k < 8; k++) {
        r[k] = (gv)_mm512_shuffle_f32x4(a[k], a[8 + k], 0x88);
        r[8 + k] = (gv)_mm512_shuffle_f32x4(a[k], a[8 + k], 0xdd);
    }
#elif GK_LANES == 8 && defined(__AVX__)
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps((__m256)r[i], (__m256)r[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps((__m256)r[i], (__m256)r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            b[i + 2 * k] = _mm256_shuffle_ps(a[i + k], a[i + k + 2], 0x44);
            b[i + 2 * k + 1] = _mm256_shuffle_ps(a[i + k], a[i + k + 2], 0xee);
        }
    for (int k = 0; k < 4; k++) {
        r[k] = (gv)_mm256_permute2f128_ps(b[k], b[4 + k], 0x20);
        r[4 + k] = (gv)_mm256_permute2f128_ps(b[k], b[4 + k], 0x31);
    }
#elif GK_LANES == 4 && defined(__SSE2__)
    const __m128 a = _mm_unpacklo_ps((__m128)r[0], (__m128)r[1]), b = _mm_unpackhi_ps((__m128)r[0], (__m128)r[1]);
    const __m128 c = _mm_unpacklo_ps((__m128)r[2], (__m128)r[3]), d = _mm_unpackhi_ps((__m128)r[2], (__m128)r[3]);
    r[0] = (gv)_mm_movelh_ps(a, c);
    r[1] = (gv)_mm_movehl_ps(c, a);
    r[2] = (gv)_mm_movelh_ps(b, d);
    r[3] = (gv)_mm_movehl_ps(d, b);
#else
    for (int i = 0; i < L; i++)
        for (int k = i + 1; k < L; k++) {
            const float x = r[i][k];
            r[i][k] = r[k][i];
            r[k][i] = x;
        }
#endif
}

#endif
