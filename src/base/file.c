/* Files: mapped for reading, and written whole or not at all. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static gopt_status cannot(gopt_ctx *cx, const char *path, const char *doing)
{
    const gi_place at = { .file = path };
    return gi_fail(cx, GOPT_BAD_INPUT, &at, NULL, "cannot %s: %s", doing, strerror(errno));
}

/* Reads what cannot be mapped: a pipe, stdin. */
static gopt_status read_all(gopt_ctx *cx, gi_file *f, int fd)
{
    size_t cap = 1 << 16;
    uint8_t *p = gi_realloc(cx, NULL, cap);
    GI_NEED(p);
    for (;;) {
        if (f->size == cap) {
            if (cap > cx->memory_limit / 2) {
                gi_free(cx, p);
                return gi_fail(cx, GOPT_NO_MEMORY, &(gi_place){ .file = f->path }, "raise --memory-limit",
                               "more than %llu bytes came in", (unsigned long long)cap);
            }
            cap *= 2;
            uint8_t *bigger = gi_realloc(cx, p, cap);
            if (!bigger) {
                gi_free(cx, p);
                return GOPT_NO_MEMORY;
            }
            p = bigger;
        }
        const ssize_t n = read(fd, p + f->size, cap - f->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            gi_free(cx, p);
            return cannot(cx, f->path, "read");
        }
        if (n == 0)
            break;
        f->size += (size_t)n;
    }
    f->data = p;
    return GOPT_OK;
}

static gopt_status fill(gopt_ctx *cx, gi_file *f, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return cannot(cx, f->path, "read");
    if (S_ISDIR(st.st_mode))
        return gi_fail(cx, GOPT_BAD_INPUT, &(gi_place){ .file = f->path }, NULL, "this is a folder, expected a file");
    if (!S_ISREG(st.st_mode))
        return read_all(cx, f, fd);
    f->size = (size_t)st.st_size;
    if (f->size == 0)
        return GOPT_OK;
    void *p = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return cannot(cx, f->path, "map");
    f->data = p;
    f->mapped = true;
    return GOPT_OK;
}

gopt_status gi_file_open(gopt_ctx *cx, const char *path, gi_file **out)
{
    gi_file *f = gi_alloc(cx, sizeof *f);
    GI_NEED(f);
    f->cx = cx;
    f->refs = 1;
    const bool is_stdin = !strcmp(path, "-");
    const char *shown = is_stdin ? "(stdin)" : path;
    f->path = gi_alloc(cx, strlen(shown) + 1);
    if (!f->path) {
        gi_file_unref(f);
        return GOPT_NO_MEMORY;
    }
    memcpy(f->path, shown, strlen(shown));
    const int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    gopt_status st = fd < 0 ? cannot(cx, shown, "open") : fill(cx, f, fd);
    if (fd >= 0 && !is_stdin)
        close(fd);
    if (st == GOPT_OK && f->size == 0)
        st = gi_fail(cx, GOPT_BAD_INPUT, &(gi_place){ .file = shown }, NULL, "the file is empty");
    if (st != GOPT_OK) {
        gi_file_unref(f);
        return st;
    }
    *out = f;
    return GOPT_OK;
}

gi_file *gi_file_ref(gi_file *f)
{
    __atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
    return f;
}

void gi_file_unref(gi_file *f)
{
    if (!f || __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    union {
        const uint8_t *data;
        void *p;
    } u = { .data = f->data };
    if (f->mapped)
        munmap(u.p, f->size);
    else
        gi_free(f->cx, u.p);
    gi_free(f->cx, f->path);
    gi_free(f->cx, f);
}

/* ---- writing ---- */

enum {
    OUT_BUFFER = 1 << 18, /* small pieces are gathered */
    OUT_PIECE = 1 << 20   /* large ones are written in this size: what is mapped is read while it is copied */
};

struct gi_out {
    gopt_ctx *cx;
    int fd;
    char *path, *temporary; /* temporary: NULL for stdout, whose bytes wait in an unlinked file */
    uint8_t *buffer;
    size_t waiting; /* bytes in it */
    uint64_t size;
    int error; /* errno of the first failure */
};

static int unlinked_file(void)
{
    FILE *f = tmpfile();
    const int fd = f ? dup(fileno(f)) : -1;
    if (f)
        fclose(f);
    return fd;
}

gopt_status gi_out_open(gopt_ctx *cx, const char *path, gi_out **out)
{
    gi_out *o = gi_alloc(cx, sizeof *o);
    GI_NEED(o);
    o->cx = cx;
    o->fd = -1;
    const size_t n = strlen(path);
    o->path = gi_alloc(cx, n + 1);
    o->buffer = gi_realloc(cx, NULL, OUT_BUFFER);
    const bool is_stdout = !strcmp(path, "-");
    if (!is_stdout)
        o->temporary = gi_alloc(cx, n + 12);
    if (!o->path || !o->buffer || (!is_stdout && !o->temporary)) {
        gi_free(cx, o->temporary); /* nothing to unlink */
        o->temporary = NULL;
        gi_out_abort(o);
        return GOPT_NO_MEMORY;
    }
    memcpy(o->path, path, n);
    if (is_stdout) {
        o->fd = unlinked_file();
    } else {
        snprintf(o->temporary, n + 12, "%s.XXXXXX", path);
        o->fd = mkostemp(o->temporary, O_CLOEXEC);
        if (o->fd < 0) {
            gi_free(cx, o->temporary); /* nothing to unlink */
            o->temporary = NULL;
        } else {
            const mode_t mask = umask(0);
            umask(mask);
            (void)!fchmod(o->fd, 0666 & ~mask);
        }
    }
    if (o->fd < 0) {
        const gopt_status st = cannot(cx, path, "write");
        gi_out_abort(o);
        return st;
    }
    *out = o;
    return GOPT_OK;
}

void gi_out_expect(gi_out *o, uint64_t n)
{
    if (n > OUT_PIECE && n <= INT64_MAX && fallocate(o->fd, 0, 0, (off_t)n) != 0 && errno == ENOSPC && !o->error)
        o->error = ENOSPC;
}

static bool write_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        const ssize_t k = write(fd, p, n < OUT_PIECE ? n : OUT_PIECE);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void put(gi_out *o, const uint8_t *p, size_t n)
{
    if (!o->error && !write_all(o->fd, p, n))
        o->error = errno ? errno : EIO;
}

static void flush(gi_out *o)
{
    put(o, o->buffer, o->waiting);
    o->waiting = 0;
}

void gi_out_write(gi_out *o, const void *p, size_t n)
{
    o->size += n;
    if (n > OUT_BUFFER - o->waiting)
        flush(o);
    if (n > OUT_BUFFER) {
        put(o, p, n);
        return;
    }
    if (n)
        memcpy(o->buffer + o->waiting, p, n);
    o->waiting += n;
}

uint64_t gi_out_size(const gi_out *o)
{
    return o->size;
}

static void copy_to_stdout(gi_out *o)
{
    ssize_t n;
    if (fflush(stdout) != 0 || lseek(o->fd, 0, SEEK_SET) != 0) {
        o->error = errno;
        return;
    }
    while ((n = read(o->fd, o->buffer, OUT_BUFFER)) > 0)
        if (!write_all(o->cx->out_fd, o->buffer, (size_t)n)) {
            o->error = errno ? errno : EIO;
            return;
        }
    if (n < 0)
        o->error = errno;
}

gopt_status gi_out_commit(gi_out *o)
{
    flush(o);
    if (!o->error && !o->temporary)
        copy_to_stdout(o);
    if (close(o->fd) != 0 && !o->error)
        o->error = errno;
    o->fd = -1;
    if (!o->error && o->temporary && rename(o->temporary, o->path) != 0)
        o->error = errno;
    gopt_status st = GOPT_OK;
    if (o->error) {
        errno = o->error;
        st = cannot(o->cx, o->path, "write");
    } else {
        gi_free(o->cx, o->temporary); /* it has its name now: nothing to unlink */
        o->temporary = NULL;
    }
    gi_out_abort(o);
    return st;
}

gopt_status gi_out_commit_safely(gi_out *o)
{
    flush(o);
    if (o->temporary && !o->error && fsync(o->fd) != 0 && errno != EINVAL) /* EINVAL: it is no such file */
        o->error = errno;
    return gi_out_commit(o);
}

void gi_out_abort(gi_out *o)
{
    if (!o)
        return;
    if (o->fd >= 0)
        close(o->fd);
    if (o->temporary)
        unlink(o->temporary);
    gi_free(o->cx, o->temporary);
    gi_free(o->cx, o->buffer);
    gi_free(o->cx, o->path);
    gi_free(o->cx, o);
}

gopt_status gi_file_write(gopt_ctx *cx, const char *path, const void *p, size_t n)
{
    gi_out *o;
    GI_TRY(gi_out_open(cx, path, &o));
    gi_out_expect(o, n);
    gi_out_write(o, p, n);
    return gi_out_commit(o);
}
