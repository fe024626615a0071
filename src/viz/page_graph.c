/* A graph after a pass, as the difference to how it stood after the pass before.
 *
 * Every node is hashed with all that the page says of it; one whose hash is new gets a new record, one that was not met
 * is gone. Ids are never reused, so both are one look into a map, and a stage costs one walk over the graph. */
#include "ops/cost.h"
#include "viz/json.h"
#include "viz/page.h"
#include "viz/steps.h"

typedef struct stage {
    gopt_page *p;
    gi_page_model *m;
    gopt_graph *g;
    json_t *add, *types;
    uint32_t number;
    int64_t count; /* nodes; fusions do not count, what they hold does */
} stage;

static json_t *number_of(int64_t v)
{
    return json_integer((json_int_t)v);
}

/* ---- values ---- */

static gopt_status tell_weight(stage *s, const gi_value *v, int64_t *index)
{
    gi_blob *b = gi_value_blob(v);
    *index = -1;
    if (!b)
        return GOPT_OK;
    const uintptr_t known = (uintptr_t)gi_map_get(&s->m->weight_index, gi_key(v));
    if (known) {
        *index = (int64_t)known - 1;
        return GOPT_OK;
    }
    json_t *w = gi_page_weight(s->p, v);
    GI_NEED(w && !json_array_append_new(s->m->weights, w));
    *index = s->m->n_weights++;
    GI_NEED(gi_map_put(&s->m->weight_index, gi_key(v), (void *)(uintptr_t)s->m->n_weights));
    return GOPT_OK;
}

/* Its name and weight when it is first met, and its type whenever that is new. */
static gopt_status tell_value(stage *s, const gi_value *v)
{
    const uint64_t key = (uint64_t)v->id + 1;
    void *known = gi_map_get(&s->m->value_types, key);
    union {
        const void *p;
        void *v;
    } now = { .p = v->type ? (const void *)v->type : s->m };
    if (known == now.v)
        return GOPT_OK;
    GI_NEED(gi_map_put(&s->m->value_types, key, now.v));
    if (!known) {
        int64_t weight;
        GI_TRY(tell_weight(s, v, &weight));
        json_t *one = json_pack("[I, o, I]", (json_int_t)v->id, gi_page_text(s->p, v->name), (json_int_t)weight);
        GI_NEED(one && !json_array_append_new(s->m->values, one));
    }
    gi_str type;
    gi_str_init(&type, s->p->scratch);
    gi_type_print(&type, v->type);
    GI_NEED(!json_array_append_new(s->types, number_of(v->id)));
    GI_NEED(!json_array_append_new(s->types, gi_page_text(s->p, type.p)));
    return GOPT_OK;
}

/* ---- attributes ---- */

static json_t *attrs_of(stage *s, const gi_node *n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < n->n_attrs; i++) {
        const gi_attr *a = &n->attrs[i];
        if (a->kind == GI_ATTR_NONE || a->kind == GI_ATTR_GRAPH || !a->name)
            continue;
        gi_str text;
        gi_str_init(&text, s->p->scratch);
        gi_attr_text(&text, a);
        json_array_append_new(list, gi_page_text(s->p, a->name));
        json_array_append_new(list, gi_page_text(s->p, text.p));
    }
    return list;
}

/* ---- records ---- */

/* A number; or an expression in the model's symbols, and what it is where each is 1. */
static json_t *flops_of(stage *s, const gi_node *n)
{
    const gi_dim *d = gi_node_flops(n);
    int64_t v;
    if (!d)
        return json_null();
    if (gi_dim_is_const(d, &v))
        return number_of(v);
    gi_str text;
    gi_str_init(&text, s->p->scratch);
    gi_dim_print(&text, d);
    return json_pack("[s, f]", text.p ? text.p : "?", gi_node_operations(n));
}

static json_t *ids_of_uses(stage *s, const gi_use *uses, uint32_t n)
{
    json_t *a = json_array();
    for (uint32_t i = 0; a && i < n; i++) {
        const gi_value *v = uses[i].value;
        if (v && tell_value(s, v) != GOPT_OK)
            return NULL;
        json_array_append_new(a, number_of(v ? (int64_t)v->id : -1));
    }
    return a;
}

static json_t *ids_of_outputs(stage *s, const gi_node *n)
{
    json_t *a = json_array();
    for (uint32_t i = 0; a && i < n->n_out; i++) {
        if (tell_value(s, n->out[i]) != GOPT_OK)
            return NULL;
        json_array_append_new(a, number_of(n->out[i]->id));
    }
    return a;
}

static json_t *origins_of(stage *s, const gi_node *n)
{
    json_t *a = json_array();
    for (uint32_t i = 0; a && i < n->n_origins; i++)
        json_array_append_new(a, gi_page_text(s->p, n->origins[i]));
    return a;
}

/* The owner of the block that a node lies in; 0 of the main block. */
static int64_t parent_of(const gi_block *b)
{
    return b && b->owner ? (int64_t)b->owner->id : 0;
}

static const char *block_name(const gi_block *b)
{
    const gi_node *o = b->owner;
    for (uint32_t i = 0; o && o->op != OP_Fusion && i < o->n_attrs; i++)
        if (o->attrs[i].kind == GI_ATTR_GRAPH && o->attrs[i].u.graph == b)
            return o->attrs[i].name;
    return "";
}

static json_t *record_of(stage *s, const gi_node *n)
{
    const gi_block *inside = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    json_t *in = ids_of_uses(s, n->in, n->n_in), *out = ids_of_outputs(s, n);
    json_t *results = inside ? ids_of_uses(s, inside->results, inside->n_results) : json_array();
    return json_pack("[I, o, i, o, o, I, o, o, o, o, o, o, o]", (json_int_t)n->id,
                     gi_page_text(s->p, gi_op_text(s->p->scratch, n)), n->op == OP_Fusion ? -1 : (int)gi_kind_of(n),
                     gi_page_text(s->p, n->name), gi_page_text(s->p, n->scope), (json_int_t)parent_of(n->block),
                     gi_page_text(s->p, block_name(n->block)), in, out, attrs_of(s, n), origins_of(s, n),
                     flops_of(s, n), results);
}

static json_t *port_record(stage *s, int64_t id, const char *op, const gi_block *b, const char *name, const gi_value *v)
{
    if (tell_value(s, v) != GOPT_OK)
        return NULL;
    const bool in = !strcmp(op, "Input");
    json_t *ids = json_pack("[I]", (json_int_t)v->id), *none = json_array();
    return json_pack("[I, o, i, o, o, I, o, o, o, [], [], n, []]", (json_int_t)id, gi_page_text(s->p, op), -2,
                     gi_page_text(s->p, name), gi_page_text(s->p, NULL), (json_int_t)parent_of(b),
                     gi_page_text(s->p, block_name(b)), in ? none : ids, in ? ids : none);
}

/* ---- what changed ---- */

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    return gi_hash(p, n, h);
}

static uint64_t hash_attr(uint64_t h, const gi_attr *a)
{
    h = mix(h, &a->kind, sizeof a->kind);
    switch (a->kind) {
    case GI_ATTR_INTS:
        return mix(h, a->u.ints, a->n * sizeof *a->u.ints);
    case GI_ATTR_FLOATS:
        return mix(h, a->u.floats, a->n * sizeof *a->u.floats);
    case GI_ATTR_STRING:
        return mix(h, a->u.s ? a->u.s : "", a->u.s ? a->n : 0);
    case GI_ATTR_FLOAT:
        return mix(h, &a->u.f, sizeof a->u.f);
    case GI_ATTR_INT:
        return mix(h, &a->u.i, sizeof a->u.i);
    case GI_ATTR_NONE:
    case GI_ATTR_GRAPH:
        return h;
    default:
        return mix(h, &a->u.s, sizeof a->u.s); /* what the pointer shows never changes */
    }
}

static uint64_t hash_uses(uint64_t h, const gi_use *uses, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const int64_t id = uses[i].value ? (int64_t)uses[i].value->id : -1;
        h = mix(h, &id, sizeof id);
    }
    return mix(h, &n, sizeof n);
}

static uint64_t hash_node(const gi_node *n)
{
    const int64_t head[] = { (int64_t)n->op, (int64_t)n->fusion, parent_of(n->block), (int64_t)n->n_origins };
    uint64_t h = mix(1, head, sizeof head);
    h = mix(h, &n->name, sizeof n->name);
    h = mix(h, &n->scope, sizeof n->scope);
    h = hash_uses(h, n->in, n->n_in);
    for (uint32_t i = 0; i < n->n_out; i++)
        h = mix(h, &n->out[i]->id, sizeof n->out[i]->id);
    for (uint32_t i = 0; i < n->n_attrs; i++)
        h = hash_attr(h, &n->attrs[i]);
    const gi_block *inside = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    return inside ? hash_uses(h, inside->results, inside->n_results) : h;
}

/* The node's entry, where it has no record of this hash yet: then *add is true, and the record is the caller's to make. */
static gopt_status meet(stage *s, int64_t id, uint64_t hash, bool *add)
{
    const uint64_t key = (uint64_t)id + (UINT64_C(1) << 63);
    gi_page_node *n = gi_map_get(&s->m->nodes_by_id, key);
    if (!n) {
        GI_NEED(n = GI_NEW(s->p->arena, gi_page_node));
        n->id = id;
        GI_NEED(gi_map_put(&s->m->nodes_by_id, key, n));
        n->record = UINT32_MAX;
    }
    if (n->record == UINT32_MAX)
        GI_NEED(gi_push(s->p->arena, &s->m->alive, n));
    n->seen = s->number;
    *add = n->record == UINT32_MAX || n->hash != hash;
    if (*add) {
        n->hash = hash;
        n->record = s->m->n_records++;
        GI_NEED(!json_array_append_new(s->add, number_of(n->record)));
    }
    return GOPT_OK;
}

static gopt_status tell_node(stage *s, const gi_node *n)
{
    bool add;
    s->count += n->op != OP_Fusion;
    for (uint32_t i = 0; i < n->n_out; i++)
        GI_TRY(tell_value(s, n->out[i]));
    GI_TRY(meet(s, (int64_t)n->id, hash_node(n), &add));
    if (add) {
        json_t *r = record_of(s, n);
        GI_NEED(r && !json_array_append_new(s->m->nodes, r));
    }
    return GOPT_OK;
}

static gopt_status tell_port(stage *s, const gi_block *b, uint32_t index, bool in, const char *name, const gi_value *v)
{
    enum { MOST_PORTS = 1 << 20 };
    const int64_t id = -1 - 2 * ((int64_t)b->id * MOST_PORTS + index) - in;
    bool add;
    if (index >= MOST_PORTS || !v)
        return GOPT_OK;
    GI_TRY(tell_value(s, v));
    GI_TRY(meet(s, id, v->id, &add));
    if (add) {
        json_t *r = port_record(s, id, in ? "Input" : "Output", b, name, v);
        GI_NEED(r && !json_array_append_new(s->m->nodes, r));
    }
    return GOPT_OK;
}

static gopt_status tell_ports(stage *s, const gi_block *b)
{
    if (b->owner && b->owner->op == OP_Fusion)
        return GOPT_OK;
    for (uint32_t i = 0; i < b->n_params; i++)
        GI_TRY(tell_port(s, b, i, true, b->params[i]->name, b->params[i]));
    for (uint32_t i = 0; i < b->n_results; i++)
        GI_TRY(tell_port(s, b, i, false, b->result_names ? b->result_names[i] : NULL, b->results[i].value));
    return GOPT_OK;
}

static gopt_status walk(stage *s)
{
    GI_TRY(tell_ports(s, s->g->main));
    for (const gi_node *n = gopt_graph_first_node(s->g); n; n = gopt_node_next(n)) {
        GI_TRY(tell_node(s, n));
        for (uint32_t i = 0; i < n->n_attrs; i++)
            if (n->attrs[i].kind == GI_ATTR_GRAPH && n->attrs[i].u.graph)
                GI_TRY(tell_ports(s, n->attrs[i].u.graph));
    }
    return GOPT_OK;
}

/* Old records: of nodes that are gone, and of those that got a new one, which the page finds by itself. */
static json_t *gone(stage *s)
{
    json_t *a = json_array();
    size_t kept = 0;
    for (size_t i = 0; a && i < s->m->alive.n; i++) {
        gi_page_node *n = s->m->alive.p[i];
        if (n->seen == s->number) {
            s->m->alive.p[kept++] = n;
            continue;
        }
        json_array_append_new(a, number_of(n->record));
        n->record = UINT32_MAX;
    }
    s->m->alive.n = kept;
    return a;
}

gopt_status gi_page_add_stage(gopt_page *p, gopt_graph *g, const char *pass, int index)
{
    gi_page_model *m = p->model;
    if (m->n_stages && m->epoch == g->epoch)
        return GOPT_OK;
    stage s = { .p = p, .m = m, .g = g, .number = ++m->n_stages, .add = json_array(), .types = json_array() };
    m->epoch = g->epoch;
    gopt_status status = s.add && s.types ? walk(&s) : GOPT_NO_MEMORY;
    gi_arena_reset(p->scratch);
    if (status != GOPT_OK) {
        json_decref(s.add);
        json_decref(s.types);
        return status;
    }
    json_t *one = json_pack("{s:o, s:i, s:I, s:o, s:o, s:o}", "pass", gi_page_text(p, pass), "index", index, "nodes",
                            (json_int_t)s.count, "remove", gone(&s), "add", s.add, "types", s.types);
    GI_NEED(one && !json_array_append_new(m->stages, one));
    return GOPT_OK;
}
