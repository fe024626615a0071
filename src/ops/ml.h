/* What the operators of ai.onnx.ml share: rows of features, lists that attributes give, dictionaries, labels and
 * what is done to scores. */
#ifndef GI_ML_H
#define GI_ML_H

#include "ops/eval.h"
#include "ops/infer.h"

/* ---- rows of features: [N,F], or [F] for one ---- */

gopt_status gi_ml_rows(const gi_eval *a, const gopt_tensor *x, int64_t *n, int64_t *width);
/* Row r of numbers of any type, as doubles (float's are exact). */
void gi_ml_row(const gopt_tensor *x, int64_t r, int64_t width, double *to);
/* Output `out` is dtype[N] (width < 0) or dtype[N,width]. */
gopt_status gi_ml_infer_rows(gi_infer *c, uint32_t out, gopt_dtype dtype, int64_t width);

/* ---- lists ---- */

/* A list that one of several attributes gives; -1: there is none such. */
typedef struct gi_ml_list {
    int ints, floats, strings, tensor;
} gi_ml_list;
/* Its elements' type; UNDEFINED where none is given. */
gopt_dtype gi_ml_list_type(const gi_node *n, const gi_ml_list *l);
/* The list as a tensor of one dimension, borrowed from the node or scratch; of type UNDEFINED where none is given. */
gopt_status gi_ml_list_get(gi_eval *a, const gi_ml_list *l, gopt_tensor *out);

/* ---- dictionaries: keys are elements of tensors, all of one type; NaN is found, -0 is 0 ---- */

typedef struct gi_ml_dict {
    gi_map by_hash;
    gi_arena *arena;
} gi_ml_dict;
void gi_ml_dict_init(gi_ml_dict *d, gi_arena *a);
bool gi_ml_dict_put(gi_ml_dict *d, const gopt_tensor *t, int64_t i, int64_t value); /* the first one stays */
int64_t gi_ml_dict_get(const gi_ml_dict *d, const gopt_tensor *t, int64_t i);       /* -1 where absent */
gopt_status gi_ml_dict_make(gi_eval *a, const gopt_tensor *keys, gi_ml_dict *d);    /* each its position */

/* ---- classes ---- */

/* Names of classes: numbers or strings; n is 0 where there are none. */
typedef struct gi_ml_labels {
    int64_t n;
    const int64_t *ints;
    const char *const *strings; /* else NULL */
} gi_ml_labels;
gi_ml_labels gi_ml_labels_of(const gi_node *n, int ints, int strings);
gopt_dtype gi_ml_labels_type(const gi_ml_labels *l);
void gi_ml_put_label(gopt_tensor *y, int64_t i, const gi_ml_labels *l, int64_t label);
/* Labels [N] and scores [N,width]. */
gopt_status gi_ml_infer_classes(gi_infer *c, const gi_ml_labels *l, int64_t width);

/* ---- scores ---- */

/* In TreeEnsemble's order. */
typedef enum gi_ml_post { GI_ML_NONE = 0, GI_ML_SOFTMAX, GI_ML_LOGISTIC, GI_ML_SOFTMAX_ZERO, GI_ML_PROBIT } gi_ml_post;

/* The attribute post_transform at that position; false for a name that is none. */
bool gi_ml_post_of(const gi_node *n, int at, gi_ml_post *out);
gopt_status gi_ml_infer_post(const gi_infer *c, int at); /* refuses such a name */

/* What becomes of one class's lone score: a second one beside it or not. */
typedef enum gi_ml_second {
    GI_ML_LONE,       /* none */
    GI_ML_COMPLEMENT, /* 1 - s: probabilities */
    GI_ML_OPPOSITE    /* -s */
} gi_ml_second;
/* Transforms n scores in place (room for 2); returns how many there are then. A lone score knows PROBIT alone, and
 * with a second one LOGISTIC: so ONNX Runtime reads the specification, which leaves it open. */
int64_t gi_ml_finish(gi_ml_post p, gi_ml_second second, double *s, int64_t n);
double gi_ml_logistic(double x);
/* The whole part of a number; what no i64 holds is the nearest one, NaN 0. */
static inline int64_t gi_ml_whole(double x)
{
    return x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : x == x ? (int64_t)x : 0;
}
int64_t gi_ml_argmax(const double *s, int64_t n); /* the first of the largest */

#endif
