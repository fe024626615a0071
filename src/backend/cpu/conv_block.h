/* A depthwise convolution with the 1x1 convolutions before and behind it, as one step (see conv_block.c). */
#ifndef GI_CONV_BLOCK_H
#define GI_CONV_BLOCK_H

#include "backend/cpu/epilogue.h"
#include "backend/cpu/window.h"

/* One of the convolutions, and what is behind it. */
typedef struct gi_block_stage {
    gi_epilogue e;
    gi_window w;
    gi_value *result;
    float *weights,
        *bias;     /* 1x1: [tile][channel][2 lanes, or one], [tile][2 lanes]; depthwise: as gk_dwconv_row reads them */
    int64_t tiles; /* 1x1: of two blocks of output channels */
    gk_tap *taps;  /* 1x1: one a block of input channels */
    size_t n_taps;
} gi_block_stage;

typedef struct gi_conv_block {
    gi_block_stage expand, dw, project; /* dw is always there */
    bool has_expand, has_project;
    int add;            /* the last stage's residual in step->in; -1: none */
    bool by_planes;     /* how the work is shared */
    int64_t blocks;     /* of the channels between */
    int64_t strip;      /* output rows at a time */
    int64_t ring_rows;  /* input rows of the depthwise convolution that are kept, of each block */
    int64_t ring_plane; /* floats of them */
    int64_t mid_plane;  /* floats of a block of what the depthwise convolution gives */
    uint64_t shared;    /* bytes of scratch that all workers share: what lies between the phases, if by planes */
    uint64_t ring, mid; /* where a worker's parts begin in its scratch; its programs' registers come first */
    uint64_t scratch;   /* a worker's */
} gi_conv_block;

gopt_status gi_conv_block_run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args);

#endif
