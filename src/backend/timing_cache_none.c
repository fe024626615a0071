/* Where there is no JSON, in gopt-plan: nothing is tuned there, and no timing cache is read. */
#include "backend/timing_cache.h"

gopt_status gi_timings_open(gopt_ctx *cx, const char *path, const char *machine, gi_timings **out)
{
    (void)machine;
    *out = NULL;
    return gi_fail(cx, GOPT_UNSUPPORTED, &(gi_place){ .file = path }, "use gopt, which reads and writes them",
                   "this build has no timing cache");
}

void gi_timings_close(gi_timings *t)
{
    (void)t;
}

bool gi_timings_find(const gi_timings *t, const char *key, gi_timing *out)
{
    (void)t;
    (void)key;
    (void)out;
    return false;
}

bool gi_timings_put(gi_timings *t, const char *key, const char *step, const gi_timing *what)
{
    (void)t;
    (void)key;
    (void)step;
    (void)what;
    return true;
}

gopt_status gi_timings_save(gi_timings *t)
{
    (void)t;
    return GOPT_OK;
}

const char *gi_timings_machine(const gi_timings *t)
{
    (void)t;
    return "";
}
