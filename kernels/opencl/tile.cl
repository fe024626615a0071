/* Products and convolutions in halves for any device: operands widened to floats, sums in floats.
 *
 * Row m of the result is a pixel (image, y, x), column n a channel; the sum over the taps of the window and the channels of
 * each, channels last in x, in chunks of 8. Weights lie as [channel of the result][tap][channel], rows of `row` halves.
 * A product of matrices is a convolution of one tap over images of one pixel. Before it: what gi_cl_epilogue says,
 * Y_TYPE and STORE of the result, whose element (m, n) lies at image * y_n + pixel * y_p + n * y_c. */
#define B 64
#define KB 16

__kernel GROUP_SIZE(16, 16, 1) void
product_tile(__global const half *x, const ulong x_at, __global const half *w, const ulong w_at,
             __global const float *bias, const ulong bias_at, __global Y_TYPE *y, const ulong y_at EXTRA_ARGS,
             const long m_all, const long n_all, const long n_room, const long chunks, const long taps,
             const long row, const long h, const long wd, const long pixels, const long ow, const long kw,
             const long sh, const long sw, const long ph, const long pw, const long dh, const long dw,
             const long y_n, const long y_p, const long y_c WALK_ARGS)
{
    LOCAL(float, room, 2 * KB * (B + 1));
    __local float(*const a)[B + 1] = (__local float(*)[B + 1]) room, (*const b)[B + 1] = a + KB;
    const int tx = get_local_id(0), ty = get_local_id(1), t = ty * 16 + tx;
    const long n0 = (long)get_group_id(0) * B, m0 = (long)get_group_id(1) * B;
    /* each item loads 4 neighbouring elements of one row of both operands */
    const int r = t / 4, k = t % 4 * 4;
    const long m = m0 + r, image = m / pixels, oy = m % pixels / ow, ox = m % pixels % ow;
    const long iy = oy * sh - ph, ix = ox * sw - pw;
    float sum[4][4];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            sum[i][j] = 0.0f;
    for (long k0 = 0; k0 < taps * chunks * 8; k0 += KB) {
        const long q = (k0 + k) / 8, tap = q / chunks, py = iy + tap / kw * dh, px = ix + tap % kw * dw;
        const bool in = m < m_all && tap < taps && py >= 0 && py < h && px >= 0 && px < wd;
        const ulong from = x_at + (((image * h + py) * wd + px) * chunks + q % chunks) * 8 + k % 8;
        for (int i = 0; i < 4; i++) {
            a[k + i][r] = in ? vload_half(from + i, x) : 0.0f;
            b[k + i][r] = k0 + k + i < row ? vload_half(w_at + (n0 + r) * row + k0 + k + i, w) : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int l = 0; l < KB; l++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    sum[i][j] += a[l][ty * 4 + i] * b[l][tx * 4 + j];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            const long mm = m0 + ty * 4 + i, n = n0 + tx * 4 + j;
            if (mm >= m_all || n >= n_room)
                continue;
            const ulong at = mm / pixels * y_n + mm % pixels * y_p + n * y_c;
            const float v = n < n_all ? EPILOGUE_AT(sum[i][j] + bias[bias_at + n], at, n) : 0.0f;
            STORE(v, y, y_at + at);
        }
}
