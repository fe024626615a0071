/* What the device can do at best, measured by small kernels when a profile asks, and remembered beside the choices of
 * variants. */
#include "backend/opencl/cl.h"

enum { GROUP = 256, ROUNDS = 1024 };

static size_t power_of_two_up_to(uint64_t n)
{
    size_t p = 1;
    while (p <= n / 2)
        p *= 2;
    return p;
}

static double time_kernel(gi_cl *d, const char *name, uint32_t n_refs, const uint64_t *bytes, uint32_t n_ints,
                          const int64_t *ints, size_t items, size_t group)
{
    gi_str s;
    gi_arena *a = gi_arena_create(d->cx);
    if (!a)
        return -1;
    gi_str_init(&s, a);
    if (d->mma)
        gi_str_add(&s, gi_cl_ptx(d));
    gi_str_add(&s, gk_opencl_ceiling);
    const double us = s.failed ? -1
                               : gi_cl_time_source(d, s.p, name, n_refs, bytes, n_ints, ints, (size_t[]){ items, 1, 1 },
                                                   (size_t[]){ group, 1, 1 });
    gi_arena_destroy(a);
    return us;
}

/* ---- memory ---- */

/* What the driver calls the cache: the last one of a processor; of a GPU it may be the first one of each unit. */
static uint64_t cache_bytes(const gi_cl *d)
{
    cl_ulong bytes = 0;
    (void)clGetDeviceInfo(d->device, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof bytes, &bytes, NULL);
    return bytes;
}

static bool is_gpu(const gi_cl *d)
{
    return d->type & CL_DEVICE_TYPE_GPU;
}

/* Bytes of a buffer that is copied: many times what a cache holds, and what the device has room for. */
static size_t far_bytes(const gi_cl *d)
{
    const uint64_t most = (uint64_t)256 << 20, least = is_gpu(d) ? most : (uint64_t)32 << 20;
    const uint64_t want = 4 * cache_bytes(d);
    cl_ulong all = 0, one = 0;
    uint64_t bytes = want > most ? most : want < least ? least : want;
    (void)clGetDeviceInfo(d->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof all, &all, NULL);
    (void)clGetDeviceInfo(d->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof one, &one, NULL);
    bytes = all && bytes > all / 8 ? all / 8 : bytes;
    bytes = one && bytes > one ? one : bytes;
    return power_of_two_up_to(bytes);
}

/* 10^6 bytes a second, read and written, of buffers of so many bytes. */
static double copying(gi_cl *d, size_t bytes)
{
    const size_t item = 16, all = far_bytes(d);
    if (bytes < item * GROUP || bytes > all)
        return 0;
    const double us = time_kernel(d, "ceiling_copy", 2, (uint64_t[]){ bytes, bytes }, 1,
                                  (int64_t[]){ (int64_t)(bytes / item - 1) }, all / item, GROUP);
    return us > 0 ? 2 * (double)all / us : 0;
}

static double from_memory(gi_cl *d)
{
    return copying(d, far_bytes(d));
}

/* KiB that the cache before memory holds: of a GPU, up to where copying is clearly faster than in memory. */
static double cached(gi_cl *d)
{
    const size_t all = far_bytes(d);
    if (!is_gpu(d))
        return (double)cache_bytes(d) / 1024;
    const double far = from_memory(d);
    double kib = 0;
    for (size_t bytes = (size_t)1 << 20; far > 0 && bytes <= all / 2 && copying(d, bytes) > 1.25 * far; bytes *= 2)
        kib = 2.0 * (double)bytes / 1024;
    return kib;
}

/* ---- arithmetic, in 10^8 operations a second ---- */

static double by_sums(gi_cl *d)
{
    const size_t items = (size_t)d->units * 8 * GROUP;
    const double us = time_kernel(d, "ceiling_sums", 1, (uint64_t[]){ 64 }, 1, (int64_t[]){ ROUNDS }, items, GROUP);
    return us > 0 ? 256.0 * ROUNDS * (double)items / us * 1e-2 : 0;
}

static double of_tiles(gi_cl *d, const char *name, double operations, int64_t factors)
{
    const size_t items = (size_t)d->units * 8 * GROUP, warps = items / 32;
    const int64_t ints[] = { ROUNDS, factors };
    const double us = time_kernel(d, name, 1, (uint64_t[]){ 64 }, 2, ints, items, GROUP);
    return us > 0 ? operations * ROUNDS * (double)warps / us * 1e-2 : 0;
}

static double by_tiles(gi_cl *d)
{
    return of_tiles(d, "ceiling_tiles", 65536, 0x2e662e66); /* 0.1, twice */
}

static double by_tiles_tf32(gi_cl *d)
{
    return of_tiles(d, "ceiling_tiles_tf32", 32768, 0x3dccc000); /* 0.1 */
}

/* ---- all ---- */

static double nothing(gi_cl *d) /* in nanoseconds */
{
    const double us = time_kernel(d, "ceiling_nothing", 1, (uint64_t[]){ 64 }, 0, NULL, 1, 1);
    return us > 0 ? 1e3 * us : 0;
}

typedef struct ceiling {
    const char *key; /* in the file of choices */
    double (*measure)(gi_cl *d);
    bool least; /* the least of several measurements is the best */
} ceiling;

/* 0: it cannot be measured. `again`: also where it is known; the better one is kept. */
static double of(gi_cl *d, const ceiling *c, bool again)
{
    const int known = (int)(intptr_t)gi_smap_get(&d->tuned, c->key) - 1;
    if (known > 0 && !again)
        return known;
    const double now = c->measure(d);
    const bool keep = now >= 1 && now < INT32_MAX - 1 && (known <= 0 || (c->least ? now < known : now > known));
    if (!keep)
        return known > 0 ? known : 0;
    (void)gi_cl_tuned_put(d, c->key, (int)now); /* without memory it is measured again */
    return (int)now;
}

static const ceiling memory = { "ceiling memory MB/s", from_memory, false };
static const ceiling cache_size = { "ceiling cache KiB", cached, false };

/* Of two buffers that together take half of the cache. */
static double from_cache(gi_cl *d)
{
    const double kib = of(d, &cache_size, false);
    return kib >= 16 ? copying(d, power_of_two_up_to((uint64_t)(kib * 256))) : 0;
}

static const ceiling cache = { "ceiling cache MB/s", from_cache, false };
static const ceiling sums = { "ceiling sums 10^8/s", by_sums, false };
static const ceiling tiles = { "ceiling tiles 10^8/s", by_tiles, false };
static const ceiling tiles_tf32 = { "ceiling tf32 tiles 10^8/s", by_tiles_tf32, false };
static const ceiling launch = { "ceiling launch ns", nothing, true };

gopt_status gi_cl_ceilings(gi_device *dev, bool again, gopt_ceilings *out)
{
    gi_cl *d = (gi_cl *)dev;
    if (d->emulated) /* kernels that are not even optimized: what they reach is no ceiling */
        return GOPT_UNSUPPORTED;
    if (!gi_smap_get(&d->tuned, memory.key))
        gi_cl_tuned_load(d);
    const ceiling *arithmetic = !d->mma ? &sums : d->half ? &tiles : d->tf32 ? &tiles_tf32 : &sums;
    const double far = of(d, &memory, again), kib = of(d, &cache_size, again), near = of(d, &cache, again);
    *out = (gopt_ceilings){ .gflops = of(d, arithmetic, again) * 0.1,
                            .memory_gbytes = far * 1e-3,
                            .cache_gbytes = near > far ? near * 1e-3 : 0,
                            .cache_bytes = near > far ? kib * 1024 : 0,
                            .launch_ms = of(d, &launch, again) * 1e-6 };
    return GOPT_OK;
}
