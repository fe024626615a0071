/* Walking broadcast operands row by row. */
#include "ops/walk.h"

/* Merges dim i+1 into dim i where every operand has them in one stride. */
static bool together(const gi_walk *w, int i, int64_t inner)
{
    for (int k = 0; k < w->n_in; k++)
        if (w->strides[k][i] != w->strides[k][i + 1] * inner)
            return false;
    return true;
}

void gi_walk_init(gi_walk *w, int rank, const int64_t *dims, int n_in, const gopt_tensor *const *in)
{
    int64_t strides[GI_WALK_MAX][GOPT_MAX_RANK];
    *w = (gi_walk){ .n_in = n_in, .row = 1 };
    for (int k = 0; k < n_in; k++)
        gi_broadcast_strides(in[k]->rank, in[k]->dims, rank, dims, strides[k]);
    int n = 0;
    for (int i = 0; i < rank; i++) {
        if (dims[i] == 1)
            continue;
        w->dims[n] = dims[i];
        for (int k = 0; k < n_in; k++)
            w->strides[k][n] = strides[k][i];
        n++;
        if (n > 1 && together(w, n - 2, dims[i])) {
            w->dims[n - 2] *= dims[i];
            for (int k = 0; k < n_in; k++)
                w->strides[k][n - 2] = w->strides[k][n - 1];
            n--;
        }
    }
    if (n > 0) {
        n--;
        w->row = w->dims[n];
        for (int k = 0; k < n_in; k++)
            w->step[k] = w->strides[k][n] != 0;
    }
    w->rank = n;
}

void gi_walk_run(const gi_walk *w, const void *const *in, const size_t *in_item, void *out, size_t out_item,
                 gi_row_fn f, const void *arg)
{
    const uint8_t *p[GI_WALK_MAX] = { NULL };
    int64_t at[GOPT_MAX_RANK] = { 0 };
    uint8_t *y = out;
    for (int k = 0; k < w->n_in; k++)
        p[k] = in[k];
    for (int i = 0; i < w->rank; i++)
        if (w->dims[i] == 0)
            return;
    if (w->row == 0)
        return;
    for (;;) {
        const void *row[GI_WALK_MAX];
        for (int k = 0; k < w->n_in; k++)
            row[k] = p[k];
        f(row, w->step, y, w->row, arg);
        y += (size_t)w->row * out_item;
        int i = w->rank - 1;
        for (; i >= 0; i--) {
            const bool more = ++at[i] < w->dims[i];
            for (int k = 0; k < w->n_in; k++)
                p[k] += (more ? w->strides[k][i] : -w->strides[k][i] * (w->dims[i] - 1)) * (int64_t)in_item[k];
            if (more)
                break;
            at[i] = 0;
        }
        if (i < 0)
            return;
    }
}

/* ---- 16-bit floats, in pieces, through the f32 row ---- */

enum { PIECE = 256 };

typedef struct half_arg {
    gi_row_fn f;
    const void *arg;
    gopt_dtype from, to;
    int n_in;
} half_arg;

void gi_floats_load(gopt_dtype t, const void *data, int64_t at, int64_t n, float *to)
{
    const uint16_t *h = (const uint16_t *)data + at;
    if (t == GOPT_F32)
        memcpy(to, (const float *)data + at, (size_t)n * sizeof *to);
    else if (t == GOPT_F16)
        for (int64_t i = 0; i < n; i++)
            to[i] = gi_f16_to_f32(h[i]);
    else if (t == GOPT_BF16)
        for (int64_t i = 0; i < n; i++)
            to[i] = gi_bf16_to_f32(h[i]);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = (float)gi_load_f64(t, data, (size_t)(at + i));
}

void gi_floats_store(gopt_dtype t, void *data, int64_t at, int64_t n, const float *from)
{
    uint16_t *h = (uint16_t *)data + at;
    if (t == GOPT_F32)
        memcpy((float *)data + at, from, (size_t)n * sizeof *from);
    else if (t == GOPT_F16)
        for (int64_t i = 0; i < n; i++)
            h[i] = gi_f32_to_f16(from[i]);
    else if (t == GOPT_BF16)
        for (int64_t i = 0; i < n; i++)
            h[i] = gi_f32_to_bf16(from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            gi_store_f64(t, data, (size_t)(at + i), (double)from[i]);
}

static void row_half(const void *const *in, const int *step, void *out, int64_t n, const void *arg)
{
    const half_arg *h = arg;
    float x[GI_WALK_MAX][PIECE], y[PIECE];
    const void *p[GI_WALK_MAX];
    for (int k = 0; k < h->n_in; k++)
        p[k] = x[k];
    for (int64_t i = 0; i < n; i += PIECE) {
        const int64_t piece = gi_min_i64(PIECE, n - i);
        for (int k = 0; k < h->n_in; k++)
            gi_floats_load(h->from, in[k], step[k] ? i : 0, step[k] ? piece : 1, x[k]);
        if (h->to == GOPT_BOOL) {
            h->f(p, step, (uint8_t *)out + i, piece, h->arg);
        } else {
            h->f(p, step, y, piece, h->arg);
            gi_floats_store(h->to, out, i, piece, y);
        }
    }
}

gopt_status gi_walk_table(const gi_eval *a, const gi_row_table rows, int n_in, const gopt_tensor *const *in,
                          gopt_tensor *out, const void *arg)
{
    const gopt_dtype t = in[0]->dtype;
    const bool half = t == GOPT_F16 || t == GOPT_BF16;
    gi_row_fn f = rows[half ? GOPT_F32 : t];
    const void *p[GI_WALK_MAX];
    size_t item[GI_WALK_MAX];
    gi_walk w;
    for (int k = 0; k < n_in; k++) {
        if (in[k]->dtype != t)
            return gi_eval_fail(a, k, "it has elements of type %s, expected %s", gopt_dtype_name(in[k]->dtype),
                                gopt_dtype_name(t));
        p[k] = in[k]->data;
        item[k] = (size_t)gopt_dtype_bits(t) / 8;
    }
    if (!f)
        return gi_eval_fail(a, 0, "elements of type %s are not taken", gopt_dtype_name(t));
    gi_walk_init(&w, out->rank, out->dims, n_in, in);
    const half_arg h = { .f = f, .arg = arg, .from = t, .to = out->dtype, .n_in = n_in };
    gi_walk_run(&w, p, item, out->data, (size_t)gopt_dtype_bits(out->dtype) / 8, half ? row_half : f, half ? &h : arg);
    return GOPT_OK;
}

gopt_status gi_eval_broadcast(const gi_eval *a, uint32_t n, int *rank, int64_t *dims)
{
    *rank = 0;
    for (uint32_t i = 0; i < n && i < a->n_in; i++)
        if (a->in[i] && !gi_broadcast_dims(*rank, dims, a->in[i]->rank, a->in[i]->dims, rank, dims))
            return gi_eval_fail(a, (int)i, "its shape does not broadcast with the inputs before it");
    return GOPT_OK;
}

/* ---- whole tensors ---- */

const float *gi_as_f32(gi_eval *a, const gopt_tensor *t)
{
    if (t->dtype == GOPT_F32)
        return t->data;
    const int64_t n = gopt_tensor_elements(t);
    float *p = gi_eval_scratch(a, (size_t)n, sizeof *p);
    if (p)
        gi_floats_load(t->dtype, t->data, 0, n, p);
    return p;
}

const double *gi_as_f64(gi_eval *a, const gopt_tensor *t)
{
    if (t->dtype == GOPT_F64)
        return t->data;
    const int64_t n = gopt_tensor_elements(t);
    double *p = gi_eval_scratch(a, (size_t)n, sizeof *p);
    for (int64_t i = 0; p && i < n; i++)
        p[i] = gi_tensor_f64(t, i);
    return p;
}
