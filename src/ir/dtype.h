/* Facts about element types, one row each in dtype.def, and conversion of single elements. */
#ifndef GI_DTYPE_H
#define GI_DTYPE_H

#include "base/base.h"
#include "gopt/tensor.h"

typedef enum gi_dclass { GI_NONE, GI_FLOAT, GI_SINT, GI_UINT, GI_BOOLEAN, GI_TEXT, GI_COMPLEX } gi_dclass;

gi_dclass gi_dtype_class(gopt_dtype t);
const char *gi_dtype_onnx_name(gopt_dtype t); /* "FLOAT", "INT64" */
static inline bool gi_dtype_is_float(gopt_dtype t)
{
    return gi_dtype_class(t) == GI_FLOAT;
}
static inline bool gi_dtype_is_int(gopt_dtype t)
{
    const gi_dclass c = gi_dtype_class(t);
    return c == GI_SINT || c == GI_UINT;
}

/* Bytes of n elements, packed types rounded up to a byte. False where it overflows or t has no size. */
bool gi_dtype_bytes(gopt_dtype t, size_t n, size_t *bytes);

/* Element i of an array of that type. Not for strings and complex. Writing rounds half to even and
 * saturates as ONNX's Cast does for the small floats; integers wrap. */
double gi_load_f64(gopt_dtype t, const void *data, size_t i);
int64_t gi_load_i64(gopt_dtype t, const void *data, size_t i);
void gi_store_f64(gopt_dtype t, void *data, size_t i, double x);
void gi_store_i64(gopt_dtype t, void *data, size_t i, int64_t x);

float gi_f16_to_f32(uint16_t h);
uint16_t gi_f32_to_f16(float f); /* round to nearest even */
static inline float gi_bf16_to_f32(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
uint16_t gi_f32_to_bf16(float f);

#endif
