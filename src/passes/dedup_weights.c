/* Equal constants become one.
 *
 *     %a = Add %x, dense<f32[768], #5f>        %a = Add %x, %w
 *     %b = Add %y, dense<f32[768], #5f>   ⇒    %b = Add %y, %w
 *
 * Exporters write tied weights and the same small shapes again and again. Bytes are compared, not hashes
 * trusted (gi_constants_first). */
#include "passes/util.h"

typedef struct dedup {
    gi_pass_ctx *cx;
    gi_constants constants;
} dedup;

static bool dedup_inputs(void *arg, gi_node *n)
{
    dedup *d = arg;
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_value *v = n->in[i].value;
        if (!v || v->kind != GI_DEF_CONST)
            continue;
        gi_value *c = gi_constants_first(&d->constants, v);
        if (!c)
            return false;
        if (c == v || !gi_pass_may(d->cx, "dedup_weights"))
            continue;
        gi_node_set_in(n, i, c);
        char of[32];
        gi_applied(d->cx, "dedup_weights", n, "its input %u has the same contents as %s", i,
                   gi_value_label(c, of, sizeof of));
    }
    return true;
}

gopt_status gi_pass_dedup_weights(gopt_graph *g, gi_pass_ctx *cx)
{
    dedup d = { .cx = cx };
    gi_constants_init(&d.constants, cx->scratch);
    return gi_each_node(g->main, dedup_inputs, &d) ? GOPT_OK : GOPT_NO_MEMORY;
}
