/* First convolutions of networks of images, with the MaxPool behind (kernels/opencl/stem.cl). */
#ifndef GI_CL_STEM_H
#define GI_CL_STEM_H

#include "backend/opencl/cl.h"

/* A convolution from no more than 4 channels and the pointwise nodes behind, as gi_cl_tiled, which takes what this leaves. */
gopt_status gi_cl_stem(gi_cl_build *b, const gi_node *main, const gi_node *const *rest, size_t n_rest,
                       const gi_value *result, const gi_value *stored, bool *took);
/* A region that a MaxPool has joined. */
gopt_status gi_cl_take_stem(gi_cl_build *b, const gi_node *n, bool *took);
/* gi_backend.grows */
bool gi_cl_grows(gi_device *d, const gi_node *region, const gi_node *next, gi_arena *a);

/* Variants, and what they are called in profiles and in GOPT_OPENCL_TENSOR: "stem_256x64x8", pixels of the convolution and
 * channels of a group at most, and warps beside each other along the pixels. */
size_t gi_cl_stem_variants(void);
void gi_cl_stem_name(size_t i, char *name, size_t size);

#endif
