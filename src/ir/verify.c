/* The verifier: reports every fault of a graph as a diagnostic, and never aborts.
 *
 * What it checks: the chains (every use stands in its value's list, once, and nothing else does); that each
 * value is defined before it is used, in its own block or one around it; arity and attribute kinds against
 * the operator's row; results of Fusion against its outputs; that names tell outputs apart. */
#include "ir/graph.h"

typedef struct checker {
    const gopt_graph *g;
    gi_arena *scratch;
    uint8_t *defined; /* by value id: visible now */
    uint32_t *uses;   /* by value id: uses met on the walk */
    int faults;
    gi_vec(gi_value *) met;
} checker;

static void fault(checker *c, const gi_node *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fault(checker *c, const gi_node *n, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const gi_place at = n ? gi_node_place(n) : (gi_place){ .file = c->g->file };
    gi_vfail(c->g->cx, GOPT_INTERNAL, &at, NULL, fmt, args);
    va_end(args);
    c->faults++;
}

static void check_chain(checker *c, const gi_use *u, const gi_node *n)
{
    const gi_value *v = u->value;
    if (v->id >= c->g->n_values) {
        fault(c, n, "a use of value %u, the graph has %u", v->id, c->g->n_values);
        return;
    }
    if (!c->uses[v->id]++ && !gi_push(c->scratch, &c->met, u->value))
        fault(c, n, "no memory to check the use lists");
    if ((u->prev ? u->prev->next : v->uses) != u || (u->next && u->next->prev != u))
        fault(c, n, "use %u of value %u is not linked into its list", u->index, v->id);
    if (v->kind != GI_DEF_CONST && !c->defined[v->id])
        fault(c, n, "value %u is used where it is not defined (before its definition, or in another block)", v->id);
}

static void check_shape(checker *c, const gi_node *n)
{
    const gi_op *row = gi_op_get(n->op);
    if (n->op == OP_Unknown)
        return;
    const bool variadic = row->n_in && row->in[row->n_in - 1].presence == GI_VARIADIC;
    if (!variadic && (int)n->n_in > row->n_in)
        fault(c, n, "%u inputs, %s takes at most %d", n->n_in, row->name, row->n_in);
    for (int i = 0; i < row->n_in; i++)
        if (row->in[i].presence == GI_REQUIRED && !gi_node_in(n, (uint32_t)i))
            fault(c, n, "input %s is absent and required", row->in[i].name);
    if ((int)n->n_attrs != row->n_attrs) {
        fault(c, n, "%u attribute entries, the row has %d", n->n_attrs, row->n_attrs);
        return;
    }
    for (int i = 0; i < row->n_attrs; i++) {
        if (n->attrs[i].kind != GI_ATTR_NONE && n->attrs[i].kind != row->attrs[i].kind)
            fault(c, n, "attribute %s has another kind than the row says", row->attrs[i].name);
        if (n->attrs[i].kind == GI_ATTR_NONE && row->attrs[i].required)
            fault(c, n, "attribute %s is absent and required", row->attrs[i].name);
    }
}

static void check_fusion(checker *c, const gi_node *n)
{
    const gi_block *b = gi_fusion_block(n);
    if (!b)
        fault(c, n, "a fusion without a body");
    else if (b->n_results != n->n_out)
        fault(c, n, "a fusion with %u outputs whose body has %u results", n->n_out, b->n_results);
    if (n->n_in)
        fault(c, n, "a fusion with inputs: it captures what it reads");
}

static void check_block(checker *c, const gi_block *b, int depth);

static void check_node(checker *c, const gi_node *n, const gi_block *b, int depth)
{
    if (n->block != b)
        fault(c, n, "node %u lies in another block than it says", n->id);
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (n->in[i].node != n || n->in[i].index != i)
            fault(c, n, "input %u is not this node's", i);
        if (n->in[i].value)
            check_chain(c, &n->in[i], n);
    }
    check_shape(c, n);
    if (n->op == OP_Fusion)
        check_fusion(c, n);
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        if (n->attrs[k].kind != GI_ATTR_GRAPH)
            continue;
        if (n->attrs[k].u.graph->owner != n)
            fault(c, n, "the block of attribute %s has another owner", n->attrs[k].name);
        else
            check_block(c, n->attrs[k].u.graph, depth + 1);
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (n->out[i]->kind != GI_DEF_NODE || n->out[i]->def.node != n || n->out[i]->index != i)
            fault(c, n, "output %u is not this node's", i);
        if (c->defined[n->out[i]->id])
            fault(c, n, "value %u is defined twice", n->out[i]->id);
        c->defined[n->out[i]->id] = 1;
    }
}

static void check_block(checker *c, const gi_block *b, int depth)
{
    if (depth > 100) {
        fault(c, b->owner, "blocks nested deeper than 100");
        return;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->n_params; i++) {
        if (b->params[i]->kind != GI_DEF_PARAM || b->params[i]->def.block != b || b->params[i]->index != i)
            fault(c, b->owner, "parameter %u is not this block's", i);
        c->defined[b->params[i]->id] = 1;
    }
    const gi_node *last = NULL;
    for (const gi_node *n = b->first; n; last = n, n = n->next, count++) {
        if (n->prev != last)
            fault(c, n, "the node list is broken");
        check_node(c, n, b, depth);
    }
    if (b->last != last || count != b->n_nodes)
        fault(c, b->owner, "a block counts %u nodes and has %u", b->n_nodes, count);
    for (uint32_t i = 0; i < b->n_results; i++) {
        if (b->results[i].block != b || b->results[i].index != i || b->results[i].node)
            fault(c, b->owner, "result %u is not this block's", i);
        if (b->results[i].value)
            check_chain(c, &b->results[i], b->owner);
        else
            fault(c, b->owner, "result %u has no value", i);
    }
    /* what is defined inside is not visible outside */
    for (uint32_t i = 0; i < b->n_params; i++)
        c->defined[b->params[i]->id] = 0;
    for (const gi_node *n = b->first; n; n = n->next)
        for (uint32_t i = 0; i < n->n_out; i++)
            c->defined[n->out[i]->id] = 0;
}

gopt_status gi_verify(const gopt_graph *g)
{
    checker c = { .g = g, .scratch = gi_arena_create(g->cx) };
    GI_NEED(c.scratch);
    c.defined = GI_NEW_ARRAY(c.scratch, uint8_t, g->n_values ? g->n_values : 1);
    c.uses = GI_NEW_ARRAY(c.scratch, uint32_t, g->n_values ? g->n_values : 1);
    if (!c.defined || !c.uses) {
        gi_arena_destroy(c.scratch);
        return GOPT_NO_MEMORY;
    }
    check_block(&c, g->main, 0);
    const char *twice = NULL;
    if (!gi_graph_name_clash(g, c.scratch, &twice))
        fault(&c, NULL, "no memory to check the names of outputs");
    if (twice)
        fault(&c, NULL, "two values among inputs and outputs are named %s", twice);
    for (size_t i = 0; i < c.met.n; i++) {
        const gi_value *v = c.met.p[i];
        uint32_t listed = 0, results = 0;
        for (const gi_use *u = v->uses; u && listed <= v->n_uses; u = u->next) {
            listed++;
            results += !u->node;
        }
        if (listed != v->n_uses || v->n_uses != c.uses[v->id])
            fault(&c, NULL, "value %u counts %u uses, lists %u, and has %u", v->id, v->n_uses, listed, c.uses[v->id]);
        if (results != v->n_result_uses)
            fault(&c, NULL, "value %u counts %u uses as results, and has %u", v->id, v->n_result_uses, results);
    }
    gi_arena_destroy(c.scratch);
    return c.faults ? GOPT_INTERNAL : GOPT_OK;
}

gopt_status gopt_graph_verify(const gopt_graph *g)
{
    return gi_verify(g);
}
