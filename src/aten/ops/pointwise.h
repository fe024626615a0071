/* What lowerings of pointwise operators, and others that compute like them, share. */
#ifndef GI_ATEN_POINTWISE_H
#define GI_ATEN_POINTWISE_H

#include "aten/aten.h"
#include "ir/dtype.h"

/* The operator that the row's argument names. */
gi_opcode gi_aten_opcode(const gi_aten *a);
gi_dclass gi_aten_class(const gi_value *v);
/* Promotes, *t being the type of the answer, and goes on to f32 where that is float16 or bfloat16. */
bool gi_aten_wide(gi_aten *a, gi_aten_promotion how, gopt_dtype *t, uint32_t n, gi_value **const *v);
/* x ∘ a number of x's type. */
gi_value *gi_aten_with(gi_aten *a, gi_opcode op, gi_value *x, double number);
/* Has it a minus sign, -0 too? */
gi_value *gi_aten_negative(gi_aten *a, gi_value *x);
gi_value *gi_aten_log1p(gi_aten *a, gi_value *x);
gi_value *gi_aten_expm1(gi_aten *a, gi_value *x);
gi_value *gi_aten_trunc(gi_aten *a, gi_value *x); /* towards zero; integers stay */

/* (Σ|x|ᵖ)^(1/p) over n axes (reduce.c), and its limits: the number of what is not zero, the largest, the least. */
gi_value *gi_aten_p_norm(gi_aten *a, gi_value *x, uint32_t n, const int64_t *axes, bool keep, double p);

/* Arguments of gi_aten_composed. */
enum {
    GI_ATEN_DEG2RAD,
    GI_ATEN_RAD2DEG,
    GI_ATEN_ERFC,
    GI_ATEN_EXP2,
    GI_ATEN_EXPM1,
    GI_ATEN_LOG1P,
    GI_ATEN_LOG2,
    GI_ATEN_LOG10,
    GI_ATEN_RSQRT,
    GI_ATEN_SINC
};

#endif
