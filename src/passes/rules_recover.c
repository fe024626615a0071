/* Rules that recognize what exporters took apart. An operator newer than the model's own opset is not used:
 * the model would no longer load where it did. */
#include <math.h>

#include "passes/rule.h"

static bool scalar_is(const gi_value *v, double x, double tolerance)
{
    double y;
    return gi_value_scalar(v, &y) && fabs(y - x) <= tolerance;
}

/* ---- layer normalization ---- */

/* The first of the axes that a mean goes over, if they are the last ones and are kept. */
static bool trailing_axis(const gi_node *mean, gi_value *axes, int rank, int *first)
{
    int64_t a[GOPT_MAX_RANK];
    uint32_t n;
    bool over[GOPT_MAX_RANK] = { false };
    if (!gi_attr_int(mean, ReduceMean_at_keepdims) || !axes || !gi_value_known_ints(axes, a, GOPT_MAX_RANK, &n) ||
        n < 1 || rank < 1)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        int axis;
        if (!gi_axis(a[i], rank, &axis))
            return false;
        over[axis] = true;
    }
    int from = rank;
    while (from > 0 && over[from - 1])
        from--;
    for (int i = 0; i < from; i++)
        if (over[i])
            return false;
    *first = from;
    return from < rank;
}

static const gi_node *mean_of(const gi_value *x)
{
    for (const gi_use *u = x->uses; u; u = u->next)
        if (u->node && u->node->op == OP_ReduceMean)
            return u->node;
    return NULL;
}

/* s and b have the shape of the normalized dims. */
static bool has_shape_of(const gi_value *k, const gi_value *x, int first)
{
    const gi_blob *b = gi_value_blob(k);
    const int n = gi_value_rank(x) - first;
    if (b->rank != n || b->dtype != gi_value_dtype(x))
        return false;
    for (int i = 0; i < n; i++)
        if (b->dims[i] != gi_value_dim(x, first + i))
            return false;
    return true;
}

static bool find_axis(const gi_match *m, int *first)
{
    const int rank = gi_value_rank(m->x);
    const gi_node *square = NULL;
    int other;
    for (const gi_use *u = m->d->uses; u; u = u->next)
        if (u->node && u->node->op == OP_Pow)
            square = u->node;
    const gi_node *mean = mean_of(m->x), *variance = square ? mean_of(square->out[0]) : NULL;
    return mean && variance && trailing_axis(mean, m->a, rank, first) && trailing_axis(variance, m->c, rank, &other) &&
           *first == other;
}

static bool is_layer_norm(const gi_match *m, gi_reason *why)
{
    int first;
    double epsilon;
    if (!gi_dtype_is_float(gi_value_dtype(m->x)) || !scalar_is(m->p, 2, 0) || !gi_value_scalar(m->e, &epsilon) ||
        !find_axis(m, &first) || !has_shape_of(m->s, m->x, first) || !has_shape_of(m->b, m->x, first))
        return false;
    return m->d->n_uses == 2 || gi_decline(why, "the centred value %s has %u users: %s", gi_value_ref(m->d, m->scratch),
                                           m->d->n_uses, gi_value_users(m->d, m->scratch));
}

static gi_value *make_layer_norm(gi_rewrite *r, const gi_match *m)
{
    int first;
    double epsilon;
    if (!find_axis(m, &first) || !gi_value_scalar(m->e, &epsilon))
        return NULL;
    gi_node *n = gi_rw_node(r, OP_LayerNormalization, 3, (gi_value *[]){ m->x, m->s, m->b }, 1);
    if (!n)
        return NULL;
    gi_attr_set_int(n, LayerNormalization_at_axis, first - gi_value_rank(m->x));
    gi_attr_set_float(n, LayerNormalization_at_epsilon, (float)epsilon);
    return gi_rw_done(r, n);
}

#include "passes/rows.h"
#include "passes/rules/recover.def"
