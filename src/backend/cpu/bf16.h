/* Convolutions and products with constant matrices in bfloat16: what bf16.c prepares and bf16_run.c runs. */
#ifndef GI_CPU_BF16_H
#define GI_CPU_BF16_H

#include "backend/cpu/epilogue.h"
#include "backend/cpu/matmul.h"
#include "backend/cpu/window.h"
#include "gk_bf16.h"

/* A product of pixels by taps of 32 channels (kernels/bf16.h). A matrix, or an image whose window is one pixel, is
 * `rows` of one pixel; another image has its own rows and columns.
 *
 * A worker packs the input of a strip of output rows: channel groups of 32, and of each, where the window moves by more
 * than one pixel, the rows and columns apart by their phase, so that neighbours of the result read neighbours:
 *
 *     columns of stride 2:   0 1 2 3 4 5 6 7   ⇒   0 2 4 6 | 1 3 5 7
 *
 * Rows and columns outside the image are packed as zeros. Blocks of bfloat16 under a window of one pixel lie as if they
 * were packed, and are read where they lie.
 *
 * A picture of up to 4 channels is packed as rows of pixels of 4, of which 8 side by side are a group of 32: what one
 * row of a window sees. A pixel's group overlaps the next one's. */
typedef struct gi_bf16 {
    gi_epilogue e;
    bool gelu; /* behind it, in the kernel */
    const gk_bf16_unit *unit;
    int parts;
    int x, add;                          /* in step->in; add -1: none */
    bool image;                          /* blocked images; else rows of k numbers */
    bool flat;                           /* a row of the result is one pixel, and so is a row of the input */
    gi_window w;                         /* of images that are not flat */
    int64_t images, rows, columns, k, n; /* of the result, with n channels; k of the input */
    int in_block, out_block;             /* of the channels of input and result: blocked, or 16 of a row */
    bool in_bf16, out_bf16, add_bf16;    /* as they lie */
    bool direct;                         /* the input lies as if packed */
    bool stem;                           /* of up to 4 channels, dense */
    ptrdiff_t pixel;                     /* packed numbers from a pixel of a tile to the next */
    int64_t row;                         /* of a stem: packed numbers of an input row */
    int64_t in_pixels;                   /* an image's */
    int64_t groups, phases_h, phases_w, reach_h, pitch; /* packed: pitch pixels a row, reach_h more rows */
    int64_t strip;                                      /* rows at most */
    int64_t plane, part; /* packed numbers of one group and phase, and of one part, for a whole strip */
    ptrdiff_t *taps;
    int64_t n_taps, taps_a_row;
    int depth;             /* channels of a tap that are any but zero */
    int64_t panels, panel; /* of 32 columns, numbers of one */
    uint16_t *weights;
    float *bias;
    int split;                                /* workers along the columns */
    int64_t pieces;                           /* tiles of a strip at most */
    int64_t dst_pixel;                        /* from a pixel of the result to the next */
    uint64_t pieces_at, epilogue_at, scratch; /* of a worker, in bytes */
} gi_bf16;

/* A tile of a strip: where its pixels lie packed and in the result, and the rows of the window that they see. */
typedef struct gi_bf16_piece {
    ptrdiff_t src, half;
    int64_t h0, h1;
    int pixels;
    ptrdiff_t at[GK_BF16_PIXELS];
} gi_bf16_piece;

/* The constant operand. */
typedef struct gi_bf16_constants {
    const float *p; /* as the blob lies */
    const gi_bf16 *v;
    const gi_operands *o; /* of a matrix; else NULL */
} gi_bf16_constants;

/* Its number of input channel (or row) k at place h, w of the window, for column n. */
float gi_bf16_constant(const gi_bf16_constants *b, int64_t h, int64_t w, int64_t k, int64_t n);

/* Could the tactic run this convolution, for all that its node says? */
bool gi_conv_bf16_takes(const gi_cpu *d, const gi_node *conv);
bool gi_matmul_bf16_takes(const gi_cpu *d, const gi_node *product);

/* ---- where it runs (bf16_choice.c) ---- */

/* What --precision best may lose: the largest error over the largest result. */
static const double gi_bf16_best_loss = 5e-3;
/* Random numbers in -1 … 1, to measure it with. */
float gi_bf16_noise(uint32_t *seed);
/* Does the precision that was asked for speak of so many parts at all? */
bool gi_bf16_asked(const gi_cpu *d, int parts);
/* Is there a layer before and one behind the node? True too where the search was given up. */
bool gi_bf16_is_between(gi_arena *arena, const gi_node *n);
/* May this layer, prepared but for its packed weights, run so? States the estimate, or why not. */
gopt_status gi_bf16_may_run(gi_cpu *d, gi_cpu_step *c, const gi_bf16_constants *b, bool *ok);

/* ---- how values lie (bf16_values.c) ---- */

/* Are these rows of numbers, which node n of the plan writes, read by products of bfloat16 alone? Each would round
 * them, so they may as well lie so: the answers are the same to the bit. */
bool gi_bf16_rows(const gi_cpu *d, gi_cpu_plan *p, const gi_node *n, const gi_value *v);

gopt_status gi_bf16_run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args);

#endif
