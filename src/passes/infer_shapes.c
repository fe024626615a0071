/* Types, shapes and contents, from the inputs to the outputs.
 *
 *     %s = Shape %x                      %x: f32[batch,3,h,w]
 *     %n = Gather %s, 0                  %n: i64[] = { batch }
 *     %t = Concat %n, -1                 %t: i64[2] = { batch, -1 }
 *     %y = Reshape %x, %t                %y: f32[batch,3*h*w]
 *
 * The rules are the operators' own (ops/); this pass only runs them all, in order, once more: a pass before
 * it may have made a dim or a content known that was not. */
#include "passes/pass.h"

gopt_status gi_pass_infer_shapes(gopt_graph *g, gi_pass_ctx *cx)
{
    (void)cx;
    return gi_infer_graph(g);
}
