/* Packing by the conversions of AVX512_BF16, 32 channels a step; and storing 32 columns of a pixel. */
#ifndef GK_BF16_AVX512_H
#define GK_BF16_AVX512_H

#include <immintrin.h>

#include "bf16_plain.h"

enum { ADD_NONE, ADD_FLOATS, ADD_BF16 }; /* what a residual is */

GK_BF16_INLINE __m512 widened(__m512i two, const bool high)
{
    /* the lower half of the vector: its 16 numbers as floats */
    const __m256i h = high ? _mm512_extracti64x4_epi64(two, 1) : _mm512_castsi512_si256(two);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Finite where no exponent is all ones, once rounded: what would round to infinity counts as not finite too. */
GK_BF16_INLINE bool finite_parts(__m512i h)
{
    const __m512i exponent = _mm512_set1_epi16(0x7f80);
    return _mm512_cmpeq_epi16_mask(_mm512_and_si512(h, exponent), exponent) == 0;
}

GK_BF16_INLINE bool pack_32(const gk_bf16_pack *p, __m512 a, __m512 b, uint16_t *to)
{
    __m512i h = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    if (p->parts > 1 && !finite_parts(h))
        return false;
    _mm512_storeu_si512(to, h);
    for (int i = 1; i < p->parts; i++) {
        to += p->part;
        a = _mm512_sub_ps(a, widened(h, false));
        b = _mm512_sub_ps(b, widened(h, true));
        h = (__m512i)_mm512_cvtne2ps_pbh(b, a);
        _mm512_storeu_si512(to, h);
    }
    return true;
}

static bool bf16_pack_avx512(const gk_bf16_pack *p)
{
    const int low = p->channels < 16 ? p->channels : 16, high = p->channels - low;
    const __mmask16 m0 = (__mmask16)((1u << low) - 1), m1 = (__mmask16)((1u << high) - 1);
    const float *s0 = p->src, *s1 = high ? p->src + p->src_block : p->src;
    bool finite = true;
    for (size_t i = 0; i < p->n; i++, s0 += p->pixel, s1 += p->pixel) {
        const __m512 a = _mm512_maskz_loadu_ps(m0, s0), b = _mm512_maskz_loadu_ps(m1, s1);
        if (pack_32(p, a, b, p->dst + i * GK_BF16_K))
            continue;
        gk_bf16_pack one = *p;
        one.src = s0;
        one.n = 1;
        one.dst = p->dst + i * GK_BF16_K;
        if (!bf16_pack_plain(&one))
            finite = false;
    }
    return finite;
}

/* Of attention's probabilities. */
GK_BF16_INLINE void att_put(uint16_t *to, __m512 a, __m512 b)
{
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

GK_BF16_INLINE __m512i packed_row(const gk_bf16_pack *p, size_t row, __mmask16 m0, __mmask16 m1)
{
    if (row >= p->n)
        return _mm512_setzero_si512();
    const float *s = p->src + (ptrdiff_t)row * p->pixel;
    const __m512 b = m1 ? _mm512_maskz_loadu_ps(m1, s + p->src_block) : _mm512_setzero_ps();
    return (__m512i)_mm512_cvtne2ps_pbh(b, _mm512_maskz_loadu_ps(m0, s));
}

static void bf16_pack_pairs_avx512(const gk_bf16_pack *p)
{
    static const uint16_t first[32] = { 0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                        8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47 };
    const __m512i i0 = _mm512_loadu_si512(first), i1 = _mm512_add_epi16(i0, _mm512_set1_epi16(16));
    const int low = p->channels < 16 ? p->channels : 16, high = p->channels - low;
    const __mmask16 m0 = (__mmask16)((1u << low) - 1), m1 = (__mmask16)((1u << high) - 1);
    uint16_t *to = p->dst;
    for (size_t i = 0; i < p->n; i += 2, to += 2 * GK_BF16_K) {
        const __m512i a = packed_row(p, i, m0, m1), b = packed_row(p, i + 1, m0, m1);
        _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, i0, b));
        _mm512_storeu_si512(to + GK_BF16_K, _mm512_permutex2var_epi16(a, i1, b));
    }
}

GK_BF16_INLINE __m512 clamp_avx512(const gk_bf16_tile *t, __m512 x)
{
    /* the second operand where either is NaN */
    return _mm512_min_ps(_mm512_set1_ps(t->hi), _mm512_max_ps(_mm512_set1_ps(t->lo), x));
}

/* The normal distribution's share below x, times x: a polynomial up to where it is 1 but for 1e-4, fitted for least
 * absolute error of the product. */
GK_BF16_INLINE __m512 gelu_avx512(__m512 x)
{
    const __m512 bound = _mm512_set1_ps(3.8f), one = _mm512_set1_ps(1.0f);
    const __m512 y = _mm512_min_ps(bound, _mm512_max_ps(_mm512_sub_ps(_mm512_setzero_ps(), bound), x));
    const __m512 z = _mm512_mul_ps(y, y);
    __m512 p = _mm512_set1_ps(3.02567293e-08f);
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-1.95715583e-06f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(5.46277406e-05f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-0.000874515623f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(0.00904664677f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-0.0651391968f));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(0.398296475f));
    p = _mm512_fmadd_ps(p, y, _mm512_set1_ps(0.5f));
    return _mm512_mul_ps(x, _mm512_min_ps(one, _mm512_max_ps(_mm512_setzero_ps(), p)));
}

static void bf16_copy_avx512(size_t n, const uint16_t *src, ptrdiff_t pixel, int channels, uint16_t *dst)
{
    const __mmask32 m = (__mmask32)((1ull << channels) - 1);
    if (channels == GK_BF16_K)
        for (size_t i = 0; i < n; i++)
            _mm512_storeu_si512(dst + i * GK_BF16_K, _mm512_loadu_si512(src + (ptrdiff_t)i * pixel));
    else
        for (size_t i = 0; i < n; i++)
            _mm512_storeu_si512(dst + i * GK_BF16_K, _mm512_maskz_loadu_epi16(m, src + (ptrdiff_t)i * pixel));
}

/* Bias and residual, which of bfloat16 lies in one run: so do a block of it and a row of a matrix. */
GK_BF16_INLINE void add_avx512(const gk_bf16_tile *t, int p, __mmask16 m0, __mmask16 m1, __m512 *x0, __m512 *x1)
{
    *x0 = _mm512_add_ps(*x0, _mm512_loadu_ps(t->bias));
    *x1 = _mm512_add_ps(*x1, _mm512_loadu_ps(t->bias + 16));
    if (!t->add)
        return;
    if (t->add_bf16) {
        const __m512i h = _mm512_maskz_loadu_epi16(m0 | (__mmask32)m1 << 16, (const uint16_t *)t->add + t->at[p]);
        *x0 = _mm512_add_ps(*x0, widened(h, false));
        *x1 = _mm512_add_ps(*x1, widened(h, true));
        return;
    }
    const float *add = (const float *)t->add + t->at[p];
    *x0 = _mm512_add_ps(*x0, _mm512_maskz_loadu_ps(m0, add));
    *x1 = m1 ? _mm512_add_ps(*x1, _mm512_maskz_loadu_ps(m1, add + t->dst_block)) : *x1;
}

GK_BF16_INLINE void bf16_store_avx512(const gk_bf16_tile *t, int p, __m512 x0, __m512 x1)
{
    const int low = t->columns < 16 ? t->columns : 16, high = t->columns - low;
    const __mmask16 m0 = (__mmask16)((1u << low) - 1), m1 = (__mmask16)((1u << high) - 1);
    if (t->line) {
        _mm512_storeu_ps((float *)t->dst + p * t->line, x0);
        _mm512_storeu_ps((float *)t->dst + p * t->line + 16, x1);
        return;
    }
    add_avx512(t, p, m0, m1, &x0, &x1);
    x0 = t->gelu ? gelu_avx512(x0) : clamp_avx512(t, x0);
    x1 = t->gelu ? gelu_avx512(x1) : clamp_avx512(t, x1);
    if (t->dst_bf16) {
        _mm512_mask_storeu_epi16((uint16_t *)t->dst + t->at[p], m0 | (__mmask32)m1 << 16,
                                 (__m512i)_mm512_cvtne2ps_pbh(x1, x0));
        return;
    }
    float *dst = (float *)t->dst + t->at[p];
    _mm512_mask_storeu_ps(dst, m0, x0);
    if (high)
        _mm512_mask_storeu_ps(dst + t->dst_block, m1, x1);
}

/* All pixels of a tile whose sums lie in memory, [pixel][32]. What the tile says is read once: stores might change it,
 * for all that the compiler knows. */
GK_BF16_INLINE void store_pixels(const gk_bf16_tile *t, const float *sums, const int add, const bool narrow,
                                 const bool gelu)
{
    const int low = t->columns < 16 ? t->columns : 16, high = t->columns - low, n = t->pixels;
    const __mmask16 m0 = (__mmask16)((1u << low) - 1), m1 = (__mmask16)((1u << high) - 1);
    const __mmask32 both = m0 | (__mmask32)m1 << 16;
    const __m512 b0 = _mm512_loadu_ps(t->bias), b1 = _mm512_loadu_ps(t->bias + 16);
    const __m512 lo = _mm512_set1_ps(t->lo), hi = _mm512_set1_ps(t->hi);
    const ptrdiff_t *at = t->at, second = t->dst_block;
    const void *from = t->add;
    void *to = t->dst;
    for (int p = 0; p < n; p++, sums += GK_BF16_COLUMNS) {
        const ptrdiff_t i = at[p];
        if (i < 0)
            continue;
        __m512 x0 = _mm512_add_ps(_mm512_loadu_ps(sums), b0), x1 = _mm512_add_ps(_mm512_loadu_ps(sums + 16), b1);
        if (add == ADD_BF16) {
            const __m512i h = _mm512_maskz_loadu_epi16(both, (const uint16_t *)from + i);
            x0 = _mm512_add_ps(x0, widened(h, false));
            x1 = _mm512_add_ps(x1, widened(h, true));
        } else if (add == ADD_FLOATS) {
            x0 = _mm512_add_ps(x0, _mm512_maskz_loadu_ps(m0, (const float *)from + i));
            x1 = _mm512_add_ps(x1, _mm512_maskz_loadu_ps(m1, (const float *)from + i + second));
        }
        /* of the clamp, the second operand where either is NaN */
        x0 = gelu ? gelu_avx512(x0) : _mm512_min_ps(hi, _mm512_max_ps(lo, x0));
        x1 = gelu ? gelu_avx512(x1) : _mm512_min_ps(hi, _mm512_max_ps(lo, x1));
        if (narrow) {
            _mm512_mask_storeu_epi16((uint16_t *)to + i, both, (__m512i)_mm512_cvtne2ps_pbh(x1, x0));
        } else {
            _mm512_mask_storeu_ps((float *)to + i, m0, x0);
            _mm512_mask_storeu_ps((float *)to + i + second, m1, x1);
        }
    }
}

GK_BF16_INLINE void store_added(const gk_bf16_tile *t, const float *sums, const bool narrow, const bool gelu)
{
    if (!t->add)
        store_pixels(t, sums, ADD_NONE, narrow, gelu);
    else if (t->add_bf16)
        store_pixels(t, sums, ADD_BF16, narrow, gelu);
    else
        store_pixels(t, sums, ADD_FLOATS, narrow, gelu);
}

static __attribute__((noinline, unused)) void bf16_store_all(const gk_bf16_tile *t, const float *sums)
{
    if (t->dst_bf16 && t->gelu)
        store_added(t, sums, true, true);
    else if (t->dst_bf16)
        store_added(t, sums, true, false);
    else if (t->gelu)
        store_added(t, sums, false, true);
    else
        store_added(t, sums, false, false);
}

#endif
