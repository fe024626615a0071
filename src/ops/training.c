/* Optimizers of training graphs: Adagrad, Adam and Momentum, as ai.onnx.preview.training defines them.
 *
 * Inputs are the learning rate R, the number of steps so far T, and then for n tensors, group by group: the tensors
 * X1 … Xn, their gradients G1 … Gn, and each kind of state (Adagrad's H, Adam's V and H, Momentum's V). Outputs are
 * the new tensors and the new states, in the same groups. So n follows from the number of inputs. */
#include "ops/infer.h"
#include "ops/real.h"

#include <math.h>

enum { R = Adagrad_in_R, T = Adagrad_in_T, FIRST = Adagrad_in_inputs };

/* Kinds of state. */
static uint32_t states_of(const gi_node *n)
{
    return n->op == OP_Adam ? 2 : 1;
}

/* ---- evaluation ---- */

/* What a step needs besides the tensors; `rate` has the count of steps in it. */
typedef struct params {
    double rate, norm, epsilon, alpha, beta, decay;
    bool nesterov;
} params;

/* One element: x, its gradient g and states s[] before; x and s[] after. */
typedef void (*step_fn)(const params *p, double *x, double g, double *s);

static gopt_status scalar(const gi_eval *a, uint32_t i, double *v)
{
    const gi_dclass class = gi_dtype_class(a->in[i]->dtype);
    if (gopt_tensor_elements(a->in[i]) != 1 || (class != GI_FLOAT && class != GI_SINT))
        return gi_eval_fail(a, (int)i, "expected one number");
    *v = gi_tensor_f64(a->in[i], 0);
    return GOPT_OK;
}

static gopt_status count_tensors(const gi_eval *a, uint32_t *n)
{
    const uint32_t groups = 2 + states_of(a->n), given = a->n_in - FIRST;
    *n = given / groups;
    if (given == 0 || given % groups)
        return gi_eval_fail(a, -1, "it has %u inputs behind R and T, expected a multiple of %u", given, groups);
    for (uint32_t i = FIRST; i < a->n_in; i++) {
        const gopt_tensor *t = a->in[i], *x = a->in[FIRST + (i - FIRST) % *n];
        if (!t || !x)
            return gi_eval_fail(a, (int)i, "input %u is missing", i);
        if (gi_dtype_class(t->dtype) != GI_FLOAT || t->dtype != x->dtype)
            return gi_eval_fail(a, (int)i, "input %u has elements of %s, its tensor has %s", i,
                                gopt_dtype_name(t->dtype), gopt_dtype_name(x->dtype));
        if (t->rank != x->rank || (t->rank && memcmp(t->dims, x->dims, (size_t)t->rank * sizeof *t->dims) != 0))
            return gi_eval_fail(a, (int)i, "input %u has another shape than its tensor", i);
    }
    return GOPT_OK;
}

/* Tensor k of n: reads its element of each group, writes those of the outputs. */
static gopt_status run_tensor(gi_eval *a, const params *p, step_fn step, uint32_t k, uint32_t n)
{
    enum { MOST = 3 };
    const uint32_t states = states_of(a->n);
    const gopt_tensor *x = a->in[FIRST + k], *g = a->in[FIRST + n + k];
    gopt_tensor *out[MOST];
    for (uint32_t j = 0; j <= states; j++)
        GI_TRY(gi_eval_out(a, j * n + k, x->dtype, x->rank, x->dims, &out[j]));
    const int64_t count = gopt_tensor_elements(x);
    for (int64_t i = 0; i < count; i++) {
        double v = gi_tensor_f64(x, i), s[MOST];
        for (uint32_t j = 0; j < states; j++)
            s[j] = gi_tensor_f64(a->in[FIRST + (2 + j) * n + k], i);
        step(p, &v, gi_tensor_f64(g, i) + p->norm * v, s);
        if (out[0])
            gi_store_f64(x->dtype, out[0]->data, (size_t)i, v);
        for (uint32_t j = 0; j < states; j++)
            if (out[1 + j])
                gi_store_f64(x->dtype, out[1 + j]->data, (size_t)i, s[j]);
    }
    return GOPT_OK;
}

static gopt_status run(gi_eval *a, const params *p, step_fn step)
{
    uint32_t n = 0;
    GI_TRY(count_tensors(a, &n));
    if (a->n_out > (1 + states_of(a->n)) * n)
        return gi_eval_fail(a, -1, "it has %u outputs, expected %u", a->n_out, (1 + states_of(a->n)) * n);
    for (uint32_t k = 0; k < n; k++)
        GI_TRY(run_tensor(a, p, step, k, n));
    return GOPT_OK;
}

static void step_adagrad(const params *p, double *x, double g, double *s)
{
    s[0] += g * g;
    *x -= p->rate * g / (sqrt(s[0]) + p->epsilon);
}

static gopt_status eval_adagrad(gi_eval *a)
{
    double rate = 0, steps = 0;
    GI_TRY(scalar(a, R, &rate));
    GI_TRY(scalar(a, T, &steps));
    const params p = { .rate = rate / (1 + steps * (double)gi_attr_float(a->n, Adagrad_at_decay_factor)),
                       .norm = (double)gi_attr_float(a->n, Adagrad_at_norm_coefficient),
                       .epsilon = (double)gi_attr_float(a->n, Adagrad_at_epsilon) };
    return run(a, &p, step_adagrad);
}

static void step_adam(const params *p, double *x, double g, double *s)
{
    s[0] = p->alpha * s[0] + (1 - p->alpha) * g;
    s[1] = p->beta * s[1] + (1 - p->beta) * g * g;
    *x = (1 - p->decay) * (*x - p->rate * s[0] / (sqrt(s[1]) + p->epsilon));
}

/* Means that began at 0 are too small for the first steps, which the rate makes up for. */
static gopt_status eval_adam(gi_eval *a)
{
    double rate = 0, steps = 0;
    GI_TRY(scalar(a, R, &rate));
    GI_TRY(scalar(a, T, &steps));
    const double alpha = (double)gi_attr_float(a->n, Adam_at_alpha), beta = (double)gi_attr_float(a->n, Adam_at_beta);
    const params p = { .rate = steps > 0 ? rate * sqrt(1 - pow(beta, steps)) / (1 - pow(alpha, steps)) : rate,
                       .norm = (double)gi_attr_float(a->n, Adam_at_norm_coefficient),
                       .decay = (double)gi_attr_float(a->n, Adam_at_norm_coefficient_post),
                       .epsilon = (double)gi_attr_float(a->n, Adam_at_epsilon),
                       .alpha = alpha,
                       .beta = beta };
    return run(a, &p, step_adam);
}

static void step_momentum(const params *p, double *x, double g, double *s)
{
    s[0] = p->alpha * s[0] + p->beta * g;
    *x -= p->rate * (p->nesterov ? g + p->alpha * s[0] : s[0]);
}

static gopt_status eval_momentum(gi_eval *a)
{
    double rate = 0, steps = 0;
    GI_TRY(scalar(a, R, &rate));
    GI_TRY(scalar(a, T, &steps));
    const params p = { .rate = rate,
                       .norm = (double)gi_attr_float(a->n, Momentum_at_norm_coefficient),
                       .alpha = (double)gi_attr_float(a->n, Momentum_at_alpha),
                       .beta = steps > 0 ? (double)gi_attr_float(a->n, Momentum_at_beta) : 1,
                       .nesterov = gi_attr_is(a->n, Momentum_at_mode, "nesterov") };
    if (!p.nesterov && !gi_attr_is(a->n, Momentum_at_mode, "standard"))
        return gi_eval_fail(a, -1, "attribute mode is \"%s\", expected standard or nesterov",
                            gi_attr_str(a->n, Momentum_at_mode));
    return run(a, &p, step_momentum);
}

/* ---- type rule ---- */

static gopt_status infer_optimizer(gi_infer *c)
{
    const uint32_t states = states_of(c->n), groups = 2 + states, given = c->n->n_in - FIRST, n = given / groups;
    if (given == 0 || given % groups)
        return gi_infer_fail_node(c, "it has %u inputs behind R and T, expected a multiple of %u", given, groups);
    if (c->n->n_out > (1 + states) * n)
        return gi_infer_fail_node(c, "it has %u outputs, expected %u", c->n->n_out, (1 + states) * n);
    for (uint32_t i = FIRST; i < c->n->n_in; i++) {
        const uint32_t x = FIRST + (i - FIRST) % n;
        const int rank = gi_infer_rank(c, x);
        if (!gi_infer_has(c, i))
            return gi_infer_fail_node(c, "input %u is missing", i);
        if (gi_infer_dtype(c, i) && gi_infer_dtype(c, x) && gi_infer_dtype(c, i) != gi_infer_dtype(c, x))
            return gi_infer_fail(c, i, "expected %s elements as its tensor has", gopt_dtype_name(gi_infer_dtype(c, x)));
        if (rank >= 0)
            GI_TRY(gi_infer_want_rank(c, i, rank));
        for (int d = 0; d < rank; d++)
            GI_TRY(gi_infer_want_dim(c, i, d, gi_infer_dim(c, x, d), "as its tensor has"));
    }
    for (uint32_t i = 0; i < c->n->n_out; i++)
        gi_infer_set_type(c, i, gi_infer_type(c, FIRST + i % n));
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/training.def"
