/* Memory for tensors: the heap, pages, or files (store.h). */
#include "base/store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LARGE = 1 << 20 };
#define MOST_PAGES ((uint64_t)512 << 20) /* or an eighth of the limit: held as pages before further ones go to files */

/* A file without a name, its blocks reserved: running out of disk while a mapping is written would be a signal, not
 * an error. -1 where there is none to be had. */
static int unnamed_file(const char *dir, size_t n)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        char path[4096];
        if ((size_t)snprintf(path, sizeof path, "%s/gopt.XXXXXX", dir) >= sizeof path)
            return -1;
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
    }
    if (fd >= 0 && fallocate(fd, 0, 0, (off_t)n) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void *map_file(size_t n)
{
    const char *const dirs[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
    int fd = -1;
    for (size_t i = 0; i < GI_COUNT(dirs) && fd < 0; i++)
        if (dirs[i] && *dirs[i])
            fd = unnamed_file(dirs[i], n);
    if (fd < 0)
        return NULL;
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return p == MAP_FAILED ? NULL : p;
}

static bool is_weight(gopt_ctx *cx, size_t n)
{
    return n >= LARGE && n <= PTRDIFF_MAX && cx->own_memory && __atomic_load_n(&cx->weights_made, __ATOMIC_RELAXED);
}

void *gi_store_spill(gopt_ctx *cx, size_t n)
{
    const uint64_t most = cx->memory_limit / 8 < MOST_PAGES ? cx->memory_limit / 8 : MOST_PAGES;
    return is_weight(cx, n) && __atomic_load_n(&cx->page_bytes, __ATOMIC_RELAXED) + n > most ? map_file(n) : NULL;
}

void *gi_store_alloc(gopt_ctx *cx, size_t n, gi_store *how)
{
    *how = GI_STORE_HEAP;
    if (!is_weight(cx, n))
        return gi_alloc(cx, n);
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    *how = GI_STORE_PAGES;
    __atomic_add_fetch(&cx->page_bytes, n, __ATOMIC_RELAXED);
    return p;
}

void gi_store_free(gopt_ctx *cx, void *p, size_t n, gi_store how)
{
    if (!p)
        return;
    if (how == GI_STORE_HEAP) {
        gi_free(cx, p);
        return;
    }
    munmap(p, n);
    if (how == GI_STORE_PAGES)
        __atomic_sub_fetch(&cx->page_bytes, n, __ATOMIC_RELAXED);
}

void gi_store_weights_begin(gopt_ctx *cx)
{
    __atomic_add_fetch(&cx->weights_made, 1, __ATOMIC_RELAXED);
}

void gi_store_weights_end(gopt_ctx *cx)
{
    __atomic_sub_fetch(&cx->weights_made, 1, __ATOMIC_RELAXED);
}
