/* Putting elements by index: ScatterElements, ScatterND, TensorScatter.
 *
 * Where two updates meet at one place without a reduction, the later one stands. */
#include "ops/scatter.h"

#include <math.h>

#include "ops/move.h"

/* ---- walks ---- */

gopt_status gi_element_walk_init(gi_eval *a, int64_t axis, const gopt_tensor *data, const gopt_tensor *indices,
                                 gi_element_walk *w)
{
    *w = (gi_element_walk){ .rank = data->rank };
    if (indices->rank != data->rank || !gi_axis(axis, data->rank, &w->axis))
        return gi_eval_fail(a, 1, "has rank %d for data of rank %d and axis %lld", indices->rank, data->rank,
                            (long long)axis);
    gi_strides(data->rank, data->dims, w->strides);
    for (int i = 0; i < w->rank; i++) {
        w->dims[i] = indices->dims[i];
        w->empty |= indices->dims[i] == 0;
        if (i != w->axis && indices->dims[i] > data->dims[i])
            return gi_eval_fail(a, 1, "has %lld at axis %d, expected at most %lld", (long long)indices->dims[i], i,
                                (long long)data->dims[i]);
    }
    const int last = w->rank - 1;
    w->row = w->dims[last];
    w->stride = w->strides[w->axis];
    w->step = w->axis == last ? 0 : 1;
    w->strides[w->axis] = 0; /* the index decides this coordinate */
    return GOPT_OK;
}

bool gi_element_walk_next(gi_element_walk *w)
{
    for (int i = w->rank - 2; i >= 0; i--) {
        w->base += w->strides[i];
        if (++w->index[i] < w->dims[i])
            return true;
        w->base -= w->strides[i] * w->dims[i];
        w->index[i] = 0;
    }
    return false;
}

gopt_status gi_index_row(gi_eval *a, uint32_t in, int64_t from, int depth, const int64_t *dims, int64_t *at)
{
    int64_t place = 0;
    for (int k = 0; k < depth; k++) {
        const int64_t x = gi_tensor_i64(a->in[in], from + k);
        if (x < -dims[k] || x >= dims[k])
            return gi_eval_fail(a, (int)in, "holds %lld at %lld, expected %lld to %lld", (long long)x,
                                (long long)from + k, (long long)-dims[k], (long long)dims[k] - 1);
        place = place * dims[k] + (x < 0 ? x + dims[k] : x);
    }
    *at = place;
    return GOPT_OK;
}

/* ---- reductions ---- */

typedef enum reduction { NONE_, ADD, MUL, MAX, MIN, BAD } reduction;

static reduction reduction_of(const char *name)
{
    static const char *const names[] = { "none", "add", "mul", "max", "min" };
    for (int i = 0; i < BAD; i++)
        if (!strcmp(name, names[i]))
            return (reduction)i;
    return BAD;
}

static double reduce_f64(reduction r, double a, double b)
{
    switch (r) {
    case ADD:
        return a + b;
    case MUL:
        return a * b;
    case MAX:
        return isnan(a) || a > b ? a : b;
    case MIN:
        return isnan(a) || a < b ? a : b;
    case NONE_:
    case BAD:
        break;
    }
    return b;
}

static int64_t reduce_i64(reduction r, int64_t a, int64_t b, bool is_unsigned)
{
    const bool more = is_unsigned ? (uint64_t)a > (uint64_t)b : a > b;
    switch (r) {
    case ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case MAX:
        return more ? a : b;
    case MIN:
        return more ? b : a;
    case NONE_:
    case BAD:
        break;
    }
    return b;
}

/* n elements of dst, from element d, reduced with those of src, from element s. */
static void combine(reduction r, gopt_dtype t, void *dst, int64_t d, const void *src, int64_t s, int64_t n)
{
    const gi_dclass kind = gi_dtype_class(t);
    for (int64_t i = 0; i < n; i++) {
        const size_t to = (size_t)(d + i), from = (size_t)(s + i);
        if (t == GOPT_F32) {
            float *y = dst;
            const float *x = src;
            y[to] = r == ADD ? y[to] + x[from] : (float)reduce_f64(r, (double)y[to], (double)x[from]);
        } else if (kind == GI_FLOAT) {
            gi_store_f64(t, dst, to, reduce_f64(r, gi_load_f64(t, dst, to), gi_load_f64(t, src, from)));
        } else {
            int64_t v = reduce_i64(r, gi_load_i64(t, dst, to), gi_load_i64(t, src, from), t == GOPT_U64);
            gi_store_i64(t, dst, to, kind == GI_BOOLEAN ? v != 0 : v);
        }
    }
}

/* ---- type rules ---- */

static gopt_status same_as_data(gi_infer *c)
{
    gi_infer_set_type(c, 0, gi_infer_type(c, 0));
    return GOPT_OK;
}

static gopt_status check_reduction(gi_infer *c, const char *name)
{
    return reduction_of(name) != BAD
               ? GOPT_OK
               : gi_infer_fail_node(c, "attribute reduction is \"%s\", expected none, add, mul, max or min", name);
}

/* A shape vector with some entries replaced: exporters write `shape[i] = v` so. `at` are the entries. */
static gopt_status scatter_known(gi_infer *c, const char *mode, uint32_t n_at, const int64_t *at)
{
    uint32_t n, n_updates;
    const gi_dim *const *data = gi_infer_known(c, 0, &n), *known[GI_KNOWN_MAX];
    const gi_dim *const *updates = gi_infer_known(c, 2, &n_updates);
    if (!data || !updates || n > GI_KNOWN_MAX || gi_infer_rank(c, 0) != 1 || strcmp(mode, "none") != 0 ||
        n_at != n_updates)
        return GOPT_OK;
    memcpy(known, data, n * sizeof *data);
    for (uint32_t i = 0; i < n_at; i++) {
        int k;
        if (!gi_axis(at[i], (int)n, &k))
            return gi_infer_fail(c, 1, "which holds %lld, expected -%u to %d", (long long)at[i], n, (int)n - 1);
        known[k] = updates[i];
    }
    return gi_set_known(c, 0, n, known);
}

gopt_status gi_infer_scatter_elements(gi_infer *c)
{
    const int rank = gi_infer_rank(c, 0), ri = gi_infer_rank(c, 1);
    int axis;
    if (c->n->op == OP_ScatterElements)
        GI_TRY(check_reduction(c, gi_attr_str(c->n, ScatterElements_at_reduction)));
    if (rank >= 0 && ri >= 0 && rank != ri)
        return gi_infer_fail(c, 1, "which has rank %d, expected %d, that of data", ri, rank);
    if (rank >= 0 && !gi_axis(gi_attr_int(c->n, ScatterElements_at_axis), rank, &axis))
        return gi_infer_fail(c, 0, "which has rank %d, which has no axis %lld", rank,
                             (long long)gi_attr_int(c->n, ScatterElements_at_axis));
    GI_TRY(same_as_data(c));
    uint32_t n;
    int64_t *at;
    if (rank != 1 || c->n->op != OP_ScatterElements || !gi_infer_ints(c, 1, c->scratch, &n, &at))
        return GOPT_OK;
    return scatter_known(c, gi_attr_str(c->n, ScatterElements_at_reduction), n, at);
}

gopt_status gi_infer_scatter_nd(gi_infer *c)
{
    const int rank = gi_infer_rank(c, ScatterND_in_data), ri = gi_infer_rank(c, ScatterND_in_indices);
    int64_t depth;
    GI_TRY(check_reduction(c, gi_attr_str(c->n, ScatterND_at_reduction)));
    if (ri == 0)
        return gi_infer_fail(c, ScatterND_in_indices, "which is a scalar, expected rank 1 or more");
    if (rank >= 0 && ri > 0 && gi_dim_is_const(gi_infer_dim(c, ScatterND_in_indices, -1), &depth) && depth > rank)
        return gi_infer_fail(c, ScatterND_in_indices, "which has rows of %lld, expected at most %d, the rank of data",
                             (long long)depth, rank);
    GI_TRY(same_as_data(c));
    uint32_t n;
    int64_t *at;
    if (rank != 1 || ri != 2 || !gi_dim_is_const(gi_infer_dim(c, ScatterND_in_indices, 1), &depth) || depth != 1 ||
        !gi_infer_ints(c, ScatterND_in_indices, c->scratch, &n, &at))
        return GOPT_OK;
    return scatter_known(c, gi_attr_str(c->n, ScatterND_at_reduction), n, at);
}

gopt_status gi_infer_tensor_scatter(gi_infer *c)
{
    const int rank = gi_infer_rank(c, TensorScatter_in_past_cache), ru = gi_infer_rank(c, TensorScatter_in_update);
    int axis;
    if (rank >= 0 && (!gi_axis(gi_attr_int(c->n, TensorScatter_at_axis), rank, &axis) || axis == 0))
        return gi_infer_fail(c, TensorScatter_in_past_cache, "which has rank %d, which axis %lld does not fit", rank,
                             (long long)gi_attr_int(c->n, TensorScatter_at_axis));
    if (rank >= 0 && ru >= 0 && rank != ru)
        return gi_infer_fail(c, TensorScatter_in_update, "which has rank %d, expected %d, that of past_cache", ru,
                             rank);
    return same_as_data(c);
}

/* ---- evaluation ---- */

/* The output starts as a copy of the data, which may already lie there. */
static gopt_status start_from_data(gi_eval *a, gi_moved *y)
{
    const gopt_tensor *x = a->in[0];
    const uint8_t *p;
    GI_TRY(gi_move_in(a, x, &p));
    GI_TRY(gi_move_out(a, 0, x->dtype, x->rank, x->dims, y));
    if (y->p && y->p != p)
        memcpy(y->p, p, (size_t)gopt_tensor_elements(x) * y->item);
    return GOPT_OK;
}

static gopt_status check_updates(gi_eval *a, reduction r)
{
    const gopt_tensor *x = a->in[0];
    const gi_dclass kind = gi_dtype_class(x->dtype);
    if (r == BAD || (r != NONE_ && (kind == GI_TEXT || kind == GI_COMPLEX || gopt_dtype_bits(x->dtype) < 8)))
        return gi_eval_fail(a, 0, "is %s, which has no such reduction", gopt_dtype_name(x->dtype));
    if (a->in[2]->dtype != x->dtype)
        return gi_eval_fail(a, 2, "is %s, expected %s as data", gopt_dtype_name(a->in[2]->dtype),
                            gopt_dtype_name(x->dtype));
    return GOPT_OK;
}

static gopt_status scatter_elements(gi_eval *a, reduction r)
{
    const gopt_tensor *x = a->in[0], *idx = a->in[1], *u = a->in[2];
    gi_element_walk w;
    GI_TRY(gi_element_walk_init(a, gi_attr_int(a->n, ScatterElements_at_axis), x, idx, &w));
    GI_TRY(check_updates(a, r));
    if (u->rank != idx->rank || (u->rank && memcmp(u->dims, idx->dims, (size_t)u->rank * sizeof *u->dims) != 0))
        return gi_eval_fail(a, 2, "has another shape than indices");
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, u, &p));
    GI_TRY(start_from_data(a, &y));
    if (!y.p)
        return GOPT_OK;
    const int64_t length = x->dims[w.axis];
    int64_t i = 0;
    for (bool more = !w.empty; more; more = gi_element_walk_next(&w))
        for (int64_t j = 0; j < w.row; j++, i++) {
            int64_t v = gi_tensor_i64(idx, i);
            if (v < -length || v >= length)
                return gi_eval_fail(a, 1, "holds %lld at %lld, expected %lld to %lld", (long long)v, (long long)i,
                                    (long long)-length, (long long)length - 1);
            v = v < 0 ? v + length : v;
            const int64_t at = w.base + j * w.step + v * w.stride;
            if (r == NONE_)
                memcpy(y.p + (size_t)at * y.item, p + (size_t)i * y.item, y.item);
            else
                combine(r, x->dtype, y.p, at, p, i, 1);
        }
    gi_move_end(&y);
    return GOPT_OK;
}

gopt_status gi_eval_scatter(gi_eval *a)
{
    return scatter_elements(a, NONE_);
}

gopt_status gi_eval_scatter_elements(gi_eval *a)
{
    return scatter_elements(a, reduction_of(gi_attr_str(a->n, ScatterElements_at_reduction)));
}

gopt_status gi_eval_scatter_nd(gi_eval *a)
{
    const gopt_tensor *x = a->in[0], *idx = a->in[1], *u = a->in[2];
    const reduction r = reduction_of(gi_attr_str(a->n, ScatterND_at_reduction));
    const int64_t depth = idx->rank ? idx->dims[idx->rank - 1] : -1;
    GI_TRY(check_updates(a, r));
    if (depth < 0 || depth > x->rank)
        return gi_eval_fail(a, ScatterND_in_indices, "has rows of %lld, expected at most %d", (long long)depth,
                            x->rank);
    const int64_t rows = gi_product(0, idx->rank - 1, idx->dims), run = gi_product((int)depth, x->rank, x->dims);
    bool fits = u->rank == idx->rank - 1 + x->rank - (int)depth;
    for (int i = 0; fits && i < u->rank; i++)
        fits = u->dims[i] == (i < idx->rank - 1 ? idx->dims[i] : x->dims[i - (idx->rank - 1) + (int)depth]);
    if (!fits)
        return gi_eval_fail(a, ScatterND_in_updates, "has a shape that fits neither indices nor data");
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, u, &p));
    GI_TRY(start_from_data(a, &y));
    if (!y.p)
        return GOPT_OK;
    for (int64_t i = 0; i < rows; i++) {
        int64_t at;
        GI_TRY(gi_index_row(a, ScatterND_in_indices, i * depth, (int)depth, x->dims, &at));
        if (r == NONE_ && run)
            memcpy(y.p + (size_t)(at * run) * y.item, p + (size_t)(i * run) * y.item, (size_t)run * y.item);
        else if (run)
            combine(r, x->dtype, y.p, at * run, p, i * run, run);
    }
    gi_move_end(&y);
    return GOPT_OK;
}

/* Input shapes of TensorScatter: those of cache and update differ at the axis alone. */
static gopt_status check_cache(gi_eval *a, int *axis)
{
    const gopt_tensor *x = a->in[0], *u = a->in[1], *at = a->n_in > 2 ? a->in[2] : NULL;
    *axis = 0;
    if (!gi_axis(gi_attr_int(a->n, TensorScatter_at_axis), x->rank, axis) || *axis == 0 || u->rank != x->rank ||
        u->dtype != x->dtype)
        return gi_eval_fail(a, 1, "has rank %d for a cache of rank %d", u->rank, x->rank);
    for (int i = 0; i < x->rank; i++)
        if (i == *axis ? u->dims[i] > x->dims[i] : u->dims[i] != x->dims[i])
            return gi_eval_fail(a, 1, "has %lld at axis %d, but the cache %lld", (long long)u->dims[i], i,
                                (long long)x->dims[i]);
    if (at && gopt_tensor_elements(at) != x->dims[0])
        return gi_eval_fail(a, 2, "has %lld entries, expected %lld", (long long)gopt_tensor_elements(at),
                            (long long)x->dims[0]);
    return GOPT_OK;
}

gopt_status gi_eval_tensor_scatter(gi_eval *a)
{
    const gopt_tensor *x = a->in[0], *u = a->in[1], *at = a->n_in > 2 ? a->in[2] : NULL;
    const bool circular = gi_attr_is(a->n, TensorScatter_at_mode, "circular");
    int axis;
    GI_TRY(check_cache(a, &axis));
    const uint8_t *p;
    gi_moved y;
    GI_TRY(gi_move_in(a, u, &p));
    GI_TRY(start_from_data(a, &y));
    if (!y.p)
        return GOPT_OK;
    const int64_t room = x->dims[axis], steps = u->dims[axis], outer = gi_product(0, axis, x->dims);
    const int64_t per_batch = gi_product(1, axis, x->dims);
    const size_t run = (size_t)gi_product(axis + 1, x->rank, x->dims) * y.item;
    for (int64_t o = 0; o < outer && steps && run; o++) {
        const int64_t start = at ? gi_tensor_i64(at, o / per_batch) : 0;
        if (start < 0 || (!circular && start > room - steps))
            return gi_eval_fail(a, 2, "holds %lld, expected 0 to %lld", (long long)start, (long long)(room - steps));
        for (int64_t s = 0, to = start % room; s < steps; s++, to = to + 1 == room ? 0 : to + 1)
            memcpy(y.p + (size_t)(o * room + to) * run, p + (size_t)(o * steps + s) * run, run);
    }
    gi_move_end(&y);
    return GOPT_OK;
}
