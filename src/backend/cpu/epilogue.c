/* Epilogues: what is fused behind a convolution or product (see epilogue.h). */
#include "backend/cpu/epilogue.h"

#include <math.h>

/* A constant that varies along the channels alone, where the result has shape dims. */
static gi_blob *channel_const(const gi_value *v, int rank, const int64_t *dims, int axis)
{
    gi_blob *b = gi_value_blob(v);
    if (!b || b->dtype != GOPT_F32 || b->rank > rank || gi_blob_elements(b) != dims[axis])
        return NULL;
    const int at = axis - (rank - b->rank);
    return at >= 0 && b->dims[at] == dims[axis] ? b : NULL;
}

static bool clamp_of(const gi_node *n, float *lo, float *hi)
{
    *lo = 0.0f;
    *hi = INFINITY;
    if (n->op == OP_Relu)
        return true;
    if (n->op != OP_Clip)
        return false;
    *lo = -INFINITY;
    const gi_value *bound[2] = { gi_node_in(n, 1), gi_node_in(n, 2) };
    float *to[2] = { lo, hi };
    for (int i = 0; i < 2; i++) {
        const gi_blob *b = gi_value_blob(bound[i]);
        if (!bound[i])
            continue;
        if (!b || b->dtype != GOPT_F32 || gi_blob_elements(b) != 1)
            return false;
        memcpy(to[i], b->data, sizeof(float));
    }
    return *lo <= *hi;
}

/* Takes `n` into the kernel where it can; e->result is its input. */
static bool absorb(gi_epilogue *e, const gi_step *s, const gi_node *n, int axis)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK], other[GOPT_MAX_RANK];
    const bool clamped = e->lo != -INFINITY || e->hi != INFINITY;
    float lo, hi;
    if (e->result->n_uses != 1 || !gi_cpu_static_f32(e->result, &rank, dims) || clamped)
        return false;
    if (clamp_of(n, &lo, &hi) && gi_node_in(n, 0) == e->result) {
        e->lo = lo;
        e->hi = hi;
        return true;
    }
    if (n->op != OP_Add || n->out[0]->type != e->result->type)
        return false;
    gi_value *v = gi_node_in(n, gi_node_in(n, 0) == e->result ? 1 : 0);
    if (gi_node_in(n, 0) != e->result && gi_node_in(n, 1) != e->result)
        return false;
    gi_blob *b = channel_const(v, rank, dims, axis);
    if (b && !e->bias && !e->add) {
        e->bias = b;
        return true;
    }
    int r;
    if (e->add || !gi_cpu_static_f32(v, &r, other) || r != rank || memcmp(other, dims, (size_t)r * sizeof(*dims)) != 0)
        return false;
    if (gi_value_blob(v) || (v->kind == GI_DEF_NODE && v->def.node->block != s->node->block))
        return false;
    e->add = v;
    return true;
}

gopt_status gi_epilogue_read(gi_cpu_step *c, const gi_step *s, gi_node *main, gi_node *const *rest, size_t n,
                             int channel_axis, gi_epilogue *e, bool *found)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    *e = (gi_epilogue){ .lo = -INFINITY, .hi = INFINITY, .main = main, .result = main->out[0], .n_rest = n };
    *found = main->n_out == 1 && gi_cpu_static_f32(e->result, &rank, dims);
    if (!*found)
        return GOPT_OK;
    e->rest = GI_NEW_ARRAY(c->arena, gi_node *, n + 1);
    GI_NEED(e->rest);
    for (size_t i = 0; i < n; i++)
        e->rest[i] = rest[i];
    const int axis = channel_axis < 0 ? channel_axis + rank : channel_axis;
    while (e->n_rest && axis >= 0 && axis < rank && absorb(e, s, e->rest[0], axis)) {
        e->result = e->rest[0]->out[0];
        e->rest++;
        e->n_rest--;
    }
    return GOPT_OK;
}

gopt_status gi_epilogue_find(gi_cpu_step *c, const gi_step *s, gi_opcode a, gi_opcode b, int channel_axis,
                             gi_epilogue *e, bool *found)
{
    gi_node *main = s->node, **rest = NULL;
    size_t n = 0;
    *found = false;
    if (s->n_out != 1)
        return GOPT_OK;
    if (main->op == OP_Fusion) {
        const gi_block *body = gi_fusion_block(main);
        if (!body || !body->first || body->n_results != 1)
            return GOPT_OK;
        main = body->first;
        rest = GI_NEW_ARRAY(c->arena, gi_node *, body->n_nodes);
        GI_NEED(rest);
        for (gi_node *k = main->next; k; k = k->next)
            rest[n++] = k;
    }
    int rank, out_rank;
    int64_t dims[GOPT_MAX_RANK], out_dims[GOPT_MAX_RANK];
    if ((main->op != a && main->op != b) || main->n_out != 1 || !gi_cpu_static_f32(main->out[0], &rank, dims) ||
        !gi_cpu_static_f32(s->out[0], &out_rank, out_dims) || rank != out_rank ||
        memcmp(dims, out_dims, (size_t)rank * sizeof(*dims)) != 0)
        return GOPT_OK;
    return gi_epilogue_read(c, s, main, rest, n, channel_axis, e, found);
}

float gi_epilogue_bias(const gi_epilogue *e, int64_t o)
{
    const gi_blob *const from[2] = { gi_value_blob(gi_node_in(e->main, Conv_in_B)), e->bias };
    float sum = 0.0f;
    for (int i = 0; i < 2; i++) {
        float x = 0.0f;
        if (from[i])
            memcpy(&x, (const char *)from[i]->data + (size_t)o * sizeof(x), sizeof(x));
        sum += x;
    }
    return sum;
}

bool gi_epilogue_values(const gi_epilogue *e, gi_arena *a, gi_values *v)
{
    if (e->add && !gi_push(a, v, e->add))
        return false;
    for (size_t i = 0; i < e->n_rest; i++)
        for (uint32_t k = 0; k < e->rest[i]->n_in; k++) {
            gi_value *x = e->rest[i]->in[k].value;
            bool known = !x || x == e->result || (gi_value_blob(x) && x->type && x->type->dtype == GOPT_F32);
            for (size_t j = 0; j < e->n_rest && !known; j++)
                known = e->rest[j]->out[0] == x;
            for (size_t j = 0; j < v->n && !known; j++)
                known = v->p[j] == x;
            if (!known && !gi_push(a, v, x))
                return false;
        }
    return true;
}

gopt_status gi_epilogue_program(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_epilogue *e, bool *ok)
{
    *ok = true;
    if (!e->n_rest)
        return GOPT_OK;
    gi_value **args = GI_NEW_ARRAY(c->arena, gi_value *, s->n_in + 1);
    gi_layout *lay = GI_NEW_ARRAY(c->arena, gi_layout, s->n_in + 1);
    int64_t dims[GOPT_MAX_RANK];
    GI_NEED(args && lay);
    args[0] = e->result;
    lay[0] = c->want_out[0];
    for (uint32_t i = 0; i < s->n_in; i++) {
        args[1 + i] = s->in[i];
        lay[1 + i] = c->want_in[i];
    }
    e->n_args = (int)s->n_in + 1;
    const gi_type *t = e->result->type;
    gi_type_static_dims(t, dims);
    gi_value *result = s->node->op == OP_Fusion ? gi_fusion_block(s->node)->results[0].value : s->out[0];
    GI_TRY(gi_vp_build(d, s, c, e->rest, e->n_rest, args, lay, s->n_in + 1, &result, 1, t->rank, dims, c->want_out[0],
                       &e->program));
    *ok = e->program != NULL;
    return GOPT_OK;
}

size_t gi_epilogue_scratch(const gi_epilogue *e)
{
    return e->program ? (gi_vp_scratch(e->program) + (size_t)e->n_args * sizeof(void *) + 63) & ~(size_t)63 : 0;
}

void gi_epilogue_run(const gi_cpu *d, const gi_epilogue *e, const gi_run_args *args, int64_t from, int64_t to,
                     void *scratch)
{
    const void **in = (const void **)(void *)((char *)scratch + gi_vp_scratch(e->program));
    void *out[1] = { args->out[0].host };
    in[0] = args->out[0].host;
    for (int i = 1; i < e->n_args; i++)
        in[i] = args->in[i - 1].host;
    gi_vp_run(d, e->program, in, out, from, to, scratch);
}

gopt_status gi_epilogue_inner(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_epilogue *e, gi_value *result, bool *ok)
{
    gi_values reads = { 0 };
    const gi_layout blocked = GI_BLOCKED;
    int64_t dims[GOPT_MAX_RANK];
    GI_NEED(gi_epilogue_values(e, c->arena, &reads));
    *ok = reads.n == 0;
    if (!*ok || !e->n_rest)
        return GOPT_OK;
    const gi_type *t = e->result->type;
    gi_type_static_dims(t, dims);
    GI_TRY(gi_vp_build(d, s, c, e->rest, e->n_rest, &e->result, &blocked, 1, &result, 1, t->rank, dims, GI_BLOCKED,
                       &e->program));
    *ok = e->program != NULL;
    return GOPT_OK;
}

void gi_epilogue_run_inner(const gi_cpu *d, const gi_epilogue *e, float *at, int64_t from, int64_t to, void *scratch)
{
    /* where element 0 would lie */
    void *base = (void *)((uintptr_t)at - (uintptr_t)from * sizeof(float));
    gi_vp_run(d, e->program, (const void *const *)&base, &base, from, to, scratch);
}
