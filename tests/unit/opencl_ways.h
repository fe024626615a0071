/* Variants of kernels for tensor cores, one by one. */
#ifndef GOPT_UNIT_OPENCL_WAYS_H
#define GOPT_UNIT_OPENCL_WAYS_H

#include "backend/opencl/mma.h"

#include "unit/opencl.h"

enum { MOST_WAYS = GI_CL_MOST_WAYS };

/* Runs the network with that variant; so many products at least must have taken it. */
static inline void run_in(gi_cl_element element, gi_cl_way way, const char *text, size_t products)
{
    char how[100], name[GI_CL_MMA_NAME];
    gi_cl_mma_name(&(gi_cl_mma){ .element = element }, way, name, sizeof name);
    (void)snprintf(how, sizeof how, "emulated,%s", name);
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", how, 1), 0);
    const check_options o = { .precision = element == GI_CL_TF32 ? "tf32" : "fp16", .tactic = name };
    const checked r = check_with(&o, text);
    if (r.by_tactic < products)
        fail_msg("%zu products of %zu were computed as %s in\n%s", r.by_tactic, products, name, text);
}

static inline void run_as(gi_cl_way way, const char *text, size_t products)
{
    run_in(GI_CL_HALVES, way, text, products);
}

#endif
