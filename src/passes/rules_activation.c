/* Rules that recognize activations: functions of one variable, by their forms.
 *
 * Each reader below says whether a form is its operator's, and with what attributes. Numbers are compared as closely
 * as the element type and the digits that exporters write allow (gi_close). */
#include <math.h>

#include "passes/cone.h"

#define ONE_VARIABLE                                                                                       \
    "all that is matched depends on x alone, has the shape of x and no other user; on zeros, infinities, " \
    "NaN and numbers of all sizes the operator gives the same; of f64, alpha and beta are numbers that f32 holds"

typedef struct activation {
    gi_opcode op;
    double alpha, beta; /* beta: Selu's gamma; bounds of Clip */
    bool tanh;          /* of Gelu */
    gi_value *slope;    /* of PRelu */
    double sign;        /* of the slope */
    const gi_cut *cut;
} activation;

typedef bool (*reader)(const gi_cut *c, activation *a);

enum { X = 0 }; /* the variable's atom */

static bool is(const gi_cut *c, double a, double b)
{
    return gi_close(c->forms, a, b);
}

static const gi_atom *atom(const gi_cut *c, int i)
{
    return &c->forms->atoms[i];
}

/* The form that a function's atom is of. */
static const gi_form *arg(const gi_cut *c, int i)
{
    return c->forms->atoms[i].arg;
}

/* a is k·x. */
static bool is_scaled_x(const gi_form *a, double *k)
{
    *k = gi_form_get(a, 1, X, 1.0);
    return a && a->n == 1 && *k != 0;
}

static bool is_x(const gi_cut *c, const gi_form *a)
{
    double k;
    return is_scaled_x(a, &k) && is(c, k, 1);
}

/* The atom max(x − t, 0) or (x > t) with t close to `at`; -1 where the form has none. */
static int find_at(const gi_cut *c, gi_atom_kind kind, double at)
{
    for (int i = 0; i < c->form->n; i++)
        for (int k = 0; k < c->form->t[i].n; k++) {
            const int f = c->form->t[i].f[k].atom;
            if (atom(c, f)->kind == kind && is(c, atom(c, f)->at, at))
                return f;
        }
    return -1;
}

/* ---- piecewise linear ---- */

static bool reads_relu(const gi_cut *c, activation *a)
{
    const int r = find_at(c, GI_ATOM_RAMP, 0);
    a->op = OP_Relu;
    return c->form->n == 1 && r >= 0 && is(c, gi_form_get(c->form, 1, r, 1.0), 1);
}

/* a, or nothing, plus ramps up at a and down at b. */
static bool reads_clip(const gi_cut *c, activation *a)
{
    const gi_form *f = c->form;
    const double floor_at = gi_form_get(f, 0), x = gi_form_get(f, 1, X, 1.0);
    int up = -1, down = -1;
    for (int i = 0; i < f->n; i++) {
        const gi_term *t = &f->t[i];
        if (t->n == 0 || (t->n == 1 && t->f[0].atom == X && t->f[0].power == 1))
            continue;
        if (t->n > 1 || t->f[0].power != 1 || atom(c, t->f[0].atom)->kind != GI_ATOM_RAMP)
            return false;
        if (is(c, t->k, 1) && up < 0)
            up = t->f[0].atom;
        else if (is(c, t->k, -1) && down < 0)
            down = t->f[0].atom;
        else
            return false;
    }
    a->op = OP_Clip;
    a->alpha = up < 0 ? -INFINITY : atom(c, up)->at;
    a->beta = down < 0 ? INFINITY : atom(c, down)->at;
    if (up < 0) /* x − max(x − b, 0) */
        return down >= 0 && is(c, x, 1) && floor_at == 0 && f->n == 2;
    return x == 0 && is(c, floor_at, a->alpha) && a->alpha < a->beta && c->n > 1;
}

static bool reads_hard_sigmoid(const gi_cut *c, activation *a)
{
    const gi_form *f = c->form;
    if (f->n != 2 || f->t[0].n != 1 || f->t[1].n != 1 || f->t[0].f[0].power != 1 || f->t[1].f[0].power != 1)
        return false;
    const gi_term *up = f->t[0].k > 0 ? &f->t[0] : &f->t[1], *down = up == &f->t[0] ? &f->t[1] : &f->t[0];
    const gi_atom *from = atom(c, up->f[0].atom), *to = atom(c, down->f[0].atom);
    a->op = OP_HardSigmoid;
    a->alpha = up->k;
    a->beta = from->at == 0 ? 0 : -up->k * from->at;
    return from->kind == GI_ATOM_RAMP && to->kind == GI_ATOM_RAMP && is(c, up->k, -down->k) && up->k > 0 &&
           is(c, up->k * (to->at - from->at), 1) && c->n > 1;
}

static bool reads_hard_swish(const gi_cut *c, activation *a)
{
    const int up = find_at(c, GI_ATOM_RAMP, -3), down = find_at(c, GI_ATOM_RAMP, 3);
    a->op = OP_HardSwish;
    return c->form->n == 2 && up >= 0 && down >= 0 && is(c, gi_form_get(c->form, 2, X, 1.0, up, 1.0), 1.0 / 6) &&
           is(c, gi_form_get(c->form, 2, X, 1.0, down, 1.0), -1.0 / 6);
}

/* α·x + (1 − α)·max(x, 0) */
static bool reads_leaky_relu(const gi_cut *c, activation *a)
{
    const int r = find_at(c, GI_ATOM_RAMP, 0);
    a->op = OP_LeakyRelu;
    a->alpha = gi_form_get(c->form, 1, X, 1.0);
    return c->form->n == 2 && r >= 0 && a->alpha != 0 && is(c, gi_form_get(c->form, 1, r, 1.0), 1 - a->alpha) &&
           !is(c, a->alpha, -1);
}

static bool reads_abs(const gi_cut *c, activation *a)
{
    const int r = find_at(c, GI_ATOM_RAMP, 0);
    a->op = OP_Abs;
    return c->form->n == 2 && r >= 0 && is(c, gi_form_get(c->form, 1, X, 1.0), -1) &&
           is(c, gi_form_get(c->form, 1, r, 1.0), 2);
}

/* ± s·x + max(x, 0) ∓ s·max(x, 0) */
static bool reads_prelu(const gi_cut *c, activation *a)
{
    const int r = find_at(c, GI_ATOM_RAMP, 0), s = gi_form_atom(c->forms, c->form, GI_ATOM_CONST);
    if (c->form->n != 3 || r < 0 || s < 0)
        return false;
    a->op = OP_PRelu;
    a->slope = atom(c, s)->value;
    a->sign = gi_form_get(c->form, 2, X, 1.0, s, 1.0);
    return (a->sign == 1 || a->sign == -1) && gi_form_get(c->form, 2, r, 1.0, s, 1.0) == -a->sign &&
           is(c, gi_form_get(c->form, 1, r, 1.0), 1);
}

static bool reads_thresholded_relu(const gi_cut *c, activation *a)
{
    const int r = gi_form_atom(c->forms, c->form, GI_ATOM_RAMP), h = gi_form_atom(c->forms, c->form, GI_ATOM_ABOVE);
    if (c->form->n != 2 || r < 0 || h < 0)
        return false;
    a->op = OP_ThresholdedRelu;
    a->alpha = atom(c, r)->at;
    return is(c, atom(c, h)->at, a->alpha) && is(c, gi_form_get(c->form, 1, r, 1.0), 1) &&
           is(c, gi_form_get(c->form, 1, h, 1.0), a->alpha);
}

/* x < −λ ? x + b : x > λ ? x − b : 0: x + b − max(x + λ, 0) + max(x − λ, 0) + (λ − b)·((x ≥ −λ) + (x > λ)) */
static bool reads_shrink(const gi_cut *c, activation *a)
{
    const double b = gi_form_get(c->form, 0);
    double lambda = 0;
    for (int i = 0; i < c->form->n; i++)
        if (c->form->t[i].n == 1 && atom(c, c->form->t[i].f[0].atom)->kind == GI_ATOM_RAMP)
            lambda = fmax(lambda, atom(c, c->form->t[i].f[0].atom)->at);
    const int down = find_at(c, GI_ATOM_RAMP, -lambda), up = find_at(c, GI_ATOM_RAMP, lambda);
    const int from = find_at(c, GI_ATOM_FROM, -lambda), above = find_at(c, GI_ATOM_ABOVE, lambda);
    const bool jumps = !is(c, lambda, b);
    a->op = OP_Shrink;
    a->alpha = lambda;
    a->beta = b;
    return lambda > 0 && b >= 0 && down >= 0 && up >= 0 && is(c, gi_form_get(c->form, 1, X, 1.0), 1) &&
           is(c, gi_form_get(c->form, 1, down, 1.0), -1) && is(c, gi_form_get(c->form, 1, up, 1.0), 1) &&
           c->form->n == 3 + (b != 0) + 2 * jumps &&
           (!jumps || (from >= 0 && above >= 0 && is(c, gi_form_get(c->form, 1, from, 1.0), lambda - b) &&
                       is(c, gi_form_get(c->form, 1, above, 1.0), lambda - b)));
}

/* ---- with exponentials ---- */

static bool reads_sigmoid(const gi_cut *c, activation *a)
{
    const int g = gi_form_atom(c->forms, c->form, GI_ATOM_SIGMOID);
    a->op = OP_Sigmoid;
    return c->form->n == 1 && g >= 0 && is(c, gi_form_get(c->form, 1, g, 1.0), 1) && is_x(c, arg(c, g));
}

static bool reads_tanh(const gi_cut *c, activation *a)
{
    double k;
    const int g = gi_form_atom(c->forms, c->form, GI_ATOM_SIGMOID);
    a->op = OP_Tanh;
    return c->form->n == 2 && g >= 0 && is(c, gi_form_get(c->form, 1, g, 1.0), 2) &&
           is(c, gi_form_get(c->form, 0), -1) && is_scaled_x(arg(c, g), &k) && is(c, k, 2);
}

static bool reads_swish(const gi_cut *c, activation *a)
{
    const int g = gi_form_atom(c->forms, c->form, GI_ATOM_SIGMOID);
    a->op = OP_Swish;
    return c->form->n == 1 && g >= 0 && is(c, gi_form_get(c->form, 2, X, 1.0, g, 1.0), 1) &&
           is_scaled_x(arg(c, g), &a->alpha);
}

static bool reads_gelu(const gi_cut *c, activation *a)
{
    double k;
    const int e = gi_form_atom(c->forms, c->form, GI_ATOM_ERF);
    a->op = OP_Gelu;
    return c->form->n == 2 && e >= 0 && is(c, gi_form_get(c->form, 1, X, 1.0), 0.5) &&
           is(c, gi_form_get(c->form, 2, X, 1.0, e, 1.0), 0.5) && is_scaled_x(arg(c, e), &k) && is(c, k, M_SQRT1_2);
}

/* x · sigmoid(2·√(2/π)·(x + 0.044715·x³)), since (1 + tanh(q)) / 2 = sigmoid(2q) */
static bool reads_gelu_tanh(const gi_cut *c, activation *a)
{
    const double k = 2 * M_2_SQRTPI * M_SQRT1_2;
    const int g = gi_form_atom(c->forms, c->form, GI_ATOM_SIGMOID);
    a->op = OP_Gelu;
    a->tanh = true;
    return c->form->n == 1 && g >= 0 && is(c, gi_form_get(c->form, 2, X, 1.0, g, 1.0), 1) && arg(c, g)->n == 2 &&
           is(c, gi_form_get(arg(c, g), 1, X, 1.0), k) && is(c, gi_form_get(arg(c, g), 1, X, 3.0), 0.044715 * k);
}

/* x · (2·sigmoid(2·softplus(x)) − 1) */
static bool reads_mish(const gi_cut *c, activation *a)
{
    const int g = gi_form_atom(c->forms, c->form, GI_ATOM_SIGMOID);
    a->op = OP_Mish;
    if (c->form->n != 2 || g < 0 || !is(c, gi_form_get(c->form, 2, X, 1.0, g, 1.0), 2) ||
        !is(c, gi_form_get(c->form, 1, X, 1.0), -1))
        return false;
    const int p = gi_form_atom(c->forms, arg(c, g), GI_ATOM_SOFTPLUS);
    return arg(c, g)->n == 1 && p >= 0 && is(c, gi_form_get(arg(c, g), 1, p, 1.0), 2) && is_x(c, arg(c, p));
}

/* The same as x·(e² + 2e) / (e² + 2e + 2) or x − 2x / (e² + 2e + 2), e = exp(x). */
static bool reads_mish_fraction(const gi_cut *c, activation *a)
{
    const gi_forms *s = c->forms;
    const int d = gi_form_atom(s, c->form, GI_ATOM_SUM);
    int e[2] = { -1, -1 };
    double k;
    a->op = OP_Mish;
    if (d < 0 || arg(c, d)->n != 3)
        return false;
    for (int i = 0; i < s->n; i++)
        if (s->atoms[i].kind == GI_ATOM_EXP && is_scaled_x(arg(c, i), &k))
            e[is(c, k, 2)] = is(c, k, 1) || is(c, k, 2) ? i : e[is(c, k, 2)];
    if (e[0] < 0 || e[1] < 0)
        return false;
    k = gi_form_get(arg(c, d), 1, e[1], 1.0); /* the sum is scaled */
    if (!is(c, gi_form_get(arg(c, d), 1, e[0], 1.0), 2 * k) || !is(c, gi_form_get(arg(c, d), 0), 2 * k))
        return false;
    if (c->form->n == 2 && is(c, gi_form_get(c->form, 1, X, 1.0), 1))
        return is(c, gi_form_get(c->form, 2, X, 1.0, d, -1.0), -2 * k);
    return c->form->n == 2 && is(c, gi_form_get(c->form, 3, X, 1.0, e[1], 1.0, d, -1.0), k) &&
           is(c, gi_form_get(c->form, 3, X, 1.0, e[0], 1.0, d, -1.0), 2 * k);
}

/* softplus(x), or softplus(|x|) + x − max(x, 0) */
static bool reads_softplus(const gi_cut *c, activation *a)
{
    const int p = gi_form_atom(c->forms, c->form, GI_ATOM_SOFTPLUS), r = find_at(c, GI_ATOM_RAMP, 0);
    a->op = OP_Softplus;
    if (p < 0 || !is(c, gi_form_get(c->form, 1, p, 1.0), 1))
        return false;
    if (c->form->n == 1)
        return is_x(c, arg(c, p));
    return c->form->n == 3 && r >= 0 && is(c, gi_form_get(c->form, 1, X, 1.0), 1) &&
           is(c, gi_form_get(c->form, 1, r, 1.0), -1) && arg(c, p)->n == 2 &&
           is(c, gi_form_get(arg(c, p), 1, X, 1.0), -1) && is(c, gi_form_get(arg(c, p), 1, r, 1.0), 2);
}

/* x / (1 − x + 2·max(x, 0)) */
static bool reads_softsign(const gi_cut *c, activation *a)
{
    const int d = gi_form_atom(c->forms, c->form, GI_ATOM_SUM);
    a->op = OP_Softsign;
    if (c->form->n != 1 || d < 0 || arg(c, d)->n != 3)
        return false;
    const int r = gi_form_atom(c->forms, arg(c, d), GI_ATOM_RAMP);
    const double k = gi_form_get(c->form, 2, X, 1.0, d, -1.0); /* the sum is scaled by it */
    return r >= 0 && atom(c, r)->at == 0 && k > 0 && is(c, gi_form_get(arg(c, d), 0), k) &&
           is(c, gi_form_get(arg(c, d), 1, X, 1.0), -k) && is(c, gi_form_get(arg(c, d), 1, r, 1.0), 2 * k);
}

/* γ·max(x, 0) + (x > 0 ? 0 : γ·α·(exp(k·x) − 1)) */
static bool reads_exp_below(const gi_cut *c, double *gamma, double *alpha, double *k)
{
    const int r = find_at(c, GI_ATOM_RAMP, 0), h = find_at(c, GI_ATOM_ABOVE, 0),
              e = gi_form_atom(c->forms, c->form, GI_ATOM_EXP);
    if (c->form->n != 5 || r < 0 || h < 0 || e < 0 || !is_scaled_x(arg(c, e), k))
        return false;
    *gamma = gi_form_get(c->form, 1, r, 1.0);
    const double low = gi_form_get(c->form, 1, e, 1.0);
    *alpha = low / *gamma;
    return *gamma != 0 && *k > 0 && is(c, gi_form_get(c->form, 0), -low) &&
           is(c, gi_form_get(c->form, 2, h, 1.0, e, 1.0), -low) && is(c, gi_form_get(c->form, 1, h, 1.0), low);
}

static bool reads_elu(const gi_cut *c, activation *a)
{
    double gamma, k;
    a->op = OP_Elu;
    return reads_exp_below(c, &gamma, &a->alpha, &k) && is(c, gamma, 1) && is(c, k, 1);
}

static bool reads_selu(const gi_cut *c, activation *a)
{
    double k;
    a->op = OP_Selu;
    return reads_exp_below(c, &a->beta, &a->alpha, &k) && is(c, k, 1) && a->beta > 0 && !is(c, a->beta, 1);
}

static bool reads_celu(const gi_cut *c, activation *a)
{
    double gamma, k;
    a->op = OP_Celu;
    return reads_exp_below(c, &gamma, &a->alpha, &k) && is(c, gamma, 1) && is(c, k * a->alpha, 1) && !is(c, k, 1);
}

/* ---- finding ---- */

/* The farthest cut whose form is the operator's: it takes most. One that cannot go leaves it to a nearer. */
static bool find(gi_match *m, gi_reason *why, reader read, activation *a)
{
    const gi_cuts *cuts = gi_cone_cuts(m);
    const char *first = NULL;
    for (uint32_t i = cuts->n; i-- > 0;) {
        const gi_cut *c = &cuts->cut[i];
        *a = (activation){ .cut = c };
        if (!c->pointwise || c->casts || gi_value_dtype(c->x) != gi_value_dtype(m->root->out[0]) || !read(c, a) ||
            a->op == m->root->op || (c->tensor && !a->slope))
            continue;
        if (gi_cone_keeps_shape(m, c) && gi_cone_take(m, c, why)) {
            activation *kept = GI_NEW(m->scratch, activation);
            if (kept)
                *kept = *a;
            m->data = kept;
            return kept;
        }
        if (!gi_cone_keeps_shape(m, c))
            gi_decline(why, "its result may be wider than %s", gi_value_ref(c->x, m->scratch));
        first = first ? first : why->text;
    }
    why->text = first;
    return false;
}

#define FINDS(NAME)                                       \
    static bool finds_##NAME(gi_match *m, gi_reason *why) \
    {                                                     \
        activation a;                                     \
        return find(m, why, reads_##NAME, &a);            \
    }
FINDS(relu)
FINDS(clip)
FINDS(hard_sigmoid)
FINDS(hard_swish)
FINDS(leaky_relu)
FINDS(abs)
FINDS(prelu)
FINDS(thresholded_relu)
FINDS(shrink)
FINDS(sigmoid)
FINDS(tanh)
FINDS(swish)
FINDS(gelu)
FINDS(gelu_tanh)
FINDS(softplus)
FINDS(softsign)
FINDS(elu)
FINDS(selu)
FINDS(celu)

static bool reads_any_mish(const gi_cut *c, activation *a)
{
    return reads_mish(c, a) || reads_mish_fraction(c, a);
}

static bool finds_mish(gi_match *m, gi_reason *why)
{
    activation a;
    return find(m, why, reads_any_mish, &a);
}

static int opset_of(gi_opcode op)
{
    return op == OP_Swish ? 24 : op == OP_Gelu ? 20 : op == OP_Mish ? 18 : op == OP_HardSwish ? 14 : 12;
}

static bool finds_any(gi_match *m, gi_reason *why)
{
    static const reader readers[] = { reads_relu,       reads_clip,      reads_hard_sigmoid, reads_hard_swish,
                                      reads_leaky_relu, reads_abs,       reads_prelu,        reads_thresholded_relu,
                                      reads_shrink,     reads_sigmoid,   reads_tanh,         reads_swish,
                                      reads_gelu,       reads_gelu_tanh, reads_any_mish,     reads_softplus,
                                      reads_softsign,   reads_elu,       reads_selu,         reads_celu };
    activation a;
    for (size_t i = 0; i < GI_COUNT(readers); i++)
        if (find(m, why, readers[i], &a))
            return opset_of(a.op) <= m->opset;
    why->text = NULL; /* the rules of their own say it */
    return false;
}

/* ---- making ---- */

static gi_value *bound(gi_rewrite *r, gopt_dtype t, double x)
{
    gi_blob *b;
    if (isinf(x) || gi_blob_create(r->g->cx, t, 0, NULL, &b) != GOPT_OK)
        return NULL;
    gi_store_f64(t, b->owned, 0, x);
    return gi_const(r->g, b, NULL);
}

/* −s */
static gi_value *negated(gi_rewrite *r, const gi_value *s)
{
    const gi_blob *from = gi_value_blob(s);
    gi_blob *b;
    if (gi_blob_create(r->g->cx, from->dtype, from->rank, from->dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < gi_blob_elements(from); i++)
        gi_store_f64(b->dtype, b->owned, (size_t)i, -gi_load_f64(from->dtype, from->data, (size_t)i));
    return gi_const(r->g, b, NULL);
}

static gi_value *build(gi_rewrite *r, const activation *a, gi_value *x)
{
    const gopt_dtype t = gi_value_dtype(x);
    const float alpha = gi_close(a->cut->forms, a->alpha, 1) ? 1.0f : (float)a->alpha, beta = (float)a->beta;
    gi_value *in[3] = { x };
    uint32_t n_in = 1;
    if (t == GOPT_F64 && a->op != OP_Clip && ((double)alpha != a->alpha || (double)beta != a->beta)) {
        r->why = "its numbers are f64, and attributes are f32";
        return NULL;
    }
    if (a->op == OP_Clip) {
        in[1] = bound(r, t, a->alpha);
        in[2] = bound(r, t, a->beta);
        n_in = in[2] ? 3 : 2;
    } else if (a->op == OP_PRelu) {
        in[1] = a->sign > 0 ? a->slope : negated(r, a->slope);
        n_in = 2;
        if (!in[1])
            return NULL;
    }
    gi_node *n = gi_rw_node(r, a->op, n_in, in, 1);
    if (!n)
        return NULL;
    switch (a->op) {
    case OP_HardSigmoid:
        gi_attr_set_float(n, HardSigmoid_at_alpha, alpha);
        gi_attr_set_float(n, HardSigmoid_at_beta, beta);
        break;
    case OP_Selu:
        gi_attr_set_float(n, Selu_at_alpha, alpha);
        gi_attr_set_float(n, Selu_at_gamma, beta);
        break;
    case OP_LeakyRelu:
        gi_attr_set_float(n, LeakyRelu_at_alpha, alpha);
        break;
    case OP_Shrink:
        gi_attr_set_float(n, Shrink_at_lambd, alpha);
        gi_attr_set_float(n, Shrink_at_bias, beta);
        break;
    case OP_ThresholdedRelu:
        gi_attr_set_float(n, ThresholdedRelu_at_alpha, alpha);
        break;
    case OP_Elu:
        gi_attr_set_float(n, Elu_at_alpha, alpha);
        break;
    case OP_Celu:
        gi_attr_set_float(n, Celu_at_alpha, alpha);
        break;
    case OP_Swish:
        if (alpha != 1)
            gi_attr_set_float(n, Swish_at_alpha, alpha);
        break;
    case OP_Gelu:
        if (a->tanh && !gi_attr_set_str(n, Gelu_at_approximate, "tanh"))
            return NULL;
        break;
    default:
        break;
    }
    return gi_rw_done(r, n);
}

static gi_value *make_activation(gi_rewrite *r, const gi_match *m)
{
    const activation *a = m->data;
    gi_value *y = build(r, a, m->x);
    return y && gi_probe(r, a->cut, y) == GI_PROBE_SAME ? y : NULL;
}

static gi_value *make_activation_finite(gi_rewrite *r, const gi_match *m)
{
    const activation *a = m->data;
    gi_value *y = build(r, a, m->x);
    const gi_probe_result p = y ? gi_probe(r, a->cut, y) : GI_PROBE_OTHER;
    r->why = NULL;
    return p == GI_PROBE_OTHER ? NULL : y;
}

/* The same in the operators that ONNX Runtime brings with it, for opsets that have none of their own. */
static gi_value *make_ort_gelu(gi_rewrite *r, const gi_match *m)
{
    activation a = *(const activation *)m->data;
    a.op = a.tanh ? OP_FastGelu : OP_MsGelu;
    gi_value *y = build(r, &a, m->x);
    return y && gi_probe(r, a.cut, y) == GI_PROBE_SAME ? y : NULL;
}

#include "passes/rows.h"
#include "passes/rules/activation.def"
