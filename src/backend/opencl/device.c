/* OpenCL devices: finding and opening one, its memory, and what its errors mean. */
#include <stdio.h>
#include <stdlib.h>

#include "backend/opencl/device.h"

/* ---- errors ---- */

const char *gi_cl_error_name(cl_int error)
{
    static const struct {
        cl_int code;
        const char *name;
    } names[] = {
        { CL_DEVICE_NOT_FOUND, "CL_DEVICE_NOT_FOUND" },
        { CL_DEVICE_NOT_AVAILABLE, "CL_DEVICE_NOT_AVAILABLE" },
        { CL_COMPILER_NOT_AVAILABLE, "CL_COMPILER_NOT_AVAILABLE" },
        { CL_MEM_OBJECT_ALLOCATION_FAILURE, "CL_MEM_OBJECT_ALLOCATION_FAILURE" },
        { CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES" },
        { CL_OUT_OF_HOST_MEMORY, "CL_OUT_OF_HOST_MEMORY" },
        { CL_BUILD_PROGRAM_FAILURE, "CL_BUILD_PROGRAM_FAILURE" },
        { CL_INVALID_BUFFER_SIZE, "CL_INVALID_BUFFER_SIZE" },
        { CL_INVALID_KERNEL_ARGS, "CL_INVALID_KERNEL_ARGS" },
        { CL_INVALID_WORK_GROUP_SIZE, "CL_INVALID_WORK_GROUP_SIZE" },
        { CL_INVALID_COMMAND_QUEUE, "CL_INVALID_COMMAND_QUEUE" },
        { -1001, "CL_PLATFORM_NOT_FOUND_KHR" },
    };
    for (size_t i = 0; i < GI_COUNT(names); i++)
        if (names[i].code == error)
            return names[i].name;
    return "an OpenCL error";
}

gopt_status(gi_cl_fail)(gopt_ctx *cx, const gi_cl *d, cl_int error, const char *what)
{
    const gi_place at = { .file = d ? d->name : NULL };
    gopt_status st = GOPT_INTERNAL;
    const char *hint = "this is likely a fault of gopt or of the driver; --backend cpu runs the model meanwhile";
    if (error == CL_OUT_OF_RESOURCES) { /* drivers say so where a kernel faults, too */
        st = GOPT_NO_MEMORY;
        hint = "the device ran out of memory, or stopped a kernel: use a smaller batch or shape, or --backend cpu";
    } else if (error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_HOST_MEMORY ||
               error == CL_INVALID_BUFFER_SIZE) {
        st = GOPT_NO_MEMORY;
        hint = "the device has not enough memory left: use a smaller batch or shape, or --backend cpu";
    } else if (error == CL_DEVICE_NOT_AVAILABLE || error == CL_INVALID_COMMAND_QUEUE) {
        st = GOPT_UNSUPPORTED;
        hint = "the device was lost: another program may have reset it; start again, or use --backend cpu";
    } else if (error == CL_COMPILER_NOT_AVAILABLE) {
        st = GOPT_UNSUPPORTED;
        hint = "install a driver that has a compiler for OpenCL C";
    }
    return gi_fail(cx, st, &at, hint, "%s: %s (%d)", what, gi_cl_error_name(error), (int)error);
}

/* ---- finding ---- */

enum { MAX_PLATFORMS = 16, MAX_DEVICES = 16 };

static const char *type_name(cl_device_type t)
{
    return t & CL_DEVICE_TYPE_GPU ? "gpu" : t & CL_DEVICE_TYPE_ACCELERATOR ? "accelerator" : "cpu";
}

typedef struct found {
    cl_device_id id;
    cl_device_type type;
    char name[200], platform[120], driver[100];
} found;

/* All devices of all platforms, GPUs first, accelerators, then others: platforms stand in no useful order. */
static size_t find_devices(found *out, size_t room)
{
    static const cl_device_type order[] = { CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_ACCELERATOR, CL_DEVICE_TYPE_CPU };
    cl_platform_id platforms[MAX_PLATFORMS];
    cl_uint np = 0;
    size_t n = 0;
    if (clGetPlatformIDs(MAX_PLATFORMS, platforms, &np) != CL_SUCCESS)
        return 0;
    np = np > MAX_PLATFORMS ? MAX_PLATFORMS : np;
    for (size_t o = 0; o < GI_COUNT(order); o++)
        for (cl_uint p = 0; p < np; p++) {
            cl_device_id ids[MAX_DEVICES];
            cl_uint nd = 0;
            if (clGetDeviceIDs(platforms[p], order[o], MAX_DEVICES, ids, &nd) != CL_SUCCESS)
                continue;
            for (cl_uint i = 0; i < nd && i < MAX_DEVICES && n < room; i++) {
                found *f = &out[n++];
                *f = (found){ .id = ids[i], .type = order[o] };
                (void)clGetDeviceInfo(ids[i], CL_DEVICE_NAME, sizeof f->name - 1, f->name, NULL);
                (void)clGetDeviceInfo(ids[i], CL_DRIVER_VERSION, sizeof f->driver - 1, f->driver, NULL);
                (void)clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof f->platform - 1, f->platform, NULL);
            }
        }
    return n;
}

static const char missing_text[] = "no OpenCL device is there: install its driver, or PoCL to try it on the processor "
                                   "(Debian and Ubuntu: apt-get install pocl-opencl-icd)";

const gopt_device_info *gi_opencl_device(gopt_ctx *cx, size_t i)
{
    static const gopt_device_info none = {
        .backend = "opencl", .name = "OpenCL", .details = "", .missing = missing_text
    };
    found all[MAX_DEVICES];
    const size_t n = find_devices(all, MAX_DEVICES);
    if (i >= n)
        return n == 0 && i == 0 ? &none : NULL;
    cl_ulong bytes = 0;
    cl_uint units = 0;
    (void)clGetDeviceInfo(all[i].id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    (void)clGetDeviceInfo(all[i].id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
    gopt_device_info *info = GI_NEW(cx->arena, gopt_device_info);
    if (!info)
        return NULL;
    *info = (gopt_device_info){ .backend = "opencl",
                                .name = gi_arena_str(cx->arena, all[i].name),
                                .details = gi_arena_printf(cx->arena, "%s; %s, driver %s; %u compute units, %llu MiB",
                                                           type_name(all[i].type), all[i].platform, all[i].driver,
                                                           units, (unsigned long long)(bytes >> 20)) };
    return info->name && info->details ? info : NULL;
}

/* Does the device answer to `spec`: a type, or part of its or its platform's name? */
static bool answers(const found *f, const char *spec)
{
    if (!spec || !*spec || !strcmp(spec, "any"))
        return true;
    if (!strcmp(spec, "gpu") || !strcmp(spec, "cpu") || !strcmp(spec, "accelerator"))
        return !strcmp(spec, type_name(f->type));
    return strcasestr(f->name, spec) || strcasestr(f->platform, spec);
}

static gopt_status choose(gopt_ctx *cx, const char *spec, found *out)
{
    found all[MAX_DEVICES];
    const size_t n = find_devices(all, MAX_DEVICES);
    for (size_t i = 0; i < n; i++)
        if (answers(&all[i], spec)) {
            *out = all[i];
            return GOPT_OK;
        }
    if (!n)
        return gi_fail(cx, GOPT_UNSUPPORTED, NULL, "or use --backend cpu", "%s", missing_text);
    gi_str s;
    gi_str_init(&s, cx->arena);
    for (size_t i = 0; i < n; i++)
        gi_str_addf(&s, "%s'%s' (%s)", i ? ", " : "", all[i].name, type_name(all[i].type));
    return gi_fail(cx, GOPT_UNSUPPORTED, NULL, "name one of them, or a type: gpu, cpu, accelerator, any",
                   "no OpenCL device answers to '%s'; there are %s", spec, s.p ? s.p : "others");
}

/* ---- opening ---- */

static void find_cache(gi_cl *d)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (base && *base)
        n = snprintf(d->cache, sizeof d->cache, "%s/gopt/opencl", base);
    else if (home && *home)
        n = snprintf(d->cache, sizeof d->cache, "%s/.cache/gopt/opencl", home);
    if (n < 0 || (size_t)n >= sizeof d->cache)
        d->cache[0] = 0;
}

static void find_abilities(gi_cl *d)
{
    enum { COMPUTE_CAPABILITY_MAJOR_NV = 0x4000, AMPERE = 8 }; /* of cl_nv_device_attribute_query */
    cl_uint major = 0, units = 1;
    char vendor[64] = "";
    (void)clGetDeviceInfo(d->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL);
    (void)clGetDeviceInfo(d->device, CL_DEVICE_VENDOR, sizeof vendor - 1, vendor, NULL);
    if (strstr(vendor, "NVIDIA") &&
        clGetDeviceInfo(d->device, COMPUTE_CAPABILITY_MAJOR_NV, sizeof major, &major, NULL) == CL_SUCCESS)
        d->ptx = d->mma = major >= AMPERE;
    d->units = units;
    d->start_us = 4; /* of an H100 and an H200 */
}

/* GOPT_OPENCL_TENSOR: "none", or "emulated" and the name of a variant, parted by a comma; either may be missing. */
static gopt_status read_tensor(gi_cl *d)
{
    static const char emulated[] = "emulated";
    const char *how = getenv("GOPT_OPENCL_TENSOR");
    if (!how || !*how)
        return GOPT_OK;
    if (!strcmp(how, "none")) {
        d->mma = false;
        return GOPT_OK;
    }
    d->timed = false; /* what is asked for is no choice to remember, and emulated ones say nothing of a GPU */
    if (!strncmp(how, emulated, sizeof emulated - 1)) {
        d->emulated = !d->ptx;
        d->mma = true;
        how += sizeof emulated - 1;
        how += *how == ',';
    }
    if (*how)
        GI_NEED(d->way = gi_arena_str(d->arena, how));
    return GOPT_OK;
}

static gopt_status open_device(gi_cl *d, const char *spec, const gopt_engine_options *o)
{
    found f;
    cl_int err;
    d->timed = !o->deterministic;
    d->half = o->precision && !strcmp(o->precision, "fp16");
    d->tf32 = o->precision && !strcmp(o->precision, "tf32");
    if (o->precision && !d->half && !d->tf32 && strcmp(o->precision, "fp32") != 0 && strcmp(o->precision, "best") != 0)
        return gi_fail(d->cx, GOPT_UNSUPPORTED, NULL, "use --precision fp32, tf32 or fp16",
                       "the opencl backend computes in fp32, tf32 and fp16, not in %s", o->precision);
    GI_TRY(choose(d->cx, spec, &f));
    d->device = f.id;
    d->type = f.type;
    (void)snprintf(d->name, sizeof d->name, "%s", f.name);
    (void)snprintf(d->driver, sizeof d->driver, "%s %s", f.driver, f.platform);
    find_abilities(d);
    GI_TRY(read_tensor(d));
    GI_TRY(gi_cl_read_options(d));
    if (d->tf32 && !d->mma)
        return gi_fail(d->cx, GOPT_UNSUPPORTED, &(gi_place){ .file = d->name }, "use --precision fp32 or fp16",
                       "--precision tf32 needs tensor cores: an NVIDIA GPU of compute capability 8.0 or above");
    const char *walk = getenv("GOPT_OPENCL_WALK");
    d->walk = o->apart                                               ? -1
              : walk && !strcmp(walk, "1")                           ? 1
              : (walk && !strcmp(walk, "0")) || !d->timed || !d->mma ? -1
                                                                     : 0;
    d->signature = gi_hash(d->driver, strlen(d->driver), gi_hash(d->name, strlen(d->name), 1));
    if (o->dump_kernels)
        GI_NEED(d->dump = gi_arena_str(d->arena, o->dump_kernels));
    find_cache(d);
    if (d->mma)
        gi_cl_tuned_load(d);
    d->context = clCreateContext(NULL, 1, &d->device, NULL, NULL, &err);
    if (!d->context)
        return gi_cl_fail(d->cx, d, err, "the device cannot be opened");
    err = gi_cl_queue_open(d, d->cx, &d->own);
    return err == CL_SUCCESS ? GOPT_OK : gi_cl_fail(d->cx, d, err, "the device gives no queue");
}

/* All but the device. */
static gopt_status create(gopt_ctx *cx, gi_cl **out)
{
    gi_cl *d = gi_alloc(cx, sizeof *d);
    GI_NEED(d);
    d->cx = cx;
    d->arena = gi_arena_create(cx);
    d->asked = d->arena ? GI_NEW(d->arena, gi_smap) : NULL;
    if (!d->asked || pthread_mutex_init(&d->lock, NULL)) {
        gi_arena_destroy(d->arena);
        gi_free(cx, d);
        return GOPT_NO_MEMORY;
    }
    gi_smap_init(&d->programs, d->arena);
    gi_smap_init(&d->tuned, d->arena);
    gi_smap_init(&d->sources, d->arena);
    gi_smap_init(d->asked, d->arena);
    gi_map_init(&d->kept, d->arena);
    *out = d;
    return GOPT_OK;
}

gopt_status gi_cl_open(gopt_ctx *cx, const char *spec, const gopt_engine_options *o, gi_device **out)
{
    gi_cl *d;
    GI_TRY(create(cx, &d));
    const gopt_status st = open_device(d, spec, o);
    if (st != GOPT_OK) {
        gi_cl_close((gi_device *)d);
        return st;
    }
    *out = (gi_device *)d;
    return GOPT_OK;
}

gopt_status gi_cl_open_absent(gopt_ctx *cx, gi_device **out)
{
    found f;
    gi_cl *d;
    *out = NULL;
    if (find_devices(&f, 1))
        return GOPT_OK;
    GI_TRY(create(cx, &d));
    d->walk = -1;
    *out = (gi_device *)d;
    return GOPT_OK;
}

void gi_cl_close(gi_device *dev)
{
    gi_cl *d = (gi_cl *)dev;
    gi_cl_tuned_save(d);
    for (size_t i = 0; i < d->programs.cap; i++)
        if (d->programs.slots[i].value)
            clReleaseProgram(d->programs.slots[i].value);
    if (d->pool)
        clReleaseMemObject(d->pool);
    gi_cl_queue_close(d, &d->own);
    if (d->context)
        clReleaseContext(d->context);
    pthread_mutex_destroy(&d->lock);
    gi_arena_destroy(d->arena);
    gi_free(d->cx, d);
}

const char *gi_cl_name(const gi_device *dev)
{
    return ((const gi_cl *)dev)->name;
}

/* ---- memory ---- */

gopt_status gi_cl_mem_alloc(gi_device *dev, uint64_t bytes, void **mem)
{
    gi_cl *d = (gi_cl *)dev;
    cl_int err = CL_OUT_OF_HOST_MEMORY;
    *mem = bytes <= SIZE_MAX ? clCreateBuffer(d->context, CL_MEM_READ_WRITE, (size_t)bytes, NULL, &err) : NULL;
    if (*mem)
        return GOPT_OK;
    char what[80];
    (void)snprintf(what, sizeof what, "no memory of %llu bytes on the device", (unsigned long long)bytes);
    return gi_cl_fail(d->cx, d, err, what);
}

void gi_cl_mem_free(gi_device *dev, void *mem)
{
    gi_cl *d = (gi_cl *)dev;
    pthread_mutex_lock(&d->lock);
    d->freed++;
    clReleaseMemObject(mem);
    pthread_mutex_unlock(&d->lock);
}
