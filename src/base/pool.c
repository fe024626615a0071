/* The thread pool: fork and join over threads that spin for a while before they sleep.
 *
 * A fork is one store to `generation`, which every worker watches; a join is one store a worker to its own
 * cache line, which the caller watches. Nobody takes a lock while workers are awake. A worker that has spun
 * in vain goes to sleep on a condition variable; it says so in `sleepers` before it looks at `generation` a
 * last time, and the caller looks at `sleepers` after it changed `generation`: one of the two sees the other.
 *
 * A share of a run is claimed before it is begun, by the worker whose number it bears or, when the caller has
 * done its own and finds it unclaimed, by the caller: so a worker that sleeps, or that the kernel took off its
 * core, costs nobody a time slice. The partition stays the same, and with it every result, to the bit. Jobs
 * must therefore not wait for one another.
 *
 * Workers are pinned only where the pool is as wide as the machine: several narrower pools (streams) would
 * all be pinned to the same first cores. With more threads than cores nobody spins, since whoever spins
 * keeps the one he waits for from running. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum {
    LINE = 64,           /* bytes that one core writes without disturbing another */
    SPINS_PER_LOOK = 64, /* pauses between two looks at the clock */
    MAX_THREADS = 1024
};

/* Seconds of spinning before sleep: between runs, and inside gi_pool_enter … gi_pool_leave. */
static const double SPIN_IDLE = 100e-6, SPIN_ENTERED = 10e-3;
/* Seconds that the caller spins for the slowest worker before it offers its core to others. */
static const double SPIN_JOIN = 200e-6;

typedef struct worker {
    _Alignas(LINE) atomic_uint done; /* the generation whose share is finished */
    atomic_uint claimed;             /* the last generation whose share somebody took */
    gi_pool *pool;
    int number;
    pthread_t thread;
} worker;

struct gi_pool {
    _Alignas(LINE) atomic_uint generation;
    gi_job job;
    void *arg;
    atomic_bool stop;
    _Alignas(LINE) atomic_int sleepers;
    atomic_int entered; /* depth of gi_pool_enter: written by the caller, read by the workers */
    _Alignas(LINE) gopt_ctx *cx;
    void *memory;    /* what gi_alloc gave for the pool; the pool itself is aligned within */
    worker *workers; /* n - 1: worker 0 is the caller */
    int n, started;
    bool spins, pinned;
    gi_pool_share *watch; /* where shares are noted; NULL: nowhere */
    size_t most_watched;
    atomic_size_t watched;
    uint64_t saved_fp;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

/* ---- the floating-point state: denormals are zero, going in and coming out ---- */

static uint64_t fp_get(void)
{
#if defined(__SSE2__)
    return _mm_getcsr();
#elif defined(__aarch64__)
    uint64_t r;
    __asm__ volatile("mrs %0, fpcr" : "=r"(r));
    return r;
#else
    return 0;
#endif
}

static void fp_set(uint64_t state)
{
#if defined(__SSE2__)
    _mm_setcsr((unsigned)state);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(state));
#else
    (void)state;
#endif
}

static uint64_t fp_flushing(uint64_t state)
{
#if defined(__SSE2__)
    return state | 0x8040u; /* FTZ, DAZ */
#elif defined(__aarch64__)
    return state | (1u << 24); /* FZ */
#else
    return state;
#endif
}

static inline void pause_core(void)
{
#if defined(__SSE2__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- cores ---- */

/* The allowed cores as a set of `*size` bytes from CPU_ALLOC; NULL where the kernel does not say. */
static cpu_set_t *allowed_cores(size_t *size)
{
    for (size_t n = 1024; n <= (1u << 18); n *= 4) {
        cpu_set_t *set = CPU_ALLOC(n);
        if (!set)
            return NULL;
        *size = CPU_ALLOC_SIZE(n);
        if (sched_getaffinity(0, *size, set) == 0)
            return set;
        CPU_FREE(set);
    }
    return NULL;
}

/* Cores that a container's quota of processor time amounts to, rounded up; 0 where there is none. */
static int quota_cores(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f)
        return 0;
    char line[64];
    int cores = 0;
    if (fgets(line, sizeof line, f)) {
        char *end;
        const long long quota = strtoll(line, &end, 10);
        const long long period = strtoll(end, NULL, 10);
        if (end != line && quota > 0 && period > 0 && quota / period < MAX_THREADS)
            cores = (int)((quota + period - 1) / period);
    }
    (void)fclose(f);
    return cores;
}

void gi_cpu_model(char *name, size_t n)
{
    static const char key[] = "model name";
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(name, n, "a processor without a name");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, sizeof key - 1) != 0 || !colon)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, n, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (f)
        (void)fclose(f);
}

int gi_cpu_count(void)
{
    size_t size;
    cpu_set_t *set = allowed_cores(&size);
    long n = 0;
    if (set) {
        n = CPU_COUNT_S(size, set);
        CPU_FREE(set);
    }
    if (n <= 0)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    const int quota = quota_cores();
    if (quota > 0 && quota < n)
        n = quota;
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

/* Pins each worker to its own core: the caller is expected on the first. It only helps, so it may fail. */
static void pin_workers(gi_pool *p)
{
    size_t size;
    cpu_set_t *set = allowed_cores(&size);
    if (!set)
        return;
    if (CPU_COUNT_S(size, set) == p->n) {
        cpu_set_t *one = CPU_ALLOC(size * 8);
        int worker_of_core = 0;
        for (size_t core = 0; one && core < size * 8 && worker_of_core < p->n; core++) {
            if (!CPU_ISSET_S(core, size, set))
                continue;
            if (worker_of_core > 0) {
                CPU_ZERO_S(size, one);
                CPU_SET_S(core, size, one);
                (void)pthread_setaffinity_np(p->workers[worker_of_core - 1].thread, size, one);
            }
            worker_of_core++;
        }
        if (one)
            CPU_FREE(one);
    }
    CPU_FREE(set);
}

/* ---- workers ---- */

/* Waits until `generation` is no longer `seen`; returns what it is then. */
static unsigned wait_for_work(gi_pool *p, unsigned seen)
{
    if (p->spins) {
        const double start = gi_now();
        for (;;) {
            for (int i = 0; i < SPINS_PER_LOOK; i++) {
                const unsigned g = atomic_load_explicit(&p->generation, memory_order_acquire);
                if (g != seen)
                    return g;
                pause_core();
            }
            const bool entered = atomic_load_explicit(&p->entered, memory_order_relaxed) > 0;
            if (gi_now() - start > (entered ? SPIN_ENTERED : SPIN_IDLE))
                break;
        }
    }
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&p->sleepers, 1);
    unsigned g;
    while ((g = atomic_load(&p->generation)) == seen)
        pthread_cond_wait(&p->wake, &p->mutex);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
    return g;
}

/* Takes the share of that generation; false where it is taken. Generations are claimed one by one, so a worker
 * that comes late finds a later one here. */
static bool claim(worker *w, unsigned generation)
{
    unsigned before = generation - 1;
    return atomic_compare_exchange_strong_explicit(&w->claimed, &before, generation, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* Runs share `number` of the job that is on, on thread `thread`. */
static inline void run_job(gi_pool *p, int number, int thread)
{
    if (!p->watch) {
        p->job(p->arg, number, p->n);
        return;
    }
    const double start = gi_now();
    p->job(p->arg, number, p->n);
    const size_t i = atomic_fetch_add_explicit(&p->watched, 1, memory_order_relaxed);
    if (i < p->most_watched)
        p->watch[i] = (gi_pool_share){ .start = start, .end = gi_now(), .thread = thread };
}

static void run_share(worker *w, unsigned generation, int thread)
{
    run_job(w->pool, w->number, thread);
    atomic_store_explicit(&w->done, generation, memory_order_release);
}

static void *work(void *arg)
{
    worker *w = arg;
    gi_pool *p = w->pool;
    fp_set(fp_flushing(fp_get()));
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_work(p, seen);
        if (atomic_load_explicit(&p->stop, memory_order_relaxed))
            return NULL;
        if (claim(w, seen))
            run_share(w, seen, w->number);
    }
}

static void wake_all(gi_pool *p)
{
    if (atomic_load(&p->sleepers) == 0)
        return;
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

static void join(gi_pool *p, unsigned generation)
{
    for (int i = 0; i < p->n - 1; i++)
        if (claim(&p->workers[i], generation))
            run_share(&p->workers[i], generation, 0);
    for (int i = 0; i < p->n - 1; i++) {
        double start = 0;
        bool yields = !p->spins;
        while (atomic_load_explicit(&p->workers[i].done, memory_order_acquire) != generation) {
            for (int k = 0; k < SPINS_PER_LOOK && !yields; k++) {
                if (atomic_load_explicit(&p->workers[i].done, memory_order_relaxed) == generation)
                    break;
                pause_core();
            }
            if (yields)
                sched_yield();
            else if (start == 0)
                start = gi_now();
            else
                yields = gi_now() - start > SPIN_JOIN;
        }
    }
}

/* ---- the interface ---- */

gi_pool *gi_pool_create(gopt_ctx *cx, int n_threads)
{
    int n = n_threads > 0 ? n_threads : cx->threads > 0 ? cx->threads : gi_cpu_count();
    n = n > MAX_THREADS ? MAX_THREADS : n;
    const size_t workers = (size_t)(n - 1) * sizeof(worker);
    void *memory = gi_alloc(cx, sizeof(gi_pool) + workers + LINE);
    if (!memory)
        return NULL;
    gi_pool *p = (gi_pool *)(((uintptr_t)memory + LINE - 1) & ~(uintptr_t)(LINE - 1));
    p->memory = memory;
    p->workers = (worker *)(p + 1);
    p->cx = cx;
    p->n = n;
    p->spins = n <= gi_cpu_count();
    if (pthread_mutex_init(&p->mutex, NULL)) {
        gi_free(cx, memory);
        return NULL;
    }
    if (pthread_cond_init(&p->wake, NULL)) {
        pthread_mutex_destroy(&p->mutex);
        gi_free(cx, memory);
        return NULL;
    }
    for (int i = 0; i < n - 1; i++) {
        p->workers[i].pool = p;
        p->workers[i].number = i + 1;
        if (pthread_create(&p->workers[i].thread, NULL, work, &p->workers[i])) {
            gi_pool_destroy(p);
            return NULL;
        }
        p->started++;
    }
    pin_workers(p);
    return p;
}

void gi_pool_destroy(gi_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    atomic_fetch_add(&p->generation, 1);
    wake_all(p);
    for (int i = 0; i < p->started; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    gi_free(p->cx, p->memory);
}

int gi_pool_threads(const gi_pool *p)
{
    return p->n;
}

void gi_pool_enter(gi_pool *p)
{
    const int depth = atomic_load_explicit(&p->entered, memory_order_relaxed);
    atomic_store_explicit(&p->entered, depth + 1, memory_order_relaxed);
    if (depth == 0) {
        p->saved_fp = fp_get();
        fp_set(fp_flushing(p->saved_fp));
    }
}

void gi_pool_leave(gi_pool *p)
{
    const int depth = atomic_load_explicit(&p->entered, memory_order_relaxed);
    atomic_store_explicit(&p->entered, depth - 1, memory_order_relaxed);
    if (depth == 1)
        fp_set(p->saved_fp);
}

size_t gi_pool_watch(gi_pool *p, gi_pool_share *shares, size_t most)
{
    const size_t n = atomic_exchange(&p->watched, 0), noted = n < p->most_watched ? n : p->most_watched;
    p->watch = shares;
    p->most_watched = shares ? most : 0;
    return noted;
}

void gi_pool_run(gi_pool *p, gi_job job, void *arg)
{
    const bool entered = atomic_load_explicit(&p->entered, memory_order_relaxed) > 0;
    const uint64_t fp = entered ? 0 : fp_get();
    if (!entered)
        fp_set(fp_flushing(fp));
    p->job = job;
    p->arg = arg;
    if (p->n == 1) {
        run_job(p, 0, 0);
    } else {
        const unsigned generation = atomic_fetch_add(&p->generation, 1) + 1;
        wake_all(p);
        run_job(p, 0, 0);
        join(p, generation);
    }
    if (!entered)
        fp_set(fp);
}
