/* PyTorch's published schemas, read from their text.
 *
 *   "(Tensor self, int dim) -> Tensor"
 *   "Tensor: (Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor; Scalar: (…) -> Tensor"
 *
 * One overload a "; ", with its name and ": " in front where it has one. The text is the table's own, so what does
 * not read is a bug of ours: a test reads every row. */
#ifndef GI_ATEN_SCHEMA_H
#define GI_ATEN_SCHEMA_H

#include "base/base.h"

typedef enum gi_aten_kind {
    GI_ATEN_TENSOR,
    GI_ATEN_TENSORS, /* a list; entries may be absent where the schema says Tensor?[] */
    GI_ATEN_INT,     /* SymInt too */
    GI_ATEN_INTS,
    GI_ATEN_FLOAT,
    GI_ATEN_FLOATS,
    GI_ATEN_BOOL,
    GI_ATEN_BOOLS,
    GI_ATEN_SCALAR, /* a Python number of any kind */
    GI_ATEN_STR,
    GI_ATEN_DTYPE, /* ScalarType: a number of PyTorch's */
    GI_ATEN_OTHER  /* Layout, Device, MemoryFormat, Generator …: never looked at */
} gi_aten_kind;

enum { GI_ATEN_MAX_PARAMS = 24, GI_ATEN_MAX_OVERLOADS = 12 };

typedef struct gi_aten_param {
    const char *name;
    gi_aten_kind kind;
    bool optional;     /* None will do */
    int length;        /* of int[2]: one number stands for all; 0 where it is not fixed */
    const char *given; /* the default's text; NULL where there is none */
} gi_aten_param;

typedef struct gi_aten_schema {
    const char *overload; /* "" where it has no name */
    gi_aten_param params[GI_ATEN_MAX_PARAMS];
    uint32_t n_params;
    uint32_t n_results; /* 0 where the one result is a list of tensors */
} gi_aten_schema;

/* The overloads, at most `cap` of them, in the arena. False where the text does not read or there is no memory. */
bool gi_aten_read_schemas(gi_arena *a, const char *text, uint32_t cap, gi_aten_schema *out, uint32_t *n);

#endif
