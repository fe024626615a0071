/* Recurrent layers, whole and one step at a time.
 *
 * PyTorch keeps gates in the order i f g o (LSTM) and r z n (GRU), a layer a pair of weights for each direction; ONNX has
 * i o f c and z r h, both directions in one tensor. */
#include "aten/ops/pointwise.h"

enum { LSTM, GRU, RNN }; /* row->arg */

static const int lstm_order[] = { 0, 3, 1, 2 }, gru_order[] = { 1, 0, 2 }, rnn_order[] = { 0 };

typedef struct layers {
    int kind, gates;
    const int *order;
    int64_t n, hidden;
    bool biases, both, batch_first, batched;
    gi_value **params;
    uint32_t per; /* parameters of one direction */
} layers;

/* Rows of gates in ONNX's order. */
static gi_value *ordered(gi_aten *a, const layers *l, gi_value *w)
{
    gi_value *parts[4];
    for (int i = 0; i < l->gates; i++)
        parts[i] =
            l->gates == 1 ? w : gi_aten_slice(a, w, 0, l->order[i] * l->hidden, (l->order[i] + 1) * l->hidden, 1);
    return l->gates == 1 ? w : gi_aten_concat(a, (uint32_t)l->gates, parts, 0);
}

/* Parameter k of a layer, both directions: [directions, …]. */
static gi_value *weights(gi_aten *a, const layers *l, int64_t layer, uint32_t k)
{
    static const int64_t first[] = { 0 };
    gi_value *parts[2];
    const uint32_t directions = l->both ? 2 : 1;
    for (uint32_t d = 0; d < directions; d++) {
        const uint64_t at = ((uint64_t)layer * directions + d) * l->per + k;
        parts[d] = gi_aten_unsqueeze(a, ordered(a, l, l->params[at]), 1, first);
    }
    return directions == 2 ? gi_aten_concat(a, 2, parts, 0) : parts[0];
}

/* The states of a layer: a part of what is given for all. */
static gi_value *states(gi_aten *a, const layers *l, gi_value *all, int64_t layer)
{
    const int64_t d = l->both ? 2 : 1;
    return l->n == 1 ? all : gi_aten_slice(a, all, 0, layer * d, (layer + 1) * d, 1);
}

static bool read(gi_aten *a, layers *l)
{
    uint32_t n;
    double dropout;
    bool train;
    gopt_dtype t;
    if (gi_aten_has(a, "batch_sizes"))
        return gi_aten_decline(a, "packed sequences have no form in ONNX: give it a padded tensor");
    if (!gi_aten_tensors(a, "params", &n, &l->params) || !gi_aten_bool(a, "has_biases", &l->biases) ||
        !gi_aten_int(a, "num_layers", &l->n) || !gi_aten_bool(a, "bidirectional", &l->both) ||
        !gi_aten_bool(a, "batch_first", &l->batch_first) || !gi_aten_float(a, "dropout", &dropout) ||
        !gi_aten_bool(a, "train", &train))
        return false;
    l->per = l->biases ? 4 : 2;
    const int64_t d = l->both ? 2 : 1;
    if (train && dropout > 0)
        return gi_aten_decline(a, "it is of training: call model.eval() before exporting");
    const int64_t takes = l->n >= 1 && l->n <= 1 << 10 ? l->n * d * l->per : -1;
    if (takes != (int64_t)n)
        return gi_aten_decline(a, "it has %u parameters, %lld layers take %lld (a projection is not brought to ONNX)",
                               n, (long long)l->n, (long long)takes);
    return gi_aten_dtype_of(a, l->params[0], &t) && gi_aten_dim_const(a, l->params[1], 1, &l->hidden);
}

/* One layer over [steps, batch, …]; its result in the same form, and its last states. */
static gi_node *layer(gi_aten *a, const layers *l, gi_value *x, int64_t i, gi_value *h, gi_value *c)
{
    static const gi_opcode ops[] = { OP_LSTM, OP_GRU, OP_RNN };
    gi_value *b = NULL;
    if (l->biases) {
        gi_value *two[2] = { weights(a, l, i, 2), weights(a, l, i, 3) };
        b = gi_aten_concat(a, 2, two, 1);
    }
    gi_value *in[7] = { x,
                        weights(a, l, i, 0),
                        weights(a, l, i, 1),
                        b,
                        NULL,
                        states(a, l, h, i),
                        l->kind == LSTM ? states(a, l, c, i) : NULL };
    if (!in[0] || !in[1] || !in[2] || (l->biases && !b) || !in[5] || (l->kind == LSTM && !in[6]))
        return NULL;
    const char *more = l->kind == GRU ? ", linear_before_reset = 1" : "";
    if (l->kind == RNN && !strcmp(a->row->name, "rnn_relu"))
        more = l->both ? ", activations = [\"Relu\",\"Relu\"]" : ", activations = [\"Relu\"]";
    return gi_aten_node(a, ops[l->kind], l->kind == LSTM ? 7 : 6, in, l->kind == LSTM ? 3 : 2,
                        "hidden_size = %lld, direction = \"%s\"%s", (long long)l->hidden,
                        l->both ? "bidirectional" : "forward", more);
}

static gi_value *swap_first(gi_aten *a, gi_value *x)
{
    static const int64_t perm[] = { 1, 0, 2 };
    return gi_aten_transpose(a, x, 3, perm);
}

bool gi_aten_recurrent(gi_aten *a)
{
    static const int64_t middle[] = { 1 }, turn[] = { 0, 2, 1, 3 };
    layers l = { .kind = a->row->arg };
    l.gates = l.kind == LSTM ? 4 : l.kind == GRU ? 3 : 1;
    l.order = l.kind == LSTM ? lstm_order : l.kind == GRU ? gru_order : rnn_order;
    gi_value *x = gi_aten_tensor(a, "input"), *h = gi_aten_tensor(a, "hx"), *c = NULL, **hx;
    int rank;
    uint32_t n = 0;
    if (!read(a, &l) || !gi_aten_rank(a, x, &rank))
        return false;
    if (l.kind == LSTM) {
        if (!gi_aten_tensors(a, "hx", &n, &hx) || n != 2)
            return gi_aten_decline(a, "its hx has %u tensors, expected 2", n);
        h = hx[0];
        c = hx[1];
    }
    if (rank != 2 && rank != 3)
        return gi_aten_decline(a, "its input has rank %d, expected 2 or 3", rank);
    l.batched = rank == 3;
    if (!l.batched) {
        x = gi_aten_unsqueeze(a, x, 1, middle);
        h = gi_aten_unsqueeze(a, h, 1, middle);
        c = c ? gi_aten_unsqueeze(a, c, 1, middle) : NULL;
    } else if (l.batch_first) {
        x = swap_first(a, x);
    }
    gi_value **last_h = GI_NEW_ARRAY(a->scratch, gi_value *, l.n), **last_c = GI_NEW_ARRAY(a->scratch, gi_value *, l.n);
    if (!last_h || !last_c)
        return false;
    const int64_t joined[3] = { 0, 0, l.hidden * (l.both ? 2 : 1) };
    for (int64_t i = 0; i < l.n; i++) {
        gi_node *y = layer(a, &l, x, i, h, c);
        if (!y)
            return false;
        x = l.both ? gi_aten_reshape(a, gi_aten_transpose(a, y->out[0], 4, turn), 3, joined)
                   : gi_aten_squeeze(a, y->out[0], 1, middle);
        last_h[i] = y->out[1];
        last_c[i] = l.kind == LSTM ? y->out[2] : NULL;
    }
    gi_value *hn = l.n > 1 ? gi_aten_concat(a, (uint32_t)l.n, last_h, 0) : last_h[0];
    gi_value *cn = l.kind != LSTM ? NULL : l.n > 1 ? gi_aten_concat(a, (uint32_t)l.n, last_c, 0) : last_c[0];
    if (!l.batched) {
        x = gi_aten_squeeze(a, x, 1, middle);
        hn = gi_aten_squeeze(a, hn, 1, middle);
        cn = cn ? gi_aten_squeeze(a, cn, 1, middle) : NULL;
    } else if (l.batch_first) {
        x = swap_first(a, x);
    }
    return gi_aten_return(a, 0, x) && gi_aten_return(a, 1, hn) && (l.kind != LSTM || gi_aten_return(a, 2, cn));
}

/* ---- one step ---- */

/* x · wᵀ + b */
static gi_value *product(gi_aten *a, gi_value *x, gi_value *w, gi_value *b)
{
    return x && w ? gi_aten_make(a, OP_Gemm, b ? 3 : 2, (gi_value *[]){ x, w, b }, "transB = 1") : NULL;
}

static bool split(gi_aten *a, gi_value *x, uint32_t n, gi_value **parts)
{
    gi_node *s = x ? gi_aten_node(a, OP_Split, 1, &x, n, "axis = 1, num_outputs = %u", n) : NULL;
    for (uint32_t i = 0; s && i < n; i++)
        parts[i] = s->out[i];
    return s != NULL;
}

bool gi_aten_cell(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *h = gi_aten_tensor(a, "hx"), *c = NULL, **hx, *g[4], *k[3];
    uint32_t n = 0;
    int rank;
    if (a->row->arg == LSTM) {
        if (!gi_aten_tensors(a, "hx", &n, &hx) || n != 2)
            return gi_aten_decline(a, "its hx has %u tensors, expected 2", n);
        h = hx[0];
        c = hx[1];
    }
    if (!gi_aten_rank(a, x, &rank))
        return false;
    if (rank != 2)
        return gi_aten_decline(a, "its input has rank %d, expected 2", rank);
    gi_value *from_x = product(a, x, gi_aten_tensor(a, "w_ih"), gi_aten_tensor(a, "b_ih"));
    gi_value *from_h = product(a, h, gi_aten_tensor(a, "w_hh"), gi_aten_tensor(a, "b_hh"));
    if (a->row->arg == RNN)
        return gi_aten_return(a, 0,
                              gi_aten_1(a, strcmp(a->row->name, "rnn_relu_cell") ? OP_Tanh : OP_Relu,
                                        gi_aten_2(a, OP_Add, from_x, from_h)));
    if (a->row->arg == GRU) {
        if (!split(a, from_x, 3, g) || !split(a, from_h, 3, k))
            return false;
        gi_value *r = gi_aten_1(a, OP_Sigmoid, gi_aten_2(a, OP_Add, g[0], k[0])),
                 *z = gi_aten_1(a, OP_Sigmoid, gi_aten_2(a, OP_Add, g[1], k[1]));
        gi_value *m = gi_aten_1(a, OP_Tanh, gi_aten_2(a, OP_Add, g[2], gi_aten_2(a, OP_Mul, r, k[2])));
        return gi_aten_return(a, 0, gi_aten_2(a, OP_Add, m, gi_aten_2(a, OP_Mul, z, gi_aten_2(a, OP_Sub, h, m))));
    }
    if (!split(a, gi_aten_2(a, OP_Add, from_x, from_h), 4, g))
        return false;
    gi_value *kept = gi_aten_2(a, OP_Mul, gi_aten_1(a, OP_Sigmoid, g[1]), c);
    gi_value *cn =
        gi_aten_2(a, OP_Add, kept, gi_aten_2(a, OP_Mul, gi_aten_1(a, OP_Sigmoid, g[0]), gi_aten_1(a, OP_Tanh, g[2])));
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Mul, gi_aten_1(a, OP_Sigmoid, g[3]), gi_aten_1(a, OP_Tanh, cn))) &&
           gi_aten_return(a, 1, cn);
}
