/* ImageDecoder, and gopt_image_decode: the kinds of pictures, and what is made of their pixels. */
#include "ops/image.h"

#include <stdarg.h>
#include <stdio.h>

#include "ops/infer.h"

/* ---- kinds ---- */

static bool begins(const uint8_t *p, size_t n, const char *magic, size_t length)
{
    return n >= length && !memcmp(p, magic, length);
}

static bool is_png(const uint8_t *p, size_t n)
{
    return begins(p, n, "\x89PNG\r\n\x1a\n", 8);
}

static bool is_jpeg(const uint8_t *p, size_t n)
{
    return begins(p, n, "\xff\xd8\xff", 3);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_pnm(const uint8_t *p, size_t n)
{
    return n >= 3 && p[0] == 'P' && p[1] >= '1' && p[1] <= '6' && is_blank(p[2]);
}

/* The size of the header behind the file's own tells it from other bytes that begin with BM. */
static bool is_bmp(const uint8_t *p, size_t n)
{
    static const uint8_t sizes[] = { 12, 40, 52, 56, 64, 108, 124 };
    return n >= 18 && begins(p, n, "BM", 2) && memchr(sizes, p[14], sizeof sizes) && !p[15] && !p[16] && !p[17];
}

static bool is_webp(const uint8_t *p, size_t n)
{
    return n >= 12 && begins(p, n, "RIFF", 4) && begins(p + 8, n - 8, "WEBP", 4);
}

static bool is_tiff(const uint8_t *p, size_t n)
{
    return begins(p, n, "II*\0", 4) || begins(p, n, "MM\0*", 4) || begins(p, n, "II+\0", 4) || begins(p, n, "MM\0+", 4);
}

static bool is_jpeg2000(const uint8_t *p, size_t n)
{
    return begins(p, n, "\0\0\0\x0cjP  \r\n\x87\n", 12) || begins(p, n, "\xff\x4f\xff\x51", 4);
}

static const struct {
    bool (*is)(const uint8_t *p, size_t n);
    gopt_status (*decode)(gi_image *m);
} kinds[] = {
    { is_png, gi_image_png },           { is_jpeg, gi_image_jpeg }, { is_webp, gi_image_webp },
    { is_tiff, gi_image_tiff },         { is_bmp, gi_image_bmp },   { is_pnm, gi_image_pnm },
    { is_jpeg2000, gi_image_jpeg2000 },
};

/* ---- what decoders call ---- */

gopt_status gi_image_fail(gi_image *m, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(m->why, sizeof m->why, fmt, args);
    va_end(args);
    return GOPT_BAD_INPUT;
}

gopt_status gi_image_lacks(gi_image *m, const char *kind, const char *library, const char *package)
{
    (void)gi_image_fail(m, "is a %s, and this build has no %s (apt-get install %s)", kind, library, package);
    m->hint = "install the library and build again, or give a PPM";
    return GOPT_UNSUPPORTED;
}

gopt_status gi_image_begin(gi_image *m, uint64_t width, uint64_t height, int channels)
{
    if (!width || !height || width > GI_IMAGE_SIDE || height > GI_IMAGE_SIDE || width * height > GI_IMAGE_PIXELS)
        return gi_image_fail(m, "is a picture of %llux%llu, expected 1 to %d a side and %d pixels in all",
                             (unsigned long long)width, (unsigned long long)height, GI_IMAGE_SIDE, GI_IMAGE_PIXELS);
    return gopt_tensor_create(m->cx, GOPT_U8, 3, (int64_t[]){ (int64_t)height, (int64_t)width, channels }, &m->pixels);
}

/* ---- decoding ---- */

static gopt_status decode(gi_image *m)
{
    gopt_status st = gi_image_fail(m, "is no picture: expected PNG, JPEG, JPEG 2000, TIFF, WebP, BMP or PNM");
    for (size_t i = 0; i < GI_COUNT(kinds); i++)
        if (kinds[i].is(m->p, m->n)) {
            m->why[0] = '\0';
            st = kinds[i].decode(m);
            break;
        }
    if (st != GOPT_OK) {
        gopt_tensor_unref(m->pixels);
        m->pixels = NULL;
    }
    return st;
}

bool gopt_image_is(const void *p, size_t n)
{
    for (size_t i = 0; i < GI_COUNT(kinds); i++)
        if (kinds[i].is(p, n))
            return true;
    return false;
}

gopt_status gopt_image_decode(gopt_ctx *cx, const char *file, const void *p, size_t n, gopt_tensor **out)
{
    gi_image m = { .cx = cx, .p = p, .n = n };
    const gopt_status st = decode(&m);
    *out = m.pixels;
    if (st != GOPT_OK && m.why[0])
        return gi_fail(cx, st, &(gi_place){ .file = file }, m.hint, "%s", m.why);
    return st;
}

/* ---- the operator ---- */

/* Gray of colour, as ITU-R BT.601 weighs it, in 16-bit fixed point. */
static uint8_t gray_of(const uint8_t *p)
{
    return (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 0x8000u) >> 16);
}

static void arrange(const gopt_tensor *from, uint8_t *to, int channels, bool backwards)
{
    const int64_t n = from->dims[0] * from->dims[1], has = from->dims[2];
    const uint8_t *p = from->data;
    for (int64_t i = 0; i < n; i++, p += has, to += channels) {
        if (channels == 1)
            to[0] = has == 1 ? p[0] : gray_of(p);
        for (int c = 0; c < channels && channels == 3; c++)
            to[c] = p[has == 1 ? 0 : backwards ? 2 - c : c];
    }
}

static bool read_format(const char *format, int *channels, bool *backwards)
{
    const bool gray = !strcmp(format, "Grayscale");
    *channels = gray ? 1 : 3;
    *backwards = !strcmp(format, "BGR");
    return gray || *backwards || !strcmp(format, "RGB");
}

/* What cannot be decoded gives no pixels, as ONNX asks; a library that is missing is told. */
static gopt_status eval_image_decoder(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    const char *format = gi_attr_str(a->n, ImageDecoder_at_pixel_format);
    gi_image m = { .cx = a->cx, .p = x->data, .n = x->bytes };
    int channels;
    bool backwards;
    gopt_tensor *y;
    if (!read_format(format, &channels, &backwards))
        return gi_eval_fail(a, -1, "attribute pixel_format is \"%s\", expected RGB, BGR or Grayscale", format);
    if (x->dtype != GOPT_U8 || x->rank != 1)
        return gi_eval_fail(a, 0, "expected a list of bytes, u8 of rank 1");
    gopt_status st = decode(&m);
    if (st == GOPT_UNSUPPORTED) {
        const gi_place at = gi_node_place(a->n);
        return gi_fail(a->cx, st, &at, m.hint, "input encoded_stream %s", m.why);
    }
    if (st == GOPT_BAD_INPUT) {
        const gi_place at = gi_node_place(a->n);
        gi_warn(a->cx, &at, NULL, "input encoded_stream %s: no pixels come of it", m.why);
        return gi_eval_out(a, 0, GOPT_U8, 3, (int64_t[]){ 0, 0, channels }, &y);
    }
    GI_TRY(st);
    st = gi_eval_out(a, 0, GOPT_U8, 3, (int64_t[]){ m.pixels->dims[0], m.pixels->dims[1], channels }, &y);
    if (st == GOPT_OK && y)
        arrange(m.pixels, y->data, channels, backwards);
    gopt_tensor_unref(m.pixels);
    return st;
}

static gopt_status infer_image_decoder(gi_infer *c)
{
    const char *format = gi_attr_str(c->n, ImageDecoder_at_pixel_format);
    int channels;
    bool backwards;
    const gopt_dtype t = gi_infer_dtype(c, 0);
    if (!read_format(format, &channels, &backwards))
        return gi_infer_fail_node(c, "attribute pixel_format is \"%s\", expected RGB, BGR or Grayscale", format);
    if ((t && t != GOPT_U8) || (gi_infer_rank(c, 0) >= 0 && gi_infer_rank(c, 0) != 1))
        return gi_infer_fail(c, 0, "expected a list of bytes, u8 of rank 1");
    const gi_dim *dims[] = { gi_dim_unknown(c->g->dims, true), gi_dim_unknown(c->g->dims, true),
                             gi_dim_const(c->g->dims, channels) };
    gi_infer_set(c, 0, GOPT_U8, 3, dims);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/image.def"
