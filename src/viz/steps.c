/* Steps and nodes.
 *
 * A step knows the node that it runs, but of the graph as it was compiled for the shapes of the run. Nodes of any other
 * stage, and of the model as it was loaded, are found through their origins: a node goes to the step that it shares
 * most of them with, and a step that got none takes the node that fits it best, so that no time is lost. */
#include "viz/steps.h"

#include "ops/cost.h"

/* ---- sizes ---- */

static int64_t number_of(const gi_dim *d)
{
    int64_t v;
    return d && gi_dim_eval_each(d, 1, &v) && v > 0 ? v : 0;
}

static uint64_t bytes_of(const gi_value *v)
{
    const gi_type *t = v ? v->type : NULL;
    size_t n = 1;
    for (int i = 0; t && t->kind == GOPT_TENSOR && i < t->rank; i++)
        if (!gi_mul_size(n, (size_t)number_of(t->dims[i]), &n))
            return 0;
    return t && t->kind == GOPT_TENSOR && t->rank >= 0 && gi_dtype_bytes(t->dtype, n, &n) ? n : 0;
}

double gi_node_operations(const gi_node *n)
{
    return (double)number_of(gi_node_flops(n));
}

bool gi_step_reads(const gi_node *n, gi_arena *a, gi_values *out)
{
    gi_map seen;
    gi_map_init(&seen, a);
    if (!gi_node_reads(n, a, out))
        return false;
    for (const gi_node *in = n->op == OP_Fusion ? gi_fusion_block(n)->first : NULL; in; in = in->next)
        for (uint32_t i = 0; i < in->n_in; i++) { /* constants belong to no block, so they are not captured */
            gi_value *v = in->in[i].value;
            if (v && v->kind == GI_DEF_CONST && !gi_map_get(&seen, gi_key(v)) &&
                (!gi_map_put(&seen, gi_key(v), v) || !gi_push(a, out, v)))
                return false;
        }
    return true;
}

gi_node_bytes gi_node_bytes_of(const gi_node *n, const gi_values *reads)
{
    gi_node_bytes b = { 0 };
    for (size_t i = 0; i < (reads ? reads->n : n->n_in); i++) {
        const gi_value *v = reads ? reads->p[i] : n->in[i].value;
        if (v)
            *(v->kind == GI_DEF_CONST ? &b.weights : &b.read) += bytes_of(v);
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        b.written += bytes_of(n->out[i]);
    return b;
}

/* ---- shares ---- */

/* Gives each its share: by operations, else by bytes written, else equally. */
static void share_out(gi_part *parts, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += parts[i].share = gi_node_operations(parts[i].node);
    for (size_t i = 0; i < n && sum <= 0; i++)
        parts[i].share = (double)gi_node_bytes_of(parts[i].node, NULL).written;
    if (sum <= 0)
        for (size_t i = 0; i < n; i++)
            sum += parts[i].share;
    for (size_t i = 0; i < n; i++)
        parts[i].share = sum > 0 ? parts[i].share / sum : 1 / (double)n;
}

gopt_status gi_step_parts(const gi_node *n, gi_arena *a, gi_part **parts, size_t *n_parts)
{
    gi_vec(gi_part) list = { 0 };
    const bool fusion = n->op == OP_Fusion;
    for (const gi_node *in = fusion ? gi_fusion_block(n)->first : n; in; in = fusion ? in->next : NULL)
        GI_NEED(gi_push(a, &list, (gi_part){ .node = in }));
    share_out(list.p, list.n);
    *parts = list.p;
    *n_parts = list.n;
    return GOPT_OK;
}

/* ---- nodes of any stage ---- */

typedef struct matching {
    const gopt_run_profile *p;
    gi_arena *a;
    gi_smap steps_of; /* origin → indices */
    struct fit {
        gi_vec(gi_part) nodes; /* that this step runs */
        const gi_node *best;   /* the one that fits it best, whoever runs it */
        double fit;
    } * fits;
    size_t *both; /* a step: origins that the node asked about shares with it; zero between nodes */
} matching;

typedef gi_vec(size_t) indices;

static gopt_status index_steps(matching *m)
{
    gi_smap_init(&m->steps_of, m->a);
    for (size_t i = 0; i < m->p->n_steps; i++) {
        const gopt_step_info *s = m->p->steps[i].step;
        for (size_t k = 0; s->node && k < s->n_origins; k++) {
            indices *list = gi_smap_get(&m->steps_of, s->origins[k]);
            if (!list) {
                GI_NEED(list = GI_NEW(m->a, indices));
                GI_NEED(gi_smap_put(&m->steps_of, s->origins[k], list));
            }
            GI_NEED(gi_push(m->a, list, i));
        }
    }
    return GOPT_OK;
}

static double fit_of(const matching *m, const gi_node *n, uint32_t n_origins, size_t step)
{
    const gopt_step_info *s = m->p->steps[step].step;
    const double both = (double)m->both[step], mine = n_origins;
    const bool same = n->name && s->name && !strcmp(n->name, s->name);
    return both / (mine + (double)s->n_origins - both) + both / mine + (same ? 1 : 0);
}

static gopt_status place_node(matching *m, const gi_node *n)
{
    const char *const *origins = n->n_origins ? n->origins : &n->name;
    const uint32_t n_origins = n->n_origins ? n->n_origins : n->name ? 1 : 0;
    indices met = { 0 };
    for (uint32_t k = 0; k < n_origins; k++) {
        const indices *list = gi_smap_get(&m->steps_of, origins[k]);
        for (size_t i = 0; list && i < list->n; i++)
            if (!m->both[list->p[i]]++)
                GI_NEED(gi_push(m->a, &met, list->p[i]));
    }
    size_t best = 0;
    double most = 0;
    for (size_t i = 0; i < met.n; i++) {
        struct fit *f = &m->fits[met.p[i]];
        const double fit = fit_of(m, n, n_origins, met.p[i]);
        if (fit > f->fit) {
            f->fit = fit;
            f->best = n;
        }
        if (fit > most || (best > met.p[i] && !(fit < most))) { /* of equal ones, the first step */
            most = fit;
            best = met.p[i];
        }
    }
    for (size_t i = 0; i < met.n; i++)
        m->both[met.p[i]] = 0;
    return !met.n || gi_push(m->a, &m->fits[best].nodes, (gi_part){ .node = n }) ? GOPT_OK : GOPT_NO_MEMORY;
}

static gopt_status add_time(gi_map *of, gi_arena *a, const gi_part *part, const gopt_step_times *s, size_t step)
{
    gi_node_time *t = gi_map_get(of, gi_key(part->node));
    if (!t) {
        GI_NEED(t = GI_NEW(a, gi_node_time));
        t->step = step;
        GI_NEED(gi_map_put(of, gi_key(part->node), t));
    }
    t->ms += s->median_ms * part->share;
    t->bytes += (double)s->step->bytes * part->share;
    return GOPT_OK;
}

gopt_status gi_node_times(const gopt_graph *g, const gopt_run_profile *p, gi_arena *a, gi_map *of)
{
    matching m = { .p = p, .a = a };
    gi_map_init(of, a);
    GI_NEED(m.fits = GI_NEW_ARRAY(a, struct fit, p->n_steps + 1));
    GI_NEED(m.both = GI_NEW_ARRAY(a, size_t, p->n_steps + 1));
    GI_TRY(index_steps(&m));
    for (const gi_node *n = gopt_graph_first_node(g); n; n = gopt_node_next(n))
        if (n->op != OP_Fusion)
            GI_TRY(place_node(&m, n));
    for (size_t i = 0; i < p->n_steps; i++) {
        struct fit *f = &m.fits[i];
        if (!f->nodes.n && f->best)
            GI_NEED(gi_push(a, &f->nodes, (gi_part){ .node = f->best }));
        share_out(f->nodes.p, f->nodes.n);
        for (size_t k = 0; k < f->nodes.n; k++)
            GI_TRY(add_time(of, a, &f->nodes.p[k], &p->steps[i], i));
    }
    return GOPT_OK;
}
