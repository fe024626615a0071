/* The memory plan: places buffers of known lifetimes in one arena, so that none overlaps another while both live. */
#ifndef GI_MEMPLAN_H
#define GI_MEMPLAN_H

#include "base/base.h"

typedef struct gi_mem_item {
    uint64_t bytes;       /* 0 takes no room */
    uint32_t first, last; /* steps, both included, at which it holds something */
    uint64_t offset;      /* the answer, a multiple of the alignment */
} gi_mem_item;

/* `total` receives the arena's size. GOPT_NO_MEMORY where there is none for the plan itself or the sum
 * overflows. The same items in the same order always give the same plan. */
gopt_status gi_memplan(gi_mem_item *items, size_t n, uint64_t align, gi_arena *scratch, uint64_t *total);

#endif
