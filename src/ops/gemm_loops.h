/* C += A·B in plain loops for one element type: define WORD and NAME(x) and include; no guard.
 *
 * i-k-j with four k at once, so that the inner loop runs along contiguous rows of B and C, and blocks of k and
 * j that keep a panel of B (256 × 512 words) in the second cache. */
static void NAME(gemm_rows)(int64_t k, int64_t n, const WORD *a, const WORD *b, int64_t ldb, WORD *c)
{
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) {
        const WORD a0 = a[p], a1 = a[p + 1], a2 = a[p + 2], a3 = a[p + 3];
        const WORD *restrict b0 = b + p * ldb, *restrict b1 = b0 + ldb, *restrict b2 = b1 + ldb,
                             *restrict b3 = b2 + ldb;
        WORD *restrict y = c;
        for (int64_t j = 0; j < n; j++)
            y[j] += (a0 * b0[j] + a1 * b1[j]) + (a2 * b2[j] + a3 * b3[j]);
    }
    for (; p < k; p++) {
        const WORD a0 = a[p];
        const WORD *restrict b0 = b + p * ldb;
        WORD *restrict y = c;
        for (int64_t j = 0; j < n; j++)
            y[j] += a0 * b0[j];
    }
}

static void NAME(gemm)(int64_t m, int64_t n, int64_t k, const WORD *a, int64_t lda, const WORD *b, int64_t ldb, WORD *c,
                       int64_t ldc)
{
    enum { BLOCK_K = 256, BLOCK_N = 512 };
    for (int64_t j = 0; j < n; j += BLOCK_N)
        for (int64_t p = 0; p < k; p += BLOCK_K)
            for (int64_t i = 0; i < m; i++)
                NAME(gemm_rows)
    (k - p < BLOCK_K ? k - p : BLOCK_K, n - j < BLOCK_N ? n - j : BLOCK_N, a + i * lda + p, b + p * ldb + j, ldb,
     c + i * ldc + j);
}
