/* Operators of your own: what gopt lacks, given by a shared object or by the program that uses the library.
 *
 * A plugin is one C file over this header; it links to nothing of gopt.
 *
 *   #include <gopt/plugin.h>
 *
 *   static gopt_status clamp_run(const gopt_plugin_call *c)
 *   {
 *       const float *x = c->in[0].data, top = gopt_plugin_float(c, "top", 6.0f);
 *       float *y = gopt_plugin_output(c, 0, GOPT_F32, c->in[0].rank, c->in[0].dims);
 *       if (!y)
 *           return GOPT_NO_MEMORY;
 *       for (size_t i = 0; i < c->in[0].bytes / sizeof *x; i++)
 *           y[i] = x[i] < top ? x[i] : top;
 *       return GOPT_OK;
 *   }
 *
 *   GOPT_PLUGIN(registry)
 *   {
 *       return gopt_plugin_add(registry, &(gopt_plugin_op){ .abi = GOPT_PLUGIN_ABI, .domain = "com.example",
 *                                                           .name = "Clamp", .pure = true,
 *                                                           .types = gopt_plugin_same_type, .run = clamp_run });
 *   }
 *
 *   cc -shared -fPIC -o clamp.so clamp.c
 *   gopt run model.onnx --plugin ./clamp.so
 *
 * (clamp_run should look at dtypes first: c->in[0] is what the model says, whatever that is.) An operator is two
 * functions. `types` is asked while a model is read, before anything runs: from the types of the inputs it says those of
 * the outputs. `run` computes. Both get one gopt_plugin_call and talk back through the functions below; what they return
 * other than GOPT_OK fails the model with the text given to gopt_plugin_fail, the operator and the node.
 *
 * What is provided counts as any operator: inference goes through it, constants are folded through it where it is
 * `pure`, --verify and `gopt compare` evaluate it, the cpu backend runs it. Written files hold it as it came.
 *
 * Names. The domain and name are those of the file. An operator that an exporter left of PyTorch has the domain
 * "org.pytorch.aten" and PyTorch's name without overload ("logcumsumexp"), in whichever of its spellings the file has
 * it: what gopt can bring to operators of its own goes first, a plugin gets what is left. An operator that gopt has is
 * not replaced: claiming one, or one that another plugin gave, is an error.
 *
 * Ownership. All that a call holds or its functions return is borrowed, and lives until `types` or `run` returns. What
 * an operator's struct points to is copied when it is added, but for `user` and the functions, which must live as long
 * as the context; a shared object stays loaded that long.
 *
 * Threads. `run` may be called from several threads at once, for the same node too: it must not keep state that it
 * changes, unless it locks. It is called once a node and run, and may start threads of its own if they end before it
 * returns. Operators are added before models are read, by the thread that owns the context.
 *
 * Safety. A plugin is code that runs within the process: load only those that you trust. What it hands over is checked
 * (ABI, names, dtypes, ranks, dims, that outputs are there and of the types that were said), and what is wrong is a
 * diagnostic; writing past the memory it was given is beyond all checks. Files are hostile: `run` and `types` must
 * look at dtypes, ranks and counts before they trust them.
 *
 * Limits of this version: tensors alone (no sequences, optionals, maps); no strings; no attributes that are graphs. */
#ifndef GOPT_PLUGIN_H
#define GOPT_PLUGIN_H

#include "gopt/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of every struct below. It changes when they do; a plugin made for another one is refused before any of its code is
 * called but what the loader itself runs. */
#define GOPT_PLUGIN_ABI 1u

/* ---- what an operator sees ---- */

/* An input. In `types`, a dim that has no number is negative: give the same negative number for a dim of an output to
 * say "as long as that one"; -1 says nothing. `data` is then NULL but for constants. In `run` all is known. */
typedef struct gopt_plugin_tensor {
    bool given;       /* false: an optional input that the model leaves out; all else is 0 then */
    gopt_dtype dtype; /* GOPT_UNDEFINED where unknown */
    int rank;         /* -1 where unknown */
    const int64_t *dims;
    const void *data; /* dense, row-major; packed where elements have under 8 bits, as ONNX packs them */
    size_t bytes;     /* of data */
} gopt_plugin_tensor;

typedef struct gopt_plugin_call gopt_plugin_call;

/* The functions that gopt gives to a call. Use the wrappers below. */
typedef struct gopt_plugin_host {
    bool (*get_int)(const gopt_plugin_call *c, const char *name, int64_t *v);
    bool (*get_float)(const gopt_plugin_call *c, const char *name, float *v);
    const char *(*get_string)(const gopt_plugin_call *c, const char *name, size_t *n);
    const int64_t *(*get_ints)(const gopt_plugin_call *c, const char *name, size_t *n);
    const float *(*get_floats)(const gopt_plugin_call *c, const char *name, size_t *n);
    const char *const *(*get_strings)(const gopt_plugin_call *c, const char *name, size_t *n);
    bool (*get_tensor)(const gopt_plugin_call *c, const char *name, gopt_plugin_tensor *t);
    gopt_status (*set_type)(const gopt_plugin_call *c, uint32_t out, gopt_dtype dtype, int rank, const int64_t *dims);
    void *(*output)(const gopt_plugin_call *c, uint32_t out, gopt_dtype dtype, int rank, const int64_t *dims);
    void *(*scratch)(const gopt_plugin_call *c, size_t bytes);
    void (*failed)(const gopt_plugin_call *c, const char *text);
} gopt_plugin_host;

struct gopt_plugin_call {
    uint32_t abi;
    const gopt_plugin_host *host;
    void *user;                       /* the operator's */
    const char *domain, *name, *node; /* as in the file; node is "" where it has no name */
    uint32_t n_in, n_out;             /* of this node: an operator must look, models are as they are */
    const gopt_plugin_tensor *in;
    void *self; /* gopt's own */
};

/* ---- an operator ---- */

typedef struct gopt_plugin_op {
    uint32_t abi; /* GOPT_PLUGIN_ABI */
    const char *domain, *name;
    const char *means; /* one line for `gopt inspect`; may be NULL */
    /* The same inputs always give the same outputs, and nothing else happens: constants may be folded. */
    bool pure;
    /* Says the outputs' types with gopt_plugin_set_type; those it says nothing of keep what the file declares. */
    gopt_status (*types)(const gopt_plugin_call *c);
    /* Computes every output with gopt_plugin_output. */
    gopt_status (*run)(const gopt_plugin_call *c);
    /* Reserved: OpenCL C for this operator. This version accepts it and does not use it, with a note; with the opencl
     * backend the node runs on the cpu, by `run`. NULL where there is none. */
    const char *opencl;
    void *user;
} gopt_plugin_op;

/* ---- a shared object ---- */

typedef struct gopt_plugin_registry {
    uint32_t abi; /* of the gopt that loads; newer ones may know more */
    gopt_status (*add)(struct gopt_plugin_registry *r, const gopt_plugin_op *op);
    void *self;
} gopt_plugin_registry;

/* What a shared object exports; GOPT_PLUGIN writes both. Other than GOPT_OK refuses the plugin as a whole. */
extern GOPT_API const uint32_t gopt_plugin_abi_version;
GOPT_API gopt_status gopt_plugin_register(gopt_plugin_registry *registry);

#define GOPT_PLUGIN(registry)                                          \
    GOPT_API const uint32_t gopt_plugin_abi_version = GOPT_PLUGIN_ABI; \
    GOPT_API gopt_status gopt_plugin_register(gopt_plugin_registry *registry)

static inline gopt_status gopt_plugin_add(gopt_plugin_registry *r, const gopt_plugin_op *op)
{
    return r->add(r, op);
}

/* ---- for `types` and `run` ---- */

/* An attribute of the node, or `otherwise` where the node has none of that name and kind. */
static inline int64_t gopt_plugin_int(const gopt_plugin_call *c, const char *name, int64_t otherwise)
{
    int64_t v;
    return c->host->get_int(c, name, &v) ? v : otherwise;
}
static inline float gopt_plugin_float(const gopt_plugin_call *c, const char *name, float otherwise)
{
    float v;
    return c->host->get_float(c, name, &v) ? v : otherwise;
}
static inline const char *gopt_plugin_string(const gopt_plugin_call *c, const char *name, const char *otherwise)
{
    size_t n;
    const char *s = c->host->get_string(c, name, &n); /* terminated; may hold zero bytes before */
    return s ? s : otherwise;
}
/* Lists: NULL with *n = 0 where the node has none of that name and kind. */
static inline const int64_t *gopt_plugin_ints(const gopt_plugin_call *c, const char *name, size_t *n)
{
    return c->host->get_ints(c, name, n);
}
static inline const float *gopt_plugin_floats(const gopt_plugin_call *c, const char *name, size_t *n)
{
    return c->host->get_floats(c, name, n);
}
static inline const char *const *gopt_plugin_strings(const gopt_plugin_call *c, const char *name, size_t *n)
{
    return c->host->get_strings(c, name, n);
}
/* A tensor among the attributes; false where there is none of that name. */
static inline bool gopt_plugin_tensor_attribute(const gopt_plugin_call *c, const char *name, gopt_plugin_tensor *t)
{
    return c->host->get_tensor(c, name, t);
}

/* `return gopt_plugin_fail(c, "…");` says why; only the first text counts. It is copied. */
static inline gopt_status gopt_plugin_fail(const gopt_plugin_call *c, const char *text)
{
    c->host->failed(c, text);
    return GOPT_BAD_INPUT;
}

/* ---- for `types` ---- */

/* The type of an output. rank -1 (dims NULL): unknown; dims: a size, an input's negative number, or -1. An output past
 * n_out is left alone. Anything else is an error, which fails the node whatever `types` returns. */
static inline gopt_status gopt_plugin_set_type(const gopt_plugin_call *c, uint32_t out, gopt_dtype dtype, int rank,
                                               const int64_t *dims)
{
    return c->host->set_type(c, out, dtype, rank, dims);
}
/* A whole rule: one output like the first input. */
static inline gopt_status gopt_plugin_same_type(const gopt_plugin_call *c)
{
    if (!c->n_in || !c->in[0].given)
        return gopt_plugin_fail(c, "its first input is missing");
    return gopt_plugin_set_type(c, 0, c->in[0].dtype, c->in[0].rank, c->in[0].dims);
}

/* ---- for `run` ---- */

/* Memory for an output, to be filled wholly: its contents are undefined before. NULL where it has another type than
 * was said or there is no memory, and then `run` returns any error. The same memory where asked again. An output past
 * n_out gives NULL too: look at n_out first where outputs are optional. */
static inline void *gopt_plugin_output(const gopt_plugin_call *c, uint32_t out, gopt_dtype dtype, int rank,
                                       const int64_t *dims)
{
    return c->host->output(c, out, dtype, rank, dims);
}
/* Zeroed memory until `run` returns; NULL where there is none. */
static inline void *gopt_plugin_scratch(const gopt_plugin_call *c, size_t size)
{
    return c->host->scratch(c, size);
}

/* ---- for programs that use the library ---- */

/* Loads a shared object and adds its operators: all of them, or none. Not a system-wide search: a path without a slash
 * lies in the current folder. GOPT_BAD_INPUT with a diagnostic where it is no shared object, lacks the symbols, was made
 * for another ABI, refuses, or gives operators that cannot be. */
GOPT_API gopt_status gopt_ctx_load_plugin(gopt_ctx *cx, const char *path);

/* Adds one operator that the program itself has. The same checks; no file. */
GOPT_API gopt_status gopt_ctx_add_operator(gopt_ctx *cx, const gopt_plugin_op *op);

#ifdef __cplusplus
}
#endif
#endif
