/* Inputs and outputs as JSON, for what NumPy's files are awkward for or cannot hold: strings, missing values, maps.
 *
 *   ["Zurich", "Paris"]          string[2]          [[1, 2], [null, 4]]      f32[2,2], null is NaN
 *   {"age": 31, "fare": 7.25}    a map              [{"no": 0.9}, …]         a sequence of maps
 *
 * Keys of a map to integers are written in quotes, since JSON knows no others. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* ---- reading ---- */

typedef struct reader {
    tool *t;
    const char *path;
    gopt_tensor *x;
    int64_t at; /* elements read */
} reader;

/* The shape of nested lists, as the first of each has it. */
static int shape_of(const json_t *j, int64_t *dims, const json_t **leaf)
{
    int rank = 0;
    while (json_is_array(j) && rank < GOPT_MAX_RANK) {
        dims[rank++] = (int64_t)json_array_size(j);
        j = json_array_get(j, 0);
    }
    *leaf = j;
    return json_is_array(j) ? -1 : rank;
}

static gopt_status read_element(reader *r, const json_t *j)
{
    gopt_tensor *x = r->x;
    const bool text = x->dtype == GOPT_STRING;
    if (text ? !json_is_string(j) : !(json_is_number(j) || json_is_boolean(j) || json_is_null(j)))
        return tool_fail(r->t, GOPT_BAD_INPUT, r->path, NULL, "element %lld is no %s", (long long)r->at,
                         text ? "string" : "number");
    if (text)
        return gopt_tensor_set_string(x, r->at++, json_string_value(j), json_string_length(j));
    if (json_is_integer(j))
        gopt_tensor_set_i64(x, r->at++, (int64_t)json_integer_value(j));
    else
        gopt_tensor_set_f64(x, r->at++,
                            json_is_null(j)   ? (double)NAN
                            : json_is_real(j) ? json_real_value(j)
                                              : json_is_true(j));
    return GOPT_OK;
}

/* Recursive as deep as the rank. */
static gopt_status read_list(reader *r, const json_t *j, int axis)
{
    if (axis == r->x->rank)
        return read_element(r, j);
    if (!json_is_array(j) || (int64_t)json_array_size(j) != r->x->dims[axis])
        return tool_fail(r->t, GOPT_BAD_INPUT, r->path, NULL,
                         "its lists are not all as long as the first: expected %lld items along axis %d",
                         (long long)r->x->dims[axis], axis);
    for (size_t i = 0; i < json_array_size(j); i++)
        TRY(read_list(r, json_array_get(j, i), axis + 1));
    return GOPT_OK;
}

static gopt_status read_tensor(tool *t, const char *path, const json_t *j, gopt_dtype dtype, gopt_tensor **out)
{
    int64_t dims[GOPT_MAX_RANK];
    const json_t *leaf;
    const int rank = shape_of(j, dims, &leaf);
    if (rank < 0)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "its lists nest deeper than %d", GOPT_MAX_RANK);
    if (dtype == GOPT_UNDEFINED)
        dtype = json_is_string(leaf) ? GOPT_STRING : GOPT_F32;
    TRY(gopt_tensor_create(t->cx, dtype, rank, dims, out));
    reader r = { .t = t, .path = path, .x = *out };
    const gopt_status s = read_list(&r, j, 0);
    if (s != GOPT_OK) {
        gopt_tensor_unref(*out);
        *out = NULL;
    }
    return s;
}

static gopt_status read_key(reader *r, const char *key)
{
    if (r->x->dtype == GOPT_STRING)
        return gopt_tensor_set_string(r->x, r->at++, key, strlen(key));
    char *end;
    errno = 0;
    const long long v = strtoll(key, &end, 10);
    if (end == key || *end || errno)
        return tool_fail(r->t, GOPT_BAD_INPUT, r->path, NULL, "the key '%.60s' is no integer", key);
    gopt_tensor_set_i64(r->x, r->at++, v);
    return GOPT_OK;
}

/* `key` and `value` are the types that the model wants. */
static gopt_status read_map(tool *t, const char *path, json_t *j, gopt_dtype key, gopt_dtype value, gopt_tensor **out)
{
    const int64_t n = (int64_t)json_object_size(j);
    const char *name;
    json_t *item;
    gopt_tensor *keys, *values;
    TRY(gopt_tensor_create(t->cx, key, 1, &n, &keys));
    gopt_status s = gopt_tensor_create(t->cx, value, 1, &n, &values);
    if (s != GOPT_OK) {
        gopt_tensor_unref(keys);
        return s;
    }
    s = gopt_map_create(t->cx, keys, values, out); /* takes both over */
    TRY(s);
    reader rk = { .t = t, .path = path, .x = keys }, rv = { .t = t, .path = path, .x = values };
    json_object_foreach(j, name, item)
    {
        if (s == GOPT_OK)
            s = read_key(&rk, name);
        if (s == GOPT_OK)
            s = read_element(&rv, item);
    }
    if (s != GOPT_OK) {
        gopt_tensor_unref(*out);
        *out = NULL;
    }
    return s;
}

/* The types of a map, from its text: map(i64,f32[]). */
static bool map_types(const char *type, gopt_dtype *key, gopt_dtype *value)
{
    char k[16], v[16];
    if (sscanf(type, "map(%15[a-z0-9],%15[a-z0-9][", k, v) != 2)
        return false;
    *key = gopt_dtype_parse(k);
    *value = gopt_dtype_parse(v);
    return *key && *value;
}

gopt_status json_load_input(tool *t, const char *path, const uint8_t *p, size_t n, const gopt_value *v,
                            const char *type, gopt_tensor **out)
{
    json_error_t error;
    json_t *j = json_loadb((const char *)p, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!j)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is no JSON: line %d: %s", error.line, error.text);
    gopt_dtype key, value;
    gopt_status s;
    const gopt_kind kind = gopt_value_kind(v);
    if (kind == GOPT_TENSOR && !json_is_object(j))
        s = read_tensor(t, path, j, gopt_value_dtype(v), out);
    else if (kind == GOPT_MAP && json_is_object(j) && map_types(type, &key, &value))
        s = read_map(t, path, j, key, value, out);
    else
        s = tool_fail(t, GOPT_BAD_INPUT, path, "lists are for tensors, an object is for a map",
                      "holds %s, the input is %s", json_is_object(j) ? "an object" : "a list or a value", type);
    json_decref(j);
    return s;
}

/* ---- writing ---- */

static json_t *element(const gopt_tensor *x, int64_t i)
{
    if (x->dtype == GOPT_STRING) {
        const gopt_string *s = (const gopt_string *)x->data + i;
        json_t *j = json_stringn(s->p ? s->p : "", s->n);
        return j ? j : json_text(s->p);
    }
    const double v = gopt_tensor_get_f64(x, i);
    if (x->dtype == GOPT_F32 || x->dtype == GOPT_F64 || x->dtype == GOPT_F16 || x->dtype == GOPT_BF16)
        return isfinite(v) ? json_real(v) : json_null();
    return json_integer((json_int_t)gopt_tensor_get_i64(x, i));
}

static json_t *map_object(const gopt_tensor *m)
{
    const gopt_tensor *keys = m->items[0], *values = m->items[1];
    json_t *o = json_object();
    for (int64_t i = 0, n = gopt_tensor_elements(keys); o && i < n; i++) {
        const gopt_string *k = keys->dtype == GOPT_STRING ? (const gopt_string *)keys->data + i : NULL;
        char *key = k ? text_of("%.*s", (int)(k->n < 4096 ? k->n : 4096), k->p ? k->p : "")
                      : text_of("%lld", (long long)gopt_tensor_get_i64(keys, i));
        if (!key || json_object_set_new(o, key, element(values, i))) { /* no memory, or no UTF-8 */
            json_decref(o);
            o = NULL;
        }
        free(key);
    }
    return o;
}

gopt_status json_save_maps(tool *t, const char *path, const gopt_tensor *x)
{
    if (x->kind == GOPT_MAP)
        return tool_write_json(t, path, map_object(x));
    json_t *list = json_array();
    for (size_t i = 0; list && i < x->n_items; i++)
        json_array_append_new(list, map_object(x->items[i]));
    return tool_write_json(t, path, list);
}
