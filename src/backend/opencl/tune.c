/* Timing on the device: which variant of a kernel is fastest, remembered in a file beside the programs.
 *
 * Each candidate is launched a few times on buffers of its own, by the clock of the device, and the least time counts.
 * A line of the file is the key of a problem and the number of what was chosen; a file that is damaged or cannot be
 * written is as good as none. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/opencl/cl.h"

enum { ROUNDS = 6, MAX_LINES = 100000 };

static bool tuned_path(const gi_cl *d, const char *tail, char *path, size_t size)
{
    const int n = snprintf(path, size, "%s/%016llx.tuned%s", d->cache, (unsigned long long)d->signature, tail);
    return d->cache[0] && n > 0 && (size_t)n < size;
}

void gi_cl_tuned_load(gi_cl *d)
{
    char path[700], line[256];
    FILE *f = tuned_path(d, "", path, sizeof path) ? fopen(path, "re") : NULL;
    for (int i = 0; f && i < MAX_LINES && fgets(line, sizeof line, f); i++) {
        char *end = strchr(line, '\n'), *space = strrchr(line, ' ');
        if (!end || !space)
            break;
        *space = 0;
        const long choice = strtol(space + 1, NULL, 10);
        if (choice >= 0 && choice < INT32_MAX)
            (void)gi_smap_put(&d->tuned, line, (void *)(uintptr_t)(choice + 1));
    }
    if (f)
        (void)fclose(f);
}

void gi_cl_tuned_save(gi_cl *d)
{
    char path[700], temporary[720], tail[32];
    (void)snprintf(tail, sizeof tail, ".%ld", (long)getpid());
    if (!d->tuned_new || !tuned_path(d, "", path, sizeof path) || !tuned_path(d, tail, temporary, sizeof temporary) ||
        !gi_cl_make_folders(d->cache))
        return;
    gi_cl_tuned_load(d); /* what others have found meanwhile */
    FILE *f = fopen(temporary, "we");
    bool ok = f != NULL;
    for (size_t i = 0; ok && i < d->tuned.cap; i++)
        if (d->tuned.slots[i].value)
            ok = fprintf(f, "%s %ld\n", d->tuned.slots[i].key, (long)(uintptr_t)d->tuned.slots[i].value - 1) > 0;
    if (f)
        ok = fclose(f) == 0 && ok;
    if (f && (!ok || rename(temporary, path) != 0))
        (void)unlink(temporary);
}

int gi_cl_tuned(const gi_cl *d, const char *key)
{
    (void)gi_smap_put(d->asked, key, d->asked);
    return (int)(intptr_t)gi_smap_get(&d->tuned, key) - 1;
}

gopt_status gi_cl_tuned_put(gi_cl *d, const char *key, int choice)
{
    char *own = gi_arena_str(d->arena, key);
    GI_NEED(own && gi_smap_put(&d->tuned, own, (void *)(intptr_t)(choice + 1)));
    d->tuned_new = true;
    return GOPT_OK;
}

/* ---- timing ---- */

double gi_cl_between_us(cl_event from, bool before, cl_event to)
{
    const cl_profiling_info edge = before ? CL_PROFILING_COMMAND_END : CL_PROFILING_COMMAND_START;
    cl_ulong start = 0, end = 0;
    if (clWaitForEvents(1, &to) != CL_SUCCESS ||
        clGetEventProfilingInfo(from, edge, sizeof start, &start, NULL) != CL_SUCCESS ||
        clGetEventProfilingInfo(to, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) != CL_SUCCESS || !start ||
        end < start)
        return -1;
    return (double)(end - start) * 1e-3;
}

double gi_cl_event_us(cl_event e)
{
    return gi_cl_between_us(e, false, e);
}

double gi_cl_time(gi_cl *d, cl_kernel k, const size_t *global, const size_t *local)
{
    cl_int err;
    double least = -1;
    cl_command_queue q = clCreateCommandQueue(d->context, d->device, CL_QUEUE_PROFILING_ENABLE, &err);
    for (int i = 0; q && i < ROUNDS; i++) {
        cl_event e;
        if (clEnqueueNDRangeKernel(q, k, 3, NULL, global, local, 0, NULL, &e) != CL_SUCCESS) {
            least = -1;
            break;
        }
        const double t = gi_cl_event_us(e);
        (void)clReleaseEvent(e);
        if (t >= 0 && (least < 0 || t < least))
            least = t;
    }
    if (q)
        (void)clReleaseCommandQueue(q);
    return least;
}

double gi_cl_time_source(gi_cl *d, const char *source, const char *name, uint32_t n_refs, const uint64_t *bytes,
                         uint32_t n_ints, const int64_t *ints, const size_t *global, const size_t *local)
{
    cl_kernel k = NULL;
    cl_mem mem[GI_CL_MAX_REFS] = { NULL };
    cl_int err = CL_SUCCESS;
    double t = -1;
    const size_t said = gopt_diag_count(d->cx);
    if (gi_cl_kernel(d, source, name, &k) != GOPT_OK) {
        gi_diag_forget(d->cx, said); /* a variant that is not built is none */
        return -1;
    }
    for (uint32_t i = 0; i < n_refs && err == CL_SUCCESS; i++) {
        const size_t size = (size_t)(bytes[i] / 64 + 1) * 64;
        const cl_ulong at = 0;
        const cl_uint zero = 0;
        mem[i] = clCreateBuffer(d->context, CL_MEM_READ_WRITE, size, NULL, &err);
        if (mem[i])
            err = clEnqueueFillBuffer(d->own.queue, mem[i], &zero, 4, 0, size, 0, NULL, NULL);
        if (err == CL_SUCCESS)
            err = clSetKernelArg(k, 2 * i, sizeof mem[i], &mem[i]);
        if (err == CL_SUCCESS)
            err = clSetKernelArg(k, 2 * i + 1, sizeof at, &at);
    }
    for (uint32_t i = 0; i < n_ints && err == CL_SUCCESS; i++) {
        const cl_long v = ints[i];
        err = clSetKernelArg(k, 2 * n_refs + i, sizeof v, &v);
    }
    if (err == CL_SUCCESS && clFinish(d->own.queue) == CL_SUCCESS)
        t = gi_cl_time(d, k, global, local);
    for (uint32_t i = 0; i < n_refs; i++)
        if (mem[i])
            (void)clReleaseMemObject(mem[i]);
    (void)clReleaseKernel(k);
    return t;
}
