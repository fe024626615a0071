/* Generated kernels: one for each pointwise node or fusion of them.
 *
 * An item computes one element of the result. What it reads is broadcast by index arithmetic; the source is
 * meant to be read:
 *
 *     // Add+Relu
 *     __kernel void pointwise(__global const float *b0, const ulong o0, …, __global float *r0, const ulong q0)
 *     {
 *         const size_t i = get_global_id(0);
 *         const float v0 = b0[o0 + i];
 *         const float v1 = b1[o1 + i / 49 % 64];
 *         const float v2 = v0 + v1; // Add
 *         const float v3 = v2 < 0 ? 0 : v2; // Relu
 *         r0[q0 + i] = v3;
 *     } */
#include <inttypes.h>

#include "backend/opencl/expression.h"

typedef struct kernel {
    gi_cl_writer w;
    gi_cl_ref refs[GI_CL_MAX_REFS];
    const char *types[GI_CL_MAX_REFS];
    uint32_t n_refs;
    gi_cl_view out; /* of the results: items go through its elements as they lie */
    int in_place;   /* of step->in: may be overwritten by the first result; -1 none */
} kernel;

typedef struct loop {
    int64_t count, step; /* how often, and how far in the operand */
    int64_t most;        /* of channels with padding behind: the last that an operand has; 0: no bound */
} loop;

/* The loops of the result's elements, outermost first, with the strides of an operand that is broadcast to it. */
static bool loops_of(const kernel *p, const gi_cl_view *v, loop *loops, int *n)
{
    const gi_cl_view *out = &p->out;
    *n = 0;
    if (v->rank > out->rank)
        return false;
    for (int i = 0; i < out->rank; i++) {
        /* channels come last where they lie so */
        const int k = !out->channels_last || i == 0 ? i : i == out->rank - 1 ? 1 : i + 1;
        const int own = k - (out->rank - v->rank);
        const bool channel = out->channels_last && k == 1;
        const int64_t d = own >= 0 ? v->dims[own] : 1;
        if (d != 1 && d != out->dims[k])
            return false;
        loop l = { .count = channel ? out->channels : out->dims[k], .step = d == 1 ? 0 : v->stride[own] };
        if (channel && l.step && out->channels > out->dims[k])
            l.most = out->dims[k] - 1;
        if (l.count == 1)
            continue;
        loop *before = *n ? &loops[*n - 1] : NULL;
        if (before && !l.most && !before->most && before->step == l.step * l.count) {
            before->count *= l.count;
            before->step = l.step;
        } else {
            loops[(*n)++] = l;
        }
    }
    return true;
}

/* The place of an element in an operand that is broadcast to the results' shape. */
static bool write_index(kernel *p, const gi_cl_view *v)
{
    gi_str *s = &p->w.body;
    loop loops[GOPT_MAX_RANK];
    int n;
    int64_t below = 1;
    bool any = false;
    if (gi_cl_same_place(v, &p->out)) {
        gi_str_add(s, "i");
        return true;
    }
    if (!loops_of(p, v, loops, &n))
        return false;
    for (int k = n - 1; k >= 0; below *= loops[k--].count) {
        if (!loops[k].step)
            continue;
        gi_str_add(s, any ? " + " : "");
        any = true;
        if (loops[k].most)
            gi_str_add(s, "min(");
        gi_str_add(s, "i");
        if (below != 1)
            gi_str_addf(s, " / %" PRId64, below);
        if (k > 0)
            gi_str_addf(s, " %% %" PRId64, loops[k].count);
        if (loops[k].most)
            gi_str_addf(s, ", (size_t)%" PRId64 ")", loops[k].most);
        if (loops[k].step != 1)
            gi_str_addf(s, " * %" PRId64, loops[k].step);
    }
    if (!any)
        gi_str_add(s, "0");
    return true;
}

/* Loads a value from outside, once. */
static gopt_status load(kernel *p, const gi_node *n, uint32_t i, bool *ok)
{
    gi_cl_writer *w = &p->w;
    const gi_value *v = gi_node_in(n, i);
    const bool channels = gi_cl_is_along_channels(n, i);
    const uint32_t r = p->n_refs;
    int64_t dims[GOPT_MAX_RANK];
    uint32_t number;
    int rank;
    if (gi_cl_number_of(w, v, channels, &number))
        return GOPT_OK;
    *ok = gi_cl_tensor(w->b, v, "an input", &rank, dims);
    if (!*ok || gi_cl_write_constant(w, v, channels))
        return GOPT_OK;
    gi_cl_view view;
    if (!gi_cl_view_of(w->b, v, &view))
        return GOPT_INTERNAL;
    if (channels) {
        for (; rank < n->out[0]->type->rank - 1; rank++)
            dims[rank] = 1;
        view = gi_cl_view_dense(rank, dims, false);
    }
    if (r == GI_CL_MAX_REFS) {
        *ok = gi_cl_decline(w->b, "it reads more than %d tensors", GI_CL_MAX_REFS);
        return GOPT_OK;
    }
    const char *type = gi_cl_type(v->type->dtype);
    p->types[r] = view.half ? "half" : type;
    GI_TRY(gi_cl_find(w->b, v, &p->refs[r]));
    gi_str_addf(&w->body, "    const %s v%u = ", type, w->n_values);
    if (view.half)
        gi_str_addf(&w->body, "vload_half(o%u + ", r);
    else
        gi_str_addf(&w->body, "b%u[o%u + ", r, r);
    const size_t at = w->body.n;
    if (!write_index(p, &view)) {
        *ok = gi_cl_decline(w->b, "an input is not broadcast to the result's shape");
        return GOPT_OK;
    }
    if (!gi_value_blob(v) && p->in_place < 0 && w->body.n == at + 1 && p->refs[r].place == GI_CL_IN &&
        view.half == p->out.half)
        p->in_place = (int)p->refs[r].index;
    if (view.half)
        gi_str_addf(&w->body, ", b%u);\n", r);
    else
        gi_str_add(&w->body, "];\n");
    p->n_refs++;
    gi_cl_name_value(w, v, channels);
    return GOPT_OK;
}

static gopt_status finish(kernel *p, const char *title, uint32_t n_stores)
{
    gi_str s;
    gi_str_init(&s, p->w.b->arena);
    gi_str_addf(&s, "// %s\n__kernel void pointwise(", title);
    for (uint32_t i = 0; i < p->n_refs; i++) {
        const bool stored = i >= p->n_refs - n_stores;
        gi_str_addf(&s, "%s__global %s%s *b%u, const ulong o%u", i ? ", " : "", stored ? "" : "const ", p->types[i], i,
                    i);
    }
    gi_str_addf(&s, " WALK_ARGS)\n{\n    const size_t i = get_global_id(0);\n%s}\n", p->w.body.p);
    GI_NEED(!s.failed && !p->w.body.failed);
    const size_t global[] = { (size_t)p->out.room, 1, 1 };
    return gi_cl_launch_kernel(p->w.b, s.p, "pointwise", p->n_refs, p->refs, 0, NULL, global, NULL);
}

/* Stores value v into ref n_refs: zeros past the last channel, where a layout has room there. */
static void write_store(kernel *p, const gi_cl_view *view, uint32_t v)
{
    const gi_cl_view *out = &p->out;
    gi_str *s = &p->w.body;
    const bool padded = out->channels_last && out->channels > out->dims[1], same = gi_cl_same_place(view, out);
    char inside[64], value[112];
    (void)snprintf(inside, sizeof inside, "i %% %" PRId64 " < %" PRId64, out->channels, out->dims[1]);
    if (padded && same)
        (void)snprintf(value, sizeof value, "(%s ? v%u : 0)", inside, v);
    else
        (void)snprintf(value, sizeof value, "v%u", v);
    gi_str_add(s, "    ");
    if (padded && !same)
        gi_str_addf(s, "if (%s)\n        ", inside);
    if (view->half)
        gi_str_addf(s, "vstore_half(%s, o%u + ", value, p->n_refs);
    else
        gi_str_addf(s, "b%u[o%u + ", p->n_refs, p->n_refs);
    (void)write_index(p, view); /* it was checked: the shapes are equal */
    if (view->half)
        gi_str_addf(s, ", b%u);\n", p->n_refs);
    else
        gi_str_addf(s, "] = %s;\n", value);
}

static gopt_status write_nodes(kernel *p, const gi_node *const *nodes, size_t n, bool *ok)
{
    for (size_t k = 0; k < n && *ok; k++) {
        int64_t dims[GOPT_MAX_RANK];
        int rank;
        if (!gi_cl_is_pointwise(nodes[k])) {
            *ok = gi_cl_decline(p->w.b, "%s inside a pointwise kernel has no expression", nodes[k]->op_name);
            return GOPT_OK;
        }
        *ok = gi_cl_tensor(p->w.b, nodes[k]->out[0], "a result", &rank, dims);
        for (uint32_t i = 0; i < nodes[k]->n_in && *ok; i++)
            if (gi_node_in(nodes[k], i))
                GI_TRY(load(p, nodes[k], i, ok));
        if (*ok)
            gi_cl_write_node(&p->w, nodes[k]);
    }
    return GOPT_OK;
}

gopt_status gi_cl_pointwise(gi_cl_build *b, const char *title, const gi_node *const *nodes, size_t n,
                            const gi_value *const *outs, const gi_value *const *stored, uint32_t n_out, bool *took)
{
    kernel p = { .in_place = -1 };
    bool ok = true;
    *took = false;
    gi_cl_writer_init(&p.w, b);
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    if (!n_out || !gi_cl_tensor(b, outs[0], "its result", &rank, dims))
        return GOPT_OK;
    gi_cl_view first;
    if (!gi_cl_view_of(b, stored[0], &first))
        return GOPT_INTERNAL;
    p.out = gi_cl_view_alone(&first);
    GI_TRY(write_nodes(&p, nodes, n, &ok));
    for (uint32_t i = 0; i < n_out && ok; i++) {
        gi_cl_view view;
        uint32_t number;
        ok = gi_cl_number_of(&p.w, outs[i], false, &number) && gi_cl_tensor(b, outs[i], "a result", &rank, dims) &&
             gi_cl_view_of(b, stored[i], &view) && rank == p.out.rank &&
             (!rank || !memcmp(dims, p.out.dims, (size_t)rank * sizeof *dims));
        if (!ok || p.n_refs == GI_CL_MAX_REFS) {
            (void)gi_cl_decline(b, "its results differ in shape");
            return GOPT_OK;
        }
        p.types[p.n_refs] = view.half ? "half" : gi_cl_type(outs[i]->type->dtype);
        GI_TRY(gi_cl_find(b, stored[i], &p.refs[p.n_refs]));
        write_store(&p, &view, number);
        p.n_refs++;
    }
    if (!ok)
        return GOPT_OK;
    *took = true;
    GI_TRY(finish(&p, title, n_out));
    if (!b->dry)
        b->s->in_place = gi_cl_same_place(&first, &p.out) ? p.in_place : -1;
    return GOPT_OK;
}

gopt_status gi_cl_take_pointwise(gi_cl_build *b, const gi_node *n, bool *took)
{
    if (!gi_cl_is_pointwise(n))
        return GOPT_OK;
    const gi_value *out = n->out[0];
    return gi_cl_pointwise(b, n->op_name, &n, 1, &out, &out, 1, took);
}
