/* Reading a region of attention, as fuse_attention.c draws it.
 *
 *     q ─ Transpose, scaling ─┐
 *     k ─ Transpose, scaling ─ MatMul ─ pointwise, Reshape ─ Softmax ─ pointwise ─┐
 *     v ─ Transpose, scaling ───────────────────────────────────────────────────── MatMul ─ Transpose ─
 *
 * The Transposes become strides of what is read and written, so a kernel needs none of them. */
#include "backend/attention.h"

enum { MAX_BORDER = 4 };

static bool static_f32(const gi_value *v, int *rank, int64_t *dims)
{
    if (!v || !gi_type_is_static(v->type) || v->type->dtype != GOPT_F32)
        return false;
    *rank = v->type->rank;
    return gi_type_static_dims(v->type, dims);
}

gi_attention_stage gi_attention_stage_of(const gi_attention_region *p, const gi_value *v)
{
    return v ? (gi_attention_stage)(uintptr_t)gi_map_get(&p->stages, (uint64_t)v->id + 1) : GI_ATTENTION_BORDER;
}

static gi_attention_stage inputs_stage(const gi_attention_region *p, const gi_node *n)
{
    gi_attention_stage t = GI_ATTENTION_BORDER;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_attention_stage own = gi_attention_stage_of(p, gi_node_in(n, i));
        t = own > t ? own : t;
    }
    return t;
}

bool gi_attention_keeps_rows(const gi_node *n)
{
    int rx, ry;
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    return n->op == OP_Reshape && static_f32(gi_node_in(n, 0), &rx, x) && static_f32(n->out[0], &ry, y) && rx >= 2 &&
           ry >= 2 && x[rx - 1] == y[ry - 1] && x[rx - 2] == y[ry - 2];
}

/* The stage of n's result where it may stand after `t`; false where it is none of attention's. */
static bool read_node(gi_attention_region *p, gi_node *n, bool (*takes)(const gi_node *), gi_attention_stage t,
                      gi_attention_stage *out)
{
    *out = t;
    if (n->n_out != 1)
        return false;
    if (n->op == OP_MatMul) {
        const bool border = t == GI_ATTENTION_BORDER;
        gi_node **as = border ? &p->scores : &p->values;
        *out = border ? GI_ATTENTION_SCORES : GI_ATTENTION_RESULT;
        if (*as || (!border && (gi_attention_stage_of(p, gi_node_in(n, 0)) != GI_ATTENTION_PROBABILITIES ||
                                gi_attention_stage_of(p, gi_node_in(n, 1)))))
            return false;
        *as = n;
        return true;
    }
    if (n->op == OP_Softmax) {
        const int64_t axis = gi_attr_int(n, Softmax_at_axis);
        p->softmax = n;
        *out = GI_ATTENTION_PROBABILITIES;
        return t == GI_ATTENTION_SCORES && n->out[0]->type && (axis == -1 || axis == n->out[0]->type->rank - 1);
    }
    if (t == GI_ATTENTION_BORDER)
        p->n_border++;
    else if (t == GI_ATTENTION_RESULT)
        return n->op == OP_Transpose && n == p->body->last;
    else if (!takes(n) && !(t == GI_ATTENTION_SCORES && gi_attention_keeps_rows(n)))
        return false;
    else if (t == GI_ATTENTION_SCORES)
        p->before[p->n_before++] = n;
    else
        p->behind[p->n_behind++] = n;
    return true;
}

static bool one_number(const gi_value *v, float *x)
{
    const gi_blob *b = gi_value_blob(v);
    if (!b || b->dtype != GOPT_F32 || gi_blob_elements(b) != 1)
        return false;
    memcpy(x, b->data, sizeof(*x));
    return true;
}

bool gi_attention_scaling(const gi_node *n, gi_attention_operand *o)
{
    float x;
    const bool right = one_number(gi_node_in(n, 1), &x);
    if (o->scaling != GI_UNSCALED || (n->op != OP_Mul && n->op != OP_Div) ||
        (!right && (n->op == OP_Div || !one_number(gi_node_in(n, 0), &x))))
        return false;
    gi_value *v = gi_node_in(n, right ? 0 : 1);
    if (!v || v->type != n->out[0]->type)
        return false;
    o->source = v;
    o->scaling = n->op == OP_Mul ? GI_TIMES : GI_DIVIDED;
    o->scale = x;
    return true;
}

/* The axes as the Transpose leaves them. */
static bool transpose(const gi_node *n, int rank, int *axis)
{
    int from[GOPT_MAX_RANK];
    const int64_t *perm;
    const uint32_t np = gi_attr_ints(n, Transpose_at_perm, &perm);
    if (np && np != (uint32_t)rank)
        return false;
    memcpy(from, axis, sizeof from);
    for (int i = 0; i < rank; i++) {
        const int64_t at = np ? perm[i] : rank - 1 - i;
        if (at < 0 || at >= rank)
            return false;
        axis[i] = from[at];
    }
    return true;
}

/* Goes back from v to the value outside that it is made of. */
static bool read_operand(gi_attention_region *p, gi_value *v, gi_attention_operand *o)
{
    const gi_node *transposes[MAX_BORDER];
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
    int n = 0;
    *o = (gi_attention_operand){ .source = v };
    for (gi_node *k; (k = gi_value_node(o->source)) && k->block == p->body; p->n_border--) {
        if (k->op != OP_Transpose) {
            if (!gi_attention_scaling(k, o))
                return false;
            continue;
        }
        if (n == MAX_BORDER)
            return false;
        transposes[n++] = k;
        o->source = gi_node_in(k, 0);
    }
    if (!o->source || gi_value_blob(o->source) || !static_f32(o->source, &o->rank, dims) || o->rank < 2)
        return false;
    for (int i = 0; i < o->rank; i++)
        o->axis[i] = i;
    while (n > 0)
        if (!transpose(transposes[--n], o->rank, o->axis))
            return false;
    gi_strides(o->rank, dims, strides);
    for (int i = 0; i < o->rank; i++) {
        o->dims[i] = dims[o->axis[i]];
        o->strides[i] = strides[o->axis[i]];
    }
    return true;
}

/* Is the operand broadcast to the batch? */
static bool fits_batch(const gi_attention_region *p, const gi_attention_operand *o)
{
    const int lead = p->rank - (o->rank - 2);
    for (int i = 0; i < o->rank - 2; i++)
        if (lead < 0 || (o->dims[i] != 1 && o->dims[i] != p->dims[lead + i]))
            return false;
    return lead >= 0;
}

void gi_attention_batch_strides(const gi_attention_region *p, const gi_attention_operand *o, const int64_t *strides,
                                int64_t *batch)
{
    const int lead = p->rank - (o->rank - 2);
    for (int i = 0; i < p->rank; i++)
        batch[i] = i < lead || o->dims[i - lead] == 1 ? 0 : strides[i - lead];
}

/* Sizes of everything; false where they are not attention's. */
static bool read_shapes(gi_attention_region *p)
{
    int rank, ry;
    int64_t y[GOPT_MAX_RANK], scores[GOPT_MAX_RANK];
    if (!read_operand(p, gi_node_in(p->scores, 0), &p->q) || !read_operand(p, gi_node_in(p->scores, 1), &p->k) ||
        !read_operand(p, gi_node_in(p->values, 1), &p->v) || p->n_border || !static_f32(p->values->out[0], &rank, y) ||
        rank < 2)
        return false;
    p->rank = rank - 2;
    if (!static_f32(p->scores->out[0], &ry, scores) || ry != rank ||
        memcmp(scores, y, (size_t)p->rank * sizeof(*y)) != 0 || gi_product(0, rank, y) <= 0)
        return false;
    p->m = y[rank - 2];
    p->dv = y[rank - 1];
    p->n = scores[rank - 1];
    p->d = p->q.dims[p->q.rank - 1];
    p->batch = gi_product(0, p->rank, y);
    memcpy(p->dims, y, (size_t)p->rank * sizeof(*y));
    for (int i = 0; i < rank; i++)
        p->y_axis[i] = i;
    if (p->body->last != p->values) { /* where the dims lie once the Transpose behind has turned them */
        int order[GOPT_MAX_RANK];
        memcpy(order, p->y_axis, sizeof order);
        if (!transpose(p->body->last, rank, order))
            return false;
        for (int i = 0; i < rank; i++)
            p->y_axis[order[i]] = i;
    }
    return p->d > 0 && p->n > 0 && scores[rank - 2] == p->m && p->q.dims[p->q.rank - 2] == p->m &&
           p->k.dims[p->k.rank - 2] == p->d && p->k.dims[p->k.rank - 1] == p->n && p->v.dims[p->v.rank - 2] == p->n &&
           p->v.dims[p->v.rank - 1] == p->dv && fits_batch(p, &p->q) && fits_batch(p, &p->k) && fits_batch(p, &p->v);
}

gopt_status gi_attention_read_region(gi_arena *a, const gi_node *fusion, bool (*takes)(const gi_node *),
                                     gi_attention_region *p, bool *ok)
{
    *ok = false;
    *p = (gi_attention_region){ .body = fusion->op == OP_Fusion ? gi_fusion_block(fusion) : NULL };
    if (!p->body || p->body->n_results != 1 || fusion->n_out != 1)
        return GOPT_OK;
    gi_map_init(&p->stages, a);
    p->before = GI_NEW_ARRAY(a, gi_node *, p->body->n_nodes + 1);
    p->behind = GI_NEW_ARRAY(a, gi_node *, p->body->n_nodes + 1);
    GI_NEED(p->before && p->behind);
    for (gi_node *n = p->body->first; n; n = n->next) {
        gi_attention_stage t;
        if (!read_node(p, n, takes, inputs_stage(p, n), &t))
            return GOPT_OK;
        if (t != GI_ATTENTION_BORDER)
            GI_NEED(gi_map_put(&p->stages, (uint64_t)n->out[0]->id + 1, (void *)(uintptr_t)t));
    }
    *ok = p->scores && p->softmax && p->values && p->body->results[0].value == p->body->last->out[0] &&
          gi_attention_stage_of(p, p->body->last->out[0]) == GI_ATTENTION_RESULT && read_shapes(p);
    return GOPT_OK;
}

bool gi_attention_mask_of(const gi_attention_region *p, const gi_node *n, gi_value **mask, gi_value **scores)
{
    const bool right = gi_attention_stage_of(p, gi_node_in(n, 0)) == GI_ATTENTION_SCORES;
    *mask = gi_node_in(n, right ? 1 : 0);
    *scores = gi_node_in(n, right ? 0 : 1);
    return n->op == OP_Add && *mask && *scores && gi_attention_stage_of(p, *scores) == GI_ATTENTION_SCORES &&
           gi_attention_stage_of(p, *mask) == GI_ATTENTION_BORDER && (*scores)->type == n->out[0]->type;
}
