/* Status codes, the context that every call takes, and the diagnostics that it collects.
 *
 *   gopt_ctx *cx = gopt_ctx_create(NULL);
 *   gopt_graph *g;
 *   if (gopt_onnx_load(cx, "model.onnx", &g) != GOPT_OK)
 *       gopt_diag_print(cx, stderr, false);      // names file, node, operator, found, expected, and a hint
 *   gopt_ctx_destroy(cx);
 *
 * A context belongs to one thread at a time. Nothing in the library is global: two contexts know
 * nothing of each other. */
#ifndef GOPT_STATUS_H
#define GOPT_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define GOPT_API __attribute__((visibility("default")))
#else
#define GOPT_API
#endif

#define GOPT_VERSION_MAJOR 0
#define GOPT_VERSION_MINOR 1
#define GOPT_VERSION_PATCH 0
#define GOPT_VERSION_STRING "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* Their numbers are the exit codes of the program, but for the last, which exits with 4. */
typedef enum gopt_status {
    GOPT_OK = 0,
    GOPT_DIFFERENT = 1,   /* the answer is no: a comparison failed */
    GOPT_USAGE = 2,       /* the caller asked for something that makes no sense */
    GOPT_BAD_INPUT = 3,   /* the model or another input is at fault */
    GOPT_UNSUPPORTED = 4, /* the model needs what this build or device lacks */
    GOPT_INTERNAL = 5,    /* a bug of ours */
    GOPT_NO_MEMORY = 6    /* no memory, or the ceiling would be passed */
} gopt_status;

typedef struct gopt_ctx gopt_ctx;

/* All fields may be zero. `realloc_fn(user, p, size)` behaves as realloc, and frees where size is 0;
 * it must be safe to call from several threads. */
typedef struct gopt_ctx_options {
    void *(*realloc_fn)(void *user, void *p, size_t size);
    void *user;
    uint64_t memory_limit; /* bytes that tensors may take in all; 0: half of this machine's memory */
    int threads;           /* 0: the cores that this process may use */
    int out_fd;            /* what path "-" writes to; 0: stdout */
} gopt_ctx_options;

/* Returns NULL where there is no memory for it. `options` may be NULL. */
GOPT_API gopt_ctx *gopt_ctx_create(const gopt_ctx_options *options);
GOPT_API void gopt_ctx_destroy(gopt_ctx *cx);

/* The version of the library that is linked, "0.1.0". */
GOPT_API const char *gopt_version(void);

/* The exit code that a program should end with. */
GOPT_API int gopt_status_exit(gopt_status status);

typedef enum gopt_severity { GOPT_NOTE, GOPT_WARNING, GOPT_ERROR } gopt_severity;

/* One diagnostic. Strings are borrowed from the context and may be NULL where they do not apply. */
typedef struct gopt_diag {
    gopt_severity severity;
    gopt_status status;   /* of an error */
    const char *file;     /* the model's or input's path */
    const char *subgraph; /* path of nested graphs, "If_3/then_branch" */
    int64_t node_index;   /* position in the file, -1 where none */
    const char *node;
    const char *op;
    int opset; /* 0 where none */
    const char *input;
    const char *message; /* what was found and what was expected */
    const char *hint;    /* what to do */
} gopt_diag;

GOPT_API size_t gopt_diag_count(const gopt_ctx *cx);
GOPT_API const gopt_diag *gopt_diag_get(const gopt_ctx *cx, size_t i);
GOPT_API void gopt_diag_clear(gopt_ctx *cx);

/* One line, "error: FILE: node #12 'Conv_3' (Conv, opset 17): input W …", and a `hint:` line where there
 * is a hint. Returns the length as snprintf does. */
GOPT_API int gopt_diag_format(const gopt_diag *d, char *buffer, size_t size);

/* Prints all of them, coloured where `color`. */
GOPT_API void gopt_diag_print(const gopt_ctx *cx, FILE *to, bool color);

#ifdef __cplusplus
}
#endif
#endif
