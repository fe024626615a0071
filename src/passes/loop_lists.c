/* Lists that Loops grow: what is appended in each run, and stacked when all have run, is stacked by the Loop itself.
 *
 *     %s = SequenceEmpty
 *     %l, %y = Loop %m, true, %s, %x {                       %y, %z = Loop %m, true, %x {
 *       body(%i, %c, %p, %v):                                  body(%i, %c, %v):
 *         %w = Tanh %v                                ⇒          %w = Tanh %v
 *         %q = SequenceInsert %p, %w                             yield %c, %w, %w }
 *         yield %c, %q, %w }
 *     %z = ConcatFromSequence %l { new_axis = 1 }
 *
 * PyTorch's exporter writes `out.append(h)` and `torch.stack(out)` so. A runtime that copies a sequence to insert into
 * it takes time with the square of the runs; a stack is written once. */
#include "passes/control_flow.h"

enum { MOST_READERS = 64, FIRST_STATE = Loop_in_v_initial };

typedef struct grown {
    gi_pass_ctx *cx;
    gi_node *n;
    gi_block *body;
    uint32_t k;      /* which carried value is the list */
    gi_node *insert; /* of the body */
} grown;

static bool is_appended(const gi_node *n, const gi_value *list)
{
    return n && n->op == OP_SequenceInsert && gi_node_in(n, SequenceInsert_in_input_sequence) == list &&
           gi_node_in(n, SequenceInsert_in_tensor) && !gi_node_in(n, SequenceInsert_in_position);
}

/* Do all that read the list stack it? */
static bool is_stacked(const grown *g)
{
    const gi_value *list = g->n->out[g->k], *item = gi_node_in(g->insert, SequenceInsert_in_tensor);
    const int rank = gi_value_rank(item);
    int axis;
    if (!list->n_uses)
        return false;
    if (list->n_uses > MOST_READERS || list->n_result_uses) {
        gi_declined(g->cx, "loop_list", g->n, "the list that it grows has %u readers, not all of which stack it",
                    list->n_uses);
        return false;
    }
    for (const gi_use *u = list->uses; u; u = u->next) {
        if (u->node->op != OP_ConcatFromSequence) {
            gi_declined(g->cx, "loop_list", g->n, "the list that it grows is read by %s, which does not stack it",
                        gi_node_label(u->node, g->cx->scratch));
            return false;
        }
        if (!gi_attr_int(u->node, ConcatFromSequence_at_new_axis)) {
            gi_declined(g->cx, "loop_list", g->n, "%s joins its list along an axis that is there, not a new one",
                        gi_node_label(u->node, g->cx->scratch));
            return false;
        }
        if (rank < 0 || rank >= GOPT_MAX_RANK ||
            !gi_axis(gi_attr_int(u->node, ConcatFromSequence_at_axis), rank + 1, &axis))
            return false;
    }
    return true;
}

/* The first carried value that is such a list. */
static bool find_list(grown *g)
{
    const uint32_t n_state = g->n->n_in > FIRST_STATE ? g->n->n_in - FIRST_STATE : 0;
    if (!g->body || g->body->n_params != 2 + n_state || g->body->n_results != 1 + g->n->n_out || g->n->n_out < n_state)
        return false;
    for (g->k = 0; g->k < n_state; g->k++) {
        const gi_node *from = gi_value_node(gi_node_in(g->n, FIRST_STATE + g->k));
        const gi_value *p = g->body->params[2 + g->k], *last = g->body->results[1 + g->k].value;
        g->insert = gi_value_node(last);
        if (from && from->op == OP_SequenceEmpty && p->n_uses == 1 && last->n_uses == 1 && g->insert &&
            g->insert->block == g->body && is_appended(g->insert, p) && !gi_has_declined(g->cx, "loop_list", g->n) &&
            is_stacked(g))
            return true;
    }
    return false;
}

/* The Loop without the list, and with one stack more, behind all others. */
static gi_node *make_loop(const grown *g)
{
    gi_arena *a = g->cx->scratch;
    gi_node *n = g->n;
    gi_value **in = GI_NEW_ARRAY(a, gi_value *, n->n_in), **results = GI_NEW_ARRAY(a, gi_value *, n->n_out + 1);
    uint32_t n_in = 0, n_results = 0;
    if (!in || !results)
        return NULL;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (i != FIRST_STATE + g->k)
            in[n_in++] = gi_node_in(n, i);
    for (uint32_t i = 0; i < g->body->n_results; i++)
        if (i != 1 + g->k)
            results[n_results++] = g->body->results[i].value;
    results[n_results++] = gi_node_in(g->insert, SequenceInsert_in_tensor);
    gi_node *y = gi_node_create(n->block, n, OP_Loop, n_in, in, n->n_out);
    if (!y || !gi_block_set_results(g->body, n_results, results, NULL) || !gi_node_merge_origins(y, n) ||
        !gi_node_merge_origins(y, g->insert))
        return NULL;
    y->name = n->name;
    y->opset = n->opset;
    gi_node_remove(g->insert);
    gi_block_remove_param(g->body, 2 + g->k);
    gi_attr_clear(n, Loop_at_body);
    gi_attr_set_graph(y, Loop_at_body, g->body);
    return y;
}

/* The stack with its new axis where c has it. */
static gi_value *turn(gi_value *stack, const gi_type *type, int rank, gi_node *c)
{
    int axis = 0;
    int64_t perm[GOPT_MAX_RANK];
    (void)gi_axis(gi_attr_int(c, ConcatFromSequence_at_axis), rank + 1, &axis);
    if (axis == 0) {
        if (!stack->type)
            gi_value_set_type(stack, type);
        return stack;
    }
    for (int i = 0; i <= rank; i++)
        perm[i] = i == axis ? 0 : i < axis ? i + 1 : i;
    gi_node *t = gi_node_create(c->block, c, OP_Transpose, 1, &stack, 1);
    if (!t || !gi_attr_set_ints(t, Transpose_at_perm, (uint32_t)rank + 1, perm) || !gi_node_merge_origins(t, c))
        return NULL;
    gi_value_set_type(t->out[0], type);
    return t->out[0];
}

static gopt_status make_stack(const grown *g, gi_node **made)
{
    gi_node *n = g->n, *empty = gi_value_node(gi_node_in(n, FIRST_STATE + g->k));
    const int rank = gi_value_rank(gi_node_in(g->insert, SequenceInsert_in_tensor));
    gi_node *y = make_loop(g);
    GI_NEED(y);
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (i == g->k)
            continue;
        gi_value *to = y->out[i < g->k ? i : i - 1];
        gi_value_set_type(to, n->out[i]->type);
        gi_value_replace_uses(n->out[i], to);
        gi_value_take_name(to, n->out[i]);
    }
    gi_value *stack = y->out[n->n_out - 1], *list = n->out[g->k];
    while (list->uses) {
        gi_node *c = list->uses->node;
        gi_value *z = turn(stack, c->out[0]->type, rank, c);
        GI_NEED(z && gi_node_merge_origins(y, c) && gi_value_replace(c->out[0], z, c));
        gi_value_take_name(z, c->out[0]);
        gi_node_remove(c);
    }
    gi_applied(g->cx, "loop_list", y, "what it appends to a list in each run is stacked by itself");
    gi_node_remove(n);
    gi_remove_dead(empty, g->cx->scratch);
    *made = y;
    return GOPT_OK;
}

gopt_status gi_control_lists(gi_pass_ctx *cx, gi_node *n)
{
    grown g = { .cx = cx, .n = n, .body = gi_attr_graph(n, Loop_at_body) };
    while (find_list(&g) && gi_pass_may(cx, "loop_list")) /* one list after another */
        GI_TRY(make_stack(&g, &g.n));
    return GOPT_OK;
}
