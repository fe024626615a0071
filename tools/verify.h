/* What --verify's two files share: verify.c compares before and after, culprit.c finds whose fault a difference is. */
#ifndef VERIFY_H
#define VERIFY_H

#include "tool.h"

/* Sizes of dynamic dims: those that stand first in an input are mostly a batch, and get `lead`, lead + lead_step …;
 * the others `rest`, rest + rest_step …, in the order in which the inputs name them. Dims without a name cannot be told
 * apart: the first of an input get `lead`, and the others `rest`; with `inner`, those between others get `lead` too (a
 * recurrent state lies so). */
typedef struct binding {
    int64_t lead, lead_step, rest, rest_step;
    bool inner;
} binding;

typedef struct checking {
    tool *t;
    gopt_graph *before, *after;
    const gopt_optimize_options *o;
    verdict *v;
    double rtol, atol;
} checking;

/* One binding of the dynamic dims: the inputs, and what the model answered before. */
typedef struct trial {
    binding sizes;
    char text[200]; /* "batch=2, seq=3"; "" where nothing is dynamic */
    gopt_tensor **in;
    size_t n_in;
    answers want;
} trial;

/* Is a dim of any input open: a symbol's, or one without a name? */
bool is_dynamic(const gopt_graph *g);
void trial_free(trial *r);
/* Binding i in the order in which they are tried; false past the last. */
bool binding_get(size_t i, binding *out);
/* Inputs for g with these sizes, and its answers. */
gopt_status trial_make(const checking *c, const gopt_graph *g, const binding *sizes, trial *r);
/* Is g's answer that of the trial? GOPT_DIFFERENT with the reason where it is not. */
gopt_status trial_check(const checking *c, const gopt_graph *g, const trial *r, char *why, size_t size, double *worst);

/* Finds the one rewrite that makes the difference, and the smallest graph that shows it; fills the verdict's culprit. */
gopt_status find_culprit(checking *c, const trial *r);

#endif
