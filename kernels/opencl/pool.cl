/* Pooling of images, an item an output. mode 0: maximum; 1: mean over the taps inside; 2: mean over the whole window,
 * the pads counting (limited to the padded input, as ONNX has it). Items go through the pixels of one channel.
 * Element (n, c, y, x) of the input lies at n * x_n + c * x_c + y * x_y + x * x_x, the result's likewise. X_TYPE, Y_TYPE, LOAD and STORE are defined before it. */
__kernel void pool(__global const X_TYPE *im, const ulong im_at, __global Y_TYPE *out, const ulong out_at,
                   const long total, const long c, const long h, const long w, const long kh, const long kw,
                   const long oh, const long ow, const long sh, const long sw, const long ph,
                   const long pw, const long ph_end, const long pw_end, const long dh, const long dw,
                   const long x_n, const long x_c, const long x_y, const long x_x, const long y_n, const long y_c,
                   const long y_y, const long y_x, const long mode WALK_ARGS)
{
    const uint i = get_global_id(0);
    if (i >= total)
        return;
    const uint pixels = oh * ow;
    const uint pixel = i % pixels, channel = i / pixels % (uint)c, image = i / (pixels * (uint)c);
    const long ox = pixel % (uint)ow, oy = pixel / (uint)ow;
    __global const X_TYPE *plane = im + im_at + image * x_n + channel * x_c;
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
            const float v = LOAD(plane, iy * x_y + ix * x_x);
            best = v != v || v > best ? v : best;
            sum += v;
            inside++;
        }
    }
    STORE(mode == 0 ? best : sum / (float)(mode == 1 ? inside : padded), out,
          out_at + image * y_n + channel * y_c + oy * y_y + ox * y_x);
}

/* The same where both lie with channels last: an item computes 8 neighbouring channels of a pixel. From one pixel to the
 * next are x_pitch and y_pitch chunks of 8. Windows of KH by KW; they, LOAD8 and STORE8 are defined before it. */
#if defined(KW)
__kernel void pool8(__global const X_TYPE *im, const ulong im_at, __global Y_TYPE *out, const ulong out_at,
                    const long total, const long chunks_, const long h_, const long w_, const long kh, const long kw,
                    const long oh_, const long ow_, const long sh, const long sw, const long ph, const long pw,
                    const long ph_end, const long pw_end, const long dh, const long dw, const long x_pitch_,
                    const long y_pitch, const long mode WALK_ARGS)
{
    const uint i = get_global_id(0), chunks = chunks_, ow = ow_, oh = oh_, x_pitch = x_pitch_;
    const int h = h_, w = w_;
    if (i >= total)
        return;
    const uint c = i % chunks, p = i / chunks, ox = p % ow, oy = p / ow % oh, n = p / (ow * oh);
    const int y0 = (int)oy * (int)sh - (int)ph, x0 = (int)ox * (int)sw - (int)pw;
    float8 best = -INFINITY, sum = 0.0f;
    int inside = 0, padded = 0;
    /* KH and KW are known: all loads of a row of the window are under way at once, outside of the image from its edge */
#pragma unroll
    for (int y = 0; y < KH; y++) {
        const int iy = y0 + y * (int)dh;
        float8 v[KW];
#pragma unroll
        for (int x = 0; x < KW; x++)
            v[x] = LOAD8(im + im_at,
                         (ulong)((n * h + clamp(iy, 0, h - 1)) * w + clamp(x0 + x * (int)dw, 0, w - 1)) * x_pitch + c);
#pragma unroll
        for (int x = 0; x < KW; x++) {
            const int ix = x0 + x * (int)dw;
            const bool in = iy >= 0 && iy < h && ix >= 0 && ix < w;
            padded += iy < h + ph_end && ix < w + pw_end;
            inside += in;
            best = select(best, v[x], (isnan(v[x]) | (v[x] > best)) & (in ? -1 : 0));
            sum += in ? v[x] : (float8)(0.0f);
        }
    }
    STORE8(mode == 0 ? best : sum / (float)(mode == 1 ? inside : padded), out + out_at, (ulong)p * y_pitch + c);
}
#endif
