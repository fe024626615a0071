/* All kernels of one instruction set and their table. The including file defines GK_LANES, GK_TILE, GK_ISA (the
 * enumerator) and GK_SUFFIX. */
#define GK_PASTE_(a, b) gk_f32_##a##__##b
#define GK_PASTE(a, b) GK_PASTE_(a, b)
#define GK_NAME(x) GK_PASTE(x, GK_SUFFIX)

#include "attention.h"
#include "blend.h"
#include "conv_tile.h"
#include "narrow.h"
#include "pick.h"
#include "pointwise.h"
#include "reduce.h"
#include "rows.h"
#include "rows_bf16.h"
#include "winograd.h"

#define GK_TABLE_(s) gk_table_##s
#define GK_TABLE(s) GK_TABLE_(s)
extern const gk_table GK_TABLE(GK_SUFFIX);
const gk_table GK_TABLE(GK_SUFFIX) = {
    .isa = GK_ISA,
    .lanes = GK_LANES,
    .tile = GK_TILE,
    .tile_one = GK_TILE_ONE,
    .vops = vop_table,
#define KERNEL(RET, NAME, ARGS) .NAME = GK_NAME(NAME),
#include "kernels.def"
#undef KERNEL
};
