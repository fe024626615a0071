/* What form.c and form_lines.c share. */
#ifndef GI_FORM_INNER_H
#define GI_FORM_INNER_H

#include "passes/form.h"

/* The atom to the power 1: the one that there is, or a new one. NULL where there are too many. */
const gi_form *gi_form_of_atom(gi_forms *s, gi_atom atom);
/* a without its number, which is *k then. */
const gi_form *gi_form_split(gi_forms *s, const gi_form *a, double *k);
/* Is a = c·exp(q) with c above 0? */
bool gi_form_is_exp(const gi_forms *s, const gi_form *a, double *c, const gi_form **q);

#endif
