/* Tiles of a product: two blocks of output channels wide, or one where that is the last. */
#ifndef GI_TILE_H
#define GI_TILE_H

#include "backend/cpu/cpu.h"

/* Pixels that a tile of t's columns makes at most. */
static inline int64_t gi_tile_pixels(const gi_cpu *d, const gk_conv_tile *t)
{
    return t->columns > d->block ? d->k->tile : d->k->tile_one;
}

static inline void gi_tile_run(const gi_cpu *d, const gk_conv_tile *t)
{
    if (t->columns > d->block)
        d->k->conv_tile(t);
    else
        d->k->conv_tile_one(t);
}

#endif
