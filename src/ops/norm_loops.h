/* Normalization in plain loops for one element type: define WORD and NAME(x) and include; no guard. Moments are
 * taken in f64, the mean first and then the squares about it. */
GI_DEFINE_SUM(NAME(sum), WORD, v)
GI_DEFINE_SUM(NAME(sum_about), WORD, (v - m) * (v - m))

/* Mean (0 where only squares are asked for) and 1 / √(mean square about it + ε) of n elements. */
static moments NAME(moments_of)(const WORD *x, int64_t n, bool centred, double epsilon)
{
    moments r = { .mean = centred ? NAME(sum)(x, n, 0) / (double)n : 0 };
    r.inverse = 1 / sqrt(NAME(sum_about)(x, n, r.mean) / (double)n + epsilon);
    return r;
}

/* y = (x − mean) · k + b */
static void NAME(scale_row)(int64_t n, const WORD *x, WORD mean, WORD k, WORD b, WORD *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] - mean) * k + b;
}

/* y = (x − mean) · k · scale + b, elementwise scale and b; b may be NULL. */
static void NAME(scale_each)(int64_t n, const WORD *x, WORD mean, WORD k, const WORD *scale, const WORD *b, WORD *y)
{
    if (b)
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * k * scale[i] + b[i];
    else
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * k * scale[i];
}

/* Rows of n elements; scale and b hold one row, or as many elements as x where their step is n. */
static void NAME(norm_rows)(const gi_row_norm *r, const WORD *x, const WORD *scale, const WORD *b, WORD *y)
{
    for (int64_t i = 0; i < r->rows; i++) {
        const moments m = NAME(moments_of)(x + i * r->n, r->n, r->centred, r->epsilon);
        NAME(scale_each)
        (r->n, x + i * r->n, (WORD)m.mean, (WORD)m.inverse, scale + i * r->scale_step, b ? b + i * r->b_step : NULL,
         y + i * r->n);
        if (r->means)
            r->means[i] = m.mean;
        if (r->inverses)
            r->inverses[i] = m.inverse;
    }
}

/* Groups of channels of each sample, then a scale and shift a channel. */
static void NAME(norm_groups)(const group_norm *g, const WORD *x, const WORD *scale, const WORD *b, WORD *y)
{
    const int64_t per = g->channels / g->groups, n = per * g->plane;
    for (int64_t i = 0; i < g->batch * g->groups; i++) {
        const moments m = NAME(moments_of)(x + i * n, n, true, g->epsilon);
        for (int64_t c = 0; c < per; c++) {
            const int64_t channel = i % g->groups * per + c, at = i * n + c * g->plane;
            NAME(scale_row)
            (g->plane, x + at, (WORD)m.mean, (WORD)(m.inverse * (double)scale[channel]), b[channel], y + at);
        }
    }
}

static void NAME(batch_norm)(const group_norm *g, const double *mean, const double *var, const WORD *x,
                             const WORD *scale, const WORD *b, WORD *y)
{
    for (int64_t i = 0; i < g->batch * g->channels; i++) {
        const int64_t c = i % g->channels;
        const double k = (double)scale[c] / sqrt(var[c] + g->epsilon);
        NAME(scale_row)(g->plane, x + i * g->plane, (WORD)mean[c], (WORD)k, b[c], y + i * g->plane);
    }
}

/* Mean and variance of each channel over the batch and its planes. */
static void NAME(channel_moments)(const group_norm *g, const WORD *x, double *mean, double *var)
{
    const double n = (double)(g->batch * g->plane);
    for (int64_t c = 0; c < g->channels; c++) {
        mean[c] = var[c] = 0;
        for (int64_t i = 0; i < g->batch; i++)
            mean[c] += NAME(sum)(x + (i * g->channels + c) * g->plane, g->plane, 0);
        mean[c] /= n;
        for (int64_t i = 0; i < g->batch; i++)
            var[c] += NAME(sum_about)(x + (i * g->channels + c) * g->plane, g->plane, mean[c]);
        var[c] /= n;
    }
}
