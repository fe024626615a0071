/* The memory plan: nothing that lives at the same time overlaps; room is reused. */
#include "unit/unit.h"

#include "backend/memplan.h"

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* Every pair, byte ranges against lifetimes. */
static void check(const gi_mem_item *items, size_t n, uint64_t align, uint64_t total)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(items[i].offset % align, 0);
        assert_true(items[i].offset + items[i].bytes <= total);
        for (size_t k = i + 1; k < n; k++) {
            const gi_mem_item *a = &items[i], *b = &items[k];
            const bool together = a->first <= b->last && b->first <= a->last;
            const bool overlap = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
            assert_false(together && overlap && a->bytes && b->bytes);
        }
    }
}

static void random_lifetimes_never_overlap(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_arena *a = gi_arena_create(cx);
    uint64_t seed = 7;
    for (int round = 0; round < 300; round++) {
        gi_mem_item items[120];
        const size_t n = next(&seed) % 120 + 1;
        uint64_t at_once = 0, total;
        for (size_t i = 0; i < n; i++) {
            const uint32_t first = (uint32_t)(next(&seed) % 100);
            items[i] = (gi_mem_item){ .bytes = next(&seed) % 5 ? next(&seed) % 5000 : 0,
                                      .first = first,
                                      .last = first + (uint32_t)(next(&seed) % 12),
                                      .offset = 12345 };
        }
        for (uint32_t step = 0; step < 112; step++) {
            uint64_t sum = 0;
            for (size_t i = 0; i < n; i++)
                if (items[i].first <= step && step <= items[i].last)
                    sum += items[i].bytes;
            at_once = sum > at_once ? sum : at_once;
        }
        assert_int_equal(gi_memplan(items, n, 64, a, &total), GOPT_OK);
        check(items, n, 64, total);
        assert_true(total >= at_once);
        gi_arena_reset(a);
    }
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
}

static void a_chain_takes_two_places(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_arena *a = gi_arena_create(cx);
    gi_mem_item items[50];
    uint64_t total;
    for (uint32_t i = 0; i < 50; i++)
        items[i] = (gi_mem_item){ .bytes = 1000, .first = i, .last = i + 1 };
    assert_int_equal(gi_memplan(items, 50, 64, a, &total), GOPT_OK);
    check(items, 50, 64, total);
    assert_int_equal(total, 2 * 1024);
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
}

static void the_tightest_gap_is_taken(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_arena *a = gi_arena_create(cx);
    /* 512 and 128 die at 1 between three that live on: 100 belongs into the gap of 128. */
    gi_mem_item items[] = { { 4096, 0, 9, 0 }, { 512, 0, 1, 0 }, { 2048, 0, 9, 0 },
                            { 128, 0, 1, 0 },  { 100, 2, 9, 0 }, { 500, 2, 9, 0 } };
    uint64_t total;
    assert_int_equal(gi_memplan(items, 6, 64, a, &total), GOPT_OK);
    check(items, 6, 64, total);
    assert_int_equal(total, 4096 + 2048 + 512 + 128);
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
}

static void sums_that_overflow_are_refused(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_arena *a = gi_arena_create(cx);
    gi_mem_item items[] = { { UINT64_MAX / 2 - 100, 0, 1, 0 }, { UINT64_MAX / 2 - 100, 0, 1, 0 }, { 5000, 0, 1, 0 } };
    uint64_t total;
    assert_int_equal(gi_memplan(items, 3, 64, a, &total), GOPT_NO_MEMORY);
    items[0].bytes = UINT64_MAX;
    assert_int_equal(gi_memplan(items, 1, 64, a, &total), GOPT_NO_MEMORY);
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lifetimes_never_overlap),
        cmocka_unit_test(a_chain_takes_two_places),
        cmocka_unit_test(the_tightest_gap_is_taken),
        cmocka_unit_test(sums_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
