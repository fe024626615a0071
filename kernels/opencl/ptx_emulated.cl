/* The names of ptx.cl in plain OpenCL C for any device: so the kernels that stand behind them are tested where there are
 * no tensor cores. Only tests ask for it (GOPT_OPENCL_TENSOR=emulated); it is slow.
 *
 * What a warp does together goes through local memory: each of 32 consecutive items leaves its part where the others find
 * it, EXCHANGED floats an item, and meets the group before and behind. So all items of the group must come there, and
 * loops around it stay loops: a compiler takes long over many barriers. */
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("nounroll")
#define EXCHANGED 12
#define EXCHANGE(items, at) LOCAL_AT(float, exchange, EXCHANGED *(items), at);
#define EXCHANGE_ARGS , __local float *const exchange
#define EXCHANGE_PASS , exchange
#define ADDRESS __local char *
#define ADDRESS_OF(room) ((__local char *)(room))

#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define COMMIT() /* copies are made at once */
#define WAIT_FOR(n)
#define PREFETCH(p)

INLINE void copy16z(ADDRESS to, __global const void *from, uint bytes)
{
    *(__local uint4 *)to = bytes == 16 ? *(__global const uint4 *)from : (uint4)0;
}
#define copy16(to, from) copy16z(to, from, 16)

/* Addresses go as what they are ahead of `exchange`. */
INLINE void load_matrices(uint *r, ADDRESS at, bool turned, __local float *const exchange)
{
    const int t = get_local_id(0), lane = t % 32, row = lane / 4, column = lane % 4 * 2;
    __local char *const zero = (__local char *)exchange;
    __local int *all = (__local int *)exchange + (t - lane) * EXCHANGED;
    BARRIER(); /* what was there has been read */
    all[lane * EXCHANGED] = (int)(at - zero);
    BARRIER();
    for (int i = 0; i < 4; i++) {
        ushort v[2];
        for (int e = 0; e < 2; e++) {
            const int from = turned ? column + e : row, element = turned ? row : column + e;
            v[e] = ((__local const ushort *)(zero + all[(i * 8 + from) * EXCHANGED]))[element];
        }
        r[i] = v[0] | (uint)v[1] << 16;
    }
}
#define load_matrix(r, at) load_matrices(r, at, false, exchange)
#define load_matrix_turned(r, at) load_matrices(r, at, true, exchange)

/* c[e] is of row lane / 4 + e / 2 * 8 and column lane % 4 * 2 + e % 2. a[0] and a[2] are of the same row, a[1] and a[3] of
 * the one 8 below it, two neighbours each at columns lane % 4 * 2 and 8 behind it; b0 and b1 the same of column lane / 4,
 * downwards. Widened before they are exchanged: each is read many times. */
INLINE void multiply_halves(float *c, const uint *a, uint b0, uint b1, __local float *const exchange)
{
    const int t = get_local_id(0), lane = t % 32, row = lane / 4, column = lane % 4 * 2;
    __local float2 *all = (__local float2 *)(exchange + (t - lane) * EXCHANGED), *own = all + lane * EXCHANGED / 2;
    BARRIER();
    for (int i = 0; i < 4; i++)
        own[i] = of_halves(a[i]);
    own[4] = of_halves(b0);
    own[5] = of_halves(b1);
    BARRIER();
    for (int e = 0; e < 4; e++) {
        __local const float2 *x = all + row * 4 * EXCHANGED / 2 + e / 2;
        __local const float2 *y = all + (column + e % 2) * 4 * EXCHANGED / 2 + 4;
        float2 sum = 0.0f;
        for (int k = 0; k < 4; k++, x += EXCHANGED / 2, y += EXCHANGED / 2)
            sum += x[0] * y[0] + x[2] * y[1];
        c[e] += sum.x + sum.y;
    }
}
#define multiply(c, a, b0, b1) multiply_halves(c, a, b0, b1, exchange)

INLINE uint to_tf32(uint x)
{
    return isnan(as_float(x)) ? x : (x + 0x1000) & ~0x1fffu;
}

/* The same of single elements, 4 columns apart in place of 8: none of the tensor cores' sums are kept in more than a
 * float, none of their factors' last 13 bits are read. */
INLINE void multiply_singles(float *c, const uint *a, uint b0, uint b1, __local float *const exchange)
{
    const int t = get_local_id(0), lane = t % 32, row = lane / 4, column = lane % 4 * 2;
    __local float *all = exchange + (t - lane) * EXCHANGED, *own = all + lane * EXCHANGED;
    BARRIER();
    for (int i = 0; i < 4; i++)
        own[i] = as_float(a[i] & ~0x1fffu);
    own[4] = as_float(b0 & ~0x1fffu);
    own[5] = as_float(b1 & ~0x1fffu);
    BARRIER();
    for (int e = 0; e < 4; e++)
        for (int k = 0; k < 4; k++) {
            __local const float *x = all + (row * 4 + k) * EXCHANGED + e / 2;
            __local const float *y = all + ((column + e % 2) * 4 + k) * EXCHANGED + 4;
            c[e] += x[0] * y[0];
            c[e] += x[2] * y[1];
        }
}
#define multiply_tf32(c, a, b0, b1) multiply_singles(c, a, b0, b1, exchange)

INLINE float shuffle(float x, int mask, __local float *const exchange)
{
    const int t = get_local_id(0);
    BARRIER();
    exchange[t * EXCHANGED] = x;
    BARRIER();
    return exchange[(t ^ mask) * EXCHANGED];
}
#define shuffle_xor(x, mask) shuffle(x, mask, exchange)

INLINE void store_local(ADDRESS at, float a, float b)
{
    *(__local float2 *)at = (float2)(a, b);
}

INLINE float4 load_local(ADDRESS at)
{
    return *(__local const float4 *)at;
}

INLINE uint max_halves(uint a, uint b)
{
    const float2 x = of_halves(a), y = of_halves(b), v = select(y, x, isnan(x) | (x > y));
    return to_halves(v.x, v.y);
}

INLINE uint4 load8(__global const half *p)
{
    return *(__global const uint4 *)p;
}

INLINE uint load2(__global const half *p)
{
    return *(__global const uint *)p;
}

INLINE float8 load8_floats(__global const float *p)
{
    return vload8(0, p);
}

INLINE float2 load2_floats(__global const float *p)
{
    return vload2(0, p);
}

INLINE float4 load_part(__global const float4 *p)
{
    return *p;
}

INLINE void store_part(__global float4 *p, const float *c)
{
    *p = vload4(0, c);
}

INLINE uint arrive(__global uint *count)
{
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    const uint before = atomic_inc((volatile __global uint *)count);
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    return before;
}

INLINE float exp2_fast(float x)
{
    return exp2(x);
}
