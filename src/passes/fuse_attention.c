/* Attention as one region: the scores are its largest tensor, and nothing else needs them.
 *
 *     %s = MatMul %q, %k                         %y = Fusion attention {
 *     %a = Add (Mul %s, 0.125), %mask   ⇒            Transpose, Mul, MatMul, Add, Softmax, MatMul, Transpose }
 *     %p = Softmax %a
 *     %y = MatMul %p, %v
 *
 * Found from the Softmax outwards. Towards the scores: pointwise nodes and views of the scores' size, to one MatMul of
 * computed operands. Behind: pointwise nodes of the same shape (what guards rows that are masked whole), to the MatMul
 * with the values. At the borders of the four tensors: a Transpose and a scaling by one number that nothing else
 * reads. All spellings end in this form; what a spelling has besides stays outside. The Attention operator is a region
 * with the Transposes at its borders. */
#include "passes/fuse.h"

enum { MAX_STEPS = 8, MAX_BORDER = 2 };

static bool is_scaling(const gi_node *n)
{
    const gi_blob *b = gi_value_blob(gi_node_in(n, 1)), *a = gi_value_blob(gi_node_in(n, 0));
    if (n->op == OP_Div)
        return b && gi_blob_elements(b) == 1;
    return n->op == OP_Mul && ((b && gi_blob_elements(b) == 1) || (a && gi_blob_elements(a) == 1));
}

/* A product of two computed operands: of a constant it is a layer. */
static bool is_computed_product(const gi_node *n)
{
    return n->op == OP_MatMul && gi_value_rank(n->out[0]) >= 2 && !gi_value_blob(gi_node_in(n, 0)) &&
           !gi_value_blob(gi_node_in(n, 1));
}

/* Adds what stands between the value and whoever makes it: a Transpose and a scaling, read by the set alone. */
static gopt_status add_border(gi_fuser *f, gi_value *v)
{
    for (int i = 0; i < MAX_BORDER; i++) {
        gi_node *n = gi_value_node(v);
        if (!gi_fuse_is_free(f, n) || gi_fuse_in_set(f, n) || !gi_fuse_only_inside(f, v) ||
            (n->op != OP_Transpose && !is_scaling(n)))
            return GOPT_OK;
        GI_NEED(gi_fuse_add(f, n));
        v = gi_node_in(n, n->op != OP_Transpose && gi_value_blob(gi_node_in(n, 0)) ? 1 : 0);
    }
    return GOPT_OK;
}

/* From the softmax's input to the product that makes the scores; NULL where something else does. */
static gi_node *find_scores(gi_fuser *f, const gi_node *softmax)
{
    const gi_dim *size = gi_type_count(f->g, softmax->out[0]->type);
    gi_value *v = gi_node_in(softmax, 0);
    for (int i = 0; i < MAX_STEPS; i++) {
        gi_node *n = gi_value_node(v);
        if (!gi_fuse_is_free(f, n))
            return NULL;
        if (!gi_fuse_only_inside(f, v)) {
            f->why = gi_arena_printf(f->cx->scratch, "the scores %s have %u users: %s", gi_value_ref(v, f->cx->scratch),
                                     v->n_uses, gi_value_users(v, f->cx->scratch));
            return NULL;
        }
        if (!gi_fuse_add(f, n))
            return NULL;
        if (is_computed_product(n))
            return n;
        if (!gi_fuse_is_pointwise(n) && n->op != OP_Reshape) {
            (void)gi_fuse_stop(f, n, "stands between the products, and is no pointwise node");
            return NULL;
        }
        gi_value *next = NULL; /* the operand that leads on: the mask and the scale are smaller, or no product's */
        for (uint32_t k = 0; k < n->n_in && (k == 0 || n->op != OP_Reshape); k++) {
            gi_value *x = gi_node_in(n, k);
            const gi_dim *own = x ? gi_type_count(f->g, x->type) : NULL;
            if (own && size && gi_dim_equal(f->g->dims, own, size) == 1 && gi_fuse_is_free(f, gi_value_node(x)) &&
                gi_fuse_only_inside(f, x) && (!next || is_computed_product(gi_value_node(x))))
                next = x;
        }
        if (!next)
            return NULL;
        v = next;
    }
    return NULL;
}

/* From the softmax to the product with the values; NULL where something else reads it. */
static gi_node *find_product(gi_fuser *f, const gi_node *softmax)
{
    if (!gi_fuse_push_users(f, softmax->out[0]))
        return NULL;
    for (gi_node *n; (n = gi_fuse_take_first(f));) {
        if (!gi_fuse_is_free(f, n))
            return NULL;
        const bool product = is_computed_product(n) && gi_fuse_in_set(f, gi_value_node(gi_node_in(n, 0))) &&
                             !gi_fuse_in_set(f, gi_value_node(gi_node_in(n, 1)));
        if (!product && (!gi_fuse_is_pointwise(n) || !gi_fuse_same_dims(f->g, n->out[0]->type, softmax->out[0]->type) ||
                         f->nodes.n > MAX_STEPS))
            return NULL;
        if (!gi_fuse_add(f, n))
            return NULL;
        if (product)
            return gi_fuse_is_closed(f) ? n : NULL;
        if (!gi_fuse_push_users(f, n->out[0]))
            return NULL;
    }
    return NULL;
}

/* A Transpose that alone reads the result is part of it. */
static gopt_status add_result_border(gi_fuser *f, const gi_value *v)
{
    gi_node *n = gi_value_only_user(v);
    if (n && n->op == OP_Transpose && gi_fuse_is_free(f, n))
        GI_NEED(gi_fuse_add(f, n));
    return GOPT_OK;
}

/* Of a softmax that a product reads, why it is none of attention's. */
static void explain(gi_fuser *f, const gi_node *softmax, bool has_product)
{
    const gi_value *y = softmax->out[0];
    const gi_node *reader = NULL;
    for (const gi_use *u = y->uses; u && y->n_uses <= GI_FUSE_MAX_USERS && !reader; u = u->next)
        reader = u->node && u->index == 0 && is_computed_product(u->node) ? u->node : NULL;
    if (reader && y->n_uses > 1 && !has_product)
        gi_declined(f->cx, "fuse_vertical", softmax, "not one attention kernel: its result has %u users: %s", y->n_uses,
                    gi_value_users(y, f->cx->scratch));
    else if (has_product && f->why)
        gi_declined(f->cx, "fuse_vertical", softmax, "not one attention kernel: %s", f->why);
}

static gopt_status around_softmax(gi_fuser *f, gi_node *softmax)
{
    GI_NEED(gi_fuse_begin(f, softmax));
    gi_node *values = find_product(f, softmax), *scores = values ? find_scores(f, softmax) : NULL;
    if (!scores) {
        explain(f, softmax, values != NULL);
        return GOPT_OK;
    }
    GI_TRY(add_border(f, gi_node_in(scores, 0)));
    GI_TRY(add_border(f, gi_node_in(scores, 1)));
    GI_TRY(add_border(f, gi_node_in(values, 1)));
    GI_TRY(add_result_border(f, values->out[0]));
    return gi_fuse_make(f, GI_FUSION_ATTENTION, softmax, NULL);
}

static gopt_status around_operator(gi_fuser *f, gi_node *n)
{
    GI_NEED(gi_fuse_begin(f, n));
    for (uint32_t i = 0; i < n->n_in && i < 3; i++)
        if (gi_node_in(n, i))
            GI_TRY(add_border(f, gi_node_in(n, i)));
    bool alone = true;
    for (uint32_t i = 1; i < n->n_out; i++)
        alone = alone && !n->out[i]->n_uses;
    if (alone) /* else a Transpose behind would have to stand before what reads the caches */
        GI_TRY(add_result_border(f, n->out[0]));
    return f->nodes.n > 1 ? gi_fuse_make(f, GI_FUSION_ATTENTION, n, NULL) : GOPT_OK;
}

static bool is_along_last(const gi_node *n)
{
    const int64_t axis = gi_attr_int(n, Softmax_at_axis);
    return axis == -1 || axis == gi_value_rank(n->out[0]) - 1;
}

gopt_status gi_fuse_attention(gi_fuser *f)
{
    for (size_t i = 0; i < f->all.n; i++) {
        gi_node *n = f->all.p[i];
        if (!gi_fuse_is_free(f, n))
            continue;
        if (n->op == OP_Softmax && gi_value_rank(n->out[0]) >= 2 && is_along_last(n))
            GI_TRY(around_softmax(f, n));
        else if (n->op == OP_Attention)
            GI_TRY(around_operator(f, n));
    }
    return GOPT_OK;
}
