/* What steps take at least on a device whose ceilings are known. */
#include "backend/engine.h"

gopt_status gopt_engine_ceilings(gopt_engine *e, bool again, gopt_ceilings *out)
{
    const int device = e->backend[1] ? 1 : 0;
    const gi_backend *b = e->backend[device];
    *out = (gopt_ceilings){ 0 };
    if (!b || !b->ceilings)
        return GOPT_UNSUPPORTED;
    pthread_mutex_lock(&e->lock);
    const gopt_status st = b->ceilings(e->device[device], again, out);
    pthread_mutex_unlock(&e->lock);
    out->backend = b->name;
    return st;
}

double gopt_floor_ms(const gopt_ceilings *c, double gflop, double bytes)
{
    const double rate = c->cache_gbytes > 0 && bytes <= c->cache_bytes ? c->cache_gbytes : c->memory_gbytes;
    const double work = c->gflops > 0 ? gflop / c->gflops * 1e3 : 0, moving = rate > 0 ? bytes * 1e-6 / rate : 0;
    const double longer = work > moving ? work : moving;
    if (gflop <= 0 && bytes <= 0)
        return 0;
    return longer > c->launch_ms ? longer : c->launch_ms;
}

double gopt_step_floor_ms(const gopt_ceilings *c, const gopt_step_info *s)
{
    return s->node && c->backend && !strcmp(c->backend, s->backend) ? gopt_floor_ms(c, s->gflop, (double)s->bytes) : 0;
}
