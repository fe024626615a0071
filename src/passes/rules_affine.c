/* Rules of sums and products with constants, in a row: whatever they are, they are one product and one sum. */
#include <math.h>

#include "passes/field.h"
#include "passes/rule.h"

enum { MAX_CHAIN = 16 };

/* What a node does with the one operand that is no constant. */
typedef struct link {
    gi_value *x;
    const gi_value *k; /* NULL of Neg */
    bool turned;       /* k − x */
} link;

static bool read_link(const gi_node *n, link *l)
{
    gi_value *a = gi_node_in(n, 0), *b = gi_node_in(n, 1);
    *l = (link){ .x = a, .k = b };
    if (n->op == OP_Neg)
        return a && !gi_value_blob(a);
    if (n->op != OP_Add && n->op != OP_Sub && n->op != OP_Mul && n->op != OP_Div)
        return false;
    if (gi_value_blob(a) && n->op != OP_Div)
        *l = (link){ .x = b, .k = a, .turned = n->op == OP_Sub };
    return l->x && !gi_value_blob(l->x) && gi_value_blob(l->k);
}

/* From the root upwards; what lies between is read by the chain alone. */
typedef struct chain {
    const gi_node *node[MAX_CHAIN];
    link link[MAX_CHAIN];
    uint32_t n;
    gi_value *x;
} chain;

static void find_chain(const gi_node *root, chain *c)
{
    c->n = 0;
    for (const gi_node *n = root; n && n->block == root->block && c->n < MAX_CHAIN; n = gi_value_node(c->x)) {
        if ((c->n && n->out[0]->n_uses != 1) || !read_link(n, &c->link[c->n]))
            return;
        c->node[c->n] = n;
        c->x = c->link[c->n++].x;
    }
}

/* x·s + t, or (x + t)·s where the sum comes first: then its rounding stays what it was where x is near −t. */
typedef struct affine {
    gi_field s, t;
    bool sum_first;
    bool scales, shifts, turns; /* what is left to do; turns: s is −1 */
    int64_t elements;           /* of the constants that there were */
} affine;

static bool add_link(gi_arena *a, affine *f, const gi_node *n, const link *l)
{
    gi_field k;
    if (n->op == OP_Neg)
        return gi_field_one(a, -1, &k) && gi_field_combine(a, &f->s, '*', &k, &f->s) &&
               gi_field_combine(a, &f->t, '*', &k, &f->t);
    if (!gi_field_of(a, l->k, &k) || !gi_field_is_finite(&k))
        return false;
    f->elements += k.n;
    if (n->op == OP_Mul || n->op == OP_Div) {
        const char op = n->op == OP_Mul ? '*' : '/';
        return gi_field_combine(a, &f->s, op, &k, &f->s) && gi_field_combine(a, &f->t, op, &k, &f->t);
    }
    if (l->turned) {
        gi_field zero;
        return gi_field_one(a, 0, &zero) && gi_field_combine(a, &zero, '-', &f->s, &f->s) &&
               gi_field_combine(a, &k, '-', &f->t, &f->t);
    }
    return gi_field_combine(a, &f->t, n->op == OP_Add ? '+' : '-', &k, &f->t);
}

/* Numbers that are all the same are one. */
static void shrink(gi_field *f)
{
    if (gi_field_is(f, f->v[0])) {
        f->rank = 0;
        f->n = 1;
    }
}

/* What the chain does altogether; false where that is not simple. */
static bool add_up(gi_arena *a, const chain *c, affine *f)
{
    const gopt_dtype t = gi_value_dtype(c->x);
    *f = (affine){ .elements = 0 };
    if (!gi_dtype_is_float(t) || !gi_field_one(a, 1, &f->s) || !gi_field_one(a, 0, &f->t))
        return false;
    for (uint32_t i = c->n; i-- > 0;)
        if (!add_link(a, f, c->node[i], &c->link[i]))
            return false;
    if (!gi_field_is_finite(&f->s) || !gi_field_is_finite(&f->t))
        return false;
    const gi_opcode first = c->node[c->n - 1]->op;
    f->turns = gi_field_is(&f->s, -1);
    f->scales = !f->turns && !gi_field_is(&f->s, 1);
    f->shifts = !gi_field_is(&f->t, 0);
    f->sum_first = f->scales && f->shifts && (first == OP_Add || first == OP_Sub);
    if (f->sum_first && !(gi_field_combine(a, &f->t, '/', &f->s, &f->t) && gi_field_is_finite(&f->t)))
        return false;
    shrink(&f->s);
    shrink(&f->t);
    /* A constant that is one number is nothing to weigh. */
    const int64_t after = (f->scales && f->s.n > 1 ? f->s.n : 0) + (f->shifts && f->t.n > 1 ? f->t.n : 0);
    return after <= f->elements;
}

static uint32_t count_left(const affine *f)
{
    return f->shifts ? 1u + f->scales : (uint32_t)(f->scales || f->turns);
}

static bool chain_is_shorter(const gi_match *m, gi_reason *why)
{
    (void)why;
    chain c;
    affine f;
    find_chain(m->root, &c);
    return c.n > 1 && gi_type_same(m->g, c.x->type, m->root->out[0]->type) && add_up(m->scratch, &c, &f) &&
           count_left(&f) < c.n;
}

static gi_value *apply(gi_rewrite *r, gi_opcode op, gi_value *x, const gi_field *k, bool turned)
{
    gi_value *c = gi_field_const(r->g, k, gi_value_dtype(x));
    if (!c)
        return NULL;
    return gi_rw_build(r, op, 2, turned ? (gi_value *[]){ c, x } : (gi_value *[]){ x, c });
}

static gi_value *make_chain(gi_rewrite *r, const gi_match *m)
{
    chain c;
    affine f;
    find_chain(m->root, &c);
    if (!c.n || !add_up(r->scratch, &c, &f))
        return NULL;
    gi_value *y = c.x;
    if (f.turns)
        y = f.shifts ? apply(r, OP_Sub, y, &f.t, true) : gi_rw_build(r, OP_Neg, 1, &y);
    else if (f.sum_first) {
        y = apply(r, OP_Add, y, &f.t, false);
        y = y ? apply(r, OP_Mul, y, &f.s, false) : NULL;
    } else {
        y = f.scales ? apply(r, OP_Mul, y, &f.s, false) : y;
        y = y && f.shifts ? apply(r, OP_Add, y, &f.t, false) : y;
    }
    for (size_t i = 0; y && i < r->made.n; i++)
        for (uint32_t k = c.n; k-- > 1;)
            if (!gi_node_merge_origins(r->made.p[i], c.node[k]))
                return NULL;
    return y;
}

/* ---- powers ---- */

/* a^p·b; false where that does not hold for all x, or might overflow where the parts did not. */
static bool joint_factor(const gi_match *m, gi_arena *a, gi_field *joint)
{
    gi_field power, b;
    double p;
    if (!gi_value_scalar(m->p, &p) || !gi_field_of(a, m->a, &power) || !gi_field_of(a, m->b, &b) || !(p > 0 && p <= 8))
        return false;
    for (int64_t i = 0; i < power.n; i++) {
        if (p != floor(p) && !(power.v[i] > 0))
            return false;
        power.v[i] = pow(power.v[i], p);
        if (!(fabs(power.v[i]) >= 0x1p-16 && fabs(power.v[i]) <= 0x1p16))
            return false;
    }
    return gi_field_combine(a, &power, '*', &b, joint) && gi_field_is_finite(joint) && joint->n <= power.n + b.n;
}

static bool power_comes_out(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_field joint;
    return gi_type_same(m->g, m->x->type, m->root->out[0]->type) && gi_value_rank(m->p) == 0 &&
           joint_factor(m, m->scratch, &joint);
}

static gi_value *take_power_out(gi_rewrite *r, const gi_match *m)
{
    gi_field joint;
    if (!joint_factor(m, r->scratch, &joint))
        return NULL;
    gi_value *y = gi_rw_build(r, OP_Pow, 2, (gi_value *[]){ m->x, m->p });
    return y ? apply(r, OP_Mul, y, &joint, false) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/affine.def"
