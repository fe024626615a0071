/* Operators of ours alone. */
#include "ops/eval.h"
#include "ops/infer.h"

/* The body's results are the outputs. */
static gopt_status infer_fusion(gi_infer *c)
{
    gi_block *b = gi_fusion_block(c->n);
    if (!b)
        return gi_infer_fail_node(c, "it has no body");
    GI_TRY(gi_infer_block(b, c->scratch));
    for (uint32_t i = 0; i < c->n->n_out && i < b->n_results; i++) {
        const gi_value *v = b->results[i].value;
        gi_infer_set_type(c, i, v ? v->type : NULL);
    }
    return GOPT_OK;
}

static gopt_status eval_fusion(gi_eval *a)
{
    const gi_block *b = gi_fusion_block(a->n);
    gopt_tensor **r = b ? gi_eval_scratch(a, b->n_results, sizeof *r) : NULL;
    GI_NEED(r);
    gopt_status st = gi_eval_block(a->cx, b, NULL, a->lookup, a->user, r);
    for (uint32_t i = 0; i < b->n_results; i++)
        if (r[i]) {
            const gopt_status given = gi_eval_out_tensor(a, i, r[i]);
            st = st == GOPT_OK ? given : st;
        }
    return st;
}

#include "ops/rows.h"

#include "ir/ops/ours.def"
