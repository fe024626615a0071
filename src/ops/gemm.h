/* Plain matrix products of every element width, shared by the families. */
#ifndef GI_OPS_GEMM_H
#define GI_OPS_GEMM_H

#include "base/base.h"

/* C += A·B; leading dimensions in elements. The unsigned ones wrap, and serve the signed as well. */
void gi_gemm_f32(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb, float *c,
                 int64_t ldc);
void gi_gemm_f64(int64_t m, int64_t n, int64_t k, const double *a, int64_t lda, const double *b, int64_t ldb, double *c,
                 int64_t ldc);
void gi_gemm_u32(int64_t m, int64_t n, int64_t k, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb,
                 uint32_t *c, int64_t ldc);
void gi_gemm_u64(int64_t m, int64_t n, int64_t k, const uint64_t *a, int64_t lda, const uint64_t *b, int64_t ldb,
                 uint64_t *c, int64_t ldc);

typedef enum gi_word { GI_WORD_F32, GI_WORD_F64, GI_WORD_U32, GI_WORD_U64 } gi_word;
static inline size_t gi_word_size(gi_word w)
{
    return w == GI_WORD_F32 || w == GI_WORD_U32 ? 4 : 8;
}

/* The same for packed matrices (leading dimensions k, n and n) of any of them. */
void gi_gemm(gi_word w, int64_t m, int64_t n, int64_t k, const void *a, const void *b, void *c);

/* y[j][i] = x[i][j] for x of rows by cols elements of 4 or 8 bytes. */
void gi_transpose_words(size_t size, int64_t rows, int64_t cols, const void *x, void *y);

#endif
