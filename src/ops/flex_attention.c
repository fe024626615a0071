/* FlexAttention: the products are attention's, between them the model's own graphs run on all scores at once. */
#include <math.h>

#include "ops/attention.h"
#include "ops/gemm.h"
#include "ops/move.h"
#include "ops/softmax.h"

enum { Q = FlexAttention_in_Q, K = FlexAttention_in_K, V = FlexAttention_in_V };

/* The type of the scores that the graphs see; undefined where the attribute names none. */
static gopt_dtype scores_dtype(const gi_node *n, gopt_dtype q)
{
    const int64_t asked = gi_attr_int(n, FlexAttention_at_softmax_precision);
    if (!gi_attr_has(n, FlexAttention_at_softmax_precision))
        return gi_real_of(q);
    return asked == GOPT_F32 || asked == GOPT_F16 || asked == GOPT_BF16 || asked == GOPT_F64 ? (gopt_dtype)asked
                                                                                             : GOPT_UNDEFINED;
}

/* A graph gets the scores and gives some of the same type and shape. */
static gopt_status infer_mod(gi_infer *c, int at, const gi_type *scores)
{
    gi_block *b = gi_attr_graph(c->n, at);
    const char *name = gi_op_get(c->n->op)->attrs[at].name;
    bool clash = false;
    if (!b)
        return GOPT_OK;
    if (b->n_params != 1 || b->n_results != 1)
        return gi_infer_fail_node(c, "graph %s has %u inputs and %u outputs, expected one of each", name, b->n_params,
                                  b->n_results);
    GI_NEED(scores);
    const gi_type *t = gi_type_merge(c->g, b->params[0]->type, scores, &clash);
    gi_value_set_type(b->params[0], clash ? scores : t);
    GI_TRY(gi_infer_block(b, c->scratch));
    const gi_type *made = b->results[0].value ? b->results[0].value->type : NULL;
    (void)gi_type_merge(c->g, made, scores, &clash);
    if (clash)
        return gi_infer_fail_node(c, "graph %s takes or gives something else than the scores", name);
    return GOPT_OK;
}

static gopt_status infer_flex_attention(gi_infer *c)
{
    const gopt_dtype dtype = gi_infer_dtype(c, Q), inner = scores_dtype(c->n, dtype);
    int64_t heads, kv_heads;
    for (uint32_t i = Q; i <= V; i++) {
        GI_TRY(gi_infer_want_rank(c, i, 4));
        GI_TRY(gi_infer_want_dtype(c, i, Q));
        GI_TRY(gi_infer_want_dim(c, i, 0, gi_infer_dim(c, Q, 0), "the batch"));
    }
    if (inner == GOPT_UNDEFINED && dtype != GOPT_UNDEFINED)
        return gi_infer_fail_node(c, "attribute softmax_precision names no type of floats");
    GI_TRY(gi_infer_want_dim(c, K, 3, gi_infer_dim(c, Q, 3), "the size of a head of queries"));
    GI_TRY(gi_infer_want_dim(c, V, 1, gi_infer_dim(c, K, 1), "the heads of keys"));
    GI_TRY(gi_infer_want_dim(c, V, 2, gi_infer_dim(c, K, 2), "the tokens of keys"));
    if (gi_dim_is_const(gi_infer_dim(c, Q, 1), &heads) && gi_dim_is_const(gi_infer_dim(c, K, 1), &kv_heads) &&
        (kv_heads < 1 || heads % kv_heads))
        return gi_infer_fail(c, K, "expected a number of heads that divides the %lld of queries", (long long)heads);
    const gi_dim *rows[] = { gi_infer_dim(c, Q, 0), gi_infer_dim(c, Q, 1), gi_infer_dim(c, Q, 2) };
    const gi_type *scores =
        gi_type_tensor(c->g->types, inner, 4, (const gi_dim *[]){ rows[0], rows[1], rows[2], gi_infer_dim(c, K, 2) });
    GI_TRY(infer_mod(c, FlexAttention_at_score_mod, scores));
    GI_TRY(infer_mod(c, FlexAttention_at_prob_mod, scores));
    gi_infer_set(c, 0, dtype, 4, (const gi_dim *[]){ rows[0], rows[1], rows[2], gi_infer_dim(c, V, 3) });
    return GOPT_OK;
}

/* Runs a graph over the scores, elements of `real`, in place. */
static gopt_status run_mod(gi_eval *a, int at, gopt_dtype real, const int64_t *dims, void *scores)
{
    const gi_block *b = gi_attr_graph(a->n, at);
    const char *name = gi_op_get(a->n->op)->attrs[at].name;
    const gopt_dtype t = scores_dtype(a->n, a->in[Q]->dtype);
    const size_t n = (size_t)gi_product(0, 4, dims);
    gopt_tensor *in = NULL, *out = NULL;
    if (!b)
        return GOPT_OK;
    if (b->n_params != 1 || b->n_results != 1)
        return gi_eval_fail(a, -1, "graph %s has %u inputs and %u outputs, expected one of each", name, b->n_params,
                            b->n_results);
    GI_TRY(gopt_tensor_create(a->cx, t, 4, dims, &in));
    gi_convert(t, in->data, real, scores, n);
    gopt_status st = gi_eval_block(a->cx, b, (const gopt_tensor *const[]){ in }, a->lookup, a->user, &out);
    if (st == GOPT_OK && (out->kind != GOPT_TENSOR || out->dtype != t || out->rank != 4 ||
                          memcmp(out->dims, dims, 4 * sizeof *dims) != 0))
        st = gi_eval_fail(a, -1, "graph %s gives something else than the scores that it was given", name);
    if (st == GOPT_OK)
        gi_convert(real, scores, t, out->data, n);
    gopt_tensor_unref(out);
    gopt_tensor_unref(in);
    return st;
}

static void soften(gopt_dtype real, int64_t rows, int64_t n, void *scores)
{
    for (int64_t i = 0; i < rows && n > 0; i++)
        if (real == GOPT_F64)
            gi_softmax_line_f64((double *)scores + i * n, (double *)scores + i * n, n);
        else
            gi_softmax_line_f32((float *)scores + i * n, (float *)scores + i * n, n);
}

/* The same as gi_attention_run, with the scores of all heads at once. */
static gopt_status run_with_mods(gi_eval *a, gopt_dtype real, const gi_attention *t, const void *q, const void *k,
                                 const void *v, void *y)
{
    const int64_t dims[] = { t->batch, t->heads, t->queries, t->keys }, share = t->heads / t->kv_heads;
    const gi_word word = real == GOPT_F64 ? GI_WORD_F64 : GI_WORD_F32;
    const size_t item = gi_item_size(real);
    int64_t n, rows;
    if (!gi_mul_i64(t->batch * t->heads, t->queries, &rows) || !gi_mul_i64(rows, t->keys, &n))
        return gi_eval_fail(a, K, "has too many tokens");
    uint8_t *s = gi_eval_scratch(a, (size_t)n, item), *turned = gi_eval_scratch(a, (size_t)(t->keys * t->size), item);
    GI_NEED(s && turned);
    for (int64_t h = 0; h < t->batch * t->heads; h++) {
        const int64_t kv = h / t->heads * t->kv_heads + h % t->heads / share;
        gi_transpose_words(item, t->keys, t->size, (const uint8_t *)k + (size_t)(kv * t->keys * t->size) * item,
                           turned);
        gi_gemm(word, t->queries, t->keys, t->size, (const uint8_t *)q + (size_t)(h * t->queries * t->size) * item,
                turned, s + (size_t)(h * t->queries * t->keys) * item);
    }
    for (int64_t i = 0; i < n; i++)
        if (real == GOPT_F64)
            ((double *)(void *)s)[i] *= t->scale;
        else
            ((float *)(void *)s)[i] *= (float)t->scale;
    GI_TRY(run_mod(a, FlexAttention_at_score_mod, real, dims, s));
    soften(real, rows, t->keys, s);
    GI_TRY(run_mod(a, FlexAttention_at_prob_mod, real, dims, s));
    memset(y, 0, (size_t)(rows * t->v_size) * item);
    for (int64_t h = 0; h < t->batch * t->heads; h++) {
        const int64_t kv = h / t->heads * t->kv_heads + h % t->heads / share;
        gi_gemm(word, t->queries, t->v_size, t->keys, s + (size_t)(h * t->queries * t->keys) * item,
                (const uint8_t *)v + (size_t)(kv * t->keys * t->v_size) * item,
                (uint8_t *)y + (size_t)(h * t->queries * t->v_size) * item);
    }
    return GOPT_OK;
}

static gopt_status check_shapes(const gi_eval *a)
{
    for (uint32_t i = Q; i <= V; i++) {
        GI_TRY(gi_eval_rank(a, i, 4));
        GI_TRY(gi_eval_dim(a, i, 0, a->in[Q]->dims[0]));
    }
    GI_TRY(gi_eval_dim(a, K, 3, a->in[Q]->dims[3]));
    GI_TRY(gi_eval_dim(a, V, 1, a->in[K]->dims[1]));
    GI_TRY(gi_eval_dim(a, V, 2, a->in[K]->dims[2]));
    const int64_t heads = a->in[Q]->dims[1], kv_heads = a->in[K]->dims[1];
    if (kv_heads < 1 || heads % kv_heads)
        return gi_eval_fail(a, K, "has %lld heads, which do not divide the %lld of queries", (long long)kv_heads,
                            (long long)heads);
    return GOPT_OK;
}

static gopt_status eval_flex_attention(gi_eval *a)
{
    const void *q, *k, *v;
    gi_real y;
    GI_TRY(check_shapes(a));
    const int64_t *dq = a->in[Q]->dims, *dk = a->in[K]->dims, *dv = a->in[V]->dims;
    const gopt_dtype dtype = a->in[Q]->dtype, inner = scores_dtype(a->n, dtype);
    if (inner == GOPT_UNDEFINED)
        return gi_eval_fail(a, -1, "attribute softmax_precision names no type of floats");
    const gopt_dtype real = dtype == GOPT_F64 || inner == GOPT_F64 ? GOPT_F64 : GOPT_F32;
    GI_TRY(gi_real_in(a, Q, real, &q));
    GI_TRY(gi_real_in(a, K, real, &k));
    GI_TRY(gi_real_in(a, V, real, &v));
    GI_TRY(gi_real_out_as(a, 0, dtype, real, 4, (int64_t[]){ dq[0], dq[1], dq[2], dv[3] }, &y));
    if (!y.p || gopt_tensor_elements(y.t) == 0)
        return GOPT_OK;
    const gi_attention t = { .batch = dq[0],
                             .heads = dq[1],
                             .kv_heads = dk[1],
                             .queries = dq[2],
                             .keys = dk[2],
                             .size = dq[3],
                             .v_size = dv[3],
                             .q = gi_heads_apart(dq[1], dq[2], dq[3]),
                             .k = gi_heads_apart(dk[1], dk[2], dk[3]),
                             .v = gi_heads_apart(dv[1], dv[2], dv[3]),
                             .y = gi_heads_apart(dq[1], dq[2], dv[3]),
                             .scale = gi_attr_has(a->n, FlexAttention_at_scale)
                                          ? (double)gi_attr_float(a->n, FlexAttention_at_scale)
                                          : 1 / sqrt((double)dq[3]) };
    const bool plain =
        !gi_attr_graph(a->n, FlexAttention_at_score_mod) && !gi_attr_graph(a->n, FlexAttention_at_prob_mod);
    GI_TRY(plain ? gi_attention_run(a, real, &t, q, k, v, y.p) : run_with_mods(a, real, &t, q, k, v, y.p));
    gi_real_store(&y);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/flex_attention.def"
