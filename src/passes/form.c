/* Forms: sums of terms over atoms. A sum under construction takes terms one by one; each is reduced by what is
 * known of its factors (exponentials of one product become one, a step times x becomes a ramp), and then joined
 * with one that has the same factors. Maxima and comparisons are in form_lines.c. */
#include "passes/form_inner.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_DEPTH = 24, MOST_POWER = 4 /* that a sum is multiplied out to */ };

/* A sum under construction. */
typedef struct sum {
    gi_forms *s;
    int n, depth;
    bool bad;
    gi_term t[GI_FORM_TERMS];
} sum;

static void put(sum *to, const gi_term *t);

/* The terms are left as they are: they are many bytes, and few of them will be used. */
static void begin(sum *b, gi_forms *s)
{
    b->s = s;
    b->n = b->depth = 0;
    b->bad = false;
}

void gi_forms_init(gi_forms *s, gi_arena *a, double close)
{
    s->a = a;
    s->close = close;
    s->n = 1;
    s->atoms[0] = (gi_atom){ .kind = GI_ATOM_X };
}

bool gi_close(const gi_forms *s, double a, double b)
{
    return a == b || (isfinite(a) && isfinite(b) && fabs(a - b) <= s->close * fmax(fabs(a), fabs(b)));
}

/* ---- comparing ---- */

static int compare_factors(const gi_term *a, const gi_term *b)
{
    for (int i = 0; i < a->n && i < b->n; i++) {
        if (a->f[i].atom != b->f[i].atom)
            return a->f[i].atom < b->f[i].atom ? -1 : 1;
        if (a->f[i].power != b->f[i].power)
            return a->f[i].power < b->f[i].power ? -1 : 1;
    }
    return a->n - b->n;
}

static int compare_terms(const void *a, const void *b)
{
    return compare_factors(a, b);
}

bool gi_form_equal(const gi_forms *s, const gi_form *a, const gi_form *b)
{
    if (!a || !b || a->n != b->n)
        return a == b;
    for (int i = 0; i < a->n; i++)
        if (compare_factors(&a->t[i], &b->t[i]) != 0 || !gi_close(s, a->t[i].k, b->t[i].k))
            return false;
    return true;
}

bool gi_form_is_num(const gi_form *a, double *k)
{
    *k = a && a->n ? a->t[0].k : 0;
    return a && (a->n == 0 || (a->n == 1 && a->t[0].n == 0));
}

double gi_form_get(const gi_form *a, int n, ...)
{
    gi_term want = { .n = n };
    va_list args;
    va_start(args, n);
    for (int i = 0; i < n; i++) {
        const int atom = va_arg(args, int);
        const double power = va_arg(args, double);
        int at = i;
        for (; at > 0 && want.f[at - 1].atom > atom; at--)
            want.f[at] = want.f[at - 1];
        want.f[at] = (gi_factor){ atom, power };
    }
    va_end(args);
    for (int i = 0; a && i < a->n; i++)
        if (compare_factors(&a->t[i], &want) == 0)
            return a->t[i].k;
    return 0;
}

int gi_form_atom(const gi_forms *s, const gi_form *a, gi_atom_kind kind)
{
    int found = -1;
    for (int i = 0; a && i < a->n; i++)
        for (int k = 0; k < a->t[i].n; k++) {
            const int atom = a->t[i].f[k].atom;
            if (s->atoms[atom].kind != kind || atom == found)
                continue;
            if (found >= 0)
                return -1;
            found = atom;
        }
    return found;
}

/* ---- sums ---- */

static const gi_form *finish(sum *b)
{
    gi_form *f = b->bad ? NULL : GI_NEW(b->s->a, gi_form);
    gi_term *t = f ? GI_NEW_ARRAY(b->s->a, gi_term, b->n + 1) : NULL;
    if (!t)
        return NULL;
    memcpy(t, b->t, (size_t)b->n * sizeof *t);
    qsort(t, (size_t)b->n, sizeof *t, compare_terms);
    f->n = b->n;
    f->t = t;
    return f;
}

/* Joins a reduced term with what is there. */
static void join(sum *to, const gi_term *t)
{
    for (int i = 0; i < to->n; i++) {
        if (compare_factors(&to->t[i], t) != 0)
            continue;
        const double before = to->t[i].k, after = before + t->k;
        to->t[i].k = after;
        if (fabs(after) <= to->s->close * fmax(fabs(before), fabs(t->k)))
            to->t[i] = to->t[--to->n];
        return;
    }
    if (to->n == GI_FORM_TERMS)
        to->bad = true;
    else
        to->t[to->n++] = *t;
}

/* The product's factors, by atom. False where there are too many. */
static bool merge_factors(const gi_term *a, const gi_term *b, gi_term *out)
{
    gi_term r = { .k = a->k * b->k };
    int i = 0, j = 0;
    while (i < a->n || j < b->n) {
        gi_factor f;
        if (j == b->n || (i < a->n && a->f[i].atom < b->f[j].atom)) {
            f = a->f[i++];
        } else if (i == a->n || b->f[j].atom < a->f[i].atom) {
            f = b->f[j++];
        } else {
            f = (gi_factor){ a->f[i].atom, a->f[i].power + b->f[j].power };
            i++;
            j++;
        }
        if (f.power == 0)
            continue;
        if (r.n == GI_FORM_FACTORS)
            return false;
        r.f[r.n++] = f;
    }
    *out = r;
    return true;
}

/* Puts rest · f. */
static void put_product(sum *to, const gi_term *rest, const gi_form *f)
{
    if (!f || to->depth >= MAX_DEPTH) {
        to->bad = true;
        return;
    }
    to->depth++;
    for (int i = 0; i < f->n && !to->bad; i++) {
        gi_term t;
        if (merge_factors(rest, &f->t[i], &t))
            put(to, &t);
        else
            to->bad = true;
    }
    to->depth--;
}

static void drop_factor(gi_term *t, int i)
{
    t->n--;
    for (; i < t->n; i++)
        t->f[i] = t->f[i + 1];
}

static int find_kind(const gi_forms *s, const gi_term *t, gi_atom_kind kind)
{
    for (int i = 0; i < t->n; i++)
        if (s->atoms[t->f[i].atom].kind == kind)
            return i;
    return -1;
}

/* All exponentials of the product as one. */
static bool reduce_exp(sum *to, const gi_term *t)
{
    gi_term rest = *t;
    const gi_form *arg = gi_form_num(to->s, 0);
    int found = 0;
    bool power = false;
    for (int i; (i = find_kind(to->s, &rest, GI_ATOM_EXP)) >= 0; found++) {
        const gi_factor f = rest.f[i];
        power = power || f.power != 1;
        arg = gi_form_add(to->s, arg, gi_form_scale(to->s, to->s->atoms[f.atom].arg, f.power));
        drop_factor(&rest, i);
    }
    if (found < 2 && !power)
        return false;
    put_product(to, &rest, gi_form_exp(to->s, arg));
    return true;
}

/* exp(q)·sigmoid(q) = exp(q) − sigmoid(q),  exp(−q)·sigmoid(q) = 1 − sigmoid(q). */
static bool reduce_exp_sigmoid(sum *to, const gi_term *t)
{
    gi_forms *s = to->s;
    const int e = find_kind(s, t, GI_ATOM_EXP), g = find_kind(s, t, GI_ATOM_SIGMOID);
    if (e < 0 || g < 0 || t->f[g].power < 1)
        return false;
    const gi_form *p = s->atoms[t->f[e].atom].arg, *q = s->atoms[t->f[g].atom].arg;
    const bool same = gi_form_equal(s, p, q);
    if (!same && !gi_form_equal(s, gi_form_scale(s, p, -1), q))
        return false;
    const gi_form *first = same ? gi_form_exp(s, q) : gi_form_num(s, 1);
    const gi_form *by = gi_form_sub(s, first, gi_form_sigmoid(s, q));
    gi_term rest = *t;
    rest.f[g].power -= 1;
    if (rest.f[g].power == 0)
        drop_factor(&rest, g);
    drop_factor(&rest, find_kind(s, &rest, GI_ATOM_EXP));
    put_product(to, &rest, by);
    return true;
}

/* The product of a step with x, a ramp or another step is a sum of single ones. */
static bool reduce_step(sum *to, const gi_term *t)
{
    gi_forms *s = to->s;
    int h = find_kind(s, t, GI_ATOM_ABOVE);
    if (h < 0)
        h = find_kind(s, t, GI_ATOM_FROM);
    if (h < 0)
        return false;
    const gi_atom step = s->atoms[t->f[h].atom];
    gi_term rest = *t;
    if (t->f[h].power != 1) {
        rest.f[h].power = 1; /* 1 or 0, to any power above 0 */
        to->bad = to->bad || t->f[h].power < 0;
        put(to, &rest);
        return true;
    }
    for (int i = 0; i < t->n; i++) {
        const gi_atom other = s->atoms[t->f[i].atom];
        const bool is_x = other.kind == GI_ATOM_X, is_ramp = other.kind == GI_ATOM_RAMP;
        const bool is_step = i != h && (other.kind == GI_ATOM_ABOVE || other.kind == GI_ATOM_FROM);
        if (!is_x && !is_ramp && !is_step)
            continue;
        if (t->f[i].power < 1 || t->f[i].power != floor(t->f[i].power)) {
            to->bad = true;
            return true;
        }
        const gi_form *ramp = gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_RAMP, .at = step.at }), *by = NULL;
        const gi_form *self = gi_form_of_atom(s, step);
        if (is_x) /* x·(x > t) = max(x − t, 0) + t·(x > t) */
            by = gi_form_add(s, ramp, gi_form_scale(s, self, step.at));
        else if (other.at >= step.at || gi_close(s, other.at, step.at)) /* the other is 0 until there */
            by = is_step && step.kind != other.kind && gi_close(s, other.at, step.at)
                     ? gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_ABOVE, .at = step.at })
                     : gi_form_of_atom(s, other);
        else if (is_ramp)
            by = gi_form_add(s, ramp, gi_form_scale(s, self, step.at - other.at));
        else
            by = self;
        const int first = i > h ? i : h, second = i > h ? h : i;
        const bool more = t->f[i].power > 1;
        rest.f[i].power -= 1;
        if (first == h || !more)
            drop_factor(&rest, first);
        if (second == h || !more)
            drop_factor(&rest, second);
        put_product(to, &rest, by);
        return true;
    }
    return false;
}

/* A sum to a small whole power is multiplied out. */
static bool reduce_sum(sum *to, const gi_term *t)
{
    for (int i = 0; i < t->n; i++) {
        const gi_atom a = to->s->atoms[t->f[i].atom];
        if (a.kind != GI_ATOM_SUM || t->f[i].power < 1 || t->f[i].power > MOST_POWER ||
            t->f[i].power != floor(t->f[i].power))
            continue;
        gi_term rest = *t;
        drop_factor(&rest, i);
        put_product(to, &rest, gi_form_pow(to->s, a.arg, t->f[i].power));
        return true;
    }
    return false;
}

static void put(sum *to, const gi_term *t)
{
    if (t->k == 0 || to->bad)
        return;
    if (!isfinite(t->k) || to->depth >= MAX_DEPTH) {
        to->bad = true;
        return;
    }
    to->depth++;
    if (!reduce_exp(to, t) && !reduce_exp_sigmoid(to, t) && !reduce_step(to, t) && !reduce_sum(to, t))
        join(to, t);
    to->depth--;
}

/* ---- atoms ---- */

static bool same_atom(const gi_forms *s, const gi_atom *a, const gi_atom *b)
{
    return a->kind == b->kind && a->axes == b->axes && a->value == b->value && gi_close(s, a->at, b->at) &&
           (a->arg == b->arg || gi_form_equal(s, a->arg, b->arg));
}

const gi_form *gi_form_of_atom(gi_forms *s, gi_atom atom)
{
    int i = 0;
    while (i < s->n && !same_atom(s, &s->atoms[i], &atom))
        i++;
    if (i == GI_FORM_ATOMS)
        return NULL;
    if (i == s->n)
        s->atoms[s->n++] = atom;
    sum b;
    begin(&b, s);
    put(&b, &(gi_term){ .k = 1, .n = 1, .f = { { i, 1 } } });
    return finish(&b);
}

const gi_form *gi_form_x(gi_forms *s)
{
    return gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_X });
}

const gi_form *gi_form_num(gi_forms *s, double k)
{
    sum b;
    begin(&b, s);
    put(&b, &(gi_term){ .k = k });
    return finish(&b);
}

const gi_form *gi_form_const(gi_forms *s, gi_value *v)
{
    return gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_CONST, .value = v });
}

/* ---- arithmetic ---- */

static const gi_form *add_scaled(gi_forms *s, const gi_form *a, const gi_form *b, double k)
{
    if (!a || !b)
        return NULL;
    sum r;
    begin(&r, s);
    for (int i = 0; i < a->n; i++)
        put(&r, &a->t[i]);
    for (int i = 0; i < b->n; i++) {
        gi_term t = b->t[i];
        t.k *= k;
        put(&r, &t);
    }
    return finish(&r);
}

const gi_form *gi_form_add(gi_forms *s, const gi_form *a, const gi_form *b)
{
    return add_scaled(s, a, b, 1);
}

const gi_form *gi_form_sub(gi_forms *s, const gi_form *a, const gi_form *b)
{
    return add_scaled(s, a, b, -1);
}

const gi_form *gi_form_scale(gi_forms *s, const gi_form *a, double k)
{
    return add_scaled(s, gi_form_num(s, 0), a, k);
}

const gi_form *gi_form_mul(gi_forms *s, const gi_form *a, const gi_form *b)
{
    if (!a || !b)
        return NULL;
    sum r;
    begin(&r, s);
    for (int i = 0; i < a->n && !r.bad; i++)
        put_product(&r, &a->t[i], b);
    return finish(&r);
}

const gi_form *gi_form_div(gi_forms *s, const gi_form *a, const gi_form *b)
{
    return gi_form_mul(s, a, gi_form_pow(s, b, -1));
}

bool gi_form_is_exp(const gi_forms *s, const gi_form *a, double *c, const gi_form **q)
{
    if (!a || a->n != 1 || a->t[0].n != 1 || a->t[0].f[0].power != 1 || a->t[0].k <= 0)
        return false;
    const gi_atom *e = &s->atoms[a->t[0].f[0].atom];
    *c = a->t[0].k;
    *q = e->arg;
    return e->kind == GI_ATOM_EXP;
}

static const gi_form *one_term(gi_forms *s, const gi_term *t)
{
    sum b;
    begin(&b, s);
    put(&b, t);
    return finish(&b);
}

/* a to the power p, where it is one term. */
static const gi_form *pow_term(gi_forms *s, const gi_term *t, double p, bool *can)
{
    gi_term r = { .k = pow(t->k, p), .n = t->n };
    const bool whole = p == floor(p);
    *can = whole || (t->k > 0 && t->n <= 1);
    for (int i = 0; i < t->n && *can; i++) {
        const gi_atom_kind kind = s->atoms[t->f[i].atom].kind;
        const bool is_step = kind == GI_ATOM_ABOVE || kind == GI_ATOM_FROM;
        r.f[i] = (gi_factor){ t->f[i].atom, t->f[i].power * p };
        /* √(u²) is |u|, so a root is taken of odd powers, or of what is a root already */
        *can = (whole || kind == GI_ATOM_EXP || fmod(t->f[i].power, 2) != 0) && !(is_step && p < 0);
    }
    if (!*can || !isfinite(r.k))
        return NULL;
    const int g = p < 0 ? find_kind(s, &r, GI_ATOM_SIGMOID) : -1;
    if (g < 0 || r.f[g].power != floor(r.f[g].power))
        return one_term(s, &r);
    /* 1 / sigmoid(q) = 1 + exp(−q) */
    const gi_form *q = s->atoms[r.f[g].atom].arg;
    const gi_form *by = gi_form_add(s, gi_form_num(s, 1), gi_form_exp(s, gi_form_scale(s, q, -1)));
    const double times = -r.f[g].power;
    drop_factor(&r, g);
    return gi_form_mul(s, one_term(s, &r), gi_form_pow(s, by, times));
}

/* 1 / (a + b·exp(q)) = sigmoid(−q − log(b/a)) / a; likewise where both terms have a common factor. */
static const gi_form *inverse_of_two(gi_forms *s, const gi_form *a)
{
    double c;
    const gi_form *q;
    const gi_form *first = gi_form_pow(s, one_term(s, &a->t[0]), -1);
    if (!gi_form_is_exp(s, gi_form_mul(s, one_term(s, &a->t[1]), first), &c, &q))
        return NULL;
    const gi_form *arg = gi_form_sub(s, gi_form_scale(s, q, -1), gi_form_num(s, log(c)));
    return gi_form_mul(s, first, gi_form_sigmoid(s, arg));
}

const gi_form *gi_form_pow(gi_forms *s, const gi_form *a, double p)
{
    if (!a || a->n == 0 || !isfinite(p))
        return NULL;
    if (p == 0)
        return gi_form_num(s, 1);
    if (p == 1)
        return a;
    if (a->n == 1) {
        bool can;
        const gi_form *r = pow_term(s, &a->t[0], p, &can);
        if (can)
            return r;
    }
    if (p == floor(p) && p > 0 && p <= MOST_POWER)
        return gi_form_mul(s, a, gi_form_pow(s, a, p - 1));
    if (p == floor(p) && p < 0 && a->n == 2) {
        const gi_form *r = inverse_of_two(s, a);
        if (r)
            return gi_form_pow(s, r, -p);
    }
    const double k = fabs(a->t[a->n - 1].k);
    const gi_form *base = gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_SUM, .arg = gi_form_scale(s, a, 1 / k) });
    /* an atom of the first power is multiplied out: build the power at once */
    if (!base && s->n == GI_FORM_ATOMS)
        return NULL;
    const gi_form *arg = gi_form_scale(s, a, 1 / k);
    for (int i = 0; i < s->n; i++)
        if (s->atoms[i].kind == GI_ATOM_SUM && gi_form_equal(s, s->atoms[i].arg, arg))
            return one_term(s, &(gi_term){ .k = pow(k, p), .n = 1, .f = { { i, p } } });
    return NULL;
}

/* ---- functions ---- */

const gi_form *gi_form_split(gi_forms *s, const gi_form *a, double *k)
{
    *k = a->n && a->t[0].n == 0 ? a->t[0].k : 0;
    return gi_form_sub(s, a, gi_form_num(s, *k));
}

static bool is_negative(const gi_form *a)
{
    return a->n && a->t[a->n - 1].k < 0;
}

const gi_form *gi_form_exp(gi_forms *s, const gi_form *a)
{
    double k;
    if (!a)
        return NULL;
    const gi_form *q = gi_form_split(s, a, &k);
    if (!q || q->n == 0)
        return q ? gi_form_num(s, exp(k)) : NULL;
    /* exp(c·min(x, 0)) = x > 0 ? 1 : exp(c·x) */
    const int r = gi_form_atom(s, q, GI_ATOM_RAMP);
    const double c = gi_form_get(q, 1, 0, 1.0);
    if (r >= 0 && q->n == 2 && s->atoms[r].at == 0 && c != 0 && gi_form_get(q, 1, r, 1.0) == -c) {
        const gi_form *step = gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_ABOVE });
        const gi_form *e = gi_form_exp(s, gi_form_scale(s, gi_form_x(s), c));
        return gi_form_scale(s, gi_form_where(s, step, gi_form_num(s, 1), e), exp(k));
    }
    return gi_form_scale(s, gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_EXP, .arg = q }), exp(k));
}

const gi_form *gi_form_log(gi_forms *s, const gi_form *a)
{
    double k, c;
    const gi_form *q;
    if (!a || a->n == 0)
        return NULL;
    if (gi_form_is_num(a, &k))
        return k > 0 ? gi_form_num(s, log(k)) : NULL;
    if (gi_form_is_exp(s, a, &c, &q))
        return gi_form_add(s, q, gi_form_num(s, log(c)));
    const gi_form *rest = gi_form_split(s, a, &k);
    if (k > 0 && gi_form_is_exp(s, rest, &c, &q)) {
        const gi_form *arg = gi_form_add(s, q, gi_form_num(s, log(c / k)));
        return gi_form_add(s, gi_form_softplus(s, arg), gi_form_num(s, log(k)));
    }
    return gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_LOG, .arg = a });
}

const gi_form *gi_form_erf(gi_forms *s, const gi_form *a)
{
    double k;
    if (!a || gi_form_is_num(a, &k))
        return a ? gi_form_num(s, erf(k)) : NULL;
    if (is_negative(a))
        return gi_form_scale(s, gi_form_erf(s, gi_form_scale(s, a, -1)), -1);
    return gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_ERF, .arg = a });
}

const gi_form *gi_form_sigmoid(gi_forms *s, const gi_form *a)
{
    double k;
    if (!a || gi_form_is_num(a, &k))
        return a ? gi_form_num(s, 1 / (1 + exp(-k))) : NULL;
    if (is_negative(a))
        return gi_form_sub(s, gi_form_num(s, 1), gi_form_sigmoid(s, gi_form_scale(s, a, -1)));
    return gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_SIGMOID, .arg = a });
}

const gi_form *gi_form_tanh(gi_forms *s, const gi_form *a)
{
    const gi_form *g = gi_form_sigmoid(s, gi_form_scale(s, a, 2));
    return gi_form_sub(s, gi_form_scale(s, g, 2), gi_form_num(s, 1));
}

const gi_form *gi_form_softplus(gi_forms *s, const gi_form *a)
{
    double k;
    if (!a || gi_form_is_num(a, &k))
        return a ? gi_form_num(s, fmax(k, 0) + log1p(exp(-fabs(k)))) : NULL;
    if (is_negative(a))
        return gi_form_add(s, gi_form_softplus(s, gi_form_scale(s, a, -1)), a);
    return gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_SOFTPLUS, .arg = a });
}

/* ---- choices and means ---- */

const gi_form *gi_form_where(gi_forms *s, const gi_form *c, const gi_form *a, const gi_form *b)
{
    return gi_form_add(s, b, gi_form_mul(s, c, gi_form_sub(s, a, b)));
}

const gi_form *gi_form_mean(gi_forms *s, const gi_form *a, uint64_t axes)
{
    if (!a || a->n == 0)
        return a;
    const double k = a->t[a->n - 1].k;
    const gi_form *arg = gi_form_scale(s, a, 1 / k);
    return arg ? gi_form_scale(s, gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_MEAN, .arg = arg, .axes = axes }), k)
               : NULL;
}

/* ---- steps at their own place ---- */

static bool value_at(const gi_forms *s, const gi_form *a, double x, int depth, double *y);

static bool atom_at(const gi_forms *s, const gi_atom *a, double x, int depth, double *y)
{
    double q = 0;
    if (a->arg && (depth > 8 || !value_at(s, a->arg, x, depth + 1, &q)))
        return false;
    switch (a->kind) {
    case GI_ATOM_X:
        *y = x;
        return true;
    case GI_ATOM_RAMP:
        *y = fmax(x - a->at, 0);
        return true;
    case GI_ATOM_ABOVE:
        *y = x > a->at;
        return true;
    case GI_ATOM_FROM:
        *y = x >= a->at;
        return true;
    case GI_ATOM_EXP:
        *y = exp(q);
        return true;
    case GI_ATOM_LOG:
        *y = log(q);
        return true;
    case GI_ATOM_ERF:
        *y = erf(q);
        return true;
    case GI_ATOM_SIGMOID:
        *y = 1 / (1 + exp(-q));
        return true;
    case GI_ATOM_SOFTPLUS:
        *y = fmax(q, 0) + log1p(exp(-fabs(q)));
        return true;
    case GI_ATOM_SUM:
        *y = q;
        return true;
    case GI_ATOM_CONST:
    case GI_ATOM_MEAN:
        break;
    }
    return false;
}

static bool term_at(const gi_forms *s, const gi_term *t, double x, int depth, double *y)
{
    *y = t->k;
    for (int i = 0; i < t->n; i++) {
        double f;
        if (!atom_at(s, &s->atoms[t->f[i].atom], x, depth, &f))
            return false;
        *y *= pow(f, t->f[i].power);
    }
    return true;
}

static bool value_at(const gi_forms *s, const gi_form *a, double x, int depth, double *y)
{
    *y = 0;
    for (int i = 0; i < a->n; i++) {
        double t;
        if (!term_at(s, &a->t[i], x, depth, &t))
            return false;
        *y += t;
    }
    return isfinite(*y);
}

static bool has_atom(const gi_term *t, int atom)
{
    for (int i = 0; i < t->n; i++)
        if (t->f[i].atom == atom)
            return true;
    return false;
}

const gi_form *gi_form_settle(gi_forms *s, const gi_form *a)
{
    for (int h = 0; a && h < s->n; h++) {
        if (s->atoms[h].kind != GI_ATOM_FROM)
            continue;
        double jump = 0, most = 0, y;
        bool known = true;
        for (int i = 0; i < a->n && known; i++) {
            if (!has_atom(&a->t[i], h))
                continue;
            known = term_at(s, &a->t[i], s->atoms[h].at, 0, &y);
            jump += y;
            most = fmax(most, fabs(y));
        }
        if (!known || fabs(jump) > s->close * most)
            continue;
        const gi_form *above = gi_form_of_atom(s, (gi_atom){ .kind = GI_ATOM_ABOVE, .at = s->atoms[h].at });
        sum b;
        begin(&b, s);
        for (int i = 0; i < a->n; i++) {
            gi_term rest = a->t[i];
            const bool has = has_atom(&rest, h);
            if (!has) {
                put(&b, &rest);
                continue;
            }
            for (int k = 0; k < rest.n; k++)
                if (rest.f[k].atom == h)
                    drop_factor(&rest, k);
            put_product(&b, &rest, above);
        }
        a = finish(&b);
    }
    return a;
}
