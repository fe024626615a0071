/* Operators of ours alone. */
#include "ops/eval.h"
#include "ops/infer.h"

/* The body's results are the outputs. */
static gopt_status infer_fusion(gi_infer *c)
{
    const gi_block *b = gi_fusion_block(c->n);
    for (uint32_t i = 0; i < c->n->n_out && i < b->n_results; i++) {
        const gi_value *v = b->results[i].value;
        gi_infer_set_type(c, i, v ? v->type : NULL);
    }
    return GOPT_OK;
}

static gopt_status eval_fusion(gi_eval *a)
{
    const gi_block *b = gi_fusion_block(a->n);
    gopt_tensor **r = gi_eval_scratch(a, b->n_results ? b->n_results : 1, sizeof *r);
    GI_NEED(r);
    GI_TRY(gi_eval_block(a->cx, b, NULL, a->lookup, a->user, r));
    for (uint32_t i = 0; i < b->n_results; i++)
        GI_TRY(gi_eval_out_tensor(a, i, r[i]));
    return GOPT_OK;
}

#include "ops/rows.h"
#include "ir/ops/ours.def"
