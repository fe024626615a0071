/* Recurrent steps in plain loops for one element type: define WORD, NAME(x), MATH(x) (expf, exp …) and GEMM and
 * include; no guard. Rows run along hidden units, so the inner loops are contiguous. */
static void NAME(activate)(const activation *f, double clip, int64_t n, WORD *x)
{
    const WORD a = (WORD)f->alpha, b = (WORD)f->beta, top = (WORD)clip;
    if (clip > 0)
        for (int64_t i = 0; i < n; i++)
            x[i] = x[i] > top ? top : x[i] < -top ? -top : x[i];
    switch (f->kind) {
    case ACT_RELU:
        for (int64_t i = 0; i < n; i++)
            x[i] = x[i] <= 0 ? 0 : x[i]; /* a NaN stays, as in Relu */
        break;
    case ACT_TANH:
        for (int64_t i = 0; i < n; i++)
            x[i] = MATH(tanh)(x[i]);
        break;
    case ACT_SIGMOID:
        for (int64_t i = 0; i < n; i++)
            x[i] = 1 / (1 + MATH(exp)(-x[i]));
        break;
    case ACT_AFFINE:
        for (int64_t i = 0; i < n; i++)
            x[i] = a * x[i] + b;
        break;
    case ACT_LEAKY_RELU:
        for (int64_t i = 0; i < n; i++)
            x[i] = x[i] >= 0 ? x[i] : a * x[i];
        break;
    case ACT_THRESHOLDED_RELU:
        for (int64_t i = 0; i < n; i++)
            x[i] = x[i] >= a ? x[i] : 0;
        break;
    case ACT_SCALED_TANH:
        for (int64_t i = 0; i < n; i++)
            x[i] = a * MATH(tanh)(b * x[i]);
        break;
    case ACT_HARD_SIGMOID:
        for (int64_t i = 0; i < n; i++) {
            const WORD v = a * x[i] + b;
            x[i] = v < 0 ? 0 : v > 1 ? 1 : v;
        }
        break;
    case ACT_ELU:
        for (int64_t i = 0; i < n; i++)
            x[i] = x[i] >= 0 ? x[i] : a * (MATH(exp)(x[i]) - 1);
        break;
    case ACT_SOFTSIGN:
        for (int64_t i = 0; i < n; i++)
            x[i] = x[i] / (1 + MATH(fabs)(x[i]));
        break;
    case ACT_SOFTPLUS:
        for (int64_t i = 0; i < n; i++)
            x[i] = MATH(log1p)(MATH(exp)(-MATH(fabs)(x[i]))) + (x[i] > 0 ? x[i] : 0);
        break;
    }
}

static void NAME(rnn_row)(const recurrence *r, int d, WORD *gate, WORD *h)
{
    NAME(activate)(&r->act[d][0], r->clip, r->hidden, gate);
    memcpy(h, gate, (size_t)r->hidden * sizeof *h);
}

/* gate: z, r, h; `candidate` has what the recurrence adds to h where linear_before_reset, else nothing yet. */
static void NAME(gru_gates)(const recurrence *r, int d, WORD *gate)
{
    NAME(activate)(&r->act[d][0], r->clip, 2 * r->hidden, gate);
}

static void NAME(gru_row)(const recurrence *r, int d, WORD *gate, WORD *h)
{
    const int64_t n = r->hidden;
    const WORD *restrict z = gate, *restrict candidate = gate + 2 * n;
    NAME(activate)(&r->act[d][1], r->clip, n, gate + 2 * n);
    for (int64_t i = 0; i < n; i++)
        h[i] = (1 - z[i]) * candidate[i] + z[i] * h[i];
}

/* gate: i, o, f, c; peep: i, o, f, or NULL; out: room for one row. */
static void NAME(lstm_row)(const recurrence *r, int d, WORD *gate, const WORD *peep, WORD *cell, WORD *h)
{
    const int64_t n = r->hidden;
    WORD *in = gate, *out = gate + n, *forget = gate + 2 * n, *candidate = gate + 3 * n;
    for (int64_t i = 0; peep && i < n; i++) {
        in[i] += peep[i] * cell[i];
        forget[i] += peep[2 * n + i] * cell[i];
    }
    NAME(activate)(&r->act[d][0], r->clip, n, in);
    NAME(activate)(&r->act[d][0], r->clip, n, forget);
    NAME(activate)(&r->act[d][1], r->clip, n, candidate);
    for (int64_t i = 0; r->input_forget && i < n; i++)
        forget[i] = 1 - in[i];
    for (int64_t i = 0; i < n; i++)
        cell[i] = forget[i] * cell[i] + in[i] * candidate[i];
    for (int64_t i = 0; peep && i < n; i++)
        out[i] += peep[n + i] * cell[i];
    NAME(activate)(&r->act[d][0], r->clip, n, out);
    memcpy(h, cell, (size_t)n * sizeof *h);
    NAME(activate)(&r->act[d][2], r->clip, n, h);
    for (int64_t i = 0; i < n; i++)
        h[i] *= out[i];
}

/* The part of the gates that the previous state gives, for all rows of the batch. */
static void NAME(recur)(const recurrence *r, const WORD *state, const WORD *rt, const WORD *rb, WORD *gate,
                        WORD *candidate)
{
    const int64_t n = r->hidden, width = r->gates * n;
    if (r->kind != KIND_GRU) {
        GEMM(r->batch, width, n, state, n, rt, width, gate, width);
        return;
    }
    GEMM(r->batch, 2 * n, n, state, n, rt, width, gate, width);
    if (!r->linear_before_reset)
        return;
    for (int64_t b = 0; b < r->batch; b++)
        for (int64_t i = 0; i < n; i++)
            candidate[b * n + i] = rb ? rb[2 * n + i] : 0;
    GEMM(r->batch, n, n, state, n, rt + 2 * n, width, candidate, n);
}

/* GRU: the reset gate's part, added to the candidate's input. */
static void NAME(reset)(const recurrence *r, int d, const WORD *state, const WORD *rt, WORD *gate, WORD *candidate)
{
    const int64_t n = r->hidden, width = r->gates * n;
    for (int64_t b = 0; b < r->batch; b++) {
        WORD *row = gate + b * width;
        NAME(gru_gates)(r, d, row);
        for (int64_t i = 0; i < n; i++)
            if (r->linear_before_reset)
                row[2 * n + i] += row[n + i] * candidate[b * n + i];
            else
                candidate[b * n + i] = row[n + i] * state[b * n + i];
    }
    if (!r->linear_before_reset)
        GEMM(r->batch, n, n, candidate, n, rt + 2 * n, width, gate + 2 * n, width);
}

/* One direction. x: all inputs times W, with biases, [rows of X, gates · hidden]; state and cell [batch, hidden]
 * are updated in place; y may be NULL. */
static void NAME(run_direction)(const recurrence *r, int d, const WORD *x, const WORD *rt, const WORD *rb,
                                const WORD *peep, WORD *gate, WORD *candidate, WORD *state, WORD *cell, WORD *y)
{
    const int64_t n = r->hidden, width = r->gates * n;
    const bool backward = r->reverse || d == 1;
    for (int64_t s = 0; s < r->steps; s++) {
        for (int64_t b = 0; b < r->batch; b++) {
            const int64_t t = backward && s < r->length[b] ? r->length[b] - 1 - s : s;
            memcpy(gate + b * width, x + row_of(r, t, b) * width, (size_t)width * sizeof *gate);
        }
        NAME(recur)(r, state, rt, rb, gate, candidate);
        if (r->kind == KIND_GRU)
            NAME(reset)(r, d, state, rt, gate, candidate);
        for (int64_t b = 0; b < r->batch; b++) {
            if (s >= r->length[b])
                continue;
            WORD *h = state + b * n;
            if (r->kind == KIND_RNN)
                NAME(rnn_row)(r, d, gate + b * width, h);
            else if (r->kind == KIND_GRU)
                NAME(gru_row)(r, d, gate + b * width, h);
            else
                NAME(lstm_row)(r, d, gate + b * width, peep, cell + b * n, h);
            if (y)
                memcpy(y + place_in_y(r, backward ? r->length[b] - 1 - s : s, d, b), h, (size_t)n * sizeof *h);
        }
    }
}

/* X·Wᵀ with the biases that are added outside of any product. */
static void NAME(project)(const recurrence *r, const WORD *x, const WORD *wt, const WORD *bias, WORD *out)
{
    const int64_t rows = r->steps * r->batch, width = r->gates * r->hidden;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < width; j++) {
            const bool apart = r->kind == KIND_GRU && r->linear_before_reset && j >= 2 * r->hidden;
            out[i * width + j] = bias ? bias[j] + (apart ? 0 : bias[width + j]) : 0;
        }
    GEMM(rows, width, r->inputs, x, r->inputs, wt, width, out, width);
}
