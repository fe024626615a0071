/* Gathers what is drawn of a graph: boxes, clusters around fusions and control-flow blocks, arcs. */
#include "viz/picture.h"

enum { DEEPEST = 100 };

typedef struct gathering {
    gi_picture *p;
    gi_map box_of;   /* node, group or parameter value to box index + 1 */
    gi_map group_of; /* node of the main block to its group */
    gi_smap arcs;    /* "from to value" to arc index + 1 */
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
        GI_TRY(add_cluster(w, (gi_cluster){ .parent = cluster, .fusion = fusion ? n : NULL, .label = label }, &inner));
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

static gopt_status gather_block(gathering *w, const gi_block *b, uint32_t cluster, int depth)
{
    for (const gi_node *n = b->first; n; n = n->next) {
        const gi_group *group = gi_map_get(&w->group_of, gi_key(n));
        if (gi_map_get(&w->p->folded, gi_key(n)))
            continue;
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

/* ---- the whole ---- */

gopt_status gi_picture_make(const gopt_graph *g, gi_arena *a, const gopt_dot_options *o, gi_picture *p)
{
    enum { MOST_NODES = 1000, COLLAPSED_BOXES = 240, FEWEST_BOXES = 8 };
    *p = (gi_picture){ .g = g, .arena = a };
    gathering w = { .p = p };
    gi_map_init(&w.box_of, a);
    gi_map_init(&w.group_of, a);
    gi_smap_init(&w.arcs, a);
    gi_map_init(&p->folded, a);
    const size_t most = o && o->max_nodes ? o->max_nodes : MOST_NODES;
    if (!(o && o->full))
        GI_TRY(find_folded(p));
    if (!(o && o->full) && gi_graph_count_nodes(g) - p->folded.n > most) {
        const size_t budget = most < COLLAPSED_BOXES ? most : COLLAPSED_BOXES;
        GI_TRY(gi_scope_group(g, a, budget > FEWEST_BOXES ? budget : FEWEST_BOXES, &p->folded, &w.group_of));
        p->collapsed = true;
    }
    GI_NEED(gi_push(a, &p->clusters, (gi_cluster){ 0 }));
    for (uint32_t i = 0; i < g->main->n_params; i++)
        GI_TRY(
            add_box(&w, g->main->params[i],
                    (gi_box){ .kind = GI_BOX_INPUT, .value = g->main->params[i], .name = g->main->params[i]->name }));
    GI_TRY(gather_block(&w, g->main, 0, 0));
    return gather_arcs(&w, g);
}

/* ---- what became what ---- */

static const char *const *origins_of(const gi_node *n, uint32_t *count, const char **single)
{
    *count = n->n_origins;
    if (n->n_origins)
        return n->origins;
    *single = n->name ? n->name : n->n_out && n->out[0]->name ? n->out[0]->name : NULL;
    *count = *single != NULL;
    return single;
}

/* The number of the unit that the box belongs to: that of its fusion, where it lies in one. */
static uint32_t *unit_of(gi_picture *p, gi_box *b)
{
    return b->cluster && p->clusters.p[b->cluster].fusion ? &p->clusters.p[b->cluster].unit : &b->unit;
}

static bool put_origins(gi_smap *units, const gi_node *n, uint32_t unit)
{
    uint32_t count;
    const char *single;
    const char *const *origins = origins_of(n, &count, &single);
    for (uint32_t i = 0; i < count; i++)
        if (!gi_smap_get(units, origins[i]) && !gi_smap_put(units, origins[i], as_value(unit)))
            return false;
    return true;
}

static char *group_key(gi_arena *a, const gi_group *g)
{
    return gi_arena_printf(a, "%s%s", g->own ? "own of " : "scope ", g->path);
}

static gopt_status number_after(gi_picture *p, gi_smap *units)
{
    uint32_t last = 0;
    for (size_t i = 0; i < p->boxes.n; i++) {
        gi_box *b = &p->boxes.p[i];
        if (b->kind == GI_BOX_NODE) {
            uint32_t *unit = unit_of(p, b);
            if (!*unit)
                *unit = ++last;
            b->unit = *unit;
            GI_NEED(put_origins(units, b->node, *unit));
        } else if (b->kind == GI_BOX_GROUP) {
            b->unit = ++last;
            char *key = group_key(p->arena, b->group);
            GI_NEED(key && gi_smap_put(units, key, as_value(b->unit)));
            for (size_t k = 0; k < b->group->nodes.n; k++)
                GI_NEED(put_origins(units, b->group->nodes.p[k], b->unit));
        }
    }
    return GOPT_OK;
}

static uint32_t find_unit(const gi_smap *units, const gi_node *n)
{
    uint32_t count;
    const char *single;
    const char *const *origins = origins_of(n, &count, &single);
    for (uint32_t i = 0; i < count; i++) {
        const uintptr_t v = (uintptr_t)gi_smap_get(units, origins[i]);
        if (v)
            return (uint32_t)(v - 1);
    }
    return 0;
}

gopt_status gi_picture_match(gi_picture *before, gi_picture *after)
{
    gi_smap units;
    gi_smap_init(&units, after->arena);
    GI_TRY(number_after(after, &units));
    for (size_t i = 0; i < before->boxes.n; i++) {
        gi_box *b = &before->boxes.p[i];
        if (b->kind == GI_BOX_NODE) {
            b->unit = find_unit(&units, b->node);
        } else if (b->kind == GI_BOX_GROUP) {
            char *key = group_key(before->arena, b->group);
            GI_NEED(key);
            const uintptr_t v = (uintptr_t)gi_smap_get(&units, key);
            b->unit = v ? (uint32_t)(v - 1) : 0;
            for (size_t k = 0; !b->unit && k < b->group->nodes.n; k++)
                b->unit = find_unit(&units, b->group->nodes.p[k]);
        }
    }
    return GOPT_OK;
}
