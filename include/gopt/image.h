/* Pictures: what the operator ImageDecoder reads, and the program as inputs.
 *
 * PNG, JPEG, TIFF, WebP and JPEG 2000 are decoded by libpng, libjpeg, libtiff, libwebp and openjpeg, where the build
 * found them; BMP and PNM (PBM, PGM, PPM) by a reader of gopt's own. */
#ifndef GOPT_IMAGE_H
#define GOPT_IMAGE_H

#include "gopt/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Do these bytes begin like a picture of a known kind? Whether this build can decode that kind is not asked. */
GOPT_API bool gopt_image_is(const void *p, size_t n);

/* u8 [height, width, channels]: 3 channels as red, green, blue, or 1 of a gray picture; alpha is blended onto black or
 * dropped. Where it fails, with a diagnostic about `file` (may be NULL), *out is NULL: GOPT_BAD_INPUT of bytes that are
 * no picture, a damaged one, or one of over 65,500 pixels a side or 2^28 in all; GOPT_UNSUPPORTED of a kind that this
 * build has no library for. The caller releases *out. */
GOPT_API gopt_status gopt_image_decode(gopt_ctx *cx, const char *file, const void *p, size_t n, gopt_tensor **out);

#ifdef __cplusplus
}
#endif

#endif
