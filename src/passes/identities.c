/* Identities: what changes nothing goes.
 *
 *     %a = Mul %x, 1.0                        %y = Relu %x
 *     %b = Reshape %a, [0,-1,8,8]        ⇒
 *     %c = Transpose %b { perm = [0,1,2,3] }        (%x is f32[n,3,8,8])
 *     %y = Relu %c
 *
 * The local ones are rules (rules/identity.def, rules/view.def). An If whose condition is known is not local:
 * its branch is put in its place, node by node, and what the branch read stays what it reads. */
#include "passes/rule.h"

typedef struct inliner {
    gi_pass_ctx *cx;
    gi_vec(gi_node *) found;
} inliner;

static bool find_known_if(void *arg, gi_node *n)
{
    inliner *f = arg;
    int64_t cond;
    uint32_t count;
    if (n->op != OP_If)
        return true;
    gi_value *v = gi_node_in(n, If_in_cond);
    const gi_blob *b = gi_value_blob(v);
    if (b ? gi_blob_elements(b) != 1 : !v || !gi_value_known_ints(v, &cond, 1, &count) || count != 1)
        return true;
    return gi_push(f->cx->scratch, &f->found, n);
}

static bool is_true(gi_value *v)
{
    int64_t cond = 0;
    uint32_t count;
    const gi_blob *b = gi_value_blob(v);
    if (b)
        return gi_load_i64(b->dtype, b->data, 0) != 0;
    return gi_value_known_ints(v, &cond, 1, &count) && cond != 0;
}

/* Names inside a branch are its own: two branches may use the same ones. */
static void forget_names(gi_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        n->out[i]->name = NULL;
}

static gopt_status inline_branch(gi_pass_ctx *cx, gi_node *n)
{
    const bool cond = is_true(gi_node_in(n, If_in_cond));
    gi_block *b = gi_attr_graph(n, cond ? If_at_then_branch : If_at_else_branch);
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
    gi_applied(cx, "if_known", n, "its condition is always %s", cond ? "true" : "false");
    GI_NEED(gi_block_set_results(b, 0, NULL, NULL));
    for (gi_node *inner = b->first, *next; inner; inner = next) {
        next = inner->next;
        forget_names(inner);
        gi_node_move(inner, n->block, n);
        GI_NEED(gi_node_merge_origins(inner, n));
    }
    for (size_t i = 0; i < results.n; i++) {
        gi_value_refine(n->block->graph, results.p[i], n->out[i]->type);
        GI_NEED(gi_value_replace(n->out[i], results.p[i], n));
        gi_value_take_name(results.p[i], n->out[i]);
    }
    gi_node_remove(n);
    return GOPT_OK;
}

gopt_status gi_pass_identities(gopt_graph *g, gi_pass_ctx *cx)
{
    GI_TRY(gi_rules_run_stage(g, cx, IDENTITY));
    inliner f = { .cx = cx };
    GI_NEED(gi_each_node(g->main, find_known_if, &f));
    /* Inner ones come first: whichever way, each node is still in a block when its turn comes. */
    for (size_t i = 0; i < f.found.n; i++)
        if (f.found.p[i]->block)
            GI_TRY(inline_branch(cx, f.found.p[i]));
    return GOPT_OK;
}
