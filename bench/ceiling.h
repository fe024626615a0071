/* What this machine can do at best, measured: fused multiply-adds from registers, and reading. */
#ifndef BENCH_CEILING_H
#define BENCH_CEILING_H

#include "gopt/engine.h"

typedef struct ceiling {
    gopt_ceilings of; /* all threads together; bytes are read, each thread's 512 KiB from its cache */
    const char *isa;
} ceiling;

/* Measures for about a second. isa NULL: what the processor has. Returns 0, or -1 where no thread can be started. */
int ceiling_measure(int threads, const char *isa, ceiling *out);

#endif
