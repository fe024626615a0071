/* Layouts: which values of a plan lie with channels last, and which, in fp16, are kept as halves.
 *
 * What stays within the plan's nodes is of the plan's element type, but for what is marked as staying in fp32 (fp32.h);
 * that, and what the host reads or writes, keeps its type and lies densely. Convolutions write channels last, and so do
 * the nodes that go on with such images, until one (a Reshape, a product) sees elements in their row-major order. A
 * tactic asks for views and reads any of them. */
#include <inttypes.h>

#include "backend/opencl/cl.h"

enum { DENSE = 1, LAST = 2, KEPT = 3 };

/* ---- views ---- */

gi_cl_view gi_cl_view_dense(int rank, const int64_t *dims, bool half)
{
    gi_cl_view v = { .half = half, .rank = rank };
    memcpy(v.dims, dims, (size_t)rank * sizeof *dims);
    gi_strides(rank, dims, v.stride);
    v.room = gi_product(0, rank, dims);
    return v;
}

gi_cl_view gi_cl_view_last(int rank, const int64_t *dims, int64_t multiple, bool half)
{
    gi_cl_view v = { .half = half, .channels_last = true, .rank = rank };
    memcpy(v.dims, dims, (size_t)rank * sizeof *dims);
    v.channels = (dims[1] + multiple - 1) / multiple * multiple;
    v.stride[1] = 1;
    int64_t size = v.channels;
    for (int i = rank - 1; i >= 2; i--) {
        v.stride[i] = size;
        size *= dims[i];
    }
    v.stride[0] = size;
    v.room = size * dims[0];
    return v;
}

gi_cl_view gi_cl_view_alone(const gi_cl_view *v)
{
    return v->channels_last ? gi_cl_view_last(v->rank, v->dims, v->channels, v->half) : *v;
}

static const gi_cl_part *part_of(const gi_cl_plan *p, const gi_value *v)
{
    return p ? gi_map_get(&p->parts, (uint64_t)v->id + 1) : NULL;
}

const gi_cl_part *gi_cl_part_of(const gi_cl_build *b, const gi_value *v, const gi_value *whole)
{
    const gi_cl_part *part = b->dry ? NULL : part_of(b->s->plan, v);
    return part && part->whole == whole ? part : NULL;
}

/* The same image within one of so many channels. */
static void set_pitch(gi_cl_view *v, int64_t pitch)
{
    int64_t size = pitch;
    for (int i = v->rank - 1; i >= 2; i--) {
        v->stride[i] = size;
        size *= v->dims[i];
    }
    v->stride[0] = size;
    v->room = size * v->dims[0] - pitch + v->channels;
}

static gi_cl_view view_in(const gi_cl_plan *p, const gi_value *v, int rank, const int64_t *dims)
{
    const uintptr_t how = p ? (uintptr_t)gi_map_get(&p->lies, (uint64_t)v->id + 1) : 0;
    if (how != LAST)
        return gi_cl_view_dense(rank, dims, (how && how != KEPT && p->half) || v->type->dtype == GOPT_F16);
    gi_cl_view view = gi_cl_view_last(rank, dims, GI_CL_CHANNELS, p->half);
    const gi_value *whole = v;
    for (const gi_cl_part *part = part_of(p, v); part; part = part_of(p, whole)) /* the outermost has the pixels */
        whole = part->whole;
    int64_t pitch;
    if (whole != v && gi_type_dim_const(whole->type, 1, &pitch))
        set_pitch(&view, pitch);
    return view;
}

bool gi_cl_view_of(const gi_cl_build *b, const gi_value *v, gi_cl_view *out)
{
    int64_t dims[GOPT_MAX_RANK];
    if (!v || !v->type || !gi_type_static_dims(v->type, dims))
        return false;
    *out = v == b->inner ? gi_cl_view_dense(v->type->rank, dims, false) /* scratch holds floats */
                         : view_in(b->dry ? NULL : b->s->plan, v, v->type->rank, dims);
    return true;
}

gopt_status gi_cl_stays_fp32(const gi_cl_plan *p, const gi_node *n, gi_arena *a, const char **why)
{
    char label[16];
    *why = gi_fp32_node(n);
    for (uint32_t i = 0; i < n->n_out && !*why; i++) {
        const gi_value *v = n->out[i];
        if ((uintptr_t)gi_map_get(&p->lies, (uint64_t)v->id + 1) != KEPT)
            continue;
        *why = gi_arena_printf(a, "its result%s%s %s", n->n_out > 1 ? " " : "",
                               n->n_out > 1 ? gi_value_label(v, label, sizeof label) : "", gi_fp32_value(v));
        GI_NEED(*why);
    }
    return GOPT_OK;
}

gopt_status gi_cl_reads_fp32(gi_cl_build *b, const gi_value *v, bool *does)
{
    char label[16];
    const char *what = !b->dry && b->d->half ? gi_fp32_value(v) : NULL;
    *does = what != NULL;
    if (what && !b->s->fp32) {
        b->s->fp32 = gi_arena_printf(b->arena, "it reads %s, which %s", gi_value_label(v, label, sizeof label), what);
        GI_NEED(b->s->fp32);
    }
    return GOPT_OK;
}

bool gi_cl_same_place(const gi_cl_view *a, const gi_cl_view *b)
{
    if (a->rank != b->rank || a->room != b->room)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i] || (a->dims[i] > 1 && a->stride[i] != b->stride[i]))
            return false;
    return true;
}

uint64_t gi_cl_value_bytes(gi_device *d, void *plan, const gi_value *v)
{
    int64_t dims[GOPT_MAX_RANK];
    size_t bytes = 0;
    (void)d;
    (void)gi_type_bytes(v->type, &bytes);
    if (!plan || !gi_type_static_dims(v->type, dims))
        return bytes;
    const gi_cl_view w = view_in(plan, v, v->type->rank, dims);
    return w.half || w.channels_last ? gi_cl_view_bytes(&w) : bytes;
}

void gi_cl_write_place(gi_str *s, const gi_cl_view *v)
{
    int64_t dims[GOPT_MAX_RANK], stride[GOPT_MAX_RANK], below = 1;
    int n = 0;
    bool any = false;
    for (int k = 0; k < v->rank; k++) {
        if (v->dims[k] == 1)
            continue;
        /* dims that lie together are one */
        if (n && stride[n - 1] == v->stride[k] * v->dims[k]) {
            dims[n - 1] *= v->dims[k];
            stride[n - 1] = v->stride[k];
            continue;
        }
        dims[n] = v->dims[k];
        stride[n++] = v->stride[k];
    }
    for (int k = n - 1; k >= 0; k--) {
        gi_str_add(s, any ? " + i" : "i");
        any = true;
        if (below != 1)
            gi_str_addf(s, " / %" PRId64, below);
        if (k > 0)
            gi_str_addf(s, " %% %" PRId64, dims[k]);
        if (stride[k] != 1)
            gi_str_addf(s, " * %" PRId64, stride[k]);
        below *= dims[k];
    }
    if (!any)
        gi_str_add(s, "0");
}

void gi_cl_write_result(gi_str *s, const gi_cl_view *y)
{
    gi_str_addf(s, "#define Y_TYPE %s\n#define STORE(v, p, i) %s\n", y->half ? "half" : "float",
                y->half ? "vstore_half(v, i, p)" : "(p)[i] = (v)");
}

void gi_cl_write_access(gi_str *s, const gi_cl_view *x, const gi_cl_view *y)
{
    gi_str_addf(s, "#define X_TYPE %s\n#define LOAD(p, i) %s\n", x->half ? "half" : "float",
                x->half ? "vload_half(i, p)" : "(p)[i]");
    gi_cl_write_result(s, y);
}

void gi_cl_write_chunks(gi_str *s, bool x_half, bool y_half)
{
    gi_str_addf(s,
                "#define LOADF8(p, i) load_float8((p) + (i) * 8)\n#define LOAD8(p, i) load_%s8((p) + (i) * 8)\n"
                "#define STORE8(v, p, i) store_%s8(v, (p) + (i) * 8)\n#define STORE2 store_%s2\n",
                x_half ? "half" : "float", y_half ? "half" : "float", y_half ? "half" : "float");
}

gopt_status gi_cl_launch_convert(gi_cl_build *b, const gi_cl_view *from, gi_cl_ref x, const gi_cl_view *to, gi_cl_ref y)
{
    const gi_cl_ref refs[] = { x, y };
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_str_add(&s, "// into another layout\n");
    gi_cl_write_access(&s, from, to);
    gi_str_add(&s, "__kernel void convert(__global const X_TYPE *x, const ulong x_at, __global Y_TYPE *y, "
                   "const ulong y_at WALK_ARGS)\n{\n");
    int64_t items = gi_product(0, to->rank, to->dims);
    if (to->channels_last) { /* over all that there is room for: the channels past the last too */
        const int64_t pixels = gi_product(2, to->rank, to->dims);
        items = to->dims[0] * pixels * to->channels;
        gi_str_addf(&s,
                    "    const uint j = get_global_id(0), c = j %% %" PRId64 ", p = j / %" PRId64 " %% %" PRId64
                    ", n = j / %" PRId64 ";\n    const uint i = (n * %" PRId64 " + c) * %" PRId64 " + p;\n",
                    to->channels, to->channels, pixels, pixels * to->channels, to->dims[1], pixels);
        gi_str_addf(&s, "    STORE(c < %" PRId64 " ? LOAD(x, x_at + ", to->dims[1]);
        gi_cl_write_place(&s, from);
        gi_str_addf(&s, ") : 0.0f, y, y_at + (n * %" PRId64 " + p) * (ulong)%" PRId64 " + c);\n}\n", pixels,
                    gi_cl_pitch(to));
    } else {
        gi_str_add(&s, "    const uint i = get_global_id(0);\n    STORE(LOAD(x, x_at + ");
        gi_cl_write_place(&s, from);
        gi_str_add(&s, "), y, y_at + ");
        gi_cl_write_place(&s, to);
        gi_str_add(&s, ");\n}\n");
    }
    GI_NEED(!s.failed);
    return gi_cl_launch_kernel(b, s.p, "convert", 2, refs, 0, NULL, (size_t[]){ (size_t)items, 1, 1 }, NULL);
}

gopt_status gi_cl_convert(gi_cl_build *b, const gi_value *v, const gi_cl_view *to, gi_cl_ref *out)
{
    gi_cl_view from;
    gi_cl_ref x;
    if (!gi_cl_view_of(b, v, &from))
        return GOPT_INTERNAL;
    GI_TRY(gi_cl_find(b, v, &x));
    *out = x;
    if (from.half == to->half && gi_cl_same_place(&from, to))
        return GOPT_OK;
    GI_TRY(gi_cl_scratch(b, gi_cl_view_bytes(to), to->half ? 2 : 4, out));
    return gi_cl_launch_convert(b, &from, x, to, *out);
}

gopt_status gi_cl_dense_operand(gi_cl_build *b, const gi_value *v, gi_cl_ref *out)
{
    gi_cl_view view;
    if (!gi_cl_view_of(b, v, &view))
        return GOPT_INTERNAL;
    view = gi_cl_view_dense(view.rank, view.dims, false);
    return gi_cl_convert(b, v, &view, out);
}

gopt_status gi_cl_dense_result(gi_cl_build *b, const gi_value *v, gi_cl_ref *out)
{
    gi_cl_view view;
    if (!gi_cl_view_of(b, v, &view))
        return GOPT_INTERNAL;
    if (!view.half && !view.channels_last)
        return gi_cl_find(b, v, out);
    return gi_cl_scratch(b, (uint64_t)gi_product(0, view.rank, view.dims) * 4, 4, out);
}

gopt_status gi_cl_store_result(gi_cl_build *b, const gi_value *v, const gi_cl_ref *from)
{
    gi_cl_view to;
    gi_cl_ref y;
    if (!gi_cl_view_of(b, v, &to))
        return GOPT_INTERNAL;
    if (!to.half && !to.channels_last)
        return GOPT_OK;
    const gi_cl_view dense = gi_cl_view_dense(to.rank, to.dims, false);
    GI_TRY(gi_cl_find(b, v, &y));
    return gi_cl_launch_convert(b, &dense, *from, &to, y);
}

/* ---- deciding ---- */

/* Is every reader one of the plan's nodes? A use inside a fusion is one of the fusion's. */
static bool stays(const gi_cl_plan *p, const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_node *n = u->node;
        const gi_block *b = n ? n->block : u->block;
        while (!n || !gi_map_get(&p->nodes, (uint64_t)n->id + 1)) {
            n = b ? b->owner : NULL;
            if (!n)
                return false;
            b = n->block;
        }
    }
    return true;
}

static const gi_node *main_of(const gi_node *n)
{
    if (n->op != OP_Fusion)
        return n;
    const gi_block *body = gi_fusion_block(n);
    for (const gi_node *k = body->first; k; k = k->next)
        if (!gi_cl_is_pointwise(k))
            return k;
    return body->first;
}

static bool is_move(const gi_node *n)
{
    return n->op == OP_Concat || n->op == OP_Split || n->op == OP_Slice || n->op == OP_Gather || n->op == OP_Resize;
}

/* Does it go on with images as they lie? */
static bool keeps_images(const gi_node *n)
{
    switch (n->op) {
    case OP_MaxPool:
    case OP_AveragePool:
    case OP_GlobalAveragePool:
    case OP_GlobalMaxPool:
        return true;
    default:
        return is_move(n) || gi_cl_is_pointwise(n);
    }
}

static bool reads_images(const gi_cl_plan *p, const gi_node *n, gi_arena *a, bool *no_memory)
{
    gi_values reads = { 0 };
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && !gi_push(a, &reads, n->in[i].value))
            *no_memory = true;
    if (!gi_node_captures(n, a, &reads))
        *no_memory = true;
    for (size_t i = 0; i < reads.n; i++)
        if ((uintptr_t)gi_map_get(&p->lies, (uint64_t)reads.p[i]->id + 1) == LAST)
            return true;
    return false;
}

static gopt_status decide(gi_cl_plan *p, gi_node *n)
{
    const gi_node *main = main_of(n);
    bool no_memory = false;
    const bool images =
        main && (main->op == OP_Conv || (keeps_images(main) && reads_images(p, n, p->arena, &no_memory)));
    GI_NEED(!no_memory);
    for (uint32_t i = 0; i < n->n_out; i++) {
        const gi_value *v = n->out[i];
        int64_t dims[GOPT_MAX_RANK];
        if (!v->type || v->type->kind != GOPT_TENSOR ||
            (v->type->dtype != GOPT_F32 && !(p->half && v->type->dtype == GOPT_F16)) ||
            !gi_type_static_dims(v->type, dims) || !stays(p, v))
            continue;
        /* moves write no zeros past the last channel */
        const bool last =
            images && (v->type->rank == 3 || v->type->rank == 4) && (!is_move(main) || dims[1] % GI_CL_CHANNELS == 0);
        const uintptr_t how = p->half && gi_fp32_value(v) ? KEPT : last ? LAST : DENSE;
        GI_NEED(gi_map_put(&p->lies, (uint64_t)v->id + 1, (void *)how));
    }
    return GOPT_OK;
}

/* ---- images within others ---- */

/* The node of the plan that a use belongs to. */
static const gi_node *user_of(const gi_cl_plan *p, const gi_use *u)
{
    for (const gi_node *n = u->node; n; n = n->block->owner)
        if (gi_map_get(&p->nodes, (uint64_t)n->id + 1))
            return n;
    return NULL;
}

/* Does it read an image within another as it lies? Convolutions would want a copy. */
static bool reads_within(const gi_node *n)
{
    const gi_node *main = main_of(n);
    switch (main->op) {
    case OP_Concat:
    case OP_Split:
    case OP_Slice:
    case OP_MaxPool:
    case OP_AveragePool:
        return true;
    default:
        return gi_cl_is_pointwise(main);
    }
}

/* Does it write an image into another? What a convolution adds to its result would have to lie there too. */
static bool writes_within(const gi_node *n, gi_arena *a, bool *no_memory)
{
    const gi_node *main = main_of(n);
    if (main->op != OP_Conv)
        return keeps_images(main);
    gi_values reads = { 0 };
    if (n->op == OP_Fusion && !gi_node_captures(n, a, &reads))
        *no_memory = true;
    for (size_t i = 0; i < reads.n; i++)
        if (reads.p[i] != gi_node_in(main, Conv_in_X) && !gi_value_blob(reads.p[i]))
            return false;
    return true;
}

static bool stands_once(const gi_node *concat, const gi_value *v)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < concat->n_in; i++)
        n += gi_node_in(concat, i) == v;
    return n == 1;
}

static bool lies_last(const gi_cl_plan *p, const gi_value *v)
{
    return (uintptr_t)gi_map_get(&p->lies, (uint64_t)v->id + 1) == LAST;
}

static bool may_lie_within(const gi_cl_plan *p, const gi_node *concat, const gi_value *v, gi_arena *a, bool *no_memory)
{
    const gi_node *by = gi_value_node(v);
    if (!lies_last(p, v) || part_of(p, v) || !stands_once(concat, v) || !by || !writes_within(by, a, no_memory))
        return false;
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_node *n = user_of(p, u);
        if (!n || !reads_within(n))
            return false;
    }
    return true;
}

/* Parts of a Concat of channels that can be written where they will be read: chunks of 8 must stay whole. */
static gopt_status find_parts(gi_cl_plan *p, const gi_node *concat)
{
    const gi_value *whole = concat->out[0];
    int64_t dims[GOPT_MAX_RANK], channel = 0;
    int axis;
    bool no_memory = false;
    if (!lies_last(p, whole) || !gi_axis(gi_attr_int(concat, Concat_at_axis), whole->type->rank, &axis) || axis != 1)
        return GOPT_OK;
    for (uint32_t i = 0; i < concat->n_in; i++) {
        const gi_value *v = gi_node_in(concat, i);
        if (!v || !gi_type_static_dims(v->type, dims))
            return GOPT_OK;
        if (channel % GI_CL_CHANNELS == 0 && dims[1] % GI_CL_CHANNELS == 0 && gi_product(0, whole->type->rank, dims) &&
            may_lie_within(p, concat, v, p->arena, &no_memory)) {
            gi_cl_part *part = GI_NEW(p->arena, gi_cl_part);
            GI_NEED(part);
            *part = (gi_cl_part){ whole, channel };
            GI_NEED(gi_map_put(&p->parts, (uint64_t)v->id + 1, part));
        }
        channel += dims[1];
    }
    GI_NEED(!no_memory);
    return GOPT_OK;
}

gopt_status gi_cl_plan_open(gi_device *dev, gi_node *const *nodes, size_t n, void **plan)
{
    const gi_cl *d = (const gi_cl *)dev;
    *plan = NULL;
    gi_arena *arena = gi_arena_create(d->cx);
    GI_NEED(arena);
    gi_cl_plan *p = GI_NEW(arena, gi_cl_plan);
    gopt_status st = p ? GOPT_OK : GOPT_NO_MEMORY;
    if (p) {
        p->arena = arena;
        p->half = d->half;
        gi_map_init(&p->lies, arena);
        gi_map_init(&p->nodes, arena);
        gi_map_init(&p->parts, arena);
    }
    for (size_t i = 0; i < n && st == GOPT_OK; i++)
        st = gi_map_put(&p->nodes, (uint64_t)nodes[i]->id + 1, nodes[i]) ? GOPT_OK : GOPT_NO_MEMORY;
    for (size_t i = 0; i < n && st == GOPT_OK; i++)
        st = decide(p, nodes[i]);
    for (size_t i = n; i > 0 && st == GOPT_OK; i--) /* of those that grow, the last one holds all */
        if (nodes[i - 1]->op == OP_Concat)
            st = find_parts(p, nodes[i - 1]);
    if (st != GOPT_OK) {
        gi_arena_destroy(arena);
        return st;
    }
    *plan = p;
    return GOPT_OK;
}

void gi_cl_plan_close(gi_device *d, void *plan)
{
    gi_cl_plan *p = plan;
    (void)d;
    if (p)
        gi_arena_destroy(p->arena);
}
