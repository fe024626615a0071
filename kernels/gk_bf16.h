/* Products of bfloat16 with sums in float, by the units that some processors have for them.
 *
 *   gk_bf16_tile t = { … };
 *   unit->begin();
 *   unit->tile(&t);
 *   unit->end();
 *
 * Operands are packed beforehand: pixels (or rows) of 32 channels, 64 bytes each, zeros past the last channel; a tap
 * is one such group of channels at one place of a window. A number lies in one to three parts, each the bfloat16
 * nearest to what the parts before it leave of it: one part is plain bfloat16; of two parts three products are summed,
 * which comes within about 1e-5 of the largest result; of three parts six, which is as good as sums in fp32. */
#ifndef GK_BF16_H
#define GK_BF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gk.h"

enum {
    GK_BF16_K = 32,       /* channels of a tap */
    GK_BF16_COLUMNS = 32, /* of a tile */
    GK_BF16_PIXELS = 32,  /* of a tile at most */
    GK_BF16_PARTS = 3     /* at most */
};

/* dst[at[p] + column j] = act(bias[j] + add[at[p] + column j] + Σ over taps, channels and products of parts).
 * Column j lies at j / block * dst_block + j % block. */
typedef struct gk_bf16_tile {
    const uint16_t *src;   /* part 0 of pixel 0 */
    ptrdiff_t pixel;       /* to the next pixel */
    ptrdiff_t half;        /* where pixel (pixels + 1) / 2 lies, from src; of flat units, which read on: not used */
    ptrdiff_t part;        /* from one part of a pixel to the next */
    const ptrdiff_t *taps; /* from a pixel to its channels of that tap */
    size_t n_taps;
    int depth;         /* channels of a tap that are any but zero, even; of flat units not used */
    const uint16_t *w; /* [tap][part][channel / 2][32 columns][2] */
    int parts;
    const float *bias; /* 32 */
    const void *add;   /* as dst lies; NULL: none */
    void *dst;
    bool add_bf16, dst_bf16; /* bfloat16, else floats */
    const ptrdiff_t *at;     /* one a pixel; -1: none of the result's, not stored */
    ptrdiff_t dst_block;
    int block;
    int pixels, columns; /* at most unit->pixels and 32 */
    float lo, hi;
    bool gelu; /* instead of the clamp: x times half of 1 + erf(x / √2), within 3.5e-4 */
    /* Of flat units, which multiply one tile while the sums of the one before are stored. */
    float *sums;                       /* where to leave this one's, to be stored later; NULL: store the result */
    const struct gk_bf16_tile *before; /* whose sums lie at `sums`, and are to be stored; NULL: none */
    const char *prefetch;              /* what will be read next but for this, so many lines at each tap; 0: nothing */
    int prefetch_lines;
    /* Not 0: the sums alone, 32 columns of pixel p at dst + p * line, and bias, add, at, columns, lo and hi are not
     * read. A flat unit may write pixels up to a multiple of 16. */
    ptrdiff_t line;
} gk_bf16_tile;

/* Packs n pixels of up to 32 channels: channel c of a pixel at src + c / block * src_block + c % block. Numbers that
 * are not finite have one part alone, the others zero. Returns whether all were finite. */
typedef struct gk_bf16_pack {
    const float *src;
    ptrdiff_t pixel, src_block;
    int block, channels, parts;
    uint16_t *dst;
    ptrdiff_t part; /* from one part to the next */
    size_t n;
} gk_bf16_pack;

/* A tile of rows of attention, as gk_attention describes it (`of`, whose q, k, v and work are not read), with operands
 * and probabilities in bfloat16, and sums and exponents in float. */
enum { GK_BF16_ATTENTION_D = 512 }; /* floats of a key at most */
typedef struct gk_bf16_attention {
    const gk_attention *of; /* rows: at most unit->pixels */
    const uint16_t *q;      /* [⌈d / 32⌉][unit->pixels][32], zeros beyond d */
    const uint16_t *k;      /* [⌈keys / 32⌉][⌈d / 32⌉][d / 2][32 keys][2], zeros beyond keys and d */
    const uint16_t *v;      /* [⌈dv / 32⌉][⌈keys / 32⌉][keys / 2][32][2], zeros beyond dv and keys */
    void *work;             /* unit->attention_work bytes, aligned to 64 */
} gk_bf16_attention;

typedef struct gk_bf16_unit {
    const char *name;
    int pixels;     /* of a tile */
    bool flat;      /* pixels of a tile follow each other; as well fill it with some that are of no use */
    int most_parts; /* that it takes, or that pay */
    size_t strip;   /* bytes of packed input that leave room for weights in the second-level cache */
    bool any_block; /* of blocked layouts; else of 16 channels */
    double speed;   /* products with bfloat16 over products in fp32, when all is at hand */
    void (*begin)(void), (*end)(void); /* a thread's state, around tiles */
    void (*tile)(const gk_bf16_tile *t);
    void (*store)(const gk_bf16_tile *t); /* of a flat unit: the tile whose sums were left */
    bool (*pack)(const gk_bf16_pack *p);
    /* As pack, in one part, with pixels by twos: [⌈n / 2⌉][32 channels][2], zeros past the last channel and pixel. */
    void (*pack_pairs)(const gk_bf16_pack *p);
    /* Packs n pixels of what is bfloat16 already: so many channels each, at most 32, the next one `pixel` further. */
    void (*copy)(size_t n, const uint16_t *src, ptrdiff_t pixel, int channels, uint16_t *dst);
    void (*attention)(const gk_bf16_attention *t);
    size_t (*attention_work)(size_t dv);
} gk_bf16_unit;

/* The fastest unit that this processor has and that is faster than fp32; NULL: none, *why says in words. */
const gk_bf16_unit *gk_bf16_best(const char **why);
/* "avx512_bf16", "amx", or their "emulated" likes in plain C, for tests and to see what would come out elsewhere:
 * "emulated" and "emulated_amx". NULL: there is none such here. */
const gk_bf16_unit *gk_bf16_get(const char *name);
/* The same tile in plain floats, from the sums of the parts: infinities and NaN come out as they would in fp32. */
void gk_bf16_tile_plain(const gk_bf16_tile *t);

/* To the nearest, ties to even; denormals are zero, NaN stays NaN. */
uint16_t gk_bf16_of(float x);
float gk_bf16_value(uint16_t h);

#endif
