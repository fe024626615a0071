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

static const net_case cases[] = {
    { "linear_up", linear_up, "resize_linear" },     { "linear_down", linear_down, "resize_linear" },
    { "linear_wide", linear_wide, "resize_linear" }, { "cubic_up", cubic_up, "resize_linear" },
    { "smooth_down", smooth_down, "resize_linear" }, { "linear_plain", linear_plain, "resize_linear" },
    { "cubic_line", cubic_line, "resize_linear" },   { "linear_channels", linear_channels, "reference" },
    { "gather_rows", gather_rows, "gather" },        { "gather_elements", gather_elements, "gather" },
    { "gather_quads", gather_quads, "gather" },      { "gather_column", gather_column, "gather" },
};

static void moves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        one_case(&cases[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(moves) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
