/* Contents of small shape tensors and arithmetic on dims: what type rules of the shape, movement and index
 * families share. */
#include "ops/move.h"

const gi_dim *const *gi_contents(gi_infer *c, uint32_t in, uint32_t *n)
{
    *n = 0;
    if (!gi_infer_has(c, in))
        return NULL;
    const gi_dim *const *k = gi_infer_known(c, in, n);
    if (k)
        return k;
    const gopt_dtype t = gi_infer_dtype(c, in);
    const int rank = gi_infer_rank(c, in);
    int64_t count = 1;
    if (rank < 0 || rank > 1 || (!gi_dtype_is_int(t) && t != GOPT_BOOL))
        return NULL;
    if (rank == 1 && !gi_dim_is_const(gi_infer_dim(c, in, 0), &count))
        return NULL;
    if (count < 0 || count > GI_KNOWN_MAX)
        return NULL;
    const gi_dim **fresh = GI_NEW_ARRAY(c->scratch, const gi_dim *, count ? count : 1);
    if (!fresh)
        return NULL;
    for (int64_t i = 0; i < count; i++)
        fresh[i] = gi_dim_unknown(c->g->dims, false);
    *n = (uint32_t)count;
    return fresh;
}

/* ---- contents of rank 2 and more ----
 *
 * They are kept nowhere: where a list is made of one, its way is traced back through what only moves elements.
 * Exporters turn pads around so: Reshape to [-1,2], Slice backwards, Transpose, Reshape to [-1]. */

enum { TRACE_STEPS = 64 }; /* nodes that one question may visit: chains fork at every Concat */

static bool small_dims(const gi_value *v, int *rank, int64_t *dims, uint32_t *n)
{
    int64_t count;
    if (!v || !v->type || v->type->kind != GOPT_TENSOR || v->type->rank < 0 || v->type->rank > GOPT_MAX_RANK ||
        !gi_type_elements(v->type, &count) || count > GI_KNOWN_MAX || !gi_type_static_dims(v->type, dims))
        return false;
    *rank = v->type->rank;
    *n = (uint32_t)count;
    return true;
}

static const gi_dim **constants_of(gi_infer *c, const gi_blob *b, uint32_t n)
{
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1);
    if (!gi_dtype_is_int(b->dtype) && b->dtype != GOPT_BOOL)
        return NULL;
    for (uint32_t i = 0; r && i < n; i++)
        r[i] = gi_dim_const(c->g->dims, gi_load_i64(b->dtype, b->data, i));
    return r;
}

/* Strides and offset with which a Transpose or a constant Slice reads its input; false for any other node. */
static bool read_strides(gi_infer *c, const gi_node *n, int rank, const int64_t *in_dims, int64_t *strides,
                         int64_t *offset)
{
    int64_t own[GOPT_MAX_RANK];
    const int64_t *perm;
    gi_strides(rank, in_dims, own);
    *offset = 0;
    if (n->op == OP_Transpose) {
        const uint32_t given = gi_attr_ints(n, Transpose_at_perm, &perm);
        for (int i = 0; i < rank; i++) {
            int k = rank - 1 - i;
            if (given && (given != (uint32_t)rank || !gi_axis(perm[i], rank, &k)))
                return false;
            strides[i] = own[k];
        }
        return true;
    }
    if (n->op != OP_Slice)
        return false;
    memcpy(strides, own, sizeof own);
    uint32_t counts[4];
    int64_t *v[4];
    gi_infer of = { .g = c->g, .n = (gi_node *)(uintptr_t)n, .scratch = c->scratch };
    for (uint32_t i = 0; i < 4; i++)
        if (gi_infer_has(&of, i + 1) ? !gi_infer_ints(&of, i + 1, c->scratch, &counts[i], &v[i]) : i < 2)
            return false;
    for (uint32_t i = 0; i < counts[0]; i++) {
        int k = (int)i;
        int64_t first, length;
        if (gi_infer_has(&of, Slice_in_axes) ? i >= counts[2] || !gi_axis(v[2][i], rank, &k) : k >= rank)
            return false;
        const bool stepped = gi_infer_has(&of, Slice_in_steps);
        const int64_t step = !stepped ? 1 : i < counts[3] ? v[3][i] : 0;
        if (!step || i >= counts[1])
            return false;
        gi_slice_span(in_dims[k], v[0][i], v[1][i], step, &first, &length);
        *offset += length ? first * own[k] : 0;
        strides[k] = length > 1 ? own[k] * step : own[k];
    }
    return true;
}

static const gi_dim *const *trace(gi_infer *c, gi_value *v, int *steps, uint32_t *n);

static const gi_dim *const *trace_concat(gi_infer *c, const gi_node *node, int rank, const int64_t *dims, int *steps)
{
    int64_t part[GOPT_MAX_RANK], from[GOPT_MAX_RANK], to[GOPT_MAX_RANK], at = 0;
    int axis, part_rank;
    uint32_t count, known;
    const gi_dim **r = GI_NEW_ARRAY(c->scratch, const gi_dim *, GI_KNOWN_MAX + 1);
    if (!r || !gi_axis(gi_attr_int(node, Concat_at_axis), rank, &axis))
        return NULL;
    gi_strides(rank, dims, to);
    for (uint32_t i = 0; i < node->n_in; i++) {
        gi_value *in = gi_node_in(node, i);
        const gi_dim *const *p =
            small_dims(in, &part_rank, part, &count) && part_rank == rank ? trace(c, in, steps, &known) : NULL;
        bool fits = p && known == count && at + part[axis] <= dims[axis];
        for (int k = 0; fits && k < rank; k++)
            fits = k == axis || part[k] == dims[k];
        if (!fits)
            return NULL;
        gi_strides(rank, part, from);
        if (count)
            gi_move_nd(rank, part, (uint8_t *)(r + at * to[axis]), to, (const uint8_t *)p, from, sizeof *r);
        at += part[axis];
    }
    return at == dims[axis] ? r : NULL;
}

static const gi_dim *const *trace(gi_infer *c, gi_value *v, int *steps, uint32_t *n)
{
    int rank, in_rank;
    int64_t dims[GOPT_MAX_RANK], in_dims[GOPT_MAX_RANK], from[GOPT_MAX_RANK], to[GOPT_MAX_RANK], offset;
    uint32_t count, in_count;
    const gi_dim *const *known = v ? gi_value_known(v, n) : NULL;
    if (known || !small_dims(v, &rank, dims, &count))
        return known;
    const gi_blob *b = gi_value_blob(v);
    *n = count;
    if (b)
        return constants_of(c, b, count);
    const gi_node *node = gi_value_node(v);
    gi_value *in = node && (*steps)-- > 0 ? gi_node_in(node, 0) : NULL;
    if (in && node->op == OP_Concat)
        return trace_concat(c, node, rank, dims, steps);
    if (!in || !small_dims(in, &in_rank, in_dims, &in_count))
        return NULL;
    const gi_dim *const *of_in = trace(c, in, steps, &in_count);
    if (!of_in)
        return NULL;
    const bool whole = gi_dtype_is_int(in->type->dtype) && gi_dtype_is_int(v->type->dtype);
    if (gi_op_get(node->op)->traits & GI_VIEW || (!strcmp(gi_op_get(node->op)->name, "Cast") && whole))
        return in_count == count ? of_in : NULL;
    if (in_rank != rank || !read_strides(c, node, rank, in_dims, from, &offset))
        return NULL;
    const gi_dim **moved = GI_NEW_ARRAY(c->scratch, const gi_dim *, count + 1);
    if (!moved)
        return NULL;
    gi_strides(rank, dims, to);
    if (count)
        gi_move_nd(rank, dims, (uint8_t *)moved, to, (const uint8_t *)(of_in + offset), from, sizeof *moved);
    return moved;
}

const gi_dim *const *gi_traced(gi_infer *c, uint32_t in, uint32_t *n)
{
    *n = 0;
    int steps = TRACE_STEPS;
    return trace(c, gi_node_in(c->n, in), &steps, n);
}

gopt_status gi_set(gi_infer *c, uint32_t out, gopt_dtype t, int rank, const gi_dim *const *dims)
{
    for (int i = 0; i < rank; i++)
        GI_NEED(dims[i]);
    gi_infer_set(c, out, t, rank, dims);
    return GOPT_OK;
}

gopt_status gi_set_known(gi_infer *c, uint32_t out, uint32_t n, const gi_dim *const *known)
{
    if (n > GI_KNOWN_MAX)
        return GOPT_OK;
    const gi_dim **own = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1);
    GI_NEED(own);
    for (uint32_t i = 0; i < n; i++) {
        GI_NEED(known[i]);
        own[i] = known[i];
    }
    gi_infer_set_known(c, out, n, own);
    return GOPT_OK;
}

int gi_dims_of(gi_infer *c, uint32_t in, const gi_dim **dims)
{
    const int rank = gi_infer_rank(c, in);
    for (int i = 0; i < rank; i++)
        dims[i] = gi_infer_dim(c, in, i);
    return rank;
}

const gi_dim *gi_dims_product(gi_infer *c, int from, int to, const gi_dim *const *dims)
{
    const gi_dim *p = gi_dim_const(c->g->dims, 1);
    for (int i = from; i < to && p; i++)
        p = dims[i] ? gi_dim_mul(c->g->dims, p, dims[i]) : NULL;
    return p;
}

const gi_dim *gi_dims_quotient(gi_infer *c, const gi_dim *a, const gi_dim *b)
{
    const gi_dim *q = gi_dim_div_exact(c->g->dims, a, b);
    return q ? q : gi_dim_floordiv(c->g->dims, a, b);
}

gopt_status gi_axes_of(gi_infer *c, uint32_t in, int rank, int *n, int *axes)
{
    if (!gi_infer_has(c, in)) {
        *n = rank;
        for (int i = 0; i < rank; i++)
            axes[i] = i;
        return GOPT_OK;
    }
    *n = -1;
    uint32_t count;
    int64_t *v;
    if (!gi_infer_ints(c, in, c->scratch, &count, &v))
        return GOPT_OK;
    if (count > GOPT_MAX_RANK)
        return gi_infer_fail(c, in, "expected at most %d entries", GOPT_MAX_RANK);
    bool seen[GOPT_MAX_RANK] = { false };
    for (uint32_t i = 0; i < count; i++) {
        if (!gi_axis(v[i], rank, &axes[i]))
            return gi_infer_fail(c, in, "which holds axis %lld, expected -%d to %d", (long long)v[i], rank, rank - 1);
        if (seen[axes[i]])
            return gi_infer_fail(c, in, "which names axis %d twice", axes[i]);
        seen[axes[i]] = true;
    }
    *n = (int)count;
    return GOPT_OK;
}

const char *gi_dim_text(gi_infer *c, const gi_dim *d)
{
    gi_str s;
    gi_str_init(&s, c->scratch);
    if (d)
        gi_dim_print(&s, d);
    return s.p ? s.p : "?";
}

const char *gi_dims_text(gi_infer *c, int rank, const gi_dim *const *dims)
{
    gi_str s;
    gi_str_init(&s, c->scratch);
    gi_str_add(&s, "[");
    for (int i = 0; i < rank; i++) {
        if (i)
            gi_str_add(&s, ",");
        if (dims[i])
            gi_dim_print(&s, dims[i]);
    }
    gi_str_add(&s, "]");
    return s.p ? s.p : "[?]";
}
