/* What a node costs. */
#include "ops/cost.h"

#include <ctype.h>

#include "ops/infer.h"

const gi_dim *gi_type_count(gopt_graph *g, const gi_type *t)
{
    if (!t || t->kind != GOPT_TENSOR || t->rank < 0)
        return NULL;
    const gi_dim *p = gi_dim_const(g->dims, 1);
    for (int i = 0; i < t->rank; i++)
        p = gi_dim_mul(g->dims, p, t->dims[i]);
    return p;
}

static const gi_type *type_in(const gi_node *n, uint32_t i)
{
    const gi_value *v = gi_node_in(n, i);
    return v && v->type && v->type->kind == GOPT_TENSOR && v->type->rank >= 0 ? v->type : NULL;
}

static const gi_type *type_out(const gi_node *n, uint32_t i)
{
    const gi_value *v = i < n->n_out ? n->out[i] : NULL;
    return v && v->type && v->type->kind == GOPT_TENSOR && v->type->rank >= 0 ? v->type : NULL;
}

/* Product of dims from … rank-1. */
static const gi_dim *tail(gi_dims *t, const gi_type *x, int from)
{
    const gi_dim *p = gi_dim_const(t, 1);
    for (int i = from; i < x->rank; i++)
        p = gi_dim_mul(t, p, x->dims[i]);
    return p;
}

static const gi_dim *twice(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return gi_dim_mul(t, gi_dim_const(t, 2), gi_dim_mul(t, a, b));
}

/* ---- multiply-adds ---- */

/* Each output element: one product with a filter's slice, [m, c/group, k…] behind m. */
static const gi_dim *of_conv(const gi_node *n, uint32_t x, uint32_t w)
{
    gi_dims *t = n->block->graph->dims;
    const gi_type *y = type_out(n, 0), *f = type_in(n, w);
    (void)x;
    return y && f && f->rank >= 2 ? twice(t, tail(t, y, 0), tail(t, f, 1)) : gi_dim_const(t, 0);
}

/* Each input element goes into one slice of the filter, [c, m/group, k…] behind c. */
static const gi_dim *of_conv_transpose(const gi_node *n, uint32_t x, uint32_t w)
{
    gi_dims *t = n->block->graph->dims;
    const gi_type *a = type_in(n, x), *f = type_in(n, w);
    return a && f && f->rank >= 2 ? twice(t, tail(t, a, 0), tail(t, f, 1)) : gi_dim_const(t, 0);
}

static const gi_dim *of_matmul(const gi_node *n, uint32_t x, uint32_t w)
{
    gi_dims *t = n->block->graph->dims;
    const gi_type *a = type_in(n, x), *y = type_out(n, 0);
    const gi_attr *turned = gi_attr_find(n, "transA");
    (void)w;
    if (!a || !y || a->rank < 1)
        return gi_dim_const(t, 0);
    const bool first = turned && turned->kind == GI_ATTR_INT && turned->u.i && a->rank >= 2;
    return twice(t, tail(t, y, 0), a->dims[a->rank - (first ? 2 : 1)]);
}

/* x [steps, batch, in], w [directions, gates·hidden, in], r [directions, gates·hidden, hidden]. */
static const gi_dim *of_recurrence(const gi_node *n, uint32_t x, uint32_t w)
{
    gi_dims *t = n->block->graph->dims;
    const gi_type *a = type_in(n, x), *wt = type_in(n, w), *rt = type_in(n, w + 1);
    if (!a || !wt || !rt || a->rank != 3)
        return gi_dim_const(t, 0);
    return twice(t, gi_dim_mul(t, a->dims[0], a->dims[1]), gi_dim_add(t, tail(t, wt, 0), tail(t, rt, 0)));
}

/* Scores and their product with the values: each query and output element meets every key. Inputs are
 * [batch, heads, seq, size] or [batch, seq, heads·size]. */
static const gi_dim *of_attention(const gi_node *n, uint32_t q, uint32_t k)
{
    gi_dims *t = n->block->graph->dims;
    const gi_type *a = type_in(n, q), *b = type_in(n, k), *y = type_out(n, 0), *past = type_in(n, 4);
    if (!a || !b || !y || b->rank < 3)
        return gi_dim_const(t, 0);
    const gi_dim *keys = b->dims[b->rank - 2];
    if (past && past->rank == 4)
        keys = gi_dim_add(t, keys, past->dims[2]);
    return twice(t, keys, gi_dim_add(t, tail(t, a, 0), tail(t, y, 0)));
}

/* Each result reads a column of the state, [batch, heads, dk, dv], and each value writes one. */
static const gi_dim *of_linear_attention(const gi_node *n, uint32_t q, uint32_t v)
{
    gi_dims *t = n->block->graph->dims;
    const gi_type *b = type_in(n, v), *y = type_out(n, 0), *state = type_out(n, 1);
    (void)q;
    if (!b || !y || !state || state->rank != 4)
        return gi_dim_const(t, 0);
    return twice(t, state->dims[2], gi_dim_add(t, tail(t, b, 0), tail(t, y, 0)));
}

/* Projection to queries, keys and values, and each of these with each key. */
static const gi_dim *of_projected_attention(const gi_node *n, uint32_t x, uint32_t w)
{
    gi_dims *t = n->block->graph->dims;
    const gi_type *a = type_in(n, x), *b = type_in(n, w);
    if (!a || !b || a->rank != 3 || b->rank != 2)
        return gi_dim_const(t, 0);
    const gi_dim *columns = gi_dim_mul(t, gi_dim_mul(t, a->dims[0], a->dims[1]), b->dims[1]);
    return gi_dim_add(t, twice(t, columns, b->dims[0]), twice(t, columns, a->dims[1]));
}

/* Every label once: the loop nest that the equation stands for. */
static const gi_dim *of_einsum(const gi_node *n, uint32_t x, uint32_t w)
{
    gi_dims *t = n->block->graph->dims;
    const gi_attr *equation = gi_attr_find(n, "equation");
    const gi_dim *p = gi_dim_const(t, n->n_in > 1 ? 2 : 1);
    bool seen[128] = { false };
    uint32_t in = 0;
    int axis = 0;
    (void)x;
    (void)w;
    if (!equation || equation->kind != GI_ATTR_STRING)
        return gi_dim_const(t, 0);
    for (const char *s = equation->u.s; *s && *s != '-'; s++) {
        const unsigned char label = (unsigned char)*s;
        const gi_type *a = type_in(n, in);
        if (label == ',') {
            in++;
            axis = 0;
        } else if (label == '.' && s[1] == '.' && s[2] == '.') {
            return type_out(n, 0) ? tail(t, type_out(n, 0), 0) : gi_dim_const(t, 0);
        } else if (isalpha(label)) {
            if (!a || axis >= a->rank)
                return gi_dim_const(t, 0);
            if (!seen[label & 127])
                p = gi_dim_mul(t, p, a->dims[axis]);
            seen[label & 127] = true;
            axis++;
        }
    }
    return p;
}

typedef struct product {
    const char *op;
    const gi_dim *(*flops)(const gi_node *n, uint32_t x, uint32_t w);
    uint32_t x, w; /* positions of the operands */
} product;

static const product products[] = {
    { "Conv", of_conv, 0, 1 },
    { "FusedConv", of_conv, 0, 1 },
    { "NhwcConv", of_conv, 0, 1 },
    { "ConvInteger", of_conv, 0, 1 },
    { "QLinearConv", of_conv, 0, 3 },
    { "DeformConv", of_conv, 0, 1 },
    { "ConvTranspose", of_conv_transpose, 0, 1 },
    { "MatMul", of_matmul, 0, 1 },
    { "FusedMatMul", of_matmul, 0, 1 },
    { "MatMulInteger", of_matmul, 0, 1 },
    { "QLinearMatMul", of_matmul, 0, 3 },
    { "Gemm", of_matmul, 0, 1 },
    { "MatMulNBits", of_matmul, 0, 1 },
    { "MatMulBnb4", of_matmul, 0, 1 },
    { "LSTM", of_recurrence, 0, 1 },
    { "GRU", of_recurrence, 0, 1 },
    { "RNN", of_recurrence, 0, 1 },
    { "FusedGemm", of_matmul, 0, 1 },
    { "Attention", of_attention, 0, 1 },
    { "FlexAttention", of_attention, 0, 1 },
    { "LinearAttention", of_linear_attention, 0, 2 },
    { "MsLinearAttention", of_linear_attention, 0, 2 },
    { "CausalConvWithState", of_conv, 0, 1 },
    { "MsCausalConvWithState", of_conv, 0, 1 },
    { "MultiHeadAttention", of_attention, 0, 1 },
    { "GroupQueryAttention", of_attention, 0, 1 },
    { "MsAttention", of_projected_attention, 0, 1 },
    { "Einsum", of_einsum, 0, 1 },
};

static const product *find_product(const char *name)
{
    for (size_t i = 0; name && i < GI_COUNT(products); i++)
        if (!strcmp(products[i].op, name))
            return &products[i];
    return NULL;
}

/* ---- everything else ---- */

static const gi_dim *of_elements(const gi_node *n)
{
    gopt_graph *g = n->block->graph;
    const gi_op *row = gi_op_get(n->op);
    static const char *const names[] = { "Shape", "Size", "Constant", "ConstantOfShape", "Range" };
    if (row->traits & (GI_VIEW | GI_MOVEMENT))
        return gi_dim_const(g->dims, 0);
    for (size_t i = 0; i < GI_COUNT(names); i++)
        if (!strcmp(row->name, names[i]))
            return gi_dim_const(g->dims, 0);
    const gi_type *t = row->traits & GI_REDUCTION ? type_in(n, 0) : type_out(n, 0);
    return t ? tail(g->dims, t, 0) : gi_dim_const(g->dims, 0);
}

/* How often a Loop's or Scan's body runs; 1 where that is not known. */
static const gi_dim *trips(const gi_node *n)
{
    gi_dims *t = n->block->graph->dims;
    const char *name = gi_op_get(n->op)->name;
    const gi_attr *inputs = gi_attr_find(n, "num_scan_inputs");
    if (!strcmp(name, "Loop") && gi_node_in(n, 0)) {
        uint32_t count;
        int64_t low;
        const gi_dim *const *known = gi_value_known(gi_node_in(n, 0), &count);
        if (known && count == 1 && !gi_dim_is_unknown(known[0]) && !gi_dim_is(known[0], INT64_MAX) &&
            gi_dim_lower(known[0], &low) && low >= 0)
            return known[0];
    }
    if (!strcmp(name, "Scan") && inputs && inputs->u.i > 0 && inputs->u.i <= n->n_in) {
        const gi_type *a = type_in(n, n->n_in - (uint32_t)inputs->u.i);
        if (a && a->rank > 0)
            return a->dims[0];
    }
    return gi_dim_const(t, 1);
}

static const gi_dim *block_flops(const gi_block *b, int depth);

static const gi_dim *node_flops(const gi_node *n, int depth)
{
    gi_dims *t = n->block->graph->dims;
    const gi_op *row = gi_op_get(n->op);
    if (n->op == OP_Unknown)
        return gi_dim_const(t, 0);
    if (row->traits & GI_CONTROL) {
        const bool either = !strcmp(row->name, "If");
        const gi_dim *sum = gi_dim_const(t, 0);
        for (uint32_t i = 0; i < n->n_attrs && depth < GI_MAX_NESTING; i++) {
            if (n->attrs[i].kind != GI_ATTR_GRAPH || !n->attrs[i].u.graph)
                continue;
            const gi_dim *f = block_flops(n->attrs[i].u.graph, depth + 1);
            sum = either ? gi_dim_max(t, sum, f) : gi_dim_add(t, sum, f);
        }
        const product *own = find_product(row->name); /* FlexAttention's, beside what its graphs do */
        return own ? gi_dim_add(t, sum, own->flops(n, own->x, own->w)) : gi_dim_mul(t, sum, trips(n));
    }
    const product *p = find_product(row->name);
    return p ? p->flops(n, p->x, p->w) : of_elements(n);
}

static const gi_dim *block_flops(const gi_block *b, int depth)
{
    const gi_dim *sum = gi_dim_const(b->graph->dims, 0);
    for (const gi_node *n = b->first; n; n = n->next)
        sum = gi_dim_add(b->graph->dims, sum, node_flops(n, depth));
    return sum;
}

const gi_dim *gi_node_flops(const gi_node *n)
{
    return node_flops(n, gi_block_depth(n->block));
}

const gi_dim *gi_block_flops(const gi_block *b)
{
    return block_flops(b, gi_block_depth(b));
}
