/* The operator table: the families' rows, by opcode and by name. */
#include "gopt/pass.h"
#include "ir/op.h"

#define OP(NAME, ...) extern const gi_op gi_row_##NAME;
#include "ir/ops/all.def"
#undef OP

static const gi_op unknown = { .name = "Unknown", .types = T_ANY };

static const gi_op *const rows[OP_COUNT] = {
    [OP_Unknown] = &unknown,
#define OP(NAME, ...) [OP_##NAME] = &gi_row_##NAME,
#include "ir/ops/all.def"
#undef OP
};

const gi_op *gi_op_get(gi_opcode op)
{
    return rows[op];
}

gi_opcode gi_op_find(const char *domain, const char *name)
{
    if (!domain || !strcmp(domain, "ai.onnx"))
        domain = "";
    for (int i = 1; i < OP_COUNT; i++) {
        const gi_op *r = rows[i];
        if (!strcmp(r->onnx ? r->onnx : r->name, name) && !strcmp(r->domain ? r->domain : "", domain))
            return (gi_opcode)i;
    }
    return OP_Unknown;
}

int gi_op_find_attr(const gi_op *op, const char *name)
{
    for (int i = 0; i < op->n_attrs; i++)
        if (!strcmp(op->attrs[i].name, name))
            return i;
    return -1;
}

bool gi_op_takes(const gi_op *op, gopt_dtype t)
{
    switch (gi_dtype_class(t)) {
    case GI_FLOAT:
        return (op->types & (gopt_dtype_bits(t) < 16 ? T_SMALL : T_FLOATS)) != 0;
    case GI_SINT:
        return (op->types & (gopt_dtype_bits(t) < 8 ? T_SMALL : T_SIGNED)) != 0;
    case GI_UINT:
        return (op->types & (gopt_dtype_bits(t) < 8 ? T_SMALL : T_UNSIGNED)) != 0;
    case GI_BOOLEAN:
        return (op->types & T_BOOL) != 0;
    case GI_TEXT:
        return (op->types & T_STRING) != 0;
    case GI_COMPLEX:
        return (op->types & T_COMPLEX) != 0;
    case GI_NONE:
        break;
    }
    return t == GOPT_UNDEFINED;
}

/* ---- the public listing ---- */

/* Row i of those that users see; NULL past the last. */
static const gi_op *listed(size_t i)
{
    for (int k = 1; k < OP_COUNT; k++)
        if (!(rows[k]->traits & GI_INTERNAL_OP) && !i--)
            return rows[k];
    return NULL;
}

bool gopt_op_info_get(size_t i, gopt_op_info *out)
{
    const gi_op *r = listed(i);
    if (!r)
        return false;
    const char *name = r->onnx ? r->onnx : r->name;
    const bool onnx = !r->domain || !*r->domain;
    *out = (gopt_op_info){ .domain = r->domain ? r->domain : "",
                           .name = name,
                           .means = r->means,
                           .since = r->since,
                           .first = onnx ? gi_op_introduced(name) : 0,
                           .random = (r->traits & GI_RANDOM) != 0,
                           .any_kind = (r->traits & GI_ANY_KIND) != 0,
                           .ours = (r->traits & GI_NOT_ONNX) != 0,
                           .evaluated = r->eval != NULL };
    return true;
}

static bool arg_at(const gi_op_arg *args, int n, size_t i, gopt_op_arg *out)
{
    static const gopt_arg_presence presence[] = {
        [GI_REQUIRED] = GOPT_ARG_REQUIRED, [GI_OPTIONAL] = GOPT_ARG_OPTIONAL, [GI_VARIADIC] = GOPT_ARG_VARIADIC
    };
    if (i >= (size_t)n)
        return false;
    *out = (gopt_op_arg){ .name = args[i].name, .presence = presence[args[i].presence] };
    return true;
}

bool gopt_op_input(size_t op, size_t i, gopt_op_arg *out)
{
    const gi_op *r = listed(op);
    return r && arg_at(r->in, r->n_in, i, out);
}

bool gopt_op_output(size_t op, size_t i, gopt_op_arg *out)
{
    const gi_op *r = listed(op);
    return r && arg_at(r->out, r->n_out, i, out);
}

bool gopt_op_attribute(size_t op, size_t i, gopt_op_attr *out)
{
    static const char *const kinds[] = {
        [GI_ATTR_NONE] = "none",     [GI_ATTR_INT] = "int",       [GI_ATTR_FLOAT] = "float",
        [GI_ATTR_STRING] = "string", [GI_ATTR_TENSOR] = "tensor", [GI_ATTR_GRAPH] = "graph",
        [GI_ATTR_INTS] = "ints",     [GI_ATTR_FLOATS] = "floats", [GI_ATTR_STRINGS] = "strings",
    };
    const gi_op *r = listed(op);
    if (!r || i >= (size_t)r->n_attrs)
        return false;
    const gi_op_attr *a = &r->attrs[i];
    *out = (gopt_op_attr){ .name = a->name,
                           .kind = kinds[a->kind],
                           .required = a->required,
                           .has_default = a->has_default,
                           .i = a->i,
                           .f = a->f,
                           .s = a->s };
    return true;
}

bool gopt_op_takes(size_t op, gopt_dtype t)
{
    const gi_op *r = listed(op);
    return r && gi_op_takes(r, t);
}
