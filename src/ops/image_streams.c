/* Pictures that libraries read through callbacks: TIFF by libtiff, JPEG 2000 by openjpeg. */
#include "ops/image.h"

#if defined GI_HAVE_TIFF || defined GI_HAVE_OPENJPEG
/* Where a library reads in the picture's bytes. */
typedef struct stream {
    gi_image *m;
    size_t at;
} stream;

/* Copies up to n bytes from where it reads. */
static size_t take(stream *s, void *to, size_t n)
{
    const size_t left = s->at < s->m->n ? s->m->n - s->at : 0, k = n < left ? n : left;
    if (k)
        memcpy(to, s->m->p + s->at, k);
    s->at += k;
    return k;
}
#endif

/* ---- TIFF ---- */

#ifdef GI_HAVE_TIFF
#include <stdio.h>

#include <tiffio.h>

static tmsize_t tiff_read(thandle_t h, void *to, tmsize_t n)
{
    return n < 0 ? -1 : (tmsize_t)take(h, to, (size_t)n);
}

static tmsize_t tiff_write(thandle_t h, void *from, tmsize_t n)
{
    (void)h;
    (void)from;
    (void)n;
    return -1;
}

/* The offset is a negative one as a large unsigned where it goes back. */
static toff_t tiff_seek(thandle_t h, toff_t offset, int whence)
{
    stream *s = h;
    const uint64_t base = whence == SEEK_CUR ? s->at : whence == SEEK_END ? s->m->n : 0, to = base + offset;
    if (to > SIZE_MAX / 2)
        return (toff_t)-1;
    s->at = (size_t)to;
    return to;
}

static int tiff_close(thandle_t h)
{
    (void)h;
    return 0;
}

static toff_t tiff_size(thandle_t h)
{
    return ((stream *)h)->m->n;
}

/* The first of what it says is kept. */
static int tiff_failed(TIFF *t, void *user, const char *module, const char *fmt, va_list args)
{
    gi_image *m = user;
    (void)t;
    (void)module;
    if (!m->why[0]) {
        const int n = snprintf(m->why, sizeof m->why, "is a damaged TIFF: ");
        vsnprintf(m->why + n, sizeof m->why - (size_t)n, fmt, args); /* NOLINT(clang-analyzer-valist.Uninitialized) */
    }
    return 1;
}

static int tiff_warned(TIFF *t, void *user, const char *module, const char *fmt, va_list args)
{
    (void)t;
    (void)user;
    (void)module;
    (void)fmt;
    (void)args;
    return 1;
}

static gopt_status damaged_tiff(gi_image *m)
{
    return m->why[0] ? GOPT_BAD_INPUT : gi_image_fail(m, "is a damaged TIFF");
}

/* The first page; libtiff brings every layout to one word a pixel, red in its lowest byte. */
static gopt_status read_tiff(gi_image *m, TIFF *t)
{
    uint32_t width = 0, height = 0;
    uint16_t kind = 0;
    char refused[1024] = "";
    if (!TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &width) || !TIFFGetField(t, TIFFTAG_IMAGELENGTH, &height))
        return damaged_tiff(m);
    if (!TIFFRGBAImageOK(t, refused))
        return gi_image_fail(m, "is a TIFF that is not read: %.120s", refused);
    const bool gray = TIFFGetField(t, TIFFTAG_PHOTOMETRIC, &kind) &&
                      (kind == PHOTOMETRIC_MINISBLACK || kind == PHOTOMETRIC_MINISWHITE);
    const int channels = gray ? 1 : 3;
    GI_TRY(gi_image_begin(m, width, height, channels));
    const size_t n = (size_t)width * height;
    uint32_t *raster = gi_alloc(m->cx, n * sizeof *raster);
    GI_NEED(raster);
    const bool ok = TIFFReadRGBAImageOriented(t, width, height, raster, ORIENTATION_TOPLEFT, 1);
    uint8_t *to = m->pixels->data;
    for (size_t i = 0; ok && i < n; i++)
        for (int c = 0; c < channels; c++)
            *to++ = (uint8_t)(raster[i] >> (8 * c));
    gi_free(m->cx, raster);
    return ok ? GOPT_OK : damaged_tiff(m);
}

gopt_status gi_image_tiff(gi_image *m)
{
    stream s = { .m = m };
    TIFFOpenOptions *o = TIFFOpenOptionsAlloc();
    GI_NEED(o);
    TIFFOpenOptionsSetMaxSingleMemAlloc(o, (tmsize_t)GI_IMAGE_PIXELS * 4);
    TIFFOpenOptionsSetErrorHandlerExtR(o, tiff_failed, m);
    TIFFOpenOptionsSetWarningHandlerExtR(o, tiff_warned, m);
    TIFF *t = TIFFClientOpenExt("", "rm", &s, tiff_read, tiff_write, tiff_seek, tiff_close, tiff_size, NULL, NULL, o);
    TIFFOpenOptionsFree(o);
    if (!t)
        return damaged_tiff(m);
    const gopt_status st = read_tiff(m, t);
    TIFFClose(t);
    return st;
}
#else
gopt_status gi_image_tiff(gi_image *m)
{
    return gi_image_lacks(m, "TIFF", "libtiff of 4.5 or newer", "libtiff-dev");
}
#endif

/* ---- JPEG 2000 ---- */

#ifdef GI_HAVE_OPENJPEG
#include <openjpeg.h>

static OPJ_SIZE_T jp2_read(void *to, OPJ_SIZE_T n, void *user)
{
    const size_t k = take(user, to, n);
    return k ? k : (OPJ_SIZE_T)-1;
}

static OPJ_OFF_T jp2_skip(OPJ_OFF_T n, void *user)
{
    stream *s = user;
    const int64_t left = (int64_t)(s->m->n - s->at);
    if (n < 0 || n > left)
        return -1;
    s->at += (size_t)n;
    return n;
}

static OPJ_BOOL jp2_seek(OPJ_OFF_T to, void *user)
{
    stream *s = user;
    if (to < 0 || (uint64_t)to > s->m->n)
        return OPJ_FALSE;
    s->at = (size_t)to;
    return OPJ_TRUE;
}

static void jp2_failed(const char *text, void *user)
{
    gi_image *m = user;
    if (!m->why[0])
        (void)gi_image_fail(m, "is a damaged JPEG 2000 picture: %.120s", text);
    m->why[strcspn(m->why, "\n")] = '\0';
}

static void jp2_silent(const char *text, void *user)
{
    (void)text;
    (void)user;
}

static gopt_status damaged_jp2(gi_image *m)
{
    return m->why[0] ? GOPT_BAD_INPUT : gi_image_fail(m, "is a damaged JPEG 2000 picture");
}

/* Component c at a pixel of the picture, 8 bits; components may be coarser than the picture. */
static int jp2_sample(const opj_image_comp_t *c, uint32_t x, uint32_t y)
{
    const uint32_t cx = x / c->dx < c->w ? x / c->dx : c->w - 1;
    const uint32_t cy = y / c->dy < c->h ? y / c->dy : c->h - 1;
    int64_t v = c->data[(size_t)cy * c->w + cx];
    if (c->sgnd)
        v += INT64_C(1) << (c->prec - 1);
    v = c->prec > 8 ? v >> (c->prec - 8) : c->prec < 8 ? v * 255 / ((1 << c->prec) - 1) : v;
    return (int)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static uint8_t to_byte(double v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v + 0.5);
}

static gopt_status take_jp2(gi_image *m, const opj_image_t *image)
{
    const int channels = image->numcomps < 3 ? 1 : 3;
    const bool luma = image->color_space == OPJ_CLRSPC_SYCC && channels == 3;
    for (int c = 0; c < channels; c++) {
        const opj_image_comp_t *k = &image->comps[c];
        if (!k->data || !k->w || !k->h || !k->dx || !k->dy || k->prec < 1 || k->prec > 31)
            return gi_image_fail(m, "is a damaged JPEG 2000 picture: component %d has no pixels", c);
    }
    uint8_t *to = m->pixels->data;
    for (uint32_t y = 0; y < (uint32_t)m->pixels->dims[0]; y++)
        for (uint32_t x = 0; x < (uint32_t)m->pixels->dims[1]; x++, to += channels) {
            int v[3];
            for (int c = 0; c < channels; c++)
                v[c] = jp2_sample(&image->comps[c], x, y);
            for (int c = 0; c < channels; c++)
                to[c] = (uint8_t)v[c];
            if (luma) { /* ITU-R BT.601, as JFIF has it */
                to[0] = to_byte(v[0] + 1.402 * (v[2] - 128));
                to[1] = to_byte(v[0] - 0.344136 * (v[1] - 128) - 0.714136 * (v[2] - 128));
                to[2] = to_byte(v[0] + 1.772 * (v[1] - 128));
            }
        }
    return GOPT_OK;
}

static gopt_status read_jp2(gi_image *m, opj_codec_t *codec, opj_stream_t *in, opj_image_t **image)
{
    opj_dparameters_t parameters;
    opj_set_default_decoder_parameters(&parameters);
    if (!opj_setup_decoder(codec, &parameters) || !opj_read_header(in, codec, image))
        return damaged_jp2(m);
    const opj_image_t *i = *image;
    if (i->x1 <= i->x0 || i->y1 <= i->y0 || i->numcomps < 1 || i->numcomps > 4)
        return gi_image_fail(m, "is a JPEG 2000 picture of %u components, expected 1 to 4", i->numcomps);
    GI_TRY(gi_image_begin(m, i->x1 - i->x0, i->y1 - i->y0, i->numcomps < 3 ? 1 : 3));
    if (!opj_decode(codec, in, *image) || !opj_end_decompress(codec, in))
        return damaged_jp2(m);
    return take_jp2(m, *image);
}

gopt_status gi_image_jpeg2000(gi_image *m)
{
    stream s = { .m = m };
    opj_codec_t *codec = opj_create_decompress(m->p[0] == 0xff ? OPJ_CODEC_J2K : OPJ_CODEC_JP2);
    opj_stream_t *in = opj_stream_default_create(OPJ_TRUE);
    opj_image_t *image = NULL;
    gopt_status st = GOPT_NO_MEMORY;
    if (codec && in) {
        opj_set_error_handler(codec, jp2_failed, m);
        opj_set_warning_handler(codec, jp2_silent, m);
        opj_set_info_handler(codec, jp2_silent, m);
        opj_stream_set_user_data(in, &s, NULL);
        opj_stream_set_user_data_length(in, m->n);
        opj_stream_set_read_function(in, jp2_read);
        opj_stream_set_skip_function(in, jp2_skip);
        opj_stream_set_seek_function(in, jp2_seek);
        st = read_jp2(m, codec, in, &image);
    }
    opj_image_destroy(image);
    opj_stream_destroy(in);
    opj_destroy_codec(codec);
    return st;
}
#else
gopt_status gi_image_jpeg2000(gi_image *m)
{
    return gi_image_lacks(m, "JPEG 2000 picture", "openjpeg", "libopenjp2-7-dev");
}
#endif
