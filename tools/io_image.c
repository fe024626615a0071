/* Pictures as inputs: what the library decodes, scaled, normalised and laid out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

bool image_flags(const tool *t)
{
    return t->o.image_layout || t->o.image_scale || t->o.image_mean || t->o.image_std || t->o.image_resize;
}

/* ---- to the input ---- */

/* What an input wants of a picture. Sizes are -1 where the input leaves them open. */
typedef struct target {
    int axis_c, axis_h, axis_w; /* axis_c -1: no channels in the shape */
    int64_t c, h, w;
    double scale, mean[3], std[3];
} target;

/* One number, or three between commas; each may be a fraction, 1/255. */
static bool parse_numbers(const char *text, double out[3], bool three)
{
    int n = 0;
    while (n < 3) {
        char *end;
        double v = strtod(text, &end);
        if (end == text || !isfinite(v))
            return false;
        if (*end == '/') {
            text = end + 1;
            const double by = strtod(text, &end);
            if (end == text || !isfinite(by) || by == 0)
                return false;
            v /= by;
        }
        out[n++] = v;
        if (!*end)
            break;
        if (*end != ',' || !three)
            return false;
        text = end + 1;
        if (n == 3)
            return false;
    }
    if (n == 2)
        return false;
    for (; n < 3; n++)
        out[n] = out[0];
    return true;
}

static gopt_status parse_values(tool *t, target *a)
{
    double scale[3] = { 1, 1, 1 };
    *a = (target){ .axis_c = -1, .c = -1, .h = -1, .w = -1, .std = { 1, 1, 1 } };
    if (t->o.image_scale && !parse_numbers(t->o.image_scale, scale, false))
        return tool_fail(t, GOPT_USAGE, NULL, NULL, "--image-scale is '%s', expected a number, as in 1/255",
                         t->o.image_scale);
    if (t->o.image_mean && !parse_numbers(t->o.image_mean, a->mean, true))
        return tool_fail(t, GOPT_USAGE, NULL, NULL, "--image-mean is '%s', expected one number or R,G,B",
                         t->o.image_mean);
    if (t->o.image_std &&
        (!parse_numbers(t->o.image_std, a->std, true) || a->std[0] == 0 || a->std[1] == 0 || a->std[2] == 0))
        return tool_fail(t, GOPT_USAGE, NULL, NULL, "--image-std is '%s', expected one number or R,G,B, not zero",
                         t->o.image_std);
    a->scale = scale[0];
    return GOPT_OK;
}

static bool may_be_channels(int64_t d)
{
    return d == 1 || d == 3;
}

/* Finds the axes by --image-layout, or by which axis has 1 or 3 channels. */
static gopt_status find_axes(tool *t, const char *path, const gopt_value *input, const char *name, target *a)
{
    char type[256];
    const int rank = gopt_value_rank(input);
    gopt_value_type_text(input, type, sizeof type);
    if (rank != 2 && rank != 3 && rank != 4)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a picture, and input %s is %s, expected one of rank 2 to 4",
                         name, type);
    if (rank == 2) {
        a->axis_w = 1;
        a->c = 1;
    } else {
        const int first = rank - 3;
        const int64_t front = gopt_value_dim(input, first), back = gopt_value_dim(input, rank - 1);
        bool nchw = may_be_channels(front) || !may_be_channels(back);
        if (t->o.image_layout)
            nchw = !strcmp(t->o.image_layout, "nchw");
        else if (may_be_channels(front) == may_be_channels(back))
            return tool_fail(t, GOPT_USAGE, path, "say --image-layout nchw or --image-layout nhwc",
                             "is a picture, and input %s is %s, which may be either layout", name, type);
        a->axis_c = nchw ? first : rank - 1;
        a->axis_h = nchw ? first + 1 : first;
        a->axis_w = a->axis_h + 1;
        a->c = gopt_value_dim(input, a->axis_c);
    }
    a->h = gopt_value_dim(input, a->axis_h);
    a->w = gopt_value_dim(input, a->axis_w);
    if (a->c != -1 && !may_be_channels(a->c))
        return tool_fail(t, GOPT_BAD_INPUT, path, "see --image-layout",
                         "is a picture, and input %s is %s: %lld channels", name, type, (long long)a->c);
    return GOPT_OK;
}

/* Pixel as channel c of `channels` wanted: gray from colour by ITU-R BT.601, colour from gray by copying. */
static double channel_at(const uint8_t *p, int64_t has, int64_t wanted, int64_t c)
{
    if (has >= 3 && wanted == 1)
        return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
    return p[has >= 3 ? c : 0];
}

/* Bilinear with pixel centres at halves, as PIL and OpenCV have it without antialiasing. */
static double sample(const uint8_t *pixels, int64_t h, int64_t w, int64_t has, double y, double x, int64_t wanted,
                     int64_t c)
{
    y = fmin(fmax(y, 0), (double)(h - 1));
    x = fmin(fmax(x, 0), (double)(w - 1));
    const int64_t y0 = (int64_t)y, x0 = (int64_t)x, y1 = y0 + (y0 + 1 < h), x1 = x0 + (x0 + 1 < w);
    const double fy = y - (double)y0, fx = x - (double)x0;
    const double a = channel_at(pixels + (y0 * w + x0) * has, has, wanted, c);
    const double b = channel_at(pixels + (y0 * w + x1) * has, has, wanted, c);
    const double d = channel_at(pixels + (y1 * w + x0) * has, has, wanted, c);
    const double e = channel_at(pixels + (y1 * w + x1) * has, has, wanted, c);
    return (a * (1 - fx) + b * fx) * (1 - fy) + (d * (1 - fx) + e * fx) * fy;
}

static bool is_integer(gopt_dtype d)
{
    return d == GOPT_U8 || d == GOPT_I8 || d == GOPT_I16 || d == GOPT_U16 || d == GOPT_I32 || d == GOPT_U32 ||
           d == GOPT_I64 || d == GOPT_U64;
}

static void fill(const target *a, const gopt_tensor *pixels, int64_t ph, int64_t pw, int64_t pc, gopt_tensor *x)
{
    const uint8_t *from = pixels->data;
    const int64_t sc = a->axis_c < 0 ? 0 : a->axis_c < a->axis_h ? a->h * a->w : 1;
    const int64_t sw = a->axis_c > a->axis_w ? a->c : 1, sh = a->w * sw;
    const bool resize = ph != a->h || pw != a->w, integer = is_integer(x->dtype);
    for (int64_t c = 0; c < a->c; c++)
        for (int64_t i = 0; i < a->h; i++)
            for (int64_t k = 0; k < a->w; k++) {
                const double y = ((double)i + 0.5) * (double)ph / (double)a->h - 0.5;
                const double z = ((double)k + 0.5) * (double)pw / (double)a->w - 0.5;
                double v = resize ? sample(from, ph, pw, pc, y, z, a->c, c)
                                  : channel_at(from + (i * pw + k) * pc, pc, a->c, c);
                v = (v * a->scale - a->mean[c]) / a->std[c];
                const int64_t at = c * sc + i * sh + k * sw;
                if (integer)
                    gopt_tensor_set_i64(x, at, llrint(v));
                else
                    gopt_tensor_set_f64(x, at, v);
            }
}

gopt_status image_to_input(tool *t, const char *path, const gopt_tensor *pixels, const gopt_value *input,
                           const char *name, gopt_tensor **out)
{
    target a;
    const int r = pixels->rank;
    const int64_t ph = pixels->dims[r - 3], pw = pixels->dims[r - 2], pc = pixels->dims[r - 1];
    TRY(parse_values(t, &a));
    TRY(find_axes(t, path, input, name, &a));
    if (a.c < 0)
        a.c = pc >= 3 ? 3 : 1;
    if (!ph || !pw)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a picture without pixels");
    const bool fits = (a.h < 0 || a.h == ph) && (a.w < 0 || a.w == pw);
    if (!fits && !t->o.image_resize)
        return tool_fail(t, GOPT_BAD_INPUT, path, "--image-resize scales it",
                         "is a picture of %lldx%lld (width x height), input %s expects %lldx%lld", (long long)pw,
                         (long long)ph, name, (long long)(a.w < 0 ? pw : a.w), (long long)(a.h < 0 ? ph : a.h));
    a.h = a.h < 0 ? ph : a.h;
    a.w = a.w < 0 ? pw : a.w;
    const int rank = gopt_value_rank(input);
    int64_t dims[4] = { 1, 1, 1, 1 };
    if (a.axis_c >= 0)
        dims[a.axis_c] = a.c;
    dims[a.axis_h] = a.h;
    dims[a.axis_w] = a.w;
    if (rank == 4 && gopt_value_dim(input, 0) > 1)
        return tool_fail(t, GOPT_BAD_INPUT, path, "stack the pictures in a .npy file",
                         "is one picture, input %s expects a batch of %lld", name, (long long)gopt_value_dim(input, 0));
    const gopt_dtype d = gopt_value_dtype(input);
    if (!is_integer(d) && gopt_dtype_bits(d) < 16)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a picture, and input %s is of %s", name,
                         gopt_dtype_name(d));
    TRY(gopt_tensor_create(t->cx, d, rank, dims, out));
    fill(&a, pixels, ph, pw, pc, *out);
    if (!is_integer(d) && !t->o.image_scale)
        tool_note(t, "--image-scale 1/255 gives 0 to 1", "%s: the picture's values go in as 0 to 255", path);
    return GOPT_OK;
}
