/* Transposed convolution in plain loops for one element type: define WORD and NAME(x) and include; no guard.
 *
 * `w` is the window of the convolution that it transposes: its input is our y, its output our x. Each row of x
 * is spread over the rows of y that its taps reach. */
static void NAME(spread_row)(int64_t n, WORD w, const WORD *x, WORD *y, int64_t step)
{
    if (step == 1)
        for (int64_t i = 0; i < n; i++)
            y[i] += w * x[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i * step] += w * x[i];
}

static void NAME(spread_plane)(const gi_window *w, const WORD *x, const WORD *weights, WORD *y)
{
    const int last = w->n - 1;
    const int64_t rows = gi_product(0, last, w->out), kx = w->kernel[last], outer_taps = gi_product(0, last, w->kernel);
    int64_t row[GI_WINDOW_MAX] = { 0 }, tap[GI_WINDOW_MAX] = { 0 };
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t t = 0; t < outer_taps; t++) {
            int64_t line;
            const bool inside = gi_window_line(w, row, tap, &line);
            for (int64_t k = 0; inside && k < kx; k++) {
                int64_t from, to;
                gi_window_range(w, last, k, &from, &to);
                NAME(spread_row)
                (to - from, weights[t * kx + k], x + r * w->out[last] + from,
                 y + line * w->in[last] + from * w->stride[last] + k * w->dilation[last] - w->begin[last],
                 w->stride[last]);
            }
            for (int d = last - 1; d >= 0 && ++tap[d] == w->kernel[d]; d--)
                tap[d] = 0;
        }
        for (int d = last - 1; d >= 0 && ++row[d] == w->out[d]; d--)
            row[d] = 0;
    }
}

static void NAME(conv_transpose)(const conv_shape *s, const WORD *x, const WORD *weights, const WORD *bias, WORD *y)
{
    const gi_window *w = &s->window;
    const int64_t size_y = gi_product(0, w->n, w->in), size_x = gi_product(0, w->n, w->out),
                  taps = gi_product(0, w->n, w->kernel), in = s->channels / s->groups, out = s->filters / s->groups;
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t f = 0; f < s->filters; f++) {
            const int64_t g = f / out, m = f % out;
            WORD *plane = y + (b * s->filters + f) * size_y;
            for (int64_t i = 0; i < size_y; i++)
                plane[i] = bias ? bias[f] : 0;
            for (int64_t c = g * in; c < (g + 1) * in; c++)
                NAME(spread_plane)(w, x + (b * s->channels + c) * size_x, weights + (c * out + m) * taps, plane);
        }
}
