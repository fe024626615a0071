/* Tactic "pointwise": one pointwise node, or a fusion of nothing else, as a vector program over shares of the
 * elements. Blocked where an input lies blocked.
 *
 * What is broadcast inside the fusion (a gate per channel, a row of a mask) is computed first, once by each worker, by
 * programs of its own over its few elements. */
#include "backend/cpu/vecprog.h"

enum { MAX_SMALL = 16, SMALL_FLOATS = 16384 };

/* A value that is broadcast to the others. */
typedef struct small {
    gi_vp *program;
    gi_value *value;
    uint64_t at; /* in a worker's scratch, bytes */
} small;

typedef struct pointwise {
    gi_vp *program;
    small smalls[MAX_SMALL];
    int n_smalls;
    uint64_t programs, scratch; /* a worker's: of programs, in all */
} pointwise;

static gopt_status nodes_of(gi_cpu_step *c, gi_node *n, gi_node ***nodes, size_t *count)
{
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    *count = 0;
    *nodes = GI_NEW_ARRAY(c->arena, gi_node *, body ? body->n_nodes + 1 : 1);
    GI_NEED(*nodes);
    if (!body)
        (*nodes)[(*count)++] = n;
    for (gi_node *k = body ? body->first : NULL; k; k = k->next)
        (*nodes)[(*count)++] = k;
    return GOPT_OK;
}

/* Constants that the program packs need no buffer. */
static gopt_status drop_constants(gi_step *s, gi_cpu_step *c)
{
    gi_value **in = GI_NEW_ARRAY(c->arena, gi_value *, s->n_in + 1);
    uint32_t n = 0;
    GI_NEED(in);
    for (uint32_t i = 0; i < s->n_in; i++) {
        const gi_blob *b = gi_value_blob(s->in[i]);
        if (!b || b->dtype != GOPT_F32)
            in[n++] = s->in[i];
    }
    return gi_cpu_set_in(s, c, n, in);
}

/* ---- what is broadcast inside ---- */

static bool has_shape(const gi_value *v, int rank, const int64_t *dims)
{
    int64_t own[GOPT_MAX_RANK];
    return v->type && v->type->kind == GOPT_TENSOR && v->type->rank == rank && gi_type_static_dims(v->type, own) &&
           !memcmp(own, dims, (size_t)rank * sizeof(*dims));
}

/* May the value be read plain where the others lie blocked? */
static bool lies_either_way(const gi_cpu *d, const gi_value *v, int rank)
{
    int64_t dims[GOPT_MAX_RANK];
    return !v || !v->type || v->type->rank != rank || rank < 3 || !gi_type_static_dims(v->type, dims) || dims[1] == 1 ||
           gi_cpu_layouts_agree(d, GI_PLAIN, GI_BLOCKED, v->type);
}

/* A program for the small node n alone, its operands step->in and the small values before it. */
static gopt_status add_small(gi_cpu *d, gi_step *s, gi_cpu_step *c, pointwise *v, gi_node *n, int rank, bool *ok)
{
    int64_t dims[GOPT_MAX_RANK];
    gi_value *args[GI_VP_MAX_INPUTS];
    gi_layout lay[GI_VP_MAX_INPUTS] = { GI_PLAIN };
    const gi_type *t = n->out[0]->type;
    *ok = v->n_smalls < MAX_SMALL && s->n_in + MAX_SMALL <= GI_VP_MAX_INPUTS && t && t->dtype == GOPT_F32 &&
          gi_type_static_dims(t, dims) && gi_product(0, t->rank, dims) <= SMALL_FLOATS &&
          lies_either_way(d, n->out[0], rank);
    for (uint32_t i = 0; i < n->n_in && *ok; i++)
        *ok = lies_either_way(d, gi_node_in(n, i), rank) && !gi_is_bf16(gi_cpu_layout(s->plan, gi_node_in(n, i)));
    if (!*ok)
        return GOPT_OK;
    memcpy(args, s->in, s->n_in * sizeof(gi_value *));
    for (int i = 0; i < v->n_smalls; i++)
        args[s->n_in + (uint32_t)i] = v->smalls[i].value;
    small *k = &v->smalls[v->n_smalls];
    k->value = n->out[0];
    GI_TRY(gi_vp_build(d, s, c, &n, 1, args, lay, s->n_in + (uint32_t)v->n_smalls, &k->value, 1, t->rank, dims,
                       GI_PLAIN, &k->program));
    *ok = k->program != NULL;
    v->n_smalls += *ok;
    return GOPT_OK;
}

/* Takes the nodes whose results are broadcast out of `nodes`, and compiles them. */
static gopt_status take_smalls(gi_cpu *d, gi_step *s, gi_cpu_step *c, pointwise *v, gi_node **nodes, size_t *n,
                               bool *ok)
{
    const gi_type *t = s->out[0]->type;
    int64_t dims[GOPT_MAX_RANK];
    size_t left = 0;
    *ok = t && gi_type_static_dims(t, dims);
    for (uint32_t i = 0; i < s->n_out && *ok; i++)
        *ok = has_shape(s->out[i], t->rank, dims);
    for (size_t i = 0; i < *n && *ok; i++)
        if (has_shape(nodes[i]->out[0], t->rank, dims))
            nodes[left++] = nodes[i];
        else
            GI_TRY(add_small(d, s, c, v, nodes[i], t->rank, ok));
    *n = left;
    return GOPT_OK;
}

/* ---- the whole ---- */

static gopt_status build(gi_cpu *d, gi_step *s, gi_cpu_step *c, pointwise *v, gi_node *const *nodes, size_t n,
                         gi_layout layout)
{
    int64_t dims[GOPT_MAX_RANK];
    gi_value *args[GI_VP_MAX_INPUTS + MAX_SMALL];
    gi_layout lay[GI_VP_MAX_INPUTS + MAX_SMALL] = { GI_PLAIN };
    const gi_type *t = s->out[0]->type;
    gi_value **outs = GI_NEW_ARRAY(c->arena, gi_value *, s->n_out);
    GI_NEED(outs);
    v->program = NULL;
    for (uint32_t i = 0; i < s->n_out; i++) {
        outs[i] = s->node->op == OP_Fusion ? gi_fusion_block(s->node)->results[i].value : s->out[i];
        c->want_out[i] = layout;
        if (layout != GI_PLAIN && s->out[i]->type->dtype != GOPT_F32)
            return GOPT_OK;
    }
    if (!gi_type_static_dims(t, dims))
        return GOPT_OK;
    for (uint32_t i = 0; i < s->n_in; i++)
        c->want_in[i] = c->have_in[i] == GI_PLAIN_BF16 && !gi_is_blocked(layout) ? GI_PLAIN_BF16 : GI_PLAIN;
    if (gi_is_blocked(layout))
        gi_cpu_want_like(s, c, t, layout);
    memcpy(args, s->in, s->n_in * sizeof(gi_value *));
    memcpy(lay, c->want_in, s->n_in * sizeof(gi_layout));
    for (int i = 0; i < v->n_smalls; i++)
        args[s->n_in + (uint32_t)i] = v->smalls[i].value;
    return gi_vp_build(d, s, c, nodes, n, args, lay, s->n_in + (uint32_t)v->n_smalls, outs, s->n_out, t->rank, dims,
                       layout, &v->program);
}

static void lay_out(pointwise *v)
{
    uint64_t at = gi_vp_scratch(v->program);
    for (int i = 0; i < v->n_smalls; i++)
        at = gi_vp_scratch(v->smalls[i].program) > at ? gi_vp_scratch(v->smalls[i].program) : at;
    v->programs = at = (at + 63) & ~(uint64_t)63;
    for (int i = 0; i < v->n_smalls; i++) {
        v->smalls[i].at = at;
        at += ((uint64_t)v->smalls[i].program->elements * sizeof(float) + 63) & ~(uint64_t)63;
    }
    v->scratch = at;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    gi_node **nodes;
    size_t n;
    bool ok;
    if (!s->n_out || s->n_out > GI_VP_MAX_INPUTS || s->n_in > GI_VP_MAX_INPUTS)
        return GOPT_OK;
    if (s->node->op == OP_Fusion && gi_fusion_block(s->node)->n_results != s->n_out)
        return GOPT_OK;
    GI_TRY(nodes_of(c, s->node, &nodes, &n));
    for (size_t i = 0; i < n; i++)
        if (!gi_vp_takes(nodes[i]))
            return GOPT_OK;
    pointwise *v = gi_cpu_own(c, sizeof(*v));
    GI_NEED(v);
    GI_TRY(drop_constants(s, c));
    GI_TRY(take_smalls(d, s, c, v, nodes, &n, &ok));
    if (!ok)
        return GOPT_OK;
    bool blocked = gi_is_blocked(c->have_out[0]), bf16 = gi_is_bf16(c->have_out[0]);
    for (uint32_t i = 0; i < s->n_in; i++) {
        blocked = blocked || (gi_is_blocked(c->have_in[i]) && s->out[0]->type->rank == s->in[i]->type->rank);
        bf16 = bf16 || gi_is_bf16(c->have_in[i]);
    }
    if (blocked && bf16)
        GI_TRY(build(d, s, c, v, nodes, n, GI_BLOCKED_BF16));
    if (blocked && !v->program)
        GI_TRY(build(d, s, c, v, nodes, n, GI_BLOCKED));
    if (!v->program && gi_is_bf16(c->have_out[0]))
        GI_TRY(build(d, s, c, v, nodes, n, GI_PLAIN_BF16));
    if (!v->program)
        GI_TRY(build(d, s, c, v, nodes, n, GI_PLAIN));
    if (!v->program)
        return GOPT_OK;
    lay_out(v);
    s->scratch = v->scratch * (uint64_t)d->threads;
    for (int i = 0; i < v->program->n_in && s->n_out == 1; i++) {
        const gi_vp_input *in = &v->program->in[i];
        if (in->arg >= 0 && in->arg < (int)s->n_in && in->full && in->dtype == v->program->out[0].dtype &&
            c->want_in[in->arg] == c->want_out[0])
            s->in_place = in->arg;
    }
    c->own = v;
    *took = true;
    return GOPT_OK;
}

typedef struct job {
    const gi_cpu *d;
    const gi_step *s;
    const pointwise *v;
    const gi_run_args *args;
} job;

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const pointwise *v = j->v;
    const void *in[GI_VP_MAX_INPUTS + MAX_SMALL];
    void *out[GI_VP_MAX_INPUTS];
    char *scratch = (char *)j->args->scratch + (uint64_t)worker * v->scratch;
    int64_t from, to;
    gi_share(v->program->elements, GI_VP_TILE, worker, n_workers, &from, &to);
    if (from >= to)
        return;
    for (uint32_t i = 0; i < j->s->n_in; i++)
        in[i] = j->args->in[i].host;
    for (int i = 0; i < v->n_smalls; i++) {
        out[0] = scratch + v->smalls[i].at;
        gi_vp_run(j->d, v->smalls[i].program, in, out, 0, v->smalls[i].program->elements, scratch);
        in[j->s->n_in + (uint32_t)i] = out[0];
    }
    for (uint32_t i = 0; i < j->s->n_out; i++)
        out[i] = j->args->out[i].host;
    gi_vp_run(j->d, v->program, in, out, from, to, scratch);
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    job j = { d, s, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_pointwise = { .name = "pointwise", .prepare = prepare, .run = run, .packs = true };
