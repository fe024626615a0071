/* Element types and tensors in host memory.
 *
 * A tensor's elements lie densely in row-major order. 4-bit and 2-bit types are packed from the low bits
 * of each byte, as ONNX packs them. Strings are gopt_string each. */
#ifndef GOPT_TENSOR_H
#define GOPT_TENSOR_H

#include "gopt/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are ONNX's (TensorProto.DataType). */
typedef enum gopt_dtype {
    GOPT_UNDEFINED = 0,
    GOPT_F32 = 1,
    GOPT_U8 = 2,
    GOPT_I8 = 3,
    GOPT_U16 = 4,
    GOPT_I16 = 5,
    GOPT_I32 = 6,
    GOPT_I64 = 7,
    GOPT_STRING = 8,
    GOPT_BOOL = 9,
    GOPT_F16 = 10,
    GOPT_F64 = 11,
    GOPT_U32 = 12,
    GOPT_U64 = 13,
    GOPT_C64 = 14,
    GOPT_C128 = 15,
    GOPT_BF16 = 16,
    GOPT_F8E4M3FN = 17,
    GOPT_F8E4M3FNUZ = 18,
    GOPT_F8E5M2 = 19,
    GOPT_F8E5M2FNUZ = 20,
    GOPT_U4 = 21,
    GOPT_I4 = 22,
    GOPT_F4E2M1 = 23,
    GOPT_F8E8M0 = 24,
    GOPT_U2 = 25,
    GOPT_I2 = 26,
    GOPT_DTYPE_COUNT
} gopt_dtype;

GOPT_API const char *gopt_dtype_name(gopt_dtype t);     /* "f32", "i64", "bool"; "undefined" for others */
GOPT_API int gopt_dtype_bits(gopt_dtype t);             /* 4 for u4, 32 for f32, 8 for bool; 0 for none */
GOPT_API gopt_dtype gopt_dtype_parse(const char *name); /* GOPT_UNDEFINED where there is none */

#define GOPT_MAX_RANK 16

typedef enum gopt_kind { GOPT_TENSOR = 0, GOPT_SEQUENCE, GOPT_OPTIONAL, GOPT_MAP } gopt_kind;

typedef struct gopt_string {
    const char *p;
    size_t n;
} gopt_string;

/* A sequence holds items; an optional holds one item or none; a map holds two, its keys and its values: tensors of
 * one dimension, as long as each other, keys of i64 or strings. `dtype`, `rank`, `dims`, `data` and `bytes`
 * are those of a tensor alone. */
typedef struct gopt_tensor {
    gopt_kind kind;
    gopt_dtype dtype;
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    void *data;
    size_t bytes; /* of data */
    struct gopt_tensor **items;
    size_t n_items;
    gopt_ctx *cx; /* of a tensor that owns its data; NULL: borrowed data */
    int refs;     /* changed with atomics */
    int store;    /* the library's own: how data were had */
} gopt_tensor;

/* Zeroed. GOPT_BAD_INPUT where the size overflows, GOPT_NO_MEMORY past the context's limit; both with a
 * diagnostic. Destroy with gopt_tensor_unref. */
GOPT_API gopt_status gopt_tensor_create(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims,
                                        gopt_tensor **out);
GOPT_API gopt_tensor *gopt_tensor_ref(gopt_tensor *t);
GOPT_API void gopt_tensor_unref(gopt_tensor *t); /* t may be NULL */
GOPT_API int64_t gopt_tensor_elements(const gopt_tensor *t);

/* Element i in row-major order, whatever the dtype (not of strings and complex numbers: those read as 0 and
 * are not written). Writing rounds half to even; integers wrap. The caller keeps i below the count. */
GOPT_API double gopt_tensor_get_f64(const gopt_tensor *t, int64_t i);
GOPT_API int64_t gopt_tensor_get_i64(const gopt_tensor *t, int64_t i);
GOPT_API void gopt_tensor_set_f64(gopt_tensor *t, int64_t i, double x);
GOPT_API void gopt_tensor_set_i64(gopt_tensor *t, int64_t i, int64_t x);
/* Element i of a tensor of strings is a copy of these n bytes, which lives as long as the tensor's context.
 * GOPT_USAGE for other tensors. */
GOPT_API gopt_status gopt_tensor_set_string(gopt_tensor *t, int64_t i, const char *p, size_t n);

/* A map of these keys and values. Takes both references over, also where it fails. */
GOPT_API gopt_status gopt_map_create(gopt_ctx *cx, gopt_tensor *keys, gopt_tensor *values, gopt_tensor **out);

#ifdef __cplusplus
}
#endif
#endif
