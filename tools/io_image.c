/* Pictures as inputs: .png, .jpg, .ppm and .pgm decoded to bytes, then scaled, normalised and laid out. */
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#ifdef GI_HAVE_PNG
#include <png.h>
#endif
#ifdef GI_HAVE_JPEG
#include <jpeglib.h>
#endif

#include "tool.h"

enum { MOST_PIXELS_A_SIDE = 65500 };

static bool is_png(const uint8_t *p, size_t n)
{
    return n >= 8 && !memcmp(p, "\x89PNG\r\n\x1a\n", 8);
}

static bool is_jpeg(const uint8_t *p, size_t n)
{
    return n >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff;
}

static bool is_pnm(const uint8_t *p, size_t n)
{
    return n >= 3 && p[0] == 'P' && strchr("2356", p[1]) && p[1] && isspace(p[2]);
}

bool image_is(const uint8_t *p, size_t n)
{
    return is_png(p, n) || is_jpeg(p, n) || is_pnm(p, n);
}

bool image_flags(const tool *t)
{
    return t->o.image_layout || t->o.image_scale || t->o.image_mean || t->o.image_std || t->o.image_resize;
}

/* ---- decoding ---- */

static gopt_status new_picture(tool *t, const char *path, uint64_t w, uint64_t h, int channels, gopt_tensor **out)
{
    if (!w || !h || w > MOST_PIXELS_A_SIDE || h > MOST_PIXELS_A_SIDE)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a picture of %llux%llu, expected at most %d a side",
                         (unsigned long long)w, (unsigned long long)h, MOST_PIXELS_A_SIDE);
    return gopt_tensor_create(t->cx, GOPT_U8, 3, (int64_t[]){ (int64_t)h, (int64_t)w, channels }, out);
}

static gopt_status decode_png(tool *t, const char *path, const uint8_t *p, size_t n, gopt_tensor **out)
{
#ifdef GI_HAVE_PNG
    png_image image = { .version = PNG_IMAGE_VERSION };
    if (!png_image_begin_read_from_memory(&image, p, n))
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a damaged PNG: %s", image.message);
    const bool color = image.format & PNG_FORMAT_FLAG_COLOR;
    image.format = color ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    gopt_status s = new_picture(t, path, image.width, image.height, color ? 3 : 1, out);
    if (s == GOPT_OK && !png_image_finish_read(&image, &(png_color){ 0 }, (*out)->data, 0, NULL)) {
        s = tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a damaged PNG: %s", image.message);
        gopt_tensor_unref(*out);
        *out = NULL;
    }
    png_image_free(&image);
    return s;
#else
    (void)p;
    (void)n;
    (void)out;
    return tool_fail(t, GOPT_UNSUPPORTED, path, "build with libpng (apt-get install libpng-dev), or give a .ppm",
                     "is a PNG, and this build has no libpng");
#endif
}

#ifdef GI_HAVE_JPEG
typedef struct jpeg_failure {
    struct jpeg_error_mgr base;
    jmp_buf back;
    char message[JMSG_LENGTH_MAX];
} jpeg_failure;

static void jpeg_failed(j_common_ptr c)
{
    jpeg_failure *f = (jpeg_failure *)c->err;
    f->base.format_message(c, f->message);
    longjmp(f->back, 1);
}

static void jpeg_silent(j_common_ptr c, int level)
{
    (void)c;
    (void)level;
}

static gopt_status decode_jpeg(tool *t, const char *path, const uint8_t *p, size_t n, gopt_tensor **out)
{
    struct jpeg_decompress_struct z;
    jpeg_failure failure = { 0 };
    gopt_status volatile s = GOPT_OK;
    *out = NULL;
    z.err = jpeg_std_error(&failure.base);
    failure.base.error_exit = jpeg_failed;
    failure.base.emit_message = jpeg_silent;
    if (setjmp(failure.back)) {
        jpeg_destroy_decompress(&z);
        gopt_tensor_unref(*out);
        *out = NULL;
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a damaged JPEG: %s", failure.message);
    }
    jpeg_create_decompress(&z);
    jpeg_mem_src(&z, p, n);
    jpeg_read_header(&z, TRUE);
    z.out_color_space = z.jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&z);
    s = new_picture(t, path, z.output_width, z.output_height, z.output_components, out);
    const size_t row_bytes = (size_t)z.output_width * (size_t)z.output_components;
    while (s == GOPT_OK && z.output_scanline < z.output_height) {
        JSAMPROW row = (uint8_t *)(*out)->data + z.output_scanline * row_bytes;
        jpeg_read_scanlines(&z, &row, 1);
    }
    if (s == GOPT_OK)
        jpeg_finish_decompress(&z);
    jpeg_destroy_decompress(&z);
    return s;
}
#else
static gopt_status decode_jpeg(tool *t, const char *path, const uint8_t *p, size_t n, gopt_tensor **out)
{
    (void)p;
    (void)n;
    (void)out;
    return tool_fail(t, GOPT_UNSUPPORTED, path, "build with libjpeg (apt-get install libjpeg-dev), or give a .ppm",
                     "is a JPEG, and this build has no libjpeg");
}
#endif

/* The next number of a PNM header or of its text form; false at the end. Comments run from # to the line's end. */
static bool pnm_number(const uint8_t *p, size_t n, size_t *at, uint32_t *v)
{
    while (*at < n && (isspace(p[*at]) || p[*at] == '#')) {
        if (p[*at] == '#')
            while (*at < n && p[*at] != '\n')
                ++*at;
        else
            ++*at;
    }
    if (*at >= n || !isdigit(p[*at]))
        return false;
    uint32_t x = 0;
    while (*at < n && isdigit(p[*at]) && x < 100000000)
        x = x * 10 + (uint32_t)(p[(*at)++] - '0');
    *v = x;
    return true;
}

static gopt_status decode_pnm(tool *t, const char *path, const uint8_t *p, size_t n, gopt_tensor **out)
{
    size_t at = 2;
    uint32_t w, h, most, v;
    const bool text = p[1] < '5';
    const int channels = p[1] == '3' || p[1] == '6' ? 3 : 1;
    if (!pnm_number(p, n, &at, &w) || !pnm_number(p, n, &at, &h) || !pnm_number(p, n, &at, &most) || !most ||
        most > 65535)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a damaged PNM picture: its header is cut off");
    at++; /* one blank before the pixels */
    const uint64_t samples = (uint64_t)w * h * (uint64_t)channels, wide = most > 255 ? 2 : 1;
    if (at > n || (!text && samples * wide > n - at) || (text && samples > n - at + 1))
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is cut off: %ux%u need %llu bytes, %zu are there", w, h,
                         (unsigned long long)samples * wide, at > n ? 0 : n - at);
    TRY(new_picture(t, path, w, h, channels, out));
    uint8_t *to = (*out)->data;
    at -= text;
    for (uint64_t i = 0; i < samples; i++) {
        if (text) {
            if (!pnm_number(p, n, &at, &v)) {
                gopt_tensor_unref(*out);
                *out = NULL;
                return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is cut off after %llu of %llu samples",
                                 (unsigned long long)i, (unsigned long long)samples);
            }
        } else {
            v = wide == 2 ? (uint32_t)p[at] << 8 | p[at + 1] : p[at];
            at += wide;
        }
        v = v > most ? most : v;
        to[i] = (uint8_t)(most == 255 ? v : (v * 255 + most / 2) / most);
    }
    return GOPT_OK;
}

gopt_status image_decode(tool *t, const char *path, const uint8_t *p, size_t n, gopt_tensor **out)
{
    *out = NULL;
    if (is_png(p, n))
        return decode_png(t, path, p, n, out);
    if (is_jpeg(p, n))
        return decode_jpeg(t, path, p, n, out);
    if (is_pnm(p, n))
        return decode_pnm(t, path, p, n, out);
    return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is no picture: expected PNG, JPEG, PPM or PGM");
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
