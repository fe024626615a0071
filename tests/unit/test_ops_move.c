/* Moving elements by strides, against a loop that does it one by one; and blobs that take a tensor's bytes. */
#include "unit/unit.h"

#include <string.h>

#include "ops/move.h"

enum { MOST = 70 * 70 * 3 };

/* y[i, k, j] = x[i, j, k] with elements of `item` bytes. */
static void turn_slowly(const int64_t *dims, uint8_t *y, const uint8_t *x, size_t item)
{
    for (int64_t i = 0; i < dims[0]; i++)
        for (int64_t j = 0; j < dims[1]; j++)
            for (int64_t k = 0; k < dims[2]; k++)
                memcpy(y + (size_t)((i * dims[2] + k) * dims[1] + j) * item,
                       x + (size_t)((i * dims[1] + j) * dims[2] + k) * item, item);
}

static void transposes_every_size(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 70 };
    static const size_t items[] = { 1, 2, 4, 8, 16 };
    static uint8_t x[MOST * 16], y[MOST * 16 + 1], want[MOST * 16 + 1];
    for (size_t i = 0; i < sizeof x; i++)
        x[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t a = 0; a < GI_COUNT(sizes); a++)
        for (size_t b = 0; b < GI_COUNT(sizes); b++)
            for (size_t t = 0; t < GI_COUNT(items); t++) {
                const int64_t m = sizes[a], n = sizes[b];
                const int64_t dims[3] = { 3, m, n }, out[3] = { 3, n, m };
                const int64_t dst[3] = { n * m, m, 1 }, src[3] = { m * n, 1, n };
                const size_t bytes = (size_t)(3 * m * n) * items[t];
                memset(y, 0xa5, sizeof y);
                memset(want, 0xa5, sizeof want);
                turn_slowly(dims, want, x, items[t]);
                gi_move_nd(3, out, y, dst, x, src, items[t]);
                assert_memory_equal(y, want, bytes + 1);
            }
}

static void takes_what_nobody_else_holds(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_tensor *t = NULL;
    gi_blob *b = NULL;
    assert_int_equal(gopt_tensor_create(cx, GOPT_F32, 2, (const int64_t[]){ 2, 3 }, &t), GOPT_OK);
    gopt_tensor_set_f64(t, 5, 7);
    gopt_tensor *other = gopt_tensor_ref(t);
    assert_false(gi_blob_take(t, &b)); /* two hold it */
    gopt_tensor_unref(other);
    const void *data = t->data;
    assert_true(gi_blob_take(t, &b));
    assert_non_null(b);
    assert_ptr_equal(b->data, data);
    assert_true(((const float *)b->data)[5] == 7);
    assert_int_equal(b->bytes, 24);
    assert_null(t->data);
    gopt_tensor_unref(t);
    gi_blob_unref(b);
    float borrowed[1] = { 1 };
    gopt_tensor view = { .kind = GOPT_TENSOR, .dtype = GOPT_F32, .data = borrowed, .bytes = 4, .refs = 1 };
    assert_false(gi_blob_take(&view, &b)); /* not its own */
    gopt_ctx_destroy(cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transposes_every_size),
        cmocka_unit_test(takes_what_nobody_else_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
