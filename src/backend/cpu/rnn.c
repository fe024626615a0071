/* Tactic "recurrent": LSTM and GRU with their usual activations, RNN with Tanh or Relu.
 *
 * First the inputs of all steps times W, as one product over the pool. Then the steps one after another: the state times
 * R starts from that product, by the tile kernel; gates follow as vector operations. Directions run side by side. */
#include <strings.h>

#include "backend/cpu/cpu.h"

#include <math.h>

/* All three have these in the same places. */
enum { IN_X, IN_W, IN_R, IN_B, IN_LENS, IN_H, IN_C, IN_P };

typedef struct rnn {
    bool lstm, plain, linear, reverse; /* plain: RNN; linear: GRU's linear_before_reset; reverse: the one direction
                                        * runs backwards */
    bool relu[2];                      /* a direction's: the RNN's function is Relu, not Tanh */
    int64_t directions, steps, batch, inputs, hidden, gates; /* gates: 4, 3 or 1 */
    int64_t panels, hidden_panels, panel_w, panel_r;
    float *w, *r, *bias, *bias_r; /* packed a direction; bias_r: GRU's, of the hidden gate, where linear */
    gk_tap tap_w, tap_r;
    int x, h, c;           /* in step->in; -1: absent */
    uint64_t state_floats; /* a direction's */
} rnn;

static bool plain_activations(const gi_node *n, int at, int at_alpha, int at_beta, bool lstm)
{
    const gi_attr *a = &n->attrs[at];
    const float *f;
    if (gi_attr_floats(n, at_alpha, &f) || gi_attr_floats(n, at_beta, &f))
        return false;
    const uint32_t one = lstm ? 3 : 2;
    for (uint32_t i = 0; gi_attr_has(n, at) && i < a->n; i++)
        if (strcasecmp(a->u.strings[i], i % one == 0 ? "Sigmoid" : "Tanh") != 0)
            return false;
    return true;
}

/* An RNN's, one a direction. */
static bool read_functions(const gi_node *n, rnn *v)
{
    const char *const *names;
    const float *f;
    const uint32_t count = gi_attr_strings(n, RNN_at_activations, &names);
    if (gi_attr_floats(n, RNN_at_activation_alpha, &f) || gi_attr_floats(n, RNN_at_activation_beta, &f))
        return false;
    for (uint32_t i = 0; i < count && i < GI_COUNT(v->relu); i++) {
        v->relu[i] = strcasecmp(names[i], "Relu") == 0;
        if (!v->relu[i] && strcasecmp(names[i], "Tanh") != 0)
            return false;
    }
    return count == 0 || count == v->directions;
}

static bool constant(const gi_node *n, uint32_t i, int64_t elements)
{
    const gi_blob *b = gi_value_blob(gi_node_in(n, i));
    return b && b->dtype == GOPT_F32 && gi_blob_elements(b) == elements;
}

static bool read_node(const gi_node *n, rnn *v)
{
    int rank;
    int64_t x[GOPT_MAX_RANK];
    const gi_blob *r = gi_value_blob(gi_node_in(n, IN_R));
    const bool lstm = n->op == OP_LSTM, plain = n->op == OP_RNN;
    if ((!lstm && !plain && n->op != OP_GRU) || !gi_cpu_static_f32(gi_node_in(n, IN_X), &rank, x) || rank != 3 || !r ||
        r->rank != 3)
        return false;
    *v = (rnn){ .lstm = lstm,
                .plain = plain,
                .gates = lstm    ? 4
                         : plain ? 1
                                 : 3,
                .directions = r->dims[0],
                .hidden = r->dims[2],
                .steps = x[0],
                .batch = x[1],
                .inputs = x[2] };
    const int64_t rows = v->gates * v->hidden;
    if (gi_product(0, 3, x) <= 0 || rows <= 0 || v->directions < 1 || v->directions > 2 || r->dims[1] != rows ||
        !constant(n, IN_R, v->directions * rows * v->hidden) || !constant(n, IN_W, v->directions * rows * v->inputs) ||
        (gi_node_in(n, IN_B) && !constant(n, IN_B, v->directions * 2 * rows)) || gi_node_in(n, IN_LENS) ||
        gi_node_in(n, IN_P))
        return false;
    if (gi_attr_int(n, lstm    ? (int)LSTM_at_layout
                       : plain ? (int)RNN_at_layout
                               : (int)GRU_at_layout) ||
        gi_attr_has(n, lstm    ? (int)LSTM_at_clip
                       : plain ? (int)RNN_at_clip
                               : (int)GRU_at_clip) ||
        (lstm && gi_attr_int(n, LSTM_at_input_forget)))
        return false;
    v->linear = !lstm && !plain && gi_attr_int(n, GRU_at_linear_before_reset);
    const int at = lstm ? (int)LSTM_at_direction : plain ? (int)RNN_at_direction : (int)GRU_at_direction;
    v->reverse = gi_attr_is(n, at, "reverse");
    if (gi_attr_is(n, at, "bidirectional") != (v->directions == 2))
        return false;
    return plain  ? read_functions(n, v)
           : lstm ? plain_activations(n, LSTM_at_activations, LSTM_at_activation_alpha, LSTM_at_activation_beta, true)
                  : plain_activations(n, GRU_at_activations, GRU_at_activation_alpha, GRU_at_activation_beta, false);
}

/* [rows][k] into panels [⌈rows/2 lanes⌉][k][2 lanes]. */
static void pack_panels(const char *from, int64_t rows, int64_t k, int64_t lanes2, float *to)
{
    for (int64_t p = 0; p < rows; p += lanes2)
        for (int64_t i = 0; i < k; i++)
            for (int64_t l = 0; l < lanes2; l++, to++) {
                *to = 0.0f;
                if (p + l < rows)
                    memcpy(to, from + (size_t)((p + l) * k + i) * sizeof(float), sizeof(float));
            }
}

static gopt_status pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, rnn *v)
{
    const gi_node *n = s->node;
    const int64_t lanes2 = 2 * d->block, rows = v->gates * v->hidden, dirs = v->directions;
    v->panels = (rows + lanes2 - 1) / lanes2;
    v->panel_w = v->inputs * lanes2;
    v->panel_r = v->hidden * lanes2;
    gi_blob *w = gi_value_blob(gi_node_in(n, IN_W)), *r = gi_value_blob(gi_node_in(n, IN_R));
    const int64_t order[] = { dirs, rows, v->inputs, v->hidden, lanes2 };
    const uint64_t how = gi_cpu_order(&gi_tactic_recurrent, order, sizeof(order));
    bool filled_w, filled_r;
    v->w = gi_cpu_pack_of(d, s, c, w, how, (size_t)(dirs * v->panels * v->panel_w) * sizeof(float), &filled_w);
    v->r = gi_cpu_pack_of(d, s, c, r, how + 1, (size_t)(dirs * v->panels * v->panel_r) * sizeof(float), &filled_r);
    v->bias = gi_cpu_pack(d, s, c, (size_t)(dirs * v->panels * lanes2) * sizeof(float));
    v->bias_r = gi_cpu_pack(d, s, c, (size_t)(dirs * v->panels * lanes2) * sizeof(float));
    GI_NEED(v->w && v->r && v->bias && v->bias_r);
    memset(v->bias, 0, (size_t)(dirs * v->panels * lanes2) * sizeof(float));
    memset(v->bias_r, 0, (size_t)(dirs * v->panels * lanes2) * sizeof(float));
    const gi_blob *b = gi_value_blob(gi_node_in(n, IN_B));
    for (int64_t i = 0; i < dirs; i++) {
        if (!filled_w)
            pack_panels((const char *)w->data + (size_t)(i * rows * v->inputs) * sizeof(float), rows, v->inputs, lanes2,
                        v->w + i * v->panels * v->panel_w);
        if (!filled_r)
            pack_panels((const char *)r->data + (size_t)(i * rows * v->hidden) * sizeof(float), rows, v->hidden, lanes2,
                        v->r + i * v->panels * v->panel_r);
        for (int64_t k = 0; b && k < rows; k++) {
            float wb, rb;
            memcpy(&wb, (const char *)b->data + (size_t)(i * 2 * rows + k) * sizeof(float), sizeof(wb));
            memcpy(&rb, (const char *)b->data + (size_t)(i * 2 * rows + rows + k) * sizeof(float), sizeof(rb));
            const bool apart = v->linear && k >= 2 * v->hidden;
            v->bias[i * v->panels * lanes2 + k] = apart ? wb : wb + rb;
            v->bias_r[i * v->panels * lanes2 + k] = apart ? rb : 0.0f;
        }
    }
    return GOPT_OK;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    const gi_node *n = s->node;
    rnn *v = gi_cpu_own(c, sizeof(*v));
    GI_NEED(v);
    if (!n->n_in || !read_node(n, v))
        return GOPT_OK;
    for (uint32_t i = 0; i < s->n_out; i++)
        if (!s->out[i]->type || s->out[i]->type->dtype != GOPT_F32)
            return GOPT_OK;
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    gi_value *in[3];
    uint32_t n_in = 0;
    int *const at[3] = { &v->x, &v->h, &v->c };
    gi_value *const from[3] = { gi_node_in(n, IN_X), gi_node_in(n, IN_H), v->lstm ? gi_node_in(n, IN_C) : NULL };
    for (int i = 0; i < 3; i++) {
        *at[i] = -1;
        if (!from[i])
            continue;
        if (!gi_cpu_static_f32(from[i], &rank, dims) ||
            (i && gi_product(0, rank, dims) != v->directions * v->batch * v->hidden))
            return GOPT_OK;
        for (uint32_t k = 0; k < n_in; k++)
            if (in[k] == from[i])
                *at[i] = (int)k;
        if (*at[i] < 0) {
            *at[i] = (int)n_in;
            in[n_in++] = from[i];
        }
    }
    GI_TRY(gi_cpu_set_in(s, c, n_in, in));
    for (uint32_t i = 0; i < n_in; i++)
        c->want_in[i] = GI_PLAIN;
    for (uint32_t i = 0; i < s->n_out; i++)
        c->want_out[i] = GI_PLAIN;
    GI_TRY(pack(d, s, c, v));
    v->tap_w = (gk_tap){ 0, v->inputs };
    v->tap_r = (gk_tap){ 0, v->hidden };
    const int64_t rows = v->gates * v->hidden;
    v->state_floats = (uint64_t)(v->steps * v->batch * rows + v->batch * (3 * v->hidden + rows) + 64);
    s->scratch = v->state_floats * (uint64_t)v->directions * sizeof(float);
    s->gflop = 2e-9 * (double)(v->directions * v->steps * v->batch) * (double)rows * (double)(v->inputs + v->hidden);
    c->own = v;
    *took = true;
    return GOPT_OK;
}

/* ---- running ---- */

typedef struct job {
    const gi_cpu *d;
    const gi_step *s;
    const rnn *v;
    const gi_run_args *args;
} job;

/* y[rows][columns] (+)= x[rows][k] · panels p0 … p1-1, with bias and what y held or `add`. */
static void product(const job *j, const float *x, int64_t x_row, const gk_tap *tap, const float *w, int64_t panel,
                    const float *bias, const float *add, float *y, int64_t m, int64_t columns, int64_t p0, int64_t p1)
{
    const int64_t lanes2 = 2 * j->d->block, tile = j->d->k->tile;
    gk_conv_tile t = { .pixel = x_row,
                       .taps = tap,
                       .n_taps = 1,
                       .dst_pixel = columns,
                       .dst_col = j->d->block,
                       .lo = -INFINITY,
                       .hi = INFINITY };
    for (int64_t p = p0; p < p1; p++)
        for (int64_t r = 0; r < m; r += tile) {
            const int64_t count = gi_min_i64(tile, m - r), h = (count + 1) / 2;
            t.src = x + r * x_row;
            t.half = h * x_row;
            t.w = w + p * panel;
            t.bias = bias ? bias + p * lanes2 : NULL;
            t.dst = y + r * columns + p * lanes2;
            t.add = add ? add + r * columns + p * lanes2 : NULL;
            t.dst_half = h * columns;
            t.pixels = (int)count;
            t.columns = (int)gi_min_i64(lanes2, columns - p * lanes2);
            j->d->k->conv_tile(&t);
        }
}

static float *state_of(const job *j, int64_t direction)
{
    return (float *)j->args->scratch + (uint64_t)direction * j->v->state_floats;
}

static void inputs_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const rnn *v = j->v;
    const int64_t rows = v->gates * v->hidden, m = v->steps * v->batch;
    int64_t from, to;
    gi_share(v->directions * v->panels, 1, worker, n_workers, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t d = i / v->panels, p = i % v->panels;
        product(j, j->args->in[v->x].host, v->inputs, &v->tap_w, v->w + d * v->panels * v->panel_w, v->panel_w,
                v->bias + d * v->panels * 2 * j->d->block, NULL, state_of(j, d), m, rows, p, p + 1);
    }
}

static void apply(const job *j, gk_vop op, int64_t n, const float *a, const float *b, const float *c, float *y)
{
    j->d->k->vops[op]((size_t)n, a, b, c, 0.0f, 0.0f, y);
}

/* g: gates of one sequence, h and c: its state. */
static void lstm_cell(const job *j, float *g, float *h, float *c)
{
    const int64_t n = j->v->hidden;
    float *i = g, *o = g + n, *f = g + 2 * n, *k = g + 3 * n;
    apply(j, GK_V_sigmoid, 3 * n, g, NULL, NULL, g);
    apply(j, GK_V_tanh, n, k, NULL, NULL, k);
    apply(j, GK_V_mul, n, f, c, NULL, f);
    apply(j, GK_V_fma, n, i, k, f, c);
    apply(j, GK_V_tanh, n, c, NULL, NULL, k);
    apply(j, GK_V_mul, n, o, k, NULL, h);
}

/* x: what the inputs gave the hidden gate, where that is apart (linear). h = k + z * (h - k) */
static void gru_cell(const job *j, float *g, const float *x, float *h, bool finished)
{
    const int64_t n = j->v->hidden;
    float *z = g, *r = g + n, *k = g + 2 * n;
    if (!finished) {
        apply(j, GK_V_sigmoid, 2 * n, g, NULL, NULL, g);
        apply(j, GK_V_fma, n, r, k, x, k);
    }
    apply(j, GK_V_tanh, n, k, NULL, NULL, k);
    apply(j, GK_V_sub, n, h, k, NULL, h);
    apply(j, GK_V_fma, n, z, h, k, h);
}

static void gru_step(const job *j, int64_t d, const float *x, float *g, float *h, float *tmp)
{
    const rnn *v = j->v;
    const int64_t n = v->hidden, rows = 3 * n;
    const float *r = v->r + d * v->panels * v->panel_r, *bias = v->bias_r + d * v->panels * 2 * j->d->block;
    if (v->linear) {
        product(j, h, n, &v->tap_r, r, v->panel_r, bias, NULL, g, v->batch, rows, 0, v->panels);
        for (int64_t b = 0; b < v->batch; b++) {
            apply(j, GK_V_add, 2 * n, g + b * rows, x + b * rows, NULL, g + b * rows);
            gru_cell(j, g + b * rows, x + b * rows + 2 * n, h + b * n, false);
        }
        return;
    }
    /* the reset gate works on the state before its product: the hidden gate's columns are made again from r * h */
    product(j, h, n, &v->tap_r, r, v->panel_r, NULL, x, g, v->batch, rows, 0, v->panels);
    for (int64_t b = 0; b < v->batch; b++) {
        apply(j, GK_V_sigmoid, 2 * n, g + b * rows, NULL, NULL, g + b * rows);
        apply(j, GK_V_mul, n, g + b * rows + n, h + b * n, NULL, tmp + b * n);
    }
    const int64_t first = 2 * n / (2 * j->d->block);
    float *keep = tmp + v->batch * n; /* the update gate, which shares a panel with the hidden gate's first columns */
    for (int64_t b = 0; b < v->batch; b++)
        memcpy(keep + b * n, g + b * rows, (size_t)n * sizeof(float));
    product(j, tmp, n, &v->tap_r, r, v->panel_r, NULL, x, g, v->batch, rows, first, v->panels);
    for (int64_t b = 0; b < v->batch; b++) {
        memcpy(g + b * rows, keep + b * n, (size_t)n * sizeof(float));
        gru_cell(j, g + b * rows, NULL, h + b * n, true);
    }
}

/* The state may not be written while it is read: the product goes to g. */
static void plain_step(const job *j, int64_t d, const float *x, float *g, float *h)
{
    const rnn *v = j->v;
    product(j, h, v->hidden, &v->tap_r, v->r + d * v->panels * v->panel_r, v->panel_r, NULL, x, g, v->batch, v->hidden,
            0, v->panels);
    apply(j, v->relu[d] ? GK_V_relu : GK_V_tanh, v->batch * v->hidden, g, NULL, NULL, h);
}

static void run_direction(const job *j, int64_t d)
{
    const rnn *v = j->v;
    const int64_t n = v->hidden, rows = v->gates * n, all = v->batch * n;
    const bool back = v->reverse || d == 1;
    float *x = state_of(j, d), *g = x + v->steps * v->batch * rows, *h = g + v->batch * rows, *c = h + all;
    float *y = j->s->n_out > 0 ? j->args->out[0].host : NULL;
    const size_t bytes = (size_t)all * sizeof(float);
    memset(h, 0, bytes);
    if (v->h >= 0)
        memcpy(h, (const float *)j->args->in[v->h].host + d * all, bytes);
    if (v->lstm) {
        memset(c, 0, bytes);
        if (v->c >= 0)
            memcpy(c, (const float *)j->args->in[v->c].host + d * all, bytes);
    }
    for (int64_t i = 0; i < v->steps; i++) {
        const int64_t t = back ? v->steps - 1 - i : i;
        const float *xt = x + t * v->batch * rows;
        if (v->lstm) {
            product(j, h, n, &v->tap_r, v->r + d * v->panels * v->panel_r, v->panel_r, NULL, xt, g, v->batch, rows, 0,
                    v->panels);
            for (int64_t b = 0; b < v->batch; b++)
                lstm_cell(j, g + b * rows, h + b * n, c + b * n);
        } else if (v->plain) {
            plain_step(j, d, xt, g, h);
        } else {
            gru_step(j, d, xt, g, h, c);
        }
        if (y)
            memcpy(y + (t * v->directions + d) * all, h, bytes);
    }
    if (j->s->n_out > 1 && j->args->out[1].host)
        memcpy((float *)j->args->out[1].host + d * all, h, bytes);
    if (j->s->n_out > 2 && j->args->out[2].host)
        memcpy((float *)j->args->out[2].host + d * all, c, bytes);
}

static void steps_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    for (int64_t d = worker; d < j->v->directions; d += n_workers)
        run_direction(j, d);
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    job j = { d, s, c->own, args };
    gi_cpu_run(d, args->pool, inputs_part, &j);
    if (j.v->directions == 1)
        run_direction(&j, 0);
    else
        gi_cpu_run(d, args->pool, steps_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_recurrent = { .name = "recurrent", .prepare = prepare, .run = run, .packs = true };
