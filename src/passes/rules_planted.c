/* Planted rules: wrong on purpose, each in a way of its own, so that tests can hold --verify against them. No run has
 * them but one that names them (`gopt_optimize_options.planted`). */
#include "passes/rule.h"

static gi_value *build_attributed(gi_rewrite *r, gi_opcode op, uint32_t n_in, gi_value *const *in, int from, int to)
{
    gi_node *n = gi_rw_node(r, op, n_in, in, 1);
    if (n && gi_attr_has(r->root, from))
        gi_attr_set_int(n, to, gi_attr_int(r->root, from));
    return gi_rw_done(r, n);
}

static gi_value *add_factors(gi_rewrite *r, const gi_match *m)
{
    gi_value *k = gi_rw_build(r, OP_Add, 2, (gi_value *[]){ m->a, m->b });
    return k ? gi_rw_build(r, OP_Mul, 2, (gi_value *[]){ m->x, k }) : NULL;
}

static gi_value *subtract(gi_rewrite *r, const gi_match *m)
{
    return gi_rw_build(r, OP_Sub, 2, (gi_value *[]){ m->x, m->k });
}

static gi_value *exp_of_log(gi_rewrite *r, const gi_match *m)
{
    gi_value *log = gi_rw_build(r, OP_Log, 1, (gi_value *[]){ m->x });
    return log ? gi_rw_build(r, OP_Exp, 1, &log) : NULL;
}

static gi_value *half_of_sum(gi_rewrite *r, const gi_match *m)
{
    const float half = 0.5f;
    gi_value *k = gi_const_f32(r->g, 0, 1, &half);
    gi_value *sum = k ? build_attributed(r, OP_ReduceSum, 2, (gi_value *[]){ m->x, m->a }, ReduceMean_at_keepdims,
                                         ReduceSum_at_keepdims)
                      : NULL;
    return sum ? gi_rw_build(r, OP_Mul, 2, (gi_value *[]){ sum, k }) : NULL;
}

static bool takes_first_of_two(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_value_rank(m->x) >= 2 && gi_blob_all(gi_value_blob(m->i), 0.0) &&
           !gi_attr_has(m->nodes[1], Shape_at_start);
}

static gi_value *take_second(gi_rewrite *r, const gi_match *m)
{
    gi_value *one = gi_const_i64(r->g, gi_value_rank(m->i) ? 1 : 0, 1, (const int64_t[]){ 1 });
    return one ? build_attributed(r, OP_Gather, 2, (gi_value *[]){ m->s, one }, Gather_at_axis, Gather_at_axis) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/planted.def"

static const gi_rule *const rows[] = {
#undef RULE
#define RULE(NAME, ...) &gi_rule_##NAME,
#include "passes/rules/planted.def"
};

const gi_rule *gi_rule_planted(size_t i)
{
    return i < GI_COUNT(rows) ? rows[i] : NULL;
}
