/* ONNX Runtime's own operators: rotary embeddings. */
#include "ops/attention.h"

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

#include "ops/rows.h"

#include "ir/ops/contrib_gqa.def"
