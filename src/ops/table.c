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

bool gopt_op_info_get(size_t i, gopt_op_info *out)
{
    for (int k = 1; k < OP_COUNT; k++) {
        const gi_op *r = rows[k];
        if ((r->traits & GI_INTERNAL_OP) || i-- > 0)
            continue;
        *out = (gopt_op_info){ .domain = r->domain ? r->domain : "",
                               .name = r->onnx ? r->onnx : r->name,
                               .means = r->means,
                               .since = r->since };
        return true;
    }
    return false;
}
