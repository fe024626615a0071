/* The machine's ceilings (ceiling.h). The best of many spans that are shorter than a time slice, since others may use
 * the machine too. */
#include "ceiling.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { SPANS = 120, SPAN_MS = 3, NEAR = 512 << 10, FAR = 96 << 20, PART = 2 << 20 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- arithmetic: independent sums, enough to cover the latency of each ---- */

enum { SUMS = 20, ROUNDS = 2000 };

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double work_avx512(void)
{
    __m512 s[SUMS], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (int i = 0; i < SUMS; i++)
        s[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 20
        for (int i = 0; i < SUMS; i++)
            s[i] = _mm512_fmadd_ps(s[i], a, b);
    for (int i = 1; i < SUMS; i++)
        s[0] = _mm512_add_ps(s[0], s[i]);
    volatile float keep = _mm512_cvtss_f32(s[0]);
    (void)keep;
    return 2.0 * 16 * SUMS * ROUNDS;
}

__attribute__((target("avx2,fma"))) static double work_avx2(void)
{
    __m256 s[12], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int i = 0; i < 12; i++)
        s[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            s[i] = _mm256_fmadd_ps(s[i], a, b);
    for (int i = 1; i < 12; i++)
        s[0] = _mm256_add_ps(s[0], s[i]);
    volatile float keep = _mm256_cvtss_f32(s[0]);
    (void)keep;
    return 2.0 * 8 * 12 * ROUNDS;
}
#endif

typedef float four __attribute__((vector_size(16)));

static double work_plain(void)
{
    four s[12], a = { 0.999f, 0.999f, 0.999f, 0.999f }, b = { 0.001f, 0.001f, 0.001f, 0.001f };
    for (int i = 0; i < 12; i++)
        s[i] = b * (float)i;
    for (int r = 0; r < ROUNDS; r++)
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++)
            s[i] = s[i] * a + b;
    for (int i = 1; i < 12; i++)
        s[0] += s[i];
    volatile float keep = s[0][0];
    (void)keep;
    return 2.0 * 4 * 12 * ROUNDS;
}

/* ---- reading ---- */

static double read_all(const uint64_t *p, size_t bytes)
{
    uint64_t sum[8] = { 0 };
    for (size_t i = 0; i < bytes / sizeof *p; i += 8)
        for (size_t k = 0; k < 8; k++)
            sum[k] += p[i + k];
    volatile uint64_t keep = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    (void)keep;
    return (double)bytes;
}

/* ---- threads ---- */

typedef enum what { ARITHMETIC, NEARBY, MEMORY } what;

typedef struct worker {
    pthread_t thread;
    what do_this;
    double (*work)(void);
    uint64_t *buffer;
    size_t at;   /* in the buffer, of what lies in memory */
    double best; /* units a millisecond */
    pthread_barrier_t *start;
} worker;

static double unit(worker *w)
{
    if (w->do_this == ARITHMETIC)
        return w->work();
    if (w->do_this == NEARBY)
        return read_all(w->buffer, NEAR);
    w->at = (w->at + PART) % FAR;
    return read_all(w->buffer + w->at / sizeof *w->buffer, PART);
}

static void *measure(void *arg)
{
    worker *w = arg;
    unit(w);
    pthread_barrier_wait(w->start);
    for (int s = 0; s < SPANS; s++) {
        const double start = now_ms();
        double done = 0, took = 0;
        while (took < SPAN_MS) {
            done += unit(w);
            took = now_ms() - start;
        }
        w->best = done / took > w->best ? done / took : w->best;
    }
    return NULL;
}

/* 10^9 units a second of all threads; negative where they cannot be started. */
static double together(worker *w, int threads, what this)
{
    pthread_barrier_t start;
    double sum = 0;
    int started = 0;
    if (pthread_barrier_init(&start, NULL, (unsigned)threads))
        return -1;
    for (int i = 0; i < threads; i++) {
        w[i].do_this = this;
        w[i].start = &start;
        w[i].best = 0;
    }
    for (; started < threads - 1; started++)
        if (pthread_create(&w[started].thread, NULL, measure, &w[started]))
            abort(); /* the others wait for it */
    measure(&w[threads - 1]);
    for (int i = 0; i < started; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < threads; i++)
        sum += w[i].best;
    pthread_barrier_destroy(&start);
    return sum * 1e-6;
}

int ceiling_measure(int threads, const char *isa, ceiling *out)
{
    worker *w = calloc((size_t)threads, sizeof *w);
    double (*work)(void) = work_plain;
    *out = (ceiling){ .of.cache_bytes = (double)NEAR * threads, .isa = "plain vectors" };
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && (!isa || !strcmp(isa, "avx512"))) {
        work = work_avx512;
        out->isa = "avx512";
    } else if (__builtin_cpu_supports("fma") && (!isa || strcmp(isa, "sse2") != 0)) {
        work = work_avx2;
        out->isa = "avx2";
    }
#else
    (void)isa;
#endif
    int status = w ? 0 : -1;
    for (int i = 0; i < threads && !status; i++) {
        w[i].work = work;
        w[i].buffer = malloc(FAR);
        status = w[i].buffer ? 0 : -1;
        if (!status)
            memset(w[i].buffer, i + 1, FAR);
    }
    if (!status) {
        out->of.gflops = together(w, threads, ARITHMETIC);
        out->of.cache_gbytes = together(w, threads, NEARBY);
        out->of.memory_gbytes = together(w, threads, MEMORY);
        status = out->of.gflops > 0 && out->of.cache_gbytes > 0 && out->of.memory_gbytes > 0 ? 0 : -1;
    }
    for (int i = 0; w && i < threads; i++)
        free(w[i].buffer);
    free(w);
    return status;
}
