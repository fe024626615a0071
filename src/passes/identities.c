/* Identities: what changes nothing goes.
 *
 *     %a = Mul %x, 1.0                        %y = Relu %x
 *     %b = Reshape %a, [0,-1,8,8]        ⇒
 *     %c = Transpose %b { perm = [0,1,2,3] }        (%x is f32[n,3,8,8])
 *     %y = Relu %c
 *
 * They are rules (rules/identity.def, rules/view.def and others of the stage IDENTITY); what is not local is done in
 * control_flow.c. */
#include "passes/rule.h"

gopt_status gi_pass_identities(gopt_graph *g, gi_pass_ctx *cx)
{
    return gi_rules_run_stage(g, cx, IDENTITY);
}
