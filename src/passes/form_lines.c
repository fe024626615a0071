/* Piecewise linear forms: their maxima, which are sums of ramps again, and the steps where they cross zero. */
#include <math.h>

#include "passes/form_inner.h"

enum { MAX_KNOTS = 8 };

/* Line i holds from knot i-1 to knot i. */
typedef struct lines {
    int n; /* lines: one more than knots */
    double knot[MAX_KNOTS], slope[MAX_KNOTS + 1], at0[MAX_KNOTS + 1];
} lines;

static bool lines_of(const gi_forms *s, const gi_form *a, lines *l)
{
    *l = (lines){ .n = 1 };
    double turn[MAX_KNOTS];
    for (int i = 0; i < a->n; i++) {
        const gi_term *t = &a->t[i];
        if (t->n > 1 || (t->n == 1 && t->f[0].power != 1))
            return false;
        if (t->n == 0) {
            l->at0[0] = t->k;
        } else if (s->atoms[t->f[0].atom].kind == GI_ATOM_X) {
            l->slope[0] = t->k;
        } else if (s->atoms[t->f[0].atom].kind == GI_ATOM_RAMP && l->n <= MAX_KNOTS) {
            const double at = s->atoms[t->f[0].atom].at;
            int k = l->n++ - 1;
            for (; k > 0 && l->knot[k - 1] > at; k--) {
                l->knot[k] = l->knot[k - 1];
                turn[k] = turn[k - 1];
            }
            l->knot[k] = at;
            turn[k] = t->k;
        } else {
            return false;
        }
    }
    for (int i = 1; i < l->n; i++) {
        l->slope[i] = l->slope[i - 1] + turn[i - 1];
        l->at0[i] = l->at0[i - 1] - turn[i - 1] * l->knot[i - 1];
        if (fabs(l->slope[i]) <= s->close * fabs(turn[i - 1]))
            l->slope[i] = 0;
    }
    return true;
}

/* Continues r with the line from `at` on, if it turns there. */
static bool add_line(const gi_forms *s, lines *r, double at, double slope, double at0)
{
    if (r->n && fabs(r->slope[r->n - 1] - slope) <= s->close * fmax(fabs(slope), fabs(r->slope[r->n - 1])))
        return true;
    if (r->n > MAX_KNOTS)
        return false;
    if (r->n)
        r->knot[r->n - 1] = at;
    r->slope[r->n] = slope;
    r->at0[r->n++] = at0;
    return true;
}

static const gi_form *form_of_lines(gi_forms *s, const lines *l)
{
    const gi_form *f = gi_form_add(s, gi_form_num(s, l->at0[0]), gi_form_scale(s, gi_form_x(s), l->slope[0]));
    for (int i = 1; i < l->n; i++)
        f = gi_form_add(s, f,
                        gi_form_scale(s, gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_RAMP, .at = l->knot[i - 1] }),
                                      l->slope[i] - l->slope[i - 1]));
    return f;
}

/* max(a, 0) of a piecewise linear form. */
static const gi_form *positive_lines(gi_forms *s, const lines *l)
{
    lines r = { 0 };
    for (int i = 0; i < l->n; i++) {
        const double from = i ? l->knot[i - 1] : -INFINITY, to = i + 1 < l->n ? l->knot[i] : INFINITY;
        const double slope = l->slope[i], at0 = l->at0[i];
        double zero = slope != 0 ? -at0 / slope : NAN;
        if (zero == 0)
            zero = 0; /* not -0 */
        const bool cuts = zero > from && zero < to && !gi_close(s, zero, from) && !gi_close(s, zero, to);
        for (int half = 0; half <= cuts; half++) {
            const double a = half ? zero : from, b = cuts && !half ? zero : to;
            const double inside = isinf(a)   ? (isinf(b) ? 0 : b - 1 - fabs(b))
                                  : isinf(b) ? a + 1 + fabs(a)
                                             : (a + b) / 2;
            const bool positive = slope * inside + at0 > 0;
            if (!add_line(s, &r, a, positive ? slope : 0, positive ? at0 : 0))
                return NULL;
        }
    }
    return form_of_lines(s, &r);
}

/* max(a, 0) */
static const gi_form *positive(gi_forms *s, const gi_form *a)
{
    lines l;
    double c;
    const gi_form *q;
    if (!a)
        return NULL;
    if (lines_of(s, a, &l))
        return positive_lines(s, &l);
    /* k·(exp(c·x) − 1) has the sign of k·c·x */
    double k;
    const gi_form *rest = gi_form_split(s, a, &k);
    const gi_form *up = k < 0 ? rest : gi_form_scale(s, rest, -1);
    if (k != 0 && gi_form_is_exp(s, up, &c, &q) && gi_close(s, c, fabs(k)) && q->n == 1) {
        const double slope = gi_form_get(q, 1, 0, 1.0);
        const gi_form *above = gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_ABOVE });
        if (slope != 0)
            return (slope > 0) == (k < 0) ? gi_form_mul(s, above, a) : gi_form_sub(s, a, gi_form_mul(s, above, a));
    }
    return NULL;
}

const gi_form *gi_form_max(gi_forms *s, const gi_form *a, const gi_form *b)
{
    return gi_form_add(s, b, positive(s, gi_form_sub(s, a, b)));
}

const gi_form *gi_form_min(gi_forms *s, const gi_form *a, const gi_form *b)
{
    return gi_form_sub(s, a, positive(s, gi_form_sub(s, a, b)));
}

/* Where a piecewise linear form crosses zero, once: -1 downwards, 1 upwards. 0 where it does not, touches it, or crosses
 * more often. */
static int crossing(const gi_forms *s, const lines *l, double *at)
{
    double before = 0;
    int found = 0;
    for (int i = 0; i < l->n; i++) {
        const double from = i ? l->knot[i - 1] : -INFINITY, to = i + 1 < l->n ? l->knot[i] : INFINITY;
        const double slope = l->slope[i], at0 = l->at0[i];
        if (slope == 0 && at0 == 0)
            return 0;
        if (i == 0)
            before = slope != 0 ? -slope : at0; /* the sign far below */
        const double zero = slope != 0 ? -at0 / slope : NAN;
        if (!(zero >= from && zero <= to) && !gi_close(s, zero, from) && !gi_close(s, zero, to))
            continue;
        if (found && !gi_close(s, zero, *at))
            return 0;
        found = 1;
        *at = zero == 0 ? 0 : zero; /* not -0 */
    }
    const double last = l->slope[l->n - 1], after = last != 0 ? last : l->at0[l->n - 1];
    return !found || before * after >= 0 ? 0 : after > 0 ? 1 : -1;
}

const gi_form *gi_form_above(gi_forms *s, const gi_form *a, const gi_form *b, bool or_equal)
{
    lines l;
    double at = 0;
    const gi_form *d = gi_form_sub(s, a, b);
    const int crosses = d && lines_of(s, d, &l) ? crossing(s, &l, &at) : 0;
    if (!crosses)
        return NULL;
    if (crosses > 0)
        return gi_form_of_atom(s, (gi_atom){ .kind = or_equal ? GI_ATOM_FROM : GI_ATOM_ABOVE, .at = at });
    return gi_form_sub(s, gi_form_num(s, 1),
                       gi_form_of_atom(s, (gi_atom){ .kind = or_equal ? GI_ATOM_ABOVE : GI_ATOM_FROM, .at = at }));
}
