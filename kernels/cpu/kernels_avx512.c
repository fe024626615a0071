/* The kernels for AVX-512 F, BW, DQ, VL. */
#if defined(__x86_64__)
#define GK_LANES 16
#define GK_TILE 14
#define GK_ISA GK_AVX512
#define GK_SUFFIX avx512
#include "table.h"
#endif
