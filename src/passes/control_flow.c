/* Control flow: branches that need not be. Loops are loops.c's.
 *
 *     %n = Not %c                                          %y, %z = If %c {
 *     %y = If %n { A } else { B }          ⇒                   then: B, D     else: A, C }
 *     %z = If %n { C } else { D }
 *
 * An If whose condition is known, since it is a constant or because the If lies in a branch of another one on the same
 * condition, becomes that branch, node by node; so does one whose branches are the same. Ifs on one condition become
 * one, where the first of them stands and as many as can stand there, all at once: two and two would be quadratic.
 *
 * A branch reads outer values where they are (they are captures, not inputs), so moving its nodes changes no operand. */
#include "passes/control_flow.h"

enum { MOST_NOTS = 8 }; /* identities leave one */

void gi_control_forget_names(gi_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        n->out[i]->name = NULL;
}

bool gi_control_move(gi_block *from, gi_node *before, const gi_node *owner)
{
    for (gi_node *inner = from->first, *next; inner; inner = next) {
        next = inner->next;
        gi_control_forget_names(inner);
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
    const gi_node *n = gi_value_node(v);
    for (int i = 0; i < MOST_NOTS && n && n->op == OP_Not; i++, n = gi_value_node(v)) {
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

bool gi_control_known(gi_value *v, bool *way)
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
    GI_NEED(gi_control_move(b, n, n));
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
    if (gi_control_known(gi_node_in(n, If_in_cond), &way))
        return inline_branch(cx, n, way, way ? "its condition is always true" : "its condition is always false");
    if (is_decided_outside(n, &way))
        return inline_branch(cx, n, way,
                             way ? "it lies where its condition is true" : "it lies where its condition is false");
    if (branches_are_same(n, cx->scratch))
        return inline_branch(cx, n, true, "both branches do the same");
    return GOPT_OK;
}

/* ---- Ifs on a turned condition ---- */

/* Asked once of each value: thousands may read it. What is turned since reads it no more. */
static bool only_ifs_read(gi_map *asked, gi_value *v)
{
    const void *known = gi_map_get(asked, (uint64_t)v->id + 1);
    if (known)
        return known == v;
    bool all = true;
    for (const gi_use *u = v->uses; u && all; u = u->next)
        all = u->node && u->node->op == OP_If;
    return gi_map_put(asked, (uint64_t)v->id + 1, all ? (void *)v : asked) && all;
}

static void try_turned_if(gi_pass_ctx *cx, gi_node *n, gi_map *asked)
{
    gi_node *not_ = gi_value_node(gi_node_in(n, If_in_cond));
    gi_block *a = gi_attr_graph(n, If_at_then_branch), *b = gi_attr_graph(n, If_at_else_branch);
    if (!not_ || not_->op != OP_Not || !a || !b || !only_ifs_read(asked, not_->out[0]) || !gi_pass_may(cx, "if_not"))
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

/* Those of one block on one condition that can stand where the first of them does. */
typedef struct group {
    gi_node *first;
    gi_vec(gi_node *) nodes; /* the first too, in order */
} group;

typedef struct joiner {
    gi_pass_ctx *cx;
    uint32_t *place; /* in program order, by node id */
    uint32_t next;
    gi_map latest; /* the last group of a block on a condition */
    gi_map member; /* node id + 1 to its group */
    gi_vec(group *) groups;
} joiner;

/* Is all that n's branches read there where the group's first stands, or a result of the group? */
static bool may_join(joiner *j, const group *g, const gi_node *n, bool *failed)
{
    gi_values read = { 0 };
    *failed = !gi_node_captures(n, j->cx->scratch, &read);
    for (size_t i = 0; i < read.n && !*failed; i++) {
        const gi_node *maker = gi_value_node(read.p[i]);
        if (maker && maker->block == n->block && gi_map_get(&j->member, (uint64_t)maker->id + 1) != g &&
            j->place[maker->id] > j->place[g->first->id])
            return false;
    }
    return !*failed;
}

/* The branch of a group's node that block b lies in; NULL where it lies in none. */
static const gi_block *branch_around(const joiner *j, const group *g, const gi_block *b)
{
    while (b && b->owner && gi_map_get(&j->member, (uint64_t)b->owner->id + 1) != g)
        b = b->owner->block;
    return b && b->owner ? b : NULL;
}

/* Whatever reads n's results in a branch of the group reads that branch's own. */
static void read_inside(const joiner *j, const group *g, const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        for (gi_use *u = n->out[i]->uses, *next; u; u = next) {
            next = u->next;
            const gi_block *b = branch_around(j, g, u->node ? u->node->block : u->block);
            if (!b)
                continue;
            const bool then = gi_attr_graph(b->owner, If_at_then_branch) == b;
            gi_value *v = gi_attr_graph(n, then ? If_at_then_branch : If_at_else_branch)->results[i].value;
            if (u->node)
                gi_node_set_in(u->node, u->index, v);
            else
                gi_block_set_result(u->block, u->index, v);
        }
}

/* The branches of all of them, one behind the other, in the first one's. */
static bool join_branches(const group *g, int at, uint32_t count, gi_arena *a)
{
    gi_block *to = gi_attr_graph(g->first, at);
    gi_value **results = GI_NEW_ARRAY(a, gi_value *, count + 1);
    uint32_t n = 0;
    if (!results)
        return false;
    for (size_t k = 0; k < g->nodes.n; k++) {
        gi_block *from = gi_attr_graph(g->nodes.p[k], at);
        for (uint32_t i = 0; i < from->n_results; i++)
            results[n++] = from->results[i].value;
        if (from == to)
            continue;
        if (!gi_block_set_results(from, 0, NULL, NULL))
            return false;
        for (gi_node *inner = from->first, *next; inner; inner = next) {
            next = inner->next;
            gi_control_forget_names(inner);
            gi_node_move(inner, to, NULL);
        }
    }
    return gi_block_set_results(to, n, results, NULL);
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

static gopt_status join(joiner *j, const group *g)
{
    static const int branches[] = { If_at_then_branch, If_at_else_branch };
    gi_node *first = g->first;
    gi_value *cond = gi_node_in(first, If_in_cond);
    uint32_t count = 0, at = 0;
    if (g->nodes.n < 2 || !gi_pass_may(j->cx, "if_if"))
        return GOPT_OK;
    for (size_t k = 0; k < g->nodes.n; k++) {
        count += g->nodes.p[k]->n_out;
        read_inside(j, g, g->nodes.p[k]);
    }
    gi_node *y = gi_node_create(first->block, first, OP_If, 1, &cond, count);
    GI_NEED(y);
    y->name = first->name;
    for (size_t i = 0; i < GI_COUNT(branches); i++) {
        GI_NEED(join_branches(g, branches[i], count, j->cx->scratch));
        gi_block *b = gi_attr_graph(first, branches[i]);
        gi_attr_clear(first, branches[i]);
        gi_attr_set_graph(y, branches[i], b);
    }
    for (size_t k = 0; k < g->nodes.n; k++) {
        GI_NEED(take_results(g->nodes.p[k], y, at));
        at += g->nodes.p[k]->n_out;
    }
    gi_applied(j->cx, "if_if", y, "%zu on the same condition become one", g->nodes.n);
    for (size_t k = 0; k < g->nodes.n; k++)
        gi_node_remove(g->nodes.p[k]);
    return GOPT_OK;
}

static bool has_both(const gi_node *n)
{
    const gi_block *a = gi_attr_graph(n, If_at_then_branch), *b = gi_attr_graph(n, If_at_else_branch);
    return a && b && a->n_results == n->n_out && b->n_results == n->n_out;
}

/* Into the last group on the same condition before it in its block, or a new one. */
static gopt_status find_group(joiner *j, gi_node *n)
{
    const gi_value *cond = gi_node_in(n, If_in_cond);
    bool failed = false;
    if (!cond || !has_both(n))
        return GOPT_OK;
    const uint64_t key = ((uint64_t)n->block->id << 32 | cond->id) + 1;
    group *g = gi_map_get(&j->latest, key);
    if (!g || !may_join(j, g, n, &failed)) {
        GI_NEED(!failed);
        g = GI_NEW_ARRAY(j->cx->scratch, group, 1);
        GI_NEED(g && gi_map_put(&j->latest, key, g) && gi_push(j->cx->scratch, &j->groups, g));
        g->first = n;
    }
    GI_NEED(gi_push(j->cx->scratch, &g->nodes, n) && gi_map_put(&j->member, (uint64_t)n->id + 1, g));
    return GOPT_OK;
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
    joiner j = { .cx = cx };
    GI_NEED(gi_each_node(g->main, collect, &f));
    if (f.nodes.n < 2)
        return GOPT_OK;
    j.place = GI_NEW_ARRAY(cx->scratch, uint32_t, g->next_node + 1);
    GI_NEED(j.place);
    gi_map_init(&j.latest, cx->scratch);
    gi_map_init(&j.member, cx->scratch);
    gi_each_node(g->main, number, &j);
    for (size_t i = 0; i < f.nodes.n; i++)
        if (f.nodes.p[i]->op == OP_If)
            GI_TRY(find_group(&j, f.nodes.p[i]));
    for (size_t i = 0; i < j.groups.n; i++)
        GI_TRY(join(&j, j.groups.p[i]));
    return GOPT_OK;
}

gopt_status gi_pass_control_flow(gopt_graph *g, gi_pass_ctx *cx)
{
    found f = { .cx = cx };
    gi_map asked;
    gi_map_init(&asked, cx->scratch);
    GI_NEED(gi_each_node(g->main, collect, &f));
    /* Inner ones come first: whichever way, each node is still in a block when its turn comes. */
    for (size_t i = 0; i < f.nodes.n; i++) {
        gi_node *n = f.nodes.p[i];
        if (n->block && n->op == OP_If)
            GI_TRY(try_known_if(cx, n));
        if (n->block && n->op == OP_If)
            try_turned_if(cx, n, &asked);
        if (n->block && (n->op == OP_Loop || n->op == OP_Scan))
            GI_TRY(gi_control_loop(cx, n));
        if (n->block && n->op == OP_Loop)
            GI_TRY(gi_control_lists(cx, n));
    }
    return join_all(g, cx);
}
