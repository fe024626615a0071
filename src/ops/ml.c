/* ai.onnx.ml: operators that make features ready. Features lie along the last axis. */
#include <math.h>

#include "ops/ml.h"

/* A result of floats in x's shape. */
static gopt_status infer_float(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    gi_infer_set(c, 0, GOPT_F32, t ? t->rank : -1, t ? t->dims : NULL);
    return GOPT_OK;
}

/* The length of the last axis; 1 of a scalar. */
static int64_t features(const gopt_tensor *x)
{
    return x->rank ? x->dims[x->rank - 1] : 1;
}

/* ---- ArrayFeatureExtractor ---- */

static gopt_status eval_extractor(gi_eval *a)
{
    const gopt_tensor *x = a->in[ArrayFeatureExtractor_in_X], *y = a->in[ArrayFeatureExtractor_in_Y];
    const size_t item = x->dtype == GOPT_STRING ? sizeof(gopt_string) : gi_item_size(x->dtype);
    const int64_t n = gopt_tensor_elements(y), width = features(x);
    int64_t dims[GOPT_MAX_RANK], rows = 1;
    gopt_tensor *z;
    if (x->rank < 1 || !item)
        return gi_eval_fail(a, ArrayFeatureExtractor_in_X, "expected at least one axis");
    if (!gi_dtype_is_int(y->dtype))
        return gi_eval_fail(a, ArrayFeatureExtractor_in_Y, "expected integers, found %s", gopt_dtype_name(y->dtype));
    if (n < 1)
        return gi_eval_fail(a, ArrayFeatureExtractor_in_Y, "it names no column");
    for (int64_t k = 0; k < n; k++)
        if (gi_tensor_i64(y, k) < 0 || gi_tensor_i64(y, k) >= width)
            return gi_eval_fail(a, ArrayFeatureExtractor_in_Y, "it names column %lld of %lld",
                                (long long)gi_tensor_i64(y, k), (long long)width);
    memcpy(dims, x->dims, sizeof dims);
    const int rank = x->rank == 1 ? 2 : x->rank; /* one row comes out as a matrix */
    if (x->rank == 1)
        dims[0] = 1;
    rows = gi_product(0, rank - 1, dims);
    dims[rank - 1] = n;
    GI_TRY(gi_eval_out(a, 0, x->dtype, rank, dims, &z));
    for (int64_t r = 0; z && r < rows; r++)
        for (int64_t k = 0; k < n; k++)
            memcpy((uint8_t *)z->data + (size_t)(r * n + k) * item,
                   (const uint8_t *)x->data + (size_t)(r * width + gi_tensor_i64(y, k)) * item, item);
    return GOPT_OK;
}

static gopt_status infer_extractor(gi_infer *c)
{
    const gi_type *x = gi_infer_type(c, 0), *y = gi_infer_type(c, 1);
    const int rank = gi_infer_rank(c, 0);
    const gi_dim *dims[GOPT_MAX_RANK], *n = NULL;
    if (rank == 0)
        return gi_infer_fail(c, 0, "expected at least one axis");
    if (rank < 0) {
        gi_infer_set(c, 0, gi_infer_dtype(c, 0), -1, NULL);
        return GOPT_OK;
    }
    for (int i = 0; i + 1 < rank; i++)
        dims[i] = x->dims[i];
    if (rank == 1)
        dims[0] = gi_dim_const(c->g->dims, 1);
    n = gi_infer_rank(c, 1) < 0 ? gi_dim_unknown(c->g->dims, true) : gi_dim_const(c->g->dims, 1);
    for (int i = 0; i < gi_infer_rank(c, 1); i++)
        n = n ? gi_dim_mul(c->g->dims, n, y->dims[i]) : NULL;
    dims[rank == 1 ? 1 : rank - 1] = n;
    c->no_memory |= !n;
    if (n)
        gi_infer_set(c, 0, gi_infer_dtype(c, 0), rank == 1 ? 2 : rank, dims);
    return GOPT_OK;
}

/* ---- Binarizer ---- */

static gopt_status eval_binarizer(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const double threshold = (double)gi_attr_float(a->n, Binarizer_at_threshold);
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    for (int64_t i = 0, n = gopt_tensor_elements(x); y && i < n; i++)
        gi_store_f64(y->dtype, y->data, (size_t)i, gi_tensor_f64(x, i) > threshold ? 1 : 0);
    return GOPT_OK;
}

/* ---- FeatureVectorizer ---- */

/* Columns of input i; false where neither an attribute nor its shape says. */
static bool column_count(const gi_node *n, uint32_t i, int64_t have, int64_t *columns)
{
    const int64_t *given;
    const uint32_t count = gi_attr_ints(n, FeatureVectorizer_at_inputdimensions, &given);
    *columns = i < count ? given[i] : have;
    return *columns >= 0;
}

static gopt_status eval_vectorizer(gi_eval *a)
{
    int64_t rows = 0, total = 0, at = 0, columns;
    gopt_tensor *y;
    for (uint32_t i = 0; i < a->n_in; i++) {
        const gopt_tensor *x = a->in[i];
        int64_t n, have;
        if (!x || x->dtype == GOPT_STRING || gi_item_size(x->dtype) == 0)
            return gi_eval_fail(a, 0, "input #%u is no tensor of numbers", i);
        GI_TRY(gi_ml_rows(a, x, &n, &have));
        if (i > 0 && n != rows)
            return gi_eval_fail(a, 0, "input #%u has %lld rows, the first has %lld", i, (long long)n, (long long)rows);
        rows = n;
        if (!column_count(a->n, i, have, &columns) || !gi_add_i64(total, columns, &total))
            return gi_eval_fail(a, -1, "attribute inputdimensions: no width for input #%u", i);
    }
    GI_TRY(gi_eval_out(a, 0, GOPT_F32, 2, (const int64_t[]){ rows, total }, &y));
    if (!y)
        return GOPT_OK;
    if (y->bytes)
        memset(y->data, 0, y->bytes);
    for (uint32_t i = 0; i < a->n_in; i++, at += columns) {
        const gopt_tensor *x = a->in[i];
        const int64_t have = features(x);
        column_count(a->n, i, have, &columns);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < gi_min_i64(have, columns); k++)
                ((float *)y->data)[r * total + at + k] = (float)gi_tensor_f64(x, r * have + k);
    }
    return GOPT_OK;
}

static gopt_status infer_vectorizer(gi_infer *c)
{
    const gi_dim *total = gi_dim_const(c->g->dims, 0), *rows = NULL;
    for (uint32_t i = 0; i < c->n->n_in; i++) {
        const int rank = gi_infer_rank(c, i);
        int64_t columns;
        if (rank == 0 || rank > 2)
            return gi_infer_fail(c, i, "expected rank 2 (rows of features)");
        const bool given = column_count(c->n, i, -1, &columns);
        const gi_dim *n = given      ? gi_dim_const(c->g->dims, columns)
                          : rank > 0 ? gi_infer_dim(c, i, -1)
                                     : gi_dim_unknown(c->g->dims, true);
        total = total && n ? gi_dim_add(c->g->dims, total, n) : NULL;
        if (!rows && rank > 0)
            rows = rank == 2 ? gi_infer_dim(c, i, 0) : gi_dim_const(c->g->dims, 1);
    }
    const gi_dim *dims[2] = { rows ? rows : gi_dim_unknown(c->g->dims, true), total };
    c->no_memory |= !dims[0] || !dims[1];
    if (dims[0] && dims[1])
        gi_infer_set(c, 0, GOPT_F32, 2, dims);
    return GOPT_OK;
}

/* ---- Imputer ---- */

static gopt_status eval_imputer(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const int64_t width = features(x);
    const float *floats = NULL;
    const int64_t *ints = NULL;
    const bool real = gi_dtype_is_float(x->dtype);
    const int64_t n = real ? gi_attr_floats(a->n, Imputer_at_imputed_value_floats, &floats)
                           : gi_attr_ints(a->n, Imputer_at_imputed_value_int64s, &ints);
    const float old = gi_attr_float(a->n, Imputer_at_replaced_value_float);
    const int64_t old_int = gi_attr_int(a->n, Imputer_at_replaced_value_int64);
    gopt_tensor *y;
    if (n != 1 && n != width)
        return gi_eval_fail(a, -1, "attribute %s has %lld entries, expected 1 or one for each of %lld features",
                            real ? "imputed_value_floats" : "imputed_value_int64s", (long long)n, (long long)width);
    GI_TRY(gi_eval_out(a, 0, x->dtype, x->rank, x->dims, &y));
    if (!y)
        return GOPT_OK;
    if (x->bytes)
        memcpy(y->data, x->data, y->bytes);
    for (int64_t i = 0, count = gopt_tensor_elements(x); i < count; i++) {
        const int64_t k = n == 1 ? 0 : i % width;
        if (real) {
            const double v = gi_tensor_f64(x, i);
            if (isnan(old) ? isnan(v) : v == (double)old)
                gi_store_f64(y->dtype, y->data, (size_t)i, (double)floats[k]);
        } else if (gi_tensor_i64(x, i) == old_int) {
            gi_store_i64(y->dtype, y->data, (size_t)i, ints[k]);
        }
    }
    return GOPT_OK;
}

static gopt_status infer_imputer(gi_infer *c)
{
    const float *floats;
    const int64_t *ints;
    const bool given = gi_attr_floats(c->n, Imputer_at_imputed_value_floats, &floats) ||
                       gi_attr_ints(c->n, Imputer_at_imputed_value_int64s, &ints);
    if (!given)
        return gi_infer_fail_node(c, "expected the attribute imputed_value_floats or imputed_value_int64s");
    return gi_infer_same_type(c);
}

/* ---- Normalizer ---- */

typedef enum norm { NORM_MAX, NORM_L1, NORM_L2, NORM_COUNT } norm;

static bool norm_of(const gi_node *n, norm *out)
{
    static const char *const names[NORM_COUNT] = { "MAX", "L1", "L2" };
    for (int i = 0; i < NORM_COUNT; i++)
        if (gi_attr_is(n, Normalizer_at_norm, names[i])) {
            *out = (norm)i;
            return true;
        }
    return false;
}

static gopt_status eval_normalizer(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const int64_t width = features(x), n = gopt_tensor_elements(x);
    norm kind;
    gopt_tensor *y;
    if (!norm_of(a->n, &kind))
        return gi_eval_fail(a, -1, "attribute norm is none of MAX, L1, L2");
    GI_TRY(gi_eval_out(a, 0, GOPT_F32, x->rank, x->dims, &y));
    for (int64_t r = 0; y && width && r < n; r += width) {
        double size = kind == NORM_MAX ? -(double)INFINITY : 0;
        for (int64_t i = r; i < r + width; i++) {
            const double v = gi_tensor_f64(x, i);
            size = kind == NORM_MAX ? fmax(size, v) : kind == NORM_L1 ? size + fabs(v) : size + v * v;
        }
        size = kind == NORM_L2 ? sqrt(size) : size;
        for (int64_t i = r; i < r + width; i++)
            ((float *)y->data)[i] = (float)(size == 0 ? gi_tensor_f64(x, i) : gi_tensor_f64(x, i) / size);
    }
    return GOPT_OK;
}

static gopt_status infer_normalizer(gi_infer *c)
{
    norm kind;
    if (!norm_of(c->n, &kind))
        return gi_infer_fail_node(c, "attribute norm is '%.40s', expected MAX, L1 or L2",
                                  gi_attr_str(c->n, Normalizer_at_norm));
    return infer_float(c);
}

/* ---- OneHotEncoder ---- */

static const gi_ml_list categories = { OneHotEncoder_at_cats_int64s, -1, OneHotEncoder_at_cats_strings, -1 };

static gopt_status eval_one_hot(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const bool strings = x->dtype == GOPT_STRING;
    const gi_ml_list list = { strings ? -1 : categories.ints, -1, strings ? categories.strings : -1, -1 };
    gopt_tensor cats, *y;
    gi_ml_dict d;
    int64_t dims[GOPT_MAX_RANK];
    GI_TRY(gi_ml_list_get(a, &list, &cats));
    if (cats.dtype == GOPT_UNDEFINED)
        return gi_eval_fail(a, 0, "its elements are %s, and attribute %s is missing", gopt_dtype_name(x->dtype),
                            strings ? "cats_strings" : "cats_int64s");
    if (x->rank >= GOPT_MAX_RANK)
        return gi_eval_fail(a, 0, "its rank is %d: there is no room for one more", x->rank);
    GI_TRY(gi_ml_dict_make(a, &cats, &d));
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank] = cats.dims[0];
    GI_TRY(gi_eval_out(a, 0, GOPT_F32, x->rank + 1, dims, &y));
    if (!y)
        return GOPT_OK;
    if (y->bytes)
        memset(y->data, 0, y->bytes);
    for (int64_t i = 0, n = gopt_tensor_elements(x); i < n; i++) {
        int64_t number = strings                       ? 0
                         : gi_dtype_is_float(x->dtype) ? gi_ml_whole(gi_tensor_f64(x, i))
                                                       : gi_tensor_i64(x, i);
        const gopt_tensor one = { .dtype = GOPT_I64, .rank = 1, .dims = { 1 }, .data = &number };
        const int64_t at = strings ? gi_ml_dict_get(&d, x, i) : gi_ml_dict_get(&d, &one, 0);
        if (at >= 0)
            ((float *)y->data)[i * cats.dims[0] + at] = 1;
        else if (!gi_attr_int(a->n, OneHotEncoder_at_zeros))
            return gi_eval_fail(a, 0, "element %lld is none of the categories", (long long)i);
    }
    return GOPT_OK;
}

static gopt_status infer_one_hot(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int rank = gi_infer_rank(c, 0);
    const int64_t *ints;
    const char *const *strings;
    const bool text = gi_infer_dtype(c, 0) == GOPT_STRING;
    if (gi_infer_dtype(c, 0) == GOPT_UNDEFINED)
        return GOPT_OK;
    const uint32_t n =
        text ? gi_attr_strings(c->n, categories.strings, &strings) : gi_attr_ints(c->n, categories.ints, &ints);
    if (!n)
        return gi_infer_fail(c, 0, "attribute %s is missing", text ? "cats_strings" : "cats_int64s");
    if (rank >= GOPT_MAX_RANK)
        return gi_infer_fail(c, 0, "its rank leaves no room for one more");
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++)
        dims[i] = t->dims[i];
    if (rank >= 0)
        dims[rank] = gi_dim_const(c->g->dims, n);
    gi_infer_set(c, 0, GOPT_F32, rank < 0 ? -1 : rank + 1, dims);
    return GOPT_OK;
}

/* ---- Scaler ---- */

/* One number, one for each feature, or none. */
static gopt_status factors(gi_eval *a, int at, const char *name, int64_t width, const float **v, int64_t *n)
{
    *n = gi_attr_floats(a->n, at, v);
    if (*n > 1 && *n != width)
        return gi_eval_fail(a, -1, "attribute %s has %lld entries, expected 1 or one for each of %lld features", name,
                            (long long)*n, (long long)width);
    return GOPT_OK;
}

static gopt_status eval_scaler(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const int64_t width = features(x);
    const float *offset = NULL, *scale = NULL;
    int64_t n_offset, n_scale;
    gopt_tensor *y;
    GI_TRY(factors(a, Scaler_at_offset, "offset", width, &offset, &n_offset));
    GI_TRY(factors(a, Scaler_at_scale, "scale", width, &scale, &n_scale));
    GI_TRY(gi_eval_out(a, 0, GOPT_F32, x->rank, x->dims, &y));
    for (int64_t i = 0, n = gopt_tensor_elements(x); y && i < n; i++) {
        const int64_t k = width ? i % width : 0;
        const double o = n_offset ? (double)offset[n_offset == 1 ? 0 : k] : 0;
        const double s = n_scale ? (double)scale[n_scale == 1 ? 0 : k] : 1;
        ((float *)y->data)[i] = (float)((gi_tensor_f64(x, i) - o) * s);
    }
    return GOPT_OK;
}

static gopt_status infer_scaler(gi_infer *c)
{
    return infer_float(c);
}

#include "ops/rows.h"

#include "ir/ops/ml.def"
