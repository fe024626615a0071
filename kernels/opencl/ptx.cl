/* PTX in OpenCL C for NVIDIA's tensor cores, what templates stand behind (mma.sync, ldmatrix, cp.async, shfl: PTX ISA,
 * sections 9.7.14, 9.7.9 and 9.7.13). ptx_emulated.cl has the same names for any device, for tests.
 *
 * Of a group all items or none come to what a warp does together. A kernel that uses multiply, load_matrix or shuffle_xor
 * says EXCHANGE(items, at) once: nothing here, elsewhere local memory `at` bytes behind its own. Its functions that do
 * so end their parameters with EXCHANGE_ARGS and are called with EXCHANGE_PASS. An ADDRESS is one of local memory,
 * counted in bytes. */
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("unroll")
#define EXCHANGE(items, at)
#define EXCHANGE_ARGS
#define EXCHANGE_PASS
#define ADDRESS uint /* 32 bits of its state space */
#define ADDRESS_OF(room) ((uint)(ulong)(room))

#define BARRIER() asm volatile("bar.sync 0;" ::: "memory")
#define COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT_FOR(n) asm volatile("cp.async.wait_group " TEXT(n) ";" ::: "memory")
#define PREFETCH(p) asm volatile("prefetch.global.L2 [%0];" ::"l"(p))

/* 16 bytes into local memory, on their way until WAIT_FOR. */
INLINE void copy16(ADDRESS to, __global const void *from)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

/* `bytes` of 16, zeros behind */
INLINE void copy16z(ADDRESS to, __global const void *from, uint bytes)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

/* Four matrices of 8 rows of 16 bytes: item 8 i + k of the warp says where row k of matrix i is. r[i] is of row lane / 4
 * of matrix i its elements lane % 4 * 2 and the next. */
INLINE void load_matrix(uint *r, ADDRESS at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* Of matrices that lie the other way. */
INLINE void load_matrix_turned(uint *r, ADDRESS at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* c += a b, 16 by 16 times 16 by 8: products of halves, sums of floats. */
INLINE void multiply(float *c, const uint *a, uint b0, uint b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The nearest number that has 10 bits behind the point, of halfway ones the larger. */
INLINE uint to_tf32(uint x)
{
    uint y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(as_float(x)));
    return y;
}

/* c += a b, 16 by 8 times 8 by 8, of floats that are rounded so. */
INLINE void multiply_tf32(float *c, const uint *a, uint b0, uint b1)
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* x of the item of this warp whose number differs by `mask`. */
INLINE float shuffle_xor(float x, int mask)
{
    float y;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(y) : "f"(x), "r"(mask));
    return y;
}

INLINE void store_local(ADDRESS at, float a, float b)
{
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(a), "f"(b) : "memory");
}

INLINE float4 load_local(ADDRESS at)
{
    float4 v;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(at));
    return v;
}

/* The larger of each of two halves; NaN where one is. */
INLINE uint max_halves(uint a, uint b)
{
    uint v;
    asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
    return v;
}

/* 8 elements, 2, past the first cache: another group may have just written them */
INLINE uint4 load8(__global const half *p)
{
    uint4 v;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

INLINE uint load2(__global const half *p)
{
    uint v;
    asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
}

INLINE float2 load2_floats(__global const float *p)
{
    float2 v;
    asm volatile("ld.global.cg.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(p));
    return v;
}

/* Sums of parts, past the first cache too. */
INLINE float4 load_part(__global const float4 *p)
{
    float4 v;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "l"(p));
    return v;
}

INLINE float8 load8_floats(__global const float *p)
{
    return (float8)(load_part((__global const float4 *)p), load_part((__global const float4 *)p + 1));
}

INLINE void store_part(__global float4 *p, const float *c)
{
    asm volatile("st.global.cg.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(p), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3])
                 : "memory");
}

/* Counts itself in; the count before. What was written before is seen by whoever counts later. */
INLINE uint arrive(__global uint *count)
{
    uint before;
    asm volatile("fence.acq_rel.gpu; atom.global.gpu.relaxed.add.u32 %0, [%1], 1; fence.acq_rel.gpu;"
                 : "=r"(before)
                 : "l"(count)
                 : "memory");
    return before;
}

INLINE float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
