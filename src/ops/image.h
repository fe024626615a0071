/* Decoders of pictures: one function a kind, listed in image.c.
 *
 * Bytes come from anywhere: sizes are checked before anything is allocated by them, libraries report failures by
 * their return or a jump, never by ending the process, and print nothing. */
#ifndef GI_OPS_IMAGE_H
#define GI_OPS_IMAGE_H

#include "gopt/image.h"
#include "ops/eval.h"

enum { GI_IMAGE_SIDE = 65500, GI_IMAGE_PIXELS = 1 << 28 };

typedef struct gi_image {
    gopt_ctx *cx;
    const uint8_t *p; /* the picture's bytes */
    size_t n;
    gopt_tensor *pixels; /* u8 [height, width, 1 or 3], once gi_image_begin was called */
    char why[200];       /* where it fails: "is a damaged PNG: …" */
    const char *hint;    /* what to do; NULL where nothing can be done */
} gi_image;

/* Makes the tensor, or refuses the size. */
gopt_status gi_image_begin(gi_image *m, uint64_t width, uint64_t height, int channels);
/* GOPT_BAD_INPUT, and why. */
gopt_status gi_image_fail(gi_image *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* GOPT_UNSUPPORTED: the library is missing. */
gopt_status gi_image_lacks(gi_image *m, const char *kind, const char *library, const char *package);

/* Each fills m->pixels, or fails; what it left there is the caller's to release. */
gopt_status gi_image_bmp(gi_image *m);
gopt_status gi_image_pnm(gi_image *m);
gopt_status gi_image_png(gi_image *m);
gopt_status gi_image_jpeg(gi_image *m);
gopt_status gi_image_webp(gi_image *m);
gopt_status gi_image_tiff(gi_image *m);
gopt_status gi_image_jpeg2000(gi_image *m);

#endif
