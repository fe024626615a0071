/* One kernel that walks a plan: its steps are a table, its groups stay resident and take units of a step each, and a step
 * begins when the phase before it has ended, told by counters in memory. What a launch costs the host, 3 microseconds and more, is
 * then paid once a plan instead of once a step.
 *
 * Kernels become functions of this one by the words that they are written with (WALK_ARGS, LOCAL, GROUP_SIZE): this
 * stands before them, walk_source.c writes the rest. A group that waits for longer than WALK_PATIENCE looks says so in
 * counts[0] and goes on, so that a fault ends the kernel instead of hanging the device. */
#define WALK_ITEMS 256
#define WALK_LINE 8 /* counters lie a cache line apart */
#define IN_WALK 1
#if defined(WALK_PTX)
#define WALK_PATIENCE 20000000u
#else
#define WALK_PATIENCE 2000000000u
#endif

typedef struct walk_step {
    ulong p[WALK_REFS];    /* addresses of what it reads and writes */
    long ints[WALK_INTS];  /* its numbers */
    ulong items;           /* of a kernel by items: how many; 0: a kernel by groups */
    uint body, units, first, columns; /* which function; units of 256 items; the group that takes unit 0; groups a row */
    uint wait, wait_for, arrive; /* counter of the phase before and how far it must be; counter of its own phase */
    uint weights;                /* bytes of p[1] that each group brings nearer two steps before */
} walk_step;

#if defined(WALK_PTX)
static void walk_arrive(__global uint *count)
{
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(count) : "memory");
}
static uint walk_look(__global uint *count)
{
    uint v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(count) : "memory");
    return v;
}
#define WALK_MEET() asm volatile("bar.sync 0;" ::: "memory")
#define WALK_SETTLE()
static void walk_prefetch(const ulong at, const uint bytes)
{
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(at), "r"(bytes) : "memory");
}
#else
static void walk_arrive(__global uint *count)
{
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    (void)atomic_inc((volatile __global uint *)count);
}
static uint walk_look(__global uint *count)
{
    const uint v = atomic_add((volatile __global uint *)count, 0);
    mem_fence(CLK_GLOBAL_MEM_FENCE);
    return v;
}
#define WALK_MEET() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define WALK_SETTLE() WALK_MEET() /* PoCL runs what one item does alone for all, where no barrier follows it */
#endif

/* One item waits until `count` has come to the target. */
static void walk_until(__global uint *count, const uint target, __global uint *counts)
{
    for (uint n = 1; (int)(walk_look(count) - target) < 0; n++)
        if (n == WALK_PATIENCE || (n % 4096 == 0 && walk_look(counts))) {
            counts[0] = 1;
            break;
        }
}

/* All items of the group wait for the phase before `st`. */
static void walk_wait(__constant const walk_step *st, __global uint *counts, const uint epoch)
{
    if (get_local_id(0) == 0)
        walk_until(counts + st->wait, st->wait_for * (epoch + 1), counts);
    WALK_MEET();
}

#define WALK_ARGS                                                                                                    \
    , __constant const walk_step *walk_st, __global uint *walk_counts, const uint walk_epoch, const uint walk_unit,  \
        const bool walk_waits, __local char *walk_room
#define WALK_PASS , st, counts, epoch, unit, waits, room
#define GROUP_SIZE(x, y, z)
#define LOCAL(type, name, count) LOCAL_AT(type, name, count, 0)
#define LOCAL_AT(type, name, count, at) __local type *const name = (__local type *)(walk_room + (at))
#define BEFORE_READING()                                                                                             \
    if (walk_waits)                                                                                                  \
    walk_wait(walk_st, walk_counts, walk_epoch)
#define get_global_id(d) (walk_unit * WALK_ITEMS + get_local_id(0))
