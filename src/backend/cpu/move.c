/* Tactic "move": operators that put elements elsewhere, as strided copies over the pool: Transpose, Slice, Concat,
 * Split, Expand, DepthToSpace, SpaceToDepth.
 *
 * A node becomes a list of copies of up to 17 dims, each dim with a stride in the source and one in the target, dims
 * that both walk alike merged. A blocked image is the same image whose items are whole blocks of channels, so Concat
 * and the like work on it unchanged where they do not cut through a block.
 *
 * What a Concat takes from a Split that cuts through lines it copies from the Split's input, and the Split
 * leaves out what nothing else reads: where boxes are decoded, the scores behind the four coordinates then stay where they are. */
#include "backend/cpu/cpu.h"

typedef struct copy {
    uint32_t in, out; /* in step->in, step->out */
    int rank;
    int64_t dims[GOPT_MAX_RANK + 1], from[GOPT_MAX_RANK + 1], to[GOPT_MAX_RANK + 1]; /* strides in items */
    int64_t from_at, to_at;
} copy;

typedef struct move {
    copy *copies;
    uint32_t n;
    int64_t item; /* bytes */
} move;

typedef struct builder {
    gi_cpu *d;
    gi_step *s;
    gi_cpu_step *c;
    move *v;
    gi_layout layout;
} builder;

/* ---- reading nodes ---- */

/* A value's dims and strides in items of the layout; false where it has none such. */
static bool shape_of(const builder *b, const gi_value *x, int *rank, int64_t *dims, int64_t *strides)
{
    if (!x || !gi_type_is_static(x->type) || !gi_type_static_dims(x->type, dims))
        return false;
    *rank = x->type->rank;
    if (gi_is_blocked(b->layout)) {
        const int64_t block = gi_cpu_layout_block(b->d, b->layout);
        if (*rank < 3 || x->type->dtype != GOPT_F32 || gi_value_blob(x) || dims[1] % block)
            return false;
        dims[1] /= block;
    }
    gi_strides(*rank, dims, strides);
    return true;
}

/* Constant integers of an input; count -1 where the input is absent. */
static bool ints_of(const gi_value *x, int64_t *count, int64_t *v)
{
    *count = -1;
    if (!x)
        return true;
    const gi_blob *b = gi_value_blob(x);
    if (!b || (b->dtype != GOPT_I64 && b->dtype != GOPT_I32) || gi_blob_elements(b) > GOPT_MAX_RANK)
        return false;
    *count = gi_blob_elements(b);
    for (int64_t i = 0; i < *count; i++)
        v[i] = gi_load_i64(b->dtype, b->data, (size_t)i);
    return true;
}

static uint32_t input_at(const builder *b, const gi_value *x)
{
    const int i = gi_cpu_in_index(b->s, x);
    return i < 0 ? 0 : (uint32_t)i;
}

static bool build_transpose(builder *b, const gi_node *n)
{
    copy *k = &b->v->copies[b->v->n++];
    const int64_t *perm;
    int rank, ry;
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
    if (!shape_of(b, gi_node_in(n, 0), &rank, dims, strides) || gi_is_blocked(b->layout) ||
        !shape_of(b, n->out[0], &ry, k->dims, k->to) || ry != rank)
        return false;
    const uint32_t np = gi_attr_ints(n, Transpose_at_perm, &perm);
    for (int i = 0; i < rank; i++) {
        const int64_t p = np ? perm[i] : rank - 1 - i;
        if (p < 0 || p >= rank || (np && np != (uint32_t)rank))
            return false;
        k->from[i] = strides[p];
    }
    k->rank = rank;
    k->in = input_at(b, gi_node_in(n, 0));
    return true;
}

static bool build_expand(builder *b, const gi_node *n)
{
    copy *k = &b->v->copies[b->v->n++];
    int rank;
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
    if (gi_is_blocked(b->layout) || !shape_of(b, gi_node_in(n, 0), &rank, dims, strides) ||
        !shape_of(b, n->out[0], &k->rank, k->dims, k->to) || rank > k->rank)
        return false;
    gi_broadcast_strides(rank, dims, k->rank, k->dims, k->from);
    k->in = input_at(b, gi_node_in(n, 0));
    return true;
}

static bool split_axis(const gi_node *n, int rank, int *axis)
{
    const int64_t a = gi_attr_int(n, Split_at_axis);
    *axis = (int)(a < 0 ? a + rank : a);
    return *axis >= 0 && *axis < rank;
}

static bool is_planned_move(const gi_cpu_plan *p, const gi_node *n, gi_opcode op)
{
    return n && n->op == op && gi_map_get(&p->nodes, (uint64_t)n->id + 1);
}

/* Is it an output of a Split, in several pieces and plain, that nothing but Concats read? */
static bool is_left_in_place(const gi_cpu_plan *p, const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    int64_t dims[GOPT_MAX_RANK];
    int axis;
    if (!p || !is_planned_move(p, n, OP_Split) || !gi_type_is_static(v->type) || !gi_type_static_dims(v->type, dims) ||
        !split_axis(n, v->type->rank, &axis) || gi_product(0, axis, dims) == 1 || gi_value_blob(gi_node_in(n, 0)) ||
        gi_cpu_layout(p, v) != GI_PLAIN || gi_cpu_layout(p, gi_node_in(n, 0)) != GI_PLAIN)
        return false;
    for (const gi_use *u = v->uses; u; u = u->next)
        if (!is_planned_move(p, u->node, OP_Concat) || gi_cpu_layout(p, u->node->out[0]) != GI_PLAIN)
            return false;
    return true;
}

/* What an input of a Concat is copied from, and where in that it begins. */
static gi_value *source_of(const gi_cpu_plan *p, gi_value *v, int64_t *strides, int64_t *at)
{
    int64_t dims[GOPT_MAX_RANK];
    int axis;
    *at = 0;
    if (!is_left_in_place(p, v))
        return v;
    const gi_node *n = gi_value_node(v);
    gi_value *x = gi_node_in(n, 0);
    if (!split_axis(n, x->type->rank, &axis) || !gi_type_is_static(x->type) || !gi_type_static_dims(x->type, dims))
        return v;
    gi_strides(x->type->rank, dims, strides);
    for (uint32_t i = 0; i < n->n_out && n->out[i] != v; i++)
        *at += gi_type_static_dims(n->out[i]->type, dims) ? dims[axis] * strides[axis] : 0;
    return x;
}

static bool build_concat(builder *b, const gi_node *n)
{
    int rank, axis, r;
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK], at = 0;
    const gi_cpu_plan *plan = b->layout == GI_PLAIN ? b->s->plan : NULL;
    if (!shape_of(b, n->out[0], &rank, dims, strides))
        return false;
    axis = (int)gi_attr_int(n, Concat_at_axis);
    axis = axis < 0 ? axis + rank : axis;
    if (axis < 0 || axis >= rank)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        copy *k = &b->v->copies[b->v->n++];
        if (!shape_of(b, gi_node_in(n, i), &r, k->dims, k->from) || r != rank)
            return false;
        memcpy(k->to, strides, sizeof(strides));
        k->rank = rank;
        k->in = input_at(b, source_of(plan, gi_node_in(n, i), k->from, &k->from_at));
        k->to_at = at * strides[axis];
        at += k->dims[axis];
    }
    return at == dims[axis];
}

static bool build_split(builder *b, const gi_node *n)
{
    int rank, axis, r;
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK], at = 0;
    if (!shape_of(b, gi_node_in(n, 0), &rank, dims, strides) || !split_axis(n, rank, &axis) || b->s->n_out != n->n_out)
        return false;
    for (uint32_t i = 0; i < n->n_out; i++) {
        copy *k = &b->v->copies[b->v->n++];
        if (!shape_of(b, n->out[i], &r, k->dims, k->to) || r != rank)
            return false;
        memcpy(k->from, strides, sizeof(strides));
        k->rank = rank;
        k->in = input_at(b, gi_node_in(n, 0));
        k->out = i;
        k->from_at = at * strides[axis];
        at += k->dims[axis];
    }
    return at == dims[axis];
}

static bool build_slice(builder *b, const gi_node *n)
{
    copy *k = &b->v->copies[b->v->n++];
    int rank, r;
    int64_t dims[GOPT_MAX_RANK], starts[GOPT_MAX_RANK], ends[GOPT_MAX_RANK], axes[GOPT_MAX_RANK], steps[GOPT_MAX_RANK];
    int64_t ns, ne, na, nt;
    if (!shape_of(b, gi_node_in(n, 0), &rank, dims, k->from) || !shape_of(b, n->out[0], &r, k->dims, k->to) ||
        r != rank || !ints_of(gi_node_in(n, 1), &ns, starts) || !ints_of(gi_node_in(n, 2), &ne, ends) ||
        !ints_of(gi_node_in(n, 3), &na, axes) || !ints_of(gi_node_in(n, 4), &nt, steps) || ns < 0 || ne != ns ||
        (na >= 0 && na != ns) || (nt >= 0 && nt != ns))
        return false;
    k->rank = rank;
    k->in = input_at(b, gi_node_in(n, 0));
    for (int64_t i = 0; i < ns; i++) {
        const int64_t axis = na < 0 ? i : axes[i] < 0 ? axes[i] + rank : axes[i], step = nt < 0 ? 1 : steps[i];
        if (axis < 0 || axis >= rank || step == 0 || step < -INT32_MAX || step > INT32_MAX)
            return false;
        int64_t d = dims[axis], start = starts[i];
        const bool channels = gi_is_blocked(b->layout) && axis == 1;
        const int64_t block = gi_cpu_layout_block(b->d, b->layout);
        if (channels)
            d *= block;
        start = start < 0 ? start + d : start;
        start = start < 0 ? 0 : start > d - (step < 0) ? d - (step < 0) : start;
        if (channels && (step != 1 || start % block))
            return false;
        k->from_at += start / (channels ? block : 1) * k->from[axis];
        k->from[axis] *= step;
    }
    return true;
}

/* Both are a Transpose of six dims. */
static bool build_depth(builder *b, const gi_node *n)
{
    copy *k = &b->v->copies[b->v->n++];
    int rank, r;
    int64_t x[GOPT_MAX_RANK], xs[GOPT_MAX_RANK], y[GOPT_MAX_RANK], ys[GOPT_MAX_RANK];
    const bool to_space = n->op == OP_DepthToSpace;
    const int64_t s = gi_attr_int(n, to_space ? (int)DepthToSpace_at_blocksize : (int)SpaceToDepth_at_blocksize);
    if (gi_is_blocked(b->layout) || s < 1 || !shape_of(b, gi_node_in(n, 0), &rank, x, xs) ||
        !shape_of(b, n->out[0], &r, y, ys) || rank != 4 || r != 4)
        return false;
    /* small: the image of fewer pixels and more channels */
    const int64_t *deep = to_space ? x : y, *ds = to_space ? xs : ys, *ws = to_space ? ys : xs;
    const int64_t ch = deep[1] / (s * s);
    const bool crd = to_space && gi_attr_is(n, DepthToSpace_at_mode, "CRD");
    const int64_t dims[6] = { deep[0], ch, deep[2], s, deep[3], s };
    const int64_t in_deep[6] = { ds[0], crd ? ds[1] * s * s : ds[1], ds[2], crd ? ds[1] * s : ds[1] * ch * s,
                                 ds[3], crd ? ds[1] : ds[1] * ch };
    const int64_t in_wide[6] = { ws[0], ws[1], ws[2] * s, ws[2], s, 1 };
    k->rank = 6;
    k->in = input_at(b, gi_node_in(n, 0));
    memcpy(k->dims, dims, sizeof(dims));
    memcpy(k->from, to_space ? in_deep : in_wide, sizeof(in_deep));
    memcpy(k->to, to_space ? in_wide : in_deep, sizeof(in_deep));
    return true;
}

typedef struct row {
    gi_opcode op;
    bool (*build)(builder *b, const gi_node *n);
    bool blocked;
} row;

static const row rows[] = {
    { OP_Transpose, build_transpose, false }, { OP_Expand, build_expand, false },
    { OP_Concat, build_concat, true },        { OP_Split, build_split, true },
    { OP_Slice, build_slice, true },          { OP_DepthToSpace, build_depth, false },
    { OP_SpaceToDepth, build_depth, false },
};

static const row *find(gi_opcode op)
{
    for (size_t i = 0; i < GI_COUNT(rows); i++)
        if (rows[i].op == op)
            return &rows[i];
    return NULL;
}

/* ---- preparing ---- */

static void move_dim(copy *k, int i, int to)
{
    const int64_t d = k->dims[i], f = k->from[i], t = k->to[i];
    for (int m = i; m < to; m++) {
        k->dims[m] = k->dims[m + 1];
        k->from[m] = k->from[m + 1];
        k->to[m] = k->to[m + 1];
    }
    k->dims[to] = d;
    k->from[to] = f;
    k->to[to] = t;
}

/* Where the innermost dim is short and the target does not walk it item by item, such as the two of SpaceToDepth, a
 * longer one goes there that it does walk so. */
static void lengthen_line(copy *k)
{
    const int last = k->rank - 1;
    if (k->dims[last] >= 8 || k->to[last] == 1)
        return;
    for (int i = last - 1; i >= 0; i--)
        if (k->to[i] == 1 && k->dims[i] >= 16) {
            move_dim(k, i, last);
            return;
        }
}

/* Merges what both walk as one dim; the innermost ends with the smallest target stride. */
static void simplify(copy *k)
{
    int r = 0;
    for (int i = 0; i < k->rank; i++) {
        if (k->dims[i] == 1)
            continue;
        if (r && k->from[r - 1] == k->from[i] * k->dims[i] && k->to[r - 1] == k->to[i] * k->dims[i]) {
            k->dims[r - 1] *= k->dims[i];
            k->from[r - 1] = k->from[i];
            k->to[r - 1] = k->to[i];
            continue;
        }
        k->dims[r] = k->dims[i];
        k->from[r] = k->from[i];
        k->to[r++] = k->to[i];
    }
    if (!r) {
        k->dims[0] = 1;
        k->from[0] = k->to[0] = 1;
        r = 1;
    }
    k->rank = r;
    lengthen_line(k);
    r = k->rank;
    /* a dim that the source walks item by item goes last but one, for transposing in tiles */
    for (int i = 0; i + 2 < r; i++)
        if (k->from[i] == 1 && k->from[r - 1] != 1) {
            move_dim(k, i, r - 2);
            break;
        }
}

/* A copy of one run, all of it, between values that lie as the tactic wants them. */
static bool is_run(const builder *b, const copy *k)
{
    const gi_cpu_step *c = b->c;
    return k->rank == 1 && k->from[0] == 1 && k->to[0] == 1 && c->have_in[k->in] == c->want_in[k->in] &&
           c->have_out[k->out] == c->want_out[k->out];
}

/* A Concat of whole runs can be spared where the parts are written in place. */
static gopt_status find_parts(builder *b)
{
    uint64_t *at = GI_NEW_ARRAY(b->c->arena, uint64_t, b->s->n_in + 1);
    GI_NEED(at);
    for (uint32_t i = 0; i < b->s->n_in; i++)
        at[i] = GI_NOT_WITHIN;
    for (uint32_t i = 0; i < b->v->n; i++) {
        const copy *k = &b->v->copies[i];
        if (at[k->in] == GI_NOT_WITHIN && is_run(b, k) && !k->from_at &&
            (uint64_t)(k->dims[0] * b->v->item) ==
                gi_cpu_layout_bytes(b->d, b->c->want_in[k->in], b->s->in[k->in]->type))
            at[k->in] = (uint64_t)(k->to_at * b->v->item);
    }
    b->s->in_at = at;
    return GOPT_OK;
}

static bool stays(const copy *k)
{
    return k->from_at == k->to_at && !memcmp(k->from, k->to, (size_t)k->rank * sizeof(*k->from));
}

/* An input whose pieces all stand where the result wants them: the result may take its place. */
static void find_in_place(builder *b)
{
    for (uint32_t i = 0; i < b->s->n_in && b->v->n > 1; i++) {
        bool all = b->c->have_in[i] == GI_PLAIN && b->c->have_out[0] == GI_PLAIN && b->layout == GI_PLAIN;
        uint32_t pieces = 0;
        for (uint32_t k = 0; k < b->v->n; k++)
            if (b->v->copies[k].in == i) {
                all = all && stays(&b->v->copies[k]) && b->v->copies[k].rank > 1;
                pieces++;
            }
        if (all && pieces)
            b->s->in_place = (int)i;
    }
}

/* A Split or Slice whose results are runs of the input is no work at all. */
static gopt_status find_views(builder *b)
{
    uint64_t *at = GI_NEW_ARRAY(b->c->arena, uint64_t, b->s->n_out + 1);
    GI_NEED(at);
    for (uint32_t i = 0; i < b->v->n; i++) {
        const copy *k = &b->v->copies[i];
        at[k->out] = (uint64_t)(k->from_at * b->v->item);
        if (!is_run(b, k) || k->from_at < 0 || at[k->out] % 64)
            return GOPT_OK;
    }
    b->s->alias = b->v->n == b->s->n_out && b->s->n_in == 1 && !gi_value_blob(b->s->in[0]);
    b->s->out_at = at;
    return GOPT_OK;
}

static bool try_layout(builder *b, const row *kind, const gi_node *n, gi_layout layout)
{
    b->layout = layout;
    b->v->n = 0;
    memset(b->v->copies, 0, (n->n_in + n->n_out + 1) * sizeof(copy));
    if (!kind->build(b, n))
        return false;
    for (uint32_t i = 0; i < b->v->n; i++)
        simplify(&b->v->copies[i]);
    for (uint32_t i = 0; i < b->s->n_in; i++)
        b->c->want_in[i] = layout;
    for (uint32_t i = 0; i < b->s->n_out; i++)
        b->c->want_out[i] = layout;
    b->v->item = gi_is_bf16(layout) ? (int64_t)sizeof(uint16_t) : (int64_t)gi_item_size(gi_node_in(n, 0)->type->dtype);
    b->v->item *= gi_cpu_layout_block(b->d, layout);
    return true;
}

/* Moves whole blocks of so many channels. */
static bool moves_blocks(const gi_cpu *d, const gi_node *n, gi_layout layout)
{
    const int64_t block = gi_cpu_layout_block(d, layout);
    const row *kind = find(n->op);
    if (!kind || !kind->blocked || n->n_out == 0)
        return false;
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!gi_cpu_static_f32(n->out[i], &rank, dims) || rank < 3 || rank > 4 || dims[1] % block)
            return false;
    const uint32_t data = n->op == OP_Concat ? n->n_in : 1;
    for (uint32_t i = 0; i < data; i++)
        if (!gi_cpu_static_f32(gi_node_in(n, i), &rank, dims) || rank < 3 || dims[1] % block ||
            gi_value_blob(gi_node_in(n, i)))
            return false;
    if (n->op == OP_Slice) { /* along the channels only whole blocks: asked of the builder, by a trial */
        copy k = { 0 };
        move v = { .copies = &k };
        gi_step s = { 0 };
        builder b = { .d = (gi_cpu *)(uintptr_t)d, .s = &s, .v = &v, .layout = layout };
        return build_slice(&b, n);
    }
    return true;
}

bool gi_move_takes_blocked(const gi_cpu *d, const gi_node *n)
{
    return moves_blocks(d, n, GI_BLOCKED);
}

/* Ways to lie that a copy may keep, the preferred first; ends with PLAIN. */
static void layouts_of(const gi_cpu *d, const gi_step *s, const gi_cpu_step *c, bool blocks, gi_layout *way)
{
    bool blocked = gi_is_blocked(c->have_out[0]), bf16 = gi_is_bf16(c->have_out[0]);
    for (uint32_t i = 0; i < s->n_in; i++)
        blocked = blocked || gi_is_blocked(c->have_in[i]);
    if (blocks && blocked && bf16 && moves_blocks(d, s->node, GI_BLOCKED_BF16))
        *way++ = GI_BLOCKED_BF16;
    if (blocks && blocked && moves_blocks(d, s->node, GI_BLOCKED))
        *way++ = GI_BLOCKED;
    if (bf16)
        *way++ = GI_PLAIN_BF16;
    *way = GI_PLAIN;
}

bool gi_move_takes_bf16(const gi_cpu *d, const gi_node *n)
{
    return moves_blocks(d, n, GI_BLOCKED_BF16);
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    const gi_node *n = s->node;
    const row *kind = find(n->op);
    const gi_value *x = gi_node_in(n, 0);
    if (!kind || !x || !s->n_out || !gi_type_is_static(x->type) || x->type->dtype == GOPT_STRING ||
        !gi_item_size(x->type->dtype))
        return GOPT_OK;
    const uint32_t data = n->op == OP_Concat ? n->n_in : 1;
    for (uint32_t i = 0; i < data; i++)
        if (!gi_node_in(n, i) || gi_node_in(n, i)->type->dtype != x->type->dtype)
            return GOPT_OK;
    gi_values in = { 0 };
    bool through = false;
    for (uint32_t i = 0; i < data; i++) {
        bool known = false;
        int64_t strides[GOPT_MAX_RANK], at;
        gi_value *from = n->op == OP_Concat ? source_of(s->plan, gi_node_in(n, i), strides, &at) : gi_node_in(n, i);
        through = through || from != gi_node_in(n, i);
        for (size_t k = 0; k < in.n; k++)
            known = known || in.p[k] == from;
        GI_NEED(known || gi_push(c->arena, &in, from));
    }
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    move *v = gi_cpu_own(c, sizeof(*v));
    GI_NEED(v);
    v->copies = GI_NEW_ARRAY(c->arena, copy, n->n_in + n->n_out + 1);
    GI_NEED(v->copies);
    builder b = { d, s, c, v, GI_PLAIN };
    gi_layout ways[4];
    int i = 0;
    layouts_of(d, s, c, kind->blocked && !through, ways);
    while (!try_layout(&b, kind, n, ways[i]))
        if (ways[i++] == GI_PLAIN)
            return GOPT_OK;
    if (n->op == OP_Concat) {
        GI_TRY(find_parts(&b));
        find_in_place(&b);
    } else if (n->op == OP_Split || n->op == OP_Slice)
        GI_TRY(find_views(&b));
    c->own = v;
    s->skips_unread = true;
    *took = true;
    return GOPT_OK;
}

/* ---- running ---- */

typedef struct job {
    const gi_cpu *d;
    const move *v;
    const gi_run_args *args;
} job;

#define STRIDED(T)                                  \
    do {                                            \
        const T *f = (const T *)(const void *)from; \
        T *t = (T *)(void *)to;                     \
        for (int64_t i = 0; i < n; i++)             \
            t[i * ts] = f[i * fs];                  \
    } while (0)

static void copy_line(const gi_cpu *d, const char *from, int64_t fs, char *to, int64_t ts, int64_t n, int64_t item)
{
    if (n <= 0) /* an empty tensor may have no address at all */
        return;
    if (fs == 1 && ts == 1) {
        memcpy(to, from, (size_t)(n * item));
        return;
    }
    if (item == 4 && fs == 2 && ts == 1) {
        d->k->every_second((size_t)n, (const float *)(const void *)from, (float *)(void *)to);
        return;
    }
    switch (item) {
    case 1:
        STRIDED(uint8_t);
        return;
    case 2:
        STRIDED(uint16_t);
        return;
    case 4:
        STRIDED(uint32_t);
        return;
    case 8:
        STRIDED(uint64_t);
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * ts * item, from + i * fs * item, (size_t)item);
    }
}

/* The two innermost dims. */
static void copy_plane(const job *j, const copy *k, const char *from, char *to, int64_t i0, int64_t i1)
{
    const int64_t item = j->v->item, n = k->dims[k->rank - 1], fs = k->from[k->rank - 1], ts = k->to[k->rank - 1];
    const int64_t f2 = k->from[k->rank - 2], t2 = k->to[k->rank - 2];
    if (item == 4 && ts == 1 && f2 == 1 && fs > 0 && t2 > 0) {
        j->d->k->transpose((size_t)n, (size_t)(i1 - i0), (const float *)(const void *)from + i0, fs,
                           (float *)(void *)to + i0 * t2, t2);
        return;
    }
    for (int64_t i = i0; i < i1; i++)
        copy_line(j->d, from + i * f2 * item, fs, to + i * t2 * item, ts, n, item);
}

static void run_copy(const job *j, const copy *k, int worker, int n_workers)
{
    const int64_t item = j->v->item;
    const char *src = (const char *)j->args->in[k->in].host + k->from_at * item;
    char *const out = j->args->out[k->out].host;
    int64_t from, to;
    if (!out) /* nothing reads it */
        return;
    char *dst = out + k->to_at * item;
    if (src == dst && (k->rank == 1 || stays(k))) /* written in place */
        return;
    if (k->rank == 1) {
        gi_share(k->dims[0], 1024, worker, n_workers, &from, &to);
        copy_line(j->d, src + from * k->from[0] * item, k->from[0], dst + from * k->to[0] * item, k->to[0], to - from,
                  item);
        return;
    }
    const int outer = k->rank - 2;
    const int64_t planes = gi_product(0, outer, k->dims), lines = k->dims[outer];
    gi_share(planes * lines, 1, worker, n_workers, &from, &to);
    while (from < to) {
        int64_t rest = from / lines, f = 0, t = 0;
        const int64_t at = from % lines, count = gi_min_i64(to - from, lines - at);
        for (int i = outer - 1; i >= 0; i--) {
            f += rest % k->dims[i] * k->from[i];
            t += rest % k->dims[i] * k->to[i];
            rest /= k->dims[i];
        }
        copy_plane(j, k, src + f * item, dst + t * item, at, at + count);
        from += count;
    }
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    for (uint32_t i = 0; i < j->v->n; i++)
        run_copy(j, &j->v->copies[i], worker, n_workers);
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    job j = { d, c->own, args };
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < s->n_out; i++)
        bytes += args->out[i].bytes;
    if (bytes < 4096) /* not worth waking anyone */
        run_part(&j, 0, 1);
    else
        gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_move = { .name = "move", .prepare = prepare, .run = run };
