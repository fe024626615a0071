/* Rows, lists, dictionaries, labels and scores of ai.onnx.ml's operators. */
#include <math.h>

#include "ops/ml.h"

/* ---- rows ---- */

gopt_status gi_ml_rows(const gi_eval *a, const gopt_tensor *x, int64_t *n, int64_t *width)
{
    if (x->rank != 1 && x->rank != 2)
        return gi_eval_fail(a, 0, "its rank is %d, expected 2 (rows of features)", x->rank);
    *n = x->rank == 2 ? x->dims[0] : 1;
    *width = x->dims[x->rank - 1];
    return GOPT_OK;
}

void gi_ml_row(const gopt_tensor *x, int64_t r, int64_t width, double *to)
{
    if (x->dtype == GOPT_F32)
        for (int64_t i = 0; i < width; i++)
            to[i] = (double)((const float *)x->data)[r * width + i];
    else
        for (int64_t i = 0; i < width; i++)
            to[i] = gi_tensor_f64(x, r * width + i);
}

gopt_status gi_ml_infer_rows(gi_infer *c, uint32_t out, gopt_dtype dtype, int64_t width)
{
    const int rank = gi_infer_rank(c, 0);
    if (rank == 0 || rank > 2)
        return gi_infer_fail(c, 0, "expected rank 2 (rows of features)");
    const gi_dim *dims[2];
    dims[0] = rank == 2   ? gi_infer_dim(c, 0, 0)
              : rank == 1 ? gi_dim_const(c->g->dims, 1)
                          : gi_dim_unknown(c->g->dims, true);
    dims[1] = gi_dim_const(c->g->dims, width < 0 ? 0 : width);
    gi_infer_set(c, out, dtype, width < 0 ? 1 : 2, dims);
    return GOPT_OK;
}

/* ---- lists ---- */

gopt_dtype gi_ml_list_type(const gi_node *n, const gi_ml_list *l)
{
    const int64_t *ints;
    const float *floats;
    const char *const *strings;
    if (l->ints >= 0 && gi_attr_ints(n, l->ints, &ints))
        return GOPT_I64;
    if (l->floats >= 0 && gi_attr_floats(n, l->floats, &floats))
        return GOPT_F32;
    if (l->strings >= 0 && gi_attr_strings(n, l->strings, &strings))
        return GOPT_STRING;
    return l->tensor >= 0 && gi_attr_tensor(n, l->tensor) ? gi_attr_tensor(n, l->tensor)->dtype : GOPT_UNDEFINED;
}

gopt_status gi_ml_list_get(gi_eval *a, const gi_ml_list *l, gopt_tensor *out)
{
    const int64_t *ints = NULL;
    const float *floats = NULL;
    const char *const *strings = NULL;
    const gopt_dtype type = gi_ml_list_type(a->n, l);
    *out = (gopt_tensor){ .kind = GOPT_TENSOR, .dtype = type, .rank = 1, .refs = 1 };
    if (l->tensor >= 0 && gi_attr_tensor(a->n, l->tensor) && !(l->ints >= 0 && gi_attr_ints(a->n, l->ints, &ints)) &&
        !(l->floats >= 0 && gi_attr_floats(a->n, l->floats, &floats)) &&
        !(l->strings >= 0 && gi_attr_strings(a->n, l->strings, &strings))) {
        gi_tensor_of_blob(gi_attr_tensor(a->n, l->tensor), out);
        out->dims[0] = gopt_tensor_elements(out);
        out->rank = 1;
    } else if (type == GOPT_I64) {
        out->dims[0] = gi_attr_ints(a->n, l->ints, &ints);
        out->data = (void *)(uintptr_t)ints;
    } else if (type == GOPT_F32) {
        out->dims[0] = gi_attr_floats(a->n, l->floats, &floats);
        out->data = (void *)(uintptr_t)floats;
    } else if (type == GOPT_STRING) {
        out->dims[0] = gi_attr_strings(a->n, l->strings, &strings);
        gopt_string *s = gi_eval_scratch(a, (size_t)out->dims[0], sizeof *s);
        GI_NEED(s);
        for (int64_t i = 0; i < out->dims[0]; i++)
            s[i] = (gopt_string){ .p = strings[i], .n = strlen(strings[i]) };
        out->data = s;
    }
    return GOPT_OK;
}

/* ---- dictionaries ---- */

typedef struct entry {
    gopt_string s; /* of a string */
    uint64_t bits; /* of a number */
    int64_t value;
    struct entry *next;
} entry;

/* Numbers as bits that are equal where the numbers are. */
static uint64_t key_of(const gopt_tensor *t, int64_t i, entry *e)
{
    if (t->dtype == GOPT_STRING) {
        e->s = ((const gopt_string *)t->data)[i];
        return gi_hash(e->s.p, e->s.n, 3);
    }
    if (gi_dtype_is_float(t->dtype)) {
        double x = gi_tensor_f64(t, i) + 0.0; /* -0 + 0 is 0 */
        if (isnan(x))
            x = (double)NAN;
        memcpy(&e->bits, &x, sizeof x);
    } else {
        e->bits = (uint64_t)gi_tensor_i64(t, i);
    }
    return gi_hash(&e->bits, sizeof e->bits, 4);
}

void gi_ml_dict_init(gi_ml_dict *d, gi_arena *a)
{
    d->arena = a;
    gi_map_init(&d->by_hash, a);
}

static const entry *find(const gi_ml_dict *d, const entry *want, uint64_t hash)
{
    for (const entry *e = gi_map_get(&d->by_hash, hash); e; e = e->next)
        if (e->bits == want->bits && e->s.n == want->s.n && (!e->s.n || !memcmp(e->s.p, want->s.p, e->s.n)))
            return e;
    return NULL;
}

bool gi_ml_dict_put(gi_ml_dict *d, const gopt_tensor *t, int64_t i, int64_t value)
{
    entry *e = GI_NEW(d->arena, entry);
    if (!e)
        return false;
    const uint64_t hash = key_of(t, i, e);
    if (find(d, e, hash))
        return true;
    e->value = value;
    e->next = gi_map_get(&d->by_hash, hash);
    return gi_map_put(&d->by_hash, hash, e);
}

int64_t gi_ml_dict_get(const gi_ml_dict *d, const gopt_tensor *t, int64_t i)
{
    entry want = { 0 };
    const uint64_t hash = key_of(t, i, &want);
    const entry *e = find(d, &want, hash);
    return e ? e->value : -1;
}

gopt_status gi_ml_dict_make(gi_eval *a, const gopt_tensor *keys, gi_ml_dict *d)
{
    gi_ml_dict_init(d, a->scratch);
    for (int64_t i = 0; i < keys->dims[0]; i++)
        GI_NEED(gi_ml_dict_put(d, keys, i, i));
    return GOPT_OK;
}

/* ---- classes ---- */

gi_ml_labels gi_ml_labels_of(const gi_node *n, int ints, int strings)
{
    gi_ml_labels l = { 0 };
    l.n = gi_attr_strings(n, strings, &l.strings);
    if (!l.n)
        l.n = gi_attr_ints(n, ints, &l.ints);
    return l;
}

gopt_dtype gi_ml_labels_type(const gi_ml_labels *l)
{
    return l->strings ? GOPT_STRING : GOPT_I64;
}

void gi_ml_put_label(gopt_tensor *y, int64_t i, const gi_ml_labels *l, int64_t label)
{
    if (l->strings)
        ((gopt_string *)y->data)[i] = (gopt_string){ .p = l->strings[label], .n = strlen(l->strings[label]) };
    else
        ((int64_t *)y->data)[i] = l->ints[label];
}

gopt_status gi_ml_infer_classes(gi_infer *c, const gi_ml_labels *l, int64_t width)
{
    if (!l->n)
        return gi_infer_fail_node(c, "it has no class labels, neither numbers nor strings");
    GI_TRY(gi_ml_infer_rows(c, 0, gi_ml_labels_type(l), -1));
    return gi_ml_infer_rows(c, 1, GOPT_F32, width);
}

/* ---- scores ---- */

bool gi_ml_post_of(const gi_node *n, int at, gi_ml_post *out)
{
    static const char *const names[] = { "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT" };
    for (size_t i = 0; i < GI_COUNT(names); i++)
        if (gi_attr_is(n, at, names[i])) {
            *out = (gi_ml_post)i;
            return true;
        }
    return false;
}

gopt_status gi_ml_infer_post(const gi_infer *c, int at)
{
    gi_ml_post p;
    if (gi_ml_post_of(c->n, at, &p))
        return GOPT_OK;
    return gi_infer_fail_node(
        c, "attribute post_transform is '%.40s', expected NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT",
        gi_attr_str(c->n, at));
}

double gi_ml_logistic(double x)
{
    const double v = 1 / (1 + exp(-fabs(x)));
    return x < 0 ? 1 - v : v;
}

/* The quantile of the normal distribution, by S. Winitzki's formula for the inverse of erf ("A handy approximation
 * for the error function and its inverse", 2008), whose constant is 0.147: all runtimes and ONNX's reference answer
 * with it, two digits away from the true one as it is. */
static double probit(double p)
{
    const double x = 2 * p - 1, a = 0.147, pi = 3.14159265358979323846;
    const double log_term = log((1 - x) * (1 + x));
    const double b = 2 / (pi * a) + log_term / 2;
    const double y = sqrt(sqrt(b * b - log_term / a) - b);
    return 1.41421356 * (x < 0 ? -y : y);
}

static void softmax(double *s, int64_t n, bool zeros_stay)
{
    double max = s[0], sum = 0;
    for (int64_t i = 1; i < n; i++)
        max = s[i] > max ? s[i] : max;
    for (int64_t i = 0; i < n; i++) {
        s[i] = zeros_stay && fabs(s[i]) <= 1e-7 ? s[i] * exp(-max) : exp(s[i] - max);
        sum += s[i];
    }
    for (int64_t i = 0; i < n; i++)
        s[i] = sum == 0 && zeros_stay ? 0.5 : s[i] / sum;
}

int64_t gi_ml_finish(gi_ml_post p, gi_ml_second second, double *s, int64_t n)
{
    if (n == 1 && p == GI_ML_PROBIT) {
        s[0] = probit(s[0]);
        return 1;
    }
    if (n == 1) {
        if (second == GI_ML_LONE)
            return 1;
        const bool logistic = p == GI_ML_LOGISTIC;
        s[1] = logistic ? gi_ml_logistic(s[0]) : s[0];
        s[0] = logistic ? gi_ml_logistic(-s[0]) : second == GI_ML_OPPOSITE ? -s[0] : 1 - s[0];
        return 2;
    }
    if (p == GI_ML_SOFTMAX || p == GI_ML_SOFTMAX_ZERO)
        softmax(s, n, p == GI_ML_SOFTMAX_ZERO);
    for (int64_t i = 0; i < n && (p == GI_ML_LOGISTIC || p == GI_ML_PROBIT); i++)
        s[i] = p == GI_ML_PROBIT ? probit(s[i]) : gi_ml_logistic(s[i]);
    return n;
}

int64_t gi_ml_argmax(const double *s, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (s[i] > s[best])
            best = i;
    return best;
}
