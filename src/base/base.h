/* What all other code stands on: the context, its memory, arenas, growing arrays, maps, strings.
 *
 * Memory: everything comes from the context's allocator. An arena hands out memory that is freed all at
 * once; growing arrays, maps and strings live in an arena and are never freed one by one. Out of memory is
 * NULL or false, and travels up as GOPT_NO_MEMORY. */
#ifndef GI_BASE_H
#define GI_BASE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gopt/status.h"

#define GI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Returns from the enclosing function with the status of `call` unless it is GOPT_OK. */
#define GI_TRY(call)                  \
    do {                              \
        gopt_status gi_try_ = (call); \
        if (gi_try_ != GOPT_OK)       \
            return gi_try_;           \
    } while (0)

/* Returns GOPT_NO_MEMORY from the enclosing function unless `what` holds. */
#define GI_NEED(what)              \
    do {                           \
        if (!(what))               \
            return GOPT_NO_MEMORY; \
    } while (0)

/* ---- the context ---- */

struct gi_arena;

struct gopt_ctx {
    void *(*realloc_fn)(void *user, void *p, size_t size);
    void *user;
    uint64_t memory_limit;
    int threads;
    int out_fd;             /* of path "-" */
    pthread_mutex_t lock;   /* guards the diagnostics and the texts: runs of several threads share a context */
    struct gi_arena *arena; /* diagnostics and their strings */
    struct gi_arena *texts; /* elements of string tensors; they live as long as the context */
    gopt_diag *diags;
    size_t n_diags, cap_diags;
    uint64_t tensor_bytes; /* now held by tensors and blobs; changed with atomics */
    bool own_memory;       /* no allocator was given: store.c may ask the system for pages */
    int weights_made;      /* optimizations that run; changed with atomics */
    uint64_t page_bytes;   /* now held as pages by store.c; changed with atomics */
    void *plugins;         /* ops/plugin.c's; NULL where none was added */
    void (*plugins_close)(gopt_ctx *cx);
};

/* Plain allocations from the context's allocator. gi_alloc gives zeroed memory; size 0 gives a valid
 * pointer. Free with gi_free. */
void *gi_alloc(gopt_ctx *cx, size_t size);
void *gi_realloc(gopt_ctx *cx, void *p, size_t size);
void gi_free(gopt_ctx *cx, void *p);

/* A copy of n bytes for an element of a string tensor, terminated; lives as long as the context. NULL where
 * there is no memory. */
const char *gi_text(gopt_ctx *cx, const char *p, size_t n);

/* ---- arithmetic that cannot overflow unseen: true and the result, or false ---- */

static inline bool gi_mul_size(size_t a, size_t b, size_t *r)
{
    return !__builtin_mul_overflow(a, b, r);
}
static inline bool gi_add_size(size_t a, size_t b, size_t *r)
{
    return !__builtin_add_overflow(a, b, r);
}
static inline bool gi_mul_i64(int64_t a, int64_t b, int64_t *r)
{
    return !__builtin_mul_overflow(a, b, r);
}
static inline bool gi_add_i64(int64_t a, int64_t b, int64_t *r)
{
    return !__builtin_add_overflow(a, b, r);
}
static inline int64_t gi_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static inline int64_t gi_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- arenas ---- */

typedef struct gi_arena gi_arena;

gi_arena *gi_arena_create(gopt_ctx *cx);
void gi_arena_destroy(gi_arena *a); /* a may be NULL */
gopt_ctx *gi_arena_ctx(gi_arena *a);
void gi_arena_reset(gi_arena *a);                         /* forgets all, keeps one chunk */
void *gi_arena_alloc(gi_arena *a, size_t n);              /* zeroed, 16-byte aligned; NULL where there is no memory */
void *gi_arena_array(gi_arena *a, size_t n, size_t item); /* checks n * item */
char *gi_arena_str(gi_arena *a, const char *s);           /* NULL gives NULL */
char *gi_arena_strn(gi_arena *a, const char *s, size_t n);
char *gi_arena_printf(gi_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *gi_arena_vprintf(gi_arena *a, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
#define GI_NEW(arena, T) ((T *)gi_arena_alloc((arena), sizeof(T)))
#define GI_NEW_ARRAY(arena, T, n) ((T *)gi_arena_array((arena), (size_t)(n), sizeof(T)))

/* ---- growing arrays in an arena ----
 *
 *   gi_vec(int) v = {0};
 *   GI_NEED(gi_push(arena, &v, 7));
 *   for (size_t i = 0; i < v.n; i++) use(v.p[i]); */

#define gi_vec(T)      \
    struct {           \
        T *p;          \
        size_t n, cap; \
    }
bool gi_vec_grow(gi_arena *a, void *p_field, size_t *cap, size_t n, size_t item);
#define gi_push(arena, v, ...)                                                              \
    ((v)->n < (v)->cap || gi_vec_grow((arena), &(v)->p, &(v)->cap, (v)->n, sizeof(*(v)->p)) \
         ? ((v)->p[(v)->n++] = (__VA_ARGS__), true)                                         \
         : false)

/* ---- hash maps in an arena: 64-bit keys, or strings; values are pointers ---- */

typedef struct gi_map {
    gi_arena *arena;
    uint64_t *keys;
    void **values; /* NULL marks a free slot, so NULL is no value */
    size_t n, cap;
} gi_map;

void gi_map_init(gi_map *m, gi_arena *a);
bool gi_map_put(gi_map *m, uint64_t key, void *value); /* replaces; value must not be NULL */
void *gi_map_get(const gi_map *m, uint64_t key);       /* NULL where absent */
static inline uint64_t gi_key(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

typedef struct gi_smap_slot {
    const char *key;
    uint64_t hash;
    void *value;
} gi_smap_slot;

typedef struct gi_smap {
    gi_arena *arena;
    gi_smap_slot *slots;
    size_t n, cap;
} gi_smap;

void gi_smap_init(gi_smap *m, gi_arena *a);
bool gi_smap_put(gi_smap *m, const char *key, void *value); /* copies the key; replaces */
void *gi_smap_get(const gi_smap *m, const char *key);

/* 64-bit hash of bytes (our own mix in the manner of wyhash; not cryptographic). */
uint64_t gi_hash(const void *p, size_t n, uint64_t seed);

/* ---- growing strings ---- */

typedef struct gi_str {
    gi_arena *arena;
    char *p; /* always terminated once something was added; NULL before */
    size_t n, cap;
    bool failed; /* out of memory once: all further additions are dropped */
} gi_str;

void gi_str_init(gi_str *s, gi_arena *a);
void gi_str_add(gi_str *s, const char *text);
void gi_str_addn(gi_str *s, const char *text, size_t n);
void gi_str_addf(gi_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds text in double quotes, with `"`, `\` and bytes below 0x20 escaped (\n, \t, \xNN). */
void gi_str_add_quoted(gi_str *s, const char *text);

/* ---- diagnostics ---- */

/* Where something is. All may be NULL or 0; `node_index` 0 means none, so it is one-based here. */
typedef struct gi_place {
    const char *file, *subgraph, *node, *op, *input;
    int64_t node_number; /* position in the file + 1 */
    int opset;
} gi_place;

/* Records an error and returns its status, so that a caller says `return gi_fail(…)`. `at` and `hint`
 * may be NULL. All strings are copied. */
gopt_status gi_fail(gopt_ctx *cx, gopt_status status, const gi_place *at, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
gopt_status gi_vfail(gopt_ctx *cx, gopt_status status, const gi_place *at, const char *hint, const char *fmt,
                     va_list args) __attribute__((format(printf, 5, 0)));
void gi_warn(gopt_ctx *cx, const gi_place *at, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void gi_note(gopt_ctx *cx, const gi_place *at, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Gives errors from number `from` on that name no place the one where they happened: what allocates a tensor
 * does not know for whom. */
void gi_diag_locate(gopt_ctx *cx, size_t from, const gi_place *at);
/* Drops what was said from number `from` on: of something that was tried, and can be done without. */
void gi_diag_forget(gopt_ctx *cx, size_t from);

/* ---- clocks ---- */

double gi_now(void); /* seconds of the monotonic clock */

/* ---- what the static analyzer has to be told ----
 *
 * It sees one file at a time, and into no function with variable arguments: these never answer GOPT_OK.
 * Where they are defined their names stand in parentheses, so that the macros leave them alone. */

#ifdef __clang_analyzer__
static inline gopt_status gi_failed(gopt_status status)
{
    if (status == GOPT_OK)
        __builtin_unreachable();
    return status;
}
#define gi_fail(...) gi_failed(gi_fail(__VA_ARGS__))
#define gi_vfail(...) gi_failed(gi_vfail(__VA_ARGS__))
#define gi_infer_fail(...) gi_failed(gi_infer_fail(__VA_ARGS__))
#define gi_infer_fail_node(...) gi_failed(gi_infer_fail_node(__VA_ARGS__))
#define gi_eval_fail(...) gi_failed(gi_eval_fail(__VA_ARGS__))
#define gi_cl_fail(...) gi_failed(gi_cl_fail(__VA_ARGS__))
#define gi_decline(...) ((void)gi_decline(__VA_ARGS__), false)
#define gi_cl_decline(...) ((void)gi_cl_decline(__VA_ARGS__), false)
#endif

#endif
