/* Programs: built from source once, kept as binaries on disk under a name made of device, driver and source.
 *
 * A file that is damaged, of another version or refused by the driver is as good as none: the source is built
 * and the file written anew. Neither reading nor writing the cache is ever an error. GOPT_OPENCL_KEEP=0 does without. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/opencl/cl.h"
#include "base/pool.h"

static const char MAGIC[8] = "goptcl1";
static const size_t MAX_BINARY = (size_t)256 << 20;

typedef struct header {
    char magic[8];
    uint64_t signature, source, size, hash;
} header;

/* Before access.cl, which stands before every source. */
static const char *dialect(const gi_cl *d)
{
    return d->ptx ? "#define NVIDIA_PTX 1\n" : "";
}

const char *gi_cl_ptx(const gi_cl *d)
{
    return d->emulated ? gk_opencl_ptx_emulated : gk_opencl_ptx;
}

gopt_status gi_cl_read_options(gi_cl *d)
{
    const char *more = getenv("GOPT_OPENCL_OPTIONS");
    /* Compilers take long over the many barriers of kernels that are emulated, and longer where they optimize. */
    d->options =
        gi_arena_printf(d->arena, "-w%s%s%s", d->emulated ? " -cl-opt-disable" : "", more ? " " : "", more ? more : "");
    return d->options ? GOPT_OK : GOPT_NO_MEMORY;
}

static bool cache_path(const gi_cl *d, uint64_t source, const char *tail, char *path, size_t size)
{
    const char *keep = getenv("GOPT_OPENCL_KEEP");
    const int n = snprintf(path, size, "%s/%016llx-%016llx.bin%s", d->cache, (unsigned long long)d->signature,
                           (unsigned long long)source, tail);
    return d->cache[0] && (!keep || strcmp(keep, "0") != 0) && n > 0 && (size_t)n < size;
}

bool gi_cl_make_folders(const char *path)
{
    char part[600];
    const size_t n = strlen(path);
    if (n >= sizeof part)
        return false;
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

uint64_t gi_cl_source_hash(const gi_cl *d, const char *source)
{
    const char *const before[] = { gk_opencl_access, dialect(d), d->options };
    uint64_t hash = 2;
    for (size_t i = 0; i < GI_COUNT(before); i++)
        hash = gi_hash(before[i], strlen(before[i]), hash);
    return gi_hash(source, strlen(source), hash);
}

static unsigned char *load_binary(const gi_cl *d, uint64_t source, size_t *size)
{
    char path[700];
    header h;
    if (!cache_path(d, source, "", path, sizeof path))
        return NULL;
    FILE *f = fopen(path, "rbe");
    if (!f)
        return NULL;
    unsigned char *p = NULL;
    if (fread(&h, sizeof h, 1, f) == 1 && !memcmp(h.magic, MAGIC, sizeof MAGIC) && h.signature == d->signature &&
        h.source == source && h.size > 0 && h.size <= MAX_BINARY)
        p = gi_alloc(d->cx, (size_t)h.size);
    if (p && (fread(p, 1, (size_t)h.size, f) != h.size || gi_hash(p, (size_t)h.size, 0) != h.hash)) {
        gi_free(d->cx, p);
        p = NULL;
    }
    (void)fclose(f);
    *size = p ? (size_t)h.size : 0;
    return p;
}

static void save_binary(const gi_cl *d, uint64_t source, cl_program program)
{
    size_t size = 0;
    char path[700], temporary[720], tail[32];
    (void)snprintf(tail, sizeof tail, ".%ld", (long)getpid());
    if (!cache_path(d, source, "", path, sizeof path) || !cache_path(d, source, tail, temporary, sizeof temporary) ||
        clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) != CL_SUCCESS || !size ||
        size > MAX_BINARY || !gi_cl_make_folders(d->cache))
        return;
    unsigned char *p = gi_alloc(d->cx, size);
    FILE *f = p ? fopen(temporary, "wbe") : NULL;
    bool ok = f && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(unsigned char *), &p, NULL) == CL_SUCCESS;
    if (ok) {
        header h = { .signature = d->signature, .source = source, .size = size, .hash = gi_hash(p, size, 0) };
        memcpy(h.magic, MAGIC, sizeof MAGIC);
        ok = fwrite(&h, sizeof h, 1, f) == 1 && fwrite(p, 1, size, f) == size;
    }
    if (f)
        ok = fclose(f) == 0 && ok;
    if (f && (!ok || rename(temporary, path) != 0))
        (void)unlink(temporary);
    gi_free(d->cx, p);
}

static gopt_status fail_build(gi_cl *d, cl_program program, cl_int err)
{
    char log[2000] = "";
    (void)clGetProgramBuildInfo(program, d->device, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    char *end = strstr(log, "\n\n");
    if (end)
        *end = 0;
    return gi_fail(d->cx, err == CL_BUILD_PROGRAM_FAILURE ? GOPT_INTERNAL : GOPT_UNSUPPORTED,
                   &(gi_place){ .file = d->name },
                   "--dump-kernels DIR writes the sources; --backend cpu runs the model meanwhile",
                   "the driver does not build a kernel: %s (%d): %s", gi_cl_error_name(err), (int)err, log);
}

/* The program of a binary; NULL where the driver does not take it. */
static cl_program of_binary(gi_cl *d, const unsigned char *p, size_t size)
{
    cl_int status = CL_SUCCESS, err;
    cl_program program = clCreateProgramWithBinary(d->context, 1, &d->device, &size, &p, &status, &err);
    if (program && (err != CL_SUCCESS || status != CL_SUCCESS ||
                    clBuildProgram(program, 1, &d->device, d->options, NULL, NULL) != CL_SUCCESS)) {
        clReleaseProgram(program);
        program = NULL;
    }
    return program;
}

/* From the plan file or the cache on disk; NULL where neither has it. */
static cl_program from_cache(gi_cl *d, uint64_t hash)
{
    const gi_cl_binary *kept = gi_map_get(&d->kept, hash);
    cl_program program = kept ? of_binary(d, kept->p, kept->n) : NULL;
    size_t size;
    unsigned char *binary = program ? NULL : load_binary(d, hash, &size);
    if (binary)
        program = of_binary(d, binary, size);
    gi_free(d->cx, binary);
    return program;
}

/* *program is NULL where not even one that is not built is to be had. */
static cl_int build(const gi_cl *d, const char *source, cl_program *program)
{
    const char *parts[] = { dialect(d), gk_opencl_access, source };
    cl_int err;
    *program = clCreateProgramWithSource(d->context, 3, parts, NULL, &err);
    return *program ? clBuildProgram(*program, 1, &d->device, d->options, NULL, NULL) : err;
}

static gopt_status program_of(gi_cl *d, const char *source, cl_program *out)
{
    *out = gi_smap_get(&d->programs, source);
    if (*out)
        return GOPT_OK;
    const uint64_t hash = gi_cl_source_hash(d, source);
    cl_program program = from_cache(d, hash);
    if (!program) {
        const cl_int err = build(d, source, &program);
        if (!program)
            return gi_cl_fail(d->cx, d, err, "a program cannot be made");
        if (err != CL_SUCCESS) {
            const gopt_status st = fail_build(d, program, err);
            clReleaseProgram(program);
            return st;
        }
        save_binary(d, hash, program);
    }
    if (!gi_smap_put(&d->programs, source, program)) {
        clReleaseProgram(program);
        return GOPT_NO_MEMORY;
    }
    *out = program;
    return GOPT_OK;
}

/* ---- many at once ---- */

enum { MOST_BUILDERS = 16 };

typedef struct builders {
    const gi_cl *d;
    const char *const *sources;
    cl_program *programs; /* NULL: not built */
    size_t n;
    atomic_size_t next;
} builders;

static void *build_some(void *arg)
{
    builders *b = arg;
    for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < b->n;)
        if (build(b->d, b->sources[i], &b->programs[i]) != CL_SUCCESS && b->programs[i]) {
            clReleaseProgram(b->programs[i]);
            b->programs[i] = NULL;
        }
    return NULL;
}

gopt_status gi_cl_build_all(gi_cl *d, gi_arena *a, const char *const *sources, size_t n)
{
    const char **missing = GI_NEW_ARRAY(a, const char *, n + 1);
    cl_program *programs = GI_NEW_ARRAY(a, cl_program, n + 1);
    pthread_t threads[MOST_BUILDERS];
    size_t n_missing = 0, n_threads = 0;
    gi_smap seen;
    gi_smap_init(&seen, a);
    GI_NEED(missing && programs);
    for (size_t i = 0; i < n; i++) {
        if (!sources[i] || d->dump || gi_smap_get(&d->programs, sources[i]) || gi_smap_get(&seen, sources[i]))
            continue;
        GI_NEED(gi_smap_put(&seen, sources[i], &seen));
        cl_program program = from_cache(d, gi_cl_source_hash(d, sources[i]));
        if (!program)
            missing[n_missing++] = sources[i];
        else if (!gi_smap_put(&d->programs, sources[i], program))
            clReleaseProgram(program);
    }
    builders b = { d, missing, programs, n_missing, 0 };
    const size_t wanted = (size_t)gi_min_i64((int64_t)n_missing, gi_min_i64(gi_cpu_count(), MOST_BUILDERS));
    while (n_threads + 1 < wanted && pthread_create(&threads[n_threads], NULL, build_some, &b) == 0)
        n_threads++;
    build_some(&b);
    for (size_t i = 0; i < n_threads; i++)
        (void)pthread_join(threads[i], NULL);
    for (size_t i = 0; i < n_missing; i++) {
        if (!programs[i])
            continue;
        save_binary(d, gi_cl_source_hash(d, missing[i]), programs[i]);
        if (gi_smap_get(&d->programs, missing[i]) || !gi_smap_put(&d->programs, missing[i], programs[i]))
            clReleaseProgram(programs[i]);
    }
    return GOPT_OK;
}

static gopt_status dump(gi_cl *d, const char *source, const char *name)
{
    char path[1024];
    if (!d->dump || gi_smap_get(&d->programs, source))
        return GOPT_OK;
    if (!gi_cl_make_folders(d->dump))
        return gi_fail(d->cx, GOPT_USAGE, &(gi_place){ .file = d->dump }, NULL, "the folder cannot be made: %s",
                       strerror(errno));
    const int n = snprintf(path, sizeof path, "%s/%03d_%s.cl", d->dump, d->dumped++, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return GOPT_OK;
    char *whole = gi_arena_printf(d->arena, "%s%s%s", dialect(d), gk_opencl_access, source);
    GI_NEED(whole);
    return gi_file_write(d->cx, path, whole, strlen(whole));
}

gopt_status gi_cl_kernel(gi_cl *d, const char *source, const char *name, cl_kernel *out)
{
    cl_program program;
    cl_int err;
    GI_TRY(dump(d, source, name));
    GI_TRY(program_of(d, source, &program));
    *out = clCreateKernel(program, name, &err);
    return *out ? GOPT_OK : gi_cl_fail(d->cx, d, err, "a kernel cannot be made");
}
