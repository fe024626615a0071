/* Tuning: the answers stay, what was found is kept in the cache, and nothing that lies there does harm. */
#include "unit/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/timing_cache.h"
#include "gopt/gopt.h"
#include "ir/graph.h"
#include "unit/net.h"

static char folder[] = "/tmp/gopt_tune_XXXXXX", path[64], corrupt[80], lock[80];

static int begin(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/timings.json", folder);
    snprintf(corrupt, sizeof corrupt, "%s.corrupt", path);
    snprintf(lock, sizeof lock, "%s.lock", path);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    unlink(path);
    unlink(corrupt);
    unlink(lock);
    return 0;
}

static int end(void **state)
{
    return clean(state) || rmdir(folder);
}

static void write_text(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static gopt_graph *network(gopt_ctx *cx)
{
    net t = { 0 };
    seed = 7;
    assert_int_equal(gopt_graph_create(cx, "tuned", 21, &t.g), GOPT_OK);
    gopt_value *x = conv(&t, input(&t, DIMS(1, 32, 14, 14)), 48, 32, 3, 3, "pads = [1,1,1,1]");
    x = add(&t, "Relu", NULL, 1, x, NULL, NULL);
    x = conv(&t, x, 32, 48, 1, 1, NULL);
    assert_int_equal(gopt_graph_output(t.g, x, "y"), GOPT_OK);
    return t.g;
}

/* Builds with these options, compares with the reference, and says by what the first step runs. */
static const char *build_and_run(gopt_ctx *cx, gopt_engine_options o, const gopt_tactic_info **list, size_t *n)
{
    gopt_engine *e, *r;
    gopt_graph *g = network(cx), *plain;
    static char tactic[64];
    static gopt_tactic_info kept[32];
    assert_int_equal(gopt_graph_clone(g, &plain), GOPT_OK);
    gopt_tensor *in[1] = { make_input(cx, gopt_graph_get_input(g, 0)) };
    o.threads = 2;
    o.take_graph = true;
    gopt_run_context *rc = start(g, &o, in, &e);
    gopt_run_context *rr = start(plain, &(gopt_engine_options){ .reference = true }, in, &r);
    assert_int_equal(gopt_run(rc), GOPT_OK);
    assert_int_equal(gopt_run(rr), GOPT_OK);
    same("tuned", gopt_run_context_output(rc, 0), gopt_run_context_output(rr, 0));
    const gopt_step_info *s = gopt_run_context_step(rc, 0);
    snprintf(tactic, sizeof tactic, "%s", s->tactic);
    *n = s->n_tactics < 32 ? s->n_tactics : 32;
    for (size_t i = 0; i < *n; i++)
        kept[i] = s->tactics[i];
    *list = kept;
    gopt_run_context_destroy(rc);
    gopt_run_context_destroy(rr);
    gopt_engine_destroy(e);
    gopt_engine_destroy(r);
    gopt_tensor_unref(in[0]);
    gopt_graph_destroy(plain);
    return tactic;
}

static void answers_stay_and_are_kept(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    const gopt_tactic_info *list;
    size_t n, chosen = 0;
    char first[64];
    snprintf(first, sizeof first, "%s",
             build_and_run(cx, (gopt_engine_options){ .tune = true, .timing_cache = path }, &list, &n));
    for (size_t i = 0; i < n; i++) {
        assert_true(list[i].ms > 0 || list[i].why);
        chosen += list[i].chosen;
    }
    assert_true(n > 0);
    assert_int_equal(chosen, 1);
    assert_int_equal(access(path, R_OK), 0);
    assert_string_equal(build_and_run(cx, (gopt_engine_options){ .tune = true, .timing_cache = path }, &list, &n),
                        first);
    assert_string_equal(build_and_run(cx, (gopt_engine_options){ .timing_cache = path }, &list, &n), first);
    build_and_run(cx, (gopt_engine_options){ .tune = true }, &list, &n);
    gopt_ctx_destroy(cx);
}

static void damaged_files_are_set_aside(void **state)
{
    (void)state;
    static const char *const texts[] = { "",
                                         "{",
                                         "[1,2]",
                                         "{\"gopt_timing_cache\": 1}",
                                         "{\"gopt_timing_cache\": 1, \"entries\": 3}",
                                         "\x7f"
                                         "ELF" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        gopt_ctx *cx = gopt_ctx_create(NULL);
        gi_timings *t;
        write_text(texts[i]);
        assert_int_equal(gi_timings_open(cx, path, "m", &t), GOPT_OK);
        assert_int_equal(gopt_diag_count(cx), 1);
        assert_int_equal(gopt_diag_get(cx, 0)->severity, GOPT_WARNING);
        assert_int_equal(access(corrupt, R_OK), 0);
        assert_int_not_equal(access(path, R_OK), 0);
        gi_timings_close(t);
        gopt_ctx_destroy(cx);
        unlink(corrupt);
    }
}

static void foreign_entries_do_no_harm(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_timings *t;
    gi_timing found;
    write_text("{\"gopt_timing_cache\": 1, \"entries\": {"
               "\"a\": {\"machine\": \"other\", \"tactic\": \"view\", \"variant\": 0},"
               "\"b\": {\"machine\": \"m\", \"tactic\": 7, \"variant\": 0},"
               "\"c\": {\"machine\": \"m\", \"tactic\": \"view\", \"variant\": -1},"
               "\"d\": {\"machine\": \"m\", \"tactic\": \"view\", \"variant\": 1e9},"
               "\"e\": 3, \"f\": {\"machine\": \"m\", \"tactic\": \"gone\", \"variant\": 0}}}");
    assert_int_equal(gi_timings_open(cx, path, "m", &t), GOPT_OK);
    for (const char *key = "abcde"; *key; key++)
        assert_false(gi_timings_find(t, (const char[]){ *key, 0 }, &found));
    assert_true(gi_timings_find(t, "f", &found));
    assert_int_equal(gopt_diag_count(cx), 0);
    gi_timings_close(t);
    /* a file of a later gopt stays as it is */
    write_text("{\"gopt_timing_cache\": 2, \"entries\": []}");
    assert_int_equal(gi_timings_open(cx, path, "m", &t), GOPT_OK);
    assert_true(gi_timings_put(t, "a", "s", &(gi_timing){ "view", 0, 1 }));
    assert_int_equal(gi_timings_save(t), GOPT_OK);
    gi_timings_close(t);
    FILE *f = fopen(path, "r");
    char text[32] = "";
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_non_null(strstr(text, ": 2"));
    (void)fclose(f);
    gopt_ctx_destroy(cx);
}

/* A stale entry names a tactic that does not take the step: the step runs as without it. */
static void stale_entries_are_not_taken(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    const gopt_tactic_info *list;
    size_t n;
    build_and_run(cx, (gopt_engine_options){ .tune = true, .timing_cache = path }, &list, &n);
    char text[16384];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    (void)fclose(f);
    for (char *at = text; (at = strstr(at, "\"tactic\": \"")); at += 11)
        at[11] = 'X';
    write_text(text);
    build_and_run(cx, (gopt_engine_options){ .timing_cache = path }, &list, &n);
    build_and_run(cx, (gopt_engine_options){ .tune = true, .timing_cache = path }, &list, &n);
    gopt_ctx_destroy(cx);
}

static void *put_many(void *arg)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    for (int i = 0; i < 20; i++) {
        gi_timings *t;
        char key[32];
        snprintf(key, sizeof key, "%s-%d", (const char *)arg, i);
        if (gi_timings_open(cx, path, "m", &t) == GOPT_OK) {
            gi_timings_put(t, key, "s", &(gi_timing){ "view", i, 1 });
            gi_timings_save(t);
            gi_timings_close(t);
        }
    }
    gopt_ctx_destroy(cx);
    return NULL;
}

static void writers_do_not_lose_what_others_wrote(void **state)
{
    (void)state;
    pthread_t threads[3];
    static char names[3][2] = { "a", "b", "c" };
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, names[i]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_timings *t;
    assert_int_equal(gi_timings_open(cx, path, "m", &t), GOPT_OK);
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 20; i++) {
            char key[32];
            gi_timing found;
            snprintf(key, sizeof key, "%s-%d", names[k], i);
            assert_true(gi_timings_find(t, key, &found));
            assert_int_equal(found.variant, i);
        }
    gi_timings_close(t);
    gopt_ctx_destroy(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(answers_stay_and_are_kept, clean),
        cmocka_unit_test_teardown(damaged_files_are_set_aside, clean),
        cmocka_unit_test_teardown(foreign_entries_do_no_harm, clean),
        cmocka_unit_test_teardown(stale_entries_are_not_taken, clean),
        cmocka_unit_test_teardown(writers_do_not_lose_what_others_wrote, clean),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
