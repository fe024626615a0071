/* Parts of a value along one axis (parts.h). */
#include "passes/parts.h"

#include "ops/move.h"

bool gi_span_read(const gi_node *slice, gi_span *s)
{
    int64_t start[GOPT_MAX_RANK], end[GOPT_MAX_RANK], step[GOPT_MAX_RANK], axes[GOPT_MAX_RANK];
    const int rank = gi_value_rank(gi_node_in(slice, Slice_in_data));
    gi_value *a = gi_node_in(slice, Slice_in_axes), *t = gi_node_in(slice, Slice_in_steps);
    uint32_t count, n_end, n_axes, n_steps;
    *s = (gi_span){ .n = 0 };
    if (rank < 0 || !gi_value_ints(gi_node_in(slice, Slice_in_starts), start, GOPT_MAX_RANK, &count) ||
        !gi_value_ints(gi_node_in(slice, Slice_in_ends), end, GOPT_MAX_RANK, &n_end) || n_end != count ||
        (a && (!gi_value_ints(a, axes, GOPT_MAX_RANK, &n_axes) || n_axes != count)) ||
        (t && (!gi_value_ints(t, step, GOPT_MAX_RANK, &n_steps) || n_steps != count)))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        int axis;
        if (!gi_axis(a ? axes[i] : (int64_t)i, rank, &axis) || gi_span_find(s, axis) >= 0 || (t && step[i] == 0))
            return false;
        s->axis[s->n] = axis;
        s->start[s->n] = start[i];
        s->end[s->n] = end[i];
        s->step[s->n++] = t ? step[i] : 1;
    }
    return true;
}

int gi_span_find(const gi_span *s, int axis)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->axis[i] == axis)
            return (int)i;
    return -1;
}

/* No dim is as long as INT32_MAX, which is how exporters write "to the end" in 32 bits. */
bool gi_span_is_full(const gi_value *x, const gi_span *s, uint32_t i)
{
    int64_t first, length;
    const int64_t dim = gi_value_dim(x, s->axis[i]);
    if (s->step[i] != 1)
        return false;
    if (dim < 0)
        return s->start[i] == 0 && s->end[i] >= INT32_MAX;
    gi_slice_span(dim, s->start[i], s->end[i], 1, &first, &length);
    return length == dim;
}

void gi_span_remove(gi_span *s, uint32_t i)
{
    for (s->n--; i < s->n; i++) {
        s->axis[i] = s->axis[i + 1];
        s->start[i] = s->start[i + 1];
        s->end[i] = s->end[i + 1];
        s->step[i] = s->step[i + 1];
    }
}

gi_value *gi_span_build(gi_rewrite *r, gi_value *x, const gi_span *s)
{
    int64_t axes[GOPT_MAX_RANK];
    bool steps = false;
    if (!s->n)
        return x;
    for (uint32_t i = 0; i < s->n; i++) {
        axes[i] = s->axis[i];
        steps = steps || s->step[i] != 1;
    }
    gi_value *in[5] = { x, gi_const_i64(r->g, 1, s->n, s->start), gi_const_i64(r->g, 1, s->n, s->end),
                        gi_const_i64(r->g, 1, s->n, axes), steps ? gi_const_i64(r->g, 1, s->n, s->step) : NULL };
    if (!in[1] || !in[2] || !in[3] || (steps && !in[4]))
        return NULL;
    return gi_rw_build(r, OP_Slice, steps ? 5 : 4, in);
}

/* ---- parts ---- */

static bool part_of_slice(const gi_node *n, gi_part *p)
{
    gi_span s;
    int only = -1;
    if (!gi_span_read(n, &s))
        return false;
    for (uint32_t i = 0; i < s.n; i++) {
        if (gi_span_is_full(p->x, &s, i))
            continue;
        if (only >= 0)
            return false;
        only = (int)i;
    }
    if (only < 0)
        return false;
    p->axis = s.axis[only];
    p->dim = gi_value_dim(p->x, p->axis);
    p->step = s.step[only];
    if (p->dim < 0)
        return false;
    gi_slice_span(p->dim, s.start[only], s.end[only], p->step, &p->first, &p->count);
    return p->count > 0;
}

/* Constant indices that go by equal steps. */
static bool part_of_gather(const gi_node *n, gi_part *p)
{
    const gi_blob *b = gi_value_blob(gi_node_in(n, Gather_in_indices));
    if (!b || b->rank > 1 || !gi_dtype_is_int(b->dtype) ||
        !gi_axis(gi_attr_int(n, Gather_at_axis), gi_value_rank(p->x), &p->axis))
        return false;
    p->dim = gi_value_dim(p->x, p->axis);
    p->count = gi_blob_elements(b);
    p->drops = b->rank == 0;
    p->step = 1;
    if (p->dim < 0 || p->count < 1 || p->count > p->dim)
        return false;
    for (int64_t i = 0, before = 0; i < p->count; i++) {
        int64_t at = gi_load_i64(b->dtype, b->data, (size_t)i);
        at += at < 0 ? p->dim : 0;
        if (at < 0 || at >= p->dim)
            return false;
        if (i == 0)
            p->first = at;
        else if (i == 1)
            p->step = at - before;
        else if (at - before != p->step)
            return false;
        before = at;
    }
    return p->step != 0;
}

bool gi_split_lengths(const gi_node *split, int *axis, int64_t *length)
{
    if (!gi_axis(gi_attr_int(split, Split_at_axis), gi_value_rank(gi_node_in(split, Split_in_input)), axis))
        return false;
    int64_t all = 0;
    for (uint32_t i = 0; i < split->n_out; i++) {
        length[i] = gi_value_dim(split->out[i], *axis);
        if (length[i] < 0 || !gi_add_i64(all, length[i], &all))
            return false;
    }
    return true;
}

static bool part_of_split(const gi_node *n, uint32_t index, gi_part *p)
{
    if (!gi_axis(gi_attr_int(n, Split_at_axis), gi_value_rank(p->x), &p->axis))
        return false;
    p->dim = gi_value_dim(p->x, p->axis);
    p->step = 1;
    for (uint32_t i = 0; i <= index; i++) {
        const int64_t length = gi_value_dim(n->out[i], p->axis);
        if (length < 0 || length > p->dim - p->first) /* also where no Split could be like that */
            return false;
        p->first += i < index ? length : 0;
        p->count = length;
    }
    return p->count > 0;
}

bool gi_part_of(const gi_value *v, gi_part *p)
{
    const gi_node *n = gi_value_node(v);
    *p = (gi_part){ .x = n ? gi_node_in(n, 0) : NULL };
    if (!n || gi_value_rank(p->x) < 1)
        return false;
    return n->op == OP_Slice    ? part_of_slice(n, p)
           : n->op == OP_Gather ? part_of_gather(n, p)
           : n->op == OP_Split  ? part_of_split(n, v->index, p)
                                : false;
}

gi_value *gi_flipped(const gi_value *v, int axis)
{
    const gi_node *n = gi_value_node(v);
    gi_span s;
    gi_part p;
    if (n && n->op == OP_Slice && gi_span_read(n, &s) && s.n == 1 && s.axis[0] == axis && s.step[0] == -1) {
        const int64_t dim = gi_value_dim(gi_node_in(n, 0), axis);
        const bool from_last = s.start[0] == -1 || (dim > 0 && s.start[0] >= dim - 1) || s.start[0] >= INT32_MAX;
        const bool to_first = s.end[0] <= -(int64_t)INT32_MAX || (dim > 0 && s.end[0] < -dim);
        return from_last && to_first ? gi_node_in(n, 0) : NULL;
    }
    return gi_part_of(v, &p) && p.axis == axis && p.step == -1 && p.count == p.dim ? p.x : NULL;
}

gi_node *gi_split_build(gi_rewrite *r, gi_value *x, int axis, uint32_t n, const int64_t *lengths)
{
    gi_value *split = gi_const_i64(r->g, 1, n, lengths);
    gi_node *s = split ? gi_rw_node_behind(r, x, OP_Split, 2, (gi_value *[]){ x, split }, n) : NULL;
    if (!s)
        return NULL;
    gi_attr_set_int(s, Split_at_axis, axis);
    return gi_rw_done(r, s) ? s : NULL;
}
