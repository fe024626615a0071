/* The first convolution of a network of images, from as few as 1 to 4 channels, with what is fused behind it, and with the
 * maximum over windows that may follow, in one kernel on tensor cores: what lies between is never written.
 *
 * A work-group makes TH by TW results of BN channels: the pixels of the convolution that their windows need, a rectangle,
 * ROWS of them at most. It reads its patch of the image once, as it lies and of whatever type, and keeps it in local
 * memory as halves, 4 channels a pixel, zeros where there are none. Two neighbouring pixels are a chunk of 16 bytes, and
 * a window is CHUNKS of them, the rows of the window one behind the other: what ldmatrix wants as a row of the first
 * factor lies in the patch already, from where the window begins. Where windows begin at odd pixels too (SW is odd) that
 * is no multiple of 16 bytes, and there is a second patch, one pixel behind. Weights lie as [channel of the result]
 * [chunk], rows of an odd number of chunks, so that 8 channels meet no bank twice. Sums are floats; results of the
 * convolution become halves in local memory, where weights and patch were.
 *
 * All of the geometry is defined before it: CIN, COUT, ROOM (channels that the result has room for); KH, KW, SH, SW,
 * PAD_Y, PAD_X of the window; IN_H, IN_W, OUT_H, OUT_W of the images before and behind the convolution; POOL (0 or 1) and
 * its POOL_KH, POOL_KW, POOL_SH, POOL_SW, POOL_Y, POOL_X (pads), without it windows of one; Y_H, Y_W of the result; X_N,
 * X_C, X_Y, X_X, Y_N, Y_C, Y_Y, Y_X, from element to element; and of the variant TH, TW, ROWS, BN, WARPS_M, WARPS_N and
 * LOCAL_BYTES. Y_VECTOR: halves, 8 neighbouring channels in one piece. */
#define ITEMS (32 * WARPS_M * WARPS_N)
#define MI (ROWS / 16 / WARPS_M)
#define NI (BN / 8 / WARPS_N)
#define ACROSS ((KW + 1) / 2) /* chunks of a row of the window */
#define CHUNKS (KH * ACROSS)
#define STEPS ((CHUNKS + 1) / 2)
#define W_ROW ((STEPS * 2 + 1) * 16)
#define CONV_H ((TH - 1) * POOL_SH + POOL_KH)
#define CONV_W ((TW - 1) * POOL_SW + POOL_KW)
#define PIXELS (CONV_H * CONV_W)
#define PATCH_H ((CONV_H - 1) * SH + KH)
#define PATCH_W (((CONV_W - 1) * SW + ACROSS * 2 + 1) / 2 * 2)
#define PATCH (PATCH_H * PATCH_W)
#define BIAS_AT (BN * W_ROW)
#define PATCH_AT (BIAS_AT + BN * 4)
#define SECOND ((PATCH * 8 + 127) / 128 * 128 + 64) /* from one patch to the other */
#define OUT_ROW (BN * 2 + 16)
#define TILES_X ((Y_W + TW - 1) / TW)
#define TILES_Y ((Y_H + TH - 1) / TH)
#define BLOCKS ((ROOM + BN - 1) / BN)
#define AT_ONCE 6 /* pixels that an item has under way */
#define LEAST 0xfc00fc00u /* two halves, the least of all */

/* Bytes from where a window begins to its chunk. */
#define CHUNK_AT(c) (((c) / ACROSS * PATCH_W + (c) % ACROSS * 2) * 8)

__kernel GROUP_SIZE(ITEMS, 1, 1) void stem(__global const X_TYPE *x, const ulong x_at, __global const half *w,
                                           const ulong w_at, __global const float *bias, const ulong bias_at,
                                           __global Y_TYPE *y, const ulong y_at EXTRA_ARGS WALK_ARGS)
{
    LOCAL(uint, room, LOCAL_BYTES / 4);
    EXCHANGE(ITEMS, LOCAL_BYTES)
    ADDRESS const sm = ADDRESS_OF(room);
    const int tid = get_local_id(0), lane = tid & 31, warp = tid >> 5, wm = warp / WARPS_N, wn = warp % WARPS_N;
    const uint unit = get_group_id(0), tile = unit / BLOCKS, image = tile / (TILES_X * TILES_Y);
    const int n0 = unit % BLOCKS * BN, tx = tile % TILES_X * TW, ty = tile / TILES_X % TILES_Y * TH;
    const int cy0 = ty * POOL_SH - POOL_Y, cx0 = tx * POOL_SW - POOL_X; /* the convolution's first pixel */

    /* Weights are there before what other kernels make. */
    __global const half *const ws = w + w_at + (ulong)n0 * (W_ROW / 2);
#pragma unroll 4
    for (int i = tid; i < BN * W_ROW / 16; i += ITEMS)
        copy16(sm + i * 16, ws + i * 8);
    if (tid < BN / 4)
        copy16(sm + BIAS_AT + tid * 16, bias + bias_at + n0 + tid * 4);
    COMMIT();
    BEFORE_READING();

    /* the patch: some pixels of an item are under way at once */
    {
        __global const X_TYPE *const from = x + x_at + (ulong)image * X_N;
        __local char *const patch = (__local char *)room + PATCH_AT;
        const int y0 = cy0 * SH - PAD_Y, x0 = cx0 * SW - PAD_X;
        for (int first = tid; first < PATCH; first += AT_ONCE * ITEMS) {
            float v[AT_ONCE][4];
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const uint p = first + k * ITEMS;
                const int iy = y0 + (int)(p / PATCH_W), ix = x0 + (int)(p % PATCH_W);
                const bool in = p < PATCH && (uint)iy < IN_H && (uint)ix < IN_W;
                const int at = in ? iy * X_Y + ix * X_X : 0; /* no branch: all loads are under way together */
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    const float one = c < CIN ? LOAD(from, at + (c < CIN ? c : 0) * X_C) : 0.0f;
                    v[k][c] = in ? one : 0.0f;
                }
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const uint p = first + k * ITEMS;
                const uint2 pixel = (uint2)(to_halves(v[k][0], v[k][1]), to_halves(v[k][2], v[k][3]));
                if (p < PATCH)
                    *(__local uint2 *)(patch + p * 8) = pixel;
#if SW % 2
                if (p < PATCH && p % PATCH_W)
                    *(__local uint2 *)(patch + SECOND + p * 8 - 8) = pixel;
#endif
            }
        }
    }
    WAIT_FOR(0);
    BARRIER();

    float acc[MI][NI][4];
#pragma unroll
    for (int j = 0; j < NI; j++) {
        const float2 b = *(__local const float2 *)((__local const char *)room + BIAS_AT +
                                                   ((wn * NI + j) * 8 + (lane & 3) * 2) * 4);
#pragma unroll
        for (int i = 0; i < MI; i++) {
            acc[i][j][0] = acc[i][j][2] = b.x;
            acc[i][j][1] = acc[i][j][3] = b.y;
        }
    }
    ADDRESS a_at[MI];
#pragma unroll
    for (int i = 0; i < MI; i++) {
        const int p = min((wm * MI + i) * 16 + (lane & 15), PIXELS - 1), cy = p / CONV_W, cx = p % CONV_W;
        a_at[i] = sm + PATCH_AT + (cy * SH * PATCH_W + cx * SW) * 8;
#if SW % 2
        a_at[i] += (cx & 1) * (SECOND - 8);
#endif
#if ACROSS % 2 == 0
        a_at[i] += (lane >> 4) * 16;
#endif
    }
    /* 16 channels by 16 elements of the sum */
    ADDRESS const b_at = sm + (wn * NI * 8 + (lane & 7) + ((lane >> 4) << 3)) * W_ROW + ((lane >> 3) & 1) * 16;
    UNROLL
    for (int s = 0; s < STEPS; s++) {
        uint a[MI][4], b[NI / 2][4];
#if ACROSS % 2 == 0
        const int off = CHUNK_AT(2 * s);
#else /* the two chunks of a step may be of two rows; the weights of one behind the last are zero */
        const int off = lane < 16 ? CHUNK_AT(2 * s) : CHUNK_AT(min(2 * s + 1, CHUNKS - 1));
#endif
        UNROLL
        for (int i = 0; i < MI; i++)
            load_matrix(a[i], a_at[i] + off);
        UNROLL
        for (int j = 0; j < NI / 2; j++)
            load_matrix(b[j], b_at + s * 32 + j * 16 * W_ROW);
        UNROLL
        for (int i = 0; i < MI; i++)
            UNROLL
            for (int j = 0; j < NI; j++)
                multiply(acc[i][j], a[i], b[j >> 1][(j & 1) * 2], b[j >> 1][(j & 1) * 2 + 1]);
    }
    BARRIER();

    /* Halves, where weights and patch were: to a window, pixels outside of the convolution's image are none. */
#pragma unroll
    for (int i = 0; i < MI * 2; i++) {
        const int p = (wm * MI * 2 + i) * 8 + (lane >> 2);
        __local char *const to = (__local char *)room + p * OUT_ROW + (wn * NI * 8 + (lane & 3) * 2) * 2;
        uint h[NI];
#if POOL
        const int cy = cy0 + p / CONV_W, cx = cx0 + p % CONV_W;
        const bool in = (uint)cy < OUT_H && (uint)cx < OUT_W;
#else
        const bool in = true;
#endif
#pragma unroll
        for (int j = 0; j < NI; j++) {
            const int n = n0 + (wn * NI + j) * 8 + (lane & 3) * 2;
            const float u = n < COUT ? EPILOGUE(acc[i / 2][j][i % 2 * 2], 0, n) : 0.0f;
            const float v = n + 1 < COUT ? EPILOGUE(acc[i / 2][j][i % 2 * 2 + 1], 0, n + 1) : 0.0f;
            h[j] = to_halves(u, v);
        }
        if (p < PIXELS) {
#pragma unroll
            for (int j = 0; j < NI; j++)
                *(__local uint *)(to + j * 16) = in ? h[j] : LEAST;
        }
    }
    BARRIER();

    for (int i = tid; i < TH * TW * BN / 8; i += ITEMS) {
        const int c = i % (BN / 8), q = i / (BN / 8), qy = q / TW, qx = q % TW, n = n0 + c * 8;
        if (ty + qy >= Y_H || tx + qx >= Y_W || n >= ROOM)
            continue;
        ADDRESS const from = sm + (qy * POOL_SH * CONV_W + qx * POOL_SW) * OUT_ROW + c * 16;
        uint4 v = as_uint4(load_local(from));
#if POOL
#pragma unroll
        for (int k = 1; k < POOL_KH * POOL_KW; k++) {
            const uint4 other = as_uint4(load_local(from + (k / POOL_KW * CONV_W + k % POOL_KW) * OUT_ROW));
            v.x = max_halves(v.x, other.x);
            v.y = max_halves(v.y, other.y);
            v.z = max_halves(v.z, other.z);
            v.w = max_halves(v.w, other.w);
        }
#endif
        __global Y_TYPE *const to =
            y + y_at + (ulong)image * Y_N + (ulong)(ty + qy) * Y_Y + (ulong)(tx + qx) * Y_X + (ulong)n * Y_C;
#if defined(Y_VECTOR)
        *(__global uint4 *)to = v;
#else
        float e[8];
        vstore2(of_halves(v.x), 0, e);
        vstore2(of_halves(v.y), 1, e);
        vstore2(of_halves(v.z), 2, e);
        vstore2(of_halves(v.w), 3, e);
        for (int k = 0; k < 8 && n + k < ROOM; k++)
            STORE(e[k], to, (ulong)k * Y_C);
#endif
    }
}
