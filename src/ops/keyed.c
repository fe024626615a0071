/* Sorting by key: byte by byte from the lowest, passing over bytes that all have in common; few by insertion. */
#include "ops/keyed.h"

enum { FEW = 24 };

static void insert_each(gi_keyed *k, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        const gi_keyed x = k[i];
        int64_t at = i;
        for (; at > 0 && k[at - 1].key > x.key; at--)
            k[at] = k[at - 1];
        k[at] = x;
    }
}

gi_keyed *gi_sort_keyed(gi_keyed *from, gi_keyed *other, int64_t n)
{
    uint64_t differ = 0;
    if (n <= FEW) {
        insert_each(from, n);
        return from;
    }
    for (int64_t i = 1; i < n; i++)
        differ |= from[i].key ^ from[0].key;
    for (int shift = 0; shift < 64; shift += 8) {
        int64_t first[256] = { 0 }, at = 0;
        if (!(differ >> shift & 255))
            continue;
        for (int64_t i = 0; i < n; i++)
            first[from[i].key >> shift & 255]++;
        for (int v = 0; v < 256; v++) {
            const int64_t count = first[v];
            first[v] = at;
            at += count;
        }
        for (int64_t i = 0; i < n; i++)
            other[first[from[i].key >> shift & 255]++] = from[i];
        gi_keyed *t = from;
        from = other;
        other = t;
    }
    return from;
}
