/* Picking elements by index: Gather and its kin, OneHot, Compress. What puts elements lies in scatter.c. */
#include "ops/eval.h"
#include "ops/infer.h"
#include "ops/move.h"
#include "ops/scatter.h"

/* ---- Gather ---- */

/* A picked entry of known contents, for each known constant index. */
static gopt_status gather_known(gi_infer *c)
{
    uint32_t n, n_indices;
    const gi_dim *const *data = gi_infer_known(c, Gather_in_data, &n), *picked[GI_KNOWN_MAX];
    const gi_dim *const *indices = gi_infer_known(c, Gather_in_indices, &n_indices);
    if (!data || !indices || gi_infer_rank(c, Gather_in_data) != 1 || n_indices > GI_KNOWN_MAX)
        return GOPT_OK;
    for (uint32_t i = 0; i < n_indices; i++) {
        int64_t v;
        int at;
        if (!gi_dim_is_const(indices[i], &v) || !gi_axis(v, (int)n, &at))
            return GOPT_OK;
        picked[i] = data[at];
    }
    return gi_set_known(c, 0, n_indices, picked);
}

/* Small constant indices are checked before anything runs. */
static gopt_status gather_bounds(gi_infer *c, const gi_dim *dim, int axis)
{
    uint32_t n;
    int64_t length, v;
    const gi_dim *const *indices = gi_infer_known(c, Gather_in_indices, &n);
    if (!indices || !gi_dim_is_const(dim, &length))
        return GOPT_OK;
    for (uint32_t i = 0; i < n; i++)
        if (gi_dim_is_const(indices[i], &v) && (v < -length || v >= length))
            return gi_infer_fail(c, Gather_in_indices,
                                 "which holds %lld, expected %lld to %lld: data has %lld at axis %d", (long long)v,
                                 (long long)-length, (long long)length - 1, (long long)length, axis);
    return GOPT_OK;
}

static gopt_status infer_gather(gi_infer *c)
{
    const gi_dim *data[GOPT_MAX_RANK], *indices[GOPT_MAX_RANK], *out[2 * GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, Gather_in_data, data), ri = gi_dims_of(c, Gather_in_indices, indices);
    const gopt_dtype dtype = gi_infer_dtype(c, Gather_in_data);
    int axis, n = 0;
    if (rank < 0)
        return gi_set(c, 0, dtype, -1, NULL);
    if (!gi_axis(gi_attr_int(c->n, Gather_at_axis), rank, &axis))
        return gi_infer_fail(c, Gather_in_data, "which has rank %d, which has no axis %lld", rank,
                             (long long)gi_attr_int(c->n, Gather_at_axis));
    GI_TRY(gather_bounds(c, data[axis], axis));
    if (ri < 0)
        return gi_set(c, 0, dtype, -1, NULL);
    if (rank - 1 + ri > GOPT_MAX_RANK)
        return gi_infer_fail(c, Gather_in_indices, "which makes rank %d, expected at most %d", rank - 1 + ri,
                             GOPT_MAX_RANK);
    for (int i = 0; i < axis; i++)
        out[n++] = data[i];
    for (int i = 0; i < ri; i++)
        out[n++] = indices[i];
    for (int i = axis + 1; i < rank; i++)
        out[n++] = data[i];
    GI_TRY(gi_set(c, 0, dtype, n, out));
    return gather_known(c);
}

/* All of an input's indices as 0 … length-1, in scratch. */
static gopt_status load_indices(gi_eval *a, uint32_t in, int64_t length, int64_t **v)
{
    const gopt_tensor *t = a->in[in];
    const int64_t n = gopt_tensor_elements(t);
    int64_t *r = gi_eval_scratch(a, n ? (size_t)n : 1, sizeof *r);
    GI_NEED(r);
    for (int64_t i = 0; i < n; i++) {
        const int64_t x = gi_tensor_i64(t, i);
        if (x < -length || x >= length)
            return gi_eval_fail(a, (int)in, "holds %lld at %lld, expected %lld to %lld", (long long)x, (long long)i,
                                (long long)-length, (long long)length - 1);
        r[i] = x < 0 ? x + length : x;
    }
    *v = r;
    return GOPT_OK;
}

typedef uint32_t __attribute__((may_alias)) item4;
typedef uint64_t __attribute__((may_alias)) item8;

/* Runs of `run` bytes, the i-th from src + index[i]·run. */
static void pick_runs(uint8_t *dst, const uint8_t *src, const int64_t *index, int64_t n, size_t run)
{
    if (run == 4) {
        for (int64_t i = 0; i < n; i++)
            ((item4 *)(void *)dst)[i] = ((const item4 *)(const void *)src)[index[i]];
    } else if (run == 8) {
        for (int64_t i = 0; i < n; i++)
            ((item8 *)(void *)dst)[i] = ((const item8 *)(const void *)src)[index[i]];
    } else {
        for (int64_t i = 0; i < n; i++)
            memcpy(dst + (size_t)i * run, src + (size_t)index[i] * run, run);
    }
}

static gopt_status eval_gather(gi_eval *a)
{
    const gopt_tensor *x = a->in[Gather_in_data], *idx = a->in[Gather_in_indices];
    int axis, rank = 0;
    int64_t dims[2 * GOPT_MAX_RANK], *index;
    if (!gi_axis(gi_attr_int(a->n, Gather_at_axis), x->rank, &axis) || x->rank - 1 + idx->rank > GOPT_MAX_RANK)
        return gi_eval_fail(a, Gather_in_data, "has rank %d, which has no axis %lld", x->rank,
                            (long long)gi_attr_int(a->n, Gather_at_axis));
    GI_TRY(load_indices(a, Gather_in_indices, x->dims[axis], &index));
    for (int i = 0; i < axis; i++)
        dims[rank++] = x->dims[i];
    for (int i = 0; i < idx->rank; i++)
        dims[rank++] = idx->dims[i];
    for (int i = axis + 1; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    const int64_t outer = gi_product(0, axis, x->dims), n = gopt_tensor_elements(idx);
    const size_t run = (size_t)gi_product(axis + 1, x->rank, x->dims) * y.item;
    const size_t block = (size_t)x->dims[axis] * run;
    for (int64_t o = 0; run && o < outer; o++)
        pick_runs(y.p + (size_t)(o * n) * run, p + (size_t)o * block, index, n, run);
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- GatherElements ---- */

static gopt_status infer_gather_elements(gi_infer *c)
{
    const gi_dim *data[GOPT_MAX_RANK], *indices[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, GatherElements_in_data, data);
    const int ri = gi_dims_of(c, GatherElements_in_indices, indices);
    int axis;
    if (rank >= 0 && ri >= 0 && rank != ri)
        return gi_infer_fail(c, GatherElements_in_indices, "which has rank %d, expected %d, that of data", ri, rank);
    if (rank >= 0 && !gi_axis(gi_attr_int(c->n, GatherElements_at_axis), rank, &axis))
        return gi_infer_fail(c, GatherElements_in_data, "which has rank %d, which has no axis %lld", rank,
                             (long long)gi_attr_int(c->n, GatherElements_at_axis));
    return gi_set(c, 0, gi_infer_dtype(c, GatherElements_in_data), ri, indices);
}

static gopt_status eval_gather_elements(gi_eval *a)
{
    const gopt_tensor *x = a->in[GatherElements_in_data], *idx = a->in[GatherElements_in_indices];
    gi_element_walk w;
    int64_t *index;
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_element_walk_init(a, gi_attr_int(a->n, GatherElements_at_axis), x, idx, &w));
    GI_TRY(load_indices(a, GatherElements_in_indices, x->dims[w.axis], &index));
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, idx->rank, idx->dims, &y));
    if (!y.p)
        return GOPT_OK;
    int64_t i = 0;
    for (bool more = !w.empty; more; more = gi_element_walk_next(&w))
        for (int64_t j = 0; j < w.row; j++, i++)
            memcpy(y.p + (size_t)i * y.item, p + (size_t)(w.base + j * w.step + index[i] * w.stride) * y.item, y.item);
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- GatherND ---- */

static gopt_status infer_gather_nd(gi_infer *c)
{
    const gi_dim *data[GOPT_MAX_RANK], *indices[GOPT_MAX_RANK], *out[2 * GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, GatherND_in_data, data), ri = gi_dims_of(c, GatherND_in_indices, indices);
    const int64_t batch = gi_attr_int(c->n, GatherND_at_batch_dims);
    const gopt_dtype dtype = gi_infer_dtype(c, GatherND_in_data);
    int64_t depth;
    int n = 0;
    if (ri == 0)
        return gi_infer_fail(c, GatherND_in_indices, "which is a scalar, expected rank 1 or more");
    if (rank < 0 || ri < 0 || !gi_dim_is_const(indices[ri - 1], &depth))
        return gi_set(c, 0, dtype, -1, NULL);
    if (batch < 0 || batch >= ri || batch > rank || depth < 0 || depth > rank - batch)
        return gi_infer_fail(c, GatherND_in_indices, "whose rows do not fit data %s with batch_dims %lld",
                             gi_dims_text(c, rank, data), (long long)batch);
    for (int i = 0; i < ri - 1; i++)
        out[n++] = i < batch && gi_dim_is_const(data[i], NULL) ? data[i] : indices[i];
    for (int i = (int)(batch + depth); i < rank; i++)
        out[n++] = data[i];
    if (n > GOPT_MAX_RANK)
        return gi_infer_fail(c, GatherND_in_indices, "which makes rank %d, expected at most %d", n, GOPT_MAX_RANK);
    return gi_set(c, 0, dtype, n, out);
}

static gopt_status eval_gather_nd(gi_eval *a)
{
    const gopt_tensor *x = a->in[GatherND_in_data], *idx = a->in[GatherND_in_indices];
    const int64_t batch = gi_attr_int(a->n, GatherND_at_batch_dims), depth = idx->rank ? idx->dims[idx->rank - 1] : -1;
    int64_t dims[2 * GOPT_MAX_RANK];
    int rank = 0;
    if (batch < 0 || batch >= idx->rank || batch > x->rank || depth < 0 || depth > x->rank - batch)
        return gi_eval_fail(a, GatherND_in_indices, "has rows of %lld, which do not fit data of rank %d",
                            (long long)depth, x->rank);
    for (int i = 0; i < batch; i++)
        if (idx->dims[i] != x->dims[i])
            return gi_eval_fail(a, GatherND_in_indices, "has %lld at batch axis %d, expected %lld",
                                (long long)idx->dims[i], i, (long long)x->dims[i]);
    for (int i = 0; i < idx->rank - 1; i++)
        dims[rank++] = idx->dims[i];
    for (int i = (int)(batch + depth); i < x->rank; i++)
        dims[rank++] = x->dims[i];
    if (rank > GOPT_MAX_RANK)
        return gi_eval_fail(a, GatherND_in_indices, "makes rank %d, expected at most %d", rank, GOPT_MAX_RANK);
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    const int64_t batches = gi_product(0, (int)batch, x->dims), rows = gi_product((int)batch, idx->rank - 1, idx->dims);
    const size_t run = (size_t)gi_product((int)(batch + depth), x->rank, x->dims) * y.item;
    const size_t block = (size_t)gi_product((int)batch, x->rank, x->dims) * y.item;
    for (int64_t b = 0; b < batches; b++)
        for (int64_t r = 0; r < rows; r++) {
            int64_t at;
            GI_TRY(gi_index_row(a, GatherND_in_indices, (b * rows + r) * depth, (int)depth, x->dims + batch, &at));
            if (run)
                memcpy(y.p + (size_t)(b * rows + r) * run, p + (size_t)b * block + (size_t)at * run, run);
        }
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- OneHot ---- */

static gopt_status infer_one_hot(gi_infer *c)
{
    const gi_dim *in[GOPT_MAX_RANK], *out[GOPT_MAX_RANK + 1], *depth = NULL;
    const int rank = gi_dims_of(c, OneHot_in_indices, in);
    const gopt_dtype dtype = gi_infer_dtype(c, OneHot_in_values);
    int axis, from = 0;
    if (rank < 0)
        return gi_set(c, 0, dtype, -1, NULL);
    if (rank + 1 > GOPT_MAX_RANK || !gi_axis(gi_attr_int(c->n, OneHot_at_axis), rank + 1, &axis))
        return gi_infer_fail(c, OneHot_in_indices, "which has rank %d, to which axis %lld cannot be added", rank,
                             (long long)gi_attr_int(c->n, OneHot_at_axis));
    uint32_t n;
    int64_t v;
    const gi_dim *const *known = gi_infer_known(c, OneHot_in_depth, &n);
    const gi_blob *blob = gi_infer_blob(c, OneHot_in_depth);
    if (known && n == 1)
        depth = known[0];
    else if (blob && gi_blob_elements(blob) == 1 && gi_dtype_is_float(blob->dtype))
        depth = gi_dim_const(c->g->dims, gi_load_i64(blob->dtype, blob->data, 0));
    if (depth && gi_dim_is_const(depth, &v) && v < 0)
        return gi_infer_fail(c, OneHot_in_depth, "which is %lld, expected no negative depth", (long long)v);
    if (!depth || gi_dim_is_unknown(depth))
        depth = gi_dim_unknown(c->g->dims, true);
    for (int i = 0; i <= rank; i++)
        out[i] = i == axis ? depth : in[from++];
    return gi_set(c, 0, dtype, rank + 1, out);
}

static int64_t index_of(const gopt_tensor *t, int64_t i)
{
    if (!gi_dtype_is_float(t->dtype))
        return gi_tensor_i64(t, i);
    const double x = gi_tensor_f64(t, i);
    return x > -9e15 && x < 9e15 ? (int64_t)x : INT64_MIN;
}

static gopt_status eval_one_hot(gi_eval *a)
{
    const gopt_tensor *idx = a->in[OneHot_in_indices], *values = a->in[OneHot_in_values];
    int axis, from = 0;
    int64_t dims[GOPT_MAX_RANK + 1];
    if (idx->rank + 1 > GOPT_MAX_RANK || !gi_axis(gi_attr_int(a->n, OneHot_at_axis), idx->rank + 1, &axis))
        return gi_eval_fail(a, OneHot_in_indices, "has rank %d, to which axis %lld cannot be added", idx->rank,
                            (long long)gi_attr_int(a->n, OneHot_at_axis));
    if (gopt_tensor_elements(a->in[OneHot_in_depth]) != 1 || gopt_tensor_elements(values) != 2)
        return gi_eval_fail(a, OneHot_in_values, "has %lld elements, expected 2, and depth 1",
                            (long long)gopt_tensor_elements(values));
    const int64_t depth = index_of(a->in[OneHot_in_depth], 0);
    if (depth < 0)
        return gi_eval_fail(a, OneHot_in_depth, "is %lld, expected no negative depth", (long long)depth);
    for (int i = 0; i <= idx->rank; i++)
        dims[i] = i == axis ? depth : idx->dims[from++];
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, values, &p));
    GI_TRY(gi_move_out(a, 0, values->dtype, idx->rank + 1, dims, &y));
    if (!y.p)
        return GOPT_OK;
    gi_move_fill(y.p, gopt_tensor_elements(y.t), p, y.item);
    const int64_t outer = gi_product(0, axis, idx->dims), inner = gi_product(axis, idx->rank, idx->dims);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            const int64_t v = index_of(idx, o * inner + i);
            if (v >= -depth && v < depth)
                memcpy(y.p + (size_t)((o * depth + (v < 0 ? v + depth : v)) * inner + i) * y.item, p + y.item, y.item);
        }
    gi_move_end(&y);
    return GOPT_OK;
}

/* ---- Compress ---- */

static gopt_status infer_compress(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank = gi_dims_of(c, Compress_in_input, dims), axis = 0;
    const bool flat = !gi_attr_has(c->n, Compress_at_axis);
    if (gi_infer_rank(c, Compress_in_condition) > 1)
        return gi_infer_fail(c, Compress_in_condition, "which has rank %d, expected 1",
                             gi_infer_rank(c, Compress_in_condition));
    if (rank < 0 && !flat)
        return gi_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
    if (!flat && !gi_axis(gi_attr_int(c->n, Compress_at_axis), rank, &axis))
        return gi_infer_fail(c, Compress_in_input, "which has rank %d, which has no axis %lld", rank,
                             (long long)gi_attr_int(c->n, Compress_at_axis));
    uint32_t n;
    int64_t *keep, kept = 0;
    bool fixed = gi_infer_ints(c, Compress_in_condition, c->scratch, &n, &keep);
    for (uint32_t i = 0; fixed && i < n; i++)
        kept += keep[i] != 0;
    dims[axis] = fixed ? gi_dim_const(c->g->dims, kept) : gi_dim_unknown(c->g->dims, true);
    return gi_set(c, 0, gi_infer_dtype(c, 0), flat ? 1 : rank, dims);
}

/* Where the condition holds, into `at`; how often. An entry past `length` that holds goes to *outside. */
static int64_t find_kept(const gopt_tensor *keep, int64_t length, int64_t *at, int64_t *outside)
{
    const int64_t n = gopt_tensor_elements(keep);
    const uint8_t *holds = keep->dtype == GOPT_BOOL ? keep->data : NULL;
    int64_t kept = 0;
    *outside = -1;
    for (int64_t i = 0; i < n && i < length; i++) {
        at[kept] = i;
        kept += holds ? holds[i] != 0 : gi_tensor_i64(keep, i) != 0;
    }
    for (int64_t i = length; i < n && *outside < 0; i++)
        if (gi_tensor_i64(keep, i))
            *outside = i;
    return kept;
}

#define PICK(RUN)                   \
    for (int64_t i = 0; i < n; i++) \
    memcpy(to + i * (RUN), from + at[i] * (RUN), (size_t)(RUN))

/* Items of `run` bytes by their numbers. */
static void pick(const uint8_t *from, const int64_t *at, int64_t n, int64_t run, uint8_t *to)
{
    if (run == 4) /* of a length that is known: a move, not a call */
        PICK(4);
    else if (run == 8)
        PICK(8);
    else if (run == 16)
        PICK(16);
    else
        PICK(run);
}

static gopt_status eval_compress(gi_eval *a)
{
    const gopt_tensor *x = a->in[Compress_in_input], *keep = a->in[Compress_in_condition];
    const bool flat = !gi_attr_has(a->n, Compress_at_axis);
    int axis = 0;
    if (!flat && !gi_axis(gi_attr_int(a->n, Compress_at_axis), x->rank, &axis))
        return gi_eval_fail(a, Compress_in_input, "has rank %d, which has no axis %lld", x->rank,
                            (long long)gi_attr_int(a->n, Compress_at_axis));
    int64_t dims[GOPT_MAX_RANK] = { 0 }, outside;
    memcpy(dims, x->dims, sizeof dims);
    if (flat)
        dims[0] = gopt_tensor_elements(x);
    const int rank = flat ? 1 : x->rank;
    const int64_t length = dims[axis];
    int64_t *at = gi_eval_scratch(a, (size_t)gi_min_i64(length, gopt_tensor_elements(keep)) + 1, sizeof *at);
    GI_NEED(at);
    const int64_t kept = find_kept(keep, length, at, &outside);
    if (outside >= 0)
        return gi_eval_fail(a, Compress_in_condition, "holds at %lld, but the axis has %lld entries",
                            (long long)outside, (long long)length);
    dims[axis] = kept;
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, rank, dims, &y));
    if (!y.p)
        return GOPT_OK;
    const int64_t outer = gi_product(0, axis, dims);
    const int64_t run = gi_product(axis + 1, rank, dims) * (int64_t)y.item;
    for (int64_t o = 0; run && o < outer; o++)
        pick(p + o * length * run, at, kept, run, y.p + o * kept * run);
    gi_move_end(&y);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/index.def"
