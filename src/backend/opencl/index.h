/* Kernels with an item for each element of a result, written for one node: what is read is found by arithmetic on the
 * element's coordinates.
 *
 *     // Gather
 *     typedef int ix;
 *     #define X(i) xs[xs_at + (i)]
 *     __kernel void element(__global const float *xs, const ulong xs_at, …, __global float *y, const ulong y_at)
 *     {
 *         const ix i = get_global_id(0);
 *         const ix c0 = i / 5, c1 = i % 5;
 *         …                                      what the node's function adds to `body`
 *         y[y_at + c0 * 5 + c1] = X(n * 5 + c1);
 *     } */
#ifndef GI_CL_INDEX_H
#define GI_CL_INDEX_H

#include "backend/opencl/cl.h"

typedef struct gi_cl_index {
    gi_cl_build *b;
    const char *title;
    gi_str head, params, body;
    gi_cl_ref refs[GI_CL_MAX_REFS];
    uint32_t n_refs;
    const gi_value *result;
    gi_cl_view y;
    bool wide; /* places need 64 bits */
} gi_cl_index;

/* "c0", "c1", … and "n0", "n1", …: coordinates in the result, and elsewhere. */
extern const char *const gi_cl_coordinates[GOPT_MAX_RANK], *const gi_cl_places[GOPT_MAX_RANK];

/* An element that moves as it is: by its size, where kernels have no such type; NULL for packed elements and text. */
const char *gi_cl_move_type(gopt_dtype t);
/* Static, of whole elements: what moves need. */
bool gi_cl_movable(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims);

/* Coordinates c0 … of element i of `result`. */
gopt_status gi_cl_index_begin(gi_cl_index *k, gi_cl_build *b, const gi_node *n, const gi_value *result);
/* A tensor that is read: NAME(i) is its element at place i; `view` (may be NULL) says how it lies. */
gopt_status gi_cl_index_read(gi_cl_index *k, const gi_value *v, const char *name, gi_cl_view *view);
/* The same of numbers that are known now. */
gopt_status gi_cl_index_ints(gi_cl_index *k, const char *name, const int64_t *v, size_t n);
gopt_status gi_cl_index_floats(gi_cl_index *k, const char *name, const float *v, size_t n);
/* Writes the place of an element in a view, "c0 * 12 + c1 * 4 + …"; NULL coordinates: the result's own. */
void gi_cl_index_place(gi_str *s, const gi_cl_view *v, const char *const *coordinates);
/* Stores the expression `value` and launches. */
gopt_status gi_cl_index_end(gi_cl_index *k, const char *value);
/* Launches with what stands in `body` as it is: for kernels that store by themselves, `items` of them. */
gopt_status gi_cl_index_launch(gi_cl_index *k, int64_t items);

/* Integers of a value that are known when the plan is made: all of them. NULL where they are not, or more than `most`
 * (then b->why says so: `what` is "its axes are"). */
const int64_t *gi_cl_known_ints(gi_cl_build *b, gi_value *v, const char *what, size_t most, size_t *n);

/* ---- quantize.c ---- */
/* The range of a type that numbers are quantized to, of 8 and 16 bits; false of others. */
bool gi_cl_quantized_range(gopt_dtype t, int64_t *low, int64_t *high);
/* Stores the float `v`, rounded and with the zero point added, as such a type, and launches. */
gopt_status gi_cl_index_end_quantized(gi_cl_index *k, gopt_dtype t, const char *v);

#endif
