/* Attention in plain loops for one element type: define WORD, NAME(x), GEMM, TANH and SOFTMAX and include; no guard. */

/* The rows of a head, each times k, dense. */
static void NAME(gather)(const WORD *x, int64_t rows, int64_t step, int64_t n, WORD k, WORD *y)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            y[i * n + j] = x[i * step + j] * k;
}

/* The same turned: y[j][i] = x[i][j]. */
static void NAME(gather_turned)(const WORD *x, int64_t rows, int64_t step, int64_t n, WORD *y)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            y[j * rows + i] = x[i * step + j];
}

static void NAME(keep_scores)(const gi_attention *t, gi_scores now, const WORD *s, int64_t at)
{
    if (t->scores && t->scores_of == now)
        memcpy((WORD *)t->scores + at, s, (size_t)(t->queries * t->keys) * sizeof *s);
}

/* The softmax of n scores and one more, which is left out of it. */
static void NAME(soften_with_sink)(WORD *s, int64_t n, double sink)
{
    double most = sink, sum = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, (double)s[i]);
    for (int64_t i = 0; i < n; i++) {
        const double e = exp((double)s[i] - most);
        s[i] = (WORD)e;
        sum += e;
    }
    for (int64_t i = 0; i < n; i++)
        s[i] = (WORD)((double)s[i] / (sum + exp(sink - most)));
}

/* The scores of one head, up to the softmax. */
static void NAME(weigh)(const gi_attention *t, int64_t b, int64_t h, WORD *s)
{
    const int64_t n = t->queries * t->keys, at = (b * t->heads + h) * n;
    const WORD cap = (WORD)t->softcap;
    NAME(keep_scores)(t, GI_SCORES_RAW, s, at);
    for (int64_t i = 0; i < n && cap > 0; i++)
        s[i] = TANH(s[i] / cap) * cap;
    NAME(keep_scores)(t, GI_SCORES_CAPPED, s, at);
    for (int64_t i = 0; i < t->queries && t->bias; i++) {
        const WORD *bias = (const WORD *)t->bias + b * t->bias_steps[0] + h * t->bias_steps[1] + i * t->bias_steps[2];
        for (int64_t j = 0; j < t->keys; j++)
            s[i * t->keys + j] += bias[j];
    }
    NAME(keep_scores)(t, GI_SCORES_BIASED, s, at);
    for (int64_t i = 0; i < t->queries && t->keys > 0; i++)
        if (t->sinks)
            NAME(soften_with_sink)(s + i * t->keys, t->keys, t->sinks[h]);
        else
            SOFTMAX(s + i * t->keys, s + i * t->keys, t->keys);
    NAME(keep_scores)(t, GI_SCORES_SOFTMAX, s, at);
}

/* room: a head's q, keys turned, v, result and scores. */
static void NAME(attend)(const gi_attention *t, const WORD *q, const WORD *k, const WORD *v, WORD *y, WORD *room)
{
    WORD *qs = room, *ks = qs + t->queries * t->size, *vs = ks + t->keys * t->size, *ys = vs + t->keys * t->v_size,
         *s = ys + t->queries * t->v_size;
    const int64_t share = t->heads / t->kv_heads;
    for (int64_t b = 0; b < t->batch; b++)
        for (int64_t h = 0; h < t->heads; h++) {
            if (h % share == 0) {
                NAME(gather_turned)
                (k + b * t->k.batch + h / share * t->k.head, t->keys, t->k.token, t->size, ks);
                NAME(gather)
                (v + b * t->v.batch + h / share * t->v.head, t->keys, t->v.token, t->v_size, 1, vs);
            }
            NAME(gather)
            (q + b * t->q.batch + h * t->q.head, t->queries, t->q.token, t->size, (WORD)t->scale, qs);
            memset(s, 0, (size_t)(t->queries * t->keys) * sizeof *s);
            GEMM(t->queries, t->keys, t->size, qs, t->size, ks, t->keys, s, t->keys);
            NAME(weigh)(t, b, h, s);
            memset(ys, 0, (size_t)(t->queries * t->v_size) * sizeof *ys);
            GEMM(t->queries, t->v_size, t->keys, s, t->keys, vs, t->v_size, ys, t->v_size);
            for (int64_t i = 0; i < t->queries; i++)
                memcpy(y + b * t->y.batch + h * t->y.head + i * t->y.token, ys + i * t->v_size,
                       (size_t)t->v_size * sizeof *y);
        }
}

static void NAME(rotate)(const gi_rotary *r, const WORD *x, const WORD *cos, const WORD *sin, WORD *y)
{
    const int64_t half = r->rotary / 2, pair = r->interleaved ? 1 : half, step = r->interleaved ? 2 : 1;
    for (int64_t b = 0; b < r->batch; b++)
        for (int64_t t = 0; t < r->tokens; t++) {
            const int64_t row = r->rows ? r->rows[b * r->tokens + t] : b * r->tokens + t;
            const WORD *c = cos + row * half, *s = sin + row * half;
            for (int64_t h = 0; h < r->heads; h++) {
                const WORD *from = x + b * r->x.batch + h * r->x.head + t * r->x.token;
                WORD *to = y + b * r->y.batch + h * r->y.head + t * r->y.token;
                for (int64_t i = 0; i < half; i++) {
                    const WORD one = from[i * step], two = from[i * step + pair];
                    to[i * step] = one * c[i] - two * s[i];
                    to[i * step + pair] = one * s[i] + two * c[i];
                }
                for (int64_t i = 2 * half; i < r->size; i++)
                    to[i] = from[i];
            }
        }
}
