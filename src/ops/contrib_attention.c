/* ONNX Runtime's own operators: attention. */
#include <float.h>
#include <math.h>

#include "ops/attention.h"
#include "ops/gemm.h"
#include "ops/move.h"

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

/* ---- masks ---- */

/* What is added to the scores: a bias, a filter value for keys that are padding, and the lowest number for those that
 * come after the query. Not infinity: where all keys are masked, all count alike. The last query sees all keys, also
 * where there are more of them than queries: so ONNX Runtime has it. */
typedef struct masking {
    const gopt_tensor *bias; /* [batch or 1, heads or 1, queries, keys] */
    const gopt_tensor *mask; /* [batch]: lengths; [2 · batch]: ends, then starts; [3 · batch + 2]: lengths first;
                              * [batch, keys]; [batch, queries, keys] */
    double filter;
    bool causal;
    int64_t past;
} masking;

static double filter_of(const masking *m, const gi_attention *t, int64_t b, int64_t i, int64_t j)
{
    int64_t keep = 1;
    if (m->causal && i + 1 < t->queries && j > i + m->past)
        return (double)-FLT_MAX;
    if (m->mask && m->mask->rank == 1)
        keep = j < gi_tensor_i64(m->mask, b) &&
               (m->mask->dims[0] != 2 * t->batch || j >= gi_tensor_i64(m->mask, t->batch + b));
    else if (m->mask)
        keep = gi_tensor_i64(m->mask, (m->mask->rank == 2 ? b : b * t->queries + i) * t->keys + j);
    return keep > 0 ? 0 : m->filter;
}

static gopt_status make_bias(gi_eval *a, gopt_dtype real, gi_attention *t, const masking *m)
{
    int64_t dims[3] = { 1, 1, t->queries }, n = t->keys;
    if (!m->bias && !m->mask && !m->causal)
        return GOPT_OK;
    if (m->mask)
        dims[0] = t->batch;
    if (m->bias) {
        dims[0] = m->bias->dims[0] == 1 ? dims[0] : m->bias->dims[0]; /* also where there are none */
        dims[1] = m->bias->dims[1];
    }
    for (int i = 2; i >= 0; i--) {
        t->bias_steps[i] = dims[i] == 1 ? 0 : n;
        if (!gi_mul_i64(n, dims[i], &n))
            return gi_eval_fail(a, 0, "has too many tokens");
    }
    void *bias = gi_eval_scratch(a, (size_t)n + 1, gi_item_size(real));
    GI_NEED(bias);
    size_t at = 0;
    for (int64_t b = 0; b < dims[0]; b++)
        for (int64_t h = 0; h < dims[1]; h++)
            for (int64_t i = 0; i < t->queries; i++)
                for (int64_t j = 0; j < t->keys; j++) {
                    double x = filter_of(m, t, b, i, j);
                    if (m->bias) {
                        const int64_t sample = m->bias->dims[0] == 1 ? 0 : b;
                        x += gi_tensor_f64(m->bias, ((sample * dims[1] + h) * t->queries + i) * t->keys + j);
                    }
                    gi_store_f64(real, bias, at++, x);
                }
    t->bias = bias;
    return GOPT_OK;
}

static gopt_status check_bias(const gi_eval *a, uint32_t in, const gi_attention *t)
{
    const gopt_tensor *b = input(a, in);
    if (!b)
        return GOPT_OK;
    GI_TRY(gi_eval_rank(a, in, 4));
    if (b->dims[0] != 1)
        GI_TRY(gi_eval_dim(a, in, 0, t->batch));
    if (b->dims[1] != 1)
        GI_TRY(gi_eval_dim(a, in, 1, t->heads));
    GI_TRY(gi_eval_dim(a, in, 2, t->queries));
    return gi_eval_dim(a, in, 3, t->keys);
}

static gopt_status check_mask(const gi_eval *a, uint32_t in, bool with_starts, const gi_attention *t)
{
    const gopt_tensor *m = input(a, in);
    if (!m)
        return GOPT_OK;
    if (!gi_dtype_is_int(m->dtype))
        return gi_eval_fail(a, (int)in, "expected integers");
    if (m->rank == 1) {
        if (m->dims[0] != t->batch && m->dims[0] != 3 * t->batch + 2 && !(with_starts && m->dims[0] == 2 * t->batch))
            return gi_eval_fail(a, (int)in, "has %lld lengths for %lld samples", (long long)m->dims[0],
                                (long long)t->batch);
        return GOPT_OK;
    }
    if (m->rank != 2 && m->rank != 3)
        return gi_eval_fail(a, (int)in, "has rank %d, expected 1 to 3", m->rank);
    GI_TRY(gi_eval_dim(a, in, 0, t->batch));
    if (m->rank == 3)
        GI_TRY(gi_eval_dim(a, in, 1, t->queries));
    return gi_eval_dim(a, in, m->rank - 1, t->keys);
}

/* A mask holds integers, everything else is of the first input's type. */
static gopt_status infer_types(const gi_infer *c, uint32_t mask, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        const gopt_dtype t = gi_infer_has(c, i) ? gi_infer_dtype(c, i) : GOPT_UNDEFINED;
        if (i != mask)
            GI_TRY(gi_infer_want_dtype(c, i, 0));
        else if (t != GOPT_UNDEFINED && !gi_dtype_is_int(t))
            return gi_infer_fail(c, i, "expected integers");
    }
    return GOPT_OK;
}

/* ---- MultiHeadAttention ---- */

enum {
    QUERY = MultiHeadAttention_in_query,
    KEY = MultiHeadAttention_in_key,
    VALUE = MultiHeadAttention_in_value,
    BIAS = MultiHeadAttention_in_bias,
    PAST_KEY = MultiHeadAttention_in_past_key,
    PAST_VALUE = MultiHeadAttention_in_past_value
};

/* Heads · size of an input: query and packed ones [batch, tokens, heads, parts, size], caches [batch, heads, tokens,
 * size]. */
static const gi_dim *hidden_of(gi_infer *c, uint32_t in)
{
    const int rank = gi_infer_rank(c, in);
    if (rank == 3)
        return gi_infer_dim(c, in, 2);
    if (rank != 4 && rank != 5)
        return gi_dim_unknown(c->g->dims, true);
    return gi_dim_mul(c->g->dims, gi_infer_dim(c, in, rank == 4 ? 1 : 2), gi_infer_dim(c, in, rank - 1));
}

static gopt_status infer_multi_head(gi_infer *c)
{
    const gopt_dtype dtype = gi_infer_dtype(c, QUERY);
    const int64_t heads = gi_attr_int(c->n, MultiHeadAttention_at_num_heads);
    const int rank = gi_infer_rank(c, QUERY), key_rank = gi_infer_rank(c, KEY);
    if (heads < 1)
        return gi_infer_fail_node(c, "attribute num_heads is %lld, expected 1 or more", (long long)heads);
    if (rank >= 0 && rank != 3 && rank != 5)
        return gi_infer_fail(c, QUERY, "expected rank 3 or 5");
    GI_TRY(infer_types(c, MultiHeadAttention_in_key_padding_mask, MultiHeadAttention_in_past_sequence_length));
    const uint32_t keys_in = gi_infer_has(c, KEY) ? KEY : QUERY, values_in = gi_infer_has(c, VALUE) ? VALUE : keys_in;
    const gi_dim *n = gi_dim_const(c->g->dims, heads), *batch = gi_infer_dim(c, QUERY, 0),
                 *tokens = gi_infer_dim(c, QUERY, 1), *hidden = hidden_of(c, QUERY),
                 *v_hidden = hidden_of(c, values_in),
                 *keys = gi_infer_dim(c, keys_in, keys_in == KEY && key_rank == 4 ? 2 : 1);
    GI_NEED(n && hidden && v_hidden);
    if (gi_infer_has(c, PAST_KEY))
        keys = gi_dim_add(c->g->dims, keys, gi_infer_dim(c, PAST_KEY, 2));
    const gi_dim *size = gi_dims_quotient(c, hidden, n), *v_size = gi_dims_quotient(c, v_hidden, n);
    GI_NEED(keys && size && v_size);
    if (gi_infer_has(c, MultiHeadAttention_in_past_sequence_length))
        keys = gi_dim_unknown(c->g->dims, true);
    gi_infer_set(c, MultiHeadAttention_out_output, dtype, 3, (const gi_dim *[]){ batch, tokens, v_hidden });
    gi_infer_set(c, MultiHeadAttention_out_present_key, dtype, 4, (const gi_dim *[]){ batch, n, keys, size });
    gi_infer_set(c, MultiHeadAttention_out_present_value, dtype, 4, (const gi_dim *[]){ batch, n, keys, v_size });
    gi_infer_set(c, MultiHeadAttention_out_qk, dtype, 4, (const gi_dim *[]){ batch, n, tokens, keys });
    return GOPT_OK;
}

/* One of query, key and value, as it lies in an input of its own or packed with others. */
static gopt_status read_part(gi_eval *a, uint32_t part, int64_t heads, gopt_dtype real, gi_kv *kv)
{
    uint32_t in = part;
    while (in > QUERY && !input(a, in))
        in--;
    GI_TRY(gi_eval_rank_at_least(a, in, 3));
    const gopt_tensor *t = a->in[in];
    const int64_t *d = t->dims;
    *kv = (gi_kv){ .batch = d[0], .heads = heads };
    GI_TRY(gi_real_in(a, in, real, &kv->p));
    if (t->rank == 5 && d[2] == heads && d[3] > part - in) {
        kv->tokens = d[1];
        kv->size = d[4];
        kv->at = (gi_heads){ .batch = d[1] * d[2] * d[3] * d[4], .head = d[3] * d[4], .token = d[2] * d[3] * d[4] };
        kv->p = (const char *)kv->p + (size_t)((part - in) * d[4]) * gi_item_size(real);
        return GOPT_OK;
    }
    if (in == part && t->rank == 4 && in != QUERY && d[1] == heads) {
        kv->tokens = d[2];
        kv->size = d[3];
        kv->at = gi_heads_apart(heads, kv->tokens, kv->size);
        return GOPT_OK;
    }
    if (in != part || t->rank != 3 || d[2] % heads)
        return gi_eval_fail(a, (int)in, "has a shape from which %lld heads of %s cannot be read", (long long)heads,
                            part == QUERY ? "queries"
                            : part == KEY ? "keys"
                                          : "values");
    kv->tokens = d[1];
    kv->size = d[2] / heads;
    kv->at = gi_heads_together(heads, kv->tokens, kv->size);
    return GOPT_OK;
}

/* Adds heads · size elements of the bias, from `from` on, to every token; caches hold theirs already. */
static gopt_status add_bias(gi_eval *a, gopt_dtype real, uint32_t part, int64_t from, gi_kv *kv)
{
    const void *bias;
    if (!input(a, BIAS) || (part != QUERY && input(a, part) && a->in[part]->rank == 4))
        return GOPT_OK;
    GI_TRY(gi_eval_rank(a, BIAS, 1));
    const int64_t width = kv->heads * kv->size;
    if (from + width > a->in[BIAS]->dims[0])
        return gi_eval_fail(a, BIAS, "has %lld elements, expected %lld", (long long)a->in[BIAS]->dims[0],
                            (long long)(from + width));
    GI_TRY(gi_real_in(a, BIAS, real, &bias));
    const gi_heads to = gi_heads_together(kv->heads, kv->tokens, kv->size);
    const size_t item = gi_item_size(real);
    int64_t n;
    if (!gi_mul_i64(kv->batch * kv->tokens, gi_max_i64(width, 1), &n))
        return gi_eval_fail(a, (int)part, "has too many tokens");
    uint8_t *sum = gi_eval_scratch(a, (size_t)n + 1, item);
    GI_NEED(sum);
    gi_move_nd(4, (int64_t[]){ kv->batch, kv->heads, kv->tokens, kv->size }, sum,
               (int64_t[]){ to.batch, to.head, to.token, 1 }, kv->p,
               (int64_t[]){ kv->at.batch, kv->at.head, kv->at.token, 1 }, item);
    for (int64_t i = 0; i < n && width > 0; i++)
        if (real == GOPT_F64)
            ((double *)(void *)sum)[i] += ((const double *)bias)[from + i % width];
        else
            ((float *)(void *)sum)[i] += ((const float *)bias)[from + i % width];
    kv->p = sum;
    kv->at = to;
    return GOPT_OK;
}

static gopt_status check_kv(const gi_eval *a, const gi_kv *q, const gi_kv *k, const gi_kv *v)
{
    if (k->batch != q->batch || k->size != q->size)
        return gi_eval_fail(a, KEY, "has %lld samples of heads of %lld, the query %lld of %lld", (long long)k->batch,
                            (long long)k->size, (long long)q->batch, (long long)q->size);
    if (v->batch != q->batch || v->tokens != k->tokens)
        return gi_eval_fail(a, VALUE, "has %lld samples of %lld tokens, the key %lld of %lld", (long long)v->batch,
                            (long long)v->tokens, (long long)k->batch, (long long)k->tokens);
    return GOPT_OK;
}

static gopt_status eval_multi_head(gi_eval *a)
{
    const int64_t heads = gi_attr_int(a->n, MultiHeadAttention_at_num_heads);
    gi_kv q, k, v;
    GI_TRY(gi_eval_rank_at_least(a, QUERY, 3));
    const gopt_dtype dtype = a->in[QUERY]->dtype, real = gi_real_of(dtype);
    if (heads < 1)
        return gi_eval_fail(a, -1, "attribute num_heads is %lld, expected 1 or more", (long long)heads);
    if (input(a, MultiHeadAttention_in_past_sequence_length) || input(a, MultiHeadAttention_in_cache_indirection))
        return gi_eval_fail(a, MultiHeadAttention_in_past_sequence_length, "caches shared as buffers are not known");
    GI_TRY(read_part(a, QUERY, heads, real, &q));
    GI_TRY(read_part(a, KEY, heads, real, &k));
    GI_TRY(read_part(a, VALUE, heads, real, &v));
    GI_TRY(check_kv(a, &q, &k, &v));
    const int64_t added = k.tokens, hidden = heads * q.size;
    GI_TRY(add_bias(a, real, QUERY, 0, &q));
    GI_TRY(add_bias(a, real, KEY, hidden, &k));
    GI_TRY(add_bias(a, real, VALUE, 2 * hidden, &v));
    GI_TRY(gi_kv_join(a, real, dtype, PAST_KEY, MultiHeadAttention_out_present_key, &k));
    GI_TRY(gi_kv_join(a, real, dtype, PAST_VALUE, MultiHeadAttention_out_present_value, &v));
    GI_TRY(check_kv(a, &q, &k, &v));
    const double scale = (double)gi_attr_float(a->n, MultiHeadAttention_at_scale);
    gi_attention t = { .batch = q.batch,
                       .heads = heads,
                       .kv_heads = heads,
                       .queries = q.tokens,
                       .keys = k.tokens,
                       .size = q.size,
                       .v_size = v.size,
                       .q = q.at,
                       .k = k.at,
                       .v = v.at,
                       .scale = scale != 0 ? scale : 1 / sqrt((double)q.size),
                       .scores_of = GI_SCORES_BIASED };
    GI_TRY(check_mask(a, MultiHeadAttention_in_key_padding_mask, false, &t));
    GI_TRY(check_bias(a, MultiHeadAttention_in_attention_bias, &t));
    GI_TRY(make_bias(a, real, &t,
                     &(masking){ .bias = input(a, MultiHeadAttention_in_attention_bias),
                                 .mask = input(a, MultiHeadAttention_in_key_padding_mask),
                                 .filter = (double)gi_attr_float(a->n, MultiHeadAttention_at_mask_filter_value),
                                 .causal = gi_attr_int(a->n, MultiHeadAttention_at_unidirectional) != 0,
                                 .past = k.tokens - added }));
    return gi_attention_finish(
        a, &t,
        &(gi_attention_ends){
            .q = &q, .k = &k, .v = &v, .dtype = dtype, .rank = 3, .scores_out = MultiHeadAttention_out_qk });
}

/* ---- Attention ---- */

enum {
    INPUT = MsAttention_in_input,
    WEIGHTS = MsAttention_in_weights,
    MASK_INDEX = MsAttention_in_mask_index,
    PAST = MsAttention_in_past
};

/* Columns of queries, keys and values of the weights; 0 where they cannot be told. */
static bool hidden_sizes(const gi_node *n, int64_t columns, int64_t *sizes)
{
    const int64_t *given;
    const uint32_t count = gi_attr_ints(n, MsAttention_at_qkv_hidden_sizes, &given);
    const int64_t heads = gi_attr_int(n, MsAttention_at_num_heads);
    for (int i = 0; i < 3; i++)
        sizes[i] = count == 3 ? given[i] : columns / 3;
    for (int i = 0; i < 3; i++)
        if (heads < 1 || sizes[i] < 1 || sizes[i] > columns || sizes[i] % heads)
            return false;
    return (count == 0 || count == 3) && sizes[0] == sizes[1] && sizes[0] + sizes[1] + sizes[2] == columns;
}

static gopt_status infer_projected(gi_infer *c)
{
    const gopt_dtype dtype = gi_infer_dtype(c, INPUT);
    int64_t columns, sizes[3];
    GI_TRY(gi_infer_want_rank(c, INPUT, 3));
    GI_TRY(gi_infer_want_rank(c, WEIGHTS, 2));
    GI_TRY(infer_types(c, MASK_INDEX, MsAttention_in_past_sequence_length));
    if (gi_infer_rank(c, INPUT) != 3 || gi_infer_rank(c, WEIGHTS) != 2) {
        gi_infer_set(c, MsAttention_out_output, dtype, -1, NULL);
        return GOPT_OK;
    }
    GI_TRY(gi_infer_want_dim(c, WEIGHTS, 0, gi_infer_dim(c, INPUT, 2), "the last dimension of the input"));
    if (!gi_dim_is_const(gi_infer_dim(c, WEIGHTS, 1), &columns)) {
        gi_infer_set(c, MsAttention_out_output, dtype, -1, NULL);
        return GOPT_OK;
    }
    if (!hidden_sizes(c->n, columns, sizes))
        return gi_infer_fail(c, WEIGHTS, "expected columns of queries, keys and values of %lld heads",
                             (long long)gi_attr_int(c->n, MsAttention_at_num_heads));
    gi_dims *t = c->g->dims;
    const int64_t heads = gi_attr_int(c->n, MsAttention_at_num_heads);
    const gi_dim *batch = gi_infer_dim(c, INPUT, 0), *tokens = gi_infer_dim(c, INPUT, 1), *keys = tokens,
                 *hidden = gi_dim_const(t, sizes[2]), *two = gi_dim_const(t, 2), *n = gi_dim_const(t, heads),
                 *size = gi_dim_const(t, sizes[0] / heads);
    if (gi_infer_has(c, PAST))
        keys = gi_attr_int(c->n, MsAttention_at_past_present_share_buffer)
                   ? gi_infer_dim(c, PAST, 3)
                   : gi_dim_add(t, keys, gi_infer_dim(c, PAST, 3));
    GI_NEED(keys && hidden && two && n && size);
    gi_infer_set(c, MsAttention_out_output, dtype, 3, (const gi_dim *[]){ batch, tokens, hidden });
    gi_infer_set(c, MsAttention_out_present, dtype, 5, (const gi_dim *[]){ two, batch, n, keys, size });
    return GOPT_OK;
}

/* input · weights + bias: [batch · tokens, columns]. */
static gopt_status project(gi_eval *a, gopt_dtype real, int64_t rows, int64_t columns, void **out)
{
    const void *x, *w, *bias;
    const int64_t k = a->in[WEIGHTS]->dims[0];
    int64_t n;
    GI_TRY(gi_real_in(a, INPUT, real, &x));
    GI_TRY(gi_real_in(a, WEIGHTS, real, &w));
    GI_TRY(gi_real_in(a, MsAttention_in_bias, real, &bias));
    if (bias) {
        GI_TRY(gi_eval_rank(a, MsAttention_in_bias, 1));
        GI_TRY(gi_eval_dim(a, MsAttention_in_bias, 0, columns));
    }
    if (!gi_mul_i64(rows, columns, &n))
        return gi_eval_fail(a, INPUT, "has too many tokens");
    void *y = gi_eval_scratch(a, (size_t)n + 1, gi_item_size(real));
    GI_NEED(y);
    for (int64_t i = 0; i < rows && bias; i++)
        memcpy((char *)y + (size_t)(i * columns) * gi_item_size(real), bias, (size_t)columns * gi_item_size(real));
    gi_gemm(real == GOPT_F64 ? GI_WORD_F64 : GI_WORD_F32, rows, columns, k, x, w, y);
    *out = y;
    return GOPT_OK;
}

/* Keys (part 0) or values (1) with those of the past before them, as that part of the second output. */
static gopt_status append_past(gi_eval *a, gopt_dtype real, int64_t part, void *present, gi_kv *kv)
{
    const gopt_tensor *past = input(a, PAST);
    const size_t item = gi_item_size(real);
    const void *from = NULL;
    const int64_t before = past ? past->dims[3] : 0;
    if (!past && !present)
        return GOPT_OK;
    GI_TRY(gi_real_in(a, PAST, real, &from));
    const int64_t one = kv->batch * kv->heads * kv->size;
    if (from)
        from = (const char *)from + (size_t)(part * one * before) * item;
    void *p = present ? (char *)present + (size_t)(part * one * (before + kv->tokens)) * item
                      : gi_eval_scratch(a, (size_t)(one * (before + kv->tokens)) + 1, item);
    GI_NEED(p);
    gi_kv_append(item, from, before, p, kv);
    return GOPT_OK;
}

static gopt_status check_past(const gi_eval *a, const gi_kv *k, const gi_kv *v)
{
    const gopt_tensor *past = input(a, PAST);
    const int64_t want[] = { 2, k->batch, k->heads, -1, k->size };
    int64_t n = 1;
    if (past)
        GI_TRY(gi_eval_rank(a, PAST, 5));
    for (int i = 0; past && i < 5; i++)
        if (want[i] >= 0)
            GI_TRY(gi_eval_dim(a, PAST, i, want[i]));
    if ((past || a->n_out > MsAttention_out_present) && v->size != k->size)
        return gi_eval_fail(a, -1, "keys and values of different sizes cannot be cached as one");
    if (!gi_add_i64(k->tokens, past ? past->dims[3] : 0, &n) || !gi_mul_i64(n, 2 * k->batch * k->heads, &n) ||
        !gi_mul_i64(n, k->size, &n))
        return gi_eval_fail(a, INPUT, "has too many tokens");
    return GOPT_OK;
}

static gopt_status eval_projected(gi_eval *a)
{
    const gi_node *n = a->n;
    int64_t sizes[3];
    void *all = NULL;
    gi_real present = { 0 };
    gi_kv part[3];
    GI_TRY(gi_eval_rank(a, INPUT, 3));
    GI_TRY(gi_eval_rank(a, WEIGHTS, 2));
    const gopt_tensor *x = a->in[INPUT], *w = a->in[WEIGHTS];
    GI_TRY(gi_eval_dim(a, WEIGHTS, 0, x->dims[2]));
    const gopt_dtype real = gi_real_of(x->dtype);
    const int64_t heads = gi_attr_int(n, MsAttention_at_num_heads), columns = w->dims[1], tokens = x->dims[1];
    if (!hidden_sizes(n, columns, sizes))
        return gi_eval_fail(a, WEIGHTS, "has %lld columns, expected queries, keys and values of %lld heads",
                            (long long)columns, (long long)heads);
    if (gi_attr_int(n, MsAttention_at_do_rotary) || gi_attr_int(n, MsAttention_at_past_present_share_buffer) ||
        input(a, MsAttention_in_past_sequence_length))
        return gi_eval_fail(a, -1, "rotary embeddings, and caches shared as buffers, are not known here");
    GI_TRY(project(a, real, x->dims[0] * tokens, columns, &all));
    for (int64_t i = 0, from = 0; i < 3; from += sizes[i++])
        part[i] = (gi_kv){ .batch = x->dims[0],
                           .heads = heads,
                           .tokens = tokens,
                           .size = sizes[i] / heads,
                           .at = { .batch = tokens * columns, .head = sizes[i] / heads, .token = columns },
                           .p = (const char *)all + (size_t)from * gi_item_size(real) };
    gi_kv *k = &part[1], *v = &part[2];
    GI_TRY(check_past(a, k, v));
    if (a->n_out > MsAttention_out_present) {
        const int64_t keys = tokens + (input(a, PAST) ? a->in[PAST]->dims[3] : 0);
        GI_TRY(gi_real_out(a, MsAttention_out_present, x->dtype, 5, (int64_t[]){ 2, x->dims[0], heads, keys, k->size },
                           &present));
    }
    GI_TRY(append_past(a, real, 0, present.p, k));
    GI_TRY(append_past(a, real, 1, present.p, v));
    const double scale = (double)gi_attr_float(n, MsAttention_at_scale);
    gi_attention t = { .batch = x->dims[0],
                       .heads = heads,
                       .kv_heads = heads,
                       .queries = tokens,
                       .keys = k->tokens,
                       .size = k->size,
                       .v_size = v->size,
                       .q = part[0].at,
                       .k = k->at,
                       .v = v->at,
                       .scale = scale != 0 ? scale : 1 / sqrt((double)k->size) };
    const gopt_tensor *mask = input(a, MASK_INDEX);
    if (mask && mask->rank == 2 && mask->dims[1] == 1)
        mask = NULL; /* [batch, 1] and [1, 1] stand for no mask */
    if (mask)
        GI_TRY(check_mask(a, MASK_INDEX, true, &t));
    GI_TRY(check_bias(a, MsAttention_in_attention_bias, &t));
    GI_TRY(make_bias(a, real, &t,
                     &(masking){ .bias = input(a, MsAttention_in_attention_bias),
                                 .mask = mask,
                                 .filter = (double)gi_attr_float(n, MsAttention_at_mask_filter_value),
                                 .causal = gi_attr_int(n, MsAttention_at_unidirectional) != 0,
                                 .past = k->tokens - tokens }));
    GI_TRY(gi_attention_finish(
        a, &t,
        &(gi_attention_ends){ .q = &part[0], .k = k, .v = v, .dtype = x->dtype, .rank = 3, .scores_out = UINT32_MAX }));
    gi_real_store(&present);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/contrib_attention.def"
