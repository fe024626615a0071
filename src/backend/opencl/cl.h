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
#include "backend/fp32.h"
#include "ops/window.h"

/* Commands that follow each other, beside those of others: what a run context has, and the device where plans are
 * made. */
typedef struct gi_cl_context {
    gopt_ctx *cx; /* hears of what fails */
    cl_command_queue queue;
    cl_command_queue timed_queue; /* of profiled runs; NULL until one needs it */
    cl_mem counters;              /* GI_CL_COUNTERS; NULL: none were asked for */
    size_t counters_bytes;
    struct gi_cl_span *spans; /* walks of its frames */
    bool walked;              /* one has run since faults were looked for */
} gi_cl_context;

typedef struct gi_cl {
    gopt_ctx *cx;
    gi_arena *arena;
    cl_device_id device;
    cl_device_type type;
    cl_context context;
    gi_cl_context own;    /* building, choosing, constants: what it enqueues is finished before a run reads it */
    pthread_mutex_t lock; /* arguments of kernels are set and launched under it, whatever the queue */
    uint64_t freed;       /* buffers that were let go of; under the lock: an address may come back as another one's */
    size_t counters;      /* bytes of counters that a step may want; under the lock */
    const char *dump;     /* folder for generated sources; NULL: none */
    char name[256], driver[256];
    uint64_t signature; /* of device and driver, for the cache of programs */
    char cache[512];    /* folder; empty: none */
    gi_smap programs;   /* source → cl_program; under the engine's lock */
    gi_smap tuned;      /* key of a problem → what was chosen + 1 */
    gi_smap *asked;     /* keys of problems that were asked for, of `tuned` */
    gi_map kept;        /* hash of a source → gi_cl_binary *: out of a plan file */
    bool tuned_new;     /* there are choices that the file does not have */
    int dumped;
    bool half;           /* --precision fp16: values that stay on the device are kept as halves */
    bool tf32;           /* --precision tf32: products with constant weights round their factors to 10 bits */
    bool ptx;            /* an NVIDIA device with tensor cores: kernels may hold PTX */
    bool mma;            /* kernels for tensor cores are taken (gi_cl_ptx) */
    bool emulated;       /* that a test asked for: such kernels without PTX */
    const char *options; /* of the compiler */
    const char *way;     /* the one variant by name that is taken where a problem has it; NULL: any */
    bool timed;          /* variants of kernels are chosen by the clock */
    unsigned units;      /* compute units */
    int walk;            /* several launches as one kernel: 1 always, 0 by the clock, -1 never */
    double start_us;     /* that starting a launch takes, at most, which a walk spares */
    cl_mem pool;         /* what steps own comes out of it, piece by piece */
    size_t pool_used;
    gi_smap sources;    /* of kernels, each once → itself */
    cl_event last_walk; /* the walk that was launched last; NULL: none that may still run. Under the lock */
    cl_command_queue last_walk_queue;
} gi_cl;

/* Elements of a plan's own type in 16 bytes. */
static inline int64_t gi_cl_chunk(const gi_cl *d)
{
    return d->half ? 8 : 4;
}

/* A compiled program in a plan file that the engine holds. */
typedef struct gi_cl_binary {
    const uint8_t *p;
    size_t n;
} gi_cl_binary;

/* How a value's elements lie on the device: element (i, j, …) at Σ index × stride. Halves are values of type f16, and
 * f32 ones of a plan in fp16; what the host reads or writes is always dense and of its own type. Images that stay on the
 * device have their channels last, as many as the next multiple of 8, the ones past the last zero. One
 * that lies within another (a part of a Concat) has the other's pixels: its own channels, and then those that are
 * between. */
enum { GI_CL_CHANNELS = 8 };
typedef struct gi_cl_view {
    bool half;
    bool channels_last;
    int rank;
    int64_t dims[GOPT_MAX_RANK], stride[GOPT_MAX_RANK];
    int64_t channels; /* that there is room for; of channels_last alone */
    int64_t room;     /* elements from the first to the last, padding included */
} gi_cl_view;

static inline uint64_t gi_cl_view_bytes(const gi_cl_view *v)
{
    return (uint64_t)v->room * (v->half ? 2 : 4);
}

/* Images within others have more than their own channels from one pixel to the next; of channels_last alone. */
static inline int64_t gi_cl_pitch(const gi_cl_view *v)
{
    return v->stride[v->rank - 1];
}

/* An image that lies within the result of a Concat of channels, from that channel on. */
typedef struct gi_cl_part {
    const gi_value *whole;
    int64_t channel;
} gi_cl_part;

/* The layouts of a plan's values: made before its steps are compiled. */
typedef struct gi_cl_plan {
    gi_arena *arena;
    bool half;    /* of values that stay on the device: halves */
    gi_map lies;  /* id + 1 of such a value → 1: dense, 2: channels last; 3: floats, as it is marked */
    gi_map nodes; /* node id + 1: the plan's nodes */
    gi_map parts; /* value id + 1 → gi_cl_part *: images that lie within others */
} gi_cl_plan;

/* One buffer that a launch uses. OWN is read alone, since contexts share steps; COUNTERS belong to the context, are
 * zero before and after each launch, and are the same for all of them. */
typedef enum gi_cl_place { GI_CL_IN, GI_CL_OUT, GI_CL_SCRATCH, GI_CL_OWN, GI_CL_COUNTERS } gi_cl_place;
typedef struct gi_cl_ref {
    gi_cl_place place;
    uint32_t index;        /* of step->in, step->out or the step's own buffers */
    uint64_t offset;       /* bytes added */
    size_t item;           /* bytes of one element: offsets reach kernels in elements */
    uint32_t pitch, width; /* of an image within another: bytes from pixel to pixel, and of them its own; else 0 */
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
    const char *source, *name; /* of the kernel */
    uint32_t n_ints;
    int64_t *ints;
    const struct gi_cl_mma *mma; /* NULL: it has one variant alone */
    uint64_t weights;            /* refs[1] is so many bytes of constants, which a walk asks for ahead; 0: it is not */
    const char *walk_source;     /* what it is in a walk, a variant of 256 items; NULL: as by itself */
    size_t walk_groups;
    bool may_lie; /* a copy that need not run where refs[0] lies in refs[1], so many bytes behind its start */
    uint64_t within;
    uint64_t given; /* the kernel has these arguments, since so many buffers less 1 were freed; 0: it has not */
    cl_mem mem[GI_CL_MAX_REFS];
    cl_ulong at[GI_CL_MAX_REFS];
} gi_cl_launch;

/* Packed weights among a step's own buffers, which plan files hold. */
typedef struct gi_cl_pack {
    cl_mem mem;
    uint64_t offset, bytes, how;
    const gi_blob *of;
} gi_cl_pack;

typedef struct gi_cl_step {
    gi_arena *arena;
    gi_vec(gi_cl_launch) launches;
    gi_vec(cl_mem) own; /* packed weights and the like */
    gi_vec(gi_cl_pack) packs;
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
    bool may_lie; /* the next launch is such a copy */
    uint64_t within;
    uint64_t weights; /* of the next launch */
} gi_cl_build;

/* Appends launches and sets *took, or says in b->why why not. */
typedef gopt_status (*gi_cl_tactic)(gi_cl_build *b, const gi_node *n, bool *took);

/* ---- device.c ---- */
gopt_status(gi_cl_fail)(gopt_ctx *cx, const gi_cl *d, cl_int error, const char *what);
const char *gi_cl_error_name(cl_int error);

/* ---- queue.c ---- */

/* The context of that name, of context_open; NULL: the device's own. */
gi_cl_context *gi_cl_context_of(gi_cl *d, void *context);
cl_int gi_cl_queue_open(gi_cl *d, gopt_ctx *cx, gi_cl_context *x);
void gi_cl_queue_close(gi_cl *d, gi_cl_context *x); /* waits for what it has started */
/* Counters of at least so many bytes, as a launch wants them. Under the lock. */
cl_int gi_cl_queue_counters(gi_cl *d, gi_cl_context *x);

/* ---- program.c ---- */

/* A kernel of that name from a source; programs are kept by the device and, as binaries, on disk. */
gopt_status gi_cl_kernel(gi_cl *d, const char *source, const char *name, cl_kernel *out);
/* Builds the programs of these sources side by side, so that gi_cl_kernel finds them; one that the driver does not build is
 * left to it. Sources may be there already, twice, or NULL. */
gopt_status gi_cl_build_all(gi_cl *d, gi_arena *a, const char *const *sources, size_t n);

bool gi_cl_make_folders(const char *path);
uint64_t gi_cl_source_hash(const gi_cl *d, const char *source); /* by which binaries are known */
/* What the device's compiler is given; GOPT_OPENCL_OPTIONS adds to it. */
gopt_status gi_cl_read_options(gi_cl *d);
const char *gi_cl_ptx(const gi_cl *d); /* what stands before kernels for tensor cores: ptx.cl, or what emulates it */

/* ---- tune.c ---- */
void gi_cl_tuned_load(gi_cl *d);
void gi_cl_tuned_save(gi_cl *d);
int gi_cl_tuned(const gi_cl *d, const char *key); /* -1: not known */
gopt_status gi_cl_tuned_put(gi_cl *d, const char *key, int choice);
/* µs from the start of an event, or its end where it is what comes before, to the end of another; waits for that. -1
 * where one failed, or the driver gives no times. */
double gi_cl_between_us(cl_event from, bool before, cl_event to);
double gi_cl_event_us(cl_event e); /* the same of one */
/* µs of a launch, the least of some; -1 where it fails. Its arguments are set. */
double gi_cl_time(gi_cl *d, cl_kernel k, const size_t *global, const size_t *local);
/* The same of a kernel whose arguments are buffers of so many bytes that hold zeros, each with an offset, then ints. */
double gi_cl_time_source(gi_cl *d, const char *source, const char *name, uint32_t n_refs, const uint64_t *bytes,
                         uint32_t n_ints, const int64_t *ints, const size_t *global, const size_t *local);

/* ---- timed.c ---- */
/* gi_backend.run_timed of a step. */
gopt_status gi_cl_run_timed(gi_cl *d, gi_cl_step *c, const gi_run_args *args, double *ms);

/* ---- ceiling.c ---- */
gopt_status gi_cl_ceilings(gi_device *d, bool again, gopt_ceilings *out);

/* ---- launch.c ---- */

bool(gi_cl_decline)(gi_cl_build *b, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* always false */
/* Where a launch finds a value; GOPT_INTERNAL where it is none of the step's. */
gopt_status gi_cl_find(gi_cl_build *b, const gi_value *v, gi_cl_ref *out);
/* `bytes` of scratch, 256-byte aligned. */
gopt_status gi_cl_scratch(gi_cl_build *b, uint64_t bytes, size_t item, gi_cl_ref *out);
/* Counters of so many bytes. */
void gi_cl_counters(gi_cl_build *b, size_t bytes, gi_cl_ref *out);
/* A launch of a kernel: its arguments are a buffer and an offset in elements for each ref, then the ints. */
gopt_status gi_cl_launch_kernel(gi_cl_build *b, const char *source, const char *name, uint32_t n_refs,
                                const gi_cl_ref *refs, uint32_t n_ints, const int64_t *ints, const size_t *global,
                                const size_t *local);
/* The device's own copy of a source that runs: plan files hold the programs of those, and of no others that were timed.
 * NULL without memory. */
const char *gi_cl_source_in_use(gi_cl *d, const char *source);
/* The last launch has other groups in a walk: so many of 256 items, by another source. */
gopt_status gi_cl_launch_in_walk(gi_cl_build *b, const char *source, size_t groups);
/* c = alpha * op(a) op(b) + beta * c, row-major, f32. */
gopt_status gi_cl_launch_product(gi_cl_build *b, const gi_cl_product *p, gi_cl_ref a, gi_cl_ref bb, gi_cl_ref c);
bool gi_cl_uses_clblast(const gi_cl_product *p); /* it is there, and worth its start */
gopt_status gi_cl_run(gi_cl *d, gi_cl_step *c, const gi_run_args *args);
void gi_cl_step_release(gi_cl_step *c); /* c may be NULL */

/* Is it a copy of what the memory plan has put in its place? */
bool gi_cl_lies_there(const gi_cl_step *c, const gi_run_args *args, const gi_cl_launch *l);
/* Where a ref of that run lies: the buffer, and bytes from its start. */
void gi_cl_locate(const gi_cl_step *c, const gi_run_args *args, const gi_cl_ref *r, cl_mem *mem, uint64_t *offset);
/* One launch, in the queue of the context that args name; under the device's lock. `event`, where not NULL: in its queue
 * that keeps times, and this is its event (of a product by CLBlast, its last command's). */
cl_int gi_cl_run_launch(gi_cl *d, const gi_cl_step *c, gi_cl_launch *l, const gi_run_args *args, cl_event *event);

/* Memory of the step's own that holds `bytes` of `data`: launches read it alone. */
gopt_status gi_cl_own(gi_cl_build *b, const void *data, size_t bytes, size_t item, gi_cl_ref *out);

/* ---- keep.c: for plan files ---- */

/* gi_cl_own for packed weights: a plan file holds them, known by `how`, a hash of all that decides their order. `of`: the
 * weight that then need not be read; NULL: none. */
gopt_status gi_cl_own_packed(gi_cl_build *b, const void *data, size_t bytes, size_t item, uint64_t how,
                             const gi_blob *of, gi_cl_ref *out);
/* The same with what a plan file holds; *found false, and nothing made, where it holds none. Ask for each before packing. */
gopt_status gi_cl_own_kept(gi_cl_build *b, size_t bytes, size_t item, uint64_t how, const gi_blob *of, gi_cl_ref *out,
                           bool *found);
/* A product's constant weights and bias in the order that its kernel reads them in. */
typedef struct gi_cl_packing {
    const gi_value *w, *bias; /* bias may be NULL */
    size_t bytes, item;       /* of the packed weights; halves where item is 2 */
    size_t bias_bytes;        /* of floats; 0: the bias lies among the weights */
    uint64_t how;             /* a hash of all that decides the order */
    /* Puts the elements of both (bias NULL where there is none) into memory that holds zeros, halves by gi_halve. */
    void (*fill)(const void *user, const float *w, const float *bias, gi_halving *halving, void *to, float *bias_to);
    const void *user;
} gi_cl_packing;
/* Both as the step's own, from the plan file where that holds them. *fits is false, and the step stays in fp32, where
 * halves do not hold the weights; *bias stays as it is where bias_bytes is 0. */
gopt_status gi_cl_pack_weights(gi_cl_build *b, const gi_cl_packing *p, gi_cl_ref *w, gi_cl_ref *bias, bool *fits);
gopt_status gi_cl_packs(gi_device *d, const gi_step *s, gi_pack_visit visit, void *user);
const char *gi_cl_machine(const gi_device *d, gi_arena *a);
gopt_status gi_cl_state(gi_device *d, gi_str *out);
gopt_status gi_cl_restore(gi_device *d, const uint8_t *p, size_t n, bool trusted);

/* ---- layout.c ---- */
gopt_status gi_cl_plan_open(gi_device *d, gi_node *const *nodes, size_t n, void **plan);
void gi_cl_plan_close(gi_device *d, void *plan);
uint64_t gi_cl_value_bytes(gi_device *d, void *plan, const gi_value *v);
/* How v lies, as this step sees it; false where its shape is known only in a run. */
bool gi_cl_view_of(const gi_cl_build *b, const gi_value *v, gi_cl_view *out);
gi_cl_view gi_cl_view_dense(int rank, const int64_t *dims, bool half);
gi_cl_view gi_cl_view_last(int rank, const int64_t *dims, int64_t multiple, bool half); /* of so many channels */
/* Why the step of this node (a Fusion whole) stays in fp32: it is marked, or a result would be halves but for its mark.
 * *why is NULL where it does not; of arena a. */
gopt_status gi_cl_stays_fp32(const gi_cl_plan *p, const gi_node *n, gi_arena *a, const char **why);
/* Does v stay in floats, so that the step that reads it must not convert it to halves? Then the step stays in fp32, and
 * says so. */
gopt_status gi_cl_reads_fp32(gi_cl_build *b, const gi_value *v, bool *does);
gi_cl_view gi_cl_view_alone(const gi_cl_view *v); /* as it would lie outside of another image */
/* Where v lies within `whole`; NULL: it does not. */
const gi_cl_part *gi_cl_part_of(const gi_cl_build *b, const gi_value *v, const gi_value *whole);
bool gi_cl_same_place(const gi_cl_view *a, const gi_cl_view *b); /* one index serves both */
/* Writes the place of logical element `i` (row-major) of a view. */
void gi_cl_write_place(gi_str *s, const gi_cl_view *v);
/* Copies v into another layout: for kernels that take no other. */
gopt_status gi_cl_convert(gi_cl_build *b, const gi_value *v, const gi_cl_view *to, gi_cl_ref *out);
/* The same, of any two places. */
gopt_status gi_cl_launch_convert(gi_cl_build *b, const gi_cl_view *from, gi_cl_ref x, const gi_cl_view *to,
                                 gi_cl_ref y);
/* Where a kernel that knows dense floats alone writes v: its own place, or scratch that gi_cl_store brings there. */
gopt_status gi_cl_dense_result(gi_cl_build *b, const gi_value *v, gi_cl_ref *out);
gopt_status gi_cl_store_result(gi_cl_build *b, const gi_value *v, const gi_cl_ref *from);
gopt_status gi_cl_dense_operand(gi_cl_build *b, const gi_value *v, gi_cl_ref *out);
/* "#define" lines that make LOAD and STORE of a template read and write such elements; STORE alone. */
void gi_cl_write_access(gi_str *s, const gi_cl_view *x, const gi_cl_view *y);
void gi_cl_write_result(gi_str *s, const gi_cl_view *y);
/* LOAD8(p, i) and STORE8(v, p, i) of 8 neighbours that begin at element 8 i, LOADF8 of floats; STORE2(v, p). */
void gi_cl_write_chunks(gi_str *s, bool x_half, bool y_half);

/* ---- window.c ---- */

/* A window over images of one or two dims as one of two: a line is an image one pixel high. */
typedef struct gi_cl_window {
    int64_t h, w, kh, kw, oh, ow, sh, sw, ph, pw, ph_end, pw_end, dh, dw;
} gi_cl_window;
/* Of an input of these dims, [N, C, W] or [N, C, H, W]. */
gi_cl_window gi_cl_window_of(const gi_window *w, int rank, const int64_t *x);

/* A convolution of one or two dims whose weights and bias are constants of floats or halves. */
typedef struct gi_cl_conv {
    const gi_value *x, *w, *bias; /* bias may be NULL */
    const gi_blob *weights;
    int rank;
    int64_t dims[GOPT_MAX_RANK]; /* of x */
    int64_t group;
    gi_cl_window win;
} gi_cl_conv;
bool gi_cl_read_conv(gi_cl_build *b, const gi_node *n, gi_cl_conv *c);
const gi_blob *gi_cl_floats(const gi_value *v);             /* a constant of floats or halves; NULL where v is none */
float *gi_cl_floats_copy(const gi_cl *d, const gi_blob *b); /* its elements as floats; for gi_free. NULL: no memory */

/* ---- expression.c ---- */
const char *gi_cl_type(gopt_dtype t); /* what kernels compute it in, "float"; NULL where they have no such element */
static inline bool gi_cl_is_float(gopt_dtype t) /* its elements are floats, or lie as halves */
{
    return t == GOPT_F32 || t == GOPT_F16;
}
bool gi_cl_tensor(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims); /* static, of such */
bool gi_cl_is_pointwise(const gi_node *n); /* of its operator and dtypes alone */

/* ---- pointwise.c: generated kernels ---- */
/* One kernel for nodes whose results are broadcast to the shape of outs[0]. */
gopt_status gi_cl_pointwise(gi_cl_build *b, const char *title, const gi_node *const *nodes, size_t n,
                            const gi_value *const *outs, const gi_value *const *stored, uint32_t n_out, bool *took);

/* ---- epilogue.c: functions inside of other kernels ---- */

/* What follows a product, in the registers that hold it. Written before a template, it defines
 *
 *     EXTRA_ARGS                      the kernel's further arguments, a pointer and an offset for each of `refs`
 *     LOAD_RESIDUALS(i)               loads 8 neighbouring elements of each residual, from element i of the result on
 *     PREFETCH_RESIDUALS(i)           PREFETCH of where each of them will be loaded from
 *     RESIDUALS                       how many of the plan's element type there are
 *     KEEP_RESIDUALS(k, i)            kept[k][…] = load8, or load8_floats, of each of those, from element i on
 *     UNPACK_RESIDUALS(k)             what LOAD_RESIDUALS gives, by unpack8 of halves; floats in fp16 from `at` on
 *     KEEP_PAIRS(k, i), UNPACK_PAIRS(k)   the same of two neighbouring elements: pair[k][…], load2, unpack2
 *     EPILOGUE(acc, e, n)             the result for a sum, element e of those 8, channel n
 *     EPILOGUE_AT(acc, i, n)          the same for element i of the result, loading by itself */
typedef struct gi_cl_epilogue {
    const char *source;
    gi_cl_ref refs[8];
    uint32_t n_refs;
    bool residual; /* it reads tensors as large as the result */
} gi_cl_epilogue;
/* Nodes behind `acc`, up to `result`, which lies as `out` says and has its channels in dim `axis`. *ok: it can. */
gopt_status gi_cl_epilogue_of(gi_cl_build *b, const gi_value *acc, const gi_node *const *nodes, size_t n,
                              const gi_value *result, const gi_cl_view *out, int axis, gi_cl_epilogue *e, bool *ok);

/* Pointwise nodes and Reshapes from x to `result` as a function of an element of x, and of one of each value outside, as
 * node by[i] reads it. */
typedef struct gi_cl_function {
    const char *source;
    const gi_value *outside[4];
    const gi_node *by[4];
    uint32_t n;
} gi_cl_function;
gopt_status gi_cl_function_of(gi_cl_build *b, const char *name, const gi_value *x, gi_node *const *nodes, size_t n,
                              const gi_value *result, gi_cl_function *f, bool *ok);

/* ---- tiled.c ---- */
/* Conv, MatMul and Gemm with constant weights, and the pointwise nodes behind, as one kernel. */
gopt_status gi_cl_tiled(gi_cl_build *b, const gi_node *main, const gi_node *const *rest, size_t n_rest,
                        const gi_value *result, const gi_value *stored, bool *took);

/* ---- depthwise.c ---- */
/* The same of convolutions of one filter a channel. */
gopt_status gi_cl_depthwise(gi_cl_build *b, const gi_node *main, const gi_node *const *rest, size_t n_rest,
                            const gi_value *result, const gi_value *stored, bool *took);

/* ---- tactics ---- */
gopt_status gi_cl_take_pointwise(gi_cl_build *b, const gi_node *n, bool *took);
gopt_status gi_cl_take_product(gi_cl_build *b, const gi_node *n, bool *took); /* MatMul, Gemm */
gopt_status gi_cl_take_conv(gi_cl_build *b, const gi_node *n, bool *took);
gopt_status gi_cl_take_pool(gi_cl_build *b, const gi_node *n, bool *took);
gopt_status gi_cl_take_rows(gi_cl_build *b, const gi_node *n, bool *took);   /* softmax, reductions */
gopt_status gi_cl_take_move(gi_cl_build *b, const gi_node *n, bool *took);   /* Transpose, Concat, Split, Slice */
gopt_status gi_cl_take_gather(gi_cl_build *b, const gi_node *n, bool *took); /* Gather…, OneHot, Scatter… */
gopt_status gi_cl_take_resize(gi_cl_build *b, const gi_node *n, bool *took);
gopt_status gi_cl_take_arrange(gi_cl_build *b, const gi_node *n, bool *took); /* Pad, Expand, Tile and their like */
gopt_status gi_cl_take_direct(gi_cl_build *b, const gi_node *n, bool *took);  /* what no product takes */
gopt_status gi_cl_take_reduce(gi_cl_build *b, const gi_node *n, bool *took);  /* what rows do not take, ArgMax, TopK */
gopt_status gi_cl_take_quantize(gi_cl_build *b, const gi_node *n, bool *took);
gopt_status gi_cl_take_grid(gi_cl_build *b, const gi_node *n, bool *took);      /* GridSample */
gopt_status gi_cl_take_recurrent(gi_cl_build *b, const gi_node *n, bool *took); /* RNN, GRU, LSTM */
gopt_status gi_cl_take_attention(gi_cl_build *b, const gi_node *n, bool *took); /* fusions of it */

/* Sources embedded from kernels/opencl. */
extern const char gk_opencl_gemm[];
extern const char gk_opencl_conv[];
extern const char gk_opencl_pool[];
extern const char gk_opencl_rows[];
extern const char gk_opencl_access[];
extern const char gk_opencl_reduce_image[];
extern const char gk_opencl_tile[];
extern const char gk_opencl_gemv[];
extern const char gk_opencl_ptx[];
extern const char gk_opencl_ptx_emulated[];
extern const char gk_opencl_tile_mma[];
extern const char gk_opencl_mma[];
extern const char gk_opencl_stream[];
extern const char gk_opencl_stem[];
extern const char gk_opencl_halo[];
extern const char gk_opencl_recurrent[];
extern const char gk_opencl_walk[];
extern const char gk_opencl_attention[];
extern const char gk_opencl_depthwise[];
extern const char gk_opencl_norm[];
extern const char gk_opencl_ceiling[];
extern const char gk_opencl_attention_mma[];

#endif
