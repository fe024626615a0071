/* ONNX Runtime's own operators: rotary embeddings, and attention with a cache. */
#include <math.h>

#include "ops/attention.h"
#include "ops/move.h"

/* ---- RotaryEmbedding ---- */

enum {
    X = MsRotaryEmbedding_in_input,
    POSITIONS = MsRotaryEmbedding_in_position_ids,
    COS = MsRotaryEmbedding_in_cos_cache,
    SIN = MsRotaryEmbedding_in_sin_cache
};

static gopt_status infer_rotary(gi_infer *c)
{
    const int rank = gi_infer_rank(c, X);
    if (rank >= 0 && rank != 3 && rank != 4)
        return gi_infer_fail(c, X, "expected rank 3 or 4");
    if (gi_infer_dtype(c, POSITIONS) != GOPT_UNDEFINED && !gi_dtype_is_int(gi_infer_dtype(c, POSITIONS)))
        return gi_infer_fail(c, POSITIONS, "expected integers");
    GI_TRY(gi_infer_want_dtype(c, COS, X));
    GI_TRY(gi_infer_want_dtype(c, SIN, X));
    GI_TRY(gi_infer_want_rank(c, COS, 2));
    GI_TRY(gi_infer_want_rank(c, SIN, 2));
    return gi_infer_same_type(c);
}

/* The row of cos and sin of each token: from one number on, or as given. */
static gopt_status read_positions(gi_eval *a, const gi_rotary *r, int64_t rows, const int64_t **out)
{
    const gopt_tensor *t = a->in[POSITIONS];
    const bool one = t->rank == 1 && t->dims[0] == 1;
    const int64_t n = r->batch * r->tokens;
    if (!one) {
        GI_TRY(gi_eval_rank(a, POSITIONS, 2));
        GI_TRY(gi_eval_dim(a, POSITIONS, 0, r->batch));
        GI_TRY(gi_eval_dim(a, POSITIONS, 1, r->tokens));
    }
    int64_t *p = gi_eval_scratch(a, (size_t)n + 1, sizeof *p);
    GI_NEED(p);
    for (int64_t i = 0; i < n; i++) {
        if (!gi_add_i64(gi_tensor_i64(t, one ? 0 : i), one ? i % r->tokens : 0, &p[i]) || p[i] < 0 || p[i] >= rows)
            return gi_eval_fail(a, POSITIONS, "asks for a position outside of the %lld rows of the caches",
                                (long long)rows);
    }
    *out = p;
    return GOPT_OK;
}

static gopt_status read_shape(const gi_eval *a, gi_rotary *r)
{
    const gopt_tensor *t = a->in[X];
    int64_t heads = gi_attr_int(a->n, MsRotaryEmbedding_at_num_heads);
    r->batch = t->dims[0];
    r->tokens = t->dims[t->rank - 2];
    if (t->rank == 4) {
        r->heads = t->dims[1];
        r->size = t->dims[3];
        r->x = gi_heads_apart(r->heads, r->tokens, r->size);
    } else {
        if (heads == 0 && a->in[COS]->dims[1] > 0) /* the whole of a head is rotated */
            heads = t->dims[2] / 2 / a->in[COS]->dims[1];
        if (heads < 1 || t->dims[2] % heads)
            return gi_eval_fail(a, X, "has a last dimension of %lld, which %lld heads do not divide",
                                (long long)t->dims[2], (long long)heads);
        r->heads = heads;
        r->size = t->dims[2] / heads;
        r->x = gi_heads_together(r->heads, r->tokens, r->size);
    }
    r->y = r->x;
    r->rotary = gi_attr_int(a->n, MsRotaryEmbedding_at_rotary_embedding_dim);
    if (r->rotary == 0)
        r->rotary = r->size;
    if (r->rotary < 0 || r->rotary > r->size || r->rotary % 2)
        return gi_eval_fail(a, X, "has heads of %lld, of which %lld elements cannot be rotated", (long long)r->size,
                            (long long)r->rotary);
    return GOPT_OK;
}

static gopt_status eval_rotary(gi_eval *a)
{
    GI_TRY(gi_eval_rank_at_least(a, X, 3));
    const gopt_tensor *t = a->in[X];
    const gopt_dtype real = gi_real_of(t->dtype);
    gi_rotary r = { .interleaved = gi_attr_int(a->n, MsRotaryEmbedding_at_interleaved) != 0 };
    const void *x, *cos, *sin;
    gi_real y;
    if (t->rank > 4)
        return gi_eval_fail(a, X, "has rank %d, expected 3 or 4", t->rank);
    if (gi_attr_int(a->n, MsRotaryEmbedding_at_is_packed_batching))
        return gi_eval_fail(a, X, "ragged batches are not known here");
    GI_TRY(gi_eval_rank(a, COS, 2));
    GI_TRY(gi_eval_rank(a, SIN, 2));
    GI_TRY(read_shape(a, &r));
    for (uint32_t i = COS; i <= SIN; i++) {
        GI_TRY(gi_eval_dim(a, i, 0, a->in[COS]->dims[0]));
        GI_TRY(gi_eval_dim(a, i, 1, r.rotary / 2));
    }
    GI_TRY(read_positions(a, &r, a->in[COS]->dims[0], &r.rows));
    GI_TRY(gi_real_in(a, X, real, &x));
    GI_TRY(gi_real_in(a, COS, real, &cos));
    GI_TRY(gi_real_in(a, SIN, real, &sin));
    GI_TRY(gi_real_out(a, 0, t->dtype, t->rank, t->dims, &y));
    if (y.p)
        gi_rotate(real, &r, x, cos, sin, y.p);
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- GroupQueryAttention ---- */

enum {
    QUERY = GroupQueryAttention_in_query,
    KEY = GroupQueryAttention_in_key,
    VALUE = GroupQueryAttention_in_value,
    PAST_KEY = GroupQueryAttention_in_past_key,
    PAST_VALUE = GroupQueryAttention_in_past_value,
    LENGTHS = GroupQueryAttention_in_seqlens_k,
    TOTAL = GroupQueryAttention_in_total_sequence_length,
    G_COS = GroupQueryAttention_in_cos_cache,
    G_SIN = GroupQueryAttention_in_sin_cache,
    G_POSITIONS = GroupQueryAttention_in_position_ids,
    BIAS = GroupQueryAttention_in_attention_bias,
    SINK = GroupQueryAttention_in_head_sink
};

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

/* What is known of other devices, or of quantized caches, alone. */
static const char *unknown_feature(const gi_node *n)
{
    if (gi_attr_int(n, GroupQueryAttention_at_sliding_window_cache))
        return "caches of a sliding window are not known here";
    if (!gi_attr_is(n, GroupQueryAttention_at_k_quant_type, "NONE") ||
        !gi_attr_is(n, GroupQueryAttention_at_v_quant_type, "NONE"))
        return "quantized caches are not known here";
    if (gi_attr_int(n, GroupQueryAttention_at_qk_output))
        return "scores are not given out here";
    if (gi_node_in(n, GroupQueryAttention_in_q_norm_weight) || gi_node_in(n, GroupQueryAttention_in_k_norm_weight))
        return "normalized queries and keys are not known here";
    return NULL;
}

static gopt_status infer_group_query(gi_infer *c)
{
    gi_dims *t = c->g->dims;
    const gopt_dtype dtype = gi_infer_dtype(c, QUERY);
    const int64_t heads = gi_attr_int(c->n, GroupQueryAttention_at_num_heads),
                  kv_heads = gi_attr_int(c->n, GroupQueryAttention_at_kv_num_heads);
    if (heads < 1 || kv_heads < 1 || heads % kv_heads || heads > INT32_MAX)
        return gi_infer_fail_node(c, "attributes num_heads and kv_num_heads are %lld and %lld, expected a multiple",
                                  (long long)heads, (long long)kv_heads);
    GI_TRY(gi_infer_want_rank(c, QUERY, 3));
    for (uint32_t i = KEY; i < 16; i++)
        if (gi_infer_has(c, i) && (i <= PAST_VALUE || i == G_COS || i == G_SIN || i == BIAS || i == SINK))
            GI_TRY(gi_infer_want_dtype(c, i, QUERY));
    const bool is_packed = !gi_infer_has(c, KEY);
    const gi_dim *n = gi_dim_const(t, is_packed ? heads + 2 * kv_heads : heads), *q = gi_dim_const(t, heads),
                 *kv = gi_dim_const(t, kv_heads);
    GI_NEED(n && q && kv);
    const gi_dim *size = gi_dims_quotient(c, gi_infer_dim(c, QUERY, 2), n), *keys;
    GI_NEED(size);
    const gi_dim *hidden = is_packed ? gi_dim_mul(t, q, size) : gi_infer_dim(c, QUERY, 2);
    GI_NEED(hidden);
    uint32_t known;
    const gi_dim *const *total = gi_infer_known(c, TOTAL, &known);
    keys = total && known == 1 && total[0] ? total[0] : gi_dim_unknown(t, true);
    if (gi_infer_has(c, PAST_KEY))
        keys = gi_dim_max(t, keys, gi_infer_dim(c, PAST_KEY, 2));
    GI_NEED(keys);
    const gi_dim *batch = gi_infer_dim(c, QUERY, 0), *tokens = gi_infer_dim(c, QUERY, 1);
    gi_infer_set(c, GroupQueryAttention_out_output, dtype, 3, (const gi_dim *[]){ batch, tokens, hidden });
    gi_infer_set(c, GroupQueryAttention_out_present_key, dtype, 4, (const gi_dim *[]){ batch, kv, keys, size });
    gi_infer_set(c, GroupQueryAttention_out_present_value, dtype, 4, (const gi_dim *[]){ batch, kv, keys, size });
    gi_infer_set(c, GroupQueryAttention_out_output_qk, dtype, 4, (const gi_dim *[]){ batch, q, tokens, keys });
    return GOPT_OK;
}

typedef struct group_query {
    int64_t batch, tokens, heads, kv_heads, size;
    int64_t total, keys;    /* tokens so far at most; of the caches given out */
    const int64_t *before;  /* tokens of each sample that were there before */
    const int64_t *lengths; /* tokens of each sample, with the new ones */
    gi_kv q, k, v;
} group_query;

static gopt_status read_inputs(gi_eval *a, gopt_dtype real, group_query *g)
{
    GI_TRY(gi_eval_rank(a, QUERY, 3));
    const gopt_tensor *q = a->in[QUERY];
    const bool is_packed = !input(a, KEY);
    const int64_t parts = is_packed ? g->heads + 2 * g->kv_heads : g->heads, hidden = q->dims[2];
    g->batch = q->dims[0];
    g->tokens = q->dims[1];
    if (hidden % parts)
        return gi_eval_fail(a, QUERY, "has a last dimension of %lld, expected a multiple of %lld heads",
                            (long long)hidden, (long long)parts);
    g->size = hidden / parts;
    gi_kv *const kv[] = { &g->q, &g->k, &g->v };
    for (uint32_t i = 0; i < 3; i++) {
        const int64_t heads = i ? g->kv_heads : g->heads, first = i == 0   ? 0
                                                                  : i == 1 ? g->heads
                                                                           : g->heads + g->kv_heads;
        const uint32_t in = is_packed ? QUERY : QUERY + i;
        GI_TRY(gi_eval_rank(a, in, 3));
        GI_TRY(gi_eval_dim(a, in, 0, g->batch));
        GI_TRY(gi_eval_dim(a, in, 1, g->tokens));
        if (!is_packed)
            GI_TRY(gi_eval_dim(a, in, 2, heads * g->size));
        *kv[i] = (gi_kv){ .batch = g->batch, .heads = heads, .tokens = g->tokens, .size = g->size };
        kv[i]->at = gi_heads_together(is_packed ? parts : heads, g->tokens, g->size);
        GI_TRY(gi_real_in(a, in, real, &kv[i]->p));
        if (is_packed)
            kv[i]->p = (const char *)kv[i]->p + (size_t)(first * g->size) * gi_item_size(real);
    }
    return GOPT_OK;
}

/* How far each sample goes. At the first step (as many tokens as there are in all) nothing was there before. */
static gopt_status read_lengths(gi_eval *a, group_query *g)
{
    const gopt_tensor *lengths = a->in[LENGTHS], *total = a->in[TOTAL], *past = input(a, PAST_KEY);
    const int64_t room = past ? past->dims[2] : 0;
    if (!gi_dtype_is_int(lengths->dtype) || gopt_tensor_elements(lengths) != g->batch)
        return gi_eval_fail(a, LENGTHS, "expected an integer a sample");
    if (!gi_dtype_is_int(total->dtype) || gopt_tensor_elements(total) != 1)
        return gi_eval_fail(a, TOTAL, "expected one integer");
    g->total = gi_tensor_i64(total, 0);
    if (g->total < g->tokens || g->total > INT32_MAX)
        return gi_eval_fail(a, TOTAL, "is %lld, there are %lld new tokens", (long long)g->total, (long long)g->tokens);
    g->keys = gi_max_i64(g->total, room);
    int64_t *before = gi_eval_scratch(a, (size_t)g->batch + 1, sizeof *before),
            *all = gi_eval_scratch(a, (size_t)g->batch + 1, sizeof *all);
    GI_NEED(before && all);
    for (int64_t b = 0; b < g->batch; b++) {
        all[b] = gi_tensor_i64(lengths, b) + 1;
        before[b] = g->tokens == g->total ? 0 : all[b] - g->tokens;
        if (all[b] < 1 || all[b] > g->total || before[b] < 0 || before[b] > room)
            return gi_eval_fail(a, LENGTHS, "says %lld tokens, of which %lld are new and %lld can be cached",
                                (long long)all[b], (long long)g->tokens, (long long)room);
    }
    g->before = before;
    g->lengths = all;
    return GOPT_OK;
}

/* Queries or keys turned by the angle of their positions. */
static gopt_status rotate(gi_eval *a, gopt_dtype real, const group_query *g, gi_kv *kv)
{
    const gopt_tensor *cos_cache = input(a, G_COS), *given = input(a, G_POSITIONS);
    const bool first = g->tokens == g->total;
    const void *cos, *sin;
    for (uint32_t i = G_COS; i <= G_SIN; i++) {
        GI_TRY(gi_eval_rank(a, i, 2));
        GI_TRY(gi_eval_dim(a, i, 0, cos_cache->dims[0]));
        GI_TRY(gi_eval_dim(a, i, 1, cos_cache->dims[1]));
    }
    if (given && (first ? gopt_tensor_elements(given) < 1 : gopt_tensor_elements(given) != g->batch * g->tokens))
        return gi_eval_fail(a, G_POSITIONS, "expected one a token");
    gi_rotary r = { .batch = g->batch,
                    .heads = kv->heads,
                    .tokens = g->tokens,
                    .size = g->size,
                    .rotary = 2 * cos_cache->dims[1],
                    .interleaved = gi_attr_int(a->n, GroupQueryAttention_at_rotary_interleaved) != 0,
                    .x = kv->at,
                    .y = gi_heads_together(kv->heads, g->tokens, g->size) };
    if (r.rotary > g->size)
        return gi_eval_fail(a, G_COS, "has rows of %lld, heads have %lld", (long long)cos_cache->dims[1],
                            (long long)g->size);
    int64_t *rows = gi_eval_scratch(a, (size_t)(g->batch * g->tokens) + 1, sizeof *rows);
    GI_NEED(rows);
    for (int64_t i = 0; i < g->batch * g->tokens; i++) {
        const int64_t token = i % g->tokens;
        const int64_t begin = given ? gi_tensor_i64(given, first ? 0 : i) : g->before[i / g->tokens];
        if (!gi_add_i64(begin, given && !first ? 0 : token, &rows[i]) || rows[i] < 0 || rows[i] >= cos_cache->dims[0])
            return gi_eval_fail(a, G_COS, "has %lld rows, another position is asked for",
                                (long long)cos_cache->dims[0]);
    }
    r.rows = rows;
    GI_TRY(gi_real_in(a, G_COS, real, &cos));
    GI_TRY(gi_real_in(a, G_SIN, real, &sin));
    void *y = gi_eval_scratch(a, (size_t)(g->batch * g->tokens * kv->heads * g->size) + 1, gi_item_size(real));
    GI_NEED(y);
    gi_rotate(real, &r, kv->p, cos, sin, y);
    kv->p = y;
    kv->at = r.y;
    return GOPT_OK;
}

/* The cache with the new tokens of each sample behind its old ones, and zeros behind those. */
static gopt_status extend(gi_eval *a, gopt_dtype real, const group_query *g, uint32_t past, uint32_t out, gi_kv *kv)
{
    const gopt_tensor *old = input(a, past);
    const size_t item = gi_item_size(real);
    const int64_t dims[] = { g->batch, g->kv_heads, g->keys, g->size };
    const void *from = NULL;
    int64_t n;
    if (old) {
        GI_TRY(gi_eval_rank(a, past, 4));
        for (int i = 0; i < 4; i++)
            if (i != 2)
                GI_TRY(gi_eval_dim(a, past, i, dims[i]));
        GI_TRY(gi_eval_dim(a, past, 2, a->in[PAST_KEY]->dims[2]));
        GI_TRY(gi_real_in(a, past, real, &from));
    }
    if (!gi_mul_i64(g->batch * g->kv_heads, g->keys, &n) || !gi_mul_i64(n, gi_max_i64(g->size, 1), &n))
        return gi_eval_fail(a, TOTAL, "is too large");
    if (out < a->n_out)
        GI_TRY(gi_real_out_as(a, out, a->in[QUERY]->dtype, real, 4, dims, &kv->out));
    char *p = kv->out.p ? kv->out.p : gi_eval_scratch(a, (size_t)n + 1, item);
    GI_NEED(p);
    memset(p, 0, (size_t)(g->batch * g->kv_heads * g->keys * g->size) * item);
    for (int64_t b = 0; b < g->batch; b++)
        for (int64_t h = 0; h < g->kv_heads; h++) {
            char *to = p + (size_t)((b * g->kv_heads + h) * g->keys * g->size) * item;
            const int64_t room = old ? old->dims[2] : 0;
            if (g->before[b])
                memcpy(to, (const char *)from + (size_t)((b * g->kv_heads + h) * room * g->size) * item,
                       (size_t)(g->before[b] * g->size) * item);
            for (int64_t i = 0; i < g->tokens; i++)
                memcpy(to + (size_t)((g->before[b] + i) * g->size) * item,
                       (const char *)kv->p + (size_t)(b * kv->at.batch + h * kv->at.head + i * kv->at.token) * item,
                       (size_t)g->size * item);
        }
    kv->p = p;
    kv->at = gi_heads_apart(g->kv_heads, g->keys, g->size);
    return GOPT_OK;
}

/* What is added to the scores: a given bias, and −∞ for keys behind a query, before its window, or not there. */
static gopt_status make_bias(gi_eval *a, gopt_dtype real, const group_query *g, gi_attention *t)
{
    const gopt_tensor *given = input(a, BIAS);
    const int64_t window = gi_attr_int(a->n, GroupQueryAttention_at_local_window_size),
                  heads = given && given->rank == 4 && given->dims[1] != 1 ? g->heads : 1;
    const bool causal = gi_attr_int(a->n, GroupQueryAttention_at_causal) != 0;
    int64_t n;
    if (given) {
        GI_TRY(gi_eval_rank(a, BIAS, 4));
        if (given->dims[0] != 1)
            GI_TRY(gi_eval_dim(a, BIAS, 0, g->batch));
        if (given->dims[1] != 1)
            GI_TRY(gi_eval_dim(a, BIAS, 1, g->heads));
        GI_TRY(gi_eval_dim(a, BIAS, 2, g->tokens));
        if (given->dims[3] < g->total)
            return gi_eval_fail(a, BIAS, "has %lld columns, expected %lld", (long long)given->dims[3],
                                (long long)g->total);
    }
    if (!gi_mul_i64(g->batch * heads, g->tokens, &n) || !gi_mul_i64(n, g->keys, &n))
        return gi_eval_fail(a, QUERY, "has too many tokens");
    void *bias = gi_eval_scratch(a, (size_t)n + 1, gi_item_size(real));
    GI_NEED(bias);
    size_t at = 0;
    for (int64_t b = 0; b < g->batch; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < g->tokens; i++) {
                const int64_t seen = causal ? g->before[b] + i + 1 : g->lengths[b],
                              from = window > 0 ? gi_max_i64(0, seen - window) : 0;
                for (int64_t j = 0; j < g->keys; j++) {
                    double x = j >= from && j < seen ? 0 : -INFINITY;
                    if (given && x == 0) {
                        const int64_t sample = given->dims[0] == 1 ? 0 : b;
                        x = gi_tensor_f64(given, ((sample * given->dims[1] + h) * g->tokens + i) * given->dims[3] + j);
                    }
                    gi_store_f64(real, bias, at++, x);
                }
            }
    t->bias = bias;
    t->bias_steps[0] = heads * g->tokens * g->keys;
    t->bias_steps[1] = heads == 1 ? 0 : g->tokens * g->keys;
    t->bias_steps[2] = g->keys;
    return GOPT_OK;
}

/* A score more for each head: 0 of a smooth softmax, or as given. */
static gopt_status read_sinks(gi_eval *a, const group_query *g, const double **sinks)
{
    const gopt_tensor *given = input(a, SINK);
    if (!given && gi_attr_int(a->n, GroupQueryAttention_at_smooth_softmax) != 1)
        return GOPT_OK;
    double *s = gi_eval_scratch(a, (size_t)g->heads + 1, sizeof *s);
    GI_NEED(s);
    if (given) {
        GI_TRY(gi_eval_rank(a, SINK, 1));
        GI_TRY(gi_eval_dim(a, SINK, 0, g->heads));
    }
    for (int64_t h = 0; h < g->heads && given; h++)
        s[h] = gi_tensor_f64(given, h);
    *sinks = s;
    return GOPT_OK;
}

static gopt_status eval_group_query(gi_eval *a)
{
    const gi_node *n = a->n;
    const char *why = unknown_feature(n);
    group_query g = { .heads = gi_attr_int(n, GroupQueryAttention_at_num_heads),
                      .kv_heads = gi_attr_int(n, GroupQueryAttention_at_kv_num_heads) };
    if (why)
        return gi_eval_fail(a, -1, "%s", why);
    if (g.heads < 1 || g.kv_heads < 1 || g.heads % g.kv_heads || g.heads > INT32_MAX)
        return gi_eval_fail(a, -1, "attribute num_heads is no multiple of kv_num_heads");
    if (a->n_in <= TOTAL || !a->in[LENGTHS] || !a->in[TOTAL])
        return gi_eval_fail(a, TOTAL, "is missing, or seqlens_k is");
    const gopt_dtype dtype = a->in[QUERY]->dtype, real = gi_real_of(dtype);
    if (input(a, PAST_KEY))
        GI_TRY(gi_eval_rank(a, PAST_KEY, 4));
    GI_TRY(read_inputs(a, real, &g));
    GI_TRY(read_lengths(a, &g));
    if (gi_attr_int(n, GroupQueryAttention_at_do_rotary)) {
        if (!input(a, G_COS) || !input(a, G_SIN))
            return gi_eval_fail(a, G_COS, "is missing, or sin_cache is");
        GI_TRY(rotate(a, real, &g, &g.q));
        GI_TRY(rotate(a, real, &g, &g.k));
    }
    GI_TRY(extend(a, real, &g, PAST_KEY, GroupQueryAttention_out_present_key, &g.k));
    GI_TRY(extend(a, real, &g, PAST_VALUE, GroupQueryAttention_out_present_value, &g.v));
    const double scale = (double)gi_attr_float(n, GroupQueryAttention_at_scale);
    gi_attention t = { .batch = g.batch,
                       .heads = g.heads,
                       .kv_heads = g.kv_heads,
                       .queries = g.tokens,
                       .keys = g.keys,
                       .size = g.size,
                       .v_size = g.size,
                       .q = g.q.at,
                       .k = g.k.at,
                       .v = g.v.at,
                       .scale = scale != 0 ? scale : 1 / sqrt((double)g.size),
                       .softcap = (double)gi_attr_float(n, GroupQueryAttention_at_softcap) };
    GI_TRY(make_bias(a, real, &g, &t));
    GI_TRY(read_sinks(a, &g, &t.sinks));
    return gi_attention_finish(
        a, &t,
        &(gi_attention_ends){ .q = &g.q, .k = &g.k, .v = &g.v, .dtype = dtype, .rank = 3, .scores_out = UINT32_MAX });
}

#include "ops/rows.h"

#include "ir/ops/contrib_gqa.def"
