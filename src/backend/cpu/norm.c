/* Tactic "rows": what works along one axis, over rows shared by the pool: Softmax, LayerNormalization, and sums, means
 * and maxima. An axis (or several adjoining ones) that is not the last is walked by vectors across it.
 *
 * Softmax and normalization want the last axes; a mean over the pixels of a blocked image stays blocked. */
#include "backend/cpu/rows.h"
#include "backend/cpu/window.h"

typedef struct rows {
    gi_row_op op;
    bool blocked;     /* a mean over the pixels: outer counts channel blocks */
    bool bf16;        /* of blocks of bfloat16 */
    int64_t block;    /* channels of one */
    int64_t channels; /* means written of an image: with those past the last one where they are to lie in blocks */
} rows;

static bool split_axes(int rank, const int64_t *dims, int first, int last, gi_row_op *v)
{
    v->first = first;
    v->outer = gi_product(0, first, dims);
    v->n = gi_product(first, last + 1, dims);
    v->inner = gi_product(last + 1, rank, dims);
    return v->outer > 0 && v->n > 0 && v->inner > 0;
}

/* The axes of a reduction, where they adjoin. */
static bool reduced_axes(const gi_node *n, int rank, int *first, int *last)
{
    bool on[GOPT_MAX_RANK] = { false };
    const gi_value *axes = gi_node_in(n, ReduceMean_in_axes);
    const gi_blob *b = gi_value_blob(axes);
    if (axes && (!b || b->dtype != GOPT_I64))
        return false;
    const int64_t count = b ? gi_blob_elements(b) : 0;
    if (!count && gi_attr_int(n, ReduceMean_at_noop_with_empty_axes))
        return false;
    for (int64_t i = 0; i < count; i++) {
        const int64_t a = gi_load_i64(GOPT_I64, b->data, (size_t)i);
        if (a < -rank || a >= rank)
            return false;
        on[a < 0 ? a + rank : a] = true;
    }
    *first = rank;
    *last = -1;
    for (int i = 0; i < rank; i++)
        if (on[i] || !count) {
            *first = *first == rank ? i : *first;
            *last = i;
        }
    for (int i = *first; i <= *last; i++)
        if (!on[i] && count)
            return false;
    return *last >= 0;
}

static bool pack_vector(gi_cpu *d, gi_step *s, gi_cpu_step *c, const gi_value *v, int64_t n, const float **out)
{
    const gi_blob *b = gi_value_blob(v);
    *out = NULL;
    if (!v)
        return true;
    if (!b || b->dtype != GOPT_F32 || gi_blob_elements(b) != n)
        return false;
    float *p = gi_cpu_pack(d, s, c, (size_t)n * sizeof(float));
    if (!p)
        return false;
    memcpy(p, b->data, (size_t)n * sizeof(float));
    *out = p;
    return true;
}

bool gi_row_read(gi_cpu *d, gi_step *s, gi_cpu_step *c, const gi_node *n, gi_row_op *v)
{
    int rank, first, last;
    int64_t dims[GOPT_MAX_RANK];
    *v = (gi_row_op){ .kind = GI_ROW_SUM };
    if (!n->n_in || !n->n_out || !gi_cpu_static_f32(gi_node_in(n, 0), &rank, dims) || rank < 1 || !n->out[0]->type ||
        n->out[0]->type->dtype != GOPT_F32)
        return false;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return false;
    switch (n->op) {
    case OP_Softmax: {
        const int64_t axis = gi_attr_int(n, Softmax_at_axis);
        v->kind = GI_ROW_SOFTMAX;
        first = last = (int)(axis < 0 ? axis + rank : axis);
        return first >= 0 && first < rank && split_axes(rank, dims, first, last, v) && v->inner == 1;
    }
    case OP_LayerNormalization: {
        const int64_t axis = gi_attr_int(n, LayerNormalization_at_axis);
        v->kind = GI_ROW_LAYERNORM;
        v->eps = gi_attr_float(n, LayerNormalization_at_epsilon);
        first = (int)(axis < 0 ? axis + rank : axis);
        return first >= 0 && first < rank && split_axes(rank, dims, first, rank - 1, v) &&
               pack_vector(d, s, c, gi_node_in(n, LayerNormalization_in_Scale), v->n, &v->scale) &&
               pack_vector(d, s, c, gi_node_in(n, LayerNormalization_in_B), v->n, &v->bias);
    }
    case OP_ReduceMean:
    case OP_ReduceSum:
    case OP_ReduceMax:
        v->kind = n->op == OP_ReduceMean ? GI_ROW_MEAN : n->op == OP_ReduceSum ? GI_ROW_SUM : GI_ROW_MAX;
        return reduced_axes(n, rank, &first, &last) && split_axes(rank, dims, first, last, v);
    default:
        return false;
    }
}

void gi_row_run(const gk_table *k, const gi_row_op *v, const float *x, float *y)
{
    const size_t n = (size_t)v->n;
    switch (v->kind) {
    case GI_ROW_SOFTMAX:
        k->softmax_row(n, x, y);
        break;
    case GI_ROW_LAYERNORM:
        k->layernorm_row(n, x, v->scale, v->bias, v->eps, y);
        break;
    case GI_ROW_MAX:
        *y = k->maximum(n, x);
        break;
    case GI_ROW_SUM:
        *y = k->sum(n, x);
        break;
    case GI_ROW_MEAN:
        *y = k->sum(n, x) / (float)v->n;
    }
}

/* A mean over all pixels of an image. */
static bool pixel_mean(const gi_node *n, int64_t *dims)
{
    int rank, first, last;
    return n->op == OP_ReduceMean && gi_cpu_static_f32(gi_node_in(n, 0), &rank, dims) && (rank == 3 || rank == 4) &&
           gi_product(0, rank, dims) > 0 && reduced_axes(n, rank, &first, &last) && first == 2 && last == rank - 1;
}

bool gi_rows_takes_blocked(const gi_node *n)
{
    int64_t dims[GOPT_MAX_RANK];
    return pixel_mean(n, dims);
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    rows *v = gi_cpu_own(c, sizeof(*v));
    int64_t dims[GOPT_MAX_RANK];
    GI_NEED(v);
    if (!s->n_out || !gi_type_is_static(s->out[0]->type) || !gi_row_read(d, s, c, s->node, &v->op))
        return GOPT_OK;
    gi_value *x = gi_node_in(s->node, 0);
    GI_TRY(gi_cpu_set_in(s, c, 1, &x));
    s->n_out = 1;
    c->want_in[0] = c->want_out[0] = GI_PLAIN;
    if (gi_is_blocked(c->have_in[0]) && pixel_mean(s->node, dims)) {
        v->blocked = true;
        v->bf16 = c->have_in[0] == GI_BLOCKED_BF16;
        c->want_in[0] = v->bf16 ? GI_BLOCKED_BF16 : GI_BLOCKED;
        v->block = gi_cpu_layout_block(d, c->want_in[0]);
        v->op.outer = dims[0] * ((dims[1] + v->block - 1) / v->block);
        v->channels = dims[1];
        if (gi_attr_int(s->node, ReduceMean_at_keepdims)) {
            c->want_out[0] = GI_BLOCKED;
            v->channels = (dims[1] + d->block - 1) / d->block * d->block; /* whole blocks */
        }
    }
    if (!gi_row_reduces(&v->op))
        s->in_place = 0;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

typedef struct job {
    const gi_cpu *d;
    const rows *v;
    const gi_run_args *args;
} job;

/* Across vectors of `inner` contiguous floats. */
static void reduce_across(const job *j, const float *x, float *y, int64_t from, int64_t to)
{
    const gi_row_op *v = &j->v->op;
    const gk_vop_fn op = j->d->k->vops[v->kind == GI_ROW_MAX ? GK_V_max : GK_V_add];
    memcpy(y + from, x + from, (size_t)(to - from) * sizeof(float));
    for (int64_t i = 1; i < v->n; i++)
        op((size_t)(to - from), y + from, x + i * v->inner + from, NULL, 0.0f, 0.0f, y + from);
    if (v->kind == GI_ROW_MEAN)
        j->d->k->vops[GK_V_mulp]((size_t)(to - from), y + from, NULL, NULL, 1.0f / (float)v->n, 0.0f, y + from);
}

/* The means of one block of channels, written blocked or one after another. */
static void mean_of_pixels(const job *j, const void *x, float *y, int64_t i)
{
    const rows *v = j->v;
    const int64_t block = v->block;
    float sums[64] = { 0 };
    if (v->bf16)
        j->d->k->sum_pixels_bf16((size_t)v->op.n, (const uint16_t *)x + i * v->op.n * block, sums);
    else
        j->d->k->sum_pixels((size_t)v->op.n, (const float *)x + i * v->op.n * block, sums);
    const int64_t blocks = (v->channels + block - 1) / block, first = i / blocks * v->channels + i % blocks * block;
    const int64_t count = gi_min_i64(block, v->channels - i % blocks * block);
    for (int64_t l = 0; l < count; l++)
        y[first + l] = sums[l] / (float)v->op.n;
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gi_row_op *v = &j->v->op;
    const gk_table *k = j->d->k;
    const float *x = j->args->in[0].host;
    float *y = j->args->out[0].host;
    int64_t from, to;
    if (v->inner > 1 && !j->v->blocked) {
        const int64_t chunk = 256, chunks = (v->inner + chunk - 1) / chunk;
        gi_share(v->outer * chunks, 1, worker, n_workers, &from, &to);
        for (int64_t i = from; i < to; i++)
            reduce_across(j, x + i / chunks * v->n * v->inner, y + i / chunks * v->inner, i % chunks * chunk,
                          gi_min_i64(v->inner, (i % chunks + 1) * chunk));
        return;
    }
    gi_share(v->outer, 1, worker, n_workers, &from, &to);
    if (v->kind == GI_ROW_SOFTMAX) {
        k->softmax_rows((size_t)(to - from), (size_t)v->n, x + from * v->n, y + from * v->n);
        return;
    }
    for (int64_t i = from; i < to; i++)
        if (j->v->blocked)
            mean_of_pixels(j, x, y, i);
        else
            gi_row_run(k, v, x + i * v->n, y + (gi_row_reduces(v) ? i : i * v->n));
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_rows = { .name = "rows", .prepare = prepare, .run = run, .packs = true };
