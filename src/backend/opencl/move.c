/* Moves: Transpose, Concat, Split and Slice as generated copies, each a walk over dims with a stride in the
 * source and one in the result. */
#include <inttypes.h>

#include "backend/opencl/cl.h"
#include "ops/eval.h"

typedef struct walk {
    int rank;
    int64_t dims[GOPT_MAX_RANK], from[GOPT_MAX_RANK], to[GOPT_MAX_RANK];
    int64_t from_at, to_at; /* in elements */
} walk;

/* The same walk in the order in which the result lies, dims of one element left out and dims that lie together in both
 * made one, so that neighbouring items write neighbouring elements. */
static walk simplest(const walk *w)
{
    walk o = { .from_at = w->from_at, .to_at = w->to_at };
    int order[GOPT_MAX_RANK], n = 0;
    for (int k = 0; k < w->rank; k++) {
        if (w->dims[k] == 1)
            continue;
        int at = n++;
        for (; at && w->to[order[at - 1]] < w->to[k]; at--)
            order[at] = order[at - 1];
        order[at] = k;
    }
    for (int i = 0; i < n; i++) {
        const int k = order[i], last = o.rank - 1;
        if (o.rank && o.from[last] == w->from[k] * w->dims[k] && o.to[last] == w->to[k] * w->dims[k]) {
            o.dims[last] *= w->dims[k];
            o.from[last] = w->from[k];
            o.to[last] = w->to[k];
            continue;
        }
        o.dims[o.rank] = w->dims[k];
        o.from[o.rank] = w->from[k];
        o.to[o.rank++] = w->to[k];
    }
    return o;
}

/* Makes `unit` neighbouring elements one, where all lies so. */
static bool in_units(walk *w, int64_t unit)
{
    const int last = w->rank - 1;
    if (!w->rank || w->from[last] != 1 || w->to[last] != 1 || w->dims[last] % unit || w->from_at % unit ||
        w->to_at % unit)
        return false;
    for (int k = 0; k < last; k++)
        if (w->from[k] % unit || w->to[k] % unit)
            return false;
    for (int k = 0; k < last; k++) {
        w->from[k] /= unit;
        w->to[k] /= unit;
    }
    w->dims[last] /= unit;
    w->from_at /= unit;
    w->to_at /= unit;
    return true;
}

/* Where item i reads or writes. */
static void write_walk(gi_str *s, const walk *w, const int64_t *stride, int64_t at, bool small)
{
    int64_t below = 1;
    gi_str_addf(s, "%" PRId64, at);
    for (int k = w->rank - 1; k >= 0; below *= w->dims[k--]) {
        gi_str_addf(s, " + (long)(%s", small ? "(uint)i" : "i");
        if (below != 1)
            gi_str_addf(s, " / %" PRId64 "%s", below, small ? "u" : "");
        if (k > 0)
            gi_str_addf(s, " %% %" PRId64 "%s", w->dims[k], small ? "u" : "");
        gi_str_addf(s, ") * %" PRId64, stride[k]);
    }
}

static gopt_status launch_copy(gi_cl_build *b, const gi_node *n, const walk *given, const gi_value *x,
                               const gi_value *y)
{
    enum { UNIT = 16 }; /* bytes that an item moves at once */
    gi_str s;
    gi_cl_ref refs[2];
    gi_cl_view vx, vy;
    walk w = simplest(given);
    if (!gi_cl_view_of(b, x, &vx) || !gi_cl_view_of(b, y, &vy))
        return GOPT_INTERNAL;
    GI_TRY(gi_cl_find(b, x, &refs[0]));
    GI_TRY(gi_cl_find(b, y, &refs[1]));
    gi_str_init(&s, b->arena);
    gi_str_addf(&s, "// %s\n", n->op_name);
    const bool same = vx.half == vy.half;
    const char *type = vx.half ? "ushort" : gi_cl_type(x->type->dtype);
    if (same && in_units(&w, UNIT / (int64_t)refs[0].item)) {
        refs[0].item = refs[1].item = UNIT;
        type = "uint4";
    }
    if (same)
        gi_str_addf(&s,
                    "#define X_TYPE %s\n#define Y_TYPE %s\n#define LOAD(p, i) (p)[i]\n"
                    "#define STORE(v, p, i) (p)[i] = (v)\n",
                    type, type);
    else
        gi_cl_write_access(&s, &vx, &vy);
    int64_t items = 1;
    for (int k = 0; k < w.rank; k++)
        items *= w.dims[k];
    gi_str_add(&s, "__kernel void move(__global const X_TYPE *x, const ulong x_at, __global Y_TYPE *y, const ulong "
                   "y_at WALK_ARGS)\n{\n    const size_t i = get_global_id(0);\n    STORE(LOAD(x, (long)x_at + ");
    write_walk(&s, &w, w.from, w.from_at, items < INT32_MAX);
    gi_str_add(&s, "), y,\n          (long)y_at + ");
    write_walk(&s, &w, w.to, w.to_at, items < INT32_MAX);
    gi_str_add(&s, ");\n}\n");
    GI_NEED(!s.failed);
    return gi_cl_launch_kernel(b, s.p, "move", 2, refs, 0, NULL, (size_t[]){ (size_t)items, 1, 1 }, NULL);
}

/* The strides of two values as they lie. */
static bool strides_of(const gi_cl_build *b, const gi_value *x, const gi_value *y, int64_t *from, int64_t *to)
{
    gi_cl_view vx, vy;
    if (!gi_cl_view_of(b, x, &vx) || !gi_cl_view_of(b, y, &vy))
        return false;
    memcpy(from, vx.stride, sizeof vx.stride);
    memcpy(to, vy.stride, sizeof vy.stride);
    return true;
}

static gopt_status take_transpose(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *x = gi_node_in(n, 0);
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
    const int64_t *perm;
    walk w = { 0 };
    if (!gi_cl_tensor(b, x, "its input", &w.rank, dims))
        return GOPT_OK;
    const uint32_t np = gi_attr_ints(n, Transpose_at_perm, &perm);
    if (np && np != (uint32_t)w.rank)
        return GOPT_OK;
    if (!strides_of(b, x, n->out[0], strides, w.to))
        return GOPT_INTERNAL;
    for (int k = 0; k < w.rank; k++) {
        int p;
        if (!gi_axis(np ? perm[k] : w.rank - 1 - k, w.rank, &p))
            return GOPT_OK;
        w.dims[k] = dims[p];
        w.from[k] = strides[p];
    }
    *took = true;
    return launch_copy(b, n, &w, x, n->out[0]);
}

/* One part of a Concat or Split: `part` is a slab of `whole` that starts at `at` on the axis. */
static gopt_status copy_slab(gi_cl_build *b, const gi_node *n, const gi_value *part, const gi_value *whole, int axis,
                             int64_t at, bool into_whole)
{
    walk w = { .rank = part->type->rank };
    if (!gi_type_static_dims(part->type, w.dims) ||
        !strides_of(b, into_whole ? part : whole, into_whole ? whole : part, w.from, w.to))
        return GOPT_INTERNAL;
    *(into_whole ? &w.to_at : &w.from_at) = at * (into_whole ? w.to : w.from)[axis];
    return launch_copy(b, n, &w, into_whole ? part : whole, into_whole ? whole : part);
}

static uint32_t index_of(const gi_step *s, const gi_value *v)
{
    uint32_t k = 0;
    while (k < s->n_in && s->in[k] != v)
        k++;
    return k;
}

/* Where the parts of a Concat begin in it, for the memory plan: those that can be written there at once. They are dense
 * ones that are one piece of it, and images with whole chunks of channels (layout.c). */
static gopt_status find_places(gi_cl_build *b, const gi_node *n, int axis)
{
    enum { ALIGN = 64 }; /* of dense values */
    gi_step *s = b->s;
    const gi_value *whole = n->out[0];
    uint64_t *in_at = GI_NEW_ARRAY(b->c->arena, uint64_t, s->n_in + 1);
    gi_cl_view x, y;
    gi_cl_ref ref;
    int64_t at = 0;
    if (!gi_cl_view_of(b, whole, &y))
        return GOPT_INTERNAL;
    GI_TRY(gi_cl_find(b, whole, &ref));
    GI_NEED(in_at);
    for (uint32_t k = 0; k < s->n_in; k++)
        in_at[k] = GI_NOT_WITHIN;
    s->in_once = true;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = gi_node_in(n, i);
        const uint32_t k = index_of(s, v);
        uint32_t times = 0;
        for (uint32_t j = 0; j < n->n_in; j++)
            times += gi_node_in(n, j) == v;
        if (k == s->n_in || !gi_cl_view_of(b, v, &x))
            return GOPT_INTERNAL;
        const uint64_t bytes = (uint64_t)(at * y.stride[axis]) * ref.item;
        const bool piece = !y.channels_last && !x.channels_last && x.half == y.half &&
                           gi_product(0, axis, y.dims) == 1 && bytes % ALIGN == 0;
        s->in_once = s->in_once && times == 1 && !gi_value_blob(v); /* constants are copied, and may be no input */
        if (times == 1 && (piece || gi_cl_part_of(b, v, whole)))
            in_at[k] = bytes;
        at += x.dims[axis];
    }
    s->in_at = in_at;
    return GOPT_OK;
}

static gopt_status take_concat(gi_cl_build *b, const gi_node *n, bool *took)
{
    int rank, axis;
    int64_t dims[GOPT_MAX_RANK], at = 0;
    if (!gi_cl_tensor(b, n->out[0], "its result", &rank, dims) || !gi_axis(gi_attr_int(n, Concat_at_axis), rank, &axis))
        return GOPT_OK;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!gi_cl_tensor(b, gi_node_in(n, i), "an input", &rank, dims))
            return GOPT_OK;
    const bool step = !b->dry && b->s->node == n; /* and no node of a fusion */
    *took = true;
    if (step)
        GI_TRY(find_places(b, n, axis));
    for (uint32_t i = 0; i < n->n_in; i++) {
        int64_t length;
        if (!gi_type_dim_const(gi_node_in(n, i)->type, axis, &length))
            return GOPT_INTERNAL;
        if (step)
            b->within = b->s->in_at[index_of(b->s, gi_node_in(n, i))];
        b->may_lie = step && b->within != GI_NOT_WITHIN;
        const gopt_status st = copy_slab(b, n, gi_node_in(n, i), n->out[0], axis, at, true);
        b->may_lie = false;
        GI_TRY(st);
        at += length;
    }
    return GOPT_OK;
}

static gopt_status take_split(gi_cl_build *b, const gi_node *n, bool *took)
{
    int rank, axis;
    int64_t dims[GOPT_MAX_RANK], at = 0;
    const gi_value *x = gi_node_in(n, Split_in_input);
    if (!gi_cl_tensor(b, x, "its input", &rank, dims) || !gi_axis(gi_attr_int(n, Split_at_axis), rank, &axis))
        return GOPT_OK;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!gi_cl_tensor(b, n->out[i], "a result", &rank, dims))
            return GOPT_OK;
    *took = true;
    for (uint32_t i = 0; i < n->n_out; i++) {
        int64_t length;
        if (!gi_type_dim_const(n->out[i]->type, axis, &length))
            return GOPT_INTERNAL;
        if (n->out[i]->n_uses)
            GI_TRY(copy_slab(b, n, n->out[i], x, axis, at, false));
        at += length;
    }
    return GOPT_OK;
}

/* Integers that are known when the plan is made; false where they are not. */
static bool known_ints(gi_cl_build *b, gi_value *v, uint32_t room, uint32_t *n, int64_t *out)
{
    const gi_dim *const *known = v ? gi_value_known(v, n) : NULL;
    if (!known || *n > room)
        return gi_cl_decline(b, "its starts and steps are known only in a run");
    for (uint32_t i = 0; i < *n; i++)
        if (!known[i] || !gi_dim_is_const(known[i], &out[i]))
            return gi_cl_decline(b, "its starts and steps are known only in a run");
    return true;
}

static gopt_status take_slice(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_value *x = gi_node_in(n, Slice_in_data), *va = gi_node_in(n, Slice_in_axes), *vs = gi_node_in(n, Slice_in_steps);
    int64_t dims[GOPT_MAX_RANK], start[GOPT_MAX_RANK], axes[GOPT_MAX_RANK], steps[GOPT_MAX_RANK];
    uint32_t ns, na = 0, nt = 0;
    int rank;
    walk w = { 0 };
    if (!gi_cl_tensor(b, x, "its input", &rank, dims) || !gi_cl_tensor(b, n->out[0], "its result", &w.rank, w.dims) ||
        !known_ints(b, gi_node_in(n, Slice_in_starts), GOPT_MAX_RANK, &ns, start) ||
        (va && !known_ints(b, va, GOPT_MAX_RANK, &na, axes)) || (vs && !known_ints(b, vs, GOPT_MAX_RANK, &nt, steps)) ||
        (va && na != ns) || (vs && nt != ns) || ns > (uint32_t)rank || w.rank != rank)
        return GOPT_OK;
    if (!strides_of(b, x, n->out[0], w.from, w.to))
        return GOPT_INTERNAL;
    for (uint32_t i = 0; i < ns; i++) {
        int axis;
        const int64_t step = vs ? steps[i] : 1;
        if (!gi_axis(va ? axes[i] : (int64_t)i, rank, &axis) || step == 0 || step == INT64_MIN)
            return GOPT_OK;
        const int64_t d = dims[axis];
        int64_t s = start[i] < 0 ? start[i] + d : start[i];
        s = step > 0 ? gi_min_i64(gi_max_i64(s, 0), d) : gi_min_i64(gi_max_i64(s, 0), d - 1);
        w.from_at += s * w.from[axis];
        if (!gi_mul_i64(w.from[axis], w.dims[axis] > 1 ? step : 1, &w.from[axis]))
            return GOPT_OK;
    }
    *took = true;
    return launch_copy(b, n, &w, x, n->out[0]);
}

gopt_status gi_cl_take_move(gi_cl_build *b, const gi_node *n, bool *took)
{
    switch (n->op) {
    case OP_Transpose:
        return take_transpose(b, n, took);
    case OP_Concat:
        return take_concat(b, n, took);
    case OP_Split:
        return take_split(b, n, took);
    case OP_Slice:
        return take_slice(b, n, took);
    default:
        return GOPT_OK;
    }
}
