/* Building what a group of parallel products becomes (see merge.h). */
#include "passes/merge.h"

int gi_merge_weight_axis(const gi_node *n)
{
    return n->op == OP_Conv || (n->op == OP_Gemm && gi_attr_int(n, Gemm_at_transB)) ? 0 : 1;
}

bool gi_merge_is_per_channel(const gi_merge *mg, const gi_member *m, const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    const int rank = gi_value_rank(m->product->out[0]);
    if (!b || b->dtype != gi_value_dtype(m->product->out[0]) || b->rank > rank || gi_blob_elements(b) != m->width)
        return false;
    for (int i = 0; i < b->rank; i++)
        if (b->dims[i] != 1 && rank - b->rank + i != mg->axis)
            return false;
    return true;
}

/* ---- constants side by side ---- */

/* Takes the references of the parts over. */
static gi_value *side_by_side(gi_merge *mg, gi_blob **parts, size_t n, int axis, int rank, const int64_t *tail)
{
    gi_blob *all = NULL, *shaped = NULL;
    if (n == mg->n && gi_blob_concat(mg->g->cx, parts, n, axis, &all) == GOPT_OK && tail) {
        int64_t dims[GOPT_MAX_RANK];
        dims[0] = gi_blob_elements(all);
        for (int i = 1; i < rank; i++)
            dims[i] = tail[i - 1];
        if (gi_blob_reshaped(all, rank, dims, &shaped) != GOPT_OK)
            shaped = NULL;
        gi_blob_unref(all);
        all = shaped;
    }
    for (size_t i = 0; i < n; i++)
        gi_blob_unref(parts[i]);
    return all ? gi_const(mg->g, all, NULL) : NULL;
}

static gi_blob *zeros(gi_merge *mg, gopt_dtype t, int64_t n)
{
    gi_blob *b;
    if (gi_blob_create(mg->g->cx, t, 1, &n, &b) != GOPT_OK)
        return NULL;
    return b;
}

/* One element a channel of every member, a zero where `values` has none, as [N, 1, …] with `trailing` ones. */
static gi_value *per_channel(gi_merge *mg, gi_value *const *values, int trailing)
{
    static const int64_t ones[GI_MERGE_SPATIAL] = { 1, 1, 1 };
    gi_blob *parts[GI_MERGE_MEMBERS] = { NULL };
    size_t made = 0;
    gopt_dtype t = GOPT_UNDEFINED;
    for (size_t i = 0; i < mg->n; i++)
        t = values[i] ? values[i]->def.blob->dtype : t;
    for (; made < mg->n; made++) {
        const int64_t width = mg->m[made].width;
        if (!values[made])
            parts[made] = zeros(mg, t, width);
        else if (gi_blob_reshaped(values[made]->def.blob, 1, &width, &parts[made]) != GOPT_OK)
            parts[made] = NULL;
        if (!parts[made])
            break;
    }
    return side_by_side(mg, parts, made, 0, 1 + trailing, ones);
}

/* A matrix with rows and columns exchanged. */
static gi_blob *transposed(gi_merge *mg, const gi_blob *b)
{
    gi_blob *t;
    const size_t item = (size_t)gopt_dtype_bits(b->dtype) / 8;
    if (gi_blob_create(mg->g->cx, b->dtype, 2, (const int64_t[]){ b->dims[1], b->dims[0] }, &t) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < b->dims[0]; i++)
        for (int64_t k = 0; k < b->dims[1]; k++)
            memcpy((char *)t->owned + (size_t)(k * b->dims[0] + i) * item,
                   (const char *)b->data + (size_t)(i * b->dims[1] + k) * item, item);
    return t;
}

/* A convolution's weights with zeros around each kernel. */
static gi_blob *padded(gi_merge *mg, const gi_member *m, const gi_blob *b)
{
    int64_t dims[GOPT_MAX_RANK], kernels = b->dims[0] * b->dims[1], taps = 1, index[GOPT_MAX_RANK];
    const size_t item = (size_t)gopt_dtype_bits(b->dtype) / 8;
    gi_blob *p;
    memcpy(dims, b->dims, (size_t)b->rank * sizeof *dims);
    for (int i = 2; i < b->rank; i++) {
        dims[i] += m->before[i - 2] + m->after[i - 2];
        taps *= b->dims[i];
    }
    if (gi_blob_create(mg->g->cx, b->dtype, b->rank, dims, &p) != GOPT_OK)
        return NULL;
    for (int64_t k = 0; k < kernels; k++)
        for (int64_t t = 0; t < taps; t++) {
            int64_t rest = t, at = 0;
            for (int i = b->rank - 1; i >= 2; i--) {
                index[i] = rest % b->dims[i] + m->before[i - 2];
                rest /= b->dims[i];
            }
            at = k;
            for (int i = 2; i < b->rank; i++)
                at = at * dims[i] + index[i];
            memcpy((char *)p->owned + (size_t)at * item, (const char *)b->data + (size_t)(k * taps + t) * item, item);
        }
    return p;
}

static gi_value *weights(gi_merge *mg)
{
    const int axis = gi_merge_weight_axis(mg->m[0].product);
    gi_blob *parts[GI_MERGE_MEMBERS] = { NULL };
    size_t made = 0;
    for (; made < mg->n; made++) {
        const gi_member *m = &mg->m[made];
        gi_blob *b = gi_node_in(m->product, 1)->def.blob;
        parts[made] = mg->padded                                 ? padded(mg, m, b)
                      : gi_merge_weight_axis(m->product) != axis ? transposed(mg, b)
                                                                 : gi_blob_ref(b);
        if (!parts[made])
            break;
    }
    return side_by_side(mg, parts, made, axis, 0, NULL);
}

/* ---- nodes ---- */

static bool done(gi_merge *mg, gi_node *n)
{
    return n && gi_infer_node(n, mg->cx->scratch) == GOPT_OK;
}

static bool add_origins(const gi_merge *mg, gi_node *n)
{
    if (n->op == mg->m[0].product->op)
        n->name = mg->m[0].product->name;
    for (size_t i = 0; i < mg->n; i++) {
        const gi_member *m = &mg->m[i];
        if (!gi_node_merge_origins(n, m->product) || (m->bias && !gi_node_merge_origins(n, m->bias)))
            return false;
        for (size_t k = 0; k < mg->n_steps; k++)
            if (!gi_node_merge_origins(n, m->step[k]))
                return false;
    }
    return true;
}

static gi_node *build_product(gi_merge *mg)
{
    const gi_node *like = mg->m[mg->wide].product;
    gi_value *biases[GI_MERGE_MEMBERS] = { NULL };
    bool any = false;
    for (size_t i = 0; i < mg->n; i++) {
        biases[i] = gi_node_in(mg->m[i].product, 2);
        any = any || biases[i];
    }
    gi_value *x = gi_node_in(mg->split ? mg->split : like, 0);
    gi_value *in[3] = { x, weights(mg), any ? per_channel(mg, biases, 0) : NULL };
    if (!in[1] || (any && !in[2]))
        return NULL;
    gi_node *n = gi_node_create(like->block, mg->before, like->op, any ? 3 : 2, in, 1);
    if (!n || !gi_attrs_copy(n, like))
        return NULL;
    if (mg->split)
        gi_attr_set_int(n, Conv_at_group, (int64_t)mg->n * gi_attr_int(like, Conv_at_group));
    return done(mg, n) && add_origins(mg, n) ? n : NULL;
}

static gi_node *build_bias(gi_merge *mg, gi_value *x)
{
    gi_value *biases[GI_MERGE_MEMBERS] = { NULL };
    for (size_t i = 0; i < mg->n; i++)
        if (mg->m[i].bias)
            biases[i] = gi_node_in(mg->m[i].bias, gi_value_blob(gi_node_in(mg->m[i].bias, 1)) ? 1 : 0);
    gi_value *in[2] = { x, per_channel(mg, biases, 0) };
    gi_node *n = in[1] ? gi_node_create(mg->before->block, mg->before, OP_Add, 2, in, 1) : NULL;
    return done(mg, n) && add_origins(mg, n) ? n : NULL;
}

/* Which result of the member v is; -1: none. */
static int result_index(const gi_merge *mg, const gi_member *m, const gi_value *v)
{
    for (size_t j = 0; j <= mg->n_steps; j++)
        if (gi_member_value(m, j) == v)
            return (int)j;
    return -1;
}

/* The member's constant where the first member's step k has one: its operands may stand the other way round. */
static gi_value *own_constant(const gi_merge *mg, size_t i, size_t k, uint32_t p)
{
    gi_node *n = mg->m[i].step[k];
    gi_value *v = gi_node_in(n, p);
    return gi_value_blob(v) || n->n_in != 2 ? v : gi_node_in(n, 1 - p);
}

static gi_node *build_step(gi_merge *mg, size_t k, gi_value *const *results)
{
    gi_node *like = mg->m[0].step[k];
    gi_value **in = GI_NEW_ARRAY(mg->cx->scratch, gi_value *, like->n_in + 1);
    if (!in)
        return NULL;
    for (uint32_t p = 0; p < like->n_in; p++) {
        gi_value *v = gi_node_in(like, p);
        const int j = v ? result_index(mg, &mg->m[0], v) : -1;
        gi_value *own[GI_MERGE_MEMBERS];
        bool same = true;
        if (!v || j >= 0) {
            in[p] = v ? results[j] : NULL;
            continue;
        }
        for (size_t i = 0; i < mg->n; i++) {
            own[i] = own_constant(mg, i, k, p);
            same = same && gi_blob_elements(own[i]->def.blob) == 1 && gi_blob_equal(own[i]->def.blob, v->def.blob);
        }
        in[p] = same ? v : per_channel(mg, own, gi_value_rank(mg->m[0].product->out[0]) - 1 - mg->axis);
        if (!in[p])
            return NULL;
    }
    gi_node *n = gi_node_create(mg->before->block, mg->before, like->op, like->n_in, in, 1);
    return n && gi_attrs_copy(n, like) && done(mg, n) && add_origins(mg, n) ? n : NULL;
}

static gi_node *build_split(gi_merge *mg, gi_value *x)
{
    int64_t sizes[GI_MERGE_MEMBERS];
    for (size_t i = 0; i < mg->n; i++)
        sizes[i] = mg->m[i].width;
    gi_value *in[2] = { x, gi_const_i64(mg->g, 1, (int64_t)mg->n, sizes) };
    gi_node *n = in[1] ? gi_node_create(mg->before->block, mg->before, OP_Split, 2, in, (uint32_t)mg->n) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, Split_at_axis, mg->axis);
    return done(mg, n) && add_origins(mg, n) ? n : NULL;
}

/* The Concat reads the one result in place of the n from `from` on. */
static bool shorten_concat(const gi_merge *mg, gi_value *y)
{
    gi_node *c = mg->concat;
    const uint32_t n = (uint32_t)mg->n;
    gi_node_set_in(c, mg->from, y);
    for (uint32_t i = mg->from + 1; i + n - 1 < c->n_in; i++)
        gi_node_set_in(c, i, c->in[i + n - 1].value);
    return gi_node_resize_in(c, c->n_in - n + 1);
}

gopt_status gi_merge_build(gi_merge *mg, gi_node **at)
{
    gi_value *results[GI_MERGE_STEPS + 1];
    gi_node *top = build_product(mg), *end = top;
    GI_NEED(top);
    if (mg->biased) {
        end = build_bias(mg, top->out[0]);
        GI_NEED(end);
    }
    results[0] = end->out[0];
    for (size_t k = 0; k < mg->n_steps; k++) {
        end = build_step(mg, k, results);
        GI_NEED(end);
        results[k + 1] = end->out[0];
    }
    *at = top->name || top->n_origins ? top : mg->concat; /* what a reader can find again */
    if (mg->concat) {
        GI_NEED(shorten_concat(mg, end->out[0]));
    } else {
        gi_node *split = build_split(mg, end->out[0]);
        GI_NEED(split);
        for (size_t i = 0; i < mg->n; i++) {
            gi_value *old = mg->m[i].last;
            gi_value_refine(mg->g, split->out[i], old->type);
            gi_value_take_name(split->out[i], old);
            gi_value_replace_uses(old, split->out[i]);
        }
        *at = *at ? *at : split;
    }
    for (size_t i = 0; i < mg->n; i++)
        gi_remove_dead(gi_value_node(mg->m[i].last), mg->cx->scratch);
    return GOPT_OK;
}
