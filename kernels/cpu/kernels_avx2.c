/* The kernels for AVX2 with FMA. */
#if defined(__x86_64__)
#define GK_LANES 8
#define GK_TILE 6
#define GK_ISA GK_AVX2
#define GK_SUFFIX avx2
#include "table.h"
#endif
