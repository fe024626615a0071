/* The timing cache: what tuning found, in one JSON file that several programs may share.
 *
 *   { "gopt_timing_cache": 1,
 *     "entries": { "8f3c…": { "machine": "AMD EPYC 9R14, avx512, 2 threads, fp32, reassoc, gopt 0.1.0",
 *                             "step": "Conv+Relu f32[1,64,56,56] -> f32[1,64,56,56]",
 *                             "tactic": "conv_direct", "variant": 1, "ms": 0.41 } } }
 *
 * A key is a hash of the machine's line and of all that decides how long a step takes, so an entry of another machine,
 * version or shape is never found, and never harms. What names a tactic that is gone is found and not taken. */
#ifndef GI_TIMING_CACHE_H
#define GI_TIMING_CACHE_H

#include "base/base.h"

typedef struct gi_timings gi_timings;

typedef struct gi_timing {
    const char *tactic; /* borrowed until the cache is closed */
    int variant;
    double ms;
} gi_timing;

/* Reads the file, where there is one. What is damaged is set aside as FILE.corrupt, with one warning. `path` NULL: a
 * cache in memory alone. `machine` is copied. */
gopt_status gi_timings_open(gopt_ctx *cx, const char *path, const char *machine, gi_timings **out);
void gi_timings_close(gi_timings *t); /* t may be NULL */
bool gi_timings_find(const gi_timings *t, const char *key, gi_timing *out);
bool gi_timings_put(gi_timings *t, const char *key, const char *step, const gi_timing *what);
/* Writes what was put, merged with what others wrote meanwhile; nothing where nothing was put. */
gopt_status gi_timings_save(gi_timings *t);
const char *gi_timings_machine(const gi_timings *t);

#endif
