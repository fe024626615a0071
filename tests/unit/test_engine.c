/* The engine: every plan answers as reference evaluation does, whatever it shares, reuses or makes at run time;
 * shapes re-plan; bad inputs are told; contexts run side by side. */
#include "unit/unit.h"

#include <pthread.h>
#include <stdlib.h>

#include "gopt/gopt.h"
#include "ir/graph.h"
#include "ops/infer.h"

static gopt_graph *parse(gopt_ctx *cx, const char *text)
{
    gopt_graph *g = NULL;
    if (gi_parse(cx, "test", text, strlen(text), &g) != GOPT_OK || gi_infer_graph(g) != GOPT_OK) {
        gopt_diag_print(cx, stderr, false);
        fail();
    }
    return g;
}

static gopt_tensor *tensor(gopt_ctx *cx, gopt_dtype t, int rank, const int64_t *dims, unsigned seed)
{
    gopt_tensor *x;
    assert_int_equal(gopt_tensor_create(cx, t, rank, dims, &x), GOPT_OK);
    for (int64_t i = 0; i < gopt_tensor_elements(x); i++) {
        seed = seed * 1103515245u + 12345u;
        if (t == GOPT_F32)
            ((float *)x->data)[i] = (float)((int)(seed >> 16) % 64 - 32) / 8;
        else
            gi_store_i64(t, x->data, (size_t)i, (seed >> 16) % 3);
    }
    return x;
}

static void same(const gopt_tensor *a, const gopt_tensor *b)
{
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->kind, b->kind);
    if (a->kind != GOPT_TENSOR) {
        assert_int_equal(a->n_items, b->n_items);
        for (size_t i = 0; i < a->n_items; i++)
            same(a->items[i], b->items[i]);
        return;
    }
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->rank, b->rank);
    for (int i = 0; i < a->rank; i++)
        assert_int_equal(a->dims[i], b->dims[i]);
    for (int64_t i = 0; i < gopt_tensor_elements(a); i++) {
        const double x = gi_load_f64(a->dtype, a->data, (size_t)i), y = gi_load_f64(b->dtype, b->data, (size_t)i);
        if (!(x == y || (x != x && y != y) || (x - y < 1e-4 && y - x < 1e-4))) {
            print_error("element %ld: %g and %g\n", (long)i, x, y);
            fail();
        }
    }
}

/* An engine beside one that evaluates by reference, and a context of each. */
typedef struct pair {
    gopt_ctx *cx;
    gopt_graph *g;
    gopt_engine *e, *ref;
    gopt_run_context *rc, *ref_rc;
} pair;

static pair open_pair(gopt_ctx *cx, const char *text)
{
    pair p = { .cx = cx, .g = parse(cx, text) };
    gopt_status st = gopt_engine_create(p.g, &(gopt_engine_options){ .threads = 2 }, &p.e);
    if (st == GOPT_OK)
        st = gopt_run_context_create(p.e, &p.rc);
    if (st == GOPT_OK)
        st = gopt_engine_create(p.g, &(gopt_engine_options){ .reference = true }, &p.ref);
    if (st == GOPT_OK)
        st = gopt_run_context_create(p.ref, &p.ref_rc);
    if (st != GOPT_OK) {
        gopt_diag_print(cx, stderr, false);
        fail();
    }
    return p;
}

static void close_pair(pair *p)
{
    gopt_run_context_destroy(p->rc);
    gopt_run_context_destroy(p->ref_rc);
    gopt_engine_destroy(p->e);
    gopt_engine_destroy(p->ref);
    gopt_graph_destroy(p->g);
}

static void run_pair(pair *p, gopt_tensor *const *inputs)
{
    for (size_t i = 0; i < gopt_graph_input_count(p->g); i++) {
        assert_int_equal(gopt_run_context_set_input(p->rc, i, inputs[i]), GOPT_OK);
        assert_int_equal(gopt_run_context_set_input(p->ref_rc, i, inputs[i]), GOPT_OK);
    }
    const gopt_status st = gopt_run(p->rc);
    if (st != GOPT_OK)
        gopt_diag_print(p->cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
    assert_int_equal(gopt_run(p->ref_rc), GOPT_OK);
    for (size_t i = 0; i < gopt_graph_output_count(p->g); i++)
        same(gopt_run_context_output(p->rc, i), gopt_run_context_output(p->ref_rc, i));
}

/* ---- */

static void views_and_in_place_keep_the_answers(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    pair p =
        open_pair(cx, "graph (%x: f32[2,6], %y: f32[6]) {\n"
                      "  %a = Add %x, %y\n"
                      "  %v = Reshape %a, dense<i64[2], [3,4]>\n"
                      "  %w = Reshape %v, dense<i64[1], [12]>\n"
                      "  %b = LeakyRelu %w { alpha = 0.5 }\n"
                      "  %c = Mul %b, %w\n"
                      "  %d = Reshape %x, dense<i64[1], [-1]>\n"
                      "  %e = Add %d, %c\n"
                      "  %f = Sub %e, %e\n"
                      "  %h = Identity %x\n"
                      "  return %e as \"out\", %v as \"view\", %x as \"same\", %d as \"flat\", %f as \"zero\", %h as "
                      "\"copy\"\n"
                      "}\n");
    gopt_tensor *in[] = { tensor(cx, GOPT_F32, 2, (int64_t[]){ 2, 6 }, 1),
                          tensor(cx, GOPT_F32, 1, (int64_t[]){ 6 }, 2) };
    for (int i = 0; i < 3; i++)
        run_pair(&p, in);
    assert_true(gopt_run_context_output(p.rc, 2)->data != in[0]->data);
    const gopt_engine_info *info = gopt_engine_get_info(p.e);
    assert_string_equal(info->backend, "cpu");
    assert_true(info->steps > 0 && info->activation_bytes > 0);
    gopt_run_context_profile(p.rc, true);
    run_pair(&p, in);
    size_t n = 0;
    for (const gopt_step_info *s; (s = gopt_run_context_step(p.rc, n)); n++)
        assert_true(s->name && s->op && s->backend && s->tactic && s->ms >= 0 && s->whole_ms >= s->ms &&
                    (s->node || !strcmp(s->tactic, "copy")));
    assert_int_equal(n, info->steps);
    gopt_share_info share;
    for (size_t i = 0; gopt_run_context_share(p.rc, i, &share); i++)
        assert_true(share.start_ms >= 0 && share.ms >= 0);
    gopt_tensor_unref(in[0]);
    gopt_tensor_unref(in[1]);
    close_pair(&p);
    gopt_ctx_destroy(cx);
}

/* A table counts as far as it is looked into, and whole where it is read otherwise too. */
static void steps_say_what_they_move(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    pair p = open_pair(cx, "graph (%i: i64[3], %t: f32[1000,8]) {\n"
                           "  %g = Gather %t, %i\n"
                           "  %s = Slice %t, dense<i64[1], [0]>, dense<i64[1], [2]>\n"
                           "  %r = Relu %t\n"
                           "  return %g as \"g\", %s as \"s\", %r as \"r\"\n"
                           "}\n");
    static const struct {
        const char *op;
        uint64_t bytes;
    } want[] = { { "Gather", 2 * 3 * 32 + 3 * 8 }, { "Relu", 2 * 32000 } };
    size_t found = 0;
    for (size_t i = 0; i < gopt_engine_get_info(p.e)->steps; i++) {
        const gopt_step_info *s = gopt_run_context_step(p.rc, i);
        for (size_t k = 0; k < GI_COUNT(want); k++)
            if (!strcmp(s->op, want[k].op)) {
                assert_int_equal(s->bytes, want[k].bytes);
                found++;
            }
        if (!strcmp(s->op, "Slice"))
            assert_true(s->bytes < 1000);
    }
    assert_int_equal(found, GI_COUNT(want));
    close_pair(&p);
    gopt_ctx_destroy(cx);
}

/* Random graphs of pointwise nodes and views: each run of the plan against reference evaluation. */
static void random_graphs_agree(void **state)
{
    (void)state;
    static const char *const two[] = { "Add", "Sub", "Mul", "Max", "Min" };
    unsigned seed = 11;
    for (int round = 0; round < 60; round++) {
        gopt_ctx *cx = gopt_ctx_create(NULL);
        gi_arena *a = gi_arena_create(cx);
        gi_str s;
        gi_str_init(&s, a);
        gi_str_add(&s, "graph (%v0: f32[4,6], %v1: f32[6], %v2: f32[4,1]) {\n");
        const int n = 3 + (int)(seed % 40);
        for (int i = 3; i < n; i++) {
            seed = seed * 1103515245u + 12345u;
            const unsigned r = seed >> 12;
            if (r % 5 == 0)
                gi_str_addf(&s, "  %%v%d = LeakyRelu %%v%u { alpha = 0.25 }\n", i, r / 5 % (unsigned)i);
            else if (r % 5 == 1)
                gi_str_addf(
                    &s,
                    "  %%r%d = Reshape %%v%u, dense<i64[1], [-1]>\n  %%t%d = Add %%r%d, dense<f32[], 1.0>\n"
                    "  %%s%d = Expand %%v%u, dense<i64[2], [4,6]>\n  %%v%d = Clip %%s%d, _, dense<f32[], 3.0>\n",
                    i, r / 5 % (unsigned)i, i, i, i, r / 7 % (unsigned)i, i, i);
            else
                gi_str_addf(&s, "  %%v%d = %s %%v%u, %%v%u\n", i, two[r % 5], r / 5 % (unsigned)i,
                            r / 300 % (unsigned)i);
        }
        gi_str_addf(&s, "  return %%v%d as \"a\", %%v%d as \"b\", %%v%d as \"c\"\n}\n", n - 1, n / 2, n - 1);
        pair p = open_pair(cx, s.p);
        gopt_tensor *in[] = { tensor(cx, GOPT_F32, 2, (int64_t[]){ 4, 6 }, seed),
                              tensor(cx, GOPT_F32, 1, (int64_t[]){ 6 }, seed + 1),
                              tensor(cx, GOPT_F32, 2, (int64_t[]){ 4, 1 }, seed + 2) };
        run_pair(&p, in);
        run_pair(&p, in);
        for (int i = 0; i < 3; i++)
            gopt_tensor_unref(in[i]);
        close_pair(&p);
        gi_arena_destroy(a);
        gopt_ctx_destroy(cx);
    }
}

static void new_shapes_make_new_plans(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    pair p = open_pair(cx, "graph (%x: f32[n,2*m], %y: f32[n,1]) {\n"
                           "  %s = Shape %x\n"
                           "  %k = Gather %s, dense<i64[], 0>\n"
                           "  %u = Unsqueeze %k, dense<i64[1], [0]>\n"
                           "  %t = Concat %u, dense<i64[2], [2,-1]> { axis = 0 }\n"
                           "  %a = Add %x, %y\n"
                           "  %r = Reshape %a, %t\n"
                           "  return %r as \"out\"\n"
                           "}\n");
    for (int round = 0; round < 2; round++)
        for (int64_t n = 1; n < 12; n++) {
            gopt_tensor *in[] = { tensor(cx, GOPT_F32, 2, (int64_t[]){ n, 2 * (n % 4 + 1) }, (unsigned)n),
                                  tensor(cx, GOPT_F32, 2, (int64_t[]){ n, 1 }, 5) };
            run_pair(&p, in);
            size_t steps = 0;
            while (gopt_run_context_step(p.rc, steps))
                steps++;
            assert_int_equal(steps, 2); /* the arithmetic on shapes is gone */
            gopt_tensor_unref(in[0]);
            gopt_tensor_unref(in[1]);
        }
    gopt_tensor *in[] = { tensor(cx, GOPT_F32, 2, (int64_t[]){ 3, 4 }, 1),
                          tensor(cx, GOPT_F32, 2, (int64_t[]){ 2, 1 }, 1),
                          tensor(cx, GOPT_F32, 2, (int64_t[]){ 3, 5 }, 1) };
    gopt_diag_clear(cx);
    assert_int_equal(gopt_run_context_set_input(p.rc, 0, in[0]), GOPT_OK);
    assert_int_equal(gopt_run_context_set_input(p.rc, 1, in[1]), GOPT_OK);
    assert_int_equal(gopt_run(p.rc), GOPT_BAD_INPUT);
    char text[512];
    gopt_diag_format(gopt_diag_get(cx, 0), text, sizeof text);
    assert_non_null(strstr(text, "n = 3"));
    gopt_diag_clear(cx);
    assert_int_equal(gopt_run_context_set_input(p.rc, 0, in[2]), GOPT_OK);
    assert_int_equal(gopt_run(p.rc), GOPT_BAD_INPUT);
    gopt_diag_format(gopt_diag_get(cx, 0), text, sizeof text);
    assert_non_null(strstr(text, "2*m, which is never 5"));
    for (int i = 0; i < 3; i++)
        gopt_tensor_unref(in[i]);
    close_pair(&p);
    gopt_ctx_destroy(cx);
}

static void shapes_that_data_decide_are_made_in_the_run(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    pair p = open_pair(cx, "graph (%x: f32[2,8], %k: bool[8]) {\n"
                           "  %a = LeakyRelu %x { alpha = 0.5 }\n"
                           "  %c = Compress %a, %k { axis = 1 }\n"
                           "  %d = Add %c, %c\n"
                           "  %e = Concat %d, %x { axis = 1 }\n"
                           "  %z = Sub %d, %d\n"
                           "  return %e as \"e\", %a as \"a\", %d as \"d\", %z as \"z\"\n"
                           "}\n");
    for (unsigned i = 0; i < 5; i++) {
        gopt_tensor *in[] = { tensor(cx, GOPT_F32, 2, (int64_t[]){ 2, 8 }, i),
                              tensor(cx, GOPT_BOOL, 1, (int64_t[]){ 8 }, i) };
        for (int k = 0; k < 8; k++)
            ((bool *)in[1]->data)[k] = (i * 37 + 5) >> k & 1;
        run_pair(&p, in);
        gopt_tensor_unref(in[0]);
        gopt_tensor_unref(in[1]);
    }
    const gopt_step_info *s = gopt_run_context_step(p.rc, 1);
    assert_string_equal(s->op, "Compress");
    assert_string_equal(s->tactic, "reference");
    assert_non_null(s->reason);
    close_pair(&p);
    gopt_ctx_destroy(cx);
}

static void branches_are_plans(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    pair p =
        open_pair(cx, "graph (%x: f32[2,4], %k: bool[]) {\n"
                      "  %a = LeakyRelu %x { alpha = 0.5 }\n"
                      "  %b, %c = If %k { then_branch = block () {\n"
                      "    %t = Add %a, %x\n"
                      "    %u = Mul %t, %t\n"
                      "    return %u, %a\n"
                      "  }, else_branch = block () {\n"
                      "    %n = Not %k\n"
                      "    %i = If %n { then_branch = block () { return %x }, else_branch = block () { return %a } }\n"
                      "    %v = Sub %a, %i\n"
                      "    return %v, dense<f32[2,4], [1,2,3,4,5,6,7,8]>\n"
                      "  } }\n"
                      "  %d = Add %b, %c\n"
                      "  return %d as \"d\", %c as \"c\"\n"
                      "}\n");
    for (unsigned i = 0; i < 6; i++) {
        gopt_tensor *in[] = { tensor(cx, GOPT_F32, 2, (int64_t[]){ 2, 4 }, i), tensor(cx, GOPT_BOOL, 0, NULL, i) };
        *(bool *)in[1]->data = i % 2;
        run_pair(&p, in);
        gopt_tensor_unref(in[0]);
        gopt_tensor_unref(in[1]);
    }
    close_pair(&p);
    gopt_ctx_destroy(cx);
}

/* ---- contexts in threads ---- */

typedef struct job {
    gopt_engine *e;
    gopt_ctx *cx;
    gopt_tensor **in;
    const gopt_tensor *expected;
    bool ok;
} job;

static void *run_many(void *arg)
{
    job *j = arg;
    gopt_run_context *rc;
    j->ok = gopt_run_context_create(j->e, &rc) == GOPT_OK;
    for (int i = 0; i < 200 && j->ok; i++) {
        j->ok = gopt_run_context_set_input(rc, 0, j->in[0]) == GOPT_OK && gopt_run(rc) == GOPT_OK;
        const gopt_tensor *y = j->ok ? gopt_run_context_output(rc, 0) : NULL;
        j->ok = y && y->bytes == j->expected->bytes && !memcmp(y->data, j->expected->data, y->bytes);
    }
    gopt_run_context_destroy(rc);
    return NULL;
}

static void contexts_run_side_by_side(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(&(gopt_ctx_options){ .threads = 2 });
    pair p = open_pair(cx, "graph (%x: f32[n,64]) {\n"
                           "  %a = LeakyRelu %x { alpha = 0.5 }\n"
                           "  %b = Mul %a, %x\n"
                           "  %c = Add %b, %a\n"
                           "  %d = Transpose %c { perm = [1,0] }\n"
                           "  return %d as \"d\"\n"
                           "}\n");
    gopt_tensor *in[] = { tensor(cx, GOPT_F32, 2, (int64_t[]){ 16, 64 }, 3) };
    run_pair(&p, in);
    job jobs[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        jobs[i] = (job){ p.e, cx, in, gopt_run_context_output(p.rc, 0), false };
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, &jobs[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_true(jobs[i].ok);
    }
    gopt_tensor_unref(in[0]);
    close_pair(&p);
    gopt_ctx_destroy(cx);
}

/* ---- what is refused ---- */

static const char *last_text(gopt_ctx *cx)
{
    static char text[1024];
    assert_true(gopt_diag_count(cx) > 0);
    gopt_diag_format(gopt_diag_get(cx, gopt_diag_count(cx) - 1), text, sizeof text);
    return text;
}

static void wrong_inputs_are_told(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    pair p = open_pair(cx, "graph (%image: f32[1,3,8,8], %y: f32[2]) {\n"
                           "  %a = LeakyRelu %image { alpha = 0.5 }\n"
                           "  %b = LeakyRelu %y\n"
                           "  return %a as \"a\", %b as \"b\"\n"
                           "}\n");
    gopt_tensor *picture = tensor(cx, GOPT_U8, 3, (int64_t[]){ 8, 8, 3 }, 1);
    gopt_tensor *flat = tensor(cx, GOPT_F32, 3, (int64_t[]){ 3, 8, 8 }, 1);
    gopt_tensor *other = tensor(cx, GOPT_F32, 4, (int64_t[]){ 1, 3, 8, 9 }, 1);
    gopt_tensor *right = tensor(cx, GOPT_F32, 4, (int64_t[]){ 1, 3, 8, 8 }, 1);
    assert_int_equal(gopt_run_context_set_input(p.rc, 0, picture), GOPT_BAD_INPUT);
    assert_non_null(strstr(last_text(cx), "image"));
    assert_non_null(strstr(last_text(cx), "found u8[8,8,3], expected f32[1,3,8,8]"));
    assert_non_null(strstr(last_text(cx), "--image-layout"));
    assert_int_equal(gopt_run_context_set_input(p.rc, 0, flat), GOPT_BAD_INPUT);
    assert_non_null(strstr(last_text(cx), "batch dimension"));
    assert_int_equal(gopt_run_context_set_input(p.rc, 0, other), GOPT_BAD_INPUT);
    assert_int_equal(gopt_run_context_set_input(p.rc, 2, right), GOPT_USAGE);
    assert_int_equal(gopt_run_context_set_input(p.rc, 0, NULL), GOPT_USAGE);
    assert_int_equal(gopt_run_context_set_input(p.rc, 0, right), GOPT_OK);
    assert_int_equal(gopt_run(p.rc), GOPT_BAD_INPUT);
    assert_non_null(strstr(last_text(cx), "y"));
    assert_null(gopt_run_context_output(p.rc, 0));
    assert_null(gopt_run_context_output(p.rc, 7));
    gopt_tensor_unref(picture);
    gopt_tensor_unref(flat);
    gopt_tensor_unref(other);
    gopt_tensor_unref(right);
    close_pair(&p);
    gopt_ctx_destroy(cx);
}

static void misaligned_inputs_run(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    pair p = open_pair(cx, "graph (%x: f32[32]) {\n  %a = LeakyRelu %x { alpha = 0.5 }\n  return %a as \"a\"\n}\n");
    gopt_tensor *in[] = { tensor(cx, GOPT_F32, 1, (int64_t[]){ 33 }, 1) };
    gopt_tensor shifted = { .dtype = GOPT_F32, .rank = 1, .dims = { 32 }, .bytes = 128 };
    shifted.data = (float *)in[0]->data + 1;
    gopt_tensor *at[] = { &shifted };
    run_pair(&p, at);
    run_pair(&p, at);
    gopt_tensor_unref(in[0]);
    close_pair(&p);
    gopt_ctx_destroy(cx);
}

static void too_much_memory_is_refused_before_running(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(&(gopt_ctx_options){ .memory_limit = 10 << 20 });
    gopt_graph *g = parse(cx, "graph (%x: f32[4096,1]) {\n"
                              "  %a = Add %x, dense<f32[1,4096], #a>\n"
                              "  %b = LeakyRelu %a\n"
                              "  return %b as \"b\"\n"
                              "}\n");
    gopt_engine *e;
    gopt_run_context *rc;
    assert_int_equal(gopt_engine_create(g, NULL, &e), GOPT_OK);
    assert_int_equal(gopt_run_context_create(e, &rc), GOPT_NO_MEMORY);
    assert_null(rc);
    assert_non_null(strstr(last_text(cx), "memory limit"));
    gopt_engine_destroy(e);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
}

static void unknown_backends_are_refused(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = parse(cx, "graph (%x: f32[4]) {\n  %a = LeakyRelu %x\n  return %a as \"a\"\n}\n");
    gopt_engine *e;
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .backend = "tpu" }, &e), GOPT_USAGE);
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .threads = -1 }, &e), GOPT_USAGE);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
}

static void devices_are_listed(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    const gopt_device_info *d = gopt_device_get(cx, 0);
    assert_non_null(d);
    assert_string_equal(d->backend, "cpu");
    assert_null(d->missing);
    assert_non_null(gopt_device_get(cx, 1));
    gopt_ctx_destroy(cx);
}

/* ---- memory of weights ---- */

static size_t live;

/* malloc with the size in front, so that what is held can be counted. */
static void *counting(void *user, void *p, size_t size)
{
    (void)user;
    size_t *at = p ? (size_t *)p - 2 : NULL;
    if (at)
        live -= at[0];
    if (!size) {
        free(at);
        return NULL;
    }
    at = realloc(at, size + 2 * sizeof *at);
    if (!at)
        return NULL;
    at[0] = size;
    live += size;
    return at + 2;
}

enum { WIDTH = 512, WEIGHT = WIDTH * WIDTH * (int)sizeof(float) };

/* y = x · W, with x of f32[n,WIDTH] and W made by the program. */
static gopt_graph *product(gopt_ctx *cx, const char *rows)
{
    gopt_graph *g;
    const int64_t dims[2] = { WIDTH, WIDTH };
    const char *in_dims[2] = { rows, "512" };
    float *w = malloc(WEIGHT);
    assert_non_null(w);
    for (int i = 0; i < WIDTH * WIDTH; i++)
        w[i] = (float)(i % 7 - 3);
    assert_int_equal(gopt_graph_create(cx, "product", 21, &g), GOPT_OK);
    gopt_value *in[2] = { gopt_graph_input(g, "x", GOPT_F32, 2, in_dims),
                          gopt_graph_constant(g, NULL, GOPT_F32, 2, dims, w) };
    free(w);
    assert_int_equal(gopt_graph_output(g, gopt_graph_add(g, "MatMul", NULL, 2, in, NULL), "y"), GOPT_OK);
    return g;
}

static void run_product(gopt_run_context *rc, gopt_ctx *cx, int64_t rows)
{
    gopt_tensor *x;
    assert_int_equal(gopt_tensor_create(cx, GOPT_F32, 2, (const int64_t[]){ rows, WIDTH }, &x), GOPT_OK);
    for (int64_t i = 0; i < rows * WIDTH; i++)
        ((float *)x->data)[i] = (float)(i % 5);
    assert_int_equal(gopt_run_context_set_input(rc, 0, x), GOPT_OK);
    assert_int_equal(gopt_run(rc), GOPT_OK);
    const float *y = gopt_run_context_output(rc, 0)->data;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < WIDTH; c += 101) {
            float sum = 0;
            for (int64_t k = 0; k < WIDTH; k++)
                sum += ((const float *)x->data)[r * WIDTH + k] * (float)((k * WIDTH + c) % 7 - 3);
            assert_true(sum == y[r * WIDTH + c]); /* small whole numbers: exact in any order */
        }
    gopt_tensor_unref(x);
}

/* An engine that owns its graph holds a packed weight once; one that does not, twice. */
static void packed_weights_go(void **state)
{
    (void)state;
    for (int take = 0; take < 2; take++) {
        live = 0;
        gopt_ctx *cx = gopt_ctx_create(&(gopt_ctx_options){ .realloc_fn = counting });
        gopt_graph *g = product(cx, "3");
        gopt_engine *e;
        gopt_run_context *rc;
        assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .threads = 2, .take_graph = take }, &e),
                         GOPT_OK);
        assert_true(take ? live < WEIGHT * 3 / 2 : live >= 2 * WEIGHT);
        assert_int_equal(gopt_run_context_create(e, &rc), GOPT_OK);
        run_product(rc, cx, 3);
        assert_string_equal(gopt_graph_output_name(gopt_engine_graph(e), 0), "y");
        gopt_run_context_destroy(rc);
        gopt_engine_destroy(e);
        if (!take)
            gopt_graph_destroy(g);
        gopt_ctx_destroy(cx);
        assert_int_equal(live, 0);
    }
}

/* A new size of a dynamic input makes a new plan, which packs nothing again. */
static void plans_share_weights(void **state)
{
    (void)state;
    live = 0;
    gopt_ctx *cx = gopt_ctx_create(&(gopt_ctx_options){ .realloc_fn = counting });
    gopt_graph *g = product(cx, "n");
    gopt_engine *e;
    gopt_run_context *rc;
    assert_int_equal(gopt_engine_create(g, &(gopt_engine_options){ .threads = 2, .take_graph = true }, &e), GOPT_OK);
    assert_int_equal(gopt_run_context_create(e, &rc), GOPT_OK);
    run_product(rc, cx, 3);
    const size_t one = live;
    for (int64_t rows = 4; rows < 16; rows++) /* more than plans are kept */
        run_product(rc, cx, rows);
    run_product(rc, cx, 3);
    assert_true(live < one + WEIGHT);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    gopt_ctx_destroy(cx);
    assert_int_equal(live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_say_what_they_move),
        cmocka_unit_test(views_and_in_place_keep_the_answers),
        cmocka_unit_test(random_graphs_agree),
        cmocka_unit_test(new_shapes_make_new_plans),
        cmocka_unit_test(shapes_that_data_decide_are_made_in_the_run),
        cmocka_unit_test(branches_are_plans),
        cmocka_unit_test(contexts_run_side_by_side),
        cmocka_unit_test(wrong_inputs_are_told),
        cmocka_unit_test(misaligned_inputs_run),
        cmocka_unit_test(too_much_memory_is_refused_before_running),
        cmocka_unit_test(unknown_backends_are_refused),
        cmocka_unit_test(devices_are_listed),
        cmocka_unit_test(packed_weights_go),
        cmocka_unit_test(plans_share_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
