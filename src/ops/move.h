/* Moving elements without looking at them, and the contents of small shape tensors: what the shape, movement
 * and index families share.
 *
 * In an evaluator elements are whole bytes: packed 4-bit and 2-bit tensors are spread to a byte each on the way
 * in (gi_move_in) and packed again on the way out (gi_move_end); strings move as gopt_string. */
#ifndef GI_MOVE_H
#define GI_MOVE_H

#include "ops/eval.h"
#include "ops/infer.h"

/* ---- for evaluators ---- */

/* Bytes of an element as it is moved: never 0. */
size_t gi_move_item(gopt_dtype t);

/* A tensor's elements, dense. Borrowed from it, or scratch where it is packed. */
gopt_status gi_move_in(gi_eval *a, const gopt_tensor *t, const uint8_t **p);

/* Output i, to be filled with dense elements. p is NULL where nobody wants it. */
typedef struct gi_moved {
    gopt_tensor *t;
    uint8_t *p;
    size_t item;
} gi_moved;
gopt_status gi_move_out(gi_eval *a, uint32_t i, gopt_dtype dtype, int rank, const int64_t *dims, gi_moved *m);
void gi_move_end(const gi_moved *m); /* packs what must be packed */

/* dst[i·dst_strides] = src[i·src_strides] for all i in dims. Strides count elements; those of src may be 0 or
 * negative; up to twice GOPT_MAX_RANK of them. Runs that are dense on both sides go by memcpy, transpositions by blocks. */
void gi_move_nd(int rank, const int64_t *dims, uint8_t *dst, const int64_t *dst_strides, const uint8_t *src,
                const int64_t *src_strides, size_t item);
void gi_move_fill(uint8_t *dst, int64_t n, const uint8_t *value, size_t item);

/* The first input's elements under other dims (of as many elements) as the first output. */
gopt_status gi_move_view(gi_eval *a, int rank, const int64_t *dims);

/* Integers of an input of rank 0 or 1, in scratch; *v is NULL where it is absent. At most `most` of them. */
gopt_status gi_move_ints(gi_eval *a, uint32_t in, uint32_t most, uint32_t *n, int64_t **v);

/* Axes of an input (all of them, in order, where it is absent), each in 0 … rank-1 and once. */
gopt_status gi_move_axes(gi_eval *a, uint32_t in, int rank, uint32_t *n, int *axes);

/* First element and length of start … end by step (not 0) in a dim of that size, as ONNX's Slice clamps them. */
void gi_slice_span(int64_t dim, int64_t start, int64_t end, int64_t step, int64_t *first, int64_t *length);

/* ---- for type rules ---- */

enum { GI_KNOWN_MAX = 64 }; /* contents of more elements are not followed */

/* Contents of a small integer or bool input: as known, or fresh unknowns where its length alone is known.
 * NULL where there is nothing to say. */
const gi_dim *const *gi_contents(gi_infer *c, uint32_t in, uint32_t *n);

/* Contents of an input of any rank, traced back through views, Transpose and Slice; NULL where not known. */
const gi_dim *const *gi_traced(gi_infer *c, uint32_t in, uint32_t *n);

/* Sets an output's type; GOPT_NO_MEMORY where a dim is NULL. rank -1: unknown. */
gopt_status gi_set(gi_infer *c, uint32_t out, gopt_dtype t, int rank, const gi_dim *const *dims);
/* Sets an output's contents (copied), if there are few enough. */
gopt_status gi_set_known(gi_infer *c, uint32_t out, uint32_t n, const gi_dim *const *known);

/* Dims of an input (room for GOPT_MAX_RANK); returns its rank, -1 where unknown. */
int gi_dims_of(gi_infer *c, uint32_t in, const gi_dim **dims);

/* Product of dims[from … to-1]. */
const gi_dim *gi_dims_product(gi_infer *c, int from, int to, const gi_dim *const *dims);

/* a / b, exact where that can be seen, else rounded down. */
const gi_dim *gi_dims_quotient(gi_infer *c, const gi_dim *a, const gi_dim *b);

/* Constant axes of an input (all of them where it is absent), each in 0 … rank-1 and once. *n is -1 where they
 * are not constant. */
gopt_status gi_axes_of(gi_infer *c, uint32_t in, int rank, int *n, int *axes);

/* A dim as text, in scratch. */
const char *gi_dim_text(gi_infer *c, const gi_dim *d);
/* Dims as text, "[2,n]", in scratch. */
const char *gi_dims_text(gi_infer *c, int rank, const gi_dim *const *dims);

#endif
