/* Sums over all pixels of images with channels last: a work-group of 256 makes COLUMNS chunks of 8 channels of one image.
 * 256 / COLUMNS items share a chunk: each takes every so many-th pixel, PER of them on their way at once, and what they have
 * summed up meets in local memory. Before it: COLUMNS, a power of two of no more than 32, PER, X_TYPE, HALVES where it is
 * half, Y_TYPE and STORE. mode 0: sum, 1: mean, 2: maximum. */
#define SHARE (256 / COLUMNS)
#define CHANNELS (8 * COLUMNS)
#ifdef HALVES /* widened when they are all there: more of them fit into registers */
#define KEPT uint4
#define KEEP(p) load16(p)
#define WIDEN(v) ((float8)(of_halves(v.x), of_halves(v.y), of_halves(v.z), of_halves(v.w)))
#else
#define KEPT float8
#define KEEP(p) load_float8(p)
#define WIDEN(v) v
#endif

static float join(const float a, const float b, const int mode)
{
    return mode == 2 ? fmax(a, b) : a + b;
}

__kernel GROUP_SIZE(256, 1, 1) void
reduce_image(__global const X_TYPE *x, const ulong x_at, __global Y_TYPE *y, const ulong y_at, const long groups_,
             const long chunks_, const long pixels_, const long channels, const long y_n, const long y_c,
             const long mode_ WALK_ARGS)
{
    LOCAL(float, part, 9 * 256);
    const uint t = get_local_id(0), chunks = chunks_, pixels = pixels_, groups = groups_;
    const int mode = mode_;
    const uint n = get_group_id(0) / groups, c0 = (get_group_id(0) - n * groups) * COLUMNS, c = c0 + t % COLUMNS;
    /* what lies outside is read as what is last, and left out */
    __global const X_TYPE *xs = x + x_at + ((ulong)n * pixels * chunks + min(c, chunks - 1)) * 8;
    float8 v = mode == 2 ? -INFINITY : 0.0f;
    BEFORE_READING();
    for (uint first = t / COLUMNS; first < pixels; first += PER * SHARE) {
        KEPT e[PER];
#pragma unroll
        for (uint i = 0; i < PER; i++)
            e[i] = KEEP(xs + (ulong)min(first + i * SHARE, pixels - 1) * chunks * 8);
#pragma unroll
        for (uint i = 0; i < PER; i++)
            if (first + i * SHARE < pixels)
                v = mode == 2 ? fmax(v, WIDEN(e[i])) : v + WIDEN(e[i]);
    }
    /* channels of the items that share a chunk lie beneath each other, CHANNELS floats a line */
    ((__local float4 *)part)[2 * t] = v.lo;
    ((__local float4 *)part)[2 * t + 1] = v.hi;
    barrier(CLK_LOCAL_MEM_FENCE);
    float r = part[t];
#pragma unroll
    for (uint i = 1; i < 8; i++)
        r = join(r, part[i * 256 + t], mode);
#if CHANNELS < 256
    part[8 * 256 + t] = r;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (t < CHANNELS)
#pragma unroll
        for (uint i = 1; i < 256 / CHANNELS; i++)
            r = join(r, part[8 * 256 + i * CHANNELS + t], mode);
#endif
    const uint channel = c0 * 8 + t;
    if (t < CHANNELS && channel < channels)
        STORE(mode == 1 ? r / (float)pixels : r, y, y_at + n * y_n + channel * y_c);
}
