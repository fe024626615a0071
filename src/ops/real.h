/* Arithmetic of the neural-network operators runs in f32 or f64: this brings inputs there and results back.
 *
 *   const float *x;  float *y;                              // or double, as `real` says
 *   GI_TRY(gi_real_in(a, Conv_in_X, real, (const void **)&x));
 *   GI_TRY(gi_real_out(a, 0, dtype, rank, dims, &out));     // out.p NULL where nobody wants it
 *   …
 *   gi_real_store(&out);
 *
 * An input that is in that type already is read in place and an output of that type written in place; the
 * others pass through scratch memory. */
#ifndef GI_OPS_REAL_H
#define GI_OPS_REAL_H

#include "ops/eval.h"
#include "ops/infer.h"

typedef struct gi_real {
    gopt_tensor *t; /* NULL: nobody wants it */
    gopt_dtype real;
    void *p; /* elements of `real`, those of t where its dtype is that */
} gi_real;

/* f64 stays f64; the narrow floats and the small integers compute in f32. */
static inline gopt_dtype gi_real_of(gopt_dtype t)
{
    return t == GOPT_F64 ? GOPT_F64 : GOPT_F32;
}

/* The elements of input i as `real`; *p is NULL where the input is absent. */
gopt_status gi_real_in(gi_eval *a, uint32_t i, gopt_dtype real, const void **p);

/* Output i of that dtype and shape, to be filled as gi_real_of(dtype) and then stored. Where `real` memory
 * is the output's own it holds anything; no value may be read before it is written. */
gopt_status gi_real_out(gi_eval *a, uint32_t i, gopt_dtype dtype, int rank, const int64_t *dims, gi_real *out);
/* The same, computed as `real` whatever the dtype. */
gopt_status gi_real_out_as(gi_eval *a, uint32_t i, gopt_dtype dtype, gopt_dtype real, int rank, const int64_t *dims,
                           gi_real *out);
void gi_real_store(const gi_real *out);

/* Converts n numbers between any two numeric types: integers saturate, floats round to nearest even. */
void gi_convert(gopt_dtype to, void *y, gopt_dtype from, const void *x, size_t n);

/* x, of shape `from`, broadcast to `to` (one direction), in scratch; x itself where the element counts are
 * equal. NULL with GOPT_OK where the shapes do not fit. */
gopt_status gi_real_expand(gi_eval *a, gopt_dtype real, const void *x, int rank_from, const int64_t *from, int rank_to,
                           const int64_t *to, const void **y);

/* Is input i given, and of that rank? If not, the failure to return; likewise its dimension. */
gopt_status gi_eval_rank(const gi_eval *a, uint32_t i, int rank);
gopt_status gi_eval_rank_at_least(const gi_eval *a, uint32_t i, int rank);
gopt_status gi_eval_dim(const gi_eval *a, uint32_t i, int axis, int64_t size);

/* The same for type rules; unknown ranks and dimensions pass. */
gopt_status gi_infer_want_rank(const gi_infer *c, uint32_t i, int rank);
gopt_status gi_infer_want_rank_at_least(const gi_infer *c, uint32_t i, int rank);
gopt_status gi_infer_want_dim(const gi_infer *c, uint32_t i, int axis, const gi_dim *size, const char *why);
gopt_status gi_infer_want_dtype(const gi_infer *c, uint32_t i, uint32_t like); /* that of another input */

/* Sets an output to the dtype of an input, of unknown rank where dims is NULL. */
void gi_infer_set_like(gi_infer *c, uint32_t out, uint32_t in, int rank, const gi_dim *const *dims);

#endif
