/* Matrix products of the reference evaluators: one set of loops, four element types. */
#include "ops/gemm.h"

#define WORD float
#define NAME(x) x##_f32
#include "ops/gemm_loops.h"
#undef WORD
#undef NAME
#define WORD double
#define NAME(x) x##_f64
#include "ops/gemm_loops.h"
#undef WORD
#undef NAME
#define WORD uint32_t
#define NAME(x) x##_u32
#include "ops/gemm_loops.h"
#undef WORD
#undef NAME
#define WORD uint64_t
#define NAME(x) x##_u64
#include "ops/gemm_loops.h"
#undef WORD
#undef NAME

void gi_gemm_f32(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t ldb, float *c,
                 int64_t ldc)
{
    gemm_f32(m, n, k, a, lda, b, ldb, c, ldc);
}

void gi_gemm_f64(int64_t m, int64_t n, int64_t k, const double *a, int64_t lda, const double *b, int64_t ldb, double *c,
                 int64_t ldc)
{
    gemm_f64(m, n, k, a, lda, b, ldb, c, ldc);
}

void gi_gemm_u32(int64_t m, int64_t n, int64_t k, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t ldb,
                 uint32_t *c, int64_t ldc)
{
    gemm_u32(m, n, k, a, lda, b, ldb, c, ldc);
}

void gi_gemm_u64(int64_t m, int64_t n, int64_t k, const uint64_t *a, int64_t lda, const uint64_t *b, int64_t ldb,
                 uint64_t *c, int64_t ldc)
{
    gemm_u64(m, n, k, a, lda, b, ldb, c, ldc);
}

void gi_gemm(gi_word w, int64_t m, int64_t n, int64_t k, const void *a, const void *b, void *c)
{
    switch (w) {
    case GI_WORD_F32:
        gemm_f32(m, n, k, a, k, b, n, c, n);
        break;
    case GI_WORD_F64:
        gemm_f64(m, n, k, a, k, b, n, c, n);
        break;
    case GI_WORD_U32:
        gemm_u32(m, n, k, a, k, b, n, c, n);
        break;
    case GI_WORD_U64:
        gemm_u64(m, n, k, a, k, b, n, c, n);
        break;
    }
}

void gi_transpose_words(size_t size, int64_t rows, int64_t cols, const void *x, void *y)
{
    enum { TILE = 16 };
    for (int64_t i0 = 0; i0 < rows; i0 += TILE)
        for (int64_t j0 = 0; j0 < cols; j0 += TILE)
            for (int64_t i = i0; i < rows && i < i0 + TILE; i++)
                for (int64_t j = j0; j < cols && j < j0 + TILE; j++) {
                    if (size == 4)
                        ((uint32_t *)y)[j * rows + i] = ((const uint32_t *)x)[i * cols + j];
                    else
                        ((uint64_t *)y)[j * rows + i] = ((const uint64_t *)x)[i * cols + j];
                }
}
