/* DFT, STFT, the windows and MelWeightMatrix. Transforms are computed in double. */
#include <math.h>

#include "ops/fft.h"
#include "ops/move.h"
#include "ops/real.h"

#define PI 3.14159265358979323846

static const gopt_tensor *input(const gi_eval *a, uint32_t i)
{
    return i < a->n_in ? a->in[i] : NULL;
}

/* ---- sizes given as inputs ---- */

/* The one integer that an input holds, as a dim; NULL where it is absent or nothing is known of it. */
static const gi_dim *size_of(gi_infer *c, uint32_t in)
{
    uint32_t n;
    const gi_dim *const *v = gi_contents(c, in, &n);
    return v && n == 1 && !gi_dim_is_unknown(v[0]) ? v[0] : NULL;
}

static gopt_status infer_integer(const gi_infer *c, uint32_t in)
{
    const gopt_dtype t = gi_infer_has(c, in) ? gi_infer_dtype(c, in) : GOPT_UNDEFINED;
    return t == GOPT_UNDEFINED || t == GOPT_I32 || t == GOPT_I64 ? GOPT_OK
                                                                 : gi_infer_fail(c, in, "expected i32 or i64");
}

/* The one integer of an input, at least `least`. */
static gopt_status read_size(const gi_eval *a, uint32_t in, int64_t least, int64_t *v)
{
    const gopt_tensor *t = input(a, in);
    if (!t || !gi_dtype_is_int(t->dtype) || gopt_tensor_elements(t) != 1)
        return gi_eval_fail(a, (int)in, "expected one integer");
    *v = gi_tensor_i64(t, 0);
    if (*v < least)
        return gi_eval_fail(a, (int)in, "is %lld, expected at least %lld", (long long)*v, (long long)least);
    return GOPT_OK;
}

/* ---- elements ---- */

static double get(gopt_dtype real, const void *p, int64_t i)
{
    return real == GOPT_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void put(const gi_real *y, int64_t i, double v)
{
    if (y->real == GOPT_F64)
        ((double *)y->p)[i] = v;
    else
        ((float *)y->p)[i] = (float)v;
}

/* ---- DFT ---- */

enum { SIGNAL = DFT_in_input, LENGTH = DFT_in_dft_length, AXIS = DFT_in_axis };

/* The half of a spectrum of n that tells all of it, where the signal is real. */
static const gi_dim *half_dim(gi_dims *t, const gi_dim *n)
{
    return gi_dim_add(t, gi_dim_floordiv(t, n, gi_dim_const(t, 2)), gi_dim_const(t, 1));
}

static bool is_inverse(const gi_node *n)
{
    return gi_attr_int(n, DFT_at_inverse) != 0;
}

static bool is_onesided(const gi_node *n)
{
    return gi_attr_int(n, DFT_at_onesided) != 0;
}

/* The last dim: real or complex, as the node needs it. */
static const char *last_expected(const gi_node *n)
{
    return !is_onesided(n) ? "a last dimension of 1 (real) or 2 (complex)"
           : is_inverse(n) ? "a last dimension of 2: half a spectrum is complex"
                           : "a last dimension of 1: a signal with half a spectrum is real";
}

static bool last_fits(const gi_node *n, int64_t last)
{
    return is_onesided(n) ? last == (is_inverse(n) ? 2 : 1) : last == 1 || last == 2;
}

static gopt_status infer_dft(gi_infer *c)
{
    gi_dims *t = c->g->dims;
    const gi_dim *dims[GOPT_MAX_RANK];
    const int rank = gi_dims_of(c, SIGNAL, dims);
    const gopt_dtype dtype = gi_infer_dtype(c, SIGNAL);
    int64_t last, axis = -2;
    int at;
    GI_TRY(infer_integer(c, LENGTH));
    GI_TRY(infer_integer(c, AXIS));
    if (rank < 0)
        return gi_set(c, 0, dtype, -1, NULL);
    GI_TRY(gi_infer_want_rank_at_least(c, SIGNAL, 2));
    if (gi_dim_is_const(dims[rank - 1], &last) && !last_fits(c->n, last))
        return gi_infer_fail(c, SIGNAL, "expected %s", last_expected(c->n));
    dims[rank - 1] = gi_dim_const(t, is_onesided(c->n) && is_inverse(c->n) ? 1 : 2);
    const gi_dim *which = size_of(c, AXIS);
    if (gi_infer_has(c, AXIS) && (!which || !gi_dim_is_const(which, &axis))) {
        for (int i = 0; i < rank - 1; i++)
            dims[i] = gi_dim_unknown(t, true);
        return gi_set(c, 0, dtype, rank, dims);
    }
    if (!gi_axis(axis, rank, &at) || at == rank - 1)
        return gi_infer_fail_node(c,
                                  "axis %lld is none of the %d before the last, which holds real and imaginary parts",
                                  (long long)axis, rank - 1);
    const gi_dim *length = size_of(c, LENGTH), *two = gi_dim_const(t, 2);
    GI_NEED(two);
    if (!gi_infer_has(c, LENGTH))
        length = is_onesided(c->n) && is_inverse(c->n) ? gi_dim_mul(t, two, gi_dim_sub(t, dims[at], gi_dim_const(t, 1)))
                                                       : dims[at];
    else if (!length)
        length = gi_dim_unknown(t, true);
    GI_NEED(length);
    int64_t n;
    if (gi_dim_is_const(length, &n) && n < 1)
        return gi_infer_fail_node(c, "the transform has a length of %lld, expected 1 or more", (long long)n);
    dims[at] = is_onesided(c->n) && !is_inverse(c->n) ? half_dim(t, length) : length;
    return gi_set(c, 0, dtype, rank, dims);
}

/* Lines of a tensor along an axis: [outer, n, inner, parts]. */
typedef struct lines {
    int64_t outer, n, inner, parts;
} lines;

/* The first n elements of a line, zeros behind its end; what half a spectrum leaves out mirrored. */
static void read_line(const lines *s, gopt_dtype real, const void *x, int64_t o, int64_t i, bool mirrored, int64_t n,
                      double *to)
{
    const int64_t given = gi_min_i64(s->n, mirrored ? n / 2 + 1 : n);
    memset(to, 0, (size_t)(2 * n) * sizeof *to);
    for (int64_t k = 0; k < given; k++) {
        const int64_t at = ((o * s->n + k) * s->inner + i) * s->parts;
        to[2 * k] = get(real, x, at);
        to[2 * k + 1] = s->parts == 2 ? get(real, x, at + 1) : 0;
    }
    for (int64_t k = 1; mirrored && k < (n + 1) / 2; k++) {
        to[2 * (n - k)] = to[2 * k];
        to[2 * (n - k) + 1] = -to[2 * k + 1];
    }
    if (mirrored) { /* these are their own mirror images, so real */
        to[1] = 0;
        if (n % 2 == 0)
            to[n + 1] = 0;
    }
}

static gopt_status read_axis(const gi_eval *a, int *at)
{
    const int rank = a->in[SIGNAL]->rank;
    int64_t axis = -2;
    if (input(a, AXIS))
        GI_TRY(read_size(a, AXIS, INT64_MIN, &axis));
    if (!gi_axis(axis, rank, at) || *at == rank - 1)
        return gi_eval_fail(a, AXIS, "is %lld, none of the %d axes before the last", (long long)axis, rank - 1);
    return GOPT_OK;
}

static gopt_status eval_dft(gi_eval *a)
{
    const bool inverse = is_inverse(a->n), onesided = is_onesided(a->n), real_result = inverse && onesided;
    int64_t dims[GOPT_MAX_RANK], n;
    int at = 0;
    const void *p;
    gi_real y;
    GI_TRY(gi_eval_rank_at_least(a, SIGNAL, 2));
    const gopt_tensor *x = a->in[SIGNAL];
    const int last = x->rank - 1;
    if (!last_fits(a->n, x->dims[last]))
        return gi_eval_fail(a, SIGNAL, "expected %s, found %lld", last_expected(a->n), (long long)x->dims[last]);
    GI_TRY(read_axis(a, &at));
    if (input(a, LENGTH))
        GI_TRY(read_size(a, LENGTH, 1, &n));
    else
        n = real_result ? 2 * (x->dims[at] - 1) : x->dims[at];
    if (n < 1)
        return gi_eval_fail(a, SIGNAL, "has %lld elements along axis %d: the transform would have none",
                            (long long)x->dims[at], at);
    const lines from = { gi_product(0, at, x->dims), x->dims[at], gi_product(at + 1, last, x->dims), x->dims[last] };
    const lines to = { from.outer, onesided && !inverse ? n / 2 + 1 : n, from.inner, real_result ? 1 : 2 };
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[at] = to.n;
    dims[last] = to.parts;
    GI_TRY(gi_real_in(a, SIGNAL, gi_real_of(x->dtype), &p));
    GI_TRY(gi_real_out(a, 0, x->dtype, x->rank, dims, &y));
    if (!y.p || to.outer * to.inner == 0)
        return GOPT_OK;
    gi_fft *fft = gi_fft_create(a->scratch, n, inverse);
    double *line = gi_eval_scratch(a, (size_t)n, 2 * sizeof *line);
    GI_NEED(fft && line);
    const double scale = inverse ? 1 / (double)n : 1;
    for (int64_t o = 0; o < to.outer; o++)
        for (int64_t i = 0; i < to.inner; i++) {
            read_line(&from, y.real, p, o, i, real_result, n, line);
            gi_fft_run(fft, line);
            for (int64_t k = 0; k < to.n; k++)
                for (int64_t c = 0; c < to.parts; c++)
                    put(&y, ((o * to.n + k) * to.inner + i) * to.parts + c, line[2 * k + c] * scale);
        }
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- STFT ---- */

/* The signal is [batch, length, 1 or 2]; [batch, length], as PyTorch writes it, is real. */
static gopt_status infer_stft(gi_infer *c)
{
    gi_dims *t = c->g->dims;
    const int rank = gi_infer_rank(c, STFT_in_signal);
    const gopt_dtype dtype = gi_infer_dtype(c, STFT_in_signal);
    int64_t v;
    GI_TRY(infer_integer(c, STFT_in_frame_step));
    GI_TRY(infer_integer(c, STFT_in_frame_length));
    if (rank >= 0 && rank != 2 && rank != 3)
        return gi_infer_fail(c, STFT_in_signal, "expected rank 3: batch, length, and 1 (real) or 2 (complex)");
    if (rank == 3 && gi_dim_is_const(gi_infer_dim(c, STFT_in_signal, 2), &v) && v != 1 && v != 2)
        return gi_infer_fail(c, STFT_in_signal, "expected a last dimension of 1 (real) or 2 (complex)");
    const gi_dim *step = size_of(c, STFT_in_frame_step), *length = size_of(c, STFT_in_frame_length);
    const gi_dim *samples = gi_infer_dim(c, STFT_in_signal, 1), *two = gi_dim_const(t, 2);
    if (gi_infer_has(c, STFT_in_window)) {
        GI_TRY(gi_infer_want_rank(c, STFT_in_window, 1));
        GI_TRY(gi_infer_want_dtype(c, STFT_in_window, STFT_in_signal));
    }
    if (!gi_infer_has(c, STFT_in_frame_length))
        length = gi_infer_has(c, STFT_in_window) ? gi_infer_dim(c, STFT_in_window, 0) : samples;
    if (step && gi_dim_is_const(step, &v) && v < 1)
        return gi_infer_fail_node(c, "frames are %lld apart, expected 1 or more", (long long)v);
    if (length && gi_dim_is_const(length, &v) && v < 1)
        return gi_infer_fail_node(c, "a frame has %lld samples, expected 1 or more", (long long)v);
    const gi_dim *frames = gi_dim_unknown(t, true), *bins = frames;
    if (length && step && rank >= 0) {
        const gi_dim *over = gi_dim_sub(t, samples, length);
        if (gi_dim_is_const(over, &v) && v < 0)
            return gi_infer_fail(c, STFT_in_signal, "expected at least the samples of one frame");
        frames = gi_dim_add(t, gi_dim_floordiv(t, over, step), gi_dim_const(t, 1));
    }
    bins = !length ? gi_dim_unknown(t, true) : gi_attr_int(c->n, STFT_at_onesided) ? half_dim(t, length) : length;
    return gi_set(c, 0, dtype, 4, (const gi_dim *[]){ gi_infer_dim(c, STFT_in_signal, 0), frames, bins, two });
}

static gopt_status frame_length(const gi_eval *a, int64_t samples, int64_t *n)
{
    if (input(a, STFT_in_frame_length))
        return read_size(a, STFT_in_frame_length, 1, n);
    *n = input(a, STFT_in_window) ? a->in[STFT_in_window]->dims[0] : samples;
    return *n < 1 ? gi_eval_fail(a, STFT_in_signal, "gives frames of no samples") : GOPT_OK;
}

static gopt_status eval_stft(gi_eval *a)
{
    const gopt_tensor *x = a->in[STFT_in_signal], *w = input(a, STFT_in_window);
    const void *p, *window;
    int64_t step, n;
    gi_real y;
    if ((x->rank != 2 && x->rank != 3) || (x->rank == 3 && x->dims[2] != 1 && x->dims[2] != 2))
        return gi_eval_fail(a, STFT_in_signal, "expected rank 3 and a last dimension of 1 (real) or 2 (complex)");
    if (w)
        GI_TRY(gi_eval_rank(a, STFT_in_window, 1));
    GI_TRY(read_size(a, STFT_in_frame_step, 1, &step));
    GI_TRY(frame_length(a, x->dims[1], &n));
    if (n > x->dims[1])
        return gi_eval_fail(a, STFT_in_signal, "has %lld samples, fewer than the %lld of a frame",
                            (long long)x->dims[1], (long long)n);
    const int64_t parts = x->rank == 3 ? x->dims[2] : 1, frames = (x->dims[1] - n) / step + 1;
    const int64_t bins = gi_attr_int(a->n, STFT_at_onesided) ? n / 2 + 1 : n, weighed = w ? w->dims[0] : n;
    GI_TRY(gi_real_in(a, STFT_in_signal, gi_real_of(x->dtype), &p));
    GI_TRY(gi_real_in(a, STFT_in_window, gi_real_of(x->dtype), &window));
    GI_TRY(gi_real_out(a, 0, x->dtype, 4, (int64_t[]){ x->dims[0], frames, bins, 2 }, &y));
    if (!y.p || x->dims[0] == 0)
        return GOPT_OK;
    gi_fft *fft = gi_fft_create(a->scratch, n, false);
    double *frame = gi_eval_scratch(a, (size_t)n, 2 * sizeof *frame);
    GI_NEED(fft && frame);
    for (int64_t f = 0; f < x->dims[0] * frames; f++) {
        const int64_t first = f / frames * x->dims[1] + f % frames * step;
        for (int64_t k = 0; k < n; k++) {
            const double by = !w ? 1 : k < weighed ? get(y.real, window, k) : 0;
            frame[2 * k] = get(y.real, p, (first + k) * parts) * by;
            frame[2 * k + 1] = parts == 2 ? get(y.real, p, (first + k) * parts + 1) * by : 0;
        }
        gi_fft_run(fft, frame);
        for (int64_t k = 0; k < 2 * bins; k++)
            put(&y, f * 2 * bins + k, frame[k]);
    }
    gi_real_store(&y);
    return GOPT_OK;
}

/* ---- results of any numeric type ---- */

static bool is_number(int64_t t)
{
    return t > 0 && t < GOPT_DTYPE_COUNT &&
           (gi_dtype_is_int((gopt_dtype)t) || gi_dtype_class((gopt_dtype)t) == GI_FLOAT) &&
           gopt_dtype_bits((gopt_dtype)t) >= 8 &&
           !(gi_dtype_is_float((gopt_dtype)t) && gopt_dtype_bits((gopt_dtype)t) < 16);
}

static gopt_status infer_number(const gi_infer *c, int64_t t)
{
    return is_number(t)
               ? GOPT_OK
               : gi_infer_fail_node(c, "attribute output_datatype is %lld, which is no type of numbers", (long long)t);
}

/* Output 0, to be filled as f64: what it has behind the point is cut off where it is an integer. */
static gopt_status number_out(gi_eval *a, int64_t t, int rank, const int64_t *dims, gi_real *y)
{
    if (!is_number(t))
        return gi_eval_fail(a, -1, "attribute output_datatype is %lld, which is no type of numbers", (long long)t);
    return gi_real_out_as(a, 0, (gopt_dtype)t, GOPT_F64, rank, dims, y);
}

static void store_number(const gi_real *y)
{
    const int64_t n = gopt_tensor_elements(y->t);
    for (int64_t i = 0; i < n && gi_dtype_is_int(y->t->dtype); i++)
        ((double *)y->p)[i] = trunc(((double *)y->p)[i]);
    gi_real_store(y);
}

/* ---- windows ---- */

/* w[k] = Σ terms[j] cos(j · 2πk/n) */
static const double *window_terms(const gi_node *n)
{
    static const double hann[] = { 0.5, -0.5, 0 }, hamming[] = { 25.0 / 46, -21.0 / 46, 0 },
                        blackman[] = { 0.42, -0.5, 0.08 };
    return n->op == OP_HannWindow ? hann : n->op == OP_HammingWindow ? hamming : blackman;
}

/* The three have the same attributes. */
_Static_assert((int)HannWindow_at_periodic == (int)BlackmanWindow_at_periodic &&
                   (int)HammingWindow_at_periodic == (int)BlackmanWindow_at_periodic &&
                   (int)HannWindow_at_output_datatype == (int)BlackmanWindow_at_output_datatype &&
                   (int)HammingWindow_at_output_datatype == (int)BlackmanWindow_at_output_datatype,
               "the windows are alike");

static gopt_status infer_window(gi_infer *c)
{
    const int64_t t = gi_attr_int(c->n, HannWindow_at_output_datatype);
    const gi_dim *size = size_of(c, 0);
    int64_t n;
    GI_TRY(infer_integer(c, 0));
    GI_TRY(infer_number(c, t));
    if (size && gi_dim_is_const(size, &n) && n < 0)
        return gi_infer_fail(c, 0, "expected 0 or more");
    return gi_set(c, 0, (gopt_dtype)t, 1, (const gi_dim *[]){ size ? size : gi_dim_unknown(c->g->dims, true) });
}

/* A window of one sample that is not periodic is 0/0, as the formula and other runtimes have it. */
static gopt_status eval_window(gi_eval *a)
{
    const double *terms = window_terms(a->n);
    int64_t size;
    gi_real y;
    GI_TRY(read_size(a, 0, 0, &size));
    const double n = (double)(gi_attr_int(a->n, HannWindow_at_periodic) ? size : size - 1);
    GI_TRY(number_out(a, gi_attr_int(a->n, HannWindow_at_output_datatype), 1, &size, &y));
    if (!y.p)
        return GOPT_OK;
    for (int64_t k = 0; k < size; k++) {
        const double angle = 2 * PI * (double)k / n;
        ((double *)y.p)[k] = terms[0] + terms[1] * cos(angle) + terms[2] * cos(2 * angle);
    }
    store_number(&y);
    return GOPT_OK;
}

/* ---- MelWeightMatrix ---- */

static gopt_status infer_mel(gi_infer *c)
{
    gi_dims *t = c->g->dims;
    const int64_t dtype = gi_attr_int(c->n, MelWeightMatrix_at_output_datatype);
    const gi_dim *bands = size_of(c, MelWeightMatrix_in_num_mel_bins),
                 *length = size_of(c, MelWeightMatrix_in_dft_length);
    int64_t v;
    for (uint32_t i = MelWeightMatrix_in_num_mel_bins; i <= MelWeightMatrix_in_sample_rate; i++)
        GI_TRY(infer_integer(c, i));
    GI_TRY(infer_number(c, dtype));
    if ((bands && gi_dim_is_const(bands, &v) && v < 0) || (length && gi_dim_is_const(length, &v) && v < 0))
        return gi_infer_fail_node(c, "a number of bands or a length is negative");
    return gi_set(c, 0, (gopt_dtype)dtype, 2,
                  (const gi_dim *[]){ length ? half_dim(t, length) : gi_dim_unknown(t, true),
                                      bands ? bands : gi_dim_unknown(t, true) });
}

static gopt_status read_hertz(const gi_eval *a, uint32_t in, double *mel)
{
    const gopt_tensor *t = input(a, in);
    if (!t || gi_dtype_class(t->dtype) != GI_FLOAT || gopt_tensor_elements(t) != 1)
        return gi_eval_fail(a, (int)in, "expected one float");
    const double f = gi_tensor_f64(t, 0);
    if (!(f >= 0 && f <= 1e12))
        return gi_eval_fail(a, (int)in, "is %g, expected a frequency", f);
    *mel = 2595 * log10(1 + f / 700);
    return GOPT_OK;
}

/* Bin of the spectrum in which band edge i lies. */
static int64_t edge_bin(int64_t i, double low, double step, int64_t length, int64_t rate)
{
    const double hertz = 700 * (pow(10, ((double)i * step + low) / 2595) - 1);
    return (int64_t)fmin(fmax(floor(((double)length + 1) * hertz / (double)rate), 0), 1e15);
}

static gopt_status eval_mel(gi_eval *a)
{
    int64_t bands, length, rate;
    double low, high;
    gi_real y;
    GI_TRY(read_size(a, MelWeightMatrix_in_num_mel_bins, 0, &bands));
    GI_TRY(read_size(a, MelWeightMatrix_in_dft_length, 0, &length));
    GI_TRY(read_size(a, MelWeightMatrix_in_sample_rate, 1, &rate));
    GI_TRY(read_hertz(a, MelWeightMatrix_in_lower_edge_hertz, &low));
    GI_TRY(read_hertz(a, MelWeightMatrix_in_upper_edge_hertz, &high));
    const int64_t bins = length / 2 + 1;
    GI_TRY(number_out(a, gi_attr_int(a->n, MelWeightMatrix_at_output_datatype), 2, (int64_t[]){ bins, bands }, &y));
    if (!y.p)
        return GOPT_OK;
    double *w = y.p;
    const double step = (high - low) / (double)(bands + 2);
    memset(w, 0, (size_t)(bins * bands) * sizeof *w);
    for (int64_t b = 0; b < bands; b++) {
        const int64_t left = edge_bin(b, low, step, length, rate), middle = edge_bin(b + 1, low, step, length, rate),
                      right = edge_bin(b + 2, low, step, length, rate);
        for (int64_t j = left; j <= gi_min_i64(middle, bins - 1); j++)
            w[j * bands + b] = middle == left ? 1 : (double)(j - left) / (double)(middle - left);
        for (int64_t j = middle; j < gi_min_i64(right, bins); j++)
            w[j * bands + b] = (double)(right - j) / (double)(right - middle);
    }
    store_number(&y);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/signal.def"
