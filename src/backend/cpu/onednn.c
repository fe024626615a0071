/* Tactics "onednn_conv", "onednn_matmul" and "onednn_pool": dense row-major tensors, f32, for what the kernels of ours
 * leave: convolutions in groups of few channels, over volumes, transposed, with computed weights; products with
 * transposed or computed operands; pools over volumes.
 *
 * Work is split into shares, one primitive each: by groups or output channels of one image, by batches of a product.
 * A share's memory objects hold the pointers of a run, so a lock guards them: contexts that run in different threads
 * take turns, which only shows where they meet in one step. */
#include "backend/cpu/onednn.h"

#include "backend/cpu/epilogue.h"

#if defined(GI_HAVE_ONEDNN)

#include <dirent.h>
#include <dnnl.h>
#include <limits.h>
#include <pthread.h>
#if defined(GI_HAVE_OPENMP)
#include <omp.h>
#endif

enum { MAX_ARGS = 5, MAX_SHARES = 64, MAX_DIMS = 5 };

/* Where an argument's bytes come from in a run. */
typedef enum source { FROM_INPUT, FROM_OUTPUT, FROM_FIXED, FROM_SCRATCH } source;

typedef struct argument {
    int id; /* DNNL_ARG_… */
    dnnl_memory_t memory;
    source source;
    int index;                  /* of step->in */
    int64_t offset, per_repeat; /* floats */
} argument;

typedef struct share {
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    argument args[MAX_ARGS];
    int n_args;
    pthread_mutex_t lock;
    bool has_lock;
} share;

typedef struct onednn {
    gi_epilogue e;
    dnnl_engine_t engine;
    share shares[MAX_SHARES];
    int n_shares;
    int64_t repeats;  /* images that every share goes through */
    uint64_t scratch; /* a worker, beside the epilogue's */
} onednn;

/* The calling thread makes and runs primitives for itself alone, until the other. */
static int alone_begin(void)
{
#if defined(GI_HAVE_OPENMP)
    const int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
#else
    return 1;
#endif
}

static void alone_end(int before)
{
#if defined(GI_HAVE_OPENMP)
    omp_set_num_threads(before);
#else
    (void)before;
#endif
}

static void release(gi_cpu_step *c)
{
    onednn *v = c->own;
    if (!v)
        return;
    for (int i = 0; i < v->n_shares; i++) {
        share *h = &v->shares[i];
        for (int k = 0; k < h->n_args; k++)
            if (h->args[k].memory)
                dnnl_memory_destroy(h->args[k].memory);
        if (h->primitive)
            dnnl_primitive_destroy(h->primitive);
        if (h->stream)
            dnnl_stream_destroy(h->stream);
        if (h->has_lock)
            pthread_mutex_destroy(&h->lock);
    }
    if (v->engine)
        dnnl_engine_destroy(v->engine);
    c->own = NULL;
}

static onednn *create(gi_cpu_step *c)
{
    onednn *v = gi_cpu_own(c, sizeof(*v));
    if (!v || dnnl_engine_create(&v->engine, dnnl_cpu, 0) != dnnl_success)
        return NULL;
    v->repeats = 1;
    c->own = v;
    return v;
}

static bool add_argument(onednn *v, share *h, int id, const dnnl_memory_desc_t *md, argument a)
{
    if (h->n_args == MAX_ARGS || dnnl_memory_create(&a.memory, md, v->engine, DNNL_MEMORY_NONE) != dnnl_success)
        return false;
    a.id = id;
    h->args[h->n_args++] = a;
    return true;
}

/* Makes the primitive of an operation descriptor; *pd stays for queries. False where oneDNN has none. */
static bool make_primitive(onednn *v, share *h, const_dnnl_op_desc_t op, dnnl_primitive_desc_t *pd)
{
    dnnl_primitive_attr_t attr = NULL;
    bool ok = dnnl_primitive_attr_create(&attr) == dnnl_success &&
              dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
              dnnl_primitive_desc_create(pd, op, attr, v->engine, NULL) == dnnl_success;
    dnnl_primitive_attr_destroy(attr);
    if (!ok)
        return false;
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(*pd, dnnl_query_scratchpad_md, 0);
    const size_t bytes = md ? dnnl_memory_desc_get_size(md) : 0;
    if (bytes && !add_argument(v, h, DNNL_ARG_SCRATCHPAD, md, (argument){ .source = FROM_SCRATCH }))
        return false;
    if (bytes > v->scratch)
        v->scratch = bytes;
    h->has_lock = pthread_mutex_init(&h->lock, NULL) == 0;
    return h->has_lock && dnnl_primitive_create(&h->primitive, *pd) == dnnl_success &&
           dnnl_stream_create(&h->stream, v->engine, dnnl_stream_default_flags) == dnnl_success;
}

static bool dense(dnnl_memory_desc_t *md, int rank, const dnnl_dim_t *dims)
{
    dnnl_dims_t strides = { 0 };
    dnnl_dim_t step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = step;
        step *= dims[i];
    }
    return dnnl_memory_desc_init_by_strides(md, rank, dims, dnnl_f32, strides) == dnnl_success;
}

/* ---- running ---- */

typedef struct job {
    const gi_cpu *d;
    onednn *v;
    const gi_step *s;
    const gi_run_args *args;
    uint64_t stride; /* of a worker's scratch */
    int failed;
} job;

static bool run_share(const job *j, share *h, int64_t repeat, char *scratch)
{
    dnnl_exec_arg_t args[MAX_ARGS];
    for (int i = 0; i < h->n_args; i++) {
        const argument *a = &h->args[i];
        const int64_t at = a->offset + repeat * a->per_repeat;
        void *p = NULL;
        if (a->source == FROM_SCRATCH)
            p = scratch;
        else if (a->source != FROM_FIXED)
            p = (float *)(a->source == FROM_INPUT ? j->args->in[a->index].host : j->args->out[0].host) + at;
        if (a->source != FROM_FIXED && dnnl_memory_set_data_handle(a->memory, p) != dnnl_success)
            return false;
        args[i] = (dnnl_exec_arg_t){ a->id, a->memory };
    }
    return dnnl_primitive_execute(h->primitive, h->stream, h->n_args, args) == dnnl_success &&
           dnnl_stream_wait(h->stream) == dnnl_success;
}

static void run_part(void *arg, int worker, int n_workers)
{
    job *j = arg;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * j->stride;
    const int before = alone_begin();
    for (int i = worker; i < j->v->n_shares; i += n_workers) {
        share *h = &j->v->shares[i];
        pthread_mutex_lock(&h->lock);
        for (int64_t r = 0; r < j->v->repeats; r++)
            if (!run_share(j, h, r, scratch))
                __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&h->lock);
    }
    alone_end(before);
}

static void epilogue_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    int64_t from, to;
    gi_share((int64_t)(j->args->out[0].bytes / sizeof(float)), GI_VP_TILE, worker, n_workers, &from, &to);
    gi_epilogue_run(j->d, &j->v->e, j->args, from, to, (char *)j->args->scratch + (uint64_t)worker * j->stride);
}

static uint64_t worker_scratch(const onednn *v)
{
    const uint64_t a = gi_epilogue_scratch(&v->e), b = v->scratch;
    return ((a > b ? a : b) + 4095) & ~(uint64_t)4095;
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    job j = { d, c->own, s, args, worker_scratch(c->own), 0 };
    gi_cpu_run(d, args->pool, run_part, &j);
    if (j.failed) {
        const gi_place at = gi_node_place(s->node);
        return gi_fail(args->cx ? args->cx : d->cx, GOPT_INTERNAL, &at, NULL, "a primitive of oneDNN failed to run");
    }
    if (j.v->e.program)
        gi_cpu_run(d, args->pool, epilogue_part, &j);
    return GOPT_OK;
}

/* What all three end with: plain layouts, the epilogue, the scratch. */
static gopt_status finish(gi_cpu *d, gi_step *s, gi_cpu_step *c, onednn *v, gi_values *in, bool *ok)
{
    GI_NEED(gi_epilogue_values(&v->e, c->arena, in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in->n, in->p));
    for (uint32_t i = 0; i < s->n_in; i++)
        c->want_in[i] = GI_PLAIN;
    c->want_out[0] = GI_PLAIN;
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, ok));
    s->scratch = worker_scratch(v) * (uint64_t)d->threads;
    return GOPT_OK;
}

static bool usable(const gi_cpu *d, const gi_step *s)
{
    return d->native && s->n_out >= 1 && s->out[0]->type && s->out[0]->type->dtype == GOPT_F32;
}

/* ---- convolutions, and transposed ones ---- */

typedef struct convolution {
    gi_node *n;
    bool transposed;
    int sp; /* spatial dims */
    int64_t group, x[MAX_DIMS], y[MAX_DIMS], w[MAX_DIMS], icg, ocg;
    dnnl_dims_t strides, dilations, before, after;
} convolution;

static bool read_convolution(gi_node *n, convolution *k)
{
    int rx, ry, rw;
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK], w[GOPT_MAX_RANK];
    const bool t = n->op == OP_ConvTranspose;
    const gi_value *wv = gi_node_in(n, 1), *bv = gi_node_in(n, 2);
    const gi_blob *bb = gi_value_blob(bv);
    if (!gi_cpu_static_f32(gi_node_in(n, 0), &rx, x) || !gi_cpu_static_f32(n->out[0], &ry, y) ||
        !gi_cpu_static_f32(wv, &rw, w) || rx != ry || rx != rw || rx < 3 || rx > MAX_DIMS ||
        (bv && (!bb || bb->dtype != GOPT_F32 || gi_blob_elements(bb) != y[1])) || gi_product(0, rx, x) <= 0 ||
        gi_product(0, ry, y) <= 0 || gi_product(0, rw, w) <= 0)
        return false;
    *k = (convolution){ .n = n,
                        .transposed = t,
                        .sp = rx - 2,
                        .group = gi_attr_int(n, t ? (int)ConvTranspose_at_group : (int)Conv_at_group) };
    memcpy(k->x, x, sizeof(k->x));
    memcpy(k->y, y, sizeof(k->y));
    memcpy(k->w, w, sizeof(k->w));
    if (k->group < 1 || x[1] % k->group || y[1] % k->group)
        return false;
    k->icg = x[1] / k->group;
    k->ocg = y[1] / k->group;
    if (t ? w[0] != x[1] || w[1] != k->ocg : w[0] != y[1] || w[1] != k->icg)
        return false;
    const int64_t *s, *d, *p;
    const uint32_t ns = gi_attr_ints(n, t ? (int)ConvTranspose_at_strides : (int)Conv_at_strides, &s);
    const uint32_t nd = gi_attr_ints(n, t ? (int)ConvTranspose_at_dilations : (int)Conv_at_dilations, &d);
    const uint32_t np = gi_attr_ints(n, t ? (int)ConvTranspose_at_pads : (int)Conv_at_pads, &p);
    const char *mode = gi_attr_str(n, t ? (int)ConvTranspose_at_auto_pad : (int)Conv_at_auto_pad);
    const int64_t *shape;
    if (t && gi_attr_ints(n, ConvTranspose_at_output_shape, &shape))
        return false;
    if (mode && strcmp(mode, "NOTSET") != 0 && strcmp(mode, "VALID") != 0)
        return false;
    for (int i = 0; i < k->sp; i++) {
        k->strides[i] = ns == (uint32_t)k->sp ? s[i] : 1;
        k->dilations[i] = (nd == (uint32_t)k->sp ? d[i] : 1) - 1;
        k->before[i] = np == 2 * (uint32_t)k->sp && (!mode || strcmp(mode, "VALID") != 0) ? p[i] : 0;
        if (k->strides[i] < 1 || k->dilations[i] < 0 || k->before[i] < 0 || k->strides[i] > 4096 ||
            k->dilations[i] > 4096 || k->before[i] > 65536)
            return false;
        /* what is behind follows from the sizes */
        const int64_t reach = (w[2 + i] - 1) * (k->dilations[i] + 1) + 1;
        k->after[i] = t ? (x[2 + i] - 1) * k->strides[i] + reach - k->before[i] - y[2 + i]
                        : (y[2 + i] - 1) * k->strides[i] + reach - k->before[i] - x[2 + i];
        if (t && k->after[i] < 0 && k->after[i] <= -k->strides[i])
            return false;
    }
    return true;
}

/* Weights of groups g0 … g1-1 (or, of one group, output channels o0 … o1-1) in oneDNN's order: [g,] o, i, spatial. */
static float *gather_weights(gi_cpu *d, const convolution *k, int64_t g0, int64_t g1, int64_t o0, int64_t o1)
{
    const gi_blob *b = gi_value_blob(gi_node_in(k->n, 1));
    const int64_t per = gi_product(2, 2 + k->sp, k->w);
    float *dense_w = gi_alloc(d->cx, (size_t)((g1 - g0) * (o1 - o0) * k->icg * per) * sizeof(float)), *to = dense_w;
    for (int64_t g = g0; dense_w && g < g1; g++)
        for (int64_t o = o0; o < o1; o++)
            for (int64_t i = 0; i < k->icg; i++, to += per) {
                const int64_t row = k->transposed ? (g * k->icg + i) * k->ocg + o : (g * k->ocg + o) * k->icg + i;
                memcpy(to, (const char *)b->data + (size_t)(row * per) * sizeof(float), (size_t)per * sizeof(float));
            }
    return dense_w;
}

/* Copies weights into the order that the primitive prefers, kept with the step. */
static bool fix_weights(gi_cpu *d, gi_step *s, gi_cpu_step *c, onednn *v, share *h, float *plain,
                        const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to)
{
    dnnl_memory_t a = NULL, b = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t reorder = NULL;
    void *kept = gi_cpu_pack(d, s, c, dnnl_memory_desc_get_size(to));
    bool ok = kept && dnnl_memory_create(&a, from, v->engine, plain) == dnnl_success &&
              dnnl_memory_create(&b, to, v->engine, kept) == dnnl_success &&
              dnnl_reorder_primitive_desc_create(&pd, from, v->engine, to, v->engine, NULL) == dnnl_success &&
              dnnl_primitive_create(&reorder, pd) == dnnl_success;
    if (ok) {
        const dnnl_exec_arg_t args[2] = { { DNNL_ARG_FROM, a }, { DNNL_ARG_TO, b } };
        ok = dnnl_primitive_execute(reorder, h->stream, 2, args) == dnnl_success &&
             dnnl_stream_wait(h->stream) == dnnl_success && h->n_args < MAX_ARGS;
    }
    if (ok)
        h->args[h->n_args++] = (argument){ .id = DNNL_ARG_WEIGHTS, .memory = b, .source = FROM_FIXED };
    else if (b)
        dnnl_memory_destroy(b);
    if (a)
        dnnl_memory_destroy(a);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (reorder)
        dnnl_primitive_destroy(reorder);
    return ok;
}

static bool convolution_desc(const convolution *k, const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *w,
                             const dnnl_memory_desc_t *b, const dnnl_memory_desc_t *y, dnnl_convolution_desc_t *op)
{
    if (k->transposed)
        return dnnl_dilated_deconvolution_forward_desc_init(op, dnnl_forward_inference, dnnl_deconvolution_direct, x, w,
                                                            b, y, k->strides, k->dilations, k->before,
                                                            k->after) == dnnl_success;
    return dnnl_dilated_convolution_forward_desc_init(op, dnnl_forward_inference, dnnl_convolution_direct, x, w, b, y,
                                                      k->strides, k->dilations, k->before, k->after) == dnnl_success;
}

/* One share: groups g0 … g1-1, of each the output channels o0 … o1-1 (all, unless there is one group). */
static bool convolution_share(gi_cpu *d, gi_step *s, gi_cpu_step *c, onednn *v, const convolution *k, int64_t g0,
                              int64_t g1, int64_t o0, int64_t o1)
{
    share *h = &v->shares[v->n_shares++];
    const int64_t xp = gi_product(2, 2 + k->sp, k->x), yp = gi_product(2, 2 + k->sp, k->y), ng = g1 - g0;
    dnnl_dims_t x = { 1, ng * k->icg }, y = { 1, ng * (o1 - o0) }, w = { ng, o1 - o0, k->icg };
    const dnnl_dims_t bias = { ng * (o1 - o0) };
    for (int i = 0; i < k->sp; i++) {
        x[2 + i] = k->x[2 + i];
        y[2 + i] = k->y[2 + i];
        w[3 + i] = k->w[2 + i];
    }
    const int rank = 2 + k->sp, first = k->group > 1 ? 0 : 1;
    dnnl_dims_t wd = { 0 };
    memcpy(wd, w + first, (size_t)(rank + 1 - first) * sizeof(*wd));
    const gi_blob *bb = gi_value_blob(gi_node_in(k->n, 2));
    dnnl_memory_desc_t xm, ym, wm, wany, bm;
    dnnl_convolution_desc_t op;
    dnnl_primitive_desc_t pd = NULL;
    if (!dense(&xm, rank, x) || !dense(&ym, rank, y) || !dense(&wm, rank + 1 - first, wd) || !dense(&bm, 1, bias) ||
        dnnl_memory_desc_init_by_tag(&wany, rank + 1 - first, wd, dnnl_f32, dnnl_format_tag_any) != dnnl_success ||
        !convolution_desc(k, &xm, &wany, bb ? &bm : NULL, &ym, &op))
        return false;
    bool ok = make_primitive(v, h, &op, &pd);
    float *plain = ok ? gather_weights(d, k, g0, g1, o0, o1) : NULL;
    ok = ok && plain &&
         fix_weights(d, s, c, v, h, plain, &wm, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
    gi_free(d->cx, plain);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    const int64_t channel = g0 * k->ocg + o0;
    if (ok && bb) {
        float *kept = gi_cpu_pack(d, s, c, (size_t)bias[0] * sizeof(float));
        dnnl_memory_t m = NULL;
        ok = kept && dnnl_memory_create(&m, &bm, v->engine, kept) == dnnl_success;
        if (ok) {
            memcpy(kept, (const char *)bb->data + (size_t)channel * sizeof(float), (size_t)bias[0] * sizeof(float));
            h->args[h->n_args++] = (argument){ .id = DNNL_ARG_BIAS, .memory = m, .source = FROM_FIXED };
        }
    }
    return ok &&
           add_argument(v, h, DNNL_ARG_SRC, &xm,
                        (argument){ .source = FROM_INPUT, .offset = g0 * k->icg * xp, .per_repeat = k->x[1] * xp }) &&
           add_argument(v, h, DNNL_ARG_DST, &ym,
                        (argument){ .source = FROM_OUTPUT, .offset = channel * yp, .per_repeat = k->y[1] * yp });
}

static gopt_status prepare_conv(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    convolution k;
    gi_epilogue e;
    bool ok;
    if (!usable(d, s))
        return GOPT_OK;
    GI_TRY(gi_epilogue_find(c, s, OP_Conv, OP_ConvTranspose, INT_MAX, &e, &ok));
    if (!ok || !read_convolution(e.main, &k) || !gi_value_blob(gi_node_in(e.main, 1)))
        return GOPT_OK;
    onednn *v = create(c);
    GI_NEED(v);
    v->e = e;
    v->repeats = k.x[0];
    const int before = alone_begin();
    const int64_t over = k.group > 1 ? k.group : k.ocg, n = gi_min_i64(gi_min_i64(d->threads, over), MAX_SHARES);
    for (int i = 0; i < n && ok; i++) {
        int64_t from, to;
        gi_share(over, k.group > 1 ? 1 : gi_max_i64(1, gi_min_i64(16, over / n)), i, (int)n, &from, &to);
        if (from < to)
            ok = k.group > 1 ? convolution_share(d, s, c, v, &k, from, to, 0, k.ocg)
                             : convolution_share(d, s, c, v, &k, 0, 1, from, to);
    }
    alone_end(before);
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, gi_node_in(e.main, 0)));
    if (ok)
        GI_TRY(finish(d, s, c, v, &in, &ok));
    if (!ok) {
        release(c);
        return GOPT_OK;
    }
    s->gflop = 2e-9 * (double)gi_product(0, 2 + k.sp, k.transposed ? k.x : k.y) * (double)gi_product(1, 2 + k.sp, k.w);
    *took = true;
    return GOPT_OK;
}

/* ---- products ---- */

typedef struct product {
    int64_t batch, m, n, k;
    bool ta, tb;
    bool a_batched, b_batched;
} product;

static bool read_product(const gi_node *n, product *p)
{
    int ra, rb, ry;
    int64_t a[GOPT_MAX_RANK], b[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    *p = (product){ .batch = 1 };
    if (!gi_cpu_static_f32(gi_node_in(n, 0), &ra, a) || !gi_cpu_static_f32(gi_node_in(n, 1), &rb, b) ||
        !gi_cpu_static_f32(n->out[0], &ry, y) || ra < 2 || rb < 2 || gi_product(0, ry, y) <= 0)
        return false;
    if (n->op == OP_Gemm) {
        p->ta = gi_attr_int(n, Gemm_at_transA) != 0;
        p->tb = gi_attr_int(n, Gemm_at_transB) != 0;
        if (ra != 2 || rb != 2 || gi_attr_float(n, Gemm_at_alpha) != 1.0f || gi_node_in(n, Gemm_in_C))
            return false;
    } else {
        const int64_t ba = gi_product(0, ra - 2, a), bb = gi_product(0, rb - 2, b);
        p->batch = gi_product(0, ry - 2, y);
        p->a_batched = ba != 1;
        p->b_batched = bb != 1;
        if ((ba != 1 && ba != p->batch) || (bb != 1 && bb != p->batch))
            return false;
    }
    p->m = y[ry - 2];
    p->n = y[ry - 1];
    p->k = p->ta ? a[ra - 2] : a[ra - 1];
    return p->k > 0;
}

static bool product_share(onednn *v, const product *p, int64_t from, int64_t to, int b)
{
    share *h = &v->shares[v->n_shares++];
    const int64_t count = to - from;
    const dnnl_dims_t ad = { p->a_batched ? count : 1, p->m, p->k }, bd = { p->b_batched ? count : 1, p->k, p->n };
    const dnnl_dims_t cd = { count, p->m, p->n };
    const dnnl_dims_t as = { p->m * p->k, p->ta ? 1 : p->k, p->ta ? p->m : 1 };
    const dnnl_dims_t bs = { p->k * p->n, p->tb ? 1 : p->n, p->tb ? p->k : 1 };
    dnnl_memory_desc_t am, bm, cm;
    dnnl_matmul_desc_t op;
    dnnl_primitive_desc_t pd = NULL;
    const bool ok = dnnl_memory_desc_init_by_strides(&am, 3, ad, dnnl_f32, as) == dnnl_success &&
                    dnnl_memory_desc_init_by_strides(&bm, 3, bd, dnnl_f32, bs) == dnnl_success && dense(&cm, 3, cd) &&
                    dnnl_matmul_desc_init(&op, &am, &bm, NULL, &cm) == dnnl_success && make_primitive(v, h, &op, &pd);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    const int64_t a_at = p->a_batched ? from * p->m * p->k : 0, b_at = p->b_batched ? from * p->k * p->n : 0;
    return ok && add_argument(v, h, DNNL_ARG_SRC, &am, (argument){ .source = FROM_INPUT, .offset = a_at }) &&
           add_argument(v, h, DNNL_ARG_WEIGHTS, &bm, (argument){ .source = FROM_INPUT, .index = b, .offset = b_at }) &&
           add_argument(v, h, DNNL_ARG_DST, &cm, (argument){ .source = FROM_OUTPUT, .offset = from * p->m * p->n });
}

static gopt_status prepare_matmul(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    product p;
    gi_epilogue e;
    bool ok;
    if (!usable(d, s))
        return GOPT_OK;
    GI_TRY(gi_epilogue_find(c, s, OP_MatMul, OP_Gemm, INT_MAX, &e, &ok));
    if (!ok || !read_product(e.main, &p))
        return GOPT_OK;
    gi_value *a = gi_node_in(e.main, 0), *b = gi_node_in(e.main, 1);
    onednn *v = create(c);
    GI_NEED(v);
    v->e = e;
    const int before = alone_begin();
    const int64_t n = gi_min_i64(gi_min_i64(d->threads, p.batch), MAX_SHARES);
    for (int i = 0; i < n && ok; i++) {
        int64_t from, to;
        gi_share(p.batch, 1, i, (int)n, &from, &to);
        ok = product_share(v, &p, from, to, a == b ? 0 : 1);
    }
    alone_end(before);
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, a) && (a == b || gi_push(c->arena, &in, b)));
    if (ok)
        GI_TRY(finish(d, s, c, v, &in, &ok));
    if (!ok) {
        release(c);
        return GOPT_OK;
    }
    s->gflop = 2e-9 * (double)p.batch * (double)p.m * (double)p.n * (double)p.k;
    *took = true;
    return GOPT_OK;
}

/* ---- pools ---- */

static bool pool_attributes(const gi_node *n, int sp, const int64_t *x, const int64_t *y, dnnl_dim_t *kernel,
                            dnnl_dim_t *strides, dnnl_dim_t *dilations, dnnl_dim_t *before, dnnl_dim_t *after)
{
    const bool max = n->op == OP_MaxPool;
    const int64_t *k, *s, *d, *p;
    const uint32_t nk = gi_attr_ints(n, max ? (int)MaxPool_at_kernel_shape : (int)AveragePool_at_kernel_shape, &k);
    const uint32_t ns = gi_attr_ints(n, max ? (int)MaxPool_at_strides : (int)AveragePool_at_strides, &s);
    const uint32_t nd = gi_attr_ints(n, max ? (int)MaxPool_at_dilations : (int)AveragePool_at_dilations, &d);
    const uint32_t np = gi_attr_ints(n, max ? (int)MaxPool_at_pads : (int)AveragePool_at_pads, &p);
    const char *mode = gi_attr_str(n, max ? (int)MaxPool_at_auto_pad : (int)AveragePool_at_auto_pad);
    if (nk != (uint32_t)sp || (mode && strcmp(mode, "NOTSET") != 0) || (n->n_out > 1 && n->out[1]->n_uses) ||
        gi_attr_int(n, max ? (int)MaxPool_at_ceil_mode : (int)AveragePool_at_ceil_mode))
        return false;
    for (int i = 0; i < sp; i++) {
        kernel[i] = k[i];
        strides[i] = ns == (uint32_t)sp ? s[i] : 1;
        dilations[i] = (nd == (uint32_t)sp ? d[i] : 1) - 1;
        before[i] = np == 2 * (uint32_t)sp ? p[i] : 0;
        if (k[i] < 1 || strides[i] < 1 || dilations[i] < 0 || before[i] < 0 || before[i] >= k[i])
            return false;
        after[i] = (y[2 + i] - 1) * strides[i] + (k[i] - 1) * (dilations[i] + 1) + 1 - before[i] - x[2 + i];
    }
    return true;
}

static gopt_status prepare_pool(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    const gi_node *n = s->node;
    int rx, ry;
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    dnnl_dims_t kernel, strides, dilations, before, after;
    if (!usable(d, s) || (n->op != OP_MaxPool && n->op != OP_AveragePool) ||
        !gi_cpu_static_f32(gi_node_in(n, 0), &rx, x) || !gi_cpu_static_f32(n->out[0], &ry, y) || rx != ry || rx < 3 ||
        rx > MAX_DIMS || gi_product(0, rx, x) <= 0 || gi_product(0, ry, y) <= 0 ||
        !pool_attributes(n, rx - 2, x, y, kernel, strides, dilations, before, after))
        return GOPT_OK;
    const dnnl_alg_kind_t alg = n->op == OP_MaxPool                                ? dnnl_pooling_max
                                : gi_attr_int(n, AveragePool_at_count_include_pad) ? dnnl_pooling_avg_include_padding
                                                                                   : dnnl_pooling_avg_exclude_padding;
    onednn *v = create(c);
    GI_NEED(v);
    s->n_out = 1;
    v->repeats = x[0];
    const int threads = alone_begin();
    const int shares = (int)gi_min_i64(gi_min_i64(d->threads, x[1]), MAX_SHARES);
    bool ok = true;
    for (int i = 0; i < shares && ok; i++) {
        share *h = &v->shares[v->n_shares++];
        int64_t from, to;
        gi_share(x[1], 1, i, shares, &from, &to);
        dnnl_dims_t xd = { 1, to - from }, yd = { 1, to - from };
        memcpy(xd + 2, x + 2, (size_t)(rx - 2) * sizeof(*x));
        memcpy(yd + 2, y + 2, (size_t)(rx - 2) * sizeof(*y));
        const int64_t xp = gi_product(2, rx, x), yp = gi_product(2, rx, y);
        dnnl_memory_desc_t xm, ym;
        dnnl_pooling_v2_desc_t op;
        dnnl_primitive_desc_t pd = NULL;
        ok = dense(&xm, rx, xd) && dense(&ym, rx, yd) &&
             dnnl_pooling_v2_forward_desc_init(&op, dnnl_forward_inference, alg, &xm, &ym, strides, kernel, dilations,
                                               before, after) == dnnl_success &&
             make_primitive(v, h, &op, &pd) &&
             add_argument(v, h, DNNL_ARG_SRC, &xm,
                          (argument){ .source = FROM_INPUT, .offset = from * xp, .per_repeat = x[1] * xp }) &&
             add_argument(v, h, DNNL_ARG_DST, &ym,
                          (argument){ .source = FROM_OUTPUT, .offset = from * yp, .per_repeat = y[1] * yp });
        if (pd)
            dnnl_primitive_desc_destroy(pd);
    }
    alone_end(threads);
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, gi_node_in(n, 0)));
    if (ok)
        GI_TRY(finish(d, s, c, v, &in, &ok));
    if (!ok) {
        release(c);
        return GOPT_OK;
    }
    *took = true;
    return GOPT_OK;
}

int gi_onednn_process_threads(void)
{
    DIR *tasks = opendir("/proc/self/task");
    int n = 0;
    if (!tasks)
        return 0;
    for (const struct dirent *e; (e = readdir(tasks));)
        n += e->d_name[0] != '.';
    closedir(tasks);
    return n;
}

#define RUN run
#define RELEASE release

#else

static gopt_status decline(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    (void)d;
    (void)s;
    (void)c;
    *took = false;
    return GOPT_OK;
}

#define prepare_conv decline
#define prepare_matmul decline
#define prepare_pool decline
#define RUN NULL
#define RELEASE NULL

int gi_onednn_process_threads(void)
{
    return 0;
}

#endif

const gi_tactic gi_tactic_onednn_conv = {
    .name = "onednn_conv", .prepare = prepare_conv, .run = RUN, .release = RELEASE, .packs = true
};
const gi_tactic gi_tactic_onednn_matmul = {
    .name = "onednn_matmul", .prepare = prepare_matmul, .run = RUN, .release = RELEASE
};
const gi_tactic gi_tactic_onednn_pool = {
    .name = "onednn_pool", .prepare = prepare_pool, .run = RUN, .release = RELEASE
};
