/* Binding a node's inputs to a schema, and reading them as what the schema says they are.
 *
 * Exporters write lists as 1-d constants or as sequences, leave out what is None by an empty name or by a constant
 * without a type, and record an overload that the arguments need not fit: so the overload that they do fit is looked
 * for, the recorded one first. */
#include "aten/aten.h"
#include "ir/dtype.h"

#include <stdlib.h>

/* ---- what an input is ---- */

static bool is_prim(const gi_node *n, const char *name)
{
    return n && n->op == OP_Unknown && n->domain && !strcmp(n->domain, "prim") && n->op_name &&
           !strcmp(n->op_name, name);
}

gi_node *gi_aten_list_node(const gi_value *v)
{
    gi_node *n = gi_value_node(v);
    return n && (n->op == OP_SequenceConstruct || n->op == OP_SequenceEmpty || is_prim(n, "ListConstruct")) ? n : NULL;
}

bool gi_aten_is_prim_constant(const gi_node *n)
{
    return is_prim(n, "Constant") && !n->n_in;
}

/* The text of such a constant; NULL where it is none. */
static const char *prim_text(const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    const gi_attr *a = n && gi_aten_is_prim_constant(n) ? gi_attr_find(n, "value") : NULL;
    return a && a->kind == GI_ATTR_STRING ? a->u.s : NULL;
}

static bool is_list(const gi_value *v)
{
    return gi_aten_list_node(v) || (v->type && v->type->kind == GOPT_SEQUENCE);
}

/* A constant whose type was lost says no more than that something stood there; None says that nothing did. */
static bool is_lost(const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    const gi_node *n = gi_value_node(v);
    return b ? b->dtype == GOPT_UNDEFINED : n && gi_aten_is_prim_constant(n) && !prim_text(v);
}

static int rank_of(const gi_value *v)
{
    return v->type && v->type->kind == GOPT_TENSOR ? v->type->rank : -1;
}

static gopt_dtype dtype_of(const gi_value *v)
{
    return v->type && v->type->kind == GOPT_TENSOR ? v->type->dtype : GOPT_UNDEFINED;
}

static bool is_number(const gi_value *v)
{
    const int rank = rank_of(v);
    const gi_dclass c = gi_dtype_class(dtype_of(v));
    return !is_list(v) && !prim_text(v) && c != GI_TEXT &&
           (rank <= 0 || (rank == 1 && v->type && gi_dim_is(v->type->dims[0], 1)));
}

/* An empty list has no type to speak of: exporters write f32. */
static bool is_whole(const gi_value *v)
{
    const gi_dclass c = gi_dtype_class(dtype_of(v));
    const gi_blob *b = gi_value_blob(v);
    return (b && b->rank == 1 && !gi_blob_elements(b)) || c == GI_SINT || c == GI_UINT || c == GI_BOOLEAN ||
           c == GI_NONE;
}

/* May an input that is given stand for the parameter? */
static bool fits(const gi_aten_param *p, const gi_value *v)
{
    if (is_lost(v))
        return p->kind == GI_ATEN_STR || p->kind == GI_ATEN_OTHER || p->optional || p->given;
    switch (p->kind) {
    case GI_ATEN_TENSOR:
        return !is_list(v) && gi_dtype_class(dtype_of(v)) != GI_TEXT;
    case GI_ATEN_TENSORS:
        return is_list(v);
    case GI_ATEN_INT:
    case GI_ATEN_DTYPE:
    case GI_ATEN_BOOL:
        return is_number(v) && is_whole(v);
    case GI_ATEN_FLOAT:
    case GI_ATEN_SCALAR:
        return is_number(v);
    case GI_ATEN_INTS:
    case GI_ATEN_BOOLS:
        return is_list(v) || (rank_of(v) <= 1 && (is_whole(v) || !gi_value_blob(v)));
    case GI_ATEN_FLOATS:
        return is_list(v) || rank_of(v) <= 1;
    case GI_ATEN_STR:
        return gi_dtype_class(dtype_of(v)) == GI_TEXT;
    case GI_ATEN_OTHER:
        return true;
    }
    return false;
}

/* How well: a Tensor parameter takes a constant number too, a Scalar one fits better; a bool is more likely to be one. */
static int fitness(const gi_aten_schema *s, const gi_node *n)
{
    if (n->n_in > s->n_params)
        return -1;
    int score = n->n_in == s->n_params ? 4 : 0; /* exporters write all arguments, None too */
    for (uint32_t i = 0; i < s->n_params; i++) {
        const gi_aten_param *p = &s->params[i];
        const gi_value *v = gi_node_in(n, i);
        if (!v && !p->optional && !p->given && p->kind != GI_ATEN_OTHER)
            return -1;
        if (!v)
            continue;
        if (!fits(p, v))
            return -1;
        const bool number = gi_value_blob(v) && rank_of(v) == 0, list = gi_value_blob(v) && rank_of(v) == 1;
        const bool truth = number && gi_dtype_class(dtype_of(v)) == GI_BOOLEAN;
        score += 2 * ((number || list) == (p->kind != GI_ATEN_TENSOR)) + (truth == (p->kind == GI_ATEN_BOOL)) -
                 (number && p->kind == GI_ATEN_OTHER);
    }
    return score;
}

/* "(f32[2,3], 1-d list, None)": what the node has, for whoever must see why nothing fits. */
static const char *inputs_text(const gi_aten *a)
{
    gi_str s;
    gi_str_init(&s, a->scratch);
    for (uint32_t i = 0; i < a->n->n_in; i++) {
        const gi_value *v = gi_node_in(a->n, i);
        gi_str_add(&s, i ? ", " : "");
        if (!v)
            gi_str_add(&s, "None");
        else if (gi_aten_list_node(v))
            gi_str_addf(&s, "list of %u", gi_aten_list_node(v)->n_in);
        else
            gi_type_print(&s, v->type);
    }
    return s.p ? s.p : "";
}

bool gi_aten_bind(gi_aten *a, const char *overload)
{
    gi_aten_schema *all = GI_NEW_ARRAY(a->scratch, gi_aten_schema, GI_ATEN_MAX_OVERLOADS);
    uint32_t n = 0;
    if (!all)
        return false;
    if (!gi_aten_read_schemas(a->scratch, a->row->schema, GI_ATEN_MAX_OVERLOADS, all, &n))
        return gi_aten_decline(a, "its schema does not read: %s", a->row->schema);
    int best = -1;
    for (uint32_t i = 0; i < n; i++) {
        int f = fitness(&all[i], a->n);
        if (f >= 0 && *overload && !strcmp(all[i].overload, overload))
            f += 1000; /* the one recorded, where it fits */
        if (f > best) {
            best = f;
            a->schema = &all[i];
        }
    }
    if (best < 0)
        return gi_aten_decline(a, "its arguments (%s) fit no overload of %s", inputs_text(a), a->row->schema);
    for (uint32_t i = 0; i < a->n->n_in; i++) {
        gi_value *v = gi_node_in(a->n, i);
        a->args[i] = v && !is_lost(v) ? v : NULL;
    }
    return true;
}

/* ---- reading them ---- */

typedef struct arg {
    const gi_aten_param *param; /* NULL: the overload has none of that name */
    gi_value *value;            /* NULL: absent */
    const char *given;          /* the default where it is absent; NULL where none */
} arg;

static arg find(const gi_aten *a, const char *name)
{
    for (uint32_t i = 0; i < a->schema->n_params; i++) {
        const gi_aten_param *p = &a->schema->params[i];
        if (!strcmp(p->name, name)) {
            const bool none = !p->given || !strcmp(p->given, "None");
            return (arg){ p, a->args[i], none ? NULL : p->given };
        }
    }
    return (arg){ 0 };
}

bool gi_aten_has(const gi_aten *a, const char *name)
{
    const arg x = find(a, name);
    return x.value || x.given;
}

gi_value *gi_aten_tensor(const gi_aten *a, const char *name)
{
    return find(a, name).value;
}

bool gi_aten_tensors(gi_aten *a, const char *name, uint32_t *n, gi_value ***list)
{
    const arg x = find(a, name);
    gi_node *made = x.value ? gi_aten_list_node(x.value) : NULL;
    *n = 0;
    *list = NULL;
    if (!x.value)
        return true;
    if (!made)
        return gi_aten_decline(a, "the list %s is not made of tensors that are known here", name);
    *list = GI_NEW_ARRAY(a->scratch, gi_value *, made->n_in + 1);
    if (!*list)
        return false;
    *n = made->n_in;
    for (uint32_t i = 0; i < made->n_in; i++)
        (*list)[i] = gi_node_in(made, i);
    return true;
}

/* The numbers of a constant, or of contents that are known. *v is NULL where they are not. */
static bool whole_numbers(gi_aten *a, gi_value *value, uint32_t *n, int64_t **v)
{
    const gi_blob *b = gi_value_blob(value);
    uint32_t known_n = 0;
    const gi_dim *const *known = b ? NULL : gi_value_known(value, &known_n);
    const int64_t count = b ? gi_blob_elements(b) : known_n;
    *v = NULL;
    if ((!b && !known) || count > UINT16_MAX || (b && !is_whole(value)))
        return true;
    int64_t *to = GI_NEW_ARRAY(a->scratch, int64_t, count + 1);
    if (!to)
        return false;
    for (int64_t i = 0; i < count; i++)
        if (b)
            to[i] = gi_load_i64(b->dtype, b->data, (size_t)i);
        else if (!gi_dim_is_const(known[i], &to[i]))
            return true;
    *n = (uint32_t)count;
    *v = to;
    return true;
}

static bool computed(gi_aten *a, const char *name)
{
    return gi_aten_decline(a, "its argument %s is computed while the network runs", name);
}

bool gi_aten_int(gi_aten *a, const char *name, int64_t *v)
{
    const arg x = find(a, name);
    *v = x.given ? strtoll(x.given, NULL, 10) : 0;
    if (x.given && (!strcmp(x.given, "True") || !strcmp(x.given, "Mean")))
        *v = 1;
    if (!x.value)
        return true;
    uint32_t n;
    int64_t *numbers;
    if (!whole_numbers(a, x.value, &n, &numbers))
        return false;
    if (!numbers || n != 1)
        return computed(a, name);
    *v = numbers[0];
    return true;
}

bool gi_aten_bool(gi_aten *a, const char *name, bool *v)
{
    int64_t i;
    if (!gi_aten_int(a, name, &i))
        return false;
    *v = i != 0;
    return true;
}

bool gi_aten_float(gi_aten *a, const char *name, double *v)
{
    const arg x = find(a, name);
    *v = x.given ? !strcmp(x.given, "True") ? 1 : strtod(x.given, NULL) : 0;
    if (!x.value)
        return true;
    const gi_blob *b = gi_value_blob(x.value);
    const gi_dclass c = b ? gi_dtype_class(b->dtype) : GI_NONE;
    if (!b || gi_blob_elements(b) != 1 || c == GI_TEXT || c == GI_COMPLEX)
        return computed(a, name);
    *v = gi_load_f64(b->dtype, b->data, 0);
    return true;
}

/* "[0, 1]", or one number, of a default. */
static bool read_list(gi_aten *a, const char *text, uint32_t *n, const int64_t **v)
{
    int64_t *to = GI_NEW_ARRAY(a->scratch, int64_t, 16);
    if (!to)
        return false;
    *n = 0;
    for (const char *p = text + (*text == '['); *p && *p != ']' && *n < 16;) {
        char *end;
        to[*n] = strtoll(p, &end, 10);
        if (end == p)
            break;
        ++*n;
        p = end + strspn(end, ", ");
    }
    *v = to;
    return true;
}

bool gi_aten_ints(gi_aten *a, const char *name, uint32_t *n, const int64_t **v)
{
    const arg x = find(a, name);
    *n = 0;
    *v = NULL;
    if (!x.value)
        return !x.given || read_list(a, x.given, n, v);
    int64_t *numbers;
    gi_node *list = gi_aten_list_node(x.value);
    if (!list) {
        if (!whole_numbers(a, x.value, n, &numbers))
            return false;
        *v = numbers;
        return numbers || computed(a, name);
    }
    int64_t *to = GI_NEW_ARRAY(a->scratch, int64_t, list->n_in + 1);
    if (!to)
        return false;
    for (uint32_t i = 0; i < list->n_in; i++) {
        uint32_t one;
        gi_value *part = gi_node_in(list, i);
        if (!part || !whole_numbers(a, part, &one, &numbers))
            return part ? false : computed(a, name);
        if (!numbers || one != 1)
            return computed(a, name);
        to[i] = numbers[0];
    }
    *n = list->n_in;
    *v = to;
    return true;
}

bool gi_aten_floats(gi_aten *a, const char *name, uint32_t *n, const double **v)
{
    const arg x = find(a, name);
    const gi_blob *b = gi_value_blob(x.value);
    *n = 0;
    *v = NULL;
    if (!x.value)
        return true;
    const gi_dclass c = b ? gi_dtype_class(b->dtype) : GI_NONE;
    if (!b || gi_blob_elements(b) > UINT16_MAX || c == GI_TEXT || c == GI_COMPLEX)
        return computed(a, name);
    double *to = GI_NEW_ARRAY(a->scratch, double, gi_blob_elements(b) + 1);
    if (!to)
        return false;
    for (*n = 0; *n < gi_blob_elements(b); ++*n)
        to[*n] = gi_load_f64(b->dtype, b->data, *n);
    *v = to;
    return true;
}

bool gi_aten_ints_of(gi_aten *a, const char *name, uint32_t n, int64_t *v)
{
    uint32_t have;
    const int64_t *list;
    if (!gi_aten_ints(a, name, &have, &list))
        return false;
    if (have != 1 && have != n)
        return gi_aten_decline(a, "its argument %s has %u numbers, expected %u", name, have, n);
    for (uint32_t i = 0; i < n; i++)
        v[i] = list[have == 1 ? 0 : i];
    return true;
}

bool gi_aten_str(gi_aten *a, const char *name, const char **v)
{
    const arg x = find(a, name);
    *v = NULL;
    if (!x.value) {
        const size_t n = x.given ? strlen(x.given) : 0;
        if (x.given) /* 'none' */
            *v = n >= 2 && x.given[0] == '\'' ? gi_arena_strn(a->scratch, x.given + 1, n - 2) : x.given;
        return !x.given || *v;
    }
    if (prim_text(x.value))
        return (*v = gi_arena_str(a->scratch, prim_text(x.value))) != NULL;
    const gi_blob *b = gi_value_blob(x.value);
    if (!b || b->dtype != GOPT_STRING || gi_blob_elements(b) != 1)
        return computed(a, name);
    const gopt_string *s = b->data;
    *v = gi_arena_strn(a->scratch, s->p, s->n);
    return *v != NULL;
}

/* c10/core/ScalarType.h, by number. */
static const gopt_dtype torch_dtypes[] = {
    GOPT_U8,        GOPT_I8,         GOPT_I16,        GOPT_I32,       GOPT_I64,       GOPT_F16,
    GOPT_F32,       GOPT_F64,        GOPT_UNDEFINED,  GOPT_C64,       GOPT_C128,      GOPT_BOOL,
    GOPT_UNDEFINED, GOPT_UNDEFINED,  GOPT_UNDEFINED,  GOPT_BF16,      GOPT_UNDEFINED, GOPT_UNDEFINED,
    GOPT_UNDEFINED, GOPT_UNDEFINED,  GOPT_UNDEFINED,  GOPT_UNDEFINED, GOPT_UNDEFINED, GOPT_F8E5M2,
    GOPT_F8E4M3FN,  GOPT_F8E5M2FNUZ, GOPT_F8E4M3FNUZ, GOPT_U16,       GOPT_U32,       GOPT_U64,
};

bool gi_aten_dtype(gi_aten *a, const char *name, gopt_dtype *v)
{
    *v = GOPT_UNDEFINED;
    if (!gi_aten_has(a, name))
        return true;
    int64_t i;
    if (!gi_aten_int(a, name, &i))
        return false;
    if (i < 0 || i >= (int64_t)GI_COUNT(torch_dtypes) || torch_dtypes[i] == GOPT_UNDEFINED)
        return gi_aten_decline(a, "its argument %s is %lld, which stands for no type that ONNX has", name,
                               (long long)i);
    *v = torch_dtypes[i];
    return true;
}

static bool axis_in(gi_aten *a, const char *name, int64_t v, int rank, int64_t *axis)
{
    const int64_t r = rank ? rank : 1;
    if (v < -r || v >= r)
        return gi_aten_decline(a, "its argument %s is %lld, beyond a tensor of rank %d", name, (long long)v, rank);
    *axis = v < 0 ? v + r : v;
    return true;
}

bool gi_aten_axis(gi_aten *a, const char *name, int rank, int64_t *axis)
{
    int64_t v;
    return gi_aten_int(a, name, &v) && axis_in(a, name, v, rank, axis);
}

bool gi_aten_axes(gi_aten *a, const char *name, int rank, uint32_t *n, int64_t *axes)
{
    uint32_t have;
    const int64_t *list;
    bool wanted[GOPT_MAX_RANK] = { false };
    if (!gi_aten_ints(a, name, &have, &list))
        return false;
    for (uint32_t i = 0; i < have; i++) {
        int64_t axis = 0;
        if (!axis_in(a, name, list[i], rank, &axis))
            return false;
        wanted[axis] = true;
    }
    *n = 0;
    for (int i = 0; i < rank; i++)
        if (!have || wanted[i])
            axes[(*n)++] = i;
    return true;
}

/* ---- as values ---- */

gi_value *gi_aten_int_value(gi_aten *a, const char *name)
{
    const arg x = find(a, name);
    int64_t v = 0;
    if (!x.value || gi_value_blob(x.value))
        return gi_aten_int(a, name, &v) ? gi_const_i64(a->g, 0, 1, &v) : NULL;
    gi_value *i = gi_aten_cast(a, x.value, GOPT_I64);
    return rank_of(x.value) == 0 ? i : gi_aten_2(a, OP_Reshape, i, gi_aten_list(a, 0, NULL));
}

gi_value *gi_aten_ints_value(gi_aten *a, const char *name)
{
    const arg x = find(a, name);
    const gi_node *list = x.value ? gi_aten_list_node(x.value) : NULL;
    const int64_t one = -1;
    if (!x.value || gi_value_blob(x.value)) {
        uint32_t n;
        const int64_t *v;
        return gi_aten_ints(a, name, &n, &v) ? gi_aten_list(a, n, v) : NULL;
    }
    if (!list) {
        gi_value *i = gi_aten_cast(a, x.value, GOPT_I64);
        return rank_of(x.value) == 1 ? i : gi_aten_reshape(a, i, 1, &one);
    }
    gi_value **parts = GI_NEW_ARRAY(a->scratch, gi_value *, list->n_in + 1);
    if (!parts)
        return NULL;
    for (uint32_t i = 0; i < list->n_in; i++)
        parts[i] = gi_aten_reshape(a, gi_aten_cast(a, gi_node_in(list, i), GOPT_I64), 1, &one);
    return list->n_in == 1 ? parts[0] : gi_aten_concat(a, list->n_in, parts, 0);
}

gi_value *gi_aten_scalar_value(gi_aten *a, const char *name, gopt_dtype t)
{
    const arg x = find(a, name);
    double v;
    if (!x.value || gi_value_blob(x.value)) {
        const gi_blob *b = gi_value_blob(x.value);
        if (x.value && b && is_whole(x.value) && gi_blob_elements(b) == 1 &&
            gi_dtype_is_int(t)) { /* all 64 bits of it */
            gi_blob *to;
            if (gi_blob_create(a->g->cx, t, 0, NULL, &to) != GOPT_OK)
                return NULL;
            gi_store_i64(t, to->owned, 0, gi_load_i64(b->dtype, b->data, 0));
            return gi_const(a->g, to, NULL);
        }
        return gi_aten_float(a, name, &v) ? gi_aten_number(a, t, v) : NULL;
    }
    gi_value *c = gi_aten_cast(a, x.value, t);
    return rank_of(x.value) == 0 ? c : gi_aten_2(a, OP_Reshape, c, gi_aten_list(a, 0, NULL));
}
