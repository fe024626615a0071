/* Pooling in plain loops for one element type: define WORD, NAME(x), POW and ABS and include; no guard.
 *
 * As in convolution, each tap is applied to a whole row of y at once. */
static void NAME(pool_row)(pool_kind kind, WORD p, int64_t n, const WORD *x, int64_t step, WORD *y)
{
    switch (kind) {
    case POOL_MAX: /* a NaN stays: nothing is larger */
        if (step == 1)
            for (int64_t i = 0; i < n; i++)
                y[i] = x[i] > y[i] || x[i] != x[i] ? x[i] : y[i];
        else
            for (int64_t i = 0; i < n; i++)
                y[i] = x[i * step] > y[i] || x[i * step] != x[i * step] ? x[i * step] : y[i];
        break;
    case POOL_SUM:
        for (int64_t i = 0; i < n; i++)
            y[i] += x[i * step];
        break;
    case POOL_LP:
        if (p == 2)
            for (int64_t i = 0; i < n; i++)
                y[i] += x[i * step] * x[i * step];
        else
            for (int64_t i = 0; i < n; i++)
                y[i] += POW(ABS(x[i * step]), p);
        break;
    }
}

/* The taps of one row of y, whose place in the outer dimensions is `row`; returns how many lines of taps lie
 * inside the input. */
static int64_t NAME(pool_taps)(pool_kind kind, WORD p, const gi_window *w, const int64_t *row, const WORD *x, WORD *y)
{
    const int last = w->n - 1;
    const int64_t kx = w->kernel[last], outer_taps = gi_product(0, last, w->kernel);
    int64_t tap[GI_WINDOW_MAX] = { 0 }, lines = 0;
    for (int64_t t = 0; t < outer_taps; t++) {
        int64_t line;
        const bool inside = gi_window_line(w, row, tap, &line);
        lines += inside;
        for (int64_t k = 0; inside && k < kx; k++) {
            int64_t from, to;
            gi_window_range(w, last, k, &from, &to);
            NAME(pool_row)
            (kind, p, to - from,
             x + line * w->in[last] + from * w->stride[last] + k * w->dilation[last] - w->begin[last], w->stride[last],
             y + from);
        }
        for (int d = last - 1; d >= 0 && ++tap[d] == w->kernel[d]; d--)
            tap[d] = 0;
    }
    return lines;
}

static void NAME(pool_plane)(const pool *s, const WORD *x, WORD *y)
{
    const gi_window *w = &s->window;
    const int last = w->n - 1;
    const int64_t rows = gi_product(0, last, w->out), width = w->out[last];
    int64_t row[GI_WINDOW_MAX] = { 0 };
    for (int64_t r = 0; r < rows; r++, y += width) {
        for (int64_t i = 0; i < width; i++)
            y[i] = s->kind == POOL_MAX ? (WORD)s->lowest : 0;
        int64_t lines = NAME(pool_taps)(s->kind, (WORD)s->p, w, row, x, y);
        if (s->kind == POOL_LP)
            for (int64_t i = 0; i < width; i++)
                y[i] = s->p == 2 ? SQRT(y[i]) : POW(y[i], 1 / (WORD)s->p);
        if (s->kind == POOL_SUM) {
            if (s->include_pad)
                lines = padded_lines(w, row);
            for (int64_t i = 0; i < width; i++)
                y[i] = lines && s->count[i] ? y[i] / (WORD)(lines * s->count[i]) : 0;
        }
        for (int d = last - 1; d >= 0 && ++row[d] == w->out[d]; d--)
            row[d] = 0;
    }
}
