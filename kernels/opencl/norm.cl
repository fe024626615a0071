/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias over rows of N neighbouring elements, N a multiple of 8: a row
 * stays in the registers of ITEMS items, PER times 8 elements each, and is read once. A group has GROUP_ROWS of them. On
 * NVIDIA's GPUs a row is a warp (ptx.cl before it), elsewhere its items meet in local memory. Before it: N, ROWS, ITEMS,
 * PER, GROUP_ROWS, EPSILON, HAS_BIAS, X_TYPE, Y_TYPE, LOAD8(p, i), LOADF8 and STORE8(v, p, i), SHUFFLES where there are
 * warps, EARLY where scale and bias are weights: they are on their way before what other kernels make is waited for. */
#define KEEPS_BIAS (HAS_BIAS && PER <= 4) /* else it takes too many registers */
#ifdef SHUFFLES
#define MEETING EXCHANGE(ITEMS *GROUP_ROWS, 0)
#define MEETING_ARGS EXCHANGE_ARGS
#define MEETING_PASS EXCHANGE_PASS
#else
#define MEETING LOCAL(float, part, ITEMS *GROUP_ROWS);
#define MEETING_ARGS , __local float *part
#define MEETING_PASS , part
#endif

static float all_of_row(float8 v MEETING_ARGS)
{
    float x = v.s0 + v.s1 + v.s2 + v.s3 + v.s4 + v.s5 + v.s6 + v.s7;
#ifdef SHUFFLES
    for (int k = 16; k > 0; k /= 2)
        x += shuffle_xor(x, k);
#else
    const int t = get_local_id(0) % ITEMS;
    part += get_local_id(0) - t;
    part[t] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int k = ITEMS / 2; k > 0; k /= 2) {
        if (t < k)
            part[t] += part[t + k];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    x = part[0];
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    return x;
}

__kernel GROUP_SIZE(ITEMS * GROUP_ROWS, 1, 1) void
layer_norm8(__global const X_TYPE *x, const ulong x_at, __global Y_TYPE *y, const ulong y_at,
            __global const float *scale, const ulong scale_at, __global const float *bias, const ulong bias_at WALK_ARGS)
{
    MEETING
    const uint unit = get_group_id(0) * GROUP_ROWS + get_local_id(0) / ITEMS, t = get_local_id(0) % ITEMS;
    const uint row = min(unit, (uint)ROWS - 1); /* of items behind the last row too: all of the group meet */
    float8 v[PER], factor[PER], sum = 0.0f;
#if KEEPS_BIAS
    float8 shift[PER];
#define LOAD_SHIFT(i, c) shift[i] = c < N / 8 ? LOADF8(bias + bias_at, c) : (float8)0.0f
#else
#define LOAD_SHIFT(i, c)
#endif
    x += x_at + (ulong)row * N;
    y += y_at + (ulong)row * N;
#define LOAD_FACTORS()                                                      \
    _Pragma("unroll") for (int i = 0; i < PER; i++)                         \
    {                                                                       \
        const uint c = i * ITEMS + t;                                       \
        factor[i] = c < N / 8 ? LOADF8(scale + scale_at, c) : (float8)0.0f; \
        LOAD_SHIFT(i, c);                                                   \
    }
#if EARLY
    LOAD_FACTORS()
#endif
    BEFORE_READING();
#pragma unroll
    for (int i = 0; i < PER; i++) {
        const uint c = i * ITEMS + t;
        v[i] = c < N / 8 ? LOAD8(x, c) : (float8)0.0f;
        sum += v[i];
    }
#if !EARLY
    LOAD_FACTORS() /* under way while the row meets */
#endif
    const float mean = all_of_row(sum MEETING_PASS) / N;
    sum = 0.0f;
#pragma unroll
    for (int i = 0; i < PER; i++)
        if (i * ITEMS + t < N / 8) {
            const float8 d = v[i] - mean;
            sum += d * d;
        }
    const float inverse = 1.0f / sqrt(all_of_row(sum MEETING_PASS) / N + EPSILON);
#pragma unroll
    for (int i = 0; i < PER; i++) {
        const uint c = i * ITEMS + t;
        if (unit < ROWS && c < N / 8) {
            float8 r = (v[i] - mean) * inverse * factor[i];
#if KEEPS_BIAS
            r += shift[i];
#elif HAS_BIAS
            r += LOADF8(bias + bias_at, c);
#endif
            STORE8(r, y, c);
        }
    }
}
