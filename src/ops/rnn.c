/* Recurrent networks: RNN, GRU, LSTM, in both directions and layouts.
 *
 * The inputs of all steps are multiplied by W in one product; each step then multiplies the state by R. Both
 * are transposed once, so that every inner loop runs along the gates. */
#include <math.h>
#include <strings.h>

#include "ops/gemm.h"
#include "ops/real.h"
#include "ops/rnn.h"

typedef enum activation_kind {
    ACT_RELU,
    ACT_TANH,
    ACT_SIGMOID,
    ACT_AFFINE,
    ACT_LEAKY_RELU,
    ACT_THRESHOLDED_RELU,
    ACT_SCALED_TANH,
    ACT_HARD_SIGMOID,
    ACT_ELU,
    ACT_SOFTSIGN,
    ACT_SOFTPLUS
} activation_kind;

typedef struct activation {
    activation_kind kind;
    double alpha, beta;
} activation;

typedef enum rnn_kind { KIND_RNN, KIND_GRU, KIND_LSTM } rnn_kind;

typedef struct recurrence {
    rnn_kind kind;
    int directions;
    bool reverse, batch_first, linear_before_reset, input_forget;
    int64_t steps, batch, inputs, hidden, gates;
    double clip; /* 0: none */
    activation act[2][3];
    int64_t *length; /* of each sequence */
} recurrence;

/* The same positions in all three rows. */
enum { IN_X, IN_W, IN_R, IN_B, IN_LENS, IN_H, IN_C, IN_P };

/* Row of X, seen as a matrix of inputs, for a step and batch entry. */
static int64_t row_of(const recurrence *r, int64_t t, int64_t b)
{
    return r->batch_first ? b * r->steps + t : t * r->batch + b;
}

/* Y is [steps, directions, batch, hidden], or [batch, steps, directions, hidden]. */
static int64_t place_in_y(const recurrence *r, int64_t t, int d, int64_t b)
{
    return (r->batch_first ? (b * r->steps + t) * r->directions + d : (t * r->directions + d) * r->batch + b) *
           r->hidden;
}

#define WORD float
#define NAME(x) x##_f32
#define MATH(x) x##f
#define GEMM gi_gemm_f32
#include "ops/rnn_loops.h"
#undef WORD
#undef NAME
#undef MATH
#undef GEMM
#define WORD double
#define NAME(x) x##_f64
#define MATH(x) x
#define GEMM gi_gemm_f64
#include "ops/rnn_loops.h"
#undef WORD
#undef NAME
#undef MATH
#undef GEMM

/* ---- attributes ---- */

static int64_t int_attr(const gi_node *n, const char *name)
{
    const gi_attr *at = gi_attr_find(n, name);
    return at && at->kind == GI_ATTR_INT ? at->u.i : 0;
}

/* Directions and whether the only one runs backward; 0 for a word that is none. */
static int read_direction(const gi_node *n, bool *reverse)
{
    const gi_attr *at = gi_attr_find(n, "direction");
    const char *s = at && at->kind == GI_ATTR_STRING ? at->u.s : "forward";
    *reverse = !strcmp(s, "reverse");
    return !strcmp(s, "bidirectional") ? 2 : *reverse || !strcmp(s, "forward") ? 1 : 0;
}

typedef struct activation_row {
    const char *name;
    activation_kind kind;
    bool has_alpha, has_beta;
    double alpha, beta;
} activation_row;

static const activation_row activations[] = {
    { "Relu", ACT_RELU, false, false, 0, 0 },
    { "Tanh", ACT_TANH, false, false, 0, 0 },
    { "Sigmoid", ACT_SIGMOID, false, false, 0, 0 },
    { "Affine", ACT_AFFINE, true, true, 1, 0 },
    { "LeakyRelu", ACT_LEAKY_RELU, true, false, 0.01, 0 },
    { "ThresholdedRelu", ACT_THRESHOLDED_RELU, true, false, 1, 0 },
    { "ScaledTanh", ACT_SCALED_TANH, true, true, 1, 1 },
    { "HardSigmoid", ACT_HARD_SIGMOID, true, true, 0.2, 0.5 },
    { "Elu", ACT_ELU, true, false, 1, 0 },
    { "Softsign", ACT_SOFTSIGN, false, false, 0, 0 },
    { "Softplus", ACT_SOFTPLUS, false, false, 0, 0 },
};

static const activation_row *find_activation(const char *name)
{
    for (size_t i = 0; i < GI_COUNT(activations); i++)
        if (!strcasecmp(name, activations[i].name))
            return &activations[i];
    return NULL;
}

/* The activations of each direction. Alphas and betas are taken in order by those that have one. */
static const char *read_activations(const gi_node *n, int per, recurrence *r)
{
    static const char *const usual[3][3] = { { "Tanh" }, { "Sigmoid", "Tanh" }, { "Sigmoid", "Tanh", "Tanh" } };
    const gi_attr *names = gi_attr_find(n, "activations"), *alphas = gi_attr_find(n, "activation_alpha"),
                  *betas = gi_attr_find(n, "activation_beta");
    const bool given = names && names->kind == GI_ATTR_STRINGS && names->n > 0;
    uint32_t next_alpha = 0, next_beta = 0;
    if (given && names->n < (uint32_t)(per * r->directions))
        return "attribute activations has too few entries for its directions";
    for (int i = 0; i < per * r->directions; i++) {
        const activation_row *row = find_activation(given ? names->u.strings[i] : usual[r->kind][i % per]);
        if (!row)
            return "attribute activations names a function that is unknown";
        activation *f = &r->act[i / per][i % per];
        *f = (activation){ row->kind, row->alpha, row->beta };
        if (row->has_alpha && alphas && alphas->kind == GI_ATTR_FLOATS && next_alpha < alphas->n)
            f->alpha = (double)alphas->u.floats[next_alpha++];
        if (row->has_beta && betas && betas->kind == GI_ATTR_FLOATS && next_beta < betas->n)
            f->beta = (double)betas->u.floats[next_beta++];
    }
    return NULL;
}

static const char *read_attributes(const gi_node *n, recurrence *r)
{
    const gi_attr *clip = gi_attr_find(n, "clip");
    r->directions = read_direction(n, &r->reverse);
    if (!r->directions)
        return "attribute direction is none of forward, reverse and bidirectional";
    r->batch_first = int_attr(n, "layout") != 0;
    r->linear_before_reset = int_attr(n, "linear_before_reset") != 0;
    r->input_forget = int_attr(n, "input_forget") != 0;
    r->clip = clip && clip->kind == GI_ATTR_FLOAT ? (double)clip->u.f : 0;
    r->kind = n->op == OP_RNN ? KIND_RNN : n->op == OP_GRU ? KIND_GRU : KIND_LSTM;
    r->gates = r->kind == KIND_RNN ? 1 : r->kind == KIND_GRU ? 3 : 4;
    return read_activations(n, r->kind == KIND_RNN ? 1 : r->kind == KIND_GRU ? 2 : 3, r);
}

const char *gi_rnn_read(const gi_node *n, gi_rnn *out)
{
    recurrence r = { 0 };
    const char *why = read_attributes(n, &r);
    if (why)
        return why;
    *out = (gi_rnn){ .directions = r.directions,
                     .reverse = r.reverse,
                     .batch_first = r.batch_first,
                     .linear_before_reset = r.linear_before_reset,
                     .input_forget = r.input_forget,
                     .gates = r.gates,
                     .clip = r.clip };
    const int per = r.kind == KIND_RNN ? 1 : r.kind == KIND_GRU ? 2 : 3;
    for (int i = 0; i < per * r.directions; i++) {
        const activation *f = &r.act[i / per][i % per];
        for (size_t k = 0; k < GI_COUNT(activations); k++)
            if (activations[k].kind == f->kind)
                out->act[i / per][i % per].name = activations[k].name;
        out->act[i / per][i % per].alpha = f->alpha;
        out->act[i / per][i % per].beta = f->beta;
    }
    return NULL;
}

/* ---- the rule ---- */

static gopt_status infer_rnn(gi_infer *c)
{
    recurrence r = { 0 };
    const char *why = read_attributes(c->n, &r);
    gi_dims *t = c->g->dims;
    if (why)
        return gi_infer_fail_node(c, "%s", why);
    for (uint32_t i = IN_X; i <= IN_R; i++)
        GI_TRY(gi_infer_want_rank(c, i, 3));
    const gi_dim *directions = gi_dim_const(t, r.directions), *hidden = gi_infer_dim(c, IN_R, 2);
    const gi_dim *steps = gi_infer_dim(c, IN_X, r.batch_first), *batch = gi_infer_dim(c, IN_X, !r.batch_first);
    const int64_t asked = int_attr(c->n, "hidden_size");
    if (asked > 0 && gi_infer_rank(c, IN_R) >= 0) {
        const gi_dim *want = gi_dim_const(t, asked);
        GI_NEED(want);
        GI_TRY(gi_infer_want_dim(c, IN_R, 2, want, "attribute hidden_size"));
        hidden = want;
    } else if (asked > 0) {
        hidden = gi_dim_const(t, asked);
    }
    const gi_dim *gates = gi_dim_const(t, r.gates);
    GI_NEED(directions && hidden && gates);
    const gi_dim *width = gi_dim_mul(t, gates, hidden);
    GI_NEED(width);
    GI_TRY(gi_infer_want_dim(c, IN_W, 0, directions, "directions"));
    GI_TRY(gi_infer_want_dim(c, IN_R, 0, directions, "directions"));
    GI_TRY(gi_infer_want_dim(c, IN_W, 1, width, "gates times hidden size"));
    GI_TRY(gi_infer_want_dim(c, IN_R, 1, width, "gates times hidden size"));
    if (gi_infer_rank(c, IN_X) >= 0)
        GI_TRY(gi_infer_want_dim(c, IN_W, 2, gi_infer_dim(c, IN_X, 2), "the size of an input"));
    const gi_dim *y[2][4] = { { steps, directions, batch, hidden }, { batch, steps, directions, hidden } };
    const gi_dim *last[2][3] = { { directions, batch, hidden }, { batch, directions, hidden } };
    gi_infer_set_like(c, 0, IN_X, 4, y[r.batch_first]);
    for (uint32_t i = 1; i < c->n->n_out; i++)
        gi_infer_set_like(c, i, IN_X, 3, last[r.batch_first]);
    return GOPT_OK;
}

/* ---- evaluation ---- */

static bool given(const gi_eval *a, uint32_t i)
{
    return i < a->n_in && a->in[i];
}

static gopt_status check_shape(const gi_eval *a, uint32_t in, int rank, const int64_t *dims)
{
    if (!given(a, in))
        return GOPT_OK;
    GI_TRY(gi_eval_rank(a, in, rank));
    for (int i = 0; i < rank; i++)
        GI_TRY(gi_eval_dim(a, in, i, dims[i]));
    return GOPT_OK;
}

static gopt_status read_lengths(gi_eval *a, recurrence *r)
{
    r->length = gi_eval_scratch(a, (size_t)r->batch + 1, sizeof *r->length);
    GI_NEED(r->length);
    GI_TRY(check_shape(a, IN_LENS, 1, &r->batch));
    for (int64_t b = 0; b < r->batch; b++) {
        r->length[b] = given(a, IN_LENS) ? gi_tensor_i64(a->in[IN_LENS], b) : r->steps;
        if (r->length[b] < 0 || r->length[b] > r->steps)
            return gi_eval_fail(a, IN_LENS, "entry %lld is %lld, expected 0 to %lld", (long long)b,
                                (long long)r->length[b], (long long)r->steps);
    }
    return GOPT_OK;
}

static gopt_status read_shapes(gi_eval *a, recurrence *r)
{
    const char *why = read_attributes(a->n, r);
    if (why)
        return gi_eval_fail(a, -1, "%s", why);
    for (uint32_t i = IN_X; i <= IN_R; i++)
        GI_TRY(gi_eval_rank(a, i, 3));
    const int64_t *x = a->in[IN_X]->dims;
    r->steps = x[r->batch_first];
    r->batch = x[!r->batch_first];
    r->inputs = x[2];
    r->hidden = a->in[IN_R]->dims[2];
    int64_t width;
    if (!gi_mul_i64(r->hidden, 2 * r->gates, &width))
        return gi_eval_fail(a, IN_R, "is too large");
    width /= 2;
    const int64_t d = r->directions,
                  state[3] = { r->batch_first ? r->batch : d, r->batch_first ? d : r->batch, r->hidden };
    GI_TRY(check_shape(a, IN_W, 3, (const int64_t[]){ d, width, r->inputs }));
    GI_TRY(check_shape(a, IN_R, 3, (const int64_t[]){ d, width, r->hidden }));
    GI_TRY(check_shape(a, IN_B, 2, (const int64_t[]){ d, 2 * width }));
    GI_TRY(check_shape(a, IN_H, 3, state));
    if (r->kind == KIND_LSTM) {
        GI_TRY(check_shape(a, IN_C, 3, state));
        GI_TRY(check_shape(a, IN_P, 2, (const int64_t[]){ d, 3 * r->hidden }));
    }
    return read_lengths(a, r);
}

/* All that a run reads and writes, as `real`. */
typedef struct buffers {
    gopt_dtype real;
    size_t item;
    const char *x, *w, *r, *b, *p, *start[2]; /* start: of h and c */
    char *wt, *rt, *projected, *gate, *candidate, *state[2];
    gi_real y, last[2];
} buffers;

static gopt_status get_scratch(gi_eval *a, const recurrence *r, buffers *m)
{
    const size_t width = (size_t)(r->gates * r->hidden), state = (size_t)(r->batch * r->hidden);
    size_t rows;
    if (!gi_mul_size((size_t)(r->steps * r->batch), width, &rows))
        return GOPT_NO_MEMORY;
    m->wt = gi_eval_scratch(a, (size_t)r->inputs * width + 1, m->item);
    m->rt = gi_eval_scratch(a, (size_t)r->hidden * width + 1, m->item);
    m->projected = gi_eval_scratch(a, rows + 1, m->item);
    m->gate = gi_eval_scratch(a, (size_t)r->batch * width + 1, m->item);
    m->candidate = gi_eval_scratch(a, state + 1, m->item);
    m->state[0] = gi_eval_scratch(a, state + 1, m->item);
    m->state[1] = gi_eval_scratch(a, state + 1, m->item);
    GI_NEED(m->wt && m->rt && m->projected && m->gate && m->candidate && m->state[0] && m->state[1]);
    return GOPT_OK;
}

static gopt_status get_buffers(gi_eval *a, const recurrence *r, buffers *m)
{
    const gopt_dtype dtype = a->in[IN_X]->dtype, real = gi_real_of(dtype);
    const int64_t t = r->steps, d = r->directions, n = r->batch, h = r->hidden;
    *m = (buffers){ .real = real, .item = gi_item_size(real) };
    GI_TRY(gi_real_in(a, IN_X, real, (const void **)&m->x));
    GI_TRY(gi_real_in(a, IN_W, real, (const void **)&m->w));
    GI_TRY(gi_real_in(a, IN_R, real, (const void **)&m->r));
    GI_TRY(gi_real_in(a, IN_B, real, (const void **)&m->b));
    GI_TRY(gi_real_in(a, IN_H, real, (const void **)&m->start[0]));
    if (r->kind == KIND_LSTM) {
        GI_TRY(gi_real_in(a, IN_C, real, (const void **)&m->start[1]));
        GI_TRY(gi_real_in(a, IN_P, real, (const void **)&m->p));
    }
    const int64_t y[2][4] = { { t, d, n, h }, { n, t, d, h } }, last[2][3] = { { d, n, h }, { n, d, h } };
    GI_TRY(gi_real_out(a, 0, dtype, 4, y[r->batch_first], &m->y));
    for (uint32_t i = 0; i < (r->kind == KIND_LSTM ? 2U : 1U) && i + 1 < a->n_out; i++)
        GI_TRY(gi_real_out(a, i + 1, dtype, 3, last[r->batch_first], &m->last[i]));
    if (m->y.p)
        memset(m->y.p, 0, (size_t)gopt_tensor_elements(m->y.t) * m->item);
    return get_scratch(a, r, m);
}

/* Byte at which the state of a direction and batch entry starts in the layout of Y_h. */
static size_t place_in_state(const recurrence *r, int d, int64_t b, size_t item)
{
    return (size_t)((r->batch_first ? b * r->directions + d : d * r->batch + b) * r->hidden) * item;
}

static void run_one(const recurrence *r, int d, buffers *m)
{
    const int64_t width = r->gates * r->hidden;
    const size_t item = m->item, row = (size_t)r->hidden * item, at = (size_t)d * item;
    const char *bias = m->b ? m->b + at * (size_t)(2 * width) : NULL, *rb = bias ? bias + (size_t)width * item : NULL;
    const char *peep = m->p ? m->p + at * (size_t)(3 * r->hidden) : NULL;
    gi_transpose_words(item, width, r->inputs, m->w + at * (size_t)(width * r->inputs), m->wt);
    gi_transpose_words(item, width, r->hidden, m->r + at * (size_t)(width * r->hidden), m->rt);
    for (int i = 0; i < 2; i++) {
        memset(m->state[i], 0, (size_t)r->batch * row);
        if (m->start[i])
            for (int64_t b = 0; b < r->batch; b++)
                memcpy(m->state[i] + (size_t)b * row, m->start[i] + place_in_state(r, d, b, item), row);
    }
#define P(x) ((void *)(x))
#define C(x) ((const void *)(x))
    if (m->real == GOPT_F64) {
        project_f64(r, C(m->x), C(m->wt), C(bias), P(m->projected));
        run_direction_f64(r, d, C(m->projected), C(m->rt), C(rb), C(peep), P(m->gate), P(m->candidate), P(m->state[0]),
                          P(m->state[1]), m->y.p);
    } else {
        project_f32(r, C(m->x), C(m->wt), C(bias), P(m->projected));
        run_direction_f32(r, d, C(m->projected), C(m->rt), C(rb), C(peep), P(m->gate), P(m->candidate), P(m->state[0]),
                          P(m->state[1]), m->y.p);
    }
#undef P
#undef C
    for (int i = 0; i < 2; i++)
        for (int64_t b = 0; m->last[i].p && b < r->batch; b++)
            memcpy((char *)m->last[i].p + place_in_state(r, d, b, item), m->state[i] + (size_t)b * row, row);
}

static gopt_status eval_recurrence(gi_eval *a)
{
    recurrence r = { 0 };
    buffers m;
    GI_TRY(read_shapes(a, &r));
    GI_TRY(get_buffers(a, &r, &m));
    for (int d = 0; d < r.directions; d++)
        run_one(&r, d, &m);
    gi_real_store(&m.y);
    gi_real_store(&m.last[0]);
    gi_real_store(&m.last[1]);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/rnn.def"
