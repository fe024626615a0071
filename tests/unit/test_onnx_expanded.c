/* What import expands: Scan of opset 8 into a Scan over the batch of a Scan over the sequence. */
#include "unit/onnx_bytes.h"
#include "unit/unit.h"

#include <unistd.h>

#include "gopt/gopt.h"
#include "ops/eval.h"

static char path[] = "/tmp/gopt-test-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return close(mkstemp(path));
}

static int teardown(void **state)
{
    (void)state;
    return remove(path);
}

/* Running sums: state + x, and the same for each step. */
static bytes sums(void)
{
    bytes b = { 0 }, a = { 0 };
    sub(&b, 1, node("Add", "s x", "n", "add"));
    sub(&b, 1, node("Identity", "n", "o", "copy"));
    str(&b, 2, "sums");
    sub(&b, 11, value("s", 1, (const int64_t[]){ 1 }, NULL));
    sub(&b, 11, value("x", 1, (const int64_t[]){ 1 }, NULL));
    sub(&b, 12, value("n", 1, (const int64_t[]){ 1 }, NULL));
    sub(&b, 12, value("o", 1, (const int64_t[]){ 1 }, NULL));
    str(&a, 1, "body");
    sub(&a, 6, b);
    num(&a, 20, 5);
    return a;
}

/* Sums of {1, 2, 3} from 0 and of {10, 20, 30} from 5, as an opset 8 model with `inputs`. */
static gopt_status load_scan(gopt_ctx *cx, const char *inputs, int64_t direction, gopt_graph **g)
{
    bytes n = node("Scan", inputs, "last all", "scan"), b = { 0 };
    sub(&n, 5, sums());
    sub(&n, 5, attr_int("num_scan_inputs", 1));
    sub(&n, 5, attr_ints("directions", 1, &direction));
    sub(&b, 1, n);
    sub(&b, 5, f32_initializer("s0", 2, (const int64_t[]){ 2, 1 }, 2, (const float[]){ 0, 5 }));
    sub(&b, 5, f32_initializer("xs", 3, (const int64_t[]){ 2, 3, 1 }, 6, (const float[]){ 1, 2, 3, 10, 20, 30 }));
    sub(&b, 5, i64_initializer("lengths", 2, (const int64_t[]){ 3, 2 }));
    sub(&b, 12, value("last", 2, (const int64_t[]){ 2, 1 }, NULL));
    sub(&b, 12, value("all", 3, (const int64_t[]){ 2, 3, 1 }, NULL));
    bytes m = model(b, 3, 8);
    write_file(path, m.p, m.n);
    free(m.p);
    return gopt_onnx_load(cx, path, g);
}

static void scan_gives(const char *inputs, int64_t direction, const float *last, const float *all)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = NULL;
    gopt_tensor *y[2] = { NULL };
    gopt_status st = load_scan(cx, inputs, direction, &g);
    if (st == GOPT_OK)
        st = gi_eval_graph(g, NULL, y);
    if (st != GOPT_OK)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
    assert_int_equal(y[0]->bytes, 2 * sizeof(float));
    assert_memory_equal(y[0]->data, last, 2 * sizeof(float));
    assert_int_equal(y[1]->bytes, 6 * sizeof(float));
    assert_memory_equal(y[1]->data, all, 6 * sizeof(float));
    gopt_tensor_unref(y[0]);
    gopt_tensor_unref(y[1]);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
}

static void scan_of_batch(void **state)
{
    (void)state;
    scan_gives("- s0 xs", 0, (const float[]){ 6, 65 }, (const float[]){ 1, 3, 6, 15, 35, 65 });
    scan_gives("- s0 xs", 1, (const float[]){ 6, 65 }, (const float[]){ 3, 5, 6, 35, 55, 65 });
}

/* The second of the batch has two steps: backwards, they are the second and the first. */
static void scan_of_lengths(void **state)
{
    (void)state;
    scan_gives("lengths s0 xs", 0, (const float[]){ 6, 35 }, (const float[]){ 1, 3, 6, 15, 35, 0 });
    scan_gives("lengths s0 xs", 1, (const float[]){ 6, 35 }, (const float[]){ 3, 5, 6, 25, 35, 0 });
}

static void scan_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "-", "num_scan_inputs is 1, expected 1 to 0" },
        { "- s0 -", "input #2 is missing" },
        { "- xs", "its body has 2 inputs and 2 outputs, for 0 states" },
    };
    for (size_t i = 0; i < GI_COUNT(cases); i++) {
        gopt_ctx *cx = gopt_ctx_create(NULL);
        gopt_graph *g = NULL;
        assert_int_equal(load_scan(cx, cases[i][0], 0, &g), GOPT_BAD_INPUT);
        const char *said = gopt_diag_get(cx, gopt_diag_count(cx) - 1)->message;
        if (!strstr(said, cases[i][1]))
            fail_msg("found: %s\nexpected: %s", said, cases[i][1]);
        gopt_ctx_destroy(cx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(scan_of_batch), cmocka_unit_test(scan_of_lengths),
                                        cmocka_unit_test(scan_refused) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
