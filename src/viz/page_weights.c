/* What the page tells of a weight: contents where they are few, else a histogram of a sample.
 *
 * Weights are mapped from the file, so reading all of a large model would cost more than optimizing it: a sample is
 * RUNS stretches of neighbours, spread evenly. */
#include <math.h>

#include "viz/page.h"

enum { RUNS = 64, STRETCH = 256, BINS = 32, MOST_CONTENTS = 16 };

static bool is_number(const gi_blob *b)
{
    const gi_dclass c = gi_dtype_class(b->dtype);
    return c == GI_FLOAT || c == GI_SINT || c == GI_UINT || c == GI_BOOLEAN;
}

static json_t *contents(const gi_blob *b, int64_t n)
{
    json_t *a = json_array();
    for (int64_t i = 0; a && i < n; i++) {
        const double x = gi_load_f64(b->dtype, b->data, (size_t)i);
        json_t *one = gi_dtype_is_float(b->dtype) ? json_real(x) : NULL; /* NULL of infinities and NaN, too */
        if (!gi_dtype_is_float(b->dtype))
            one = json_integer((json_int_t)gi_load_i64(b->dtype, b->data, (size_t)i));
        json_array_append_new(a, one ? one : json_string(isnan(x) ? "NaN" : x > 0 ? "inf" : "-inf"));
    }
    return a;
}

typedef struct sample {
    double v[RUNS * STRETCH];
    size_t n;
    int64_t zeros, strange; /* strange: infinities and NaN, which are not in v */
    double min, max, sum;
} sample;

static void take(sample *s, double x)
{
    if (!isfinite(x)) {
        s->strange++;
        return;
    }
    s->zeros += !(x > 0 || x < 0);
    s->min = s->n ? fmin(s->min, x) : x;
    s->max = s->n ? fmax(s->max, x) : x;
    s->sum += x;
    s->v[s->n++] = x;
}

static void draw_sample(const gi_blob *b, int64_t n, sample *s)
{
    if (n <= RUNS * STRETCH) {
        for (int64_t i = 0; i < n; i++)
            take(s, gi_load_f64(b->dtype, b->data, (size_t)i));
        return;
    }
    for (int64_t r = 0; r < RUNS; r++) {
        const int64_t from = (n - STRETCH) / (RUNS - 1) * r;
        for (int64_t i = from; i < from + STRETCH; i++)
            take(s, gi_load_f64(b->dtype, b->data, (size_t)i));
    }
}

/* [sampled, min, max, mean, zeros, infinities and NaN, [counts]] */
static json_t *statistics(gopt_page *p, const gi_blob *b, int64_t n)
{
    sample *s = GI_NEW(p->scratch, sample);
    uint32_t bins[BINS] = { 0 };
    if (!s)
        return NULL;
    draw_sample(b, n, s);
    const double width = s->max - s->min;
    for (size_t i = 0; i < s->n; i++) {
        const double at = width > 0 ? (s->v[i] - s->min) / width * BINS : 0;
        bins[at < BINS ? (size_t)at : BINS - 1]++;
    }
    json_t *counts = json_array();
    for (size_t i = 0; s->n && i < BINS; i++)
        json_array_append_new(counts, json_integer(bins[i]));
    return json_pack("[I, f, f, f, I, I, o]", (json_int_t)s->n + (json_int_t)s->strange, s->min, s->max,
                     s->n ? s->sum / (double)s->n : 0.0, (json_int_t)s->zeros, (json_int_t)s->strange, counts);
}

json_t *gi_page_weight(gopt_page *p, const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    const int64_t n = gi_blob_elements(b);
    gi_str type;
    gi_str_init(&type, p->scratch);
    gi_type_print(&type, v->type);
    json_t *few = NULL, *stats = NULL;
    if (b->data && is_number(b) && n > 0) {
        if (n <= MOST_CONTENTS)
            few = contents(b, n);
        else
            stats = statistics(p, b, n);
    }
    return json_pack("[o, I, I, o, o]", gi_page_text(p, type.p), (json_int_t)b->bytes, (json_int_t)n,
                     few ? few : json_null(), stats ? stats : json_null());
}
