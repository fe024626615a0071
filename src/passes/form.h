/* Forms: what an expression of one variable means, however it is written.
 *
 *   0.5 * x * (1 + Erf(x / 1.4142135))
 *   x * (Erf(x * 0.70710678) * 0.5 + 0.5)          all become       0.5·x + 0.5·x·erf(0.70710678·x)
 *   (x + x * Erf(x / 1.4142135)) / 2
 *
 * A form is a sum of terms, a term a number times powers of atoms: the variable, a constant tensor, or a
 * function of a form. Products are multiplied out, and functions reduced to few, so that what is equal mostly
 * becomes equal:
 *   1 / (1 + exp(−q)) and tanh become sigmoid; of sigmoid(q) and sigmoid(−q), erf(q) and erf(−q) one is kept;
 *   Relu, Clip, Min, Max, Abs of piecewise linear forms become sums of ramps max(x − t, 0);
 *   Where over a comparison of x with a number becomes a sum with steps (x > t), (x ≥ t).
 * What a form says holds for finite numbers without overflow; whoever rewrites by it checks the rest.
 *
 * A constructor gives NULL where the expression has no form: too many terms, a function that is not known of, an
 * operand that is NULL, no memory. */
#ifndef GI_FORM_H
#define GI_FORM_H

#include "ir/graph.h"

typedef enum gi_atom_kind {
    GI_ATOM_X,        /* the variable */
    GI_ATOM_CONST,    /* a constant tensor of more than one number */
    GI_ATOM_RAMP,     /* max(x − t, 0) */
    GI_ATOM_ABOVE,    /* x > t ? 1 : 0 */
    GI_ATOM_FROM,     /* x ≥ t ? 1 : 0 */
    GI_ATOM_EXP,      /* of arg, always to the power 1; no number in arg */
    GI_ATOM_LOG,      /* of arg */
    GI_ATOM_ERF,      /* of arg, whose last term is positive */
    GI_ATOM_SIGMOID,  /* likewise */
    GI_ATOM_SOFTPLUS, /* likewise */
    GI_ATOM_SUM,      /* arg itself, to a power that is not multiplied out; its last term is 1 or -1 of its atoms */
    GI_ATOM_MEAN      /* of arg over axes */
} gi_atom_kind;

enum { GI_FORM_FACTORS = 6, GI_FORM_TERMS = 20, GI_FORM_ATOMS = 40 };

typedef struct gi_factor {
    int atom;
    double power;
} gi_factor;

typedef struct gi_term {
    double k;
    int n;
    gi_factor f[GI_FORM_FACTORS]; /* by atom */
} gi_term;

typedef struct gi_form {
    int n;            /* 0: zero */
    const gi_term *t; /* a number first; no two alike */
} gi_form;

typedef struct gi_atom {
    gi_atom_kind kind;
    double at;     /* t */
    uint64_t axes; /* of a mean: a bit a dim */
    const gi_form *arg;
    gi_value *value; /* of a constant */
} gi_atom;

typedef struct gi_forms {
    gi_arena *a;
    double close; /* numbers that differ by less, relative to the greater, are the same */
    int n;
    gi_atom atoms[GI_FORM_ATOMS];
} gi_forms;

/* x is atom 0. */
void gi_forms_init(gi_forms *s, gi_arena *a, double close);

const gi_form *gi_form_x(gi_forms *s);
const gi_form *gi_form_num(gi_forms *s, double k);
const gi_form *gi_form_const(gi_forms *s, gi_value *v);
const gi_form *gi_form_add(gi_forms *s, const gi_form *a, const gi_form *b);
const gi_form *gi_form_sub(gi_forms *s, const gi_form *a, const gi_form *b);
const gi_form *gi_form_scale(gi_forms *s, const gi_form *a, double k);
const gi_form *gi_form_mul(gi_forms *s, const gi_form *a, const gi_form *b);
const gi_form *gi_form_div(gi_forms *s, const gi_form *a, const gi_form *b);
const gi_form *gi_form_pow(gi_forms *s, const gi_form *a, double p);
const gi_form *gi_form_exp(gi_forms *s, const gi_form *a);
const gi_form *gi_form_log(gi_forms *s, const gi_form *a);
const gi_form *gi_form_erf(gi_forms *s, const gi_form *a);
const gi_form *gi_form_sigmoid(gi_forms *s, const gi_form *a);
const gi_form *gi_form_tanh(gi_forms *s, const gi_form *a);
const gi_form *gi_form_softplus(gi_forms *s, const gi_form *a);
const gi_form *gi_form_max(gi_forms *s, const gi_form *a, const gi_form *b);
const gi_form *gi_form_min(gi_forms *s, const gi_form *a, const gi_form *b);
const gi_form *gi_form_above(gi_forms *s, const gi_form *a, const gi_form *b, bool or_equal);
const gi_form *gi_form_where(gi_forms *s, const gi_form *c, const gi_form *a, const gi_form *b);
const gi_form *gi_form_mean(gi_forms *s, const gi_form *a, uint64_t axes);

/* x ≥ t becomes x > t where what it switches is 0 at t, so that the two do not differ. */
const gi_form *gi_form_settle(gi_forms *s, const gi_form *a);

bool gi_close(const gi_forms *s, double a, double b);
bool gi_form_equal(const gi_forms *s, const gi_form *a, const gi_form *b);
bool gi_form_is_num(const gi_form *a, double *k);

/* The number of the one term that has just these factors, atom and power in turn, n of them; 0 where there is none. */
double gi_form_get(const gi_form *a, int n, ...);
/* The only atom of that kind; -1 where there is none or several. */
int gi_form_atom(const gi_forms *s, const gi_form *a, gi_atom_kind kind);

#endif
