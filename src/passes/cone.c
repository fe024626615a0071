/* Cones of a root, their cuts, and forms of nodes. */
#include "passes/cone.h"

#include <math.h>

/* What a form needs of an operator to be worth the work: without one of these, the expression is a sum of products. */
static bool is_function(gi_opcode op)
{
    switch (op) {
    case OP_Erf:
    case OP_Exp:
    case OP_Log:
    case OP_Tanh:
    case OP_Sigmoid:
    case OP_Softplus:
    case OP_HardSigmoid:
    case OP_Relu:
    case OP_LeakyRelu:
    case OP_ThresholdedRelu:
    case OP_Elu:
    case OP_Clip:
    case OP_Min:
    case OP_Max:
    case OP_Abs:
    case OP_Where:
    case OP_Greater:
    case OP_GreaterOrEqual:
    case OP_Less:
    case OP_LessOrEqual:
    case OP_ReduceMean:
    case OP_ReduceSum:
    case OP_ReduceSumSquare:
    case OP_ReduceL2:
        return true;
    default:
        return false;
    }
}

static bool is_known(const gi_node *n)
{
    switch (n->op) {
    case OP_Add:
    case OP_Sub:
    case OP_Mul:
    case OP_Div:
    case OP_Neg:
    case OP_Sum:
    case OP_Pow:
    case OP_Sqrt:
    case OP_Reciprocal:
    case OP_Not:
    case OP_Cast:
        return n->n_out == 1;
    default:
        return n->n_out == 1 && is_function(n->op);
    }
}

/* ---- the cone ---- */

typedef struct cone {
    gi_node *nodes[GI_CONE_NODES]; /* the root first, users before what they use */
    uint32_t n;
} cone;

static bool holds(gi_node *const *nodes, uint32_t n, const gi_node *x)
{
    for (uint32_t i = 0; i < n; i++)
        if (nodes[i] == x)
            return true;
    return false;
}

/* Breadth first, so that a cap cuts far ends off. */
static void collect(gi_node *root, cone *c)
{
    c->nodes[0] = root;
    c->n = 1;
    for (uint32_t i = 0; i < c->n; i++)
        for (uint32_t k = 0; k < c->nodes[i]->n_in; k++) {
            gi_node *n = gi_value_node(c->nodes[i]->in[k].value);
            if (n && n->block == root->block && c->n < GI_CONE_NODES && is_known(n) && !holds(c->nodes, c->n, n))
                c->nodes[c->n++] = n;
        }
}

static bool reads(const gi_node *n, const gi_node *from)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (gi_value_node(n->in[i].value) == from)
            return true;
    return false;
}

/* Users before what they use: a node follows when none that is still to come reads it. */
static void order(cone *c)
{
    for (uint32_t i = 1; i < c->n; i++) {
        uint32_t pick = i;
        for (; pick < c->n; pick++) {
            bool free = true;
            for (uint32_t k = i; k < c->n && free; k++)
                free = k == pick || !reads(c->nodes[k], c->nodes[pick]);
            if (free)
                break;
        }
        if (pick == c->n)
            return; /* cannot be: there are no cycles */
        gi_node *n = c->nodes[pick];
        c->nodes[pick] = c->nodes[i];
        c->nodes[i] = n;
    }
}

/* ---- forms of nodes ---- */

typedef struct former {
    gi_forms *s;
    gi_cut *cut;
    const gi_form *of[GI_CONE_NODES]; /* by place in the cut */
} former;

static bool is_float(gopt_dtype t)
{
    return t == GOPT_F32 || t == GOPT_F16 || t == GOPT_BF16 || t == GOPT_F64;
}

/* The number that all elements are. */
static bool one_number(const gi_blob *b, double *x)
{
    enum { FEW = 4096 };
    if (!b || (!gi_dtype_is_float(b->dtype) && !gi_dtype_is_int(b->dtype)) || gi_blob_elements(b) < 1 ||
        gi_blob_elements(b) > FEW)
        return false;
    *x = gi_load_f64(b->dtype, b->data, 0);
    return isfinite(*x) && (gi_blob_elements(b) == 1 || gi_blob_all(b, *x));
}

static const gi_form *form_of(former *f, gi_value *v)
{
    double k;
    if (!v)
        return NULL;
    if (v == f->cut->x)
        return gi_form_x(f->s);
    gi_blob *b = gi_value_blob(v);
    if (b && one_number(b, &k))
        return gi_form_num(f->s, k);
    if (b && is_float(b->dtype)) {
        f->cut->tensor = v;
        return gi_form_const(f->s, v);
    }
    for (uint32_t i = 0; i < f->cut->n; i++)
        if (f->cut->nodes[i]->out[0] == v)
            return f->of[i];
    return NULL;
}

static const gi_form *in_form(former *f, const gi_node *n, uint32_t i)
{
    return form_of(f, gi_node_in(n, i));
}

/* A bit for each dim that is reduced; the rank is that of x, so that they mean the same everywhere. */
static bool reduced_axes(const former *f, const gi_node *n, uint64_t *axes, double *count)
{
    int64_t a[GOPT_MAX_RANK];
    uint32_t n_axes = 0;
    gi_value *given = gi_node_in(n, ReduceMean_in_axes), *x = gi_node_in(n, ReduceMean_in_data);
    const int rank = gi_value_rank(x);
    if (rank < 1 || rank != gi_value_rank(f->cut->x) || !gi_attr_int(n, ReduceMean_at_keepdims) ||
        (given && !gi_value_known_ints(given, a, GOPT_MAX_RANK, &n_axes)))
        return false;
    *axes = 0;
    *count = 1;
    if (!n_axes && gi_attr_int(n, ReduceMean_at_noop_with_empty_axes))
        return false;
    for (int i = 0; i < (n_axes ? (int)n_axes : rank); i++) {
        int axis = i;
        if (n_axes && !gi_axis(a[i], rank, &axis))
            return false;
        if (*axes >> axis & 1)
            return false;
        *axes |= (uint64_t)1 << axis;
        *count *= gi_value_dim(x, axis) < 1 ? NAN : (double)gi_value_dim(x, axis);
    }
    return true;
}

static const gi_form *reduction_form(former *f, const gi_node *n)
{
    uint64_t axes;
    double count;
    const gi_form *a = in_form(f, n, 0);
    f->cut->pointwise = false;
    if (!a || !reduced_axes(f, n, &axes, &count) || (n->op != OP_ReduceMean && !(count >= 1)))
        return NULL;
    if (n->op == OP_ReduceSumSquare || n->op == OP_ReduceL2)
        a = gi_form_mul(f->s, a, a);
    a = gi_form_mean(f->s, a, axes);
    if (n->op != OP_ReduceMean)
        a = gi_form_scale(f->s, a, count);
    return n->op == OP_ReduceL2 ? gi_form_pow(f->s, a, 0.5) : a;
}

static const gi_form *clip_form(former *f, const gi_node *n)
{
    double low, high;
    const gi_form *a = in_form(f, n, 0);
    const gi_value *min = gi_node_in(n, Clip_in_min), *max = gi_node_in(n, Clip_in_max);
    if ((min && !gi_value_scalar(min, &low)) || (max && !gi_value_scalar(max, &high)) || (min && max && low > high))
        return NULL;
    if (min && isfinite(low))
        a = gi_form_max(f->s, a, gi_form_num(f->s, low));
    if (max && isfinite(high))
        a = gi_form_min(f->s, a, gi_form_num(f->s, high));
    return (min && isnan(low)) || (max && isnan(high)) ? NULL : a;
}

static const gi_form *cast_form(former *f, const gi_node *n)
{
    const gopt_dtype from = gi_value_dtype(gi_node_in(n, 0)), to = gi_value_dtype(n->out[0]);
    if (!is_float(to) || (!is_float(from) && from != GOPT_BOOL))
        return NULL;
    f->cut->casts = f->cut->casts || (is_float(from) && from != to);
    return in_form(f, n, 0);
}

static const gi_form *fold(former *f, const gi_node *n,
                           const gi_form *(*with)(gi_forms *, const gi_form *, const gi_form *))
{
    const gi_form *a = in_form(f, n, 0);
    for (uint32_t i = 1; i < n->n_in; i++)
        a = with(f->s, a, in_form(f, n, i));
    return a;
}

static const gi_form *node_form(former *f, const gi_node *n)
{
    gi_forms *s = f->s;
    double p;
    switch (n->op) {
    case OP_Add:
    case OP_Sum:
        return fold(f, n, gi_form_add);
    case OP_Sub:
        return fold(f, n, gi_form_sub);
    case OP_Mul:
        return fold(f, n, gi_form_mul);
    case OP_Div:
        return fold(f, n, gi_form_div);
    case OP_Max:
        return fold(f, n, gi_form_max);
    case OP_Min:
        return fold(f, n, gi_form_min);
    case OP_Neg:
        return gi_form_scale(s, in_form(f, n, 0), -1);
    case OP_Pow:
        return gi_form_is_num(in_form(f, n, 1), &p) ? gi_form_pow(s, in_form(f, n, 0), p) : NULL;
    case OP_Sqrt:
        return gi_form_pow(s, in_form(f, n, 0), 0.5);
    case OP_Reciprocal:
        return gi_form_pow(s, in_form(f, n, 0), -1);
    case OP_Exp:
        return gi_form_exp(s, in_form(f, n, 0));
    case OP_Log:
        return gi_form_log(s, in_form(f, n, 0));
    case OP_Erf:
        return gi_form_erf(s, in_form(f, n, 0));
    case OP_Tanh:
        return gi_form_tanh(s, in_form(f, n, 0));
    case OP_Sigmoid:
        return gi_form_sigmoid(s, in_form(f, n, 0));
    case OP_Softplus:
        return gi_form_softplus(s, in_form(f, n, 0));
    case OP_Relu:
        return gi_form_max(s, in_form(f, n, 0), gi_form_num(s, 0));
    case OP_Abs:
        return gi_form_max(s, in_form(f, n, 0), gi_form_scale(s, in_form(f, n, 0), -1));
    case OP_LeakyRelu: {
        const double alpha = (double)gi_attr_float(n, LeakyRelu_at_alpha);
        const gi_form *a = in_form(f, n, 0), *up = gi_form_max(s, a, gi_form_num(s, 0));
        return gi_form_add(s, gi_form_scale(s, a, alpha), gi_form_scale(s, up, 1 - alpha));
    }
    case OP_ThresholdedRelu: {
        const gi_form *a = in_form(f, n, 0), *at = gi_form_num(s, (double)gi_attr_float(n, ThresholdedRelu_at_alpha));
        return gi_form_mul(s, a, gi_form_above(s, a, at, false));
    }
    case OP_Elu: {
        const gi_form *a = in_form(f, n, 0), *zero = gi_form_num(s, 0), *one = gi_form_num(s, 1);
        const gi_form *low =
            gi_form_scale(s, gi_form_sub(s, gi_form_exp(s, a), one), (double)gi_attr_float(n, Elu_at_alpha));
        return gi_form_where(s, gi_form_above(s, a, zero, false), a, low);
    }
    case OP_HardSigmoid: {
        const gi_form *a = gi_form_scale(s, in_form(f, n, 0), (double)gi_attr_float(n, HardSigmoid_at_alpha));
        a = gi_form_add(s, a, gi_form_num(s, (double)gi_attr_float(n, HardSigmoid_at_beta)));
        return gi_form_min(s, gi_form_max(s, a, gi_form_num(s, 0)), gi_form_num(s, 1));
    }
    case OP_Clip:
        return clip_form(f, n);
    case OP_Greater:
        return gi_form_above(s, in_form(f, n, 0), in_form(f, n, 1), false);
    case OP_GreaterOrEqual:
        return gi_form_above(s, in_form(f, n, 0), in_form(f, n, 1), true);
    case OP_Less:
        return gi_form_above(s, in_form(f, n, 1), in_form(f, n, 0), false);
    case OP_LessOrEqual:
        return gi_form_above(s, in_form(f, n, 1), in_form(f, n, 0), true);
    case OP_Not:
        return gi_form_sub(s, gi_form_num(s, 1), in_form(f, n, 0));
    case OP_Where:
        return gi_form_where(s, in_form(f, n, 0), in_form(f, n, 1), in_form(f, n, 2));
    case OP_Cast:
        return cast_form(f, n);
    case OP_ReduceMean:
    case OP_ReduceSum:
    case OP_ReduceSumSquare:
    case OP_ReduceL2:
        return reduction_form(f, n);
    default:
        return NULL;
    }
}

/* How close two constants of a type must be to count as the same: they were rounded, some of them to few digits. */
static double closeness(gopt_dtype t)
{
    return t == GOPT_F64 ? 1e-14 : t == GOPT_F16 ? 1e-3 : t == GOPT_BF16 ? 8e-3 : 1e-5;
}

static bool make_form(gi_arena *a, gi_cut *c)
{
    former *f = GI_NEW(a, former);
    c->forms = GI_NEW(a, gi_forms);
    if (!f || !c->forms)
        return false;
    f->s = c->forms;
    f->cut = c;
    c->pointwise = true;
    gi_forms_init(c->forms, a, closeness(gi_value_dtype(c->x)));
    for (uint32_t i = c->n; i-- > 0;) {
        const gopt_dtype t = gi_value_dtype(c->nodes[i]->out[0]);
        f->of[i] = is_float(t) || t == GOPT_BOOL ? node_form(f, c->nodes[i]) : NULL;
        if (!f->of[i])
            return false;
    }
    c->form = gi_form_settle(f->s, f->of[0]);
    return c->form != NULL;
}

/* ---- cuts ---- */

typedef struct front {
    gi_value *v[2 * GI_CONE_NODES];
    uint32_t n;
} front;

static void advance(front *f, const gi_node *n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++)
        if (f->v[i] != n->out[0])
            f->v[kept++] = f->v[i];
    f->n = kept;
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_value *v = gi_node_in(n, i);
        bool there = !v || gi_value_blob(v);
        for (uint32_t k = 0; k < f->n && !there; k++)
            there = f->v[k] == v;
        if (!there && f->n < GI_COUNT(f->v))
            f->v[f->n++] = v;
    }
}

/* In a chain every node is a cut, and each cut is a form of all nodes before it: the nearest ones must do, fewer where
 * the ways up have not parted yet. */
enum { MOST_CUTS = 10, MOST_OF_CHAIN = 6 };

static bool find_cuts(const gi_match *m, gi_arena *a, gi_cuts *out)
{
    cone *c = GI_NEW(a, cone);
    gi_cut *cuts = GI_NEW_ARRAY(a, gi_cut, MOST_CUTS);
    uint32_t tried = 0;
    front f = { .n = 0 };
    bool function = false, parted = false;
    if (!c || !cuts)
        return false;
    collect(m->root, c);
    for (uint32_t i = 0; i < c->n; i++)
        function = function || is_function(c->nodes[i]->op);
    if (!function)
        return true;
    function = false;
    order(c);
    out->cut = cuts;
    for (uint32_t i = 0; i < c->n && tried < (parted ? MOST_CUTS : MOST_OF_CHAIN); i++) {
        advance(&f, c->nodes[i]);
        parted = parted || f.n > 1;
        function = function || is_function(c->nodes[i]->op);
        if (i == 0 && m->root->op != OP_Max && m->root->op != OP_Clip)
            continue; /* one node is what it is */
        if (f.n != 1 || !function || !is_float(gi_value_dtype(f.v[0])))
            continue;
        gi_cut *cut = &cuts[out->n];
        *cut = (gi_cut){ .x = f.v[0], .n = i + 1, .nodes = c->nodes };
        tried++;
        out->n += make_form(a, cut);
    }
    return true;
}

const gi_cuts *gi_cone_cuts(const gi_match *m)
{
    static const gi_cuts none = { 0 };
    if (!m->visit->cuts) {
        gi_cuts *found = GI_NEW(m->visit->arena, gi_cuts);
        if (found && is_float(gi_value_dtype(m->root->out[0])) && !find_cuts(m, m->visit->arena, found))
            found->n = 0;
        m->visit->cuts = found;
    }
    return m->visit->cuts ? m->visit->cuts : &none;
}

bool gi_cone_take(gi_match *m, const gi_cut *c, gi_reason *why)
{
    for (uint32_t i = 1; i < c->n; i++) {
        const gi_value *v = c->nodes[i]->out[0];
        for (const gi_use *u = v->uses; u; u = u->next)
            if (!u->node || !holds(c->nodes, c->n, u->node))
                return gi_decline(why, "%s has %u users: %s", gi_value_ref(v, m->scratch), v->n_uses,
                                  gi_value_users(v, m->scratch));
    }
    m->n_nodes = 0;
    for (uint32_t i = 0; i < c->n; i++)
        m->nodes[m->n_nodes++] = c->nodes[i];
    m->x = c->x;
    return true;
}

bool gi_cone_keeps_shape(const gi_match *m, const gi_cut *c)
{
    const gi_type *x = c->x->type, *y = m->root->out[0]->type;
    if (!x || !y || x->rank < 0 || x->rank != y->rank)
        return false;
    for (int i = 0; i < x->rank; i++)
        if (gi_dim_equal(m->g->dims, x->dims[i], y->dims[i]) != 1)
            return false;
    return true;
}
