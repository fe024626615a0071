/* Are two tensors the same within a tolerance? And seeded tensors to ask with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum { MOST_NESTED = 8 }; /* sequences of sequences; deeper ones are told apart as different */

static bool is_real(gopt_dtype t)
{
    switch (t) {
    case GOPT_F32:
    case GOPT_F64:
    case GOPT_F16:
    case GOPT_BF16:
    case GOPT_F8E4M3FN:
    case GOPT_F8E4M3FNUZ:
    case GOPT_F8E5M2:
    case GOPT_F8E5M2FNUZ:
    case GOPT_F4E2M1:
    case GOPT_F8E8M0:
        return true;
    default:
        return false;
    }
}

void type_text(const gopt_tensor *x, char *buffer, size_t size)
{
    if (x->kind != GOPT_TENSOR) {
        if (x->kind == GOPT_MAP && x->n_items == 2)
            snprintf(buffer, size, "map of %lld", (long long)gopt_tensor_elements(x->items[0]));
        else
            snprintf(buffer, size, "%s of %zu", x->kind == GOPT_SEQUENCE ? "sequence" : "optional", x->n_items);
        return;
    }
    size_t n = (size_t)snprintf(buffer, size, "%s[", gopt_dtype_name(x->dtype));
    for (int i = 0; i < x->rank && n < size; i++)
        n += (size_t)snprintf(buffer + n, size - n, "%s%lld", i ? "," : "", (long long)x->dims[i]);
    if (n < size)
        snprintf(buffer + n, size - n, "]");
}

static bool same_dims(const gopt_tensor *a, const gopt_tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           (!a->rank || !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]));
}

/* Complex numbers are pairs of reals. */
static double real_at(const gopt_tensor *x, int64_t i)
{
    if (x->dtype == GOPT_C64)
        return ((const float *)x->data)[i];
    if (x->dtype == GOPT_C128)
        return ((const double *)x->data)[i];
    return x->dtype == GOPT_F32 ? ((const float *)x->data)[i] : gopt_tensor_get_f64(x, i);
}

static void strings_diff(const gopt_tensor *got, const gopt_tensor *want, diff *d)
{
    const gopt_string *a = got->data, *b = want->data;
    for (int64_t i = 0; i < d->elements; i++)
        if (a[i].n != b[i].n || (a[i].n && memcmp(a[i].p, b[i].p, a[i].n) != 0)) {
            if (!d->wrong++)
                d->at = i;
        }
    if (d->wrong)
        snprintf(d->why, sizeof d->why, "%lld of %lld strings differ, first at %lld: '%.*s' for '%.*s'",
                 (long long)d->wrong, (long long)d->elements, (long long)d->at,
                 (int)(a[d->at].n < 40 ? a[d->at].n : 40), a[d->at].p ? a[d->at].p : "",
                 (int)(b[d->at].n < 40 ? b[d->at].n : 40), b[d->at].p ? b[d->at].p : "");
}

static void integers_diff(const gopt_tensor *got, const gopt_tensor *want, diff *d)
{
    d->min = INFINITY;
    d->max = -INFINITY;
    for (int64_t i = 0; i < d->elements; i++) {
        const int64_t a = gopt_tensor_get_i64(got, i), b = gopt_tensor_get_i64(want, i);
        d->min = fmin(d->min, (double)b);
        d->max = fmax(d->max, (double)b);
        if (a == b)
            continue;
        const double e = fabs((double)a - (double)b);
        if (!d->wrong) {
            d->first = i;
            d->first_got = (double)a;
            d->first_want = (double)b;
        }
        if (!d->wrong++ || e > d->max_abs) {
            d->max_abs = e;
            d->at = i;
            d->got = (double)a;
            d->want = (double)b;
        }
    }
    d->worst = d->wrong ? INFINITY : 0;
}

static double deviation(const gopt_tensor *x, int64_t n)
{
    double sum = 0, squares = 0;
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++) {
        const double v = real_at(x, i);
        if (isfinite(v)) {
            sum += v;
            k++;
        }
    }
    if (!k)
        return 0;
    const double mean = sum / (double)k;
    if (k == 1)
        return fabs(mean);
    for (int64_t i = 0; i < n; i++) {
        const double v = real_at(x, i) - mean;
        squares += isfinite(v) ? v * v : 0;
    }
    return sqrt(squares / (double)k);
}

static void reals_diff(const gopt_tensor *got, const gopt_tensor *want, double rtol, double atol, diff *d)
{
    const int64_t n = want->dtype == GOPT_C64 || want->dtype == GOPT_C128 ? 2 * d->elements : d->elements;
    d->min = INFINITY;
    d->max = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        const double a = real_at(got, i), b = real_at(want, i);
        if (b < d->min)
            d->min = b;
        if (b > d->max)
            d->max = b;
        if (a == b || (isnan(a) && isnan(b)))
            continue;
        const double e = isnan(a) || isnan(b) || isinf(a) || isinf(b) ? INFINITY : fabs(a - b);
        const double allowed = atol + rtol * fabs(b), off = isinf(e) ? INFINITY : allowed > 0 ? e / allowed : INFINITY;
        d->max_abs = fmax(d->max_abs, e);
        if (!(off <= 1) && !d->wrong++) {
            d->first = i;
            d->first_got = a;
            d->first_want = b;
        }
        if (off > d->worst) {
            d->worst = off;
            d->at = i;
            d->got = a;
            d->want = b;
        }
    }
}

/* Element `at` as "[0,2]". */
static void index_text(const gopt_tensor *x, int64_t at, char *buffer, size_t size)
{
    int64_t index[GOPT_MAX_RANK];
    for (int k = x->rank; k-- > 0;) {
        index[k] = x->dims[k] > 0 ? at % x->dims[k] : 0;
        at = x->dims[k] > 0 ? at / x->dims[k] : 0;
    }
    size_t n = (size_t)snprintf(buffer, size, "[");
    for (int k = 0; k < x->rank && n < size; k++)
        n += (size_t)snprintf(buffer + n, size - n, "%s%lld", k ? "," : "", (long long)index[k]);
    if (n < size)
        snprintf(buffer + n, size - n, "]");
}

/* "nan", not "-nan": its sign says nothing. */
static double unsigned_nan(double x)
{
    return isnan(x) ? fabs(x) : x;
}

/* The values of a map in the order of another's keys; false where the keys differ. Maps have no order. Both are short
 * as classes go, and mostly in one order: each key is looked for from where the last was found. */
static bool key_order(const gopt_tensor *got, const gopt_tensor *want, int64_t *order)
{
    const int64_t n = gopt_tensor_elements(want);
    int64_t from = 0;
    if (!same_dims(got, want))
        return false;
    for (int64_t i = 0; i < n; i++) {
        int64_t k = 0;
        for (; k < n; k++) {
            const int64_t at = (from + k) % n;
            if (want->dtype == GOPT_STRING) {
                const gopt_string *a = (const gopt_string *)got->data + at, *b = (const gopt_string *)want->data + i;
                if (a->n == b->n && (!a->n || !memcmp(a->p, b->p, a->n)))
                    break;
            } else if (gopt_tensor_get_i64(got, at) == gopt_tensor_get_i64(want, i)) {
                break;
            }
        }
        if (k == n)
            return false;
        order[i] = (from + k) % n;
        from = order[i] + 1;
    }
    return true;
}

static void diff_at(const gopt_tensor *got, const gopt_tensor *want, double rtol, double atol, bool spread, diff *d,
                    int depth);

static void maps_diff(const gopt_tensor *got, const gopt_tensor *want, double rtol, double atol, bool spread, diff *d,
                      int depth)
{
    const int64_t n = gopt_tensor_elements(want->items[0]);
    const gopt_tensor *values = got->items[1];
    const size_t item = values->dtype == GOPT_STRING ? sizeof(gopt_string) : (size_t)gopt_dtype_bits(values->dtype) / 8;
    int64_t *order = calloc((size_t)n + 1, sizeof *order);
    uint8_t *moved = calloc((size_t)n + 1, item);
    if (order && moved && same_dims(values, want->items[1]) && key_order(got->items[0], want->items[0], order)) {
        gopt_tensor sorted = *values;
        for (int64_t i = 0; i < n; i++)
            memcpy(moved + (size_t)i * item, (const uint8_t *)values->data + (size_t)order[i] * item, item);
        sorted.data = moved;
        diff_at(&sorted, want->items[1], rtol, atol, spread, d, depth + 1);
    } else {
        *d = (diff){ .worst = INFINITY };
        snprintf(d->why, sizeof d->why, "has other keys or values of another type");
    }
    free(order);
    free(moved);
}

static void diff_at(const gopt_tensor *got, const gopt_tensor *want, double rtol, double atol, bool spread, diff *d,
                    int depth)
{
    char a[256], b[256];
    *d = (diff){ .same = true };
    if (!got || !want || got->kind != want->kind || depth > MOST_NESTED ||
        (got->kind != GOPT_TENSOR && got->n_items != want->n_items) ||
        (got->kind == GOPT_TENSOR && !same_dims(got, want))) {
        type_text(got ? got : &(gopt_tensor){ .kind = GOPT_OPTIONAL }, a, sizeof a);
        type_text(want ? want : &(gopt_tensor){ .kind = GOPT_OPTIONAL }, b, sizeof b);
        snprintf(d->why, sizeof d->why, "is %.80s, expected %.80s", a, b);
        d->same = false;
        d->worst = INFINITY;
        return;
    }
    if (got->kind == GOPT_MAP && got->n_items == 2) {
        maps_diff(got, want, rtol, atol, spread, d, depth);
        return;
    }
    if (got->kind != GOPT_TENSOR) {
        for (size_t i = 0; i < got->n_items && d->same; i++) {
            diff_at(got->items[i], want->items[i], rtol, atol, spread, d, depth + 1);
            if (!d->same) {
                char why[sizeof d->why];
                memcpy(why, d->why, sizeof why);
                snprintf(d->why, sizeof d->why, "item %zu %.280s", i, why);
            }
        }
        return;
    }
    d->elements = gopt_tensor_elements(want);
    if (want->dtype == GOPT_STRING)
        strings_diff(got, want, d);
    else if (is_real(want->dtype) || want->dtype == GOPT_C64 || want->dtype == GOPT_C128)
        reals_diff(got, want, rtol, spread ? atol * deviation(want, d->elements) : atol, d);
    else
        integers_diff(got, want, d);
    d->same = !d->wrong;
    if (!d->wrong || want->dtype == GOPT_STRING)
        return;
    const int pair = want->dtype == GOPT_C64 || want->dtype == GOPT_C128 ? 2 : 1; /* numbers an element */
    char first[64], worst[64];
    index_text(want, d->first / pair, first, sizeof first);
    index_text(want, d->at / pair, worst, sizeof worst);
    const int n =
        snprintf(d->why, sizeof d->why, "%lld of %lld differ, first at %s: %.7g, expected %.7g", (long long)d->wrong,
                 (long long)d->elements * pair, first, unsigned_nan(d->first_got), unsigned_nan(d->first_want));
    if (d->at != d->first && n < (int)sizeof d->why)
        snprintf(d->why + n, sizeof d->why - (size_t)n, "; worst at %s: %.7g, expected %.7g", worst,
                 unsigned_nan(d->got), unsigned_nan(d->want));
}

void tensor_diff(const gopt_tensor *got, const gopt_tensor *want, double rtol, double atol, bool spread, diff *d)
{
    diff_at(got, want, rtol, atol, spread, d, 0);
}

/* ---- seeded values ---- */

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state) /* above 0, up to 1 */
{
    return (double)((splitmix64(state) >> 11) + 1) * 0x1p-53;
}

void random_fill(gopt_tensor *x, const char *name, uint64_t seed, size_t position)
{
    uint64_t state = seed * 0x2545f4914f6cdd1du + position;
    splitmix64(&state);
    const int64_t n = gopt_tensor_elements(x);
    const bool mask = name && strstr(name, "mask"), type = name && strstr(name, "type");
    const bool wide = x->dtype == GOPT_U8 || x->dtype == GOPT_I8;
    if (x->dtype == GOPT_STRING)
        return;
    if (x->dtype == GOPT_C64 || x->dtype == GOPT_C128) {
        for (int64_t i = 0; i < 2 * n; i++) {
            const double v = sqrt(-2 * log(uniform(&state))) * cos(6.283185307179586 * uniform(&state));
            if (x->dtype == GOPT_C64)
                ((float *)x->data)[i] = (float)v;
            else
                ((double *)x->data)[i] = v;
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        if (is_real(x->dtype)) {
            const double r = sqrt(-2 * log(uniform(&state)));
            gopt_tensor_set_f64(x, i, r * cos(6.283185307179586 * uniform(&state)));
        } else {
            const uint64_t v = splitmix64(&state) >> 16;
            const uint64_t range = x->dtype == GOPT_BOOL || type   ? 2
                                   : gopt_dtype_bits(x->dtype) < 8 ? 4
                                   : wide                          ? 256
                                                                   : 100;
            gopt_tensor_set_i64(x, i, mask ? 1 : (int64_t)(v % range));
        }
    }
}
