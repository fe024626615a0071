/* GridSample: an item a result reads the image where the grid says, as the reference does (ops/grid.c): in up to three
 * spatial dims, nearest, linear or cubic, with zeros, the border or a reflection outside. */
#include <inttypes.h>

#include "backend/opencl/index.h"

enum { MOST_SPATIAL = 3 };

/* Where a coordinate lies, and the element that stands for one outside; -1: none does, it is zero. */
static const char helpers[] =
    "inline float reflect_at(float x, float low, float high)\n{\n"
    "    const float range = high - low;\n"
    "    if (!(range > 0.0f))\n        return low;\n"
    "    if (x >= low && x <= high)\n        return x;\n"
    "    const float over = x < low ? low - x : x - high, turns = floor(over / range), rest = over - turns * range;\n"
    "    return (x < low) == (fmod(turns, 2.0f) == 0.0f) ? low + rest : high - rest;\n}\n"
    "inline float place_of(float v, ix size)\n{\n"
    "    float x = ALIGN ? (v + 1.0f) / 2.0f * (size - 1) : ((v + 1.0f) * size - 1.0f) / 2.0f;\n"
    "    const float low = ALIGN ? 0.0f : -0.5f, high = size - (ALIGN ? 1.0f : 0.5f);\n"
    "    if (TAPS == 1)\n        x = rint(x);\n"
    "    if (!(x >= low && x <= high)) {\n"
    "        if (BORDER && TAPS != 4)\n            x = fmin(fmax(x, 0.0f), size - 1.0f);\n"
    "        else if (REFLECT)\n            x = reflect_at(x, low, high);\n"
    "    }\n"
    "    return x == x ? clamp(x, -1e9f, 1e9f) : -1e9f;\n}\n"
    "inline ix index_of(ix i, ix size)\n{\n"
    "    if (i >= 0 && i < size)\n        return i;\n"
    "    if (!BORDER && !REFLECT)\n        return -1;\n"
    "    if (REFLECT)\n        i = (ix)reflect_at((float)i, ALIGN ? 0.0f : -0.5f, size - (ALIGN ? 1.0f : 0.5f));\n"
    "    return clamp(i, (ix)0, size - 1);\n}\n"
    "inline float weight_of(float t, int tap)\n{\n"
    "    if (TAPS == 1)\n        return 1.0f;\n"
    "    if (TAPS == 2)\n        return tap ? t : 1.0f - t;\n"
    "    const float x = fabs(t + 1 - tap), a = -0.75f;\n"
    "    return x <= 1.0f  ? ((a + 2) * x - (a + 3)) * x * x + 1\n"
    "           : x < 2.0f ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a\n"
    "                      : 0.0f;\n}\n";

static int taps_of(const char *mode)
{
    return !strcmp(mode, "nearest")                               ? 1
           : !strcmp(mode, "linear") || !strcmp(mode, "bilinear") ? 2
           : !strcmp(mode, "cubic") || !strcmp(mode, "bicubic")   ? 4
                                                                  : 0;
}

static bool is_float(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims)
{
    return gi_cl_tensor(b, v, what, rank, dims) &&
           (gi_cl_is_float(v->type->dtype) ||
            gi_cl_decline(b, "%s is %s, not of floats", what, gopt_dtype_name(v->type->dtype)));
}

gopt_status gi_cl_take_grid(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *x = gi_node_in(n, 0), *grid = gi_node_in(n, 1);
    const char *at[GOPT_MAX_RANK] = { "c0", "c1" }, *grid_at[GOPT_MAX_RANK] = { "c0" };
    int rx, rg, ry;
    int64_t dx[GOPT_MAX_RANK], dg[GOPT_MAX_RANK], dy[GOPT_MAX_RANK];
    gi_cl_index k;
    gi_cl_view vx, vg;
    if (n->op != OP_GridSample || !is_float(b, x, "X", &rx, dx) || !is_float(b, grid, "its grid", &rg, dg) ||
        !is_float(b, n->out[0], "its result", &ry, dy))
        return GOPT_OK;
    const int spatial = rx - 2, taps = taps_of(gi_attr_str(n, GridSample_at_mode));
    if (spatial < 1 || spatial > MOST_SPATIAL || rg != rx || ry != rx || dg[rg - 1] != spatial || !taps) {
        (void)gi_cl_decline(b, "images of %d spatial dims are not sampled", spatial);
        return GOPT_OK;
    }
    for (int i = 0; i < spatial; i++)
        if (dx[i + 2] < 1) {
            (void)gi_cl_decline(b, "its image has no elements");
            return GOPT_OK;
        }
    const char *padding = gi_attr_str(n, GridSample_at_padding_mode);
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, x, "X", &vx));
    GI_TRY(gi_cl_index_read(&k, grid, "G", &vg));
    gi_str_addf(&k.head, "#define TAPS %d\n#define ALIGN %d\n#define BORDER %d\n#define REFLECT %d\n%s", taps,
                gi_attr_int(n, GridSample_at_align_corners) != 0, !strcmp(padding, "border"),
                !strcmp(padding, "reflection"), helpers);
    gi_str *s = &k.body;
    for (int d = 0; d < spatial; d++) {
        grid_at[d + 1] = gi_cl_coordinates[d + 2];
        at[d + 2] = gi_cl_places[d + 2];
    }
    gi_str_add(s, "    float sum = 0.0f;\n");
    for (int d = 0; d < spatial; d++) { /* a grid's coordinates run from the innermost dim outward */
        char last[8];
        (void)snprintf(last, sizeof last, "%d", spatial - 1 - d);
        grid_at[rg - 1] = last;
        gi_str_addf(s, "    const float p%d = place_of(G(", d);
        gi_cl_index_place(s, &vg, grid_at);
        gi_str_addf(s, "), %" PRId64 "), f%d = TAPS == 1 ? rint(p%d) : floor(p%d);\n", dx[d + 2], d, d, d);
    }
    for (int d = 0; d < spatial; d++) {
        gi_str_addf(s,
                    "    for (int t%d = 0; t%d < TAPS; t%d++) {\n"
                    "    const ix n%d = index_of((ix)f%d - (TAPS == 4) + t%d, %" PRId64 ");\n    const float w%d = ",
                    d, d, d, d + 2, d, d, dx[d + 2], d);
        if (d)
            gi_str_addf(s, "w%d * ", d - 1);
        gi_str_addf(s, "weight_of(p%d - f%d, t%d);\n    if (n%d < 0 || w%d == 0.0f)\n        continue;\n", d, d, d,
                    d + 2, d);
    }
    gi_str_addf(s, "    sum += w%d * X(", spatial - 1);
    gi_cl_index_place(s, &vx, at);
    gi_str_add(s, ");\n    ");
    for (int d = 0; d < spatial; d++)
        gi_str_add(s, "}");
    gi_str_add(s, "\n");
    *took = true;
    return gi_cl_index_end(&k, "sum");
}
