/* ONNX Runtime's own operators: inverses, distances, tables of quantized rows, mixtures of experts. */
#include <math.h>

#include "ops/gemm.h"
#include "ops/move.h"
#include "ops/real.h"
#include "ops/softmax.h"

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

/* ---- Inverse ---- */

static gopt_status infer_inverse(gi_infer *c)
{
    const int rank = gi_infer_rank(c, 0);
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 2));
    if (rank >= 2)
        GI_TRY(gi_infer_want_dim(c, 0, rank - 1, gi_infer_dim(c, 0, rank - 2), "its matrices are square"));
    return gi_infer_same_type(c);
}

/* Gauss and Jordan's elimination of [m | 1] with the largest pivot of each column. One that cannot be inverted ends in
 * infinities and NaN. */
static void invert(int64_t n, double *m, double *y)
{
    memset(y, 0, (size_t)(n * n) * sizeof *y);
    for (int64_t i = 0; i < n; i++)
        y[i * n + i] = 1;
    for (int64_t p = 0; p < n; p++) {
        int64_t best = p;
        for (int64_t i = p + 1; i < n; i++)
            if (fabs(m[i * n + p]) > fabs(m[best * n + p]))
                best = i;
        for (int64_t j = 0; j < n && best != p; j++) {
            const double t = m[p * n + j], u = y[p * n + j];
            m[p * n + j] = m[best * n + j];
            y[p * n + j] = y[best * n + j];
            m[best * n + j] = t;
            y[best * n + j] = u;
        }
        const double pivot = m[p * n + p];
        for (int64_t j = 0; j < n; j++) {
            m[p * n + j] /= pivot;
            y[p * n + j] /= pivot;
        }
        for (int64_t i = 0; i < n; i++) {
            const double by = m[i * n + p];
            for (int64_t j = 0; j < n && i != p; j++) {
                m[i * n + j] -= by * m[p * n + j];
                y[i * n + j] -= by * y[p * n + j];
            }
        }
    }
}

static gopt_status eval_inverse(gi_eval *a)
{
    const double *x;
    gi_real y;
    GI_TRY(gi_eval_rank_at_least(a, 0, 2));
    const gopt_tensor *t = a->in[0];
    const int64_t n = t->dims[t->rank - 1];
    GI_TRY(gi_eval_dim(a, 0, t->rank - 2, n));
    GI_TRY(gi_real_in(a, 0, GOPT_F64, (const void **)&x));
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F64, t->rank, t->dims, &y));
    const int64_t all = gopt_tensor_elements(t);
    if (!y.p || all == 0)
        return GOPT_OK;
    double *m = gi_eval_scratch(a, (size_t)(n * n), sizeof *m);
    GI_NEED(m);
    for (int64_t at = 0; at < all; at += n * n) {
        memcpy(m, x + at, (size_t)(n * n) * sizeof *m);
        invert(n, m, (double *)y.p + at);
    }
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- CDist ---- */

static bool is_metric(const gi_node *n)
{
    return gi_attr_is(n, CDist_at_metric, "euclidean") || gi_attr_is(n, CDist_at_metric, "sqeuclidean");
}

static gopt_status infer_cdist(gi_infer *c)
{
    if (!is_metric(c->n))
        return gi_infer_fail_node(c, "attribute metric is \"%s\", expected euclidean or sqeuclidean",
                                  gi_attr_str(c->n, CDist_at_metric));
    GI_TRY(gi_infer_want_rank(c, CDist_in_A, 2));
    GI_TRY(gi_infer_want_rank(c, CDist_in_B, 2));
    GI_TRY(gi_infer_want_dtype(c, CDist_in_B, CDist_in_A));
    GI_TRY(gi_infer_want_dim(c, CDist_in_B, 1, gi_infer_dim(c, CDist_in_A, 1), "the columns of A"));
    gi_infer_set_like(c, 0, CDist_in_A, 2,
                      (const gi_dim *[]){ gi_infer_dim(c, CDist_in_A, 0), gi_infer_dim(c, CDist_in_B, 0) });
    return GOPT_OK;
}

static gopt_status eval_cdist(gi_eval *a)
{
    const double *x, *z;
    gi_real y;
    if (!is_metric(a->n))
        return gi_eval_fail(a, -1, "attribute metric is \"%s\", expected euclidean or sqeuclidean",
                            gi_attr_str(a->n, CDist_at_metric));
    GI_TRY(gi_eval_rank(a, CDist_in_A, 2));
    GI_TRY(gi_eval_rank(a, CDist_in_B, 2));
    const int64_t rows = a->in[CDist_in_A]->dims[0], cols = a->in[CDist_in_B]->dims[0], n = a->in[CDist_in_A]->dims[1];
    GI_TRY(gi_eval_dim(a, CDist_in_B, 1, n));
    GI_TRY(gi_real_in(a, CDist_in_A, GOPT_F64, (const void **)&x));
    GI_TRY(gi_real_in(a, CDist_in_B, GOPT_F64, (const void **)&z));
    GI_TRY(gi_real_out_as(a, 0, a->in[CDist_in_A]->dtype, GOPT_F64, 2, (int64_t[]){ rows, cols }, &y));
    const int64_t results = y.p ? gopt_tensor_elements(y.t) : 0;
    const bool root = gi_attr_is(a->n, CDist_at_metric, "euclidean");
    for (int64_t i = 0; i < results; i++) {
        const double *p = x + i / cols * n, *q = z + i % cols * n;
        double sum = 0;
        for (int64_t k = 0; k < n; k++)
            sum += (p[k] - q[k]) * (p[k] - q[k]);
        ((double *)y.p)[i] = root ? sqrt(sum) : sum;
    }
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- GatherBlockQuantized ---- */

enum {
    DATA = GatherBlockQuantized_in_data,
    INDICES = GatherBlockQuantized_in_indices,
    SCALES = GatherBlockQuantized_in_scales,
    ZEROS = GatherBlockQuantized_in_zero_points
};

/* Bytes hold 8 / bits numbers along the last dimension; other types hold one number an element. */
typedef struct table {
    gopt_dtype type; /* of a number */
    int64_t in_byte; /* numbers that an element of data stands for */
    int64_t block;
    int rank, gather, quantize; /* axes */
} table;

static const char *read_table(const gi_node *n, gopt_dtype data, int rank, table *t)
{
    const int64_t bits = gi_attr_int(n, GatherBlockQuantized_at_bits);
    *t = (table){ .type = data, .in_byte = 1, .rank = rank };
    t->block = gi_attr_int(n, GatherBlockQuantized_at_block_size);
    if (!gi_axis(gi_attr_int(n, GatherBlockQuantized_at_gather_axis), rank, &t->gather) ||
        !gi_axis(gi_attr_int(n, GatherBlockQuantized_at_quantize_axis), rank, &t->quantize))
        return "attributes gather_axis and quantize_axis must be axes of data";
    const bool floats = gi_dtype_class(data) == GI_FLOAT;
    if (!(floats && t->block == 0) && (t->block < 16 || (t->block & (t->block - 1))))
        return "attribute block_size must be a power of two, 16 or more";
    if (data != GOPT_U8)
        return floats || data == GOPT_I4 || data == GOPT_U4 ? NULL : "data must be u8, 4-bit integers or small floats";
    if (bits != 2 && bits != 4 && bits != 8)
        return "attribute bits must be 2, 4 or 8";
    if (t->gather != 0 || t->quantize == t->gather || t->quantize != rank - 1)
        return "bytes are gathered along the first axis and quantized along the last";
    t->type = bits == 2 ? GOPT_U2 : bits == 4 ? GOPT_U4 : GOPT_U8;
    t->in_byte = 8 / bits;
    return NULL;
}

static gopt_status infer_gather_blocks(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK], *at[GOPT_MAX_RANK], *out[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, DATA, dims), n = gi_dims_of(c, INDICES, at);
    const gopt_dtype data = gi_infer_dtype(c, DATA), type = gi_infer_dtype(c, SCALES);
    table t;
    if (type != GOPT_UNDEFINED && (!gi_dtype_is_float(type) || gopt_dtype_bits(type) < 16))
        return gi_infer_fail(c, SCALES, "expected f32, f16 or bf16");
    if (gi_infer_has(c, ZEROS))
        GI_TRY(gi_infer_want_dtype(c, ZEROS, DATA));
    if (rank < 0 || n < 0 || data == GOPT_UNDEFINED)
        return gi_set(c, 0, type, -1, NULL);
    const char *why = read_table(c->n, data, rank, &t);
    if (why)
        return gi_infer_fail_node(c, "%s", why);
    if (rank + n - 1 > GOPT_MAX_RANK)
        return gi_infer_fail(c, INDICES, "with which the output has more than %d dimensions", GOPT_MAX_RANK);
    GI_TRY(gi_infer_want_rank(c, SCALES, rank));
    dims[rank - 1] = gi_dim_mul(c->g->dims, dims[rank - 1], gi_dim_const(c->g->dims, t.in_byte));
    for (int i = 0; i < rank + n - 1; i++)
        out[i] = i < t.gather ? dims[i] : i < t.gather + n ? at[i - t.gather] : dims[i - n + 1];
    return gi_set(c, 0, type, rank + n - 1, out);
}

/* Dims of scales fit those of the numbers, `dims`; steps[i] is what an index of axis i moves by. */
static gopt_status check_scales(const gi_eval *a, const table *t, const int64_t *dims, int64_t *steps)
{
    const gopt_tensor *s = input(a, SCALES), *z = input(a, ZEROS);
    if (!s || !gi_dtype_is_float(s->dtype) || gopt_dtype_bits(s->dtype) < 16 || s->rank != t->rank)
        return gi_eval_fail(a, SCALES, "expected f32, f16 or bf16 of rank %d", t->rank);
    gi_strides(t->rank, s->dims, steps);
    for (int i = 0; i < t->rank; i++) {
        const int64_t want = i == t->quantize ? (dims[i] + t->block - 1) / t->block : dims[i];
        if (s->dims[i] != want && (s->dims[i] != 1 || i == t->quantize))
            return gi_eval_fail(a, SCALES, "has %lld in dimension %d, expected %lld", (long long)s->dims[i], i,
                                (long long)want);
        if (s->dims[i] == 1)
            steps[i] = 0;
    }
    if (!z)
        return GOPT_OK;
    if (z->dtype != a->in[DATA]->dtype || gi_dtype_class(z->dtype) == GI_FLOAT || z->rank != t->rank)
        return gi_eval_fail(a, ZEROS, "expected integers as data has, of rank %d", t->rank);
    for (int i = 0; i < t->rank; i++)
        GI_TRY(gi_eval_dim(a, ZEROS, i, i < t->rank - 1 ? s->dims[i] : (s->dims[i] + t->in_byte - 1) / t->in_byte));
    return GOPT_OK;
}

/* n numbers of the table from number `at` on, all of one line of its last axis. */
static void scale_run(const gi_eval *a, const table *t, const int64_t *dims, const int64_t *steps, int64_t at,
                      int64_t n, float *y)
{
    const gopt_tensor *s = a->in[SCALES], *z = input(a, ZEROS);
    const int last = t->rank - 1;
    const int64_t lasts = s->dims[last], z_row = (lasts + t->in_byte - 1) / t->in_byte * t->in_byte;
    const double middle = t->in_byte > 1 || t->type == GOPT_U8 ? (double)(1 << (8 / t->in_byte - 1)) : 0;
    int64_t base = 0, left = at / dims[last];
    for (int i = last - 1; i >= 0; left /= dims[i--])
        base += left % dims[i] / (i == t->quantize ? t->block : 1) * steps[i];
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = (at % dims[last] + i) / (last == t->quantize ? t->block : 1) * steps[last];
        const double zero = z ? gi_load_f64(t->type, z->data, (size_t)(base / lasts * z_row + k)) : middle;
        y[i] = (float)(gi_load_f64(t->type, a->in[DATA]->data, (size_t)(at + i)) - zero) *
               (float)gi_tensor_f64(s, base + k);
    }
}

static gopt_status eval_gather_blocks(gi_eval *a)
{
    const gopt_tensor *data = a->in[DATA], *at = a->in[INDICES];
    const int rank = data->rank + at->rank - 1;
    int64_t dims[GOPT_MAX_RANK], out[GOPT_MAX_RANK], steps[GOPT_MAX_RANK] = { 0 };
    table t;
    gi_real y;
    const char *why = read_table(a->n, data->dtype, data->rank, &t);
    if (why)
        return gi_eval_fail(a, DATA, "%s", why);
    if (!gi_dtype_is_int(at->dtype) || rank > GOPT_MAX_RANK)
        return gi_eval_fail(a, INDICES, "expected integers, and an output of at most %d dimensions", GOPT_MAX_RANK);
    memcpy(dims, data->dims, sizeof dims);
    if (!gi_mul_i64(dims[t.rank - 1], t.in_byte, &dims[t.rank - 1]))
        return gi_eval_fail(a, DATA, "is too large");
    if (t.block == 0)
        t.block = gi_max_i64(dims[t.quantize], 1);
    GI_TRY(check_scales(a, &t, dims, steps));
    for (int i = 0; i < rank; i++)
        out[i] = i < t.gather ? dims[i] : i < t.gather + at->rank ? at->dims[i - t.gather] : dims[i - at->rank + 1];
    GI_TRY(gi_real_out_as(a, 0, a->in[SCALES]->dtype, GOPT_F32, rank, out, &y));
    if (!y.p || gopt_tensor_elements(y.t) == 0)
        return GOPT_OK;
    const int64_t n = gopt_tensor_elements(at), size = dims[t.gather], outer = gi_product(0, t.gather, dims),
                  inner = gi_product(t.gather + 1, t.rank, dims), run = t.gather == t.rank - 1 ? 1 : dims[t.rank - 1];
    for (int64_t o = 0; o < outer * n; o++) {
        int64_t index = gi_tensor_i64(at, o % n);
        index += index < 0 ? size : 0;
        float *to = (float *)y.p + o * inner;
        for (int64_t i = 0; i < inner; i += run)
            if (index >= 0 && index < size)
                scale_run(a, &t, dims, steps, (o / n * size + index) * inner + i, run, to + i);
            else
                memset(to + i, 0, (size_t)run * sizeof *to);
    }
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- MoE ---- */

enum {
    TOKENS = MoE_in_input,
    ROUTER = MoE_in_router_probs,
    FC1 = MoE_in_fc1_experts_weights,
    FC2 = MoE_in_fc2_experts_weights,
    FC3 = MoE_in_fc3_experts_weights
};

typedef enum activation { RELU, GELU, SILU, SWIGLU, IDENTITY, NO_ACTIVATION } activation;

static activation find_activation(const gi_node *n)
{
    static const char *const names[] = { "relu", "gelu", "silu", "swiglu", "identity" };
    for (int i = 0; i < NO_ACTIVATION; i++)
        if (gi_attr_is(n, MoE_at_activation_type, names[i]))
            return (activation)i;
    return NO_ACTIVATION;
}

static const char *moe_complaint(const gi_node *n)
{
    const int64_t fusion = gi_attr_int(n, MoE_at_swiglu_fusion);
    const activation f = find_activation(n);
    if (f == NO_ACTIVATION)
        return "attribute activation_type must be relu, gelu, silu, swiglu or identity";
    if (gi_attr_int(n, MoE_at_use_sparse_mixer))
        return "sparse mixers are not known here";
    if (gi_attr_int(n, MoE_at_k) < 1)
        return "attribute k must be 1 or more";
    if (f == SWIGLU && (fusion < 0 || fusion > 2 || (fusion == 0) != (gi_node_in(n, FC3) != NULL)))
        return "swiglu needs fc3_experts_weights, or attribute swiglu_fusion to be 1 or 2 where fc1 holds them";
    return NULL;
}

static gopt_status infer_moe(gi_infer *c)
{
    const char *why = moe_complaint(c->n);
    if (why)
        return gi_infer_fail_node(c, "%s", why);
    GI_TRY(gi_infer_want_rank_at_least(c, TOKENS, 2));
    GI_TRY(gi_infer_want_rank(c, ROUTER, 2));
    for (uint32_t i = FC1; i <= MoE_in_fc3_experts_bias; i++)
        if (gi_infer_has(c, i)) {
            GI_TRY(gi_infer_want_rank(c, i, i == FC1 || i == FC2 || i == FC3 ? 3 : 2));
            GI_TRY(gi_infer_want_dim(c, i, 0, gi_infer_dim(c, ROUTER, 1), "the experts"));
        }
    GI_TRY(gi_infer_want_dim(c, FC1, 2, gi_infer_dim(c, TOKENS, -1), "the size of a token"));
    GI_TRY(gi_infer_want_dim(c, FC2, 1, gi_infer_dim(c, TOKENS, -1), "the size of a token"));
    return gi_infer_same_type(c);
}

typedef struct mixture {
    int64_t tokens, size, experts, wide, inner, k; /* fc1 gives `wide` numbers a token, fc2 takes `inner` */
    const float *x, *router, *w1, *b1, *w2, *b2, *w3, *b3;
    activation f;
    float alpha, beta, limit;
    bool interleaved;
    float *weights;       /* [tokens, experts]: 0 of those not chosen */
    int64_t *chosen;      /* tokens of the expert at hand */
    float *rows, *turned; /* their numbers, and a matrix turned */
    float *g, *l, *h, *z; /* [tokens, wide], [tokens, inner], [tokens, inner], [tokens, size] */
} mixture;

static gopt_status check_moe(const gi_eval *a, mixture *m)
{
    const char *why = moe_complaint(a->n);
    if (why)
        return gi_eval_fail(a, -1, "%s", why);
    GI_TRY(gi_eval_rank_at_least(a, TOKENS, 2));
    GI_TRY(gi_eval_rank(a, ROUTER, 2));
    GI_TRY(gi_eval_rank(a, FC1, 3));
    GI_TRY(gi_eval_rank(a, FC2, 3));
    const gopt_tensor *x = a->in[TOKENS];
    m->size = x->dims[x->rank - 1];
    m->tokens = gi_product(0, x->rank - 1, x->dims);
    m->experts = a->in[ROUTER]->dims[1];
    m->wide = a->in[FC1]->dims[1];
    m->inner = a->in[FC2]->dims[2];
    m->f = find_activation(a->n);
    m->k = gi_min_i64(gi_attr_int(a->n, MoE_at_k), m->experts);
    const bool fused = m->f == SWIGLU && !input(a, FC3);
    GI_TRY(gi_eval_dim(a, ROUTER, 0, m->tokens));
    if (m->inner != m->wide / (fused ? 2 : 1) || (fused && m->wide % 2))
        return gi_eval_fail(a, FC2, "takes %lld numbers, of %lld that fc1 gives", (long long)m->inner,
                            (long long)m->wide);
    const int64_t want[][3] = { { m->experts, m->wide, m->size },  { m->experts, m->wide, -1 },
                                { m->experts, m->size, m->inner }, { m->experts, m->size, -1 },
                                { m->experts, m->inner, m->size }, { m->experts, m->inner, -1 } };
    for (uint32_t i = FC1; i <= MoE_in_fc3_experts_bias; i++) {
        const int64_t *w = want[i - FC1];
        if (!input(a, i))
            continue;
        GI_TRY(gi_eval_rank(a, i, w[2] < 0 ? 2 : 3));
        for (int k = 0; k < (w[2] < 0 ? 2 : 3); k++)
            GI_TRY(gi_eval_dim(a, i, k, w[k]));
    }
    return GOPT_OK;
}

/* The softmax of each token's router, of which the k largest stay. */
static void weigh_experts(const mixture *m, bool normalized)
{
    for (int64_t t = 0; t < m->tokens; t++) {
        float *w = m->weights + t * m->experts, sum = 0;
        gi_softmax_line_f32(m->router + t * m->experts, m->rows, m->experts);
        for (int64_t i = 0; i < m->k; i++) {
            int64_t best = 0;
            for (int64_t e = 1; e < m->experts; e++)
                if (m->rows[e] > m->rows[best])
                    best = e;
            w[best] = m->rows[best];
            sum += w[best];
            m->rows[best] = -1;
        }
        for (int64_t e = 0; e < m->experts && normalized && sum > 0; e++)
            w[e] /= sum;
    }
}

/* y = x w' + b for n rows. */
static void linear(const mixture *m, int64_t n, int64_t to, int64_t from, const float *x, const float *w,
                   const float *b, float *y)
{
    for (int64_t i = 0; i < n; i++)
        if (b)
            memcpy(y + i * to, b, (size_t)to * sizeof *y);
        else
            memset(y + i * to, 0, (size_t)to * sizeof *y);
    gi_transpose_words(sizeof *w, to, from, w, m->turned);
    gi_gemm_f32(n, to, from, x, from, m->turned, to, y, to);
}

static float activate(const mixture *m, float g, float l)
{
    const float limit = m->limit;
    switch (m->f) {
    case RELU:
        return fmaxf(g, 0) * l;
    case GELU:
        return 0.5f * g * (1 + tanhf(0.7978845608028654f * (g + 0.044715f * g * g * g))) * l;
    case SILU:
        return g / (1 + expf(-g)) * l;
    case SWIGLU:
        g = fminf(g, limit);
        l = fminf(fmaxf(l, -limit), limit);
        return g / (1 + expf(-m->alpha * g)) * (l + m->beta);
    default:
        return g * l;
    }
}

/* What expert e makes of the n tokens that chose it, times their weights, is added to y. */
static void ask_expert(const mixture *m, int64_t e, int64_t n, float *y)
{
    const int64_t inner = m->inner;
    const bool fused = m->wide != inner;
    for (int64_t i = 0; i < n; i++)
        memcpy(m->rows + i * m->size, m->x + m->chosen[i] * m->size, (size_t)m->size * sizeof *y);
    linear(m, n, m->wide, m->size, m->rows, m->w1 + e * m->wide * m->size, m->b1 ? m->b1 + e * m->wide : NULL, m->g);
    if (m->w3)
        linear(m, n, inner, m->size, m->rows, m->w3 + e * inner * m->size, m->b3 ? m->b3 + e * inner : NULL, m->l);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < inner; j++) {
            const float *g = m->g + i * m->wide;
            const float first = fused && m->interleaved ? g[2 * j] : g[j];
            const float second = !fused           ? (m->w3 ? m->l[i * inner + j] : 1)
                                 : m->interleaved ? g[2 * j + 1]
                                                  : g[inner + j];
            m->h[i * inner + j] = activate(m, first, second);
        }
    linear(m, n, m->size, inner, m->h, m->w2 + e * m->size * inner, m->b2 ? m->b2 + e * m->size : NULL, m->z);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m->size; j++)
            y[m->chosen[i] * m->size + j] += m->weights[m->chosen[i] * m->experts + e] * m->z[i * m->size + j];
}

static float *room(gi_eval *a, int64_t rows, int64_t cols)
{
    int64_t n;
    return gi_mul_i64(rows, cols, &n) ? gi_eval_scratch(a, (size_t)n, sizeof(float)) : NULL;
}

static gopt_status eval_moe(gi_eval *a)
{
    mixture m = { 0 };
    gi_real y;
    GI_TRY(check_moe(a, &m));
    const float **parts[] = { &m.x, &m.router, &m.w1, &m.b1, &m.w2, &m.b2, &m.w3, &m.b3 };
    for (uint32_t i = TOKENS; i <= MoE_in_fc3_experts_bias; i++)
        GI_TRY(gi_real_in(a, i, GOPT_F32, (const void **)parts[i]));
    const gopt_tensor *x = a->in[TOKENS];
    GI_TRY(gi_real_out_as(a, 0, x->dtype, GOPT_F32, x->rank, x->dims, &y));
    const int64_t n = gopt_tensor_elements(x);
    if (!y.p || n == 0)
        return GOPT_OK;
    m.alpha = gi_attr_float(a->n, MoE_at_activation_alpha);
    m.beta = gi_attr_float(a->n, MoE_at_activation_beta);
    m.limit = gi_attr_has(a->n, MoE_at_swiglu_limit) ? gi_attr_float(a->n, MoE_at_swiglu_limit) : INFINITY;
    m.interleaved = gi_attr_int(a->n, MoE_at_swiglu_fusion) == 1;
    m.weights = room(a, m.tokens, m.experts);
    m.chosen = gi_eval_scratch(a, (size_t)m.tokens, sizeof *m.chosen);
    m.rows = room(a, 1, gi_max_i64(n, m.experts));
    m.turned = room(a, m.size, gi_max_i64(m.wide, m.inner));
    m.g = room(a, m.tokens, m.wide);
    m.l = room(a, m.tokens, m.inner);
    m.h = room(a, m.tokens, m.inner);
    m.z = room(a, m.tokens, m.size);
    GI_NEED(m.weights && m.chosen && m.rows && m.turned && m.g && m.l && m.h && m.z);
    memset(y.p, 0, (size_t)n * sizeof(float));
    if (m.experts > 0)
        weigh_experts(&m, gi_attr_int(a->n, MoE_at_normalize_routing_weights) != 0);
    for (int64_t e = 0; e < m.experts; e++) {
        int64_t count = 0;
        for (int64_t t = 0; t < m.tokens; t++)
            if (m.weights[t * m.experts + e] > 0)
                m.chosen[count++] = t;
        if (count)
            ask_expert(&m, e, count, y.p);
    }
    gi_real_store(&y);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/contrib_more.def"
