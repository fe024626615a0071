/* Convolutions of [N, C, H, W] in f32: im2col, which makes a matrix product of one, and a direct form for
 * groups, whose products would be too thin. */

/* col[(c * kh + y) * kw + x, oy * ow + ox] = im[c, oy * sh - ph + y * dh, ox * sw - pw + x * dw], 0 outside. */
__kernel void im2col(__global const float *im, const ulong im_at, __global float *col, const ulong col_at,
                     const long c, const long h, const long w, const long kh, const long kw, const long oh,
                     const long ow, const long sh, const long sw, const long ph, const long pw, const long dh,
                     const long dw)
{
    const long i = get_global_id(0);
    if (i >= c * kh * kw * oh * ow)
        return;
    const long ox = i % ow, oy = i / ow % oh, x = i / (ow * oh) % kw, y = i / (ow * oh * kw) % kh;
    const long channel = i / (ow * oh * kw * kh);
    const long iy = oy * sh - ph + y * dh, ix = ox * sw - pw + x * dw;
    col[col_at + i] = iy >= 0 && iy < h && ix >= 0 && ix < w ? im[im_at + (channel * h + iy) * w + ix] : 0.0f;
}

/* y[n, m, oy, ox], an item each. Where there is no bias, `bias` is any buffer. */
__kernel void conv_direct(__global const float *im, const ulong im_at, __global const float *weights,
                          const ulong weights_at, __global const float *bias, const ulong bias_at,
                          __global float *out, const ulong out_at, const long total, const long c, const long h,
                          const long w, const long m, const long kh, const long kw, const long oh, const long ow,
                          const long sh, const long sw, const long ph, const long pw, const long dh, const long dw,
                          const long groups, const long has_bias)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    const long ox = i % ow, oy = i / ow % oh, k = i / (ow * oh) % m, n = i / (ow * oh * m);
    const long per = c / groups, first = k / (m / groups) * per;
    float sum = has_bias ? bias[bias_at + k] : 0.0f;
    for (long q = 0; q < per; q++) {
        __global const float *plane = im + im_at + (n * c + first + q) * h * w;
        __global const float *taps = weights + weights_at + (k * per + q) * kh * kw;
        for (long y = 0; y < kh; y++) {
            const long iy = oy * sh - ph + y * dh;
            if (iy < 0 || iy >= h)
                continue;
            for (long x = 0; x < kw; x++) {
                const long ix = ox * sw - pw + x * dw;
                if (ix >= 0 && ix < w)
                    sum += plane[iy * w + ix] * taps[y * kw + x];
            }
        }
    }
    out[out_at + i] = sum;
}
