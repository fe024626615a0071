/* Profiled steps by the device's clock: their commands go into a queue that keeps times, and a step took as long as from
 * the start of its first command to the end of its last one. What launching and waiting cost the host is not in that. */
#include "backend/opencl/cl.h"

typedef struct stamps {
    cl_event first, last;
    bool before; /* first stands before the step's first command */
} stamps;

/* CLBlast gives the event of its last command alone: a product at the start gets a marker before it. */
static cl_int launch_all(gi_cl *d, gi_cl_step *c, const gi_run_args *args, stamps *s)
{
    const gi_cl_context *x = args->context;
    cl_int err = CL_SUCCESS;
    s->before = !c->launches.p[0].kernel;
    if (s->before)
        err = clEnqueueMarkerWithWaitList(x->timed_queue, 0, NULL, &s->first);
    for (size_t i = 0; i < c->launches.n && err == CL_SUCCESS; i++) {
        cl_event e = NULL;
        err = gi_cl_run_launch(d, c, &c->launches.p[i], args, &e);
        if (!e) /* what it copies lies there already */
            continue;
        if (s->last && s->last != s->first)
            (void)clReleaseEvent(s->last);
        s->last = e;
        if (!s->first)
            s->first = e;
    }
    return err;
}

static bool has_queue(gi_cl *d, gi_cl_context *x)
{
    cl_int err;
    if (!x->timed_queue)
        x->timed_queue = clCreateCommandQueue(d->context, d->device, CL_QUEUE_PROFILING_ENABLE, &err);
    return x->timed_queue;
}

gopt_status gi_cl_run_timed(gi_cl *d, gi_cl_step *c, const gi_run_args *args, double *ms)
{
    stamps s = { 0 };
    gi_cl_context *x = args->context;
    *ms = c->launches.n ? -1 : 0;
    if (!c->launches.n)
        return GOPT_OK;
    pthread_mutex_lock(&d->lock);
    const bool timed = has_queue(d, x);
    cl_int err = gi_cl_queue_counters(d, x);
    if (err == CL_SUCCESS)
        err = clFinish(x->queue); /* what stands there comes first */
    if (err == CL_SUCCESS && timed)
        err = launch_all(d, c, args, &s);
    pthread_mutex_unlock(&d->lock);
    if (err != CL_SUCCESS && timed)
        (void)clFinish(x->timed_queue); /* of what did start */
    gopt_status st = err == CL_SUCCESS ? GOPT_OK : gi_cl_fail(args->cx, d, err, "a kernel does not start");
    if (st == GOPT_OK && !timed)
        st = gi_cl_run(d, c, args);
    err = st == GOPT_OK ? clFinish(timed ? x->timed_queue : x->queue) : CL_SUCCESS;
    if (err != CL_SUCCESS)
        st = gi_cl_fail(args->cx, d, err, "the device failed while running");
    if (st == GOPT_OK && s.last) {
        const double us = gi_cl_between_us(s.first, s.before, s.last);
        *ms = us < 0 ? -1 : us * 1e-3;
    } else if (st == GOPT_OK && timed) {
        *ms = 0;
    }
    if (s.first && s.first != s.last)
        (void)clReleaseEvent(s.first);
    if (s.last)
        (void)clReleaseEvent(s.last);
    return st;
}
