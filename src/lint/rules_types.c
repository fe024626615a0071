/* Rules of element types: float64 that comes in, and casts there and back. int64 has a file of its own. */
#include "lint/lint.h"

static bool is_double(const gi_value *v)
{
    return gi_lint_dtype(v) == GOPT_F64;
}

/* Called for the graph (inputs), for nodes where it begins, and for weights of more than one element. */
void gi_lint_double(gi_lint *l)
{
    if (l->weight) {
        const gi_lint_weight *w = l->weight;
        uint32_t at;
        if (w->b->dtype == GOPT_F64 && w->n > 1)
            gi_lint_find(l, gi_lint_reader(w->v, &at), w->v, (int64_t)w->b->bytes / 2, "a weight in float64");
        return;
    }
    if (!l->node) {
        for (uint32_t i = 0; i < l->g->main->n_params; i++)
            if (is_double(l->g->main->params[i]))
                gi_lint_find(l, NULL, l->g->main->params[i], gi_lint_bytes(l, l->g->main->params[i]) / 2,
                             "an input in float64");
        return;
    }
    const gi_node *n = l->node;
    if (!n->n_out || !is_double(n->out[0]) || (gi_op_get(n->op)->traits & GI_CONTROL))
        return;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (is_double(n->in[i].value))
            return;
    gi_lint_find(l, n, NULL, gi_lint_bytes(l, n->out[0]) / 2, "it makes float64 of what it reads");
}

/* Does every value of `from` exist in `to`? */
static bool holds_all(gopt_dtype from, gopt_dtype to)
{
    const gi_dclass a = gi_dtype_class(from), b = gi_dtype_class(to);
    const int n = gopt_dtype_bits(from), m = gopt_dtype_bits(to);
    if (a == GI_FLOAT && b == GI_FLOAT)
        return (from == GOPT_F16 || from == GOPT_BF16) ? m >= 32 : from == GOPT_F32 && to == GOPT_F64;
    if ((a == GI_SINT && b == GI_SINT) || (a == GI_UINT && b == GI_UINT))
        return m > n;
    return a == GI_UINT && b == GI_SINT && m > n;
}

void gi_lint_cast_back(gi_lint *l)
{
    const gi_node *n = l->node, *up;
    if (n->op != OP_Cast || !(up = gi_value_node(gi_node_in(n, 0))) || up->op != OP_Cast)
        return;
    const gopt_dtype from = gi_lint_dtype(gi_node_in(up, 0)), to = gi_lint_dtype(n->out[0]);
    if (from != GOPT_UNDEFINED && from == to && holds_all(from, gi_lint_dtype(up->out[0])))
        gi_lint_find(l, n, NULL, gi_lint_bytes(l, up->out[0]), "it takes back what %.120s did",
                     up->name ? up->name : gi_lint_name(l, up->out[0]));
}
