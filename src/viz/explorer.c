/* Model Explorer's files: graphs, node data, and what is what in two graphs.
 *
 *   block of a graph → one of its graphs     node → its node, folded by namespace
 *   fusion → a namespace of its own          input, output, captured value → "[io]NAME"
 *
 * Ids are names where these are unique, since node data and the mapping stand in files of their own; they must never be
 * empty. Weights are no nodes: they stand with what reads them, or a network would have twice as many. */
#include "viz/json.h"
#include "viz/picture.h"
#include "viz/steps.h"

/* One side: the model as loaded, or as optimized. */
typedef struct side {
    const gopt_graph *g;
    const char *id; /* of its main graph */
    gi_map node_id; /* node → id */
    gi_smap taken;
    gi_map times; /* node → gi_node_time, where there was a run */
    gi_vec(const gi_node *) nodes;
} side;

typedef struct explorer {
    gopt_ctx *cx;
    gi_arena *arena;
    const gopt_run_profile *p; /* NULL: nothing ran */
    json_t *graphs;
    side *now;
    bool failed;
} explorer;

static void set(explorer *x, json_t *object, const char *key, json_t *value)
{
    x->failed |= json_object_set_new(object, key, value) != 0;
}

static void push(explorer *x, json_t *list, json_t *value)
{
    x->failed |= json_array_append_new(list, value) != 0;
}

static void set_text(explorer *x, json_t *object, const char *key, const char *text)
{
    set(x, object, key, gi_json_text(x->cx, text));
}

static void add_pair(explorer *x, json_t *list, const char *key, const char *value)
{
    json_t *j = json_object();
    set_text(x, j, "key", key);
    set_text(x, j, "value", value);
    push(x, list, j);
}

/* ---- ids ---- */

static const char *unique(explorer *x, const char *wish)
{
    return gi_unique_name(x->arena, &x->now->taken, wish);
}

static gopt_status name_nodes(explorer *x)
{
    side *s = x->now;
    gi_map_init(&s->node_id, x->arena);
    gi_smap_init(&s->taken, x->arena);
    for (const gi_node *n = gopt_graph_first_node(s->g); n; n = gopt_node_next(n)) {
        if (n->op == OP_Fusion)
            continue;
        const char *wish = n->name && *n->name ? n->name
                           : n->n_origins      ? gi_arena_printf(x->arena, "%s %s", n->origins[0], n->op_name)
                                               : n->op_name;
        const char *id = unique(x, wish);
        union {
            const char *c;
            void *v;
        } value = { .c = id };
        GI_NEED(id && gi_map_put(&s->node_id, gi_key(n), value.v) && gi_push(x->arena, &s->nodes, n));
    }
    return GOPT_OK;
}

/* ---- nodes ---- */

/* "encoder/layer.0/attn": parts of a scope that are not empty. */
static void add_path(gi_str *s, const char *path, size_t n)
{
    for (size_t i = 0; i < n;) {
        const char *slash = memchr(path + i, '/', n - i);
        const size_t part = slash ? (size_t)(slash - path) - i : n - i;
        if (part) {
            gi_str_add(s, s->n ? "/" : "");
            gi_str_addn(s, path + i, part);
        }
        i += part + 1;
    }
}

static const char *namespace_of(explorer *x, const gi_node *n)
{
    const gi_node *owner = n->block->owner;
    const gi_node *of = owner && owner->op == OP_Fusion ? owner : n;
    size_t length;
    const char *path = gi_scope_of(of, &length);
    gi_str s;
    gi_str_init(&s, x->arena);
    add_path(&s, path, length);
    if (of != n) /* ids are never reused, so no two fusions are one box */
        gi_str_addf(&s, "%sfused %s %u", s.n ? "/" : "", gi_fusion_kind_name(of->fusion), of->id);
    return s.p ? s.p : "";
}

static const char *type_text(explorer *x, const gi_value *v)
{
    gi_str s;
    gi_str_init(&s, x->arena);
    gi_type_print(&s, v->type);
    return s.p ? s.p : "?";
}

static json_t *tensor_item(explorer *x, uint32_t at, const gi_value *v)
{
    char label[16];
    json_t *j = json_object(), *attrs = json_array();
    set(x, j, "id", json_sprintf("%u", at));
    add_pair(x, attrs, "tensor_name", gi_value_label(v, label, sizeof label));
    add_pair(x, attrs, "tensor_shape", type_text(x, v));
    if (v->kind == GI_DEF_CONST)
        add_pair(x, attrs, "param_name", gi_value_label(v, label, sizeof label));
    set(x, j, "attrs", attrs);
    return j;
}

static json_t *attrs_of(explorer *x, const gi_node *n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        const gi_attr *a = &n->attrs[i];
        if (a->kind == GI_ATTR_NONE || a->kind == GI_ATTR_GRAPH || !a->name)
            continue;
        gi_str s;
        gi_str_init(&s, x->arena);
        gi_attr_text(&s, a);
        add_pair(x, list, a->name, s.p);
    }
    gi_str origins;
    gi_str_init(&origins, x->arena);
    for (uint32_t i = 0; i < n->n_origins; i++)
        gi_str_addf(&origins, "%s%s", i ? ", " : "", n->origins[i]);
    if (n->n_origins > 1 || (n->n_origins && n->name && strcmp(n->name, n->origins[0]) != 0))
        add_pair(x, list, "gopt.origin", origins.p);
    const gi_node_time *t = x->p ? gi_map_get(&x->now->times, gi_key(n)) : NULL;
    if (t) {
        const gopt_step_info *s = x->p->steps[t->step].step;
        add_pair(x, list, "time", gi_arena_printf(x->arena, "%.4g ms", t->ms));
        add_pair(x, list, "step", gi_arena_printf(x->arena, "%zu, %s", t->step, s->op));
        add_pair(x, list, "backend", s->backend);
        add_pair(x, list, "tactic", s->tactic);
    }
    return list;
}

/* One of their graphs in the making. */
typedef struct sheet {
    const gi_block *block;
    json_t *nodes;
    gi_map io; /* value → id of its "[io]" node */
} sheet;

/* The node of this sheet that stands for a value from outside: an input, or what the block captures. */
static const char *io_node(explorer *x, sheet *sh, const gi_value *v)
{
    const char *known = gi_map_get(&sh->io, gi_key(v));
    char label[16];
    if (known)
        return known;
    const char *id = unique(x, gi_arena_printf(x->arena, "[io]%s", gi_value_label(v, label, sizeof label)));
    json_t *j = json_object(), *outs = json_array();
    set_text(x, j, "id", id);
    set_text(x, j, "label", v->kind == GI_DEF_PARAM ? "input" : "from outside");
    set_text(x, j, "namespace", "");
    push(x, outs, tensor_item(x, 0, v));
    set(x, j, "outputsMetadata", outs);
    push(x, sh->nodes, j);
    union {
        const char *c;
        void *v;
    } value = { .c = id };
    x->failed |= !id || !gi_map_put(&sh->io, gi_key(v), value.v);
    return id ? id : "";
}

/* The value's own maker: results of a fusion are made by a node inside of it. */
static const gi_value *maker_of(const gi_value *v)
{
    while (v->kind == GI_DEF_NODE && v->def.node && v->def.node->op == OP_Fusion) {
        const gi_value *inner = gi_fusion_block(v->def.node)->results[v->index].value;
        if (!inner)
            break;
        v = inner;
    }
    return v;
}

/* The block whose sheet a node is drawn on: fusions are none of their own. */
static const gi_block *sheet_block(const gi_block *b)
{
    while (b->owner && b->owner->op == OP_Fusion)
        b = b->owner->block;
    return b;
}

static void add_edge(explorer *x, sheet *sh, json_t *edges, const gi_value *read, uint32_t at)
{
    const gi_value *v = maker_of(read);
    const gi_node *from = v->kind == GI_DEF_NODE ? v->def.node : NULL;
    json_t *j = json_object();
    if (from && sheet_block(from->block) == sh->block)
        set_text(x, j, "sourceNodeId", gi_map_get(&x->now->node_id, gi_key(from)));
    else
        set_text(x, j, "sourceNodeId", io_node(x, sh, v));
    set(x, j, "sourceNodeOutputId", json_sprintf("%u", from && sheet_block(from->block) == sh->block ? v->index : 0));
    set(x, j, "targetNodeInputId", json_sprintf("%u", at));
    push(x, edges, j);
}

static const char *block_id(explorer *x, const gi_block *b);

static void add_node(explorer *x, sheet *sh, const gi_node *n)
{
    json_t *j = json_object(), *edges = json_array(), *ins = json_array(), *outs = json_array(), *subs = json_array();
    const gi_kind_style *style = gi_kind_get(gi_kind_of(n));
    set_text(x, j, "id", gi_map_get(&x->now->node_id, gi_key(n)));
    set_text(x, j, "label", gi_op_text(x->arena, n));
    set_text(x, j, "namespace", namespace_of(x, n));
    set(x, j, "attrs", attrs_of(x, n));
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (!v)
            continue;
        push(x, ins, tensor_item(x, i, v));
        if (v->kind != GI_DEF_CONST)
            add_edge(x, sh, edges, v, i);
    }
    gi_values captured = { 0 };
    x->failed |= !gi_node_captures(n, x->arena, &captured);
    for (size_t i = 0; i < captured.n; i++)
        if (captured.p[i]->kind != GI_DEF_CONST)
            add_edge(x, sh, edges, captured.p[i], n->n_in + (uint32_t)i);
    for (uint32_t i = 0; i < n->n_out; i++)
        push(x, outs, tensor_item(x, i, n->out[i]));
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].kind == GI_ATTR_GRAPH && n->attrs[i].u.graph)
            push(x, subs, gi_json_text(x->cx, block_id(x, n->attrs[i].u.graph)));
    set(x, j, "subgraphIds", subs);
    set(x, j, "incomingEdges", edges);
    set(x, j, "inputsMetadata", ins);
    set(x, j, "outputsMetadata", outs);
    set(x, j, "style", json_pack("{s:s, s:s}", "backgroundColor", style->fill, "borderColor", style->border));
    push(x, sh->nodes, j);
}

static void add_outputs(explorer *x, sheet *sh)
{
    const gi_block *b = sh->block;
    for (uint32_t i = 0; i < b->n_results; i++) {
        const gi_value *v = b->results[i].value;
        if (!v)
            continue;
        const char *name = b->result_names ? b->result_names[i] : v->name;
        json_t *j = json_object(), *edges = json_array(), *ins = json_array();
        set_text(x, j, "id", unique(x, gi_arena_printf(x->arena, "[io]%s", name ? name : "output")));
        set_text(x, j, "label", "output");
        set_text(x, j, "namespace", "");
        add_edge(x, sh, edges, v, 0);
        push(x, ins, tensor_item(x, 0, v));
        set(x, j, "incomingEdges", edges);
        set(x, j, "inputsMetadata", ins);
        push(x, sh->nodes, j);
    }
}

/* ---- graphs ---- */

/* "after", "after/LOOP/body" */
static const char *block_id(explorer *x, const gi_block *b)
{
    if (!b->owner)
        return x->now->id;
    const char *name = gi_map_get(&x->now->node_id, gi_key(b->owner));
    const char *attr = "body";
    for (uint32_t i = 0; i < b->owner->n_attrs; i++)
        if (b->owner->attrs[i].kind == GI_ATTR_GRAPH && b->owner->attrs[i].u.graph == b)
            attr = b->owner->attrs[i].name;
    return gi_arena_printf(x->arena, "%s/%s/%s", x->now->id, name ? name : "", attr);
}

static void add_graph(explorer *x, const gi_block *b)
{
    sheet sh = { .block = b, .nodes = json_array() };
    json_t *j = json_object();
    gi_map_init(&sh.io, x->arena);
    set_text(x, j, "id", block_id(x, b));
    set(x, j, "nodes", sh.nodes);
    push(x, x->graphs, j);
    for (uint32_t i = 0; i < b->n_params; i++)
        io_node(x, &sh, b->params[i]);
    for (const gi_node *n = b->first; n; n = n->next) {
        if (n->op != OP_Fusion) {
            add_node(x, &sh, n);
            continue;
        }
        for (const gi_node *in = gi_fusion_block(n)->first; in; in = in->next)
            add_node(x, &sh, in);
    }
    add_outputs(x, &sh);
}

static gopt_status add_side(explorer *x, side *s)
{
    x->now = s;
    GI_TRY(name_nodes(x));
    if (x->p)
        GI_TRY(gi_node_times(s->g, x->p, x->arena, &s->times));
    add_graph(x, s->g->main);
    for (size_t i = 0; i < s->nodes.n; i++)
        for (uint32_t k = 0; k < s->nodes.p[i]->n_attrs; k++)
            if (s->nodes.p[i]->attrs[k].kind == GI_ATTR_GRAPH && s->nodes.p[i]->attrs[k].u.graph)
                add_graph(x, s->nodes.p[i]->attrs[k].u.graph);
    return x->failed ? GOPT_NO_MEMORY : GOPT_OK;
}

/* ---- node data ---- */

typedef enum metric { OPERATIONS, BYTES, WEIGHTS, TIME, MOVED, METRICS } metric;
static const char *const metric_names[] = { "flops", "bytes", "weights", "time", "moved" };

static bool measure(const explorer *x, const side *s, const gi_node *n, metric m, double *out)
{
    const gi_node_time *t = x->p ? gi_map_get(&s->times, gi_key(n)) : NULL;
    switch (m) {
    case OPERATIONS:
        *out = gi_node_operations(n);
        return *out > 0;
    case BYTES:
        *out = (double)gi_node_bytes_of(n, NULL).written;
        return *out > 0;
    case WEIGHTS:
        *out = (double)gi_node_bytes_of(n, NULL).weights;
        return *out > 0;
    case TIME:
        *out = t ? t->ms : 0;
        return t != NULL;
    default:
        *out = t ? t->bytes : 0;
        return t != NULL;
    }
}

/* Node data of every graph of a side: results stand under the graph that has the node. */
static void add_data(explorer *x, side *s, metric m, json_t *file)
{
    x->now = s;
    for (size_t i = 0; i < s->nodes.n; i++) {
        const gi_node *n = s->nodes.p[i];
        const char *id = gi_map_get(&s->node_id, gi_key(n)), *graph = block_id(x, sheet_block(n->block));
        double value;
        if (!measure(x, s, n, m, &value) || !id || !graph)
            continue;
        json_t *key = gi_json_text(x->cx, graph), *node = gi_json_text(x->cx, id);
        json_t *data = key ? json_object_get(file, json_string_value(key)) : NULL;
        if (key && !data) {
            data =
                json_pack("{s:{}, s:[{s:f, s:s, s:s}, {s:f, s:s, s:s}]}", "results", "gradient", "stop", 0.0, "bgColor",
                          "#fff8e1", "textColor", "#222222", "stop", 1.0, "bgColor", "#e65100", "textColor", "#ffffff");
            x->failed |= json_object_set_new(file, json_string_value(key), data) != 0;
        }
        x->failed |= !node || !data ||
                     json_object_set_new(json_object_get(data, "results"), json_string_value(node),
                                         json_pack("{s:f}", "value", value)) != 0;
        json_decref(key);
        json_decref(node);
    }
}

/* ---- what is what ---- */

/* Sets of nodes that share origins, found by joining: each origin, and each node, points to another of its set. */
typedef struct joining {
    uint32_t *next; /* by number */
    gi_smap number; /* origin → number + 1 */
    uint32_t n;
} joining;

static uint32_t root_of(joining *j, uint32_t i)
{
    while (j->next[i] != i)
        i = j->next[i] = j->next[j->next[i]];
    return i;
}

static bool number_origin(joining *j, const char *origin, uint32_t *out)
{
    const uintptr_t known = (uintptr_t)gi_smap_get(&j->number, origin);
    if (known) {
        *out = (uint32_t)known - 1;
        return true;
    }
    *out = j->n;
    j->next[j->n] = j->n;
    return gi_smap_put(&j->number, origin, (void *)(uintptr_t)++j->n);
}

static size_t count_origins(const side *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->nodes.n; i++)
        n += s->nodes.p[i]->n_origins + 1;
    return n;
}

/* Joins the origins of each node; gives the number of one of them. */
static gopt_status join(joining *j, const side *s, uint32_t *first)
{
    for (size_t i = 0; i < s->nodes.n; i++) {
        const gi_node *n = s->nodes.p[i];
        const char *const *names = n->n_origins ? n->origins : &n->name;
        first[i] = UINT32_MAX;
        for (uint32_t k = 0; k < (n->n_origins ? n->n_origins : n->name ? 1 : 0); k++) {
            uint32_t number;
            GI_NEED(number_origin(j, names[k], &number));
            if (first[i] == UINT32_MAX)
                first[i] = number;
            j->next[root_of(j, number)] = root_of(j, first[i]);
        }
    }
    return GOPT_OK;
}

static void list_sets(explorer *x, joining *j, const side *s, const uint32_t *first, json_t **sets, const char *key)
{
    for (size_t i = 0; i < s->nodes.n; i++) {
        if (first[i] == UINT32_MAX)
            continue;
        const uint32_t root = root_of(j, first[i]);
        if (!sets[root])
            sets[root] = json_pack("{s:[], s:[]}", "leftNodeIds", "rightNodeIds");
        push(x, json_object_get(sets[root], key), gi_json_text(x->cx, gi_map_get(&s->node_id, gi_key(s->nodes.p[i]))));
    }
}

static gopt_status map_sides(explorer *x, side *before, side *after, json_t **out)
{
    joining j = { 0 };
    const size_t most = count_origins(before) + count_origins(after) + 1;
    gi_smap_init(&j.number, x->arena);
    GI_NEED(j.next = GI_NEW_ARRAY(x->arena, uint32_t, most));
    uint32_t *left = GI_NEW_ARRAY(x->arena, uint32_t, before->nodes.n + 1);
    uint32_t *right = GI_NEW_ARRAY(x->arena, uint32_t, after->nodes.n + 1);
    json_t **sets = GI_NEW_ARRAY(x->arena, json_t *, most);
    GI_NEED(left && right && sets);
    GI_TRY(join(&j, before, left));
    GI_TRY(join(&j, after, right));
    list_sets(x, &j, before, left, sets, "leftNodeIds");
    list_sets(x, &j, after, right, sets, "rightNodeIds");
    json_t *entries = json_array();
    for (uint32_t i = 0; i < j.n; i++) {
        if (sets[i] && json_array_size(json_object_get(sets[i], "leftNodeIds")) &&
            json_array_size(json_object_get(sets[i], "rightNodeIds")))
            push(x, entries, json_incref(sets[i]));
        json_decref(sets[i]);
    }
    *out = json_pack("{s:s, s:{}, s:o, s:b, s:b}", "type", "sync_navigation", "mapping", "mappingEntries", entries,
                     "disableMappingFallback", 0, "showDiffHighlights", 1);
    return x->failed ? GOPT_NO_MEMORY : GOPT_OK;
}

/* ---- the whole ---- */

static gopt_status save(explorer *x, const char *prefix, const char *what, json_t *j)
{
    const char *path = gi_arena_printf(x->arena, "%s%s%s.json", prefix, *what ? "." : "", what);
    if (!path || x->failed) {
        json_decref(j);
        return GOPT_NO_MEMORY;
    }
    return gi_json_save(x->cx, path, j);
}

static gopt_status save_all(explorer *x, side *before, side *after, const char *title, const char *prefix)
{
    json_t *file = json_object();
    x->graphs = json_array();
    const char *slash = title ? strrchr(title, '/') : NULL;
    set_text(x, file, "label", slash && slash[1] ? slash + 1 : title && *title ? title : "model");
    set(x, file, "graphs", x->graphs);
    gopt_status s = before->g ? add_side(x, before) : GOPT_OK;
    if (s == GOPT_OK)
        s = add_side(x, after);
    if (s != GOPT_OK) {
        json_decref(file);
        return s;
    }
    GI_TRY(save(x, prefix, "", file));
    for (metric m = 0; m < (x->p ? METRICS : TIME); m++) {
        json_t *data = json_object();
        if (before->g)
            add_data(x, before, m, data);
        add_data(x, after, m, data);
        GI_TRY(save(x, prefix, metric_names[m], data));
    }
    if (!before->g)
        return GOPT_OK;
    json_t *mapping = NULL;
    GI_TRY(map_sides(x, before, after, &mapping));
    return save(x, prefix, "sync", mapping);
}

gopt_status gopt_explorer_save(const gopt_graph *before, const gopt_graph *after, const gopt_run_profile *p,
                               const char *title, const char *prefix)
{
    explorer x = { .cx = after->cx, .arena = gi_arena_create(after->cx), .p = p };
    side sides[2] = { { .g = before, .id = "before" }, { .g = after, .id = before ? "after" : "model" } };
    if (!x.arena)
        return GOPT_NO_MEMORY;
    const gopt_status s = save_all(&x, &sides[0], &sides[1], title, prefix);
    gi_arena_destroy(x.arena);
    return s;
}
