/* Random numbers.
 *
 * Number i of a node is a hash of its seed and i (splitmix64), so results depend on neither threads nor order.
 * The seed is the attribute's where the model gives one, else the run's, told apart by node. */
#include <math.h>

#include "ops/eval.h"
#include "ops/infer.h"
#include "ops/move.h"

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t node_seed(const gi_eval *a)
{
    const gi_attr *given = gi_attr_find(a->n, "seed");
    if (!given)
        return mix(mix(a->seed) + a->n->id);
    uint32_t bits;
    memcpy(&bits, &given->u.f, sizeof bits);
    return mix(bits);
}

/* In 0 ≤ x < 1, with 53 random bits. */
static double uniform(uint64_t seed, uint64_t i)
{
    return (double)(mix(seed ^ mix(i)) >> 11) * 0x1p-53;
}

/* Box and Muller (1958), one of the pair. */
static double normal(uint64_t seed, uint64_t i)
{
    const double r = sqrt(-2 * log(1 - uniform(seed, 2 * i)));
    return r * cos(6.283185307179586 * uniform(seed, 2 * i + 1));
}

/* ---- type rules ---- */

static gopt_status output_dtype(gi_infer *c, gopt_dtype otherwise, gopt_dtype *t)
{
    const gi_attr *given = gi_attr_find(c->n, "dtype");
    *t = given ? (gopt_dtype)given->u.i : otherwise;
    const gi_dclass kind = given && (given->u.i < 0 || given->u.i >= GOPT_DTYPE_COUNT) ? GI_NONE : gi_dtype_class(*t);
    if (given && (kind == GI_NONE || kind == GI_TEXT || kind == GI_COMPLEX))
        return gi_infer_fail_node(c, "attribute dtype is %lld, expected a number's type", (long long)given->u.i);
    return GOPT_OK;
}

static gopt_status infer_random(gi_infer *c)
{
    gopt_dtype t;
    const int64_t *shape;
    const gi_dim *dims[GOPT_MAX_RANK];
    const int at = c->n->op == OP_RandomNormal ? (int)RandomNormal_at_shape : (int)RandomUniform_at_shape;
    const uint32_t rank = gi_attr_ints(c->n, at, &shape);
    GI_TRY(output_dtype(c, GOPT_F32, &t));
    if (rank > GOPT_MAX_RANK)
        return gi_infer_fail_node(c, "attribute shape has %u entries, expected at most %d", rank, GOPT_MAX_RANK);
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] < 0)
            return gi_infer_fail_node(c, "attribute shape holds %lld, expected no negative dim", (long long)shape[i]);
        dims[i] = gi_dim_const(c->g->dims, shape[i]);
    }
    return gi_set(c, 0, t, (int)rank, dims);
}

static gopt_status infer_like(gi_infer *c)
{
    gopt_dtype t;
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, 0, dims);
    GI_TRY(output_dtype(c, gi_infer_dtype(c, 0), &t));
    return gi_set(c, 0, t, rank, dims);
}

static gopt_status infer_multinomial(gi_infer *c)
{
    gopt_dtype t;
    const int rank = gi_infer_rank(c, 0);
    const int64_t n = gi_attr_int(c->n, Multinomial_at_sample_size);
    GI_TRY(output_dtype(c, GOPT_I32, &t));
    if (rank >= 0 && rank != 2)
        return gi_infer_fail(c, 0, "which has rank %d, expected 2", rank);
    if (n < 0)
        return gi_infer_fail_node(c, "attribute sample_size is %lld, expected no negative count", (long long)n);
    return gi_set(c, 0, t, 2, (const gi_dim *[]){ gi_infer_dim(c, 0, 0), gi_dim_const(c->g->dims, n) });
}

/* ---- evaluation ---- */

static gopt_dtype eval_dtype(const gi_eval *a, gopt_dtype otherwise)
{
    const gi_attr *given = gi_attr_find(a->n, "dtype");
    return given ? (gopt_dtype)given->u.i : otherwise;
}

static gopt_status fill_normal(gi_eval *a, gopt_dtype t, int rank, const int64_t *dims, float mean, float scale)
{
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, t, rank, dims, &y));
    const uint64_t seed = node_seed(a);
    for (int64_t i = 0, n = y ? gopt_tensor_elements(y) : 0; i < n; i++)
        gi_store_f64(t, y->data, (size_t)i, (double)mean + (double)scale * normal(seed, (uint64_t)i));
    return GOPT_OK;
}

static gopt_status fill_uniform(gi_eval *a, gopt_dtype t, int rank, const int64_t *dims, float low, float high)
{
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, t, rank, dims, &y));
    const uint64_t seed = node_seed(a);
    for (int64_t i = 0, n = y ? gopt_tensor_elements(y) : 0; i < n; i++)
        gi_store_f64(t, y->data, (size_t)i, (double)low + ((double)high - (double)low) * uniform(seed, (uint64_t)i));
    return GOPT_OK;
}

static gopt_status attr_shape(const gi_eval *a, int at, int *rank, const int64_t **dims)
{
    const uint32_t n = gi_attr_ints(a->n, at, dims);
    if (n > GOPT_MAX_RANK)
        return gi_eval_fail(a, -1, "attribute shape has %u entries, expected at most %d", n, GOPT_MAX_RANK);
    *rank = (int)n;
    return GOPT_OK;
}

static gopt_status eval_random_normal(gi_eval *a)
{
    const int64_t *dims;
    int rank = 0;
    GI_TRY(attr_shape(a, RandomNormal_at_shape, &rank, &dims));
    return fill_normal(a, eval_dtype(a, GOPT_F32), rank, dims, gi_attr_float(a->n, RandomNormal_at_mean),
                       gi_attr_float(a->n, RandomNormal_at_scale));
}

static gopt_status eval_random_uniform(gi_eval *a)
{
    const int64_t *dims;
    int rank = 0;
    GI_TRY(attr_shape(a, RandomUniform_at_shape, &rank, &dims));
    return fill_uniform(a, eval_dtype(a, GOPT_F32), rank, dims, gi_attr_float(a->n, RandomUniform_at_low),
                        gi_attr_float(a->n, RandomUniform_at_high));
}

static gopt_status eval_random_normal_like(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    return fill_normal(a, eval_dtype(a, x->dtype), x->rank, x->dims, gi_attr_float(a->n, RandomNormalLike_at_mean),
                       gi_attr_float(a->n, RandomNormalLike_at_scale));
}

static gopt_status eval_random_uniform_like(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    return fill_uniform(a, eval_dtype(a, x->dtype), x->rank, x->dims, gi_attr_float(a->n, RandomUniformLike_at_low),
                        gi_attr_float(a->n, RandomUniformLike_at_high));
}

static gopt_status eval_bernoulli(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, eval_dtype(a, x->dtype), x->rank, x->dims, &y));
    const uint64_t seed = node_seed(a);
    for (int64_t i = 0, n = y ? gopt_tensor_elements(y) : 0; i < n; i++)
        gi_store_f64(y->dtype, y->data, (size_t)i, uniform(seed, (uint64_t)i) < gi_tensor_f64(x, i));
    return GOPT_OK;
}

/* Draws by the cumulated, not normalized probabilities: the first class that reaches the number drawn. */
static gopt_status eval_multinomial(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const int64_t samples = gi_attr_int(a->n, Multinomial_at_sample_size);
    if (x->rank != 2 || x->dims[1] < 1 || samples < 0)
        return gi_eval_fail(a, 0, "has rank %d, expected 2 and at least one class", x->rank);
    const int64_t rows = x->dims[0], classes = x->dims[1];
    const int64_t dims[2] = { rows, samples };
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, eval_dtype(a, GOPT_I32), 2, dims, &y));
    if (!y)
        return GOPT_OK;
    double *upto = gi_eval_scratch(a, (size_t)classes, sizeof *upto);
    GI_NEED(upto);
    const uint64_t seed = node_seed(a);
    for (int64_t r = 0; r < rows; r++) {
        double most = -INFINITY, sum = 0;
        for (int64_t k = 0; k < classes; k++)
            most = fmax(most, gi_tensor_f64(x, r * classes + k));
        for (int64_t k = 0; k < classes; k++)
            upto[k] = sum += exp(gi_tensor_f64(x, r * classes + k) - most);
        for (int64_t s = 0; s < samples; s++) {
            const double drawn = sum * uniform(seed, (uint64_t)(r * samples + s));
            int64_t k = 0;
            while (k < classes - 1 && !(drawn < upto[k]))
                k++;
            gi_store_i64(y->dtype, y->data, (size_t)(r * samples + s), k);
        }
    }
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/random.def"
