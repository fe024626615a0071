/* What a device can do at best (ceiling.c): copying, multiply-adds from registers, the same on tensor cores, and a kernel
 * that does nothing. Results are stored where a sum is what it never is, so that no compiler leaves the work out. */
#define NEVER 12345.0f

/* 16 bytes an item; the same ones again and again where there are more items than `mask` + 1. */
__kernel GROUP_SIZE(256, 1, 1) void ceiling_copy(__global const float4 *x, ulong x_at, __global float4 *y, ulong y_at, long mask)
{
    const size_t i = get_global_id(0) & (size_t)mask;
    y[y_at + i] = x[x_at + i];
}

#if defined(FP_FAST_FMAF)
#define MULTIPLY_ADD(s) s = fma(s, a, b)
#else
#define MULTIPLY_ADD(s) s = mad(s, a, b)
#endif

/* 8 sums of 16 floats an item, each apart from the others: 256 operations a round. */
__kernel GROUP_SIZE(256, 1, 1) void ceiling_sums(__global float *y, ulong y_at, long rounds)
{
    const float16 a = (float16)(0.999f), b = (float16)(0.001f);
    float16 s0 = (float16)((float)get_global_id(0)), s1 = s0 + 1, s2 = s0 + 2, s3 = s0 + 3, s4 = s0 + 4, s5 = s0 + 5, s6 = s0 + 6, s7 = s0 + 7;
    for (long i = 0; i < rounds; i++) {
        MULTIPLY_ADD(s0);
        MULTIPLY_ADD(s1);
        MULTIPLY_ADD(s2);
        MULTIPLY_ADD(s3);
        MULTIPLY_ADD(s4);
        MULTIPLY_ADD(s5);
        MULTIPLY_ADD(s6);
        MULTIPLY_ADD(s7);
    }
    s0 += s1 + s2 + s3 + s4 + s5 + s6 + s7;
    const float8 h = s0.lo + s0.hi;
    const float4 q = h.lo + h.hi;
    if (q.x + q.y + q.z + q.w == NEVER)
        y[y_at] = q.x;
}

#if defined(NVIDIA_PTX)
/* 16 tiles of 16 by 8 a warp, each the sum of products of 16 by 16 halves, or by 8 floats in tf32, with as many by 8:
 * 65536 operations a round of a warp, half as many in tf32. */
#define TILES 16
#define KERNEL_OF_TILES(name, multiply)                                                                            \
    __kernel GROUP_SIZE(256, 1, 1) void name(__global float *y, ulong y_at, long rounds, long factors)             \
    {                                                                                                              \
        const uint f = (uint)factors, a[4] = { f, f, f, f };                                                       \
        float c[TILES][4], sum = 0;                                                                                \
        UNROLL                                                                                                     \
        for (int i = 0; i < TILES; i++)                                                                            \
            c[i][0] = c[i][1] = c[i][2] = c[i][3] = i;                                                             \
        for (long r = 0; r < rounds; r++) {                                                                        \
            UNROLL                                                                                                 \
            for (int i = 0; i < TILES; i++)                                                                        \
                multiply(c[i], a, f, f);                                                                           \
        }                                                                                                          \
        UNROLL                                                                                                     \
        for (int i = 0; i < TILES; i++)                                                                            \
            sum += c[i][0] + c[i][1] + c[i][2] + c[i][3];                                                          \
        if (sum == NEVER)                                                                                          \
            y[y_at] = sum;                                                                                         \
    }
KERNEL_OF_TILES(ceiling_tiles, multiply)
KERNEL_OF_TILES(ceiling_tiles_tf32, multiply_tf32)
#endif

__kernel void ceiling_nothing(__global float *y, ulong y_at)
{
}
