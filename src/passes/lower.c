/* Lowering: expands operators that whoever gets the graph does not have.
 *
 *     %y = com.microsoft::QuickGelu %x { alpha = 1.702 }       ⇒      %a = Mul %x, 1.702
 *                                                                      %s = Sigmoid %a
 *                                                                      %y = Mul %x, %s
 *
 * Three ask for it: a backend that has no kernel for a node, and would run it by reference evaluation; --emit onnx, so
 * that what ONNX Runtime's optimizer wrote becomes a model that any runtime loads; and --opset, where an operator came
 * later than that. The rules are the rows of rules/lower.def. What one of them makes may be lowered again.
 *
 * lower comes behind the rules that recognize operators, which are of another stage and so do not undo it, and before
 * regions are drawn. lower-runtime does the same with ONNX Runtime's own operators alone, and comes first: no other rule
 * knows those, but all know what they consist of. */
#include "passes/rule.h"

static bool is_foreign(const gi_node *n)
{
    const gi_op *row = gi_op_get(n->op);
    return n->op != OP_Unknown && (row->domain || (row->traits & GI_NOT_ONNX));
}

static bool is_lacking(gi_pass_ctx *cx, const gi_node *n)
{
    const gopt_optimize_options *o = cx->options;
    if (o->runs)
        return !o->runs(o->runs_user, n);
    if (is_foreign(n))
        return o->emit == GOPT_EMIT_ONNX;
    return n->op != OP_Unknown && (o->opset > 0 || o->emit == GOPT_EMIT_ONNX) &&
           gi_op_introduced(gi_op_get(n->op)->name) > cx->opset;
}

typedef struct left {
    gi_arena *arena;
    const gi_node *first;
    int64_t n;
} left;

static bool count_foreign(void *arg, gi_node *n)
{
    left *l = arg;
    if (is_foreign(n)) {
        l->first = l->first ? l->first : n;
        l->n++;
    }
    return true;
}

/* A promise of standard ONNX that cannot be kept is said. */
static void tell_left(gopt_graph *g, gi_pass_ctx *cx)
{
    left l = { .arena = cx->scratch };
    gi_each_node(g->main, count_foreign, &l);
    if (l.n)
        gi_note(g->cx, &(gi_place){ .file = g->file }, "--remarks=lower says why",
                "%lld node%s of ONNX Runtime's own operators stay%s, the first is '%s' (%s): nothing else will load it",
                (long long)l.n, l.n == 1 ? "" : "s", l.n == 1 ? "s" : "", gi_node_label(l.first, cx->scratch),
                l.first->op_name);
}

static bool is_foreign_and_lacking(gi_pass_ctx *cx, const gi_node *n)
{
    return is_foreign(n) && is_lacking(cx, n);
}

static gopt_status lower(gopt_graph *g, gi_pass_ctx *cx, bool (*only)(gi_pass_ctx *cx, const gi_node *n))
{
    cx->only = only;
    const gopt_status st = gi_rules_run_stage(g, cx, LOWER);
    cx->only = NULL;
    return st;
}

gopt_status gi_pass_lower_runtime(gopt_graph *g, gi_pass_ctx *cx)
{
    return lower(g, cx, is_foreign_and_lacking);
}

gopt_status gi_pass_lower(gopt_graph *g, gi_pass_ctx *cx)
{
    const gopt_status st = lower(g, cx, is_lacking);
    if (st == GOPT_OK && cx->options->emit == GOPT_EMIT_ONNX && !cx->options->runs)
        tell_left(g, cx);
    return st;
}
