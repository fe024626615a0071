/* Resampling of one axis in plain loops for one element type: define WORD and NAME(x) and include; no guard. */
static void NAME(resample)(const gi_resize_map *m, int64_t outer, int64_t inner, const WORD *x, WORD *y)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < m->out; k++) {
            WORD *row = y + (o * m->out + k) * inner;
            const WORD *from = x + o * m->in * inner;
            const double *weight = m->weight + k * m->taps;
            const int64_t *at = m->index + k * m->taps;
            for (int64_t i = 0; i < inner; i++)
                row[i] = m->outside[k] ? (WORD)m->fill : 0;
            for (int64_t t = 0; t < m->taps && !m->outside[k]; t++) {
                const WORD w = (WORD)weight[t], *tap = from + at[t] * inner;
                if (w == 0)
                    continue;
                for (int64_t i = 0; i < inner; i++)
                    row[i] += w * tap[i];
            }
        }
}
