/* ONNX Runtime's own operators: normalizations of a sum. */
#include "ops/norm.h"

/* ---- SkipLayerNormalization, SkipSimplifiedLayerNormalization ---- */

_Static_assert((int)SkipLayerNormalization_in_gamma == (int)SkipSimplifiedLayerNormalization_in_gamma &&
                   (int)SkipLayerNormalization_out_input_skip_bias_sum ==
                       (int)SkipSimplifiedLayerNormalization_out_input_skip_bias_sum &&
                   (int)SkipLayerNormalization_at_epsilon == (int)SkipSimplifiedLayerNormalization_at_epsilon,
               "both have these in the same places");

static bool is_centred(const gi_node *n)
{
    return n->op == OP_SkipLayerNormalization;
}

static uint32_t bias_of(const gi_node *n)
{
    return is_centred(n) ? SkipLayerNormalization_in_bias : SkipSimplifiedLayerNormalization_in_bias;
}

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

static gopt_status infer_skip_norm(gi_infer *c)
{
    const int rank = gi_infer_rank(c, 0);
    const gi_dim *dims[GOPT_MAX_RANK];
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 2));
    for (uint32_t i = 1; i < c->n->n_in; i++)
        if (gi_infer_has(c, i)) {
            GI_TRY(gi_infer_want_dtype(c, i, 0));
            if (rank >= 2 && gi_infer_rank(c, i) > 0)
                GI_TRY(gi_infer_want_dim(c, i, gi_infer_rank(c, i) - 1, gi_infer_dim(c, 0, -1),
                                         "the last dimension of the input"));
            if (i != SkipLayerNormalization_in_skip)
                GI_TRY(gi_infer_want_rank(c, i, 1));
        }
    for (int i = 0; i < rank; i++) {
        dims[i] = i + 1 < rank ? gi_infer_dim(c, 0, i) : gi_dim_const(c->g->dims, 1);
        GI_NEED(dims[i]);
    }
    gi_infer_set_type(c, SkipLayerNormalization_out_output, gi_infer_type(c, 0));
    gi_infer_set(c, SkipLayerNormalization_out_mean, GOPT_F32, rank, rank < 0 ? NULL : dims);
    gi_infer_set(c, SkipLayerNormalization_out_inv_std_var, GOPT_F32, rank, rank < 0 ? NULL : dims);
    gi_infer_set_type(c, SkipLayerNormalization_out_input_skip_bias_sum, gi_infer_type(c, 0));
    return GOPT_OK;
}

/* y = x + b, b of m elements again and again. */
static void add_over(gopt_dtype real, const void *x, int64_t n, const void *b, int64_t m, void *y)
{
    if (real == GOPT_F64)
        for (int64_t i = 0; i < n; i++)
            ((double *)y)[i] = ((const double *)x)[i] + ((const double *)b)[i % m];
    else
        for (int64_t i = 0; i < n; i++)
            ((float *)y)[i] = ((const float *)x)[i] + ((const float *)b)[i % m];
}

/* A row's operand: a vector of n elements. */
static gopt_status read_row(gi_eval *a, uint32_t in, gopt_dtype real, int64_t n, const void **p)
{
    *p = NULL;
    if (!input(a, in))
        return GOPT_OK;
    GI_TRY(gi_eval_rank(a, in, 1));
    GI_TRY(gi_eval_dim(a, in, 0, n));
    return gi_real_in(a, in, real, p);
}

/* skip has the input's shape, or that without the batch, or a batch of 1. */
static gopt_status check_skip(const gi_eval *a)
{
    const uint32_t in = SkipLayerNormalization_in_skip;
    GI_TRY(gi_eval_rank_at_least(a, in, 2));
    const gopt_tensor *x = a->in[0], *s = a->in[in];
    if (s->rank > x->rank || s->rank + 1 < x->rank)
        return gi_eval_fail(a, (int)in, "has rank %d, the input %d", s->rank, x->rank);
    for (int i = 1; i <= s->rank; i++)
        if (!(i == s->rank && x->rank == 3 && s->rank == 3 && s->dims[0] == 1))
            GI_TRY(gi_eval_dim(a, in, s->rank - i, x->dims[x->rank - i]));
    return GOPT_OK;
}

static gopt_status eval_skip_norm(gi_eval *a)
{
    GI_TRY(gi_eval_rank_at_least(a, 0, 2));
    GI_TRY(check_skip(a));
    const gopt_tensor *t = a->in[0], *s = a->in[SkipLayerNormalization_in_skip];
    const gopt_dtype real = gi_real_of(t->dtype);
    const int64_t n = gopt_tensor_elements(t), width = t->dims[t->rank - 1];
    const void *x, *skip, *gamma, *beta = NULL, *bias;
    int64_t dims[GOPT_MAX_RANK];
    gi_real y, total = { 0 }, stats[2] = { 0 };
    GI_TRY(gi_real_in(a, 0, real, &x));
    GI_TRY(gi_real_in(a, SkipLayerNormalization_in_skip, real, &skip));
    GI_TRY(read_row(a, SkipLayerNormalization_in_gamma, real, width, &gamma));
    if (is_centred(a->n))
        GI_TRY(read_row(a, SkipLayerNormalization_in_beta, real, width, &beta));
    GI_TRY(read_row(a, bias_of(a->n), real, width, &bias));
    memcpy(dims, t->dims, (size_t)t->rank * sizeof *dims);
    dims[t->rank - 1] = 1;
    for (uint32_t i = 0; i < 2 && SkipLayerNormalization_out_mean + i < a->n_out; i++)
        GI_TRY(gi_real_out_as(a, SkipLayerNormalization_out_mean + i, GOPT_F32, GOPT_F64, t->rank, dims, &stats[i]));
    if (a->n_out > SkipLayerNormalization_out_input_skip_bias_sum)
        GI_TRY(gi_real_out(a, SkipLayerNormalization_out_input_skip_bias_sum, t->dtype, t->rank, t->dims, &total));
    GI_TRY(gi_real_out(a, 0, t->dtype, t->rank, t->dims, &y));
    if (!gamma)
        return gi_eval_fail(a, SkipLayerNormalization_in_gamma, "is missing");
    if (!y.p || n == 0)
        return GOPT_OK;
    void *sum = total.p ? total.p : y.p;
    add_over(real, x, n, skip, gopt_tensor_elements(s), sum);
    if (bias)
        add_over(real, sum, n, bias, width, sum);
    const gi_row_norm r = { .rows = n / width,
                            .n = width,
                            .centred = is_centred(a->n),
                            .epsilon = (double)gi_attr_float(a->n, SkipLayerNormalization_at_epsilon),
                            .means = stats[0].p,
                            .inverses = stats[1].p };
    gi_norm_rows(real, &r, sum, gamma, beta, y.p);
    gi_real_store(&y);
    gi_real_store(&total);
    gi_real_store(&stats[0]);
    gi_real_store(&stats[1]);
    return GOPT_OK;
}

/* ---- EmbedLayerNormalization ---- */

enum {
    IDS = EmbedLayerNormalization_in_input_ids,
    SEGMENTS = EmbedLayerNormalization_in_segment_ids,
    WORDS = EmbedLayerNormalization_in_word_embedding,
    PLACES = EmbedLayerNormalization_in_position_embedding,
    KINDS = EmbedLayerNormalization_in_segment_embedding,
    MASK = EmbedLayerNormalization_in_mask,
    POSITIONS = EmbedLayerNormalization_in_position_ids
};

static gopt_status infer_embed_norm(gi_infer *c)
{
    const gopt_dtype dtype = gi_infer_dtype(c, WORDS), ids = gi_infer_dtype(c, IDS);
    GI_TRY(gi_infer_want_rank(c, IDS, 2));
    GI_TRY(gi_infer_want_rank(c, WORDS, 2));
    GI_TRY(gi_infer_want_rank(c, PLACES, 2));
    for (uint32_t i = IDS; i <= POSITIONS; i++)
        if (gi_infer_has(c, i) && i != WORDS && i != PLACES && i != KINDS && i != EmbedLayerNormalization_in_gamma &&
            i != EmbedLayerNormalization_in_beta)
            GI_TRY(gi_infer_want_dtype(c, i, IDS));
    for (uint32_t i = PLACES; i <= EmbedLayerNormalization_in_beta; i++)
        if (gi_infer_has(c, i))
            GI_TRY(gi_infer_want_dtype(c, i, WORDS));
    const gi_dim *dims[] = { gi_infer_dim(c, IDS, 0), gi_infer_dim(c, IDS, 1), gi_infer_dim(c, WORDS, 1) };
    gi_infer_set(c, EmbedLayerNormalization_out_output, dtype, 3, dims);
    gi_infer_set(c, EmbedLayerNormalization_out_mask_index, ids, 1, dims);
    gi_infer_set(c, EmbedLayerNormalization_out_embedding_sum, dtype, 3, dims);
    return GOPT_OK;
}

typedef struct lookup {
    const void *table;
    const gopt_tensor *ids; /* [batch, tokens] or [1, tokens]; NULL: counts the tokens */
    uint32_t in;
    int64_t rows;
} lookup;

static gopt_status read_lookup(gi_eval *a, uint32_t ids, uint32_t table, gopt_dtype real, bool may_share, lookup *l)
{
    *l = (lookup){ .ids = input(a, ids), .in = ids };
    GI_TRY(gi_eval_rank(a, table, 2));
    GI_TRY(gi_eval_dim(a, table, 1, a->in[WORDS]->dims[1]));
    l->rows = a->in[table]->dims[0];
    if (l->ids) {
        GI_TRY(gi_eval_rank(a, ids, 2));
        if (!may_share || l->ids->dims[0] != 1)
            GI_TRY(gi_eval_dim(a, ids, 0, a->in[IDS]->dims[0]));
        GI_TRY(gi_eval_dim(a, ids, 1, a->in[IDS]->dims[1]));
    }
    return gi_real_in(a, table, real, &l->table);
}

/* Adds the row of token t to y, or puts it there. */
static gopt_status add_row(const gi_eval *a, const lookup *l, int64_t t, int64_t tokens, gopt_dtype real, int64_t n,
                           bool first, void *y)
{
    const int64_t at = l->ids && l->ids->dims[0] == 1 ? t % tokens : t,
                  row = l->ids ? gi_tensor_i64(l->ids, at) : t % tokens;
    if (row < 0 || row >= l->rows)
        return gi_eval_fail(a, (int)l->in, "asks for row %lld of a table of %lld", (long long)row, (long long)l->rows);
    const size_t item = gi_item_size(real);
    const char *from = (const char *)l->table + (size_t)(row * n) * item;
    char *to = (char *)y + (size_t)(t * n) * item;
    if (first)
        memcpy(to, from, (size_t)n * item);
    else
        add_over(real, to, n, from, n, to);
    return GOPT_OK;
}

/* How many tokens come before the first that is masked, a number a sample; 0 without a mask. */
static gopt_status store_mask_index(gi_eval *a)
{
    const gopt_tensor *ids = a->in[IDS], *mask = input(a, MASK);
    gopt_tensor *t;
    if (a->n_out <= EmbedLayerNormalization_out_mask_index)
        return GOPT_OK;
    GI_TRY(gi_eval_out(a, EmbedLayerNormalization_out_mask_index, ids->dtype, 1, ids->dims, &t));
    if (mask)
        GI_TRY(gi_eval_rank(a, MASK, 2));
    for (int i = 0; mask && i < 2; i++)
        GI_TRY(gi_eval_dim(a, MASK, i, ids->dims[i]));
    for (int64_t b = 0; t && b < ids->dims[0]; b++) {
        int64_t n = 0;
        for (int64_t i = 0; mask && i < ids->dims[1]; i++)
            n += gi_tensor_i64(mask, b * ids->dims[1] + i) == 1;
        gi_store_i64(t->dtype, t->data, (size_t)b, n);
    }
    return GOPT_OK;
}

static gopt_status eval_embed_norm(gi_eval *a)
{
    lookup words, places, kinds = { 0 };
    const void *gamma, *beta;
    gi_real y, total = { 0 };
    GI_TRY(gi_eval_rank(a, IDS, 2));
    GI_TRY(gi_eval_rank(a, WORDS, 2));
    const gopt_tensor *ids = a->in[IDS];
    const gopt_dtype dtype = a->in[WORDS]->dtype, real = gi_real_of(dtype);
    const int64_t width = a->in[WORDS]->dims[1], tokens = ids->dims[1], n = gopt_tensor_elements(ids);
    const int64_t dims[] = { ids->dims[0], tokens, width };
    const bool segments = input(a, SEGMENTS) && input(a, KINDS);
    GI_TRY(read_lookup(a, IDS, WORDS, real, false, &words));
    GI_TRY(read_lookup(a, POSITIONS, PLACES, real, true, &places));
    if (segments)
        GI_TRY(read_lookup(a, SEGMENTS, KINDS, real, false, &kinds));
    GI_TRY(read_row(a, EmbedLayerNormalization_in_gamma, real, width, &gamma));
    GI_TRY(read_row(a, EmbedLayerNormalization_in_beta, real, width, &beta));
    if (!gamma || !beta)
        return gi_eval_fail(a, EmbedLayerNormalization_in_gamma, "is missing, or beta is");
    if (a->n_out > EmbedLayerNormalization_out_embedding_sum)
        GI_TRY(gi_real_out(a, EmbedLayerNormalization_out_embedding_sum, dtype, 3, dims, &total));
    GI_TRY(gi_real_out(a, 0, dtype, 3, dims, &y));
    GI_TRY(store_mask_index(a));
    if (!y.p || width == 0)
        return GOPT_OK;
    void *sum = total.p ? total.p : y.p;
    for (int64_t t = 0; t < n; t++) {
        GI_TRY(add_row(a, &words, t, tokens, real, width, true, sum));
        GI_TRY(add_row(a, &places, t, tokens, real, width, false, sum));
        if (segments)
            GI_TRY(add_row(a, &kinds, t, tokens, real, width, false, sum));
    }
    const gi_row_norm r = { .rows = n,
                            .n = width,
                            .centred = true,
                            .epsilon = (double)gi_attr_float(a->n, EmbedLayerNormalization_at_epsilon) };
    gi_norm_rows(real, &r, sum, gamma, beta, y.p);
    gi_real_store(&y);
    gi_real_store(&total);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/contrib_norm.def"
