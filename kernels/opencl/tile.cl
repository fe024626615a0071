/* Products and convolutions for any device: operands widened to floats, sums in floats.
 *
 * Row m of the result is a pixel (image, y, x), column n a channel; the sum over the taps of the window and the channels of
 * each, channels last in x, in chunks of 16 bytes. Weights lie as [channel of the result][tap][channel], rows of `row`
 * elements. A product of matrices is a convolution of one tap over images of one pixel. A work-group makes B pixels by B
 * channels, an item 4 by 4; each item brings one chunk of both operands, and the next ones are under way while these are
 * multiplied. Before it: what gi_cl_epilogue says, CHUNK elements of X_TYPE and load_chunk(p), which gives them as floats,
 * Y_TYPE and STORE of the result, whose element (m, n) lies at image * y_n + pixel * y_p + n * y_c. */
#define B 64
#define KB (4 * CHUNK)
#define ROW (B + 4) /* each row of local memory begins at 16 bytes */

__kernel GROUP_SIZE(16, 16, 1) void
product_tile(__global const X_TYPE *x, const ulong x_at, __global const X_TYPE *w, const ulong w_at,
             __global const float *bias, const ulong bias_at, __global Y_TYPE *y, const ulong y_at EXTRA_ARGS,
             const long m_all_, const long n_all_, const long n_room_, const long chunks_, const long taps_,
             const long row_, const long h_, const long wd_, const long pixels_, const long ow_, const long kw_,
             const long sh, const long sw, const long ph, const long pw, const long dh_, const long dw_,
             const long y_n, const long y_p, const long y_c WALK_ARGS)
{
    LOCAL(float, room, 2 * KB * ROW);
    __local float(*const a)[ROW] = (__local float(*)[ROW]) room, (*const b)[ROW] = a + KB;
    const int m_all = m_all_, n_all = n_all_, n_room = n_room_, chunks = chunks_, taps = taps_, row = row_, h = h_,
              wd = wd_, pixels = pixels_, ow = ow_, kw = kw_, dh = dh_, dw = dw_;
    const int tx = get_local_id(0), ty = get_local_id(1), t = ty * 16 + tx;
    const int n0 = get_group_id(0) * B, m0 = get_group_id(1) * B;
    const int r = t / 4, k = t % 4 * CHUNK, m = m0 + r, image = m / pixels, p = m - image * pixels;
    const int iy = p / ow * (int)sh - (int)ph, ix = p % ow * (int)sw - (int)pw;
    int tap = t % 4 / chunks, c = t % 4 % chunks, py = iy + tap / kw * dh, px = ix + tap % kw * dw, kx = tap % kw;
    __global const X_TYPE *xs = x + x_at, *ws = w + w_at + (long)(n0 + r) * row + k;
    CHUNK_TYPE va, vb;
#define BRING(at)                                                                                                    \
    {                                                                                                                \
        const bool in = m < m_all && tap < taps && (uint)py < (uint)h && (uint)px < (uint)wd;                        \
        va = 0.0f;                                                                                                   \
        if (in)                                                                                                      \
            va = load_chunk(xs + (long)(((image * h + py) * wd + px) * chunks + c) * CHUNK);                         \
        vb = 0.0f;                                                                                                   \
        if ((at) + k < row)                                                                                          \
            vb = load_chunk(ws + (at));                                                                              \
        for (c += 4; c >= chunks; c -= chunks) {                                                                     \
            tap++;                                                                                                   \
            kx++;                                                                                                    \
            px += dw;                                                                                                \
            if (kx == kw) {                                                                                          \
                kx = 0;                                                                                              \
                px = ix;                                                                                             \
                py += dh;                                                                                            \
            }                                                                                                        \
        }                                                                                                            \
    }
    float sum[4][4];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            sum[i][j] = 0.0f;
    const int length = taps * chunks * CHUNK;
    BRING(0)
    for (int k0 = 0; k0 < length; k0 += KB) {
        float ea[CHUNK], eb[CHUNK];
        store_chunk(va, ea);
        store_chunk(vb, eb);
        for (int i = 0; i < CHUNK; i++) {
            a[k + i][r] = ea[i];
            b[k + i][r] = eb[i];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (k0 + KB < length)
            BRING(k0 + KB)
        for (int l = 0; l < KB; l++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    sum[i][j] += a[l][ty * 4 + i] * b[l][tx * 4 + j];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < 4; i++) {
        const int mm = m0 + ty * 4 + i, place = mm / pixels;
        for (int j = 0; j < 4 && mm < m_all; j++) {
            const int n = n0 + tx * 4 + j;
            if (n >= n_room)
                break;
            const ulong at = place * y_n + (mm - place * pixels) * y_p + n * y_c;
            const float v = n < n_all ? EPILOGUE_AT(sum[i][j] + bias[bias_at + n], at, n) : 0.0f;
            STORE(v, y, y_at + at);
        }
    }
}
