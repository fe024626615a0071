/* Run contexts of one engine on the opencl backend: each has a queue of its own, they share kernels and weights, walks in
 * different queues wait for each other, and what fails in one is told to that one and leaves nothing running. And memory
 * of the host that copies are fast from. */
#include "backend/opencl/cl.h"

#include "unit/opencl_side.h"

#include "backend/engine.h"
#include "unit/faulty_cl.h"

/* Long sums for tensor cores, which are split among groups that count themselves. */
static const char products[] = "graph (%x: f32[32,512], %i: i64[3]) {\n"
                               "  %a = MatMul %x, dense<f32[512,64], #a>\n"
                               "  %b = MatMul %a, dense<f32[64,512], #b>\n"
                               "  %c = MatMul %b, dense<f32[512,64], #c>\n"
                               "  %g = Gather %c, %i\n"
                               "  return %g as \"g\"\n}\n";

enum { MOST = 4, RUNS = 12 };

static void runs_well(side *s)
{
    side_run(s);
    if (s->status != GOPT_OK)
        gopt_diag_print(gopt_engine_graph(s->e)->cx, stderr, false);
    assert_int_equal(s->status, GOPT_OK);
    assert_true(s->right);
}

static void run_together(side *sides, unsigned n)
{
    pthread_t threads[MOST];
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, side_run, &sides[i]), 0);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(sides[i].status, GOPT_OK);
        assert_true(sides[i].right);
    }
}

/* An engine and its callers; zeros: one that launches with_det in fp32. */
typedef struct shape {
    unsigned contexts;
    const char *walk, *network, *precision; /* the first: GOPT_OPENCL_WALK */
} shape;

typedef struct life {
    gopt_ctx *cx;
    gopt_graph *g;
    gopt_engine *e;
    side sides[MOST];
    unsigned n;
} life;

static void life_open(life *l, shape how)
{
    const char *text = how.network ? how.network : with_det;
    need_a_device();
    *l = (life){ .cx = gopt_ctx_create(NULL), .n = how.contexts ? how.contexts : 1 };
    assert_int_equal(setenv("GOPT_OPENCL_WALK", how.walk ? how.walk : "0", 1), 0);
    l->g = parse(l->cx, text);
    const gopt_engine_options o = { .backend = "opencl", .precision = how.precision };
    assert_int_equal(gopt_engine_create(l->g, &o, &l->e), GOPT_OK);
    for (unsigned i = 0; i < l->n; i++) {
        side_open(&l->sides[i], text, i);
        l->sides[i].e = l->e;
        l->sides[i].half = how.precision && !strcmp(how.precision, "fp16");
    }
    queues_begin();
}

static void life_close(life *l)
{
    for (unsigned i = 0; i < l->n; i++)
        side_close(&l->sides[i]);
    gopt_engine_destroy(l->e);
    gopt_graph_destroy(l->g);
    gopt_ctx_destroy(l->cx);
    queues_begin();
    assert_int_equal(cl.alive, 0);
}

/* ---- the tests ---- */

static void contexts_run_side_by_side(void **state)
{
    const shape *how = *state;
    life l;
    life_open(&l, *how);
    const uint64_t weights = gopt_engine_get_info(l.e)->weight_bytes;
    run_together(l.sides, l.n); /* opens the contexts: walks may choose their variants in queues of their own */
    assert_int_equal(queues.beside, 0);
    queues_begin();
    for (unsigned i = 0; i < l.n; i++)
        l.sides[i].runs = RUNS;
    run_together(l.sides, l.n);
    unsigned used = 0;
    for (size_t i = 0; i < queues.n; i++) {
        used += queues.seen[i].launches >= RUNS;
        assert_true(!how->walk ? queues.seen[i].walks == 0 : !queues.seen[i].walks || queues.seen[i].walks >= RUNS);
    }
    assert_int_equal(used, l.n); /* a queue for each context, and none that all share */
    assert_int_equal(queues.beside, 0);
    assert_int_equal(gopt_engine_get_info(l.e)->weight_bytes, weights); /* of the engine, not of its contexts */
    life_close(&l);
}

/* Their counters are the context's, not the step's, which all contexts share. */
static void split_sums_of_several_contexts_keep_apart(void **state)
{
    (void)state;
    life l;
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", "emulated,mma_64x64x64x3x4_split3", 1), 0);
    life_open(&l, (shape){ .contexts = MOST, .network = products, .precision = "fp16" });
    for (unsigned i = 0; i < l.n; i++)
        l.sides[i].runs = RUNS;
    run_together(l.sides, l.n);
    size_t split = 0;
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(l.sides[0].rc, i)) != NULL; i++)
        split += strstr(s->tactic, "_split3") != NULL;
    assert_int_equal(split, 2);
    life_close(&l);
}

static int as_before(void **state)
{
    (void)state;
    return unsetenv("GOPT_OPENCL_TENSOR");
}

/* One walk is held back until another context has launched its own, which therefore must wait for it. */
static void a_walk_waits_for_one_in_another_queue(void **state)
{
    (void)state;
    life l;
    life_open(&l, (shape){ .contexts = 2, .walk = "1" });
    for (unsigned i = 0; i < 2; i++)
        runs_well(&l.sides[i]);
    cl_context context;
    cl_int err;
    assert_int_equal(clGetCommandQueueInfo(queues.walk_queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL),
                     CL_SUCCESS);
    queues.held_in = NULL;
    queues.hold = clCreateUserEvent(context, &err);
    assert_non_null(queues.hold);
    run_together(l.sides, 2);
    assert_null(queues.hold); /* both were launched */
    assert_int_equal(queues.beside, 0);
    life_close(&l);
}

static long walks_in(cl_command_queue q)
{
    return queue_of(q)->walks;
}

static void a_fault_is_told_to_its_own_context(void **state)
{
    (void)state;
    life l;
    cl_command_queue own[2];
    life_open(&l, (shape){ .contexts = 2, .walk = "1" });
    for (unsigned i = 0; i < 2; i++) {
        runs_well(&l.sides[i]);
        own[i] = queues.walk_queue;
    }
    assert_ptr_not_equal(own[0], own[1]);
    queues.fault = own[1];
    runs_well(&l.sides[0]);
    side_run(&l.sides[1]);
    queues.fault = NULL;
    assert_int_equal(l.sides[1].status, GOPT_INTERNAL);
    const gopt_diag *said = gopt_diag_get(l.cx, gopt_diag_count(l.cx) - 1);
    assert_non_null(strstr(said->message, "gave up"));
    assert_non_null(strstr(said->hint, "GOPT_OPENCL_WALK=0"));
    const long before[2] = { walks_in(own[0]), walks_in(own[1]) };
    runs_well(&l.sides[1]); /* launch by launch from now on, but for spans that came to no fault */
    runs_well(&l.sides[0]);
    assert_true(walks_in(own[0]) > before[0]);
    assert_true(walks_in(own[1]) - before[1] < walks_in(own[0]) - before[0]);
    life_close(&l);
}

static bool is_noted(gopt_ctx *cx, const char *what)
{
    bool found = false;
    for (size_t i = 0; i < gopt_diag_count(cx); i++)
        found = found || strstr(gopt_diag_get(cx, i)->message, what);
    return found;
}

/* Callers that would walk, if that is faster by the clock where starting a launch takes so long; nothing is known yet. */
static void life_open_timed(life *l, unsigned contexts, double start_us)
{
    life_open(l, (shape){ .contexts = contexts, .walk = "1" });
    gi_cl *d = (gi_cl *)l->e->device[1];
    d->walk = 0; /* by the clock */
    d->start_us = start_us;
    gi_smap_init(&d->tuned, d->arena); /* whatever another test has timed */
}

/* How many walks there are in a good run, the first one's choosing included. */
static long walks_of(side *s)
{
    long walks = 0;
    queues_begin();
    runs_well(s);
    for (size_t k = 0; k < queues.n; k++)
        walks += queues.seen[k].walks;
    return walks;
}

/* A walk that fails while it is held against its launches is not slower than they are for good: the next context tries
 * it again, and what comes of that is remembered. */
static void a_walk_that_fails_is_timed_again(void **state)
{
    enum { TIMED = 15 };
    (void)state;
    life l;
    life_open_timed(&l, 3, 1e9);
    cl.no_walk = true;
    runs_well(&l.sides[0]);
    assert_true(is_noted(l.cx, "failed while it was timed"));
    cl.no_walk = false;
    for (unsigned i = 1; i < 3; i++) {
        const long walks = walks_of(&l.sides[i]);
        assert_true(i == 1 ? walks >= TIMED : walks < TIMED);
    }
    life_close(&l);
}

/* Where starting launches takes next to nothing, no walk is even built. */
static void a_walk_that_cannot_gain_is_not_made(void **state)
{
    (void)state;
    life l;
    life_open_timed(&l, 1, 0);
    assert_int_equal(walks_of(&l.sides[0]), 0);
    life_close(&l);
}

/* Whatever call fails: when the run has ended nothing is under way any more, and the next run is right. */
static void a_run_that_fails_leaves_nothing_running(void **state)
{
    life l;
    life_open(&l, (shape){ .walk = *state });
    side *s = &l.sides[0];
    runs_well(s);
    queues_begin(); /* without those in which variants were timed */
    cl.calls = 0;
    runs_well(s);
    const long calls = cl.calls;
    long failed = 0;
    for (long i = 0; i < calls; i++) {
        cl.calls = 0;
        cl.failed = NULL;
        cl.fail_at = i;
        side_run(s);
        cl.fail_at = -1;
        for (size_t k = 0; k < queues.n && s->status != GOPT_OK && strcmp(cl.failed, "clFinish") != 0; k++)
            if (queues.seen[k].pending) {
                print_error("%ld commands are under way after call %ld of %ld (%s) failed\n", queues.seen[k].pending, i,
                            calls, cl.failed);
                fail();
            }
        failed += s->status != GOPT_OK;
        runs_well(s);
    }
    assert_true(failed > calls / 2);
    life_close(&l);
}

/* Kernels keep their arguments, and a buffer's address may come back as another buffer's. */
static void kernels_get_the_arguments_of_who_runs(void **state)
{
    (void)state;
    life l;
    life_open(&l, (shape){ .contexts = 3 });
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < l.n; i++)
            runs_well(&l.sides[i]);
        gopt_run_context_destroy(l.sides[round % 3].rc);
        l.sides[round % 3].rc = NULL;
    }
    life_close(&l);
}

/* ---- tensors in page-locked memory ---- */

/* The input x of a side, in memory of the engine's. */
static void take_pinned(side *s)
{
    gopt_tensor *x;
    assert_int_equal(gopt_engine_tensor_create(s->e, s->x->dtype, s->x->rank, s->x->dims, &x), GOPT_OK);
    assert_int_equal(x->bytes, s->x->bytes);
    assert_int_equal((uintptr_t)x->data % (cl.no_pinned ? 16 : 64), 0);
    for (size_t k = 0; k < x->bytes; k++)
        assert_int_equal(((const char *)x->data)[k], 0);
    memcpy(x->data, s->x->data, x->bytes);
    gopt_tensor_unref(s->x);
    s->x = x;
}

static void tensors_lie_in_pinned_memory(void **state)
{
    (void)state;
    life l;
    life_open(&l, (shape){ 0 });
    side *s = &l.sides[0];
    assert_int_equal(cl.mapped, 0);
    runs_well(s);
    const long frame = cl.mapped; /* where outputs are copied to */
    assert_int_equal(frame, 1);
    const uint64_t held = l.cx->tensor_bytes;
    take_pinned(s);
    assert_int_equal(cl.mapped, frame + 1);
    assert_int_equal(l.cx->tensor_bytes - held, s->x->bytes);
    runs_well(s);
    gopt_tensor *second = gopt_tensor_ref(s->x);
    gopt_tensor_unref(s->x);
    assert_int_equal(cl.mapped, frame + 1);
    gopt_tensor_unref(second);
    assert_int_equal(cl.mapped, frame);
    assert_int_equal(l.cx->tensor_bytes, held);
    s->x = NULL;
    life_close(&l);
}

static void pinned_tensors_outlive_their_engine(void **state)
{
    (void)state;
    life l;
    life_open(&l, (shape){ 0 });
    side *s = &l.sides[0];
    take_pinned(s);
    runs_well(s);
    gopt_run_context_destroy(s->rc);
    s->rc = NULL;
    gopt_engine_destroy(l.e);
    assert_int_equal(cl.mapped, 1);
    assert_int_equal(gopt_engine_create(l.g, &(gopt_engine_options){ .backend = "opencl" }, &l.e), GOPT_OK);
    s->e = l.e;
    runs_well(s); /* with the old engine's tensor */
    gopt_run_context_destroy(s->rc);
    s->rc = NULL;
    gopt_engine_destroy(l.e);
    l.e = NULL;
    assert_int_equal(cl.mapped, 1);
    gopt_tensor_unref(s->x); /* in this order: it belongs to the engine's context, which goes last */
    s->x = NULL;
    assert_int_equal(cl.alive, 0);
    life_close(&l);
}

static void ordinary_memory_does_where_there_is_no_other(void **state)
{
    (void)state;
    life l;
    cl.no_pinned = true;
    life_open(&l, (shape){ 0 });
    side *s = &l.sides[0];
    take_pinned(s);
    runs_well(s);
    assert_int_equal(cl.mapped, 0);
    cl.no_pinned = false;
    gopt_tensor_unref(s->x);
    s->x = NULL;
    life_close(&l);
}

static void pinned_tensors_count_and_fail_like_others(void **state)
{
    (void)state;
    need_a_device();
    gopt_ctx *cx = gopt_ctx_create(&(gopt_ctx_options){ .memory_limit = 1 << 20 });
    gopt_graph *g = parse(cx, with_det);
    gopt_engine *e;
    gopt_tensor *t, *same = NULL;
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .backend = "opencl" }, &e), GOPT_OK);
    const uint64_t held = cx->tensor_bytes;
    const long mapped = cl.mapped;
    assert_int_equal(gopt_engine_tensor_create(e, GOPT_F32, 1, (int64_t[]){ 1 << 18 }, &t), GOPT_NO_MEMORY);
    assert_null(t);
    assert_non_null(strstr(gopt_diag_get(cx, gopt_diag_count(cx) - 1)->message, "memory limit"));
    assert_int_equal(gopt_engine_tensor_create(e, GOPT_F32, 2, (int64_t[]){ INT64_MAX, 2 }, &t), GOPT_BAD_INPUT);
    assert_int_equal(gopt_engine_tensor_create(e, GOPT_F32, GOPT_MAX_RANK + 1, NULL, &t), GOPT_BAD_INPUT);
    assert_int_equal(cx->tensor_bytes, held);
    assert_int_equal(cl.mapped, mapped);
    /* strings are pointers, and nothing needs no memory: both are ordinary */
    assert_int_equal(gopt_engine_tensor_create(e, GOPT_STRING, 1, (int64_t[]){ 2 }, &t), GOPT_OK);
    gopt_tensor_unref(t);
    assert_int_equal(gopt_engine_tensor_create(e, GOPT_F32, 1, (int64_t[]){ 0 }, &t), GOPT_OK);
    gopt_tensor_unref(t);
    for (long i = 0; i < 100 && !same; i++) { /* whatever call fails, there is a tensor */
        cl.calls = 0;
        cl.failed = NULL;
        cl.fail_at = i;
        assert_int_equal(gopt_engine_tensor_create(e, GOPT_F32, 1, (int64_t[]){ 100 }, &t), GOPT_OK);
        if (!cl.failed)
            same = gopt_tensor_ref(t);
        gopt_tensor_unref(t);
        cl.fail_at = -1;
        assert_int_equal(cl.mapped, mapped + (same != NULL));
    }
    assert_non_null(same);
    gopt_tensor_unref(same);
    gopt_engine_destroy(e);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
    assert_int_equal(cl.alive, 0);
}

static void on_the_cpu_tensors_are_ordinary(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = parse(cx, with_det);
    gopt_engine *e;
    gopt_tensor *t;
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .backend = "cpu" }, &e), GOPT_OK);
    assert_int_equal(gopt_engine_tensor_create(e, GOPT_F32, 1, (int64_t[]){ 100 }, &t), GOPT_OK);
    assert_int_equal(t->bytes, 400);
    gopt_engine_destroy(e);
    gopt_tensor_unref(t);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    static shape two = { .contexts = 2 }, four = { .contexts = 4 }, two_walk = { .contexts = 2, .walk = "1" },
                 four_walk = { .contexts = 4, .walk = "1" };
    static char walked[] = "1", launched[] = "0";
    const struct CMUnitTest tests[] = {
        { "two_contexts_run_side_by_side", contexts_run_side_by_side, cl_begin, NULL, &two },
        { "four_contexts_run_side_by_side", contexts_run_side_by_side, cl_begin, NULL, &four },
        { "two_contexts_walk_side_by_side", contexts_run_side_by_side, cl_begin, NULL, &two_walk },
        { "four_contexts_walk_side_by_side", contexts_run_side_by_side, cl_begin, NULL, &four_walk },
        cmocka_unit_test_setup_teardown(split_sums_of_several_contexts_keep_apart, cl_begin, as_before),
        cmocka_unit_test_setup(a_walk_waits_for_one_in_another_queue, cl_begin),
        cmocka_unit_test_setup(a_fault_is_told_to_its_own_context, cl_begin),
        cmocka_unit_test_setup(a_walk_that_fails_is_timed_again, cl_begin),
        cmocka_unit_test_setup(a_walk_that_cannot_gain_is_not_made, cl_begin),
        { "a_run_that_fails_leaves_nothing_running", a_run_that_fails_leaves_nothing_running, cl_begin, NULL,
          launched },
        { "a_walk_that_fails_leaves_nothing_running", a_run_that_fails_leaves_nothing_running, cl_begin, NULL, walked },
        cmocka_unit_test_setup(kernels_get_the_arguments_of_who_runs, cl_begin),
        cmocka_unit_test_setup(tensors_lie_in_pinned_memory, cl_begin),
        cmocka_unit_test_setup(pinned_tensors_outlive_their_engine, cl_begin),
        cmocka_unit_test_setup(ordinary_memory_does_where_there_is_no_other, cl_begin),
        cmocka_unit_test_setup(pinned_tensors_count_and_fail_like_others, cl_begin),
        cmocka_unit_test_setup(on_the_cpu_tensors_are_ordinary, cl_begin),
    };
    return cmocka_run_group_tests(tests, open_cache, close_cache);
}
