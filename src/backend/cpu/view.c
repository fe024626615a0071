/* Tactic "view": nodes whose output holds the input's elements in the same order cost nothing. Where the input
 * lies blocked, the conversion to plain is all there is to do. */
#include "backend/cpu/cpu.h"

/* A Transpose that moves no dim but those of one. */
static bool moves_nothing(const gi_node *n)
{
    if (n->op != OP_Transpose)
        return false;
    const gi_type *t = gi_node_in(n, 0)->type;
    const int64_t *perm;
    int64_t dims[GOPT_MAX_RANK], last = -1;
    if (!gi_type_is_static(t) || !gi_type_static_dims(t, dims))
        return false;
    const uint32_t np = gi_attr_ints(n, Transpose_at_perm, &perm);
    if (np && np != (uint32_t)t->rank)
        return false;
    for (int i = 0; i < t->rank; i++) {
        const int64_t p = np ? perm[i] : t->rank - 1 - i;
        if (p < 0 || p >= t->rank)
            return false;
        if (dims[p] == 1)
            continue;
        if (p < last)
            return false;
        last = p;
    }
    return true;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    const gi_node *n = s->node;
    gi_value *x = gi_node_in(n, 0), *y = s->n_out ? s->out[0] : NULL;
    if (!x || !y || !(gi_op_get(n->op)->traits & GI_VIEW || moves_nothing(n)) || gi_value_blob(x))
        return GOPT_OK;
    size_t bx, by;
    if (!gi_type_bytes(x->type, &bx) || !gi_type_bytes(y->type, &by) || bx != by || x->type->dtype != y->type->dtype ||
        x->type->dtype == GOPT_STRING)
        return GOPT_OK;
    for (uint32_t i = 1; i < s->n_out; i++)
        if (s->out[i]->n_uses)
            return GOPT_OK;
    GI_TRY(gi_cpu_set_in(s, c, 1, &x));
    s->n_out = 1;
    const gi_layout plain = gi_is_bf16(c->have_in[0]) ? GI_PLAIN_BF16 : GI_PLAIN;
    c->want_out[0] = GI_PLAIN;
    if (gi_cpu_layouts_agree(d, c->have_in[0], plain, x->type) &&
        gi_cpu_layouts_agree(d, c->have_out[0], plain, y->type)) {
        c->want_in[0] = c->have_in[0];
        c->want_out[0] = c->have_out[0];
        s->alias = true;
    }
    *took = true;
    return GOPT_OK;
}

/* Not reached for an alias: the input lies otherwise than plain, or the output shall. */
static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    if (c->have_in[0] != GI_PLAIN)
        gi_cpu_convert(d, args->pool, s->in[0]->type, c->have_in[0], GI_PLAIN, args->in[0].host, args->out[0].host);
    else if (args->in[0].host != args->out[0].host)
        memcpy(args->out[0].host, args->in[0].host, args->out[0].bytes);
    return GOPT_OK;
}

const gi_tactic gi_tactic_view = { .name = "view", .prepare = prepare, .run = run };
