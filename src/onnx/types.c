/* TypeProto → types, and what a declared type adds to an inferred one. */
#include "onnx/import.h"

static bool tensor_type(gopt_graph *g, const Gi__Pb__TypeProto__Tensor *t, const gi_type **out)
{
    const int32_t e = t->elem_type;
    const gopt_dtype dtype = e > 0 && e < GOPT_DTYPE_COUNT ? (gopt_dtype)e : GOPT_UNDEFINED;
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank = -1;
    if (t->shape && t->shape->n_dim <= GOPT_MAX_RANK) {
        rank = (int)t->shape->n_dim;
        for (int i = 0; i < rank; i++) {
            const Gi__Pb__TensorShapeProto__Dimension *d = t->shape->dim[i];
            if (d->dim_param && *d->dim_param)
                dims[i] = gi_dim_sym(g->dims, d->dim_param, true);
            else if (d->has_dim_value && d->dim_value >= 0)
                dims[i] = gi_dim_const(g->dims, d->dim_value);
            else
                dims[i] = gi_dim_unknown(g->dims, true);
            if (!dims[i])
                return false;
        }
    }
    *out = gi_type_tensor(g->types, dtype, rank, dims);
    return *out != NULL;
}

bool gi_onnx_type(gopt_graph *g, const pb_type *t, const gi_type **out)
{
    /* The way down; the file's depth is capped, and so is this. */
    gi_type around[GI_PB_MAX_DEPTH];
    int n = 0;
    *out = NULL;
    while (t && (t->sequence_type || t->optional_type || t->map_type) && n < GI_PB_MAX_DEPTH) {
        gi_type *to = &around[n++];
        *to = (gi_type){ .kind = t->sequence_type ? GOPT_SEQUENCE : t->optional_type ? GOPT_OPTIONAL : GOPT_MAP };
        if (to->kind == GOPT_MAP && t->map_type->key_type > 0 && t->map_type->key_type < GOPT_DTYPE_COUNT)
            to->key = (gopt_dtype)t->map_type->key_type;
        t = to->kind == GOPT_SEQUENCE   ? t->sequence_type->elem_type
            : to->kind == GOPT_OPTIONAL ? t->optional_type->elem_type
                                        : t->map_type->value_type;
    }
    if (!t || !t->tensor_type)
        return true;
    if (!tensor_type(g, t->tensor_type, out))
        return false;
    while (n > 0) {
        *out = gi_type_around(g->types, &around[--n], *out);
        if (!*out)
            return false;
    }
    return true;
}

typedef struct from_inputs {
    const gi_map *inputs;
    bool any, all;
} from_inputs;

static void is_input(void *arg, const gi_dim *symbol)
{
    from_inputs *f = arg;
    const bool found = gi_map_get(f->inputs, (uint64_t)(uintptr_t)symbol) != NULL;
    f->any |= found;
    f->all &= found;
}

static from_inputs symbols_of(const gi_map *inputs, const gi_dim *d)
{
    from_inputs f = { inputs, false, true };
    gi_dim_each_symbol(d, is_input, &f);
    return f;
}

static const gi_dim *refine_dim(const gi_map *inputs, const gi_dim *have, const gi_dim *declared, bool *clash)
{
    if (have == declared || gi_dim_is_unknown(declared))
        return have;
    const bool number = gi_dim_is_const(declared, NULL);
    if (gi_dim_is_const(have, NULL)) {
        *clash |= number;
        return have;
    }
    const from_inputs h = symbols_of(inputs, have);
    if (h.any && h.all) {
        *clash |= number;
        return gi_dim_is_unknown(have) && !number && !symbols_of(inputs, declared).any ? declared : have;
    }
    return gi_dim_is_unknown(have) ? declared : have;
}

static const gi_type *refine_tensor(gopt_graph *g, const gi_map *inputs, const gi_type *have, const gi_type *declared,
                                    bool *clash)
{
    gopt_dtype dtype = have->dtype;
    if (dtype == GOPT_UNDEFINED)
        dtype = declared->dtype;
    else if (declared->dtype != GOPT_UNDEFINED && declared->dtype != dtype)
        *clash = true;
    if (have->rank < 0)
        return gi_type_tensor(g->types, dtype, declared->rank, declared->dims);
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < have->rank; i++)
        dims[i] = have->dims[i];
    if (declared->rank >= 0 && declared->rank != have->rank)
        *clash = true;
    for (int i = 0; i < have->rank && declared->rank == have->rank; i++)
        dims[i] = refine_dim(inputs, dims[i], declared->dims[i], clash);
    return gi_type_tensor(g->types, dtype, have->rank, dims);
}

const gi_type *gi_onnx_refine(gopt_graph *g, const gi_map *inputs, const gi_type *have, const gi_type *declared,
                              bool *clash)
{
    if (!have || !declared)
        return have ? have : declared;
    if (have->kind != declared->kind || have->key != declared->key) {
        *clash = true;
        return have;
    }
    if (have->kind != GOPT_TENSOR)
        return have->elem ? have : declared;
    return refine_tensor(g, inputs, have, declared, clash);
}
