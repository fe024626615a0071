/* Rules of arithmetic, comparison and choice that hold whatever the operands are. */
#include <math.h>

#include "passes/rule.h"

static gi_value *make_x(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->x;
}

static gi_value *make_y(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->y;
}

static gi_value *build(gi_rewrite *r, gi_opcode op, gi_value *a, gi_value *b)
{
    return gi_rw_build(r, op, b ? 2 : 1, (gi_value *[]){ a, b });
}

static bool type_is_the_same(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_type_same(m->g, m->x->type, m->root->out[0]->type);
}

static bool is_float(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_dtype_is_float(gi_value_dtype(m->x));
}

/* ---- truth ---- */

/* 0 or 1 where a bool constant is that everywhere; -1 otherwise. */
static int all_of(const gi_value *k)
{
    const gi_blob *b = gi_value_blob(k);
    const int64_t n = b && b->dtype == GOPT_BOOL ? gi_blob_elements(b) : 0;
    for (int64_t i = 1; i < n; i++)
        if (!gi_load_i64(b->dtype, b->data, (size_t)i) != !gi_load_i64(b->dtype, b->data, 0))
            return -1;
    return n ? gi_load_i64(b->dtype, b->data, 0) != 0 : -1;
}

static bool bool_is_neutral(const gi_match *m, gi_reason *why)
{
    const gi_opcode op = m->root->op;
    return all_of(m->k) == (op == OP_And || op == OP_Equal) && type_is_the_same(m, why);
}

static bool bool_turns_over(const gi_match *m, gi_reason *why)
{
    return all_of(m->k) == (m->root->op == OP_Xor) && type_is_the_same(m, why);
}

static gi_value *make_not(gi_rewrite *r, const gi_match *m)
{
    return build(r, OP_Not, m->x, NULL);
}

static bool chooses_bools(const gi_match *m, gi_reason *why)
{
    const int a = all_of(m->a), b = all_of(m->b);
    return a >= 0 && b >= 0 && a != b && type_is_the_same(m, why);
}

static gi_value *make_bool(gi_rewrite *r, const gi_match *m)
{
    return all_of(m->a) == 1 ? m->x : make_not(r, m);
}

static gi_value *swap_choices(gi_rewrite *r, const gi_match *m)
{
    return gi_rw_build(r, OP_Where, 3, (gi_value *[]){ m->c, m->y, m->x });
}

static bool compares_integers(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_dtype_is_int(gi_value_dtype(m->a));
}

static gi_value *make_opposite(gi_rewrite *r, const gi_match *m)
{
    const gi_opcode op = gi_value_node(m->y)->op;
    return build(r,
                 op == OP_Less          ? OP_GreaterOrEqual
                 : op == OP_Greater     ? OP_LessOrEqual
                 : op == OP_LessOrEqual ? OP_Greater
                                        : OP_Less,
                 m->a, m->b);
}

static gi_value *make_or_equal(gi_rewrite *r, const gi_match *m)
{
    bool greater = false;
    for (uint32_t i = 0; i < m->n_nodes; i++)
        greater = greater || m->nodes[i]->op == OP_Greater;
    return build(r, greater ? OP_GreaterOrEqual : OP_LessOrEqual, m->a, m->b);
}

/* ---- signs ---- */

#define MAKE(NAME, OP, A, B)                                \
    static gi_value *NAME(gi_rewrite *r, const gi_match *m) \
    {                                                       \
        return build(r, OP, m->A, m->B);                    \
    }
MAKE(make_sub, OP_Sub, x, y)
MAKE(make_add, OP_Add, x, y)
MAKE(make_mul, OP_Mul, x, y)
MAKE(make_div, OP_Div, x, y)
MAKE(turn_sub, OP_Sub, y, x)
MAKE(turn_div, OP_Div, y, x)
MAKE(make_same, m->root->op, x, y) /* of one operand, where the pattern has no y */
#undef MAKE

static bool is_square(const gi_match *m, gi_reason *why)
{
    double p = 2;
    return is_float(m, why) && (!m->p || gi_value_scalar(m->p, &p)) && p == 2 && type_is_the_same(m, why);
}

static gi_value *make_abs(gi_rewrite *r, const gi_match *m)
{
    return build(r, OP_Abs, m->x, NULL);
}

static bool is_one(const gi_match *m, gi_reason *why)
{
    (void)why;
    double k;
    return gi_value_scalar(m->k, &k) && k == 1 && gi_value_rank(m->k) <= gi_value_rank(m->y) &&
           gi_dtype_is_float(gi_value_dtype(m->k));
}

/* ---- zeros ---- */

static bool is_small_exact(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t n;
    const gi_type *t = m->root->out[0]->type;
    const gopt_dtype d = gi_value_dtype(m->root->out[0]);
    return (gi_dtype_is_int(d) || d == GOPT_BOOL) && gopt_dtype_bits(d) >= 8 && gi_type_elements(t, &n) && n <= 1024;
}

static bool is_zero_exactly(const gi_match *m, gi_reason *why)
{
    if (!is_small_exact(m, why))
        return false;
    return gi_value_dtype(m->k) == GOPT_BOOL ? all_of(m->k) == 0 : gi_blob_all(gi_value_blob(m->k), 0);
}

static gi_value *make_zeros(gi_rewrite *r, const gi_match *m)
{
    const gi_value *y = m->root->out[0];
    int64_t dims[GOPT_MAX_RANK];
    gi_blob *b;
    if (!gi_type_static_dims(y->type, dims) ||
        gi_blob_create(r->g->cx, gi_value_dtype(y), gi_value_rank(y), dims, &b) != GOPT_OK)
        return NULL;
    return gi_const(r->g, b, NULL);
}

/* ---- bounds ---- */

/* Which zero is the greater is not said. */
static bool is_minus_zero(double x)
{
    return x == 0 && signbit(x);
}

static bool bounds_are_numbers(const gi_match *m, gi_reason *why)
{
    double a, b;
    return is_float(m, why) && type_is_the_same(m, why) && gi_value_scalar(m->a, &a) && gi_value_scalar(m->b, &b) &&
           a <= b && !is_minus_zero(a) && !is_minus_zero(b);
}

/* The number as Clip wants it, without dims. */
static gi_value *number(gi_rewrite *r, const gi_value *k)
{
    gi_blob *b;
    return gi_blob_reshaped(gi_value_blob(k), 0, NULL, &b) == GOPT_OK ? gi_const(r->g, b, NULL) : NULL;
}

static gi_value *clip_instead(gi_rewrite *r, const gi_match *m)
{
    gi_value *a = number(r, m->a), *b = number(r, m->b);
    return a && b ? gi_rw_build(r, OP_Clip, 3, (gi_value *[]){ m->x, a, b }) : NULL;
}

static bool extremes_join(const gi_match *m, gi_reason *why)
{
    double a, b;
    return gi_value_scalar(m->a, &a) && gi_value_scalar(m->b, &b) && !is_minus_zero(a) && !is_minus_zero(b) &&
           type_is_the_same(m, why);
}

static gi_value *join_extremes(gi_rewrite *r, const gi_match *m)
{
    double a = 0, b = 0;
    if (!gi_value_scalar(m->a, &a) || !gi_value_scalar(m->b, &b))
        return NULL;
    const bool first = isnan(a) || (!isnan(b) && (m->root->op == OP_Max ? a >= b : a <= b));
    return build(r, m->root->op, m->x, first ? m->a : m->b);
}

static bool is_positive_part(const gi_match *m, gi_reason *why)
{
    double k;
    return is_float(m, why) && gi_value_scalar(m->k, &k) && k == 0 && type_is_the_same(m, why);
}

static gi_value *make_relu(gi_rewrite *r, const gi_match *m)
{
    return build(r, OP_Relu, m->x, NULL);
}

#include "passes/rows.h"
#include "passes/rules/algebra.def"
