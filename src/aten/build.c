/* Building the nodes that take an ATen operator's place, and PyTorch's type promotion. */
#include "aten/aten.h"
#include "ir/dtype.h"
#include "ops/infer.h"

bool gi_aten_decline(gi_aten *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (!a->why)
        a->why = gi_arena_vprintf(a->scratch, fmt, args);
    va_end(args);
    return false;
}

/* ---- types ---- */

bool gi_aten_rank(gi_aten *a, const gi_value *v, int *rank)
{
    *rank = v && v->type && v->type->kind == GOPT_TENSOR ? v->type->rank : -1;
    return *rank >= 0 || gi_aten_decline(a, "the rank of an input is not known");
}

bool gi_aten_dtype_of(gi_aten *a, const gi_value *v, gopt_dtype *t)
{
    *t = v && v->type && v->type->kind == GOPT_TENSOR ? v->type->dtype : GOPT_UNDEFINED;
    return *t != GOPT_UNDEFINED || gi_aten_decline(a, "the type of an input is not known");
}

bool gi_aten_dim_const(gi_aten *a, const gi_value *v, int i, int64_t *dim)
{
    int rank;
    if (!gi_aten_rank(a, v, &rank))
        return false;
    return gi_type_dim_const(v->type, i, dim) ||
           gi_aten_decline(a, "dim %d of an input is not known before the network runs", i < 0 ? i + rank : i);
}

bool gi_aten_is_float(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR && gi_dtype_is_float(v->type->dtype);
}

/* bool < integers < floats < complex: what a type of a lower kind cannot hold of a higher one decides. */
static int category(gopt_dtype t)
{
    switch (gi_dtype_class(t)) {
    case GI_BOOLEAN:
        return 1;
    case GI_SINT:
    case GI_UINT:
        return 2;
    case GI_FLOAT:
        return 3;
    case GI_COMPLEX:
        return 4;
    default:
        return 0;
    }
}

static int bits(gopt_dtype t)
{
    size_t n = 0;
    return gi_dtype_bytes(t, 1, &n) ? (int)n * 8 : 0;
}

/* c10::promoteTypes: the smaller of the types that hold both. */
static gopt_dtype common(gopt_dtype a, gopt_dtype b)
{
    if (a == b || a == GOPT_UNDEFINED || b == GOPT_UNDEFINED)
        return a == GOPT_UNDEFINED ? b : a;
    if (category(a) != category(b))
        return category(a) > category(b) ? a : b;
    if (category(a) == 3)
        return bits(a) == bits(b) ? GOPT_F32 : bits(a) > bits(b) ? a : b; /* f16 with bf16 */
    const bool sa = gi_dtype_class(a) == GI_SINT, sb = gi_dtype_class(b) == GI_SINT;
    if (sa == sb)
        return bits(a) >= bits(b) ? a : b;
    const gopt_dtype s = sa ? a : b, u = sa ? b : a;
    if (bits(s) > bits(u))
        return s;
    return bits(u) == 8 ? GOPT_I16 : bits(u) == 16 ? GOPT_I32 : GOPT_I64;
}

/* What of a less important operand counts: nothing, unless it is of a higher kind. */
static gopt_dtype combine(gopt_dtype higher, gopt_dtype lower)
{
    if (higher == GOPT_UNDEFINED || category(lower) > category(higher))
        return higher == GOPT_UNDEFINED ? lower : common(higher, lower);
    return higher;
}

/* The type that a Python number has: of the default types. */
static gopt_dtype of_number(gopt_dtype t)
{
    return category(t) == 3 ? GOPT_F32 : category(t) == 2 ? GOPT_I64 : category(t) == 4 ? GOPT_C64 : t;
}

bool gi_aten_promote(gi_aten *a, gi_aten_promotion how, uint32_t n, gi_value **const *v)
{
    gopt_dtype of[3] = { GOPT_UNDEFINED, GOPT_UNDEFINED, GOPT_UNDEFINED }; /* with dims, without, Python numbers */
    for (uint32_t i = 0; i < n; i++) {
        gopt_dtype t;
        int rank;
        if (!*v[i])
            continue;
        if (!gi_aten_dtype_of(a, *v[i], &t) || !gi_aten_rank(a, *v[i], &rank))
            return false;
        const int group = rank ? 0 : gi_value_blob(*v[i]) ? 2 : 1;
        of[group] = common(of[group], group == 2 ? of_number(t) : t);
    }
    gopt_dtype t = combine(combine(of[0], of[1]), of[2]);
    if (how == GI_ATEN_TO_FLOAT && category(t) < 3)
        t = GOPT_F32;
    if (how == GI_ATEN_TO_INT && category(t) == 1)
        t = GOPT_I64;
    for (uint32_t i = 0; i < n; i++)
        if (*v[i] && !(*v[i] = gi_aten_cast(a, *v[i], t)))
            return false;
    return true;
}

/* ---- nodes ---- */

/* Infers the types of a new node; what the rule says against it is the reason. */
static bool infer(gi_aten *a, gi_node *n)
{
    gopt_ctx *cx = a->g->cx;
    const size_t said = cx->n_diags;
    const gopt_status s = gi_infer_node(n, a->scratch);
    if (s == GOPT_OK)
        return true;
    if (s != GOPT_NO_MEMORY)
        gi_aten_decline(a, "%s: %s", gi_op_get(n->op)->name,
                        cx->n_diags > said ? cx->diags[said].message : "the types do not fit");
    cx->n_diags = said;
    return false;
}

static gi_node *__attribute__((format(printf, 6, 0)))
node_of(gi_aten *a, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out, const char *attrs, va_list args)
{
    gi_node *n = gi_node_create(a->at, a->before, op, n_in, in, n_out);
    char *text = n && attrs ? gi_arena_vprintf(a->scratch, attrs, args) : NULL;
    if (!n || (attrs && !text))
        return NULL;
    if (text && gi_parse_attrs(n, text) != GOPT_OK) {
        gi_aten_decline(a, "%s cannot be given { %s }", gi_op_get(op)->name, text);
        return NULL;
    }
    return infer(a, n) ? n : NULL;
}

gi_node *gi_aten_node(gi_aten *a, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out, const char *attrs,
                      ...)
{
    va_list args;
    va_start(args, attrs);
    gi_node *n = node_of(a, op, n_in, in, n_out, attrs, args);
    va_end(args);
    return n;
}

gi_value *gi_aten_make(gi_aten *a, gi_opcode op, uint32_t n_in, gi_value *const *in, const char *attrs, ...)
{
    for (uint32_t i = 0; i < n_in; i++)
        if (!in[i])
            return NULL;
    va_list args;
    va_start(args, attrs);
    gi_node *n = node_of(a, op, n_in, in, 1, attrs, args);
    va_end(args);
    return gi_node_out(n, 0);
}

gi_value *gi_aten_1(gi_aten *a, gi_opcode op, gi_value *x)
{
    return gi_aten_make(a, op, 1, &x, NULL);
}

gi_value *gi_aten_2(gi_aten *a, gi_opcode op, gi_value *x, gi_value *y)
{
    return gi_aten_make(a, op, 2, (gi_value *[]){ x, y }, NULL);
}

gi_value *gi_aten_where(gi_aten *a, gi_value *c, gi_value *x, gi_value *y)
{
    return gi_aten_make(a, OP_Where, 3, (gi_value *[]){ c, x, y }, NULL);
}

gi_value *gi_aten_cast(gi_aten *a, gi_value *x, gopt_dtype t)
{
    if (!x || (x->type && x->type->kind == GOPT_TENSOR && x->type->dtype == t))
        return x;
    const gi_blob *b = gi_value_blob(x);
    double v = 0;
    if (b && b->rank == 0 && category(b->dtype) && category(b->dtype) < 4 && category(t) && category(t) < 4) {
        v = gi_load_f64(b->dtype, b->data, 0);
        if (category(t) == 3 || (v > -0x1p52 && v < 0x1p52)) /* what a double holds whole */
            return gi_aten_number(a, t, category(t) == 1 ? v != 0 : v);
    }
    return gi_aten_make(a, OP_Cast, 1, &x, "to = %d", (int)t);
}

gi_value *gi_aten_number(gi_aten *a, gopt_dtype t, double v)
{
    gi_blob *b;
    if (gi_blob_create(a->g->cx, t, 0, NULL, &b) != GOPT_OK)
        return NULL;
    if (gi_dtype_class(t) == GI_SINT && v >= -0x1p63 && v < 0x1p63)
        gi_store_i64(t, b->owned, 0, (int64_t)v);
    else
        gi_store_f64(t, b->owned, 0, v);
    return gi_const(a->g, b, NULL);
}

gi_value *gi_aten_number_like(gi_aten *a, const gi_value *x, double v)
{
    gopt_dtype t;
    return x && gi_aten_dtype_of(a, x, &t) ? gi_aten_number(a, t, v) : NULL;
}

gi_value *gi_aten_list(gi_aten *a, uint32_t n, const int64_t *v)
{
    return gi_const_i64(a->g, 1, n, v);
}

gi_value *gi_aten_reshape(gi_aten *a, gi_value *x, uint32_t n, const int64_t *target)
{
    return gi_aten_2(a, OP_Reshape, x, gi_aten_list(a, n, target));
}

gi_value *gi_aten_transpose(gi_aten *a, gi_value *x, int rank, const int64_t *perm)
{
    bool moved = false;
    for (int i = 0; i < rank; i++)
        moved |= perm[i] != i;
    if (!x || !moved)
        return x;
    gi_node *n = gi_node_create(a->at, a->before, OP_Transpose, 1, &x, 1);
    return n && gi_attr_set_ints(n, Transpose_at_perm, (uint32_t)rank, perm) && infer(a, n) ? gi_node_out(n, 0) : NULL;
}

gi_value *gi_aten_unsqueeze(gi_aten *a, gi_value *x, uint32_t n, const int64_t *axes)
{
    return n ? gi_aten_2(a, OP_Unsqueeze, x, gi_aten_list(a, n, axes)) : x;
}

gi_value *gi_aten_squeeze(gi_aten *a, gi_value *x, uint32_t n, const int64_t *axes)
{
    return n ? gi_aten_2(a, OP_Squeeze, x, gi_aten_list(a, n, axes)) : x;
}

gi_value *gi_aten_reduce(gi_aten *a, gi_opcode op, gi_value *x, uint32_t n, const int64_t *axes, bool keep)
{
    return n ? gi_aten_make(a, op, 2, (gi_value *[]){ x, gi_aten_list(a, n, axes) }, "keepdims = %d", keep)
             : gi_aten_make(a, op, 2, (gi_value *[]){ x, gi_aten_list(a, 0, NULL) },
                            "keepdims = %d, noop_with_empty_axes = 1", keep);
}

gi_value *gi_aten_concat(gi_aten *a, uint32_t n, gi_value *const *parts, int64_t axis)
{
    return gi_aten_make(a, OP_Concat, n, parts, "axis = %lld", (long long)axis);
}

gi_value *gi_aten_slice(gi_aten *a, gi_value *x, int64_t axis, int64_t from, int64_t to, int64_t step)
{
    return gi_aten_make(a, OP_Slice, 5,
                        (gi_value *[]){ x, gi_aten_list(a, 1, &from), gi_aten_list(a, 1, &to),
                                        gi_aten_list(a, 1, &axis), gi_aten_list(a, 1, &step) },
                        NULL);
}

gi_value *gi_aten_shape(gi_aten *a, gi_value *x)
{
    int64_t dims[GOPT_MAX_RANK];
    if (x && x->type && gi_type_static_dims(x->type, dims))
        return gi_aten_list(a, (uint32_t)x->type->rank, dims);
    return gi_aten_1(a, OP_Shape, x);
}

gi_value *gi_aten_dim(gi_aten *a, gi_value *x, int i)
{
    int rank;
    int64_t dim;
    if (!x || !gi_aten_rank(a, x, &rank))
        return NULL;
    i = i < 0 ? i + rank : i;
    if (gi_type_dim_const(x->type, i, &dim))
        return gi_aten_list(a, 1, &dim);
    return gi_aten_make(a, OP_Shape, 1, &x, "start = %d, end = %d", i, i + 1);
}

gi_value *gi_aten_expand(gi_aten *a, gi_value *x, gi_value *shape)
{
    return gi_aten_2(a, OP_Expand, x, shape);
}

gi_value *gi_aten_full_like(gi_aten *a, gi_value *x, gopt_dtype t, double v)
{
    return gi_aten_expand(a, gi_aten_number(a, t, v), gi_aten_shape(a, x));
}

/* ---- loops ---- */

/* The type of a slice: the dim that is walked along goes. */
static const gi_type *slice_type(const gi_aten *a, const gi_value *x, int64_t axis)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->type->rank; i++)
        if (i != axis)
            dims[rank++] = x->type->dims[i];
    return gi_type_tensor(a->g->types, x->type->dtype, rank, dims);
}

gi_node *gi_aten_scan(gi_aten *a, uint32_t n_in, gi_value *const *in, uint32_t n_out, int64_t axis, gi_aten *body)
{
    const uint32_t states = n_in - 1;
    for (uint32_t i = 0; i < n_in; i++)
        if (!in[i] || !in[i]->type || in[i]->type->kind != GOPT_TENSOR || in[i]->type->rank < 0)
            return NULL;
    gi_node *scan = gi_node_create(a->at, a->before, OP_Scan, n_in, in, states + n_out);
    gi_block *b = scan ? gi_block_create(a->g, scan, "body") : NULL;
    int64_t axes[GOPT_MAX_RANK];
    for (uint32_t i = 0; i < n_out && i < GOPT_MAX_RANK; i++)
        axes[i] = axis;
    if (!b || !gi_attr_set_ints(scan, Scan_at_scan_input_axes, 1, axes) ||
        !gi_attr_set_ints(scan, Scan_at_scan_output_axes, n_out, axes))
        return NULL;
    gi_attr_set_int(scan, Scan_at_num_scan_inputs, 1);
    gi_attr_set_graph(scan, Scan_at_body, b);
    for (uint32_t i = 0; i < n_in; i++) {
        const gi_type *t = i < states ? in[i]->type : slice_type(a, in[i], axis);
        if (!t || !gi_block_add_param(b, NULL, t))
            return NULL;
    }
    *body = *a;
    body->at = b;
    body->before = NULL;
    return scan;
}

bool gi_aten_scan_done(gi_aten *a, gi_node *scan, gi_aten *body, uint32_t n, gi_value *const *results)
{
    const char **names = GI_NEW_ARRAY(a->g->arena, const char *, n);
    bool have = names != NULL;
    for (uint32_t i = 0; have && i < n; i++)
        have = results[i] != NULL;
    a->why = body->why;
    return have && gi_block_set_results(body->at, n, results, names) && infer(a, scan);
}

const char *gi_aten_ints_text(gi_aten *a, uint32_t n, const int64_t *v)
{
    gi_str s;
    gi_str_init(&s, a->scratch);
    gi_str_add(&s, "[");
    for (uint32_t i = 0; i < n; i++)
        gi_str_addf(&s, "%s%lld", i ? "," : "", (long long)v[i]);
    gi_str_add(&s, "]");
    return s.failed ? NULL : s.p;
}

/* ---- ends ---- */

bool gi_aten_return(gi_aten *a, uint32_t i, gi_value *v)
{
    if (i < a->n->n_out)
        a->out[i] = v;
    return v != NULL;
}

bool gi_aten_return_list(gi_aten *a, uint32_t n, gi_value *const *list)
{
    const gi_type *t = a->n->n_out ? a->n->out[0]->type : NULL;
    if (a->n->n_out != 1 || (n == 1 && t && t->kind == GOPT_TENSOR)) { /* taken apart by the exporter */
        if (a->n->n_out != n)
            return gi_aten_decline(a, "it gives %u tensors, the node has %u results", n, a->n->n_out);
        for (uint32_t i = 0; i < n; i++)
            if (!gi_aten_return(a, i, list[i]))
                return false;
        return true;
    }
    return gi_aten_return(a, 0, gi_aten_make(a, OP_SequenceConstruct, n, list, NULL));
}
