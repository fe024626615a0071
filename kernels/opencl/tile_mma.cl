/* What mma.cl, stream.cl and halo.cl have in common: the sizes of a tile of BM pixels by BN channels, whose operands come
 * through local memory in stages of BK elements, ST deep, in rows of 16-byte chunks; and how an item brings its chunks
 * there. Defined before it: CHUNK (elements), BM, BN, BK, ST, WARPS_M, WARPS_N. */
#define NT (32 * WARPS_M * WARPS_N)
#define WM (BM / WARPS_M)
#define WN (BN / WARPS_N)
#define MI (WM / 16)
#define NI (WN / 8)
#define CHUNKS (BK / CHUNK)
#define ROW (CHUNKS * 16) /* bytes */
#define STEP (NT / CHUNKS)
#define RA (BM / STEP)
#define RB (BN / STEP)
#define STAGE ((BM + BN) * ROW)
#if ROW == 128
#define SWIZZLE(r) ((r)&7)
#elif ROW == 64
#define SWIZZLE(r) (((r) >> 1) & 3)
#else
#define SWIZZLE(r) (((r) >> 2) & 1)
#endif
#define AHEAD (ST - 1)

#if CHUNK == 8
#define KEPT uint4
#define KEPT_PAIR uint
#else
#define KEPT float8
#define KEPT_PAIR float2
#endif

INLINE void unpack2(uint v, float *to)
{
    vstore2(of_halves(v), 0, to);
}

INLINE void unpack8(uint4 v, float *to)
{
    unpack2(v.x, to);
    unpack2(v.y, to + 2);
    unpack2(v.z, to + 4);
    unpack2(v.w, to + 6);
}

/* x / d for 0 <= x < 2^31, by what the host made of d: a factor, and above it a shift (Granlund and Montgomery, Division
 * by Invariant Integers using Multiplication, 1994); factor 0 stands for d = 1. */
INLINE int divide(int x, long by)
{
    const uint factor = (uint)by;
    return factor ? (int)(mul_hi((uint)x, factor) >> (int)(by >> 32)) : x;
}

/* The arguments of both kernels. */
#define PRODUCT_ARGS                                                                                                 \
    __global const X_TYPE *x, const ulong x_at, __global const X_TYPE *w, const ulong w_at,                          \
    __global const float *bias, const ulong bias_at, __global Y_TYPE *y, const ulong y_at,                           \
    __global float4 *parts, const ulong parts_at, __global uint *counts, const ulong counts_at EXTRA_ARGS,           \
    const long m_all_, const long n_all_, const long n_room_, const long chunks_, const long taps_,                  \
    const long row_, const long h_, const long wd_, const long pixels_, const long ow_, const long kw_,              \
    const long sh_, const long sw_, const long ph_, const long pw_, const long dh_, const long dw_,                  \
    const long y_n, const long y_p, const long y_c, const long splits_, const long tiles_n_,                         \
    const long by_splits, const long by_tiles, const long by_pixels, const long by_ow, const long by_chunks,         \
    const long by_kw

/* ---- loading, in a kernel that has these arguments ---- */

/* Where this item's rows of that row of tiles begin. */
#define PLACE_ROWS(rows)                                                                                             \
    _Pragma("unroll") for (int i = 0; i < RA; i++)                                                                   \
    {                                                                                                                \
        const int m_ = (rows)*BM + r0 + i * STEP, image_ = divide(m_, by_pixels), p_ = m_ - image_ * pixels;         \
        const int oy_ = divide(p_, by_ow);                                                                           \
        iy[i] = m_ < m_all ? oy_ * (int)sh_ - (int)ph_ : -(1 << 29);                                                 \
        ix[i] = (p_ - oy_ * ow) * (int)sw_ - (int)pw_;                                                               \
        base[i] = m_ < m_all ? ((image_ * h + iy[i]) * wd + ix[i]) * chunks : 0;                                     \
    }

/* Stages of the weights, and of the pixels: the next chunk of each of this item's rows, zeros outside of the image. */
#if !HALO
#define LOAD_WEIGHTS(at)                                                                                             \
    {                                                                                                                \
        _Pragma("unroll") for (int i = 0; i < RB; i++)                                                               \
            copy16(to + (at) + BM * ROW + i * STEP * ROW, ws + (long)(i * STEP) * row);                              \
        ws += BK;                                                                                                    \
    }
#define LOAD_PIXELS(at)                                                                                              \
    {                                                                                                                \
        const int py = ty * dh, px = tx * dw, off = (py * wd + px) * chunks + c;                                     \
        _Pragma("unroll") for (int i = 0; i < RA; i++)                                                               \
        {                                                                                                            \
            const bool in = tap < taps && (uint)(iy[i] + py) < (uint)h && (uint)(ix[i] + px) < (uint)wd;             \
            copy16z(to + (at) + i * STEP * ROW, xs + (in ? (long)(base[i] + off) * CHUNK : 0L), in ? 16 : 0);            \
        }                                                                                                            \
        c += CHUNKS;                                                                                                 \
        while (c >= chunks) {                                                                                        \
            c -= chunks;                                                                                             \
            tap++;                                                                                                   \
            if (++tx == kw) {                                                                                        \
                tx = 0;                                                                                              \
                ty++;                                                                                                \
            }                                                                                                        \
        }                                                                                                            \
    }
#endif
