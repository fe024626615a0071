/* Dead-code elimination: keeps what an output or a side effect can reach.
 *
 * Marking from the outputs, not counting uses: in a Loop whose body feeds a value only back to itself
 *
 *     %a, %b = Loop 8, true, %x, %y body(%i, %c, %p, %q) {
 *       %p2 = Mul %p, %w                  // feeds only the next %p
 *       %q2 = Add %q, %x
 *       yield %c, %p2, %q2
 *     }
 *     return %b                           // no one reads %a
 *
 * every value has a user, and yet %p, %p2 and the input %x in its place are dead:
 *
 *     %b = Loop 8, true, %y body(%i, %c, %q) { %q2 = Add %q, %x   yield %c, %q2 }
 *
 * So a Loop's or Scan's carried value, an If's output and a scan output are kept only if they are marked; what
 * is carried is one thing with its input, its parameter, its result and its output.
 *
 * Linear in nodes and edges. Never renames; never removes a graph input or output. */
#include "passes/util.h"

typedef struct marker {
    bool *value; /* by value id */
    bool *node;  /* by node id */
    gi_arena *arena;
    gi_values todo;
    bool failed;
} marker;

static void mark(marker *m, gi_value *v)
{
    if (!v || m->value[v->id])
        return;
    m->value[v->id] = true;
    if (!gi_push(m->arena, &m->todo, v))
        m->failed = true;
}

static void mark_in(marker *m, const gi_node *n, uint32_t i)
{
    if (i < n->n_in)
        mark(m, n->in[i].value);
}

static void mark_result(marker *m, const gi_block *b, uint32_t i)
{
    if (b && i < b->n_results)
        mark(m, b->results[i].value);
}

/* ---- what is carried ---- */

/* How a Loop or Scan carries: value k is input in0+k, parameter param0+k, result res0+k and output k. */
typedef struct carried {
    gi_block *body;
    uint32_t n, in0, param0, res0;
    bool keeps_scans; /* an attribute counts the scan outputs: none of them goes */
} carried;

static bool get_carried(const gi_node *n, carried *c)
{
    if (n->op == OP_Loop) {
        c->body = gi_attr_graph(n, Loop_at_body);
        c->in0 = c->param0 = 2;
        c->res0 = 1;
        c->n = n->n_in > 2 ? n->n_in - 2 : 0;
    } else if (n->op == OP_Scan) {
        const int64_t scans = gi_attr_int(n, Scan_at_num_scan_inputs);
        c->body = gi_attr_graph(n, Scan_at_body);
        c->in0 = c->param0 = c->res0 = 0;
        c->n = scans >= 0 && scans <= (int64_t)n->n_in ? n->n_in - (uint32_t)scans : 0;
    } else {
        return false;
    }
    c->keeps_scans = n->op == OP_Scan &&
                     (gi_attr_has(n, Scan_at_scan_output_axes) || gi_attr_has(n, Scan_at_scan_output_directions));
    return c->body && c->param0 + c->n <= c->body->n_params && c->res0 + c->n <= c->body->n_results && c->n <= n->n_out;
}

static void mark_blocks(marker *m, const gi_node *n)
{
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        const gi_block *b = n->attrs[k].kind == GI_ATTR_GRAPH ? n->attrs[k].u.graph : NULL;
        for (uint32_t i = 0; b && i < b->n_results; i++)
            mark(m, b->results[i].value);
    }
}

/* The node is needed: what it reads whichever of its outputs is wanted. */
static void mark_node(marker *m, const gi_node *n)
{
    if (m->node[n->id])
        return;
    m->node[n->id] = true;
    carried c;
    if (n->op == OP_If) {
        mark_in(m, n, If_in_cond);
    } else if (get_carried(n, &c)) {
        for (uint32_t i = 0; i < n->n_in; i++)
            if (i < c.in0 || i >= c.in0 + c.n)
                mark_in(m, n, i);
        for (uint32_t i = 0; i < c.res0; i++)
            mark_result(m, c.body, i);
        for (uint32_t i = c.res0 + c.n; c.keeps_scans && i < c.body->n_results; i++)
            mark_result(m, c.body, i);
    } else {
        for (uint32_t i = 0; i < n->n_in; i++)
            mark_in(m, n, i);
        if (n->op != OP_Fusion)
            mark_blocks(m, n);
    }
}

/* Output i of a node that owns blocks is needed. */
static void mark_output(marker *m, const gi_node *n, uint32_t i)
{
    carried c;
    if (n->op == OP_If) {
        mark_result(m, gi_attr_graph(n, If_at_then_branch), i);
        mark_result(m, gi_attr_graph(n, If_at_else_branch), i);
    } else if (n->op == OP_Fusion) {
        mark_result(m, gi_fusion_block(n), i);
    } else if (get_carried(n, &c)) {
        mark_result(m, c.body, c.res0 + i);
        if (i < c.n)
            mark_in(m, n, c.in0 + i);
    }
}

/* Parameter i of a block is needed: then so is what the owner feeds it. */
static void mark_param(marker *m, const gi_block *b, uint32_t i)
{
    const gi_node *n = b->owner;
    carried c;
    if (!n || !get_carried(n, &c))
        return;
    if (i >= c.param0 && i < c.param0 + c.n) {
        mark_in(m, n, c.in0 + (i - c.param0));
        mark_result(m, b, c.res0 + (i - c.param0));
    }
}

static void mark_value(marker *m, const gi_value *v)
{
    if (v->kind == GI_DEF_PARAM) {
        mark_param(m, v->def.block, v->index);
    } else if (v->kind == GI_DEF_NODE && v->def.node) {
        mark_node(m, v->def.node);
        if (gi_op_get(v->def.node->op)->traits & GI_CONTROL)
            mark_output(m, v->def.node, v->index);
    }
}

/* A node without outputs is there for what it does; then so are those around it. */
static bool mark_side_effects(void *arg, gi_node *n)
{
    marker *m = arg;
    if (gi_node_is_removable(n))
        return true;
    mark_node(m, n);
    for (const gi_node *o = n->block->owner; o; o = o->block->owner)
        mark_node(m, o);
    return true;
}

/* ---- sweeping ---- */

/* A live node that owns blocks, and which of its slots are dead. Slot k is output k and what belongs to it. */
typedef struct owner {
    gi_node *n;
    carried c; /* n is 0 where nothing is carried */
    uint32_t n_slots;
    bool *dead;
} owner;

typedef struct sweeper {
    const marker *m;
    gi_arena *arena;
    gi_vec(gi_node *) dead;
    gi_vec(owner) owners;
} sweeper;

static bool slot_is_dead(const marker *m, const owner *o, uint32_t k)
{
    if (m->value[o->n->out[k]->id])
        return false;
    if (k >= o->c.n)
        return !o->c.keeps_scans;
    return !m->value[o->c.body->params[o->c.param0 + k]->id];
}

static bool collect(void *arg, gi_node *n)
{
    sweeper *s = arg;
    if (!s->m->node[n->id])
        return gi_push(s->arena, &s->dead, n);
    owner o = { .n = n, .n_slots = n->n_out };
    const bool carries = get_carried(n, &o.c);
    if (!carries && n->op != OP_If && n->op != OP_Fusion)
        return true;
    if (!carries)
        o.c = (carried){ 0 };
    o.dead = GI_NEW_ARRAY(s->arena, bool, n->n_out + 1);
    if (!o.dead)
        return false;
    for (uint32_t k = 0; k < n->n_out; k++)
        o.dead[k] = slot_is_dead(s->m, &o, k);
    return gi_push(s->arena, &s->owners, o);
}

static bool remove_result(gi_block *b, uint32_t i, gi_arena *a)
{
    if (i >= b->n_results)
        return true;
    const uint32_t n = b->n_results - 1;
    gi_value **v = GI_NEW_ARRAY(a, gi_value *, n + 1);
    const char **names = GI_NEW_ARRAY(a, const char *, n + 1);
    if (!v || !names)
        return false;
    for (uint32_t k = 0; k < n; k++) {
        v[k] = b->results[k + (k >= i)].value;
        names[k] = b->result_names[k + (k >= i)];
    }
    return gi_block_set_results(b, n, v, names);
}

static bool remove_input(gi_node *n, uint32_t i)
{
    for (; i + 1 < n->n_in; i++)
        gi_node_set_in(n, i, n->in[i + 1].value);
    return gi_node_resize_in(n, n->n_in - 1);
}

/* Cuts the results and inputs of dead slots: what is carried in a circle is used by nodes that are to go. */
static bool cut_slots(const sweeper *s, const owner *o)
{
    for (uint32_t k = o->n_slots; k-- > 0;) {
        if (!o->dead[k])
            continue;
        if (o->n->op == OP_Loop || o->n->op == OP_Scan) {
            if (!remove_result(o->c.body, o->c.res0 + k, s->arena) || (k < o->c.n && !remove_input(o->n, o->c.in0 + k)))
                return false;
            continue;
        }
        for (uint32_t a = 0; a < o->n->n_attrs; a++)
            if (o->n->attrs[a].kind == GI_ATTR_GRAPH && !remove_result(o->n->attrs[a].u.graph, k, s->arena))
                return false;
    }
    return true;
}

/* Then, when the dead nodes are gone, nothing uses the slots' outputs and parameters. */
static int64_t drop_slots(const owner *o)
{
    int64_t n = 0;
    for (uint32_t k = o->n_slots; k-- > 0;) {
        if (!o->dead[k])
            continue;
        gi_node_remove_out(o->n, k);
        if (k < o->c.n)
            gi_block_remove_param(o->c.body, o->c.param0 + k);
        n++;
    }
    return n;
}

gopt_status gi_pass_dce(gopt_graph *g, gi_pass_ctx *cx)
{
    marker m = { .arena = cx->scratch };
    m.value = GI_NEW_ARRAY(cx->scratch, bool, g->n_values + 1);
    m.node = GI_NEW_ARRAY(cx->scratch, bool, g->next_node + 1);
    GI_NEED(m.value && m.node);
    for (uint32_t i = 0; i < g->main->n_results; i++)
        mark_result(&m, g->main, i);
    gi_each_node(g->main, mark_side_effects, &m);
    while (m.todo.n)
        mark_value(&m, m.todo.p[--m.todo.n]);
    GI_NEED(!m.failed);

    sweeper s = { .m = &m, .arena = cx->scratch };
    GI_NEED(gi_each_node(g->main, collect, &s));
    for (size_t i = 0; i < s.owners.n; i++)
        GI_NEED(cut_slots(&s, &s.owners.p[i]));
    /* Inner nodes come before the node that owns them, users after what they use: from the back. */
    int64_t nodes = 0, slots = 0;
    for (size_t i = s.dead.n; i-- > 0;)
        if (s.dead.p[i]->block) {
            gi_node_remove(s.dead.p[i]);
            nodes++;
        }
    for (size_t i = 0; i < s.owners.n; i++)
        slots += drop_slots(&s.owners.p[i]);
    gi_counted(cx, "dead_nodes", nodes);
    gi_counted(cx, "dead_slots", slots);
    return GOPT_OK;
}
