/* The thread pool: every worker once a run, all done at the join, sleep and waking, the floating-point state. */
#include "unit/unit.h"

#include <float.h>
#include <pthread.h>
#include <time.h>

#include "base/pool.h"

enum { MOST = 16 };

typedef struct tally {
    int64_t runs[MOST * 16]; /* a cache line apart; plain, so that TSan proves fork and join */
    int n;
} tally;

static void count(void *arg, int worker, int n_workers)
{
    tally *t = arg;
    t->runs[worker * 16]++;
    if (worker == 0)
        t->n = n_workers;
}

static void runs_every_worker_once(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    assert_non_null(cx);
    for (int n = 1; n <= MOST; n = n * 2 + 1) {
        gi_pool *p = gi_pool_create(cx, n);
        assert_non_null(p);
        assert_int_equal(gi_pool_threads(p), n);
        tally t = { 0 };
        const int rounds = n <= 2 ? 20000 : 200;
        for (int i = 0; i < rounds; i++)
            gi_pool_run(p, count, &t);
        for (int w = 0; w < n; w++)
            assert_int_equal(t.runs[w * 16], rounds);
        assert_int_equal(t.n, n);
        gi_pool_destroy(p);
    }
    gopt_ctx_destroy(cx);
}

/* Every share is noted, those of one thread one after the other, and none where nobody watches. */
static void notes_what_is_watched(void **state)
{
    (void)state;
    enum { THREADS = 3, ROUNDS = 10, SHARES = THREADS * ROUNDS };
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_pool *p = gi_pool_create(cx, THREADS);
    tally t = { 0 };
    gi_pool_share shares[SHARES];
    double last[THREADS] = { 0 };
    gi_pool_run(p, count, &t);
    assert_int_equal(gi_pool_watch(p, shares, SHARES), 0);
    for (int i = 0; i < ROUNDS; i++)
        gi_pool_run(p, count, &t);
    assert_int_equal(gi_pool_watch(p, shares, 4), SHARES);
    for (int i = 0; i < SHARES; i++) {
        const gi_pool_share *s = &shares[i];
        assert_true(s->thread >= 0 && s->thread < THREADS && s->start <= s->end);
        for (int k = 0; k < SHARES; k++)
            assert_true(k == i || shares[k].thread != s->thread || shares[k].end <= s->start ||
                        s->end <= shares[k].start);
        last[s->thread] = s->end;
    }
    assert_true(last[0] > 0);
    for (int i = 0; i < ROUNDS; i++)
        gi_pool_run(p, count, &t);
    assert_int_equal(gi_pool_watch(p, NULL, 0), 4);
    gi_pool_run(p, count, &t);
    assert_int_equal(gi_pool_watch(p, NULL, 0), 0);
    gi_pool_destroy(p);
    gopt_ctx_destroy(cx);
}

static void wakes_after_sleep(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_pool *p = gi_pool_create(cx, 3);
    tally t = { 0 };
    for (int i = 0; i < 20; i++) {
        gi_pool_run(p, count, &t);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    gi_pool_enter(p);
    for (int i = 0; i < 20; i++)
        gi_pool_run(p, count, &t);
    gi_pool_leave(p);
    for (int w = 0; w < 3; w++)
        assert_int_equal(t.runs[w * 16], 40);
    gi_pool_destroy(p);
    gi_pool_destroy(NULL);
    gopt_ctx_destroy(cx);
}

static volatile float tiny = FLT_MIN;

static void halve(void *arg, int worker, int n_workers)
{
    (void)n_workers;
    ((float *)arg)[worker * 16] = tiny / 2;
}

static void flushes_denormals_and_restores(void **state)
{
    (void)state;
#if defined(__SSE2__) || defined(__aarch64__)
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_pool *p = gi_pool_create(cx, 2);
    float seen[32] = { 1 };
    gi_pool_run(p, halve, seen);
    assert_true(seen[0] == 0 && seen[16] == 0);
    assert_true(tiny / 2 > 0); /* the caller's own arithmetic is as before */
    gi_pool_enter(p);
    gi_pool_enter(p);
    gi_pool_leave(p);
    assert_true(tiny / 2 == 0);
    gi_pool_leave(p);
    assert_true(tiny / 2 > 0);
    gi_pool_destroy(p);
    gopt_ctx_destroy(cx);
#endif
}

static void *use_own_pool(void *arg)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_pool *p = gi_pool_create(cx, 2);
    tally *t = arg;
    for (int i = 0; i < 500; i++)
        gi_pool_run(p, count, t);
    gi_pool_destroy(p);
    gopt_ctx_destroy(cx);
    return NULL;
}

static void pools_do_not_disturb_each_other(void **state)
{
    (void)state;
    pthread_t threads[3];
    tally t[3] = { 0 };
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_own_pool, &t[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(t[i].runs[0], 500);
        assert_int_equal(t[i].runs[16], 500);
    }
}

static void counts_cores(void **state)
{
    (void)state;
    assert_true(gi_cpu_count() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_every_worker_once),
        cmocka_unit_test(notes_what_is_watched),
        cmocka_unit_test(wakes_after_sleep),
        cmocka_unit_test(flushes_denormals_and_restores),
        cmocka_unit_test(pools_do_not_disturb_each_other),
        cmocka_unit_test(counts_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
