/* Inputs to f32 or f64 and results back, and the checks that the families share. */
#include "ops/real.h"

#include <math.h>

static bool is_numeric(gopt_dtype t)
{
    const gi_dclass k = gi_dtype_class(t);
    return k == GI_FLOAT || k == GI_SINT || k == GI_UINT || k == GI_BOOLEAN;
}

static int64_t saturate_bound(gopt_dtype t, bool upper)
{
    const int bits = gopt_dtype_bits(t);
    if (gi_dtype_class(t) == GI_UINT) {
        if (!upper)
            return 0;
        return bits >= 63 ? INT64_MAX : (INT64_C(1) << bits) - 1;
    }
    if (bits >= 64)
        return upper ? INT64_MAX : INT64_MIN;
    return upper ? (INT64_C(1) << (bits - 1)) - 1 : -(INT64_C(1) << (bits - 1));
}

static void store_saturated(gopt_dtype to, void *y, size_t i, double x)
{
    const int64_t low = saturate_bound(to, false), high = saturate_bound(to, true);
    const double r = rint(x);
    int64_t v = 0;
    if (r >= (double)high)
        v = high;
    else if (r <= (double)low)
        v = low;
    else if (r == r)
        v = (int64_t)r;
    gi_store_i64(to, y, i, v);
}

static void convert_to_f32(float *y, gopt_dtype from, const void *x, size_t n)
{
    if (from == GOPT_F32) {
        memcpy(y, x, n * sizeof *y);
    } else if (from == GOPT_F16) {
        const uint16_t *h = x;
        for (size_t i = 0; i < n; i++)
            y[i] = gi_f16_to_f32(h[i]);
    } else if (from == GOPT_BF16) {
        const uint16_t *h = x;
        for (size_t i = 0; i < n; i++)
            y[i] = gi_bf16_to_f32(h[i]);
    } else {
        for (size_t i = 0; i < n; i++)
            y[i] = (float)gi_load_f64(from, x, i);
    }
}

static void convert_from_f32(gopt_dtype to, void *y, const float *x, size_t n)
{
    if (to == GOPT_F16) {
        uint16_t *h = y;
        for (size_t i = 0; i < n; i++)
            h[i] = gi_f32_to_f16(x[i]);
    } else if (to == GOPT_BF16) {
        uint16_t *h = y;
        for (size_t i = 0; i < n; i++)
            h[i] = gi_f32_to_bf16(x[i]);
    } else if (gi_dtype_is_int(to)) {
        for (size_t i = 0; i < n; i++)
            store_saturated(to, y, i, (double)x[i]);
    } else {
        for (size_t i = 0; i < n; i++)
            gi_store_f64(to, y, i, (double)x[i]);
    }
}

void gi_convert(gopt_dtype to, void *y, gopt_dtype from, const void *x, size_t n)
{
    if (n == 0)
        return;
    if (to == GOPT_F32) {
        convert_to_f32(y, from, x, n);
    } else if (from == GOPT_F32) {
        convert_from_f32(to, y, x, n);
    } else if (gi_dtype_is_int(to) && gi_dtype_class(from) == GI_FLOAT) {
        for (size_t i = 0; i < n; i++)
            store_saturated(to, y, i, gi_load_f64(from, x, i));
    } else if (gi_dtype_is_int(to)) {
        const int64_t low = saturate_bound(to, false), high = saturate_bound(to, true);
        for (size_t i = 0; i < n; i++)
            gi_store_i64(to, y, i, gi_min_i64(gi_max_i64(gi_load_i64(from, x, i), low), high));
    } else {
        for (size_t i = 0; i < n; i++)
            gi_store_f64(to, y, i, gi_load_f64(from, x, i));
    }
}

gopt_status gi_real_in(gi_eval *a, uint32_t i, gopt_dtype real, const void **p)
{
    *p = NULL;
    const gopt_tensor *t = i < a->n_in ? a->in[i] : NULL;
    if (!t)
        return GOPT_OK;
    if (t->kind != GOPT_TENSOR || !is_numeric(t->dtype))
        return gi_eval_fail(a, (int)i, "expected a tensor of numbers");
    if (t->dtype == real) {
        *p = t->data;
        return GOPT_OK;
    }
    const size_t n = (size_t)gopt_tensor_elements(t);
    void *copy = gi_eval_scratch(a, n + 1, gi_item_size(real));
    GI_NEED(copy);
    gi_convert(real, copy, t->dtype, t->data, n);
    *p = copy;
    return GOPT_OK;
}

gopt_status gi_real_out_as(gi_eval *a, uint32_t i, gopt_dtype dtype, gopt_dtype real, int rank, const int64_t *dims,
                           gi_real *out)
{
    *out = (gi_real){ .real = real };
    GI_TRY(gi_eval_out(a, i, dtype, rank, dims, &out->t));
    if (!out->t)
        return GOPT_OK;
    if (dtype == real) {
        out->p = out->t->data;
        return GOPT_OK;
    }
    out->p = gi_eval_scratch(a, (size_t)gopt_tensor_elements(out->t) + 1, gi_item_size(real));
    GI_NEED(out->p);
    return GOPT_OK;
}

gopt_status gi_real_out(gi_eval *a, uint32_t i, gopt_dtype dtype, int rank, const int64_t *dims, gi_real *out)
{
    return gi_real_out_as(a, i, dtype, gi_real_of(dtype), rank, dims, out);
}

void gi_real_store(const gi_real *out)
{
    if (out->t && out->p != out->t->data)
        gi_convert(out->t->dtype, out->t->data, out->real, out->p, (size_t)gopt_tensor_elements(out->t));
}

gopt_status gi_real_expand(gi_eval *a, gopt_dtype real, const void *x, int rank_from, const int64_t *from, int rank_to,
                           const int64_t *to, const void **y)
{
    *y = NULL;
    int r = 0;
    int64_t all[GOPT_MAX_RANK], strides[GOPT_MAX_RANK], at[GOPT_MAX_RANK] = { 0 };
    if (rank_from > rank_to || !gi_broadcast_dims(rank_from, from, rank_to, to, &r, all) || r != rank_to ||
        memcmp(all, to, (size_t)rank_to * sizeof *to) != 0)
        return GOPT_OK;
    const int64_t n = gi_product(0, rank_to, to);
    if (gi_product(0, rank_from, from) == n) {
        *y = x;
        return GOPT_OK;
    }
    const size_t item = gi_item_size(real);
    char *copy = gi_eval_scratch(a, (size_t)n + 1, item);
    GI_NEED(copy);
    gi_broadcast_strides(rank_from, from, rank_to, to, strides);
    int64_t offset = 0;
    for (int64_t i = 0; i < n; i++) {
        memcpy(copy + (size_t)i * item, (const char *)x + (size_t)offset * item, item);
        for (int d = rank_to - 1; d >= 0; d--) {
            offset += strides[d];
            if (++at[d] < to[d])
                break;
            offset -= strides[d] * to[d];
            at[d] = 0;
        }
    }
    *y = copy;
    return GOPT_OK;
}

/* ---- checks ---- */

gopt_status gi_eval_rank(const gi_eval *a, uint32_t i, int rank)
{
    if (i >= a->n_in || !a->in[i])
        return gi_eval_fail(a, (int)i, "expected a tensor of rank %d, found none", rank);
    if (a->in[i]->rank != rank)
        return gi_eval_fail(a, (int)i, "has rank %d, expected %d", a->in[i]->rank, rank);
    return GOPT_OK;
}

gopt_status gi_eval_rank_at_least(const gi_eval *a, uint32_t i, int rank)
{
    if (i >= a->n_in || !a->in[i])
        return gi_eval_fail(a, (int)i, "expected a tensor of rank %d or more, found none", rank);
    if (a->in[i]->rank < rank)
        return gi_eval_fail(a, (int)i, "has rank %d, expected at least %d", a->in[i]->rank, rank);
    return GOPT_OK;
}

gopt_status gi_eval_dim(const gi_eval *a, uint32_t i, int axis, int64_t size)
{
    if (i >= a->n_in || !a->in[i])
        return GOPT_OK;
    const int64_t found = a->in[i]->dims[axis];
    if (found != size)
        return gi_eval_fail(a, (int)i, "dimension %d is %lld, expected %lld", axis, (long long)found, (long long)size);
    return GOPT_OK;
}

gopt_status gi_infer_want_rank(const gi_infer *c, uint32_t i, int rank)
{
    const int found = gi_infer_rank(c, i);
    return found >= 0 && found != rank ? gi_infer_fail(c, i, "expected rank %d", rank) : GOPT_OK;
}

gopt_status gi_infer_want_rank_at_least(const gi_infer *c, uint32_t i, int rank)
{
    const int found = gi_infer_rank(c, i);
    return found >= 0 && found < rank ? gi_infer_fail(c, i, "expected rank %d or more", rank) : GOPT_OK;
}

gopt_status gi_infer_want_dim(const gi_infer *c, uint32_t i, int axis, const gi_dim *size, const char *why)
{
    if (gi_infer_rank(c, i) < 0)
        return GOPT_OK;
    if (gi_dim_equal(c->g->dims, gi_infer_dim(c, i, axis), size) != 0)
        return GOPT_OK;
    gi_str s;
    gi_str_init(&s, c->scratch);
    gi_dim_print(&s, size);
    return gi_infer_fail(c, i, "expected %s in dimension %d (%s)", s.p ? s.p : "?", axis, why);
}

gopt_status gi_infer_want_dtype(const gi_infer *c, uint32_t i, uint32_t like)
{
    const gopt_dtype found = gi_infer_dtype(c, i), want = gi_infer_dtype(c, like);
    if (found == want || found == GOPT_UNDEFINED || want == GOPT_UNDEFINED)
        return GOPT_OK;
    return gi_infer_fail(c, i, "expected %s as the first input has", gopt_dtype_name(want));
}

void gi_infer_set_like(gi_infer *c, uint32_t out, uint32_t in, int rank, const gi_dim *const *dims)
{
    if (out < c->n->n_out)
        gi_infer_set(c, out, gi_infer_dtype(c, in), dims || rank == 0 ? rank : -1, dims);
}
