/* The cpu backend's moves, Resize and gathering: see net.h. */
#include "unit/net.h"

static gopt_value *resized(net *t, gopt_value *x, int rank, const float *scales, const char *attributes)
{
    const int64_t n = rank;
    gopt_value *in[3] = { x, NULL, gopt_graph_constant(t->g, NULL, GOPT_F32, 1, &n, scales) };
    gopt_value *y = gopt_graph_add(t->g, "Resize", NULL, 3, in, attributes);
    assert_non_null(y);
    return y;
}

/* Between convolutions, so that the image lies blocked; the last block is not full. */
static gopt_value *between_convs(net *t, float h, float w, const char *attributes)
{
    const float scales[4] = { 1.0f, 1.0f, h, w };
    gopt_value *x = conv(t, input(t, DIMS(2, 16, 9, 6)), 21, 16, 1, 1, NULL);
    return conv(t, resized(t, x, 4, scales, attributes), 9, 21, 3, 3, "pads = [1,1,1,1]");
}

static gopt_value *linear_up(net *t)
{
    return between_convs(t, 2.0f, 2.0f, "mode = \"linear\"");
}

static gopt_value *linear_down(net *t)
{
    return between_convs(t, 0.4f, 0.7f, "mode = \"linear\", coordinate_transformation_mode = \"align_corners\"");
}

static gopt_value *linear_wide(net *t) /* one axis alone */
{
    return between_convs(t, 1.0f, 3.0f, "mode = \"linear\", coordinate_transformation_mode = \"asymmetric\"");
}

static gopt_value *cubic_up(net *t)
{
    return between_convs(t, 1.5f, 2.5f, "mode = \"cubic\", cubic_coeff_a = -0.5, exclude_outside = 1");
}

static gopt_value *smooth_down(net *t)
{
    return between_convs(t, 0.3f, 0.5f, "mode = \"linear\", antialias = 1");
}

static gopt_value *linear_plain(net *t)
{
    const float scales[4] = { 1.0f, 1.0f, 1.7f, 2.0f };
    return resized(t, input(t, DIMS(2, 3, 7, 19)), 4, scales, "mode = \"linear\"");
}

static gopt_value *cubic_line(net *t)
{
    const float scales[3] = { 1.0f, 1.0f, 2.2f };
    return resized(t, input(t, DIMS(2, 3, 23)), 3, scales, "mode = \"cubic\"");
}

static gopt_value *linear_channels(net *t) /* not an image's pixels alone: by evaluation */
{
    const float scales[4] = { 1.0f, 2.0f, 2.0f, 2.0f };
    return resized(t, input(t, DIMS(1, 2, 3, 4)), 4, scales, "mode = \"linear\"");
}

static gopt_value *gather(net *t, gopt_value *x, const char *axis, const int64_t *at, int n)
{
    return add(t, "Gather", axis, 2, x, integers(t, at, n), NULL);
}

static gopt_value *gather_rows(net *t)
{
    return gather(t, input(t, DIMS(3, 50, 7)), "axis = 1", (const int64_t[]){ 49, 0, -1, 7, 7 }, 5);
}

static gopt_value *gather_elements(net *t)
{
    return gather(t, input(t, DIMS(300, 50)), "axis = 1", (const int64_t[]){ 49, 0, -1, 7, 7, 8, 21, 33 }, 8);
}

static gopt_value *gather_quads(net *t)
{
    return gather(t, input(t, DIMS(3, 50, 4)), "axis = 1", (const int64_t[]){ 4, 49, -50 }, 3);
}

static gopt_value *gather_column(net *t)
{
    return gather(t, input(t, DIMS(3000, 5, 1)), "axis = 1", (const int64_t[]){ -2 }, 1);
}

/* ---- values written where a Concat wants them ---- */

static gopt_value *concat(net *t, const char *axis, int n, gopt_value *const *parts)
{
    gopt_value *in[4];
    memcpy(in, parts, (size_t)n * sizeof *in);
    gopt_value *v = gopt_graph_add(t->g, "Concat", NULL, n, in, axis);
    assert_non_null(v);
    return v;
}

#define CONCAT(t, ...)                                                                     \
    concat(t, "axis = 1", (int)(sizeof((gopt_value *[]){ __VA_ARGS__ }) / sizeof(void *)), \
           (gopt_value *[]){ __VA_ARGS__ })

static gopt_value *relu(net *t, gopt_value *x)
{
    return add(t, "Relu", NULL, 1, x, NULL, NULL);
}

static gopt_value *conv3x3(net *t, gopt_value *x, int64_t oc, int64_t ic)
{
    return conv(t, x, oc, ic, 3, 3, "pads = [1,1,1,1]");
}

/* Each layer reads all before it: the results are parts of the last. */
static gopt_value *dense_block(net *t)
{
    gopt_value *a = conv3x3(t, input(t, DIMS(1, 16, 9, 7)), 32, 16);
    gopt_value *b = conv3x3(t, a, 32, 32);
    gopt_value *c = conv3x3(t, relu(t, CONCAT(t, a, b)), 32, 64);
    gopt_value *d = conv3x3(t, relu(t, CONCAT(t, a, b, c)), 32, 96);
    return conv3x3(t, CONCAT(t, a, b, c, d), 16, 128);
}

/* A part that is read again behind the whole, and changed there: the whole must not see it. */
static gopt_value *read_after(net *t)
{
    gopt_value *a = conv3x3(t, input(t, DIMS(1, 16, 8, 8)), 16, 16), *b = conv3x3(t, a, 16, 16);
    gopt_value *both = CONCAT(t, a, b), *c = relu(t, relu(t, a));
    return add(t, "Add", NULL, 2, conv3x3(t, both, 16, 32), conv3x3(t, c, 16, 16), NULL);
}

static gopt_value *twice(net *t) /* the same part twice, and in two wholes in another order */
{
    gopt_value *a = conv3x3(t, input(t, DIMS(1, 16, 8, 8)), 16, 16), *b = conv3x3(t, a, 16, 16);
    gopt_value *x = conv3x3(t, CONCAT(t, a, b, a), 16, 48), *y = conv3x3(t, CONCAT(t, b, a), 16, 32);
    return add(t, "Add", NULL, 2, x, y, NULL);
}

static gopt_value *nested(net *t)
{
    gopt_value *a = conv3x3(t, input(t, DIMS(1, 16, 8, 8)), 16, 16), *b = conv3x3(t, a, 32, 16);
    gopt_value *in = CONCAT(t, a, b), *c = conv3x3(t, in, 16, 48);
    return conv3x3(t, CONCAT(t, c, in, b), 16, 96);
}

static gopt_value *slice(net *t, gopt_value *x, int64_t axis, int64_t from, int64_t to)
{
    gopt_value *in[4] = { x, integers(t, &from, 1), integers(t, &to, 1), integers(t, &axis, 1) };
    gopt_value *y = gopt_graph_add(t->g, "Slice", NULL, 4, in, NULL);
    assert_non_null(y);
    return y;
}

static gopt_value *split_parts(net *t) /* views of a part, one of them put together with others */
{
    gopt_value *x = conv3x3(t, input(t, DIMS(1, 16, 8, 8)), 64, 16), *part[2];
    for (int64_t i = 0; i < 2; i++)
        part[i] = slice(t, x, 1, 32 * i, 32 * i + 32);
    gopt_value *y = conv3x3(t, relu(t, part[0]), 16, 32), *z = add(t, "Sigmoid", NULL, 1, part[1], NULL, NULL);
    return conv3x3(t, CONCAT(t, part[1], y, z), 16, 80);
}

static gopt_value *rows_of_input(net *t) /* views of what the caller gave, and a result that is a part */
{
    gopt_value *x = input(t, DIMS(8, 16)), *y = slice(t, x, 0, 2, 7);
    gopt_value *z = add(t, "Exp", NULL, 1, y, NULL, NULL);
    gopt_value *all = concat(t, "axis = 0", 3, (gopt_value *[]){ z, x, y });
    return add(t, "Add", NULL, 2, add(t, "Mul", NULL, 2, all, all, NULL), all, NULL);
}

static gopt_value *last_is_whole(net *t)
{
    gopt_value *a = conv3x3(t, input(t, DIMS(1, 16, 8, 8)), 16, 16);
    return CONCAT(t, relu(t, a), conv3x3(t, a, 16, 16), a);
}

static gopt_value *two_images(net *t) /* parts are no runs */
{
    gopt_value *a = conv3x3(t, input(t, DIMS(2, 16, 8, 8)), 16, 16);
    return conv3x3(t, CONCAT(t, a, conv3x3(t, a, 16, 16)), 16, 32);
}

/* ---- channels within blocks ---- */

/* Two units of a ShuffleNet: halves put together, dealt out in turns, and taken apart. */
static gopt_value *shuffle_units(net *t)
{
    int64_t deal[44];
    for (int64_t i = 0; i < 44; i++)
        deal[i] = i % 2 * 22 + i / 2;
    gopt_value *x = input(t, DIMS(2, 16, 9, 31)), *a = conv3x3(t, x, 22, 16), *b = conv3x3(t, x, 22, 16);
    for (int i = 0; i < 2; i++) {
        gopt_value *all = gather(t, CONCAT(t, a, b), "axis = 1", deal, 44);
        a = slice(t, all, 1, 0, 22);
        b = conv3x3(t, slice(t, all, 1, 22, 44), 22, 22);
    }
    return conv3x3(t, gather(t, CONCAT(t, a, b), "axis = 1", deal, 44), 5, 44);
}

static gopt_value *odd_channels(net *t) /* the whole is read by others too, and backwards */
{
    int64_t back[53];
    for (int64_t i = 0; i < 53; i++)
        back[i] = -1 - i;
    gopt_value *x = input(t, DIMS(1, 16, 5, 5)), *a = conv3x3(t, x, 19, 16), *b = conv3x3(t, x, 34, 16);
    gopt_value *all = CONCAT(t, a, b), *turned = gather(t, all, "axis = 1", back, 53);
    return add(t, "Add", NULL, 2, conv3x3(t, all, 8, 53), conv3x3(t, turned, 8, 53), NULL);
}

static gopt_value *from_many(net *t) /* each channel from another block: too many */
{
    int64_t at[32];
    for (int64_t i = 0; i < 32; i++)
        at[i] = i % 16 * 16 + i / 16;
    gopt_value *x = conv3x3(t, input(t, DIMS(1, 16, 5, 5)), 256, 16);
    return conv3x3(t, gather(t, x, "axis = 1", at, 32), 8, 32);
}

static gopt_value *focus(net *t)
{
    return add(t, "SpaceToDepth", "blocksize = 2", 1, input(t, DIMS(2, 3, 12, 86)), NULL, NULL);
}

/* Boxes decoded: of a line's parts two are changed, and all go back to where they were; then lines of several sizes are
 * put together. */
static gopt_value *decode(net *t, gopt_value *x, int64_t rows, int64_t columns)
{
    gopt_value *y = add(t, "Sigmoid", NULL, 1, add(t, "Transpose", "perm = [0,2,1]", 1, x, NULL, NULL), NULL, NULL);
    gopt_value *a = slice(t, y, 2, 0, 2), *b = slice(t, y, 2, 2, 4), *c = slice(t, y, 2, 4, columns);
    a = add(t, "Mul", NULL, 2, a, weights(t, DIMS(rows, 2)), NULL);
    b = add(t, "Mul", NULL, 2, b, b, NULL);
    return concat(t, "axis = -1", 3, (gopt_value *[]){ a, b, c });
}

static gopt_value *boxes(net *t)
{
    gopt_value *a = decode(t, input(t, DIMS(1, 21, 60)), 60, 21), *b = decode(t, input(t, DIMS(1, 21, 15)), 15, 21);
    return CONCAT(t, a, b);
}

static gopt_value *boxes_read_twice(net *t) /* the parts, and what they are parts of */
{
    gopt_value *x = add(t, "Exp", NULL, 1, input(t, DIMS(2, 30, 9)), NULL, NULL);
    gopt_value *a = slice(t, x, 2, 0, 4), *b = slice(t, x, 2, 4, 9);
    gopt_value *y = concat(t, "axis = 2", 2, (gopt_value *[]){ add(t, "Neg", NULL, 1, a, NULL, NULL), b });
    gopt_value *z = concat(t, "axis = 2", 2, (gopt_value *[]){ b, a });
    return add(t, "Add", NULL, 2, add(t, "Mul", NULL, 2, y, x, NULL), z, NULL);
}

static const net_case cases[] = {
    { "linear_up", linear_up, "resize_linear" },
    { "linear_down", linear_down, "resize_linear" },
    { "linear_wide", linear_wide, "resize_linear" },
    { "cubic_up", cubic_up, "resize_linear" },
    { "smooth_down", smooth_down, "resize_linear" },
    { "linear_plain", linear_plain, "resize_linear" },
    { "cubic_line", cubic_line, "resize_linear" },
    { "linear_channels", linear_channels, "reference" },
    { "gather_rows", gather_rows, "gather" },
    { "gather_elements", gather_elements, "gather" },
    { "gather_quads", gather_quads, "gather" },
    { "gather_column", gather_column, "gather" },
    { "dense_block", dense_block, "move" },
    { "read_after", read_after, "move" },
    { "twice", twice, "move" },
    { "nested", nested, "move" },
    { "split_parts", split_parts, "move" },
    { "rows_of_input", rows_of_input, "move" },
    { "last_is_whole", last_is_whole, "move" },
    { "two_images", two_images, "move" },
    { "shuffle_units", shuffle_units, "channels" },
    { "odd_channels", odd_channels, "channels" },
    { "from_many", from_many, NULL },
    { "focus", focus, "move" },
    { "boxes", boxes, "move" },
    { "boxes_read_twice", boxes_read_twice, "move" },
};

static void moves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        one_case(&cases[i], NULL);
}

/* With every rewrite: Slices become a Split, Relus go into what is before them. */
static void rewritten(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        net_case any = cases[i];
        any.tactic = NULL;
        one_case(&any, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(moves), cmocka_unit_test(rewritten) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
