/* Numbers and texts in bytes, least significant byte first: written into a gi_str, read back with every length checked.
 *
 * Reading past the end, or a count that the rest cannot hold, sets `bad` and gives zeros from then on: whoever reads
 * looks once, at the end, and before it uses a number for anything but reading on. */
#ifndef GI_BYTES_H
#define GI_BYTES_H

#include "base/base.h"

void gi_put_u32(gi_str *s, uint32_t x);
void gi_put_u64(gi_str *s, uint64_t x);
void gi_put_text(gi_str *s, const char *text); /* NULL is "" */
void gi_put_bytes(gi_str *s, const void *p, size_t n);

typedef struct gi_bytes {
    const uint8_t *p, *end;
    bool bad;
} gi_bytes;

uint32_t gi_get_u32(gi_bytes *b);
uint64_t gi_get_u64(gi_bytes *b);
/* Copied into the arena. "" where bad, and then also where there is no memory. */
const char *gi_get_text(gi_bytes *b, gi_arena *a);
const uint8_t *gi_get_bytes(gi_bytes *b, size_t *n); /* borrowed; n is 0 where bad */
/* How many items follow, of `least` bytes each at least. */
size_t gi_get_count(gi_bytes *b, size_t least);

#endif
