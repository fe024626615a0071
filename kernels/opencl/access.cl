/* What stands before every kernel: the words that a kernel by itself has in common with one that is part of a walk
 * (walk.cl), and 8 neighbours at once. Elements begin at a multiple of 16 bytes: one access of 16, which NVIDIA's compiler
 * makes of vloada_half8, vload8 and their like only in pieces of one element. There NVIDIA_PTX is defined before it
 * (PTX ISA, section 9.7.9). */
#define WALK_ARGS
#define GROUP_SIZE(x, y, z) __attribute__((reqd_work_group_size(x, y, z)))
#define LOCAL(type, name, count) __local type name[count] __attribute__((aligned(128)))
#define LOCAL_AT(type, name, count, at) LOCAL(type, name, count)
#define BEFORE_READING()

#if defined(NVIDIA_PTX)
static float2 of_halves(uint v)
{
    float2 f;
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}" : "=f"(f.x), "=f"(f.y) : "r"(v));
    return f;
}

/* a in the lower half */
static uint to_halves(float a, float b)
{
    uint v;
    asm("cvt.rn.f16x2.f32 %0, %2, %1;" : "=r"(v) : "f"(a), "f"(b));
    return v;
}

/* 16 bytes as they lie; as PTX: the compiler would make four loads of them. */
static uint4 load16(__global const void *p)
{
    uint4 v;
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}

/* The same of what no kernel writes and the group reads once. */
static uint4 load_weights16(__global const void *p)
{
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

static float8 load_half8(__global const half *p)
{
    const uint4 v = load16(p);
    return (float8)(of_halves(v.x), of_halves(v.y), of_halves(v.z), of_halves(v.w));
}

static void store_half8(float8 v, __global half *p)
{
    *(__global uint4 *)p =
        (uint4)(to_halves(v.s0, v.s1), to_halves(v.s2, v.s3), to_halves(v.s4, v.s5), to_halves(v.s6, v.s7));
}

static void store_half2(float2 v, __global half *p)
{
    *(__global uint *)p = to_halves(v.x, v.y);
}

static void store_float2(float2 v, __global float *p)
{
    *(__global float2 *)p = v;
}

static float4 load_float4(__global const float *p)
{
    return *(__global const float4 *)p;
}

static float8 load_float8(__global const float *p)
{
    __global const float4 *v = (__global const float4 *)p;
    return (float8)(v[0], v[1]);
}

static void store_float8(float8 v, __global float *p)
{
    ((__global float4 *)p)[0] = v.lo;
    ((__global float4 *)p)[1] = v.hi;
}
#else
static float2 of_halves(uint v)
{
    return vload_half2(0, (const half *)&v);
}

static uint to_halves(float a, float b)
{
    uint v;
    vstore_half2((float2)(a, b), 0, (half *)&v);
    return v;
}

static uint4 load16(__global const void *p)
{
    return *(__global const uint4 *)p;
}
#define load_weights16 load16

static float8 load_half8(__global const half *p)
{
    return vloada_half8(0, p);
}

static void store_half8(float8 v, __global half *p)
{
    vstorea_half8(v, 0, p);
}

static void store_half2(float2 v, __global half *p)
{
    vstorea_half2(v, 0, p);
}

static void store_float2(float2 v, __global float *p)
{
    vstore2(v, 0, p);
}

static float4 load_float4(__global const float *p)
{
    return vload4(0, p);
}

static float8 load_float8(__global const float *p)
{
    return vload8(0, p);
}

static void store_float8(float8 v, __global float *p)
{
    vstore8(v, 0, p);
}
#endif
