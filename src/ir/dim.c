/* Dimensions: canonical sums of products of atoms, hash-consed. */
#include "ir/dim_form.h"

#include <stdlib.h>

struct gi_dims {
    gi_arena *arena;
    gi_map by_hash;
    uint64_t next_unknown;
};

/* What grows past these becomes a fresh unknown: a hostile model must not make expressions explode. */
enum { MAX_TERMS = 48, MAX_FACTORS = 12, MAX_DEPTH = GI_DIM_MAX_DEPTH };

/* A sum in the making. */
typedef struct sum {
    int64_t c;
    uint32_t n;
    term t[MAX_TERMS];
    bool overflow;
} sum;

gi_dims *gi_dims_create(gi_arena *a)
{
    gi_dims *t = GI_NEW(a, gi_dims);
    if (t) {
        t->arena = a;
        gi_map_init(&t->by_hash, a);
        t->next_unknown = 1;
    }
    return t;
}

/* ---- order and hash-consing ---- */

static int cmp_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int cmp_factors(const term *a, const term *b)
{
    /* higher degrees first, so that batch*seq stands before batch */
    if (a->n != b->n)
        return a->n > b->n ? -1 : 1;
    for (uint32_t i = 0; i < a->n; i++) {
        const int c = gi_dim_cmp(a->f[i], b->f[i]);
        if (c)
            return c;
    }
    return 0;
}

int gi_dim_cmp(const gi_dim *a, const gi_dim *b)
{
    if (a == b)
        return 0;
    if (a->kind != b->kind) {
        static const int rank[] = { [SYMBOL] = 0, [FLOORDIV] = 1, [MIN] = 2, [MAX] = 3, [SUM] = 4 };
        return cmp_i64(rank[a->kind], rank[b->kind]);
    }
    if (a->kind == SYMBOL && a->unknown && b->unknown) { /* ?9 before ?10 */
        const int c = cmp_i64((int64_t)strlen(a->name), (int64_t)strlen(b->name));
        return c ? c : strcmp(a->name, b->name);
    }
    if (a->kind == SYMBOL)
        return strcmp(a->name, b->name);
    if (a->kind != SUM) {
        const int c = gi_dim_cmp(a->a, b->a);
        return c ? c : gi_dim_cmp(a->b, b->b);
    }
    if (a->n != b->n)
        return cmp_i64(a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        int c = cmp_factors(&a->t[i], &b->t[i]);
        if (!c)
            c = cmp_i64(a->t[i].coef, b->t[i].coef);
        if (c)
            return c;
    }
    return cmp_i64(a->c, b->c);
}

static bool same(const gi_dim *x, const gi_dim *y)
{
    if (x->kind != y->kind || x->hash != y->hash)
        return false;
    if (x->kind == SYMBOL)
        return !strcmp(x->name, y->name);
    if (x->kind != SUM)
        return x->a == y->a && x->b == y->b;
    if (x->c != y->c || x->n != y->n)
        return false;
    for (uint32_t i = 0; i < x->n; i++)
        if (x->t[i].coef != y->t[i].coef || cmp_factors(&x->t[i], &y->t[i]) != 0)
            return false;
    return true;
}

static uint64_t hash_of(const gi_dim *d)
{
    uint64_t h = gi_hash(&d->kind, sizeof d->kind, 1);
    if (d->kind == SYMBOL)
        return gi_hash(d->name, strlen(d->name), h);
    if (d->kind != SUM) {
        const uint64_t both[2] = { d->a->hash, d->b->hash };
        return gi_hash(both, sizeof both, h);
    }
    h = gi_hash(&d->c, sizeof d->c, h);
    for (uint32_t i = 0; i < d->n; i++) {
        h = gi_hash(&d->t[i].coef, sizeof d->t[i].coef, h);
        for (uint32_t k = 0; k < d->t[i].n; k++)
            h = gi_hash(&d->t[i].f[k]->hash, sizeof(uint64_t), h);
    }
    return h;
}

/* The one copy of what `d` describes; copies what it needs. */
static const gi_dim *intern(gi_dims *t, gi_dim d)
{
    d.hash = hash_of(&d);
    gi_dim *first = gi_map_get(&t->by_hash, d.hash);
    for (gi_dim *x = first; x; x = x->next)
        if (same(x, &d))
            return x;
    gi_dim *own = GI_NEW(t->arena, gi_dim);
    if (!own)
        return NULL;
    *own = d;
    if (d.kind == SYMBOL) {
        own->name = gi_arena_str(t->arena, d.name);
        if (!own->name)
            return NULL;
    }
    if (d.kind == SUM && d.n) {
        term *terms = GI_NEW_ARRAY(t->arena, term, d.n);
        if (!terms)
            return NULL;
        for (uint32_t i = 0; i < d.n; i++) {
            terms[i] = d.t[i];
            terms[i].f = GI_NEW_ARRAY(t->arena, const gi_dim *, d.t[i].n);
            if (!terms[i].f)
                return NULL;
            for (uint32_t k = 0; k < d.t[i].n; k++)
                terms[i].f[k] = d.t[i].f[k];
        }
        own->t = terms;
    }
    own->next = first;
    return gi_map_put(&t->by_hash, own->hash, own) ? own : NULL;
}

const gi_dim *gi_dim_const(gi_dims *t, int64_t v)
{
    return intern(t, (gi_dim){ .kind = SUM, .c = v, .nonnegative = v >= 0 });
}

const gi_dim *gi_dim_sym(gi_dims *t, const char *name, bool nonnegative)
{
    const bool unknown = name[0] == '?';
    if (unknown) {
        const uint64_t k = strtoull(name + 1, NULL, 10);
        if (k >= t->next_unknown && k < UINT64_MAX)
            t->next_unknown = k + 1;
    }
    return intern(t, (gi_dim){ .kind = SYMBOL, .name = name, .nonnegative = nonnegative, .unknown = unknown });
}

const gi_dim *gi_dim_unknown(gi_dims *t, bool nonnegative)
{
    char name[32];
    snprintf(name, sizeof name, "?%llu", (unsigned long long)t->next_unknown++);
    return gi_dim_sym(t, name, nonnegative);
}

/* ---- sums ---- */

static void sum_add_term(gi_arena *a, sum *s, int64_t coef, uint32_t n, const gi_dim *const *f)
{
    if (coef == 0)
        return;
    if (n > MAX_FACTORS) {
        s->overflow = true;
        return;
    }
    term x = { .coef = coef, .n = n, .f = GI_NEW_ARRAY(a, const gi_dim *, n ? n : 1) };
    if (!x.f) {
        s->overflow = true;
        return;
    }
    for (uint32_t i = 0; i < n; i++) { /* insertion sort: few factors */
        uint32_t k = i;
        for (; k > 0 && gi_dim_cmp(x.f[k - 1], f[i]) > 0; k--)
            x.f[k] = x.f[k - 1];
        x.f[k] = f[i];
    }
    for (uint32_t i = 0; i < s->n; i++) {
        const int c = cmp_factors(&s->t[i], &x);
        if (c == 0) {
            if (!gi_add_i64(s->t[i].coef, coef, &s->t[i].coef))
                s->overflow = true;
            if (s->t[i].coef == 0) {
                memmove(&s->t[i], &s->t[i + 1], (s->n - i - 1) * sizeof(term));
                s->n--;
            }
            return;
        }
        if (c > 0) {
            if (s->n == MAX_TERMS) {
                s->overflow = true;
                return;
            }
            memmove(&s->t[i + 1], &s->t[i], (s->n - i) * sizeof(term));
            s->t[i] = x;
            s->n++;
            return;
        }
    }
    if (s->n == MAX_TERMS) {
        s->overflow = true;
        return;
    }
    s->t[s->n++] = x;
}

/* s += k * d */
static void sum_add(gi_arena *a, sum *s, int64_t k, const gi_dim *d)
{
    if (d->kind != SUM) {
        sum_add_term(a, s, k, 1, &d);
        return;
    }
    int64_t c;
    if (!gi_mul_i64(k, d->c, &c) || !gi_add_i64(s->c, c, &s->c)) {
        s->overflow = true;
        return;
    }
    for (uint32_t i = 0; i < d->n; i++) {
        if (!gi_mul_i64(k, d->t[i].coef, &c)) {
            s->overflow = true;
            return;
        }
        sum_add_term(a, s, c, d->t[i].n, d->t[i].f);
    }
}

/* A number that can neither be negated nor written behind a minus stands in no sum with others. */
static bool has_least(const sum *s)
{
    bool any = s->n && s->c == INT64_MIN;
    for (uint32_t i = 0; i < s->n; i++)
        any = any || s->t[i].coef == INT64_MIN;
    return any;
}

static const gi_dim *sum_done(gi_dims *t, const sum *s, bool nonnegative)
{
    if (s->overflow || has_least(s))
        return gi_dim_unknown(t, nonnegative);
    if (s->n == 0)
        return gi_dim_const(t, s->c);
    if (s->n == 1 && s->c == 0 && s->t[0].coef == 1 && s->t[0].n == 1)
        return s->t[0].f[0];
    gi_dim d = { .kind = SUM, .c = s->c, .n = s->n, .t = s->t };
    for (uint32_t i = 0; i < s->n; i++)
        for (uint32_t k = 0; k < s->t[i].n; k++) {
            const gi_dim *f = s->t[i].f[k];
            d.unknown |= f->unknown;
            if (f->depth > d.depth)
                d.depth = f->depth;
        }
    return intern(t, d);
}

const gi_dim *gi_dim_add(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    if (!a || !b)
        return NULL;
    sum s = { 0 };
    sum_add(t->arena, &s, 1, a);
    sum_add(t->arena, &s, 1, b);
    return sum_done(t, &s, a->nonnegative && b->nonnegative);
}

const gi_dim *gi_dim_sub(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    if (!a || !b)
        return NULL;
    sum s = { 0 };
    sum_add(t->arena, &s, 1, a);
    sum_add(t->arena, &s, -1, b);
    return sum_done(t, &s, false);
}

/* d as terms behind the constant: an atom is one term. */
static uint32_t terms_of(const gi_dim *const *d, term *one, const term **terms, int64_t *c)
{
    if ((*d)->kind == SUM) {
        *terms = (*d)->t;
        *c = (*d)->c;
        return (*d)->n;
    }
    /* the factor list of a lone atom is the pointer that the caller holds */
    *one = (term){ .coef = 1, .n = 1 };
    memcpy(&one->f, &d, sizeof d);
    *terms = one;
    *c = 0;
    return 1;
}

const gi_dim *gi_dim_mul(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    if (!a || !b)
        return NULL;
    int64_t k;
    sum s = { 0 };
    if (gi_dim_is_const(b, &k)) {
        sum_add(t->arena, &s, k, a);
        return sum_done(t, &s, a->nonnegative);
    }
    if (gi_dim_is_const(a, &k))
        return gi_dim_mul(t, b, a);
    term one_a, one_b;
    const term *ta, *tb;
    int64_t ca, cb;
    const uint32_t na = terms_of(&a, &one_a, &ta, &ca), nb = terms_of(&b, &one_b, &tb, &cb);
    if (cb)
        sum_add(t->arena, &s, cb, a);
    if (ca) {
        sum_add(t->arena, &s, ca, b);
        int64_t cc;
        if (!gi_mul_i64(ca, cb, &cc) || __builtin_sub_overflow(s.c, cc, &s.c)) /* was added twice */
            s.overflow = true;
    }
    for (uint32_t i = 0; i < na && !s.overflow; i++)
        for (uint32_t j = 0; j < nb && !s.overflow; j++) {
            const gi_dim *f[2 * MAX_FACTORS];
            int64_t c;
            if (!gi_mul_i64(ta[i].coef, tb[j].coef, &c)) {
                s.overflow = true;
                break;
            }
            memcpy(f, ta[i].f, ta[i].n * sizeof *f);
            memcpy(f + ta[i].n, tb[j].f, tb[j].n * sizeof *f);
            sum_add_term(t->arena, &s, c, ta[i].n + tb[j].n, f);
        }
    return sum_done(t, &s, a->nonnegative && b->nonnegative);
}

/* ---- division, minimum, maximum ---- */

/* The remaining factors of x after those of y are taken out; false where y's are not all there. */
static bool term_div(const term *x, const term *y, int64_t *coef, uint32_t *n, const gi_dim **f)
{
    if (y->coef == 0 || (x->coef == INT64_MIN && y->coef == -1) || x->coef % y->coef != 0)
        return false;
    *coef = x->coef / y->coef;
    *n = 0;
    uint32_t j = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        if (j < y->n && x->f[i] == y->f[j])
            j++;
        else
            f[(*n)++] = x->f[i];
    }
    return j == y->n;
}

const gi_dim *gi_dim_div_exact(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    if (!a || !b || gi_dim_is(b, 0))
        return NULL;
    if (a == b)
        return gi_dim_const(t, 1);
    if (gi_dim_is(b, 1) || gi_dim_is(a, 0))
        return a;
    term one_a, one_b;
    const term *ta, *tb;
    int64_t ca, cb;
    const uint32_t na = terms_of(&a, &one_a, &ta, &ca), nb = terms_of(&b, &one_b, &tb, &cb);
    const gi_dim *f[MAX_FACTORS];
    uint32_t n;
    int64_t coef;
    if (nb == 0 || (nb == 1 && cb == 0)) { /* by a constant, or by one product */
        const term by = nb ? tb[0] : (term){ .coef = cb };
        sum s = { 0 };
        if (ca && (by.n || (ca == INT64_MIN && by.coef == -1) || ca % by.coef != 0))
            return NULL;
        s.c = ca ? ca / by.coef : 0;
        for (uint32_t i = 0; i < na; i++) {
            if (!term_div(&ta[i], &by, &coef, &n, f))
                return NULL;
            if (n)
                sum_add_term(t->arena, &s, coef, n, f);
            else if (!gi_add_i64(s.c, coef, &s.c))
                return NULL;
        }
        return s.overflow ? NULL : sum_done(t, &s, a->nonnegative);
    }
    for (uint32_t i = 0; i < na; i++) { /* by a sum: is there one product q with q * b == a? */
        if (!term_div(&ta[i], &tb[0], &coef, &n, f))
            continue;
        sum s = { 0 };
        if (n)
            sum_add_term(t->arena, &s, coef, n, f);
        else
            s.c = coef;
        const gi_dim *q = s.overflow ? NULL : sum_done(t, &s, false);
        if (q && gi_dim_mul(t, q, b) == a)
            return q;
    }
    return NULL;
}

static const gi_dim *binary(gi_dims *t, dim_kind kind, const gi_dim *a, const gi_dim *b, bool nonnegative)
{
    const uint16_t depth = (uint16_t)((a->depth > b->depth ? a->depth : b->depth) + 1);
    if (depth > MAX_DEPTH)
        return gi_dim_unknown(t, nonnegative);
    return intern(t, (gi_dim){ .kind = kind,
                               .a = a,
                               .b = b,
                               .depth = depth,
                               .nonnegative = nonnegative,
                               .unknown = a->unknown || b->unknown });
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        const int64_t r = a % b;
        a = b;
        b = r;
    }
    return a < 0 ? -a : a;
}

/* floor(a / k), k > 1: what divides evenly comes out, common factors go. */
static const gi_dim *floordiv_const(gi_dims *t, const gi_dim *a, int64_t k)
{
    term one;
    const term *ta;
    int64_t c;
    const uint32_t n = terms_of(&a, &one, &ta, &c);
    sum whole = { 0 }, rest = { 0 };
    whole.c = gi_floordiv(c, k);
    rest.c = c - whole.c * k;
    int64_t common = k;
    for (uint32_t i = 0; i < n; i++) {
        if (ta[i].coef % k == 0)
            sum_add_term(t->arena, &whole, ta[i].coef / k, ta[i].n, ta[i].f);
        else {
            sum_add_term(t->arena, &rest, ta[i].coef, ta[i].n, ta[i].f);
            common = gcd(common, ta[i].coef);
        }
    }
    if (whole.overflow || rest.overflow)
        return gi_dim_unknown(t, a->nonnegative);
    if (rest.n == 0)
        return sum_done(t, &whole, a->nonnegative);
    if (common > 1) { /* floor((g*x + c) / (g*m)) = floor((x + floor(c/g)) / m) */
        for (uint32_t i = 0; i < rest.n; i++)
            rest.t[i].coef /= common;
        rest.c = gi_floordiv(rest.c, common);
        k /= common;
    }
    const gi_dim *r = sum_done(t, &rest, a->nonnegative), *q;
    if (!r)
        return NULL;
    int64_t m, mk, shift;
    const gi_dim *lone = rest.n == 1 && rest.t[0].coef == 1 && rest.t[0].n == 1 ? rest.t[0].f[0] : NULL;
    if (k == 1) {
        q = r;
    } else if (lone && lone->kind == FLOORDIV && gi_dim_is_const(lone->b, &m) && m > 0 && gi_mul_i64(m, k, &mk) &&
               gi_mul_i64(rest.c, m, &shift)) { /* floor((floor(x/m) + c) / k) = floor((x + c*m) / (m*k)) */
        q = gi_dim_floordiv(t, gi_dim_add(t, lone->a, gi_dim_const(t, shift)), gi_dim_const(t, mk));
    } else if (rest.t[0].coef < 0) { /* one form of ceilings: floor(-x / k) = -floor((x + k-1) / k) */
        const gi_dim *minus = gi_dim_const(t, -1);
        const gi_dim *up = gi_dim_add(t, gi_dim_mul(t, r, minus), gi_dim_const(t, k - 1));
        q = gi_dim_mul(t, gi_dim_floordiv(t, up, gi_dim_const(t, k)), minus);
    } else {
        q = binary(t, FLOORDIV, r, gi_dim_const(t, k), r->nonnegative);
    }
    if (!q)
        return NULL;
    sum_add(t->arena, &whole, 1, q);
    return sum_done(t, &whole, a->nonnegative);
}

const gi_dim *gi_dim_floordiv(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    if (!a || !b)
        return NULL;
    int64_t x, y;
    if (gi_dim_is(b, 0))
        return gi_dim_unknown(t, true);
    if (gi_dim_is_const(b, &y)) {
        if (y < 0)
            return y == INT64_MIN ? gi_dim_unknown(t, false)
                                  : gi_dim_floordiv(t, gi_dim_mul(t, a, gi_dim_const(t, -1)), gi_dim_const(t, -y));
        if (y == 1)
            return a;
        if (gi_dim_is_const(a, &x))
            return gi_dim_const(t, gi_floordiv(x, y));
        return floordiv_const(t, a, y);
    }
    const gi_dim *exact = gi_dim_div_exact(t, a, b);
    if (exact)
        return exact;
    return binary(t, FLOORDIV, a, b, a->nonnegative && b->nonnegative);
}

const gi_dim *gi_dim_ceildiv(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    const gi_dim *minus = gi_dim_const(t, -1);
    return gi_dim_mul(t, gi_dim_floordiv(t, gi_dim_mul(t, a, minus), b), minus);
}

const gi_dim *gi_dim_mod(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return gi_dim_sub(t, a, gi_dim_mul(t, b, gi_dim_floordiv(t, a, b)));
}

/* d with one factor of a lone-factor term replaced: coef * atom becomes by * with. */
static const gi_dim *exchange(gi_dims *t, const gi_dim *d, const term *x, int64_t by, const gi_dim *with)
{
    const gi_dim *less = gi_dim_sub(t, d, gi_dim_mul(t, gi_dim_const(t, x->coef), x->f[0]));
    return gi_dim_add(t, less, gi_dim_mul(t, gi_dim_const(t, by), with));
}

enum { BOUND_DEPTH = 3, BOUND_TRIES = 24 };

/* Is d >= 0 for all values? Where plain bounds do not tell, atoms give way to what bounds them:
 * x-k+1 <= k*floor(x/k) <= x, min(a,b) <= a, max(a,b) >= a. So x - 7*floor(x/7) and a - min(a,512) are seen. */
static bool never_negative(gi_dims *t, const gi_dim *d, int depth, int *tries)
{
    int64_t bound, k;
    if (!d || (gi_dim_lower(d, &bound) && bound >= 0))
        return d != NULL;
    for (uint32_t i = 0; d->kind == SUM && depth < BOUND_DEPTH && i < d->n; i++) {
        const term *x = &d->t[i];
        const gi_dim *f = x->f[0];
        if (x->n != 1 || f->kind == SYMBOL)
            continue;
        if (--*tries < 0)
            return false;
        const bool floor = f->kind == FLOORDIV && gi_dim_is_const(f->b, &k) && k > 0 && x->coef % k == 0;
        const gi_dim *bound_of = !floor ? NULL : x->coef < 0 ? f->a : gi_dim_add(t, f->a, gi_dim_const(t, 1 - k));
        if (floor && never_negative(t, exchange(t, d, x, x->coef / k, bound_of), depth + 1, tries))
            return true;
        if (((f->kind == MIN && x->coef < 0) || (f->kind == MAX && x->coef > 0)) &&
            (never_negative(t, exchange(t, d, x, x->coef, f->a), depth + 1, tries) ||
             never_negative(t, exchange(t, d, x, x->coef, f->b), depth + 1, tries)))
            return true;
    }
    return false;
}

static const gi_dim *min_max(gi_dims *t, dim_kind kind, const gi_dim *a, const gi_dim *b)
{
    if (!a || !b || a == b)
        return a && b ? a : NULL;
    const gi_dim *d = gi_dim_sub(t, a, b);
    if (!d)
        return NULL;
    int tries = BOUND_TRIES, more = BOUND_TRIES;
    if (never_negative(t, d, 0, &tries))
        return kind == MIN ? b : a;
    if (never_negative(t, gi_dim_sub(t, b, a), 0, &more))
        return kind == MIN ? a : b;
    if (gi_dim_cmp(a, b) > 0) {
        const gi_dim *swap = a;
        a = b;
        b = swap;
    }
    int64_t la, lb;
    const bool pos_a = gi_dim_lower(a, &la) && la >= 0, pos_b = gi_dim_lower(b, &lb) && lb >= 0;
    return binary(t, kind, a, b, kind == MIN ? pos_a && pos_b : pos_a || pos_b);
}

const gi_dim *gi_dim_min(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return min_max(t, MIN, a, b);
}

const gi_dim *gi_dim_max(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    return min_max(t, MAX, a, b);
}

/* ---- other dims for the symbols, another table ---- */

const gi_dim *gi_dim_subst(gi_dims *t, const gi_dim *d, const gi_binding *b, size_t n)
{
    if (d->kind == SYMBOL) {
        for (size_t i = 0; i < n; i++)
            if (b[i].symbol == d)
                return gi_dim_const(t, b[i].value);
        return d;
    }
    if (d->kind != SUM) {
        const gi_dim *x = gi_dim_subst(t, d->a, b, n), *y = gi_dim_subst(t, d->b, b, n);
        if (x == d->a && y == d->b)
            return d;
        return d->kind == FLOORDIV ? gi_dim_floordiv(t, x, y) : min_max(t, d->kind, x, y);
    }
    const gi_dim *total = gi_dim_const(t, d->c);
    for (uint32_t i = 0; i < d->n && total; i++) {
        const gi_dim *p = gi_dim_const(t, d->t[i].coef);
        for (uint32_t k = 0; k < d->t[i].n && p; k++) {
            const gi_dim *f = gi_dim_subst(t, d->t[i].f[k], b, n);
            p = f ? gi_dim_mul(t, p, f) : NULL;
        }
        total = p ? gi_dim_add(t, total, p) : NULL;
    }
    return total;
}

const gi_dim *gi_dim_import_named(gi_dims *t, const gi_dim *d, const char *(*name)(void *arg, const gi_dim *symbol),
                                  void *arg)
{
    if (d->kind == SYMBOL)
        return gi_dim_sym(t, name(arg, d), d->nonnegative);
    if (d->kind != SUM) {
        const gi_dim *a = gi_dim_import_named(t, d->a, name, arg), *b = gi_dim_import_named(t, d->b, name, arg);
        const bool turned = a && b && d->kind != FLOORDIV && gi_dim_cmp(a, b) > 0;
        return a && b ? binary(t, d->kind, turned ? b : a, turned ? a : b, d->nonnegative) : NULL;
    }
    sum s = { .c = d->c };
    for (uint32_t i = 0; i < d->n; i++) {
        const gi_dim *f[MAX_FACTORS];
        for (uint32_t k = 0; k < d->t[i].n; k++) {
            f[k] = gi_dim_import_named(t, d->t[i].f[k], name, arg);
            if (!f[k])
                return NULL;
        }
        sum_add_term(t->arena, &s, d->t[i].coef, d->t[i].n, f);
    }
    return sum_done(t, &s, d->nonnegative);
}

static const char *own_name(void *arg, const gi_dim *symbol)
{
    (void)arg;
    return symbol->name;
}

const gi_dim *gi_dim_import(gi_dims *t, const gi_dim *d)
{
    return gi_dim_import_named(t, d, own_name, NULL);
}
