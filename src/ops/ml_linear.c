/* ai.onnx.ml: linear models and support vector machines. Sums are of doubles, results floats. */
#include <math.h>

#include "ops/ml.h"

static double dot(const double *x, const float *w, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * (double)w[i];
    return sum;
}

/* The scores of one row: models × features in `w`, their intercepts in `b` (NULL: 0). */
static void linear(const double *x, const float *w, const float *b, int64_t width, int64_t models, double *s)
{
    for (int64_t k = 0; k < models; k++)
        s[k] = dot(x, w + k * width, width) + (b ? (double)b[k] : 0);
}

/* ---- LinearRegressor ---- */

static gopt_status eval_linear_regressor(gi_eval *a)
{
    const int64_t targets = gi_attr_int(a->n, LinearRegressor_at_targets);
    const float *w = NULL, *b = NULL;
    const int64_t n_w = gi_attr_floats(a->n, LinearRegressor_at_coefficients, &w);
    const int64_t n_b = gi_attr_floats(a->n, LinearRegressor_at_intercepts, &b);
    int64_t rows, width, need;
    gi_ml_post post;
    gopt_tensor *y;
    GI_TRY(gi_ml_rows(a, a->in[0], &rows, &width));
    if (targets < 1 || !gi_mul_i64(targets, width, &need) || n_w != need || (n_b && n_b != targets))
        return gi_eval_fail(a, -1, "%lld coefficients and %lld intercepts do not fit %lld targets of %lld features",
                            (long long)n_w, (long long)n_b, (long long)targets, (long long)width);
    if (!gi_ml_post_of(a->n, LinearRegressor_at_post_transform, &post))
        return gi_eval_fail(a, -1, "attribute post_transform is of no value that the operator knows");
    GI_TRY(gi_eval_out(a, 0, GOPT_F32, 2, (const int64_t[]){ rows, targets }, &y));
    double *x = gi_eval_scratch(a, (size_t)width + 1, sizeof *x),
           *s = gi_eval_scratch(a, (size_t)targets + 2, sizeof *s);
    GI_NEED(x && s);
    for (int64_t r = 0; y && r < rows; r++) {
        gi_ml_row(a->in[0], r, width, x);
        linear(x, w, n_b ? b : NULL, width, targets, s);
        gi_ml_finish(post, GI_ML_LONE, s, targets);
        for (int64_t k = 0; k < targets; k++)
            ((float *)y->data)[r * targets + k] = (float)s[k];
    }
    return GOPT_OK;
}

static gopt_status infer_linear_regressor(gi_infer *c)
{
    const int64_t targets = gi_attr_int(c->n, LinearRegressor_at_targets);
    if (targets < 1)
        return gi_infer_fail_node(c, "attribute targets is %lld", (long long)targets);
    GI_TRY(gi_ml_infer_post(c, LinearRegressor_at_post_transform));
    return gi_ml_infer_rows(c, 0, GOPT_F32, targets);
}

/* ---- LinearClassifier ---- */

/* How many scores there are before a second one is set beside a lone one; -1 where nothing tells. */
static int64_t models_of(const gi_node *n, int64_t width)
{
    const float *w, *b;
    const int64_t n_b = gi_attr_floats(n, LinearClassifier_at_intercepts, &b);
    const int64_t n_w = gi_attr_floats(n, LinearClassifier_at_coefficients, &w);
    return n_b ? n_b : width > 0 && n_w % width == 0 ? n_w / width : -1;
}

static int64_t classifier_width(int64_t models, const gi_ml_labels *l)
{
    return models == 1 && l->n == 2 ? 2 : models;
}

static gopt_status eval_linear_classifier(gi_eval *a)
{
    const gi_ml_labels l =
        gi_ml_labels_of(a->n, LinearClassifier_at_classlabels_ints, LinearClassifier_at_classlabels_strings);
    const float *w = NULL, *b = NULL;
    const int64_t n_w = gi_attr_floats(a->n, LinearClassifier_at_coefficients, &w);
    const int64_t n_b = gi_attr_floats(a->n, LinearClassifier_at_intercepts, &b);
    int64_t rows, width, need;
    gi_ml_post post;
    gopt_tensor *y, *z;
    GI_TRY(gi_ml_rows(a, a->in[0], &rows, &width));
    const int64_t models = models_of(a->n, width), out = classifier_width(models, &l);
    if (models < 1 || !gi_mul_i64(models, width, &need) || n_w != need || (n_b && n_b != models))
        return gi_eval_fail(a, -1, "%lld coefficients and %lld intercepts do not fit rows of %lld features",
                            (long long)n_w, (long long)n_b, (long long)width);
    if (l.n < 1 || (models > 1 && models != l.n) || (models == 1 && l.n > 2))
        return gi_eval_fail(a, -1, "it has %lld class labels for %lld scores", (long long)l.n, (long long)models);
    if (!gi_ml_post_of(a->n, LinearClassifier_at_post_transform, &post))
        return gi_eval_fail(a, -1, "attribute post_transform is of no value that the operator knows");
    GI_TRY(gi_eval_out(a, LinearClassifier_out_Y, gi_ml_labels_type(&l), 1, &rows, &y));
    GI_TRY(gi_eval_out(a, LinearClassifier_out_Z, GOPT_F32, 2, (const int64_t[]){ rows, out }, &z));
    double *x = gi_eval_scratch(a, (size_t)width + 1, sizeof *x),
           *s = gi_eval_scratch(a, (size_t)models + 2, sizeof *s);
    GI_NEED(x && s);
    for (int64_t r = 0; r < rows; r++) {
        gi_ml_row(a->in[0], r, width, x);
        linear(x, w, n_b ? b : NULL, width, models, s);
        const int64_t best = models > 1 ? gi_ml_argmax(s, models) : l.n == 2 && s[0] > 0;
        if (y)
            gi_ml_put_label(y, r, &l, best);
        gi_ml_finish(post, l.n == 2 && models == 1 ? GI_ML_COMPLEMENT : GI_ML_LONE, s, models);
        for (int64_t k = 0; z && k < out; k++)
            ((float *)z->data)[r * out + k] = (float)s[k];
    }
    return GOPT_OK;
}

static gopt_status infer_linear_classifier(gi_infer *c)
{
    const gi_ml_labels l =
        gi_ml_labels_of(c->n, LinearClassifier_at_classlabels_ints, LinearClassifier_at_classlabels_strings);
    int64_t width = -1;
    const gi_type *t = gi_infer_type(c, 0);
    if (t && t->rank > 0)
        gi_type_dim_const(t, -1, &width);
    GI_TRY(gi_ml_infer_post(c, LinearClassifier_at_post_transform));
    const int64_t models = models_of(c->n, width);
    return gi_ml_infer_classes(c, &l, classifier_width(models < 0 ? l.n : models, &l));
}

/* ---- support vectors ---- */

typedef enum kernel { KERNEL_LINEAR, KERNEL_POLY, KERNEL_RBF, KERNEL_SIGMOID, KERNEL_COUNT } kernel;

typedef struct machine {
    kernel kind;
    double gamma, coef0, degree;
    const float *vectors, *coefficients, *rho, *prob_a, *prob_b;
    int64_t n_vectors, n_coefficients, n_rho, n_prob; /* n_vectors: 0 where the model is linear */
    int64_t width;                                    /* features */
    gi_ml_post post;
} machine;

typedef struct machine_at {
    int kernel_type, kernel_params, vectors, coefficients, rho, post;
} machine_at;

/* Reads what both operators have, and checks the vectors against the features. */
static gopt_status read_machine(gi_eval *a, const machine_at *at, int64_t n_vectors, machine *m)
{
    static const char *const names[KERNEL_COUNT] = { "LINEAR", "POLY", "RBF", "SIGMOID" };
    const gi_node *n = a->n;
    const float *p = NULL;
    int64_t need;
    int k = 0;
    while (k < KERNEL_COUNT && !gi_attr_is(n, at->kernel_type, names[k]))
        k++;
    if (k == KERNEL_COUNT)
        return gi_eval_fail(a, -1, "attribute kernel_type is '%.40s', expected LINEAR, POLY, RBF or SIGMOID",
                            gi_attr_str(n, at->kernel_type));
    m->kind = (kernel)k;
    const uint32_t params = gi_attr_floats(n, at->kernel_params, &p);
    if (params && params != 3)
        return gi_eval_fail(a, -1, "attribute kernel_params has %u entries, expected gamma, coef0 and degree", params);
    m->gamma = params ? (double)p[0] : 0;
    m->coef0 = params ? (double)p[1] : 0;
    m->degree = params ? (double)p[2] : 0;
    const int64_t given = gi_attr_floats(n, at->vectors, &m->vectors);
    m->n_coefficients = gi_attr_floats(n, at->coefficients, &m->coefficients);
    m->n_rho = gi_attr_floats(n, at->rho, &m->rho);
    m->n_vectors = n_vectors;
    if (n_vectors < 0 || (n_vectors && (!gi_mul_i64(n_vectors, m->width, &need) || need != given)))
        return gi_eval_fail(a, 0, "%lld numbers are no %lld support vectors of %lld features", (long long)given,
                            (long long)n_vectors, (long long)m->width);
    if (m->n_rho < 1)
        return gi_eval_fail(a, -1, "attribute rho is missing");
    if (!gi_ml_post_of(n, at->post, &m->post))
        return gi_eval_fail(a, -1, "attribute post_transform is of no value that the operator knows");
    return GOPT_OK;
}

/* The kernel's value of a row and a support vector. */
static double apply(const machine *m, const double *x, const float *v)
{
    if (m->kind == KERNEL_RBF) {
        double sum = 0;
        for (int64_t i = 0; i < m->width; i++)
            sum += (x[i] - (double)v[i]) * (x[i] - (double)v[i]);
        return exp(-m->gamma * sum);
    }
    const double s = dot(x, v, m->width);
    return m->kind == KERNEL_POLY      ? pow(m->gamma * s + m->coef0, m->degree)
           : m->kind == KERNEL_SIGMOID ? tanh(m->gamma * s + m->coef0)
                                       : s;
}

/* ---- SVMRegressor ---- */

static gopt_status eval_svm_regressor(gi_eval *a)
{
    static const machine_at at = {
        SVMRegressor_at_kernel_type,  SVMRegressor_at_kernel_params, SVMRegressor_at_support_vectors,
        SVMRegressor_at_coefficients, SVMRegressor_at_rho,           SVMRegressor_at_post_transform
    };
    machine m = { 0 };
    int64_t rows;
    gopt_tensor *y;
    GI_TRY(gi_ml_rows(a, a->in[0], &rows, &m.width));
    GI_TRY(read_machine(a, &at, gi_attr_int(a->n, SVMRegressor_at_n_supports), &m));
    if (m.n_coefficients != (m.n_vectors ? m.n_vectors : m.width))
        return gi_eval_fail(a, -1, "attribute coefficients has %lld entries, expected %lld",
                            (long long)m.n_coefficients, (long long)(m.n_vectors ? m.n_vectors : m.width));
    GI_TRY(gi_eval_out(a, 0, GOPT_F32, 2, (const int64_t[]){ rows, 1 }, &y));
    double *x = gi_eval_scratch(a, (size_t)m.width + 1, sizeof *x);
    GI_NEED(x);
    for (int64_t r = 0; y && r < rows; r++) {
        double s[2] = { (double)m.rho[0] };
        gi_ml_row(a->in[0], r, m.width, x);
        if (!m.n_vectors)
            s[0] += dot(x, m.coefficients, m.width);
        for (int64_t k = 0; k < m.n_vectors; k++)
            s[0] += (double)m.coefficients[k] * apply(&m, x, m.vectors + k * m.width);
        if (gi_attr_int(a->n, SVMRegressor_at_one_class))
            s[0] = s[0] > 0 ? 1 : -1;
        gi_ml_finish(m.post, GI_ML_LONE, s, 1);
        ((float *)y->data)[r] = (float)s[0];
    }
    return GOPT_OK;
}

static gopt_status infer_svm_regressor(gi_infer *c)
{
    GI_TRY(gi_ml_infer_post(c, SVMRegressor_at_post_transform));
    return gi_ml_infer_rows(c, 0, GOPT_F32, 1);
}

/* ---- SVMClassifier ---- */

typedef struct classifier {
    machine m;
    gi_ml_labels labels;
    const int64_t *per_class; /* support vectors of each class, one class's after the other's */
    int64_t pairs;            /* of classes */
    bool all_positive;        /* coefficients */
    double *x, *kernels, *votes, *scores, *pairwise, *chances;
} classifier;

/* Probabilities of n classes from those of all pairs: r[i*n+j] that it is i, if i or j. The second method of
 * T.-F. Wu, C.-J. Lin, R. C. Weng, "Probability estimates for multi-class classification by pairwise coupling",
 * JMLR 5 (2004): p minimizes the sum of (r_ji p_i - r_ij p_j)² under sum p = 1; Q is that form's matrix. */
static void couple(int64_t n, const double *r, double *q, double *p)
{
    double *qp = q + n * n;
    for (int64_t t = 0; t < n; t++) {
        p[t] = 1 / (double)n;
        q[t * n + t] = 0;
        for (int64_t j = 0; j < n; j++)
            if (j != t) {
                q[t * n + t] += r[j * n + t] * r[j * n + t];
                q[t * n + j] = -r[j * n + t] * r[t * n + j];
            }
    }
    for (int64_t round = 0, rounds = gi_max_i64(100, n); round < rounds; round++) {
        double pqp = 0, worst = 0;
        for (int64_t t = 0; t < n; t++) {
            qp[t] = 0;
            for (int64_t j = 0; j < n; j++)
                qp[t] += q[t * n + j] * p[j];
            pqp += p[t] * qp[t];
        }
        for (int64_t t = 0; t < n; t++)
            worst = fmax(worst, fabs(qp[t] - pqp));
        if (worst < 0.005 / (double)n)
            break;
        for (int64_t t = 0; t < n; t++) {
            const double step = (pqp - qp[t]) / q[t * n + t], scale = 1 + step;
            p[t] += step;
            pqp = (pqp + step * (step * q[t * n + t] + 2 * qp[t])) / (scale * scale);
            for (int64_t j = 0; j < n; j++) {
                qp[j] = (qp[j] + step * q[t * n + j]) / scale;
                p[j] /= scale;
            }
        }
    }
}

/* One score for each pair of classes, and a vote for the winner. Row j-1 of the coefficients holds those of class i's
 * vectors against class j, row i those of class j's. */
static void score_pairs(classifier *f)
{
    const machine *m = &f->m;
    const int64_t n = f->labels.n, count = m->n_vectors;
    for (int64_t k = 0; k < count; k++)
        f->kernels[k] = apply(m, f->x, m->vectors + k * m->width);
    memset(f->votes, 0, (size_t)n * sizeof *f->votes);
    for (int64_t i = 0, from_i = 0, pair = 0; i < n; from_i += f->per_class[i++])
        for (int64_t j = i + 1, from_j = from_i + f->per_class[i]; j < n; from_j += f->per_class[j++], pair++) {
            const float *of_i = m->coefficients + (j - 1) * count, *of_j = m->coefficients + i * count;
            double s = (double)m->rho[pair];
            for (int64_t k = from_i; k < from_i + f->per_class[i]; k++)
                s += (double)of_i[k] * f->kernels[k];
            for (int64_t k = from_j; k < from_j + f->per_class[j]; k++)
                s += (double)of_j[k] * f->kernels[k];
            f->scores[pair] = s;
            f->votes[s > 0 ? i : j]++;
        }
}

static void find_chances(classifier *f)
{
    const int64_t n = f->labels.n;
    for (int64_t i = 0, pair = 0; i < n; i++)
        for (int64_t j = i + 1; j < n; j++, pair++) {
            const double s = f->scores[pair] * (double)f->m.prob_a[pair] + (double)f->m.prob_b[pair];
            const double p = fmin(fmax(1 - gi_ml_logistic(s), 1e-7), 1 - 1e-7);
            f->pairwise[i * n + j] = p;
            f->pairwise[j * n + i] = 1 - p;
        }
    couple(n, f->pairwise, f->pairwise + n * n, f->chances);
    memcpy(f->scores, f->chances, (size_t)n * sizeof *f->scores);
}

static int64_t columns_of(const gi_node *n, const gi_ml_labels *l)
{
    const int64_t *per_class;
    const float *p;
    if (!gi_attr_ints(n, SVMClassifier_at_vectors_per_class, &per_class) ||
        gi_attr_floats(n, SVMClassifier_at_prob_a, &p))
        return l->n;
    return l->n > 2 ? l->n * (l->n - 1) / 2 : l->n;
}

static gopt_status read_classifier(gi_eval *a, classifier *f)
{
    static const machine_at at = {
        SVMClassifier_at_kernel_type,  SVMClassifier_at_kernel_params, SVMClassifier_at_support_vectors,
        SVMClassifier_at_coefficients, SVMClassifier_at_rho,           SVMClassifier_at_post_transform
    };
    const gi_node *node = a->n;
    f->labels = gi_ml_labels_of(node, SVMClassifier_at_classlabels_ints, SVMClassifier_at_classlabels_strings);
    const int64_t n = f->labels.n, n_counts = gi_attr_ints(node, SVMClassifier_at_vectors_per_class, &f->per_class);
    int64_t vectors = 0, need;
    if (n < 1 || n > 1 << 15)
        return gi_eval_fail(a, -1, "it has %lld class labels", (long long)n);
    if (n_counts && n_counts != n)
        return gi_eval_fail(a, -1, "attribute vectors_per_class has %lld entries for %lld classes", (long long)n_counts,
                            (long long)n);
    for (int64_t i = 0; i < n_counts; i++)
        if (f->per_class[i] < 0 || !gi_add_i64(vectors, f->per_class[i], &vectors))
            return gi_eval_fail(a, -1, "attribute vectors_per_class holds %lld", (long long)f->per_class[i]);
    GI_TRY(read_machine(a, &at, vectors, &f->m));
    f->pairs = n * (n - 1) / 2;
    const int64_t models = vectors ? n - 1 : n;
    if (!gi_mul_i64(models, vectors ? vectors : f->m.width, &need) || f->m.n_coefficients != need)
        return gi_eval_fail(a, -1, "attribute coefficients has %lld entries, expected %lld",
                            (long long)f->m.n_coefficients, (long long)need);
    const int64_t n_a = gi_attr_floats(node, SVMClassifier_at_prob_a, &f->m.prob_a);
    const int64_t n_b = gi_attr_floats(node, SVMClassifier_at_prob_b, &f->m.prob_b);
    f->m.n_prob = vectors ? n_a : 0;
    if (vectors && (f->m.n_rho < f->pairs || (n_a && (n_a < f->pairs || n_b < f->pairs))))
        return gi_eval_fail(a, -1, "attributes rho, prob_a and prob_b have %lld, %lld and %lld entries for %lld pairs",
                            (long long)f->m.n_rho, (long long)n_a, (long long)n_b, (long long)f->pairs);
    f->all_positive = true;
    for (int64_t i = 0; i < f->m.n_coefficients; i++)
        f->all_positive &= f->m.coefficients[i] >= 0;
    const size_t count = (size_t)n;
    f->x = gi_eval_scratch(a, (size_t)f->m.width + 1, sizeof(double));
    f->kernels = gi_eval_scratch(a, (size_t)vectors + 1, sizeof(double));
    f->votes = gi_eval_scratch(a, 2 * count, sizeof(double));
    f->chances = f->votes ? f->votes + n : NULL;
    f->scores = gi_eval_scratch(a, (size_t)f->pairs + count + 2, sizeof(double));
    f->pairwise = f->m.n_prob ? gi_eval_scratch(a, 2 * count * count + count, sizeof(double)) : f->scores;
    return f->x && f->kernels && f->votes && f->scores && f->pairwise ? GOPT_OK : GOPT_NO_MEMORY;
}

/* One row: its class, and scores ready for the result. */
static int64_t classify(classifier *f)
{
    const machine *m = &f->m;
    const int64_t n = f->labels.n;
    int64_t count = m->n_vectors ? f->pairs : n;
    if (m->n_vectors)
        score_pairs(f);
    else
        for (int64_t k = 0; k < n; k++)
            f->scores[k] = (double)m->rho[0] + dot(f->x, m->coefficients + k * m->width, m->width);
    if (m->n_prob) {
        find_chances(f);
        count = n;
    }
    const double *ballot = m->n_vectors ? f->votes : f->scores;
    int64_t best = gi_ml_argmax(ballot, n);
    /* Two classes with one rho: ONNX Runtime takes coefficients that are all positive for probabilities. */
    if (m->n_rho == 1 && n == 2 && !m->n_vectors && f->all_positive && ballot[best] >= 0.5)
        best = 1;
    const gi_ml_second second = m->n_rho != 1 || n != 2 ? GI_ML_LONE
                                : m->post == GI_ML_NONE ? GI_ML_OPPOSITE
                                                        : GI_ML_COMPLEMENT;
    gi_ml_finish(m->post, second, f->scores, count);
    return best;
}

static gopt_status eval_svm_classifier(gi_eval *a)
{
    classifier f = { 0 };
    int64_t rows;
    gopt_tensor *y, *z;
    GI_TRY(gi_ml_rows(a, a->in[0], &rows, &f.m.width));
    GI_TRY(read_classifier(a, &f));
    const int64_t out = columns_of(a->n, &f.labels);
    GI_TRY(gi_eval_out(a, SVMClassifier_out_Y, gi_ml_labels_type(&f.labels), 1, &rows, &y));
    GI_TRY(gi_eval_out(a, SVMClassifier_out_Z, GOPT_F32, 2, (const int64_t[]){ rows, out }, &z));
    for (int64_t r = 0; r < rows; r++) {
        gi_ml_row(a->in[0], r, f.m.width, f.x);
        const int64_t best = classify(&f);
        if (y)
            gi_ml_put_label(y, r, &f.labels, best);
        for (int64_t k = 0; z && k < out; k++)
            ((float *)z->data)[r * out + k] = (float)f.scores[k];
    }
    return GOPT_OK;
}

static gopt_status infer_svm_classifier(gi_infer *c)
{
    const gi_ml_labels l =
        gi_ml_labels_of(c->n, SVMClassifier_at_classlabels_ints, SVMClassifier_at_classlabels_strings);
    GI_TRY(gi_ml_infer_post(c, SVMClassifier_at_post_transform));
    if (l.n > 1 << 15)
        return gi_infer_fail_node(c, "it has %lld class labels", (long long)l.n);
    return gi_ml_infer_classes(c, &l, columns_of(c->n, &l));
}

#include "ops/rows.h"

#include "ir/ops/ml_linear.def"
