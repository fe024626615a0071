/* Emission: the last rewrites, into operators that only the runtime asked for has.
 *
 *     %c = Conv %x, %w, %b
 *     %a = Add %c, %skip                 ⇒      %r = com.microsoft.FusedConv %x, %w, %b, %skip { activation = "Relu" }
 *     %r = Relu %a
 *
 * The rules are the rows of rules/emit_ort.def. They come last, so that every other rule sees ONNX's own operators,
 * and only where the output is for ONNX Runtime: nothing else would load it. */
#include "passes/rule.h"

gopt_status gi_pass_emit(gopt_graph *g, gi_pass_ctx *cx)
{
    return cx->options->emit == GOPT_EMIT_ORT ? gi_rules_run_stage(g, cx, EMIT_ORT) : GOPT_OK;
}
