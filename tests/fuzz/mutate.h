/* Seeded damage to files: the same seed and file give the same bytes everywhere. */
#ifndef FUZZ_MUTATE_H
#define FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* splitmix64 */
typedef struct rng {
    uint64_t state;
} rng;

uint64_t rng_next(rng *r);
size_t rng_below(rng *r, size_t n); /* 0 where n is 0 */

typedef struct buffer {
    uint8_t *p;
    size_t n;
} buffer;

/* Puts `n` bytes in the place of those in [at, end). */
void buffer_replace(buffer *b, size_t at, size_t end, const void *p, size_t n);

/* Bits, bytes, and stretches that vanish, double, move or are cut off. */
void mutate_bytes(buffer *b, rng *r);

/* One field of a protobuf message, at any depth, is changed, dropped, doubled or exchanged with another, and
 * the lengths around it are kept right, so that readers get past the wire format to what it means. */
void mutate_protobuf(buffer *b, rng *r);

/* Numbers get values at the borders, words are exchanged, lines vanish, double and move. */
void mutate_text(buffer *b, rng *r);

#endif
