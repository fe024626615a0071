/* Pooling of [planes, H, W] in f32, an item an output. mode 0: maximum; 1: mean over the taps inside;
 * 2: mean over the whole window, the pads counting (limited to the padded input, as ONNX has it). */
__kernel void pool(__global const float *im, const ulong im_at, __global float *out, const ulong out_at,
                   const long total, const long h, const long w, const long kh, const long kw, const long oh,
                   const long ow, const long sh, const long sw, const long ph, const long pw, const long ph_end,
                   const long pw_end, const long dh, const long dw, const long mode)
{
    const long i = get_global_id(0);
    if (i >= total)
        return;
    const long ox = i % ow, oy = i / ow % oh;
    __global const float *plane = im + im_at + i / (ow * oh) * h * w;
    float best = -INFINITY, sum = 0.0f;
    long inside = 0, padded = 0;
    for (long y = 0; y < kh; y++) {
        const long iy = oy * sh - ph + y * dh;
        for (long x = 0; x < kw; x++) {
            const long ix = ox * sw - pw + x * dw;
            if (iy < h + ph_end && ix < w + pw_end)
                padded++;
            if (iy < 0 || iy >= h || ix < 0 || ix >= w)
                continue;
            const float v = plane[iy * w + ix];
            best = v != v || v > best ? v : best;
            sum += v;
            inside++;
        }
    }
    out[out_at + i] = mode == 0 ? best : sum / (float)(mode == 1 ? inside : padded);
}
