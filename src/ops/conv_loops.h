/* Direct convolution in plain loops for one element type: define WORD, NAME(x) and GEMM and include; no guard.
 *
 * The inner loop runs along a row of y and x; rows of y stay in the first cache while channels and taps pass.
 * A 1×1 convolution without strides and pads is a matrix product and is made one. */
static void NAME(axpy_row)(int64_t n, WORD w, const WORD *x, int64_t step, WORD *y)
{
    if (step == 1)
        for (int64_t i = 0; i < n; i++)
            y[i] += w * x[i];
    else if (step == 2)
        for (int64_t i = 0; i < n; i++)
            y[i] += w * x[2 * i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] += w * x[i * step];
}

/* One row of y, from one channel of x and its taps: `row` is the row's place in the outer dimensions. */
static void NAME(conv_row)(const gi_window *w, const int64_t *row, const WORD *x, const WORD *weights, WORD *y)
{
    const int last = w->n - 1;
    const int64_t kx = w->kernel[last], outer_taps = gi_product(0, last, w->kernel);
    int64_t tap[GI_WINDOW_MAX] = { 0 };
    for (int64_t t = 0; t < outer_taps; t++) {
        int64_t line;
        const bool inside = gi_window_line(w, row, tap, &line);
        for (int64_t k = 0; inside && k < kx; k++) {
            int64_t from, to;
            gi_window_range(w, last, k, &from, &to);
            NAME(axpy_row)
            (to - from, weights[t * kx + k],
             x + line * w->in[last] + from * w->stride[last] + k * w->dilation[last] - w->begin[last], w->stride[last],
             y + from);
        }
        for (int d = last - 1; d >= 0 && ++tap[d] == w->kernel[d]; d--)
            tap[d] = 0;
    }
}

static void NAME(conv_plane)(const gi_window *w, int64_t channels, const WORD *x, const WORD *weights, WORD *y)
{
    const int last = w->n - 1;
    const int64_t rows = gi_product(0, last, w->out), size_x = gi_product(0, w->n, w->in),
                  taps = gi_product(0, w->n, w->kernel);
    int64_t row[GI_WINDOW_MAX] = { 0 };
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < channels; c++)
            NAME(conv_row)(w, row, x + c * size_x, weights + c * taps, y + r * w->out[last]);
        for (int d = last - 1; d >= 0 && ++row[d] == w->out[d]; d--)
            row[d] = 0;
    }
}

static void NAME(conv)(const conv_shape *s, const WORD *x, const WORD *weights, const WORD *bias, WORD *y)
{
    const gi_window *w = &s->window;
    const int64_t size_x = gi_product(0, w->n, w->in), size_y = gi_product(0, w->n, w->out),
                  taps = gi_product(0, w->n, w->kernel), in = s->channels / s->groups, out = s->filters / s->groups;
    for (int64_t b = 0; b < s->batch; b++)
        for (int64_t g = 0; g < s->groups; g++) {
            const WORD *xg = x + (b * s->channels + g * in) * size_x, *wg = weights + g * out * in * taps;
            WORD *yg = y + (b * s->filters + g * out) * size_y;
            for (int64_t m = 0; m < out; m++)
                for (int64_t i = 0; i < size_y; i++)
                    yg[m * size_y + i] = bias ? bias[g * out + m] : 0;
            if (s->pointwise)
                GEMM(out, size_y, in, wg, in, xg, size_y, yg, size_y);
            for (int64_t m = 0; m < out && !s->pointwise; m++)
                NAME(conv_plane)(w, in, xg, wg + m * in * taps, yg + m * size_y);
        }
}
