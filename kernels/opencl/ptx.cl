/* PTX in OpenCL C for NVIDIA's tensor cores, what templates stand behind (mma.sync, ldmatrix, cp.async, shfl: PTX ISA,
 * sections 9.7.14, 9.7.9 and 9.7.13). Pointers into local memory are 32-bit addresses of its state space. */
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define BARRIER() asm volatile("bar.sync 0;" ::: "memory")
#define COMMIT() asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT_FOR(n) asm volatile("cp.async.wait_group " TEXT(n) ";" ::: "memory")
#define PREFETCH(p) asm volatile("prefetch.global.L2 [%0];" ::"l"(p))
#define INLINE static inline __attribute__((always_inline))

INLINE void copy16(uint to, __global const half *from)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

/* `bytes` of 16, zeros behind */
INLINE void copy16z(uint to, __global const half *from, uint bytes)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

INLINE void load_matrix(uint *r, uint at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

INLINE void multiply(float *c, const uint *a, uint b0, uint b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Of matrices that lie the other way. */
INLINE void load_matrix_turned(uint *r, uint at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* x of the item of this warp whose number differs by `mask`. */
INLINE float shuffle_xor(float x, int mask)
{
    float y;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(y) : "f"(x), "r"(mask));
    return y;
}
