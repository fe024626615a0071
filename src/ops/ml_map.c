/* ai.onnx.ml: encoders of labels and categories, and the operators on maps. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/ml.h"

/* ---- LabelEncoder and CategoryMapper ---- */

static const gi_ml_list encoder_keys = { LabelEncoder_at_keys_int64s, LabelEncoder_at_keys_floats,
                                         LabelEncoder_at_keys_strings, LabelEncoder_at_keys_tensor };
static const gi_ml_list encoder_values = { LabelEncoder_at_values_int64s, LabelEncoder_at_values_floats,
                                           LabelEncoder_at_values_strings, LabelEncoder_at_values_tensor };
static const gi_ml_list encoder_classes = { -1, -1, LabelEncoder_at_classes_strings, -1 };
static const gi_ml_list mapper_ints = { CategoryMapper_at_cats_int64s, -1, -1, -1 };
static const gi_ml_list mapper_strings = { -1, -1, CategoryMapper_at_cats_strings, -1 };

/* What the values' type has for keys that are none: a tensor of one element, borrowed. */
typedef struct fallback {
    int64_t i;
    float f;
    gopt_string s;
    double number; /* of another type, made from i or f */
    gopt_tensor t;
} fallback;

static void fall_back(const gi_node *n, gopt_dtype type, int at_int, int at_float, int at_str, fallback *d)
{
    const char *s = gi_attr_str(n, at_str);
    *d = (fallback){ .i = gi_attr_int(n, at_int), .f = at_float < 0 ? 0 : gi_attr_float(n, at_float) };
    d->s = (gopt_string){ .p = s ? s : "", .n = s ? strlen(s) : 0 };
    d->t = (gopt_tensor){ .dtype = type, .rank = 1, .dims = { 1 }, .refs = 1, .data = &d->number };
    if (type == GOPT_STRING)
        d->t.data = &d->s;
    else if (gi_dtype_is_float(type))
        gi_store_f64(type, &d->number, 0, (double)d->f);
    else
        gi_store_i64(type, &d->number, 0, d->i);
}

static void copy_element(gopt_tensor *y, int64_t i, const gopt_tensor *from, int64_t k)
{
    const size_t item = y->dtype == GOPT_STRING ? sizeof(gopt_string) : gi_item_size(y->dtype);
    memcpy((uint8_t *)y->data + (size_t)i * item, (const uint8_t *)from->data + (size_t)k * item, item);
}

/* y[i] = values[where x[i] stands in keys], else the fallback. */
static gopt_status look_up(gi_eval *a, const gopt_tensor *keys, const gopt_tensor *values, const gopt_tensor *other)
{
    const gopt_tensor *x = a->in[0];
    gi_ml_dict d;
    gopt_tensor *y;
    if (keys->dims[0] != values->dims[0])
        return gi_eval_fail(a, -1, "it has %lld keys and %lld values", (long long)keys->dims[0],
                            (long long)values->dims[0]);
    if (keys->dtype != x->dtype)
        return gi_eval_fail(a, 0, "its elements are %s, the keys %s", gopt_dtype_name(x->dtype),
                            gopt_dtype_name(keys->dtype));
    if (values->dtype != GOPT_STRING && !gi_item_size(values->dtype))
        return gi_eval_fail(a, -1, "its values are %s, which none may be", gopt_dtype_name(values->dtype));
    GI_TRY(gi_ml_dict_make(a, keys, &d));
    GI_TRY(gi_eval_out(a, 0, values->dtype, x->rank, x->dims, &y));
    for (int64_t i = 0, n = gopt_tensor_elements(x); y && i < n; i++) {
        const int64_t at = gi_ml_dict_get(&d, x, i);
        copy_element(y, i, at < 0 ? other : values, at < 0 ? 0 : at);
    }
    return GOPT_OK;
}

/* classes_strings, of the operator's first version: the keys or the values are 0, 1, 2, …. */
static gopt_status count_up(gi_eval *a, int64_t n, gopt_tensor *t)
{
    int64_t *v = gi_eval_scratch(a, (size_t)n + 1, sizeof *v);
    GI_NEED(v);
    for (int64_t i = 0; i < n; i++)
        v[i] = i;
    *t = (gopt_tensor){ .dtype = GOPT_I64, .rank = 1, .dims = { n }, .data = v, .refs = 1 };
    return GOPT_OK;
}

static gopt_status eval_label_encoder(gi_eval *a)
{
    gopt_tensor keys, values, other;
    fallback d;
    if (gi_ml_list_type(a->n, &encoder_classes)) {
        const bool text = a->in[0]->dtype == GOPT_STRING;
        GI_TRY(gi_ml_list_get(a, &encoder_classes, text ? &keys : &values));
        GI_TRY(count_up(a, text ? keys.dims[0] : values.dims[0], text ? &values : &keys));
    } else {
        GI_TRY(gi_ml_list_get(a, &encoder_keys, &keys));
        GI_TRY(gi_ml_list_get(a, &encoder_values, &values));
        if (!keys.dtype || !values.dtype)
            return gi_eval_fail(a, -1, "it has no %s: none of the attributes %s_… is given",
                                keys.dtype ? "values" : "keys", keys.dtype ? "values" : "keys");
    }
    fall_back(a->n, values.dtype, LabelEncoder_at_default_int64, LabelEncoder_at_default_float,
              LabelEncoder_at_default_string, &d);
    const gi_blob *given = gi_attr_tensor(a->n, LabelEncoder_at_default_tensor);
    if (given) {
        gi_tensor_of_blob(given, &other);
        if (other.dtype != values.dtype || gopt_tensor_elements(&other) < 1)
            return gi_eval_fail(a, -1, "attribute default_tensor is %s, expected one %s", gopt_dtype_name(other.dtype),
                                gopt_dtype_name(values.dtype));
    }
    return look_up(a, &keys, &values, given ? &other : &d.t);
}

static gopt_status infer_label_encoder(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const gopt_dtype x = gi_infer_dtype(c, 0);
    gopt_dtype out = gi_ml_list_type(c->n, &encoder_values);
    if (gi_ml_list_type(c->n, &encoder_classes))
        out = x == GOPT_STRING ? GOPT_I64 : x ? GOPT_STRING : GOPT_UNDEFINED;
    else if (!out || !gi_ml_list_type(c->n, &encoder_keys))
        return gi_infer_fail_node(c, "expected one of the attributes keys_… and one of values_…");
    else if (x && x != gi_ml_list_type(c->n, &encoder_keys))
        return gi_infer_fail(c, 0, "expected %s, as the keys are",
                             gopt_dtype_name(gi_ml_list_type(c->n, &encoder_keys)));
    gi_infer_set(c, 0, out, t ? t->rank : -1, t ? t->dims : NULL);
    return GOPT_OK;
}

static gopt_status eval_category(gi_eval *a)
{
    const bool text = a->in[0]->dtype == GOPT_STRING;
    gopt_tensor ints, strings;
    fallback d;
    GI_TRY(gi_ml_list_get(a, &mapper_ints, &ints));
    GI_TRY(gi_ml_list_get(a, &mapper_strings, &strings));
    if (!ints.dtype || !strings.dtype)
        return gi_eval_fail(a, -1, "expected the attributes cats_int64s and cats_strings");
    fall_back(a->n, text ? GOPT_I64 : GOPT_STRING, CategoryMapper_at_default_int64, -1,
              CategoryMapper_at_default_string, &d);
    return look_up(a, text ? &strings : &ints, text ? &ints : &strings, &d.t);
}

static gopt_status infer_category(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const gopt_dtype x = gi_infer_dtype(c, 0);
    if (x != GOPT_UNDEFINED && x != GOPT_STRING && x != GOPT_I64)
        return gi_infer_fail(c, 0, "expected string or i64");
    gi_infer_set(c, 0,
                 x == GOPT_STRING ? GOPT_I64
                 : x              ? GOPT_STRING
                                  : GOPT_UNDEFINED,
                 t ? t->rank : -1, t ? t->dims : NULL);
    return GOPT_OK;
}

/* ---- maps ---- */

/* The keys and values of input 0. */
static gopt_status map_in(gi_eval *a, const gopt_tensor **keys, const gopt_tensor **values)
{
    const gopt_tensor *m = a->in[0];
    if (m->kind != GOPT_MAP || m->n_items != 2)
        return gi_eval_fail(a, 0, "expected a map");
    *keys = m->items[0];
    *values = m->items[1];
    for (int i = 0; i < 2; i++)
        if (m->items[i]->kind != GOPT_TENSOR || m->items[i]->rank != 1 || m->items[i]->dims[0] != (*keys)->dims[0])
            return gi_eval_fail(a, 0, "the map is no list of keys and as many values");
    return GOPT_OK;
}

/* A type that inference knows to be no map. */
static gopt_status check_map(gi_infer *c, const gi_type **out)
{
    *out = gi_infer_type(c, 0);
    return *out && (*out)->kind != GOPT_MAP ? gi_infer_fail(c, 0, "expected a map") : GOPT_OK;
}

typedef struct place {
    int64_t key, at;
} place;

static int by_key(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* One value of a map as the type asked for. */
static gopt_status cast_value(gi_eval *a, const gopt_tensor *from, int64_t k, gopt_tensor *y, int64_t i)
{
    const gopt_string *text = from->dtype == GOPT_STRING ? (const gopt_string *)from->data + k : NULL;
    double x = text ? 0 : gi_tensor_f64(from, k);
    if (text && y->dtype == GOPT_STRING) {
        ((gopt_string *)y->data)[i] = *text;
        return GOPT_OK;
    }
    if (y->dtype == GOPT_STRING) {
        char *p = gi_arena_printf(a->scratch, "%f", x);
        GI_NEED(p);
        ((gopt_string *)y->data)[i] = (gopt_string){ .p = p, .n = strlen(p) };
        return GOPT_OK;
    }
    if (text) {
        char *p = gi_arena_strn(a->scratch, text->p, text->n), *end = p;
        GI_NEED(p);
        x = strtod(p, &end);
        if (end == p || *end)
            return gi_eval_fail(a, 0, "the value '%.40s' is no number", p);
    }
    if (y->dtype == GOPT_F32)
        ((float *)y->data)[i] = (float)x;
    else
        gi_store_i64(GOPT_I64, y->data, (size_t)i, gi_ml_whole(x));
    return GOPT_OK;
}

static bool cast_to(const gi_node *n, gopt_dtype *t)
{
    static const struct {
        const char *name;
        gopt_dtype type;
    } types[] = { { "TO_FLOAT", GOPT_F32 }, { "TO_STRING", GOPT_STRING }, { "TO_INT64", GOPT_I64 } };
    for (size_t i = 0; i < GI_COUNT(types); i++)
        if (gi_attr_is(n, CastMap_at_cast_to, types[i].name)) {
            *t = types[i].type;
            return true;
        }
    return false;
}

static gopt_status eval_cast_map(gi_eval *a)
{
    const gopt_tensor *keys, *values;
    gopt_dtype to;
    gopt_tensor *y;
    GI_TRY(map_in(a, &keys, &values));
    if (keys->dtype != GOPT_I64)
        return gi_eval_fail(a, 0, "its keys are %s, expected i64", gopt_dtype_name(keys->dtype));
    const bool sparse = gi_attr_is(a->n, CastMap_at_map_form, "SPARSE");
    if (!cast_to(a->n, &to) || (!sparse && !gi_attr_is(a->n, CastMap_at_map_form, "DENSE")))
        return gi_eval_fail(a, -1, "attribute cast_to or map_form is of no value that the operator knows");
    const int64_t n = keys->dims[0], width = sparse ? gi_attr_int(a->n, CastMap_at_max_map) : n;
    place *order = gi_eval_scratch(a, (size_t)n + 1, sizeof *order);
    GI_NEED(order);
    for (int64_t i = 0; i < n; i++) {
        order[i] = (place){ gi_tensor_i64(keys, i), i };
        if (sparse && (order[i].key < 0 || order[i].key >= width))
            return gi_eval_fail(a, 0, "a key is %lld, attribute max_map %lld", (long long)order[i].key,
                                (long long)width);
    }
    qsort(order, (size_t)n, sizeof *order, by_key);
    if (width < 0)
        return gi_eval_fail(a, -1, "attribute max_map is %lld", (long long)width);
    GI_TRY(gi_eval_out(a, 0, to, 2, (const int64_t[]){ 1, width }, &y));
    if (!y)
        return GOPT_OK;
    if (y->bytes)
        memset(y->data, 0, y->bytes);
    for (int64_t i = 0; i < width && to == GOPT_STRING; i++) /* what ONNX Runtime puts where there is no key */
        ((gopt_string *)y->data)[i] = (gopt_string){ .p = "0.f", .n = 3 };
    for (int64_t i = 0; i < n; i++)
        GI_TRY(cast_value(a, values, order[i].at, y, sparse ? order[i].key : i));
    return GOPT_OK;
}

static gopt_status infer_cast_map(gi_infer *c)
{
    const gi_type *t;
    gopt_dtype to;
    GI_TRY(check_map(c, &t));
    if (!cast_to(c->n, &to))
        return gi_infer_fail_node(c, "attribute cast_to is '%.40s', expected TO_FLOAT, TO_STRING or TO_INT64",
                                  gi_attr_str(c->n, CastMap_at_cast_to));
    const int64_t width = gi_attr_int(c->n, CastMap_at_max_map);
    const gi_dim *dims[2];
    dims[0] = gi_dim_const(c->g->dims, 1);
    dims[1] = gi_attr_is(c->n, CastMap_at_map_form, "SPARSE") ? gi_dim_const(c->g->dims, width < 0 ? 0 : width)
                                                              : gi_dim_unknown(c->g->dims, true);
    gi_infer_set(c, 0, to, 2, dims);
    return GOPT_OK;
}

static const gi_ml_list vocabulary = { DictVectorizer_at_int64_vocabulary, -1, DictVectorizer_at_string_vocabulary,
                                       -1 };

static gopt_status eval_dict(gi_eval *a)
{
    const gopt_tensor *keys, *values;
    gopt_tensor words, *y;
    gi_ml_dict d;
    GI_TRY(map_in(a, &keys, &values));
    GI_TRY(gi_ml_list_get(a, &vocabulary, &words));
    if (words.dtype != keys->dtype)
        return gi_eval_fail(a, 0, "its keys are %s, the vocabulary %s", gopt_dtype_name(keys->dtype),
                            words.dtype ? gopt_dtype_name(words.dtype) : "is missing");
    if (values->dtype != GOPT_STRING && !gi_item_size(values->dtype))
        return gi_eval_fail(a, 0, "its values are %s", gopt_dtype_name(values->dtype));
    GI_TRY(gi_ml_dict_make(a, &words, &d));
    GI_TRY(gi_eval_out(a, 0, values->dtype, 2, (const int64_t[]){ 1, words.dims[0] }, &y));
    if (!y)
        return GOPT_OK;
    if (y->bytes)
        memset(y->data, 0, y->bytes);
    for (int64_t i = 0; i < keys->dims[0]; i++) {
        const int64_t at = gi_ml_dict_get(&d, keys, i);
        if (at >= 0) /* what the vocabulary lacks has no column */
            copy_element(y, at, values, i);
    }
    return GOPT_OK;
}

static gopt_status infer_dict(gi_infer *c)
{
    const gi_type *t;
    const int64_t *ints;
    const char *const *strings;
    GI_TRY(check_map(c, &t));
    const gopt_dtype key = gi_ml_list_type(c->n, &vocabulary);
    const uint32_t n = key == GOPT_STRING ? gi_attr_strings(c->n, vocabulary.strings, &strings)
                                          : gi_attr_ints(c->n, vocabulary.ints, &ints);
    if (!n)
        return gi_infer_fail_node(c, "expected the attribute int64_vocabulary or string_vocabulary");
    if (t && t->key && t->key != key)
        return gi_infer_fail(c, 0, "expected keys of %s, as the vocabulary has", gopt_dtype_name(key));
    const gi_dim *dims[2] = { gi_dim_const(c->g->dims, 1), gi_dim_const(c->g->dims, n) };
    gi_infer_set(c, 0, t && t->elem ? t->elem->dtype : GOPT_UNDEFINED, 2, dims);
    return GOPT_OK;
}

/* ---- ZipMap ---- */

static const gi_ml_list zip_labels = { ZipMap_at_classlabels_int64s, -1, ZipMap_at_classlabels_strings, -1 };

static gopt_status keys_of(gi_eval *a, int64_t width, gopt_tensor **out)
{
    gopt_tensor labels;
    GI_TRY(gi_ml_list_get(a, &zip_labels, &labels));
    if (labels.dtype == GOPT_UNDEFINED || labels.dims[0] != width)
        return gi_eval_fail(a, 0, "it has %lld columns, expected one for each of %lld labels", (long long)width,
                            (long long)(labels.dtype ? labels.dims[0] : 0));
    GI_TRY(gopt_tensor_create(a->cx, labels.dtype, 1, &width, out));
    if ((*out)->bytes)
        memcpy((*out)->data, labels.data, (*out)->bytes);
    return labels.dtype == GOPT_STRING ? gi_tensor_own_strings(a->cx, *out) : GOPT_OK;
}

static gopt_status add_map(gi_eval *a, gopt_tensor *s, gopt_tensor *keys, const gopt_tensor *x, int64_t r)
{
    const int64_t width = keys->dims[0];
    gopt_tensor *m, *v;
    GI_TRY(gi_tensor_container(a->cx, GOPT_MAP, 2, &m));
    s->items[s->n_items++] = m;
    m->items[m->n_items++] = gopt_tensor_ref(keys); /* all rows share them */
    GI_TRY(gopt_tensor_create(a->cx, GOPT_F32, 1, &width, &v));
    m->items[m->n_items++] = v;
    for (int64_t i = 0; i < width; i++)
        ((float *)v->data)[i] = (float)gi_tensor_f64(x, r * width + i);
    return GOPT_OK;
}

static gopt_status eval_zip_map(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    int64_t rows, width;
    gopt_tensor *s, *keys = NULL;
    GI_TRY(gi_ml_rows(a, x, &rows, &width));
    GI_TRY(gi_tensor_container(a->cx, GOPT_SEQUENCE, (size_t)rows, &s));
    gopt_status st = keys_of(a, width, &keys);
    for (int64_t r = 0; r < rows && st == GOPT_OK; r++)
        st = add_map(a, s, keys, x, r);
    gopt_tensor_unref(keys);
    if (st == GOPT_OK)
        return gi_eval_out_tensor(a, 0, s);
    gopt_tensor_unref(s);
    return st;
}

static gopt_status infer_zip_map(gi_infer *c)
{
    const gopt_dtype key = gi_ml_list_type(c->n, &zip_labels);
    const int rank = gi_infer_rank(c, 0);
    if (!key)
        return gi_infer_fail_node(c, "expected the attribute classlabels_int64s or classlabels_strings");
    if (rank == 0 || rank > 2)
        return gi_infer_fail(c, 0, "expected rank 2 (rows of scores)");
    const gi_type *t = gi_type_tensor(c->g->types, GOPT_F32, 0, NULL);
    t = t ? gi_type_map(c->g->types, key, t) : NULL;
    t = t ? gi_type_of(c->g->types, GOPT_SEQUENCE, t) : NULL;
    c->no_memory |= !t;
    gi_infer_set_type(c, 0, t);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/ml_map.def"
