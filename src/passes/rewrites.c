/* Rewrites: the local rules that change arithmetic, within what --fp allows.
 *
 *     %c = Conv %x, %w                                            %b = Conv %x, %w', %o'
 *     %b = BatchNormalization %c, %s, %o, %m, %v             ⇒
 *
 * The rules are the rows of rules/NAME.def but the identities; rewrite.c is their engine. */
#include "passes/rule.h"

gopt_status gi_pass_rewrites(gopt_graph *g, gi_pass_ctx *cx)
{
    return gi_rules_run_stage(g, cx, REWRITE);
}
