/* Convolutions of one filter a channel, channels last, sums in floats: an item makes 8 channels of TH by TW
 * neighbouring pixels. Each chunk of x is loaded and widened once for all of the window's places that it stands in.
 * Bound by memory where TH * TW is 4 or more. Weights are floats, [tap][channel].
 *
 * Before it: KH, KW, SH, SW, DH, DW of the window (TH is 1 where DH is not, and TW where DW is not), TH, TW, what
 * gi_cl_epilogue says, X_TYPE, Y_TYPE and STORE, LOAD8(p, i), chunk i of 8 elements as floats, LOADF8 of floats, and
 * STORE8 where Y_VECTOR. */
#define WIDE ((TW - 1) * SW + KW)
#define HIGH ((TH - 1) * SH + KH)
#if TH == 1
#define STEP_Y DH
#define WEIGHT(ky, kx) row[kx]
#else
#define STEP_Y 1
#define WEIGHT(ky, kx) all[(ky)*KW + (kx)]
#endif
#if TW == 1
#define STEP_X DW
#else
#define STEP_X 1
#endif

__kernel GROUP_SIZE(256, 1, 1) void
depthwise(__global const X_TYPE *x, const ulong x_at, __global const float *w, const ulong w_at,
          __global const float *bias, const ulong bias_at, __global Y_TYPE *y, const ulong y_at EXTRA_ARGS,
          const long total, const long n_all, const long n_room, const long chunks_, const long tiles_x_,
          const long tiles_y_, const long h_, const long wd_, const long oh_, const long ow_, const long ph,
          const long pw, const long y_n, const long y_p, const long y_c WALK_ARGS)
{
    const uint id = get_group_id(0) * 256 + get_local_id(0), chunks = chunks_, tiles_x = tiles_x_, tiles_y = tiles_y_;
    const int h = h_, wd = wd_, oh = oh_, ow = ow_;
    if (id >= total)
        return;
    const uint c = id % chunks, t = id / chunks, t2 = t / tiles_x, image = t2 / tiles_y;
    const int ox = (t - t2 * tiles_x) * TW, oy = (t2 - image * tiles_y) * TH;
    const int iy = oy * SH - (int)ph, ix = ox * SW - (int)pw;
    __global const X_TYPE *xs = x + x_at + ((long)image * h * wd * chunks + c) * 8;
    __global const float *ws = w + w_at + c * 8;
    float8 sum[TH * TW];
#pragma unroll
    for (int i = 0; i < TH * TW; i++)
        sum[i] = 0.0f;
#if TH > 1
    float8 all[KH * KW];
#pragma unroll
    for (int i = 0; i < KH * KW; i++)
        all[i] = LOADF8(ws, i * chunks);
#endif
#pragma unroll
    for (int r = 0; r < HIGH; r++) {
        const int py = iy + r * STEP_Y;
        if ((uint)py >= (uint)h)
            continue;
#if TH == 1
        float8 row[KW];
#pragma unroll
        for (int i = 0; i < KW; i++)
            row[i] = LOADF8(ws, (r * KW + i) * chunks);
#endif
        float8 v[WIDE];
#pragma unroll
        for (int i = 0; i < WIDE; i++) {
            const int px = ix + i * STEP_X;
            v[i] = (uint)px < (uint)wd ? LOAD8(xs, (py * wd + px) * (int)chunks) : (float8)0.0f;
        }
#pragma unroll
        for (int a = 0; a < TH; a++) {
            const int ky = r - a * SH;
            if (ky < 0 || ky >= KH)
                continue;
#pragma unroll
            for (int b = 0; b < TW; b++)
#pragma unroll
                for (int kx = 0; kx < KW; kx++)
                    sum[a * TW + b] += v[b * SW + kx] * WEIGHT(ky, kx);
        }
    }
    const uint n = c * 8;
    const float8 start = LOADF8(bias + bias_at, c);
#pragma unroll
    for (int i = 0; i < TH * TW; i++) {
        const int py = oy + i / TW, px = ox + i % TW;
        if (py >= oh || px >= ow)
            continue;
        const ulong at = image * y_n + (ulong)(py * ow + px) * y_p + n * y_c;
        const float8 f = sum[i] + start;
        float v[8] = { f.s0, f.s1, f.s2, f.s3, f.s4, f.s5, f.s6, f.s7 };
        LOAD_RESIDUALS(at)
#pragma unroll
        for (int e = 0; e < 8; e++)
            v[e] = n + e < n_all ? EPILOGUE(v[e], e, n + e) : 0.0f;
#ifdef Y_VECTOR
        STORE8((float8)(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]), y, (y_at + at) / 8);
#else
        for (int e = 0; e < 8; e++)
            if (n + e < n_room)
                STORE(v[e], y, y_at + at + e * y_c);
#endif
    }
}
