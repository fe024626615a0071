/* Gradient of ai.onnx.preview.training, differentiated on import: what its files share.
 *
 * The driver (gradient.c) walks the nodes between xs and y backwards and calls the rule of each (gradient.def,
 * gradient_rules.c), which says what the gradient of y with respect to each input is, given that with respect to
 * the node's output:
 *
 *     static void of_mul(gi_gradient *d)
 *     {
 *         gi_grad_give(d, 0, gi_grad_node(d, OP_Mul, d->dy, gi_grad_in(d, 1)));     // broadcasting is undone there
 *         gi_grad_give(d, 1, gi_grad_node(d, OP_Mul, d->dy, gi_grad_in(d, 0)));
 *     }
 *
 * Functions that make values give NULL where they fail or where an input is NULL, and note it in d->st: so chains
 * are written without a check between. */
#ifndef GI_ONNX_GRADIENT_H
#define GI_ONNX_GRADIENT_H

#include "onnx/import.h"
#include "ops/infer.h"

typedef struct gi_gradient {
    gi_import *im;
    gi_raw *r;       /* the Gradient node */
    gi_block *block; /* where new nodes go, at the end */
    gi_map active;   /* by value id: depends on one of xs */
    gi_map grads;    /* by value id: gradient of y with respect to it, so far */
    gi_map given;    /* by value id: what the node feeds in its place */
    gopt_status st;
    gi_node *n;   /* the node that a rule is called for */
    gi_value *dy; /* with respect to its output 0; NULL where y does not depend on it */
} gi_gradient;

typedef void (*gi_gradient_fn)(gi_gradient *d);

/* NULL where gradient.def has no row. */
gi_gradient_fn gi_gradient_rule(gi_opcode op);

/* ---- for the rules ---- */

gi_value *gi_grad_in(const gi_gradient *d, uint32_t i); /* input i of d->n; NULL where absent */
gi_value *gi_grad_out(const gi_gradient *d);            /* output 0 of d->n */
bool gi_grad_wants(const gi_gradient *d, uint32_t i);   /* does input i depend on xs? */
gi_value *gi_grad_of(gi_gradient *d, uint32_t out); /* with respect to output i; zeros where y does not depend on it */
void gi_grad_give(gi_gradient *d, uint32_t i, gi_value *v); /* adds v to the gradient of input i, summed to its shape */
/* The node cannot be differentiated, and why: "Conv: group is 2". */
void(gi_grad_refuse)(gi_gradient *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A node of n inputs; attributes may be set before gi_grad_done infers its types and gives its first output. */
gi_node *gi_grad_begin(gi_gradient *d, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out);
gi_value *gi_grad_done(gi_gradient *d, gi_node *n);
#define gi_grad_node(d, op, ...)                                                                           \
    gi_grad_done((d), gi_grad_begin((d), (op), sizeof((gi_value *[]){ __VA_ARGS__ }) / sizeof(gi_value *), \
                                    (gi_value *[]){ __VA_ARGS__ }, 1))

gi_value *gi_grad_scalar(gi_gradient *d, const gi_value *like, double v); /* of its element type, rank 0 */
gi_value *gi_grad_ints(gi_gradient *d, uint32_t n, const int64_t *v);
gi_value *gi_grad_shape(gi_gradient *d, gi_value *x);               /* a constant where it is known */
gi_value *gi_grad_filled(gi_gradient *d, gi_value *like, double v); /* of its type */
gi_value *gi_grad_sum(gi_gradient *d, gi_value *x, uint32_t n, const int64_t *axes, bool keep);
gi_value *gi_grad_transpose(gi_gradient *d, gi_value *x, int rank, const int64_t *perm);
/* g summed over what broadcasting x to g's shape repeats. */
gi_value *gi_grad_sum_to(gi_gradient *d, gi_value *g, gi_value *x);

int gi_grad_rank(const gi_value *v); /* -1 where unknown */
gopt_dtype gi_grad_dtype(const gi_value *v);

/* Differentiates; `out` receives one value an output of r, NULL where its name is empty. */
gopt_status gi_import_gradient(gi_import *im, const gi_scope *s, gi_raw *r, gi_value ***out);

#endif
