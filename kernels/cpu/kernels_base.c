/* The kernels for baseline: what every x86-64 and any other processor has. */
#define GK_LANES 4
#define GK_TILE 6
#define GK_ISA GK_BASE
#define GK_SUFFIX base
#include "table.h"
