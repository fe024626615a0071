/* OpenCL that fails when it is told to: this program's own definitions of the functions stand before the library's, count
 * what is called, what is alive and what each queue was given, and hand everything else on. Include once, in one file of a
 * test. */
#ifndef GOPT_UNIT_FAULTY_CL_H
#define GOPT_UNIT_FAULTY_CL_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

/* What is to happen. */
static struct {
    _Atomic long calls;  /* so far */
    long fail_at;        /* number of the call that fails; -1: none */
    bool lost;           /* and from then on the device is gone */
    bool no_platform;    /* there is no OpenCL at all */
    bool no_build;       /* no program is built, from source or binary */
    bool no_pinned;      /* there is no page-locked memory */
    bool no_walk;        /* no walk starts */
    size_t room;         /* the device's memory is used up by one buffer above it; 0: no bound */
    _Atomic long alive;  /* objects created less objects released */
    _Atomic long mapped; /* buffers that are mapped; also counted as alive */
    const char *failed;
} cl;

static void (*real(const char *name))(void)
{
    void (*f)(void) = NULL;
    void *p = dlsym(RTLD_NEXT, name);
    _Static_assert(sizeof f == sizeof p, "a function's address fits a pointer");
    __builtin_memcpy(&f, &p, sizeof f);
    return f;
}

/* Shall this call fail? */
static bool fails(const char *name)
{
    const long now = cl.calls++;
    if (cl.fail_at < 0 || (cl.lost ? now < cl.fail_at : now != cl.fail_at))
        return false;
    if (!cl.failed)
        cl.failed = name;
    return true;
}

/* A function that gives a status, and one that gives an object. */
#define STATUS(NAME, ERROR, PARAMS, ARGS)                       \
    cl_int NAME PARAMS                                          \
    {                                                           \
        if (fails(#NAME))                                       \
            return cl.lost ? CL_DEVICE_NOT_AVAILABLE : (ERROR); \
        return ((cl_int(*) PARAMS)real(#NAME))ARGS;             \
    }
#define OBJECT(TYPE, NAME, ERROR, NEVER, PARAMS, ARGS)              \
    TYPE NAME PARAMS                                                \
    {                                                               \
        if (fails(#NAME) || (NEVER)) {                              \
            if (err)                                                \
                *err = cl.lost ? CL_DEVICE_NOT_AVAILABLE : (ERROR); \
            return NULL;                                            \
        }                                                           \
        TYPE made = ((TYPE(*) PARAMS)real(#NAME))ARGS;              \
        cl.alive += made != NULL;                                   \
        return made;                                                \
    }
#define RELEASE(NAME, TYPE)                            \
    cl_int NAME(TYPE object)                           \
    {                                                  \
        cl.alive--;                                    \
        return ((cl_int(*)(TYPE))real(#NAME))(object); \
    }

cl_int clGetPlatformIDs(cl_uint room, cl_platform_id *ids, cl_uint *n)
{
    if (fails("clGetPlatformIDs") || cl.no_platform)
        return -1001; /* CL_PLATFORM_NOT_FOUND_KHR */
    return ((cl_int(*)(cl_uint, cl_platform_id *, cl_uint *))real("clGetPlatformIDs"))(room, ids, n);
}

cl_int clBuildProgram(cl_program p, cl_uint n, const cl_device_id *d, const char *options,
                      void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    if (fails("clBuildProgram") || cl.no_build)
        return CL_BUILD_PROGRAM_FAILURE;
    return ((cl_int(*)(cl_program, cl_uint, const cl_device_id *, const char *, void(CL_CALLBACK *)(cl_program, void *),
                       void *))real("clBuildProgram"))(p, n, d, options, notify, user);
}

/* ---- queues ---- */

typedef struct queue_seen {
    cl_command_queue q;
    long launches, walks;
    long pending; /* commands that nobody has waited for */
} queue_seen;

/* Under its lock, since contexts run in different threads. */
static struct {
    pthread_mutex_t lock;
    queue_seen seen[64];
    size_t n;
    cl_event walk; /* of the last one, held; and its queue */
    cl_command_queue walk_queue;
    long beside;              /* walks that were launched though one in another queue might still run */
    cl_event hold;            /* an event that the next walk has to wait for, until one in another queue was launched */
    cl_command_queue held_in; /* where it waits */
    cl_command_queue fault;   /* a walk there is said not to have come to its end */
} queues = { .lock = PTHREAD_MUTEX_INITIALIZER };

static queue_seen *queue_of(cl_command_queue q)
{
    for (size_t i = 0; i < queues.n; i++)
        if (queues.seen[i].q == q)
            return &queues.seen[i];
    if (queues.n == sizeof queues.seen / sizeof *queues.seen)
        queues.n = 0; /* of lives that are over */
    queues.seen[queues.n] = (queue_seen){ .q = q };
    return &queues.seen[queues.n++];
}

static void is_given(cl_command_queue q, bool done)
{
    pthread_mutex_lock(&queues.lock);
    queue_seen *s = queue_of(q);
    s->pending = done ? 0 : s->pending + 1;
    pthread_mutex_unlock(&queues.lock);
}

/* What this file itself does with events is not counted. */
static void drop_event(cl_event e)
{
    if (e)
        (void)((cl_int(*)(cl_event))real("clReleaseEvent"))(e);
}

/* Forgets all queues. */
static inline void queues_begin(void)
{
    drop_event(queues.walk);
    queues.walk = NULL;
    queues.n = 0;
    queues.beside = 0;
}

/* Before each test: nothing fails, and what one that failed has left is forgotten. */
static inline int cl_begin(void **state)
{
    (void)state;
    queues_begin();
    if (queues.hold)
        (void)clSetUserEventStatus(queues.hold, CL_COMPLETE);
    drop_event(queues.hold);
    queues.hold = NULL;
    queues.fault = NULL;
    cl.fail_at = -1;
    cl.lost = cl.no_platform = cl.no_build = cl.no_pinned = cl.no_walk = false;
    cl.room = 0;
    cl.alive = cl.mapped = 0;
    return 0;
}

static cl_int real_launch(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *at, const size_t *global,
                          const size_t *local, cl_uint n, const cl_event *wait, cl_event *e)
{
    return ((cl_int(*)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint,
                       const cl_event *, cl_event *))real("clEnqueueNDRangeKernel"))(q, k, dims, at, global, local, n,
                                                                                     wait, e);
}

/* Walks wait for the last one in another queue. */
static cl_int launch_walk(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *at, const size_t *global,
                          const size_t *local, cl_uint n, const cl_event *wait, cl_event *e)
{
    cl_int state = CL_COMPLETE;
    cl_event waits[2];
    if (queues.walk && queues.walk_queue != q)
        (void)((cl_int(*)(cl_event, cl_event_info, size_t, void *, size_t *))real("clGetEventInfo"))(
            queues.walk, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    queues.beside += state > CL_COMPLETE && (n != 1 || wait[0] != queues.walk);
    if (n == 1)
        waits[0] = wait[0];
    if (queues.hold && !queues.held_in && n < 2) {
        queues.held_in = q;
        waits[n++] = queues.hold;
        wait = waits;
    }
    const cl_int err = real_launch(q, k, dims, at, global, local, n, wait, e);
    drop_event(queues.walk);
    queues.walk = err == CL_SUCCESS && e ? *e : NULL;
    queues.walk_queue = q;
    if (queues.walk)
        (void)((cl_int(*)(cl_event))real("clRetainEvent"))(queues.walk);
    if (queues.hold && queues.held_in != q) {
        (void)clSetUserEventStatus(queues.hold, CL_COMPLETE);
        drop_event(queues.hold);
        queues.hold = NULL;
    }
    return err;
}

cl_int clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *at, const size_t *global,
                              const size_t *local, cl_uint n, const cl_event *wait, cl_event *e)
{
    char name[64] = "";
    if (fails("clEnqueueNDRangeKernel"))
        return cl.lost ? CL_DEVICE_NOT_AVAILABLE : CL_MEM_OBJECT_ALLOCATION_FAILURE;
    (void)((cl_int(*)(cl_kernel, cl_kernel_info, size_t, void *, size_t *))real("clGetKernelInfo"))(
        k, CL_KERNEL_FUNCTION_NAME, sizeof name - 1, name, NULL);
    const bool walk = !strcmp(name, "walk");
    if (walk && cl.no_walk)
        return CL_OUT_OF_RESOURCES;
    pthread_mutex_lock(&queues.lock);
    const cl_int err = (walk ? launch_walk : real_launch)(q, k, dims, at, global, local, n, wait, e);
    queue_seen *s = queue_of(q);
    s->launches += err == CL_SUCCESS;
    s->walks += walk && err == CL_SUCCESS;
    pthread_mutex_unlock(&queues.lock);
    if (err != CL_SUCCESS)
        return err;
    is_given(q, false);
    cl.alive += e != NULL;
    return err;
}

cl_int clFinish(cl_command_queue q)
{
    if (fails("clFinish"))
        return cl.lost ? CL_DEVICE_NOT_AVAILABLE : CL_OUT_OF_RESOURCES;
    is_given(q, true);
    return ((cl_int(*)(cl_command_queue))real("clFinish"))(q);
}

cl_int clEnqueueReadBuffer(cl_command_queue q, cl_mem m, cl_bool block, size_t at, size_t size, void *to, cl_uint n,
                           const cl_event *wait, cl_event *e)
{
    if (fails("clEnqueueReadBuffer"))
        return cl.lost ? CL_DEVICE_NOT_AVAILABLE : CL_OUT_OF_RESOURCES;
    const bool told = queues.fault == q && !block && size == sizeof(cl_uint);
    const cl_int err =
        ((cl_int(*)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, cl_uint, const cl_event *,
                    cl_event *))real("clEnqueueReadBuffer"))(q, m, block || told, at, size, to, n, wait, e);
    if (told)
        *(cl_uint *)to = 1;
    is_given(q, block);
    return err;
}

STATUS(clWaitForEvents, CL_OUT_OF_RESOURCES, (cl_uint n, const cl_event *e), (n, e))
STATUS(clSetKernelArg, CL_OUT_OF_RESOURCES, (cl_kernel k, cl_uint i, size_t size, const void *v), (k, i, size, v))
STATUS(clFlush, CL_OUT_OF_RESOURCES, (cl_command_queue q), (q))
STATUS(clGetEventInfo, CL_OUT_OF_RESOURCES, (cl_event e, cl_event_info what, size_t size, void *v, size_t *used),
       (e, what, size, v, used))
STATUS(clEnqueueWriteBuffer, CL_OUT_OF_RESOURCES,
       (cl_command_queue q, cl_mem m, cl_bool block, size_t at, size_t size, const void *from, cl_uint n,
        const cl_event *wait, cl_event *e),
       (q, m, block, at, size, from, n, wait, e))
STATUS(clEnqueueFillBuffer, CL_OUT_OF_RESOURCES,
       (cl_command_queue q, cl_mem m, const void *pattern, size_t size, size_t at, size_t bytes, cl_uint n,
        const cl_event *wait, cl_event *e),
       (q, m, pattern, size, at, bytes, n, wait, e))
STATUS(clGetProgramInfo, CL_OUT_OF_HOST_MEMORY,
       (cl_program p, cl_program_info what, size_t size, void *v, size_t *used), (p, what, size, v, used))

OBJECT(cl_context, clCreateContext, CL_OUT_OF_HOST_MEMORY, false,
       (const cl_context_properties *properties, cl_uint n, const cl_device_id *d,
        void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *err),
       (properties, n, d, notify, user, err))
OBJECT(cl_command_queue, clCreateCommandQueue, CL_OUT_OF_HOST_MEMORY, false,
       (cl_context c, cl_device_id d, cl_command_queue_properties p, cl_int *err), (c, d, p, err))
OBJECT(cl_mem, clCreateBuffer, CL_MEM_OBJECT_ALLOCATION_FAILURE,
       (cl.room && size > cl.room) || (cl.no_pinned && flags & CL_MEM_ALLOC_HOST_PTR),
       (cl_context c, cl_mem_flags flags, size_t size, void *host, cl_int *err), (c, flags, size, host, err))
OBJECT(cl_program, clCreateProgramWithSource, CL_OUT_OF_HOST_MEMORY, false,
       (cl_context c, cl_uint n, const char **text, const size_t *sizes, cl_int *err), (c, n, text, sizes, err))
OBJECT(cl_program, clCreateProgramWithBinary, CL_INVALID_BINARY, false,
       (cl_context c, cl_uint n, const cl_device_id *d, const size_t *sizes, const unsigned char **p, cl_int *status,
        cl_int *err),
       (c, n, d, sizes, p, status, err))
OBJECT(cl_kernel, clCreateKernel, CL_OUT_OF_HOST_MEMORY, false, (cl_program p, const char *name, cl_int *err),
       (p, name, err))

void *clEnqueueMapBuffer(cl_command_queue q, cl_mem m, cl_bool block, cl_map_flags flags, size_t at, size_t size,
                         cl_uint n, const cl_event *wait, cl_event *e, cl_int *err)
{
    if (fails("clEnqueueMapBuffer")) {
        *err = cl.lost ? CL_DEVICE_NOT_AVAILABLE : CL_MAP_FAILURE;
        return NULL;
    }
    void *p =
        ((void *(*)(cl_command_queue, cl_mem, cl_bool, cl_map_flags, size_t, size_t, cl_uint, const cl_event *,
                    cl_event *, cl_int *))real("clEnqueueMapBuffer"))(q, m, block, flags, at, size, n, wait, e, err);
    cl.mapped += p != NULL;
    cl.alive += p != NULL;
    return p;
}

cl_int clEnqueueUnmapMemObject(cl_command_queue q, cl_mem m, void *p, cl_uint n, const cl_event *wait, cl_event *e)
{
    cl.mapped--;
    cl.alive--;
    if (fails("clEnqueueUnmapMemObject"))
        return cl.lost ? CL_DEVICE_NOT_AVAILABLE : CL_OUT_OF_RESOURCES;
    return ((cl_int(*)(cl_command_queue, cl_mem, void *, cl_uint, const cl_event *, cl_event *))real(
        "clEnqueueUnmapMemObject"))(q, m, p, n, wait, e);
}

cl_int clRetainCommandQueue(cl_command_queue q)
{
    if (fails("clRetainCommandQueue"))
        return CL_OUT_OF_RESOURCES;
    cl.alive++;
    return ((cl_int(*)(cl_command_queue))real("clRetainCommandQueue"))(q);
}

cl_int clRetainMemObject(cl_mem m)
{
    if (fails("clRetainMemObject"))
        return CL_OUT_OF_RESOURCES;
    cl.alive++;
    return ((cl_int(*)(cl_mem))real("clRetainMemObject"))(m);
}

cl_int clRetainEvent(cl_event e)
{
    if (fails("clRetainEvent"))
        return CL_OUT_OF_RESOURCES;
    cl.alive++;
    return ((cl_int(*)(cl_event))real("clRetainEvent"))(e);
}

RELEASE(clReleaseEvent, cl_event)
RELEASE(clReleaseContext, cl_context)
RELEASE(clReleaseCommandQueue, cl_command_queue)
RELEASE(clReleaseMemObject, cl_mem)
RELEASE(clReleaseProgram, cl_program)
RELEASE(clReleaseKernel, cl_kernel)

/* ---- setting a group of tests up, and tearing it down: programs are kept in a folder of its own ---- */

static char cache_folder[] = "/tmp/gopt-test-XXXXXX";

static inline int open_cache(void **state)
{
    (void)state;
    return mkdtemp(cache_folder) && setenv("XDG_CACHE_HOME", cache_folder, 1) == 0 ? 0 : -1;
}

static inline int close_cache(void **state)
{
    char command[64];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -r %s", cache_folder);
    return system(command);
}

#endif
