/* LinearAttention and CausalConvWithState. Both compute in f32, the state too. */
#include <math.h>

#include "ops/move.h"
#include "ops/real.h"

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

/* ---- LinearAttention ---- */

enum {
    QUERY = LinearAttention_in_query,
    KEY = LinearAttention_in_key,
    VALUE = LinearAttention_in_value,
    PAST = LinearAttention_in_past_state,
    DECAY = LinearAttention_in_decay,
    BETA = LinearAttention_in_beta
};

/* ONNX Runtime's have more attributes behind those of ONNX. */
_Static_assert((int)MsLinearAttention_at_update_rule == (int)LinearAttention_at_update_rule &&
                   (int)MsCausalConvWithState_at_activation == (int)CausalConvWithState_at_activation,
               "ONNX Runtime's operators begin as ONNX's do");

/* Windows of states, other layouts and distances are not known here. */
static bool is_beyond_onnx(const gi_node *n)
{
    if (n->op == OP_MsLinearAttention)
        return gi_attr_int(n, MsLinearAttention_at_state_window) != 0;
    return n->op == OP_MsCausalConvWithState && (gi_attr_int(n, MsCausalConvWithState_at_channels_last) ||
                                                 gi_attr_int(n, MsCausalConvWithState_at_state_window) ||
                                                 gi_attr_int(n, MsCausalConvWithState_at_dilation) != 1 ||
                                                 gi_attr_int(n, MsCausalConvWithState_at_ndim) != 1);
}

typedef struct rule {
    const char *name;
    bool decays, corrects;
} rule;

/* NULL where there is none of that name. */
static const rule *find_rule(const gi_node *n)
{
    static const rule rules[] = {
        { "linear", false, false }, { "gated", true, false }, { "delta", false, true }, { "gated_delta", true, true }
    };
    const char *name = gi_attr_str(n, LinearAttention_at_update_rule);
    for (size_t i = 0; i < GI_COUNT(rules); i++)
        if (!strcmp(rules[i].name, name))
            return &rules[i];
    return NULL;
}

/* What is wrong with the attributes and the inputs given; NULL where nothing is. */
static const char *complaint(const gi_node *n)
{
    const int64_t heads = gi_attr_int(n, LinearAttention_at_q_num_heads),
                  kv_heads = gi_attr_int(n, LinearAttention_at_kv_num_heads);
    const rule *r = find_rule(n);
    if (is_beyond_onnx(n))
        return "a window of states is not known here";
    if (heads < 1 || kv_heads < 1 || heads % kv_heads)
        return "expected attribute q_num_heads to be a multiple of kv_num_heads, both 1 or more";
    if (!r)
        return "expected attribute update_rule to be linear, gated, delta or gated_delta";
    if (r->decays != (gi_node_in(n, DECAY) != NULL))
        return r->decays ? "its update_rule needs input decay" : "its update_rule takes no input decay";
    if (r->corrects != (gi_node_in(n, BETA) != NULL))
        return r->corrects ? "its update_rule needs input beta" : "its update_rule takes no input beta";
    return NULL;
}

/* The size of each of that many heads which lie together in the last dimension. */
static gopt_status infer_size(gi_infer *c, uint32_t in, int64_t heads, const gi_dim **size)
{
    int64_t hidden;
    const gi_dim *last = gi_infer_dim(c, in, 2);
    if (gi_dim_is_const(last, &hidden) && hidden % heads)
        return gi_infer_fail(c, in, "expected a last dimension that the %lld heads divide", (long long)heads);
    *size = gi_dims_quotient(c, last, gi_dim_const(c->g->dims, heads));
    GI_NEED(*size);
    return GOPT_OK;
}

static gopt_status infer_linear_attention(gi_infer *c)
{
    gi_dims *t = c->g->dims;
    const int64_t heads = gi_attr_int(c->n, LinearAttention_at_q_num_heads),
                  kv_heads = gi_attr_int(c->n, LinearAttention_at_kv_num_heads);
    const char *wrong = complaint(c->n);
    const gi_dim *dk, *dv;
    if (wrong)
        return gi_infer_fail_node(c, "%s", wrong);
    for (uint32_t i = QUERY; i <= BETA; i++) {
        if (i == PAST || !gi_infer_has(c, i))
            continue;
        GI_TRY(gi_infer_want_rank(c, i, 3));
        GI_TRY(gi_infer_want_dtype(c, i, QUERY));
        GI_TRY(gi_infer_want_dim(c, i, 0, gi_infer_dim(c, QUERY, 0), "the batch"));
        GI_TRY(gi_infer_want_dim(c, i, 1, gi_infer_dim(c, QUERY, 1), "the tokens"));
    }
    GI_TRY(infer_size(c, QUERY, heads, &dk));
    GI_TRY(infer_size(c, VALUE, kv_heads, &dv));
    const gi_dim *batch = gi_infer_dim(c, QUERY, 0), *kv = gi_dim_const(t, kv_heads), *keys = gi_dim_mul(t, kv, dk);
    GI_NEED(kv && keys);
    GI_TRY(gi_infer_want_dim(c, KEY, 2, keys, "the heads of keys, as large as those of queries"));
    const uint32_t like = gi_infer_has(c, PAST) ? PAST : QUERY;
    const gi_dim *state[] = { batch, kv, dk, dv };
    if (like == PAST) {
        GI_TRY(gi_infer_want_rank(c, PAST, 4));
        for (int i = 0; i < 4; i++)
            GI_TRY(gi_infer_want_dim(c, PAST, i, state[i], "batch, heads, sizes of a key and of a value"));
    }
    const gi_dim *hidden = heads == kv_heads ? gi_infer_dim(c, VALUE, 2) : gi_dim_mul(t, gi_dim_const(t, heads), dv);
    GI_NEED(hidden);
    gi_infer_set_like(c, LinearAttention_out_output, QUERY, 3,
                      (const gi_dim *[]){ batch, gi_infer_dim(c, QUERY, 1), hidden });
    gi_infer_set_like(c, LinearAttention_out_present_state, like, 4, state);
    return GOPT_OK;
}

typedef struct recurrence {
    const rule *rule;
    int64_t batch, tokens, heads, kv_heads, dk, dv;
    int64_t decays; /* numbers of decay a head: 1 or dk */
    int64_t betas;  /* heads that beta tells apart: kv_heads or 1 */
    float scale;
    const float *q, *k, *v, *decay, *beta;
} recurrence;

/* Reads and checks the sizes of everything. */
static gopt_status read_sizes(const gi_eval *a, recurrence *r)
{
    const char *wrong = complaint(a->n);
    if (wrong)
        return gi_eval_fail(a, -1, "%s", wrong);
    for (uint32_t i = QUERY; i <= BETA; i++)
        if (i != PAST && input(a, i)) {
            GI_TRY(gi_eval_rank(a, i, 3));
            GI_TRY(gi_eval_dim(a, i, 0, a->in[QUERY]->dims[0]));
            GI_TRY(gi_eval_dim(a, i, 1, a->in[QUERY]->dims[1]));
        }
    const gopt_tensor *q = a->in[QUERY], *v = a->in[VALUE];
    r->rule = find_rule(a->n);
    r->heads = gi_attr_int(a->n, LinearAttention_at_q_num_heads);
    r->kv_heads = gi_attr_int(a->n, LinearAttention_at_kv_num_heads);
    if (q->dims[2] % r->heads || v->dims[2] % r->kv_heads)
        return gi_eval_fail(a, q->dims[2] % r->heads ? QUERY : VALUE,
                            "has a last dimension that its number of heads does not divide");
    r->batch = q->dims[0];
    r->tokens = q->dims[1];
    r->dk = q->dims[2] / r->heads;
    r->dv = v->dims[2] / r->kv_heads;
    GI_TRY(gi_eval_dim(a, KEY, 2, r->kv_heads * r->dk));
    if (r->rule->decays) {
        const int64_t last = a->in[DECAY]->dims[2];
        if (last != r->kv_heads && last != r->kv_heads * r->dk)
            return gi_eval_fail(a, DECAY, "has a last dimension of %lld, expected one number a head (%lld), or %lld",
                                (long long)last, (long long)r->kv_heads, (long long)r->dk);
        r->decays = last / r->kv_heads;
    }
    if (r->rule->corrects) {
        r->betas = a->in[BETA]->dims[2];
        if (r->betas != r->kv_heads && r->betas != 1)
            return gi_eval_fail(a, BETA, "has a last dimension of %lld, expected 1 or one number a head (%lld)",
                                (long long)r->betas, (long long)r->kv_heads);
    }
    const int64_t want[] = { r->batch, r->kv_heads, r->dk, r->dv };
    if (input(a, PAST))
        GI_TRY(gi_eval_rank(a, PAST, 4));
    for (int i = 0; i < 4; i++)
        GI_TRY(gi_eval_dim(a, PAST, i, want[i]));
    return GOPT_OK;
}

/* One token: changes the state of one head, [dk, dv]. `change` has room for dv. */
static void update_state(const recurrence *r, int64_t b, int64_t t, int64_t h, float *s, float *change)
{
    const int64_t at = b * r->tokens + t, dk = r->dk, dv = r->dv;
    const float *k = r->k + (at * r->kv_heads + h) * dk, *v = r->v + (at * r->kv_heads + h) * dv;
    memcpy(change, v, (size_t)dv * sizeof *v);
    for (int64_t i = 0; i < dk && r->rule->decays; i++) {
        const float *g = r->decay + (at * r->kv_heads + h) * r->decays, by = expf(g[r->decays > 1 ? i : 0]);
        for (int64_t j = 0; j < dv; j++)
            s[i * dv + j] *= by;
    }
    if (r->rule->corrects) {
        const float beta = r->beta[at * r->betas + (r->betas > 1 ? h : 0)];
        for (int64_t i = 0; i < dk; i++)
            for (int64_t j = 0; j < dv; j++)
                change[j] -= s[i * dv + j] * k[i];
        for (int64_t j = 0; j < dv; j++)
            change[j] *= beta;
    }
    for (int64_t i = 0; i < dk; i++)
        for (int64_t j = 0; j < dv; j++)
            s[i * dv + j] += k[i] * change[j];
}

/* scale · s' q for every head of queries that shares the state. */
static void read_state(const recurrence *r, int64_t b, int64_t t, int64_t h, const float *s, float *y)
{
    const int64_t share = r->heads / r->kv_heads, at = (b * r->tokens + t) * r->heads + h * share;
    for (int64_t g = at; g < at + share; g++) {
        const float *q = r->q + g * r->dk;
        float *to = y + g * r->dv;
        memset(to, 0, (size_t)r->dv * sizeof *to);
        for (int64_t i = 0; i < r->dk; i++)
            for (int64_t j = 0; j < r->dv; j++)
                to[j] += q[i] * s[i * r->dv + j];
        for (int64_t j = 0; j < r->dv; j++)
            to[j] *= r->scale;
    }
}

static gopt_status eval_linear_attention(gi_eval *a)
{
    recurrence r = { 0 };
    const float *past;
    int64_t n, hidden;
    gi_real y, present;
    GI_TRY(read_sizes(a, &r));
    const gopt_dtype t = a->in[QUERY]->dtype, kept = input(a, PAST) ? a->in[PAST]->dtype : t;
    const float scale = gi_attr_float(a->n, LinearAttention_at_scale);
    r.scale = scale != 0 ? scale : (float)(1 / sqrt((double)r.dk));
    GI_TRY(gi_real_in(a, QUERY, GOPT_F32, (const void **)&r.q));
    GI_TRY(gi_real_in(a, KEY, GOPT_F32, (const void **)&r.k));
    GI_TRY(gi_real_in(a, VALUE, GOPT_F32, (const void **)&r.v));
    GI_TRY(gi_real_in(a, DECAY, GOPT_F32, (const void **)&r.decay));
    GI_TRY(gi_real_in(a, BETA, GOPT_F32, (const void **)&r.beta));
    GI_TRY(gi_real_in(a, PAST, GOPT_F32, (const void **)&past));
    const int64_t state[] = { r.batch, r.kv_heads, r.dk, r.dv };
    if (!gi_mul_i64(r.heads, r.dv, &hidden) || !gi_mul_i64(r.dk, r.dv, &n) || !gi_mul_i64(n, r.batch * r.kv_heads, &n))
        return gi_eval_fail(a, QUERY, "has heads that are too large");
    GI_TRY(gi_real_out_as(a, LinearAttention_out_output, t, GOPT_F32, 3, (int64_t[]){ r.batch, r.tokens, hidden }, &y));
    GI_TRY(gi_real_out_as(a, LinearAttention_out_present_state, kept, GOPT_F32, 4, state, &present));
    const int64_t results = gi_product(0, 3, (int64_t[]){ r.batch, r.tokens, hidden });
    if (n == 0 && results == 0)
        return GOPT_OK; /* and batch or tokens may be any number */
    float *s = present.p ? present.p : gi_eval_scratch(a, (size_t)n, sizeof *s);
    float *out = y.p ? y.p : gi_eval_scratch(a, (size_t)results, sizeof *out);
    float *change = gi_eval_scratch(a, (size_t)r.dv, sizeof *change);
    GI_NEED(s && out && change);
    if (past)
        memcpy(s, past, (size_t)n * sizeof *s);
    else
        memset(s, 0, (size_t)n * sizeof *s);
    for (int64_t i = 0; i < r.batch * r.kv_heads; i++)
        for (int64_t token = 0; token < r.tokens; token++) {
            const int64_t b = i / r.kv_heads, h = i % r.kv_heads;
            update_state(&r, b, token, h, s + i * r.dk * r.dv, change);
            read_state(&r, b, token, h, s + i * r.dk * r.dv, out);
        }
    gi_real_store(&y);
    gi_real_store(&present);
    return GOPT_OK;
}

/* ---- CausalConvWithState ---- */

enum {
    INPUT = CausalConvWithState_in_input,
    WEIGHT = CausalConvWithState_in_weight,
    BIAS = CausalConvWithState_in_bias,
    BEFORE = CausalConvWithState_in_past_state
};

static bool is_activation(const gi_node *n)
{
    const char *name = gi_attr_str(n, CausalConvWithState_at_activation);
    return !strcmp(name, "none") || !strcmp(name, "silu") || !strcmp(name, "swish");
}

static gopt_status infer_causal_conv(gi_infer *c)
{
    gi_dims *t = c->g->dims;
    const gi_dim *batch = gi_infer_dim(c, INPUT, 0), *channels = gi_infer_dim(c, INPUT, 1), *one = gi_dim_const(t, 1);
    int64_t k;
    if (is_beyond_onnx(c->n))
        return gi_infer_fail_node(c, "channels_last, dilation, ndim and state_window are not known here");
    if (!is_activation(c->n))
        return gi_infer_fail_node(c, "attribute activation is \"%s\", expected none, silu or swish",
                                  gi_attr_str(c->n, CausalConvWithState_at_activation));
    GI_TRY(gi_infer_want_rank(c, INPUT, 3));
    GI_TRY(gi_infer_want_rank(c, WEIGHT, 3));
    GI_TRY(gi_infer_want_dim(c, WEIGHT, 0, channels, "the channels"));
    GI_TRY(gi_infer_want_dim(c, WEIGHT, 1, one, "it is depthwise"));
    if (gi_dim_is_const(gi_infer_dim(c, WEIGHT, 2), &k) && k < 1)
        return gi_infer_fail(c, WEIGHT, "expected a kernel of 1 or more");
    const gi_dim *kept = gi_dim_sub(t, gi_infer_dim(c, WEIGHT, 2), one);
    GI_NEED(kept);
    if (gi_infer_has(c, BIAS)) {
        GI_TRY(gi_infer_want_rank(c, BIAS, 1));
        GI_TRY(gi_infer_want_dim(c, BIAS, 0, channels, "the channels"));
    }
    if (gi_infer_has(c, BEFORE)) {
        GI_TRY(gi_infer_want_rank(c, BEFORE, 3));
        GI_TRY(gi_infer_want_dim(c, BEFORE, 0, batch, "the batch"));
        GI_TRY(gi_infer_want_dim(c, BEFORE, 1, channels, "the channels"));
        GI_TRY(gi_infer_want_dim(c, BEFORE, 2, kept, "the kernel less 1"));
    }
    for (uint32_t i = WEIGHT; i <= BEFORE; i++)
        if (gi_infer_has(c, i))
            GI_TRY(gi_infer_want_dtype(c, i, INPUT));
    gi_infer_set_like(c, CausalConvWithState_out_output, INPUT, 3,
                      (const gi_dim *[]){ batch, channels, gi_infer_dim(c, INPUT, 2) });
    gi_infer_set_like(c, CausalConvWithState_out_present_state, INPUT, 3, (const gi_dim *[]){ batch, channels, kept });
    return GOPT_OK;
}

static gopt_status check_causal_conv(const gi_eval *a)
{
    GI_TRY(gi_eval_rank(a, INPUT, 3));
    GI_TRY(gi_eval_rank(a, WEIGHT, 3));
    const int64_t *x = a->in[INPUT]->dims, *w = a->in[WEIGHT]->dims;
    if (is_beyond_onnx(a->n))
        return gi_eval_fail(a, -1, "channels_last, dilation, ndim and state_window are not known here");
    if (!is_activation(a->n))
        return gi_eval_fail(a, -1, "attribute activation is \"%s\", expected none, silu or swish",
                            gi_attr_str(a->n, CausalConvWithState_at_activation));
    if (w[0] != x[1] || w[1] != 1 || w[2] < 1)
        return gi_eval_fail(a, WEIGHT, "is [%lld,%lld,%lld], expected [%lld,1,k]", (long long)w[0], (long long)w[1],
                            (long long)w[2], (long long)x[1]);
    if (input(a, BIAS)) {
        GI_TRY(gi_eval_rank(a, BIAS, 1));
        GI_TRY(gi_eval_dim(a, BIAS, 0, x[1]));
    }
    if (!input(a, BEFORE))
        return GOPT_OK;
    GI_TRY(gi_eval_rank(a, BEFORE, 3));
    GI_TRY(gi_eval_dim(a, BEFORE, 0, x[0]));
    GI_TRY(gi_eval_dim(a, BEFORE, 1, x[1]));
    return gi_eval_dim(a, BEFORE, 2, w[2] - 1);
}

static gopt_status eval_causal_conv(gi_eval *a)
{
    const float *x, *w, *bias, *before;
    gi_real y, after;
    GI_TRY(check_causal_conv(a));
    const gopt_tensor *t = a->in[INPUT];
    const int64_t channels = t->dims[1], n = t->dims[2], taps = a->in[WEIGHT]->dims[2], kept = taps - 1;
    const bool silu = !gi_attr_is(a->n, CausalConvWithState_at_activation, "none");
    int64_t length;
    GI_TRY(gi_real_in(a, INPUT, GOPT_F32, (const void **)&x));
    GI_TRY(gi_real_in(a, WEIGHT, GOPT_F32, (const void **)&w));
    GI_TRY(gi_real_in(a, BIAS, GOPT_F32, (const void **)&bias));
    GI_TRY(gi_real_in(a, BEFORE, GOPT_F32, (const void **)&before));
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F32, 3, t->dims, &y));
    GI_TRY(gi_real_out_as(a, 1, t->dtype, GOPT_F32, 3, (int64_t[]){ t->dims[0], channels, kept }, &after));
    if (!gi_add_i64(kept, n, &length))
        return gi_eval_fail(a, INPUT, "is too long");
    if (n == 0 && kept == 0)
        return GOPT_OK;
    const int64_t rows = gi_product(0, 2, t->dims);
    float *line = gi_eval_scratch(a, (size_t)length, sizeof *line); /* what was before, then x */
    GI_NEED(line);
    for (int64_t r = 0; r < rows; r++) {
        const float *f = w + r % channels * taps;
        if (before)
            memcpy(line, before + r * kept, (size_t)kept * sizeof *line);
        memcpy(line + kept, x + r * n, (size_t)n * sizeof *line);
        for (int64_t i = 0; i < n && y.p; i++) {
            float sum = bias ? bias[r % channels] : 0;
            for (int64_t k = 0; k < taps; k++)
                sum += f[k] * line[i + k];
            ((float *)y.p)[r * n + i] = silu ? sum / (1 + expf(-sum)) : sum;
        }
        if (after.p)
            memcpy((float *)after.p + r * kept, line + n, (size_t)kept * sizeof *line);
    }
    gi_real_store(&y);
    gi_real_store(&after);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/linear_attention.def"
