/* The context: memory, limits, diagnostics. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/pool.h"

static void *default_realloc(void *user, void *p, size_t size)
{
    (void)user;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, size);
}

static uint64_t half_of_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
    if (pages <= 0 || page <= 0)
        return (uint64_t)4 << 30;
    return (uint64_t)pages * (uint64_t)page / 2;
}

gopt_ctx *gopt_ctx_create(const gopt_ctx_options *o)
{
    static const gopt_ctx_options none = { 0 };
    if (!o)
        o = &none;
    void *(*realloc_fn)(void *, void *, size_t) = o->realloc_fn ? o->realloc_fn : default_realloc;
    gopt_ctx *cx = realloc_fn(o->user, NULL, sizeof *cx);
    if (!cx)
        return NULL;
    *cx = (gopt_ctx){ .realloc_fn = realloc_fn,
                      .user = o->user,
                      .own_memory = !o->realloc_fn,
                      .memory_limit = o->memory_limit ? o->memory_limit : half_of_memory(),
                      .threads = o->threads > 0 ? o->threads : gi_cpu_count(),
                      .out_fd = o->out_fd > 0 ? o->out_fd : STDOUT_FILENO };
    pthread_mutex_init(&cx->lock, NULL);
    cx->arena = gi_arena_create(cx);
    cx->texts = gi_arena_create(cx);
    if (!cx->arena || !cx->texts) {
        gopt_ctx_destroy(cx);
        return NULL;
    }
    return cx;
}

void gopt_ctx_destroy(gopt_ctx *cx)
{
    if (!cx)
        return;
    if (cx->plugins)
        cx->plugins_close(cx);
    gi_arena_destroy(cx->arena);
    gi_arena_destroy(cx->texts);
    gi_free(cx, cx->diags);
    pthread_mutex_destroy(&cx->lock);
    cx->realloc_fn(cx->user, cx, 0);
}

const char *gopt_version(void)
{
    return GOPT_VERSION_STRING;
}

int gopt_status_exit(gopt_status status)
{
    return status == GOPT_NO_MEMORY ? (int)GOPT_UNSUPPORTED : (int)status;
}

void *gi_alloc(gopt_ctx *cx, size_t size)
{
    if (cx->own_memory) /* calloc need not clear pages that are fresh from the system */
        return calloc(1, size ? size : 1);
    void *p = cx->realloc_fn(cx->user, NULL, size ? size : 1);
    if (p)
        memset(p, 0, size ? size : 1);
    return p;
}

void *gi_realloc(gopt_ctx *cx, void *p, size_t size)
{
    return cx->realloc_fn(cx->user, p, size ? size : 1);
}

void gi_free(gopt_ctx *cx, void *p)
{
    if (p)
        cx->realloc_fn(cx->user, p, 0);
}

const char *gi_text(gopt_ctx *cx, const char *p, size_t n)
{
    pthread_mutex_lock(&cx->lock);
    const char *copy = gi_arena_strn(cx->texts, n ? p : "", n);
    pthread_mutex_unlock(&cx->lock);
    return copy;
}

double gi_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- diagnostics ---- */

/* More than this many are counted by nobody: a hostile model must not fill memory with complaints. */
enum { MAX_DIAGS = 10000 };

static void add_locked(gopt_ctx *cx, gopt_severity severity, gopt_status status, const gi_place *at, const char *hint,
                       const char *fmt, va_list args) __attribute__((format(printf, 6, 0)));
static void add_locked(gopt_ctx *cx, gopt_severity severity, gopt_status status, const gi_place *at, const char *hint,
                       const char *fmt, va_list args)
{
    static const gi_place nowhere = { 0 };
    if (cx->n_diags >= MAX_DIAGS)
        return;
    if (cx->n_diags == cx->cap_diags) {
        const size_t cap = cx->cap_diags ? 2 * cx->cap_diags : 16;
        gopt_diag *p = gi_realloc(cx, cx->diags, cap * sizeof *p);
        if (!p)
            return;
        cx->diags = p;
        cx->cap_diags = cap;
    }
    if (!at)
        at = &nowhere;
    gi_arena *a = cx->arena;
    cx->diags[cx->n_diags++] = (gopt_diag){
        .severity = severity,
        .status = status,
        .file = gi_arena_str(a, at->file),
        .subgraph = gi_arena_str(a, at->subgraph),
        .node_index = at->node_number - 1,
        .node = gi_arena_str(a, at->node),
        .op = gi_arena_str(a, at->op),
        .opset = at->opset,
        .input = gi_arena_str(a, at->input),
        .message = gi_arena_vprintf(a, fmt, args),
        .hint = gi_arena_str(a, hint),
    };
}

static void add_diag(gopt_ctx *cx, gopt_severity severity, gopt_status status, const gi_place *at, const char *hint,
                     const char *fmt, va_list args) __attribute__((format(printf, 6, 0)));
static void add_diag(gopt_ctx *cx, gopt_severity severity, gopt_status status, const gi_place *at, const char *hint,
                     const char *fmt, va_list args)
{
    pthread_mutex_lock(&cx->lock);
    add_locked(cx, severity, status, at, hint, fmt, args);
    pthread_mutex_unlock(&cx->lock);
}

gopt_status(gi_vfail)(gopt_ctx *cx, gopt_status status, const gi_place *at, const char *hint, const char *fmt,
                      va_list args)
{
    add_diag(cx, GOPT_ERROR, status, at, hint, fmt, args);
    return status;
}

gopt_status(gi_fail)(gopt_ctx *cx, gopt_status status, const gi_place *at, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_diag(cx, GOPT_ERROR, status, at, hint, fmt, args);
    va_end(args);
    return status;
}

void gi_diag_forget(gopt_ctx *cx, size_t from)
{
    pthread_mutex_lock(&cx->lock);
    cx->n_diags = from < cx->n_diags ? from : cx->n_diags;
    pthread_mutex_unlock(&cx->lock);
}

void gi_diag_locate(gopt_ctx *cx, size_t from, const gi_place *at)
{
    pthread_mutex_lock(&cx->lock);
    for (size_t i = from; i < cx->n_diags; i++) {
        gopt_diag *d = &cx->diags[i];
        if (d->severity != GOPT_ERROR || d->node || d->op || d->input)
            continue;
        d->file = d->file ? d->file : gi_arena_str(cx->arena, at->file);
        d->subgraph = gi_arena_str(cx->arena, at->subgraph);
        d->node_index = at->node_number - 1;
        d->node = gi_arena_str(cx->arena, at->node);
        d->op = gi_arena_str(cx->arena, at->op);
        d->opset = at->opset;
        d->input = gi_arena_str(cx->arena, at->input);
    }
    pthread_mutex_unlock(&cx->lock);
}

void gi_warn(gopt_ctx *cx, const gi_place *at, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_diag(cx, GOPT_WARNING, GOPT_OK, at, hint, fmt, args);
    va_end(args);
}

void gi_note(gopt_ctx *cx, const gi_place *at, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_diag(cx, GOPT_NOTE, GOPT_OK, at, hint, fmt, args);
    va_end(args);
}

size_t gopt_diag_count(const gopt_ctx *cx)
{
    return cx->n_diags;
}

const gopt_diag *gopt_diag_get(const gopt_ctx *cx, size_t i)
{
    return i < cx->n_diags ? &cx->diags[i] : NULL;
}

void gopt_diag_clear(gopt_ctx *cx)
{
    cx->n_diags = 0;
    gi_arena_reset(cx->arena);
}

/* snprintf that goes on at *at and counts what did not fit. */
static void put(char *buffer, size_t size, int *at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void put(char *buffer, size_t size, int *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const size_t used = (size_t)*at < size ? (size_t)*at : size;
    const int n = vsnprintf(buffer ? buffer + used : NULL, size - used, fmt, args);
    va_end(args);
    if (n > 0)
        *at += n;
}

/* "input W is …" where the message goes on like that, else "input W: …"; nothing where the message says it
 * itself. An initializer is called one. */
static void put_input(const gopt_diag *d, char *buffer, size_t size, int *at)
{
    const char *m = d->message ? d->message : "";
    if (!d->input || !strncmp(m, "input ", 6))
        return;
    put(buffer, size, at, "%s%.300s%s", strncmp(d->input, "initializer ", 12) ? "input " : "", d->input,
        strncmp(m, "is ", 3) ? ": " : " ");
}

static void put_place(char *buffer, size_t size, int *at, const gopt_diag *d)
{
    if (d->file)
        put(buffer, size, at, "%s: ", d->file);
    if (d->subgraph)
        put(buffer, size, at, "%s: ", d->subgraph);
    if (d->node_index >= 0 || d->node || d->op) {
        put(buffer, size, at, "node");
        if (d->node_index >= 0)
            put(buffer, size, at, " #%lld", (long long)d->node_index);
        if (d->node && *d->node)
            put(buffer, size, at, " '%.200s'", d->node);
        if (d->op && d->opset > 0)
            put(buffer, size, at, " (%.100s, opset %d)", d->op, d->opset);
        else if (d->op)
            put(buffer, size, at, " (%.100s)", d->op);
        put(buffer, size, at, ": ");
    }
    put_input(d, buffer, size, at);
}

static const char *severity_name(gopt_severity s)
{
    return s == GOPT_ERROR ? "error" : s == GOPT_WARNING ? "warning" : "note";
}

int gopt_diag_format(const gopt_diag *d, char *buffer, size_t size)
{
    int at = 0;
    if (size)
        buffer[0] = 0;
    put(buffer, size, &at, "%s: ", severity_name(d->severity));
    put_place(buffer, size, &at, d);
    put(buffer, size, &at, "%s", d->message ? d->message : "out of memory");
    if (d->hint)
        put(buffer, size, &at, "\nhint: %s", d->hint);
    return at;
}

void gopt_diag_print(const gopt_ctx *cx, FILE *to, bool color)
{
    static const char *const colors[] = { "\033[36m", "\033[33m", "\033[31m" };
    for (size_t i = 0; i < cx->n_diags; i++) {
        const gopt_diag *d = &cx->diags[i];
        char line[4096];
        gopt_diag_format(d, line, sizeof line);
        const size_t head = strlen(severity_name(d->severity)) + 1;
        if (color)
            fprintf(to, "\033[1m%s%.*s\033[0m%s\n", colors[d->severity], (int)head, line, line + head);
        else
            fprintf(to, "%s\n", line);
    }
}
