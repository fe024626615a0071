/* What this machine can do at best, measured: fused multiply-adds from registers, and reading. */
#ifndef BENCH_CEILING_H
#define BENCH_CEILING_H

#include <stddef.h>

typedef struct ceiling {
    double gflops;       /* of all threads together, in billions a second */
    double cache_gbytes; /* read from each thread's 512 KiB, in 10^9 bytes a second */
    double memory_gbytes;
    const char *isa;
} ceiling;

/* Measures for about a second. isa NULL: what the processor has. Returns 0, or -1 where no thread can be started. */
int ceiling_measure(int threads, const char *isa, ceiling *out);

/* Milliseconds that so much arithmetic over so many bytes takes at least. */
double ceiling_floor(const ceiling *c, int threads, double gflop, double bytes);

#endif
