/* Activations that other operators hold, by the name that they have as operators. */
#ifndef GI_OPS_ACTIVATE_H
#define GI_OPS_ACTIVATE_H

#include "ops/eval.h"

enum { GI_ACTIVATION_MAX = 2 }; /* parameters */

/* How many parameters it has, and their usual values; -1 where there is none of that name. */
int gi_activation_parameters(const char *name, double *usual);

/* y = f(y). Parameters are in the order of the operator's inputs and attributes, as many as it has. */
gopt_status gi_activate(gi_eval *a, const char *name, const double *parameters, gopt_tensor *y);

#endif
