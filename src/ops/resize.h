/* The rules and evaluators of the resize family that have a file of their own. */
#ifndef GI_OPS_RESIZE_H
#define GI_OPS_RESIZE_H

#include "ops/real.h"

gopt_status gi_infer_grid_sample(gi_infer *c);
gopt_status gi_eval_grid_sample(gi_eval *a);
gopt_status gi_infer_affine_grid(gi_infer *c);
gopt_status gi_eval_affine_grid(gi_eval *a);

/* One axis of a Resize: for each of `out` places the `taps` elements that it is made of. */
typedef struct gi_resize_map {
    int64_t in, out, taps;
    int64_t *index;
    double *weight;
    bool *outside; /* takes `fill` instead */
    double fill;
    bool unchanged;
} gi_resize_map;

/* The axes of a Resize, from all its inputs but the first, of which the dims alone count. Room for its rank. */
gopt_status gi_resize_maps(gi_eval *a, gi_resize_map *maps);

/* The four weights of cubic interpolation for a place `t` in [0, 1] between the second and third. */
void gi_cubic_weights(double t, double coefficient, double *w);

#endif
