/* Queues and copies: a run context has a queue of its own, so that copies of one run go on beside kernels of another.
 * Within a queue commands follow each other. */
#include "backend/opencl/device.h"
#include "backend/opencl/walk.h"

gi_cl_context *gi_cl_context_of(gi_cl *d, void *context)
{
    return context ? context : &d->own;
}

cl_int gi_cl_queue_open(gi_cl *d, gopt_ctx *cx, gi_cl_context *x)
{
    cl_int err;
    x->cx = cx;
    x->queue = clCreateCommandQueue(d->context, d->device, 0, &err);
    return err;
}

void gi_cl_queue_close(gi_cl *d, gi_cl_context *x)
{
    if (!x->queue)
        return;
    (void)clFinish(x->queue);
    pthread_mutex_lock(&d->lock);
    gi_cl_walk_forget(d, x->queue);
    if (x->counters) {
        d->freed++;
        (void)clReleaseMemObject(x->counters);
    }
    pthread_mutex_unlock(&d->lock);
    if (x->timed_queue)
        (void)clReleaseCommandQueue(x->timed_queue);
    (void)clReleaseCommandQueue(x->queue);
}

cl_int gi_cl_queue_counters(gi_cl *d, gi_cl_context *x)
{
    const cl_uint zero = 0;
    const size_t bytes = d->counters;
    cl_int err;
    if (x->counters_bytes >= bytes)
        return CL_SUCCESS;
    cl_mem m = clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &err);
    if (!m)
        return err;
    err = clEnqueueFillBuffer(x->queue, m, &zero, sizeof zero, 0, bytes, 0, NULL, NULL);
    if (err != CL_SUCCESS) {
        (void)clReleaseMemObject(m);
        return err;
    }
    if (x->counters) { /* launches that are on their way hold it */
        d->freed++;
        (void)clReleaseMemObject(x->counters);
    }
    x->counters = m;
    x->counters_bytes = bytes;
    return CL_SUCCESS;
}

/* ---- backend.h: contexts and copies ---- */

gopt_status gi_cl_context_open(gi_device *dev, gopt_ctx *cx, void **context)
{
    gi_cl *d = (gi_cl *)dev;
    gi_cl_context *x = gi_alloc(cx, sizeof *x);
    GI_NEED(x);
    const cl_int err = gi_cl_queue_open(d, cx, x);
    if (err != CL_SUCCESS) {
        gi_free(cx, x);
        return gi_cl_fail(cx, d, err, "the device gives no queue");
    }
    *context = x;
    return GOPT_OK;
}

void gi_cl_context_close(gi_device *dev, void *context)
{
    gi_cl_context *x = context;
    gi_cl_queue_close((gi_cl *)dev, x);
    gi_free(x->cx, x);
}

gopt_status gi_cl_upload(gi_device *dev, void *context, const gi_buffer *to, const void *from)
{
    gi_cl *d = (gi_cl *)dev;
    const gi_cl_context *x = gi_cl_context_of(d, context);
    if (!to->bytes)
        return GOPT_OK;
    const cl_int err =
        clEnqueueWriteBuffer(x->queue, to->mem, CL_TRUE, (size_t)to->offset, (size_t)to->bytes, from, 0, NULL, NULL);
    return err == CL_SUCCESS ? GOPT_OK : gi_cl_fail(x->cx, d, err, "a copy to the device failed");
}

gopt_status gi_cl_download(gi_device *dev, void *context, const gi_buffer *from, void *to)
{
    gi_cl *d = (gi_cl *)dev;
    gi_cl_context *x = gi_cl_context_of(d, context);
    if (!from->bytes)
        return GOPT_OK;
    cl_int err = x->walked ? gi_cl_walk_ask(x) : CL_SUCCESS;
    if (err == CL_SUCCESS)
        err = clEnqueueReadBuffer(x->queue, from->mem, CL_TRUE, (size_t)from->offset, (size_t)from->bytes, to, 0, NULL,
                                  NULL);
    if (err != CL_SUCCESS)
        return gi_cl_fail(x->cx, d, err, "a copy from the device failed");
    const bool fault = x->walked && gi_cl_walk_fault(x);
    x->walked = false;
    if (fault)
        return gi_fail(x->cx, GOPT_INTERNAL, &(gi_place){ .file = d->name },
                       "run it again: it will be launched step by step; GOPT_OPENCL_WALK=0 does so from the start",
                       "a kernel that walks the plan waited too long for its own steps and gave up");
    return GOPT_OK;
}

gopt_status gi_cl_finish(gi_device *dev, void *context)
{
    gi_cl *d = (gi_cl *)dev;
    const gi_cl_context *x = gi_cl_context_of(d, context);
    const cl_int err = clFinish(x->queue);
    return err == CL_SUCCESS ? GOPT_OK : gi_cl_fail(x->cx, d, err, "the device failed while running");
}

/* ---- backend.h: memory of the host that copies are fast from ---- */

/* Holds what it needs of OpenCL, so that a tensor may outlive its engine. */
typedef struct host_memory {
    gopt_ctx *cx;
    cl_command_queue queue; /* held; it holds the context */
    cl_mem mem;
    void *p; /* mapped; NULL: not yet */
} host_memory;

void gi_cl_host_free(void *handle)
{
    host_memory *h = handle;
    if (h->p && clEnqueueUnmapMemObject(h->queue, h->mem, h->p, 0, NULL, NULL) == CL_SUCCESS)
        (void)clFinish(h->queue);
    if (h->mem)
        (void)clReleaseMemObject(h->mem);
    (void)clReleaseCommandQueue(h->queue);
    gi_free(h->cx, h);
}

void *gi_cl_host_alloc(gi_device *dev, uint64_t bytes, void **handle)
{
    enum { ALIGN = 64 };
    gi_cl *d = (gi_cl *)dev;
    cl_int err;
    *handle = NULL;
    host_memory *h = bytes <= SIZE_MAX ? gi_alloc(d->cx, sizeof *h) : NULL;
    if (!h)
        return NULL;
    *h = (host_memory){ .cx = d->cx, .queue = d->own.queue };
    if (clRetainCommandQueue(h->queue) != CL_SUCCESS) {
        gi_free(d->cx, h);
        return NULL;
    }
    h->mem = clCreateBuffer(d->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, (size_t)bytes, NULL, &err);
    if (h->mem)
        h->p = clEnqueueMapBuffer(h->queue, h->mem, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, (size_t)bytes, 0, NULL,
                                  NULL, &err);
    if (!h->p || (uintptr_t)h->p % ALIGN) {
        gi_cl_host_free(h);
        return NULL;
    }
    *handle = h;
    return h->p;
}
