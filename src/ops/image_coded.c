/* Pictures that libraries decode from memory: PNG by libpng, JPEG by libjpeg, WebP by libwebp. */
#include "ops/image.h"

/* ---- PNG ---- */

#ifdef GI_HAVE_PNG
#include <png.h>

gopt_status gi_image_png(gi_image *m)
{
    png_image image = { .version = PNG_IMAGE_VERSION };
    if (!png_image_begin_read_from_memory(&image, m->p, m->n))
        return gi_image_fail(m, "is a damaged PNG: %s", image.message);
    const bool color = image.format & PNG_FORMAT_FLAG_COLOR;
    image.format = color ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    gopt_status st = gi_image_begin(m, image.width, image.height, color ? 3 : 1);
    if (st == GOPT_OK && !png_image_finish_read(&image, &(png_color){ 0 }, m->pixels->data, 0, NULL))
        st = gi_image_fail(m, "is a damaged PNG: %s", image.message);
    png_image_free(&image);
    return st;
}
#else
gopt_status gi_image_png(gi_image *m)
{
    return gi_image_lacks(m, "PNG", "libpng", "libpng-dev");
}
#endif

/* ---- JPEG ---- */

#ifdef GI_HAVE_JPEG
#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

typedef struct jpeg_failure {
    struct jpeg_error_mgr base;
    jmp_buf back;
    char message[JMSG_LENGTH_MAX];
} jpeg_failure;

/* libjpeg would end the process. */
static void jpeg_failed(j_common_ptr c)
{
    jpeg_failure *f = (jpeg_failure *)c->err;
    f->base.format_message(c, f->message);
    longjmp(f->back, 1);
}

/* A file of many scans makes libjpeg decode the picture anew for each: over so many it is made to do harm. */
enum { JPEG_SCANS = 500 };

static void jpeg_message(j_common_ptr c, int level)
{
    (void)c;
    (void)level;
}

static void jpeg_progress(j_common_ptr c)
{
    jpeg_failure *f = (jpeg_failure *)c->err;
    if (c->is_decompressor && ((j_decompress_ptr)c)->input_scan_number > JPEG_SCANS) {
        snprintf(f->message, sizeof f->message, "it has over %d scans", JPEG_SCANS);
        longjmp(f->back, 1);
    }
}

/* Everything that a jump passes by lies in *m and *z, in memory. */
static gopt_status read_jpeg(gi_image *m, struct jpeg_decompress_struct *z)
{
    jpeg_mem_src(z, m->p, m->n);
    jpeg_read_header(z, TRUE);
    z->out_color_space = z->jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
    GI_TRY(gi_image_begin(m, z->image_width, z->image_height, z->out_color_space == JCS_GRAYSCALE ? 1 : 3));
    jpeg_start_decompress(z);
    const size_t row_bytes = (size_t)z->output_width * (size_t)z->output_components;
    if (row_bytes * z->output_height != m->pixels->bytes)
        return gi_image_fail(m, "is a JPEG of %d components, which is not read", z->output_components);
    while (z->output_scanline < z->output_height) {
        JSAMPROW row = (uint8_t *)m->pixels->data + z->output_scanline * row_bytes;
        jpeg_read_scanlines(z, &row, 1);
    }
    jpeg_finish_decompress(z);
    return GOPT_OK;
}

gopt_status gi_image_jpeg(gi_image *m)
{
    struct jpeg_decompress_struct z = { 0 };
    struct jpeg_progress_mgr progress = { .progress_monitor = jpeg_progress };
    jpeg_failure failure = { 0 };
    z.err = jpeg_std_error(&failure.base);
    failure.base.error_exit = jpeg_failed;
    failure.base.emit_message = jpeg_message;
    if (setjmp(failure.back)) {
        jpeg_destroy_decompress(&z);
        return gi_image_fail(m, "is a damaged JPEG: %.150s", failure.message);
    }
    jpeg_create_decompress(&z);
    z.progress = &progress;
    const gopt_status st = read_jpeg(m, &z);
    jpeg_destroy_decompress(&z);
    return st;
}
#else
gopt_status gi_image_jpeg(gi_image *m)
{
    return gi_image_lacks(m, "JPEG", "libjpeg", "libjpeg-dev");
}
#endif

/* ---- WebP ---- */

#ifdef GI_HAVE_WEBP
#include <webp/decode.h>

gopt_status gi_image_webp(gi_image *m)
{
    int width = 0, height = 0;
    if (!WebPGetInfo(m->p, m->n, &width, &height) || width < 1 || height < 1)
        return gi_image_fail(m, "is a damaged WebP picture");
    GI_TRY(gi_image_begin(m, (uint64_t)width, (uint64_t)height, 3));
    if (!WebPDecodeRGBInto(m->p, m->n, m->pixels->data, m->pixels->bytes, width * 3))
        return gi_image_fail(m, "is a damaged WebP picture, or an animation");
    return GOPT_OK;
}
#else
gopt_status gi_image_webp(gi_image *m)
{
    return gi_image_lacks(m, "WebP picture", "libwebp", "libwebp-dev");
}
#endif
