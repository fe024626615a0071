/* Control flow: branches and loops that need not be.
 *
 *     %n = Not %c                                          %y, %z = If %c {
 *     %y = If %n { A } else { B }          ⇒                   then: B, D     else: A, C }
 *     %z = If %n { C } else { D }
 *
 * An If whose condition is known, since it is a constant or because the If lies in a branch of another one on the same
 * condition, becomes that branch, node by node; so does one whose branches are the same. Ifs on one condition become
 * one. A Loop that runs no time is its initial values, one that runs once is its body. What a Loop's body computes from
 * outer values alone is computed once, before it; what a Loop carries along unchanged is read from outside.
 *
 * A branch reads outer values where they are (they are captures, not inputs), so moving its nodes changes no operand. */
#include "passes/util.h"

/* Names inside a block are its own: two blocks may use the same ones. */
static void forget_names(gi_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        n->out[i]->name = NULL;
}

/* Moves a block's nodes before `before`, with the origins of the block's node. */
static bool move_nodes(gi_block *from, gi_node *before, const gi_node *owner)
{
    for (gi_node *inner = from->first, *next; inner; inner = next) {
        next = inner->next;
        forget_names(inner);
        gi_node_move(inner, before->block, before);
        if (!gi_node_merge_origins(inner, owner))
            return false;
    }
    return true;
}

/* ---- Ifs whose way is known ---- */

/* The condition without the Nots before it; *turned where they are an odd number. */
static const gi_value *plain_condition(const gi_value *v, bool *turned)
{
    *turned = false;
    for (const gi_node *n = gi_value_node(v); n && n->op == OP_Not; n = gi_value_node(v)) {
        v = gi_node_in(n, 0);
        *turned = !*turned;
    }
    return v;
}

/* Does n lie in a branch of an If on the same condition? Then *way is what it is there. */
static bool is_decided_outside(const gi_node *n, bool *way)
{
    bool own, outer;
    const gi_value *cond = plain_condition(gi_node_in(n, If_in_cond), &own);
    for (const gi_block *b = n->block; b->owner; b = b->owner->block) {
        if (b->owner->op != OP_If || plain_condition(gi_node_in(b->owner, If_in_cond), &outer) != cond)
            continue;
        *way = (gi_attr_graph(b->owner, If_at_then_branch) == b) != (own != outer);
        return true;
    }
    return false;
}

static bool is_known(gi_value *v, bool *way)
{
    int64_t cond;
    uint32_t count;
    const gi_blob *b = gi_value_blob(v);
    if (b) {
        *way = gi_blob_elements(b) == 1 && gi_load_i64(b->dtype, b->data, 0) != 0;
        return gi_blob_elements(b) == 1;
    }
    if (!v || !gi_value_known_ints(v, &cond, 1, &count) || count != 1)
        return false;
    *way = cond != 0;
    return true;
}

/* The pairs of values that were found to be the same in two blocks. */
typedef struct twins {
    gi_map of; /* value id + 1 of the one to the value of the other */
    bool failed;
} twins;

static bool is_twin(const twins *t, const gi_value *a, const gi_value *b)
{
    if (a == b || !a || !b)
        return a == b;
    if (gi_value_blob(a) && gi_value_blob(b))
        return gi_blob_equal(gi_value_blob(a), gi_value_blob(b));
    return gi_map_get(&t->of, (uint64_t)a->id + 1) == b;
}

static bool nodes_are_same(twins *t, const gi_node *a, const gi_node *b)
{
    const unsigned traits = gi_op_get(a->op)->traits;
    if (a->op != b->op || a->op == OP_Unknown || (traits & (GI_CONTROL | GI_RANDOM)) || !(traits & GI_PURE) ||
        a->n_in != b->n_in || a->n_out != b->n_out || a->n_attrs != b->n_attrs)
        return false;
    for (uint32_t i = 0; i < a->n_attrs; i++)
        if (!gi_attr_equal(&a->attrs[i], &b->attrs[i]))
            return false;
    for (uint32_t i = 0; i < a->n_in; i++)
        if (!is_twin(t, gi_node_in(a, i), gi_node_in(b, i)))
            return false;
    for (uint32_t i = 0; i < a->n_out; i++)
        t->failed |= !gi_map_put(&t->of, (uint64_t)a->out[i]->id + 1, b->out[i]);
    return true;
}

static bool branches_are_same(const gi_node *n, gi_arena *scratch)
{
    twins t = { .failed = false };
    const gi_block *a = gi_attr_graph(n, If_at_then_branch), *b = gi_attr_graph(n, If_at_else_branch);
    if (!a || !b || a->n_nodes != b->n_nodes || a->n_results != b->n_results)
        return false;
    gi_map_init(&t.of, scratch);
    const gi_node *x = a->first, *y = b->first;
    for (; x && y; x = x->next, y = y->next)
        if (!nodes_are_same(&t, x, y))
            return false;
    for (uint32_t i = 0; i < a->n_results; i++)
        if (!is_twin(&t, a->results[i].value, b->results[i].value))
            return false;
    return !x && !y && !t.failed;
}

static gopt_status inline_branch(gi_pass_ctx *cx, gi_node *n, bool way, const char *why)
{
    gi_block *b = gi_attr_graph(n, way ? If_at_then_branch : If_at_else_branch);
    if (!b || b->n_results < n->n_out || !gi_pass_may(cx, "if_known"))
        return GOPT_OK;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (gi_type_differs(b->results[i].value->type, n->out[i]->type)) {
            gi_declined(cx, "if_known", n, "its branch gives another type than the node");
            return GOPT_OK;
        }
    gi_values results = { 0 };
    for (uint32_t i = 0; i < n->n_out; i++)
        GI_NEED(gi_push(cx->scratch, &results, b->results[i].value));
    gi_applied(cx, "if_known", n, "%s", why);
    GI_NEED(gi_block_set_results(b, 0, NULL, NULL));
    GI_NEED(move_nodes(b, n, n));
    for (size_t i = 0; i < results.n; i++) {
        gi_value_refine(n->block->graph, results.p[i], n->out[i]->type);
        GI_NEED(gi_value_replace(n->out[i], results.p[i], n));
        gi_value_take_name(results.p[i], n->out[i]);
    }
    gi_node_remove(n);
    return GOPT_OK;
}

static gopt_status try_known_if(gi_pass_ctx *cx, gi_node *n)
{
    bool way;
    if (is_known(gi_node_in(n, If_in_cond), &way))
        return inline_branch(cx, n, way, way ? "its condition is always true" : "its condition is always false");
    if (is_decided_outside(n, &way))
        return inline_branch(cx, n, way,
                             way ? "it lies where its condition is true" : "it lies where its condition is false");
    if (branches_are_same(n, cx->scratch))
        return inline_branch(cx, n, true, "both branches do the same");
    return GOPT_OK;
}

/* ---- Ifs on a turned condition ---- */

static bool only_ifs_read(const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next)
        if (!u->node || u->node->op != OP_If)
            return false;
    return true;
}

static void try_turned_if(gi_pass_ctx *cx, gi_node *n)
{
    gi_node *not_ = gi_value_node(gi_node_in(n, If_in_cond));
    gi_block *a = gi_attr_graph(n, If_at_then_branch), *b = gi_attr_graph(n, If_at_else_branch);
    if (!not_ || not_->op != OP_Not || !a || !b || !only_ifs_read(not_->out[0]) || !gi_pass_may(cx, "if_not"))
        return;
    gi_applied(cx, "if_not", n, "its branches change places, so that nothing needs to turn its condition");
    gi_node_set_in(n, If_in_cond, gi_node_in(not_, 0));
    gi_attr_clear(n, If_at_then_branch);
    gi_attr_clear(n, If_at_else_branch);
    gi_attr_set_graph(n, If_at_then_branch, b);
    gi_attr_set_graph(n, If_at_else_branch, a);
    gi_remove_dead(not_, cx->scratch);
}

/* ---- Ifs on one condition ---- */

/* Places of nodes in program order, which a joint If inherits. */
typedef struct joiner {
    gi_pass_ctx *cx;
    uint32_t *place; /* by node id */
    uint32_t n_places, next;
    gi_map later;  /* of nodes made since: id + 1 to place */
    gi_map latest; /* the last If of a block on a condition */
    bool failed;
} joiner;

static uint32_t place_of(const joiner *j, const gi_node *n)
{
    return n->id < j->n_places ? j->place[n->id] : (uint32_t)(uintptr_t)gi_map_get(&j->later, (uint64_t)n->id + 1);
}

/* Is all that n's branches read there where `first` stands, or a result of it? */
static bool may_join(joiner *j, const gi_node *first, const gi_node *n)
{
    gi_values read = { 0 };
    if (!gi_node_captures(n, j->cx->scratch, &read)) {
        j->failed = true;
        return false;
    }
    for (size_t i = 0; i < read.n; i++) {
        const gi_node *maker = gi_value_node(read.p[i]);
        if (maker && maker != first && maker->block == first->block && place_of(j, maker) > place_of(j, first))
            return false;
    }
    return true;
}

/* n's branch behind first's, reading first's results where they are in there. */
static bool append_branch(const gi_node *first, const gi_node *n, int at)
{
    gi_block *to = gi_attr_graph(first, at), *from = gi_attr_graph(n, at);
    gopt_graph *g = to->graph;
    const uint32_t count = to->n_results + from->n_results;
    gi_value **results = GI_NEW_ARRAY(g->arena, gi_value *, count + 1);
    if (!results)
        return false;
    for (uint32_t i = 0; i < first->n_out; i++)
        for (gi_use *u = first->out[i]->uses, *next; u; u = next) {
            next = u->next;
            if (u->node && gi_block_within(u->node->block, from))
                gi_node_set_in(u->node, u->index, to->results[i].value);
            else if (!u->node && gi_block_within(u->block, from))
                gi_block_set_result(u->block, u->index, to->results[i].value);
        }
    for (uint32_t i = 0; i < to->n_results; i++)
        results[i] = to->results[i].value;
    for (uint32_t i = 0; i < from->n_results; i++)
        results[to->n_results + i] = from->results[i].value;
    if (!gi_block_set_results(from, 0, NULL, NULL))
        return false;
    for (gi_node *inner = from->first, *next; inner; inner = next) {
        next = inner->next;
        forget_names(inner);
        gi_node_move(inner, to, NULL);
    }
    return gi_block_set_results(to, count, results, NULL);
}

static bool take_results(const gi_node *from, gi_node *to, uint32_t at)
{
    for (uint32_t i = 0; i < from->n_out; i++) {
        gi_value_set_type(to->out[at + i], from->out[i]->type);
        gi_value_replace_uses(from->out[i], to->out[at + i]);
        gi_value_take_name(to->out[at + i], from->out[i]);
    }
    return gi_node_merge_origins(to, from);
}

static gopt_status join(joiner *j, gi_node *first, gi_node *n, gi_node **joint)
{
    static const int branches[] = { If_at_then_branch, If_at_else_branch };
    gi_value *cond = gi_node_in(first, If_in_cond);
    gi_node *y = gi_node_create(first->block, first, OP_If, 1, &cond, first->n_out + n->n_out);
    GI_NEED(y);
    y->name = first->name;
    for (size_t i = 0; i < GI_COUNT(branches); i++)
        GI_NEED(append_branch(first, n, branches[i]));
    for (size_t i = 0; i < GI_COUNT(branches); i++) {
        gi_block *b = gi_attr_graph(first, branches[i]);
        gi_attr_clear(first, branches[i]);
        gi_attr_set_graph(y, branches[i], b);
    }
    GI_NEED(take_results(first, y, 0) && take_results(n, y, first->n_out));
    gi_applied(j->cx, "if_if", y, "two on the same condition become one");
    GI_NEED(gi_map_put(&j->later, (uint64_t)y->id + 1, (void *)(uintptr_t)place_of(j, first)));
    gi_node_remove(n);
    gi_node_remove(first);
    *joint = y;
    return GOPT_OK;
}

static bool has_both(const gi_node *n)
{
    const gi_block *a = gi_attr_graph(n, If_at_then_branch), *b = gi_attr_graph(n, If_at_else_branch);
    return a && b && a->n_results == n->n_out && b->n_results == n->n_out;
}

/* With the last If on the same condition before it in its block. */
static gopt_status try_join(joiner *j, gi_node *n)
{
    const gi_value *cond = gi_node_in(n, If_in_cond);
    if (!cond || !has_both(n))
        return GOPT_OK;
    const uint64_t key = ((uint64_t)n->block->id << 32 | cond->id) + 1;
    gi_node *first = gi_map_get(&j->latest, key);
    if (first && may_join(j, first, n) && gi_pass_may(j->cx, "if_if"))
        GI_TRY(join(j, first, n, &n));
    GI_NEED(!j->failed && gi_map_put(&j->latest, key, n));
    return GOPT_OK;
}

/* ---- Loops ---- */

/* How often a Loop runs: 0 or 1 where that is known; -1 otherwise. */
static int trip_count(const gi_node *n)
{
    int64_t most;
    uint32_t count;
    bool starts = true;
    gi_value *m = gi_node_in(n, Loop_in_M), *cond = gi_node_in(n, Loop_in_cond);
    const bool known = !cond || is_known(cond, &starts);
    if (known && !starts)
        return 0;
    if (!m || !gi_value_known_ints(m, &most, 1, &count) || count != 1)
        return -1;
    return most <= 0 ? 0 : most == 1 && known ? 1 : -1;
}

static uint32_t carried_count(const gi_node *n)
{
    return n->n_in > 2 ? n->n_in - 2 : 0;
}

/* Of one that runs no time, the stacked results are empty: they must not be read. */
static gopt_status drop_loop(gi_pass_ctx *cx, gi_node *n)
{
    const uint32_t carried = carried_count(n);
    for (uint32_t i = 0; i < n->n_out; i++)
        if (i < carried ? gi_type_differs(gi_node_in(n, 2 + i)->type, n->out[i]->type) : n->out[i]->n_uses > 0)
            return GOPT_OK;
    if (!gi_pass_may(cx, "loop_never"))
        return GOPT_OK;
    gi_applied(cx, "loop_never", n, "it runs no time");
    for (uint32_t i = 0; i < carried && i < n->n_out; i++)
        GI_NEED(gi_value_replace(n->out[i], gi_node_in(n, 2 + i), n));
    gi_remove_dead(n, cx->scratch);
    return GOPT_OK;
}

static gi_value *true_value(gopt_graph *g)
{
    gi_blob *b;
    if (gi_blob_create(g->cx, GOPT_BOOL, 0, NULL, &b) != GOPT_OK)
        return NULL;
    gi_store_i64(GOPT_BOOL, b->owned, 0, 1);
    return gi_const(g, b, NULL);
}

/* What was stacked of one run, with the dim of runs in front. */
static gi_value *stack_of_one(gi_pass_ctx *cx, gi_node *n, gi_value *v)
{
    gi_value *axes = gi_const_i64(n->block->graph, 1, 1, (const int64_t[]){ 0 });
    gi_node *u = axes ? gi_build(n->block, n, OP_Unsqueeze, 2, (gi_value *[]){ v, axes }) : NULL;
    (void)cx;
    return u && gi_node_merge_origins(u, n) ? u->out[0] : NULL;
}

static gopt_status run_once(gi_pass_ctx *cx, gi_node *n)
{
    gi_block *b = gi_attr_graph(n, Loop_at_body);
    const uint32_t carried = carried_count(n);
    gopt_graph *g = n->block->graph;
    if (!b || b->n_params != 2 + carried || b->n_results != 1 + n->n_out || n->n_out < carried)
        return GOPT_OK;
    uint32_t stacked = 0;
    for (uint32_t i = carried; i < n->n_out; i++)
        stacked += n->out[i]->n_uses > 0;
    for (uint32_t i = 0; i < carried; i++)
        if (gi_type_differs(gi_node_in(n, 2 + i)->type, b->params[2 + i]->type) ||
            gi_type_differs(b->results[1 + i].value->type, n->out[i]->type))
            return GOPT_OK;
    if (stacked > 1) {
        gi_declined(cx, "loop_once", n, "%u of its results are stacked, and would each need an Unsqueeze", stacked);
        return GOPT_OK;
    }
    if (!gi_pass_may(cx, "loop_once"))
        return GOPT_OK;
    gi_applied(cx, "loop_once", n, "it runs once");
    gi_value *zero = gi_const_i64(g, 0, 1, (const int64_t[]){ 0 }), *yes = true_value(g);
    GI_NEED(zero && yes);
    gi_value_replace_uses(b->params[0], zero);
    gi_value_replace_uses(b->params[1], yes);
    for (uint32_t i = 0; i < carried; i++)
        gi_value_replace_uses(b->params[2 + i], gi_node_in(n, 2 + i));
    gi_values results = { 0 };
    for (uint32_t i = 0; i < n->n_out; i++)
        GI_NEED(gi_push(cx->scratch, &results, b->results[1 + i].value));
    GI_NEED(gi_block_set_results(b, 0, NULL, NULL));
    GI_NEED(move_nodes(b, n, n));
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (!n->out[i]->n_uses)
            continue;
        gi_value *y = i < carried ? results.p[i] : stack_of_one(cx, n, results.p[i]);
        GI_NEED(y);
        gi_value_refine(g, y, n->out[i]->type);
        GI_NEED(gi_value_replace(n->out[i], y, n));
        gi_value_take_name(y, n->out[i]);
    }
    gi_node_remove(n);
    return GOPT_OK;
}

/* What comes out of each run as it went in is the same from the start. */
static gopt_status read_outside(gi_pass_ctx *cx, gi_node *n)
{
    gi_block *b = gi_attr_graph(n, Loop_at_body);
    const uint32_t carried = carried_count(n);
    if (!b || b->n_params != 2 + carried || b->n_results < 1 + carried || n->n_out < carried)
        return GOPT_OK;
    for (uint32_t i = 0; i < carried; i++) {
        gi_value *p = b->params[2 + i], *x = gi_node_in(n, 2 + i);
        const bool read = p->n_uses > 1 || n->out[i]->n_uses;
        const char *why;
        if (b->results[1 + i].value != p || !read || !gi_type_same(n->block->graph, p->type, x->type) ||
            !gi_value_may_replace(n->out[i], x, &why) || !gi_pass_may(cx, "loop_carries_along"))
            continue;
        gi_applied(cx, "loop_carries_along", n, "value %u comes out of each run as it went in", i);
        for (gi_use *u = p->uses, *next; u; u = next) {
            next = u->next;
            if (u->node)
                gi_node_set_in(u->node, u->index, x);
            else if (u->block != b || u->index != 1 + i)
                gi_block_set_result(u->block, u->index, x);
        }
        gi_value_replace_uses(n->out[i], x);
    }
    return GOPT_OK;
}

/* Does it give its result for all operands of these types? What a Loop that runs no time leaves undone may fail
 * otherwise. */
static bool never_fails(const gi_node *n)
{
    const gi_op *op = gi_op_get(n->op);
    if (!(op->traits & GI_PURE) || (op->traits & (GI_CONTROL | GI_RANDOM | GI_DATA_SHAPE)) || n->op == OP_Unknown)
        return false;
    if (n->n_in == 1 && (op->traits & GI_ELEMENTWISE))
        return true;
    if (n->op == OP_Shape || n->op == OP_Size || n->op == OP_Transpose)
        return true;
    if (!(op->traits & GI_ELEMENTWISE) || gi_dtype_is_int(gi_value_dtype(n->out[0])))
        return n->op == OP_MatMul && gi_type_is_static(n->out[0]->type) && gi_type_is_static(gi_node_in(n, 0)->type) &&
               gi_type_is_static(gi_node_in(n, 1)->type);
    for (uint32_t i = 0; i < n->n_in; i++) /* broadcasting is sure to fit */
        if (gi_node_in(n, i) && !gi_type_is_static(gi_node_in(n, i)->type))
            return false;
    return true;
}

static bool reads_outside_alone(const gi_node *n, const gi_block *body)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = gi_node_in(n, i);
        if (v && ((v->kind == GI_DEF_PARAM && v->def.block == body) ||
                  (v->kind == GI_DEF_NODE && v->def.node->block == body)))
            return false;
    }
    return true;
}

static gopt_status hoist(gi_pass_ctx *cx, gi_node *n, gi_block *body)
{
    for (gi_node *inner = body ? body->first : NULL, *next; inner; inner = next) {
        next = inner->next;
        bool is_result = false;
        for (uint32_t i = 0; i < inner->n_out; i++)
            is_result = is_result || gi_value_is_result(inner->out[i]);
        if (is_result || !never_fails(inner) || !reads_outside_alone(inner, body) || !gi_pass_may(cx, "loop_invariant"))
            continue;
        gi_applied(cx, "loop_invariant", inner, "it reads nothing that changes from run to run");
        forget_names(inner);
        gi_node_move(inner, n->block, n);
    }
    return GOPT_OK;
}

static gopt_status try_loop(gi_pass_ctx *cx, gi_node *n)
{
    const int trips = trip_count(n);
    if (trips == 0)
        GI_TRY(drop_loop(cx, n));
    else if (trips == 1)
        GI_TRY(run_once(cx, n));
    if (!n->block)
        return GOPT_OK;
    GI_TRY(read_outside(cx, n));
    return hoist(cx, n, gi_attr_graph(n, Loop_at_body));
}

/* ---- the pass ---- */

typedef struct found {
    gi_pass_ctx *cx;
    gi_vec(gi_node *) nodes; /* inner ones first */
} found;

static bool collect(void *arg, gi_node *n)
{
    found *f = arg;
    return (n->op != OP_If && n->op != OP_Loop && n->op != OP_Scan) || gi_push(f->cx->scratch, &f->nodes, n);
}

static bool number(void *arg, gi_node *n)
{
    joiner *j = arg;
    j->place[n->id] = ++j->next;
    return true;
}

static gopt_status join_all(gopt_graph *g, gi_pass_ctx *cx)
{
    found f = { .cx = cx };
    joiner j = { .cx = cx, .n_places = g->next_node };
    GI_NEED(gi_each_node(g->main, collect, &f));
    if (f.nodes.n < 2)
        return GOPT_OK;
    j.place = GI_NEW_ARRAY(cx->scratch, uint32_t, j.n_places + 1);
    GI_NEED(j.place);
    gi_map_init(&j.later, cx->scratch);
    gi_map_init(&j.latest, cx->scratch);
    gi_each_node(g->main, number, &j);
    for (size_t i = 0; i < f.nodes.n; i++)
        if (f.nodes.p[i]->block && f.nodes.p[i]->op == OP_If)
            GI_TRY(try_join(&j, f.nodes.p[i]));
    return GOPT_OK;
}

gopt_status gi_pass_control_flow(gopt_graph *g, gi_pass_ctx *cx)
{
    found f = { .cx = cx };
    GI_NEED(gi_each_node(g->main, collect, &f));
    /* Inner ones come first: whichever way, each node is still in a block when its turn comes. */
    for (size_t i = 0; i < f.nodes.n; i++) {
        gi_node *n = f.nodes.p[i];
        if (n->block && n->op == OP_If)
            GI_TRY(try_known_if(cx, n));
        if (n->block && n->op == OP_If)
            try_turned_if(cx, n);
        if (n->block && n->op == OP_Loop)
            GI_TRY(try_loop(cx, n));
        if (n->block && n->op == OP_Scan)
            GI_TRY(hoist(cx, n, gi_attr_graph(n, Scan_at_body)));
    }
    return join_all(g, cx);
}
