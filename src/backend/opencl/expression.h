/* Pointwise nodes as statements of OpenCL C, for kernels of their own and for functions inside of others'. */
#ifndef GI_CL_EXPRESSION_H
#define GI_CL_EXPRESSION_H

#include "backend/opencl/cl.h"

/* Statements as they come: each value has a number, "v3". */
typedef struct gi_cl_writer {
    gi_cl_build *b;
    gi_str body;
    gi_map names;      /* value → its number + 1 */
    uint32_t n_values; /* the next number */
} gi_cl_writer;
void gi_cl_writer_init(gi_cl_writer *w, gi_cl_build *b);

/* Does input i of n lie along the channels of the result, in place of its last dims? A value may be read so, and as any
 * other too: by two numbers. */
bool gi_cl_is_along_channels(const gi_node *n, uint32_t i);
/* The next number is v's. */
void gi_cl_name_value(gi_cl_writer *w, const gi_value *v, bool along_channels);
/* `same` is another name of v; false where v has no number. */
bool gi_cl_name_alias(gi_cl_writer *w, const gi_value *v, const gi_value *same);
bool gi_cl_number_of(const gi_cl_writer *w, const gi_value *v, bool along_channels, uint32_t *number);

/* "const float v3 = 0x1p-1f;", where v is a constant of one element that has a literal; else false, and nothing. */
bool gi_cl_write_constant(gi_cl_writer *w, const gi_value *v, bool along_channels);
/* "const float v3 = (float)(v0 + v1); // Add" for a node that gi_cl_is_pointwise, whose inputs have numbers. */
void gi_cl_write_node(gi_cl_writer *w, const gi_node *n);

#endif
