/* The opencl backend's inside: a device, programs, and steps as lists of launches.
 *
 * A tactic looks at a node and appends launches to a step. The same code answers `supports`: then the build is
 * dry, nothing is compiled, and what it would have declined comes back as a sentence. */
#ifndef GI_CL_H
#define GI_CL_H

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <pthread.h>

#include "backend/backend.h"

typedef struct gi_cl {
    gopt_ctx *cx;
    gi_arena *arena;
    cl_device_id device;
    cl_device_type type;
    cl_context context;
    cl_command_queue queue;
    pthread_mutex_t lock; /* arguments of kernels are set and launched under it */
    const char *dump;     /* folder for generated sources; NULL: none */
    char name[256], driver[256];
    uint64_t signature; /* of device and driver, for the cache of programs */
    char cache[512];    /* folder; empty: none */
    gi_smap programs;   /* source → cl_program; under the engine's lock */
    int dumped;
} gi_cl;

/* One buffer that a launch uses. */
typedef enum gi_cl_place { GI_CL_IN, GI_CL_OUT, GI_CL_SCRATCH } gi_cl_place;
typedef struct gi_cl_ref {
    gi_cl_place place;
    uint32_t index;  /* of step->in or step->out */
    uint64_t offset; /* bytes added */
    size_t item;     /* bytes of one element: offsets reach kernels in elements */
} gi_cl_ref;

enum { GI_CL_MAX_REFS = 40 };

typedef struct gi_cl_product {
    bool trans_a, trans_b;
    int64_t m, n, k, batch;
    int64_t lda, ldb, ldc, stride_a, stride_b, stride_c; /* in elements */
    float alpha, beta;
} gi_cl_product;

typedef struct gi_cl_launch {
    cl_kernel kernel; /* NULL: a product by CLBlast */
    gi_cl_ref refs[GI_CL_MAX_REFS];
    uint32_t n_refs;
    size_t global[3], local[3]; /* local[0] 0: the driver's choice */
    gi_cl_product product;
} gi_cl_launch;

typedef struct gi_cl_step {
    gi_arena *arena;
    gi_vec(gi_cl_launch) launches;
} gi_cl_step;

typedef struct gi_cl_build {
    gi_cl *d;
    gi_arena *arena; /* scratch of the build and for `why` */
    bool dry;
    gi_step *s;      /* NULL when dry */
    gi_cl_step *c;   /* likewise */
    bool *used;      /* which of s->in a launch reads */
    const char *why; /* set where a tactic declines */
    uint64_t scratch;
    const gi_value *inner; /* this value lies in scratch, at inner_at: what a fusion's main node gives */
    uint64_t inner_at;
} gi_cl_build;

/* Appends launches and sets *took, or says in b->why why not. */
typedef gopt_status (*gi_cl_tactic)(gi_cl_build *b, const gi_node *n, bool *took);

/* ---- device.c ---- */
gopt_status(gi_cl_fail)(gopt_ctx *cx, const gi_cl *d, cl_int error, const char *what);
const char *gi_cl_error_name(cl_int error);

/* ---- program.c ---- */

/* A kernel of that name from a source; programs are kept by the device and, as binaries, on disk. */
gopt_status gi_cl_kernel(gi_cl *d, const char *source, const char *name, cl_kernel *out);

/* ---- launch.c ---- */

bool(gi_cl_decline)(gi_cl_build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* always false */
/* Where a launch finds a value; GOPT_INTERNAL where it is none of the step's. */
gopt_status gi_cl_find(gi_cl_build *b, const gi_value *v, gi_cl_ref *out);
/* `bytes` of scratch, 256-byte aligned. */
gopt_status gi_cl_scratch(gi_cl_build *b, uint64_t bytes, size_t item, gi_cl_ref *out);
/* A launch of a kernel: its arguments are a buffer and an offset in elements for each ref, then the ints. */
gopt_status gi_cl_launch_kernel(gi_cl_build *b, const char *source, const char *name, uint32_t n_refs,
                                const gi_cl_ref *refs, uint32_t n_ints, const int64_t *ints, const size_t *global,
                                const size_t *local);
/* c = alpha * op(a) op(b) + beta * c, row-major, f32. */
gopt_status gi_cl_launch_product(gi_cl_build *b, const gi_cl_product *p, gi_cl_ref a, gi_cl_ref bb, gi_cl_ref c);
gopt_status gi_cl_run(gi_cl *d, const gi_cl_step *c, const gi_run_args *args);
void gi_cl_step_release(gi_cl_step *c); /* c may be NULL */

/* ---- types ---- */
const char *gi_cl_type(gopt_dtype t); /* "float"; NULL where kernels have no such element */
bool gi_cl_tensor(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims); /* static, of such */

/* ---- pointwise.c: generated kernels ---- */
bool gi_cl_is_pointwise(const gi_node *n); /* of its operator and dtypes alone */
/* One kernel for nodes whose results are broadcast to the shape of outs[0]. */
gopt_status gi_cl_pointwise(gi_cl_build *b, const char *title, const gi_node *const *nodes, size_t n,
                            const gi_value *const *outs, const gi_value *const *stored, uint32_t n_out, bool *took);

/* ---- tactics ---- */
gopt_status gi_cl_take_pointwise(gi_cl_build *b, const gi_node *n, bool *took);
gopt_status gi_cl_take_product(gi_cl_build *b, const gi_node *n, bool *took); /* MatMul, Gemm */
gopt_status gi_cl_take_conv(gi_cl_build *b, const gi_node *n, bool *took);
gopt_status gi_cl_take_pool(gi_cl_build *b, const gi_node *n, bool *took);
gopt_status gi_cl_take_rows(gi_cl_build *b, const gi_node *n, bool *took); /* softmax, reductions */
gopt_status gi_cl_take_move(gi_cl_build *b, const gi_node *n, bool *took); /* Transpose, Concat, Split, Slice */

/* Sources embedded from kernels/opencl. */
extern const char gk_opencl_gemm[];
extern const char gk_opencl_conv[];
extern const char gk_opencl_pool[];
extern const char gk_opencl_rows[];

#endif
