/* BatchNormalization with what stands around it that is a factor and a term for each channel, too: another one, or
 * arithmetic with constants. All of them together are one.
 *
 *     k·((x − m)·s/√(v + ε) + o) + d  =  (x − m)·(k·s)/√(v + ε) + (k·o + d)
 *     (k·x + d − m)·s/√(v + ε) + o    =  x·(k·s)/√(v + ε) + (o + (d − m)·s/√(v + ε)) */
#include <math.h>

#include "passes/rule.h"

static double element(const gi_blob *k, int64_t i)
{
    return gi_load_f64(k->dtype, k->data, gi_blob_elements(k) == 1 ? 0 : (size_t)i);
}

static bool is_real_float(const gi_blob *b)
{
    return gi_dtype_is_float(b->dtype) && gopt_dtype_bits(b->dtype) >= 16;
}

/* Factor and term of each channel. */
typedef struct affine {
    double *factor, *term;
    int64_t n;
} affine;

static bool affine_init(affine *a, gi_arena *arena, int64_t n)
{
    a->n = n;
    a->factor = GI_NEW_ARRAY(arena, double, n);
    a->term = GI_NEW_ARRAY(arena, double, n);
    return a->factor && a->term;
}

/* Constants that are as exact as what they are applied to. */
static bool is_plain(const gi_node *n, gi_reason *why)
{
    const gopt_dtype x = gi_value_dtype(gi_node_in(n, BatchNormalization_in_X));
    int64_t channels = -1;
    if (gi_attr_int(n, BatchNormalization_at_training_mode))
        return gi_decline(why, "the normalization is in training mode");
    for (uint32_t i = BatchNormalization_in_scale; i <= BatchNormalization_in_input_var; i++) {
        const gi_blob *b = gi_value_blob(gi_node_in(n, i));
        if (!b || !is_real_float(b) || b->rank != 1 || (channels >= 0 && b->dims[0] != channels) ||
            (b->dtype != x && gopt_dtype_bits(b->dtype) <= gopt_dtype_bits(x)))
            return false;
        channels = b->dims[0];
    }
    return channels > 0;
}

static int64_t channels_of(const gi_node *n)
{
    return gi_blob_elements(gi_value_blob(gi_node_in(n, BatchNormalization_in_scale)));
}

static bool read_batchnorm(gi_arena *arena, const gi_node *n, affine *a)
{
    const gi_blob *s = gi_value_blob(gi_node_in(n, BatchNormalization_in_scale)),
                  *o = gi_value_blob(gi_node_in(n, BatchNormalization_in_B)),
                  *mean = gi_value_blob(gi_node_in(n, BatchNormalization_in_input_mean)),
                  *var = gi_value_blob(gi_node_in(n, BatchNormalization_in_input_var));
    const double epsilon = (double)gi_attr_float(n, BatchNormalization_at_epsilon);
    if (!affine_init(a, arena, channels_of(n)))
        return false;
    for (int64_t i = 0; i < a->n; i++) {
        a->factor[i] = element(s, i) / sqrt(element(var, i) + epsilon);
        a->term[i] = element(o, i) - element(mean, i) * a->factor[i];
    }
    return true;
}

/* Is k one number, or one for each channel, when broadcast against x? */
static bool is_per_channel(const gi_blob *k, int rank, int64_t channels)
{
    if (rank < 2 || k->rank > rank || !is_real_float(k))
        return false;
    for (int i = 0; i < k->rank; i++)
        if (k->dims[i] != 1 && !(rank - k->rank + i == 1 && k->dims[i] == channels))
            return false;
    return true;
}

static bool read_arithmetic(gi_arena *arena, const gi_node *n, const gi_blob *k, int64_t channels, affine *a)
{
    if (!affine_init(a, arena, channels))
        return false;
    for (int64_t i = 0; i < channels; i++) {
        const double x = element(k, i);
        a->factor[i] = n->op == OP_Mul ? x : n->op == OP_Div ? 1 / x : 1;
        a->term[i] = n->op == OP_Add ? x : n->op == OP_Sub ? -x : 0;
    }
    return true;
}

/* Are the operands of a difference or quotient in this order, and is the constant one for each channel? */
static bool is_affine(const gi_match *m, const gi_node *n, const gi_value *x, int64_t channels, gi_reason *why)
{
    if ((n->op == OP_Sub || n->op == OP_Div) && gi_node_in(n, 0) != x)
        return false;
    if (!gi_type_same(m->g, x->type, n->out[0]->type))
        return false;
    return is_per_channel(gi_value_blob(m->k), gi_value_rank(x), channels) ||
           gi_decline(why, "its constant %s is not one value per channel", gi_value_ref(m->k, m->scratch));
}

/* A constant like `was`, with other numbers. */
static gi_value *like(gi_rewrite *r, const gi_value *was, const double *x)
{
    gi_blob *b;
    const gi_blob *old = gi_value_blob(was);
    if (gi_blob_create(r->g->cx, old->dtype, 1, old->dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < old->dims[0]; i++)
        gi_store_f64(old->dtype, b->owned, (size_t)i, x[i]);
    return gi_rw_const(r, b, NULL);
}

/* Normalization n of x, then ·factor + term. */
static gi_value *with_behind(gi_rewrite *r, const gi_node *n, gi_value *x, const affine *a)
{
    gi_value *s = gi_node_in(n, BatchNormalization_in_scale), *o = gi_node_in(n, BatchNormalization_in_B);
    const gi_blob *scale = gi_value_blob(s), *shift = gi_value_blob(o);
    affine to;
    if (!affine_init(&to, r->scratch, a->n))
        return NULL;
    for (int64_t i = 0; i < a->n; i++) {
        to.factor[i] = element(scale, i) * a->factor[i];
        to.term[i] = element(shift, i) * a->factor[i] + a->term[i];
    }
    gi_value *in[5] = { x, like(r, s, to.factor), NULL, gi_node_in(n, BatchNormalization_in_input_mean),
                        gi_node_in(n, BatchNormalization_in_input_var) };
    in[2] = in[1] ? like(r, o, to.term) : NULL;
    gi_node *y = in[2] ? gi_rw_node(r, OP_BatchNormalization, 5, in, 1) : NULL;
    if (!y || !gi_attrs_copy(y, n))
        return NULL;
    y->name = n->name;
    return gi_rw_done(r, y);
}

/* ---- another one, or arithmetic, behind ---- */

static bool both_are_plain(const gi_match *m, gi_reason *why)
{
    return is_plain(m->root, why) && is_plain(gi_value_node(m->c), why) &&
           channels_of(m->root) == channels_of(gi_value_node(m->c));
}

static gi_value *join_batchnorms(gi_rewrite *r, const gi_match *m)
{
    affine a;
    return read_batchnorm(r->scratch, m->root, &a) ? with_behind(r, gi_value_node(m->c), m->x, &a) : NULL;
}

static bool goes_in_from_behind(const gi_match *m, gi_reason *why)
{
    const gi_node *n = gi_value_node(m->c);
    return is_plain(n, why) && is_affine(m, m->root, m->c, channels_of(n), why);
}

static gi_value *take_from_behind(gi_rewrite *r, const gi_match *m)
{
    affine a;
    const gi_node *n = gi_value_node(m->c);
    return read_arithmetic(r->scratch, m->root, gi_value_blob(m->k), channels_of(n), &a) ? with_behind(r, n, m->x, &a)
                                                                                         : NULL;
}

/* ---- arithmetic before ---- */

static bool goes_in_from_before(const gi_match *m, gi_reason *why)
{
    return is_plain(m->root, why) && is_affine(m, gi_value_node(m->y), m->x, channels_of(m->root), why);
}

static gi_value *take_from_before(gi_rewrite *r, const gi_match *m)
{
    affine a, n, to;
    const gi_blob *scale = gi_value_blob(m->s), *mean = gi_value_blob(m->m);
    if (!read_batchnorm(r->scratch, m->root, &n) || !affine_init(&to, r->scratch, n.n) ||
        !read_arithmetic(r->scratch, gi_value_node(m->y), gi_value_blob(m->k), n.n, &a))
        return NULL;
    const bool shifts = gi_value_node(m->y)->op == OP_Add || gi_value_node(m->y)->op == OP_Sub;
    for (int64_t i = 0; i < n.n; i++) {
        to.factor[i] = shifts ? element(mean, i) - a.term[i] : element(scale, i) * a.factor[i];
        to.term[i] = n.term[i]; /* of a factor: the mean is in the term, and becomes 0 */
    }
    gi_value *in[5] = { m->x, m->s, m->o, m->m, m->v };
    if (shifts) {
        in[3] = like(r, m->m, to.factor);
    } else {
        double *zero = GI_NEW_ARRAY(r->scratch, double, n.n);
        for (int64_t i = 0; zero && i < n.n; i++)
            zero[i] = 0;
        in[1] = like(r, m->s, to.factor);
        in[2] = in[1] ? like(r, m->o, to.term) : NULL;
        in[3] = in[2] && zero ? like(r, m->m, zero) : NULL;
    }
    gi_node *y = in[3] ? gi_rw_node(r, OP_BatchNormalization, 5, in, 1) : NULL;
    return y && gi_attrs_copy(y, m->root) ? gi_rw_done(r, y) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/batchnorm.def"
