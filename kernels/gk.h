/* Kernels: the innermost loops, one table of them per instruction set.
 *
 *   const gk_table *k = gk_get(gk_best());
 *   k->conv_tile(&args);
 *
 * A kernel knows nothing of graphs, threads or memory: pointers, strides and counts in floats. Every kernel is
 * written once, in a header of kernels/cpu/, over vectors of GK_LANES floats, and compiled once an instruction
 * set; kernels.def lists them. `table->lanes` is also the block B of blocked layouts. */
#ifndef GK_H
#define GK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum gk_isa { GK_BASE = 0, GK_AVX2, GK_AVX512, GK_ISA_COUNT } gk_isa;

/* A tile of a product: `pixels` rows by up to 2 * lanes columns of
 *     dst[p][j] = act(bias[j] + add[p][j] + Σ_t Σ_c src[p][taps[t].offset + c] * w[t][c][j])
 * which serves convolutions (a tap is one kernel position of one channel block) and matrix products (one tap of
 * K channels). Pixel p lies at p * pixel for p < (pixels + 1) / 2, and the others from `half` on, so that a tile
 * may take two short rows. Columns are two vectors: vector 0 at dst, vector 1 at dst + dst_col.
 * conv_tile_one makes one vector of columns, whole, of more pixels: weights and bias are lanes wide then. */
typedef struct gk_tap {
    ptrdiff_t offset;   /* from src */
    ptrdiff_t channels; /* contiguous floats */
} gk_tap;

typedef struct gk_conv_tile {
    const float *src;
    ptrdiff_t pixel, half;
    const gk_tap *taps;
    size_t n_taps;
    const float *w;    /* [all channels of all taps][2 * lanes] */
    const float *bias; /* 2 * lanes; NULL: none */
    const float *add;  /* as dst lies, NULL: none */
    float *dst;
    ptrdiff_t dst_pixel, dst_half, dst_col;
    int pixels;   /* 1 … gk_table.tile or tile_one */
    int columns;  /* of 2 * lanes; fewer are stored one by one in vector order */
    float lo, hi; /* clamp of the result; -inf and inf: none */
} gk_conv_tile;

/* One output row of a depthwise convolution, one block of lanes channels.
 * src points at the input pixel under the first output pixel's first kernel position (may lie outside: columns
 * outside 0 … in_w-1 are skipped; rows outside are not among kh0 … kh1-1).
 * Of bfloat16 the block is of 32 channels, row, add and dst are uint16_t; weights and bias hold, for each 2 * lanes of
 * them, those of even number before those of odd number. */
typedef struct gk_dwconv_row {
    const void *row;      /* input row of kernel row 0, pixel 0; only rows kh0 … kh1-1 are read */
    ptrdiff_t row_stride; /* numbers between kernel rows, dilation in it */
    const float *w;       /* [kh][kw][lanes] */
    const float *bias;    /* lanes; NULL: none */
    const void *add;      /* NULL: none */
    void *dst;
    int kh0, kh1, kw, stride, dilation, pad; /* along the width */
    int in_w, out_w;
    float lo, hi;
} gk_dwconv_row;

/* One output row of a pool, one block of lanes channels; rows and columns outside are skipped. */
typedef struct gk_pool_row {
    const void *row; /* as in gk_dwconv_row */
    ptrdiff_t row_stride;
    void *dst;
    int kh0, kh1, kw, stride, dilation, pad;
    int in_w, out_w;
    bool max;
    int count; /* of an average: the divisor, or 0 for the number of pixels under the window, rows × columns */
} gk_pool_row;

/* Winograd's F(m x m, 3 x 3), m 2 or 4: `tiles` tiles of one tile row, one block of lanes channels. Tile k's inputs are
 * rows y … y+m+1 and columns x+k*m … x+k*m+m+1 of an image, zeros outside of it; their transform's position p (row
 * p / (m + 2), column p % (m + 2)) goes to dst[p * position + k * lanes]. A filter g of 3 by 3 becomes G g G^T over the
 * points 0, ±1 for m = 2 and 0, ±GK_WINO_P, ±GK_WINO_Q for m = 4, then ∞: row j of G is (1, a, a²) / Π (a - the other
 * points), the last (0, 0, 1). */
#define GK_WINO_P 0.75f
#define GK_WINO_Q 1.5f
typedef struct gk_winograd_in {
    int m, tiles;
    const float *src;  /* the block's plane */
    int height, width; /* of the image */
    int y, x;          /* where the first tile's inputs begin; may lie outside */
    float *dst;
    ptrdiff_t position;
} gk_winograd_in;

/* The way back: tile k's products at src[p * position + k * lanes] give m rows of m pixels from dst + k * m * lanes on,
 * plus bias and add, clamped. */
typedef struct gk_winograd_out {
    int m, tiles;
    const float *src;
    ptrdiff_t position;
    const float *bias; /* lanes */
    const float *add;  /* as dst lies, NULL: none */
    float *dst;
    ptrdiff_t row;     /* floats between output rows */
    int rows, columns; /* output rows of the tiles, 1 … m, and columns from the first tile on that exist */
    float lo, hi;      /* clamp; -inf and inf: none */
} gk_winograd_out;

/* A tile of rows of attention, for r < rows:
 *     y[r] = softmax(scale * q[r] · k + Σ masks[i].at[r]) · v
 * The keys go by in blocks of GK_ATTENTION_KEYS, whose scores stay in the first-level cache; what the blocks before
 * gave is scaled to the new maximum. */
enum { GK_ATTENTION_KEYS = 256, GK_ATTENTION_MASKS = 3 };
typedef struct gk_attention {
    int rows;           /* 1 … gk_table.tile */
    size_t keys, d, dv; /* of a batch; floats of a key, of a value */
    const float *q;     /* [rows][d] */
    const float *k;     /* [⌈keys / 2 lanes⌉][d][2 lanes], zeros beyond the keys */
    const float *v;     /* [⌈dv / 2 lanes⌉][keys][2 lanes], zeros beyond dv */
    float scale;
    int n_masks;
    struct {
        const float *at;
        ptrdiff_t row; /* from a row's to the next one's */
        bool one;      /* one number for all keys */
    } masks[GK_ATTENTION_MASKS];
    float *y;
    ptrdiff_t y_row;
    float *work; /* gk_attention_work floats */
} gk_attention;

/* Pointwise operations of the vector machine: dst[i] = op(a[i], b[i], c[i]; p, q). */
typedef enum gk_vop {
#define VOP(NAME, ...) GK_V_##NAME,
#include "vops.def"
#undef VOP
    GK_VOP_COUNT
} gk_vop;

/* n floats; pointers of operations of fewer operands are ignored. p and q are scalar parameters. */
typedef void (*gk_vop_fn)(size_t n, const float *a, const float *b, const float *c, float p, float q, float *dst);

typedef struct gk_table {
    gk_isa isa;
    int lanes;
    int tile;              /* pixels of a full conv_tile */
    int tile_one;          /* pixels of a full conv_tile_one */
    const gk_vop_fn *vops; /* by gk_vop */
#define KERNEL(RET, NAME, ARGS) RET(*NAME) ARGS;
#include "kernels.def"
#undef KERNEL
} gk_table;

const gk_table *gk_get(gk_isa isa); /* NULL where this processor lacks it */
gk_isa gk_best(void);
const char *gk_isa_name(gk_isa isa);           /* "sse2", "avx2", "avx512" */
bool gk_isa_parse(const char *s, gk_isa *isa); /* the same names */
int gk_vop_arity(gk_vop op);
size_t gk_attention_work(const gk_table *k, size_t dv);

#endif
