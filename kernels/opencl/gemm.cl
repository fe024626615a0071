/* c[i,j] = alpha * sum over l of a[i,l] b[l,j] + beta * c[i,j], row-major; a and b may be transposed.
 *
 * Tiles of 16 by 16 results by work-groups of as many items; both operands pass through local memory. One
 * product a plane of the third dimension, `stride_*` elements apart. A plain kernel for any device: CLBlast
 * is taken where it is there and worth its start. */
#define T 16

__kernel __attribute__((reqd_work_group_size(T, T, 1))) void
gemm(__global const float *a, const ulong a_at, __global const float *b, const ulong b_at, __global float *c,
     const ulong c_at, const long m, const long n, const long k, const long trans_a, const long trans_b,
     const long lda, const long ldb, const long ldc, const long stride_a, const long stride_b, const long stride_c,
     const long alpha_bits, const long beta_bits)
{
    __local float ta[T][T + 1], tb[T][T + 1];
    const int x = get_local_id(0), y = get_local_id(1);
    const long i0 = (long)get_group_id(1) * T, j0 = (long)get_group_id(0) * T, z = get_group_id(2);
    const long i = i0 + y, j = j0 + x;
    const float alpha = as_float((int)alpha_bits), beta = as_float((int)beta_bits);
    a += a_at + z * stride_a;
    b += b_at + z * stride_b;
    c += c_at + z * stride_c;
    float sum = 0.0f;
    for (long l0 = 0; l0 < k; l0 += T) {
        /* Neighbouring items read neighbouring elements, whichever way an operand lies. */
        const long ai = trans_a ? i0 + x : i, al = l0 + (trans_a ? y : x);
        const float va = ai < m && al < k ? (trans_a ? a[al * lda + ai] : a[ai * lda + al]) : 0.0f;
        const long bj = trans_b ? j0 + y : j, bl = l0 + (trans_b ? x : y);
        const float vb = bj < n && bl < k ? (trans_b ? b[bj * ldb + bl] : b[bl * ldb + bj]) : 0.0f;
        if (trans_a)
            ta[x][y] = va;
        else
            ta[y][x] = va;
        if (trans_b)
            tb[x][y] = vb;
        else
            tb[y][x] = vb;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int l = 0; l < T; l++)
            sum += ta[y][l] * tb[l][x];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (i < m && j < n)
        c[i * ldc + j] = alpha * sum + (beta != 0.0f ? beta * c[i * ldc + j] : 0.0f);
}

/* c[i] = x[i / inner % channels]: a bias to start from. */
__kernel void fill_channels(__global const float *x, const ulong x_at, __global float *c, const ulong c_at,
                            const long total, const long channels, const long inner)
{
    const long i = get_global_id(0);
    if (i < total)
        c[c_at + i] = x[x_at + i / inner % channels];
}
