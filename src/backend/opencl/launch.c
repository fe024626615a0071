/* Launches: recorded when a step is compiled, issued in order when it runs. */
#include "backend/opencl/cl.h"

#if defined(GI_HAVE_CLBLAST)
#include <clblast_c.h>
#endif

/* Products of at least so many multiplications go to CLBlast; smaller ones are over before it has started. */
static const int64_t CLBLAST_FROM = (int64_t)1 << 24;

bool(gi_cl_decline)(gi_cl_build *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (!b->why)
        b->why = gi_arena_vprintf(b->arena, fmt, args);
    va_end(args);
    return false;
}

/* A constant of few bytes among what the step owns: such pieces share buffers, and a walk can be given few. */
static bool is_small_constant(const gi_value *v)
{
    enum { SMALL = 16 << 10 };
    const gi_blob *blob = gi_value_blob(v);
    return blob && blob->data && blob->bytes && blob->bytes <= SMALL;
}

gopt_status gi_cl_find(gi_cl_build *b, const gi_value *v, gi_cl_ref *out)
{
    *out = (gi_cl_ref){ .item = 1 };
    const gopt_dtype dtype = v->type ? v->type->dtype : GOPT_UNDEFINED;
    const int bits = dtype ? gopt_dtype_bits(dtype) : 0;
    gi_cl_view view;
    out->item = bits >= 8 ? (size_t)bits / 8 : 1;
    if (gi_cl_view_of(b, v, &view)) {
        out->item = view.half ? 2 : out->item;
        if (view.channels_last && gi_cl_pitch(&view) > view.channels) {
            out->pitch = (uint32_t)(gi_cl_pitch(&view) * (int64_t)out->item);
            out->width = (uint32_t)(view.channels * (int64_t)out->item);
        }
    }
    if (v == b->inner) {
        out->item = gi_cl_is_float(dtype) ? sizeof(float) : out->item;
        out->place = GI_CL_SCRATCH;
        out->offset = b->inner_at;
        return GOPT_OK;
    }
    if (b->dry)
        return GOPT_OK;
    for (uint32_t i = 0; i < b->s->n_in; i++)
        if (b->s->in[i] == v && is_small_constant(v)) {
            const gi_blob *blob = gi_value_blob(v);
            return gi_cl_own(b, blob->data, blob->bytes, out->item, out);
        } else if (b->s->in[i] == v) {
            out->index = i;
            b->used[i] = true;
            return GOPT_OK;
        }
    out->place = GI_CL_OUT;
    for (uint32_t i = 0; i < b->s->n_out; i++)
        if (b->s->out[i] == v) {
            out->index = i;
            return GOPT_OK;
        }
    return gi_fail(b->d->cx, GOPT_INTERNAL, NULL, NULL, "a kernel reads a value that its step does not have");
}

gopt_status gi_cl_scratch(gi_cl_build *b, uint64_t bytes, size_t item, gi_cl_ref *out)
{
    *out = (gi_cl_ref){ .place = GI_CL_SCRATCH, .offset = b->scratch, .item = item };
    if (bytes > UINT64_MAX / 4 || b->scratch > UINT64_MAX / 4)
        return GOPT_NO_MEMORY;
    b->scratch += (bytes + 255) / 256 * 256;
    return GOPT_OK;
}

void gi_cl_counters(gi_cl_build *b, size_t bytes, gi_cl_ref *out)
{
    *out = (gi_cl_ref){ .place = GI_CL_COUNTERS, .item = sizeof(cl_uint) };
    pthread_mutex_lock(&b->d->lock);
    b->d->counters = bytes > b->d->counters ? bytes : b->d->counters;
    pthread_mutex_unlock(&b->d->lock);
}

/* A piece of the pool, or a buffer of its own where it is large: few buffers, so that one kernel can be given all. */
static cl_mem piece(gi_cl *d, size_t bytes, uint64_t *offset, cl_int *err)
{
    enum { POOL = 32 << 20, ALIGN = 256 };
    *offset = 0;
    if (bytes > POOL / 4)
        return clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, err);
    if (d->pool && d->pool_used + bytes > POOL) {
        (void)clReleaseMemObject(d->pool); /* the steps that have pieces of it hold it */
        d->pool = NULL;
    }
    if (!d->pool) {
        d->pool = clCreateBuffer(d->context, CL_MEM_READ_WRITE, POOL, NULL, err);
        d->pool_used = 0;
    }
    if (!d->pool) /* there may be room for this one alone */
        return clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, err);
    *err = clRetainMemObject(d->pool);
    if (*err != CL_SUCCESS)
        return NULL;
    *offset = d->pool_used;
    d->pool_used = (d->pool_used + bytes + ALIGN - 1) / ALIGN * ALIGN;
    return d->pool;
}

gopt_status gi_cl_own(gi_cl_build *b, const void *data, size_t bytes, size_t item, gi_cl_ref *out)
{
    cl_int err = CL_SUCCESS;
    *out = (gi_cl_ref){ .place = GI_CL_OWN, .index = (uint32_t)(b->dry ? 0 : b->c->own.n), .item = item };
    if (b->dry)
        return GOPT_OK;
    cl_mem m = piece(b->d, bytes ? bytes : 1, &out->offset, &err);
    if (m && bytes)
        err = clEnqueueWriteBuffer(b->d->own.queue, m, CL_TRUE, (size_t)out->offset, bytes, data, 0, NULL, NULL);
    if (err == CL_SUCCESS && m && gi_push(b->c->arena, &b->c->own, m)) {
        b->s->weight_bytes += bytes;
        return GOPT_OK;
    }
    if (m)
        clReleaseMemObject(m);
    return err == CL_SUCCESS ? GOPT_NO_MEMORY : gi_cl_fail(b->d->cx, b->d, err, "packed weights find no place");
}

static gopt_status set_ints(gi_cl_build *b, cl_kernel k, uint32_t first, uint32_t n, const int64_t *ints)
{
    for (uint32_t i = 0; i < n; i++) {
        const cl_long v = ints[i];
        const cl_int err = clSetKernelArg(k, first + i, sizeof v, &v);
        if (err != CL_SUCCESS)
            return gi_cl_fail(b->d->cx, b->d, err, "a kernel's argument is refused");
    }
    return GOPT_OK;
}

const char *gi_cl_source_in_use(gi_cl *d, const char *source)
{
    const char *own = gi_smap_get(&d->sources, source);
    if (own)
        return own;
    char *copy = gi_arena_str(d->arena, source);
    return copy && gi_smap_put(&d->sources, copy, copy) ? copy : NULL;
}

gopt_status gi_cl_launch_kernel(gi_cl_build *b, const char *source, const char *name, uint32_t n_refs,
                                const gi_cl_ref *refs, uint32_t n_ints, const int64_t *ints, const size_t *global,
                                const size_t *local)
{
    if (b->dry)
        return GOPT_OK;
    gi_cl_launch l = { .n_refs = n_refs, .may_lie = b->may_lie, .within = b->within, .weights = b->weights };
    b->weights = 0;
    for (int i = 0; i < 3; i++) {
        l.global[i] = global[i];
        l.local[i] = local ? local[i] : 0;
        if (!global[i])
            return GOPT_OK;
    }
    memcpy(l.refs, refs, n_refs * sizeof *refs);
    l.name = name;
    l.n_ints = n_ints;
    GI_NEED(l.ints = GI_NEW_ARRAY(b->c->arena, int64_t, n_ints + 1));
    if (n_ints)
        memcpy(l.ints, ints, n_ints * sizeof *ints);
    GI_NEED(l.source = gi_cl_source_in_use(b->d, source));
    GI_TRY(gi_cl_kernel(b->d, source, name, &l.kernel));
    gopt_status st = set_ints(b, l.kernel, 2 * n_refs, n_ints, ints);
    if (st == GOPT_OK && !gi_push(b->c->arena, &b->c->launches, l))
        st = GOPT_NO_MEMORY;
    if (st != GOPT_OK)
        clReleaseKernel(l.kernel);
    return st;
}

gopt_status gi_cl_launch_in_walk(gi_cl_build *b, const char *source, size_t groups)
{
    if (b->dry || !b->c->launches.n)
        return GOPT_OK;
    gi_cl_launch *l = &b->c->launches.p[b->c->launches.n - 1];
    l->walk_groups = groups;
    GI_NEED(l->walk_source = gi_cl_source_in_use(b->d, source));
    return GOPT_OK;
}

bool gi_cl_uses_clblast(const gi_cl_product *p)
{
#if defined(GI_HAVE_CLBLAST)
    int64_t work;
    return !gi_mul_i64(p->m, p->n, &work) || !gi_mul_i64(work, p->k, &work) || work >= CLBLAST_FROM;
#else
    (void)p;
    (void)CLBLAST_FROM;
    return false;
#endif
}

static int64_t bits_of(float f)
{
    int32_t i;
    memcpy(&i, &f, sizeof i);
    return i;
}

gopt_status gi_cl_launch_product(gi_cl_build *b, const gi_cl_product *p, gi_cl_ref a, gi_cl_ref bb, gi_cl_ref c)
{
    const gi_cl_ref refs[] = { a, bb, c };
    if (b->dry || !p->m || !p->n || !p->batch)
        return GOPT_OK;
    b->s->gflop += 2e-9 * (double)p->m * (double)p->n * (double)p->k * (double)p->batch;
    if (gi_cl_uses_clblast(p)) {
        gi_cl_launch l = { .n_refs = 3, .product = *p };
        memcpy(l.refs, refs, sizeof refs);
        b->s->tactic = "clblast";
        return gi_push(b->c->arena, &b->c->launches, l) ? GOPT_OK : GOPT_NO_MEMORY;
    }
    const int64_t ints[] = { p->m,   p->n,        p->k,        p->trans_a,  p->trans_b,        p->lda,          p->ldb,
                             p->ldc, p->stride_a, p->stride_b, p->stride_c, bits_of(p->alpha), bits_of(p->beta) };
    const size_t global[] = { ((size_t)p->n + 15) / 16 * 16, ((size_t)p->m + 15) / 16 * 16, (size_t)p->batch };
    return gi_cl_launch_kernel(b, gk_opencl_gemm, "gemm", 3, refs, GI_COUNT(ints), ints, global,
                               (size_t[]){ 16, 16, 1 });
}

/* ---- running ---- */

void gi_cl_locate(const gi_cl_step *c, const gi_run_args *args, const gi_cl_ref *r, cl_mem *mem, uint64_t *offset)
{
    if (r->place == GI_CL_OWN) {
        *mem = c->own.p[r->index];
        *offset = r->offset;
        return;
    }
    if (r->place == GI_CL_COUNTERS) {
        *mem = ((const gi_cl_context *)args->context)->counters;
        *offset = r->offset;
        return;
    }
    const gi_buffer *b = r->place == GI_CL_IN    ? &args->in[r->index]
                         : r->place == GI_CL_OUT ? &args->out[r->index]
                                                 : args->scratch;
    *mem = b->mem;
    *offset = b->offset + r->offset;
}

static cl_int run_product(cl_command_queue q, const gi_cl_launch *l, const cl_mem *mem, const cl_ulong *at,
                          cl_event *event)
{
#if defined(GI_HAVE_CLBLAST)
    const gi_cl_product *p = &l->product;
    const CLBlastTranspose ta = p->trans_a ? CLBlastTransposeYes : CLBlastTransposeNo;
    const CLBlastTranspose tb = p->trans_b ? CLBlastTransposeYes : CLBlastTransposeNo;
    if (p->batch == 1)
        return (cl_int)CLBlastSgemm(CLBlastLayoutRowMajor, ta, tb, (size_t)p->m, (size_t)p->n, (size_t)p->k, p->alpha,
                                    mem[0], at[0], (size_t)p->lda, mem[1], at[1], (size_t)p->ldb, p->beta, mem[2],
                                    at[2], (size_t)p->ldc, &q, event);
    return (cl_int)CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, ta, tb, (size_t)p->m, (size_t)p->n, (size_t)p->k,
                                              p->alpha, mem[0], at[0], (size_t)p->lda, (size_t)p->stride_a, mem[1],
                                              at[1], (size_t)p->ldb, (size_t)p->stride_b, p->beta, mem[2], at[2],
                                              (size_t)p->ldc, (size_t)p->stride_c, (size_t)p->batch, &q, event);
#else
    (void)q;
    (void)l;
    (void)mem;
    (void)at;
    (void)event;
    return CL_INVALID_OPERATION;
#endif
}

bool gi_cl_lies_there(const gi_cl_step *c, const gi_run_args *args, const gi_cl_launch *l)
{
    cl_mem from, to;
    uint64_t from_at, to_at;
    if (!l->may_lie)
        return false;
    gi_cl_locate(c, args, &l->refs[0], &from, &from_at);
    gi_cl_locate(c, args, &l->refs[1], &to, &to_at);
    return from == to && from_at == to_at + l->within;
}

cl_int gi_cl_run_launch(gi_cl *d, const gi_cl_step *c, gi_cl_launch *l, const gi_run_args *args, cl_event *event)
{
    cl_mem mem[GI_CL_MAX_REFS] = { NULL };
    cl_ulong at[GI_CL_MAX_REFS] = { 0 };
    gi_cl_context *x = args->context;
    cl_command_queue q = event ? x->timed_queue : x->queue;
    if (gi_cl_lies_there(c, args, l))
        return CL_SUCCESS;
    for (uint32_t i = 0; i < l->n_refs; i++) {
        uint64_t bytes;
        if (l->refs[i].place == GI_CL_COUNTERS) {
            const cl_int err = gi_cl_queue_counters(d, x);
            if (err != CL_SUCCESS)
                return err;
        }
        gi_cl_locate(c, args, &l->refs[i], &mem[i], &bytes);
        at[i] = bytes / l->refs[i].item;
    }
    if (!l->kernel)
        return run_product(q, l, mem, at, event);
    const uint64_t now = d->freed + 1;
    for (uint32_t i = 0; i < l->n_refs; i++) {
        if (l->given == now && l->mem[i] == mem[i] && l->at[i] == at[i])
            continue; /* a kernel keeps its arguments, whichever context gave them */
        cl_int err = clSetKernelArg(l->kernel, 2 * i, sizeof mem[i], &mem[i]);
        if (err == CL_SUCCESS)
            err = clSetKernelArg(l->kernel, 2 * i + 1, sizeof at[i], &at[i]);
        l->mem[i] = mem[i];
        l->at[i] = at[i];
        if (err != CL_SUCCESS) {
            l->given = 0;
            return err;
        }
    }
    l->given = now;
    return clEnqueueNDRangeKernel(q, l->kernel, 3, NULL, l->global, l->local[0] ? l->local : NULL, 0, NULL, event);
}

gopt_status gi_cl_run(gi_cl *d, gi_cl_step *c, const gi_run_args *args)
{
    cl_int err = CL_SUCCESS;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < c->launches.n && err == CL_SUCCESS; i++)
        err = gi_cl_run_launch(d, c, &c->launches.p[i], args, NULL);
    pthread_mutex_unlock(&d->lock);
    return err == CL_SUCCESS ? GOPT_OK : gi_cl_fail(args->cx, d, err, "a kernel does not start");
}

void gi_cl_step_release(gi_cl_step *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->launches.n; i++)
        if (c->launches.p[i].kernel)
            clReleaseKernel(c->launches.p[i].kernel);
    for (size_t i = 0; i < c->own.n; i++)
        clReleaseMemObject(c->own.p[i]);
    gi_arena_destroy(c->arena);
}
