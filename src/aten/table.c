/* The table of ATen operators, and how a node is recognized as one. */
#include "aten/ops/pointwise.h"

static const gi_aten_op rows[] = {
#define ATEN(NAME, SCHEMA, LOWER, ARG, ONNX, SINCE, ADVICE) { NAME, SCHEMA, LOWER, ARG, ONNX, SINCE, ADVICE },
#define ATEN_ONLY(NAME, SCHEMA, ONNX, SINCE, ADVICE) { NAME, SCHEMA, NULL, 0, ONNX, SINCE, ADVICE },
#include "aten/aten.def"
#undef ATEN
#undef ATEN_ONLY
};

const gi_aten_op *gi_aten_row(size_t i)
{
    return i < GI_COUNT(rows) ? &rows[i] : NULL;
}

static const gi_aten_op *find(const char *name, size_t n)
{
    for (size_t i = 0; i < GI_COUNT(rows); i++)
        if (!strncmp(rows[i].name, name, n) && !rows[i].name[n])
            return &rows[i];
    return NULL;
}

const gi_aten_op *gi_aten_find(const char *name)
{
    size_t n = name ? strcspn(name, ".") : 0; /* "add.Tensor" */
    const gi_aten_op *row = n ? find(name, n) : NULL;
    if (!row && n > 1 && name[n - 1] == '_') /* "add_" works in place */
        row = find(name, --n);
    if (!row && n > 3 && !strncmp(name, "__", 2)) /* exporters write "__and__" as "__and_", taking it for in place */
        for (size_t i = 0; i < GI_COUNT(rows) && !row; i++)
            if (!strncmp(rows[i].name, "__", 2) && !strncmp(rows[i].name, name, n) && !strcmp(rows[i].name + n, "__"))
                row = &rows[i];
    if (!row && n > 8 && !strncmp(name, "special_", 8)) /* torch.special has many a function once more */
        row = find(name + 8, n - 8);
    return row;
}

static const char *string_attr(const gi_node *n, const char *name)
{
    const gi_attr *a = gi_attr_find(n, name);
    return a && a->kind == GI_ATTR_STRING ? a->u.s : NULL;
}

static bool is_domain(const gi_node *n, const char *domain)
{
    return n->domain && !strcmp(n->domain, domain);
}

/* "aten::relu.out" in a name: the part behind the prefix. */
static const char *strip_prefix(const char *name)
{
    return !strncmp(name, "aten::", 6) ? name + 6 : name;
}

/* Operators of others that have rows: "prim::ListUnpack" of the domain prim. */
static const char *full_name(const gi_node *n)
{
    const size_t domain = strlen(n->domain), name = strlen(n->op_name);
    for (size_t i = 0; i < GI_COUNT(rows); i++) {
        const char *r = rows[i].name;
        if (!strncmp(r, n->domain, domain) && !strncmp(r + domain, "::", 2) &&
            !strncmp(r + domain + 2, n->op_name, name) && !r[domain + 2 + name])
            return r;
    }
    return NULL;
}

bool gi_aten_decode(const gi_node *n, const char **op, const char **overload)
{
    if (n->op != OP_Unknown)
        return false;
    const char *name = n->op_name ? n->op_name : "";
    const bool generic = !strcmp(name, "ATen") || !strcmp(name, "ATenOp");
    const char *given = string_attr(n, "operator");
    if (generic &&
        (is_domain(n, "org.pytorch.aten") || is_domain(n, "aten") || is_domain(n, "com.microsoft") || given)) {
        *op = given ? strip_prefix(given) : "?";
    } else if (is_domain(n, "org.pytorch.aten") || is_domain(n, "aten") || !strncmp(name, "aten::", 6)) {
        *op = strip_prefix(name);
    } else if (n->domain && n->domain[0] && n->op_name && full_name(n)) {
        *op = full_name(n);
    } else {
        return false;
    }
    const char *o = string_attr(n, "overload_name");
    const char *dot = strchr(*op, '.');
    *overload = o && *o ? o : dot ? dot + 1 : "";
    return true;
}
