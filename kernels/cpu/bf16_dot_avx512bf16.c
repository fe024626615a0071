/* The unit of AVX512_BF16, for one part: 14 pixels by 32 columns.
 *
 * Registers: 28 sums, 2 of weights, 1 of a broadcast pair of 32. A pair of channels is 28 dot products and 16 loads, so
 * bound by the products where the processor starts one a cycle (Zen 4: twice the rate of FMA). Where it takes them
 * apart (Intel's), fp32 is faster: gk_bf16_dot_pays measures. */
#define GK_LANES 16
#include <time.h>

#include "bf16_avx512.h"

#define AS_BF16(X) ((__m512bh)(X))

GK_BF16_INLINE __m512bh pair_at(const uint16_t *p)
{
    int32_t two;
    memcpy(&two, p, sizeof(two));
    return AS_BF16(_mm512_set1_epi32(two));
}

GK_BF16_INLINE void dot_pixels(const gk_bf16_tile *t, const int n, const ptrdiff_t pixel)
{
    const int h = (n + 1) / 2;
    __m512 a0[14], a1[14];
#pragma GCC unroll 16
    for (int p = 0; p < n; p++)
        a0[p] = a1[p] = _mm512_setzero_ps();
    const uint16_t *w = t->w;
    for (size_t i = 0; i < t->n_taps; i++) {
        const uint16_t *s = t->src + t->taps[i], *s2 = s + t->half;
        for (int k = 0; k < t->depth; k += 2, s += 2, s2 += 2, w += 64) {
            const __m512bh w0 = AS_BF16(_mm512_loadu_si512(w)), w1 = AS_BF16(_mm512_loadu_si512(w + 32));
            __builtin_prefetch(w + 2048);
            __builtin_prefetch(w + 2048 + 32);
#pragma GCC unroll 16
            for (int p = 0; p < n; p++) {
                const __m512bh x = pair_at(p < h ? s + p * pixel : s2 + (p - h) * pixel);
                a0[p] = _mm512_dpbf16_ps(a0[p], w0, x);
                a1[p] = _mm512_dpbf16_ps(a1[p], w1, x);
            }
        }
        w += (GK_BF16_K - t->depth) * 32;
    }
#pragma GCC unroll 16
    for (int p = 0; p < n; p++)
        bf16_store_avx512(t, p, a0[p], a1[p]);
}

/* One or two pixels: four pairs at a time into sums of their own, since such products wait for latency. */
GK_BF16_INLINE void dot_few(const gk_bf16_tile *t, const int n)
{
    enum { U = 4 };
    __m512 a0[2][U], a1[2][U];
    for (int p = 0; p < n; p++)
#pragma GCC unroll 4
        for (int u = 0; u < U; u++)
            a0[p][u] = a1[p][u] = _mm512_setzero_ps();
    const uint16_t *w = t->w;
    for (size_t i = 0; i < t->n_taps; i++) {
        const uint16_t *s = t->src + t->taps[i];
        for (int k = 0; k < t->depth; k += 2 * U)
#pragma GCC unroll 4
            for (int u = 0; u < U; u++) {
                const __m512bh w0 = AS_BF16(_mm512_loadu_si512(w + 32 * k + 64 * u));
                const __m512bh w1 = AS_BF16(_mm512_loadu_si512(w + 32 * k + 64 * u + 32));
                __builtin_prefetch(w + 32 * k + 64 * u + 2048);
                __builtin_prefetch(w + 32 * k + 64 * u + 2048 + 32);
#pragma GCC unroll 2
                for (int p = 0; p < n; p++) {
                    const __m512bh x = pair_at(s + k + 2 * u + p * t->half);
                    a0[p][u] = _mm512_dpbf16_ps(a0[p][u], w0, x);
                    a1[p][u] = _mm512_dpbf16_ps(a1[p][u], w1, x);
                }
            }
        w += GK_BF16_K * 32;
    }
#pragma GCC unroll 2
    for (int p = 0; p < n; p++)
        bf16_store_avx512(t, p, _mm512_add_ps(_mm512_add_ps(a0[p][0], a0[p][1]), _mm512_add_ps(a0[p][2], a0[p][3])),
                          _mm512_add_ps(_mm512_add_ps(a1[p][0], a1[p][1]), _mm512_add_ps(a1[p][2], a1[p][3])));
}

static void dot_1(const gk_bf16_tile *t)
{
    dot_few(t, 1);
}
static void dot_2(const gk_bf16_tile *t)
{
    dot_few(t, 2);
}
#define DOT(N)                                 \
    static void dot_##N(const gk_bf16_tile *t) \
    {                                          \
        if (t->pixel == GK_BF16_K)             \
            dot_pixels(t, N, GK_BF16_K);       \
        else                                   \
            dot_pixels(t, N, t->pixel);        \
    }
DOT(3)
DOT(4)
DOT(5)
DOT(6)
DOT(7)
DOT(8)
DOT(9)
DOT(10)
DOT(11)
DOT(12)
DOT(13)
DOT(14)

static void dot_tile(const gk_bf16_tile *t)
{
    static void (*const by_pixels[])(const gk_bf16_tile *) = { NULL,   dot_1,  dot_2,  dot_3,  dot_4,
                                                               dot_5,  dot_6,  dot_7,  dot_8,  dot_9,
                                                               dot_10, dot_11, dot_12, dot_13, dot_14 };
    by_pixels[t->pixels](t);
}

#define ATT_PIXELS 14
#define ATT_TILE(T) dot_tile(T)
#include "bf16_attention.h"

static void nothing(void) {}

/* ---- does it pay? ---- */

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of 12,000 products, the least of several rounds: what else runs on the machine makes them only longer. */
static double rate(const bool dot, float *out)
{
    enum { ROUNDS = 9, STEPS = 1000, N = 12 };
    double best = 1e9;
    __m512 a[N], x = _mm512_setzero_ps();
    for (int i = 0; i < N; i++)
        a[i] = _mm512_setzero_ps();
    for (int r = 0; r < ROUNDS; r++) {
        const double start = seconds();
        for (int k = 0; k < STEPS; k++) {
#pragma GCC unroll 12
            for (int i = 0; i < N; i++) {
                a[i] = dot ? _mm512_dpbf16_ps(a[i], AS_BF16(_mm512_castps_si512(x)), AS_BF16(_mm512_castps_si512(x)))
                           : _mm512_fmadd_ps(x, x, a[i]);
                __asm__("" : "+v"(a[i]));
            }
        }
        const double took = seconds() - start;
        best = took < best ? took : best;
    }
    for (int i = 0; i < N; i++)
        x = _mm512_add_ps(x, a[i]);
    *out = _mm512_cvtss_f32(x);
    return best;
}

bool gk_bf16_dot_pays(void);
bool gk_bf16_dot_pays(void)
{
    volatile float unused;
    float a, b;
    const double dot = rate(true, &a), fma = rate(false, &b);
    unused = a + b;
    (void)unused;
    return dot < 1.5 * fma; /* a dot product is two of FMA's: at least a third more of them a second */
}

extern const gk_bf16_unit gk_bf16_dot;
const gk_bf16_unit gk_bf16_dot = { .name = "avx512_bf16",
                                   .pixels = 14,
                                   .most_parts = 1,
                                   .strip = 256 << 10,
                                   .speed = 2,
                                   .begin = nothing,
                                   .end = nothing,
                                   .tile = dot_tile,
                                   .pack = bf16_pack_avx512,
                                   .copy = bf16_copy_avx512,
                                   .pack_pairs = bf16_pack_pairs_avx512,
                                   .attention = bf16_attention,
                                   .attention_work = bf16_attention_work };
