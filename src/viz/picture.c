/* Gathers what is drawn of a graph: boxes, clusters around fusions and control-flow blocks, arcs. */
#include "viz/picture.h"

enum { DEEPEST = 100 };

typedef struct gathering {
    gi_picture *p;
    gi_map box_of;     /* node, group or parameter value to box index + 1 */
    gi_map group_of;   /* node of the main block to its group */
    gi_map cluster_of; /* node of the main block, or its group, to its scope's cluster */
    gi_smap arcs;      /* "from to value" to arc index + 1 */
} gathering;

static void *as_value(size_t i)
{
    return (void *)(uintptr_t)(i + 1);
}

static bool find_box(const gathering *w, const void *key, uint32_t *box)
{
    const uintptr_t v = (uintptr_t)gi_map_get(&w->box_of, gi_key(key));
    *box = (uint32_t)(v - 1);
    return v != 0;
}

static gopt_status add_box(gathering *w, const void *key, gi_box box)
{
    GI_NEED(gi_map_put(&w->box_of, gi_key(key), as_value(w->p->boxes.n)));
    GI_NEED(gi_push(w->p->arena, &w->p->boxes, box));
    return GOPT_OK;
}

/* ---- nodes of constants alone ---- */

static bool is_constant(const gi_picture *p, const gi_value *v)
{
    return !v || v->kind == GI_DEF_CONST ||
           (v->kind == GI_DEF_NODE && v->def.node && gi_map_get(&p->folded, gi_key(v->def.node)));
}

/* Weights that pass through Identity, Cast, Unsqueeze and so on before they are used: not worth a box. */
static gopt_status find_folded(gi_picture *p)
{
    for (const gi_node *n = p->g->main->first; n; n = n->next) {
        const gi_op *row = gi_op_get(n->op);
        bool folds = (row->traits & GI_PURE) && !(row->traits & (GI_CONTROL | GI_RANDOM)) && n->n_in > 0;
        for (uint32_t i = 0; folds && i < n->n_in; i++)
            folds = is_constant(p, n->in[i].value);
        for (uint32_t i = 0; folds && i < n->n_out; i++)
            folds = !gi_value_is_output(n->out[i]);
        if (folds)
            GI_NEED(gi_map_put(&p->folded, gi_key(n), (void *)(uintptr_t)n));
    }
    return GOPT_OK;
}

/* ---- boxes and clusters ---- */

static gopt_status add_cluster(gathering *w, gi_cluster c, uint32_t *index)
{
    *index = (uint32_t)w->p->clusters.n;
    GI_NEED(gi_push(w->p->arena, &w->p->clusters, c));
    return GOPT_OK;
}

static gopt_status gather_block(gathering *w, const gi_block *b, uint32_t cluster, int depth);

static gopt_status gather_inside(gathering *w, const gi_node *n, uint32_t cluster, int depth)
{
    gi_arena *a = w->p->arena;
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        const gi_block *inside = n->attrs[i].kind == GI_ATTR_GRAPH ? n->attrs[i].u.graph : NULL;
        uint32_t inner;
        if (!inside || (!inside->first && n->op != OP_Fusion))
            continue;
        const bool fusion = n->op == OP_Fusion;
        const char *label = fusion
                                ? gi_fusion_kind_name(n->fusion)
                                : gi_arena_printf(a, "%s: %s", n->name && *n->name ? n->name : gi_op_get(n->op)->name,
                                                  n->attrs[i].name ? n->attrs[i].name : "body");
        GI_NEED(label);
        GI_TRY(add_cluster(w,
                           (gi_cluster){ .kind = fusion ? GI_CLUSTER_FUSION : GI_CLUSTER_BLOCK,
                                         .parent = cluster,
                                         .fusion = fusion ? n : NULL,
                                         .label = label },
                           &inner));
        GI_TRY(gather_block(w, inside, inner, depth + 1));
    }
    return GOPT_OK;
}

/* All nodes inside n, at any depth, are in its box. */
typedef struct claim {
    gathering *w;
    uint32_t box;
} claim;

static bool claim_node(void *arg, gi_node *n)
{
    claim *c = arg;
    return gi_map_put(&c->w->box_of, gi_key(n), as_value(c->box));
}

static gopt_status claim_inside(gathering *w, const gi_node *n, uint32_t box)
{
    claim c = { w, box };
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].kind == GI_ATTR_GRAPH && n->attrs[i].u.graph)
            GI_NEED(gi_each_node(n->attrs[i].u.graph, claim_node, &c));
    return GOPT_OK;
}

static gopt_status gather_grouped(gathering *w, const gi_node *n, const gi_group *group, uint32_t cluster)
{
    uint32_t box;
    if (!find_box(w, group, &box)) {
        GI_TRY(add_box(w, group, (gi_box){ .kind = GI_BOX_GROUP, .group = group, .cluster = cluster }));
        box = (uint32_t)w->p->boxes.n - 1;
        w->p->hidden += group->n_nodes;
    }
    GI_NEED(gi_map_put(&w->box_of, gi_key(n), as_value(box)));
    return claim_inside(w, n, box);
}

static gopt_status gather_block(gathering *w, const gi_block *b, uint32_t outer, int depth)
{
    for (const gi_node *n = b->first; n; n = n->next) {
        const gi_group *group = gi_map_get(&w->group_of, gi_key(n));
        if (gi_map_get(&w->p->folded, gi_key(n)))
            continue;
        const uintptr_t scope = (uintptr_t)gi_map_get(&w->cluster_of, group ? gi_key(group) : gi_key(n));
        const uint32_t cluster = scope ? (uint32_t)scope : outer;
        if (group) {
            GI_TRY(gather_grouped(w, n, group, cluster));
            continue;
        }
        if (n->op != OP_Fusion)
            GI_TRY(add_box(w, n, (gi_box){ .kind = GI_BOX_NODE, .node = n, .cluster = cluster }));
        if (depth < DEEPEST)
            GI_TRY(gather_inside(w, n, cluster, depth));
        else
            GI_TRY(claim_inside(w, n, (uint32_t)w->p->boxes.n - 1));
    }
    return GOPT_OK;
}

/* ---- arcs ---- */

/* The box that a value comes out of; false for constants. Of a fusion it is the node inside. */
static bool source_of(const gathering *w, const gi_value *v, uint32_t *box, bool *dashed)
{
    *dashed = false;
    for (int depth = 0; v && depth < DEEPEST; depth++) {
        if (v->kind == GI_DEF_CONST)
            return false;
        if (v->kind == GI_DEF_PARAM) {
            if (find_box(w, v, box))
                return true;
            *dashed = true;
            return v->def.block && v->def.block->owner && find_box(w, v->def.block->owner, box);
        }
        const gi_node *n = v->def.node;
        if (!n)
            return false;
        if (find_box(w, n, box))
            return true;
        const gi_block *inside = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
        if (!inside || v->index >= inside->n_results)
            return false;
        v = inside->results[v->index].value;
    }
    return false;
}

static gopt_status add_arc(gathering *w, const gi_value *v, uint32_t to, bool dashed)
{
    gi_picture *p = w->p;
    uint32_t from;
    bool enters;
    if (!v || !source_of(w, v, &from, &enters) || from == to)
        return GOPT_OK;
    const bool grouped = p->boxes.p[from].kind == GI_BOX_GROUP || p->boxes.p[to].kind == GI_BOX_GROUP;
    char key[48];
    snprintf(key, sizeof key, "%u %u %u", from, to, grouped ? 0 : v->id + 1);
    const uintptr_t known = (uintptr_t)gi_smap_get(&w->arcs, key);
    if (known) {
        gi_arc *arc = &p->arcs.p[known - 1];
        arc->count += arc->value != v;
        return GOPT_OK;
    }
    GI_NEED(gi_smap_put(&w->arcs, key, as_value(p->arcs.n)));
    GI_NEED(gi_push(p->arena, &p->arcs,
                    (gi_arc){ .from = from, .to = to, .value = v, .count = 1, .dashed = dashed || enters }));
    return GOPT_OK;
}

typedef struct arc_walk {
    gathering *w;
    gopt_status status;
} arc_walk;

static bool arcs_of_node(void *arg, gi_node *n)
{
    arc_walk *walk = arg;
    uint32_t to;
    const bool drawn = find_box(walk->w, n, &to);
    for (uint32_t i = 0; drawn && i < n->n_in && walk->status == GOPT_OK; i++)
        walk->status = add_arc(walk->w, n->in[i].value, to, false);
    for (uint32_t i = 0; drawn && i < n->n_attrs && walk->status == GOPT_OK; i++) {
        const gi_block *b = n->attrs[i].kind == GI_ATTR_GRAPH ? n->attrs[i].u.graph : NULL;
        for (uint32_t k = 0; b && k < b->n_results && walk->status == GOPT_OK; k++)
            walk->status = add_arc(walk->w, b->results[k].value, to, true);
    }
    return walk->status == GOPT_OK;
}

static gopt_status gather_arcs(gathering *w, const gopt_graph *g)
{
    arc_walk walk = { w, GOPT_OK };
    if (!gi_each_node(g->main, arcs_of_node, &walk))
        return walk.status != GOPT_OK ? walk.status : GOPT_NO_MEMORY;
    for (uint32_t i = 0; i < g->main->n_results; i++) {
        const uint32_t box = (uint32_t)w->p->boxes.n;
        GI_NEED(gi_push(
            w->p->arena, &w->p->boxes,
            (gi_box){ .kind = GI_BOX_OUTPUT, .value = g->main->results[i].value, .name = g->main->result_names[i] }));
        GI_TRY(add_arc(w, g->main->results[i].value, box, false));
    }
    return GOPT_OK;
}

static bool inside_fusion(const gi_picture *p, const gi_arc *arc)
{
    const uint32_t c = p->boxes.p[arc->from].cluster;
    return p->clusters.p[c].kind == GI_CLUSTER_FUSION && p->boxes.p[arc->to].cluster == c;
}

/* A value that many read says its type once; what never leaves a kernel says none; inputs and outputs say it in the
 * box. */
static gopt_status quieten(gi_picture *p)
{
    enum { SAID_TO_EACH = 2 };
    gi_map readers;
    gi_map_init(&readers, p->arena);
    for (size_t i = 0; i < p->arcs.n; i++) {
        gi_arc *arc = &p->arcs.p[i];
        const uintptr_t n = (uintptr_t)gi_map_get(&readers, gi_key(arc->value));
        GI_NEED(gi_map_put(&readers, gi_key(arc->value), as_value(n)));
        arc->quiet = n >= SAID_TO_EACH || inside_fusion(p, arc) || p->boxes.p[arc->from].kind == GI_BOX_INPUT ||
                     p->boxes.p[arc->to].kind == GI_BOX_OUTPUT;
    }
    return GOPT_OK;
}

/* ---- the whole ---- */

gopt_status gi_picture_make(const gopt_graph *g, gi_arena *a, const gopt_dot_options *o, bool collapse, gi_picture *p)
{
    enum { MOST_NODES = 500, COLLAPSED_BOXES = 160, FEWEST_BOXES = 8 };
    *p = (gi_picture){ .g = g, .arena = a };
    gathering w = { .p = p };
    gi_map_init(&w.box_of, a);
    gi_map_init(&w.group_of, a);
    gi_map_init(&w.cluster_of, a);
    gi_smap_init(&w.arcs, a);
    gi_map_init(&p->folded, a);
    const size_t asked = o && o->max_nodes ? o->max_nodes : MOST_NODES;
    const size_t most = collapse && asked > COLLAPSED_BOXES ? COLLAPSED_BOXES : asked;
    if (!(o && o->full))
        GI_TRY(find_folded(p));
    if (!(o && o->full) && gi_graph_count_nodes(g) - p->folded.n > most) {
        const size_t budget = most < COLLAPSED_BOXES ? most : COLLAPSED_BOXES;
        GI_TRY(gi_scope_group(g, a, budget > FEWEST_BOXES ? budget : FEWEST_BOXES, &p->folded, &w.group_of));
        p->collapsed = true;
    }
    GI_NEED(gi_push(a, &p->clusters, (gi_cluster){ .kind = GI_CLUSTER_SCOPE }));
    GI_TRY(gi_scope_cluster(p, &w.group_of, &w.cluster_of));
    for (uint32_t i = 0; i < g->main->n_params; i++)
        GI_TRY(
            add_box(&w, g->main->params[i],
                    (gi_box){ .kind = GI_BOX_INPUT, .value = g->main->params[i], .name = g->main->params[i]->name }));
    GI_TRY(gather_block(&w, g->main, 0, 0));
    GI_TRY(gather_arcs(&w, g));
    return quieten(p);
}

size_t gi_picture_span(const gi_picture *p)
{
    uint32_t *rank = GI_NEW_ARRAY(p->arena, uint32_t, p->boxes.n + 1);
    size_t total = 0;
    if (!rank)
        return SIZE_MAX;
    for (size_t i = 0; i < p->arcs.n; i++) { /* by what reads: what it reads has its rank already */
        const gi_arc *arc = &p->arcs.p[i];
        if (arc->from < arc->to && rank[arc->to] <= rank[arc->from])
            rank[arc->to] = rank[arc->from] + 1;
    }
    for (size_t i = 0; i < p->arcs.n; i++) {
        const gi_arc *arc = &p->arcs.p[i];
        total += rank[arc->to] > rank[arc->from] ? rank[arc->to] - rank[arc->from] : 0;
    }
    return total;
}
