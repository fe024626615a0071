/* Tactics "matmul_packed" and "matmul_batched": products of matrices by the tile kernel of convolutions, a row of A
 * being a pixel with K channels.
 *
 * Packed: B is a constant, laid out once as [⌈N/2 lanes⌉][K][2 lanes]; workers share rows or columns of the result.
 * Batched: B is computed (attention's products); a worker packs one panel of 2 lanes columns of one batch into its
 * scratch, then goes over all rows with it. */
#include "backend/cpu/epilogue.h"
#include "backend/cpu/matmul.h"

enum { STRIP_BYTES = 256 * 1024 };

typedef struct matmul {
    gi_epilogue e;
    int64_t m, n, k;
    int a, b, add; /* in step->in; -1: none */
    int64_t panels;
    float *weights, *bias;
    gk_tap tap;
    bool repack; /* rows of A lie a multiple of 4 KiB apart: copied, lest they share cache sets */
    int64_t strip, row;
    int split;
    /* batched */
    int rank;
    int64_t batch, batch_dims[GOPT_MAX_RANK], a_strides[GOPT_MAX_RANK], b_strides[GOPT_MAX_RANK];
    uint64_t scratch;
} matmul;

typedef struct job {
    const gi_cpu *d;
    const matmul *v;
    const gi_run_args *args;
} job;

/* Rows r0 … r1-1 of one panel; a and c point at row 0. */
static void run_rows(const job *j, gk_conv_tile *t, const float *a, float *c, const float *add, int64_t r0, int64_t r1)
{
    const matmul *v = j->v;
    const int64_t n = r1 - r0, tile = j->d->k->tile, pieces = (n + tile - 1) / tile;
    int64_t r = r0;
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t count = n / pieces + (i < n % pieces), h = (count + 1) / 2;
        t->src = a + r * t->pixel;
        t->half = h * t->pixel;
        t->dst = c + r * v->n;
        t->add = add ? add + r * v->n : NULL;
        t->dst_half = h * v->n;
        t->pixels = (int)count;
        j->d->k->conv_tile(t);
        r += count;
    }
}

static gk_conv_tile tile_of(const job *j)
{
    const matmul *v = j->v;
    return (gk_conv_tile){ .pixel = v->row,
                           .taps = &v->tap,
                           .n_taps = 1,
                           .dst_pixel = v->n,
                           .dst_col = j->d->block,
                           .lo = v->e.lo,
                           .hi = v->e.hi };
}

/* ---- B is a constant ---- */

static bool constant_f32(const gi_value *v, const gi_blob **b)
{
    *b = gi_value_blob(v);
    return *b && (*b)->dtype == GOPT_F32;
}

bool gi_matmul_read(const gi_node *n, gi_operands *o)
{
    int ra, ry;
    int64_t a[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    *o = (gi_operands){ .a = gi_node_in(n, 0), .alpha = 1.0f, .beta = 1.0f };
    if (!constant_f32(gi_node_in(n, 1), &o->b) || !gi_cpu_static_f32(o->a, &ra, a) ||
        !gi_cpu_static_f32(n->out[0], &ry, y))
        return false;
    if (n->op == OP_Gemm) {
        if (gi_attr_int(n, Gemm_at_transA) || ra != 2 || o->b->rank != 2)
            return false;
        o->trans_b = gi_attr_int(n, Gemm_at_transB) != 0;
        o->alpha = gi_attr_float(n, Gemm_at_alpha);
        o->beta = gi_attr_float(n, Gemm_at_beta);
        if (gi_node_in(n, Gemm_in_C) && !constant_f32(gi_node_in(n, Gemm_in_C), &o->c))
            return false;
    } else if (ra < 1 || o->b->rank < 2 || gi_product(0, o->b->rank - 2, o->b->dims) != 1 || ry < o->b->rank) {
        return false;
    }
    const int64_t *bd = o->b->dims + o->b->rank - 2;
    o->k = o->trans_b ? bd[1] : bd[0];
    o->n = o->trans_b ? bd[0] : bd[1];
    o->m = gi_product(0, ra - 1, a);
    if (a[ra - 1] != o->k || o->m <= 0 || o->n <= 0 || o->k <= 0)
        return false;
    return !o->c || gi_blob_elements(o->c) == 1 ||
           (gi_blob_elements(o->c) == o->n && o->c->dims[o->c->rank - 1] == o->n);
}

/* Rows of B into all panels: in order of memory, a block of rows at a time. */
static void pack_rows(const matmul *v, const float *b, int64_t lanes2)
{
    enum { BLOCK = 32 };
    for (int64_t k = 0; k < v->k; k += BLOCK)
        for (int64_t p = 0; p < v->panels; p++) {
            const int64_t first = p * lanes2, count = gi_min_i64(lanes2, v->n - first);
            for (int64_t r = k; r < gi_min_i64(v->k, k + BLOCK); r++) {
                float *to = v->weights + (p * v->k + r) * lanes2;
                memcpy(to, b + r * v->n + first, (size_t)count * sizeof(float));
                for (int64_t i = count; i < lanes2; i++)
                    to[i] = 0.0f;
            }
        }
}

/* The same of B transposed, whose columns lie side by side. */
static void pack_columns(const gi_cpu *d, const matmul *v, const float *b, int64_t lanes2)
{
    for (int64_t p = 0; p < v->panels; p++) {
        const int64_t first = p * lanes2, count = gi_min_i64(lanes2, v->n - first);
        float *to = v->weights + p * v->k * lanes2;
        d->k->transpose((size_t)count, (size_t)v->k, b + first * v->k, v->k, to, lanes2);
        for (int64_t r = 0; r < v->k && count < lanes2; r++)
            memset(to + r * lanes2 + count, 0, (size_t)(lanes2 - count) * sizeof(float));
    }
}

static gopt_status pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, matmul *v, const gi_operands *o)
{
    const int64_t lanes2 = 2 * d->block, all = v->panels * v->k * lanes2;
    const double order[] = { (double)v->n, (double)v->k, (double)lanes2, o->trans_b, (double)o->alpha };
    bool filled;
    v->weights = gi_cpu_pack_of(d, s, c, gi_value_blob(gi_node_in(v->e.main, 1)),
                                gi_cpu_order(&gi_tactic_matmul_packed, order, sizeof(order)),
                                (size_t)all * sizeof(float), &filled);
    v->bias = gi_cpu_pack(d, s, c, (size_t)(v->panels * lanes2) * sizeof(float));
    GI_NEED(v->weights && v->bias);
    if (!filled && o->trans_b)
        pack_columns(d, v, o->b->data, lanes2);
    else if (!filled)
        pack_rows(v, o->b->data, lanes2);
    for (int64_t i = 0; i < all && !filled && o->alpha != 1.0f; i++)
        v->weights[i] *= o->alpha;
    memset(v->bias, 0, (size_t)(v->panels * lanes2) * sizeof(float));
    for (int64_t i = 0; i < v->n; i++) {
        float x;
        if (o->c) {
            const int64_t at = gi_blob_elements(o->c) == 1 ? 0 : i;
            memcpy(&x, (const char *)o->c->data + (size_t)at * sizeof(x), sizeof(x));
            v->bias[i] += o->beta * x;
        }
        if (v->e.bias) {
            memcpy(&x, (const char *)v->e.bias->data + (size_t)i * sizeof(x), sizeof(x));
            v->bias[i] += x;
        }
    }
    return GOPT_OK;
}

static int choose_split(const gi_cpu *d, const matmul *v)
{
    return gi_cpu_split(d, &(gi_split){ .units = v->panels,
                                        .rows = v->m,
                                        .weights = (double)(v->n * v->k),
                                        .input = (double)(v->m * v->k),
                                        .traffic = 0.2 });
}

static gopt_status prepare_packed(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    matmul *v = gi_cpu_own(c, sizeof(*v));
    gi_operands o;
    bool ok;
    GI_NEED(v);
    GI_TRY(gi_epilogue_find(c, s, OP_MatMul, OP_Gemm, -1, &v->e, &ok));
    if (!ok || !gi_matmul_read(v->e.main, &o))
        return GOPT_OK;
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, o.a) && gi_epilogue_values(&v->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    for (uint32_t i = 0; i < s->n_in; i++)
        c->want_in[i] = GI_PLAIN;
    c->want_out[0] = GI_PLAIN;
    v->m = o.m;
    v->n = o.n;
    v->k = o.k;
    v->a = 0;
    v->add = v->e.add ? gi_cpu_in_index(s, v->e.add) : -1;
    v->panels = (v->n + 2 * d->block - 1) / (2 * d->block);
    v->tap = (gk_tap){ 0, v->k };
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, &ok));
    if (!ok)
        return GOPT_OK;
    if (!c->dry)
        GI_TRY(pack(d, s, c, v, &o));
    v->split = choose_split(d, v);
    v->strip = gi_max_i64(d->k->tile, STRIP_BYTES / (v->k * (int64_t)sizeof(float)) / d->k->tile * d->k->tile);
    v->strip = gi_min_i64(v->strip, v->m);
    v->repack = v->k % 1024 == 0 && v->m > 2;
    v->row = v->repack ? v->k + 16 : v->k;
    v->scratch = gi_epilogue_scratch(&v->e) + (v->repack ? (uint64_t)(v->strip * v->row) * sizeof(float) : 0);
    v->scratch = (v->scratch + 63) & ~(uint64_t)63;
    s->scratch = v->scratch * (uint64_t)d->threads;
    s->gflop = 2e-9 * (double)v->m * (double)v->n * (double)v->k;
    if (v->add > 0 && !v->e.n_rest)
        s->in_place = v->add;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

static void packed_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const matmul *v = j->v;
    const int split = n_workers % v->split ? 1 : v->split;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * v->scratch;
    const float *a = j->args->in[v->a].host, *add = v->add >= 0 ? j->args->in[v->add].host : NULL;
    float *c = j->args->out[0].host;
    const int64_t lanes2 = 2 * j->d->block;
    int64_t p0, p1, r0, r1;
    gi_share(v->panels, 1, worker % split, split, &p0, &p1);
    gi_share(v->m, 1, worker / split, n_workers / split, &r0, &r1);
    gk_conv_tile t = tile_of(j);
    for (int64_t at = r0; at < r1 && p0 < p1; at += v->strip) {
        const int64_t end = gi_min_i64(r1, at + v->strip);
        const float *rows = a;
        if (v->repack) {
            float *to = (float *)(void *)(scratch + gi_epilogue_scratch(&v->e));
            for (int64_t r = at; r < end; r++)
                memcpy(to + (r - at) * v->row, a + r * v->k, (size_t)v->k * sizeof(float));
            rows = to - at * v->row;
        }
        for (int64_t p = p0; p < p1; p++) {
            t.w = v->weights + p * v->k * lanes2;
            t.bias = v->bias + p * lanes2;
            t.columns = (int)gi_min_i64(lanes2, v->n - p * lanes2);
            run_rows(j, &t, rows, c + p * lanes2, add ? add + p * lanes2 : NULL, at, end);
        }
        for (int64_t r = at; v->e.program && r < end; r++)
            gi_epilogue_run(j->d, &v->e, j->args, r * v->n + p0 * lanes2, r * v->n + gi_min_i64(v->n, p1 * lanes2),
                            scratch);
    }
}

static gopt_status run_packed(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, packed_part, &j);
    return GOPT_OK;
}

/* ---- B is computed ---- */

static bool read_batched(const gi_node *n, matmul *v)
{
    int ra, rb, ry;
    int64_t a[GOPT_MAX_RANK], b[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    if (n->op != OP_MatMul || !gi_cpu_static_f32(gi_node_in(n, 0), &ra, a) ||
        !gi_cpu_static_f32(gi_node_in(n, 1), &rb, b) || !gi_cpu_static_f32(n->out[0], &ry, y) || ra < 2 || rb < 2 ||
        gi_product(0, ry, y) <= 0)
        return false;
    v->m = a[ra - 2];
    v->k = a[ra - 1];
    v->n = b[rb - 1];
    if (v->k <= 0 || b[rb - 2] != v->k || !gi_broadcast_dims(ra - 2, a, rb - 2, b, &v->rank, v->batch_dims) ||
        v->rank != ry - 2 || y[ry - 2] != v->m || y[ry - 1] != v->n ||
        memcmp(v->batch_dims, y, (size_t)v->rank * sizeof *y) != 0)
        return false;
    v->batch = gi_product(0, v->rank, y);
    gi_broadcast_strides(ra - 2, a, v->rank, y, v->a_strides);
    gi_broadcast_strides(rb - 2, b, v->rank, y, v->b_strides);
    return true;
}

static gopt_status prepare_batched(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    matmul *v = gi_cpu_own(c, sizeof(*v));
    bool ok;
    GI_NEED(v);
    GI_TRY(gi_epilogue_find(c, s, OP_MatMul, OP_MatMul, -1, &v->e, &ok));
    if (!ok || !read_batched(v->e.main, v))
        return GOPT_OK;
    gi_value *a = gi_node_in(v->e.main, 0), *b = gi_node_in(v->e.main, 1);
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, a) && (a == b || gi_push(c->arena, &in, b)) &&
            gi_epilogue_values(&v->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    for (uint32_t i = 0; i < s->n_in; i++)
        c->want_in[i] = GI_PLAIN;
    c->want_out[0] = GI_PLAIN;
    v->a = 0;
    v->b = a == b ? 0 : 1;
    v->add = v->e.add ? gi_cpu_in_index(s, v->e.add) : -1;
    v->panels = (v->n + 2 * d->block - 1) / (2 * d->block);
    v->tap = (gk_tap){ 0, v->k };
    v->row = v->k;
    if (v->e.bias) {
        v->bias = gi_cpu_pack(d, s, c, (size_t)(v->panels * 2 * d->block) * sizeof(float));
        GI_NEED(v->bias);
        memset(v->bias, 0, (size_t)(v->panels * 2 * d->block) * sizeof(float));
        memcpy(v->bias, v->e.bias->data, (size_t)v->n * sizeof(float));
    }
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, &ok));
    if (!ok)
        return GOPT_OK;
    v->scratch = gi_epilogue_scratch(&v->e) + (uint64_t)(v->k * 2 * d->block) * sizeof(float);
    v->scratch = (v->scratch + 63) & ~(uint64_t)63;
    s->scratch = v->scratch * (uint64_t)d->threads;
    s->gflop = 2e-9 * (double)v->batch * (double)v->m * (double)v->n * (double)v->k;
    if (v->add > v->b && !v->e.n_rest)
        s->in_place = v->add;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

static void pack_panel(const matmul *v, const float *b, int64_t first, int64_t lanes2, float *to)
{
    const int64_t count = gi_min_i64(lanes2, v->n - first);
    for (int64_t k = 0; k < v->k; k++, to += lanes2) {
        memcpy(to, b + k * v->n + first, (size_t)count * sizeof(float));
        for (int64_t i = count; i < lanes2; i++)
            to[i] = 0.0f;
    }
}

static void batched_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const matmul *v = j->v;
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * v->scratch;
    float *panel = (float *)(void *)(scratch + gi_epilogue_scratch(&v->e));
    const int64_t lanes2 = 2 * j->d->block;
    const float *add = v->add >= 0 ? j->args->in[v->add].host : NULL;
    gk_conv_tile t = tile_of(j);
    int64_t from, to;
    gi_share(v->batch * v->panels, 1, worker, n_workers, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t first = i % v->panels * lanes2;
        int64_t rest = i / v->panels, at_a = 0, at_b = 0;
        const int64_t at_c = rest * v->m * v->n + first;
        for (int k = v->rank - 1; k >= 0; k--) {
            at_a += rest % v->batch_dims[k] * v->a_strides[k];
            at_b += rest % v->batch_dims[k] * v->b_strides[k];
            rest /= v->batch_dims[k];
        }
        const float *a = (const float *)j->args->in[v->a].host + at_a * v->m * v->k;
        pack_panel(v, (const float *)j->args->in[v->b].host + at_b * v->k * v->n, first, lanes2, panel);
        t.w = panel;
        t.bias = v->bias ? v->bias + first : NULL;
        t.columns = (int)gi_min_i64(lanes2, v->n - first);
        float *c = (float *)j->args->out[0].host + at_c;
        run_rows(j, &t, a, c, add ? add + at_c : NULL, 0, v->m);
        for (int64_t r = 0; v->e.program && r < v->m; r++)
            gi_epilogue_run(j->d, &v->e, j->args, at_c + r * v->n, at_c + r * v->n + t.columns, scratch);
    }
}

static gopt_status run_batched(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, batched_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_matmul_packed = {
    .name = "matmul_packed", .prepare = prepare_packed, .run = run_packed, .packs = true
};
const gi_tactic gi_tactic_matmul_batched = { .name = "matmul_batched", .prepare = prepare_batched, .run = run_batched };
