/* Inputs of other sizes, ranks and types, and the whole graph in another type. */
#include "rules/mutate.h"

static void set_dims(mutator *m, gi_value *v, int rank, const gi_dim *const *dims)
{
    const gi_type *t = gi_type_tensor(m->g->types, v->type->dtype, rank, dims);
    if (!t)
        return;
    gi_str_addf(m->what, "input %%%s is ", v->name ? v->name : "?");
    gi_type_print(m->what, t);
    v->type = t;
    m->made = true;
}

static void change_dims(mutator *m, gi_value *v)
{
    const gi_type *t = v->type;
    gi_dims *all = m->g->dims;
    const gi_dim *dims[GOPT_MAX_RANK + 1];
    for (int i = 0; i < t->rank; i++) {
        const gi_dim *const to[] = { gi_dim_const(all, 1),
                                     gi_dim_const(all, 2),
                                     gi_dim_const(all, 0),
                                     gi_dim_sym(all, "some", true),
                                     i ? t->dims[i - 1] : gi_dim_sym(all, "other", true),
                                     gi_dim_add(all, t->dims[i],
                                                gi_dim_const(all, gi_dim_is_const(t->dims[i], NULL) ? 1 : 2)),
                                     gi_dim_mul(all, gi_dim_sym(all, "some", true), gi_dim_const(all, 2)),
                                     gi_dim_unknown(all, true) };
        for (size_t k = 0; k < GI_COUNT(to); k++)
            if (to[k] && to[k] != t->dims[i] && mutate_here(m)) {
                memcpy(dims, t->dims, (size_t)t->rank * sizeof *dims);
                dims[i] = to[k];
                set_dims(m, v, t->rank, dims);
            }
    }
    if (t->rank && mutate_here(m)) { /* all of them symbols */
        static const char *const names[] = { "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7" };
        for (int i = 0; i < t->rank; i++)
            dims[i] = gi_dim_sym(all, names[i % 8], true);
        set_dims(m, v, t->rank, dims);
    }
    if (t->rank > 0 && mutate_here(m))
        set_dims(m, v, t->rank - 1, t->dims + 1);
    if (t->rank > 0 && mutate_here(m))
        set_dims(m, v, t->rank - 1, t->dims);
    for (int front = 0; front < 2 && t->rank < GOPT_MAX_RANK; front++)
        for (int64_t size = 1; size < 4; size++)
            if (mutate_here(m)) {
                for (int i = 0; i < t->rank; i++)
                    dims[front + i] = t->dims[i];
                dims[front ? 0 : t->rank] = size == 3 ? gi_dim_sym(all, "more", true) : gi_dim_const(all, size);
                set_dims(m, v, t->rank + 1, dims);
            }
    if (mutate_here(m))
        set_dims(m, v, -1, NULL);
}

static void change_dtype(mutator *m, gi_value *v)
{
    static const gopt_dtype types[] = { GOPT_F32, GOPT_F16, GOPT_F64, GOPT_I64, GOPT_I32, GOPT_U8, GOPT_BOOL };
    for (size_t k = 0; k < GI_COUNT(types); k++) {
        if (types[k] == v->type->dtype || !mutate_here(m))
            continue;
        v->type = gi_type_tensor(m->g->types, types[k], v->type->rank, v->type->dims);
        gi_str_addf(m->what, "input %%%s is of type %s", v->name ? v->name : "?", gopt_dtype_name(types[k]));
        m->made = v->type != NULL;
        return;
    }
}

static void become_constant(mutator *m, gi_value *v)
{
    int64_t dims[GOPT_MAX_RANK];
    gi_blob *b;
    if (gopt_dtype_bits(v->type->dtype) < 8 || !gi_type_static_dims(v->type, dims) || !mutate_here(m) ||
        gi_blob_create(m->g->cx, v->type->dtype, v->type->rank, dims, &b) != GOPT_OK)
        return;
    uint64_t state = 3;
    for (int64_t i = 0; i < gi_blob_elements(b); i++) {
        if (gi_dtype_is_float(b->dtype))
            gi_store_f64(b->dtype, b->owned, (size_t)i, 2 * proof_unit(&state) - 1);
        else
            gi_store_i64(b->dtype, b->owned, (size_t)i, (int64_t)(proof_random(&state) % 2));
    }
    gi_value *k = gi_const(m->g, b, NULL);
    if (!k)
        return;
    gi_str_addf(m->what, "input %%%s is not read, but a constant", v->name ? v->name : "?");
    gi_value_replace_uses(v, k);
    m->made = true;
}

void mutate_inputs(mutator *m)
{
    gi_block *b = m->g->main;
    for (uint32_t i = 0; i < b->n_params && !m->made; i++) {
        gi_value *v = b->params[i];
        if (!v->type || v->type->kind != GOPT_TENSOR || v->type->rank < 0)
            continue;
        change_dims(m, v);
        if (!m->made)
            change_dtype(m, v);
        if (!m->made)
            become_constant(m, v);
        for (uint32_t k = 0; k < b->n_params && !m->made; k++)
            if (k != i && b->params[k]->type == v->type && mutate_here(m)) {
                gi_str_addf(m->what, "input %u is read where input %u was", i, k);
                gi_value_replace_uses(b->params[k], v);
                m->made = true;
            }
    }
}

/* ---- the whole graph ---- */

typedef struct exchange {
    mutator *m;
    gopt_dtype from, to;
} exchange;

static gi_blob *convert(const exchange *x, const gi_blob *b)
{
    gi_blob *out;
    if (gi_blob_create(x->m->g->cx, x->to, b->rank, b->dims, &out) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < gi_blob_elements(b); i++) {
        if (gi_dtype_is_float(x->to) || gi_dtype_is_float(x->from))
            gi_store_f64(x->to, out->owned, (size_t)i, gi_load_f64(x->from, b->data, (size_t)i));
        else
            gi_store_i64(x->to, out->owned, (size_t)i, gi_load_i64(x->from, b->data, (size_t)i));
    }
    return out;
}

static void convert_params(const exchange *x, gi_block *b)
{
    for (uint32_t i = 0; i < b->n_params; i++) {
        const gi_type *t = b->params[i]->type;
        if (t && t->kind == GOPT_TENSOR && t->dtype == x->from)
            b->params[i]->type = gi_type_tensor(x->m->g->types, x->to, t->rank, t->dims);
    }
}

static bool convert_node(void *arg, gi_node *n)
{
    const exchange *x = arg;
    const gi_op *row = gi_op_get(n->op);
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_value *v = gi_node_in(n, i);
        const gi_blob *b = gi_value_blob(v);
        gi_blob *other = b && b->dtype == x->from ? convert(x, b) : NULL;
        gi_value *k = other ? gi_const(x->m->g, other, NULL) : NULL;
        if (k)
            gi_value_replace_uses(v, k);
    }
    for (int at = 0; at < row->n_attrs; at++) {
        if (!gi_attr_has(n, at))
            continue;
        if (row->attrs[at].kind == GI_ATTR_GRAPH)
            convert_params(x, gi_attr_graph(n, at));
        if (row->attrs[at].kind == GI_ATTR_INT &&
            (!strcmp(row->attrs[at].name, "to") || !strcmp(row->attrs[at].name, "dtype")) &&
            gi_attr_int(n, at) == (int64_t)x->from)
            gi_attr_set_int(n, at, (int64_t)x->to);
        gi_blob *b = row->attrs[at].kind == GI_ATTR_TENSOR ? gi_attr_tensor(n, at) : NULL;
        gi_blob *other = b && b->dtype == x->from ? convert(x, b) : NULL;
        if (other)
            gi_attr_set_tensor(n, at, other);
    }
    return true;
}

void mutate_dtypes(mutator *m)
{
    static const gopt_dtype pairs[][2] = {
        { GOPT_F32, GOPT_F16 }, { GOPT_F32, GOPT_BF16 }, { GOPT_F32, GOPT_F64 },  { GOPT_F32, GOPT_I32 },
        { GOPT_F32, GOPT_I64 }, { GOPT_F32, GOPT_U8 },   { GOPT_F32, GOPT_I8 },   { GOPT_F32, GOPT_BOOL },
        { GOPT_F16, GOPT_F32 }, { GOPT_I64, GOPT_I32 },  { GOPT_I64, GOPT_F32 },  { GOPT_I32, GOPT_F32 },
        { GOPT_I32, GOPT_I64 }, { GOPT_I64, GOPT_U8 },   { GOPT_BOOL, GOPT_F32 },
    };
    for (size_t k = 0; k < GI_COUNT(pairs) && !m->made; k++) {
        if (!mutate_here(m))
            continue;
        exchange x = { m, pairs[k][0], pairs[k][1] };
        gi_str_addf(m->what, "%s for %s everywhere", gopt_dtype_name(x.to), gopt_dtype_name(x.from));
        convert_params(&x, m->g->main);
        m->made = gi_each_node(m->g->main, convert_node, &x);
    }
}
