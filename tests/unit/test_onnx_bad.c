/* Files that are no models, or bad ones: each gives a diagnostic that says what was found. */
#include "gopt/gopt.h"
#include "unit/onnx_bytes.h"
#include "unit/unit.h"

#include <unistd.h>

static char folder[64] = "/tmp/gopt-test-XXXXXX";
static char path[96];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/m.onnx", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Loads it, which must fail with that status, and some diagnostic must have this text. */
static void refuse_as(gopt_status expected, const void *p, size_t n, const char *text)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = NULL;
    write_file(path, p, n);
    const gopt_status st = gopt_load(cx, path, &g);
    bool found = false;
    for (size_t i = 0; i < gopt_diag_count(cx); i++)
        found |= strstr(gopt_diag_get(cx, i)->message, text) != NULL;
    if (st != expected || !found)
        gopt_diag_print(cx, stderr, false);
    assert_int_equal(st, expected);
    assert_null(g);
    assert_true(found);
    gopt_ctx_destroy(cx);
}

static void refuse(bytes m, const char *text)
{
    refuse_as(GOPT_BAD_INPUT, m.p, m.n, text);
    free(m.p);
}

static const int64_t two[1] = { 2 };

/* x → nodes → y */
static bytes graph_of(size_t n, bytes *nodes)
{
    bytes g = { 0 };
    for (size_t i = 0; i < n; i++)
        sub(&g, 1, nodes[i]);
    sub(&g, 11, value("x", 1, two, NULL));
    sub(&g, 12, value("y", 1, two, NULL));
    return g;
}

static void test_other_formats(void **state)
{
    (void)state;
    refuse_as(GOPT_BAD_INPUT, "\xff\xd8\xff\xe0\0\x10JFIF", 10, "JPEG");
    refuse_as(GOPT_BAD_INPUT, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16, "PNG");
    refuse_as(GOPT_BAD_INPUT, "PK\x03\x04\x14\0\0\0", 8, "zip");
    refuse_as(GOPT_BAD_INPUT, "<!DOCTYPE html><html>", 21, "HTML");
    refuse_as(GOPT_BAD_INPUT, "version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS");
    refuse_as(GOPT_BAD_INPUT, "hello, this is a text", 21, "text");
    refuse_as(GOPT_BAD_INPUT, "", 0, "empty");
}

static void test_truncated(void **state)
{
    (void)state;
    bytes n = node("Relu", "x", "y", "r");
    bytes m = model(graph_of(1, &n), 8, 17);
    for (size_t cut = m.n / 2; cut < m.n; cut++)
        refuse_as(GOPT_BAD_INPUT, m.p, cut, "");
    refuse_as(GOPT_BAD_INPUT, m.p, m.n - 3, "truncated");
    free(m.p);
}

/* 100,000 subgraphs within each other. Lengths are made from the inside out, in a file built backwards. */
static void test_deep(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    const size_t cap = (size_t)DEPTH * 20;
    uint8_t *p = malloc(cap);
    size_t at = cap;
    assert_non_null(p);
    static const int fields[] = { 6, 5, 1 }; /* attribute's graph, node's attribute, graph's node */
    for (int i = 0; i < 3 * DEPTH; i++) {
        bytes head = { 0 };
        varint(&head, (uint64_t)fields[i % 3] << 3 | 2);
        varint(&head, cap - at);
        at -= head.n;
        memcpy(p + at, head.p, head.n);
        free(head.p);
    }
    bytes m = { 0 };
    num(&m, 1, 8);
    varint(&m, 7 << 3 | 2);
    varint(&m, cap - at);
    put(&m, p + at, cap - at);
    free(p);
    refuse(m, "deep");
}

static void test_wiring(void **state)
{
    (void)state;
    bytes cycle[] = { node("Add", "x b", "a", "first"), node("Relu", "a", "b", "second"),
                      node("Relu", "b", "y", "third") };
    refuse(model(graph_of(3, cycle), 8, 17), "cycle: 'first' needs 'second' needs 'first'");
    bytes twice[] = { node("Relu", "x", "y", "p"), node("Relu", "x", "y", "q") };
    refuse(model(graph_of(2, twice), 8, 17), "two values are named 'y'");
    bytes missing = node("Relu", "nowhere", "y", "r");
    refuse(model(graph_of(1, &missing), 8, 17), "'nowhere'");
    bytes no_output = node("Relu", "x", "z", "r");
    refuse(model(graph_of(1, &no_output), 8, 17), "output 'y'");
}

static void test_nodes(void **state)
{
    (void)state;
    bytes few = node("Add", "x", "y", "a");
    refuse(model(graph_of(1, &few), 8, 17), "input B is missing");
    bytes many = node("Relu", "x x", "y", "a");
    refuse(model(graph_of(1, &many), 8, 17), "2 inputs, expected at most 1");
    bytes unknown = node("Relu", "x", "y", "a");
    sub(&unknown, 5, attr_int("slope", 1));
    refuse(model(graph_of(1, &unknown), 8, 17), "slope");
    bytes wrong = node("Transpose", "x", "y", "a");
    sub(&wrong, 5, attr_int("perm", 1));
    refuse(model(graph_of(1, &wrong), 8, 17), "attribute perm is an integer");
    bytes lost = node("Concat", "x x", "y", "a");
    refuse(model(graph_of(1, &lost), 8, 17), "attribute axis is missing");
}

static bytes with_tensor(bytes tensor)
{
    bytes n = node("Add", "x w", "y", "a");
    bytes g = graph_of(1, &n);
    sub(&g, 5, tensor);
    return model(g, 8, 17);
}

static void test_tensors(void **state)
{
    (void)state;
    const float v[2] = { 1, 2 };
    const int64_t three[1] = { 3 }, huge[3] = { INT64_MAX, 8, 8 }, negative[1] = { -1 };
    refuse(with_tensor(f32_initializer("w", 1, three, 2, v)), "8 bytes, expected 12");
    refuse(with_tensor(f32_initializer("w", 3, huge, 2, v)), "overflows");
    refuse(with_tensor(f32_initializer("w", 1, negative, 2, v)), "dimension 0 is -1");
    bytes type = { 0 };
    num(&type, 2, 99);
    str(&type, 8, "w");
    refuse(with_tensor(type), "element type is 99");
}

static bytes external(const char *location, const char *offset)
{
    bytes t = { 0 }, l = { 0 }, o = { 0 };
    num(&t, 1, 2);
    num(&t, 2, 1);
    str(&t, 8, "w");
    str(&l, 1, "location");
    str(&l, 2, location);
    str(&o, 1, "offset");
    str(&o, 2, offset);
    sub(&t, 13, l);
    sub(&t, 13, o);
    num(&t, 14, 1);
    return with_tensor(t);
}

static void test_external(void **state)
{
    (void)state;
    char data[96], link[96];
    snprintf(data, sizeof data, "%s/w.bin", folder);
    snprintf(link, sizeof link, "%s/link.bin", folder);
    write_file(data, "0123456789", 10);
    assert_int_equal(symlink("/etc/hostname", link), 0);
    refuse(external("/etc/passwd", "0"), "outside of the model's folder");
    refuse(external("../w.bin", "0"), "outside of the model's folder");
    refuse(external("a/../../w.bin", "0"), "outside of the model's folder");
    refuse(external("link.bin", "0"), "link that leaves");
    refuse(external("none.bin", "0"), "cannot be found");
    refuse(external("w.bin", "4"), "which has 10");
    refuse(external("w.bin", "18446744073709551615"), "which has 10");
    refuse(external("w.bin", "-4"), "expected a number");
    unlink(data);
    unlink(link);
}

/* f calls g calls f. */
static void test_recursion(void **state)
{
    (void)state;
    bytes call = node("f", "x", "y", "a");
    str(&call, 7, "local");
    bytes m = model(graph_of(1, &call), 8, 17);
    for (int i = 0; i < 2; i++) {
        bytes f = { 0 }, n = node(i ? "f" : "g", "p", "q", "inner");
        str(&n, 7, "local");
        str(&f, 1, i ? "g" : "f");
        str(&f, 4, "p");
        str(&f, 5, "q");
        sub(&f, 7, n);
        str(&f, 10, "local");
        sub(&m, 25, f);
    }
    refuse(m, "calls itself");
}

/* Each of 40 functions calls the next twice. */
static void test_explosion(void **state)
{
    (void)state;
    bytes call = node("f0", "x", "y", "a");
    str(&call, 7, "local");
    bytes m = model(graph_of(1, &call), 8, 17);
    for (int i = 0; i < 40; i++) {
        char name[16], next[16];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, i == 39 ? "Relu" : "f%d", i + 1);
        bytes f = { 0 }, o = { 0 }, n[2] = { node(next, "p", "h", "one"), node(next, "h", "q", "two") };
        str(&f, 1, name);
        str(&f, 4, "p");
        str(&f, 5, "q");
        for (int k = 0; k < 2; k++) {
            str(&n[k], 7, i == 39 ? "" : "local");
            sub(&f, 7, n[k]);
        }
        num(&o, 2, 17);
        sub(&f, 9, o);
        str(&f, 10, "local");
        sub(&m, 25, f);
    }
    refuse(m, "become over");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_formats), cmocka_unit_test(test_truncated), cmocka_unit_test(test_deep),
        cmocka_unit_test(test_wiring),        cmocka_unit_test(test_nodes),     cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_external),      cmocka_unit_test(test_recursion), cmocka_unit_test(test_explosion),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
