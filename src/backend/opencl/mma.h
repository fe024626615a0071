/* Products on NVIDIA's GPUs (kernels/opencl/mma.cl and halo.cl): which variants there are, and how one is launched. */
#ifndef GI_CL_MMA_H
#define GI_CL_MMA_H

#include "backend/opencl/cl.h"

enum {
    GI_CL_MMA_INTS = 20,  /* of a problem, as tile.cl has them */
    GI_CL_MMA_M = 0,      /* pixels */
    GI_CL_MMA_ROOM = 2,   /* channels of the result that there is room for */
    GI_CL_MMA_CHUNKS = 3, /* of 16 bytes of a pixel of x */
    GI_CL_MMA_TAPS = 4,   /* of the window */
    GI_CL_MMA_ROW = 5,    /* elements of one row of the weights */
    GI_CL_MMA_X_H = 6,    /* of an image of x: height, width */
    GI_CL_MMA_X_W = 7,
    GI_CL_MMA_PIXELS = 8, /* of an image of the result */
    GI_CL_MMA_WIDTH = 9,  /* of it */
    GI_CL_MMA_KW = 10,    /* of the window */
    GI_CL_MMA_SH = 11,    /* strides, dilations */
    GI_CL_MMA_SW = 12,
    GI_CL_MMA_DH = 15,
    GI_CL_MMA_DW = 16,
    GI_CL_MMA_PARTS = 4, /* the ref of the sums of parts; behind it that of their counters */
    GI_CL_MMA_REFS = GI_CL_MMA_PARTS + 2 + 8
};

/* What is multiplied, and so by what: halves and floats that are rounded to tf32 by tensor cores, floats without them. */
typedef enum gi_cl_element { GI_CL_HALVES, GI_CL_FLOATS, GI_CL_TF32 } gi_cl_element;

/* A problem: x, weights, bias, y, two places for what is split, and what the epilogue reads. */
typedef struct gi_cl_mma {
    const char *before; /* of the source: epilogue and types */
    gi_cl_element element;
    bool streams; /* of halves, 8 neighbouring channels of the result in one piece: stream.cl may make it */
    gi_cl_ref refs[GI_CL_MMA_REFS];
    uint64_t bytes[GI_CL_MMA_REFS]; /* that each of refs is long */
    uint32_t n_refs;
    int64_t ints[GI_CL_MMA_INTS];
} gi_cl_mma;

/* A way to compute it: a variant, and into how many parts each sum is split; of stream.cl, how many groups a multiprocessor
 * gets. */
typedef struct gi_cl_way {
    int variant, splits;
} gi_cl_way;

enum { GI_CL_MOST_WAYS = 256, GI_CL_MMA_NAME = 48 };

/* What a way comes to. */
typedef struct gi_cl_mma_made {
    const char *source;
    size_t threads, groups;
    int64_t tiles;
    uint64_t parts; /* bytes of the sums of parts; 0: not split */
    int64_t ints[32];
    uint32_t n_ints;
} gi_cl_mma_made;

/* The ways, those that are expected to be fastest first; one alone where it is asked for by name (GOPT_OPENCL_TENSOR). `walk`: those alone of 256 items whose parts are all
 * resident at once. */
int gi_cl_mma_ways(const gi_cl *d, const gi_cl_mma *m, bool walk, gi_cl_way *ways);
gopt_status gi_cl_mma_make(const gi_cl *d, gi_arena *a, const gi_cl_mma *m, gi_cl_way way, gi_cl_mma_made *out);
/* "mma_64x64x64x3x8_split2", in floats "fma_…", in tf32 "tf32_…": the tile, its step along the sum, stages, warps; parts.
 * "halo_128x64x32x4x4", in tf32 "tf32_halo_128x64x16x4x4": the tile, channels of a block, stages, warps. */
void gi_cl_mma_name(const gi_cl_mma *m, gi_cl_way way, char *name, size_t size);
/* A factor and a shift in place of a division by d, as mma.cl's `divide` wants them. */
int64_t gi_cl_divisor(int64_t d);
/* The key of a problem in the file of what was timed; its way there (an index into `ways`, -1: none); and putting it. */
void gi_cl_mma_key(const gi_cl_mma *m, const char *kind, char *key, size_t size);
int gi_cl_mma_known(const gi_cl *d, const char *key, const gi_cl_way *ways, int n);
gopt_status gi_cl_mma_remember(gi_cl *d, const char *key, gi_cl_way way);
/* By the fastest way: of the clock where that is allowed, once for each problem. */
gopt_status gi_cl_mma_launch(gi_cl_build *b, gi_cl_mma *m);

#endif
