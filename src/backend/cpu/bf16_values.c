/* Which images of a plan lie in bfloat16: those that products of bfloat16 read or write, and what lies between them,
 * as long as whoever reads and writes them knows how. What a product reads it would round anyway.
 *
 * A block may have channels past the last one, which products multiply with zeros: so they must be finite, and only
 * operations that leave them so may write such a block. */
#include "backend/cpu/bf16.h"

/* The convolution that the step is, alone or with pointwise nodes behind it; NULL: it is something else. */
static const gi_node *convolution(const gi_node *n)
{
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    if (n->op != OP_Fusion)
        return n->op == OP_Conv ? n : NULL;
    if (!body || !body->first || body->first->op != OP_Conv)
        return NULL;
    for (const gi_node *k = body->first->next; k; k = k->next)
        if (!gi_vp_takes(k))
            return NULL;
    return body->first;
}

static bool is_pointwise(const gi_node *n)
{
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    if (n->op != OP_Fusion)
        return gi_vp_takes(n);
    for (const gi_node *k = body ? body->first : NULL; k; k = k->next)
        if (!gi_vp_takes(k))
            return false;
    return body && body->first;
}

/* A depthwise convolution or a pool, which read and write bfloat16 both or neither; or a mean of all pixels, which reads
 * it. */
static bool is_row(const gi_cpu *d, const gi_node *n)
{
    const gi_node *conv = convolution(n);
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    if (conv)
        return gi_conv_depthwise_takes(d, conv);
    if (body && body->first)
        for (const gi_node *k = body->first->next; k; k = k->next)
            if (!gi_vp_takes(k))
                return false;
    const gi_node *pool = body ? body->first : n;
    return pool && gi_pool_takes(d, pool) &&
           (pool->op == OP_MaxPool || pool->op == OP_AveragePool || pool->op == OP_GlobalAveragePool);
}

/* Of zeros, or numbers that are finite, it makes finite ones. */
static bool keeps_finite(const gi_node *n)
{
    switch (n->op) {
    case OP_Add:
    case OP_Sub:
    case OP_Mul:
    case OP_Min:
    case OP_Max:
    case OP_Relu:
    case OP_Clip:
    case OP_LeakyRelu:
    case OP_PRelu:
    case OP_Sigmoid:
    case OP_HardSigmoid:
    case OP_HardSwish:
    case OP_Tanh:
    case OP_Gelu:
    case OP_Neg:
    case OP_Abs:
    case OP_Identity:
    case OP_BatchNormalization:
        return true;
    default:
        return false;
    }
}

static bool all_keep_finite(const gi_node *n)
{
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    if (!body)
        return n->op == OP_Conv || n->op == OP_MaxPool || n->op == OP_AveragePool || n->op == OP_Resize ||
               keeps_finite(n);
    for (const gi_node *k = body->first; k; k = k->next)
        if (k->op != OP_Conv && k->op != OP_MaxPool && k->op != OP_AveragePool && !keeps_finite(k))
            return false;
    return true;
}

bool gi_bf16_multiplies(const gi_cpu *d, const gi_node *n)
{
    const gi_node *conv = convolution(n);
    return conv && gi_bf16_asked(d, 1) && gi_conv_bf16_takes(d, conv);
}

const gi_value *gi_bf16_factor(const gi_cpu *d, const gi_node *n)
{
    return gi_bf16_multiplies(d, n) ? gi_node_in(convolution(n), Conv_in_X) : NULL;
}

/* Only bias, residual and clamp stand behind the convolution. Another program would read what was rounded, widen it and
 * round it once more, which takes longer than writing floats. */
static bool ends_in_kernel(const gi_node *n)
{
    const gi_node *conv = convolution(n);
    for (const gi_node *k = conv && n->op == OP_Fusion ? conv->next : NULL; k; k = k->next)
        if (k->op != OP_Add && k->op != OP_Relu && k->op != OP_Clip)
            return false;
    return true;
}

bool gi_bf16_reads(const gi_cpu *d, const gi_node *n)
{
    return gi_bf16_multiplies(d, n) || is_pointwise(n) || gi_move_takes_bf16(d, n) || is_row(d, n) ||
           gi_resize_takes_blocked(n) || gi_rows_takes_blocked(n);
}

bool gi_bf16_writes(const gi_cpu *d, const gi_node *n)
{
    int64_t dims[GOPT_MAX_RANK];
    if (!ends_in_kernel(n))
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!gi_type_is_static(n->out[i]->type) || n->out[i]->type->rank < 3 ||
            !gi_type_static_dims(n->out[i]->type, dims) || (dims[1] % GK_BF16_K && !all_keep_finite(n)))
            return false;
    return gi_bf16_multiplies(d, n) || is_pointwise(n) || gi_move_takes_bf16(d, n) || is_row(d, n) ||
           gi_resize_takes_blocked(n);
}

/* ---- rows ---- */

/* The product with a constant matrix that the step is, alone or with pointwise nodes behind it that the kernel does:
 * a program would work on numbers that were rounded before. */
static const gi_node *row_product(const gi_cpu *d, const gi_node *n)
{
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    const gi_node *product = n->op == OP_Fusion ? body ? body->first : NULL : n;
    if (!product || (product->op != OP_MatMul && product->op != OP_Gemm) || !gi_matmul_bf16_takes(d, product))
        return NULL;
    for (const gi_node *k = body ? product->next : NULL; k; k = k->next)
        if (k->op != OP_Add && k->op != OP_Relu && k->op != OP_Clip &&
            (k->op != OP_Gelu || k->next || gi_attr_is(k, Gelu_at_approximate, "tanh")))
            return NULL;
    return product;
}

/* The node of the plan that holds the use; NULL: none. */
static const gi_node *holder(const gi_cpu_plan *p, const gi_use *u)
{
    const gi_node *n = u->node;
    const gi_block *b = n ? n->block : u->block;
    while (n ? !gi_map_get(&p->nodes, (uint64_t)n->id + 1) : b && b->owner) {
        n = b ? b->owner : NULL;
        b = n ? n->block : NULL;
    }
    return n;
}

static bool may_round(const gi_cpu *d, gi_cpu_plan *p, const gi_node *n)
{
    return d->precision == GI_BF16 || gi_bf16_is_between(p->arena, n);
}

bool gi_bf16_rows(const gi_cpu *d, gi_cpu_plan *p, const gi_node *n, const gi_value *v)
{
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    if (!gi_bf16_asked(d, 1) || !v->n_uses || v->n_uses > 4 || !row_product(d, n) ||
        !gi_cpu_static_f32(v, &rank, dims) || rank < 2 || !may_round(d, p, n))
        return false;
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_node *reader = holder(p, u), *product = reader ? row_product(d, reader) : NULL;
        if (!product || u->index != 0 || (u->node != product && u->node != reader) || !may_round(d, p, reader))
            return false;
    }
    return true;
}
