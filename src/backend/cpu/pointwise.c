/* Tactic "pointwise": one pointwise node, or a fusion of nothing else, as a vector program over shares of the
 * elements. Blocked where an input lies blocked. */
#include "backend/cpu/vecprog.h"

typedef struct pointwise {
    gi_vp *program;
    uint64_t scratch; /* a worker */
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

static gopt_status build(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_node *const *nodes, size_t n, gi_layout layout,
                         gi_vp **out)
{
    int64_t dims[GOPT_MAX_RANK];
    const gi_type *t = s->out[0]->type;
    gi_value **outs = GI_NEW_ARRAY(c->arena, gi_value *, s->n_out);
    GI_NEED(outs);
    *out = NULL;
    for (uint32_t i = 0; i < s->n_out; i++) {
        outs[i] = s->node->op == OP_Fusion ? gi_fusion_block(s->node)->results[i].value : s->out[i];
        c->want_out[i] = layout;
        if (layout == GI_BLOCKED && s->out[i]->type->dtype != GOPT_F32)
            return GOPT_OK;
    }
    if (!gi_type_static_dims(t, dims))
        return GOPT_OK;
    for (uint32_t i = 0; i < s->n_in; i++)
        c->want_in[i] = GI_PLAIN;
    if (layout == GI_BLOCKED)
        gi_cpu_want_like(s, c, t);
    return gi_vp_build(d, s, c, nodes, n, s->in, c->want_in, s->n_in, outs, s->n_out, t->rank, dims, layout, out);
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    gi_node **nodes;
    size_t n;
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
    bool blocked = c->have_out[0] == GI_BLOCKED;
    for (uint32_t i = 0; i < s->n_in; i++)
        blocked = blocked || (c->have_in[i] == GI_BLOCKED && s->out[0]->type->rank == s->in[i]->type->rank);
    if (blocked)
        GI_TRY(build(d, s, c, nodes, n, GI_BLOCKED, &v->program));
    if (!v->program)
        GI_TRY(build(d, s, c, nodes, n, GI_PLAIN, &v->program));
    if (!v->program)
        return GOPT_OK;
    v->scratch = gi_vp_scratch(v->program);
    s->scratch = v->scratch * (uint64_t)d->threads;
    for (int i = 0; i < v->program->n_in && s->n_out == 1; i++) {
        const gi_vp_input *in = &v->program->in[i];
        if (in->arg >= 0 && in->full && in->dtype == s->out[0]->type->dtype && c->want_in[in->arg] == c->want_out[0])
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
    const void *in[GI_VP_MAX_INPUTS];
    void *out[GI_VP_MAX_INPUTS];
    int64_t from, to;
    for (uint32_t i = 0; i < j->s->n_in; i++)
        in[i] = j->args->in[i].host;
    for (uint32_t i = 0; i < j->s->n_out; i++)
        out[i] = j->args->out[i].host;
    gi_share(j->v->program->elements, GI_VP_TILE, worker, n_workers, &from, &to);
    gi_vp_run(j->d, j->v->program, in, out, from, to, (char *)j->args->scratch + (uint64_t)worker * j->v->scratch);
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    job j = { d, s, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_pointwise = { "pointwise", prepare, run, NULL };
