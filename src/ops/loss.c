/* Losses of a classification: NegativeLogLikelihoodLoss, and SoftmaxCrossEntropyLoss, which takes the logarithm of
 * the softmax first.
 *
 * Inputs [n, classes, d…], one class a sample in [n, d…], and weights [classes]. A sample's loss is
 * -input[class] · weight[class], 0 where its class is ignore_index; a mean divides by the weights of the samples that
 * count, and is NaN where none does. Both operators have inputs and attributes in the same places. */
#include "ops/infer.h"
#include "ops/real.h"
#include "ops/softmax.h"

#include <math.h>

enum {
    X = NegativeLogLikelihoodLoss_in_input,
    TARGET = NegativeLogLikelihoodLoss_in_target,
    WEIGHT = NegativeLogLikelihoodLoss_in_weight,
    IGNORE = NegativeLogLikelihoodLoss_at_ignore_index,
    REDUCTION = NegativeLogLikelihoodLoss_at_reduction
};

/* [n, classes, inner], and a class for each of n · inner samples. */
typedef struct samples {
    int64_t n, classes, inner;
    const int64_t *target; /* -1: ignored */
} samples;

/* ---- evaluation ---- */

/* The classes, checked, in scratch. */
static gopt_status read_targets(gi_eval *a, samples *s)
{
    const gopt_tensor *t = a->in[TARGET];
    const bool ignores = gi_attr_has(a->n, IGNORE);
    const int64_t ignored = gi_attr_int(a->n, IGNORE), count = s->n * s->inner;
    int64_t *target = gi_eval_scratch(a, (size_t)count, sizeof *target);
    GI_NEED(target);
    for (int64_t i = 0; i < count; i++) {
        const int64_t c = gi_tensor_i64(t, i);
        target[i] = ignores && c == ignored ? -1 : c;
        if (target[i] != -1 && (c < 0 || c >= s->classes))
            return gi_eval_fail(a, TARGET, "element %lld is class %lld, expected 0 to %lld", (long long)i, (long long)c,
                                (long long)s->classes - 1);
        if (target[i] == -1 && !ignores)
            return gi_eval_fail(a, TARGET, "element %lld is class -1, expected 0 to %lld", (long long)i,
                                (long long)s->classes - 1);
    }
    s->target = target;
    return GOPT_OK;
}

static gopt_status find_samples(gi_eval *a, samples *s)
{
    const gopt_tensor *x = a->in[X], *t = a->in[TARGET];
    GI_TRY(gi_eval_rank_at_least(a, X, 2));
    GI_TRY(gi_eval_rank(a, TARGET, x->rank - 1));
    for (int i = 0; i < t->rank; i++)
        GI_TRY(gi_eval_dim(a, TARGET, i, x->dims[i ? i + 1 : 0]));
    if (t->dtype != GOPT_I32 && t->dtype != GOPT_I64)
        return gi_eval_fail(a, TARGET, "its elements are %s, expected i32 or i64", gopt_dtype_name(t->dtype));
    if (a->n_in > WEIGHT && a->in[WEIGHT]) {
        GI_TRY(gi_eval_rank(a, WEIGHT, 1));
        GI_TRY(gi_eval_dim(a, WEIGHT, 0, x->dims[1]));
    }
    *s = (samples){ .n = x->dims[0], .classes = x->dims[1], .inner = gi_product(2, x->rank, x->dims) };
    return read_targets(a, s);
}

/* Each sample's loss into y, or their sum or mean. w: NULL where every class weighs 1. */
#define LOSS(S, T)                                                                                          \
    static void each_##S(const samples *s, const T *x, const T *w, T *y)                                    \
    {                                                                                                       \
        for (int64_t n = 0; n < s->n; n++)                                                                  \
            for (int64_t i = 0; i < s->inner; i++) {                                                        \
                const int64_t c = s->target[n * s->inner + i];                                              \
                y[n * s->inner + i] = c < 0 ? 0 : -x[(n * s->classes + c) * s->inner + i] * (w ? w[c] : 1); \
            }                                                                                               \
    }                                                                                                       \
    static T reduced_##S(const samples *s, const T *x, const T *w, bool mean)                               \
    {                                                                                                       \
        double sum = 0, weight = 0;                                                                         \
        for (int64_t n = 0; n < s->n; n++)                                                                  \
            for (int64_t i = 0; i < s->inner; i++) {                                                        \
                const int64_t c = s->target[n * s->inner + i];                                              \
                if (c < 0)                                                                                  \
                    continue;                                                                               \
                const double k = w ? (double)w[c] : 1;                                                      \
                sum -= (double)x[(n * s->classes + c) * s->inner + i] * k;                                  \
                weight += k;                                                                                \
            }                                                                                               \
        return (T)(mean ? sum / weight : sum);                                                              \
    }
LOSS(f32, float)
LOSS(f64, double)

static gopt_status eval_loss(gi_eval *a)
{
    const gopt_tensor *x = a->in[X], *t = a->in[TARGET];
    const gopt_dtype real = gi_real_of(x->dtype);
    const bool none = gi_attr_is(a->n, REDUCTION, "none"), mean = gi_attr_is(a->n, REDUCTION, "mean");
    const void *p, *w;
    samples s = { 0 };
    gi_real y, logs = { 0 };
    if (!none && !mean && !gi_attr_is(a->n, REDUCTION, "sum"))
        return gi_eval_fail(a, -1, "attribute reduction is \"%s\", expected none, sum or mean",
                            gi_attr_str(a->n, REDUCTION));
    GI_TRY(find_samples(a, &s));
    GI_TRY(gi_real_in(a, X, real, &p));
    GI_TRY(gi_real_in(a, WEIGHT, real, &w));
    if (a->n->op == OP_SoftmaxCrossEntropyLoss) {
        GI_TRY(gi_real_out(a, SoftmaxCrossEntropyLoss_out_log_prob, x->dtype, x->rank, x->dims, &logs));
        void *to = logs.p ? logs.p : gi_eval_scratch(a, (size_t)gopt_tensor_elements(x), gi_item_size(real));
        GI_NEED(to);
        GI_TRY(real == GOPT_F64 ? gi_log_softmax_f64(a, s.n, s.classes, s.inner, p, to)
                                : gi_log_softmax_f32(a, s.n, s.classes, s.inner, p, to));
        gi_real_store(&logs);
        p = to;
    }
    GI_TRY(gi_real_out(a, 0, x->dtype, none ? t->rank : 0, t->dims, &y));
    if (y.p && none && real == GOPT_F64)
        each_f64(&s, p, w, y.p);
    else if (y.p && none)
        each_f32(&s, p, w, y.p);
    else if (y.p && real == GOPT_F64)
        *(double *)y.p = reduced_f64(&s, p, w, mean);
    else if (y.p)
        *(float *)y.p = reduced_f32(&s, p, w, mean);
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- type rule ---- */

static gopt_status check_target(const gi_infer *c)
{
    const int rank = gi_infer_rank(c, X);
    const gopt_dtype t = gi_infer_dtype(c, TARGET);
    if (t && t != GOPT_I32 && t != GOPT_I64)
        return gi_infer_fail(c, TARGET, "expected i32 or i64");
    GI_TRY(gi_infer_want_rank_at_least(c, X, 2));
    if (rank < 0)
        return GOPT_OK;
    GI_TRY(gi_infer_want_rank(c, TARGET, rank - 1));
    for (int i = 0; i < rank - 1; i++)
        GI_TRY(gi_infer_want_dim(c, TARGET, i, gi_infer_dim(c, X, i ? i + 1 : 0), "one class a sample"));
    return GOPT_OK;
}

/* The dims of the samples: of the input, without the classes, or of the targets where more is known of them. */
static gopt_status infer_each(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_infer_rank(c, X) < 0 ? gi_infer_rank(c, TARGET) : gi_infer_rank(c, X) - 1;
    for (int i = 0; i < rank; i++) {
        dims[i] = gi_infer_dim(c, X, i ? i + 1 : 0);
        if (!gi_dim_is_const(dims[i], NULL) && gi_infer_rank(c, TARGET) == rank &&
            (gi_dim_is_unknown(dims[i]) || gi_dim_is_const(gi_infer_dim(c, TARGET, i), NULL)))
            dims[i] = gi_infer_dim(c, TARGET, i);
    }
    gi_infer_set(c, 0, gi_infer_dtype(c, X), rank, dims);
    return GOPT_OK;
}

static gopt_status infer_loss(gi_infer *c)
{
    const char *reduction = gi_attr_str(c->n, REDUCTION);
    const bool none = !strcmp(reduction, "none");
    if (!none && strcmp(reduction, "sum") != 0 && strcmp(reduction, "mean") != 0)
        return gi_infer_fail_node(c, "attribute reduction is \"%s\", expected none, sum or mean", reduction);
    GI_TRY(check_target(c));
    GI_TRY(gi_infer_want_dtype(c, WEIGHT, X));
    GI_TRY(gi_infer_want_rank(c, WEIGHT, 1));
    GI_TRY(gi_infer_want_dim(c, WEIGHT, 0, gi_infer_dim(c, X, 1), "one weight a class"));
    gi_infer_set_type(c, SoftmaxCrossEntropyLoss_out_log_prob, gi_infer_type(c, X));
    if (none)
        return infer_each(c);
    gi_infer_set(c, 0, gi_infer_dtype(c, X), 0, NULL);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/loss.def"
