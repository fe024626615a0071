/* Cones: the nodes between a root and a value that all ways up from it go through.
 *
 *   %h = Mul %x, 0.5             The ways up from %y part and meet again in %x, so x → y is a function of one variable.
 *   %d = Div %x, 1.414           Going on, %x may be one node above another such value, and so on: each is a cut, and
 *   %e = Erf %d                  gives the root a form in that value.
 *   %a = Add %e, 1
 *   %y = Mul %h, %a
 *
 * A node belongs to the cone if forms know its operator; constants are leaves. */
#ifndef GI_CONE_H
#define GI_CONE_H

#include "passes/form.h"
#include "passes/rule.h"

enum { GI_CONE_NODES = 32 };

typedef struct gi_cut {
    gi_value *x;
    gi_forms *forms;
    const gi_form *form; /* of the root's result in x */
    uint32_t n;          /* nodes, the root first; users before what they use */
    gi_node *const *nodes;
    bool pointwise;   /* no mean, no sum */
    bool casts;       /* from one float type to another */
    gi_value *tensor; /* a constant of more than one number that takes part; NULL where there is none */
} gi_cut;

typedef struct gi_cuts {
    uint32_t n;
    const gi_cut *cut; /* the nearest to the root first */
} gi_cuts;

/* The cuts of the match's root, found once a visit of it. Never NULL; none where there is no memory. */
const gi_cuts *gi_cone_cuts(const gi_match *m);

/* Puts the cut's nodes into the match. False, with the reason, where anything else reads what would go. */
bool gi_cone_take(gi_match *m, const gi_cut *c, gi_reason *why);

/* Does the root's result have the shape of x for all values of the symbols? */
bool gi_cone_keeps_shape(const gi_match *m, const gi_cut *c);

/* ---- what forms leave open (probe.c) ---- */

typedef enum gi_probe_result {
    GI_PROBE_SAME,
    GI_PROBE_SPECIAL, /* they differ where infinities or NaN come in or out; r->why says where */
    GI_PROBE_OTHER    /* they differ, or cannot be evaluated */
} gi_probe_result;

/* Evaluates the cut's nodes and what the rewrite made, which gives y, on numbers of all sizes, on zeros, infinities
 * and NaN, in the element type of x. Pointwise cuts only. */
gi_probe_result gi_probe(gi_rewrite *r, const gi_cut *c, gi_value *y);

#endif
