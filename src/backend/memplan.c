/* Places buffers in an arena: the largest first, each into the tightest gap that its lifetime leaves.
 *
 * Largest first because large buffers decide the arena's size, and small ones fit into what they leave; in
 * order of time, a small early buffer would split the room of a large later one. Quadratic in the worst case:
 * 8,000 buffers take some 50 ms, once a plan. */
#include "backend/memplan.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    const gi_mem_item *x = *(gi_mem_item *const *)a, *y = *(gi_mem_item *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x < y ? -1 : 1;
}

static uint64_t end_of(const gi_mem_item *it, uint64_t align)
{
    return it->offset + (it->bytes + align - 1) / align * align;
}

/* The start of the smallest gap that holds `it` among the n placed ones, which stand in order of offset;
 * behind them all where there is none. */
static uint64_t find_place(const gi_mem_item *it, gi_mem_item *const *placed, size_t n, uint64_t align)
{
    uint64_t at = 0, best = 0, best_room = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        const gi_mem_item *p = placed[i];
        if (p->last < it->first || p->first > it->last)
            continue;
        if (p->offset > at && p->offset - at >= it->bytes && p->offset - at < best_room) {
            best = at;
            best_room = p->offset - at;
        }
        if (end_of(p, align) > at)
            at = end_of(p, align);
    }
    return best_room != UINT64_MAX ? best : at;
}

gopt_status gi_memplan(gi_mem_item *items, size_t n, uint64_t align, gi_arena *scratch, uint64_t *total)
{
    gi_mem_item **order = GI_NEW_ARRAY(scratch, gi_mem_item *, n + 1);
    gi_mem_item **placed = GI_NEW_ARRAY(scratch, gi_mem_item *, n + 1);
    GI_NEED(order && placed);
    uint64_t sum = 0;
    size_t n_order = 0, n_placed = 0;
    for (size_t i = 0; i < n; i++) {
        items[i].offset = 0;
        if (items[i].bytes > UINT64_MAX / 2 - align || __builtin_add_overflow(sum, items[i].bytes + align, &sum))
            return GOPT_NO_MEMORY;
        if (items[i].bytes)
            order[n_order++] = &items[i];
    }
    qsort(order, n_order, sizeof *order, by_size);
    *total = 0;
    for (size_t i = 0; i < n_order; i++) {
        gi_mem_item *it = order[i];
        it->offset = find_place(it, placed, n_placed, align);
        size_t at = n_placed++;
        for (; at > 0 && placed[at - 1]->offset > it->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = it;
        if (end_of(it, align) > *total)
            *total = end_of(it, align);
    }
    return GOPT_OK;
}
