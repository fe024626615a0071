/* Rules that expand attention and rotary embeddings. */
#include <float.h>
#include <math.h>

#include "passes/build.h"

static gi_value *input(const gi_node *n, uint32_t i)
{
    return gi_node_in(n, i);
}

static bool is_used(const gi_node *n, uint32_t out)
{
    return out < n->n_out && n->out[out]->n_uses > 0;
}

static const gi_dim *dim_of(gopt_graph *g, const gi_value *v, int i)
{
    const int rank = gi_value_rank(v);
    return rank < 0 ? gi_dim_unknown(g->dims, true) : v->type->dims[i < 0 ? i + rank : i];
}

/* What scores are computed in: f32 for the 16-bit floats too. */
static gopt_dtype real_of(const gi_value *q)
{
    return gi_value_dtype(q) == GOPT_F64 ? GOPT_F64 : GOPT_F32;
}

/* Are they both known to be the same, for all values of the symbols? */
static bool same_dim(gopt_graph *g, const gi_dim *a, const gi_dim *b)
{
    return a && b && gi_dim_equal(g->dims, a, b) == 1;
}

/* ---- Attention ---- */

typedef struct attention {
    gi_value *q, *k, *v, *mask, *past_key, *past_value, *counts;
    int rank;
    int64_t heads, kv_heads; /* 0: the same, not known as numbers */
    double scale;
    float softcap;
    gopt_dtype dtype, real; /* of the inputs; to compute in */
    bool causal;
    int64_t pad; /* keys that the mask is short of */
} attention;

static int64_t heads_of(const gi_node *n, const gi_value *v, int at, int rank)
{
    if (rank == 4)
        return gi_value_dim(v, 1);
    return gi_attr_has(n, at) ? gi_attr_int(n, at) : -1;
}

static bool read_attention(gopt_graph *g, const gi_node *n, attention *t, gi_reason *why)
{
    *t = (attention){ .q = input(n, Attention_in_Q),
                      .k = input(n, Attention_in_K),
                      .v = input(n, Attention_in_V),
                      .mask = input(n, Attention_in_attn_mask),
                      .past_key = input(n, Attention_in_past_key),
                      .past_value = input(n, Attention_in_past_value),
                      .counts = input(n, Attention_in_nonpad_kv_seqlen),
                      .softcap = gi_attr_float(n, Attention_at_softcap),
                      .causal = gi_attr_int(n, Attention_at_is_causal) != 0 };
    t->rank = gi_value_rank(t->q);
    t->dtype = gi_value_dtype(t->q);
    t->real = real_of(t->q);
    if ((t->rank != 3 && t->rank != 4) || !gi_dtype_is_float(t->dtype) || gi_value_dtype(t->v) != t->dtype ||
        gi_value_dtype(t->k) != t->dtype || gi_value_rank(t->k) != t->rank || gi_value_rank(t->v) != t->rank)
        return gi_decline(why, "ranks and element types of its inputs are not known, or differ");
    t->heads = heads_of(n, t->q, Attention_at_q_num_heads, t->rank);
    t->kv_heads = heads_of(n, t->k, Attention_at_kv_num_heads, t->rank);
    if (t->rank == 4 && same_dim(g, dim_of(g, t->q, 1), dim_of(g, t->k, 1)))
        t->heads = t->kv_heads = 0;
    else if (t->heads < 1 || t->kv_heads < 1 || t->heads % t->kv_heads)
        return gi_decline(why, "the numbers of its heads are not known");
    const int64_t hidden = gi_value_dim(t->q, -1), size = t->rank == 4 || hidden < 0 ? hidden : hidden / t->heads;
    if (gi_attr_has(n, Attention_at_scale))
        t->scale = (double)gi_attr_float(n, Attention_at_scale);
    else if (size > 0)
        t->scale = 1 / sqrt((double)size);
    else
        return gi_decline(why, "the size of a head is not known, and so not the scale of the scores");
    return true;
}

/* The mask has as many keys as there are, or fewer by a known number. */
static bool read_mask(gopt_graph *g, attention *t, gi_reason *why)
{
    if (!t->mask)
        return true;
    const gi_dim *keys = dim_of(g, t->k, t->rank - 2);
    if (t->past_key)
        keys = gi_value_rank(t->past_key) == 4 ? gi_dim_add(g->dims, keys, dim_of(g, t->past_key, 2)) : NULL;
    const int rank = gi_value_rank(t->mask);
    int64_t all, own;
    if (rank < 1 || rank > 4)
        return gi_decline(why, "the rank of its mask is not known");
    if (same_dim(g, dim_of(g, t->mask, -1), keys))
        return true;
    if (!keys || !gi_dim_is_const(keys, &all) || !gi_dim_is_const(dim_of(g, t->mask, -1), &own) || own > all)
        return gi_decline(why, "its mask is not known to cover all keys");
    t->pad = all - own;
    return true;
}

static bool attention_is_plain(const gi_match *m, gi_reason *why)
{
    attention t;
    const int64_t mode = gi_attr_int(m->root, Attention_at_qk_matmul_output_mode);
    if (mode < 0 || mode > 3)
        return gi_decline(why, "there is no qk_matmul_output_mode %lld", (long long)mode);
    return read_attention(m->g, m->root, &t, why) && read_mask(m->g, &t, why);
}

/* [batch, tokens, heads · size] as [batch, heads, tokens, size], or as `perm` puts [batch, tokens, heads, size]. */
static gi_value *apart(gi_rewrite *r, gi_value *x, int64_t heads, const int64_t *perm)
{
    const int64_t hidden = gi_value_dim(x, 2);
    return gi_rw_transpose(r, gi_rw_reshape(r, x, 4, (int64_t[]){ 0, 0, heads, hidden > 0 ? hidden / heads : -1 }), 4,
                           perm);
}

static const int64_t SWAP_TOKENS[] = { 0, 2, 1, 3 }, KEYS_TURNED[] = { 0, 2, 3, 1 }, TURNED[] = { 0, 1, 3, 2 };

static gi_value *together(gi_rewrite *r, gi_value *y, const gi_value *like)
{
    return gi_rw_reshape(r, gi_rw_transpose(r, y, 4, SWAP_TOKENS), 3, (int64_t[]){ 0, 0, gi_value_dim(like, 2) });
}

static gi_value *infinite(gi_rewrite *r, gopt_dtype t, gi_value *masked, bool where)
{
    gi_value *zero = gi_rw_scalar(r, t, 0), *least = gi_rw_scalar(r, t, -INFINITY);
    return gi_rw_where(r, masked, where ? least : zero, where ? zero : least);
}

/* 0, 1, … below n, as f32: exact far beyond what attention is done over. */
static gi_value *count_to(gi_rewrite *r, gi_value *n)
{
    return n ? gi_rw_build(r, OP_Range, 3,
                           (gi_value *[]){ gi_rw_scalar(r, GOPT_F32, 0), n, gi_rw_scalar(r, GOPT_F32, 1) })
             : NULL;
}

/* −∞ where the key comes after the query: [queries, keys]. */
static gi_value *causal_bias(gi_rewrite *r, const attention *t, gi_value *q, gi_value *keys)
{
    gi_value *queries = count_to(r, gi_rw_dim(r, q, 2, GOPT_F32));
    if (t->past_key)
        queries = gi_rw_binary(r, OP_Add, queries, gi_rw_dim(r, t->past_key, 2, GOPT_F32));
    queries = gi_rw_unsqueeze(r, queries, 1, (int64_t[]){ 1 });
    return infinite(r, t->real, gi_rw_binary(r, OP_Less, queries, count_to(r, keys)), true);
}

/* −∞ from a number of keys on that each sample has of its own: [batch, 1, 1, keys]. */
static gi_value *counted_bias(gi_rewrite *r, gopt_dtype t, gi_value *counts, gi_value *keys)
{
    gi_value *n = gi_rw_unsqueeze(r, gi_rw_cast(r, counts, GOPT_F32), 3, (int64_t[]){ 1, 2, 3 });
    return infinite(r, t, gi_rw_binary(r, OP_Less, count_to(r, keys), n), false);
}

static gi_value *mask_bias(gi_rewrite *r, const attention *t)
{
    const bool is_bool = gi_value_dtype(t->mask) == GOPT_BOOL;
    gi_value *bias = is_bool ? infinite(r, t->real, t->mask, false) : gi_rw_cast(r, t->mask, t->real);
    if (!bias || !t->pad)
        return bias;
    int64_t pads[8] = { 0 };
    const int rank = gi_value_rank(t->mask);
    pads[2 * rank - 1] = t->pad;
    return gi_rw_build(
        r, OP_Pad, 3,
        (gi_value *[]){ bias, gi_rw_ints(r, 2 * (uint32_t)rank, pads), gi_rw_scalar(r, t->real, -INFINITY) });
}

static gi_value *sum_of(gi_rewrite *r, gi_value *a, gi_value *b)
{
    return a ? gi_rw_binary(r, OP_Add, a, b) : b;
}

/* What is added to the scores. False where there is no memory; *bias NULL where nothing is. */
static bool make_bias(gi_rewrite *r, const attention *t, gi_value *q, gi_value *keys_turned, gi_value **bias)
{
    *bias = NULL;
    if (t->mask)
        *bias = mask_bias(r, t);
    if (t->causal && (*bias || !t->mask))
        *bias = sum_of(r, *bias, causal_bias(r, t, q, gi_rw_dim(r, keys_turned, 3, GOPT_F32)));
    if (t->counts && (*bias || (!t->mask && !t->causal)))
        *bias = sum_of(r, *bias, counted_bias(r, t->real, t->counts, gi_rw_dim(r, keys_turned, 3, GOPT_F32)));
    return *bias || (!t->mask && !t->causal && !t->counts);
}

/* Heads that share keys and values stand beside each other: they are rows of one product. */
static gi_value *share(gi_rewrite *r, const attention *t, gi_value *x, int64_t heads)
{
    return x && t->heads != t->kv_heads ? gi_rw_reshape(r, x, 4, (int64_t[]){ 0, heads, -1, 0 }) : x;
}

static gi_value *times(gi_rewrite *r, gi_value *x, double k)
{
    return x && k != 1 ? gi_rw_binary(r, OP_Mul, x, gi_rw_scalar(r, gi_value_dtype(x), k)) : x;
}

/* scale · q kᵀ */
static gi_value *make_scores(gi_rewrite *r, const attention *t, gi_value *q, gi_value *keys_turned)
{
    q = share(r, t, gi_rw_cast(r, q, t->real), t->kv_heads);
    gi_value *s = gi_rw_binary(r, OP_MatMul, q, gi_rw_cast(r, keys_turned, t->real));
    return share(r, t, times(r, s, t->scale), t->heads);
}

/* Keys as they are cached, [batch, heads, tokens, size], and turned. */
static bool make_keys(gi_rewrite *r, const attention *t, bool cached, gi_value **keys, gi_value **turned)
{
    *keys = NULL;
    if (t->rank == 3 && !t->past_key && !cached) {
        *turned = apart(r, t->k, t->kv_heads, KEYS_TURNED);
        return *turned != NULL;
    }
    *keys = t->rank == 3 ? apart(r, t->k, t->kv_heads, SWAP_TOKENS) : t->k;
    if (t->past_key)
        *keys = gi_rw_concat(r, 2, (gi_value *[]){ t->past_key, *keys }, 2);
    *turned = *keys ? gi_rw_transpose(r, *keys, 4, TURNED) : NULL;
    return *turned != NULL;
}

static gi_value *expand_attention(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    attention t;
    gi_reason ignored = { .arena = r->scratch };
    gi_value *keys, *turned, *bias;
    if (!read_attention(m->g, n, &t, &ignored) || !read_mask(m->g, &t, &ignored) ||
        !make_keys(r, &t, is_used(n, Attention_out_present_key), &keys, &turned))
        return NULL;
    gi_value *q = t.rank == 3 ? apart(r, t.q, t.heads, SWAP_TOKENS) : t.q,
             *v = t.rank == 3 ? apart(r, t.v, t.kv_heads, SWAP_TOKENS) : t.v;
    if (t.past_value && v)
        v = gi_rw_concat(r, 2, (gi_value *[]){ t.past_value, v }, 2);
    if (!q || !v || !make_bias(r, &t, q, turned, &bias))
        return NULL;
    gi_value *stages[4]; /* of the scores, as qk_matmul_output_mode counts them */
    gi_value *s = stages[0] = make_scores(r, &t, q, turned);
    if (t.softcap > 0)
        s = times(r, gi_rw_unary(r, OP_Tanh, times(r, s, 1 / (double)t.softcap)), (double)t.softcap);
    stages[1] = s;
    s = stages[2] = bias && s ? gi_rw_binary(r, OP_Add, s, bias) : s;
    s = stages[3] = gi_rw_softmax(r, s, -1);
    s = share(r, &t, s, t.kv_heads);
    gi_value *y = share(r, &t, gi_rw_binary(r, OP_MatMul, s, gi_rw_cast(r, v, t.real)), t.heads);
    y = gi_rw_cast(r, y, t.dtype);
    if (t.rank == 3 && y)
        y = together(r, y, n->out[0]);
    const int64_t mode = gi_attr_int(n, Attention_at_qk_matmul_output_mode);
    gi_value *const made[] = { y, keys, v,
                               is_used(n, Attention_out_qk_matmul_output) ? gi_rw_cast(r, stages[mode], t.dtype)
                                                                          : NULL };
    for (uint32_t i = 1; i < n->n_out; i++) {
        gi_value *to = made[i];
        if (to == t.k || to == t.v) /* an output of its own */
            to = is_used(n, i) ? gi_rw_unary(r, OP_Identity, to) : NULL;
        if (is_used(n, i) && (!to || !gi_rw_also(r, n->out[i], to)))
            return NULL;
    }
    return y;
}

/* ---- MultiHeadAttention ---- */

static bool multi_head_is_plain(const gi_match *m, gi_reason *why)
{
    const gi_node *n = m->root;
    gi_value *q = input(n, MultiHeadAttention_in_query), *k = input(n, MultiHeadAttention_in_key),
             *v = input(n, MultiHeadAttention_in_value), *mask = input(n, MultiHeadAttention_in_key_padding_mask);
    const int key_rank = gi_value_rank(k);
    if (!k || !v || gi_value_rank(q) != 3 || (key_rank != 3 && key_rank != 4) || gi_value_rank(v) != key_rank ||
        !gi_dtype_is_float(gi_value_dtype(q)))
        return gi_decline(why, "its inputs are packed, or their ranks are not known");
    if (gi_value_dtype(k) != gi_value_dtype(q) || gi_value_dtype(v) != gi_value_dtype(q) ||
        (mask && !gi_dtype_is_int(gi_value_dtype(mask))))
        return gi_decline(why, "its inputs are of different element types, or its mask is not of integers");
    if (input(n, MultiHeadAttention_in_past_sequence_length) || input(n, MultiHeadAttention_in_cache_indirection))
        return gi_decline(why, "its caches are shared buffers");
    if (input(n, MultiHeadAttention_in_bias) &&
        (gi_value_dim(q, 2) < 0 || (key_rank == 3 && (gi_value_dim(k, 2) < 0 || gi_value_dim(v, 2) < 0)) ||
         (key_rank == 4 && gi_value_dim(input(n, MultiHeadAttention_in_bias), 0) < 0)))
        return gi_decline(why, "its hidden sizes are not known");
    if (key_rank == 4 && gi_value_dim(q, 2) < 0)
        return gi_decline(why, "its hidden size is not known");
    if (mask && gi_value_rank(mask) == 1 && !same_dim(m->g, dim_of(m->g, mask, 0), dim_of(m->g, q, 0)) &&
        (gi_value_dim(q, 0) < 0 || gi_value_dim(mask, 0) != 3 * gi_value_dim(q, 0) + 2))
        return gi_decline(why, "its lengths are not known to be one a sample");
    return !mask || (gi_value_rank(mask) >= 1 && gi_value_rank(mask) <= 3) ||
           gi_decline(why, "the rank of its mask is not known");
}

/* The keys that there are, with those of the past, as f32. */
static gi_value *all_keys(gi_rewrite *r, const gi_node *n)
{
    gi_value *k = input(n, MultiHeadAttention_in_key), *past = input(n, MultiHeadAttention_in_past_key),
             *keys = gi_rw_dim(r, k, gi_value_rank(k) == 4 ? 2 : 1, GOPT_F32);
    return past ? gi_rw_binary(r, OP_Add, keys, gi_rw_dim(r, past, 2, GOPT_F32)) : keys;
}

/* Is its causal mask Attention's? That hides keys from the last query too, where there are more of them than queries, and
 * scores become infinite, not the lowest number. */
static bool is_causal_alike(gopt_graph *g, const gi_node *n)
{
    const gi_value *k = input(n, MultiHeadAttention_in_key);
    return !is_used(n, MultiHeadAttention_out_qk) && same_dim(g, dim_of(g, input(n, MultiHeadAttention_in_query), 1),
                                                              dim_of(g, k, gi_value_rank(k) == 4 ? 2 : 1));
}

/* The lowest number for keys behind a query, but for the last query: [queries, keys]. */
static gi_value *unidirectional_bias(gi_rewrite *r, const gi_node *n)
{
    gi_value *q = input(n, MultiHeadAttention_in_query), *past = input(n, MultiHeadAttention_in_past_key),
             *queries = gi_rw_dim(r, q, 1, GOPT_F32), *row = count_to(r, queries),
             *last = queries ? gi_rw_binary(r, OP_Sub, queries, gi_rw_scalar(r, GOPT_F32, 1)) : NULL;
    gi_value *seen = past ? gi_rw_binary(r, OP_Add, row, gi_rw_dim(r, past, 2, GOPT_F32)) : row;
    const int64_t axis = 1;
    seen = gi_rw_unsqueeze(r, seen, 1, &axis);
    gi_value *behind = gi_rw_binary(r, OP_Less, seen, count_to(r, all_keys(r, n))),
             *masked =
                 gi_rw_binary(r, OP_And, behind, gi_rw_unsqueeze(r, gi_rw_binary(r, OP_Less, row, last), 1, &axis));
    const gopt_dtype t = real_of(q);
    return gi_rw_where(r, masked, gi_rw_scalar(r, t, (double)-FLT_MAX), gi_rw_scalar(r, t, 0));
}

/* The part of the bias from `from` on, added. */
static gi_value *biased(gi_rewrite *r, gi_value *x, gi_value *bias, int64_t from)
{
    const int64_t to = from + gi_value_dim(x, 2), axis = 0;
    return gi_rw_binary(
        r, OP_Add, x,
        gi_rw_build(r, OP_Slice, 4,
                    (gi_value *[]){ bias, gi_rw_ints(r, 1, &from), gi_rw_ints(r, 1, &to), gi_rw_ints(r, 1, &axis) }));
}

/* The key padding as something to be added: 0, or the filter's value. [batch, 1, 1 or queries, keys]. */
static gi_value *padding_bias(gi_rewrite *r, const gi_node *n, gi_value *mask)
{
    const gopt_dtype t = real_of(input(n, MultiHeadAttention_in_query));
    const int rank = gi_value_rank(mask);
    gi_value *keep, *zero = gi_rw_scalar(r, t, 0),
                    *filter = gi_rw_scalar(r, t, (double)gi_attr_float(n, MultiHeadAttention_at_mask_filter_value));
    if (rank == 1) {
        const int64_t batch = gi_value_dim(input(n, MultiHeadAttention_in_query), 0), zeroth = 0;
        if (batch >= 0 && gi_value_dim(mask, 0) != batch) /* other numbers lie behind the lengths */
            mask = gi_rw_build(r, OP_Slice, 3,
                               (gi_value *[]){ mask, gi_rw_ints(r, 1, &zeroth), gi_rw_ints(r, 1, &batch) });
        if (!mask)
            return NULL;
        mask = gi_rw_unsqueeze(r, gi_rw_cast(r, mask, GOPT_F32), 3, (int64_t[]){ 1, 2, 3 });
        keep = gi_rw_binary(r, OP_Less, count_to(r, all_keys(r, n)), mask);
        return gi_rw_where(r, keep, zero, filter);
    }
    keep = gi_rw_binary(r, OP_Greater, mask, gi_rw_scalar(r, gi_value_dtype(mask), 0));
    return gi_rw_unsqueeze(r, gi_rw_where(r, keep, zero, filter), rank == 2 ? 2 : 1, (int64_t[]){ 1, 2 });
}

static gi_value *expand_multi_head(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    const int64_t heads = gi_attr_int(n, MultiHeadAttention_at_num_heads);
    gi_value *q = input(n, MultiHeadAttention_in_query), *k = input(n, MultiHeadAttention_in_key),
             *v = input(n, MultiHeadAttention_in_value), *bias = input(n, MultiHeadAttention_in_bias),
             *padding = input(n, MultiHeadAttention_in_key_padding_mask),
             *mask = input(n, MultiHeadAttention_in_attention_bias);
    const bool cached = gi_value_rank(k) == 4;
    const gopt_dtype real = real_of(q);
    if (bias) {
        const int64_t hidden = gi_value_dim(q, 2);
        q = biased(r, q, bias, 0);
        k = cached ? k : biased(r, k, bias, hidden);
        v = cached ? v : biased(r, v, bias, 2 * hidden);
    }
    if (mask && (padding || gi_attr_int(n, MultiHeadAttention_at_unidirectional)))
        mask = gi_rw_cast(r, mask, real); /* where the filter's value is added, 16 bits are too few */
    if (padding) {
        gi_value *p = padding_bias(r, n, padding);
        mask = p ? sum_of(r, mask, p) : NULL;
        if (!mask)
            return NULL;
    }
    const bool causal = gi_attr_int(n, MultiHeadAttention_at_unidirectional) != 0,
               alike = causal && is_causal_alike(m->g, n);
    if (causal && !alike) {
        gi_value *b = unidirectional_bias(r, n);
        mask = b ? sum_of(r, mask, b) : NULL;
        if (!mask)
            return NULL;
    }
    if (mask && q && gi_value_rank(mask) >= 2 && gi_value_dim(mask, -2) == 1 && gi_value_dim(q, 1) != 1)
        mask = gi_rw_widen(r, mask, q, 1); /* Attention wants a mask for each query */
    if (cached && q)
        q = apart(r, q, heads, SWAP_TOKENS);
    if (!q || !k || !v)
        return NULL;
    gi_value *past = input(n, MultiHeadAttention_in_past_key);
    gi_node *a =
        gi_rw_node(r, OP_Attention,
                   past   ? 6
                   : mask ? 4
                          : 3,
                   (gi_value *[]){ q, k, v, mask, past, input(n, MultiHeadAttention_in_past_value) }, n->n_out);
    if (!a)
        return NULL;
    if (!cached) {
        gi_attr_set_int(a, Attention_at_q_num_heads, heads);
        gi_attr_set_int(a, Attention_at_kv_num_heads, heads);
    }
    if (gi_attr_float(n, MultiHeadAttention_at_scale) != 0)
        gi_attr_set_float(a, Attention_at_scale, gi_attr_float(n, MultiHeadAttention_at_scale));
    if (alike)
        gi_attr_set_int(a, Attention_at_is_causal, 1);
    if (is_used(n, MultiHeadAttention_out_qk))
        gi_attr_set_int(a, Attention_at_qk_matmul_output_mode, 2);
    gi_value *y = gi_rw_done(r, a);
    if (!cached || !y)
        return y;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (is_used(n, i) && !gi_rw_also(r, n->out[i], a->out[i]))
            return NULL;
    return together(r, y, n->out[0]);
}

/* ---- com.microsoft.Attention ---- */

/* What a mask of rank 1 stands for. */
typedef enum mask_kind { UNKNOWN_MASK, LENGTHS, ENDS_AND_STARTS } mask_kind;

static mask_kind kind_of_mask(gopt_graph *g, const gi_value *mask, const gi_value *x)
{
    const int64_t n = gi_value_dim(mask, 0), batch = gi_value_dim(x, 0);
    if (same_dim(g, dim_of(g, mask, 0), dim_of(g, x, 0)) || (batch >= 0 && n == 3 * batch + 2))
        return LENGTHS;
    return batch >= 0 && n == 2 * batch ? ENDS_AND_STARTS : UNKNOWN_MASK;
}

/* Is a mask of rank 2 surely one of keys? One of a single column stands for none, however many keys there are. */
static bool covers_keys(gopt_graph *g, const gi_node *n, const gi_value *mask)
{
    const gi_value *x = input(n, MsAttention_in_input), *past = input(n, MsAttention_in_past);
    const gi_dim *keys = dim_of(g, x, 1), *width = dim_of(g, mask, 1);
    int64_t least;
    if (past)
        keys = gi_dim_add(g->dims, keys, dim_of(g, past, 3));
    return same_dim(g, dim_of(g, mask, 0), dim_of(g, x, 0)) &&
           (same_dim(g, width, keys) || (gi_dim_lower(width, &least) && least > 1));
}

/* How many columns of the weights make queries, keys and values. */
static bool parts_of(const gi_node *n, int64_t *sizes)
{
    const int64_t *given, columns = gi_value_dim(input(n, MsAttention_in_weights), 1);
    const uint32_t count = gi_attr_ints(n, MsAttention_at_qkv_hidden_sizes, &given);
    for (int i = 0; i < 3; i++)
        sizes[i] = count == 3 ? given[i] : columns / 3;
    return columns > 0 && sizes[0] > 0 && sizes[1] > 0 && sizes[2] > 0 && sizes[0] + sizes[1] + sizes[2] == columns;
}

static bool projection_is_plain(const gi_match *m, gi_reason *why)
{
    const gi_node *n = m->root;
    const gi_value *x = input(n, MsAttention_in_input), *mask = input(n, MsAttention_in_mask_index);
    int64_t sizes[3];
    if (gi_value_rank(x) != 3 || !parts_of(n, sizes))
        return gi_decline(why, "the columns of its weights are not known");
    if (gi_attr_int(n, MsAttention_at_do_rotary) || gi_attr_int(n, MsAttention_at_past_present_share_buffer) ||
        input(n, MsAttention_in_past_sequence_length))
        return gi_decline(why, "it holds a rotary embedding, or its cache is a shared buffer");
    const int rank = mask ? gi_value_rank(mask) : 0;
    return !mask || rank == 3 || (rank == 2 && (gi_value_dim(mask, 1) == 1 || covers_keys(m->g, n, mask))) ||
           (rank == 1 && kind_of_mask(m->g, mask, x) != UNKNOWN_MASK) ||
           gi_decline(why, "what its mask stands for is not known");
}

/* 1 for keys from a sample's start to before its end, [batch, keys]: the mask holds ends, then starts. */
static gi_value *mask_between(gi_rewrite *r, const gi_node *n, gi_value *mask)
{
    gi_value *x = input(n, MsAttention_in_input), *past = input(n, MsAttention_in_past), *half[2],
             *keys = gi_rw_dim(r, x, 1, GOPT_F32);
    const int64_t batch = gi_value_dim(x, 0), lengths[] = { batch, batch }, axis = 1;
    if (past)
        keys = gi_rw_binary(r, OP_Add, keys, gi_rw_dim(r, past, 3, GOPT_F32));
    gi_value *key = count_to(r, keys);
    if (!gi_rw_split(r, gi_rw_cast(r, mask, GOPT_F32), 0, 2, lengths, half))
        return NULL;
    gi_value *before_end = gi_rw_binary(r, OP_Less, key, gi_rw_unsqueeze(r, half[0], 1, &axis)),
             *before_start = gi_rw_binary(r, OP_Less, key, gi_rw_unsqueeze(r, half[1], 1, &axis));
    return gi_rw_cast(r, gi_rw_binary(r, OP_And, before_end, gi_rw_unary(r, OP_Not, before_start)), GOPT_I32);
}

/* Part i of the cache, [2, batch, heads, tokens, size], on its own. */
static gi_value *cached_part(gi_rewrite *r, gi_value *past, int64_t i)
{
    gi_node *n = past ? gi_rw_node(r, OP_Gather, 2, (gi_value *[]){ past, gi_const_i64(r->g, 0, 1, &i) }, 1) : NULL;
    if (n)
        gi_attr_set_int(n, Gather_at_axis, 0);
    return gi_rw_done(r, n);
}

static gi_value *expand_projected(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    gi_value *x = input(n, MsAttention_in_input), *bias = input(n, MsAttention_in_bias),
             *mask = input(n, MsAttention_in_mask_index), *past = input(n, MsAttention_in_past), *in[8] = { NULL };
    int64_t sizes[3];
    if (!parts_of(n, sizes))
        return NULL;
    gi_value *all = gi_rw_binary(r, OP_MatMul, x, input(n, MsAttention_in_weights));
    if (bias)
        all = gi_rw_binary(r, OP_Add, all, bias);
    if (!gi_rw_split(r, all, 2, 3, sizes, in))
        return NULL;
    if (mask && gi_value_rank(mask) == 2 && gi_value_dim(mask, 1) == 1)
        mask = NULL; /* stands for none */
    if (mask && gi_value_rank(mask) == 1 && kind_of_mask(m->g, mask, x) == ENDS_AND_STARTS &&
        !(mask = mask_between(r, n, mask)))
        return NULL;
    in[MultiHeadAttention_in_key_padding_mask] = mask;
    in[MultiHeadAttention_in_attention_bias] = input(n, MsAttention_in_attention_bias);
    if (past) {
        in[MultiHeadAttention_in_past_key] = cached_part(r, past, 0);
        in[MultiHeadAttention_in_past_value] = cached_part(r, past, 1);
        if (!in[MultiHeadAttention_in_past_key] || !in[MultiHeadAttention_in_past_value])
            return NULL;
    }
    const bool caches = is_used(n, MsAttention_out_present);
    uint32_t n_in = 8;
    while (!in[n_in - 1])
        n_in--;
    gi_node *a = gi_rw_node(r, OP_MultiHeadAttention, n_in, in, caches ? 3 : 1);
    gi_value *y = a && gi_rw_attrs_of(a, n) ? gi_rw_done(r, a) : NULL;
    if (!y || !caches)
        return y;
    const int64_t zero = 0;
    gi_value *keys = gi_rw_unsqueeze(r, a->out[1], 1, &zero), *values = gi_rw_unsqueeze(r, a->out[2], 1, &zero),
             *present = gi_rw_concat(r, 2, (gi_value *[]){ keys, values }, 0);
    return present && gi_rw_also(r, n->out[MsAttention_out_present], present) ? y : NULL;
}

/* ---- RotaryEmbedding ---- */

static int64_t head_size(const gi_node *n, const gi_value *x)
{
    const int64_t last = gi_value_dim(x, -1);
    if (gi_value_rank(x) == 4 || last < 0)
        return last;
    return gi_attr_has(n, RotaryEmbedding_at_num_heads) && gi_attr_int(n, RotaryEmbedding_at_num_heads) > 0
               ? last / gi_attr_int(n, RotaryEmbedding_at_num_heads)
               : -1;
}

static bool rotary_is_plain(const gi_match *m, gi_reason *why)
{
    const int rank = gi_value_rank(m->x);
    return (rank == 3 || rank == 4) && head_size(m->root, m->x) > 0
               ? true
               : gi_decline(why, "the rank or the size of a head is not known");
}

/* cos or sin as it meets x1 and x2, [batch, tokens, heads, half] or with tokens behind heads. */
static gi_value *angles(gi_rewrite *r, const gi_match *m, gi_value *cache, bool interleaved)
{
    gi_value *c = m->p ? gi_rw_binary(r, OP_Gather, cache, m->p) : cache;
    return gi_rw_unsqueeze(r, c, interleaved ? 2 : 1, (int64_t[]){ gi_value_rank(m->x) == 4 ? 1 : 2, 4 });
}

static gi_value *expand_rotary(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    const int rank = gi_value_rank(m->x);
    const bool interleaved = gi_attr_int(n, RotaryEmbedding_at_interleaved) != 0;
    const int64_t size = head_size(n, m->x), given = gi_attr_int(n, RotaryEmbedding_at_rotary_embedding_dim),
                  rotary = given ? given : size, half = rotary / 2;
    gi_value *x = m->x, *part[3] = { NULL };
    if (rotary < 2 || rotary > size || rotary % 2)
        return NULL;
    if (rank == 3)
        x = gi_rw_reshape(r, x, 4, (int64_t[]){ 0, 0, gi_attr_int(n, RotaryEmbedding_at_num_heads), size });
    gi_value *rest = NULL;
    if (interleaved && rotary < size) {
        if (!gi_rw_split(r, x, 3, 2, (int64_t[]){ rotary, size - rotary }, part))
            return NULL;
        x = part[0];
        rest = part[1];
    }
    if (interleaved)
        x = gi_rw_reshape(r, x, 5, (int64_t[]){ 0, 0, 0, half, 2 });
    const int64_t lengths[] = { interleaved ? 1 : half, interleaved ? 1 : half, size - rotary };
    if (!gi_rw_split(r, x, interleaved ? 4 : 3, !interleaved && rotary < size ? 3 : 2, lengths, part))
        return NULL;
    rest = interleaved ? rest : part[2];
    gi_value *cos = angles(r, m, m->c, interleaved), *sin = angles(r, m, m->s, interleaved);
    gi_value *x1 = part[0], *x2 = part[1], *one = gi_rw_binary(r, OP_Mul, x1, cos),
             *two = gi_rw_binary(r, OP_Mul, x2, sin), *turned[3] = { gi_rw_binary(r, OP_Sub, one, two), NULL, rest };
    one = gi_rw_binary(r, OP_Mul, x1, sin);
    two = gi_rw_binary(r, OP_Mul, x2, cos);
    turned[1] = gi_rw_binary(r, OP_Add, one, two);
    gi_value *y = gi_rw_concat(r, rest && !interleaved ? 3 : 2, turned, interleaved ? 4 : 3);
    if (interleaved)
        y = gi_rw_reshape(r, y, 4, (int64_t[]){ 0, 0, 0, rotary });
    if (interleaved && rest)
        y = gi_rw_concat(r, 2, (gi_value *[]){ y, rest }, 3);
    return rank == 3 ? gi_rw_reshape(r, y, 3, (int64_t[]){ 0, 0, gi_value_dim(m->x, 2) }) : y;
}

/* ---- com.microsoft.RotaryEmbedding ---- */

/* 0 where it is not known. */
static int64_t rotary_heads(const gi_match *m)
{
    const int64_t given = gi_attr_int(m->root, MsRotaryEmbedding_at_num_heads), hidden = gi_value_dim(m->x, -1),
                  half = gi_value_dim(m->c, 1);
    if (gi_value_rank(m->x) == 4)
        return gi_value_dim(m->x, 1) > 0 ? gi_value_dim(m->x, 1) : 1;
    return given > 0 ? given : hidden > 0 && half > 0 ? hidden / 2 / half : 0;
}

static bool ms_rotary_is_plain(const gi_match *m, gi_reason *why)
{
    const int rank = gi_value_rank(m->x), places = gi_value_rank(m->p);
    if (gi_attr_int(m->root, MsRotaryEmbedding_at_is_packed_batching))
        return gi_decline(why, "its batches are ragged");
    if ((rank != 3 && rank != 4) || rotary_heads(m) < 1)
        return gi_decline(why, "the number of its heads is not known");
    return places == 2 || (places == 1 && gi_value_dim(m->p, 0) == 1) ||
           gi_decline(why, "whether it has one position or one a token is not known");
}

/* The first position and those behind it, for each sample. */
static gi_value *positions_from(gi_rewrite *r, gi_value *first, gi_value *x)
{
    const int64_t zero = 0, one = 1;
    gi_value *tokens = gi_rw_dim(r, x, gi_value_rank(x) - 2, GOPT_I64);
    gi_value *row =
        tokens ? gi_rw_build(r, OP_Range, 3,
                             (gi_value *[]){ gi_rw_scalar(r, GOPT_I64, 0), tokens, gi_rw_scalar(r, GOPT_I64, 1) })
               : NULL;
    row = gi_rw_unsqueeze(r, gi_rw_binary(r, OP_Add, first, row), 1, &zero);
    gi_value *batch = gi_rw_unsqueeze(r, gi_rw_dim(r, x, 0, GOPT_I64), 1, &zero);
    return gi_rw_binary(r, OP_Expand, row, gi_rw_concat(r, 2, (gi_value *[]){ batch, gi_rw_ints(r, 1, &one) }, 0));
}

static gi_value *expand_ms_rotary(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = m->root;
    gi_value *places = gi_value_rank(m->p) == 2 ? m->p : positions_from(r, m->p, m->x);
    gi_node *e = places ? gi_rw_node(r, OP_RotaryEmbedding, 4, (gi_value *[]){ m->x, m->c, m->s, places }, 1) : NULL;
    if (!e)
        return NULL;
    gi_attr_set_int(e, RotaryEmbedding_at_interleaved, gi_attr_int(n, MsRotaryEmbedding_at_interleaved));
    gi_attr_set_int(e, RotaryEmbedding_at_rotary_embedding_dim,
                    gi_attr_int(n, MsRotaryEmbedding_at_rotary_embedding_dim));
    if (gi_value_rank(m->x) == 3)
        gi_attr_set_int(e, RotaryEmbedding_at_num_heads, rotary_heads(m));
    return gi_rw_done(r, e);
}

#include "passes/rows.h"
#include "passes/rules/lower_attention.def"
