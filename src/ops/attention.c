/* Attention and RotaryEmbedding as ONNX has them. */
#include "ops/attention.h"

#include <math.h>

#include "ops/move.h"

/* ---- type rules ---- */

/* An attribute that counts heads: where inputs hold them together it must be given. */
static gopt_status infer_heads(const gi_infer *c, int at, int rank, int64_t *heads)
{
    *heads = gi_attr_has(c->n, at) ? gi_attr_int(c->n, at) : 0;
    if (rank == 3 && *heads < 1)
        return gi_infer_fail_node(c, "attribute %s is missing or below 1: inputs of rank 3 need it",
                                  gi_op_get(c->n->op)->attrs[at].name);
    return GOPT_OK;
}

/* Heads, tokens and size of a head of an input, as far as they are known. */
static gopt_status infer_shape(gi_infer *c, uint32_t in, int64_t heads, const gi_dim *dims[4])
{
    int64_t hidden;
    const int rank = gi_infer_rank(c, in);
    for (int i = 0; i < 4; i++)
        dims[i] = gi_dim_unknown(c->g->dims, true);
    if (rank < 0)
        return GOPT_OK;
    if (rank != 3 && rank != 4)
        return gi_infer_fail(c, in, "expected rank 3 or 4");
    dims[0] = gi_infer_dim(c, in, 0);
    dims[2] = gi_infer_dim(c, in, rank - 2);
    if (rank == 4) {
        dims[1] = gi_infer_dim(c, in, 1);
        dims[3] = gi_infer_dim(c, in, 3);
        return GOPT_OK;
    }
    dims[1] = gi_dim_const(c->g->dims, heads);
    GI_NEED(dims[1]);
    if (gi_dim_is_const(gi_infer_dim(c, in, 2), &hidden) && hidden % heads)
        return gi_infer_fail(c, in, "expected a last dimension that the %lld heads divide", (long long)heads);
    dims[3] = gi_dims_quotient(c, gi_infer_dim(c, in, 2), dims[1]);
    GI_NEED(dims[3]);
    return GOPT_OK;
}

static bool is_mode(int64_t mode)
{
    return mode >= GI_SCORES_RAW && mode <= GI_SCORES_SOFTMAX;
}

static gopt_status infer_integers(const gi_infer *c, uint32_t in)
{
    const gopt_dtype t = gi_infer_has(c, in) ? gi_infer_dtype(c, in) : GOPT_UNDEFINED;
    return t == GOPT_UNDEFINED || gi_dtype_is_int(t) ? GOPT_OK : gi_infer_fail(c, in, "expected integers");
}

static gopt_status infer_attention(gi_infer *c)
{
    const int rank = gi_infer_rank(c, Attention_in_Q);
    const gopt_dtype dtype = gi_infer_dtype(c, Attention_in_Q), v_dtype = gi_infer_dtype(c, Attention_in_V);
    const gi_dim *q[4], *k[4], *v[4], *keys;
    int64_t q_heads, kv_heads;
    if (rank < 0) {
        gi_infer_set(c, Attention_out_Y, dtype, -1, NULL);
        return GOPT_OK;
    }
    GI_TRY(gi_infer_want_dtype(c, Attention_in_K, Attention_in_Q));
    if (!is_mode(gi_attr_int(c->n, Attention_at_qk_matmul_output_mode)))
        return gi_infer_fail_node(c, "attribute qk_matmul_output_mode is %lld, expected 0 to 3",
                                  (long long)gi_attr_int(c->n, Attention_at_qk_matmul_output_mode));
    GI_TRY(infer_integers(c, Attention_in_nonpad_kv_seqlen));
    GI_TRY(infer_heads(c, Attention_at_q_num_heads, rank, &q_heads));
    GI_TRY(infer_heads(c, Attention_at_kv_num_heads, rank, &kv_heads));
    GI_TRY(infer_shape(c, Attention_in_Q, q_heads, q));
    GI_TRY(gi_infer_want_rank(c, Attention_in_K, rank));
    GI_TRY(gi_infer_want_rank(c, Attention_in_V, rank));
    GI_TRY(infer_shape(c, Attention_in_K, kv_heads, k));
    GI_TRY(infer_shape(c, Attention_in_V, kv_heads, v));
    keys = k[2];
    if (gi_infer_has(c, Attention_in_past_key)) {
        GI_TRY(gi_infer_want_rank(c, Attention_in_past_key, 4));
        keys = gi_dim_add(c->g->dims, keys, gi_infer_dim(c, Attention_in_past_key, 2));
        GI_NEED(keys);
    }
    if (rank == 4) {
        gi_infer_set(c, Attention_out_Y, dtype, 4, (const gi_dim *[]){ q[0], q[1], q[2], v[3] });
    } else {
        const gi_dim *hidden = gi_dim_mul(c->g->dims, q[1], v[3]);
        GI_NEED(hidden);
        gi_infer_set(c, Attention_out_Y, dtype, 3, (const gi_dim *[]){ q[0], q[2], hidden });
    }
    gi_infer_set(c, Attention_out_present_key, dtype, 4, (const gi_dim *[]){ k[0], k[1], keys, k[3] });
    gi_infer_set(c, Attention_out_present_value, v_dtype, 4, (const gi_dim *[]){ v[0], v[1], keys, v[3] });
    gi_infer_set(c, Attention_out_qk_matmul_output, dtype, 4, (const gi_dim *[]){ q[0], q[1], q[2], keys });
    return GOPT_OK;
}

static gopt_status infer_rotary(gi_infer *c)
{
    const int rank = gi_infer_rank(c, RotaryEmbedding_in_X);
    int64_t heads;
    if (rank >= 0 && rank != 3 && rank != 4)
        return gi_infer_fail(c, RotaryEmbedding_in_X, "expected rank 3 or 4");
    GI_TRY(infer_heads(c, RotaryEmbedding_at_num_heads, rank, &heads));
    GI_TRY(infer_integers(c, RotaryEmbedding_in_position_ids));
    GI_TRY(gi_infer_want_dtype(c, RotaryEmbedding_in_cos_cache, RotaryEmbedding_in_X));
    GI_TRY(gi_infer_want_dtype(c, RotaryEmbedding_in_sin_cache, RotaryEmbedding_in_X));
    return gi_infer_same_type(c);
}

/* ---- Attention ---- */

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

/* Heads of a given input, its elements as `real`. */
static gopt_status read_heads(gi_eval *a, uint32_t in, int heads_at, int rank, gopt_dtype real, gi_kv *kv)
{
    GI_TRY(gi_eval_rank(a, in, rank));
    const gopt_tensor *t = a->in[in];
    *kv = (gi_kv){ .batch = t->dims[0], .tokens = t->dims[rank - 2] };
    if (rank == 4) {
        kv->heads = t->dims[1];
        kv->size = t->dims[3];
        kv->at = gi_heads_apart(kv->heads, kv->tokens, kv->size);
    } else {
        kv->heads = gi_attr_has(a->n, heads_at) ? gi_attr_int(a->n, heads_at) : 0;
        if (kv->heads < 1 || t->dims[2] % kv->heads)
            return gi_eval_fail(a, (int)in, "has a last dimension of %lld, expected a multiple of attribute %s, %lld",
                                (long long)t->dims[2], gi_op_get(a->n->op)->attrs[heads_at].name, (long long)kv->heads);
        kv->size = t->dims[2] / kv->heads;
        kv->at = gi_heads_together(kv->heads, kv->tokens, kv->size);
    }
    return gi_real_in(a, in, real, &kv->p);
}

/* What is added to the scores, made of mask, causality and the number of tokens that are no padding. */
typedef struct masking {
    const gopt_tensor *mask, *counts;
    int64_t past;
    bool causal;
} masking;

static double masked_by(const masking *m, int64_t at, int64_t batch, int64_t query, int64_t key)
{
    double bias = 0;
    if (m->mask && key >= m->mask->dims[m->mask->rank - 1])
        return -INFINITY; /* a mask may be shorter than the keys */
    if (m->mask && m->mask->dtype == GOPT_BOOL)
        bias = gi_tensor_i64(m->mask, at) ? 0 : -INFINITY;
    else if (m->mask)
        bias = gi_tensor_f64(m->mask, at);
    if ((m->causal && key > query + m->past) || (m->counts && key >= gi_tensor_i64(m->counts, batch)))
        bias += -INFINITY; /* added: NaN stays */
    return bias;
}

static gopt_status check_mask(const gi_eval *a, const gi_attention *t)
{
    const gopt_tensor *m = input(a, Attention_in_attn_mask), *counts = input(a, Attention_in_nonpad_kv_seqlen);
    const int64_t want[] = { t->batch, t->heads, t->queries };
    if (counts) {
        GI_TRY(gi_eval_rank(a, Attention_in_nonpad_kv_seqlen, 1));
        GI_TRY(gi_eval_dim(a, Attention_in_nonpad_kv_seqlen, 0, t->batch));
    }
    if (!m)
        return GOPT_OK;
    if (m->rank < 1 || m->rank > 4 || m->dims[m->rank - 1] > t->keys)
        return gi_eval_fail(a, Attention_in_attn_mask, "does not broadcast to [%lld,%lld,%lld,%lld]",
                            (long long)t->batch, (long long)t->heads, (long long)t->queries, (long long)t->keys);
    for (int i = 0; i + 1 < m->rank; i++)
        if (m->dims[i] != 1)
            GI_TRY(gi_eval_dim(a, Attention_in_attn_mask, i, want[3 - m->rank + 1 + i]));
    return GOPT_OK;
}

/* The bias for all that the mask tells apart; batches and heads that it does not share one. */
static gopt_status make_bias(gi_eval *a, gopt_dtype real, gi_attention *t, const masking *m)
{
    int64_t dims[3] = { 1, 1, 1 }, steps[3] = { 0 }, n = t->keys;
    if (!m->mask && !m->counts && !m->causal)
        return GOPT_OK;
    if (m->mask) {
        int64_t step = m->mask->dims[m->mask->rank - 1];
        for (int i = m->mask->rank - 2, k = 2; i >= 0; i--, k--) {
            dims[k] = m->mask->dims[i];
            steps[k] = dims[k] == 1 ? 0 : step;
            step *= dims[k];
        }
    }
    if (m->counts)
        dims[0] = t->batch;
    if (m->causal)
        dims[2] = t->queries;
    for (int i = 2; i >= 0; i--) {
        t->bias_steps[i] = dims[i] == 1 ? 0 : n;
        if (!gi_mul_i64(n, dims[i], &n))
            return gi_eval_fail(a, Attention_in_attn_mask, "is too large");
    }
    void *bias = gi_eval_scratch(a, (size_t)n + 1, gi_item_size(real));
    GI_NEED(bias);
    size_t at = 0;
    for (int64_t b = 0; b < dims[0]; b++)
        for (int64_t h = 0; h < dims[1]; h++)
            for (int64_t i = 0; i < dims[2]; i++)
                for (int64_t j = 0; j < t->keys; j++) {
                    const int64_t row = b * steps[0] + h * steps[1] + i * steps[2];
                    gi_store_f64(real, bias, at++, masked_by(m, row + j, b, i, j));
                }
    t->bias = bias;
    return GOPT_OK;
}

static gopt_status eval_attention(gi_eval *a)
{
    GI_TRY(gi_eval_rank_at_least(a, Attention_in_Q, 3));
    const int rank = a->in[Attention_in_Q]->rank;
    const gopt_dtype dtype = a->in[Attention_in_Q]->dtype, real = gi_real_of(dtype);
    gi_kv q, k, v;
    if (rank > 4 || !is_mode(gi_attr_int(a->n, Attention_at_qk_matmul_output_mode)))
        return gi_eval_fail(a, Attention_in_Q, "has rank %d, or attribute qk_matmul_output_mode is none of 0 to 3",
                            rank);
    GI_TRY(read_heads(a, Attention_in_Q, Attention_at_q_num_heads, rank, real, &q));
    GI_TRY(read_heads(a, Attention_in_K, Attention_at_kv_num_heads, rank, real, &k));
    GI_TRY(read_heads(a, Attention_in_V, Attention_at_kv_num_heads, rank, real, &v));
    if (k.batch != q.batch || k.size != q.size)
        return gi_eval_fail(a, Attention_in_K, "has %lld batches of heads of %lld, Q has %lld of %lld",
                            (long long)k.batch, (long long)k.size, (long long)q.batch, (long long)q.size);
    if (v.batch != q.batch || v.heads != k.heads || v.tokens != k.tokens)
        return gi_eval_fail(a, Attention_in_V, "has other batches, heads or tokens than K");
    if (k.heads < 1 || q.heads % k.heads)
        return gi_eval_fail(a, Attention_in_K, "has %lld heads, expected a divisor of Q's %lld", (long long)k.heads,
                            (long long)q.heads);
    GI_TRY(gi_kv_join(a, real, dtype, Attention_in_past_key, Attention_out_present_key, &k));
    GI_TRY(gi_kv_join(a, real, a->in[Attention_in_V]->dtype, Attention_in_past_value, Attention_out_present_value, &v));
    if (v.tokens != k.tokens)
        return gi_eval_fail(a, Attention_in_past_value, "has other tokens than past_key");
    gi_attention t = { .batch = q.batch,
                       .heads = q.heads,
                       .kv_heads = k.heads,
                       .queries = q.tokens,
                       .keys = k.tokens,
                       .size = q.size,
                       .v_size = v.size,
                       .q = q.at,
                       .k = k.at,
                       .v = v.at,
                       .softcap = (double)gi_attr_float(a->n, Attention_at_softcap),
                       .scale = gi_attr_has(a->n, Attention_at_scale) ? (double)gi_attr_float(a->n, Attention_at_scale)
                                                                      : 1 / sqrt((double)q.size),
                       .scores_of = (gi_scores)gi_attr_int(a->n, Attention_at_qk_matmul_output_mode) };
    GI_TRY(check_mask(a, &t));
    GI_TRY(make_bias(a, real, &t,
                     &(masking){ .mask = input(a, Attention_in_attn_mask),
                                 .counts = input(a, Attention_in_nonpad_kv_seqlen),
                                 .causal = gi_attr_int(a->n, Attention_at_is_causal) != 0,
                                 .past = k.tokens - a->in[Attention_in_K]->dims[rank - 2] }));
    return gi_attention_finish(
        a, &t,
        &(gi_attention_ends){
            .q = &q, .k = &k, .v = &v, .dtype = dtype, .rank = rank, .scores_out = Attention_out_qk_matmul_output });
}

/* ---- RotaryEmbedding ---- */

/* Rows of cos and sin by position, [batch, tokens], each below `rows`. */
static gopt_status read_positions(gi_eval *a, const gi_rotary *r, int64_t rows, const int64_t **out)
{
    const gopt_tensor *t = input(a, RotaryEmbedding_in_position_ids);
    GI_TRY(gi_eval_rank(a, RotaryEmbedding_in_position_ids, 2));
    GI_TRY(gi_eval_dim(a, RotaryEmbedding_in_position_ids, 0, r->batch));
    GI_TRY(gi_eval_dim(a, RotaryEmbedding_in_position_ids, 1, r->tokens));
    const int64_t n = r->batch * r->tokens;
    int64_t *p = gi_eval_scratch(a, (size_t)n + 1, sizeof *p);
    GI_NEED(p);
    for (int64_t i = 0; i < n; i++) {
        p[i] = gi_tensor_i64(t, i);
        if (p[i] < 0 || p[i] >= rows)
            return gi_eval_fail(a, RotaryEmbedding_in_position_ids, "holds %lld, the caches have %lld rows",
                                (long long)p[i], (long long)rows);
    }
    *out = p;
    return GOPT_OK;
}

static gopt_status eval_rotary(gi_eval *a)
{
    enum { X = RotaryEmbedding_in_X, COS = RotaryEmbedding_in_cos_cache, SIN = RotaryEmbedding_in_sin_cache };
    GI_TRY(gi_eval_rank_at_least(a, X, 3));
    const gopt_tensor *t = a->in[X];
    const gopt_dtype real = gi_real_of(t->dtype);
    const bool by_position = input(a, RotaryEmbedding_in_position_ids) != NULL;
    gi_kv x;
    gi_real y;
    const void *cos, *sin;
    if (t->rank > 4)
        return gi_eval_fail(a, X, "has rank %d, expected 3 or 4", t->rank);
    GI_TRY(read_heads(a, X, RotaryEmbedding_at_num_heads, t->rank, real, &x));
    gi_rotary r = { .batch = x.batch,
                    .heads = x.heads,
                    .tokens = x.tokens,
                    .size = x.size,
                    .rotary = gi_attr_int(a->n, RotaryEmbedding_at_rotary_embedding_dim),
                    .interleaved = gi_attr_int(a->n, RotaryEmbedding_at_interleaved) != 0,
                    .x = x.at,
                    .y = x.at };
    if (r.rotary == 0)
        r.rotary = r.size;
    if (r.rotary < 0 || r.rotary > r.size || r.rotary % 2)
        return gi_eval_fail(a, X, "has heads of %lld, of which %lld elements cannot be rotated", (long long)r.size,
                            (long long)r.rotary);
    for (uint32_t i = COS; i <= SIN; i++) {
        GI_TRY(gi_eval_rank(a, i, by_position ? 2 : 3));
        GI_TRY(gi_eval_dim(a, i, a->in[i]->rank - 1, r.rotary / 2));
        GI_TRY(gi_eval_dim(a, i, 0, by_position ? a->in[COS]->dims[0] : r.batch));
        if (!by_position)
            GI_TRY(gi_eval_dim(a, i, 1, r.tokens));
    }
    if (by_position)
        GI_TRY(read_positions(a, &r, a->in[COS]->dims[0], &r.rows));
    GI_TRY(gi_real_in(a, COS, real, &cos));
    GI_TRY(gi_real_in(a, SIN, real, &sin));
    GI_TRY(gi_real_out(a, 0, t->dtype, t->rank, t->dims, &y));
    if (y.p)
        gi_rotate(real, &r, x.p, cos, sin, y.p);
    gi_real_store(&y);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/attention.def"
