/* Products of few rows: ROWS rows of x by columns that lie as [column][element] in w, sums in floats.
 *
 * What it costs is reading w once. LANES items share a column: each takes every LANES-th chunk of 16 bytes, AHEAD of them
 * and those of x under way at once, the first ones of w before the kernel waits for x; what they have summed up meets
 * through warps (SHUFFLES, ptx.cl before it) and local memory. A work-group of 256 makes 256 / LANES columns of all rows.
 *
 * Before it: ROWS (no more than LANES), LANES, AHEAD, CHUNK elements of X_TYPE in 16 bytes, WHOLE where rows of x are whole
 * chunks, Y_TYPE and STORE, and what gi_cl_epilogue says. A row of x has `length` elements, one of w `row`, which are whole
 * chunks. Row m of the result lies at m / pixels * y_n + m % pixels * y_p, its elements y_c apart. */
#define COLUMNS (256 / LANES)
#define PAIRS (CHUNK / 2)
#ifdef SHUFFLES
#define WARP (LANES < 32 ? LANES : 32)
#define MEETING EXCHANGE(256, 1024)
#define MEETING_ARGS EXCHANGE_ARGS
#define MEETING_PASS EXCHANGE_PASS
#else
#define WARP 1
#define MEETING
#define MEETING_ARGS
#define MEETING_PASS
#endif
#define PARTS (LANES / WARP) /* of a column, that meet in local memory */

/* 8 halves or 4 floats as they lie, two by two as floats. */
static void widen(const uint4 v, float2 *to)
{
#if CHUNK == 8
    to[0] = of_halves(v.x);
    to[1] = of_halves(v.y);
    to[2] = of_halves(v.z);
    to[3] = of_halves(v.w);
#else
    to[0] = as_float2(v.xy);
    to[1] = as_float2(v.zw);
#endif
}

static uint4 chunk_of_weights(__global const X_TYPE *w, const uint c, const uint chunks)
{
    uint4 v = 0;
    if (c < chunks)
        v = load_weights16(w + (ulong)c * CHUNK);
    return v;
}

/* Zeros behind the row's last element. */
static uint4 chunk_of_row(__global const X_TYPE *x, const uint c, const uint length)
{
    uint4 v = 0;
#ifdef WHOLE
    if (c * CHUNK < length)
        v = load16(x + c * CHUNK);
#else
    uint part[4];
    for (uint i = 0; i < 4; i++) {
        const uint e = c * CHUNK + i * (CHUNK / 4);
#if CHUNK == 8
        __global const ushort *bits = (__global const ushort *)x;
        part[i] = (e < length ? bits[e] : 0u) | (e + 1 < length ? (uint)bits[e + 1] << 16 : 0u);
#else
        part[i] = e < length ? as_uint(x[e]) : 0u;
#endif
    }
    v = vload4(0, part);
#endif
    return v;
}

/* The sum of x over a column's items of one warp. */
static float over_warp(float x MEETING_ARGS)
{
#ifdef SHUFFLES
    for (int k = WARP / 2; k > 0; k /= 2)
        x += shuffle_xor(x, k);
#endif
    return x;
}

__kernel GROUP_SIZE(256, 1, 1) void
gemv(__global const X_TYPE *x, const ulong x_at, __global const X_TYPE *w, const ulong w_at,
     __global const float *bias, const ulong bias_at, __global Y_TYPE *y, const ulong y_at EXTRA_ARGS,
     const long n_all_, const long n_room_, const long length_, const long row, const long pixels_, const long y_n,
     const long y_p, const long y_c WALK_ARGS)
{
#if PARTS > 1
    LOCAL(float, part, ROWS * 256 / WARP);
#endif
    MEETING
    const uint n_all = n_all_, n_room = n_room_, length = length_, chunks = (length + CHUNK - 1) / CHUNK;
    const uint t = get_local_id(0), lane = t % LANES, n = get_group_id(0) * COLUMNS + t / LANES;
    const uint column = min(n, n_all - 1); /* of items behind the last one too: all of the group meet */
    __global const X_TYPE *ws = w + w_at + column * (ulong)row, *xs = x + x_at;
    uint4 weights[AHEAD], rows[AHEAD][ROWS];
#pragma unroll
    for (uint i = 0; i < AHEAD; i++)
        weights[i] = chunk_of_weights(ws, lane + i * LANES, chunks);
    const float shift = bias[bias_at + column];
    BEFORE_READING();
#pragma unroll
    for (uint i = 0; i < AHEAD; i++)
#pragma unroll
        for (uint m = 0; m < ROWS; m++)
            rows[i][m] = chunk_of_row(xs + (ulong)m * length, lane + i * LANES, length);
    float2 sum[ROWS];
#pragma unroll
    for (uint m = 0; m < ROWS; m++)
        sum[m] = 0.0f;
    /* As a loop even where it runs once: what is loaded before it is under way together, while in one piece with what
     * follows NVIDIA's assembler would save registers by waiting for one load after the other. */
    for (uint c = lane; c - lane < chunks; c += AHEAD * LANES)
#pragma unroll
        for (uint i = 0; i < AHEAD; i++) {
            const uint next = c + (i + AHEAD) * LANES;
            float2 a[PAIRS], b[PAIRS];
            widen(weights[i], b);
            weights[i] = chunk_of_weights(ws, next, chunks);
#pragma unroll
            for (uint m = 0; m < ROWS; m++) {
                widen(rows[i][m], a);
                rows[i][m] = chunk_of_row(xs + (ulong)m * length, next, length);
#pragma unroll
                for (uint j = 0; j < PAIRS; j++)
                    sum[m] += a[j] * b[j];
            }
        }

    /* item m of a column ends row m */
    float total = 0.0f;
#pragma unroll
    for (uint m = 0; m < ROWS; m++) {
        const float all = over_warp(sum[m].x + sum[m].y MEETING_PASS);
#if PARTS > 1
        if (t % WARP == 0)
            part[m * (256 / WARP) + t / WARP] = all;
#else
        total = lane == m ? all : total;
#endif
    }
#if PARTS > 1
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; lane < ROWS && i < PARTS; i++)
        total += part[lane * (256 / WARP) + t / LANES * PARTS + i];
#endif
    if (lane >= ROWS || n >= n_room)
        return;
    const uint pixels = pixels_, image = lane / pixels;
    const ulong at = image * y_n + (lane - image * pixels) * y_p + n * y_c;
    const float v = n < n_all ? EPILOGUE_AT(total + shift, at, n) : 0.0f;
    STORE(v, y, y_at + at);
}
