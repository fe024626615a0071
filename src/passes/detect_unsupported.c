/* Remarks on every operator that nothing here can run: unknown to the table, or without an evaluation.
 *
 * Changes nothing and never fails: the model is optimized all the same, and can be saved for a runtime that
 * knows the operator. What an ATen operator is in PyTorch's terms, and what to change there, is told by
 * gopt_find_unsupported (aten/). */
#include "ops/plugin.h"
#include "passes/util.h"

static bool look(void *arg, gi_node *n)
{
    gi_pass_ctx *cx = arg;
    const char *domain = n->domain && n->domain[0] ? n->domain : "ai.onnx";
    if (gi_node_evaluates(n))
        return true;
    if (n->op == OP_Unknown) {
        const gi_attr *op = gi_attr_find(n, "operator"), *overload = gi_attr_find(n, "overload_name");
        if (op && op->kind == GI_ATTR_STRING)
            gi_remarked(cx, "detect_unsupported", n, "%s::%s: the torch operator %s%s%s has no evaluation here", domain,
                        n->op_name, op->u.s, overload && overload->kind == GI_ATTR_STRING && overload->n ? "." : "",
                        overload && overload->kind == GI_ATTR_STRING ? overload->u.s : "");
        else
            gi_remarked(cx, "detect_unsupported", n, "%s::%s is no operator of opset %d that is known here", domain,
                        n->op_name ? n->op_name : "?", n->opset);
    } else {
        gi_remarked(cx, "detect_unsupported", n, "%s::%s can be read and written, but not run here", domain,
                    n->op_name);
    }
    return true;
}

gopt_status gi_pass_detect_unsupported(gopt_graph *g, gi_pass_ctx *cx)
{
    gi_each_node(g->main, look, cx);
    return GOPT_OK;
}
