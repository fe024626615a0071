/* Discrete Fourier transforms of any length in O(n log n), in double.
 *
 *   gi_fft *f = gi_fft_create(scratch, n, false);       // NULL where there is no memory
 *   for each signal: { fill x, n pairs of real and imaginary part; gi_fft_run(f, x); }
 *
 * A length whose prime factors are small is transformed by those factors (Stockham's self-sorting form of Cooley and
 * Tukey's algorithm); any other is a convolution with a chirp, done by transforms of a power of two (Bluestein's).
 * Nothing is scaled: who wants an inverse divides by n. */
#ifndef GI_OPS_FFT_H
#define GI_OPS_FFT_H

#include "base/base.h"

typedef struct gi_fft gi_fft;

/* n must be 1 or more. Lives as long as the arena. */
gi_fft *gi_fft_create(gi_arena *a, int64_t n, bool inverse);

/* In place. */
void gi_fft_run(const gi_fft *f, double *x);

#endif
